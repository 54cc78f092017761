//! A write cache service: memory in front of one file, for stores that write many records and must never make a reader wait.
//!
//! What it is for: callers copy records into buffers; full buffers are *sealed* and written by one thread, one write per
//! buffer, locally and to replicas. Readers find each record through one shared map, whether it waits to be written, was
//! written, or was read before. Two ways to lay records out share the machinery: [`Layout::Worm`], append only, where a
//! buffer is one run of the file, and [`Layout::Rw`], where each record has its own place and may be overwritten or freed
//! before it ever reaches the disk.
//! What it does not do: it chooses no offsets and knows no commit points. Allocation, root blocks and recovery belong to the
//! stores above; atomicity too: `flush` means *written and replicated*, a separate `sync` means *survives loss of power*.
//!
//! Parts, bottom up: [`sealed`] is a full buffer as it travels, [`backing`] the file below, [`replicator`] the members beside
//! ([`replicate`]: over TCP), [`config`] the numbers.
//! ```
//! use std::sync::Arc;
//!
//! use hadron_env::disk::SimDisk;
//! use hadron_writecache::{Config, DiskOpener, WriteCache};
//!
//! let opener = DiskOpener::new(Arc::new(SimDisk::new()), "/records");
//! let cache = WriteCache::open(Config::rw(), 0, Arc::new(opener))?;
//! cache.write(4096, b"a record")?; // readers have it from here on
//! cache.write(8192, b"a mistake")?;
//! cache.clear_write(8192); // and this one never reaches the file
//! cache.flush(None)?; // it is in the file and counts with the replicas
//! cache.sync()?; // it survives loss of power
//! assert_eq!(cache.read_through(4096, 8)?, &b"a record"[..]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The life of a buffer:
//!
//! ```text
//!  write ─▶ current ─full, or flush─▶ dirty ─▶ writing ─▶ clean ─▶ current again
//!              │                        │         │         └ readers find its records until it is taken again
//!              │ readers find records   │         └ sealed: offered to the replicas, then one write to the file
//!              │ from the first moment  └ mostly overwritten or freed: its rest moves to the compacting buffer
//! ```
//!
//! Parts, bottom up: [`sealed`] is a full buffer as it travels, [`backing`] the file below, [`replicator`] the members beside,
//! [`config`] the numbers, [`core`] the policy, [`service`] the threads and the bytes; [`WriteCache`] is what a store uses.
//!
//! Invariants: the newest accepted write of an offset is what a read returns; a flush neither waits for later writes nor lets
//! them overtake; the buffers' memory is bounded by the configuration, plus the sealed bytes a replicator retains, which are
//! bounded by its own limit.
#![forbid(unsafe_code)]

pub mod backing;
pub mod cached;
pub mod config;
pub mod core;
pub mod io;
pub mod replicate;
pub mod replicator;
pub mod rw;
pub mod sealed;
pub mod service;
pub mod worm;

pub use backing::{BackingStore, DiskBacking, DiskOpener, Opener, Placed};
pub use config::{Config, ConfigError, Layout};
pub use replicator::{Alone, Replicator, ReplicatorError};
pub use sealed::{Body, Record, Sealed, SealedError};
pub use service::WriteCache;
pub use service::counters::Counters;
pub use service::error::{Failure, OpenError, ReadError, WriteError};
pub use service::pool::BufferPool;
