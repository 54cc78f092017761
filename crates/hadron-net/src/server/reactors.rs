//! Threads that each own the connections given to them.
//!
//! A connection stays on one thread from its accept to its end: its reads, its inline calls and its writes need neither
//! work stealing nor the wake-ups of idle neighbours that stealing costs. What it does not do: run [`crate::Reply::Later`]
//! futures; those compute for long and go to the runtime the server was started in.
//! Invariants: a connection is served by exactly one reactor; a reactor ends only after the server was told to stop, and
//! the tasks it still holds end with it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Most threads one server starts for connections.
pub(crate) const MAX_REACTORS: usize = 64;

/// The reactors of one server; without any, connections live in the runtime the server was started in.
#[derive(Debug)]
pub(crate) struct Reactors {
    home: Handle,
    threads: Vec<Reactor>,
}

#[derive(Debug)]
struct Reactor {
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

/// A connection's place on a reactor; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    handle: Handle,
    connections: Option<Arc<AtomicUsize>>,
}

impl Reactors {
    /// Starts `count` threads (at most [`MAX_REACTORS`]), which live until `stop`. Must be called inside a runtime.
    ///
    /// Errors: a thread or its event queue cannot be made.
    pub(crate) fn start(name: &str, count: usize, stop: &CancellationToken) -> io::Result<Self> {
        let start_one = |number| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let stop = stop.clone();
            std::thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || runtime.block_on(stop.cancelled()))?;
            let connections = Arc::default();
            Ok(Reactor { handle, connections })
        };
        let threads = (0..count.min(MAX_REACTORS)).map(start_one).collect::<io::Result<_>>()?;
        Ok(Self {
            home: Handle::current(),
            threads,
        })
    }

    /// Where long calls run.
    pub(crate) fn home(&self) -> &Handle {
        &self.home
    }

    /// A place on the reactor with the fewest connections.
    pub(crate) fn place(&self) -> Place {
        let count = |reactor: &&Reactor| reactor.connections.load(Ordering::Relaxed);
        match self.threads.iter().min_by_key(count) {
            Some(reactor) => {
                reactor.connections.fetch_add(1, Ordering::Relaxed);
                Place {
                    handle: reactor.handle.clone(),
                    connections: Some(Arc::clone(&reactor.connections)),
                }
            }
            None => Place {
                handle: self.home.clone(),
                connections: None,
            },
        }
    }
}

impl Place {
    /// Whether other connections share the thread.
    pub(crate) fn has_neighbours(&self) -> bool {
        let others = |count: &Arc<AtomicUsize>| count.load(Ordering::Relaxed) > 1;
        self.connections.as_ref().is_some_and(others)
    }

    /// Whether tasks here are dropped when the server is told to stop, without looking out for it themselves.
    pub(crate) fn ends_with_server(&self) -> bool {
        self.connections.is_some()
    }

    /// The runtime of this place.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(connections) = &self.connections {
            connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_go_where_the_fewest_are() {
        let stop = CancellationToken::new();
        let reactors = Reactors::start("test", 2, &stop).expect("start");
        let counts = || -> Vec<usize> {
            let count = |reactor: &Reactor| reactor.connections.load(Ordering::Relaxed);
            reactors.threads.iter().map(count).collect()
        };
        let (first, _second, third) = (reactors.place(), reactors.place(), reactors.place());
        assert_eq!(counts(), [2, 1]);
        let fourth = reactors.place();
        assert_eq!(counts(), [2, 2]);
        assert!(fourth.has_neighbours());
        drop(first);
        assert_eq!(counts(), [1, 2]);
        assert!(!third.has_neighbours());
        stop.cancel();
    }

    #[tokio::test]
    async fn without_reactors_connections_stay_at_home() {
        let reactors = Reactors::start("test", 0, &CancellationToken::new()).expect("start");
        assert_eq!(reactors.place().handle().id(), Handle::current().id());
    }
}
