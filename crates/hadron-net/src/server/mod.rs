//! The RPC server: a listener, connections that live on reactors, and a table of protocols.

mod accept;
mod admission;
mod company;
mod connection;
mod dispatch;
mod inbox;
mod options;
mod reactor;
mod reactors;
mod respond;
mod session;
mod socket;
mod targets;
mod tokens;

pub use company::is_alone;
pub use options::RpcServerOptions;
pub use tokens::{NONCE_LEN, TokenAuthority};

use crate::{ProtocolMetrics, RpcMetrics, RpcProtocol};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Handle of what all connections of a server share.
pub(crate) type ServerRef = Arc<ServerShared>;

/// What all connections of a server share.
pub(crate) struct ServerShared {
    pub(crate) options: RpcServerOptions,
    pub(crate) protocols: Vec<Arc<dyn RpcProtocol>>,
    pub(crate) metrics: Arc<RpcMetrics>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) admissions: admission::Admissions,
    pub(crate) reactors: reactors::Reactors,
}

/// A listening RPC server. Dropping it stops it without waiting; [`RpcServer::shutdown`] waits.
pub struct RpcServer {
    local_addr: SocketAddr,
    shared: ServerRef,
}

impl RpcServer {
    /// Listens on `addr` (port 0: any) and serves `protocols` until stopped. Must be called inside a tokio runtime.
    ///
    /// Errors: the address cannot be bound.
    pub async fn bind(
        addr: SocketAddr,
        options: RpcServerOptions,
        protocols: Vec<Arc<dyn RpcProtocol>>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        Self::serve(listener, options, protocols)
    }

    /// As [`RpcServer::bind`] with a listener that is already bound.
    ///
    /// Errors: the listener has no local address, or a reactor's thread cannot be started.
    pub fn serve(
        listener: TcpListener,
        options: RpcServerOptions,
        protocols: Vec<Arc<dyn RpcProtocol>>,
    ) -> io::Result<Self> {
        let local_addr = listener.local_addr()?;
        let metrics = Arc::new(RpcMetrics {
            protocols: protocols
                .iter()
                .map(|p| ProtocolMetrics::new(p.name(), p.methods()))
                .collect(),
            ..RpcMetrics::default()
        });
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let reactors = reactors::Reactors::start(&options, &stop, &tasks).inspect_err(|_| stop.cancel())?;
        let shared = Arc::new(ServerShared {
            options,
            protocols,
            metrics,
            stop,
            tasks,
            admissions: admission::Admissions::default(),
            reactors,
        });
        shared.tasks.spawn(accept::accept_loop(listener, Arc::clone(&shared)));
        Ok(Self { local_addr, shared })
    }

    /// The address clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The server's counters.
    pub fn metrics(&self) -> Arc<RpcMetrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Stops accepting, closes all connections and waits until their threads have ended.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
