//! The command line: what can be asked of `hadron`, and where each request goes.
//!
//! `fs` keeps its arguments as they are: Hadoop's shell has single-dash words and an order of its own, parsed in
//! [`crate::fs`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

/// HDFS without the JVM: NameNode, DataNode, shell and tools in one binary
#[derive(Parser)]
#[command(name = "hadron", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where settings come from, shared by the commands that do not follow Hadoop's own option style.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfArgs {
    /// Folder with core-site.xml and hdfs-site.xml (else HADOOP_CONF_DIR).
    #[arg(long = "conf", value_name = "DIR")]
    pub(crate) conf: Option<PathBuf>,
    /// Sets one configuration key; wins over files. May be repeated.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub(crate) define: Vec<String>,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Runs the NameNode in the foreground.
    Namenode(NamenodeArgs),
    /// Runs a DataNode in the foreground.
    Datanode(DatanodeArgs),
    /// Runs a NameNode and DataNodes in one process.
    Mini(MiniArgs),
    /// Shows, step by step, that a cluster survives what it should survive.
    Demo(DemoArgs),
    /// Works with files as `hdfs dfs` does. With `-v` in front, tells on standard error how each file was read.
    #[command(disable_help_flag = true)]
    Fs(RawArgs),
    /// Tools for files in trouble, as `hdfs debug` has them.
    #[command(disable_help_flag = true)]
    Debug(RawArgs),
    /// Shows and sets storage policies as `hdfs storagepolicies` does.
    #[command(disable_help_flag = true)]
    Storagepolicies(RawArgs),
    /// Has files kept in DataNodes' memory as `hdfs cacheadmin` does.
    #[command(disable_help_flag = true)]
    Cacheadmin(RawArgs),
    /// Administers a cluster as `hdfs dfsadmin` does.
    #[command(disable_help_flag = true)]
    Dfsadmin(RawArgs),
    /// Evens out how full DataNodes are, as `hdfs balancer` does.
    #[command(disable_help_flag = true)]
    Balancer(RawArgs),
    /// Checks files and blocks as `hdfs fsck` does.
    #[command(disable_help_flag = true)]
    Fsck(RawArgs),
    /// Tells what the configuration says, as `hdfs getconf` does.
    #[command(disable_help_flag = true)]
    Getconf(RawArgs),
    /// Measures a cluster; one JSON line per run.
    Bench(BenchArgs),
    /// Prints the version.
    Version,
}

/// Arguments handed on untouched.
#[derive(Args)]
pub(crate) struct RawArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub(crate) args: Vec<OsString>,
}

/// `hadron namenode`.
#[derive(Args)]
pub(crate) struct NamenodeArgs {
    #[command(flatten)]
    pub(crate) conf: ConfArgs,
    /// Makes a new, empty file system in the configured folders and exits.
    #[arg(long)]
    pub(crate) format: bool,
    /// With --format: also if the folders hold a file system already, which is lost.
    #[arg(long, requires = "format")]
    pub(crate) force: bool,
    /// With --format: joins the cluster of this id instead of making up a new one.
    #[arg(long, value_name = "ID", requires = "format")]
    pub(crate) cluster_id: Option<String>,
}

/// `hadron datanode`.
#[derive(Args)]
pub(crate) struct DatanodeArgs {
    #[command(flatten)]
    pub(crate) conf: ConfArgs,
}

/// `hadron mini`.
#[derive(Args, Clone)]
pub(crate) struct MiniArgs {
    /// How many DataNodes.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) datanodes: u16,
    /// Folder that keeps the cluster; else a temporary one, removed at exit.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Port of the NameNode's RPC; 0 picks a free one.
    #[arg(long, default_value_t = 8020, value_name = "PORT")]
    pub(crate) namenode_port: u16,
    /// Port of the NameNode's HTTP; 0 picks a free one.
    #[arg(long, default_value_t = 9870, value_name = "PORT")]
    pub(crate) http_port: u16,
    /// Address that every port is bound to.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) bind: std::net::IpAddr,
    #[command(flatten)]
    pub(crate) conf: ConfArgs,
}

