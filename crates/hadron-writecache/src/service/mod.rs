//! The cache as a service: the machines, their bytes, one writer thread, and the calls of writers and readers.
//!
//! What it is for: [`WriteCache`] is the whole of it for a store. What it does not do: see the crate.
//!
//! What a caller must keep:
//! - After any [`WriteError::Failed`] abort what you were doing, then [`WriteCache::reset`] and [`WriteCache::set_extent`].
//! - Writes of one offset, and freeing it, do not overlap in time. An append-only cache takes offsets in ascending order.
//! - A commit is `flush`, `sync`, and then your own root. What was written since the last commit may be in the file, in part.
//!
//! Invariants: no lock is held during I/O; readers wait for nothing but each other's copies; dirty records are discarded by
//! `reset` and by `close`; every buffer goes back to its pool when the cache is dropped.

pub mod counters;
pub mod error;
mod map;
mod memory;
pub mod pool;
mod reader;
mod shared;
pub mod trail;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use self::counters::{Counters, add, count};
use self::error::{Failure, OpenError, ReadError, WriteError};
use self::pool::BufferPool;
use self::shared::{Core, Shared};
use crate::backing::Opener;
use crate::config::Config;
use crate::core::machine::{Forgotten, LargeToken};
use crate::core::{Completed, Reserved, Slot};
use crate::replicator::{Alone, Replicator, ReplicatorError};
use crate::sealed::{KIND_LIVE, checksum, encode_header};

