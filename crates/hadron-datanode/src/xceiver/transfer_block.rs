//! TRANSFER_BLOCK and the NameNode's transfer command: a replica of ours to other DataNodes.
//!
//! A client orders it when a pipeline gets a replacement node; the copy keeps its stage (RBW or finalized) and the
//! answer waits for the target's. The NameNode's copies are plain blocks from a DataNode; nobody acks them.

use super::codec::{is_success, write_op, write_response};
use super::inbox::Inbox;
use super::read_block::engine;
use super::sender::{CacheAdvice, SendPlan};
use super::{Connection, OpError, OpResult, Outcome, mirror, to_peer};
use crate::shared::Shared;
use hadron_proto::hdfs::op_write_block_proto::BlockConstructionStage;
use hadron_proto::hdfs::{CachingStrategyProto, DatanodeIdProto, DatanodeInfoProto, Status};
use hadron_replica::{ReplicaError, ReplicaReader, ReplicaResult};
use hadron_types::{ExtendedBlock, GenerationStamp, ReplicaState, StorageType};
use hadron_wire::transfer::Op;
use hadron_wire::transfer::op::{BlockHeader, TransferBlock, WriteBlock};
use hadron_wire::transfer::response::{failure, read_response, success};
use std::sync::Arc;
use std::time::Duration;

/// Where a copy goes; the lists are parallel.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct CopyTargets {
    /// The nodes, first the one to connect to.
    pub(crate) nodes: Vec<DatanodeInfoProto>,
    /// Their media; may be shorter.
    pub(crate) storage_types: Vec<StorageType>,
    /// Their storages; may be shorter.
    pub(crate) storage_ids: Vec<String>,
}

pub(super) fn run(connection: &mut Connection, op: TransferBlock, block: &mut Option<ExtendedBlock>) -> OpResult {
    *block = Some(op.header.block.clone());
    connection.admit_transfer(&op)?;
    let wanted = op.header.block;
    let targets = CopyTargets {
        nodes: op.targets,
        storage_types: op.target_storage_types,
        storage_ids: op.target_storage_ids,
    };
    let copied = copy_to_targets(&connection.shared, &wanted, &targets, &op.client_name);
    // Hadoop says SUCCESS even when the copy failed; saying so spares the client a doomed pipeline.
    let answer = match &copied {
        Ok(()) => success(),
        // Unknown block, newer stamp: closed without a reply.
        Err(OpError::Replica(_)) => return copied.map(|()| Outcome::Close),
        Err(error) => failure(Status::Error, error.to_string()),
    };
    write_response(&connection.stream, &answer).map_err(to_peer)?;
    copied.map(|()| Outcome::Close)
}

/// Copies a replica. `client` is empty for copies that the NameNode ordered.
pub(crate) fn copy_to_targets(
    shared: &Arc<Shared>,
    block: &ExtendedBlock,
    targets: &CopyTargets,
    client: &str,
) -> Result<(), OpError> {
    let first = targets
        .nodes
        .first()
        .ok_or_else(|| OpError::Protocol("a transfer needs a target".into()))?;
    let replica = open_for_copy(shared, block)?;
    let finished = replica.state() == ReplicaState::Finalized;
    if client.is_empty() {
        check_whole(shared, block, &replica)?;
    }
    let plan = SendPlan::new(&replica, 0, None, true).map_err(OpError::Protocol)?;
    let _counted = shared.count_transfer();
    let target = mirror::address_text(first);
    let failed = |error: std::io::Error| OpError::Mirror(format!("transfer {block} to {target}: {error}"));
    let further = targets.nodes.len() - 1;
    let stream = mirror::connect(shared, first, further).map_err(failed)?;
    let op = write_op_of(shared, block, &replica, targets, client);
    write_op(&stream, &op).map_err(failed)?;
    let cache = CacheAdvice {
        readahead: shared.settings.readahead,
        readahead_forced: false,
        drop_behind: false,
    };
    let mut engine = engine(shared.settings.send_engine);
    plan.send(&stream, &replica, engine.as_mut(), Vec::new(), cache)
        .map_err(|error| match error {
            super::engine::SendError::Socket(error) => failed(error),
            super::engine::SendError::Disk(error) => {
                if finished && matches!(error, ReplicaError::Corrupt { .. }) {
                    shared.report_bad(block, None);
                } else if error.is_disk_failure() {
                    shared.suspect(block);
                }
                OpError::Replica(error)
            }
        })?;
    if !client.is_empty() {
        let answer = read_response(&mut Inbox::new(stream)).map_err(failed)?;
        if !is_success(&answer) {
            return Err(OpError::Mirror(format!(
                "transfer {block} to {target}: target answered {}",
                answer.status
            )));
        }
    }
    shared.metrics.blocks_replicated.inc();
    tracing::info!(%block, %target, bytes = plan.end, "replica copied");
    Ok(())
}

