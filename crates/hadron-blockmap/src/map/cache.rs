//! Caching: scans by which the shell tells what directives want, cache reports, and orders to cache and uncache.
//!
//! A scan is `begin_cache_scan`, `want_cached` for every complete block of every directive, `cache_slice` until it is
//! through all blocks, `end_cache_scan`. The locks may be let go anywhere in between.
//! Blocks are cached where a live, uncorrupted replica is on a node in service that has room for it, and never on more
//! nodes than the greatest replication that a directive asks for.

use super::BlockMap;
use crate::caching::List;
use crate::command::DatanodeCommand;
use crate::node::{AdminState, NodeIndex};
use crate::reader::ReplicaLocation;
use crate::replicas::ReplicaFlags;
use crate::source::{BlockSource, BlockState, StoredBlock};
use hadron_types::{BlockId, DatanodeUuid, TimeMs};

/// The shares that nodes draw from for a new cached replica add up to about this.
const LOTTERY: u128 = 1_000_000;

impl BlockMap {
    /// Begins a scan. Nodes whose cache is too full by now for what they were to cache are asked for less.
    pub fn begin_cache_scan(&mut self, source: &dyn BlockSource) {
        self.caching.begin_scan();
        for node in self.cluster.live().to_vec() {
            let mut room = self.cache_room(node);
            let pending: Vec<BlockId> = self.caching.blocks_of(node, List::PendingCached).collect();
            for id in pending {
                let Some(stored) = source.stored(id) else { continue };
                match room.checked_sub(stored.block.len) {
                    Some(left) => room = left,
                    None => self.caching.remove(id, node, List::PendingCached),
                }
            }
        }
    }

    /// A directive wants `replication` cached replicas of a complete block. Returns how many of those there are.
    pub fn want_cached(&mut self, id: BlockId, replication: u16) -> u16 {
        self.caching.want(id, replication);
        let cached = self.caching.nodes(id, List::Cached).len();
        u16::try_from(cached).unwrap_or(u16::MAX).min(replication)
    }

    /// Looks at up to `budget` blocks, and decides where each is to be cached or given up. Returns whether more are left.
    pub fn cache_slice(
        &mut self,
        source: &dyn BlockSource,
        budget: usize,
        now: TimeMs,
        rng: &mut dyn FnMut() -> u64,
    ) -> bool {
        for _ in 0..budget {
            let Some(id) = self.caching.next() else { return false };
            self.settle_cached(id, source, now, rng);
        }
        true
    }

    /// Ends a scan: nodes hear of their orders with their next heartbeats.
    pub fn end_cache_scan(&mut self) {
        self.caching.orders_are_due();
    }

    /// Takes in all that a node has in its cache; false if the node is not known or dead.
    pub fn cache_report(&mut self, node: &DatanodeUuid, ids: impl Iterator<Item = BlockId>) -> bool {
        let Some(index) = self.cluster.find_alive(node) else {
            return false;
        };
        self.caching.report(index, ids);
        true
    }

    /// Which of a block's replicas are in memory; `None`: not one.
    pub fn cached_flags(&self, id: BlockId, replicas: &[ReplicaLocation]) -> Option<Vec<bool>> {
        if self.caching.is_empty() {
            return None;
        }
        let cached = self.caching.nodes(id, List::Cached);
        let is_cached = |replica: &ReplicaLocation| {
            let node = self.cluster.find(&replica.node.id.uuid);
            node.is_some_and(|node| cached.contains(&node))
        };
        (!cached.is_empty()).then(|| replicas.iter().map(is_cached).collect())
    }

    /// What a node is to cache and to give up, if it is time to say so (again).
    pub(super) fn cache_orders(
        &mut self,
        node: NodeIndex,
        now: TimeMs,
    ) -> impl Iterator<Item = DatanodeCommand> + use<> {
        let (cache, uncache) = self.caching.take_orders(node, self.settings.cache_retry_ms, now);
        let cache = (!cache.is_empty()).then_some(DatanodeCommand::Cache(cache));
        let uncache = (!uncache.is_empty()).then_some(DatanodeCommand::Uncache(uncache));
        cache.into_iter().chain(uncache)
    }

    /// Bytes of a node's cache that are free.
    fn cache_room(&self, node: NodeIndex) -> u64 {
        let stats = &self.cluster.node(node).stats;
        stats.cache_capacity.saturating_sub(stats.cache_used)
    }

