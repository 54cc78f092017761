//! Block reports: full ones in slices off the connection's task, incremental ones at once.

use super::commands::{finalize_command, register_command, storage_description};
use super::{Core, decode, names};
use crate::Shared;
use bytes::Bytes;
use hadron_blockmap::report::ReportReader;
use hadron_blockmap::{
    FullReport, Increment, IncrementKind, ReportError, ReportProgress, ReportRpc, StorageDescription, StorageIncrements,
};
use hadron_namespace::command::CommitBlockSynchronization;
use hadron_net::Reply;
use hadron_proto::datanode::received_deleted_block_info_proto::BlockStatus;
use hadron_proto::datanode::{
    BlockReceivedAndDeletedRequestProto, BlockReceivedAndDeletedResponseProto, BlockReportRequestProto,
    BlockReportResponseProto, CommitBlockSynchronizationRequestProto, CommitBlockSynchronizationResponseProto,
    DatanodeRegistrationProto, ReceivedDeletedBlockInfoProto, StorageBlockReportProto,
    StorageReceivedDeletedBlocksProto,
};
use hadron_proto::hdfs::{DatanodeInfoProto, LocatedBlockProto};
use hadron_types::{
    Block, BlockId, BlockPoolId, DatanodeUuid, ExtendedBlock, GenerationStamp, HadoopError, HadoopResult, StorageId,
};
use std::sync::Arc;

/// Replicas processed under one hold of the locks: below a millisecond.
pub(super) const SLICE: usize = 512;

/// One storage of a full report, its bytes read once to their end.
struct StorageReportReader {
    storage: StorageDescription,
    reader: ReportReader<Bytes>,
    count: u64,
}

/// Serves `blockReport`.
pub(super) fn full(core: &Arc<Core>, body: Bytes) -> Reply {
    let core = Arc::clone(core);
    Reply::spawned(async move { full_report(&core, decode(body)?).await })
}

async fn full_report(core: &Core, request: BlockReportRequestProto) -> HadoopResult<BlockReportResponseProto> {
    let node = core.verify(&request.registration)?;
    core.verify_address(&request.registration)?;
    check_pool(core, &request.block_pool_id)?;
    let state = &core.shared.state;
    let context = request.context.as_ref();
    let lease = context.map_or(0, |context| context.lease_id());
    let checked = state.with_blocks(|_, blocks, now| blocks.check_report_lease(&node, lease, now));
    match checked {
        Ok(()) => {}
        Err(ReportError::UnknownNode) if context.is_some() => {
            return Ok(BlockReportResponseProto {
                cmd: Some(register_command()),
            });
        }
        Err(ReportError::NoLease) => {
            tracing::warn!(%node, lease, "full report without a valid lease is ignored");
            return Ok(BlockReportResponseProto { cmd: None });
        }
        Err(error) => return Err(refused(error, &request.registration)),
    }
    let readers = request.reports.into_iter().map(|report| read_storage(&node, report));
    let readers: Vec<StorageReportReader> = readers.collect::<HadoopResult<_>>()?;
    let named: Vec<StorageId> = readers.iter().map(|reader| reader.storage.id.clone()).collect();
    for reader in readers {
        process_storage(core, &node, reader, &request.registration).await?;
    }
    let rpc = context.map_or(ReportRpc::ONLY, |context| ReportRpc {
        report: context.id,
        number: u32::try_from(context.cur_rpc).unwrap_or(0),
        count: u32::try_from(context.total_rpcs).unwrap_or(1),
    });
    state.with_blocks(|_, blocks, _| blocks.end_full_report_rpc(&node, &named, rpc));
    Ok(BlockReportResponseProto {
        cmd: Some(finalize_command(&state.block_pool())),
    })
}

fn read_storage(node: &DatanodeUuid, report: StorageBlockReportProto) -> HadoopResult<StorageReportReader> {
    let storage = storage_description(&report.storage.storage_uuid, Some(&report.storage));
    let reader = match report.number_of_blocks {
        Some(announced) => ReportReader::buffers(report.blocks_buffers, announced),
        None => ReportReader::longs(report.blocks),
    };
    let count = reader.validate().map_err(|error| {
        tracing::warn!(%node, storage = %storage.id, %error, "full report cannot be read");
        HadoopError::io(error.to_string())
    })?;
    Ok(StorageReportReader { storage, reader, count })
}

