//! The NameNode service: one file per RPC protocol around the pure cores.
//!
//! What it is for: it owns the locks, the journal, the sockets and the clock; `hadron-namespace` and `hadron-blockmap`
//! own the rules. What it does not do: decide anything about files, leases or placement itself.
//! Invariants: see [`state`] for the locks; a mutation is checked, proposed to the journal, applied by it and only then
//! answered; every handler of O(path depth) runs inline on the connection's task under the shared lock.

mod access_times;
pub mod audit;
pub mod audit_log;
mod bandwidth;
pub mod block_recovery;
mod block_tokens;
mod cache_monitor;
mod caching;
mod callers;
mod client_protocol;
pub mod convert;
mod datanode_monitors;
mod datanode_protocol;
mod edit_event_codec;
mod edit_events;
mod effects;
pub mod format;
mod fsck;
pub mod groups;
mod ha_service;
mod lease_monitor;
mod lease_release;
mod machine;
mod members;
mod monitors;
mod namenode_protocol;
mod pages;
mod process_beans;
mod reconfiguration;
mod recovery_holder;
mod refresh;
mod run_time;
pub mod settings;
mod shared;
mod start;
pub mod state;
mod state_change;
mod status_wire;
mod trash;
mod user_mappings;
mod waiters;

pub use access_times::AccessTimes;
pub use audit_log::AuditLog;
pub use bandwidth::BandwidthOrders;
pub use block_tokens::{BlockTokens, TokenSettings};
pub use callers::Callers;
pub use client_protocol::ClientProtocol;
pub use datanode_monitors::DatanodeMonitors;
pub use datanode_protocol::{DatanodeProtocol, LifelineProtocol};
pub use ha_service::HaService;
pub use members::{DatanodeSettings, Members};
pub use pages::NameNodePages;
pub use recovery_holder::RecoveryHolder;
pub use run_time::RunTime;
pub use settings::Settings;
pub use shared::Shared;
pub use start::{Env, FormatError, NameNode, StartError, format, is_formatted};
pub use state::State;
pub use waiters::{BlockWaiters, Waiter};
