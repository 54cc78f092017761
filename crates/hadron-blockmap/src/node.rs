//! DataNodes and their storages as the NameNode sees them.
//!
//! Plain descriptions: identity, addresses, rack, figures of the last heartbeat, administrative state.
//! Storages hold the reverse index (their blocks); both live in slabs, so that an index of a storage fits a replica.

use crate::command::TransferTask;
use crate::invalidate::Invalidations;
use crate::paged::PagedList;
use core::net::IpAddr;
use hadron_types::{DatanodeUuid, StorageId, StorageType, TimeMs};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// The rack of every host for which no mapping says otherwise.
pub const DEFAULT_RACK: &str = "/default-rack";

/// Who a DataNode is and where it listens (`DatanodeIDProto`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatanodeId {
    /// The address as the NameNode saw it in the registration.
    pub ip: IpAddr,
    /// The host name it gave.
    pub host_name: Box<str>,
    /// Its identity, kept across restarts.
    pub uuid: DatanodeUuid,
    /// Port of the transfer service.
    pub xfer_port: u16,
    /// HTTP port.
    pub info_port: u16,
    /// HTTPS port, 0 for none.
    pub info_secure_port: u16,
    /// RPC port.
    pub ipc_port: u16,
}

impl DatanodeId {
    /// `ip:xferPort`, Hadoop's name of a node in logs and in favoured-node lists.
    pub fn xfer_addr(&self) -> String {
        format!("{}:{}", self.ip, self.xfer_port)
    }
}

/// Administrative state (`DatanodeInfoProto.AdminState`); the numbers are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum AdminState {
    /// In service.
    #[default]
    Normal = 0,
    /// Being emptied.
    DecommissionInProgress = 1,
    /// Empty; may be stopped.
    Decommissioned = 2,
    /// About to be in maintenance.
    EnteringMaintenance = 3,
    /// Expected to come back.
    InMaintenance = 4,
}

/// Figures of the last heartbeat. Bytes unless the name says otherwise; sums over the node's storages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeStats {
    /// Bytes configured for HDFS.
    pub capacity: u64,
    /// Bytes used by blocks.
    pub dfs_used: u64,
    /// Bytes used by others.
    pub non_dfs_used: u64,
    /// Bytes left.
    pub remaining: u64,
    /// Bytes used by this block pool.
    pub block_pool_used: u64,
    /// Bytes of cache.
    pub cache_capacity: u64,
    /// Bytes of cache in use.
    pub cache_used: u64,
    /// Active transfer threads.
    pub xceivers: u32,
    /// Transfers the node makes on command.
    pub xmits: u32,
    /// Volumes that failed.
    pub failed_volumes: u32,
    /// Time of the last heartbeat or registration.
    pub last_update: TimeMs,
    /// Time of the last full block report; 0 for none yet.
    pub last_block_report: TimeMs,
    /// Replicas known of the node.
    pub blocks: u64,
}

/// A copyable view of a DataNode, cheap to clone.
#[derive(Clone, PartialEq, Debug)]
pub struct DatanodeInfo {
    /// Identity and addresses.
    pub id: Arc<DatanodeId>,
    /// Rack, e.g. `/default-rack`.
    pub rack: Arc<str>,
    /// Figures.
    pub stats: NodeStats,
    /// Administrative state.
    pub admin: AdminState,
    /// Its upgrade domain, if the hosts file gives one.
    pub upgrade_domain: Option<Arc<str>>,
    /// Whether it counts as alive.
    pub alive: bool,
    /// Whether it has been silent for the stale interval.
    pub stale: bool,
}

/// A DataNode with its storages, as `getDatanodeStorageReport` wants it.
#[derive(Clone, PartialEq, Debug)]
pub struct DatanodeReport {
    /// The node.
    pub info: DatanodeInfo,
    /// The version it registered with.
    pub software_version: Arc<str>,
    /// Its storages.
    pub storages: Vec<StorageReport>,
    /// How far its leaving is, while it is watched.
    pub leaving: Option<LeavingProgress>,
    /// Its failed volumes, if it told of any.
    pub volume_failures: Option<Arc<VolumeFailures>>,
    /// Nodes it finds slow.
    pub slow_peers: Vec<SlowPeer>,
}

/// What keeps a node from leaving, as the last look through its blocks found it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeavingProgress {
    /// When its leaving began.
    pub started: TimeMs,
    /// Blocks with too few replicas elsewhere.
    pub under_replicated: u64,
    /// Of these, blocks with no replica on a node in service.
    pub out_of_service_only: u64,
    /// Of these, blocks of files open for writing.
    pub in_open_files: u64,
    /// The files those belong to.
    pub open_files: u64,
}

/// What a DataNode tells of its failed volumes (`VolumeFailureSummaryProto`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VolumeFailures {
    /// Directories that failed, at most [`VolumeFailures::MAX_LOCATIONS`].
    pub locations: Vec<String>,
    /// When the last one did, ms since 1970.
    pub last_failure: u64,
    /// Estimate of the capacity lost, bytes.
    pub capacity_lost: u64,
}

impl VolumeFailures {
    /// Most directories kept of one node.
    pub const MAX_LOCATIONS: usize = 256;
}

/// A node that another one finds slow (`SlowPeerReportProto`).
#[derive(Clone, PartialEq, Debug)]
pub struct SlowPeer {
    /// Which, as the reporter names it: `host:port`.
    pub name: Box<str>,
    /// Its aggregate latency in ms.
    pub latency_ms: f64,
}

