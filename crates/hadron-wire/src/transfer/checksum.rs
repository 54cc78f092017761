//! Chunk checksums: CRC32 or CRC32C over every `bytes_per_checksum` bytes, big endian, in order.
//!
//! The same bytes travel in packets and lie in meta files. CRC32C uses the processor's instructions where it has them.

use crate::WireError;
use hadron_proto::hdfs::{ChecksumProto, ChecksumTypeProto};
use hadron_types::ChecksumType;

/// Most bytes one checksum may cover; Java clamps meta files to as much.
pub const MAX_BYTES_PER_CHECKSUM: u32 = 10 * 1024 * 1024;

/// How data is checksummed. Invariant: `1 <= bytes_per_checksum <= MAX_BYTES_PER_CHECKSUM`, kept by [`Checksum::new`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Checksum {
    /// The polynomial, or none.
    pub kind: ChecksumType,
    /// Bytes per checksum, 512 by default.
    pub bytes_per_checksum: u32,
}

/// A chunk whose bytes do not match its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("checksum error in chunk {chunk_index} at {offset}: expected {expected:#010x}, found {found:#010x}")]
pub struct ChecksumMismatch {
    /// Which chunk of the verified data, from 0.
    pub chunk_index: usize,
    /// Where that chunk begins in the verified data, in bytes.
    pub offset: usize,
    /// What the checksum bytes say.
    pub expected: u32,
    /// What the data gives.
    pub found: u32,
}

impl Checksum {
    /// Checks the range of `bytes_per_checksum`.
    pub fn new(kind: ChecksumType, bytes_per_checksum: u32) -> Result<Self, WireError> {
        if bytes_per_checksum == 0 || bytes_per_checksum > MAX_BYTES_PER_CHECKSUM {
            return Err(WireError::Length {
                what: "bytes per checksum",
                len: i64::from(bytes_per_checksum),
                limit: MAX_BYTES_PER_CHECKSUM as usize,
            });
        }
        Ok(Self {
            kind,
            bytes_per_checksum,
        })
    }

    /// The chunk length as an index type.
    pub fn chunk_len(self) -> usize {
        self.bytes_per_checksum.max(1) as usize
    }

    /// Bytes of checksums in front of `data_len` bytes: 4 for each chunk, the last of which may be short.
    pub fn checksums_len(self, data_len: usize) -> usize {
        data_len.div_ceil(self.chunk_len()) * self.kind.size()
    }

    /// The checksum of one chunk; 0 for [`ChecksumType::Null`].
    pub fn of_chunk(self, chunk: &[u8]) -> u32 {
        match self.kind {
            ChecksumType::Null => 0,
            ChecksumType::Crc32 => crc32fast::hash(chunk),
            ChecksumType::Crc32c => crc_fast::crc32_iscsi(chunk),
        }
    }

    /// Continues a chunk's checksum over bytes appended to it: `of_chunk(a ++ b) == extend(of_chunk(a), b)`.
    pub fn extend(self, checksum: u32, appended: &[u8]) -> u32 {
        match self.kind {
            ChecksumType::Null => 0,
            ChecksumType::Crc32 => {
                let mut hasher = crc32fast::Hasher::new_with_initial(checksum);
                hasher.update(appended);
                hasher.finalize()
            }
            ChecksumType::Crc32c => {
                let tail = u64::from(crc_fast::crc32_iscsi(appended));
                let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
                crc_fast::checksum_combine(algorithm, u64::from(checksum), tail, appended.len() as u64) as u32
            }
        }
    }

    /// Writes the checksums of `data` into `out`.
    ///
    /// Chunks are counted from the start of `data`; the last may be short. `out` must be exactly
    /// [`Checksum::checksums_len`] bytes (panics otherwise: the caller sized it).
    pub fn compute_into(self, data: &[u8], out: &mut [u8]) {
        assert_eq!(
            out.len(),
            self.checksums_len(data.len()),
            "room for the checksums of the data"
        );
        let size = self.kind.size();
        if size == 0 {
            return;
        }
        for (chunk, slot) in data.chunks(self.chunk_len()).zip(out.chunks_exact_mut(size)) {
            slot.copy_from_slice(&self.of_chunk(chunk).to_be_bytes());
        }
    }

