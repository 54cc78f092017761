//! Storage policies: on which kinds of storage the replicas of a file belong.
//!
//! What it is for: the built-in policies with their numbers, and the choices that follow from one: kinds for a given
//! replication, what to fall back to, which replicas are in excess. What it does not do: inheritance along paths
//! (`hadron-namespace`), placement on nodes (`hadron-blockmap`).
//! Invariants: numbers are those of images and wire; 0 is "unspecified" and no policy has it.
//!
//! Source: Hadoop 3.3 `BlockStoragePolicySuite.createDefaultSuite`, `BlockStoragePolicy`.

use crate::StorageType;
use StorageType::{Archive, Disk, Provided, RamDisk, Ssd};
use std::fmt;

/// One policy.
#[derive(PartialEq, Eq, Debug)]
pub struct StoragePolicy {
    /// Number, 1..=15.
    pub id: u8,
    /// Hadoop's name.
    pub name: &'static str,
    /// Kinds for the first replicas in turn; the last one serves all further replicas. Never empty.
    pub types: &'static [StorageType],
    /// What to take for a new block where a kind is not to be had.
    pub creation_fallback: &'static [StorageType],
    /// What to take for another replica where a kind is not to be had.
    pub replication_fallback: &'static [StorageType],
    /// Whether a file takes the policy over from its directory when it is made, and never changes it.
    pub copy_on_create: bool,
}

/// Neither set nor inherited; behaves as [`StoragePolicy::HOT`].
pub const UNSPECIFIED_POLICY: u8 = 0;

impl StoragePolicy {
    /// Replicas outside of HDFS.
    pub const PROVIDED: Self = mixed(1, "PROVIDED", &[Provided, Disk]);
    /// All replicas on dense storage.
    pub const COLD: Self = policy(2, "COLD", &[Archive], &[], &[]);
    /// One replica on disk, the others on dense storage.
    pub const WARM: Self = mixed(5, "WARM", &[Disk, Archive]);
    /// All replicas on disk; the default.
    pub const HOT: Self = policy(7, "HOT", &[Disk], &[], &[Archive]);
    /// One replica on flash, the others on disk.
    pub const ONE_SSD: Self = mixed(10, "ONE_SSD", &[Ssd, Disk]);
    /// All replicas on flash.
    pub const ALL_SSD: Self = policy(12, "ALL_SSD", &[Ssd], &[Disk], &[Disk]);
    /// One replica in memory first, then on disk.
    pub const LAZY_PERSIST: Self = Self {
        copy_on_create: true,
        ..policy(15, "LAZY_PERSIST", &[RamDisk, Disk], &[Disk], &[Disk])
    };

    /// All policies, by number. Those of Hadoop 3.3; 3.4 adds one for NVDIMM, whose storage type older peers drop.
    pub const ALL: [&'static Self; 7] = [
        &Self::PROVIDED,
        &Self::COLD,
        &Self::WARM,
        &Self::HOT,
        &Self::ONE_SSD,
        &Self::ALL_SSD,
        &Self::LAZY_PERSIST,
    ];

    /// The policy of a number; `None` for unknown ones and [`UNSPECIFIED_POLICY`].
    pub fn by_id(id: u8) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|policy| policy.id == id)
    }

    /// The policy called `name`, any case.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.name.eq_ignore_ascii_case(name))
    }

    /// The policy by which a file with this effective number is placed: HOT where none is set, or an unknown one.
    pub fn in_effect(id: u8) -> &'static Self {
        Self::by_id(id).unwrap_or(&Self::HOT)
    }

    /// Kinds for `replication` replicas, as many as replicas unless the last kind is transient.
    pub fn choose(&self, replication: u16) -> impl Iterator<Item = StorageType> + use<> {
        let (first, wanted) = (self.types, usize::from(replication));
        let last = first.last().copied().filter(|kind| !kind.is_transient());
        let rest = wanted.saturating_sub(first.len());
        let further = last.into_iter().flat_map(move |kind| std::iter::repeat_n(kind, rest));
        first.iter().copied().take(wanted).chain(further)
    }

    /// Kinds still to be chosen for `replication` replicas of which `existing` are there.
    ///
    /// `is_missing` tells the kinds that cannot be had now; `is_new` whether the block is being made, which decides the
    /// fallback. A kind without fallback is left out, so that the answer may be shorter than wanted.
    pub fn choose_more(
        &self,
        replication: u16,
        existing: &[StorageType],
        is_missing: impl Fn(StorageType) -> bool,
        is_new: bool,
    ) -> Vec<StorageType> {
        let (mut wanted, excess) = self.compare(replication, existing);
        let fallbacks = if is_new {
            self.creation_fallback
        } else {
            self.replication_fallback
        };
        let fallback = fallbacks.iter().copied().find(|&kind| !is_missing(kind));
        wanted.reverse();
        let mut chosen: Vec<StorageType> = wanted
            .into_iter()
            .filter_map(|kind| if is_missing(kind) { fallback } else { Some(kind) })
            .collect();
        chosen.reverse();
        // Replicas of an unwanted kind may be those of a fallback: they count for it.
        for kind in excess {
            if let Some(at) = chosen.iter().position(|&chosen| chosen == kind) {
                chosen.remove(at);
            }
        }
        chosen
    }

    /// Kinds of those `existing` replicas that the policy does not want for `replication` replicas.
    pub fn choose_excess(&self, replication: u16, existing: &[StorageType]) -> Vec<StorageType> {
        self.compare(replication, existing).1
    }

    /// Wanted kinds that do not exist, and existing ones that are not wanted.
    fn compare(&self, replication: u16, existing: &[StorageType]) -> (Vec<StorageType>, Vec<StorageType>) {
        let mut wanted: Vec<StorageType> = self.choose(replication).collect();
        let mut excess = Vec::new();
        for &kind in existing {
            match wanted.iter().position(|&wanted| wanted == kind) {
                Some(at) => drop(wanted.remove(at)),
                None => excess.push(kind),
            }
        }
        (wanted, excess)
    }
}

