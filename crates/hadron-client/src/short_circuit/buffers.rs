//! Buffers for reads of local replicas, used again when every slice of them was dropped.
//!
//! Fresh memory costs a page fault for each 4 KiB of it, which is much beside a copy out of the page cache; clearing it
//! costs a tenth of a random read.
//! Invariant: at most [`MAX_KEPT`] unused buffers of a size are kept, and [`SMALL_SIZES`] sizes besides the large one.

use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Unused buffers of a size that are kept.
const MAX_KEPT: usize = 4;
/// Large buffers that all readers of one client may have filled ahead of what they were asked for: an open file that nobody
/// reads on holds one.
pub(crate) const MAX_AHEAD: usize = 64;
/// The smallest of the small buffers.
const SMALLEST: usize = 4 << 10;
/// How many sizes of small ones there are, each twice the one before: up to 64 KiB.
const SMALL_SIZES: usize = 5;

/// Unused buffers of one size.
type Unused = Mutex<Vec<Vec<u8>>>;

/// The buffers of one client.
#[derive(Debug)]
pub(crate) struct ReadBuffers {
    size: usize,
    large: Unused,
    small: [Unused; SMALL_SIZES],
    ahead: Arc<Semaphore>,
}

/// A buffer that goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    used: usize,
    /// None: it is of no size that is kept.
    home: Option<Arc<ReadBuffers>>,
}

impl ReadBuffers {
    pub(crate) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            size,
            large: Unused::default(),
            small: std::array::from_fn(|_| Unused::default()),
            ahead: Arc::new(Semaphore::new(MAX_AHEAD)),
        })
    }

    /// Leave to fill a large buffer ahead of need, for as long as it is kept; `None` when [`MAX_AHEAD`] are.
    pub(crate) fn take_ahead(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.ahead).try_acquire_owned().ok()
    }

    /// A buffer of `len` bytes, whatever is in them.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> ReadBuffer {
        let small = len.max(SMALLEST).next_power_of_two();
        let (size, unused) = match self.unused(small) {
            Some(unused) => (small, unused),
            None if (self.size / 2..=self.size).contains(&len) => (self.size, &self.large),
            None => {
                return ReadBuffer {
                    bytes: vec![0; len],
                    used: len,
                    home: None,
                };
            }
        };
        let kept = unused.lock().pop();
        ReadBuffer {
            bytes: kept.unwrap_or_else(|| vec![0; size]),
            used: len,
            home: Some(Arc::clone(self)),
        }
    }

    /// Where small buffers of exactly `size` bytes are kept.
    fn unused(&self, size: usize) -> Option<&Unused> {
        let number = (size / SMALLEST).checked_ilog2()? as usize;
        self.small.get(number).filter(|_| size.is_power_of_two())
    }
}

impl ReadBuffer {
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.used]
    }

    /// The bytes, without a copy.
    pub(crate) fn freeze(mut self) -> Bytes {
        match self.home {
            Some(_) => Bytes::from_owner(self),
            None => std::mem::take(&mut self.bytes).into(),
        }
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        let Some(home) = self.home.take() else {
            return;
        };
        let len = self.bytes.len();
        let unused = match home.unused(len) {
            Some(unused) => unused,
            None if len == home.size => &home.large,
            None => return,
        };
        let mut unused = unused.lock();
        if unused.len() < MAX_KEPT {
            unused.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_few_are_kept() {
        let buffers = ReadBuffers::new(100_000);
        for (len, other, unused) in [
            (90_000, 100_000, &buffers.large),
            (3, 4096, &buffers.small[0]),
            (40_000, 65_536, &buffers.small[4]),
        ] {
            let mut first = buffers.take(len);
            first.as_mut().fill(7);
            let bytes = first.freeze();
            assert_eq!(bytes.len(), len);
            let (address, slice) = (bytes.as_ptr(), bytes.slice(1..3));
            drop(bytes);
            assert!(unused.lock().is_empty(), "a slice is left");
            assert_eq!(slice, [7; 2][..]);
            drop(slice);
            assert_eq!(buffers.take(other).as_ref().as_ptr(), address);
            let many: Vec<_> = (0..10).map(|_| buffers.take(len)).collect();
            drop(many);
            assert_eq!(unused.lock().len(), MAX_KEPT);
        }
        for (len, what) in [(49_000, "small"), (70_000, "large"), (100_001, "larger")] {
            assert_eq!(buffers.take(len).freeze().len(), len, "{what}");
        }
        assert_eq!(buffers.large.lock().len(), MAX_KEPT);
        let ahead: Vec<_> = std::iter::from_fn(|| buffers.take_ahead()).collect();
        assert_eq!(ahead.len(), MAX_AHEAD);
        drop(ahead);
        assert!(buffers.take_ahead().is_some(), "given back");
        let emptied = buffers.take(0).freeze();
        assert!(emptied.is_empty());
    }
}
