//! Packets: how block data travels, both ways.
//!
//! ```text
//! int32 PLEN = 4 + checksums + data | int16 HLEN | header message (25 or 27 bytes) | checksums | data
//! ```
//! PLEN counts its own four bytes and not HLEN. The header is three fixed-width numbers and a flag, so that its length is
//! known before its content; `syncBlock` is written only when set, which makes 27 of 25 bytes.

use super::MAX_PACKET_LEN;
use crate::WireError;
use bytes::{Buf, Bytes, BytesMut};
use hadron_proto::Required;
use hadron_proto::check_required;
use hadron_proto::hdfs::PacketHeaderProto;
use prost::Message;

/// Bytes of PLEN and HLEN.
pub const PREFIX_LEN: usize = 6;
/// Longest header that is written, `syncBlock` included.
pub const HEADER_LEN_MAX: usize = 27;
/// Room to keep free in front of checksums and data: prefix and longest header.
pub const PREFIX_AND_HEADER_MAX: usize = PREFIX_LEN + HEADER_LEN_MAX;
/// Longest header that is read; leaves room for fields of later versions.
pub const HEADER_LEN_ACCEPTED: usize = 1024;
/// Sequence number of a packet that only shows life.
pub const HEARTBEAT_SEQNO: i64 = -1;
const HEADER_LEN: usize = 25;
const READ_LEN: usize = 64 * 1024;

/// What a packet says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketHeader {
    /// Where in the block the data begins.
    pub offset_in_block: u64,
    /// Number of the packet in its stream; [`HEARTBEAT_SEQNO`] for a heartbeat.
    pub seqno: i64,
    /// Whether the block ends here; such a packet has no data.
    pub last: bool,
    /// Bytes of data.
    pub data_len: u32,
    /// Whether the data must reach the disk before the ack.
    pub sync_block: bool,
}

/// The first six bytes of a packet, checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketPrefix {
    /// Bytes of the header, 1..=[`HEADER_LEN_ACCEPTED`].
    pub header_len: usize,
    /// Bytes of checksums and data together, 0..=[`MAX_PACKET_LEN`].
    pub payload_len: usize,
}

impl PacketPrefix {
    /// Reads PLEN and HLEN. A blocking receiver reads six bytes, then `header_len`, then `payload_len`.
    pub fn decode(bytes: [u8; PREFIX_LEN]) -> Result<Self, WireError> {
        let [p0, p1, p2, p3, h0, h1] = bytes;
        let packet_len = i32::from_be_bytes([p0, p1, p2, p3]);
        let header_len = usize::from(u16::from_be_bytes([h0, h1]));
        let wrong = |what, len| WireError::Length {
            what,
            len,
            limit: MAX_PACKET_LEN,
        };
        if header_len == 0 || header_len > HEADER_LEN_ACCEPTED {
            return Err(wrong("packet header", header_len as i64));
        }
        match usize::try_from(packet_len) {
            Ok(len) if len >= 4 && len + header_len <= MAX_PACKET_LEN => Ok(Self {
                header_len,
                payload_len: len - 4,
            }),
            _ => Err(wrong("packet", i64::from(packet_len))),
        }
    }

    /// Bytes of checksums, given the header: what the payload has beyond the data.
    ///
    /// Errors: the data would be longer than the payload, or is not covered by whole checksums of 4 bytes.
    pub fn checksums_len(self, header: &PacketHeader) -> Result<usize, WireError> {
        match self.payload_len.checked_sub(header.data_len as usize) {
            Some(len) if len % 4 == 0 => Ok(len),
            _ => Err(WireError::Length {
                what: "packet data",
                len: i64::from(header.data_len),
                limit: self.payload_len,
            }),
        }
    }
}

impl PacketHeader {
    /// A packet that shows life and carries nothing.
    pub fn heartbeat() -> Self {
        Self {
            offset_in_block: 0,
            seqno: HEARTBEAT_SEQNO,
            last: false,
            data_len: 0,
            sync_block: false,
        }
    }

    /// Whether it is a heartbeat.
    pub fn is_heartbeat(&self) -> bool {
        self.seqno == HEARTBEAT_SEQNO
    }

    /// Bytes of the encoded header.
    pub fn encoded_len(&self) -> usize {
        if self.sync_block { HEADER_LEN_MAX } else { HEADER_LEN }
    }

