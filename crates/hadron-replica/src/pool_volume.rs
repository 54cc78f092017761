//! The directories of one pool on one volume, and its share of the space.
//!
//! Does not know the replicas; see `pool`.

use crate::disk::VolumeDisk;
use crate::error::{ReplicaError, ReplicaResult};
use crate::identity::{PoolIdentity, incompatible};
use crate::layout;
use crate::volume::Volume;
use hadron_env::disk::Open;
use hadron_types::BlockId;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Directories whose names may be new when a pool is formatted: its own, `current` and the volume's.
const PARENTS_MADE: usize = 3;

/// A pool's share of a volume.
#[derive(Debug)]
pub(crate) struct PoolVolume {
    pub(crate) volume: Arc<Volume>,
    pub(crate) index: u16,
    dir: PathBuf,
    /// The layout its directories have, and keep.
    layout: i32,
    used: AtomicI64,
}

impl PoolVolume {
    /// Names the directories without looking at them: of a volume that is out of use, nothing else is possible.
    pub(crate) fn name(volume: Arc<Volume>, index: u16, identity: &PoolIdentity) -> ReplicaResult<Self> {
        let name = layout::pool_dir_name(&identity.pool)
            .ok_or_else(|| incompatible(volume.dir(), format!("block pool id {} is malformed", identity.pool)))?;
        let dir = volume.dir().join(layout::CURRENT).join(name);
        let identity = volume.identity();
        let layout = identity.map_or(layout::LAYOUT_VERSION, |identity| identity.layout_version);
        Ok(Self {
            volume,
            index,
            dir,
            layout,
            used: AtomicI64::new(0),
        })
    }

    /// Formats the pool's directories at first contact, else checks whom they belong to.
    pub(crate) fn prepare(&self, identity: &PoolIdentity) -> ReplicaResult<()> {
        let disk = self.disk();
        let create = |dir: PathBuf| {
            disk.create_dir_all(&dir)
                .map_err(ReplicaError::io("create directory", &dir))
        };
        let found = PoolIdentity::read(disk, &self.dir, &identity.cluster_id)?;
        match &found {
            Some(found) => found.check(identity, &self.dir)?,
            None => create(self.dir.join(layout::CURRENT))?,
        }
        for part in [self.finalized(), self.rbw(), self.tmp()] {
            create(part)?;
        }
        if found.is_none() {
            identity.write(disk, &self.dir)?;
            // What a synced replica lies in must be there after a loss of power as well.
            for dir in self.dir.ancestors().take(PARENTS_MADE) {
                disk.sync_dir(dir).map_err(ReplicaError::io("sync", dir))?;
            }
        }
        Ok(())
    }

    pub(crate) fn disk(&self) -> &VolumeDisk {
        self.volume.disk()
    }
    /// The pool's directory on the volume.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
    /// The directory of everything in use.
    pub(crate) fn current(&self) -> PathBuf {
        self.dir.join(layout::CURRENT)
    }
    pub(crate) fn finalized(&self) -> PathBuf {
        self.dir.join(layout::CURRENT).join(layout::FINALIZED)
    }
    /// Where a finished replica of the block belongs.
    pub(crate) fn block_dir(&self, id: BlockId) -> PathBuf {
        self.finalized().join(layout::finalized_dir_of(self.layout, id))
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

    /// Writes `dfsUsed` for the next owner of the directory. `now_ms`: Unix time.
    pub(crate) fn write_dfs_used(&self, now_ms: u64) -> ReplicaResult<()> {
        let path = self.dir.join(layout::CURRENT).join(layout::DFS_USED);
        let text = format!("{} {now_ms}", self.used());
        self.disk()
            .open(&path, Open::TRUNCATE)
            .and_then(|file| {
                file.write_all_at(text.as_bytes(), 0)?;
                file.sync_data()
            })
            .map_err(ReplicaError::io("write", &path))
    }
}
