//! Replicas one DataNode is to delete.
//!
//! Keyed by number and stamp, for lengths in orders and acknowledgements need not agree.

use hadron_types::{Block, BlockId, GenerationStamp};
use std::collections::BTreeMap;

/// The queue of one node; bounded by the replicas it has.
#[derive(Debug, Default)]
pub(crate) struct Invalidations(BTreeMap<(BlockId, GenerationStamp), u64>);

impl Invalidations {
    pub(crate) fn insert(&mut self, block: Block) {
        self.0.insert((block.id, block.generation_stamp), block.len);
    }
    pub(crate) fn contains(&self, block: &Block) -> bool {
        self.0.contains_key(&(block.id, block.generation_stamp))
    }
    /// Whether some version of the block is to be deleted.
    pub(crate) fn concerns(&self, id: BlockId) -> bool {
        let versions = (id, GenerationStamp(0))..=(id, GenerationStamp(u64::MAX));
        self.0.range(versions).next().is_some()
    }
    /// Takes an order back; `false` when it was sent or never given.
    pub(crate) fn remove(&mut self, block: &Block) -> bool {
        self.0.remove(&(block.id, block.generation_stamp)).is_some()
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = Block> + '_ {
        let entries = self.0.iter();
        entries.map(|(&(id, generation_stamp), &len)| Block {
            id,
            generation_stamp,
            len,
        })
    }
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
    /// Takes up to `limit` orders to send.
    pub(crate) fn take(&mut self, limit: usize) -> Vec<Block> {
        let mut blocks = Vec::with_capacity(limit.min(self.0.len()));
        while blocks.len() < limit
            && let Some(((id, generation_stamp), len)) = self.0.pop_first()
        {
            blocks.push(Block {
                id,
                generation_stamp,
                len,
            });
        }
        blocks
    }
}
