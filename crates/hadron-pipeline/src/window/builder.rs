//! Cuts the bytes an application writes into packets.
//!
//! A packet holds whole chunks, [`PacketParams::chunks_per_packet`] of them, and never crosses the end of a block. After
//! each full packet the next one is measured anew, so that it fits what is left of the block, framing included: the
//! packets of one input are Java's, to the byte. (That makes the first packet of every further block one chunk long, as
//! nothing is left when it is measured. Java's overflow for blocks above 2 GiB is not copied.) A
//! packet that starts inside a chunk (append) only finishes that chunk. A flush sends the unfinished chunk and keeps
//! its bytes: the next packet starts again at the chunk's start, so the receiver always gets checksums of whole chunks.
//! What it does not do: no checksums, no seqnos, no queue.
//! Invariants: `packet start + data.len() == block position`; every byte written appears in the packets in order, and
//! only bytes of an unfinished chunk appear more than once.
//!
//! Source: Hadoop `DFSOutputStream` (`computePacketChunkSize`, `flushOrSync`).

/// Bytes a packet's framing may take: two length fields and the longest header.
const MAX_PACKET_HEADER_LEN: u32 = 33;
/// Largest packet size that is honoured (Hadoop's 16 MiB limit of the receiver).
pub const MAX_WRITE_PACKET_SIZE: u32 = 16 * 1024 * 1024;

/// Sizes that rule how packets are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketParams {
    /// Bytes per checksum, > 0 (`dfs.bytes-per-checksum`).
    pub bytes_per_checksum: u32,
    /// Bytes of one checksum, 0 or 4.
    pub checksum_size: u32,
    /// Packet size aimed at, framing included (`dfs.client-write-packet-size`).
    pub write_packet_size: u32,
    /// Bytes of a full block, > 0.
    pub block_size: u64,
}

impl PacketParams {
    /// Chunks of a full packet, at least 1; 126 with Hadoop's defaults.
    pub fn chunks_per_packet(&self) -> u32 {
        self.chunks_in(u64::MAX)
    }
    /// Chunks of a full packet where the block has room for `left` bytes.
    fn chunks_in(&self, left: u64) -> u32 {
        let size = u64::from(self.write_packet_size.min(MAX_WRITE_PACKET_SIZE)).min(left) as u32;
        let body = size.saturating_sub(MAX_PACKET_HEADER_LEN);
        (body / (self.bytes_per_checksum + self.checksum_size)).max(1)
    }
    /// Data bytes of a full packet; 64512 with Hadoop's defaults.
    pub fn packet_data_len(&self) -> usize {
        self.chunks_per_packet() as usize * self.bytes_per_checksum as usize
    }
}

/// A packet as cut: where it belongs and its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BuiltPacket {
    /// Position in the block of the first byte.
    pub offset_in_block: u64,
    /// The bytes; may be empty for a pure sync or end of block.
    pub data: Vec<u8>,
    /// Whether the receivers must sync before they ack.
    pub sync_block: bool,
    /// Whether the block ends behind these bytes.
    pub ends_block: bool,
}

/// Why a chunk with a ready checksum is not taken. Hadoop's texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChunkError {
    /// More bytes than one checksum covers.
    #[error("writeChunk() buffer size is {len} is larger than supported  bytesPerChecksum {bytes_per_checksum}")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes per checksum.
        bytes_per_checksum: u32,
    },
    /// The checksum has another size than the stream's.
    #[error("writeChunk() checksum size is supposed to be {expected} but found to be {found}")]
    ChecksumSize {
        /// Bytes of one checksum of the stream.
        expected: u32,
        /// Bytes given.
        found: usize,
    },
}

/// Cuts bytes into packets. See the module's page.
#[derive(Debug)]
pub struct PacketBuilder {
    params: PacketParams,
    /// Chunks of the packet being filled.
    chunks: u32,
    block_pos: u64,
    packet_start: u64,
    data: Vec<u8>,
    /// Bytes at the front of `data` that an earlier packet carried already.
    sent_before: usize,
    /// An empty buffer for the packet after this one.
    spare: Vec<u8>,
}

