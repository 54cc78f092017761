//! The client's settings as plain values, out of Hadoop's keys. Defaults live in `hadron_env::config::keys`.

use crate::error::{FsError, Result};
use crate::short_circuit::ShortCircuitSettings;
use crate::umask::parse_umask;
use hadron_env::Configuration;
use hadron_env::config::{keys, parse_size};
use hadron_pipeline::recovery::{RecoveryConfig, ReplacePolicy};
use hadron_pipeline::window::{PacketParams, WindowConfig};
use hadron_types::ChecksumType;
use hadron_wire::transfer::Checksum;
use std::time::Duration;

/// Blocks whose locations are asked for at once when `dfs.client.read.prefetch.size` is not set.
const PREFETCH_BLOCKS: u64 = 10;

/// What a client does when, how often, how big.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Block size of new files.
    pub block_size: u64,
    /// Replicas of new files.
    pub replication: u32,
    /// Checksum kind of new files.
    pub checksum_type: ChecksumType,
    /// Bytes per checksum of new files.
    pub bytes_per_checksum: u32,
    /// Packet size aimed at.
    pub write_packet_size: u32,
    /// Bits that new files and directories do not get.
    pub umask: u16,
    /// Read time-out of DataNode connections, and what follows from it.
    pub socket_timeout: Duration,
    /// Limit for connecting to DataNodes' RPC ports.
    pub connect_timeout: Duration,
    /// New blocks tried when a pipeline cannot be made.
    pub block_write_retries: usize,
    /// Retries of addBlock and complete.
    pub locate_following_block_retries: usize,
    /// First wait of these; doubles.
    pub locate_following_block_delay: Duration,
    /// Longest wait of these.
    pub locate_following_block_max_delay: Duration,
    /// How long a failed DataNode is avoided by one stream.
    pub excluded_nodes_expiry: Duration,
    /// The sender window.
    pub window: WindowConfig,
    /// Pipeline recovery.
    pub recovery: RecoveryConfig,
    /// Rounds over all replicas of a block.
    pub max_block_acquire_failures: usize,
    /// Base of the wait between these.
    pub retry_window_base: Duration,
    /// Tries to learn the length of an open file's last block.
    pub last_block_length_retries: usize,
    /// Wait between these.
    pub last_block_length_interval: Duration,
    /// Bytes of a file whose block locations are asked for at once.
    pub prefetch_size: u64,
    /// Second reads beside slow ones at a time; 0: none.
    pub hedged_read_places: usize,
    /// When a read counts as slow.
    pub hedged_read_threshold: Duration,
    /// Idle DataNode connections kept.
    pub peer_cache_capacity: usize,
    /// How long they are kept.
    pub peer_cache_expiry: Duration,
    /// Whether DataNodes are reached by host name.
    pub use_datanode_hostname: bool,
    /// `dropBehind` of the caching strategy for reads; absent: the DataNode decides.
    pub drop_behind_reads: Option<bool>,
    /// `dropBehind` of the caching strategy for writes.
    pub drop_behind_writes: Option<bool>,
    /// `readahead` of the caching strategy.
    pub readahead: Option<i64>,
    /// Reads of local replicas.
    pub short_circuit: ShortCircuitSettings,
}