    /// Brings what is wanted of a block and what is under way together.
    fn settle_cached(&mut self, id: BlockId, source: &dyn BlockSource, now: TimeMs, rng: &mut dyn FnMut() -> u64) {
        for node in self.caching.nodes(id, List::PendingUncached).to_vec() {
            if !self.caching.nodes(id, List::Cached).contains(&node) {
                self.caching.remove(id, node, List::PendingUncached);
            }
        }
        let wanted = self.caching.wanted(id);
        let stored = source.stored(id).filter(|stored| stored.state == BlockState::Complete);
        let needed = if stored.is_some() { usize::from(wanted) } else { 0 };
        let cached = self.caching.nodes(id, List::Cached).len();
        // What is superfluous of the orders under way: of those to uncache because the block is wanted again.
        let coming = if cached >= needed {
            self.caching.nodes(id, List::PendingCached).len()
        } else {
            0
        };
        self.drop_last(id, List::PendingCached, coming);
        let leaving = self.caching.nodes(id, List::PendingUncached).len();
        self.drop_last(
            id,
            List::PendingUncached,
            leaving.saturating_sub(cached.saturating_sub(needed)),
        );
        let leaving = self.caching.nodes(id, List::PendingUncached).len();
        let coming = self.caching.nodes(id, List::PendingCached).len();
        if let Some(surplus) = cached.checked_sub(leaving + needed).filter(|&surplus| surplus > 0) {
            let len = source.stored(id).map_or(0, |stored| stored.block.len);
            self.uncache(id, len, surplus, rng);
        } else if let Some(stored) = stored
            && let Some(missing) = needed.checked_sub(cached + coming).filter(|&missing| missing > 0)
        {
            self.cache(&stored, missing, now, rng);
        }
        if needed == 0 {
            self.caching.forget_idle(id);
        }
    }

    /// Takes a block out of a list of `count` nodes.
    fn drop_last(&mut self, id: BlockId, list: List, count: usize) {
        for _ in 0..count {
            if let Some(&node) = self.caching.nodes(id, list).last() {
                self.caching.remove(id, node, list);
            }
        }
    }

    fn uncache(&mut self, id: BlockId, len: u64, count: usize, rng: &mut dyn FnMut() -> u64) {
        let leaving = self.caching.nodes(id, List::PendingUncached);
        let cached = self.caching.nodes(id, List::Cached).iter().copied();
        let mut choice: Vec<NodeIndex> = cached.filter(|node| !leaving.contains(node)).collect();
        for _ in 0..count.min(choice.len()) {
            let node = choice.swap_remove((rng() % choice.len() as u64) as usize);
            self.caching.add(id, node, List::PendingUncached, len);
        }
    }

    fn cache(&mut self, stored: &StoredBlock, count: usize, now: TimeMs, rng: &mut dyn FnMut() -> u64) {
        let id = stored.block.id;
        let busy = |node: &NodeIndex| {
            [List::PendingCached, List::Cached]
                .iter()
                .any(|&list| self.caching.nodes(id, list).contains(node))
        };
        let mut choice: Vec<(NodeIndex, u64)> = Vec::new();
        for replica in self.replicas.replicas_of(id) {
            let node = self.node_of(replica.storage());
            let is_good = self.cluster.is_usable(replica.storage())
                && !replica.flags().has(ReplicaFlags::CORRUPT)
                && self.cluster.node(node).admin == AdminState::Normal;
            if !is_good || busy(&node) || choice.iter().any(|&(other, _)| other == node) {
                continue;
            }
            let room = self.cache_room_ahead(node);
            if room >= stored.block.len {
                choice.push((node, self.cache_room(node)));
            }
        }
        let stale_after = self.settings.stale_after_ms();
        let is_stale = |&(node, _): &(NodeIndex, u64)| self.cluster.is_stale(self.cluster.node(node), now, stale_after);
        let (mut stale, mut fresh): (Vec<_>, Vec<_>) = choice.into_iter().partition(is_stale);
        let mut chosen = Vec::new();
        while chosen.len() < count {
            let from = if fresh.is_empty() { &mut stale } else { &mut fresh };
            match self.draw(from, rng) {
                Some(node) => chosen.push(node),
                None => break,
            }
        }
        for node in chosen {
            self.caching.add(id, node, List::PendingCached, stored.block.len);
        }
    }

    /// Free bytes of a node's cache when all that is under way is done.
    fn cache_room_ahead(&self, node: NodeIndex) -> u64 {
        let room = self
            .cache_room(node)
            .saturating_add(self.caching.bytes_of(node, List::PendingUncached));
        room.saturating_sub(self.caching.bytes_of(node, List::PendingCached))
    }

    /// Takes a node out of `nodes`, those with a greater share of their cache free with a greater chance.
    fn draw(&self, nodes: &mut Vec<(NodeIndex, u64)>, rng: &mut dyn FnMut() -> u64) -> Option<NodeIndex> {
        let share = |&(node, room): &(NodeIndex, u64)| {
            let capacity = self.cluster.node(node).stats.cache_capacity.max(1);
            (u128::from(room) * LOTTERY / u128::from(capacity)).max(1) as u64
        };
        let total = nodes.iter().map(share).fold(0, u64::saturating_add);
        if total == 0 {
            return None;
        }
        let mut ticket = rng() % total;
        let winner = nodes.iter().position(|node| {
            let share = share(node);
            let wins = ticket < share;
            ticket = ticket.saturating_sub(share);
            wins
        });
        winner.map(|at| nodes.swap_remove(at).0)
    }
}
