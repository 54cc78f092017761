//! Setting up a pipeline: every stage against a replica in every state, and peers that come with a stamp of the past.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::*;
use hadron_proto::hdfs::*;
use hadron_replica::{NewReplica, ReplicaWriter};
use hadron_types::ReplicaState::{self, Finalized, Rbw, Rur, Rwr, Temporary};
use hadron_types::{ExtendedBlock, GenerationStamp};
use std::sync::Arc;

const RECEIVING: i32 = 1;
const RECEIVED: i32 = 2;
const LEN: u64 = 700;

/// Stages of clients as the wire numbers them.
const CREATE: i32 = 6;
const APPEND: i32 = 0;
const APPEND_RECOVERY: i32 = 1;
const STREAMING_RECOVERY: i32 = 3;
const CLOSE_RECOVERY: i32 = 5;
/// Copies that a client ordered.
const TRANSFER_RBW: i32 = 7;
const TRANSFER_FINALIZED: i32 = 8;

fn setup(b: &ExtendedBlock, stage: i32, to: u64) -> OpWriteBlockProto {
    OpWriteBlockProto {
        stage,
        min_bytes_rcvd: LEN,
        max_bytes_rcvd: LEN,
        latest_generation_stamp: to,
        ..write_op(b, vec![])
    }
}

fn new_replica() -> NewReplica<'static> {
    NewReplica {
        format: format(),
        storage_type: None,
        storage_id: None,
        interrupt: Arc::new(|| ()),
    }
}

/// Brings block `id`, stamp 1001, into a state on node 0; gives what keeps it there.
fn prepare(cluster: &mut Cluster, id: i64, state: Option<ReplicaState>) -> (Option<Peer>, Option<ReplicaWriter>) {
    let b = block(id, 1001, 0);
    let mut peer = cluster.connect(0);
    let mut write = |last: bool| {
        peer.open_write(&b, vec![]);
        peer.send_packet(0, 0, &bytes(LEN as usize), false, false);
        peer.ack();
        if last {
            peer.send_packet(1, LEN, &[], true, false);
            peer.ack();
        }
    };
    match state {
        None => {}
        Some(Finalized) => {
            write(true);
            // Told before anything else is.
            cluster.namenode.wait_news(&cluster.uuid(0), id, RECEIVED);
        }
        Some(Rbw) => {
            write(false);
            return (Some(peer), None);
        }
        Some(Rwr) => {
            write(false);
            drop(peer);
            let node = cluster.nodes.remove(0);
            cluster.runtime.block_on(node.shutdown());
            let node = cluster.start_node(&cluster.dirs[0].clone(), &[]);
            cluster.nodes.insert(0, node);
        }
        Some(Rur) => {
            write(false);
            let found = cluster.nodes[0]
                .store()
                .init_recovery(&b, GenerationStamp(1500))
                .unwrap();
            assert_eq!(found.unwrap().state, Rbw);
        }
        Some(Temporary) => {
            let writer = cluster.nodes[0].store().create_temporary(&b, new_replica()).unwrap();
            return (None, Some(writer));
        }
    }
    (None, None)
}

/// covers: WP-14, WP-16
#[test]
fn each_stage_takes_the_states_that_hadoop_lets_it_take() {
    let states = [None, Some(Finalized), Some(Rbw), Some(Rwr), Some(Rur), Some(Temporary)];
    // Per stage: which of the states are taken, and what becomes of the replica.
    let table: &[(i32, &[Option<ReplicaState>], ReplicaState, Option<i32>)] = &[
        (CREATE, &[None], Rbw, Some(RECEIVING)),
        (APPEND, &[Some(Finalized)], Rbw, Some(RECEIVING)),
        (APPEND_RECOVERY, &[Some(Finalized), Some(Rbw)], Rbw, Some(RECEIVING)),
        (STREAMING_RECOVERY, &[Some(Rbw)], Rbw, None),
        (CLOSE_RECOVERY, &[Some(Finalized), Some(Rbw)], Finalized, Some(RECEIVED)),
    ];
    let mut cluster = Cluster::start(1);
    let mut id = 0;
    for &(stage, taken, becomes, told) in table {
        for state in states {
            id += 1;
            let kept = prepare(&mut cluster, id, state);
            let b = block(id, 1001, 0);
            let mut peer = cluster.connect(0);
            peer.op(80, &setup(&b, stage, 1002));
            let name = format!("stage {stage}, replica {state:?}");
            let now = |cluster: &Cluster| cluster.nodes[0].store().state(&b);
            if !taken.contains(&state) {
                assert!(
                    peer.try_message::<BlockOpResponseProto>().is_err(),
                    "{name}: closed without a word"
                );
                let before = state.map(|state| (state, GenerationStamp(1001)));
                assert_eq!(now(&cluster), before, "{name}: nothing changed");
                drop(kept);
                continue;
            }
            assert_eq!(peer.response().status, 0, "{name}");
            let stamp = if stage == CREATE { 1001 } else { 1002 };
            assert_eq!(now(&cluster), Some((becomes, GenerationStamp(stamp))), "{name}");
            if let Some(told) = told {
                cluster.namenode.wait("the news", |script| {
                    let mut all = script.news.iter();
                    all.find(|(_, b, kind)| b.block_id == id as u64 && *kind == told && b.gen_stamp == stamp)
                        .map(|_| ())
                });
            }
        }
    }
}

