//! How the stores reach their file: through a cache, or directly.
//!
//! What it is for: one face for the stores, so that they can be tested and used without a cache. What it does not do: no
//! allocation, no commit. Invariants of the calls: a read sees every write that returned before it began; after
//! [`RecordIo::sync`] all writes that returned before it began survive loss of power.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::backing::{BackingStore, Placed};

/// Writes and reads bytes at offsets of one file.
pub trait RecordIo: fmt::Debug + Send + Sync {
    /// Takes `bytes` to be written at `offset`; they may be in memory until [`Self::sync`].
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reads `len` bytes at `offset` (callers bound `len` by what they wrote there); `UnexpectedEof` past the end.
    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes>;
    /// Forgets what waits to be written into these `len` bytes: their record was freed.
    fn clear(&self, offset: u64, len: u64);
    /// Writes out what waits and makes it durable.
    fn sync(&self) -> io::Result<()>;
    /// Begins to count sealed buffers anew and returns how many there were; 0 where there are none. For a commit, after a sync.
    fn restart_sequence(&self) -> u64 {
        0
    }
    /// Forgets all that waits to be written: the caller goes back to its last commit.
    fn reset(&self) -> io::Result<()>;
    /// Gives the file this length, durably.
    fn set_extent(&self, extent: u64) -> io::Result<()>;
    /// Length of the file.
    fn extent(&self) -> io::Result<u64>;
}

impl<T: RecordIo + ?Sized> RecordIo for Arc<T> {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write(offset, bytes)
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        (**self).read(offset, len)
    }

    fn clear(&self, offset: u64, len: u64) {
        (**self).clear(offset, len);
    }

    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }

    fn restart_sequence(&self) -> u64 {
        (**self).restart_sequence()
    }

    fn reset(&self) -> io::Result<()> {
        (**self).reset()
    }

    fn set_extent(&self, extent: u64) -> io::Result<()> {
        (**self).set_extent(extent)
    }

    fn extent(&self) -> io::Result<u64> {
        (**self).extent()
    }
}

/// No cache: each write goes to the file at once.
#[derive(Clone, Debug)]
pub struct Direct {
    backing: Arc<dyn BackingStore>,
}

impl Direct {
    /// On an open file.
    pub fn new(backing: Arc<dyn BackingStore>) -> Self {
        Self { backing }
    }
}

impl RecordIo for Direct {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.backing.write_gathered(&[Placed { offset, bytes }])
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        self.backing.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }

    fn clear(&self, _offset: u64, _len: u64) {}

    fn sync(&self) -> io::Result<()> {
        self.backing.sync()
    }

    fn reset(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_extent(&self, extent: u64) -> io::Result<()> {
        self.backing.set_extent(extent)
    }

    fn extent(&self) -> io::Result<u64> {
        self.backing.extent()
    }
}
