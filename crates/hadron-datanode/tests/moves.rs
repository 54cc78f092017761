//! REPLACE_BLOCK and COPY_BLOCK as a balancer and a DataNode use them: moves, quotas, bandwidth, media, pinned replicas.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::*;
use hadron_proto::convert::no_token;
use hadron_proto::datanode::{BalancerBandwidthCommandProto, DatanodeCommandProto};
use hadron_proto::hdfs::*;
use hadron_types::ExtendedBlock;
use std::io::Read;
use std::net::TcpListener;

const RECEIVED: i32 = 2;
const SUCCESS: i32 = 0;
const ERROR: i32 = 1;
const IN_PROGRESS: i32 = 12;
const PINNED: i32 = 13;
const LEN: usize = 1_200_001;

fn header(block: &ExtendedBlock) -> BaseHeaderProto {
    BaseHeaderProto {
        block: block.into(),
        token: Some(no_token()),
        trace_info: None,
    }
}

fn copy_op(block: &ExtendedBlock) -> OpCopyBlockProto {
    OpCopyBlockProto { header: header(block) }
}

fn replace_op(block: &ExtendedBlock, source: DatanodeInfoProto, hint: &str) -> OpReplaceBlockProto {
    OpReplaceBlockProto {
        header: header(block),
        del_hint: hint.into(),
        source,
        storage_type: None,
        storage_id: None,
    }
}

/// Orders a move and gives the answers up to the last one.
fn replace(peer: &mut Peer, op: &OpReplaceBlockProto) -> Vec<BlockOpResponseProto> {
    peer.op(83, op);
    let mut answers = vec![peer.response()];
    while answers.last().unwrap().status == IN_PROGRESS {
        answers.push(peer.response());
    }
    answers
}

fn statuses(answers: &[BlockOpResponseProto]) -> Vec<i32> {
    answers.iter().map(|answer| answer.status).collect()
}

/// Two nodes, the first one with a block.
fn two_nodes(settings: &[(&str, &str)]) -> (Cluster, ExtendedBlock) {
    let cluster = Cluster::start_with(2, settings);
    let b = block(1, 1001, LEN as u64);
    write_on(&cluster, 0, &b);
    (cluster, b)
}

fn write_on(cluster: &Cluster, node: usize, b: &ExtendedBlock) {
    let data = bytes(LEN);
    let mut peer = cluster.connect(node);
    let op = OpWriteBlockProto {
        pinning: Some(true),
        ..write_op(b, Vec::new())
    };
    peer.op(80, &op);
    assert_eq!(peer.response().status, SUCCESS);
    let mut seqno = 0;
    for part in data.chunks(64512) {
        peer.send_packet(seqno, seqno as u64 * 64512, part, false, false);
        seqno += 1;
    }
    peer.send_packet(seqno, LEN as u64, &[], true, false);
    (0..=seqno).for_each(|_| assert_eq!(peer.ack().reply, [0]));
}

// covers: XC-14
#[test]
fn a_block_is_fetched_from_the_proxy_and_the_hint_is_told() {
    let (cluster, b) = two_nodes(&[]);
    let mut balancer = cluster.connect(1);
    let answers = replace(&mut balancer, &replace_op(&b, cluster.info(0), "the-giver"));
    assert_eq!(statuses(&answers), [IN_PROGRESS, SUCCESS], "{answers:?}");
    assert!(balancer.is_closed());
    assert_eq!(cluster.connect(1).read(&b, 0, u64::MAX), bytes(LEN));
    let told = cluster.namenode.wait_news(&cluster.uuid(1), 1, RECEIVED);
    assert_eq!(told.num_bytes, Some(LEN as u64));
    let hint = cluster.namenode.with(|script| script.hints.clone());
    assert_eq!(hint, [(cluster.uuid(1), 1, "the-giver".to_owned())]);
    // Once more: it is there already, which is said and changes nothing.
    let again = replace(&mut cluster.connect(1), &replace_op(&b, cluster.info(0), "x"));
    assert_eq!(statuses(&again), [ERROR]);
    assert!(again[0].message().contains("opReplaceBlock BP-7"), "{again:?}");
    assert!(
        again[0].message().contains("ReplicaAlreadyExistsException"),
        "{again:?}"
    );
    assert_eq!(cluster.connect(1).read(&b, 0, u64::MAX), bytes(LEN));
    // Nobody has this one: the proxy closes without a word.
    let missing = replace(
        &mut cluster.connect(1),
        &replace_op(&block(9, 1001, 5), cluster.info(0), "x"),
    );
    assert_eq!(statuses(&missing), [ERROR]);
    for node in 0..2 {
        eventually("places given back", || cluster.nodes[node].active_transfers() == 0);
    }
}

