//! The cluster as a whole: defaults, figures, DataNodes, safe mode, checkpoints, and what has nothing to do here.

use super::Call;
use super::call::Audit;
use crate::{Members, convert};
use bytes::Bytes;
use hadron_blockmap::{AdminState, DatanodeReport, SafeModeReason};
use hadron_net::Reply;
use hadron_proto::common::HaServiceStateProto;
use hadron_proto::hdfs::{
    CorruptFileBlocksProto, DatanodeReportTypeProto, FinalizeUpgradeRequestProto, FinalizeUpgradeResponseProto,
    FsServerDefaultsProto, GetCurrentEditLogTxidRequestProto, GetCurrentEditLogTxidResponseProto,
    GetDatanodeReportRequestProto, GetDatanodeReportResponseProto, GetDatanodeStorageReportRequestProto,
    GetDatanodeStorageReportResponseProto, GetFsEcBlockGroupStatsRequestProto, GetFsEcBlockGroupStatsResponseProto,
    GetFsReplicatedBlockStatsRequestProto, GetFsReplicatedBlockStatsResponseProto, GetFsStatsResponseProto,
    GetFsStatusRequestProto, GetServerDefaultsRequestProto, GetServerDefaultsResponseProto, HaServiceStateRequestProto,
    HaServiceStateResponseProto, ListCorruptFileBlocksRequestProto, ListCorruptFileBlocksResponseProto,
    MsyncRequestProto, MsyncResponseProto, RefreshNodesRequestProto, RefreshNodesResponseProto, RollEditsRequestProto,
    RollEditsResponseProto, RollingUpgradeRequestProto, RollingUpgradeResponseProto, SafeModeActionProto,
    SaveNamespaceRequestProto, SaveNamespaceResponseProto, SetBalancerBandwidthRequestProto,
    SetBalancerBandwidthResponseProto, SetSafeModeRequestProto, SetSafeModeResponseProto, UpgradeStatusRequestProto,
    UpgradeStatusResponseProto,
};
use hadron_types::{ErrorKind, HadoopError};

/// Files named by one listCorruptFileBlocks (`dfs.corruptfilesreturned.max`).
const CORRUPT_FILES_PAGE: usize = 500;

/// getServerDefaults.
pub(super) fn get_server_defaults(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetServerDefaultsRequestProto| {
        let defaults = &call.shared.settings.defaults;
        let checksum = hadron_proto::hdfs::ChecksumTypeProto::from(defaults.checksum);
        Ok(GetServerDefaultsResponseProto {
            server_defaults: FsServerDefaultsProto {
                block_size: defaults.block_size,
                bytes_per_checksum: defaults.bytes_per_checksum,
                write_packet_size: defaults.write_packet_size,
                replication: defaults.replication,
                file_buffer_size: defaults.file_buffer_size,
                encrypt_data_transfer: Some(defaults.encrypt_data_transfer),
                trash_interval: Some(defaults.trash_interval),
                checksum_type: Some(checksum as i32),
                key_provider_uri: Some(String::new()),
                policy_id: Some(0),
                snapshot_trash_root_enabled: Some(false),
            },
        })
    })
}

/// getFsStats.
pub(super) fn get_fs_stats(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetFsStatusRequestProto| {
        let state = &call.shared.state;
        let blocks = state.blocks.lock();
        let (cluster, stats) = (blocks.cluster_stats(state.now()), blocks.block_stats());
        Ok(GetFsStatsResponseProto {
            capacity: cluster.capacity,
            used: cluster.dfs_used,
            remaining: cluster.remaining,
            under_replicated: stats.low_redundancy,
            corrupt_blocks: stats.corrupt,
            missing_blocks: stats.missing,
            missing_repl_one_blocks: Some(stats.missing_replication_one),
            blocks_in_future: Some(0),
            pending_deletion_blocks: Some(stats.pending_deletion),
        })
    })
}

