//! What can go wrong with a call, by what the caller can do about it.

use hadron_types::{ErrorKind, HadoopError};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The failure of a call.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The server ran the call and answered with an exception. The connection is fine.
    #[error("{0}")]
    Remote(HadoopError),
    /// The server refused the connection (version, authorisation, malformed request) and closed it.
    #[error("{addr} refused the connection: {error}")]
    Refused {
        /// The server.
        addr: SocketAddr,
        /// Its reason.
        error: HadoopError,
    },
    /// Connecting or talking failed. The call may or may not have run.
    #[error("talk to {addr}: {error}")]
    Io {
        /// The server.
        addr: SocketAddr,
        /// What the socket said.
        #[source]
        error: std::sync::Arc<io::Error>,
    },
    /// The server's name has no address now.
    #[error("resolve {host}: {error}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        error: std::sync::Arc<io::Error>,
    },
    /// The connection was closed before the answer. The call may or may not have run.
    #[error("connection to {addr} closed")]
    Closed {
        /// The server.
        addr: SocketAddr,
    },
    /// No connection or no answer in time. The call may or may not have run.
    #[error("no answer from {addr} in {after:?}")]
    TimedOut {
        /// The server.
        addr: SocketAddr,
        /// The limit that passed.
        after: Duration,
    },
    /// The server's bytes make no sense.
    #[error("decode answer of {addr}: {reason}")]
    Malformed {
        /// The server.
        addr: SocketAddr,
        /// What is wrong.
        reason: String,
    },
}

impl RpcError {
    /// The server's exception, if it sent one.
    pub fn remote(&self) -> Option<&HadoopError> {
        match self {
            Self::Remote(error) | Self::Refused { error, .. } => Some(error),
            _ => None,
        }
    }
    /// Whether the connection (not the call) failed, so that another try on a new connection makes sense.
    pub fn is_connection_failure(&self) -> bool {
        matches!(
            self,
            Self::Io { .. } | Self::Unresolved { .. } | Self::Closed { .. } | Self::TimedOut { .. }
        )
    }
}

impl From<RpcError> for HadoopError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Remote(error) | RpcError::Refused { error, .. } => error,
            other => Self::new(ErrorKind::Io, other.to_string()),
        }
    }
}