/// A write cache in front of one file. All methods may be called from any thread.
#[derive(Debug)]
pub struct WriteCache {
    shared: Arc<Shared>,
    pool: Arc<BufferPool>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl WriteCache {
    /// A cache with a pool of its own and no replicas. `extent`: length of the file in bytes.
    pub fn open(config: Config, extent: u64, opener: Arc<dyn Opener>) -> Result<Self, OpenError> {
        let pool = Arc::new(BufferPool::new(config.buffer_len));
        Self::open_with(config, extent, opener, pool, Arc::new(Alone))
    }

    /// A cache with buffers of `pool`, whose sealed buffers go to `replicator`.
    ///
    /// Errors: settings out of bounds, a pool of another buffer length, a file that does not open.
    pub fn open_with(
        config: Config,
        extent: u64,
        opener: Arc<dyn Opener>,
        pool: Arc<BufferPool>,
        replicator: Arc<dyn Replicator>,
    ) -> Result<Self, OpenError> {
        config.check()?;
        if pool.buffer_len() != config.buffer_len {
            return Err(OpenError::PoolLength {
                pool: pool.buffer_len(),
                config: config.buffer_len,
            });
        }
        let shared = Arc::new(Shared::new(config, extent, &pool, opener, replicator)?);
        let for_writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("write-cache".to_owned())
            .spawn(move || writer::run(&for_writer))?;
        Ok(Self {
            shared,
            pool,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The pool the buffers come from.
    pub fn pool(&self) -> &Arc<BufferPool> {
        &self.pool
    }

    // ---- writing ----

    /// Copies a record into the cache, to be written at `offset`; with checksums on, 4 more bytes behind it.
    ///
    /// When this returns, readers get it, and the caller may change `data`. Waits while all buffers are dirty; it never waits
    /// for a flush of what was written before. An empty record is nothing to an append-only cache.
    ///
    /// Errors: as [`WriteError`] says; the record was then not taken.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), WriteError> {
        let crc = if self.shared.config.checksums {
            checksum(data)
        } else {
            0
        };
        self.write_with_checksum(offset, data, crc)
    }

    /// As [`WriteCache::write`], with a CRC-32C of `data` computed before; it must be 0 when checksums are off.
    pub fn write_with_checksum(&self, offset: u64, data: &[u8], crc: u32) -> Result<(), WriteError> {
        let trailer = crc.to_le_bytes();
        let parts = self.parts(offset, data, &trailer)?;
        let len = parts[0].len() + parts[1].len();
        if len + self.shared.config.header_len() == 0 {
            return self.shared.core.lock().check();
        }
        let slot = self.reserve(offset, len)?;
        if self.shared.config.header_len() == 0 {
            self.fill(slot, slot.position, &parts);
        } else {
            let header = encode_header(offset, slot.len, KIND_LIVE);
            self.fill(
                slot,
                slot.position - header.len() as u32,
                &[&header, parts[0], parts[1]],
            );
        }
        let mut core = self.shared.core.lock();
        let completed = core.machine.complete(offset, slot, false);
        if completed == Completed::Accepted {
            self.shared.map.publish(offset, slot);
        }
        self.wake_writer(&core);
        if completed == Completed::Discarded {
            return Err(if core.closed {
                WriteError::Closed
            } else {
                WriteError::Reset
            });
        }
        drop(core);
        count(&self.shared.tally.writes);
        add(&self.shared.tally.write_bytes, len as u64);
        Ok(())
    }

    /// Writes a record of any length to an append-only cache, through as many buffers as it takes and with no other write in
    /// between, and returns when it is written and replicated. Its checksum, if any, is behind its last byte. Readers do not
    /// find it in memory.
    ///
    /// Errors: a read-write cache refuses; else as [`WriteCache::write`]. After [`WriteError::TimedOut`] it is still on its way.
    pub fn write_large(&self, offset: u64, data: &[u8], timeout: Option<Duration>) -> Result<(), WriteError> {
        let trailer = checksum(data).to_le_bytes();
        let trailer = &trailer[..self.shared.config.trailer_len()];
        let mut parts: [&[u8]; 2] = [data, trailer];
        let len = data.len() + trailer.len();
        let token = self.begin_large(offset, len)?;
        let mut at = offset;
        let mut result = Ok(());
        while result.is_ok() && parts.iter().any(|part| !part.is_empty()) {
            result = self.write_chunk(token, at, &mut parts).map(|taken| at += taken);
        }
        self.shared.core.lock().machine.end_large(token);
        self.shared.progress.notify_all();
        result?;
        count(&self.shared.tally.large_writes);
        add(&self.shared.tally.write_bytes, len as u64);
        self.flush(timeout)
    }

    /// Drops a write that waits, because its place was freed. True: there was one and none of its bytes reach the file.
    /// False: there was none, or it is in the file or on its way. Readers find nothing from now on, either way.
    pub fn clear_write(&self, offset: u64) -> bool {
        count(&self.shared.tally.clears);
        let mut core = self.shared.core.lock();
        let found = core.machine.clear_write(offset);
        self.shared.map.free(offset);
        drop(core);
        if found {
            count(&self.shared.tally.clears_found);
        }
        found
    }

    // ---- reading ----

    /// The record at `offset` if it is in memory: `len` bytes of its own, without checksum. Waits for no I/O. `None`: not in
    /// memory, or the cache is closed.
    ///
    /// Errors: its checksum is wrong, or it has another length.
    pub fn read(&self, offset: u64, len: usize) -> Result<Option<Bytes>, ReadError> {
        reader::read(&self.shared, offset, len)
    }

    /// The record at `offset`, from memory or else from the file; many readers of one record cause one read of the file, and
    /// the next reader finds it in memory. `len` comes from the caller's address and sizes an allocation: bound it.
    ///
    /// Errors: as for `read`; the file cannot be read; the cache is closed.
    pub fn read_through(&self, offset: u64, len: usize) -> Result<Bytes, ReadError> {
        reader::read_through(&self.shared, offset, len)
    }

    /// True when the record was in memory at the moment of the call; it may be gone when this returns.
    pub fn is_present(&self, offset: u64) -> bool {
        self.shared.map.peek(offset).is_some()
    }

    // ---- flush, sync, extent ----

    /// Returns when everything written before the call is in the file and counts with the replicas. Not durable: see
    /// [`WriteCache::sync`]. Writers go on meanwhile; what they write belongs to the next flush. Flushes may overlap.
    ///
    /// `timeout`: `None` waits as long as it takes. After [`WriteError::TimedOut`] all is as before: flush again, or reset.
    pub fn flush(&self, timeout: Option<Duration>) -> Result<(), WriteError> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut core = self.shared.core.lock();
        core.check()?;
        let resets = core.resets;
        let set = core.machine.begin_flush();
        self.shared.work.notify_one();
        while !core.machine.is_flushed(set) {
            self.wait(&mut core, deadline)?;
            core.check_since(resets)?;
        }
        let sequence = core.written_sequence;
        drop(core);
        let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match self.shared.replicator.wait(sequence, rest) {
            Ok(()) => {}
            Err(ReplicatorError::TimedOut { .. }) => return Err(WriteError::TimedOut),
            Err(ReplicatorError::Closed) if self.shared.core.lock().closed => return Err(WriteError::Closed),
            Err(source) => return Err(self.shared.fail(Failure::Replicate { source })),
        }
        count(&self.shared.tally.flushes);
        Ok(())
    }

    /// Makes what is in the file durable (fdatasync), and tells the replicator. After an error it is unknown what is durable.
    pub fn sync(&self) -> Result<(), WriteError> {
        let core = self.shared.core.lock();
        core.check()?;
        let sequence = core.written_sequence;
        drop(core);
        let synced = self.shared.backing().sync();
        synced.map_err(|source| {
            let source = Arc::new(source);
            self.shared.fail(Failure::Sync { source })
        })?;
        self.shared.replicator.local_durable(sequence);
        count(&self.shared.tally.syncs);
        Ok(())
    }

    /// Gives the file this length, durably, and sends it along with the next buffers. Needed after each reset; follow it by a
    /// flush, so that replicas know.
    pub fn set_extent(&self, extent: u64) -> Result<(), WriteError> {
        let mut core = self.shared.core.lock();
        core.check()?;
        core.machine.set_extent(extent);
        drop(core);
        self.shared.backing().set_extent(extent).map_err(|source| {
            let source = Arc::new(source);
            self.shared.fail(Failure::Extent { extent, source })
        })
    }

    /// As [`WriteCache::set_extent`] for a caller that changes the length of the file itself: only tells the replicas.
    pub fn note_extent(&self, extent: u64) {
        self.shared.core.lock().machine.set_extent(extent);
    }

    /// The length last set.
    pub fn extent(&self) -> u64 {
        self.shared.core.lock().machine.extent()
    }

    /// Sequence of the last sealed buffer.
    pub fn sequence(&self) -> u64 {
        self.shared.core.lock().machine.sequence()
    }

    /// Begins sequences at 1 again and gives the last one, for the root of a commit. Call it after a flush.
    pub fn reset_sequence(&self) -> u64 {
        let mut core = self.shared.core.lock();
        core.written_sequence = 0;
        let sequence = core.machine.reset_sequence();
        drop(core);
        self.shared.replicator.reset_sequence();
        sequence
    }

    // ---- reset and close ----

    /// Discards what is not in the file and ends a failure. Records known to be in the file stay in memory, readers are not
    /// disturbed. Waiting writers and flushes get [`WriteError::Reset`]. Waits for the buffer that is being written, if any.
    /// Set the extent next.
    pub fn reset(&self) -> Result<(), WriteError> {
        self.reset_by(|core| core.machine.reset())
    }

    /// As [`WriteCache::reset`], and forgets every record, read ones too.
    pub fn reset_and_clear(&self) -> Result<(), WriteError> {
        self.reset_by(|core| core.machine.reset_and_clear())?;
        let forgotten = self.shared.reads.lock().clear();
        for old in &forgotten {
            self.shared.map.forget(old);
        }
        Ok(())
    }

    /// Takes the cache out of service for good. Dirty records are discarded: flush before. Waiting writers and flushes get
    /// [`WriteError::Closed`], readers find nothing. Returns when the writer thread is gone.
    pub fn close(&self) {
        self.shared.core.lock().closed = true;
        self.shared.work.notify_all();
        self.shared.progress.notify_all();
        self.shared.replicator.close();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the writer thread of a write cache panicked");
        }
        self.shared.map.clear();
        for memory in self.shared.all_memory() {
            memory.close();
        }
    }

    // ---- seeing ----

    /// What the cache did at `offset` of late, oldest first.
    pub fn history(&self, offset: u64) -> String {
        self.shared.map.history(offset)
    }

    /// Numbers of this moment.
    pub fn counters(&self) -> Counters {
        let core = self.shared.core.lock();
        let gauges = core.machine.gauges();
        let sequence = core.machine.sequence();
        drop(core);
        Counters {
            buffers: self.shared.all_memory().len() as u64,
            records: self.shared.map.len() as u64,
            dirty: gauges.dirty as u64,
            dirty_max: gauges.dirty_max as u64,
            clean: gauges.clean as u64,
            compactions: gauges.compactions,
            compacted_bytes: gauges.compacted_bytes,
            dropped: gauges.dropped,
            hot_moves: self.shared.reads.lock().moved(),
            sends: self.shared.replicator.send_count(),
            sequence,
            ..self.shared.tally.snapshot()
        }
    }

    // ---- inside ----

    /// Record and checksum as they stand in the file.
    fn parts<'a>(&self, offset: u64, data: &'a [u8], trailer: &'a [u8; 4]) -> Result<[&'a [u8]; 2], WriteError> {
        if self.shared.config.checksums {
            return Ok([data, trailer]);
        }
        match u32::from_le_bytes(*trailer) {
            0 => Ok([data, &[]]),
            checksum => Err(WriteError::NoChecksums { offset, checksum }),
        }
    }

