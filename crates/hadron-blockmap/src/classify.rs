//! What a reported replica means, judged against the block the namespace records.
//!
//! One free function holds the whole table of Hadoop's `BlockManager.processReportedBlock`,
//! `checkReplicaCorrupt` and `isBlockUnderConstruction`; nothing here changes state.

use crate::source::{BlockState, StoredBlock};
use hadron_types::{Block, GenerationStamp, ReplicaState};

/// One replica as a DataNode reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportedReplica {
    /// Number, stamp, and bytes on disk.
    pub block: Block,
    /// Its state on the DataNode.
    pub state: ReplicaState,
}

/// Why a replica is unusable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CorruptReason {
    /// Its generation stamp is not the block's.
    GenerationStampMismatch,
    /// Its length is not the block's.
    SizeMismatch,
    /// Its state cannot belong to a complete block.
    InvalidState,
    /// A reader or a DataNode found its bytes wrong.
    Reported,
}

/// What to do about a reported replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A good replica of a final block: it is a location.
    Add,
    /// A replica of a block still open. With `location` it also counts as finished.
    UnderConstruction {
        /// Whether it is FINALIZED and so a location too.
        location: bool,
    },
    /// Unusable; kept and marked until enough good ones exist.
    Corrupt(CorruptReason),
    /// No file holds the block: delete the replica.
    Invalidate,
    /// A late message; nothing to do.
    Ignore,
}

/// Judges `reported` against `stored` (`None`: no file holds the block).
///
/// Source: Hadoop `BlockManager`, tables in the project's notes on DataNode reports.
pub fn classify(reported: &ReportedReplica, stored: Option<&StoredBlock>) -> Verdict {
    let Some(stored) = stored else {
        return Verdict::Invalidate;
    };
    if stored.state.is_final() && reported.state == ReplicaState::Finalized {
        return classify_finalized(&reported.block, &stored.block);
    }
    match reported.state {
        ReplicaState::Finalized => {
            let fenced = stored.state == BlockState::UnderConstruction
                && stored.block.generation_stamp > reported.block.generation_stamp;
            if fenced {
                Verdict::Corrupt(CorruptReason::GenerationStampMismatch)
            } else {
                Verdict::UnderConstruction { location: true }
            }
        }
        ReplicaState::Rbw | ReplicaState::Rwr if stored.state != BlockState::Complete => {
            Verdict::UnderConstruction { location: false }
        }
        ReplicaState::Rbw | ReplicaState::Rwr if differs(&reported.block, stored.block.generation_stamp) => {
            Verdict::Corrupt(CorruptReason::GenerationStampMismatch)
        }
        ReplicaState::Rbw => Verdict::Ignore,
        ReplicaState::Rwr | ReplicaState::Rur | ReplicaState::Temporary => {
            Verdict::Corrupt(CorruptReason::InvalidState)
        }
    }
}

fn classify_finalized(reported: &Block, stored: &Block) -> Verdict {
    if differs(reported, stored.generation_stamp) {
        Verdict::Corrupt(CorruptReason::GenerationStampMismatch)
    } else if reported.len != stored.len {
        Verdict::Corrupt(CorruptReason::SizeMismatch)
    } else {
        Verdict::Add
    }
}

fn differs(reported: &Block, stamp: GenerationStamp) -> bool {
    reported.generation_stamp != stamp
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_types::{BlockId, InodeId};

    /// Judges a replica with stamp `gs` and length `len` against a stored block of stamp 1001 and length 10.
    fn check(replica: ReplicaState, gs: u64, len: u64, stored: BlockState, expected: Verdict) {
        let block = |gs, len| Block {
            id: BlockId(1),
            generation_stamp: GenerationStamp(gs),
            len,
        };
        let stored_block = StoredBlock {
            block: block(1001, 10),
            state: stored,
            replication: 3,
            file: InodeId(16386),
            block_size: 100,
        };
        let reported = ReportedReplica {
            block: block(gs, len),
            state: replica,
        };
        assert_eq!(
            classify(&reported, Some(&stored_block)),
            expected,
            "{replica:?} gs {gs} len {len} against {stored:?}"
        );
        assert_eq!(classify(&reported, None), Verdict::Invalidate);
    }

    #[test]
    fn the_table_of_replica_states() {
        use BlockState::{Committed, Complete, UnderConstruction, UnderRecovery};
        use CorruptReason::{GenerationStampMismatch, InvalidState, SizeMismatch};
        use ReplicaState::{Finalized, Rbw, Rur, Rwr, Temporary};
        for state in [Complete, Committed] {
            check(Finalized, 1001, 10, state, Verdict::Add);
            check(Finalized, 1000, 10, state, Verdict::Corrupt(GenerationStampMismatch));
            check(Finalized, 1002, 10, state, Verdict::Corrupt(GenerationStampMismatch));
            check(Finalized, 1001, 9, state, Verdict::Corrupt(SizeMismatch));
        }
        let located = Verdict::UnderConstruction { location: true };
        let open = Verdict::UnderConstruction { location: false };
        check(
            Finalized,
            1000,
            10,
            UnderConstruction,
            Verdict::Corrupt(GenerationStampMismatch),
        );
        check(Finalized, 1001, 3, UnderConstruction, located);
        check(Finalized, 1002, 3, UnderConstruction, located);
        check(Finalized, 1000, 3, UnderRecovery, located);
        for replica in [Rbw, Rwr] {
            check(replica, 1000, 3, UnderConstruction, open);
            check(replica, 1001, 3, UnderRecovery, open);
            check(replica, 1001, 3, Committed, open);
            check(replica, 1000, 10, Complete, Verdict::Corrupt(GenerationStampMismatch));
        }
        check(Rbw, 1001, 10, Complete, Verdict::Ignore);
        check(Rwr, 1001, 10, Complete, Verdict::Corrupt(InvalidState));
        for replica in [Rur, Temporary] {
            for state in [Complete, Committed, UnderConstruction] {
                check(replica, 1001, 10, state, Verdict::Corrupt(InvalidState));
            }
        }
    }
}
