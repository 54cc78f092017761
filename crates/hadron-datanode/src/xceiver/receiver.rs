//! The packets of one block: read many at a time, forward, verify, write, and report to the relay.
//!
//! The buffer is small until more than [`SMALL_BLOCK`] bytes came, and until then, for a moment, one thread does everything:
//! most small blocks are over before a second one would run. From then on a node with a mirror has a second thread, for acks.
//!
//! Packets that arrived together are forwarded with one write, stored with one `pwritev` and acked together; nothing
//! is copied between the socket's buffer and the file. A packet is reported as stored only after `pwrite` returned
//! for all its bytes (after the sync, if it asks for one).
//! When this DataNode is about to be started again, reception ends between two packets: the upstream is told, the replica
//! stays open under a mark that lets the next process go on with it.

use super::OpError;
use super::codec::{FramedPacket, parse_packet};
use super::inbox::{Inbox, PACKET_BUFFER};
use super::responder::{Pipeline, Responder, error_of};
use super::socket::Socket;
use super::write_behind::{Hints, WriteBehind};
use crate::shared::Shared;
use hadron_env::disk::PageHint;
use hadron_pipeline::relay::{CHECKSUM_ERROR_LINGER, CloseReason, LocalOutcome, PacketSteps, Relay, WaitsFor};
use hadron_replica::{ChunkFormat, Packet, ReplicaWriter};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Bytes with which a block counts as small: less than sockets hold, so that a next node that hangs holds up nobody.
const SMALL_BLOCK: u64 = 32 * 1024;
/// How long one thread waits for packets and for acks by turns.
const ALONE_TIME: Duration = Duration::from_secs(1);
/// Packets handled as one batch.
const MAX_BATCH: usize = 64;
/// How long an upstream has to read that this node restarts, before its connection ends (Hadoop: as long).
const RESTART_LINGER: Duration = Duration::from_secs(1);
/// How often a thread that waits for acks, or for an upstream to read, looks around.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// One block on its way in.
pub(super) struct Receiver<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) inbox: &'a mut Inbox,
    pub(super) upstream: Arc<Socket>,
    pub(super) pipeline: Arc<Pipeline>,
    /// Taken when the last packet is stored.
    pub(super) writer: Option<ReplicaWriter>,
    /// Checksums of the packets.
    pub(super) sent: ChunkFormat,
    pub(super) mirror: Option<Arc<Socket>>,
    pub(super) behind: WriteBehind,
    /// Bytes of packets so far.
    pub(super) received: u64,
}

/// What became of a batch.
enum Batch {
    More,
    /// The last packet is stored, or a bad one found: no more is read.
    End,
    /// This DataNode is about to be started again: no more is read.
    Restart,
}

/// How the time with one thread ended.
enum Turns {
    /// With the block, and how reception ended.
    Ended(CloseReason, Result<(), OpError>),
    /// A second thread is to go on; whether the last packet is stored.
    Open { ended: bool },
}

