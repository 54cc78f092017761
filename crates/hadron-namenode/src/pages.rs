//! What the NameNode shows over HTTP: health, readiness, metrics and the beans of `/jmx` that exist so far.
//!
//! What it does not do: serve (see `hadron_net::AdminHttp`) or count; it copies figures under short lock holds.
//! Invariants: bean and attribute names are Hadoop's, because monitoring matches on them; the namespace lock is taken
//! before the block map's.

use crate::Shared;
use crate::settings::SOFTWARE_VERSION;
use hadron_blockmap::{AdminState, BlockStats, ClusterStats, DatanodeReport};
use hadron_namespace::{Counts, Identity};
use hadron_net::{AdminPages, RpcMetrics, bean_matches};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Pages of one NameNode.
pub struct NameNodePages {
    shared: Arc<Shared>,
    rpc: Arc<RpcMetrics>,
    rpc_port: u16,
}

/// Figures of one moment.
struct Figures {
    identity: Identity,
    counts: Counts,
    cluster: ClusterStats,
    blocks: BlockStats,
    safe_mode: Option<String>,
}

impl NameNodePages {
    /// Pages over `shared`; `rpc` are the counters of the server on `rpc_port`.
    pub fn new(shared: Arc<Shared>, rpc: Arc<RpcMetrics>, rpc_port: u16) -> Self {
        Self { shared, rpc, rpc_port }
    }

    fn figures(&self) -> Figures {
        let state = &self.shared.state;
        let now = state.now();
        let ns = state.ns.read();
        let (identity, counts) = (ns.identity().clone(), ns.counts());
        let blocks = state.blocks.lock();
        drop(ns);
        let safe_mode = blocks.safe_mode();
        Figures {
            identity,
            counts,
            cluster: blocks.cluster_stats(now),
            blocks: blocks.block_stats(),
            safe_mode: safe_mode.is_on().then(|| safe_mode.tip(now)),
        }
    }

    fn datanodes(&self) -> Vec<DatanodeReport> {
        self.shared.state.blocks.lock().datanodes(self.shared.state.now())
    }

    fn fs_namesystem(&self, figures: &Figures) -> Value {
        let (cluster, blocks, counts) = (&figures.cluster, &figures.blocks, &figures.counts);
        json!({
            "name": "Hadoop:service=NameNode,name=FSNamesystem",
            "modelerType": "FSNamesystem",
            "tag.HAState": "active",
            "MissingBlocks": blocks.missing,
            "MissingReplOneBlocks": blocks.missing_replication_one,
            "CapacityTotal": cluster.capacity,
            "CapacityUsed": cluster.dfs_used,
            "CapacityRemaining": cluster.remaining,
            "CapacityUsedNonDFS": cluster.non_dfs_used,
            "TotalLoad": cluster.xceivers,
            "BlocksTotal": counts.blocks,
            "FilesTotal": counts.files + counts.directories,
            "NumFilesUnderConstruction": counts.open_files,
            "PendingReplicationBlocks": blocks.pending_replication,
            "PendingReconstructionBlocks": blocks.pending_replication,
            "UnderReplicatedBlocks": blocks.low_redundancy,
            "LowRedundancyBlocks": blocks.low_redundancy,
            "CorruptBlocks": blocks.corrupt,
            "PendingDeletionBlocks": blocks.pending_deletion,
            "ExcessBlocks": blocks.excess,
            "PostponedMisreplicatedBlocks": blocks.postponed,
            "NumTimedOutPendingReconstructions": blocks.timed_out,
            "StaleDataNodes": cluster.stale_nodes,
            "TotalFiles": counts.files + counts.directories,
            "NumActiveClients": counts.open_files,
            "LastWrittenTransactionId": self.shared.last_applied().0,
            "LastCheckpointTime": self.shared.log.newest_image().created.0,
            "TransactionsSinceLastCheckpoint":
                self.shared.last_applied().0.saturating_sub(self.shared.log.newest_image().index.0),
            "TransactionsSinceLastLogRoll": 0,
            "ExpiredHeartbeats": 0,
            "Snapshots": 0,
            "SnapshottableDirectories": 0,
            "BlockCapacity": 0,
            "VolumeFailuresTotal": cluster.failed_volumes,
            "NumInServiceLiveDataNodes": cluster.in_service_nodes,
            "CapacityTotalGB": cluster.capacity >> 30,
            "CapacityUsedGB": cluster.dfs_used >> 30,
            "CapacityRemainingGB": cluster.remaining >> 30,
            "NumLiveDataNodes": cluster.live_nodes,
            "NumDeadDataNodes": cluster.dead_nodes,
        })
    }

