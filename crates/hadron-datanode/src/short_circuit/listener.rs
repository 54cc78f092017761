//! Accepting connections on the Unix socket.
//!
//! They run the same operations as TCP connections and count towards the same limit.

use crate::error::StartError;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::xceiver::server::accept_from;
use crate::xceiver::socket::{Peer, Socket};
use hadron_shm::{DomainListener, check_socket_directories, socket_path};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Listens where the configuration says; `None` if there shall be no Unix socket.
///
/// Errors: the path is no good, or others could put a socket of their own there.
pub(crate) fn listen(settings: &Settings, transfer_port: u16) -> Result<Option<DomainListener>, StartError> {
    let Some(configured) = &settings.domain_socket_path else {
        return Ok(None);
    };
    let path = socket_path(configured, transfer_port);
    if settings.check_domain_socket_directories {
        check_socket_directories(&path)
            .map_err(|error| StartError::Setting(format!("dfs.domain.socket.path: {error}")))?;
    }
    let failed = |source| StartError::Listen {
        address: path.display().to_string(),
        source,
    };
    let listener = DomainListener::bind(&path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(Some(listener))
}

/// Accepts until the DataNode stops; the socket's name goes then.
pub(crate) async fn accept_loop(shared: Arc<Shared>, listener: DomainListener) {
    let path = listener.path().to_owned();
    tracing::info!(path = %path.display(), "listening on a Unix socket");
    // Deprecated for types whose descriptor may change under it; an `Arc`'s does not.
    #[allow(deprecated)]
    let listener = match AsyncFd::with_interest(Fd(listener), Interest::READABLE) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, path = %path.display(), "cannot listen on the Unix socket"),
    };
    let settings = &shared.settings;
    let write = (!settings.write_timeout.is_zero()).then_some(settings.write_timeout);
    accept_from(&shared, &listener, "local", |listener| {
        let stream = listener.0.accept()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(settings.socket_timeout))?;
        stream.set_write_timeout(write)?;
        let pid = rustix::net::sockopt::socket_peercred(&stream).ok();
        let pid = pid.and_then(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()).ok());
        Ok((Socket::Domain(stream), Peer::Domain(pid)))
    })
    .await;
}

/// The listener as the reactor wants it.
struct Fd(DomainListener);

impl std::os::fd::AsRawFd for Fd {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsFd;
        self.0.as_fd().as_raw_fd()
    }
}
