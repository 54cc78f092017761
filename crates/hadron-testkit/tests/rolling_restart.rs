//! Every DataNode is restarted, one after the other, while one file is being written.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_client::{CreateOptions, ReportKind};
use hadron_testkit::{Cluster, eventually, path, read};
use hadron_types::ReplicaState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Longer than the file: one block, so that one pipeline lives through all restarts.
const ONE_BLOCK: u64 = 1 << 30;
/// Bytes per write; between two writes the stream looks whether it is over.
const PART: usize = 100_000;
/// Bytes that must pass between two restarts.
const PROGRESS: u64 = 1_000_000;

fn part(number: u64) -> Vec<u8> {
    (0..PART as u64)
        .map(|at| ((number * PART as u64 + at).wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect()
}

/// Writes until every DataNode was restarted, and a bit more; the nodes that had the whole block when it was closed.
async fn write_through_restarts(replication: u32) -> Vec<usize> {
    let builder = Cluster::builder()
        .datanodes(3)
        .set("dfs.heartbeat.interval", "200ms")
        .set("dfs.client.socket-timeout", "20s");
    let mut cluster = builder.start().await.unwrap();
    let fs = cluster.client().await.unwrap();
    let options = CreateOptions {
        block_size: Some(ONE_BLOCK),
        replication: Some(replication),
        ..CreateOptions::default()
    };
    let mut writer = fs.create(&path("/long"), options).await.unwrap();
    let (over, flushed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writing = tokio::spawn({
        let (over, flushed) = (over.clone(), flushed.clone());
        async move {
            let mut parts = 0;
            while !over.load(Ordering::Relaxed) {
                writer.write_all(&part(parts)).await.unwrap();
                parts += 1;
                if parts.is_multiple_of(5) {
                    writer.hflush().await.unwrap();
                    flushed.store(parts * PART as u64, Ordering::Relaxed);
                }
            }
            writer.close().await.unwrap();
            parts
        }
    });
    let progress = async |beyond: u64| {
        eventually("the stream goes on", || async {
            assert!(!writing.is_finished(), "the write failed");
            let now = flushed.load(Ordering::Relaxed);
            (now >= beyond + PROGRESS).then_some(now)
        })
        .await
    };
    let mut at = progress(0).await;
    for node in 0..3 {
        cluster.restart_datanode_announced(node).await.unwrap();
        at = progress(at).await;
    }
    over.store(true, Ordering::Relaxed);
    let parts = writing.await.unwrap();
    // Before anybody could have made copies elsewhere.
    let pool = cluster.namenode().shared().state.block_pool();
    let finalized = |number: &usize| {
        let report = cluster.datanode(*number).store().block_report(&pool).unwrap();
        let mut all = report.into_iter().flat_map(|storage| storage.replicas);
        all.any(|replica| replica.state == ReplicaState::Finalized && replica.block.len == parts * PART as u64)
    };
    let nodes: Vec<usize> = (0..3).filter(finalized).collect();
    let content = read(&fs, "/long").await.unwrap();
    let expected: Vec<u8> = (0..parts).flat_map(part).collect();
    assert!(
        content == expected,
        "{} of {} bytes, or others",
        content.len(),
        expected.len()
    );
    assert_eq!(fs.datanodes(ReportKind::Live).await.unwrap().len(), 3);
    let blocks = fs.block_locations(&path("/long"), 0, u64::MAX >> 1).await.unwrap();
    assert_eq!(blocks.len(), 1);
    cluster.shutdown().await;
    nodes
}

/// covers: WP-20
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_only_node_of_a_pipeline_is_waited_for() {
    assert_eq!(write_through_restarts(1).await.len(), 1);
}

// covers: WP-20
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_node_of_a_local_pipeline_is_given_up() {
    assert_eq!(write_through_restarts(3).await, [0, 1, 2]);
}
