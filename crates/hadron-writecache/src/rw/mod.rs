//! A file store for records that come and go: slots by size, commits by a pair of root blocks.
//!
//! What it is for: many small records in one file, written anywhere, freed in large numbers, their room used again.
//! [`RwStore::open`] after any crash finds the last commit. What it does not do: it keeps no index; each record says itself
//! what it is, or the caller keeps an index in records and its address in the root block ([`RwStore::commit`]).
//!
//! Parts: `geometry` is where things lie, `allocator` (pure) what is in use, `root` and `page` the blocks on disk, `store`
//! the I/O. The format is in `docs/formats/write-cache-stores.md`.
//!
//! Invariants: `records and pages durable → root durable → freed slots reusable`; a slot a durable commit refers to is never
//! given out again before a commit without it is durable.

mod allocator;
mod bitmap;
mod error;
mod geometry;
mod page;
mod region;
mod root;
mod store;

pub use allocator::{Slot, Space};
pub use error::RwError;
pub use geometry::{BLOCK_BYTES, Geometry, MAX_PAGES, MAX_REGION_UNITS, MIN_REGION_UNITS, REGIONS_PER_PAGE};
pub use root::MAX_USER_BYTES;
pub(crate) use root::{u32_at, u64_at};
pub use store::RwStore;
