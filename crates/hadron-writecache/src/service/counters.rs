//! Counters of a cache.
//!
//! What it does not do: no registry; the shell around the cache reads [`Counters`] and shows them where it likes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counting, by many threads.
        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $name: AtomicU64,)+
        }

        impl Tally {
            pub(crate) fn snapshot(&self) -> Counters {
                Counters {
                    $($name: self.$name.load(Ordering::Relaxed),)+
                    ..Counters::default()
                }
            }
        }

        /// Numbers of one moment. Those that count begin at 0 with the cache.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)+
            /// Buffers of all kinds.
            pub buffers: u64,
            /// Records that readers find.
            pub records: u64,
            /// Buffers on the dirty list.
            pub dirty: u64,
            /// The most there ever were.
            pub dirty_max: u64,
            /// Buffers on the clean list.
            pub clean: u64,
            /// Buffers emptied by compaction.
            pub compactions: u64,
            /// Bytes that were overwritten or freed and so never written.
            pub compacted_bytes: u64,
            /// Dirty buffers dropped with nothing left in them.
            pub dropped: u64,
            /// Records moved to the hot cache.
            pub hot_moves: u64,
            /// Buffers sent to the first follower.
            pub sends: u64,
            /// Sequence of the last sealed buffer.
            pub sequence: u64,
        }

        impl fmt::Display for Counters {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(write!(f, concat!(stringify!($name), "={} "), self.$name)?;)+
                write!(
                    f,
                    "buffers={} records={} dirty={} dirty_max={} clean={} compactions={} compacted_bytes={} dropped={} \
                     hot_moves={} sends={} sequence={}",
                    self.buffers,
                    self.records,
                    self.dirty,
                    self.dirty_max,
                    self.clean,
                    self.compactions,
                    self.compacted_bytes,
                    self.dropped,
                    self.hot_moves,
                    self.sends,
                    self.sequence,
                )
            }
        }
    };
}

counters! {
    /// Records written to the cache.
    writes,
    /// File bytes of these.
    write_bytes,
    /// Writes that waited for a clean buffer.
    write_waits,
    /// Large records.
    large_writes,
    /// Buffers written to the file.
    evicted_buffers,
    /// Records in these.
    evicted_records,
    /// File bytes of these.
    evicted_bytes,
    /// Time spent writing these to the file, in nanoseconds.
    evict_nanos,
    /// Flushes that ended well.
    flushes,
    /// Syncs that ended well.
    syncs,
    /// Resets.
    resets,
    /// Calls of `clear_write`.
    clears,
    /// Those that kept a record from the file.
    clears_found,
    /// Reads answered from memory.
    hits,
    /// Reads with nothing in memory.
    misses,
    /// Reads of the file.
    backing_reads,
    /// Readers that waited for another's read of the same record.
    coalesced_reads,
    /// Records read from the file that were not kept: too large, overtaken, or no read buffers.
    reads_not_installed,
    /// Reads whose checksum was wrong.
    checksum_errors,
    /// Times the file was opened again.
    reopens,
}

impl Counters {
    /// Bytes per second while writing to the file; 0 when nothing was.
    pub fn evict_bytes_per_second(&self) -> u64 {
        let seconds = Duration::from_nanos(self.evict_nanos).as_secs_f64();
        if seconds == 0.0 {
            0
        } else {
            (self.evicted_bytes as f64 / seconds) as u64
        }
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Adds some.
pub(crate) fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}
