//! Pipeline acks: what comes back for every packet, one reply for each node from the sender of the ack downwards.
//!
//! A reply travels twice: as a status, and since 2.7 packed into a flag word whose other bits tell of congestion. Readers
//! prefer the flags when there are any, so both are written from the same value.
//!
//! | bits of a flag | meaning |
//! |---|---|
//! | 0-3 | status |
//! | 4 | reserved |
//! | 5-6 | congestion: 0 off, 1 and 2 supported, 3 congested |
//! | 7-8 | slowness (3.4): 0 off, 1 normal, 2 slow |

use super::MAX_ACK_LEN;
use crate::{WireError, delimited};
use bytes::{Bytes, BytesMut};
use hadron_proto::decode_checked;
use hadron_proto::hdfs::{PipelineAckProto, Status};
use std::io::{self, Read};

/// Sequence number of an ack that answers no packet: out-of-band notes, and acks after an error.
pub const UNKNOWN_SEQNO: i64 = -2;
/// Most nodes an ack may speak for; pipelines are `dfs.replication.max` (512) long at most.
pub const MAX_REPLIES: usize = 512;

/// What one node says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply {
    /// How the packet fared.
    pub status: Status,
    /// Congestion, two bits.
    pub ecn: u8,
    /// Slowness, two bits.
    pub slow: u8,
}

impl Reply {
    /// A reply without congestion marks.
    pub fn of(status: Status) -> Self {
        Self {
            status,
            ecn: 0,
            slow: 0,
        }
    }

    /// The flag word.
    pub fn to_flag(self) -> u32 {
        self.status as u32 | u32::from(self.ecn & 3) << 5 | u32::from(self.slow & 3) << 7
    }

    /// Reads a flag word. `None`: a status nobody knows.
    pub fn from_flag(flag: u32) -> Option<Self> {
        Some(Self {
            status: Status::try_from((flag & 0xf) as i32).ok()?,
            ecn: (flag >> 5 & 3) as u8,
            slow: (flag >> 7 & 3) as u8,
        })
    }

    /// Whether this is an out-of-band note (a DataNode that restarts).
    pub fn is_out_of_band(self) -> bool {
        (Status::OobRestart as i32..=Status::OobReserved3 as i32).contains(&(self.status as i32))
    }
}

/// An ack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PipelineAck {
    /// The packet it answers; [`UNKNOWN_SEQNO`] for none, -1 for a heartbeat.
    pub seqno: i64,
    /// One reply a node, the sender of the ack first.
    pub replies: Vec<Reply>,
    /// How long the packet took further down, for metrics.
    pub downstream_ack_time_nanos: u64,
}

impl PipelineAck {
    /// An ack of these statuses, without marks.
    pub fn new(seqno: i64, statuses: impl IntoIterator<Item = Status>) -> Self {
        Self {
            seqno,
            replies: statuses.into_iter().map(Reply::of).collect(),
            downstream_ack_time_nanos: 0,
        }
    }

    /// Whether every node succeeded.
    pub fn is_success(&self) -> bool {
        self.replies.iter().all(|reply| reply.status == Status::Success)
    }

    /// The first node that did not succeed, counted from the sender of the ack.
    pub fn first_failure(&self) -> Option<(usize, Status)> {
        let failed =
            |(index, reply): (usize, &Reply)| (reply.status != Status::Success).then_some((index, reply.status));
        self.replies.iter().enumerate().find_map(failed)
    }

    /// The out-of-band note it carries, if it is one.
    pub fn out_of_band(&self) -> Option<Status> {
        if self.seqno != UNKNOWN_SEQNO {
            return None;
        }
        self.replies
            .iter()
            .find(|reply| reply.is_out_of_band())
            .map(|reply| reply.status)
    }

    /// Appends the ack with its length in front.
    pub fn encode(&self, out: &mut BytesMut) {
        delimited::put(
            out,
            &PipelineAckProto {
                seqno: self.seqno,
                reply: self.replies.iter().map(|reply| reply.status as i32).collect(),
                downstream_ack_time_nanos: Some(self.downstream_ack_time_nanos),
                flag: self.replies.iter().map(|reply| reply.to_flag()).collect(),
            },
        );
    }

