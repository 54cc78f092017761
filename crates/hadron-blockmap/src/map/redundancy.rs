//! Whether a block has too few, too many or bad replicas, and the first step against it.
//!
//! Invariants: outside start-up a complete block is in the needed queues iff live + awaited replicas are fewer than
//! wanted or sit on too few racks; a surplus replica is only marked while at least the wanted number stays live; a
//! corrupt replica is only deleted while a live one stays.

use super::{BlockMap, CorruptReplica};
use crate::classify::CorruptReason;
use crate::command::BlockEvent;
use crate::needed::Level;
use crate::node::{AdminState, NodeIndex, StorageIndex, StorageState};
use crate::replicas::{Replica, ReplicaFlags, Slot};
use crate::source::{BlockSource, BlockState, StoredBlock};
use hadron_types::{Block, BlockId, StoragePolicy, StorageType, TimeMs};

/// A node silent for this many heartbeats is the first to lose a surplus replica (Hadoop's
/// `dfs.namenode.tolerate.heartbeat.multiplier`).
const TOLERATED_HEARTBEATS: u64 = 4;

/// A new replica that names the one to go in exchange (balancer).
#[derive(Clone, Copy, Debug)]
pub(super) struct Hint {
    /// The node that received it.
    pub(super) added: NodeIndex,
    /// The node to lose its replica.
    pub(super) instead: NodeIndex,
}

/// Replicas of a block by what they are good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReplicaCounts {
    /// Usable, on nodes in service, not surplus.
    pub live: usize,
    /// Known to be bad.
    pub corrupt: usize,
    /// Surplus, to be deleted.
    pub excess: usize,
    /// Usable, on nodes being decommissioned.
    pub decommissioning: usize,
    /// Usable, on nodes that were decommissioned.
    pub decommissioned: usize,
    /// Usable, on live nodes that get ready for maintenance.
    pub entering_maintenance: usize,
    /// On nodes in maintenance, or that died getting ready for it: counted on, but not read from.
    pub in_maintenance: usize,
    /// On read-only shared storages.
    pub read_only: usize,
    /// Of the live ones: on storages that have not reported in full since they appeared.
    pub unconfirmed: usize,
}

impl ReplicaCounts {
    /// Replicas a block may be completed with: those of nodes that leave were written all the same.
    pub fn usable(&self) -> usize {
        self.live + self.decommissioning + self.entering_maintenance
    }
    /// Replicas on nodes in maintenance or getting ready for it.
    pub fn maintenance(&self) -> usize {
        self.entering_maintenance + self.in_maintenance
    }
    /// Replicas on nodes that are leaving or have left.
    pub fn out_of_service(&self) -> usize {
        self.decommissioning + self.decommissioned + self.maintenance()
    }
}

impl BlockMap {
    /// Counts the replicas of a block.
    pub fn counts(&self, id: BlockId) -> ReplicaCounts {
        self.replicas
            .find(id)
            .map_or_else(ReplicaCounts::default, |slot| self.counts_at(slot))
    }

    /// Whether `complete` may go on: enough live replicas.
    pub fn is_min_replicated(&self, id: BlockId) -> bool {
        self.counts(id).usable() >= usize::from(self.settings.min_replication)
    }

    /// Looks at one block of the namespace: the shell calls it for every block when safe mode has ended.
    pub fn examine(&mut self, id: BlockId, source: &dyn BlockSource, now: TimeMs) {
        if let Some(stored) = source.stored(id) {
            self.balance(&stored, None, source, now);
        }
    }

    /// Live replicas a block needs: those in maintenance come back, so they count as long as the minimum stays.
    pub(super) fn expected_live(&self, stored: &StoredBlock, counts: &ReplicaCounts) -> usize {
        let wanted = usize::from(stored.replication);
        let minimum = usize::from(self.settings.maintenance_min_replication).min(wanted);
        wanted.saturating_sub(counts.maintenance()).max(minimum)
    }

