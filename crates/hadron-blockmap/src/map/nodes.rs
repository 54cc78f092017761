//! DataNodes come, beat, fall silent, go.

use super::BlockMap;
use crate::cluster::MAX_DATANODES;
use crate::command::{BlockEvent, DatanodeCommand, TransferTask};
use crate::invalidate::Invalidations;
use crate::node::{
    AdminState, DEFAULT_RACK, Datanode, DatanodeId, NodeIndex, NodeStats, Scheduled, SlowPeer, StorageIndex,
    StorageReport, StorageState, VolumeFailures,
};
use crate::replicas::ReplicaFlags;
use crate::source::BlockSource;
use crate::topology;
use hadron_types::{Block, DatanodeUuid, StorageId, TimeMs};
use std::collections::VecDeque;
use std::sync::Arc;

/// A DataNode that introduces itself; the shell has checked cluster, version and host.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Identity and addresses, the IP being the one it called from.
    pub id: DatanodeId,
    /// Its version, e.g. `3.3.6`.
    pub software_version: String,
    /// Its rack; `None` means [`DEFAULT_RACK`].
    pub rack: Option<String>,
}

/// Why a DataNode is not taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The limit of known DataNodes is reached.
    #[error("no room for another datanode")]
    TooMany,
    /// Its rack has more or fewer levels than those of the others.
    #[error("rack has {depth} levels, the racks of other datanodes {others}")]
    OddRack {
        /// Levels of its rack.
        depth: usize,
        /// Levels of the others'.
        others: usize,
    },
}

/// What a DataNode says of itself every few seconds.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Who.
    pub node: DatanodeUuid,
    /// All its storages; a failed one has state [`StorageState::Failed`].
    pub storages: Vec<StorageReport>,
    /// Transfers it makes on command.
    pub xmits: u32,
    /// Active transfer threads.
    pub xceivers: u32,
    /// Volumes that failed.
    pub failed_volumes: u32,
    /// Which ones, if it tells.
    pub volume_failures: Option<VolumeFailures>,
    /// Nodes it finds slow.
    pub slow_peers: Vec<SlowPeer>,
    /// Bytes of cache.
    pub cache_capacity: u64,
    /// Bytes of cache in use.
    pub cache_used: u64,
    /// Whether it wants to send a full report.
    pub wants_report_lease: bool,
}

/// The answer to a heartbeat.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct HeartbeatReply {
    /// Orders, in the sequence to be sent.
    pub commands: Vec<DatanodeCommand>,
    /// Lease for a full report, 0 for none.
    pub report_lease: u64,
    /// The node left the include list: it now counts as dead and is to be told that it may not serve.
    pub disallowed: bool,
}

impl BlockMap {
    /// Takes in or takes back a DataNode.
    ///
    /// Another node at the same `ip:xferPort` is forgotten, replicas included; the same uuid at a new address moves.
    pub fn register(
        &mut self,
        registration: Registration,
        source: &dyn BlockSource,
        now: TimeMs,
    ) -> Result<(), RegistrationError> {
        let id = registration.id;
        let rack: Arc<str> = Arc::from(registration.rack.as_deref().unwrap_or(DEFAULT_RACK));
        let depth = topology::depth(&rack);
        let others = self.cluster.rack_depth().filter(|&others| others != depth);
        if let Some(others) = others
            && self
                .cluster
                .live()
                .iter()
                .any(|&index| self.cluster.node(index).id.uuid != id.uuid)
        {
            return Err(RegistrationError::OddRack { depth, others });
        }
        let known = self.cluster.find(&id.uuid);
        let at_address = self.cluster.find_by_address(id.ip, id.xfer_port);
        if let Some(other) = at_address.filter(|&other| Some(other) != known) {
            self.bury(other, source, now);
            self.drain_node(other);
            self.unwatch(other);
            self.cluster.forget(other);
        }
        if known.is_none() && self.cluster.len() >= MAX_DATANODES {
            return Err(RegistrationError::TooMany);
        }
        let (was_multi_rack, old_rack) = (
            self.cluster.ever_multi_rack(),
            known.map(|index| Arc::clone(&self.cluster.node(index).rack)),
        );
        let has_moved = old_rack.is_some_and(|old| old != rack);
        let software_version: Arc<str> = Arc::from(registration.software_version);
        let index = match known {
            Some(index) => {
                self.cluster.rename(index, |node| {
                    node.id = Arc::new(id);
                    node.rack = rack;
                    node.software_version = software_version;
                    node.disallowed = false;
                });
                index
            }
            None => self.cluster.insert(Datanode {
                id: Arc::new(id),
                rack,
                software_version,
                stats: NodeStats::default(),
                admin: AdminState::Normal,
                maintenance_until: TimeMs(0),
                leaving: None,
                disallowed: false,
                upgrade_domain: None,
                volume_failures: None,
                slow_peers: Vec::new(),
                split_report: None,
                bandwidth: None,
                deletions_allowed: 0,
                alive: false,
                storages: Vec::new(),
                invalidate: Invalidations::default(),
                transfers: VecDeque::new(),
                scheduled: Scheduled::default(),
            }),
        };
        self.revive(index, now);
        if known.is_some() {
            // Its memory is empty, or it tells soon what is in it.
            self.caching.forget_node(index);
            // It restarted: copies on their way to it broke off, and nobody else tells.
            for id in self.pending.remove_node(index) {
                self.reconsider(id, source, now);
            }
        }
        if has_moved || was_multi_rack != self.cluster.ever_multi_rack() {
            self.emit(BlockEvent::RacksChanged);
        }
        Ok(())
    }

