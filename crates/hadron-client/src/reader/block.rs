//! One READ_BLOCK over one connection: a range of a replica, verified.
//!
//! The DataNode sends whole chunks, so up to one chunk before and after the range is verified and trimmed away. A range
//! that was read to its end is answered with CHECKSUM_OK and the connection goes back to the peer cache.

use crate::datanode::{self, Incoming, within};
use crate::fs::Shared;
use bytes::{Bytes, BytesMut};
use hadron_pipeline::packet::PacketHeader;
use hadron_proto::hdfs as proto;
use hadron_wire::transfer::op::{BlockHeader, ReadBlock};
use hadron_wire::transfer::{Checksum, ChecksumMismatch, Op, response};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Why a replica could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFault {
    /// The connection failed, or the DataNode broke the protocol.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The DataNode refused the block token: most likely it expired, or its key did.
    #[error("{0}")]
    Token(String),
    /// The DataNode refused.
    #[error("{0}")]
    Refused(String),
    /// The data is damaged.
    #[error("{0}")]
    Corrupt(#[from] ChecksumMismatch),
    /// The chunk in which a local block ended does not match, but somebody is writing on in it: nothing is known of it.
    #[error("the block is being appended to, {0}")]
    Unsettled(ChecksumMismatch),
}

/// A range of one block to read from one node.
#[derive(Clone)]
pub(crate) struct BlockRange {
    pub(crate) located: Arc<proto::LocatedBlockProto>,
    pub(crate) node: usize,
    /// Whether the block is being written, as far as is known.
    pub(crate) is_open: bool,
    /// Positions in the block.
    pub(crate) range: Range<u64>,
}

impl BlockRange {
    pub(crate) fn info(&self) -> &proto::DatanodeInfoProto {
        &self.located.locs[self.node]
    }
}

/// An open read.
pub(crate) struct BlockReader {
    shared: Arc<Shared>,
    asked: BlockRange,
    addr: String,
    stream: TcpStream,
    incoming: Incoming,
    checksum: Checksum,
    timeout: Duration,
    /// Position in the block of the next byte to give out.
    pos: u64,
    last_seqno: Option<i64>,
}

impl BlockReader {
    /// Sends the operation, over a kept connection if there is one, and reads the answer.
    pub(crate) async fn open(shared: Arc<Shared>, asked: BlockRange) -> Result<Self, ReadFault> {
        let addr = datanode::transfer_addr(asked.info());
        let settings = &shared.settings;
        let timeout = settings.socket_timeout;
        loop {
            // A kept connection may have been closed by the DataNode meanwhile: no fault of the replica.
            let kept = shared.peers.take(&addr);
            let is_kept = kept.is_some();
            let stream = match kept {
                Some(stream) => stream,
                None => datanode::connect(asked.info(), settings.use_datanode_hostname, timeout).await?,
            };
            match within(timeout, ask(stream, &shared, &asked)).await {
                Ok((stream, incoming, answer)) => {
                    if let Some(text) = datanode::refusal(&answer) {
                        let for_token = answer.status == proto::Status::ErrorAccessToken as i32;
                        return Err(if for_token {
                            ReadFault::Token(text)
                        } else {
                            ReadFault::Refused(text)
                        });
                    }
                    return Ok(Self {
                        checksum: datanode::read_checksum(&answer)?,
                        pos: asked.range.start,
                        addr,
                        stream,
                        incoming,
                        timeout,
                        last_seqno: None,
                        asked,
                        shared,
                    });
                }
                Err(error) if is_kept => tracing::debug!(%error, addr, "kept connection is gone"),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Position in the file of the next byte.
    pub(crate) fn file_position(&self) -> u64 {
        self.asked.located.offset + self.pos
    }
    /// Whether every byte of the range was given out.
    pub(crate) fn is_at_end(&self) -> bool {
        self.pos >= self.asked.range.end
    }
    /// What was asked of whom.
    pub(crate) fn asked(&self) -> &BlockRange {
        &self.asked
    }

    /// The next verified bytes of the range; `None` at its end.
    pub(crate) async fn next_bytes(&mut self) -> Result<Option<Bytes>, ReadFault> {
        while !self.is_at_end() {
            let packet = self.next_packet().await?;
            if packet.header.last_in_block {
                return Err(datanode::invalid("block ended before the range that was asked for").into());
            }
            self.checksum.verify(&packet.data, &packet.checksums)?;
            let (start, end) = (packet.header.offset_in_block, packet.header.end_offset());
            if start > self.pos {
                return Err(datanode::invalid("packet leaves a gap").into());
            }
            let end = end.min(self.asked.range.end);
            if end <= self.pos {
                continue;
            }
            let bytes = packet.data.slice((self.pos - start) as usize..(end - start) as usize);
            self.pos = end;
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    async fn next_packet(&mut self) -> Result<datanode::Packet, ReadFault> {
        let packet = within(self.timeout, self.incoming.packet(&mut self.stream)).await?;
        if !is_sound(&packet.header, self.last_seqno) {
            return Err(datanode::invalid("packet out of order or without data").into());
        }
        self.last_seqno = Some(packet.header.seqno);
        Ok(packet)
    }

    /// Ends the read; after a whole range the connection is kept for the next one.
    pub(crate) async fn finish(mut self: Box<Self>) {
        if self.is_at_end() && self.say_goodbye().await.is_ok() && self.incoming.is_empty() {
            self.shared.peers.put(self.addr, self.stream);
        }
    }

    /// Reads the final empty packet and tells the DataNode that every checksum was right.
    async fn say_goodbye(&mut self) -> Result<(), ReadFault> {
        let packet = self.next_packet().await?;
        if !packet.header.last_in_block {
            return Err(datanode::invalid("packet behind the end of the range").into());
        }
        let mut status = BytesMut::new();
        response::encode_read_status(&mut status, proto::Status::ChecksumOk);
        self.stream.write_all(&status).await?;
        Ok(())
    }
}

async fn ask(
    mut stream: TcpStream,
    shared: &Shared,
    asked: &BlockRange,
) -> io::Result<(TcpStream, Incoming, proto::BlockOpResponseProto)> {
    let settings = &shared.settings;
    let op = Op::ReadBlock(ReadBlock {
        header: BlockHeader {
            block: (&asked.located.b).into(),
            token: asked.located.block_token.clone(),
        },
        client_name: shared.client_name.clone(),
        offset: asked.range.start,
        len: asked.range.end - asked.range.start,
        send_checksums: true,
        caching: proto::CachingStrategyProto {
            drop_behind: settings.drop_behind_reads,
            readahead: settings.readahead,
        },
    });
    datanode::send_operation(&mut stream, &op).await?;
    let mut incoming = Incoming::default();
    let answer = incoming.response(&mut stream).await?;
    Ok((stream, incoming, answer))
}

/// Whether a packet may follow: numbered from 0 without gaps, with data unless it is the last.
fn is_sound(header: &PacketHeader, last_seqno: Option<i64>) -> bool {
    let expected = last_seqno.map_or(header.seqno, |last| last + 1);
    header.seqno == expected && (header.last_in_block == (header.data_len == 0))
}
