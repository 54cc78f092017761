//! Caching strategies and syncs: what configuration and client say reaches the files of the replica, before the ack.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::*;
use hadron_env::disk::{DiskCall, FaultyDisk, PageHint, RealDisk};
use hadron_proto::hdfs::*;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

const MB: u64 = 1024 * 1024;
const PART: usize = 64512;

fn strategy(drop_behind: Option<bool>, readahead: Option<i64>) -> Option<CachingStrategyProto> {
    Some(CachingStrategyProto { drop_behind, readahead })
}

/// A node whose files tell what hints they get.
fn node(settings: &[(&str, &str)]) -> (Cluster, FaultyDisk) {
    let mut cluster = Cluster::start(0);
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let dir = cluster.root().join("data");
    let node = cluster.start_node_on(Arc::new(disk.clone()), &dir, settings);
    cluster.dirs.push(dir);
    cluster.nodes.push(node);
    (cluster, disk)
}

/// Writes `len` bytes of block `id` and gives the hints its data file got.
fn write(
    cluster: &Cluster,
    disk: &FaultyDisk,
    id: i64,
    caching: Option<CachingStrategyProto>,
    len: u64,
) -> Vec<(PageHint, u64, u64)> {
    let before = disk.hints().len();
    let mut op = write_op(&block(id, 1001, 0), vec![]);
    op.caching_strategy = caching;
    let mut peer = cluster.connect(0);
    peer.op(80, &op);
    assert_eq!(peer.response().status, 0);
    let data = bytes(PART);
    let (mut seqno, mut at) = (0, 0);
    while at < len {
        let part = &data[..PART.min((len - at) as usize)];
        peer.send_packet(seqno, at, part, false, false);
        assert_eq!(peer.ack().reply, [0]);
        seqno += 1;
        at += part.len() as u64;
    }
    peer.send_packet(seqno, at, &[], true, false);
    assert_eq!(peer.ack().reply, [0]);
    hints_since(disk, before, id)
}

fn read(
    cluster: &Cluster,
    disk: &FaultyDisk,
    id: i64,
    caching: Option<CachingStrategyProto>,
    len: u64,
) -> Vec<(PageHint, u64, u64)> {
    let before = disk.hints().len();
    let op = OpReadBlockProto {
        caching_strategy: caching,
        ..read_op(&block(id, 1001, 0), 0, len)
    };
    let mut peer = cluster.connect(0);
    peer.op(81, &op);
    assert_eq!(peer.response().status, 0);
    peer.packets(format());
    peer.status(6);
    hints_since(disk, before, id)
}

fn hints_since(disk: &FaultyDisk, before: usize, id: i64) -> Vec<(PageHint, u64, u64)> {
    let all = disk.hints().split_off(before);
    let name = format!("blk_{id}");
    all.into_iter()
        .filter(|(path, ..)| path.file_name().is_some_and(|found| found.to_string_lossy() == name))
        .map(|(_, hint, from, len)| (hint, from, len))
        .collect()
}

/// covers: WP-43
#[test]
fn writes_are_forgotten_or_begun_as_configuration_and_client_say() {
    const DROP: &str = "dfs.datanode.drop.cache.behind.writes";
    const SYNC: &str = "dfs.datanode.sync.behind.writes";
    let len = 20 * MB;
    let (cluster, disk) = node(&[]);
    assert_eq!(write(&cluster, &disk, 1, None, len), [], "nothing is asked for");
    let dropped = write(&cluster, &disk, 2, strategy(Some(true), None), len);
    let (last, while_writing) = dropped.split_last().unwrap();
    assert_eq!(*last, (PageHint::DontNeed, 0, len));
    // Window by window begun; what is still being written stays cached until the end.
    let mut begun = 0;
    for (hint, from, count) in while_writing {
        assert_eq!(*hint, PageHint::DontNeed);
        if *from == begun {
            begun += count;
        } else {
            assert!(*from == 0 && count + 8 * MB <= begun, "{dropped:?}");
        }
    }
    assert!(while_writing.len() >= 3 && begun > 16 * MB, "{dropped:?}");
    drop(cluster);

    let (cluster, disk) = node(&[(DROP, "true")]);
    assert!(!write(&cluster, &disk, 1, None, len).is_empty());
    assert_eq!(
        write(&cluster, &disk, 2, strategy(Some(false), None), len),
        [],
        "the client's word counts"
    );
    drop(cluster);

    let (cluster, disk) = node(&[(SYNC, "true")]);
    let begun = write(&cluster, &disk, 1, None, len);
    // Window by window, each byte once.
    let mut at = 0;
    for (hint, from, len) in &begun {
        assert_eq!((*hint, *from), (PageHint::DontNeed, at), "{begun:?}");
        at += len;
    }
    assert_eq!((at, begun.len()), (len, 3), "{begun:?}");
}

