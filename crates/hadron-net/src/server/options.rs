//! The server's limits, with the configuration keys they come from.

use super::reactors::MAX_REACTORS;
use super::tokens::TokenAuthority;
use crate::ProxyUsers;
use hadron_env::Configuration;
use hadron_env::config::keys;
use std::sync::Arc;
use std::time::Duration;

/// Limits and rules of one server. `Default` gives Hadoop 3.3's values.
#[derive(Clone)]
pub struct RpcServerOptions {
    /// Name in log lines and thread names.
    pub name: &'static str,
    /// Threads that serve connections, each its own; one at least.
    pub reactors: usize,
    /// Longest request frame in bytes (`ipc.maximum.data.length`); a longer one drops the connection.
    pub max_frame_len: usize,
    /// Most connections at a time.
    pub max_connections: usize,
    /// Most connections at a time from one address.
    pub max_connections_per_address: usize,
    /// Most calls of one connection whose answers are not ready; at the limit its frames are not read.
    pub max_calls_in_flight: usize,
    /// Most bytes of responses one connection holds; at the limit its frames are not read.
    pub max_unsent_bytes: usize,
    /// How long unsent responses may make no progress before the connection is closed.
    pub unsent_timeout: Duration,
    /// Time from accept to the connection context.
    pub handshake_timeout: Duration,
    /// Above this number of connections idle ones are closed (`ipc.client.idlethreshold`).
    pub idle_threshold: usize,
    /// What counts as idle: twice `ipc.client.connection.maxidletime`.
    pub max_idle: Duration,
    /// Who may act for whom.
    pub proxy_users: ProxyUsers,
    /// Who knows tokens; `None`: clients cannot open connections with them.
    pub token_authority: Option<Arc<dyn TokenAuthority>>,
}

impl Default for RpcServerOptions {
    fn default() -> Self {
        Self {
            name: "rpc",
            reactors: 1,
            max_frame_len: 128 << 20,
            max_connections: 65_536,
            max_connections_per_address: 16_384,
            max_calls_in_flight: 1024,
            max_unsent_bytes: 16 << 20,
            unsent_timeout: Duration::from_secs(15 * 60),
            handshake_timeout: Duration::from_secs(60),
            idle_threshold: 4000,
            max_idle: Duration::from_secs(20),
            proxy_users: ProxyUsers::default(),
            token_authority: None,
        }
    }
}

impl RpcServerOptions {
    /// Reads the `ipc.*` keys. Proxy users are set apart, for they need a way to learn groups.
    pub fn from_configuration(conf: &Configuration) -> Self {
        let defaults = Self::default();
        let max_connections = match conf.get(keys::IPC_SERVER_MAX_CONNECTIONS) {
            0 => defaults.max_connections,
            limit => limit,
        };
        let reactors = match conf.get(keys::HADRON_IPC_SERVER_REACTORS) {
            // The other half is for the journal, for long calls and for the monitors.
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)),
            count => count,
        };
        Self {
            reactors: reactors.min(MAX_REACTORS),
            max_frame_len: usize::try_from(conf.get(keys::IPC_MAXIMUM_DATA_LENGTH)).unwrap_or(usize::MAX),
            max_connections,
            idle_threshold: conf.get(keys::IPC_CLIENT_IDLETHRESHOLD),
            max_idle: conf.get(keys::IPC_CLIENT_CONNECTION_MAXIDLETIME) * 2,
            ..defaults
        }
    }
}
