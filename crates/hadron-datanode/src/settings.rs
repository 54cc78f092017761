//! A DataNode's settings as plain values, read once from the configuration.
//!
//! Does not resolve host names and opens nothing. Defaults are those of the key table.

use crate::cache::CacheSettings;
use crate::error::StartError;
use crate::scan::{DirectoryScanSettings, ScanSettings};
use hadron_env::config::{Configuration, DataDir, HostPort, keys};
use hadron_replica::{CheckOptions, ChoosingPolicy, PoolOptions, Reserve, ReserveRule, StoreOptions, VolumeSpec};
use std::time::Duration;

/// Version this DataNode reports; peers of all releases from 2.7 on accept it.
pub const SOFTWARE_VERSION: &str = "3.3.6";

/// Port of lifelines where an address names none.
const DEFAULT_LIFELINE_PORT: u16 = 8050;

/// How a replica's bytes get into a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SendEngineKind {
    /// `pread` and `writev`; the faster one on loopback (`cargo run --release -p hadron-datanode --example loopback`).
    #[default]
    Copy,
    /// `sendfile`.
    Sendfile,
}

/// Everything configurable.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Storage directories.
    pub volumes: Vec<VolumeSpec>,
    /// Settings of the replica store.
    pub store: StoreOptions,
    /// Where data transfer listens.
    pub xfer: HostPort,
    /// Where RPC listens.
    pub ipc: HostPort,
    /// Where HTTP listens.
    pub http: HostPort,
    /// The name to register with; the machine's when `None`.
    pub hostname: Option<String>,
    /// Per nameservice the addresses of its NameNodes.
    pub nameservices: Vec<Vec<HostPort>>,
    /// The lifeline addresses of the same NameNodes; `None` where there is none.
    pub lifelines: Vec<Vec<Option<HostPort>>>,
    /// How long without a heartbeat until a lifeline is sent.
    pub lifeline_interval: Duration,
    /// The user that calls the NameNode.
    pub user: String,
    /// Time between heartbeats.
    pub heartbeat_interval: Duration,
    /// Time between full block reports.
    pub block_report_interval: Duration,
    /// The first full report comes up to that much later, so that a cluster's do not all come at once.
    pub block_report_initial_delay: Duration,
    /// Least time between two reports of single replicas.
    pub incremental_report_interval: Duration,
    /// Blocks from which on each storage gets its own report call.
    pub block_report_split_threshold: usize,
    /// Bytes per second for balancing, until the NameNode says otherwise.
    pub balance_bandwidth: u64,
    /// Moves for balancing at a time.
    pub balance_moves: usize,
    /// Whether replicas that clients want to stay are left where they are.
    pub block_pinning: bool,
    /// The block scanner.
    pub block_scan: ScanSettings,
    /// Replicas locked in memory.
    pub cache: CacheSettings,
    /// The directory scanner.
    pub directory_scan: DirectoryScanSettings,
    /// Most data connections, parked ones included.
    pub max_xceivers: usize,
    /// How long an idle connection is kept for its next operation; zero: not at all.
    pub keepalive: Duration,
    /// Read time-out of data sockets, and time for the first operation.
    pub socket_timeout: Duration,
    /// Write time-out of data sockets; zero: none.
    pub write_timeout: Duration,
    /// How long after an announced restart an open replica is still its pipeline's.
    pub restart_replica_expiration: Duration,
    /// How long an operation waits for its block pool.
    pub pool_ready_timeout: Duration,
    /// Bytes to read ahead of a long read; 0: leave it to the kernel.
    pub readahead: u64,
    /// Whether the cache forgets what was read.
    pub drop_behind_reads: bool,
    /// Whether the cache forgets what was written.
    pub drop_behind_writes: bool,
    /// Whether the system begins early to write out what was written.
    pub sync_behind_writes: bool,
    /// Steps of receiving a block that take longer are logged.
    pub slow_io_threshold: Duration,
    /// How replicas are sent.
    pub send_engine: SendEngineKind,
    /// Whether own block tokens are written as protobuf.
    pub token_protobuf: bool,
    /// Users who may ask where block files are.
    pub local_path_users: Vec<String>,
    /// Whether administrative calls are for superusers only.
    pub permissions_enabled: bool,
    /// The group of superusers.
    pub supergroup: String,
    /// Whether other DataNodes are reached by name instead of address.
    pub connect_by_hostname: bool,
    /// Where the Unix socket for clients on this machine is, `_PORT` in it standing for the transfer port; `None`: there is none.
    pub domain_socket_path: Option<String>,
    /// Whether all directories above that socket must be safe from others.
    pub check_domain_socket_directories: bool,
}

