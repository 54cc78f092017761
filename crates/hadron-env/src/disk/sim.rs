//! A disk in memory that forgets and tears what was not synced.
//!
//! What it is for: crash tests, fault tests, full disks. What it does not do: permissions, links, timing.
//! Invariants: with no fault and no crash it behaves as [`super::RealDisk`]; after [`SimDisk::crash`] every handle and
//! lock from before is dead, synced bytes under synced names are as they were, and all else is decided by the seed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::sim_state::{Content, ContentChange, FileId, NameChange, Node, Tree};
use super::{DirEntry, Disk, DiskFile, DiskLock, DiskSpace, Open};
use crate::random::{Random, SeededRandom};

/// What goes wrong at a chosen operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// This operation reports the error and has no effect (a failed sync also loses the bytes it should have synced).
    Error(io::ErrorKind),
    /// Power fails during this operation: it and all later ones report an error until [`SimDisk::crash`] is called.
    Crash,
}

/// The simulated disk. Clones share the content.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    live: Tree,
    durable: Tree,
    pending_names: Vec<NameChange>,
    files: HashMap<FileId, Content>,
    next_file: FileId,
    locks: BTreeSet<PathBuf>,
    /// Rises with each crash; handles of an older life are dead.
    life: u64,
    powered_off: bool,
    operation_count: u64,
    faults: BTreeMap<u64, Fault>,
    broken: BTreeMap<PathBuf, io::ErrorKind>,
    capacity: u64,
}

const DEFAULT_CAPACITY: u64 = 1 << 40;

impl SimDisk {
    /// An empty disk of 1 TiB.
    pub fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                live: Tree::default(),
                durable: Tree::default(),
                pending_names: Vec::new(),
                files: HashMap::new(),
                next_file: 1,
                locks: BTreeSet::new(),
                life: 0,
                powered_off: false,
                operation_count: 0,
                faults: BTreeMap::new(),
                broken: BTreeMap::new(),
                capacity: DEFAULT_CAPACITY,
            })),
        }
    }

    /// Lets the operation after the next `after` changing ones go wrong (0 = the very next). Changing operations are
    /// opens that make or empty a file, writes, syncs, length changes, renames, removals and `create_dir_all`.
    pub fn inject(&self, after: u64, fault: Fault) {
        let mut state = self.state.lock();
        let at = state.operation_count + after;
        state.faults.insert(at, fault);
    }

    /// Takes back all faults that have not happened yet.
    pub fn clear_faults(&self) {
        let mut state = self.state.lock();
        state.faults.clear();
        state.broken.clear();
    }

    /// Lets every operation at or below `prefix` fail until [`Self::clear_faults`], as a dead drive does.
    pub fn break_below(&self, prefix: &Path, error: io::ErrorKind) {
        self.state.lock().broken.insert(prefix.to_owned(), error);
    }

    /// How many changing operations there were.
    pub fn operation_count(&self) -> u64 {
        self.state.lock().operation_count
    }

    /// Sets the size of the disk; writes beyond it fail with `StorageFull`.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity = bytes;
    }

    /// Bytes held by files.
    pub fn used(&self) -> u64 {
        self.state.lock().used()
    }

    /// True once an injected [`Fault::Crash`] has struck and until [`Self::crash`].
    pub fn is_powered_off(&self) -> bool {
        self.state.lock().powered_off
    }

    /// Loss of power and restart. Synced content stays; of the rest, `seed` decides what is kept, lost or torn.
    pub fn crash(&self, seed: u64) {
        let random = SeededRandom::new(seed);
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut ids: Vec<_> = state.files.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(content) = state.files.get_mut(&id) {
                content.crash(&random);
            }
        }
        let kept = random.below(state.pending_names.len() as u64 + 1);
        for change in std::mem::take(&mut state.pending_names).iter().take(kept as usize) {
            state.durable.apply(change);
        }
        state.durable.drop_unreachable();
        state.live.clone_from(&state.durable);
        state.locks.clear();
        state.faults.clear();
        state.life += 1;
        state.powered_off = false;
    }

    /// The process ends and another starts, the machine stays up: handles and locks die, content stays as programs see
    /// it, synced or not.
    pub fn kill_process(&self) {
        let mut state = self.state.lock();
        state.locks.clear();
        state.faults.clear();
        state.life += 1;
    }

    /// Flips one bit of a file, both as seen and as stored. Panics when the file has no such byte.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) {
        let mut state = self.state.lock();
        let changed = state.live.file(path).ok().and_then(|id| {
            let content = state.files.get_mut(&id)?;
            let at = usize::try_from(offset).ok()?;
            let byte = *content.live.get(at)? ^ (1 << (bit & 7));
            let data = vec![byte];
            content.change(ContentChange::Write { offset: at, data }, true);
            Some(())
        });
        assert!(changed.is_some(), "{} has no byte {offset}", path.display());
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

/// Whether a changing operation goes on, and whether the power fails under it.
#[derive(PartialEq, Eq)]
enum Step {
    Go,
    PowerFails,
}

