//! Volumes that break, fill up or hang under a DataNode: what its NameNode hears and what clients see.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::*;
use hadron_datanode::{DataNode, Ending};
use hadron_env::RealDisk;
use hadron_env::disk::{DiskCall, DiskSpace, FaultyDisk};
use hadron_net::{RpcProtocol, RpcServer, RpcServerOptions};
use hadron_proto::datanode::*;
use hadron_proto::hdfs::*;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const RECEIVED: i32 = 2;
const DELETED: i32 = 3;

/// A cluster of one DataNode with two volumes on a disk with faults.
struct Bench {
    cluster: Cluster,
    disk: FaultyDisk,
    dirs: [TempDir; 2],
}

impl Bench {
    fn new(settings: &[(&str, &str)]) -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let disk = FaultyDisk::new(Arc::new(RealDisk));
        let mut cluster = Cluster::start(0);
        let both = format!("{},[SSD]{}", dirs[0].path().display(), dirs[1].path().display());
        let mut all = vec![
            ("dfs.datanode.data.dir", both.as_str()),
            ("dfs.datanode.disk.check.min.gap", "0"),
        ];
        all.extend(settings);
        let node = cluster.start_node_on(Arc::new(disk.clone()), &PathBuf::new(), &all);
        cluster.nodes.push(node);
        Self { cluster, disk, dirs }
    }

    fn node(&self) -> &DataNode {
        &self.cluster.nodes[0]
    }

    /// Writes a block to the volume of a storage type.
    fn write(&self, id: i64, kind: StorageTypeProto, data: &[u8]) {
        let mut peer = self.cluster.connect(0);
        assert_eq!(open(&mut peer, id, kind).status, 0);
        peer.send_packet(0, 0, data, false, false);
        peer.send_packet(1, data.len() as u64, &[], true, false);
        for _ in 0..2 {
            assert_eq!(peer.ack().reply, [0]);
        }
        self.cluster.namenode.wait_news(&self.cluster.uuid(0), id, RECEIVED);
    }

    fn beat(&self, what: &str, look: impl Fn(&HeartbeatRequestProto) -> bool) -> HeartbeatRequestProto {
        self.cluster
            .namenode
            .wait(what, |script| script.last_beat.clone().filter(|beat| look(beat)))
    }
}

fn open(peer: &mut Peer, id: i64, kind: StorageTypeProto) -> BlockOpResponseProto {
    let op = OpWriteBlockProto {
        storage_type: Some(kind as i32),
        ..write_op(&block(id, 1001, 1 << 20), Vec::new())
    };
    peer.op(80, &op);
    peer.response()
}

