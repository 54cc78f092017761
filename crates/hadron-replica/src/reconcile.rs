//! Holding a volume's directories against the map of replicas, for the directory scanner.
//!
//! Only finished replicas are looked at: those that are open, recovering, being copied here or deleted are their owners'.
//! What does not fit in a directory's listing is looked at again on its own before anything is done about it, because
//! listings age; each step then happens only if the map still has what it was decided on, and while nobody moves or
//! restamps a replica. No lock is held across I/O.
//!
//! | memory | disk | done |
//! |---|---|---|
//! | nothing | data | taken in, with the stamp of its meta file |
//! | nothing | meta alone | the meta file is removed |
//! | replica | data nowhere | forgotten, its meta file removed |
//! | replica | data elsewhere | found there |
//! | replica | data in two places | the newer, then longer one stays |
//! | replica | another length | length corrected, reported as corrupt |
//! | replica | meta of another stamp | stamp corrected, reported as corrupt |
//! | replica | no meta | reported as corrupt; stays readable, where Hadoop takes away its stamp |
//!
//! Source of the rules: Hadoop `FsDatasetImpl.checkAndUpdate`, `DirectoryScanner`.

use crate::disk::VolumeDisk;
use crate::error::{ReplicaError, ReplicaResult};
use crate::files::{remove, remove_counted};
use crate::layout::{self, BlockFile};
use crate::load::{MAX_DEPTH, UNKNOWN_STAMP};
use crate::pool::{Entry, Finalized, FinalizedReplica, Pool};
use crate::pool_volume::PoolVolume;
use crate::store::ReplicaStore;
use hadron_env::disk::Open;
use hadron_types::{Block, BlockId, BlockPoolId, GenerationStamp};
use hashbrown::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What became of a replica that did not fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Repair {
    /// It lay on the disk, unknown, or elsewhere than was believed; or where it was believed to lie, after some doubt.
    Found(FinalizedReplica),
    /// Its data is gone.
    Gone(FinalizedReplica),
    /// What is there is not what the NameNode believes; the block as it was known.
    Corrupt(Block),
}

/// Counts of one comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reconciled {
    /// Data and meta files of blocks on the disk, by block.
    pub blocks: u64,
    /// Replicas without meta file.
    pub missing_meta: u64,
    /// Replicas without data file.
    pub missing_data: u64,
    /// Data files without a replica in memory.
    pub missing_memory: u64,
    /// Replicas whose length, stamp or place differs.
    pub mismatched: u64,
    /// Blocks with two data files.
    pub duplicate: u64,
    /// Meta files of no block.
    pub orphans: u64,
}

impl Reconciled {
    /// Adds the counts of another volume.
    pub fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.missing_meta += other.missing_meta;
        self.missing_data += other.missing_data;
        self.missing_memory += other.missing_memory;
        self.mismatched += other.mismatched;
        self.duplicate += other.duplicate;
        self.orphans += other.orphans;
    }

    /// Replicas and files that did not fit.
    pub fn differences(&self) -> u64 {
        self.missing_meta + self.missing_data + self.missing_memory + self.mismatched + self.duplicate + self.orphans
    }
}

impl ReplicaStore {
    /// Compares one volume's share of a pool with the map and mends what differs, telling `each` of it. `go_on` is called
    /// between directories and may wait; false ends the comparison early.
    ///
    /// Errors: the pool is not attached, the volume is out of use, a directory cannot be listed.
    pub fn reconcile(
        &self,
        pool: &BlockPoolId,
        volume: usize,
        go_on: &mut dyn FnMut() -> bool,
        each: &mut dyn FnMut(Repair),
    ) -> ReplicaResult<Reconciled> {
        let home = self.home_of(pool, volume)?;
        let found = self.pool(pool).ok_or_else(|| ReplicaError::UnknownPool(pool.clone()))?;
        let mut comparison = Comparison {
            pool: &found,
            home: &home,
            counts: Reconciled::default(),
            each,
        };
        comparison.run(go_on)?;
        Ok(comparison.counts)
    }
}

/// The files of one block in one directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Files {
    data: Option<u64>,
    /// Of several the newest.
    meta: Option<GenerationStamp>,
}

struct Comparison<'a> {
    pool: &'a Arc<Pool>,
    home: &'a Arc<PoolVolume>,
    counts: Reconciled,
    each: &'a mut dyn FnMut(Repair),
}