    fn fs_namesystem_state(&self, figures: &Figures) -> Value {
        let (cluster, blocks, counts) = (&figures.cluster, &figures.blocks, &figures.counts);
        json!({
            "name": "Hadoop:service=NameNode,name=FSNamesystemState",
            "modelerType": "org.apache.hadoop.hdfs.server.namenode.FSNamesystem",
            "CapacityTotal": cluster.capacity,
            "CapacityUsed": cluster.dfs_used,
            "CapacityRemaining": cluster.remaining,
            "BlocksTotal": counts.blocks,
            "FilesTotal": counts.files + counts.directories,
            "PendingReplicationBlocks": blocks.pending_replication,
            "UnderReplicatedBlocks": blocks.low_redundancy,
            "PendingDeletionBlocks": blocks.pending_deletion,
            "TotalLoad": cluster.xceivers,
            "NumLiveDataNodes": cluster.live_nodes,
            "NumDeadDataNodes": cluster.dead_nodes,
            "NumStaleDataNodes": cluster.stale_nodes,
            "NumInServiceLiveDataNodes": cluster.in_service_nodes,
            "NumDecomLiveDataNodes": cluster.decommissioned_live_nodes,
            "NumDecomDeadDataNodes": cluster.decommissioned_dead_nodes,
            "NumDecommissioningDataNodes": cluster.decommissioning_nodes,
            "NumEnteringMaintenanceDataNodes": cluster.entering_maintenance_nodes,
            "NumInMaintenanceLiveDataNodes": cluster.in_maintenance_live_nodes,
            "NumInMaintenanceDeadDataNodes": cluster.in_maintenance_dead_nodes,
            "VolumeFailuresTotal": cluster.failed_volumes,
            "EstimatedCapacityLostTotal": cluster.capacity_lost,
            "FSState": if figures.safe_mode.is_some() { "safeMode" } else { "Operational" },
        })
    }