    /// Takes in a heartbeat. A node that is not known or was thought dead is told to register and nothing else.
    pub fn heartbeat(
        &mut self,
        beat: &Heartbeat,
        source: &dyn BlockSource,
        now: TimeMs,
        rng: &mut dyn FnMut() -> u64,
    ) -> HeartbeatReply {
        if self.is_disallowed(&beat.node) {
            self.retire(&beat.node, source, now);
            if let Some(index) = self.cluster.find(&beat.node) {
                self.drain_node(index);
            }
            return HeartbeatReply {
                disallowed: true,
                ..HeartbeatReply::default()
            };
        }
        let Some(index) = self.cluster.find_alive(&beat.node) else {
            return HeartbeatReply {
                commands: vec![DatanodeCommand::Register],
                ..HeartbeatReply::default()
            };
        };
        self.note_storages(index, beat, source, now);
        self.note_stats(index, beat, now);
        let report_lease = match beat.wants_report_lease {
            true => self.leases.request(index, !self.has_reported(index), now, rng),
            false => 0,
        };
        let commands = self.take_commands(index, beat.xmits, source, now);
        HeartbeatReply {
            commands,
            report_lease,
            disallowed: false,
        }
    }

    /// Takes in a lifeline: the node lives and these are its figures, but it gets no orders. Nothing from one that is
    /// not known, dead or not allowed.
    pub fn lifeline(&mut self, beat: &Heartbeat, source: &dyn BlockSource, now: TimeMs) {
        if let Some(index) = self.cluster.find_alive(&beat.node)
            && !self.cluster.node(index).disallowed
        {
            self.note_storages(index, beat, source, now);
            self.note_stats(index, beat, now);
        }
    }

    /// Has every live node told, with its next heartbeat, how many bytes a second balancing may take.
    pub fn set_balancer_bandwidth(&mut self, bytes_per_second: u64) {
        for index in self.cluster.live().to_vec() {
            self.cluster.node_mut(index).bandwidth = Some(bytes_per_second);
        }
    }

    /// Moves a node to another rack; `false` when nothing changed. The shell then scans all blocks, see
    /// [`BlockEvent::RacksChanged`].
    pub fn set_rack(&mut self, node: &DatanodeUuid, rack: &Arc<str>) -> bool {
        let Some(index) = self
            .cluster
            .find(node)
            .filter(|&index| self.cluster.node(index).rack != *rack)
        else {
            return false;
        };
        self.cluster.rename(index, |node| node.rack = Arc::clone(rack));
        self.emit(BlockEvent::RacksChanged);
        true
    }

    /// Declares nodes dead that have been silent for too long; returns how many. Their replicas are forgotten by
    /// [`BlockMap::drain_slice`].
    pub fn check_nodes(&mut self, source: &dyn BlockSource, now: TimeMs) -> usize {
        let limit = self.settings.dead_after_ms();
        let live = self.cluster.live().iter().copied();
        let silent = |&index: &NodeIndex| now.since(self.cluster.node(index).stats.last_update) > limit;
        let dead: Vec<NodeIndex> = live.filter(silent).collect();
        for &index in &dead {
            self.bury(index, source, now);
        }
        self.cluster.count_stale(now, self.settings.stale_after_ms());
        dead.len()
    }