impl Comparison<'_> {
    fn run(&mut self, go_on: &mut dyn FnMut() -> bool) -> ReplicaResult<()> {
        let mut unseen = self.pool.finalized_on(self.home.index);
        let mut open = vec![(self.home.finalized(), 0)];
        while let Some((dir, depth)) = open.pop() {
            if !go_on() {
                return Ok(());
            }
            let (found, dirs) = list(self.home.disk(), &dir)?;
            if depth < MAX_DEPTH {
                open.extend(dirs.into_iter().map(|dir| (dir, depth + 1)));
            }
            for (id, files) in found {
                self.counts.blocks += 1;
                if files.data.is_some()
                    && let Ok(at) = unseen.binary_search_by_key(&id, |(id, _)| *id)
                {
                    unseen[at].1 = true;
                }
                self.compare(id, &dir, files)?;
            }
        }
        for (id, _) in unseen.into_iter().filter(|(_, seen)| !seen) {
            if !go_on() {
                return Ok(());
            }
            if let Some(Entry::Finalized(finalized)) = self.pool.raw_entry(id)
                && finalized.volume == self.home.index
            {
                self.check_in_place(id, &finalized)?;
            }
        }
        Ok(())
    }

    /// Looks at what one directory has of one block.
    fn compare(&mut self, id: BlockId, dir: &Path, files: Files) -> ReplicaResult<()> {
        match self.pool.raw_entry(id) {
            None => self.take_in(id, dir),
            Some(Entry::Finalized(finalized)) => {
                let place = self.pool.finalized_dir(id, &finalized);
                if finalized.volume != self.home.index || place != dir {
                    return match files.data {
                        Some(_) => self.settle_place(id, &finalized, dir),
                        None => Ok(()),
                    };
                }
                let expected = Files {
                    data: Some(finalized.len),
                    meta: Some(finalized.stamp),
                };
                // Without data it may lie elsewhere, which shows in that directory or at the end.
                match files == expected || files.data.is_none() {
                    true => Ok(()),
                    false => self.check_in_place(id, &finalized),
                }
            }
            Some(_) => Ok(()),
        }
    }

    /// Files of a block that is not in memory.
    fn take_in(&mut self, id: BlockId, dir: &Path) -> ReplicaResult<()> {
        let claimed = Block {
            id,
            generation_stamp: UNKNOWN_STAMP,
            len: 0,
        };
        if self.pool.claim(&claimed).is_err() {
            return Ok(());
        }
        let taken = self.take_in_claimed(id, dir);
        if !matches!(taken, Ok(true)) {
            self.pool.unclaim(id);
        }
        taken.map(drop)
    }

    /// True when the place in the map is filled.
    fn take_in_claimed(&mut self, id: BlockId, dir: &Path) -> ReplicaResult<bool> {
        let disk = self.home.disk();
        let files = look(disk, dir, id)?;
        match (files.data, files.meta) {
            (Some(len), meta) => {
                let finalized = self.finalized_at(id, dir, len, meta);
                let block = finalized.block(id);
                self.pool.put(id, Entry::Finalized(finalized));
                self.leave_failed(id);
                self.home.add_used(len as i64 + meta_file_len(disk, dir, id, meta));
                self.counts.missing_memory += 1;
                tracing::warn!(%block, dir = %dir.display(), "replica on the disk was not in memory, taken in");
                (self.each)(Repair::Found(self.pool.placed(block, self.home)));
                Ok(true)
            }
            (None, Some(stamp)) => {
                let path = dir.join(layout::meta_name(id, stamp));
                self.counts.orphans += 1;
                tracing::warn!(file = %path.display(), "removing a meta file without a block");
                remove(disk, &path)?;
                Ok(false)
            }
            (None, None) => Ok(false),
        }
    }

    /// A replica whose files do not fit, or are not there.
    fn check_in_place(&mut self, id: BlockId, known: &Finalized) -> ReplicaResult<()> {
        if !self.pool.holds_exactly(id, known) || self.pool.is_unsettled(id) {
            return Ok(());
        }
        let dir = self.pool.finalized_dir(id, known);
        let files = look(self.home.disk(), &dir, id)?;
        let Some(len) = files.data else {
            return self.forget(id, known, &dir, files.meta);
        };
        let has_meta = match files.meta {
            Some(stamp) if stamp == known.stamp => true,
            Some(_) => self.has_file(&dir, &layout::meta_name(id, known.stamp))?,
            None => false,
        };
        let stamp = match files.meta {
            Some(stamp) if !has_meta => stamp,
            _ => known.stamp,
        };
        let lost_meta = !has_meta && files.meta.is_none() && known.stamp != UNKNOWN_STAMP;
        if (len, stamp) == (known.len, known.stamp) && !lost_meta {
            return Ok(());
        }
        let now = Finalized {
            len,
            stamp,
            ..known.clone()
        };
        if !self.pool.swap_exactly(id, known, Entry::Finalized(now)) {
            return Ok(());
        }
        // What clients keep open or in memory is not what they believe either.
        self.pool.tell_gone(id);
        self.home.add_used(len as i64 - known.len as i64);
        if lost_meta {
            self.counts.missing_meta += 1;
        }
        if (len, stamp) != (known.len, known.stamp) {
            self.counts.mismatched += 1;
        }
        let block = known.block(id);
        tracing::warn!(%block, dir = %dir.display(), len, %stamp, lost_meta, "replica differs from its files");
        (self.each)(Repair::Corrupt(block));
        Ok(())
    }

    /// A replica whose data file is not in its place. One that lies elsewhere was found there before, or will be.
    fn forget(
        &mut self,
        id: BlockId,
        known: &Finalized,
        dir: &Path,
        meta: Option<GenerationStamp>,
    ) -> ReplicaResult<()> {
        let Some(gone) = self.pool.forget_missing(&known.block(id)) else {
            return Ok(());
        };
        self.counts.missing_data += 1;
        self.home.add_used(-(known.len as i64));
        if let Some(stamp) = meta {
            remove_counted(self.home, &dir.join(layout::meta_name(id, stamp)));
        }
        (self.each)(Repair::Gone(gone));
        Ok(())
    }

    /// A data file in `dir` of a replica that is believed to lie elsewhere.
    fn settle_place(&mut self, id: BlockId, known: &Finalized, dir: &Path) -> ReplicaResult<()> {
        let entry = Entry::Finalized(known.clone());
        let old_home = self.pool.home(known.volume).clone();
        let old_dir = self.pool.finalized_dir(id, known);
        // Nobody's for a moment: nobody may put files where others are about to be removed.
        if old_home.volume.is_failed()
            || self.pool.is_unsettled(id)
            || !self.pool.swap_exactly(id, known, Entry::Held(known.clone()))
        {
            return Ok(());
        }
        // From now on no move can begin; one that had begun before put its copy where it is found here.
        let settled = match self.pool.is_unsettled(id) {
            true => Ok(None),
            false => self.choose_place(id, known, &old_home, &old_dir, dir),
        };
        let next = match &settled {
            Ok(Some(chosen)) => Entry::Finalized(chosen.clone()),
            _ => entry,
        };
        self.pool.put(id, next);
        self.leave_failed(id);
        let chosen = match settled {
            Ok(Some(chosen)) => chosen,
            other => {
                // Orders that came meanwhile found nothing: the NameNode gives them again when it hears of the replica.
                if self.pool.raw_entry(id).is_some() {
                    (self.each)(Repair::Found(self.pool.placed(known.block(id), &old_home)));
                }
                return other.map(drop);
            }
        };
        self.pool.tell_gone(id);
        let block = chosen.block(id);
        let from = old_dir.display().to_string();
        tracing::warn!(%block, from, to = %dir.display(), "replica lies elsewhere than was believed");
        (self.each)(Repair::Found(self.pool.placed(block, self.home)));
        if (chosen.len, chosen.stamp) != (known.len, known.stamp) {
            (self.each)(Repair::Corrupt(known.block(id)));
        }
        Ok(())
    }

    /// Where the replica lies from now on, if that is `dir`.
    fn choose_place(
        &mut self,
        id: BlockId,
        known: &Finalized,
        old_home: &Arc<PoolVolume>,
        old_dir: &Path,
        dir: &Path,
    ) -> ReplicaResult<Option<Finalized>> {
        let here = look(self.home.disk(), dir, id)?;
        let there = look(old_home.disk(), old_dir, id)?;
        let Some(len) = here.data else {
            return Ok(None);
        };
        let chosen = self.finalized_at(id, dir, len, here.meta);
        let Some(other_len) = there.data else {
            self.counts.mismatched += 1;
            if known.volume != self.home.index {
                self.home.add_used(len as i64);
                old_home.add_used(-(known.len as i64));
            }
            return Ok(Some(chosen));
        };
        self.counts.duplicate += 1;
        if here.meta.is_none() {
            remove(self.home.disk(), &dir.join(layout::data_name(id)))?;
            return Ok(None);
        }
        if there.meta.is_none() {
            // As Hadoop: neither pair is whole beyond doubt.
            return Ok(None);
        }
        let better = (here.meta, len) > (there.meta, other_len);
        let (loser, loser_dir, files) = match better {
            true => (old_home, old_dir, there),
            false => (self.home, dir, here),
        };
        tracing::warn!(block = %id, dir = %loser_dir.display(), "removing the lesser one of two replicas of a block");
        remove(loser.disk(), &loser_dir.join(layout::data_name(id)))?;
        if let Some(stamp) = files.meta {
            remove(loser.disk(), &loser_dir.join(layout::meta_name(id, stamp)))?;
        }
        if better {
            self.home.add_used(len as i64);
            old_home.add_used(-(other_len as i64));
        }
        Ok(better.then_some(chosen))
    }

    fn finalized_at(&self, id: BlockId, dir: &Path, len: u64, meta: Option<GenerationStamp>) -> Finalized {
        let expected = self.home.block_dir(id);
        Finalized {
            stamp: meta.unwrap_or(UNKNOWN_STAMP),
            len,
            volume: self.home.index,
            dir: (dir != expected).then(|| Arc::new(dir.to_owned())),
        }
    }

    /// A volume that failed meanwhile has forgotten its replicas: none may come back.
    fn leave_failed(&self, id: BlockId) {
        if let Some(volume) = self.pool.raw_entry(id).and_then(|entry| entry.volume())
            && self.pool.home(volume).volume.is_failed()
        {
            self.pool.unclaim(id);
            self.pool.tell_gone(id);
        }
    }

    fn has_file(&self, dir: &Path, name: &str) -> ReplicaResult<bool> {
        let path = dir.join(name);
        self.home.disk().exists(&path).map_err(ReplicaError::io("stat", &path))
    }
}

