//! The append-only file store: buffers in front of one file, commits behind each other.
//!
//! What it is for: one owner appends and commits, any number of [`WormReader`]s read what was committed. What it does not do:
//! no locks; who shares a [`WormFile`] among threads puts a queue in front of it. Invariants: each buffer becomes one write,
//! in order, at the offset its records were promised; after a failed write or sync nothing more is done until the file is
//! opened again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hadron_env::disk::{Disk, Open};
use hadron_env::durable::{commit_file, temporary_path};

use super::error::WormError;
use super::frame::{BLOCK_BYTES, FIRST_COMMIT_AT, Header, MAX_USER_BYTES, Sum, TRAILER_BYTES, Trailer};
use super::scan::{Commit, scan};
use crate::io::RecordIo;

/// Where a record lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// File offset of the first byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// What opening found beside the commits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The bytes given when the file was made.
    pub user: Vec<u8>,
    /// Bytes cut off behind the last commit: an unfinished one. For the log.
    pub cut_bytes: u64,
}

/// The one writer of an append-only file.
#[derive(Debug)]
pub struct WormFile {
    io: Arc<dyn RecordIo>,
    id: u64,
    /// Bytes appended and not yet handed to `io`; less than `buffer_len`, and begins at a block's border.
    buffer: Vec<u8>,
    buffer_len: usize,
    /// Offset of the buffer's first byte.
    written: u64,
    /// Where the commit being built begins.
    start: u64,
    /// Over all of that commit that was handed to `io`.
    sum: Sum,
    /// Of the last commit.
    sequence: u64,
    /// End of the last durable commit, shared with readers.
    committed: Arc<AtomicU64>,
    /// Blank room is there up to here.
    prepared: u64,
    poisoned: Option<String>,
}

impl WormFile {
    /// Makes an empty file at `path`, durably; after a crash it is there whole or not at all. `id` is a random number, `user`
    /// at most [`MAX_USER_BYTES`] of the caller's own. A file that was there is replaced.
    ///
    /// Errors: [`WormError::UserTooLong`], [`WormError::Io`].
    pub fn create(disk: &dyn Disk, path: &Path, id: u64, user: &[u8]) -> Result<(), WormError> {
        if user.len() > MAX_USER_BYTES {
            return Err(WormError::UserTooLong {
                len: user.len(),
                max: MAX_USER_BYTES,
            });
        }
        let header = Header {
            id,
            user: user.to_vec(),
        };
        let make = || {
            let temporary = temporary_path(path);
            let file = disk.open(&temporary, Open::TRUNCATE)?;
            file.write_all_at(&header.encode(), 0)?;
            file.sync_all()?;
            commit_file(disk, &temporary, path)
        };
        make().map_err(WormError::io("make the file", 0))
    }

    /// Opens the file in `io` behind its last commit; `visit` sees each commit, in order. Unfinished bytes are cut off, blank
    /// room ([`Self::prepare`]) stays. `buffer_len`: bytes of a write, a multiple of 4096.
    ///
    /// Errors: [`WormError::NoHeader`], [`WormError::Version`], [`WormError::Damaged`], [`WormError::BufferLen`],
    /// [`WormError::Io`].
    pub fn open(
        io: Arc<dyn RecordIo>,
        buffer_len: usize,
        visit: impl FnMut(Commit),
    ) -> Result<(Self, Opened), WormError> {
        if buffer_len == 0 || !buffer_len.is_multiple_of(BLOCK_BYTES) {
            return Err(WormError::BufferLen { len: buffer_len });
        }
        // What a killed process left in the system's cache must be durable before anything is built on it.
        io.sync().map_err(WormError::io("sync what is there", 0))?;
        let extent = io.extent().map_err(WormError::io("ask for the length", 0))?;
        if extent < FIRST_COMMIT_AT {
            return Err(WormError::NoHeader { reason: "too short" });
        }
        let header = Header::decode(&io.read(0, BLOCK_BYTES).map_err(WormError::io("read header", 0))?)?;
        let found = scan(&*io, header.id, extent, visit)?;
        let cut_bytes = if found.tail_is_blank { 0 } else { extent - found.end };
        if cut_bytes > 0 {
            io.set_extent(found.end)
                .map_err(WormError::io("cut off the torn tail", found.end))?;
        }
        let file = Self {
            io,
            id: header.id,
            buffer: Vec::with_capacity(buffer_len),
            buffer_len,
            written: found.end,
            start: found.end,
            sum: Sum::default(),
            sequence: found.sequence,
            committed: Arc::new(AtomicU64::new(found.end)),
            prepared: extent - cut_bytes,
            poisoned: None,
        };
        let opened = Opened {
            user: header.user,
            cut_bytes,
        };
        Ok((file, opened))
    }

    /// Puts a record behind the last one, whatever its size, and tells where it will lie. It can be read, and survives a
    /// crash, once committed.
    ///
    /// Errors: [`WormError::Io`] (the store is poisoned then), [`WormError::Poisoned`].
    pub fn append(&mut self, record: &[u8]) -> Result<Address, WormError> {
        self.check()?;
        let address = Address {
            offset: self.written + self.buffer.len() as u64,
            len: record.len() as u64,
        };
        self.fill(record)?;
        Ok(address)
    }

