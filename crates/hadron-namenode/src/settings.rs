//! What the NameNode takes from the configuration, read once at start.
//!
//! What it does not do: block-map tunables are `hadron_blockmap::Settings`, the journal's are its own; both are made here.

use crate::TokenSettings;
use crate::members::DatanodeSettings;
use hadron_env::Configuration;
use hadron_env::config::keys;
use hadron_namespace::Limits;
use hadron_namespace::command::ProtectedDirectories;
use hadron_types::{ChecksumType, FsPath};
use std::path::PathBuf;
use std::time::Duration;

/// Wire version of Hadoop that this NameNode says it is.
pub const SOFTWARE_VERSION: &str = "3.3.6";

/// Settings of the service. All lengths are bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits that commands carry.
    pub limits: Limits,
    /// `dfs.permissions.enabled`; off: everybody is treated as superuser.
    pub permissions_enabled: bool,
    /// `dfs.permissions.superusergroup`.
    pub supergroup: String,
    /// The user who runs the NameNode.
    pub owner: String,
    /// `dfs.namenode.accesstime.precision` in ms, 0 = off.
    pub access_time_precision_ms: u64,
    /// `dfs.ls.limit`.
    pub listing_limit: usize,
    /// `dfs.content-summary.limit`.
    pub content_summary_limit: usize,
    /// `dfs.namenode.lease-hard-limit-sec`.
    pub lease_hard_limit: Duration,
    /// `dfs.namenode.lease-recheck-interval-ms`.
    pub lease_recheck: Duration,
    /// `dfs.namenode.max-lock-hold-to-release-lease-ms`: how long one look at leases goes on before it gives way.
    pub lease_release_time: Duration,
    /// `dfs.namenode.list.openfiles.num.responses`.
    pub open_files_page: usize,
    /// `dfs.namenode.enable.retrycache`.
    pub retry_cache: bool,
    /// `dfs.support.append`.
    pub appends_enabled: bool,
    /// `dfs.client.block.write.replace-datanode-on-failure.enable`: whether pipelines may get other nodes at all.
    pub replaces_datanodes: bool,
    /// `hadoop.caller.context.enabled`.
    pub caller_context: bool,
    /// Where audit lines go, and what they show.
    pub audit: AuditSettings,
    /// `dfs.namenode.acls.enabled`.
    pub acls_enabled: bool,
    /// `dfs.namenode.xattrs.enabled`.
    pub xattrs_enabled: bool,
    /// `dfs.batched.ls.limit`.
    pub batched_listing_limit: usize,
    /// `fs.protected.directories` with `dfs.protected.subdirectories.enable`; `None` if nothing is protected.
    pub protected: Option<ProtectedDirectories>,
    /// `dfs.storage.policy.enabled`.
    pub storage_policies: bool,
    /// `dfs.storage.policy.permissions.superuser-only`.
    pub storage_policy_superuser_only: bool,
    /// `dfs.quota.by.storage.type.enabled`.
    pub quota_by_type: bool,
    /// `dfs.permissions.allow.owner.set.quota`.
    pub owner_sets_quota: bool,
    /// Block access tokens; `None`: off.
    pub block_tokens: Option<TokenSettings>,
    /// `dfs.namenode.resource.check.interval`.
    pub resource_check_interval: Duration,
    /// `dfs.namenode.inotify.max.events.per.rpc`.
    pub inotify_max_events: usize,
    /// Centralised caching.
    pub caching: CachingSettings,
    /// Where `metaSave` writes: `hadoop.log.dir`.
    pub log_dir: PathBuf,
    /// What `getServerDefaults` answers.
    pub defaults: ServerDefaults,
    /// Which DataNodes may join, and where they stand.
    pub datanodes: DatanodeSettings,
    /// Tunables of the block map.
    pub blocks: hadron_blockmap::Settings,
}

/// Centralised caching.
#[derive(Clone, Copy, Debug)]
pub struct CachingSettings {
    /// `dfs.namenode.caching.enabled`; off: pools and directives are kept, nothing is cached.
    pub enabled: bool,
    /// `dfs.namenode.path.based.cache.refresh.interval.ms`.
    pub refresh: Duration,
    /// `dfs.namenode.list.cache.pools.num.responses`.
    pub pools_page: usize,
    /// `dfs.namenode.list.cache.directives.num.responses`.
    pub directives_page: usize,
}

impl CachingSettings {
    fn from_configuration(conf: &Configuration) -> Self {
        Self {
            enabled: conf.get(keys::DFS_NAMENODE_CACHING_ENABLED),
            refresh: conf
                .get(keys::DFS_NAMENODE_CACHE_REFRESH_INTERVAL)
                .max(Duration::from_millis(10)),
            pools_page: conf.get(keys::DFS_NAMENODE_LIST_CACHE_POOLS_NUM_RESPONSES).max(1),
            directives_page: conf.get(keys::DFS_NAMENODE_LIST_CACHE_DIRECTIVES_NUM_RESPONSES).max(1),
        }
    }
}