    /// Forgets up to `budget` replicas of dead nodes and lost storages; returns whether more are left.
    pub fn drain_slice(&mut self, source: &dyn BlockSource, budget: usize, now: TimeMs) -> bool {
        let mut left = budget;
        while let Some(&storage) = self.draining.front() {
            while self
                .cluster
                .get_storage(storage)
                .is_some_and(|s| s.draining && s.blocks.len() > 0)
            {
                if left == 0 {
                    return true;
                }
                left -= 1;
                let blocks = &self.cluster.storage(storage).blocks;
                let id = self.replicas.id(blocks.get(blocks.len() - 1));
                self.remove_replica(id, storage, source, now);
            }
            self.draining.pop_front();
            if self.cluster.get_storage(storage).is_some_and(|s| s.draining) {
                for open in self.open.values_mut() {
                    open.forget(storage);
                }
                self.cluster.remove_storage(storage);
            }
        }
        false
    }

    /// Treats a node as dead at once: it said that it cannot serve any more.
    pub fn retire(&mut self, node: &DatanodeUuid, source: &dyn BlockSource, now: TimeMs) {
        if let Some(index) = self.cluster.find_alive(node) {
            self.bury(index, source, now);
        }
    }

    /// Sets the administrative state of a node; `false` when it is not known.
    pub fn set_admin_state(&mut self, node: &DatanodeUuid, admin: AdminState) -> bool {
        let Some(index) = self.cluster.find(node) else {
            return false;
        };
        self.cluster.change(index, |node| node.admin = admin);
        true
    }

    fn revive(&mut self, index: NodeIndex, now: TimeMs) {
        self.cluster.node_mut(index).stats.last_update = now;
        self.cluster.set_alive(index, true);
        self.leases.remove(index);
        // It may have restarted, and orders sent to it may be lost: its next full reports tell.
        for storage in self.cluster.node(index).storages.clone() {
            let storage = self.cluster.storage_mut(storage);
            storage.draining = false;
            storage.contents_stale = true;
        }
        self.tick_safe_mode(now);
    }

    /// Ends the life of a node: no commands, no leases, no copies to or from it, replicas to be forgotten.
    fn bury(&mut self, index: NodeIndex, source: &dyn BlockSource, now: TimeMs) {
        self.cluster.set_alive(index, false);
        self.leases.remove(index);
        self.caching.forget_node(index);
        let node = self.cluster.node_mut(index);
        node.invalidate.clear();
        node.deletions_allowed = 0;
        node.bandwidth = None;
        node.scheduled = Scheduled::default();
        node.slow_peers.clear();
        node.split_report = None;
        let undone = std::mem::take(&mut node.transfers);
        // What a node in maintenance has comes back with it.
        if !matches!(node.admin, AdminState::EnteringMaintenance | AdminState::InMaintenance) {
            self.drain_node(index);
        }
        let mut affected: Vec<_> = self.pending.remove_node(index);
        for TransferTask { block, targets } in undone {
            for target in targets {
                if let Some(target) = self.cluster.find(&target.node.id.uuid) {
                    self.pending.remove_target(block.id, target);
                }
            }
            affected.push(block.id);
        }
        for id in affected {
            self.reconsider(id, source, now);
        }
        let node = self.cluster.node(index);
        let (id, storages) = (Arc::clone(&node.id), node.storages.clone());
        for open in self.open.values_mut() {
            open.miss(&id.uuid, &storages);
        }
    }

    pub(super) fn start_draining(&mut self, index: StorageIndex) {
        let storage = self.cluster.storage_mut(index);
        storage.running_report = None;
        storage.seen = 0;
        if !std::mem::replace(&mut storage.draining, true) {
            self.draining.push_back(index);
        }
    }

    fn note_storages(&mut self, index: NodeIndex, beat: &Heartbeat, source: &dyn BlockSource, now: TimeMs) {
        let more_failed = beat.failed_volumes > self.cluster.node(index).stats.failed_volumes;
        for report in &beat.storages {
            let Some(storage) = self.cluster.storage_of(index, &report.storage) else {
                continue;
            };
            self.cluster.storage_mut(storage).report = report.clone();
            if report.storage.state == StorageState::Failed {
                self.start_draining(storage);
            }
        }
        let named = |id: &StorageId| beat.storages.iter().any(|report| report.storage.id == *id);
        for storage in self.cluster.node(index).storages.clone() {
            let known = self.cluster.storage_mut(storage);
            if named(&known.report.storage.id) || beat.storages.is_empty() {
                continue;
            }
            if known.blocks.len() == 0 && !known.draining {
                self.start_draining(storage);
            } else if more_failed {
                known.report.storage.state = StorageState::Failed;
                self.start_draining(storage);
            }
        }
        if more_failed {
            self.drain_slice(source, self.settings.invalidate_limit, now);
        }
    }

