//! Balancing: from what DataNodes hold and have room for to the moves that even it out.
//!
//! [`classify`] says who has too much and who too little, [`pair`] who gives how much to whom, and [`Schedule`] picks
//! blocks, targets and proxies one move at a time and says when to ask for more. A shell asks the NameNode, carries out
//! the moves and tells how they ended. What it does not do: know tokens, addresses or the NameNode's protocol.
//! Invariants of every move: the source has the block and no other replica is on the target's node; the block is on as
//! many racks as before (and on as many node groups as it has replicas, where there are such); a block is moved once in
//! a while ([`MovedBlocks`]); no node takes part in more moves than it may.
//! Source of rules: Hadoop `Balancer`, `Dispatcher`, `Matcher`.

mod choice;
mod moved;
mod pairing;
mod racks;
mod schedule;
#[cfg(test)]
mod tests;
mod utilization;

pub use choice::Candidate;
pub use moved::MovedBlocks;
pub use pairing::{Pair, pair};
pub use racks::Racks;
pub use schedule::{MoveId, MoveOrder, Rules, Schedule, Step};
pub use utilization::{Level, Limits, Standing, Utilizations, classify};

use hadron_types::StorageType;

/// A DataNode, by its place in the list of [`Member`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct NodeNumber(pub usize);

/// The storages of one type on one node: what blocks are moved between.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Group {
    /// The node.
    pub node: NodeNumber,
    /// The type.
    pub kind: StorageType,
}

/// What a node is wanted for. All nodes are known, so that racks are counted right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// It gives and takes.
    Both,
    /// It takes only: others were named as sources.
    Takes,
    /// It is left out: excluded, not included, or not in service.
    None,
}

/// Space of one group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupSpace {
    /// The storage type.
    pub kind: StorageType,
    /// Bytes in all.
    pub capacity: u64,
    /// Bytes that count as used: of all pools or of one, as the balancing policy says.
    pub used: u64,
    /// Bytes still to be had.
    pub remaining: u64,
}

/// A DataNode as balancing sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its rack's path.
    pub rack: String,
    /// What it is wanted for.
    pub part: Part,
    /// Its space by storage type.
    pub groups: Vec<GroupSpace>,
}
