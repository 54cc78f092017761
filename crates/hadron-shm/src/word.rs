//! The first word of a slot: two flags and the count of anchors, changed by compare-and-swap from two processes.
//!
//! Bit 63 is VALID, bit 62 ANCHORABLE, bits 30..0 the anchor count, the others stay as they are found. The client makes a
//! slot valid and anchors it; the DataNode alone says what is anchorable; either may end validity.
//! Invariant: no change loses another one made at the same time. `Cell` is the atomic, so that a model checker can
//! put its own in.

use std::sync::atomic::AtomicU64;

/// The slot stands for a replica that is still there.
pub const VALID: u64 = 1 << 63;
/// The replica is locked in memory, and its checksums were verified.
pub const ANCHORABLE: u64 = 1 << 62;
/// Most anchors at a time.
pub const MAX_ANCHORS: u32 = 0x7fff_ffff;

const COUNT: u64 = MAX_ANCHORS as u64;

/// An atomic 64-bit cell.
pub trait Cell {
    /// Reads; acquires what was released before.
    fn load(&self) -> u64;
    /// Replaces `old` by `new` or returns what is there; acquires and releases. May fail spuriously.
    fn replace(&self, old: u64, new: u64) -> Result<(), u64>;
}

impl Cell for AtomicU64 {
    fn load(&self) -> u64 {
        self.load(std::sync::atomic::Ordering::Acquire)
    }

    fn replace(&self, old: u64, new: u64) -> Result<(), u64> {
        use std::sync::atomic::Ordering;
        self.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
    }
}

/// Why an anchor cannot be taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnchorError {
    /// More were taken away than added.
    #[error("a slot without anchors cannot lose one")]
    NotAnchored,
}

/// The operations on a slot's word.
#[derive(Debug)]
pub struct Word<'a, C: Cell = AtomicU64>(pub(crate) &'a C);

impl<C: Cell> Word<'_, C> {
    /// Over a cell of one's own.
    pub fn new(cell: &C) -> Word<'_, C> {
        Word(cell)
    }

    fn update(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        let mut seen = self.0.load();
        loop {
            let Some(next) = change(seen) else { return false };
            match self.0.replace(seen, next) {
                Ok(()) => return true,
                Err(found) => seen = found,
            }
        }
    }

    /// The whole word.
    pub fn bits(&self) -> u64 {
        self.0.load()
    }

    /// Starts the slot anew: nothing but VALID.
    pub fn reset_valid(&self) {
        self.update(|_| Some(VALID));
    }

    /// Whether the replica is still there.
    pub fn is_valid(&self) -> bool {
        self.0.load() & VALID != 0
    }

    /// Says that the replica is gone. No anchor can be added any more; those there are stay until they are removed.
    pub fn make_invalid(&self) {
        self.update(|word| Some(word & !VALID));
    }

    /// Whether the replica is locked in memory.
    pub fn is_anchorable(&self) -> bool {
        self.0.load() & ANCHORABLE != 0
    }

    /// Says that the replica is locked in memory and verified.
    pub fn make_anchorable(&self) {
        self.update(|word| Some(word | ANCHORABLE));
    }

    /// No more anchors from now on.
    pub fn make_unanchorable(&self) {
        self.update(|word| Some(word & !ANCHORABLE));
    }

    /// Relies on the replica being locked; false if it is not, is gone, or has [`MAX_ANCHORS`] already.
    pub fn add_anchor(&self) -> bool {
        self.update(|word| {
            let may = word & (VALID | ANCHORABLE) == VALID | ANCHORABLE && word & COUNT != COUNT;
            may.then(|| word + 1)
        })
    }

    /// Relies on it no more. Errors: nobody did.
    pub fn remove_anchor(&self) -> Result<(), AnchorError> {
        match self.update(|word| (word & COUNT != 0).then(|| word - 1)) {
            true => Ok(()),
            false => Err(AnchorError::NotAnchored),
        }
    }

    /// How many rely on the replica being locked.
    pub fn anchors(&self) -> u32 {
        (self.0.load() & COUNT) as u32
    }

    /// Whether a reader of a replica that is still there relies on its being locked.
    pub fn is_anchored(&self) -> bool {
        let word = self.0.load();
        word & VALID != 0 && word & COUNT != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    // covers: SC-10, SC-16
    #[test]
    fn flags_and_count_are_hadoops_bits() {
        let cell = AtomicU64::new(0xffff_ffff);
        let word = Word::new(&cell);
        word.reset_valid();
        assert_eq!(cell.load(Ordering::Relaxed), 0x8000_0000_0000_0000);
        assert!(!word.add_anchor(), "not anchorable");
        word.make_anchorable();
        assert_eq!(cell.load(Ordering::Relaxed), 0xc000_0000_0000_0000);
        assert!(word.add_anchor() && word.add_anchor());
        assert_eq!(cell.load(Ordering::Relaxed), 0xc000_0000_0000_0002);
        word.make_unanchorable();
        assert!(!word.add_anchor() && word.is_anchored());
        word.make_invalid();
        assert!(!word.is_anchored(), "of a replica that is gone nobody waits for");
        assert_eq!(word.anchors(), 2);
        word.remove_anchor().unwrap();
        word.remove_anchor().unwrap();
        assert_eq!(word.remove_anchor(), Err(AnchorError::NotAnchored));
        assert_eq!(cell.load(Ordering::Relaxed), 0);
    }

    // covers: SC-16
    #[test]
    fn anchors_end_at_the_most_there_may_be() {
        let cell = AtomicU64::new(VALID | ANCHORABLE | (COUNT - 1));
        let word = Word::new(&cell);
        assert!(word.add_anchor());
        assert!(!word.add_anchor(), "a carry would reach bit 31");
        assert_eq!(word.anchors(), MAX_ANCHORS);
    }
}