/// Where audit lines go, and what they show.
#[derive(Clone, Debug, Default)]
pub struct AuditSettings {
    /// `hadron.audit.log.file`, made absolute; `None`: no file.
    pub file: Option<PathBuf>,
    /// `hadron.audit.log.max-file-size`.
    pub max_file_len: u64,
    /// `hadron.audit.log.max-backup-index`.
    pub backups: usize,
    /// `dfs.namenode.audit.log.debug.cmdlist`.
    pub debug_commands: Vec<String>,
    /// `dfs.namenode.audit.log.token.tracking.id`.
    pub tracking_id: bool,
    /// `dfs.namenode.audit.log.with.remote.port`.
    pub with_port: bool,
    /// `hadoop.caller.context.max.size`.
    pub max_context: usize,
    /// `hadoop.caller.context.signature.max.size`.
    pub max_signature: usize,
}

impl AuditSettings {
    fn from_configuration(conf: &Configuration) -> Self {
        let file = conf
            .get(keys::HADRON_AUDIT_LOG_FILE)
            .filter(|file| !file.trim().is_empty());
        Self {
            file: file.map(|file| PathBuf::from(conf.get(keys::HADOOP_LOG_DIR)).join(file.trim())),
            max_file_len: conf.get(keys::HADRON_AUDIT_LOG_MAX_FILE_SIZE),
            backups: conf.get(keys::HADRON_AUDIT_LOG_MAX_BACKUPS),
            debug_commands: conf.get(keys::DFS_NAMENODE_AUDIT_LOG_DEBUG_CMDLIST),
            tracking_id: conf.get(keys::DFS_NAMENODE_AUDIT_LOG_TOKEN_TRACKING_ID),
            with_port: conf.get(keys::DFS_NAMENODE_AUDIT_LOG_WITH_REMOTE_PORT),
            max_context: conf.get(keys::HADOOP_CALLER_CONTEXT_MAX_SIZE),
            max_signature: conf.get(keys::HADOOP_CALLER_CONTEXT_SIGNATURE_MAX_SIZE),
        }
    }
}

/// Values for clients that do not configure their own.
#[derive(Clone, Debug)]
pub struct ServerDefaults {
    /// `dfs.blocksize`.
    pub block_size: u64,
    /// `dfs.bytes-per-checksum`.
    pub bytes_per_checksum: u32,
    /// `dfs.client-write-packet-size`.
    pub write_packet_size: u32,
    /// `dfs.replication`.
    pub replication: u32,
    /// `io.file.buffer.size`.
    pub file_buffer_size: u32,
    /// `dfs.encrypt.data.transfer`.
    pub encrypt_data_transfer: bool,
    /// `fs.trash.interval`, minutes.
    pub trash_interval: u64,
    /// `dfs.checksum.type`.
    pub checksum: ChecksumType,
}

