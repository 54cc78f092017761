//! The frame of one batch of entries. Byte map: docs/formats/journal.md, section "Batch".
//!
//! What it is for: building and reading frames in memory. What it does not do: I/O, or judge what comes before and
//! after. Invariants: a frame starts at a multiple of [`BLOCK_BYTES`] and is padded to one with zeros; the checksum
//! covers all but magic, itself and padding; reading trusts no length before the checksum held.

use hadron_types::{Epoch, LogIndex};

use crate::machine::{CodecError, Entry, StateMachine};

/// Frames start and end at multiples of this.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 64;
/// Bytes before each entry's payload.
pub(crate) const ENTRY_HEADER_BYTES: usize = 8;
/// A longer frame is damage.
pub(crate) const MAX_FRAME_BYTES: usize = 256 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"HJB1");
const VERSION: u16 = 1;
const FLAG_CLOSED: u16 = 1;

const CRC_OFFSET: usize = 4;
const CHECKED_OFFSET: usize = CRC_OFFSET + 4;
const VERSION_OFFSET: usize = CHECKED_OFFSET;
const FLAGS_OFFSET: usize = VERSION_OFFSET + 2;
const LEN_OFFSET: usize = FLAGS_OFFSET + 2;
const SALT_OFFSET: usize = LEN_OFFSET + 4;
const EPOCH_OFFSET: usize = SALT_OFFSET + 8;
const INDEX_OFFSET: usize = EPOCH_OFFSET + 8;
const COUNT_OFFSET: usize = INDEX_OFFSET + 8;
const DIGEST_OFFSET: usize = COUNT_OFFSET + 8;

/// What a frame's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BatchHeader {
    /// Frame length without padding.
    pub(crate) len: usize,
    /// Salt of the segment, so that bytes inside a payload never pass for a frame.
    pub(crate) salt: u64,
    pub(crate) epoch: Epoch,
    pub(crate) first_index: LogIndex,
    pub(crate) count: u32,
    /// Digest of all outcomes before `first_index`.
    pub(crate) digest: u64,
    /// Written at an orderly end: nothing follows in this segment.
    pub(crate) closed: bool,
}

impl BatchHeader {
    /// Length with padding.
    pub(crate) fn padded_len(&self) -> u64 {
        self.len.next_multiple_of(BLOCK_BYTES) as u64
    }

    /// The index after the last entry.
    pub(crate) fn next_index(&self) -> LogIndex {
        LogIndex(self.first_index.0.saturating_add(u64::from(self.count)))
    }
}

/// Why bytes are no frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum FrameError {
    /// Not even the start of one: zeros, or something else.
    NotAFrame,
    /// The start of one, but cut, torn or flipped.
    Damaged(&'static str),
    /// A frame that holds, of a version this program does not know.
    UnknownVersion(u16),
}

/// Reads and checks the header alone. `block` holds at least [`HEADER_BYTES`]. The length is within bounds; the rest is
/// not to be trusted before [`check_frame`].
pub(crate) fn peek_header(block: &[u8], salt: u64) -> Result<BatchHeader, FrameError> {
    if read_u32(block, 0) != MAGIC || read_u64(block, SALT_OFFSET) != salt {
        return Err(FrameError::NotAFrame);
    }
    let len = read_u32(block, LEN_OFFSET) as usize;
    if !(HEADER_BYTES..=MAX_FRAME_BYTES).contains(&len) {
        return Err(FrameError::Damaged("length out of range"));
    }
    Ok(BatchHeader {
        len,
        salt,
        epoch: Epoch(read_u64(block, EPOCH_OFFSET)),
        first_index: LogIndex(read_u64(block, INDEX_OFFSET)),
        count: read_u32(block, COUNT_OFFSET),
        digest: read_u64(block, DIGEST_OFFSET),
        closed: read_u16(block, FLAGS_OFFSET) & FLAG_CLOSED != 0,
    })
}

/// Checks a whole frame of `header.len` bytes.
pub(crate) fn check_frame(frame: &[u8]) -> Result<(), FrameError> {
    if crc_fast::crc32_iscsi(&frame[CHECKED_OFFSET..]) != read_u32(frame, CRC_OFFSET) {
        return Err(FrameError::Damaged("checksum does not match"));
    }
    match read_u16(frame, VERSION_OFFSET) {
        VERSION => Ok(()),
        other => Err(FrameError::UnknownVersion(other)),
    }
}

/// Decodes the entries of a checked frame.
pub(crate) fn decode_entries<M: StateMachine>(
    machine: &M,
    header: &BatchHeader,
    frame: &[u8],
    entries: &mut Vec<Entry<M::Command>>,
) -> Result<(), CodecError> {
    let mut rest = &frame[HEADER_BYTES..];
    for position in 0..header.count {
        let index = LogIndex(header.first_index.0 + u64::from(position));
        let bad = |what: &str| CodecError(format!("entry {}: {what}", index.0));
        if rest.len() < ENTRY_HEADER_BYTES {
            return Err(bad("cut short"));
        }
        let len = read_u32(rest, 0) as usize;
        let rules_version = read_u32(rest, 4);
        rest = &rest[ENTRY_HEADER_BYTES..];
        if rest.len() < len {
            return Err(bad("cut short"));
        }
        if rules_version > machine.newest_rules_version() {
            let newest = machine.newest_rules_version();
            return Err(bad(&format!(
                "rules version {rules_version} is newer than {newest}, the newest known"
            )));
        }
        let command = machine.decode(&rest[..len]).map_err(|error| bad(&error.0))?;
        rest = &rest[len..];
        entries.push(Entry {
            epoch: header.epoch,
            index,
            rules_version,
            command,
        });
    }
    if !rest.is_empty() {
        return Err(CodecError(format!("{} bytes after the last entry", rest.len())));
    }
    Ok(())
}

