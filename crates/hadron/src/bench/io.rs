//! `hadron bench io`: throughput of large files, through the client library as programs use it.
//!
//! What is written is a fixed pattern without repeats inside a packet; what is read is counted, and its checksums are
//! verified by the reader as always. Preparation and removal are outside the measured time.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use hadron_client::{CreateOptions, HadronFs};
use hadron_env::{Random, SeededRandom};
use hadron_types::FsPath;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::figures::Figures;
use super::raw::{SEED, SMALL, touch};
use super::server_cpu::ServerPids;
use crate::cli::ConfArgs;

/// Bytes handed to the writer at once.
const WRITE_BYTES: usize = 1 << 20;

/// `hadron bench io`.
#[derive(Args)]
pub(crate) struct IoArgs {
    /// The cluster; else fs.defaultFS.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Measures writing (with --read: both; with neither: both).
    #[arg(long)]
    write: bool,
    /// Measures reading.
    #[arg(long)]
    read: bool,
    /// Measures reading without a copy, by mapping local blocks (set dfs.client.read.shortcircuit): one byte of each cache
    /// line is looked at.
    #[arg(long)]
    zero_copy: bool,
    /// Measures that many reads at random places of each file.
    #[arg(long, value_name = "N")]
    random: Option<u64>,
    /// Bytes of each of these.
    #[arg(long, value_name = "BYTES", default_value_t = SMALL as u64, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    random_size: u64,
    /// Size of each file in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    size: u64,
    /// How many files at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Replicas of each block.
    #[arg(long, value_name = "N", default_value_t = 1)]
    replication: u32,
    /// Directory the benchmark works in; made and removed.
    #[arg(long, value_name = "PATH", default_value = "/hadron-bench-io")]
    dir: String,
    /// Leaves the files there, and reads those that an earlier run left.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    server: ServerPids,
    #[command(flatten)]
    conf: ConfArgs,
}

pub(crate) fn run(args: &IoArgs) -> Result<()> {
    let conf = crate::settings::load(&args.conf)?;
    let url = super::url(&conf, args.url.as_deref())?;
    let other = args.zero_copy || args.random.is_some();
    let both = args.write == args.read && !other;
    crate::settings::runtime()?.block_on(async {
        let fs = HadronFs::connect(&conf, Some(&url))
            .await
            .with_context(|| format!("connect to {url}"))?;
        let folder = FsPath::parse(&args.dir)?;
        if args.write || !args.keep || !are_there(args, &fs, &folder).await {
            fs.delete(&folder, true).await?;
            let written = all(args, &fs, &folder, |fs, path, args| Box::pin(write(fs, path, args))).await?;
            if both || args.write {
                report(args, &url, "write", written);
            }
        }
        if both || args.read {
            let read = all(args, &fs, &folder, |fs, path, _| Box::pin(read(fs, path))).await?;
            report(args, &url, "read", read);
        }
        if args.zero_copy {
            let read = all(args, &fs, &folder, |fs, path, _| Box::pin(zero_copy(fs, path))).await?;
            report(args, &url, "zero-copy", read);
        }
        if let Some(count) = args.random {
            let line = random(args, &fs, &folder, count).await?;
            report(args, &url, "random", line);
        }
        if !args.keep {
            fs.delete(&folder, true).await?;
        }
        Ok(())
    })
}

/// What one task needs to know.
#[derive(Clone, Copy)]
struct File {
    bytes: u64,
    replication: u32,
}

type Work = fn(HadronFs, FsPath, File) -> futures::future::BoxFuture<'static, Result<()>>;

async fn all(args: &IoArgs, fs: &HadronFs, folder: &FsPath, work: Work) -> Result<Map<String, Value>> {
    let file = File {
        bytes: args.size << 20,
        replication: args.replication,
    };
    let used = args.server.used();
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..args.threads {
        let (fs, path) = (fs.clone(), folder.join(&format!("file-{number}")));
        tasks.spawn(async move {
            let started = Instant::now();
            work(fs, path, file).await.map(|()| started.elapsed())
        });
    }
    let mut figures = Figures::default();
    while let Some(done) = tasks.join_next().await {
        match done? {
            Ok(time) => figures.add(time),
            Err(error) => figures.fail(format!("{error:#}")),
        }
    }
    let mut line = figures.json(started.elapsed(), figures.count() as u64 * (args.size << 20));
    args.server.report(&mut line, used, figures.count());
    Ok(line)
}

