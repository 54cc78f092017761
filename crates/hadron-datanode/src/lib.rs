//! The DataNode: replicas to and from clients and other DataNodes, and reports to the NameNodes.
//!
//! Control traffic (RPC, heartbeats, HTTP) runs on tokio; the data path runs on blocking threads, one per active
//! transfer, a second one for acks while packets are relayed. Idle connections are parked on tokio.
//! What it does not do: it never decides where blocks live; short-circuit reads are not here yet and are refused.
//! Invariants: a packet is acked only after `pwrite` returned for all its bytes; a finished replica is reported at
//! once; every refused or failed operation is logged with operation, block, peer and cause.

mod balancing;
mod cache;
mod datanode;
mod ending;
mod error;
mod ipc;
mod metrics;
mod namenode;
mod pages;
mod recovery;
mod scan;
mod settings;
mod shared;
mod short_circuit;
mod tokens;
mod xceiver;

pub use cache::{CacheFigures, CacheSettings};
pub use datanode::DataNode;
pub use ending::Ending;
pub use error::StartError;
pub use metrics::Metrics;
pub use scan::{DirectoryScanSettings, ScanSettings};
pub use settings::{SOFTWARE_VERSION, SendEngineKind, Settings};
