//! The values that travel through a pipeline: packet headers, statuses, acks, stages.
//!
//! They mirror `datatransfer.proto` without depending on it, so that the machines stay free of the wire.
//! Invariant: the numbers of [`Status`] and [`Stage`] are those of the wire.

use std::fmt;

/// Seqno of a packet that only keeps the pipeline alive; it carries no data and is acked like any other.
pub const HEARTBEAT_SEQNO: i64 = -1;
/// Seqno of an ack that belongs to no packet: out-of-band news, or a broken downstream.
pub const UNKNOWN_SEQNO: i64 = -2;
/// Longest pipeline that is accepted, in nodes. Hadoop's `dfs.replication.max`.
pub const MAX_PIPELINE_NODES: usize = 512;

/// Header of one packet (`PacketHeaderProto`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketHeader {
    /// Position in the block of the first data byte; the block's length for the last packet; 0 for heartbeats.
    pub offset_in_block: u64,
    /// The sender's number for the packet, or [`HEARTBEAT_SEQNO`].
    pub seqno: i64,
    /// Whether the block ends here. Such a packet carries no data.
    pub last_in_block: bool,
    /// Bytes of data in the packet.
    pub data_len: u32,
    /// Whether the data must be on stable storage before the ack.
    pub sync_block: bool,
}

impl PacketHeader {
    /// A heartbeat.
    pub fn heartbeat() -> Self {
        Self {
            offset_in_block: 0,
            seqno: HEARTBEAT_SEQNO,
            last_in_block: false,
            data_len: 0,
            sync_block: false,
        }
    }
    /// Whether this is a heartbeat.
    pub fn is_heartbeat(&self) -> bool {
        self.seqno == HEARTBEAT_SEQNO
    }
    /// Position in the block just behind the packet's data. Saturates: callers bound offsets by the block's length.
    pub fn end_offset(&self) -> u64 {
        self.offset_in_block.saturating_add(u64::from(self.data_len))
    }
}

macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $number,)* }
        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// Reads the wire number; `None` for one that is not known.
            pub fn from_wire(number: i32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
            /// The wire number.
            pub fn to_wire(self) -> i32 { self as u8 as i32 }
            /// Hadoop's name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.name()) }
        }
    };
}

wire_enum!(
    /// Outcome of an operation or a packet at one node (`Status`).
    Status {
        /// Done.
        Success = 0 "SUCCESS",
        /// Failed for a reason not told.
        Error = 1 "ERROR",
        /// The data does not match its checksums.
        ErrorChecksum = 2 "ERROR_CHECKSUM",
        /// Malformed.
        ErrorInvalid = 3 "ERROR_INVALID",
        /// Already there.
        ErrorExists = 4 "ERROR_EXISTS",
        /// Token refused.
        ErrorAccessToken = 5 "ERROR_ACCESS_TOKEN",
        /// A reader verified every checksum.
        ChecksumOk = 6 "CHECKSUM_OK",
        /// Not supported.
        ErrorUnsupported = 7 "ERROR_UNSUPPORTED",
        /// The node restarts soon; out of band.
        OobRestart = 8 "OOB_RESTART",
        /// Reserved for out-of-band use.
        OobReserved1 = 9 "OOB_RESERVED1",
        /// Reserved for out-of-band use.
        OobReserved2 = 10 "OOB_RESERVED2",
        /// Reserved for out-of-band use.
        OobReserved3 = 11 "OOB_RESERVED3",
        /// Still at it.
        InProgress = 12 "IN_PROGRESS",
        /// The replica is pinned to its node.
        ErrorBlockPinned = 13 "ERROR_BLOCK_PINNED",
    }
);

impl Status {
    /// Whether this is one of the out-of-band statuses 8..=11.
    pub fn is_oob(self) -> bool {
        (Self::OobRestart as u8..=Self::OobReserved3 as u8).contains(&(self as u8))
    }
}

wire_enum!(
    /// What a WRITE_BLOCK operation sets up (`OpWriteBlockProto.BlockConstructionStage`).
    Stage {
        /// Reopen a finalized replica.
        SetupAppend = 0 "PIPELINE_SETUP_APPEND",
        /// Again, after a failed append set-up.
        SetupAppendRecovery = 1 "PIPELINE_SETUP_APPEND_RECOVERY",
        /// Data flows.
        DataStreaming = 2 "DATA_STREAMING",
        /// Continue a replica being written with another pipeline.
        SetupStreamingRecovery = 3 "PIPELINE_SETUP_STREAMING_RECOVERY",
        /// The last packet is under way.
        Close = 4 "PIPELINE_CLOSE",
        /// Finalize after a failure in closing; no packets follow.
        CloseRecovery = 5 "PIPELINE_CLOSE_RECOVERY",
        /// A new block.
        SetupCreate = 6 "PIPELINE_SETUP_CREATE",
        /// Copy of a replica being written.
        TransferRbw = 7 "TRANSFER_RBW",
        /// Copy of a finalized replica.
        TransferFinalized = 8 "TRANSFER_FINALIZED",
    }
);

