//! What DataNodes report of their replicas.
//!
//! A full report is compared in slices: every replica it names moves to the front of its storage's list, what is left
//! behind at the end is gone. Anything learnt meanwhile from incremental reports counts as named.

use super::BlockMap;
use super::redundancy::Hint;
use crate::classify::{CorruptReason, ReportedReplica, Verdict, classify};
use crate::cluster::MAX_STORAGES_PER_NODE;
use crate::node::{NodeIndex, SplitReport, Storage, StorageDescription, StorageIndex};
use crate::replicas::ReplicaFlags;
use crate::source::{BlockSource, StoredBlock};
use hadron_types::{Block, BlockId, DatanodeUuid, ReplicaState, StorageId, TimeMs};

/// Most recent states kept of one open block; more come only from a confused DataNode.
pub(super) const MAX_OPEN_REPLICAS: usize = 1024;

/// Why a report is not processed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReportError {
    /// The sender is not registered or counts as dead.
    #[error("report from dead or unregistered datanode")]
    UnknownNode,
    /// Its lease is not valid (any more): the report is ignored.
    #[error("report without a valid lease")]
    NoLease,
    /// It has more storages than we keep.
    #[error("report of a storage beyond the limit")]
    TooManyStorages,
}

/// A full report of one storage being processed. Dropping it leaves everything unnamed where it is.
#[derive(Debug)]
pub struct FullReport {
    storage: StorageIndex,
    number: u64,
}

/// How far a full report has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportProgress {
    /// Call again.
    More,
    /// All done.
    Done,
    /// Another report of the storage began, or its node died: stop.
    Superseded,
}

/// Which call of a full report it is (`BlockReportContextProto`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportRpc {
    /// The report's number, the same in all its calls.
    pub report: i64,
    /// This call's number, from 0.
    pub number: u32,
    /// Calls the report comes in, at least 1.
    pub count: u32,
}

impl ReportRpc {
    /// A report in one call.
    pub const ONLY: Self = Self {
        report: 0,
        number: 0,
        count: 1,
    };
}

/// What happened to a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IncrementKind {
    /// It is being written.
    Receiving,
    /// It is finished.
    Received,
    /// It is gone.
    Deleted,
}

/// One entry of an incremental report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Increment {
    /// The replica.
    pub block: Block,
    /// What happened.
    pub kind: IncrementKind,
    /// With `Received`: the node that should lose its replica in exchange (balancer).
    pub delete_hint: Option<DatanodeUuid>,
}

/// Entries of one storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageIncrements {
    /// The storage.
    pub storage: StorageDescription,
    /// What happened on it, in order.
    pub increments: Vec<Increment>,
}

impl BlockMap {
    /// Whether a full report under `lease` (0: none) may be processed; ask once per RPC, before its storages.
    pub fn check_report_lease(&self, node: &DatanodeUuid, lease: u64, now: TimeMs) -> Result<(), ReportError> {
        let index = self.cluster.find_alive(node).ok_or(ReportError::UnknownNode)?;
        if self.leases.check(index, lease, now) {
            Ok(())
        } else {
            Err(ReportError::NoLease)
        }
    }

    /// Begins the full report of one storage.
    pub fn begin_full_report(
        &mut self,
        node: &DatanodeUuid,
        storage: &StorageDescription,
    ) -> Result<FullReport, ReportError> {
        let index = self.cluster.find_alive(node).ok_or(ReportError::UnknownNode)?;
        let storage = self
            .cluster
            .storage_of(index, storage)
            .ok_or(ReportError::TooManyStorages)?;
        self.next_report += 1;
        let known = self.cluster.storage_mut(storage);
        known.running_report = Some(self.next_report);
        known.seen = 0;
        Ok(FullReport {
            storage,
            number: self.next_report,
        })
    }