    /// Reads an ack from the start of `buf`: the ack and the bytes it takes. `Ok(None)`: more are needed.
    pub fn decode(buf: &[u8]) -> Result<Option<(Self, usize)>, WireError> {
        match delimited::split(buf, MAX_ACK_LEN, WHAT)? {
            Some((message, used)) => Ok(Some((Self::from_message(Bytes::copy_from_slice(message))?, used))),
            None => Ok(None),
        }
    }

    /// Reads an ack from a blocking reader, which should be buffered.
    pub fn read(reader: &mut impl Read) -> io::Result<Self> {
        Ok(Self::from_message(delimited::read(reader, MAX_ACK_LEN, WHAT)?)?)
    }

    fn from_message(message: Bytes) -> Result<Self, WireError> {
        let message: PipelineAckProto =
            decode_checked(message).map_err(|source| WireError::Message { what: WHAT, source })?;
        let count = message.reply.len().max(message.flag.len());
        if count > MAX_REPLIES {
            return Err(WireError::Length {
                what: "replies of a pipeline ack",
                len: count as i64,
                limit: MAX_REPLIES,
            });
        }
        let unknown = |value: i64| WireError::Unknown {
            what: "status in a pipeline ack",
            value,
        };
        let replies: Result<Vec<Reply>, WireError> = if message.flag.is_empty() {
            let known = |number: &i32| {
                Status::try_from(*number)
                    .map(Reply::of)
                    .map_err(|_| unknown(i64::from(*number)))
            };
            message.reply.iter().map(known).collect()
        } else {
            message
                .flag
                .iter()
                .map(|flag| Reply::from_flag(*flag).ok_or(unknown(i64::from(*flag))))
                .collect()
        };
        Ok(Self {
            seqno: message.seqno,
            replies: replies?,
            downstream_ack_time_nanos: message.downstream_ack_time_nanos(),
        })
    }
}

const WHAT: &str = "pipeline ack";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn acks_are_the_bytes_java_writes() {
        let mut out = BytesMut::new();
        PipelineAck::new(1, [Status::Success, Status::Error]).encode(&mut out);
        assert_eq!(out[..], [12, 0x08, 2, 0x10, 0, 0x10, 1, 0x18, 0, 0x22, 2, 0, 1]);
    }

    #[test]
    fn acks_without_flags_are_read_by_their_statuses() {
        let (ack, used) = PipelineAck::decode(&[4, 0x08, 3, 0x10, 8])
            .expect("good")
            .expect("whole");
        assert_eq!((ack.seqno, used), (UNKNOWN_SEQNO, 5));
        assert_eq!(ack.out_of_band(), Some(Status::OobRestart));
        assert_eq!(ack.first_failure(), Some((0, Status::OobRestart)));
    }

    #[test]
    fn hostile_acks_are_refused() {
        assert!(PipelineAck::decode(&[4, 0x08, 3, 0x10, 99]).is_err(), "unknown status");
        assert!(PipelineAck::decode(&[0xff, 0xff, 0x7f]).is_err(), "too long");
        let many = [&[0x08, 2][..], &[0x10, 0].repeat(MAX_REPLIES + 1)].concat();
        let mut bytes = Vec::new();
        delimited::put_bytes(&mut bytes, &many);
        assert!(PipelineAck::decode(&bytes).is_err(), "too many nodes");
    }

    proptest! {
        #[test]
        fn acks_survive_the_wire(seqno in any::<i64>(), nanos in any::<u64>(), flags in prop::collection::vec((0..=13_i32, 0..4_u8, 0..4_u8), 0..6)) {
            let replies = flags.iter().map(|(status, ecn, slow)| Reply { status: Status::try_from(*status).expect("known"), ecn: *ecn, slow: *slow }).collect();
            let ack = PipelineAck { seqno, replies, downstream_ack_time_nanos: nanos };
            let mut out = BytesMut::new();
            ack.encode(&mut out);
            prop_assert_eq!(PipelineAck::read(&mut &out[..]).expect("good"), ack.clone());
            let len = out.len();
            prop_assert_eq!(PipelineAck::decode(&out), Ok(Some((ack, len))));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = PipelineAck::decode(&bytes);
        }
    }
}
