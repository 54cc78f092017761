//! The acks of one block being received: carrying out what the relay orders, and reading the mirror's acks.
//!
//! One thread at a time runs commands: the receiving one when there is no mirror to listen to or the block is young, else a
//! second one.
//! Acks that are due together go out in one write.

use super::codec::{encode_ack, read_ack};
use super::inbox::Inbox;
use super::socket::Socket;
use super::{OpError, codec, pinning};
use crate::shared::Shared;
use bytes::BytesMut;
use hadron_pipeline::packet::Stage;
use hadron_pipeline::relay::{CloseReason, Relay, RelayCommand, WaitsFor};
use hadron_replica::{AckHandle, ReplicaWriter};
use hadron_types::ExtendedBlock;
use parking_lot::{Condvar, Mutex};
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Share of the read time-out after which a mirror that leaves has been kept waiting (Hadoop: as much).
const MAX_IDLE_SHARE: f64 = 0.9;
/// The least time an ack is waited for.
const SHORTEST_READ: Duration = Duration::from_millis(1);

/// What receiver and responder share about one block.
pub(super) struct Pipeline {
    pub(super) relay: Mutex<Relay>,
    pub(super) changed: Condvar,
    /// Handed over with the last packet; until then the receiver owns it.
    pub(super) writer: Mutex<Option<ReplicaWriter>>,
    /// The first failure on the responder's side.
    pub(super) failure: Mutex<Option<OpError>>,
    /// When sending to the mirror last began.
    pub(super) sent: Mutex<Instant>,
    /// When a packet last came while no other one waited for its ack.
    pub(super) busy_since: Mutex<Instant>,
}

impl Pipeline {
    pub(super) fn new(relay: Relay) -> Self {
        Self {
            relay: Mutex::new(relay),
            changed: Condvar::new(),
            writer: Mutex::new(None),
            failure: Mutex::new(None),
            sent: Mutex::new(Instant::now()),
            busy_since: Mutex::new(Instant::now()),
        }
    }

    /// Changes the relay and wakes the other thread.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Relay) -> T) -> T {
        let result = change(&mut self.relay.lock());
        self.changed.notify_all();
        result
    }
}

/// Carries out the relay's commands.
pub(super) struct Responder {
    pub(super) shared: Arc<Shared>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) upstream: Arc<Socket>,
    pub(super) acks: AckHandle,
    pub(super) block: ExtendedBlock,
    pub(super) stage: Stage,
    /// Whether balancers must leave the replica alone.
    pub(super) pinning: bool,
}

/// What a thread that runs the relay does next.
enum Step {
    Run(RelayCommand),
    /// The next news can only come from the mirror.
    ReadAck,
    /// No packet is on its way; the mirror may have news of its own.
    Listen,
    /// Nothing is due.
    Idle,
}

impl Responder {
    /// Runs everything that is due; the reason once the relay has ended.
    pub(super) fn run_commands(&self) -> Option<CloseReason> {
        let mut due = BytesMut::new();
        let mut reason = None;
        while let Step::Run(command) = self.next_step(false) {
            reason = self.execute(command, &mut due).or(reason);
        }
        self.flush(&mut due);
        self.pipeline.changed.notify_all();
        reason
    }

    /// The second thread of a node with a mirror; `inbox`: what comes from there.
    pub(super) fn run(&self, mirror: &Socket, mut inbox: Inbox) -> CloseReason {
        let mut due = BytesMut::new();
        loop {
            let mut step = self.next_step(false);
            if !matches!(step, Step::Run(_)) {
                self.flush(&mut due);
                self.pipeline.changed.notify_all();
                step = self.next_step(true);
            }
            match step {
                Step::Run(command) => {
                    if let Some(reason) = self.execute(command, &mut due) {
                        self.flush(&mut due);
                        self.pipeline.changed.notify_all();
                        return reason;
                    }
                }
                Step::ReadAck => self.read_downstream(mirror, &mut inbox),
                Step::Listen => self.listen_downstream(mirror, &mut inbox),
                Step::Idle => return CloseReason::LocalFailure,
            }
        }
    }

    /// Polls and decides under one lock, so that no change is missed. With `wait`, `Idle` means that the relay ended.
    fn next_step(&self, wait: bool) -> Step {
        let mut relay = self.pipeline.relay.lock();
        loop {
            if let Some(command) = relay.poll_command() {
                return Step::Run(command);
            }
            match relay.waits_for() {
                WaitsFor::Downstream => return Step::ReadAck,
                WaitsFor::Ended => return Step::Idle,
                _ if !wait => return Step::Idle,
                WaitsFor::Packet if relay.mirror_alive() => return Step::Listen,
                _ => self.pipeline.changed.wait(&mut relay),
            }
        }
    }

