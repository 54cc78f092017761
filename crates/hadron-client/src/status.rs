//! What the NameNode tells about files, as plain values.

use hadron_proto::hdfs as proto;
use hadron_types::{FsPath, FsPermission, InodeId, TimeMs};

/// File, directory or symbolic link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// A symbolic link.
    Symlink,
}

/// One file or directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileStatus {
    /// Its full path.
    pub path: FsPath,
    /// What it is.
    pub kind: FileKind,
    /// Bytes of a file; 0 for directories. A last block still being written is not counted.
    pub len: u64,
    /// Mode bits.
    pub permission: FsPermission,
    /// Whether an ACL extends the mode bits (`ls` shows a `+`).
    pub has_acl: bool,
    /// Owner.
    pub owner: String,
    /// Group.
    pub group: String,
    /// Last modification.
    pub modified: TimeMs,
    /// Last access.
    pub accessed: TimeMs,
    /// Replicas wanted; 0 for directories.
    pub replication: u32,
    /// Block size; 0 for directories.
    pub block_size: u64,
    /// The inode.
    pub inode: InodeId,
    /// Children of a directory, if the server told.
    pub children: Option<u32>,
    /// Storage policy id; 0 = not told.
    pub storage_policy: u32,
}

impl FileStatus {
    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Directory
    }
    /// Whether this is a file.
    pub fn is_file(&self) -> bool {
        self.kind == FileKind::File
    }
    /// The last component; empty for the root.
    pub fn name(&self) -> &str {
        self.path.name().unwrap_or("")
    }

    /// Reads a status; `parent` is the path asked for, below which the status names its object, or the object itself
    /// when it has no name.
    pub(crate) fn from_proto(status: &proto::HdfsFileStatusProto, parent: &FsPath) -> Self {
        let kind = match status.file_type() {
            proto::hdfs_file_status_proto::FileType::IsDir => FileKind::Directory,
            proto::hdfs_file_status_proto::FileType::IsFile => FileKind::File,
            proto::hdfs_file_status_proto::FileType::IsSymlink => FileKind::Symlink,
        };
        let path = if status.path.is_empty() {
            parent.clone()
        } else {
            parent.join(&String::from_utf8_lossy(&status.path))
        };
        const ACL_BIT_OF_2X: u32 = 0x1000;
        let acl_flag = proto::hdfs_file_status_proto::Flags::HasAcl as u32;
        Self {
            path,
            kind,
            len: status.length,
            permission: FsPermission::from_wire(status.permission.perm),
            has_acl: status.flags() & acl_flag != 0 || status.permission.perm & ACL_BIT_OF_2X != 0,
            owner: status.owner.clone(),
            group: status.group.clone(),
            modified: TimeMs(status.modification_time),
            accessed: TimeMs(status.access_time),
            replication: status.block_replication(),
            block_size: status.blocksize(),
            inode: InodeId(status.file_id()),
            children: u32::try_from(status.children_num()).ok(),
            storage_policy: status.storage_policy(),
        }
    }
}

/// Totals of a subtree (`du`, `count`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentSummary {
    /// Bytes of all files.
    pub len: u64,
    /// Files.
    pub file_count: u64,
    /// Directories, the top included.
    pub directory_count: u64,
    /// Limit on names; `None` = none.
    pub quota: Option<u64>,
    /// Bytes with all replicas.
    pub space_consumed: u64,
    /// Limit on these; `None` = none.
    pub space_quota: Option<u64>,
}

impl ContentSummary {
    pub(crate) fn from_proto(summary: &proto::ContentSummaryProto) -> Self {
        let quota = |wire: u64| (wire as i64 >= 0).then_some(wire);
        Self {
            len: summary.length,
            file_count: summary.file_count,
            directory_count: summary.directory_count,
            quota: quota(summary.quota),
            space_consumed: summary.space_consumed,
            space_quota: quota(summary.space_quota),
        }
    }
}

