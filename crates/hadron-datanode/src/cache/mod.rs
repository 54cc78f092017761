//! Replicas locked in memory on the NameNode's orders (centralised caching).
//!
//! [`machine`] decides; this is its shell: a bounded number of threads per volume map, lock and verify replicas, a task asks
//! anew for those that clients still anchor, and the registry of slots tells clients. What it does not do: it chooses no
//! replicas. Invariants: the lock of the cache is taken before the registry's, and never held while the store is called or
//! memory is mapped, locked or given back; checksums are verified with reads, never by touching mapped pages, which a cut
//! file would answer with a signal. Source: Hadoop `FsDatasetCache`, `MappableBlock`.

mod machine;
mod settings;

pub use settings::CacheSettings;

use crate::shared::Shared;
use crate::short_circuit::ReplicaKey;
use hadron_env::clock;
use hadron_replica::Verdict;
use hadron_shm::MappedFile;
use hadron_types::{Block, BlockId, BlockPoolId};
use hashbrown::HashMap;
use machine::{Action, Event, Limits, Machine};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Most replicas that wait for a thread of a volume; the NameNode orders those beyond again.
const MAX_QUEUED: usize = 1 << 16;

/// A replica to load.
struct Load {
    key: ReplicaKey,
    block: Block,
}

/// The replicas of one volume that wait for a thread, and the threads at work.
#[derive(Default)]
struct VolumeQueue {
    waiting: VecDeque<Load>,
    threads: usize,
}

struct State {
    machine: Machine,
    /// Memory of the replicas that are loaded, on their way out included.
    maps: HashMap<ReplicaKey, MappedFile>,
    volumes: Vec<VolumeQueue>,
}

/// Figures for heartbeats and operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheFigures {
    /// Bytes that may be locked.
    pub capacity: u64,
    /// Bytes reserved of them.
    pub used: u64,
    /// Replicas in memory.
    pub cached: u64,
    /// Orders to cache that came to nothing.
    pub failed_to_cache: u64,
    /// Orders to uncache that came to nothing.
    pub failed_to_uncache: u64,
}

/// See the module.
pub(crate) struct BlockCache {
    settings: CacheSettings,
    state: Mutex<State>,
    /// Wakes the task that asks clients anew.
    waits: Notify,
}

impl BlockCache {
    /// An empty cache over so many volumes.
    pub(crate) fn new(settings: CacheSettings, volumes: usize) -> Self {
        let limits = Limits {
            capacity: settings.capacity,
            page: rustix::param::page_size() as u64,
            revocation: settings.revocation_timeout,
        };
        Self {
            settings,
            state: Mutex::new(State {
                machine: Machine::new(limits),
                maps: HashMap::new(),
                volumes: (0..volumes.max(1)).map(|_| VolumeQueue::default()).collect(),
            }),
            waits: Notify::new(),
        }
    }

    /// Whether anything may be cached at all.
    pub(crate) fn is_on(&self) -> bool {
        self.settings.capacity > 0
    }

    /// Time between two reports.
    pub(crate) fn report_interval(&self) -> Duration {
        self.settings.report_interval
    }

    pub(crate) fn figures(&self) -> CacheFigures {
        let state = self.state.lock();
        let counts = state.machine.counts();
        CacheFigures {
            capacity: state.machine.capacity(),
            used: state.machine.used(),
            cached: counts.cached,
            failed_to_cache: counts.failed_to_cache,
            failed_to_uncache: counts.failed_to_uncache,
        }
    }

    /// The blocks of a pool that are in memory.
    pub(crate) fn cached(&self, pool: &BlockPoolId) -> Vec<BlockId> {
        let state = self.state.lock();
        let of_pool = state.machine.cached().filter(|(of, _)| of == pool);
        of_pool.map(|(_, id)| *id).collect()
    }
}

/// Has replicas cached. Looks them up in the store: not for the reactor.
pub(crate) fn cache(shared: &Arc<Shared>, pool: &BlockPoolId, ids: &[BlockId]) {
    for &id in ids {
        let Some((block, volume)) = shared.store.finished(pool, id) else {
            tracing::warn!(block = %id, "Failed to cache block: it is not here or not finished");
            continue;
        };
        let key = (pool.clone(), id);
        let mut state = shared.cache.state.lock();
        let volume = volume.min(state.volumes.len() - 1);
        if state.volumes[volume].waiting.len() >= MAX_QUEUED {
            tracing::warn!(block = %id, "Failed to cache block: too many wait for their volume");
            continue;
        }
        let event = Event::Cache(key.clone(), block.len);
        if state.machine.handle(event, shared.clock.monotonic()).is_empty() {
            tracing::debug!(block = %id, "not cached: no room, or it is cached already");
            continue;
        }
        let queue = &mut state.volumes[volume];
        queue.waiting.push_back(Load { key, block });
        if queue.threads >= shared.cache.settings.threads_per_volume {
            continue;
        }
        queue.threads += 1;
        drop(state);
        let loading = shared.clone();
        if let Err(error) = shared.workers.run(move || load_all(&loading, volume)) {
            tracing::error!(%error, "no thread to cache replicas with");
            give_up(shared, volume);
        }
    }
}

