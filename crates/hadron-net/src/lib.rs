//! Hadoop RPC version 9 on tokio: the server every daemon listens with, and the client every caller speaks through.
//!
//! What it is for: sockets, time-outs, limits and dispatch around the sans-io codecs of `hadron-wire`.
//! What it does not do: it knows no HDFS message; protocols are plugged in as [`RpcProtocol`].
//! Invariants: calls of one connection run concurrently and are answered in any order; every buffer, queue and wait
//! has a limit in [`RpcServerOptions`] or [`RpcClientOptions`]; nothing a peer sends makes the server panic.

pub mod admin_http;
mod admin_listener;
pub mod client;
mod context;
mod identity;
mod method_signatures;
mod metrics;
mod protocol;
mod protocol_info;
pub mod server;

pub use admin_http::{AdminHttp, AdminPages, bean_matches};
pub use client::{ReconnectingClient, RpcClient, RpcClientOptions, RpcError, StateIdSeen};
pub use context::{CallContext, CallerContext};
pub use identity::{GroupLookup, ProxyRule, ProxyUsers, UserIdentity, short_name};
pub use metrics::{MethodMetrics, ProtocolMetrics, RpcMetrics};
pub use protocol::{Reply, ReplyFuture, RpcProtocol};
pub use protocol_info::ProtocolInfo;
pub use server::{NONCE_LEN, RpcServer, RpcServerOptions, TokenAuthority, is_alone};
