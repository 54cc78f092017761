//! One storage directory: its lock, its room, and whether it is still in use.
//!
//! Counters instead of scans: `used` is what replicas take, kept as they come and go; what is free comes from the
//! file system and is looked up at most every [`SPACE_MAX_AGE`]. Does not know which replicas there are; that is the
//! pool's map. Invariant: a failed volume never comes back while this value lives.

use crate::disk::VolumeDisk;
use crate::error::{ReplicaError, ReplicaResult};
use crate::identity::{StorageIdentity, incompatible};
use crate::layout;
use crate::space::{self, Reserve, Usage};
use crate::trouble::{Message, Trouble};
use hadron_env::disk::{Disk, DiskSpace};
use hadron_types::{DatanodeUuid, StorageId, StorageType};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, Mode};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// How long a look at the file system's room serves; our own writes since then are taken off it.
pub const SPACE_MAX_AGE: Duration = Duration::from_secs(1);

/// One entry of `dfs.datanode.data.dir`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeSpec {
    /// The directory; created when missing.
    pub dir: PathBuf,
    /// Its medium.
    pub storage_type: StorageType,
    /// Room left to other programs (`dfs.datanode.du.reserved`).
    pub reserve: Reserve,
}

/// A volume that is out of use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeFailure {
    /// Its directory.
    pub dir: PathBuf,
    /// Its name; `None` when it could not even be opened.
    pub storage_id: Option<StorageId>,
    /// When, Unix time in ms.
    pub at_ms: u64,
    /// Bytes of capacity gone with it; 0 when that is not known.
    pub capacity_lost: u64,
    /// What was wrong.
    pub reason: String,
}

impl VolumeFailure {
    /// The directory as Hadoop writes locations.
    pub fn location(&self) -> String {
        format!("file:{}", self.dir.display())
    }
}

/// A look at the file system's room.
#[derive(Clone, Copy, Debug)]
struct Look {
    space: DiskSpace,
    at: Instant,
    /// Our own use at that time.
    used: i64,
}

impl Look {
    /// The room now that our use is `used`.
    fn shifted(&self, used: i64) -> DiskSpace {
        let grown = used - self.used;
        let shift = |bytes: u64| bytes.saturating_add_signed(-grown).min(self.space.capacity);
        DiskSpace {
            capacity: self.space.capacity,
            free: shift(self.space.free),
            available: shift(self.space.available),
        }
    }
}

/// A locked storage directory.
#[derive(Debug)]
pub struct Volume {
    dir: PathBuf,
    storage_type: StorageType,
    reserve: Reserve,
    disk: VolumeDisk,
    identity: Mutex<Option<StorageIdentity>>,
    used: AtomicI64,
    held: AtomicU64,
    look: Mutex<Option<Look>>,
    failed: AtomicBool,
    lock: File,
}

