//! Moving a finished replica to another medium of the same DataNode.
//!
//! The copy is made beside the replica, which goes on serving, and is verified on the way; then the map's entry is
//! swapped and the old files are removed in the background. Readers that have the old files open go on with them. When
//! the replica is deleted or written to meanwhile, the copy is what goes.
//! Invariant: until the old files are aside, nobody else moves, makes or takes in a replica of the block, so that all
//! names that belong to the copy or to the old place are this move's.
//! Crash: until the data file is in its place the copy is a leftover in `tmp`; behind that, loading keeps one of the two.
//! Source of the rules: Hadoop `FsDatasetImpl.moveBlockAcrossStorage`.

use crate::deletion::Part;
use crate::error::{ReplicaError, ReplicaResult};
use crate::files::{create_files, move_file, remove, remove_counted, sync_move};
use crate::layout;
use crate::pool::{Entry, Finalized, FinalizedReplica, Pool, wrong};
use crate::pool_volume::PoolVolume;
use crate::reader::ReplicaReader;
use crate::state::{self, Step};
use hadron_types::{Block, BlockId, ReplicaState, StorageId, StorageType};
use hashbrown::HashSet;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Bytes copied at a time, if the chunks are no longer.
const PART: u64 = 512 * 1024;

impl Pool {
    /// Moves the replica of `block`, whose stamp and length must be right, to a volume of `kind`, the one called `id` if
    /// there is such with room. Returns where it is now.
    ///
    /// Errors: it is there already, not finished, corrupt, or was changed meanwhile; no volume of the type has room.
    pub(crate) fn move_replica(
        self: &Arc<Self>,
        block: &Block,
        kind: StorageType,
        id: Option<&StorageId>,
    ) -> ReplicaResult<FinalizedReplica> {
        let _alone = Moving::begin(&self.moving, block.id).ok_or_else(|| moving_now(block))?;
        let old = self.movable(block, kind)?;
        let target = self.choose_volume(old.len, Some(kind), id)?;
        let copied = self.copy_onto(block, &target);
        target.volume.release(old.len);
        copied?;
        let now = Finalized {
            volume: target.index,
            dir: None,
            ..old.clone()
        };
        if !self.swap_moved(block, &old, &now, &target) {
            let dir = target.block_dir(block.id);
            for name in names(block) {
                remove_counted(&target, &dir.join(name));
            }
            return Err(ReplicaError::NotFound(block.id, block.generation_stamp));
        }
        self.tell_gone(block.id);
        self.remove_moved(block, &old);
        tracing::info!(%block, storage = %target.volume.storage_id(), kind = kind.name(), "moved a replica");
        Ok(self.placed(now.block(block.id), &target))
    }

    /// The replica, if it may be moved to `kind`.
    fn movable(&self, block: &Block, kind: StorageType) -> ReplicaResult<Finalized> {
        let missing = || ReplicaError::NotFound(block.id, block.generation_stamp);
        let entry = self.entry(block.id).ok_or_else(missing)?;
        let (state, stamp) = Self::describe(&entry);
        if stamp != block.generation_stamp {
            return Err(missing());
        }
        state::after(Some(state), Step::Move).ok_or_else(|| wrong(block.id, state, "move"))?;
        let Entry::Finalized(found) = entry else {
            return Err(wrong(block.id, state, "move"));
        };
        if found.len != block.len {
            return Err(ReplicaError::WrongLength {
                block: block.id,
                problem: format!("has {} bytes, expected {}", found.len, block.len),
            });
        }
        if self.home(found.volume).volume.storage_type() == kind {
            return Err(ReplicaError::AlreadyExists {
                block: block.id,
                stamp,
                state,
            });
        }
        Ok(found)
    }

