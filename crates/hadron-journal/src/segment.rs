//! Segment files: their names, their first block, and how they are prepared. Byte map: docs/formats/journal.md.
//!
//! What it is for: one place that knows what a segment looks like before its first batch. What it does not do: read or
//! write batches. Invariants: a segment gets its final name only with a durable header; its bytes were written (with
//! zeros) before any batch, so that a batch changes no metadata of the file system.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hadron_env::durable;
use hadron_env::{Disk, DiskFile, Open};
use hadron_types::{Epoch, LogIndex, TimeMs};

use crate::aligned::AlignedBuffer;
use crate::batch::{BLOCK_BYTES, put, read_u32, read_u64};

const MAGIC: &[u8; 8] = b"HDRNSEG1";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
/// Where the first batch begins.
pub(crate) const FIRST_BATCH_OFFSET: u64 = BLOCK_BYTES as u64;
/// Bytes written at a time when a segment is filled with zeros: what a batch then waits for at the device.
const FILL_BYTES: usize = 256 << 10;

/// What the first block of a segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) epoch: Epoch,
    pub(crate) first_index: LogIndex,
    pub(crate) salt: u64,
    /// Digest of all outcomes before `first_index`.
    pub(crate) digest: u64,
    pub(crate) created: TimeMs,
}

/// The file name of the segment that begins with `first_index`.
pub(crate) fn file_name(first_index: LogIndex) -> String {
    format!("journal_{:020}", first_index.0)
}

/// Reads an index out of a file name.
pub(crate) fn index_of_name(name: &str) -> Option<LogIndex> {
    let digits = name.strip_prefix("journal_").filter(|digits| digits.len() == 20)?;
    digits.parse().ok().map(LogIndex)
}

/// Name of the prepared segment that has no place in the log yet.
pub(crate) const SPARE_NAME: &str = "journal_spare.tmp";

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 16, &self.epoch.0.to_le_bytes());
        put(&mut bytes, 24, &self.first_index.0.to_le_bytes());
        put(&mut bytes, 32, &self.salt.to_le_bytes());
        put(&mut bytes, 40, &self.digest.to_le_bytes());
        put(&mut bytes, 48, &self.created.0.to_le_bytes());
        let crc = crc_fast::crc32_iscsi(&bytes[..HEADER_BYTES - 4]);
        put(&mut bytes, HEADER_BYTES - 4, &crc.to_le_bytes());
        bytes
    }

    /// Reads a header; the error says what is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < HEADER_BYTES || &bytes[..8] != MAGIC {
            return Err("not the start of a journal segment".into());
        }
        if crc_fast::crc32_iscsi(&bytes[..HEADER_BYTES - 4]) != read_u32(bytes, HEADER_BYTES - 4) {
            return Err("checksum of the segment's header does not match".into());
        }
        match read_u32(bytes, 8) {
            VERSION => Ok(Self {
                epoch: Epoch(read_u64(bytes, 16)),
                first_index: LogIndex(read_u64(bytes, 24)),
                salt: read_u64(bytes, 32),
                digest: read_u64(bytes, 40),
                created: TimeMs(read_u64(bytes, 48)),
            }),
            other => Err(format!(
                "segment version {other} is unknown, this program knows {VERSION}"
            )),
        }
    }
}

/// Makes the spare segment of `dir` (a `current` directory): `len` bytes of zeros, durable.
pub(crate) fn prepare_spare(disk: &dyn Disk, dir: &Path, len: u64) -> io::Result<()> {
    // Past the page cache: nobody reads the zeros, and a whole segment of them written back at once would hold up the
    // batches that are written meanwhile.
    let file = disk.open(&dir.join(SPARE_NAME), Open::TRUNCATE.with_direct())?;
    file.allocate(0, len)?;
    let mut zeros = AlignedBuffer::default();
    zeros.fill(&vec![0; FILL_BYTES]);
    let zeros = zeros.as_slice();
    let mut done = 0;
    while done < len {
        let count = usize::try_from(len - done).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(&zeros[..count], done)?;
        done += count as u64;
    }
    file.sync_all()
}

/// Gives the spare of `dir` its place in the log and opens it for batches.
pub(crate) fn adopt_spare(disk: &dyn Disk, dir: &Path, header: &SegmentHeader) -> io::Result<Arc<dyn DiskFile>> {
    let spare = dir.join(SPARE_NAME);
    let file = disk.open(&spare, Open::WRITE)?;
    file.write_all_at(&header.encode(), 0)?;
    file.sync_data()?;
    drop(file);
    let path: PathBuf = dir.join(file_name(header.first_index));
    durable::commit_file(disk, &spare, &path)?;
    disk.open(&path, Open::WRITE.with_dsync().with_direct())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_reads_back_and_every_flipped_bit_is_seen() {
        let header = SegmentHeader {
            epoch: Epoch(2),
            first_index: LogIndex(77),
            salt: 3,
            digest: 4,
            created: TimeMs(5),
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            SegmentHeader::decode(&flipped).unwrap_err();
        }
        assert_eq!(index_of_name(&file_name(LogIndex(77))), Some(LogIndex(77)));
        assert_eq!(index_of_name("journal_spare.tmp"), None);
    }
}