    /// Processes up to `budget` replicas of a full report; when `replicas` has ended, removes what it did not name.
    pub fn report_slice(
        &mut self,
        report: &FullReport,
        replicas: &mut dyn Iterator<Item = ReportedReplica>,
        source: &dyn BlockSource,
        budget: usize,
        now: TimeMs,
    ) -> ReportProgress {
        let storage = report.storage;
        let runs = |known: &Storage| known.running_report == Some(report.number);
        if !self.cluster.get_storage(storage).is_some_and(runs) {
            return ReportProgress::Superseded;
        }
        let mut left = budget;
        for replica in replicas.take(budget) {
            self.process_replica(storage, &replica, None, source, now);
            left -= 1;
        }
        if left == 0 {
            return ReportProgress::More;
        }
        while self.cluster.storage(storage).blocks.len() > self.cluster.storage(storage).seen {
            if left == 0 {
                return ReportProgress::More;
            }
            left -= 1;
            let blocks = &self.cluster.storage(storage).blocks;
            let id = self.replicas.id(blocks.get(blocks.len() - 1));
            self.remove_replica(id, storage, source, now);
        }
        self.finish_full_report(storage, now);
        ReportProgress::Done
    }

    /// Ends the RPC that carried full reports of the storages `named`. With the last one of a report the node's lease
    /// ends; once all have come, storages that none of them named are gone.
    pub fn end_full_report_rpc(&mut self, node: &DatanodeUuid, named: &[StorageId], rpc: ReportRpc) {
        let Some(index) = self.cluster.find_alive(node) else {
            return;
        };
        if rpc.number.saturating_add(1) >= rpc.count {
            self.leases.remove(index);
        }
        let Some(named) = self.all_named(index, named, rpc) else {
            return;
        };
        for storage in self.cluster.node(index).storages.clone() {
            if !named.contains(&self.cluster.storage(storage).report.storage.id) {
                self.start_draining(storage);
            }
        }
    }

    /// The storages a whole report named; `None` while calls of it are still to come.
    fn all_named(&mut self, index: NodeIndex, named: &[StorageId], rpc: ReportRpc) -> Option<Vec<StorageId>> {
        let known = &mut self.cluster.node_mut(index).split_report;
        if rpc.count <= 1 {
            *known = None;
            return Some(named.to_vec());
        }
        let split = known.take_if(|split| split.id == rpc.report);
        let mut split = split.unwrap_or_else(|| SplitReport {
            id: rpc.report,
            ..SplitReport::default()
        });
        if split.came.len() < MAX_STORAGES_PER_NODE && split.came.insert(rpc.number) {
            split.named.extend_from_slice(named);
        }
        if split.came.len() >= rpc.count as usize {
            return Some(split.named);
        }
        *known = Some(split);
        None
    }

    /// Takes in an incremental report.
    pub fn incremental_report(
        &mut self,
        node: &DatanodeUuid,
        reports: &[StorageIncrements],
        source: &dyn BlockSource,
        now: TimeMs,
    ) -> Result<(), ReportError> {
        let index = self.cluster.find_alive(node).ok_or(ReportError::UnknownNode)?;
        for report in reports {
            let known = self.cluster.storage_of(index, &report.storage);
            let storage = known.ok_or(ReportError::TooManyStorages)?;
            for increment in &report.increments {
                self.process_increment(index, storage, increment, source, now);
            }
        }
        Ok(())
    }

    /// A reader or a DataNode found the replica of `block` on `node` to be corrupt. `false`: nothing to mark.
    pub fn report_bad_replica(
        &mut self,
        block: &Block,
        node: &DatanodeUuid,
        storage: Option<&StorageId>,
        source: &dyn BlockSource,
        now: TimeMs,
    ) -> bool {
        let (Some(index), Some(stored)) = (self.cluster.find_alive(node), source.stored(block.id)) else {
            return false;
        };
        let known = self.storage_of_replica(block.id, index);
        let Some(found) = known.or_else(|| self.storage_named(index, storage)) else {
            return false;
        };
        self.mark_corrupt(found, CorruptReason::Reported, block, &stored, source, now);
        true
    }

    /// The storage of `node` that has a replica of the block.
    fn storage_of_replica(&self, id: BlockId, node: NodeIndex) -> Option<StorageIndex> {
        let mut storages = self.replicas.replicas_of(id).map(|replica| replica.storage());
        storages.find(|&storage| self.node_of(storage) == node)
    }