    fn reserve(&self, offset: u64, len: usize) -> Result<Slot, WriteError> {
        let mut core = self.shared.core.lock();
        core.check()?;
        let resets = core.resets;
        let mut waited = false;
        loop {
            match core.machine.reserve(offset, len)? {
                Reserved::Room { slot, forgotten } => {
                    return Ok(self.take_room(core, slot, forgotten));
                }
                Reserved::Wait | Reserved::Discarded => {
                    if !std::mem::replace(&mut waited, true) {
                        count(&self.shared.tally.write_waits);
                    }
                    self.shared.work.notify_one();
                    self.wait(&mut core, None)?;
                    core.check_since(resets)?;
                }
            }
        }
    }

    /// Hides what the slot's buffer held before, with the core unlocked.
    fn take_room(&self, core: MutexGuard<'_, Core>, slot: Slot, forgotten: Option<Forgotten>) -> Slot {
        self.wake_writer(&core);
        drop(core);
        if let Some(forgotten) = forgotten {
            self.shared.map.forget(&forgotten);
        }
        slot
    }

    fn begin_large(&self, offset: u64, len: usize) -> Result<LargeToken, WriteError> {
        let mut core = self.shared.core.lock();
        core.check()?;
        let resets = core.resets;
        loop {
            if let Some(token) = core.machine.begin_large(offset, len)? {
                return Ok(token);
            }
            self.wait(&mut core, None)?;
            core.check_since(resets)?;
        }
    }

