//! The client library: file system, reader, writer.
//!
//! What it is for: any Rust program that works on `hdfs://`, ours or Apache's. [`HadronFs`] is the entry;
//! [`FileWriter`] drives the `hadron-pipeline` machines over sockets; [`FileReader`] reads replicas with fail-over.
//! What it does not do: no command line, no local file systems.
//! Invariants: dropping, aborting or failing a writer at any point leaves no task, socket, buffer or lease renewal
//! behind; every byte handed to a reader was verified against its checksum, unless the reader or
//! the settings say otherwise; no byte-at-a-time copies.
//!
//! Everything here needs a tokio runtime with time and I/O enabled.

pub mod balancer;
mod datanode;
mod error;
mod fs;
mod lease;
mod listing;
mod local_addresses;
mod namenode;
mod peers;
mod quotas;
mod reader;
mod settings;
mod short_circuit;
mod status;
mod umask;
mod writer;

pub use error::{FsError, Result};
pub use fs::HadronFs;
pub use listing::Listing;
pub use quotas::{QuotaChange, QuotaUsage, StoragePolicyInfo};
pub use reader::{FileReader, HedgedReads, ReadStatistics, ZeroCopy};
pub use settings::ClientSettings;
pub use short_circuit::{ShmCounts, ShortCircuitCounts, ShortCircuitSettings};
pub use status::{
    BlockLocation, ContentSummary, FileKind, FileStatus, FsStats, Location, NodeReport, ReportKind, SafeModeAction,
    ServerDefaults,
};
pub use umask::parse_umask;
pub use writer::{AppendOptions, CreateOptions, FileWriter, Progress, SyncFlags};
