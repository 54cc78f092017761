//! When leases end: holders by the time of their last renewal. Soft state beside the namespace, never journaled.
//!
//! Who owns which file is in the namespace; this index follows its [`Effect`](crate::Effect)s and adds the times. After a
//! start or a fail-over every lease counts as renewed: fill it from [`Namespace::open_files`](crate::Namespace::open_files).
//! It reads no clock and knows no limits: both are arguments, from one monotonic source.
//!
//! Invariants: a holder is listed exactly while it owns a file; every file has one holder; the order by time has each
//! holder once, with its present time. Limits: nothing here grows beyond the open files of the namespace.

use crate::outcome::Effect;
use hadron_types::{InodeId, TimeMs};
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// After this long without renewal another client may take a file over.
pub const LEASE_SOFT_LIMIT_MS: u64 = 60_000;
/// After this long without renewal the NameNode recovers the files itself (`dfs.namenode.lease-hard-limit-sec`).
pub const LEASE_HARD_LIMIT_MS: u64 = 1_200_000;
/// Who owns files that the NameNode recovers.
pub const NAMENODE_LEASE_HOLDER: &str = "HDFS_NameNode";
/// Files that one look for expired leases hands out at most.
pub const EXPIRED_LEASES_PER_SLICE: usize = 1000;

/// One client's claim on all its open files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Last renewal.
    pub renewed: TimeMs,
    /// The files.
    pub files: BTreeSet<InodeId>,
}