/// Whether an earlier run left all files that this one reads.
async fn are_there(args: &IoArgs, fs: &HadronFs, folder: &FsPath) -> bool {
    for number in 0..args.threads {
        let found = fs.open(&folder.join(&format!("file-{number}"))).await;
        if !found.is_ok_and(|file| file.len() == args.size << 20) {
            return false;
        }
    }
    true
}

async fn write(fs: HadronFs, path: FsPath, file: File) -> Result<()> {
    let options = CreateOptions {
        overwrite: true,
        replication: Some(file.replication),
        ..CreateOptions::default()
    };
    let mut writer = fs.create(&path, options).await?;
    let pattern = pattern(WRITE_BYTES);
    let mut left = file.bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(pattern.len());
        writer.write_all(&pattern[..count]).await?;
        left -= count as u64;
    }
    writer.close().await?;
    Ok(())
}

async fn read(fs: HadronFs, path: FsPath) -> Result<()> {
    let mut reader = fs.open(&path).await?;
    let (len, mut total) = (reader.len(), 0);
    loop {
        let chunk = reader.next_chunk().await?;
        if chunk.is_empty() {
            break;
        }
        total += chunk.len() as u64;
    }
    anyhow::ensure!(total == len, "read {total} bytes of {len}");
    Ok(())
}

async fn zero_copy(fs: HadronFs, path: FsPath) -> Result<()> {
    let mut reader = fs.open(&path).await?;
    let (len, mut total) = (reader.len(), 0);
    while total < len {
        let Some(bytes) = reader.read_zero_copy(usize::MAX, true).await? else {
            anyhow::bail!(
                "no block of {path} can be mapped: is dfs.client.read.shortcircuit set, and a replica on this machine?"
            );
        };
        std::hint::black_box(touch(&bytes));
        total += bytes.len() as u64;
    }
    Ok(())
}

/// Reads at places that are the same with each run; one task a file.
async fn random(args: &IoArgs, fs: &HadronFs, folder: &FsPath, count: u64) -> Result<Map<String, Value>> {
    let (used, size) = (args.server.used(), args.random_size as usize);
    let mut tasks = JoinSet::new();
    let mut readers = Vec::new();
    for number in 0..args.threads {
        readers.push(fs.open(&folder.join(&format!("file-{number}"))).await?);
    }
    let started = Instant::now();
    for (number, reader) in readers.into_iter().enumerate() {
        tasks.spawn(async move {
            let numbers = SeededRandom::new(SEED + number as u64);
            let mut figures = Figures::default();
            let mut buffer = vec![0; size];
            for _ in 0..count {
                let at = numbers.below(reader.len() / size as u64) * size as u64;
                let started = Instant::now();
                match reader.read_at_into(at, &mut buffer).await {
                    Ok(read) if read == size => figures.add(started.elapsed()),
                    Ok(read) => figures.fail(format!("{read} bytes at {at}")),
                    Err(error) => figures.fail(error),
                }
            }
            figures
        });
    }
    let mut figures = Figures::default();
    while let Some(done) = tasks.join_next().await {
        figures.merge(done?);
    }
    let mut line = figures.json(started.elapsed(), figures.count() as u64 * size as u64);
    args.server.report(&mut line, used, figures.count());
    Ok(line)
}

/// Bytes without a period shorter than themselves.
pub(super) fn pattern(len: usize) -> Arc<[u8]> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

fn report(args: &IoArgs, url: &str, op: &str, line: Map<String, Value>) {
    let head = [
        ("bench", json!("io")),
        ("op", json!(op)),
        ("url", json!(url)),
        ("threads", json!(args.threads)),
        ("replication", json!(args.replication)),
        ("file_bytes", json!(args.size << 20)),
    ];
    super::print(&head, line);
}