impl Settings {
    /// Reads all keys.
    ///
    /// Errors: a value is malformed, or no NameNode is named.
    pub fn from_configuration(conf: &Configuration) -> Result<Self, StartError> {
        let rule = reserve_rule(&conf.get(keys::DFS_DATANODE_DU_RESERVED_CALCULATOR))?;
        let volumes = conf.data_dirs()?.into_iter().map(|dir| VolumeSpec {
            reserve: reserve(conf, rule, &dir),
            dir: dir.path,
            storage_type: dir.storage_type,
        });
        let heartbeat_interval = conf.get(keys::DFS_HEARTBEAT_INTERVAL);
        let permissions = conf.get(keys::DFS_DATANODE_DATA_DIR_PERM);
        let permissions = u32::from_str_radix(&permissions, 8)
            .map_err(|_| StartError::Setting(format!("dfs.datanode.data.dir.perm {permissions} is not octal")))?;
        Ok(Self {
            volumes: volumes.collect(),
            store: StoreOptions {
                permissions,
                failed_volumes_tolerated: conf.get(keys::DFS_DATANODE_FAILED_VOLUMES_TOLERATED),
                check: CheckOptions {
                    min_gap: conf.get(keys::DFS_DATANODE_DISK_CHECK_MIN_GAP),
                    timeout: conf.get(keys::DFS_DATANODE_DISK_CHECK_TIMEOUT),
                },
                replicas: PoolOptions {
                    sync_on_close: conf.get(keys::DFS_DATANODE_SYNCONCLOSE),
                    stop_writer_patience: conf.get(keys::DFS_DATANODE_XCEIVER_STOP_TIMEOUT),
                    expected_len: conf.get(keys::DFS_BLOCKSIZE),
                    choosing: choosing_policy(conf)?,
                },
            },
            xfer: conf.address(keys::DFS_DATANODE_ADDRESS)?,
            ipc: conf.address(keys::DFS_DATANODE_IPC_ADDRESS)?,
            http: conf.address(keys::DFS_DATANODE_HTTP_ADDRESS)?,
            hostname: conf.get(keys::DFS_DATANODE_HOSTNAME),
            nameservices: nameservices(conf)?,
            lifelines: lifelines(conf)?,
            lifeline_interval: lifeline_interval(conf, heartbeat_interval)?,
            user: conf.user_name().to_owned(),
            heartbeat_interval,
            block_report_interval: conf.get(keys::DFS_BLOCKREPORT_INTERVAL),
            block_report_initial_delay: conf.get(keys::DFS_BLOCKREPORT_INITIAL_DELAY),
            incremental_report_interval: conf.get(keys::DFS_BLOCKREPORT_INCREMENTAL_INTERVAL),
            block_report_split_threshold: conf.get(keys::DFS_BLOCKREPORT_SPLIT_THRESHOLD),
            block_scan: ScanSettings::from_configuration(conf)?,
            cache: CacheSettings::from_configuration(conf)?,
            directory_scan: DirectoryScanSettings::from_configuration(conf),
            max_xceivers: conf.get(keys::DFS_DATANODE_MAX_TRANSFER_THREADS),
            keepalive: conf.get(keys::DFS_DATANODE_SOCKET_REUSE_KEEPALIVE),
            socket_timeout: conf.get(keys::DFS_CLIENT_SOCKET_TIMEOUT),
            write_timeout: conf.get(keys::DFS_DATANODE_SOCKET_WRITE_TIMEOUT),
            restart_replica_expiration: conf.get(keys::DFS_DATANODE_RESTART_REPLICA_EXPIRATION),
            pool_ready_timeout: conf.get(keys::DFS_DATANODE_BP_READY_TIMEOUT),
            readahead: conf.get(keys::DFS_DATANODE_READAHEAD_BYTES),
            drop_behind_reads: conf.get(keys::DFS_DATANODE_DROP_CACHE_BEHIND_READS),
            drop_behind_writes: conf.get(keys::DFS_DATANODE_DROP_CACHE_BEHIND_WRITES),
            sync_behind_writes: conf.get(keys::DFS_DATANODE_SYNC_BEHIND_WRITES),
            slow_io_threshold: conf.get(keys::DFS_DATANODE_SLOW_IO_WARNING_THRESHOLD),
            send_engine: send_engine(conf)?,
            token_protobuf: conf.get(keys::DFS_BLOCK_ACCESS_TOKEN_PROTOBUF_ENABLE),
            local_path_users: conf.get(keys::DFS_BLOCK_LOCAL_PATH_ACCESS_USER),
            permissions_enabled: conf.get(keys::DFS_PERMISSIONS_ENABLED),
            supergroup: conf.get(keys::DFS_PERMISSIONS_SUPERUSERGROUP),
            balance_bandwidth: conf.get(keys::DFS_DATANODE_BALANCE_BANDWIDTH),
            balance_moves: conf.get(keys::DFS_DATANODE_BALANCE_MAX_CONCURRENT_MOVES),
            block_pinning: conf.get(keys::DFS_DATANODE_BLOCK_PINNING_ENABLED),
            connect_by_hostname: conf.get(keys::DFS_DATANODE_USE_DATANODE_HOSTNAME),
            domain_socket_path: domain_socket_path(conf),
            check_domain_socket_directories: conf.get(keys::HADRON_DOMAIN_SOCKET_CHECK_DIRECTORIES),
        })
    }
}

