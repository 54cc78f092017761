//! The NameNode service: one file per RPC protocol around the pure cores.
//!
//! What it is for: it owns the locks, the journal, the sockets and the clock; `hadron-namespace` and `hadron-blockmap`
//! own the rules. What it does not do: decide anything about files, leases or placement itself.
//! Invariants: see [`state`] for the locks; a mutation is checked, proposed to the journal, applied by it and only then
//! answered; every handler of O(path depth) runs inline on the connection's task under the shared lock.

pub mod audit;
pub mod convert;
mod datanode_monitors;
mod datanode_protocol;
mod effects;
pub mod groups;
mod ha_service;
mod pages;
pub mod settings;
mod shared;
pub mod state;
mod waiters;

pub use datanode_monitors::DatanodeMonitors;
pub use datanode_protocol::{DatanodeProtocol, DatanodeSettings};
pub use ha_service::HaService;
pub use pages::NameNodePages;
pub use settings::Settings;
pub use shared::Shared;
pub use state::State;
pub use waiters::{BlockWaiters, Waiter};
