//! What comes out of the block map: commands for DataNodes and events for the shell.

use crate::placement::Target;
use hadron_types::{Block, BlockId};

/// An order for one DataNode, to go out with the answer to its heartbeat.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum DatanodeCommand {
    /// Register again: the NameNode does not know the node, or thought it dead.
    Register,
    /// Copy replicas to other nodes (DNA_TRANSFER).
    Transfer(Vec<TransferTask>),
    /// Delete replicas (DNA_INVALIDATE).
    Invalidate(Vec<Block>),
    /// Keep these blocks in memory.
    Cache(Vec<BlockId>),
    /// Keep these blocks in memory no longer.
    Uncache(Vec<BlockId>),
    /// Use at most this many bytes a second for balancing.
    BalancerBandwidth(u64),
}

/// One block to copy and where to.
#[derive(Clone, PartialEq, Debug)]
pub struct TransferTask {
    /// The block with its current stamp and length.
    pub block: Block,
    /// At least one target.
    pub targets: Vec<Target>,
}

/// Something the shell may be waiting for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BlockEvent {
    /// A block that is not yet complete now has minimum replication: `complete` and `addBlock` may go on.
    MinReplicationReached(BlockId),
    /// Safe mode ended by itself: the shell scans all blocks through [`crate::BlockMap::examine`].
    SafeModeLeft,
    /// There are two racks for the first time, or a node changed its rack: the shell scans all blocks likewise.
    RacksChanged,
}