/// The path of the Unix socket, if clients shall have one.
fn domain_socket_path(conf: &Configuration) -> Option<String> {
    let wanted = conf.get(keys::DFS_CLIENT_READ_SHORTCIRCUIT) || conf.get(keys::DFS_CLIENT_DOMAIN_SOCKET_DATA_TRAFFIC);
    let path = conf
        .get(keys::DFS_DOMAIN_SOCKET_PATH)
        .map(|path| path.trim().to_owned());
    let path = path.filter(|path| wanted && !path.is_empty());
    if path.is_none() && conf.get(keys::DFS_CLIENT_READ_SHORTCIRCUIT) {
        tracing::warn!(
            "Although short-circuit local reads are configured, they are disabled because you didn't configure \
             dfs.domain.socket.path"
        );
    }
    path
}

/// The engine that `dfs.datanode.transferTo.allowed` names when somebody set it, else the measured default.
fn send_engine(conf: &Configuration) -> Result<SendEngineKind, StartError> {
    let key = keys::DFS_DATANODE_TRANSFERTO_ALLOWED;
    if !conf.contains(key) {
        return Ok(SendEngineKind::default());
    }
    Ok(match conf.try_get(key)? {
        true => SendEngineKind::Sendfile,
        false => SendEngineKind::Copy,
    })
}

fn reserve_rule(class: &str) -> Result<ReserveRule, StartError> {
    [
        ("Absolute", ReserveRule::Absolute),
        ("Percentage", ReserveRule::Percentage),
        ("Conservative", ReserveRule::Conservative),
        ("Aggressive", ReserveRule::Aggressive),
    ]
    .into_iter()
    .find_map(|(name, rule)| class.ends_with(name).then_some(rule))
    .ok_or_else(|| {
        StartError::Setting(format!(
            "dfs.datanode.du.reserved.calculator: no calculator is called {class}"
        ))
    })
}

