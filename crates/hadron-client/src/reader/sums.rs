//! The checksums of a local replica that were read, in pieces of one size.
//!
//! Invariant: at most [`MAX_PIECES`] are kept; one takes the place of another whose number differs by a multiple of that.

use bytes::Bytes;
use parking_lot::Mutex;

/// Most pieces that are kept: with the usual chunks of 512 bytes, the checksums of 256 MiB.
const MAX_PIECES: u64 = 128;

/// Pieces by number.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pieces: Mutex<Vec<Option<(u64, Bytes)>>>,
}

impl Sums {
    /// Piece `number`, if it is kept.
    pub(super) fn get(&self, number: u64) -> Option<Bytes> {
        let pieces = self.pieces.lock();
        let (kept, sums) = pieces.get((number % MAX_PIECES) as usize)?.as_ref()?;
        (*kept == number).then(|| sums.clone())
    }

    /// Keeps piece `number`.
    pub(super) fn put(&self, number: u64, sums: Bytes) {
        let place = (number % MAX_PIECES) as usize;
        let mut pieces = self.pieces.lock();
        if pieces.len() <= place {
            pieces.resize(place + 1, None);
        }
        // Freed outside the lock.
        let _before = pieces[place].replace((number, sums));
        drop(pieces);
    }

    /// Forgets all pieces: the file may have changed.
    pub(super) fn clear(&self) {
        drop(std::mem::take(&mut *self.pieces.lock()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_take_the_place_of_others() {
        let sums = Sums::default();
        let piece = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(sums.get(3), None);
        sums.put(3, piece("three"));
        assert_eq!((sums.get(3), sums.get(2)), (Some(piece("three")), None));
        assert_eq!(sums.get(3 + MAX_PIECES), None, "another piece at the same place");
        sums.put(3 + MAX_PIECES, piece("far"));
        assert_eq!((sums.get(3), sums.get(3 + MAX_PIECES)), (None, Some(piece("far"))));
        sums.clear();
        assert_eq!(sums.get(3 + MAX_PIECES), None);
    }
}
