//! REPLACE_BLOCK: fetch a replica from another DataNode in exchange for that of a third (balancing), or move one's own
//! to another medium.
//!
//! This node asks the proxy, any holder near by, for a copy ([`super::copy_block`]), receives it into a TEMPORARY no
//! faster than balancing may, and tells the NameNode with the hint which replica may go. Whoever ordered the move hears
//! IN_PROGRESS with the first packet and after each half of its patience, then how it ended.
//! Invariants: no packet is stored that does not match its checksums; the final answer goes out after the place of the
//! move was given back, so that the balancer may use it at once. Source: Hadoop `DataXceiver.replaceBlock`.

use super::codec::{is_success, parse_packet, write_op, write_response};
use super::inbox::{Inbox, PACKET_BUFFER};
use super::socket::Socket;
use super::{Connection, OpError, OpResult, Outcome, codec, mirror, to_peer};
use crate::balancing::Move;
use crate::shared::Shared;
use hadron_proto::hdfs::{BlockOpResponseProto, Status};
use hadron_replica::{ChunkFormat, FinalizedReplica, Interrupt, NewReplica, Packet, ReplicaWriter};
use hadron_types::{ExtendedBlock, HadoopError, StorageId};
use hadron_wire::transfer::op::{BlockHeader, ReplaceBlock};
use hadron_wire::transfer::response::{failure, read_response, success};
use hadron_wire::transfer::{Checksum, Op};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Largest block size believed when space is reserved.
const MAX_SPACE_HINT: u64 = 1 << 40;

pub(super) fn run(connection: &mut Connection, op: ReplaceBlock, block: &mut Option<ExtendedBlock>) -> OpResult {
    let wanted = op.header.block.clone();
    *block = Some(wanted.clone());
    connection.admit_replace(&op)?;
    let Some(place) = connection.shared.balancing.begin() else {
        let text = format!(
            "Not able to receive block {} from /{} because threads quota is exceeded.",
            wanted.block.id, connection.peer
        );
        tracing::warn!("{text}");
        write_response(&connection.stream, &failure(Status::Error, text)).map_err(to_peer)?;
        return Ok(Outcome::Close);
    };
    let own = op.source.id.datanode_uuid == connection.shared.store.uuid().as_str();
    let moved = match own {
        true => move_here(&connection.shared, &op),
        false => fetch(connection, &op, &place),
    };
    drop(place);
    let answer = match &moved {
        Ok(_) => success(),
        Err(error) => {
            let status = match error {
                OpError::Pinned(_) => Status::ErrorBlockPinned,
                _ => Status::Error,
            };
            failure(
                status,
                format!("opReplaceBlock {wanted} received exception {}", as_java(error)),
            )
        }
    };
    let told = write_response(&connection.stream, &answer).map_err(to_peer);
    let moved = moved?;
    tracing::info!(
        block = %moved.block, source = %mirror::address_text(&op.source), hint = %op.delete_hint,
        storage = %moved.storage_id, "replica moved here"
    );
    told.map(|()| Outcome::Close)
}

/// Class and message of a failure, as Java prints an exception.
fn as_java(error: &OpError) -> String {
    match error {
        OpError::Pinned(text) => format!("org.apache.hadoop.hdfs.protocol.BlockPinningException: {text}"),
        OpError::Replica(error) => HadoopError::from(error).to_string(),
        other => HadoopError::io(other.to_string()).to_string(),
    }
}

/// Moves a replica of this DataNode to a storage of the medium that is asked for.
fn move_here(shared: &Shared, op: &ReplaceBlock) -> Result<FinalizedReplica, OpError> {
    let block = &op.header.block;
    let moved = shared
        .store
        .move_replica(block, op.storage_type, wanted_storage(op).as_ref())
        .inspect_err(|error| {
            if error.is_damage() {
                shared.report_bad(block, None);
            }
        })?;
    // The NameNode knows that a DataNode has one replica of a block: no hint is needed.
    shared.tell_received(&block.pool, &moved);
    Ok(moved)
}

fn wanted_storage(op: &ReplaceBlock) -> Option<StorageId> {
    op.storage_id
        .as_deref()
        .filter(|id| !id.is_empty())
        .map(StorageId::from)
}

/// Fetches the replica from the proxy.
fn fetch(connection: &Connection, op: &ReplaceBlock, place: &Move) -> Result<FinalizedReplica, OpError> {
    let shared = &connection.shared;
    let block = &op.header.block;
    let proxy = mirror::address_text(&op.source);
    let failed = |error: std::io::Error| OpError::Mirror(format!("copy {block} from {proxy}: {error}"));
    let stream = mirror::connect(shared, &op.source, 0).map_err(failed)?;
    let header = BlockHeader {
        block: block.clone(),
        token: op.header.token.clone(),
    };
    write_op(&stream, &Op::CopyBlock(header)).map_err(failed)?;
    let mut inbox = Inbox::new(stream.clone());
    let response = read_response(&mut inbox).map_err(failed)?;
    let sent = accept(&response, block, &proxy)?;
    let sockets = stream.clone();
    let interrupt: Interrupt = Arc::new(move || {
        // Wakes this thread, which may be waiting for a packet.
        let _ = sockets.shutdown(Shutdown::Both);
    });
    let storage_id = wanted_storage(op);
    let mut expected = block.clone();
    expected.block.len = expected.block.len.min(MAX_SPACE_HINT);
    let writer = shared.store.create_temporary(
        &expected,
        NewReplica {
            format: sent,
            storage_type: Some(op.storage_type),
            storage_id: storage_id.as_ref(),
            interrupt,
        },
    )?;
    let mut reception = Reception {
        shared,
        orderer: &connection.stream,
        inbox: &mut inbox,
        proxy: &stream,
        writer,
        sent,
        answered: None,
    };
    let len = reception.run(place)?;
    let finalized = reception.writer.finalize(Some(len))?;
    shared.tell_moved(&block.pool, &finalized, &op.delete_hint);
    // The proxy says that it gave its place back: moves may follow each other at once.
    let _ = inbox.need(super::copy_block::TRAILER.len());
    Ok(finalized)
}

