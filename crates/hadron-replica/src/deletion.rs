//! Removal of replicas off the hot path: per volume one thread, so that a sick disk holds up nobody else's deletions.
//!
//! A deletion has two parts: moving the files aside (quick; until then the block cannot be copied here again) and
//! removing them (slow for large ones). Waiting first parts go before second ones. Files aside lie in the pool's
//! `tmp`, which every start empties. At [`MAX_QUEUED`] waiting parts the caller works itself.
//! Source of the idea: Hadoop `FsDatasetAsyncDiskService`.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;

/// Parts waiting on one volume.
const MAX_QUEUED: usize = 64 * 1024;
/// Stack of a deleting thread.
const STACK_BYTES: usize = 128 * 1024;

/// One part of a deletion; gives the next one.
pub(crate) struct Part(Box<dyn FnOnce() -> Option<Part> + Send>);

impl Part {
    pub(crate) fn new(run: impl FnOnce() -> Option<Self> + Send + 'static) -> Self {
        Self(Box::new(run))
    }

    /// Does it and all that follows here.
    fn run_all(self) {
        let mut next = Some(self);
        while let Some(part) = next {
            next = (part.0)();
        }
    }
}

/// The deleting thread of one volume, started with the first deletion.
#[derive(Default)]
pub(crate) struct Deleter(Arc<Queues>);

#[derive(Default)]
struct Queues {
    state: Mutex<State>,
    wake: Condvar,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    first: VecDeque<Part>,
    then: VecDeque<Part>,
    started: bool,
    working: bool,
    /// Second parts are dropped: the next start does them.
    closing: bool,
    /// Nobody adds any more.
    orphaned: bool,
}

impl Deleter {
    /// Queues a deletion.
    pub(crate) fn submit(&self, part: Part) {
        let mut state = self.0.state.lock();
        let full = state.first.len() + state.then.len() >= MAX_QUEUED;
        if full || !self.start(&mut state) {
            drop(state);
            part.run_all();
            return;
        }
        state.first.push_back(part);
        drop(state);
        self.0.wake.notify_one();
    }

    fn start(&self, state: &mut State) -> bool {
        if !state.started {
            let queues = self.0.clone();
            let thread = std::thread::Builder::new()
                .name("deleter".into())
                .stack_size(STACK_BYTES)
                .spawn(move || queues.work());
            match thread {
                Ok(_) => state.started = true,
                Err(error) => tracing::warn!(%error, "no thread for deletions, they are done in place"),
            }
        }
        state.started
    }

    /// Parts waiting or at work.
    pub(crate) fn pending(&self) -> usize {
        let state = self.0.state.lock();
        state.first.len() + state.then.len() + usize::from(state.working)
    }

    /// Drops everything that waits: the volume is out of use.
    pub(crate) fn clear(&self) {
        let mut state = self.0.state.lock();
        let dropped = (std::mem::take(&mut state.first), std::mem::take(&mut state.then));
        drop(state);
        drop(dropped);
    }

    /// Moves what waits aside and leaves the rest to the next start; waits for that at most `patience`.
    pub(crate) fn close(&self, patience: std::time::Duration) {
        let deadline = std::time::Instant::now() + patience;
        let mut state = self.0.state.lock();
        state.closing = true;
        let dropped = std::mem::take(&mut state.then);
        while state.working || !state.first.is_empty() {
            if self.0.idle.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        drop(state);
        drop(dropped);
    }
}

impl Drop for Deleter {
    fn drop(&mut self) {
        self.0.state.lock().orphaned = true;
        self.0.wake.notify_one();
    }
}

impl Queues {
    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(part) = state.first.pop_front().or_else(|| state.then.pop_front()) {
                state.working = true;
                drop(state);
                let next = (part.0)();
                state = self.state.lock();
                state.working = false;
                if !state.closing {
                    state.then.extend(next);
                }
            } else if state.orphaned {
                return;
            } else {
                self.idle.notify_all();
                self.wake.wait(&mut state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn files_are_moved_aside_before_any_waiting_removal() {
        let deleter = Deleter::default();
        let (done, order) = channel();
        let (open, gate) = channel::<()>();
        let blocked = Part::new(move || {
            gate.recv().ok();
            None
        });
        deleter.submit(blocked);
        for name in ["a", "b"] {
            let done = done.clone();
            deleter.submit(Part::new(move || {
                done.send(format!("aside {name}")).ok();
                Some(Part::new(move || {
                    done.send(format!("removed {name}")).ok();
                    None
                }))
            }));
        }
        assert_eq!(deleter.pending(), 3);
        open.send(()).unwrap();
        let steps: Vec<String> = (0..4)
            .map(|_| order.recv_timeout(Duration::from_secs(20)).unwrap())
            .collect();
        assert_eq!(steps, ["aside a", "aside b", "removed a", "removed b"]);
        deleter.close(Duration::from_secs(20));
        assert_eq!(deleter.pending(), 0);
    }
}
