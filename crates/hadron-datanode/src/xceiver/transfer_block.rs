//! TRANSFER_BLOCK and the NameNode's transfer command: a replica of ours to other DataNodes.
//!
//! A client orders it when a pipeline gets a replacement node; the copy keeps its stage (RBW or finalized) and the
//! answer waits for the target's. The NameNode's copies are plain blocks from a DataNode; nobody acks them.

use super::codec::{opcode, read_message, response, write_message, write_op};
use super::inbox::Inbox;
use super::read_block::engine;
use super::sender::{CacheAdvice, SendPlan};
use super::{Connection, OpError, OpResult, Outcome, mirror, to_peer};
use crate::shared::Shared;
use hadron_pipeline::packet::{Stage, Status};
use hadron_proto::convert::no_token;
use hadron_proto::hdfs::{
    BaseHeaderProto, BlockOpResponseProto, ChecksumProto, ClientOperationHeaderProto, DatanodeIdProto,
    DatanodeInfoProto, OpTransferBlockProto, OpWriteBlockProto,
};
use hadron_replica::{ReplicaError, ReplicaReader};
use hadron_types::{ExtendedBlock, ReplicaState};
use std::sync::Arc;
use std::time::Duration;

/// Where a copy goes; the lists are parallel.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct CopyTargets {
    /// The nodes, first the one to connect to.
    pub(crate) nodes: Vec<DatanodeInfoProto>,
    /// Their media; may be shorter.
    pub(crate) storage_types: Vec<i32>,
    /// Their storages; may be shorter.
    pub(crate) storage_ids: Vec<String>,
}

pub(super) fn run(connection: &mut Connection, block: &mut Option<ExtendedBlock>) -> OpResult {
    let op: OpTransferBlockProto = read_message(&mut connection.inbox)?;
    let wanted = ExtendedBlock::from(&op.header.base_header.block);
    *block = Some(wanted.clone());
    if !connection.shared.wait_for_pool(&wanted.pool) {
        return Err(ReplicaError::UnknownPool(wanted.pool).into());
    }
    let targets = CopyTargets {
        nodes: op.targets,
        storage_types: op.target_storage_types,
        storage_ids: op.target_storage_ids,
    };
    let copied = copy_to_targets(&connection.shared, &wanted, &targets, &op.header.client_name);
    // Hadoop says SUCCESS even when the copy failed; saying so spares the client a doomed pipeline.
    let status = if copied.is_ok() { Status::Success } else { Status::Error };
    if matches!(copied, Err(OpError::Replica(_))) {
        return copied.map(|()| Outcome::Close);
    }
    write_message(&connection.stream, &response(status)).map_err(to_peer)?;
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
    let replica = shared.store.open_for_read(block, 0, Duration::ZERO)?;
    let plan = SendPlan::new(&replica, 0, None, true).map_err(OpError::Protocol)?;
    let _counted = shared.count_transfer();
    let target = mirror::address_text(first);
    let failed = |error: std::io::Error| OpError::Mirror(format!("transfer {block} to {target}: {error}"));
    let further = targets.nodes.len() - 1;
    let stream = mirror::connect(shared, first, further).map_err(failed)?;
    let op = write_op_of(shared, block, &replica, targets, client);
    write_op(&stream, opcode::WRITE_BLOCK, &op).map_err(failed)?;
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
                if matches!(error, ReplicaError::Corrupt { .. }) {
                    shared.report_bad(block, None);
                }
                OpError::Replica(error)
            }
        })?;
    if !client.is_empty() {
        let answer: BlockOpResponseProto = read_message(&mut Inbox::new(stream)).map_err(failed)?;
        if Status::from_wire(answer.status) != Some(Status::Success) {
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

fn write_op_of(
    shared: &Shared,
    block: &ExtendedBlock,
    replica: &ReplicaReader,
    targets: &CopyTargets,
    client: &str,
) -> OpWriteBlockProto {
    let stage = match (client.is_empty(), replica.state()) {
        (true, _) => Stage::SetupCreate,
        (false, ReplicaState::Finalized) => Stage::TransferFinalized,
        (false, _) => Stage::TransferRbw,
    };
    let mut sent = ExtendedBlock {
        pool: block.pool.clone(),
        block: replica.block(),
    };
    sent.block.len = replica.visible_len();
    let format = replica.format();
    OpWriteBlockProto {
        header: ClientOperationHeaderProto {
            base_header: BaseHeaderProto {
                block: (&sent).into(),
                token: Some(no_token()),
                trace_info: None,
            },
            client_name: client.to_owned(),
        },
        targets: targets.nodes.iter().skip(1).cloned().collect(),
        source: Some(self_info(shared)),
        stage: stage.to_wire(),
        pipeline_size: 0,
        min_bytes_rcvd: 0,
        max_bytes_rcvd: 0,
        latest_generation_stamp: 0,
        requested_checksum: ChecksumProto {
            r#type: format.kind as i32,
            bytes_per_checksum: format.chunk,
        },
        storage_type: targets.storage_types.first().copied(),
        target_storage_types: targets.storage_types.iter().skip(1).copied().collect(),
        storage_id: targets.storage_ids.first().cloned(),
        target_storage_ids: targets.storage_ids.iter().skip(1).cloned().collect(),
        ..Default::default()
    }
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