async fn process_storage(
    core: &Core,
    node: &DatanodeUuid,
    report: StorageReportReader,
    registration: &DatanodeRegistrationProto,
) -> HadoopResult<()> {
    let state = &core.shared.state;
    let begun = state.with_blocks(|_, blocks, _| blocks.begin_full_report(node, &report.storage));
    let running: FullReport = begun.map_err(|error| refused(error, registration))?;
    // The bytes were read once before, so there are no errors here to lose.
    let mut replicas = report.reader.filter_map(Result::ok);
    loop {
        let progress =
            state.with_blocks(|source, blocks, now| blocks.report_slice(&running, &mut replicas, source, SLICE, now));
        match progress {
            ReportProgress::More => tokio::task::yield_now().await,
            ReportProgress::Done => break,
            ReportProgress::Superseded => {
                tracing::info!(%node, storage = %report.storage.id, "full report was superseded");
                return Ok(());
            }
        }
    }
    tracing::info!(%node, storage = %report.storage.id, replicas = report.count, "full report processed");
    Ok(())
}

/// Serves `blockReceivedAndDeleted`. Small ones, the rule, are done when this returns.
pub(super) fn incremental(core: &Arc<Core>, body: Bytes) -> Reply {
    let request: BlockReceivedAndDeletedRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let entries: usize = request.blocks.iter().map(|storage| storage.blocks.len()).sum();
    if entries <= SLICE {
        let done =
            prepare(core, &request).and_then(|(node, reports)| apply(core, &node, &reports, &request.registration));
        return Reply::of(done.map(|()| BlockReceivedAndDeletedResponseProto {}));
    }
    let core = Arc::clone(core);
    Reply::spawned(async move {
        let (node, reports) = prepare(&core, &request)?;
        for report in reports {
            for increments in report.increments.chunks(SLICE) {
                let slice = StorageIncrements {
                    storage: report.storage.clone(),
                    increments: increments.to_vec(),
                };
                apply(&core, &node, &[slice], &request.registration)?;
                tokio::task::yield_now().await;
            }
        }
        Ok(BlockReceivedAndDeletedResponseProto {})
    })
}

fn prepare(
    core: &Core,
    request: &BlockReceivedAndDeletedRequestProto,
) -> HadoopResult<(DatanodeUuid, Vec<StorageIncrements>)> {
    let node = core.verify(&request.registration)?;
    check_pool(core, &request.block_pool_id)?;
    Ok((node, request.blocks.iter().map(storage_increments).collect()))
}

fn apply(
    core: &Core,
    node: &DatanodeUuid,
    reports: &[StorageIncrements],
    registration: &DatanodeRegistrationProto,
) -> HadoopResult<()> {
    let state = &core.shared.state;
    state
        .with_blocks(|source, blocks, now| blocks.incremental_report(node, reports, source, now))
        .map_err(|error| refused(error, registration))
}

fn storage_increments(report: &StorageReceivedDeletedBlocksProto) -> StorageIncrements {
    StorageIncrements {
        storage: storage_description(&report.storage_uuid, report.storage.as_ref()),
        increments: report.blocks.iter().map(increment).collect(),
    }
}

fn increment(entry: &ReceivedDeletedBlockInfoProto) -> Increment {
    let hint = entry.delete_hint.as_deref().filter(|hint| !hint.is_empty());
    Increment {
        block: Block::from(&entry.block),
        kind: match entry.status() {
            BlockStatus::Receiving => IncrementKind::Receiving,
            BlockStatus::Received => IncrementKind::Received,
            BlockStatus::Deleted => IncrementKind::Deleted,
        },
        delete_hint: hint.map(DatanodeUuid::from),
    }
}

