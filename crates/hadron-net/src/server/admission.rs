//! Who may connect: counts connections in total and per address, and gives the count back on drop.

use super::ServerRef;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

/// Connections now open, by peer address.
#[derive(Debug, Default)]
pub(crate) struct Admissions {
    by_address: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    addresses: HashMap<IpAddr, usize>,
}

/// One admitted connection; dropping it frees its place.
pub(crate) struct Admission {
    server: ServerRef,
    peer: IpAddr,
}

impl Admission {
    /// Takes a place for `peer`; `None` when the total or its address is at the limit.
    pub(crate) fn take(server: &ServerRef, peer: IpAddr) -> Option<Self> {
        let mut counts = server.admissions.by_address.lock();
        let options = &server.options;
        let of_peer = counts.addresses.get(&peer).copied().unwrap_or(0);
        if counts.total >= options.max_connections || of_peer >= options.max_connections_per_address {
            server.metrics.refused_connections.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        counts.total += 1;
        counts.addresses.insert(peer, of_peer + 1);
        server.metrics.open_connections.fetch_add(1, Ordering::Relaxed);
        server.metrics.accepted_connections.fetch_add(1, Ordering::Relaxed);
        let server = server.clone();
        Some(Self { server, peer })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.server.admissions.by_address.lock();
        counts.total -= 1;
        match counts.addresses.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.addresses.remove(&self.peer);
            }
        }
        self.server.metrics.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}
