//! Block recovery through all parts: writers that died, truncation in the middle of a block, nodes that are down.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_client::{CreateOptions, HadronFs};
use hadron_net::RpcClient;
use hadron_proto::hdfs::*;
use hadron_replica::{ChunkFormat, NewReplica, Packet, ReplicaWriter, layout};
use hadron_testkit::{Cluster, eventually, path, pattern, raw_client, read};
use hadron_types::{Block, BlockId, ChecksumType, ErrorKind, ExtendedBlock, ReplicaState};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

async fn cluster(datanodes: usize) -> Cluster {
    let builder = Cluster::builder()
        .datanodes(datanodes)
        .set("dfs.heartbeat.interval", "100ms")
        .set("dfs.namenode.heartbeat.recheck-interval", "200")
        .set("dfs.namenode.lease-recheck-interval-ms", "100");
    builder.start().await.unwrap()
}

async fn write(fs: &HadronFs, name: &str, content: &[u8], block_size: u64) {
    let options = CreateOptions {
        block_size: Some(block_size),
        ..CreateOptions::default()
    };
    let mut writer = fs.create(&path(name), options).await.unwrap();
    writer.write_all(content).await.unwrap();
    writer.close().await.unwrap();
}

async fn wait_closed(fs: &HadronFs, name: &str) {
    eventually("the file is closed", || async {
        fs.is_file_closed(&path(name)).await.ok()?.then_some(())
    })
    .await;
}

/// The content of a finalized replica, its checksums verified.
fn content(cluster: &Cluster, node: usize, block: Block) -> Vec<u8> {
    let block = ExtendedBlock {
        pool: cluster.pool(),
        block,
    };
    let reader = cluster
        .datanode(node)
        .store()
        .open_for_read(&block, 0, Duration::ZERO)
        .unwrap();
    let mut data = vec![0; reader.readable_len() as usize];
    reader.read_data(&mut data, 0).unwrap();
    let mut sums = vec![0; reader.format().sums_len(data.len())];
    reader.read_sums(&mut sums, 0).unwrap();
    assert_eq!(reader.format().verify(&data, &sums), Ok(()));
    data
}

/// Gives an RBW replica more bytes, as if they had come from its writer and not reached the others.
fn lengthen(cluster: &Cluster, node: usize, block: Block, content: &[u8], to: usize) {
    let block = ExtendedBlock {
        pool: cluster.pool(),
        block,
    };
    let stamp = block.block.generation_stamp;
    let store = cluster.datanode(node).store();
    let mut writer = store.recover_rbw(&block, stamp, 0, u64::MAX, Arc::new(|| {})).unwrap();
    extend(&mut writer, content, to);
}

/// Writes what `content` has up to `to`, from the beginning of the last chunk on.
fn extend(writer: &mut ReplicaWriter, content: &[u8], to: usize) {
    let from = writer.len() as usize / 512 * 512;
    let format = ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap();
    let mut sums = Vec::new();
    format.append_sums(&content[from..to], &mut sums);
    let packet = Packet {
        offset: from as u64,
        sums: &sums,
        data: &content[from..to],
    };
    writer.write(&[packet], format).unwrap();
}

/// covers: LM-22, LM-32
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_different_lengths_become_one_that_has_all_that_was_flushed() {
    let cluster = cluster(3).await;
    let fs = cluster.client().await.unwrap();
    let data = pattern(300_000);
    let mut writer = fs.create(&path("/died"), CreateOptions::default()).await.unwrap();
    writer.write_all(&data[..100_000]).await.unwrap();
    writer.hflush().await.unwrap();
    writer.abort().await;
    let open = cluster.replicas([0, 1, 2]);
    assert_eq!(open.len(), 3);
    for (node, block, state) in open {
        assert_eq!((state, block.len), (ReplicaState::Rbw, 100_000));
        lengthen(&cluster, node, block, &data, 100_000 + 700 * node + 1);
    }
    let other = cluster.client().await.unwrap();
    assert!(
        !other.recover_lease(&path("/died")).await.unwrap(),
        "recovery takes a heartbeat"
    );
    eventually("the lease is recovered", || async {
        other.recover_lease(&path("/died")).await.ok()?.then_some(())
    })
    .await;
    let closed = cluster.replicas([0, 1, 2]);
    assert_eq!(closed.len(), 3);
    for (node, block, state) in &closed {
        assert_eq!(
            (*state, block.len),
            (ReplicaState::Finalized, 100_001),
            "the shortest of the three"
        );
        assert_eq!(content(&cluster, *node, *block), data[..100_001]);
        assert_eq!(block.generation_stamp, closed[0].1.generation_stamp);
    }
    assert_eq!(read(&other, "/died").await.unwrap(), data[..100_001]);
    let gone = fs.existing_status(&path("/died")).await.unwrap();
    assert_eq!(gone.len, 100_001);
    cluster.shutdown().await;
}