    /// Copies and verifies both files into `tmp` of `target`, and moves them to their place there.
    fn copy_onto(&self, block: &Block, target: &PoolVolume) -> ReplicaResult<()> {
        let (disk, tmp) = (target.disk(), target.tmp());
        let place = target.block_dir(block.id);
        let reader = ReplicaReader::open(self, block, 0, Duration::ZERO)?;
        reader.check_sums_known()?;
        let format = reader.format();
        let (data, meta) = create_files(disk, &tmp, &place, block, format)?;
        let chunk = u64::from(format.chunk);
        let step = (PART - PART % chunk).max(chunk);
        let mut at = 0;
        let mut bytes = Vec::new();
        let mut sums = Vec::new();
        let copied = loop {
            if at >= block.len {
                let synced = data.sync_data().and_then(|()| meta.sync_data());
                break synced.map_err(ReplicaError::io("sync", &tmp));
            }
            let len = (block.len - at).min(step) as usize;
            bytes.resize(len, 0);
            sums.resize(format.sums_len(len), 0);
            let part = reader
                .read_data(&mut bytes, at)
                .and_then(|()| reader.read_sums(&mut sums, at / chunk))
                .and_then(|()| match sums.is_empty() {
                    true => Ok(()),
                    false => format.verify(&bytes, &sums).map_err(|bad| ReplicaError::Corrupt {
                        block: block.id,
                        offset: at + bad as u64 * chunk,
                    }),
                })
                .and_then(|()| {
                    let written = data
                        .write_all_at(&bytes, at)
                        .and_then(|()| meta.write_all_at(&sums, format.meta_offset(at / chunk)));
                    written.map_err(ReplicaError::io("write", &tmp))
                });
            if let Err(error) = part {
                break Err(error);
            }
            at += len as u64;
        };
        let moved = copied.and_then(|()| {
            let [data, meta] = names(block);
            move_file(disk, &tmp.join(&meta), &place, &meta)?;
            move_file(disk, &tmp.join(&data), &place, &data).and_then(|()| sync_move(target, &tmp, &place))
        });
        match moved {
            Ok(()) => {
                target.add_used((block.len + format.meta_len(block.len)) as i64);
                Ok(())
            }
            Err(error) => {
                for path in names(block).iter().flat_map(|name| [tmp.join(name), place.join(name)]) {
                    if let Err(error) = remove(disk, &path) {
                        tracing::warn!(%error, "cannot remove what was made of a copy");
                    }
                }
                Err(error)
            }
        }
    }

    /// Puts the copy into the map; false if the replica is not what it was, or the new volume is out of use.
    fn swap_moved(&self, block: &Block, old: &Finalized, now: &Finalized, target: &PoolVolume) -> bool {
        let mut map = self.replicas.lock();
        match map.get_mut(&block.id) {
            // Failing a volume marks it first and then forgets its replicas: none may slip in behind that.
            Some(slot @ Entry::Finalized(_)) if !target.volume.is_failed() => {
                let same = slot.is_same(&Entry::Finalized(old.clone()));
                if same {
                    *slot = Entry::Finalized(now.clone());
                }
                same
            }
            _ => false,
        }
    }

    /// Has the files of the replica as it was removed in the background, from aside: as soon as the move is over others
    /// may lie where they were.
    fn remove_moved(self: &Arc<Self>, block: &Block, old: &Finalized) {
        let (dir, home) = (self.finalized_dir(block.id, old), self.home(old.volume).clone());
        let aside = self.move_aside(block, &dir, &home);
        self.deleters[usize::from(old.volume)].submit(Part::new(move || {
            for path in &aside {
                remove_counted(&home, path);
            }
            None
        }));
    }

    /// Whether the block's replica is on its way to another medium. Whoever asks with the map locked and finds no finished
    /// replica in it may believe a "no": a move that begins afterwards finds none either.
    pub(crate) fn is_moving(&self, id: BlockId) -> bool {
        self.moving.lock().contains(&id)
    }
}

/// One block's move, until the files are where the map says and nowhere else.
struct Moving(Arc<Mutex<HashSet<BlockId>>>, BlockId);

impl Moving {
    /// `None` if the block is being moved already.
    fn begin(all: &Arc<Mutex<HashSet<BlockId>>>, id: BlockId) -> Option<Self> {
        all.lock().insert(id).then(|| Self(all.clone(), id))
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// The answer to whoever would make or move a replica that is on its way.
pub(crate) fn moving_now(block: &Block) -> ReplicaError {
    ReplicaError::AlreadyExists {
        block: block.id,
        stamp: block.generation_stamp,
        state: ReplicaState::Finalized,
    }
}

/// Data and meta file.
fn names(block: &Block) -> [String; 2] {
    [
        layout::data_name(block.id),
        layout::meta_name(block.id, block.generation_stamp),
    ]
}