/// The reserve of one volume: the keys may be suffixed by directory and storage type, the most specific one counts.
fn reserve(conf: &Configuration, rule: ReserveRule, dir: &DataDir) -> Reserve {
    let (path, kind) = (dir.path.display(), dir.storage_type.name().to_ascii_lowercase());
    let suffixes = [format!("{path}.{kind}"), path.to_string(), kind.clone()];
    let suffix = |key: &str| {
        let mut set = suffixes
            .iter()
            .filter(|suffix| conf.contains(format!("{key}.{suffix}")));
        set.next().cloned().unwrap_or_else(|| kind.clone())
    };
    let (bytes, percent) = (keys::DFS_DATANODE_DU_RESERVED, keys::DFS_DATANODE_DU_RESERVED_PCT);
    Reserve {
        bytes: conf.get_suffixed(bytes, &suffix(bytes.name())),
        percent: u64::try_from(conf.get_suffixed(percent, &suffix(percent.name()))).unwrap_or(0),
        rule,
    }
}

fn choosing_policy(conf: &Configuration) -> Result<ChoosingPolicy, StartError> {
    let class = conf.get(keys::DFS_DATANODE_VOLUME_CHOOSING_POLICY);
    if class.contains("RoundRobin") {
        let spare = conf.get(keys::DFS_DATANODE_ROUND_ROBIN_SPARE);
        return Ok(ChoosingPolicy::RoundRobin { spare });
    }
    if class.contains("AvailableSpace") {
        let preference = conf.get(keys::DFS_DATANODE_AVAILABLE_SPACE_PREFERENCE);
        if !(0.0..=1.0).contains(&preference) {
            let name = keys::DFS_DATANODE_AVAILABLE_SPACE_PREFERENCE.name();
            return Err(StartError::Setting(format!(
                "{name} is {preference}, not between 0 and 1"
            )));
        }
        return Ok(ChoosingPolicy::AvailableSpace {
            threshold: conf.get(keys::DFS_DATANODE_AVAILABLE_SPACE_THRESHOLD),
            preference: preference as f32,
        });
    }
    Err(StartError::Setting(format!(
        "dfs.datanode.fsdataset.volume.choosing.policy: no policy is called {class}; there are RoundRobin and \
         AvailableSpace"
    )))
}

fn lifeline_interval(conf: &Configuration, heartbeat: Duration) -> Result<Duration, StartError> {
    let Some(text) = conf.get(keys::DFS_DATANODE_LIFELINE_INTERVAL) else {
        return Ok(heartbeat * 3);
    };
    match text.trim().trim_end_matches(['s', 'S']).parse() {
        Ok(seconds) if Duration::from_secs(seconds) > heartbeat => Ok(Duration::from_secs(seconds)),
        _ => Err(StartError::Setting(format!(
            "dfs.datanode.lifeline.interval.seconds is {text}; it must be seconds, and more than dfs.heartbeat.interval"
        ))),
    }
}

/// Lifeline addresses in the order of [`nameservices`].
fn lifelines(conf: &Configuration) -> Result<Vec<Vec<Option<HostPort>>>, StartError> {
    let base = keys::DFS_NAMENODE_LIFELINE_RPC_ADDRESS;
    let parse = |text: String| {
        HostPort::parse(&text, DEFAULT_LIFELINE_PORT)
            .map_err(|reason| StartError::Setting(format!("{}: {reason}", base.name())))
    };
    let names = conf.get(keys::DFS_NAMESERVICES);
    if names.is_empty() {
        return Ok(vec![vec![conf.get(base).map(parse).transpose()?]]);
    }
    let of_nameservice = |name: &String| {
        let ids = conf.text(format!("dfs.ha.namenodes.{name}")).unwrap_or_default();
        let ids: Vec<&str> = ids.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
        let texts = match ids.is_empty() {
            true => vec![conf.text(format!("{}.{name}", base.name()))],
            false => ids
                .iter()
                .map(|id| conf.text(format!("{}.{name}.{id}", base.name())))
                .collect(),
        };
        texts.into_iter().map(|text| text.map(parse).transpose()).collect()
    };
    names.iter().map(of_nameservice).collect()
}

