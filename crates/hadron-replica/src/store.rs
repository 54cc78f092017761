//! All volumes and all block pools of one DataNode: the crate's front door.
//!
//! Life: [`ReplicaStore::open`] locks the directories; [`ReplicaStore::attach_pool`] (after the NameNode said who it
//! is) formats or checks them and loads the replicas; then every call names a block of a pool, which is looked up
//! and never joined into a path. Does blocking I/O; call it from blocking threads.

use crate::active::Interrupt;
use crate::check::{self, CheckOptions, PoolDirs};
use crate::deletion::Deleter;
use crate::error::{ReplicaError, ReplicaResult};
use crate::identity::{PoolIdentity, incompatible};
use crate::load::{keep_better, load_volume};
use crate::pool::{Entry, FinalizedReplica, NewReplica, Pool, PoolOptions, ReportedReplica};
use crate::pool_volume::PoolVolume;
use crate::reader::ReplicaReader;
use crate::removal::{DeletionHook, GoneHook};
use crate::space::Usage;
use crate::state::Step;
use crate::trouble::Message;
use crate::volume::{Volume, VolumeFailure, VolumeSpec};
use crate::writer::ReplicaWriter;
use hadron_env::disk::{Disk, RealDisk};
use hadron_types::{
    Block, BlockId, BlockPoolId, DatanodeUuid, ExtendedBlock, GenerationStamp, ReplicaState, StorageId, StorageType,
};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long an orderly end waits for deletions under way.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Settings of a store.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StoreOptions {
    /// Mode of the storage directories (`dfs.datanode.data.dir.perm`).
    pub permissions: u32,
    /// How many volumes may fail (`dfs.datanode.failed.volumes.tolerated`); -1: all but one.
    pub failed_volumes_tolerated: i64,
    /// When volumes are checked.
    pub check: CheckOptions,
    /// Settings of replicas.
    pub replicas: PoolOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            permissions: 0o700,
            failed_volumes_tolerated: 0,
            check: CheckOptions::default(),
            replicas: PoolOptions::default(),
        }
    }
}

/// One storage in a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageReport {
    /// Its name.
    pub storage_id: StorageId,
    /// Its medium.
    pub storage_type: StorageType,
    /// Its space.
    pub usage: Usage,
}

/// One storage in a full block report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageBlocks {
    /// Its name.
    pub storage_id: StorageId,
    /// Its medium.
    pub storage_type: StorageType,
    /// What lies on it.
    pub replicas: Vec<ReportedReplica>,
}

/// Told of each volume that is taken out of use, and whether enough are left to go on.
pub type FailureHook = Box<dyn Fn(&VolumeFailure, bool) + Send + Sync>;

/// What the store and its checker share.
pub(crate) struct Registry {
    pub(crate) volumes: Vec<Arc<Volume>>,
    pools: RwLock<HashMap<BlockPoolId, Arc<Pool>>>,
    deleters: Arc<Vec<Deleter>>,
    /// Volumes out of use, those of the start included.
    failures: Mutex<Vec<VolumeFailure>>,
    configured: usize,
    tolerated: i64,
    on_failure: OnceLock<FailureHook>,
    gone: Arc<OnceLock<GoneHook>>,
    checker: Sender<Message>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.checker.send(Message::Stop);
    }
}

impl Registry {
    /// Takes a volume out of use: no new replicas, those on it forgotten, their writers sent away.
    pub(crate) fn fail(&self, index: usize, reason: &str) {
        let Some(volume) = self.volumes.get(index).filter(|volume| volume.mark_failed()) else {
            return;
        };
        let capacity = volume.last_usage(0).capacity;
        let failure = failure_of(volume.dir().to_owned(), Some(volume.storage_id()), capacity, reason);
        self.failures.lock().push(failure.clone());
        let pools: Vec<Arc<Pool>> = self.pools.read().values().cloned().collect();
        let lost: usize = pools.iter().map(|pool| pool.drop_volume(index as u16)).sum();
        self.deleters[index].clear();
        let enough = self.has_enough();
        tracing::error!(
            dir = %volume.dir().display(), storage = %volume.storage_id(), reason, replicas = lost, going_on = enough,
            "volume failed and is out of use; replace its disk and restart the DataNode"
        );
        if let Some(hook) = self.on_failure.get() {
            hook(&failure, enough);
        }
    }

