//! `hadron bench nn`: metadata calls over raw RPC connections, so that the server is measured and not a client library.
//!
//! Each of N connections has one call in flight. Preparation and removal are outside the measured time. An `create` is
//! two calls, create and complete of an empty file, as a client makes them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use hadron_proto::hdfs;
use prost::Message;
use serde_json::{Map, Value, json};

use super::callers::{Callers, Request};
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
    for threads in &args.threads {
        for operation in &operations {
            let bench = Bench {
                operation: *operation,
                count: args.count,
                dir: args.dir.clone(),
                client: format!("hadron-bench-{}", std::process::id()),
            };
            let line = bench.measure(addr, *threads, conf.user_name(), &args.server)?;
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
}

impl Bench {
    fn measure(&self, addr: SocketAddr, threads: u32, user: &str, server: &ServerPids) -> Result<Map<String, Value>> {
        let mut callers = Callers::connect(addr, threads, user)?;
        self.once(&mut callers, |index| (index == 0).then(|| self.delete(&self.dir)))?;
        self.prepare(&mut callers)?;

        let used = server.used();
        let started = Instant::now();
        let mut figures = callers.run(self.count, |number, index| self.operate(number, index))?;
        let wall = started.elapsed();
        let mut line = figures.json(wall.max(Duration::from_micros(1)), 0);
        server.report(&mut line, used, figures.count());
        self.once(&mut callers, |index| (index == 0).then(|| self.delete(&self.dir)))?;
        Ok(line)
    }

    /// Makes the calls of one operation, outside of what is measured.
    ///
    /// Errors: any of them is refused.
    fn once(&self, callers: &mut Callers, mut call: impl FnMut(usize) -> Option<Request>) -> Result<()> {
        all_held(&callers.run(1, |_, index| call(index))?)
    }

    fn path(&self, number: u64) -> String {
        format!("{}/d{}/f{number}", self.dir, number / FILES_PER_DIRECTORY)
    }

    /// Makes what the operation needs: directories always, files where it works on existing ones.
    fn prepare(&self, callers: &mut Callers) -> Result<()> {
        let folders = self.count / FILES_PER_DIRECTORY + 1;
        let folder = |number, index| (index == 0).then(|| self.mkdirs(&format!("{}/d{number}", self.dir)));
        all_held(&callers.run(folders, folder)?)?;
        let files = match self.operation {
            Operation::Create | Operation::Mkdirs => 0,
            Operation::List => LISTED_FILES.min(self.count),
            Operation::Stat => STATTED_FILES.min(self.count),
            Operation::Rename | Operation::Delete => self.count,
        };
        all_held(&callers.run(files, |number, index| self.create(&self.path(number), index))?)
    }

    /// Call `index` of operation `number`.
    fn operate(&self, number: u64, index: usize) -> Option<Request> {
        if self.operation == Operation::Create {
            return self.create(&self.path(number), index);
        }
        (index == 0).then(|| match self.operation {
            Operation::Create | Operation::Mkdirs => self.mkdirs(&self.path(number)),
            Operation::Stat => {
                let src = self.path(number % STATTED_FILES);
                ("getFileInfo", hdfs::GetFileInfoRequestProto { src }.encode_to_vec())
            }
            Operation::List => {
                let request = hdfs::GetListingRequestProto {
                    src: format!("{}/d0", self.dir),
                    start_after: bytes::Bytes::new(),
                    need_location: false,
                };
                ("getListing", request.encode_to_vec())
            }
            Operation::Rename => {
                let request = hdfs::RenameRequestProto {
                    src: self.path(number),
                    dst: format!("{}-renamed", self.path(number)),
                };
                ("rename", request.encode_to_vec())
            }
            Operation::Delete => self.delete(&self.path(number)),
        })
    }

    fn mkdirs(&self, path: &str) -> Request {
        let request = hdfs::MkdirsRequestProto {
            src: path.to_owned(),
            masked: hdfs::FsPermissionProto { perm: 0o755 },
            create_parent: true,
            ..hdfs::MkdirsRequestProto::default()
        };
        ("mkdirs", request.encode_to_vec())
    }

    /// create, then complete.
    fn create(&self, path: &str, index: usize) -> Option<Request> {
        match index {
            0 => {
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
                Some(("create", request.encode_to_vec()))
            }
            1 => {
                let request = hdfs::CompleteRequestProto {
                    src: path.to_owned(),
                    client_name: self.client.clone(),
                    ..hdfs::CompleteRequestProto::default()
                };
                Some(("complete", request.encode_to_vec()))
            }
            _ => None,
        }
    }

    fn delete(&self, path: &str) -> Request {
        let request = hdfs::DeleteRequestProto {
            src: path.to_owned(),
            recursive: true,
        };
        ("delete", request.encode_to_vec())
    }
}

fn all_held(figures: &Figures) -> Result<()> {
    match &figures.first_error {
        Some(error) => bail!("{error}"),
        None => Ok(()),
    }
}
