//! A disk that fails on demand: any [`Disk`] with errors and delays in front of chosen calls.
//!
//! What it is for: tests of code that must go on when one disk of several is full, slow, read-only or gone.
//! What it does not do: forget unsynced bytes (that is [`super::SimDisk`]) or tear writes.
//! Invariant: a call that a rule refuses never reaches the disk below.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{DirEntry, Disk, DiskFile, DiskLock, DiskSpace, Open, PageHint};

/// What is done to a disk, as rules see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskCall {
    /// Opening or making a file.
    Open,
    /// Reading a file or a directory, looking for a name.
    Read,
    /// Writing to a file, changing its length.
    Write,
    /// Making something durable.
    Sync,
    /// Renaming.
    Rename,
    /// Removing a file or a directory.
    Remove,
    /// Making a directory.
    CreateDir,
    /// Asking for room.
    Space,
}

/// What a rule does to the calls it fits.
type Verdict = Arc<dyn Fn(DiskCall, &Path) -> io::Result<()> + Send + Sync>;

/// A hint that a file was given: of which file, what, from where, how many bytes.
pub type GivenHint = (PathBuf, PageHint, u64, u64);

/// Most hints that are kept.
const MAX_HINTS: usize = 10_000;

#[derive(Default)]
struct Rules {
    verdict: Mutex<Option<Verdict>>,
    space: Mutex<Option<DiskSpace>>,
    refused: AtomicUsize,
    hints: Mutex<Vec<GivenHint>>,
}

/// A disk with faults. Clones share them.
#[derive(Clone)]
pub struct FaultyDisk {
    below: Arc<dyn Disk>,
    rules: Arc<Rules>,
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyDisk({:?})", self.below)
    }
}

impl FaultyDisk {
    /// A disk without faults yet.
    pub fn new(below: Arc<dyn Disk>) -> Self {
        Self {
            below,
            rules: Arc::default(),
        }
    }

    /// From now on `judge` is asked before each call, also of files that are open already; an error takes the place
    /// of the call. It may wait, which makes a slow disk.
    pub fn judge(&self, judge: impl Fn(DiskCall, &Path) -> io::Result<()> + Send + Sync + 'static) {
        *self.rules.verdict.lock() = Some(Arc::new(judge));
    }

    /// All calls of `kinds` (none: of every kind) below `dir` fail with `errno`.
    pub fn fail(&self, dir: impl Into<PathBuf>, kinds: &'static [DiskCall], errno: i32) {
        let dir = dir.into();
        self.judge(move |call, path| {
            if path.starts_with(&dir) && (kinds.is_empty() || kinds.contains(&call)) {
                return Err(io::Error::from_raw_os_error(errno));
            }
            Ok(())
        });
    }

    /// All calls below `dir` take `delay` longer.
    pub fn slow_down(&self, dir: impl Into<PathBuf>, delay: Duration) {
        let dir = dir.into();
        self.judge(move |_, path| {
            if path.starts_with(&dir) {
                std::thread::sleep(delay);
            }
            Ok(())
        });
    }

    /// Ends all faults.
    pub fn heal(&self) {
        *self.rules.verdict.lock() = None;
        *self.rules.space.lock() = None;
    }

    /// Answers questions for room with `space`.
    pub fn set_space(&self, space: DiskSpace) {
        *self.rules.space.lock() = Some(space);
    }

    /// The first hints that files were given.
    pub fn hints(&self) -> Vec<GivenHint> {
        self.rules.hints.lock().clone()
    }

    /// Calls refused so far.
    pub fn refused(&self) -> usize {
        self.rules.refused.load(Ordering::Relaxed)
    }
}

