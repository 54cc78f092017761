//! One block pool: the map from block id to replica, and the steps of a replica's life.
//!
//! The map's lock is held for look-ups and swaps only, never across I/O. While files move, the entry is one that
//! others wait for or refuse: a stopped writer, `Deleting`, or an active replica whose files are looked up again.
//! Every step asks the table in `state` first.

use crate::active::{ActiveReplica, Interrupt};
use crate::choosing::{self, Candidate, ChoosingPolicy, Turns};
use crate::chunks::{ChunkFormat, META_HEADER_LEN};
use crate::cut::cut_files;
use crate::deletion::Deleter;
use crate::error::{ReplicaError, ReplicaResult};
use crate::files::{create_files, move_file, open_files, remove, rename, sync_files, sync_move};
use crate::identity::PoolIdentity;
use crate::layout;
use crate::moving::moving_now;
use crate::pool_volume::PoolVolume;
use crate::reconcile::Unsettled;
use crate::recovery::Recovering;
use crate::removal::GoneHook;
use crate::state::{self, Step};
use crate::writer::{ReplicaWriter, partial_sum_on_disk};
use hadron_env::{Random, SystemRandom};
use hadron_types::{Block, BlockId, GenerationStamp, ReplicaState, StorageId, StorageType};
use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, MutexGuard};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Space held for a replica whose final size nobody told.
pub const DEFAULT_BLOCK_SPACE: u64 = 128 * 1024 * 1024;

/// A finished replica, and where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FinalizedReplica {
    /// Id, stamp and length.
    pub block: Block,
    /// The storage it lies on.
    pub storage_id: StorageId,
    /// Its medium.
    pub storage_type: StorageType,
}

/// One line of a block report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportedReplica {
    /// Id, stamp and bytes on disk.
    pub block: Block,
    /// FINALIZED, RBW or RWR.
    pub state: ReplicaState,
}

/// What the map holds for a finalized block: kept small, there may be millions.
#[derive(Clone)]
pub(crate) struct Finalized {
    pub(crate) stamp: GenerationStamp,
    pub(crate) len: u64,
    pub(crate) volume: u16,
    /// Directory when it is not the one of the layout's formula.
    pub(crate) dir: Option<Arc<PathBuf>>,
}

/// An entry of the map.
#[derive(Clone)]
pub(crate) enum Entry {
    Finalized(Finalized),
    Active(Arc<ActiveReplica>),
    /// Set aside for block recovery (RUR).
    Recovering(Arc<Recovering>),
    /// Its files are being moved aside; for everybody else it is not there.
    Deleting,
    /// The comparison with the disk looks where it lies: reports have it, nobody else may use it.
    Held(Finalized),
}

impl Entry {
    /// The replica as readers, reports and deletions see it: one under recovery is what it was before.
    pub(crate) fn effective(self) -> Self {
        match self {
            Self::Recovering(running) => running.original.clone(),
            other => other,
        }
    }

    /// The volume it lies on; `None` while it is being deleted or looked for.
    pub(crate) fn volume(&self) -> Option<u16> {
        match self {
            Self::Finalized(finalized) => Some(finalized.volume),
            Self::Active(replica) => Some(replica.home.index),
            Self::Recovering(running) => running.original.volume(),
            Self::Deleting | Self::Held(_) => None,
        }
    }

    /// Whether both are the same replica in the same step of its life.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Finalized(a), Self::Finalized(b)) => a.is_same(b),
            (Self::Active(a), Self::Active(b)) => Arc::ptr_eq(a, b),
            (Self::Recovering(a), Self::Recovering(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// A block pool on all volumes.
pub(crate) struct Pool {
    pub(crate) identity: PoolIdentity,
    pub(crate) volumes: Vec<Arc<PoolVolume>>,
    pub(crate) replicas: Mutex<HashMap<BlockId, Entry>>,
    /// Per storage type asked for; `None`: any.
    turns: Mutex<HashMap<Option<StorageType>, Turns>>,
    random: SystemRandom,
    /// One per volume.
    pub(crate) deleters: Arc<Vec<Deleter>>,
    pub(crate) next_aside: AtomicU64,
    /// New stamps under way, during which finished replicas have files where the map does not say.
    pub(crate) unsettled: Arc<AtomicUsize>,
    /// Finished replicas that move to another medium. Locked behind the map.
    pub(crate) moving: Arc<Mutex<HashSet<BlockId>>>,
    pub(crate) options: PoolOptions,
    /// Told of replicas that are out of sight.
    pub(crate) gone: Arc<OnceLock<GoneHook>>,
}

/// Settings that concern all replicas.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PoolOptions {
    /// fsync at the end of every block (`dfs.datanode.synconclose`).
    pub sync_on_close: bool,
    /// How long a recovery waits for the previous writer (`dfs.datanode.xceiver.stop.timeout.millis`).
    pub stop_writer_patience: Duration,
    /// Size expected of a replica whose final size nobody told (`dfs.blocksize`).
    pub expected_len: u64,
    /// How the volume of a new replica is chosen.
    pub choosing: ChoosingPolicy,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            sync_on_close: false,
            stop_writer_patience: Duration::from_secs(60),
            expected_len: DEFAULT_BLOCK_SPACE,
            choosing: ChoosingPolicy::default(),
        }
    }
}

