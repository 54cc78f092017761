//! Blocks and the states a replica of one can be in.

use crate::{BlockId, BlockPoolId, GenerationStamp};
use std::fmt;

/// A block as the NameNode and DataNodes speak of it: number, version, length in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Block {
    /// Which block.
    pub id: BlockId,
    /// Which version of it.
    pub generation_stamp: GenerationStamp,
    /// Length in bytes, 0..=2^48-1 (a block report's field is 48 bits wide).
    pub len: u64,
}

impl fmt::Display for Block {
    /// Hadoop's `blk_<id>_<generation stamp>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blk_{}_{}", self.id, self.generation_stamp)
    }
}

/// A block together with the pool it belongs to; what clients send to DataNodes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ExtendedBlock {
    /// The block pool.
    pub pool: BlockPoolId,
    /// The block.
    pub block: Block,
}

impl fmt::Display for ExtendedBlock {
    /// Hadoop's `<pool>:blk_<id>_<generation stamp>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pool, self.block)
    }
}

/// State of one replica on a DataNode. The numbers are those of block reports and `ReplicaStateProto`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum ReplicaState {
    /// Complete; neither bytes nor stamp change without a new pipeline or recovery.
    Finalized = 0,
    /// Replica being written: a pipeline is or was attached to it.
    Rbw = 1,
    /// Replica waiting to be recovered: an RBW found at start-up, not readable.
    Rwr = 2,
    /// Replica under recovery by a primary DataNode.
    Rur = 3,
    /// Being copied from another DataNode; never reported, removed at start-up.
    Temporary = 4,
}

impl ReplicaState {
    /// Reads the number of a block report or `ReplicaStateProto`; `None` for an unknown one.
    pub fn from_wire(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Finalized,
            1 => Self::Rbw,
            2 => Self::Rwr,
            3 => Self::Rur,
            4 => Self::Temporary,
            _ => return None,
        })
    }
    /// Hadoop's name of the state, as in its logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finalized => "FINALIZED",
            Self::Rbw => "RBW",
            Self::Rwr => "RWR",
            Self::Rur => "RUR",
            Self::Temporary => "TEMPORARY",
        }
    }
}
