//! Talking to a DataNode's streaming port: connecting, operations out, delimited messages and packets in.
//!
//! What it does not do: decide which DataNode to talk to, or what an answer means.
//! Invariants: [`Incoming`] keeps bytes that arrived ahead, so every read is cancel safe; no buffer is sized by a length
//! field before it was checked against its limit.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hadron_pipeline::packet::{AckReply, PacketHeader, PipelineAck, Status};
use hadron_proto::hdfs as proto;
use hadron_wire::WireError;
use hadron_wire::transfer::packet::{PREFIX_LEN, PacketPrefix};
use hadron_wire::transfer::{self, Checksum, Op, response};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Receive buffer where packets are expected: a few, so that one system call serves many. When every slice given out was
/// dropped the same memory is used again.
const PACKET_BUFFER_SIZE: usize = 520 << 10;
/// Packets from this size on are read one by one: what was read beyond them would cost more to move than another system
/// call does.
const LARGE_PACKET: usize = 192 << 10;
/// Receive buffer where small messages are expected.
const MESSAGE_BUFFER_SIZE: usize = 4 << 10;
/// Part of the buffer that must be free before a read; less would cost a system call for little.
const MIN_FREE_DIVISOR: usize = 8;

/// Connects to the streaming port of `node`.
pub(crate) async fn connect(
    node: &proto::DatanodeInfoProto,
    use_hostname: bool,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let port = u16::try_from(node.id.xfer_port).map_err(|_| io::Error::other("transfer port above 65535"))?;
    within(timeout, async {
        let stream = match node.id.ip_addr.parse::<IpAddr>() {
            Ok(ip) if !use_hostname => TcpStream::connect(SocketAddr::new(ip, port)).await?,
            _ if use_hostname => TcpStream::connect((node.id.host_name.as_str(), port)).await?,
            _ => TcpStream::connect((node.id.ip_addr.as_str(), port)).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    })
    .await
}

/// Runs `work`, or fails with `TimedOut` after `timeout`.
pub(crate) async fn within<T>(timeout: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer in {timeout:?}"),
        )),
    }
}

/// `ip:port` of a node's streaming port, the name by which DataNodes blame each other.
pub(crate) fn transfer_addr(node: &proto::DatanodeInfoProto) -> String {
    format!("{}:{}", node.id.ip_addr, node.id.xfer_port)
}

/// Sends an operation in one write.
pub(crate) async fn send_operation(stream: &mut TcpStream, op: &Op) -> io::Result<()> {
    let mut frame = BytesMut::new();
    op.encode(&mut frame);
    stream.write_all(&frame).await
}

/// Bytes that arrived and are not used yet.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    buf: BytesMut,
}

/// A packet as it arrived.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) header: PacketHeader,
    pub(crate) checksums: Bytes,
    pub(crate) data: Bytes,
}

impl Incoming {
    /// Whether bytes are left that nobody asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Waits for more bytes, in a buffer of `size` bytes that grows as they arrive. Cancel safe: what arrived stays.
    async fn read_more(&mut self, stream: &mut (impl AsyncRead + Unpin), size: usize) -> io::Result<()> {
        let min_free = size / MIN_FREE_DIVISOR;
        if self.buf.capacity() - self.buf.len() < min_free {
            self.buf.reserve(size.saturating_sub(self.buf.len()).max(min_free));
        }
        if stream.read_buf(&mut self.buf).await? == 0 {
            return Err(closed());
        }
        Ok(())
    }

    async fn decode<T>(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        decode: impl Fn(&[u8]) -> Result<Option<(T, usize)>, WireError>,
    ) -> io::Result<T> {
        loop {
            if let Some((value, used)) = decode(&self.buf)? {
                self.buf.advance(used);
                return Ok(value);
            }
            self.read_more(stream, MESSAGE_BUFFER_SIZE).await?;
        }
    }

