//! A process that dies: what it wrote is in the system's cache, the rest never happens.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use hadron_writecache::io::{Direct, RecordIo};

/// The process dies after so many calls that change something: from then on nothing reaches the disk, and nothing is lost.
#[derive(Debug)]
pub(crate) struct Dying {
    io: Direct,
    calls_left: AtomicU64,
}

impl Dying {
    pub(crate) fn new(io: Direct, calls: u64) -> Self {
        Self {
            io,
            calls_left: AtomicU64::new(calls),
        }
    }

    fn step(&self) -> io::Result<()> {
        let left = self
            .calls_left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| io::Error::other("killed"))
    }
}

impl RecordIo for Dying {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        self.io.write(offset, bytes)
    }
    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.io.read(offset, len)
    }
    fn clear(&self, offset: u64, len: u64) {
        self.io.clear(offset, len);
    }
    fn sync(&self) -> io::Result<()> {
        self.step()?;
        self.io.sync()
    }
    fn reset(&self) -> io::Result<()> {
        self.io.reset()
    }
    fn set_extent(&self, extent: u64) -> io::Result<()> {
        self.step()?;
        self.io.set_extent(extent)
    }
    fn extent(&self) -> io::Result<u64> {
        self.io.extent()
    }
}
