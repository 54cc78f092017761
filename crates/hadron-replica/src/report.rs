//! What a pool says of its replicas to the outside: counts, and the lines of full block reports.
//!
//! What it does not do: it changes nothing, and touches no disk.

use crate::pool::{Entry, Pool, ReportedReplica};
use hadron_types::{Block, BlockId, ReplicaState};

impl Pool {
    /// Replicas by volume, open ones included.
    pub(crate) fn counts_by_volume(&self) -> Vec<u64> {
        let mut counts = vec![0; self.volumes.len()];
        for volume in self.replicas.lock().values().filter_map(Entry::volume) {
            counts[usize::from(volume)] += 1;
        }
        counts
    }

    /// How many replicas there are, and how many of them are open.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let map = self.replicas.lock();
        let open = map.values().filter(|e| matches!(e, Entry::Active(_))).count();
        (map.len(), open)
    }

    /// The replicas of a full report, by volume.
    pub(crate) fn report(&self) -> Vec<Vec<ReportedReplica>> {
        let mut lists = vec![Vec::new(); self.volumes.len()];
        let mut active = Vec::new();
        for (id, entry) in self.replicas.lock().iter() {
            let entry = match entry {
                Entry::Recovering(running) => &running.original,
                entry => entry,
            };
            match entry {
                Entry::Finalized(finalized) | Entry::Held(finalized) => {
                    lists[usize::from(finalized.volume)].push(ReportedReplica {
                        block: finalized.block(*id),
                        state: ReplicaState::Finalized,
                    })
                }
                Entry::Active(replica) => active.push(replica.clone()),
                Entry::Recovering(_) | Entry::Deleting => {}
            }
        }
        for replica in active {
            let status = replica.status();
            if status.state != ReplicaState::Temporary {
                lists[usize::from(replica.home.index)].push(ReportedReplica {
                    block: Block {
                        id: replica.id,
                        generation_stamp: status.stamp,
                        len: status.on_disk,
                    },
                    state: status.state,
                });
            }
        }
        lists
    }

    /// Whether a replica is here that the NameNode is told of.
    pub(crate) fn has_reported(&self, id: BlockId) -> bool {
        match self.replicas.lock().get(&id) {
            Some(Entry::Finalized(_) | Entry::Held(_) | Entry::Recovering(_)) => true,
            Some(Entry::Active(replica)) => replica.status().state != ReplicaState::Temporary,
            _ => false,
        }
    }
}
