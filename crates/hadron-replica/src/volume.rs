//! One storage directory: its lock, its free space, and the directories of one pool on it.
//!
//! Counters instead of scans: `used` is what replicas take, kept as they come and go; what is free comes from
//! `statvfs`. Does not know which replicas there are; that is the pool's map.

use crate::error::{ReplicaError, ReplicaResult};
use crate::identity::{PoolIdentity, StorageIdentity, incompatible};
use crate::layout;
use hadron_types::{DatanodeUuid, StorageId, StorageType};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, Mode};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// One entry of `dfs.datanode.data.dir`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeSpec {
    /// The directory; created when missing.
    pub dir: PathBuf,
    /// Its medium.
    pub storage_type: StorageType,
    /// Bytes left to other programs (`dfs.datanode.du.reserved`).
    pub reserved: u64,
}

/// What a volume tells the NameNode about its space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Bytes this DataNode may use in all, reserve taken off.
    pub capacity: u64,
    /// Bytes taken by replicas of all pools.
    pub dfs_used: u64,
    /// Bytes still to be had.
    pub remaining: u64,
    /// Bytes taken by replicas of the pool asked for.
    pub pool_used: u64,
    /// Bytes of `capacity` taken by files that are not ours.
    pub non_dfs_used: u64,
}

/// A locked storage directory.
#[derive(Debug)]
pub struct Volume {
    dir: PathBuf,
    storage_type: StorageType,
    reserved: u64,
    identity: Mutex<Option<StorageIdentity>>,
    used: AtomicI64,
    reserved_for_rbw: AtomicU64,
    failed: AtomicBool,
    _lock: File,
}

impl Volume {
    /// Creates the directory if need be, locks it, and reads who it belongs to.
    pub fn open(spec: &VolumeSpec, permissions: u32) -> ReplicaResult<Self> {
        let dir = &spec.dir;
        create_dir(dir, permissions)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(permissions)).map_err(ReplicaError::io("chmod", dir))?;
        let lock = lock(dir)?;
        Ok(Self {
            dir: dir.clone(),
            storage_type: spec.storage_type,
            reserved: spec.reserved,
            identity: Mutex::new(StorageIdentity::read(dir)?),
            used: AtomicI64::new(0),
            reserved_for_rbw: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            _lock: lock,
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
    /// Whether the disk failed since start.
    pub fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
    /// Takes the volume out of use for new replicas; the heartbeat reports it.
    pub fn mark_failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
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
        create_dir(&self.dir.join(layout::CURRENT), 0o700)?;
        let fresh = StorageIdentity {
            storage_id: StorageId::from(format!("DS-{}", uuid::Uuid::new_v4())),
            cluster_id: cluster_id.to_owned(),
            datanode_uuid: uuid.clone(),
            layout_version: layout::LAYOUT_VERSION,
        };
        fresh.write(&self.dir)?;
        tracing::info!(dir = %self.dir.display(), storage = %fresh.storage_id, "formatted storage directory");
        *self.identity.lock() = Some(fresh);
        Ok(())
    }

    pub(crate) fn add_used(&self, bytes: i64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }
    pub(crate) fn reserve(&self, bytes: u64) {
        self.reserved_for_rbw.fetch_add(bytes, Ordering::Relaxed);
    }
    pub(crate) fn release(&self, bytes: u64) {
        let keep = |held: u64| Some(held.saturating_sub(bytes));
        let _ = self
            .reserved_for_rbw
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep);
    }

    /// Bytes a new replica may still take here, what open replicas asked for taken off.
    pub fn available(&self) -> ReplicaResult<u64> {
        Ok(self
            .usage(0)?
            .remaining
            .saturating_sub(self.reserved_for_rbw.load(Ordering::Relaxed)))
    }

    /// Space figures of one `statvfs`; `pool_used` is passed through.
    pub fn usage(&self, pool_used: u64) -> ReplicaResult<Usage> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(|e| ReplicaError::io("statvfs", &self.dir)(e.into()))?;
        let total = stat.f_blocks.saturating_mul(stat.f_frsize);
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let dfs_used = u64::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(0);
        let capacity = total.saturating_sub(self.reserved);
        let remaining = free
            .saturating_sub(self.reserved)
            .min(capacity.saturating_sub(dfs_used));
        Ok(Usage {
            capacity,
            dfs_used,
            remaining,
            pool_used,
            non_dfs_used: capacity.saturating_sub(dfs_used).saturating_sub(remaining),
        })
    }
}

/// The directories of one pool on one volume, and its share of the space.
#[derive(Debug)]
pub(crate) struct PoolVolume {
    pub(crate) volume: std::sync::Arc<Volume>,
    pub(crate) index: u16,
    dir: PathBuf,
    used: AtomicI64,
}

impl PoolVolume {
    /// Formats the pool's directories at first contact, else checks whom they belong to.
    pub(crate) fn open(volume: std::sync::Arc<Volume>, index: u16, identity: &PoolIdentity) -> ReplicaResult<Self> {
        let name = layout::pool_dir_name(&identity.pool)
            .ok_or_else(|| incompatible(volume.dir(), format!("block pool id {} is malformed", identity.pool)))?;
        let dir = volume.dir().join(layout::CURRENT).join(name);
        let found = PoolIdentity::read(&dir, &identity.cluster_id)?;
        match &found {
            Some(found) => found.check(identity, &dir)?,
            None => create_dir(&dir.join(layout::CURRENT), 0o700)?,
        }
        let this = Self {
            volume,
            index,
            dir,
            used: AtomicI64::new(0),
        };
        for part in [this.finalized(), this.rbw(), this.tmp()] {
            create_dir(&part, 0o700)?;
        }
        if found.is_none() {
            identity.write(&this.dir)?;
        }
        Ok(this)
    }

    pub(crate) fn finalized(&self) -> PathBuf {
        self.dir.join(layout::CURRENT).join(layout::FINALIZED)
    }
    pub(crate) fn rbw(&self) -> PathBuf {
        self.dir.join(layout::CURRENT).join(layout::RBW)
    }
    pub(crate) fn tmp(&self) -> PathBuf {
        self.dir.join(layout::TMP)
    }
    pub(crate) fn used(&self) -> u64 {
        u64::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(0)
    }
    pub(crate) fn add_used(&self, bytes: i64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        self.volume.add_used(bytes);
    }

    /// Writes `dfsUsed` for a Java DataNode that takes the directory over. `now_ms`: Unix time.
    pub(crate) fn write_dfs_used(&self, now_ms: u64) -> ReplicaResult<()> {
        let file = self.dir.join(layout::CURRENT).join(layout::DFS_USED);
        fs::write(&file, format!("{} {now_ms}", self.used())).map_err(ReplicaError::io("write", &file))
    }
}

/// Creates a directory and its parents with `mode`; an existing one is left alone.
pub(crate) fn create_dir(dir: &Path, mode: u32) -> ReplicaResult<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(dir)
        .map_err(ReplicaError::io("create directory", dir))
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
