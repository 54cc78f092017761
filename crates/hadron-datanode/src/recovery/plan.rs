//! Which replicas take part in a recovery, and how long the block will be: a pure choice among what the holders told.
//!
//! Rules of Hadoop's `BlockRecoveryWorker.RecoveryTaskContiguous`: the best state wins, FINALIZED before RBW before
//! RWR. Finalized replicas must agree on the length, and an RBW of the same length joins them; else the replicas of the
//! best state are cut to the shortest of them. What was acked to the writer is on every replica of the pipeline, so the
//! shortest has it. A truncation's length is given.

use hadron_replica::RecoveryInfo;
use hadron_types::{Block, ReplicaState};

/// What the holders are to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// Nobody has a byte of the block: it goes.
    Delete,
    /// These answers' holders, by number, bring their replicas to `len` bytes.
    Synchronize { len: u64, participants: Vec<usize> },
}

/// Chooses. `answers`: what each holder told, `None` for one without a replica; `failed`: holders that could not be asked.
///
/// Errors: why the block cannot be recovered now, in Hadoop's words.
pub(super) fn plan(
    block: &Block,
    answers: &[Option<RecoveryInfo>],
    failed: usize,
    truncate_to: Option<u64>,
) -> Result<Plan, String> {
    // No location at all is nobody who could say that the block is empty.
    if failed == answers.len() {
        return Err(format!("All datanodes failed: block={block}"));
    }
    let has_data = |info: &RecoveryInfo| info.block.generation_stamp >= block.generation_stamp && info.block.len > 0;
    let candidates: Vec<(usize, RecoveryInfo)> = (answers.iter().enumerate())
        .filter_map(|(number, info)| Some((number, info.filter(has_data)?)))
        .collect();
    let usable: Vec<_> = candidates
        .iter()
        .copied()
        .filter(|(_, info)| info.state <= ReplicaState::Rwr)
        .collect();
    let Some(best) = usable.iter().map(|(_, info)| info.state).min() else {
        if candidates.is_empty() && failed > 0 {
            // Hadoop removes the block here. The node that does not answer may have what was acked: the NameNode names
            // it no longer once it counts as dead, and then an attempt comes to an end.
            return Err(format!(
                "No datanode that answers has data of block {block}, and {failed} of {} do not answer",
                answers.len()
            ));
        }
        if candidates.is_empty() {
            return Ok(Plan::Delete);
        }
        return Err(format!(
            "Found {} replica(s) for block {block} but none is in RWR or better state",
            candidates.len()
        ));
    };
    let mut of_best = usable.iter().filter(|(_, info)| info.state == best);
    let len = match best {
        ReplicaState::Finalized => {
            let len = of_best.next().map_or(0, |(_, info)| info.block.len);
            if let Some((_, other)) = of_best.find(|(_, info)| info.block.len != len) {
                return Err(format!(
                    "Inconsistent size of finalized replicas. Replica {} of {} bytes expected size: {len}",
                    other.block, other.block.len
                ));
            }
            len
        }
        _ => of_best.map(|(_, info)| info.block.len).min().unwrap_or(0),
    };
    let joins = |info: &RecoveryInfo| {
        let same_as_finalized =
            best == ReplicaState::Finalized && info.state == ReplicaState::Rbw && info.block.len == len;
        info.state == best || same_as_finalized
    };
    Ok(Plan::Synchronize {
        len: truncate_to.unwrap_or(len),
        participants: usable
            .iter()
            .filter(|(_, info)| joins(info))
            .map(|(number, _)| *number)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ReplicaState::{Finalized, Rbw, Rwr, Temporary};
    use hadron_types::{BlockId, GenerationStamp};

    fn block(stamp: u64, len: u64) -> Block {
        Block {
            id: BlockId(1),
            generation_stamp: GenerationStamp(stamp),
            len,
        }
    }

    /// Answers as (state, stamp, length); a length of `u64::MAX` is a holder without the replica.
    fn check(answers: &[(ReplicaState, u64, u64)], truncate_to: Option<u64>, expected: Result<Plan, &str>) {
        let told: Vec<_> = answers
            .iter()
            .map(|&(state, stamp, len)| {
                let block = block(stamp, len);
                (len != u64::MAX).then_some(RecoveryInfo { block, state })
            })
            .collect();
        let planned = plan(&block(10, 0), &told, 0, truncate_to);
        match expected {
            Ok(expected) => assert_eq!(planned, Ok(expected), "{answers:?}"),
            Err(text) => assert!(
                planned.as_ref().is_err_and(|e| e.starts_with(text)),
                "{answers:?}: {planned:?}"
            ),
        }
    }

    fn cut(len: u64, participants: &[usize]) -> Result<Plan, &'static str> {
        Ok(Plan::Synchronize {
            len,
            participants: participants.to_vec(),
        })
    }

    /// covers: LM-22
    #[test]
    fn the_best_state_wins_and_its_shortest_replica_gives_the_length() {
        check(
            &[(Finalized, 10, 9), (Finalized, 10, 9), (Rwr, 10, 20)],
            None,
            cut(9, &[0, 1]),
        );
        check(&[(Rbw, 10, 9), (Finalized, 10, 9), (Rbw, 10, 8)], None, cut(9, &[0, 1]));
        check(
            &[(Finalized, 10, 9), (Finalized, 11, 8)],
            None,
            Err("Inconsistent size of finalized replicas."),
        );
        check(&[(Rbw, 10, 9), (Rbw, 11, 7), (Rwr, 10, 5)], None, cut(7, &[0, 1]));
        check(&[(Rwr, 10, 9), (Rwr, 10, 5)], None, cut(5, &[0, 1]));
        check(
            &[(Rbw, 10, 9), (Rbw, 9, 5), (Rbw, 10, 0), (Rbw, 10, u64::MAX)],
            None,
            cut(9, &[0]),
        );
    }

    #[test]
    fn a_truncation_gives_the_length_and_a_block_without_data_goes_unless_nobody_was_asked() {
        check(&[(Finalized, 10, 9), (Finalized, 10, 9)], Some(4), cut(4, &[0, 1]));
        check(&[(Rwr, 10, 9), (Rbw, 10, 9)], Some(4), cut(4, &[1]));
        check(&[(Rbw, 10, 0), (Rbw, 10, u64::MAX)], None, Ok(Plan::Delete));
        check(&[], None, Err("All datanodes failed"));
        check(&[], Some(4), Err("All datanodes failed"));
    }

    #[test]
    fn what_cannot_be_recovered_is_said() {
        check(
            &[(Temporary, 10, 9), (Rbw, 10, 0)],
            None,
            Err("Found 1 replica(s) for block"),
        );
        assert!(plan(&block(10, 0), &[None, None], 2, None).is_err_and(|e| e.starts_with("All datanodes failed")));
        assert!(plan(&block(10, 0), &[None, None], 1, None).is_err_and(|e| e.starts_with("No datanode that answers")));
        assert_eq!(plan(&block(10, 0), &[None, None], 0, None), Ok(Plan::Delete));
    }
}
