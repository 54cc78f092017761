//! Which replicas' descriptors are kept, who uses them, and which go first.
//!
//! Pure: every decision of the cache is made here, told as [`Effect`]s; files, maps and slots are the caller's.
//! A replica has one use by the cache, while it is in it, and one for each reader. When only the cache's is left the replica
//! becomes evictable: among those with a mapping, which lose it after a while, or among those without.
//!
//! Invariants: a replica is in at most one list, and only with the cache's use alone; after each operation no more than
//! `Limits::total` replicas are in the lists; a purged replica is never found again, and closed when its last use ends.
//!
//! Source: Hadoop `ShortCircuitCache` (`unref`, `trimEvictionMaps`, `demoteOldEvictableMmaped`, `CacheCleaner`).

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// Names a replica in this process; never used twice.
pub(super) type ReplicaId = u64;

/// How much is kept, and for how long. 0 anywhere: not at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Evictable replicas, mapped or not.
    pub(super) total: usize,
    /// Evictable replicas that are mapped.
    pub(super) mapped: usize,
    /// How long an evictable replica is kept.
    pub(super) age: Duration,
    /// How long it stays mapped.
    pub(super) mapped_age: Duration,
}

/// What the caller has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// End the mapping.
    Unmap(ReplicaId),
    /// Left the cache; to be logged.
    Purged(ReplicaId),
    /// Nobody uses it any more: close its descriptors, release its slot.
    Close(ReplicaId),
}

#[derive(Debug)]
struct Entry<K> {
    key: K,
    uses: usize,
    purged: bool,
    mapped: bool,
    /// Its place in the list that `mapped` says.
    evictable_since: Option<u128>,
}

/// The bookkeeping of one cache.
#[derive(Debug)]
pub(super) struct Book<K> {
    limits: Limits,
    by_key: HashMap<K, ReplicaId>,
    entries: HashMap<ReplicaId, Entry<K>>,
    /// By the nanosecond in which they became evictable, made unique.
    plain: BTreeMap<u128, ReplicaId>,
    mapped: BTreeMap<u128, ReplicaId>,
    next: ReplicaId,
}

impl<K: Clone + Eq + Hash> Book<K> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_key: HashMap::new(),
            entries: HashMap::new(),
            plain: BTreeMap::new(),
            mapped: BTreeMap::new(),
            next: 0,
        }
    }

    /// A new replica, used by the cache and by the caller. The key must not be in the book.
    pub(super) fn insert(&mut self, key: K) -> ReplicaId {
        let id = self.next;
        self.next += 1;
        let replaced = self.by_key.insert(key.clone(), id);
        debug_assert!(replaced.is_none(), "one loader at a time");
        let entry = Entry {
            key,
            uses: 2,
            purged: false,
            mapped: false,
            evictable_since: None,
        };
        self.entries.insert(id, entry);
        id
    }

    /// The replica of `key`, if the cache has it.
    pub(super) fn find(&self, key: &K) -> Option<ReplicaId> {
        self.by_key.get(key).copied()
    }

    /// One more use; false if it was purged.
    pub(super) fn take(&mut self, id: ReplicaId) -> bool {
        match self.entries.get_mut(&id) {
            Some(entry) if !entry.purged => entry.uses += 1,
            _ => return false,
        }
        self.unlist(id);
        true
    }

    /// A use ends. `stale`: the replica is no longer the block's, or may not be. A stale one leaves the cache, so that it
    /// takes no good one's place; a good one becomes evictable with its last use, and then others may have to go.
    pub(super) fn give_back(&mut self, id: ReplicaId, now: Duration, stale: bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some(entry) = self.entries.get(&id) else {
            return effects;
        };
        if !entry.purged && (stale || (entry.uses == 2 && self.keeps_nothing())) {
            self.purge(id, &mut effects);
        }
        self.drop_use(id, &mut effects);
        if self
            .entries
            .get(&id)
            .is_some_and(|entry| entry.uses == 1 && !entry.purged)
        {
            self.list(id, now.as_nanos());
            self.trim(now, &mut effects);
        }
        effects
    }

    fn keeps_nothing(&self) -> bool {
        self.limits.total == 0 || self.limits.age.is_zero()
    }

    /// Takes a replica out of the cache, whoever still reads it.
    pub(super) fn purge(&mut self, id: ReplicaId, effects: &mut Vec<Effect>) {
        self.unlist(id);
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| !entry.purged) else {
            return;
        };
        entry.purged = true;
        if self.by_key.get(&entry.key) == Some(&id) {
            self.by_key.remove(&entry.key);
        }
        effects.push(Effect::Purged(id));
        self.drop_use(id, effects);
    }

    /// The replica was mapped, which it stays until an [`Effect::Unmap`]. The caller has a use of it.
    pub(super) fn set_mapped(&mut self, id: ReplicaId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            debug_assert!(entry.evictable_since.is_none(), "mapped by whoever uses it");
            entry.mapped = true;
        }
    }

    /// Ends what has been kept for long enough. To be called every now and then.
    pub(super) fn clean(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.demote(now, &mut effects);
        while let Some((since, id)) = first(&self.plain)
            && is_older(since, now, self.limits.age)
        {
            self.purge(id, &mut effects);
        }
        effects
    }

    /// How often [`Self::clean`] is to be called.
    pub(super) fn clean_interval(&self) -> Duration {
        const SHORTEST: Duration = Duration::from_millis(1);
        (self.limits.age.min(self.limits.mapped_age) / 4).max(SHORTEST)
    }

    /// Replicas known, in use or kept.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Mappings there are.
    pub(super) fn mappings(&self) -> usize {
        self.entries.values().filter(|entry| entry.mapped).count()
    }

    /// Replicas that nobody reads: not mapped, and mapped.
    pub(super) fn evictable(&self) -> (usize, usize) {
        (self.plain.len(), self.mapped.len())
    }

    fn drop_use(&mut self, id: ReplicaId, effects: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.uses = entry.uses.saturating_sub(1);
        if entry.uses == 0 {
            debug_assert!(entry.purged, "the cache has a use of what it holds");
            if entry.mapped {
                effects.push(Effect::Unmap(id));
            }
            self.entries.remove(&id);
            effects.push(Effect::Close(id));
        }
    }

    fn list(&mut self, id: ReplicaId, since: u128) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let list = if entry.mapped {
            &mut self.mapped
        } else {
            &mut self.plain
        };
        let mut since = since;
        while list.contains_key(&since) {
            since += 1;
        }
        list.insert(since, id);
        entry.evictable_since = Some(since);
    }

    fn unlist(&mut self, id: ReplicaId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if let Some(since) = entry.evictable_since.take() {
            let list = if entry.mapped {
                &mut self.mapped
            } else {
                &mut self.plain
            };
            list.remove(&since);
        }
    }

    /// Ends mappings that are old or too many; their replicas stay, as old as they were.
    fn demote(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while let Some((since, id)) = first(&self.mapped)
            && (is_older(since, now, self.limits.mapped_age) || self.mapped.len() > self.limits.mapped)
        {
            self.unlist(id);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.mapped = false;
            }
            effects.push(Effect::Unmap(id));
            self.list(id, since);
        }
    }

    fn trim(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.demote(now, effects);
        while self.plain.len() + self.mapped.len() > self.limits.total {
            let Some((_, id)) = first(&self.plain).or_else(|| first(&self.mapped)) else {
                return;
            };
            self.purge(id, effects);
        }
    }
}

