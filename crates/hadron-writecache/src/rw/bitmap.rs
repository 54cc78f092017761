//! A set of slots of one region.
//!
//! What it is for: up to [`MAX_REGION_UNITS`] bits without allocation, and their form on disk. Invariant: bits at and past
//! the region's number of slots are zero; whoever sets one keeps that.

use super::geometry::MAX_REGION_UNITS;

const WORDS: usize = MAX_REGION_UNITS as usize / 64;
/// Bytes of a bitmap on disk.
pub(crate) const BITMAP_BYTES: usize = MAX_REGION_UNITS as usize / 8;

/// Bits 0 to 1023.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bitmap([u64; WORDS]);

impl Bitmap {
    pub(crate) fn get(&self, index: u32) -> bool {
        self.0
            .get(index as usize / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Panics when `index` is 1024 or more.
    pub(crate) fn set(&mut self, index: u32, value: bool) {
        let word = &mut self.0[index as usize / 64];
        let bit = 1 << (index % 64);
        *word = if value { *word | bit } else { *word & !bit };
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The lowest index that is in none of `sets`, whatever it is.
    pub(crate) fn first_free(sets: &[&Self]) -> u32 {
        for word in 0..WORDS {
            let used = sets.iter().fold(0, |used, set| used | set.0[word]);
            if used != u64::MAX {
                return word as u32 * 64 + used.trailing_ones();
            }
        }
        MAX_REGION_UNITS
    }

    /// Indices in the set, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let words = self.0.iter().zip((0..).step_by(64));
        words.flat_map(|(word, first)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.checked_sub(1)?;
                Some(first + bit)
            })
        })
    }

    /// The largest index in the set.
    pub(crate) fn last(&self) -> Option<u32> {
        let word = self.0.iter().rposition(|word| *word != 0)?;
        Some(word as u32 * 64 + 63 - self.0[word].leading_zeros())
    }

    /// Little endian words, lowest index first.
    pub(crate) fn to_bytes(self) -> [u8; BITMAP_BYTES] {
        let mut bytes = [0; BITMAP_BYTES];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; BITMAP_BYTES]) -> Self {
        let mut words = [0; WORDS];
        for (word, from) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*from);
        }
        Self(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_is_a_set_and_survives_its_bytes() {
        let mut a = Bitmap::default();
        let mut b = Bitmap::default();
        for index in 0..70 {
            if index % 2 == 0 { &mut a } else { &mut b }.set(index, true);
        }
        b.set(1023, true);
        assert_eq!(Bitmap::first_free(&[&a, &b]), 70);
        b.set(5, false);
        assert_eq!(Bitmap::first_free(&[&a, &b]), 5);
        assert_eq!((a.count(), a.last(), b.last()), (35, Some(68), Some(1023)));
        assert_eq!(Bitmap::from_bytes(&b.to_bytes()), b);
        assert_eq!(a.iter().collect::<Vec<_>>(), (0..70).step_by(2).collect::<Vec<_>>());
        assert_eq!(b.to_bytes()[0], 0b1000_1010);
        assert!(!a.get(4000));
    }
}