    /// Waits for the beginning of an ack while none is due. Silence is no failure, however long it lasts, unless a packet
    /// came meanwhile: from then on the mirror has its time. The receiver wakes this thread by closing the mirror.
    fn listen_downstream(&self, mirror: &Socket, inbox: &mut Inbox) {
        match inbox.need(1) {
            Ok(()) => self.read_downstream(mirror, inbox),
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.lost_downstream(mirror, &error);
            }
            Err(_) if self.pipeline.relay.lock().waits_for() == WaitsFor::Downstream => {
                let patience = mirror.read_timeout().ok().flatten();
                let left = patience.map(|all| all.saturating_sub(self.pipeline.busy_since.lock().elapsed()));
                // No time at all would mean for ever.
                let _ = mirror.set_read_timeout(left.map(|left| left.max(SHORTEST_READ)));
                self.read_downstream(mirror, inbox);
                let _ = mirror.set_read_timeout(patience);
            }
            Err(_) => {}
        }
    }

    /// Reads an ack of the next node.
    pub(super) fn read_downstream(&self, mirror: &Socket, inbox: &mut Inbox) {
        match read_ack(inbox) {
            Ok(ack) => self.pipeline.update(|relay| relay.ack_received(ack)),
            Err(error) => self.lost_downstream(mirror, &error),
        }
    }

    /// The next node is to blame, unless it left because nothing came from here for too long: then the upstream decides
    /// whether it was this node or one further up, by how this connection ends.
    fn lost_downstream(&self, mirror: &Socket, error: &io::Error) {
        let was_starved = error.kind() == ErrorKind::UnexpectedEof && self.is_late();
        self.pipeline.update(|relay| {
            let is_news =
                relay.mirror_alive() && !matches!(relay.waits_for(), WaitsFor::Ended) && !relay.is_head_corrupt();
            if is_news && was_starved {
                tracing::warn!(block = %self.block, "the next node left: this one, or one before it, was too slow");
                relay.local_failed();
                return;
            }
            if is_news {
                tracing::warn!(block = %self.block, %error, "lost the acks of the next node");
            }
            relay.mirror_failed();
        });
        // A receiver that waits for a silent node to take more goes on without it, and so does its upstream.
        let _ = mirror.shutdown(Shutdown::Both);
    }

    /// Whether nothing was sent to the mirror for most of the time that it waits for packets.
    fn is_late(&self) -> bool {
        let patience = self.shared.settings.socket_timeout;
        self.pipeline.sent.lock().elapsed() > patience.mul_f64(MAX_IDLE_SHARE)
    }

    fn execute(&self, command: RelayCommand, due: &mut BytesMut) -> Option<CloseReason> {
        match command {
            RelayCommand::SendAck { ack, bytes_acked } => {
                self.acks.acked(bytes_acked);
                encode_ack(&ack, due);
                None
            }
            RelayCommand::Finalize { len } => {
                self.flush(due);
                let result = self.finalize(len);
                let ok = result.is_ok();
                self.note_failure(result);
                self.pipeline.update(|relay| relay.block_finalized(ok));
                None
            }
            RelayCommand::Close { reason } => Some(reason),
        }
    }

    fn flush(&self, due: &mut BytesMut) {
        if due.is_empty() {
            return;
        }
        let sent = (&*self.upstream).write_all(due);
        due.clear();
        if let Err(error) = sent {
            self.note_failure(Err(OpError::PeerLeft(error)));
            // Ends the receiver's read as well.
            let _ = self.upstream.shutdown(Shutdown::Both);
            self.pipeline.update(Relay::local_failed);
        }
    }

    fn finalize(&self, len: u64) -> Result<(), OpError> {
        let writer = self.pipeline.writer.lock().take();
        let writer = writer.ok_or_else(|| OpError::Protocol("block ended without its last packet".into()))?;
        if self.stage == Stage::TransferRbw {
            let adopted = writer.adopt(self.block.block.len)?;
            tracing::debug!(block = %adopted, "copy joins a pipeline");
            return Ok(());
        }
        let finalized = writer.finalize(Some(len))?;
        tracing::debug!(block = %finalized.block, len, "replica finalized");
        if self.pinning {
            let pinned = ExtendedBlock {
                pool: self.block.pool.clone(),
                block: finalized.block,
            };
            pinning::pin(&self.shared, &pinned);
        }
        if self.stage != Stage::TransferFinalized {
            self.shared.tell_received(&self.block.pool, &finalized);
        }
        Ok(())
    }

    fn note_failure(&self, result: Result<(), OpError>) {
        if let Err(error) = result {
            self.pipeline.failure.lock().get_or_insert(error);
        }
    }
}

/// The error that a reason other than `Finished` stands for.
pub(super) fn error_of(reason: CloseReason) -> Option<OpError> {
    match reason {
        CloseReason::Finished | CloseReason::Restarting => None,
        CloseReason::ChecksumError => Some(codec::invalid("packet does not match its checksums").into()),
        CloseReason::DownstreamFoundCorruption => {
            Some(OpError::Mirror("the next node received corrupt data from here".into()))
        }
        CloseReason::AckOutOfOrder { expected, received } => Some(OpError::Mirror(format!(
            "the next node acked packet {received}, expected {expected}"
        ))),
        CloseReason::LocalFailure => Some(OpError::Protocol("reception ended early".into())),
    }
}
