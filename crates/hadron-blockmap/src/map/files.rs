//! What the namespace tells: blocks begin, end, change their wanted replication, vanish.

use super::{BlockMap, OpenBlock, Recovered};
use crate::classify::{CorruptReason, ReportedReplica};
use crate::command::BlockEvent;
use crate::node::{AdminState, NodeIndex, StorageIndex};
use crate::placement::Target;
use crate::reader::ReplicaLocation;
use crate::replicas::{Replica, ReplicaFlags};
use crate::source::{BlockSource, StoredBlock};
use hadron_types::{Block, BlockId, DatanodeUuid, ReplicaState, StorageId, TimeMs};

impl BlockMap {
    /// A block begins: `targets` are its pipeline (soft state, lost at restart).
    pub fn block_opened(&mut self, id: BlockId, targets: &[Target], now: TimeMs) {
        let mut expected = Vec::with_capacity(targets.len());
        for target in targets {
            let Some(node) = self.cluster.find_alive(&target.node.id.uuid) else {
                continue;
            };
            self.cluster.node_mut(node).scheduled.add(target.kind, now);
            expected.extend(self.storage_or_first(node, Some(&target.storage)));
        }
        let open = self.open.entry(id).or_default();
        open.expected = expected;
        open.held |= !targets.is_empty();
    }

    /// The pipeline was rebuilt (`updatePipeline`): from now on these nodes are expected, and replicas of the time before
    /// an append are no locations any more unless their nodes said that they took on the new stamp.
    pub fn pipeline_changed(&mut self, block: &Block, nodes: &[(DatanodeUuid, Option<StorageId>)]) {
        let find = |(uuid, storage): &(DatanodeUuid, Option<StorageId>)| {
            let node = self.cluster.find(uuid)?;
            self.storage_or_first(node, storage.as_ref())
        };
        let expected = nodes.iter().filter_map(find).collect();
        let open = self.open.entry(block.id).or_default();
        open.expected = expected;
        // They have replicas of the old stamp at best.
        open.absent.clear();
        open.held |= !nodes.is_empty();
        for (storage, version) in self.outdated_locations(block) {
            self.unlink_replica(block.id, storage);
            let state = ReplicaState::Finalized;
            let open = self.open.entry(block.id).or_default();
            let known = open.reported.iter().any(|&(other, _)| other == storage);
            if !known && !open.expected.contains(&storage) {
                // Its node is not in the pipeline: the block's end finds it outdated.
                open.reported.push((storage, ReportedReplica { block: version, state }));
            }
        }
    }

    /// Whether some node was ever to have a replica of an open block, as far as is known since the start.
    pub fn was_held(&self, id: BlockId) -> bool {
        self.open.get(&id).is_some_and(|open| open.held)
    }

    /// Where the pipeline of an open block is, in its order; empty after a restart until replicas are reported.
    pub fn expected(&self, id: BlockId, now: TimeMs) -> Vec<ReplicaLocation> {
        let Some(open) = self.open.get(&id) else {
            return Vec::new();
        };
        let storages = match open.expected.is_empty() {
            true => open.reported.iter().map(|&(storage, _)| storage).collect(),
            false => open.expected.clone(),
        };
        let alive = |storage: &StorageIndex| self.cluster.node(self.node_of(*storage)).alive;
        let storages = storages.into_iter().filter(alive);
        storages.map(|storage| self.location(storage, now)).collect()
    }

    /// Whom to ask for replicas of an open block in its recovery, one replica of a node: the pipeline, whoever reported
    /// one that is not older than `block`, the block as recorded, and nodes of these that died and came back.
    ///
    /// Empty while some of the latter are all that may have one and not all of them are back: what the others answer must
    /// not be the end of the block.
    pub fn recovery_replicas(&self, block: &Block, now: TimeMs) -> Vec<ReplicaLocation> {
        let Some(open) = self.open.get(&block.id) else {
            return Vec::new();
        };
        let mut reported: Vec<_> = open.reported.iter().collect();
        reported.retain(|(_, replica)| replica.block.generation_stamp >= block.generation_stamp);
        reported.sort_by_key(|(_, replica)| std::cmp::Reverse(replica.block.generation_stamp));
        let known = open.expected.iter().chain(reported.iter().map(|(storage, _)| storage));
        let mut storages: Vec<StorageIndex> = known.copied().collect();
        storages.retain(|&storage| self.cluster.node(self.node_of(storage)).alive);
        let back = open.absent.iter().filter_map(|uuid| self.cluster.find_alive(uuid));
        let back: Vec<NodeIndex> = back.collect();
        if !storages.is_empty() || back.len() == open.absent.len() {
            storages.extend(back.iter().filter_map(|&node| self.storage_or_first(node, None)));
        }
        let mut nodes = Vec::new();
        storages.retain(|&storage| {
            let node = self.node_of(storage);
            let is_first = !nodes.contains(&node);
            nodes.push(node);
            is_first
        });
        storages
            .into_iter()
            .map(|storage| self.location(storage, now))
            .collect()
    }

