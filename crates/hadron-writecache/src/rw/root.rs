//! The root block: which state of the store is the committed one.
//!
//! What it is for: two blocks at the start of the file take turns; the one with the higher sequence that is whole is the
//! last commit. What it does not do: I/O. Invariants: a root is written only once everything it refers to is durable, and
//! over the older of the two; block `sequence % 2` holds the commit `sequence`.

use super::error::RwError;
use super::geometry::{BLOCK_BYTES, Geometry, MAX_PAGES};
use crate::sealed::checksum;

/// Bytes of the caller's own in a root block.
pub const MAX_USER_BYTES: usize = 1024;

const MAGIC: &[u8; 8] = b"HDRNRWS1";
const VERSION: u32 = 1;

const UNIT_AT: usize = 12;
const REGION_UNITS_AT: usize = 16;
const MAX_REGIONS_AT: usize = 20;
const STORE_ID_AT: usize = 24;
const SEQUENCE_AT: usize = 32;
const BLOCK_SEQUENCE_AT: usize = 40;
const REGIONS_AT: usize = 48;
const USER_LEN_AT: usize = 52;
const COPIES_AT: usize = 64;
const COPIES_BYTES: usize = MAX_PAGES as usize / 8;
const USER_AT: usize = COPIES_AT + COPIES_BYTES;
const CRC_AT: usize = BLOCK_BYTES - 4;

/// What a commit leaves behind in its root block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Root {
    pub(crate) geometry: Geometry,
    /// Random, the same in all blocks of a file, so that no other file's metadata is taken for this one's.
    pub(crate) store_id: u64,
    /// Number of the commit; a new file has commit 0.
    pub(crate) sequence: u64,
    /// Sealed buffers that carried this commit's records.
    pub(crate) block_sequence: u64,
    /// Regions the file has.
    pub(crate) regions: u32,
    /// For each metadata page, which of its two copies counts.
    pub(crate) copies: Vec<u8>,
    /// The caller's.
    pub(crate) user: Vec<u8>,
}

impl Root {
    /// Commit 0 of a new file.
    pub(crate) fn first(geometry: Geometry, store_id: u64) -> Self {
        Self {
            geometry,
            store_id,
            sequence: 0,
            block_sequence: 0,
            regions: 0,
            copies: vec![0; COPIES_BYTES],
            user: Vec::new(),
        }
    }

    /// Where commit `sequence` goes.
    pub(crate) fn offset(sequence: u64) -> u64 {
        sequence % 2 * BLOCK_BYTES as u64
    }

    /// Which copy of `page` counts.
    pub(crate) fn copy(&self, page: u32) -> bool {
        self.copies[page as usize / 8] >> (page % 8) & 1 == 1
    }

    /// Lets the other copy of `page` count.
    pub(crate) fn flip(&mut self, page: u32) {
        self.copies[page as usize / 8] ^= 1 << (page % 8);
    }

    /// The block. `user` has at most [`MAX_USER_BYTES`] (callers check).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK_BYTES];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(UNIT_AT, &self.geometry.unit_bytes.to_le_bytes());
        put(REGION_UNITS_AT, &self.geometry.region_units.to_le_bytes());
        put(MAX_REGIONS_AT, &self.geometry.max_regions.to_le_bytes());
        put(STORE_ID_AT, &self.store_id.to_le_bytes());
        put(SEQUENCE_AT, &self.sequence.to_le_bytes());
        put(BLOCK_SEQUENCE_AT, &self.block_sequence.to_le_bytes());
        put(REGIONS_AT, &self.regions.to_le_bytes());
        put(USER_LEN_AT, &(self.user.len() as u32).to_le_bytes());
        put(COPIES_AT, &self.copies);
        put(USER_AT, &self.user);
        let crc = checksum(&block[..CRC_AT]);
        block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// Reads the block at place `place` (0 or 1). Errors: [`RwError::NoRoot`] when it is not whole, `Version`, `Geometry`.
    pub(crate) fn decode(block: &[u8], place: u64) -> Result<Self, RwError> {
        let no_root = |reason: &str| RwError::NoRoot {
            reason: format!("block {place}: {reason}"),
        };
        if block.len() != BLOCK_BYTES || !block.starts_with(MAGIC) {
            return Err(no_root("no magic"));
        }
        if checksum(&block[..CRC_AT]) != u32_at(block, CRC_AT) {
            return Err(no_root("checksum is wrong"));
        }
        let version = u32_at(block, 8);
        if version != VERSION {
            return Err(RwError::Version {
                version,
                known: VERSION,
            });
        }
        let geometry = Geometry {
            unit_bytes: u32_at(block, UNIT_AT),
            region_units: u32_at(block, REGION_UNITS_AT),
            max_regions: u32_at(block, MAX_REGIONS_AT),
        };
        geometry.check()?;
        let user_len = u32_at(block, USER_LEN_AT) as usize;
        let root = Self {
            geometry,
            store_id: u64_at(block, STORE_ID_AT),
            sequence: u64_at(block, SEQUENCE_AT),
            block_sequence: u64_at(block, BLOCK_SEQUENCE_AT),
            regions: u32_at(block, REGIONS_AT),
            copies: block[COPIES_AT..USER_AT].to_vec(),
            user: block[USER_AT..USER_AT + user_len.min(MAX_USER_BYTES)].to_vec(),
        };
        if user_len > MAX_USER_BYTES || root.regions > geometry.max_regions {
            return Err(no_root("a length is out of bounds"));
        }
        if root.sequence % 2 != place {
            return Err(no_root("it belongs to the other place"));
        }
        Ok(root)
    }

