//! Block recovery on one DataNode: a replica is set aside for a recovery (RUR), then gets its final length and stamp.
//!
//! What it is for: the rules of Hadoop's `FsDatasetImpl.initReplicaRecovery` and `updateReplicaUnderRecovery`: the
//! writer is stopped, stamps and recovery ids fence older attempts, a newer recovery takes a replica over from an older.
//! What it does not do: choose lengths (the primary DataNode does) or talk to anybody.
//! Invariants: while a replica is [`Entry::Recovering`] nobody writes it; readers go on with what was there before; its
//! files change only under [`Recovering::working`]. Nothing of it is on disk: a restart forgets it, and the NameNode
//! starts another recovery.

use crate::active::ActiveReplica;
use crate::cut::{check_files, cut_files};
use crate::disk::{VolumeDisk, VolumeFile};
use crate::error::{ReplicaError, ReplicaResult};
use crate::files::{move_file, open_files, remove, remove_counted, rename, sync_files, sync_move};
use crate::layout;
use crate::load::UNKNOWN_STAMP;
use crate::pool::{Entry, Finalized, FinalizedReplica, Pool};
use crate::pool_volume::PoolVolume;
use crate::state::{self, Step};
use crate::store::ReplicaStore;
use hadron_env::disk::Open;
use hadron_types::{Block, BlockId, ExtendedBlock, GenerationStamp, ReplicaState};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How the refusal of a replica that is older than the block begins; the same in Hadoop.
pub const OUTDATED_REPLICA: &str = "replica.getGenerationStamp() < block.getGenerationStamp()";

/// Bytes copied at a time when a truncated block gets a new id.
const COPY_BYTES: usize = 1 << 20;

/// A replica that a recovery has set aside (RUR).
pub(crate) struct Recovering {
    /// What it was: FINALIZED, RBW or RWR.
    pub(crate) original: Entry,
    /// The recovery; the stamp the replica is to get.
    pub(crate) recovery_id: GenerationStamp,
    /// Held by whoever changes the files.
    working: Mutex<()>,
}

/// What a DataNode says of its replica when a recovery begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryInfo {
    /// Id, stamp and bytes on disk.
    pub block: Block,
    /// State before any recovery: FINALIZED, RBW or RWR.
    pub state: ReplicaState,
}

/// The files of a replica that is being recovered.
struct Place {
    block: Block,
    dir: PathBuf,
    home: Arc<PoolVolume>,
}

impl ReplicaStore {
    /// Sets a replica aside for recovery `recovery_id`, its writer stopped; `None` if there is no such replica.
    ///
    /// Errors: [`ReplicaError::RecoveryInProgress`] when this recovery or a newer one has it already;
    /// [`ReplicaError::Unrecoverable`] for stamps that do not fit; [`ReplicaError::WriterBusy`]; the disk's.
    pub fn init_recovery(
        &self,
        block: &ExtendedBlock,
        recovery_id: GenerationStamp,
    ) -> ReplicaResult<Option<RecoveryInfo>> {
        self.pool_of(block)?.init_recovery(&block.block, recovery_id)
    }

    /// Ends recovery `recovery_id` of a replica: FINALIZED with that stamp and `new_len` bytes. With a `new_id` the
    /// first `new_len` bytes become a replica of that block, and the old one stays as it was.
    ///
    /// `block`: the replica as [`ReplicaStore::init_recovery`] told it. Returns the recovered replica.
    ///
    /// Errors: [`ReplicaError::NotFound`], [`ReplicaError::Unrecoverable`], [`ReplicaError::Corrupt`]; the disk's.
    pub fn finish_recovery(
        &self,
        block: &ExtendedBlock,
        recovery_id: GenerationStamp,
        new_id: Option<BlockId>,
        new_len: u64,
    ) -> ReplicaResult<FinalizedReplica> {
        let pool = self.pool_of(block)?;
        pool.finish_recovery(&block.block, recovery_id, new_id, new_len)
    }
}

