//! Accepting data connections and parking idle ones: the tokio side of the data path.
//!
//! A parked connection is a small task that waits for bytes or its time-out; only then does it get a thread. EMFILE
//! and its kin back off and never end the loop.

use super::Connection;
use super::inbox::Inbox;
use super::table::Refusal;
use crate::shared::Shared;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::net::{TcpListener, TcpStream};

/// Pause after a failed accept.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Accepts until the DataNode stops.
pub(crate) async fn accept_loop(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = shared.draining.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let result = match accepted {
            Ok((stream, peer)) => admit(&shared, stream, peer),
            Err(error) if is_resource_shortage(&error) => {
                tracing::error!(%error, "cannot accept data connections, backing off");
                tokio::select! {
                    () = shared.draining.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_BACKOFF) => continue,
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "data connection lost while accepting");
        }
    }
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM.
fn is_resource_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

fn admit(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
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
    park(Connection {
        shared: shared.clone(),
        inbox: Inbox::new(stream.clone()),
        stream,
        peer,
        number,
        ops: 0,
    });
    Ok(())
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
    if let Err(error) = ready.and_then(|_| connection.set_timeouts()) {
        tracing::warn!(peer = %connection.peer, %error, "data connection failed");
        return;
    }
    let peer = connection.peer;
    if let Err(error) = shared.workers.run(move || connection.serve()) {
        tracing::error!(%peer, %error, "no thread for a transfer, closing");
    }
}