fn first(list: &BTreeMap<u128, ReplicaId>) -> Option<(u128, ReplicaId)> {
    list.first_key_value().map(|(since, id)| (*since, *id))
}

fn is_older(since: u128, now: Duration, age: Duration) -> bool {
    since + age.as_nanos() <= now.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(total: usize, mapped: usize) -> Limits {
        Limits {
            total,
            mapped,
            age: Duration::from_secs(300),
            mapped_age: Duration::from_secs(3600),
        }
    }

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    // covers: SC-31
    #[test]
    fn a_stale_replica_never_evicts_a_good_one() {
        let mut book = Book::new(limits(1, 1));
        let good = book.insert("a");
        assert_eq!(book.give_back(good, at(1), false), []);
        let stale = book.insert("b");
        let effects = book.give_back(stale, at(2), true);
        assert_eq!(effects, [Effect::Purged(stale), Effect::Close(stale)]);
        assert_eq!((book.find(&"a"), book.find(&"b")), (Some(good), None));
        assert_eq!(book.evictable(), (1, 0));
    }

    // covers: SC-33
    #[test]
    fn a_reader_outlives_the_purge_of_its_replica() {
        let mut book = Book::new(limits(8, 8));
        let id = book.insert("a");
        let mut effects = Vec::new();
        book.purge(id, &mut effects);
        assert_eq!(effects, [Effect::Purged(id)], "the reader has it still");
        assert!(book.find(&"a").is_none() && !book.take(id));
        let again = book.insert("a");
        assert_eq!(book.give_back(id, at(1), false), [Effect::Close(id)]);
        assert_eq!(book.find(&"a"), Some(again));
        book.purge(id, &mut effects);
        assert_eq!(effects.len(), 1, "purged once");
    }

    // covers: SC-32
    #[test]
    fn the_oldest_goes_and_only_after_another_came() {
        let mut book = Book::new(limits(2, 2));
        let ids: Vec<_> = ["a", "b", "c"].into_iter().map(|key| book.insert(key)).collect();
        for (index, id) in ids.iter().enumerate() {
            let effects = book.give_back(*id, at(0), false);
            let gone = [Effect::Purged(ids[0]), Effect::Close(ids[0])];
            assert_eq!(effects, if index == 2 { &gone[..] } else { &[] }, "{index}");
        }
        assert!(book.take(ids[1]));
        assert_eq!(book.evictable(), (1, 0), "in use: in no list");
    }

    #[test]
    fn mappings_end_before_their_replicas_do() {
        let mut book = Book::new(limits(8, 1));
        let ids: Vec<_> = ["a", "b"].into_iter().map(|key| book.insert(key)).collect();
        for id in &ids {
            book.set_mapped(*id);
        }
        assert_eq!(book.give_back(ids[0], at(1), false), []);
        assert_eq!(book.give_back(ids[1], at(2), false), [Effect::Unmap(ids[0])]);
        assert_eq!((book.evictable(), book.mappings()), ((1, 1), 1));
        // Demoted, it is as old as it was.
        assert_eq!(book.clean(at(300)), []);
        assert_eq!(book.clean(at(301)), [Effect::Purged(ids[0]), Effect::Close(ids[0])]);
        let effects = book.clean(at(3602));
        assert_eq!(
            effects,
            [Effect::Unmap(ids[1]), Effect::Purged(ids[1]), Effect::Close(ids[1])]
        );
        assert_eq!(book.len(), 0);
    }

    #[test]
    fn nothing_is_kept_where_a_limit_is_0() {
        let none = [
            (limits(0, 8), true),
            (limits(8, 0), false),
            (
                Limits {
                    age: Duration::ZERO,
                    ..limits(8, 8)
                },
                true,
            ),
            (
                Limits {
                    mapped_age: Duration::ZERO,
                    ..limits(8, 8)
                },
                false,
            ),
        ];
        for (limits, closes) in none {
            let mut book = Book::new(limits);
            let id = book.insert("a");
            book.set_mapped(id);
            let effects = book.give_back(id, at(1), false);
            assert!(effects.contains(&Effect::Unmap(id)), "{limits:?}");
            assert_eq!(effects.contains(&Effect::Close(id)), closes, "{limits:?}");
            assert_eq!(book.mappings(), 0);
        }
    }

    #[test]
    fn the_cleaner_comes_four_times_in_the_shorter_age() {
        assert_eq!(Book::<u8>::new(limits(1, 1)).clean_interval(), at(75));
    }

    proptest! {
        // covers: SC-32
        #[test]
        fn the_book_keeps_its_limits_and_forgets_nothing(
            steps in proptest::collection::vec((0..6_u8, 0..5_u8, any::<bool>()), 1..200),
            total in 0..4_usize,
            mapped in 0..3_usize,
        ) {
            let mut book = Book::new(limits(total, mapped));
            let mut held: Vec<(u8, ReplicaId)> = Vec::new();
            let mut open = std::collections::HashSet::new();
            let mut is_mapped = std::collections::HashSet::new();
            for (number, (step, key, stale)) in steps.into_iter().enumerate() {
                let now = Duration::from_secs(number as u64 * 20);
                let mut effects = Vec::new();
                let mut just_listed = None;
                match step {
                    0 | 1 => {
                        let id = match book.find(&key) {
                            Some(id) => { prop_assert!(book.take(id)); id }
                            None => book.insert(key),
                        };
                        open.insert(id);
                        held.push((key, id));
                    }
                    2 | 3 if !held.is_empty() => {
                        let (_, id) = held.swap_remove(usize::from(key) % held.len());
                        let others = book.evictable();
                        effects = book.give_back(id, now, stale);
                        just_listed = (others.0 + others.1 > 0 && total > 0).then_some(id).filter(|_| !stale);
                    }
                    4 => effects = book.clean(now),
                    _ => if let Some((_, id)) = held.first() {
                        // Only what is in the cache is mapped anew or again.
                        book.set_mapped(*id);
                        is_mapped.insert(*id);
                    },
                }
                for effect in effects {
                    match effect {
                        Effect::Close(id) => {
                            prop_assert!(open.remove(&id), "closed twice");
                            prop_assert!(!is_mapped.contains(&id), "closed while mapped");
                            prop_assert!(held.iter().all(|(_, other)| *other != id), "closed while in use");
                        }
                        Effect::Unmap(id) => prop_assert!(is_mapped.remove(&id)),
                        // The last to come may only go for lack of any older one that is plain.
                        Effect::Purged(id) => prop_assert!(just_listed != Some(id) || is_mapped.len() >= total || total == 0),
                    }
                }
                let (plain, with_map) = book.evictable();
                prop_assert!(plain + with_map <= total);
                prop_assert!(with_map <= mapped);
                prop_assert_eq!(book.len(), open.len());
                prop_assert_eq!(book.mappings(), is_mapped.len());
            }
            for (_, id) in held.drain(..) {
                for effect in book.give_back(id, at(9999), true) {
                    if let Effect::Close(id) = effect { open.remove(&id); }
                }
            }
            prop_assert_eq!(book.len(), open.len());
        }
    }
}
