//! Clusters inside a test process, on port 0, and what tests need around them.
//!
//! What it is for: integration tests of every crate start a [`Cluster`], kill and restart its nodes, call it by raw RPC.
//! What it does not do: no separate processes (see `interop/`), no assertions of its own.
//! Invariants: every port is picked by the system and bound to 127.0.0.1; dropping a cluster stops all of it; nothing
//! outlives its temporary folder.

mod cluster;
mod files;
mod rpc;
mod wait;

pub use cluster::{Cluster, ClusterBuilder};
pub use files::{drain, path, pattern, read};
pub use rpc::raw_client;
pub use wait::{PATIENCE, eventually, eventually_within};
