//! Buffers of one length, aligned for direct I/O, kept for the next user.
//!
//! What it is for: several caches share one pool, and a test can see that everything came back. What it does not do: no
//! limit of its own; each cache takes as many as its settings say and returns them when it is dropped.
//! Invariants: `outstanding` counts buffers taken and not returned. A buffer whose bytes somebody still holds (a reader, a
//! replica that lags) is not reused; its memory goes when they let go.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use parking_lot::Mutex;

/// Alignment of the first byte of a buffer.
pub const ALIGNMENT: usize = 4096;
/// Returned buffers kept for reuse; further ones are freed.
pub const MAX_KEPT: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct BufferPool {
    buffer_len: usize,
    outstanding: AtomicUsize,
    kept: Mutex<Vec<BytesMut>>,
}

impl BufferPool {
    /// An empty pool of buffers of `buffer_len` bytes; memory is allocated as it is first used.
    pub fn new(buffer_len: usize) -> Self {
        Self {
            buffer_len,
            outstanding: AtomicUsize::new(0),
            kept: Mutex::new(Vec::new()),
        }
    }

    /// Bytes of each buffer.
    pub fn buffer_len(&self) -> usize {
        self.buffer_len
    }

    /// Buffers taken and not returned.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Acquire)
    }

    /// An empty buffer.
    pub(crate) fn take(&self) -> BytesMut {
        self.outstanding.fetch_add(1, Ordering::AcqRel);
        let kept = self.kept.lock().pop();
        kept.unwrap_or_else(|| self.allocate())
    }

    /// A buffer in place of one whose bytes are still in use.
    pub(crate) fn allocate(&self) -> BytesMut {
        let mut memory = BytesMut::with_capacity(self.buffer_len + ALIGNMENT);
        let skip = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let mut buffer = memory.split_off(skip);
        drop(buffer.split_off(self.buffer_len));
        buffer
    }

    /// Takes a buffer back; `None`: its memory is still in use and lost to the pool.
    pub(crate) fn give(&self, buffer: Option<BytesMut>) {
        self.outstanding.fetch_sub(1, Ordering::AcqRel);
        let mut kept = self.kept.lock();
        if kept.len() < MAX_KEPT {
            kept.extend(buffer);
        }
    }

    /// Makes a buffer whole and empty again; `None` when part of it is in use elsewhere.
    pub(crate) fn reclaim(&self, mut front: BytesMut) -> Option<BytesMut> {
        front.clear();
        if !front.try_reclaim(self.buffer_len) {
            return None;
        }
        drop(front.split_off(self.buffer_len));
        Some(front)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_whole_once_nobody_holds_a_part() {
        let pool = BufferPool::new(100);
        let mut buffer = pool.take();
        let address = buffer.as_ptr();
        assert_eq!(
            (address.align_offset(ALIGNMENT), buffer.capacity(), pool.outstanding()),
            (0, 100, 1)
        );
        let tail = buffer.split_off(40);
        assert!(pool.reclaim(buffer).is_none());
        drop(tail);
        let mut buffer = pool.allocate();
        let address = buffer.as_ptr();
        let mut tail = buffer.split_off(40);
        buffer.extend_from_slice(&[1; 40]);
        tail.extend_from_slice(&[2; 60]);
        buffer.unsplit(tail);
        let bytes = buffer.freeze();
        let again = pool.reclaim(bytes.try_into_mut().unwrap()).unwrap();
        assert_eq!((again.as_ptr(), again.capacity(), again.len()), (address, 100, 0));
        pool.give(Some(again));
        assert_eq!(pool.outstanding(), 0);
    }
}
