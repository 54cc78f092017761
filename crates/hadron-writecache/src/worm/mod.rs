//! A file store that is only appended to: exact offsets, one contiguous write for each buffer, commits that carry their own
//! proof.
//!
//! What it is for: logs. Records go behind each other; a commit pads them to a block, ends that block with a trailer over
//! all of it, and syncs once. [`WormFile::open`] after any crash finds the last commit by reading from the front. What it
//! does not do: no index, no deletion, no second writer; many callers share one through a queue of their own, which is also
//! what makes group commit.
//!
//! Parts: `frame` is the blocks on disk, `scan` (recovery) reads them, `file` writes them. The format is in
//! `docs/formats/write-cache-stores.md`.
//!
//! Invariants: `committed <= written <= appended`; a byte that may be durable is never written again; writes start at block
//! borders and are whole blocks.

mod error;
mod file;
mod frame;
mod scan;

pub use error::WormError;
pub use file::{Address, Opened, WormFile, WormReader};
pub use frame::MAX_USER_BYTES;
pub use scan::Commit;
