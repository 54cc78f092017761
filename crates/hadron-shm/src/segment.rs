//! A segment: one shared mapping of slots.
//!
//! The DataNode makes it ([`Segment::create`]), the client maps the descriptor it was passed ([`Segment::open`]).
//! Invariants: all slots lie inside the mapping; one that we made can be neither shrunk nor grown by a client (sealed),
//! since touching a page behind the end would kill the process.

use crate::map::SharedMap;
use crate::word::Word;
use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Bytes of a slot; only the first eight mean something today.
pub const SLOT_LEN: usize = 64;
/// Bytes of a segment that a DataNode makes: 128 slots.
pub const SEGMENT_LEN: usize = 8192;
/// Longest segment that is mapped, whatever length a DataNode's file has.
pub const MAX_SEGMENT_LEN: usize = 1024 * 1024;

/// Why there is no segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The kernel refused.
    #[error("cannot {what} a shared memory segment: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Shorter than a slot, in Hadoop's words.
    #[error("The size of {name} is {len}, but we need at least {SLOT_LEN} bytes: not enough to hold even one slot")]
    TooSmall {
        /// Which file.
        name: String,
        /// Its length in bytes.
        len: u64,
    },
}

/// Shared memory of a DataNode and one of its clients.
#[derive(Debug)]
pub struct Segment {
    map: SharedMap,
    slots: usize,
    file: OwnedFd,
}

impl Segment {
    /// Makes an empty segment of [`SEGMENT_LEN`] bytes that has no name in any file system.
    pub fn create() -> Result<Self, SegmentError> {
        let io = |what| {
            move |source: rustix::io::Errno| SegmentError::Io {
                what,
                source: source.into(),
            }
        };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("HadoopShortCircuitShm", flags).map_err(io("create"))?;
        rustix::fs::ftruncate(&file, SEGMENT_LEN as u64).map_err(io("size"))?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals).map_err(io("seal"))?;
        Self::open(file, "a segment of our own")
    }

    /// Maps a segment that somebody else made; `name` is for errors. Bytes beyond the last whole slot are not used.
    pub fn open(file: OwnedFd, name: &str) -> Result<Self, SegmentError> {
        let io = |what| move |source| SegmentError::Io { what, source };
        let file = File::from(file);
        let len = file.metadata().map_err(io("look at"))?.len();
        let usable = usize::try_from(len).unwrap_or(MAX_SEGMENT_LEN).min(MAX_SEGMENT_LEN) / SLOT_LEN * SLOT_LEN;
        if usable == 0 {
            let name = name.to_owned();
            return Err(SegmentError::TooSmall { name, len });
        }
        let map = SharedMap::new(&file, usable).map_err(io("map"))?;
        Ok(Self {
            map,
            slots: usable / SLOT_LEN,
            file: file.into(),
        })
    }

    /// How many slots there are; at least one.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The word of slot `index`; `None` if there is no such slot.
    pub fn word(&self, index: usize) -> Option<Word<'_>> {
        let offset = index.checked_mul(SLOT_LEN)?;
        let cell = (index < self.slots).then(|| self.map.word(offset)).flatten()?;
        Some(Word::new(cell))
    }

    /// Slot `index` as a value that keeps the segment mapped.
    pub fn slot(self: &Arc<Self>, index: usize) -> Option<Slot> {
        self.word(index)?;
        Some(Slot {
            segment: self.clone(),
            index,
        })
    }
}

impl AsFd for Segment {
    /// What is passed to the other process.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A slot, and with it its segment.
#[derive(Clone, Debug)]
pub struct Slot {
    segment: Arc<Segment>,
    index: usize,
}

impl Slot {
    /// Its index in the segment.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its word.
    pub fn word(&self) -> Word<'_> {
        match self.segment.word(self.index) {
            Some(word) => word,
            // Slots are only made of indexes that the segment has.
            None => unreachable!("slot {} of {}", self.index, self.segment.slots),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    // covers: SC-06
    #[test]
    fn a_segment_has_128_slots_of_64_bytes() {
        let segment = Arc::new(Segment::create().unwrap());
        assert_eq!(segment.slots(), 128);
        assert!(segment.slot(127).is_some() && segment.slot(128).is_none());
        segment.slot(1).unwrap().word().reset_valid();
        let mut bytes = vec![0; SEGMENT_LEN];
        rustix::io::pread(&*segment, &mut bytes, 0).unwrap();
        let set: Vec<usize> = (0..SEGMENT_LEN).filter(|at| bytes[*at] != 0).collect();
        // Native order, as Java's Unsafe writes it.
        let top = if cfg!(target_endian = "little") { 71 } else { 64 };
        assert_eq!((set, bytes[top]), (vec![top], 0x80));
    }

    // covers: SC-06
    #[test]
    fn a_file_shorter_than_a_slot_is_refused_and_a_tail_is_not_used() {
        for (len, slots) in [
            (0, None),
            (63, None),
            (64, Some(1)),
            (8191, Some(127)),
            (9000, Some(140)),
        ] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(len).unwrap();
            let opened = Segment::open(file.into(), "x");
            assert_eq!(opened.as_ref().ok().map(Segment::slots), slots, "{len}");
            if let Err(error) = opened {
                assert!(
                    error.to_string().ends_with("not enough to hold even one slot"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn nobody_can_shrink_what_we_map() {
        let segment = Segment::create().unwrap();
        let theirs = segment.as_fd().try_clone_to_owned().unwrap();
        assert!(rustix::fs::ftruncate(&theirs, 0).is_err());
        assert!(rustix::fs::ftruncate(&theirs, 1 << 20).is_err());
        assert!(rustix::fs::fcntl_add_seals(&theirs, SealFlags::WRITE).is_err());
    }

    #[test]
    fn both_sides_see_one_word() {
        let ours = Segment::create().unwrap();
        let theirs = Segment::open(ours.as_fd().try_clone_to_owned().unwrap(), "x").unwrap();
        theirs.word(5).unwrap().reset_valid();
        ours.word(5).unwrap().make_anchorable();
        assert!(theirs.word(5).unwrap().add_anchor());
        assert!(ours.word(5).unwrap().is_anchored());
        assert!(!ours.word(4).unwrap().is_valid());
    }
}
