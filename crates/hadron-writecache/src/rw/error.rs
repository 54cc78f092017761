//! What can go wrong with a read-write store, by what the caller can do about it.

use std::io;
use std::sync::Arc;

use thiserror::Error;

/// Why a call on a read-write store did not do what it should.
#[derive(Clone, Debug, Error)]
pub enum RwError {
    /// A number of the geometry is out of bounds.
    #[error("{field} is {value}, it must be {bounds}")]
    Geometry {
        /// Name of the number.
        field: &'static str,
        /// What it was.
        value: u32,
        /// What it may be.
        bounds: &'static str,
    },
    /// Neither root block is one: another kind of file, or both are lost.
    #[error(
        "no root block is readable ({reason}); this is no read-write store, or it is damaged: restore it from a replica"
    )]
    NoRoot {
        /// What is the matter with each.
        reason: String,
    },
    /// The file is of a version this program does not know.
    #[error("root block has version {version}, this program reads version {known}; use a newer program")]
    Version {
        /// Version found.
        version: u32,
        /// Version known.
        known: u32,
    },
    /// Bytes that were durable do not read as they were written.
    #[error("damage at byte {offset}: {reason}; restore the file from a replica")]
    Damaged {
        /// File offset of what is damaged.
        offset: u64,
        /// What is the matter.
        reason: String,
    },
    /// A record larger than any slot.
    #[error("record of {len} bytes does not fit a slot of {max}; store it elsewhere")]
    TooLarge {
        /// Bytes asked for.
        len: u64,
        /// Bytes in the largest slot.
        max: u64,
    },
    /// All regions are there and in use.
    #[error("all {regions} regions are in use; free slots and commit, or start another store")]
    Full {
        /// Regions there are.
        regions: u32,
    },
    /// A slot that is not in use, or was never given out; or bytes that reach out of it.
    #[error("no slot in use holds {len} bytes from byte {offset} on; the address is stale or wrong")]
    BadSlot {
        /// File offset.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// The caller's part of the root block is too long.
    #[error("{len} bytes of user data do not fit the root block's {max}; store them as a record")]
    UserTooLong {
        /// Bytes given.
        len: usize,
        /// Bytes there is room for.
        max: usize,
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

impl RwError {
    pub(crate) fn io(what: &'static str, offset: u64) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what,
            offset,
            source: Arc::new(source),
        }
    }
}
