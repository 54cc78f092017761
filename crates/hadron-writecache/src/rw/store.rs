//! The read-write file store: allocator, root blocks and I/O together.
//!
//! What it is for: reserve a slot, write into it, publish it, commit; many threads at once. What it does not do: it does not
//! watch readers: who frees a slot sees to it that nobody reads it once a commit has passed, or recognises stale bytes.
//! Invariants: no lock is held across I/O; one commit, growth or shrinking runs at a time (`busy`); after a failed write or
//! sync nothing more is done until the file is opened again, because what is on disk is then unknown.

use std::io::ErrorKind;
use std::path::Path;

use bytes::Bytes;
use hadron_env::disk::{Disk, Open};
use hadron_env::durable::{commit_file, temporary_path};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::allocator::{Allocator, CommitSet, Slot, Space};
use super::error::RwError;
use super::geometry::{BLOCK_BYTES, Geometry, REGIONS_PER_PAGE, page_count, page_offset};
use super::page::{self, PageId};
use super::root::{MAX_USER_BYTES, Root};
use crate::io::RecordIo;

/// A store of records in slots of one file.
#[derive(Debug)]
pub struct RwStore {
    io: Box<dyn RecordIo>,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Debug)]
struct State {
    allocator: Allocator,
    /// The last durable commit.
    root: Root,
    /// A commit, growth or shrinking is on its way.
    busy: bool,
    poisoned: Option<String>,
}

impl RwStore {
    /// Makes the file of an empty store at `path`, durably; after a crash it is there whole or not at all. `store_id` is a
    /// random number. A file that was there is replaced.
    ///
    /// Errors: [`RwError::Geometry`], [`RwError::Io`].
    pub fn create(disk: &dyn Disk, path: &Path, geometry: Geometry, store_id: u64) -> Result<(), RwError> {
        geometry.check()?;
        let make = || {
            let temporary = temporary_path(path);
            let file = disk.open(&temporary, Open::TRUNCATE)?;
            file.set_len(geometry.base())?;
            file.write_all_at(&Root::first(geometry, store_id).encode(), Root::offset(0))?;
            file.sync_all()?;
            commit_file(disk, &temporary, path)
        };
        make().map_err(RwError::io("make the store", 0))
    }

    /// Opens the store in `io` at its last commit and cuts off what a later one left at the end.
    ///
    /// Errors: [`RwError::NoRoot`], [`RwError::Version`], [`RwError::Damaged`]; [`RwError::Io`] when reading fails.
    pub fn open(io: Box<dyn RecordIo>) -> Result<Self, RwError> {
        // What a killed process left in the system's cache must be durable before a commit builds on it.
        io.sync().map_err(RwError::io("sync what is there", 0))?;
        let read = |offset, what| io.read(offset, BLOCK_BYTES).map_err(RwError::io(what, offset));
        let root = Root::choose([
            &read(0, "read root block")?,
            &read(BLOCK_BYTES as u64, "read root block")?,
        ])?;
        let mut entries = Vec::new();
        for page in 0..page_count(root.regions) {
            let offset = page_offset(page, root.copy(page));
            let id = PageId {
                store_id: root.store_id,
                page,
                sequence: root.sequence,
            };
            let decoded = page::decode(&read(offset, "read metadata page")?, id, &root.geometry);
            let decoded = decoded.map_err(|reason| RwError::Damaged { offset, reason })?;
            let count = (root.regions - page * REGIONS_PER_PAGE).min(REGIONS_PER_PAGE);
            entries.extend(decoded.into_iter().take(count as usize));
        }
        let (expected, actual) = (root.geometry.extent(root.regions), extent(&*io)?);
        if actual < expected {
            let reason = format!("the file ends here, its last commit has {expected} bytes");
            return Err(RwError::Damaged { offset: actual, reason });
        }
        if actual > expected {
            io.set_extent(expected)
                .map_err(RwError::io("cut off uncommitted regions", expected))?;
        }
        let state = State {
            allocator: Allocator::new(root.geometry, entries),
            root,
            busy: false,
            poisoned: None,
        };
        Ok(Self {
            io,
            state: Mutex::new(state),
            idle: Condvar::new(),
        })
    }

