//! Finished replicas as the cache of locked replicas wants them.
//!
//! What it does not do: lock memory, or remember what is locked.

use crate::error::{ReplicaError, ReplicaResult};
use crate::pool::Entry;
use crate::reader::ReplicaReader;
use crate::store::ReplicaStore;
use hadron_types::{Block, BlockId, BlockPoolId, ReplicaState};
use std::time::Duration;

impl ReplicaStore {
    /// The replica `id` as it is now and the number of its volume, if it is finished.
    pub fn finished(&self, pool: &BlockPoolId, id: BlockId) -> Option<(Block, usize)> {
        match self.pool(pool)?.entry(id)? {
            Entry::Finalized(finalized) => Some((finalized.block(id), usize::from(finalized.volume))),
            _ => None,
        }
    }

    /// Opens exactly this finished replica.
    ///
    /// Errors: it is gone, being written, or has another stamp or length by now.
    pub fn open_finished(&self, pool: &BlockPoolId, block: &Block) -> ReplicaResult<ReplicaReader> {
        let gone = || ReplicaError::NotFound(block.id, block.generation_stamp);
        let found = self.pool(pool).ok_or_else(gone)?;
        let replica = ReplicaReader::open(&found, block, 0, Duration::ZERO)?;
        match replica.state() == ReplicaState::Finalized && replica.block() == *block {
            true => Ok(replica),
            false => Err(gone()),
        }
    }
}