    /// Reads the answer to an operation. Cancel safe.
    pub(crate) async fn response(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<proto::BlockOpResponseProto> {
        self.decode(stream, response::decode_response).await
    }

    /// Reads one pipeline ack. Cancel safe.
    pub(crate) async fn ack(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<PipelineAck> {
        let ack = self.decode(stream, transfer::PipelineAck::decode).await?;
        let reply = |reply: &transfer::ack::Reply| AckReply::from_flag(reply.to_flag());
        let replies: Option<Vec<AckReply>> = ack.replies.iter().map(reply).collect();
        Ok(PipelineAck {
            seqno: ack.seqno,
            replies: replies.ok_or_else(|| invalid("ack with unknown status"))?,
            downstream_ack_nanos: ack.downstream_ack_time_nanos,
        })
    }

    /// Reads one packet; its checksums and data are slices of the receive buffer. Cancel safe.
    pub(crate) async fn packet(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Packet> {
        loop {
            if let Some(packet) = self.take_packet()? {
                return Ok(packet);
            }
            match self.missing()? {
                // Not a byte of the data that follows it, which would have to be moved to where its packet fits.
                Some(missing) if self.buf.len() + missing > LARGE_PACKET => self.read_rest(stream, missing).await?,
                _ => self.read_more(stream, PACKET_BUFFER_SIZE).await?,
            }
        }
    }

    /// Bytes that the packet needs which has begun to arrive; `None` while its lengths are not known.
    fn missing(&self) -> io::Result<Option<usize>> {
        let Some(prefix) = self.buf.first_chunk::<PREFIX_LEN>() else {
            return Ok(None);
        };
        let prefix = PacketPrefix::decode(*prefix)?;
        let total = PREFIX_LEN + prefix.header_len + prefix.payload_len;
        Ok(Some(total.saturating_sub(self.buf.len())))
    }

    /// Waits for more of the `missing` bytes of a large packet, and at most for the lengths of the one behind it.
    async fn read_rest(&mut self, stream: &mut (impl AsyncRead + Unpin), missing: usize) -> io::Result<()> {
        let wanted = missing + PREFIX_LEN;
        if self.buf.capacity() - self.buf.len() < wanted {
            // Nothing is sized by the stranger's length alone: beyond a usual packet the buffer grows as bytes arrive.
            let room = wanted.min(PACKET_BUFFER_SIZE.max(self.buf.len()));
            self.buf.reserve(room);
        }
        let mut limited = (&mut self.buf).limit(wanted);
        match stream.read_buf(&mut limited).await? {
            0 => Err(closed()),
            _ => Ok(()),
        }
    }

    fn take_packet(&mut self) -> io::Result<Option<Packet>> {
        let Some(prefix) = self.buf.first_chunk::<PREFIX_LEN>() else {
            return Ok(None);
        };
        let prefix = PacketPrefix::decode(*prefix)?;
        let total = PREFIX_LEN + prefix.header_len + prefix.payload_len;
        if self.buf.len() < total {
            return Ok(None);
        }
        let mut frame = self.buf.split_to(total).freeze();
        frame.advance(PREFIX_LEN);
        let header = transfer::PacketHeader::decode(&frame.split_to(prefix.header_len))?;
        let checksums = frame.split_to(prefix.checksums_len(&header)?);
        Ok(Some(Packet {
            header: PacketHeader {
                offset_in_block: header.offset_in_block,
                seqno: header.seqno,
                last_in_block: header.last,
                data_len: header.data_len,
                sync_block: header.sync_block,
            },
            checksums,
            data: frame,
        }))
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed by data node")
}

pub(crate) fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The lengths and header of a packet with `checksums_len` bytes of checksums.
pub(crate) fn encode_packet_header(header: &PacketHeader, checksums_len: usize) -> Bytes {
    let mut frame = BytesMut::with_capacity(transfer::packet::PREFIX_AND_HEADER_MAX);
    let header = transfer::PacketHeader {
        offset_in_block: header.offset_in_block,
        seqno: header.seqno,
        last: header.last_in_block,
        data_len: header.data_len,
        sync_block: header.sync_block,
    };
    header.append_to(checksums_len, &mut frame);
    frame.freeze()
}

/// Why a DataNode refused an operation; `None` when it did not.
pub(crate) fn refusal(response: &proto::BlockOpResponseProto) -> Option<String> {
    match Status::from_wire(response.status) {
        Some(Status::Success) => None,
        status => {
            let name = status.map_or("unknown status", Status::name);
            Some(format!("{name} {}", response.message()))
        }
    }
}

/// How the packets of a read are checksummed.
pub(crate) fn read_checksum(response: &proto::BlockOpResponseProto) -> io::Result<Checksum> {
    let info = response.read_op_checksum_info.as_ref();
    let info = info.ok_or_else(|| invalid("answer to a read without checksum information"))?;
    Ok(Checksum::try_from(&info.checksum)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_arrive_in_any_pieces() {
        use hadron_proto::hdfs::Status as WireStatus;
        let mut bytes = BytesMut::new();
        transfer::PipelineAck::new(300, [WireStatus::Success, WireStatus::Error]).encode(&mut bytes);
        let (mut near, mut far) = tokio::io::duplex(1);
        let sending = tokio::spawn(async move { far.write_all(&bytes).await.map(|()| far) });
        let mut incoming = Incoming::default();
        let ack = incoming.ack(&mut near).await.unwrap();
        assert_eq!(ack, PipelineAck::new(300, [Status::Success, Status::Error]));
        drop(sending.await.unwrap().unwrap());
        let end = incoming.ack(&mut near).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn packets_are_framed_as_hadoop_does() {
        // covers: WP-04
        let header = PacketHeader {
            offset_in_block: 64512,
            seqno: 1,
            last_in_block: false,
            data_len: 3,
            sync_block: false,
        };
        let mut frame = encode_packet_header(&header, 4).to_vec();
        assert_eq!(&frame[..6], [0, 0, 0, 11, 0, 25], "PLEN counts itself, HLEN is 25");
        frame.extend_from_slice(b"sumsabc");
        let mut stream = &frame[..];
        let packet = Incoming::default().packet(&mut stream).await.unwrap();
        assert_eq!(packet.header, header);
        assert_eq!((&packet.checksums[..], &packet.data[..]), (&b"sums"[..], &b"abc"[..]));
        let synced = PacketHeader {
            sync_block: true,
            ..header
        };
        assert_eq!(encode_packet_header(&synced, 0)[5], 27);
    }
}
