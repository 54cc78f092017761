//! DataNodes that die, hang, restart or corrupt at every packet; leases and quotas that run out.

use super::*;
use crate::datanode::{Faults, NODE_PATIENCE};
use std::time::Duration;

/// Twenty packets and more in two blocks.
const CHUNKS_PER_PACKET: usize = 20;
const TWO_BLOCKS: usize = 2 * BLOCK as usize;

async fn cluster_with_small_packets(count: usize, replication: usize) -> Cluster {
    let packet = 33 + 516 * CHUNKS_PER_PACKET;
    let cluster = Cluster::start_with(
        count,
        |conf| {
            conf.set("dfs.client-write-packet-size", packet.to_string());
            conf.set("dfs.replication", replication.to_string());
        },
        |_| {},
    )
    .await;
    cluster.namenode.state.lock().replication = replication;
    cluster
}

/// Every replica that the NameNode does not know as current has an older stamp, so nobody is sent to it.
fn check_stale(cluster: &Cluster, name: &str) {
    let file = cluster.namenode.state.lock().files[name].clone();
    for (block, uuids) in &file.blocks {
        for node in cluster.datanodes.iter().filter(|node| !uuids.contains(&node.uuid)) {
            if let Some(stale) = node.store.replicas.lock().get(&block.block_id) {
                assert!(stale.stamp < block.generation_stamp, "{} of {name}", node.uuid);
            }
        }
    }
}

#[tokio::test]
async fn any_node_may_die_at_any_packet() {
    // covers: WP-05, WP-16, WP-17
    let data = data(TWO_BLOCKS);
    let packets = {
        let cluster = cluster_with_small_packets(3, 3).await;
        cluster.put("/f", &data).await;
        *cluster.datanodes[2].store.received.lock()
    };
    assert!(packets >= 20, "{packets}");
    for victim in 0..3 {
        for moment in 0..packets {
            for flushed in [false, true] {
                let cluster = cluster_with_small_packets(4, 3).await;
                cluster.datanodes[victim].fault(Faults {
                    die_after_total: Some(moment),
                    ..Faults::default()
                });
                let mut writer = cluster.create("/f").await;
                // Once bytes were flushed a lost node must be replaced.
                writer.write_all(&data[..7000]).await.unwrap();
                if flushed {
                    writer.hflush().await.unwrap();
                }
                writer.write_all(&data[7000..]).await.unwrap();
                writer
                    .close()
                    .await
                    .unwrap_or_else(|error| panic!("{victim} at {moment}: {error}"));
                check_stale(&cluster, "/f");
                let state = cluster.namenode.state.lock();
                let file = &state.files["/f"];
                let mut rest = &data[..];
                for (block, uuids) in &file.blocks {
                    let (part, after) = rest.split_at(block.num_bytes() as usize);
                    rest = after;
                    assert!(uuids.len() >= 2, "{victim} at {moment}");
                    assert!(block.generation_stamp >= 1001);
                    for node in cluster.datanodes.iter().filter(|node| uuids.contains(&node.uuid)) {
                        let replica = node.store.replicas.lock()[&block.block_id].clone();
                        assert!(replica.finalized && replica.data == part, "{victim} at {moment}");
                        assert_eq!(replica.stamp, block.generation_stamp);
                    }
                }
                assert!(rest.is_empty());
                let recoveries = state.calls.iter().filter(|call| *call == "updatePipeline").count();
                let abandoned = state.calls.iter().filter(|call| *call == "abandonBlock").count();
                assert!(recoveries + abandoned >= 1, "{victim} at {moment}: nobody noticed");
            }
        }
    }
}

/// Time-outs of seconds where Hadoop's are minutes, in the same order: who is nearer to a silent node notices first.
async fn impatient_cluster(count: usize) -> Cluster {
    let cluster = Cluster::start_with(
        count,
        |conf| {
            conf.set("dfs.client.socket-timeout", "2s");
        },
        |settings| settings.window.node_timeout = NODE_PATIENCE,
    )
    .await;
    cluster.namenode.state.lock().replication = 3;
    for node in &cluster.datanodes {
        *node.store.mirror_patience.lock() = Some(Duration::from_secs(1));
    }
    cluster
}

