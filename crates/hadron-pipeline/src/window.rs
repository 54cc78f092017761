//! The client's sender window: which packet goes out next, what an ack means, whom to blame.
//!
//! ```text
//!            enqueue                poll_send                 ack_received (all nodes)
//! written ------------> data queue -----------> ack queue ----------------------------> gone
//!                            ^                      |
//!                            +----------------------+  Recover: in front, in order
//!
//! Idle -OpenBlock-> Opening -block_opened-> Streaming -last packet sent-> Closing -its ack-> EndBlock, Idle
//!                                               \------- failure -------/
//!                                                           v
//!                            Recover -> Recovering -pipeline_recovered-> Streaming, or EndBlock when it was closing
//! ```
//!
//! The shell keeps one [`SendWindow`] per file stream: it runs [`WindowCommand`]s, writes what [`SendWindow::poll_send`]
//! gives whenever the socket is free, and feeds acks, failures and time back in. [`PacketBuilder`] cuts the bytes.
//! What it does not do: no sockets, no NameNode calls, no checksums, no clock. Replacing nodes is [`crate::recovery`]'s.
//! Invariants: seqnos of the stream rise by one per packet and are never reused (a packet sent again keeps its own);
//! a packet is in the ack queue before it is written; the last packet of a block is sent only when all others are acked;
//! `acked <= sent`.
//!
//! Source: Hadoop `DataStreamer` and its `ResponseProcessor`.

mod builder;
mod health;

pub use builder::{BuiltPacket, ChunkError, MAX_WRITE_PACKET_SIZE, PacketBuilder, PacketParams};
pub use health::MAX_BACK_OFF;

use crate::packet::{HEARTBEAT_SEQNO, PacketHeader, PipelineAck, Stage, Status, UNKNOWN_SEQNO};
use health::Health;
use std::collections::VecDeque;
use std::time::Duration;

/// Default of `dfs.client.write.max-packets-in-flight`.
pub const DEFAULT_MAX_PACKETS_IN_FLIGHT: usize = 80;
/// Bytes of data in both queues that a stream may hold: what bounds its memory when packets are large. The packets of
/// [`DEFAULT_MAX_PACKETS_IN_FLIGHT`] at the default size are a twelfth of it.
pub const DEFAULT_MAX_BYTES_IN_FLIGHT: usize = 64 << 20;
/// Acks in a row in which a node calls itself slow before it counts as bad. 3.4's
/// `dfs.client.mark.slownode.as.badnode.threshold`.
pub const DEFAULT_SLOW_ACKS_AS_BAD: u32 = 10;
/// Pipeline recoveries in a row, without an ack between them, that are tried before the stream fails.
pub const DEFAULT_MAX_RECOVERIES: u32 = 5;
/// What each node of a pipeline adds to read time-outs, so that the node nearest to a silent one notices first.
pub const READ_TIMEOUT_PER_NODE: Duration = Duration::from_secs(5);

/// Settings of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowConfig {
    /// Packets in both queues above which [`SendWindow::is_full`].
    pub max_packets_in_flight: usize,
    /// Bytes of data in both queues from which on [`SendWindow::is_full`]. One packet is always taken.
    pub max_bytes_in_flight: usize,
    /// `dfs.client.socket-timeout`; half of it is the heartbeat's period.
    pub socket_timeout: Duration,
    /// What each node of the pipeline adds to it when acks are waited for.
    pub node_timeout: Duration,
    /// Recoveries in a row before the stream fails.
    pub max_recoveries: u32,
    /// Whether last packets ask for a sync (CreateFlag SYNC_BLOCK).
    pub sync_on_close: bool,
    /// An ack that takes longer is worth telling (`dfs.client.slow.io.warning.threshold.ms`).
    pub slow_ack_threshold: Duration,
    /// Acks in a row in which a node calls itself slow before it counts as bad; 0: never.
    pub slow_acks_as_bad: u32,
    /// Whether the stream is one of a striped file's, where others can ask it to set its pipeline up anew.
    pub striped: bool,
    /// Seed of the random part of pauses.
    pub seed: u64,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self {
            max_packets_in_flight: DEFAULT_MAX_PACKETS_IN_FLIGHT,
            socket_timeout: Duration::from_secs(60),
            node_timeout: READ_TIMEOUT_PER_NODE,
            max_recoveries: DEFAULT_MAX_RECOVERIES,
            sync_on_close: false,
            max_bytes_in_flight: DEFAULT_MAX_BYTES_IN_FLIGHT,
            slow_ack_threshold: Duration::from_secs(30),
            slow_acks_as_bad: DEFAULT_SLOW_ACKS_AS_BAD,
            striped: false,
            seed: 0,
        }
    }
}