    pub(super) fn counts_at(&self, slot: Slot) -> ReplicaCounts {
        let mut counts = ReplicaCounts::default();
        for replica in self.replicas.replicas(slot) {
            self.count_replica(replica, &mut counts);
        }
        counts
    }

    fn count_replica(&self, replica: Replica, counts: &mut ReplicaCounts) {
        let storage = self.cluster.storage(replica.storage());
        let node = self.cluster.node(storage.node);
        if replica.flags().has(ReplicaFlags::CORRUPT) {
            counts.corrupt += 1;
        } else if storage.report.storage.state == StorageState::ReadOnlyShared {
            counts.read_only += 1;
        } else if storage.report.storage.state == StorageState::Failed || storage.draining {
            // The replica is about to be forgotten.
        } else if self.is_populating()
            && is_maintenance(node.admin)
            && (!node.alive || node.admin == AdminState::InMaintenance)
        {
            counts.in_maintenance += 1;
        } else if !node.alive {
            // As with a failed storage.
        } else if replica.flags().has(ReplicaFlags::EXCESS) {
            counts.excess += 1;
        } else {
            // While it starts up, the NameNode asks only what there is.
            let admin = match self.is_populating() {
                true => node.admin,
                false => AdminState::Normal,
            };
            match admin {
                AdminState::DecommissionInProgress => counts.decommissioning += 1,
                AdminState::Decommissioned => counts.decommissioned += 1,
                AdminState::EnteringMaintenance | AdminState::InMaintenance => counts.entering_maintenance += 1,
                AdminState::Normal => {
                    counts.live += 1;
                    counts.unconfirmed += usize::from(storage.contents_stale);
                }
            }
        }
    }

    /// Whether readers are sent to the replica, as far as its node's state goes.
    pub(super) fn is_readable(&self, replica: Replica) -> bool {
        self.cluster.node(self.node_of(replica.storage())).admin != AdminState::InMaintenance
    }

    /// A replica was added or became good; `before` is the number of live ones before.
    pub(super) fn replicas_grew(
        &mut self,
        stored: &StoredBlock,
        before: usize,
        hint: Option<Hint>,
        source: &dyn BlockSource,
        now: TimeMs,
    ) {
        let id = stored.block.id;
        self.update_safe(id, stored);
        let minimum = usize::from(self.settings.min_replication);
        if stored.state != BlockState::Complete && before < minimum && self.counts(id).usable() >= minimum {
            self.emit(BlockEvent::MinReplicationReached(id));
        }
        self.balance(stored, hint, source, now);
    }

    /// Removes a replica, if known, with everything noted about it, and looks at what is left.
    pub(super) fn remove_replica(
        &mut self,
        id: BlockId,
        storage: StorageIndex,
        source: &dyn BlockSource,
        now: TimeMs,
    ) -> bool {
        if !self.unlink_replica(id, storage) {
            return false;
        }
        self.reconsider(id, source, now);
        true
    }

    /// Removes a replica without looking at the rest.
    pub(super) fn unlink_replica(&mut self, id: BlockId, storage: StorageIndex) -> bool {
        let was_safe = self.replicas.find(id).is_some_and(|slot| self.replicas.is_safe(slot));
        let Some(flags) = self.replicas.remove(id, storage, self.cluster.storage_mut(storage)) else {
            return false;
        };
        if flags.has(ReplicaFlags::EXCESS) {
            self.excess -= 1;
        }
        self.forget_corrupt(id, storage);
        let is_safe = self.replicas.find(id).is_some_and(|slot| self.replicas.is_safe(slot));
        self.safe_blocks -= u64::from(was_safe && !is_safe);
        true
    }

    /// Something changed for the block: is it safe, does it need copies, has it too many?
    pub(super) fn reconsider(&mut self, id: BlockId, source: &dyn BlockSource, now: TimeMs) {
        match source.stored(id) {
            Some(stored) => {
                self.update_safe(id, &stored);
                self.balance(&stored, None, source, now);
            }
            None => self.needed.remove(id),
        }
    }

