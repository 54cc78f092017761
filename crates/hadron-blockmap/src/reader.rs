//! Locations of a block as a reader gets them.

use crate::node::{AdminState, DatanodeInfo};
use crate::topology;
use core::net::IpAddr;
use hadron_types::{StorageId, StorageType};

/// One replica of a block.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplicaLocation {
    /// The node.
    pub node: DatanodeInfo,
    /// The storage on it.
    pub storage: StorageId,
    /// Its medium.
    pub kind: StorageType,
}

/// The replicas of a block, sorted for one reader.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Located {
    /// Nearest first; stale (if asked for), decommissioned and in-maintenance nodes last.
    pub replicas: Vec<ReplicaLocation>,
    /// True when replicas are known and all of them are corrupt; then all are listed.
    pub corrupt: bool,
}

/// Sorts locations: on the reader's own host, on its rack, then by steps up and down the tree of racks; nodes that are
/// leaving, in maintenance or (with `avoid_stale`) stale come last. Equals are shuffled.
pub(crate) fn sort_for_reader(
    replicas: &mut [ReplicaLocation],
    reader: Option<IpAddr>,
    rack: Option<&str>,
    avoid_stale: bool,
    rng: &mut dyn FnMut() -> u64,
) {
    let distance = |node: &DatanodeInfo| match (reader, rack) {
        (Some(ip), _) if ip == node.id.ip => 0,
        (Some(_), Some(rack)) => topology::distance(rack, &node.rack),
        _ => u32::MAX,
    };
    replicas.sort_by_cached_key(|replica| {
        let node = &replica.node;
        (reluctance(node, avoid_stale), distance(node), rng())
    });
}

/// What to read from last: nodes in service, then those that get ready for maintenance, then silent ones, then those
/// that are out of service.
fn reluctance(node: &DatanodeInfo, avoid_stale: bool) -> u8 {
    match node.admin {
        AdminState::InMaintenance | AdminState::Decommissioned => 3,
        _ if avoid_stale && node.stale => 2,
        AdminState::EnteringMaintenance => 1,
        AdminState::Normal | AdminState::DecommissionInProgress => 0,
    }
}