    fn namenode_info(&self, figures: &Figures) -> Value {
        let (cluster, counts) = (&figures.cluster, &figures.counts);
        let percent = |part: u64| {
            if cluster.capacity == 0 {
                0.0
            } else {
                part as f64 * 100.0 / cluster.capacity as f64
            }
        };
        let (mut live, mut dead) = (Map::new(), Map::new());
        let mut versions = std::collections::BTreeMap::<String, u64>::new();
        let nodes = self.datanodes();
        for node in &nodes {
            let (id, stats) = (&node.info.id, &node.info.stats);
            if node.info.alive {
                *versions.entry(node.software_version.to_string()).or_default() += 1;
            }
            let name = format!("{}:{}", id.host_name, id.xfer_port);
            let last_contact = self.shared.state.now().since(stats.last_update) / 1000;
            if node.info.alive {
                live.insert(
                    name,
                    json!({
                        "infoAddr": format!("{}:{}", id.ip, id.info_port),
                        "xferaddr": id.xfer_addr(),
                        "lastContact": last_contact,
                        "usedSpace": stats.dfs_used,
                        "adminState": admin_text(node.info.admin),
                        "nonDfsUsedSpace": stats.non_dfs_used,
                        "capacity": stats.capacity,
                        "numBlocks": stats.blocks,
                        "version": &*node.software_version,
                        "used": stats.dfs_used,
                        "remaining": stats.remaining,
                        "blockPoolUsed": stats.block_pool_used,
                        "volfails": stats.failed_volumes,
                        "location": &*node.info.rack,
                        "lastBlockReport": self.shared.state.now().since(stats.last_block_report) / 60_000,
                        "failedStorageIDs": node.volume_failures.as_ref().map(|failures| &failures.locations),
                    }),
                );
            } else {
                let decommissioned = node.info.admin == AdminState::Decommissioned;
                let about = json!({
                    "lastContact": last_contact, "decommissioned": decommissioned, "xferaddr": id.xfer_addr(),
                    "adminState": admin_text(node.info.admin),
                });
                dead.insert(name, about);
            }
        }
        json!({
            "name": "Hadoop:service=NameNode,name=NameNodeInfo",
            "modelerType": "org.apache.hadoop.hdfs.server.namenode.FSNamesystem",
            "Total": cluster.capacity,
            "Used": cluster.dfs_used,
            "Free": cluster.remaining,
            "NonDfsUsedSpace": cluster.non_dfs_used,
            "PercentUsed": percent(cluster.dfs_used),
            "PercentRemaining": percent(cluster.remaining),
            "BlockPoolUsedSpace": cluster.block_pool_used,
            "TotalBlocks": counts.blocks,
            "TotalFiles": counts.files + counts.directories,
            "NumberOfMissingBlocks": figures.blocks.missing,
            "NumberOfMissingBlocksWithReplicationFactorOne": figures.blocks.missing_replication_one,
            "Safemode": figures.safe_mode.as_deref().unwrap_or(""),
            "LiveNodes": Value::Object(live).to_string(),
            "DeadNodes": Value::Object(dead).to_string(),
            "DecomNodes": self.leaving_nodes(AdminState::DecommissionInProgress, "decommissionOnlyReplicas"),
            "EnteringMaintenanceNodes": self.leaving_nodes(AdminState::EnteringMaintenance, "maintenanceOnlyReplicas"),
            "Threads": crate::process_beans::threads(),
            "NameDirStatuses": self.name_dir_statuses(),
            "NodeUsage": self.node_usage(&nodes),
            "NameJournalStatus": "[]",
            "JournalTransactionInfo": self.journal_transactions(),
            "NumberOfSnapshottableDirs": 0,
            "DistinctVersionCount": versions.len(),
            "DistinctVersions": versions.iter().map(|(version, count)| json!({"key": version, "value": count})).collect::<Vec<_>>(),
            "RollingUpgradeStatus": Value::Null,
            "CorruptFiles": "[]",
            "CacheCapacity": cluster.cache_capacity,
            "CacheUsed": cluster.cache_used,
            "BlockPoolId": figures.identity.block_pool.as_str(),
            "ClusterId": figures.identity.cluster_id,
            "Version": format!("{SOFTWARE_VERSION}, hadron {}", env!("CARGO_PKG_VERSION")),
            "SoftwareVersion": SOFTWARE_VERSION,
            "NNStartedTimeInMillis": self.shared.state.started().0,
            "UpgradeFinalized": true,
        })
    }

    /// How far the nodes in `state` are with leaving, as the text of a JSON object by node.
    fn leaving_nodes(&self, state: AdminState, only: &str) -> String {
        let mut nodes = Map::new();
        for node in self.datanodes() {
            if node.info.admin != state {
                continue;
            }
            let (id, progress) = (&node.info.id, node.leaving.unwrap_or_default());
            let about = json!({
                "xferaddr": id.xfer_addr(),
                "underReplicatedBlocks": progress.under_replicated,
                only: progress.out_of_service_only,
                "underReplicateInOpenFiles": progress.in_open_files,
            });
            nodes.insert(format!("{}:{}", id.host_name, id.xfer_port), about);
        }
        Value::Object(nodes).to_string()
    }

    /// Which name dirs work and which were given up, as the JSON text Hadoop's page shows.
    fn name_dir_statuses(&self) -> String {
        let health = self.shared.log.health().borrow().clone();
        let of = |dirs: &[std::path::PathBuf]| {
            let pairs = dirs
                .iter()
                .map(|dir| (dir.display().to_string(), json!("IMAGE_AND_EDITS")));
            Value::Object(pairs.collect())
        };
        json!({ "active": of(&health.live_dirs), "failed": of(&health.failed_dirs) }).to_string()
    }