impl Pool {
    pub(crate) fn new(
        identity: PoolIdentity,
        volumes: Vec<Arc<PoolVolume>>,
        replicas: HashMap<BlockId, Entry>,
        deleters: Arc<Vec<Deleter>>,
        options: PoolOptions,
        gone: Arc<OnceLock<GoneHook>>,
    ) -> Self {
        Self {
            identity,
            volumes,
            replicas: Mutex::new(replicas),
            turns: Mutex::default(),
            random: SystemRandom::new(),
            deleters,
            next_aside: AtomicU64::new(0),
            unsettled: Arc::default(),
            moving: Arc::default(),
            options,
            gone,
        }
    }

    pub(crate) fn entry(&self, id: BlockId) -> Option<Entry> {
        self.replicas
            .lock()
            .get(&id)
            .cloned()
            .filter(|e| !matches!(e, Entry::Deleting | Entry::Held(_)))
    }

    fn found(&self, block: &Block) -> ReplicaResult<Entry> {
        self.entry(block.id)
            .ok_or(ReplicaError::NotFound(block.id, block.generation_stamp))
    }

    /// State and stamp of an entry.
    pub(crate) fn describe(entry: &Entry) -> (ReplicaState, GenerationStamp) {
        match entry {
            Entry::Finalized(finalized) => (ReplicaState::Finalized, finalized.stamp),
            Entry::Active(active) => {
                let status = active.status();
                (status.state, status.stamp)
            }
            Entry::Recovering(running) => (ReplicaState::Rur, Self::describe(&running.original).1),
            Entry::Held(held) => (ReplicaState::Finalized, held.stamp),
            Entry::Deleting => (ReplicaState::Temporary, GenerationStamp(0)),
        }
    }

    /// The pool's share of a volume.
    pub(crate) fn home(&self, volume: u16) -> &Arc<PoolVolume> {
        &self.volumes[usize::from(volume)]
    }

    /// Picks a volume of the wanted type with room for `len` bytes and holds that room.
    pub(crate) fn choose_volume(
        &self,
        len: u64,
        wanted: Option<StorageType>,
        id: Option<&StorageId>,
    ) -> ReplicaResult<Arc<PoolVolume>> {
        let fits = |home: &&Arc<PoolVolume>| {
            !home.volume.is_failed() && wanted.is_none_or(|kind| home.volume.storage_type() == kind)
        };
        // Disks are asked first, without a lock; a disk that does not answer is not chosen.
        let mut homes: Vec<&Arc<PoolVolume>> = self.volumes.iter().filter(fits).collect();
        homes.retain(|home| home.volume.room().is_ok());
        let draw = self.random.below(1 << 20) as f32 / (1 << 20) as f32;
        let mut turns = self.turns.lock();
        let candidates: Vec<Candidate> = homes
            .iter()
            .enumerate()
            .map(|(index, home)| Candidate {
                index,
                available: home.volume.last_usage(0).remaining,
                named: id.is_some_and(|id| home.volume.storage_id() == *id),
            })
            .collect();
        let turn = turns.entry(wanted).or_default();
        match choosing::choose(self.options.choosing, turn, &candidates, len, draw) {
            Ok(chosen) => {
                homes[chosen].volume.hold(len);
                Ok(homes[chosen].clone())
            }
            Err(most) => Err(ReplicaError::NoSpace {
                wanted: len,
                most: (!candidates.is_empty()).then_some(most),
            }),
        }
    }

