//! A sealed buffer: what the writer thread writes to the file and hands to the replicas, in the same bytes.
//!
//! What it is for: a replica applies a [`Sealed`] with no other knowledge ([`Sealed::records`]) and without encoding it anew.
//! What it does not do: no framing for a socket, no I/O.
//! Invariants: `crc` is the CRC-32C of `bytes`; bytes never change once sealed; clones share them; the sequence of a sealed
//! buffer is one more than that of the one before it in the same epoch.
//!
//! Encoding of a read-write buffer: records one behind the other, each a header of [`RECORD_HEADER_LEN`] bytes (file offset
//! as u64, length as u32, kind as u32, all little endian), then `length` bytes exactly as they stand in the file, a record
//! checksum included. Kind [`KIND_LIVE`] is to be written; kind [`KIND_VOID`] was overwritten or freed before the buffer was
//! sealed and is skipped.

use bytes::Bytes;
use thiserror::Error;

/// Bytes in front of each record of a read-write buffer.
pub const RECORD_HEADER_LEN: usize = 16;
/// Kind of a record that is to be written.
pub const KIND_LIVE: u32 = 1;
/// Kind of a record that must not be written.
pub const KIND_VOID: u32 = 0;
/// Where the kind stands within the header.
pub const KIND_AT: usize = 12;

/// A buffer that takes no more writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The term of the leader that sealed it; a follower refuses what is older than the newest it promised to.
    pub epoch: u64,
    /// Place in the order of sealed buffers, from 1 on; set back by `reset_sequence` (a commit) and `reset`.
    pub sequence: u64,
    /// Length in bytes the file must have once this buffer is applied; a follower follows it.
    pub extent: u64,
    /// How `bytes` are laid out.
    pub body: Body,
    /// CRC-32C of `bytes`.
    pub crc: u32,
    /// The content.
    pub bytes: Bytes,
}

/// How the bytes of a sealed buffer map to the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// One run of the file that starts at this offset.
    Worm {
        /// File offset of the first byte.
        offset: u64,
    },
    /// Records with their offsets in front of them.
    Prefixed,
}

/// One record of a sealed buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// File offset of the first byte.
    pub offset: u64,
    /// The bytes as they stand in the file.
    pub bytes: Bytes,
}

/// Why a sealed buffer is not applied.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SealedError {
    /// Content and checksum differ.
    #[error(
        "sealed buffer {sequence} of epoch {epoch} has crc {actual:#010x}, its header says {expected:#010x}; ask for it again"
    )]
    Checksum {
        /// Epoch of the buffer.
        epoch: u64,
        /// Sequence of the buffer.
        sequence: u64,
        /// What was said.
        expected: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// A record header or its bytes reach past the end.
    #[error("sealed buffer {sequence}: record at byte {position} is cut short; ask for it again")]
    Truncated {
        /// Sequence of the buffer.
        sequence: u64,
        /// Byte within the buffer where the record starts.
        position: usize,
    },
    /// A record of a kind nobody writes, or one that would end past the largest file offset.
    #[error(
        "sealed buffer {sequence}: record at byte {position} makes no sense; the sender is of another version or damaged"
    )]
    BadRecord {
        /// Sequence of the buffer.
        sequence: u64,
        /// Byte within the buffer where the record starts.
        position: usize,
    },
}

impl Sealed {
    /// Seals `bytes`, computing their checksum.
    pub fn new(epoch: u64, sequence: u64, extent: u64, body: Body, bytes: Bytes) -> Self {
        let crc = checksum(&bytes);
        Self {
            epoch,
            sequence,
            extent,
            body,
            crc,
            bytes,
        }
    }

    /// Compares content and checksum.
    pub fn verify(&self) -> Result<(), SealedError> {
        let actual = checksum(&self.bytes);
        if actual == self.crc {
            return Ok(());
        }
        Err(SealedError::Checksum {
            epoch: self.epoch,
            sequence: self.sequence,
            expected: self.crc,
            actual,
        })
    }

    /// What is to be written, in order, sharing the bytes; void records are left out.
    ///
    /// Errors: a buffer that does not decode; nothing of it should then be written. Costs memory for one small entry for
    /// each record actually there, never for one that a length field only claims.
    pub fn records(&self) -> Result<Vec<Record>, SealedError> {
        match self.body {
            Body::Worm { offset } => {
                if offset.checked_add(self.bytes.len() as u64).is_none() {
                    return Err(self.bad_record(0));
                }
                Ok(vec![Record {
                    offset,
                    bytes: self.bytes.clone(),
                }])
            }
            Body::Prefixed => self.prefixed_records(),
        }
    }

