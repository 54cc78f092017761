//! Calls without a client library.

use std::net::SocketAddr;

use hadron_net::{RpcClient, RpcClientOptions, RpcError};
use hadron_proto::protocol::CLIENT_PROTOCOL;

/// A connection that speaks `ClientProtocol` as `user`.
pub async fn raw_client(addr: SocketAddr, user: &str) -> Result<RpcClient, RpcError> {
    RpcClient::connect(addr, RpcClientOptions::new(user, CLIENT_PROTOCOL)).await
}