impl Stage {
    /// The recovery variant of this stage (`stage | 1`). [`Stage::SetupCreate`] and transfers have none and are kept.
    #[must_use]
    pub fn recovery(self) -> Self {
        match self {
            Self::SetupAppend => Self::SetupAppendRecovery,
            Self::DataStreaming => Self::SetupStreamingRecovery,
            Self::Close => Self::CloseRecovery,
            other => other,
        }
    }
}

/// What one node says in an ack: its status and the congestion bits of the wire's `flag` (status bits excluded).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckReply {
    /// The node's status.
    pub status: Status,
    /// Bits 4.. of the wire's flag word (ECN, SLOW); 0 when the peer sent none.
    pub flag_bits: u32,
}

impl AckReply {
    /// Mask of the status inside a flag word.
    pub const STATUS_MASK: u32 = 0xF;

    const ECN_SHIFT: u32 = 5;
    const ECN_CONGESTED: u32 = 3;
    const SLOW_SHIFT: u32 = 7;
    const SLOW_SLOW: u32 = 2;

    /// Whether the node says that it is congested (bits 5-6, since 2.7).
    pub fn is_congested(self) -> bool {
        (self.flag_bits >> Self::ECN_SHIFT) & 0b11 == Self::ECN_CONGESTED
    }
    /// Whether the node says that it is slower than its neighbours (bits 7-8, since 3.4).
    pub fn is_slow(self) -> bool {
        (self.flag_bits >> Self::SLOW_SHIFT) & 0b11 == Self::SLOW_SLOW
    }
    /// The flag word as it travels: status in bits 0-3, the rest above.
    pub fn to_flag(self) -> u32 {
        (self.flag_bits & !Self::STATUS_MASK) | u32::from(self.status as u8)
    }
    /// Reads a flag word; `None` for an unknown status.
    pub fn from_flag(flag: u32) -> Option<Self> {
        Some(Self {
            status: Status::from_wire((flag & Self::STATUS_MASK) as i32)?,
            flag_bits: flag & !Self::STATUS_MASK,
        })
    }
}

impl From<Status> for AckReply {
    fn from(status: Status) -> Self {
        Self { status, flag_bits: 0 }
    }
}

/// An ack as it travels upstream (`PipelineAckProto`): `replies[0]` is the sender's, then its downstream's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PipelineAck {
    /// Seqno of the packet, or [`UNKNOWN_SEQNO`].
    pub seqno: i64,
    /// One per node from the sender downwards; 1..=[`MAX_PIPELINE_NODES`].
    pub replies: Vec<AckReply>,
    /// The sender's measure of its downstream's ack time; informative.
    pub downstream_ack_nanos: u64,
}

impl PipelineAck {
    /// An ack with plain statuses.
    pub fn new(seqno: i64, statuses: impl IntoIterator<Item = Status>) -> Self {
        Self {
            seqno,
            replies: statuses.into_iter().map(AckReply::from).collect(),
            downstream_ack_nanos: 0,
        }
    }
    /// Whether every node said [`Status::Success`].
    pub fn is_success(&self) -> bool {
        !self.replies.is_empty() && self.replies.iter().all(|reply| reply.status == Status::Success)
    }
    /// The out-of-band status in it, if it is out-of-band news.
    pub fn oob_status(&self) -> Option<Status> {
        if self.seqno != UNKNOWN_SEQNO {
            return None;
        }
        self.replies
            .iter()
            .map(|reply| reply.status)
            .find(|status| status.is_oob())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_both_ways() {
        for &status in Status::ALL {
            assert_eq!(Status::from_wire(status.to_wire()), Some(status));
            let reply = AckReply {
                status,
                flag_bits: 0x60,
            };
            assert_eq!(AckReply::from_flag(reply.to_flag()), Some(reply));
        }
        for &stage in Stage::ALL {
            assert_eq!(Stage::from_wire(stage.to_wire()), Some(stage));
        }
        assert_eq!(Status::from_wire(14), None);
        assert_eq!(Stage::from_wire(9), None);
    }

    #[test]
    fn recovery_stages_are_the_odd_ones() {
        for stage in [Stage::SetupAppend, Stage::DataStreaming, Stage::Close] {
            assert_eq!(stage.recovery().to_wire(), stage.to_wire() | 1);
        }
        assert_eq!(Stage::SetupCreate.recovery(), Stage::SetupCreate);
    }

    #[test]
    fn out_of_band_needs_both_seqno_and_status() {
        assert_eq!(
            PipelineAck::new(UNKNOWN_SEQNO, [Status::Success, Status::OobRestart]).oob_status(),
            Some(Status::OobRestart)
        );
        assert_eq!(PipelineAck::new(3, [Status::OobRestart]).oob_status(), None);
        assert_eq!(PipelineAck::new(UNKNOWN_SEQNO, [Status::Error]).oob_status(), None);
    }
}
