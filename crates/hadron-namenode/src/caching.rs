//! What the last look at the cache directives found, and who waits for the next one.
//!
//! What it does not do: look (`cache_monitor`), or decide what is cached where (`hadron-blockmap`).
//! Invariant: who asks after a change was applied waits for a look that began after it, unless none is ever made.

use hadron_env::{Clock, clock};
use hadron_namespace::command::CacheDemand;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Longest wait for a look; then the older figures must do.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// What directives ask for, and what of it is cached. Bytes count times replication.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CacheStats {
    pub(crate) bytes_needed: u64,
    pub(crate) bytes_cached: u64,
    pub(crate) files_needed: u64,
    pub(crate) files_cached: u64,
}

impl CacheStats {
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes_needed = self.bytes_needed.saturating_add(other.bytes_needed);
        self.bytes_cached = self.bytes_cached.saturating_add(other.bytes_cached);
        self.files_needed += other.files_needed;
        self.files_cached += other.files_cached;
    }
}

/// The figures of one look.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct CacheFigures {
    pub(crate) directives: HashMap<i64, CacheStats>,
    pub(crate) pools: HashMap<String, CacheStats>,
    /// Directives from this id on were not looked at.
    pub(crate) next_directive: i64,
}

/// See the module's documentation. Its lock is taken last of all.
#[derive(Debug)]
pub(crate) struct Caching {
    figures: Mutex<Arc<CacheFigures>>,
    /// Number of the latest change.
    change: AtomicU64,
    /// The latest change that a finished look has seen.
    seen: watch::Sender<u64>,
    /// Wakes the monitor.
    pub(crate) wake: Notify,
    /// Whether somebody looks.
    is_watched: AtomicBool,
    reports: AtomicU64,
    report_micros: AtomicU64,
}

impl Caching {
    pub(crate) fn new() -> Self {
        Self {
            figures: Mutex::default(),
            change: AtomicU64::new(0),
            seen: watch::Sender::new(0),
            wake: Notify::new(),
            is_watched: AtomicBool::new(false),
            reports: AtomicU64::new(0),
            report_micros: AtomicU64::new(0),
        }
    }

    /// Pools or directives changed.
    pub(crate) fn changed(&self) {
        self.change.fetch_add(1, Ordering::AcqRel);
        self.wake.notify_one();
    }

    /// A look begins; gives the change that it is going to see.
    pub(crate) fn begin(&self) -> u64 {
        self.is_watched.store(true, Ordering::Release);
        self.change.load(Ordering::Acquire)
    }

    /// A look is over that saw all changes up to `change`.
    pub(crate) fn finish(&self, change: u64, figures: CacheFigures) {
        *self.figures.lock() = Arc::new(figures);
        self.seen.send_replace(change);
    }

    /// Waits until every change so far has been looked at.
    pub(crate) async fn settled(&self, clock: &dyn Clock) {
        let change = self.change.load(Ordering::Acquire);
        if !self.is_watched.load(Ordering::Acquire) {
            return;
        }
        let mut seen = self.seen.subscribe();
        tokio::select! {
            _ = seen.wait_for(|&seen| seen >= change) => {}
            () = clock::sleep(clock, MAX_WAIT) => tracing::warn!("cache directives are looked at for very long"),
        }
    }

    /// The figures of the last look.
    pub(crate) fn figures(&self) -> Arc<CacheFigures> {
        Arc::clone(&self.figures.lock())
    }

    /// What the directives of a pool ask for, as a command carries it.
    pub(crate) fn demand(&self, pool: &str) -> CacheDemand {
        let figures = self.figures();
        CacheDemand {
            bytes: figures.pools.get(pool).copied().unwrap_or_default().bytes_needed,
            next_directive: figures.next_directive,
        }
    }

    /// A cache report took this long.
    pub(crate) fn note_report(&self, took: Duration) {
        self.reports.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.report_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Cache reports so far, and their mean time in ms.
    pub(crate) fn reports(&self) -> (u64, f64) {
        let count = self.reports.load(Ordering::Relaxed);
        let micros = self.report_micros.load(Ordering::Relaxed);
        (count, micros as f64 / 1000.0 / count.max(1) as f64)
    }
}
