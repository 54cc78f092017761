//! What the block map asks the namespace: the recorded facts of a block.
//!
//! Kept as a trait so that generation stamp, length, state and replication live in one place only.

use hadron_types::{Block, BlockId, InodeId};

/// How far a block of a file has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BlockState {
    /// Being written.
    UnderConstruction,
    /// Lease recovery of it runs; a recovery id above the stored stamp is out.
    UnderRecovery,
    /// Its writer gave the final length; too few replicas are known yet.
    Committed,
    /// Final and minimally replicated once.
    Complete,
}

impl BlockState {
    /// Whether length and stamp are final.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Committed | Self::Complete)
    }
}

/// A block as the namespace records it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredBlock {
    /// Number, current generation stamp, known length in bytes.
    pub block: Block,
    /// How far it has come.
    pub state: BlockState,
    /// Wanted number of replicas, 1..=512.
    pub replication: u16,
    /// The file it belongs to.
    pub file: InodeId,
    /// The file's preferred block size in bytes; placement asks for this much room.
    pub block_size: u64,
}

/// Answers questions about blocks; the namespace shell implements it under its read or write lock.
pub trait BlockSource {
    /// The recorded facts of `id`; `None` when no file holds it.
    fn stored(&self, id: BlockId) -> Option<StoredBlock>;

    /// Number of the storage policy in force for `file`; 0 for the default one. Asked for only when targets or
    /// surplus are chosen.
    fn storage_policy(&self, file: InodeId) -> u8 {
        let _ = file;
        0
    }

    /// Whether `file` is open for writing; its last block may be judged more leniently when a node is emptied.
    fn is_open(&self, file: InodeId) -> bool {
        let _ = file;
        false
    }
}

impl<F: Fn(BlockId) -> Option<StoredBlock>> BlockSource for F {
    fn stored(&self, id: BlockId) -> Option<StoredBlock> {
        self(id)
    }
}
