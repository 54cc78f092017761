//! Which NameNodes stand behind an authority and how calls to them are repeated, out of Hadoop's keys.

use super::policy::Policy;
use crate::error::{FsError, Result};
use hadron_env::Configuration;
use hadron_env::config::{HostPort, keys, parse_duration};
use std::time::Duration;

/// How a NameNode of a name service is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Provider {
    /// In order, and whichever served last first (`ConfiguredFailoverProxyProvider`).
    Configured,
    /// As `Configured` for what changes things; reads go to observers (`ObserverReadProxyProvider`).
    ObserverRead,
}

/// When a read must be as new as what the active has now (`dfs.client.failover.observer.auto-msync-period.NS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AutoMsync {
    /// Only once, at the first read.
    Never,
    /// Before every read.
    Always,
    /// When the last sync is older.
    After(Duration),
}

/// Everything a [`super::NameNode`] is made from.
#[derive(Clone, Debug)]
pub(crate) struct NameNodeSettings {
    /// At least one.
    pub(super) targets: Vec<HostPort>,
    pub(super) provider: Provider,
    pub(super) random_order: bool,
    pub(super) policy: Policy,
    /// Tries to connect to one NameNode after the first, when it refuses.
    pub(super) connect_retries: usize,
    /// The same when nothing answers.
    pub(super) connect_retries_on_timeouts: usize,
    pub(super) connect_retry_interval: Duration,
    pub(super) connect_timeout: Duration,
    /// Limit for an answer; `None`: as long as the connection lives.
    pub(super) call_timeout: Option<Duration>,
    pub(super) ping_interval: Duration,
    pub(super) auto_msync: AutoMsync,
    /// How long no observer is looked for after none was found.
    pub(super) observer_probe_period: Duration,
}

impl NameNodeSettings {
    /// Reads what `conf` says about `authority`, a name service or a `host:port`.
    ///
    /// Errors: [`FsError::Config`] for a name service without addresses or unusable values.
    pub(crate) fn from_configuration(conf: &Configuration, authority: &str) -> Result<Self> {
        let unusable = |error: hadron_env::config::ConfigError| FsError::Config(error.to_string());
        let targets = conf.namenode_addresses(authority).map_err(unusable)?;
        if targets.is_empty() {
            return Err(FsError::Config(format!("{authority:?} names no host")));
        }
        let is_logical = conf.get(keys::DFS_NAMESERVICES).iter().any(|name| name == authority);
        let is_ha = is_logical && targets.len() > 1;
        let max_retries = conf.get(keys::DFS_CLIENT_RETRY_MAX_ATTEMPTS);
        let policy = match is_ha {
            false => Policy::Single { max_retries },
            true => Policy::Ha {
                max_failovers: conf.get(keys::DFS_CLIENT_FAILOVER_MAX_ATTEMPTS),
                max_retries,
                sleep_base: conf.get(keys::DFS_CLIENT_FAILOVER_SLEEP_BASE),
                sleep_max: conf.get(keys::DFS_CLIENT_FAILOVER_SLEEP_MAX),
            },
        };
        let (connect_retries, connect_retries_on_timeouts) = match is_ha {
            false => (
                conf.get(keys::IPC_CLIENT_CONNECT_MAX_RETRIES),
                conf.get(keys::IPC_CLIENT_CONNECT_MAX_RETRIES_ON_TIMEOUTS),
            ),
            true => (
                conf.get(keys::DFS_CLIENT_FAILOVER_CONNECTION_RETRIES),
                conf.get(keys::DFS_CLIENT_FAILOVER_CONNECTION_RETRIES_ON_TIMEOUTS),
            ),
        };
        let call_timeout = conf.get(keys::IPC_CLIENT_RPC_TIMEOUT);
        Ok(Self {
            targets,
            provider: provider_of(conf, authority),
            random_order: is_ha && conf.get_suffixed(keys::DFS_CLIENT_FAILOVER_RANDOM_ORDER, authority),
            policy,
            connect_retries,
            connect_retries_on_timeouts,
            connect_retry_interval: conf.get(keys::IPC_CLIENT_CONNECT_RETRY_INTERVAL),
            connect_timeout: conf.get(keys::IPC_CLIENT_CONNECT_TIMEOUT),
            call_timeout: (!call_timeout.is_zero()).then_some(call_timeout),
            ping_interval: conf.get(keys::IPC_PING_INTERVAL).max(Duration::from_millis(1)),
            auto_msync: auto_msync_of(conf, authority)?,
            observer_probe_period: conf.get(keys::DFS_CLIENT_FAILOVER_OBSERVER_PROBE_RETRY_PERIOD),
        })
    }
}

impl NameNodeSettings {
    /// Checks that a lone NameNode's name has an address. Of a name service one name may well have none for a while.
    ///
    /// Errors: [`FsError::Config`] with Hadoop's words.
    pub(crate) async fn check_names(&self) -> Result<()> {
        let [only] = self.targets.as_slice() else {
            return Ok(());
        };
        let unknown = |reason: String| {
            let host = &only.host;
            FsError::Config(format!("java.net.UnknownHostException: {host}: {reason}"))
        };
        let found = tokio::net::lookup_host((only.host.as_str(), only.port)).await;
        match found.map_err(|error| unknown(error.to_string()))?.next() {
            Some(_) => Ok(()),
            None => Err(unknown("the name has no address".to_owned())),
        }
    }
}