impl Pool {
    fn init_recovery(&self, block: &Block, recovery_id: GenerationStamp) -> ReplicaResult<Option<RecoveryInfo>> {
        loop {
            let Some(entry) = self.entry(block.id) else {
                return Ok(None);
            };
            let (found, _) = Self::describe(&entry);
            let active = match &entry {
                Entry::Active(replica) => Some(replica.clone()),
                _ => None,
            };
            // A TEMPORARY whose writer is stopped is gone; an RBW stays; one that was being finalized is FINALIZED.
            let _alone = match &active {
                Some(replica) => {
                    // An order of the past does not disturb the writer of today.
                    check_stamps(block, &self.place(block.id, &entry).block, recovery_id)?;
                    let guard = replica.recovering.lock();
                    replica.stop_writer(self.options.stop_writer_patience)?;
                    if !self.is_entry(block.id, &entry) {
                        continue;
                    }
                    Some(guard)
                }
                None => None,
            };
            let original = entry.clone().effective();
            let place = self.place(block.id, &original);
            if let Entry::Active(replica) = &original {
                check_lengths(replica)?;
                // One that was being created when the process ended may lack the header of its meta file.
                if !is_empty(&place)? {
                    check_files(place.home.disk(), &place.dir, &place.block)?;
                }
            }
            check_stamps(block, &place.block, recovery_id)?;
            if let Entry::Recovering(running) = &entry
                && running.recovery_id >= recovery_id
            {
                return Err(ReplicaError::RecoveryInProgress {
                    block: *block,
                    running: running.recovery_id,
                    asked: recovery_id,
                });
            }
            if state::after(Some(found), Step::BeginRecovery).is_none() {
                return Err(unrecoverable(
                    block.id,
                    format!("cannot recover replica in state {}", found.name()),
                ));
            }
            let info = RecoveryInfo {
                block: place.block,
                state: Self::describe(&original).0,
            };
            let next = Entry::Recovering(Arc::new(Recovering {
                original,
                recovery_id,
                working: Mutex::new(()),
            }));
            // Whoever works on the files for an older recovery ends first.
            let _idle = match &entry {
                Entry::Recovering(running) => Some(running.working.lock()),
                _ => None,
            };
            if self.swap_entry(block.id, &entry, next) {
                tracing::info!(%block, %recovery_id, from = found.name(), "replica is under recovery");
                return Ok(Some(info));
            }
        }
    }

    fn finish_recovery(
        &self,
        block: &Block,
        recovery_id: GenerationStamp,
        new_id: Option<BlockId>,
        new_len: u64,
    ) -> ReplicaResult<FinalizedReplica> {
        let entry = self
            .entry(block.id)
            .ok_or(ReplicaError::NotFound(block.id, block.generation_stamp))?;
        let Entry::Recovering(running) = &entry else {
            let (state, stamp) = Self::describe(&entry);
            return Err(unrecoverable(
                block.id,
                format!(
                    "replica.getState() != RUR, replica={}_{stamp}, {}",
                    block.id,
                    state.name()
                ),
            ));
        };
        let _working = running.working.lock();
        if !self.is_entry(block.id, &entry) {
            return Err(ReplicaError::NotFound(block.id, block.generation_stamp));
        }
        let place = self.place(block.id, &running.original);
        let found = place.block;
        if found.len != block.len {
            return Err(unrecoverable(
                block.id,
                format!(
                    "replica.getBytesOnDisk() != block.getNumBytes(), block={block}, replica={found} of {} bytes",
                    found.len
                ),
            ));
        }
        check_files(place.home.disk(), &place.dir, &found)?;
        if running.recovery_id != recovery_id {
            return Err(unrecoverable(
                block.id,
                format!(
                    "rur.getRecoveryID() != recoveryId = {recovery_id}, rur={found}, recoveryId={}",
                    running.recovery_id
                ),
            ));
        }
        if found.len < new_len {
            return Err(unrecoverable(
                block.id,
                format!(
                    "rur.getNumBytes() < newlength = {new_len}, rur={found} of {} bytes",
                    found.len
                ),
            ));
        }
        match new_id.filter(|id| *id != block.id) {
            Some(id) => self.finish_as_copy(&entry, running, &place, id, new_len),
            None => self.finish_in_place(&entry, running, place, new_len),
        }
    }