impl PacketBuilder {
    /// Starts at position `block_pos` of a block: 0 for a new one, the length of the last block for an append.
    /// Panics if a size of `params` is 0 (the client checks its configuration).
    pub fn new(params: PacketParams, block_pos: u64) -> Self {
        assert!(params.bytes_per_checksum > 0, "bytes per checksum is 0");
        assert!(params.block_size > 0, "block size is 0");
        let left = match block_pos {
            0 => u64::MAX,
            len => params.block_size.saturating_sub(len),
        };
        Self {
            chunks: params.chunks_in(left),
            params,
            block_pos,
            packet_start: block_pos,
            data: Vec::new(),
            sent_before: 0,
            spare: Vec::new(),
        }
    }

    /// Whether a buffer to fill is missing. Without one the builder makes its own.
    pub fn wants_buffer(&self) -> bool {
        self.data.capacity() == 0
    }

    /// Whether a flush now would keep the bytes of an unfinished chunk and has no buffer for them.
    pub fn wants_spare(&self) -> bool {
        let is_open = !self.block_pos.is_multiple_of(u64::from(self.params.bytes_per_checksum));
        is_open && self.data.len() > self.sent_before && self.spare.capacity() == 0
    }

    /// Gives a buffer to fill, for use instead of a new one. What is in it is discarded.
    pub fn give_buffer(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if self.data.capacity() == 0 {
            self.data = buffer;
        } else {
            self.spare = buffer;
        }
    }

    /// Checks a chunk of `len` bytes that comes with a checksum of `checksum_len` bytes (0: without).
    pub fn check_chunk(&self, len: usize, checksum_len: usize) -> Result<(), ChunkError> {
        let PacketParams {
            bytes_per_checksum,
            checksum_size,
            ..
        } = self.params;
        if len > bytes_per_checksum as usize {
            return Err(ChunkError::TooLong {
                len,
                bytes_per_checksum,
            });
        }
        if checksum_len != 0 && checksum_len != checksum_size as usize {
            return Err(ChunkError::ChecksumSize {
                expected: checksum_size,
                found: checksum_len,
            });
        }
        Ok(())
    }

    /// Bytes of the current block that were written so far (Hadoop's `bytesCurBlock`).
    pub fn block_pos(&self) -> u64 {
        self.block_pos
    }

    /// Takes bytes from the front of `bytes`. Returns how many were taken (all, or up to the end of a packet) and the
    /// packet that became full, if one did.
    pub fn write(&mut self, bytes: &[u8]) -> (usize, Option<BuiltPacket>) {
        let capacity = self.capacity();
        if self.data.capacity() < capacity {
            self.data.reserve_exact(capacity - self.data.len());
        }
        let room = (capacity - self.data.len()) as u64;
        let room = room.min(self.params.block_size.saturating_sub(self.block_pos));
        let taken = (bytes.len() as u64).min(room) as usize;
        self.data.extend_from_slice(&bytes[..taken]);
        self.block_pos += taken as u64;
        let block_full = self.block_pos >= self.params.block_size;
        if !block_full && self.data.len() < capacity {
            return (taken, None);
        }
        self.measure_next();
        (taken, Some(self.close_packet(false, block_full)))
    }

    /// Gives what is buffered as a packet, so that it can be acked. `sync`: to stable storage. Returns `None` when
    /// there is nothing to send: no byte since the last flush, and no sync of a non-empty block wanted.
    pub fn flush(&mut self, sync: bool) -> Option<BuiltPacket> {
        if self.data.len() == self.sent_before {
            return (sync && self.block_pos > 0).then_some(BuiltPacket {
                offset_in_block: self.block_pos,
                data: Vec::new(),
                sync_block: true,
                ends_block: false,
            });
        }
        let chunk = u64::from(self.params.bytes_per_checksum);
        let kept_from = (self.block_pos - self.block_pos % chunk).max(self.packet_start);
        self.measure_next();
        let packet = self.close_packet(sync, false);
        let kept = &packet.data[(kept_from - packet.offset_in_block) as usize..];
        self.packet_start = kept_from;
        self.sent_before = kept.len();
        self.data.extend_from_slice(kept);
        Some(packet)
    }

