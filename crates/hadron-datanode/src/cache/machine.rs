//! Which replicas are in memory, on their way in and on their way out: the decisions, without a clock, locks or memory.
//!
//! ```text
//!            Cache            Loaded            Uncache             Free, or overdue
//! (nothing) ------> Caching ---------> Cached ---------> Uncaching -----------------> (nothing)
//!                     | Uncache                            ^ Anchored |
//!                     v          Loaded, Failed            +----------+
//!                  Cancelled -----------------> (nothing)
//! ```
//! Invariants: bytes are reserved, in whole pages, from the order to cache until the memory is given back, and never exceed
//! the capacity; only a replica in state Cached is told of; a replica is never unlocked under a client that anchors it
//! before the time for revocation is over. Source: Hadoop `FsDatasetCache`.

use crate::short_circuit::ReplicaKey;
use hashbrown::HashMap;
use std::time::Duration;

/// Where a replica is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Being mapped, locked and verified.
    Caching,
    /// As before, but nobody wants it any more.
    Cancelled,
    /// In memory; clients may anchor it.
    Cached,
    /// In memory as long as clients anchor it; nobody else may.
    Uncaching {
        /// When the clients' time is over; monotonic.
        deadline: Duration,
    },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    state: State,
    /// Bytes reserved.
    bytes: u64,
}

/// What happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A replica of so many bytes is to be cached.
    Cache(ReplicaKey, u64),
    /// A replica is not to be cached any more: the NameNode's wish, or it is gone or changes.
    Uncache(ReplicaKey),
    /// It is mapped, locked and verified.
    Loaded(ReplicaKey),
    /// It cannot be.
    Failed(ReplicaKey),
    /// No client anchors it, and none can.
    Free(ReplicaKey),
    /// Clients anchor it still.
    Anchored(ReplicaKey),
    /// Time went on.
    Tick,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Map, lock and verify it; `Loaded` or `Failed` follows.
    Load(ReplicaKey),
    /// Keep its memory and tell clients that they may anchor it.
    Publish(ReplicaKey),
    /// Let nobody anchor it any more; `Free` or `Anchored` follows.
    Revoke(ReplicaKey),
    /// Say which clients did not give it back in time; its memory goes all the same.
    Blame(ReplicaKey),
    /// Give its memory back.
    Release(ReplicaKey),
}

/// Sizes and times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    /// Most bytes locked.
    pub(super) capacity: u64,
    /// Bytes of a page of memory.
    pub(super) page: u64,
    /// How long clients may keep a replica that is to go.
    pub(super) revocation: Duration,
}

/// Counts for operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    /// Replicas in memory that are told of.
    pub(super) cached: u64,
    /// Orders to cache that came to nothing.
    pub(super) failed_to_cache: u64,
    /// Orders to uncache that came to nothing.
    pub(super) failed_to_uncache: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Machine {
    limits: Limits,
    entries: HashMap<ReplicaKey, Entry>,
    used: u64,
    counts: Counts,
}