/// What clients do that append under the stamp the block has, and die.
///
/// covers: LM-22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_under_the_old_stamp_keeps_its_bytes_though_a_node_missed_it() {
    const BEFORE: usize = 5_000;
    let cluster = cluster(3).await;
    let fs = cluster.client().await.unwrap();
    let rpc = raw_client(cluster.namenode().rpc_addr(), cluster.conf().user_name())
        .await
        .unwrap();
    let data = pattern(10_000);
    // How long the replicas of those become that took part, and whether they were finished.
    let cases = [
        (0, [9_000, 8_000], false, 8_000),
        (1, [9_000, 9_000], true, 9_000),
        (2, [9_000, 8_500], true, 9_000),
    ];
    let of_file = |id: BlockId| {
        let mut all = cluster.replicas([0, 1, 2]);
        all.retain(|(_, block, _)| block.id == id);
        all
    };
    let mut ids = Vec::new();
    for (number, lens, finished, expected) in cases {
        let name = format!("/appended-{number}");
        write(&fs, &name, &data[..BEFORE], 1 << 20).await;
        let located = fs.block_locations(&path(&name), 0, u64::MAX >> 1).await.unwrap();
        let id = located[0].block.block.id;
        ids.push(id);
        let request = AppendRequestProto {
            src: name.clone(),
            client_name: "appends".to_owned(),
            flag: None,
        };
        rpc.call::<_, AppendResponseProto>("append", &request).await.unwrap();
        for ((node, block, _), len) in of_file(id).into_iter().zip(lens) {
            let block = ExtendedBlock {
                pool: cluster.pool(),
                block,
            };
            let stamp = block.block.generation_stamp;
            let store = cluster.datanode(node).store();
            let mut writer = store.append(&block, stamp, BEFORE as u64, Arc::new(|| {})).unwrap();
            extend(&mut writer, &data, len);
            if finished {
                writer.finalize(Some(len as u64)).unwrap();
            }
        }
        eventually("the lease is recovered", || async {
            fs.recover_lease(&path(&name)).await.ok()?.then_some(())
        })
        .await;
        let found = read(&fs, &name).await.unwrap();
        assert!(found == data[..expected], "{name}: {} bytes", found.len());
    }
    for ((number, .., expected), id) in cases.into_iter().zip(ids) {
        eventually("three equal replicas", || async {
            let all = of_file(id);
            let equal = all.iter().all(|(_, block, state)| {
                (*state, block.len) == (ReplicaState::Finalized, expected as u64)
                    && block.generation_stamp == all[0].1.generation_stamp
            });
            (all.len() == 3 && equal).then_some(())
        })
        .await;
        for (node, block, _) in of_file(id) {
            assert_eq!(content(&cluster, node, block), data[..expected], "{number} on {node}");
        }
    }
    cluster.shutdown().await;
}

/// A file with one block for which nobody has written a byte.
async fn begin(rpc: &RpcClient, name: &str) -> LocatedBlockProto {
    let request = CreateRequestProto {
        src: name.to_owned(),
        masked: FsPermissionProto { perm: 0o644 },
        client_name: "dies".to_owned(),
        create_flag: 1,
        create_parent: true,
        replication: 3,
        block_size: 1 << 20,
        ..CreateRequestProto::default()
    };
    let made: CreateResponseProto = rpc.call("create", &request).await.unwrap();
    let request = AddBlockRequestProto {
        src: name.to_owned(),
        client_name: "dies".to_owned(),
        file_id: Some(made.fs.unwrap().file_id()),
        ..AddBlockRequestProto::default()
    };
    let added: AddBlockResponseProto = rpc.call("addBlock", &request).await.unwrap();
    assert_eq!(added.block.locs.len(), 3);
    added.block
}

