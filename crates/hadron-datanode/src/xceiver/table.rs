//! All open data connections: the limit, the gauge, and what `/xceivers` shows.
//!
//! A connection counts from accept to close, also while it is parked without a thread. The slot gives it back on drop.

use super::socket::{Peer, Socket};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// What a connection without an operation is doing; its number follows.
pub(crate) const WAITING: &str = "Waiting for operation";

/// The table.
pub(crate) struct XceiverTable {
    limit: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    rows: HashMap<u64, Row>,
    closed: bool,
}

struct Row {
    peer: Peer,
    stream: Arc<Socket>,
    since: Instant,
    ops: u64,
    doing: String,
    moved: Arc<AtomicU64>,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Xceiver count {count} exceeds the limit of concurrent xcievers: {limit}")]
    Full { count: usize, limit: usize },
    #[error("Server closed.")]
    Closed,
}

/// A row of `/xceivers`.
#[derive(Clone, Debug)]
pub(crate) struct XceiverInfo {
    pub(crate) peer: Peer,
    pub(crate) doing: String,
    pub(crate) ops: u64,
    pub(crate) age_seconds: u64,
    /// Bytes that came, and bytes of data that went.
    pub(crate) bytes: u64,
}

impl XceiverTable {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            state: Mutex::new(State::default()),
        }
    }

    /// Most connections.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the limit for connections to come; those there are stay.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Closes the sockets of connections that are at operation `name`; returns how many.
    pub(crate) fn close_doing(&self, name: &str) -> usize {
        let state = self.state.lock();
        let mut closed = 0;
        for row in state.rows.values().filter(|row| row.doing.starts_with(name)) {
            // One that is gone already needs no closing.
            let _ = row.stream.shutdown(Shutdown::Both);
            closed += 1;
        }
        closed
    }

    /// Ends the reading side of connections that are at operation `name`: their threads look up. Returns how many.
    pub(crate) fn wake_doing(&self, name: &str) -> usize {
        let state = self.state.lock();
        let mut woken = 0;
        for row in state.rows.values().filter(|row| row.doing.starts_with(name)) {
            let _ = row.stream.shutdown(Shutdown::Read);
            woken += 1;
        }
        woken
    }

    /// Enters a connection; the number is for the other calls.
    pub(crate) fn enter(&self, stream: &Arc<Socket>, peer: Peer) -> Result<u64, Refusal> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refusal::Closed);
        }
        let (count, limit) = (state.rows.len() + 1, self.limit());
        if count > limit {
            return Err(Refusal::Full { count, limit });
        }
        state.next += 1;
        let number = state.next;
        let row = Row {
            peer,
            stream: stream.clone(),
            since: Instant::now(),
            ops: 0,
            doing: format!("{WAITING} #1"),
            moved: Arc::default(),
        };
        state.rows.insert(number, row);
        Ok(number)
    }

    pub(crate) fn leave(&self, number: u64) {
        self.state.lock().rows.remove(&number);
    }

    /// Says where a connection counts its bytes.
    pub(crate) fn set_moved(&self, number: u64, moved: &Arc<AtomicU64>) {
        if let Some(row) = self.state.lock().rows.get_mut(&number) {
            row.moved = moved.clone();
        }
    }

    /// Notes what a connection is doing.
    pub(crate) fn note(&self, number: u64, ops: u64, doing: String) {
        if let Some(row) = self.state.lock().rows.get_mut(&number) {
            row.ops = ops;
            row.doing = doing;
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.state.lock().rows.len()
    }

    pub(crate) fn list(&self) -> Vec<XceiverInfo> {
        let state = self.state.lock();
        let mut rows: Vec<_> = state.rows.iter().collect();
        rows.sort_by_key(|(number, _)| **number);
        rows.into_iter()
            .map(|(_, row)| XceiverInfo {
                peer: row.peer,
                doing: row.doing.clone(),
                ops: row.ops,
                age_seconds: row.since.elapsed().as_secs(),
                bytes: row.moved.load(Ordering::Relaxed),
            })
            .collect()
    }

    /// Takes no more connections, and closes those that wait for an operation.
    pub(crate) fn close_idle(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for row in state.rows.values().filter(|row| row.doing.starts_with(WAITING)) {
            let _ = row.stream.shutdown(Shutdown::Both);
        }
    }

    /// Closes all sockets and takes no more connections.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for row in state.rows.values() {
            let _ = row.stream.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    // covers: XC-27, XC-29
    #[test]
    fn the_limit_holds_and_a_closed_table_takes_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let peer = Peer::Tcp(stream.peer_addr().unwrap());
        let stream = Arc::new(Socket::Tcp(stream));
        let table = XceiverTable::new(2);
        let first = table.enter(&stream, peer).unwrap();
        table.enter(&stream, peer).unwrap();
        let refused = table.enter(&stream, peer).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Xceiver count 3 exceeds the limit of concurrent xcievers: 2"
        );
        table.leave(first);
        table.enter(&stream, peer).unwrap();
        assert_eq!(table.list().len(), 2);
        table.close();
        table.leave(2);
        assert_eq!(table.enter(&stream, peer), Err(Refusal::Closed));
    }
}