    /// Ends the current block, with a sync if `sync`. Returns its final packet, which may be empty; `None` when the
    /// block has no byte yet.
    pub fn end_block(&mut self, sync: bool) -> Option<BuiltPacket> {
        if self.block_pos == 0 {
            return None;
        }
        if self.data.len() == self.sent_before {
            self.data.clear();
            self.packet_start = self.block_pos;
        }
        self.measure_next();
        Some(self.close_packet(sync, true))
    }

    /// Data bytes of the packet that starts at `packet_start`.
    fn capacity(&self) -> usize {
        let chunk = u64::from(self.params.bytes_per_checksum);
        match self.packet_start % chunk {
            0 => self.chunks as usize * self.params.bytes_per_checksum as usize,
            inside => (chunk - inside) as usize,
        }
    }

    /// Measures the packet after this one, if this one is full. Java does so before it notes the end of the block.
    fn measure_next(&mut self) {
        let chunk = self.params.bytes_per_checksum;
        let is_aligned = self.packet_start.is_multiple_of(u64::from(chunk));
        let left = self.params.block_size.saturating_sub(self.block_pos);
        if left == 0 || !is_aligned || self.data.len().div_ceil(chunk as usize) >= self.chunks as usize {
            self.chunks = self.params.chunks_in(left);
        }
    }

