//! One DataNode's part in writing one block: what to do with each packet, and which ack goes upstream when.
//!
//! A shell with two threads (or two tasks) keeps one [`Relay`] behind a short lock:
//!
//! ```text
//! receiver: read packet -> packet_received -> run PacketSteps (forward, verify, write, sync) -> packet_stored
//! responder: read downstream ack -> ack_received
//! either, after each event: while let Some(command) = poll_command() { run it }
//! ```
//!
//! Commands must run one at a time and in order, by whoever polls them; [`Relay::waits_for`] tells a responder whether
//! to read the downstream socket or to wait for the receiver. It reads also while no packet is pending, for news without
//! one: a node below that restarts, or is gone. A node without a mirror needs no second thread: the
//! receiver polls after each packet.
//! What it does not do: no checksums, no files, no sockets, no time-outs (a time-out is reported as the failure of
//! whoever did not answer).
//! Invariants: `acked <= on_disk <= received`; acks leave in the order of the packets; a packet is acked only after it
//! was stored here (stricter than Apache's non-tail nodes); the replica is finalized before the last ack is sent; after
//! [`RelayCommand::Close`] nothing more is asked for.
//!
//! Source: Hadoop `BlockReceiver` and its `PacketResponder`.

mod write_plan;

pub use write_plan::{ChecksumPlan, WritePlan};

use crate::packet::{AckReply, PacketHeader, PipelineAck, Status, UNKNOWN_SEQNO};
use std::collections::VecDeque;
use std::time::Duration;

/// Packets that may wait for their ack before [`Relay::is_full`] asks the receiver to stop reading.
pub const MAX_PENDING_PACKETS: usize = 1024;
/// How long a node that found bad checksums keeps its connection open, so that the ack saying so arrives upstream.
pub const CHECKSUM_ERROR_LINGER: Duration = Duration::from_secs(3);

/// What is fixed for the receipt of one block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayConfig {
    /// Bytes per checksum of the replica's meta file, > 0.
    pub bytes_per_checksum: u32,
    /// Bytes of one checksum on disk: 4, or 0 when the replica has none.
    pub disk_checksum_size: usize,
    /// Bytes of one checksum in packets: 4, or 0 when the sender sends none.
    pub packet_checksum_size: usize,
    /// Whether the sender's checksum kind and chunk size are the replica's; else values for the disk are computed here.
    pub same_checksum: bool,
    /// Length of the replica when the receipt starts (append, recovery), 0 for a new one.
    pub initial_len: u64,
    /// Whether packets are forwarded to a further node.
    pub has_mirror: bool,
    /// Whether the sender is a DataNode (empty client name): checksums are verified, no acks are sent, and a lost
    /// mirror is no error.
    pub datanode_source: bool,
    /// Whether this is the copy that a client ordered (TRANSFER_*): no acks, and [`RelayCommand::Finalize`] means
    /// "convert to the target state".
    pub is_transfer: bool,
    /// Congestion bits for this node's replies; 0 = ECN off.
    pub flag_bits: u32,
}

impl RelayConfig {
    /// Whether this node must check each packet's data against its checksums.
    pub fn verifies(&self) -> bool {
        self.packet_checksum_size > 0 && (!self.has_mirror || self.datanode_source || !self.same_checksum)
    }
    /// Whether acks are sent upstream.
    pub fn sends_acks(&self) -> bool {
        !self.datanode_source && !self.is_transfer
    }
}

/// Names one received packet until it is stored. Tickets count up from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(u64);

/// What to do with one packet, in the order of the fields; then report [`Relay::packet_stored`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketSteps {
    /// Name to report the packet's fate by.
    pub ticket: Ticket,
    /// Send the packet, header and all, to the mirror. On failure report [`Relay::mirror_failed`] and go on.
    pub forward: bool,
    /// Check the data against the packet's checksums. On failure report [`LocalOutcome::ChecksumMismatch`].
    pub verify: bool,
    /// What to write, if any byte of the packet is new.
    pub write: Option<WritePlan>,
    /// Sync data and checksums to stable storage after writing (also what earlier packets wrote).
    pub sync: bool,
    /// Whether this is the block's last packet.
    pub last: bool,
}

/// What became of a packet at this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocalOutcome {
    /// All steps done.
    Stored,
    /// The data did not match its checksums; nothing of it was written.
    ChecksumMismatch,
}

