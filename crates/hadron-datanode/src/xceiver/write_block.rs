//! WRITE_BLOCK: a replica from a client's pipeline, from another DataNode, or as a client-ordered copy.
//!
//! Order: open the replica, connect and set up the next node, answer upstream, receive. A local failure at set-up
//! closes without an answer; a failing next node is answered with ERROR and firstBadLink.

use super::codec::{is_success, write_op, write_response};
use super::inbox::Inbox;
use super::receiver::Receiver;
use super::responder::{Pipeline, Responder};
use super::socket::Socket;
use super::write_behind::WriteBehind;
use super::{Connection, OpError, OpResult, Outcome, mirror, to_peer};
use crate::cache;
use crate::shared::{NewsKind, ReplicaNews, Shared};
use hadron_pipeline::packet::{MAX_PIPELINE_NODES, Stage};
use hadron_pipeline::relay::{Relay, RelayConfig};
use hadron_proto::hdfs::{BlockOpResponseProto, Status};
use hadron_replica::{ChunkFormat, Interrupt, NewReplica, ReplicaWriter};
use hadron_types::{ExtendedBlock, StorageId};
use hadron_wire::transfer::Op;
use hadron_wire::transfer::op::WriteBlock;
use hadron_wire::transfer::response::{connect_ack, read_response, success};
use parking_lot::Mutex;
use std::net::Shutdown;
use std::sync::Arc;

/// What the operation asks for, read once.
struct Request {
    op: WriteBlock,
    block: ExtendedBlock,
    stage: Stage,
    sent: ChunkFormat,
    /// The peer is a DataNode.
    from_datanode: bool,
    /// A client had this replica copied here.
    is_transfer: bool,
}

/// Sockets to close when the writer must leave.
type Sockets = Arc<Mutex<Vec<Arc<Socket>>>>;

pub(super) fn run(connection: &mut Connection, op: WriteBlock, block: &mut Option<ExtendedBlock>) -> OpResult {
    *block = Some(op.header.block.clone());
    connection.admit_write(&op)?;
    let request = Request::check(op)?;
    if connection.shared.is_restarting() && request.wants_acks() {
        // Whoever sets the pipeline up may wait for this node instead of giving it up.
        write_response(&connection.stream, &connect_ack(Status::OobRestart, "")).map_err(to_peer)?;
        return Ok(Outcome::Close);
    }
    let sockets: Sockets = Arc::new(Mutex::new(vec![connection.stream.clone()]));
    let writer = match open_replica(&connection.shared, &request, &sockets) {
        Err(OpError::Replica(error)) if error.is_full() && request.is_first_node() => {
            // Hadoop closes without a word. Its clients understand this one, and say it; behind another node it would
            // be taken for that node's.
            let text = hadron_types::HadoopError::from(&error).to_string();
            write_response(&connection.stream, &refusal(text)).map_err(to_peer)?;
            return Err(error.into());
        }
        other => other?,
    };
    let mirror = set_up_mirror(connection, &request, &sockets)?;
    if request.wants_acks() {
        write_response(&connection.stream, &connect_ack(Status::Success, "")).map_err(to_peer)?;
    }
    if let Some(writer) = writer {
        receive(connection, &request, writer, mirror)?;
        if request.is_transfer {
            write_response(&connection.stream, &success()).map_err(to_peer)?;
        }
    }
    Ok(Outcome::Close)
}

impl Request {
    fn check(op: WriteBlock) -> Result<Self, OpError> {
        let mut wanted = op.header.block.clone();
        let stage = Stage::from_wire(op.stage as i32)
            .ok_or_else(|| OpError::Protocol(format!("unknown stage {:?}", op.stage)))?;
        let is_transfer = matches!(stage, Stage::TransferRbw | Stage::TransferFinalized);
        let from_datanode = op.client_name.is_empty();
        if is_transfer && !op.targets.is_empty() {
            return Err(OpError::Protocol(format!("{stage} does not support further targets")));
        }
        if op.targets.len() > MAX_PIPELINE_NODES {
            return Err(OpError::Protocol("pipeline is too long".into()));
        }
        if from_datanode && stage != Stage::SetupCreate && !is_transfer {
            return Err(OpError::Protocol(format!("{stage} needs a client name")));
        }
        // A length of the wire is a hint for space; nobody may reserve more than a disk has.
        wanted.block.len = wanted.block.len.min(MAX_SPACE_HINT);
        Ok(Self {
            sent: ChunkFormat::from(op.checksum),
            block: wanted,
            stage,
            from_datanode,
            is_transfer,
            op,
        })
    }

