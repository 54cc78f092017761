//! Rounds of the redundancy monitor: choosing sources and targets, giving copies up that never came.

use super::BlockMap;
use crate::command::TransferTask;
use crate::needed::Level;
use crate::node::{AdminState, NodeIndex, StorageIndex};
use crate::placement::PlacementRequest;
use crate::replicas::ReplicaFlags;
use crate::source::{BlockSource, BlockState, StoredBlock};
use hadron_types::{BlockId, DatanodeUuid, TimeMs};

/// Overdue copies given up and postponed blocks looked at again per round.
const MAX_RECONSIDERED: usize = 2_000;
/// Blocks to copy looked at under one hold of the lock.
const SLICE: usize = 256;

/// What a round did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WorkDone {
    /// Copies ordered.
    pub scheduled: usize,
    /// Copies given up.
    pub timed_out: usize,
    /// Blocks this round should still look at: hand it to [`BlockMap::redundancy_slice`].
    pub left: usize,
}

impl BlockMap {
    /// Begins a round: gives up overdue copies and orders new ones. Call every
    /// `dfs.namenode.redundancy.interval.seconds`, and then [`BlockMap::redundancy_slice`] until nothing is left.
    pub fn redundancy_round(
        &mut self,
        source: &dyn BlockSource,
        now: TimeMs,
        rng: &mut dyn FnMut() -> u64,
    ) -> WorkDone {
        if self.safe_mode.is_on() {
            return WorkDone::default();
        }
        self.allow_deletions(now, rng);
        let expired = self
            .pending
            .expire(now, self.settings.pending_timeout_ms, MAX_RECONSIDERED);
        self.timed_out += expired.len() as u64;
        for &id in &expired {
            self.reconsider(id, source, now);
        }
        self.rescan_postponed(source, MAX_RECONSIDERED, now);
        let wanted = self.cluster.live_count() * self.settings.work_multiplier as usize;
        WorkDone {
            timed_out: expired.len(),
            ..self.redundancy_slice(wanted, source, now, rng)
        }
    }

    /// Goes on with a round: looks at some of the `left` blocks and orders copies.
    pub fn redundancy_slice(
        &mut self,
        left: usize,
        source: &dyn BlockSource,
        now: TimeMs,
        rng: &mut dyn FnMut() -> u64,
    ) -> WorkDone {
        if self.safe_mode.is_on() {
            return WorkDone::default();
        }
        let chosen = self.needed.rotate(left.min(SLICE));
        let mut done = WorkDone {
            left: if chosen.len() < SLICE { 0 } else { left - chosen.len() },
            ..WorkDone::default()
        };
        for (id, level) in chosen {
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
            self.balance(&stored, None, source, now);
            return false;
        }
        let Some(from) = self.choose_source(id, level, rng) else {
            return false;
        };
        let lasting = self.lasting(id);
        let request = PlacementRequest {
            writer_node: Some(self.cluster.node(from).id.uuid.clone()),
            count: missing,
            block_size: stored.block.len.max(1),
            excluded: self.holders(id),
            existing: lasting.iter().map(|&storage| self.uuid_of(storage)).collect(),
            existing_kinds: lasting.iter().map(|&storage| self.kind_of(storage)).collect(),
            policy: source.storage_policy(stored.file),
            ..PlacementRequest::default()
        };
        let mut targets = self.choose_targets(&request, now, rng).targets;
        // A node refuses a copy while it has an older version; the order to delete that leaves with its next heartbeat.
        targets.retain(|&(node, _)| !self.cluster.node(node).invalidate.concerns(id));
        if targets.is_empty() {
            return false;
        }
        for &(node, storage) in &targets {
            let kind = self.cluster.storage(storage).report.storage.kind;
            self.cluster.node_mut(node).scheduled.add(kind, now);
        }
        self.pending.add(id, targets.iter().map(|&(node, _)| node), now);
        let targets = targets.into_iter().map(|target| self.target(target, now)).collect();
        let block = stored.block;
        self.cluster
            .node_mut(from)
            .transfers
            .push_back(TransferTask { block, targets });
        self.balance(&stored, None, source, now);
        true
    }

    /// Copies to order: up to the wanted number, or one more to reach a second rack.
    fn missing(&self, stored: &StoredBlock) -> usize {
        let id = stored.block.id;
        let counts = self.counts(id);
        let effective = counts.live + self.pending.count(id);
        let missing = self.expected_live(stored, &counts).saturating_sub(effective);
        let spread = self.is_well_spread(id, usize::from(stored.replication));
        missing.max(usize::from(!spread && self.pending.count(id) == 0))
    }

    /// A node to copy from: one that is leaving if there is one, else any with a stream to spare, and one that has
    /// left only when no other has the block. Never one in maintenance.
    fn choose_source(&self, id: BlockId, level: Level, rng: &mut dyn FnMut() -> u64) -> Option<NodeIndex> {
        let usable = self.replicas.replicas_of(id).filter(|replica| {
            let corrupt = replica.flags().has(ReplicaFlags::CORRUPT);
            !corrupt && self.cluster.is_usable(replica.storage()) && self.is_readable(*replica)
        });
        let nodes = usable.map(|replica| self.node_of(replica.storage()));
        let leaving = |node: &NodeIndex| {
            matches!(
                self.cluster.node(*node).admin,
                AdminState::DecommissionInProgress | AdminState::EnteringMaintenance
            )
        };
        let free = |node: &NodeIndex| {
            let limit = match level == Level::Highest || leaving(node) {
                true => self.settings.max_streams_hard,
                false => self.settings.max_streams,
            };
            self.cluster.node(*node).transfers.len() < limit as usize
        };
        let has_left = |node: &NodeIndex| self.cluster.node(*node).admin == AdminState::Decommissioned;
        let candidates: Vec<NodeIndex> = nodes.filter(free).collect();
        if let Some(&node) = candidates.iter().find(|node| leaving(node)) {
            return Some(node);
        }
        let serving: Vec<NodeIndex> = candidates.iter().copied().filter(|node| !has_left(node)).collect();
        let choice = if serving.is_empty() { candidates } else { serving };
        let count = choice.len() as u64;
        (count > 0).then(|| choice[(rng() % count) as usize])
    }

    /// Lets a share of the nodes have deletions, so that one round does not make the whole cluster delete.
    fn allow_deletions(&mut self, now: TimeMs, rng: &mut dyn FnMut() -> u64) {
        if now.since(self.started) < self.settings.deletion_delay_ms {
            return;
        }
        let turns = (self.cluster.live_count() as f64 * self.settings.invalidate_share).ceil() as usize;
        let idle =
            |node: &crate::node::Datanode| node.alive && node.deletions_allowed == 0 && node.invalidate.len() > 0;
        let nodes = self.cluster.iter();
        let mut waiting: Vec<NodeIndex> = nodes.filter(|(_, node)| idle(node)).map(|(index, _)| index).collect();
        for _ in 0..turns.min(waiting.len()) {
            let picked = (rng() % waiting.len() as u64) as usize;
            let index = waiting.swap_remove(picked);
            self.cluster.node_mut(index).deletions_allowed = self.settings.invalidate_limit;
        }
    }

    /// Storages of the replicas that last: usable and not about to go with their node.
    fn lasting(&self, id: BlockId) -> Vec<StorageIndex> {
        let lasting = self.replicas.replicas_of(id).filter(|replica| self.is_live(*replica));
        lasting.map(|replica| replica.storage()).collect()
    }

    fn uuid_of(&self, storage: StorageIndex) -> DatanodeUuid {
        self.cluster.node(self.node_of(storage)).id.uuid.clone()
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
