//! One slice: a fixed header, then records. Checked whole before a record is looked at.

use super::ImageError;
use super::records::{AttributesRecords, CacheRecords, EndRecord, HeaderRecord, InodeRecords, RetryRecords};
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use prost::Message;

/// `HDNI`.
const MAGIC: [u8; 4] = *b"HDNI";
/// Version of slices that this code writes; it reads this and older ones.
pub const IMAGE_FORMAT_VERSION: u16 = 1;
/// Bytes of a slice's header.
pub const SLICE_HEADER_LEN: usize = CHECKSUM_AT + 4;
/// Largest payload that is read; what is written stays far below, but for a file with very many blocks.
pub const MAX_SLICE_PAYLOAD_BYTES: u32 = 256 * 1024 * 1024;

const VERSION_AT: usize = 4;
const KIND_AT: usize = VERSION_AT + 2;
const SEQUENCE_AT: usize = KIND_AT + 2;
const PAYLOAD_LEN_AT: usize = SEQUENCE_AT + 4;
const CHECKSUM_AT: usize = PAYLOAD_LEN_AT + 4;

/// What a slice holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(super) enum SliceKind {
    Header = 1,
    Inodes = 2,
    RetryCache = 3,
    End = 4,
    Attributes = 8,
    Cache = 9,
}

/// The fixed front of a slice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SliceHeader {
    version: u16,
    kind: u16,
    sequence: u32,
    /// Bytes that follow the header.
    pub payload_len: u32,
    checksum: u32,
}

impl SliceHeader {
    /// Reads the first [`SLICE_HEADER_LEN`] bytes of a slice that begins at `offset`, so that the caller knows how many
    /// more to read. The checksum is checked by [`decode_slice`].
    pub fn parse(bytes: &[u8], offset: u64) -> Result<Self, ImageError> {
        let array = |at: usize| -> Result<[u8; 4], ImageError> {
            let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.ok_or(ImageError::Truncated { offset })
        };
        if array(0)? != MAGIC {
            return Err(ImageError::BadMagic { offset });
        }
        let [version_low, version_high, kind_low, kind_high] = array(VERSION_AT)?;
        let header = Self {
            version: u16::from_le_bytes([version_low, version_high]),
            kind: u16::from_le_bytes([kind_low, kind_high]),
            sequence: u32::from_le_bytes(array(SEQUENCE_AT)?),
            payload_len: u32::from_le_bytes(array(PAYLOAD_LEN_AT)?),
            checksum: u32::from_le_bytes(array(CHECKSUM_AT)?),
        };
        if header.payload_len > MAX_SLICE_PAYLOAD_BYTES {
            let len = header.payload_len;
            return Err(ImageError::TooLarge { offset, len });
        }
        Ok(header)
    }
}

/// Makes a slice of a record.
pub(super) fn encode_slice(kind: SliceKind, sequence: u32, record: &impl Message) -> Vec<u8> {
    let len = record.encoded_len();
    let mut slice = Vec::with_capacity(SLICE_HEADER_LEN + len);
    slice.extend_from_slice(&MAGIC);
    slice.extend_from_slice(&IMAGE_FORMAT_VERSION.to_le_bytes());
    slice.extend_from_slice(&(kind as u16).to_le_bytes());
    slice.extend_from_slice(&sequence.to_le_bytes());
    slice.extend_from_slice(&(len as u32).to_le_bytes());
    slice.extend_from_slice(&[0; 4]);
    record.encode_raw(&mut slice);
    let checksum = slice_checksum(&slice);
    slice[CHECKSUM_AT..SLICE_HEADER_LEN].copy_from_slice(&checksum.to_le_bytes());
    slice
}

/// CRC-32C over the header before the checksum, and the payload.
fn slice_checksum(slice: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(Crc32Iscsi);
    digest.update(&slice[..CHECKSUM_AT]);
    digest.update(&slice[SLICE_HEADER_LEN..]);
    digest.finalize() as u32
}

/// The records of one slice, checked and decoded.
#[derive(Clone, PartialEq, Debug)]
pub struct DecodedSlice {
    pub(super) sequence: u32,
    pub(super) records: Records,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Records {
    Header(HeaderRecord),
    Inodes(InodeRecords),
    RetryCache(RetryRecords),
    Attributes(AttributesRecords),
    Cache(CacheRecords),
    End(EndRecord),
}

/// Checks and decodes a whole slice (header and payload) that begins at `offset`. Safe to run on many threads.
pub fn decode_slice(slice: &[u8], offset: u64) -> Result<DecodedSlice, ImageError> {
    let header = SliceHeader::parse(slice, offset)?;
    if slice.len() != SLICE_HEADER_LEN + header.payload_len as usize {
        return Err(ImageError::Truncated { offset });
    }
    let actual = slice_checksum(slice);
    if actual != header.checksum {
        let expected = header.checksum;
        return Err(ImageError::Checksum {
            offset,
            expected,
            actual,
        });
    }
    if header.version > IMAGE_FORMAT_VERSION {
        let version = header.version;
        return Err(ImageError::NewerVersion { offset, version });
    }
    let payload = &slice[SLICE_HEADER_LEN..];
    let undecodable = |reason: String| ImageError::Undecodable { offset, reason };
    let decoded = match header.kind {
        kind if kind == SliceKind::Header as u16 => HeaderRecord::decode(payload).map(Records::Header),
        kind if kind == SliceKind::Inodes as u16 => InodeRecords::decode(payload).map(Records::Inodes),
        kind if kind == SliceKind::RetryCache as u16 => RetryRecords::decode(payload).map(Records::RetryCache),
        kind if kind == SliceKind::Attributes as u16 => AttributesRecords::decode(payload).map(Records::Attributes),
        kind if kind == SliceKind::Cache as u16 => CacheRecords::decode(payload).map(Records::Cache),
        kind if kind == SliceKind::End as u16 => EndRecord::decode(payload).map(Records::End),
        kind => return Err(undecodable(format!("unknown kind {kind}"))),
    };
    Ok(DecodedSlice {
        sequence: header.sequence,
        records: decoded.map_err(|error| undecodable(error.to_string()))?,
    })
}
