//! The receiving side of a data connection: one buffer from which operations and packets are taken in place.
//!
//! Reads are as large as the buffer has room, so that many packets cost one system call. The buffer doubles only when
//! it is full of bytes that arrived: a length field alone allocates nothing. A deadline bounds what has to arrive as a
//! whole: a read time-out alone starts again with each byte.

use super::socket::Socket;
use rustix::net::RecvFlags;
use std::io::{self, ErrorKind, Read};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Buffer for operations and acks, and for what a small file takes.
pub(crate) const SMALL_BUFFER: usize = 8 * 1024;
/// Buffer while packets are received, once it shows that there are many.
pub(crate) const PACKET_BUFFER: usize = 256 * 1024;

/// Buffered reader of one socket.
pub(crate) struct Inbox {
    stream: Arc<Socket>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    deadline: Option<Instant>,
    /// Bytes of data moved over the connection, either way.
    moved: Arc<AtomicU64>,
}

impl Inbox {
    pub(crate) fn new(stream: Arc<Socket>) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            deadline: None,
            moved: Arc::default(),
        }
    }

    /// Counts what comes in; who sends adds to it as well.
    pub(crate) fn moved(&self) -> &Arc<AtomicU64> {
        &self.moved
    }

    /// Until the next call, reads fail with `TimedOut` after `deadline`; the socket's own time-out holds, too.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Bytes that arrived and were not consumed.
    pub(crate) fn available(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Forgets the first `len` available bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Gives the buffer back when nothing is in it: idle connections keep none.
    pub(crate) fn shrink(&mut self) {
        if self.start == self.end {
            *self = Self {
                moved: self.moved.clone(),
                ..Self::new(self.stream.clone())
            };
        }
    }

    /// Makes the buffer at least `len` bytes large.
    pub(crate) fn reserve(&mut self, len: usize) {
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
    }

    /// Takes what has arrived already. Errors: `WouldBlock` if nothing has.
    pub(crate) fn fill_now(&mut self) -> io::Result<usize> {
        self.look_for_room();
        let room = &mut self.buffer[self.end..];
        let (count, _) = rustix::net::recv(&*self.stream, room, RecvFlags::DONTWAIT)?;
        self.end += count;
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn look_for_room(&mut self) {
        let room = self.buffer.len() - self.end;
        if room == 0 || (self.start > 0 && room < self.buffer.len() / 4) {
            self.make_room();
        }
    }

    /// Does one read. Returns how many bytes came, 0 at the end of the stream.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        self.look_for_room();
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(ErrorKind::TimedOut.into());
        }
        loop {
            match (&*self.stream).read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    self.moved.fetch_add(count as u64, Ordering::Relaxed);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        } else {
            let doubled = (self.buffer.len() * 2).max(SMALL_BUFFER);
            self.buffer.resize(doubled, 0);
        }
    }

    /// Reads until `len` bytes are available.
    pub(crate) fn need(&mut self, len: usize) -> io::Result<()> {
        while self.end - self.start < len {
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

impl Read for Inbox {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end && self.fill()? == 0 {
            return Ok(0);
        }
        let count = into.len().min(self.end - self.start);
        into[..count].copy_from_slice(&self.buffer[self.start..self.start + count]);
        self.consume(count);
        Ok(count)
    }
}
