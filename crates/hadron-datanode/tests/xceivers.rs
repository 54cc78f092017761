//! What operators see of data connections: what is quiet and what is not, the table, latencies, bytes of answers, the end.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::*;
use hadron_datanode::DataNode;
use hadron_proto::hdfs::*;
use parking_lot::Mutex;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const OOB_RESTART: i32 = 8;

/// The process's log; the test runner gives each test its own process.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn start() -> Self {
        let captured = Self::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
            .with_writer(move || writer.clone());
        tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
        captured
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }

    /// Lines that somebody should look at.
    fn noise(&self) -> Vec<String> {
        let text = self.text();
        let loud = text
            .lines()
            .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
        loud.map(str::to_owned).collect()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn page(node: &DataNode, path: &str) -> String {
    let mut stream = TcpStream::connect(node.http_addr()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Lets about `time` pass: a read that nothing answers.
fn let_pass(peer: &mut Peer, time: Duration) {
    peer.0.set_read_timeout(Some(time)).unwrap();
    let nothing = peer.0.read(&mut [0]);
    assert!(nothing.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    peer.0.set_read_timeout(None).unwrap();
}

// covers: XC-05, XC-06, XC-28
#[test]
fn idle_listeners_peers_that_wait_and_peers_that_leave_make_no_noise() {
    let captured = Captured::start();
    let cluster = Cluster::start_with(
        1,
        &[
            ("dfs.datanode.socket.reuse.keepalive", "50"),
            // The time-out of accepted sockets, and so of the listening one.
            ("dfs.client.socket-timeout", "100"),
        ],
    );
    cluster.write(0, &block(1, 1001, 0), b"x");
    let at_start = captured.noise();
    for _ in 0..2 {
        // Nobody connects for longer than a time-out takes.
        assert!(cluster.connect(0).is_closed(), "no operation in time");
        let mut reused = cluster.connect(0);
        reused.read(&block(1, 1001, 0), 0, 1);
        assert!(reused.is_closed(), "no next operation in time");
        let mut leaving = cluster.connect(0);
        leaving.read(&block(1, 1001, 0), 0, 1);
        drop(leaving);
    }
    eventually("all gone", || cluster.nodes[0].xceiver_count() == 0);
    assert_eq!(captured.noise(), at_start);
    assert!(
        captured.text().contains("no operation in time, closing"),
        "in the debug log"
    );
    let metrics = cluster.nodes[0].metrics();
    assert_eq!((metrics.network_errors.get(), metrics.op_errors.get()), (0, 0));
}

// covers: XC-03
#[test]
fn a_reused_connection_has_the_normal_time_out_within_an_operation() {
    let cluster = Cluster::start_with(1, &[("dfs.datanode.socket.reuse.keepalive", "1000")]);
    cluster.write(0, &block(1, 1001, 0), b"x");
    let mut peer = cluster.connect(0);
    peer.read(&block(1, 1001, 0), 0, 1);
    // The next operation takes longer than a connection may be idle.
    assert_eq!(peer.open_write(&block(2, 1001, 0), vec![]).status, 0);
    let_pass(&mut peer, Duration::from_millis(1500));
    peer.send_packet(0, 0, b"late", false, false);
    assert_eq!(peer.ack().reply, [0]);
    peer.send_packet(1, 4, &[], true, false);
    assert_eq!(peer.ack().reply, [0]);
    assert_eq!(cluster.connect(0).read(&block(2, 1001, 0), 0, u64::MAX), b"late");
}

// covers: XC-08
#[test]
fn the_table_shows_running_transfers_with_their_bytes() {
    let cluster = Cluster::start(1);
    let data = bytes(200_000);
    let mut writer = cluster.connect(0);
    writer.open_write(&block(1, 1001, 0), vec![]);
    writer.send_packet(0, 0, &data[..64_512], false, false);
    assert_eq!(writer.ack().reply, [0]);
    let row = |peer: &Peer| -> Option<Vec<String>> {
        let name = peer.0.local_addr().unwrap().to_string();
        let page = page(&cluster.nodes[0], "/xceivers");
        assert!(page.contains("peer\tdoing\tops\tage_s\tbytes\n"), "{page}");
        let line = page.lines().find(|line| line.starts_with(&name))?;
        Some(line.split('\t').map(str::to_owned).collect())
    };
    let writing = row(&writer).unwrap();
    assert_eq!((&writing[1][..], &writing[2][..]), ("WRITE_BLOCK #1", "0"));
    let sent: u64 = writing[4].parse().unwrap();
    assert!((64_512..70_000).contains(&sent), "{sent}");
    writer.send_packet(1, 64_512, &data[64_512..], false, false);
    assert_eq!(writer.ack().reply, [0]);
    let more: u64 = row(&writer).unwrap()[4].parse().unwrap();
    assert!((200_000..210_000).contains(&more), "{more}");
    writer.send_packet(2, 200_000, &[], true, false);
    assert_eq!(writer.ack().reply, [0]);

    let mut reader = cluster.connect(0);
    reader.read(&block(1, 1001, 0), 0, u64::MAX);
    eventually("a parked reader", || {
        row(&reader).is_some_and(|row| row[1] == "Waiting for operation #2" && row[2] == "1")
    });
    let read: u64 = row(&reader).unwrap()[4].parse().unwrap();
    assert!((200_000..201_000).contains(&read), "{read}");
}

// covers: XC-09
#[test]
fn every_operation_has_a_histogram_of_its_own() {
    let cluster = Cluster::start(1);
    cluster.write(0, &block(1, 1001, 0), b"x");
    cluster.connect(0).read(&block(1, 1001, 0), 0, 1);
    let mut peer = cluster.connect(0);
    let header = BaseHeaderProto {
        block: client_header(&block(1, 1001, 1), "c").base_header.block,
        ..Default::default()
    };
    peer.op(
        85,
        &OpBlockChecksumProto {
            header,
            ..Default::default()
        },
    );
    assert_eq!(peer.response().status, 0);
    eventually("three operations", || {
        let text = page(&cluster.nodes[0], "/metrics");
        let count = |op: &str| {
            let name = format!("hadron_datanode_{op}_seconds_count ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.unwrap_or_else(|| panic!("{op}: {text}")).parse::<u64>().unwrap()
        };
        let counts = [
            "read_block",
            "write_block",
            "block_checksum",
            "transfer_block",
            "copy_block",
            "replace_block",
            "request_short_circuit_fds",
            "release_short_circuit_fds",
            "request_short_circuit_shm",
            "other",
        ]
        .map(count);
        counts == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    });
    let beans = page(&cluster.nodes[0], "/jmx");
    for name in [
        "ReadBlockOp",
        "WriteBlockOp",
        "BlockChecksumOp",
        "CopyBlockOp",
        "ReplaceBlockOp",
    ] {
        assert!(beans.contains(&format!("\"{name}NumOps\"")), "{name}");
    }
}

// covers: XC-21
#[test]
fn both_kinds_of_answers_are_javas_bytes() {
    let cluster = Cluster::start(1);
    cluster.write(0, &block(1, 1001, 0), &bytes(2000));
    // As `DataXceiver.writeSuccessWithChecksumInfo` of 2.7.3 and 3.3.4 writes it: SUCCESS, CRC32C of 512 bytes, offset 512.
    let with_checksums = [
        0x0e, 0x08, 0, 0x22, 0x0a, 0x0a, 0x05, 0x08, 2, 0x10, 0x80, 4, 0x10, 0x80, 4,
    ];
    let mut reader = cluster.connect(0);
    reader.op(81, &read_op(&block(1, 1001, 0), 700, 100));
    let mut answer = [0; 15];
    reader.0.read_exact(&mut answer).unwrap();
    assert_eq!(answer, with_checksums);
    // `DataTransferProtoUtil`'s plain status, here of a pipeline: SUCCESS, no bad link.
    let mut writer = cluster.connect(0);
    writer.op(80, &write_op(&block(2, 1001, 0), vec![]));
    let mut answer = [0; 5];
    writer.0.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [4, 0x08, 0, 0x12, 0]);
}

// covers: XC-26
#[test]
fn before_a_restart_nobody_new_is_taken_and_writers_are_told() {
    let mut cluster = Cluster::start(1);
    let mut writer = cluster.connect(0);
    writer.open_write(&block(1, 1001, 0), vec![]);
    writer.send_packet(0, 0, b"hello", false, false);
    assert_eq!(writer.ack().reply, [0]);
    let mut idle = cluster.connect(0);
    eventually("both are in", || cluster.nodes[0].xceiver_count() == 2);
    let node = cluster.nodes.remove(0);
    let address = node.xfer_addr();
    let ending = cluster.runtime.spawn(node.shutdown_for_restart());
    let told = writer.ack();
    assert_eq!((told.seqno, told.reply), (-2, vec![OOB_RESTART]));
    assert!(idle.is_closed(), "it waits for nothing");
    // While the writer is still connected, nobody else gets in.
    match TcpStream::connect(address) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        Ok(stream) => assert!(Peer(stream).is_closed()),
    }
    assert!(writer.is_closed());
    cluster.runtime.block_on(ending).unwrap();
}

// covers: XC-29
#[test]
fn connections_that_race_with_the_end_are_all_closed() {
    let mut cluster = Cluster::start(1);
    let node = cluster.nodes.remove(0);
    let address = node.xfer_addr();
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let over = over.clone();
            std::thread::spawn(move || {
                let mut peers = Vec::new();
                while !over.load(Ordering::Relaxed) && peers.len() < 200 {
                    match TcpStream::connect(address) {
                        // With nobody listening any more, a socket can be given the very port that it asks for, and meets itself.
                        Ok(stream) if stream.local_addr().unwrap() == address => {}
                        Ok(stream) => {
                            stream.set_read_timeout(Some(PATIENCE)).unwrap();
                            peers.push(Peer(stream));
                        }
                        Err(_) => break,
                    }
                }
                peers
            })
        })
        .collect();
    cluster.runtime.block_on(node.shutdown());
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        for mut peer in caller.join().unwrap() {
            // The kernel may not tell of the end of a handshake that the end of the listening socket cut short until asked.
            let _ = peer.0.write_all(&[0]);
            let (local, remote) = (peer.0.local_addr(), peer.0.peer_addr());
            assert!(
                peer.is_closed(),
                "left open after the end: {local:?} to {remote:?} of {address}"
            );
        }
    }
}
