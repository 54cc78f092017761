//! The face of a command log, whoever keeps it.
//!
//! What it is for: the NameNode's shell holds an `Arc<dyn CommandLog<M>>`; today's [`crate::LocalLog`] and a later
//! consensus log are the same to it. What it does not do: say how durability is reached.
//! Invariants: [`CommandLog::propose`] answers after apply; answers of one log come in index order; after
//! [`LogError::Poisoned`] nothing is acknowledged any more.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hadron_types::{LogIndex, TimeMs};
use tokio::sync::{oneshot, watch};

use crate::machine::StateMachine;

/// Why a proposal or request got no outcome.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum LogError {
    /// Durability was lost; whether the command will be found at restart is unknown. The process should end.
    #[error("journal is poisoned: {0}")]
    Poisoned(Arc<str>),
    /// Not proposed: the log is shutting down.
    #[error("journal is closed")]
    Closed,
    /// Not proposed: too many proposals are waiting. Try again.
    #[error("journal has {0} proposals waiting, its limit")]
    Overloaded(usize),
    /// Not proposed: the encoded command does not fit a batch.
    #[error("command of {len} bytes is longer than the journal's limit of {limit}")]
    TooLong {
        /// Encoded length.
        len: usize,
        /// Longest allowed.
        limit: usize,
    },
    /// Not proposed: no name dir has room. Nothing was written; the log goes on when there is room again.
    #[error("no space for the journal: {0}")]
    NoSpace(Arc<str>),
    /// A checkpoint could not be written; the log itself goes on.
    #[error("write checkpoint: {0}")]
    Checkpoint(Arc<str>),
}

/// How a log is doing. Watched by the NameNode, which enters safe mode or ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Fewer name dirs than `dfs.namenode.resource.checked.volumes.minimum` have
    /// `dfs.namenode.resource.du.reserved` bytes free.
    pub resources_low: bool,
    /// Set once durability was lost.
    pub poisoned: Option<Arc<str>>,
    /// Name dirs in use.
    pub live_dirs: Vec<PathBuf>,
    /// Name dirs given up since start.
    pub failed_dirs: Vec<PathBuf>,
}

/// An image that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NewestImage {
    /// The last entry in it.
    pub index: LogIndex,
    /// When it was begun.
    pub created: TimeMs,
}

/// A log of commands that drives a machine.
pub trait CommandLog<M: StateMachine>: Send + Sync + 'static {
    /// Puts a command into the log. The future resolves once it is durable and applied. The command goes in with this
    /// call, in call order; dropping the future forgets the answer, not the command.
    fn propose(&self, command: M::Command) -> Pending<M::Outcome>;

    /// As [`CommandLog::propose`], by a caller that lends its thread: where the log is at rest the command is durable,
    /// applied and answered on it before this returns, which saves the sleeping and waking of another thread. Call it
    /// without any lock, and only where nobody waits for the thread.
    fn propose_inline(&self, command: M::Command) -> Pending<M::Outcome> {
        self.propose(command)
    }

    /// Resolves when the state shows everything answered before this call, by whichever server. Awaited by every read.
    fn read_barrier(&self) -> Pending<()>;

    /// Index of the last applied entry; 0 before the first.
    fn last_applied(&self) -> LogIndex;

    /// Writes an image of the state as it is now or a little later. Resolves to the image's index.
    fn checkpoint(&self) -> Pending<LogIndex>;

    /// Goes on in a new segment, whose first entry will have the index given. Where segments are somebody else's, this is
    /// the index of the next entry.
    fn roll(&self) -> Pending<LogIndex> {
        Pending::ready(Ok(self.last_applied().next()))
    }

    /// The newest image known; index 0 before the first.
    fn newest_image(&self) -> NewestImage {
        NewestImage::default()
    }

    /// Whether name dirs that failed are taken back, at the next image or segment, once they work again.
    fn set_restore_failed_dirs(&self, restore: bool) {
        let _ = restore;
    }

    /// What [`CommandLog::set_restore_failed_dirs`] said last.
    fn restores_failed_dirs(&self) -> bool {
        false
    }

    /// How the log is doing, now and later.
    fn health(&self) -> watch::Receiver<Health>;

    /// Takes no more proposals; resolves when those taken are answered and the log is closed.
    fn shutdown(&self) -> Pending<()>;
}

/// An answer to come.
#[derive(Debug)]
pub struct Pending<T>(State<T>);

#[derive(Debug)]
enum State<T> {
    Ready(Option<Result<T, LogError>>),
    Waiting(oneshot::Receiver<Result<T, LogError>>),
}

impl<T> Pending<T> {
    /// An answer that is there already.
    pub fn ready(result: Result<T, LogError>) -> Self {
        Self(State::Ready(Some(result)))
    }

    /// What became of a request: its answer arrives through the receiver, or it was refused.
    pub(crate) fn of(request: Result<oneshot::Receiver<Result<T, LogError>>, LogError>) -> Self {
        match request {
            Ok(receiver) => Self::waiting(receiver),
            Err(error) => Self::ready(Err(error)),
        }
    }

    /// An answer that arrives through `receiver`; a dropped sender means [`LogError::Closed`].
    pub fn waiting(receiver: oneshot::Receiver<Result<T, LogError>>) -> Self {
        Self(State::Waiting(receiver))
    }

    /// The answer if it is there already; else this, to be awaited.
    pub fn now(self) -> Result<Result<T, LogError>, Self> {
        match self.0 {
            State::Ready(result) => Ok(result.unwrap_or(Err(LogError::Closed))),
            State::Waiting(mut receiver) => match receiver.try_recv() {
                Ok(result) => Ok(result),
                Err(oneshot::error::TryRecvError::Closed) => Ok(Err(LogError::Closed)),
                Err(oneshot::error::TryRecvError::Empty) => Err(Self(State::Waiting(receiver))),
            },
        }
    }

    /// Waits on the current thread. Not for use inside an asynchronous runtime.
    pub fn wait(self) -> Result<T, LogError> {
        match self.0 {
            State::Ready(result) => result.unwrap_or(Err(LogError::Closed)),
            State::Waiting(receiver) => receiver.blocking_recv().unwrap_or(Err(LogError::Closed)),
        }
    }
}

impl<T> Unpin for Pending<T> {}

impl<T> Future for Pending<T> {
    type Output = Result<T, LogError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            State::Ready(result) => Poll::Ready(result.take().unwrap_or(Err(LogError::Closed))),
            State::Waiting(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|received| received.unwrap_or(Err(LogError::Closed))),
        }
    }
}
