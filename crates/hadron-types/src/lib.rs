//! The vocabulary every other Hadron crate speaks: identifiers, blocks, permissions, paths and errors.
//!
//! What it is for: one Rust type per Hadoop idea, so that a block id can never be passed where an inode id is
//! wanted, and one table between our error kinds and Java's exception class names.
//! What it does not do: no protobuf, no I/O, no clock, no configuration.
//! Invariants: every identifier is a newtype; conversions to and from the wire happen once, at the border.

mod block;
mod error;
mod id;
mod path;
mod permission;
mod storage;
mod storage_policy;
mod time_text;

pub use block::{Block, ExtendedBlock, ReplicaState};
pub use error::{ErrorKind, HadoopError, HadoopResult};
pub use id::{
    BlockId, BlockPoolId, CallId, ClientId, DatanodeUuid, Epoch, GenerationStamp, InodeId, LogIndex, StorageId, TimeMs,
};
pub use path::{FsPath, MAX_PATH_COMPONENTS, MAX_PATH_LEN, PathError};
pub use permission::{FsAction, FsPermission};
pub use storage::{ChecksumType, StorageType};
pub use storage_policy::{StoragePolicy, UNSPECIFIED_POLICY};
pub use time_text::{duration_text, parse_relative_time};
