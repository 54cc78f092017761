//! The way of a block scanner through one volume's share of a pool: directory by directory, in the order of names.
//!
//! A position is names, as Hadoop's cursor files have them, so that a walk can go on after a restart, of either make of
//! DataNode. What it does not do: read replicas. Invariants: a name from a cursor file is looked for, never joined into a
//! path unless it is that of a block directory. Source: Hadoop `FsVolumeImpl.BlockIteratorImpl`.

use crate::error::{ReplicaError, ReplicaResult};
use crate::layout::{self, BlockFile};
use crate::pool_volume::PoolVolume;
use crate::store::ReplicaStore;
use hadron_env::disk::Open;
use hadron_types::{BlockId, BlockPoolId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long the listing of a block directory serves.
const LISTING_MAX_AGE: Duration = Duration::from_secs(15 * 60);
/// Longest cursor file read.
const MAX_CURSOR_BYTES: u64 = 64 * 1024;

/// How far a walk is: the names looked at last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WalkPosition {
    /// The directory below `finalized`.
    pub dir: Option<String>,
    /// The directory below that.
    pub subdir: Option<String>,
    /// The data file in it.
    pub entry: Option<String>,
    /// Everything was seen.
    pub at_end: bool,
}

impl WalkPosition {
    /// Whether a walk could have come here: names of block directories, in order.
    pub fn is_plausible(&self) -> bool {
        let dirs = [&self.dir, &self.subdir];
        let named = dirs.into_iter().flatten().all(|name| is_block_dir(name));
        named && (self.subdir.is_none() || self.dir.is_some()) && (self.entry.is_none() || self.subdir.is_some())
    }
}

/// A walk over the finished replicas of a pool on one volume.
#[derive(Clone, Debug, Default)]
pub struct BlockWalk {
    position: WalkPosition,
    /// Data files of the current directory, sorted by name, and when they were listed.
    listing: Option<(Vec<String>, Duration)>,
}

impl BlockWalk {
    /// Goes on behind `position`.
    pub fn resume(position: WalkPosition) -> Self {
        Self {
            position,
            listing: None,
        }
    }

    /// How far it is.
    pub fn position(&self) -> &WalkPosition {
        &self.position
    }