/// Lengths of a replica being received. `acked <= on_disk <= received`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lengths {
    /// End of the furthest packet seen (Hadoop's `numBytes`).
    pub received: u64,
    /// End of what the shell reported as stored.
    pub on_disk: u64,
    /// End of what every node of the pipeline from here downwards acked; the visible length.
    pub acked: u64,
}

/// Order to the shell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RelayCommand {
    /// Close the files and turn the replica of `len` bytes into its final state, tell the NameNode, then report
    /// [`Relay::block_finalized`].
    Finalize {
        /// Length of the block.
        len: u64,
    },
    /// Publish `bytes_acked` as the replica's visible length, then send `ack` upstream. When the send fails the
    /// upstream is gone: end the connection.
    SendAck {
        /// The merged ack.
        ack: PipelineAck,
        /// The visible length from now on.
        bytes_acked: u64,
    },
    /// Nothing more will be asked for; end the connection as `reason` says.
    Close {
        /// Why.
        reason: CloseReason,
    },
}

/// Why a relay ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The block is complete and acked.
    Finished,
    /// This node found bad checksums and said so; wait [`CHECKSUM_ERROR_LINGER`] before closing.
    ChecksumError,
    /// The next node says that what we sent is corrupt: this node's memory or network is the culprit, so nothing is
    /// acked any more and the upstream will blame this node.
    DownstreamFoundCorruption,
    /// The downstream acked another packet than the next one due.
    AckOutOfOrder {
        /// Seqno that was due.
        expected: i64,
        /// Seqno that came.
        received: i64,
    },
    /// Storing or finalizing failed here.
    LocalFailure,
    /// This node is about to be started again and has told the upstream so; the replica stays open.
    Restarting,
}

/// Why a packet is refused; the connection ends without an ack for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RelayError {
    /// The packet begins behind the end of what was received.
    #[error("received an out-of-sequence packet at offset {offset} but expecting packet at {expected}")]
    OutOfSequence {
        /// Where it begins.
        offset: u64,
        /// End of what was received.
        expected: u64,
    },
    /// A packet that begins inside a chunk may only finish that chunk.
    #[error(
        "a partial chunk must be sent in an individual packet (data length = {len} > bytes per checksum = {chunk})"
    )]
    UnalignedPacketTooLong {
        /// Its data bytes.
        len: u32,
        /// Bytes per checksum.
        chunk: u32,
    },
    /// The number of checksum bytes does not fit the number of chunks.
    #[error("packet has {received} checksum bytes for {len} data bytes, expected {expected}")]
    ChecksumLength {
        /// Data bytes.
        len: u32,
        /// Checksum bytes it should have.
        expected: usize,
        /// Checksum bytes it has.
        received: usize,
    },
    /// The last packet of a block carries none.
    #[error("last packet of the block carries {len} data bytes")]
    DataInLastPacket {
        /// Its data bytes.
        len: u32,
    },
    /// A packet came after the last one.
    #[error("packet {seqno} received after the last packet of the block")]
    AfterLastPacket {
        /// Its seqno.
        seqno: i64,
    },
    /// The relay has ended, or more than [`MAX_PENDING_PACKETS`] wait.
    #[error("relay accepts no packet")]
    NotAccepting,
}

/// What a responder should wait for when [`Relay::poll_command`] has nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitsFor {
    /// No packet is pending: the next [`Relay::packet_received`].
    Packet,
    /// Of the oldest packet only the word that it is stored is missing: [`Relay::packet_stored`].
    Local,
    /// The oldest packet's downstream ack is not here, whether it is stored or not: [`Relay::ack_received`]. It is read
    /// also while the packet is on its way: a mirror that takes nothing any more is found out by its silence only.
    Downstream,
    /// [`RelayCommand::Finalize`] was given: [`Relay::block_finalized`].
    Finalized,
    /// Nothing: the relay has ended.
    Ended,
}

struct Pending {
    ticket: u64,
    seqno: i64,
    end_offset: u64,
    last: bool,
    local: Option<Status>,
    downstream: Option<Vec<AckReply>>,
    downstream_ack_nanos: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Open,
    Finalizing,
    Finalized,
    Closing(CloseReason),
    Closed,
}