    /// Least, middle and largest share of used space among live DataNodes, and the deviation.
    fn node_usage(&self, nodes: &[DatanodeReport]) -> String {
        let mut shares: Vec<f64> = nodes
            .iter()
            .filter(|node| node.info.alive && node.info.stats.capacity > 0)
            .map(|node| node.info.stats.dfs_used as f64 * 100.0 / node.info.stats.capacity as f64)
            .collect();
        shares.sort_by(f64::total_cmp);
        let at = |index: usize| shares.get(index).copied().unwrap_or(0.0);
        let count = shares.len().max(1) as f64;
        let mean = shares.iter().sum::<f64>() / count;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / count;
        let text = |share: f64| format!("{share:.2}%");
        let usage = json!({
            "min": text(at(0)),
            "median": text(at(shares.len() / 2)),
            "max": text(at(shares.len().saturating_sub(1))),
            "stdDev": text(variance.sqrt()),
        });
        json!({ "nodeUsage": usage }).to_string()
    }

    fn journal_transactions(&self) -> String {
        let applied = self.shared.last_applied().0.to_string();
        let image = self.shared.log.newest_image().index.0.to_string();
        json!({ "MostRecentCheckpointTxId": image, "LastAppliedOrWrittenTxId": applied }).to_string()
    }

    fn namenode_activity(&self) -> Value {
        let (reports, average_ms) = self.shared.state.caching.reports();
        json!({
            "name": "Hadoop:service=NameNode,name=NameNodeActivity",
            "modelerType": "NameNodeActivity",
            "CacheReportNumOps": reports,
            "CacheReportAvgTime": average_ms,
        })
    }

    fn rpc_activity(&self) -> Value {
        let rpc = &self.rpc;
        let calls = rpc.total(|method| &method.calls);
        let average = |nanos: u64| {
            if calls == 0 {
                0.0
            } else {
                nanos as f64 / calls as f64 / 1e6
            }
        };
        json!({
            "name": format!("Hadoop:service=NameNode,name=RpcActivityForPort{}", self.rpc_port),
            "modelerType": format!("RpcActivityForPort{}", self.rpc_port),
            "tag.port": self.rpc_port.to_string(),
            "ReceivedBytes": rpc.received_bytes.load(Ordering::Relaxed),
            "SentBytes": rpc.sent_bytes.load(Ordering::Relaxed),
            "RpcQueueTimeNumOps": calls,
            "RpcQueueTimeAvgTime": average(rpc.total(|method| &method.queue_nanos)),
            "RpcProcessingTimeNumOps": calls,
            "RpcProcessingTimeAvgTime": average(rpc.total(|method| &method.processing_nanos)),
            "RpcAuthorizationFailures": rpc.authorization_failures.load(Ordering::Relaxed),
            "RpcAuthorizationSuccesses": rpc.authorization_successes.load(Ordering::Relaxed),
            "NumOpenConnections": rpc.open_connections.load(Ordering::Relaxed),
            "CallQueueLength": rpc.calls_in_flight.load(Ordering::Relaxed),
        })
    }

    /// The configuration in effect, as Hadoop's `/conf` shows it.
    fn configuration_xml(&self) -> String {
        let conf = self.shared.run_time.configuration();
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><configuration>\n");
        let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        for info in hadron_env::config::keys::ALL {
            if let Some(value) = conf.text(info.name) {
                let (name, value) = (escaped(info.name), escaped(&value));
                text += &format!("<property><name>{name}</name><value>{value}</value></property>\n");
            }
        }
        text + "</configuration>\n"
    }

