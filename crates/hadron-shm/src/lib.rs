//! Shared memory between a DataNode and the clients on its machine, for short-circuit reads.
//!
//! A [`Segment`] is 8 KiB that both sides map, made of 64-byte [`Slot`]s. A slot stands for one replica whose descriptors a
//! client holds: its word says whether the replica is still the block's (VALID), whether it is locked in memory and so may
//! be read without checksums (ANCHORABLE), and how many readers rely on that (the anchor count). [`DomainListener`]
//! and [`send_descriptors`] are the way descriptors travel; [`MappedFile`] is a block file mapped for zero-copy reads, and
//! locked into memory by the DataNode's cache.
//!
//! What this crate does not do: it knows no blocks, no messages and no policy; who registers slots and when they are
//! released is the business of the DataNode's registry and the client's cache.
//!
//! Invariants: this is the only crate with `unsafe`, all of it in `map.rs` and `prefetch.rs`; slot words are only touched by atomic
//! operations; a segment that we made cannot be shrunk by whoever else maps it; every descriptor is closed on drop and on
//! exec. Layout and flags: docs/formats/short-circuit.md (Hadoop `ShortCircuitShm`).

mod descriptors;
mod ids;
mod listener;
mod map;
mod path;
mod prefetch;
mod segment;
mod word;

pub use descriptors::{MAX_DESCRIPTORS, receive_descriptors, send_descriptors};
pub use ids::{ShmId, SlotId};
pub use listener::DomainListener;
pub use map::MappedFile;
pub use path::{SocketPathError, check_socket_directories, socket_path};
pub use prefetch::prefetch;
pub use segment::{MAX_SEGMENT_LEN, SEGMENT_LEN, SLOT_LEN, Segment, SegmentError, Slot};
pub use word::{ANCHORABLE, AnchorError, Cell, MAX_ANCHORS, VALID, Word};
