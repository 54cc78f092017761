//! The header of an append-only file and the trailer of a commit, as bytes.
//!
//! What it is for: encoding and decoding. What it does not do: I/O, or checksums over a whole commit, which are summed up
//! while its bytes pass by ([`Sum`]). Invariant: a trailer names its file, its commit and where that begins, so that bytes of
//! a record never pass for one by accident.

use crc_fast::{CrcAlgorithm, Digest};

use super::error::WormError;
use crate::rw::{u32_at, u64_at};
use crate::sealed::checksum;

/// What writes and commits are multiples of.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Where the first commit begins.
pub(super) const FIRST_COMMIT_AT: u64 = BLOCK_BYTES as u64;
/// Bytes of the caller's own in the header.
pub const MAX_USER_BYTES: usize = 1024;
/// Bytes at the end of a commit's last block.
pub(super) const TRAILER_BYTES: usize = 64;

const HEADER_MAGIC: &[u8; 8] = b"HDRNWRM1";
const VERSION: u32 = 1;
const USER_AT: usize = 24;
const HEADER_CRC_AT: usize = BLOCK_BYTES - 4;

const TRAILER_MAGIC: &[u8; 8] = b"HDRNWRMC";
/// Where a trailer's checksum is; it covers all of the commit before itself.
const TRAILER_CRC_AT: usize = TRAILER_BYTES - 4;

/// The first block of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    /// Random, repeated in each trailer.
    pub(super) id: u64,
    /// The caller's.
    pub(super) user: Vec<u8>,
}

impl Header {
    /// The block; callers check the length of `user`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK_BYTES];
        block[..8].copy_from_slice(HEADER_MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[12..16].copy_from_slice(&(self.user.len() as u32).to_le_bytes());
        block[16..24].copy_from_slice(&self.id.to_le_bytes());
        block[USER_AT..USER_AT + self.user.len()].copy_from_slice(&self.user);
        let crc = checksum(&block[..HEADER_CRC_AT]);
        block[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    pub(super) fn decode(block: &[u8]) -> Result<Self, WormError> {
        let no_header = |reason| WormError::NoHeader { reason };
        if block.len() != BLOCK_BYTES || !block.starts_with(HEADER_MAGIC) {
            return Err(no_header("no magic"));
        }
        if checksum(&block[..HEADER_CRC_AT]) != u32_at(block, HEADER_CRC_AT) {
            return Err(no_header("checksum is wrong"));
        }
        let version = u32_at(block, 8);
        if version != VERSION {
            return Err(WormError::Version {
                version,
                known: VERSION,
            });
        }
        let len = u32_at(block, 12) as usize;
        if len > MAX_USER_BYTES {
            return Err(no_header("user bytes out of bounds"));
        }
        Ok(Self {
            id: u64_at(block, 16),
            user: block[USER_AT..USER_AT + len].to_vec(),
        })
    }
}

/// The last bytes of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Trailer {
    /// That of the file.
    pub(super) id: u64,
    /// Offset of the commit's first byte.
    pub(super) start: u64,
    /// Number of the commit, from 1 on.
    pub(super) sequence: u64,
    /// Bytes of records, without padding and trailer.
    pub(super) len: u64,
    /// Sealed buffers that carried it.
    pub(super) block_sequence: u64,
}

impl Trailer {
    /// The bytes; `sum` covers all of the commit before the trailer.
    pub(super) fn encode(&self, mut sum: Sum) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(TRAILER_MAGIC);
        bytes[8..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.start.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.len.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.block_sequence.to_le_bytes());
        sum.update(&bytes[..TRAILER_CRC_AT]);
        bytes[TRAILER_CRC_AT..].copy_from_slice(&sum.value().to_le_bytes());
        bytes
    }

    /// What the last bytes of `block`, which starts at `offset`, say if they are a trailer of file `id`; whether the commit is
    /// whole is another question ([`Self::is_whole`]).
    pub(super) fn decode(block: &[u8], offset: u64, id: u64) -> Option<Self> {
        let at = block.len().checked_sub(TRAILER_BYTES)?;
        let bytes = &block[at..];
        let trailer = Self {
            id: u64_at(bytes, 8),
            start: u64_at(bytes, 16),
            sequence: u64_at(bytes, 24),
            len: u64_at(bytes, 32),
            block_sequence: u64_at(bytes, 40),
        };
        let room = (offset + at as u64).checked_sub(trailer.start)?;
        let sane =
            trailer.start >= FIRST_COMMIT_AT && trailer.start.is_multiple_of(BLOCK_BYTES as u64) && trailer.len <= room;
        (bytes.starts_with(TRAILER_MAGIC) && trailer.id == id && sane).then_some(trailer)
    }

    /// Compares checksums: `sum` covers the commit up to `block`, its last.
    pub(super) fn is_whole(mut sum: Sum, block: &[u8]) -> bool {
        let crc_at = block.len() - 4;
        sum.update(&block[..crc_at]);
        sum.value() == u32_at(block, crc_at)
    }
}

/// A CRC-32C of bytes that come one after the other.
#[derive(Clone, Debug)]
pub(super) struct Sum(Digest);

impl Default for Sum {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Sum {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn value(&self) -> u32 {
        // A checksum of 32 bits in a wider number.
        self.0.finalize() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_bytes_and_every_flipped_bit_is_seen() {
        let header = Header {
            id: 9,
            user: b"a log".to_vec(),
        };
        let block = header.encode();
        assert_eq!(Header::decode(&block).unwrap(), header);
        for byte in 0..block.len() {
            let mut bad = block.clone();
            bad[byte] ^= 4;
            assert!(Header::decode(&bad).is_err(), "{byte}");
        }
        assert!(Header::decode(&block[..100]).is_err());
    }

    #[test]
    fn a_trailer_proves_the_bytes_before_it() {
        let trailer = Trailer {
            id: 9,
            start: 4096,
            sequence: 3,
            len: 4000,
            block_sequence: 1,
        };
        let mut block = vec![7; BLOCK_BYTES - TRAILER_BYTES];
        let mut sum = Sum::default();
        sum.update(&block);
        assert_eq!(sum.value(), checksum(&block));
        block.extend_from_slice(&trailer.encode(sum));
        assert_eq!(Trailer::decode(&block, 4096, 9), Some(trailer));
        assert!(Trailer::is_whole(Sum::default(), &block));
        assert_eq!(Trailer::decode(&block, 4096, 8), None, "of another file");
        assert_eq!(Trailer::decode(&block, 0, 9), None, "before it starts");
        for byte in 0..block.len() {
            let mut bad = block.clone();
            bad[byte] ^= 1;
            assert!(!Trailer::is_whole(Sum::default(), &bad), "{byte}");
        }
    }
}