    /// Whether the peer is the client itself.
    fn is_first_node(&self) -> bool {
        self.wants_acks() && self.op.targets.len() + 1 == self.op.pipeline_size as usize
    }

    /// Whether a client waits for connect and packet acks.
    fn wants_acks(&self) -> bool {
        !self.from_datanode && !self.is_transfer
    }
}

/// The answer to a client whose replica cannot be opened.
fn refusal(text: String) -> BlockOpResponseProto {
    BlockOpResponseProto {
        message: Some(text),
        ..connect_ack(Status::Error, "")
    }
}

/// Largest block size believed when space is reserved.
const MAX_SPACE_HINT: u64 = 1 << 40;

/// Opens the replica as the stage says; `None` when the stage closes it without data.
fn open_replica(shared: &Shared, request: &Request, sockets: &Sockets) -> Result<Option<ReplicaWriter>, OpError> {
    let op = &request.op;
    let block = &request.block;
    let to = op.latest_generation_stamp;
    let sockets = sockets.clone();
    let interrupt: Interrupt = Arc::new(move || {
        for socket in sockets.lock().iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    });
    let storage_id = op
        .storage_id
        .as_deref()
        .filter(|id| !id.is_empty())
        .map(StorageId::from);
    let new = NewReplica {
        format: request.sent,
        storage_type: Some(op.storage_type),
        storage_id: storage_id.as_ref(),
        interrupt: interrupt.clone(),
    };
    let store = &shared.store;
    if request.from_datanode || request.is_transfer {
        return Ok(Some(store.create_temporary(block, new)?));
    }
    let writer = match request.stage {
        Stage::SetupCreate => store.create_rbw(block, new)?,
        Stage::SetupAppend => {
            let writer = store.append(block, to, op.min_bytes_received, interrupt)?;
            cache::forget(shared, &block.pool, block.block.id);
            writer
        }
        Stage::SetupAppendRecovery => {
            let writer = store.recover_append(block, to, op.min_bytes_received, interrupt)?;
            cache::forget(shared, &block.pool, block.block.id);
            writer
        }
        Stage::SetupStreamingRecovery => {
            let (min, max) = (op.min_bytes_received, op.max_bytes_received);
            return Ok(Some(store.recover_rbw(block, to, min, max, interrupt)?));
        }
        Stage::CloseRecovery => {
            let closed = store.recover_close(block, to, op.min_bytes_received)?;
            shared.tell_received(&block.pool, &closed);
            return Ok(None);
        }
        other => return Err(OpError::Protocol(format!("stage {other} does not set up a pipeline"))),
    };
    let (storage_id, storage_type) = writer.storage();
    let mut told = block.block;
    told.len = writer.len();
    if request.stage != Stage::SetupCreate {
        told.generation_stamp = to;
    }
    let news = ReplicaNews {
        block: told,
        kind: NewsKind::Receiving,
        storage_id,
        storage_type,
        delete_hint: String::new(),
    };
    shared.tell(&block.pool, &news);
    Ok(Some(writer))
}

