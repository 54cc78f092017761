//! The data transfer service: one file per operation, blocking code on one thread per active transfer.
//!
//! A connection is accepted and, while idle, parked on tokio ([`server`]); with bytes to read it gets a thread, which
//! runs operations until the peer closes, an operation ends the connection, or nothing more arrived.
//! Invariants: each connection holds one slot of the table from accept to close; every failed operation is logged
//! once, here, with operation, block, peer and cause.

mod admit;
mod block_checksum;
pub(crate) mod codec;
mod copy_block;
mod engine;
mod inbox;
mod mirror;
mod pinning;
mod read_block;
mod receiver;
mod replace_block;
mod responder;
mod sender;
pub(crate) mod server;
mod short_circuit;
pub(crate) mod socket;
pub(crate) mod table;
mod transfer_block;
pub(crate) mod workers;
mod write_behind;
mod write_block;

pub(crate) use transfer_block::{CopyTargets, copy_to_targets, datanode_id};

use crate::shared::Shared;
use hadron_types::ExtendedBlock;
use hadron_wire::transfer::{Op, TRANSFER_VERSION};
use inbox::Inbox;
use socket::{Peer, Socket};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Instant;

/// A data connection and its slot in the table.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    stream: Arc<Socket>,
    inbox: Inbox,
    peer: Peer,
    number: u64,
    ops: u64,
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The peer may send another one.
    KeepOpen,
    /// The connection ends, as it should.
    Close,
}

/// Why an operation failed; the connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpError {
    /// The peer left in the middle; normal for readers that have enough.
    #[error("peer left: {0}")]
    PeerLeft(io::Error),
    /// The peer's message or packet breaks the protocol.
    #[error("{0}")]
    Protocol(String),
    /// Socket or disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The replica does not allow it.
    #[error(transparent)]
    Replica(#[from] hadron_replica::ReplicaError),
    /// The token does not allow it.
    #[error("Block token verification failed: {0}")]
    Token(String),
    /// Another DataNode failed.
    #[error("{0}")]
    Mirror(String),
    /// The replica of another DataNode must stay where it is.
    #[error("{0}")]
    Pinned(String),
}

type OpResult = Result<Outcome, OpError>;

/// What a connection does next.
enum Next {
    Park,
    End,
}

impl Connection {
    /// Runs operations on this thread until nothing more has arrived or the connection is over.
    fn serve(mut self) {
        match self.serve_ops() {
            Next::Park => {
                self.inbox.shrink();
                server::park(self);
            }
            Next::End => {}
        }
    }

    fn serve_ops(&mut self) -> Next {
        loop {
            let patience = self.shared.settings.socket_timeout;
            self.inbox.set_deadline(Some(Instant::now() + patience));
            let op = self.read_op();
            self.inbox.set_deadline(None);
            let op = match op {
                Ok(op) => op,
                Err(error) => {
                    self.log_no_op(&error);
                    return Next::End;
                }
            };
            let name = op.name();
            self.shared
                .xceivers
                .note(self.number, self.ops, format!("{name} #{}", self.ops + 1));
            let start = Instant::now();
            let result = self.run_op(op);
            self.shared.metrics.observe(name, start.elapsed().as_secs_f64());
            self.ops += 1;
            match result {
                Ok(Outcome::KeepOpen)
                    if !self.shared.settings.keepalive.is_zero() && !self.shared.draining.is_cancelled() => {}
                Ok(_) => return Next::End,
                Err(()) => {
                    self.shared.metrics.op_errors.inc();
                    return Next::End;
                }
            }
            let waiting = format!("{} #{}", table::WAITING, self.ops + 1);
            self.shared.xceivers.note(self.number, self.ops, waiting);
            if self.inbox.available().is_empty() {
                return Next::Park;
            }
        }
    }

    /// Reads an operation; the connection is readable already.
    fn read_op(&mut self) -> io::Result<Op> {
        self.inbox.need(2)?;
        let version = i16::from_be_bytes([self.inbox.available()[0], self.inbox.available()[1]]);
        if version != TRANSFER_VERSION as i16 {
            return Err(codec::invalid(format!(
                "Version Mismatch (Expected: {TRANSFER_VERSION}, Received: {version} )"
            )));
        }
        self.inbox.need(3)?;
        let code = self.inbox.available()[2];
        Op::read(&mut self.inbox).map_err(|error| match error.kind() {
            ErrorKind::InvalidData if !is_opcode(code) => codec::invalid(format!("Unknown op {code} in data stream")),
            _ => error,
        })
    }

    fn log_no_op(&self, error: &io::Error) {
        let (peer, ops) = (self.peer, self.ops);
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                tracing::debug!(%peer, ops, "time-out waiting for an operation")
            }
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset if ops > 0 => {
                tracing::debug!(%peer, "cached peer closing after {ops} ops");
            }
            _ if self.shared.stop.is_cancelled() => {}
            ErrorKind::InvalidData => {
                self.shared.metrics.network_errors.inc();
                tracing::error!(%peer, %error, "no operation");
            }
            _ => {
                self.shared.metrics.network_errors.inc();
                tracing::warn!(%peer, %error, "no operation");
            }
        }
    }

    /// Runs one operation and logs its failure.
    fn run_op(&mut self, op: Op) -> Result<Outcome, ()> {
        let name = op.name();
        let mut block = None;
        let result = match op {
            Op::ReadBlock(op) => read_block::run(self, op, &mut block),
            Op::WriteBlock(op) => write_block::run(self, *op, &mut block),
            Op::TransferBlock(op) => transfer_block::run(self, *op, &mut block),
            Op::ReplaceBlock(op) => replace_block::run(self, *op, &mut block),
            Op::CopyBlock(header) => copy_block::run(self, header, &mut block),
            Op::BlockChecksum(op) => block_checksum::run(self, op, &mut block),
            Op::RequestShortCircuitFds(op) => short_circuit::request_fds(self, op, &mut block),
            Op::ReleaseShortCircuitFds(op) => short_circuit::release_fds(self, op),
            Op::RequestShortCircuitShm(op) => short_circuit::request_shm(self, op),
            _ => Err(OpError::Protocol(format!("operation {name} is not supported"))),
        };
        result.map_err(|error| self.log_failure(name, block.as_ref(), &error))
    }

    fn log_failure(&self, op: &'static str, block: Option<&ExtendedBlock>, error: &OpError) {
        let block = block.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let peer = self.peer;
        match error {
            OpError::Replica(cause) if cause.is_disk_failure() => {
                tracing::error!(op, %block, %peer, %error, "operation failed");
            }
            OpError::PeerLeft(_) if op == "READ_BLOCK" => tracing::debug!(op, %block, %peer, %error, "reader left"),
            _ => tracing::warn!(op, %block, %peer, %error, "operation failed"),
        }
    }

    /// Restores the normal time-outs before an operation.
    fn set_timeouts(&self) -> io::Result<()> {
        let settings = &self.shared.settings;
        let write = (!settings.write_timeout.is_zero()).then_some(settings.write_timeout);
        self.stream.set_read_timeout(Some(settings.socket_timeout))?;
        self.stream.set_write_timeout(write)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.xceivers.leave(self.number);
        self.shared.metrics.xceivers.dec();
    }
}

/// Codes of operations that exist; the others get Hadoop's words in the log.
fn is_opcode(code: u8) -> bool {
    matches!(code, 80 | 81 | 83..=90 | 127)
}

/// Sorts a socket error on the way to the peer: one that means it left, or another.
fn to_peer(error: io::Error) -> OpError {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => OpError::PeerLeft(error),
        _ => OpError::Io(error),
    }
}
