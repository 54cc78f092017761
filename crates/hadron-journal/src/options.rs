//! What a local log is told at start.
//!
//! What it is for: plain values apart from live parts. What it does not do: read files. Invariant: sizes are multiples
//! of the block.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hadron_env::config::keys;
use hadron_env::{Clock, Configuration, Disk, Random};

use crate::batch::BLOCK_BYTES;

/// Smallest and first size of a segment; each next one is four times as long up to [`Options::segment_bytes`].
pub(crate) const FIRST_SEGMENT_BYTES: u64 = 1 << 20;

/// The live parts a log needs.
#[derive(Clone)]
pub struct Env {
    /// Where the name dirs are.
    pub disk: Arc<dyn Disk>,
    /// For periods and time stamps.
    pub clock: Arc<dyn Clock>,
    /// For segment salts.
    pub random: Arc<dyn Random>,
}

impl Env {
    /// The real disk, clock and randomness.
    pub fn system() -> Self {
        Self {
            disk: Arc::new(hadron_env::RealDisk),
            clock: Arc::new(hadron_env::SystemClock::new()),
            random: Arc::new(hadron_env::SystemRandom::new()),
        }
    }
}

/// Settings of a local log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Name dirs; all get everything. At least one.
    pub dirs: Vec<PathBuf>,
    /// Dirs that must work for the log to go on.
    pub minimum_dirs: usize,
    /// Proposals that may wait for their batch; further ones are refused.
    pub max_waiting: usize,
    /// Most entries of a batch.
    pub max_batch_entries: usize,
    /// A batch is closed once it has so many bytes.
    pub max_batch_bytes: usize,
    /// Longest encoded command.
    pub max_command_bytes: usize,
    /// Length of a segment when it is prepared; the log rolls to the next one there.
    pub segment_bytes: u64,
    /// Length of the first segment after a start.
    pub first_segment_bytes: u64,
    /// Whether dirs that failed are taken back at the next image once they work again.
    pub restore_failed_dirs: bool,
    /// Images kept.
    pub images_retained: usize,
    /// Entries after which a checkpoint is made.
    pub checkpoint_entries: u64,
    /// Journal bytes after which a checkpoint is made.
    pub checkpoint_bytes: u64,
    /// Time after which a checkpoint is made, if there were entries.
    pub checkpoint_period: Duration,
    /// How often space and the need of a checkpoint are looked at.
    pub check_interval: Duration,
    /// Space below which a dir counts as low.
    pub reserved_bytes: u64,
    /// Dirs that must not be low.
    pub minimum_dirs_with_space: usize,
}

impl Options {
    /// Hadoop's defaults for `dirs`.
    pub fn new(dirs: Vec<PathBuf>) -> Self {
        Self {
            dirs,
            minimum_dirs: 1,
            max_waiting: 16_384,
            max_batch_entries: 4096,
            max_batch_bytes: 1 << 20,
            max_command_bytes: 50 << 20,
            segment_bytes: 64 << 20,
            first_segment_bytes: FIRST_SEGMENT_BYTES,
            restore_failed_dirs: false,
            images_retained: 2,
            checkpoint_entries: 1_000_000,
            checkpoint_bytes: 1 << 30,
            checkpoint_period: Duration::from_secs(3600),
            check_interval: Duration::from_secs(5),
            reserved_bytes: 100 << 20,
            minimum_dirs_with_space: 1,
        }
    }

    /// Reads `dfs.namenode.*`.
    pub fn from_configuration(conf: &Configuration) -> Self {
        if conf.get(keys::DFS_NAMENODE_EDITS_DIR) != conf.get(keys::DFS_NAMENODE_NAME_DIR) {
            tracing::warn!("dfs.namenode.edits.dir is not used: the journal is kept in dfs.namenode.name.dir");
        }
        let entries = conf.get(keys::DFS_NAMENODE_CHECKPOINT_TXNS);
        let resource_check = conf.get(keys::DFS_NAMENODE_RESOURCE_CHECK_INTERVAL);
        let checkpoint_check = conf.get(keys::DFS_NAMENODE_CHECKPOINT_CHECK_PERIOD);
        Self {
            minimum_dirs: conf.get(keys::DFS_NAMENODE_EDITS_DIR_MINIMUM).max(1),
            restore_failed_dirs: conf.get(keys::DFS_NAMENODE_NAME_DIR_RESTORE),
            images_retained: conf.get(keys::DFS_NAMENODE_NUM_CHECKPOINTS_RETAINED).max(1),
            checkpoint_entries: u64::try_from(entries).unwrap_or(0).max(1),
            checkpoint_period: conf.get(keys::DFS_NAMENODE_CHECKPOINT_PERIOD),
            check_interval: resource_check.min(checkpoint_check).max(Duration::from_millis(1)),
            reserved_bytes: conf.get(keys::DFS_NAMENODE_RESOURCE_DU_RESERVED),
            minimum_dirs_with_space: conf.get(keys::DFS_NAMENODE_RESOURCE_CHECKED_VOLUMES_MINIMUM),
            ..Self::new(conf.name_dirs())
        }
    }

    pub(crate) fn segment_bytes_after(&self, previous: u64) -> u64 {
        previous
            .saturating_mul(4)
            .min(self.segment_bytes)
            .next_multiple_of(BLOCK_BYTES as u64)
    }
}
