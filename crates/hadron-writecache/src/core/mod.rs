//! The policy of the cache, pure: which buffer takes a record, which is written, compacted or recycled, and what readers find.
//!
//! What it is for: [`machine`] decides for writes, [`reads`] for the read and hot cache, [`map`] is what readers ask. Each
//! takes an event and returns what the shell must do. What it does not do: no I/O, clock, thread or bytes; positions only.

pub mod buffer;
pub mod machine;
pub mod map;
pub mod reads;

pub use buffer::{BufferId, Slot};
pub use machine::{Completed, Job, Machine, Refusal, Reserved};
pub use map::{Found, Heat, RecordMap};
pub use reads::{Installed, ReadLists, Relocation};
