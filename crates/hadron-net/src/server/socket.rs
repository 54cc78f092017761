//! A connection's socket on its reactor: reads and writes that never block, one system call each.
//!
//! What it does not do: keep bytes. Reads go through one buffer of the thread, so an idle connection has none.
//! Invariant: readiness is given up when a call met the end of what the kernel had, so that nobody asks in vain; what
//! comes later is announced anew (edge-triggered).

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Most bytes of one read.
const READ_LEN: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_LEN]);
}

pub(crate) struct Socket(TcpStream);

impl Socket {
    /// Takes over a socket that is non-blocking already. Must be called inside the runtime it is to live in.
    ///
    /// Errors: the runtime's event queue is full.
    pub(crate) fn new(stream: std::net::TcpStream) -> io::Result<Self> {
        TcpStream::from_std(stream).map(Self)
    }

    /// Hands to `take` what has come; 0 bytes: the peer closed its side.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, take: impl FnOnce(&[u8])) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            let received = BUFFER.with_borrow_mut(|buffer| {
                let room = buffer.len();
                self.call(Interest::READABLE, || {
                    let (len, _) = rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
                    Ok((len, len > 0 && len < room))
                })
            });
            if let Some(len) = received? {
                BUFFER.with_borrow(|buffer| take(&buffer[..len]));
                return Poll::Ready(Ok(len));
            }
        }
    }

    /// Writes a beginning of `bytes`, which must not be empty. Returns its length.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            let sent = self.call(Interest::WRITABLE, || {
                let len = rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL)?;
                Ok((len, len < bytes.len()))
            });
            match sent? {
                Some(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Some(len) => return Poll::Ready(Ok(len)),
                None => {}
            }
        }
    }

    /// Makes one call, which tells how many bytes it moved and whether it met the end. `None`: try again when ready.
    fn call(
        &self,
        interest: Interest,
        call: impl FnOnce() -> rustix::io::Result<(usize, bool)>,
    ) -> io::Result<Option<usize>> {
        let mut moved = None;
        let tried = self.0.try_io(interest, || match call() {
            Ok((len, met_end)) => {
                moved = Some(len);
                // tokio's way to say that the socket is not ready any more.
                if met_end {
                    Err(io::ErrorKind::WouldBlock.into())
                } else {
                    Ok(())
                }
            }
            Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        });
        match tried {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(moved),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let peer = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (ours, _) = listener.accept().expect("accept");
        ours.set_nonblocking(true).expect("non-blocking");
        (Socket::new(ours).expect("register"), peer)
    }

    async fn read(socket: &Socket) -> io::Result<Vec<u8>> {
        let mut taken = Vec::new();
        poll_fn(|cx| socket.poll_read(cx, |bytes| taken = bytes.to_vec())).await?;
        Ok(taken)
    }

    #[tokio::test]
    async fn bytes_and_the_end_are_read_as_they_come() {
        let (socket, mut peer) = pair();
        for part in [&b"one"[..], b"two"] {
            peer.write_all(part).expect("send");
            assert_eq!(read(&socket).await.expect("read"), part);
        }
        // Bytes and the end at once: both are seen.
        peer.write_all(b"last").expect("send");
        drop(peer);
        assert_eq!(read(&socket).await.expect("read"), b"last");
        assert_eq!(read(&socket).await.expect("read"), b"");
    }

    #[tokio::test]
    async fn much_is_read_in_parts() {
        let (socket, mut peer) = pair();
        let sent: Vec<u8> = (0..5 * READ_LEN + 7).map(|at| (at % 251) as u8).collect();
        let copy = sent.clone();
        let sender = std::thread::spawn(move || peer.write_all(&copy));
        let mut received = Vec::new();
        while received.len() < sent.len() {
            received.extend(read(&socket).await.expect("read"));
        }
        sender.join().expect("joined").expect("sent");
        assert!(received == sent, "every byte in its place");
    }

    #[tokio::test]
    async fn a_full_socket_takes_the_rest_later() {
        let (socket, mut peer) = pair();
        let sent = vec![9; 32 << 20];
        let mut at = 0;
        // The first write that finds the socket full.
        while let Poll::Ready(len) = poll_fn(|cx| Poll::Ready(socket.poll_write(cx, &sent[at..]))).await {
            at += len.expect("written");
            assert!(at < sent.len(), "a socket is full some time");
        }
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).map(|_| received.len())
        });
        while at < sent.len() {
            at += poll_fn(|cx| socket.poll_write(cx, &sent[at..])).await.expect("written");
        }
        drop(socket);
        assert_eq!(reader.join().expect("joined").expect("read"), sent.len());
    }
}
