//! What a NameNode hears and orders: registration, reports, commands, bad replicas; IPC and HTTP of the DataNode.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::*;
use hadron_net::{RpcClient, RpcClientOptions};
use hadron_proto::datanode::*;
use hadron_proto::hdfs::*;
use hadron_proto::protocol::CLIENT_DATANODE_PROTOCOL;
use std::io::{Read, Write};

const RECEIVED: i32 = 2;
const DELETED: i32 = 3;

#[test]
fn registers_reports_under_a_lease_and_registers_again_when_told() {
    let cluster = Cluster::start(1);
    let nn = &cluster.namenode;
    let first = nn.wait("a full report", |script| script.reports.first().cloned());
    let context = first.context.unwrap();
    assert_eq!(
        (context.total_rpcs, context.cur_rpc, context.lease_id),
        (1, 0, Some(77))
    );
    assert_eq!(first.reports.len(), 1);
    assert_eq!(first.reports[0].number_of_blocks, Some(0));
    let idle = nn.wait("a heartbeat", |script| script.last_beat.clone());
    assert_eq!(
        idle.xceiver_count,
        Some(1),
        "an idle node counts its server, as Java's does"
    );
    let registration = nn.with(|script| script.registrations[0].clone());
    assert_eq!(registration.storage_info.layout_version as i32, -57);
    assert_eq!(registration.storage_info.cluster_id, "CID-5");
    assert_eq!(
        registration.datanode_id.xfer_port,
        u32::from(cluster.nodes[0].xfer_addr().port())
    );
    cluster.write(0, &block(5, 1001, 0), b"data");
    nn.wait_news(&cluster.uuid(0), 5, RECEIVED);
    let uuid = cluster.uuid(0);
    nn.with(|script| script.commands.push_back((uuid, register_command())));
    nn.wait("a second registration", |script| {
        (script.registrations.len() == 2).then_some(())
    });
    let again = nn.wait("a second report", |script| script.reports.get(1).cloned());
    assert_eq!(again.reports[0].number_of_blocks, Some(1));
    assert!(again.context.unwrap().id > context.id);
    let report = again.reports[0].blocks_buffers.concat();
    assert_eq!(report, [10, 4, 0xe9, 7, 0]);
}

#[test]
fn news_that_were_refused_are_sent_again() {
    let cluster = Cluster::start(1);
    cluster.namenode.with(|script| script.refuse_news = true);
    cluster.write(0, &block(5, 1001, 0), b"data");
    cluster.namenode.with(|script| script.refuse_news = false);
    cluster.namenode.wait_news(&cluster.uuid(0), 5, RECEIVED);
}

#[test]
fn replicas_are_copied_and_deleted_on_order() {
    let cluster = Cluster::start(3);
    let nn = &cluster.namenode;
    let data = bytes(1_000_000);
    cluster.write(2, &block(5, 1001, 0), &data);
    let order = BlockCommandProto {
        action: 1,
        block_pool_id: POOL.into(),
        blocks: vec![BlockProto {
            block_id: 5,
            gen_stamp: 1001,
            num_bytes: Some(1_000_000),
        }],
        targets: vec![DatanodeInfosProto {
            datanodes: vec![cluster.info(0), cluster.info(1)],
        }],
        ..Default::default()
    };
    let from = cluster.uuid(2);
    nn.with(|script| script.commands.push_back((from.clone(), block_command(order.clone()))));
    for node in 0..2 {
        let told = nn.wait_news(&cluster.uuid(node), 5, RECEIVED);
        assert_eq!(told.num_bytes, Some(1_000_000));
        assert_eq!(cluster.connect(node).read(&block(5, 1001, 0), 0, u64::MAX), data);
    }
    let deletion = BlockCommandProto {
        action: 2,
        targets: Vec::new(),
        ..order
    };
    nn.with(|script| script.commands.push_back((from, block_command(deletion))));
    nn.wait_news(&cluster.uuid(2), 5, DELETED);
    let mut peer = cluster.connect(2);
    peer.op(81, &read_op(&block(5, 1001, 0), 0, 1));
    assert_eq!(peer.response().status, 1);
}

#[test]
fn replicas_found_damaged_are_reported() {
    let cluster = Cluster::start(1);
    cluster.write(0, &block(5, 1001, 0), &bytes(5000));
    let base = cluster.dirs[0].join("current").join(POOL).join("current/finalized");
    let file = base.join("subdir0/subdir0/blk_5");
    std::fs::OpenOptions::new()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(100)
        .unwrap();
    let mut peer = cluster.connect(0);
    peer.op(81, &read_op(&block(5, 1001, 0), 0, 5000));
    assert!(peer.is_closed());
    let bad = cluster.namenode.wait("a report", |script| script.bad.first().cloned());
    assert_eq!(bad.b.block_id, 5);
    assert_eq!(bad.locs[0].id.datanode_uuid, cluster.uuid(0));
    assert_eq!(bad.storage_i_ds.len(), 1);
}

/// An open replica may be cut while it is read: no reader may call it corrupt.
#[test]
fn open_replicas_that_lose_bytes_are_not_called_corrupt() {
    let cluster = Cluster::start(1);
    cluster.write(0, &block(5, 1001, 0), &bytes(5000));
    let mut writer = cluster.connect(0);
    writer.open_write(&block(6, 1001, 0), vec![]);
    writer.send_packet(0, 0, &bytes(5000), false, false);
    assert_eq!(writer.ack().reply, [0]);
    let base = cluster.dirs[0].join("current").join(POOL).join("current");
    for (id, file) in [(6, "rbw/blk_6"), (5, "finalized/subdir0/subdir0/blk_5")] {
        let file = std::fs::OpenOptions::new().write(true).open(base.join(file)).unwrap();
        file.set_len(100).unwrap();
        let mut peer = cluster.connect(0);
        peer.op(81, &read_op(&block(id, 1001, 0), 0, 5000));
        assert!(peer.is_closed());
    }
    let bad = cluster.namenode.wait("a report", |script| script.bad.first().cloned());
    assert_eq!(bad.b.block_id, 5);
}