    /// Whether enough volumes are left. Source: Hadoop `FsDatasetImpl.hasEnoughResource`.
    fn has_enough(&self) -> bool {
        let valid = self.volumes.iter().any(|volume| !volume.is_failed());
        match self.tolerated {
            -1 => valid,
            most => valid && self.failures.lock().len() as i64 <= most,
        }
    }

    pub(crate) fn pool_dirs(&self, index: usize) -> Vec<PoolDirs> {
        let pools = self.pools.read();
        let homes = pools.values().filter_map(|pool| pool.volumes.get(index));
        let dirs = homes.map(|home| PoolDirs {
            finalized: home.finalized(),
            rbw: home.rbw(),
            tmp: home.tmp(),
        });
        dirs.collect()
    }

    fn too_many_failed(&self) -> ReplicaError {
        let failures = self.failures.lock();
        ReplicaError::TooManyFailed {
            valid: self.volumes.iter().filter(|volume| !volume.is_failed()).count(),
            configured: self.configured,
            failed: failures.len(),
            tolerated: self.tolerated,
            cause: causes(&failures),
        }
    }
}

fn failure_of(dir: std::path::PathBuf, id: Option<StorageId>, capacity_lost: u64, reason: &str) -> VolumeFailure {
    VolumeFailure {
        dir,
        storage_id: id,
        at_ms: now_ms(),
        capacity_lost,
        reason: reason.to_owned(),
    }
}

/// Unix time.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |time| time.as_millis() as u64)
}

fn causes(failures: &[VolumeFailure]) -> String {
    let each: Vec<String> = failures
        .iter()
        .map(|failure| format!("{}: {}", failure.dir.display(), failure.reason))
        .collect();
    each.join("; ")
}

/// The replica store.
pub struct ReplicaStore {
    registry: Arc<Registry>,
    attaching: Mutex<()>,
    uuid: DatanodeUuid,
    options: StoreOptions,
}

impl ReplicaStore {
    /// Creates and locks the directories; their VERSION files must agree on the DataNode's uuid (made up if none has
    /// one) and have distinct storage ids. Directories that cannot be used count as failed volumes.
    pub fn open(specs: &[VolumeSpec], options: StoreOptions) -> ReplicaResult<Self> {
        Self::open_on(&(Arc::new(RealDisk) as Arc<dyn Disk>), specs, options)
    }

    /// As [`Self::open`] with the files on another disk than the operating system's. Directories, their mode and their
    /// locks stay the operating system's.
    pub fn open_on(disk: &Arc<dyn Disk>, specs: &[VolumeSpec], options: StoreOptions) -> ReplicaResult<Self> {
        let tolerated = options.failed_volumes_tolerated;
        let configured = specs.len();
        if configured == 0 || configured > usize::from(u16::MAX) {
            return Err(ReplicaError::Setting(format!(
                "{configured} storage directories are configured"
            )));
        }
        if tolerated < -1 || tolerated >= configured as i64 {
            return Err(ReplicaError::Setting(format!(
                "Invalid value configured for dfs.datanode.failed.volumes.tolerated - {tolerated}. Value configured is \
                 either less than maxVolumeFailureLimit or greater than to the number of configured volumes \
                 ({configured})."
            )));
        }
        let (orders, messages) = channel();
        let mut opened = Opened::default();
        for spec in specs {
            let index = opened.volumes.len();
            let volume = Volume::open(spec, options.permissions, disk.clone(), index, orders.clone());
            opened.add(spec, volume)?;
        }
        let deleters = opened.volumes.iter().map(|_| Deleter::default()).collect();
        let registry = Arc::new(Registry {
            volumes: opened.volumes,
            pools: RwLock::new(HashMap::new()),
            deleters: Arc::new(deleters),
            failures: Mutex::new(opened.failures),
            configured,
            tolerated,
            on_failure: OnceLock::new(),
            gone: Arc::default(),
            checker: orders.clone(),
        });
        if !registry.has_enough() {
            return Err(opened
                .first_error
                .filter(|error| configured == 1 || !matches!(error, ReplicaError::Io { .. }))
                .unwrap_or_else(|| registry.too_many_failed()));
        }
        let weak = Arc::downgrade(&registry);
        let volumes = registry.volumes.len();
        if let Err(error) = check::start(weak, volumes, messages, orders, options.check) {
            return Err(ReplicaError::Setting(format!("no thread to check volumes: {error}")));
        }
        Ok(Self {
            registry,
            attaching: Mutex::new(()),
            uuid: opened
                .uuid
                .unwrap_or_else(|| DatanodeUuid::from(uuid::Uuid::new_v4().to_string())),
            options,
        })
    }

