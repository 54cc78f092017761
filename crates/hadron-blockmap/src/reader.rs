//! Locations of a block as a reader gets them.

use crate::node::{AdminState, DatanodeInfo};
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

/// Sorts locations: on the reader's own host, on its rack, elsewhere; nodes that are leaving, in maintenance or
/// (with `avoid_stale`) stale come last. Equals are shuffled.
pub(crate) fn sort_for_reader(
    replicas: &mut [ReplicaLocation],
    reader: Option<IpAddr>,
    rack: Option<&str>,
    avoid_stale: bool,
    rng: &mut dyn FnMut() -> u64,
) {
    let distance = |node: &DatanodeInfo| match reader {
        Some(ip) if ip == node.id.ip => 0u8,
        Some(_) if rack == Some(&*node.rack) => 2,
        _ => 4,
    };
    let inactive = |node: &DatanodeInfo| match node.admin {
        AdminState::Normal | AdminState::DecommissionInProgress | AdminState::EnteringMaintenance => {
            u8::from(avoid_stale && node.stale)
        }
        AdminState::InMaintenance | AdminState::Decommissioned => 2,
    };
    replicas.sort_by_cached_key(|replica| (inactive(&replica.node), distance(&replica.node), rng()));
}
