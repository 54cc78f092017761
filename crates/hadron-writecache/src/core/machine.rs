//! The machine for writes: current buffer, dirty list, clean list, compaction, flush.
//!
//! ```text
//!             reserve/complete            next_job            written
//!   clean ──────────────────▶ current ──▶ dirty ──▶ writing ──────────▶ clean (readable until taken again)
//!     ▲                                     │ enough of it dead
//!     └──────── emptied ◀── compact_done ◀──┴──▶ compacting ──▶ dirty
//! ```
//!
//! What it is for: it says where a record goes, which buffer the one writer thread writes next, and when a flush is done.
//! What it does not do: it holds no bytes and knows no readers; the shell shows and hides records as results say.
//!
//! Invariants:
//! - Each write buffer is in exactly one place: current, dirty, with the writer, compacting, reserve, clean, or draining.
//! - The dirty list is ordered by write set; a flush closes a set, later writes belong to the next one and are written later.
//!   So a flush never waits for them, and they never reach the file before it.
//! - Within a set the newest write of an offset kills the older one, unless that is with the writer already. Across sets
//!   nothing is killed: a commit of the older set needs it. Either way the file sees one offset's writes in order.
//! - Writes of one offset, and its being freed, do not overlap in time: the caller owns what it writes. (If they do, which one
//!   is kept is open, but it is one of them.)
//! - A buffer that gets clean is always to be had while there is something to write: compaction starts only into the reserve
//!   or what it already fills, and it is given up as soon as writers starve.

use std::collections::{HashMap, VecDeque};

use thiserror::Error;

use super::buffer::{Buffer, BufferId, Entry, Slot};
use crate::config::{Config, Layout};
use crate::sealed::Body;

/// Records that readers must no longer find in one content of a buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forgotten {
    /// The buffer.
    pub buffer: BufferId,
    /// Which content of it.
    pub generation: u64,
    /// File offsets of its records.
    pub offsets: Vec<u64>,
}

/// Answer to a wish for room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reserved {
    /// Copy the record to the slot, then call [`Machine::complete`].
    Room {
        /// Where.
        slot: Slot,
        /// The buffer was recycled for this: hide what it held.
        forgotten: Option<Forgotten>,
    },
    /// No buffer is clean, or a large record is on its way: try again after the writer thread or that record is done.
    Wait,
    /// The large record was given up by a reset.
    Discarded,
}

/// Why a record is not taken. These are faults of the caller, nothing changed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Refusal {
    /// The record does not fit a buffer.
    #[error(
        "record of {len} bytes at {offset} is longer than the {max} a buffer holds; split it, or use a larger buffer"
    )]
    TooLarge {
        /// Its file offset.
        offset: u64,
        /// Its length with checksum.
        len: usize,
        /// The longest possible.
        max: usize,
    },
    /// An append-only cache was given an offset that is written already.
    #[error("record at {offset} begins before the end {end} of what was appended; append in order")]
    NotAppended {
        /// Its file offset.
        offset: u64,
        /// The end of what was appended.
        end: u64,
    },
    /// The record would end past the largest file offset.
    #[error("record of {len} bytes at {offset} ends past the largest file offset")]
    PastTheEnd {
        /// Its file offset.
        offset: u64,
        /// Its length.
        len: usize,
    },
}

/// Names a large record on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LargeToken(u64);

/// What became of a copied record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completed {
    /// It counts: show it to readers.
    Accepted,
    /// It counts, but readers must not find it: part of a large record, or older than what another writer has completed.
    Hidden,
    /// A reset came in between; it is gone.
    Discarded,
}

/// One record of a buffer that is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Where it goes in the file.
    pub offset: u64,
    /// Where its file bytes stand in the buffer.
    pub position: u32,
    /// How many.
    pub len: u32,
}

/// One record on its way to another buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// File offset of the record.
    pub offset: u64,
    /// Where it is.
    pub from: Slot,
    /// Where it goes.
    pub to: Slot,
}

