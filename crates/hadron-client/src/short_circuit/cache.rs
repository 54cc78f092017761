//! The descriptors of local replicas, kept by block for all readers of a client.
//!
//! One loads, others wait for it. What is decided about keeping and closing is in `book`; here are the files, the clock, the
//! mappings and the background: a cleaner, and the release of slots, neither of which waits for the other.
//!
//! Invariants: descriptors close when the replica has left the cache and its last reader is gone, and its slot is released
//! then; there is one mapping of a replica at a time; no lock is held while anything waits, maps or closes.
//!
//! Source: Hadoop `ShortCircuitCache`.

use super::BlockKey;
use super::book::{Book, Effect, Limits, ReplicaId};
use super::manager::{ShmManager, ShmSlot};
use super::release::Releaser;
use super::replica::{MapState, Replica};
use hadron_env::Clock;
use hadron_env::clock::sleep;
use hadron_proto::hdfs::LocatedBlockProto;
use hadron_shm::MappedFile;
use hadron_wire::transfer::Checksum;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

/// How often a replica is looked for that others purge again and again (`ShortCircuitCache.FETCH_OR_CREATE_MAX_ATTEMPTS`).
const MAX_TRIES: usize = 3;

/// Maps the first bytes of a file.
pub(super) type Mapper = fn(&File, usize) -> io::Result<MappedFile>;

/// What a cache does when.
#[derive(Clone, Copy)]
pub(super) struct CacheConfig {
    pub(super) limits: Limits,
    pub(super) stale_threshold: Duration,
    pub(super) map_retry: Duration,
    /// For one release of a slot.
    pub(super) release_timeout: Duration,
    pub(super) mapper: Mapper,
}

/// What loading a replica gave.
pub(super) enum Load {
    Files {
        /// Name of the DataNode.
        node: String,
        /// Generation stamp under which its replica was asked for.
        stamp: u64,
        data: File,
        meta: File,
        checksum: Checksum,
        slot: Option<ShmSlot>,
    },
    /// The block token was refused, with these words.
    Token(String),
    /// To be read over the network.
    Unavailable,
}

/// What the cache gives.
#[derive(Debug)]
pub(super) enum Fetched {
    Replica(ReplicaRef),
    Token(String),
    Unavailable,
}

/// How a load ended, for those who waited for it.
#[derive(Clone)]
enum Ended {
    Loaded,
    Token(String),
    Unavailable,
}

/// The cache of one client.
pub(crate) struct Cache {
    name: String,
    clock: Arc<dyn Clock>,
    config: CacheConfig,
    releaser: Option<Releaser>,
    state: Mutex<State>,
}

struct State {
    book: Book<BlockKey>,
    replicas: HashMap<ReplicaId, Arc<Replica>>,
    loading: HashMap<BlockKey, watch::Receiver<Option<Ended>>>,
    cleaner: Option<AbortOnDropHandle<()>>,
}

/// What leaves the cache: to be dropped outside its lock.
#[derive(Default)]
struct Garbage {
    maps: Vec<MapState>,
    replicas: Vec<Arc<Replica>>,
}

enum Step {
    Have(ReplicaRef),
    Wait(watch::Receiver<Option<Ended>>),
    Load(watch::Sender<Option<Ended>>),
}

impl Cache {
    /// `manager`: without one, replicas have no slots.
    pub(super) fn new(
        name: &str,
        clock: Arc<dyn Clock>,
        config: CacheConfig,
        manager: Option<&Arc<ShmManager>>,
    ) -> Arc<Self> {
        let releaser = manager.map(|manager| Releaser::start(name, Arc::clone(manager), config.release_timeout));
        Arc::new(Self {
            name: name.to_owned(),
            clock,
            config,
            releaser,
            state: Mutex::new(State {
                book: Book::new(config.limits),
                replicas: HashMap::new(),
                loading: HashMap::new(),
                cleaner: None,
            }),
        })
    }

    /// The replica of `key`: the one in the cache, the one somebody else is loading, or what `load` gives. One that does
    /// not serve `located` leaves the cache; whoever reads it goes on.
    pub(super) async fn fetch_or_create(
        self: &Arc<Self>,
        key: &BlockKey,
        located: &LocatedBlockProto,
        load: impl AsyncFnOnce() -> Load,
    ) -> Fetched {
        let mut load = Some(load);
        for _ in 0..MAX_TRIES {
            match self.step(key, located) {
                Step::Have(replica) => return Fetched::Replica(replica),
                Step::Wait(mut waiting) => {
                    let ended = waiting
                        .wait_for(Option::is_some)
                        .await
                        .ok()
                        .and_then(|ended| ended.clone());
                    match ended {
                        // Without an end the loader was dropped. Looked for again in both cases.
                        Some(Ended::Loaded) | None => {}
                        Some(Ended::Token(text)) => return Fetched::Token(text),
                        Some(Ended::Unavailable) => return Fetched::Unavailable,
                    }
                }
                Step::Load(sender) => {
                    let Some(load) = load.take() else {
                        self.state.lock().loading.remove(key);
                        break;
                    };
                    return self.load(key, sender, load).await;
                }
            }
        }
        tracing::info!(cache = self.name, %key, "replica went away as often as it was looked for");
        Fetched::Unavailable
    }

