//! COPY_BLOCK: a whole replica to another DataNode that is about to take its place in a move (balancing).
//!
//! The packets are those of a read of all of it with checksums; nobody acks them. They go no faster than balancing may.
//! When everything is sent and the move's place is given back, two bytes say so. Source: Hadoop `DataXceiver.copyBlock`.

use super::codec::write_response;
use super::engine::SendError;
use super::read_block::engine;
use super::sender::{CacheAdvice, SendPlan};
use super::transfer_block::open_for_copy;
use super::{Connection, OpError, OpResult, Outcome, pinning, to_peer};
use bytes::BytesMut;
use hadron_proto::hdfs::Status;
use hadron_replica::ReplicaError;
use hadron_types::{ExtendedBlock, ReplicaState};
use hadron_wire::transfer::op::BlockHeader;
use hadron_wire::transfer::response::{encode_response, failure, read_success};
use std::io::{self, ErrorKind, Write};

/// Sent behind the last packet: a Java char `d`, for "done".
pub(super) const TRAILER: [u8; 2] = [0, b'd'];

pub(super) fn run(connection: &mut Connection, header: BlockHeader, block: &mut Option<ExtendedBlock>) -> OpResult {
    let wanted = header.block.clone();
    *block = Some(wanted.clone());
    connection.admit_copy(&header)?;
    let refused = |status: Status, why: &str| {
        let text = format!(
            "Not able to copy block {} to /{} because {why}",
            wanted.block.id, connection.peer
        );
        tracing::info!("{text}");
        write_response(&connection.stream, &failure(status, text)).map_err(to_peer)?;
        Ok(Outcome::Close)
    };
    if pinning::is_pinned(&connection.shared, &wanted) {
        return refused(Status::ErrorBlockPinned, "it's pinned ");
    }
    let Some(place) = connection.shared.balancing.begin() else {
        return refused(Status::Error, "threads quota is exceeded.");
    };
    let shared = &connection.shared;
    // Whoever does not have the block, or not its checksums, closes without a reply.
    let replica = open_for_copy(shared, &wanted)?;
    let plan = SendPlan::new(&replica, 0, None, true).map_err(OpError::Protocol)?;
    let mut response = BytesMut::new();
    encode_response(&mut response, &read_success(&plan.format.checksum(), plan.start));
    let cache = CacheAdvice {
        readahead: shared.settings.readahead,
        readahead_forced: false,
        drop_behind: true,
    };
    let mut engine = engine(shared.settings.send_engine);
    let mut pace = |bytes| {
        place.pass(bytes, || match shared.stop.is_cancelled() {
            true => Err(io::Error::new(ErrorKind::Interrupted, "this DataNode is stopping")),
            false => Ok(()),
        })
    };
    let sent = plan.send_paced(
        &connection.stream,
        &replica,
        engine.as_mut(),
        response.to_vec(),
        cache,
        &mut pace,
    );
    let bytes = match sent {
        Ok(bytes) => bytes,
        Err(SendError::Socket(error)) => return Err(to_peer(error)),
        Err(SendError::Disk(error)) => {
            let finished = replica.state() == ReplicaState::Finalized;
            if finished && matches!(error, ReplicaError::Corrupt { .. }) || error.is_disk_failure() {
                shared.report_bad(&wanted, None);
            }
            return Err(error.into());
        }
    };
    shared.metrics.bytes_read.inc_by(bytes);
    shared.metrics.blocks_read.inc();
    tracing::info!(block = %wanted, target = %connection.peer, bytes, "replica copied for balancing");
    drop(place);
    // The target has everything; it only waits a little for this.
    let _ = (&*connection.stream).write_all(&TRAILER);
    Ok(Outcome::Close)
}
