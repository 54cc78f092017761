//! A replica that is being written: its lengths, stamp and writer.
//!
//! Invariant: `acked <= on_disk <= received`. `on_disk` and `last_sum` change together, so that a reader never pairs
//! a length with the checksum of another one. No I/O happens under the lock.

use crate::error::{ReplicaError, ReplicaResult};
use crate::pool_volume::PoolVolume;
use hadron_types::{Block, BlockId, GenerationStamp, ReplicaState};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Wakes the thread of a writer that must leave, by closing its socket.
pub type Interrupt = Arc<dyn Fn() + Send + Sync>;

/// A replica in state RBW, RWR or TEMPORARY.
pub(crate) struct ActiveReplica {
    pub(crate) id: BlockId,
    pub(crate) home: Arc<PoolVolume>,
    status: Mutex<Status>,
    changed: Condvar,
    /// Bytes of its files in the volume's usage figures.
    counted: AtomicI64,
    /// Held by the one recovery that works on the files; taken after the writer left, never with `status` held.
    pub(crate) recovering: Mutex<()>,
}

/// The part that changes.
pub(crate) struct Status {
    pub(crate) state: ReplicaState,
    pub(crate) stamp: GenerationStamp,
    pub(crate) received: u64,
    pub(crate) on_disk: u64,
    pub(crate) acked: u64,
    /// Checksum of the last chunk of `on_disk` while that chunk is partial.
    pub(crate) last_sum: Option<u32>,
    /// Space held for bytes to come.
    pub(crate) reserved: u64,
    /// Bytes known to survive loss of power, `None` while no writer asked for that. From then on the replica's names are
    /// kept durable, too, through new stamps and to its end.
    pub(crate) synced: Option<u64>,
    writer: Option<(u64, Interrupt)>,
    next_writer: u64,
    /// Set when the replica left the map: nobody may write to it any more.
    gone: bool,
}

impl ActiveReplica {
    pub(crate) fn new(block: Block, state: ReplicaState, home: Arc<PoolVolume>, len: u64) -> Self {
        Self {
            id: block.id,
            home,
            status: Mutex::new(Status {
                state,
                stamp: block.generation_stamp,
                received: len,
                on_disk: len,
                acked: len,
                last_sum: None,
                reserved: 0,
                synced: None,
                writer: None,
                next_writer: 0,
                gone: false,
            }),
            changed: Condvar::new(),
            counted: AtomicI64::new(0),
            recovering: Mutex::new(()),
        }
    }

    pub(crate) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock()
    }

    /// The directory its files are in.
    pub(crate) fn dir(&self, state: ReplicaState) -> PathBuf {
        match state {
            ReplicaState::Temporary => self.home.tmp(),
            _ => self.home.rbw(),
        }
    }

    /// Records bytes that `pwrite` has taken.
    pub(crate) fn advance(&self, on_disk: u64, last_sum: Option<u32>) {
        let mut status = self.status.lock();
        let grown = on_disk.saturating_sub(status.on_disk).min(status.reserved);
        status.received = status.received.max(on_disk);
        status.on_disk = on_disk;
        status.last_sum = last_sum;
        status.reserved -= grown;
        drop(status);
        // What is written needs no promise any more.
        self.home.volume.release(grown);
        self.changed.notify_all();
    }

    /// Its files grew or shrank.
    pub(crate) fn count_used(&self, bytes: i64) {
        self.counted.fetch_add(bytes, Ordering::Relaxed);
        self.home.add_used(bytes);
    }
    /// Its files' `bytes` are in the figures already.
    pub(crate) fn counted_before(&self, bytes: i64) {
        self.counted.store(bytes, Ordering::Relaxed);
    }
    /// Its files are gone.
    pub(crate) fn uncount_used(&self) {
        self.home.add_used(-self.counted.swap(0, Ordering::Relaxed));
    }
    /// Gives back the room held for bytes to come.
    pub(crate) fn end_reservation(&self) {
        let reserved = std::mem::take(&mut self.status.lock().reserved);
        self.home.volume.release(reserved);
    }

    /// Waits until `end` bytes are on disk, the replica is gone, or `patience` is over; true in the first case.
    pub(crate) fn wait_on_disk(&self, end: u64, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut status = self.status.lock();
        while status.on_disk < end && !status.gone {
            if self.changed.wait_until(&mut status, deadline).timed_out() {
                break;
            }
        }
        status.on_disk >= end
    }

    /// Registers a writer; its number is what [`Self::still_mine`] and [`Self::leave`] want.
    pub(crate) fn enter(&self, interrupt: Interrupt) -> u64 {
        let mut status = self.status.lock();
        status.next_writer += 1;
        let number = status.next_writer;
        status.writer = Some((number, interrupt));
        number
    }

    /// Errors unless writer `number` is still the one.
    pub(crate) fn still_mine(&self, number: u64) -> ReplicaResult<MutexGuard<'_, Status>> {
        let status = self.status.lock();
        match &status.writer {
            Some((current, _)) if *current == number && !status.gone => Ok(status),
            _ => Err(ReplicaError::Stopped(self.id)),
        }
    }

    /// Ends writer `number`.
    pub(crate) fn leave(&self, number: u64) {
        let mut status = self.status.lock();
        if status.writer.as_ref().is_some_and(|(current, _)| *current == number) {
            status.writer = None;
        }
        drop(status);
        self.end_reservation();
        self.changed.notify_all();
    }

    /// Interrupts the writer, if any, and waits until it has left.
    pub(crate) fn stop_writer(&self, patience: Duration) -> ReplicaResult<()> {
        let deadline = Instant::now() + patience;
        loop {
            let interrupt = match &self.status.lock().writer {
                None => return Ok(()),
                Some((_, interrupt)) => interrupt.clone(),
            };
            interrupt();
            let mut status = self.status.lock();
            if status.writer.is_some() && self.changed.wait_until(&mut status, deadline).timed_out() {
                return Err(ReplicaError::WriterBusy(self.id));
            }
        }
    }

    /// Marks the replica as out of the map and interrupts its writer without waiting.
    pub(crate) fn abandon(&self) {
        let interrupt = {
            let mut status = self.status.lock();
            status.gone = true;
            status.writer.as_ref().map(|(_, interrupt)| interrupt.clone())
        };
        if let Some(interrupt) = interrupt {
            interrupt();
        }
        self.changed.notify_all();
    }
}

impl Status {
    /// Length that may be read: acked bytes of an RBW, none of the others (Hadoop's −1).
    pub(crate) fn visible(&self) -> Option<u64> {
        (self.state == ReplicaState::Rbw).then_some(self.acked)
    }
}
