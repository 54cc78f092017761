//! Data transfer messages over blocking sockets: operations, responses, packet headers, acks.
//!
//! Peers' bytes are checked for required fields and limits before anybody acts on them.
//! Formats: docs/formats/data-transfer.md.

use super::inbox::Inbox;
use bytes::Bytes;
use hadron_pipeline::packet::{AckReply, MAX_PIPELINE_NODES, PacketHeader, PipelineAck, Status};
use hadron_proto::hdfs::{BlockOpResponseProto, PacketHeaderProto, PipelineAckProto};
use hadron_proto::{Required, decode_checked};
use prost::Message;
use std::io::{self, Error, ErrorKind, Write};
use std::net::TcpStream;

/// The only version of the protocol.
pub(crate) const TRANSFER_VERSION: u16 = 28;
/// Longest operation or response message.
pub(crate) const MAX_MESSAGE_LEN: usize = 1024 * 1024;
/// Longest packet, header included (Hadoop's `PacketReceiver.MAX_PACKET_SIZE`).
pub(crate) const MAX_PACKET_LEN: usize = 16 * 1024 * 1024;
/// Longest packet header that is believed; Hadoop's has at most 27 bytes.
const MAX_PACKET_HEADER_LEN: usize = 256;

/// Operation codes.
pub(crate) mod opcode {
    pub(crate) const WRITE_BLOCK: u8 = 80;
    pub(crate) const READ_BLOCK: u8 = 81;
    pub(crate) const REPLACE_BLOCK: u8 = 83;
    pub(crate) const COPY_BLOCK: u8 = 84;
    pub(crate) const BLOCK_CHECKSUM: u8 = 85;
    pub(crate) const TRANSFER_BLOCK: u8 = 86;
    pub(crate) const REQUEST_SHORT_CIRCUIT_FDS: u8 = 87;
    pub(crate) const RELEASE_SHORT_CIRCUIT_FDS: u8 = 88;
    pub(crate) const REQUEST_SHORT_CIRCUIT_SHM: u8 = 89;
    pub(crate) const BLOCK_GROUP_CHECKSUM: u8 = 90;
    pub(crate) const CUSTOM: u8 = 127;

    /// Hadoop's name; `None` for a code that is no operation.
    pub(crate) fn name(code: u8) -> Option<&'static str> {
        Some(match code {
            WRITE_BLOCK => "WRITE_BLOCK",
            READ_BLOCK => "READ_BLOCK",
            REPLACE_BLOCK => "REPLACE_BLOCK",
            COPY_BLOCK => "COPY_BLOCK",
            BLOCK_CHECKSUM => "BLOCK_CHECKSUM",
            TRANSFER_BLOCK => "TRANSFER_BLOCK",
            REQUEST_SHORT_CIRCUIT_FDS => "REQUEST_SHORT_CIRCUIT_FDS",
            RELEASE_SHORT_CIRCUIT_FDS => "RELEASE_SHORT_CIRCUIT_FDS",
            REQUEST_SHORT_CIRCUIT_SHM => "REQUEST_SHORT_CIRCUIT_SHM",
            BLOCK_GROUP_CHECKSUM => "BLOCK_GROUP_CHECKSUM",
            CUSTOM => "CUSTOM",
            _ => return None,
        })
    }
}

pub(crate) fn invalid(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, problem.into())
}

/// Reads a length-delimited message.
pub(crate) fn read_message<M: Message + Default + Required>(inbox: &mut Inbox) -> io::Result<M> {
    let mut len: usize = 0;
    let mut prefix = 0;
    loop {
        inbox.need(prefix + 1)?;
        let byte = inbox.available()[prefix];
        len |= usize::from(byte & 0x7f) << (7 * prefix);
        prefix += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if prefix == 5 {
            return Err(invalid("message length is malformed"));
        }
    }
    if len > MAX_MESSAGE_LEN {
        return Err(invalid(format!("message of {len} bytes exceeds {MAX_MESSAGE_LEN}")));
    }
    inbox.need(prefix + len)?;
    let body = Bytes::copy_from_slice(&inbox.available()[prefix..prefix + len]);
    inbox.consume(prefix + len);
    decode_checked(body).map_err(|error| invalid(error.to_string()))
}

