//! Breadcrumbs: the last things that happened to records, for the message of a checksum error.
//!
//! Invariant: at most [`MAX_CRUMBS`] are kept; the oldest go first.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// Crumbs kept by each shard of the readers' map.
pub const MAX_CRUMBS: usize = 512;

/// What happened to a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Copied into a buffer.
    Written,
    /// Written to the file.
    Saved,
    /// Freed by `clear_write` before it was written.
    Freed,
    /// Its buffer was recycled or reset.
    Removed,
    /// Read from the file and kept.
    Installed,
    /// Moved to another buffer.
    Moved,
}

/// One event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Crumb {
    offset: u64,
    action: Action,
    /// File bytes, checksum included; 0 where nobody knows.
    len: u32,
}

/// The last events of some offsets.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    crumbs: VecDeque<Crumb>,
}

impl Trail {
    pub(crate) fn drop_crumb(&mut self, offset: u64, action: Action, len: u32) {
        if self.crumbs.len() == MAX_CRUMBS {
            self.crumbs.pop_front();
        }
        self.crumbs.push_back(Crumb { offset, action, len });
    }

    /// What happened at `offset`, oldest first, such as `written 40, saved 40`.
    pub(crate) fn history(&self, offset: u64) -> String {
        let mut text = String::new();
        for crumb in self.crumbs.iter().filter(|crumb| crumb.offset == offset) {
            let comma = if text.is_empty() { "" } else { ", " };
            let name = format!("{:?}", crumb.action).to_lowercase();
            // Writing to a string does not fail.
            let _ = write!(text, "{comma}{name} {}", crumb.len);
        }
        if text.is_empty() {
            text.push_str("none kept");
        }
        text
    }
}