/// A packet for the queue: a [`BuiltPacket`] whose bytes the shell turned into `P` (checksums and data, ready to send).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPacket<P> {
    /// Position in the block of the first byte.
    pub offset_in_block: u64,
    /// Bytes of data.
    pub data_len: u32,
    /// Whether to sync before the ack.
    pub sync_block: bool,
    /// Whether the block ends behind this packet; the window adds the empty last packet.
    pub ends_block: bool,
    /// What to send behind the header.
    pub payload: P,
}

/// A packet to write to the first node now. A heartbeat or last packet has no payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit<P> {
    /// Its header.
    pub header: PacketHeader,
    /// Checksums and data.
    pub payload: Option<P>,
}

/// What is wrong with a pipeline. Indices count from the first node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// This node failed, or is blamed.
    Bad(usize),
    /// This node says that it restarts.
    Restarting(usize),
}

impl Trouble {
    /// The node meant.
    pub fn node(self) -> usize {
        match self {
            Self::Bad(node) | Self::Restarting(node) => node,
        }
    }
}

/// Order to the shell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WindowCommand {
    /// Set up a pipeline: for a new block, or for the file's last one when `append`; then [`SendWindow::block_opened`].
    OpenBlock {
        /// Whether the file's last block is continued.
        append: bool,
    },
    /// The block is complete with `len` bytes on every node: close the connection.
    EndBlock {
        /// Its length.
        len: u64,
    },
    /// Close the connection, mend the pipeline ([`crate::recovery`]), then [`SendWindow::pipeline_recovered`].
    Recover {
        /// What is wrong; `None` when this pipeline is sound and only needs a new stamp (striped files).
        trouble: Option<Trouble>,
        /// [`Stage::DataStreaming`], or [`Stage::Close`] when only the last packet's ack is missing.
        stage: Stage,
    },
    /// The stream has failed; nothing more will be sent.
    Fail(WindowError),
}

/// Why a stream fails for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WindowError {
    /// Too many recoveries without progress: the data itself is probably bad. Hadoop's text.
    #[error("Failing write. Tried pipeline recovery {0} times without success.")]
    TooManyRecoveries(u32),
}

/// Why the pipeline was given up the last time; the text of what the application may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PipelineFault {
    /// A node reported a failure.
    #[error("bad response {status} from node {node} of the pipeline")]
    BadResponse {
        /// Which node.
        node: usize,
        /// Its status.
        status: Status,
    },
    /// A node is restarting.
    #[error("node {node} of the pipeline is restarting")]
    Restarting {
        /// Which node.
        node: usize,
    },
    /// The ack is not that of the packet due.
    #[error("expecting seqno {expected:?} but received {received}")]
    UnexpectedSeqno {
        /// The seqno due; `None` when no packet waits.
        expected: Option<i64>,
        /// The seqno of the ack.
        received: i64,
    },
    /// The ack speaks for another number of nodes.
    #[error("ack speaks for {received} nodes of {expected}")]
    ReplyCount {
        /// Nodes in the pipeline.
        expected: usize,
        /// Replies in the ack.
        received: usize,
    },
    /// No ack came in time.
    #[error("no ack within the read time-out")]
    AckTimeout,
    /// The connection to the first node broke.
    #[error("connection to the first node of the pipeline is broken")]
    Link,
    /// A node has called itself slow for too long.
    #[error("node {node} of the pipeline was slow in {acks} acks in a row, treating it as bad")]
    SlowNode {
        /// Which node.
        node: usize,
        /// Acks in a row.
        acks: u32,
    },
    /// Another stream of the striped file failed.
    #[error("another stream of the striped file failed")]
    External,
}

/// An ack that took long; see [`WindowConfig::slow_ack_threshold`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlowAck {
    /// The packet.
    pub seqno: i64,
    /// From sending to its ack.
    pub took: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Opening,
    Streaming { nodes: usize },
    Closing { nodes: usize },
    Broken { trouble: Option<Trouble>, closing: bool },
    Recovering { closing: bool },
    Failed,
}

struct Packet<P> {
    header: PacketHeader,
    payload: Option<P>,
    sent_at: Duration,
}

