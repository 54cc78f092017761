//! Which bytes and checksums of a packet go to disk, and where.
//!
//! A packet may overlap what is on disk: after a recovery the client sends again, and after hflush it sends the
//! unfinished chunk again from its start. Bytes already on disk are skipped; the checksum of a chunk that was partial
//! is overwritten, with the packet's value when the packet covers the chunk from its start, else computed here.
//! Nothing here reads or writes; the shell carries the plan out.

use super::RelayConfig;
use crate::packet::PacketHeader;
use std::ops::Range;

/// What of one packet to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WritePlan {
    /// Position in the block (and in the data file) of the first byte to write.
    pub offset: u64,
    /// Which of the packet's data bytes to write; not empty.
    pub data: Range<usize>,
    /// What to write into the meta file.
    pub checksums: ChecksumPlan,
}

/// Where the checksums for the written chunks come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChecksumPlan {
    /// The replica keeps none.
    None,
    /// The packet's own: values `first_packet_chunk..` go into the meta file from checksum number `disk_index` on
    /// (0-based; the first of them may overwrite that of a partial chunk).
    FromPacket {
        /// Index in the packet of the first value to write.
        first_packet_chunk: usize,
        /// Index in the meta file of the first value.
        disk_index: u64,
    },
    /// Compute: the bytes to checksum are the last `carried` bytes on disk (read back from `offset - carried`) followed
    /// by the plan's data; the first value goes to `disk_index`. When `carried > 0` the stored checksum `disk_index`
    /// covers exactly the carried bytes and must be verified first, or damage on disk would be signed anew.
    Compute {
        /// Bytes of the partial chunk already on disk, 0..bytes_per_checksum.
        carried: u32,
        /// Index in the meta file of the first value.
        disk_index: u64,
    },
}

/// Plans the packet `header` for a replica of which `on_disk_len` bytes are written or planned.
/// Returns `None` when no byte of it is new. The caller has checked alignment and sequence.
pub(super) fn plan(config: &RelayConfig, on_disk_len: u64, header: &PacketHeader) -> Option<WritePlan> {
    let end = header.end_offset();
    if end <= on_disk_len {
        return None;
    }
    let chunk = u64::from(config.bytes_per_checksum);
    let skip = (on_disk_len - header.offset_in_block) as usize;
    let carried = on_disk_len % chunk;
    let boundary = on_disk_len - carried;
    let disk_index = boundary / chunk;
    let packet_covers_chunk = header.offset_in_block <= boundary && header.offset_in_block.is_multiple_of(chunk);
    let checksums = if config.disk_checksum_size == 0 {
        ChecksumPlan::None
    } else if config.same_checksum && config.packet_checksum_size > 0 && packet_covers_chunk {
        ChecksumPlan::FromPacket {
            first_packet_chunk: ((boundary - header.offset_in_block) / chunk) as usize,
            disk_index,
        }
    } else {
        ChecksumPlan::Compute {
            carried: carried as u32,
            disk_index,
        }
    };
    Some(WritePlan {
        offset: on_disk_len,
        data: skip..header.data_len as usize,
        checksums,
    })
}