/// getFsReplicatedBlockStats.
pub(super) fn get_replicated_block_stats(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetFsReplicatedBlockStatsRequestProto| {
        let stats = call.shared.state.blocks.lock().block_stats();
        Ok(GetFsReplicatedBlockStatsResponseProto {
            low_redundancy: stats.low_redundancy,
            corrupt_blocks: stats.corrupt,
            missing_blocks: stats.missing,
            missing_repl_one_blocks: stats.missing_replication_one,
            blocks_in_future: 0,
            pending_deletion_blocks: stats.pending_deletion,
            highest_prio_low_redundancy_blocks: Some(stats.highest_priority),
            badly_distributed_blocks: Some(stats.badly_distributed),
        })
    })
}

/// getFsECBlockGroupStats: there are no block groups.
pub(super) fn get_ec_block_group_stats(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, _: GetFsEcBlockGroupStatsRequestProto| {
        Ok(GetFsEcBlockGroupStatsResponseProto {
            highest_prio_low_redundancy_blocks: Some(0),
            badly_distributed_blocks: Some(0),
            ..GetFsEcBlockGroupStatsResponseProto::default()
        })
    })
}

/// getDatanodeReport.
pub(super) fn get_datanode_report(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: GetDatanodeReportRequestProto| {
        let reports = call.datanodes(request.r#type());
        let di = reports
            .iter()
            .map(|report| convert::datanode_info(&report.info))
            .collect();
        Ok(GetDatanodeReportResponseProto { di })
    })
}

/// getDatanodeStorageReport.
pub(super) fn get_datanode_storage_report(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: GetDatanodeStorageReportRequestProto| {
        call.require_superuser()?;
        let reports = call.datanodes(request.r#type());
        let datanode_storage_reports = reports.iter().map(convert::datanode_storage_report).collect();
        Ok(GetDatanodeStorageReportResponseProto {
            datanode_storage_reports,
        })
    })
}

/// listCorruptFileBlocks: files that have a block without any usable replica.
pub(super) fn list_corrupt_file_blocks(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &ListCorruptFileBlocksRequestProto, ns| {
        call.require_superuser()?;
        let skip: usize = request.cookie().parse().unwrap_or(0);
        let missing = call
            .shared
            .state
            .blocks
            .lock()
            .missing_blocks(skip.saturating_add(CORRUPT_FILES_PAGE));
        let root = request.path.trim_end_matches('/');
        let paths = missing
            .iter()
            .skip(skip)
            .filter_map(|id| ns.path_of(ns.stored_block(*id)?.file));
        let files = paths.filter(|path| path.starts_with(root)).collect();
        let cookie = missing.len().to_string();
        Ok(ListCorruptFileBlocksResponseProto {
            corrupt: CorruptFileBlocksProto { files, cookie },
        })
    })
}

/// setSafeMode: everybody may ask, superusers may switch.
pub(super) fn set_safe_mode(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: SetSafeModeRequestProto| {
        let action = request.action();
        if action != SafeModeActionProto::SafemodeGet {
            let allowed = call.require_superuser();
            call.audit_outcome(
                &Audit {
                    command: "safemode_set",
                    ..Audit::default()
                },
                &allowed,
            );
            allowed?;
        }
        let result = call.shared.state.with_blocks(|_, blocks, _| {
            match action {
                SafeModeActionProto::SafemodeEnter => blocks.enter_safe_mode(SafeModeReason::Manual),
                SafeModeActionProto::SafemodeLeave | SafeModeActionProto::SafemodeForceExit => blocks.leave_safe_mode(),
                SafeModeActionProto::SafemodeGet => {}
            }
            blocks.safe_mode().is_on()
        });
        Ok(SetSafeModeResponseProto { result })
    })
}

/// saveNamespace: an image of the state as it is, in safe mode only.
pub(super) fn save_namespace(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, _: SaveNamespaceRequestProto| async move {
        call.require_superuser()?;
        if !call.shared.state.blocks.lock().safe_mode().is_on() {
            let message = "Safe mode should be turned ON in order to create namespace image.";
            return Err(HadoopError::io(message));
        }
        call.shared.checkpoint().await?;
        Ok(SaveNamespaceResponseProto { saved: Some(true) })
    })
}