/// The machine. `P`: what is sent behind a header; cheap to clone.
pub struct SendWindow<P> {
    config: WindowConfig,
    state: State,
    append: bool,
    data_queue: VecDeque<Packet<P>>,
    ack_queue: VecDeque<Packet<P>>,
    next_seqno: i64,
    last_acked_seqno: i64,
    bytes_acked: u64,
    bytes_sent: u64,
    recoveries_in_row: u32,
    last_fault: Option<PipelineFault>,
    ended_block: Option<u64>,
    held_bytes: usize,
    health: Health,
    slow_ack: Option<SlowAck>,
    heartbeat_due: bool,
    last_sent_at: Duration,
    last_received_at: Duration,
}

impl<P: Clone> SendWindow<P> {
    /// Starts a stream that begins with a new block.
    pub fn new(config: WindowConfig) -> Self {
        Self {
            config,
            state: State::Idle,
            append: false,
            data_queue: VecDeque::new(),
            ack_queue: VecDeque::new(),
            next_seqno: 0,
            last_acked_seqno: -1,
            bytes_acked: 0,
            bytes_sent: 0,
            recoveries_in_row: 0,
            last_fault: None,
            ended_block: None,
            held_bytes: 0,
            health: Health::new(config.seed),
            slow_ack: None,
            heartbeat_due: false,
            last_sent_at: Duration::ZERO,
            last_received_at: Duration::ZERO,
        }
    }

    /// Starts a stream that continues a block of `len` bytes.
    pub fn new_append(config: WindowConfig, len: u64) -> Self {
        Self {
            append: true,
            bytes_acked: len,
            bytes_sent: len,
            ..Self::new(config)
        }
    }

    // ---- what the shell may ask ----

