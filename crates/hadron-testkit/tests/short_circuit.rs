//! Short-circuit reads through all parts: descriptors from real DataNodes, and what becomes of them.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_client::{CreateOptions, HadronFs};
use hadron_testkit::{Cluster, drain, eventually, path, pattern};
use tempfile::TempDir;

const BLOCK: u64 = 1 << 20;

async fn cluster(datanodes: usize) -> (Cluster, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let builder = Cluster::builder()
        .datanodes(datanodes)
        .set("dfs.blocksize", BLOCK)
        .set("dfs.heartbeat.interval", "100ms")
        .set("dfs.client.retry.window.base", "10")
        .set("dfs.client.read.shortcircuit", "true")
        .set("dfs.domain.socket.path", home.path().join("dn._PORT").display())
        .set("hadron.domain.socket.check-directories", "false");
    (builder.start().await.unwrap(), home)
}

async fn write(fs: &HadronFs, name: &str, content: &[u8]) {
    let mut writer = fs.create(&path(name), CreateOptions::default()).await.unwrap();
    writer.write_all(content).await.unwrap();
    writer.close().await.unwrap();
}

fn sent(cluster: &Cluster, nodes: usize) -> u64 {
    (0..nodes)
        .map(|node| cluster.datanode(node).metrics().bytes_read.get())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn local_files_are_read_without_their_data_node() {
    // covers: SC-01, SC-02, SC-03, SC-04, SC-18, SC-41
    let (cluster, _home) = cluster(1).await;
    let fs = cluster.client().await.unwrap();
    let content = pattern(3 * BLOCK as usize + 70_001);
    write(&fs, "/f", &content).await;
    let mut reader = fs.open(&path("/f")).await.unwrap();
    assert!(drain(&mut reader).await.unwrap() == content);
    let seen = reader.statistics();
    assert_eq!(
        (seen.short_circuit, seen.total),
        (content.len() as u64, content.len() as u64)
    );
    assert_eq!(sent(&cluster, 1), 0);
    assert_eq!(
        cluster.datanode(0).short_circuit_counts(),
        (1, 4),
        "one segment, a slot for each block"
    );
    let held = fs.short_circuit_counts();
    assert_eq!((held.replicas, held.shm.slots), (4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequential_reader_does_not_notice_the_end_of_its_data_node() {
    // covers: SC-01
    let (mut cluster, _home) = cluster(1).await;
    let fs = cluster.client().await.unwrap();
    let content = pattern(BLOCK as usize);
    write(&fs, "/f", &content).await;
    let mut reader = fs.open(&path("/f")).await.unwrap();
    let first = reader.next_chunk().await.unwrap();
    assert!(first.len() < content.len());
    cluster.stop_datanode(0).await;
    assert!(drain(&mut reader).await.unwrap() == content[first.len()..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_ends_gives_everything_back() {
    // covers: SC-04, SC-38
    let (cluster, _home) = cluster(1).await;
    let fs = cluster.client().await.unwrap();
    write(&fs, "/f", &pattern(1000)).await;
    write(&fs, "/g", &pattern(1000)).await;
    for name in ["/f", "/g"] {
        drain(&mut fs.open(&path(name)).await.unwrap()).await.unwrap();
    }
    let reader = fs.open(&path("/f")).await.unwrap();
    reader.read_at(0, 10).await.unwrap();
    assert_eq!(cluster.datanode(0).short_circuit_counts(), (1, 2));
    drop(reader);
    drop(fs);
    eventually("the segment is gone", async || {
        (cluster.datanode(0).short_circuit_counts() == (0, 0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_being_written_and_one_that_grew_are_read_right() {
    let (cluster, _home) = cluster(1).await;
    let fs = cluster.client().await.unwrap();
    let content = pattern(30_000);
    let mut writer = fs.create(&path("/f"), CreateOptions::default()).await.unwrap();
    writer.write_all(&content[..10_000]).await.unwrap();
    writer.hflush().await.unwrap();
    let mut open = fs.open(&path("/f")).await.unwrap();
    assert!(drain(&mut open).await.unwrap() == content[..10_000]);
    assert_eq!(
        open.statistics().local_over_network(),
        10_000,
        "being written: from the DataNode"
    );
    writer.close().await.unwrap();
    let reader = fs.open(&path("/f")).await.unwrap();
    assert!(reader.read_at(9990, 10).await.unwrap() == content[9990..10_000]);
    let mut writer = fs.append(&path("/f")).await.unwrap();
    writer.write_all(&content[10_000..]).await.unwrap();
    writer.close().await.unwrap();
    assert!(
        reader.read_at(9990, 10).await.unwrap() == content[9990..10_000],
        "the old reader"
    );
    let mut new = fs.open(&path("/f")).await.unwrap();
    assert!(drain(&mut new).await.unwrap() == content);
    assert_eq!(new.statistics().short_circuit, 30_000);
}
