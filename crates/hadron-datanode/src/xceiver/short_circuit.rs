//! REQUEST_SHORT_CIRCUIT_FDS, RELEASE_SHORT_CIRCUIT_FDS and REQUEST_SHORT_CIRCUIT_SHM: what a client on this machine needs
//! to read replicas itself.
//!
//! Descriptors are those of one finalized replica, open for reading only, and only go over a Unix socket. A slot is
//! registered before they go and taken back when they do not arrive. Source: Hadoop `DataXceiver`.

use super::{Connection, OpError, OpResult, Outcome, codec, to_peer};
use crate::short_circuit::{RegistryError, ReplicaKey, watch_segment};
use hadron_proto::hdfs::{
    BlockOpResponseProto, OpRequestShortCircuitAccessProto, ReleaseShortCircuitAccessRequestProto,
    ReleaseShortCircuitAccessResponseProto, ShortCircuitShmIdProto, ShortCircuitShmRequestProto,
    ShortCircuitShmResponseProto, ShortCircuitShmSlotProto, Status,
};
use hadron_replica::ReplicaReader;
use hadron_shm::{ShmId, SlotId, send_descriptors};
use hadron_types::{ExtendedBlock, ReplicaState};
use hadron_wire::delimited;
use hadron_wire::transfer::op::BlockHeader;
use hadron_wire::transfer::response::failure;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// Format of data and meta files (Hadoop `DataNode.CURRENT_BLOCK_FORMAT_VERSION`).
const BLOCK_FORMAT_VERSION: u32 = 1;

/// Descriptors of a replica's data and meta file.
pub(super) fn request_fds(
    connection: &mut Connection,
    op: OpRequestShortCircuitAccessProto,
    block: &mut Option<ExtendedBlock>,
) -> OpResult {
    let header = BlockHeader::from(op.header.clone());
    *block = Some(header.block.clone());
    connection.admit_read(&header)?;
    let slot = op.slot_id.as_ref().map(slot_id);
    let mut registered = Registered { connection, slot: None };
    let replica = match registered.prepare(&header.block, slot, op.max_version) {
        Ok(replica) => replica,
        Err(refusal) => {
            // The slot is free before the client hears that it has nothing.
            drop(registered);
            tracing::warn!(block = %header.block, peer = %connection.peer, message = refusal.message(), "short-circuit access refused");
            connection.shared.metrics.op_errors.inc();
            codec::write_response(&connection.stream, &refusal).map_err(to_peer)?;
            return Ok(Outcome::KeepOpen);
        }
    };
    registered.hand_over(&replica, op.supports_receipt_verification())?;
    Ok(Outcome::KeepOpen)
}

/// A slot that is taken back unless the descriptors arrived.
struct Registered<'a> {
    connection: &'a mut Connection,
    slot: Option<SlotId>,
}

impl Registered<'_> {
    /// Registers the slot and opens the replica, in this order: a replica that is unlocked meanwhile sees the slot.
    fn prepare(
        &mut self,
        block: &ExtendedBlock,
        slot: Option<SlotId>,
        max_version: u32,
    ) -> Result<ReplicaReader, Box<BlockOpResponseProto>> {
        let refuse = |text: String| Box::new(failure(Status::Error, text));
        if self.connection.stream.domain().is_none() {
            return Err(refuse(
                "You cannot pass file descriptors over anything but a UNIX domain socket.".into(),
            ));
        }
        let shared = &self.connection.shared;
        if let Some(slot) = slot {
            let replica: ReplicaKey = (block.pool.clone(), block.block.id);
            let registered = shared.short_circuit.register_slot(&replica, slot);
            registered.map_err(|error| refuse(error.to_string()))?;
            self.slot = Some(slot);
        }
        if max_version < BLOCK_FORMAT_VERSION {
            return Err(Box::new(BlockOpResponseProto {
                short_circuit_access_version: Some(BLOCK_FORMAT_VERSION),
                ..failure(
                    Status::ErrorUnsupported,
                    format!(
                        "Your client is too old to read this block!  Its format version is {BLOCK_FORMAT_VERSION}, but \
                         the highest format version you can read is {max_version}"
                    ),
                )
            }));
        }
        let replica = shared
            .open_for_read(block, 0, Duration::ZERO)
            .map_err(|error| refuse(error.to_string()))?;
        if replica.state() != ReplicaState::Finalized {
            let state = replica.state().name();
            return Err(refuse(format!("Replica {block} is not finalized but {state}.")));
        }
        if replica.data().is_none() || replica.meta().is_none() {
            return Err(refuse(format!("Replica {block} has no files that can be passed.")));
        }
        Ok(replica)
    }

    /// Sends the answer and the descriptors, and waits for the receipt if the client gives one.
    fn hand_over(mut self, replica: &ReplicaReader, receipt: bool) -> Result<(), OpError> {
        let connection = &*self.connection;
        let (Some(data), Some(meta), Some(socket)) = (replica.data(), replica.meta(), connection.stream.domain())
        else {
            return Err(OpError::Protocol("nothing to pass".into()));
        };
        let answer = BlockOpResponseProto {
            status: Status::Success as i32,
            short_circuit_access_version: Some(BLOCK_FORMAT_VERSION),
            ..Default::default()
        };
        codec::write_response(&connection.stream, &answer).map_err(to_peer)?;
        send_descriptors(socket, &[data.as_fd(), meta.as_fd()], &[u8::from(receipt)]).map_err(to_peer)?;
        if receipt {
            self.connection.inbox.read_exact(&mut [0]).map_err(to_peer)?;
        }
        self.slot = None;
        let metrics = &self.connection.shared.metrics;
        metrics.short_circuit_replicas.inc();
        Ok(())
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        tracing::info!(%slot, "Unregistering {slot} because the requestShortCircuitFdsForRead operation failed.");
        if let Err(error) = self.connection.shared.short_circuit.unregister_slot(slot) {
            tracing::debug!(%slot, %error, "its segment is gone already");
        }
    }
}

