//! The hosts files: who may join, who shall leave, who is away for maintenance.
//!
//! Two text files of one `host` or `host:port` per word (`HostFileManager`; an exclude file whose name ends in `.xml`
//! has the form of `<hosts><host><name>`), or one JSON file (`CombinedHostFileManager`, see `combined`).
//! Names are looked up when the files are read; a node matches an entry by its address, or by the name it gives.
//! Reading blocks; it happens off the reactor and outside all locks.

use super::DatanodeSettings;
use super::combined;
use hadron_blockmap::{AdminWish, DatanodeId, Standing};
use hadron_types::TimeMs;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Longest file of hosts that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What a file says of one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Lower case name or address.
    pub(super) host: String,
    /// Transfer port of the one DataNode meant; 0 means all of the host.
    pub(super) port: u16,
    pub(super) role: Role,
    pub(super) upgrade_domain: Option<Arc<str>>,
}

/// What is wished of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// To serve.
    Included,
    /// To be decommissioned. Listed to leave only: that does not let it in where an include list exists.
    Excluded {
        /// Whether the entry includes it as well (JSON) or not (the exclude file).
        included: bool,
    },
    /// To be in maintenance until then.
    Maintenance(TimeMs),
}

/// All entries, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct HostTable {
    entries: Vec<Entry>,
    by_ip: HashMap<IpAddr, Vec<usize>>,
    by_name: HashMap<String, Vec<usize>>,
    /// Whether only listed hosts may join.
    is_closed: bool,
}

impl HostTable {
    /// Reads the files that are configured. Blocks.
    ///
    /// Errors: a file cannot be read or makes no sense.
    pub(super) fn read(settings: &DatanodeSettings) -> io::Result<Self> {
        let mut entries = Vec::new();
        if settings.combined {
            if let Some(path) = &settings.hosts {
                entries = combined::parse(&read_text(path)?).map_err(|error| named(path, &error))?;
            }
        } else {
            let lists = [
                (&settings.hosts, Role::Included),
                (&settings.excluded_hosts, Role::Excluded { included: false }),
            ];
            for (path, role) in lists {
                if let Some(path) = path {
                    entries.extend(read_list(path, role)?);
                }
            }
        }
        Ok(Self::new(entries, look_up))
    }

    /// Takes entries; `look_up` finds the addresses of a name.
    fn new(entries: Vec<Entry>, look_up: impl Fn(&str) -> Vec<IpAddr>) -> Self {
        let mut table = Self {
            is_closed: entries.iter().any(|entry| entry.role == Role::Included),
            ..Self::default()
        };
        for (index, entry) in entries.iter().enumerate() {
            match entry.host.parse::<IpAddr>() {
                Ok(ip) => table.by_ip.entry(ip.to_canonical()).or_default().push(index),
                Err(_) => {
                    let found = look_up(&entry.host);
                    if found.is_empty() {
                        tracing::warn!(host = %entry.host, "a name in the hosts files has no address");
                    }
                    for ip in found {
                        table.by_ip.entry(ip.to_canonical()).or_default().push(index);
                    }
                    table.by_name.entry(entry.host.clone()).or_default().push(index);
                }
            }
        }
        table.entries = entries;
        table
    }

    /// All addresses the files name.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.by_ip.keys().copied().collect()
    }

    /// How a DataNode stands: who listens at `ip:xfer_port` and calls itself `host_name`.
    pub(crate) fn standing(&self, ip: IpAddr, host_name: &str, xfer_port: u16) -> Standing {
        let by_ip = self.by_ip.get(&ip);
        let by_name = self.by_name.get(&host_name.to_ascii_lowercase());
        let listed = by_ip
            .into_iter()
            .chain(by_name)
            .flatten()
            .map(|&index| &self.entries[index]);
        let meant: Vec<&Entry> = listed
            .filter(|entry| entry.port == 0 || entry.port == xfer_port)
            .collect();
        let includes = |entry: &Entry| entry.role != Role::Excluded { included: false };
        let maintenance = meant.iter().find_map(|entry| match entry.role {
            Role::Maintenance(until) => Some(AdminWish::Maintenance { until }),
            _ => None,
        });
        let excluded = meant.iter().any(|entry| matches!(entry.role, Role::Excluded { .. }));
        Standing {
            included: !self.is_closed || meant.iter().copied().any(includes),
            wish: maintenance.unwrap_or(match excluded {
                true => AdminWish::Decommission,
                false => AdminWish::InService,
            }),
            upgrade_domain: meant.iter().find_map(|entry| entry.upgrade_domain.clone()),
        }
    }
}