    fn step(self: &Arc<Self>, key: &BlockKey, located: &LocatedBlockProto) -> Step {
        let now = self.clock.monotonic();
        let mut garbage = Garbage::default();
        let mut state = self.state.lock();
        if let Some(id) = state.book.find(key) {
            let found = state.replicas.get(&id).cloned();
            if let Some(replica) = found {
                if replica.is_stale(now, self.config.stale_threshold) || !replica.serves(located) {
                    // Given up before the purge looks for the last one who has it.
                    drop(replica);
                    let mut effects = Vec::new();
                    state.book.purge(id, &mut effects);
                    state.apply(effects, &self.name, &mut garbage);
                } else if state.book.take(id) {
                    return Step::Have(ReplicaRef::new(self, id, replica));
                }
            }
        }
        let step = match state.loading.get(key) {
            Some(waiting) => Step::Wait(waiting.clone()),
            None => {
                let (sender, receiver) = watch::channel(None);
                state.loading.insert(key.clone(), receiver);
                Step::Load(sender)
            }
        };
        drop(state);
        self.dispose(garbage);
        step
    }

    async fn load(
        self: &Arc<Self>,
        key: &BlockKey,
        sender: watch::Sender<Option<Ended>>,
        load: impl AsyncFnOnce() -> Load,
    ) -> Fetched {
        let mut loading = Loading {
            cache: self,
            key,
            is_over: false,
        };
        let (ended, fetched) = match load().await {
            Load::Files {
                node,
                stamp,
                data,
                meta,
                checksum,
                slot,
            } => {
                let replica = Arc::new(Replica {
                    key: key.clone(),
                    node,
                    stamp,
                    data,
                    meta,
                    checksum,
                    created: self.clock.monotonic(),
                    slot,
                    map: Mutex::default(),
                    bad: AtomicBool::new(false),
                });
                (Ended::Loaded, Fetched::Replica(self.insert(replica)))
            }
            Load::Token(text) => (Ended::Token(text.clone()), Fetched::Token(text)),
            Load::Unavailable => (Ended::Unavailable, Fetched::Unavailable),
        };
        self.state.lock().loading.remove(key);
        loading.is_over = true;
        sender.send_replace(Some(ended));
        fetched
    }

    fn insert(self: &Arc<Self>, replica: Arc<Replica>) -> ReplicaRef {
        let mut state = self.state.lock();
        let id = state.book.insert(replica.key.clone());
        state.replicas.insert(id, Arc::clone(&replica));
        if state.cleaner.is_none() {
            let cleaner = clean_always(
                Arc::downgrade(self),
                Arc::clone(&self.clock),
                state.book.clean_interval(),
            );
            state.cleaner = Some(AbortOnDropHandle::new(tokio::spawn(cleaner)));
        }
        ReplicaRef::new(self, id, replica)
    }

    fn give_back(&self, id: ReplicaId) {
        let now = self.clock.monotonic();
        let mut garbage = Garbage::default();
        {
            let mut state = self.state.lock();
            let replica = state.replicas.get(&id);
            let stale = replica.is_none_or(|replica| replica.is_stale(now, self.config.stale_threshold));
            let effects = state.book.give_back(id, now, stale);
            state.apply(effects, &self.name, &mut garbage);
        }
        self.dispose(garbage);
    }

    /// Ends what has been kept for long enough.
    fn clean(&self) {
        let mut garbage = Garbage::default();
        {
            let mut state = self.state.lock();
            let effects = state.book.clean(self.clock.monotonic());
            state.apply(effects, &self.name, &mut garbage);
        }
        self.dispose(garbage);
    }

    /// Gives a slot back to its DataNode, some time later.
    pub(super) fn release(&self, slot: ShmSlot) {
        if let Some(releaser) = &self.releaser {
            releaser.schedule(slot);
        }
    }