    /// Makes all that was appended durable as one step: pads it to a block, whose end proves the whole, writes what is in
    /// memory, syncs once. Returns the commit; `None` when nothing was appended since the last one.
    ///
    /// Errors: [`WormError::Poisoned`], [`WormError::Io`]: whether the commit counts is then known when the file is opened
    /// again.
    pub fn commit(&mut self) -> Result<Option<Commit>, WormError> {
        self.check()?;
        let records_end = self.written + self.buffer.len() as u64;
        if records_end == self.start {
            return Ok(None);
        }
        let end = (records_end + TRAILER_BYTES as u64).next_multiple_of(BLOCK_BYTES as u64);
        // Less than a block: the trailer is the last thing in the block it starts in.
        let padding = (end - records_end) as usize - TRAILER_BYTES;
        self.fill(&[0; BLOCK_BYTES][..padding])?;
        let trailer = Trailer {
            id: self.id,
            start: self.start,
            sequence: self.sequence + 1,
            len: records_end - self.start,
            block_sequence: 0,
        };
        let mut sum = self.sum.clone();
        sum.update(&self.buffer);
        let trailer_bytes = trailer.encode(sum);
        self.fill(&trailer_bytes)?;
        if !self.buffer.is_empty() {
            self.write_buffer()?;
        }
        let synced = self.io.sync();
        self.poison_on_error("sync commit", self.start, synced)?;
        self.committed.store(end, Ordering::Release);
        self.sum = Sum::default();
        self.start = end;
        self.sequence = trailer.sequence;
        Ok(Some(Commit {
            sequence: trailer.sequence,
            start: trailer.start,
            len: trailer.len,
            end,
            block_sequence: trailer.block_sequence,
        }))
    }

    /// Makes the file `bytes` longer than its commits need now, with zeros that are durable, so that commits within them change
    /// nothing of the file system's own. Costs a write of what is missing.
    ///
    /// Errors: as for [`Self::append`].
    pub fn prepare(&mut self, bytes: u64) -> Result<(), WormError> {
        self.check()?;
        let end = (self.written + self.buffer.len() as u64 + bytes).next_multiple_of(BLOCK_BYTES as u64);
        let mut at = self.prepared.max(self.written);
        if at >= end {
            return Ok(());
        }
        let zeros = vec![0; self.buffer_len];
        while at < end {
            let len = (end - at).min(zeros.len() as u64);
            let written = self.io.write(at, &zeros[..len as usize]);
            self.poison_on_error("prepare room", at, written)?;
            at += len;
        }
        let synced = self.io.sync();
        self.poison_on_error("prepare room", end, synced)?;
        self.prepared = end;
        Ok(())
    }

    /// Number of the last commit; 0: none.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Offset behind the last commit.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// A reader of what is committed, now and later.
    pub fn reader(&self) -> WormReader {
        WormReader {
            io: Arc::clone(&self.io),
            committed: Arc::clone(&self.committed),
        }
    }

    fn fill(&mut self, mut bytes: &[u8]) -> Result<(), WormError> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(self.buffer_len - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if self.buffer.len() == self.buffer_len {
                self.write_buffer()?;
            }
        }
        Ok(())
    }

    fn write_buffer(&mut self) -> Result<(), WormError> {
        let at = self.written;
        let written = self.io.write(at, &self.buffer);
        self.poison_on_error("write buffer", at, written)?;
        self.sum.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.prepared = self.prepared.max(self.written);
        self.buffer.clear();
        Ok(())
    }

    fn check(&self) -> Result<(), WormError> {
        match &self.poisoned {
            None => Ok(()),
            Some(reason) => Err(WormError::Poisoned { reason: reason.clone() }),
        }
    }

    fn poison_on_error(
        &mut self,
        what: &'static str,
        offset: u64,
        result: std::io::Result<()>,
    ) -> Result<(), WormError> {
        result.map_err(|error| {
            let error = WormError::io(what, offset)(error);
            self.poisoned = Some(error.to_string());
            error
        })
    }
}

/// Reads what was committed. Clones share the file.
#[derive(Clone, Debug)]
pub struct WormReader {
    io: Arc<dyn RecordIo>,
    committed: Arc<AtomicU64>,
}

impl WormReader {
    /// The bytes at `address`.
    ///
    /// Errors: [`WormError::BadAddress`] when no commit has them, [`WormError::Io`].
    pub fn read(&self, address: Address) -> Result<Bytes, WormError> {
        let Address { offset, len } = address;
        let bad = || WormError::BadAddress { offset, len };
        let end = offset.checked_add(len).ok_or_else(bad)?;
        if offset < FIRST_COMMIT_AT || end > self.committed.load(Ordering::Acquire) {
            return Err(bad());
        }
        let len = usize::try_from(len).map_err(|_| bad())?;
        self.io.read(offset, len).map_err(WormError::io("read record", offset))
    }
}
