//! Whether a volume still works: a check after each I/O error, rarely enough and never on a data thread.
//!
//! ```text
//! error -> order -> [too soon: when the gap is over] -> check on a thread of its own -> fine | failed
//!                                                         \ no end in time ------------------/
//! ```
//! A directory that is not there any more (unmounted) fails at once, whatever the gap. What a check does: look for
//! the directories and write, sync and read a small file; a full disk passes. Does not take the volume out of use
//! itself, see `Registry::fail`. Source: Hadoop `DatasetVolumeChecker`, `ThrottledAsyncChecker`, `DiskChecker`.

use crate::store::Registry;
use crate::trouble::Message;
use crate::volume::Volume;
use hadron_env::disk::{Disk, Open};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// Stack of the checking threads.
const STACK_BYTES: usize = 128 * 1024;
/// What the probe file holds.
const PROBE: &[u8] = b"hadron disk check\n";
/// Longest wait for a message.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// When volumes are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckOptions {
    /// Least time between two checks of a volume (`dfs.datanode.disk.check.min.gap`).
    pub min_gap: Duration,
    /// A check that takes longer fails the volume (`dfs.datanode.disk.check.timeout`).
    pub timeout: Duration,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            min_gap: Duration::from_secs(15 * 60),
            timeout: Duration::from_secs(10 * 60),
        }
    }
}

/// What is known of one volume.
#[derive(Clone, Copy, Default)]
struct Watch {
    /// When the last check ended.
    last: Option<Instant>,
    /// A check runs, and must end by then.
    deadline: Option<Instant>,
    /// A check is due then.
    due: Option<Instant>,
}

/// Runs the checker until the store is gone.
pub(crate) fn start(
    registry: Weak<Registry>,
    volumes: usize,
    messages: Receiver<Message>,
    done: Sender<Message>,
    options: CheckOptions,
) -> io::Result<()> {
    let mut checker = Checker {
        registry,
        watches: vec![Watch::default(); volumes],
        done,
        options,
    };
    std::thread::Builder::new()
        .name("volume-check".into())
        .stack_size(STACK_BYTES)
        .spawn(move || checker.run(&messages))
        .map(drop)
}

struct Checker {
    registry: Weak<Registry>,
    watches: Vec<Watch>,
    done: Sender<Message>,
    options: CheckOptions,
}

impl Checker {
    fn run(&mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(self.next_wait()) {
                Ok(Message::Order(volume)) => self.ordered(volume),
                Ok(Message::Done(volume, result)) => self.ended(volume, result),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.run_due();
        }
    }

    fn next_wait(&self) -> Duration {
        let times = self.watches.iter().flat_map(|watch| [watch.deadline, watch.due]);
        let now = Instant::now();
        let next = times.flatten().min();
        next.map_or(MAX_WAIT, |at| at.saturating_duration_since(now).min(MAX_WAIT))
    }

    fn ordered(&mut self, index: usize) {
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        let (Some(volume), Some(watch)) = (registry.volumes.get(index), self.watches.get_mut(index)) else {
            return;
        };
        volume.disk().trouble().taken();
        if volume.is_failed() || watch.deadline.is_some() {
            return;
        }
        let now = Instant::now();
        watch.due = Some(watch.last.map_or(now, |last| (last + self.options.min_gap).max(now)));
        // A look at one name; a disk that hangs in it is caught by the check of its next order only.
        if watch.due > Some(now)
            && let Err(error) = volume.check_presence()
        {
            watch.due = None;
            registry.fail(index, &error.to_string());
        }
    }

    fn run_due(&mut self) {
        let now = Instant::now();
        for index in 0..self.watches.len() {
            let watch = self.watches[index];
            if watch.deadline.is_some_and(|deadline| deadline <= now) {
                self.watches[index].deadline = None;
                let reason = format!("its check did not end within {:?}", self.options.timeout);
                if let Some(registry) = self.registry.upgrade() {
                    registry.fail(index, &reason);
                }
            } else if watch.due.is_some_and(|due| due <= now) {
                self.begin(index, now);
            }
        }
    }

    fn begin(&mut self, index: usize, now: Instant) {
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        let watch = &mut self.watches[index];
        watch.due = None;
        watch.deadline = Some(now + self.options.timeout);
        let volume = registry.volumes[index].clone();
        let dirs = registry.pool_dirs(index);
        let done = self.done.clone();
        let thread = std::thread::Builder::new()
            .name("volume-probe".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let result = probe(&volume, &dirs);
                // The store may have gone meanwhile.
                let _ = done.send(Message::Done(index, result));
            });
        if let Err(error) = thread {
            tracing::warn!(%error, "no thread for a check of a volume, trying later");
            watch.deadline = None;
            watch.last = Some(now);
        }
    }

    fn ended(&mut self, index: usize, result: Result<(), String>) {
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        let (Some(volume), Some(watch)) = (registry.volumes.get(index), self.watches.get_mut(index)) else {
            return;
        };
        if watch.deadline.take().is_none() {
            return;
        }
        watch.last = Some(Instant::now());
        match result {
            Ok(()) => {
                let trouble = volume.disk().trouble();
                let (dir, errors, last) = (volume.dir().display(), trouble.count(), trouble.last());
                tracing::warn!(%dir, errors, %last, "volume checked after an error and found usable");
            }
            Err(reason) => registry.fail(index, &reason),
        }
    }
}

/// Directories of one pool on the volume: what must exist, and where a probe may be written.
pub(crate) struct PoolDirs {
    pub(crate) finalized: PathBuf,
    pub(crate) rbw: PathBuf,
    pub(crate) tmp: PathBuf,
}

/// Checks a volume; the error says what is wrong with it.
fn probe(volume: &Volume, pools: &[PoolDirs]) -> Result<(), String> {
    volume.check_presence().map_err(|error| error.to_string())?;
    let disk = volume.disk().unwatched();
    let failed = |action: &str, path: &Path, error: io::Error| format!("{action} {}: {error}", path.display());
    disk.list(volume.dir())
        .map_err(|error| failed("list", volume.dir(), error))?;
    for pool in pools {
        for dir in [&pool.finalized, &pool.rbw, &pool.tmp] {
            disk.list(dir).map_err(|error| failed("list", dir, error))?;
        }
        write_probe(&*disk, &pool.tmp).map_err(|error| failed("write to", &pool.tmp, error))?;
    }
    Ok(())
}

/// Writes, syncs, reads and removes a small file. A full disk is no failure.
fn write_probe(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let path = dir.join("disk_check");
    let tried = (|| {
        let file = disk.open(&path, Open::TRUNCATE)?;
        file.write_all_at(PROBE, 0)?;
        file.sync_data()?;
        let mut read = vec![0; PROBE.len()];
        file.read_exact_at(&mut read, 0)?;
        if read != PROBE {
            return Err(io::Error::other("what was read is not what was written"));
        }
        Ok(())
    })();
    let removed = match disk.remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    match tried {
        Err(error) if crate::disk::is_full(&error) => Ok(()),
        other => other.and(removed),
    }
}
