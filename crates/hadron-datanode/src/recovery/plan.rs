//! Which replicas take part in a recovery, and how long the block will be: a pure choice among what the holders told.
//!
//! Rules of Hadoop's `BlockRecoveryWorker.RecoveryTaskContiguous`: the best state wins, FINALIZED before RBW before
//! RWR. FINALIZED replicas give the length, and an RBW of the same length joins them; else the replicas of the best
//! state are cut to the shortest of them. What was acked to the writer is on every replica of the pipeline, so the
//! shortest has it. A truncation's length is given.
//!
//! Where Hadoop gives up for ever, because FINALIZED replicas differ in length, these rules go on:
//! - The newest stamp gives the length: it is the result of an attempt whose report was lost, and that has all acked.
//! - Of one stamp the longest does: clients that append without a new stamp leave the shorter one on a node that missed
//!   the append, so it ends where the append began.
//! - For the same reason an open replica that is longer than that, under the same stamp, is of a later append, and then
//!   the longer open ones count instead. One that is not longer says nothing: it may have missed the append, too.
//!   Clients that raise the stamp leave no open replica longer than a FINALIZED one of its stamp.
//!
//! Hadoop removes the block when nobody has data and one holder said so. Here it goes only when its acked bytes cannot be
//! on a holder that did not say: none is without an answer, and if one has a replica of an older stamp, which says nothing
//! of its length, the NameNode knows of no byte acked before the block's stamp.
//!
//! What is left out keeps its old stamp, by which the NameNode sees that it is outdated.

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

/// What a holder told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It has a replica.
    Replica(RecoveryInfo),
    /// It has none.
    Nothing,
    /// It refused for good: its replica is older than the block. Whatever it has was acked before the block's stamp.
    Outdated,
    /// Nothing, or a refusal that need not last: it may have what was acked.
    Silent,
}

/// Chooses. `block`: as the NameNode knows it, with the bytes that it knows to be acked.
///
/// Errors: why the block cannot be recovered now, in Hadoop's words.
pub(super) fn plan(block: &Block, answers: &[Answer], truncate_to: Option<u64>) -> Result<Plan, String> {
    let is_old = |info: &RecoveryInfo| info.block.generation_stamp < block.generation_stamp;
    let candidates: Vec<(usize, RecoveryInfo)> = (answers.iter().enumerate())
        .filter_map(|(number, answer)| match answer {
            Answer::Replica(info) if !is_old(info) && info.block.len > 0 => Some((number, *info)),
            _ => None,
        })
        .collect();
    let usable: Vec<_> = candidates
        .iter()
        .copied()
        .filter(|(_, info)| info.state <= ReplicaState::Rwr)
        .collect();
    if usable.is_empty() && !candidates.is_empty() {
        return Err(format!(
            "Found {} replica(s) for block {block} but none is in RWR or better state",
            candidates.len()
        ));
    }
    if usable.is_empty() {
        return nobody_has_data(block, answers, is_old);
    }
    let (len, participants) = match longest_of_newest(&usable) {
        Some(finalized) => {
            let of_later_append = |info: &RecoveryInfo| {
                info.state != ReplicaState::Finalized
                    && info.block.generation_stamp == finalized.generation_stamp
                    && info.block.len > finalized.len
            };
            match usable.iter().any(|(_, info)| of_later_append(info)) {
                true => shortest_of_best(&usable, finalized.len),
                false => (finalized.len, all_of_len(&usable, finalized.len)),
            }
        }
        None => shortest_of_best(&usable, 0),
    };
    Ok(Plan::Synchronize {
        len: truncate_to.unwrap_or(len),
        participants,
    })
}

/// Whether the block goes.
fn nobody_has_data(block: &Block, answers: &[Answer], is_old: impl Fn(&RecoveryInfo) -> bool) -> Result<Plan, String> {
    let count = |is: &dyn Fn(&Answer) -> bool| answers.iter().filter(|answer| is(answer)).count();
    let silent = count(&|answer| *answer == Answer::Silent);
    let outdated = count(&|answer| match answer {
        Answer::Replica(info) => is_old(info),
        answer => *answer == Answer::Outdated,
    });
    let all = answers.len();
    // No location at all is nobody who could say that the block is empty.
    if silent + outdated == all {
        return Err(format!("All datanodes failed: block={block}"));
    }
    if silent > 0 {
        // The NameNode names them no longer once they count as dead, and then an attempt comes to an end.
        return Err(format!(
            "No datanode that answers has data of block {block}, and {silent} of {all} do not answer"
        ));
    }
    if outdated > 0 && block.len > 0 {
        return Err(format!(
            "No datanode has data of block {block}, of which {} bytes were acked; {outdated} of {all} have outdated \
             replicas; remove the file to give them up",
            block.len
        ));
    }
    Ok(Plan::Delete)
}

