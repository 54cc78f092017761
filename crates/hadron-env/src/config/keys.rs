//! The one table of configuration keys: name, kind, unit, default, meaning.
//!
//! What it is for: `conf.get(keys::DFS_BLOCKSIZE)` gives a typed value; defaults live here and nowhere else.
//! What it does not do: list keys that Hadron does not read yet. Invariants: names are unique; every default parses.
//! Defaults are those of Hadoop 3.3; a unit is that of a bare number.
//!
//! Source: Hadoop `core-default.xml`, `hdfs-default.xml`, `DFSConfigKeys`, `HdfsClientConfigKeys`.

use std::fmt;
use std::marker::PhantomData;

use super::value::{Kind, kind};

/// What the table says about a key.
#[derive(Clone, Copy)]
pub struct KeyInfo {
    /// Full name.
    pub name: &'static str,
    /// Kind of value, for documentation.
    pub kind: &'static str,
    /// Unit of a bare number; empty when there is none.
    pub unit: &'static str,
    /// Default as text, which may hold `${…}`; `None`: absent.
    pub default: Option<&'static str>,
    /// Meaning.
    pub doc: &'static str,
    pub(super) check: fn(&str, &KeyInfo) -> Result<(), String>,
}

impl fmt::Debug for KeyInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A key whose values are of kind `K`.
#[derive(Clone, Copy)]
pub struct Key<K> {
    pub(super) info: KeyInfo,
    kind: PhantomData<K>,
}

impl<K> Key<K> {
    /// The key's full name.
    pub const fn name(&self) -> &'static str {
        self.info.name
    }
    /// The key's row of the table.
    pub const fn info(&self) -> &KeyInfo {
        &self.info
    }
}

impl<K> fmt::Debug for Key<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info.name)
    }
}

impl<K> AsRef<str> for Key<K> {
    fn as_ref(&self) -> &str {
        self.info.name
    }
}

fn check<K: Kind>(text: &str, info: &KeyInfo) -> Result<(), String> {
    K::parse(text, info).map(|_| ())
}

/// The row of a key, by full name.
pub fn find(name: &str) -> Option<&'static KeyInfo> {
    static BY_NAME: std::sync::OnceLock<std::collections::HashMap<&'static str, &'static KeyInfo>> =
        std::sync::OnceLock::new();
    BY_NAME
        .get_or_init(|| ALL.iter().map(|info| (info.name, info)).collect())
        .get(name)
        .copied()
}

macro_rules! keys {
    ($($constant:ident: $kind:ident $unit:literal $name:literal = $default:expr, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[doc = concat!("\n\n`", $name, "`")]
            pub const $constant: Key<kind::$kind> = Key {
                info: KeyInfo {
                    name: $name,
                    kind: <kind::$kind as Kind>::NAME,
                    unit: $unit,
                    default: $default,
                    doc: $doc,
                    check: check::<kind::$kind>,
                },
                kind: PhantomData,
            };
        )*

        /// Every key, in the order of the table.
        pub const ALL: &[KeyInfo] = &[$($constant.info,)*];
    };
}

/// Keys that may carry `.NAMESERVICE.NAMENODE`; see [`super::Configuration::specialize_namenode`].
pub const NAMENODE_SPECIFIC: &[&str] = &[
    "dfs.namenode.rpc-address",
    "dfs.namenode.rpc-bind-host",
    "dfs.namenode.servicerpc-address",
    "dfs.namenode.servicerpc-bind-host",
    "dfs.namenode.lifeline.rpc-address",
    "dfs.namenode.http-address",
    "dfs.namenode.http-bind-host",
    "dfs.namenode.https-address",
    "dfs.namenode.name.dir",
    "dfs.namenode.edits.dir",
    "dfs.namenode.shared.edits.dir",
    "dfs.namenode.checkpoint.dir",
    "dfs.namenode.checkpoint.edits.dir",
    "dfs.namenode.keytab.file",
    "dfs.namenode.kerberos.principal",
    "dfs.ha.fencing.methods",
    "dfs.ha.automatic-failover.enabled",
];

