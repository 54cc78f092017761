//! Where daemons listen and keep their data, out of several keys.
//!
//! What it is for: the rules that take more than one key. What it does not do: resolve names or open sockets.
//! Source: Hadoop `DFSUtil`, `DFSUtilClient`, `NameNode.getRpcServerAddress`, `StorageLocation`.

use std::fmt;
use std::path::PathBuf;

use hadron_types::StorageType;

use super::{ConfigError, Configuration, Key, keys, kind};

/// Port of the NameNode's RPC when an address names none.
pub const DEFAULT_NAMENODE_PORT: u16 = 8020;

/// A host name or address with a port.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HostPort {
    /// Name or address, without brackets.
    pub host: String,
    /// Port; 0 means any.
    pub port: u16,
}

impl HostPort {
    /// Reads `host:port`, `host`, `[v6]:port`, with or without `scheme://` and a path.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let text = text.trim();
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let authority = text.split('/').next().unwrap_or_default();
        let bad = || format!("{text:?} is not host:port");
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, tail) = rest.split_once(']').ok_or_else(bad)?;
                (host, tail.strip_prefix(':'))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return Err(bad());
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| bad())?,
            None => default_port,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }

    /// The same port on another host, when one is given: how the `*-bind-host` keys work.
    #[must_use]
    pub fn on_host(self, host: Option<String>) -> Self {
        Self {
            host: host.unwrap_or(self.host),
            port: self.port,
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One volume of a DataNode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataDir {
    /// From the `[SSD]` prefix; DISK without one.
    pub storage_type: StorageType,
    /// The directory.
    pub path: PathBuf,
}

impl Configuration {
    /// Where the NameNode's client RPC is reached: `dfs.namenode.rpc-address`, else the authority of `fs.defaultFS`.
    pub fn namenode_rpc_address(&self) -> Result<HostPort, ConfigError> {
        if let Some(text) = self.get(keys::DFS_NAMENODE_RPC_ADDRESS) {
            return self.host_port(keys::DFS_NAMENODE_RPC_ADDRESS.name(), &text, DEFAULT_NAMENODE_PORT);
        }
        let default_fs = self.get(keys::FS_DEFAULT_FS);
        let Some(authority) = default_fs
            .strip_prefix("hdfs://")
            .filter(|rest| !rest.trim_matches('/').is_empty())
        else {
            let text = format!(
                "neither dfs.namenode.rpc-address is set nor does fs.defaultFS ({default_fs}) name an hdfs:// host"
            );
            return Err(ConfigError::Unusable(text));
        };
        self.host_port(keys::FS_DEFAULT_FS.name(), authority, DEFAULT_NAMENODE_PORT)
    }

    /// Where the NameNode's client RPC listens: the address, on `dfs.namenode.rpc-bind-host` when set.
    pub fn namenode_rpc_bind_address(&self) -> Result<HostPort, ConfigError> {
        Ok(self
            .namenode_rpc_address()?
            .on_host(self.get(keys::DFS_NAMENODE_RPC_BIND_HOST)))
    }

    /// Where DataNodes reach the NameNode: `dfs.namenode.servicerpc-address` when set, else the client address.
    pub fn namenode_service_rpc_address(&self) -> Result<HostPort, ConfigError> {
        match self.get(keys::DFS_NAMENODE_SERVICERPC_ADDRESS) {
            Some(text) => self.host_port(
                keys::DFS_NAMENODE_SERVICERPC_ADDRESS.name(),
                &text,
                DEFAULT_NAMENODE_PORT,
            ),
            None => self.namenode_rpc_address(),
        }
    }

    /// Where the NameNode's HTTP listens, `dfs.namenode.http-bind-host` applied.
    pub fn namenode_http_bind_address(&self) -> Result<HostPort, ConfigError> {
        Ok(self
            .address(keys::DFS_NAMENODE_HTTP_ADDRESS)?
            .on_host(self.get(keys::DFS_NAMENODE_HTTP_BIND_HOST)))
    }

    /// An address key that always has a port.
    pub fn address(&self, key: Key<kind::Text>) -> Result<HostPort, ConfigError> {
        self.host_port(key.name(), &self.get(key), 0)
    }

    /// All addresses behind the authority of an `hdfs://` URL: those of a nameservice, else the host itself.
    pub fn namenode_addresses(&self, authority: &str) -> Result<Vec<HostPort>, ConfigError> {
        let nameservices = self.get(keys::DFS_NAMESERVICES);
        if !nameservices.iter().any(|name| name == authority) {
            return Ok(vec![self.host_port("authority", authority, DEFAULT_NAMENODE_PORT)?]);
        }
        let base = keys::DFS_NAMENODE_RPC_ADDRESS.name();
        let namenodes = self.text(format!("dfs.ha.namenodes.{authority}")).unwrap_or_default();
        let mut names: Vec<String> = namenodes
            .split(',')
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .map(|id| format!("{base}.{authority}.{id}"))
            .collect();
        if names.is_empty() {
            names.push(format!("{base}.{authority}"));
        }
        let mut addresses = Vec::new();
        for name in names {
            match self.text(&name) {
                Some(text) => addresses.push(self.host_port(&name, &text, DEFAULT_NAMENODE_PORT)?),
                None => {
                    return Err(ConfigError::Unusable(format!(
                        "nameservice {authority}: {name} is not set"
                    )));
                }
            }
        }
        Ok(addresses)
    }

    /// The only or named nameservice of this daemon, when there is one.
    pub fn nameservice_id(&self) -> Option<String> {
        self.get(keys::DFS_NAMESERVICE_ID)
            .or_else(|| match self.get(keys::DFS_NAMESERVICES).as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            })
    }

    /// Copies the most specific of `key.NS.NN` and `key.NS` over `key` for the keys a NameNode may have per instance.
    pub fn specialize_namenode(&mut self, nameservice: &str, namenode: Option<&str>) {
        for key in keys::NAMENODE_SPECIFIC {
            let specific = namenode.map(|namenode| format!("{key}.{nameservice}.{namenode}"));
            let candidates = specific.into_iter().chain([format!("{key}.{nameservice}")]);
            let found = candidates.filter_map(|name| self.raw(&name).map(str::to_owned)).next();
            if let Some(value) = found {
                self.set(key, value);
            }
        }
    }

    /// `dfs.namenode.name.dir` as paths, in order, without doubles.
    pub fn name_dirs(&self) -> Vec<PathBuf> {
        let mut dirs = Vec::new();
        for text in self.get(keys::DFS_NAMENODE_NAME_DIR) {
            let path = path_of_uri(&text);
            if !dirs.contains(&path) {
                dirs.push(path);
            }
        }
        dirs
    }

    /// `dfs.datanode.data.dir`: paths with the storage types of their `[TYPE]` prefixes.
    pub fn data_dirs(&self) -> Result<Vec<DataDir>, ConfigError> {
        let parse = |text: String| {
            let (storage_type, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                None => (StorageType::Disk, text.as_str()),
                Some((name, rest)) => {
                    let found = StorageType::from_name(name).ok_or_else(|| ConfigError::Value {
                        key: keys::DFS_DATANODE_DATA_DIR.name().to_owned(),
                        value: text.clone(),
                        place: "dfs.datanode.data.dir".into(),
                        reason: format!("unknown storage type {name}"),
                    })?;
                    (found, rest)
                }
            };
            Ok(DataDir {
                storage_type,
                path: path_of_uri(rest.trim()),
            })
        };
        self.get(keys::DFS_DATANODE_DATA_DIR).into_iter().map(parse).collect()
    }

    fn host_port(&self, key: &str, text: &str, default_port: u16) -> Result<HostPort, ConfigError> {
        HostPort::parse(text, default_port).map_err(|reason| ConfigError::Value {
            key: key.to_owned(),
            value: text.to_owned(),
            place: self
                .properties
                .get(key)
                .map_or("default", |property| &property.source)
                .to_owned(),
            reason,
        })
    }
}

/// `file:///a`, `file:/a` or `/a` as a path, with %XX undone in URIs.
fn path_of_uri(text: &str) -> PathBuf {
    match text.strip_prefix("file:") {
        None => PathBuf::from(text),
        Some(rest) => {
            let rest = rest.strip_prefix("//").unwrap_or(rest);
            PathBuf::from(percent_decode(rest))
        }
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ports() {
        let cases = [
            ("a:1", Some(("a", 1))),
            ("a", Some(("a", 99))),
            ("hdfs://a:2/", Some(("a", 2))),
            ("[::1]:3", Some(("::1", 3))),
            ("[::1]", Some(("::1", 99))),
            (":3", None),
            ("a:b", None),
            ("a:70000", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let parsed = HostPort::parse(text, 99).ok();
            assert_eq!(parsed.as_ref().map(|a| (a.host.as_str(), a.port)), expected, "{text}");
        }
        assert_eq!(HostPort::parse("[::1]:3", 0).unwrap().to_string(), "[::1]:3");
    }

    #[test]
    fn namenode_addresses_follow_the_keys() {
        let mut conf = Configuration::default();
        assert!(conf.namenode_rpc_address().is_err(), "fs.defaultFS is file:///");
        conf.set(keys::FS_DEFAULT_FS, "hdfs://nn");
        assert_eq!(conf.namenode_rpc_address().unwrap().to_string(), "nn:8020");
        conf.set(keys::DFS_NAMENODE_RPC_ADDRESS, "other:9000")
            .set(keys::DFS_NAMENODE_RPC_BIND_HOST, "0.0.0.0");
        assert_eq!(conf.namenode_rpc_address().unwrap().to_string(), "other:9000");
        assert_eq!(conf.namenode_rpc_bind_address().unwrap().to_string(), "0.0.0.0:9000");
        assert_eq!(conf.namenode_http_bind_address().unwrap().to_string(), "0.0.0.0:9870");
        conf.set(keys::DFS_NAMESERVICES, "ns")
            .set("dfs.ha.namenodes.ns", "a, b");
        conf.set("dfs.namenode.rpc-address.ns.a", "h1:1")
            .set("dfs.namenode.rpc-address.ns.b", "h2");
        let all: Vec<_> = conf
            .namenode_addresses("ns")
            .unwrap()
            .iter()
            .map(HostPort::to_string)
            .collect();
        assert_eq!(all, ["h1:1", "h2:8020"]);
        assert_eq!(conf.namenode_addresses("x:5").unwrap()[0].to_string(), "x:5");
        conf.specialize_namenode("ns", Some("a"));
        assert_eq!(conf.namenode_rpc_address().unwrap().to_string(), "h1:1");
    }

    #[test]
    fn directories() {
        let mut conf = Configuration::default();
        conf.set(keys::DFS_NAMENODE_NAME_DIR, "file:///a%20b, /c , file:/d,/c");
        assert_eq!(conf.name_dirs(), ["/a b", "/c", "/d"].map(PathBuf::from));
        conf.set(keys::DFS_DATANODE_DATA_DIR, "[ssd]file:///s,/d,[RAM_DISK] /r");
        let dirs = conf.data_dirs().unwrap();
        let types: Vec<_> = dirs
            .iter()
            .map(|dir| (dir.storage_type, dir.path.to_str().unwrap()))
            .collect();
        assert_eq!(
            types,
            [
                (StorageType::Ssd, "/s"),
                (StorageType::Disk, "/d"),
                (StorageType::RamDisk, "/r")
            ]
        );
        conf.set(keys::DFS_DATANODE_DATA_DIR, "[TAPE]/t");
        assert!(conf.data_dirs().is_err());
    }
}
