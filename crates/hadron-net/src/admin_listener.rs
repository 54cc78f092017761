//! The admin HTTP server's way to its connections: how many there are at most, and how long one may take.
//!
//! What it is for: a slow or silent peer must not hold a connection of the daemon for ever. Does not know HTTP: the
//! clock starts when a connection is accepted and again with each byte sent, and a read that is still waiting when
//! [`REQUEST_PATIENCE`] is over fails. So the head of each request must be complete within it, and idle connections end.
//! Invariant: at [`MAX_CONNECTIONS`] open connections others wait in the listen queue.

use axum::serve::Listener;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Most connections at a time; probes and scrapers need few.
pub(crate) const MAX_CONNECTIONS: usize = 64;
/// How long a connection may go without a complete request.
pub(crate) const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a failed accept.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A listener with a limit.
pub(crate) struct AdminListener {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    patience: Duration,
}

impl AdminListener {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self::with_limits(listener, MAX_CONNECTIONS, REQUEST_PATIENCE)
    }

    pub(crate) fn with_limits(listener: TcpListener, connections: usize, patience: Duration) -> Self {
        Self {
            listener,
            slots: Arc::new(Semaphore::new(connections)),
            patience,
        }
    }
}

impl Listener for AdminListener {
    type Io = AdminStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (AdminStream, SocketAddr) {
        loop {
            let Ok(slot) = self.slots.clone().acquire_owned().await else {
                // Nobody closes the semaphore.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => return (AdminStream::new(stream, slot, self.patience), peer),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept http connections, backing off");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection, its slot and its clock.
pub(crate) struct AdminStream {
    stream: TcpStream,
    patience: Duration,
    alarm: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
}

impl AdminStream {
    fn new(stream: TcpStream, slot: OwnedSemaphorePermit, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            alarm: Box::pin(tokio::time::sleep(patience)),
            _slot: slot,
        }
    }
}

impl AsyncRead for AdminStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Bytes that trickle in do not put the alarm off.
        if self.alarm.as_mut().poll(cx).is_ready() {
            let text = "no complete request in time";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)));
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for AdminStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() {
            let next = Instant::now() + self.patience;
            self.alarm.as_mut().reset(next);
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const PATIENCE: Duration = Duration::from_millis(200);

    async fn serve(connections: usize, patience: Duration) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let listener = AdminListener::with_limits(listener, connections, patience);
        let addr = listener.local_addr().expect("address");
        let pages = Router::new().route("/", get(|| async { "hello" }));
        tokio::spawn(async move { axum::serve(listener, pages).await });
        addr
    }

    async fn ask(socket: &mut TcpStream) -> String {
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        socket.write_all(request).await.expect("send");
        let mut text = String::new();
        socket.read_to_string(&mut text).await.expect("receive");
        text
    }

    #[tokio::test]
    async fn a_peer_that_does_not_finish_its_request_is_cut() {
        let addr = serve(4, PATIENCE).await;
        let mut socket = TcpStream::connect(addr).await.expect("connect");
        let started = Instant::now();
        let mut rest = [0; 64];
        loop {
            // A header that never ends.
            let sent = socket.write_all(b"X").await;
            let read = tokio::time::timeout(PATIENCE / 10, socket.read(&mut rest)).await;
            if sent.is_err() || read.is_ok_and(|read| read.map_or(true, |count| count == 0)) {
                break;
            }
            assert!(started.elapsed() < PATIENCE * 50, "still open");
        }
        assert!(started.elapsed() >= PATIENCE);
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_for_a_slot() {
        let addr = serve(1, Duration::from_secs(20)).await;
        let first = TcpStream::connect(addr).await.expect("connect");
        let mut second = TcpStream::connect(addr).await.expect("connect");
        let early = tokio::time::timeout(PATIENCE, ask(&mut second)).await;
        assert!(early.is_err(), "served beyond the limit");
        drop(first);
        let mut third = TcpStream::connect(addr).await.expect("connect");
        drop(second);
        assert!(ask(&mut third).await.ends_with("hello"));
    }
}