fn fetch(addr: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

fn file_url(dir: &Path) -> String {
    format!("file:{}", dir.display())
}

#[test]
fn a_broken_volume_is_reported_and_the_other_goes_on() {
    let bench = Bench::new(&[("dfs.datanode.failed.volumes.tolerated", "1")]);
    let nn = &bench.cluster.namenode;
    bench.write(1, StorageTypeProto::Disk, b"one");
    bench.write(2, StorageTypeProto::Ssd, b"two");
    let both = bench.beat("both storages", |beat| beat.reports.len() == 2);
    assert_eq!((both.failed_volumes, &both.volume_failure_summary), (Some(0), &None));
    let kinds = both
        .reports
        .iter()
        .map(|report| report.storage.as_ref().unwrap().storage_type);
    assert_eq!(kinds.collect::<Vec<_>>(), [Some(1), Some(2)]);
    nn.wait("a full report", |script| script.reports.first().cloned());
    let reports = nn.with(|script| script.reports.len());

    bench.disk.fail(bench.dirs[0].path(), &[], EIO);
    let mut peer = bench.cluster.connect(0);
    peer.op(81, &read_op(&block(1, 1001, 0), 0, 3));
    assert_eq!(peer.response().status, 1, "the reader is sent elsewhere");
    let beat = bench.beat("a failed volume", |beat| beat.failed_volumes == Some(1));
    assert_eq!(beat.reports.len(), 1, "a failed storage is not among the others");
    let summary = beat.volume_failure_summary.unwrap();
    assert_eq!(summary.failed_storage_locations, [file_url(bench.dirs[0].path())]);
    assert!(summary.last_volume_failure_date > 0 && summary.estimated_capacity_lost_total > 0);
    let error = nn.wait("an error report", |script| script.errors.first().cloned());
    assert_eq!(error.error_code, 1, "DISK_ERROR");
    assert!(error.msg.contains(&file_url(bench.dirs[0].path())), "{}", error.msg);
    let report = nn.wait("a report of what is left", |script| {
        script.reports.get(reports).cloned()
    });
    assert_eq!(report.reports.len(), 1);
    assert_eq!(bench.cluster.connect(0).read(&block(2, 1001, 0), 0, 3), b"two");
    bench.write(3, StorageTypeProto::Ssd, b"three");
    // The type that is gone is refused, not quietly replaced.
    let refused = open(&mut bench.cluster.connect(0), 4, StorageTypeProto::Disk);
    assert_eq!(refused.status, 1);
    assert!(refused.message.unwrap().ends_with("No more available volumes"));
    let jmx = fetch(
        bench.node().http_addr(),
        "/jmx?qry=Hadoop:service=DataNode,name=FSDatasetState*",
    );
    assert!(
        jmx.contains("\"NumFailedVolumes\":1") && jmx.contains(&bench.cluster.uuid(0)),
        "{jmx}"
    );
    let info = fetch(bench.node().http_addr(), "/jmx?qry=*name=DataNodeInfo");
    let dir = bench.dirs[1].path().display();
    let row = format!("\\\"{dir}\\\":{{\\\"freeSpace\\\":");
    assert!(
        info.contains(&row) && info.contains("storageType\\\":\\\"SSD\\\""),
        "{info}"
    );
    assert_eq!(bench.node().metrics().volume_failures.get(), 1);
}

#[test]
fn one_failure_too_many_ends_the_datanode_with_a_reason() {
    let bench = Bench::new(&[]);
    let nn = &bench.cluster.namenode;
    assert!(fetch(bench.node().http_addr(), "/health").starts_with("HTTP/1.1 200"));
    bench.disk.fail(bench.dirs[1].path(), &[], EIO);
    bench.node().store().volumes()[1].suspect();
    let ending = bench
        .cluster
        .runtime
        .block_on(async { tokio::time::timeout(PATIENCE, bench.node().ended()).await.unwrap() });
    let Ending::Failed(reason) = ending else {
        panic!("{ending:?}");
    };
    assert!(reason.contains("failed.volumes.tolerated is 0"), "{reason}");
    let error = nn.with(|script| script.errors.first().cloned()).unwrap();
    assert_eq!(error.error_code, 3, "FATAL_DISK_ERROR, sent before the end");
    assert!(fetch(bench.node().http_addr(), "/health").starts_with("HTTP/1.1 503"));
}

#[test]
fn a_full_volume_refuses_clearly_and_serves_again_with_room() {
    let bench = Bench::new(&[]);
    let kind = StorageTypeProto::Disk;
    let few = DiskSpace {
        capacity: 100 << 20,
        free: 1 << 20,
        available: 1 << 20,
    };
    bench.disk.set_space(few);
    bench.beat("little room", |beat| {
        beat.reports.iter().all(|report| report.remaining.unwrap() <= 1 << 20)
    });
    let refused = open(&mut bench.cluster.connect(0), 1, kind);
    assert_eq!((refused.status, refused.first_bad_link.as_deref()), (1, Some("")));
    let text = refused.message.unwrap();
    assert!(
        text.starts_with("org.apache.hadoop.util.DiskChecker$DiskOutOfSpaceException: Out of space: The volume with"),
        "{text}"
    );
    bench.disk.heal();
    bench.beat("room", |beat| {
        beat.reports.iter().all(|report| report.remaining.unwrap() > 1 << 20)
    });
    // The disk fills up while a block is written; others on the other volume do not mind.
    let mut torn = bench.cluster.connect(0);
    assert_eq!(open(&mut torn, 2, kind).status, 0);
    torn.send_packet(0, 0, &bytes(1000), false, false);
    assert_eq!(torn.ack().reply, [0]);
    bench.disk.fail(bench.dirs[0].path(), &[DiskCall::Write], ENOSPC);
    torn.send_packet(1, 1000 - 1000 % 512, &bytes(2000), false, false);
    assert!(torn.is_closed());
    bench.write(3, StorageTypeProto::Ssd, b"three");
    bench.disk.heal();
    bench.write(4, kind, b"four");
    let beat = bench.beat("a heartbeat", |_| true);
    assert_eq!(beat.failed_volumes, Some(0), "a full volume is no failed one");
    eventually("the room held to be given back", || {
        bench.node().store().volumes().iter().all(|volume| volume.held() == 0)
    });
}

#[test]
fn news_of_a_deletion_never_overtake_those_of_a_new_copy() {
    let bench = Bench::new(&[]);
    let nn = &bench.cluster.namenode;
    bench.write(1, StorageTypeProto::Disk, b"old");
    bench.write(2, StorageTypeProto::Disk, b"other");
    let (open_gate, gate) = std::sync::mpsc::channel::<()>();
    let gate = parking_lot::Mutex::new(gate);
    bench.disk.judge(move |call, path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if call == DiskCall::Remove && name.starts_with("deleted_") && name.ends_with("blk_1") {
            let _ = gate.lock().recv_timeout(PATIENCE);
        }
        Ok(())
    });
    let blocks = [1, 2].map(|id| BlockProto {
        block_id: id,
        gen_stamp: 1001,
        num_bytes: Some(3),
    });
    let order = BlockCommandProto {
        action: 2,
        block_pool_id: POOL.into(),
        blocks: blocks.to_vec(),
        ..Default::default()
    };
    let uuid = bench.cluster.uuid(0);
    nn.with(|script| script.commands.push_back((uuid.clone(), block_command(order))));
    eventually("the block to be out of sight", || {
        bench.node().store().state(&block(1, 1001, 0)).is_none()
            && bench.node().store().state(&block(2, 1001, 0)).is_none()
    });
    nn.with(|script| script.news.clear());
    // A copy comes back while the old files are still being removed.
    let mut copied = || {
        let mut peer = bench.cluster.connect(0);
        let op = OpWriteBlockProto {
            header: client_header(&block(1, 1001, 3), ""),
            ..write_op(&block(1, 1001, 3), Vec::new())
        };
        peer.op(80, &op);
        peer.offer_packet(0, 0, b"new", false);
        peer.offer_packet(1, 3, &[], true);
        peer.is_closed();
        bench
            .node()
            .store()
            .has_reported(&POOL.into(), hadron_types::BlockId(1))
    };
    eventually("the copy", &mut copied);
    nn.wait_news(&uuid, 1, RECEIVED);
    drop(open_gate);
    // The other block's deletion comes behind: by then the first one's would have been told.
    nn.wait_news(&uuid, 2, DELETED);
    eventually("the end of the deletions", || {
        bench.node().store().pending_deletions() == 0
    });
    let stale = nn.with(|script| {
        script
            .news
            .iter()
            .any(|(_, block, kind)| block.block_id == 1 && *kind == DELETED)
    });
    assert!(!stale, "the old replica's end was told behind the new one's arrival");
    assert_eq!(bench.cluster.connect(0).read(&block(1, 1001, 0), 0, 3), b"new");
}

