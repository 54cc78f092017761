//! Cuts the bytes an application writes into packets.
//!
//! A packet holds whole chunks, [`PacketParams::chunks_per_packet`] of them, and never crosses the end of a block. A
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
        let body = self
            .write_packet_size
            .min(MAX_WRITE_PACKET_SIZE)
            .saturating_sub(MAX_PACKET_HEADER_LEN);
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

/// Cuts bytes into packets. See the module's page.
#[derive(Debug)]
pub struct PacketBuilder {
    params: PacketParams,
    block_pos: u64,
    packet_start: u64,
    data: Vec<u8>,
    /// Bytes at the front of `data` that an earlier packet carried already.
    sent_before: usize,
}

impl PacketBuilder {
    /// Starts at position `block_pos` of a block: 0 for a new one, the length of the last block for an append.
    /// Panics if a size of `params` is 0 (the client checks its configuration).
    pub fn new(params: PacketParams, block_pos: u64) -> Self {
        assert!(params.bytes_per_checksum > 0, "bytes per checksum is 0");
        assert!(params.block_size > 0, "block size is 0");
        Self {
            params,
            block_pos,
            packet_start: block_pos,
            data: Vec::new(),
            sent_before: 0,
        }
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
        let kept = self.data[(kept_from - self.packet_start) as usize..].to_vec();
        let packet = self.close_packet(sync, false);
        self.packet_start = kept_from;
        self.sent_before = kept.len();
        self.data = kept;
        Some(packet)
    }

    /// Ends the current block. Returns its final packet, which may be empty; `None` when the block has no byte yet.
    pub fn end_block(&mut self) -> Option<BuiltPacket> {
        if self.block_pos == 0 {
            return None;
        }
        if self.data.len() == self.sent_before {
            self.data.clear();
            self.packet_start = self.block_pos;
        }
        Some(self.close_packet(false, true))
    }

    /// Data bytes of the packet that starts at `packet_start`.
    fn capacity(&self) -> usize {
        let chunk = u64::from(self.params.bytes_per_checksum);
        match self.packet_start % chunk {
            0 => self.params.packet_data_len(),
            inside => (chunk - inside) as usize,
        }
    }

    fn close_packet(&mut self, sync_block: bool, ends_block: bool) -> BuiltPacket {
        let packet = BuiltPacket {
            offset_in_block: self.packet_start,
            data: std::mem::take(&mut self.data),
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
        let end = builder.end_block().expect("a block with bytes");
        assert_eq!((end.offset_in_block, end.data.len(), end.ends_block), (0, 500, true));
        assert_eq!(builder.end_block(), None);
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
        let end = builder.end_block().expect("a block with bytes");
        assert_eq!((end.offset_in_block, end.data.len(), end.ends_block), (603, 0, true));
    }
}
