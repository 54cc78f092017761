//! How a file is created, appended to and flushed.
//!
//! Hadoop's `CreateFlag` mixes what the NameNode must know (OVERWRITE, LAZY_PERSIST, NEW_BLOCK, SHOULD_REPLICATE), what
//! each new block asks for (NO_LOCAL_WRITE, IGNORE_CLIENT_LOCALITY) and what only the stream does (SYNC_BLOCK); here each is
//! a field. Combinations that Hadoop refuses (append and overwrite, say) cannot be expressed.

use hadron_proto::hdfs as proto;
use hadron_types::FsPermission;
use std::fmt;
use std::sync::Arc;

/// How to create a file. [`CreateOptions::default`]: no overwriting, parents made, the client's settings.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Replace an existing file (`OVERWRITE`).
    pub overwrite: bool,
    /// Make missing parents.
    pub create_parents: bool,
    /// Replicas; `None` = the client's setting.
    pub replication: Option<u32>,
    /// Block size; `None` = the client's setting. A multiple of the bytes per checksum.
    pub block_size: Option<u64>,
    /// Mode bits before the umask.
    pub permission: FsPermission,
    /// Ask DataNodes to sync each block when it ends (`SYNC_BLOCK`).
    pub sync_blocks: bool,
    /// Let DataNodes keep replicas in memory at first (`LAZY_PERSIST`).
    pub lazy_persist: bool,
    /// Replicate even below a directory with erasure coding (`SHOULD_REPLICATE`).
    pub should_replicate: bool,
    /// No replica on this machine (`NO_LOCAL_WRITE`).
    pub no_local_write: bool,
    /// Place replicas as if this machine were not part of the cluster (`IGNORE_CLIENT_LOCALITY`).
    pub ignore_client_locality: bool,
    /// Storage policy by name; `None` = the directory's.
    pub storage_policy: Option<String>,
    /// `host:port` of DataNodes to prefer.
    pub favored_nodes: Vec<String>,
    /// Whether DataNodes drop what they wrote from their page cache; `None` = the client's setting.
    pub drop_behind: Option<bool>,
    /// Told of each packet that is sent.
    pub progress: Option<Progress>,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            overwrite: false,
            create_parents: true,
            replication: None,
            block_size: None,
            permission: FsPermission::from_wire(0o666),
            sync_blocks: false,
            lazy_persist: false,
            should_replicate: false,
            no_local_write: false,
            ignore_client_locality: false,
            storage_policy: None,
            favored_nodes: Vec::new(),
            drop_behind: None,
            progress: None,
        }
    }
}

impl CreateOptions {
    /// The bits of `CreateRequestProto.createFlag`.
    pub(crate) fn create_flag(&self) -> u32 {
        use proto::CreateFlagProto as Wire;
        [
            (true, Wire::Create),
            (self.overwrite, Wire::Overwrite),
            (self.lazy_persist, Wire::LazyPersist),
            (self.should_replicate, Wire::ShouldReplicate),
        ]
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .fold(0, |bits, (_, flag)| bits | flag as u32)
    }

    /// What every addBlock of the stream asks for.
    pub(crate) fn add_block_flags(&self) -> Vec<i32> {
        use proto::AddBlockFlagProto as Wire;
        [
            (self.no_local_write, Wire::NoLocalWrite),
            (self.ignore_client_locality, Wire::IgnoreClientLocality),
        ]
        .into_iter()
        .filter_map(|(wanted, flag)| wanted.then_some(flag as i32))
        .collect()
    }
}

/// How to append to a file. [`AppendOptions::default`]: into its last block, the client's settings.
#[derive(Clone, Debug, Default)]
pub struct AppendOptions {
    /// Begin a new block although the last one is not full (`NEW_BLOCK`): that one stays short.
    pub new_block: bool,
    /// Ask DataNodes to sync each block when it ends (`SYNC_BLOCK`).
    pub sync_blocks: bool,
    /// `host:port` of DataNodes to prefer for new blocks.
    pub favored_nodes: Vec<String>,
    /// Whether DataNodes drop what they wrote from their page cache; `None` = the client's setting.
    pub drop_behind: Option<bool>,
    /// Told of each packet that is sent.
    pub progress: Option<Progress>,
}

impl AppendOptions {
    /// The bits of `AppendRequestProto.flag`.
    pub(crate) fn create_flag(&self) -> u32 {
        use proto::CreateFlagProto as Wire;
        let new_block = if self.new_block { Wire::NewBlock as u32 } else { 0 };
        Wire::Append as u32 | new_block
    }
}

/// What [`super::FileWriter::hsync_with`] does beside syncing (`HdfsDataOutputStream.SyncFlag`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SyncFlags {
    /// Tell the NameNode the new length, so that listings show it (`UPDATE_LENGTH`).
    pub update_length: bool,
    /// End the block; what is written next goes to a new one (`END_BLOCK`).
    pub end_block: bool,
}

/// A callback for long writes. It runs in the stream's task, so it must not block.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn() + Send + Sync>);

impl Progress {
    /// Wraps `callback`.
    pub fn new(callback: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }
    pub(crate) fn tell(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_hadoops_numbers() {
        let all = CreateOptions {
            overwrite: true,
            lazy_persist: true,
            should_replicate: true,
            no_local_write: true,
            ignore_client_locality: true,
            ..CreateOptions::default()
        };
        assert_eq!(all.create_flag(), 0x01 | 0x02 | 0x10 | 0x80);
        assert_eq!(all.add_block_flags(), [1, 2]);
        let plain = CreateOptions::default();
        assert_eq!((plain.create_flag(), plain.add_block_flags()), (0x01, Vec::new()));
        // covers: WP-41
        let append = |new_block| AppendOptions {
            new_block,
            ..AppendOptions::default()
        };
        assert_eq!(append(false).create_flag(), 0x04);
        assert_eq!(append(true).create_flag(), 0x24);
    }
}
