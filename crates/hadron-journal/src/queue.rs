//! Proposals on their way to the journal thread.
//!
//! What it is for: many callers push, one of them or the journal's thread takes all there is at once. What it does not do: order beyond that of
//! the pushes. Invariants: the thread is woken only when it sleeps; at most `limit` proposals wait.

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::log::LogError;

/// Where an answer goes.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, LogError>>;

/// A command that waits for its batch.
pub(crate) struct Proposal<C, O> {
    pub(crate) command: C,
    pub(crate) answer: Answer<O>,
}

/// Everything that waited, in order.
pub(crate) struct Work<C, O, K> {
    pub(crate) proposals: Vec<Proposal<C, O>>,
    pub(crate) controls: Vec<K>,
    /// No more will come.
    pub(crate) closed: bool,
}

impl<C, O, K> Default for Work<C, O, K> {
    fn default() -> Self {
        Self {
            proposals: Vec::new(),
            controls: Vec::new(),
            closed: false,
        }
    }
}

/// The queue. `K` is what else the journal thread is asked to do.
pub(crate) struct Queue<C, O, K> {
    state: Mutex<State<C, O, K>>,
    filled: Condvar,
    limit: usize,
}

struct State<C, O, K> {
    work: Work<C, O, K>,
    sleeping: bool,
    /// Why nothing is taken any more.
    refusal: Option<LogError>,
}

impl<C, O, K> Queue<C, O, K> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                work: Work::default(),
                sleeping: false,
                refusal: None,
            }),
            filled: Condvar::new(),
            limit,
        }
    }

    /// Adds a proposal, or says why not.
    pub(crate) fn propose(&self, command: C) -> Result<oneshot::Receiver<Result<O, LogError>>, LogError> {
        let mut state = self.state.lock();
        let receiver = self.push(&mut state, command)?;
        self.wake(state);
        Ok(receiver)
    }

    /// As [`Self::propose`] without waking the thread: the caller takes the proposals at once himself.
    pub(crate) fn propose_quietly(&self, command: C) -> Result<oneshot::Receiver<Result<O, LogError>>, LogError> {
        self.push(&mut self.state.lock(), command)
    }

    fn push(&self, state: &mut State<C, O, K>, command: C) -> Result<oneshot::Receiver<Result<O, LogError>>, LogError> {
        let (answer, receiver) = oneshot::channel();
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        if state.work.proposals.len() >= self.limit {
            return Err(LogError::Overloaded(self.limit));
        }
        state.work.proposals.push(Proposal { command, answer });
        Ok(receiver)
    }

    /// Adds another request; refused only after [`Self::close`].
    pub(crate) fn control(&self, control: K) -> Result<(), LogError> {
        let mut state = self.state.lock();
        if state.work.closed {
            return Err(state.refusal.clone().unwrap_or(LogError::Closed));
        }
        state.work.controls.push(control);
        self.wake(state);
        Ok(())
    }

    /// Refuses proposals from now on; what is there is still worked on.
    pub(crate) fn refuse(&self, reason: LogError) {
        self.state.lock().refusal.get_or_insert(reason);
    }

    /// Refuses everything from now on and lets the thread know.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.refusal.get_or_insert(LogError::Closed);
        state.work.closed = true;
        self.wake(state);
    }

    /// Waits for work, which others may have taken meanwhile.
    pub(crate) fn wait(&self) {
        let mut state = self.state.lock();
        while state.work.proposals.is_empty() && state.work.controls.is_empty() && !state.work.closed {
            state.sleeping = true;
            self.filled.wait(&mut state);
            state.sleeping = false;
        }
    }

    /// Takes all there is. `empty` gives its storage back for reuse.
    pub(crate) fn take(&self, empty: &mut Work<C, O, K>) {
        let mut state = self.state.lock();
        std::mem::swap(&mut state.work.proposals, &mut empty.proposals);
        std::mem::swap(&mut state.work.controls, &mut empty.controls);
        empty.closed = state.work.closed;
    }

    /// Takes the proposals and leaves the rest to the thread.
    pub(crate) fn take_proposals(&self, empty: &mut Vec<Proposal<C, O>>) {
        std::mem::swap(&mut self.state.lock().work.proposals, empty);
    }

    fn wake(&self, mut state: parking_lot::MutexGuard<'_, State<C, O, K>>) {
        let sleeping = std::mem::take(&mut state.sleeping);
        drop(state);
        if sleeping {
            self.filled.notify_one();
        }
    }
}