    /// Writes prefix and header to the front of `out` and gives their length, 31 or 33.
    ///
    /// `checksums_len`: bytes of checksums between header and data. The sum of both must stay within
    /// [`MAX_PACKET_LEN`]; the caller chose the packet's size.
    pub fn encode(&self, checksums_len: usize, out: &mut [u8; PREFIX_AND_HEADER_MAX]) -> usize {
        let packet_len = 4 + checksums_len + self.data_len as usize;
        debug_assert!(
            packet_len + HEADER_LEN_MAX <= MAX_PACKET_LEN,
            "a packet within the limit"
        );
        out[..4].copy_from_slice(&(packet_len as u32).to_be_bytes());
        out[4..6].copy_from_slice(&(self.encoded_len() as u16).to_be_bytes());
        out[6] = 0x09;
        out[7..15].copy_from_slice(&self.offset_in_block.to_le_bytes());
        out[15] = 0x11;
        out[16..24].copy_from_slice(&self.seqno.to_le_bytes());
        out[24] = 0x18;
        out[25] = u8::from(self.last);
        out[26] = 0x25;
        out[27..31].copy_from_slice(&self.data_len.to_le_bytes());
        out[31..].copy_from_slice(&[0x28, 1]);
        PREFIX_LEN + self.encoded_len()
    }

    /// Writes prefix and header to the end of a buffer.
    pub fn append_to(&self, checksums_len: usize, out: &mut impl bytes::BufMut) {
        let mut bytes = [0; PREFIX_AND_HEADER_MAX];
        let len = self.encode(checksums_len, &mut bytes);
        out.put_slice(&bytes[..len]);
    }

    /// Reads the header message (without prefix).
    ///
    /// Errors: not the message, or a value no packet has: negative offset or length, data in the last packet.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let what = "packet header";
        let message = match canonical(bytes) {
            Some(message) => message,
            None => {
                check_required(PacketHeaderProto::SHAPE, bytes)
                    .map_err(|source| WireError::Message { what, source })?;
                PacketHeaderProto::decode(bytes).map_err(|source| WireError::Message {
                    what,
                    source: hadron_proto::DecodeError::Malformed {
                        message: PacketHeaderProto::SHAPE.name,
                        source,
                    },
                })?
            }
        };
        let negative = |what, len: i64| WireError::Length {
            what,
            len,
            limit: MAX_PACKET_LEN,
        };
        let offset_in_block =
            u64::try_from(message.offset_in_block).map_err(|_| negative("packet offset", message.offset_in_block))?;
        let data_len =
            u32::try_from(message.data_len).map_err(|_| negative("packet data", i64::from(message.data_len)))?;
        if message.last_packet_in_block && data_len != 0 {
            return Err(negative("data of a last packet", i64::from(data_len)));
        }
        Ok(Self {
            offset_in_block,
            seqno: message.seqno,
            last: message.last_packet_in_block,
            data_len,
            sync_block: message.sync_block(),
        })
    }
}

/// The header as every known sender writes it, without going through the general decoder.
fn canonical(bytes: &[u8]) -> Option<PacketHeaderProto> {
    let (fixed, sync) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let sync_block = match sync {
        [] => None,
        [0x28, flag @ (0 | 1)] => Some(*flag == 1),
        _ => return None,
    };
    let (&[t1, o0, o1, o2, o3, o4, o5, o6, o7, t2], rest) = fixed.split_first_chunk::<10>()?;
    let &[s0, s1, s2, s3, s4, s5, s6, s7, t3, last, t4, d0, d1, d2, d3] = rest.first_chunk::<15>()?;
    if [t1, t2, t3, t4] != [0x09, 0x11, 0x18, 0x25] || last > 1 {
        return None;
    }
    Some(PacketHeaderProto {
        offset_in_block: i64::from_le_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
        seqno: i64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        last_packet_in_block: last == 1,
        data_len: i32::from_le_bytes([d0, d1, d2, d3]),
        sync_block,
    })
}

/// A whole packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// What it says of itself.
    pub header: PacketHeader,
    /// Its checksums, 4 bytes each; empty for checksum type NULL.
    pub checksums: Bytes,
    /// Its data.
    pub data: Bytes,
}

/// Collects bytes and gives back packets, for receivers that read what there is.
#[derive(Debug, Default)]
pub struct PacketDecoder {
    buffer: BytesMut,
}

