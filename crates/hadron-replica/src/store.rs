//! All volumes and all block pools of one DataNode: the crate's front door.
//!
//! Life: [`ReplicaStore::open`] locks the directories; [`ReplicaStore::attach_pool`] (after the NameNode said who it
//! is) formats or checks them and loads the replicas; then every call names a block of a pool, which is looked up
//! and never joined into a path. Does blocking I/O; call it from blocking threads.

use crate::active::Interrupt;
use crate::deletion::Deleter;
use crate::error::{ReplicaError, ReplicaResult};
use crate::identity::{PoolIdentity, incompatible};
use crate::load::{keep_better, load_volume};
use crate::pool::{Entry, FinalizedReplica, NewReplica, Pool, PoolOptions, ReportedReplica};
use crate::reader::ReplicaReader;
use crate::state::Step;
use crate::volume::{PoolVolume, Usage, Volume, VolumeSpec};
use crate::writer::ReplicaWriter;
use hadron_types::{
    Block, BlockPoolId, DatanodeUuid, ExtendedBlock, GenerationStamp, ReplicaState, StorageId, StorageType,
};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::time::Duration;

/// Settings of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreOptions {
    /// Mode of the storage directories (`dfs.datanode.data.dir.perm`).
    pub permissions: u32,
    /// Settings of replicas.
    pub replicas: PoolOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            permissions: 0o700,
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
    /// Whether it failed.
    pub failed: bool,
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

/// The replica store.
pub struct ReplicaStore {
    volumes: Vec<Arc<Volume>>,
    pools: RwLock<HashMap<BlockPoolId, Arc<Pool>>>,
    attaching: Mutex<()>,
    uuid: DatanodeUuid,
    deleter: Arc<Deleter>,
    options: StoreOptions,
}

impl ReplicaStore {
    /// Creates and locks the directories; their VERSION files must agree on the DataNode's uuid (made up if none has
    /// one) and have distinct storage ids.
    pub fn open(specs: &[VolumeSpec], options: StoreOptions) -> ReplicaResult<Self> {
        let mut volumes: Vec<Arc<Volume>> = Vec::with_capacity(specs.len());
        let mut uuid: Option<DatanodeUuid> = None;
        for spec in specs {
            let volume = Volume::open(spec, options.permissions)?;
            if let Some(identity) = volume.identity() {
                let known = uuid.get_or_insert_with(|| identity.datanode_uuid.clone());
                if *known != identity.datanode_uuid {
                    let problem = format!(
                        "datanodeUuid {} differs from {known} of another directory",
                        identity.datanode_uuid
                    );
                    return Err(incompatible(&spec.dir, problem));
                }
                if volumes.iter().any(|other| other.storage_id() == identity.storage_id) {
                    let problem = format!("storageID {} is used by another directory", identity.storage_id);
                    return Err(incompatible(&spec.dir, problem));
                }
            }
            volumes.push(Arc::new(volume));
        }
        if volumes.is_empty() || volumes.len() > usize::from(u16::MAX) {
            return Err(ReplicaError::NoSpace {
                wanted: 0,
                volumes: volumes.len(),
            });
        }
        Ok(Self {
            volumes,
            pools: RwLock::new(HashMap::new()),
            attaching: Mutex::new(()),
            uuid: uuid.unwrap_or_else(|| DatanodeUuid::from(uuid::Uuid::new_v4().to_string())),
            deleter: Arc::new(Deleter::start()),
            options,
        })
    }

    /// The DataNode's permanent name.
    pub fn uuid(&self) -> &DatanodeUuid {
        &self.uuid
    }
    /// The volumes, in configured order.
    pub fn volumes(&self) -> &[Arc<Volume>] {
        &self.volumes
    }