    /// Creates an RBW or a TEMPORARY (`step` says which) and its writer.
    pub(crate) fn create(
        self: &Arc<Self>,
        block: &Block,
        step: Step,
        new: NewReplica<'_>,
    ) -> ReplicaResult<ReplicaWriter> {
        let state = state::after(None, step).ok_or_else(|| wrong(block.id, ReplicaState::Temporary, "create"))?;
        let stays = |old: &Entry| !matches!(old, Entry::Active(_)) && !gives_way(old, block, step);
        if let Some(old) = self.entry(block.id).filter(stays) {
            return Err(exists(block.id, &old));
        }
        let reserved = if block.len == 0 {
            self.options.expected_len
        } else {
            block.len
        };
        let home = self.choose_volume(reserved, new.storage_type, new.storage_id)?;
        let replica = Arc::new(ActiveReplica::new(*block, state, home.clone(), 0));
        replica.status().reserved = reserved;
        if let Err(error) = self.enter_map(block, step, &replica) {
            replica.end_reservation();
            return Err(error);
        }
        let number = replica.enter(new.interrupt);
        let dir = replica.dir(state);
        let to = home.block_dir(block.id);
        match create_files(home.disk(), &dir, &to, block, new.format) {
            Ok((data, meta)) => {
                replica.count_used(META_HEADER_LEN as i64);
                let path = dir.join(layout::data_name(block.id));
                Ok(ReplicaWriter::new(
                    replica,
                    self.clone(),
                    number,
                    path,
                    data,
                    meta,
                    new.format,
                ))
            }
            Err(error) => {
                self.forget(&replica);
                replica.leave(number);
                Err(error)
            }
        }
    }

    /// Puts a new replica into the map; an older one makes room for a copy, unless a recovery may still want it.
    fn enter_map(&self, block: &Block, step: Step, replica: &Arc<ActiveReplica>) -> ReplicaResult<()> {
        loop {
            let old = {
                let mut map = self.replicas.lock();
                match map.get(&block.id) {
                    // Its files would be taken for those that the move leaves behind.
                    _ if self.is_moving(block.id) => return Err(moving_now(block)),
                    // Failing a volume marks it first and then forgets its replicas: none may slip in behind that.
                    None if replica.home.volume.is_failed() => return Err(out_of_use(replica)),
                    None => {
                        map.insert(block.id, Entry::Active(replica.clone()));
                        return Ok(());
                    }
                    Some(other) => other.clone(),
                }
            };
            match &old {
                Entry::Active(active) => self.supersede(active, block, step)?,
                other if gives_way(other, block, step) => self.remove_outdated(block.id, other)?,
                other => return Err(exists(block.id, other)),
            }
        }
    }

    /// A copy from another DataNode replaces an unfinished replica with an older stamp.
    fn supersede(&self, old: &Arc<ActiveReplica>, block: &Block, step: Step) -> ReplicaResult<()> {
        let (state, stamp) = {
            let status = old.status();
            (status.state, status.stamp)
        };
        if state::after(Some(state), step).is_none() || stamp >= block.generation_stamp {
            return Err(exists(block.id, &Entry::Active(old.clone())));
        }
        old.stop_writer(self.options.stop_writer_patience)?;
        // A stopped TEMPORARY writer removes its files itself; an RBW's are left for us.
        if matches!(self.entry(block.id), Some(Entry::Active(now)) if Arc::ptr_eq(&now, old)) {
            let dir = old.dir(state);
            let files = [
                dir.join(layout::data_name(old.id)),
                dir.join(layout::meta_name(old.id, stamp)),
            ];
            self.forget(old);
            for file in files {
                remove(old.home.disk(), &file)?;
            }
        }
        Ok(())
    }

    /// Takes an active replica out of the map if it is still the one there.
    fn forget(&self, replica: &Arc<ActiveReplica>) {
        let mut map = self.replicas.lock();
        if matches!(map.get(&replica.id), Some(Entry::Active(now)) if Arc::ptr_eq(now, replica)) {
            map.remove(&replica.id);
        }
        drop(map);
        // It may have been finished once, and clients may have its files open since.
        self.tell_gone(replica.id);
        replica.abandon();
        replica.uncount_used();
    }

    /// Removes an open replica whose writer gave up: a TEMPORARY, or an RBW of which nobody was promised a byte.
    pub(crate) fn discard(&self, replica: &Arc<ActiveReplica>) {
        let (stamp, state) = {
            let status = replica.status();
            (status.stamp, status.state)
        };
        self.tell_gone(replica.id);
        let dir = replica.dir(state);
        for name in [layout::data_name(replica.id), layout::meta_name(replica.id, stamp)] {
            if let Err(error) = remove(replica.home.disk(), &dir.join(name)) {
                tracing::warn!(%error, "cannot remove an unfinished replica");
            }
        }
        self.forget(replica);
    }

