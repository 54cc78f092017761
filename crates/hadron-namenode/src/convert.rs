//! From the cores' plain answers to protocol messages, field by field as Java fills them.
//!
//! Source: Hadoop `PBHelperClient.convert`.

use hadron_blockmap::{
    AdminState, DatanodeId, DatanodeInfo, DatanodeReport, Located, ReplicaLocation, StorageReport, StorageState,
};
use hadron_namespace::FileStatus;
use hadron_proto::convert::{no_token, storage_type_to_wire};
use hadron_proto::hdfs::datanode_info_proto::AdminState as AdminStateProto;
use hadron_proto::hdfs::hdfs_file_status_proto::FileType;
use hadron_proto::hdfs::{
    DatanodeIdProto, DatanodeInfoProto, DatanodeStorageProto, DatanodeStorageReportProto, ExtendedBlockProto,
    FsPermissionProto, HdfsFileStatusProto, LocatedBlockProto, StorageReportProto,
};
use hadron_types::{Block, BlockPoolId, FsPermission};

/// A file or directory as clients see it.
pub fn file_status(status: FileStatus) -> HdfsFileStatusProto {
    let kind = if status.is_directory {
        FileType::IsDir
    } else {
        FileType::IsFile
    };
    HdfsFileStatusProto {
        file_type: kind as i32,
        path: status.name.into_bytes().into(),
        length: status.len,
        permission: wire_permission(status.permission, status.has_acl),
        owner: status.owner.as_ref().to_owned(),
        group: status.group.as_ref().to_owned(),
        modification_time: status.mtime.0,
        access_time: status.atime.0,
        block_replication: Some(u32::from(status.replication)),
        blocksize: Some(status.block_size),
        file_id: Some(status.id.0),
        children_num: Some(i32::try_from(status.children).unwrap_or(i32::MAX)),
        storage_policy: Some(u32::from(status.storage_policy)),
        flags: Some(wire_flags(status.has_acl)),
        ..HdfsFileStatusProto::default()
    }
}

/// What `flags` of a status says of an ACL; read by clients since 3.0.
const HAS_ACL_FLAG: u32 = 1;
/// What the permission of a status says of an ACL; read by clients of 2.x.
const HAS_ACL_PERMISSION: u32 = 1 << 12;

/// Flags of a status.
pub(crate) fn wire_flags(has_acl: bool) -> u32 {
    if has_acl { HAS_ACL_FLAG } else { 0 }
}

/// Mode bits of a status, with the mark for clients of 2.x.
pub(crate) fn wire_permission(permission: FsPermission, has_acl: bool) -> FsPermissionProto {
    let mark = if has_acl { HAS_ACL_PERMISSION } else { 0 };
    FsPermissionProto {
        perm: u32::from(permission.bits()) | mark,
    }
}

/// A block with the pool it belongs to.
pub fn extended_block(pool: &BlockPoolId, block: Block) -> ExtendedBlockProto {
    ExtendedBlockProto {
        pool_id: pool.as_str().to_owned(),
        block_id: block.id.to_wire(),
        generation_stamp: block.generation_stamp.0,
        num_bytes: Some(block.len),
    }
}

/// A block at `offset` of its file, with its replicas.
pub fn located_block(pool: &BlockPoolId, block: Block, offset: u64, located: &Located) -> LocatedBlockProto {
    let replicas = &located.replicas;
    LocatedBlockProto {
        b: extended_block(pool, block),
        offset,
        locs: replicas.iter().map(|replica| datanode_info(&replica.node)).collect(),
        corrupt: located.corrupt,
        block_token: no_token(),
        is_cached: vec![false; replicas.len()],
        storage_types: replicas
            .iter()
            .map(|replica| storage_type_to_wire(replica.kind))
            .collect(),
        storage_i_ds: replicas
            .iter()
            .map(|replica| replica.storage.as_str().to_owned())
            .collect(),
        ..LocatedBlockProto::default()
    }
}

/// Targets or expected locations as replicas of an open block.
pub fn uncorrupted(replicas: Vec<ReplicaLocation>) -> Located {
    Located {
        replicas,
        corrupt: false,
    }
}

/// Identity and addresses of a DataNode.
pub fn datanode_id(id: &DatanodeId) -> DatanodeIdProto {
    DatanodeIdProto {
        ip_addr: id.ip.to_string(),
        host_name: id.host_name.to_string(),
        datanode_uuid: id.uuid.as_str().to_owned(),
        xfer_port: u32::from(id.xfer_port),
        info_port: u32::from(id.info_port),
        ipc_port: u32::from(id.ipc_port),
        info_secure_port: Some(u32::from(id.info_secure_port)),
    }
}

/// A DataNode with its figures.
pub fn datanode_info(info: &DatanodeInfo) -> DatanodeInfoProto {
    let stats = &info.stats;
    DatanodeInfoProto {
        id: datanode_id(&info.id),
        capacity: Some(stats.capacity),
        dfs_used: Some(stats.dfs_used),
        remaining: Some(stats.remaining),
        block_pool_used: Some(stats.block_pool_used),
        last_update: Some(stats.last_update.0),
        xceiver_count: Some(stats.xceivers),
        location: Some(info.rack.as_ref().to_owned()),
        non_dfs_used: Some(stats.non_dfs_used),
        admin_state: Some(admin_state(info.admin) as i32),
        cache_capacity: Some(stats.cache_capacity),
        cache_used: Some(stats.cache_used),
        last_update_monotonic: Some(stats.last_update.0),
        last_block_report_time: Some(stats.last_block_report.0),
        last_block_report_monotonic: Some(stats.last_block_report.0),
        upgrade_domain: info.upgrade_domain.as_deref().map(str::to_owned),
        num_blocks: Some(u32::try_from(stats.blocks).unwrap_or(u32::MAX)),
    }
}

fn admin_state(state: AdminState) -> AdminStateProto {
    match state {
        AdminState::Normal => AdminStateProto::Normal,
        AdminState::DecommissionInProgress => AdminStateProto::DecommissionInprogress,
        AdminState::Decommissioned => AdminStateProto::Decommissioned,
        AdminState::EnteringMaintenance => AdminStateProto::EnteringMaintenance,
        AdminState::InMaintenance => AdminStateProto::InMaintenance,
    }
}

/// A DataNode with its storages, as the balancer asks for it.
pub fn datanode_storage_report(report: &DatanodeReport) -> DatanodeStorageReportProto {
    DatanodeStorageReportProto {
        datanode_info: datanode_info(&report.info),
        storage_reports: report.storages.iter().map(storage_report).collect(),
    }
}

fn storage_report(report: &StorageReport) -> StorageReportProto {
    let storage = &report.storage;
    StorageReportProto {
        storage_uuid: storage.id.as_str().to_owned(),
        failed: Some(storage.state == StorageState::Failed),
        capacity: Some(report.capacity),
        dfs_used: Some(report.dfs_used),
        remaining: Some(report.remaining),
        block_pool_used: Some(report.block_pool_used),
        storage: Some(DatanodeStorageProto {
            storage_uuid: storage.id.as_str().to_owned(),
            state: Some(i32::from(storage.state == StorageState::ReadOnlyShared)),
            storage_type: Some(storage_type_to_wire(storage.kind)),
        }),
        non_dfs_used: Some(report.non_dfs_used),
        mount: None,
    }
}