/// The pipeline goes on under a new stamp, all of its nodes in it.
async fn raise_stamp(rpc: &RpcClient, located: &LocatedBlockProto) {
    let request = UpdateBlockForPipelineRequestProto {
        block: located.b.clone(),
        client_name: "dies".to_owned(),
    };
    let given: UpdateBlockForPipelineResponseProto = rpc.call("updateBlockForPipeline", &request).await.unwrap();
    let request = UpdatePipelineRequestProto {
        client_name: "dies".to_owned(),
        old_block: located.b.clone(),
        new_block: given.block.b,
        new_nodes: located.locs.iter().map(|node| node.id.clone()).collect(),
        storage_i_ds: located.storage_i_ds.clone(),
    };
    rpc.call::<_, UpdatePipelineResponseProto>("updatePipeline", &request)
        .await
        .unwrap();
}

/// What a node that lives refuses for good must not keep a file open for which nobody was promised a byte.
///
/// covers: LM-22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_without_an_acked_byte_do_not_keep_a_file_open() {
    type Damage = fn(&Path);
    let mut cluster = cluster(3).await;
    let rpc = raw_client(cluster.namenode().rpc_addr(), cluster.conf().user_name())
        .await
        .unwrap();
    let cases: [(&str, bool, Damage); 3] = [
        ("/outdated", true, |_| {}),
        ("/no-meta", false, |meta| fs::remove_file(meta).unwrap()),
        ("/no-header", false, |meta| fs::write(meta, [0, 1]).unwrap()),
    ];
    let mut damaged = Vec::new();
    for (name, outdated, damage) in cases {
        let located = begin(&rpc, name).await;
        let block = ExtendedBlock::from(&located.b);
        let new = NewReplica {
            format: ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap(),
            storage_type: None,
            storage_id: None,
            interrupt: Arc::new(|| {}),
        };
        let mut writer = cluster.datanode(0).store().create_rbw(&block, new).unwrap();
        if outdated {
            extend(&mut writer, &pattern(700), 700);
            raise_stamp(&rpc, &located).await;
        }
        let (id, stamp) = (block.block.id, block.block.generation_stamp);
        damaged.push((format!("{}_{stamp}.meta", layout::data_name(id)), damage));
    }
    // The process ends while it creates them.
    cluster.kill_datanode(0).await;
    let rbw = cluster
        .data_dir(0)
        .join("current")
        .join(cluster.pool().as_str())
        .join("current/rbw");
    for (meta, damage) in damaged {
        damage(&rbw.join(meta));
    }
    cluster.start_datanode(0).await.unwrap();
    cluster.wait_ready(3).await.unwrap();
    let fs = cluster.client().await.unwrap();
    for (name, ..) in cases {
        eventually(&format!("{name} is closed"), || async {
            fs.recover_lease(&path(name)).await.ok()?.then_some(())
        })
        .await;
        assert_eq!(fs.existing_status(&path(name)).await.unwrap().len, 0, "{name}");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_restarted_or_is_down_does_not_hinder_recovery() {
    let mut cluster = cluster(3).await;
    let fs = cluster.client().await.unwrap();
    let data = pattern(70_000);
    let mut writer = fs.create(&path("/died"), CreateOptions::default()).await.unwrap();
    writer.write_all(&data).await.unwrap();
    writer.hflush().await.unwrap();
    writer.abort().await;
    cluster.stop_datanode(0).await;
    cluster.start_datanode(0).await.unwrap();
    cluster.stop_datanode(1).await;
    let other = cluster.client().await.unwrap();
    eventually("the lease is recovered", || async {
        other.recover_lease(&path("/died")).await.ok()?.then_some(())
    })
    .await;
    assert_eq!(read(&other, "/died").await.unwrap(), data);
    let recovered = cluster.replicas([2]);
    let [(node, block, ReplicaState::Finalized)] = recovered.as_slice() else {
        panic!("one finished replica: {recovered:?}");
    };
    assert_eq!(content(&cluster, *node, *block), data);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_lives_on_is_fenced() {
    let cluster = cluster(3).await;
    let fs = cluster.client().await.unwrap();
    let data = pattern(200_000);
    let mut writer = fs.create(&path("/zombie"), CreateOptions::default()).await.unwrap();
    writer.write_all(&data[..70_000]).await.unwrap();
    writer.hflush().await.unwrap();
    let other = cluster.client().await.unwrap();
    eventually("the lease is recovered", || async {
        other.recover_lease(&path("/zombie")).await.ok()?.then_some(())
    })
    .await;
    let written = async {
        writer.write_all(&data[70_000..]).await?;
        writer.close().await
    };
    let refused = written.await.unwrap_err();
    tracing::info!(%refused, "the old writer is refused");
    assert_eq!(read(&other, "/zombie").await.unwrap(), data[..70_000]);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncation_cuts_every_replica_and_an_append_goes_on_there() {
    let cluster = cluster(3).await;
    let fs = cluster.client().await.unwrap();
    let data = pattern(2_500_000);
    write(&fs, "/cut", &data, 1 << 20).await;
    assert!(
        fs.truncate(&path("/cut"), 2 << 20).await.unwrap(),
        "at the end of a block"
    );
    assert_eq!(read(&fs, "/cut").await.unwrap(), data[..2 << 20]);
    for len in [(1 << 20) + 70_000, (1 << 20) + 1, 1 << 20, 513, 1] {
        let at_once = fs.truncate(&path("/cut"), len).await.unwrap();
        assert_eq!(at_once, len == 1 << 20, "{len}");
        wait_closed(&fs, "/cut").await;
        assert_eq!(fs.existing_status(&path("/cut")).await.unwrap().len, len);
        assert_eq!(read(&fs, "/cut").await.unwrap(), data[..len as usize], "{len}");
        let located = fs.block_locations(&path("/cut"), 0, u64::MAX >> 1).await.unwrap();
        assert!(located.iter().all(|block| block.locations.len() == 3), "{located:?}");
    }
    eventually("only the cut block is left, three times", || async {
        let all = cluster.replicas([0, 1, 2]);
        (all.len() == 3 && all.iter().all(|(_, block, _)| block.len == 1)).then_some(())
    })
    .await;
    assert!(fs.truncate(&path("/cut"), 1).await.unwrap());
    let longer = fs.truncate(&path("/cut"), 2).await.unwrap_err();
    assert_eq!(longer.kind(), Some(ErrorKind::HadoopIllegalArgument));
    let mut writer = fs.append(&path("/cut")).await.unwrap();
    writer.write_all(&data[1..5_000]).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(read(&fs, "/cut").await.unwrap(), data[..5_000]);
    for (node, block, _) in cluster.replicas([0, 1, 2]) {
        assert_eq!(content(&cluster, node, block), data[..5_000]);
    }
    assert!(fs.truncate(&path("/cut"), 0).await.unwrap());
    assert_eq!(read(&fs, "/cut").await.unwrap(), b"");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncation_works_with_a_node_down_and_waits_for_nodes_when_all_are() {
    let mut cluster = cluster(3).await;
    let fs = cluster.client().await.unwrap();
    let data = pattern(300_000);
    write(&fs, "/cut", &data, 1 << 20).await;
    cluster.stop_datanode(2).await;
    assert!(!fs.truncate(&path("/cut"), 200_000).await.unwrap());
    wait_closed(&fs, "/cut").await;
    assert_eq!(read(&fs, "/cut").await.unwrap(), data[..200_000]);
    cluster.stop_datanode(0).await;
    cluster.stop_datanode(1).await;
    eventually("all nodes count as dead", || async {
        let live = fs.datanodes(hadron_client::ReportKind::Live).await.ok()?;
        live.is_empty().then_some(())
    })
    .await;
    assert!(!fs.truncate(&path("/cut"), 100_000).await.unwrap());
    for node in [0, 1, 2] {
        cluster.start_datanode(node).await.unwrap();
    }
    wait_closed(&fs, "/cut").await;
    assert_eq!(read(&fs, "/cut").await.unwrap(), data[..100_000]);
    eventually("three good replicas", || async {
        let all = cluster.replicas([0, 1, 2]);
        (all.len() == 3 && all.iter().all(|(_, block, _)| block.len == 100_000)).then_some(())
    })
    .await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_survives_a_restart_of_the_namenode() {
    let mut cluster = cluster(1).await;
    let fs = cluster.client().await.unwrap();
    let data = pattern(50_000);
    write(&fs, "/cut", &data, 1 << 20).await;
    cluster.stop_datanode(0).await;
    assert!(!fs.truncate(&path("/cut"), 20_000).await.unwrap());
    drop(fs);
    cluster.stop_namenode().await;
    cluster.start_namenode().await.unwrap();
    cluster.start_datanode(0).await.unwrap();
    cluster.wait_ready(1).await.unwrap();
    let fs = cluster.client().await.unwrap();
    wait_closed(&fs, "/cut").await;
    assert_eq!(read(&fs, "/cut").await.unwrap(), data[..20_000]);
    cluster.shutdown().await;
}