/// Ports of a DataNode nobody heard of; Hadoop's defaults.
const DEFAULT_PORTS: [u16; 3] = [9866, 9864, 9867];

impl HostTable {
    /// The included hosts that none of `known` is on, each with how it stands.
    pub(super) fn unmatched<'a>(&self, known: impl Iterator<Item = &'a DatanodeId>) -> Vec<(DatanodeId, Standing)> {
        let mut matched = vec![false; self.entries.len()];
        for id in known {
            let by_name = self.by_name.get(&id.host_name.to_ascii_lowercase());
            for &index in self.by_ip.get(&id.ip).into_iter().chain(by_name).flatten() {
                let port = self.entries[index].port;
                matched[index] |= port == 0 || port == id.xfer_port;
            }
        }
        let mut addresses = vec![IpAddr::from([0, 0, 0, 0]); self.entries.len()];
        for (ip, indexes) in &self.by_ip {
            for &index in indexes {
                addresses[index] = *ip;
            }
        }
        let [xfer_port, info_port, ipc_port] = DEFAULT_PORTS;
        let numbered = self.entries.iter().enumerate();
        let unmatched = numbered
            .filter(|(index, entry)| !matched[*index] && entry.role != Role::Excluded { included: false })
            .map(|(index, entry)| DatanodeId {
                ip: addresses[index],
                host_name: entry.host.as_str().into(),
                uuid: "".into(),
                xfer_port: if entry.port == 0 { xfer_port } else { entry.port },
                info_port,
                info_secure_port: 0,
                ipc_port,
            });
        unmatched
            .map(|id| {
                let standing = self.standing(id.ip, &id.host_name, id.xfer_port);
                (id, standing)
            })
            .collect()
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let len = std::fs::metadata(path).map_err(|error| named(path, &error))?.len();
    if len > MAX_FILE_BYTES {
        return Err(named(path, &"the list of hosts is too long"));
    }
    std::fs::read_to_string(path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

fn read_list(path: &Path, role: Role) -> io::Result<Vec<Entry>> {
    let text = read_text(path)?;
    let words = match path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("xml"))
    {
        true => xml_words(&text).map_err(|error| named(path, &error))?,
        false => text_words(&text),
    };
    let entries = words.iter().filter_map(|word| entry(word, role));
    Ok(entries.collect())
}

/// Words of all lines, up to a `#`.
fn text_words(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// The texts of `<name>` elements, which may hold several hosts with commas or blanks between them.
fn xml_words(text: &str) -> Result<Vec<String>, quick_xml::Error> {
    let mut reader = Reader::from_str(text);
    let (mut in_name, mut words) = (false, Vec::new());
    loop {
        match reader.read_event()? {
            Event::Start(tag) => in_name = tag.name().as_ref() == "name",
            Event::End(_) => in_name = false,
            Event::Text(text) if in_name => {
                let hosts = text.split([',', ' ', '\t', '\r', '\n']).filter(|host| !host.is_empty());
                words.extend(hosts.map(str::to_owned));
            }
            Event::Eof => return Ok(words),
            _ => {}
        }
    }
}

/// `host`, `host:port`, an address, `[address]:port`.
fn entry(word: &str, role: Role) -> Option<Entry> {
    let (host, port) = match word.rsplit_once(':') {
        _ if word.parse::<IpAddr>().is_ok() => (word, 0),
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, port),
            Err(_) => {
                tracing::warn!(
                    entry = word,
                    "an entry of the hosts files has no port behind its colon; left out"
                );
                return None;
            }
        },
        None => (word, 0),
    };
    Some(Entry {
        host: host.trim_matches(['[', ']']).to_ascii_lowercase(),
        port,
        role,
        upgrade_domain: None,
    })
}