    /// Replicas reported for an open block: where, with stamp and length, in which state. For block recovery.
    pub fn reported(&self, id: BlockId, now: TimeMs) -> Vec<(ReplicaLocation, Block, ReplicaState)> {
        let open = self.open.get(&id).into_iter().flat_map(|open| &open.reported);
        open.map(|(storage, replica)| (self.location(*storage, now), replica.block, replica.state))
            .collect()
    }

    /// The writer gave the final length and stamp. Finished replicas that differ are marked corrupt; may emit
    /// [`BlockEvent::MinReplicationReached`].
    pub fn block_committed(&mut self, stored: &StoredBlock, source: &dyn BlockSource, now: TimeMs) {
        let id = stored.block.id;
        self.settle_recovery(stored, source, now);
        self.mark_outdated(stored, source, now);
        if self.is_min_replicated(id) {
            self.emit(BlockEvent::MinReplicationReached(id));
        }
    }

    /// The block is complete: pipeline nodes that have not reported yet are awaited, then it is looked after.
    pub fn block_completed(&mut self, stored: &StoredBlock, source: &dyn BlockSource, now: TimeMs) {
        let id = stored.block.id;
        self.settle_recovery(stored, source, now);
        self.mark_outdated(stored, source, now);
        if let Some(open) = self.open.remove(&id) {
            let awaited = self.not_yet_reported(id, &open);
            if !awaited.is_empty() {
                self.pending.add(id, awaited, now);
            }
        }
        if self.safe_mode.is_starting() {
            let (_, total) = self.safe_mode.progress();
            self.safe_mode.set_total(total + 1);
        }
        self.update_safe(id, stored);
        self.balance(stored, None, source, now);
    }

    /// A complete block is written to again (append, recovery): its replicas are the pipeline, and copies of what it was
    /// are awaited no longer.
    pub fn block_reopened(&mut self, stored: &StoredBlock) {
        let id = stored.block.id;
        let good = |replica: &Replica| !replica.flags().has(ReplicaFlags::CORRUPT);
        let replicas = self.replicas.replicas_of(id).filter(good);
        let expected: Vec<StorageIndex> = replicas.map(Replica::storage).collect();
        let is_new = !self.open.contains_key(&id);
        let open = self.open.entry(id).or_default();
        open.held |= !expected.is_empty();
        open.expected = expected;
        if is_new {
            open.before = Some(Box::new(stored.block));
        }
        self.pending.remove(id);
        self.needed.remove(id);
        self.postponed.remove(&id);
        if let Some(slot) = self.replicas.find(id).filter(|&slot| self.replicas.is_safe(slot)) {
            self.replicas.set_safe(slot, false);
            self.safe_blocks -= 1;
        }
        if self.safe_mode.is_starting() {
            let (_, total) = self.safe_mode.progress();
            self.safe_mode.set_total(total.saturating_sub(1));
        }
    }

    /// A block recovery came to this result, which is about to be recorded: these nodes hold `block`. It takes effect in
    /// one with the record, in [`BlockMap::block_committed`] or [`BlockMap::block_completed`], and only if the record has
    /// the stamp of `block`; what nodes tell in between is minded.
    pub fn recovery_reported(&mut self, block: &Block, nodes: &[(DatanodeUuid, Option<StorageId>)]) {
        let alive = nodes.iter().filter_map(|(uuid, storage)| {
            let node = self.cluster.find_alive(uuid)?;
            self.storage_or_first(node, storage.as_ref())
        });
        let recovered = Recovered {
            block: *block,
            storages: alive.collect(),
        };
        self.open.entry(block.id).or_default().recovered = Some(Box::new(recovered));
    }

    /// A recovery's result is recorded: its replicas are locations.
    fn settle_recovery(&mut self, stored: &StoredBlock, source: &dyn BlockSource, now: TimeMs) {
        let stamp = stored.block.generation_stamp;
        let Some(open) = self.open.get_mut(&stored.block.id) else {
            return;
        };
        let recovered = open
            .recovered
            .take()
            .filter(|recovered| recovered.block.generation_stamp == stamp);
        let Some(Recovered { block, mut storages }) = recovered.map(|recovered| *recovered) else {
            return;
        };
        let deleted = |storage: StorageIndex| open.gone.iter().any(|&(other, gone)| other == storage && gone >= stamp);
        storages.retain(|&storage| !deleted(storage));
        // The others are not waited for: what they have is not the block any more.
        open.expected = storages.clone();
        for storage in storages {
            self.process_recovered(storage, &block, source, now);
        }
    }

