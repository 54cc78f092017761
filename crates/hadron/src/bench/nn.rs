//! `hadron bench nn`: metadata calls over raw RPC connections, so that the server is measured and not a client library.
//!
//! Each of N connections has one call in flight. Preparation and removal are outside the measured time. An `create` is
//! two calls, create and complete of an empty file, as a client makes them.

use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use hadron_net::{RpcClient, RpcClientOptions, RpcError};
use hadron_proto::hdfs;
use hadron_proto::protocol::CLIENT_PROTOCOL;
use serde_json::{Map, Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::figures::Figures;
use super::server_cpu::ServerPids;
use crate::cli::ConfArgs;

/// Entries below one directory, so that no directory grows beyond what is usual.
const FILES_PER_DIRECTORY: u64 = 1000;
/// Files that `stat` asks for, over and over.
const STATTED_FILES: u64 = 10_000;
/// Entries of the directory that `list` lists.
const LISTED_FILES: u64 = 100;
const BLOCK_SIZE: u64 = 128 << 20;
/// Create the file, replacing nothing.
const CREATE_FLAG: u32 = 1;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
pub(crate) enum Operation {
    /// getFileInfo of existing files, at most 10,000 in turns.
    Stat,
    /// create and complete of empty files.
    Create,
    /// getListing of a directory of 100 files.
    List,
    /// mkdirs of new directories.
    Mkdirs,
    /// rename of files.
    Rename,
    /// delete of files.
    Delete,
}

/// `hadron bench nn`.
#[derive(Args)]
pub(crate) struct NnArgs {
    /// The cluster; else fs.defaultFS.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// What to measure; may be repeated. All by default.
    #[arg(long, value_enum)]
    op: Vec<Operation>,
    /// How many connections, each with one call in flight; may be repeated.
    #[arg(long, value_name = "N", default_values_t = [1, 16, 64], value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Vec<u32>,
    /// How many operations in one run, over all connections.
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    count: u64,
    /// Directory the benchmark works in; made and removed.
    #[arg(long, value_name = "PATH", default_value = "/hadron-bench-nn")]
    dir: String,
    /// Instead: measures the bytes a file takes in the NameNode's memory, in this process.
    #[arg(long)]
    memory: bool,
    /// With --memory: how many files.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    files: u64,
    #[command(flatten)]
    server: ServerPids,
    #[command(flatten)]
    conf: ConfArgs,
}

pub(crate) fn run(args: &NnArgs) -> Result<()> {
    if args.memory {
        return super::memory::run(args.files);
    }
    let conf = crate::settings::load(&args.conf)?;
    let url = super::url(&conf, args.url.as_deref())?;
    let authority = url.strip_prefix("hdfs://").context("the URL must begin with hdfs://")?;
    let authority = authority.split('/').next().unwrap_or("");
    let host = conf
        .namenode_addresses(authority)?
        .into_iter()
        .next()
        .context("no NameNode in the configuration")?;
    let addr = (host.host.as_str(), host.port)
        .to_socket_addrs()
        .with_context(|| format!("resolve {authority}"))?
        .next()
        .with_context(|| format!("{authority} has no address"))?;
    let operations = if args.op.is_empty() {
        Operation::value_variants().to_vec()
    } else {
        args.op.clone()
    };
    // One thread: the client is to take as little of a shared machine as it can.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    for threads in &args.threads {
        for operation in &operations {
            let bench = Bench {
                operation: *operation,
                count: args.count,
                dir: args.dir.clone(),
                client: format!("hadron-bench-{}", std::process::id()),
                server: args.server.clone(),
            };
            let line = runtime.block_on(measure(Arc::new(bench), addr, *threads, conf.user_name()))?;
            super::print(
                &[
                    ("bench", json!("nn")),
                    ("op", json!(format!("{operation:?}").to_lowercase())),
                    ("url", json!(url)),
                    ("threads", json!(threads)),
                ],
                line,
            );
        }
    }
    Ok(())
}

struct Bench {
    operation: Operation,
    count: u64,
    dir: String,
    client: String,
    server: ServerPids,
}

