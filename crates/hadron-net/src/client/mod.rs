//! The RPC client: one connection that carries many calls at a time, and a helper that reconnects.
//!
//! Callers encode their frame into the connection's output and, when nothing is queued there, write it to the socket
//! themselves; one task per connection reads answers, writes what the socket did not take, and pings.
//! Invariants: every pending call is answered, fails with the connection, or was dropped by its caller; the task ends
//! when the last clone of the client is dropped.

mod error;
mod frames;
mod link;
mod options;
mod reconnecting;
mod sasl;
mod state_id;

pub use error::RpcError;
pub use options::RpcClientOptions;
pub use reconnecting::ReconnectingClient;
pub use state_id::StateIdSeen;

use bytes::Bytes;
use hadron_types::CallId;
use link::Link;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One connection to an RPC server. Many calls may be in flight; dropping the last clone closes the connection.
#[derive(Clone)]
pub struct RpcClient {
    link: Arc<link::LinkHandle>,
}

impl RpcClient {
    /// Connects, sends preamble and connection context. Must be called inside a tokio runtime.
    ///
    /// Errors: [`RpcError::Io`] or [`RpcError::TimedOut`] when the connection is not made in `options.connect_timeout`.
    pub async fn connect(addr: SocketAddr, options: RpcClientOptions) -> Result<Self, RpcError> {
        let link = Link::connect(addr, options).await?;
        Ok(Self { link: Arc::new(link) })
    }

    /// The server's address.
    pub fn addr(&self) -> SocketAddr {
        self.link.addr()
    }

    /// Whether the connection still takes calls.
    pub fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// Calls `method` of the protocol in the options under a fresh call id.
    ///
    /// Errors: [`RpcError::Remote`] carries the server's exception; all others concern the connection.
    /// Cancel safe: a dropped call's answer is discarded.
    pub async fn call<Q: prost::Message, R: prost::Message + Default>(
        &self,
        method: &str,
        request: &Q,
    ) -> Result<R, RpcError> {
        self.call_as(next_call_id(), 0, method, request).await
    }

    /// As [`RpcClient::call`] with the call id and retry count of an earlier try, so that the server's retry cache
    /// recognises it.
    pub async fn call_as<Q: prost::Message, R: prost::Message + Default>(
        &self,
        call_id: CallId,
        retry_count: i32,
        method: &str,
        request: &Q,
    ) -> Result<R, RpcError> {
        let target = (self.link.options().protocol, self.link.options().protocol_version);
        let body = self.link.call(target, call_id, retry_count, method, request).await?;
        self.decode(body)
    }

    /// Calls a method of another protocol that the same server serves.
    pub async fn call_protocol<Q: prost::Message, R: prost::Message + Default>(
        &self,
        protocol: &str,
        version: u64,
        method: &str,
        request: &Q,
    ) -> Result<R, RpcError> {
        let body = self
            .link
            .call((protocol, version), next_call_id(), 0, method, request)
            .await?;
        self.decode(body)
    }

    fn decode<R: prost::Message + Default>(&self, body: Bytes) -> Result<R, RpcError> {
        R::decode(body).map_err(|error| RpcError::Malformed {
            addr: self.addr(),
            reason: error.to_string(),
        })
    }
}

impl std::fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcClient")
            .field("addr", &self.addr())
            .field("is_open", &self.is_open())
            .finish()
    }
}

/// Draws the next call id of this process, 0..=i32::MAX, wrapping.
pub fn next_call_id() -> CallId {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    CallId((NEXT.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff) as i32)
}