/// `hadron demo`.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Size of the file that makes the journey, in MiB.
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) size: u32,
    /// Folder that keeps the cluster; else a temporary one, removed at exit.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// `hadron bench`.
#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) kind: BenchKind,
}

/// What to measure.
#[derive(Subcommand)]
pub(crate) enum BenchKind {
    /// Metadata calls over raw RPC connections.
    Nn(crate::bench::nn::NnArgs),
    /// Not a NameNode but the least one could do here: a server to run `bench nn` against.
    Floor(crate::bench::floor::FloorArgs),
    /// A local file without a file system above it: the limit of reads
    Raw(crate::bench::raw::RawArgs),
    /// Throughput of large files.
    Io(crate::bench::io::IoArgs),
    /// Small files, written and read.
    Small(crate::bench::small::SmallArgs),
    /// How long flushing, syncing and appending take.
    Flush(crate::bench::flush::FlushArgs),
    /// No benchmark: keeps streams open and does as told on standard input, for outside judges.
    #[command(hide = true)]
    Drive(crate::bench::drive::DriveArgs),
    /// What open files cost the NameNode, in this process.
    Leases(crate::bench::leases::LeasesArgs),
}

impl Command {
    /// What is logged unless `RUST_LOG` says otherwise.
    pub(crate) fn default_log_level(&self) -> &'static str {
        match self {
            // Audit lines among the other logs only on request: see hadron.audit.log.file.
            Self::Namenode(_) | Self::Datanode(_) => "info,hdfs.audit=off",
            // The demo tells its own story; what the client did about a dead DataNode is part of it.
            Self::Demo(_) => "error",
            _ => "warn",
        }
    }

    /// Who writes the log.
    pub(crate) fn log_writer(&self) -> crate::logging::Writer {
        match self {
            Self::Namenode(_) | Self::Datanode(_) => crate::logging::Writer::Thread,
            _ => crate::logging::Writer::Caller,
        }
    }

    /// Does it.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Version => {
                crate::settings::print_version();
                Ok(ExitCode::SUCCESS)
            }
            Self::Debug(raw) => crate::debug::main(&raw.args),
            Self::Fs(raw) => crate::fs::main(&raw.args),
            Self::Storagepolicies(raw) => crate::storagepolicies::main(&raw.args),
            Self::Cacheadmin(raw) => crate::cacheadmin::main(&raw.args),
            Self::Dfsadmin(raw) => crate::admin::main(&raw.args),
            Self::Balancer(raw) => crate::balancer::main(&raw.args),
            Self::Fsck(raw) => crate::fsck::main(&raw.args),
            Self::Getconf(raw) => crate::getconf::main(&raw.args),
            Self::Bench(bench) => {
                match bench.kind {
                    BenchKind::Nn(args) => crate::bench::nn::run(&args)?,
                    BenchKind::Floor(args) => crate::bench::floor::run(&args)?,
                    BenchKind::Raw(args) => crate::bench::raw::run(&args)?,
                    BenchKind::Io(args) => crate::bench::io::run(&args)?,
                    BenchKind::Small(args) => crate::bench::small::run(&args)?,
                    BenchKind::Flush(args) => crate::bench::flush::run(&args)?,
                    BenchKind::Drive(args) => crate::bench::drive::run(&args)?,
                    BenchKind::Leases(args) => crate::bench::leases::run(&args)?,
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Namenode(args) => crate::daemon::namenode(&args).map(|()| ExitCode::SUCCESS),
            Self::Datanode(args) => crate::daemon::datanode(&args).map(|()| ExitCode::SUCCESS),
            Self::Mini(args) => crate::mini::run(&args).map(|()| ExitCode::SUCCESS),
            Self::Demo(args) => crate::demo::run(&args).map(|()| ExitCode::SUCCESS),
        }
    }
}
