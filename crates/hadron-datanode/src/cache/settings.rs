//! How much may be locked in memory, and how clients are asked for it back.

use crate::error::StartError;
use hadron_env::config::{Configuration, keys};
use rustix::process::{Resource, getrlimit};
use std::time::Duration;

/// Shortest pause between two looks at replicas that clients keep.
const MIN_POLLING: Duration = Duration::from_millis(2);

/// Settings of the cache of locked replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheSettings {
    /// `dfs.datanode.max.locked.memory`, bytes; 0: nothing is cached.
    pub capacity: u64,
    /// `dfs.datanode.fsdatasetcache.max.threads.per.volume`.
    pub threads_per_volume: usize,
    /// `dfs.cachereport.intervalMsec`.
    pub report_interval: Duration,
    /// `dfs.datanode.cache.revocation.timeout.ms`: how long clients may keep a replica that is to go.
    pub revocation_timeout: Duration,
    /// `dfs.datanode.cache.revocation.polling.ms`: how often it is looked whether they still do.
    pub revocation_polling: Duration,
}

impl CacheSettings {
    /// Reads all keys.
    ///
    /// Errors: more than the process may lock, or the polling is too slow for the time-out.
    pub(crate) fn from_configuration(conf: &Configuration) -> Result<Self, StartError> {
        let settings = Self {
            capacity: conf.get(keys::DFS_DATANODE_MAX_LOCKED_MEMORY),
            threads_per_volume: conf
                .get(keys::DFS_DATANODE_FSDATASETCACHE_MAX_THREADS_PER_VOLUME)
                .max(1),
            report_interval: conf.get(keys::DFS_CACHEREPORT_INTERVAL),
            revocation_timeout: conf.get(keys::DFS_DATANODE_CACHE_REVOCATION_TIMEOUT),
            revocation_polling: conf.get(keys::DFS_DATANODE_CACHE_REVOCATION_POLLING).max(MIN_POLLING),
        };
        settings.check(getrlimit(Resource::Memlock).current)
    }

    /// Checks against what the process may lock; `None`: as much as it likes.
    fn check(self, may_lock: Option<u64>) -> Result<Self, StartError> {
        if let Some(limit) = may_lock.filter(|&limit| self.capacity > limit) {
            return Err(StartError::Setting(format!(
                "Cannot start datanode because the configured max locked memory size (dfs.datanode.max.locked.memory) of {} \
                 bytes is more than the datanode's available RLIMIT_MEMLOCK ulimit of {limit} bytes.",
                self.capacity
            )));
        }
        if self.revocation_polling * 2 > self.revocation_timeout {
            return Err(StartError::Setting(format!(
                "dfs.datanode.cache.revocation.polling.ms of {} is too high: it must not be more than half of \
                 dfs.datanode.cache.revocation.timeout.ms, {}",
                self.revocation_polling.as_millis(),
                self.revocation_timeout.as_millis()
            )));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let settings = CacheSettings {
            capacity: 65_536,
            threads_per_volume: 4,
            report_interval: Duration::from_secs(10),
            revocation_timeout: Duration::from_secs(900),
            revocation_polling: Duration::from_millis(500),
        };
        let text = |result: Result<CacheSettings, StartError>| result.expect_err("is refused").to_string();
        assert_eq!(settings.check(None).expect("is fine"), settings);
        assert_eq!(settings.check(Some(65_536)).expect("is fine"), settings);
        assert_eq!(
            text(settings.check(Some(65_535))),
            "Cannot start datanode because the configured max locked memory size (dfs.datanode.max.locked.memory) of 65536 \
             bytes is more than the datanode's available RLIMIT_MEMLOCK ulimit of 65535 bytes."
        );
        let slow = CacheSettings {
            revocation_polling: Duration::from_secs(451),
            ..settings
        };
        assert!(text(slow.check(None)).starts_with("dfs.datanode.cache.revocation.polling.ms of 451000 is too high"));
    }
}
