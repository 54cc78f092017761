//! Files and directories behind object-safe, blocking traits.
//!
//! What it is for: storage code (journal, images, replica metadata) that must be shown to survive a loss of power takes
//! a `dyn Disk`; [`RealDisk`] is the operating system, [`SimDisk`] forgets and tears what was not synced.
//! What it does not do: no caching, no async; callers own their threads.
//! Invariants a caller must keep to be crash safe, and which [`SimDisk`] punishes: bytes are durable after
//! `sync_data`/`sync_all` (or a `dsync` write); a created, renamed or removed name is durable after `sync_dir` of its
//! directory; after a failed sync the bytes may be gone although they can still be read.

mod faulty;
mod real;
mod sim;
mod sim_state;

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use faulty::{DiskCall, FaultyDisk, GivenHint};
pub use real::RealDisk;
pub use sim::{Fault, SimDisk};

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Open {
    /// May be written to.
    pub write: bool,
    /// Made when absent. Needs `write`.
    pub create: bool,
    /// Must be absent. Needs `create`.
    pub exclusive: bool,
    /// Emptied when present. Needs `write`.
    pub truncate: bool,
    /// Each write is durable when it returns (O_DSYNC).
    pub dsync: bool,
    /// Past the page cache (O_DIRECT), where the file system can: offsets, lengths and buffers are then multiples of
    /// 4096. Where it cannot, the file is opened without.
    pub direct: bool,
}

impl Open {
    /// Reads an existing file.
    pub const READ: Self = Self {
        write: false,
        create: false,
        exclusive: false,
        truncate: false,
        dsync: false,
        direct: false,
    };
    /// Reads and writes an existing file.
    pub const WRITE: Self = Self {
        write: true,
        ..Self::READ
    };
    /// Reads and writes, made when absent, kept when present.
    pub const CREATE: Self = Self {
        create: true,
        ..Self::WRITE
    };
    /// Reads and writes a file that must not exist yet.
    pub const CREATE_NEW: Self = Self {
        exclusive: true,
        ..Self::CREATE
    };
    /// Reads and writes, made or emptied.
    pub const TRUNCATE: Self = Self {
        truncate: true,
        ..Self::CREATE
    };

    /// The same with each write durable when it returns.
    #[must_use]
    pub const fn with_dsync(self) -> Self {
        Self { dsync: true, ..self }
    }

    /// The same past the page cache.
    #[must_use]
    pub const fn with_direct(self) -> Self {
        Self { direct: true, ..self }
    }
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Name without the directory. Names that are not UTF-8 are left out of listings.
    pub name: String,
    /// Directory or file.
    pub is_dir: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

/// Room on a file system, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskSpace {
    /// Size of the file system.
    pub capacity: u64,
    /// What nobody has written to, what is kept for the superuser included.
    pub free: u64,
    /// What an unprivileged process may still write.
    pub available: u64,
}

/// What to tell the system about the cached pages of a file. Advice only: nothing becomes durable or is lost by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageHint {
    /// They will be read soon: begin to read them.
    WillNeed,
    /// They will not be read soon: forget the clean ones and begin to write the dirty ones out.
    DontNeed,
}

/// A file system.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory and its absent parents. Durable after `sync_dir` of each parent.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes one directory; one that is there already is fine. Durable after `sync_dir` of its parent.
    ///
    /// Errors: `NotFound` when its parent is missing.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes or empties the file `path`, which need not lie in `dir`; a file system that keeps what one directory holds
    /// together puts a new file where it keeps that of `dir`. A hint: where it cannot be had, the file is made all the same.
    ///
    /// Errors: `NotFound` also when `dir` is missing.
    fn create_near(&self, dir: &Path, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let _anywhere = dir;
        self.open(path, Open::TRUNCATE)
    }
    /// Tells the file system that directories made in `dir` from now on have little to do with each other. A hint.
    fn spread(&self, dir: &Path) -> io::Result<()> {
        let _anywhere = dir;
        Ok(())
    }
    /// Lists a directory, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// True when a file or directory of this name is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames a file or directory, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Room on the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<DiskSpace>;
    /// Takes an exclusive lock on the file `path` (made when absent) for as long as the result lives.
    /// `WouldBlock` when another process, or another lock of this one, holds it. `content` replaces the file's text.
    fn lock(&self, path: &Path, content: &[u8]) -> io::Result<DiskLock>;

    /// Reads a whole file of at most `limit` bytes; a longer one is an `InvalidData` error.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::READ)?;
        let len = file.len()?;
        if len > limit {
            let text = format!("{} has {len} bytes, more than the limit of {limit}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// An open file. Offsets are in bytes; methods take `&self` and may be called from several threads.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Reads up to `buffer.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `data`, extending the file when needed.
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all of `parts`, one behind the other, from `offset` on.
    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for part in parts {
            self.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }
    /// Makes content and length durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Makes content and all attributes durable (fsync).
    fn sync_all(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True when the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves room for `offset..offset + len` and extends the file to it. Reserved bytes read as zeros.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Tells the system about `len` bytes from `offset` on; 0: to the end of the file. Does nothing where there is no page
    /// cache.
    fn hint(&self, _hint: PageHint, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    /// The operating system's file, for `sendfile` and passing descriptors; `None` in a simulation.
    fn as_file(&self) -> Option<&std::fs::File> {
        None
    }

    /// Fills `buffer`; `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_at(&mut buffer[done..], offset + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }
}

/// A held lock; dropping it lets go.
pub struct DiskLock {
    /// Where the lock file is.
    pub path: PathBuf,
    _guard: Box<dyn Send + Sync>,
}

impl DiskLock {
    fn new(path: &Path, guard: impl Send + Sync + 'static) -> Self {
        Self {
            path: path.to_owned(),
            _guard: Box::new(guard),
        }
    }
}

impl fmt::Debug for DiskLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskLock({})", self.path.display())
    }
}