/// Sends a length-delimited message.
pub(crate) fn write_message(mut stream: &TcpStream, message: &impl Message) -> io::Result<()> {
    stream.write_all(&message.encode_length_delimited_to_vec())
}

/// Sends an operation.
pub(crate) fn write_op(mut stream: &TcpStream, code: u8, message: &impl Message) -> io::Result<()> {
    let mut bytes = TRANSFER_VERSION.to_be_bytes().to_vec();
    bytes.push(code);
    bytes.extend_from_slice(&message.encode_length_delimited_to_vec());
    stream.write_all(&bytes)
}

/// A response with nothing but a status.
pub(crate) fn response(status: Status) -> BlockOpResponseProto {
    BlockOpResponseProto {
        status: status.to_wire(),
        ..Default::default()
    }
}

/// An ERROR response that says why.
pub(crate) fn error_response(message: impl Into<String>) -> BlockOpResponseProto {
    BlockOpResponseProto {
        message: Some(message.into()),
        ..response(Status::Error)
    }
}

/// A packet found at the start of some bytes; the ranges count from there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramedPacket {
    pub(crate) header: PacketHeader,
    /// Where the checksums begin; they end where the data begins.
    pub(crate) sums: usize,
    /// Where the data begins; it ends with the packet.
    pub(crate) data: usize,
    /// Length of the whole packet.
    pub(crate) len: usize,
}

/// Looks for a whole packet at the start of `bytes`. `Ok(Err(n))`: at least `n` bytes are needed to say more.
pub(crate) fn parse_packet(bytes: &[u8]) -> io::Result<Result<FramedPacket, usize>> {
    const LENGTHS: usize = 6;
    let [p0, p1, p2, p3, h0, h1, ..] = *bytes else {
        return Ok(Err(LENGTHS));
    };
    let payload = i32::from_be_bytes([p0, p1, p2, p3]);
    let header_len = usize::from(u16::from_be_bytes([h0, h1]));
    let payload = usize::try_from(payload).ok().filter(|len| *len >= 4).map(|len| len - 4);
    let Some(payload) = payload.filter(|len| len + header_len <= MAX_PACKET_LEN && header_len <= MAX_PACKET_HEADER_LEN)
    else {
        return Err(invalid("packet length is out of bounds"));
    };
    let sums = LENGTHS + header_len;
    let len = sums + payload;
    if bytes.len() < len {
        return Ok(Err(len));
    }
    let header: PacketHeaderProto = decode_checked(Bytes::copy_from_slice(&bytes[LENGTHS..sums]))
        .map_err(|error| invalid(format!("packet header: {error}")))?;
    let data_len = usize::try_from(header.data_len).ok().filter(|data| *data <= payload);
    let (Some(data_len), Ok(offset)) = (data_len, u64::try_from(header.offset_in_block)) else {
        return Err(invalid("packet header is out of bounds"));
    };
    Ok(Ok(FramedPacket {
        header: PacketHeader {
            offset_in_block: offset,
            seqno: header.seqno,
            last_in_block: header.last_packet_in_block,
            data_len: data_len as u32,
            sync_block: header.sync_block.unwrap_or(false),
        },
        sums,
        data: len - data_len,
        len,
    }))
}