impl ClientSettings {
    /// Reads the keys of `conf`.
    ///
    /// Errors: [`FsError::Config`] for values that contradict each other.
    pub fn from_configuration(conf: &Configuration) -> Result<Self> {
        let block_size = conf.get(keys::DFS_BLOCKSIZE);
        let bytes_per_checksum = conf.get(keys::DFS_BYTES_PER_CHECKSUM);
        let socket_timeout = conf.get(keys::DFS_CLIENT_SOCKET_TIMEOUT);
        let checksum_name = conf.get(keys::DFS_CHECKSUM_TYPE);
        let umask_text = conf.get(keys::FS_PERMISSIONS_UMASK_MODE);
        let policy_name = conf.get(keys::DFS_CLIENT_REPLACE_DATANODE_POLICY);
        let unusable = |key: &str, text: &str| FsError::Config(format!("{key} = {text:?} is not a known value"));
        let checksum_type = [ChecksumType::Null, ChecksumType::Crc32, ChecksumType::Crc32c]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(checksum_name.trim()))
            .ok_or_else(|| unusable("dfs.checksum.type", &checksum_name))?;
        let policy = if conf.get(keys::DFS_CLIENT_REPLACE_DATANODE_ENABLE) {
            ReplacePolicy::from_name(policy_name.trim())
                .ok_or_else(|| unusable(keys::DFS_CLIENT_REPLACE_DATANODE_POLICY.name(), &policy_name))?
        } else {
            ReplacePolicy::Never
        };
        let bytes_per_checksum = u32::try_from(bytes_per_checksum)
            .ok()
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| unusable("dfs.bytes-per-checksum", &bytes_per_checksum.to_string()))?;
        check_block_size(block_size, bytes_per_checksum)?;
        let prefetch_size = match conf.get(keys::DFS_CLIENT_READ_PREFETCH_SIZE) {
            Some(text) => parse_size(&text).map_err(|_| unusable("dfs.client.read.prefetch.size", &text))?,
            None => block_size.saturating_mul(PREFETCH_BLOCKS),
        };
        let flag = |text: Option<String>| text.map(|text| text.eq_ignore_ascii_case("true"));
        Ok(Self {
            block_size,
            replication: conf.get(keys::DFS_REPLICATION) as u32,
            checksum_type,
            bytes_per_checksum,
            write_packet_size: conf.get(keys::DFS_CLIENT_WRITE_PACKET_SIZE).min(u64::from(u32::MAX)) as u32,
            umask: parse_umask(&umask_text).ok_or_else(|| unusable("fs.permissions.umask-mode", &umask_text))?,
            socket_timeout,
            connect_timeout: conf.get(keys::IPC_CLIENT_CONNECT_TIMEOUT),
            block_write_retries: conf.get(keys::DFS_CLIENT_BLOCK_WRITE_RETRIES),
            locate_following_block_retries: conf.get(keys::DFS_CLIENT_LOCATE_FOLLOWING_BLOCK_RETRIES),
            locate_following_block_delay: conf.get(keys::DFS_CLIENT_LOCATE_FOLLOWING_BLOCK_INITIAL_DELAY),
            locate_following_block_max_delay: conf.get(keys::DFS_CLIENT_LOCATE_FOLLOWING_BLOCK_MAX_DELAY),
            excluded_nodes_expiry: conf.get(keys::DFS_CLIENT_WRITE_EXCLUDE_NODES_CACHE_EXPIRY),
            window: WindowConfig {
                max_packets_in_flight: conf.get(keys::DFS_CLIENT_WRITE_MAX_PACKETS_IN_FLIGHT),
                socket_timeout,
                slow_ack_threshold: conf.get(keys::DFS_CLIENT_SLOW_IO_WARNING_THRESHOLD),
                slow_acks_as_bad: conf
                    .get(keys::DFS_CLIENT_MARK_SLOWNODE_AS_BADNODE_THRESHOLD)
                    .min(u32::MAX as usize) as u32,
                ..WindowConfig::default()
            },
            recovery: RecoveryConfig {
                policy,
                best_effort: conf.get(keys::DFS_CLIENT_REPLACE_DATANODE_BEST_EFFORT),
                min_replication: conf.get(keys::DFS_CLIENT_REPLACE_DATANODE_MIN_REPLICATION),
                restart_timeout: conf.get(keys::DFS_CLIENT_DATANODE_RESTART_TIMEOUT),
            },
            max_block_acquire_failures: conf.get(keys::DFS_CLIENT_MAX_BLOCK_ACQUIRE_FAILURES),
            retry_window_base: conf.get(keys::DFS_CLIENT_RETRY_WINDOW_BASE),
            last_block_length_retries: conf.get(keys::DFS_CLIENT_RETRY_TIMES_GET_LAST_BLOCK_LENGTH),
            last_block_length_interval: conf.get(keys::DFS_CLIENT_RETRY_INTERVAL_GET_LAST_BLOCK_LENGTH),
            prefetch_size: prefetch_size.max(1),
            hedged_read_places: conf.get(keys::DFS_CLIENT_HEDGED_READ_THREADPOOL_SIZE),
            hedged_read_threshold: conf.get(keys::DFS_CLIENT_HEDGED_READ_THRESHOLD),
            peer_cache_capacity: conf.get(keys::DFS_CLIENT_SOCKETCACHE_CAPACITY),
            peer_cache_expiry: conf.get(keys::DFS_CLIENT_SOCKETCACHE_EXPIRY),
            use_datanode_hostname: conf.get(keys::DFS_CLIENT_USE_DATANODE_HOSTNAME),
            drop_behind_reads: flag(conf.get(keys::DFS_CLIENT_CACHE_DROP_BEHIND_READS)),
            drop_behind_writes: flag(conf.get(keys::DFS_CLIENT_CACHE_DROP_BEHIND_WRITES)),
            readahead: conf
                .get(keys::DFS_CLIENT_CACHE_READAHEAD)
                .and_then(|text| parse_size(&text).ok())
                .and_then(|bytes| i64::try_from(bytes).ok()),
            short_circuit: ShortCircuitSettings::from_configuration(conf),
        })
    }

    /// How packets of a file with `block_size` are cut.
    pub(crate) fn packet_params(&self, block_size: u64) -> PacketParams {
        PacketParams {
            bytes_per_checksum: self.bytes_per_checksum,
            checksum_size: self.checksum_type.size() as u32,
            write_packet_size: self.write_packet_size,
            block_size,
        }
    }

    /// How new data is checksummed.
    pub(crate) fn checksum(&self) -> Result<Checksum> {
        Checksum::new(self.checksum_type, self.bytes_per_checksum).map_err(|error| FsError::Config(error.to_string()))
    }

    /// How long an answer of a pipeline of `nodes` may take.
    pub(crate) fn pipeline_read_timeout(&self, nodes: usize) -> Duration {
        self.socket_timeout + self.window.node_timeout * nodes as u32
    }
}

