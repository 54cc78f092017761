//! What may change while the NameNode runs: the configuration as it was read last, the rules of proxy users, and the
//! task that applies new values (`dfsadmin -reconfig namenode`).
//!
//! What it does not do: watch files; somebody asks. Invariants: a value is shown as current only once it is in effect;
//! one reconfiguration runs at a time.

use crate::Shared;
use hadron_env::Configuration;
use hadron_env::config::ConfigError;
use hadron_net::ProxyUsers;
use hadron_types::TimeMs;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Keys that take effect without a restart.
pub(crate) const RECONFIGURABLE: [&str; 8] = [
    "dfs.block.invalidate.limit",
    "dfs.heartbeat.interval",
    "dfs.namenode.heartbeat.recheck-interval",
    "dfs.namenode.reconstruction.pending.timeout-sec",
    "dfs.namenode.replication.max-streams",
    "dfs.namenode.replication.max-streams-hard-limit",
    "dfs.namenode.replication.work.multiplier.per.iteration",
    "hadoop.caller.context.enabled",
];

/// What one reconfiguration did to one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) key: &'static str,
    pub(crate) old: String,
    /// `None`: unset, the default holds.
    pub(crate) new: Option<String>,
    /// Why it was not taken.
    pub(crate) error: Option<String>,
}

/// The last reconfiguration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reconfiguration {
    /// 0: none was ever asked for.
    pub(crate) started: TimeMs,
    /// `None`: it still runs.
    pub(crate) ended: Option<TimeMs>,
    pub(crate) changes: Vec<Change>,
}

/// The parts that change.
#[derive(Debug)]
pub struct RunTime {
    conf: Mutex<Configuration>,
    proxy_users: ProxyUsers,
    caller_context: AtomicBool,
    last: Mutex<Reconfiguration>,
}

impl RunTime {
    /// Begins with `conf`; `proxy_users` are the rules that every server of this process asks.
    pub fn new(conf: Configuration, proxy_users: ProxyUsers) -> Self {
        let caller_context = conf.get(hadron_env::config::keys::HADOOP_CALLER_CONTEXT_ENABLED);
        let run_time = Self {
            conf: Mutex::new(conf.clone()),
            proxy_users,
            caller_context: AtomicBool::new(caller_context),
            last: Mutex::new(Reconfiguration::default()),
        };
        run_time.set_proxy_users(&conf);
        run_time
    }

    /// The configuration as far as it is in effect.
    pub fn configuration(&self) -> Configuration {
        self.conf.lock().clone()
    }

    /// The configuration as its files say now. Blocks.
    ///
    /// Errors: a file cannot be read, or a value makes no sense.
    pub(crate) fn reload(&self) -> Result<Configuration, ConfigError> {
        let conf = self.configuration().reload()?;
        conf.validate()?;
        Ok(conf)
    }

    /// Takes over the rules of `conf`.
    pub(crate) fn set_proxy_users(&self, conf: &Configuration) {
        let of_proxies = |key: &str| key.starts_with("hadoop.proxyuser.");
        let keys: Vec<String> = conf
            .iter()
            .map(|(key, _, _)| key.to_owned())
            .filter(|key| of_proxies(key))
            .collect();
        let pairs: Vec<(String, String)> = keys
            .into_iter()
            .filter_map(|key| conf.text(&key).map(|value| (key, value)))
            .collect();
        self.proxy_users
            .replace(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    }

    /// The rules of proxy users; clones share them.
    pub fn proxy_users(&self) -> ProxyUsers {
        self.proxy_users.clone()
    }

    /// Whether callers' contexts go to the audit log (`hadoop.caller.context.enabled`).
    pub(crate) fn caller_context(&self) -> bool {
        self.caller_context.load(Ordering::Relaxed)
    }

    /// The last reconfiguration.
    pub(crate) fn last(&self) -> Reconfiguration {
        self.last.lock().clone()
    }

    /// Notes the begin of one; false if one runs.
    pub(crate) fn begin(&self, now: TimeMs) -> bool {
        let mut last = self.last.lock();
        if last.started.0 > 0 && last.ended.is_none() {
            return false;
        }
        *last = Reconfiguration {
            started: now,
            ..Reconfiguration::default()
        };
        true
    }

    /// Notes its end.
    pub(crate) fn end(&self, now: TimeMs, changes: Vec<Change>) {
        let mut last = self.last.lock();
        last.ended = Some(now);
        last.changes = changes;
    }
}

/// Reads the files again and puts what changed into effect. Blocks; call after [`RunTime::begin`].
pub(crate) fn reconfigure(shared: &Shared) {
    let run_time = &shared.run_time;
    let old = run_time.configuration();
    let changes = match old.reload() {
        Err(error) => {
            tracing::error!(%error, "reconfigure: cannot read the configuration");
            Vec::new()
        }
        Ok(new) => RECONFIGURABLE
            .iter()
            .filter_map(|key| change(shared, key, &old, &new))
            .collect(),
    };
    run_time.end(shared.state.now(), changes);
}

/// Puts one key into effect if its value changed.
fn change(shared: &Shared, key: &'static str, old: &Configuration, new: &Configuration) -> Option<Change> {
    let (before, after) = (old.text(key).unwrap_or_default(), new.text(key).unwrap_or_default());
    if before == after {
        return None;
    }
    let mut trial = old.clone();
    match new.raw(key) {
        Some(value) => trial.set(key, value),
        None => trial.unset(key),
    };
    let error = trial.validate().err().map(|error| error.to_string());
    if error.is_none() {
        tracing::info!(key, before, after, "reconfigured");
        let settings = crate::settings::block_settings(&trial);
        shared.state.blocks.lock().reconfigure(settings);
        let caller_context = trial.get(hadron_env::config::keys::HADOOP_CALLER_CONTEXT_ENABLED);
        shared.run_time.caller_context.store(caller_context, Ordering::Relaxed);
        *shared.run_time.conf.lock() = trial;
    } else {
        tracing::warn!(key, after, ?error, "not reconfigured");
    }
    Some(Change {
        key,
        old: before,
        new: new.contains(key).then_some(after),
        error,
    })
}
