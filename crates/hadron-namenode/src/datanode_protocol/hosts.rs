//! Which hosts may join, and whether an address has a name.
//!
//! Names are looked up by the system (`getent`), off the reactor and outside all locks.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

/// Longest file of hosts that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Hosts by name or address, as in the files of `dfs.hosts`. Empty means all.
#[derive(Clone, Debug, Default)]
pub struct HostList {
    hosts: BTreeSet<String>,
}

impl HostList {
    /// Reads one host per word; `#` begins a comment.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        if std::fs::metadata(path)?.len() > MAX_FILE_BYTES {
            return Err(io::Error::other(format!(
                "list of hosts {} is too long",
                path.display()
            )));
        }
        Ok(Self::parse(&std::fs::read_to_string(path)?))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or(""));
        let words = lines.flat_map(str::split_whitespace);
        Self {
            hosts: words.map(str::to_ascii_lowercase).collect(),
        }
    }

    /// Whether a node with this address and name may join.
    pub(crate) fn admits(&self, ip: IpAddr, host_name: &str) -> bool {
        self.hosts.is_empty()
            || self.hosts.contains(&ip.to_string())
            || self.hosts.contains(&host_name.to_ascii_lowercase())
    }
}

/// Whether `ip` is one of this machine's: then the name check passes, as in Hadoop.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Whether the system knows a name for `ip`; true when it cannot be asked. Blocks.
pub(crate) fn has_name(ip: IpAddr) -> bool {
    let status = Command::new("getent")
        .args(["hosts", &ip.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) => status.success(),
        Err(error) => {
            tracing::warn!(%error, %ip, "cannot look up the name of a datanode; taking it in");
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn lists_name_hosts_by_name_or_address() {
        let list = HostList::parse("Alpha 10.0.0.2 # comment beta\n\n  gamma\n");
        let ip = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        for (last, name, admitted) in [
            (1, "alpha", true),
            (2, "unknown", true),
            (1, "beta", false),
            (1, "GAMMA", true),
        ] {
            assert_eq!(list.admits(ip(last), name), admitted, "{name}");
        }
        assert!(HostList::default().admits(ip(9), "any"));
    }

    #[test]
    fn loopback_is_local() {
        assert!(is_local(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3))));
        assert!(
            !is_local(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
            "a documentation address"
        );
    }
}
