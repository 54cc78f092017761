//! What all parts of one DataNode share: store, settings, counters, connections, and the way to the NameNodes.

use crate::balancing::Balancing;
use crate::cache::BlockCache;
use crate::ending::Ending;
use crate::ipc::{Reconfiguration, Rights};
use crate::metrics::Metrics;
use crate::namenode::link::NameNodeLink;
use crate::recovery::Recoveries;
use crate::scan::Scanners;
use crate::settings::Settings;
use crate::short_circuit::ShortCircuitRegistry;
use crate::tokens::PoolTokens;
use crate::xceiver::table::XceiverTable;
use crate::xceiver::workers::Workers;
use hadron_env::Clock;
use hadron_proto::hdfs::DatanodeInfoProto;
use hadron_replica::{FinalizedReplica, ReplicaReader, ReplicaResult, ReplicaStore, StorageReport};
use hadron_types::{Block, BlockId, BlockPoolId, ExtendedBlock, StorageId, StorageType};
use parking_lot::{Condvar, Mutex, RwLock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a heartbeat waits for disks to say how full they are; then the last figures serve.
const SPACE_PATIENCE: Duration = Duration::from_secs(1);

/// Where a DataNode listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Addresses {
    pub(crate) xfer: SocketAddr,
    pub(crate) ipc: SocketAddr,
    pub(crate) http: SocketAddr,
}

/// Something the NameNode should hear about a replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReplicaNews {
    pub(crate) block: Block,
    pub(crate) kind: NewsKind,
    pub(crate) storage_id: StorageId,
    pub(crate) storage_type: StorageType,
    /// The DataNode whose replica may go now (balancing); empty if none.
    pub(crate) delete_hint: String,
}

/// Kinds of news; the numbers are those of the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NewsKind {
    Receiving = 1,
    Received = 2,
    Deleted = 3,
}

/// The shared part.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<ReplicaStore>,
    pub(crate) metrics: Metrics,
    pub(crate) addresses: Addresses,
    pub(crate) hostname: String,
    pub(crate) xceivers: XceiverTable,
    pub(crate) workers: Workers,
    /// Block recoveries that this DataNode leads.
    pub(crate) recoveries: Recoveries,
    /// Time for what scans.
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) scanners: Scanners,
    pub(crate) started: Instant,
    /// Unix time.
    pub(crate) started_at_ms: u64,
    /// Who may administer this DataNode.
    pub(crate) rights: Rights,
    pub(crate) reconfiguration: Reconfiguration,
    /// Copies to other DataNodes under way (`xmitsInProgress`).
    pub(crate) transfers: AtomicUsize,
    /// What balancing may take.
    pub(crate) balancing: Arc<Balancing>,
    /// Nothing new is accepted any more.
    pub(crate) draining: CancellationToken,
    /// This DataNode ends to be started again at once.
    restarting: AtomicBool,
    /// Everything ends.
    pub(crate) stop: CancellationToken,
    ending: watch::Sender<Option<Ending>>,
    /// Disks are being asked how full they are.
    asking_disks: AtomicBool,
    pub(crate) tasks: TaskTracker,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) tokens: Arc<PoolTokens>,
    /// Segments and slots of clients on this machine.
    pub(crate) short_circuit: ShortCircuitRegistry,
    /// Replicas locked in memory.
    pub(crate) cache: BlockCache,
    /// `ip:port` by which the NameNode, and so clients, know the transfer port; set by registration.
    registered_address: Mutex<Option<String>>,
    links: RwLock<Vec<Arc<NameNodeLink>>>,
    pool_attached: (Mutex<()>, Condvar),
    /// Per nameservice the transaction id of the last believed claim to be active.
    claims: Vec<AtomicI64>,
}

