//! A buffer that starts at a multiple of the block, as direct I/O asks.
//!
//! What it is for: one frame at a time on its way to disk. What it does not do: grow while being built; frames are
//! built elsewhere and copied, which costs far less than the write. Invariant: the bytes after the frame are zeros up
//! to the next multiple of the block.

use crate::batch::BLOCK_BYTES;

/// Zero-padded bytes at an aligned address.
#[derive(Debug, Default)]
pub(crate) struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// Replaces the content by `bytes` and zeros up to the next multiple of the block.
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        self.len = bytes.len().next_multiple_of(BLOCK_BYTES);
        if self.storage.len() < self.len + BLOCK_BYTES {
            self.storage = vec![0; (self.len + BLOCK_BYTES).next_power_of_two()];
            let misaligned = self.storage.as_ptr().addr() % BLOCK_BYTES;
            self.start = (BLOCK_BYTES - misaligned) % BLOCK_BYTES;
        }
        let content = &mut self.storage[self.start..self.start + self.len];
        content[..bytes.len()].copy_from_slice(bytes);
        content[bytes.len()..].fill(0);
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_aligned_and_padded() {
        let mut buffer = AlignedBuffer::default();
        for len in [1, 4096, 4097, 100_000, 5] {
            buffer.fill(&vec![7; len]);
            let bytes = buffer.as_slice();
            assert_eq!(bytes.len(), len.next_multiple_of(BLOCK_BYTES));
            assert_eq!(bytes.as_ptr().addr() % BLOCK_BYTES, 0);
            assert!(bytes[..len].iter().all(|byte| *byte == 7) && bytes[len..].iter().all(|byte| *byte == 0));
        }
    }
}