/// Checks Hadoop's rule that chunks fill a block.
pub(crate) fn check_block_size(block_size: u64, bytes_per_checksum: u32) -> Result<()> {
    if block_size == 0 || !block_size.is_multiple_of(u64::from(bytes_per_checksum)) {
        return Err(FsError::Config(format!(
            "io.bytes.per.checksum({bytes_per_checksum}) and blockSize({block_size}) do not match. \
             blockSize should be a multiple of io.bytes.per.checksum"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_hadoops() {
        let settings = ClientSettings::from_configuration(&Configuration::new()).unwrap();
        assert_eq!(settings.block_size, 128 << 20);
        assert_eq!(settings.umask, 0o022);
        assert_eq!(settings.packet_params(1 << 20).chunks_per_packet(), 126);
        assert_eq!(settings.prefetch_size, 1280 << 20);
        assert_eq!(settings.recovery, RecoveryConfig::default());
        assert_eq!(settings.window, WindowConfig::default());
        assert_eq!(settings.pipeline_read_timeout(3), Duration::from_secs(75));
    }

    #[test]
    fn contradictions_are_refused() {
        let check = |key: &str, value: &str| {
            let mut conf = Configuration::new();
            conf.set(key, value);
            let error = ClientSettings::from_configuration(&conf).expect_err(value);
            assert!(matches!(error, FsError::Config(_)), "{error}");
        };
        check("dfs.checksum.type", "MD5");
        check("dfs.blocksize", "1000");
        check("fs.permissions.umask-mode", "rwx?");
        check("dfs.client.block.write.replace-datanode-on-failure.policy", "MAYBE");
    }
}