    /// Cuts the replica itself and gives it the recovery's stamp.
    fn finish_in_place(
        &self,
        entry: &Entry,
        running: &Recovering,
        place: Place,
        new_len: u64,
    ) -> ReplicaResult<FinalizedReplica> {
        let Place { block, dir, home } = place;
        let now = Block {
            generation_stamp: running.recovery_id,
            len: new_len,
            ..block
        };
        let disk = home.disk();
        let cut = cut_files(disk, &dir, block.id, block.generation_stamp, block.len, new_len)?;
        home.add_used(-(cut.freed as i64));
        let (data, meta) = (
            layout::data_name(now.id),
            layout::meta_name(now.id, now.generation_stamp),
        );
        rename(
            disk,
            &dir.join(layout::meta_name(block.id, block.generation_stamp)),
            &dir.join(&meta),
        )?;
        let (to, other_dir) = match &running.original {
            Entry::Finalized(finalized) => (dir.clone(), finalized.dir.clone()),
            _ => {
                let to = home.block_dir(now.id);
                // Meta first: the data file's rename is what loading goes by.
                for name in [&meta, &data] {
                    move_file(disk, &dir.join(name), &to, name)?;
                }
                (to, None)
            }
        };
        let finalized = Finalized {
            stamp: now.generation_stamp,
            len: now.len,
            volume: home.index,
            dir: other_dir,
        };
        if !self.swap_entry(now.id, entry, Entry::Finalized(finalized)) {
            // Deleted meanwhile: the files must not come back at the next start.
            for name in [&data, &meta] {
                remove(disk, &to.join(name))?;
            }
            return Err(ReplicaError::NotFound(now.id, now.generation_stamp));
        }
        // Recoveries are rare, and what they decide is final: the NameNode takes no older stamp from now on.
        sync_files(disk, &to, now.id, now.generation_stamp)?;
        sync_move(&home, &dir, &to)?;
        tracing::info!(block = %now, len = now.len, was = block.len, "replica recovered");
        Ok(self.placed(now, &home))
    }

    /// Copies the first `new_len` bytes to a new block; the old replica is again what it was.
    fn finish_as_copy(
        &self,
        entry: &Entry,
        running: &Recovering,
        place: &Place,
        id: BlockId,
        new_len: u64,
    ) -> ReplicaResult<FinalizedReplica> {
        let copy = Block {
            id,
            generation_stamp: running.recovery_id,
            len: new_len,
        };
        let home = &place.home;
        let (data, meta) = (layout::data_name(id), layout::meta_name(id, copy.generation_stamp));
        self.claim(&copy)?;
        let made = copy_cut(place, &copy, home).and_then(|len| {
            let to = home.block_dir(id);
            for name in [&meta, &data] {
                move_file(home.disk(), &home.tmp().join(name), &to, name)?;
            }
            Ok(len)
        });
        match made {
            Ok(bytes) => home.add_used(bytes as i64),
            Err(error) => {
                self.unclaim(id);
                return Err(error);
            }
        }
        let finalized = Finalized {
            stamp: copy.generation_stamp,
            len: new_len,
            volume: home.index,
            dir: None,
        };
        self.put(id, Entry::Finalized(finalized));
        self.swap_entry(place.block.id, entry, running.original.clone());
        tracing::info!(block = %copy, from = %place.block, len = new_len, "truncated copy of a replica made");
        Ok(self.placed(copy, home))
    }

    /// Removes a replica that nobody writes, in favour of a newer one; nothing is done if it is no longer there.
    pub(crate) fn remove_outdated(&self, id: BlockId, entry: &Entry) -> ReplicaResult<()> {
        let _idle = match entry {
            Entry::Recovering(running) => Some(running.working.lock()),
            _ => None,
        };
        if !self.swap_entry(id, entry, Entry::Deleting) {
            return Ok(());
        }
        self.tell_gone(id);
        let original = entry.clone().effective();
        let Place { block, dir, home } = self.place(id, &original);
        let names = [layout::data_name(id), layout::meta_name(id, block.generation_stamp)];
        let removed = match &original {
            Entry::Active(replica) => {
                replica.abandon();
                replica.uncount_used();
                let mut paths = names.iter().map(|name| dir.join(name));
                paths.try_for_each(|path| remove(home.disk(), &path))
            }
            _ => {
                names.iter().for_each(|name| remove_counted(&home, &dir.join(name)));
                Ok(())
            }
        };
        self.unclaim(id);
        tracing::info!(%block, "an outdated replica made room for a copy");
        removed
    }

    /// A replica's block and directory.
    pub(crate) fn place_of(&self, id: BlockId, original: &Entry) -> (Block, PathBuf) {
        let place = self.place(id, original);
        (place.block, place.dir)
    }

