//! What a member holds of the log in memory: its reigns, how far it goes, and the newest parcels.
//!
//! What it is for: links send from it, leader and follower grow it. What it does not do: I/O.
//! Invariants: retained parcels follow each other without gaps and end with `last`; `written <= last`; a parcel leaves
//! memory only when [`Log::evict`] is told that it may; until then [`Log::has_room`] says no. What is neither in memory nor
//! in the file is sent to nobody until it is written.

use std::collections::VecDeque;

use crate::sealed::Body;

use super::types::{History, Parcel, Reign, ReplicaState};

/// Parcels in memory at most, however small.
pub const MAX_RETAINED_PARCELS: usize = 1 << 16;
/// Parcels offered and not yet written to the local file at most.
pub const MAX_UNWRITTEN_PARCELS: usize = 1 << 16;

/// The log of one member.
#[derive(Debug)]
pub struct Log {
    /// All reigns reached.
    pub history: History,
    /// True when bytes once written never change.
    pub append_only: bool,
    /// The highest sequence known to be committed.
    pub committed: u64,
    /// True while a copy is being made: nothing is sent on meanwhile.
    pub filling: bool,
    /// The file is a true copy only from this sequence on.
    pub consistent_at: u64,
    /// The last sequence that wrote before the end of an append-only file; 0: none did.
    pub rewound: u64,
    last: u64,
    last_extent: u64,
    written: u64,
    written_extent: u64,
    /// Sequence and extent of what is not in the file yet.
    unwritten: VecDeque<(u64, u64)>,
    retained: VecDeque<Parcel>,
    retained_bytes: usize,
    limit_bytes: usize,
    max_retained_bytes: usize,
}

impl Log {
    /// The log `state` tells of, with nothing in memory. `limit_bytes`: memory for parcels, > 0.
    pub fn new(state: &ReplicaState, append_only: bool, limit_bytes: usize) -> Self {
        Self {
            history: state.history.clone(),
            append_only,
            committed: state.committed,
            filling: false,
            consistent_at: state.consistent_at,
            rewound: state.rewound,
            unwritten: VecDeque::new(),
            last: state.last,
            last_extent: state.extent,
            written: state.last,
            written_extent: state.extent,
            retained: VecDeque::new(),
            retained_bytes: 0,
            limit_bytes: limit_bytes.max(1),
            max_retained_bytes: 0,
        }
    }

    /// The last sequence, and the file's length there.
    pub fn last(&self) -> (u64, u64) {
        (self.last, self.last_extent)
    }

    /// The last sequence that is in the file (if not yet synced), and the file's length there.
    pub fn written(&self) -> (u64, u64) {
        (self.written, self.written_extent)
    }

    /// Bytes retained now and at most so far.
    pub fn retained_bytes(&self) -> (usize, usize) {
        (self.retained_bytes, self.max_retained_bytes)
    }

    /// The first sequence that needs no file; `last + 1` when nothing is retained.
    pub fn first_retained(&self) -> u64 {
        self.last + 1 - self.retained.len() as u64
    }

    /// The parcel `sequence` when it is retained.
    pub fn get(&self, sequence: u64) -> Option<&Parcel> {
        let index = sequence.checked_sub(self.first_retained())?;
        self.retained.get(usize::try_from(index).ok()?)
    }

    /// True when an append-only file's bytes before the end it had at `sequence` never changed since.
    pub fn is_kept_after(&self, sequence: u64) -> bool {
        self.append_only && self.rewound <= sequence
    }

    /// True when `bytes` more may be retained. A parcel larger than the limit has room when nothing else is there.
    pub fn has_room(&self, bytes: usize) -> bool {
        let fits = self.retained_bytes == 0 || self.retained_bytes.saturating_add(bytes) <= self.limit_bytes;
        fits && self.retained.len() < MAX_RETAINED_PARCELS && self.unwritten.len() < MAX_UNWRITTEN_PARCELS
    }

    /// Adds the parcel after the last one. Panics when it is not that one (the caller checked).
    pub fn push(&mut self, parcel: Parcel) {
        assert_eq!(parcel.sequence, self.last + 1);
        if matches!(parcel.body, Body::Worm { offset } if offset < self.last_extent) {
            self.rewound = parcel.sequence;
        }
        self.last = parcel.sequence;
        self.last_extent = parcel.extent;
        self.unwritten.push_back((parcel.sequence, parcel.extent));
        self.retained_bytes += parcel.bytes.len();
        self.max_retained_bytes = self.max_retained_bytes.max(self.retained_bytes);
        self.retained.push_back(parcel);
    }

    /// Notes that all up to `sequence` is in the file.
    pub fn wrote(&mut self, sequence: u64) {
        while let Some(&(at, extent)) = self.unwritten.front().filter(|(at, _)| *at <= sequence) {
            (self.written, self.written_extent) = (at, extent);
            self.unwritten.pop_front();
        }
    }

    /// Lets parcels up to `through` go, oldest first, until `incoming` bytes more fit.
    pub fn evict(&mut self, through: u64, incoming: usize) {
        while !self.has_room(incoming) {
            match self.retained.front() {
                Some(parcel) if parcel.sequence <= through => {
                    self.retained_bytes -= parcel.bytes.len();
                    self.retained.pop_front();
                }
                _ => return,
            }
        }
    }

    /// Begins a reign at the end of the log; false when it does not follow.
    pub fn begin(&mut self, reign: Reign) -> bool {
        reign.first == self.last + 1 && self.history.begin(reign)
    }

    /// Goes on from another end: what is in memory is forgotten, and the file holds all up to `sequence`.
    pub fn restart(&mut self, history: History, sequence: u64, extent: u64) {
        self.history = history;
        self.last = sequence;
        self.last_extent = extent;
        self.written = sequence;
        self.written_extent = extent;
        self.unwritten.clear();
        self.retained.clear();
        self.retained_bytes = 0;
    }
}