impl Shared {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new(
        settings: Settings,
        store: ReplicaStore,
        addresses: Addresses,
        hostname: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let limit = effective_limit(settings.max_xceivers);
        Self {
            clock,
            scanners: Scanners::new(settings.block_scan, settings.directory_scan, store.volumes().len()),
            xceivers: XceiverTable::new(limit),
            short_circuit: ShortCircuitRegistry::new(limit),
            cache: BlockCache::new(settings.cache, store.volumes().len()),
            tokens: Arc::new(PoolTokens::new(&settings.user, settings.token_protobuf)),
            registered_address: Mutex::new(None),
            claims: settings.nameservices.iter().map(|_| AtomicI64::new(-1)).collect(),
            balancing: Balancing::new(settings.balance_bandwidth, settings.balance_moves),
            draining: CancellationToken::new(),
            restarting: AtomicBool::new(false),
            ending: watch::Sender::new(None),
            asking_disks: AtomicBool::new(false),
            started_at_ms: unix_ms(),
            store: Arc::new(store),
            metrics: Metrics::new(),
            addresses,
            hostname,
            workers: Workers::default(),
            recoveries: Recoveries::default(),
            rights: Rights::new(settings.permissions_enabled, &settings.user, &settings.supergroup),
            reconfiguration: Reconfiguration::default(),
            started: Instant::now(),
            transfers: AtomicUsize::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime: tokio::runtime::Handle::current(),
            links: RwLock::new(Vec::new()),
            pool_attached: (Mutex::new(()), Condvar::new()),
            settings,
        }
    }

    /// From now on writers are told that this DataNode will be back.
    pub(crate) fn announce_restart(&self) {
        self.restarting.store(true, Ordering::Release);
    }

    /// Whether this DataNode ends to be started again.
    pub(crate) fn is_restarting(&self) -> bool {
        self.restarting.load(Ordering::Acquire)
    }

    /// When the mark of a replica that is left open now runs out; Unix time.
    pub(crate) fn restart_mark_expiry(&self) -> u64 {
        unix_ms().saturating_add(self.settings.restart_replica_expiration.as_millis() as u64)
    }

    /// Says in the log that a step of receiving a block took longer than `dfs.datanode.slow.io.warning.threshold.ms`.
    pub(crate) fn note_slow(&self, step: &'static str, start: Instant, block: BlockId) {
        let (took, limit) = (start.elapsed(), self.settings.slow_io_threshold);
        if took > limit {
            let (took, limit) = (took.as_millis(), limit.as_millis());
            tracing::warn!(%block, "Slow BlockReceiver {step} took {took}ms (threshold={limit}ms)");
        }
    }

    /// Remembers the address that a NameNode registered this node under.
    pub(crate) fn set_transfer_address(&self, address: String) {
        *self.registered_address.lock() = Some(address);
    }

    /// `ip:port` of the transfer port as clients know it.
    pub(crate) fn transfer_address(&self) -> String {
        let registered = self.registered_address.lock().clone();
        registered.unwrap_or_else(|| self.addresses.xfer.to_string())
    }

    pub(crate) fn add_link(&self, link: Arc<NameNodeLink>) {
        self.links.write().push(link);
    }

    /// All NameNodes.
    pub(crate) fn links(&self) -> Vec<Arc<NameNodeLink>> {
        self.links.read().clone()
    }

    /// The last believed claim of a nameservice; its number is one of [`Settings::nameservices`].
    pub(crate) fn claim_of(&self, nameservice: usize) -> &AtomicI64 {
        &self.claims[nameservice]
    }

    /// Makes `active` the one active NameNode of its nameservice.
    pub(crate) fn sole_active(&self, active: &Arc<NameNodeLink>) {
        for link in self
            .links
            .read()
            .iter()
            .filter(|link| link.nameservice == active.nameservice)
        {
            link.set_active(Arc::ptr_eq(link, active));
        }
    }

    fn links_of(&self, pool: &BlockPoolId) -> Vec<Arc<NameNodeLink>> {
        let links = self.links.read();
        links.iter().filter(|link| link.serves(pool)).cloned().collect()
    }

    /// Queues news for every NameNode of the pool.
    pub(crate) fn tell(&self, pool: &BlockPoolId, news: &ReplicaNews) {
        for link in self.links_of(pool) {
            link.tell(news.clone());
        }
    }

