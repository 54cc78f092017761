//! Announced restarts of DataNodes in the middle of writes, as the peers on the wire see them.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::*;
use hadron_datanode::DataNode;
use hadron_proto::hdfs::*;
use hadron_types::{ExtendedBlock, ReplicaState};
use std::path::{Path, PathBuf};

const OOB_RESTART: i32 = 8;
const UNKNOWN_SEQNO: i64 = -2;
const RECEIVED: i32 = 2;

/// Ends a node for a restart while its peers go on.
fn leave(cluster: &mut Cluster, node: usize) -> tokio::task::JoinHandle<()> {
    let node = cluster.nodes.remove(node);
    cluster.runtime.spawn(node.shutdown_for_restart())
}

fn wait_end(cluster: &Cluster, ending: tokio::task::JoinHandle<()>) {
    cluster.runtime.block_on(ending).unwrap();
}

fn replicas(node: &DataNode) -> Vec<(ReplicaState, u64, u64)> {
    let report = node.store().block_report(&POOL.into()).unwrap();
    let all = report.into_iter().flat_map(|storage| storage.replicas);
    all.map(|r| (r.state, r.block.generation_stamp.0, r.block.len))
        .collect()
}

/// The marks that wait for the next start.
fn marks(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(dir)];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "restart") {
                found.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// Sets a streaming pipeline up again under a new stamp.
fn recovery(b: &ExtendedBlock, to: u64, min: u64, max: u64) -> OpWriteBlockProto {
    OpWriteBlockProto {
        stage: 3,
        min_bytes_rcvd: min,
        max_bytes_rcvd: max,
        latest_generation_stamp: to,
        ..write_op(b, vec![])
    }
}

/// covers: WP-20
#[test]
fn a_writer_is_told_of_the_restart_and_goes_on_with_the_same_replica() {
    let mut cluster = Cluster::start(1);
    let (b, data) = (block(1, 1001, 0), bytes(3000));
    let mut peer = cluster.connect(0);
    peer.open_write(&b, vec![]);
    peer.send_packet(0, 0, &data[..700], false, false);
    assert_eq!(peer.ack().reply, [0]);
    let ending = leave(&mut cluster, 0);
    let told = peer.ack();
    assert_eq!((told.seqno, told.reply), (UNKNOWN_SEQNO, vec![OOB_RESTART]));
    // The connection stays for a moment: what the client has on its way breaks nothing.
    peer.offer_packet(1, 512, &data[512..1000], false);
    assert!(peer.is_closed());
    wait_end(&cluster, ending);
    assert_eq!(marks(&cluster.dirs[0]), ["rbw:.blk_1.restart"]);

    let node = cluster.start_node(&cluster.dirs[0].clone(), &[]);
    assert_eq!(
        replicas(&node),
        [(ReplicaState::Rbw, 1001, 700)],
        "open, not waiting for recovery"
    );
    assert_eq!(node.store().visible_len(&b).unwrap(), 700);
    assert!(marks(&cluster.dirs[0]).is_empty(), "a mark serves one start");
    cluster.nodes.push(node);
    assert_eq!(cluster.connect(0).read(&b, 0, u64::MAX), data[..700]);
    let mut peer = cluster.connect(0);
    peer.op(80, &recovery(&b, 1002, 700, 1000));
    assert_eq!(peer.response().status, 0);
    peer.send_packet(1, 512, &data[512..], false, false);
    peer.send_packet(2, 3000, &[], true, false);
    assert_eq!((peer.ack().reply, peer.ack().reply), (vec![0], vec![0]));
    let told = cluster.namenode.wait_news(&cluster.uuid(0), 1, RECEIVED);
    assert_eq!((told.gen_stamp, told.num_bytes), (1002, Some(3000)));
    assert!(cluster.connect(0).read(&block(1, 1002, 0), 0, u64::MAX) == data);
}

/// covers: WP-20
#[test]
fn every_place_in_a_pipeline_is_named_by_its_position() {
    for leaving in 0..3 {
        let mut cluster = Cluster::start(3);
        let b = block(1, 1001, 0);
        let mut peer = cluster.connect(0);
        peer.open_write(&b, vec![cluster.info(1), cluster.info(2)]);
        peer.send_packet(0, 0, b"hello", false, true);
        assert_eq!(peer.ack().reply, [0, 0, 0]);
        let ending = leave(&mut cluster, leaving);
        let told = peer.ack();
        let mut expected = vec![0; leaving];
        expected.push(OOB_RESTART);
        assert_eq!((told.seqno, told.reply), (UNKNOWN_SEQNO, expected));
        wait_end(&cluster, ending);
        let node = cluster.start_node(&cluster.dirs[leaving].clone(), &[]);
        assert_eq!(replicas(&node), [(ReplicaState::Rbw, 1001, 5)], "node {leaving}");
    }
}

/// covers: WP-20
#[test]
fn every_node_restarts_in_turn_and_none_is_left_behind() {
    let mut cluster = Cluster::start(3);
    let data = bytes(4000);
    let mut stamp = 1001;
    let mut peer = cluster.connect(0);
    let targets = vec![cluster.info(1), cluster.info(2)];
    assert_eq!(peer.open_write(&block(1, stamp, 0), targets).status, 0);
    for leaving in 0..3 {
        let (from, to) = (leaving * 1000 / 512 * 512, (leaving + 1) * 1000);
        peer.send_packet(leaving as i64, from as u64, &data[from..to], false, false);
        assert_eq!(peer.ack().reply, [0, 0, 0]);
        let ending = leave(&mut cluster, leaving);
        let told = peer.ack();
        assert_eq!((told.reply.len(), told.reply.last()), (leaving + 1, Some(&OOB_RESTART)));
        wait_end(&cluster, ending);
        let node = cluster.start_node(&cluster.dirs[leaving].clone(), &[]);
        cluster.nodes.insert(leaving, node);
        // The same three nodes go on under the next stamp.
        let op = OpWriteBlockProto {
            targets: vec![cluster.info(1), cluster.info(2)],
            pipeline_size: 3,
            ..recovery(&block(1, stamp, 0), stamp + 1, to as u64, to as u64)
        };
        stamp += 1;
        peer = cluster.connect(0);
        peer.op(80, &op);
        assert_eq!(peer.response().status, 0, "after the restart of node {leaving}");
    }
    peer.send_packet(3, 2560, &data[2560..], false, false);
    peer.send_packet(4, 4000, &[], true, false);
    for _ in 0..2 {
        assert_eq!(peer.ack().reply, [0, 0, 0]);
    }
    for node in 0..3 {
        let told = cluster.namenode.wait_news(&cluster.uuid(node), 1, RECEIVED);
        assert_eq!((told.gen_stamp, told.num_bytes), (stamp, Some(4000)), "node {node}");
        assert!(
            cluster.connect(node).read(&block(1, stamp, 0), 0, u64::MAX) == data,
            "node {node}"
        );
    }
}

/// What was not acked by the whole pipeline is not visible after the restart either.
#[test]
fn the_visible_length_comes_through_the_restart() {
    let mut cluster = Cluster::start(1);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut next = cluster.info(0);
    next.id.xfer_port = u32::from(silent.local_addr().unwrap().port());
    let mirror = std::thread::spawn(move || {
        let mut peer = Peer(silent.accept().unwrap().0);
        let mut op = [0; 3];
        std::io::Read::read_exact(&mut peer.0, &mut op).unwrap();
        peer.message::<OpWriteBlockProto>();
        peer.answer(&BlockOpResponseProto::default());
        // One ack, then silence until the other side goes.
        peer.packet();
        let ack = PipelineAckProto {
            seqno: 0,
            reply: vec![0],
            ..Default::default()
        };
        peer.answer(&ack);
        let _ = std::io::copy(&mut peer.0, &mut std::io::sink());
    });
    let (b, data) = (block(1, 1001, 0), bytes(2000));
    let mut peer = cluster.connect(0);
    assert_eq!(peer.open_write(&b, vec![next]).status, 0);
    peer.send_packet(0, 0, &data[..600], false, false);
    assert_eq!(peer.ack().reply, [0, 0]);
    peer.send_packet(1, 512, &data[512..], false, false);
    eventually("all bytes on disk", || replicas(&cluster.nodes[0])[0].2 == 2000);
    // Readers see what every node has acked, whatever is on this one's disk.
    assert_eq!(cluster.nodes[0].store().visible_len(&b).unwrap(), 600);
    let visible = || cluster.connect(0).read(&b, 0, 600);
    assert!(visible() == data[..600]);
    let ending = leave(&mut cluster, 0);
    let told = peer.ack();
    assert_eq!((told.seqno, told.reply), (UNKNOWN_SEQNO, vec![OOB_RESTART]));
    wait_end(&cluster, ending);
    drop(peer);
    mirror.join().unwrap();
    let node = cluster.start_node(&cluster.dirs[0].clone(), &[]);
    assert_eq!(replicas(&node), [(ReplicaState::Rbw, 1001, 2000)]);
    assert_eq!(node.store().visible_len(&b).unwrap(), 600, "acked, not on disk");
    cluster.nodes.push(node);
    assert!(cluster.connect(0).read(&b, 0, 600) == data[..600]);
}

/// A stream that never pauses must not keep the node from leaving.
#[test]
fn a_busy_writer_is_told_between_two_packets() {
    let mut cluster = Cluster::start(2);
    for (id, targets) in [(1, vec![]), (2, vec![cluster.info(1)])] {
        let nodes = targets.len() + 1;
        let b = block(id, 1001, 0);
        let mut peer = cluster.connect(0);
        peer.open_write(&b, targets);
        let mut sending = Peer(peer.0.try_clone().unwrap());
        let stream = std::thread::spawn(move || {
            let part = bytes(64512);
            for seqno in 0.. {
                if std::io::Write::write_all(&mut sending.0, &raw_packet(seqno, seqno as u64 * 64512, &part, false))
                    .is_err()
                {
                    return;
                }
            }
        });
        for due in 0..20 {
            let ack = peer.ack();
            assert_eq!((ack.seqno, ack.reply), (due, vec![0; nodes]));
        }
        let ending = leave(&mut cluster, 0);
        let mut acked = 0;
        let told = loop {
            let ack = peer.ack();
            if ack.seqno < 0 {
                break ack;
            }
            assert_eq!(ack.reply, vec![0; nodes]);
            acked = (ack.seqno as u64 + 1) * 64512;
        };
        assert_eq!(
            (told.seqno, told.reply),
            (UNKNOWN_SEQNO, vec![OOB_RESTART]),
            "and no blame of others"
        );
        wait_end(&cluster, ending);
        let _ = peer.0.shutdown(std::net::Shutdown::Both);
        stream.join().unwrap();
        let node = cluster.start_node(&cluster.dirs[0].clone(), &[]);
        let open = replicas(&node)
            .into_iter()
            .find(|(state, ..)| *state == ReplicaState::Rbw)
            .unwrap();
        assert!(
            open.2 >= acked && node.store().visible_len(&b).unwrap() as u64 >= acked,
            "{open:?}, {acked} acked"
        );
        let quiet: hadron_replica::DeletionHook = std::sync::Arc::new(|_| ());
        node.store().invalidate(&POOL.into(), &[b.block], &quiet).unwrap();
        cluster.nodes.insert(0, node);
    }
}

/// An end that announces nothing (a signal) tells nobody to wait, as in Hadoop.
#[test]
fn an_end_without_announcement_is_an_end() {
    let mut cluster = Cluster::start(1);
    let mut peer = cluster.connect(0);
    peer.open_write(&block(1, 1001, 0), vec![]);
    peer.send_packet(0, 0, b"hello", false, false);
    peer.ack();
    let node = cluster.nodes.remove(0);
    cluster.runtime.block_on(node.shutdown());
    assert!(peer.try_message::<PipelineAckProto>().is_err());
    assert!(marks(&cluster.dirs[0]).is_empty());
    let node = cluster.start_node(&cluster.dirs[0].clone(), &[]);
    assert_eq!(replicas(&node), [(ReplicaState::Rwr, 1001, 5)]);
}

/// The pipeline's patience is bounded: a node that comes back too late does not pass for current.
#[test]
fn a_mark_runs_out() {
    let mut cluster = Cluster::start_with(1, &[("dfs.datanode.restart.replica.expiration", "0")]);
    let mut peer = cluster.connect(0);
    peer.open_write(&block(1, 1001, 0), vec![]);
    peer.send_packet(0, 0, b"hello", false, false);
    peer.ack();
    let ending = leave(&mut cluster, 0);
    assert_eq!(peer.ack().reply, [OOB_RESTART]);
    wait_end(&cluster, ending);
    let node = cluster.start_node(&cluster.dirs[0].clone(), &[]);
    assert_eq!(replicas(&node), [(ReplicaState::Rwr, 1001, 5)]);
    assert!(marks(&cluster.dirs[0]).is_empty());
}
