//! The scanners' settings as plain values.

use crate::error::StartError;
use hadron_env::config::{Configuration, keys};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// Settings of the block scanner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanSettings {
    /// Each replica is verified once in this time (`dfs.datanode.scan.period.hours`); zero: never.
    pub period: Duration,
    /// Bytes per second of each volume (`dfs.block.scanner.volume.bytes.per.second`); 0: none.
    pub bytes_per_second: u64,
    /// Time between two writings of the cursor file (`dfs.block.scanner.cursor.save.interval.ms`).
    pub cursor_save_interval: Duration,
    /// How long the end of the DataNode waits for a scanner (`dfs.block.scanner.volume.join.timeout.ms`).
    pub join_timeout: Duration,
    /// Whether replicas read within the period are taken for good (`dfs.block.scanner.skip.recent.accessed`).
    pub skip_recent_accessed: bool,
}

impl Default for ScanSettings {
    fn default() -> Self {
        Self {
            period: 504 * HOUR,
            bytes_per_second: 1024 * 1024,
            cursor_save_interval: Duration::from_secs(10 * 60),
            join_timeout: Duration::from_secs(5),
            skip_recent_accessed: false,
        }
    }
}

impl ScanSettings {
    pub(crate) fn from_configuration(conf: &Configuration) -> Result<Self, StartError> {
        let hours = conf.get(keys::DFS_DATANODE_SCAN_PERIOD_HOURS);
        let millis = conf.get(keys::INTERNAL_DFS_DATANODE_SCAN_PERIOD);
        let period = match (millis, hours) {
            (1.., _) => Duration::from_millis(millis.unsigned_abs()),
            (_, 0) => Self::default().period,
            (_, 1..) => HOUR
                .checked_mul(u32::try_from(hours).unwrap_or(u32::MAX))
                .unwrap_or(Duration::MAX),
            _ => Duration::ZERO,
        };
        Ok(Self {
            period,
            bytes_per_second: conf.get(keys::DFS_BLOCK_SCANNER_VOLUME_BYTES_PER_SECOND),
            cursor_save_interval: conf.get(keys::DFS_BLOCK_SCANNER_CURSOR_SAVE_INTERVAL),
            join_timeout: conf.get(keys::DFS_BLOCK_SCANNER_VOLUME_JOIN_TIMEOUT),
            skip_recent_accessed: conf.get(keys::DFS_BLOCK_SCANNER_SKIP_RECENT_ACCESSED),
        })
    }

    /// Whether anything is scanned.
    pub fn is_enabled(&self) -> bool {
        !self.period.is_zero() && self.bytes_per_second > 0
    }
}

/// Settings of the directory scanner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryScanSettings {
    /// Time between two scans (`dfs.datanode.directoryscan.interval`); zero: none.
    pub interval: Duration,
    /// Volumes listed at the same time (`dfs.datanode.directoryscan.threads`).
    pub threads: usize,
    /// Milliseconds of each second that a thread may work (`dfs.datanode.directoryscan.throttle.limit.ms.per.sec`); all of
    /// them when it is not between 1 and 999.
    pub throttle_ms_per_second: i64,
}

impl DirectoryScanSettings {
    pub(crate) fn from_configuration(conf: &Configuration) -> Self {
        Self {
            interval: conf.get(keys::DFS_DATANODE_DIRECTORYSCAN_INTERVAL),
            threads: conf.get(keys::DFS_DATANODE_DIRECTORYSCAN_THREADS).max(1),
            throttle_ms_per_second: conf.get(keys::DFS_DATANODE_DIRECTORYSCAN_THROTTLE_LIMIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_has_a_default_and_can_be_off() {
        for (hours, millis, period, enabled) in [
            (None, None, 504 * HOUR, true),
            (Some("0"), None, 504 * HOUR, true),
            (Some("-1"), None, Duration::ZERO, false),
            (Some("2"), None, 2 * HOUR, true),
            (Some("2"), Some("1500"), Duration::from_millis(1500), true),
        ] {
            let mut conf = Configuration::new();
            for (key, value) in [
                ("dfs.datanode.scan.period.hours", hours),
                ("internal.dfs.datanode.scan.period.ms.key", millis),
            ] {
                if let Some(value) = value {
                    conf.set(key, value);
                }
            }
            let settings = ScanSettings::from_configuration(&conf).unwrap();
            assert_eq!(
                (settings.period, settings.is_enabled()),
                (period, enabled),
                "{hours:?} {millis:?}"
            );
        }
        let mut conf = Configuration::new();
        conf.set("dfs.block.scanner.volume.bytes.per.second", "0");
        assert!(!ScanSettings::from_configuration(&conf).unwrap().is_enabled());
    }
}
