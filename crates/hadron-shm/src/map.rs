//! Maps of files into memory: the only home of `unsafe` in the workspace.
//!
//! [`SharedMap`] is read and written by two processes, and so is only seen as atomic words. [`MappedFile`] is a block file
//! mapped for reading, which can be locked into memory.
//! Invariants: a map is unmapped exactly once, when its owner is dropped; nothing borrowed from it outlives it; no
//! access leaves the mapped length.

#![allow(unsafe_code)]

use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Address and length of a mapping that this value owns.
#[derive(Debug)]
struct Region {
    address: NonNull<u8>,
    len: usize,
}

impl Region {
    fn new(fd: impl AsFd, len: usize, protection: ProtFlags) -> io::Result<Self> {
        // SAFETY: the kernel chooses the address, so that nothing mapped before is replaced; the length is not 0, which
        // mmap refuses itself, and the result is owned by the new value alone.
        let address = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, fd, 0)? };
        let address = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mmap returned address 0"))?;
        Ok(Self { address, len })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: address and length are those mmap gave, and nobody unmaps them elsewhere; borrows end before the owner.
        if let Err(error) = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.len) } {
            // Only wrong arguments can fail: leaving the region mapped is safe.
            debug_assert!(false, "munmap failed: {error}");
        }
    }
}

// SAFETY: a region is an address range of the process, valid on each of its threads; what is in it is only seen through
// atomics (`SharedMap`) or read (`MappedFile`).
unsafe impl Send for Region {}
// SAFETY: as above; no method changes the region itself.
unsafe impl Sync for Region {}

/// Memory that this and another process change, seen as atomic words.
#[derive(Debug)]
pub(crate) struct SharedMap(Region);

impl SharedMap {
    /// Maps the first `len` bytes of `file` for reading and writing. `len` must not be beyond the file's end, and the
    /// file's owner must not shrink it.
    pub(crate) fn new(file: impl AsFd, len: usize) -> io::Result<Self> {
        Region::new(file, len, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    /// The 64-bit word at `offset`; `None` unless it is inside and aligned.
    pub(crate) fn word(&self, offset: usize) -> Option<&AtomicU64> {
        let end = offset.checked_add(size_of::<u64>())?;
        if end > self.0.len || !offset.is_multiple_of(align_of::<AtomicU64>()) {
            return None;
        }
        // SAFETY: the word lies inside the mapping (checked above), which lives as long as `self`; mappings start at a
        // page's boundary, so the address is aligned; all bits are valid for an AtomicU64; every access of this crate,
        // and by protocol of the other process, is atomic.
        Some(unsafe { AtomicU64::from_ptr(self.0.address.as_ptr().add(offset).cast()) })
    }
}

/// A file mapped for reading from its start.
///
/// Block files are only changed behind their readers' backs by whoever has write access to the DataNode's directories:
/// the DataNode cuts a finished replica only when a client truncates the file or its last block recovers. A page behind
/// the new end raises SIGBUS, as with every mapping of a file; anchored readers keep the DataNode from unlocking it, not
/// from cutting it.
#[derive(Debug)]
pub struct MappedFile {
    region: Region,
    locked: AtomicBool,
}

impl MappedFile {
    /// Maps the first `len` bytes. Errors: `len` is 0 or beyond the file's end; what mmap says.
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        let there = file.metadata()?.len();
        if len == 0 || len as u64 > there {
            let text = format!("cannot map {len} bytes of a file of {there} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let region = Region::new(file, len, ProtFlags::READ)?;
        Ok(Self {
            region,
            locked: AtomicBool::new(false),
        })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the region is mapped readable for all of its length as long as `self` lives. The bytes of a finished
        // replica do not change; see the type for who could cut the file.
        unsafe { std::slice::from_raw_parts(self.region.address.as_ptr(), self.region.len) }
    }

    /// Mapped bytes; never 0.
    pub fn len(&self) -> usize {
        self.region.len
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.region.len == 0
    }

    /// Reads all pages into memory and keeps them there until [`Self::unlock`] or drop. Errors: ENOMEM or EPERM beyond
    /// the process's limit of locked memory (`ulimit -l`).
    pub fn lock(&self) -> io::Result<()> {
        // SAFETY: the region is mapped; locking does not change what is in it.
        unsafe { rustix::mm::mlock(self.region.address.as_ptr().cast(), self.region.len)? };
        self.locked.store(true, Ordering::Release);
        Ok(())
    }

    /// Lets the kernel have the pages again.
    pub fn unlock(&self) -> io::Result<()> {
        // SAFETY: as in `lock`.
        unsafe { rustix::mm::munlock(self.region.address.as_ptr().cast(), self.region.len)? };
        self.locked.store(false, Ordering::Release);
        Ok(())
    }

    /// Whether [`Self::lock`] was the last of the two.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Acquire)
    }

    /// Tells the kernel that the bytes are read in order.
    pub fn advise_sequential(&self) -> io::Result<()> {
        // SAFETY: this advice changes no contents.
        unsafe { rustix::mm::madvise(self.region.address.as_ptr().cast(), self.region.len, Advice::Sequential)? };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_mapped_file_is_its_bytes_and_ends_where_asked() {
        let map = MappedFile::new(&file_of(b"0123456789"), 7).unwrap();
        assert_eq!((map.bytes(), map.len()), (&b"0123456"[..], 7));
        assert!(MappedFile::new(&file_of(b"0123"), 5).is_err());
        assert!(MappedFile::new(&file_of(b""), 0).is_err());
    }

    #[test]
    fn pages_are_locked_until_they_are_unlocked_or_dropped() {
        let locked_kib = || {
            let status = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let lines = status.lines().filter_map(|line| line.strip_prefix("Locked:"));
            lines
                .map(|rest| rest.trim_end_matches("kB").trim().parse::<u64>().unwrap())
                .sum::<u64>()
        };
        let map = MappedFile::new(&file_of(&[7; 64 * 1024]), 64 * 1024).unwrap();
        let before = locked_kib();
        map.lock().unwrap();
        assert!(map.is_locked());
        assert_eq!(locked_kib() - before, 64);
        map.unlock().unwrap();
        assert_eq!(locked_kib(), before);
        map.lock().unwrap();
        drop(map);
        assert_eq!(locked_kib(), before);
    }

    #[test]
    fn words_outside_or_astride_are_not_to_be_had() {
        let map = SharedMap::new(file_of(&[0; 4096]), 4096).unwrap();
        assert!(map.word(0).is_some() && map.word(4088).is_some());
        assert!(map.word(4096).is_none() && map.word(4).is_none() && map.word(usize::MAX - 3).is_none());
    }
}