    /// Where the files of an entry are, and what it says of itself.
    fn place(&self, id: BlockId, original: &Entry) -> Place {
        match original {
            Entry::Active(replica) => {
                let status = replica.status();
                let block = Block {
                    id,
                    generation_stamp: status.stamp,
                    len: status.on_disk,
                };
                Place {
                    block,
                    dir: replica.dir(status.state),
                    home: replica.home.clone(),
                }
            }
            Entry::Finalized(finalized) => Place {
                block: finalized.block(id),
                dir: self.finalized_dir(id, finalized),
                home: self.volumes[usize::from(finalized.volume)].clone(),
            },
            // `effective` never gives these; an empty place fails at its first file.
            Entry::Recovering(_) | Entry::Deleting | Entry::Held(_) => Place {
                block: Block {
                    id,
                    generation_stamp: GenerationStamp(0),
                    len: 0,
                },
                dir: PathBuf::new(),
                home: self.volumes[0].clone(),
            },
        }
    }
}

fn unrecoverable(block: BlockId, problem: String) -> ReplicaError {
    ReplicaError::Unrecoverable { block, problem }
}

fn check_lengths(replica: &ActiveReplica) -> ReplicaResult<()> {
    let status = replica.status();
    if status.on_disk < status.acked {
        let problem = format!(
            "getBytesOnDisk() < getVisibleLength(), rip={}: {} < {}",
            replica.id, status.on_disk, status.acked
        );
        return Err(unrecoverable(replica.id, problem));
    }
    Ok(())
}

/// Whether neither the replica nor its data file has a byte.
fn is_empty(place: &Place) -> ReplicaResult<bool> {
    if place.block.len > 0 {
        return Ok(false);
    }
    let path = place.dir.join(layout::data_name(place.block.id));
    let len = place.home.disk().open(&path, Open::READ).and_then(|data| data.len());
    Ok(len.map_err(ReplicaError::io("look at", &path))? == 0)
}

fn check_stamps(asked: &Block, found: &Block, recovery_id: GenerationStamp) -> ReplicaResult<()> {
    if found.generation_stamp == UNKNOWN_STAMP {
        let problem = format!("replica has lost its meta file, block={asked}, replica={found}");
        return Err(unrecoverable(asked.id, problem));
    }
    if found.generation_stamp < asked.generation_stamp {
        let problem = format!("{OUTDATED_REPLICA}, block={asked}, replica={found}");
        return Err(unrecoverable(asked.id, problem));
    }
    if found.generation_stamp >= recovery_id {
        let problem =
            format!("replica.getGenerationStamp() >= recoveryId = {recovery_id}, block={asked}, replica={found}");
        return Err(unrecoverable(asked.id, problem));
    }
    Ok(())
}

/// Writes the beginning of a replica as another block's files into `tmp`; gives how many bytes both have.
fn copy_cut(place: &Place, copy: &Block, home: &PoolVolume) -> ReplicaResult<u64> {
    let disk = home.disk();
    let (data, meta, format) = open_files(disk, &place.dir, place.block.id, place.block.generation_stamp)?;
    let tmp = home.tmp();
    let data_path = tmp.join(layout::data_name(copy.id));
    let meta_path = tmp.join(layout::meta_name(copy.id, copy.generation_stamp));
    let chunk = u64::from(format.chunk);
    let kept = (copy.len.div_ceil(chunk) * chunk).min(place.block.len);
    copy_bytes(disk, &data, &data_path, kept)?;
    copy_bytes(disk, &meta, &meta_path, format.meta_len(kept))?;
    cut_files(disk, &tmp, copy.id, copy.generation_stamp, kept, copy.len)?;
    Ok(copy.len + format.meta_len(copy.len))
}

fn copy_bytes(disk: &VolumeDisk, from: &VolumeFile, to: &Path, len: u64) -> ReplicaResult<()> {
    let copy = || -> std::io::Result<()> {
        let out = disk.open(to, Open::TRUNCATE)?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut at = 0;
        while at < len {
            let part = &mut buffer[..((len - at) as usize).min(COPY_BYTES)];
            from.read_exact_at(part, at)?;
            out.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    };
    copy().map_err(ReplicaError::io("copy to", to))
}