/// Takes a slot back.
pub(super) fn release_fds(connection: &mut Connection, op: ReleaseShortCircuitAccessRequestProto) -> OpResult {
    let slot = slot_id(&op.slot_id);
    let released = connection.shared.short_circuit.unregister_slot(slot);
    let answer = match &released {
        Ok(()) => ReleaseShortCircuitAccessResponseProto {
            status: Status::Success as i32,
            error: None,
        },
        Err(error) => {
            tracing::warn!(%slot, peer = %connection.peer, %error, "slot not released");
            ReleaseShortCircuitAccessResponseProto {
                status: Status::ErrorInvalid as i32,
                error: Some(error.to_string()),
            }
        }
    };
    let mut stream = &*connection.stream;
    stream.write_all(&delimited::to_vec(&answer)).map_err(to_peer)?;
    Ok(Outcome::KeepOpen)
}

/// Makes a segment. The connection is the segment's from then on: nothing else happens on it, and its end frees the segment.
pub(super) fn request_shm(connection: &mut Connection, op: ShortCircuitShmRequestProto) -> OpResult {
    let shared = connection.shared.clone();
    let created = match connection.stream.domain() {
        None => Err((
            Status::ErrorInvalid,
            format!(
                "Bad request from {}: must request shared memory segments over a UNIX domain socket",
                connection.peer
            ),
        )),
        Some(_) => shared.short_circuit.create_segment(&op.client_name).map_err(|error| {
            let text = match error {
                RegistryError::Full { .. } => error.to_string(),
                error => format!("Failed to create shared file descriptor: {error}"),
            };
            (Status::Error, text)
        }),
    };
    let (id, segment) = match created {
        Ok(created) => created,
        Err((status, text)) => {
            tracing::warn!(client = %op.client_name, peer = %connection.peer, text, "no shared memory segment");
            let answer = ShortCircuitShmResponseProto {
                status: status as i32,
                error: Some(text),
                id: None,
            };
            let mut stream = &*connection.stream;
            stream.write_all(&delimited::to_vec(&answer)).map_err(to_peer)?;
            return Ok(Outcome::KeepOpen);
        }
    };
    let answer = ShortCircuitShmResponseProto {
        status: Status::Success as i32,
        error: None,
        id: Some(ShortCircuitShmIdProto { hi: id.hi, lo: id.lo }),
    };
    let sent = (&*connection.stream)
        .write_all(&delimited::to_vec(&answer))
        .and_then(|()| {
            let socket = connection.stream.domain().ok_or(ErrorKind::InvalidInput)?;
            send_descriptors(socket, &[segment.as_fd()], &[0])
        });
    if let Err(error) = sent {
        shared.short_circuit.remove_segment(id);
        return Err(to_peer(error));
    }
    tracing::debug!(segment = %id, client = %op.client_name, "shared memory segment created");
    let watching = watch_segment(shared.clone(), id, connection.stream.clone());
    shared.tasks.spawn_on(watching, &shared.runtime);
    Ok(Outcome::Close)
}

fn slot_id(slot: &ShortCircuitShmSlotProto) -> SlotId {
    SlotId {
        shm: ShmId {
            hi: slot.shm_id.hi,
            lo: slot.shm_id.lo,
        },
        index: slot.slot_idx,
    }
}
