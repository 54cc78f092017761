//! Sending a range of a replica as packets: what READ_BLOCK and the copies to other DataNodes share.
//!
//! The range is widened to whole chunks; the receiver trims. Every chunk is whole except the last of the block. After
//! the data comes one empty packet that says so. Source: Hadoop `BlockSender`.

use super::codec::encode_packet_header;
use super::engine::{SendEngine, SendError};
use super::socket::Socket;
use hadron_env::disk::PageHint;
use hadron_pipeline::packet::PacketHeader;
use hadron_replica::{ChunkFormat, ReplicaReader};
use std::io;

/// Data bytes in a full packet; large packets mean few system calls.
pub(crate) const PACKET_DATA_LEN: u64 = 512 * 1024;
/// Shorter reads are not worth reading ahead.
const MIN_READAHEAD_RANGE: u64 = 256 * 1024;

/// What of a replica to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SendPlan {
    /// Checksums to send; [`ChunkFormat::NONE`] for none.
    pub(crate) format: ChunkFormat,
    /// First byte, at a chunk's start.
    pub(crate) start: u64,
    /// Behind the last byte.
    pub(crate) end: u64,
}

impl SendPlan {
    /// Widens `len` bytes (`None`: all that is visible) from `offset` on to whole chunks.
    ///
    /// Errors: the range is not inside the replica; in Hadoop's words.
    pub(crate) fn new(
        replica: &ReplicaReader,
        offset: u64,
        len: Option<u64>,
        send_checksums: bool,
    ) -> Result<Self, String> {
        let (visible, readable) = (replica.visible_len(), replica.readable_len());
        let wanted = len.unwrap_or(visible);
        let end = offset
            .checked_add(wanted)
            .filter(|end| offset <= readable && *end <= readable);
        let end = match (len, end) {
            (None, _) if offset <= visible => visible,
            (Some(_), Some(end)) => end,
            _ => {
                return Err(format!(
                    " Offset {offset} and length {wanted} don't match block {} ( blockLen {readable} )",
                    replica.block()
                ));
            }
        };
        let format = if send_checksums {
            replica.format()
        } else {
            ChunkFormat::NONE
        };
        let chunk = u64::from(format.chunk);
        Ok(Self {
            format,
            start: offset - offset % chunk,
            end: end.next_multiple_of(chunk).min(readable),
        })
    }

    /// Sends the packets; `first` goes out in front of the first one. Returns how many bytes of data went.
    pub(crate) fn send(
        &self,
        stream: &Socket,
        replica: &ReplicaReader,
        engine: &mut dyn SendEngine,
        first: Vec<u8>,
        cache: CacheAdvice,
    ) -> Result<u64, SendError> {
        self.send_paced(stream, replica, engine, first, cache, &mut |_| Ok(()))
    }

    /// As [`Self::send`]; `pace` hears of the bytes of each packet once they went and returns when more may.
    pub(crate) fn send_paced(
        &self,
        stream: &Socket,
        replica: &ReplicaReader,
        engine: &mut dyn SendEngine,
        first: Vec<u8>,
        cache: CacheAdvice,
        pace: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<u64, SendError> {
        let chunk = u64::from(self.format.chunk);
        let step = (PACKET_DATA_LEN - PACKET_DATA_LEN % chunk).max(chunk);
        let mut head = first;
        let (mut at, mut seqno) = (self.start, 0);
        let mut ahead = self.start;
        while at < self.end {
            cache.read_ahead(replica, self, at, &mut ahead);
            let len = (self.end - at).min(step) as usize;
            let sums_len = self.format.sums_len(len);
            encode_packet_header(&self.header(at, seqno, len), sums_len, &mut head);
            let sums_at = head.len();
            head.resize(sums_at + sums_len, 0);
            replica.read_sums(&mut head[sums_at..], at / chunk)?;
            engine.send(stream, &head, replica, at, len)?;
            cache.drop_behind(replica, at, len);
            head.clear();
            pace(len as u64)?;
            at += len as u64;
            seqno += 1;
        }
        let last = PacketHeader {
            last_in_block: true,
            ..self.header(at, seqno, 0)
        };
        encode_packet_header(&last, 0, &mut head);
        engine.send(stream, &head, replica, at, 0)?;
        Ok(at - self.start)
    }

    fn header(&self, offset: u64, seqno: i64, len: usize) -> PacketHeader {
        PacketHeader {
            offset_in_block: offset,
            seqno,
            last_in_block: false,
            data_len: len as u32,
            sync_block: false,
        }
    }
}

/// What to tell the kernel about the page cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CacheAdvice {
    /// Bytes to read ahead, 0: none.
    pub(crate) readahead: u64,
    /// Read ahead also for short ranges: the client asked for it.
    pub(crate) readahead_forced: bool,
    /// Forget what was sent.
    pub(crate) drop_behind: bool,
}

impl CacheAdvice {
    fn read_ahead(&self, replica: &ReplicaReader, plan: &SendPlan, at: u64, ahead: &mut u64) {
        let long = plan.end - plan.start > MIN_READAHEAD_RANGE || self.readahead_forced;
        if self.readahead == 0 || !long || at + self.readahead / 2 < *ahead || *ahead >= plan.end {
            return;
        }
        let from = at.max(*ahead);
        let len = self.readahead.min(plan.end - from);
        replica.hint(PageHint::WillNeed, from, len);
        *ahead = from + len;
    }

    fn drop_behind(&self, replica: &ReplicaReader, from: u64, len: usize) {
        if self.drop_behind {
            replica.hint(PageHint::DontNeed, from, len as u64);
        }
    }
}
