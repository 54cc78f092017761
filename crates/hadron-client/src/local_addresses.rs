//! Which addresses are this machine's own, remembered: to find out costs system calls.
//!
//! Invariant: at most [`MAX_KNOWN`] addresses are remembered.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};

/// Most addresses that are remembered.
const MAX_KNOWN: usize = 4096;

/// What one client knows of addresses.
#[derive(Debug, Default)]
pub(crate) struct LocalAddresses {
    known: Mutex<HashMap<IpAddr, bool>>,
}

impl LocalAddresses {
    /// Whether `ip`, a numeric address, is this machine's.
    pub(crate) fn has(&self, ip: &str) -> bool {
        let Ok(ip) = ip.parse::<IpAddr>() else {
            return false;
        };
        if let Some(known) = self.known.lock().get(&ip) {
            return *known;
        }
        let is_local = is_local_address(ip);
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(ip, is_local);
        is_local
    }
}

/// Whether `ip` is an address of this machine: only then can a socket be bound to it. Sends nothing.
pub(crate) fn is_local_address(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_addresses_are_local() {
        let check = |ip: &str, expected| assert_eq!(is_local_address(ip.parse().unwrap()), expected, "{ip}");
        check("127.0.0.1", true);
        check("127.1.2.3", true);
        check("::1", true);
        // Reserved for documentation: nobody's.
        check("192.0.2.7", false);
        check("2001:db8::7", false);
    }
}