/// A frame in the making. Reused for all batches of a log.
#[derive(Debug, Default)]
pub(crate) struct BatchBuilder {
    bytes: Vec<u8>,
    count: u32,
}

impl BatchBuilder {
    /// Begins an empty frame.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
        self.count = 0;
    }

    /// Adds an entry unless its payload is longer than `limit`; then returns its length.
    pub(crate) fn push<M: StateMachine>(
        &mut self,
        machine: &M,
        command: &M::Command,
        limit: usize,
    ) -> Result<(), usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&machine.rules_version().to_le_bytes());
        machine.encode(command, &mut self.bytes);
        let len = self.bytes.len() - start - ENTRY_HEADER_BYTES;
        if len > limit {
            self.bytes.truncate(start);
            return Err(len);
        }
        self.bytes[start..start + 4].copy_from_slice(&(len as u32).to_le_bytes());
        self.count += 1;
        Ok(())
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Entries so far.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Completes the frame; returns it without padding.
    pub(crate) fn finish(
        &mut self,
        salt: u64,
        epoch: Epoch,
        first_index: LogIndex,
        digest: u64,
        closed: bool,
    ) -> &[u8] {
        let len = self.bytes.len() as u32;
        let flags = if closed { FLAG_CLOSED } else { 0 };
        put(&mut self.bytes, 0, &MAGIC.to_le_bytes());
        put(&mut self.bytes, VERSION_OFFSET, &VERSION.to_le_bytes());
        put(&mut self.bytes, FLAGS_OFFSET, &flags.to_le_bytes());
        put(&mut self.bytes, LEN_OFFSET, &len.to_le_bytes());
        put(&mut self.bytes, SALT_OFFSET, &salt.to_le_bytes());
        put(&mut self.bytes, EPOCH_OFFSET, &epoch.0.to_le_bytes());
        put(&mut self.bytes, INDEX_OFFSET, &first_index.0.to_le_bytes());
        put(&mut self.bytes, COUNT_OFFSET, &self.count.to_le_bytes());
        put(&mut self.bytes, DIGEST_OFFSET, &digest.to_le_bytes());
        let crc = crc_fast::crc32_iscsi(&self.bytes[CHECKED_OFFSET..]);
        put(&mut self.bytes, CRC_OFFSET, &crc.to_le_bytes());
        &self.bytes
    }
}

/// Adds one outcome's bytes to the rolling digest (CRC-64/NVME of the digest so far and the bytes).
pub(crate) fn roll_digest(digest: u64, outcome: &[u8]) -> u64 {
    let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    crc.update(&digest.to_le_bytes());
    crc.update(outcome);
    crc.finalize()
}

pub(crate) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

pub(crate) fn read_u16(bytes: &[u8], offset: usize) -> u16 {
    let mut value = [0; 2];
    value.copy_from_slice(&bytes[offset..offset + 2]);
    u16::from_le_bytes(value)
}

pub(crate) fn read_u32(bytes: &[u8], offset: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(value)
}

pub(crate) fn read_u64(bytes: &[u8], offset: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Register;

    #[test]
    fn a_frame_reads_back_and_every_flipped_bit_is_seen() {
        let machine = Register::new();
        let mut builder = BatchBuilder::default();
        builder.clear();
        for number in 0..3_u64 {
            builder.push(&machine, &Register::add(number, "x"), 100).unwrap();
        }
        assert_eq!(
            builder.push(&machine, &Register::add(1, &"y".repeat(200)), 100),
            Err(232)
        );
        let frame = builder.finish(7, Epoch(2), LogIndex(10), 99, false).to_vec();
        let header = peek_header(&frame, 7).unwrap();
        assert_eq!(peek_header(&frame, 8), Err(FrameError::NotAFrame));
        assert_eq!((header.count, header.len, header.digest), (3, frame.len(), 99));
        assert_eq!(header.next_index(), LogIndex(13));
        check_frame(&frame).unwrap();
        let mut entries = Vec::new();
        decode_entries(&machine, &header, &frame, &mut entries).unwrap();
        assert_eq!(entries[2].command, Register::add(2, "x"));
        assert_eq!(entries[2].index, LogIndex(12));
        for bit in 0..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let same_len = peek_header(&flipped, 7).is_ok_and(|header| header.len == frame.len());
            assert!(!same_len || check_frame(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_version_says_so() {
        let mut builder = BatchBuilder::default();
        builder.clear();
        let mut frame = builder.finish(1, Epoch(1), LogIndex(1), 0, true).to_vec();
        frame[VERSION_OFFSET] = 9;
        let crc = crc_fast::crc32_iscsi(&frame[CHECKED_OFFSET..]);
        put(&mut frame, CRC_OFFSET, &crc.to_le_bytes());
        assert_eq!(check_frame(&frame), Err(FrameError::UnknownVersion(9)));
    }
}