// covers: XC-15, XC-22
#[test]
fn a_copy_is_a_read_of_everything_with_a_word_at_its_end() {
    let (cluster, b) = two_nodes(&[]);
    let mut reader = cluster.connect(0);
    reader.op(81, &read_op(&b, 0, u64::MAX));
    let read = (reader.response(), reader.packets(format()));
    let mut peer = cluster.connect(0);
    peer.op(84, &copy_op(&b));
    let answer = peer.response();
    let copied = (answer, peer.packets(format()));
    assert_eq!(copied, read, "the same answer and the same packets");
    assert_eq!(copied.1, (0, bytes(LEN)));
    let mut trailer = [0; 2];
    peer.0.read_exact(&mut trailer).unwrap();
    assert_eq!(&trailer, b"\0d");
    assert!(peer.is_closed());
    let mut peer = cluster.connect(0);
    peer.op(84, &copy_op(&block(9, 1001, 5)));
    assert!(peer.is_closed(), "an unknown block is not answered");
}

// covers: XC-14, XC-15
#[test]
fn moves_beyond_the_quota_are_refused_in_hadoops_words() {
    let (cluster, b) = two_nodes(&[
        ("dfs.datanode.balance.max.concurrent.moves", "1"),
        ("dfs.datanode.balance.bandwidthPerSec", "1"),
    ]);
    // One packet goes; the rest of the copy waits for the bandwidth.
    let mut slow = cluster.connect(0);
    slow.op(84, &copy_op(&b));
    assert_eq!(slow.response().status, SUCCESS);
    slow.packet();
    let mut second = cluster.connect(0);
    let from = second.0.local_addr().unwrap();
    second.op(84, &copy_op(&b));
    let answer = second.response();
    assert_eq!(answer.status, ERROR);
    assert_eq!(
        answer.message(),
        format!("Not able to copy block 1 to /{from} because threads quota is exceeded.")
    );
    let mut mover = cluster.connect(0);
    let from = mover.0.local_addr().unwrap();
    let refused = replace(&mut mover, &replace_op(&block(2, 1001, 1), cluster.info(1), "x"));
    assert_eq!(statuses(&refused), [ERROR]);
    assert_eq!(
        refused[0].message(),
        format!("Not able to receive block 2 from /{from} because threads quota is exceeded.")
    );
    // The other node hears no from its proxy, and passes it on.
    let passed = replace(&mut cluster.connect(1), &replace_op(&b, cluster.info(0), "x"));
    assert_eq!(statuses(&passed), [ERROR]);
    assert!(passed[0].message().contains("threads quota is exceeded"), "{passed:?}");
    // More bandwidth with the next heartbeat: the copy goes on where it was.
    let command = DatanodeCommandProto {
        cmd_type: 0,
        balancer_cmd: Some(BalancerBandwidthCommandProto { bandwidth: 1 << 30 }),
        ..Default::default()
    };
    let node = cluster.uuid(0);
    cluster
        .namenode
        .with(|script| script.commands.push_back((node, command)));
    let mut packet = slow.packet();
    while !packet.header.last_packet_in_block {
        packet = slow.packet();
    }
    eventually("the place is free", || {
        let mut peer = cluster.connect(0);
        peer.op(84, &copy_op(&b));
        peer.response().status == SUCCESS
    });
}

/// The one who ordered a slow move is told that it goes on.
#[test]
fn a_slow_move_is_not_taken_for_a_dead_one() {
    let (cluster, b) = two_nodes(&[
        ("dfs.datanode.balance.bandwidthPerSec", "600k"),
        ("dfs.client.socket-timeout", "400"),
    ]);
    let answers = replace(&mut cluster.connect(1), &replace_op(&b, cluster.info(0), "x"));
    let all = statuses(&answers);
    assert_eq!(all.last(), Some(&SUCCESS), "{answers:?}");
    assert!(all.len() > 2, "more than one word on the way: {all:?}");
}