impl Volume {
    /// Creates the directory if need be, locks it, and reads who it belongs to. `index`: its number in the store;
    /// `orders`: where it asks to be checked.
    pub(crate) fn open(
        spec: &VolumeSpec,
        permissions: u32,
        disk: Arc<dyn Disk>,
        index: usize,
        orders: Sender<Message>,
    ) -> ReplicaResult<Self> {
        let dir = &spec.dir;
        disk.create_dir_all(dir)
            .map_err(ReplicaError::io("create directory", dir))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(permissions)).map_err(ReplicaError::io("chmod", dir))?;
        let lock = lock(dir)?;
        let disk = VolumeDisk::new(disk, Arc::new(Trouble::new(index, orders)));
        let identity = StorageIdentity::read(&disk, dir)?;
        Ok(Self {
            dir: dir.clone(),
            storage_type: spec.storage_type,
            reserve: spec.reserve,
            disk,
            identity: Mutex::new(identity),
            used: AtomicI64::new(0),
            held: AtomicU64::new(0),
            look: Mutex::new(None),
            failed: AtomicBool::new(false),
            lock,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// The medium.
    pub fn storage_type(&self) -> StorageType {
        self.storage_type
    }
    /// What VERSION says; `None` until formatted.
    pub fn identity(&self) -> Option<StorageIdentity> {
        self.identity.lock().clone()
    }
    /// The storage's name; empty until formatted.
    pub fn storage_id(&self) -> StorageId {
        self.identity
            .lock()
            .as_ref()
            .map_or_else(|| StorageId::from(""), |identity| identity.storage_id.clone())
    }
    /// Whether the volume was taken out of use since start.
    pub fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
    /// Errors of the disk since start.
    pub fn errors(&self) -> u64 {
        self.disk.trouble().count()
    }
    /// Orders a check of the volume, as an error of its disk does.
    pub fn suspect(&self) {
        self.disk.trouble().order();
    }
    /// Takes the volume out of use; true for the first caller.
    pub(crate) fn mark_failed(&self) -> bool {
        !self.failed.swap(true, Ordering::AcqRel)
    }
    pub(crate) fn disk(&self) -> &VolumeDisk {
        &self.disk
    }

    /// Whether the directory is still the one that was locked: not unmounted, not replaced.
    pub(crate) fn check_presence(&self) -> ReplicaResult<()> {
        let path = self.dir.join(layout::LOCK);
        let held = self.lock.metadata().map_err(ReplicaError::io("stat", &path))?;
        let found = fs::metadata(&path).map_err(ReplicaError::io("stat", &path))?;
        if (held.dev(), held.ino()) == (found.dev(), found.ino()) {
            return Ok(());
        }
        Err(incompatible(
            &self.dir,
            "the directory is not the one that was locked at start",
        ))
    }

    /// Lets another store have the directory.
    pub(crate) fn unlock(&self) {
        let unlocked = rustix::fs::fcntl_lock(&self.lock, FlockOperation::Unlock)
            .and_then(|()| rustix::fs::flock(&self.lock, FlockOperation::Unlock));
        if let Err(error) = unlocked {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot unlock; the end of the process does");
        }
    }

    /// Formats the directory for `cluster_id` at first contact, else checks that it belongs there.
    pub(crate) fn join_cluster(&self, cluster_id: &str, uuid: &DatanodeUuid) -> ReplicaResult<()> {
        if let Some(found) = self.identity() {
            if found.cluster_id != cluster_id {
                let problem = format!("clusterID {} is not the NameNode's {cluster_id}", found.cluster_id);
                return Err(incompatible(&self.dir, problem));
            }
            return Ok(());
        }
        let current = self.dir.join(layout::CURRENT);
        self.disk
            .create_dir_all(&current)
            .map_err(ReplicaError::io("create directory", &current))?;
        let fresh = StorageIdentity {
            storage_id: StorageId::from(format!("DS-{}", uuid::Uuid::new_v4())),
            cluster_id: cluster_id.to_owned(),
            datanode_uuid: uuid.clone(),
            layout_version: layout::LAYOUT_VERSION,
        };
        fresh.write(&self.disk, &self.dir)?;
        tracing::info!(dir = %self.dir.display(), storage = %fresh.storage_id, "formatted storage directory");
        *self.identity.lock() = Some(fresh);
        Ok(())
    }

    pub(crate) fn add_used(&self, bytes: i64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }
    /// Promises room to an open replica.
    pub(crate) fn hold(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }
    /// Takes a promise back, as bytes are written or the replica ends.
    pub(crate) fn release(&self, bytes: u64) {
        let keep = |held: u64| Some(held.saturating_sub(bytes));
        let _ = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep);
    }
    /// Bytes promised to open replicas.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
    /// Bytes left to other programs, by the last look at the disk.
    pub fn reserved(&self) -> u64 {
        self.look
            .lock()
            .map_or(self.reserve.bytes, |look| self.reserve.on(look.space.capacity))
    }

    /// Bytes a new replica may still take here.
    pub fn available(&self) -> ReplicaResult<u64> {
        Ok(self.usage(0)?.remaining)
    }

    /// Space figures; `pool_used` is passed through.
    pub fn usage(&self, pool_used: u64) -> ReplicaResult<Usage> {
        let space = self.space()?;
        let used = u64::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(0);
        Ok(space::usage(space, self.reserve, used, self.held(), pool_used))
    }

    /// Bytes a new replica may take, by the last look at the disk if there is one: a disk that hangs must not hold up
    /// writers that can go elsewhere.
    pub(crate) fn room(&self) -> ReplicaResult<u64> {
        if self.disk.trouble().take_full() {
            *self.look.lock() = None;
        }
        if self.look.lock().is_some() {
            return Ok(self.last_usage(0).remaining);
        }
        self.available()
    }

    /// The last figures that could be had; for a volume that does not answer any more.
    pub(crate) fn last_usage(&self, pool_used: u64) -> Usage {
        let used = u64::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(0);
        let look = *self.look.lock();
        look.map_or_else(Usage::default, |look| {
            space::usage(look.shifted(used as i64), self.reserve, used, self.held(), pool_used)
        })
    }

    /// The file system's room, what we wrote since the last look taken off.
    fn space(&self) -> ReplicaResult<DiskSpace> {
        let used = self.used.load(Ordering::Relaxed);
        if self.disk.trouble().take_full() {
            *self.look.lock() = None;
        }
        if let Some(look) = *self.look.lock()
            && look.at.elapsed() < SPACE_MAX_AGE
        {
            return Ok(look.shifted(used));
        }
        let space = self
            .disk
            .space(&self.dir)
            .map_err(ReplicaError::io("statvfs", &self.dir))?;
        *self.look.lock() = Some(Look {
            space,
            at: Instant::now(),
            used,
        });
        Ok(space)
    }
}

/// Takes both kinds of lock: `flock` keeps other stores of this process out, the record lock a Java DataNode.
fn lock(dir: &Path) -> ReplicaResult<File> {
    let path = dir.join(layout::LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(Mode::from_raw_mode(0o600).bits())
        .open(&path)
        .map_err(ReplicaError::io("open", &path))?;
    for attempt in [
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive),
        rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive),
    ] {
        attempt.map_err(|errno| match errno {
            rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS => ReplicaError::Locked(dir.to_owned()),
            other => ReplicaError::io("lock", &path)(other.into()),
        })?;
    }
    file.set_len(0)
        .and_then(|()| write!(file, "{}@localhost", std::process::id()))
        .map_err(ReplicaError::io("write", &path))?;
    Ok(file)
}
