//! Replicas locked in memory on the NameNode's orders: what clients see in their slots, and what is reported.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use hadron_proto::datanode::block_id_command_proto::Action;
use hadron_proto::datanode::{BlockIdCommandProto, DatanodeCommandProto};
use hadron_proto::hdfs::*;
use hadron_shm::{Segment, receive_descriptors};
use hadron_types::ExtendedBlock;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use tempfile::TempDir;

const FDS: u8 = 87;
const SHM: u8 = 89;
const SUCCESS: i32 = Status::Success as i32;
/// Of what a node may lock; below every limit of a process.
const CAPACITY: u64 = 40_960;

/// One DataNode with a Unix socket and room in memory.
struct Local {
    cluster: Cluster,
    path: PathBuf,
    _home: TempDir,
}

impl Local {
    fn start(more: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("dn._PORT").display().to_string();
        let capacity = CAPACITY.to_string();
        let mut all = vec![
            ("dfs.client.read.shortcircuit", "true"),
            ("dfs.domain.socket.path", path.as_str()),
            ("hadron.domain.socket.check-directories", "false"),
            ("dfs.datanode.max.locked.memory", capacity.as_str()),
            ("dfs.cachereport.intervalMsec", "50"),
            ("dfs.datanode.cache.revocation.polling.ms", "20"),
        ];
        all.extend(more);
        let cluster = Cluster::start_with(1, &all);
        let path = home.path().join(format!("dn.{}", cluster.nodes[0].xfer_addr().port()));
        Self {
            cluster,
            path,
            _home: home,
        }
    }

    fn written(&self, id: i64, data: &[u8]) -> ExtendedBlock {
        let block = block(id, 1001, data.len() as u64);
        self.cluster.write(0, &block, data);
        block
    }

    fn order(&self, action: Action, ids: &[u64]) {
        let node = self.cluster.uuid(0);
        let order = DatanodeCommandProto {
            cmd_type: 8,
            blk_id_cmd: Some(BlockIdCommandProto {
                action: action as i32,
                block_pool_id: POOL.into(),
                block_ids: ids.to_vec(),
            }),
            ..Default::default()
        };
        self.cluster
            .namenode
            .with(|script| script.commands.push_back((node, order)));
    }

    /// Waits until the node reports exactly these blocks.
    fn wait_reported(&self, ids: &[u64]) {
        let node = self.cluster.uuid(0);
        self.cluster.namenode.wait(&format!("a report of {ids:?}"), |script| {
            let mut reported = script.cached.get(&node)?.clone();
            reported.sort_unstable();
            (reported == ids).then_some(())
        });
    }

    fn used(&self) -> u64 {
        self.cluster.nodes[0].cache().used
    }

    /// A segment whose slot 0 stands for `block`, with the connections that keep it.
    fn slot_of(&self, block: &ExtendedBlock) -> (Segment, Vec<Peer>, Vec<OwnedFd>) {
        let mut watched = Peer::local(&self.path);
        let request = ShortCircuitShmRequestProto {
            client_name: "DFSClient_test_1".into(),
            trace_info: None,
        };
        watched.op(SHM, &request);
        let answer: ShortCircuitShmResponseProto = watched.message();
        let descriptor = passed(&watched, 1).pop().unwrap();
        let segment = Segment::open(descriptor, "x").unwrap();
        segment.word(0).unwrap().reset_valid();
        let mut peer = Peer::local(&self.path);
        let request = OpRequestShortCircuitAccessProto {
            header: read_op(block, 0, 0).header.base_header,
            max_version: 1,
            slot_id: Some(ShortCircuitShmSlotProto {
                shm_id: answer.id.unwrap(),
                slot_idx: 0,
            }),
            supports_receipt_verification: Some(true),
        };
        peer.op(FDS, &request);
        assert_eq!(peer.response().status, SUCCESS);
        let files = passed(&peer, 2);
        peer.0.write_all(&[0]).unwrap();
        (segment, vec![watched, peer], files)
    }
}

fn passed(peer: &Peer, count: usize) -> Vec<OwnedFd> {
    let (len, descriptors) = receive_descriptors(&peer.0, &mut [9]).unwrap();
    assert_eq!((len, descriptors.len()), (1, count));
    descriptors
}

