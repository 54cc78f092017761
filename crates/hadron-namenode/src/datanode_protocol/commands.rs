//! Heartbeats in, orders out.

use super::recovery_orders::recovery_command;
use super::{Core, names, registration};
use crate::convert::datanode_info;
use hadron_blockmap::{
    DatanodeCommand, Heartbeat, SlowPeer, StorageDescription, StorageReport, StorageState, Target, TransferTask,
    VolumeFailures,
};
use hadron_proto::convert::storage_type_to_wire;
use hadron_proto::datanode::block_command_proto::Action;
use hadron_proto::datanode::block_id_command_proto::Action as IdAction;
use hadron_proto::datanode::datanode_command_proto::Type;
use hadron_proto::datanode::{
    BalancerBandwidthCommandProto, BlockCommandProto, BlockIdCommandProto, DatanodeCommandProto, FinalizeCommandProto,
    HeartbeatRequestProto, HeartbeatResponseProto, KeyUpdateCommandProto, RegisterCommandProto, SlowPeerReportProto,
    VolumeFailureSummaryProto,
};
use hadron_proto::hdfs::datanode_storage_proto::StorageState as StorageStateProto;
use hadron_proto::hdfs::{
    BlockProto, DatanodeInfosProto, DatanodeStorageProto, ExportedBlockKeysProto, StorageReportProto,
    StorageTypesProto, StorageUuidsProto,
};
use hadron_types::{Block, BlockId, BlockPoolId, HadoopResult, StorageType};

/// Serves `sendHeartbeat`.
pub(super) fn heartbeat(core: &Core, request: &HeartbeatRequestProto) -> HadoopResult<HeartbeatResponseProto> {
    let beat = read_heartbeat(core, request)?;
    let state = &core.shared.state;
    let reply = state.with_blocks(|source, blocks, now| blocks.heartbeat(&beat, source, now, &mut state.rng()));
    if reply.disallowed {
        return Err(registration::disallowed(&request.registration, ""));
    }
    let pool = state.block_pool();
    let tokens = core.shared.block_tokens.as_ref();
    let keys = tokens.and_then(|tokens| tokens.update_for(&beat.node));
    // Recoveries go first: somebody waits for the file.
    let recoveries = match reply.commands.contains(&DatanodeCommand::Register) {
        true => None,
        false => recovery_command(core, &beat.node),
    };
    let others = reply.commands.iter().filter_map(|order| command(order, &pool));
    Ok(HeartbeatResponseProto {
        cmds: recoveries
            .into_iter()
            .chain(others)
            .chain(keys.map(key_update_command))
            .chain(core.shared.bandwidth.take(&beat.node))
            .collect(),
        ha_status: core.ha_status(),
        full_block_report_lease_id: Some(reply.report_lease),
        ..HeartbeatResponseProto::default()
    })
}

/// What a heartbeat or lifeline says.
pub(super) fn read_heartbeat(core: &Core, request: &HeartbeatRequestProto) -> HadoopResult<Heartbeat> {
    let node = core.verify(&request.registration)?;
    core.verify_address(&request.registration)?;
    let failures = request.volume_failure_summary.as_ref();
    Ok(Heartbeat {
        node,
        storages: request.reports.iter().map(storage_report).collect(),
        xmits: request.xmits_in_progress(),
        xceivers: request.xceiver_count(),
        failed_volumes: request.failed_volumes(),
        volume_failures: failures.map(volume_failures),
        slow_peers: request
            .slow_peers
            .iter()
            .take(SlowPeer::MAX_KEPT)
            .map(slow_peer)
            .collect(),
        cache_capacity: request.cache_capacity(),
        cache_used: request.cache_used(),
        wants_report_lease: request.request_full_block_report_lease(),
    })
}

fn volume_failures(summary: &VolumeFailureSummaryProto) -> VolumeFailures {
    let locations = summary
        .failed_storage_locations
        .iter()
        .take(VolumeFailures::MAX_LOCATIONS);
    VolumeFailures {
        locations: locations.map(|location| names::printable(location)).collect(),
        last_failure: summary.last_volume_failure_date,
        capacity_lost: summary.estimated_capacity_lost_total,
    }
}

fn slow_peer(peer: &SlowPeerReportProto) -> SlowPeer {
    SlowPeer {
        name: names::printable(peer.data_node_id()).into(),
        latency_ms: peer.aggregate_latency(),
    }
}

/// A storage as reports name it. Unknown media count as disks, as with peers older than the medium.
pub(super) fn storage_description(uuid: &str, storage: Option<&DatanodeStorageProto>) -> StorageDescription {
    let read_only = storage.is_some_and(|storage| storage.state() == StorageStateProto::ReadOnlyShared);
    let kind = storage.and_then(|storage| StorageType::from_wire(storage.storage_type.unwrap_or_default()));
    StorageDescription {
        id: storage.map_or(uuid, |storage| &storage.storage_uuid).into(),
        kind: kind.unwrap_or_default(),
        state: match read_only {
            true => StorageState::ReadOnlyShared,
            false => StorageState::Normal,
        },
    }
}