    /// After a failed write: gives back what nobody was promised. Acked bytes stay, for the recovery of the block.
    pub(crate) fn cut_to_acked(&self, replica: &Arc<ActiveReplica>) {
        let (acked, on_disk) = {
            let status = replica.status();
            (status.acked, status.on_disk)
        };
        let done = match acked {
            0 => {
                self.discard(replica);
                Ok(())
            }
            _ if replica.home.volume.is_failed() => Ok(()),
            _ => self.truncate(replica, acked),
        };
        match done {
            Ok(()) => tracing::info!(block = %replica.id, acked, on_disk, "cut a replica whose write failed"),
            Err(error) => tracing::warn!(block = %replica.id, %error, "cannot cut a replica whose write failed"),
        }
    }

    /// Moves a written replica into `finalized` and swaps the map's entry.
    pub(crate) fn finalize(&self, replica: &Arc<ActiveReplica>) -> ReplicaResult<FinalizedReplica> {
        let (state, block, durable) = {
            let status = replica.status();
            let durable = self.options.sync_on_close || status.synced.is_some();
            let block = Block {
                id: replica.id,
                generation_stamp: status.stamp,
                len: status.on_disk,
            };
            if status.received != status.on_disk {
                return Err(ReplicaError::WrongLength {
                    block: block.id,
                    problem: format!("has {} bytes on disk of {} received", status.on_disk, status.received),
                });
            }
            (status.state, block, durable)
        };
        state::after(Some(state), Step::Finalize).ok_or_else(|| wrong(block.id, state, "finalize"))?;
        let from = replica.dir(state);
        let to = replica.home.block_dir(block.id);
        // The data file's rename is the commit: loading puts a replica whose meta file went first together again.
        self.move_both(replica, &from, &to, block.generation_stamp)?;
        let disk = replica.home.disk();
        let finalized = Finalized {
            stamp: block.generation_stamp,
            len: block.len,
            volume: replica.home.index,
            dir: None,
        };
        let mut map = self.replicas.lock();
        match map.get_mut(&block.id) {
            Some(entry) if matches!(&*entry, Entry::Active(now) if Arc::ptr_eq(now, replica)) => {
                *entry = Entry::Finalized(finalized);
            }
            _ => {
                drop(map);
                // Deleted while its files moved: they must not come back at the next start.
                for name in [
                    layout::data_name(block.id),
                    layout::meta_name(block.id, block.generation_stamp),
                ] {
                    remove(disk, &to.join(name))?;
                }
                return Err(ReplicaError::Stopped(block.id));
            }
        }
        drop(map);
        if durable {
            // A failure is told, and the replica is what its files are: finalized.
            sync_move(&replica.home, &from, &to)?;
        }
        Ok(self.placed(block, &replica.home))
    }

    /// Moves a replica's files, meta file first. When one cannot be moved, both are where they were; when even that
    /// fails, the replica leaves the map: its disk is broken, and no lease must wait for it until the next start.
    fn move_both(
        &self,
        replica: &Arc<ActiveReplica>,
        from: &Path,
        to: &Path,
        stamp: GenerationStamp,
    ) -> ReplicaResult<()> {
        let disk = replica.home.disk();
        let (data, meta) = (layout::data_name(replica.id), layout::meta_name(replica.id, stamp));
        move_file(disk, &from.join(&meta), to, &meta)?;
        let Err(error) = move_file(disk, &from.join(&data), to, &data) else {
            return Ok(());
        };
        if let Err(second) = rename(disk, &to.join(&meta), &from.join(&meta)) {
            tracing::error!(block = %replica.id, %error, %second, "a replica's files lie apart, giving it up");
            self.forget(replica);
        }
        Err(error)
    }

    pub(crate) fn placed(&self, block: Block, home: &PoolVolume) -> FinalizedReplica {
        FinalizedReplica {
            block,
            storage_id: home.volume.storage_id(),
            storage_type: home.volume.storage_type(),
        }
    }

    /// TEMPORARY becomes RBW: a pipeline is going to use it.
    pub(crate) fn adopt(&self, replica: &Arc<ActiveReplica>, visible: u64) -> ReplicaResult<Block> {
        let stamp = {
            let status = replica.status();
            state::after(Some(status.state), Step::Adopt).ok_or_else(|| wrong(replica.id, status.state, "adopt"))?;
            status.stamp
        };
        let (from, to) = (replica.home.tmp(), replica.home.rbw());
        self.move_both(replica, &from, &to, stamp)?;
        let mut status = replica.status();
        status.state = ReplicaState::Rbw;
        status.acked = visible;
        Ok(Block {
            id: replica.id,
            generation_stamp: stamp,
            len: status.on_disk,
        })
    }