/// Work for the writer thread, which has at most one job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Job {
    /// Seal the buffer, offer it to the replicas, write its records, then call [`Machine::written`].
    Write {
        /// The buffer.
        buffer: BufferId,
        /// Bytes from its front that count.
        fill: usize,
        /// Sequence of the sealed buffer.
        sequence: u64,
        /// Length of the file with it.
        extent: u64,
        /// How its bytes map to the file.
        body: Body,
        /// What to write, in ascending order of offset; for an append-only layout one run.
        live: Vec<Placement>,
        /// Positions of records to mark void before sealing.
        void: Vec<u32>,
    },
    /// Copy the records, then call [`Machine::compacted`].
    Compact {
        /// The buffer to be emptied.
        from: BufferId,
        /// The buffer to be filled.
        to: BufferId,
        /// What to copy.
        moves: Vec<Move>,
        /// The target was recycled for this: hide what it held.
        forgotten: Option<Forgotten>,
    },
}

/// Which buffer the writer thread has.
#[derive(Clone, PartialEq, Eq, Debug)]
enum InWork {
    Nothing,
    Writing(BufferId),
    Compacting {
        from: BufferId,
        to: BufferId,
        moves: Vec<Move>,
    },
}

/// Numbers a person may want to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gauges {
    /// Buffers on the dirty list.
    pub dirty: usize,
    /// The most there ever were.
    pub dirty_max: usize,
    /// Buffers on the clean list.
    pub clean: usize,
    /// Buffers emptied by compaction.
    pub compactions: u64,
    /// Bytes compaction saved from being written.
    pub compacted_bytes: u64,
    /// Dirty buffers that were dropped because nothing in them counted any more.
    pub dropped: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    buffers: Vec<Buffer>,
    current: Option<BufferId>,
    compacting: Option<BufferId>,
    reserve: Option<BufferId>,
    dirty: VecDeque<BufferId>,
    clean: VecDeque<BufferId>,
    in_work: InWork,
    /// The job's buffer was discarded by a reset.
    in_work_discarded: bool,
    /// Records that are not in the file yet: offset to slot of the newest.
    pending: HashMap<u64, Slot>,
    set: u64,
    /// All sets up to this one are being flushed.
    flush_up_to: u64,
    /// The large record on its way.
    large: Option<LargeToken>,
    larges: u64,
    sequence: u64,
    extent: u64,
    /// End of what was appended (append-only layout).
    end: Option<u64>,
    gauges: Gauges,
}

impl Machine {
    /// A machine with all buffers clean and empty. `config` was checked by the caller; `extent`: length of the file.
    pub fn new(config: Config, extent: u64) -> Self {
        let count = u32::try_from(config.write_buffers).unwrap_or(u32::MAX);
        let mut clean: VecDeque<_> = (0..count).map(BufferId).collect();
        let reserve = if config.can_compact() { clean.pop_back() } else { None };
        Self {
            buffers: vec![Buffer::default(); config.write_buffers],
            config,
            current: None,
            compacting: None,
            reserve,
            dirty: VecDeque::new(),
            clean,
            in_work: InWork::Nothing,
            in_work_discarded: false,
            pending: HashMap::new(),
            set: 1,
            flush_up_to: 0,
            large: None,
            larges: 0,
            sequence: 0,
            extent,
            end: None,
            gauges: Gauges::default(),
        }
    }

    // ---- writers ----

    /// Finds room for a record of `len` file bytes (checksum included) at `offset`.
    pub fn reserve(&mut self, offset: u64, len: usize) -> Result<Reserved, Refusal> {
        let max = self.config.max_record_len() + self.config.trailer_len();
        if len > max {
            return Err(Refusal::TooLarge { offset, len, max });
        }
        self.check_place(offset, len)?;
        if self.large.is_some() {
            return Ok(Reserved::Wait);
        }
        Ok(self.take_room(offset, len, len))
    }

