//! Counters of one DataNode, exported as Prometheus text and as JMX beans.
//!
//! A value, not a global: many DataNodes run in one process. Names follow Hadoop's `DataNodeActivity`.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Kinds of operation that have a latency histogram.
pub(crate) const TIMED_OPS: [&str; 10] = [
    "READ_BLOCK",
    "WRITE_BLOCK",
    "TRANSFER_BLOCK",
    "BLOCK_CHECKSUM",
    "COPY_BLOCK",
    "REPLACE_BLOCK",
    "REQUEST_SHORT_CIRCUIT_FDS",
    "RELEASE_SHORT_CIRCUIT_FDS",
    "REQUEST_SHORT_CIRCUIT_SHM",
    "OTHER",
];
/// What Hadoop's beans call them; the operations of short-circuit reads have others there.
const BEAN_OPS: [&str; 6] = [
    "ReadBlockOp",
    "WriteBlockOp",
    "TransferBlockOp",
    "BlockChecksumOp",
    "CopyBlockOp",
    "ReplaceBlockOp",
];

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Bytes sent to readers.
    pub bytes_read: Counter,
    /// Bytes received from writers.
    pub bytes_written: Counter,
    /// Blocks read.
    pub blocks_read: Counter,
    /// Blocks finalized.
    pub blocks_written: Counter,
    /// Blocks copied to other DataNodes.
    pub blocks_replicated: Counter,
    /// Blocks deleted on the NameNode's order.
    pub blocks_removed: Counter,
    /// Operations that ended with an error.
    pub op_errors: Counter,
    /// Operations refused for their block token.
    pub token_refusals: Counter,
    /// Connections that failed before their first operation (Hadoop's `DatanodeNetworkErrors`).
    pub network_errors: Counter,
    /// Connections refused at the xceiver limit.
    pub refused: Counter,
    /// Heartbeats answered.
    pub heartbeats: Counter,
    /// Lifelines sent.
    pub lifelines: Counter,
    /// Full block reports sent.
    pub full_reports: Counter,
    /// Reports of single replicas sent.
    pub incremental_reports: Counter,
    /// Volumes taken out of use.
    pub volume_failures: Counter,
    /// Packets found corrupt on their way in.
    pub checksum_errors: Counter,
    /// Replicas the block scanner found good.
    pub blocks_verified: Counter,
    /// Replicas the block scanner found bad or missing.
    pub verification_failures: Counter,
    /// Comparisons of all directories with memory.
    pub directory_scans: Counter,
    /// Replicas and files these found different.
    pub directory_differences: Counter,
    /// Replicas whose descriptors were passed to clients.
    pub short_circuit_replicas: Counter,
    /// Replicas locked in memory.
    pub blocks_cached: Counter,
    /// Replicas whose locked memory was given back.
    pub blocks_uncached: Counter,
    /// Cache reports sent.
    pub cache_reports: Counter,
    /// Open data connections.
    pub xceivers: Gauge,
    /// Shared memory segments of clients on this machine.
    pub short_circuit_segments: Gauge,
    /// Slots registered in them.
    pub short_circuit_slots: Gauge,
    latencies: Vec<Histogram>,
    /// Per timed operation how many there were and the microseconds they took, for the beans.
    spent: [(AtomicU64, AtomicU64); TIMED_OPS.len()],
}

