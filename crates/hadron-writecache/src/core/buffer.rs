//! What the machines know of one buffer: which records stand where, and which of them still count.
//!
//! What it does not do: it holds no bytes. Invariants: `dead <= fill`; positions of entries ascend and do not overlap;
//! `generation` changes each time the buffer is taken for new content, so that an older [`Slot`] names nothing.

/// Names a buffer of the cache; write buffers come first, then read buffers, then hot ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct BufferId(pub u32);

impl BufferId {
    /// Place in a table of all buffers.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Names a record: the buffer, which content of it, and where in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Slot {
    /// The buffer.
    pub buffer: BufferId,
    /// Which content of the buffer.
    pub generation: u64,
    /// Byte within the buffer where the record's file bytes start (behind its header).
    pub position: u32,
    /// File bytes of the record, checksum included.
    pub len: u32,
}

/// A record within a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Where its first byte belongs in the file.
    pub(crate) offset: u64,
    /// As in [`Slot`].
    pub(crate) position: u32,
    /// As in [`Slot`].
    pub(crate) len: u32,
    /// To be written: copied in full, not overwritten or freed since.
    pub(crate) live: bool,
}

/// Bookkeeping of one buffer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) generation: u64,
    /// Which write set its records belong to.
    pub(crate) set: u64,
    /// Bytes taken from the front, headers included.
    pub(crate) fill: usize,
    /// Bytes of these that need not be written.
    pub(crate) dead: usize,
    /// Records reserved and not yet completed.
    pub(crate) pins: usize,
    /// Discarded while pinned: becomes clean with the last pin.
    pub(crate) draining: bool,
    pub(crate) entries: Vec<Entry>,
}

impl Buffer {
    /// Forgets the content; a next one gets the next generation. Gives the old records.
    pub(crate) fn renew(&mut self, set: u64) -> Vec<Entry> {
        debug_assert!(self.pins == 0 && !self.draining);
        self.generation += 1;
        self.set = set;
        self.fill = 0;
        self.dead = 0;
        std::mem::take(&mut self.entries)
    }

    /// Forgets the records, so that the buffer has nothing to show or to write.
    pub(crate) fn discard(&mut self) -> Vec<Entry> {
        self.fill = 0;
        self.dead = 0;
        std::mem::take(&mut self.entries)
    }

    /// The entry that starts at `position`.
    pub(crate) fn entry_mut(&mut self, position: u32) -> Option<&mut Entry> {
        let index = self
            .entries
            .binary_search_by_key(&position, |entry| entry.position)
            .ok()?;
        self.entries.get_mut(index)
    }

    /// Names a record of this buffer, which is `id`.
    pub(crate) fn slot(&self, id: BufferId, entry: &Entry) -> Slot {
        Slot {
            buffer: id,
            generation: self.generation,
            position: entry.position,
            len: entry.len,
        }
    }

    /// The smallest file offset in it.
    pub(crate) fn lowest_offset(&self) -> u64 {
        self.entries.iter().map(|entry| entry.offset).min().unwrap_or(u64::MAX)
    }

    /// Records to be written.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.live)
    }
}
