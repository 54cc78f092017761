//! What the namespace tells: blocks begin, end, change their wanted replication, vanish.

use super::{BlockMap, OpenBlock};
use crate::classify::{CorruptReason, ReportedReplica};
use crate::command::BlockEvent;
use crate::node::{AdminState, NodeIndex, StorageIndex};
use crate::placement::Target;
use crate::reader::ReplicaLocation;
use crate::source::{BlockSource, StoredBlock};
use hadron_types::{Block, BlockId, DatanodeUuid, GenerationStamp, ReplicaState, StorageId, TimeMs};

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
        self.open.entry(id).or_default().expected = expected;
    }

    /// The pipeline was rebuilt (`updatePipeline`, recovery): from now on these nodes are expected.
    pub fn pipeline_changed(&mut self, id: BlockId, nodes: &[(DatanodeUuid, Option<StorageId>)]) {
        let find = |(uuid, storage): &(DatanodeUuid, Option<StorageId>)| {
            let node = self.cluster.find(uuid)?;
            self.storage_or_first(node, storage.as_ref())
        };
        let expected = nodes.iter().filter_map(find).collect();
        self.open.entry(id).or_default().expected = expected;
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
        self.mark_outdated(stored, source, now);
        if self.is_min_replicated(id) {
            self.emit(BlockEvent::MinReplicationReached(id));
        }
    }

    /// The block is complete: pipeline nodes that have not reported yet are awaited, then it is looked after.
    pub fn block_completed(&mut self, stored: &StoredBlock, source: &dyn BlockSource, now: TimeMs) {
        let id = stored.block.id;
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
    pub fn block_reopened(&mut self, id: BlockId) {
        let expected = self.replicas.replicas_of(id).map(|replica| replica.storage()).collect();
        self.open.entry(id).or_default().expected = expected;
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

    /// A block recovery ended: these nodes hold the block as it is recorded now; what others have of it is outdated.
    pub fn block_recovered(
        &mut self,
        block: &Block,
        nodes: &[(DatanodeUuid, Option<StorageId>)],
        source: &dyn BlockSource,
        now: TimeMs,
    ) {
        let storages = self.take_recovered(block, nodes, source, now);
        let known = self.replicas.replicas_of(block.id).map(|replica| replica.storage());
        let outdated: Vec<StorageIndex> = known.filter(|storage| !storages.contains(storage)).collect();
        if let Some(stored) = source.stored(block.id) {
            for storage in outdated {
                let reason = CorruptReason::GenerationStampMismatch;
                let replica = Block {
                    generation_stamp: GenerationStamp(block.generation_stamp.0.saturating_sub(1)),
                    ..*block
                };
                self.mark_corrupt(storage, reason, &replica, &stored, source, now);
            }
        }
    }

    /// Takes in the replicas that a block recovery left, also while the recovery is not recorded yet. Other replicas are
    /// left alone: see [`BlockMap::block_recovered`].
    pub fn replicas_recovered(
        &mut self,
        block: &Block,
        nodes: &[(DatanodeUuid, Option<StorageId>)],
        source: &dyn BlockSource,
        now: TimeMs,
    ) {
        let storages = self.take_recovered(block, nodes, source, now);
        // The others are not waited for: what they have is not the block any more.
        self.open.entry(block.id).or_default().expected = storages;
    }

    /// Gives the storages of the replicas it took in.
    fn take_recovered(
        &mut self,
        block: &Block,
        nodes: &[(DatanodeUuid, Option<StorageId>)],
        source: &dyn BlockSource,
        now: TimeMs,
    ) -> Vec<StorageIndex> {
        let alive = nodes.iter().filter_map(|(uuid, storage)| {
            let node = self.cluster.find_alive(uuid)?;
            self.storage_or_first(node, storage.as_ref())
        });
        let storages: Vec<StorageIndex> = alive.collect();
        for &storage in &storages {
            self.process_recovered(storage, block, source, now);
        }
        storages
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
    /// from before a restart of their node: no pipeline goes on with them, and they are in the way of a copy.
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
        let outdated: Vec<_> = open.reported.iter().filter(outdated).copied().collect();
        for (storage, replica) in outdated {
            let reason = match replica.block.generation_stamp == stored.block.generation_stamp {
                true => CorruptReason::SizeMismatch,
                false => CorruptReason::GenerationStampMismatch,
            };
            self.mark_corrupt(storage, reason, &replica.block, stored, source, now);
        }
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
