//! The operating system's disk.
//!
//! What it is for: [`Disk`] over `std::fs` and rustix. What it does not do: retry. Invariant: locks are `flock`s, so
//! they vanish with the process however it ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, AtFlags, CWD, IFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{DirEntry, Disk, DiskFile, DiskLock, DiskSpace, Open, PageHint};

/// Most slices in one `pwritev` (Linux `IOV_MAX`).
const MAX_SLICES: usize = 1024;

/// Permissions of a new file, less those the process masks.
const FILE_MODE: u32 = 0o666;

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(how.write).truncate(how.truncate);
        options.create(how.create && !how.exclusive).create_new(how.exclusive);
        let mut flags = OFlags::empty();
        flags.set(OFlags::DSYNC, how.dsync);
        flags.set(OFlags::DIRECT, how.direct);
        let flag_bits = |flags: OFlags| i32::try_from(flags.bits()).map_err(io::Error::other);
        match options.custom_flags(flag_bits(flags)?).open(path) {
            Err(error) if how.direct && error.kind() == io::ErrorKind::InvalidInput => {
                tracing::debug!(path = %path.display(), "no direct I/O on this file system");
                let buffered = flag_bits(flags.difference(OFlags::DIRECT))?;
                Ok(Arc::new(RealFile(options.custom_flags(buffered).open(path)?)))
            }
            opened => Ok(Arc::new(RealFile(opened?))),
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }

    fn create_near(&self, dir: &Path, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        // The inode of a file comes from the directory it is made in, wherever it is linked then.
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = match rustix::fs::open(dir, flags, Mode::from_raw_mode(FILE_MODE)) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Err(io::ErrorKind::NotFound.into()),
            Err(_) => return self.open(path, Open::TRUNCATE),
        };
        let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
        match rustix::fs::linkat(CWD, &nameless, CWD, path, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(Arc::new(RealFile(file))),
            // The name is taken, or this way is closed here.
            Err(_) => self.open(path, Open::TRUNCATE),
        }
    }

    fn spread(&self, dir: &Path) -> io::Result<()> {
        let dir = File::open(dir)?;
        let flags = rustix::fs::ioctl_getflags(&dir)?;
        Ok(rustix::fs::ioctl_setflags(&dir, flags | IFlags::TOPDIR)?)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let metadata = entry.metadata()?;
            let is_dir = metadata.is_dir();
            entries.push(DirEntry {
                name,
                is_dir,
                len: if is_dir { 0 } else { metadata.len() },
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(DiskSpace {
            capacity: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bfree.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn lock(&self, path: &Path, content: &[u8]) -> io::Result<DiskLock> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        file.set_len(0)?;
        file.write_all_at(content, 0)?;
        Ok(DiskLock::new(path, file))
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        if let [only] = parts {
            return self.0.write_all_at(only, offset);
        }
        for group in parts.chunks(MAX_SLICES) {
            let mut group = group.to_vec();
            let mut left = &mut group[..];
            IoSlice::advance_slices(&mut left, 0);
            while !left.is_empty() {
                match rustix::io::pwritev(self.0.as_fd(), left, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(taken) => {
                        offset += taken as u64;
                        IoSlice::advance_slices(&mut left, taken);
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), offset, len) {
            Ok(()) => Ok(()),
            // Not every file system can reserve; the length still has to be as asked.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                let end = offset.saturating_add(len);
                if self.len()? < end { self.set_len(end) } else { Ok(()) }
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn hint(&self, hint: PageHint, offset: u64, len: u64) -> io::Result<()> {
        let advice = match hint {
            PageHint::WillNeed => Advice::WillNeed,
            // Linux begins to write the dirty pages of the range, then drops the clean ones.
            PageHint::DontNeed => Advice::DontNeed,
        };
        Ok(rustix::fs::fadvise(&self.0, offset, NonZeroU64::new(len), advice)?)
    }

    fn as_file(&self) -> Option<&File> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_is_made_and_none_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("above").join("dir");
        assert_eq!(RealDisk.create_dir(&dir).unwrap_err().kind(), io::ErrorKind::NotFound);
        for path in [dir.parent().unwrap(), &dir, &dir] {
            RealDisk.create_dir(path).unwrap();
        }
        let file = dir.join("file");
        fs::write(&file, b"").unwrap();
        assert_eq!(
            RealDisk.create_dir(&file).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
    }

    #[test]
    fn a_file_made_near_a_directory_is_like_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let (near, path) = (folder.path().join("near"), folder.path().join("file"));
        let missing = RealDisk.create_near(&near, &path).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(!path.exists());
        fs::create_dir(&near).unwrap();
        // A file system without such hints says so, and nothing is worse for it.
        let _hint = RealDisk.spread(&near);
        for text in [&b"a longer text"[..], b"text"] {
            let file = RealDisk.create_near(&near, &path).unwrap();
            file.write_all_at(text, 0).unwrap();
            assert_eq!(fs::read(&path).unwrap(), text);
        }
        let plain = folder.path().join("plain");
        fs::write(&plain, b"").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions();
        assert_eq!(mode(&path), mode(&plain));
        assert_eq!(fs::read_dir(&near).unwrap().count(), 0);
        let nowhere = RealDisk.create_near(&near, &folder.path().join("absent").join("file"));
        assert_eq!(nowhere.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