impl Pool {
    /// The finished replicas on a volume by id, each with "not seen yet".
    fn finalized_on(&self, volume: u16) -> Vec<(BlockId, bool)> {
        let map = self.replicas.lock();
        let here = |entry: &Entry| matches!(entry, Entry::Finalized(finalized) if finalized.volume == volume);
        let mut ids: Vec<_> = map
            .iter()
            .filter(|(_, entry)| here(entry))
            .map(|(id, _)| (*id, false))
            .collect();
        drop(map);
        ids.sort_unstable();
        ids
    }

    /// Whether the block's finished replica may have files where the map does not say.
    fn is_unsettled(&self, id: BlockId) -> bool {
        self.unsettled.load(Ordering::Acquire) > 0 || self.is_moving(id)
    }

    /// Whether the map has `known`, in its place.
    fn holds_exactly(&self, id: BlockId, known: &Finalized) -> bool {
        self.replicas
            .lock()
            .get(&id)
            .is_some_and(|entry| is_exactly(entry, known))
    }

    /// Puts `next` in the place of `known`; false, and nothing done, if that is not there or lies elsewhere now.
    fn swap_exactly(&self, id: BlockId, known: &Finalized, next: Entry) -> bool {
        match self.replicas.lock().get_mut(&id) {
            Some(slot) if is_exactly(slot, known) => {
                *slot = next;
                true
            }
            _ => false,
        }
    }

