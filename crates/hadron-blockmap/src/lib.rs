//! Soft block state: which DataNodes there are, which replicas they hold, and what must be done about it.
//!
//! What it is for: everything the NameNode learns from DataNodes and never journals. [`BlockMap`] eats
//! registrations, heartbeats, reports and the passing of time, and hands out commands for DataNodes, events for the
//! shell, targets for new blocks and locations for readers.
//! What it does not do: it never stores a block's generation stamp, length, state or wanted replication. Those are
//! the namespace's, asked for through [`BlockSource`]. No I/O, no clock, no randomness: `now` and `rng` are arguments.
//! Invariants: a replica is in its block's record if and only if the block is in its storage's list; every queue
//! has a named limit in [`Settings`] or is bounded by the number of blocks; long work is done in slices whose size
//! the caller gives.
//!
//! Every `now: TimeMs` must come from one clock that never runs backwards; it may have the wall clock's origin.

pub mod balancer;
mod caching;
mod classify;
mod cluster;
mod command;
mod invalidate;
mod lease;
mod map;
mod needed;
mod node;
mod paged;
mod pending;
mod placement;
mod reader;
mod replicas;
pub mod report;
mod safemode;
mod settings;
mod source;
mod stats;
pub mod topology;

pub use classify::{CorruptReason, ReportedReplica, Verdict, classify};
pub use command::{BlockEvent, DatanodeCommand, TransferTask};
pub use map::{
    AdminChange, AdminWish, BlockDump, BlockMap, DumpedCopy, DumpedReplica, FullReport, Heartbeat, HeartbeatReply,
    Increment, IncrementKind, Registration, RegistrationError, ReplicaCounts, ReplicaPlace, ReportError,
    ReportProgress, ReportRpc, Standing, StorageIncrements, WorkDone,
};
pub use node::{
    AdminState, DEFAULT_RACK, DatanodeId, DatanodeInfo, DatanodeReport, LeavingProgress, NodeStats, SlowPeer,
    StorageDescription, StorageReport, StorageState, VolumeFailures,
};
pub use placement::{PlacementError, PlacementRequest, Target};
pub use reader::{Located, ReplicaLocation};
pub use safemode::{SafeMode, SafeModeReason};
pub use settings::Settings;
pub use source::{BlockSource, BlockState, StoredBlock};
pub use stats::{BlockStats, ClusterStats, MemoryUsage};
