//! How many bytes the tables take, for `hadron bench nn --memory` and metrics.

use crate::namespace::Namespace;

/// Longest name that an inode holds without heap memory.
const INLINE_NAME_LEN: usize = 24;

/// Bytes by table; free slots and spare capacity are counted, allocator overhead is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryUsage {
    /// Inode records.
    pub inodes: usize,
    /// Names too long for the inode record.
    pub long_names: usize,
    /// Children of directories.
    pub directories: usize,
    /// Block records and block lists.
    pub blocks: usize,
    /// From inode and block ids to records.
    pub indexes: usize,
    /// User and group names.
    pub names: usize,
    /// Open files and their holders.
    pub open_files: usize,
    /// Quotas of directories.
    pub quotas: usize,
    /// ACLs and extended attributes.
    pub attributes: usize,
    /// Retry cache.
    pub retry_cache: usize,
    /// Guesses where names are; a fixed size.
    pub memo: usize,
}

impl MemoryUsage {
    /// All tables that grow with files: everything but retry cache and guesses, which are bounded.
    pub fn files_total(&self) -> usize {
        self.inodes
            + self.long_names
            + self.directories
            + self.blocks
            + self.indexes
            + self.names
            + self.open_files
            + self.quotas
            + self.attributes
    }
}

impl Namespace {
    /// Counts the bytes of all tables; walks every inode.
    pub fn memory_usage(&self) -> MemoryUsage {
        let long_names = self
            .inodes
            .iter()
            .map(|(_, inode)| inode.name.len())
            .filter(|&len| len > INLINE_NAME_LEN)
            .sum();
        let children: usize = self
            .directories
            .iter()
            .map(|(_, children)| children.memory_bytes())
            .sum();
        let lists: usize = self
            .block_lists
            .iter()
            .map(|(_, list)| list.capacity() * 4 + size_of::<Vec<u32>>() + 16)
            .sum();
        let holders: usize = self.holders.iter().map(|(holder, _)| holder.len() + 16).sum();
        MemoryUsage {
            inodes: self.inodes.memory_bytes(),
            long_names,
            directories: self.directories.memory_bytes() + children,
            blocks: self.blocks.memory_bytes() + self.block_lists.memory_bytes() + lists,
            indexes: self.inode_index.memory_bytes() + self.block_index.memory_bytes(),
            names: self.names.memory_bytes(),
            open_files: self.open_files.memory_bytes() + self.holders.memory_bytes() + holders,
            quotas: self.quotas.memory_bytes(),
            attributes: self.acls.memory_bytes() + self.xattrs.memory_bytes(),
            retry_cache: self.retry.memory_bytes(),
            memo: self.memo.memory_bytes(),
        }
    }
}
