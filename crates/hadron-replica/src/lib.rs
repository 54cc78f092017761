//! Replicas on a DataNode's disks: volumes, block and meta files, replica states.
//!
//! What it is for: Apache's directory layout read and written in place, the life of a replica from RBW to FINALIZED
//! or deletion, handles by which one thread writes or reads one replica, the room on each volume, and taking a volume
//! out of use when its disk breaks. Files are touched only through `disk`, over a [`hadron_env::Disk`].
//! What it does not do: no sockets, no RPC; when replicas are scanned is decided elsewhere; it never decides that a replica should exist.
//! Invariants: `acked <= on_disk <= received` for every open replica; an acked byte is in the page cache at least, a
//! synced one on the disk; no string from the wire is joined into a path.

mod active;
mod administration;
mod check;
mod choosing;
mod chunks;
mod composite;
mod cut;
mod deletion;
mod disk;
mod error;
mod files;
mod identity;
pub mod layout;
mod load;
mod locking;
mod moving;
mod pool;
mod pool_volume;
mod properties;
mod reader;
mod reconcile;
mod recovery;
mod removal;
mod report;
mod restart;
mod space;
pub mod state;
mod store;
mod trouble;
mod verify;
mod volume;
mod walk;
mod writer;

pub use active::Interrupt;
pub use administration::LocalPaths;
pub use check::CheckOptions;
pub use choosing::ChoosingPolicy;
pub use chunks::{ChunkFormat, META_HEADER_LEN};
pub use composite::CompositeCrc;
pub use error::{ReplicaError, ReplicaResult};
pub use identity::{PoolIdentity, StorageIdentity};
pub use pool::{DEFAULT_BLOCK_SPACE, FinalizedReplica, NewReplica, PoolOptions, ReportedReplica};
pub use properties::Properties;
pub use reader::ReplicaReader;
pub use reconcile::{Reconciled, Repair};
pub use recovery::{OUTDATED_REPLICA, RecoveryInfo};
pub use removal::{DeletionHook, GoneHook};
pub use space::{Reserve, ReserveRule, Usage};
pub use store::{FailureHook, ReplicaStore, StorageBlocks, StorageReport, StoreOptions};
pub use verify::Verdict;
pub use volume::{SPACE_MAX_AGE, Volume, VolumeFailure, VolumeSpec};
pub use walk::{BlockWalk, WalkPosition};
pub use writer::{AckHandle, Packet, ReplicaWriter};