async fn measure(
    bench: Arc<Bench>,
    addr: std::net::SocketAddr,
    threads: u32,
    user: &str,
) -> Result<Map<String, Value>> {
    let connect = || RpcClient::connect(addr, RpcClientOptions::new(user, CLIENT_PROTOCOL));
    let mut connections = Vec::new();
    for _ in 0..threads {
        connections.push(connect().await.with_context(|| format!("connect to {addr}"))?);
    }
    bench.delete(&connections[0], &bench.dir).await?;
    bench.prepare(&connections).await?;

    let next = Arc::new(AtomicU64::new(0));
    let barrier = Arc::new(Barrier::new(connections.len() + 1));
    let mut workers = JoinSet::new();
    for connection in &connections {
        let connection = connection.clone();
        let (bench, next, barrier) = (Arc::clone(&bench), Arc::clone(&next), Arc::clone(&barrier));
        workers.spawn(async move {
            barrier.wait().await;
            let mut figures = Figures::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= bench.count {
                    return figures;
                }
                let started = Instant::now();
                match bench.operate(&connection, number).await {
                    Ok(()) => figures.add(started.elapsed()),
                    Err(error) => figures.fail(error),
                }
            }
        });
    }
    let used = bench.server.used();
    barrier.wait().await;
    let started = Instant::now();
    let mut figures = Figures::default();
    while let Some(done) = workers.join_next().await {
        figures.merge(done?);
    }
    let wall = started.elapsed();
    let mut line = figures.json(wall.max(Duration::from_micros(1)), 0);
    bench.server.report(&mut line, used, figures.count());
    bench.delete(&connections[0], &bench.dir).await?;
    Ok(line)
}

impl Bench {
    fn path(&self, number: u64) -> String {
        format!("{}/d{}/f{number}", self.dir, number / FILES_PER_DIRECTORY)
    }

    /// Makes what the operation needs: directories always, files where it works on existing ones.
    async fn prepare(&self, connections: &[RpcClient]) -> Result<(), RpcError> {
        for folder in 0..=self.count / FILES_PER_DIRECTORY {
            self.mkdirs(&connections[0], &format!("{}/d{folder}", self.dir)).await?;
        }
        let files = match self.operation {
            Operation::Create | Operation::Mkdirs => 0,
            Operation::List => LISTED_FILES.min(self.count),
            Operation::Stat => STATTED_FILES.min(self.count),
            Operation::Rename | Operation::Delete => self.count,
        };
        let next = AtomicU64::new(0);
        let makers = connections.iter().map(|connection| async {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= files {
                    return Ok(());
                }
                self.create(connection, &self.path(number)).await?;
            }
        });
        futures::future::try_join_all(makers).await.map(|_| ())
    }

    async fn operate(&self, connection: &RpcClient, number: u64) -> Result<(), RpcError> {
        match self.operation {
            Operation::Stat => {
                let src = self.path(number % STATTED_FILES);
                let request = hdfs::GetFileInfoRequestProto { src };
                connection
                    .call::<_, hdfs::GetFileInfoResponseProto>("getFileInfo", &request)
                    .await
                    .map(|_| ())
            }
            Operation::Create => self.create(connection, &self.path(number)).await,
            Operation::List => {
                let request = hdfs::GetListingRequestProto {
                    src: format!("{}/d0", self.dir),
                    start_after: bytes::Bytes::new(),
                    need_location: false,
                };
                connection
                    .call::<_, hdfs::GetListingResponseProto>("getListing", &request)
                    .await
                    .map(|_| ())
            }
            Operation::Mkdirs => self.mkdirs(connection, &self.path(number)).await,
            Operation::Rename => {
                let request = hdfs::RenameRequestProto {
                    src: self.path(number),
                    dst: format!("{}-renamed", self.path(number)),
                };
                connection
                    .call::<_, hdfs::RenameResponseProto>("rename", &request)
                    .await
                    .map(|_| ())
            }
            Operation::Delete => self.delete(connection, &self.path(number)).await,
        }
    }

    async fn mkdirs(&self, connection: &RpcClient, path: &str) -> Result<(), RpcError> {
        let request = hdfs::MkdirsRequestProto {
            src: path.to_owned(),
            masked: hdfs::FsPermissionProto { perm: 0o755 },
            create_parent: true,
            ..hdfs::MkdirsRequestProto::default()
        };
        connection
            .call::<_, hdfs::MkdirsResponseProto>("mkdirs", &request)
            .await
            .map(|_| ())
    }

    async fn create(&self, connection: &RpcClient, path: &str) -> Result<(), RpcError> {
        let request = hdfs::CreateRequestProto {
            src: path.to_owned(),
            masked: hdfs::FsPermissionProto { perm: 0o644 },
            client_name: self.client.clone(),
            create_flag: CREATE_FLAG,
            create_parent: false,
            replication: 3,
            block_size: BLOCK_SIZE,
            ..hdfs::CreateRequestProto::default()
        };
        connection
            .call::<_, hdfs::CreateResponseProto>("create", &request)
            .await?;
        let request = hdfs::CompleteRequestProto {
            src: path.to_owned(),
            client_name: self.client.clone(),
            ..hdfs::CompleteRequestProto::default()
        };
        connection
            .call::<_, hdfs::CompleteResponseProto>("complete", &request)
            .await
            .map(|_| ())
    }

    async fn delete(&self, connection: &RpcClient, path: &str) -> Result<(), RpcError> {
        let request = hdfs::DeleteRequestProto {
            src: path.to_owned(),
            recursive: true,
        };
        connection
            .call::<_, hdfs::DeleteResponseProto>("delete", &request)
            .await
            .map(|_| ())
    }
}
