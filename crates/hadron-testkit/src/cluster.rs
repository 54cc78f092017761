//! A NameNode and DataNodes in this process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use hadron_client::{HadronFs, ReportKind, SafeModeAction};
use hadron_datanode::{DataNode, Settings, StartError};
use hadron_env::ManualClock;
use hadron_env::config::Configuration;
use hadron_env::disk::{Disk, DiskSpace, FaultyDisk, RealDisk};
use hadron_namenode::{Env, NameNode};
use hadron_types::{Block, BlockPoolId, ReplicaState};
use tempfile::TempDir;

use crate::wait::eventually;

/// What a cluster is made of.
#[derive(Clone)]
pub struct ClusterBuilder {
    datanodes: usize,
    settings: Vec<(String, String)>,
    clock: Option<Arc<ManualClock>>,
    capacity: Option<u64>,
}

impl ClusterBuilder {
    /// How many DataNodes; 1 by default.
    #[must_use]
    pub fn datanodes(mut self, count: usize) -> Self {
        self.datanodes = count;
        self
    }

    /// Sets a configuration key for every node and for clients.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }

    /// Has the NameNode go by a clock that the test moves. DataNodes and clients keep the machine's.
    #[must_use]
    pub fn clock(mut self, clock: &Arc<ManualClock>) -> Self {
        self.clock = Some(Arc::clone(clock));
        self
    }

    /// Gives every DataNode a disk of so many bytes, as far as it can tell.
    #[must_use]
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = Some(bytes);
        self
    }

    /// Formats and starts; returns when all DataNodes are in and safe mode is off.
    pub async fn start(self) -> Result<Cluster> {
        let folder = tempfile::Builder::new()
            .prefix("hadron-test-")
            .tempdir()
            .context("make a folder")?;
        let mut conf = Configuration::new();
        conf.set("dfs.replication", self.datanodes.clamp(1, 3).to_string());
        conf.set("dfs.namenode.safemode.extension", "0");
        conf.set("dfs.namenode.rpc-address", "127.0.0.1:0");
        conf.set("dfs.namenode.http-address", "127.0.0.1:0");
        conf.set("dfs.namenode.name.dir", url(&folder.path().join("name")));
        for (key, value) in &self.settings {
            conf.set(key, value.as_str());
        }
        hadron_namenode::format(&conf, &Env::system(), None, false)?;
        let mut cluster = Cluster {
            conf,
            namenode: None,
            datanodes: Vec::new(),
            clock: self.clock,
            capacity: self.capacity,
            folder,
        };
        cluster.start_namenode().await?;
        for _ in 0..self.datanodes {
            cluster.add_datanode().await?;
        }
        cluster.wait_ready(self.datanodes).await?;
        Ok(cluster)
    }
}

/// A running cluster. Dropping it stops all nodes without waiting.
pub struct Cluster {
    conf: Configuration,
    namenode: Option<NameNode>,
    /// `None`: killed.
    datanodes: Vec<Option<DataNode>>,
    clock: Option<Arc<ManualClock>>,
    capacity: Option<u64>,
    folder: TempDir,
}

