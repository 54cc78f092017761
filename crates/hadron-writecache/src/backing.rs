//! The file below the cache, behind a trait, and that trait on a [`hadron_env::disk::DiskFile`].
//!
//! What it is for: the service writes whole buffers and reads single records; tests put a disk below that fails, forgets or
//! tears. What it does not do: no cache, no thread, no retry; the service reopens through [`Opener`] and tries again.
//! Invariants: a write that returned is seen by every later read; it survives loss of power only after [`BackingStore::sync`].
//!
//! No lock excludes changes of the file's length from reads and writes. The design this follows needed one because its
//! platform's positional calls misbehaved around a concurrent truncate; `pread`, `pwrite` and `ftruncate` are each atomic
//! with regard to the file's length, and descriptors have no shared position here.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use hadron_env::disk::{Disk, DiskFile, Open};

/// Parts handed to one gathered write (the kernel's limit, IOV_MAX).
pub const MAX_GATHERED_PARTS: usize = 1024;

/// Bytes and their place in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed<'a> {
    /// File offset of the first byte.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// One file, written by one thread and read by many.
pub trait BackingStore: fmt::Debug + Send + Sync {
    /// Writes all parts; on an error any of them may have been written, wholly or in part. Parts should be in ascending
    /// order of offset; those that touch become one call to the system.
    fn write_gathered(&self, parts: &[Placed<'_>]) -> io::Result<()>;
    /// Fills `buffer` from `offset` on; `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Makes all that was written durable. After an error it is unknown what is durable: do not try again, recover.
    fn sync(&self) -> io::Result<()>;
    /// Gives the file this length, in bytes, durably (data and attributes).
    fn set_extent(&self, extent: u64) -> io::Result<()>;
    /// Length of the file in bytes.
    fn extent(&self) -> io::Result<u64>;
}

/// Opens the backing store, and opens it again when a write failed on a stale handle.
pub trait Opener: fmt::Debug + Send + Sync {
    /// Opens it; the caller drops what it had.
    fn open(&self) -> io::Result<Arc<dyn BackingStore>>;
}

/// A [`BackingStore`] on one file of a [`Disk`].
#[derive(Debug)]
pub struct DiskBacking {
    file: Arc<dyn DiskFile>,
}

impl DiskBacking {
    /// Puts an open file behind the trait.
    pub fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file }
    }
}

impl BackingStore for DiskBacking {
    fn write_gathered(&self, parts: &[Placed<'_>]) -> io::Result<()> {
        let mut rest = parts;
        while let Some(first) = rest.first() {
            let run = run_len(rest);
            if run == 1 {
                self.file.write_all_at(first.bytes, first.offset)?;
            } else {
                let slices: Vec<_> = rest[..run].iter().map(|part| IoSlice::new(part.bytes)).collect();
                self.file.write_vectored_at(&slices, first.offset)?;
            }
            rest = &rest[run..];
        }
        Ok(())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_extent(&self, extent: u64) -> io::Result<()> {
        self.file.set_len(extent)?;
        self.file.sync_all()
    }

    fn extent(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// How many parts from the first on touch each other, at most [`MAX_GATHERED_PARTS`]. `parts` is not empty.
fn run_len(parts: &[Placed<'_>]) -> usize {
    let touches = |pair: &[Placed<'_>]| pair[0].offset + pair[0].bytes.len() as u64 == pair[1].offset;
    1 + parts
        .windows(2)
        .take(MAX_GATHERED_PARTS - 1)
        .take_while(|pair| touches(pair))
        .count()
}

/// Opens one path of a disk for reading and writing, making it when absent.
#[derive(Debug)]
pub struct DiskOpener {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl DiskOpener {
    /// For the file `path` of `disk`.
    pub fn new(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> Self {
        Self {
            disk,
            path: path.into(),
        }
    }
}

impl Opener for DiskOpener {
    fn open(&self) -> io::Result<Arc<dyn BackingStore>> {
        Ok(Arc::new(DiskBacking::new(self.disk.open(&self.path, Open::CREATE)?)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hadron_env::disk::SimDisk;

    use super::*;

    // covers: WC-14, WC-37
    #[test]
    fn parts_land_at_their_offsets_and_neighbours_share_a_call() {
        let disk = SimDisk::new();
        let store = DiskOpener::new(Arc::new(disk.clone()), "/f").open().unwrap();
        let part = |offset, bytes| Placed { offset, bytes };
        store
            .write_gathered(&[part(0, b"ab"), part(2, b"cd"), part(8, b"z")])
            .unwrap();
        assert_eq!(disk.read(Path::new("/f"), 99).unwrap(), b"abcd\0\0\0\0z");
        assert_eq!(run_len(&[part(0, b"ab"), part(2, b"cd"), part(8, b"z")]), 2);
        let many = vec![part(0, b""); MAX_GATHERED_PARTS + 5];
        assert_eq!(run_len(&many), MAX_GATHERED_PARTS);
        // The length may change under readers and writers: each call sees the old or the new one.
        store.set_extent(4).unwrap();
        let mut two = [0; 2];
        store.read_exact_at(&mut two, 2).unwrap();
        assert_eq!((&two, store.extent().unwrap()), (b"cd", 4));
        assert_eq!(
            store.read_exact_at(&mut two, 3).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