    /// Writes from the front of `parts` as much as one buffer takes, cuts that off, and gives its length.
    fn write_chunk(&self, token: LargeToken, at: u64, parts: &mut [&[u8]; 2]) -> Result<u64, WriteError> {
        let mut core = self.shared.core.lock();
        let resets = core.resets;
        let (slot, forgotten) = loop {
            core.check()?;
            match core.machine.reserve_chunk(token, at, parts[0].len() + parts[1].len()) {
                Reserved::Room { slot, forgotten } => break (slot, forgotten),
                Reserved::Discarded => return Err(WriteError::Reset),
                Reserved::Wait => {
                    self.shared.work.notify_one();
                    self.wait(&mut core, None)?;
                    core.check_since(resets)?;
                }
            }
        };
        self.take_room(core, slot, forgotten);
        let len = slot.len as usize;
        let (first, rest) = parts[0].split_at(len.min(parts[0].len()));
        let (second, end) = parts[1].split_at(len - first.len());
        self.fill(slot, slot.position, &[first, second]);
        *parts = [rest, end];
        let mut core = self.shared.core.lock();
        let completed = core.machine.complete(at, slot, true);
        self.wake_writer(&core);
        match completed {
            Completed::Discarded => Err(WriteError::Reset),
            Completed::Accepted | Completed::Hidden => Ok(len as u64),
        }
    }

    /// Copies to a reserved slot. It is pinned, so that only the close can have taken its memory; then nobody reads it.
    fn fill(&self, slot: Slot, start: u32, parts: &[&[u8]]) {
        let filled = self
            .shared
            .memory(slot.buffer)
            .fill(slot.generation, start as usize, parts);
        debug_assert!(filled || self.shared.core.lock().closed);
    }

    fn wake_writer(&self, core: &MutexGuard<'_, Core>) {
        if core.machine.wants_work() {
            self.shared.work.notify_one();
        }
    }

    fn wait(&self, core: &mut MutexGuard<'_, Core>, deadline: Option<Instant>) -> Result<(), WriteError> {
        let Some(deadline) = deadline else {
            self.shared.progress.wait(core);
            return Ok(());
        };
        if self.shared.progress.wait_until(core, deadline).timed_out() {
            return Err(WriteError::TimedOut);
        }
        Ok(())
    }

    fn reset_by(&self, reset: impl Fn(&mut Core) -> Vec<Forgotten>) -> Result<(), WriteError> {
        self.shared.map.pause_installs();
        let mut core = self.shared.core.lock();
        let forgotten = reset(&mut core);
        core.resets += 1;
        core.written_sequence = 0;
        self.shared.progress.notify_all();
        for old in &forgotten {
            self.shared.map.forget(old);
        }
        while core.machine.is_working() && !core.closed {
            self.shared.progress.wait(&mut core);
        }
        core.failure = None;
        let closed = core.closed;
        drop(core);
        self.shared.map.resume_installs();
        if closed {
            return Err(WriteError::Closed);
        }
        self.shared.replicator.reset_sequence();
        self.shared.work.notify_one();
        count(&self.shared.tally.resets);
        Ok(())
    }
}

impl Drop for WriteCache {
    fn drop(&mut self) {
        self.close();
    }
}

/// The file below, opened on its own, for stores that read and write their roots beside the cache.
impl WriteCache {
    /// The file as the cache has it open now.
    pub fn backing(&self) -> Arc<dyn crate::backing::BackingStore> {
        self.shared.backing()
    }

    /// Opens the file again, as the cache does after an error.
    pub fn reopen(&self) -> io::Result<()> {
        self.shared.reopen().map(drop)
    }
}
