//! The RPC client: one connection that carries many calls at a time, and a helper that reconnects.

mod error;
mod options;
mod reconnecting;

pub use error::RpcError;
pub use options::RpcClientOptions;
pub use reconnecting::ReconnectingClient;

use hadron_types::CallId;
use std::net::SocketAddr;

/// One connection to an RPC server. Many calls may be in flight; dropping the last clone closes the connection.
#[derive(Clone, Debug)]
pub struct RpcClient {
    addr: SocketAddr,
    #[allow(dead_code)]
    options: RpcClientOptions,
}

impl RpcClient {
    /// Connects, sends preamble and connection context.
    ///
    /// Errors: [`RpcError::Io`] or [`RpcError::TimedOut`] when the connection is not made in `options.connect_timeout`.
    pub async fn connect(addr: SocketAddr, options: RpcClientOptions) -> Result<Self, RpcError> {
        Ok(Self { addr, options })
    }

    /// The server's address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether the connection still takes calls.
    pub fn is_open(&self) -> bool {
        false
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
        let _ = (call_id, retry_count, method, request);
        Err(RpcError::Closed { addr: self.addr })
    }
}

/// Draws the next call id of this process, 0..=i32::MAX, wrapping.
pub fn next_call_id() -> CallId {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    CallId((NEXT.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff) as i32)
}
