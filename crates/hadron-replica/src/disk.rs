//! One volume's way to its disk: every call that fails in a way the disk may be to blame for is noted.
//!
//! What it is for: the one place under the replica store where files are touched, so that tests can put a disk with
//! faults below it and so that no caller can forget to have a failing volume checked.
//! What it does not do: judge whether the volume is broken (see `check`) or retry.
//! Invariant: a full disk, a missing file of a replica and a shortage of descriptors are no trouble of the disk.

use crate::trouble::Trouble;
use hadron_env::disk::{DirEntry, Disk, DiskFile, DiskSpace, Open, PageHint};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// The disk of one volume.
#[derive(Clone, Debug)]
pub(crate) struct VolumeDisk {
    disk: Arc<dyn Disk>,
    trouble: Arc<Trouble>,
}

/// An open file of a replica.
#[derive(Clone, Debug)]
pub(crate) struct VolumeFile {
    file: Arc<dyn DiskFile>,
    trouble: Arc<Trouble>,
}

/// Whether an error may mean that the disk is broken.
pub(crate) fn blames_disk(error: &io::Error) -> bool {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(errno) => !matches!(
            errno,
            Errno::NOENT | Errno::NOSPC | Errno::DQUOT | Errno::MFILE | Errno::NFILE | Errno::INTR | Errno::NOMEM
        ),
        None => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof),
    }
}

/// Whether an error means that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOSPC | Errno::DQUOT))
}

fn note<T>(trouble: &Trouble, result: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &result {
        if blames_disk(error) {
            trouble.note(error);
        } else if is_full(error) {
            trouble.note_full();
        }
    }
    result
}

impl VolumeDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>, trouble: Arc<Trouble>) -> Self {
        Self { disk, trouble }
    }

    /// Who hears of failures.
    pub(crate) fn trouble(&self) -> &Arc<Trouble> {
        &self.trouble
    }

    /// The same disk for the checker: its own failures are not noted.
    pub(crate) fn unwatched(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    /// As [`note`], for calls whose names must be there: a missing one means that the volume went away.
    fn expect<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && error.kind() == ErrorKind::NotFound
        {
            self.trouble.note(error);
        }
        note(&self.trouble, result)
    }

    pub(crate) fn open(&self, path: &Path, how: Open) -> io::Result<VolumeFile> {
        let opened = self.disk.open(path, how);
        let file = if how.create {
            self.expect(opened)
        } else {
            note(&self.trouble, opened)
        }?;
        Ok(self.file(file))
    }
    fn file(&self, file: Arc<dyn DiskFile>) -> VolumeFile {
        VolumeFile {
            file,
            trouble: self.trouble.clone(),
        }
    }
    /// Makes or empties `path`, its content near what `dir` holds. A missing `dir` is no trouble: the caller makes it.
    pub(crate) fn create_near(&self, dir: &Path, path: &Path) -> io::Result<VolumeFile> {
        let made = note(&self.trouble, self.disk.create_near(dir, path))?;
        Ok(self.file(made))
    }
    /// Hints that what is made in `dir` belongs apart.
    pub(crate) fn spread(&self, dir: &Path) {
        if let Err(error) = self.disk.spread(dir) {
            tracing::debug!(%error, dir = %dir.display(), "the file system takes no hint about its directories");
        }
    }
    pub(crate) fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.expect(self.disk.create_dir(path))
    }
    pub(crate) fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        note(&self.trouble, self.disk.create_dir_all(path))
    }
    pub(crate) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.expect(self.disk.list(path))
    }
    pub(crate) fn exists(&self, path: &Path) -> io::Result<bool> {
        note(&self.trouble, self.disk.exists(path))
    }
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        note(&self.trouble, self.disk.rename(from, to))
    }
    /// Removes a file that may be gone already.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        match note(&self.trouble, self.disk.remove_file(path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
    pub(crate) fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        note(&self.trouble, self.disk.remove_dir_all(path))
    }
    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.expect(self.disk.sync_dir(path))
    }
    pub(crate) fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        self.expect(self.disk.space(path))
    }
}

impl VolumeFile {
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        note(&self.trouble, self.file.read_exact_at(buffer, offset))
    }
    pub(crate) fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        note(&self.trouble, self.file.write_all_at(data, offset))
    }
    pub(crate) fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        note(&self.trouble, self.file.write_vectored_at(parts, offset))
    }
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        note(&self.trouble, self.file.sync_data())
    }
    pub(crate) fn len(&self) -> io::Result<u64> {
        note(&self.trouble, self.file.len())
    }
    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        note(&self.trouble, self.file.set_len(len))
    }
    /// Gives a hint; one that cannot be had costs nothing but speed.
    pub(crate) fn hint(&self, hint: PageHint, offset: u64, len: u64) {
        if let Err(error) = self.file.hint(hint, offset, len) {
            tracing::debug!(%error, ?hint, "the system takes no hint about its page cache");
        }
    }
    /// The operating system's file; `None` for simulated ones.
    pub(crate) fn as_file(&self) -> Option<&File> {
        self.file.as_file()
    }
    /// Notes a failure of a call that went past this type (`sendfile`).
    pub(crate) fn blame(&self, error: &io::Error) {
        if blames_disk(error) {
            self.trouble.note(error);
        }
    }
}
