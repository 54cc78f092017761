//! Figures for `getFsStats`, metrics and the memory goal.

/// Sums over live DataNodes, bytes unless named otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClusterStats {
    /// Bytes configured.
    pub capacity: u64,
    /// Bytes used by blocks.
    pub dfs_used: u64,
    /// Bytes used by others.
    pub non_dfs_used: u64,
    /// Bytes left.
    pub remaining: u64,
    /// Bytes used by this block pool.
    pub block_pool_used: u64,
    /// Cache, bytes.
    pub cache_capacity: u64,
    /// Cache in use, bytes.
    pub cache_used: u64,
    /// Transfer threads on all nodes.
    pub xceivers: u64,
    /// Live nodes.
    pub live_nodes: usize,
    /// Dead nodes still remembered.
    pub dead_nodes: usize,
    /// Live nodes that are stale.
    pub stale_nodes: usize,
    /// Live nodes in service.
    pub in_service_nodes: usize,
    /// Live nodes being emptied.
    pub decommissioning_nodes: usize,
    /// Live nodes that are empty.
    pub decommissioned_live_nodes: usize,
    /// Dead nodes that are empty.
    pub decommissioned_dead_nodes: usize,
    /// Nodes that get ready for maintenance.
    pub entering_maintenance_nodes: usize,
    /// Live nodes in maintenance.
    pub in_maintenance_live_nodes: usize,
    /// Dead nodes in maintenance.
    pub in_maintenance_dead_nodes: usize,
    /// Transfer threads on live nodes in service.
    pub in_service_xceivers: u64,
    /// Estimate of the bytes lost with failed volumes.
    pub capacity_lost: u64,
    /// Volumes that failed.
    pub failed_volumes: u64,
}

/// Counts of blocks by trouble.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlockStats {
    /// Blocks with at least one known replica.
    pub known: u64,
    /// Blocks in the needed-replication queues (Hadoop's "low redundancy").
    pub low_redundancy: u64,
    /// Of these, blocks with one replica left or none and thus copied first.
    pub highest_priority: u64,
    /// Blocks with at least one corrupt replica.
    pub corrupt: u64,
    /// Blocks without any usable replica.
    pub missing: u64,
    /// Missing blocks whose wanted replication is 1.
    pub missing_replication_one: u64,
    /// Blocks with enough replicas on too few racks.
    pub badly_distributed: u64,
    /// Copies under way.
    pub pending_replication: u64,
    /// Replicas waiting to be deleted.
    pub pending_deletion: u64,
    /// Surplus replicas not yet deleted.
    pub excess: u64,
    /// Blocks whose surplus waits for a storage's first report.
    pub postponed: u64,
    /// Blocks under construction with known targets.
    pub under_construction: u64,
    /// Re-replications that timed out since start.
    pub timed_out: u64,
}

/// Heap bytes by structure, allocated rather than used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryUsage {
    /// Block records.
    pub records: usize,
    /// The index from block id to record.
    pub index: usize,
    /// The storages' lists of blocks.
    pub storage_lists: usize,
    /// Replicas beyond the third of a block.
    pub overflow: usize,
    /// Blocks with a record.
    pub blocks: usize,
}

impl MemoryUsage {
    /// All bytes.
    pub fn total(&self) -> usize {
        self.records + self.index + self.storage_lists + self.overflow
    }
}
