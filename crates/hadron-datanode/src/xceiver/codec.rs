//! Data transfer messages over blocking sockets, and the pipeline machine's values to and from the wire's.
//!
//! The formats are `hadron-wire`'s; here are only the socket ends and the packets found in place in a receive buffer.

use super::inbox::Inbox;
use super::socket::Socket;
use bytes::BytesMut;
use hadron_pipeline::packet::{AckReply, PacketHeader, PipelineAck, Status};
use hadron_proto::hdfs::{self, BlockOpResponseProto};
use hadron_wire::transfer::packet::{self, PREFIX_LEN, PacketPrefix};
use hadron_wire::transfer::{self, Op, ack, response};
use std::io::{self, Error, ErrorKind, Write};

pub(crate) fn invalid(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, problem.into())
}

/// Sends an operation.
pub(crate) fn write_op(mut stream: &Socket, op: &Op) -> io::Result<()> {
    let mut out = BytesMut::new();
    op.encode(&mut out);
    stream.write_all(&out)
}

/// Sends a response.
pub(crate) fn write_response(mut stream: &Socket, message: &BlockOpResponseProto) -> io::Result<()> {
    let mut out = BytesMut::new();
    response::encode_response(&mut out, message);
    stream.write_all(&out)
}

/// Whether a response says SUCCESS.
pub(crate) fn is_success(message: &BlockOpResponseProto) -> bool {
    message.status == hdfs::Status::Success as i32
}

fn wire_status(status: Status) -> hdfs::Status {
    // The same numbers on both sides; a test of the pipeline crate holds them to that.
    hdfs::Status::try_from(status.to_wire()).unwrap_or(hdfs::Status::Error)
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
    let Some(prefix) = bytes.first_chunk::<PREFIX_LEN>() else {
        return Ok(Err(PREFIX_LEN));
    };
    let prefix = PacketPrefix::decode(*prefix)?;
    let sums = PREFIX_LEN + prefix.header_len;
    let len = sums + prefix.payload_len;
    if bytes.len() < len {
        return Ok(Err(len));
    }
    let header = transfer::PacketHeader::decode(&bytes[PREFIX_LEN..sums])?;
    let data = sums + prefix.checksums_len(&header)?;
    Ok(Ok(FramedPacket {
        header: PacketHeader {
            offset_in_block: header.offset_in_block,
            seqno: header.seqno,
            last_in_block: header.last,
            data_len: header.data_len,
            sync_block: header.sync_block,
        },
        sums,
        data,
        len,
    }))
}

/// Encodes lengths and header of a packet with `sums_len` bytes of checksums.
pub(crate) fn encode_packet_header(header: &PacketHeader, sums_len: usize, out: &mut Vec<u8>) {
    let wire = packet::PacketHeader {
        offset_in_block: header.offset_in_block,
        seqno: header.seqno,
        last: header.last_in_block,
        data_len: header.data_len,
        sync_block: header.sync_block,
    };
    wire.append_to(sums_len, out);
}

/// Appends an ack as it travels.
pub(crate) fn encode_ack(due: &PipelineAck, out: &mut BytesMut) {
    let replies = due.replies.iter().map(|reply| ack::Reply {
        ecn: (reply.flag_bits >> 5 & 3) as u8,
        slow: (reply.flag_bits >> 7 & 3) as u8,
        ..ack::Reply::of(wire_status(reply.status))
    });
    let wire = transfer::PipelineAck {
        seqno: due.seqno,
        replies: replies.collect(),
        downstream_ack_time_nanos: due.downstream_ack_nanos,
    };
    wire.encode(out);
}

/// Reads an ack.
pub(crate) fn read_ack(inbox: &mut Inbox) -> io::Result<PipelineAck> {
    let wire = transfer::PipelineAck::read(inbox)?;
    let replies = wire.replies.iter().map(|reply| AckReply::from_flag(reply.to_flag()));
    Ok(PipelineAck {
        seqno: wire.seqno,
        replies: replies
            .collect::<Option<_>>()
            .ok_or_else(|| invalid("ack with an unknown status"))?,
        downstream_ack_nanos: wire.downstream_ack_time_nanos,
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