keys! {
    FS_DEFAULT_FS: Text "" "fs.defaultFS" = Some("file:///"),
        "File system that relative URLs mean: `hdfs://host[:8020]` or `hdfs://<nameservice>`.";
    HADOOP_TMP_DIR: Text "" "hadoop.tmp.dir" = Some("/tmp/hadoop-${user.name}"),
        "Root of all default directories.";
    HADOOP_LOG_DIR: Text "" "hadoop.log.dir" = Some("${env.HADOOP_LOG_DIR:-${hadoop.tmp.dir}/logs}"),
        "Where reports such as that of -metasave are written.";
    IO_FILE_BUFFER_SIZE: Size "bytes" "io.file.buffer.size" = Some("4096"),
        "Buffer of streams.";
    FS_TRASH_INTERVAL: Int "min" "fs.trash.interval" = Some("0"),
        "How long deleted files stay in the trash; 0 turns it off. The server's value wins when above 0.";
    FS_TRASH_CHECKPOINT_INTERVAL: Int "min" "fs.trash.checkpoint.interval" = Some("0"),
        "How often trash checkpoints are made; 0: as fs.trash.interval.";
    FS_PERMISSIONS_UMASK_MODE: Text "" "fs.permissions.umask-mode" = Some("022"),
        "Umask that clients apply: octal or symbolic.";
    FS_PROTECTED_DIRECTORIES: List "" "fs.protected.directories" = Some(""),
        "Directories that cannot be deleted while they are not empty.";
    FS_DF_INTERVAL: Time "ms" "fs.df.interval" = Some("60000"),
        "How often free space is looked up.";
    FS_DU_INTERVAL: Time "ms" "fs.du.interval" = Some("600000"),
        "How often used space is looked up.";
    // Name services and HA.
    DFS_NAMESERVICES: List "" "dfs.nameservices" = None,
        "Logical name services.";
    DFS_INTERNAL_NAMESERVICES: List "" "dfs.internal.nameservices" = None,
        "Those a DataNode registers with; absent: all.";
    DFS_NAMESERVICE_ID: OptText "" "dfs.nameservice.id" = None,
        "Name service of this daemon.";
    DFS_HA_NAMENODE_ID: OptText "" "dfs.ha.namenode.id" = None,
        "Which NameNode of its name service this one is.";
    DFS_CLIENT_FAILOVER_MAX_ATTEMPTS: Count "" "dfs.client.failover.max.attempts" = Some("15"),
        "Fail-overs before a call gives up.";
    DFS_CLIENT_FAILOVER_SLEEP_BASE: Time "ms" "dfs.client.failover.sleep.base.millis" = Some("500"),
        "First wait between fail-overs; doubles.";
    DFS_CLIENT_FAILOVER_SLEEP_MAX: Time "ms" "dfs.client.failover.sleep.max.millis" = Some("15000"),
        "Longest wait between fail-overs.";
    DFS_CLIENT_FAILOVER_CONNECTION_RETRIES: Count "" "dfs.client.failover.connection.retries" = Some("0"),
        "Connection retries per NameNode of an HA pair.";
    DFS_CLIENT_FAILOVER_CONNECTION_RETRIES_ON_TIMEOUTS: Count "" "dfs.client.failover.connection.retries.on.timeouts" = Some("0"),
        "The same after time-outs.";
    DFS_CLIENT_FAILOVER_PROXY_PROVIDER: OptText "" "dfs.client.failover.proxy.provider" = None,
        "How clients choose among a name service's NameNodes; with the name service behind a dot.";
    DFS_CLIENT_FAILOVER_RANDOM_ORDER: Bool "" "dfs.client.failover.random.order" = Some("false"),
        "Try NameNodes in random order; also with the name service behind a dot.";
    DFS_CLIENT_FAILOVER_OBSERVER_AUTO_MSYNC_PERIOD: OptText "ms" "dfs.client.failover.observer.auto-msync-period" = None,
        "Age after which a read syncs with the active first; 0: always, negative: never. With the name service behind a dot.";
    DFS_CLIENT_FAILOVER_OBSERVER_PROBE_RETRY_PERIOD: Time "ms" "dfs.client.failover.observer.probe.retry.period" = Some("600000"),
        "How long no observer is looked for after none was found.";
    DFS_CLIENT_RETRY_MAX_ATTEMPTS: Count "" "dfs.client.retry.max.attempts" = Some("10"),
        "Retries of a call that the same NameNode answers with \"later\"; without HA also of one whose connection broke.";
    // Addresses.
    DFS_NAMENODE_RPC_ADDRESS: OptText "" "dfs.namenode.rpc-address" = None,
        "Client RPC of the NameNode; absent: authority of fs.defaultFS.";
    DFS_NAMENODE_SERVICERPC_ADDRESS: OptText "" "dfs.namenode.servicerpc-address" = None,
        "Second RPC server for DataNodes and tools.";
    DFS_NAMENODE_LIFELINE_RPC_ADDRESS: OptText "" "dfs.namenode.lifeline.rpc-address" = None,
        "RPC server for lifelines.";
    DFS_NAMENODE_RPC_BIND_HOST: OptText "" "dfs.namenode.rpc-bind-host" = None,
        "Host the client RPC listens on instead of that of its address.";
    DFS_NAMENODE_SERVICERPC_BIND_HOST: OptText "" "dfs.namenode.servicerpc-bind-host" = None,
        "The same for the service RPC.";
    DFS_NAMENODE_HTTP_ADDRESS: Text "" "dfs.namenode.http-address" = Some("0.0.0.0:9870"),
        "HTTP of the NameNode.";
    DFS_NAMENODE_HTTP_BIND_HOST: OptText "" "dfs.namenode.http-bind-host" = None,
        "Host the HTTP server listens on.";
    DFS_NAMENODE_HTTPS_ADDRESS: Text "" "dfs.namenode.https-address" = Some("0.0.0.0:9871"),
        "HTTPS of the NameNode.";
    DFS_DATANODE_ADDRESS: Text "" "dfs.datanode.address" = Some("0.0.0.0:9866"),
        "Data transfer of the DataNode.";
    DFS_DATANODE_IPC_ADDRESS: Text "" "dfs.datanode.ipc.address" = Some("0.0.0.0:9867"),
        "RPC of the DataNode.";
    DFS_DATANODE_HTTP_ADDRESS: Text "" "dfs.datanode.http.address" = Some("0.0.0.0:9864"),
        "HTTP of the DataNode.";
    DFS_DATANODE_HTTPS_ADDRESS: Text "" "dfs.datanode.https.address" = Some("0.0.0.0:9865"),
        "HTTPS of the DataNode.";
    DFS_DATANODE_HOSTNAME: OptText "" "dfs.datanode.hostname" = None,
        "Name a DataNode registers with; absent: the machine's.";
    DFS_CLIENT_USE_DATANODE_HOSTNAME: Bool "" "dfs.client.use.datanode.hostname" = Some("false"),
        "Clients connect by host name, not address.";
    DFS_DATANODE_USE_DATANODE_HOSTNAME: Bool "" "dfs.datanode.use.datanode.hostname" = Some("false"),
        "DataNodes connect to each other by host name.";
    DFS_NAMENODE_DATANODE_REGISTRATION_IP_HOSTNAME_CHECK: Bool "" "dfs.namenode.datanode.registration.ip-hostname-check" = Some("true"),
        "Refuse DataNodes whose address has no reverse name.";
    // NameNode storage.
    DFS_NAMENODE_NAME_DIR: List "" "dfs.namenode.name.dir" = Some("file://${hadoop.tmp.dir}/dfs/name"),
        "Where journal and images are kept; all dirs get all.";
    DFS_NAMENODE_EDITS_DIR: List "" "dfs.namenode.edits.dir" = Some("${dfs.namenode.name.dir}"),
        "Hadoop's separate directory for edits. Hadron keeps its journal in the name dirs.";
    DFS_NAMENODE_EDITS_DIR_MINIMUM: Count "" "dfs.namenode.edits.dir.minimum" = Some("1"),
        "Name dirs that must work for mutations to go on.";
    DFS_NAMENODE_NAME_DIR_RESTORE: Bool "" "dfs.namenode.name.dir.restore" = Some("false"),
        "Take back a failed name dir at a checkpoint.";
    DFS_NAMENODE_SUPPORT_ALLOW_FORMAT: Bool "" "dfs.namenode.support.allow.format" = Some("true"),
        "Whether formatting is allowed at all.";
    DFS_NAMENODE_CHECKPOINT_PERIOD: Time "s" "dfs.namenode.checkpoint.period" = Some("3600"),
        "Longest time between checkpoints.";
    DFS_NAMENODE_CHECKPOINT_TXNS: Int "" "dfs.namenode.checkpoint.txns" = Some("1000000"),
        "Most journal entries between checkpoints.";
    DFS_NAMENODE_CHECKPOINT_CHECK_PERIOD: Time "s" "dfs.namenode.checkpoint.check.period" = Some("60"),
        "How often the need of a checkpoint is looked at.";
    DFS_NAMENODE_NUM_CHECKPOINTS_RETAINED: Count "" "dfs.namenode.num.checkpoints.retained" = Some("2"),
        "Images kept.";
    DFS_NAMENODE_NUM_EXTRA_EDITS_RETAINED: Int "" "dfs.namenode.num.extra.edits.retained" = Some("1000000"),
        "Journal entries kept before the oldest image.";
    DFS_NAMENODE_RESOURCE_DU_RESERVED: Size "bytes" "dfs.namenode.resource.du.reserved" = Some("104857600"),
        "Free space below which a name dir's volume counts as low.";
    DFS_NAMENODE_RESOURCE_CHECK_INTERVAL: Time "ms" "dfs.namenode.resource.check.interval" = Some("5000"),
        "How often free space is checked.";
    DFS_NAMENODE_RESOURCE_CHECKED_VOLUMES_MINIMUM: Count "" "dfs.namenode.resource.checked.volumes.minimum" = Some("1"),
        "Volumes that must not be low; below it safe mode.";
    DFS_NAMENODE_STARTUP_DELAY_BLOCK_DELETION: Time "s" "dfs.namenode.startup.delay.block.deletion.sec" = Some("0"),
        "No invalidation for so long after start.";
    // Files and limits.
    DFS_BLOCKSIZE: Size "bytes" "dfs.blocksize" = Some("134217728"),
        "Block size of new files.";
    DFS_REPLICATION: Count "" "dfs.replication" = Some("3"),
        "Replicas of new files.";
    DFS_REPLICATION_MAX: Count "" "dfs.replication.max" = Some("512"),
        "Most replicas a file may ask for.";
    DFS_NAMENODE_REPLICATION_MIN: Count "" "dfs.namenode.replication.min" = Some("1"),
        "Replicas that make a block complete.";
    DFS_NAMENODE_SAFEMODE_REPLICATION_MIN: OptText "" "dfs.namenode.safemode.replication.min" = None,
        "Replicas that make a block safe at start; absent: as dfs.namenode.replication.min.";
    DFS_NAMENODE_MAINTENANCE_REPLICATION_MIN: Count "" "dfs.namenode.maintenance.replication.min" = Some("1"),
        "Live replicas needed while others are in maintenance.";
    DFS_BYTES_PER_CHECKSUM: Size "bytes" "dfs.bytes-per-checksum" = Some("512"),
        "Data per checksum.";
    DFS_CHECKSUM_TYPE: Text "" "dfs.checksum.type" = Some("CRC32C"),
        "NULL, CRC32 or CRC32C.";
    DFS_CHECKSUM_COMBINE_MODE: Text "" "dfs.checksum.combine.mode" = Some("MD5MD5CRC"),
        "MD5MD5CRC or COMPOSITE_CRC.";
    DFS_CLIENT_WRITE_PACKET_SIZE: Size "bytes" "dfs.client-write-packet-size" = Some("65536"),
        "Size of a client's packets.";
    DFS_STREAM_BUFFER_SIZE: Size "bytes" "dfs.stream-buffer-size" = Some("4096"),
        "Buffer of client streams.";
    DFS_NAMENODE_MIN_BLOCK_SIZE: Size "bytes" "dfs.namenode.fs-limits.min-block-size" = Some("1048576"),
        "Smallest block size a create may ask for.";
    DFS_NAMENODE_MAX_BLOCKS_PER_FILE: Count "" "dfs.namenode.fs-limits.max-blocks-per-file" = Some("10000"),
        "Most blocks of a file.";
    DFS_NAMENODE_MAX_COMPONENT_LENGTH: Count "bytes" "dfs.namenode.fs-limits.max-component-length" = Some("255"),
        "Longest name in UTF-8; 0: no limit.";
    DFS_NAMENODE_MAX_DIRECTORY_ITEMS: Count "" "dfs.namenode.fs-limits.max-directory-items" = Some("1048576"),
        "Most children of a directory.";
    DFS_NAMENODE_MAX_XATTRS_PER_INODE: Count "" "dfs.namenode.fs-limits.max-xattrs-per-inode" = Some("32"),
        "Most extended attributes of an inode.";
    DFS_NAMENODE_MAX_XATTR_SIZE: Size "bytes" "dfs.namenode.fs-limits.max-xattr-size" = Some("16384"),
        "Longest name and value of an extended attribute.";
    DFS_NAMENODE_MAX_OBJECTS: Count "" "dfs.namenode.max.objects" = Some("0"),
        "Most inodes and blocks; 0: no limit.";
    DFS_LS_LIMIT: Count "" "dfs.ls.limit" = Some("1000"),
        "Page of a listing.";
    DFS_BATCHED_LS_LIMIT: Count "" "dfs.batched.ls.limit" = Some("100"),
        "Paths of one batched listing.";
    DFS_PROTECTED_SUBDIRECTORIES_ENABLE: Bool "" "dfs.protected.subdirectories.enable" = Some("false"),
        "Whether what lies below protected directories is protected too.";
    DFS_CONTENT_SUMMARY_LIMIT: Count "" "dfs.content-summary.limit" = Some("5000"),
        "Inodes per lock hold of a content summary.";
    DFS_NAMENODE_INOTIFY_MAX_EVENTS_PER_RPC: Count "" "dfs.namenode.inotify.max.events.per.rpc" = Some("1000"),
        "Events that one answer to a watcher holds.";
    DFS_NAMENODE_ACCESSTIME_PRECISION: Time "ms" "dfs.namenode.accesstime.precision" = Some("3600000"),
        "Granularity of access times; 0 turns them off.";
    DFS_STORAGE_POLICY_ENABLED: Bool "" "dfs.storage.policy.enabled" = Some("true"),
        "Whether storage policies can be set.";
    DFS_STORAGE_POLICY_PERMISSIONS_SUPERUSER_ONLY: Bool "" "dfs.storage.policy.permissions.superuser-only" = Some("false"),
        "Whether only superusers may set storage policies.";
    DFS_QUOTA_BY_STORAGE_TYPE_ENABLED: Bool "" "dfs.quota.by.storage.type.enabled" = Some("true"),
        "Whether quotas by storage type count.";
    DFS_PERMISSIONS_ALLOW_OWNER_SET_QUOTA: Bool "" "dfs.permissions.allow.owner.set.quota" = Some("false"),
        "Whether the owner of a directory may set quotas on its children.";
    DFS_NAMENODE_SNAPSHOT_CAPTURE_OPENFILES: Bool "" "dfs.namenode.snapshot.capture.openfiles" = Some("false"),
        "Snapshots freeze the length of open files.";
    DFS_NAMENODE_FILE_CLOSE_NUM_COMMITTED_ALLOWED: Count "" "dfs.namenode.file.close.num-committed-allowed" = Some("0"),
        "Committed but not complete blocks a closing file may have.";
    DFS_NAMENODE_LEASE_RECHECK_INTERVAL: Time "ms" "dfs.namenode.lease-recheck-interval-ms" = Some("2000"),
        "How often leases are looked at.";
    DFS_NAMENODE_MAX_LOCK_HOLD_TO_RELEASE_LEASE: Time "ms" "dfs.namenode.max-lock-hold-to-release-lease-ms" = Some("25"),
        "Longest lock hold of one look at leases.";
    DFS_NAMENODE_LIST_OPENFILES_NUM_RESPONSES: Count "" "dfs.namenode.list.openfiles.num.responses" = Some("1000"),
        "Page of listOpenFiles.";
    DFS_NAMENODE_LEASE_HARD_LIMIT: Time "s" "dfs.namenode.lease-hard-limit-sec" = Some("1200"),
        "When a lease is recovered without anybody asking.";
    DFS_CORRUPTFILESRETURNED_MAX: Count "" "dfs.corruptfilesreturned.max" = Some("500"),
        "Page of listCorruptFileBlocks.";
    DFS_USER_HOME_DIR_PREFIX: Text "" "dfs.user.home.dir.prefix" = Some("/user"),
        "Parent of home directories.";
    // Permissions and users.
    DFS_PERMISSIONS_ENABLED: Bool "" "dfs.permissions.enabled" = Some("true"),
        "Check rwx permissions.";
    DFS_PERMISSIONS_SUPERUSERGROUP: Text "" "dfs.permissions.superusergroup" = Some("supergroup"),
        "Group whose members are superusers.";
    DFS_CLUSTER_ADMINISTRATORS: OptText "" "dfs.cluster.administrators" = None,
        "Who may use administrative web pages.";
    DFS_NAMENODE_ACLS_ENABLED: Bool "" "dfs.namenode.acls.enabled" = Some("true"),
        "Whether ACLs can be set.";
    DFS_NAMENODE_POSIX_ACL_INHERITANCE_ENABLED: Bool "" "dfs.namenode.posix.acl.inheritance.enabled" = Some("true"),
        "Default ACLs replace the umask.";
    DFS_NAMENODE_XATTRS_ENABLED: Bool "" "dfs.namenode.xattrs.enabled" = Some("true"),
        "Whether extended attributes can be set.";
    HADOOP_SECURITY_GROUPS_CACHE: Time "s" "hadoop.security.groups.cache.secs" = Some("300"),
        "How long a user's groups are kept.";
    HADOOP_SECURITY_GROUPS_NEGATIVE_CACHE: Time "s" "hadoop.security.groups.negative-cache.secs" = Some("30"),
        "How long a user without groups is remembered.";
    HADOOP_USER_GROUP_STATIC_MAPPING_OVERRIDES: Text "" "hadoop.user.group.static.mapping.overrides" = Some("dr.who=;"),
        "Fixed groups: `user=g1,g2;user2=`.";
    HADOOP_SECURITY_AUTHORIZATION: Bool "" "hadoop.security.authorization" = Some("false"),
        "Check service ACLs.";
    HADOOP_SECURITY_AUTHENTICATION: Text "" "hadoop.security.authentication" = Some("simple"),
        "simple or kerberos.";
    HADOOP_HTTP_STATICUSER_USER: Text "" "hadoop.http.staticuser.user" = Some("dr.who"),
        "User of web requests that name none.";
    HADOOP_RPC_PROTECTION: Text "" "hadoop.rpc.protection" = Some("authentication"),
        "SASL protection of RPC.";
    // Safe mode, heartbeats, reports, node lists.
    DFS_NAMENODE_SAFEMODE_THRESHOLD_PCT: Float "" "dfs.namenode.safemode.threshold-pct" = Some("0.999"),
        "Share of safe blocks that ends safe mode; above 1: never by itself.";
    DFS_NAMENODE_SAFEMODE_MIN_DATANODES: Count "" "dfs.namenode.safemode.min.datanodes" = Some("0"),
        "Live DataNodes needed to leave safe mode.";
    DFS_NAMENODE_SAFEMODE_EXTENSION: Time "ms" "dfs.namenode.safemode.extension" = Some("30000"),
        "Wait after the threshold is met.";
    DFS_NAMENODE_REPLQUEUE_THRESHOLD_PCT: OptText "" "dfs.namenode.replqueue.threshold-pct" = None,
        "Share of safe blocks at which replication queues are filled.";
    DFS_HEARTBEAT_INTERVAL: Time "s" "dfs.heartbeat.interval" = Some("3"),
        "Between heartbeats.";
    DFS_NAMENODE_HEARTBEAT_RECHECK_INTERVAL: Time "ms" "dfs.namenode.heartbeat.recheck-interval" = Some("300000"),
        "A DataNode is dead after twice this and ten heartbeats.";
    DFS_NAMENODE_STALE_DATANODE_INTERVAL: Time "ms" "dfs.namenode.stale.datanode.interval" = Some("30000"),
        "Silence after which a DataNode is stale.";
    DFS_NAMENODE_STALE_DATANODE_MINIMUM_INTERVAL: Count "heartbeats" "dfs.namenode.stale.datanode.minimum.interval" = Some("3"),
        "Least stale interval in heartbeats.";
    DFS_NAMENODE_AVOID_READ_STALE_DATANODE: Bool "" "dfs.namenode.avoid.read.stale.datanode" = Some("false"),
        "List stale DataNodes last for reads.";
    DFS_NAMENODE_AVOID_WRITE_STALE_DATANODE: Bool "" "dfs.namenode.avoid.write.stale.datanode" = Some("false"),
        "Do not write to stale DataNodes.";
    DFS_NAMENODE_WRITE_STALE_DATANODE_RATIO: Float "" "dfs.namenode.write.stale.datanode.ratio" = Some("0.5"),
        "Share of stale nodes above which they are written to again.";
    DFS_BLOCKREPORT_INTERVAL: Time "ms" "dfs.blockreport.intervalMsec" = Some("21600000"),
        "Between full block reports.";
    DFS_BLOCKREPORT_INITIAL_DELAY: Time "s" "dfs.blockreport.initialDelay" = Some("0"),
        "Random delay of the first report.";
    DFS_BLOCKREPORT_SPLIT_THRESHOLD: Count "" "dfs.blockreport.split.threshold" = Some("1000000"),
        "Blocks above which each volume reports by itself.";
    DFS_BLOCKREPORT_INCREMENTAL_INTERVAL: Time "ms" "dfs.blockreport.incremental.intervalMsec" = Some("0"),
        "Between incremental reports; 0: at once.";
    DFS_NAMENODE_MAX_FULL_BLOCK_REPORT_LEASES: Count "" "dfs.namenode.max.full.block.report.leases" = Some("6"),
        "Full reports at a time.";
    DFS_NAMENODE_FULL_BLOCK_REPORT_LEASE_LENGTH: Time "ms" "dfs.namenode.full.block.report.lease.length.ms" = Some("300000"),
        "How long the right to report lasts.";
    DFS_NAMENODE_CACHING_ENABLED: Bool "" "dfs.namenode.caching.enabled" = Some("true"),
        "Have DataNodes keep in memory what cache directives name.";
    DFS_NAMENODE_CACHE_REFRESH_INTERVAL: Time "ms" "dfs.namenode.path.based.cache.refresh.interval.ms" = Some("30000"),
        "Between looks at all cache directives.";
    DFS_NAMENODE_CACHE_RETRY_INTERVAL: Time "ms" "dfs.namenode.path.based.cache.retry.interval.ms" = Some("30000"),
        "Between two times that a DataNode is told what to cache.";
    DFS_NAMENODE_LIST_CACHE_POOLS_NUM_RESPONSES: Count "" "dfs.namenode.list.cache.pools.num.responses" = Some("100"),
        "Page of listCachePools.";
    DFS_NAMENODE_LIST_CACHE_DIRECTIVES_NUM_RESPONSES: Count "" "dfs.namenode.list.cache.directives.num.responses" = Some("100"),
        "Page of listCacheDirectives.";
    DFS_DATANODE_FSDATASETCACHE_MAX_THREADS_PER_VOLUME: Count "" "dfs.datanode.fsdatasetcache.max.threads.per.volume" = Some("4"),
        "Threads per volume that lock replicas in memory.";
    DFS_DATANODE_CACHE_REVOCATION_TIMEOUT: Time "ms" "dfs.datanode.cache.revocation.timeout.ms" = Some("900000"),
        "How long clients may keep a locked replica that is to go.";
    DFS_DATANODE_CACHE_REVOCATION_POLLING: Time "ms" "dfs.datanode.cache.revocation.polling.ms" = Some("500"),
        "How often it is looked whether they still do.";
    DFS_CACHEREPORT_INTERVAL: Time "ms" "dfs.cachereport.intervalMsec" = Some("10000"),
        "Between cache reports.";
    DFS_BLOCK_INVALIDATE_LIMIT: Count "" "dfs.block.invalidate.limit" = Some("1000"),
        "Blocks per INVALIDATE command.";
    DFS_HOSTS: OptText "" "dfs.hosts" = None,
        "File of admitted DataNodes.";
    DFS_HOSTS_EXCLUDE: OptText "" "dfs.hosts.exclude" = None,
        "File of DataNodes to decommission.";
    DFS_NAMENODE_HOSTS_PROVIDER_CLASSNAME: OptText "" "dfs.namenode.hosts.provider.classname" = None,
        "CombinedHostFileManager: dfs.hosts is JSON.";
    DFS_NAMENODE_MIN_SUPPORTED_DATANODE_VERSION: Text "" "dfs.namenode.min.supported.datanode.version" = Some("2.1.0-beta"),
        "Oldest DataNode admitted.";
    DFS_DATANODE_MIN_SUPPORTED_NAMENODE_VERSION: Text "" "dfs.datanode.min.supported.namenode.version" = Some("2.1.0-beta"),
        "Oldest NameNode a DataNode joins.";
    DFS_DATANODE_LIFELINE_INTERVAL: OptText "" "dfs.datanode.lifeline.interval.seconds" = None,
        "Between lifelines; absent: three heartbeats.";
    DFS_NAMENODE_REJECT_UNRESOLVED_DN_TOPOLOGY_MAPPING: Bool "" "dfs.namenode.reject-unresolved-dn-topology-mapping" = Some("false"),
        "Refuse DataNodes whose rack is unknown.";
    // Replication and placement.
    DFS_NAMENODE_REDUNDANCY_INTERVAL: Time "s" "dfs.namenode.redundancy.interval.seconds" = Some("3"),
        "Between rounds of the redundancy monitor.";
    DFS_NAMENODE_REPLICATION_WORK_MULTIPLIER: Count "" "dfs.namenode.replication.work.multiplier.per.iteration" = Some("2"),
        "Transfers started per live node and round.";
    DFS_NAMENODE_INVALIDATE_WORK_PCT: Float "" "dfs.namenode.invalidate.work.pct.per.iteration" = Some("0.32"),
        "Share of nodes given deletions per round.";
    DFS_NAMENODE_REPLICATION_MAX_STREAMS: Count "" "dfs.namenode.replication.max-streams" = Some("2"),
        "Transfers given to one DataNode.";
    DFS_NAMENODE_REPLICATION_STREAMS_HARD_LIMIT: Count "" "dfs.namenode.replication.max-streams-hard-limit" = Some("4"),
        "The same for the most urgent.";
    DFS_NAMENODE_RECONSTRUCTION_PENDING_TIMEOUT: Time "s" "dfs.namenode.reconstruction.pending.timeout-sec" = Some("300"),
        "When a transfer is asked for again.";
    DFS_NAMENODE_REDUNDANCY_CONSIDER_LOAD: Bool "" "dfs.namenode.redundancy.considerLoad" = Some("true"),
        "Avoid loaded DataNodes.";
    DFS_NAMENODE_REDUNDANCY_CONSIDER_LOAD_FACTOR: Float "" "dfs.namenode.redundancy.considerLoad.factor" = Some("2.0"),
        "Refused above so many times the average load.";
    DFS_BLOCK_REPLICATOR_CLASSNAME: Text "" "dfs.block.replicator.classname" = Some("org.apache.hadoop.hdfs.server.blockmanagement.BlockPlacementPolicyDefault"),
        "Placement policy.";
    DFS_NAMENODE_PREFER_LOCAL_NODE: Bool "" "dfs.namenode.block-placement-policy.default.prefer-local-node" = Some("true"),
        "First replica on the writer's node.";
    DFS_NAMENODE_DECOMMISSION_INTERVAL: Time "s" "dfs.namenode.decommission.interval" = Some("30"),
        "Between looks at decommissioning nodes.";
    DFS_NAMENODE_DECOMMISSION_BLOCKS_PER_INTERVAL: Count "" "dfs.namenode.decommission.blocks.per.interval" = Some("500000"),
        "Blocks looked at each time.";
    DFS_NAMENODE_DECOMMISSION_MAX_CONCURRENT_TRACKED_NODES: Count "" "dfs.namenode.decommission.max.concurrent.tracked.nodes" = Some("100"),
        "Nodes decommissioned at a time.";
    DFS_BLOCK_MISREPLICATION_PROCESSING_LIMIT: Count "" "dfs.block.misreplication.processing.limit" = Some("10000"),
        "Blocks per lock hold of a full scan.";
    NET_TOPOLOGY_SCRIPT_FILE_NAME: OptText "" "net.topology.script.file.name" = None,
        "Program that maps hosts to racks.";
    NET_TOPOLOGY_SCRIPT_NUMBER_ARGS: Count "" "net.topology.script.number.args" = Some("100"),
        "Hosts per run of the program.";
    NET_TOPOLOGY_TABLE_FILE_NAME: OptText "" "net.topology.table.file.name" = None,
        "File of hosts and racks.";
    NET_TOPOLOGY_NODE_SWITCH_MAPPING_IMPL: OptText "" "net.topology.node.switch.mapping.impl" = None,
        "ScriptBasedMapping or TableMapping.";
    DFS_DATANODE_BALANCE_BANDWIDTH: Size "bytes/s" "dfs.datanode.balance.bandwidthPerSec" = Some("104857600"),
        "Bandwidth for balancing.";
    DFS_DATANODE_BALANCE_MAX_CONCURRENT_MOVES: Count "" "dfs.datanode.balance.max.concurrent.moves" = Some("100"),
        "Moves at a time.";
    DFS_DATANODE_BLOCK_PINNING_ENABLED: Bool "" "dfs.datanode.block-pinning.enabled" = Some("false"),
        "Whether replicas that clients placed by name are kept from balancers.";
    // Balancer.
    DFS_BALANCER_MOVED_WINDOW: Time "ms" "dfs.balancer.movedWinWidth" = Some("5400000"),
        "How long a block that was moved is left alone.";
    DFS_BALANCER_MOVER_THREADS: Count "" "dfs.balancer.moverThreads" = Some("1000"),
        "Moves at a time.";
    DFS_BALANCER_DISPATCHER_THREADS: Count "" "dfs.balancer.dispatcherThreads" = Some("200"),
        "DataNodes whose blocks are asked for at a time.";
    DFS_BALANCER_MAX_SIZE_TO_MOVE: Size "bytes" "dfs.balancer.max-size-to-move" = Some("10737418240"),
        "Most that a DataNode gives or takes in one iteration.";
    DFS_BALANCER_GETBLOCKS_SIZE: Size "bytes" "dfs.balancer.getBlocks.size" = Some("2147483648"),
        "Blocks asked for at once.";
    DFS_BALANCER_GETBLOCKS_MIN_BLOCK_SIZE: Size "bytes" "dfs.balancer.getBlocks.min-block-size" = Some("10485760"),
        "Smaller blocks are not moved.";
    DFS_BALANCER_MAX_ITERATION_TIME: Time "ms" "dfs.balancer.max-iteration-time" = Some("1200000"),
        "How long one iteration begins moves.";
    NET_TOPOLOGY_IMPL: Text "" "net.topology.impl" = Some("org.apache.hadoop.net.NetworkTopology"),
        "NetworkTopologyWithNodeGroup: the last part of a rack's path is a node group.";
    // DataNode.
    DFS_DATANODE_DATA_DIR: List "" "dfs.datanode.data.dir" = Some("file://${hadoop.tmp.dir}/dfs/data"),
        "Volumes, each with an optional `[SSD]`-like prefix.";
    DFS_DATANODE_DATA_DIR_PERM: Text "" "dfs.datanode.data.dir.perm" = Some("700"),
        "Mode of the volumes, octal.";
    DFS_DATANODE_DU_RESERVED: Size "bytes" "dfs.datanode.du.reserved" = Some("0"),
        "Space left free on each volume; may be suffixed by storage type.";
    DFS_DATANODE_DU_RESERVED_PCT: Int "percent" "dfs.datanode.du.reserved.pct" = Some("0"),
        "Share of each volume left free, for the calculators that look at it; may be suffixed by storage type.";
    DFS_DATANODE_DU_RESERVED_CALCULATOR: Text "" "dfs.datanode.du.reserved.calculator" = Some("ReservedSpaceCalculatorAbsolute"),
        "How bytes and share of the reserve go together: a class name that ends in Absolute, Percentage, Conservative or Aggressive.";
    DFS_DATANODE_FAILED_VOLUMES_TOLERATED: Int "" "dfs.datanode.failed.volumes.tolerated" = Some("0"),
        "Volumes that may fail before the DataNode stops; -1: all but one.";
    DFS_DATANODE_VOLUME_CHOOSING_POLICY: Text "" "dfs.datanode.fsdataset.volume.choosing.policy" = Some("RoundRobin"),
        "RoundRobin or AvailableSpace (any class name that contains it).";
    DFS_DATANODE_AVAILABLE_SPACE_THRESHOLD: Size "bytes" "dfs.datanode.available-space-volume-choosing-policy.balanced-space-threshold" = Some("10737418240"),
        "Difference of free space up to which the AvailableSpace policy takes volumes by turns.";
    DFS_DATANODE_AVAILABLE_SPACE_PREFERENCE: Float "" "dfs.datanode.available-space-volume-choosing-policy.balanced-space-preference-fraction" = Some("0.75"),
        "Share of new replicas that the AvailableSpace policy puts on volumes with much free space.";
    DFS_DATANODE_ROUND_ROBIN_SPARE: Size "bytes" "dfs.datanode.round-robin-volume-choosing-policy.additional-available-space" = Some("0"),
        "Space a volume must have beyond a new replica's under the RoundRobin policy.";
    DFS_DATANODE_MAX_TRANSFER_THREADS: Count "" "dfs.datanode.max.transfer.threads" = Some("4096"),
        "Most transfers (xceivers) at a time.";
    DFS_DATANODE_HANDLER_COUNT: Count "" "dfs.datanode.handler.count" = Some("10"),
        "Handlers of the DataNode's RPC.";
    DFS_DATANODE_SOCKET_REUSE_KEEPALIVE: Time "ms" "dfs.datanode.socket.reuse.keepalive" = Some("4000"),
        "How long an idle transfer connection is kept; 0: not.";
    DFS_DATANODE_SOCKET_WRITE_TIMEOUT: Time "ms" "dfs.datanode.socket.write.timeout" = Some("480000"),
        "Write time-out; 0: none.";
    DFS_DATANODE_TRANSFERTO_ALLOWED: Bool "" "dfs.datanode.transferTo.allowed" = Some("true"),
        "Send by sendfile (true) or by copying (false); unset: what was measured to be faster.";
    DFS_DATANODE_READAHEAD_BYTES: Size "bytes" "dfs.datanode.readahead.bytes" = Some("4194304"),
        "Read-ahead asked of the system.";
    DFS_DATANODE_DROP_CACHE_BEHIND_READS: Bool "" "dfs.datanode.drop.cache.behind.reads" = Some("false"),
        "Drop pages after reading.";
    DFS_DATANODE_DROP_CACHE_BEHIND_WRITES: Bool "" "dfs.datanode.drop.cache.behind.writes" = Some("false"),
        "Drop pages after writing.";
    DFS_DATANODE_SYNC_BEHIND_WRITES: Bool "" "dfs.datanode.sync.behind.writes" = Some("false"),
        "Start write-back while writing.";
    DFS_DATANODE_SYNCONCLOSE: Bool "" "dfs.datanode.synconclose" = Some("false"),
        "Fsync a replica when it is finalized.";
    DFS_BLOCK_LOCAL_PATH_ACCESS_USER: List "" "dfs.block.local-path-access.user" = Some(""),
        "Users who may ask where block files are.";
    DFS_DATANODE_XCEIVER_STOP_TIMEOUT: Time "ms" "dfs.datanode.xceiver.stop.timeout.millis" = Some("60000"),
        "How long recovery waits for a writer.";
    DFS_DATANODE_RESTART_REPLICA_EXPIRATION: Time "s" "dfs.datanode.restart.replica.expiration" = Some("50"),
        "How long replica state is kept over a quick restart.";
    DFS_DATANODE_BP_READY_TIMEOUT: Time "s" "dfs.datanode.bp-ready.timeout" = Some("20"),
        "How long operations wait for registration.";
    DFS_DATANODE_DIRECTORYSCAN_INTERVAL: Time "s" "dfs.datanode.directoryscan.interval" = Some("21600"),
        "Between comparisons of disk and memory; not above 0: none.";
    DFS_DATANODE_DIRECTORYSCAN_THREADS: Count "" "dfs.datanode.directoryscan.threads" = Some("1"),
        "Volumes compared at the same time.";
    DFS_DATANODE_DIRECTORYSCAN_THROTTLE_LIMIT: Int "ms" "dfs.datanode.directoryscan.throttle.limit.ms.per.sec" = Some("-1"),
        "Milliseconds of each second that a comparing thread works; not 1 to 999: all.";
    DFS_DATANODE_SCAN_PERIOD_HOURS: Int "h" "dfs.datanode.scan.period.hours" = Some("504"),
        "Time in which each block is verified once; 0: 504, negative: never.";
    INTERNAL_DFS_DATANODE_SCAN_PERIOD: Int "ms" "internal.dfs.datanode.scan.period.ms.key" = Some("0"),
        "The same in milliseconds, for tests; 0: the hours count.";
    DFS_BLOCK_SCANNER_CURSOR_SAVE_INTERVAL: Time "ms" "dfs.block.scanner.cursor.save.interval.ms" = Some("600000"),
        "Between savings of how far verification is.";
    DFS_BLOCK_SCANNER_VOLUME_JOIN_TIMEOUT: Time "ms" "dfs.block.scanner.volume.join.timeout.ms" = Some("5000"),
        "How long the end waits for a verifying thread.";
    DFS_BLOCK_SCANNER_SKIP_RECENT_ACCESSED: Bool "" "dfs.block.scanner.skip.recent.accessed" = Some("false"),
        "Leave out replicas that were read within the period.";
    DFS_BLOCK_SCANNER_VOLUME_BYTES_PER_SECOND: Size "bytes/s" "dfs.block.scanner.volume.bytes.per.second" = Some("1048576"),
        "Speed of verification; 0: off.";
    DFS_DATANODE_SLOW_IO_WARNING_THRESHOLD: Time "ms" "dfs.datanode.slow.io.warning.threshold.ms" = Some("300"),
        "I/O slower than this is logged.";
    DFS_DATANODE_MAX_LOCKED_MEMORY: Size "bytes" "dfs.datanode.max.locked.memory" = Some("0"),
        "Memory for cached blocks.";
    DFS_DATANODE_SHARED_FILE_DESCRIPTOR_PATHS: List "" "dfs.datanode.shared.file.descriptor.paths" = Some("/dev/shm,/tmp"),
        "Where shared memory files are made.";
    DFS_DATANODE_DISK_CHECK_MIN_GAP: Time "ms" "dfs.datanode.disk.check.min.gap" = Some("15m"),
        "Least time between checks of a volume.";
    DFS_DATANODE_DISK_CHECK_TIMEOUT: Time "ms" "dfs.datanode.disk.check.timeout" = Some("10m"),
        "When a check counts as failed.";
    DFS_DATA_TRANSFER_SERVER_TCPNODELAY: Bool "" "dfs.data.transfer.server.tcpnodelay" = Some("true"),
        "TCP_NODELAY on transfer connections.";
    DFS_DATANODE_TRANSFER_SOCKET_SEND_BUFFER_SIZE: Size "bytes" "dfs.datanode.transfer.socket.send.buffer.size" = Some("0"),
        "SO_SNDBUF; 0: the system's.";
    DFS_DATANODE_TRANSFER_SOCKET_RECV_BUFFER_SIZE: Size "bytes" "dfs.datanode.transfer.socket.recv.buffer.size" = Some("0"),
        "SO_RCVBUF; 0: the system's.";
    DFS_PIPELINE_ECN: Bool "" "dfs.pipeline.ecn" = Some("false"),
        "Congestion marks in acks.";
    // Client.
    DFS_CLIENT_SOCKET_TIMEOUT: Time "ms" "dfs.client.socket-timeout" = Some("60000"),
        "Read time-out, before 5 s per node of the pipeline.";
    DFS_CLIENT_BLOCK_WRITE_RETRIES: Count "" "dfs.client.block.write.retries" = Some("3"),
        "New blocks tried when a pipeline cannot be made.";
    DFS_CLIENT_LOCATE_FOLLOWING_BLOCK_RETRIES: Count "" "dfs.client.block.write.locateFollowingBlock.retries" = Some("5"),
        "Retries of addBlock and complete.";
    DFS_CLIENT_LOCATE_FOLLOWING_BLOCK_INITIAL_DELAY: Time "ms" "dfs.client.block.write.locateFollowingBlock.initial.delay.ms" = Some("400"),
        "First wait of these; doubles.";
    DFS_CLIENT_LOCATE_FOLLOWING_BLOCK_MAX_DELAY: Time "ms" "dfs.client.block.write.locateFollowingBlock.max.delay.ms" = Some("60000"),
        "Longest wait of these.";
    DFS_CLIENT_REPLACE_DATANODE_ENABLE: Bool "" "dfs.client.block.write.replace-datanode-on-failure.enable" = Some("true"),
        "Replace failed nodes of a pipeline.";
    DFS_CLIENT_REPLACE_DATANODE_POLICY: Text "" "dfs.client.block.write.replace-datanode-on-failure.policy" = Some("DEFAULT"),
        "NEVER, DEFAULT or ALWAYS.";
    DFS_CLIENT_REPLACE_DATANODE_BEST_EFFORT: Bool "" "dfs.client.block.write.replace-datanode-on-failure.best-effort" = Some("false"),
        "Go on when no replacement is found.";
    DFS_CLIENT_REPLACE_DATANODE_MIN_REPLICATION: Count "" "dfs.client.block.write.replace-datanode-on-failure.min-replication" = Some("0"),
        "Nodes with which to go on when no replacement is found.";
    DFS_CLIENT_WRITE_MAX_PACKETS_IN_FLIGHT: Count "" "dfs.client.write.max-packets-in-flight" = Some("80"),
        "Packets queued and unacked.";
    DFS_CLIENT_WRITE_EXCLUDE_NODES_CACHE_EXPIRY: Time "ms" "dfs.client.write.exclude.nodes.cache.expiry.interval.millis" = Some("600000"),
        "How long a failed node is avoided.";
    DFS_CLIENT_MAX_BLOCK_ACQUIRE_FAILURES: Count "" "dfs.client.max.block.acquire.failures" = Some("3"),
        "Rounds over all replicas of a block.";
    DFS_CLIENT_RETRY_WINDOW_BASE: Time "ms" "dfs.client.retry.window.base" = Some("3000"),
        "Wait between these rounds.";
    DFS_CLIENT_RETRY_TIMES_GET_LAST_BLOCK_LENGTH: Count "" "dfs.client.retry.times.get-last-block-length" = Some("3"),
        "Tries to learn the length of an open file.";
    DFS_CLIENT_RETRY_INTERVAL_GET_LAST_BLOCK_LENGTH: Time "ms" "dfs.client.retry.interval-ms.get-last-block-length" = Some("4000"),
        "Wait between these tries.";
    DFS_CLIENT_READ_PREFETCH_SIZE: OptText "bytes" "dfs.client.read.prefetch.size" = None,
        "Range of block locations asked at once; absent: ten blocks.";
    DFS_CLIENT_SOCKETCACHE_CAPACITY: Count "" "dfs.client.socketcache.capacity" = Some("16"),
        "Idle transfer connections kept.";
    DFS_CLIENT_SOCKETCACHE_EXPIRY: Time "ms" "dfs.client.socketcache.expiryMsec" = Some("3000"),
        "How long they are kept.";
    DFS_CLIENT_CACHED_CONN_RETRY: Count "" "dfs.client.cached.conn.retry" = Some("3"),
        "Kept connections tried before a new one.";
    DFS_CLIENT_HEDGED_READ_THREADPOOL_SIZE: Count "" "dfs.client.hedged.read.threadpool.size" = Some("0"),
        "Hedged reads at a time; 0: off.";
    DFS_CLIENT_HEDGED_READ_THRESHOLD: Time "ms" "dfs.client.hedged.read.threshold.millis" = Some("500"),
        "When a second replica is asked.";
    DFS_CLIENT_SLOW_IO_WARNING_THRESHOLD: Time "ms" "dfs.client.slow.io.warning.threshold.ms" = Some("30000"),
        "Acks slower than this are logged.";
    DFS_CLIENT_MARK_SLOWNODE_AS_BADNODE_THRESHOLD: Count "" "dfs.client.mark.slownode.as.badnode.threshold" = Some("10"),
        "Acks in a row in which a DataNode calls itself slow before writers leave it behind; 0: never.";
    DFS_CLIENT_DATANODE_RESTART_TIMEOUT: Time "s" "dfs.client.datanode-restart.timeout" = Some("30"),
        "How long a restarting DataNode is waited for.";
    DFS_CLIENT_CACHE_DROP_BEHIND_WRITES: OptText "" "dfs.client.cache.drop.behind.writes" = None,
        "true or false; absent: the DataNode decides.";
    DFS_CLIENT_CACHE_DROP_BEHIND_READS: OptText "" "dfs.client.cache.drop.behind.reads" = None,
        "true or false; absent: the DataNode decides.";
    DFS_CLIENT_CACHE_READAHEAD: OptText "bytes" "dfs.client.cache.readahead" = None,
        "Read-ahead asked of DataNodes; absent: they decide.";
    DFS_CLIENT_SERVER_DEFAULTS_VALIDITY_PERIOD: Time "ms" "dfs.client.server-defaults.validity.period.ms" = Some("3600000"),
        "How long server defaults are kept.";
    DFS_CLIENT_READ_SHORTCIRCUIT: Bool "" "dfs.client.read.shortcircuit" = Some("false"),
        "Read local replicas by passed descriptors.";
    DFS_DOMAIN_SOCKET_PATH: OptText "" "dfs.domain.socket.path" = None,
        "UNIX socket for short-circuit reads; `_PORT` is replaced.";
    DFS_CLIENT_DOMAIN_SOCKET_DATA_TRAFFIC: Bool "" "dfs.client.domain.socket.data.traffic" = Some("false"),
        "All local traffic over that socket.";
    DFS_CLIENT_READ_SHORTCIRCUIT_SKIP_CHECKSUM: Bool "" "dfs.client.read.shortcircuit.skip.checksum" = Some("false"),
        "Do not verify short-circuit reads.";
    DFS_CLIENT_READ_SHORTCIRCUIT_BUFFER_SIZE: Size "bytes" "dfs.client.read.shortcircuit.buffer.size" = Some("1048576"),
        "Buffer of short-circuit reads.";
    DFS_CLIENT_READ_SHORTCIRCUIT_STREAMS_CACHE_SIZE: Count "" "dfs.client.read.shortcircuit.streams.cache.size" = Some("256"),
        "Descriptors kept.";
    DFS_CLIENT_READ_SHORTCIRCUIT_STREAMS_CACHE_EXPIRY: Time "ms" "dfs.client.read.shortcircuit.streams.cache.expiry.ms" = Some("300000"),
        "How long they are kept.";
    DFS_DOMAIN_SOCKET_DISABLE_INTERVAL: Time "s" "dfs.domain.socket.disable.interval.seconds" = Some("600"),
        "How long a path that failed is left alone; 0: not at all.";
    DFS_CLIENT_MMAP_ENABLED: Bool "" "dfs.client.mmap.enabled" = Some("true"),
        "Whether blocks may be mapped for zero-copy reads.";
    DFS_CLIENT_MMAP_CACHE_SIZE: Count "" "dfs.client.mmap.cache.size" = Some("256"),
        "Mapped blocks kept that nobody reads.";
    DFS_CLIENT_MMAP_CACHE_TIMEOUT: Time "ms" "dfs.client.mmap.cache.timeout.ms" = Some("3600000"),
        "How long they stay mapped.";
    DFS_CLIENT_MMAP_RETRY_TIMEOUT: Time "ms" "dfs.client.mmap.retry.timeout.ms" = Some("300000"),
        "Wait after a block could not be mapped.";
    DFS_CLIENT_SHORT_CIRCUIT_REPLICA_STALE_THRESHOLD: Time "ms" "dfs.client.read.short.circuit.replica.stale.threshold.ms" = Some("1800000"),
        "Age at which descriptors without a slot in shared memory are asked for anew.";
    DFS_SHORT_CIRCUIT_SHARED_MEMORY_WATCHER_INTERRUPT_CHECK: Time "ms" "dfs.short.circuit.shared.memory.watcher.interrupt.check.ms" = Some("60000"),
        "0 or less: no shared memory with DataNodes. Hadron's watcher needs no such check.";
    // RPC.
    DFS_NAMENODE_HANDLER_COUNT: Count "" "dfs.namenode.handler.count" = Some("10"),
        "Handlers of the NameNode's RPC.";
    IPC_SERVER_HANDLER_QUEUE_SIZE: Count "" "ipc.server.handler.queue.size" = Some("100"),
        "Queued calls per handler.";
    IPC_MAXIMUM_DATA_LENGTH: Size "bytes" "ipc.maximum.data.length" = Some("134217728"),
        "Longest request.";
    IPC_MAXIMUM_RESPONSE_LENGTH: Size "bytes" "ipc.maximum.response.length" = Some("134217728"),
        "Longest response a client takes.";
    IPC_SERVER_LISTEN_QUEUE_SIZE: Count "" "ipc.server.listen.queue.size" = Some("256"),
        "Backlog of listeners.";
    IPC_SERVER_TCPNODELAY: Bool "" "ipc.server.tcpnodelay" = Some("true"),
        "TCP_NODELAY of servers.";
    IPC_CLIENT_TCPNODELAY: Bool "" "ipc.client.tcpnodelay" = Some("true"),
        "TCP_NODELAY of clients.";
    IPC_CLIENT_CONNECTION_MAXIDLETIME: Time "ms" "ipc.client.connection.maxidletime" = Some("10000"),
        "Clients close idle connections after this, servers after twice this.";
    IPC_CLIENT_IDLETHRESHOLD: Count "" "ipc.client.idlethreshold" = Some("4000"),
        "Connections above which servers close idle ones.";
    IPC_CLIENT_CONNECT_TIMEOUT: Time "ms" "ipc.client.connect.timeout" = Some("20000"),
        "Time-out of connecting.";
    IPC_CLIENT_CONNECT_MAX_RETRIES: Count "" "ipc.client.connect.max.retries" = Some("10"),
        "Retries of connecting.";
    IPC_CLIENT_CONNECT_RETRY_INTERVAL: Time "ms" "ipc.client.connect.retry.interval" = Some("1000"),
        "Wait between these.";
    IPC_CLIENT_CONNECT_MAX_RETRIES_ON_TIMEOUTS: Count "" "ipc.client.connect.max.retries.on.timeouts" = Some("45"),
        "Retries of connecting after time-outs.";
    IPC_CLIENT_PING: Bool "" "ipc.client.ping" = Some("true"),
        "Ping while waiting.";
    IPC_PING_INTERVAL: Time "ms" "ipc.ping.interval" = Some("60000"),
        "Between pings.";
    IPC_CLIENT_RPC_TIMEOUT: Time "ms" "ipc.client.rpc-timeout.ms" = Some("0"),
        "Time-out of a call; 0 with pings: none.";
    IPC_SERVER_MAX_CONNECTIONS: Count "" "ipc.server.max.connections" = Some("0"),
        "Most connections; 0: Hadron's own limit.";
    HADRON_IPC_SERVER_REACTORS: Count "" "hadron.ipc.server.reactors" = Some("0"),
        "Threads of an RPC server that own connections; 0: one for two cores. At most 64.";
    DFS_SUPPORT_APPEND: Bool "" "dfs.support.append" = Some("true"),
        "Whether files can be appended to.";
    DFS_NAMENODE_ENABLE_RETRYCACHE: Bool "" "dfs.namenode.enable.retrycache" = Some("true"),
        "Answer repeated calls from memory.";
    DFS_NAMENODE_RETRYCACHE_EXPIRYTIME: Time "ms" "dfs.namenode.retrycache.expirytime.millis" = Some("600000"),
        "How long answers are kept.";
    DFS_NAMENODE_RETRYCACHE_HEAP_PERCENT: Float "%" "dfs.namenode.retrycache.heap.percent" = Some("0.03"),
        "Java's bound of the cache; Hadron bounds by count.";
    HADOOP_CALLER_CONTEXT_ENABLED: Bool "" "hadoop.caller.context.enabled" = Some("false"),
        "Caller contexts in the audit log.";
    HADOOP_CALLER_CONTEXT_MAX_SIZE: Count "" "hadoop.caller.context.max.size" = Some("128"),
        "Characters of a caller's context in the audit log; the rest is cut off.";
    HADOOP_CALLER_CONTEXT_SIGNATURE_MAX_SIZE: Count "bytes" "hadoop.caller.context.signature.max.size" = Some("40"),
        "Longest signature of a caller's context in the audit log; longer ones are left out.";
    // Security and encryption.
    DFS_BLOCK_ACCESS_TOKEN_ENABLE: Bool "" "dfs.block.access.token.enable" = Some("false"),
        "DataNodes ask for block tokens.";
    DFS_BLOCK_ACCESS_KEY_UPDATE_INTERVAL: Time "min" "dfs.block.access.key.update.interval" = Some("600"),
        "How often the keys of block tokens change.";
    DFS_BLOCK_ACCESS_TOKEN_LIFETIME: Time "min" "dfs.block.access.token.lifetime" = Some("600"),
        "How long a block token is good.";
    DFS_BLOCK_ACCESS_TOKEN_PROTOBUF_ENABLE: Bool "" "dfs.block.access.token.protobuf.enable" = Some("false"),
        "Write block tokens as protobuf (3.x only).";
    DFS_ENCRYPT_DATA_TRANSFER: Bool "" "dfs.encrypt.data.transfer" = Some("false"),
        "Encrypt data transfer.";
    DFS_DATA_TRANSFER_PROTECTION: OptText "" "dfs.data.transfer.protection" = None,
        "SASL protection of data transfer.";
    HADOOP_SECURITY_KEY_PROVIDER_PATH: OptText "" "hadoop.security.key.provider.path" = None,
        "Key server for encryption zones.";
    DFS_HTTP_POLICY: Text "" "dfs.http.policy" = Some("HTTP_ONLY"),
        "HTTP_ONLY, HTTPS_ONLY or HTTP_AND_HTTPS.";
    DFS_WEBHDFS_ENABLED: Bool "" "dfs.webhdfs.enabled" = Some("true"),
        "Serve WebHDFS.";
    DFS_WEBHDFS_USER_PATTERN: Text "" "dfs.webhdfs.user.provider.user.pattern" = Some("^[A-Za-z_][A-Za-z0-9._-]*[$]?$"),
        "Names WebHDFS accepts.";
    // Audit and metrics.
    DFS_NAMENODE_AUDIT_LOG_ASYNC: Bool "" "dfs.namenode.audit.log.async" = Some("false"),
        "Write the audit log in the background.";
    DFS_NAMENODE_AUDIT_LOG_DEBUG_CMDLIST: List "" "dfs.namenode.audit.log.debug.cmdlist" = None,
        "Commands audited at DEBUG only: they are left out.";
    DFS_NAMENODE_AUDIT_LOG_TOKEN_TRACKING_ID: Bool "" "dfs.namenode.audit.log.token.tracking.id" = Some("false"),
        "A field trackingId in the audit log.";
    DFS_NAMENODE_AUDIT_LOG_WITH_REMOTE_PORT: Bool "" "dfs.namenode.audit.log.with.remote.port" = Some("false"),
        "The caller's port in its context in the audit log.";
    HADRON_DOMAIN_SOCKET_CHECK_DIRECTORIES: Bool "" "hadron.domain.socket.check-directories" = Some("true"),
        "Refuse a socket path below a directory that others may write to.";
    HADRON_AUDIT_LOG_FILE: OptText "" "hadron.audit.log.file" = None,
        "File for the audit log, in the format of Hadoop's hdfs-audit.log; a relative one is below hadoop.log.dir. Unset: none.";
    HADRON_AUDIT_LOG_MAX_FILE_SIZE: Size "bytes" "hadron.audit.log.max-file-size" = Some("268435456"),
        "Length at which the audit log goes on in a new file (log4j's hdfs.audit.log.maxfilesize).";
    HADRON_AUDIT_LOG_MAX_BACKUPS: Count "" "hadron.audit.log.max-backup-index" = Some("20"),
        "Older files of the audit log that are kept (log4j's hdfs.audit.log.maxbackupindex).";
    DFS_NAMENODE_TOP_ENABLED: Bool "" "dfs.namenode.top.enabled" = Some("true"),
        "Count operations by user.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_defaults_parse() {
        let mut names = HashSet::new();
        for info in ALL {
            assert!(names.insert(info.name), "{} twice", info.name);
            assert!(!info.doc.is_empty());
            if let Some(default) = info.default {
                (info.check)(default, info).unwrap_or_else(|reason| panic!("{}: {reason}", info.name));
            }
        }
        assert_eq!(find("dfs.blocksize").unwrap().kind, "size");
    }
}
