//! What applying a command answers, and what it tells the block map and the lease clock.

use crate::inode::BlockState;
use crate::status::FileStatus;
use hadron_types::{Block, GenerationStamp, HadoopResult, InodeId};
use std::sync::Arc;

/// The result of applying one command.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// The answer to the caller.
    pub outcome: Outcome,
    /// Changes that soft state must follow, in order. Empty for errors and for replayed calls.
    pub effects: Vec<Effect>,
}

/// The answer to the caller.
pub type Outcome = HadoopResult<OutcomeValue>;

/// A successful answer.
#[derive(Clone, PartialEq, Debug)]
pub enum OutcomeValue {
    /// Done; nothing to tell.
    Done,
    /// Yes or no (delete, rename, complete, mkdirs, setReplication …).
    Bool(bool),
    /// The file just created.
    Created(Box<FileStatus>),
    /// The file just opened for appending.
    Appended(Box<Appended>),
    /// The block to write next.
    Allocated(AllocatedBlock),
    /// A generation stamp to use for a new pipeline.
    Stamp(GenerationStamp),
    /// Where ending a lease got to.
    Lease(LeaseProgress),
    /// The id of the cache directive just made.
    CacheDirective(i64),
    /// How much a reclaim slice freed.
    Reclaimed {
        /// Inodes freed.
        inodes: u64,
        /// Whether detached trees remain.
        more: bool,
    },
}

impl OutcomeValue {
    /// The truth of a yes-or-no answer; true for everything else.
    pub fn is_true(&self) -> bool {
        !matches!(self, Self::Bool(false))
    }
}

/// Answer to AddBlock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllocatedBlock {
    /// The block to write, length 0.
    pub block: Block,
    /// Its offset in the file.
    pub offset: u64,
    /// The file.
    pub file: InodeId,
    /// Its path now.
    pub path: String,
    /// Replicas wanted.
    pub replication: u16,
    /// Bytes the block may hold.
    pub block_size: u64,
    /// Storage policy in effect for the file, 0 = unspecified.
    pub storage_policy: u8,
    /// The client's machine, for placement.
    pub client_machine: Arc<str>,
    /// Whether the block had been allocated by an earlier try of the same call.
    pub retried: bool,
}

/// Answer to Append.
#[derive(Clone, PartialEq, Debug)]
pub struct Appended {
    /// The block to go on with, and its offset; `None` if the next call is AddBlock. For an append into a new block
    /// this is the last full block, which the client passes as `previous`.
    pub last_block: Option<(Block, u64)>,
    /// Whether the client goes on in a new block (`last_block` is then to be sent without locations).
    pub new_block: bool,
    /// The file.
    pub status: FileStatus,
}

/// Answer to ReleaseLease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseProgress {
    /// The file is closed.
    Closed,
    /// The last block must be recovered first; a DataNode is to be asked.
    RecoveryStarted {
        /// The block with its stamp before recovery.
        block: Block,
        /// The stamp of this recovery.
        recovery_id: GenerationStamp,
    },
}

/// A change that soft state follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// A file got a new block, under construction.
    BlockAdded {
        /// The block, length 0.
        block: Block,
        /// Its file.
        file: InodeId,
        /// Replicas wanted.
        replication: u16,
    },
    /// Stamp, length or state of a block changed.
    BlockChanged {
        /// The block as it is now.
        block: Block,
        /// Its stamp before.
        old_stamp: GenerationStamp,
        /// Its state now.
        state: BlockState,
        /// Its file.
        file: InodeId,
        /// Replicas wanted.
        replication: u16,
    },
    /// The last block of a file is to be recovered by a primary DataNode.
    BlockRecoveryStarted {
        /// The block with its stamp before recovery.
        block: Block,
        /// The stamp of this recovery.
        recovery_id: GenerationStamp,
        /// Its file.
        file: InodeId,
    },
    /// Blocks that no file has any more; their replicas are to be invalidated.
    BlocksRemoved(Vec<Block>),
    /// The wanted replicas of these blocks changed.
    ReplicationChanged {
        /// The blocks.
        blocks: Vec<Block>,
        /// Replicas wanted before.
        old: u16,
        /// Replicas wanted now.
        new: u16,
    },
    /// A file was closed; all its blocks are complete.
    FileClosed {
        /// The file.
        file: InodeId,
        /// Its last block, which may now have fewer replicas than wanted.
        last_block: Option<Block>,
        /// Replicas wanted.
        replication: u16,
    },
    /// A holder owns an open file now (again).
    LeaseGranted {
        /// The file.
        file: InodeId,
        /// The holder.
        holder: Arc<str>,
    },
    /// Nobody owns the file any more.
    LeaseReleased {
        /// The file.
        file: InodeId,
    },
    /// Detached trees wait for Reclaim commands.
    ReclaimNeeded,
    /// Cache pools or directives changed: what is cached is to be looked at.
    CacheChanged,
}
