//! Blocks that were moved lately and are left alone for a while.
//!
//! The NameNode may still tell their old places, and a block should not wander.

use hadron_types::{BlockId, TimeMs};
use hashbrown::HashSet;
use std::collections::VecDeque;

/// Most blocks remembered; beyond that the oldest are forgotten early.
const MAX_REMEMBERED: usize = 1_000_000;

/// The blocks moved in the last `window` milliseconds.
#[derive(Debug)]
pub struct MovedBlocks {
    window_ms: u64,
    /// Oldest first.
    order: VecDeque<(TimeMs, BlockId)>,
    known: HashSet<BlockId>,
}

impl MovedBlocks {
    /// None yet.
    pub fn new(window_ms: u64) -> Self {
        Self {
            window_ms,
            order: VecDeque::new(),
            known: HashSet::new(),
        }
    }

    /// Notes a move; forgets those whose time is over.
    pub fn note(&mut self, block: BlockId, now: TimeMs) {
        self.forget_old(now);
        if self.known.insert(block) {
            self.order.push_back((now, block));
        }
    }

    /// Whether the block was moved lately.
    pub fn contains(&self, block: BlockId) -> bool {
        self.known.contains(&block)
    }

    /// Forgets moves whose time is over.
    pub fn forget_old(&mut self, now: TimeMs) {
        while let Some(&(at, block)) = self.order.front() {
            if now.since(at) < self.window_ms && self.order.len() < MAX_REMEMBERED {
                return;
            }
            self.order.pop_front();
            self.known.remove(&block);
        }
    }
}