/// The NameNodes to serve: every configured nameservice, else the one NameNode.
pub(crate) fn nameservices(conf: &Configuration) -> Result<Vec<Vec<HostPort>>, StartError> {
    let names = conf.get(keys::DFS_NAMESERVICES);
    if names.is_empty() {
        return Ok(vec![vec![conf.namenode_service_rpc_address()?]]);
    }
    names
        .iter()
        .map(|name| conf.namenode_addresses(name).map_err(StartError::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sendfile_is_used_when_asked_for_and_not_when_forbidden() {
        for (value, engine) in [
            (None, SendEngineKind::default()),
            (Some("true"), SendEngineKind::Sendfile),
            (Some("false"), SendEngineKind::Copy),
        ] {
            let mut conf = Configuration::new();
            conf.set("fs.defaultFS", "hdfs://127.0.0.1:8020");
            if let Some(value) = value {
                conf.set("dfs.datanode.transferTo.allowed", value);
            }
            assert_eq!(
                Settings::from_configuration(&conf).unwrap().send_engine,
                engine,
                "{value:?}"
            );
        }
    }

    fn settings(values: &[(&str, &str)]) -> Result<Settings, StartError> {
        let mut conf = Configuration::new();
        conf.set("fs.defaultFS", "hdfs://127.0.0.1:8020");
        for (key, value) in values {
            conf.set(key, *value);
        }
        Settings::from_configuration(&conf)
    }

    #[test]
    fn volumes_have_their_types_and_reserves() {
        let found = settings(&[
            (
                "dfs.datanode.data.dir",
                "[SSD]file:///a,/b,[ram_disk]/c , [ARCHIVE]file:///d,[NVDIMM]/e",
            ),
            ("dfs.datanode.du.reserved", "1k"),
            ("dfs.datanode.du.reserved.ssd", "2k"),
            ("dfs.datanode.du.reserved.ram_disk", "3k"),
            ("dfs.datanode.du.reserved./d", "4k"),
            ("dfs.datanode.du.reserved./e.nvdimm", "5k"),
            ("dfs.datanode.du.reserved.pct", "7"),
            ("dfs.datanode.du.reserved.pct.archive", "8"),
            (
                "dfs.datanode.du.reserved.calculator",
                "org.apache.hadoop.hdfs.server.datanode.fsdataset.impl.ReservedSpaceCalculator$ReservedSpaceCalculatorConservative",
            ),
        ])
        .unwrap();
        let rows = found.volumes.iter().map(|v| {
            let text = format!("{} {}", v.storage_type.name(), v.dir.display());
            (text, v.reserve.bytes >> 10, v.reserve.percent)
        });
        let rows: Vec<_> = rows.collect();
        let expected = [
            ("SSD /a", 2, 7),
            ("DISK /b", 1, 7),
            ("RAM_DISK /c", 3, 7),
            ("ARCHIVE /d", 4, 8),
            ("NVDIMM /e", 5, 7),
        ];
        assert_eq!(rows, expected.map(|(text, k, percent)| (text.to_owned(), k, percent)));
        assert_eq!(found.volumes[0].reserve.rule, ReserveRule::Conservative);
    }

    #[test]
    fn unknown_policies_and_intervals_are_refused() {
        let key = "dfs.datanode.fsdataset.volume.choosing.policy";
        let class = "org.apache.hadoop.hdfs.server.datanode.fsdataset.AvailableSpaceVolumeChoosingPolicy";
        let found = settings(&[(key, class)]).unwrap().store.replicas.choosing;
        let expected = ChoosingPolicy::AvailableSpace {
            threshold: 10 << 30,
            preference: 0.75,
        };
        assert_eq!(found, expected);
        for (key, value) in [
            (key, "Best"),
            ("dfs.datanode.lifeline.interval.seconds", "2"),
            ("dfs.datanode.du.reserved.calculator", "x"),
        ] {
            assert!(settings(&[(key, value)]).is_err(), "{key}={value}");
        }
        let lifeline = settings(&[("dfs.namenode.lifeline.rpc-address", "h:8050")]).unwrap();
        assert_eq!(lifeline.lifelines[0][0].as_ref().unwrap().port, 8050);
        assert_eq!(lifeline.lifeline_interval, lifeline.heartbeat_interval * 3);
    }
}