#[test]
fn only_whole_finished_replicas_are_copied_on_order() {
    let cluster = Cluster::start(2);
    let nn = &cluster.namenode;
    let mut writer = cluster.connect(0);
    writer.open_write(&block(6, 1001, 0), vec![]);
    writer.send_packet(0, 0, &bytes(1000), false, false);
    assert_eq!(writer.ack().reply, [0]);
    {
        // One node's pipeline: the other gets copies only.
        let mut peer = cluster.connect(0);
        peer.open_write(&block(5, 1001, 0), vec![]);
        peer.send_packet(0, 0, &bytes(1000), false, false);
        peer.send_packet(1, 1000, &[], true, false);
        assert_eq!((peer.ack().reply, peer.ack().reply), (vec![0], vec![0]));
    }
    let of = |block_id, num_bytes| BlockProto {
        block_id,
        gen_stamp: 1001,
        num_bytes: Some(num_bytes),
    };
    let target = DatanodeInfosProto {
        datanodes: vec![cluster.info(1)],
    };
    let order = BlockCommandProto {
        action: 1,
        block_pool_id: POOL.into(),
        blocks: vec![of(6, 1000), of(5, 1001)],
        targets: vec![target.clone(), target],
        ..Default::default()
    };
    let from = cluster.uuid(0);
    nn.with(|script| script.commands.push_back((from.clone(), block_command(order.clone()))));
    let bad = nn.wait("a report of the short one", |script| script.bad.first().cloned());
    assert_eq!(bad.b.block_id, 5);
    let whole = BlockCommandProto {
        blocks: vec![of(5, 1000)],
        ..order
    };
    nn.with(|script| script.commands.push_back((from, block_command(whole))));
    nn.wait_news(&cluster.uuid(1), 5, RECEIVED);
    drop(writer);
    eventually("quiet", || {
        cluster.nodes.iter().all(|node| node.active_transfers() == 0)
    });
    let mut peer = cluster.connect(1);
    peer.op(81, &read_op(&block(6, 1001, 0), 0, 1));
    assert_eq!(peer.response().status, 1, "an open replica was copied");
}

#[test]
fn clients_ask_for_lengths_and_reports() {
    let cluster = Cluster::start(1);
    cluster.write(0, &block(5, 1001, 0), &bytes(5000));
    let mut writer = cluster.connect(0);
    writer.open_write(&block(6, 1001, 0), vec![]);
    writer.send_packet(0, 0, b"hello", false, false);
    writer.ack();
    cluster.runtime.block_on(async {
        let options = RpcClientOptions::new("me", CLIENT_DATANODE_PROTOCOL);
        let client = RpcClient::connect(cluster.nodes[0].ipc_addr(), options).await.unwrap();
        for (id, stamp, len) in [
            (5, 1001, Ok(5000)),
            (6, 1000, Ok(5)),
            (6, 1002, Err("java.io.IOException")),
            (7, 1, Err("ReplicaNotFoundException")),
        ] {
            let request = GetReplicaVisibleLengthRequestProto {
                block: (&block(id, stamp, 0)).into(),
            };
            let answer: Result<GetReplicaVisibleLengthResponseProto, _> =
                client.call("getReplicaVisibleLength", &request).await;
            match len {
                Ok(len) => assert_eq!(answer.unwrap().length, len),
                Err(class) => assert!(answer.unwrap_err().remote().unwrap().kind.class().contains(class)),
            }
        }
        let info: GetDatanodeInfoResponseProto = client
            .call("getDatanodeInfo", &GetDatanodeInfoRequestProto {})
            .await
            .unwrap();
        assert_eq!(info.local_info.software_version, "3.3.6");
        let before = cluster.namenode.with(|script| script.reports.len());
        let trigger = TriggerBlockReportRequestProto {
            incremental: false,
            nn_address: None,
        };
        let owner = hadron_env::config::Configuration::new().user_name().to_owned();
        let options = RpcClientOptions::new(owner, CLIENT_DATANODE_PROTOCOL);
        let client = RpcClient::connect(cluster.nodes[0].ipc_addr(), options).await.unwrap();
        let _: TriggerBlockReportResponseProto = client.call("triggerBlockReport", &trigger).await.unwrap();
        cluster.namenode.wait("a triggered report", |script| {
            (script.reports.len() > before).then_some(())
        });
    });
}

fn page(cluster: &Cluster, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(cluster.nodes[0].http_addr()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

// covers: XC-08, XC-09, XC-30
#[test]
fn pages_show_health_figures_and_connections() {
    let cluster = Cluster::start(1);
    cluster.write(0, &block(5, 1001, 0), &bytes(5000));
    let mut peer = cluster.connect(0);
    peer.read(&block(5, 1001, 0), 0, 10);
    for (path, texts) in [
        ("/health", &["200 OK"][..]),
        ("/ready", &["200 OK"]),
        (
            "/metrics",
            &["hadron_datanode_bytes_written_total 5000", "read_block_seconds_count 1"],
        ),
        ("/jmx", &["DataNodeActivity", "\"BlocksWritten\":1", "FSDatasetState"]),
        ("/xceivers", &["127.0.0.1:", "Waiting for operation #2\t1\t"]),
        ("/other", &["404"]),
    ] {
        let mut text = String::new();
        eventually(path, || {
            text = page(&cluster, path);
            texts.iter().all(|wanted| text.contains(wanted))
        });
    }
}
