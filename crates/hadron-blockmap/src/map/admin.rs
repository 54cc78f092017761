//! Nodes on their way out of service and back: decommission and maintenance.
//!
//! What it is for: Hadoop's `DatanodeAdminManager`. The shell says what the hosts files wish for a node
//! ([`BlockMap::set_standing`]); rounds ([`BlockMap::begin_admin_round`], [`BlockMap::admin_slice`]) look through the
//! node's blocks, have copies made of those that would miss it, and end with `Decommissioned` or `InMaintenance` when
//! none is left. A node back in service has its blocks looked at for surplus.
//! What it does not do: read files, or give orders; copies come from the redundancy rounds.
//! Invariants: a node ends a state only after a look at every block it has, with none insufficient; blocks that come
//! to a watched node during the look are looked at too; one slice looks at no more blocks than its budget.

use super::BlockMap;
use crate::node::{AdminState, DatanodeId, LeavingProgress, NodeIndex};
use crate::replicas::Slot;
use crate::source::{BlockSource, BlockState, StoredBlock};
use hadron_types::{BlockId, DatanodeUuid, InodeId, TimeMs};
use hashbrown::HashSet;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Most changes of state kept for a shell that does not fetch them; older ones are dropped.
const MAX_CHANGES: usize = 1 << 12;

/// What the hosts files wish for a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AdminWish {
    /// To serve.
    #[default]
    InService,
    /// To be emptied and leave.
    Decommission,
    /// To be away until a time; in service if that has passed.
    Maintenance {
        /// End of the maintenance, on the clock of all `now`s.
        until: TimeMs,
    },
}

/// How a node stands with the hosts files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Whether it may be in the cluster at all.
    pub included: bool,
    /// What is wished of it.
    pub wish: AdminWish,
    /// Its upgrade domain, if it has one.
    pub upgrade_domain: Option<Arc<str>>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            included: true,
            wish: AdminWish::InService,
            upgrade_domain: None,
        }
    }
}

/// A node entered an administrative state, for the log.
#[derive(Clone, PartialEq, Debug)]
pub struct AdminChange {
    /// The node.
    pub node: Arc<DatanodeId>,
    /// Its new state.
    pub state: AdminState,
    /// Blocks on it.
    pub blocks: u64,
}

/// The nodes being watched.
#[derive(Debug, Default)]
pub(super) struct LeavingNodes {
    /// Beyond the limit of nodes watched at a time.
    waiting: VecDeque<NodeIndex>,
    watched: BTreeMap<NodeIndex, Watch>,
    /// Nodes back in service, with the blocks still to be looked at for surplus.
    returned: VecDeque<(NodeIndex, Vec<Slot>)>,
    /// Looks left in this round.
    budget: usize,
    changes: VecDeque<AdminChange>,
}

/// What is known of one watched node.
#[derive(Debug, Default)]
struct Watch {
    /// Whether this round has still to look at it.
    due: bool,
    /// The running pass: blocks to look at.
    to_check: Vec<Slot>,
    running: bool,
    /// Whether the running pass began with every block of the node.
    full: bool,
    /// Blocks the last pass found wanting; `None` before the first one.
    insufficient: Option<Vec<Slot>>,
    progress: LeavingProgress,
    open_files: HashSet<InodeId>,
}

impl BlockMap {
    /// Open files with blocks that nodes being decommissioned cannot go without, as the latest looks found them.
    pub fn files_blocking_decommission(&self) -> BTreeSet<InodeId> {
        let leaving = |index: NodeIndex| self.cluster.node(index).admin == AdminState::DecommissionInProgress;
        let watched = self.leaving.watched.iter().filter(|(index, _)| leaving(**index));
        watched
            .flat_map(|(_, watch)| watch.open_files.iter().copied())
            .collect()
    }

    /// Takes over what the hosts files say of a node; call it after a registration and when the files were read anew.
    pub fn set_standing(&mut self, node: &DatanodeUuid, standing: &Standing, now: TimeMs) {
        let Some(index) = self.cluster.find(node) else {
            return;
        };
        let known = self.cluster.node_mut(index);
        known.disallowed = !standing.included;
        known.upgrade_domain.clone_from(&standing.upgrade_domain);
        if !standing.included {
            return;
        }
        match standing.wish {
            AdminWish::Maintenance { until } if until > now => self.start_maintenance(index, until, now),
            AdminWish::Decommission => self.start_decommission(index, now),
            _ => self.return_to_service(index),
        }
    }

