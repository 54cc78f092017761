//! The data transfer protocol, version 28: what travels on a DataNode's streaming port.
//!
//! A peer sends an [`Op`]; then, depending on it, [`response`]s, packets ([`packet`]) and [`PipelineAck`]s follow.
//! Also here: chunk [`checksum`]s, which packets and meta files share, and the meta file's [`meta`] header.
//! Byte maps: docs/formats/data-transfer.md.

pub mod ack;
pub mod checksum;
pub mod meta;
pub mod op;
pub mod packet;
pub mod response;

pub use ack::PipelineAck;
pub use checksum::{Checksum, ChecksumMismatch};
pub use op::Op;
pub use packet::{Packet, PacketDecoder, PacketHeader, PacketPrefix};

/// The version in front of every operation.
pub const TRANSFER_VERSION: u16 = 28;
/// Longest encoded operation; tokens and a long list of targets fit many times.
pub const MAX_OP_LEN: usize = 1024 * 1024;
/// Longest encoded reply to an operation.
pub const MAX_RESPONSE_LEN: usize = 1024 * 1024;
/// Longest encoded pipeline ack.
pub const MAX_ACK_LEN: usize = 64 * 1024;
/// Most bytes of one packet, all parts together (Java's `PacketReceiver.MAX_PACKET_SIZE`).
pub const MAX_PACKET_LEN: usize = 16 * 1024 * 1024;