#[tokio::test]
async fn a_hung_node_is_timed_out_and_replaced() {
    // covers: WP-17
    let replaced = async |hung: usize| {
        let cluster = impatient_cluster(4).await;
        let data = data(BLOCK as usize - 100);
        let mut writer = cluster.create("/f").await;
        writer.write_all(&data[..1000]).await.unwrap();
        writer.hflush().await.unwrap();
        assert_eq!(writer.pipeline()[hung], cluster.datanodes[hung].addr());
        assert_eq!(writer.current_block_replication(), 3);
        cluster.datanodes[hung].fault(Faults {
            hang_after_packets: Some(1),
            ..Faults::default()
        });
        writer.write_all(&data[1000..]).await.unwrap();
        writer.close().await.unwrap();
        cluster.check_replicas("/f", &data, 3);
        let nodes = cluster.namenode.state.lock().files["/f"].blocks[0].1.clone();
        assert!(!nodes.contains(&format!("dn{hung}")), "{nodes:?} without dn{hung}");
        assert_eq!(cluster.namenode.count("getAdditionalDatanode"), 1);
    };
    futures::join!(replaced(0), replaced(1), replaced(2));
}

#[tokio::test]
async fn a_hung_node_does_not_make_the_writer_grow() {
    // covers: WP-13, WP-38
    let cluster = Cluster::start(1).await;
    cluster.datanodes[0].fault(Faults {
        hang_after_packets: Some(1),
        ..Faults::default()
    });
    let options = CreateOptions {
        block_size: Some(64 << 20),
        ..CreateOptions::default()
    };
    let mut writer = cluster.fs.create(&path("/f"), options).await.unwrap();
    writer.write_all(b"x").await.unwrap();
    writer.hflush().await.unwrap();
    let chunk = data(64_512);
    let mut taken = 0;
    // Ends when the writer has to wait: then nothing that could be done is left.
    while let Some(written) = futures::FutureExt::now_or_never(writer.write_all(&chunk)) {
        written.unwrap();
        taken += 1;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(taken < 200, "no back-pressure");
    }
    // The window's 81, four in the channel, one in hand, and those that wait for neither.
    assert!((80..=90).contains(&taken), "{taken}");
    assert!(cluster.fs.held_packets() <= 87, "{}", cluster.fs.held_packets());
    drop(writer);
    while cluster.fs.held_packets() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_node_may_restart_during_one_write() {
    // covers: WP-20
    let cluster = Cluster::start_with(
        3,
        |conf| {
            conf.set("dfs.client.datanode-restart.timeout", "10ms");
            conf.set("dfs.client.block.write.replace-datanode-on-failure.policy", "NEVER");
        },
        |_| {},
    )
    .await;
    let data = data(BLOCK as usize - 100);
    let mut writer = cluster.create("/f").await;
    let mut stamps = Vec::new();
    for (turn, piece) in data.chunks(data.len() / 11).enumerate() {
        // More restarts in a row than failures are forgiven.
        cluster.datanodes[turn % 3].fault(Faults {
            restart_after_packets: Some(0),
            ..Faults::default()
        });
        writer.write_all(piece).await.unwrap();
        writer.hflush().await.unwrap();
        assert_eq!(writer.pipeline().len(), 3, "nobody is left behind");
        stamps.push(cluster.namenode.state.lock().files["/f"].blocks[0].0.generation_stamp);
    }
    assert!(stamps.is_sorted() && stamps[0] < stamps[10], "{stamps:?}");
    writer.close().await.unwrap();
    cluster.check_replicas("/f", &data, 3);
    assert_eq!(cluster.namenode.count("abandonBlock"), 0);
}

#[tokio::test]
async fn replacement_follows_the_policy() {
    for (policy, best_effort, spares, flushed, outcome) in [
        ("DEFAULT", false, 1, true, Ok(3)),
        ("DEFAULT", false, 1, false, Ok(2)),
        (
            "DEFAULT",
            false,
            0,
            true,
            Err("Failed to replace a bad datanode on the existing pipeline"),
        ),
        ("DEFAULT", true, 0, true, Ok(2)),
        ("ALWAYS", false, 1, false, Ok(3)),
        (
            "ALWAYS",
            false,
            0,
            false,
            Err("Failed to replace a bad datanode on the existing pipeline"),
        ),
        ("NEVER", false, 1, true, Ok(2)),
    ] {
        let cluster = Cluster::start_with(
            3 + spares,
            |conf| {
                let prefix = "dfs.client.block.write.replace-datanode-on-failure";
                conf.set(format!("{prefix}.policy"), policy);
                conf.set(format!("{prefix}.best-effort"), best_effort.to_string());
            },
            |_| {},
        )
        .await;
        cluster.namenode.state.lock().replication = 3;
        let data = data(BLOCK as usize - 100);
        let mut writer = cluster.create("/f").await;
        writer.write_all(&data[..1000]).await.unwrap();
        if flushed {
            writer.hflush().await.unwrap();
        }
        cluster.datanodes[1].fault(Faults {
            die_after_packets: Some(2),
            ..Faults::default()
        });
        let closed = async {
            writer.write_all(&data[1000..]).await?;
            writer.close().await
        };
        match (closed.await, outcome) {
            (Ok(()), Ok(nodes)) => cluster.check_replicas("/f", &data, nodes),
            (Err(error), Err(text)) => {
                let error = error.to_string();
                assert!(error.starts_with(text), "{error}");
                assert!(
                    error.contains("(Nodes: current=[DatanodeInfoWithStorage[127.0.0.1:"),
                    "{error}"
                );
                assert!(
                    error.contains(&format!("replacement policy is {policy}, and")),
                    "{error}"
                );
            }
            (closed, _) => panic!("{policy} {best_effort} {spares} {flushed}: {closed:?}"),
        }
    }
}

#[tokio::test]
async fn a_name_node_that_refuses_a_replacement_ends_the_stream() {
    let cluster = Cluster::start(3).await;
    let mut writer = cluster.create("/f").await;
    writer.write_all(&data(1000)).await.unwrap();
    writer.hflush().await.unwrap();
    let disabled = HadoopError::new(ErrorKind::UnsupportedOperation, "This feature is disabled.");
    cluster.namenode.script("getAdditionalDatanode", [disabled]);
    cluster.datanodes[2].fault(Faults {
        die_after_packets: Some(1),
        ..Faults::default()
    });
    writer.write_all(&data(1000)).await.unwrap();
    let error = writer.close().await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::UnsupportedOperation));
}