    /// The nodes the shell asks its hosts files about.
    pub fn datanode_ids(&self) -> Vec<Arc<DatanodeId>> {
        self.cluster.iter().map(|(_, node)| Arc::clone(&node.id)).collect()
    }

    /// Begins a round (every `dfs.namenode.decommission.interval`): every watched node is due, and as many blocks may
    /// be looked at as `dfs.namenode.decommission.blocks.per.interval` says.
    pub fn begin_admin_round(&mut self) {
        let limit = match self.settings.max_watched_nodes {
            0 => usize::MAX,
            limit => limit,
        };
        self.leaving.budget = self.settings.admin_blocks_per_round.max(1);
        while self.leaving.watched.len() < limit
            && let Some(index) = self.leaving.waiting.pop_front()
        {
            self.leaving.watched.insert(index, Watch::default());
        }
        for watch in self.leaving.watched.values_mut() {
            watch.due = true;
        }
    }

    /// Looks at up to `budget` blocks of watched and returned nodes; returns whether there is more to do now.
    pub fn admin_slice(&mut self, source: &dyn BlockSource, budget: usize, now: TimeMs) -> bool {
        // While it starts up, the NameNode does not know yet what is where.
        if !self.is_populating() {
            return false;
        }
        let mut left = budget;
        while left > 0 {
            if let Some((index, slots)) = self.leaving.returned.front_mut() {
                let (index, slot) = (*index, slots.pop());
                match slot {
                    Some(slot) => {
                        left -= 1;
                        self.look_for_surplus(index, slot, source, now);
                    }
                    None => {
                        self.leaving.returned.pop_front();
                    }
                }
                continue;
            }
            if self.leaving.budget == 0 {
                return false;
            }
            let mut due = self.leaving.watched.iter().filter(|(_, watch)| watch.due);
            let Some((&index, _)) = due.next() else {
                return false;
            };
            // A node without blocks costs something too.
            left -= 1;
            self.look_at_node(index, &mut left, source, now);
        }
        true
    }

    /// The watched nodes that are waited for, with what for.
    pub fn leaving_nodes(&self) -> Vec<(Arc<DatanodeId>, AdminState, LeavingProgress)> {
        let watched = self.leaving.watched.keys().map(|&index| self.cluster.node(index));
        watched
            .filter(|node| node.admin != AdminState::InMaintenance)
            .map(|node| (Arc::clone(&node.id), node.admin, node.leaving.unwrap_or_default()))
            .collect()
    }

    /// Takes the changes of administrative state since the last call, oldest first.
    pub fn take_admin_changes(&mut self) -> Vec<AdminChange> {
        self.leaving.changes.drain(..).collect()
    }

    /// Whether a node left the include list since it registered.
    pub fn is_disallowed(&self, node: &DatanodeUuid) -> bool {
        self.cluster
            .find(node)
            .is_some_and(|index| self.cluster.node(index).disallowed)
    }

    fn start_decommission(&mut self, index: NodeIndex, now: TimeMs) {
        let node = self.cluster.node(index);
        if matches!(
            node.admin,
            AdminState::DecommissionInProgress | AdminState::Decommissioned
        ) {
            return;
        }
        if node.alive {
            self.set_admin(index, AdminState::DecommissionInProgress);
            self.watch(index, now);
        } else {
            // Nothing it has can be counted on, so there is nothing to wait for.
            self.set_admin(index, AdminState::Decommissioned);
            self.unwatch(index);
            self.drain_node(index);
        }
    }

    fn start_maintenance(&mut self, index: NodeIndex, until: TimeMs, now: TimeMs) {
        self.cluster.node_mut(index).maintenance_until = until;
        let node = self.cluster.node(index);
        if is_maintenance(node.admin) {
            return;
        }
        let at_once = !node.alive || self.settings.maintenance_min_replication == 0;
        let state = match at_once {
            true => AdminState::InMaintenance,
            false => AdminState::EnteringMaintenance,
        };
        self.set_admin(index, state);
        self.watch(index, now);
    }

