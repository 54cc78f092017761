//! Writing with flags and wishes on real daemons.

use super::*;
use hadron_client::{AppendOptions, SyncFlags};

async fn block_lens(cluster: &Cluster, name: &str) -> Vec<u64> {
    let blocks = cluster.fs.block_locations(&path(name), 0, u64::MAX >> 1).await.unwrap();
    blocks.iter().map(|block| block.block.block.len).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_may_be_short_anywhere() {
    // covers: WP-41
    let cluster = Cluster::start(2).await;
    let data = data(9_000);
    let mut writer = cluster.create("/f").await;
    let end_block = SyncFlags {
        update_length: true,
        end_block: true,
    };
    writer.write_all(&data[..1_000]).await.unwrap();
    writer.hsync_with(end_block).await.unwrap();
    assert_eq!(cluster.fs.existing_status(&path("/f")).await.unwrap().len, 1_000);
    writer.write_all(&data[1_000..1_700]).await.unwrap();
    writer.hflush().await.unwrap();
    assert!(
        cluster.get("/f").await.unwrap() == data[..1_700],
        "over a short block, into an open one"
    );
    writer.write_all(&data[1_700..2_000]).await.unwrap();
    writer.close().await.unwrap();
    for (from, to, new_block) in [(2_000, 3_000, true), (3_000, 3_700, false), (3_700, 9_000, true)] {
        let options = AppendOptions {
            new_block,
            ..AppendOptions::default()
        };
        let mut writer = cluster.fs.append_with(&path("/f"), options).await.unwrap();
        assert_eq!(writer.initial_len(), from as u64);
        writer.write_all(&data[from..to]).await.unwrap();
        writer.close().await.unwrap();
        assert!(cluster.get("/f").await.unwrap() == data[..to], "{from}..{to}");
    }
    assert_eq!(block_lens(&cluster, "/f").await, [1_000, 1_000, 1_700, 5_300]);
    let reader = cluster.fs.open(&path("/f")).await.unwrap();
    for at in [999, 1_000, 1_999, 2_000, 3_699, 3_700] {
        assert_eq!(reader.read_at(at, 2).await.unwrap(), data[at as usize..at as usize + 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_appended_one_by_one() {
    // covers: WP-40
    let cluster = Cluster::start(2).await;
    let data = data(1_100);
    cluster.put("/f", &data[..900]).await;
    for at in 900..1_100 {
        let mut writer = cluster.fs.append(&path("/f")).await.unwrap();
        writer.write_all(&data[at..=at]).await.unwrap();
        if at % 3 == 0 {
            writer.hflush().await.unwrap();
        }
        writer.close().await.unwrap();
    }
    assert!(cluster.get("/f").await.unwrap() == data);
    assert_eq!(block_lens(&cluster, "/f").await, [1_100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn favored_nodes_are_favored() {
    // covers: WP-43
    let cluster = Cluster::start(3).await;
    for turn in 0..9 {
        let wanted = cluster.datanodes[turn % 3].as_ref().unwrap().xfer_addr().to_string();
        let options = CreateOptions {
            replication: Some(1),
            favored_nodes: vec![wanted.clone()],
            ..CreateOptions::default()
        };
        let name = format!("/f{turn}");
        let mut writer = cluster.fs.create(&path(&name), options).await.unwrap();
        writer.write_all(b"here").await.unwrap();
        writer.hflush().await.unwrap();
        assert_eq!(writer.pipeline(), std::slice::from_ref(&wanted));
        writer.close().await.unwrap();
        let (places, _) = cluster.replicas(&name).await;
        assert_eq!(places, [wanted]);
    }
}
