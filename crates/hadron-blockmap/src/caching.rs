//! Which blocks are to be in DataNodes' memory, which are, and what is under way: the tables, and their upkeep.
//!
//! What it does not do: know directives, files or replicas; [`crate::BlockMap`] brings them in (`map/cache.rs`).
//! Invariants: a block's lists and its nodes' lists say the same; a node stands at most once in each list of a block; a
//! block that nobody asks for and nobody is busy with has no entry after a scan.
//! Source: Hadoop `CacheReplicationMonitor`, `CachedBlock`, `DatanodeDescriptor.CachedBlocksList`.

use crate::node::NodeIndex;
use hadron_types::{BlockId, TimeMs};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};

/// The three lists of blocks that a node has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    /// To be cached; the node did not say so yet.
    PendingCached,
    /// Cached, as the node last reported.
    Cached,
    /// Cached, to be given up.
    PendingUncached,
}

/// One block.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct CachedBlock {
    /// Cached replicas wanted by the scan that found it last; 0: none.
    pub(crate) replication: u16,
    /// That scan.
    pub(crate) scan: u64,
    pending_cached: Vec<NodeIndex>,
    cached: Vec<NodeIndex>,
    pending_uncached: Vec<NodeIndex>,
}

impl CachedBlock {
    pub(crate) fn nodes(&self, list: List) -> &[NodeIndex] {
        match list {
            List::PendingCached => &self.pending_cached,
            List::Cached => &self.cached,
            List::PendingUncached => &self.pending_uncached,
        }
    }
    fn nodes_mut(&mut self, list: List) -> &mut Vec<NodeIndex> {
        match list {
            List::PendingCached => &mut self.pending_cached,
            List::Cached => &mut self.cached,
            List::PendingUncached => &mut self.pending_uncached,
        }
    }
}

/// The blocks of one list of a node, with the bytes that each counts for.
#[derive(Debug, Default)]
struct NodeList {
    blocks: BTreeMap<BlockId, u64>,
    bytes: u64,
}