    fn return_to_service(&mut self, index: NodeIndex) {
        let node = self.cluster.node(index);
        let (was, alive) = (node.admin, node.alive);
        if was == AdminState::Normal {
            return;
        }
        self.unwatch(index);
        self.set_admin(index, AdminState::Normal);
        if alive {
            let slots = self.slots_of(index);
            self.leaving.returned.push_back((index, slots));
        } else if is_maintenance(was) {
            self.drain_node(index);
        }
    }

    /// A watched node is forgotten for good.
    pub(super) fn unwatch(&mut self, index: NodeIndex) {
        self.leaving.watched.remove(&index);
        self.leaving.waiting.retain(|&other| other != index);
        self.leaving.returned.retain(|&(other, _)| other != index);
        self.cluster.node_mut(index).leaving = None;
    }

    /// A replica came to a node that may be watched: the running or next pass looks at its block.
    pub(super) fn note_arrival(&mut self, index: NodeIndex, id: BlockId) {
        if self.cluster.node(index).admin != AdminState::Normal
            && let Some(watch) = self.leaving.watched.get_mut(&index)
            && (watch.running || watch.insufficient.is_some())
            && let Some(slot) = self.replicas.find(id)
        {
            watch.to_check.push(slot);
        }
    }

    fn watch(&mut self, index: NodeIndex, now: TimeMs) {
        self.unwatch(index);
        self.leaving.waiting.push_back(index);
        self.cluster.node_mut(index).leaving = Some(LeavingProgress {
            started: now,
            ..LeavingProgress::default()
        });
    }

    fn set_admin(&mut self, index: NodeIndex, state: AdminState) {
        self.cluster.change(index, |node| node.admin = state);
        let node = self.cluster.node(index);
        let lens = node.storages.iter();
        let change = AdminChange {
            node: Arc::clone(&node.id),
            state,
            blocks: lens
                .map(|&storage| self.cluster.storage(storage).blocks.len() as u64)
                .sum(),
        };
        if self.leaving.changes.len() == MAX_CHANGES {
            self.leaving.changes.pop_front();
        }
        self.leaving.changes.push_back(change);
    }

    pub(super) fn drain_node(&mut self, index: NodeIndex) {
        for storage in self.cluster.node(index).storages.clone() {
            self.start_draining(storage);
        }
    }

    /// The records of all blocks on a node: four bytes each, copied page by page.
    fn slots_of(&self, index: NodeIndex) -> Vec<Slot> {
        let mut slots = Vec::new();
        for &storage in &self.cluster.node(index).storages {
            self.cluster.storage(storage).blocks.append_to(&mut slots);
        }
        slots
    }

    /// The block of a record, if it still has a replica on the node.
    fn block_on(&self, index: NodeIndex, slot: Slot, source: &dyn BlockSource) -> Option<StoredBlock> {
        let mut replicas = self.replicas.replicas(slot);
        replicas.find(|replica| self.node_of(replica.storage()) == index)?;
        source.stored(self.replicas.id(slot))
    }

    fn look_for_surplus(&mut self, index: NodeIndex, slot: Slot, source: &dyn BlockSource, now: TimeMs) {
        if let Some(stored) = self.block_on(index, slot, source) {
            self.balance(&stored, None, source, now);
        }
    }

    fn look_at_node(&mut self, index: NodeIndex, left: &mut usize, source: &dyn BlockSource, now: TimeMs) {
        let node = self.cluster.node(index);
        let (state, until) = (node.admin, node.maintenance_until);
        if is_maintenance(state) && until <= now {
            self.return_to_service(index);
            return;
        }
        let Some(mut watch) = self.leaving.watched.remove(&index) else {
            return;
        };
        match state {
            AdminState::Normal | AdminState::Decommissioned => return,
            // Only its end is waited for.
            AdminState::InMaintenance => watch.due = false,
            AdminState::DecommissionInProgress | AdminState::EnteringMaintenance => {
                let ended = self.pass(index, &mut watch, left, source);
                if ended && self.conclude(index, &mut watch) && state == AdminState::DecommissionInProgress {
                    return;
                }
            }
        }
        self.leaving.watched.insert(index, watch);
    }

