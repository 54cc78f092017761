//! A client that makes its connection when first used and again when it was lost.

use super::{RpcClient, RpcClientOptions, RpcError, next_call_id};
use std::net::SocketAddr;
use tokio::sync::Mutex;

/// Most tries of one [`ReconnectingClient::call_idempotent`].
const MAX_TRIES: i32 = 3;

/// One server, at most one connection, made on demand.
#[derive(Debug)]
pub struct ReconnectingClient {
    addr: SocketAddr,
    options: RpcClientOptions,
    connection: Mutex<Option<RpcClient>>,
}

impl ReconnectingClient {
    /// Names the server; connects nothing yet.
    pub fn new(addr: SocketAddr, options: RpcClientOptions) -> Self {
        Self {
            addr,
            options,
            connection: Mutex::new(None),
        }
    }

    /// The server's address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The open connection, or a new one.
    ///
    /// Errors: as [`RpcClient::connect`].
    pub async fn client(&self) -> Result<RpcClient, RpcError> {
        let mut connection = self.connection.lock().await;
        if let Some(client) = connection.as_ref().filter(|client| client.is_open()) {
            return Ok(client.clone());
        }
        let client = RpcClient::connect(self.addr, self.options.clone()).await?;
        *connection = Some(client.clone());
        Ok(client)
    }

    /// Calls once, connecting first if need be.
    ///
    /// Errors: as [`RpcClient::call`].
    pub async fn call<Q: prost::Message, R: prost::Message + Default>(
        &self,
        method: &str,
        request: &Q,
    ) -> Result<R, RpcError> {
        self.client().await?.call(method, request).await
    }

    /// Calls, and calls again on a new connection when the old one broke: for methods that the server recognises as
    /// repeated (idempotent, or in the retry cache). All tries carry the same call id.
    ///
    /// Errors: as [`RpcClient::call`], of the last try.
    pub async fn call_idempotent<Q: prost::Message, R: prost::Message + Default>(
        &self,
        method: &str,
        request: &Q,
    ) -> Result<R, RpcError> {
        let call_id = next_call_id();
        let mut retry_count = 0;
        loop {
            let result = match self.client().await {
                Ok(client) => client.call_as(call_id, retry_count, method, request).await,
                Err(error) => Err(error),
            };
            retry_count += 1;
            match result {
                Err(error) if error.is_connection_failure() && retry_count < MAX_TRIES => {}
                result => return result,
            }
        }
    }
}
