//! How much room a volume has: pure arithmetic over the disk's figures, the reserve and our own counters.
//!
//! Source: Hadoop `FsVolumeImpl` (getCapacity, getAvailable, getNonDfsUsed, getRemainingReserved) and
//! `ReservedSpaceCalculator`.

use hadron_env::disk::DiskSpace;

/// What a volume tells the NameNode about its space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Bytes this DataNode may use in all, reserve taken off.
    pub capacity: u64,
    /// Bytes taken by replicas of all pools.
    pub dfs_used: u64,
    /// Bytes still to be had, what open replicas asked for taken off.
    pub remaining: u64,
    /// Bytes taken by replicas of the pool asked for.
    pub pool_used: u64,
    /// Bytes taken by files that are not ours, beyond the reserve.
    pub non_dfs_used: u64,
}

/// How the two figures of a reserve go together (`dfs.datanode.du.reserved.calculator`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReserveRule {
    /// The bytes count.
    #[default]
    Absolute,
    /// The share of the disk counts.
    Percentage,
    /// The larger one counts.
    Conservative,
    /// The smaller one counts.
    Aggressive,
}

/// Room left to other programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reserve {
    /// `dfs.datanode.du.reserved`.
    pub bytes: u64,
    /// `dfs.datanode.du.reserved.pct`.
    pub percent: u64,
    /// Which of them counts.
    pub rule: ReserveRule,
}

impl Reserve {
    /// Nothing is kept back.
    pub const NONE: Self = Self {
        bytes: 0,
        percent: 0,
        rule: ReserveRule::Absolute,
    };

    /// Keeps `bytes` back.
    pub const fn of(bytes: u64) -> Self {
        Self { bytes, ..Self::NONE }
    }

    /// Bytes kept back on a disk of `total` bytes.
    pub fn on(&self, total: u64) -> u64 {
        let share = (u128::from(total) * u128::from(self.percent) / 100) as u64;
        match self.rule {
            ReserveRule::Absolute => self.bytes,
            ReserveRule::Percentage => share,
            ReserveRule::Conservative => self.bytes.max(share),
            ReserveRule::Aggressive => self.bytes.min(share),
        }
    }
}

/// The figures of a volume. `replicas_used`: bytes of all our replicas; `held`: bytes promised to open replicas.
pub(crate) fn usage(space: DiskSpace, reserve: Reserve, replicas_used: u64, held: u64, pool_used: u64) -> Usage {
    let reserved = reserve.on(space.capacity);
    let capacity = space.capacity.saturating_sub(reserved);
    // What others have written already eats the reserve first.
    let others = space.capacity.saturating_sub(space.free).saturating_sub(replicas_used);
    let reserve_left = reserved.saturating_sub(others);
    let by_capacity = capacity.saturating_sub(replicas_used).saturating_sub(held);
    let by_disk = space.available.saturating_sub(reserve_left).saturating_sub(held);
    Usage {
        capacity,
        dfs_used: replicas_used,
        remaining: by_capacity.min(by_disk),
        pool_used,
        non_dfs_used: others.saturating_sub(reserved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_a_java_datanode() {
        let disk = |capacity, free, available| DiskSpace {
            capacity,
            free,
            available,
        };
        // (disk, reserved, used, held) -> (capacity, remaining, other files)
        for (space, reserved, used, held, expected) in [
            (disk(1000, 1000, 1000), 0, 0, 0, (1000, 1000, 0)),
            (disk(1000, 700, 650), 0, 200, 0, (1000, 650, 100)),
            // Others' 100 bytes lie within the reserve of 300: 200 of it are still to be kept free.
            (disk(1000, 700, 700), 300, 200, 0, (700, 500, 0)),
            (disk(1000, 700, 700), 300, 200, 50, (700, 450, 0)),
            // Others took 400 of a reserve of 300.
            (disk(1000, 400, 400), 300, 200, 0, (700, 400, 100)),
            (disk(1000, 0, 0), 300, 1000, 0, (700, 0, 0)),
            (disk(1000, 1000, 1000), 2000, 0, 0, (0, 0, 0)),
            (disk(1000, 100, 100), 0, 100, 500, (1000, 0, 800)),
        ] {
            let found = usage(space, Reserve::of(reserved), used, held, 7);
            assert_eq!(
                (found.capacity, found.remaining, found.non_dfs_used),
                expected,
                "{space:?}"
            );
            assert_eq!((found.dfs_used, found.pool_used), (used, 7));
        }
    }

    #[test]
    fn reserves_follow_their_calculator() {
        for (rule, expected) in [
            (ReserveRule::Absolute, 100),
            (ReserveRule::Percentage, 200),
            (ReserveRule::Conservative, 200),
            (ReserveRule::Aggressive, 100),
        ] {
            let reserve = Reserve {
                bytes: 100,
                percent: 10,
                rule,
            };
            assert_eq!(reserve.on(2000), expected, "{rule:?}");
        }
        assert_eq!(
            Reserve {
                percent: 50,
                rule: ReserveRule::Percentage,
                ..Reserve::NONE
            }
            .on(u64::MAX),
            u64::MAX / 2
        );
    }
}