    /// Goes on with the running pass or begins one; returns whether it ended.
    fn pass(&mut self, index: NodeIndex, watch: &mut Watch, left: &mut usize, source: &dyn BlockSource) -> bool {
        if !watch.running {
            watch.running = true;
            watch.progress = LeavingProgress::default();
            watch.open_files.clear();
            match watch.insufficient.replace(Vec::new()) {
                Some(slots) if !watch.full => watch.to_check.extend(slots),
                _ => {
                    watch.full = true;
                    watch.to_check = self.slots_of(index);
                }
            }
        }
        while *left > 0
            && self.leaving.budget > 0
            && let Some(slot) = watch.to_check.pop()
        {
            *left -= 1;
            self.leaving.budget -= 1;
            self.look_at_block(index, slot, watch, source);
        }
        watch.to_check.is_empty()
    }

    /// A pass ended: publishes what it found, and moves the node on or looks again. Returns whether it moved on.
    fn conclude(&mut self, index: NodeIndex, watch: &mut Watch) -> bool {
        watch.running = false;
        let clean = watch.insufficient.as_ref().is_none_or(Vec::is_empty);
        let node = self.cluster.node_mut(index);
        let started = node.leaving.map_or(TimeMs(0), |progress| progress.started);
        node.leaving = Some(LeavingProgress {
            started,
            open_files: watch.open_files.len() as u64,
            ..watch.progress
        });
        if clean && !watch.full {
            // The few that were waited for are well; before the node goes, all are looked at once more.
            watch.full = true;
            return false;
        }
        watch.full = false;
        watch.due = false;
        if !clean || !self.may_leave(index) {
            return false;
        }
        let state = match self.cluster.node(index).admin {
            AdminState::DecommissionInProgress => AdminState::Decommissioned,
            _ => AdminState::InMaintenance,
        };
        self.set_admin(index, state);
        true
    }

    /// Whether what is known of a node's blocks can be trusted: it has reported them all, or it is dead and no block
    /// of the file system is short of replicas.
    fn may_leave(&self, index: NodeIndex) -> bool {
        let node = self.cluster.node(index);
        if !node.alive {
            return self.needed.len() == 0 && self.pending.len() == 0;
        }
        self.has_reported(index)
    }

    fn look_at_block(&mut self, index: NodeIndex, slot: Slot, watch: &mut Watch, source: &dyn BlockSource) {
        let Some(stored) = self.block_on(index, slot, source) else {
            return;
        };
        if self.is_populating() && stored.state == BlockState::Complete {
            self.update_needed(&stored);
        }
        let counts = self.counts_at(slot);
        let state = self.cluster.node(index).admin;
        if self.can_do_without(&stored, state, source) {
            return;
        }
        watch.insufficient.get_or_insert_default().push(slot);
        watch.progress.under_replicated += 1;
        if stored.state != BlockState::Complete || source.is_open(stored.file) {
            watch.progress.in_open_files += 1;
            watch.open_files.insert(stored.file);
        }
        if counts.live == 0 && counts.out_of_service() > 0 {
            watch.progress.out_of_service_only += 1;
        }
    }

    /// Whether a block does not need the node that leaves: enough live replicas elsewhere, or as many as are asked of
    /// new files, or, for the last block of an open file, as many as a writer needs.
    fn can_do_without(&self, stored: &StoredBlock, state: AdminState, source: &dyn BlockSource) -> bool {
        let counts = self.counts(stored.block.id);
        let expected = self.expected_live(stored, &counts);
        if counts.live >= expected && self.is_well_spread(stored.block.id, usize::from(stored.replication)) {
            return true;
        }
        let enough = match state {
            _ if stored.state != BlockState::Complete && source.is_open(stored.file) => self.settings.min_replication,
            AdminState::EnteringMaintenance => self.settings.maintenance_min_replication,
            _ => self.settings.default_replication,
        };
        counts.live >= usize::from(enough)
    }
}

fn is_maintenance(state: AdminState) -> bool {
    matches!(state, AdminState::EnteringMaintenance | AdminState::InMaintenance)
}
