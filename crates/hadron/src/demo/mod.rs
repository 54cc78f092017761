//! `hadron demo`: a cluster loses a DataNode in the middle of a write and its NameNode, both by SIGKILL, and not one byte.
//!
//! NameNode and DataNodes are separate processes of this program, so that a kill is what the kernel makes of it. Each step
//! says what was done, what was seen and how long it took; the exit code is 0 only if everything held.

mod cluster;
mod file;
mod write;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hadron_client::HadronFs;
use hadron_types::FsPath;

use crate::cli::DemoArgs;
use cluster::Cluster;

/// DataNodes: one more than replicas, so that three remain when one is gone.
const DATANODES: usize = 4;
const REPLICAS: u32 = 3;
const BLOCK_BYTES: u64 = 8 << 20;
/// How long each change may take to show.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const TARGET: &str = "/demo/file";

/// Prints what happens, numbered.
struct Story {
    step: u32,
    started: Instant,
}

#[allow(clippy::print_stdout, reason = "the story is the command's result")]
impl Story {
    fn step(&mut self, title: &str) {
        self.step += 1;
        println!("\n{}. {title}", self.step);
    }
    fn note(&self, text: &str) {
        println!("   {text}");
    }
    fn say(&self, text: &str) {
        println!("{text}");
    }
}

pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    let temporary = tempfile::Builder::new()
        .prefix("hadron-demo-")
        .tempdir()
        .context("make a temporary folder")?;
    let folder = args.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    let mut story = Story {
        step: 0,
        started: Instant::now(),
    };
    let told = crate::settings::runtime()?.block_on(tell(args, folder, &mut story));
    if let Err(error) = &told {
        story.say(&format!("\nFAILED in step {}: {error:#}", story.step));
    }
    temporary.close().context("remove the temporary folder")?;
    told
}

async fn tell(args: &DemoArgs, folder: PathBuf, story: &mut Story) -> Result<()> {
    let bytes = u64::from(args.size) << 20;
    story.say("Hadron: HDFS without the JVM. This is what happens to a file when machines die.");

    story.step(&format!(
        "Start a NameNode and {DATANODES} DataNodes, each a process of its own"
    ));
    let started = Instant::now();
    let mut cluster = Cluster::start(&folder, DATANODES, REPLICAS, BLOCK_BYTES)?;
    let fs = cluster.connect().await?;
    cluster.wait_ready(&fs, DATANODES, PATIENCE).await?;
    story.note(&format!("{} is ready after {}", cluster.url(), time(started.elapsed())));

    story.step(&format!(
        "Write a file of {} MiB with {REPLICAS} replicas, and kill a DataNode that is receiving a block of it",
        args.size
    ));
    let source = file::Content::make(&folder.join("source"), bytes)?;
    story.note(&format!("its SHA-256 is {}", source.sha256));
    let written = write::write(&fs, &mut cluster, &source, story).await?;
    story.note(&format!(
        "{} MiB written in {} ({}/s), the kill included",
        args.size,
        time(written.elapsed),
        rate(bytes, written.elapsed)
    ));

    story.step("Wait until every block has three living replicas again, without asking for it");
    let waited = Instant::now();
    let blocks = wait_replicated(&fs, &written.victim).await?;
    story.note(&format!(
        "{blocks} blocks are back at {REPLICAS} replicas after {}, none on the dead DataNode",
        time(waited.elapsed())
    ));

    story.step("Read the file back");
    read(&fs, &cluster, &source, story).await?;

    story.step("Kill the NameNode with SIGKILL and start it again");
    drop(fs);
    cluster.kill_namenode()?;
    let restarted = Instant::now();
    cluster.start_namenode()?;
    let fs = cluster.connect().await?;
    cluster.wait_ready(&fs, DATANODES - 1, PATIENCE).await?;
    story.note(&format!(
        "it serves again after {}: journal read, DataNodes back in, safe mode off",
        time(restarted.elapsed())
    ));

    story.step("Read the file once more");
    read(&fs, &cluster, &source, story).await?;

    cluster.stop()?;
    story.say(&format!(
        "\nAll held: one DataNode and the NameNode were killed, and {} MiB came back bit for bit, twice. ({} in all)",
        args.size,
        time(story.started.elapsed())
    ));
    Ok(())
}

/// Waits until every block has all its replicas, on nodes other than `dead`; returns how many blocks.
async fn wait_replicated(fs: &HadronFs, dead: &str) -> Result<usize> {
    let path = FsPath::parse(TARGET)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let blocks = fs.block_locations(&path, 0, i64::MAX as u64).await?;
        let short = blocks
            .iter()
            .filter(|block| {
                let alive: BTreeSet<&str> = block
                    .locations
                    .iter()
                    .map(|place| place.datanode_uuid.as_str())
                    .filter(|uuid| *uuid != dead)
                    .collect();
                alive.len() < REPLICAS as usize || alive.len() != block.locations.len()
            })
            .count();
        if short == 0 && !blocks.is_empty() {
            return Ok(blocks.len());
        }
        if Instant::now() > deadline {
            bail!(
                "{short} of {} blocks still lack replicas after {PATIENCE:?}",
                blocks.len()
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn read(fs: &HadronFs, cluster: &Cluster, source: &file::Content, story: &Story) -> Result<()> {
    let sent_before = cluster.bytes_sent()?;
    let started = Instant::now();
    let mut reader = fs.open(&FsPath::parse(TARGET)?).await.context("open the file")?;
    let mut digest = file::Digest::new();
    loop {
        let chunk = reader.next_chunk().await.context("read")?;
        if chunk.is_empty() {
            break;
        }
        digest.update(&chunk);
    }
    let (len, sha256) = digest.finish();
    let elapsed = started.elapsed();
    ensure!(len == source.len, "{len} bytes came back of {}", source.len);
    ensure!(
        sha256 == source.sha256,
        "the SHA-256 is {sha256}, it was {}",
        source.sha256
    );
    story.note(&format!(
        "{} MiB in {} ({}/s), SHA-256 is the same",
        len >> 20,
        time(elapsed),
        rate(len, elapsed)
    ));
    story.note(&crate::hdfs::served(&reader.statistics()));
    let sent = cluster.bytes_sent()? - sent_before;
    story.note(&format!("the DataNodes count {sent} bytes that they sent meanwhile"));
    ensure!(
        sent == 0 || reader.statistics().short_circuit == 0,
        "blocks were read in place, and sent as well"
    );
    Ok(())
}

/// A duration with a fitting unit.
fn time(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

fn rate(bytes: u64, duration: Duration) -> String {
    format!(
        "{:.0} MiB",
        bytes as f64 / (1 << 20) as f64 / duration.as_secs_f64().max(1e-9)
    )
}
