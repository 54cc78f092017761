//! What can go wrong with an append-only store, by what the caller can do about it.

use std::io;
use std::sync::Arc;

use thiserror::Error;

/// Why a call on an append-only store did not do what it should.
#[derive(Clone, Debug, Error)]
pub enum WormError {
    /// The first block is not that of an append-only store.
    #[error(
        "the first block is none of an append-only store ({reason}); give another file or restore it from a replica"
    )]
    NoHeader {
        /// What is the matter.
        reason: &'static str,
    },
    /// The file is of a version this program does not know.
    #[error("the file has version {version}, this program reads version {known}; use a newer program")]
    Version {
        /// Version found.
        version: u32,
        /// Version known.
        known: u32,
    },
    /// A commit does not read as it was written, and one after it does.
    #[error(
        "commit {sequence} at byte {offset} is damaged, commit {later} after it is not; restore the file from a replica"
    )]
    Damaged {
        /// Where the damaged commit begins.
        offset: u64,
        /// Its number.
        sequence: u64,
        /// A whole commit behind it.
        later: u64,
    },
    /// The header's user bytes are too long.
    #[error("{len} bytes of user data do not fit the header's {max}; store them as a record")]
    UserTooLong {
        /// Bytes given.
        len: usize,
        /// Bytes there is room for.
        max: usize,
    },
    /// The size of the write buffer is not a multiple of the block, or zero.
    #[error("a write buffer of {len} bytes is none; use a multiple of 4096")]
    BufferLen {
        /// Bytes asked for.
        len: usize,
    },
    /// Bytes that no commit has.
    #[error("no commit has {len} bytes from byte {offset} on; the address is wrong, or not committed yet")]
    BadAddress {
        /// File offset.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// A read or write failed.
    #[error("{what} at byte {offset}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// File offset; 0 for what concerns the whole file.
        offset: u64,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// An earlier failure left unknown what is on disk.
    #[error("the store failed before ({reason}); open it again, it will be at its last commit")]
    Poisoned {
        /// The earlier failure.
        reason: String,
    },
}

impl WormError {
    pub(super) fn io(what: &'static str, offset: u64) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what,
            offset,
            source: Arc::new(source),
        }
    }
}