impl NodeList {
    fn insert(&mut self, id: BlockId, bytes: u64) {
        self.remove(id);
        self.blocks.insert(id, bytes);
        self.bytes = self.bytes.saturating_add(bytes);
    }
    fn remove(&mut self, id: BlockId) {
        let bytes = self.blocks.remove(&id).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// One node's side.
#[derive(Debug, Default)]
struct NodeCache {
    pending_cached: NodeList,
    cached: NodeList,
    pending_uncached: NodeList,
    /// When it was last sent orders; `None`: they are due.
    last_sent: Option<TimeMs>,
}

impl NodeCache {
    fn list(&self, list: List) -> &NodeList {
        match list {
            List::PendingCached => &self.pending_cached,
            List::Cached => &self.cached,
            List::PendingUncached => &self.pending_uncached,
        }
    }
    fn list_mut(&mut self, list: List) -> &mut NodeList {
        match list {
            List::PendingCached => &mut self.pending_cached,
            List::Cached => &mut self.cached,
            List::PendingUncached => &mut self.pending_uncached,
        }
    }
}

/// All blocks that are or shall be cached.
#[derive(Debug, Default)]
pub(crate) struct CacheTable {
    blocks: BTreeMap<BlockId, CachedBlock>,
    nodes: HashMap<NodeIndex, NodeCache>,
    /// Number of the scan that runs or ran last.
    scan: u64,
    /// Where the look at the blocks goes on.
    cursor: Option<BlockId>,
}

impl CacheTable {
    /// Whether nothing is or shall be cached.
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
    pub(crate) fn get(&self, id: BlockId) -> Option<&CachedBlock> {
        self.blocks.get(&id)
    }
    /// The nodes of one of a block's lists.
    pub(crate) fn nodes(&self, id: BlockId, list: List) -> &[NodeIndex] {
        self.blocks.get(&id).map_or(&[], |block| block.nodes(list))
    }
    /// The blocks of one of a node's lists.
    pub(crate) fn blocks_of(&self, node: NodeIndex, list: List) -> impl Iterator<Item = BlockId> + '_ {
        let lists = self.nodes.get(&node).into_iter();
        lists.flat_map(move |lists| lists.list(list).blocks.keys().copied())
    }

    /// What the blocks of one of a node's lists count for.
    pub(crate) fn bytes_of(&self, node: NodeIndex, list: List) -> u64 {
        self.nodes.get(&node).map_or(0, |lists| lists.list(list).bytes)
    }

    /// Enters a block of `bytes` into a list.
    pub(crate) fn add(&mut self, id: BlockId, node: NodeIndex, list: List, bytes: u64) {
        let nodes = self.blocks.entry(id).or_default().nodes_mut(list);
        if !nodes.contains(&node) {
            nodes.push(node);
        }
        self.nodes.entry(node).or_default().list_mut(list).insert(id, bytes);
    }

    pub(crate) fn remove(&mut self, id: BlockId, node: NodeIndex, list: List) {
        if let Some(block) = self.blocks.get_mut(&id) {
            block.nodes_mut(list).retain(|&other| other != node);
        }
        if let Some(lists) = self.nodes.get_mut(&node) {
            lists.list_mut(list).remove(id);
        }
    }

    /// Forgets all that is known of a node.
    pub(crate) fn forget_node(&mut self, node: NodeIndex) {
        let Some(lists) = self.nodes.remove(&node) else { return };
        for list in [List::PendingCached, List::Cached, List::PendingUncached] {
            for id in lists.list(list).blocks.keys() {
                if let Some(block) = self.blocks.get_mut(id) {
                    block.nodes_mut(list).retain(|&other| other != node);
                }
            }
        }
    }

    /// What a node has in its cache, all of it.
    pub(crate) fn report(&mut self, node: NodeIndex, ids: impl Iterator<Item = BlockId>) {
        let before: Vec<BlockId> = self.blocks_of(node, List::Cached).collect();
        let reported: BTreeSet<BlockId> = ids.collect();
        for id in before {
            if !reported.contains(&id) {
                self.remove(id, node, List::Cached);
            }
        }
        for id in reported {
            self.add(id, node, List::Cached, 0);
            self.remove(id, node, List::PendingCached);
        }
    }

    /// Begins a scan: what no directive names from now on is not wanted any more.
    pub(crate) fn begin_scan(&mut self) {
        self.scan += 1;
        self.cursor = Some(BlockId(i64::MIN));
    }

    /// A directive wants `replication` cached replicas of a block.
    pub(crate) fn want(&mut self, id: BlockId, replication: u16) {
        let scan = self.scan;
        let block = self.blocks.entry(id).or_default();
        if block.scan != scan || block.replication < replication {
            block.replication = replication;
            block.scan = scan;
        }
    }

    /// The next block that the scan has to look at.
    pub(crate) fn next(&mut self) -> Option<BlockId> {
        let from = self.cursor?;
        let found = self.blocks.range(from..).next().map(|(&id, _)| id);
        self.cursor = found.and_then(|id| id.0.checked_add(1)).map(BlockId);
        found
    }

    /// Cached replicas wanted of a block, as far as the running scan knows. A block that no directive names has none, and
    /// does not get any back with the next scan.
    pub(crate) fn wanted(&mut self, id: BlockId) -> u16 {
        let scan = self.scan;
        let Some(block) = self.blocks.get_mut(&id) else {
            return 0;
        };
        if block.scan != scan {
            block.replication = 0;
            block.scan = scan;
        }
        block.replication
    }

    /// Forgets a block that is not wanted and that nobody is busy with.
    pub(crate) fn forget_idle(&mut self, id: BlockId) {
        let is_idle = |block: &CachedBlock| {
            block.pending_cached.is_empty() && block.pending_uncached.is_empty() && block.cached.is_empty()
        };
        if self.get(id).is_some_and(is_idle) {
            self.blocks.remove(&id);
        }
    }

    /// Has all nodes told their orders with their next heartbeats.
    pub(crate) fn orders_are_due(&mut self) {
        self.nodes.values_mut().for_each(|node| node.last_sent = None);
    }

    /// The blocks that a node is to cache and to give up; nothing if it was told less than `retry_ms` ago.
    pub(crate) fn take_orders(&mut self, node: NodeIndex, retry_ms: u64, now: TimeMs) -> (Vec<BlockId>, Vec<BlockId>) {
        let Some(lists) = self.nodes.get_mut(&node) else {
            return Default::default();
        };
        if lists.last_sent.is_some_and(|last| now.since(last) < retry_ms) {
            return Default::default();
        }
        let first = |list: List| {
            lists
                .list(list)
                .blocks
                .keys()
                .copied()
                .take(MAX_ORDERED_BLOCKS)
                .collect()
        };
        let orders: (Vec<BlockId>, Vec<BlockId>) = (first(List::PendingCached), first(List::PendingUncached));
        if !orders.0.is_empty() || !orders.1.is_empty() {
            lists.last_sent = Some(now);
        }
        orders
    }
}

/// Most blocks of one order; the others come with a later one, when these are cached.
pub(crate) const MAX_ORDERED_BLOCKS: usize = 100_000;