/// Takes in replicas that a reader or a DataNode (`by`) found to be bad, in slices.
pub(crate) async fn bad_blocks(shared: &Shared, located: &[LocatedBlockProto], by: &str) {
    let mut named = located.iter().flat_map(|bad| {
        let block = ExtendedBlock::from(&bad.b).block;
        let replica = move |(index, node): (usize, &DatanodeInfoProto)| {
            let storage = bad.storage_i_ds.get(index).map(|id| StorageId::from(id.as_str()));
            (block, DatanodeUuid::from(node.id.datanode_uuid.as_str()), storage)
        };
        bad.locs.iter().enumerate().map(replica)
    });
    loop {
        let slice: Vec<_> = named.by_ref().take(SLICE).collect();
        for (block, node, _) in &slice {
            tracing::info!(%block, %node, by, "a bad replica is reported");
        }
        shared.state.with_blocks(|source, blocks, now| {
            for (block, node, storage) in &slice {
                blocks.report_bad_replica(block, node, storage.as_ref(), source, now);
            }
        });
        if slice.len() < SLICE {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Serves `commitBlockSynchronization`: the primary's result of a block recovery.
pub(super) fn commit_block_synchronization(core: &Arc<Core>, body: Bytes) -> Reply {
    let request: CommitBlockSynchronizationRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let core = Arc::clone(core);
    Reply::spawned(async move { synchronize(&core, request).await })
}

async fn synchronize(
    core: &Core,
    request: CommitBlockSynchronizationRequestProto,
) -> HadoopResult<CommitBlockSynchronizationResponseProto> {
    let shared = &core.shared;
    let block = ExtendedBlock::from(&request.block);
    tracing::info!(
        "commitBlockSynchronization(oldBlock={block}, newgenerationstamp={}, newlength={}, newtargets={:?}, closeFile={}, \
         deleteBlock={})",
        request.new_gen_stamp,
        request.new_length,
        request.new_target_storages,
        request.close_file,
        request.delete_block
    );
    check_pool(core, block.pool.as_str())?;
    shared.require_no_safe_mode(|| "Cannot commitBlockSynchronization while in safe mode".to_owned())?;
    let stamp = GenerationStamp(request.new_gen_stamp);
    let node = |(index, node): (usize, &hadron_proto::hdfs::DatanodeIdProto)| {
        let storage = request.new_target_storages.get(index);
        let storage = storage.map(|id| StorageId::from(id.as_str()));
        (DatanodeUuid::from(node.datanode_uuid.as_str()), storage)
    };
    let nodes: Vec<_> = request.new_taragets.iter().enumerate().map(node).collect();
    let recovered = Block {
        id: block.block.id,
        generation_stamp: stamp,
        len: request.new_length,
    };
    let mut facts = replicated(shared, block.block.id);
    // The primary has seen these replicas in their final form: as in Hadoop the block is complete, however few they are.
    if !nodes.is_empty() && !facts.contains(&block.block.id.0) {
        facts.push(block.block.id.0);
    }
    let command = shared.command(
        shared.own_caller(),
        CommitBlockSynchronization {
            block: block.block.into(),
            new_generation_stamp: stamp.0,
            new_len: request.new_length,
            close_file: request.close_file,
            delete_block: request.delete_block,
            replicated: facts,
        },
    );
    // The replicas become locations in one with the record: no reader finds the block without them, and what DataNodes
    // tell of them later is the newer news.
    {
        let ns = shared.state.ns.read();
        ns.check(&command)?;
        let recovery = ns.block_recovery(recovered.id);
        if !request.delete_block && recovery.is_some_and(|recovery| recovery.id == stamp) {
            shared.state.blocks.lock().recovery_reported(&recovered, &nodes);
        }
    }
    shared.propose(command).await?;
    tracing::info!("commitBlockSynchronization({block}) successful");
    Ok(CommitBlockSynchronizationResponseProto {})
}

/// The other blocks at the end of the file that have minimum replication; the command carries them as facts.
fn replicated(shared: &Shared, id: BlockId) -> Vec<i64> {
    let ns = shared.state.ns.read();
    let Some(stored) = ns.stored_block(id) else {
        return Vec::new();
    };
    let last = ns.last_blocks(stored.file);
    let blocks = shared.state.blocks.lock();
    let ids = last.iter().map(|stored| stored.block.id);
    ids.filter(|&id| blocks.is_min_replicated(id)).map(|id| id.0).collect()
}

fn check_pool(core: &Core, pool: &str) -> HadoopResult<()> {
    let ours: BlockPoolId = core.shared.state.block_pool();
    if ours.as_str() == pool {
        return Ok(());
    }
    let pool = names::printable(pool);
    Err(HadoopError::io(format!(
        "Unexpected block pool {pool}, expected {ours}"
    )))
}

fn refused(error: ReportError, registration: &DatanodeRegistrationProto) -> HadoopError {
    match error {
        ReportError::UnknownNode => HadoopError::io(format!(
            "ProcessReport from dead or unregistered node: {}",
            names::registration(registration)
        )),
        error => HadoopError::io(error.to_string()),
    }
}
