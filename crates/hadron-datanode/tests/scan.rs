//! The block scanner's threads by a clock that the test moves: periods, suspects, cursors over restarts, the page.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::*;
use hadron_datanode::DataNode;
use hadron_env::{Clock, ManualClock, RealDisk};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

const HOUR: Duration = Duration::from_secs(3600);
const ERROR_CHECKSUM: i32 = 2;

struct Fixture {
    cluster: Cluster,
    clock: Arc<ManualClock>,
    dir: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let mut fixture = Self {
            cluster: Cluster::start(0),
            clock: Arc::new(ManualClock::default()),
            dir: PathBuf::new(),
        };
        fixture.dir = fixture.cluster.root().join("data");
        fixture.start();
        fixture
    }

    fn start(&mut self) {
        self.start_with(&[]);
    }

    fn start_with(&mut self, settings: &[(&str, &str)]) {
        let node = self
            .cluster
            .start_node_in(Arc::new(RealDisk), self.clock.clone(), &self.dir, settings);
        self.cluster.nodes.push(node);
    }

    fn stop(&mut self) {
        let node = self.cluster.nodes.pop().unwrap();
        self.cluster.runtime.block_on(node.shutdown());
    }

    fn node(&self) -> &DataNode {
        &self.cluster.nodes[0]
    }

    fn failures(&self) -> u64 {
        self.node().metrics().verification_failures.get()
    }

    /// Waits until the page says that the scanner came to the end of a round and waits for the next.
    fn wait_rounds(&self, count: u64) {
        eventually("the end of a round", || {
            let page = page(self.node());
            value(&page, "Block pool scans since restart") == count.to_string()
                && value(&page, "More blocks to scan in period") == "false"
                && !value(&page, "Hours until next block pool scan").is_empty()
        });
    }

    fn data_file(&self, id: i64) -> PathBuf {
        let pool = self.dir.join("current").join(POOL).join("current/finalized");
        pool.join(hadron_replica::layout::finalized_dir(hadron_types::BlockId(id)))
            .join(format!("blk_{id}"))
    }

    fn wait_bad(&self, count: usize) {
        self.cluster
            .namenode
            .wait("bad blocks", |script| (script.bad.len() >= count).then_some(()));
    }
}

fn page(node: &DataNode) -> String {
    let mut stream = std::net::TcpStream::connect(node.http_addr()).unwrap();
    write!(stream, "GET /blockScannerReport HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn value(page: &str, name: &str) -> String {
    let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.rsplit(": ").next().unwrap_or_default().trim().to_owned()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[1] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn each_period_has_its_round_and_the_cursor_survives_restarts() {
    let mut fixture = Fixture::new();
    fixture.wait_rounds(1);
    fixture.cluster.write(0, &block(1, 1001, 0), &bytes(5000));
    fixture.clock.advance(504 * HOUR);
    fixture.wait_rounds(2);
    assert_eq!(fixture.node().metrics().blocks_verified.get(), 1);
    let report = page(fixture.node());
    for (name, wanted) in [
        ("Bytes verified in last hour", "5000"),
        ("Blocks scanned in current period", "1"),
        ("Hours until next block pool scan", "504.000"),
        ("Last block scanned", "BP-7-127.0.0.1-1700000000000:blk_1"),
    ] {
        assert_eq!(value(&report, name), wanted, "{report}");
    }
    assert!(report.contains("Block Scanner Statistics\n\nBlock scanner information for volume DS-"));

    // A node that comes back goes on where it was: its round was over.
    flip(&fixture.data_file(1));
    fixture.stop();
    let cursor = fixture.dir.join("current").join(POOL).join("scanner.cursor");
    assert!(fs::read_to_string(&cursor).unwrap().contains("\"atEnd\" : true"));
    fixture.start();
    eventually("the wait for the next period", || {
        value(&page(fixture.node()), "Hours until next block pool scan") == "504.000"
    });
    assert_eq!(fixture.failures(), 0);
    fixture.clock.advance(504 * HOUR);
    fixture.wait_bad(1);
    fixture.wait_rounds(1);
    assert_eq!(fixture.failures(), 1);

    // What it left cannot be read any more: it begins anew.
    fixture.stop();
    let torn = fs::read(&cursor).unwrap();
    fs::write(&cursor, &torn[..torn.len() - 9]).unwrap();
    fixture.start();
    fixture.wait_bad(2);
    fixture.wait_rounds(1);
    assert_eq!(fixture.failures(), 1);
}

#[test]
fn a_reader_that_saw_a_bad_checksum_has_the_replica_verified() {
    let fixture = Fixture::new();
    let damaged = block(1, 1001, 0);
    fixture.cluster.write(0, &damaged, &bytes(5000));
    fixture.wait_rounds(1);
    let read_and_complain = || {
        let mut peer = fixture.cluster.connect(0);
        peer.op(81, &read_op(&damaged, 0, 5000));
        peer.response();
        let mut last = false;
        while !last {
            last = peer.packet().header.last_packet_in_block;
        }
        peer.status(ERROR_CHECKSUM);
        drop(peer);
        eventually("the reader is gone", || fixture.node().xceiver_count() == 0);
    };
    read_and_complain();
    eventually("a look at a good one", || {
        fixture.node().metrics().blocks_verified.get() == 1
    });
    flip(&fixture.data_file(1));
    // It was looked at just now: the next complaint is not followed, one ten minutes later is.
    read_and_complain();
    fixture.clock.advance(Duration::from_secs(600));
    read_and_complain();
    fixture.wait_bad(1);
    eventually("one failure", || fixture.failures() == 1);
    assert_eq!(fixture.node().metrics().blocks_verified.get(), 1);
}

#[test]
fn what_was_read_within_the_period_can_be_left_out() {
    let mut fixture = Fixture::new();
    fixture.cluster.write(0, &block(1, 1001, 0), b"read lately");
    fixture.cluster.write(0, &block(2, 1001, 0), b"long ago");
    fixture.stop();
    let now = UNIX_EPOCH + Duration::from_millis(fixture.clock.now().0) + 504 * HOUR;
    for (id, age) in [(1, HOUR), (2, 505 * HOUR)] {
        let file = fs::File::options().write(true).open(fixture.data_file(id)).unwrap();
        file.set_times(fs::FileTimes::new().set_accessed(now - age)).unwrap();
    }
    fixture.start_with(&[("dfs.block.scanner.skip.recent.accessed", "true")]);
    fixture.clock.advance(504 * HOUR);
    fixture.wait_rounds(1);
    assert_eq!(fixture.node().metrics().blocks_verified.get(), 1);
    assert_eq!(
        value(&page(fixture.node()), "Last block scanned"),
        format!("{POOL}:blk_2")
    );
}

#[test]
fn scanners_can_be_off() {
    let cluster = Cluster::start_with(
        1,
        &[
            ("dfs.datanode.scan.period.hours", "-1"),
            ("dfs.datanode.directoryscan.interval", "-1"),
        ],
    );
    let text = page(&cluster.nodes[0]);
    assert!(text.contains("Periodic block scanner is not running."), "{text}");
    assert!(!cluster.runtime.block_on(cluster.nodes[0].scan_blocks()));
    assert!(!cluster.runtime.block_on(cluster.nodes[0].scan_directories()));
}
