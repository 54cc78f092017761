//! Which log a new leader must begin with.
//!
//! What it is for: the decision from the members' votes. What it does not do: collect them.
//! Invariant: every majority shares a member with each majority that committed something, and copies count towards
//! committing only in the newest reign; so the greatest position among a majority's consistent logs holds all of it.

use super::types::{MemberId, Position};

/// What one member answered when asked to refuse older epochs; it has promised durably.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vote {
    /// Who.
    pub member: MemberId,
    /// How far its log goes; `None` while its file is between two states.
    pub position: Option<Position>,
    /// How far its log went before a copy replaced it; else as `position`.
    pub demand: Position,
}

/// What the votes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The candidate's log is as good as any: it may lead.
    Lead,
    /// This member's log goes further; promote it instead.
    Behind {
        /// Whom to promote.
        member: MemberId,
        /// How far its log goes.
        position: Position,
    },
    /// Nobody who answered has a log that goes as far as one of them once went: wait for those that did not answer.
    Missing {
        /// How far that was.
        demand: Position,
    },
    /// Too few answered.
    NoMajority {
        /// Members that promised.
        found: usize,
        /// Members needed.
        needed: usize,
    },
}

/// Judges `votes`, the candidate's own included. A member that is between two states promises and demands what it once
/// had, but cannot lead.
pub fn decide(candidate: MemberId, votes: &[Vote], needed: usize) -> Verdict {
    if votes.len() < needed {
        let found = votes.len();
        return Verdict::NoMajority { found, needed };
    }
    let demand = votes.iter().map(|vote| vote.demand).max().unwrap_or_default();
    let able = |vote: &&Vote| vote.position.is_some_and(|position| position >= demand);
    if votes.iter().filter(able).any(|vote| vote.member == candidate) {
        return Verdict::Lead;
    }
    match votes.iter().find(able) {
        Some(best) => Verdict::Behind {
            member: best.member,
            position: demand,
        },
        None => Verdict::Missing { demand },
    }
}

#[cfg(test)]
mod tests {
    use hadron_types::Epoch;

    use super::*;

    #[test]
    fn the_later_reign_wins_then_the_longer_log() {
        let at = |epoch, sequence| Position {
            epoch: Epoch(epoch),
            sequence,
        };
        let vote = |member, epoch, sequence| Vote {
            member: MemberId(member),
            position: Some(at(epoch, sequence)),
            demand: at(epoch, sequence),
        };
        let copying = |member, epoch, sequence| Vote {
            position: None,
            ..vote(member, epoch, sequence)
        };
        let behind = |member, epoch, sequence| Verdict::Behind {
            member: MemberId(member),
            position: at(epoch, sequence),
        };
        let cases = [
            (vec![vote(1, 1, 5), vote(2, 1, 5)], Verdict::Lead),
            (vec![vote(1, 1, 5), vote(2, 1, 6)], behind(2, 1, 6)),
            (vec![vote(1, 1, 9), vote(2, 2, 4)], behind(2, 2, 4)),
            (vec![vote(1, 2, 4), vote(2, 1, 9)], Verdict::Lead),
            (vec![vote(1, 2, 4), copying(2, 1, 9)], Verdict::Lead),
            (
                vec![vote(1, 2, 4), copying(2, 2, 5)],
                Verdict::Missing { demand: at(2, 5) },
            ),
            (vec![vote(1, 2, 4)], Verdict::NoMajority { found: 1, needed: 2 }),
            (vec![copying(1, 2, 9), vote(2, 1, 4), vote(3, 2, 9)], behind(3, 2, 9)),
        ];
        for (votes, expected) in cases {
            assert_eq!(decide(MemberId(1), &votes, 2), expected, "{votes:?}");
        }
    }
}
