//! Throughput and CPU of one DataNode's data path on loopback, one JSON line per run.
//!
//! A stub NameNode and one to three DataNodes share the process with a minimal client, so CPU seconds count both ends;
//! compare runs, not absolute figures. Usage: `loopback [--nodes N] [--mib M] [--engine copy|sendfile] [--rounds R]`.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a measuring tool

#[path = "../tests/common/mod.rs"]
mod common;

use common::*;
use hadron_datanode::{DataNode, SendEngineKind, Settings};
use hadron_env::config::Configuration;
use std::io::{Read, Write};
use std::time::Instant;

fn argument(name: &str, default: &str) -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).unwrap_or_else(|| default.to_owned())
}

/// User and system CPU seconds of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn measure(what: &str, mib: usize, work: impl FnOnce()) {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    work();
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let gib = mib as f64 / 1024.0;
    println!(
        "{{\"run\":\"{what}\",\"mib\":{mib},\"mib_per_s\":{:.0},\"cpu_s_per_gib\":{:.3}}}",
        mib as f64 / wall,
        cpu / gib
    );
}

fn main() {
    let nodes: usize = argument("--nodes", "1").parse().unwrap();
    let mib: usize = argument("--mib", "128").parse().unwrap();
    let rounds: usize = argument("--rounds", "4").parse().unwrap();
    let engine = match argument("--engine", "copy").as_str() {
        "sendfile" => SendEngineKind::Sendfile,
        _ => SendEngineKind::Copy,
    };
    let mut cluster = Cluster::start(0);
    let root = tempfile::tempdir_in(argument("--dir", "/tmp")).unwrap();
    for i in 0..nodes {
        let mut conf = Configuration::new();
        conf.set("fs.defaultFS", format!("hdfs://{}", cluster.namenode_addr))
            .set(
                "dfs.datanode.data.dir",
                root.path().join(i.to_string()).display().to_string(),
            );
        for key in [
            "dfs.datanode.address",
            "dfs.datanode.ipc.address",
            "dfs.datanode.http.address",
        ] {
            conf.set(key, "127.0.0.1:0");
        }
        let mut settings = Settings::from_configuration(&conf).unwrap();
        settings.send_engine = engine;
        let node = cluster.runtime.block_on(async {
            let node = DataNode::start_with(settings).await.unwrap();
            node.wait_registered().await;
            node
        });
        cluster.nodes.push(node);
    }
    // Packets are made once; the client only writes and counts.
    let packets: Vec<Vec<u8>> = (0..mib * 1024 * 1024 / 64512)
        .map(|i| raw_packet(i as i64, i as u64 * 64512, &bytes(64512), false))
        .collect();
    for round in 0..rounds {
        let b = block(1000 + round as i64, 1001, 0);
        measure(&format!("write x{nodes}"), mib, || write(&cluster, &b, &packets));
        measure(&format!("read {engine:?}"), mib, || read(&cluster, &b));
    }
}

fn write(cluster: &Cluster, b: &hadron_types::ExtendedBlock, packets: &[Vec<u8>]) {
    let mut peer = cluster.connect(0);
    let targets = (1..cluster.nodes.len()).map(|i| cluster.info(i)).collect();
    assert_eq!(peer.open_write(b, targets).status, 0);
    let mut acks = Peer(peer.0.try_clone().unwrap());
    let count = packets.len();
    let reader = std::thread::spawn(move || {
        for _ in 0..=count {
            assert!(acks.ack().reply.iter().all(|status| *status == 0));
        }
    });
    for packet in packets {
        peer.0.write_all(packet).unwrap();
    }
    peer.send_packet(count as i64, count as u64 * 64512, &[], true, false);
    reader.join().unwrap();
}

fn read(cluster: &Cluster, b: &hadron_types::ExtendedBlock) {
    let mut peer = cluster.connect(0);
    peer.op(81, &read_op(b, 0, u64::MAX));
    assert_eq!(peer.response().status, 0);
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        let mut prefix = [0; 6];
        peer.0.read_exact(&mut prefix).unwrap();
        let header = usize::from(u16::from_be_bytes([prefix[4], prefix[5]]));
        let len = header + u32::from_be_bytes(prefix[..4].try_into().unwrap()) as usize - 4;
        peer.0.read_exact(&mut buffer[..len]).unwrap();
        if len == header {
            return;
        }
    }
}
