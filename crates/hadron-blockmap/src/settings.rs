//! Every tunable of the block map, with Hadoop's key and default beside it.

/// Plain values; the shell fills them from the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `dfs.namenode.replication.min`: live replicas before a block may complete.
    pub min_replication: u16,
    /// `dfs.heartbeat.interval`, milliseconds.
    pub heartbeat_interval_ms: u64,
    /// `dfs.namenode.heartbeat.recheck-interval`, milliseconds.
    pub heartbeat_recheck_ms: u64,
    /// `dfs.namenode.stale.datanode.interval`, milliseconds.
    pub stale_interval_ms: u64,
    /// `dfs.namenode.stale.datanode.minimum.interval`: heartbeats a stale node must have missed at least.
    pub stale_heartbeats: u64,
    /// `dfs.namenode.avoid.read.stale.datanode`.
    pub avoid_read_stale: bool,
    /// `dfs.namenode.avoid.write.stale.datanode`.
    pub avoid_write_stale: bool,
    /// `dfs.namenode.write.stale.datanode.ratio`: above this share of stale nodes, staleness is ignored for writes.
    pub write_stale_ratio: f64,
    /// `dfs.namenode.redundancy.considerLoad`.
    pub consider_load: bool,
    /// `dfs.namenode.redundancy.considerLoad.factor`.
    pub consider_load_factor: f64,
    /// `dfs.namenode.block-placement-policy.default.prefer-local-node`.
    pub prefer_local_node: bool,
    /// `dfs.namenode.replication.max-streams`: transfers given to one DataNode.
    pub max_streams: u32,
    /// `dfs.namenode.replication.max-streams-hard-limit`: the same for blocks of highest priority.
    pub max_streams_hard: u32,
    /// `dfs.namenode.replication.work.multiplier.per.iteration`: blocks scheduled per live node and round.
    pub work_multiplier: u32,
    /// `dfs.namenode.reconstruction.pending.timeout-sec`, in milliseconds.
    pub pending_timeout_ms: u64,
    /// `dfs.block.invalidate.limit`: replicas named in one INVALIDATE command.
    pub invalidate_limit: usize,
    /// `dfs.namenode.invalidate.work.pct.per.iteration`: share of live nodes given deletions per round.
    pub invalidate_share: f64,
    /// `dfs.namenode.startup.delay.block.deletion.sec`, in milliseconds: no deletions before that.
    pub deletion_delay_ms: u64,
    /// `dfs.replication`: as many live replicas let a block's node leave, even if its file asks for more.
    pub default_replication: u16,
    /// `dfs.namenode.maintenance.replication.min`: live replicas a block keeps while nodes are in maintenance.
    pub maintenance_min_replication: u16,
    /// `dfs.namenode.decommission.blocks.per.interval`: blocks looked at per round of watching leaving nodes.
    pub admin_blocks_per_round: usize,
    /// `dfs.namenode.decommission.max.concurrent.tracked.nodes`; 0 is no limit.
    pub max_watched_nodes: usize,
    /// `dfs.namenode.path.based.cache.retry.interval.ms`: between two times that a node is told what to cache.
    pub cache_retry_ms: u64,
    /// `dfs.namenode.max.full.block.report.leases`.
    pub max_report_leases: usize,
    /// `dfs.namenode.full.block.report.lease.length.ms`.
    pub report_lease_ms: u64,
    /// `dfs.namenode.safemode.threshold-pct`. A Java float: keep 32 bits, its text shows in messages.
    pub safemode_threshold: f32,
    /// `dfs.namenode.safemode.min.datanodes`.
    pub safemode_min_datanodes: usize,
    /// `dfs.namenode.safemode.extension`, milliseconds.
    pub safemode_extension_ms: u64,
    /// `dfs.namenode.safemode.replication.min`.
    pub safemode_min_replication: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_replication: 1,
            heartbeat_interval_ms: 3_000,
            heartbeat_recheck_ms: 300_000,
            stale_interval_ms: 30_000,
            stale_heartbeats: 3,
            avoid_read_stale: false,
            avoid_write_stale: false,
            write_stale_ratio: 0.5,
            consider_load: true,
            consider_load_factor: 2.0,
            prefer_local_node: true,
            max_streams: 2,
            max_streams_hard: 4,
            work_multiplier: 2,
            pending_timeout_ms: 300_000,
            invalidate_limit: 1_000,
            invalidate_share: 0.32,
            deletion_delay_ms: 0,
            default_replication: 3,
            maintenance_min_replication: 1,
            admin_blocks_per_round: 500_000,
            max_watched_nodes: 100,
            cache_retry_ms: 30_000,
            max_report_leases: 6,
            report_lease_ms: 300_000,
            safemode_threshold: 0.999,
            safemode_min_datanodes: 0,
            safemode_extension_ms: 30_000,
            safemode_min_replication: 1,
        }
    }
}

impl Settings {
    /// Silence after which a DataNode is dead: 630 s by default.
    pub fn dead_after_ms(&self) -> u64 {
        2 * self.heartbeat_recheck_ms + 10 * self.heartbeat_interval_ms
    }
    /// Silence after which a DataNode is stale: never below so many heartbeats.
    pub fn stale_after_ms(&self) -> u64 {
        let least = self.stale_heartbeats.saturating_mul(self.heartbeat_interval_ms);
        self.stale_interval_ms.max(least)
    }
}
