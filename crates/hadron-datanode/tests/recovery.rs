//! What a DataNode does as the primary of a block recovery when a holder hangs.
//!
//! What it does not do: recoveries that all take part in, which the tests of whole clusters have.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::*;
use hadron_proto::convert::no_token;
use hadron_proto::datanode::datanode_command_proto::Type;
use hadron_proto::datanode::*;
use hadron_proto::hdfs::*;
use std::net::TcpListener;

/// By default the holder would be waited for longer than this test waits.
///
/// covers: LM-22
#[test]
fn a_holder_that_hangs_does_not_keep_the_others_from_their_result() {
    let cluster = Cluster::start_with(2, &[("dfs.heartbeat.interval", "300ms")]);
    let block = block(5, 1001, 0);
    cluster.write(0, &block, &bytes(1300));
    // It takes connections in and never says a word.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let holder = |node: usize, port: u16| {
        let mut info = cluster.info(node);
        info.id.ipc_port = u32::from(port);
        info
    };
    let mut hanging = holder(1, hangs.local_addr().unwrap().port());
    hanging.id.datanode_uuid = "hangs".to_owned();
    let order = RecoveringBlockProto {
        new_gen_stamp: 1005,
        block: LocatedBlockProto {
            b: (&block).into(),
            locs: vec![hanging, holder(0, 1), holder(1, cluster.nodes[1].ipc_addr().port())],
            block_token: no_token(),
            ..LocatedBlockProto::default()
        },
        ..RecoveringBlockProto::default()
    };
    let command = DatanodeCommandProto {
        cmd_type: Type::BlockRecoveryCommand as i32,
        recovery_cmd: Some(BlockRecoveryCommandProto { blocks: vec![order] }),
        ..DatanodeCommandProto::default()
    };
    let primary = cluster.uuid(0);
    cluster
        .namenode
        .with(|script| script.commands.push_back((primary, command)));
    let result = cluster
        .namenode
        .wait("the recovery's result", |script| script.recovered.first().cloned());
    let nodes: Vec<_> = result
        .new_taragets
        .iter()
        .map(|node| node.datanode_uuid.clone())
        .collect();
    assert_eq!(
        (result.new_gen_stamp, result.new_length, result.delete_block),
        (1005, 1300, false)
    );
    assert_eq!(nodes, [cluster.uuid(0), cluster.uuid(1)]);
}
