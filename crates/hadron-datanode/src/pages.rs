//! What a DataNode shows over HTTP: health, readiness, metrics, the beans of `/jmx` and `/xceivers`.
//!
//! What it does not do: serve (see `hadron_net::AdminHttp`). Invariants: bean and attribute names are Hadoop's, because
//! monitoring matches on them; no disk is asked, the last figures serve.

use crate::shared::Shared;
use hadron_net::{AdminPages, bean_matches};
use hadron_replica::{StorageReport, Usage};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Pages of one DataNode.
pub(crate) struct DataNodePages(pub(crate) Arc<Shared>);

impl AdminPages for DataNodePages {
    fn health(&self) -> Result<(), String> {
        match self.0.ending() {
            Some(ending) => Err(format!("{ending:?}")),
            None => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        match self.0.links().iter().any(|link| link.is_registered()) {
            true => Ok(()),
            false => Err("no NameNode yet".to_owned()),
        }
    }

    fn metrics(&self) -> String {
        let (segments, slots) = self.0.short_circuit.counts();
        self.0.metrics.short_circuit_segments.set(segments as i64);
        self.0.metrics.short_circuit_slots.set(slots as i64);
        self.0.metrics.prometheus()
    }

    fn jmx(&self, query: Option<&str>) -> String {
        let mut beans = vec![
            self.0
                .metrics
                .bean(&format!("{}-{}", self.0.hostname, self.0.addresses.xfer.port())),
        ];
        beans.push(self.dataset_state());
        beans.push(self.info());
        let named = |bean: &Value| bean_matches(query, bean["name"].as_str().unwrap_or_default());
        beans.retain(named);
        json!({ "beans": beans }).to_string()
    }

    fn page(&self, path: &str) -> Option<String> {
        match path {
            "/xceivers" => Some(self.xceivers()),
            "/blockScannerReport" => Some(self.block_scanner_report()),
            _ => None,
        }
    }
}

impl DataNodePages {
    fn dataset_state(&self) -> Value {
        let store = &self.0.store;
        let usages: Vec<Usage> = self.reports().iter().map(|report| report.usage).collect();
        let sum = |figure: fn(&Usage) -> u64| usages.iter().map(figure).sum::<u64>();
        let failures = store.failures();
        let (replicas, open) = store.counts();
        let cache = self.0.cache.figures();
        json!({
            "name": format!("Hadoop:service=DataNode,name=FSDatasetState-{}", store.uuid()),
            "modelerType": "hadron FSDatasetState",
            "Capacity": sum(|usage| usage.capacity),
            "DfsUsed": sum(|usage| usage.dfs_used),
            "Remaining": sum(|usage| usage.remaining),
            "NonDfsUsed": sum(|usage| usage.non_dfs_used),
            "StorageInfo": "FSDataset{volumes}",
            "NumBlocks": replicas,
            "NumOpenReplicas": open,
            "NumFailedVolumes": failures.len(),
            "FailedStorageLocations": failures.iter().map(|failure| failure.location()).collect::<Vec<_>>(),
            "LastVolumeFailureDate": failures.iter().map(|failure| failure.at_ms).max().unwrap_or(0),
            "EstimatedCapacityLostTotal": failures.iter().map(|failure| failure.capacity_lost).sum::<u64>(),
            "CacheUsed": cache.used,
            "CacheCapacity": cache.capacity,
            "NumBlocksCached": cache.cached,
            "NumBlocksFailedToCache": cache.failed_to_cache,
            "NumBlocksFailedToUncache": cache.failed_to_uncache,
            "PendingDeletions": store.pending_deletions(),
        })
    }

    fn info(&self) -> Value {
        let shared = &self.0;
        let addresses = &shared.addresses;
        let namenodes = shared.links();
        let namenodes = namenodes.iter().map(|link| {
            let pool = link.pool().map_or_else(String::new, |pool| pool.as_str().to_owned());
            (link.address.host.clone(), Value::String(pool))
        });
        json!({
            "name": "Hadoop:service=DataNode,name=DataNodeInfo",
            "modelerType": "hadron DataNode",
            "Version": crate::settings::SOFTWARE_VERSION,
            "SoftwareVersion": crate::settings::SOFTWARE_VERSION,
            "DatanodeHostname": shared.hostname,
            "DataPort": addresses.xfer.port().to_string(),
            "RpcPort": addresses.ipc.port().to_string(),
            "HttpPort": addresses.http.port().to_string(),
            "DNStartedTimeInMillis": shared.started_at_ms,
            "NamenodeAddresses": Value::Object(namenodes.collect()).to_string(),
            "VolumeInfo": self.volume_info().to_string(),
            "ClusterId": shared.store.volumes().iter().find_map(|v| v.identity()).map(|identity| identity.cluster_id),
            "XceiverCount": shared.xceivers.count(),
            "XmitsInProgress": shared.transfers.load(Ordering::Relaxed),
            "SecurityEnabled": false,
        })
    }

    /// Per directory what is on it; the value of the bean is this as text.
    fn volume_info(&self) -> Value {
        let store = &self.0.store;
        let counts = store.replicas_by_volume();
        let reports = self.reports();
        let usable = store
            .volumes()
            .iter()
            .zip(counts)
            .filter(|(volume, _)| !volume.is_failed());
        let rows = usable.map(|(volume, count)| {
            let id = volume.storage_id();
            let usage = reports
                .iter()
                .find(|report| report.storage_id == id)
                .map(|report| report.usage);
            let usage = usage.unwrap_or_default();
            let row = json!({
                "usedSpace": usage.dfs_used,
                "freeSpace": usage.remaining,
                "reservedSpace": volume.reserved(),
                "reservedSpaceForReplicas": volume.held(),
                "numBlocks": count,
                "storageType": volume.storage_type().name(),
            });
            (volume.dir().display().to_string(), row)
        });
        Value::Object(rows.collect::<Map<String, Value>>())
    }

    fn reports(&self) -> Vec<StorageReport> {
        self.0.store.storage_reports(&"".into(), false)
    }

    fn block_scanner_report(&self) -> String {
        let (shared, clock) = (&self.0, &self.0.clock);
        (shared.scanners).page(shared.store.volumes(), clock.monotonic(), clock.now().0)
    }

    fn xceivers(&self) -> String {
        let mut text = String::from("peer\tdoing\tops\tage_s\tbytes\n");
        for row in self.0.xceivers.list() {
            let (peer, doing, age) = (row.peer, &row.doing, row.age_seconds);
            let _ = writeln!(text, "{peer}\t{doing}\t{}\t{age}\t{}", row.ops, row.bytes);
        }
        text
    }
}