const fn policy(
    id: u8,
    name: &'static str,
    types: &'static [StorageType],
    creation_fallback: &'static [StorageType],
    replication_fallback: &'static [StorageType],
) -> StoragePolicy {
    StoragePolicy {
        id,
        name,
        types,
        creation_fallback,
        replication_fallback,
        copy_on_create: false,
    }
}

/// A policy whose kinds stand in for one another.
const fn mixed(id: u8, name: &'static str, types: &'static [StorageType]) -> StoragePolicy {
    policy(id, name, types, types, types)
}

impl fmt::Display for StoragePolicy {
    /// As Java shows it in exceptions and in `hdfs storagepolicies`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |kinds: &[StorageType]| kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        write!(
            f,
            "BlockStoragePolicy{{{}:{}, storageTypes=[{}], creationFallbacks=[{}], replicationFallbacks=[{}]}}",
            self.name,
            self.id,
            list(self.types),
            list(self.creation_fallback),
            list(self.replication_fallback)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_found_by_number_and_name() {
        for policy in StoragePolicy::ALL {
            assert_eq!(StoragePolicy::by_id(policy.id), Some(policy));
            assert_eq!(StoragePolicy::by_name(&policy.name.to_lowercase()), Some(policy));
        }
        assert_eq!(StoragePolicy::by_id(UNSPECIFIED_POLICY), None);
        assert_eq!(StoragePolicy::by_name("LUKEWARM"), None);
        assert_eq!(StoragePolicy::in_effect(UNSPECIFIED_POLICY), &StoragePolicy::HOT);
        assert_eq!(
            StoragePolicy::LAZY_PERSIST.to_string(),
            "BlockStoragePolicy{LAZY_PERSIST:15, storageTypes=[RAM_DISK, DISK], creationFallbacks=[DISK], \
             replicationFallbacks=[DISK]}"
        );
    }

    #[test]
    fn kinds_follow_the_replication() {
        for (policy, replication, kinds) in [
            (&StoragePolicy::HOT, 0, &[][..]),
            (&StoragePolicy::HOT, 3, &[Disk, Disk, Disk]),
            (&StoragePolicy::WARM, 1, &[Disk]),
            (&StoragePolicy::WARM, 3, &[Disk, Archive, Archive]),
            (&StoragePolicy::LAZY_PERSIST, 3, &[RamDisk, Disk, Disk]),
        ] {
            assert_eq!(policy.choose(replication).collect::<Vec<_>>(), kinds);
        }
    }

    #[test]
    fn missing_kinds_fall_back() {
        let check =
            |policy: &StoragePolicy, existing: &[StorageType], missing: &[StorageType], is_new, expected: &[_]| {
                let chosen = policy.choose_more(3, existing, |kind| missing.contains(&kind), is_new);
                assert_eq!(chosen, expected, "{policy} {existing:?} {missing:?}");
            };
        check(&StoragePolicy::ALL_SSD, &[], &[Ssd], true, &[Disk, Disk, Disk]);
        check(&StoragePolicy::HOT, &[Disk], &[Disk], true, &[]);
        check(&StoragePolicy::HOT, &[Disk], &[Disk], false, &[Archive, Archive]);
        check(&StoragePolicy::WARM, &[Disk], &[], false, &[Archive, Archive]);
        check(&StoragePolicy::WARM, &[Disk, Disk], &[Archive], false, &[Disk]);
        check(&StoragePolicy::COLD, &[], &[Archive], true, &[]);
        assert_eq!(
            StoragePolicy::WARM.choose_excess(3, &[Disk, Disk, Archive]),
            [Disk],
            "the second disk replica belongs on dense storage"
        );
    }
}
