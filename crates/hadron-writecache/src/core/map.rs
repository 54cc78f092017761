//! The map that readers ask: file offset to the newest record of the cache, with its hit count.
//!
//! What it is for: one look-up finds a record in whatever buffer it stands. What it does not do: no locks (the shell keeps
//! several of these behind locks, by offset), no bytes.
//! Invariants: at most one record for each offset; taking away and moving name the slot they mean, so that a late one
//! cannot hurt a newer record.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use super::buffer::{BufferId, Slot};

/// A record readers may use.
#[derive(Debug)]
struct Shown {
    slot: Slot,
    hits: AtomicU32,
}

/// What a look-up gives.
pub type Found = Slot;

/// How often records were read, for the choice of what stays.
pub trait Heat {
    /// Hits of the record of `offset` since it came to this slot; `None` when readers no longer find it there.
    fn hits(&self, offset: u64, slot: Slot) -> Option<u32>;
}

/// Offset to slot.
#[derive(Debug, Default)]
pub struct RecordMap {
    shown: HashMap<u64, Shown>,
}

impl RecordMap {
    /// The newest record of `offset`, counting a hit.
    pub fn find(&self, offset: u64) -> Option<Slot> {
        let shown = self.shown.get(&offset)?;
        shown.hits.fetch_add(1, Ordering::Relaxed);
        Some(shown.slot)
    }

    /// The newest record of `offset`, counting nothing.
    pub fn peek(&self, offset: u64) -> Option<Slot> {
        self.shown.get(&offset).map(|shown| shown.slot)
    }

    /// Shows a record in place of whatever was there; its hits begin at 0.
    pub fn publish(&mut self, offset: u64, slot: Slot) {
        let hits = AtomicU32::new(0);
        self.shown.insert(offset, Shown { slot, hits });
    }

    /// Shows nothing for `offset`; true when something was there.
    pub fn retract(&mut self, offset: u64) -> bool {
        self.shown.remove(&offset).is_some()
    }

    /// Shows nothing for `offset` if its record stands in this content of this buffer.
    pub fn retract_from(&mut self, offset: u64, buffer: BufferId, generation: u64) -> bool {
        let is_it = self
            .shown
            .get(&offset)
            .is_some_and(|shown| shown.slot.buffer == buffer && shown.slot.generation == generation);
        is_it && self.retract(offset)
    }

    /// Shows the record at `to` if it still stands at `from`; its hits begin at 0.
    pub fn relocate(&mut self, offset: u64, from: Slot, to: Slot) -> bool {
        let is_it = self.peek(offset) == Some(from);
        if is_it {
            self.publish(offset, to);
        }
        is_it
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.shown.clear();
    }

    /// Records shown.
    pub fn len(&self) -> usize {
        self.shown.len()
    }

    /// True when it shows nothing.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

impl Heat for RecordMap {
    fn hits(&self, offset: u64, slot: Slot) -> Option<u32> {
        let shown = self.shown.get(&offset)?;
        (shown.slot == slot).then(|| shown.hits.load(Ordering::Relaxed))
    }
}
