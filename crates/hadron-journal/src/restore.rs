//! Taking back a name dir that failed, once its disk works again.
//!
//! What it is for: `dfsadmin -restoreFailedStorage true`. What it does not do: trust what such a dir holds; it is
//! emptied and filled again. Invariant: the dir has no VERSION until it has an image and every entry after it, so a
//! crash on the way leaves a dir that the next start fills from the others.

use std::io;
use std::path::Path;

use hadron_env::Disk;
use hadron_env::disk::DiskLock;
use hadron_env::durable;

use crate::inventory::{LOCK_FILE, VERSION_FILE};
use crate::setup;

/// Empties the name dir `root` and locks it. Its VERSION goes first, durably.
pub(crate) fn empty(disk: &dyn Disk, root: &Path) -> io::Result<DiskLock> {
    if !disk.exists(root)? {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the directory does not exist"));
    }
    let lock = disk.lock(&root.join(LOCK_FILE), format!("{}\n", std::process::id()).as_bytes())?;
    setup::empty_current(disk, root)?;
    Ok(lock)
}

/// Makes a dir that got its first image a name dir again.
pub(crate) fn complete(disk: &dyn Disk, current: &Path, version: &str) {
    let path = current.join(VERSION_FILE);
    match durable::write_file_atomically(disk, &path, version.as_bytes()) {
        Ok(()) => tracing::info!(dir = %current.display(), "name dir is complete again"),
        Err(error) => tracing::error!(dir = %current.display(), %error, "cannot complete this name dir"),
    }
}