/// Connects the next node and waits for its word. A client hears of a failure; a DataNode's copy goes on without.
fn set_up_mirror(
    connection: &Connection,
    request: &Request,
    sockets: &Sockets,
) -> Result<Option<Arc<Socket>>, OpError> {
    let Some(target) = request.op.targets.first() else {
        return Ok(None);
    };
    let name = mirror::address_text(target);
    let failure = match try_mirror(connection, request, sockets) {
        Ok((stream, answer)) if answer.as_ref().is_none_or(is_success) => return Ok(Some(stream)),
        Ok((_, answer)) => answer.unwrap_or_else(|| connect_ack(Status::Error, &name)),
        Err(error) => {
            tracing::warn!(block = %request.block, target = %name, %error, "cannot set up the next node");
            connect_ack(Status::Error, &name)
        }
    };
    if request.from_datanode {
        return Ok(None);
    }
    // Statuses go up as they came; a node that failed without naming one is itself the bad link.
    let answer = BlockOpResponseProto {
        first_bad_link: Some(failure.first_bad_link.filter(|link| !link.is_empty()).unwrap_or(name)),
        ..failure
    };
    let bad_link = answer.first_bad_link.clone().unwrap_or_default();
    write_response(&connection.stream, &answer).map_err(to_peer)?;
    Err(OpError::Mirror(format!("pipeline set-up failed at {bad_link}")))
}

fn try_mirror(
    connection: &Connection,
    request: &Request,
    sockets: &Sockets,
) -> Result<(Arc<Socket>, Option<BlockOpResponseProto>), OpError> {
    let targets = &request.op.targets;
    let further = targets.len() - 1;
    let stream = mirror::connect(&connection.shared, &targets[0], further)?;
    sockets.lock().push(stream.clone());
    write_op(&stream, &Op::WriteBlock(Box::new(mirrored_op(&request.op))))?;
    if request.from_datanode {
        return Ok((stream, None));
    }
    let answer = read_response(&mut Inbox::new(stream.clone()))?;
    Ok((stream, Some(answer)))
}

/// The operation for the next node: each list loses its head, which becomes the node's own value.
fn mirrored_op(op: &WriteBlock) -> WriteBlock {
    let mut next = op.clone();
    next.targets.remove(0);
    next.storage_type = op.target_storage_types.first().copied().unwrap_or_default();
    next.storage_id = op.target_storage_ids.first().cloned();
    next.pinning = op.target_pinnings.first().copied().unwrap_or(false);
    next.target_storage_types = op.target_storage_types.iter().skip(1).copied().collect();
    next.target_storage_ids = op.target_storage_ids.iter().skip(1).cloned().collect();
    next.target_pinnings = op.target_pinnings.iter().skip(1).copied().collect();
    next.allow_lazy_persist = false;
    next
}

fn receive(
    connection: &mut Connection,
    request: &Request,
    writer: ReplicaWriter,
    mirror: Option<Arc<Socket>>,
) -> Result<(), OpError> {
    let disk = writer.format();
    let relay = Relay::new(RelayConfig {
        bytes_per_checksum: disk.chunk,
        disk_checksum_size: disk.size(),
        packet_checksum_size: request.sent.size(),
        same_checksum: request.sent == disk,
        initial_len: writer.len(),
        has_mirror: mirror.is_some(),
        datanode_source: request.from_datanode,
        is_transfer: request.is_transfer,
        flag_bits: 0,
    });
    let pipeline = Arc::new(Pipeline::new(relay));
    let responder = Responder {
        shared: connection.shared.clone(),
        pipeline: pipeline.clone(),
        upstream: connection.stream.clone(),
        acks: writer.ack_handle(),
        block: request.block.clone(),
        stage: request.stage,
        pinning: request.op.pinning,
    };
    let further = request.op.targets.len();
    connection
        .stream
        .set_read_timeout(Some(connection.shared.pipeline_read_timeout(further)))?;
    let settings = &connection.shared.settings;
    let behind = WriteBehind {
        drop: request.op.caching.drop_behind.unwrap_or(settings.drop_behind_writes),
        sync: settings.sync_behind_writes,
        last: writer.len(),
    };
    let receiver = Receiver {
        shared: &connection.shared,
        inbox: &mut connection.inbox,
        upstream: connection.stream.clone(),
        pipeline,
        writer: Some(writer),
        sent: request.sent,
        mirror,
        behind,
        received: 0,
    };
    let received = receiver.run(responder);
    if let (Err(OpError::Io(error)), Some(source)) = (&received, &request.op.source)
        && error.kind() == std::io::ErrorKind::InvalidData
        && request.from_datanode
    {
        connection.shared.report_bad(&request.block, Some(source.clone()));
    }
    received
}
