//! Large buffers for reads of local replicas, used again when every slice of them was dropped.
//!
//! Fresh memory costs a page fault for each 4 KiB of it, which is much beside a copy out of the page cache.
//! Invariant: at most [`MAX_KEPT`] unused buffers are kept, all of one size.

use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// Unused buffers that are kept.
const MAX_KEPT: usize = 4;

/// The buffers of one client.
#[derive(Debug)]
pub(crate) struct ReadBuffers {
    size: usize,
    unused: Mutex<Vec<Vec<u8>>>,
}

/// A buffer that goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    used: usize,
    home: Weak<ReadBuffers>,
}

impl ReadBuffers {
    pub(crate) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            size,
            unused: Mutex::default(),
        })
    }

    /// A buffer of `len` bytes, whatever is in them.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> ReadBuffer {
        // Small ones are not worth a place here.
        if len < self.size / 2 || len > self.size {
            return ReadBuffer {
                bytes: vec![0; len],
                used: len,
                home: Weak::new(),
            };
        }
        let kept = self.unused.lock().pop();
        ReadBuffer {
            bytes: kept.unwrap_or_else(|| vec![0; self.size]),
            used: len,
            home: Arc::downgrade(self),
        }
    }
}

impl ReadBuffer {
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.used]
    }

    /// The bytes, without a copy.
    pub(crate) fn freeze(mut self) -> Bytes {
        if self.home.strong_count() == 0 {
            return std::mem::take(&mut self.bytes).into();
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            let mut unused = home.unused.lock();
            if unused.len() < MAX_KEPT {
                unused.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_come_back_and_few_are_kept() {
        let buffers = ReadBuffers::new(1000);
        let mut first = buffers.take(900);
        first.as_mut().fill(7);
        let bytes = first.freeze();
        let (address, slice) = (bytes.as_ptr(), bytes.slice(100..200));
        drop(bytes);
        assert!(buffers.unused.lock().is_empty(), "a slice is left");
        assert_eq!(slice, [7; 100][..]);
        drop(slice);
        assert_eq!(buffers.take(1000).as_ref().as_ptr(), address);
        let many: Vec<_> = (0..10).map(|_| buffers.take(1000)).collect();
        drop(many);
        assert_eq!(buffers.unused.lock().len(), MAX_KEPT);
        assert_eq!(buffers.take(10).freeze().len(), 10);
        assert_eq!(buffers.take(5000).freeze().len(), 5000);
        assert_eq!(buffers.unused.lock().len(), MAX_KEPT);
    }
}