    /// The DataNode's permanent name.
    pub fn uuid(&self) -> &DatanodeUuid {
        &self.uuid
    }
    /// The volumes that could be opened, in configured order, failed ones included.
    pub fn volumes(&self) -> &[Arc<Volume>] {
        &self.registry.volumes
    }
    /// The volumes in use.
    pub fn usable_volumes(&self) -> impl Iterator<Item = &Arc<Volume>> {
        self.registry.volumes.iter().filter(|volume| !volume.is_failed())
    }
    /// The volumes out of use, in the order of their failures; those of the start come first.
    pub fn failures(&self) -> Vec<VolumeFailure> {
        self.registry.failures.lock().clone()
    }
    /// Whether enough volumes are left to go on.
    pub fn has_enough_volumes(&self) -> bool {
        self.registry.has_enough()
    }
    /// Sets who hears of failing volumes; only the first call counts.
    pub fn on_volume_failure(&self, hook: FailureHook) {
        if self.registry.on_failure.set(hook).is_err() {
            tracing::warn!("a second hook for failing volumes is ignored");
        }
    }

    /// Sets who hears of replicas that were taken away: deleted, found missing, moved to another volume, lost with theirs.
    /// Only the first call counts.
    pub fn on_gone(&self, hook: GoneHook) {
        if self.registry.gone.set(hook).is_err() {
            tracing::warn!("a second hook for replicas that are gone is ignored");
        }
    }

    /// Formats directories at first contact with a NameNode, or checks that they are its; then loads the replicas.
    /// Calling it again for an attached pool (second NameNode, re-registration) only checks.
    pub fn attach_pool(&self, identity: &PoolIdentity) -> ReplicaResult<()> {
        let _one_at_a_time = self.attaching.lock();
        let registry = &self.registry;
        if let Some(pool) = self.pool(&identity.pool) {
            return pool.identity.check(identity, registry.volumes[0].dir()).and_then(|()| {
                if pool.identity.cluster_id == identity.cluster_id {
                    return Ok(());
                }
                let problem = format!(
                    "clusterIDs incompatible: {} and {}",
                    pool.identity.cluster_id, identity.cluster_id
                );
                Err(incompatible(registry.volumes[0].dir(), problem))
            });
        }
        self.each_volume(|_, volume| volume.join_cluster(&identity.cluster_id, &self.uuid))?;
        let mut homes = Vec::with_capacity(registry.volumes.len());
        for (index, volume) in registry.volumes.iter().enumerate() {
            homes.push(Arc::new(PoolVolume::name(volume.clone(), index as u16, identity)?));
        }
        self.each_volume(|index, _| homes[index].prepare(identity))?;
        let replicas = self.load_all(&homes)?;
        tracing::info!(pool = %identity.pool, replicas = replicas.len(), "block pool loaded");
        let pool = Arc::new(Pool::new(
            identity.clone(),
            homes,
            replicas,
            registry.deleters.clone(),
            self.options.replicas,
            registry.gone.clone(),
        ));
        registry.pools.write().insert(identity.pool.clone(), pool.clone());
        // One that failed while the pool was loaded was not told of the pool.
        for (index, _) in registry.volumes.iter().enumerate().filter(|(_, v)| v.is_failed()) {
            pool.drop_volume(index as u16);
        }
        Ok(())
    }

    /// Does `work` on each volume in use. An I/O error costs the volume, another one ends it.
    fn each_volume(&self, work: impl Fn(usize, &Arc<Volume>) -> ReplicaResult<()>) -> ReplicaResult<()> {
        for (index, volume) in self.registry.volumes.iter().enumerate() {
            if !volume.is_failed() {
                self.spend(index, work(index, volume))?;
            }
        }
        Ok(())
    }