    /// Safe mode counts complete blocks with enough live replicas, while it starts up.
    pub(super) fn update_safe(&mut self, id: BlockId, stored: &StoredBlock) {
        let Some(slot) = self.replicas.find(id) else {
            return;
        };
        let enough = usize::from(self.settings.safemode_min_replication);
        let safe =
            self.safe_mode.is_starting() && stored.state == BlockState::Complete && self.counts_at(slot).live >= enough;
        if safe != self.replicas.is_safe(slot) {
            self.replicas.set_safe(slot, safe);
            self.safe_blocks = match safe {
                true => self.safe_blocks + 1,
                false => self.safe_blocks - 1,
            };
        }
    }

    /// Puts the block in or out of the needed queues and marks surplus and deletable corrupt replicas.
    pub(super) fn balance(&mut self, stored: &StoredBlock, hint: Option<Hint>, source: &dyn BlockSource, now: TimeMs) {
        if !self.is_populating() || stored.state != BlockState::Complete {
            return;
        }
        let id = stored.block.id;
        let counts = self.counts(id);
        let wanted = usize::from(stored.replication);
        self.postponed.remove(&id);
        if counts.corrupt > 0 {
            self.delete_corrupt(stored);
        }
        if counts.live > wanted {
            self.mark_surplus(stored, hint, source, now);
        } else if counts.live < wanted && counts.excess > 0 {
            self.spare_surplus(stored);
        }
        self.update_needed(stored);
    }

    pub(super) fn update_needed(&mut self, stored: &StoredBlock) {
        let id = stored.block.id;
        let counts = self.counts(id);
        let wanted = self.expected_live(stored, &counts);
        let awaited = self.pending.count(id);
        let well_spread = awaited > 0 || self.is_well_spread(id, usize::from(stored.replication));
        let level = if counts.live + awaited >= wanted {
            Level::of(wanted, 0, wanted, well_spread)
        } else {
            let leaving = counts.out_of_service() + counts.excess + counts.read_only;
            Level::of(counts.live, leaving, wanted, well_spread)
        };
        self.needed.update(id, level, stored.replication);
    }

    /// Two racks are asked of two or more replicas, once there are or were two racks.
    pub(super) fn is_well_spread(&self, id: BlockId, wanted: usize) -> bool {
        if !self.cluster.ever_multi_rack() || wanted < 2 || self.cluster.rack_count() < 2 {
            return true;
        }
        let usable = self
            .replicas
            .replicas_of(id)
            .filter(|replica| self.holds_a_rack(*replica));
        let mut racks = usable.map(|replica| &self.cluster.node(self.node_of(replica.storage())).rack);
        let Some(first) = racks.next() else {
            return true;
        };
        racks.any(|rack| rack != first)
    }

    /// Whether a replica counts when racks are: replicas in maintenance come back to theirs.
    fn holds_a_rack(&self, replica: Replica) -> bool {
        let mut counts = ReplicaCounts::default();
        self.count_replica(replica, &mut counts);
        counts.live + counts.maintenance() == 1
    }

    pub(super) fn is_live(&self, replica: Replica) -> bool {
        let mut counts = ReplicaCounts::default();
        self.count_replica(replica, &mut counts);
        counts.live == 1
    }

    /// Marks replicas as surplus and orders their deletion until just the wanted number is live.
    fn mark_surplus(&mut self, stored: &StoredBlock, hint: Option<Hint>, source: &dyn BlockSource, now: TimeMs) {
        let id = stored.block.id;
        let live = self.replicas.replicas_of(id).filter(|replica| self.is_live(*replica));
        let mut candidates: Vec<StorageIndex> = live.map(|replica| replica.storage()).collect();
        if candidates
            .iter()
            .any(|&storage| self.cluster.storage(storage).contents_stale)
        {
            self.postponed.insert(id);
            return;
        }
        self.postponed.remove(&id);
        let mut hint = hint;
        let policy = StoragePolicy::in_effect(source.storage_policy(stored.file));
        let wanted = usize::from(stored.replication);
        while candidates.len() > wanted {
            let kinds: Vec<StorageType> = candidates.iter().map(|&storage| self.kind_of(storage)).collect();
            let surplus = policy.choose_excess(stored.replication, &kinds);
            let victim = self.choose_surplus(&candidates, &surplus, hint.take(), now);
            let storage = candidates.swap_remove(victim);
            self.replicas.set_flag(id, storage, ReplicaFlags::EXCESS, true);
            self.excess += 1;
            self.invalidate(self.node_of(storage), stored.block);
        }
    }

