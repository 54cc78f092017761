//! Plain answers of queries, before they become protobuf messages.

use crate::inode::BlockState;
use hadron_types::{Block, FsPermission, InodeId, TimeMs};
use std::sync::Arc;

/// A file or directory as `HdfsFileStatusProto` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileStatus {
    /// Local name; empty when the status is that of the path asked for.
    pub name: String,
    /// The inode.
    pub id: InodeId,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Bytes, the block under construction included as far as the NameNode knows; 0 for directories.
    pub len: u64,
    /// Mode bits.
    pub permission: FsPermission,
    /// Owner.
    pub owner: Arc<str>,
    /// Group.
    pub group: Arc<str>,
    /// Last change.
    pub mtime: TimeMs,
    /// Last read; 0 for directories unless set.
    pub atime: TimeMs,
    /// Wanted replicas; 0 for directories.
    pub replication: u16,
    /// Preferred block size; 0 for directories.
    pub block_size: u64,
    /// Number of children; 0 for files.
    pub children: u32,
    /// Storage policy set on the inode or inherited, 0 = unspecified.
    pub storage_policy: u8,
    /// Whether it has an ACL.
    pub has_acl: bool,
}

/// One page of a directory.
#[derive(Clone, PartialEq, Debug)]
pub struct Listing {
    /// The entries, by unsigned bytes of their names.
    pub entries: Vec<ListingEntry>,
    /// How many entries follow the last one.
    pub remaining: u32,
}

/// One entry of a [`Listing`].
#[derive(Clone, PartialEq, Debug)]
pub struct ListingEntry {
    /// The entry itself.
    pub status: FileStatus,
    /// Its blocks, when locations were asked for and it is a file.
    pub blocks: Option<FileBlocks>,
}

/// How much of a directory one page may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListingLimits {
    /// Most entries (`dfs.ls.limit`, 1000).
    pub entries: usize,
    /// With locations: stop when blocks × replication reach this (at least one entry is given).
    pub locations: usize,
}

/// The blocks of a file that overlap a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileBlocks {
    /// The file.
    pub file: InodeId,
    /// Bytes without a last block that is not complete.
    pub len: u64,
    /// Whether a writer has the file open.
    pub under_construction: bool,
    /// The blocks of the range, in order.
    pub blocks: Vec<FileBlock>,
    /// The last block of the file, whatever the range.
    pub last_block: Option<FileBlock>,
    /// Whether the last block is complete.
    pub last_block_complete: bool,
    /// Wanted replicas.
    pub replication: u16,
    /// Whether the access time is older than its precision and should be updated.
    pub access_time_stale: bool,
}

/// A block at its place in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileBlock {
    /// The block.
    pub block: Block,
    /// Its offset in the file.
    pub offset: u64,
    /// Its state.
    pub state: BlockState,
}

/// What a block is and whose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredBlock {
    /// Id, stamp and length as the namespace knows them.
    pub block: Block,
    /// Its state.
    pub state: BlockState,
    /// Wanted replicas.
    pub replication: u16,
    /// Its file.
    pub file: InodeId,
    /// Its file's preferred block size in bytes.
    pub block_size: u64,
    /// Storage policy in effect for its file, 0 = unspecified.
    pub storage_policy: u8,
}

/// A file that is open for writing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenFile {
    /// The file.
    pub file: InodeId,
    /// Its lease holder.
    pub holder: Arc<str>,
    /// The holder's machine.
    pub client_machine: Arc<str>,
}

/// Totals of the namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Files, open and detached ones included.
    pub files: u64,
    /// Directories, the root included.
    pub directories: u64,
    /// Blocks.
    pub blocks: u64,
    /// Blocks that are complete.
    pub complete_blocks: u64,
    /// Files open for writing.
    pub open_files: u64,
    /// Detached trees that wait for reclaim.
    pub detached: u64,
}
