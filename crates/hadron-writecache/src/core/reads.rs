//! The machine for reads: where a record read from the file is kept, and which records move to the hot cache.
//!
//! ```text
//!   installed ──▶ current ──full──▶ read list ──oldest──▶ recycled: records with hits ≥ threshold ──▶ hot, the rest is lost
//!   hot: full ──▶ hot list, the reserve takes its place; the oldest hot buffer is squeezed into that and is the next reserve
//! ```
//!
//! What it does not do: no bytes, no look-ups; hits come from the readers' map ([`Heat`]).
//! Invariants: work for one installed record is bounded by the records of two buffers; a record that moves begins at no hits,
//! so that once all hits are used up everything leaves after one turn of the list; the hot reserve is always empty.

use std::collections::VecDeque;

use super::buffer::{Buffer, BufferId, Entry, Slot};
use super::machine::{Forgotten, Move};
use super::map::Heat;
use crate::config::Config;

/// What to do, in this order, before a record is put to its slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Relocation {
    /// Copy a record to another buffer and show it there.
    Move(Move),
    /// Hide what is left in this content of the buffer; it is taken for new content.
    Forget(Forgotten),
}

/// A place for a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installed {
    /// Where it goes.
    pub slot: Slot,
    /// What comes first.
    pub before: Vec<Relocation>,
}

/// See the module.
#[derive(Debug)]
pub struct ReadLists {
    buffer_len: usize,
    threshold: u32,
    first: u32,
    buffers: Vec<Buffer>,
    unused: Vec<BufferId>,
    current: Option<BufferId>,
    list: VecDeque<BufferId>,
    hot: Option<BufferId>,
    hot_reserve: Option<BufferId>,
    hot_unused: Vec<BufferId>,
    hot_list: VecDeque<BufferId>,
    moved: u64,
}

impl ReadLists {
    /// Empty lists; their buffers are numbered after the write buffers. `config` was checked by the caller.
    pub fn new(config: &Config) -> Self {
        let id = |index: usize| BufferId((config.write_buffers + index) as u32);
        let mut hot_unused: Vec<_> = (0..config.hot_buffers)
            .map(|index| id(config.read_buffers + index))
            .collect();
        let first_content = Buffer {
            generation: 1,
            ..Buffer::default()
        };
        Self {
            buffer_len: config.buffer_len,
            threshold: config.hot_threshold,
            first: id(0).0,
            buffers: vec![first_content; config.read_buffers + config.hot_buffers],
            unused: (0..config.read_buffers).map(id).collect(),
            current: None,
            list: VecDeque::new(),
            hot: hot_unused.pop(),
            hot_reserve: hot_unused.pop(),
            hot_unused,
            hot_list: VecDeque::new(),
            moved: 0,
        }
    }

    /// Finds room for a record of `len` file bytes. `None`: it is longer than a buffer, or there are none.
    pub fn install(&mut self, offset: u64, len: usize, heat: &impl Heat) -> Option<Installed> {
        if len > self.buffer_len || self.buffers.is_empty() {
            return None;
        }
        let mut before = Vec::new();
        let current = match self.current {
            Some(id) if self.fits(id, len) => id,
            full => {
                self.list.extend(full);
                let next = match self.unused.pop() {
                    Some(id) => id,
                    None => self.recycle(heat, &mut before)?,
                };
                self.current = Some(next);
                next
            }
        };
        let slot = self.place(current, offset, len as u32);
        Some(Installed { slot, before })
    }

    /// Forgets all records; gives what to hide.
    pub fn clear(&mut self) -> Vec<Forgotten> {
        let ids = (0..self.buffers.len()).map(|index| BufferId(self.first + index as u32));
        ids.collect::<Vec<_>>().into_iter().map(|id| self.forget(id)).collect()
    }

    /// Records moved to the hot cache so far.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Takes the oldest read buffer for new content; its hot records move first.
    fn recycle(&mut self, heat: &impl Heat, before: &mut Vec<Relocation>) -> Option<BufferId> {
        let victim = self.list.pop_front()?;
        let mut turned = false;
        for entry in self.hot_records(victim, heat) {
            let Some(mut hot) = self.hot else { break };
            if !self.fits(hot, entry.len as usize) {
                if turned {
                    // It would take another turn: lost.
                    continue;
                }
                turned = true;
                match self.turn_hot(heat, before) {
                    Some(next) if self.fits(next, entry.len as usize) => hot = next,
                    _ => continue,
                }
            }
            self.relocate(victim, entry, hot, before);
        }
        before.push(Relocation::Forget(self.forget(victim)));
        Some(victim)
    }

    /// The reserve becomes the hot buffer; what is hot in the oldest one is squeezed into it, and that one is the reserve.
    fn turn_hot(&mut self, heat: &impl Heat, before: &mut Vec<Relocation>) -> Option<BufferId> {
        let next = self.hot_reserve.take()?;
        self.hot_list.extend(self.hot.replace(next));
        if let Some(unused) = self.hot_unused.pop() {
            self.hot_reserve = Some(unused);
            return Some(next);
        }
        let oldest = self.hot_list.pop_front()?;
        for entry in self.hot_records(oldest, heat) {
            if self.fits(next, entry.len as usize) {
                self.relocate(oldest, entry, next, before);
            }
        }
        before.push(Relocation::Forget(self.forget(oldest)));
        self.hot_reserve = Some(oldest);
        Some(next)
    }

    fn hot_records(&self, id: BufferId, heat: &impl Heat) -> Vec<Entry> {
        let buffer = self.buffer(id);
        let hits = |entry: &Entry| heat.hits(entry.offset, buffer.slot(id, entry)).unwrap_or(0);
        let is_hot = |entry: &&Entry| entry.live && hits(entry) >= self.threshold;
        buffer.entries.iter().filter(is_hot).copied().collect()
    }

    fn relocate(&mut self, id: BufferId, entry: Entry, to: BufferId, before: &mut Vec<Relocation>) {
        let from = self.buffer(id).slot(id, &entry);
        let to = self.place(to, entry.offset, entry.len);
        self.moved += 1;
        before.push(Relocation::Move(Move {
            offset: entry.offset,
            from,
            to,
        }));
    }

    fn place(&mut self, id: BufferId, offset: u64, len: u32) -> Slot {
        let buffer = self.buffer_mut(id);
        let entry = Entry {
            offset,
            position: buffer.fill as u32,
            len,
            live: true,
        };
        buffer.fill += len as usize;
        buffer.entries.push(entry);
        buffer.slot(id, &entry)
    }

    fn fits(&self, id: BufferId, len: usize) -> bool {
        self.buffer_len - self.buffer(id).fill >= len
    }

    fn forget(&mut self, id: BufferId) -> Forgotten {
        let buffer = self.buffer_mut(id);
        let generation = buffer.generation;
        let offsets = buffer.renew(0).iter().map(|entry| entry.offset).collect();
        Forgotten {
            buffer: id,
            generation,
            offsets,
        }
    }

    fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[(id.0 - self.first) as usize]
    }

    fn buffer_mut(&mut self, id: BufferId) -> &mut Buffer {
        &mut self.buffers[(id.0 - self.first) as usize]
    }
}
