//! The states of a replica and the only steps between them, as one table.
//!
//! ```text
//!            create            finalize             append
//!   (none) ----------> RBW ----------------> FINALIZED ------> RBW
//!      |                | \ recover (stays RBW, new stamp)
//!      |                |  restart
//!      |                +----------> RWR
//!      | receive copy                 | begin recovery (from any reported state)
//!      +-----------> TEMPORARY        v
//!                     | | finish     RUR -- end recovery --> FINALIZED
//!                     | +----------> FINALIZED
//!                     +-- adopt ---> RBW
//! ```

use hadron_types::ReplicaState::{self, Finalized, Rbw, Rur, Rwr, Temporary};

/// A step in a replica's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A client's pipeline creates it.
    Create,
    /// Another DataNode copies it here.
    ReceiveCopy,
    /// Its last packet is written, or a recovered pipeline closes it.
    Finalize,
    /// A pipeline goes on with a finalized replica (append, append recovery).
    Append,
    /// A pipeline goes on with an open replica under a new stamp.
    Recover,
    /// A partial copy joins a pipeline.
    Adopt,
    /// The DataNode ended, however it did, and was started again.
    Restart,
    /// The DataNode told the pipeline that it will be back, and was started again in time.
    AnnouncedRestart,
    /// A primary DataNode begins block recovery.
    BeginRecovery,
    /// Block recovery sets final length and stamp.
    EndRecovery,
    /// It is moved to another medium of the same DataNode.
    Move,
}

/// All steps.
pub const STEPS: &[Step] = &[
    Step::Create,
    Step::ReceiveCopy,
    Step::Finalize,
    Step::Append,
    Step::Recover,
    Step::Adopt,
    Step::Restart,
    Step::AnnouncedRestart,
    Step::BeginRecovery,
    Step::EndRecovery,
    Step::Move,
];

/// Every legal step; `None` is a replica that does not exist.
pub const TRANSITIONS: &[(Option<ReplicaState>, Step, ReplicaState)] = &[
    (None, Step::Create, Rbw),
    (None, Step::ReceiveCopy, Temporary),
    (Some(Rbw), Step::Finalize, Finalized),
    (Some(Temporary), Step::Finalize, Finalized),
    // A pipeline that failed while closing closes once more, under a new stamp.
    (Some(Finalized), Step::Finalize, Finalized),
    (Some(Temporary), Step::Adopt, Rbw),
    (Some(Temporary), Step::ReceiveCopy, Temporary),
    (Some(Rbw), Step::ReceiveCopy, Temporary),
    // Hadoop takes these in copies that a client orders and refuses them in those of the NameNode. A copy with a newer
    // stamp comes only when the old replica was given up: from an append, from a recovery that went on without it.
    (Some(Rwr), Step::ReceiveCopy, Temporary),
    (Some(Rur), Step::ReceiveCopy, Temporary),
    (Some(Finalized), Step::ReceiveCopy, Temporary),
    (Some(Finalized), Step::Append, Rbw),
    (Some(Rbw), Step::Recover, Rbw),
    (Some(Rbw), Step::Restart, Rwr),
    (Some(Rbw), Step::AnnouncedRestart, Rbw),
    (Some(Rwr), Step::Restart, Rwr),
    (Some(Finalized), Step::Restart, Finalized),
    (Some(Finalized), Step::BeginRecovery, Rur),
    (Some(Rbw), Step::BeginRecovery, Rur),
    (Some(Rwr), Step::BeginRecovery, Rur),
    (Some(Rur), Step::BeginRecovery, Rur),
    (Some(Rur), Step::EndRecovery, Finalized),
    (Some(Finalized), Step::Move, Finalized),
];

/// The state after `step`, or `None` when the step is not legal from `state`.
pub fn after(state: Option<ReplicaState>, step: Step) -> Option<ReplicaState> {
    TRANSITIONS
        .iter()
        .find(|(from, with, _)| *from == state && *with == step)
        .map(|(_, _, to)| *to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_a_function_and_forbids_the_rest() {
        for (i, (from, step, _)) in TRANSITIONS.iter().enumerate() {
            let again = TRANSITIONS[i + 1..].iter().any(|(f, s, _)| f == from && s == step);
            assert!(!again, "{from:?} {step:?} twice");
        }
        for (from, step) in [
            (Some(Finalized), Step::Create),
            (Some(Rbw), Step::Create),
            (Some(Rwr), Step::Recover),
            (Some(Rwr), Step::Append),
            (Some(Temporary), Step::Append),
            (Some(Temporary), Step::Recover),
            (Some(Rur), Step::Finalize),
            (Some(Temporary), Step::Restart),
            (Some(Temporary), Step::BeginRecovery),
            (None, Step::Finalize),
        ] {
            assert_eq!(after(from, step), None, "{from:?} {step:?}");
        }
    }
}