    /// The next replica by its data file; `None` at the end. An error ends the walk.
    fn next(&mut self, home: &PoolVolume, now: Duration) -> ReplicaResult<Option<BlockId>> {
        while !self.position.at_end {
            match self.step(home, now) {
                Ok(Some(id)) => return Ok(Some(id)),
                Ok(None) => {}
                Err(error) => {
                    self.position.at_end = true;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Looks at the next name.
    fn step(&mut self, home: &PoolVolume, now: Duration) -> ReplicaResult<Option<BlockId>> {
        let root = home.finalized();
        if let (Some(dir), Some(subdir)) = (&self.position.dir, &self.position.subdir) {
            let fresh = |at: &Duration| now.saturating_sub(*at) < LISTING_MAX_AGE;
            let names = match self.listing.take().filter(|(_, at)| fresh(at)) {
                Some(listing) => listing,
                None => (data_files(home, &root.join(dir).join(subdir))?, now),
            };
            let next = after(&names.0, self.position.entry.as_deref()).cloned();
            self.listing = Some(names);
            if let Some(name) = next {
                let found = layout::parse_name(&name);
                self.position.entry = Some(name);
                return Ok(match found {
                    Some(BlockFile::Data(id)) => Some(id),
                    _ => None,
                });
            }
        }
        self.listing = None;
        self.position.entry = None;
        if let Some(dir) = &self.position.dir {
            let subdirs = block_dirs(home, &root.join(dir))?;
            self.position.subdir = after(&subdirs, self.position.subdir.as_deref()).cloned();
        }
        if self.position.subdir.is_none() {
            let dirs = block_dirs(home, &root)?;
            self.position.dir = after(&dirs, self.position.dir.as_deref()).cloned();
            self.position.at_end = self.position.dir.is_none();
        }
        Ok(None)
    }
}

/// The first name behind `last`, which need not be there any more.
fn after<'a>(names: &'a [String], last: Option<&str>) -> Option<&'a String> {
    match last {
        None => names.first(),
        Some(last) => names.get(names.partition_point(|name| name.as_str() <= last)),
    }
}

fn is_block_dir(name: &str) -> bool {
    name.strip_prefix("subdir")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn block_dirs(home: &PoolVolume, dir: &std::path::Path) -> ReplicaResult<Vec<String>> {
    let entries = home.disk().list(dir).map_err(ReplicaError::io("list", dir))?;
    let dirs = entries
        .into_iter()
        .filter(|entry| entry.is_dir && is_block_dir(&entry.name));
    Ok(dirs.map(|entry| entry.name).collect())
}

fn data_files(home: &PoolVolume, dir: &std::path::Path) -> ReplicaResult<Vec<String>> {
    let entries = home.disk().list(dir).map_err(ReplicaError::io("list", dir))?;
    let is_data = |name: &str| matches!(layout::parse_name(name), Some(BlockFile::Data(_)));
    let files = entries
        .into_iter()
        .filter(|entry| !entry.is_dir && is_data(&entry.name));
    Ok(files.map(|entry| entry.name).collect())
}

impl ReplicaStore {
    /// The pools that are attached.
    pub fn pool_ids(&self) -> Vec<BlockPoolId> {
        let mut ids = self.attached();
        ids.sort();
        ids
    }

    /// The number, in the order of [`Self::volumes`], of the volume a replica lies on.
    pub fn volume_of(&self, pool: &BlockPoolId, id: BlockId) -> Option<usize> {
        self.pool(pool)?.entry(id)?.volume().map(usize::from)
    }

    /// Takes a walk one replica further; `None` at its end. `now`: monotonic time.
    ///
    /// Errors: the pool is not attached, or the disk failed, which ends the walk.
    pub fn walk_on(
        &self,
        pool: &BlockPoolId,
        volume: usize,
        walk: &mut BlockWalk,
        now: Duration,
    ) -> ReplicaResult<Option<BlockId>> {
        walk.next(&*self.home_of(pool, volume)?, now)
    }

    /// The content of the scanner's cursor file; `None` when there is none.
    pub fn load_cursor(&self, pool: &BlockPoolId, volume: usize) -> ReplicaResult<Option<Vec<u8>>> {
        let home = self.home_of(pool, volume)?;
        let path = home.dir().join(layout::SCANNER_CURSOR);
        let read = home.disk().open(&path, Open::READ).and_then(|file| {
            let mut content = vec![0; file.len()?.min(MAX_CURSOR_BYTES) as usize];
            file.read_exact_at(&mut content, 0)?;
            Ok(content)
        });
        match read {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ReplicaError::io("read", &path)(error)),
        }
    }

    /// Puts `content` in the place of the scanner's cursor file, whole or not at all.
    pub fn save_cursor(&self, pool: &BlockPoolId, volume: usize, content: &[u8]) -> ReplicaResult<()> {
        let home = self.home_of(pool, volume)?;
        let path = home.dir().join(layout::SCANNER_CURSOR);
        let fresh = PathBuf::from(format!("{}.tmp", path.display()));
        let saved = home.disk().open(&fresh, Open::TRUNCATE).and_then(|file| {
            file.write_all_at(content, 0)?;
            file.sync_data()?;
            home.disk().rename(&fresh, &path)
        });
        saved.map_err(|error| {
            // What is left of it is overwritten by the next one.
            let _ = home.disk().remove(&fresh);
            ReplicaError::io("write", &path)(error)
        })
    }

    /// The pool's share of a volume in use.
    pub(crate) fn home_of(&self, pool: &BlockPoolId, volume: usize) -> ReplicaResult<Arc<PoolVolume>> {
        let found = self.pool(pool).ok_or_else(|| ReplicaError::UnknownPool(pool.clone()))?;
        let home = found.volumes.get(volume).cloned();
        match home {
            Some(home) if !home.volume.is_failed() => Ok(home),
            _ => {
                let dir = self.volumes().get(volume).map(|volume| volume.dir().to_owned());
                Err(ReplicaError::VolumeFailed(dir.unwrap_or_default()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_block_directories_are_plausible() {
        let position = |dir: Option<&str>, subdir: Option<&str>, entry: Option<&str>| WalkPosition {
            dir: dir.map(str::to_owned),
            subdir: subdir.map(str::to_owned),
            entry: entry.map(str::to_owned),
            at_end: false,
        };
        for (position, plausible) in [
            (position(None, None, None), true),
            (position(Some("subdir3"), None, None), true),
            (position(Some("subdir3"), Some("subdir10"), Some("blk_1")), true),
            (position(Some(".."), Some("subdir10"), None), false),
            (position(Some("subdir3"), Some("subdir3/../.."), None), false),
            (position(Some("subdir"), None, None), false),
            (position(None, Some("subdir1"), None), false),
            (position(Some("subdir1"), None, Some("blk_1")), false),
        ] {
            assert_eq!(position.is_plausible(), plausible, "{position:?}");
        }
    }
}
