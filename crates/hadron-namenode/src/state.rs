//! The two halves of the NameNode's state under their locks: the replicated namespace and the soft block map.
//!
//! Invariants: the namespace lock is taken before the block map's and never while it is held; no I/O, no await and no
//! process is waited for under either; whoever changes the block map publishes its events after both are released.

use crate::block_recovery::BlockRecoveries;
use crate::caching::Caching;
use crate::edit_events::EditWindow;
use crate::lease_release::recovering_block;
use crate::waiters::BlockWaiters;
use hadron_blockmap::{BlockEvent, BlockMap, BlockSource, BlockState, StoredBlock};
use hadron_env::{Clock, Random};
use hadron_namespace::{LeaseManager, Namespace};
use hadron_types::{BlockId, BlockPoolId, InodeId, TimeMs};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// State that RPC handlers, the journal's machine and the monitors share.
pub struct State {
    /// The replicated state. Taken before [`State::blocks`].
    pub ns: RwLock<Namespace>,
    /// Soft block state.
    pub blocks: Mutex<BlockMap>,
    /// When leases end. Taken after [`State::blocks`].
    pub leases: Mutex<LeaseManager>,
    /// Block recoveries under way. Taken last.
    pub recoveries: Mutex<BlockRecoveries>,
    /// Calls that wait for replicas.
    pub waiters: BlockWaiters,
    /// The clock; [`State::now`] is what to ask.
    pub clock: Arc<dyn Clock>,
    /// Randomness for placement and shuffling.
    pub random: Arc<dyn Random>,
    /// Set once replay is over: from then on the block map follows the namespace.
    is_live: AtomicBool,
    /// Set when safe mode ended by itself or racks changed: the redundancy monitor then examines all blocks.
    pub examine_all: AtomicBool,
    /// The latest changes, for watchers. Taken after [`State::leases`].
    pub(crate) edits: Mutex<EditWindow>,
    /// What the last look at the cache directives found.
    pub(crate) caching: Caching,
    /// Tells the reclaim driver that detached trees wait.
    pub(crate) reclaim_needed: Notify,
    /// Time of the latest command, ms; commands never carry an earlier one.
    pub(crate) last_command_time: AtomicU64,
    started_wall: TimeMs,
    started_mono: Duration,
}

impl State {
    /// Takes an empty or loaded namespace and a fresh block map.
    pub fn new(namespace: Namespace, blocks: BlockMap, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let recoveries = BlockRecoveries::new(blocks.settings().heartbeat_interval_ms);
        Self {
            recoveries: Mutex::new(recoveries),
            ns: RwLock::new(namespace),
            blocks: Mutex::new(blocks),
            leases: Mutex::new(LeaseManager::new()),
            waiters: BlockWaiters::default(),
            edits: Mutex::new(EditWindow::default()),
            caching: Caching::new(),
            reclaim_needed: Notify::new(),
            last_command_time: AtomicU64::new(0),
            started_wall: clock.now(),
            started_mono: clock.monotonic(),
            clock,
            random,
            is_live: AtomicBool::new(false),
            examine_all: AtomicBool::new(false),
        }
    }

    /// Milliseconds since 1970 that never run backwards: the wall clock at start plus monotonic time since.
    pub fn now(&self) -> TimeMs {
        let since = self.clock.monotonic().saturating_sub(self.started_mono);
        self.started_wall.plus(since.as_millis() as u64)
    }

    /// When this process's state was made.
    pub fn started(&self) -> TimeMs {
        self.started_wall
    }

    /// Whether replay is over.
    pub fn is_live(&self) -> bool {
        self.is_live.load(Ordering::Acquire)
    }

    /// Ends replay: block totals go to safe mode, and effects are followed from now on.
    pub fn go_live(&self) {
        let ns = self.ns.read();
        let mut blocks = self.blocks.lock();
        blocks.start_up(ns.counts().complete_blocks, self.now());
        let mut leases = self.leases.lock();
        for open in ns.open_files() {
            leases.grant(open.file, &open.holder, self.now());
            if let Some(block) = recovering_block(&ns, open.file) {
                self.recoveries.lock().expect(block, open.file, self.now());
            }
        }
        drop(leases);
        self.is_live.store(true, Ordering::Release);
        let events = blocks.take_events();
        drop(blocks);
        drop(ns);
        self.publish(events);
    }

    /// Runs `change` on the block map with the namespace at hand, then publishes what happened.
    ///
    /// `change` must be short: both locks are held.
    pub fn with_blocks<R>(&self, change: impl FnOnce(&NamespaceBlocks<'_>, &mut BlockMap, TimeMs) -> R) -> R {
        let ns = self.ns.read();
        let mut blocks = self.blocks.lock();
        let result = change(&NamespaceBlocks(&ns), &mut blocks, self.now());
        let events = blocks.take_events();
        drop(blocks);
        drop(ns);
        self.publish(events);
        result
    }

    /// Hands the block map's events to those who wait. Call without locks.
    pub fn publish(&self, events: Vec<BlockEvent>) {
        for event in events {
            match event {
                BlockEvent::MinReplicationReached(block) => self.waiters.wake(block),
                BlockEvent::SafeModeLeft => {
                    tracing::info!("safe mode is off");
                    self.examine_all.store(true, Ordering::Release);
                }
                BlockEvent::RacksChanged => {
                    tracing::info!("racks changed: all blocks are looked at");
                    self.examine_all.store(true, Ordering::Release);
                }
                _ => {}
            }
        }
    }

    /// Draws random numbers for one piece of work.
    pub fn rng(&self) -> impl FnMut() -> u64 + '_ {
        || self.random.next_u64()
    }

    /// The block pool of this file system.
    pub fn block_pool(&self) -> BlockPoolId {
        self.ns.read().identity().block_pool.clone()
    }
}

/// The namespace as the block map asks it.
pub struct NamespaceBlocks<'a>(pub &'a Namespace);

impl BlockSource for NamespaceBlocks<'_> {
    fn stored(&self, id: BlockId) -> Option<StoredBlock> {
        self.0.stored_block(id).map(stored_block)
    }
    fn storage_policy(&self, file: InodeId) -> u8 {
        self.0.storage_policy_of(file).unwrap_or_default()
    }
    fn is_open(&self, file: InodeId) -> bool {
        self.0.is_open(file)
    }
}

/// A block of the namespace in the block map's words.
pub fn stored_block(stored: hadron_namespace::StoredBlock) -> StoredBlock {
    StoredBlock {
        block: stored.block,
        state: match stored.state {
            hadron_namespace::BlockState::UnderConstruction => BlockState::UnderConstruction,
            hadron_namespace::BlockState::UnderRecovery => BlockState::UnderRecovery,
            hadron_namespace::BlockState::Committed => BlockState::Committed,
            hadron_namespace::BlockState::Complete => BlockState::Complete,
        },
        replication: stored.replication,
        file: stored.file,
        block_size: stored.block_size,
    }
}
