//! Copies under way: which nodes were told to receive which block, and since when.
//!
//! Invariant: a block has an entry iff at least one of its copies is still awaited.

use crate::node::NodeIndex;
use hadron_types::{BlockId, TimeMs};
use hashbrown::HashMap;
use std::collections::VecDeque;

#[derive(Debug)]
struct Pending {
    targets: Vec<NodeIndex>,
    since: TimeMs,
}

/// The copies under way.
#[derive(Debug, Default)]
pub(crate) struct PendingCopies {
    blocks: HashMap<BlockId, Pending>,
    /// Starts in order of time; an entry is void when the block's `since` differs.
    starts: VecDeque<(TimeMs, BlockId)>,
}

impl PendingCopies {
    /// Notes that `targets` were told to fetch `id`.
    pub(crate) fn add(&mut self, id: BlockId, targets: impl IntoIterator<Item = NodeIndex>, now: TimeMs) {
        let pending = self.blocks.entry(id).or_insert_with(|| Pending {
            targets: Vec::new(),
            since: now,
        });
        pending.since = now;
        pending.targets.extend(targets);
        self.starts.push_back((now, id));
    }

    /// The copy to `node` arrived or will not; returns whether it was awaited.
    pub(crate) fn remove_target(&mut self, id: BlockId, node: NodeIndex) -> bool {
        let Some(pending) = self.blocks.get_mut(&id) else {
            return false;
        };
        let before = pending.targets.len();
        pending.targets.retain(|&target| target != node);
        let removed = pending.targets.len() < before;
        if pending.targets.is_empty() {
            self.blocks.remove(&id);
        }
        removed
    }

    /// `node` is gone: nothing comes from it. Returns the blocks it was to receive.
    pub(crate) fn remove_node(&mut self, node: NodeIndex) -> Vec<BlockId> {
        let awaited = |(&id, pending): (&BlockId, &Pending)| pending.targets.contains(&node).then_some(id);
        let ids: Vec<BlockId> = self.blocks.iter().filter_map(awaited).collect();
        for &id in &ids {
            self.remove_target(id, node);
        }
        ids
    }

    pub(crate) fn remove(&mut self, id: BlockId) {
        self.blocks.remove(&id);
    }

    /// Copies of `id` awaited.
    pub(crate) fn count(&self, id: BlockId) -> usize {
        self.targets(id).len()
    }
    pub(crate) fn targets(&self, id: BlockId) -> &[NodeIndex] {
        self.blocks.get(&id).map_or(&[], |pending| &pending.targets)
    }
    /// Every block with its latest start and the copies awaited.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (BlockId, TimeMs, usize)> + '_ {
        let entries = self.blocks.iter();
        entries.map(|(&id, pending)| (id, pending.since, pending.targets.len()))
    }
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Gives up on up to `limit` blocks whose last start is `timeout_ms` old or older.
    pub(crate) fn expire(&mut self, now: TimeMs, timeout_ms: u64, limit: usize) -> Vec<BlockId> {
        let mut expired = Vec::new();
        while expired.len() < limit
            && let Some(&(since, id)) = self.starts.front()
            && now.since(since) >= timeout_ms
        {
            self.starts.pop_front();
            if self.blocks.get(&id).is_some_and(|pending| pending.since == since) {
                self.blocks.remove(&id);
                expired.push(id);
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_arrive_or_expire() {
        let mut pending = PendingCopies::default();
        pending.add(BlockId(1), [NodeIndex(1), NodeIndex(2)], TimeMs(0));
        pending.add(BlockId(2), [NodeIndex(1)], TimeMs(10));
        assert!(pending.remove_target(BlockId(1), NodeIndex(1)));
        assert!(!pending.remove_target(BlockId(1), NodeIndex(1)));
        assert_eq!((pending.count(BlockId(1)), pending.len()), (1, 2));
        assert!(pending.remove_target(BlockId(2), NodeIndex(1)));
        assert_eq!(pending.expire(TimeMs(299_999), 300_000, 9), []);
        pending.add(BlockId(1), [NodeIndex(3)], TimeMs(299_999));
        assert_eq!(pending.expire(TimeMs(300_000), 300_000, 9), [], "a new start renews");
        assert_eq!(pending.expire(TimeMs(599_999), 300_000, 9), [BlockId(1)]);
        assert_eq!(pending.len(), 0);
    }
}