    /// Checks `data` against `checksums`, chunks counted from the start of `data`.
    ///
    /// Errors: the first chunk that does not match. A `checksums` of another length than the data asks for is a
    /// mismatch at the first chunk without a checksum (the caller should have checked the lengths).
    pub fn verify(self, data: &[u8], checksums: &[u8]) -> Result<(), ChecksumMismatch> {
        let size = self.kind.size();
        if size == 0 {
            return Ok(());
        }
        let mut slots = checksums.chunks_exact(size);
        for (chunk_index, chunk) in data.chunks(self.chunk_len()).enumerate() {
            let found = self.of_chunk(chunk);
            let expected = match slots.next() {
                Some(&[a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
                _ => !found,
            };
            if found != expected {
                return Err(ChecksumMismatch {
                    chunk_index,
                    offset: chunk_index * self.chunk_len(),
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }
}

impl TryFrom<&ChecksumProto> for Checksum {
    type Error = WireError;

    fn try_from(message: &ChecksumProto) -> Result<Self, WireError> {
        let kind = ChecksumType::from_wire(message.r#type).ok_or(WireError::Unknown {
            what: "checksum type",
            value: i64::from(message.r#type),
        })?;
        Self::new(kind, message.bytes_per_checksum)
    }
}

impl From<&Checksum> for ChecksumProto {
    fn from(checksum: &Checksum) -> Self {
        Self {
            r#type: ChecksumTypeProto::from(checksum.kind) as i32,
            bytes_per_checksum: checksum.bytes_per_checksum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checksum(kind: ChecksumType, bytes_per_checksum: u32) -> Checksum {
        Checksum::new(kind, bytes_per_checksum).expect("in range")
    }

    #[test]
    fn polynomials_are_those_of_the_standards() {
        // The check values of the CRC catalogues for the digits 1 to 9.
        assert_eq!(checksum(ChecksumType::Crc32c, 512).of_chunk(b"123456789"), 0xe306_9283);
        assert_eq!(checksum(ChecksumType::Crc32, 512).of_chunk(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_broken_chunk_is_named() {
        let checksum = checksum(ChecksumType::Crc32c, 4);
        let mut data = *b"aaaabbbbcc";
        let mut sums = [0; 12];
        checksum.compute_into(&data, &mut sums);
        assert_eq!(checksum.verify(&data, &sums), Ok(()));
        data[9] ^= 1;
        let error = checksum.verify(&data, &sums).expect_err("broken");
        assert_eq!((error.chunk_index, error.offset), (2, 8));
        assert_eq!(checksum.verify(&data, &sums[..4]).expect_err("short").chunk_index, 1);
        assert_eq!(self::checksum(ChecksumType::Null, 4).verify(&data, &[]), Ok(()));
    }

    #[test]
    fn bytes_per_checksum_has_a_range() {
        assert!(Checksum::new(ChecksumType::Null, 0).is_err());
        assert!(Checksum::new(ChecksumType::Null, MAX_BYTES_PER_CHECKSUM).is_ok());
        assert!(Checksum::new(ChecksumType::Null, MAX_BYTES_PER_CHECKSUM + 1).is_err());
    }

    proptest! {
        #[test]
        fn computed_checksums_verify(
            kind in prop::sample::select(vec![ChecksumType::Null, ChecksumType::Crc32, ChecksumType::Crc32c]),
            chunk in 1_u32..700, data in prop::collection::vec(any::<u8>(), 0..3000), cut in 0_usize..3000,
        ) {
            let checksum = checksum(kind, chunk);
            let mut sums = vec![0; checksum.checksums_len(data.len())];
            checksum.compute_into(&data, &mut sums);
            prop_assert_eq!(checksum.verify(&data, &sums), Ok(()));
            let (head, tail) = data.split_at(cut.min(data.len()));
            prop_assert_eq!(checksum.extend(checksum.of_chunk(head), tail), checksum.of_chunk(&data));
        }
    }
}