    /// Takes back orders to delete surplus replicas, as far as they were not sent: they are needed again.
    fn spare_surplus(&mut self, stored: &StoredBlock) {
        let id = stored.block.id;
        let surplus = |replica: &Replica| replica.flags().has(ReplicaFlags::EXCESS);
        let storages: Vec<StorageIndex> = self
            .replicas
            .replicas_of(id)
            .filter(surplus)
            .map(Replica::storage)
            .collect();
        for storage in storages {
            let node = self.node_of(storage);
            if self.counts(id).live < usize::from(stored.replication)
                && self.cluster.node_mut(node).invalidate.remove(&stored.block)
            {
                self.replicas.set_flag(id, storage, ReplicaFlags::EXCESS, false);
                self.excess -= 1;
            }
        }
    }

    /// The position of the replica to give up, of a medium the policy has one too many of: one that shares its rack if
    /// there is such; the hinted node if racks allow it, else one long silent, else the one with the least room.
    fn choose_surplus(
        &self,
        candidates: &[StorageIndex],
        kinds: &[StorageType],
        hint: Option<Hint>,
        now: TimeMs,
    ) -> usize {
        let rack = |n: usize| &self.cluster.node(self.node_of(candidates[n])).rack;
        let all = 0..candidates.len();
        let shares_rack = |n: usize| all.clone().filter(|&other| rack(other) == rack(n)).count() > 1;
        let fits = |n: &usize| kinds.contains(&self.kind_of(candidates[*n]));
        if let Some(hint) = hint {
            let at = |node: NodeIndex| all.clone().find(|&n| self.node_of(candidates[n]) == node);
            // Alone on its rack it may go as long as the new one brings a rack of its own.
            let may_go = |n: usize| shares_rack(n) || at(hint.added).is_some_and(|added| !shares_rack(added));
            if let Some(hinted) = at(hint.instead).filter(|n| fits(n) && may_go(*n)) {
                return hinted;
            }
        }
        let crowded: Vec<usize> = all.clone().filter(|n| shares_rack(*n) && fits(n)).collect();
        let choice = match crowded.is_empty() {
            true => all.filter(fits).collect(),
            false => crowded,
        };
        let node = |position: usize| self.cluster.node(self.node_of(candidates[position]));
        let tolerated = TOLERATED_HEARTBEATS * self.settings.heartbeat_interval_ms;
        let silent = choice
            .iter()
            .copied()
            .filter(|&n| now.since(node(n).stats.last_update) > tolerated);
        if let Some(oldest) = silent.min_by_key(|&n| node(n).stats.last_update) {
            return oldest;
        }
        let room = |n: &usize| self.cluster.storage(candidates[*n]).report.remaining;
        choice.iter().copied().min_by_key(room).unwrap_or(0)
    }

    pub(super) fn kind_of(&self, storage: StorageIndex) -> StorageType {
        self.cluster.storage(storage).report.storage.kind
    }

    /// Looks again at up to `budget` blocks whose surplus had to wait, going round.
    pub(super) fn rescan_postponed(&mut self, source: &dyn BlockSource, budget: usize, now: TimeMs) {
        let from = self.postponed.range(self.postponed_from..).copied();
        let mut ids: Vec<BlockId> = from.take(budget).collect();
        // Those at the front must not keep the others waiting.
        self.postponed_from = match ids.last() {
            Some(last) if ids.len() == budget => BlockId(last.0.saturating_add(1)),
            _ => BlockId(i64::MIN),
        };
        let rest = budget - ids.len();
        ids.extend(
            self.postponed
                .iter()
                .copied()
                .take(rest.min(self.postponed.len() - ids.len())),
        );
        for id in ids {
            self.postponed.remove(&id);
            self.reconsider(id, source, now);
        }
    }

