//! Removal of files off the hot path: a rename aside at once, the unlink (slow for large files) in one thread.
//!
//! A file aside lies in the pool's `tmp`, which every start empties; a block made again meanwhile cannot collide
//! with it. At [`MAX_QUEUED`] waiting files the caller unlinks itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

/// Files waiting to be unlinked.
const MAX_QUEUED: usize = 64 * 1024;
/// Stack of the unlinking thread.
const STACK_BYTES: usize = 128 * 1024;

/// The removing thread. Dropping it lets the thread finish what is queued.
#[derive(Debug)]
pub(crate) struct Deleter {
    queue: Option<SyncSender<PathBuf>>,
    next: AtomicU64,
}

impl Deleter {
    pub(crate) fn start() -> Self {
        let (queue, files) = sync_channel::<PathBuf>(MAX_QUEUED);
        let started = std::thread::Builder::new()
            .name("deleter".into())
            .stack_size(STACK_BYTES)
            .spawn(move || files.iter().for_each(|file| unlink(&file)));
        if let Err(error) = &started {
            tracing::warn!(%error, "no thread for deletions, they are done in place");
        }
        Self {
            queue: started.is_ok().then_some(queue),
            next: AtomicU64::new(0),
        }
    }

    /// Removes `file`; `aside` is a directory of the same volume.
    pub(crate) fn remove(&self, file: &Path, aside: &Path, name: &str) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let target = aside.join(format!("deleted_{number}_{name}"));
        if let Err(error) = fs::rename(file, &target) {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::error!(%error, file = %file.display(), "cannot move a replica's file aside");
            }
            return;
        }
        let left = match &self.queue {
            None => Some(target),
            Some(queue) => match queue.try_send(target) {
                Ok(()) => None,
                Err(TrySendError::Full(file) | TrySendError::Disconnected(file)) => Some(file),
            },
        };
        if let Some(file) = left {
            unlink(&file);
        }
    }
}

fn unlink(file: &Path) {
    if let Err(error) = fs::remove_file(file) {
        tracing::warn!(%error, file = %file.display(), "cannot remove a deleted replica's file");
    }
}