    /// Reopens a finalized replica under stamp `to`; its length must be `len`.
    pub(crate) fn append(
        self: &Arc<Self>,
        block: &Block,
        to: GenerationStamp,
        len: u64,
        interrupt: Interrupt,
    ) -> ReplicaResult<ReplicaWriter> {
        let replica = match self.found(block)? {
            Entry::Finalized(finalized) => {
                check_stamp(block, finalized.stamp, to)?;
                check_len(block.id, finalized.len, len)?;
                self.reopen(block.id, &finalized, to)?
            }
            other => return Err(wrong(block.id, Self::describe(&other).0, "append to")),
        };
        self.resume(replica, interrupt)
    }

    /// Goes on with an append whose pipeline failed at set-up: FINALIZED or RBW of exactly `len` bytes.
    pub(crate) fn recover_append(
        self: &Arc<Self>,
        block: &Block,
        to: GenerationStamp,
        len: u64,
        interrupt: Interrupt,
    ) -> ReplicaResult<ReplicaWriter> {
        match self.settle(block, to)? {
            Entry::Finalized(_) => self.append(block, to, len, interrupt),
            Entry::Active(replica) => {
                let _alone = self.alone_with(&replica, block, to)?;
                check_settled(block, &replica, to, len)?;
                self.restamp(&replica, to)?;
                self.resume(replica.clone(), interrupt)
            }
            Entry::Recovering(_) | Entry::Deleting | Entry::Held(_) => {
                Err(ReplicaError::NotFound(block.id, block.generation_stamp))
            }
        }
    }

    /// Goes on with streaming after a pipeline failure. `min`: bytes the client knows acked; `max`: bytes it sent.
    pub(crate) fn recover_rbw(
        self: &Arc<Self>,
        block: &Block,
        to: GenerationStamp,
        min: u64,
        max: u64,
        interrupt: Interrupt,
    ) -> ReplicaResult<ReplicaWriter> {
        let Entry::Active(replica) = self.settle(block, to)? else {
            return Err(wrong(block.id, ReplicaState::Finalized, "recover"));
        };
        let _alone = self.alone_with(&replica, block, to)?;
        let (acked, on_disk, stamp) = {
            let status = replica.status();
            (status.acked, status.on_disk, status.stamp)
        };
        check_stamp(block, stamp, to)?;
        if acked < min || on_disk > max {
            return Err(ReplicaError::WrongLength {
                block: block.id,
                problem: format!("has {acked} bytes acked and {on_disk} on disk, expected {min} to {max}"),
            });
        }
        if on_disk > acked {
            self.truncate(&replica, acked)?;
        } else {
            replica.status().received = on_disk;
        }
        self.restamp(&replica, to)?;
        self.resume(replica.clone(), interrupt)
    }

    /// Closes a replica whose pipeline failed at the end; bumps its stamp, no data follows.
    pub(crate) fn recover_close(
        self: &Arc<Self>,
        block: &Block,
        to: GenerationStamp,
        len: u64,
    ) -> ReplicaResult<FinalizedReplica> {
        match self.settle(block, to)? {
            Entry::Finalized(finalized) => {
                check_stamp(block, finalized.stamp, to)?;
                check_len(block.id, finalized.len, len)?;
                self.restamp_finalized(block.id, &finalized, to)
            }
            Entry::Active(replica) => {
                let _alone = self.alone_with(&replica, block, to)?;
                check_settled(block, &replica, to, len)?;
                self.restamp(&replica, to)?;
                if self.options.sync_on_close || replica.status().synced.is_some() {
                    sync_files(replica.home.disk(), &replica.home.rbw(), block.id, to)?;
                }
                self.finalize(&replica)
            }
            Entry::Recovering(_) | Entry::Deleting | Entry::Held(_) => {
                Err(ReplicaError::NotFound(block.id, block.generation_stamp))
            }
        }
    }

    /// The replica a recovery works on, without a writer. A writer that is told to stop may be finalizing: what it left
    /// is looked up again. One whose replica has another stamp than the recovery may find is left alone: peers of the past
    /// must not disturb it.
    fn settle(&self, block: &Block, to: GenerationStamp) -> ReplicaResult<Entry> {
        loop {
            let replica = match self.found(block)? {
                Entry::Active(replica) => replica,
                Entry::Recovering(_) => return Err(wrong(block.id, ReplicaState::Rur, "recover")),
                other => return Ok(other),
            };
            let (state, stamp) = {
                let status = replica.status();
                (status.state, status.stamp)
            };
            state::after(Some(state), Step::Recover).ok_or_else(|| wrong(block.id, state, "recover"))?;
            check_stamp(block, stamp, to)?;
            replica.stop_writer(self.options.stop_writer_patience)?;
            if self.holds(&replica) {
                return Ok(Entry::Active(replica));
            }
        }
    }