/// covers: WP-43
#[test]
fn reads_are_begun_ahead_and_forgotten_as_configuration_and_client_say() {
    let len = 10 * MB;
    let ahead = |hints: &[(PageHint, u64, u64)]| -> u64 {
        let begun = hints.iter().filter(|(hint, ..)| *hint == PageHint::WillNeed);
        begun.map(|(.., len)| *len).sum()
    };
    let forgotten = |hints: &[(PageHint, u64, u64)]| -> u64 {
        let all = hints.iter().filter(|(hint, ..)| *hint == PageHint::DontNeed);
        all.map(|(.., len)| *len).sum()
    };
    let (cluster, disk) = node(&[]);
    write(&cluster, &disk, 1, None, len);
    let usual = read(&cluster, &disk, 1, None, len);
    assert_eq!((ahead(&usual), forgotten(&usual)), (len, 0));
    assert!(
        usual.iter().all(|(_, _, len)| *len <= 4 * MB),
        "dfs.datanode.readahead.bytes: {usual:?}"
    );
    assert_eq!(
        read(&cluster, &disk, 1, None, 100_000),
        [],
        "a short one is not worth it"
    );
    let asked = read(&cluster, &disk, 1, strategy(Some(true), Some(MB as i64)), 100_000);
    assert!(ahead(&asked) >= 100_000 && forgotten(&asked) >= 100_000, "{asked:?}");
    let none = read(&cluster, &disk, 1, strategy(None, Some(0)), len);
    assert_eq!(none, []);
    drop(cluster);

    let (cluster, disk) = node(&[
        ("dfs.datanode.drop.cache.behind.reads", "true"),
        ("dfs.datanode.readahead.bytes", "0"),
    ]);
    write(&cluster, &disk, 1, None, len);
    let dropped = read(&cluster, &disk, 1, None, len);
    assert_eq!((ahead(&dropped), forgotten(&dropped)), (0, len));
    assert_eq!(read(&cluster, &disk, 1, strategy(Some(false), None), len), []);
}

/// covers: WP-42, WP-46
#[test]
fn a_sync_is_on_the_disk_when_it_is_acked() {
    // The block scanner syncs, too.
    let (cluster, disk) = node(&[("dfs.datanode.scan.period.hours", "-1")]);
    let synced: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
    let log = synced.clone();
    disk.judge(move |call, path| {
        if call == DiskCall::Sync {
            log.lock().push(path.to_owned());
        }
        Ok(())
    });
    // Names of what was synced since the last call.
    let fresh = || -> Vec<String> {
        let paths = std::mem::take(&mut *synced.lock());
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        paths.iter().map(name).collect()
    };
    let data = bytes(3000);
    let mut peer = cluster.connect(0);
    peer.open_write(&block(1, 1001, 0), vec![]);
    let mut send = |seqno: i64, offset: u64, until: usize, last: bool, sync: bool| {
        peer.send_packet(seqno, offset, &data[offset as usize..until], last, sync);
        assert_eq!(peer.ack().reply, [0]);
    };
    send(0, 0, 700, false, false);
    assert_eq!(fresh(), [""; 0], "hflush asks for nothing");
    send(1, 512, 1300, false, true);
    assert_eq!(fresh(), ["blk_1", "blk_1_1001.meta", "rbw"], "hsync");
    send(2, 1300, 1300, false, true);
    assert_eq!(fresh(), [""; 0], "nothing new to sync");
    send(3, 1024, 2000, false, false);
    let guarded = ["blk_1", "blk_1_1001.meta"];
    assert_eq!(
        fresh(),
        guarded,
        "a new checksum of a chunk with synced bytes waits for its data"
    );
    send(4, 1536, 2048, false, false);
    assert_eq!(fresh(), [""; 0]);
    send(5, 2048, 3000, false, true);
    assert_eq!(fresh(), ["blk_1", "blk_1_1001.meta"]);
    send(6, 3000, 3000, true, true);
    assert_eq!(
        fresh(),
        ["finalized", "subdir0", "subdir0", "rbw"],
        "the place of the finished block"
    );
    // SYNC_BLOCK alone: all at the end.
    let mut peer = cluster.connect(0);
    peer.open_write(&block(2, 1001, 0), vec![]);
    peer.send_packet(0, 0, &data, false, false);
    peer.send_packet(1, 3000, &[], true, true);
    assert_eq!((peer.ack().reply, peer.ack().reply), (vec![0], vec![0]));
    let all = fresh();
    assert_eq!(all[..3], ["blk_2", "blk_2_1001.meta", "rbw"]);
    assert_eq!(all[3..], ["finalized", "subdir0", "subdir0", "rbw"]);
    // Neither: nothing.
    let mut peer = cluster.connect(0);
    peer.open_write(&block(3, 1001, 0), vec![]);
    peer.send_packet(0, 0, &data, false, false);
    peer.send_packet(1, 3000, &[], true, false);
    assert_eq!((peer.ack().reply, peer.ack().reply), (vec![0], vec![0]));
    assert_eq!(fresh(), [""; 0]);
}
