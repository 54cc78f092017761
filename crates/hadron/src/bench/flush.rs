//! `hadron bench flush`: how long a writer waits until its bytes are safe.
//!
//! One operation is: write a record and hflush it (`hflush`), write and hsync it (`hsync`), or reopen the file, append a
//! record and close it (`append`). Each task has a file of its own; making and removing it is outside the measured time,
//! and so is waiting, before an append, for the DataNodes to report the replicas of the close before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use hadron_client::{CreateOptions, HadronFs};
use hadron_types::FsPath;
use serde_json::json;
use tokio::task::JoinSet;

use super::figures::Figures;
use super::io::pattern;
use super::server_cpu::ServerPids;
use crate::cli::ConfArgs;

/// How often the NameNode is asked whether it knows all replicas, and how long at most.
const REPLICAS_EVERY: Duration = Duration::from_millis(1);
const REPLICAS_WITHIN: Duration = Duration::from_secs(30);

/// `hadron bench flush`.
#[derive(Args)]
pub(crate) struct FlushArgs {
    /// The cluster; else fs.defaultFS.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// What is measured.
    #[arg(long, value_enum, default_value_t = Op::Hflush)]
    op: Op,
    /// Bytes of a record.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    size: u32,
    /// How many files at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// How many operations in all.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Replicas of each block.
    #[arg(long, value_name = "N", default_value_t = 3)]
    replication: u32,
    /// Directory the benchmark works in; made and removed.
    #[arg(long, value_name = "PATH", default_value = "/hadron-bench-flush")]
    dir: String,
    #[command(flatten)]
    server: ServerPids,
    #[command(flatten)]
    conf: ConfArgs,
}

/// What one operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Op {
    /// Write, hflush.
    Hflush,
    /// Write, hsync.
    Hsync,
    /// Reopen, write, close.
    Append,
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Self::Hflush => "hflush",
            Self::Hsync => "hsync",
            Self::Append => "append",
        }
    }
}

pub(crate) fn run(args: &FlushArgs) -> Result<()> {
    let conf = crate::settings::load(&args.conf)?;
    let url = super::url(&conf, args.url.as_deref())?;
    crate::settings::runtime()?.block_on(async {
        let fs = HadronFs::connect(&conf, Some(&url))
            .await
            .with_context(|| format!("connect to {url}"))?;
        let folder = FsPath::parse(&args.dir)?;
        fs.delete(&folder, true).await?;
        let record = pattern(args.size as usize);
        let used = args.server.used();
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for number in 0..args.threads {
            let threads = u64::from(args.threads);
            let turns = args.count / threads + u64::from(u64::from(number) < args.count % threads);
            let path = folder.join(&format!("file-{number}"));
            let one = work(fs.clone(), path, args.op, turns, Arc::clone(&record), args.replication);
            tasks.spawn(one);
        }
        let mut figures = Figures::default();
        while let Some(done) = tasks.join_next().await {
            figures.merge(done?);
        }
        let mut line = figures.json(started.elapsed(), 0);
        args.server.report(&mut line, used, figures.count());
        fs.delete(&folder, true).await?;
        let head = [
            ("bench", json!("flush")),
            ("op", json!(args.op.name())),
            ("url", json!(url)),
            ("threads", json!(args.threads)),
            ("replication", json!(args.replication)),
            ("record_bytes", json!(args.size)),
        ];
        super::print(&head, line);
        Ok(())
    })
}

/// One file's share; the first failure ends it.
async fn work(fs: HadronFs, path: FsPath, op: Op, turns: u64, record: Arc<[u8]>, replication: u32) -> Figures {
    let mut figures = Figures::default();
    let done = match op {
        Op::Append => append(&fs, &path, turns, &record, replication, &mut figures).await,
        Op::Hflush | Op::Hsync => flush(&fs, &path, op == Op::Hsync, turns, &record, replication, &mut figures).await,
    };
    if let Err(error) = done {
        figures.fail(format!("{path}: {error:#}"));
    }
    figures
}

fn options(replication: u32) -> CreateOptions {
    CreateOptions {
        overwrite: true,
        replication: Some(replication),
        ..CreateOptions::default()
    }
}

async fn flush(
    fs: &HadronFs,
    path: &FsPath,
    sync: bool,
    turns: u64,
    record: &[u8],
    replication: u32,
    figures: &mut Figures,
) -> Result<()> {
    let mut writer = fs.create(path, options(replication)).await?;
    // The first flush also makes the pipeline; it is not measured.
    writer.write_all(record).await?;
    writer.hflush().await?;
    for _ in 0..turns {
        let started = Instant::now();
        writer.write_all(record).await?;
        if sync {
            writer.hsync(false).await?;
        } else {
            writer.hflush().await?;
        }
        figures.add(started.elapsed());
    }
    writer.close().await?;
    check_len(fs, path, record, turns, "records").await
}

async fn append(
    fs: &HadronFs,
    path: &FsPath,
    turns: u64,
    record: &[u8],
    replication: u32,
    figures: &mut Figures,
) -> Result<()> {
    let mut writer = fs.create(path, options(replication)).await?;
    writer.write_all(record).await?;
    writer.close().await?;
    for _ in 0..turns {
        all_reported(fs, path, replication).await?;
        let started = Instant::now();
        let mut writer = fs.append(path).await?;
        writer.write_all(record).await?;
        writer.close().await?;
        figures.add(started.elapsed());
    }
    check_len(fs, path, record, turns, "appends").await
}

/// Waits until the last block's replicas are known: a file that is appended to sooner has a pipeline of fewer.
async fn all_reported(fs: &HadronFs, path: &FsPath, replication: u32) -> Result<()> {
    let known = async {
        loop {
            let len = fs.existing_status(path).await?.len;
            let blocks = fs.block_locations(path, len.saturating_sub(1), 1).await?;
            if blocks
                .last()
                .is_none_or(|block| block.locations.len() >= replication as usize)
            {
                return Ok(());
            }
            tokio::time::sleep(REPLICAS_EVERY).await;
        }
    };
    let waited = tokio::time::timeout(REPLICAS_WITHIN, known).await;
    waited.with_context(|| format!("{path} has not got {replication} replicas; are there enough DataNodes?"))?
}

/// Nothing counts as written that is not there in the end: the first record, and one for each of `turns`.
async fn check_len(fs: &HadronFs, path: &FsPath, record: &[u8], turns: u64, what: &str) -> Result<()> {
    let len = fs.existing_status(path).await?.len;
    anyhow::ensure!(
        len == (turns + 1) * record.len() as u64,
        "{len} bytes after {turns} {what}"
    );
    Ok(())
}