    /// Keeps other recoveries away from a replica's files; the writer of one that was quicker is stopped.
    ///
    /// Errors: [`ReplicaError::Stopped`] when the quicker one finished the replica, or block recovery has it.
    fn alone_with<'a>(
        &self,
        replica: &'a Arc<ActiveReplica>,
        block: &Block,
        to: GenerationStamp,
    ) -> ReplicaResult<MutexGuard<'a, ()>> {
        let guard = replica.recovering.lock();
        // The quicker one may be of a newer pipeline.
        check_stamp(block, replica.status().stamp, to)?;
        replica.stop_writer(self.options.stop_writer_patience)?;
        if self.holds(replica) {
            return Ok(guard);
        }
        Err(ReplicaError::Stopped(replica.id))
    }

    /// Whether `entry` is still the map's for `id`.
    pub(crate) fn is_entry(&self, id: BlockId, entry: &Entry) -> bool {
        self.replicas.lock().get(&id).is_some_and(|now| now.is_same(entry))
    }

    /// Puts `next` in the place of `entry`; false, and nothing done, if that is no longer there.
    pub(crate) fn swap_entry(&self, id: BlockId, entry: &Entry, next: Entry) -> bool {
        match self.replicas.lock().get_mut(&id) {
            Some(slot) if slot.is_same(entry) => {
                *slot = next;
                true
            }
            _ => false,
        }
    }

    /// Keeps the place of a block that is about to be made.
    pub(crate) fn claim(&self, block: &Block) -> ReplicaResult<()> {
        let mut map = self.replicas.lock();
        match map.get(&block.id) {
            Some(found) => Err(exists(block.id, found)),
            None if self.is_moving(block.id) => Err(moving_now(block)),
            None => {
                map.insert(block.id, Entry::Deleting);
                Ok(())
            }
        }
    }

    /// Gives a place kept by [`Self::claim`] back.
    pub(crate) fn unclaim(&self, id: BlockId) {
        self.replicas.lock().remove(&id);
    }

    /// Fills a place kept by [`Self::claim`].
    pub(crate) fn put(&self, id: BlockId, entry: Entry) {
        self.replicas.lock().insert(id, entry);
    }

    /// Whether `replica` is still the map's entry for its block.
    pub(crate) fn holds(&self, replica: &Arc<ActiveReplica>) -> bool {
        matches!(self.replicas.lock().get(&replica.id), Some(Entry::Active(now)) if Arc::ptr_eq(now, replica))
    }

    /// Gives a finalized replica a new stamp: the map first, so that a deletion or an append meanwhile is noticed. Readers
    /// that look for the meta file in between try again.
    fn restamp_finalized(&self, id: BlockId, old: &Finalized, to: GenerationStamp) -> ReplicaResult<FinalizedReplica> {
        let _unsettled = Unsettled::begin(&self.unsettled);
        self.restamp_counted(id, old, to)
    }

    fn restamp_counted(&self, id: BlockId, old: &Finalized, to: GenerationStamp) -> ReplicaResult<FinalizedReplica> {
        let now = Finalized {
            stamp: to,
            ..old.clone()
        };
        self.swap_finalized(id, old, Entry::Finalized(now.clone()))?;
        let dir = self.finalized_dir(id, old);
        let (from, meta) = (layout::meta_name(id, old.stamp), layout::meta_name(id, to));
        let disk = self.home(old.volume).disk();
        if let Err(error) = rename(disk, &dir.join(from), &dir.join(&meta)) {
            self.swap_finalized(id, &now, Entry::Finalized(old.clone()))?;
            return Err(error);
        }
        if !matches!(self.entry(id), Some(Entry::Finalized(found)) if found.stamp == to) {
            remove(disk, &dir.join(meta))?;
            return Err(ReplicaError::NotFound(id, to));
        }
        Ok(self.placed(now.block(id), &self.volumes[usize::from(now.volume)]))
    }

    /// Puts `entry` in the place of the finalized replica `old`; an error if that is no longer there.
    fn swap_finalized(&self, id: BlockId, old: &Finalized, entry: Entry) -> ReplicaResult<()> {
        match self.replicas.lock().get_mut(&id) {
            Some(slot) if matches!(&*slot, Entry::Finalized(now) if now.is_same(old)) => {
                *slot = entry;
                Ok(())
            }
            _ => Err(ReplicaError::NotFound(id, old.stamp)),
        }
    }

    /// Moves a finalized replica's files back to `rbw`. Data first: the reverse of finalizing, so that loading sees
    /// the same half-way picture.
    fn reopen(&self, id: BlockId, finalized: &Finalized, to: GenerationStamp) -> ReplicaResult<Arc<ActiveReplica>> {
        let home = self.volumes[usize::from(finalized.volume)].clone();
        let block = Block {
            generation_stamp: to,
            ..finalized.block(id)
        };
        let replica = Arc::new(ActiveReplica::new(
            block,
            ReplicaState::Rbw,
            home.clone(),
            finalized.len,
        ));
        let (from, rbw) = (self.finalized_dir(id, finalized), home.rbw());
        note_last_sum(&replica, &from, finalized.stamp)?;
        let wanted = self.options.expected_len.saturating_sub(finalized.len);
        let most = home.volume.available()?;
        if most < wanted {
            let most = Some(most);
            return Err(ReplicaError::NoSpace { wanted, most });
        }
        self.swap_finalized(id, finalized, Entry::Active(replica.clone()))?;
        let disk = home.disk();
        let (data, back) = (rbw.join(layout::data_name(id)), from.join(layout::data_name(id)));
        let moved = rename(disk, &back, &data).and_then(|()| {
            let meta = from.join(layout::meta_name(id, finalized.stamp));
            let moved = rename(disk, &meta, &rbw.join(layout::meta_name(id, to)));
            if moved.is_err() {
                rename(disk, &data, &back)?;
            }
            moved
        });
        if let Err(error) = moved {
            // Nobody has written to it: it is what it was, unless it was deleted meanwhile.
            let mut map = self.replicas.lock();
            if let Some(entry) = map.get_mut(&id)
                && matches!(&*entry, Entry::Active(now) if Arc::ptr_eq(now, &replica))
            {
                *entry = Entry::Finalized(finalized.clone());
            }
            return Err(error);
        }
        home.volume.hold(wanted);
        replica.status().reserved = wanted;
        Ok(replica)
    }

    /// Gives an RBW a new stamp.
    fn restamp(&self, replica: &ActiveReplica, to: GenerationStamp) -> ReplicaResult<()> {
        let (old, dir, durable) = {
            let status = replica.status();
            (status.stamp, replica.dir(status.state), status.synced.is_some())
        };
        let disk = replica.home.disk();
        if old != to {
            rename(
                disk,
                &dir.join(layout::meta_name(replica.id, old)),
                &dir.join(layout::meta_name(replica.id, to)),
            )?;
            replica.status().stamp = to;
            if durable {
                disk.sync_dir(&dir).map_err(ReplicaError::io("sync", &dir))?;
            }
        }
        Ok(())
    }

    /// Cuts an RBW back to `len` bytes, data and checksums.
    fn truncate(&self, replica: &ActiveReplica, len: u64) -> ReplicaResult<()> {
        let (on_disk, stamp, dir) = {
            let status = replica.status();
            (status.on_disk, status.stamp, replica.dir(status.state))
        };
        let cut = cut_files(replica.home.disk(), &dir, replica.id, stamp, on_disk, len)?;
        let last_sum = cut.last_sum;
        replica.count_used(-(cut.freed as i64));
        let mut status = replica.status();
        status.received = len;
        status.on_disk = len;
        status.synced = status.synced.map(|synced| synced.min(len));
        status.last_sum = last_sum;
        Ok(())
    }

    /// Opens the files of an RBW for a new writer.
    fn resume(self: &Arc<Self>, replica: Arc<ActiveReplica>, interrupt: Interrupt) -> ReplicaResult<ReplicaWriter> {
        let (state, stamp) = {
            let status = replica.status();
            (status.state, status.stamp)
        };
        let dir = replica.dir(state);
        let (data, meta, format) = open_files(replica.home.disk(), &dir, replica.id, stamp)?;
        let number = replica.enter(interrupt);
        let path = dir.join(layout::data_name(replica.id));
        Ok(ReplicaWriter::new(
            replica,
            self.clone(),
            number,
            path,
            data,
            meta,
            format,
        ))
    }

    pub(crate) fn finalized_dir(&self, id: BlockId, finalized: &Finalized) -> PathBuf {
        match &finalized.dir {
            Some(dir) => dir.as_ref().clone(),
            None => self.volumes[usize::from(finalized.volume)].block_dir(id),
        }
    }
}

