//! Idle DataNode connections of one kind, kept for the next operation (`dfs.client.socketcache.*`).
//!
//! A DataNode keeps a connection for 4 s after a finished read; we keep ours shorter, so that we rarely meet its close.
//! Invariants: at most `capacity` connections; each is closed at the latest `expiry` after it was put in, also when
//! nobody reads any more; dropping the cache closes all.

use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

struct Peer<S> {
    addr: String,
    stream: S,
    since: Instant,
}

struct State<S> {
    /// Oldest first.
    idle: Vec<Peer<S>>,
    sweeper: Option<AbortOnDropHandle<()>>,
}

/// The cache of one file system.
pub(crate) struct PeerCache<S> {
    capacity: usize,
    expiry: Duration,
    state: Mutex<State<S>>,
}

impl<S: Send + 'static> PeerCache<S> {
    pub(crate) fn new(capacity: usize, expiry: Duration) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            expiry,
            state: Mutex::new(State {
                idle: Vec::new(),
                sweeper: None,
            }),
        })
    }

    /// Connections kept now.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().idle.len()
    }

    /// Takes the youngest connection to `addr`, if there is one.
    pub(crate) fn take(&self, addr: &str) -> Option<S> {
        let mut state = self.state.lock();
        remove_expired(&mut state.idle, self.expiry);
        let index = state.idle.iter().rposition(|peer| peer.addr == addr)?;
        Some(state.idle.remove(index).stream)
    }

    /// Keeps a connection on which the DataNode waits for the next operation.
    pub(crate) fn put(self: &Arc<Self>, addr: String, stream: S) {
        if self.capacity == 0 {
            return;
        }
        let mut state = self.state.lock();
        remove_expired(&mut state.idle, self.expiry);
        if state.idle.len() >= self.capacity {
            state.idle.remove(0);
        }
        state.idle.push(Peer {
            addr,
            stream,
            since: Instant::now(),
        });
        if state.sweeper.is_none() {
            let sweeper = tokio::spawn(sweep(Arc::downgrade(self), self.expiry));
            state.sweeper = Some(AbortOnDropHandle::new(sweeper));
        }
    }
}

fn remove_expired<S>(idle: &mut Vec<Peer<S>>, expiry: Duration) {
    idle.retain(|peer| peer.since.elapsed() < expiry);
}

/// Closes connections as they expire; ends when none is left.
async fn sweep<S: Send + 'static>(cache: Weak<PeerCache<S>>, expiry: Duration) {
    loop {
        let Some(oldest) = cache.upgrade().and_then(|cache| next_or_end(&cache)) else {
            return;
        };
        tokio::time::sleep_until(oldest + expiry).await;
    }
}

/// When the oldest connection was put in; without any, marks the sweeper as ended.
fn next_or_end<S>(cache: &PeerCache<S>) -> Option<Instant> {
    let mut state = cache.state.lock();
    remove_expired(&mut state.idle, cache.expiry);
    let oldest = state.idle.first().map(|peer| peer.since);
    if oldest.is_none()
        && let Some(handle) = state.sweeper.take()
    {
        // Ending by itself: it must not abort the task that is running this.
        drop(handle.detach());
    }
    oldest
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    async fn fill(cache: &Arc<PeerCache<TcpStream>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        for name in ["a", "b", "c"] {
            cache.put(name.to_owned(), TcpStream::connect(addr).await.unwrap());
        }
    }

    #[tokio::test]
    async fn connections_are_kept_few() {
        let cache = PeerCache::new(2, Duration::from_secs(3600));
        fill(&cache).await;
        assert_eq!(cache.len(), 2);
        assert!(cache.take("a").is_none(), "the oldest had to go");
        assert!(cache.take("b").is_some());
        assert!(cache.take("b").is_none());
    }

    #[tokio::test]
    async fn connections_are_swept_without_anybody_asking() {
        let cache = PeerCache::new(2, Duration::from_millis(1));
        fill(&cache).await;
        while cache.len() > 0 || cache.state.lock().sweeper.is_some() {
            tokio::task::yield_now().await;
        }
    }
}
