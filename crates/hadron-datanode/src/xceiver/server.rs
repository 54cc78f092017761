//! Accepting data connections and parking idle ones: the tokio side of the data path.
//!
//! A parked connection is a small task that waits for bytes or its time-out; only then does it get a thread. One whose
//! operation came with it gets its thread at once. EMFILE and its kin back off and never end the loop.
//! Accepted sockets have what the listening one was given: no delay, and the time-outs of an operation.

use super::Connection;
use super::inbox::Inbox;
use super::socket::{Peer, Socket};
use super::table::Refusal;
use crate::shared::Shared;
use rustix::net::SocketFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout, set_tcp_nodelay};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::net::TcpListener;

/// Pause after a failed accept.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Accepts until the DataNode stops.
pub(crate) async fn accept_loop(shared: Arc<Shared>, listener: TcpListener) {
    let listening = listener.into_std().and_then(|listener| {
        let settings = &shared.settings;
        set_tcp_nodelay(&listener, true)?;
        set_socket_timeout(&listener, Timeout::Recv, Some(settings.socket_timeout))?;
        let write = (!settings.write_timeout.is_zero()).then_some(settings.write_timeout);
        set_socket_timeout(&listener, Timeout::Send, write)?;
        // See below for the lint.
        #[allow(deprecated)]
        AsyncFd::with_interest(listener, Interest::READABLE)
    });
    let listener = match listening {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot listen for data connections"),
    };
    accept_from(&shared, &listener, "data", accept).await;
}

/// Accepts connections of a `kind` until the DataNode stops. `accept` gives one, as a blocking socket that no reactor knows,
/// or `WouldBlock`.
pub(crate) async fn accept_from<L: AsRawFd>(
    shared: &Arc<Shared>,
    listener: &AsyncFd<L>,
    kind: &str,
    accept: impl Fn(&L) -> io::Result<(Socket, Peer)>,
) {
    let next = async || {
        loop {
            let mut ready = listener.readable().await?;
            if let Ok(accepted) = ready.try_io(|listener| accept(listener.get_ref())) {
                return accepted;
            }
        }
    };
    loop {
        let accepted = tokio::select! {
            () = shared.draining.cancelled() => return,
            accepted = next() => accepted,
        };
        let result = match accepted {
            Ok((stream, peer)) => admit(shared, stream, peer),
            Err(error) if is_resource_shortage(&error) => {
                tracing::error!(%error, "cannot accept {kind} connections, backing off");
                tokio::select! {
                    () = shared.draining.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_BACKOFF) => continue,
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "{kind} connection lost while accepting");
        }
    }
}

fn accept(listener: &std::net::TcpListener) -> io::Result<(Socket, Peer)> {
    let (stream, peer) = rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let peer = peer.ok_or_else(|| io::Error::other("peer without an address"))?;
    Ok((Socket::Tcp(TcpStream::from(stream)), Peer::Tcp(peer)))
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM.
fn is_resource_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

fn admit(shared: &Arc<Shared>, stream: Socket, peer: Peer) -> io::Result<()> {
    let stream = Arc::new(stream);
    let number = match shared.xceivers.enter(&stream, peer) {
        Ok(number) => number,
        Err(refusal) => {
            if matches!(refusal, Refusal::Full { .. }) {
                shared.metrics.refused.inc();
                tracing::warn!(%peer, "{refusal}");
            }
            return Ok(());
        }
    };
    shared.metrics.xceivers.inc();
    let mut connection = Connection {
        shared: shared.clone(),
        inbox: Inbox::new(stream.clone()),
        stream,
        peer,
        number,
        ops: 0,
    };
    shared.xceivers.set_moved(number, connection.inbox.moved());
    // Whatever else there is, an end or an error, shows when the connection is parked.
    if matches!(connection.inbox.fill_now(), Ok(count) if count > 0) {
        start(connection);
    } else {
        park(connection);
    }
    Ok(())
}

/// Gives the connection a thread.
fn start(connection: Connection) {
    let (shared, peer) = (connection.shared.clone(), connection.peer);
    if let Err(error) = shared.workers.run(move || connection.serve()) {
        tracing::error!(%peer, %error, "no thread for a transfer, closing");
    }
}

/// Waits without a thread until the peer sends something; a fresh connection gets the socket time-out, a reused one the
/// keep-alive time. Called from threads of any kind.
pub(crate) fn park(connection: Connection) {
    let shared = connection.shared.clone();
    shared.tasks.spawn_on(wait_for_op(connection), &shared.runtime);
}

async fn wait_for_op(connection: Connection) {
    let shared = connection.shared.clone();
    let patience = match connection.ops {
        0 => shared.settings.socket_timeout,
        _ => shared.settings.keepalive,
    };
    let readable = async {
        // Deprecated for types whose descriptor may change under it; an `Arc<TcpStream>`'s does not, and the
        // replacement is unsafe to call. A tokio stream would need a second descriptor and non-blocking mode.
        #[allow(deprecated)]
        let watched = AsyncFd::with_interest(connection.stream.clone(), Interest::READABLE)?;
        watched.ready(Interest::READABLE).await.map(|guard| guard.ready())
    };
    let ready: io::Result<Ready> = tokio::select! {
        () = shared.draining.cancelled() => return,
        waited = tokio::time::timeout(patience, readable) => match waited {
            Ok(ready) => ready,
            Err(_) => {
                tracing::debug!(peer = %connection.peer, ops = connection.ops, "no operation in time, closing");
                return;
            }
        },
    };
    let ready = ready.and_then(|_| match connection.ops {
        // Still the listener's.
        0 => Ok(()),
        _ => connection.set_timeouts(),
    });
    if let Err(error) = ready {
        tracing::warn!(peer = %connection.peer, %error, "data connection failed");
        return;
    }
    start(connection);
}
