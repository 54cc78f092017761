//! Who is calling: names from the connection context, and who may act for whom.
//!
//! With SIMPLE authentication the identity is what the client says. A context that names a real user besides the
//! effective one asks to impersonate; [`ProxyUsers`] holds the `hadoop.proxyuser.<real>.{hosts,groups,users}` rules.
//! Source: Hadoop `DefaultImpersonationProvider`, `ProxyUsers`, `KerberosName` (default rule).

use bytes::Bytes;
use hadron_types::{ErrorKind, HadoopError};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

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

/// Groups of a user, answered from memory: called while a connection is set up, must not block for long.
pub type GroupLookup = Arc<dyn Fn(&str) -> Vec<String> + Send + Sync>;

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

/// All impersonation rules, by real user's short name.
#[derive(Clone, Default)]
pub struct ProxyUsers {
    rules: HashMap<String, ProxyRule>,
    groups: Option<GroupLookup>,
}

impl ProxyUsers {
    /// Takes the rules and the way to learn an effective user's groups (only asked when a rule lists groups).
    pub fn new(rules: HashMap<String, ProxyRule>, groups: Option<GroupLookup>) -> Self {
        Self { rules, groups }
    }

    /// Reads `hadoop.proxyuser.<real>.{hosts,users,groups}` out of all `(key, value)` pairs of a configuration.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, groups: Option<GroupLookup>) -> Self {
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
        Self { rules, groups }
    }

    /// Says whether `real` may act for `effective` from `peer`.
    ///
    /// Errors: [`ErrorKind::Authorization`] with Hadoop's text.
    pub fn authorize(&self, real: &str, effective: &str, peer: IpAddr) -> Result<(), HadoopError> {
        let rule = self.rules.get(real);
        if !rule.is_some_and(|rule| self.may_become(rule, effective)) {
            return Err(HadoopError::new(
                ErrorKind::Authorization,
                format!("User: {real} is not allowed to impersonate {effective}"),
            ));
        }
        if !rule.is_some_and(|rule| is_listed_host(&rule.hosts, peer)) {
            return Err(HadoopError::new(
                ErrorKind::Authorization,
                format!("Unauthorized connection for super-user: {real} from IP {peer}"),
            ));
        }
        Ok(())
    }

    fn may_become(&self, rule: &ProxyRule, effective: &str) -> bool {
        let listed = |list: &[String], name: &str| list.iter().any(|item| item == "*" || item == name);
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
            .field("rules", &self.rules)
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
    }
}
