//! A connection's socket on its reactor: reads and writes that never block, one system call each.
//!
//! What it does not do: keep bytes. Reads go through one buffer of the thread, so an idle connection has none.
//! Invariant: readiness is given up when a call met the end of what the kernel had, so that nobody asks in vain; what
//! comes later is announced anew (edge-triggered). Only the peer's end is announced once for all.

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};

/// Most bytes of one read.
const READ_LEN: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_LEN]);
}

pub(crate) struct Socket {
    stream: TcpStream,
    is_readable: bool,
    is_writable: bool,
    /// The peer closed its side: a read never waits again.
    is_ending: bool,
}

impl Socket {
    /// What the event queue must announce, as edges.
    pub(crate) const EVENTS: EventFlags = EventFlags::IN
        .union(EventFlags::OUT)
        .union(EventFlags::RDHUP)
        .union(EventFlags::ET);

    /// Takes over a socket that is non-blocking already; its first readiness is announced like all others.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            is_readable: false,
            is_writable: false,
            is_ending: false,
        }
    }

    /// Takes note of what the event queue announced.
    pub(crate) fn announce(&mut self, events: EventFlags) {
        let ended = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        self.is_ending |= events.intersects(ended);
        self.is_readable |= events.intersects(EventFlags::IN | ended);
        self.is_writable |= events.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR);
    }

    /// Hands to `take` what has come, once. `None`: nothing has; 0 bytes: the peer closed its side.
    pub(crate) fn read(&mut self, take: impl FnOnce(&[u8])) -> io::Result<Option<usize>> {
        if !self.is_readable {
            return Ok(None);
        }
        BUFFER.with_borrow_mut(|buffer| {
            match retry(|| rustix::net::recv(&self.stream, &mut buffer[..], RecvFlags::empty()))? {
                Some((len, _)) => {
                    self.is_readable = self.is_ending || len == buffer.len() || len == 0;
                    take(&buffer[..len]);
                    Ok(Some(len))
                }
                None => {
                    self.is_readable = false;
                    Ok(None)
                }
            }
        })
    }

    /// Writes a beginning of `bytes`, which must not be empty, and returns its length. `None`: there is no room.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        if !self.is_writable {
            return Ok(None);
        }
        let sent = retry(|| rustix::net::send(&self.stream, bytes, SendFlags::NOSIGNAL))?;
        if sent == Some(0) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.is_writable = sent == Some(bytes.len());
        Ok(sent)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Makes a call until no signal disturbs it. `None`: it would block.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<Option<T>> {
    loop {
        match call() {
            Ok(done) => return Ok(Some(done)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::epoll;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;

    struct Watched {
        socket: Socket,
        events: OwnedFd,
    }

    fn pair() -> (Watched, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let peer = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (ours, _) = listener.accept().expect("accept");
        ours.set_nonblocking(true).expect("non-blocking");
        let socket = Socket::new(ours);
        let events = epoll::create(epoll::CreateFlags::CLOEXEC).expect("event queue");
        epoll::add(&events, &socket, epoll::EventData::new_u64(0), Socket::EVENTS).expect("watch");
        (Watched { socket, events }, peer)
    }

    impl Watched {
        fn wait(&mut self) {
            let mut ready = Vec::with_capacity(1);
            epoll::wait(&self.events, rustix::buffer::spare_capacity(&mut ready), None).expect("wait");
            self.socket.announce(ready[0].flags);
        }

        fn read(&mut self) -> Vec<u8> {
            let mut taken = Vec::new();
            while self
                .socket
                .read(|bytes| taken = bytes.to_vec())
                .expect("read")
                .is_none()
            {
                self.wait();
            }
            taken
        }
    }

    #[test]
    fn bytes_and_the_end_are_read_as_they_come() {
        let (mut watched, mut peer) = pair();
        for part in [&b"one"[..], b"two"] {
            peer.write_all(part).expect("send");
            assert_eq!(watched.read(), part);
        }
        // Bytes and the end at once: both are seen.
        peer.write_all(b"last").expect("send");
        drop(peer);
        assert_eq!(watched.read(), b"last");
        assert_eq!(watched.read(), b"");
    }

    #[test]
    fn much_is_read_in_parts() {
        let (mut watched, mut peer) = pair();
        let sent: Vec<u8> = (0..5 * READ_LEN + 7).map(|at| (at % 251) as u8).collect();
        let copy = sent.clone();
        let sender = std::thread::spawn(move || peer.write_all(&copy));
        let mut received = Vec::new();
        while received.len() < sent.len() {
            received.extend(watched.read());
        }
        sender.join().expect("joined").expect("sent");
        assert!(received == sent, "every byte in its place");
    }

    #[test]
    fn a_full_socket_takes_the_rest_later() {
        let (mut watched, mut peer) = pair();
        let sent = vec![9; 32 << 20];
        watched.wait();
        let mut at = 0;
        // The first write that finds the socket full.
        while let Some(len) = watched.socket.write(&sent[at..]).expect("write") {
            at += len;
            assert!(at < sent.len(), "a socket is full some time");
        }
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received.len())
        });
        while at < sent.len() {
            match watched.socket.write(&sent[at..]).expect("write") {
                Some(len) => at += len,
                None => watched.wait(),
            }
        }
        drop(watched);
        assert_eq!(reader.join().expect("joined").expect("read"), sent.len());
    }
}
