//! Ends in the middle of block recovery: of the primary DataNode, another holder, the NameNode, at moments that a seed draws.
//!
//! A node that is ended loses what it had in memory: recoveries end where they wait, nobody is told of them, and it starts
//! again on its directories. What must hold however often that happens: every file closes, with all that was flushed.
//! `HADRON_RECOVERY_ROUNDS` sets how many rounds there are (200 for a soak), `HADRON_RECOVERY_SEED` with which number they
//! begin; a failing round names its own. What it does not do: kill processes, which the judges with real ones do.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_client::{CreateOptions, HadronFs};
use hadron_testkit::{Cluster, eventually, eventually_within, path, read};
use std::time::Duration;

const NODES: usize = 3;
const FILES: usize = 4;
const DEFAULT_ROUNDS: u64 = 12;
const FLUSHED: usize = 70_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A small generator: a round is the same for the same seed as far as the machine's timing lets it be.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn content(seed: u64, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| ((at as u64 + seed).wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect()
}

async fn leave_open(fs: &HadronFs, name: &str, data: &[u8]) {
    let mut writer = fs.create(&path(name), CreateOptions::default()).await.unwrap();
    writer.write_all(data).await.unwrap();
    writer.hflush().await.unwrap();
    writer.abort().await;
}

/// Ends the NameNode and starts it again; what it knew of recoveries under way is gone.
async fn restart_namenode(cluster: &mut Cluster) {
    cluster.stop_namenode().await;
    cluster.start_namenode().await.unwrap();
}

/// Ends a DataNode, its recoveries where they stand, and starts it again on its directories.
async fn restart_datanode(cluster: &mut Cluster, node: usize) {
    cluster.stop_datanode(node).await;
    cluster.start_datanode(node).await.unwrap();
}

/// covers: LM-22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovery_survives_the_end_of_primaries_and_of_the_namenode() {
    let first = number("HADRON_RECOVERY_SEED", 1);
    let rounds = number("HADRON_RECOVERY_ROUNDS", DEFAULT_ROUNDS);
    let mut cluster = Cluster::builder()
        .datanodes(NODES)
        .set("dfs.heartbeat.interval", "100ms")
        .set("dfs.namenode.heartbeat.recheck-interval", "200")
        .set("dfs.namenode.lease-recheck-interval-ms", "100")
        .set("dfs.namenode.safemode.min.datanodes", NODES)
        .start()
        .await
        .unwrap();
    for seed in first..first + rounds {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let fs = cluster.client().await.unwrap();
        let mut files = Vec::new();
        for file in 0..FILES {
            let data = content(seed * 100 + file as u64, FLUSHED + dice.below(5000) as usize);
            let name = format!("/{seed}-{file}");
            leave_open(&fs, &name, &data).await;
            files.push((name, data));
        }
        for (name, _) in &files {
            fs.recover_lease(&path(name)).await.unwrap();
        }
        // Orders go out with the next heartbeat, within 100 ms; a recovery takes a few.
        for _ in 0..1 + dice.below(2) {
            // Not to wait for something: the moment is what is drawn.
            tokio::time::sleep(Duration::from_millis(dice.below(160))).await; // tidy: allow(sleep)
            match dice.below(4) {
                0 => restart_namenode(&mut cluster).await,
                _ => restart_datanode(&mut cluster, dice.below(NODES as u64) as usize).await,
            }
        }
        cluster.wait_ready(NODES).await.unwrap();
        let fs = cluster.client().await.unwrap();
        for (name, data) in &files {
            let what = format!("seed {seed}: {name} is closed");
            eventually_within(Duration::from_secs(60), &what, || async {
                fs.recover_lease(&path(name)).await.ok()?.then_some(())
            })
            .await;
            let status = fs.existing_status(&path(name)).await.unwrap();
            assert_eq!(status.len, data.len() as u64, "seed {seed}: {name}");
            let what = format!("seed {seed}: {name} can be read");
            let found = eventually(&what, || async { read(&fs, name).await.ok() }).await;
            assert!(found == *data, "seed {seed}: {name} has other bytes");
            fs.delete(&path(name), true).await.unwrap();
        }
    }
    cluster.shutdown().await;
}