    /// Whether a node has told all its blocks since it registered.
    pub(super) fn has_reported(&self, index: NodeIndex) -> bool {
        let storages = &self.cluster.node(index).storages;
        let stale = |&storage: &StorageIndex| self.cluster.storage(storage).contents_stale;
        !storages.is_empty() && !storages.iter().any(stale)
    }

    fn note_stats(&mut self, index: NodeIndex, beat: &Heartbeat, now: TimeMs) {
        let sum = |figure: fn(&StorageReport) -> u64| {
            let usable = beat
                .storages
                .iter()
                .filter(|report| report.storage.state != StorageState::Failed);
            usable.map(figure).fold(0u64, u64::saturating_add)
        };
        self.cluster.change(index, |node| {
            if node.volume_failures.as_deref() != beat.volume_failures.as_ref() {
                node.volume_failures = beat.volume_failures.clone().map(Arc::new);
            }
            if !(node.slow_peers.is_empty() && beat.slow_peers.is_empty()) {
                node.slow_peers.clone_from(&beat.slow_peers);
                node.slow_peers.truncate(SlowPeer::MAX_KEPT);
            }
            node.stats = NodeStats {
                capacity: sum(|report| report.capacity),
                dfs_used: sum(|report| report.dfs_used),
                non_dfs_used: sum(|report| report.non_dfs_used),
                remaining: sum(|report| report.remaining),
                block_pool_used: sum(|report| report.block_pool_used),
                cache_capacity: beat.cache_capacity,
                cache_used: beat.cache_used,
                xceivers: beat.xceivers,
                xmits: beat.xmits,
                failed_volumes: beat.failed_volumes,
                last_update: now,
                ..node.stats
            };
        });
    }

    /// Takes an order to delete a surplus replica back, if the replicas that made it surplus have died since and are
    /// not yet forgotten. Returns whether it did.
    fn spare_last(&mut self, node: NodeIndex, block: &Block) -> bool {
        let mut replicas = self.replicas.replicas_of(block.id);
        let Some(replica) = replicas.find(|replica| self.node_of(replica.storage()) == node) else {
            return false;
        };
        drop(replicas);
        let spare = replica.flags().has(ReplicaFlags::EXCESS) && self.counts(block.id).live == 0;
        if spare {
            self.replicas
                .set_flag(block.id, replica.storage(), ReplicaFlags::EXCESS, false);
            self.excess -= 1;
        }
        spare
    }

    fn take_commands(
        &mut self,
        index: NodeIndex,
        xmits: u32,
        source: &dyn BlockSource,
        now: TimeMs,
    ) -> Vec<DatanodeCommand> {
        let mut commands = Vec::new();
        if self.safe_mode.is_on() {
            return commands;
        }
        let (few, many) = (self.settings.max_streams, self.settings.max_streams_hard);
        let node = self.cluster.node_mut(index);
        // A node that is emptied has nothing better to do.
        let streams = match node.admin {
            AdminState::DecommissionInProgress => many,
            _ => few,
        };
        let streams = streams.saturating_sub(xmits) as usize;
        let count = streams.min(node.transfers.len());
        let transfers: Vec<TransferTask> = node.transfers.drain(..count).collect();
        if !transfers.is_empty() {
            commands.push(DatanodeCommand::Transfer(transfers));
        }
        let limit = node.deletions_allowed.min(self.settings.invalidate_limit);
        let mut blocks = node.invalidate.take(limit);
        node.deletions_allowed = match node.invalidate.len() {
            0 => 0,
            _ => node.deletions_allowed - blocks.len(),
        };
        let spared: Vec<Block> = blocks.extract_if(.., |block| self.spare_last(index, block)).collect();
        for block in spared {
            // It counts again: the copies that were asked for may be too many.
            self.reconsider(block.id, source, now);
        }
        if !blocks.is_empty() {
            commands.push(DatanodeCommand::Invalidate(blocks));
        }
        commands.extend(self.cache_orders(index, now));
        if let Some(bandwidth) = self.cluster.node_mut(index).bandwidth.take() {
            commands.push(DatanodeCommand::BalancerBandwidth(bandwidth));
        }
        commands
    }
}
