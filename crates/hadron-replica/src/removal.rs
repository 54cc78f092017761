//! How replicas leave the map: deletions the NameNode orders, volumes that fail, files that are found missing.
//!
//! A deleted replica is out of sight at once; its files are moved aside and removed by the volume's `deletion` thread.
//! What it does not do: tell the NameNode; the [`DeletionHook`] does.

use crate::deletion::Part;
use crate::files::remove_counted;
use crate::layout;
use crate::pool::{Entry, FinalizedReplica, Pool};
use crate::pool_volume::PoolVolume;
use hadron_types::{Block, BlockId, BlockPoolId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Told of each replica whose files are gone, on the volume's deleting thread.
pub type DeletionHook = Arc<dyn Fn(FinalizedReplica) + Send + Sync>;

/// Told of a replica that cannot be read here any more, by pool and block, before its files are touched. Called without
/// locks held, on the thread that took the replica away.
pub type GoneHook = Arc<dyn Fn(&BlockPoolId, BlockId) + Send + Sync>;

impl Pool {
    /// Says that a replica cannot be read here any more. No lock may be held.
    pub(crate) fn tell_gone(&self, id: BlockId) {
        if let Some(hook) = self.gone.get() {
            hook(&self.identity.pool, id);
        }
    }

    /// Takes replicas out of sight and has their files removed in the background; `done` hears of each. Returns how
    /// many there were. Unknown ones and ones with a newer stamp than asked for are left alone.
    pub(crate) fn invalidate(self: &Arc<Self>, blocks: &[Block], done: &DeletionHook) -> usize {
        // Open ones last: their writers have to be stopped first, which takes a while.
        let open = |block: &&Block| matches!(self.entry(block.id), Some(Entry::Active(_)));
        let (open, closed): (Vec<&Block>, Vec<&Block>) = blocks.iter().partition(open);
        let taken = closed.into_iter().chain(open).filter_map(|block| {
            let entry = self.take_for_deletion(block)?;
            self.delete(block, entry, done.clone());
            Some(())
        });
        taken.count()
    }

    /// Takes a replica out of the map, its writer stopped. What changed under our hands is looked at again.
    fn take_for_deletion(&self, block: &Block) -> Option<Entry> {
        loop {
            let entry = self.entry(block.id)?;
            let (_, stamp) = Self::describe(&entry);
            if stamp > block.generation_stamp {
                tracing::warn!(%block, found = %stamp, "not invalidating a replica with a newer generation stamp");
                return None;
            }
            if let Entry::Active(replica) = &entry {
                replica.abandon();
                if let Err(error) = replica.stop_writer(self.options.stop_writer_patience) {
                    tracing::warn!(%error, "invalidating a replica whose writer does not stop");
                }
            }
            // The writer may have finalized it meanwhile, or removed it; another may have reopened it.
            let mut map = self.replicas.lock();
            let slot = map.get_mut(&block.id)?;
            if slot.is_same(&entry) {
                let taken = std::mem::replace(slot, Entry::Deleting).effective();
                drop(map);
                self.tell_gone(block.id);
                return Some(taken);
            }
        }
    }

    /// Removes the files of a replica that is out of the map already.
    fn delete(self: &Arc<Self>, block: &Block, entry: Entry, done: DeletionHook) {
        let (state, stamp) = Self::describe(&entry);
        let (dir, home, len) = match &entry {
            Entry::Finalized(finalized) => (
                self.finalized_dir(block.id, finalized),
                self.home(finalized.volume).clone(),
                finalized.len,
            ),
            Entry::Active(replica) => (replica.dir(state), replica.home.clone(), replica.status().on_disk),
            Entry::Recovering(_) | Entry::Deleting | Entry::Held(_) => return,
        };
        let gone = self.placed(
            Block {
                generation_stamp: stamp,
                len,
                ..*block
            },
            &home,
        );
        let pool = self.clone();
        let volume = usize::from(home.index);
        let ending = Ending(pool.clone(), gone.block.id);
        self.deleters[volume].submit(Part::new(move || {
            let aside = pool.move_aside(&gone.block, &dir, &home);
            drop(ending);
            Some(Part::new(move || {
                for path in &aside {
                    remove_counted(&home, path);
                }
                tracing::info!(block = %gone.block, state = state.name(), "deleted replica");
                done(gone);
                None
            }))
        }));
    }

    /// Renames a replica's files into `tmp`; gives the new names. What cannot be moved stays until the next start,
    /// when the NameNode orders its deletion again.
    pub(crate) fn move_aside(&self, block: &Block, dir: &Path, home: &PoolVolume) -> Vec<PathBuf> {
        let names = [
            layout::data_name(block.id),
            layout::meta_name(block.id, block.generation_stamp),
        ];
        let mut aside = Vec::with_capacity(names.len());
        for name in names {
            let number = self.next_aside.fetch_add(1, Ordering::Relaxed);
            let target = home.tmp().join(format!("deleted_{number}_{name}"));
            match home.disk().rename(&dir.join(&name), &target) {
                Ok(()) => aside.push(target),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => tracing::error!(%error, %block, "cannot move a replica's file aside"),
            }
        }
        aside
    }

    /// Forgets everything on a volume that went out of use; writers are told to leave. Returns how many replicas.
    pub(crate) fn drop_volume(&self, volume: u16) -> usize {
        let (mut open, mut gone) = (Vec::new(), Vec::new());
        let mut map = self.replicas.lock();
        map.retain(|id, entry| {
            let stays = entry.volume() != Some(volume);
            if let (false, Entry::Active(replica)) = (stays, &*entry) {
                open.push(replica.clone());
            }
            if !stays {
                gone.push(*id);
            }
            stays
        });
        if map.capacity() > 4 * map.len() {
            map.shrink_to_fit();
        }
        drop(map);
        for replica in open {
            replica.abandon();
        }
        for id in &gone {
            self.tell_gone(*id);
        }
        gone.len()
    }

    /// Forgets a finalized replica whose data file is not there although its volume is; `None` if it is there after
    /// all, or its volume is gone (which is looked into).
    pub(crate) fn forget_missing(&self, block: &Block) -> Option<FinalizedReplica> {
        let Some(Entry::Finalized(finalized)) = self.entry(block.id) else {
            return None;
        };
        let home = self.home(finalized.volume);
        let path = self
            .finalized_dir(block.id, &finalized)
            .join(layout::data_name(block.id));
        if home.volume.check_presence().is_err() {
            home.volume.suspect();
            return None;
        }
        if home.disk().exists(&path).unwrap_or(true) {
            return None;
        }
        let mut map = self.replicas.lock();
        match map.get(&block.id) {
            Some(Entry::Finalized(now)) if now.is_same(&finalized) && now.volume == finalized.volume => {
                map.remove(&block.id);
            }
            _ => return None,
        }
        drop(map);
        self.tell_gone(block.id);
        tracing::error!(%block, file = %path.display(), "the file of a replica is missing, forgetting the replica");
        home.volume.suspect();
        Some(self.placed(finalized.block(block.id), home))
    }
}

/// A block whose files are being moved aside; from its drop on the block may come back.
struct Ending(Arc<Pool>, BlockId);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut map = self.0.replicas.lock();
        if matches!(map.get(&self.1), Some(Entry::Deleting)) {
            map.remove(&self.1);
        }
    }
}