fn look_up(name: &str) -> Vec<IpAddr> {
    let found = (name, 0).to_socket_addrs();
    found.map_or_else(
        |_| Vec::new(),
        |addresses| addresses.map(|address| address.ip()).collect(),
    )
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

    fn ip(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }
    /// Names of the test: only `gamma` has an address.
    fn names(name: &str) -> Vec<IpAddr> {
        if name == "gamma" { vec![ip(3)] } else { Vec::new() }
    }
    fn table(included: &str, excluded: &str) -> HostTable {
        let list =
            |text, role| -> Vec<Entry> { text_words(text).iter().filter_map(|word| entry(word, role)).collect() };
        let mut entries = list(included, Role::Included);
        entries.extend(list(excluded, Role::Excluded { included: false }));
        HostTable::new(entries, names)
    }
    fn check(table: &HostTable, last: u8, name: &str, port: u16, included: bool, wish: AdminWish) {
        let standing = table.standing(ip(last), name, port);
        assert_eq!(
            (standing.included, standing.wish),
            (included, wish),
            "{last} {name} {port}"
        );
    }

    #[test]
    fn lists_name_hosts_by_name_address_and_port() {
        use AdminWish::{Decommission, InService};
        let open = table("", "10.0.0.2 # comment 10.0.0.9\n gamma:9867");
        check(&open, 1, "alpha", 9866, true, InService);
        check(&open, 2, "beta", 9866, true, Decommission);
        check(&open, 3, "anything", 9867, true, Decommission);
        check(&open, 3, "gamma", 9866, true, InService);
        check(&open, 9, "iota", 9866, true, InService);
        let closed = table("Alpha 10.0.0.2\n10.0.0.4:1004\n gamma", "gamma beta");
        check(&closed, 1, "ALPHA", 9866, true, InService);
        check(&closed, 2, "unknown", 9866, true, InService);
        check(&closed, 3, "unknown", 9866, true, Decommission);
        check(&closed, 4, "delta", 1004, true, InService);
        check(&closed, 4, "delta", 1005, false, InService);
        check(&closed, 7, "beta", 9866, false, Decommission);
        check(&closed, 8, "other", 9866, false, InService);
        check(&HostTable::default(), 9, "any", 1, true, InService);
    }

    #[test]
    fn included_hosts_nobody_heard_of_are_told() {
        let table = table("10.0.0.1 gamma:1004 10.0.0.5", "10.0.0.5 10.0.0.9");
        let id = |last, xfer_port| DatanodeId {
            ip: ip(last),
            host_name: "any".into(),
            uuid: "x".into(),
            xfer_port,
            info_port: 1,
            info_secure_port: 0,
            ipc_port: 2,
        };
        let known = [id(1, 9866), id(3, 1005)];
        let unmatched = table.unmatched(known.iter());
        let rows: Vec<_> = unmatched
            .iter()
            .map(|(id, standing)| (id.xfer_addr(), standing.wish))
            .collect();
        let expected = [
            ("10.0.0.3:1004".to_owned(), AdminWish::InService),
            ("10.0.0.5:9866".to_owned(), AdminWish::Decommission),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn an_exclude_file_may_be_xml() {
        let text = "<?xml version=\"1.0\"?>\n<hosts>\n <host><name>host1, host2</name></host>\n <!-- host9 -->\n \
                    <host><name>host3:50010</name><timeout>123</timeout></host>\n</hosts>";
        assert_eq!(xml_words(text).expect("xml"), ["host1", "host2", "host3:50010"]);
        assert!(xml_words("<hosts><host></hosts>").is_err());
    }

    #[test]
    fn files_that_are_missing_are_named() {
        let settings = DatanodeSettings {
            hosts: Some("/nowhere/at/all".into()),
            ..DatanodeSettings::default()
        };
        let error = HostTable::read(&settings).expect_err("missing");
        assert!(error.to_string().starts_with("/nowhere/at/all: "), "{error}");
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