    /// Tells of a finalized replica at once, unless it was deleted meanwhile: those news are the newer ones, and behind
    /// them these would bring it back.
    pub(crate) fn tell_received(&self, pool: &BlockPoolId, replica: &FinalizedReplica) {
        self.tell_moved(pool, replica, "");
    }

    /// As [`Self::tell_received`]; the replica on DataNode `delete_hint` may go in exchange.
    pub(crate) fn tell_moved(&self, pool: &BlockPoolId, replica: &FinalizedReplica, delete_hint: &str) {
        self.metrics.blocks_written.inc();
        self.tell_placed(pool, replica, delete_hint);
    }

    /// As [`Self::tell_received`] of a replica that was found on the disk.
    pub(crate) fn tell_found(&self, pool: &BlockPoolId, replica: &FinalizedReplica) {
        self.tell_placed(pool, replica, "");
    }

    fn tell_placed(&self, pool: &BlockPoolId, replica: &FinalizedReplica, delete_hint: &str) {
        let news = ReplicaNews {
            block: replica.block,
            kind: NewsKind::Received,
            storage_id: replica.storage_id.clone(),
            storage_type: replica.storage_type,
            delete_hint: delete_hint.to_owned(),
        };
        for link in self.links_of(pool) {
            link.tell_unless(news.clone(), || !self.store.has_reported(pool, replica.block.id));
        }
    }

    /// Tells of a replica whose files are gone, unless the block came back meanwhile: its news are the newer ones.
    pub(crate) fn tell_deleted(&self, pool: &BlockPoolId, replica: &FinalizedReplica) {
        let news = ReplicaNews {
            block: replica.block,
            kind: NewsKind::Deleted,
            storage_id: replica.storage_id.clone(),
            storage_type: replica.storage_type,
            delete_hint: String::new(),
        };
        for link in self.links_of(pool) {
            link.tell_unless(news.clone(), || self.store.has_reported(pool, replica.block.id));
        }
    }

    /// Opens a replica for reading. One whose file is missing is forgotten and the NameNodes are told, so that nobody
    /// is sent here for it again.
    pub(crate) fn open_for_read(
        &self,
        block: &ExtendedBlock,
        need: u64,
        patience: Duration,
    ) -> ReplicaResult<ReplicaReader> {
        let opened = self.store.open_for_read(block, need, patience);
        if opened.as_ref().is_ok_and(|replica| !replica.is_vouched()) {
            self.suspect(block);
        }
        if let Err(error) = &opened
            && error.is_missing_file()
            && let Some(gone) = self.store.forget_missing(block)
        {
            self.tell_deleted(&block.pool, &gone);
        }
        opened
    }

    /// Space figures of the volumes in use. Disks that do not answer hold nobody up: their last figures serve.
    pub(crate) async fn storage_reports(self: &Arc<Self>, pool: &BlockPoolId) -> Vec<StorageReport> {
        if !self.asking_disks.swap(true, Ordering::AcqRel) {
            let (shared, pool) = (self.clone(), pool.clone());
            let asked = tokio::task::spawn_blocking(move || {
                let reports = shared.store.storage_reports(&pool, true);
                shared.asking_disks.store(false, Ordering::Release);
                reports
            });
            if let Ok(Ok(reports)) = tokio::time::timeout(SPACE_PATIENCE, asked).await {
                return reports;
            }
            tracing::warn!("disks do not say how full they are, reporting the last figures");
        }
        self.store.storage_reports(pool, false)
    }

    /// Wants the DataNode to end; the first reason counts.
    pub(crate) fn end(&self, reason: Ending) {
        self.ending.send_if_modified(|ending| {
            let first = ending.is_none();
            ending.get_or_insert(reason);
            first
        });
    }

