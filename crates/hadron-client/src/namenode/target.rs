//! One NameNode: its name, its addresses, and the connection that all calls of a client to it share.
//!
//! The name is resolved for every new connection, so that a NameNode that moved to another address is found again.

use super::settings::NameNodeSettings;
use hadron_env::config::HostPort;
use hadron_net::{RpcClient, RpcClientOptions, RpcError};
use hadron_types::CallId;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// A failed try, with what it did.
#[derive(Debug)]
pub(super) enum TryError {
    /// No connection: nothing was sent.
    NotSent(RpcError),
    /// The call was sent, or may have been.
    Sent(RpcError),
}

/// One NameNode.
#[derive(Debug)]
pub(super) struct Target {
    name: HostPort,
    options: RpcClientOptions,
    retries: usize,
    retries_on_timeouts: usize,
    retry_interval: Duration,
    current: Mutex<Option<RpcClient>>,
    connecting: tokio::sync::Mutex<()>,
}

impl Target {
    /// Names the server; connects nothing yet.
    pub(super) fn new(name: HostPort, options: RpcClientOptions, settings: &NameNodeSettings) -> Self {
        Self {
            name,
            options,
            retries: settings.connect_retries,
            retries_on_timeouts: settings.connect_retries_on_timeouts,
            retry_interval: settings.connect_retry_interval,
            current: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn name(&self) -> &HostPort {
        &self.name
    }

    /// Calls `method` once, connecting first if need be.
    pub(super) async fn call<Q: prost::Message, R: prost::Message + Default>(
        &self,
        call_id: CallId,
        retry_count: usize,
        method: &str,
        request: &Q,
    ) -> Result<R, TryError> {
        let client = self.connection().await.map_err(TryError::NotSent)?;
        let retry_count = i32::try_from(retry_count).unwrap_or(i32::MAX);
        client
            .call_as(call_id, retry_count, method, request)
            .await
            .map_err(TryError::Sent)
    }

    fn open_connection(&self) -> Option<RpcClient> {
        self.current.lock().as_ref().filter(|client| client.is_open()).cloned()
    }

    /// The open connection, or a new one; callers that meet wait for one try together.
    async fn connection(&self) -> Result<RpcClient, RpcError> {
        if let Some(client) = self.open_connection() {
            return Ok(client);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(client) = self.open_connection() {
            return Ok(client);
        }
        let (mut refused, mut timed_out) = (0, 0);
        loop {
            let error = match self.connect().await {
                Ok(client) => {
                    *self.current.lock() = Some(client.clone());
                    return Ok(client);
                }
                Err(error) => error,
            };
            let (tries, limit) = match &error {
                RpcError::TimedOut { .. } => (&mut timed_out, self.retries_on_timeouts),
                error if error.is_connection_failure() => (&mut refused, self.retries),
                _ => return Err(error),
            };
            if *tries >= limit {
                return Err(error);
            }
            *tries += 1;
            tracing::info!(%error, namenode = %self.name, tries = *tries, limit, "retrying connect to name node");
            tokio::time::sleep(self.retry_interval).await;
        }
    }

    /// Tries every address the name has now.
    async fn connect(&self) -> Result<RpcClient, RpcError> {
        let unresolved = |error: std::io::Error| RpcError::Unresolved {
            host: self.name.to_string(),
            error: Arc::new(error),
        };
        let found = tokio::net::lookup_host((self.name.host.as_str(), self.name.port)).await;
        let mut last = None;
        for addr in found.map_err(unresolved)? {
            match RpcClient::connect(addr, self.options.clone()).await {
                Ok(client) => return Ok(client),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| unresolved(std::io::Error::other("the name has no address"))))
    }
}
