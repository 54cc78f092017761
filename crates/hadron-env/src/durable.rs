//! Small files that are either old or new after a crash, never something between.
//!
//! What it is for: VERSION files, markers, images. What it does not do: large streams (write those to a temporary file
//! of their own and call [`commit_file`]). Invariant: when a function returns Ok, content and name survive loss of power.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, Open};

/// Ending of the temporary file beside the real one; leftovers may be removed at start.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// The temporary name used for `path`.
pub fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

/// Replaces the content of `path`: write beside it, fsync, rename, fsync the directory.
pub fn write_file_atomically(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary_path(path);
    let file = disk.open(&temporary, Open::TRUNCATE)?;
    file.write_all_at(content, 0)?;
    file.sync_all()?;
    drop(file);
    commit_file(disk, &temporary, path)
}

/// Gives an already synced temporary file its final name, durably.
pub fn commit_file(disk: &dyn Disk, temporary: &Path, path: &Path) -> io::Result<()> {
    disk.rename(temporary, path)?;
    disk.sync_dir(parent_of(path)?)
}

/// Makes a directory and its parents, and makes their names durable.
pub fn create_dir_durably(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let mut absent = Vec::new();
    let mut at = path;
    while !disk.exists(at)? {
        absent.push(at);
        match at.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => at = parent,
            _ => break,
        }
    }
    disk.create_dir_all(path)?;
    for made in absent.into_iter().rev() {
        disk.sync_dir(parent_of(made)?)?;
    }
    Ok(())
}

fn parent_of(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} has no parent", path.display()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Fault, SimDisk};

    #[test]
    fn every_crash_point_leaves_old_or_new() {
        let path = Path::new("/d/VERSION");
        for crash_at in 0..40 {
            for seed in 0..8 {
                let disk = SimDisk::new();
                create_dir_durably(&disk, Path::new("/d")).unwrap();
                write_file_atomically(&disk, path, b"old content").unwrap();
                disk.inject(crash_at, Fault::Crash);
                let done = write_file_atomically(&disk, path, b"new").is_ok();
                disk.crash(seed);
                let content = disk.read(path, 100).unwrap();
                assert!(
                    content == b"new" || (!done && content == b"old content"),
                    "{crash_at} {seed}"
                );
            }
        }
    }
}
