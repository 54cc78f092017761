//! Chunk checksums as they lie in a meta file, and the meta file's header.
//!
//! `blk_N_GS.meta` is version (2 bytes), type (1), bytes per checksum (4), then one big-endian checksum per chunk.
//! Byte map: docs/formats/datanode-disk.md.

use hadron_types::ChecksumType;
use hadron_wire::transfer::checksum::Checksum;
use hadron_wire::transfer::meta;

/// Bytes of the meta file's header.
pub const META_HEADER_LEN: u64 = meta::META_HEADER_LEN as u64;

/// Kind of checksum and how many bytes each covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkFormat {
    /// The polynomial.
    pub kind: ChecksumType,
    /// Bytes per chunk, 1..=[`hadron_wire::transfer::checksum::MAX_BYTES_PER_CHECKSUM`].
    pub chunk: u32,
}

impl From<Checksum> for ChunkFormat {
    fn from(checksum: Checksum) -> Self {
        Self {
            kind: checksum.kind,
            chunk: checksum.bytes_per_checksum,
        }
    }
}

impl ChunkFormat {
    /// What is said of replicas without checksums.
    pub const NONE: Self = Self {
        kind: ChecksumType::Null,
        chunk: 512,
    };

    /// A checked format; `None` when `chunk` is 0 or beyond [`hadron_wire::transfer::checksum::MAX_BYTES_PER_CHECKSUM`].
    pub fn new(kind: ChecksumType, chunk: u32) -> Option<Self> {
        Checksum::new(kind, chunk).ok().map(Self::from)
    }

    /// The same as the wire says it.
    pub fn checksum(self) -> Checksum {
        Checksum {
            kind: self.kind,
            bytes_per_checksum: self.chunk,
        }
    }

    /// Reads a meta header; `None` when the version, type or chunk size is unknown.
    pub fn from_header(header: [u8; META_HEADER_LEN as usize]) -> Option<Self> {
        meta::decode_meta_header(header).ok().map(Self::from)
    }

    /// The meta header.
    pub fn header(self) -> [u8; META_HEADER_LEN as usize] {
        meta::encode_meta_header(self.checksum())
    }

    /// Bytes of one checksum, 0 or 4.
    pub fn size(self) -> usize {
        self.kind.size()
    }

    /// How many chunks `len` bytes take.
    pub fn chunks(self, len: u64) -> u64 {
        len.div_ceil(u64::from(self.chunk))
    }

    /// Bytes of checksums for `len` bytes of data that start at a chunk's start.
    pub fn sums_len(self, len: usize) -> usize {
        len.div_ceil(self.chunk as usize) * self.size()
    }

    /// Where the checksum of chunk `index` lies in the meta file.
    pub fn meta_offset(self, index: u64) -> u64 {
        META_HEADER_LEN + index * self.size() as u64
    }

    /// Length of the meta file of a replica of `len` bytes.
    pub fn meta_len(self, len: u64) -> u64 {
        self.meta_offset(self.chunks(len))
    }

    /// The checksum of one chunk; 0 for [`ChecksumType::Null`].
    pub fn sum(self, chunk: &[u8]) -> u32 {
        self.checksum().of_chunk(chunk)
    }

    /// The checksum of bytes whose beginning has checksum `sum`, with `more` appended.
    pub fn extend(self, sum: u32, more: &[u8]) -> u32 {
        self.checksum().extend(sum, more)
    }

    /// Appends the big-endian checksums of `data`, whose first byte starts a chunk.
    pub fn append_sums(self, data: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.sums_len(data.len()), 0);
        self.checksum().compute_into(data, &mut out[start..]);
    }

    /// Compares `data` (first byte starts a chunk) with `sums`; gives the index of the first chunk that differs.
    pub fn verify(self, data: &[u8], sums: &[u8]) -> Result<(), usize> {
        self.checksum()
            .verify(data, sums)
            .map_err(|mismatch| mismatch.chunk_index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums_extend_and_verify() {
        for (kind, sum) in [(ChecksumType::Crc32, 0xcbf4_3926), (ChecksumType::Crc32c, 0xe306_9283)] {
            let format = ChunkFormat::new(kind, 4).unwrap();
            assert_eq!(format.sum(b"123456789"), sum, "{kind:?}");
            assert_eq!(format.extend(format.sum(b"12345"), b"6789"), sum, "{kind:?}");
            assert_eq!(format.extend(format.sum(b""), b"123456789"), sum, "{kind:?}");
            let mut sums = Vec::new();
            format.append_sums(b"123456789", &mut sums);
            assert_eq!(sums.len(), format.sums_len(9));
            assert_eq!(format.verify(b"123456789", &sums), Ok(()));
            assert_eq!(format.verify(b"1234x6789", &sums), Err(1));
            assert_eq!(format.verify(b"123456789", &sums[..8]), Err(2));
            assert_eq!(ChunkFormat::from_header(format.header()), Some(format));
        }
    }

    #[test]
    fn bad_headers_are_refused() {
        for header in [
            [0, 2, 2, 0, 0, 2, 0],
            [0, 1, 9, 0, 0, 2, 0],
            [0, 1, 2, 0, 0, 0, 0],
            [0, 1, 2, 255, 0, 0, 0],
        ] {
            assert_eq!(ChunkFormat::from_header(header), None);
        }
    }
}
