//! What to send down one link, decided from the log here and what the member at the other end said of its own.
//!
//! What it is for: the same decisions serve the leader and every relay. What it does not do: sockets, files, clocks.
//! Invariants: the member is told to cut before anything else; parcels go out in order, each once per link; a reign goes
//! out before its first parcel; what memory no longer holds goes out as pieces of the file, and the parcels after them
//! make the copy true.

use bytes::Bytes;
use hadron_types::Epoch;

use crate::sealed::checksum;

use super::codec::Frame;
use super::log::Log;
use super::types::{Common, History};

/// Bytes of the file sent at a time.
pub const FILL_BYTES: usize = 256 << 10;

/// What the member at the other end said of its log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerLog {
    /// Its last sequence.
    pub last: u64,
    /// Its file's length there.
    pub extent: u64,
    /// False while its file is between two states.
    pub consistent: bool,
    /// Its reigns.
    pub history: History,
}

/// What a link does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Send this.
    Send(Frame),
    /// Read a piece of the file and hand it to [`Sender::piece`].
    Read {
        /// Where it begins.
        offset: u64,
        /// Bytes, at most [`FILL_BYTES`].
        len: usize,
    },
    /// Nothing until the log changes.
    Wait,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    /// The copy is to be begun at this offset.
    Begin { from: u64 },
    /// The file is sent from `next` to `end`; `sequence` is what it holds at least.
    Filling {
        next: u64,
        end: u64,
        sequence: u64,
        extent: u64,
        history: History,
    },
    /// Parcels follow `cursor`.
    Streaming { cursor: u64, extent: u64, epoch: Epoch },
}

/// One link's cursor.
#[derive(Debug)]
pub struct Sender {
    phase: Phase,
    committed_sent: u64,
    /// What the peer has; a copy that replaces it waits until the file here has it too.
    peer_last: u64,
}

impl Sender {
    /// Begins a link; returns the first frame to send.
    pub fn start(log: &Log, peer: &PeerLog) -> (Self, Frame) {
        let (last, extent) = log.last();
        if peer.consistent && peer.last > last && peer.history.epoch() == log.history.epoch() {
            // A relay that begins anew may be behind those it serves: they are ahead in the same reign, not astray.
            return Self::streaming(Common {
                epoch: peer.history.epoch(),
                sequence: peer.last,
                extent: peer.extent,
            });
        }
        let shared = log
            .history
            .common(last, extent, &peer.history, peer.last, peer.extent)
            .filter(|common| peer.consistent && (log.append_only || common.sequence == peer.last));
        match shared {
            Some(common) => Self::streaming(common),
            // Where the two share nothing, a copy has to begin from nothing.
            None => {
                let start = Frame::Start {
                    epoch: Epoch(0),
                    sequence: 0,
                    extent: 0,
                };
                (Self::new(Phase::Begin { from: 0 }, peer.last), start)
            }
        }
    }

    fn streaming(common: Common) -> (Self, Frame) {
        let Common {
            epoch,
            sequence,
            extent,
        } = common;
        let phase = Phase::Streaming {
            cursor: sequence,
            extent,
            epoch,
        };
        let start = Frame::Start {
            epoch,
            sequence,
            extent,
        };
        (Self::new(phase, sequence), start)
    }

    fn new(phase: Phase, peer_last: u64) -> Self {
        Self {
            phase,
            committed_sent: 0,
            peer_last,
        }
    }

    /// What to do next. Every frame returned counts as sent.
    pub fn next(&mut self, log: &Log) -> Step {
        if log.filling {
            return Step::Wait;
        }
        match &mut self.phase {
            Phase::Begin { from } => {
                let from = *from;
                let (sequence, extent) = log.written();
                if from == 0 && sequence < self.peer_last.min(log.last().0) {
                    return Step::Wait;
                }
                // What lies beyond `extent` in an append-only file belongs to later parcels, which will follow.
                self.phase = Phase::Filling {
                    next: from,
                    end: extent,
                    sequence,
                    extent,
                    history: log.history.clone(),
                };
                Step::Send(Frame::FillStart { extent: from })
            }
            Phase::Filling {
                next,
                end,
                sequence,
                extent,
                history,
            } => {
                if next < end {
                    let len = usize::try_from(*end - *next).unwrap_or(usize::MAX).min(FILL_BYTES);
                    return Step::Read { offset: *next, len };
                }
                let mut known = history.clone();
                // Reigns that begin after `sequence + 1` come with their parcels.
                let reached = known.reigns().iter().rev().find(|reign| reign.first <= *sequence + 1);
                let epoch = reached.map_or(Epoch(0), |reign| reign.epoch);
                known.cut(epoch);
                let written = log.written().0;
                let consistent_at = if log.append_only {
                    *sequence
                } else {
                    written.max(log.consistent_at)
                };
                let frame = Frame::FillEnd {
                    sequence: *sequence,
                    extent: *extent,
                    consistent_at,
                    rewound: log.rewound,
                    history: known,
                };
                self.phase = Phase::Streaming {
                    cursor: *sequence,
                    extent: *extent,
                    epoch,
                };
                Step::Send(frame)
            }
            Phase::Streaming { cursor, extent, epoch } => {
                if let Some(reign) = log.history.after(*epoch).filter(|reign| reign.first == *cursor + 1) {
                    *epoch = reign.epoch;
                    return Step::Send(Frame::Begin(reign));
                }
                if let Some(parcel) = log.get(*cursor + 1) {
                    *cursor = parcel.sequence;
                    *extent = parcel.extent;
                    self.committed_sent = log.committed;
                    return Step::Send(Frame::Buffer {
                        committed: log.committed,
                        parcel: parcel.clone(),
                    });
                }
                if *cursor < log.last().0 {
                    if log.written().0 + 1 < log.first_retained() {
                        // Neither in memory nor in the file yet: the local write is under way.
                        return Step::Wait;
                    }
                    let from = if log.is_kept_after(*cursor) { *extent } else { 0 };
                    self.phase = Phase::Begin { from };
                    return self.next(log);
                }
                if self.committed_sent < log.committed {
                    self.committed_sent = log.committed;
                    return Step::Send(Frame::Beat {
                        committed: log.committed,
                    });
                }
                Step::Wait
            }
        }
    }

    /// The frame for the piece of the file that [`Step::Read`] asked for; shorter when the file ends before.
    pub fn piece(&mut self, bytes: Bytes) -> Option<Frame> {
        let Phase::Filling { next, end, .. } = &mut self.phase else {
            return None;
        };
        let offset = *next;
        if bytes.is_empty() {
            // The file is shorter than its extent: the rest reads as zeros on both sides.
            *next = *end;
            return None;
        }
        *next += bytes.len() as u64;
        Some(Frame::Fill {
            offset,
            crc: checksum(&bytes),
            bytes,
        })
    }
}
