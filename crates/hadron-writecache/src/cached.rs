//! The read-write store's way to its file through a [`WriteCache`].
//!
//! What it is for: records gather in buffers, are read from memory, and go to the replicas; a record freed before it was
//! written never is. What it does not do: append-only caches, checksums (the store's blocks and the callers' records bring
//! their own). Invariants: two writes that wait never overlap unless they have the same offset, so their order in the file
//! does not matter; a read of bytes that wait under another offset writes them out first.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backing::{BackingStore, Opener};
use crate::config::{Config, Layout};
use crate::io::RecordIo;
use crate::sealed::RECORD_HEADER_LEN;
use crate::service::WriteCache;
use crate::service::error::OpenError;

/// A cache and what waits in it.
#[derive(Debug)]
pub struct Cached {
    cache: WriteCache,
    /// For reads of what does not wait, and for the length of the file.
    backing: Arc<dyn BackingStore>,
    /// Most bytes in a record of the cache; longer ones are cut into several.
    piece_len: usize,
    waiting: Mutex<Waiting>,
}

/// Records that may not be in the file yet. Bounded by what the cache's buffers hold, as writers flush at [`MAX_WAITING`].
#[derive(Debug, Default)]
struct Waiting {
    /// Offset to length, and the flush that will have it in the file.
    records: BTreeMap<u64, (u64, u64)>,
    /// Flushes begun.
    flushes: u64,
}

/// Records remembered as waiting before a flush forgets those that are written.
const MAX_WAITING: usize = 1 << 16;

impl Cached {
    /// A cache of its own on the file that `opener` opens. `config` has [`Layout::Rw`] and checksums off: both are set so.
    ///
    /// Errors: the file cannot be opened, or the settings are out of bounds.
    pub fn open(config: Config, opener: Arc<dyn Opener>) -> Result<Self, OpenError> {
        let config = Config {
            layout: Layout::Rw,
            checksums: false,
            ..config
        };
        let piece_len = config.buffer_len.saturating_sub(RECORD_HEADER_LEN);
        let backing = opener.open()?;
        let cache = WriteCache::open(config, backing.extent()?, opener)?;
        Ok(Self {
            cache,
            backing,
            piece_len,
            waiting: Mutex::default(),
        })
    }

    /// The cache, for its counters.
    pub fn cache(&self) -> &WriteCache {
        &self.cache
    }

    /// Brings what waits into the file.
    fn flush(&self) -> io::Result<()> {
        let flush = {
            let mut waiting = self.waiting.lock();
            waiting.flushes += 1;
            waiting.flushes
        };
        self.cache.flush(None).map_err(io::Error::other)?;
        self.waiting.lock().records.retain(|_, (_, needed)| *needed > flush);
        Ok(())
    }

    fn write_piece(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        let must_flush = {
            let waiting = self.waiting.lock();
            let replaced = |(at, record_len): (u64, u64)| at == offset && record_len <= len;
            let overlapping = waiting.overlapping(offset, len, self.piece_len);
            waiting.records.len() >= MAX_WAITING || overlapping.into_iter().any(|record| !replaced(record))
        };
        if must_flush {
            self.flush()?;
        }
        self.cache.write(offset, bytes).map_err(io::Error::other)?;
        // Only now: a flush that began before the cache had the record says nothing about it.
        let mut waiting = self.waiting.lock();
        let needed = waiting.flushes + 1;
        waiting.records.insert(offset, (len, needed));
        Ok(())
    }
}

impl Waiting {
    /// Offsets and lengths of records that share a byte with the `len` from `offset` on. None is longer than `longest`.
    fn overlapping(&self, offset: u64, len: u64, longest: usize) -> Vec<(u64, u64)> {
        let from = offset.saturating_sub(longest as u64);
        let near = self.records.range(from..offset.saturating_add(len));
        let records = near.map(|(at, (len, _))| (*at, *len));
        records.filter(|(at, len)| at + len > offset).collect()
    }
}

impl RecordIo for Cached {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut at = offset;
        for piece in bytes.chunks(self.piece_len) {
            self.write_piece(at, piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let overlapping = self.waiting.lock().overlapping(offset, len as u64, self.piece_len);
        if let [(at, record_len)] = overlapping[..]
            && at <= offset
            && offset + len as u64 <= at + record_len
            && let Ok(Some(record)) = self.cache.read(at, record_len as usize)
        {
            let start = (offset - at) as usize;
            return Ok(record.slice(start..start + len));
        }
        if !overlapping.is_empty() {
            self.flush()?;
        }
        let mut bytes = vec![0; len];
        self.backing.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.into())
    }

    fn clear(&self, offset: u64, len: u64) {
        let mut waiting = self.waiting.lock();
        for (at, _) in waiting.overlapping(offset, len, self.piece_len) {
            self.cache.clear_write(at);
            waiting.records.remove(&at);
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.flush()?;
        self.cache.sync().map_err(io::Error::other)
    }

    fn restart_sequence(&self) -> u64 {
        self.cache.reset_sequence()
    }

    fn reset(&self) -> io::Result<()> {
        let extent = self.cache.extent();
        self.cache.reset_and_clear().map_err(io::Error::other)?;
        self.waiting.lock().records.clear();
        self.cache.note_extent(extent);
        Ok(())
    }

    fn set_extent(&self, extent: u64) -> io::Result<()> {
        self.backing.set_extent(extent)?;
        self.cache.note_extent(extent);
        Ok(())
    }

    fn extent(&self) -> io::Result<u64> {
        self.backing.extent()
    }
}