    fn prefixed_records(&self) -> Result<Vec<Record>, SealedError> {
        let mut records = Vec::new();
        let mut position = 0;
        while position < self.bytes.len() {
            let Some((offset, len, kind)) = decode_header(&self.bytes[position..]) else {
                return Err(self.truncated(position));
            };
            let start = position + RECORD_HEADER_LEN;
            if self.bytes.len() - start < len {
                return Err(self.truncated(position));
            }
            if kind > KIND_LIVE || offset.checked_add(len as u64).is_none() {
                return Err(self.bad_record(position));
            }
            if kind == KIND_LIVE {
                records.push(Record {
                    offset,
                    bytes: self.bytes.slice(start..start + len),
                });
            }
            position = start + len;
        }
        Ok(records)
    }

    fn truncated(&self, position: usize) -> SealedError {
        SealedError::Truncated {
            sequence: self.sequence,
            position,
        }
    }

    fn bad_record(&self, position: usize) -> SealedError {
        SealedError::BadRecord {
            sequence: self.sequence,
            position,
        }
    }
}

/// CRC-32C (Castagnoli) of `bytes`.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The header of a record of `len` bytes for `offset`.
pub fn encode_header(offset: u64, len: u32, kind: u32) -> [u8; RECORD_HEADER_LEN] {
    let mut header = [0; RECORD_HEADER_LEN];
    header[..8].copy_from_slice(&offset.to_le_bytes());
    header[8..KIND_AT].copy_from_slice(&len.to_le_bytes());
    header[KIND_AT..].copy_from_slice(&kind.to_le_bytes());
    header
}

/// Offset, length and kind from the first bytes; `None` when they are too few.
fn decode_header(bytes: &[u8]) -> Option<(u64, usize, u32)> {
    let (offset, rest) = bytes.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (kind, _) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    Some((u64::from_le_bytes(*offset), len, u32::from_le_bytes(*kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixed(records: &[(u64, &[u8], u32)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (offset, data, kind) in records {
            bytes.extend_from_slice(&encode_header(*offset, u32::try_from(data.len()).unwrap(), *kind));
            bytes.extend_from_slice(data);
        }
        bytes
    }

    // covers: WC-15
    #[test]
    fn a_prefixed_buffer_replays_with_no_other_knowledge() {
        let bytes = prefixed(&[(4096, b"one", KIND_LIVE), (7, b"gone", KIND_VOID), (0, b"", KIND_LIVE)]);
        let sealed = Sealed::new(1, 1, 8192, Body::Prefixed, bytes.into());
        sealed.verify().unwrap();
        let found: Vec<_> = sealed
            .records()
            .unwrap()
            .iter()
            .map(|r| (r.offset, r.bytes.to_vec()))
            .collect();
        assert_eq!(found, [(4096, b"one".to_vec()), (0, Vec::new())]);
    }

    #[test]
    fn what_does_not_decode_is_refused() {
        let good = prefixed(&[(1, b"abc", KIND_LIVE)]);
        let sealed = |bytes: Vec<u8>| Sealed::new(1, 9, 0, Body::Prefixed, bytes.into()).records();
        for cut in 1..good.len() {
            let error = sealed(good[..cut].to_vec()).unwrap_err();
            assert!(
                matches!(
                    error,
                    SealedError::Truncated {
                        sequence: 9,
                        position: 0
                    }
                ),
                "{cut}"
            );
        }
        for bad in [prefixed(&[(1, b"abc", 2)]), prefixed(&[(u64::MAX, b"abc", KIND_LIVE)])] {
            assert!(matches!(sealed(bad), Err(SealedError::BadRecord { .. })));
        }
        let huge = encode_header(0, u32::MAX, KIND_LIVE).to_vec();
        assert!(matches!(sealed(huge), Err(SealedError::Truncated { .. })));
        let mut flipped = Sealed::new(1, 9, 0, Body::Worm { offset: 5 }, vec![1, 2, 3].into());
        flipped.crc ^= 1;
        assert!(matches!(
            flipped.verify(),
            Err(SealedError::Checksum { sequence: 9, .. })
        ));
    }
}
