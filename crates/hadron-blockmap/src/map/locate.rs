//! Answers: where a block is, how the nodes do, how many blocks are in which trouble.

use super::BlockMap;
use crate::needed::Level;
use crate::node::{AdminState, DEFAULT_RACK, DatanodeId, DatanodeInfo, DatanodeReport, NodeIndex, StorageIndex};
use crate::placement::{self, Chosen, PlacementError, PlacementRequest, Surroundings, Target};
use crate::reader::{Located, ReplicaLocation, sort_for_reader};
use crate::replicas::ReplicaFlags;
use crate::stats::{BlockStats, ClusterStats, MemoryUsage};
use core::net::IpAddr;
use hadron_types::{BlockId, DatanodeUuid, StorageId, StorageType, TimeMs};
use std::sync::Arc;

/// Hosts without DataNodes whose racks are kept; beyond that all are forgotten and asked for anew.
const MAX_CLIENT_RACKS: usize = 1 << 16;

impl BlockMap {
    /// The replicas of a block for a reader at `reader`, nearest first.
    ///
    /// Corrupt ones are left out unless all are, and those on nodes in maintenance always: such nodes may be switched
    /// off at any time. A block under construction: see [`BlockMap::expected`].
    pub fn locate(&self, id: BlockId, reader: Option<IpAddr>, now: TimeMs, rng: &mut dyn FnMut() -> u64) -> Located {
        let on_live_nodes = || {
            let replicas = self.replicas.replicas_of(id);
            replicas.filter(|replica| self.cluster.is_usable(replica.storage()) && self.is_readable(*replica))
        };
        let is_good = |replica: &crate::replicas::Replica| !replica.flags().has(ReplicaFlags::CORRUPT);
        let (good, all) = (on_live_nodes().filter(is_good).count(), on_live_nodes().count());
        let corrupt = good == 0 && all > 0;
        let listed = on_live_nodes().filter(|replica| corrupt || is_good(replica));
        let mut replicas: Vec<ReplicaLocation> = listed.map(|replica| self.location(replica.storage(), now)).collect();
        self.sort(&mut replicas, reader, rng);
        Located { replicas, corrupt }
    }

    /// Chooses targets for a new block or for more replicas of one.
    ///
    /// Errors: fewer than `dfs.namenode.replication.min` were found. Fewer than `request.count` are no error.
    pub fn place(
        &self,
        request: &PlacementRequest,
        now: TimeMs,
        rng: &mut dyn FnMut() -> u64,
    ) -> Result<Vec<Target>, PlacementError> {
        let chosen = self.choose_targets(request, now, rng);
        if chosen.targets.len() >= usize::from(self.settings.min_replication).min(request.count) {
            return Ok(chosen.targets.iter().map(|&target| self.target(target, now)).collect());
        }
        Err(PlacementError {
            found: chosen.targets.len(),
            minimum: self.settings.min_replication,
            running: self.cluster.live_count(),
            excluded: chosen.excluded,
        })
    }

    pub(super) fn choose_targets(
        &self,
        request: &PlacementRequest,
        now: TimeMs,
        rng: &mut dyn FnMut() -> u64,
    ) -> Chosen {
        let around = Surroundings {
            cluster: &self.cluster,
            settings: &self.settings,
            now,
        };
        if request.writer_rack.is_none()
            && let Some(rack) = request.writer.and_then(|ip| self.client_rack(ip))
        {
            let request = PlacementRequest {
                writer_rack: Some(rack),
                ..request.clone()
            };
            return placement::choose(&request, &around, rng);
        }
        placement::choose(request, &around, rng)
    }

    pub(super) fn target(&self, (_, storage): (NodeIndex, StorageIndex), now: TimeMs) -> Target {
        let ReplicaLocation { node, storage, kind } = self.location(storage, now);
        Target { node, storage, kind }
    }

    /// Sorts any list of locations for a reader, e.g. that of an open block.
    pub fn sort(&self, replicas: &mut [ReplicaLocation], reader: Option<IpAddr>, rng: &mut dyn FnMut() -> u64) {
        let rack = reader.map(|ip| self.rack_of_host(ip));
        sort_for_reader(replicas, reader, rack.as_deref(), self.settings.avoid_read_stale, rng);
    }

    /// The rack of a host: that of a DataNode on it, else the default one.
    pub fn rack_of_host(&self, ip: IpAddr) -> Arc<str> {
        match self.cluster.on_host(ip).first() {
            Some(&node) => Arc::clone(&self.cluster.node(node).rack),
            None => self.client_rack(ip).unwrap_or_else(|| Arc::from(DEFAULT_RACK)),
        }
    }

    /// The rack of a host without DataNodes, if the shell told it.
    pub fn client_rack(&self, ip: IpAddr) -> Option<Arc<str>> {
        self.client_racks.get(&ip).cloned()
    }

    /// Notes the rack of a host without DataNodes, for its reads and writes.
    pub fn set_client_rack(&mut self, ip: IpAddr, rack: Arc<str>) {
        if self.client_racks.len() >= MAX_CLIENT_RACKS {
            self.client_racks.clear();
        }
        self.client_racks.insert(ip, rack);
    }

    /// Forgets all racks of hosts without DataNodes: the mapping changed.
    pub fn clear_client_racks(&mut self) {
        self.client_racks.clear();
    }

    /// The medium of a node's storage.
    pub fn storage_kind(&self, node: &DatanodeUuid, storage: &StorageId) -> Option<StorageType> {
        let storages = &self.cluster.node(self.cluster.find(node)?).storages;
        let mut reports = storages
            .iter()
            .map(|&index| &self.cluster.storage(index).report.storage);
        reports.find(|known| known.id == *storage).map(|known| known.kind)
    }