/// Checks stamp and length of an RBW without a writer, and that every byte received was acked.
fn check_settled(block: &Block, replica: &ActiveReplica, to: GenerationStamp, len: u64) -> ReplicaResult<()> {
    let status = replica.status();
    check_stamp(block, status.stamp, to)?;
    if status.received != status.on_disk || status.on_disk != status.acked {
        return Err(ReplicaError::WrongLength {
            block: block.id,
            problem: format!(
                "has {} bytes received, {} on disk, {} acked",
                status.received, status.on_disk, status.acked
            ),
        });
    }
    check_len(block.id, status.on_disk, len)
}

/// Notes the checksum of a partial last chunk before a writer replaces it on disk: readers of the bytes that are there
/// now need it. `dir`: where the files of stamp `stamp` still are.
fn note_last_sum(replica: &ActiveReplica, dir: &Path, stamp: GenerationStamp) -> ReplicaResult<()> {
    let (data, meta, format) = open_files(replica.home.disk(), dir, replica.id, stamp)?;
    let len = replica.status().on_disk;
    replica.counted_before((len + format.meta_len(len)) as i64);
    let into = len % u64::from(format.chunk);
    if into > 0 && format.size() > 0 {
        let start = len - into;
        let sum = partial_sum_on_disk(&data, &meta, format, start, into as usize)
            .map_err(ReplicaError::io("read", &dir.join(layout::data_name(replica.id))))?;
        let block = replica.id;
        replica.status().last_sum = Some(sum.ok_or(ReplicaError::Corrupt { block, offset: start })?);
    }
    Ok(())
}