    /// Turns an I/O error into a failed volume, if enough others are left.
    fn spend<T>(&self, index: usize, result: ReplicaResult<T>) -> ReplicaResult<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error @ ReplicaError::Io { .. }) if !error.is_full() => {
                self.registry.fail(index, &error.to_string());
                if self.registry.has_enough() {
                    Ok(None)
                } else if self.registry.configured == 1 {
                    Err(error)
                } else {
                    Err(self.registry.too_many_failed())
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Loads all volumes in use at the same time.
    fn load_all(&self, homes: &[Arc<PoolVolume>]) -> ReplicaResult<HashMap<BlockId, Entry>> {
        let usable = || homes.iter().filter(|home| !home.volume.is_failed());
        let now = now_ms();
        let loaded: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = usable()
                .map(|home| (home, scope.spawn(move || load_volume(home, now))))
                .collect();
            threads
                .into_iter()
                .map(|(home, thread)| (home, thread.join()))
                .collect()
        });
        let mut all = HashMap::new();
        for (home, result) in loaded {
            let result = result.map_err(|_| incompatible(home.volume.dir(), "loading panicked"))?;
            let Some(found) = self.spend(usize::from(home.index), result)? else {
                continue;
            };
            if all.is_empty() {
                all = found;
                continue;
            }
            for (id, entry) in found {
                keep_better(&mut all, id, entry);
            }
        }
        Ok(all)
    }

    /// Whether `pool` is attached.
    pub fn has_pool(&self, pool: &BlockPoolId) -> bool {
        self.registry.pools.read().contains_key(pool)
    }

    /// The pools that are attached, in no order.
    pub(crate) fn attached(&self) -> Vec<BlockPoolId> {
        self.registry.pools.read().keys().cloned().collect()
    }

    pub(crate) fn pool(&self, pool: &BlockPoolId) -> Option<Arc<Pool>> {
        self.registry.pools.read().get(pool).cloned()
    }

    pub(crate) fn pool_of(&self, block: &ExtendedBlock) -> ReplicaResult<Arc<Pool>> {
        self.pool(&block.pool)
            .ok_or_else(|| ReplicaError::UnknownPool(block.pool.clone()))
    }

    /// Creates an RBW for a client's pipeline. `block.len` is the space to expect, 0 if unknown.
    pub fn create_rbw(&self, block: &ExtendedBlock, new: NewReplica<'_>) -> ReplicaResult<ReplicaWriter> {
        self.pool_of(block)?.create(&block.block, Step::Create, new)
    }

    /// Creates a TEMPORARY for a copy from another DataNode; replaces an unfinished replica with an older stamp.
    pub fn create_temporary(&self, block: &ExtendedBlock, new: NewReplica<'_>) -> ReplicaResult<ReplicaWriter> {
        self.pool_of(block)?.create(&block.block, Step::ReceiveCopy, new)
    }

    /// Reopens a FINALIZED replica of exactly `len` bytes as RBW with stamp `to`.
    pub fn append(
        &self,
        block: &ExtendedBlock,
        to: GenerationStamp,
        len: u64,
        interrupt: Interrupt,
    ) -> ReplicaResult<ReplicaWriter> {
        self.pool_of(block)?.append(&block.block, to, len, interrupt)
    }

    /// Goes on after a failed append set-up; FINALIZED or RBW of exactly `len` bytes, stamp from the block's to `to`.
    pub fn recover_append(
        &self,
        block: &ExtendedBlock,
        to: GenerationStamp,
        len: u64,
        interrupt: Interrupt,
    ) -> ReplicaResult<ReplicaWriter> {
        self.pool_of(block)?.recover_append(&block.block, to, len, interrupt)
    }

    /// Goes on after a pipeline failure; `min` bytes must be acked, at most `max` received. Unacked bytes are cut.
    pub fn recover_rbw(
        &self,
        block: &ExtendedBlock,
        to: GenerationStamp,
        min: u64,
        max: u64,
        interrupt: Interrupt,
    ) -> ReplicaResult<ReplicaWriter> {
        self.pool_of(block)?.recover_rbw(&block.block, to, min, max, interrupt)
    }

    /// Finishes a block whose pipeline failed while closing.
    pub fn recover_close(
        &self,
        block: &ExtendedBlock,
        to: GenerationStamp,
        len: u64,
    ) -> ReplicaResult<FinalizedReplica> {
        self.pool_of(block)?.recover_close(&block.block, to, len)
    }

    /// Moves a finished replica to a storage of `kind`, `id` if it can be; the block's stamp and length must be right.
    ///
    /// Errors: it is on such a storage already, is not finished, corrupt, or was changed meanwhile.
    pub fn move_replica(
        &self,
        block: &ExtendedBlock,
        kind: StorageType,
        id: Option<&StorageId>,
    ) -> ReplicaResult<FinalizedReplica> {
        self.pool_of(block)?.move_replica(&block.block, kind, id)
    }

    /// Opens a replica with at least the block's stamp. An RBW shorter than `need` is waited for up to `patience`.
    pub fn open_for_read(&self, block: &ExtendedBlock, need: u64, patience: Duration) -> ReplicaResult<ReplicaReader> {
        ReplicaReader::open(&*self.pool_of(block)?, &block.block, need, patience)
    }

    /// The length readers may see; -1 (as on the wire) for states that cannot be read.
    pub fn visible_len(&self, block: &ExtendedBlock) -> ReplicaResult<i64> {
        let pool = self.pool_of(block)?;
        let entry = pool
            .entry(block.block.id)
            .ok_or(ReplicaError::NotFound(block.block.id, block.block.generation_stamp))?;
        let (_, found) = Pool::describe(&entry);
        if found < block.block.generation_stamp {
            return Err(ReplicaError::WrongStamp {
                block: block.block.id,
                found,
                wanted: format!("at least {}", block.block.generation_stamp),
            });
        }
        Ok(match entry.effective() {
            Entry::Finalized(finalized) => finalized.len as i64,
            Entry::Active(replica) => replica.status().visible().map_or(-1, |len| len as i64),
            Entry::Recovering(_) | Entry::Deleting | Entry::Held(_) => -1,
        })
    }

    /// The state and stored stamp of a replica.
    pub fn state(&self, block: &ExtendedBlock) -> Option<(ReplicaState, GenerationStamp)> {
        let entry = self.pool(&block.pool)?.entry(block.block.id)?;
        Some(Pool::describe(&entry))
    }

    /// The storage a replica lies on.
    pub fn storage_of(&self, block: &ExtendedBlock) -> Option<(StorageId, StorageType)> {
        let index = match self.pool(&block.pool)?.entry(block.block.id)?.effective() {
            Entry::Finalized(finalized) => finalized.volume,
            Entry::Active(replica) => replica.home.index,
            Entry::Recovering(_) | Entry::Deleting | Entry::Held(_) => return None,
        };
        let volume = self.registry.volumes.get(usize::from(index))?;
        Some((volume.storage_id(), volume.storage_type()))
    }

    /// Deletes replicas: out of sight for every caller when this returns, files removed in the background; `done` hears
    /// of each when its files are gone. Returns how many there were.
    pub fn invalidate(&self, pool: &BlockPoolId, blocks: &[Block], done: &DeletionHook) -> ReplicaResult<usize> {
        let found = self.pool(pool).ok_or_else(|| ReplicaError::UnknownPool(pool.clone()))?;
        Ok(found.invalidate(blocks, done))
    }

    /// Parts of deletions that wait or are at work.
    pub fn pending_deletions(&self) -> usize {
        self.registry.deleters.iter().map(Deleter::pending).sum()
    }

    /// Whether a replica is here of which the NameNode is told; not while it is being deleted or copied here.
    pub fn has_reported(&self, pool: &BlockPoolId, id: BlockId) -> bool {
        self.pool(pool).is_some_and(|pool| pool.has_reported(id))
    }

    /// Forgets a finalized replica whose file a reader found missing; gives it when it is really gone. When its whole
    /// volume is gone that is looked into instead.
    pub fn forget_missing(&self, block: &ExtendedBlock) -> Option<FinalizedReplica> {
        self.pool(&block.pool)?.forget_missing(&block.block)
    }

    /// A full block report: every storage in use, also empty ones.
    pub fn block_report(&self, pool: &BlockPoolId) -> ReplicaResult<Vec<StorageBlocks>> {
        let found = self.pool(pool).ok_or_else(|| ReplicaError::UnknownPool(pool.clone()))?;
        let lists = found.report();
        Ok(self
            .registry
            .volumes
            .iter()
            .zip(lists)
            .filter(|(volume, _)| !volume.is_failed())
            .map(|(volume, replicas)| StorageBlocks {
                storage_id: volume.storage_id(),
                storage_type: volume.storage_type(),
                replicas,
            })
            .collect())
    }

    /// Space figures of every volume in use, for a heartbeat to `pool`'s NameNode. `look`: ask the disks, which may
    /// hang; else the last figures that were had.
    pub fn storage_reports(&self, pool: &BlockPoolId, look: bool) -> Vec<StorageReport> {
        let found = self.pool(pool);
        let volumes = self.registry.volumes.iter().enumerate();
        volumes
            .filter(|(_, volume)| !volume.is_failed())
            .map(|(index, volume)| {
                let pool_used = found.as_ref().map_or(0, |pool| pool.volumes[index].used());
                if look && volume.check_presence().is_err() {
                    volume.suspect();
                }
                let fresh = look.then(|| volume.usage(pool_used).ok()).flatten();
                StorageReport {
                    storage_id: volume.storage_id(),
                    storage_type: volume.storage_type(),
                    usage: fresh.unwrap_or_else(|| volume.last_usage(pool_used)),
                }
            })
            .collect()
    }

    /// Replicas of all pools per volume, in the order of [`Self::volumes`].
    pub fn replicas_by_volume(&self) -> Vec<u64> {
        let mut sums = vec![0; self.registry.volumes.len()];
        for pool in self.registry.pools.read().values() {
            for (sum, count) in sums.iter_mut().zip(pool.counts_by_volume()) {
                *sum += count;
            }
        }
        sums
    }

    /// Replicas of all pools, and how many of them are open.
    pub fn counts(&self) -> (usize, usize) {
        let pools = self.registry.pools.read();
        pools
            .values()
            .map(|pool| pool.counts())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Moves files of deleted replicas aside and leaves usage figures for the next owner of the directories. `now_ms`:
    /// Unix time.
    pub fn close(&self, now_ms: u64) {
        for deleter in self.registry.deleters.iter() {
            deleter.close(CLOSE_PATIENCE);
        }
        for pool in self.registry.pools.read().values() {
            for home in pool.volumes.iter().filter(|home| !home.volume.is_failed()) {
                if let Err(error) = home.write_dfs_used(now_ms) {
                    tracing::warn!(%error, "cannot save usage");
                }
            }
        }
    }

    /// Lets others have the directories, at the very end: nothing may use this store afterwards, though somebody may
    /// still hold it.
    pub fn unlock(&self) {
        for volume in self.registry.volumes.iter() {
            volume.unlock();
        }
    }
}

