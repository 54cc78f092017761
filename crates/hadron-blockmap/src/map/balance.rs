//! What a balancer asks: which replicas a node has, and where their blocks are besides.
//!
//! Positions count over the node's storages in their order; they shift when replicas come and go meanwhile, which a
//! balancer, who samples, does not mind.

use super::BlockMap;
use crate::replicas::ReplicaFlags;
use hadron_types::{BlockId, DatanodeUuid, StorageId, StorageType};

/// Where a replica is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaPlace {
    /// Its node.
    pub node: DatanodeUuid,
    /// Its storage.
    pub storage: StorageId,
    /// That storage's type.
    pub kind: StorageType,
}

impl BlockMap {
    /// Replicas on a node; `None` if the node is not known or dead.
    pub fn replica_count(&self, node: &DatanodeUuid) -> Option<usize> {
        let index = self.cluster.find_alive(node)?;
        let storages = self.cluster.node(index).storages.iter();
        Some(
            storages
                .map(|&storage| self.cluster.storage(storage).blocks.len())
                .sum(),
        )
    }

    /// The blocks of the replicas `from..from + count` of a node, on storages of `kind` if given, each with the places
    /// of its sound replicas that are to stay; those whose replica here is not are left out. Empty if the node is gone.
    pub fn node_blocks(
        &self,
        node: &DatanodeUuid,
        from: usize,
        count: usize,
        kind: Option<StorageType>,
    ) -> Vec<(BlockId, Vec<ReplicaPlace>)> {
        let Some(index) = self.cluster.find_alive(node) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let (mut skip, mut left) = (from, count);
        for &storage in &self.cluster.node(index).storages {
            let storage = self.cluster.storage(storage);
            let len = storage.blocks.len();
            let here = skip.min(len)..(skip.saturating_add(left)).min(len);
            skip -= skip.min(len);
            left -= here.len();
            if kind.is_some_and(|kind| kind != storage.report.storage.kind) {
                continue;
            }
            for position in here {
                let id = self.replicas.id(storage.blocks.get(position));
                let places = self.places(id);
                // What is about to be deleted here must not be moved: its place would count twice.
                if places.iter().any(|place| place.node == *node) {
                    found.push((id, places));
                }
            }
        }
        found
    }

    fn places(&self, id: BlockId) -> Vec<ReplicaPlace> {
        let sound = |replica: &crate::replicas::Replica| {
            let flags = replica.flags();
            !flags.has(ReplicaFlags::CORRUPT)
                && !flags.has(ReplicaFlags::EXCESS)
                && self.cluster.is_usable(replica.storage())
        };
        let place = |replica: crate::replicas::Replica| {
            let storage = self.cluster.storage(replica.storage());
            ReplicaPlace {
                node: self.cluster.node(storage.node).id.uuid.clone(),
                storage: storage.report.storage.id.clone(),
                kind: storage.report.storage.kind,
            }
        };
        self.replicas.replicas_of(id).filter(sound).map(place).collect()
    }
}