    fn register_gauges(&self, registry: &mut Registry) {
        let figures = self.figures();
        let (cluster, blocks, counts) = (&figures.cluster, &figures.blocks, &figures.counts);
        let gauges: [(&str, &str, u64); 17] = [
            ("files", "Files, open ones included", counts.files),
            ("directories", "Directories, the root included", counts.directories),
            ("blocks", "Blocks of all files", counts.blocks),
            ("files_under_construction", "Files open for writing", counts.open_files),
            ("blocks_missing", "Blocks without a usable replica", blocks.missing),
            ("blocks_corrupt", "Blocks with a corrupt replica", blocks.corrupt),
            (
                "blocks_low_redundancy",
                "Blocks that wait for more replicas",
                blocks.low_redundancy,
            ),
            (
                "blocks_pending_replication",
                "Copies under way",
                blocks.pending_replication,
            ),
            (
                "blocks_pending_deletion",
                "Replicas waiting to be deleted",
                blocks.pending_deletion,
            ),
            ("blocks_excess", "Surplus replicas not yet deleted", blocks.excess),
            ("capacity_total_bytes", "Capacity of live DataNodes", cluster.capacity),
            ("capacity_used_bytes", "Bytes used by blocks", cluster.dfs_used),
            ("capacity_remaining_bytes", "Bytes left", cluster.remaining),
            ("datanodes_live", "Live DataNodes", cluster.live_nodes as u64),
            (
                "datanodes_dead",
                "Dead DataNodes still remembered",
                cluster.dead_nodes as u64,
            ),
            (
                "datanodes_stale",
                "Live DataNodes silent for the stale interval",
                cluster.stale_nodes as u64,
            ),
            (
                "safe_mode",
                "1 while safe mode is on",
                u64::from(figures.safe_mode.is_some()),
            ),
        ];
        for (name, help, value) in gauges {
            registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
        }
    }

    fn register_rpc(&self, registry: &mut Registry) {
        let rpc = &self.rpc;
        registry.register(
            "rpc_open_connections",
            "RPC connections open now",
            ConstGauge::new(rpc.open_connections.load(Ordering::Relaxed)),
        );
        registry.register(
            "rpc_calls_in_flight",
            "RPC calls whose answer is not ready yet",
            ConstGauge::new(rpc.calls_in_flight.load(Ordering::Relaxed)),
        );
        let counters: [(&str, &str, u64); 8] = [
            (
                "rpc_accepted_connections",
                "RPC connections accepted",
                rpc.accepted_connections.load(Ordering::Relaxed),
            ),
            (
                "rpc_refused_connections",
                "RPC connections refused by a limit",
                rpc.refused_connections.load(Ordering::Relaxed),
            ),
            (
                "rpc_malformed_connections",
                "RPC connections closed for malformed input",
                rpc.malformed_connections.load(Ordering::Relaxed),
            ),
            (
                "rpc_received_bytes",
                "Bytes read from RPC peers",
                rpc.received_bytes.load(Ordering::Relaxed),
            ),
            (
                "rpc_sent_bytes",
                "Bytes written to RPC peers",
                rpc.sent_bytes.load(Ordering::Relaxed),
            ),
            ("rpc_calls", "RPC calls answered", rpc.total(|method| &method.calls)),
            (
                "rpc_errors",
                "RPC calls answered with an exception",
                rpc.total(|method| &method.errors),
            ),
            (
                "rpc_processing_nanoseconds",
                "Time in RPC handlers, summed",
                rpc.total(|method| &method.processing_nanos),
            ),
        ];
        for (name, help, value) in counters {
            registry.register(name, help, ConstCounter::new(value));
        }
        self.register_methods(registry);
    }

    /// Calls and time by protocol and method, of those that were called.
    fn register_methods(&self, registry: &mut Registry) {
        let (calls, nanos) = (
            Family::<Labels, Counter>::default(),
            Family::<Labels, Counter>::default(),
        );
        for protocol in &self.rpc.protocols {
            for (method, counters) in &protocol.methods {
                let called = counters.calls.load(Ordering::Relaxed);
                if called > 0 {
                    let labels = vec![("protocol", protocol.protocol), ("method", *method)];
                    calls.get_or_create(&labels).inc_by(called);
                    let spent = counters.processing_nanos.load(Ordering::Relaxed);
                    nanos.get_or_create(&labels).inc_by(spent);
                }
            }
        }
        registry.register("rpc_method_calls", "RPC calls answered, by method", calls);
        registry.register("rpc_method_nanoseconds", "Time in RPC handlers, by method", nanos);
    }

