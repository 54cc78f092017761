//! Rounds of the redundancy monitor: choosing sources and targets, giving copies up that never came.

use super::BlockMap;
use crate::command::TransferTask;
use crate::needed::Level;
use crate::node::{AdminState, NodeIndex};
use crate::placement::PlacementRequest;
use crate::replicas::ReplicaFlags;
use crate::source::{BlockSource, BlockState, StoredBlock};
use hadron_types::{BlockId, DatanodeUuid, TimeMs};

/// Blocks looked at in one round at most, however many nodes there are: bounds the time the lock is held.
const MAX_BLOCKS_PER_ROUND: usize = 2_000;

/// What a round did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkDone {
    /// Copies ordered.
    pub scheduled: usize,
    /// Copies given up.
    pub timed_out: usize,
}

impl BlockMap {
    /// One round: gives up overdue copies and orders new ones. Call every `dfs.namenode.redundancy.interval.seconds`.
    pub fn redundancy_round(
        &mut self,
        source: &dyn BlockSource,
        now: TimeMs,
        rng: &mut dyn FnMut() -> u64,
    ) -> WorkDone {
        if self.safe_mode.is_on() {
            return WorkDone::default();
        }
        let expired = self
            .pending
            .expire(now, self.settings.pending_timeout_ms, MAX_BLOCKS_PER_ROUND);
        self.timed_out += expired.len() as u64;
        for &id in &expired {
            self.reconsider(id, source, now);
        }
        self.rescan_postponed(source, MAX_BLOCKS_PER_ROUND, now);
        let wanted = self.cluster.live_count() * self.settings.work_multiplier as usize;
        let mut done = WorkDone {
            scheduled: 0,
            timed_out: expired.len(),
        };
        for (id, level) in self.needed.rotate(wanted.min(MAX_BLOCKS_PER_ROUND)) {
            done.scheduled += usize::from(self.schedule(id, level, source, now, rng));
        }
        done
    }

    fn schedule(
        &mut self,
        id: BlockId,
        level: Level,
        source: &dyn BlockSource,
        now: TimeMs,
        rng: &mut dyn FnMut() -> u64,
    ) -> bool {
        let Some(stored) = source.stored(id).filter(|stored| stored.state == BlockState::Complete) else {
            self.needed.remove(id);
            return false;
        };
        let missing = self.missing(&stored);
        if missing == 0 {
            self.balance(&stored, None, now);
            return false;
        }
        let Some(from) = self.choose_source(id, level, rng) else {
            return false;
        };
        let request = PlacementRequest {
            writer: Some(self.cluster.node(from).id.ip),
            count: missing,
            block_size: stored.block.len.max(1),
            existing: self.holders(id),
            ..PlacementRequest::default()
        };
        let targets = self.choose_targets(&request, now, rng).targets;
        if targets.is_empty() {
            return false;
        }
        for &(node, _) in &targets {
            self.cluster.node_mut(node).scheduled.add(now);
        }
        self.pending.add(id, targets.iter().map(|&(node, _)| node), now);
        let targets = targets.into_iter().map(|target| self.target(target, now)).collect();
        let block = stored.block;
        self.cluster
            .node_mut(from)
            .transfers
            .push_back(TransferTask { block, targets });
        self.balance(&stored, None, now);
        true
    }

    /// Copies to order: up to the wanted number, or one more to reach a second rack.
    fn missing(&self, stored: &StoredBlock) -> usize {
        let id = stored.block.id;
        let effective = self.counts(id).live + self.pending.count(id);
        let missing = usize::from(stored.replication).saturating_sub(effective);
        let spread = self.is_well_spread(id, usize::from(stored.replication));
        missing.max(usize::from(!spread && self.pending.count(id) == 0))
    }

    /// A node to copy from: one being emptied if there is one, else any with a stream to spare.
    fn choose_source(&self, id: BlockId, level: Level, rng: &mut dyn FnMut() -> u64) -> Option<NodeIndex> {
        let limit = match level {
            Level::Highest => self.settings.max_streams_hard,
            _ => self.settings.max_streams,
        };
        let usable = self
            .replicas
            .replicas_of(id)
            .filter(|replica| !replica.flags().has(ReplicaFlags::CORRUPT) && self.cluster.is_usable(replica.storage()));
        let nodes = usable.map(|replica| self.node_of(replica.storage()));
        let free = |node: &NodeIndex| self.cluster.node(*node).transfers.len() < limit as usize;
        let candidates: Vec<NodeIndex> = nodes.filter(free).collect();
        let leaving = |node: &&NodeIndex| self.cluster.node(**node).admin == AdminState::DecommissionInProgress;
        if let Some(&node) = candidates.iter().find(leaving) {
            return Some(node);
        }
        let count = candidates.len() as u64;
        (count > 0).then(|| candidates[(rng() % count) as usize])
    }

    /// Nodes that have a replica of any quality or are about to.
    fn holders(&self, id: BlockId) -> Vec<DatanodeUuid> {
        let replicas = self
            .replicas
            .replicas_of(id)
            .map(|replica| self.node_of(replica.storage()));
        let nodes = replicas.chain(self.pending.targets(id).iter().copied());
        nodes.map(|node| self.cluster.node(node).id.uuid.clone()).collect()
    }
}