#[test]
fn a_proxy_that_sends_rubbish_or_hangs_up_leaves_nothing_behind() {
    let cluster = Cluster::start(1);
    let b = block(1, 1001, 1000);
    for (what, packet) in [
        ("hangs up", Vec::new()),
        ("leaves a gap", raw_packet(0, 512, &[1; 10], false)),
        ("sends other bytes", {
            let mut packet = raw_packet(0, 0, &[1; 600], false);
            *packet.last_mut().unwrap() ^= 1;
            packet
        }),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut proxy = cluster.info(0);
        proxy.id.datanode_uuid = "somebody else".into();
        proxy.id.xfer_port = u32::from(listener.local_addr().unwrap().port());
        let sender = std::thread::spawn(move || {
            let mut peer = Peer(listener.accept().unwrap().0);
            let mut head = [0; 3];
            peer.0.read_exact(&mut head).unwrap();
            assert_eq!(head, [0, 28, 84]);
            let _: OpCopyBlockProto = peer.message();
            peer.answer(&BlockOpResponseProto {
                status: SUCCESS,
                read_op_checksum_info: Some(ReadOpChecksumInfoProto {
                    checksum: ChecksumProto {
                        r#type: 2,
                        bytes_per_checksum: 512,
                    },
                    chunk_offset: 0,
                }),
                ..Default::default()
            });
            let _ = std::io::Write::write_all(&mut peer.0, &packet);
        });
        let answers = replace(&mut cluster.connect(0), &replace_op(&b, proxy, "x"));
        assert_eq!(answers.last().unwrap().status, ERROR, "{what}: {answers:?}");
        sender.join().unwrap();
        assert!(cluster.nodes[0].store().state(&b).is_none(), "{what}: nothing stays");
    }
}

#[test]
fn a_node_that_is_its_own_proxy_moves_the_block_to_the_other_medium() {
    let cluster = Cluster::start(0);
    let (disk, archive) = (cluster.root().join("d"), cluster.root().join("a"));
    let dirs = format!("[DISK]{},[ARCHIVE]{}", disk.display(), archive.display());
    let mut cluster = cluster;
    let node = cluster.start_node(&disk, &[("dfs.datanode.data.dir", &dirs)]);
    cluster.nodes.push(node);
    let b = block(1, 1001, LEN as u64);
    write_on(&cluster, 0, &b);
    let op = OpReplaceBlockProto {
        storage_type: Some(StorageTypeProto::Archive as i32),
        ..replace_op(&b, cluster.info(0), &cluster.uuid(0))
    };
    assert_eq!(statuses(&replace(&mut cluster.connect(0), &op)), [SUCCESS]);
    assert_eq!(cluster.connect(0).read(&b, 0, u64::MAX), bytes(LEN));
    let (_, kind) = cluster.nodes[0].store().storage_of(&b).unwrap();
    assert_eq!(kind, hadron_types::StorageType::Archive);
    assert_eq!(statuses(&replace(&mut cluster.connect(0), &op)), [ERROR], "it is there");
    // Back again it may not once its checksums are lost, which is told.
    std::fs::remove_file(cluster.nodes[0].store().local_paths(&b).unwrap().meta).unwrap();
    let back = OpReplaceBlockProto {
        storage_type: None,
        ..op
    };
    assert_eq!(statuses(&replace(&mut cluster.connect(0), &back)), [ERROR]);
    assert_eq!(
        cluster.nodes[0].store().storage_of(&b).unwrap().1,
        hadron_types::StorageType::Archive
    );
    eventually("the damage is told", || {
        cluster.namenode.with(|script| !script.bad.is_empty())
    });
}

/// Reads a replica that is sent without checksums.
fn read_unchecked(cluster: &Cluster, node: usize, b: &ExtendedBlock) -> Vec<u8> {
    let mut peer = cluster.connect(node);
    peer.op(81, &read_op(b, 0, u64::MAX));
    assert_eq!(peer.response().status, SUCCESS);
    peer.packets(hadron_replica::ChunkFormat::NONE).1
}

