//! Pieces put together, without a copy when there is only one.

use bytes::{Bytes, BytesMut};

/// Pieces of a stretch of `len` bytes.
pub(super) struct Joined {
    len: usize,
    first: Bytes,
    rest: BytesMut,
}

impl Joined {
    /// Expects `len` bytes; takes memory for them when a second piece comes.
    pub(super) fn new(len: usize) -> Self {
        Self {
            len,
            first: Bytes::new(),
            rest: BytesMut::new(),
        }
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() {
            self.first = piece;
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(self.len);
            self.rest.extend_from_slice(&self.first);
        }
        self.rest.extend_from_slice(&piece);
    }

    pub(super) fn into_bytes(self) -> Bytes {
        match self.rest.is_empty() {
            true => self.first,
            false => self.rest.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_piece_is_not_copied_and_many_keep_their_order() {
        let piece = Bytes::from_static(b"abc");
        let mut one = Joined::new(3);
        one.push(piece.clone());
        assert_eq!(one.into_bytes().as_ptr(), piece.as_ptr());
        let mut many = Joined::new(9);
        for piece in [&b"abc"[..], b"def", b"gh"] {
            many.push(Bytes::copy_from_slice(piece));
        }
        assert_eq!(many.into_bytes(), b"abcdefgh"[..]);
        assert!(Joined::new(0).into_bytes().is_empty());
    }
}