    fn dispose(&self, garbage: Garbage) {
        drop(garbage.maps);
        for replica in garbage.replicas {
            // Readers let go of it before they tell the book.
            let Some(replica) = Arc::into_inner(replica) else {
                debug_assert!(false, "a replica is closed while somebody has it");
                continue;
            };
            if let Some(slot) = replica.slot {
                self.release(slot);
            }
        }
    }

    /// Replicas held, mappings, and replicas that nobody reads: not mapped, mapped.
    pub(super) fn counts(&self) -> (usize, usize, (usize, usize)) {
        let state = self.state.lock();
        (state.book.len(), state.book.mappings(), state.book.evictable())
    }
}

impl State {
    fn apply(&mut self, effects: Vec<Effect>, cache: &str, garbage: &mut Garbage) {
        for effect in effects {
            match effect {
                Effect::Unmap(id) => {
                    if let Some(replica) = self.replicas.get(&id) {
                        garbage.maps.push(std::mem::take(&mut *replica.map.lock()));
                    }
                }
                Effect::Purged(id) => tracing::trace!(cache, replica = ?self.replicas.get(&id), "purged"),
                Effect::Close(id) => garbage.replicas.extend(self.replicas.remove(&id)),
            }
        }
    }
}

/// The duty to say that a load is over, also when it is dropped half way.
struct Loading<'a> {
    cache: &'a Cache,
    key: &'a BlockKey,
    is_over: bool,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.cache.state.lock().loading.remove(self.key);
        }
    }
}

async fn clean_always(cache: Weak<Cache>, clock: Arc<dyn Clock>, interval: Duration) {
    loop {
        sleep(&*clock, interval).await;
        match cache.upgrade() {
            Some(cache) => cache.clean(),
            None => return,
        }
    }
}

/// A reader's use of a replica; ends on drop.
pub(crate) struct ReplicaRef {
    cache: Arc<Cache>,
    id: ReplicaId,
    /// Absent only while it is dropped.
    replica: Option<Arc<Replica>>,
}

impl ReplicaRef {
    fn new(cache: &Arc<Cache>, id: ReplicaId, replica: Arc<Replica>) -> Self {
        Self {
            cache: Arc::clone(cache),
            id,
            replica: Some(replica),
        }
    }

    /// Whether a new reader should rather ask for the replica anew.
    pub(crate) fn is_stale(&self) -> bool {
        let now = match &self.slot {
            // Age does not matter then, and the time costs a call.
            Some(_) => Duration::ZERO,
            None => self.cache.clock.monotonic(),
        };
        Replica::is_stale(self, now, self.cache.config.stale_threshold)
    }

    /// The replica mapped into memory: there is one mapping for all who ask. `None`: it cannot be mapped now.
    pub(crate) async fn mapped(&self, len: usize) -> Option<Arc<MappedFile>> {
        let notify = loop {
            let waiting = {
                let mut map = self.map.lock();
                match &*map {
                    // The block grew since: the mapping stays as it is for its users.
                    MapState::Mapped(mapped) if mapped.len() < len => return None,
                    MapState::Mapped(mapped) => return Some(Arc::clone(mapped)),
                    MapState::Failed(at)
                        if self.cache.clock.monotonic() < at.saturating_add(self.cache.config.map_retry) =>
                    {
                        return None;
                    }
                    MapState::Loading(loading) => Arc::clone(loading).notified_owned(),
                    MapState::None | MapState::Failed(_) => {
                        let notify = Arc::<Notify>::default();
                        *map = MapState::Loading(Arc::clone(&notify));
                        break notify;
                    }
                }
            };
            waiting.await;
        };
        // Maps no page yet: nothing to wait for.
        let (next, mapped) = match (self.cache.config.mapper)(&self.data, len) {
            Ok(mapped) => {
                let mapped = Arc::new(mapped);
                self.cache.state.lock().book.set_mapped(self.id);
                (MapState::Mapped(Arc::clone(&mapped)), Some(mapped))
            }
            Err(error) => {
                tracing::warn!(cache = self.cache.name, key = %self.key, %error, "cannot map a block; copying for a while");
                (MapState::Failed(self.cache.clock.monotonic()), None)
            }
        };
        *self.map.lock() = next;
        notify.notify_waiters();
        mapped
    }
}

impl Deref for ReplicaRef {
    type Target = Replica;

    fn deref(&self) -> &Replica {
        match &self.replica {
            Some(replica) => replica,
            None => unreachable!("used while it is dropped"),
        }
    }
}

impl Drop for ReplicaRef {
    fn drop(&mut self) {
        drop(self.replica.take());
        self.cache.give_back(self.id);
    }
}

impl std::fmt::Debug for ReplicaRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}
