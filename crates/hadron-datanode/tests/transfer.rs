//! The data transfer protocol as a peer sees it: reads, pipelines of one to three nodes, failures, malformed input.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::*;
use hadron_proto::hdfs::*;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

const RECEIVING: i32 = 1;
const RECEIVED: i32 = 2;

// covers: XC-02, XC-12, XC-13, XC-22
#[test]
fn blocks_written_through_pipelines_are_read_from_every_node() {
    for nodes in 1..=3 {
        let cluster = Cluster::start(nodes);
        for (id, len) in [(1, 0), (2, 1), (3, 511), (4, 512), (5, 64512), (6, 3_000_001)] {
            let b = block(id, 1001, 0);
            let data = bytes(len);
            cluster.write(0, &b, &data);
            for node in 0..nodes {
                let told = cluster.namenode.wait_news(&cluster.uuid(node), id, RECEIVED);
                assert_eq!(told.num_bytes, Some(len as u64));
                assert_eq!(
                    cluster.connect(node).read(&b, 0, u64::MAX),
                    data,
                    "block {id} from node {node}"
                );
            }
        }
        // Many reads on one connection.
        let data = bytes(3_000_001);
        let mut peer = cluster.connect(0);
        for (offset, len) in [
            (0, 1),
            (511, 2),
            (512, 512),
            (1000, 1_500_000),
            (2_999_999, 2),
            (100, 0),
        ] {
            let got = peer.read(&block(6, 1001, 0), offset as u64, len as u64);
            assert_eq!(got, data[offset..offset + len], "{offset}+{len}");
        }
        eventually("quiet threads", || cluster.nodes[0].active_transfers() == 0);
        assert_eq!(cluster.nodes[0].xceiver_count(), 1, "the reused connection is parked");
    }
}

#[test]
fn reads_follow_the_rules_of_ranges_and_checksums() {
    for sendfile in ["false", "true"] {
        check_reads(&Cluster::start_with(
            1,
            &[("dfs.datanode.transferTo.allowed", sendfile)],
        ));
    }
}

