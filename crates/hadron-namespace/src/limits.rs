//! Hadoop's defaults for the limits a command may carry.

use crate::command::Limits;

/// Longest path component in bytes.
pub const DEFAULT_MAX_COMPONENT_LEN: u32 = 255;
/// Most children of a directory.
pub const DEFAULT_MAX_DIRECTORY_ITEMS: u32 = 1024 * 1024;
/// Smallest block size a file may ask for.
pub const DEFAULT_MIN_BLOCK_SIZE: u64 = 1024 * 1024;
/// Most blocks of a file.
pub const DEFAULT_MAX_BLOCKS_PER_FILE: u32 = 10_000;
/// Fewest replicas a file may ask for.
pub const DEFAULT_MIN_REPLICATION: u32 = 1;
/// Most replicas a file may ask for.
pub const DEFAULT_MAX_REPLICATION: u32 = 512;
/// How stale an access time may be.
pub const DEFAULT_ACCESS_TIME_PRECISION_MS: u64 = 3_600_000;

/// Most user-visible extended attributes of an inode.
pub const DEFAULT_MAX_XATTRS_PER_INODE: u32 = 32;
/// Most bytes of an extended attribute's name and value.
pub const DEFAULT_MAX_XATTR_LEN: u32 = 16384;

impl Limits {
    /// Longest component in bytes; 0 = unlimited.
    pub fn component_len(&self) -> u32 {
        self.max_component_len.unwrap_or(DEFAULT_MAX_COMPONENT_LEN)
    }
    /// Most children of a directory.
    pub fn directory_items(&self) -> u32 {
        self.max_directory_items.unwrap_or(DEFAULT_MAX_DIRECTORY_ITEMS)
    }
    /// Smallest block size.
    pub fn block_size(&self) -> u64 {
        self.min_block_size.unwrap_or(DEFAULT_MIN_BLOCK_SIZE)
    }
    /// Most blocks of a file.
    pub fn blocks_per_file(&self) -> u32 {
        self.max_blocks_per_file.unwrap_or(DEFAULT_MAX_BLOCKS_PER_FILE)
    }
    /// Allowed replication.
    pub fn replication(&self) -> std::ops::RangeInclusive<i32> {
        let least = self.min_replication.unwrap_or(DEFAULT_MIN_REPLICATION);
        let most = self.max_replication.unwrap_or(DEFAULT_MAX_REPLICATION);
        i32::try_from(least).unwrap_or(i32::MAX)..=i32::try_from(most).unwrap_or(i32::MAX)
    }
    /// Whether a default ACL is inherited as POSIX says, from the mode before the umask.
    pub fn inherits_acls_by_posix(&self) -> bool {
        self.posix_acl_inheritance.unwrap_or(true)
    }
    /// Most user-visible extended attributes.
    pub fn xattrs_per_inode(&self) -> u32 {
        self.max_xattrs_per_inode.unwrap_or(DEFAULT_MAX_XATTRS_PER_INODE)
    }
    /// Most bytes of an extended attribute.
    pub fn xattr_len(&self) -> u32 {
        self.max_xattr_len.unwrap_or(DEFAULT_MAX_XATTR_LEN)
    }
    /// Most inodes and blocks; `None`: no limit.
    pub fn objects(&self) -> Option<u64> {
        self.max_objects.filter(|&limit| limit != 0)
    }
    /// Access-time precision in ms; 0 = access times are off.
    pub fn access_time_precision(&self) -> u64 {
        self.access_time_precision_ms
            .unwrap_or(DEFAULT_ACCESS_TIME_PRECISION_MS)
    }
}