// covers: SC-12
#[test]
fn a_cached_replica_may_be_anchored_and_is_reported() {
    let local = Local::start(&[]);
    let written = local.written(1, &bytes(10_000));
    let (early, _connections, _files) = local.slot_of(&written);
    assert!(!early.word(0).unwrap().is_anchorable());
    local.wait_reported(&[]);
    local.order(Action::Cache, &[1]);
    eventually("anchorable", || early.word(0).unwrap().is_anchorable());
    local.wait_reported(&[1]);
    assert_eq!(local.used(), 12_288, "whole pages");
    let late = local.slot_of(&written);
    assert!(late.0.word(0).unwrap().is_anchorable(), "a slot of later on as well");
    let (capacity, used) = local.cluster.namenode.wait("a heartbeat with figures", |script| {
        let beat = script.last_beat.as_ref()?;
        (beat.cache_used() > 0).then(|| (beat.cache_capacity(), beat.cache_used()))
    });
    assert_eq!((capacity, used), (CAPACITY, 12_288));
    // A second order changes nothing.
    local.order(Action::Cache, &[1]);
    local.order(Action::Uncache, &[1]);
    local.wait_reported(&[]);
    assert_eq!(local.used(), 0);
    assert!(!early.word(0).unwrap().is_anchorable());
}

// covers: SC-15
#[test]
fn an_anchor_keeps_a_replica_in_memory_and_none_is_added() {
    let local = Local::start(&[]);
    let written = local.written(1, &bytes(5_000));
    let (segment, _connections, _files) = local.slot_of(&written);
    local.order(Action::Cache, &[1]);
    eventually("anchorable", || segment.word(0).unwrap().is_anchorable());
    local.wait_reported(&[1]);
    assert!(segment.word(0).unwrap().add_anchor());
    local.order(Action::Uncache, &[1]);
    local.wait_reported(&[]);
    assert_eq!(local.used(), 8192, "still locked");
    assert!(!segment.word(0).unwrap().add_anchor());
    segment.word(0).unwrap().remove_anchor().unwrap();
    eventually("given back", || local.used() == 0);
}

#[test]
fn a_client_that_keeps_its_anchor_too_long_is_not_waited_for() {
    let local = Local::start(&[("dfs.datanode.cache.revocation.timeout.ms", "100")]);
    let written = local.written(1, &bytes(5_000));
    let (segment, _connections, _files) = local.slot_of(&written);
    local.order(Action::Cache, &[1]);
    eventually("anchorable", || segment.word(0).unwrap().is_anchorable());
    assert!(segment.word(0).unwrap().add_anchor());
    local.order(Action::Uncache, &[1]);
    eventually("given back", || local.used() == 0);
    assert!(segment.word(0).unwrap().is_anchored());
}

#[test]
fn only_whole_finished_replicas_that_fit_are_cached() {
    let local = Local::start(&[]);
    for id in 1..=4 {
        local.written(id, &bytes(20_000));
    }
    let dir = &local.cluster.dirs[0];
    damage(dir, 1);
    // 1 is damaged, 9 is not here, one of 2, 3 and 4 has no room.
    local.order(Action::Cache, &[1, 9]);
    eventually("given up", || local.cluster.nodes[0].cache().failed_to_cache == 1);
    assert_eq!(local.used(), 0);
    local.order(Action::Cache, &[2, 3, 4]);
    local.wait_reported(&[2, 3]);
    assert_eq!(local.used(), CAPACITY);
    assert_eq!(local.cluster.nodes[0].cache().failed_to_cache, 2);
}

/// Changes a byte of a replica's data file behind the node's back.
fn damage(dir: &std::path::Path, id: i64) {
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.file_name().unwrap().to_str() == Some(format!("blk_{id}").as_str()) {
                let mut data = std::fs::read(&path).unwrap();
                data[7_000] ^= 1;
                std::fs::write(&path, data).unwrap();
                return;
            }
        }
    }
    panic!("no file of block {id}");
}

#[test]
fn a_deleted_replica_is_given_back() {
    let local = Local::start(&[]);
    let written = local.written(1, &bytes(5_000));
    local.order(Action::Cache, &[1]);
    local.wait_reported(&[1]);
    let node = local.cluster.uuid(0);
    let order = hadron_proto::datanode::BlockCommandProto {
        action: 2,
        block_pool_id: POOL.into(),
        blocks: vec![(&written.block).into()],
        ..Default::default()
    };
    local
        .cluster
        .namenode
        .with(|script| script.commands.push_back((node, block_command(order))));
    local.wait_reported(&[]);
    eventually("given back", || local.used() == 0);
}
