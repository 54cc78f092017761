//! Blocks that need more replicas, most urgent first (Hadoop's `LowRedundancyBlocks`).
//!
//! Work goes in cycles: a block looked at without success waits until every other block was looked at once, so that
//! urgent blocks nobody can help (more replicas wanted than there are nodes) do not starve the others.
//! Invariant: a block is in one level at most; within a level the order is that of insertion.

use hadron_types::BlockId;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// Urgency of a block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Level {
    /// One replica left, or only ones on nodes that are leaving.
    Highest = 0,
    /// Less than a third of the wanted ones.
    VeryLow = 1,
    /// Fewer than wanted.
    Low = 2,
    /// Enough, on too few racks.
    BadlyDistributed = 3,
    /// None that could be copied: all corrupt or none at all.
    Corrupt = 4,
}

/// Levels there are.
const LEVELS: usize = 5;

impl Level {
    /// The level of a block, `None` when it needs nothing.
    ///
    /// `live`: usable replicas in service; `leaving`: usable ones on nodes being decommissioned or maintained;
    /// `wanted`: the file's replication; `well_spread`: whether racks suffice.
    pub(crate) fn of(live: usize, leaving: usize, wanted: usize, well_spread: bool) -> Option<Self> {
        if live >= wanted {
            return (!well_spread).then_some(Self::BadlyDistributed);
        }
        Some(match live {
            0 if leaving > 0 => Self::Highest,
            0 => Self::Corrupt,
            1 => Self::Highest,
            _ if live * 3 < wanted => Self::VeryLow,
            _ => Self::Low,
        })
    }
}

/// The queues.
#[derive(Debug, Default)]
pub(crate) struct NeededQueues {
    levels: [LevelQueue; LEVELS],
    index: HashMap<BlockId, Place>,
    next: u64,
    missing_replication_one: usize,
}

/// One level, by sequence of insertion.
#[derive(Debug, Default)]
struct LevelQueue {
    waiting: BTreeMap<u64, BlockId>,
    /// Looked at in this cycle.
    looked_at: BTreeMap<u64, BlockId>,
}

impl LevelQueue {
    fn len(&self) -> usize {
        self.waiting.len() + self.looked_at.len()
    }
    fn remove(&mut self, sequence: u64) {
        if self.waiting.remove(&sequence).is_none() {
            self.looked_at.remove(&sequence);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    level: Level,
    sequence: u64,
    replication_one: bool,
}

impl NeededQueues {
    /// Puts `id` where it belongs now; `None` takes it out. `wanted` is its replication.
    pub(crate) fn update(&mut self, id: BlockId, level: Option<Level>, wanted: u16) {
        let Some(level) = level else {
            self.remove(id);
            return;
        };
        let replication_one = level == Level::Corrupt && wanted == 1;
        if let Some(place) = self.index.get(&id)
            && place.level == level
            && place.replication_one == replication_one
        {
            return;
        }
        self.remove(id);
        self.missing_replication_one += usize::from(replication_one);
        self.push(id, level, replication_one);
    }

    pub(crate) fn remove(&mut self, id: BlockId) {
        if let Some(place) = self.index.remove(&id) {
            self.levels[place.level as usize].remove(place.sequence);
            self.missing_replication_one -= usize::from(place.replication_one);
        }
    }

    /// Takes up to `count` blocks to look at, most urgent first, none twice in a cycle.
    /// Blocks without a source (level Corrupt) are not offered.
    pub(crate) fn rotate(&mut self, count: usize) -> Vec<(BlockId, Level)> {
        const OFFERED: [Level; 4] = [Level::Highest, Level::VeryLow, Level::Low, Level::BadlyDistributed];
        if OFFERED
            .iter()
            .all(|&level| self.levels[level as usize].waiting.is_empty())
        {
            for level in OFFERED {
                let queue = &mut self.levels[level as usize];
                queue.waiting = std::mem::take(&mut queue.looked_at);
            }
        }
        let mut chosen = Vec::new();
        for level in OFFERED {
            let queue = &mut self.levels[level as usize];
            while chosen.len() < count
                && let Some((sequence, id)) = queue.waiting.pop_first()
            {
                queue.looked_at.insert(sequence, id);
                chosen.push((id, level));
            }
        }
        chosen
    }

    #[cfg(test)]
    pub(crate) fn level(&self, id: BlockId) -> Option<Level> {
        self.index.get(&id).map(|place| place.level)
    }
    /// Blocks of every level that has a source, most urgent first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = BlockId> + '_ {
        let levels = self.levels[..Level::Corrupt as usize].iter();
        levels.flat_map(|level| level.waiting.values().chain(level.looked_at.values()).copied())
    }
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }
    pub(crate) fn level_len(&self, level: Level) -> usize {
        self.levels[level as usize].len()
    }
    pub(crate) fn missing_replication_one(&self) -> usize {
        self.missing_replication_one
    }
    /// Blocks without a usable replica.
    pub(crate) fn missing(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.levels[Level::Corrupt as usize].waiting.values().copied()
    }

    fn push(&mut self, id: BlockId, level: Level, replication_one: bool) {
        let sequence = self.next;
        self.next += 1;
        self.levels[level as usize].waiting.insert(sequence, id);
        let place = Place {
            level,
            sequence,
            replication_one,
        };
        self.index.insert(id, place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        use Level::{BadlyDistributed, Corrupt, Highest, Low, VeryLow};
        for (live, leaving, wanted, spread, level) in [
            (3, 0, 3, true, None),
            (4, 0, 3, true, None),
            (3, 0, 3, false, Some(BadlyDistributed)),
            (2, 0, 3, true, Some(Low)),
            (1, 0, 3, true, Some(Highest)),
            (1, 0, 2, true, Some(Highest)),
            (2, 0, 10, true, Some(VeryLow)),
            (0, 0, 3, true, Some(Corrupt)),
            (0, 1, 3, true, Some(Highest)),
        ] {
            assert_eq!(Level::of(live, leaving, wanted, spread), level, "{live} of {wanted}");
        }
    }

    #[test]
    fn urgent_first_and_round_robin() {
        let mut queues = NeededQueues::default();
        for id in 1..=3 {
            queues.update(BlockId(id), Some(Level::Low), 3);
        }
        queues.update(BlockId(4), Some(Level::Highest), 3);
        queues.update(BlockId(5), Some(Level::Corrupt), 1);
        let ids = |chosen: Vec<(BlockId, Level)>| chosen.into_iter().map(|(id, _)| id.0).collect::<Vec<_>>();
        assert_eq!(ids(queues.rotate(2)), [4, 1]);
        queues.update(BlockId(6), Some(Level::Highest), 3);
        assert_eq!(
            ids(queues.rotate(2)),
            [6, 2],
            "new ones are not made to wait, old ones not forgotten"
        );
        queues.remove(BlockId(6));
        assert_eq!(ids(queues.rotate(9)), [3]);
        assert_eq!(ids(queues.rotate(9)), [4, 1, 2, 3], "the next cycle");
        assert_eq!((queues.len(), queues.missing_replication_one()), (5, 1));
        queues.update(BlockId(5), None, 1);
        assert_eq!((queues.len(), queues.missing_replication_one()), (4, 0));
        queues.update(BlockId(1), Some(Level::Highest), 3);
        assert_eq!(queues.level(BlockId(1)), Some(Level::Highest));
        assert_eq!(queues.level_len(Level::Low), 2);
    }
}
