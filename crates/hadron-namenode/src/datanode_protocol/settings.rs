//! What the configuration says about DataNodes that want to join.

use super::hosts::HostList;
use hadron_env::Configuration;
use hadron_env::config::keys;
use std::io;

/// Settings of the protocol.
#[derive(Clone, Debug)]
pub struct DatanodeSettings {
    /// `dfs.namenode.min.supported.datanode.version`.
    pub min_version: String,
    /// `dfs.namenode.datanode.registration.ip-hostname-check`; local addresses always pass.
    pub check_host_name: bool,
    /// Admitted hosts, from the file `dfs.hosts`; empty admits all.
    pub admitted: HostList,
}

impl Default for DatanodeSettings {
    fn default() -> Self {
        Self {
            min_version: "2.1.0-beta".to_owned(),
            check_host_name: true,
            admitted: HostList::default(),
        }
    }
}

impl DatanodeSettings {
    /// Reads the configuration, and the file of admitted hosts if one is named.
    pub fn from_configuration(conf: &Configuration) -> io::Result<Self> {
        let admitted = match conf.get(keys::DFS_HOSTS) {
            Some(path) if !path.trim().is_empty() => HostList::read(path.trim().as_ref())?,
            _ => HostList::default(),
        };
        Ok(Self {
            min_version: conf.get(keys::DFS_NAMENODE_MIN_SUPPORTED_DATANODE_VERSION),
            check_host_name: conf.get(keys::DFS_NAMENODE_DATANODE_REGISTRATION_IP_HOSTNAME_CHECK),
            admitted,
        })
    }
}