/// The checksums of the packets to come. None at all is believed, as Hadoop does: only a proxy knows whether the block was
/// written so, and those that lost its checksums refuse the copy ([`super::transfer_block::open_for_copy`]).
fn accept(response: &BlockOpResponseProto, block: &ExtendedBlock, proxy: &str) -> Result<ChunkFormat, OpError> {
    if !is_success(response) {
        let status = Status::try_from(response.status).unwrap_or(Status::Error);
        let name = status.as_str_name();
        let message = response.message();
        let text = format!("Got error, status={name}, status message {message}, copy block {block} from /{proxy}");
        return Err(match status {
            Status::ErrorBlockPinned => OpError::Pinned(text),
            _ => OpError::Mirror(text),
        });
    }
    let info = response.read_op_checksum_info.as_ref();
    let info = info.ok_or_else(|| OpError::Protocol(format!("{proxy} answers a copy without checksum information")))?;
    let checksum = Checksum::try_from(&info.checksum).map_err(|error| OpError::Protocol(error.to_string()))?;
    Ok(ChunkFormat::from(checksum))
}

/// The packets of one replica on their way in.
struct Reception<'a> {
    shared: &'a Shared,
    /// Who ordered the move.
    orderer: &'a Socket,
    inbox: &'a mut Inbox,
    proxy: &'a Socket,
    writer: ReplicaWriter,
    sent: ChunkFormat,
    /// When the orderer last heard that the move goes on.
    answered: Option<Instant>,
}

impl Reception<'_> {
    /// Receives everything; gives the length of the block.
    fn run(&mut self, place: &Move) -> Result<u64, OpError> {
        self.inbox.reserve(PACKET_BUFFER);
        loop {
            let (taken, last) = self.take_packet()?;
            if last {
                return Ok(self.writer.len());
            }
            let interval = self.shared.settings.socket_timeout / 2;
            let (orderer, answered, stop) = (self.orderer, &mut self.answered, &self.shared.stop);
            place.pass(taken, || {
                if stop.is_cancelled() {
                    return Err(OpError::Protocol("this DataNode is stopping".into()));
                }
                tell_in_progress(orderer, answered, interval)
            })?;
        }
    }

    /// Verifies and stores the next packet; gives its data bytes and whether it is the last one.
    fn take_packet(&mut self) -> Result<(u64, bool), OpError> {
        let packet = loop {
            match parse_packet(self.inbox.available())? {
                Ok(packet) => break packet,
                Err(need) => self.inbox.need(need).map_err(|error| self.lost(&error))?,
            }
        };
        let header = packet.header;
        let at = self.writer.len();
        if header.offset_in_block != at || (header.last_in_block != (header.data_len == 0)) {
            return Err(OpError::Protocol(format!(
                "packet {} of {} bytes at {} while {at} bytes are here",
                header.seqno, header.data_len, header.offset_in_block
            )));
        }
        let bytes = &self.inbox.available()[..packet.len];
        let (sums, data) = (&bytes[packet.sums..packet.data], &bytes[packet.data..]);
        if !sums.is_empty() && self.sent.verify(data, sums).is_err() {
            self.shared.metrics.checksum_errors.inc();
            return Err(codec::invalid(format!("packet at {at} does not match its checksums")).into());
        }
        if header.data_len > 0 {
            let stored = Packet { offset: at, sums, data };
            self.writer.write(&[stored], self.sent)?;
            self.shared.metrics.bytes_written.inc_by(data.len() as u64);
        }
        self.inbox.consume(packet.len);
        Ok((u64::from(header.data_len), header.last_in_block))
    }

    fn lost(&self, error: &std::io::Error) -> OpError {
        let from = self
            .proxy
            .peer_addr()
            .map_or_else(|_| "the proxy".to_owned(), |addr| addr.to_string());
        OpError::Mirror(format!(
            "{from} stopped sending after {} bytes: {error}",
            self.writer.len()
        ))
    }
}

/// Says that the move goes on, if nothing was said for `interval`.
fn tell_in_progress(orderer: &Socket, answered: &mut Option<Instant>, interval: Duration) -> Result<(), OpError> {
    if answered.is_some_and(|at| at.elapsed() < interval) {
        return Ok(());
    }
    let progress = BlockOpResponseProto {
        status: Status::InProgress as i32,
        ..Default::default()
    };
    write_response(orderer, &progress).map_err(to_peer)?;
    *answered = Some(Instant::now());
    Ok(())
}
