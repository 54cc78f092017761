//! Where sealed buffers go beside the local file: a trait, and the implementation for a store with no replicas.
//!
//! What it is for: the writer thread offers each sealed buffer in order and `flush` waits until the quorum has it. What it
//! does not do: nothing here knows members, sockets or elections.
//! Invariants of the calls: `offer` is called by one thread, in order of sequence within an epoch, once for each buffer, and
//! before the buffer is written locally; `local_durable` never goes back within an epoch.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::sealed::Sealed;

/// Sends sealed buffers to the other members.
pub trait Replicator: fmt::Debug + Send + Sync {
    /// The term under which buffers are sealed from now on.
    fn epoch(&self) -> u64;
    /// Takes a sealed buffer to send. May wait for room while followers lag (bounded retained bytes); it does not wait for
    /// the buffer to arrive.
    ///
    /// Errors: this member leads no longer, or too few members are left; the service then refuses writes until `reset`.
    fn offer(&self, sealed: Sealed) -> Result<(), ReplicatorError>;
    /// Tells that all up to `sequence` of the current epoch is durable in the local file.
    fn local_durable(&self, sequence: u64);
    /// Waits until the quorum has all up to `sequence`, the local member not counted unless `local_durable` said so.
    ///
    /// Errors: [`ReplicatorError::TimedOut`] after `timeout` (`None`: no limit); others as for `offer`.
    fn wait(&self, sequence: u64, timeout: Option<Duration>) -> Result<(), ReplicatorError>;
    /// Sequences begin at 1 again, after a commit or a reset; what was offered before is not waited for any more.
    fn reset_sequence(&self);
    /// Buffers sent to the first follower so far.
    fn send_count(&self) -> u64;
    /// Wakes every waiter with [`ReplicatorError::Closed`] and takes nothing more.
    fn close(&self);
}

/// Why a buffer does not count.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ReplicatorError {
    /// Another member leads under a newer epoch.
    #[error("epoch {ours} was fenced by epoch {theirs}; this member must follow or stop")]
    Fenced {
        /// Epoch this member leads under.
        ours: u64,
        /// The newer epoch.
        theirs: u64,
    },
    /// Too few members can be reached.
    #[error("{alive} of {needed} members needed are there; bring followers back")]
    NoQuorum {
        /// Members with everything.
        alive: usize,
        /// Members needed.
        needed: usize,
    },
    /// The time-out passed first.
    #[error("sequence {sequence} was not confirmed in time; wait again or reset")]
    TimedOut {
        /// What was waited for.
        sequence: u64,
    },
    /// The replicator was closed.
    #[error("the replicator is closed")]
    Closed,
}

/// The replicator of a store without replicas: everything offered counts at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Replicator for Alone {
    fn epoch(&self) -> u64 {
        1
    }

    fn offer(&self, _sealed: Sealed) -> Result<(), ReplicatorError> {
        Ok(())
    }

    fn local_durable(&self, _sequence: u64) {}

    fn wait(&self, _sequence: u64, _timeout: Option<Duration>) -> Result<(), ReplicatorError> {
        Ok(())
    }

    fn reset_sequence(&self) {}

    fn send_count(&self) -> u64 {
        0
    }

    fn close(&self) {}
}
