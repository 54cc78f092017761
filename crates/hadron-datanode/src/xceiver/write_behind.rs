//! What a receiver tells the system about the page cache as a block grows: when to begin to write, what to forget.
//!
//! Pure: lengths in, ranges out. What it does not do: it makes nothing durable and delays no ack; a hint that the system
//! does not take changes nothing.
//!
//! Per [`WINDOW`] of new bytes: with *sync behind* the system begins to write what came since the last time, so that a
//! later flush finds little to do; with *drop behind* it does that, too, and forgets all but the last window, which by then
//! is written out.
//! Source: Hadoop `BlockReceiver.manageWriterOsCache`.

use std::ops::Range;

/// Bytes between two hints, and bytes that stay cached behind the end of what is written.
pub(super) const WINDOW: u64 = 8 * 1024 * 1024;

/// How one block's pages are treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct WriteBehind {
    /// Forget what was written (`dfs.datanode.drop.cache.behind.writes`, or the client's word).
    pub(super) drop: bool,
    /// Begin to write soon (`dfs.datanode.sync.behind.writes`).
    pub(super) sync: bool,
    /// Length at the last hints.
    pub(super) last: u64,
}

/// Ranges of the data file to hint at, in this order; empty ones are no hint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Hints {
    /// Begin to write these.
    pub(super) begin: Range<u64>,
    /// Forget these.
    pub(super) forget: Range<u64>,
}

impl WriteBehind {
    /// What is due now that the block has `len` bytes.
    pub(super) fn grown(&mut self, len: u64) -> Option<Hints> {
        if !(self.drop || self.sync) || len <= self.last + WINDOW {
            return None;
        }
        let hints = Hints {
            begin: self.last..len,
            forget: if self.drop {
                0..self.last.saturating_sub(WINDOW)
            } else {
                0..0
            },
        };
        self.last = len;
        Some(hints)
    }

    /// What is due at the end of the block: its last windows are forgotten as well.
    pub(super) fn ended(&self, len: u64) -> Option<Hints> {
        let hints = Hints {
            begin: if self.sync && !self.drop { self.last..len } else { 0..0 },
            forget: if self.drop { 0..len } else { 0..0 },
        };
        (hints != Hints::default()).then_some(hints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1024 * 1024;

    /// Lengths in MiB at which something is due, and what.
    fn all(drop: bool, sync: bool, step: u64, end: u64) -> Vec<(u64, Range<u64>, Range<u64>)> {
        let mut behind = WriteBehind { drop, sync, last: 0 };
        let mut found = Vec::new();
        let in_mb = |range: Range<u64>| range.start / MB..range.end / MB;
        for len in (step..=end).step_by(step as usize) {
            if let Some(hints) = behind.grown(len * MB) {
                found.push((len, in_mb(hints.begin), in_mb(hints.forget)));
            }
        }
        if let Some(hints) = behind.ended(end * MB) {
            found.push((end, in_mb(hints.begin), in_mb(hints.forget)));
        }
        found
    }

    #[test]
    fn windows_are_begun_and_forgotten_behind_the_writer() {
        assert_eq!(all(false, false, 1, 100), []);
        assert_eq!(
            all(true, false, 3, 30),
            [
                (9, 0..9, 0..0),
                (18, 9..18, 0..1),
                (27, 18..27, 0..10),
                (30, 0..0, 0..30)
            ]
        );
        assert_eq!(
            all(false, true, 3, 30),
            [
                (9, 0..9, 0..0),
                (18, 9..18, 0..0),
                (27, 18..27, 0..0),
                (30, 27..30, 0..0)
            ]
        );
        assert_eq!(
            all(true, true, 9, 18),
            [(9, 0..9, 0..0), (18, 9..18, 0..1), (18, 0..0, 0..18)]
        );
        assert_eq!(
            all(true, false, 1, 8),
            [(8, 0..0, 0..8)],
            "also of a block that is shorter than a window"
        );
        assert_eq!(all(false, true, 1, 8), [(8, 0..8, 0..0)]);
    }

    #[test]
    fn an_append_says_nothing_of_what_was_there_before() {
        let mut behind = WriteBehind {
            drop: false,
            sync: true,
            last: 100 * MB,
        };
        assert_eq!(behind.grown(101 * MB), None);
        let hints = behind.grown(109 * MB).unwrap();
        assert_eq!(hints.begin, 100 * MB..109 * MB);
    }
}
