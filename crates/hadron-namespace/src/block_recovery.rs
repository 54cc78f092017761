//! What is recorded of a running block recovery: the stamp that fences older attempts, and a truncation's length.
//!
//! Who carries it out, when, and how often it is tried again is soft state of the NameNode and not here.

use hadron_types::GenerationStamp;

/// The recovery of a block that is under recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRecovery {
    /// The stamp that the block will have; a report with another one comes from an attempt that was given up.
    pub id: GenerationStamp,
    /// Bytes that a truncation leaves of the block; `None` when its writer is gone and the replicas decide.
    pub truncate_to: Option<u64>,
}