impl Settings {
    /// Reads the configuration.
    pub fn from_configuration(conf: &Configuration) -> Self {
        let access_time_precision_ms = millis(conf.get(keys::DFS_NAMENODE_ACCESSTIME_PRECISION));
        Self {
            limits: limits(conf),
            permissions_enabled: conf.get(keys::DFS_PERMISSIONS_ENABLED),
            supergroup: conf.get(keys::DFS_PERMISSIONS_SUPERUSERGROUP),
            owner: conf.user_name().to_owned(),
            access_time_precision_ms,
            listing_limit: conf.get(keys::DFS_LS_LIMIT).max(1),
            content_summary_limit: conf.get(keys::DFS_CONTENT_SUMMARY_LIMIT).max(1),
            lease_hard_limit: conf.get(keys::DFS_NAMENODE_LEASE_HARD_LIMIT),
            lease_recheck: conf
                .get(keys::DFS_NAMENODE_LEASE_RECHECK_INTERVAL)
                .max(Duration::from_millis(10)),
            lease_release_time: conf.get(keys::DFS_NAMENODE_MAX_LOCK_HOLD_TO_RELEASE_LEASE),
            open_files_page: conf.get(keys::DFS_NAMENODE_LIST_OPENFILES_NUM_RESPONSES).max(1),
            retry_cache: conf.get(keys::DFS_NAMENODE_ENABLE_RETRYCACHE),
            appends_enabled: conf.get(keys::DFS_SUPPORT_APPEND),
            replaces_datanodes: conf.get(keys::DFS_CLIENT_REPLACE_DATANODE_ENABLE),
            caller_context: conf.get(keys::HADOOP_CALLER_CONTEXT_ENABLED),
            audit: AuditSettings::from_configuration(conf),
            acls_enabled: conf.get(keys::DFS_NAMENODE_ACLS_ENABLED),
            xattrs_enabled: conf.get(keys::DFS_NAMENODE_XATTRS_ENABLED),
            batched_listing_limit: conf.get(keys::DFS_BATCHED_LS_LIMIT).max(1),
            protected: protected_directories(conf),
            storage_policies: conf.get(keys::DFS_STORAGE_POLICY_ENABLED),
            storage_policy_superuser_only: conf.get(keys::DFS_STORAGE_POLICY_PERMISSIONS_SUPERUSER_ONLY),
            quota_by_type: conf.get(keys::DFS_QUOTA_BY_STORAGE_TYPE_ENABLED),
            owner_sets_quota: conf.get(keys::DFS_PERMISSIONS_ALLOW_OWNER_SET_QUOTA),
            block_tokens: TokenSettings::from_configuration(conf),
            resource_check_interval: conf
                .get(keys::DFS_NAMENODE_RESOURCE_CHECK_INTERVAL)
                .max(Duration::from_millis(10)),
            inotify_max_events: conf.get(keys::DFS_NAMENODE_INOTIFY_MAX_EVENTS_PER_RPC).max(1),
            caching: CachingSettings::from_configuration(conf),
            log_dir: PathBuf::from(conf.get(keys::HADOOP_LOG_DIR)),
            defaults: ServerDefaults::from_configuration(conf),
            datanodes: DatanodeSettings::from_configuration(conf),
            blocks: block_settings(conf),
        }
    }
}

impl ServerDefaults {
    fn from_configuration(conf: &Configuration) -> Self {
        let checksum = match conf.get(keys::DFS_CHECKSUM_TYPE).to_ascii_uppercase().as_str() {
            "NULL" => ChecksumType::Null,
            "CRC32" => ChecksumType::Crc32,
            _ => ChecksumType::Crc32c,
        };
        let trash_interval = u64::try_from(conf.get(keys::FS_TRASH_INTERVAL)).unwrap_or(0);
        Self {
            block_size: conf.get(keys::DFS_BLOCKSIZE),
            bytes_per_checksum: narrow(conf.get(keys::DFS_BYTES_PER_CHECKSUM)),
            write_packet_size: narrow(conf.get(keys::DFS_CLIENT_WRITE_PACKET_SIZE)),
            replication: narrow(conf.get(keys::DFS_REPLICATION) as u64),
            file_buffer_size: narrow(conf.get(keys::IO_FILE_BUFFER_SIZE)),
            encrypt_data_transfer: conf.get(keys::DFS_ENCRYPT_DATA_TRANSFER),
            trash_interval,
            checksum,
        }
    }
}

/// Relative paths and reserved ones protect nothing, as in Hadoop.
fn protected_directories(conf: &Configuration) -> Option<ProtectedDirectories> {
    let mut paths = Vec::new();
    for text in conf.get(keys::FS_PROTECTED_DIRECTORIES) {
        match FsPath::parse(text.trim()) {
            Ok(path) if !path.as_str().starts_with("/.reserved") => paths.push(path.into_string()),
            _ => tracing::error!(
                path = text,
                "fs.protected.directories: not a path that can be protected, ignored"
            ),
        }
    }
    let below = conf.get(keys::DFS_PROTECTED_SUBDIRECTORIES_ENABLE);
    (!paths.is_empty()).then_some(ProtectedDirectories { paths, below })
}

fn limits(conf: &Configuration) -> Limits {
    let count = |value: usize| Some(narrow(value as u64));
    Limits {
        max_component_len: count(conf.get(keys::DFS_NAMENODE_MAX_COMPONENT_LENGTH)),
        max_directory_items: count(conf.get(keys::DFS_NAMENODE_MAX_DIRECTORY_ITEMS)),
        min_block_size: Some(conf.get(keys::DFS_NAMENODE_MIN_BLOCK_SIZE)),
        max_blocks_per_file: count(conf.get(keys::DFS_NAMENODE_MAX_BLOCKS_PER_FILE)),
        min_replication: count(conf.get(keys::DFS_NAMENODE_REPLICATION_MIN)),
        max_replication: count(conf.get(keys::DFS_REPLICATION_MAX)),
        access_time_precision_ms: Some(millis(conf.get(keys::DFS_NAMENODE_ACCESSTIME_PRECISION))),
        posix_acl_inheritance: Some(conf.get(keys::DFS_NAMENODE_POSIX_ACL_INHERITANCE_ENABLED)),
        max_xattrs_per_inode: count(conf.get(keys::DFS_NAMENODE_MAX_XATTRS_PER_INODE)),
        max_xattr_len: Some(narrow(conf.get(keys::DFS_NAMENODE_MAX_XATTR_SIZE))),
        max_objects: Some(conf.get(keys::DFS_NAMENODE_MAX_OBJECTS) as u64).filter(|&limit| limit != 0),
    }
}

