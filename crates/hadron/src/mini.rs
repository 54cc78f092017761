//! `hadron mini`: a NameNode and DataNodes in one process, for development and tests.
//!
//! Contract: exactly one line on standard output, `READY hdfs://HOST:PORT http://HOST:PORT`, once every DataNode is in and
//! safe mode is off; every port is bound to one address; folders are 0700; a temporary folder is removed at the end;
//! SIGINT and SIGTERM end it with code 0.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hadron_client::{HadronFs, ReportKind, SafeModeAction};
use hadron_datanode::DataNode;
use hadron_env::config::Configuration;
use hadron_namenode::{Env, NameNode};

use crate::cli::MiniArgs;
use crate::lifetime::EndSignals;

/// How long the parts may take to find each other.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at whether they have.
const READY_POLL: Duration = Duration::from_millis(5);
const PRIVATE: u32 = 0o700;
/// Longest name of a socket, in bytes; a port is no longer than the word that stands for it.
const LONGEST_SOCKET: usize = 107;

pub(crate) fn run(args: &MiniArgs) -> Result<()> {
    let conf = crate::settings::load(&args.conf)?;
    let temporary = match args.dir {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("hadron-mini-")
                .tempdir()
                .context("make a temporary folder")?,
        ),
    };
    let folder = match (&args.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => bail!("no folder for the cluster"),
    };
    let runtime = crate::settings::runtime()?;
    let done = runtime.block_on(async {
        let mut signals = EndSignals::listen()?;
        let started = Instant::now();
        let cluster = Mini::start(&conf, args, &folder).await?;
        tokio::select! {
            ready = cluster.wait_ready(usize::from(args.datanodes)) => {
                ready?;
                tracing::info!(time = ?started.elapsed(), "ready");
                announce(&cluster)?;
            }
            () = signals.wait() => return cluster.shutdown().await,
        }
        tokio::select! {
            () = signals.wait() => cluster.shutdown().await,
            reason = cluster.namenode.failed() => bail!("the NameNode cannot go on: {reason}"),
        }
    });
    // Blocking threads that still hold files must be gone before the folder is.
    runtime.shutdown_timeout(Duration::from_secs(5));
    if let Some(temporary) = temporary {
        temporary.close().context("remove the temporary folder")?;
    }
    done
}

/// The contract's one line.
fn announce(cluster: &Mini) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "READY hdfs://{} http://{}",
        cluster.namenode.rpc_addr(),
        cluster.namenode.http_addr()
    )?;
    out.flush()?;
    Ok(())
}

struct Mini {
    namenode: NameNode,
    datanodes: Vec<DataNode>,
    conf: Configuration,
}