/// Totals of the cluster (`df`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FsStats {
    /// Bytes that DataNodes offer.
    pub capacity: u64,
    /// Bytes used by blocks.
    pub used: u64,
    /// Bytes free.
    pub remaining: u64,
    /// Blocks with too few replicas.
    pub under_replicated: u64,
    /// Blocks with a corrupt replica.
    pub corrupt_blocks: u64,
    /// Blocks without any good replica.
    pub missing_blocks: u64,
}

/// What the server would choose for a new file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerDefaults {
    /// Block size.
    pub block_size: u64,
    /// Bytes per checksum.
    pub bytes_per_checksum: u32,
    /// Packet size.
    pub write_packet_size: u32,
    /// Replicas.
    pub replication: u32,
    /// Minutes that deleted files stay in the trash; 0 = no trash.
    pub trash_interval_minutes: u64,
}

/// Where one replica is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// Name of the DataNode's host.
    pub host: String,
    /// `ip:port` of its streaming port.
    pub addr: String,
    /// The DataNode's permanent name.
    pub datanode_uuid: String,
    /// Its rack.
    pub rack: String,
    /// The volume's permanent name; empty if not told.
    pub storage_id: String,
}

/// One block of a file and its replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockLocation {
    /// The block with generation stamp and length.
    pub block: hadron_types::ExtendedBlock,
    /// Position of its first byte in the file.
    pub offset: u64,
    /// Whether every replica is corrupt.
    pub corrupt: bool,
    /// The replicas, nearest first.
    pub locations: Vec<Location>,
}

impl BlockLocation {
    pub(crate) fn from_proto(located: &proto::LocatedBlockProto) -> Self {
        let locations = located.locs.iter().enumerate().map(|(index, info)| Location {
            host: info.id.host_name.clone(),
            addr: format!("{}:{}", info.id.ip_addr, info.id.xfer_port),
            datanode_uuid: info.id.datanode_uuid.clone(),
            rack: info.location().to_owned(),
            storage_id: located.storage_i_ds.get(index).cloned().unwrap_or_default(),
        });
        Self {
            block: (&located.b).into(),
            offset: located.offset,
            corrupt: located.corrupt,
            locations: locations.collect(),
        }
    }
}

/// Which DataNodes to report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportKind {
    /// All known.
    All,
    /// Those with recent heartbeats.
    Live,
    /// Those without.
    Dead,
    /// Those being emptied.
    Decommissioning,
}

/// One DataNode as the NameNode sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeReport {
    /// Name of its host.
    pub host: String,
    /// `ip:port` of its streaming port.
    pub addr: String,
    /// Its permanent name.
    pub datanode_uuid: String,
    /// Its rack.
    pub rack: String,
    /// Bytes offered.
    pub capacity: u64,
    /// Bytes used by blocks.
    pub used: u64,
    /// Bytes free.
    pub remaining: u64,
    /// Last heartbeat.
    pub last_update: TimeMs,
    /// Transfers running.
    pub xceiver_count: u32,
    /// Blocks held.
    pub block_count: u32,
}

impl NodeReport {
    pub(crate) fn from_proto(info: &proto::DatanodeInfoProto) -> Self {
        Self {
            host: info.id.host_name.clone(),
            addr: format!("{}:{}", info.id.ip_addr, info.id.xfer_port),
            datanode_uuid: info.id.datanode_uuid.clone(),
            rack: info.location().to_owned(),
            capacity: info.capacity(),
            used: info.dfs_used(),
            remaining: info.remaining(),
            last_update: TimeMs(info.last_update()),
            xceiver_count: info.xceiver_count(),
            block_count: info.num_blocks(),
        }
    }
}

/// What to do about safe mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SafeModeAction {
    /// Leave it.
    Leave,
    /// Enter it.
    Enter,
    /// Only ask.
    Get,
    /// Leave it though blocks are missing.
    ForceExit,
}