    /// Marks a replica as unusable; deletes it at once if the block can do without.
    pub(super) fn mark_corrupt(
        &mut self,
        storage: StorageIndex,
        reason: CorruptReason,
        reported: &Block,
        stored: &StoredBlock,
        from: &dyn BlockSource,
        now: TimeMs,
    ) {
        let id = stored.block.id;
        self.insert_replica(id, storage);
        if self
            .replicas
            .on_storage(id, storage)
            .is_some_and(|r| r.flags().has(ReplicaFlags::EXCESS))
        {
            self.replicas.set_flag(id, storage, ReplicaFlags::EXCESS, false);
            self.excess -= 1;
        }
        self.replicas.set_flag(id, storage, ReplicaFlags::CORRUPT, true);
        let marks = self.corrupt.entry(id).or_default();
        if !marks.iter().any(|mark| mark.storage == storage) {
            let block = Block { id, ..*reported };
            marks.push(CorruptReplica { storage, reason, block });
        }
        self.update_safe(id, stored);
        self.balance(stored, None, from, now);
    }

    /// A good version of the replica was reported. Returns whether a mark went.
    pub(super) fn clear_corrupt(
        &mut self,
        id: BlockId,
        storage: StorageIndex,
        forgivable: impl Fn(CorruptReason) -> bool,
    ) -> bool {
        let marks = self.corrupt.get(&id).map_or(&[][..], Vec::as_slice);
        if !marks
            .iter()
            .any(|mark| mark.storage == storage && forgivable(mark.reason))
        {
            return false;
        }
        self.forget_corrupt(id, storage);
        self.replicas.set_flag(id, storage, ReplicaFlags::CORRUPT, false);
        true
    }

    fn forget_corrupt(&mut self, id: BlockId, storage: StorageIndex) {
        if let Some(marks) = self.corrupt.get_mut(&id) {
            marks.retain(|mark| mark.storage != storage);
            if marks.is_empty() {
                self.corrupt.remove(&id);
            }
        }
    }

    /// Deletes the corrupt replicas the block can do without: when enough are live, when they are beyond the wanted
    /// number anyway, or when the writer left them behind with an older stamp.
    fn delete_corrupt(&mut self, stored: &StoredBlock) {
        let id = stored.block.id;
        let (wanted, minimum) = (
            usize::from(stored.replication),
            usize::from(self.settings.min_replication),
        );
        for mark in self.corrupt.get(&id).cloned().unwrap_or_default() {
            let counts = self.counts(id);
            let minimal = counts.live >= minimum;
            let beyond_wanted = minimal && counts.live + counts.corrupt > wanted;
            let left_behind = minimal && stored.block.generation_stamp > mark.block.generation_stamp;
            if counts.live >= wanted || beyond_wanted || left_behind {
                self.delete_corrupt_replica(id, mark);
            }
        }
    }

    /// Orders the deletion of one corrupt replica, if live ones exist and all of them are sure.
    fn delete_corrupt_replica(&mut self, id: BlockId, mark: CorruptReplica) {
        let counts = self.counts(id);
        if counts.live == 0 {
            return;
        }
        if counts.unconfirmed > 0 {
            self.postponed.insert(id);
            return;
        }
        self.unlink_replica(id, mark.storage);
        self.invalidate(self.node_of(mark.storage), mark.block);
    }

    /// Orders `node` to delete a replica with its next heartbeats.
    pub(super) fn invalidate(&mut self, node: NodeIndex, block: Block) {
        let node = self.cluster.node_mut(node);
        if node.alive {
            node.invalidate.insert(block);
        }
    }
}

fn is_maintenance(state: AdminState) -> bool {
    matches!(state, AdminState::EnteringMaintenance | AdminState::InMaintenance)
}
