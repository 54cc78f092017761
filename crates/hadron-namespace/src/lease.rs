//! When leases end: holders by the time of their last renewal. Soft state beside the namespace, never journaled.
//!
//! Who owns which file is in the namespace; this index follows its [`Effect`](crate::Effect)s and adds the times. After a
//! start or a fail-over every lease counts as renewed: fill it from [`Namespace::open_files`](crate::Namespace::open_files).
//! It reads no clock and knows no limits: both are arguments, from one monotonic source.
//!
//! Three indexes: holders by name, files by inode id, and a list of holders by renewal. Times come in order, so that a
//! renewal moves its holder to the list's end and costs the same for one open file and for a million; a time that lies
//! before the latest one counts as that.
//!
//! Invariants: a holder is listed exactly while it owns a file; every file has one holder; the list has each holder once,
//! the longest silent first. Limits: nothing here grows beyond the open files of the namespace.

use crate::outcome::Effect;
use hadron_types::{InodeId, TimeMs};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// After this long without renewal another client may take a file over.
pub const LEASE_SOFT_LIMIT_MS: u64 = 60_000;
/// After this long without renewal the NameNode recovers the files itself (`dfs.namenode.lease-hard-limit-sec`).
pub const LEASE_HARD_LIMIT_MS: u64 = 1_200_000;
/// How the names begin of those who own files that the NameNode recovers; a time stamp follows.
pub const NAMENODE_LEASE_HOLDER: &str = "HDFS_NameNode";
/// Files that one look for expired leases hands out at most.
pub const EXPIRED_LEASES_PER_SLICE: usize = 1000;

/// No holder: the end of the list.
const NONE: u32 = u32::MAX;

/// One client's claim on all its open files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease<'a> {
    /// Last renewal.
    pub renewed: TimeMs,
    /// The files, in no order.
    pub files: &'a [InodeId],
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct LeaseManager {
    slots: Vec<Slot>,
    /// Slots without holder.
    free: Vec<u32>,
    holders: HashMap<Arc<str>, u32>,
    files: BTreeMap<InodeId, Place>,
    oldest: u32,
    newest: u32,
}

/// A holder, in the list of all by renewal.
#[derive(Clone, Debug)]
struct Slot {
    holder: Arc<str>,
    renewed: TimeMs,
    files: Vec<InodeId>,
    older: u32,
    newer: u32,
}

/// Where a file stands: its holder's slot, and its place among that one's files.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    at: u32,
}

impl Default for LeaseManager {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            holders: HashMap::new(),
            files: BTreeMap::new(),
            oldest: NONE,
            newest: NONE,
        }
    }
}

impl LeaseManager {
    /// No leases.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows what a command did to leases; call it with the effects of every applied command.
    pub fn follow(&mut self, effects: &[Effect], now: TimeMs) {
        for effect in effects {
            match effect {
                Effect::LeaseGranted { file, holder } => self.grant(*file, holder, now),
                Effect::LeaseReleased { file } => self.release(*file),
                _ => {}
            }
        }
    }

    /// Gives `file` to `holder`, taking it from whoever has it, and renews the holder's lease.
    pub fn grant(&mut self, file: InodeId, holder: &Arc<str>, now: TimeMs) {
        if let Some(place) = self.files.get(&file) {
            let slot = place.slot;
            if self.slot(slot).holder == *holder {
                return self.touch(slot, now);
            }
            self.release(file);
        }
        let slot = match self.holders.get(&**holder) {
            Some(&slot) => slot,
            None => self.add_holder(holder, now),
        };
        let at = self.slot(slot).files.len() as u32;
        self.slot_mut(slot).files.push(file);
        self.files.insert(file, Place { slot, at });
        self.touch(slot, now);
    }

    /// Ends the claim on `file`; a holder without files is forgotten. Nothing happens for a file without a holder.
    pub fn release(&mut self, file: InodeId) {
        let Some(Place { slot, at }) = self.files.remove(&file) else {
            return;
        };
        let files = &mut self.slot_mut(slot).files;
        files.swap_remove(at as usize);
        let (moved, is_last) = (files.get(at as usize).copied(), files.is_empty());
        if let Some(place) = moved.and_then(|moved| self.files.get_mut(&moved)) {
            place.at = at;
        }
        if is_last {
            self.unlink(slot);
            let gone = self.slot_mut(slot);
            gone.files = Vec::new();
            let holder = std::mem::replace(&mut gone.holder, Arc::from(""));
            self.holders.remove(&*holder);
            self.free.push(slot);
        }
    }

    /// Renews a lease; false for a holder without open files, which is no error.
    pub fn renew(&mut self, holder: &str, now: TimeMs) -> bool {
        let Some(&slot) = self.holders.get(holder) else {
            return false;
        };
        self.touch(slot, now);
        true
    }

