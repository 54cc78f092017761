//! What the log needs to know of the state it keeps.
//!
//! What it is for: [`StateMachine`] is the border between the log and the namespace shell: the log orders and stores
//! bytes, the machine gives them meaning. What it does not do: I/O. Invariant: the same entries applied to the same
//! image give the same outcomes, whenever and wherever; the log checks that by a digest.

use std::sync::Arc;

use bytes::Bytes;
use hadron_types::{Epoch, LogIndex};

use crate::image::ImageReader;

/// One command with its place in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<C> {
    /// The reign under which it was written.
    pub epoch: Epoch,
    /// Its position, counted from 1 without gaps.
    pub index: LogIndex,
    /// The rules by which it is applied, now and at every replay.
    pub rules_version: u32,
    /// The command.
    pub command: C,
}

/// Bytes that are no command or no image slice.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
#[error("{0}")]
pub struct CodecError(pub String);

/// The state kept by a log. Methods take `&self`: the machine holds its own lock and takes it inside.
pub trait StateMachine: Send + Sync + 'static {
    /// A mutation with every input of its outcome.
    type Command: Send + 'static;
    /// What applying gives.
    type Outcome: Send + 'static;
    /// A frozen copy of the state; taking it must be cheap.
    type Snapshot: Send + 'static;

    /// Rules version given to new entries.
    fn rules_version(&self) -> u32;

    /// The newest rules version this program can replay; entries above it stop start-up.
    fn newest_rules_version(&self) -> u32 {
        self.rules_version()
    }

    /// Last touch before a command gets its place, called in log order: the machine makes times non-decreasing here.
    fn order(&self, _command: &mut Self::Command) {}

    /// Appends the command's bytes to `buffer`.
    fn encode(&self, command: &Self::Command, buffer: &mut Vec<u8>);

    /// Reads back what `encode` wrote.
    fn decode(&self, payload: &[u8]) -> Result<Self::Command, CodecError>;

    /// Applies `entries` in order under one hold of the machine's lock and pushes one outcome for each. Total: a
    /// command that no longer fits gives an error outcome. Drains `entries`.
    fn apply(&self, entries: &mut Vec<Entry<Self::Command>>, outcomes: &mut Vec<Self::Outcome>);

    /// Appends bytes that tell this outcome from others to `buffer`, for the digest that finds diverging replays.
    fn digest(&self, outcome: &Self::Outcome, buffer: &mut Vec<u8>);

    /// Freezes the state as of the last applied entry.
    fn snapshot(&self) -> Self::Snapshot;

    /// The slices of an image of `snapshot`, made one by one; each at most `MAX_SLICE_BYTES` of the image format.
    fn image(snapshot: Self::Snapshot) -> Box<dyn Iterator<Item = Vec<u8>> + Send>;

    /// Replaces the state by that of an image. The reader may be used from several threads.
    fn restore(&self, image: &ImageReader) -> Result<(), CodecError>;
}

/// A machine behind an `Arc` is one too.
impl<M: StateMachine> StateMachine for Arc<M> {
    type Command = M::Command;
    type Outcome = M::Outcome;
    type Snapshot = M::Snapshot;

    fn rules_version(&self) -> u32 {
        M::rules_version(self)
    }
    fn newest_rules_version(&self) -> u32 {
        M::newest_rules_version(self)
    }
    fn order(&self, command: &mut Self::Command) {
        M::order(self, command);
    }
    fn encode(&self, command: &Self::Command, buffer: &mut Vec<u8>) {
        M::encode(self, command, buffer);
    }
    fn decode(&self, payload: &[u8]) -> Result<Self::Command, CodecError> {
        M::decode(self, payload)
    }
    fn apply(&self, entries: &mut Vec<Entry<Self::Command>>, outcomes: &mut Vec<Self::Outcome>) {
        M::apply(self, entries, outcomes);
    }
    fn digest(&self, outcome: &Self::Outcome, buffer: &mut Vec<u8>) {
        M::digest(self, outcome, buffer);
    }
    fn snapshot(&self) -> Self::Snapshot {
        M::snapshot(self)
    }
    fn image(snapshot: Self::Snapshot) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        M::image(snapshot)
    }
    fn restore(&self, image: &ImageReader) -> Result<(), CodecError> {
        M::restore(self, image)
    }
}

/// One slice of an image as read back.
pub(crate) type Slice = Bytes;
