//! One thread that owns connections: waits for their sockets, lets them take in and answer, and drops them.
//!
//! What is ready is done in rounds: first every connection takes in what has come and runs its calls, then all answers
//! leave. Answers that leave together wake a peer with many connections once, and waking it costs more than a stat.
//! What it does not do: run [`crate::Reply::Later`] futures; those compute for long and go to the runtime the server was
//! started in, in whose context the reactor runs (timers and spawned tasks are that runtime's).
//! Invariants: a connection is touched by its reactor only, from its arrival to its end; a connection that panics is
//! dropped, and no other notices.

use super::company::Company;
use super::connection::{Calls, Connection, Turn};
use super::inbox::{Caller, Inbox, News};
use super::socket::Socket;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use slab::Slab;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// Most events taken at once.
const MAX_EVENTS: usize = 1024;
/// Key of the inbox among the events.
const BELL: u64 = u64::MAX;

struct Slot {
    connection: Connection,
    caller: Arc<Caller>,
    waker: Waker,
}

/// The state of one reactor's thread.
pub(crate) struct Reactor {
    name: &'static str,
    inbox: Arc<Inbox>,
    events: OwnedFd,
    connections: Slab<Slot>,
    /// Keys of connections that may have something to send.
    sending: Vec<usize>,
    /// Keys of connections that stopped in the middle, to let others have their turn.
    again: Vec<usize>,
    /// How often time limits are looked after.
    check_every: Duration,
    next_check: Instant,
    /// When time limits were looked at last: the present, as exactly as it matters here.
    now: Instant,
    company: Company,
}

impl Reactor {
    /// A reactor of the server `name` that looks after time limits every `check_every`.
    ///
    /// Errors: the process has no descriptor left for an event queue.
    pub(crate) fn new(name: &'static str, inbox: Arc<Inbox>, check_every: Duration) -> io::Result<Self> {
        let events = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = epoll::EventData::new_u64(BELL);
        epoll::add(
            &events,
            inbox.bell(),
            bell,
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        let now = Instant::now();
        Ok(Self {
            name,
            inbox,
            events,
            connections: Slab::new(),
            sending: Vec::new(),
            again: Vec::new(),
            check_every,
            next_check: now,
            now,
            company: Company::new(now),
        })
    }

    /// Serves until the inbox says stop; all connections are dropped then.
    pub(crate) fn run(mut self) {
        let mut ready = Vec::with_capacity(MAX_EVENTS);
        let mut news = News::default();
        loop {
            if let Err(error) = self.wait(&mut ready) {
                // Only a descriptor that is none could bring this about.
                tracing::error!(server = self.name, %error, "wait for connections; the server's thread ends");
                self.inbox.stop();
            }
            if self.inbox.swap(&mut news) {
                return;
            }
            for key in std::mem::take(&mut self.again) {
                self.take_in(key);
            }
            for event in &ready {
                let Some(key) = key_of(event.data.u64()) else { continue };
                if let Some(slot) = self.connections.get_mut(key) {
                    slot.connection.announce(event.flags);
                    self.take_in(key);
                }
            }
            for connection in news.arrivals.drain(..) {
                self.admit(connection);
            }
            for key in news.woken.drain(..) {
                if let Some(slot) = self.connections.get(key) {
                    slot.caller.answered();
                    self.take_in(key);
                }
            }
            self.send_all();
            self.check_all();
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self, ready: &mut Vec<epoll::Event>) -> io::Result<()> {
        let limit = if !self.again.is_empty() || !self.inbox.may_sleep() {
            Some(Duration::ZERO)
        } else if self.connections.is_empty() {
            None
        } else {
            Some(self.next_check.saturating_duration_since(Instant::now()))
        };
        let limit = limit.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        ready.clear();
        match epoll::wait(&self.events, rustix::buffer::spare_capacity(ready), limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn admit(&mut self, connection: Connection) {
        if self.connections.is_empty() {
            self.next_check = Instant::now() + self.check_every;
        }
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let caller = Arc::new(Caller::new(Arc::clone(&self.inbox), key));
        let waker = Waker::from(Arc::clone(&caller));
        let slot = entry.insert(Slot {
            connection,
            caller,
            waker,
        });
        // What is there already is announced as well.
        let watched = epoll::add(
            &self.events,
            slot.connection.socket(),
            epoll::EventData::new_u64(key as u64),
            Socket::EVENTS,
        );
        if let Err(error) = watched {
            let peer = slot.connection.peer();
            tracing::warn!(server = self.name, %peer, %error, "connection dropped: its socket cannot be watched");
            self.connections.remove(key);
        }
    }

    fn take_in(&mut self, key: usize) {
        self.company.serve(key, self.now);
        let is_alone = self.company.is_absent(self.now);
        let mut calls = Calls::OneByOne;
        self.turn(key, |connection, cx| {
            calls = connection.take_in(cx, is_alone)?;
            Ok(Turn::Send)
        });
        if calls == Calls::Several {
            self.company.meet(self.now);
        }
    }

    fn send_all(&mut self) {
        let mut sending = std::mem::take(&mut self.sending);
        for key in sending.drain(..) {
            self.turn(key, |connection, _| connection.send());
        }
        // Its room is kept; nobody lists a connection for sending while it sends.
        self.sending = sending;
    }

    fn check_all(&mut self) {
        let now = Instant::now();
        self.now = now;
        if self.connections.is_empty() || now < self.next_check {
            return;
        }
        self.next_check = now + self.check_every;
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.turn(key, |connection, _| connection.check(now).map(|()| Turn::Wait));
        }
    }

    /// Lets one connection act.
    fn turn(&mut self, key: usize, act: impl FnOnce(&mut Connection, &mut Context<'_>) -> io::Result<Turn>) {
        let Some(slot) = self.connections.get_mut(key) else {
            return;
        };
        let mut cx = Context::from_waker(&slot.waker);
        match catch_unwind(AssertUnwindSafe(|| act(&mut slot.connection, &mut cx))) {
            Ok(Ok(Turn::Wait)) => {}
            Ok(Ok(Turn::Send)) => self.sending.push(key),
            Ok(Ok(Turn::Again)) => self.again.push(key),
            Ok(Ok(Turn::Ended)) => drop(self.connections.remove(key)),
            Ok(Err(error)) => {
                let connection = self.connections.remove(key).connection;
                tracing::debug!(server = self.name, peer = %connection.peer(), %error, "connection ends");
            }
            Err(_) => {
                let connection = self.connections.remove(key).connection;
                tracing::error!(server = self.name, peer = %connection.peer(), "connection dropped: a call panicked");
            }
        }
    }
}

/// The connection an event is about; `None`: it is the bell.
fn key_of(data: u64) -> Option<usize> {
    usize::try_from(data).ok().filter(|_| data != BELL)
}
