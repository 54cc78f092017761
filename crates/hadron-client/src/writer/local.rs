//! Which addresses are this machine's own.

use std::net::{IpAddr, UdpSocket};

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