/// rollEdits: segments roll by themselves; the answer is where the next entry goes.
pub(super) fn roll_edits(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: RollEditsRequestProto| {
        call.require_superuser()?;
        Ok(RollEditsResponseProto {
            new_segment_tx_id: call.shared.last_applied().0 + 1,
        })
    })
}

/// refreshNodes: hosts files and topology are read anew, and every DataNode is held against them.
pub(super) fn refresh_nodes(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, _: RefreshNodesRequestProto| async move {
        call.require_superuser()?;
        let refreshed = Members::refresh(&call.shared.members, &call.shared.state).await;
        refreshed.map_err(|error| HadoopError::io(error.to_string()))?;
        Ok(RefreshNodesResponseProto {})
    })
}

/// setBalancerBandwidth: accepted; DataNodes keep their own.
pub(super) fn set_balancer_bandwidth(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: SetBalancerBandwidthRequestProto| {
        call.require_superuser()?;
        if request.bandwidth < 0 {
            let message = "Bandwidth should be non-negative.";
            return Err(HadoopError::new(ErrorKind::IllegalArgument, message));
        }
        Ok(SetBalancerBandwidthResponseProto {})
    })
}

/// finalizeUpgrade: nothing to finalize.
pub(super) fn finalize_upgrade(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: FinalizeUpgradeRequestProto| {
        call.require_superuser().map(|()| FinalizeUpgradeResponseProto {})
    })
}

/// upgradeStatus: always finalized.
pub(super) fn upgrade_status(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: UpgradeStatusRequestProto| {
        call.require_superuser()?;
        Ok(UpgradeStatusResponseProto {
            upgrade_finalized: true,
        })
    })
}

/// rollingUpgrade: none is running, none can be started.
pub(super) fn rolling_upgrade(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: RollingUpgradeRequestProto| {
        call.require_superuser()?;
        match request.action() {
            hadron_proto::hdfs::RollingUpgradeActionProto::Query => Ok(RollingUpgradeResponseProto::default()),
            _ => Err(HadoopError::new(
                ErrorKind::UnsupportedAction,
                "rolling upgrades are not supported",
            )),
        }
    })
}

/// getCurrentEditLogTxid.
pub(super) fn get_current_edit_log_txid(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetCurrentEditLogTxidRequestProto| {
        let txid = i64::try_from(call.shared.last_applied().0).unwrap_or(i64::MAX);
        Ok(GetCurrentEditLogTxidResponseProto { txid })
    })
}

/// getHAServiceState.
pub(super) fn get_ha_service_state(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, _: HaServiceStateRequestProto| {
        Ok(HaServiceStateResponseProto {
            state: HaServiceStateProto::Active as i32,
        })
    })
}

/// msync: an active NameNode is always in sync with itself.
pub(super) fn msync(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, _: MsyncRequestProto| Ok(MsyncResponseProto {}))
}

impl Call {
    fn datanodes(&self, wanted: DatanodeReportTypeProto) -> Vec<DatanodeReport> {
        let state = &self.shared.state;
        let known = state.blocks.lock().datanodes(state.now());
        let mut reports = self.shared.members.complete(known);
        reports.retain(|report| {
            let info = &report.info;
            match wanted {
                DatanodeReportTypeProto::All => true,
                DatanodeReportTypeProto::Live => info.alive,
                DatanodeReportTypeProto::Dead => !info.alive,
                DatanodeReportTypeProto::Decommissioning => {
                    info.alive && info.admin == AdminState::DecommissionInProgress
                }
                DatanodeReportTypeProto::EnteringMaintenance => {
                    info.alive && info.admin == AdminState::EnteringMaintenance
                }
                DatanodeReportTypeProto::InMaintenance => info.admin == AdminState::InMaintenance,
            }
        });
        reports
    }
}
