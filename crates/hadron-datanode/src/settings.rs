//! A DataNode's settings as plain values, read once from the configuration.
//!
//! Does not resolve host names and opens nothing. Defaults are those of the key table.

use crate::error::StartError;
use hadron_env::config::{Configuration, HostPort, keys};
use hadron_replica::{PoolOptions, StoreOptions, VolumeSpec};
use std::time::Duration;

/// Version this DataNode reports; peers of all releases from 2.7 on accept it.
pub const SOFTWARE_VERSION: &str = "3.3.6";

/// How a replica's bytes get into a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SendEngineKind {
    /// `pread` and `writev`; the faster one on loopback (`cargo run --release -p hadron-datanode --example loopback`).
    #[default]
    Copy,
    /// `sendfile`.
    Sendfile,
}

/// Everything configurable.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Storage directories.
    pub volumes: Vec<VolumeSpec>,
    /// Settings of the replica store.
    pub store: StoreOptions,
    /// Where data transfer listens.
    pub xfer: HostPort,
    /// Where RPC listens.
    pub ipc: HostPort,
    /// Where HTTP listens.
    pub http: HostPort,
    /// The name to register with; the machine's when `None`.
    pub hostname: Option<String>,
    /// Per nameservice the addresses of its NameNodes.
    pub nameservices: Vec<Vec<HostPort>>,
    /// The user that calls the NameNode.
    pub user: String,
    /// Time between heartbeats.
    pub heartbeat_interval: Duration,
    /// Time between full block reports.
    pub block_report_interval: Duration,
    /// Blocks from which on each storage gets its own report call.
    pub block_report_split_threshold: usize,
    /// Most data connections, parked ones included.
    pub max_xceivers: usize,
    /// How long an idle connection is kept for its next operation; zero: not at all.
    pub keepalive: Duration,
    /// Read time-out of data sockets, and time for the first operation.
    pub socket_timeout: Duration,
    /// Write time-out of data sockets; zero: none.
    pub write_timeout: Duration,
    /// How long an operation waits for its block pool.
    pub pool_ready_timeout: Duration,
    /// Bytes to read ahead of a long read; 0: leave it to the kernel.
    pub readahead: u64,
    /// Whether the cache forgets what was read.
    pub drop_behind_reads: bool,
    /// Whether the cache forgets what was written.
    pub drop_behind_writes: bool,
    /// How replicas are sent.
    pub send_engine: SendEngineKind,
    /// Whether other DataNodes are reached by name instead of address.
    pub connect_by_hostname: bool,
}

impl Settings {
    /// Reads all keys.
    ///
    /// Errors: a value is malformed, or no NameNode is named.
    pub fn from_configuration(conf: &Configuration) -> Result<Self, StartError> {
        let reserved = conf.get(keys::DFS_DATANODE_DU_RESERVED);
        let volumes = conf.data_dirs()?.into_iter().map(|dir| VolumeSpec {
            dir: dir.path,
            storage_type: dir.storage_type,
            reserved,
        });
        let permissions = conf.get(keys::DFS_DATANODE_DATA_DIR_PERM);
        let permissions = u32::from_str_radix(&permissions, 8)
            .map_err(|_| StartError::Setting(format!("dfs.datanode.data.dir.perm {permissions} is not octal")))?;
        Ok(Self {
            volumes: volumes.collect(),
            store: StoreOptions {
                permissions,
                replicas: PoolOptions {
                    sync_on_close: conf.get(keys::DFS_DATANODE_SYNCONCLOSE),
                    stop_writer_patience: conf.get(keys::DFS_DATANODE_XCEIVER_STOP_TIMEOUT),
                },
            },
            xfer: conf.address(keys::DFS_DATANODE_ADDRESS)?,
            ipc: conf.address(keys::DFS_DATANODE_IPC_ADDRESS)?,
            http: conf.address(keys::DFS_DATANODE_HTTP_ADDRESS)?,
            hostname: conf.get(keys::DFS_DATANODE_HOSTNAME),
            nameservices: nameservices(conf)?,
            user: conf.user_name().to_owned(),
            heartbeat_interval: conf.get(keys::DFS_HEARTBEAT_INTERVAL),
            block_report_interval: conf.get(keys::DFS_BLOCKREPORT_INTERVAL),
            block_report_split_threshold: conf.get(keys::DFS_BLOCKREPORT_SPLIT_THRESHOLD),
            max_xceivers: conf.get(keys::DFS_DATANODE_MAX_TRANSFER_THREADS),
            keepalive: conf.get(keys::DFS_DATANODE_SOCKET_REUSE_KEEPALIVE),
            socket_timeout: conf.get(keys::DFS_CLIENT_SOCKET_TIMEOUT),
            write_timeout: conf.get(keys::DFS_DATANODE_SOCKET_WRITE_TIMEOUT),
            pool_ready_timeout: conf.get(keys::DFS_DATANODE_BP_READY_TIMEOUT),
            readahead: conf.get(keys::DFS_DATANODE_READAHEAD_BYTES),
            drop_behind_reads: conf.get(keys::DFS_DATANODE_DROP_CACHE_BEHIND_READS),
            drop_behind_writes: conf.get(keys::DFS_DATANODE_DROP_CACHE_BEHIND_WRITES),
            send_engine: send_engine(conf)?,
            connect_by_hostname: conf.get(keys::DFS_DATANODE_USE_DATANODE_HOSTNAME),
        })
    }
}

/// The engine that `dfs.datanode.transferTo.allowed` names when somebody set it, else the measured default.
fn send_engine(conf: &Configuration) -> Result<SendEngineKind, StartError> {
    let key = keys::DFS_DATANODE_TRANSFERTO_ALLOWED;
    if !conf.contains(key) {
        return Ok(SendEngineKind::default());
    }
    Ok(match conf.try_get(key)? {
        true => SendEngineKind::Sendfile,
        false => SendEngineKind::Copy,
    })
}

/// The NameNodes to serve: every configured nameservice, else the one NameNode.
fn nameservices(conf: &Configuration) -> Result<Vec<Vec<HostPort>>, StartError> {
    let names = conf.get(keys::DFS_NAMESERVICES);
    if names.is_empty() {
        return Ok(vec![vec![conf.namenode_service_rpc_address()?]]);
    }
    names
        .iter()
        .map(|name| conf.namenode_addresses(name).map_err(StartError::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sendfile_is_used_when_asked_for_and_not_when_forbidden() {
        for (value, engine) in [
            (None, SendEngineKind::default()),
            (Some("true"), SendEngineKind::Sendfile),
            (Some("false"), SendEngineKind::Copy),
        ] {
            let mut conf = Configuration::new();
            conf.set("fs.defaultFS", "hdfs://127.0.0.1:8020");
            if let Some(value) = value {
                conf.set("dfs.datanode.transferTo.allowed", value);
            }
            assert_eq!(
                Settings::from_configuration(&conf).unwrap().send_engine,
                engine,
                "{value:?}"
            );
        }
    }
}
