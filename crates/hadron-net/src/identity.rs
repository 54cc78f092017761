//! Who is calling: names from the connection context, and who may act for whom.
//!
//! With SIMPLE authentication the identity is what the client says. A context that names a real user besides the
//! effective one asks to impersonate; [`ProxyUsers`] holds the `hadoop.proxyuser.<real>.{hosts,groups,users}` rules.
//! Source: Hadoop `DefaultImpersonationProvider`, `ProxyUsers`, `KerberosName` (default rule).

use bytes::Bytes;
use hadron_types::{ErrorKind, HadoopError};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The caller's names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserIdentity {
    /// Short name: permissions are checked for it.
    pub user: Arc<str>,
    /// Full name as the client sent it (`user/host@REALM` possible).
    pub full_name: Arc<str>,
    /// Short name of the user that acts for `user`, if any.
    pub real_user: Option<Arc<str>>,
    /// Identifier of the token that the connection was opened with, its password proven.
    pub token: Option<Bytes>,
}

impl UserIdentity {
    /// An identity without real user.
    pub fn simple(name: &str) -> Self {
        Self {
            user: Arc::from(short_name(name)),
            full_name: Arc::from(name),
            real_user: None,
            token: None,
        }
    }
}

/// The part of a Kerberos style name before `/` or `@`; plain names are returned as they are.
pub fn short_name(name: &str) -> &str {
    name.split(['/', '@']).next().unwrap_or(name)
}

/// Groups of a user. May block: asked on a blocking thread while a connection is set up.
pub type GroupLookup = Arc<dyn Fn(&str) -> Vec<String> + Send + Sync>;

/// Look-ups of groups and host names for proxy users at a time; further connections wait.
const MAX_LOOKUPS: usize = 8;

/// What one real user may do. `"*"` in a list allows everything; an empty list nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProxyRule {
    /// Addresses or host names from which it may impersonate (`hosts`).
    pub hosts: Vec<String>,
    /// Users it may impersonate (`users`).
    pub users: Vec<String>,
    /// Groups whose members it may impersonate (`groups`).
    pub groups: Vec<String>,
}

/// All impersonation rules, by real user's short name. Clones share them: [`ProxyUsers::replace`] changes all.
#[derive(Clone)]
pub struct ProxyUsers {
    rules: Arc<RwLock<HashMap<String, ProxyRule>>>,
    groups: Option<GroupLookup>,
    lookups: Arc<Semaphore>,
}

impl Default for ProxyUsers {
    fn default() -> Self {
        Self::new(HashMap::new(), None)
    }
}

impl ProxyUsers {
    /// Takes the rules and the way to learn an effective user's groups (only asked when a rule lists groups).
    pub fn new(rules: HashMap<String, ProxyRule>, groups: Option<GroupLookup>) -> Self {
        Self {
            rules: Arc::new(RwLock::new(rules)),
            groups,
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }

    /// Reads `hadoop.proxyuser.<real>.{hosts,users,groups}` out of all `(key, value)` pairs of a configuration.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, groups: Option<GroupLookup>) -> Self {
        let proxies = Self::new(HashMap::new(), groups);
        proxies.replace(pairs);
        proxies
    }

    /// Exchanges all rules for those among `pairs`, as [`ProxyUsers::from_pairs`] reads them. Connections that were set
    /// up before stay as they are.
    pub fn replace<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let mut rules: HashMap<String, ProxyRule> = HashMap::new();
        for (key, value) in pairs {
            let Some((real, what)) = key
                .strip_prefix("hadoop.proxyuser.")
                .and_then(|rest| rest.rsplit_once('.'))
            else {
                continue;
            };
            let list: Vec<String> = value
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect();
            match what {
                "hosts" => rules.entry(real.to_owned()).or_default().hosts = list,
                "users" => rules.entry(real.to_owned()).or_default().users = list,
                "groups" => rules.entry(real.to_owned()).or_default().groups = list,
                _ => {}
            }
        }
        *self.rules.write() = rules;
    }

    /// Says whether `real` may act for `effective` from `peer`. Looks groups and host names up on a blocking thread if
    /// the rules ask for them.
    ///
    /// Errors: [`ErrorKind::Authorization`] with Hadoop's text.
    pub async fn authorize_later(self, real: Arc<str>, effective: Arc<str>, peer: IpAddr) -> Result<(), HadoopError> {
        let _place = self.lookups.clone().acquire_owned().await;
        let asked = tokio::task::spawn_blocking(move || self.authorize(&real, &effective, peer)).await;
        asked.unwrap_or_else(|error| Err(HadoopError::new(ErrorKind::Authorization, error.to_string())))
    }

    /// As [`ProxyUsers::authorize`] if the rules decide by themselves; `None`: something must be looked up.
    pub fn authorize_now(&self, real: &str, effective: &str, peer: IpAddr) -> Option<Result<(), HadoopError>> {
        let rules = self.rules.read();
        let Some(rule) = rules.get(real) else {
            return Some(Err(not_allowed(real, effective)));
        };
        let by_name = listed(&rule.users, effective) || rule.groups.iter().any(|item| item == "*");
        if !by_name && !rule.groups.is_empty() && self.groups.is_some() {
            return None;
        }
        if !by_name {
            return Some(Err(not_allowed(real, effective)));
        }
        if is_listed_host(&rule.hosts, peer) {
            return Some(Ok(()));
        }
        let has_names = rule.hosts.iter().any(|host| is_name(host));
        (!has_names).then(|| Err(wrong_host(real, peer)))
    }

    /// Says whether `real` may act for `effective` from `peer`. May block for look-ups of groups and host names.
    ///
    /// Errors: [`ErrorKind::Authorization`] with Hadoop's text.
    pub fn authorize(&self, real: &str, effective: &str, peer: IpAddr) -> Result<(), HadoopError> {
        let rule = self.rules.read().get(real).cloned();
        let Some(rule) = rule.filter(|rule| self.may_become(rule, effective)) else {
            return Err(not_allowed(real, effective));
        };
        let resolves_to = |host: &String| {
            let found = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), 0));
            found.is_ok_and(|mut found| found.any(|at| at.ip().to_canonical() == peer.to_canonical()))
        };
        let is_listed =
            is_listed_host(&rule.hosts, peer) || rule.hosts.iter().filter(|host| is_name(host)).any(resolves_to);
        match is_listed {
            true => Ok(()),
            false => Err(wrong_host(real, peer)),
        }
    }

    fn may_become(&self, rule: &ProxyRule, effective: &str) -> bool {
        if listed(&rule.users, effective) || rule.groups.iter().any(|item| item == "*") {
            return true;
        }
        match &self.groups {
            Some(lookup) if !rule.groups.is_empty() => {
                lookup(effective).iter().any(|group| listed(&rule.groups, group))
            }
            _ => false,
        }
    }
}