/// The volumes as they are opened.
#[derive(Default)]
struct Opened {
    volumes: Vec<Arc<Volume>>,
    failures: Vec<VolumeFailure>,
    first_error: Option<ReplicaError>,
    uuid: Option<DatanodeUuid>,
}

impl Opened {
    /// Adds a volume or its failure. Errors: volumes of different DataNodes, a storage twice.
    fn add(&mut self, spec: &VolumeSpec, volume: ReplicaResult<Volume>) -> ReplicaResult<()> {
        let volume = match volume {
            Ok(volume) => volume,
            Err(error) => {
                tracing::error!(dir = %spec.dir.display(), %error, "storage directory cannot be used");
                let failure = failure_of(spec.dir.clone(), None, 0, &error.to_string());
                self.failures.push(failure);
                self.first_error.get_or_insert(error);
                return Ok(());
            }
        };
        if let Some(identity) = volume.identity() {
            let known = self.uuid.get_or_insert_with(|| identity.datanode_uuid.clone());
            if *known != identity.datanode_uuid {
                let problem = format!(
                    "datanodeUuid {} differs from {known} of another directory",
                    identity.datanode_uuid
                );
                return Err(incompatible(&spec.dir, problem));
            }
            let mut others = self.volumes.iter();
            if others.any(|other| other.storage_id() == identity.storage_id) {
                let problem = format!("storageID {} is used by another directory", identity.storage_id);
                return Err(incompatible(&spec.dir, problem));
            }
        }
        self.volumes.push(Arc::new(volume));
        Ok(())
    }
}