impl Machine {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            used: 0,
            counts: Counts::default(),
        }
    }

    /// Bytes reserved.
    pub(super) fn used(&self) -> u64 {
        self.used
    }
    pub(super) fn capacity(&self) -> u64 {
        self.limits.capacity
    }
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The replicas that are in memory, to be reported.
    pub(super) fn cached(&self) -> impl Iterator<Item = &ReplicaKey> {
        let cached = self.entries.iter().filter(|(_, entry)| entry.state == State::Cached);
        cached.map(|(key, _)| key)
    }

    /// Whether a replica waits for its clients.
    pub(super) fn is_waiting(&self) -> bool {
        let mut states = self.entries.values().map(|entry| entry.state);
        states.any(|state| matches!(state, State::Uncaching { .. }))
    }

    /// Whether the replica is being loaded and still wanted.
    pub(super) fn is_loading(&self, key: &ReplicaKey) -> bool {
        self.state(key) == Some(State::Caching)
    }

    fn state(&self, key: &ReplicaKey) -> Option<State> {
        self.entries.get(key).map(|entry| entry.state)
    }

    fn enter(&mut self, key: &ReplicaKey, state: State) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.state = state;
        }
    }

    fn forget(&mut self, key: &ReplicaKey) {
        if let Some(entry) = self.entries.remove(key) {
            self.used -= entry.bytes;
        }
    }

    /// Takes in what happened at `now`, monotonic time; gives what to do, in order.
    pub(super) fn handle(&mut self, event: Event, now: Duration) -> Vec<Action> {
        match event {
            Event::Cache(key, len) => self.cache(key, len),
            Event::Uncache(key) => self.uncache(key, now),
            Event::Loaded(key) => match self.state(&key) {
                Some(State::Caching) => {
                    self.enter(&key, State::Cached);
                    self.counts.cached += 1;
                    vec![Action::Publish(key)]
                }
                _ => {
                    self.forget(&key);
                    vec![Action::Release(key)]
                }
            },
            Event::Failed(key) => {
                if self.is_loading(&key) {
                    self.counts.failed_to_cache += 1;
                }
                self.forget(&key);
                vec![Action::Release(key)]
            }
            Event::Free(key) => match self.state(&key) {
                Some(State::Uncaching { .. }) => self.release(key),
                _ => Vec::new(),
            },
            Event::Anchored(key) => match self.state(&key) {
                Some(State::Uncaching { deadline }) if deadline <= now => {
                    let mut actions = vec![Action::Blame(key.clone())];
                    actions.extend(self.release(key));
                    actions
                }
                _ => Vec::new(),
            },
            Event::Tick => {
                let waiting = self.entries.iter();
                let waiting = waiting.filter(|(_, entry)| matches!(entry.state, State::Uncaching { .. }));
                waiting.map(|(key, _)| Action::Revoke(key.clone())).collect()
            }
        }
    }

    fn cache(&mut self, key: ReplicaKey, len: u64) -> Vec<Action> {
        let bytes = len.checked_next_multiple_of(self.limits.page).unwrap_or(u64::MAX);
        let fits = self
            .used
            .checked_add(bytes)
            .is_some_and(|used| used <= self.limits.capacity);
        if self.entries.contains_key(&key) || !fits || len == 0 {
            self.counts.failed_to_cache += 1;
            return Vec::new();
        }
        self.used += bytes;
        let state = State::Caching;
        self.entries.insert(key.clone(), Entry { state, bytes });
        vec![Action::Load(key)]
    }

    fn uncache(&mut self, key: ReplicaKey, now: Duration) -> Vec<Action> {
        match self.state(&key) {
            Some(State::Caching) => {
                self.enter(&key, State::Cancelled);
                Vec::new()
            }
            Some(State::Cached) => {
                let deadline = now.saturating_add(self.limits.revocation);
                self.enter(&key, State::Uncaching { deadline });
                self.counts.cached -= 1;
                vec![Action::Revoke(key)]
            }
            Some(State::Cancelled | State::Uncaching { .. }) | None => {
                self.counts.failed_to_uncache += 1;
                Vec::new()
            }
        }
    }

    fn release(&mut self, key: ReplicaKey) -> Vec<Action> {
        self.forget(&key);
        vec![Action::Release(key)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_types::BlockId;

    const LIMITS: Limits = Limits {
        capacity: 12_288,
        page: 4096,
        revocation: Duration::from_secs(900),
    };

    fn key(id: i64) -> ReplicaKey {
        ("BP-1".into(), BlockId(id))
    }

    /// Runs (second, event, expected actions, bytes used after it).
    fn check(steps: &[(u64, Event, &[Action], u64)]) -> Machine {
        let mut machine = Machine::new(LIMITS);
        for (number, (at, event, actions, used)) in steps.iter().enumerate() {
            let done = machine.handle(event.clone(), Duration::from_secs(*at));
            assert_eq!(&done, actions, "step {number}: {event:?}");
            assert_eq!(machine.used(), *used, "step {number}: {event:?}");
        }
        machine
    }

    fn one(make: fn(ReplicaKey) -> Action) -> [Action; 1] {
        [make(key(1))]
    }

    #[test]
    fn a_replica_comes_in_and_goes_out() {
        let machine = check(&[
            (0, Event::Cache(key(1), 5000), &one(Action::Load), 8192),
            (1, Event::Loaded(key(1)), &one(Action::Publish), 8192),
            (2, Event::Tick, &[], 8192),
            (3, Event::Uncache(key(1)), &one(Action::Revoke), 8192),
            (3, Event::Free(key(1)), &one(Action::Release), 0),
            (4, Event::Tick, &[], 0),
        ]);
        assert_eq!(machine.counts(), Counts::default());
        assert_eq!(machine.cached().count(), 0);
    }

    // covers: SC-15
    #[test]
    fn an_anchored_replica_stays_until_it_is_free_or_its_time_is_over() {
        let (load, publish) = (one(Action::Load), one(Action::Publish));
        let (revoke, release) = (one(Action::Revoke), one(Action::Release));
        let blamed = [Action::Blame(key(1)), Action::Release(key(1))];
        let begin: [(u64, Event, &[Action], u64); 6] = [
            (0, Event::Cache(key(1), 1), &load, 4096),
            (0, Event::Loaded(key(1)), &publish, 4096),
            (10, Event::Uncache(key(1)), &revoke, 4096),
            (10, Event::Anchored(key(1)), &[], 4096),
            (11, Event::Tick, &revoke, 4096),
            (11, Event::Anchored(key(1)), &[], 4096),
        ];
        let mut freed = begin.to_vec();
        freed.push((12, Event::Tick, &revoke, 4096));
        freed.push((12, Event::Free(key(1)), &release, 0));
        check(&freed);
        let mut overdue = begin.to_vec();
        overdue.push((909, Event::Anchored(key(1)), &[], 4096));
        overdue.push((910, Event::Anchored(key(1)), &blamed, 0));
        check(&overdue);
    }

    #[test]
    fn a_load_that_is_cancelled_or_fails_leaves_nothing() {
        let machine = check(&[
            (0, Event::Cache(key(1), 1), &one(Action::Load), 4096),
            (0, Event::Uncache(key(1)), &[], 4096),
            (1, Event::Loaded(key(1)), &one(Action::Release), 0),
            (2, Event::Cache(key(1), 1), &one(Action::Load), 4096),
            (2, Event::Failed(key(1)), &one(Action::Release), 0),
            (3, Event::Cache(key(1), 1), &one(Action::Load), 4096),
            (3, Event::Uncache(key(1)), &[], 4096),
            (3, Event::Failed(key(1)), &one(Action::Release), 0),
        ]);
        assert_eq!(machine.counts().failed_to_cache, 1);
    }

    #[test]
    fn what_has_no_room_is_there_already_or_is_not_there_comes_to_nothing() {
        let machine = check(&[
            (0, Event::Cache(key(1), 8192), &one(Action::Load), 8192),
            (0, Event::Cache(key(2), 4097), &[], 8192),
            (0, Event::Cache(key(1), 1), &[], 8192),
            (0, Event::Cache(key(3), u64::MAX), &[], 8192),
            (0, Event::Cache(key(4), 0), &[], 8192),
            (0, Event::Cache(key(2), 4096), &[Action::Load(key(2))], 12_288),
            (0, Event::Uncache(key(9)), &[], 12_288),
            (0, Event::Loaded(key(1)), &one(Action::Publish), 12_288),
            (0, Event::Uncache(key(1)), &one(Action::Revoke), 12_288),
            (0, Event::Uncache(key(1)), &[], 12_288),
            // On its way out it cannot be had in again yet.
            (0, Event::Cache(key(1), 1), &[], 12_288),
            (0, Event::Free(key(7)), &[], 12_288),
        ]);
        let counts = Counts {
            cached: 0,
            failed_to_cache: 5,
            failed_to_uncache: 2,
        };
        assert_eq!(machine.counts(), counts);
        assert!(machine.is_waiting() && machine.is_loading(&key(2)));
    }
}