    /// The node with this uuid, alive or dead.
    pub fn datanode(&self, uuid: &DatanodeUuid, now: TimeMs) -> Option<DatanodeInfo> {
        Some(self.node_info(self.cluster.find(uuid)?, now))
    }

    /// Identity and addresses of the node with this uuid, alive or dead.
    pub fn datanode_id(&self, uuid: &DatanodeUuid) -> Option<Arc<DatanodeId>> {
        Some(Arc::clone(&self.cluster.node(self.cluster.find(uuid)?).id))
    }

    /// Every known node with its storages, by address.
    pub fn datanodes(&self, now: TimeMs) -> Vec<DatanodeReport> {
        let mut reports: Vec<DatanodeReport> = self.cluster.iter().map(|(index, _)| self.report(index, now)).collect();
        reports.sort_by_key(|report| (report.info.id.ip, report.info.id.xfer_port));
        reports
    }

    /// Number of live nodes.
    pub fn live_datanodes(&self) -> usize {
        self.cluster.live_count()
    }

    /// Sums over the cluster.
    pub fn cluster_stats(&self, now: TimeMs) -> ClusterStats {
        let mut sums = ClusterStats::default();
        for (_, node) in self.cluster.iter() {
            let count = |state, alive: bool| usize::from(node.admin == state && node.alive == alive);
            sums.decommissioning_nodes += count(AdminState::DecommissionInProgress, true);
            sums.decommissioned_live_nodes += count(AdminState::Decommissioned, true);
            sums.decommissioned_dead_nodes += count(AdminState::Decommissioned, false);
            sums.entering_maintenance_nodes += usize::from(node.admin == AdminState::EnteringMaintenance);
            sums.in_maintenance_live_nodes += count(AdminState::InMaintenance, true);
            sums.in_maintenance_dead_nodes += count(AdminState::InMaintenance, false);
            if !node.alive {
                sums.dead_nodes += 1;
                continue;
            }
            sums.live_nodes += 1;
            sums.stale_nodes += usize::from(self.cluster.is_stale(node, now, self.settings.stale_after_ms()));
            sums.in_service_nodes += usize::from(node.admin == AdminState::Normal);
            if node.admin == AdminState::Normal {
                sums.in_service_xceivers += u64::from(node.stats.xceivers);
            }
            sums.capacity_lost += node
                .volume_failures
                .as_ref()
                .map_or(0, |failures| failures.capacity_lost);
            sums.capacity += node.stats.capacity;
            sums.dfs_used += node.stats.dfs_used;
            sums.non_dfs_used += node.stats.non_dfs_used;
            sums.remaining += node.stats.remaining;
            sums.block_pool_used += node.stats.block_pool_used;
            sums.cache_capacity += node.stats.cache_capacity;
            sums.cache_used += node.stats.cache_used;
            sums.xceivers += u64::from(node.stats.xceivers);
            sums.failed_volumes += u64::from(node.stats.failed_volumes);
        }
        sums
    }

    /// Blocks by trouble.
    pub fn block_stats(&self) -> BlockStats {
        let missing = self.needed.level_len(Level::Corrupt) as u64;
        let deletions = self.cluster.iter().map(|(_, node)| node.invalidate.len() as u64);
        BlockStats {
            known: self.replicas.len() as u64,
            low_redundancy: self.needed.len() as u64,
            highest_priority: self.needed.level_len(Level::Highest) as u64,
            badly_distributed: self.needed.level_len(Level::BadlyDistributed) as u64,
            corrupt: self.corrupt.len() as u64,
            missing,
            missing_replication_one: self.needed.missing_replication_one() as u64,
            pending_replication: self.pending.len() as u64,
            pending_deletion: deletions.sum(),
            excess: self.excess,
            postponed: self.postponed.len() as u64,
            under_construction: self.open.len() as u64,
            timed_out: self.timed_out,
        }
    }

    /// Up to `limit` blocks without any usable replica (`listCorruptFileBlocks`).
    pub fn missing_blocks(&self, limit: usize) -> Vec<BlockId> {
        self.needed.missing().take(limit).collect()
    }

    /// Heap bytes of the structures that grow with the number of blocks.
    pub fn memory_usage(&self) -> MemoryUsage {
        MemoryUsage {
            records: self.replicas.record_bytes(),
            index: self.replicas.index_bytes(),
            storage_lists: self.cluster.storage_list_bytes(),
            overflow: self.replicas.overflow_bytes(),
            blocks: self.replicas.len(),
        }
    }

    pub(super) fn node_info(&self, index: NodeIndex, now: TimeMs) -> DatanodeInfo {
        self.cluster.info(index, now, self.settings.stale_after_ms())
    }

    pub(super) fn location(&self, index: StorageIndex, now: TimeMs) -> ReplicaLocation {
        let storage = self.cluster.storage(index);
        ReplicaLocation {
            node: self.node_info(storage.node, now),
            storage: storage.report.storage.id.clone(),
            kind: storage.report.storage.kind,
        }
    }

    fn report(&self, index: NodeIndex, now: TimeMs) -> DatanodeReport {
        let node = self.cluster.node(index);
        let storages = node
            .storages
            .iter()
            .map(|&storage| self.cluster.storage(storage).report.clone());
        DatanodeReport {
            info: self.node_info(index, now),
            software_version: Arc::clone(&node.software_version),
            storages: storages.collect(),
            leaving: node.leaving,
            volume_failures: node.volume_failures.clone(),
            slow_peers: node.slow_peers.clone(),
        }
    }
}
