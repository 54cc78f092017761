//! Threads for active transfers: started on demand, kept a while for the next one, with small stacks.
//!
//! The number of threads is bounded by the callers (xceiver limit, transfers per heartbeat), not here: a job that had
//! to wait for a thread could be the one that another job waits for.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Stack of a transfer thread; buffers are on the heap.
const STACK_BYTES: usize = 512 * 1024;
/// How long a thread waits for another job.
const IDLE_TIME: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

/// The threads.
#[derive(Clone, Default)]
pub(crate) struct Workers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    wake: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    running: usize,
}

impl Workers {
    /// Runs `job` on a thread, a new one if none is idle.
    ///
    /// Errors: the system gives no thread; the job is dropped.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.0.state.lock();
        state.running += 1;
        if state.idle > state.jobs.len() {
            state.jobs.push_back(Box::new(job));
            drop(state);
            self.0.wake.notify_one();
            return Ok(());
        }
        drop(state);
        let inner = self.0.clone();
        let started = std::thread::Builder::new()
            .name("xceiver".into())
            .stack_size(STACK_BYTES)
            .spawn(move || inner.work(Box::new(job)));
        if started.is_err() {
            self.0.finished();
        }
        started.map(drop)
    }

    /// Waits until no job runs, at most `patience`; true if so.
    pub(crate) fn wait_idle(&self, patience: Duration) -> bool {
        let deadline = std::time::Instant::now() + patience;
        let mut state = self.0.state.lock();
        while state.running > 0 {
            if self.0.ended.wait_until(&mut state, deadline).timed_out() {
                return state.running == 0;
            }
        }
        true
    }

    /// Jobs under way.
    pub(crate) fn running(&self) -> usize {
        self.0.state.lock().running
    }
}

impl Inner {
    fn work(&self, first: Job) {
        let mut next = Some(first);
        while let Some(job) = next.take() {
            // A panic is a bug of ours; it must not take a counter down with it.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                tracing::error!("transfer thread panicked");
            }
            self.finished();
            let mut state = self.state.lock();
            state.idle += 1;
            if state.jobs.is_empty() {
                self.wake.wait_for(&mut state, IDLE_TIME);
            }
            next = state.jobs.pop_front();
            state.idle -= 1;
        }
    }

    fn finished(&self) {
        self.state.lock().running -= 1;
        self.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn jobs_run_at_once_even_when_others_block() {
        let workers = Workers::default();
        let (done, results) = channel();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        for i in 0..8 {
            let (done, gate) = (done.clone(), gate.clone());
            workers
                .run(move || {
                    let mut open = gate.0.lock();
                    while !*open {
                        gate.1.wait(&mut open);
                    }
                    done.send(i).unwrap();
                })
                .unwrap();
        }
        let last = done.clone();
        workers.run(move || last.send(100).unwrap()).unwrap();
        assert_eq!(results.recv().unwrap(), 100);
        assert!(workers.running() >= 8);
        *gate.0.lock() = true;
        gate.1.notify_all();
        assert!(workers.wait_idle(Duration::from_secs(20)));
        workers.run(|| panic!("contained")).unwrap();
        assert!(workers.wait_idle(Duration::from_secs(20)));
        assert_eq!(results.iter().take(8).count(), 8);
    }
}