    /// The newer of the two that is whole.
    ///
    /// Errors: the newer version's when either is of a version not known (a newer program went on), else of the first.
    pub(crate) fn choose(blocks: [&[u8]; 2]) -> Result<Self, RwError> {
        match (Self::decode(blocks[0], 0), Self::decode(blocks[1], 1)) {
            (Err(error @ RwError::Version { .. }), _) | (_, Err(error @ RwError::Version { .. })) => Err(error),
            (Ok(a), Ok(b)) if (a.store_id, a.geometry) != (b.store_id, b.geometry) => Err(RwError::Damaged {
                offset: 0,
                reason: "the root blocks are of two different stores".to_owned(),
            }),
            (Ok(a), Ok(b)) => Ok(if a.sequence > b.sequence { a } else { b }),
            (Ok(root), Err(_)) | (Err(_), Ok(root)) => Ok(root),
            (Err(a), Err(b)) => Err(RwError::NoRoot {
                reason: format!("{a}; {b}"),
            }),
        }
    }
}

/// Reads a little endian number; the caller knows that it is there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// Reads a little endian number; the caller knows that it is there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(sequence: u64) -> Root {
        let mut root = Root::first(Geometry::default(), 77);
        root.sequence = sequence;
        root.block_sequence = 5;
        root.regions = 3;
        root.user = b"where the index is".to_vec();
        root.flip(9);
        root.flip(4095);
        root
    }

    #[test]
    fn a_root_survives_its_bytes_and_every_flipped_bit_is_seen() {
        let good = root(6);
        let block = good.encode();
        assert_eq!(Root::decode(&block, 0).unwrap(), good);
        assert!(good.copy(9) && good.copy(4095) && !good.copy(8));
        for byte in 0..block.len() {
            let mut bad = block.clone();
            bad[byte] ^= 1 << (byte % 8);
            assert!(Root::decode(&bad, 0).is_err(), "{byte}");
        }
    }

    #[test]
    fn the_newer_whole_root_counts() {
        let (a, b, torn) = (root(6).encode(), root(7).encode(), vec![0; BLOCK_BYTES]);
        let other = Root::first(Geometry::default(), 78).encode();
        let cases: [([&[u8]; 2], Option<u64>); 6] = [
            ([&a, &b], Some(7)),
            ([&a, &torn], Some(6)),
            ([&torn, &b], Some(7)),
            ([&torn, &torn], None),
            ([&b, &a], None),
            ([&other, &b], None),
        ];
        for (number, (blocks, expected)) in cases.into_iter().enumerate() {
            let found = Root::choose(blocks).ok().map(|root| root.sequence);
            assert_eq!(found, expected, "case {number}");
        }
    }

    #[test]
    fn lengths_and_versions_nobody_writes_are_refused() {
        let resealed = |at: usize, value: u32| {
            let mut block = root(6).encode();
            block[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let crc = checksum(&block[..CRC_AT]);
            block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            Root::choose([&block, &root(7).encode()])
        };
        assert!(matches!(resealed(8, 2), Err(RwError::Version { version: 2, known: 1 })));
        for (at, value) in [(USER_LEN_AT, u32::MAX), (REGIONS_AT, u32::MAX), (UNIT_AT, 3)] {
            assert_eq!(resealed(at, value).unwrap().sequence, 7, "{at}: the other root counts");
        }
    }
}