    /// Calls and mean time of every method called, as Hadoop names them (`GetFileInfoNumOps`).
    fn rpc_detailed_activity(&self) -> Value {
        let port = self.rpc_port;
        let mut bean = Map::new();
        bean.insert(
            "name".to_owned(),
            json!(format!("Hadoop:service=NameNode,name=RpcDetailedActivityForPort{port}")),
        );
        bean.insert(
            "modelerType".to_owned(),
            json!(format!("RpcDetailedActivityForPort{port}")),
        );
        for (method, counters) in self.rpc.protocols.iter().flat_map(|protocol| &protocol.methods) {
            let calls = counters.calls.load(Ordering::Relaxed);
            if calls > 0 {
                let nanos = counters.processing_nanos.load(Ordering::Relaxed);
                let name = capitalised(method);
                bean.insert(format!("{name}NumOps"), json!(calls));
                bean.insert(format!("{name}AvgTime"), json!(nanos as f64 / calls as f64 / 1e6));
            }
        }
        Value::Object(bean)
    }
}

/// Labels of a counter by method.
type Labels = Vec<(&'static str, &'static str)>;

fn capitalised(name: &str) -> String {
    let mut chars = name.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

impl AdminPages for NameNodePages {
    fn health(&self) -> Result<(), String> {
        match &self.shared.log.health().borrow().poisoned {
            Some(reason) => Err(format!("the journal is poisoned: {reason}")),
            None => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        if !self.shared.state.is_live() {
            return Err("the NameNode is starting: its log is being replayed".to_owned());
        }
        match self.figures().safe_mode {
            Some(tip) => Err(format!("safe mode is on. {tip}")),
            None => Ok(()),
        }
    }

    fn metrics(&self) -> String {
        let mut registry = Registry::with_prefix("hadron_namenode");
        self.register_gauges(&mut registry);
        self.register_rpc(&mut registry);
        let mut text = String::new();
        match encode(&mut text, &registry) {
            Ok(()) => text,
            Err(error) => format!("# encode metrics: {error}\n"),
        }
    }

    fn stream(
        &self,
        path: &str,
        query: &HashMap<String, String>,
        peer: IpAddr,
    ) -> Option<tokio::sync::mpsc::Receiver<String>> {
        (path == "/fsck").then(|| crate::fsck::start(&self.shared, query, peer))
    }

    fn page(&self, path: &str) -> Option<String> {
        (path == "/conf").then(|| self.configuration_xml())
    }

    fn jmx(&self, query: Option<&str>) -> String {
        let figures = self.figures();
        let beans = [
            self.fs_namesystem(&figures),
            self.fs_namesystem_state(&figures),
            self.namenode_info(&figures),
            self.namenode_activity(),
            self.rpc_activity(),
            self.rpc_detailed_activity(),
            crate::process_beans::jvm_metrics(),
            crate::process_beans::memory(),
            crate::process_beans::runtime(self.shared.state.started(), self.shared.state.now()),
        ];
        let wanted = |bean: &Value| bean["name"].as_str().is_some_and(|name| bean_matches(query, name));
        let beans: Vec<Value> = beans.into_iter().filter(wanted).collect();
        format!("{:#}\n", json!({ "beans": beans }))
    }
}

/// Hadoop's `AdminStates` texts.
fn admin_text(admin: AdminState) -> &'static str {
    match admin {
        AdminState::Normal => "In Service",
        AdminState::DecommissionInProgress => "Decommission In Progress",
        AdminState::Decommissioned => "Decommissioned",
        AdminState::EnteringMaintenance => "Entering Maintenance",
        AdminState::InMaintenance => "In Maintenance",
    }
}