#[tokio::test]
async fn a_lost_lease_ends_every_stream() {
    // covers: WP-24
    let cluster = Cluster::start(1).await;
    let mut writers = [cluster.create("/a").await, cluster.create("/b").await];
    for writer in &mut writers {
        writer.write_all(b"data").await.unwrap();
        writer.hflush().await.unwrap();
    }
    cluster.fs.abort_writers();
    for mut writer in writers {
        assert_eq!(writer.close().await.unwrap_err().to_string(), "Filesystem closed");
    }
    assert_eq!((cluster.fs.open_writers(), cluster.fs.held_packets()), (0, 0));
    // Later ones have nothing to do with it.
    cluster.put("/c", b"data").await;
}

#[tokio::test]
async fn a_file_beyond_its_quota_is_completed_as_far_as_it_got() {
    // covers: WP-28
    let cluster = Cluster::start(1).await;
    let data = data(BLOCK as usize + 10);
    for closes in [true, false] {
        let name = format!("/f{closes}");
        let mut writer = cluster.create(&name).await;
        writer.write_all(&data[..BLOCK as usize]).await.unwrap();
        writer.hflush().await.unwrap();
        let quota = HadoopError::new(ErrorKind::DsQuotaExceeded, "The DiskSpace quota of /d is exceeded");
        cluster.namenode.script("addBlock", [quota]);
        writer.write_all(&data[BLOCK as usize..]).await.unwrap();
        let error = writer.hflush().await.unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::DsQuotaExceeded));
        assert_eq!(
            writer.write_all(b"x").await.unwrap_err().kind(),
            Some(ErrorKind::DsQuotaExceeded)
        );
        if closes {
            let error = writer.close().await.unwrap_err();
            assert_eq!(error.kind(), Some(ErrorKind::DsQuotaExceeded));
            cluster.check_replicas(&name, &data[..BLOCK as usize], 1);
        } else {
            drop(writer);
        }
        while cluster.fs.open_writers() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(cluster.namenode.state.lock().files[&name].closed, closes);
    }
}