/// The FINALIZED replica that gives the length if no open one is ahead of it.
fn longest_of_newest(usable: &[(usize, RecoveryInfo)]) -> Option<Block> {
    let finalized = usable.iter().filter(|(_, info)| info.state == ReplicaState::Finalized);
    finalized
        .map(|(_, info)| info.block)
        .max_by_key(|block| (block.generation_stamp, block.len))
}

/// The FINALIZED replicas of a length, and the RBW that lack nothing but their end.
fn all_of_len(usable: &[(usize, RecoveryInfo)], len: u64) -> Vec<usize> {
    usable
        .iter()
        .filter(|(_, info)| info.state <= ReplicaState::Rbw && info.block.len == len)
        .map(|(number, _)| *number)
        .collect()
}

/// The length of the shortest, and all, of the open replicas longer than `floor` that are in the best state.
fn shortest_of_best(usable: &[(usize, RecoveryInfo)], floor: u64) -> (u64, Vec<usize>) {
    let open = usable
        .iter()
        .filter(|(_, info)| info.state != ReplicaState::Finalized && info.block.len > floor);
    let best = open.clone().map(|(_, info)| info.state).min();
    let of_best = open.filter(|(_, info)| Some(info.state) == best);
    let len = of_best.clone().map(|(_, info)| info.block.len).min().unwrap_or(0);
    (len, of_best.map(|(number, _)| *number).collect())
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

    fn replica(state: ReplicaState, stamp: u64, len: u64) -> Answer {
        let block = block(stamp, len);
        Answer::Replica(RecoveryInfo { block, state })
    }

    /// Answers as (state, stamp, length); a length of `u64::MAX` is a holder without the replica.
    fn check(answers: &[(ReplicaState, u64, u64)], truncate_to: Option<u64>, expected: Result<Plan, &str>) {
        let told: Vec<_> = answers
            .iter()
            .map(|&(state, stamp, len)| match len {
                u64::MAX => Answer::Nothing,
                len => replica(state, stamp, len),
            })
            .collect();
        let planned = plan(&block(10, 0), &told, truncate_to);
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
            &[(Finalized, 10, 9), (Finalized, 10, 9), (Rwr, 10, 9)],
            None,
            cut(9, &[0, 1]),
        );
        check(&[(Rbw, 10, 9), (Finalized, 10, 9), (Rbw, 10, 8)], None, cut(9, &[0, 1]));
        check(&[(Rbw, 10, 9), (Rbw, 11, 7), (Rwr, 10, 5)], None, cut(7, &[0, 1]));
        check(&[(Rwr, 10, 9), (Rwr, 10, 5)], None, cut(5, &[0, 1]));
        check(
            &[(Rbw, 10, 9), (Rbw, 9, 5), (Rbw, 10, 0), (Rbw, 10, u64::MAX)],
            None,
            cut(9, &[0]),
        );
    }

    /// covers: LM-22
    #[test]
    fn finalized_replicas_that_differ_do_not_hinder() {
        for (answers, expected) in [
            // The first attempt finished here or there, and its report was lost.
            (&[(Finalized, 10, 9), (Finalized, 11, 8)][..], cut(8, &[1])),
            (
                &[(Finalized, 12, 7), (Finalized, 11, 8), (Finalized, 12, 7)],
                cut(7, &[0, 2]),
            ),
            (
                &[(Finalized, 12, 7), (Rbw, 11, 8), (Rbw, 11, 7), (Rwr, 11, 9)],
                cut(7, &[0, 2]),
            ),
            // As in Hadoop: of one length they are one replica, whatever the attempt.
            (&[(Finalized, 11, 9), (Finalized, 10, 9)], cut(9, &[0, 1])),
            // The first missed an append that was closed.
            (
                &[(Finalized, 10, 5), (Finalized, 10, 9), (Finalized, 10, 9)],
                cut(9, &[1, 2]),
            ),
            (&[(Rbw, 10, 5), (Finalized, 10, 9), (Rwr, 10, 8)], cut(9, &[1])),
        ] {
            check(answers, None, expected);
        }
    }

    #[test]
    fn an_append_under_the_old_stamp_keeps_what_was_acked_on_those_that_took_part() {
        for (answers, expected) in [
            (&[(Finalized, 10, 5), (Rbw, 10, 9), (Rbw, 10, 8)][..], cut(8, &[1, 2])),
            (&[(Rwr, 10, 9), (Finalized, 10, 5), (Rwr, 10, 8)], cut(8, &[0, 2])),
            (&[(Rwr, 10, 7), (Finalized, 10, 5), (Rbw, 10, 8)], cut(8, &[2])),
            // Whoever has nothing of the append may have missed it.
            (&[(Rbw, 10, 5), (Finalized, 10, 5), (Rwr, 10, 8)], cut(8, &[2])),
            (&[(Rbw, 10, 4), (Finalized, 10, 5), (Rbw, 10, 8)], cut(8, &[2])),
            // Two appends, the second of them open.
            (&[(Finalized, 10, 5), (Finalized, 10, 7), (Rbw, 10, 9)], cut(9, &[2])),
            // The writer was told of no stamp but the block's: nothing was acked under the newer one.
            (&[(Finalized, 10, 5), (Rbw, 11, 9)], cut(5, &[0])),
            (&[(Finalized, 11, 5), (Rbw, 10, 9)], cut(5, &[0])),
        ] {
            check(answers, None, expected);
        }
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
    }

    /// covers: LM-22
    #[test]
    fn a_block_goes_only_when_nobody_can_have_what_was_acked() {
        use Answer::{Nothing, Outdated, Silent};
        const GOES: Result<Plan, &str> = Ok(Plan::Delete);
        const FAILED: Result<Plan, &str> = Err("All datanodes failed");
        const UNANSWERED: Result<Plan, &str> = Err("No datanode that answers has data");
        const ACKED: Result<Plan, &str> = Err("No datanode has data");
        let (empty, old, temporary) = (replica(Rwr, 10, 0), replica(Rwr, 9, 5), replica(Temporary, 10, 5));
        // What becomes of the block when the NameNode knows of no acked byte of it, and when it does.
        let rows: &[(&[Answer], Result<Plan, &str>, Result<Plan, &str>)] = &[
            (&[], FAILED, FAILED),
            (&[Nothing], GOES, GOES),
            (&[empty], GOES, GOES),
            (&[empty, Nothing], GOES, GOES),
            (&[Silent], FAILED, FAILED),
            (&[Silent, Nothing], UNANSWERED, UNANSWERED),
            (&[Silent, empty], UNANSWERED, UNANSWERED),
            (&[Silent, empty, Outdated], UNANSWERED, UNANSWERED),
            (&[Outdated], FAILED, FAILED),
            (&[Outdated, Outdated], FAILED, FAILED),
            (&[Outdated, Silent], FAILED, FAILED),
            (&[Outdated, Nothing], GOES, ACKED),
            (&[Outdated, Nothing, Outdated], GOES, ACKED),
            (&[Outdated, empty], GOES, ACKED),
            (&[old], FAILED, FAILED),
            (&[old, Nothing], GOES, ACKED),
            (
                &[temporary, Silent],
                Err("Found 1 replica(s) for block"),
                Err("Found 1 replica(s) for block"),
            ),
        ];
        for (answers, unknown, known) in rows {
            for (len, expected) in [(0, unknown), (5, known)] {
                let planned = plan(&block(10, len), answers, None);
                match expected {
                    Ok(expected) => assert_eq!(planned.as_ref(), Ok(expected), "{answers:?}"),
                    Err(text) => {
                        let refusal = planned.expect_err(&format!("{answers:?} of {len} bytes"));
                        assert!(refusal.starts_with(text), "{answers:?} of {len} bytes: {refusal}");
                    }
                }
                // Whatever the others say, a replica with data ends it.
                let with_data: Vec<_> = answers.iter().copied().chain([replica(Rwr, 10, 5)]).collect();
                let kept = plan(&block(10, len), &with_data, None);
                assert_eq!(kept, cut(5, &[answers.len()]).map_err(str::to_owned), "{answers:?}");
            }
        }
    }
}