/// The provider by its class's name. Other classes only differ in whom they ask first, so they are served in order.
fn provider_of(conf: &Configuration, authority: &str) -> Provider {
    let name = conf
        .get_suffixed(keys::DFS_CLIENT_FAILOVER_PROXY_PROVIDER, authority)
        .unwrap_or_default();
    match name.trim().rsplit('.').next().unwrap_or_default() {
        "ObserverReadProxyProvider" | "ObserverReadProxyProviderWithIPFailover" => Provider::ObserverRead,
        "" | "ConfiguredFailoverProxyProvider" => Provider::Configured,
        _ => {
            tracing::info!(
                provider = name,
                "this failover proxy provider is not known; trying the NameNodes in order"
            );
            Provider::Configured
        }
    }
}

fn auto_msync_of(conf: &Configuration, authority: &str) -> Result<AutoMsync> {
    let key = keys::DFS_CLIENT_FAILOVER_OBSERVER_AUTO_MSYNC_PERIOD;
    let Some(text) = conf.get_suffixed(key, authority) else {
        return Ok(AutoMsync::Never);
    };
    if text.trim().starts_with('-') {
        return Ok(AutoMsync::Never);
    }
    let period = parse_duration(&text, "ms")
        .map_err(|reason| FsError::Config(format!("{}.{authority} = {text:?}: {reason}", key.name())))?;
    Ok(match period.is_zero() {
        true => AutoMsync::Always,
        false => AutoMsync::After(period),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ha() -> Configuration {
        let mut conf = Configuration::new();
        conf.set("dfs.nameservices", "ns, lone")
            .set("dfs.ha.namenodes.ns", "a,b")
            .set("dfs.namenode.rpc-address.ns.a", "h1:9000")
            .set("dfs.namenode.rpc-address.ns.b", "h2")
            .set("dfs.namenode.rpc-address.lone", "h3:1");
        conf
    }

    #[test]
    fn defaults_are_hadoops() {
        let settings = NameNodeSettings::from_configuration(&ha(), "ns").unwrap();
        let targets: Vec<_> = settings.targets.iter().map(HostPort::to_string).collect();
        assert_eq!(targets, ["h1:9000", "h2:8020"]);
        let policy = Policy::Ha {
            max_failovers: 15,
            max_retries: 10,
            sleep_base: Duration::from_millis(500),
            sleep_max: Duration::from_secs(15),
        };
        assert_eq!((settings.provider, settings.policy), (Provider::Configured, policy));
        assert_eq!((settings.connect_retries, settings.connect_retries_on_timeouts), (0, 0));
        assert_eq!((settings.call_timeout, settings.random_order), (None, false));
        assert_eq!(settings.auto_msync, AutoMsync::Never);
        assert_eq!(settings.observer_probe_period, Duration::from_secs(600));
        for single in ["h9:1", "lone"] {
            let settings = NameNodeSettings::from_configuration(&ha(), single).unwrap();
            assert_eq!(settings.policy, Policy::Single { max_retries: 10 }, "{single}");
            assert_eq!(
                (settings.connect_retries, settings.connect_retries_on_timeouts),
                (10, 45)
            );
        }
    }

    #[test]
    fn keys_are_hadoops() {
        let with = |key: &str, value: &str| {
            let mut conf = ha();
            conf.set(key, value);
            NameNodeSettings::from_configuration(&conf, "ns").unwrap()
        };
        let package = "org.apache.hadoop.hdfs.server.namenode.ha";
        for (class, provider) in [
            ("ObserverReadProxyProvider", Provider::ObserverRead),
            ("ConfiguredFailoverProxyProvider", Provider::Configured),
            ("RequestHedgingProxyProvider", Provider::Configured),
        ] {
            let settings = with("dfs.client.failover.proxy.provider.ns", &format!("{package}.{class}"));
            assert_eq!(settings.provider, provider, "{class}");
        }
        assert!(with("dfs.client.failover.random.order", "true").random_order);
        assert!(with("dfs.client.failover.random.order.ns", "true").random_order);
        assert!(!with("dfs.client.failover.random.order.lone", "true").random_order);
        assert_eq!(with("dfs.client.failover.connection.retries", "2").connect_retries, 2);
        let on_timeouts = with("dfs.client.failover.connection.retries.on.timeouts", "3");
        assert_eq!(on_timeouts.connect_retries_on_timeouts, 3);
        let limited = with("ipc.client.rpc-timeout.ms", "120000");
        assert_eq!(limited.call_timeout, Some(Duration::from_secs(120)));
        for (text, expected) in [
            ("-1", AutoMsync::Never),
            ("0", AutoMsync::Always),
            ("2s", AutoMsync::After(Duration::from_secs(2))),
            ("500", AutoMsync::After(Duration::from_millis(500))),
        ] {
            let settings = with("dfs.client.failover.observer.auto-msync-period.ns", text);
            assert_eq!(settings.auto_msync, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (key, value) in [
            ("dfs.namenode.rpc-address.ns.b", ""),
            ("dfs.client.failover.observer.auto-msync-period.ns", "soon"),
        ] {
            let mut conf = ha();
            conf.set(key, value);
            let refused = NameNodeSettings::from_configuration(&conf, "ns");
            assert!(matches!(refused, Err(FsError::Config(_))), "{key}={value}");
        }
    }
}
