//! HTTP of a DataNode: `/health`, `/ready`, `/metrics`, `/jmx`, `/xceivers`; everything else is 404.

use crate::shared::Shared;
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;

/// The pages.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/health", get(|| async { "OK\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/jmx", get(jmx))
        .route("/xceivers", get(xceivers))
        .with_state(shared)
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    if shared.links().iter().any(|link| link.is_registered()) {
        (StatusCode::OK, "OK\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no NameNode yet\n")
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], shared.metrics.prometheus())
}

async fn jmx(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let mut beans = vec![
        shared
            .metrics
            .bean(&format!("{}-{}", shared.hostname, shared.addresses.xfer.port())),
    ];
    let mut totals = [0u64; 3];
    for volume in shared.store.volumes() {
        let usage = volume.usage(0).unwrap_or_default();
        totals[0] += usage.capacity;
        totals[1] += usage.dfs_used;
        totals[2] += usage.remaining;
    }
    let (replicas, open) = shared.store.counts();
    beans.push(json!({
        "name": "Hadoop:service=DataNode,name=FSDatasetState",
        "Capacity": totals[0],
        "DfsUsed": totals[1],
        "Remaining": totals[2],
        "NumBlocks": replicas,
        "NumOpenReplicas": open,
        "NumFailedVolumes": shared.store.volumes().iter().filter(|volume| volume.is_failed()).count(),
    }));
    beans.push(json!({
        "name": "Hadoop:service=DataNode,name=DataNodeInfo",
        "SoftwareVersion": crate::settings::SOFTWARE_VERSION,
        "DatanodeHostname": shared.hostname,
        "DataPort": shared.addresses.xfer.port().to_string(),
        "RpcPort": shared.addresses.ipc.port().to_string(),
        "HttpPort": shared.addresses.http.port().to_string(),
        "XceiverCount": shared.xceivers.count(),
        "XmitsInProgress": shared.transfers.load(std::sync::atomic::Ordering::Relaxed),
    }));
    Json(json!({ "beans": beans }))
}

async fn xceivers(State(shared): State<Arc<Shared>>) -> String {
    let mut text = String::from("peer\tdoing\tops\tage_s\n");
    for row in shared.xceivers.list() {
        let _ = writeln!(text, "{}\t{}\t{}\t{}", row.peer, row.doing, row.ops, row.age_seconds);
    }
    text
}