    /// Begins a large record of `len` bytes: until [`Machine::end_large`] nobody else gets room. `None`: another one is on
    /// its way, wait for it.
    pub fn begin_large(&mut self, offset: u64, len: usize) -> Result<Option<LargeToken>, Refusal> {
        if self.config.layout == Layout::Rw {
            let max = self.config.max_record_len();
            return Err(Refusal::TooLarge { offset, len, max });
        }
        self.check_place(offset, len)?;
        if self.large.is_some() {
            return Ok(None);
        }
        self.larges += 1;
        self.large = Some(LargeToken(self.larges));
        Ok(self.large)
    }

    /// Finds room for 1..=`wish` bytes of the large record on its way.
    pub fn reserve_chunk(&mut self, token: LargeToken, offset: u64, wish: usize) -> Reserved {
        if self.large != Some(token) {
            return Reserved::Discarded;
        }
        self.take_room(offset, 1, wish)
    }

    /// Ends the large record, whether it was written or given up.
    pub fn end_large(&mut self, token: LargeToken) {
        if self.large == Some(token) {
            self.large = None;
        }
    }

    /// A reserved slot was filled.
    pub fn complete(&mut self, offset: u64, slot: Slot, chunk: bool) -> Completed {
        let buffer = &mut self.buffers[slot.buffer.index()];
        debug_assert_eq!(buffer.generation, slot.generation, "a pinned buffer is not renewed");
        let set = buffer.set;
        if self.unpin(slot.buffer) {
            return Completed::Discarded;
        }
        let buffer = &mut self.buffers[slot.buffer.index()];
        if let Some(entry) = buffer.entry_mut(slot.position) {
            entry.live = true;
        }
        if chunk {
            return Completed::Hidden;
        }
        if let Some(older) = self.pending.insert(offset, slot) {
            if self.buffers[older.buffer.index()].set > set {
                // Two writers of one offset overlapped and the one that began later finished first: as if this write had
                // come just before that one.
                self.pending.insert(offset, older);
                self.kill(slot, set);
                return Completed::Hidden;
            }
            self.kill(older, set);
        }
        Completed::Accepted
    }

    /// Drops the write of `offset` that waits to be written. True: there was one and none of its bytes will reach the file.
    /// False: there was none, or it is in the file, on its way, or part of a flush that has begun.
    pub fn clear_write(&mut self, offset: u64) -> bool {
        if self.config.layout == Layout::Worm {
            return false;
        }
        match self.pending.get(&offset).copied() {
            Some(slot) if self.kill(slot, self.set) => self.pending.remove(&offset).is_some(),
            _ => false,
        }
    }

    // ---- flush ----

    /// Closes the write set: what was completed or reserved so far is written before anything later. Gives the set to ask
    /// [`Machine::is_flushed`] for.
    pub fn begin_flush(&mut self) -> u64 {
        if let Some(current) = self.current.take() {
            self.retire(current);
        }
        if let Some(compacting) = self.compacting.take() {
            self.dirty.push_front(compacting);
        }
        if self.config.layout == Layout::Rw {
            let buffers = &self.buffers;
            let key = |id: &BufferId| {
                let buffer = &buffers[id.index()];
                (buffer.set, buffer.lowest_offset())
            };
            self.dirty.make_contiguous().sort_by_key(key);
        }
        self.flush_up_to = self.set;
        self.set += 1;
        self.note_dirty();
        self.flush_up_to
    }

    /// True when all of the sets up to `set` is written.
    pub fn is_flushed(&self, set: u64) -> bool {
        let waits = |id: &BufferId| self.buffers[id.index()].set <= set;
        let in_work = match &self.in_work {
            InWork::Nothing => false,
            InWork::Writing(id) | InWork::Compacting { from: id, .. } => !self.in_work_discarded && waits(id),
        };
        !in_work && !self.dirty.front().is_some_and(waits) && !self.compacting.as_ref().is_some_and(waits)
    }