/// Opens a replica for another DataNode. As Hadoop, one whose checksums are lost is not copied: the copy would pass for a
/// good replica that has none, and replace those that do. The NameNode hears of it and has it replaced.
pub(super) fn open_for_copy(shared: &Shared, block: &ExtendedBlock) -> ReplicaResult<ReplicaReader> {
    let replica = shared.open_for_read(block, 0, Duration::ZERO)?;
    match replica.check_sums_known() {
        Ok(()) => Ok(replica),
        Err(error) => {
            if replica.state() == ReplicaState::Finalized && error.is_damage() {
                shared.report_bad(block, None);
            }
            Err(error)
        }
    }
}

/// The NameNode orders copies of finished blocks: one that is open again, or shorter than it believes, must not spread.
fn check_whole(shared: &Shared, block: &ExtendedBlock, replica: &ReplicaReader) -> Result<(), OpError> {
    if replica.state() != ReplicaState::Finalized {
        return Err(OpError::Protocol(format!(
            "replica is {}, not FINALIZED",
            replica.state().name()
        )));
    }
    let (found, expected) = (replica.visible_len(), block.block.len);
    if found < expected {
        shared.report_bad(block, None);
        return Err(OpError::Protocol(format!(
            "replica has {found} bytes, the NameNode expects {expected}"
        )));
    }
    Ok(())
}

fn write_op_of(
    shared: &Shared,
    block: &ExtendedBlock,
    replica: &ReplicaReader,
    targets: &CopyTargets,
    client: &str,
) -> Op {
    let stage = match (client.is_empty(), replica.state()) {
        (true, _) => BlockConstructionStage::PipelineSetupCreate,
        (false, ReplicaState::Finalized) => BlockConstructionStage::TransferFinalized,
        (false, _) => BlockConstructionStage::TransferRbw,
    };
    let mut sent = ExtendedBlock {
        pool: block.pool.clone(),
        block: replica.block(),
    };
    sent.block.len = replica.visible_len();
    Op::WriteBlock(Box::new(WriteBlock {
        header: BlockHeader {
            token: shared.tokens.for_copy(&sent),
            block: sent,
        },
        client_name: client.to_owned(),
        targets: targets.nodes.iter().skip(1).cloned().collect(),
        source: Some(self_info(shared)),
        stage,
        pipeline_size: 0,
        min_bytes_received: 0,
        max_bytes_received: 0,
        latest_generation_stamp: GenerationStamp(0),
        checksum: replica.format().checksum(),
        caching: CachingStrategyProto::default(),
        storage_type: targets.storage_types.first().copied().unwrap_or_default(),
        target_storage_types: targets.storage_types.iter().skip(1).copied().collect(),
        allow_lazy_persist: false,
        pinning: false,
        target_pinnings: Vec::new(),
        storage_id: targets.storage_ids.first().cloned(),
        target_storage_ids: targets.storage_ids.iter().skip(1).cloned().collect(),
    }))
}

/// This DataNode as others name it.
fn self_info(shared: &Shared) -> DatanodeInfoProto {
    DatanodeInfoProto {
        id: datanode_id(shared),
        ..Default::default()
    }
}

/// The id this DataNode registers with.
pub(crate) fn datanode_id(shared: &Shared) -> DatanodeIdProto {
    let addresses = &shared.addresses;
    let ip = addresses.xfer.ip();
    let ip = if ip.is_unspecified() {
        "127.0.0.1".to_owned()
    } else {
        ip.to_string()
    };
    DatanodeIdProto {
        ip_addr: ip,
        host_name: shared.hostname.clone(),
        datanode_uuid: shared.store.uuid().as_str().to_owned(),
        xfer_port: u32::from(addresses.xfer.port()),
        info_port: u32::from(addresses.http.port()),
        ipc_port: u32::from(addresses.ipc.port()),
        info_secure_port: Some(0),
    }
}