    /// Formats directories at first contact with a NameNode, or checks that they are its; then loads the replicas.
    /// Calling it again for an attached pool (second NameNode, re-registration) only checks.
    pub fn attach_pool(&self, identity: &PoolIdentity) -> ReplicaResult<()> {
        let _one_at_a_time = self.attaching.lock();
        if let Some(pool) = self.pool(&identity.pool) {
            return pool.identity.check(identity, self.volumes[0].dir()).and_then(|()| {
                if pool.identity.cluster_id == identity.cluster_id {
                    return Ok(());
                }
                let problem = format!(
                    "clusterIDs incompatible: {} and {}",
                    pool.identity.cluster_id, identity.cluster_id
                );
                Err(incompatible(self.volumes[0].dir(), problem))
            });
        }
        for volume in &self.volumes {
            volume.join_cluster(&identity.cluster_id, &self.uuid)?;
        }
        let mut homes = Vec::with_capacity(self.volumes.len());
        for (index, volume) in self.volumes.iter().enumerate() {
            homes.push(Arc::new(PoolVolume::open(volume.clone(), index as u16, identity)?));
        }
        let replicas = load_all(&homes)?;
        tracing::info!(pool = %identity.pool, replicas = replicas.len(), "block pool loaded");
        let pool = Pool::new(
            identity.clone(),
            homes,
            replicas,
            self.deleter.clone(),
            self.options.replicas,
        );
        self.pools.write().insert(identity.pool.clone(), Arc::new(pool));
        Ok(())
    }

    /// Whether `pool` is attached.
    pub fn has_pool(&self, pool: &BlockPoolId) -> bool {
        self.pools.read().contains_key(pool)
    }

    fn pool(&self, pool: &BlockPoolId) -> Option<Arc<Pool>> {
        self.pools.read().get(pool).cloned()
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
            Entry::Recovering(_) | Entry::Deleting => -1,
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
            Entry::Recovering(_) | Entry::Deleting => return None,
        };
        let volume = self.volumes.get(usize::from(index))?;
        Some((volume.storage_id(), volume.storage_type()))
    }

    /// Deletes replicas: gone for every caller when this returns, files removed in the background.
    pub fn invalidate(&self, pool: &BlockPoolId, blocks: &[Block]) -> ReplicaResult<Vec<FinalizedReplica>> {
        let found = self.pool(pool).ok_or_else(|| ReplicaError::UnknownPool(pool.clone()))?;
        Ok(found.invalidate(blocks))
    }

    /// A full block report: every storage, also empty ones.
    pub fn block_report(&self, pool: &BlockPoolId) -> ReplicaResult<Vec<StorageBlocks>> {
        let found = self.pool(pool).ok_or_else(|| ReplicaError::UnknownPool(pool.clone()))?;
        let lists = found.report();
        Ok(self
            .volumes
            .iter()
            .zip(lists)
            .map(|(volume, replicas)| StorageBlocks {
                storage_id: volume.storage_id(),
                storage_type: volume.storage_type(),
                replicas,
            })
            .collect())
    }

    /// Space figures of every volume, for a heartbeat to `pool`'s NameNode.
    pub fn storage_reports(&self, pool: &BlockPoolId) -> Vec<StorageReport> {
        let found = self.pool(pool);
        self.volumes
            .iter()
            .enumerate()
            .map(|(index, volume)| {
                let pool_used = found.as_ref().map_or(0, |pool| pool.volumes[index].used());
                let usage = volume.usage(pool_used);
                if let Err(error) = &usage {
                    tracing::error!(%error, "volume failed");
                    volume.mark_failed();
                }
                StorageReport {
                    storage_id: volume.storage_id(),
                    storage_type: volume.storage_type(),
                    failed: volume.is_failed(),
                    usage: usage.unwrap_or_default(),
                }
            })
            .collect()
    }

    /// Replicas of all pools, and how many of them are open.
    pub fn counts(&self) -> (usize, usize) {
        let pools = self.pools.read();
        pools
            .values()
            .map(|pool| pool.counts())
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Leaves usage figures for the next owner of the directories. `now_ms`: Unix time.
    pub fn close(&self, now_ms: u64) {
        for pool in self.pools.read().values() {
            for home in &pool.volumes {
                if let Err(error) = home.write_dfs_used(now_ms) {
                    tracing::warn!(%error, "cannot save usage");
                }
            }
        }
    }
}

/// Loads all volumes at the same time.
fn load_all(homes: &[Arc<PoolVolume>]) -> ReplicaResult<HashMap<hadron_types::BlockId, Entry>> {
    let loaded: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = homes.iter().map(|home| scope.spawn(|| load_volume(home))).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let mut all = HashMap::new();
    for (home, result) in homes.iter().zip(loaded) {
        let found = result.map_err(|_| incompatible(home.volume.dir(), "loading panicked"))??;
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