impl Metrics {
    /// Fresh counters, all zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("hadron_datanode");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let bytes_read = counter("bytes_read", "Bytes sent to readers");
        let bytes_written = counter("bytes_written", "Bytes received from writers");
        let blocks_read = counter("blocks_read", "Blocks read");
        let blocks_written = counter("blocks_written", "Blocks finalized");
        let blocks_replicated = counter("blocks_replicated", "Blocks copied to other DataNodes");
        let blocks_removed = counter("blocks_removed", "Blocks deleted");
        let op_errors = counter("op_errors", "Operations that ended with an error");
        let token_refusals = counter("token_refusals", "Operations refused for their block token");
        let network_errors = counter("network_errors", "Connections that failed before their first operation");
        let refused = counter("refused_connections", "Connections refused at the xceiver limit");
        let heartbeats = counter("heartbeats", "Heartbeats answered");
        let lifelines = counter("lifelines", "Lifelines sent");
        let full_reports = counter("full_block_reports", "Full block reports sent");
        let incremental_reports = counter("incremental_block_reports", "Reports of single replicas sent");
        let volume_failures = counter("volume_failures", "Volumes taken out of use");
        let checksum_errors = counter("checksum_errors", "Corrupt packets received");
        let blocks_verified = counter("blocks_verified", "Replicas verified by the block scanner");
        let verification_failures = counter("block_verification_failures", "Bad replicas the block scanner found");
        let directory_scans = counter("directory_scans", "Comparisons of directories with memory");
        let directory_differences = counter("directory_differences", "Replicas that differed from their files");
        let short_circuit_replicas = counter(
            "short_circuit_replicas",
            "Replicas whose descriptors were passed to clients",
        );
        let blocks_cached = counter("blocks_cached", "Replicas locked in memory");
        let blocks_uncached = counter("blocks_uncached", "Replicas whose locked memory was given back");
        let cache_reports = counter("cache_reports", "Cache reports sent");
        let xceivers = Gauge::default();
        registry.register("xceivers", "Open data connections", xceivers.clone());
        let short_circuit_segments = Gauge::default();
        let help = "Shared memory segments of clients on this machine";
        registry.register("short_circuit_segments", help, short_circuit_segments.clone());
        let short_circuit_slots = Gauge::default();
        let help = "Slots registered in shared memory";
        registry.register("short_circuit_slots", help, short_circuit_slots.clone());
        let latencies = TIMED_OPS.map(|op| {
            let histogram = Histogram::new(exponential_buckets(0.0001, 4.0, 10));
            let name = format!("{}_seconds", op.to_ascii_lowercase());
            registry.register(name, "Duration of operations", histogram.clone());
            histogram
        });
        Self {
            registry,
            bytes_read,
            bytes_written,
            blocks_read,
            blocks_written,
            blocks_replicated,
            blocks_removed,
            op_errors,
            token_refusals,
            network_errors,
            refused,
            heartbeats,
            lifelines,
            full_reports,
            incremental_reports,
            volume_failures,
            checksum_errors,
            blocks_verified,
            verification_failures,
            directory_scans,
            directory_differences,
            short_circuit_replicas,
            blocks_cached,
            blocks_uncached,
            cache_reports,
            xceivers,
            short_circuit_segments,
            short_circuit_slots,
            latencies: latencies.to_vec(),
            spent: std::array::from_fn(|_| (AtomicU64::new(0), AtomicU64::new(0))),
        }
    }

    /// Records how long an operation took.
    pub(crate) fn observe(&self, op: &str, seconds: f64) {
        let index = TIMED_OPS
            .iter()
            .position(|name| *name == op)
            .unwrap_or(TIMED_OPS.len() - 1);
        if let Some(histogram) = self.latencies.get(index) {
            histogram.observe(seconds);
        }
        if let Some((count, micros)) = self.spent.get(index) {
            count.fetch_add(1, Ordering::Relaxed);
            micros.fetch_add((seconds * 1e6) as u64, Ordering::Relaxed);
        }
    }

    /// Prometheus text.
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "cannot encode metrics");
        }
        text
    }

    /// The `DataNodeActivity` bean.
    pub(crate) fn bean(&self, name: &str) -> Value {
        let mut bean = json!({
            "name": format!("Hadoop:service=DataNode,name=DataNodeActivity-{name}"),
            "modelerType": format!("DataNodeActivity-{name}"),
            "tag.Context": "dfs",
            "BytesRead": self.bytes_read.get(),
            "BytesWritten": self.bytes_written.get(),
            "BlocksRead": self.blocks_read.get(),
            "BlocksWritten": self.blocks_written.get(),
            "BlocksReplicated": self.blocks_replicated.get(),
            "BlocksRemoved": self.blocks_removed.get(),
            "BlocksVerified": self.blocks_verified.get(),
            "BlockVerificationFailures": self.verification_failures.get(),
            "DatanodeNetworkErrors": self.network_errors.get(),
            "DataNodeActiveXceiversCount": self.xceivers.get(),
            "BlocksCached": self.blocks_cached.get(),
            "BlocksUncached": self.blocks_uncached.get(),
            "CacheReportsNumOps": self.cache_reports.get(),
            "HeartbeatsNumOps": self.heartbeats.get(),
            "LifelinesNumOps": self.lifelines.get(),
            "BlockReportsNumOps": self.full_reports.get(),
            "IncrementalBlockReportsNumOps": self.incremental_reports.get(),
            "VolumeFailures": self.volume_failures.get(),
        });
        // Averages are since the start; Hadoop's are of the last period.
        for (name, (count, micros)) in BEAN_OPS.iter().zip(&self.spent) {
            let count = count.load(Ordering::Relaxed);
            let millis = micros.load(Ordering::Relaxed) as f64 / 1000.0;
            bean[format!("{name}NumOps")] = json!(count);
            bean[format!("{name}AvgTime")] = json!(if count == 0 { 0.0 } else { millis / count as f64 });
        }
        bean
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
