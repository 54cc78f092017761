//! The reactors of one server, and which of them takes a connection.
//!
//! A connection stays on one thread from its accept to its end: its reads, its inline calls and its writes need neither
//! work stealing nor the wake-ups of idle neighbours that stealing costs.
//! Invariants: a connection is served by exactly one reactor; the reactors end when the server is told to stop, or when
//! the runtime it was started in does.

use super::inbox::Inbox;
use super::options::RpcServerOptions;
use super::reactor::Reactor;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Most threads one server starts for connections.
pub(crate) const MAX_REACTORS: usize = 64;
/// Bounds of how often time limits are looked after.
const CHECK_EVERY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The reactors of one server.
pub(crate) struct Reactors {
    home: Handle,
    threads: Vec<Thread>,
}

struct Thread {
    inbox: Arc<Inbox>,
    connections: Arc<AtomicUsize>,
}

/// A connection's place on a reactor; dropping it frees the place.
pub(crate) struct Place {
    inbox: Arc<Inbox>,
    connections: Arc<AtomicUsize>,
}

/// Stops a reactor when dropped, be it because the runtime that would tell it has gone.
struct StopOnDrop(Arc<Inbox>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Reactors {
    /// Starts the reactors `options` asks for, one at least and [`MAX_REACTORS`] at most, which live until `stop` and
    /// count among `tasks`. Must be called inside a runtime.
    ///
    /// Errors: a thread or its event queue cannot be made.
    pub(crate) fn start(options: &RpcServerOptions, stop: &CancellationToken, tasks: &TaskTracker) -> io::Result<Self> {
        let home = Handle::current();
        let shortest = options
            .handshake_timeout
            .min(options.max_idle)
            .min(options.unsent_timeout);
        let check_every = (shortest / 4).clamp(CHECK_EVERY.0, CHECK_EVERY.1);
        let mut threads = Vec::new();
        for number in 0..options.reactors.clamp(1, MAX_REACTORS) {
            let inbox = Arc::new(Inbox::new()?);
            let stopper = StopOnDrop(Arc::clone(&inbox));
            let reactor = Reactor::new(options.name, Arc::clone(&inbox), check_every)?;
            let (context, counted) = (home.clone(), tasks.token());
            std::thread::Builder::new()
                .name(format!("{}-{number}", options.name))
                .spawn(move || {
                    let _context = context.enter();
                    reactor.run();
                    drop(counted);
                })?;
            let stop = stop.clone();
            home.spawn(async move {
                stop.cancelled().await;
                drop(stopper);
            });
            threads.push(Thread {
                inbox,
                connections: Arc::default(),
            });
        }
        Ok(Self { home, threads })
    }

    /// Where long calls run.
    pub(crate) fn home(&self) -> &Handle {
        &self.home
    }

    /// A place on the reactor with the fewest connections.
    pub(crate) fn place(&self) -> Place {
        let count = |thread: &&Thread| thread.connections.load(Ordering::Relaxed);
        let Some(thread) = self.threads.iter().min_by_key(count) else {
            unreachable!("a server has one reactor at least")
        };
        thread.connections.fetch_add(1, Ordering::Relaxed);
        Place {
            inbox: Arc::clone(&thread.inbox),
            connections: Arc::clone(&thread.connections),
        }
    }
}

impl Place {
    /// Where the connection with this place is to be handed to.
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_go_where_the_fewest_are() {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let options = RpcServerOptions {
            reactors: 2,
            ..RpcServerOptions::default()
        };
        let reactors = Reactors::start(&options, &stop, &tasks).expect("start");
        let counts = || -> Vec<usize> {
            let count = |thread: &Thread| thread.connections.load(Ordering::Relaxed);
            reactors.threads.iter().map(count).collect()
        };
        let (first, _second, _third) = (reactors.place(), reactors.place(), reactors.place());
        assert_eq!(counts(), [2, 1]);
        let _fourth = reactors.place();
        assert_eq!(counts(), [2, 2]);
        drop(first);
        assert_eq!(counts(), [1, 2]);
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }

    #[test]
    fn reactors_end_with_the_runtime_they_were_started_in() {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let start = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        let home = start().expect("runtime");
        let reactors = home.block_on(async { Reactors::start(&RpcServerOptions::default(), &stop, &tasks) });
        drop(reactors.expect("start"));
        drop(home);
        tasks.close();
        start().expect("runtime").block_on(tasks.wait());
    }
}