/// Encodes lengths and header of a packet with `sums_len` bytes of checksums.
pub(crate) fn encode_packet_header(header: &PacketHeader, sums_len: usize, out: &mut Vec<u8>) {
    let proto = PacketHeaderProto {
        offset_in_block: header.offset_in_block as i64,
        seqno: header.seqno,
        last_packet_in_block: header.last_in_block,
        data_len: header.data_len as i32,
        sync_block: header.sync_block.then_some(true),
    };
    let payload = 4 + sums_len + header.data_len as usize;
    out.extend_from_slice(&(payload as u32).to_be_bytes());
    out.extend_from_slice(&(proto.encoded_len() as u16).to_be_bytes());
    out.extend_from_slice(&proto.encode_to_vec());
}

/// Appends an ack as it travels: reply and flag lists say the same.
pub(crate) fn encode_ack(ack: &PipelineAck, out: &mut Vec<u8>) {
    let proto = PipelineAckProto {
        seqno: ack.seqno,
        reply: ack.replies.iter().map(|reply| reply.status.to_wire()).collect(),
        downstream_ack_time_nanos: Some(ack.downstream_ack_nanos),
        flag: ack.replies.iter().map(|reply| reply.to_flag()).collect(),
    };
    out.extend_from_slice(&proto.encode_length_delimited_to_vec());
}

/// Reads an ack; flags win over replies when there are any.
pub(crate) fn read_ack(inbox: &mut Inbox) -> io::Result<PipelineAck> {
    let proto: PipelineAckProto = read_message(inbox)?;
    if proto.reply.len().max(proto.flag.len()) > MAX_PIPELINE_NODES {
        return Err(invalid("ack of a pipeline that is too long"));
    }
    let replies: Option<Vec<AckReply>> = if proto.flag.is_empty() {
        let statuses = proto.reply.iter().map(|number| Status::from_wire(*number));
        statuses.map(|status| status.map(AckReply::from)).collect()
    } else {
        proto.flag.iter().map(|flag| AckReply::from_flag(*flag)).collect()
    };
    Ok(PipelineAck {
        seqno: proto.seqno,
        replies: replies.ok_or_else(|| invalid("ack with an unknown status"))?,
        downstream_ack_nanos: proto.downstream_ack_time_nanos.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(header: &PacketHeader, sums: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_packet_header(header, sums.len(), &mut bytes);
        bytes.extend_from_slice(sums);
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn packets_are_found_and_short_ones_ask_for_more() {
        let header = PacketHeader {
            offset_in_block: 512,
            seqno: 7,
            last_in_block: false,
            data_len: 3,
            sync_block: true,
        };
        let bytes = packet(&header, &[1, 2, 3, 4], b"abc");
        let found = parse_packet(&bytes).unwrap().unwrap();
        assert_eq!(found.header, header);
        assert_eq!(&bytes[found.sums..found.data], &[1, 2, 3, 4]);
        assert_eq!(&bytes[found.data..found.len], b"abc");
        for cut in 0..bytes.len() {
            let need = parse_packet(&bytes[..cut]).unwrap().unwrap_err();
            assert!(need > cut && need <= bytes.len(), "{cut}: {need}");
        }
        // Java's header without syncBlock has 25 bytes, with it 27.
        assert_eq!(bytes[4..6], [0, 27]);
        let plain = packet(
            &PacketHeader {
                sync_block: false,
                ..header
            },
            &[],
            b"abc",
        );
        assert_eq!(plain[4..6], [0, 25]);
    }

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        for bytes in [
            [0, 0, 0, 3, 0, 25],
            [0xff, 0xff, 0xff, 0xff, 0, 25],
            [1, 0, 0, 1, 0, 25],
            [0, 0, 0, 4, 0xff, 0xff],
        ] {
            assert!(parse_packet(&bytes).is_err(), "{bytes:?}");
        }
        let header = PacketHeader {
            data_len: 100,
            ..PacketHeader::heartbeat()
        };
        let mut bytes = packet(&header, &[], &[0; 100]);
        bytes[2] = 0;
        bytes[3] = 50;
        assert!(parse_packet(&bytes).is_err(), "data longer than the packet");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_packet(&bytes);
        }
    }
}
