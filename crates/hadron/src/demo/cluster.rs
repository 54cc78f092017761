//! Child processes of this program as a cluster, with a configuration folder each, all on 127.0.0.1.
//!
//! Invariant: dropping the cluster ends every child.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hadron_client::{HadronFs, ReportKind, SafeModeAction};
use hadron_env::config::Configuration;

/// Beats that make a death show in seconds instead of ten minutes.
const HEARTBEAT: &str = "300ms";
const RECHECK_MS: &str = "300";
/// Blocks a DataNode may copy at once; Hadoop's 2 spares busy clusters, and the demo has nothing else to do.
const STREAMS: &str = "20";
const POLL: Duration = Duration::from_millis(20);
/// How long a DataNode may take to show its metrics.
const PAGE_LIMIT: Duration = Duration::from_secs(10);
/// Name of the metric of bytes sent to readers.
const BYTES_READ: &str = "hadron_datanode_bytes_read_total ";
/// Longest name of a socket, in bytes; a port is no longer than the word that stands for it.
const LONGEST_SOCKET: usize = 107;

/// A NameNode and DataNodes as processes.
pub(super) struct Cluster {
    folder: PathBuf,
    address: SocketAddr,
    namenode: Option<Child>,
    /// By transfer address.
    datanodes: BTreeMap<SocketAddr, Child>,
    /// Where DataNodes, dead ones too, show their metrics.
    pages: Vec<SocketAddr>,
}

impl Cluster {
    pub(super) fn start(folder: &Path, datanodes: usize, replicas: u32, block_bytes: u64) -> Result<Self> {
        let ports = free_ports(2 + 3 * datanodes)?;
        let address = ports[0];
        let mut common = BTreeMap::from([
            ("dfs.namenode.rpc-address", address.to_string()),
            ("dfs.namenode.http-address", ports[1].to_string()),
            (
                "dfs.namenode.name.dir",
                format!("file://{}", folder.join("name").display()),
            ),
            ("dfs.namenode.safemode.extension", "0".to_owned()),
            ("dfs.namenode.safemode.min.datanodes", "1".to_owned()),
            ("dfs.replication", replicas.to_string()),
            ("dfs.blocksize", block_bytes.to_string()),
            ("dfs.heartbeat.interval", HEARTBEAT.to_owned()),
            ("dfs.namenode.heartbeat.recheck-interval", RECHECK_MS.to_owned()),
            ("dfs.namenode.redundancy.interval.seconds", "1".to_owned()),
            ("dfs.namenode.replication.max-streams", STREAMS.to_owned()),
        ]);
        let socket = folder.join("sockets/dn._PORT");
        if socket.as_os_str().len() <= LONGEST_SOCKET {
            let mut private = fs::DirBuilder::new();
            private.recursive(true).mode(0o700).create(folder.join("sockets"))?;
            common.insert("dfs.client.read.shortcircuit", "true".to_owned());
            common.insert("dfs.domain.socket.path", socket.display().to_string());
            // The folder itself is private; what is above it may be a folder for all.
            common.insert("hadron.domain.socket.check-directories", "false".to_owned());
        }
        write_conf(&folder.join("conf/namenode"), address, &common)?;
        let mut cluster = Self {
            folder: folder.to_owned(),
            address,
            namenode: None,
            datanodes: BTreeMap::new(),
            pages: Vec::new(),
        };
        cluster.format()?;
        cluster.start_namenode()?;
        for (number, own) in ports[2..].chunks(3).enumerate() {
            common.insert("dfs.datanode.address", own[0].to_string());
            common.insert("dfs.datanode.http.address", own[1].to_string());
            common.insert("dfs.datanode.ipc.address", own[2].to_string());
            common.insert("dfs.datanode.hostname", "127.0.0.1".to_owned());
            let data = folder.join(format!("data{number}"));
            common.insert("dfs.datanode.data.dir", format!("file://{}", data.display()));
            let name = format!("datanode{number}");
            write_conf(&folder.join("conf").join(&name), address, &common)?;
            let child = cluster.launch("datanode", &name)?;
            cluster.datanodes.insert(own[0], child);
            cluster.pages.push(own[1]);
        }
        Ok(cluster)
    }

    pub(super) fn url(&self) -> String {
        format!("hdfs://{}", self.address)
    }

    fn conf(&self, name: &str) -> PathBuf {
        self.folder.join("conf").join(name)
    }