/// What a new replica is to be like.
pub struct NewReplica<'a> {
    /// Its checksums.
    pub format: ChunkFormat,
    /// Preferred medium.
    pub storage_type: Option<StorageType>,
    /// Preferred storage.
    pub storage_id: Option<&'a StorageId>,
    /// Wakes the writing thread when it must leave.
    pub interrupt: Interrupt,
}

impl Finalized {
    /// Whether nothing was written in between, and it lies where it lay. Clients that append without a new stamp leave
    /// only the length to tell.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.stamp, self.len, self.volume) == (other.stamp, other.len, other.volume)
    }

    pub(crate) fn block(&self, id: BlockId) -> Block {
        Block {
            id,
            generation_stamp: self.stamp,
            len: self.len,
        }
    }
}

fn out_of_use(replica: &ActiveReplica) -> ReplicaError {
    ReplicaError::VolumeFailed(replica.home.volume.dir().to_owned())
}

/// Whether a replica that nobody writes makes room for the one that `step` makes of `block`.
fn gives_way(old: &Entry, block: &Block, step: Step) -> bool {
    let (state, stamp) = Pool::describe(old);
    let is_over = match old {
        // The block has the stamp of this recovery or of a later one, which was finished without this replica.
        Entry::Recovering(running) => running.recovery_id <= block.generation_stamp,
        Entry::Finalized(_) => true,
        Entry::Active(_) | Entry::Deleting | Entry::Held(_) => false,
    };
    is_over && stamp < block.generation_stamp && state::after(Some(state), step).is_some()
}

fn exists(block: BlockId, entry: &Entry) -> ReplicaError {
    let (state, stamp) = Pool::describe(entry);
    ReplicaError::AlreadyExists { block, stamp, state }
}

pub(crate) fn wrong(block: BlockId, state: ReplicaState, step: &'static str) -> ReplicaError {
    ReplicaError::WrongState { block, state, step }
}

fn check_stamp(block: &Block, found: GenerationStamp, to: GenerationStamp) -> ReplicaResult<()> {
    if found < block.generation_stamp || found > to {
        return Err(ReplicaError::WrongStamp {
            block: block.id,
            found,
            wanted: format!("{} to {to}", block.generation_stamp),
        });
    }
    Ok(())
}

fn check_len(block: BlockId, found: u64, wanted: u64) -> ReplicaResult<()> {
    if found != wanted {
        return Err(ReplicaError::WrongLength {
            block,
            problem: format!("has {found} bytes, expected {wanted}"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_an_append_under_its_stamp_made_longer_is_another() {
        let entry = |stamp, len| {
            Entry::Finalized(Finalized {
                stamp: GenerationStamp(stamp),
                len,
                volume: 0,
                dir: None,
            })
        };
        for (other, same) in [((10, 5), true), ((10, 9), false), ((11, 5), false)] {
            assert_eq!(entry(10, 5).is_same(&entry(other.0, other.1)), same, "{other:?}");
        }
    }
}