/// See the module's documentation.
#[derive(Clone, Default, Debug)]
pub struct LeaseManager {
    leases: HashMap<Arc<str>, Lease>,
    holders: HashMap<InodeId, Arc<str>>,
    by_time: BTreeSet<(TimeMs, Arc<str>)>,
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
        if self.holders.get(&file).is_some_and(|old| old != holder) {
            self.release(file);
        }
        let lease = self.leases.entry(Arc::clone(holder)).or_insert_with(|| Lease {
            renewed: now,
            files: BTreeSet::new(),
        });
        lease.files.insert(file);
        self.by_time.remove(&(lease.renewed, Arc::clone(holder)));
        lease.renewed = now.max(lease.renewed);
        self.by_time.insert((lease.renewed, Arc::clone(holder)));
        self.holders.insert(file, Arc::clone(holder));
    }

    /// Ends the claim on `file`; a holder without files is forgotten. Nothing happens for a file without a holder.
    pub fn release(&mut self, file: InodeId) {
        let Some(holder) = self.holders.remove(&file) else {
            return;
        };
        let Some(lease) = self.leases.get_mut(&*holder) else {
            return;
        };
        lease.files.remove(&file);
        if lease.files.is_empty() {
            self.by_time.remove(&(lease.renewed, Arc::clone(&holder)));
            self.leases.remove(&*holder);
        }
    }

    /// Renews a lease; false for a holder without open files, which is no error.
    pub fn renew(&mut self, holder: &str, now: TimeMs) -> bool {
        let Some((holder, _)) = self.leases.get_key_value(holder) else {
            return false;
        };
        let holder = Arc::clone(holder);
        let Some(lease) = self.leases.get_mut(&*holder) else {
            return false;
        };
        if now > lease.renewed {
            self.by_time.remove(&(lease.renewed, Arc::clone(&holder)));
            lease.renewed = now;
            self.by_time.insert((now, holder));
        }
        true
    }

    /// Who has `file`.
    pub fn holder_of(&self, file: InodeId) -> Option<&Arc<str>> {
        self.holders.get(&file)
    }

    /// A holder's lease.
    pub fn lease(&self, holder: &str) -> Option<&Lease> {
        self.leases.get(holder)
    }

    /// Whether another client may take over what `holder` has; true for a holder without a lease.
    pub fn is_soft_expired(&self, holder: &str, now: TimeMs, soft_limit_ms: u64) -> bool {
        self.lease(holder)
            .is_none_or(|lease| now.since(lease.renewed) > soft_limit_ms)
    }

    /// Files whose leases are past the hard limit, those of the longest silent holder first; at most `budget`.
    ///
    /// The caller proposes ReleaseLease for each, with [`NAMENODE_LEASE_HOLDER`] as new holder; effects take the file
    /// out of the expired lease. A file that could not be released is to be granted to that holder (by ReassignLease),
    /// so that the next slice does not meet it again at once.
    pub fn expired(&self, now: TimeMs, hard_limit_ms: u64, budget: usize) -> Vec<(InodeId, Arc<str>)> {
        self.by_time
            .iter()
            .take_while(|(renewed, _)| now.since(*renewed) > hard_limit_ms)
            .filter_map(|(_, holder)| Some((holder, self.leases.get(holder)?)))
            .flat_map(|(holder, lease)| lease.files.iter().map(move |&file| (file, Arc::clone(holder))))
            .take(budget)
            .collect()
    }

    /// Holders with open files.
    pub fn holder_count(&self) -> usize {
        self.leases.len()
    }

    /// Open files.
    pub fn file_count(&self) -> usize {
        self.holders.len()
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

    /// covers: LM-03, LM-07, LM-09
    #[test]
    fn one_lease_covers_many_files_and_ends_with_the_last() {
        let mut leases = LeaseManager::new();
        let (a, b) = (holder("a"), holder("b"));
        for file in 0..10_000 {
            leases.grant(InodeId(file), &a, TimeMs(5));
        }
        assert_eq!((leases.holder_count(), leases.file_count()), (1, 10_000));
        assert!(leases.renew("a", TimeMs(9)) && !leases.renew("b", TimeMs(9)));
        leases.grant(InodeId(3), &b, TimeMs(10));
        assert_eq!(leases.holder_of(InodeId(3)), Some(&b));
        leases.release(InodeId(3));
        assert_eq!(leases.lease("b"), None);
        assert_eq!(leases.lease("a").map(|lease| lease.files.len()), Some(9_999));
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
            let name = holder(&format!("client-{}", file % 100));
            leases.grant(InodeId(file), &name, TimeMs(file % 100));
        }
        assert_eq!(leases.expired(TimeMs(LEASE_HARD_LIMIT_MS), LEASE_HARD_LIMIT_MS, 10), []);
        let slice = leases.expired(TimeMs(LEASE_HARD_LIMIT_MS + 2), LEASE_HARD_LIMIT_MS, 1_500);
        assert_eq!(slice.len(), 1_500);
        assert!(slice[..1_000].iter().all(|(_, name)| &**name == "client-0"));
        assert!(slice[1_000..].iter().all(|(_, name)| &**name == "client-1"));
        assert!(leases.is_soft_expired("client-0", TimeMs(LEASE_SOFT_LIMIT_MS + 1), LEASE_SOFT_LIMIT_MS));
        assert!(!leases.is_soft_expired("client-1", TimeMs(LEASE_SOFT_LIMIT_MS + 1), LEASE_SOFT_LIMIT_MS));
    }

    proptest! {
        /// covers: LM-04, LM-06, LM-08
        #[test]
        fn the_three_indexes_agree(ops in proptest::collection::vec((0u8..3, 0u64..12, 0u8..4), 0..200)) {
            let mut leases = LeaseManager::new();
            let mut model: BTreeMap<InodeId, Arc<str>> = BTreeMap::new();
            for (step, (op, file, who)) in ops.into_iter().enumerate() {
                let (file, who, now) = (InodeId(file), holder(&who.to_string()), TimeMs(step as u64));
                match op {
                    0 => {
                        leases.grant(file, &who, now);
                        model.insert(file, who);
                    }
                    1 => {
                        leases.release(file);
                        model.remove(&file);
                    }
                    _ => prop_assert_eq!(leases.renew(&who, now), model.values().any(|holder| *holder == who)),
                }
                prop_assert_eq!(leases.by_time.len(), leases.leases.len());
                for (time, who) in &leases.by_time {
                    prop_assert_eq!(leases.leases[who].renewed, *time);
                }
                let listed: BTreeMap<InodeId, Arc<str>> = leases.leases.iter()
                    .flat_map(|(who, lease)| lease.files.iter().map(move |&file| (file, Arc::clone(who))))
                    .collect();
                prop_assert_eq!(&listed, &model);
                prop_assert!(leases.holders.iter().all(|(file, who)| model.get(file) == Some(who)));
                prop_assert_eq!(leases.holders.len(), model.len());
            }
        }
    }
}