    /// Why the DataNode wants to end, if it does.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending.borrow().clone()
    }
    pub(crate) fn watch_ending(&self) -> watch::Receiver<Option<Ending>> {
        self.ending.subscribe()
    }

    /// Reports a bad replica; `source`: the DataNode that has it, `None` for this one.
    pub(crate) fn report_bad(&self, block: &ExtendedBlock, source: Option<DatanodeInfoProto>) {
        tracing::error!(%block, remote = source.is_some(), "reporting a corrupt replica");
        for link in self.links_of(&block.pool) {
            link.report_bad(block.clone(), source.clone());
        }
    }

    /// Has a replica verified soon: somebody saw it fail.
    pub(crate) fn suspect(&self, block: &ExtendedBlock) {
        let volume = self.store.volume_of(&block.pool, block.block.id);
        self.scanners.suspect(block, volume);
    }

    /// Wakes operations that wait for a pool.
    pub(crate) fn pool_attached(&self) {
        self.scanners.look_for_pools();
        let _guard = self.pool_attached.0.lock();
        self.pool_attached.1.notify_all();
    }

    /// Whether `pool` is on our disks and its NameNode has said who may use it.
    fn has_ready(&self, pool: &BlockPoolId) -> bool {
        self.store.has_pool(pool) && self.tokens.has_heard_of(pool)
    }

    /// Waits until `pool` is attached, at most the configured time; true if it is.
    pub(crate) fn wait_for_pool(&self, pool: &BlockPoolId) -> bool {
        if self.has_ready(pool) {
            return true;
        }
        // With every NameNode met there is nothing to wait for: the pool is simply not ours.
        let deadline = Instant::now() + self.settings.pool_ready_timeout;
        let mut guard = self.pool_attached.0.lock();
        while !self.has_ready(pool) {
            let all_met = self.links().iter().all(|link| link.is_registered());
            if all_met || self.stop.is_cancelled() {
                return false;
            }
            if self.pool_attached.1.wait_until(&mut guard, deadline).timed_out() {
                return self.has_ready(pool);
            }
        }
        true
    }

    /// Read time-out towards a pipeline with `further` nodes behind the next one.
    pub(crate) fn pipeline_read_timeout(&self, further: usize) -> Duration {
        self.settings.socket_timeout + Duration::from_secs(5) * (further as u32 + 1)
    }

    /// Write time-out towards such a pipeline; `None`: wait for ever.
    pub(crate) fn pipeline_write_timeout(&self, further: usize) -> Option<Duration> {
        (!self.settings.write_timeout.is_zero())
            .then(|| self.settings.write_timeout + Duration::from_secs(5) * (further as u32 + 1))
    }

    /// Counts a copy to another DataNode while the guard lives.
    pub(crate) fn count_transfer(self: &Arc<Self>) -> TransferGuard {
        self.transfers.fetch_add(1, Ordering::Relaxed);
        TransferGuard(self.clone())
    }
}

/// See [`Shared::count_transfer`].
pub(crate) struct TransferGuard(Arc<Shared>);

impl Drop for TransferGuard {
    fn drop(&mut self) {
        self.0.transfers.fetch_sub(1, Ordering::Relaxed);
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |time| time.as_millis() as u64)
}

/// Descriptors one transfer may hold: its socket, a mirror, data and meta file.
const FDS_PER_XCEIVER: usize = 4;
/// Descriptors left to everything else of the process.
const SPARE_FDS: usize = 256;

/// The configured limit, cut to a quarter of what the descriptor limit allows: several DataNodes share a process.
fn effective_limit(configured: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let mut limits = getrlimit(Resource::Nofile);
    // Raising the soft limit to the hard one needs no privilege; systems set it low for the sake of select().
    let raised = Rlimit {
        current: limits.maximum,
        ..limits
    };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        limits.current = limits.maximum;
    }
    let fds = limits
        .current
        .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let allowed = (fds.saturating_sub(SPARE_FDS) / FDS_PER_XCEIVER / 2).max(16);
    let limit = configured.min(allowed);
    if limit < configured {
        tracing::warn!(
            configured,
            limit,
            fds,
            "transfer limit cut to what the descriptor limit allows"
        );
    } else {
        tracing::info!(limit, "transfer limit");
    }
    limit
}