impl PacketDecoder {
    /// A decoder with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer to append to, with room for a sensible read; a packet's length reserves nothing in advance.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_LEN);
        &mut self.buffer
    }

    /// Appends bytes that were read elsewhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What has arrived and is not taken yet; after the last packet of a block it belongs to the next message.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Gives up the bytes that are not taken yet.
    pub fn into_buffered(self) -> BytesMut {
        self.buffer
    }

    /// The next whole packet; `Ok(None)`: more bytes are needed. An error ends the connection.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, WireError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX_LEN>() else {
            return Ok(None);
        };
        let prefix = PacketPrefix::decode(*prefix)?;
        let header_end = PREFIX_LEN + prefix.header_len;
        let Some(header) = self.buffer.get(PREFIX_LEN..header_end) else {
            return Ok(None);
        };
        let header = PacketHeader::decode(header)?;
        let checksums_len = prefix.checksums_len(&header)?;
        if self.buffer.len() < header_end + prefix.payload_len {
            return Ok(None);
        }
        self.buffer.advance(header_end);
        let mut payload = self.buffer.split_to(prefix.payload_len).freeze();
        let checksums = payload.split_to(checksums_len);
        Ok(Some(Packet {
            header,
            checksums,
            data: payload,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(header: &PacketHeader, checksums: &[u8], data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        header.append_to(checksums.len(), &mut out);
        out.extend_from_slice(checksums);
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn headers_are_the_bytes_prost_writes() {
        for sync_block in [false, true] {
            let header = PacketHeader {
                offset_in_block: 0x0102_0304_0506,
                seqno: HEARTBEAT_SEQNO,
                last: true,
                data_len: 0,
                sync_block,
            };
            let message = PacketHeaderProto {
                offset_in_block: header.offset_in_block as i64,
                seqno: header.seqno,
                last_packet_in_block: true,
                data_len: 0,
                sync_block: sync_block.then_some(true),
            };
            let bytes = encoded(&header, &[], &[]);
            assert_eq!(bytes[6..], message.encode_to_vec());
            assert_eq!(bytes.len(), if sync_block { 33 } else { 31 });
            assert_eq!(PacketHeader::decode(&bytes[6..]), Ok(header));
        }
    }

    #[test]
    fn unusual_encodings_go_through_the_general_decoder() {
        let mut bytes = encoded(&PacketHeader::heartbeat(), &[], &[]).split_off(6);
        bytes.extend_from_slice(&[0x30, 7]);
        assert_eq!(
            PacketHeader::decode(&bytes),
            Ok(PacketHeader::heartbeat()),
            "an unknown field is skipped"
        );
        assert!(PacketHeader::decode(&bytes[..20]).is_err());
        assert!(PacketHeader::decode(&[]).is_err());
    }

    #[test]
    fn hostile_lengths_are_refused() {
        for (packet_len, header_len, good) in [
            (4_i32, 25_u16, true),
            (3, 25, false),
            (-1, 25, false),
            (i32::MAX, 25, false),
            (MAX_PACKET_LEN as i32 - 25, 25, true),
            (MAX_PACKET_LEN as i32 - 24, 25, false),
            (4, 0, false),
            (4, 1024, true),
            (4, 1025, false),
            (4, 0xffff, false),
        ] {
            let [p0, p1, p2, p3] = packet_len.to_be_bytes();
            let [h0, h1] = header_len.to_be_bytes();
            let found = PacketPrefix::decode([p0, p1, p2, p3, h0, h1]);
            assert_eq!(found.is_ok(), good, "{packet_len} {header_len}");
        }
        let header = |data_len: u32, last: bool| PacketHeader {
            data_len,
            last,
            seqno: 0,
            ..PacketHeader::heartbeat()
        };
        let prefix = PacketPrefix {
            header_len: 25,
            payload_len: 12,
        };
        assert_eq!(prefix.checksums_len(&header(8, false)), Ok(4));
        assert!(prefix.checksums_len(&header(13, false)).is_err());
        assert!(prefix.checksums_len(&header(7, false)).is_err());
        assert!(
            PacketHeader::decode(&encoded(&header(1, true), &[], &[])[6..]).is_err(),
            "data in the last packet"
        );
        let mut negative = encoded(&header(1, false), &[], &[]).split_off(6);
        negative[8] = 0xff;
        assert!(PacketHeader::decode(&negative).is_err(), "negative offset");
    }

    proptest! {
        #[test]
        fn packets_come_out_however_the_bytes_are_cut(
            packets in prop::collection::vec((any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 1..50), 0_usize..4), 0..6),
            cut in 1_usize..40,
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for (offset, sync_block, data, sums) in packets {
                let header = PacketHeader {
                    offset_in_block: u64::from(offset), seqno: expected.len() as i64, last: false,
                    data_len: data.len() as u32, sync_block,
                };
                let checksums = vec![7; 4 * sums];
                stream.extend(encoded(&header, &checksums, &data));
                expected.push(Packet { header, checksums: checksums.into(), data: data.into() });
            }
            let mut decoder = PacketDecoder::new();
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                while let Some(packet) = decoder.next_packet().expect("good packets") {
                    found.push(packet);
                }
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = PacketHeader::decode(&bytes);
            let mut decoder = PacketDecoder::new();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_packet() {}
        }
    }
}