impl SlowPeer {
    /// Most slow peers kept of one reporter (Hadoop keeps the five slowest for its page).
    pub const MAX_KEPT: usize = 64;
}

/// State of a storage (`DatanodeStorageProto`, and our own mark for failed ones).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum StorageState {
    /// In use.
    #[default]
    Normal,
    /// Shared, read only: its replicas never count.
    ReadOnlyShared,
    /// The DataNode said it failed, or no longer mentions it.
    Failed,
}

/// How reports and heartbeats name a storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageDescription {
    /// Its identity.
    pub id: StorageId,
    /// Medium.
    pub kind: StorageType,
    /// State.
    pub state: StorageState,
}

/// One storage in a heartbeat (`StorageReportProto`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageReport {
    /// Which storage.
    pub storage: StorageDescription,
    /// Bytes.
    pub capacity: u64,
    /// Bytes used by blocks.
    pub dfs_used: u64,
    /// Bytes left.
    pub remaining: u64,
    /// Bytes used by this block pool.
    pub block_pool_used: u64,
    /// Bytes used by others.
    pub non_dfs_used: u64,
}

/// Index of a node in the slab of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct NodeIndex(pub(crate) u32);

/// Index of a storage in the slab of storages. Only 24 bits are used, see `replicas`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct StorageIndex(pub(crate) u32);

/// A storage with the blocks known on it.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) node: NodeIndex,
    pub(crate) report: StorageReport,
    /// Slots of the blocks on it; order is free but for the mark of a running full report.
    pub(crate) blocks: PagedList<u32>,
    /// Positions below this were named by the running full report.
    pub(crate) seen: usize,
    /// Number of the full report that runs, to tell it from one it superseded.
    pub(crate) running_report: Option<u64>,
    /// True until the first full report: surplus replicas of such storages are left alone.
    pub(crate) contents_stale: bool,
    /// Whether its replicas are being forgotten in slices.
    pub(crate) draining: bool,
}

/// A DataNode.
#[derive(Debug)]
pub(crate) struct Datanode {
    pub(crate) id: Arc<DatanodeId>,
    pub(crate) rack: Arc<str>,
    pub(crate) software_version: Arc<str>,
    pub(crate) stats: NodeStats,
    pub(crate) admin: AdminState,
    /// End of the maintenance it is in or enters.
    pub(crate) maintenance_until: TimeMs,
    /// How far its leaving is, while it is watched.
    pub(crate) leaving: Option<LeavingProgress>,
    /// Whether it left the include list: its next heartbeat is its last.
    pub(crate) disallowed: bool,
    pub(crate) upgrade_domain: Option<Arc<str>>,
    pub(crate) volume_failures: Option<Arc<VolumeFailures>>,
    pub(crate) slow_peers: Vec<SlowPeer>,
    /// The full report that comes in several calls.
    pub(crate) split_report: Option<SplitReport>,
    /// Bandwidth for balancing, bytes/s, to be told with the next heartbeat.
    pub(crate) bandwidth: Option<u64>,
    /// Deletions it may still be ordered before its next turn.
    pub(crate) deletions_allowed: usize,
    pub(crate) alive: bool,
    pub(crate) storages: Vec<StorageIndex>,
    /// Replicas to delete, sent a bounded number per heartbeat.
    pub(crate) invalidate: Invalidations,
    /// Copies it is to make, sent as its streams allow; at most `max_streams_hard`.
    pub(crate) transfers: VecDeque<TransferTask>,
    pub(crate) scheduled: Scheduled,
}

/// What has come of a full report in several calls.
#[derive(Debug, Default)]
pub(crate) struct SplitReport {
    /// Its number, given by the DataNode.
    pub(crate) id: i64,
    /// Calls that came, by number; at most [`crate::cluster::MAX_STORAGES_PER_NODE`].
    pub(crate) came: BTreeSet<u32>,
    /// Storages they named.
    pub(crate) named: Vec<StorageId>,
}

/// Blocks promised to a node and not yet reported, by medium; forgotten after two intervals, should they never come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scheduled {
    current: [u32; KINDS],
    previous: [u32; KINDS],
    rolled: TimeMs,
}

/// Wire numbers of media run from 1; 0 is not used.
const KINDS: usize = StorageType::Nvdimm as usize + 1;

impl Scheduled {
    /// Hadoop's `BLOCKS_SCHEDULED_ROLL_INTERVAL`.
    const INTERVAL_MS: u64 = 600_000;

    pub(crate) fn count(&self, kind: StorageType) -> u64 {
        u64::from(self.current[kind as usize]) + u64::from(self.previous[kind as usize])
    }
    pub(crate) fn add(&mut self, kind: StorageType, now: TimeMs) {
        self.roll(now);
        let current = &mut self.current[kind as usize];
        *current = current.saturating_add(1);
    }
    pub(crate) fn remove(&mut self, kind: StorageType, now: TimeMs) {
        self.roll(now);
        let (current, previous) = (&mut self.current[kind as usize], &mut self.previous[kind as usize]);
        if *previous > 0 {
            *previous -= 1;
        } else {
            *current = current.saturating_sub(1);
        }
    }
    fn roll(&mut self, now: TimeMs) {
        if now.since(self.rolled) > Self::INTERVAL_MS {
            self.previous = std::mem::take(&mut self.current);
            self.rolled = now;
        }
    }
}