    // ---- the writer thread ----

    /// The next job, if there is a reason to do one now. Call it when there was none, after each finished job, and after
    /// anything that may be a reason: a full buffer, a flush, a completed record.
    pub fn next_job(&mut self) -> Option<Job> {
        if self.is_working() {
            return None;
        }
        loop {
            if self.dirty.is_empty() && self.clean.is_empty() {
                // Writers starve and compaction holds the buffer that could help.
                self.dirty.extend(self.compacting.take());
            }
            let id = *self.dirty.front()?;
            if self.buffers[id.index()].pins > 0 || !self.has_reason(id) {
                return None;
            }
            self.dirty.pop_front();
            if self.buffers[id.index()].live().next().is_none() {
                self.gauges.dropped += 1;
                self.gauges.compacted_bytes += self.buffers[id.index()].fill as u64;
                self.empty(id);
                continue;
            }
            if let Some(job) = self.try_compact(id) {
                return Some(job);
            }
            return Some(self.write(id));
        }
    }

    /// The buffer of the job was written, or a reset made it void. Gives what must be hidden from readers.
    pub fn written(&mut self) {
        let InWork::Writing(id) = std::mem::replace(&mut self.in_work, InWork::Nothing) else {
            debug_assert!(false, "no buffer was being written");
            return;
        };
        if std::mem::take(&mut self.in_work_discarded) {
            self.empty(id);
            return;
        }
        let buffer = &self.buffers[id.index()];
        for entry in &buffer.entries {
            let slot = buffer.slot(id, entry);
            if self.pending.get(&entry.offset) == Some(&slot) {
                self.pending.remove(&entry.offset);
            }
        }
        self.clean.push_back(id);
    }

    /// The write of the job failed: the buffer is dirty again, first in line, for a reset to discard.
    pub fn write_failed(&mut self) {
        match std::mem::replace(&mut self.in_work, InWork::Nothing) {
            InWork::Writing(id) if std::mem::take(&mut self.in_work_discarded) => self.empty(id),
            InWork::Writing(id) => self.dirty.push_front(id),
            other => self.in_work = other,
        }
    }

    /// The records of the job were copied. Gives those that still count: show them at their new place.
    pub fn compacted(&mut self) -> Vec<Move> {
        let InWork::Compacting { from, to, moves } = std::mem::replace(&mut self.in_work, InWork::Nothing) else {
            debug_assert!(false, "no buffer was being compacted");
            return Vec::new();
        };
        self.unpin(to);
        if std::mem::take(&mut self.in_work_discarded) {
            self.empty(from);
            return Vec::new();
        }
        self.settle(from, moves)
    }

    // ---- reset ----

    /// Discards all that is not in the file; clean buffers stay. Gives what to hide from readers. The sequence begins anew,
    /// an append-only cache takes any offset next, and the extent must be set.
    pub fn reset(&mut self) -> Vec<Forgotten> {
        let mut forgotten = Vec::new();
        let mut discarded: Vec<_> = self.dirty.drain(..).collect();
        discarded.extend(self.compacting.take());
        discarded.extend(self.current.take());
        for id in discarded {
            forgotten.push(self.forget(id));
            if self.buffers[id.index()].pins > 0 {
                self.buffers[id.index()].discard();
                self.buffers[id.index()].draining = true;
            } else {
                self.empty(id);
            }
        }
        if let InWork::Writing(id) | InWork::Compacting { from: id, .. } = &self.in_work {
            forgotten.push(self.forget(*id));
            self.in_work_discarded = true;
        }
        self.pending.clear();
        self.flush_up_to = self.set;
        self.set += 1;
        self.large = None;
        self.sequence = 0;
        self.end = None;
        forgotten
    }

