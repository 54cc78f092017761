//! Hadoop RPC server and client on tokio
