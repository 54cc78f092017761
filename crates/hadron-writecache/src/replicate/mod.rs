//! Copies of one file on several members: every sealed buffer goes to the first follower, which relays it to the next.
//!
//! What it is for: [`Pipeline`] is the [`crate::Replicator`] of a leader, [`Node`] a follower and relay, [`promote()`] makes a
//! leader. What it does not do: elect. Who leads is a [`Quorum`]'s or an operator's word; a leader takes an epoch of its own
//! by [`promote()`], after which a majority refuses all older ones.
//!
//! ```text
//!             buffers, in order                    buffers
//!   leader ---------------------> first follower ----------> next ...
//!          <---------------------                <----------
//!             "durable up to n", each member's, passed on
//! ```
//!
//! Every link works alike ([`sender`]): the member below says how far its log goes, is told where to cut, gets what it
//! lacks from the parcels in memory or, when these are gone, from the file, and then each new buffer. Whoever falls behind
//! therefore costs nobody memory. A member that fails or stalls is cut out of the chain and comes back at its end.
//!
//! Pure parts: [`types`], [`codec`], [`log`], [`sender`], [`follower`], [`leader`], [`promotion`]. Shell: the others.
//!
//! Invariants: `committed <= durable on a quorum`; only copies that have reached the leader's own reign count, so that the
//! greatest [`Position`] of any majority holds all that is committed; a copy's durable position never claims bytes that are
//! not in its file. Formats: docs/formats/replication.md.

pub mod codec;
pub mod copy;
pub mod follower;
pub mod leader;
pub mod link;
pub mod log;
pub mod node;
pub mod pipeline;
pub mod promote;
pub mod promotion;
pub mod quorum;
pub mod sender;
pub mod state_file;
pub mod types;
pub mod wire;

#[cfg(test)]
mod simulation;

pub use codec::{Frame, FrameError, Refusal};
pub use copy::{Copy, CopyError};
pub use leader::{FollowerStatus, Patience};
pub use link::Timeouts;
pub use node::{Node, NodeOptions, NodeStats};
pub use pipeline::{FollowerStats, Pipeline, PipelineError, PipelineOptions, PipelineStats};
pub use promote::{PromoteError, Promotion, promote};
pub use promotion::{Verdict, Vote, decide};
pub use quorum::{Quorum, QuorumError, StaticQuorum, TestQuorum};
pub use state_file::{StateError, StateFile};
pub use types::{History, Member, MemberId, Parcel, Position, Reign, ReplicaState};