fn storage_report(report: &StorageReportProto) -> StorageReport {
    let mut storage = storage_description(&report.storage_uuid, report.storage.as_ref());
    if report.failed() {
        storage.state = StorageState::Failed;
    }
    let rest = report
        .capacity()
        .saturating_sub(report.dfs_used())
        .saturating_sub(report.remaining());
    StorageReport {
        storage,
        capacity: report.capacity(),
        dfs_used: report.dfs_used(),
        remaining: report.remaining(),
        block_pool_used: report.block_pool_used(),
        non_dfs_used: report.non_dfs_used.unwrap_or(rest),
    }
}

fn command(order: &DatanodeCommand, pool: &BlockPoolId) -> Option<DatanodeCommandProto> {
    match order {
        DatanodeCommand::Register => Some(register_command()),
        DatanodeCommand::Transfer(tasks) => Some(block_command(transfer(tasks, pool))),
        DatanodeCommand::Invalidate(blocks) => Some(block_command(BlockCommandProto {
            action: Action::Invalidate as i32,
            block_pool_id: pool.as_str().to_owned(),
            blocks: blocks.iter().map(BlockProto::from).collect(),
            ..BlockCommandProto::default()
        })),
        DatanodeCommand::Cache(blocks) => Some(block_id_command(IdAction::Cache, blocks, pool)),
        DatanodeCommand::Uncache(blocks) => Some(block_id_command(IdAction::Uncache, blocks, pool)),
        DatanodeCommand::BalancerBandwidth(bandwidth) => Some(DatanodeCommandProto {
            cmd_type: Type::BalancerBandwidthCommand as i32,
            balancer_cmd: Some(BalancerBandwidthCommandProto { bandwidth: *bandwidth }),
            ..DatanodeCommandProto::default()
        }),
        _ => None,
    }
}

fn block_id_command(action: IdAction, blocks: &[BlockId], pool: &BlockPoolId) -> DatanodeCommandProto {
    DatanodeCommandProto {
        cmd_type: Type::BlockIdCommand as i32,
        blk_id_cmd: Some(BlockIdCommandProto {
            action: action as i32,
            block_pool_id: pool.as_str().to_owned(),
            block_ids: blocks.iter().map(|id| id.to_wire()).collect(),
        }),
        ..DatanodeCommandProto::default()
    }
}

fn transfer(tasks: &[TransferTask], pool: &BlockPoolId) -> BlockCommandProto {
    let of = |task: &TransferTask| -> (DatanodeInfosProto, StorageUuidsProto, StorageTypesProto) {
        let targets = &task.targets;
        let info = |target: &Target| datanode_info(&target.node);
        let datanodes = targets.iter().map(info).collect();
        let storage_uuids = targets
            .iter()
            .map(|target| target.storage.as_str().to_owned())
            .collect();
        let storage_types = targets.iter().map(|target| storage_type_to_wire(target.kind)).collect();
        (
            DatanodeInfosProto { datanodes },
            StorageUuidsProto { storage_uuids },
            StorageTypesProto { storage_types },
        )
    };
    let mut message = BlockCommandProto {
        action: Action::Transfer as i32,
        block_pool_id: pool.as_str().to_owned(),
        ..BlockCommandProto::default()
    };
    for task in tasks {
        let block: &Block = &task.block;
        let (targets, uuids, types) = of(task);
        message.blocks.push(BlockProto::from(block));
        message.targets.push(targets);
        message.target_storage_uuids.push(uuids);
        message.target_storage_types.push(types);
    }
    message
}

fn block_command(message: BlockCommandProto) -> DatanodeCommandProto {
    DatanodeCommandProto {
        cmd_type: Type::BlockCommand as i32,
        blk_cmd: Some(message),
        ..DatanodeCommandProto::default()
    }
}

/// "Register again."
pub(super) fn register_command() -> DatanodeCommandProto {
    DatanodeCommandProto {
        cmd_type: Type::RegisterCommand as i32,
        register_cmd: Some(RegisterCommandProto {}),
        ..DatanodeCommandProto::default()
    }
}

/// "These are the keys of block tokens."
fn key_update_command(keys: ExportedBlockKeysProto) -> DatanodeCommandProto {
    DatanodeCommandProto {
        cmd_type: Type::KeyUpdateCommand as i32,
        key_update_cmd: Some(KeyUpdateCommandProto { keys }),
        ..DatanodeCommandProto::default()
    }
}

/// "No upgrade is running": the answer to a full report.
pub(super) fn finalize_command(pool: &BlockPoolId) -> DatanodeCommandProto {
    DatanodeCommandProto {
        cmd_type: Type::FinalizeCommand as i32,
        finalize_cmd: Some(FinalizeCommandProto {
            block_pool_id: pool.as_str().to_owned(),
        }),
        ..DatanodeCommandProto::default()
    }
}