/// The machine. See the module's page for how a shell drives it.
pub struct Relay {
    config: RelayConfig,
    lengths: Lengths,
    next_ticket: u64,
    pending: VecDeque<Pending>,
    /// Acks that jump the queue: out-of-band news and the first word of a broken mirror.
    urgent: VecDeque<PipelineAck>,
    mirror_alive: bool,
    last_seen: bool,
    ending: Ending,
}

impl Relay {
    /// Starts the receipt of one block. Panics if `bytes_per_checksum` is 0 (the shell checks what the peer asked for).
    pub fn new(config: RelayConfig) -> Self {
        assert!(config.bytes_per_checksum > 0, "bytes per checksum is 0");
        let len = config.initial_len;
        Self {
            mirror_alive: config.has_mirror,
            lengths: Lengths {
                received: len,
                on_disk: len,
                acked: len,
            },
            config,
            next_ticket: 0,
            pending: VecDeque::new(),
            urgent: VecDeque::new(),
            last_seen: false,
            ending: Ending::Open,
        }
    }

    /// The replica's lengths.
    pub fn lengths(&self) -> Lengths {
        self.lengths
    }
    /// What was given to [`Relay::new`].
    pub fn config(&self) -> &RelayConfig {
        &self.config
    }
    /// Whether the receiver should stop reading until acks went out.
    pub fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING_PACKETS
    }
    /// How many more packets may come before [`Relay::is_full`].
    pub fn room(&self) -> usize {
        MAX_PENDING_PACKETS.saturating_sub(self.pending.len())
    }
    /// Whether packets still go to a mirror.
    pub fn mirror_alive(&self) -> bool {
        self.mirror_alive
    }
    /// Whether the last packet was received: the receiver reads no further.
    pub fn last_packet_seen(&self) -> bool {
        self.last_seen
    }
    /// Whether [`RelayCommand::Close`] was handed out.
    pub fn is_closed(&self) -> bool {
        self.ending == Ending::Closed
    }

    /// Whether the oldest packet that waits for its ack did not match its checksums here: its ack waits for nobody.
    pub fn is_head_corrupt(&self) -> bool {
        let head = self.pending.front();
        head.is_some_and(|packet| packet.local == Some(Status::ErrorChecksum))
    }

    /// What has to happen before [`Relay::poll_command`] has something again.
    pub fn waits_for(&self) -> WaitsFor {
        match self.ending {
            Ending::Finalizing => return WaitsFor::Finalized,
            Ending::Closing(_) | Ending::Closed => return WaitsFor::Ended,
            Ending::Open | Ending::Finalized => {}
        }
        match self.pending.front() {
            None => WaitsFor::Packet,
            Some(head) if self.mirror_alive && self.config.sends_acks() && head.downstream.is_none() => {
                WaitsFor::Downstream
            }
            Some(_) => WaitsFor::Local,
        }
    }

    /// A packet arrived from upstream. `checksum_len`: bytes of checksums in front of its data.
    ///
    /// Errors: the packet breaks the protocol; the shell ends the connection.
    pub fn packet_received(&mut self, header: &PacketHeader, checksum_len: usize) -> Result<PacketSteps, RelayError> {
        if self.last_seen {
            return Err(RelayError::AfterLastPacket { seqno: header.seqno });
        }
        if self.ending != Ending::Open || self.is_full() {
            return Err(RelayError::NotAccepting);
        }
        let write = if header.is_heartbeat() {
            None
        } else {
            self.check_packet(header, checksum_len)?;
            write_plan::plan(&self.config, self.lengths.received, header)
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let is_heartbeat = header.is_heartbeat();
        if !is_heartbeat {
            self.lengths.received = self.lengths.received.max(header.end_offset());
            self.last_seen = header.last_in_block;
        }
        self.pending.push_back(Pending {
            ticket,
            seqno: header.seqno,
            end_offset: if is_heartbeat { 0 } else { header.end_offset() },
            last: self.last_seen,
            local: None,
            downstream: None,
            downstream_ack_nanos: 0,
        });
        Ok(PacketSteps {
            ticket: Ticket(ticket),
            forward: self.mirror_alive,
            verify: header.data_len > 0 && self.config.verifies(),
            write,
            sync: header.sync_block && !is_heartbeat,
            last: self.last_seen,
        })
    }

    fn check_packet(&self, header: &PacketHeader, checksum_len: usize) -> Result<(), RelayError> {
        let chunk = self.config.bytes_per_checksum;
        if header.offset_in_block > self.lengths.received {
            return Err(RelayError::OutOfSequence {
                offset: header.offset_in_block,
                expected: self.lengths.received,
            });
        }
        if header.last_in_block && header.data_len > 0 {
            return Err(RelayError::DataInLastPacket { len: header.data_len });
        }
        if !header.offset_in_block.is_multiple_of(u64::from(chunk)) && header.data_len > chunk {
            return Err(RelayError::UnalignedPacketTooLong {
                len: header.data_len,
                chunk,
            });
        }
        // With another chunk size than ours only the shell knows how many checksums are due.
        let expected = header.data_len.div_ceil(chunk) as usize * self.config.packet_checksum_size;
        if self.config.same_checksum && checksum_len != expected {
            return Err(RelayError::ChecksumLength {
                len: header.data_len,
                expected,
                received: checksum_len,
            });
        }
        Ok(())
    }

    /// The steps of a packet are done. Packets may be reported in any order; acks still leave in order.
    /// A ticket that is not pending (an early ending) is ignored.
    pub fn packet_stored(&mut self, ticket: Ticket, outcome: LocalOutcome) {
        let Ok(index) = self.pending.binary_search_by_key(&ticket.0, |pending| pending.ticket) else {
            return;
        };
        let packet = &mut self.pending[index];
        match outcome {
            LocalOutcome::Stored => {
                packet.local = Some(Status::Success);
                self.lengths.on_disk = self.lengths.on_disk.max(packet.end_offset);
            }
            LocalOutcome::ChecksumMismatch => {
                packet.local = Some(Status::ErrorChecksum);
                if !self.config.sends_acks() {
                    self.end(CloseReason::ChecksumError);
                }
            }
        }
    }

    /// Writing, syncing or reading the upstream failed: nothing is acked any more.
    pub fn local_failed(&mut self) {
        self.end(CloseReason::LocalFailure);
    }

    /// Writing to the mirror, or reading its acks, failed. Packets are still received and stored; the upstream is told
    /// at once (`[SUCCESS, ERROR]` with an unknown seqno) and decides. No more acks are expected from below.
    pub fn mirror_failed(&mut self) {
        if !self.mirror_alive {
            return;
        }
        self.mirror_alive = false;
        let is_over = matches!(self.ending, Ending::Closing(_) | Ending::Closed);
        // Where this node is to blame it says so, and nothing of others.
        if self.config.sends_acks() && !is_over && !self.is_head_corrupt() {
            self.urgent.push_back(PipelineAck {
                seqno: UNKNOWN_SEQNO,
                replies: vec![self.own(Status::Success), Status::Error.into()],
                downstream_ack_nanos: 0,
            });
        }
    }

    /// An ack arrived from the mirror.
    pub fn ack_received(&mut self, ack: PipelineAck) {
        if !self.mirror_alive || !self.config.sends_acks() {
            return;
        }
        if ack
            .replies
            .first()
            .is_some_and(|reply| reply.status == Status::ErrorChecksum)
        {
            self.end(CloseReason::DownstreamFoundCorruption);
            return;
        }
        if ack.seqno == UNKNOWN_SEQNO {
            let mut replies = vec![self.own(Status::Success)];
            replies.extend(ack.replies);
            self.urgent.push_back(PipelineAck { replies, ..ack });
            return;
        }
        let due = self.pending.iter_mut().find(|packet| packet.downstream.is_none());
        match due {
            Some(packet) if packet.seqno == ack.seqno => {
                packet.downstream_ack_nanos = ack.downstream_ack_nanos;
                packet.downstream = Some(ack.replies);
            }
            other => {
                let expected = other.map_or(UNKNOWN_SEQNO, |packet| packet.seqno);
                self.end(CloseReason::AckOutOfOrder {
                    expected,
                    received: ack.seqno,
                });
            }
        }
    }

    /// This node has out-of-band news for the upstream, such as [`Status::OobRestart`].
    pub fn oob_requested(&mut self, status: Status) {
        if self.config.sends_acks() {
            self.urgent.push_back(PipelineAck::new(UNKNOWN_SEQNO, [status]));
        }
    }

    /// This node is about to be started again: an upstream that waits for acks hears [`Status::OobRestart`], and
    /// nothing after it; then the relay ends with [`CloseReason::Restarting`]. Acks that are due may still be fetched
    /// before this is called. A block that is being finalized, or an ending that has begun, is left alone.
    pub fn restarting(&mut self) {
        if self.ending != Ending::Open || !self.config.sends_acks() {
            return;
        }
        self.urgent.clear();
        self.oob_requested(Status::OobRestart);
        self.end(CloseReason::Restarting);
    }

    /// The shell carried out [`RelayCommand::Finalize`], or could not (`ok` false).
    pub fn block_finalized(&mut self, ok: bool) {
        if self.ending != Ending::Finalizing {
            return;
        }
        self.ending = Ending::Finalized;
        if !ok {
            self.end(CloseReason::LocalFailure);
        }
    }

    /// The next command, if one is due.
    pub fn poll_command(&mut self) -> Option<RelayCommand> {
        if let Ending::Closing(reason) = self.ending {
            if let Some(ack) = self.urgent.pop_front().filter(|_| reason == CloseReason::Restarting) {
                let bytes_acked = self.lengths.acked;
                return Some(RelayCommand::SendAck { ack, bytes_acked });
            }
            self.ending = Ending::Closed;
            return Some(RelayCommand::Close { reason });
        }
        if matches!(self.ending, Ending::Closed) {
            return None;
        }
        if let Some(ack) = self.urgent.pop_front() {
            return Some(RelayCommand::SendAck {
                ack,
                bytes_acked: self.lengths.acked,
            });
        }
        if !self.config.sends_acks() {
            return self.poll_without_acks();
        }
        let (local, all_succeeded) = self.head_outcome()?;
        let head = self.pending.front()?;
        if head.last && all_succeeded && self.ending != Ending::Finalized {
            return self.poll_finalize();
        }
        self.poll_ack(local, all_succeeded)
    }

    /// The head's own status and whether every node succeeded; `None` while something is missing.
    fn head_outcome(&self) -> Option<(Status, bool)> {
        let head = self.pending.front()?;
        let local = head.local?;
        if local != Status::Success {
            return Some((local, false));
        }
        if !self.config.has_mirror {
            return Some((local, true));
        }
        match &head.downstream {
            Some(replies) => Some((local, replies.iter().all(|reply| reply.status == Status::Success))),
            None if !self.mirror_alive => Some((local, false)),
            None => None,
        }
    }

    fn poll_without_acks(&mut self) -> Option<RelayCommand> {
        while self.pending.front()?.local.is_some() {
            if self.pending.front()?.last {
                return match self.ending {
                    Ending::Finalized => {
                        self.pending.clear();
                        self.ending = Ending::Closed;
                        Some(RelayCommand::Close {
                            reason: CloseReason::Finished,
                        })
                    }
                    Ending::Open => self.poll_finalize(),
                    _ => None,
                };
            }
            self.pending.pop_front();
            self.lengths.acked = self.lengths.on_disk;
        }
        None
    }

    fn poll_finalize(&mut self) -> Option<RelayCommand> {
        if self.ending != Ending::Open {
            return None;
        }
        self.ending = Ending::Finalizing;
        Some(RelayCommand::Finalize {
            len: self.lengths.received,
        })
    }

    fn poll_ack(&mut self, local: Status, all_succeeded: bool) -> Option<RelayCommand> {
        let head = self.pending.pop_front()?;
        let mut replies = vec![self.own(local)];
        match head.downstream {
            Some(downstream) => replies.extend(downstream),
            None if self.config.has_mirror => replies.push(Status::Error.into()),
            None => {}
        }
        if all_succeeded {
            self.lengths.acked = self.lengths.acked.max(head.end_offset);
        }
        if local == Status::ErrorChecksum {
            self.end(CloseReason::ChecksumError);
        } else if head.last {
            self.end(CloseReason::Finished);
        }
        Some(RelayCommand::SendAck {
            ack: PipelineAck {
                seqno: head.seqno,
                replies,
                downstream_ack_nanos: head.downstream_ack_nanos,
            },
            bytes_acked: self.lengths.acked,
        })
    }

    fn own(&self, status: Status) -> AckReply {
        AckReply {
            status,
            flag_bits: self.config.flag_bits,
        }
    }

    fn end(&mut self, reason: CloseReason) {
        if self.ending != Ending::Closed && !matches!(self.ending, Ending::Closing(_)) {
            self.ending = Ending::Closing(reason);
        }
    }
}

#[cfg(test)]
mod tests;