    fn storage_named(&self, node: NodeIndex, id: Option<&StorageId>) -> Option<StorageIndex> {
        let id = id?;
        let storages = self.cluster.node(node).storages.iter().copied();
        let mut same = storages.filter(|&index| self.cluster.storage(index).report.storage.id == *id);
        same.next()
    }

    fn finish_full_report(&mut self, storage: StorageIndex, now: TimeMs) {
        let known = self.cluster.storage_mut(storage);
        known.running_report = None;
        known.seen = 0;
        known.contents_stale = false;
        let node = known.node;
        self.cluster.node_mut(node).stats.last_block_report = now;
        self.tick_safe_mode(now);
    }

    fn process_increment(
        &mut self,
        node: NodeIndex,
        storage: StorageIndex,
        increment: &Increment,
        source: &dyn BlockSource,
        now: TimeMs,
    ) {
        let block = increment.block;
        let state = match increment.kind {
            IncrementKind::Deleted => {
                self.forget_deleted(storage, &block, source, now);
                return;
            }
            IncrementKind::Receiving => ReplicaState::Rbw,
            IncrementKind::Received => ReplicaState::Finalized,
        };
        let received = increment.kind == IncrementKind::Received;
        if received {
            let kind = self.cluster.storage(storage).report.storage.kind;
            self.cluster.node_mut(node).scheduled.remove(kind, now);
        }
        let awaited = received && self.pending.remove_target(block.id, node);
        let instead = increment
            .delete_hint
            .as_ref()
            .and_then(|uuid| self.cluster.find_alive(uuid));
        let hint = instead.map(|instead| Hint { added: node, instead });
        self.process_replica(storage, &ReportedReplica { block, state }, hint, source, now);
        if awaited {
            self.reconsider(block.id, source, now);
        }
    }

    fn forget_deleted(&mut self, storage: StorageIndex, block: &Block, source: &dyn BlockSource, now: TimeMs) {
        let node = self.node_of(storage);
        self.cluster.node_mut(node).invalidate.remove(block);
        if let Some(open) = self.open.get_mut(&block.id) {
            open.reported.retain(|&(other, _)| other != storage);
            open.gone.retain(|&(other, _)| other != storage);
            if open.gone.len() < MAX_OPEN_REPLICAS {
                open.gone.push((storage, block.generation_stamp));
            }
        }
        self.remove_replica(block.id, storage, source, now);
    }

    /// The heart of all reports: one replica, judged and entered.
    fn process_replica(
        &mut self,
        storage: StorageIndex,
        reported: &ReportedReplica,
        hint: Option<Hint>,
        source: &dyn BlockSource,
        now: TimeMs,
    ) {
        let id = reported.block.id;
        self.mark_seen(storage, reported);
        let node = self.node_of(storage);
        if self.cluster.node(node).invalidate.contains(&reported.block) {
            return;
        }
        let stored = source.stored(id);
        match (classify(reported, stored.as_ref()), stored) {
            (Verdict::Add, Some(stored)) => {
                // A committed block is still open: the replica's older news no longer hold.
                if self.open.contains_key(&id) {
                    self.note_open(storage, reported);
                }
                self.add_replica(storage, &stored, hint, source, now);
            }
            (Verdict::UnderConstruction { location }, Some(stored)) => {
                self.note_open(storage, reported);
                if location {
                    self.add_replica(storage, &stored, hint, source, now);
                }
            }
            (Verdict::Corrupt(reason), Some(stored)) => {
                self.mark_corrupt(storage, reason, &reported.block, &stored, source, now);
            }
            (Verdict::Invalidate, _) | (_, None) => {
                self.remove_replica(id, storage, source, now);
                self.invalidate(node, reported.block);
            }
            (Verdict::Ignore, _) => {}
        }
    }

    /// A recovered replica is as good as a finished one that was reported.
    pub(super) fn process_recovered(
        &mut self,
        storage: StorageIndex,
        block: &Block,
        source: &dyn BlockSource,
        now: TimeMs,
    ) {
        let reported = ReportedReplica {
            block: *block,
            state: ReplicaState::Finalized,
        };
        self.process_replica(storage, &reported, None, source, now);
    }

