//! The block map itself: one owner of all soft block state, split by what it reacts to.
//!
//! `admin`: nodes that leave and come back. `cache`: what is in memory and shall be. `nodes`: registration, heartbeats, death. `reports`: full, incremental and bad-block reports. `files`: what the
//! namespace tells. `redundancy`: what is missing, surplus or corrupt. `work`: copies under way. `locate`: answers
//! for readers and operators. Target choice and node bookkeeping are modules of their own beside this one.

mod admin;
mod balance;
mod cache;
mod dump;
mod files;
mod locate;
mod nodes;
mod redundancy;
mod reports;
mod work;

pub use admin::{AdminChange, AdminWish, Standing};
pub use balance::ReplicaPlace;
pub use dump::{BlockDump, DumpedCopy, DumpedReplica};
pub use nodes::{Heartbeat, HeartbeatReply, Registration, RegistrationError};
pub use redundancy::ReplicaCounts;
pub use reports::{FullReport, Increment, IncrementKind, ReportError, ReportProgress, ReportRpc, StorageIncrements};
pub use work::WorkDone;

use crate::caching::CacheTable;
use crate::classify::{CorruptReason, ReportedReplica};
use crate::cluster::Cluster;
use crate::command::BlockEvent;
use crate::lease::ReportLeases;
use crate::needed::NeededQueues;
use crate::node::{NodeIndex, StorageIndex};
use crate::pending::PendingCopies;
use crate::replicas::ReplicaMap;
use crate::safemode::{SafeMode, SafeModeReason};
use crate::settings::Settings;
use core::net::IpAddr;
use hadron_types::{Block, BlockId, DatanodeUuid, GenerationStamp, TimeMs};
use hashbrown::HashMap;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Most events kept for a shell that does not fetch them; older ones are dropped (waiters also poll).
const MAX_EVENTS: usize = 1 << 16;

/// All soft block state.
#[derive(Debug)]
pub struct BlockMap {
    settings: Settings,
    cluster: Cluster,
    replicas: ReplicaMap,
    /// Blocks being written: where their pipeline is and what was reported.
    open: HashMap<BlockId, OpenBlock>,
    needed: NeededQueues,
    pending: PendingCopies,
    caching: CacheTable,
    corrupt: HashMap<BlockId, Vec<CorruptReplica>>,
    /// Blocks whose surplus waits until their storages have reported.
    postponed: BTreeSet<BlockId>,
    /// Where the next look at them begins.
    postponed_from: BlockId,
    /// Storages of dead nodes, forgotten in slices.
    draining: VecDeque<StorageIndex>,
    leases: ReportLeases,
    leaving: admin::LeavingNodes,
    /// When start-up began.
    started: TimeMs,
    /// Racks of hosts that read and write without being DataNodes.
    client_racks: HashMap<IpAddr, Arc<str>>,
    safe_mode: SafeMode,
    /// Complete blocks with minimum replication; kept only while safe mode starts up.
    safe_blocks: u64,
    excess: u64,
    timed_out: u64,
    next_report: u64,
    events: VecDeque<BlockEvent>,
}

/// A block under construction.
#[derive(Debug, Default)]
struct OpenBlock {
    /// The pipeline.
    expected: Vec<StorageIndex>,
    /// What DataNodes said of their replicas, one entry per storage.
    reported: Vec<(StorageIndex, ReportedReplica)>,
    /// Stamps of replicas that DataNodes deleted; the end of a recovery does not bring them back.
    gone: Vec<(StorageIndex, GenerationStamp)>,
    /// Nodes of `expected` and `reported` that died since; who comes back may bring its replica along.
    absent: Vec<DatanodeUuid>,
    /// Whether some DataNode was ever to have or had a replica, alive or dead by now.
    held: bool,
    /// What replicas were when the block was complete before.
    before: Option<Box<Block>>,
    /// A recovery's result that is about to be recorded.
    recovered: Option<Box<Recovered>>,
}

/// What a block recovery came to: the block's final form, and who has it.
#[derive(Debug)]
struct Recovered {
    block: Block,
    storages: Vec<StorageIndex>,
}

