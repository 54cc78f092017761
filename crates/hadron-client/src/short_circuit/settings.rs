//! Settings of short-circuit reads.

use hadron_env::Configuration;
use hadron_env::config::keys;
use std::time::Duration;

/// How local replicas are read.
#[derive(Clone, Debug)]
pub struct ShortCircuitSettings {
    /// Whether descriptors are asked for.
    pub enabled: bool,
    /// Where DataNodes of this machine listen; `_PORT` stands for their transfer port.
    pub socket_path: Option<String>,
    /// How long a path that failed is left alone.
    pub disable_interval: Duration,
    /// Whether checksums are left alone.
    pub skip_checksum: bool,
    /// Bytes read at once by sequential readers.
    pub buffer_size: usize,
    /// Replicas kept that nobody reads.
    pub cache_size: usize,
    /// How long they are kept.
    pub cache_expiry: Duration,
    /// Whether blocks may be mapped.
    pub mmap_enabled: bool,
    /// Mapped replicas kept that nobody reads.
    pub mmap_cache_size: usize,
    /// How long they stay mapped.
    pub mmap_cache_timeout: Duration,
    /// Wait after a block could not be mapped.
    pub mmap_retry_timeout: Duration,
    /// Age at which descriptors without a slot are asked for anew.
    pub stale_threshold: Duration,
    /// Whether memory is shared with DataNodes.
    pub shared_memory: bool,
}

impl ShortCircuitSettings {
    pub(crate) fn from_configuration(conf: &Configuration) -> Self {
        const SMALLEST_BUFFER: usize = 64 * 1024;
        const LARGEST_BUFFER: usize = 64 * 1024 * 1024;
        let buffer_size = usize::try_from(conf.get(keys::DFS_CLIENT_READ_SHORTCIRCUIT_BUFFER_SIZE));
        Self {
            enabled: conf.get(keys::DFS_CLIENT_READ_SHORTCIRCUIT),
            socket_path: conf.get(keys::DFS_DOMAIN_SOCKET_PATH),
            disable_interval: conf.get(keys::DFS_DOMAIN_SOCKET_DISABLE_INTERVAL),
            skip_checksum: conf.get(keys::DFS_CLIENT_READ_SHORTCIRCUIT_SKIP_CHECKSUM),
            buffer_size: buffer_size
                .unwrap_or(LARGEST_BUFFER)
                .clamp(SMALLEST_BUFFER, LARGEST_BUFFER),
            cache_size: conf.get(keys::DFS_CLIENT_READ_SHORTCIRCUIT_STREAMS_CACHE_SIZE),
            cache_expiry: conf.get(keys::DFS_CLIENT_READ_SHORTCIRCUIT_STREAMS_CACHE_EXPIRY),
            mmap_enabled: conf.get(keys::DFS_CLIENT_MMAP_ENABLED),
            mmap_cache_size: conf.get(keys::DFS_CLIENT_MMAP_CACHE_SIZE),
            mmap_cache_timeout: conf.get(keys::DFS_CLIENT_MMAP_CACHE_TIMEOUT),
            mmap_retry_timeout: conf.get(keys::DFS_CLIENT_MMAP_RETRY_TIMEOUT),
            stale_threshold: conf.get(keys::DFS_CLIENT_SHORT_CIRCUIT_REPLICA_STALE_THRESHOLD),
            shared_memory: !conf
                .get(keys::DFS_SHORT_CIRCUIT_SHARED_MEMORY_WATCHER_INTERRUPT_CHECK)
                .is_zero(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: SC-28
    #[test]
    fn defaults_are_hadoops_and_the_watchers_interval_decides_on_shared_memory() {
        let of = |pairs: &[(&str, &str)]| {
            let mut conf = Configuration::new();
            for (key, value) in pairs {
                conf.set(*key, *value);
            }
            ShortCircuitSettings::from_configuration(&conf)
        };
        let default = of(&[]);
        assert!(!default.enabled && !default.skip_checksum && default.mmap_enabled && default.shared_memory);
        assert_eq!(
            (default.buffer_size, default.cache_size, default.mmap_cache_size),
            (1 << 20, 256, 256)
        );
        let secs = [
            default.cache_expiry,
            default.mmap_cache_timeout,
            default.mmap_retry_timeout,
            default.stale_threshold,
            default.disable_interval,
        ];
        assert_eq!(secs.map(|time| time.as_secs()), [300, 3600, 300, 1800, 600]);
        let key = "dfs.short.circuit.shared.memory.watcher.interrupt.check.ms";
        for (value, shared) in [("0", false), ("-1", false), ("1", true)] {
            assert_eq!(of(&[(key, value)]).shared_memory, shared, "{value}");
        }
    }
}