    /// Moves a known replica to the part of its storage that a running report has named.
    fn mark_seen(&mut self, storage: StorageIndex, reported: &ReportedReplica) {
        let known = self.cluster.storage_mut(storage);
        if known.running_report.is_none() {
            return;
        }
        let Some(replica) = self.replicas.on_storage(reported.block.id, storage) else {
            return;
        };
        if replica.position() >= known.seen {
            let seen = known.seen;
            self.replicas.swap_positions(storage, known, replica.position(), seen);
            known.seen += 1;
        }
    }

    fn note_open(&mut self, storage: StorageIndex, reported: &ReportedReplica) {
        let open = self.open.entry(reported.block.id).or_default();
        open.held = true;
        open.gone.retain(|&(other, _)| other != storage);
        match open.reported.iter().position(|(other, _)| *other == storage) {
            Some(position) => open.reported[position].1 = *reported,
            None if open.reported.len() < MAX_OPEN_REPLICAS => open.reported.push((storage, *reported)),
            None => {}
        }
    }

    fn add_replica(
        &mut self,
        storage: StorageIndex,
        stored: &StoredBlock,
        hint: Option<Hint>,
        source: &dyn BlockSource,
        now: TimeMs,
    ) {
        let id = stored.block.id;
        let before = self.counts(id).usable();
        self.remove_from_siblings(storage, stored, source, now);
        let added = self.insert_replica(id, storage);
        let cleared = self.clear_corrupt(id, storage, |reason| reason != CorruptReason::Reported);
        if self.pending.remove_target(id, self.node_of(storage)) {
            let (node, kind) = (self.node_of(storage), self.cluster.storage(storage).report.storage.kind);
            self.cluster.node_mut(node).scheduled.remove(kind, now);
        }
        let returned = self.cluster.storage(storage).contents_stale;
        if returned {
            self.unmark_lost_order(storage, stored);
        }
        if added || cleared || returned {
            self.replicas_grew(stored, before, hint, source, now);
        }
    }

    /// A node that registered anew still has a replica it was to delete: the order was lost, so it is no surplus yet.
    fn unmark_lost_order(&mut self, storage: StorageIndex, stored: &StoredBlock) {
        let id = stored.block.id;
        let replica = self.replicas.on_storage(id, storage);
        let ordered = self
            .cluster
            .node(self.node_of(storage))
            .invalidate
            .contains(&stored.block);
        if !ordered && replica.is_some_and(|replica| replica.flags().has(ReplicaFlags::EXCESS)) {
            self.replicas.set_flag(id, storage, ReplicaFlags::EXCESS, false);
            self.excess -= 1;
        }
    }

    /// Links a replica; within a running report it counts as named. Returns whether it is new.
    pub(super) fn insert_replica(&mut self, id: BlockId, storage: StorageIndex) -> bool {
        let known = self.cluster.storage_mut(storage);
        if !self.replicas.add(id, storage, known) {
            return false;
        }
        if known.running_report.is_some() {
            let (last, seen) = (known.blocks.len() - 1, known.seen);
            self.replicas.swap_positions(storage, known, last, seen);
            known.seen += 1;
        }
        let node = known.node;
        self.note_arrival(node, id);
        true
    }

    /// A DataNode has one replica of a block; found on another of its storages, it has moved.
    fn remove_from_siblings(
        &mut self,
        storage: StorageIndex,
        stored: &StoredBlock,
        source: &dyn BlockSource,
        now: TimeMs,
    ) {
        let node = self.node_of(storage);
        let replicas = self
            .replicas
            .replicas_of(stored.block.id)
            .map(|replica| replica.storage());
        let sibling = |other: &StorageIndex| *other != storage && self.node_of(*other) == node;
        let siblings: Vec<StorageIndex> = replicas.filter(sibling).collect();
        for other in siblings {
            self.remove_replica(stored.block.id, other, source, now);
        }
    }
}