/// No thread could be started: what waits is given up if none is at work; the NameNode orders it again.
fn give_up(shared: &Shared, volume: usize) {
    let mut state = shared.cache.state.lock();
    let queue = &mut state.volumes[volume];
    queue.threads -= 1;
    if queue.threads > 0 {
        return;
    }
    let waiting = std::mem::take(&mut queue.waiting);
    drop(state);
    for load in waiting {
        step(shared, Event::Failed(load.key), None);
    }
}

/// Has replicas uncached.
pub(crate) fn uncache(shared: &Shared, pool: &BlockPoolId, ids: &[BlockId]) {
    for &id in ids {
        step(shared, Event::Uncache((pool.clone(), id)), None);
    }
}

/// A replica is deleted, moved, or changes: it is in memory no longer than clients rely on it.
pub(crate) fn forget(shared: &Shared, pool: &BlockPoolId, id: BlockId) {
    if shared.cache.is_on() {
        let key = (pool.clone(), id);
        if shared.cache.is_known(&key) {
            step(shared, Event::Uncache(key), None);
        }
    }
}

impl BlockCache {
    /// Whether there is something to uncache.
    fn is_known(&self, key: &ReplicaKey) -> bool {
        let state = self.state.lock();
        state.machine.is_loading(key) || state.machine.cached().any(|cached| cached == key)
    }
}

/// Works for a volume until nothing waits for it.
fn load_all(shared: &Arc<Shared>, volume: usize) {
    loop {
        let mut state = shared.cache.state.lock();
        let queue = &mut state.volumes[volume];
        let next = queue.waiting.pop_front();
        let Some(Load { key, block }) = next.filter(|_| !shared.stop.is_cancelled()) else {
            queue.threads -= 1;
            return;
        };
        drop(state);
        match load(shared, &key, &block) {
            Ok(map) => {
                tracing::debug!(%block, "cached");
                step(shared, Event::Loaded(key), Some(map));
            }
            Err(why) => {
                tracing::warn!(%block, why, "Failed to cache block");
                step(shared, Event::Failed(key), None);
            }
        }
    }
}

/// Maps, locks and verifies a replica.
fn load(shared: &Shared, key: &ReplicaKey, block: &Block) -> Result<MappedFile, String> {
    let (pool, id) = key;
    let wanted = |shared: &Shared| shared.cache.state.lock().machine.is_loading(key) && !shared.stop.is_cancelled();
    if !wanted(shared) {
        return Err("it is not wanted any more".to_owned());
    }
    let replica = shared
        .store
        .open_finished(pool, block)
        .map_err(|error| error.to_string())?;
    let data = replica.data().ok_or("its file cannot be mapped")?;
    let len = usize::try_from(block.len).map_err(|_| "it is too long to be mapped")?;
    let map = MappedFile::new(data, len).map_err(|error| format!("map its file: {error}"))?;
    map.lock().map_err(|error| format!("lock its memory: {error}"))?;
    match shared.store.verify(pool, *id, &mut |_| wanted(shared)) {
        Verdict::Good { bytes } if bytes == block.len => Ok(map),
        Verdict::Bad { problem, .. } => {
            let bad = hadron_types::ExtendedBlock {
                pool: pool.clone(),
                block: *block,
            };
            shared.suspect(&bad);
            Err(format!("checksum verification failed: {problem}"))
        }
        Verdict::Stopped => Err("it is not wanted any more".to_owned()),
        other => Err(format!("it changed: {other:?}")),
    }
}

/// Tells the machine what happened and does what it says. `map`: the memory of a replica that was loaded.
fn step(shared: &Shared, event: Event, map: Option<MappedFile>) {
    let now = shared.clock.monotonic();
    let registry = &shared.short_circuit;
    let mut given_back: Vec<MappedFile> = map.into_iter().collect();
    let mut state = shared.cache.state.lock();
    let mut actions: VecDeque<Action> = state.machine.handle(event, now).into();
    while let Some(action) = actions.pop_front() {
        match action {
            // Only `cache` begins to load.
            Action::Load(_) => {}
            Action::Publish(key) => {
                if let Some(map) = given_back.pop() {
                    registry.locked(&key);
                    state.maps.insert(key, map);
                    shared.metrics.blocks_cached.inc();
                }
            }
            Action::Revoke(key) => {
                let event = match registry.may_unlock(&key) {
                    true => Event::Free(key),
                    false => Event::Anchored(key),
                };
                actions.extend(state.machine.handle(event, now));
            }
            Action::Blame(key) => {
                let clients = registry.anchored_by(&key).join(", ");
                let waited = shared.cache.settings.revocation_timeout;
                tracing::warn!(
                    block = %key.1,
                    "Forcibly uncaching after {waited:?}: clients {clients} did not give it back"
                );
            }
            Action::Release(key) => {
                if let Some(map) = state.maps.remove(&key) {
                    shared.metrics.blocks_uncached.inc();
                    given_back.push(map);
                }
            }
        }
    }
    let waits = state.machine.is_waiting();
    drop(state);
    // Unmapping unlocks the pages.
    drop(given_back);
    if waits {
        shared.cache.waits.notify_one();
    }
}

/// Asks clients anew for what is to be given back, until the DataNode stops.
pub(crate) async fn revoke(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.cache.waits.notified() => {}
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = clock::sleep(&*shared.clock, shared.cache.settings.revocation_polling) => {}
        }
        // Asks again for a wake-up as long as somebody waits.
        step(&shared, Event::Tick, None);
    }
}