impl Cluster {
    /// A cluster of one DataNode, to be changed before it starts.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder {
            datanodes: 1,
            settings: Vec::new(),
            clock: None,
            capacity: None,
        }
    }

    /// The configuration of clients: the addresses are real ones.
    pub fn conf(&self) -> &Configuration {
        &self.conf
    }

    /// The NameNode. Panics while it is stopped.
    pub fn namenode(&self) -> &NameNode {
        self.namenode.as_ref().expect("the NameNode is stopped")
    }

    /// A DataNode by number. Panics while it is stopped.
    pub fn datanode(&self, number: usize) -> &DataNode {
        self.datanodes[number].as_ref().expect("the DataNode is stopped")
    }

    /// Where a DataNode keeps its replicas.
    pub fn data_dir(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("data{number}"))
    }

    /// `hdfs://host:port`.
    pub fn url(&self) -> String {
        self.conf.text("fs.defaultFS").unwrap_or_default()
    }

    /// A client as the user of this process.
    pub async fn client(&self) -> Result<HadronFs> {
        HadronFs::connect(&self.conf, None).await.context("connect")
    }

    /// A client as `user`.
    pub async fn client_as(&self, user: &str) -> Result<HadronFs> {
        HadronFs::connect_as(&self.conf, None, user).await.context("connect")
    }

    /// Starts the NameNode, on its old port if it had one.
    pub async fn start_namenode(&mut self) -> Result<()> {
        let mut env = Env::system();
        if let Some(clock) = &self.clock {
            env.clock = clock.clone();
        }
        let namenode = NameNode::start_with(self.conf.clone(), env)
            .await
            .context("start the NameNode")?;
        let address = namenode.rpc_addr().to_string();
        self.conf.set("fs.defaultFS", format!("hdfs://{address}"));
        self.conf.set("dfs.namenode.rpc-address", address);
        self.namenode = Some(namenode);
        Ok(())
    }

    /// Stops the NameNode; what it answered is durable.
    pub async fn stop_namenode(&mut self) {
        if let Some(namenode) = self.namenode.take() {
            namenode.shutdown().await;
        }
    }

    /// Adds a DataNode; returns its number.
    pub async fn add_datanode(&mut self) -> Result<usize> {
        self.datanodes.push(None);
        let number = self.datanodes.len() - 1;
        self.start_datanode(number).await?;
        Ok(number)
    }

    /// Starts a DataNode that was stopped.
    pub async fn start_datanode(&mut self, number: usize) -> Result<()> {
        self.datanodes[number] = Some(start(&self.datanode_conf(number), self.capacity, number).await?);
        Ok(())
    }

    /// A DataNode's configuration, any ports.
    fn datanode_conf(&self, number: usize) -> Configuration {
        let mut conf = self.conf.clone();
        for key in [
            "dfs.datanode.address",
            "dfs.datanode.http.address",
            "dfs.datanode.ipc.address",
        ] {
            conf.set(key, "127.0.0.1:0");
        }
        conf.set("dfs.datanode.hostname", "127.0.0.1");
        conf.set("dfs.datanode.data.dir", url(&self.data_dir(number)));
        conf
    }

    /// Stops a DataNode.
    pub async fn stop_datanode(&mut self, number: usize) {
        if let Some(datanode) = self.datanodes[number].take() {
            datanode.shutdown().await;
        }
    }

    /// Restarts a DataNode as `dfsadmin -shutdownDatanode … upgrade` and a new process do: writers are told, and it comes
    /// back with its addresses.
    pub async fn restart_datanode_announced(&mut self, number: usize) -> Result<()> {
        let Some(datanode) = self.datanodes[number].take() else {
            return Ok(());
        };
        let mut conf = self.datanode_conf(number);
        for (key, address) in [
            ("dfs.datanode.address", datanode.xfer_addr()),
            ("dfs.datanode.http.address", datanode.http_addr()),
            ("dfs.datanode.ipc.address", datanode.ipc_addr()),
        ] {
            conf.set(key, address.to_string());
        }
        datanode.shutdown_for_restart().await;
        self.datanodes[number] = Some(start(&conf, self.capacity, number).await?);
        Ok(())
    }

    /// Stops a DataNode as a crash would: its connections break at once.
    pub async fn kill_datanode(&mut self, number: usize) {
        if let Some(datanode) = self.datanodes[number].take() {
            datanode.crash().await;
        }
    }

    /// The block pool.
    pub fn pool(&self) -> BlockPoolId {
        self.namenode().shared().state.block_pool()
    }

    /// Every replica of the pool on these running DataNodes, with the node's number. A node that was just started has
    /// none: it does not know its pool yet.
    pub fn replicas(&self, nodes: impl IntoIterator<Item = usize>) -> Vec<(usize, Block, ReplicaState)> {
        let pool = self.pool();
        let of_node = |node: usize| {
            let storages = self.datanode(node).store().block_report(&pool).unwrap_or_default();
            let all = storages.into_iter().flat_map(|storage| storage.replicas);
            all.map(move |replica| (node, replica.block, replica.state))
                .collect::<Vec<_>>()
        };
        nodes.into_iter().flat_map(of_node).collect()
    }

    /// Waits until `datanodes` are live with room and safe mode is off.
    pub async fn wait_ready(&self, datanodes: usize) -> Result<()> {
        let fs = self.client().await?;
        eventually("the cluster is ready", || async {
            let live = fs.datanodes(ReportKind::Live).await.ok()?;
            let with_room = live.iter().filter(|node| node.capacity > 0).count();
            let safe = fs.safe_mode(SafeModeAction::Get).await.ok()?;
            (with_room >= datanodes && !safe).then_some(())
        })
        .await;
        Ok(())
    }

    /// Stops everything and waits for it.
    pub async fn shutdown(mut self) {
        for number in 0..self.datanodes.len() {
            self.stop_datanode(number).await;
        }
        self.stop_namenode().await;
    }
}

/// Threads of the last DataNode on these directories may outlive it for a moment, which those of a process cannot.
async fn start(conf: &Configuration, capacity: Option<u64>, number: usize) -> Result<DataNode> {
    let started = eventually("nobody holds the directories", || async {
        let settings = match Settings::from_configuration(conf) {
            Ok(settings) => settings,
            Err(error) => return Some(Err(error)),
        };
        match DataNode::start_on(disk(capacity), settings).await {
            Err(StartError::Store(error)) if error.is_locked() => None,
            started => Some(started),
        }
    })
    .await;
    started.with_context(|| format!("start DataNode {number}"))
}

/// The machine's disk, or one that says it has `capacity` bytes.
fn disk(capacity: Option<u64>) -> Arc<dyn Disk> {
    let Some(bytes) = capacity else {
        return Arc::new(RealDisk);
    };
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    disk.set_space(DiskSpace {
        capacity: bytes,
        free: bytes,
        available: bytes,
    });
    Arc::new(disk)
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}