/// covers: WP-16
#[test]
fn the_past_is_fenced() {
    let cluster = Cluster::start(1);
    let (b, data) = (block(1, 1001, 0), bytes(2000));
    let mut zombie = cluster.connect(0);
    zombie.open_write(&b, vec![]);
    zombie.send_packet(0, 0, &data[..LEN as usize], false, false);
    zombie.ack();
    // The client's next pipeline takes the replica over.
    let mut writer = cluster.connect(0);
    writer.op(80, &setup(&b, STREAMING_RECOVERY, 1003));
    assert_eq!(writer.response().status, 0);
    zombie.offer_packet(1, 512, b"of the past", false);
    zombie.offer_packet(2, 523, &[], true);
    assert!(zombie.is_closed(), "the old connection ended");
    // Neither the stamp it had nor the one of a set-up that was overtaken opens the replica again.
    for (stamp, to) in [(1001, 1001), (1001, 1002), (1002, 1002)] {
        for stage in [CREATE, APPEND, APPEND_RECOVERY, STREAMING_RECOVERY, CLOSE_RECOVERY] {
            let mut late = cluster.connect(0);
            late.op(80, &setup(&block(1, stamp, 0), stage, to));
            let answer = late.try_message::<BlockOpResponseProto>();
            assert!(answer.is_err(), "stage {stage} from {stamp} to {to}: {answer:?}");
        }
    }
    // One from the future does not find it either.
    let mut early = cluster.connect(0);
    early.op(80, &setup(&block(1, 1004, 0), STREAMING_RECOVERY, 1005));
    assert!(early.is_closed());
    assert_eq!(cluster.nodes[0].store().state(&b), Some((Rbw, GenerationStamp(1003))));
    // All this left the writer alone.
    writer.send_packet(1, 512, &data[512..], false, false);
    writer.send_packet(2, 2000, &[], true, false);
    assert_eq!((writer.ack().reply, writer.ack().reply), (vec![0], vec![0]));
    assert_eq!(
        cluster.namenode.wait_news(&cluster.uuid(0), 1, RECEIVED).gen_stamp,
        1003
    );
    let mut reader = cluster.connect(0);
    reader.op(81, &read_op(&block(1, 1004, 0), 0, 1));
    assert_eq!(reader.response().status, 1, "a reader who knows of a newer one");
    assert!(cluster.connect(0).read(&block(1, 1003, 0), 0, u64::MAX) == data);
}

/// A copy into a pipeline shows what the pipeline acked, not what else came with the last chunk.
#[test]
fn copies_end_in_the_state_their_stage_names() {
    let cluster = Cluster::start(1);
    let data = bytes(1024);
    for (id, stage, visible, expected) in [
        (1, TRANSFER_RBW, 700, Some((Rbw, 700))),
        (2, TRANSFER_FINALIZED, 1024, Some((Finalized, 1024))),
        (3, TRANSFER_RBW, 1025, None),
    ] {
        let mut op = write_op(&block(id, 1001, visible), vec![]);
        op.stage = stage;
        op.source = Some(cluster.info(0));
        let mut peer = cluster.connect(0);
        peer.op(80, &op);
        peer.send_packet(0, 0, &data, false, false);
        peer.send_packet(1, 1024, &[], true, false);
        let b = block(id, 1001, 0);
        let store = cluster.nodes[0].store();
        let Some((state, visible)) = expected else {
            assert!(peer.try_message::<BlockOpResponseProto>().is_err(), "too short a copy");
            eventually("the copy is gone", || store.state(&b).is_none());
            continue;
        };
        assert_eq!(peer.response().status, 0);
        assert_eq!(store.state(&b), Some((state, GenerationStamp(1001))));
        assert_eq!(store.visible_len(&b).unwrap(), visible);
        assert!(cluster.connect(0).read(&b, 0, visible as u64) == data[..visible as usize]);
    }
    // From a DataNode: finalized, and the NameNode hears of it.
    let mut op = write_op(&block(4, 1001, 1024), vec![]);
    op.header = client_header(&block(4, 1001, 1024), "");
    let mut peer = cluster.connect(0);
    peer.op(80, &op);
    peer.send_packet(0, 0, &data, false, false);
    peer.send_packet(1, 1024, &[], true, false);
    let told = cluster.namenode.wait_news(&cluster.uuid(0), 4, RECEIVED);
    assert_eq!((told.gen_stamp, told.num_bytes), (1001, Some(1024)));
    for (id, ..) in [(1, 0), (2, 0), (3, 0)] {
        let silent = cluster
            .namenode
            .with(|script| script.news.iter().all(|(_, b, _)| b.block_id != id));
        assert!(silent, "the client tells of copies it ordered");
    }
}
