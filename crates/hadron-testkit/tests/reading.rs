//! Reading through all parts: files being written while DataNodes go away, replicas that rot on disk.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_client::{CreateOptions, HadronFs};
use hadron_testkit::{Cluster, drain, eventually, path, pattern};
use std::path::{Path, PathBuf};

const BLOCK: u64 = 1 << 20;

async fn cluster(datanodes: usize) -> Cluster {
    let builder = Cluster::builder()
        .datanodes(datanodes)
        .set("dfs.blocksize", BLOCK)
        .set("dfs.heartbeat.interval", "100ms")
        .set("dfs.namenode.heartbeat.recheck-interval", "200")
        .set("dfs.namenode.redundancy.interval.seconds", "1")
        .set("dfs.client.retry.window.base", "10");
    builder.start().await.unwrap()
}

async fn read(fs: &HadronFs, name: &str) -> Vec<u8> {
    let mut reader = fs.open(&path(name)).await.unwrap();
    let content = drain(&mut reader).await.unwrap();
    assert_eq!(content.len() as u64, reader.len());
    content
}

/// Number of the DataNode that listens at `addr`.
fn number_of(cluster: &Cluster, running: &[usize], addr: &str) -> usize {
    let found = running
        .iter()
        .find(|number| cluster.datanode(**number).xfer_addr().to_string() == addr);
    *found.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_bytes_are_seen_while_data_nodes_die() {
    // covers: WP-46, WP-16
    let mut cluster = cluster(5).await;
    let fs = cluster.client().await.unwrap();
    let content = pattern(2 * BLOCK as usize + 70_000);
    let mut writer = fs.create(&path("/f"), CreateOptions::default()).await.unwrap();
    let mut running: Vec<usize> = (0..5).collect();
    let mut written = 0;
    // Inside the first block, inside the second one, and in the last one; a node of the block being written dies after
    // the first two flushes, before anybody looks.
    for (upto, kill) in [
        (100_001, true),
        (BLOCK as usize + 5, true),
        (2 * BLOCK as usize + 513, false),
        (content.len(), false),
    ] {
        writer.write_all(&content[written..upto]).await.unwrap();
        writer.hflush().await.unwrap();
        written = upto;
        if kill {
            let blocks = fs.block_locations(&path("/f"), 0, i64::MAX as u64).await.unwrap();
            // The one that readers would ask first.
            let number = number_of(&cluster, &running, &blocks.last().unwrap().locations[0].addr);
            cluster.stop_datanode(number).await;
            running.retain(|other| *other != number);
        }
        for client in [fs.clone(), cluster.client().await.unwrap()] {
            let seen = read(&client, "/f").await;
            assert!(seen == content[..written], "{} of {written} bytes", seen.len());
        }
    }
    writer.close().await.unwrap();
    assert!(read(&fs, "/f").await == content);
    cluster.shutdown().await;
}

fn replica_files(dir: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            replica_files(&path, name, found);
        } else if entry.file_name() == name {
            found.push(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_rots_is_noticed_by_readers_and_replaced() {
    let cluster = cluster(4).await;
    let fs = cluster.client().await.unwrap();
    let content = pattern(300_000);
    let mut writer = fs.create(&path("/f"), CreateOptions::default()).await.unwrap();
    writer.write_all(&content).await.unwrap();
    writer.close().await.unwrap();
    let located = fs.block_locations(&path("/f"), 0, BLOCK).await.unwrap();
    let name = format!("blk_{}", located[0].block.block.id);
    let replicas = || {
        let mut found = Vec::new();
        for number in 0..4 {
            replica_files(&cluster.data_dir(number), &name, &mut found);
        }
        found
    };
    let rotten = replicas().swap_remove(0);
    let mut bytes = std::fs::read(&rotten).unwrap();
    bytes[100_000] ^= 0x40;
    std::fs::write(&rotten, bytes).unwrap();
    // Whoever meets it goes on elsewhere and tells the NameNode, which has a good one copied and the bad one deleted.
    eventually("three good replicas and no bad one", || async {
        assert!(read(&fs, "/f").await == content);
        let files = replicas();
        let good = files
            .iter()
            .filter(|file| std::fs::read(file).is_ok_and(|bytes| bytes == content))
            .count();
        (good == 3 && files.len() == 3).then_some(())
    })
    .await;
    cluster.shutdown().await;
}