#[test]
fn lifelines_go_out_while_heartbeats_fail() {
    let holder = Cluster::start(0);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let port: Vec<Arc<dyn RpcProtocol>> = vec![Arc::new(LifelinePort(holder.namenode.clone()))];
    let server = holder
        .runtime
        .block_on(RpcServer::bind(any, RpcServerOptions::default(), port))
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let address = server.local_addr().to_string();
    let node = holder.start_node(
        dir.path(),
        &[
            ("dfs.namenode.lifeline.rpc-address", address.as_str()),
            ("dfs.datanode.lifeline.interval.seconds", "2"),
        ],
    );
    let nn = &holder.namenode;
    nn.wait("heartbeats", |script| (script.heartbeats > 3).then_some(()));
    assert!(nn.with(|script| script.lifelines.is_empty()), "heartbeats do");
    nn.with(|script| script.refuse_beats = true);
    let lifeline = nn.wait("a lifeline", |script| script.lifelines.first().cloned());
    assert_eq!(lifeline.registration.datanode_id.datanode_uuid, node.uuid().as_str());
    assert_eq!(lifeline.reports.len(), 1);
    nn.with(|script| script.refuse_beats = false);
    let before = nn.with(|script| script.heartbeats);
    nn.wait("heartbeats again", |script| (script.heartbeats > before).then_some(()));
}

#[test]
fn an_orderly_end_lets_transfers_finish_and_tells_of_them() {
    let mut bench = Bench::new(&[]);
    let mut peer = bench.cluster.connect(0);
    assert_eq!(open(&mut peer, 1, StorageTypeProto::Disk).status, 0);
    peer.send_packet(0, 0, b"abc", false, false);
    assert_eq!(peer.ack().reply, [0]);
    let uuid = bench.cluster.uuid(0);
    let node = bench.cluster.nodes.remove(0);
    let xfer = node.xfer_addr();
    let stopping = bench.cluster.runtime.spawn(node.shutdown());
    eventually("no more connections", || {
        let probe = TcpStream::connect(xfer);
        probe.map_or(true, |stream| Peer(stream).is_closed())
    });
    peer.send_packet(1, 3, &[], true, false);
    assert_eq!(peer.ack().reply, [0]);
    bench.cluster.namenode.wait_news(&uuid, 1, RECEIVED);
    bench.cluster.runtime.block_on(stopping).unwrap();
    let used = bench.dirs[0].path().join("current").join(POOL).join("current/dfsUsed");
    let text = std::fs::read_to_string(used).unwrap();
    let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().unwrap()).collect();
    assert_eq!((numbers.len(), numbers[0]), (2, 3 + 7 + 4), "{text}");
}