fn listed(list: &[String], name: &str) -> bool {
    list.iter().any(|item| item == "*" || item == name)
}

/// Whether a host of a rule must be resolved to know its addresses.
fn is_name(host: &str) -> bool {
    host != "*" && host != "localhost" && !host.contains('/') && host.parse::<IpAddr>().is_err()
}

fn not_allowed(real: &str, effective: &str) -> HadoopError {
    HadoopError::new(
        ErrorKind::Authorization,
        format!("User: {real} is not allowed to impersonate {effective}"),
    )
}

fn wrong_host(real: &str, peer: IpAddr) -> HadoopError {
    HadoopError::new(
        ErrorKind::Authorization,
        format!("Unauthorized connection for super-user: {real} from IP {peer}"),
    )
}

fn is_listed_host(hosts: &[String], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    hosts.iter().any(|item| {
        item == "*" || item.parse() == Ok(peer) || (item == "localhost" && peer.is_loopback()) || in_network(item, peer)
    })
}

/// Whether `peer` lies in `network`, written as `address/prefix length`.
fn in_network(network: &str, peer: IpAddr) -> bool {
    let Some((address, prefix)) = network.split_once('/') else {
        return false;
    };
    let (Ok(address), Ok(prefix)) = (address.parse::<IpAddr>(), prefix.parse::<u32>()) else {
        return false;
    };
    match (address, peer) {
        (IpAddr::V4(a), IpAddr::V4(b)) if prefix <= 32 => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            a.to_bits() & mask == b.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(b)) if prefix <= 128 => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            a.to_bits() & mask == b.to_bits() & mask
        }
        _ => false,
    }
}

impl std::fmt::Debug for ProxyUsers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyUsers")
            .field("rules", &*self.rules.read())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_drop_host_and_realm() {
        for (full, short) in [
            ("alice", "alice"),
            ("alice@REALM", "alice"),
            ("nn/host@REALM", "nn"),
            ("", ""),
        ] {
            assert_eq!(short_name(full), short);
        }
    }

    #[test]
    fn impersonation_follows_the_rules() {
        let groups: GroupLookup = Arc::new(|user| {
            if user == "carol" {
                vec!["staff".to_owned()]
            } else {
                Vec::new()
            }
        });
        let proxies = ProxyUsers::from_pairs(
            [
                ("hadoop.proxyuser.oozie.hosts", "*"),
                ("hadoop.proxyuser.oozie.users", "alice, bob"),
                ("hadoop.proxyuser.hive.hosts", "10.0.0.0/8,192.168.1.7"),
                ("hadoop.proxyuser.hive.groups", "staff"),
                ("hadoop.proxyuser.root.hosts", "localhost"),
                ("hadoop.proxyuser.root.groups", "*"),
                ("fs.defaultFS", "hdfs://x"),
            ],
            Some(groups),
        );
        let check = |real: &str, effective: &str, peer: &str, expected: Option<&str>| {
            let result = proxies.authorize(real, effective, peer.parse().expect("address"));
            assert_eq!(
                result.err().map(|error| error.message).as_deref(),
                expected,
                "{real} as {effective} from {peer}"
            );
            if let Some(now) = proxies.authorize_now(real, effective, peer.parse().expect("address")) {
                assert_eq!(now.err().map(|error| error.message).as_deref(), expected, "at once");
            }
        };
        check("oozie", "alice", "1.2.3.4", None);
        check(
            "oozie",
            "carol",
            "1.2.3.4",
            Some("User: oozie is not allowed to impersonate carol"),
        );
        check("hive", "carol", "10.9.9.9", None);
        check("hive", "carol", "192.168.1.7", None);
        check(
            "hive",
            "carol",
            "192.168.1.8",
            Some("Unauthorized connection for super-user: hive from IP 192.168.1.8"),
        );
        check(
            "hive",
            "alice",
            "10.9.9.9",
            Some("User: hive is not allowed to impersonate alice"),
        );
        check("root", "anyone", "127.0.0.1", None);
        check(
            "nobody",
            "alice",
            "127.0.0.1",
            Some("User: nobody is not allowed to impersonate alice"),
        );
        let peer = "127.0.0.1".parse().expect("address");
        assert_eq!(
            proxies.authorize_now("hive", "carol", peer),
            None,
            "groups are asked for elsewhere"
        );
        proxies.replace([
            ("hadoop.proxyuser.nobody.users", "*"),
            ("hadoop.proxyuser.nobody.hosts", "*"),
        ]);
        check("nobody", "alice", "127.0.0.1", None);
        check(
            "root",
            "anyone",
            "127.0.0.1",
            Some("User: root is not allowed to impersonate anyone"),
        );
    }
}
