//! What other threads tell a reactor: connections to take over, connections to look at, and to stop.
//!
//! Invariants: the bell rings only while the reactor sleeps, so a batch of wake-ups costs one system call; a connection
//! stands in the list of the woken once at most, so the list is as long as there are connections.

use super::connection::Connection;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

/// What has come since the reactor looked last.
#[derive(Default)]
pub(crate) struct News {
    pub(crate) arrivals: Vec<Connection>,
    /// Keys of connections to look at.
    pub(crate) woken: Vec<usize>,
}

#[derive(Default)]
struct State {
    news: News,
    is_asleep: bool,
    is_stopping: bool,
}

/// The inbox of one reactor.
pub(crate) struct Inbox {
    state: Mutex<State>,
    bell: OwnedFd,
}

impl Inbox {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// What becomes readable when the reactor must wake up. As an edge: nobody reads it.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Hands over a connection; it is dropped when the reactor ends or has ended.
    pub(crate) fn give(&self, connection: Connection) {
        let mut refused = Some(connection);
        self.tell(|state| {
            if !state.is_stopping {
                state.news.arrivals.extend(refused.take());
            }
        });
    }

    /// Lets the reactor end.
    pub(crate) fn stop(&self) {
        self.tell(|state| state.is_stopping = true);
    }

    fn tell(&self, tell: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        tell(&mut state);
        let rings = std::mem::take(&mut state.is_asleep);
        drop(state);
        if rings {
            // Only a counter near 2^64 refuses, and that has been ringing for long.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    /// Whether the reactor may sleep: there is no news, and whatever comes from now on rings.
    pub(crate) fn may_sleep(&self) -> bool {
        let mut state = self.state.lock();
        state.is_asleep = state.news.arrivals.is_empty() && state.news.woken.is_empty() && !state.is_stopping;
        state.is_asleep
    }

    /// Takes the news in exchange for an empty `news`; the reactor is awake. Returns whether it must end.
    pub(crate) fn swap(&self, news: &mut News) -> bool {
        let mut state = self.state.lock();
        state.is_asleep = false;
        std::mem::swap(&mut state.news, news);
        state.is_stopping
    }
}

/// Wakes one connection.
pub(crate) struct Caller {
    inbox: Arc<Inbox>,
    key: usize,
    is_listed: AtomicBool,
}

impl Caller {
    pub(crate) fn new(inbox: Arc<Inbox>, key: usize) -> Self {
        Self {
            inbox,
            key,
            is_listed: AtomicBool::new(false),
        }
    }

    /// Takes note that the connection is about to be looked at; who calls from now on lists it again.
    pub(crate) fn answered(&self) {
        self.is_listed.store(false, Ordering::Release);
    }
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_listed.swap(true, Ordering::AcqRel) {
            self.inbox.tell(|state| state.news.woken.push(self.key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn rings(inbox: &Inbox) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(&inbox.bell, &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(_) => 0,
        }
    }

    #[test]
    fn the_bell_rings_once_for_a_sleeper() {
        let inbox = Arc::new(Inbox::new().expect("inbox"));
        let callers = [3, 5].map(|key| Arc::new(Caller::new(Arc::clone(&inbox), key)));
        let [first, second] = callers.clone().map(Waker::from);
        first.wake_by_ref();
        assert_eq!(rings(&inbox), 0, "who is awake looks by himself");
        assert!(!inbox.may_sleep());
        let mut news = News::default();
        assert!(!inbox.swap(&mut news));
        assert_eq!(news.woken, [3]);
        news.woken.clear();
        callers[0].answered();
        assert!(inbox.may_sleep());
        for waker in [&first, &second, &first] {
            waker.wake_by_ref();
        }
        assert_eq!(rings(&inbox), 1);
        inbox.swap(&mut news);
        assert_eq!(news.woken, [3, 5], "each is listed once");
        first.wake_by_ref();
        assert!(inbox.may_sleep(), "not answered yet, so still listed");
        inbox.stop();
        assert_eq!(rings(&inbox), 1);
        assert!(inbox.swap(&mut news), "told to stop");
    }
}
