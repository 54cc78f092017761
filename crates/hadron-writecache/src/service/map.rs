//! The readers' map, shared: shards of [`RecordMap`] by offset, each with its breadcrumbs and its reads in flight.
//!
//! What it is for: writers of several cores and readers meet here for some nanoseconds and nowhere else. What it does not do:
//! no lock is held over a copy or over I/O.
//! Invariant: a read of the file shows its bytes to readers only if no write, freeing or reset of that offset came between its
//! begin and its end; each of these takes the read off the table, so that nobody joins it any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use super::error::ReadError;
use super::trail::{Action, Trail};
use crate::core::machine::{Forgotten, Move};
use crate::core::{Heat, RecordMap, Slot};

/// Shards; a power of two.
const SHARDS: usize = 32;

/// One read of the file that several readers wait for.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    result: Mutex<Option<Result<Bytes, ReadError>>>,
    landed: Condvar,
}

impl Flight {
    pub(crate) fn land(&self, result: Result<Bytes, ReadError>) {
        *self.result.lock() = Some(result);
        self.landed.notify_all();
    }

    pub(crate) fn wait(&self) -> Result<Bytes, ReadError> {
        let mut result = self.result.lock();
        loop {
            match &*result {
                Some(result) => return result.clone(),
                None => self.landed.wait(&mut result),
            }
        }
    }
}

/// What a reader that missed is to do.
pub(crate) enum Boarding {
    /// Look again: the record came meanwhile.
    Shown,
    /// Read the file, then [`SharedMap::install`] and [`Flight::land`].
    Fly(Arc<Flight>),
    /// Somebody reads it: [`Flight::wait`].
    Join(Arc<Flight>),
}

#[derive(Debug, Default)]
struct Shard {
    map: RecordMap,
    flights: HashMap<(u64, usize), Arc<Flight>>,
    trail: Trail,
}

impl Shard {
    fn ground(&mut self, offset: u64) {
        // A record has one length but for the caller's errors, and few reads are in flight.
        if !self.flights.is_empty() {
            self.flights.retain(|(flying, _), _| *flying != offset);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SharedMap {
    shards: Vec<RwLock<Shard>>,
    no_installs: AtomicBool,
}

impl SharedMap {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            no_installs: AtomicBool::new(false),
        }
    }

    pub(crate) fn find(&self, offset: u64) -> Option<Slot> {
        self.shard(offset).read().map.find(offset)
    }

    pub(crate) fn peek(&self, offset: u64) -> Option<Slot> {
        self.shard(offset).read().map.peek(offset)
    }

    /// A write was completed.
    pub(crate) fn publish(&self, offset: u64, slot: Slot) {
        let mut shard = self.shard(offset).write();
        shard.map.publish(offset, slot);
        shard.ground(offset);
        shard.trail.drop_crumb(offset, Action::Written, slot.len);
    }

    /// A record was freed.
    pub(crate) fn free(&self, offset: u64) {
        let mut shard = self.shard(offset).write();
        let len = shard.map.peek(offset).map_or(0, |slot| slot.len);
        shard.map.retract(offset);
        shard.ground(offset);
        shard.trail.drop_crumb(offset, Action::Freed, len);
    }

    pub(crate) fn saved(&self, offset: u64, len: u32) {
        self.shard(offset).write().trail.drop_crumb(offset, Action::Saved, len);
    }

    pub(crate) fn forget(&self, forgotten: &Forgotten) {
        for offset in &forgotten.offsets {
            let mut shard = self.shard(*offset).write();
            if shard.map.retract_from(*offset, forgotten.buffer, forgotten.generation) {
                shard.trail.drop_crumb(*offset, Action::Removed, 0);
            }
        }
    }

    pub(crate) fn relocate(&self, a_move: &Move) {
        let mut shard = self.shard(a_move.offset).write();
        if shard.map.relocate(a_move.offset, a_move.from, a_move.to) {
            shard.trail.drop_crumb(a_move.offset, Action::Moved, a_move.to.len);
        }
    }

    /// Begins or joins a read of the file.
    pub(crate) fn board(&self, offset: u64, len: usize) -> Boarding {
        let mut shard = self.shard(offset).write();
        if shard.map.peek(offset).is_some() {
            return Boarding::Shown;
        }
        if let Some(flight) = shard.flights.get(&(offset, len)) {
            return Boarding::Join(Arc::clone(flight));
        }
        let flight = Arc::new(Flight::default());
        shard.flights.insert((offset, len), Arc::clone(&flight));
        Boarding::Fly(flight)
    }

    /// Ends a read of the file, and shows its bytes at `slot` unless they may be old.
    pub(crate) fn install(&self, offset: u64, len: usize, flight: &Arc<Flight>, slot: Option<Slot>) -> bool {
        let mut shard = self.shard(offset).write();
        let fresh = shard
            .flights
            .get(&(offset, len))
            .is_some_and(|flying| Arc::ptr_eq(flying, flight));
        if fresh {
            shard.flights.remove(&(offset, len));
        }
        let Some(slot) = slot else { return false };
        let fits = fresh && shard.map.peek(offset).is_none() && !self.no_installs.load(Ordering::Acquire);
        if fits {
            shard.map.publish(offset, slot);
            shard.trail.drop_crumb(offset, Action::Installed, slot.len);
        }
        fits
    }

    /// While a reset waits for the writer thread, the file holds bytes of nobody: reads of it are not kept.
    pub(crate) fn pause_installs(&self) {
        self.no_installs.store(true, Ordering::Release);
    }

    /// Reads that began before this are not kept either.
    pub(crate) fn resume_installs(&self) {
        for shard in &self.shards {
            shard.write().flights.clear();
        }
        self.no_installs.store(false, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            shard.write().map.clear();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().map.len()).sum()
    }

    pub(crate) fn history(&self, offset: u64) -> String {
        self.shard(offset).read().trail.history(offset)
    }

    fn shard(&self, offset: u64) -> &RwLock<Shard> {
        // Offsets are often multiples of a power of two: spread them by a multiplication.
        let spread = offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        &self.shards[spread as usize % SHARDS]
    }
}

impl Heat for SharedMap {
    fn hits(&self, offset: u64, slot: Slot) -> Option<u32> {
        self.shard(offset).read().map.hits(offset, slot)
    }
}
