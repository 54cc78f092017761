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
    /// No volume has room.
    #[error("out of space: no volume of {volumes} has {wanted} bytes left")]
    NoSpace {
        /// Bytes asked for.
        wanted: u64,
        /// Volumes looked at.
        volumes: usize,
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
    /// Wraps an I/O error with what was done to which file; for `map_err`.
    pub fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
    /// Whether the disk itself is broken: not full, not short of descriptors.
    pub fn condemns_disk(&self) -> bool {
        use rustix::io::Errno;
        let Self::Io { source, .. } = self else {
            return false;
        };
        let errno = source.raw_os_error().map(Errno::from_raw_os_error);
        matches!(errno, Some(Errno::IO | Errno::ROFS | Errno::NODEV | Errno::NXIO))
    }
    /// Whether the disk, not the request, is at fault.
    pub fn is_disk_failure(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

impl From<&ReplicaError> for HadoopError {
    fn from(error: &ReplicaError) -> Self {
        let kind = match error {
            ReplicaError::NotFound(..) => ErrorKind::ReplicaNotFound,
            ReplicaError::AlreadyExists { .. } => ErrorKind::ReplicaAlreadyExists,
            ReplicaError::RecoveryInProgress { .. } => ErrorKind::RecoveryInProgress,
            _ => ErrorKind::Io,
        };
        Self::new(kind, error.to_string())
    }
}