    /// The map's entry, also one that is being deleted.
    fn raw_entry(&self, id: BlockId) -> Option<Entry> {
        self.replicas.lock().get(&id).cloned()
    }
}

fn is_exactly(entry: &Entry, known: &Finalized) -> bool {
    matches!(entry, Entry::Finalized(now) if now.is_same(known) && (now.volume, &now.dir) == (known.volume, &known.dir))
}

/// A step under way during which a finished replica has files where the map does not say: a new stamp.
pub(crate) struct Unsettled(Arc<AtomicUsize>);

impl Unsettled {
    /// Begins one, before its first look at the map; it ends with the value.
    pub(crate) fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count.clone())
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Block files by block, and the directories below.
type Listing = (HashMap<BlockId, Files>, Vec<PathBuf>);

fn list(disk: &VolumeDisk, dir: &Path) -> ReplicaResult<Listing> {
    let mut found: HashMap<BlockId, Files> = HashMap::new();
    let mut dirs = Vec::new();
    for entry in disk.list(dir).map_err(ReplicaError::io("list", dir))? {
        if entry.is_dir {
            dirs.push(dir.join(&entry.name));
            continue;
        }
        match layout::parse_name(&entry.name) {
            Some(BlockFile::Data(id)) => found.entry(id).or_default().data = Some(entry.len),
            Some(BlockFile::Meta(id, stamp)) => {
                let files = found.entry(id).or_default();
                files.meta = files.meta.max(Some(stamp));
            }
            None => {}
        }
    }
    Ok((found, dirs))
}

/// The files of one block as they are now. The directory may be gone.
fn look(disk: &VolumeDisk, dir: &Path, id: BlockId) -> ReplicaResult<Files> {
    if !disk.exists(dir).map_err(ReplicaError::io("stat", dir))? {
        return Ok(Files::default());
    }
    let (found, _) = list(disk, dir)?;
    Ok(found.get(&id).copied().unwrap_or_default())
}

/// Bytes of a meta file, 0 without one.
fn meta_file_len(disk: &VolumeDisk, dir: &Path, id: BlockId, stamp: Option<GenerationStamp>) -> i64 {
    let Some(stamp) = stamp else { return 0 };
    let opened = disk.open(&dir.join(layout::meta_name(id, stamp)), Open::READ);
    opened.and_then(|file| file.len()).map_or(0, |len| len as i64)
}