    fn close_packet(&mut self, sync_block: bool, ends_block: bool) -> BuiltPacket {
        let packet = BuiltPacket {
            offset_in_block: self.packet_start,
            data: std::mem::replace(&mut self.data, std::mem::take(&mut self.spare)),
            sync_block,
            ends_block,
        };
        if ends_block {
            self.block_pos = 0;
        }
        self.packet_start = self.block_pos;
        self.sent_before = 0;
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(packet: u32, block_size: u64) -> PacketParams {
        PacketParams {
            bytes_per_checksum: 512,
            checksum_size: 4,
            write_packet_size: packet,
            block_size,
        }
    }

    /// (offset, length, ends block) of each packet.
    type Cuts = Vec<(u64, usize, bool)>;

    fn cut(builder: &mut PacketBuilder, mut bytes: &[u8]) -> Cuts {
        let mut cuts = Vec::new();
        while !bytes.is_empty() {
            let (taken, packet) = builder.write(bytes);
            bytes = &bytes[taken..];
            cuts.extend(packet.map(|packet| (packet.offset_in_block, packet.data.len(), packet.ends_block)));
        }
        cuts
    }

    #[test]
    fn packet_sizes_are_hadoops() {
        // covers: WP-39
        for (size, chunks) in [(65536, 126), (0, 1), (33 + 516, 1), (33 + 1032, 2), (u32::MAX, 32513)] {
            assert_eq!(params(size, 1 << 27).chunks_per_packet(), chunks, "{size}");
        }
        assert_eq!(params(65536, 1 << 27).packet_data_len(), 64512);
    }

    #[test]
    fn packets_end_at_max_chunks_or_at_the_block() {
        // covers: WP-37
        let two_chunks = 33 + 1032;
        let mut builder = PacketBuilder::new(params(two_chunks, 2500), 0);
        assert_eq!(
            cut(&mut builder, &[0; 3000]),
            [(0, 1024, false), (1024, 1024, false), (2048, 452, true)]
        );
        assert_eq!(builder.block_pos(), 500);
        let end = builder.end_block(false).expect("a block with bytes");
        assert_eq!((end.offset_in_block, end.data.len(), end.ends_block), (0, 500, true));
        assert_eq!(builder.end_block(false), None);
    }

    #[test]
    fn packets_near_a_blocks_end_are_measured_as_in_java() {
        // covers: WP-04
        let mut builder = PacketBuilder::new(params(65536, 200 * 512), 0);
        let expected = [
            (0, 126 * 512, false),
            // 37,888 bytes are left: with framing and checksums 73 chunks fit that many.
            (126 * 512, 73 * 512, false),
            (199 * 512, 512, true),
            // Measured when nothing was left.
            (0, 512, false),
            (512, 126 * 512, false),
            (127 * 512, 72 * 512, false),
            (199 * 512, 512, true),
            (0, 512, false),
        ];
        assert_eq!(cut(&mut builder, &[0; 401 * 512]), expected);
        let mut append = PacketBuilder::new(params(65536, 200 * 512), 198 * 512);
        assert_eq!(
            cut(&mut append, &[0; 1024]),
            [(198 * 512, 512, false), (199 * 512, 512, true)]
        );
    }

    #[test]
    fn chunks_with_checksums_must_fit() {
        // covers: WP-35, WP-36
        let builder = PacketBuilder::new(params(65536, 1 << 20), 0);
        let check = |len, checksum_len| {
            builder
                .check_chunk(len, checksum_len)
                .map_err(|error| error.to_string())
        };
        for (len, checksum_len) in [(0, 4), (512, 4), (512, 0), (1, 4)] {
            assert_eq!(check(len, checksum_len), Ok(()));
        }
        let too_long = "writeChunk() buffer size is 513 is larger than supported  bytesPerChecksum 512";
        assert_eq!(check(513, 4), Err(too_long.to_owned()));
        let wrong_size = "writeChunk() checksum size is supposed to be 4 but found to be 8";
        assert_eq!(check(512, 8), Err(wrong_size.to_owned()));
    }

    #[test]
    fn given_buffers_are_used() {
        let mut builder = PacketBuilder::new(params(33 + 516, 1 << 20), 0);
        let mut given = Vec::new();
        for _ in 0..5 {
            let mut give = |builder: &mut PacketBuilder| {
                let buffer = Vec::with_capacity(600);
                given.push(buffer.as_ptr());
                builder.give_buffer(buffer);
            };
            if builder.wants_buffer() {
                give(&mut builder);
            }
            assert!(!builder.wants_spare(), "there is nothing to keep");
            cut(&mut builder, b"abc");
            assert!(builder.wants_spare() && !builder.wants_buffer());
            give(&mut builder);
            let flushed = builder.flush(false).expect("new bytes");
            assert!(given.contains(&flushed.data.as_ptr()));
        }
        assert_eq!(builder.block_pos(), 15);
    }

    #[test]
    fn an_append_fills_the_partial_chunk_first() {
        // covers: WP-40
        let mut builder = PacketBuilder::new(params(33 + 1032, 1 << 20), 700);
        assert_eq!(cut(&mut builder, &[0; 2000]), [(700, 324, false), (1024, 1024, false)]);
        assert_eq!(builder.block_pos(), 2700);
    }

    #[test]
    fn a_flush_sends_the_unfinished_chunk_again() {
        let mut builder = PacketBuilder::new(params(33 + 1032, 1 << 20), 0);
        assert_eq!(builder.flush(false), None);
        assert_eq!(builder.flush(true), None, "an empty block has nothing to sync");
        cut(&mut builder, b"abc");
        let first = builder.flush(false).expect("new bytes");
        assert_eq!((first.offset_in_block, first.data.as_slice()), (0, &b"abc"[..]));
        assert_eq!(builder.flush(false), None, "nothing new");
        let sync = builder.flush(true).expect("a sync needs a packet");
        assert_eq!((sync.offset_in_block, sync.data.len(), sync.sync_block), (3, 0, true));
        cut(&mut builder, &[b'd'; 600]);
        let second = builder.flush(true).expect("new bytes");
        assert_eq!((second.offset_in_block, second.data.len()), (0, 603));
        assert_eq!(&second.data[..4], b"abcd");
        let end = builder.end_block(false).expect("a block with bytes");
        assert_eq!((end.offset_in_block, end.data.len(), end.ends_block), (603, 0, true));
    }
}