impl Rules {
    fn ask(&self, call: DiskCall, path: &Path) -> io::Result<()> {
        let verdict = self.verdict.lock().clone();
        let answer = verdict.map_or(Ok(()), |verdict| verdict(call, path));
        if answer.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.rules.ask(DiskCall::Open, path)?;
        Ok(Arc::new(FaultyFile {
            below: self.below.open(path, how)?,
            rules: self.rules.clone(),
            path: path.to_owned(),
        }))
    }
    fn create_near(&self, dir: &Path, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.rules.ask(DiskCall::Open, path)?;
        Ok(Arc::new(FaultyFile {
            below: self.below.create_near(dir, path)?,
            rules: self.rules.clone(),
            path: path.to_owned(),
        }))
    }
    fn spread(&self, dir: &Path) -> io::Result<()> {
        self.below.spread(dir)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.rules.ask(DiskCall::CreateDir, path)?;
        self.below.create_dir(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.rules.ask(DiskCall::CreateDir, path)?;
        self.below.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.rules.ask(DiskCall::Read, path)?;
        self.below.list(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.rules.ask(DiskCall::Read, path)?;
        self.below.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rules.ask(DiskCall::Rename, from)?;
        self.below.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.rules.ask(DiskCall::Remove, path)?;
        self.below.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.rules.ask(DiskCall::Remove, path)?;
        self.below.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.rules.ask(DiskCall::Sync, path)?;
        self.below.sync_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        self.rules.ask(DiskCall::Space, path)?;
        match *self.rules.space.lock() {
            Some(space) => Ok(space),
            None => self.below.space(path),
        }
    }
    fn lock(&self, path: &Path, content: &[u8]) -> io::Result<DiskLock> {
        self.rules.ask(DiskCall::Open, path)?;
        self.below.lock(path, content)
    }
}

struct FaultyFile {
    below: Arc<dyn DiskFile>,
    rules: Arc<Rules>,
    path: PathBuf,
}

impl fmt::Debug for FaultyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyFile({})", self.path.display())
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.rules.ask(DiskCall::Read, &self.path)?;
        self.below.read_at(buffer, offset)
    }
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.rules.ask(DiskCall::Write, &self.path)?;
        self.below.write_all_at(data, offset)
    }
    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.rules.ask(DiskCall::Write, &self.path)?;
        self.below.write_vectored_at(parts, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.rules.ask(DiskCall::Sync, &self.path)?;
        self.below.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.rules.ask(DiskCall::Sync, &self.path)?;
        self.below.sync_all()
    }
    fn len(&self) -> io::Result<u64> {
        self.rules.ask(DiskCall::Read, &self.path)?;
        self.below.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.rules.ask(DiskCall::Write, &self.path)?;
        self.below.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.rules.ask(DiskCall::Write, &self.path)?;
        self.below.allocate(offset, len)
    }
    /// None while there are rules: who has the file itself would not meet them.
    fn hint(&self, hint: PageHint, offset: u64, len: u64) -> io::Result<()> {
        let mut hints = self.rules.hints.lock();
        if hints.len() < MAX_HINTS {
            hints.push((self.path.clone(), hint, offset, len));
        }
        drop(hints);
        self.below.hint(hint, offset, len)
    }
    fn as_file(&self) -> Option<&std::fs::File> {
        let free = self.rules.verdict.lock().is_none();
        self.below.as_file().filter(|_| free)
    }
}

#[cfg(test)]
mod tests {
    use super::super::RealDisk;
    use super::*;

    #[test]
    fn rules_hold_for_open_files_until_healed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(Arc::new(RealDisk));
        let path = dir.path().join("a");
        let file = disk.open(&path, Open::CREATE).unwrap();
        file.write_all_at(b"one", 0).unwrap();
        disk.fail(dir.path(), &[DiskCall::Write], 28);
        assert_eq!(file.write_all_at(b"two", 0).unwrap_err().raw_os_error(), Some(28));
        let parts = [IoSlice::new(b"t"), IoSlice::new(b"wo")];
        assert_eq!(file.write_vectored_at(&parts, 0).unwrap_err().raw_os_error(), Some(28));
        assert_eq!(disk.read(&path, 10).unwrap(), b"one");
        assert_eq!(disk.refused(), 2);
        disk.heal();
        file.write_vectored_at(&parts, 0).unwrap();
        assert_eq!(disk.read(&path, 10).unwrap(), b"two");
    }
}