fn check_reads(cluster: &Cluster) {
    let b = block(1, 1001, 0);
    let data = bytes(2000);
    cluster.write(0, &b, &data);
    let mut peer = cluster.connect(0);
    let without = OpReadBlockProto {
        send_checksums: Some(false),
        ..read_op(&b, 700, 100)
    };
    peer.op(81, &without);
    let info = peer.response().read_op_checksum_info.unwrap();
    assert_eq!((info.checksum.r#type, info.checksum.bytes_per_checksum), (0, 512));
    let (start, got) = peer.packets(hadron_replica::ChunkFormat::NONE);
    assert_eq!((start, got), (512, data[512..1024].to_vec()));
    peer.status(0);
    peer.op(81, &read_op(&b, 700, 100));
    let info = peer.response().read_op_checksum_info.unwrap();
    assert_eq!((info.checksum.r#type, info.chunk_offset), (2, 512));
    assert_eq!(peer.packets(format()).1, data[512..1024]);
    peer.status(6);
    for (op, text) in [
        (read_op(&b, 2001, 1), "don't match block"),
        (read_op(&b, 0, 2001), "don't match block"),
        (read_op(&b, u64::MAX - 1, 5), "don't match block"),
        (read_op(&block(1, 1002, 0), 0, 1), "expected at least 1002"),
        (read_op(&block(2, 1001, 0), 0, 1), "ReplicaNotFoundException"),
    ] {
        let mut peer = cluster.connect(0);
        peer.op(81, &op);
        let answer = peer.response();
        assert_eq!(answer.status, 1);
        assert!(answer.message().contains(text), "{answer:?}");
        assert!(peer.is_closed());
    }
    // More than one packet, from the middle of a chunk to the middle of another.
    let long = bytes(3_000_001);
    cluster.write(0, &block(3, 1001, 0), &long);
    for (offset, len) in [(0, 3_000_001), (700, 2_000_000), (2_999_999, 2), (513, 0)] {
        let got = peer.read(&block(3, 1001, 0), offset as u64, len as u64);
        assert!(got == long[offset..offset + len], "{offset}+{len}");
    }
    let mut unknown = b.clone();
    unknown.pool = "BP-../x".into();
    peer.op(81, &read_op(&unknown, 0, 1));
    assert!(peer.is_closed(), "a wrong pool gets no reply");
}

// covers: XC-10, XC-11
#[test]
fn other_versions_and_operations_are_dropped() {
    let cluster = Cluster::start(1);
    let head: &[&[u8]] = &[
        &[0, 27, 81],
        &[0, 29, 81],
        &[0xde, 0xad, 0xbe, 0xef],
        &[0, 28, 79],
        &[0, 28, 82],
        &[0, 28, 91],
        &[0, 28, 126],
    ];
    for bytes in head {
        let mut peer = cluster.connect(0);
        peer.0.write_all(bytes).unwrap();
        assert!(peer.is_closed(), "{bytes:?}");
    }
    // Known but not served: dropped as well.
    for code in [83, 84, 87, 88, 89, 90, 127] {
        let mut peer = cluster.connect(0);
        peer.0.write_all(&[0, 28, code, 0]).unwrap();
        assert!(peer.is_closed(), "{code}");
    }
    eventually("all gone", || cluster.nodes[0].xceiver_count() == 0);
}

#[test]
fn malformed_messages_and_packets_end_the_connection_and_nothing_else() {
    let cluster = Cluster::start(1);
    let lengths: &[&[u8]] = &[
        &[0xff; 10],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[3, 1, 2, 3],
        &[0],
        &[2, 0x0a, 0x00],
    ];
    for code in [80, 81, 85, 86] {
        for body in lengths {
            let mut peer = cluster.connect(0);
            peer.0.write_all(&[&[0, 28, code][..], body].concat()).unwrap();
            assert!(peer.is_closed(), "{code} {body:?}");
        }
    }
    let packets: &[&[u8]] = &[
        &[0, 0, 0, 3, 0, 25],
        &[0x7f, 0xff, 0xff, 0xff, 0, 25],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 4, 0, 2, 9, 9],
        &[0, 0, 0, 4, 0, 0],
    ];
    for (i, packet) in packets.iter().enumerate() {
        let mut peer = cluster.connect(0);
        let b = block(100 + i as i64, 1001, 0);
        assert_eq!(peer.open_write(&b, vec![]).status, 0);
        peer.0.write_all(packet).unwrap();
        assert!(peer.is_closed(), "{packet:?}");
    }
    let mut peer = cluster.connect(0);
    peer.open_write(&block(200, 1001, 0), vec![]);
    peer.send_packet(0, 5, b"gap", false, false);
    assert!(peer.is_closed(), "out of sequence");
    let zero_chunk = OpWriteBlockProto {
        requested_checksum: ChecksumProto {
            r#type: 2,
            bytes_per_checksum: 0,
        },
        ..write_op(&block(201, 1001, 0), vec![])
    };
    let bad_stage = OpWriteBlockProto {
        stage: 2,
        ..write_op(&block(202, 1001, 0), vec![])
    };
    for op in [zero_chunk, bad_stage] {
        let mut peer = cluster.connect(0);
        peer.op(80, &op);
        assert!(peer.is_closed(), "{op:?}");
    }
    eventually("all gone", || cluster.nodes[0].xceiver_count() == 0);
    eventually("no threads", || cluster.nodes[0].active_transfers() == 0);
    cluster.write(0, &block(300, 1001, 0), b"still serving");
}

// covers: XC-03, XC-05, XC-06, XC-07
#[test]
fn idle_connections_end_in_their_time() {
    let cluster = Cluster::start_with(
        1,
        &[
            ("dfs.datanode.socket.reuse.keepalive", "100"),
            ("dfs.client.socket-timeout", "400"),
        ],
    );
    cluster.write(0, &block(1, 1001, 0), b"x");
    let begin = Instant::now();
    let mut fresh = cluster.connect(0);
    let mut reused = cluster.connect(0);
    reused.read(&block(1, 1001, 0), 0, 1);
    assert!(reused.is_closed());
    let after = begin.elapsed();
    assert!(fresh.is_closed());
    assert!(after < begin.elapsed() && begin.elapsed() >= Duration::from_millis(400));
    let metrics = cluster.nodes[0].metrics();
    assert_eq!(metrics.network_errors.get(), 0, "time-outs are quiet");
    drop(cluster.connect(0));
    eventually("a network error", || metrics.network_errors.get() == 1);
    let mut left = cluster.connect(0);
    left.read(&block(1, 1001, 0), 0, 1);
    drop(left);
    eventually("all gone", || cluster.nodes[0].xceiver_count() == 0);
    assert_eq!(metrics.network_errors.get(), 1, "leaving after an operation is normal");
    assert_eq!(metrics.op_errors.get(), 0);
}

// covers: XC-04
/// A byte now and then must not hold a thread for ever.
#[test]
fn an_operation_has_to_arrive_in_its_time() {
    let cluster = Cluster::start_with(1, &[("dfs.client.socket-timeout", "400")]);
    let mut peer = cluster.connect(0);
    peer.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    peer.0.write_all(&[0, 28, 81, 0xff, 0x7f]).unwrap();
    let start = Instant::now();
    // The read's time-out sets the pace; it ends with the connection.
    let waits = |result: &std::io::Result<usize>| {
        result
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    while peer.0.write_all(&[0x2a]).is_ok() && waits(&peer.0.read(&mut [0])) {
        assert!(start.elapsed() < Duration::from_secs(10), "still taken");
    }
    eventually("no threads", || cluster.nodes[0].active_transfers() == 0);
}

/// A next node of a pipeline that does as `script` says once it has answered the operation; its thread, and what to call it.
fn scripted_mirror(
    cluster: &Cluster,
    script: impl FnOnce(Peer) + Send + 'static,
) -> (std::thread::JoinHandle<()>, DatanodeInfoProto) {
    let next = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut info = cluster.info(0);
    info.id.xfer_port = u32::from(next.local_addr().unwrap().port());
    let thread = std::thread::spawn(move || {
        let mut peer = Peer(next.accept().unwrap().0);
        peer.0.read_exact(&mut [0; 3]).unwrap();
        peer.message::<OpWriteBlockProto>();
        peer.answer(&BlockOpResponseProto::default());
        script(peer);
    });
    (thread, info)
}

/// It takes nothing and says nothing, and its connection stays: the client hears of it and is not stuck in writing.
#[test]
fn a_next_node_that_hangs_is_given_up_and_holds_nobody_up() {
    let cluster = Cluster::start_with(1, &[("dfs.client.socket-timeout", "200")]);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (mirror, info) = scripted_mirror(&cluster, move |peer| {
        let _ = held.recv();
        drop(peer);
    });
    let mut peer = cluster.connect(0);
    assert_eq!(peer.open_write(&block(1, 1001, 0), vec![info]).status, 0);
    // More than the sockets of both connections hold.
    const PACKETS: usize = 600;
    let data = vec![7; 64 << 10];
    let mut writer = Peer(peer.0.try_clone().unwrap());
    let writing = std::thread::spawn(move || {
        for seqno in 0..PACKETS {
            writer.send_packet(seqno as i64, (seqno * data.len()) as u64, &data, false, false);
        }
    });
    peer.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let first = peer.ack();
    assert_eq!(
        (first.seqno, first.reply),
        (-2, vec![0, 1]),
        "the next node is to blame"
    );
    for seqno in 0..PACKETS as i64 {
        let ack = peer.ack();
        assert_eq!((ack.seqno, ack.reply), (seqno, vec![0, 1]));
    }
    writing.join().unwrap();
    drop(hold);
    mirror.join().unwrap();
}

/// It was kept waiting by this node or one before it: who is to blame, the upstream decides.
#[test]
fn a_next_node_that_was_starved_is_not_blamed() {
    let cluster = Cluster::start_with(1, &[("dfs.client.socket-timeout", "200")]);
    let (mirror, info) = scripted_mirror(&cluster, |mut peer| {
        peer.packet();
        peer.answer(&PipelineAckProto {
            seqno: 0,
            reply: vec![0],
            ..Default::default()
        });
        peer.0.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        let silence = peer.0.read(&mut [0]).unwrap_err();
        assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    });
    let mut peer = cluster.connect(0);
    assert_eq!(peer.open_write(&block(1, 1001, 0), vec![info]).status, 0);
    peer.send_packet(0, 0, b"x", false, false);
    assert_eq!(peer.ack().reply, [0, 0]);
    mirror.join().unwrap();
    assert!(peer.is_closed(), "no word about the next node");
}

/// Packets that wait for their acks are bounded by not reading on, not by giving up.
#[test]
fn more_packets_than_may_wait_for_acks_are_held_back() {
    let cluster = Cluster::start(1);
    let next = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut info = cluster.info(0);
    info.id.xfer_port = u32::from(next.local_addr().unwrap().port());
    const PACKETS: i64 = 3000;
    let mirror = std::thread::spawn(move || {
        let mut peer = Peer(next.accept().unwrap().0);
        let mut op = [0; 3];
        peer.0.read_exact(&mut op).unwrap();
        peer.message::<OpWriteBlockProto>();
        peer.answer(&BlockOpResponseProto::default());
        // Acks only when packets have stopped coming for a while.
        peer.0.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut acked = 0;
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        let len = raw_packet(-1, 0, &[], false).len();
        while acked < PACKETS {
            match peer.0.read(&mut buffer) {
                Ok(0) => return acked,
                Ok(count) => received.extend_from_slice(&buffer[..count]),
                Err(_) => {
                    while acked < (received.len() / len) as i64 {
                        peer.answer(&PipelineAckProto {
                            seqno: -1,
                            reply: vec![0],
                            ..Default::default()
                        });
                        acked += 1;
                    }
                }
            }
        }
        acked
    });
    let mut peer = cluster.connect(0);
    assert_eq!(peer.open_write(&block(1, 1001, 0), vec![info]).status, 0);
    let many = raw_packet(-1, 0, &[], false).repeat(PACKETS as usize);
    peer.0.write_all(&many).unwrap();
    for i in 0..PACKETS {
        assert_eq!(peer.ack().reply, [0, 0], "{i}");
    }
    assert_eq!(mirror.join().unwrap(), PACKETS);
}

#[test]
fn without_keep_alive_each_connection_serves_one_operation() {
    let cluster = Cluster::start_with(1, &[("dfs.datanode.socket.reuse.keepalive", "0")]);
    cluster.write(0, &block(1, 1001, 0), b"x");
    let mut peer = cluster.connect(0);
    assert_eq!(peer.read(&block(1, 1001, 0), 0, 1), b"x");
    assert!(peer.is_closed());
}

// covers: XC-01, XC-27
#[test]
fn connections_beyond_the_limit_are_refused_and_parked_ones_count() {
    let cluster = Cluster::start_with(1, &[("dfs.datanode.max.transfer.threads", "3")]);
    let node = &cluster.nodes[0];
    cluster.write(0, &block(1, 1001, 0), b"x");
    eventually("none", || node.xceiver_count() == 0);
    let mut peers: Vec<_> = (0..3).map(|_| cluster.connect(0)).collect();
    eventually("three", || node.xceiver_count() == 3);
    assert!(cluster.connect(0).is_closed());
    assert_eq!(node.metrics().refused.get(), 1);
    for peer in &mut peers {
        assert_eq!(peer.read(&block(1, 1001, 0), 0, 1), b"x", "others are unharmed");
    }
    drop(peers);
    eventually("none again", || node.xceiver_count() == 0);
    eventually("none counted", || node.metrics().xceivers.get() == 0);
}

#[test]
fn acked_bytes_are_visible_at_once_and_partial_chunks_grow() {
    let cluster = Cluster::start(2);
    let b = block(1, 1001, 0);
    let data = bytes(3000);
    let mut writer = cluster.connect(0);
    assert_eq!(writer.open_write(&b, vec![cluster.info(1)]).status, 0);
    // A client resends its last, unfinished chunk from the chunk's start after each flush.
    for (seqno, (from, to)) in [(0, 100), (0, 700), (512, 1300), (1024, 3000)].into_iter().enumerate() {
        writer.send_packet(seqno as i64, from as u64, &data[from..to], false, seqno == 1);
        assert_eq!(writer.ack().reply, [0, 0]);
        for node in 0..2 {
            let got = cluster.connect(node).read(&b, 0, u64::MAX);
            assert_eq!(got, data[..to], "node {node}");
        }
    }
    for node in 0..2 {
        cluster.namenode.wait_news(&cluster.uuid(node), 1, RECEIVING);
    }
    writer.send_raw_packet(-1, 0, &[], &[], false, false);
    let heartbeat = writer.ack();
    assert_eq!((heartbeat.seqno, heartbeat.reply), (-1, vec![0, 0]));
    writer.send_packet(4, 3000, &[], true, false);
    assert_eq!(writer.ack().reply, [0, 0]);
    assert!(writer.is_closed());
    for node in 0..2 {
        cluster.namenode.wait_news(&cluster.uuid(node), 1, RECEIVED);
        assert_eq!(cluster.connect(node).read(&b, 0, u64::MAX), data);
    }
}

#[test]
fn corrupt_packets_are_found_at_the_end_of_the_pipeline() {
    let bad = |peer: &mut Peer| {
        let mut sums = Vec::new();
        format().append_sums(b"right", &mut sums);
        peer.send_raw_packet(0, 0, &sums, b"wrong", false, false);
    };
    let cluster = Cluster::start(3);
    let mut peer = cluster.connect(2);
    peer.open_write(&block(1, 1001, 0), vec![]);
    bad(&mut peer);
    let ack = peer.ack();
    assert_eq!((ack.seqno, ack.reply, ack.flag), (0, vec![2], vec![2]));
    // Of three nodes the first sees its downstream link break.
    let mut peer = cluster.connect(0);
    peer.open_write(&block(2, 1001, 0), vec![cluster.info(1), cluster.info(2)]);
    bad(&mut peer);
    let ack = peer.ack();
    assert_eq!((ack.seqno, ack.reply), (-2, vec![0, 1]));
    eventually("a counted error", || {
        cluster.nodes[2].metrics().checksum_errors.get() == 2
    });
}

#[test]
fn a_next_node_that_fails_is_named() {
    let cluster = Cluster::start(3);
    let mut gone = cluster.info(1);
    gone.id.xfer_port = 1;
    let mut peer = cluster.connect(0);
    let answer = peer.open_write(&block(1, 1001, 0), vec![gone.clone()]);
    assert_eq!((answer.status, answer.first_bad_link()), (1, "127.0.0.1:1"));
    assert!(peer.is_closed());
    let mut peer = cluster.connect(0);
    let answer = peer.open_write(&block(2, 1001, 0), vec![cluster.info(1), gone]);
    assert_eq!((answer.status, answer.first_bad_link()), (1, "127.0.0.1:1"));
    // A node whose replica exists already just closes; its upstream names it.
    cluster.write(2, &block(3, 1001, 0), b"x");
    let mut peer = cluster.connect(0);
    let answer = peer.open_write(&block(3, 1001, 0), vec![cluster.info(2)]);
    let expected = format!("127.0.0.1:{}", cluster.nodes[2].xfer_addr().port());
    assert_eq!((answer.status, answer.first_bad_link()), (1, expected.as_str()));
}

#[test]
fn a_next_node_that_dies_turns_acks_into_errors() {
    let mut cluster = Cluster::start(2);
    let b = block(1, 1001, 0);
    let mut peer = cluster.connect(0);
    peer.open_write(&b, vec![cluster.info(1)]);
    peer.send_packet(0, 0, b"hello", false, false);
    assert_eq!(peer.ack().reply, [0, 0]);
    let dying = cluster.nodes.pop().unwrap();
    cluster.runtime.block_on(dying.shutdown());
    peer.send_packet(1, 0, b"hello world", false, false);
    let ack = peer.ack();
    assert_eq!(ack.reply, [0, 1], "{ack:?}");
    drop(peer);
    // The client goes on with the node that is left, under a new stamp.
    let mut peer = cluster.connect(0);
    let op = OpWriteBlockProto {
        stage: 3,
        min_bytes_rcvd: 5,
        max_bytes_rcvd: 11,
        latest_generation_stamp: 1002,
        ..write_op(&b, vec![])
    };
    peer.op(80, &op);
    assert_eq!(peer.response().status, 0);
    peer.send_packet(1, 0, b"hello world", false, false);
    peer.send_packet(2, 11, &[], true, false);
    assert_eq!((peer.ack().reply, peer.ack().reply), (vec![0], vec![0]));
    let told = cluster.namenode.wait_news(&cluster.uuid(0), 1, RECEIVED);
    assert_eq!((told.gen_stamp, told.num_bytes), (1002, Some(11)));
    assert_eq!(cluster.connect(0).read(&block(1, 1002, 0), 0, u64::MAX), b"hello world");
}

#[test]
fn a_pipeline_that_failed_at_its_end_is_closed_without_data() {
    let cluster = Cluster::start(1);
    let b = block(1, 1001, 0);
    let mut peer = cluster.connect(0);
    peer.open_write(&b, vec![]);
    peer.send_packet(0, 0, b"hello", false, false);
    peer.ack();
    let mut closing = cluster.connect(0);
    let op = OpWriteBlockProto {
        stage: 5,
        min_bytes_rcvd: 5,
        max_bytes_rcvd: 5,
        latest_generation_stamp: 1002,
        ..write_op(&b, vec![])
    };
    closing.op(80, &op);
    assert_eq!(closing.response().status, 0);
    assert!(peer.is_closed(), "the old writer was stopped");
    assert!(closing.is_closed());
    assert_eq!(
        cluster.namenode.wait_news(&cluster.uuid(0), 1, RECEIVED).gen_stamp,
        1002
    );
}

// covers: XC-17
#[test]
fn clients_have_replicas_copied_open_and_finished_ones() {
    let cluster = Cluster::start(2);
    let transfer = |b: &hadron_types::ExtendedBlock| OpTransferBlockProto {
        header: client_header(b, "client"),
        targets: vec![cluster.info(1)],
        ..Default::default()
    };
    let finished = block(1, 1001, 0);
    let data = bytes(700_000);
    {
        let mut peer = cluster.connect(0);
        peer.open_write(&finished, vec![]);
        for (i, part) in data.chunks(64512).enumerate() {
            peer.send_packet(i as i64, i as u64 * 64512, part, false, false);
        }
        peer.send_packet(11, 700_000, &[], true, false);
        for _ in 0..=11 {
            assert_eq!(peer.ack().reply, [0]);
        }
    }
    let mut peer = cluster.connect(0);
    peer.op(86, &transfer(&finished));
    assert_eq!(peer.response().status, 0);
    assert_eq!(cluster.connect(1).read(&finished, 0, u64::MAX), data);

    let open = block(2, 1001, 0);
    let mut writer = cluster.connect(0);
    writer.open_write(&open, vec![]);
    writer.send_packet(0, 0, &data[..700], false, false);
    writer.ack();
    let mut peer = cluster.connect(0);
    peer.op(86, &transfer(&open));
    assert_eq!(peer.response().status, 0);
    assert_eq!(
        cluster.connect(1).read(&open, 0, u64::MAX),
        data[..700],
        "the copy is an open replica"
    );
    // Unknown: closed without a reply. Already there: told.
    let mut peer = cluster.connect(0);
    peer.op(86, &transfer(&block(9, 1001, 0)));
    assert!(peer.is_closed());
    let mut peer = cluster.connect(0);
    peer.op(86, &transfer(&finished));
    assert_eq!(peer.response().status, 1);
}

// covers: XC-16
#[test]
fn block_checksums_are_the_digest_of_chunk_checksums() {
    use md5::{Digest, Md5};
    let cluster = Cluster::start(1);
    let data = bytes(200_000);
    cluster.write(0, &block(1, 1001, 0), &data);
    let ask = |len: u64, kind: Option<i32>| {
        let mut peer = cluster.connect(0);
        let op = OpBlockChecksumProto {
            header: client_header(&block(1, 1001, len), "").base_header,
            block_checksum_options: kind.map(|kind| BlockChecksumOptionsProto {
                block_checksum_type: Some(kind),
                stripe_length: None,
            }),
        };
        peer.op(85, &op);
        peer.response().checksum_response.unwrap()
    };
    for len in [200_000, 100_000, 512, 1] {
        let mut sums = Vec::new();
        format().append_sums(&data[..len], &mut sums);
        let answer = ask(len as u64, None);
        assert_eq!(answer.block_checksum[..], Md5::digest(&sums)[..], "{len}");
        assert_eq!((answer.bytes_per_crc, answer.crc_per_block), (512, 391));
        let answer = ask(len as u64, Some(2));
        assert_eq!(answer.block_checksum[..], format().sum(&data[..len]).to_be_bytes());
        assert!(answer.block_checksum_options.is_some());
    }
}

#[test]
fn shutdown_ends_transfers_and_leaves_nothing() {
    let mut cluster = Cluster::start(2);
    let mut writer = cluster.connect(0);
    writer.open_write(&block(1, 1001, 0), vec![cluster.info(1)]);
    writer.send_packet(0, 0, b"hello", false, false);
    writer.ack();
    let mut idle = cluster.connect(0);
    let node = cluster.nodes.remove(0);
    let addr = node.xfer_addr();
    cluster.runtime.block_on(node.shutdown());
    assert!(writer.is_closed() && idle.is_closed());
    assert!(std::net::TcpStream::connect(addr).is_err());
    // The directory is free again; the open replica waits for recovery.
    let node = cluster.start_node(&cluster.dirs[0].clone(), &[]);
    let report = node.store().block_report(&POOL.into()).unwrap();
    let replicas: Vec<_> = report.into_iter().flat_map(|storage| storage.replicas).collect();
    assert_eq!(replicas.len(), 1);
    assert_eq!(replicas[0].state, hadron_types::ReplicaState::Rwr);
    assert_eq!(replicas[0].block.len, 5);
}

/// Log lines of the whole process.
#[derive(Clone, Default)]
struct Captured(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// covers: XC-10, XC-11, XC-31
#[test]
fn failures_are_logged_with_operation_block_peer_and_cause() {
    let captured = Captured::default();
    let writer = captured.clone();
    // Transfer threads log, too; the test runner gives each test its own process.
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let cluster = Cluster::start(1);
    let mut peer = cluster.connect(0);
    peer.open_write(&block(7, 1001, 0), vec![]);
    peer.send_packet(0, 5, b"gap", false, false);
    let name = peer.0.local_addr().unwrap();
    assert!(peer.is_closed());
    for bytes in [[0, 29, 81], [0, 28, 79]] {
        let mut peer = cluster.connect(0);
        peer.0.write_all(&bytes).unwrap();
        assert!(peer.is_closed());
    }
    let expected = [
        format!(
            "operation failed op=\"WRITE_BLOCK\" block={POOL}:blk_7_1001 peer={name} error=received an out-of-sequence packet at offset 5 but expecting packet at 0"
        ),
        "Version Mismatch (Expected: 28, Received: 29 )".to_owned(),
        "Unknown op 79 in data stream".to_owned(),
    ];
    eventually("three log lines", || {
        let text = String::from_utf8_lossy(&captured.0.lock()).into_owned();
        let logged = |wanted: &String| {
            let line = text.lines().find(|line| line.contains(wanted.as_str()));
            line.is_some_and(|line| line.contains(" WARN ") || line.contains(" ERROR "))
        };
        expected.iter().all(logged)
    });
}