    /// Blocks no file holds any more: all their replicas are to be deleted. The caller bounds the slice.
    pub fn blocks_removed(&mut self, blocks: &[Block]) {
        for block in blocks {
            self.remove_block(block);
        }
    }

    /// The wanted number of replicas changed.
    pub fn replication_changed(&mut self, stored: &StoredBlock, source: &dyn BlockSource, now: TimeMs) {
        self.balance(stored, None, source, now);
    }

    /// Corrects the number of complete blocks safe mode waits for (deletions during start-up).
    pub fn set_total_blocks(&mut self, total: u64, now: TimeMs) {
        self.safe_mode.set_total(total);
        self.tick_safe_mode(now);
    }

    fn remove_block(&mut self, block: &Block) {
        let id = block.id;
        let storages: Vec<StorageIndex> = self.replicas.replicas_of(id).map(|replica| replica.storage()).collect();
        for storage in storages {
            let mark = self
                .corrupt
                .get(&id)
                .and_then(|marks| marks.iter().find(|mark| mark.storage == storage));
            let version = mark.map_or(*block, |mark| mark.block);
            self.unlink_replica(id, storage);
            self.invalidate(self.node_of(storage), version);
        }
        self.needed.remove(id);
        self.pending.remove(id);
        self.postponed.remove(&id);
        self.open.remove(&id);
    }

    /// Replicas reported finished with another stamp or length than the final one are bad, and so are those left over
    /// from before a restart of their node: no pipeline goes on with them, and they are in the way of a copy. The same
    /// goes for replicas that are locations since the block was complete before and that nobody has brought further.
    fn mark_outdated(&mut self, stored: &StoredBlock, source: &dyn BlockSource, now: TimeMs) {
        let id = stored.block.id;
        let Some(open) = self.open.get(&id) else {
            return;
        };
        let outdated = |(_, replica): &&(StorageIndex, ReportedReplica)| {
            let left_over =
                replica.state == ReplicaState::Rwr && replica.block.generation_stamp < stored.block.generation_stamp;
            let other_end = (replica.block.generation_stamp, replica.block.len)
                != (stored.block.generation_stamp, stored.block.len);
            left_over || replica.state == ReplicaState::Finalized && other_end
        };
        let reported = open.reported.iter().filter(outdated);
        let mut outdated: Vec<_> = reported.map(|&(storage, replica)| (storage, replica.block)).collect();
        for (storage, version) in self.outdated_locations(&stored.block) {
            if !outdated.iter().any(|&(other, _)| other == storage) {
                outdated.push((storage, version));
            }
        }
        for (storage, version) in outdated {
            let reason = match version.generation_stamp == stored.block.generation_stamp {
                true => CorruptReason::SizeMismatch,
                false => CorruptReason::GenerationStampMismatch,
            };
            self.mark_corrupt(storage, reason, &version, stored, source, now);
        }
    }

    /// The locations of an open block that have an older stamp than `block`, with what is known of them.
    fn outdated_locations(&self, block: &Block) -> Vec<(StorageIndex, Block)> {
        let Some(open) = self.open.get(&block.id) else {
            return Vec::new();
        };
        let version = |storage: StorageIndex| {
            let mut reported = open.reported.iter();
            let found = reported.find(|&&(other, _)| other == storage);
            found
                .map(|(_, replica)| replica.block)
                .or(open.before.as_deref().copied())
        };
        let good = |replica: &Replica| !replica.flags().has(ReplicaFlags::CORRUPT);
        let locations = self.replicas.replicas_of(block.id).filter(good).map(Replica::storage);
        let versions = locations.filter_map(|storage| Some((storage, version(storage)?)));
        versions
            .filter(|(_, version)| version.generation_stamp < block.generation_stamp)
            .collect()
    }

    fn not_yet_reported(&self, id: BlockId, open: &OpenBlock) -> Vec<NodeIndex> {
        let known: Vec<NodeIndex> = self
            .replicas
            .replicas_of(id)
            .map(|replica| self.node_of(replica.storage()))
            .collect();
        let nodes = open.expected.iter().map(|&storage| self.node_of(storage));
        nodes
            .filter(|node| self.serves(*node) && !known.contains(node))
            .collect()
    }

    /// Whether a replica on the node will count as live.
    fn serves(&self, node: NodeIndex) -> bool {
        let node = self.cluster.node(node);
        node.alive && node.admin == AdminState::Normal
    }

    fn storage_or_first(&self, node: NodeIndex, id: Option<&StorageId>) -> Option<StorageIndex> {
        let storages = &self.cluster.node(node).storages;
        let named = |index: &&StorageIndex| Some(&self.cluster.storage(**index).report.storage.id) == id;
        storages.iter().find(named).or(storages.first()).copied()
    }
}