/// Without checksums a copy would pass for good, and the good ones go in exchange.
// covers: XC-14, XC-15
#[test]
fn a_replica_that_lost_its_checksums_is_reported_and_not_copied() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 3] = [
        ("lost", |meta| std::fs::remove_file(meta).unwrap()),
        ("malformed", |meta| std::fs::write(meta, b"rubbish").unwrap()),
        ("denied", |meta| {
            let mut content = std::fs::read(meta).unwrap();
            content[2] = 0;
            std::fs::write(meta, content).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (cluster, b) = two_nodes(&[("dfs.datanode.scan.period.hours", "-1")]);
        let node = &cluster.nodes[0];
        damage(&node.store().local_paths(&b).unwrap().meta);
        let bad = || cluster.namenode.with(|script| std::mem::take(&mut script.bad).len());
        let mut peer = cluster.connect(0);
        peer.op(84, &copy_op(&b));
        assert!(peer.is_closed(), "{what}: closed without a reply");
        eventually("the damage is told", || bad() > 0);
        let answers = replace(&mut cluster.connect(1), &replace_op(&b, cluster.info(0), "x"));
        assert_eq!(statuses(&answers), [ERROR], "{what}: {answers:?}");
        eventually("the damage is told", || bad() > 0);
        let mut peer = cluster.connect(0);
        let transfer = OpTransferBlockProto {
            header: client_header(&b, "client"),
            targets: vec![cluster.info(1)],
            ..Default::default()
        };
        peer.op(86, &transfer);
        assert!(peer.is_closed(), "{what}: closed without a reply");
        eventually("the damage is told", || bad() > 0);
        assert!(cluster.nodes[1].store().state(&b).is_none(), "{what}: no copy");
        // It stays readable: it may be the last one.
        assert_eq!(read_unchecked(&cluster, 0, &b), bytes(LEN), "{what}");
    }
}

#[test]
fn a_replica_written_without_checksums_is_moved() {
    let (cluster, b) = two_nodes(&[]);
    let meta = cluster.nodes[0].store().local_paths(&b).unwrap().meta;
    let mut header = std::fs::read(&meta).unwrap()[..7].to_vec();
    header[2] = 0;
    std::fs::write(&meta, header).unwrap();
    let answers = replace(&mut cluster.connect(1), &replace_op(&b, cluster.info(0), "x"));
    assert_eq!(statuses(&answers), [IN_PROGRESS, SUCCESS], "{answers:?}");
    assert_eq!(read_unchecked(&cluster, 1, &b), bytes(LEN));
}

#[test]
fn pinned_blocks_stay() {
    for pinning in [true, false] {
        let (cluster, b) = two_nodes(&[("dfs.datanode.block-pinning.enabled", &pinning.to_string())]);
        let answers = replace(&mut cluster.connect(1), &replace_op(&b, cluster.info(0), "x"));
        let expected: &[i32] = if pinning { &[PINNED] } else { &[IN_PROGRESS, SUCCESS] };
        assert_eq!(statuses(&answers), expected, "{answers:?}");
    }
}

/// `dfsadmin -reconfig datanode` changes quota and bandwidth under a move that waits.
#[test]
fn quota_and_bandwidth_are_reconfigured_under_moves() {
    let (cluster, b) = two_nodes(&[
        ("dfs.datanode.balance.max.concurrent.moves", "1"),
        ("dfs.datanode.balance.bandwidthPerSec", "1"),
    ]);
    let mut slow = cluster.connect(0);
    slow.op(84, &copy_op(&b));
    assert_eq!(slow.response().status, SUCCESS);
    slow.packet();
    cluster.nodes[0].set_reload(|| {
        let mut conf = hadron_env::config::Configuration::new();
        conf.set("dfs.datanode.balance.max.concurrent.moves", "2")
            .set("dfs.datanode.balance.bandwidthPerSec", "1g");
        Ok(conf)
    });
    let owner = hadron_env::config::Configuration::new().user_name().to_owned();
    let options = hadron_net::RpcClientOptions::new(owner.as_str(), hadron_proto::protocol::RECONFIGURATION_PROTOCOL);
    let started = cluster.runtime.block_on(async {
        let address = cluster.nodes[0].ipc_addr();
        let client = hadron_net::RpcClient::connect(address, options).await.unwrap();
        let request = StartReconfigurationRequestProto {};
        client
            .call::<_, StartReconfigurationResponseProto>("startReconfiguration", &request)
            .await
    });
    started.unwrap();
    eventually("the bandwidth is the new one", || {
        cluster.nodes[0].balance_bandwidth() == 1 << 30
    });
    let mut packet = slow.packet();
    while !packet.header.last_packet_in_block {
        packet = slow.packet();
    }
    // Two at a time now: neither is refused.
    let mut peers = [cluster.connect(0), cluster.connect(0)];
    eventually("two places", || {
        peers = [cluster.connect(0), cluster.connect(0)];
        peers.iter_mut().for_each(|peer| peer.op(84, &copy_op(&b)));
        peers.iter_mut().all(|peer| peer.response().status == SUCCESS)
    });
}