impl State {
    fn check(&self, path: &Path) -> io::Result<()> {
        if self.powered_off {
            return Err(power_error());
        }
        match self.broken.iter().find(|(prefix, _)| path.starts_with(prefix)) {
            Some((_, kind)) => Err(io::Error::new(*kind, "injected")),
            None => Ok(()),
        }
    }

    fn begin(&mut self, path: &Path) -> io::Result<Step> {
        self.check(path)?;
        let number = self.operation_count;
        self.operation_count += 1;
        match self.faults.remove(&number) {
            None => Ok(Step::Go),
            Some(Fault::Error(kind)) => Err(io::Error::new(kind, "injected")),
            Some(Fault::Crash) => {
                self.powered_off = true;
                Ok(Step::PowerFails)
            }
        }
    }

    fn change_name(&mut self, change: NameChange) {
        self.live.apply(&change);
        self.pending_names.push(change);
    }

    fn used(&self) -> u64 {
        let len = |id| self.files.get(&id).map_or(0, |content| content.live.len() as u64);
        self.live.file_ids().map(len).sum()
    }

    fn check_room(&self, id: FileId, new_len: u64) -> io::Result<()> {
        let old = self.files.get(&id).map_or(0, |content| content.live.len() as u64);
        let more = new_len.saturating_sub(old);
        if more > 0 && self.used() + more > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn content(&mut self, id: FileId) -> io::Result<&mut Content> {
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn power_error() -> io::Error {
    io::Error::other("the simulated power is off")
}

fn finish(step: Step) -> io::Result<()> {
    match step {
        Step::Go => Ok(()),
        Step::PowerFails => Err(power_error()),
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.check(path)?;
        let existing = state.live.get(path);
        let id = match existing {
            Some(_) if how.exclusive => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(id)) => {
                if how.truncate {
                    let step = state.begin(path)?;
                    state.content(id)?.change(ContentChange::SetLen(0), false);
                    finish(step)?;
                }
                id
            }
            None if !how.create => return Err(io::ErrorKind::NotFound.into()),
            None => {
                state.live.dir(path.parent().unwrap_or(Path::new("/")))?;
                let step = state.begin(path)?;
                let id = state.next_file;
                state.next_file += 1;
                state.files.insert(id, Content::default());
                state.change_name(NameChange::Insert(path.to_owned(), Node::File(id)));
                finish(step)?;
                id
            }
        };
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            id,
            path: path.to_owned(),
            life: state.life,
            how,
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if let Some(above) = path.parent() {
            self.state.lock().live.dir(above)?;
        }
        self.create_dir_all(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let mut ancestors: Vec<_> = path.ancestors().collect();
        ancestors.reverse();
        for dir in ancestors {
            match state.live.get(dir) {
                Some(Node::Dir) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    let step = state.begin(dir)?;
                    state.change_name(NameChange::Insert(dir.to_owned(), Node::Dir));
                    finish(step)?;
                }
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state.lock();
        state.check(path)?;
        state.live.dir(path)?;
        let mut entries = Vec::new();
        for (child, node) in state.live.children(path) {
            let len = match node {
                Node::Dir => 0,
                Node::File(id) => state.files.get(&id).map_or(0, |content| content.live.len() as u64),
            };
            if let Some(name) = child.file_name().and_then(|name| name.to_str()) {
                entries.push(DirEntry {
                    name: name.to_owned(),
                    is_dir: node == Node::Dir,
                    len,
                });
            }
        }
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        state.check(path)?;
        Ok(state.live.get(path).is_some())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(to)?;
        if state.live.get(from).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.live.dir(to.parent().unwrap_or(Path::new("/")))?;
        let step = state.begin(from)?;
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        finish(step)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(path)?;
        state.live.file(path)?;
        let step = state.begin(path)?;
        state.change_name(NameChange::Remove(path.to_owned()));
        finish(step)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(path)?;
        state.live.dir(path)?;
        let step = state.begin(path)?;
        state.change_name(NameChange::Remove(path.to_owned()));
        finish(step)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(path)?;
        state.live.dir(path)?;
        finish(state.begin(path)?)?;
        let state = &mut *state;
        let (touched, rest) = std::mem::take(&mut state.pending_names)
            .into_iter()
            .partition(|change: &NameChange| change.touches(path));
        let touched: Vec<NameChange> = touched;
        touched.iter().for_each(|change| state.durable.apply(change));
        state.pending_names = rest;
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let state = self.state.lock();
        state.check(path)?;
        Ok(DiskSpace {
            capacity: state.capacity,
            free: state.capacity.saturating_sub(state.used()),
            available: state.capacity.saturating_sub(state.used()),
        })
    }

    fn lock(&self, path: &Path, content: &[u8]) -> io::Result<DiskLock> {
        self.state.lock().check(path)?;
        if !self.state.lock().locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let life = self.state.lock().life;
        let guard = SimLock {
            disk: self.clone(),
            path: path.to_owned(),
            life,
        };
        let file = self.open(path, Open::TRUNCATE)?;
        file.write_all_at(content, 0)?;
        Ok(DiskLock::new(path, guard))
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

struct SimFile {
    disk: SimDisk,
    id: FileId,
    path: PathBuf,
    life: u64,
    how: Open,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFile({})", self.path.display())
    }
}

impl SimFile {
    fn state(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.disk.state.lock();
        if state.life != self.life {
            return Err(io::Error::other("this handle is from before the crash"));
        }
        state.check(&self.path)?;
        Ok(state)
    }

    fn change(&self, new_len: u64, change: ContentChange) -> io::Result<()> {
        if !self.how.write {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = self.state()?;
        let step = state.begin(&self.path)?;
        state.check_room(self.id, new_len)?;
        let dsync = self.how.dsync && step == Step::Go;
        state.content(self.id)?.change(change, dsync);
        finish(step)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        match state.begin(&self.path) {
            Ok(step) => {
                finish(step)?;
                state.content(self.id)?.sync();
                Ok(())
            }
            Err(error) => {
                state.content(self.id)?.sync_failed();
                Err(error)
            }
        }
    }
}

fn to_usize(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(io::Error::other)
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state()?;
        let live = &state.content(self.id)?.live;
        let start = to_usize(offset)?.min(live.len());
        let count = buffer.len().min(live.len() - start);
        buffer[..count].copy_from_slice(&live[start..start + count]);
        Ok(count)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let change = ContentChange::Write {
            offset: to_usize(offset)?,
            data: data.to_vec(),
        };
        self.change(offset + data.len() as u64, change)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.content(self.id)?.live.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(len, ContentChange::SetLen(to_usize(len)?))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset + len;
        if self.len()? >= end {
            return Ok(());
        }
        self.change(end, ContentChange::SetLen(to_usize(end)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with_dir() -> (SimDisk, &'static Path) {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/d")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        (disk, Path::new("/d/f"))
    }

    #[test]
    fn synced_content_under_a_synced_name_survives() {
        let (disk, path) = disk_with_dir();
        let file = disk.open(path, Open::CREATE_NEW).unwrap();
        file.write_all_at(&[1; 5000], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_all_at(&[2; 5000], 0).unwrap();
        disk.crash(3);
        assert!(file.len().is_err(), "the old handle is dead");
        let bytes = disk.read(path, 10_000).unwrap();
        assert_eq!(bytes.len(), 5000);
        assert!(
            bytes
                .chunks(512)
                .all(|sector| sector.iter().all(|byte| *byte == sector[0])),
            "torn by sector only"
        );
    }

    #[test]
    fn an_unsynced_name_can_vanish_and_unsynced_bytes_can_tear() {
        let (mut gone, mut torn, mut whole) = (0, 0, 0);
        for seed in 0..64 {
            let (disk, path) = disk_with_dir();
            let file = disk.open(path, Open::CREATE_NEW).unwrap();
            file.write_all_at(&[7; 4096], 0).unwrap();
            disk.crash(seed);
            match disk.read(path, 4096) {
                Err(_) => gone += 1,
                Ok(bytes) if bytes == [7; 4096] => whole += 1,
                Ok(_) => torn += 1,
            }
        }
        assert!(gone > 0 && torn > 0 && whole > 0, "{gone} {torn} {whole}");
    }

    #[test]
    fn a_failed_sync_loses_its_bytes_though_they_can_be_read() {
        let (disk, path) = disk_with_dir();
        let file = disk.open(path, Open::CREATE_NEW).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        disk.inject(0, Fault::Error(io::ErrorKind::Other));
        file.sync_data().unwrap_err();
        assert_eq!(disk.read(path, 10).unwrap(), b"abc");
        file.sync_data().unwrap();
        disk.crash(1);
        assert_eq!(disk.read(path, 10).unwrap(), b"");
    }

    #[test]
    fn dsync_writes_need_no_sync_and_locks_exclude() {
        let (disk, path) = disk_with_dir();
        let file = disk.open(path, Open::CREATE_NEW.with_dsync()).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        let lock = disk.lock(Path::new("/d/lock"), b"me").unwrap();
        assert_eq!(
            disk.lock(Path::new("/d/lock"), b"").unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop(lock);
        disk.lock(Path::new("/d/lock"), b"").unwrap();
        disk.crash(1);
        assert_eq!(disk.read(path, 10).unwrap(), b"abc");
    }

    #[test]
    fn a_full_disk_and_a_broken_directory_say_so() {
        let (disk, path) = disk_with_dir();
        disk.set_capacity(1000);
        let file = disk.open(path, Open::CREATE_NEW).unwrap();
        assert_eq!(
            file.write_all_at(&[0; 1001], 0).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        file.write_all_at(&[0; 1000], 0).unwrap();
        assert_eq!(disk.space(path).unwrap().available, 0);
        disk.break_below(Path::new("/d"), io::ErrorKind::BrokenPipe);
        assert_eq!(file.sync_data().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        disk.clear_faults();
        file.sync_data().unwrap();
    }
}