    /// Gives out a slot for `len` bytes, growing the file when it must. Until [`Self::publish`] a crash, or [`Self::abort`],
    /// gives it back.
    ///
    /// Errors: [`RwError::TooLarge`], [`RwError::Full`], [`RwError::Io`] (no room on the disk: nothing changed),
    /// [`RwError::Poisoned`].
    pub fn reserve(&self, len: u64) -> Result<Slot, RwError> {
        let mut state = self.lock()?;
        loop {
            if let Some(slot) = state.allocator.reserve(len)? {
                return Ok(slot);
            }
            if state.busy {
                self.idle.wait(&mut state);
                state.check()?;
                continue;
            }
            let regions = state.allocator.growth()?;
            let extent = state.root.geometry.extent(regions);
            state.busy = true;
            let grown = MutexGuard::unlocked(&mut state, || self.io.set_extent(extent));
            state.busy = false;
            self.idle.notify_all();
            match grown {
                Ok(()) => state.allocator.grow(regions),
                Err(error) => {
                    let no_room = error.kind() == ErrorKind::StorageFull;
                    let error = RwError::io("extend the file", extent)(error);
                    if !no_room {
                        state.poisoned.get_or_insert_with(|| error.to_string());
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Writes `bytes` into a slot, `at` bytes from its start. Of a published slot only write what was not committed yet:
    /// a crash in between would leave old and new mixed.
    ///
    /// Errors: [`RwError::BadSlot`], [`RwError::Io`] (the store is poisoned then), [`RwError::Poisoned`].
    pub fn write(&self, slot: Slot, at: u64, bytes: &[u8]) -> Result<(), RwError> {
        self.lock()?.allocator.check(slot, at, bytes.len() as u64)?;
        let offset = slot.offset + at;
        self.io
            .write(offset, bytes)
            .map_err(|error| self.poison("write record", offset, error))
    }

    /// Reads `len` bytes of a slot, from `at` bytes after its start on.
    ///
    /// Errors: [`RwError::BadSlot`], [`RwError::Io`].
    pub fn read(&self, slot: Slot, at: u64, len: usize) -> Result<Bytes, RwError> {
        self.state.lock().allocator.check(slot, at, len as u64)?;
        let offset = slot.offset + at;
        self.io.read(offset, len).map_err(RwError::io("read record", offset))
    }

    /// Lets a slot be part of the next commit; all of its bytes were written. Errors: [`RwError::BadSlot`],
    /// [`RwError::Poisoned`].
    pub fn publish(&self, slot: Slot) -> Result<(), RwError> {
        self.lock()?.allocator.publish(slot)
    }

    /// Reserves, writes and publishes. Errors: as for each.
    pub fn put(&self, bytes: &[u8]) -> Result<Slot, RwError> {
        let slot = self.reserve(bytes.len() as u64)?;
        self.write(slot, 0, bytes)?;
        self.publish(slot)?;
        Ok(slot)
    }

    /// Takes a slot back, reserved or published; it is given out again when a commit without it is durable. What waits in
    /// memory to be written into it is dropped, unless a commit is on its way, which may list the slot. Errors: [`RwError::BadSlot`], [`RwError::Poisoned`].
    pub fn free(&self, slot: Slot) -> Result<(), RwError> {
        let mut state = self.lock()?;
        state.allocator.check(slot, 0, 0)?;
        if !state.busy {
            // Before the slot can be given out again, or this would drop its next record.
            self.io.clear(slot.offset, slot.capacity);
        }
        state.allocator.free(slot)
    }

    /// Copies the first `len` bytes of a published slot into a lower region, publishes the copy and frees the slot; `None`
    /// when no lower region has room. The caller changes its index to the new slot. With the next two commits the end of the
    /// file, emptied so, is cut. Errors: as for reading, writing and freeing.
    pub fn move_down(&self, slot: Slot, len: usize) -> Result<Option<Slot>, RwError> {
        let Some(lower) = self.lock()?.allocator.reserve_below(slot)? else {
            return Ok(None);
        };
        let copied = self.read(slot, 0, len).and_then(|bytes| self.write(lower, 0, &bytes));
        if let Err(error) = copied {
            // A poisoned store gives nothing out any more; else the slot must not leak.
            let _poisoned = self.free(lower);
            return Err(error);
        }
        self.publish(lower)?;
        self.free(slot)?;
        Ok(Some(lower))
    }

    /// Makes all that was published and freed before, and all that was written, durable as one step, together with `user`,
    /// the caller's part of the root block. Others may go on meanwhile; what they do belongs to this commit or the next.
    /// Returns the number of the commit; when there is nothing to commit it only syncs, and returns the last.
    ///
    /// Errors: [`RwError::UserTooLong`], [`RwError::Poisoned`], [`RwError::Io`]: whether the commit counts is then known
    /// when the store is opened again.
    pub fn commit(&self, user: &[u8]) -> Result<u64, RwError> {
        if user.len() > MAX_USER_BYTES {
            return Err(RwError::UserTooLong {
                len: user.len(),
                max: MAX_USER_BYTES,
            });
        }
        let mut state = self.lock_idle()?;
        if state.allocator.is_clean() && state.root.user == user {
            let sequence = state.root.sequence;
            drop(state);
            self.sync()?;
            return Ok(sequence);
        }
        state.busy = true;
        let set = state.allocator.begin_commit();
        let mut root = state.root.clone();
        root.user = user.to_vec();
        drop(state);
        let written = self.write_commit(&mut root, &set);
        let mut state = self.state.lock();
        state.busy = false;
        self.idle.notify_all();
        match written {
            Ok(()) => {
                let sequence = root.sequence;
                state.root = root;
                state.allocator.finish_commit();
                Ok(sequence)
            }
            Err(error) => {
                state.poisoned = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Makes all that was written durable, without a commit: enough for more bytes of a slot that was committed.
    ///
    /// Errors: [`RwError::Io`] (the store is poisoned then), [`RwError::Poisoned`].
    pub fn sync(&self) -> Result<(), RwError> {
        drop(self.lock()?);
        self.io.sync().map_err(|error| self.poison("sync", 0, error))
    }

    /// Back to the last commit: what was reserved, published and freed since is forgotten, and so is what waits in memory.
    ///
    /// Errors: [`RwError::Poisoned`], [`RwError::Io`].
    pub fn abort(&self) -> Result<(), RwError> {
        let mut state = self.lock_idle()?;
        state.busy = true;
        let reset = MutexGuard::unlocked(&mut state, || self.io.reset());
        state.busy = false;
        self.idle.notify_all();
        state.allocator.abort();
        drop(state);
        reset.map_err(|error| self.poison("reset", 0, error))
    }

    /// The caller's part of the last commit's root block.
    pub fn user(&self) -> Vec<u8> {
        self.state.lock().root.user.clone()
    }

    /// Number of the last commit; 0 for a new store.
    pub fn sequence(&self) -> u64 {
        self.state.lock().root.sequence
    }

    /// Sealed buffers that carried the last commit.
    pub fn block_sequence(&self) -> u64 {
        self.state.lock().root.block_sequence
    }

    /// Published slots by offset; after opening: those of the last commit. Each record must tell its own length.
    pub fn slots(&self) -> Vec<Slot> {
        self.state.lock().allocator.slots()
    }

    /// How the room is used.
    pub fn space(&self) -> Space {
        self.state.lock().allocator.space()
    }

    /// Pages over their older copies, everything durable, then the root over the older one.
    fn write_commit(&self, root: &mut Root, set: &CommitSet) -> Result<(), RwError> {
        root.sequence += 1;
        root.regions = set.regions;
        for (page, entries) in &set.pages {
            root.flip(*page);
            let id = PageId {
                store_id: root.store_id,
                page: *page,
                sequence: root.sequence,
            };
            let offset = page_offset(*page, root.copy(*page));
            let block = page::encode(id, entries);
            self.io
                .write(offset, &block)
                .map_err(RwError::io("write metadata page", offset))?;
        }
        self.io.sync().map_err(RwError::io("sync records and metadata", 0))?;
        root.block_sequence = self.io.restart_sequence();
        let offset = Root::offset(root.sequence);
        self.io
            .write(offset, &root.encode())
            .map_err(RwError::io("write root block", offset))?;
        self.io.sync().map_err(RwError::io("sync root block", offset))?;
        if set.shrinks {
            let extent = root.geometry.extent(set.regions);
            self.io
                .set_extent(extent)
                .map_err(RwError::io("cut unused regions", extent))?;
        }
        Ok(())
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, RwError> {
        let state = self.state.lock();
        state.check()?;
        Ok(state)
    }

    /// Waits until no commit, growth or shrinking is on its way.
    fn lock_idle(&self) -> Result<MutexGuard<'_, State>, RwError> {
        let mut state = self.state.lock();
        self.idle.wait_while(&mut state, |state| state.busy);
        state.check()?;
        Ok(state)
    }

    fn poison(&self, what: &'static str, offset: u64, error: std::io::Error) -> RwError {
        let error = RwError::io(what, offset)(error);
        self.state.lock().poisoned.get_or_insert_with(|| error.to_string());
        error
    }
}

impl State {
    fn check(&self) -> Result<(), RwError> {
        match &self.poisoned {
            None => Ok(()),
            Some(reason) => Err(RwError::Poisoned { reason: reason.clone() }),
        }
    }
}

fn extent(io: &dyn RecordIo) -> Result<u64, RwError> {
    io.extent().map_err(RwError::io("ask for the length", 0))
}
