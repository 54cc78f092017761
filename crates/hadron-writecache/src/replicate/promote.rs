//! Asks the members to refuse older epochs, and judges what they answer.
//!
//! What it is for: the explicit act by which a member becomes leader. What it does not do: begin to lead ([`super::Pipeline`]
//! does), or choose another candidate. Invariant: the candidate's own promise is durable before anybody is asked; after
//! [`Verdict::Lead`] a majority refuses all epochs below the one returned, and no other member can be told to lead under it.

use hadron_types::Epoch;

use super::codec::{Frame, Refusal};
use super::copy::{Copy, CopyError};
use super::link::{Timeouts, ask};
use super::promotion::{Verdict, Vote, decide};
use super::quorum::Quorum;
use super::types::{Member, Position, ReplicaState};

/// How often a higher epoch is tried when one was promised already.
const MAX_ATTEMPTS: usize = 8;

/// Why nothing could be judged.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// The candidate's own disk.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The candidate's own copy belongs elsewhere.
    #[error("this copy belongs to group {found:016x}, not {expected:016x}; look at the list of members")]
    WrongGroup {
        /// The copy's group.
        found: u64,
        /// The quorum's.
        expected: u64,
    },
    /// Others raise the epoch at the same time.
    #[error("epochs up to {} were promised to others meanwhile; let one member be promoted at a time", promised.0)]
    Contended {
        /// The highest one seen.
        promised: Epoch,
    },
}

/// What came of a promotion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promotion {
    /// The epoch that was promised.
    pub epoch: Epoch,
    /// Whether this member may lead under it.
    pub verdict: Verdict,
    /// Who promised.
    pub votes: Vec<Vote>,
}

/// Makes a majority refuse older epochs and tells whether this member may lead. `state` is what the copy's state file says;
/// it is changed and saved.
///
/// Errors: the candidate's disk, or other candidates at the same time.
pub fn promote(
    quorum: &dyn Quorum,
    copy: &mut Copy,
    state: &mut ReplicaState,
    timeouts: &Timeouts,
) -> Result<Promotion, PromoteError> {
    let (group, me) = (quorum.group(), quorum.me());
    if state.group != 0 && state.group != group {
        return Err(PromoteError::WrongGroup {
            found: state.group,
            expected: group,
        });
    }
    let others: Vec<Member> = quorum.members().into_iter().filter(|member| member.id != me).collect();
    let mut highest = state.promised.max(quorum.epoch());
    for _ in 0..MAX_ATTEMPTS {
        let epoch = Epoch(highest.0 + 1);
        state.promised = epoch;
        state.group = group;
        copy.save(state)?;
        let own = Vote {
            member: me,
            position: state.is_consistent().then(|| state.position()),
            demand: state.demand(),
        };
        let question = Frame::Prepare { group, epoch };
        let answers: Vec<Option<Frame>> = std::thread::scope(|scope| {
            let asked: Vec<_> = others
                .iter()
                .map(|member| scope.spawn(|| ask(member, &question, timeouts).ok().map(|(_, answer)| answer)))
                .collect();
            asked.into_iter().map(|thread| thread.join().unwrap_or(None)).collect()
        });
        let mut votes = vec![own];
        let mut outbid = None;
        for (member, answer) in others.iter().zip(answers) {
            match answer {
                Some(Frame::Welcome {
                    member: answered,
                    promised,
                    last,
                    consistent,
                    demand,
                    history,
                    ..
                }) if answered == member.id && promised == epoch => votes.push(Vote {
                    member: member.id,
                    position: consistent.then(|| Position {
                        epoch: history.epoch(),
                        sequence: last,
                    }),
                    demand,
                }),
                Some(Frame::Refuse {
                    refusal: Refusal::StaleEpoch { promised },
                    ..
                }) => outbid = outbid.max(Some(promised)),
                Some(other) => tracing::warn!(member = %member.id, ?other, "no promise"),
                None => tracing::warn!(member = %member.id, "no answer"),
            }
        }
        match outbid {
            Some(promised) => highest = promised.max(epoch),
            None => {
                let verdict = decide(me, &votes, quorum.needed());
                return Ok(Promotion { epoch, verdict, votes });
            }
        }
    }
    Err(PromoteError::Contended { promised: highest })
}
