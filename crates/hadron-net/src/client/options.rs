//! How a client connects, names itself and how long it waits.

use super::StateIdSeen;
use hadron_proto::common::TokenProto;
use hadron_types::ClientId;
use std::sync::Arc;
use std::time::Duration;

/// Settings of one connection. [`RpcClientOptions::new`] gives Hadoop's defaults.
#[derive(Clone)]
pub struct RpcClientOptions {
    /// Effective user.
    pub user: String,
    /// The user that acts for it, for proxies.
    pub real_user: Option<String>,
    /// Protocol of [`crate::RpcClient::call`] (`declaringClassProtocolName`).
    pub protocol: &'static str,
    /// Its version; 1 for all of Hadoop's.
    pub protocol_version: u64,
    /// The 16 bytes under which the retry cache knows this client; fresh ones by default.
    pub client_id: ClientId,
    /// Limit for connecting (`ipc.client.connect.timeout`).
    pub connect_timeout: Duration,
    /// Limit for an answer; `None`: as long as the connection lives (`ipc.client.rpc-timeout.ms` 0).
    pub call_timeout: Option<Duration>,
    /// Pings go out after this time without traffic while calls wait (`ipc.ping.interval`).
    pub ping_interval: Duration,
    /// A token to open the connection with, where the server takes tokens; its user is the caller then.
    pub token: Option<TokenProto>,
    /// Longest response frame in bytes (`ipc.maximum.response.length`).
    pub max_response_len: usize,
    /// The state ids of a client that reads from observers, shared by all its connections; `None`: none are sent.
    pub state_id: Option<Arc<StateIdSeen>>,
}

impl RpcClientOptions {
    /// Options for `user` calling `protocol`.
    pub fn new(user: impl Into<String>, protocol: &'static str) -> Self {
        Self {
            user: user.into(),
            real_user: None,
            protocol,
            protocol_version: 1,
            client_id: ClientId(*uuid::Uuid::new_v4().as_bytes()),
            connect_timeout: Duration::from_secs(20),
            call_timeout: None,
            ping_interval: Duration::from_secs(60),
            token: None,
            max_response_len: 128 << 20,
            state_id: None,
        }
    }
}

impl std::fmt::Debug for RpcClientOptions {
    /// Without the token: its password is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcClientOptions")
            .field("user", &self.user)
            .field("real_user", &self.real_user)
            .field("protocol", &self.protocol)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
