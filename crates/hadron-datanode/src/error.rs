//! Why a DataNode does not start.

use hadron_env::config::ConfigError;
use hadron_replica::ReplicaError;
use std::io;

/// Failures of [`crate::DataNode::start`].
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A value that only a DataNode can judge.
    #[error("{0}")]
    Setting(String),
    /// The storage directories cannot be used.
    #[error(transparent)]
    Store(#[from] ReplicaError),
    /// A port cannot be listened on.
    #[error("listen on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// The cause.
        source: io::Error,
    },
}
