//! The accept loop. Running out of file descriptors makes it wait, never spin or end.

use super::ServerRef;
use super::admission::Admission;
use super::connection::Connection;
use super::socket::Socket;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// First wait after an accept error; doubles up to [`MAX_BACK_OFF`].
const MIN_BACK_OFF: Duration = Duration::from_millis(10);
/// Longest wait after an accept error.
const MAX_BACK_OFF: Duration = Duration::from_secs(1);

/// Accepts until the server stops.
pub(crate) async fn accept_loop(listener: TcpListener, server: ServerRef) {
    let mut back_off = MIN_BACK_OFF;
    loop {
        let accepted = tokio::select! {
            () = server.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                back_off = MIN_BACK_OFF;
                let Some(admission) = Admission::take(&server, peer.ip().to_canonical()) else {
                    tracing::warn!(server = server.options.name, %peer, "connection refused: too many connections");
                    continue;
                };
                let _ = stream.set_nodelay(true);
                if let Err(error) = serve(&server, stream, peer, admission) {
                    tracing::warn!(server = server.options.name, %peer, %error, "connection dropped");
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(server = server.options.name, %error, ?back_off, "accept connection");
                tokio::select! {
                    () = server.stop.cancelled() => return,
                    () = tokio::time::sleep(back_off) => {}
                }
                back_off = (back_off * 2).min(MAX_BACK_OFF);
            }
        }
    }
}

/// Hands the connection to a reactor.
///
/// Errors: the socket cannot be taken out of this task's event queue.
fn serve(server: &ServerRef, stream: TcpStream, peer: SocketAddr, admission: Admission) -> io::Result<()> {
    // tokio's sockets do not block, and it lets go of this one here.
    let socket = Socket::new(stream.into_std()?);
    let place = server.reactors.place();
    let inbox = place.inbox();
    inbox.give(Connection::new(server.clone(), socket, peer, admission, place));
    Ok(())
}

/// Errors that concern only the connection that was about to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