pub(crate) fn block_settings(conf: &Configuration) -> hadron_blockmap::Settings {
    let min_replication = narrow16(conf.get(keys::DFS_NAMENODE_REPLICATION_MIN));
    let safe = conf.get(keys::DFS_NAMENODE_SAFEMODE_REPLICATION_MIN);
    hadron_blockmap::Settings {
        min_replication,
        heartbeat_interval_ms: millis(conf.get(keys::DFS_HEARTBEAT_INTERVAL)),
        heartbeat_recheck_ms: millis(conf.get(keys::DFS_NAMENODE_HEARTBEAT_RECHECK_INTERVAL)),
        stale_interval_ms: millis(conf.get(keys::DFS_NAMENODE_STALE_DATANODE_INTERVAL)),
        stale_heartbeats: conf.get(keys::DFS_NAMENODE_STALE_DATANODE_MINIMUM_INTERVAL) as u64,
        avoid_read_stale: conf.get(keys::DFS_NAMENODE_AVOID_READ_STALE_DATANODE),
        avoid_write_stale: conf.get(keys::DFS_NAMENODE_AVOID_WRITE_STALE_DATANODE),
        write_stale_ratio: conf.get(keys::DFS_NAMENODE_WRITE_STALE_DATANODE_RATIO),
        consider_load: conf.get(keys::DFS_NAMENODE_REDUNDANCY_CONSIDER_LOAD),
        consider_load_factor: conf.get(keys::DFS_NAMENODE_REDUNDANCY_CONSIDER_LOAD_FACTOR),
        prefer_local_node: conf.get(keys::DFS_NAMENODE_PREFER_LOCAL_NODE),
        max_streams: narrow(conf.get(keys::DFS_NAMENODE_REPLICATION_MAX_STREAMS) as u64),
        max_streams_hard: narrow(conf.get(keys::DFS_NAMENODE_REPLICATION_STREAMS_HARD_LIMIT) as u64),
        work_multiplier: narrow(conf.get(keys::DFS_NAMENODE_REPLICATION_WORK_MULTIPLIER) as u64),
        pending_timeout_ms: millis(conf.get(keys::DFS_NAMENODE_RECONSTRUCTION_PENDING_TIMEOUT)),
        invalidate_limit: invalidate_limit(conf),
        invalidate_share: conf.get(keys::DFS_NAMENODE_INVALIDATE_WORK_PCT),
        deletion_delay_ms: millis(conf.get(keys::DFS_NAMENODE_STARTUP_DELAY_BLOCK_DELETION)),
        default_replication: narrow16(conf.get(keys::DFS_REPLICATION)),
        maintenance_min_replication: narrow16(conf.get(keys::DFS_NAMENODE_MAINTENANCE_REPLICATION_MIN)),
        admin_blocks_per_round: conf.get(keys::DFS_NAMENODE_DECOMMISSION_BLOCKS_PER_INTERVAL),
        max_watched_nodes: conf.get(keys::DFS_NAMENODE_DECOMMISSION_MAX_CONCURRENT_TRACKED_NODES),
        cache_retry_ms: millis(conf.get(keys::DFS_NAMENODE_CACHE_RETRY_INTERVAL)),
        max_report_leases: conf.get(keys::DFS_NAMENODE_MAX_FULL_BLOCK_REPORT_LEASES),
        report_lease_ms: millis(conf.get(keys::DFS_NAMENODE_FULL_BLOCK_REPORT_LEASE_LENGTH)),
        safemode_threshold: conf.get(keys::DFS_NAMENODE_SAFEMODE_THRESHOLD_PCT) as f32,
        safemode_min_datanodes: conf.get(keys::DFS_NAMENODE_SAFEMODE_MIN_DATANODES),
        safemode_extension_ms: millis(conf.get(keys::DFS_NAMENODE_SAFEMODE_EXTENSION)),
        safemode_min_replication: safe
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(min_replication),
    }
}

/// Deletions per heartbeat: never fewer than 20 for each second between two.
fn invalidate_limit(conf: &Configuration) -> usize {
    let seconds = conf.get(keys::DFS_HEARTBEAT_INTERVAL).as_secs();
    let least = usize::try_from(seconds.saturating_mul(20)).unwrap_or(usize::MAX);
    conf.get(keys::DFS_BLOCK_INVALIDATE_LIMIT).max(least).max(1)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
fn narrow16(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
