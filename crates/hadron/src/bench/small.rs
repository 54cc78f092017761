//! `hadron bench small`: many small files, written and read whole, through the client library.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use hadron_client::{CreateOptions, HadronFs};
use hadron_types::FsPath;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::figures::Figures;
use super::io::pattern;
use super::server_cpu::ServerPids;
use crate::cli::ConfArgs;

/// How many write the files of a measurement of reading, if that asks for fewer: preparing should not take longer than it.
const PREPARING: u32 = 64;

/// `hadron bench small`.
#[derive(Args)]
pub(crate) struct SmallArgs {
    /// The cluster; else fs.defaultFS.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Measures writing (with --read: both; with neither: both).
    #[arg(long)]
    write: bool,
    /// Measures reading.
    #[arg(long)]
    read: bool,
    /// Size of each file in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(0..=64 << 20))]
    size: u64,
    /// How many at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// How many files.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    count: u64,
    /// Replicas of each block.
    #[arg(long, value_name = "N", default_value_t = 3)]
    replication: u32,
    /// Directory the benchmark works in; made and removed.
    #[arg(long, value_name = "PATH", default_value = "/hadron-bench-small")]
    dir: String,
    #[command(flatten)]
    server: ServerPids,
    #[command(flatten)]
    conf: ConfArgs,
}

pub(crate) fn run(args: &SmallArgs) -> Result<()> {
    let conf = crate::settings::load(&args.conf)?;
    let url = super::url(&conf, args.url.as_deref())?;
    let both = args.write == args.read;
    crate::settings::runtime()?.block_on(async {
        let connect = |count: u32| {
            let all = (0..count).map(|_| HadronFs::connect(&conf, Some(&url)));
            futures::future::try_join_all(all.collect::<Vec<_>>())
        };
        let context = || format!("connect to {url}");
        let clients = connect(args.threads).await.with_context(context)?;
        let measures_writing = both || args.write;
        let folder = FsPath::parse(&args.dir)?;
        clients[0].delete(&folder, true).await?;
        clients[0]
            .mkdirs(&folder, hadron_types::FsPermission::from_wire(0o755), true)
            .await?;
        let bytes = pattern(usize::try_from(args.size)?);
        let write = Deed::Write(Arc::clone(&bytes));
        if measures_writing {
            report(args, &url, "write", all(args, &clients, &folder, write).await?);
        } else {
            let writers = connect(PREPARING).await.with_context(context)?;
            let written = all(args, &writers, &folder, write).await?;
            anyhow::ensure!(
                written["errors"] == 0,
                "cannot write the files to read: {}",
                written["first_error"]
            );
        }
        if both || args.read {
            let read = all(args, &clients, &folder, Deed::Read(bytes)).await?;
            report(args, &url, "read", read);
        }
        clients[0].delete(&folder, true).await?;
        Ok(())
    })
}

#[derive(Clone)]
enum Deed {
    Write(Arc<[u8]>),
    /// Reads and compares.
    Read(Arc<[u8]>),
}

async fn all(args: &SmallArgs, clients: &[HadronFs], folder: &FsPath, deed: Deed) -> Result<Map<String, Value>> {
    let next = Arc::new(AtomicU64::new(0));
    let used = args.server.used();
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for fs in clients {
        let (fs, next, folder, deed) = (fs.clone(), Arc::clone(&next), folder.clone(), deed.clone());
        let (count, replication) = (args.count, args.replication);
        tasks.spawn(async move {
            let mut figures = Figures::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return figures;
                }
                let path = folder.join(&format!("file-{number}"));
                let started = Instant::now();
                match one(&fs, &path, &deed, replication).await {
                    Ok(()) => figures.add(started.elapsed()),
                    Err(error) => figures.fail(format!("{error:#}")),
                }
            }
        });
    }
    let mut figures = Figures::default();
    while let Some(done) = tasks.join_next().await {
        figures.merge(done?);
    }
    let mut line = figures.json(started.elapsed(), figures.count() as u64 * args.size);
    args.server.report(&mut line, used, figures.count());
    Ok(line)
}

async fn one(fs: &HadronFs, path: &FsPath, deed: &Deed, replication: u32) -> Result<()> {
    match deed {
        Deed::Write(bytes) => {
            let options = CreateOptions {
                replication: Some(replication),
                ..CreateOptions::default()
            };
            let mut writer = fs.create(path, options).await?;
            writer.write_all(bytes).await?;
            writer.close().await?;
        }
        Deed::Read(bytes) => {
            let mut reader = fs.open(path).await?;
            let mut at = 0;
            loop {
                let chunk = reader.next_chunk().await?;
                if chunk.is_empty() {
                    break;
                }
                anyhow::ensure!(bytes[at..].starts_with(&chunk), "{path} holds something else at {at}");
                at += chunk.len();
            }
            anyhow::ensure!(at == bytes.len(), "{path} holds {at} bytes");
        }
    }
    Ok(())
}

fn report(args: &SmallArgs, url: &str, op: &str, line: Map<String, Value>) {
    let head = [
        ("bench", json!("small")),
        ("op", json!(op)),
        ("url", json!(url)),
        ("threads", json!(args.threads)),
        ("replication", json!(args.replication)),
        ("file_bytes", json!(args.size)),
    ];
    super::print(&head, line);
}
