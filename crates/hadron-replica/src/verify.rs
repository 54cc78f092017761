//! Reading one finished replica from end to end and holding it against its checksums, for the block scanner.
//!
//! What it does not do: decide when, or tell anybody. Invariants: a replica that was deleted, opened again or given a new
//! stamp meanwhile is no finding; the page cache forgets what was read; no lock is held while files are read.
//! Source of the rules: Hadoop `VolumeScanner.scanBlock`.

use crate::disk::blames_disk;
use crate::error::{ReplicaError, ReplicaResult};
use crate::pool::{Entry, FinalizedReplica, Pool};
use crate::reader::ReplicaReader;
use crate::store::ReplicaStore;
use hadron_env::disk::PageHint;
use hadron_types::{Block, BlockId, BlockPoolId, ExtendedBlock};
use std::time::Duration;

/// Data bytes read at a time, about; whole chunks.
const STEP_BYTES: u64 = 256 * 1024;

/// What reading a replica showed.
#[derive(Debug)]
pub enum Verdict {
    /// Every chunk fits its checksum.
    Good {
        /// Bytes of data read.
        bytes: u64,
    },
    /// Not finished, not here, or not the same any more: nothing to say about it.
    Skipped,
    /// The caller wanted to stop.
    Stopped,
    /// Its data file was gone, and it is forgotten.
    Missing(FinalizedReplica),
    /// It is damaged, or the disk cannot read it.
    Bad {
        /// The replica as it is in memory.
        block: Block,
        /// What is wrong with it.
        problem: String,
        /// Bytes of data read before that.
        bytes: u64,
    },
    /// It could not be read for reasons that are not its own or its disk's.
    Failed(ReplicaError),
}

impl ReplicaStore {
    /// Verifies a replica of `pool`. `go_on` is told of each step's bytes before they are read and may wait; false stops.
    pub fn verify(&self, pool: &BlockPoolId, id: BlockId, go_on: &mut dyn FnMut(u64) -> bool) -> Verdict {
        let Some(found) = self.pool(pool) else {
            return Verdict::Skipped;
        };
        let Some(Entry::Finalized(finalized)) = found.entry(id) else {
            return Verdict::Skipped;
        };
        let block = finalized.block(id);
        let mut bytes = 0;
        let read = read_all(&found, &block, go_on, &mut bytes);
        let Err(error) = read else {
            return match read {
                Ok(true) => Verdict::Good { bytes },
                _ => Verdict::Stopped,
            };
        };
        if !found.is_entry(id, &Entry::Finalized(finalized)) {
            return Verdict::Skipped;
        }
        let bad = |problem: String| Verdict::Bad { block, problem, bytes };
        match error {
            ReplicaError::Corrupt { .. } | ReplicaError::Damaged { .. } => bad(error.to_string()),
            error if error.is_missing_file() => {
                let block = ExtendedBlock {
                    pool: pool.clone(),
                    block,
                };
                self.forget_missing(&block).map_or(Verdict::Skipped, Verdict::Missing)
            }
            ReplicaError::Io { ref source, .. } if blames_disk(source) => bad(error.to_string()),
            ReplicaError::Io { .. } => Verdict::Failed(error),
            _ => Verdict::Skipped,
        }
    }
}

/// Reads and checks everything; false when `go_on` said so.
fn read_all(pool: &Pool, block: &Block, go_on: &mut dyn FnMut(u64) -> bool, bytes: &mut u64) -> ReplicaResult<bool> {
    let replica = ReplicaReader::open(pool, block, 0, Duration::ZERO)?;
    if replica.block() != *block {
        return Err(ReplicaError::NotFound(block.id, block.generation_stamp));
    }
    replica.check_sums_known()?;
    let format = replica.format();
    let chunk = u64::from(format.chunk);
    let step = (STEP_BYTES - STEP_BYTES % chunk).max(chunk);
    let (mut data, mut sums) = (Vec::new(), Vec::new());
    while *bytes < block.len {
        let len = step.min(block.len - *bytes);
        if !go_on(len) {
            return Ok(false);
        }
        data.resize(len as usize, 0);
        sums.resize(format.sums_len(data.len()), 0);
        replica.read_sums(&mut sums, *bytes / chunk)?;
        replica.read_data(&mut data, *bytes)?;
        replica.hint(PageHint::DontNeed, *bytes, len);
        format.verify(&data, &sums).map_err(|index| ReplicaError::Corrupt {
            block: block.id,
            offset: *bytes + index as u64 * chunk,
        })?;
        *bytes += len;
    }
    Ok(true)
}