    /// Whether the writer should wait before it queues more (back-pressure).
    pub fn is_full(&self) -> bool {
        self.held_packets() > self.config.max_packets_in_flight || self.held_bytes >= self.config.max_bytes_in_flight
    }
    /// Whether every queued packet is acked and the last block that was ended is over.
    pub fn is_drained(&self) -> bool {
        self.data_queue.is_empty() && self.ack_queue.is_empty() && self.ended_block.is_none()
    }
    /// Packets held in both queues.
    pub fn held_packets(&self) -> usize {
        self.data_queue.len() + self.ack_queue.len()
    }
    /// Bytes of data held in both queues.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }
    /// Seqno of the packet queued last; -1 before the first.
    pub fn last_queued_seqno(&self) -> i64 {
        self.next_seqno - 1
    }
    /// Seqno of the packet acked last; -1 before the first.
    pub fn last_acked_seqno(&self) -> i64 {
        self.last_acked_seqno
    }
    /// Bytes of the current block that every node acked.
    pub fn bytes_acked(&self) -> u64 {
        self.bytes_acked
    }
    /// Bytes of the current block that were ever sent (`maxBytesRcvd` of a recovery).
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent
    }
    /// Why the pipeline broke the last time.
    pub fn last_fault(&self) -> Option<PipelineFault> {
        self.last_fault
    }
    /// The last ack that took long, once.
    pub fn take_slow_ack(&mut self) -> Option<SlowAck> {
        self.slow_ack.take()
    }
    /// Whether the stream has failed.
    pub fn is_failed(&self) -> bool {
        self.state == State::Failed
    }
    /// When [`SendWindow::handle_timeout`] wants to be called; `None` while no pipeline stands.
    pub fn next_timeout(&self) -> Option<Duration> {
        match self.state {
            State::Streaming { nodes } if !self.heartbeat_due => {
                let deadline = self.heartbeat_deadline().min(self.ack_deadline(nodes));
                Some(self.health.paused_until().map_or(deadline, |until| until.min(deadline)))
            }
            State::Streaming { nodes } | State::Closing { nodes } => Some(self.ack_deadline(nodes)),
            _ => None,
        }
    }

    // ---- events ----

    /// Takes a packet for sending. The caller heeds [`SendWindow::is_full`].
    pub fn enqueue(&mut self, packet: NewPacket<P>) {
        let end = packet.offset_in_block + u64::from(packet.data_len);
        if packet.data_len > 0 || !packet.ends_block {
            let payload = (packet.data_len > 0).then_some(packet.payload);
            self.push(
                packet.offset_in_block,
                packet.data_len,
                packet.sync_block,
                false,
                payload,
            );
        }
        if packet.ends_block {
            self.push(end, 0, self.config.sync_on_close || packet.sync_block, true, None);
        }
    }

    fn push(&mut self, offset_in_block: u64, data_len: u32, sync_block: bool, last: bool, payload: Option<P>) {
        if self.state == State::Failed {
            return;
        }
        let seqno = self.next_seqno;
        self.next_seqno += 1;
        self.held_bytes += data_len as usize;
        self.data_queue.push_back(Packet {
            header: PacketHeader {
                offset_in_block,
                seqno,
                last_in_block: last,
                data_len,
                sync_block,
            },
            payload,
            sent_at: Duration::ZERO,
        });
    }

    /// The pipeline ordered by [`WindowCommand::OpenBlock`] stands with `nodes` nodes.
    pub fn block_opened(&mut self, nodes: usize, now: Duration) {
        if self.state != State::Opening {
            return;
        }
        if !self.append {
            self.bytes_acked = 0;
            self.bytes_sent = 0;
        }
        self.append = false;
        self.start_streaming(nodes, now);
    }

    /// The pipeline ordered by [`WindowCommand::Recover`] stands again with `nodes` nodes. When only the last packet
    /// was missing, the recovery has finalized the block and the packet counts as acked.
    pub fn pipeline_recovered(&mut self, nodes: usize, now: Duration) {
        let State::Recovering { closing } = self.state else {
            return;
        };
        self.start_streaming(nodes, now);
        if closing && let Some(last) = self.data_queue.pop_front() {
            self.last_acked_seqno = last.header.seqno;
            self.recoveries_in_row = 0;
            self.finish_block();
        }
    }

    /// An ack arrived.
    pub fn ack_received(&mut self, ack: &PipelineAck, now: Duration) {
        let (State::Streaming { nodes } | State::Closing { nodes }) = self.state else {
            return;
        };
        self.last_received_at = now;
        if ack.replies.len() > nodes || ack.replies.is_empty() {
            // Its positions mean nothing, so nobody but the sender can be blamed.
            let fault = PipelineFault::ReplyCount {
                expected: nodes,
                received: ack.replies.len(),
            };
            self.break_pipeline(Trouble::Bad(0), fault);
            return;
        }
        if let Some((trouble, fault)) = blame(ack) {
            self.break_pipeline(trouble, fault);
            return;
        }
        let slow = self.health.ack_received(ack, self.config.slow_acks_as_bad);
        if ack.seqno == HEARTBEAT_SEQNO {
            return;
        }
        let expected = self.ack_queue.front().map(|packet| packet.header.seqno);
        if ack.seqno == UNKNOWN_SEQNO || expected != Some(ack.seqno) {
            let received = ack.seqno;
            self.break_pipeline(Trouble::Bad(0), PipelineFault::UnexpectedSeqno { expected, received });
            return;
        }
        if ack.replies.len() != nodes {
            let fault = PipelineFault::ReplyCount {
                expected: nodes,
                received: ack.replies.len(),
            };
            self.break_pipeline(Trouble::Bad(0), fault);
            return;
        }
        let Some(packet) = self.ack_queue.pop_front() else {
            return;
        };
        self.last_acked_seqno = ack.seqno;
        self.recoveries_in_row = 0;
        self.held_bytes -= packet.header.data_len as usize;
        self.bytes_acked = self.bytes_acked.max(packet.header.end_offset());
        let took = now.saturating_sub(packet.sent_at);
        if took > self.config.slow_ack_threshold {
            self.slow_ack = Some(SlowAck { seqno: ack.seqno, took });
        }
        if packet.header.last_in_block {
            self.finish_block();
        } else if let Some(node) = slow.filter(|_| nodes > 1) {
            // The only node is kept however slow it is.
            let acks = self.config.slow_acks_as_bad;
            self.break_pipeline(Trouble::Bad(node), PipelineFault::SlowNode { node, acks });
        }
    }

    /// Another stream of the same striped file failed: this one's block needs a new stamp, too. A stream of a plain file
    /// has no such neighbours and takes no notice; nor does one that is not streaming.
    pub fn external_failure(&mut self) {
        if self.config.striped
            && let State::Streaming { .. } = self.state
        {
            self.last_fault = Some(PipelineFault::External);
            self.state = State::Broken {
                trouble: None,
                closing: false,
            };
        }
    }

    /// Reading from or writing to the first node failed, or it closed the connection.
    pub fn link_failed(&mut self) {
        self.break_pipeline(Trouble::Bad(0), PipelineFault::Link);
    }

    /// The shell gave up (NameNode error, recovery failed): drops all packets.
    pub fn fail(&mut self) {
        self.state = State::Failed;
        self.data_queue.clear();
        self.ack_queue.clear();
        self.held_bytes = 0;
        self.ended_block = None;
    }

    /// Time passed; call it at [`SendWindow::next_timeout`] (other times do no harm).
    pub fn handle_timeout(&mut self, now: Duration) {
        let (State::Streaming { nodes } | State::Closing { nodes }) = self.state else {
            return;
        };
        if now >= self.ack_deadline(nodes) {
            self.break_pipeline(Trouble::Bad(0), PipelineFault::AckTimeout);
        } else if now >= self.heartbeat_deadline() && matches!(self.state, State::Streaming { .. }) {
            self.heartbeat_due = true;
        }
    }

    // ---- what to do ----

    /// The next command, if one is due. Poll after every event, also while a packet is being written.
    pub fn poll_command(&mut self) -> Option<WindowCommand> {
        if let Some(len) = self.ended_block.take() {
            return Some(WindowCommand::EndBlock { len });
        }
        match self.state {
            State::Idle if !self.data_queue.is_empty() => {
                self.state = State::Opening;
                Some(WindowCommand::OpenBlock { append: self.append })
            }
            State::Broken { trouble, closing } => Some(self.poll_recover(trouble, closing)),
            _ => None,
        }
    }

    fn poll_recover(&mut self, trouble: Option<Trouble>, closing: bool) -> WindowCommand {
        while let Some(packet) = self.ack_queue.pop_back() {
            self.data_queue.push_front(packet);
        }
        if !matches!(trouble, Some(Trouble::Restarting(_))) {
            self.recoveries_in_row += 1;
            if self.recoveries_in_row > self.config.max_recoveries {
                self.fail();
                return WindowCommand::Fail(WindowError::TooManyRecoveries(self.config.max_recoveries));
            }
        }
        self.state = State::Recovering { closing };
        WindowCommand::Recover {
            trouble,
            stage: if closing { Stage::Close } else { Stage::DataStreaming },
        }
    }

    /// The next packet to write, if one may go now. It is in the ack queue already (heartbeats never are).
    pub fn poll_send(&mut self, now: Duration) -> Option<Transmit<P>> {
        let State::Streaming { nodes } = self.state else {
            return None;
        };
        let may_go = |packet: &Packet<P>| !packet.header.last_in_block || self.ack_queue.is_empty();
        if self.data_queue.front().is_some_and(may_go) && !self.health.is_paused(now) {
            let mut packet = self.data_queue.pop_front()?;
            packet.sent_at = now;
            let transmit = Transmit {
                header: packet.header,
                payload: packet.payload.clone(),
            };
            if packet.header.last_in_block {
                self.state = State::Closing { nodes };
            }
            self.bytes_sent = self.bytes_sent.max(packet.header.end_offset());
            if self.ack_queue.is_empty() {
                // The wait for an ack starts now; silence before it proves nothing.
                self.last_received_at = self.last_received_at.max(now);
            }
            self.ack_queue.push_back(packet);
            self.note_sent(now);
            return Some(transmit);
        }
        if !self.heartbeat_due {
            return None;
        }
        self.note_sent(now);
        Some(Transmit {
            header: PacketHeader::heartbeat(),
            payload: None,
        })
    }

    fn note_sent(&mut self, now: Duration) {
        self.last_sent_at = now;
        self.heartbeat_due = false;
    }

    fn start_streaming(&mut self, nodes: usize, now: Duration) {
        self.state = State::Streaming { nodes };
        self.last_sent_at = now;
        self.last_received_at = now;
        self.heartbeat_due = false;
        self.health.pipeline_changed();
    }

    fn finish_block(&mut self) {
        self.ended_block = Some(self.bytes_acked);
        self.state = State::Idle;
    }

    fn break_pipeline(&mut self, trouble: Trouble, fault: PipelineFault) {
        let closing = match self.state {
            State::Streaming { .. } => false,
            State::Closing { .. } => true,
            _ => return,
        };
        self.last_fault = Some(fault);
        self.state = State::Broken {
            trouble: Some(trouble),
            closing,
        };
    }

    fn heartbeat_deadline(&self) -> Duration {
        self.last_sent_at + self.config.socket_timeout / 2
    }

    fn ack_deadline(&self, nodes: usize) -> Duration {
        self.last_received_at + self.config.socket_timeout + self.config.node_timeout * nodes as u32
    }
}

/// Finds the culprit an ack names. Replies are read from the last node to the first, as Java does: a node that lost its
/// downstream reports success for itself, so the deepest failure is the one nearest to the cause.
fn blame(ack: &PipelineAck) -> Option<(Trouble, PipelineFault)> {
    let (node, reply) = ack
        .replies
        .iter()
        .enumerate()
        .rev()
        .find(|(_, reply)| reply.status != Status::Success)?;
    Some(match reply.status {
        Status::OobRestart => (Trouble::Restarting(node), PipelineFault::Restarting { node }),
        status => (Trouble::Bad(node), PipelineFault::BadResponse { node, status }),
    })
}

#[cfg(test)]
mod tests;
