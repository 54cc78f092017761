//! Kills a real DataNode at each packet of a file of two blocks, at each position of the pipeline.
//!
//! Each time: the file equals the input, the stamp of a block whose pipeline broke has risen, the replica that was left
//! behind is never served when its node comes back, and in the end there are three good replicas and no other.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_client::{CreateOptions, HadronFs};
use hadron_testkit::{Cluster, eventually, path, pattern, read};
use hadron_types::{Block, ExtendedBlock, ReplicaState};
use rstest::rstest;
use std::collections::HashMap;
use std::time::Duration;

const NODES: usize = 4;
const PACKET: usize = 20 * 512;
const BLOCK: usize = 10 * PACKET;
const PACKETS: usize = 20;

async fn cluster() -> Cluster {
    let builder = Cluster::builder()
        .datanodes(NODES)
        .set("dfs.blocksize", BLOCK)
        .set("dfs.client-write-packet-size", 33 + PACKET / 512 * 516)
        .set("dfs.namenode.fs-limits.min-block-size", "1")
        .set("dfs.heartbeat.interval", "100ms")
        .set("dfs.namenode.heartbeat.recheck-interval", "200")
        .set("dfs.namenode.redundancy.interval.seconds", "50ms")
        // A copy that died with its source is ordered anew after this time; 5 minutes by default.
        .set("dfs.namenode.reconstruction.pending.timeout-sec", "1");
    builder.start().await.unwrap()
}

/// The blocks of the file as the NameNode knows them.
async fn blocks(fs: &HadronFs, name: &str) -> Vec<Block> {
    let located = fs.block_locations(&path(name), 0, u64::MAX >> 1).await.unwrap();
    located.into_iter().map(|block| block.block.block).collect()
}

// covers: WP-16, WP-17
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_may_die_at_any_packet(#[values(0, 1, 2)] position: usize) {
    let mut cluster = cluster().await;
    let fs = cluster.client().await.unwrap();
    let data = pattern(2 * BLOCK);
    let mut broken = 0;
    for packet in 1..=PACKETS {
        let name = format!("/killed-at-{packet}");
        let mut writer = fs.create(&path(&name), CreateOptions::default()).await.unwrap();
        // One byte more: at a block's end there is no pipeline.
        let written = (packet * PACKET + 1).min(data.len() - 1);
        writer.write_all(&data[..written]).await.unwrap();
        if packet % 2 == 0 {
            // Others may rely on these bytes: the node must be replaced. Else packets are under way when it dies.
            writer.hflush().await.unwrap();
        }
        let pipeline = eventually("a pipeline stands", || async {
            let pipeline = writer.pipeline();
            (!pipeline.is_empty()).then_some(pipeline)
        })
        .await;
        let before: HashMap<_, _> = {
            let known = cluster.replicas(0..NODES);
            known
                .iter()
                .map(|(_, block, _)| (block.id, block.generation_stamp))
                .collect()
        };
        let victim = (0..NODES)
            .find(|number| cluster.datanode(*number).xfer_addr().to_string() == pipeline[position])
            .unwrap();
        cluster.kill_datanode(victim).await;
        writer.write_all(&data[written..]).await.unwrap();
        writer.close().await.unwrap();
        assert!(read(&fs, &name).await.unwrap() == data, "{position} at {packet}");
        let stored = blocks(&fs, &name).await;
        assert_eq!(stored.len(), 2);
        broken += usize::from(stored.iter().any(|block| {
            let old = before.get(&block.id);
            old.is_some_and(|stamp| *stamp < block.generation_stamp)
        }));
        cluster.start_datanode(victim).await.unwrap();
        cluster.datanode(victim).wait_registered().await;
        assert!(
            read(&fs, &name).await.unwrap() == data,
            "{position} at {packet}, the node is back"
        );
        for (node, block, _) in cluster.replicas(0..NODES) {
            let Some(current) = stored.iter().find(|current| current.id == block.id) else {
                continue;
            };
            if block.generation_stamp < current.generation_stamp {
                let asked = ExtendedBlock {
                    pool: cluster.pool(),
                    block: *current,
                };
                let served = cluster.datanode(node).store().open_for_read(&asked, 0, Duration::ZERO);
                assert!(served.is_err(), "node {node} serves a stale replica");
            }
        }
        let of_file = |cluster: &Cluster| {
            let mut all = cluster.replicas(0..NODES);
            // A block abandoned when its pipeline could not be built leaves empty replicas until the next full report,
            // as in Apache's DataNodes.
            all.retain(|(_, known, _)| stored.iter().any(|block| block.id == known.id));
            all
        };
        eventually("three good replicas of each block and no other", || async {
            let all = of_file(&cluster);
            let good = |block: &Block| {
                let same = all.iter().filter(|(_, known, _)| known.id == block.id);
                let good = same.filter(|(_, known, state)| {
                    (known.generation_stamp, known.len) == (block.generation_stamp, block.len)
                        && *state == ReplicaState::Finalized
                });
                good.count() == 3
            };
            (all.len() == 6 && stored.iter().all(good)).then_some(())
        })
        .await;
        assert!(read(&fs, &name).await.unwrap() == data);
        fs.delete(&path(&name), true).await.unwrap();
        eventually("the replicas are deleted", || async {
            of_file(&cluster).is_empty().then_some(())
        })
        .await;
    }
    // Where nothing was under way the node was not missed before the next block.
    assert!(broken >= PACKETS / 2, "only {broken} pipelines broke");
    cluster.shutdown().await;
}
