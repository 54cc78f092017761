//! The cluster as a whole: defaults, figures, DataNodes, safe mode, checkpoints, and what has nothing to do here.

use super::Call;
use super::call::Audit;
use crate::{Members, convert};
use bytes::Bytes;
use hadron_blockmap::{AdminState, DatanodeReport, SafeModeReason};
use hadron_net::Reply;
use hadron_proto::common::HaServiceStateProto;
use hadron_proto::hdfs::{
    CorruptFileBlocksProto, DatanodeReportTypeProto, FsServerDefaultsProto, GetDatanodeReportRequestProto,
    GetDatanodeReportResponseProto, GetDatanodeStorageReportRequestProto, GetDatanodeStorageReportResponseProto,
    GetFsEcBlockGroupStatsRequestProto, GetFsEcBlockGroupStatsResponseProto, GetFsReplicatedBlockStatsRequestProto,
    GetFsReplicatedBlockStatsResponseProto, GetFsStatsResponseProto, GetFsStatusRequestProto,
    GetServerDefaultsRequestProto, GetServerDefaultsResponseProto, GetSlowDatanodeReportRequestProto,
    GetSlowDatanodeReportResponseProto, HaServiceStateRequestProto, HaServiceStateResponseProto,
    ListCorruptFileBlocksRequestProto, ListCorruptFileBlocksResponseProto, MsyncRequestProto, MsyncResponseProto,
    RefreshNodesRequestProto, RefreshNodesResponseProto, SafeModeActionProto, SetSafeModeRequestProto,
    SetSafeModeResponseProto,
};
use hadron_types::HadoopError;

/// Files named by one listCorruptFileBlocks (`dfs.corruptfilesreturned.max`).
const CORRUPT_FILES_PAGE: usize = 500;
/// Missing blocks looked at for one page: bounds the time under the lock.
const MAX_CORRUPT_LOOKED_AT: usize = 20_000;

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
        call.audited("datanodeReport")?;
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
        call.audited("getDatanodeStorageReport")?;
        let reports = call.datanodes(request.r#type());
        let datanode_storage_reports = reports.iter().map(convert::datanode_storage_report).collect();
        Ok(GetDatanodeStorageReportResponseProto {
            datanode_storage_reports,
        })
    })
}

/// getSlowDatanodeReport: DataNodes' latencies are not followed, so none is slow.
pub(super) fn get_slow_datanode_report(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetSlowDatanodeReportRequestProto| {
        call.audited("slowDataNodesReport")
            .map(|()| GetSlowDatanodeReportResponseProto::default())
    })
}

/// listCorruptFileBlocks: the paths of blocks without any usable replica, one page after another. The cookie counts the
/// missing blocks looked at so far; those found in the meantime may be met twice or not at all, as in Hadoop.
pub(super) fn list_corrupt_file_blocks(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &ListCorruptFileBlocksRequestProto, ns| {
        call.require_superuser_for(&Audit::of("listCorruptFileBlocks", &request.path))?;
        let start: usize = request.cookie().parse().unwrap_or(0);
        let (missing, is_counted) = {
            let blocks = call.shared.state.blocks.lock();
            let most = start.saturating_add(MAX_CORRUPT_LOOKED_AT);
            (blocks.missing_blocks(most), !blocks.safe_mode().is_starting())
        };
        if !is_counted && !missing.is_empty() {
            return Err(HadoopError::io(
                "Cannot run listCorruptFileBlocks because replication queues have not been initialized.",
            ));
        }
        let root = request.path.trim_end_matches('/');
        let below = |path: &String| {
            let rest = path.strip_prefix(root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let (mut files, mut looked_at) = (Vec::new(), start);
        for id in missing.iter().skip(start) {
            looked_at += 1;
            let path = ns.stored_block(*id).and_then(|stored| ns.path_of(stored.file));
            files.extend(path.filter(below));
            if files.len() >= CORRUPT_FILES_PAGE {
                break;
            }
        }
        let cookie = looked_at.to_string();
        Ok(ListCorruptFileBlocksResponseProto {
            corrupt: CorruptFileBlocksProto { files, cookie },
        })
    })
}

/// setSafeMode: everybody may ask, superusers may switch.
pub(super) fn set_safe_mode(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: SetSafeModeRequestProto| {
        let action = request.action();
        let audit = Audit::command(match action {
            SafeModeActionProto::SafemodeLeave => "safemode_leave",
            SafeModeActionProto::SafemodeEnter => "safemode_enter",
            SafeModeActionProto::SafemodeGet => "safemode_get",
            SafeModeActionProto::SafemodeForceExit => "safemode_force_exit",
        });
        if action != SafeModeActionProto::SafemodeGet {
            call.require_superuser_for(&audit)?;
        }
        let result = call.shared.state.with_blocks(|_, blocks, _| {
            match action {
                SafeModeActionProto::SafemodeEnter => blocks.enter_safe_mode(SafeModeReason::Manual),
                SafeModeActionProto::SafemodeLeave | SafeModeActionProto::SafemodeForceExit => blocks.leave_safe_mode(),
                SafeModeActionProto::SafemodeGet => {}
            }
            blocks.safe_mode().is_on()
        });
        call.audit_outcome(&audit, &Ok(result));
        Ok(SetSafeModeResponseProto { result })
    })
}

/// refreshNodes: hosts files and topology are read anew, and every DataNode is held against them.
pub(super) fn refresh_nodes(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, _: RefreshNodesRequestProto| async move {
        let audit = Audit::command("refreshNodes");
        call.require_superuser_for(&audit)?;
        let refreshed = Members::refresh(&call.shared.members, &call.shared.state).await;
        let refreshed = refreshed.map_err(|error| HadoopError::io(error.to_string()));
        call.audit_outcome(&audit, &refreshed);
        refreshed?;
        Ok(RefreshNodesResponseProto {})
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
