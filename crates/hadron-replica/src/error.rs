//! What can go wrong with a replica or a volume, one variant per thing a caller does differently.

use hadron_types::{BlockId, BlockPoolId, ErrorKind, GenerationStamp, HadoopError, ReplicaState};
use std::path::{Path, PathBuf};

/// Result of everything in this crate.
pub type ReplicaResult<T> = Result<T, ReplicaError>;

/// Failures of the replica store.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The pool is not (yet) attached: no NameNode of it has been met.
    #[error("block pool {0} is not found")]
    UnknownPool(BlockPoolId),
    /// No such replica, or one that is being deleted.
    #[error("replica not found for blk_{0}_{1}")]
    NotFound(BlockId, GenerationStamp),
    /// A replica that should be created is there already.
    #[error("block blk_{block}_{stamp} already exists in state {} and thus cannot be created", .state.name())]
    AlreadyExists {
        /// The block.
        block: BlockId,
        /// Stamp of the replica found.
        stamp: GenerationStamp,
        /// State of the replica found.
        state: ReplicaState,
    },
    /// The replica's state does not allow the step.
    #[error("cannot {step} replica blk_{block} in state {}", .state.name())]
    WrongState {
        /// The block.
        block: BlockId,
        /// Its state.
        state: ReplicaState,
        /// What was asked.
        step: &'static str,
    },
    /// The replica's generation stamp is outside the wanted range.
    #[error("replica blk_{block} has generation stamp {found}, expected {wanted}")]
    WrongStamp {
        /// The block.
        block: BlockId,
        /// Stamp of the replica.
        found: GenerationStamp,
        /// What was wanted, in words.
        wanted: String,
    },
    /// The replica's length does not fit the request.
    #[error("replica blk_{block} {problem}")]
    WrongLength {
        /// The block.
        block: BlockId,
        /// Which lengths disagree.
        problem: String,
    },
    /// A packet that does not continue what is on disk, or breaks the partial-chunk rules.
    #[error("packet at {offset} of blk_{block} {problem}")]
    BadPacket {
        /// The block.
        block: BlockId,
        /// The packet's offset in the block.
        offset: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Bytes on disk do not match their checksum.
    #[error("checksum of blk_{block} does not match at {offset}")]
    Corrupt {
        /// The block.
        block: BlockId,
        /// Where the bad chunk starts.
        offset: u64,
    },
    /// Its files cannot be what was written.
    #[error("replica blk_{block} {problem}")]
    Damaged {
        /// The block.
        block: BlockId,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The writer was told to stop because somebody else takes the replica over, or it is deleted.
    #[error("writer of blk_{0} was stopped")]
    Stopped(BlockId),
    /// A recovery of the same or a newer id has the replica.
    #[error("rur.getRecoveryID() >= recoveryId = {asked}, block={block}, rur=recoveryId {running}")]
    RecoveryInProgress {
        /// The block as asked for.
        block: hadron_types::Block,
        /// The recovery that has it.
        running: GenerationStamp,
        /// The recovery that wanted it.
        asked: GenerationStamp,
    },
    /// Block recovery cannot use the replica.
    #[error("{problem}")]
    Unrecoverable {
        /// The block.
        block: BlockId,
        /// What does not fit, in Hadoop's words.
        problem: String,
    },
    /// The previous writer did not leave in time.
    #[error("writer of blk_{0} did not stop in time")]
    WriterBusy(BlockId),
    /// No volume of the wanted type has room.
    #[error("{}", no_space(*.wanted, *.most))]
    NoSpace {
        /// Bytes asked for.
        wanted: u64,
        /// The most any volume has; `None` when there is no volume of the type.
        most: Option<u64>,
    },
    /// The settings cannot be used.
    #[error("{0}")]
    Setting(String),
    /// The volume was taken out of use.
    #[error("volume {} has failed", .0.display())]
    VolumeFailed(PathBuf),
    /// More volumes failed than may.
    #[error(
        "Too many failed volumes - current valid volumes: {valid}, volumes configured: {configured}, volumes failed: \
         {failed}, volume failures tolerated: {tolerated}; {cause}"
    )]
    TooManyFailed {
        /// Volumes in use.
        valid: usize,
        /// Volumes in the configuration.
        configured: usize,
        /// Volumes that failed.
        failed: usize,
        /// `dfs.datanode.failed.volumes.tolerated`.
        tolerated: i64,
        /// What was wrong with them.
        cause: String,
    },
    /// Another process uses the directory.
    #[error("cannot lock storage {}: already locked", .0.display())]
    Locked(PathBuf),
    /// What a directory says of itself does not fit.
    #[error("incompatible storage {}: {problem}", .dir.display())]
    Incompatible {
        /// The directory.
        dir: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// The disk failed.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl ReplicaError {
    /// Whether another store has the directory.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked(_))
    }

    /// Wraps an I/O error with what was done to which file; for `map_err`.
    pub fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
    /// Whether there is no room, in the figures or on the disk itself.
    pub fn is_full(&self) -> bool {
        match self {
            Self::NoSpace { .. } => true,
            Self::Io { source, .. } => crate::disk::is_full(source),
            _ => false,
        }
    }
    /// Whether a file that should be there is not.
    pub fn is_missing_file(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
    /// Whether what lies on the disk is not what was written.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Damaged { .. })
    }
    /// Whether the disk, not the request, is at fault.
    pub fn is_disk_failure(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

fn no_space(wanted: u64, most: Option<u64>) -> String {
    match most {
        None => "No more available volumes".to_owned(),
        Some(most) => format!(
            "Out of space: The volume with the most available space (={most} B) is less than the block size \
             (={wanted} B)."
        ),
    }
}

impl From<&ReplicaError> for HadoopError {
    fn from(error: &ReplicaError) -> Self {
        let kind = match error {
            ReplicaError::NotFound(..) => ErrorKind::ReplicaNotFound,
            ReplicaError::AlreadyExists { .. } => ErrorKind::ReplicaAlreadyExists,
            ReplicaError::RecoveryInProgress { .. } => ErrorKind::RecoveryInProgress,
            error if error.is_full() => ErrorKind::DiskOutOfSpace,
            _ => ErrorKind::Io,
        };
        Self::new(kind, error.to_string())
    }
}