    /// Also forgets the clean buffers: the cache is as new.
    pub fn reset_and_clear(&mut self) -> Vec<Forgotten> {
        let mut forgotten = self.reset();
        let clean: Vec<_> = self.clean.iter().copied().collect();
        for id in clean {
            forgotten.push(self.forget(id));
            self.buffers[id.index()].discard();
        }
        forgotten
    }

    // ---- getters and settings ----

    /// Sets the length of the file that goes with the next sealed buffers.
    pub fn set_extent(&mut self, extent: u64) {
        self.extent = extent;
    }

    /// The length of the file as last set.
    pub fn extent(&self) -> u64 {
        self.extent
    }

    /// Sequence of the last sealed buffer.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Begins sequences at 1 again and gives the last one (at a commit, which stores it in its root).
    pub fn reset_sequence(&mut self) -> u64 {
        std::mem::take(&mut self.sequence)
    }

    /// True when [`Machine::next_job`] would find one, or is worth a try.
    pub fn wants_work(&self) -> bool {
        let starving = self.clean.is_empty() && self.compacting.is_some();
        let ready = |id: &BufferId| self.buffers[id.index()].pins == 0 && self.has_reason(*id);
        !self.is_working() && self.dirty.front().map_or(starving, ready)
    }

    /// True while a job is out.
    pub fn is_working(&self) -> bool {
        self.in_work != InWork::Nothing
    }

    /// True when nothing waits to be written.
    pub fn is_clean(&self) -> bool {
        self.is_flushed(self.set)
            && self
                .current
                .is_none_or(|id| self.buffers[id.index()].entries.is_empty())
    }

    /// The set that takes writes now.
    pub fn set(&self) -> u64 {
        self.set
    }