impl OpenBlock {
    /// The node that has `storages` died.
    fn miss(&mut self, node: &DatanodeUuid, storages: &[StorageIndex]) {
        let mut known = self
            .expected
            .iter()
            .chain(self.reported.iter().map(|(storage, _)| storage));
        let had = known.any(|storage| storages.contains(storage));
        if had && !self.absent.contains(node) && self.absent.len() < reports::MAX_OPEN_REPLICAS {
            self.absent.push(node.clone());
        }
        storages.iter().for_each(|&storage| self.forget(storage));
    }

    fn forget(&mut self, storage: StorageIndex) {
        self.expected.retain(|&other| other != storage);
        self.reported.retain(|&(other, _)| other != storage);
        self.gone.retain(|&(other, _)| other != storage);
        if let Some(recovered) = &mut self.recovered {
            recovered.storages.retain(|&other| other != storage);
        }
    }
}

/// An unusable replica.
#[derive(Clone, Copy, Debug)]
struct CorruptReplica {
    storage: StorageIndex,
    reason: CorruptReason,
    /// The replica as reported; its stamp goes into the order to delete it.
    block: Block,
}

impl BlockMap {
    /// An empty map, outside safe mode.
    pub fn new(settings: Settings) -> Self {
        Self {
            cluster: Cluster::default(),
            replicas: ReplicaMap::new(),
            open: HashMap::new(),
            needed: NeededQueues::default(),
            pending: PendingCopies::default(),
            caching: CacheTable::default(),
            corrupt: HashMap::new(),
            postponed: BTreeSet::new(),
            postponed_from: BlockId(i64::MIN),
            draining: VecDeque::new(),
            leases: ReportLeases::new(settings.max_report_leases, settings.report_lease_ms),
            leaving: admin::LeavingNodes::default(),
            started: TimeMs(0),
            client_racks: HashMap::new(),
            safe_mode: SafeMode::new(
                settings.safemode_threshold,
                settings.safemode_min_datanodes,
                settings.safemode_extension_ms,
            ),
            safe_blocks: 0,
            excess: 0,
            timed_out: 0,
            next_report: 0,
            events: VecDeque::new(),
            settings,
        }
    }

    /// The settings it runs with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes other settings: intervals, limits of streams and deletions, time-outs. Those of safe mode and of the number
    /// of report leases keep the values of the start.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Enters start-up's safe mode for a namespace of `total` complete blocks.
    ///
    /// Until it ends nothing is copied or deleted. When it ends, at once if nothing is to wait for,
    /// [`BlockEvent::SafeModeLeft`] asks the shell to call [`BlockMap::examine`] for every block, in slices.
    pub fn start_up(&mut self, total: u64, now: TimeMs) {
        self.started = now;
        self.safe_mode.start(total, now);
        if !self.safe_mode.is_starting() {
            self.emit(BlockEvent::SafeModeLeft);
        }
    }

    /// The safe mode, to ask for its state and texts.
    pub fn safe_mode(&self) -> &SafeMode {
        &self.safe_mode
    }
    /// Switches safe mode on.
    pub fn enter_safe_mode(&mut self, reason: SafeModeReason) {
        self.safe_mode.enter(reason);
    }
    /// Switches safe mode off, start-up's included.
    pub fn leave_safe_mode(&mut self) {
        let starting = self.safe_mode.is_starting();
        self.safe_mode.leave();
        if starting {
            self.emit(BlockEvent::SafeModeLeft);
        }
    }
    /// Moves safe mode on by time and counts; call it now and then (once a second does).
    pub fn tick_safe_mode(&mut self, now: TimeMs) {
        let live = self.cluster.live_count();
        if self.safe_mode.update(self.safe_blocks, live, now) {
            self.emit(BlockEvent::SafeModeLeft);
        }
    }

    /// Takes the events since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<BlockEvent> {
        self.events.drain(..).collect()
    }

    fn emit(&mut self, event: BlockEvent) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Whether missing and surplus replicas are acted upon: not during start-up.
    fn is_populating(&self) -> bool {
        !self.safe_mode.is_starting()
    }

    fn node_of(&self, storage: StorageIndex) -> NodeIndex {
        self.cluster.storage(storage).node
    }
}

#[cfg(test)]
mod tests;