    /// Who has `file`.
    pub fn holder_of(&self, file: InodeId) -> Option<&Arc<str>> {
        self.files.get(&file).map(|place| &self.slot(place.slot).holder)
    }

    /// A holder's lease.
    pub fn lease(&self, holder: &str) -> Option<Lease<'_>> {
        let slot = self.slot(*self.holders.get(holder)?);
        Some(Lease {
            renewed: slot.renewed,
            files: &slot.files,
        })
    }

    /// Whether another client may take over what `holder` has; true for a holder without a lease.
    pub fn is_soft_expired(&self, holder: &str, now: TimeMs, soft_limit_ms: u64) -> bool {
        self.lease(holder)
            .is_none_or(|lease| now.since(lease.renewed) > soft_limit_ms)
    }

    /// Files whose leases are past the hard limit, those of the longest silent holder first; at most `budget`.
    ///
    /// The caller proposes ReleaseLease for each, with itself as new holder; effects take the file out of the expired
    /// lease. A file that could not be released is to be granted to that holder (by ReassignLease), so that the next
    /// slice does not meet it again at once.
    pub fn expired(&self, now: TimeMs, hard_limit_ms: u64, budget: usize) -> Vec<(InodeId, Arc<str>)> {
        self.by_renewal()
            .take_while(|slot| now.since(slot.renewed) > hard_limit_ms)
            .flat_map(|slot| slot.files.iter().map(|&file| (file, Arc::clone(&slot.holder))))
            .take(budget)
            .collect()
    }

    /// Open files with an inode id above `after`, ascending.
    pub fn files_after(&self, after: InodeId) -> impl Iterator<Item = InodeId> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.files.range((Excluded(after), Unbounded)).map(|(&file, _)| file)
    }

    /// Holders with open files.
    pub fn holder_count(&self) -> usize {
        self.holders.len()
    }

    /// Open files.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// Holders, the longest silent first.
    fn by_renewal(&self) -> impl Iterator<Item = &Slot> {
        let at = |slot: u32| (slot != NONE).then(|| self.slot(slot));
        std::iter::successors(at(self.oldest), move |slot| at(slot.newer))
    }

    fn add_holder(&mut self, holder: &Arc<str>, now: TimeMs) -> u32 {
        let fresh = Slot {
            holder: Arc::clone(holder),
            renewed: now,
            files: Vec::with_capacity(1),
            older: NONE,
            newer: NONE,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                *self.slot_mut(slot) = fresh;
                slot
            }
            None => {
                self.slots.push(fresh);
                (self.slots.len() - 1) as u32
            }
        };
        self.holders.insert(Arc::clone(holder), slot);
        self.link_newest(slot, now);
        slot
    }

    /// Renews a holder that is in the list.
    fn touch(&mut self, slot: u32, now: TimeMs) {
        if now > self.slot(slot).renewed {
            self.unlink(slot);
            self.link_newest(slot, now);
        }
    }

    fn link_newest(&mut self, slot: u32, now: TimeMs) {
        let before = self.newest;
        let latest = match before {
            NONE => now,
            before => now.max(self.slot(before).renewed),
        };
        let linked = self.slot_mut(slot);
        (linked.renewed, linked.older, linked.newer) = (latest, before, NONE);
        match before {
            NONE => self.oldest = slot,
            before => self.slot_mut(before).newer = slot,
        }
        self.newest = slot;
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { older, newer, .. } = *self.slot(slot);
        match older {
            NONE => self.oldest = newer,
            older => self.slot_mut(older).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.slot_mut(newer).older = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn holder(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    /// covers: LM-02, LM-03, LM-05, LM-07, LM-09
    #[test]
    fn one_lease_covers_many_files_and_ends_with_the_last() {
        let mut leases = LeaseManager::new();
        let (a, b) = (holder("a"), holder("b"));
        for file in 0..10_000 {
            leases.grant(InodeId(file), &a, TimeMs(5));
        }
        assert_eq!((leases.holder_count(), leases.file_count()), (1, 10_000));
        assert!(leases.renew("a", TimeMs(9)) && !leases.renew("b", TimeMs(9)));
        assert_eq!(leases.lease("a").map(|lease| lease.renewed), Some(TimeMs(9)));
        leases.grant(InodeId(3), &b, TimeMs(10));
        assert_eq!(leases.holder_of(InodeId(3)), Some(&b));
        assert_eq!(leases.holder_of(InodeId(4)), Some(&a));
        assert_eq!(leases.holder_of(InodeId(10_000)), None);
        leases.release(InodeId(3));
        assert_eq!(leases.lease("b"), None);
        assert_eq!(leases.lease("a").map(|lease| lease.files.len()), Some(9_999));
        assert_eq!(
            leases.files_after(InodeId(1)).take(2).collect::<Vec<_>>(),
            [InodeId(2), InodeId(4)]
        );
    }

    #[test]
    fn effects_are_followed() {
        let mut leases = LeaseManager::new();
        let (file, a, b) = (InodeId(1), holder("a"), holder("b"));
        let granted = |holder: &Arc<str>| Effect::LeaseGranted {
            file,
            holder: Arc::clone(holder),
        };
        leases.follow(&[granted(&a), Effect::ReclaimNeeded, granted(&b)], TimeMs(1));
        assert_eq!((leases.holder_of(file), leases.holder_count()), (Some(&b), 1));
        leases.follow(&[Effect::LeaseReleased { file }], TimeMs(2));
        assert_eq!((leases.file_count(), leases.holder_count()), (0, 0));
    }

    /// covers: LM-10, LM-13
    #[test]
    fn expired_leases_come_oldest_first_in_slices() {
        let mut leases = LeaseManager::new();
        for file in 0..100_000u64 {
            let name = holder(&format!("client-{}", file / 1000));
            leases.grant(InodeId(file), &name, TimeMs(file / 1000));
        }
        assert_eq!(leases.expired(TimeMs(LEASE_HARD_LIMIT_MS), LEASE_HARD_LIMIT_MS, 10), []);
        let slice = leases.expired(TimeMs(LEASE_HARD_LIMIT_MS + 2), LEASE_HARD_LIMIT_MS, 1_500);
        assert_eq!(slice.len(), 1_500);
        assert!(slice[..1_000].iter().all(|(_, name)| &**name == "client-0"));
        assert!(slice[1_000..].iter().all(|(_, name)| &**name == "client-1"));
        assert!(leases.is_soft_expired("client-0", TimeMs(LEASE_SOFT_LIMIT_MS + 1), LEASE_SOFT_LIMIT_MS));
        assert!(!leases.is_soft_expired("client-1", TimeMs(LEASE_SOFT_LIMIT_MS + 1), LEASE_SOFT_LIMIT_MS));
        leases.renew("client-0", TimeMs(200));
        let next = leases.expired(TimeMs(LEASE_HARD_LIMIT_MS + 2), LEASE_HARD_LIMIT_MS, 1);
        assert_eq!(&*next[0].1, "client-1", "who renewed waits behind the others");
    }

    proptest! {
        /// covers: LM-04, LM-06, LM-08
        #[test]
        fn the_three_indexes_agree(ops in proptest::collection::vec((0u8..3, 0u64..12, 0u8..4, 0u64..5), 0..200)) {
            let mut leases = LeaseManager::new();
            let mut model: BTreeMap<InodeId, Arc<str>> = BTreeMap::new();
            let mut renewals: BTreeMap<Arc<str>, TimeMs> = BTreeMap::new();
            for (step, (op, file, who, back)) in ops.into_iter().enumerate() {
                // Now and then a time comes that others have overtaken.
                let now = TimeMs((step as u64 * 2).saturating_sub(back));
                let (file, who) = (InodeId(file), holder(&who.to_string()));
                match op {
                    0 => {
                        leases.grant(file, &who, now);
                        model.insert(file, Arc::clone(&who));
                    }
                    1 => {
                        leases.release(file);
                        model.remove(&file);
                    }
                    _ => prop_assert_eq!(leases.renew(&who, now), model.values().any(|holder| *holder == who)),
                }
                renewals.retain(|who, _| model.values().any(|holder| holder == who));
                if op != 1 && model.values().any(|holder| *holder == who) {
                    let latest = renewals.values().copied().max().unwrap_or(now);
                    let before = renewals.get(&who).copied();
                    if before.is_none_or(|before| now > before) {
                        renewals.insert(who, now.max(latest));
                    }
                }
                let listed: Vec<(Arc<str>, TimeMs)> =
                    leases.by_renewal().map(|slot| (Arc::clone(&slot.holder), slot.renewed)).collect();
                prop_assert!(listed.is_sorted_by_key(|(_, renewed)| *renewed));
                prop_assert_eq!(&listed.iter().cloned().collect::<BTreeMap<_, _>>(), &renewals);
                prop_assert_eq!(listed.len(), leases.holders.len());
                let mut back = leases.newest;
                for (who, _) in listed.iter().rev() {
                    prop_assert_eq!(&leases.slot(back).holder, who);
                    back = leases.slot(back).older;
                }
                prop_assert_eq!(back, NONE);
                prop_assert_eq!(leases.slots.len(), leases.holders.len() + leases.free.len());
                let owned: BTreeMap<InodeId, Arc<str>> = listed.iter()
                    .flat_map(|(who, _)| leases.lease(who).unwrap().files.iter().map(move |&file| (file, Arc::clone(who))))
                    .collect();
                prop_assert_eq!(&owned, &model);
                for (file, place) in &leases.files {
                    prop_assert_eq!(leases.slot(place.slot).files[place.at as usize], *file);
                    prop_assert_eq!(leases.holder_of(*file), model.get(file));
                }
                prop_assert_eq!(leases.files.len(), model.len());
            }
        }
    }
}
