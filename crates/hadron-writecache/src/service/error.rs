//! What a caller of the cache may have to handle.
//!
//! Errors of the file or of the replicas stick: every write and flush gives the same one until `reset`, so that nobody goes
//! on behind a hole. They are shared, hence the `Arc`s.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::config::ConfigError;
use crate::core::Refusal;
use crate::replicator::ReplicatorError;

/// Why a cache cannot begin.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The settings are out of bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The pool's buffers have another length than the settings say.
    #[error("the pool has buffers of {pool} bytes, the settings say {config}; use a pool of that length")]
    PoolLength {
        /// Length of the pool's buffers.
        pool: usize,
        /// Length in the settings.
        config: usize,
    },
    /// The file does not open, or its thread does not start.
    #[error("open the file below the write cache")]
    Io(#[from] io::Error),
}

/// What stops the cache until `reset`.
#[derive(Clone, Debug, Error)]
pub enum Failure {
    /// The file refused a buffer, also after it was opened again.
    #[error("write {len} bytes in buffer {sequence} to the file; abort and reset")]
    Write {
        /// Sequence of the buffer.
        sequence: u64,
        /// Its length.
        len: usize,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The file could not be made durable; it is unknown what of it is.
    #[error("sync the file; abort, recover from what is on disk, then reset")]
    Sync {
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The length of the file could not be changed.
    #[error("set the length of the file to {extent}; abort and reset")]
    Extent {
        /// The wished length.
        extent: u64,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The replicas do not take buffers.
    #[error("replicate a buffer; abort and reset")]
    Replicate {
        /// Why.
        source: ReplicatorError,
    },
}

/// Why a write, flush or sync did not do its work.
#[derive(Clone, Debug, Error)]
pub enum WriteError {
    /// The caller asked for what cannot be; nothing changed, no reset is needed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A checksum was given although checksums are off.
    #[error("record at {offset} comes with checksum {checksum:#010x}, but checksums are off; give 0")]
    NoChecksums {
        /// Offset of the record.
        offset: u64,
        /// What was given.
        checksum: u32,
    },
    /// The cache stopped: abort, then `reset`.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// A reset came in between; what was written since the last flush is gone.
    #[error("the cache was reset meanwhile; write again")]
    Reset,
    /// The time-out of a flush passed; the write set is still on its way: flush again, or reset.
    #[error("the flush did not end in time; flush again, or abort and reset")]
    TimedOut,
    /// The cache was closed, maybe while this call waited.
    #[error("the write cache is closed")]
    Closed,
}

/// Why a read gives no record.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// The bytes are not those that were written.
    #[error(
        "record at {offset} of {len} bytes has crc {actual:#010x}, it was written with {expected:#010x}; history: {history}"
    )]
    Checksum {
        /// Offset of the record.
        offset: u64,
        /// Its length without the checksum.
        len: usize,
        /// What stands behind it.
        expected: u32,
        /// What the bytes give.
        actual: u32,
        /// What the cache did at this offset of late, oldest first.
        history: String,
    },
    /// The cache holds a record of another length there: the address is wrong or old.
    #[error("record at {offset} has {held} bytes, {asked} were asked for; history: {history}")]
    Length {
        /// Offset of the record.
        offset: u64,
        /// Bytes asked for.
        asked: usize,
        /// Bytes there.
        held: usize,
        /// What the cache did at this offset of late, oldest first.
        history: String,
    },
    /// The file could not be read.
    #[error("read {len} bytes at {offset} from the file")]
    Io {
        /// Offset of the record.
        offset: u64,
        /// Bytes asked for, with checksum.
        len: usize,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The cache is closed, and this call would have read the file.
    #[error("the write cache is closed")]
    Closed,
}