impl Mini {
    async fn start(base: &Configuration, args: &MiniArgs, folder: &Path) -> Result<Self> {
        private_folder(folder)?;
        let name_folder = folder.join("name");
        let mut conf = base.clone();
        let any = |port: u16| format!("{}", std::net::SocketAddr::new(args.bind, port));
        if !conf.contains("dfs.replication") {
            conf.set("dfs.replication", args.datanodes.min(3).to_string());
        }
        if !conf.contains("dfs.namenode.safemode.extension") {
            conf.set("dfs.namenode.safemode.extension", "0");
        }
        conf.set("fs.defaultFS", format!("hdfs://{}", any(args.namenode_port)));
        conf.set("dfs.namenode.rpc-address", any(args.namenode_port));
        conf.set("dfs.namenode.http-address", any(args.http_port));
        for key in [
            "dfs.namenode.rpc-bind-host",
            "dfs.namenode.http-bind-host",
            "dfs.namenode.servicerpc-address",
            "dfs.nameservices",
        ] {
            conf.unset(key);
        }
        conf.set("dfs.namenode.name.dir", url(&name_folder)?);
        private_folder(&name_folder)?;
        if !hadron_namenode::is_formatted(&conf, &Env::system()).context("look at the name folder")? {
            hadron_namenode::format(&conf, &Env::system(), None, false)?;
        }
        let namenode = NameNode::start(conf.clone()).await.context("start the NameNode")?;
        let address = namenode.rpc_addr().to_string();
        conf.set("fs.defaultFS", format!("hdfs://{address}"));
        conf.set("dfs.namenode.rpc-address", address);

        if !conf.contains("dfs.domain.socket.path") {
            short_circuit(&mut conf, &folder.join("sockets"))?;
        }
        let mut datanodes = Vec::new();
        for number in 0..args.datanodes {
            let data = folder.join(format!("data{number}"));
            private_folder(&data)?;
            let mut own = conf.clone();
            for key in [
                "dfs.datanode.address",
                "dfs.datanode.http.address",
                "dfs.datanode.ipc.address",
            ] {
                own.set(key, any(0));
            }
            if !own.contains("dfs.datanode.hostname") && !args.bind.is_unspecified() {
                own.set("dfs.datanode.hostname", args.bind.to_string());
            }
            own.set("dfs.datanode.data.dir", url(&data)?);
            datanodes.push(
                DataNode::start(&own)
                    .await
                    .with_context(|| format!("start DataNode {number}"))?,
            );
        }
        Ok(Self {
            namenode,
            datanodes,
            conf,
        })
    }

    /// Returns once the NameNode lists every DataNode with its room and has left safe mode.
    async fn wait_ready(&self, datanodes: usize) -> Result<()> {
        let ready = async {
            for datanode in &self.datanodes {
                datanode.wait_registered().await;
            }
            let fs = HadronFs::connect(&self.conf, None).await?;
            loop {
                let live = fs.datanodes(ReportKind::Live).await?;
                let with_room = live.iter().filter(|node| node.capacity > 0).count();
                if with_room >= datanodes && !fs.safe_mode(SafeModeAction::Get).await? {
                    return Ok(());
                }
                tokio::time::sleep(READY_POLL).await;
            }
        };
        match tokio::time::timeout(READY_LIMIT, ready).await {
            Ok(done) => done,
            Err(_) => bail!("the DataNodes are not in or safe mode is on after {READY_LIMIT:?}"),
        }
    }

    async fn shutdown(self) -> Result<()> {
        futures::future::join_all(self.datanodes.into_iter().map(DataNode::shutdown)).await;
        self.namenode.shutdown().await;
        Ok(())
    }
}

/// Gives clients on this machine a Unix socket in `folder` for each DataNode, unless its path is too long for one.
fn short_circuit(conf: &mut Configuration, folder: &Path) -> Result<()> {
    let socket = folder.join("dn._PORT");
    if socket.as_os_str().len() > LONGEST_SOCKET {
        tracing::info!(path = %socket.display(), "no short-circuit reads: the path is too long for a socket");
        return Ok(());
    }
    private_folder(folder)?;
    let socket = socket.to_str().context("the folder's name is not UTF-8")?;
    conf.set("dfs.client.read.shortcircuit", "true");
    conf.set("dfs.domain.socket.path", socket);
    // The folder itself is private; what is above it may be a folder for all.
    conf.set("hadron.domain.socket.check-directories", "false");
    Ok(())
}

/// Makes a folder that only its owner may enter.
fn private_folder(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE)
        .create(path)
        .with_context(|| format!("make the folder {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(PRIVATE))
        .with_context(|| format!("close the folder {} to others", path.display()))
}

/// A folder as the configuration names it.
fn url(path: &Path) -> Result<String> {
    let path: PathBuf = std::path::absolute(path).with_context(|| format!("resolve {}", path.display()))?;
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    // `${` would be taken for a variable and a comma for the next folder; neither can be quoted in Hadoop's format.
    if text.contains("${") || text.contains(',') {
        bail!("a folder name with a comma or ${{ cannot be configured: {text}");
    }
    Ok(format!("file://{text}"))
}
