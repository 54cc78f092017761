//! Short-circuit reads, the DataNode's half: the Unix socket, and the registry of segments and slots.
//!
//! The operations themselves are in `xceiver/short_circuit.rs`. What is not here: which blocks are locked in memory; the
//! cache tells the registry.

mod listener;
mod registry;

pub(crate) use listener::{accept_loop, listen};
pub(crate) use registry::{RegistryError, ReplicaKey, ShortCircuitRegistry};

use crate::cache;
use crate::shared::Shared;
use crate::xceiver::socket::Socket;
use hadron_shm::ShmId;
use std::net::Shutdown;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the store tell clients of replicas that are gone.
pub(crate) fn watch_replicas(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    shared.store.on_gone(Arc::new(move |pool, id| {
        if let Some(shared) = weak.upgrade() {
            shared.short_circuit.invalidate(&(pool.clone(), id));
            cache::forget(&shared, pool, id);
        }
    }));
}

/// Keeps a segment registered until its socket has something to say: the client is gone, or breaks the protocol.
pub(crate) async fn watch_segment(shared: Arc<Shared>, id: ShmId, socket: Arc<Socket>) {
    let ended = async {
        // Deprecated for types whose descriptor may change under it; an `Arc<Socket>`'s does not.
        #[allow(deprecated)]
        let watched = AsyncFd::with_interest(socket.clone(), Interest::READABLE)?;
        watched.ready(Interest::READABLE).await.map(|_| ())
    };
    tokio::select! {
        () = shared.stop.cancelled() => {}
        ended = ended => if let Err(error) = ended {
            tracing::warn!(segment = %id, %error, "cannot watch a client of shared memory, taking its segment back");
        },
    }
    // The client learns of it if it still lives.
    let _ = socket.shutdown(Shutdown::Both);
    shared.short_circuit.remove_segment(id);
}