/// Waits for bytes, an end or an error on one of the sockets that are asked for, at most `patience`.
fn wait_for_either(asked: [(bool, &Socket); 2], patience: Duration) -> io::Result<[bool; 2]> {
    // One that is not asked for is left out: the system tells of its end unasked, again and again.
    let wanted = asked.iter().filter(|(wanted, _)| *wanted);
    let mut sockets: Vec<PollFd<'_>> = wanted.map(|(_, socket)| PollFd::new(*socket, PollFlags::IN)).collect();
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    match poll(&mut sockets, Some(&patience)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut found = sockets.iter().map(|socket| !socket.revents().is_empty());
    Ok(asked.map(|(wanted, _)| wanted && found.next().unwrap_or(false)))
}

impl Receiver<'_> {
    /// Receives until the block is complete or failed. A second thread handles acks when a mirror sends some.
    pub(super) fn run(mut self, responder: Responder) -> Result<(), OpError> {
        let has_acks = self.pipeline.relay.lock().config().sends_acks();
        let reason = match self.mirror.clone().filter(|_| has_acks) {
            Some(mirror) => self.run_with_mirror(responder, mirror),
            None => self.run_alone(&responder),
        };
        let failure = self.pipeline.failure.lock().take();
        let reason = match reason {
            Ok(reason) => reason,
            Err(error) => return Err(failure.unwrap_or(error)),
        };
        if reason == CloseReason::Restarting && failure.is_none() {
            return self.leave_for_restart();
        }
        if reason == CloseReason::ChecksumError {
            self.shared.metrics.checksum_errors.inc();
            self.linger();
        }
        match failure.or_else(|| error_of(reason)) {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// No acks come from below: this thread runs the relay's commands, too.
    fn run_alone(&mut self, responder: &Responder) -> Result<CloseReason, OpError> {
        loop {
            let batch = self.next_batch();
            if matches!(batch, Ok(Batch::Restart)) {
                self.pipeline.update(Relay::restarting);
            }
            if let Some(reason) = responder.run_commands() {
                return batch.map(|_| reason);
            }
            if !matches!(batch?, Batch::More) {
                return Ok(CloseReason::LocalFailure);
            }
        }
    }

    /// Whether this DataNode is about to be started again and somebody upstream should hear of it.
    fn leaves(&self) -> bool {
        self.shared.is_restarting() && self.pipeline.relay.lock().config().sends_acks()
    }

    /// As [`Self::receive_batch`], unless this DataNode is about to be started again: then the stream seems to end.
    fn next_batch(&mut self) -> Result<Batch, OpError> {
        if self.leaves() {
            return Ok(Batch::Restart);
        }
        match self.receive_batch() {
            Err(OpError::PeerLeft(_)) if self.leaves() => Ok(Batch::Restart),
            other => other,
        }
    }

    /// Marks the replica so that the next process goes on with it, and keeps the connection open so that the upstream
    /// reads why it ends before it notices that it does.
    fn leave_for_restart(mut self) -> Result<(), OpError> {
        let writer = self.writer.take().or_else(|| self.pipeline.writer.lock().take());
        if let Some(writer) = writer {
            let block = writer.block_id();
            match writer.leave_for_restart(self.shared.restart_mark_expiry()) {
                Ok(()) => tracing::info!(%block, "told the pipeline of the restart"),
                // The pipeline does without this node, then.
                Err(error) => tracing::warn!(%block, %error, "cannot mark an open replica for the restart"),
            }
        }
        // What still comes is taken, so that the upstream is not stuck in writing while it should read.
        let deadline = Instant::now() + RESTART_LINGER;
        let _ = self.upstream.set_read_timeout(Some(LOOK_INTERVAL));
        while Instant::now() < deadline {
            let all = self.inbox.available().len();
            self.inbox.consume(all);
            if !matches!(self.inbox.fill(), Ok(count) if count > 0) {
                std::thread::sleep(LOOK_INTERVAL);
            }
        }
        Ok(())
    }

    fn run_with_mirror(&mut self, responder: Responder, mirror: Arc<Socket>) -> Result<CloseReason, OpError> {
        let mut acks = Inbox::new(mirror.clone());
        let (reason, result) = match self.run_by_turns(&responder, &mirror, &mut acks)? {
            Turns::Ended(reason, result) => (reason, result),
            Turns::Open { ended } => self.run_with_second(responder, &mirror, acks, ended)?,
        };
        if reason != CloseReason::Finished {
            let _ = mirror.shutdown(Shutdown::Both);
        }
        match (result, reason) {
            (Err(error), CloseReason::LocalFailure | CloseReason::Finished) => Err(error),
            (_, reason) => Ok(reason),
        }
    }

    /// The beginning of a block: this thread waits for packets and for acks, whichever come first.
    fn run_by_turns(&mut self, responder: &Responder, mirror: &Socket, acks: &mut Inbox) -> Result<Turns, OpError> {
        let deadline = Instant::now() + ALONE_TIME;
        let (mut ended, mut result) = (false, Ok(()));
        loop {
            // Acks that cannot be sent end the relay: the second call says so.
            if let Some(reason) = responder.run_commands().or_else(|| responder.run_commands()) {
                return Ok(Turns::Ended(reason, result));
            }
            if result.is_err() {
                return Ok(Turns::Ended(CloseReason::LocalFailure, result));
            }
            let patience = deadline.saturating_duration_since(Instant::now());
            let bytes = self.received + self.inbox.available().len() as u64;
            if bytes > SMALL_BLOCK || patience.is_zero() {
                return Ok(Turns::Open { ended });
            }
            if self.leaves() {
                self.restart_with_mirror(mirror);
                ended = true;
                continue;
            }
            let (room, listens) = {
                let relay = self.pipeline.relay.lock();
                (!relay.is_full(), relay.mirror_alive())
            };
            let receives = !ended && room;
            let is_whole = |inbox: &Inbox| !matches!(parse_packet(inbox.available()), Ok(Err(_)));
            let mut packets = receives && is_whole(self.inbox);
            let mut news = listens && !acks.available().is_empty();
            if !packets && !news {
                let sockets = [(receives, &*self.upstream), (listens, mirror)];
                let [came, answered] = wait_for_either(sockets, patience.min(LOOK_INTERVAL))?;
                news = answered;
                // A packet that is here in part holds up no acks; an end or an error shows when it is read again.
                packets = came && !matches!(self.inbox.fill_now(), Ok(count) if count > 0) || is_whole(self.inbox);
                packets &= receives;
            }
            if packets {
                match self.take_batch(mirror) {
                    Ok(more) => ended = !more,
                    Err(error) => result = Err(error),
                }
            }
            if news && result.is_ok() {
                responder.read_downstream(mirror, acks);
            }
        }
    }

    /// The rest of a block, or all of it: acks have a thread of their own. `ended`: no packet is to come.
    fn run_with_second(
        &mut self,
        responder: Responder,
        mirror: &Arc<Socket>,
        acks: Inbox,
        ended: bool,
    ) -> Result<(CloseReason, Result<(), OpError>), OpError> {
        let (end, over) = mpsc::channel();
        let (upstream, listening) = (self.upstream.clone(), mirror.clone());
        self.shared.workers.run(move || {
            let reason = responder.run(&listening, acks);
            if reason != CloseReason::Finished {
                // Nothing more will be acked: end the receiver's read, too.
                let _ = upstream.shutdown(Shutdown::Read);
            }
            let _ = end.send(reason);
        })?;
        let mut result = Ok(());
        let mut more = !ended;
        while more {
            self.wait_for_room();
            match self.take_batch(mirror) {
                Ok(goes_on) => more = goes_on,
                Err(error) => {
                    result = Err(error);
                    more = false;
                }
            }
        }
        loop {
            match over.recv_timeout(LOOK_INTERVAL) {
                Ok(reason) => return Ok((reason, result)),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok((CloseReason::LocalFailure, result)),
                // Acks of the last packets are due, and a restart does not wait for them.
                Err(mpsc::RecvTimeoutError::Timeout) if self.leaves() => self.restart_with_mirror(mirror),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// As [`Self::next_batch`]; what ends reception also ends the wait for acks that will not come. Returns whether more
    /// packets are to come.
    fn take_batch(&mut self, mirror: &Socket) -> Result<bool, OpError> {
        match self.next_batch() {
            Ok(Batch::More) => Ok(true),
            Ok(Batch::End) => Ok(false),
            Ok(Batch::Restart) => {
                self.restart_with_mirror(mirror);
                Ok(false)
            }
            Err(error) => {
                self.give_up(mirror);
                Err(error)
            }
        }
    }

    /// Reception failed here: ends the relay, the wait for acks, and an upstream that reads none.
    fn give_up(&self, mirror: &Socket) {
        self.pipeline.update(Relay::local_failed);
        let _ = mirror.shutdown(Shutdown::Both);
        let _ = self.upstream.shutdown(Shutdown::Both);
    }

    /// Ends the relay, and the other thread's wait for acks.
    fn restart_with_mirror(&self, mirror: &Socket) {
        self.pipeline.update(Relay::restarting);
        let _ = mirror.shutdown(Shutdown::Both);
    }

    fn wait_for_room(&self) {
        let mut relay = self.pipeline.relay.lock();
        while relay.is_full() && !relay.is_closed() && !self.shared.is_restarting() {
            self.pipeline.changed.wait_for(&mut relay, LOOK_INTERVAL);
        }
    }

    /// Handles all whole packets that are here, at least one.
    fn receive_batch(&mut self) -> Result<Batch, OpError> {
        if self.received > SMALL_BLOCK {
            self.inbox.reserve(PACKET_BUFFER);
        }
        let packets = self.read_packets()?;
        let mut accepted = Vec::with_capacity(packets.len());
        let mut refused = None;
        {
            let mut relay = self.pipeline.relay.lock();
            if relay.waits_for() == WaitsFor::Packet {
                *self.pipeline.busy_since.lock() = Instant::now();
            }
            for (at, packet) in packets {
                match relay.packet_received(&packet.header, packet.data - packet.sums) {
                    Ok(steps) => accepted.push((at, packet, steps)),
                    Err(error) => {
                        refused = Some(OpError::Protocol(error.to_string()));
                        break;
                    }
                }
            }
        }
        let outcome = self.handle(&accepted)?;
        if let Some((at, packet, _)) = accepted.last() {
            self.inbox.consume(at + packet.len);
            self.received += (at + packet.len) as u64;
        }
        match refused {
            Some(error) => Err(error),
            None => Ok(outcome),
        }
    }

    /// Whole packets at the front of the inbox and where they start; reads if there is none.
    fn read_packets(&mut self) -> Result<Vec<(usize, FramedPacket)>, OpError> {
        let mut found = Vec::new();
        let mut at = 0;
        // Acks may lag behind: no more than the relay takes. Without room it has ended, and says so.
        let limit = self.pipeline.relay.lock().room().clamp(1, MAX_BATCH);
        while found.len() < limit {
            match parse_packet(&self.inbox.available()[at..])? {
                Ok(packet) => {
                    found.push((at, packet));
                    at += packet.len;
                    if packet.header.last_in_block {
                        break;
                    }
                }
                Err(need) if found.is_empty() => self.inbox.need(need).map_err(super::to_peer)?,
                Err(_) => break,
            }
        }
        Ok(found)
    }

    fn handle(&mut self, batch: &[(usize, FramedPacket, PacketSteps)]) -> Result<Batch, OpError> {
        self.forward(batch);
        let bytes = self.inbox.available();
        let good = batch.iter().take_while(|(at, packet, steps)| {
            let packet_bytes = &bytes[*at..at + packet.len];
            !steps.verify || self.matches(packet, packet_bytes)
        });
        let good = good.count();
        let stored: Vec<Packet<'_>> = batch[..good]
            .iter()
            .filter(|(_, packet, _)| packet.header.data_len > 0)
            .map(|(at, packet, _)| Packet {
                offset: packet.header.offset_in_block,
                sums: &bytes[at + packet.sums..at + packet.data],
                data: &bytes[at + packet.data..at + packet.len],
            })
            .collect();
        let writer = self
            .writer
            .as_mut()
            .ok_or_else(|| OpError::Protocol("packet after the last one".into()))?;
        let before = writer.len();
        let start = Instant::now();
        writer.write(&stored, self.sent)?;
        self.shared.note_slow("write data to disk", start, writer.block_id());
        self.shared
            .metrics
            .bytes_written
            .inc_by(writer.len().saturating_sub(before));
        let last = batch[..good].iter().any(|(_, _, steps)| steps.last);
        let due = match last {
            true => self.behind.ended(writer.len()),
            false => self.behind.grown(writer.len()),
        };
        if let Some(Hints { begin, forget }) = due {
            for range in [begin, forget].into_iter().filter(|range| !range.is_empty()) {
                writer.hint(PageHint::DontNeed, range.start, range.end - range.start);
            }
        }
        if batch[..good].iter().any(|(_, _, steps)| steps.sync) {
            let start = Instant::now();
            writer.sync()?;
            self.shared.note_slow("flushOrSync", start, writer.block_id());
        }
        if last {
            *self.pipeline.writer.lock() = self.writer.take();
        }
        self.report(batch, good);
        Ok(if last || good < batch.len() {
            Batch::End
        } else {
            Batch::More
        })
    }

    fn report(&self, batch: &[(usize, FramedPacket, PacketSteps)], good: usize) {
        self.pipeline.update(|relay| {
            for (_, _, steps) in &batch[..good] {
                relay.packet_stored(steps.ticket, LocalOutcome::Stored);
            }
            if let Some((_, packet, steps)) = batch.get(good) {
                tracing::warn!(
                    offset = packet.header.offset_in_block,
                    seqno = packet.header.seqno,
                    "corrupt packet"
                );
                relay.packet_stored(steps.ticket, LocalOutcome::ChecksumMismatch);
            }
        });
        if let Some(mirror) = self
            .mirror
            .as_ref()
            .filter(|_| self.pipeline.relay.lock().is_head_corrupt())
        {
            // The thread that sends acks may be listening there.
            let _ = mirror.shutdown(Shutdown::Both);
        }
    }

    fn matches(&self, packet: &FramedPacket, bytes: &[u8]) -> bool {
        let (sums, data) = (&bytes[packet.sums..packet.data], &bytes[packet.data..]);
        sums.is_empty() || self.sent.verify(data, sums).is_ok()
    }

    /// Sends the whole batch, byte for byte, to the next node.
    fn forward(&self, batch: &[(usize, FramedPacket, PacketSteps)]) {
        let (Some(mirror), Some((at, packet, steps))) = (&self.mirror, batch.last()) else {
            return;
        };
        if !steps.forward {
            return;
        }
        let bytes = &self.inbox.available()[..at + packet.len];
        let start = Instant::now();
        *self.pipeline.sent.lock() = start;
        let sent = (&**mirror).write_all(bytes);
        if let Some(writer) = &self.writer {
            self.shared
                .note_slow("write packet to mirror", start, writer.block_id());
        }
        if let Err(error) = sent {
            tracing::warn!(%error, "cannot forward packets to the next node");
            let _ = mirror.shutdown(Shutdown::Both);
            self.pipeline.update(Relay::mirror_failed);
        }
    }

    /// Keeps the connection open a little so that the ack that blames the sender arrives.
    fn linger(&mut self) {
        let _ = self.upstream.set_read_timeout(Some(CHECKSUM_ERROR_LINGER));
        let _ = self.upstream.shutdown(Shutdown::Write);
        let deadline = std::time::Instant::now() + CHECKSUM_ERROR_LINGER;
        while std::time::Instant::now() < deadline {
            let all = self.inbox.available().len();
            self.inbox.consume(all);
            match self.inbox.fill() {
                Ok(count) if count > 0 => {}
                _ => return,
            }
        }
    }
}
