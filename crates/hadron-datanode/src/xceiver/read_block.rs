//! READ_BLOCK: a range of a replica to a client.
//!
//! The response goes out with the first packet. A reader that stops early just closes; one that read everything sends
//! its status, which must be read before the next operation.

use super::engine::{CopyEngine, CountingEngine, SendEngine, SendError, SendfileEngine};
use super::sender::{CacheAdvice, SendPlan};
use super::{Connection, OpError, OpResult, Outcome, codec, to_peer};
use crate::settings::SendEngineKind;
use bytes::BytesMut;
use hadron_proto::hdfs::{CachingStrategyProto, Status};
use hadron_replica::{ReplicaError, ReplicaReader};
use hadron_types::{ExtendedBlock, ReplicaState};
use hadron_wire::transfer::op::ReadBlock;
use hadron_wire::transfer::response::{encode_response, failure, read_read_status, read_success};
use std::io::ErrorKind;
use std::time::Duration;

/// How long a read waits for bytes that a writer is about to store.
const RBW_PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn run(connection: &mut Connection, op: ReadBlock, block: &mut Option<ExtendedBlock>) -> OpResult {
    let wanted = op.header.block.clone();
    *block = Some(wanted.clone());
    connection.admit_read(&op.header)?;
    let (replica, plan) = match open(connection, &wanted, &op) {
        Ok(found) => found,
        Err((text, error)) => {
            codec::write_response(&connection.stream, &failure(Status::Error, text)).map_err(to_peer)?;
            return Err(error);
        }
    };
    let mut response = BytesMut::new();
    encode_response(&mut response, &read_success(&plan.format.checksum(), plan.start));
    let cache = cache_advice(connection, &op.caching);
    let mut engine = CountingEngine {
        engine: engine(connection.shared.settings.send_engine),
        moved: connection.inbox.moved().clone(),
    };
    let sent = plan.send(&connection.stream, &replica, &mut engine, response.to_vec(), cache);
    match sent {
        Ok(bytes) => {
            connection.shared.metrics.bytes_read.inc_by(bytes);
            connection.shared.metrics.blocks_read.inc();
            read_status(connection, &wanted)
        }
        Err(SendError::Socket(error)) => {
            let error = to_peer(error);
            // Most errors of a socket mean that the reader left or sleeps; others may come from the file behind `sendfile`.
            if matches!(&error, OpError::Io(cause) if !matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
            {
                connection.shared.suspect(&wanted);
            }
            Err(error)
        }
        Err(SendError::Disk(error)) => {
            // An open replica may have lost bytes that nobody acked to a recovery of its pipeline.
            let finished = replica.state() == ReplicaState::Finalized;
            if finished && matches!(error, ReplicaError::Corrupt { .. }) || error.is_disk_failure() {
                connection.shared.report_bad(&wanted, None);
                connection.shared.suspect(&wanted);
            }
            Err(error.into())
        }
    }
}

/// Opens the replica and plans the range; an error comes with the text for the client.
fn open(
    connection: &Connection,
    block: &ExtendedBlock,
    op: &ReadBlock,
) -> Result<(ReplicaReader, SendPlan), (String, OpError)> {
    let len = (op.len != u64::MAX).then_some(op.len);
    let need = op.offset.saturating_add(len.unwrap_or(0));
    let refuse = |text: String, error: OpError| (format!("opReadBlock {block} received exception {text}"), error);
    let replica = connection
        .shared
        .open_for_read(block, need, RBW_PATIENCE)
        .map_err(|error| refuse(hadron_types::HadoopError::from(&error).to_string(), error.into()))?;
    let plan = SendPlan::new(&replica, op.offset, len, op.send_checksums)
        .map_err(|text| refuse(format!("java.io.IOException: {text}"), OpError::Protocol(text)))?;
    Ok((replica, plan))
}

fn cache_advice(connection: &Connection, strategy: &CachingStrategyProto) -> CacheAdvice {
    let settings = &connection.shared.settings;
    let asked = strategy.readahead;
    CacheAdvice {
        readahead: asked.map_or(settings.readahead, |bytes| u64::try_from(bytes).unwrap_or(0)),
        readahead_forced: asked.is_some_and(|bytes| bytes > 0),
        drop_behind: strategy.drop_behind.unwrap_or(settings.drop_behind_reads),
    }
}

pub(super) fn engine(kind: SendEngineKind) -> Box<dyn SendEngine> {
    match kind {
        SendEngineKind::Copy => Box::<CopyEngine>::default(),
        SendEngineKind::Sendfile => Box::new(SendfileEngine),
    }
}

fn read_status(connection: &mut Connection, block: &ExtendedBlock) -> OpResult {
    match read_read_status(&mut connection.inbox) {
        Ok(Status::Success | Status::ChecksumOk) => Ok(Outcome::KeepOpen),
        Ok(status) => {
            tracing::warn!(peer = %connection.peer, ?status, %block, "reader reports a problem");
            connection.shared.suspect(block);
            Ok(Outcome::KeepOpen)
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(OpError::Protocol(error.to_string())),
        Err(error) => {
            tracing::debug!(peer = %connection.peer, %error, "reader left without a status");
            Ok(Outcome::Close)
        }
    }
}