    /// Numbers of this moment.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            dirty: self.dirty.len(),
            clean: self.clean.len(),
            ..self.gauges
        }
    }

    /// Panics when a buffer is in no place or in two.
    pub fn assert_sound(&self) {
        let mut places = vec![0; self.buffers.len()];
        let in_work = match &self.in_work {
            InWork::Nothing => None,
            InWork::Writing(id) | InWork::Compacting { from: id, .. } => Some(*id),
        };
        let draining = (0..)
            .map(BufferId)
            .zip(&self.buffers)
            .filter(|(_, buffer)| buffer.draining);
        let draining: Vec<_> = draining.map(|(id, _)| id).collect();
        let single = [self.current, self.compacting, self.reserve, in_work];
        let all = single.into_iter().flatten().chain(draining);
        for id in all.chain(self.dirty.iter().copied()).chain(self.clean.iter().copied()) {
            places[id.index()] += 1;
        }
        assert!(
            places.iter().all(|count| *count == 1),
            "places of the buffers: {places:?}"
        );
        let sets: Vec<_> = self.dirty.iter().map(|id| self.buffers[id.index()].set).collect();
        assert!(sets.is_sorted(), "dirty list out of order: {sets:?}");
        for buffer in &self.buffers {
            assert!(buffer.dead <= buffer.fill && buffer.fill <= self.config.buffer_len);
        }
    }

    // ---- inside ----

    fn check_place(&self, offset: u64, len: usize) -> Result<(), Refusal> {
        if offset.checked_add(len as u64).is_none() {
            return Err(Refusal::PastTheEnd { offset, len });
        }
        match self.end {
            Some(end) if offset < end => Err(Refusal::NotAppended { offset, end }),
            _ => Ok(()),
        }
    }

    /// Room for `least..=most` bytes, in the current buffer or the next.
    fn take_room(&mut self, offset: u64, least: usize, most: usize) -> Reserved {
        let header = self.config.header_len();
        let mut forgotten = None;
        let (config, end) = (&self.config, self.end);
        let fits = |buffer: &Buffer| {
            let adjoins = config.layout == Layout::Rw || buffer.fill == 0 || end == Some(offset);
            adjoins && config.buffer_len - buffer.fill >= header + least
        };
        if let Some(full) = self.current.take_if(|id| !fits(&self.buffers[id.index()])) {
            self.retire(full);
            self.note_dirty();
        }
        let id = match self.current {
            Some(id) => id,
            None => {
                let Some(id) = self.clean.pop_front() else {
                    return Reserved::Wait;
                };
                forgotten = self.renew(id);
                self.current = Some(id);
                id
            }
        };
        let buffer = &mut self.buffers[id.index()];
        let len = most.min(self.config.buffer_len - buffer.fill - header);
        let entry = Entry {
            offset,
            // Buffers are at most 1 GiB.
            position: (buffer.fill + header) as u32,
            len: len as u32,
            live: false,
        };
        buffer.fill += header + len;
        buffer.pins += 1;
        buffer.entries.push(entry);
        if self.config.layout == Layout::Worm {
            self.end = Some(offset + len as u64);
        }
        let slot = buffer.slot(id, &entry);
        Reserved::Room { slot, forgotten }
    }

    fn retire(&mut self, id: BufferId) {
        if self.buffers[id.index()].entries.is_empty() {
            self.clean.push_front(id);
        } else {
            self.dirty.push_back(id);
        }
    }

    fn note_dirty(&mut self) {
        self.gauges.dirty_max = self.gauges.dirty_max.max(self.dirty.len());
    }

    fn renew(&mut self, id: BufferId) -> Option<Forgotten> {
        let forgotten = self.forget(id);
        self.buffers[id.index()].renew(self.set);
        (!forgotten.offsets.is_empty()).then_some(forgotten)
    }

    fn forget(&self, id: BufferId) -> Forgotten {
        let buffer = &self.buffers[id.index()];
        Forgotten {
            buffer: id,
            generation: buffer.generation,
            offsets: buffer.entries.iter().map(|entry| entry.offset).collect(),
        }
    }

    /// Marks a waiting record of set `set` as not to be written. False when it is too late or must not be.
    fn kill(&mut self, slot: Slot, set: u64) -> bool {
        if self.in_work == InWork::Writing(slot.buffer) || self.config.layout == Layout::Worm {
            return false;
        }
        let header = self.config.header_len();
        let buffer = &mut self.buffers[slot.buffer.index()];
        if buffer.generation != slot.generation || buffer.set != set {
            return false;
        }
        let killed = match buffer.entry_mut(slot.position) {
            Some(entry) => std::mem::replace(&mut entry.live, false),
            None => false,
        };
        if killed {
            buffer.dead += header + slot.len as usize;
        }
        killed
    }

    fn has_reason(&self, id: BufferId) -> bool {
        self.buffers[id.index()].set <= self.flush_up_to
            || self.dirty.len() >= self.config.dirty_limit()
            || self.clean.len() < self.config.clean_limit()
            || self.large.is_some()
    }

    /// Takes a pin off. True when the buffer was discarded by a reset; with the last pin it can be used again.
    fn unpin(&mut self, id: BufferId) -> bool {
        let buffer = &mut self.buffers[id.index()];
        buffer.pins -= 1;
        let discarded = buffer.draining;
        if discarded && buffer.pins == 0 {
            buffer.draining = false;
            self.empty(id);
        }
        discarded
    }

    /// An emptied buffer: the reserve if that is missing, else clean and first to be taken.
    fn empty(&mut self, id: BufferId) {
        self.buffers[id.index()].discard();
        if self.reserve.is_none() && self.config.can_compact() {
            self.reserve = Some(id);
        } else {
            self.clean.push_front(id);
        }
    }

    /// Starts to move what is live in `from` to the compacting buffer, when that is worth it and possible.
    fn try_compact(&mut self, from: BufferId) -> Option<Job> {
        let header = self.config.header_len();
        let Buffer { fill, dead, set, .. } = self.buffers[from.index()];
        let threshold = usize::from(self.config.compaction_threshold);
        let flushing = set <= self.flush_up_to;
        if !self.config.can_compact() || flushing || dead * 100 < threshold * fill {
            return None;
        }
        let need: usize = self.buffers[from.index()]
            .live()
            .map(|entry| header + entry.len as usize)
            .sum();
        let room = |id: BufferId| self.config.buffer_len - self.buffers[id.index()].fill;
        let mut forgotten = None;
        let to = match self.compacting {
            Some(to) if room(to) >= need => to,
            full => {
                let to = self.take_for_compaction()?;
                // Its records and those of `from` are of one set, in which no offset counts twice: any order is right.
                self.dirty.extend(full);
                forgotten = self.renew(to);
                self.compacting = Some(to);
                to
            }
        };
        debug_assert_eq!(
            self.buffers[to.index()].set,
            set,
            "a flush takes the compacting buffer with it"
        );
        let live: Vec<_> = self.buffers[from.index()].live().copied().collect();
        let mut moves = Vec::with_capacity(live.len());
        for mut entry in live {
            let source = self.buffers[from.index()].slot(from, &entry);
            let target = &mut self.buffers[to.index()];
            entry.position = (target.fill + header) as u32;
            target.fill += header + entry.len as usize;
            entry.live = false;
            target.entries.push(entry);
            moves.push(Move {
                offset: entry.offset,
                from: source,
                to: target.slot(to, &entry),
            });
        }
        self.buffers[to.index()].pins += 1;
        self.in_work = InWork::Compacting {
            from,
            to,
            moves: moves.clone(),
        };
        Some(Job::Compact {
            from,
            to,
            moves,
            forgotten,
        })
    }

    /// A buffer to move records to: the reserve, or a clean one that writers do not need now.
    fn take_for_compaction(&mut self) -> Option<BufferId> {
        let spare = self.clean.len() > self.config.clean_limit();
        self.reserve
            .take()
            .or_else(|| if spare { self.clean.pop_front() } else { None })
    }

    /// Makes the moved records count at their new place, unless they were overwritten or freed on the way.
    fn settle(&mut self, from: BufferId, moves: Vec<Move>) -> Vec<Move> {
        let header = self.config.header_len();
        let mut kept = Vec::with_capacity(moves.len());
        for a_move in moves {
            let still = self.buffers[from.index()]
                .entry_mut(a_move.from.position)
                .is_some_and(|entry| entry.live);
            let target = &mut self.buffers[a_move.to.buffer.index()];
            if !still {
                target.dead += header + a_move.to.len as usize;
                continue;
            }
            if let Some(entry) = target.entry_mut(a_move.to.position) {
                entry.live = true;
            }
            if self.pending.get(&a_move.offset) == Some(&a_move.from) {
                self.pending.insert(a_move.offset, a_move.to);
            }
            kept.push(a_move);
        }
        self.gauges.compactions += 1;
        self.gauges.compacted_bytes += self.buffers[from.index()].dead as u64;
        self.empty(from);
        kept
    }

    fn write(&mut self, id: BufferId) -> Job {
        let buffer = &self.buffers[id.index()];
        let mut live: Vec<_> = buffer
            .live()
            .map(
                |&Entry {
                     offset, position, len, ..
                 }| Placement { offset, position, len },
            )
            .collect();
        let body = match self.config.layout {
            Layout::Worm => Body::Worm {
                offset: buffer.lowest_offset(),
            },
            Layout::Rw => Body::Prefixed,
        };
        live.sort_by_key(|placement| placement.offset);
        let void = buffer
            .entries
            .iter()
            .filter(|entry| !entry.live)
            .map(|entry| entry.position)
            .collect();
        let fill = buffer.fill;
        self.sequence += 1;
        self.in_work = InWork::Writing(id);
        Job::Write {
            buffer: id,
            fill,
            sequence: self.sequence,
            extent: self.extent,
            body,
            live,
            void,
        }
    }
}