    fn command(&self, what: &str, name: &str) -> Result<Command> {
        let program = std::env::current_exe().context("find this program")?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("{name}.log")))?;
        let mut command = Command::new(program);
        command.arg(what).arg("--conf").arg(self.conf(name));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn launch(&self, what: &str, name: &str) -> Result<Child> {
        self.command(what, name)?
            .spawn()
            .with_context(|| format!("start {name}"))
    }

    fn format(&self) -> Result<()> {
        let status = self
            .command("namenode", "namenode")?
            .arg("--format")
            .status()
            .context("format")?;
        ensure!(status.success(), "format: {status}; {}", self.last_words("namenode"));
        Ok(())
    }

    pub(super) fn start_namenode(&mut self) -> Result<()> {
        self.namenode = Some(self.launch("namenode", "namenode")?);
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill_namenode(&mut self) -> Result<()> {
        let mut child = self.namenode.take().context("no NameNode runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGKILL to the DataNode whose transfer address is `address`.
    pub(super) fn kill_datanode(&mut self, address: &str) -> Result<()> {
        let address: SocketAddr = address.parse().with_context(|| format!("read the address {address}"))?;
        let mut child = self
            .datanodes
            .remove(&address)
            .with_context(|| format!("no DataNode runs at {address}"))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// A client of this cluster.
    pub(super) async fn connect(&self) -> Result<HadronFs> {
        let mut conf = Configuration::load(&self.conf("namenode"))?;
        // Death is noticed by time-outs; on one machine short ones do.
        conf.set("ipc.client.connect.max.retries", "50");
        conf.set("ipc.client.connect.retry.interval", "100");
        HadronFs::connect(&conf, None)
            .await
            .with_context(|| format!("connect to {}", self.url()))
    }

    /// Waits until `datanodes` are live and safe mode is off.
    pub(super) async fn wait_ready(&mut self, fs: &HadronFs, datanodes: usize, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let mut last = String::from("it does not answer");
            match fs.datanodes(ReportKind::Live).await {
                Ok(live) => {
                    let live = live.iter().filter(|node| node.capacity > 0).count();
                    if live >= datanodes && !fs.safe_mode(SafeModeAction::Get).await? {
                        return Ok(());
                    }
                    last = format!("{live} of {datanodes} DataNodes are in");
                }
                Err(error) => last = format!("{last}: {}", error.first_line()),
            }
            if let Some(status) = self.namenode.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                bail!("the NameNode ended with {status}; {}", self.last_words("namenode"));
            }
            ensure!(
                Instant::now() < deadline,
                "the cluster is not ready after {patience:?}: {last}"
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Bytes that all living DataNodes sent to readers, by their own count.
    pub(super) fn bytes_sent(&self) -> Result<u64> {
        let mut total = 0;
        for page in &self.pages {
            let Ok(mut stream) = TcpStream::connect_timeout(page, PAGE_LIMIT) else {
                continue;
            };
            stream.set_read_timeout(Some(PAGE_LIMIT))?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text).context("read a DataNode's metrics")?;
            let line = text.lines().find_map(|line| line.strip_prefix(BYTES_READ));
            let count = line.and_then(|rest| rest.trim().parse::<u64>().ok());
            total += count.with_context(|| format!("{page} does not show {BYTES_READ}"))?;
        }
        Ok(total)
    }

    /// SIGTERM to all; every one must end by itself with code 0.
    pub(super) fn stop(&mut self) -> Result<()> {
        let children = std::mem::take(&mut self.datanodes)
            .into_values()
            .chain(self.namenode.take());
        for mut child in children {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
            let status = child.wait()?;
            ensure!(status.success(), "a daemon answered SIGTERM with {status}");
        }
        Ok(())
    }

    /// The end of a daemon's log, for errors.
    fn last_words(&self, name: &str) -> String {
        let text = fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
        text.lines().last().unwrap_or("it said nothing").to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let children = std::mem::take(&mut self.datanodes)
            .into_values()
            .chain(self.namenode.take());
        for mut child in children {
            // Already gone is as good as killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn write_conf(folder: &Path, address: SocketAddr, settings: &BTreeMap<&str, String>) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let core = BTreeMap::from([("fs.defaultFS", format!("hdfs://{address}"))]);
    for (file, entries) in [("core-site.xml", &core), ("hdfs-site.xml", settings)] {
        let mut text = String::from("<?xml version=\"1.0\"?>\n<configuration>\n");
        for (key, value) in entries {
            text += &format!("  <property><name>{key}</name><value>{value}</value></property>\n");
        }
        text += "</configuration>\n";
        fs::write(folder.join(file), text).with_context(|| format!("write {file}"))?;
    }
    Ok(())
}

/// Addresses nobody listens on at the moment.
fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .context("find free ports")?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?)).collect()
}
