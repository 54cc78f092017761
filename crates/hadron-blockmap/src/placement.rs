//! Where replicas go: the default, rack-aware policy (Hadoop's `BlockPlacementPolicyDefault`).
//!
//! First on the writer's node, second on another rack, third on that same rack, the rest anywhere, with a limit per
//! rack, each on a medium the storage policy asks for. A node refused once is not tried again within one attempt. If
//! an attempt finds too few, the next takes stale nodes too, the next the policy's fallbacks; the wish of not writing
//! locally goes first of all. What an attempt has chosen stays chosen.

use crate::cluster::Cluster;
use crate::node::{AdminState, DatanodeInfo, NodeIndex, StorageIndex, StorageState};
use crate::settings::Settings;
use crate::topology;
use core::net::IpAddr;
use hadron_types::{DatanodeUuid, HadoopError, StorageId, StoragePolicy, StorageType, TimeMs};
use hashbrown::HashSet;
use std::sync::Arc;

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct PlacementRequest {
    /// Address of the writer; a DataNode with the same address gets the first replica.
    pub writer: Option<IpAddr>,
    /// The DataNode that copies an old block (re-replication); else `writer` decides.
    pub writer_node: Option<DatanodeUuid>,
    /// The rack of a writer that is no DataNode.
    pub writer_rack: Option<Arc<str>>,
    /// How many new targets, at least 1.
    pub count: usize,
    /// Bytes one replica may grow to: the file's block size.
    pub block_size: u64,
    /// Nodes that must not be chosen.
    pub excluded: Vec<DatanodeUuid>,
    /// Nodes that hold the block already and will go on doing so (re-replication, pipeline repair); not chosen, but
    /// they shape the racks.
    pub existing: Vec<DatanodeUuid>,
    /// The media of the replicas there are, for the storage policy; a missing one counts as none.
    pub existing_kinds: Vec<StorageType>,
    /// Number of the storage policy in force; 0 is the default one.
    pub policy: u8,
    /// `host:port` or `ip:port` of nodes to try first.
    pub favored: Vec<String>,
    /// `AddBlockFlag.NO_LOCAL_WRITE`: not on the writer's own node, if others do.
    pub no_local_write: bool,
    /// `AddBlockFlag.IGNORE_CLIENT_LOCALITY`: treat the writer as remote.
    pub ignore_client_locality: bool,
}

/// A chosen place for one replica.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// The node.
    pub node: DatanodeInfo,
    /// The storage on it.
    pub storage: StorageId,
    /// Its medium.
    pub kind: StorageType,
}

/// Fewer than the minimum could be placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("placed {found} of {minimum} replicas on {running} datanodes, {excluded} excluded")]
pub struct PlacementError {
    /// Targets found.
    pub found: usize,
    /// Minimum wanted.
    pub minimum: u16,
    /// Live DataNodes.
    pub running: usize,
    /// Nodes the caller excluded or that were tried and refused; 0 when the caller excluded none.
    pub excluded: usize,
}

impl PlacementError {
    /// The exception for `addBlock` of the file at `path`, in Hadoop 3.3's words.
    pub fn to_hadoop(&self, path: &str) -> HadoopError {
        let excluded = match self.excluded {
            0 => "no".to_owned(),
            count => count.to_string(),
        };
        HadoopError::io(format!(
            "File {path} could only be written to {} of the {} minReplication nodes. There are {} datanode(s) running \
             and {excluded} node(s) are excluded in this operation.",
            self.found, self.minimum, self.running
        ))
    }
}

/// Clusters (or racks) up to this size are shuffled whole; in larger ones nodes are probed at random first.
const SHUFFLE_WHOLE: usize = 64;
/// Random probes before a scan.
const PROBES: usize = 64;
/// Replicas a storage must have room for (Hadoop's `MIN_BLOCKS_FOR_WRITE`).
const MIN_BLOCKS_FOR_WRITE: u64 = 1;

/// What placement reads of its surroundings.
pub(crate) struct Surroundings<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) settings: &'a Settings,
    pub(crate) now: TimeMs,
}

/// What came out, good or bad.
pub(crate) struct Chosen {
    pub(crate) targets: Vec<(NodeIndex, StorageIndex)>,
    /// Nodes that were excluded or refused, if the caller excluded any.
    pub(crate) excluded: usize,
}

/// Chooses up to `request.count` targets.
pub(crate) fn choose(request: &PlacementRequest, around: &Surroundings<'_>, rng: &mut dyn FnMut() -> u64) -> Chosen {
    if request.no_local_write {
        let chosen = Chooser::new(request, around, true, rng).run();
        if chosen.targets.len() >= request.count {
            return chosen;
        }
    }
    Chooser::new(request, around, false, rng).run()
}

impl Surroundings<'_> {
    /// Stale nodes are avoided if asked for, unless too many were stale when they were last counted.
    fn avoids_stale(&self) -> bool {
        let live = self.cluster.live_count() as f64;
        self.settings.avoid_write_stale && self.cluster.stale_count() as f64 <= self.settings.write_stale_ratio * live
    }
    fn is_stale(&self, index: NodeIndex) -> bool {
        let node = self.cluster.node(index);
        self.cluster.is_stale(node, self.now, self.settings.stale_after_ms())
    }
}

/// Which racks to choose from.
#[derive(Clone, Copy)]
enum Scope<'a> {
    Anywhere,
    On(&'a str),
    NotOn(&'a str),
}

struct Chooser<'a> {
    request: &'a PlacementRequest,
    cluster: &'a Cluster,
    around: &'a Surroundings<'a>,
    rng: &'a mut dyn FnMut() -> u64,
    writer: Option<NodeIndex>,
    avoid_stale: bool,
    max_load: f64,
    max_per_rack: usize,
    wanted: usize,
    refused: HashSet<NodeIndex>,
    /// Media still to be used, in Hadoop's order.
    kinds: Vec<StorageType>,
    /// Holders there are, then those chosen.
    holders: Vec<NodeIndex>,
    targets: Vec<(NodeIndex, StorageIndex)>,
}

impl<'a> Chooser<'a> {
    fn new(
        request: &'a PlacementRequest,
        around: &'a Surroundings<'a>,
        avoid_local: bool,
        rng: &'a mut dyn FnMut() -> u64,
    ) -> Self {
        let cluster = around.cluster;
        let holders: Vec<NodeIndex> = request.existing.iter().filter_map(|uuid| cluster.find(uuid)).collect();
        let mut refused: HashSet<NodeIndex> = request.excluded.iter().filter_map(|uuid| cluster.find(uuid)).collect();
        refused.extend(&holders);
        let known = request.writer_node.as_ref().and_then(|uuid| cluster.find_alive(uuid));
        let writer = match request.ignore_client_locality {
            true => None,
            false => known.or_else(|| pick_live(cluster, request.writer, rng)),
        };
        if avoid_local {
            refused.extend(writer);
        }
        let (wanted, max_per_rack) =
            rack_limit(holders.len(), request.count, cluster.live_count(), cluster.rack_count());
        Self {
            request,
            cluster,
            around,
            rng,
            writer,
            avoid_stale: around.avoids_stale(),
            max_load: around.settings.consider_load_factor * cluster.average_load(),
            max_per_rack,
            wanted,
            refused,
            kinds: Vec::new(),
            holders,
            targets: Vec::new(),
        }
    }

    fn run(mut self) -> Chosen {
        let policy = StoragePolicy::in_effect(self.request.policy);
        let (mut unavailable, untouched) = (Kinds::default(), self.refused.clone());
        let mut excluded = None;
        self.set_kinds(policy, unavailable);
        self.take_favored();
        while self.targets.len() < self.wanted {
            self.set_kinds(policy, unavailable);
            while self.targets.len() < self.wanted && !self.kinds.is_empty() && self.take_next() {}
            excluded.get_or_insert_with(|| self.count_excluded());
            if self.targets.len() == self.wanted {
                break;
            }
            // With no medium left to ask for, a round without the wish to avoid stale nodes can find none either.
            let relaxed = std::mem::take(&mut self.avoid_stale) && !self.kinds.is_empty();
            let mut fall_back = false;
            if !relaxed {
                for &kind in &self.kinds {
                    fall_back |= unavailable.insert(kind);
                }
            }
            if !relaxed && !fall_back {
                break;
            }
            self.refused.clone_from(&untouched);
            self.refused.extend(self.targets.iter().map(|&(node, _)| node));
        }
        self.order_as_pipeline();
        Chosen {
            targets: self.targets,
            excluded: excluded.unwrap_or(0),
        }
    }

    /// Works out the media still to be used, given those chosen so far.
    fn set_kinds(&mut self, policy: &StoragePolicy, unavailable: Kinds) {
        let chosen = self.targets.iter().map(|&(_, storage)| self.kind(storage));
        let mut held = self.request.existing_kinds.clone();
        held.extend(chosen);
        let total = u16::try_from(self.request.existing.len() + self.wanted).unwrap_or(u16::MAX);
        let is_new = self.request.existing.is_empty() && self.request.writer_node.is_none();
        self.kinds = policy.choose_more(total, &held, |kind| unavailable.contains(kind), is_new);
        self.kinds.sort_by_key(|kind| rank(*kind));
    }

    fn kind(&self, storage: StorageIndex) -> StorageType {
        self.cluster.storage(storage).report.storage.kind
    }

    /// Nodes excluded or refused so far, if the caller excluded any.
    fn count_excluded(&self) -> usize {
        if self.request.excluded.is_empty() {
            return 0;
        }
        let unknown = self
            .request
            .excluded
            .iter()
            .filter(|id| self.cluster.find(id).is_none());
        self.refused.len() + unknown.count()
    }

    fn take_favored(&mut self) {
        for name in &self.request.favored {
            if self.targets.len() < self.wanted
                && let Some(node) = find_favored(self.cluster, name)
            {
                self.try_take(node);
            }
        }
    }

    /// The rule for the next replica: writer's node, a remote rack, the same remote rack, anywhere.
    fn take_next(&mut self) -> bool {
        let rack = |index: NodeIndex| &*self.cluster.node(index).rack;
        match self.holders[..] {
            [] => self.take_local(),
            [first] => self.take_remote(rack(first)),
            [first, second] if rack(first) == rack(second) => self.take_remote(rack(first)),
            [_, second] if self.request.existing.is_empty() => self.take_near(rack(second)),
            [_, second] => {
                let near = self.writer.unwrap_or(second);
                self.take_near(rack(near))
            }
            _ => self.take_random(Scope::Anywhere),
        }
    }

    fn take_local(&mut self) -> bool {
        match (self.writer, &self.request.writer_rack) {
            (Some(writer), _) => {
                let local = self.around.settings.prefer_local_node && self.try_take(writer);
                local || self.take_near(&self.cluster.node(writer).rack)
            }
            (None, Some(rack)) if !self.request.ignore_client_locality => self.take_near(rack),
            _ => self.take_random(Scope::Anywhere),
        }
    }
    fn take_near(&mut self, rack: &str) -> bool {
        self.take_random(Scope::On(rack)) || self.take_random(Scope::Anywhere)
    }
    fn take_remote(&mut self, rack: &str) -> bool {
        self.take_random(Scope::NotOn(rack)) || self.take_random(Scope::On(rack))
    }

    fn take_random(&mut self, scope: Scope<'_>) -> bool {
        let nodes = match scope {
            Scope::On(rack) => self.cluster.on_rack(rack),
            Scope::Anywhere | Scope::NotOn(_) => self.cluster.live(),
        };
        if nodes.len() <= SHUFFLE_WHOLE {
            let mut order = nodes.to_vec();
            for left in (1..=order.len()).rev() {
                let picked = ((self.rng)() % left as u64) as usize;
                let candidate = order.swap_remove(picked);
                if self.take_in_scope(candidate, scope) {
                    return true;
                }
            }
            return false;
        }
        let count = nodes.len() as u64;
        for _ in 0..PROBES {
            let picked = ((self.rng)() % count) as usize;
            if self.take_in_scope(nodes[picked], scope) {
                return true;
            }
        }
        let start = ((self.rng)() % count) as usize;
        let (behind, ahead) = nodes.split_at(start);
        ahead.iter().chain(behind).any(|&node| self.take_in_scope(node, scope))
    }

    fn take_in_scope(&mut self, node: NodeIndex, scope: Scope<'_>) -> bool {
        match scope {
            Scope::NotOn(rack) if *self.cluster.node(node).rack == *rack => false,
            _ => self.try_take(node),
        }
    }

    /// Takes `node` if it is good. Either way it is not looked at again.
    fn try_take(&mut self, node: NodeIndex) -> bool {
        if !self.refused.insert(node) || !self.is_good(node) {
            return false;
        }
        let Some(storage) = self.choose_storage(node) else {
            return false;
        };
        self.holders.push(node);
        self.targets.push((node, storage));
        true
    }

    fn is_good(&self, index: NodeIndex) -> bool {
        let node = self.cluster.node(index);
        let too_busy =
            self.around.settings.consider_load && self.max_load > 0.0 && f64::from(node.stats.xceivers) > self.max_load;
        let on_rack = self
            .holders
            .iter()
            .filter(|&&other| self.cluster.node(other).rack == node.rack)
            .count();
        node.alive
            && node.admin == AdminState::Normal
            && !(self.avoid_stale && self.around.is_stale(index))
            && !too_busy
            && on_rack < self.max_per_rack
    }

    /// A storage of a wanted medium with room for the block, on a node whose storages of that medium have room for it
    /// and all blocks promised before. The medium is then no longer wanted.
    fn choose_storage(&mut self, index: NodeIndex) -> Option<StorageIndex> {
        let node = self.cluster.node(index);
        let required = self.request.block_size.saturating_mul(MIN_BLOCKS_FOR_WRITE);
        let remaining = |storage: StorageIndex| self.cluster.storage(storage).report.remaining;
        let mut tried = Kinds::default();
        for position in 0..self.kinds.len() {
            let kind = self.kinds[position];
            if !tried.insert(kind) {
                continue;
            }
            let suits = |&storage: &StorageIndex| {
                let known = self.cluster.storage(storage);
                let is_whole = known.report.storage.state == StorageState::Normal && !known.draining;
                is_whole && known.report.storage.kind == kind && remaining(storage) >= required
            };
            let roomy: Vec<StorageIndex> = node.storages.iter().copied().filter(suits).collect();
            let room = roomy
                .iter()
                .fold(0u64, |sum, &storage| sum.saturating_add(remaining(storage)));
            let promised = self.request.block_size.saturating_mul(node.scheduled.count(kind));
            if roomy.is_empty() || required > room.saturating_sub(promised) {
                continue;
            }
            self.kinds.remove(position);
            let picked = (self.rng)() % roomy.len() as u64;
            return roomy.get(picked as usize).copied();
        }
        None
    }

    /// Each next node is the nearest to the one before, beginning at the writer.
    fn order_as_pipeline(&mut self) {
        let Some(mut from) = self.writer.or(self.targets.first().map(|&(node, _)| node)) else {
            return;
        };
        for position in 0..self.targets.len() {
            let rest = &self.targets[position..];
            let nearest = (0..rest.len())
                .min_by_key(|&n| self.distance(from, rest[n].0))
                .unwrap_or(0);
            self.targets[position..].swap(0, nearest);
            from = self.targets[position].0;
        }
    }

    fn distance(&self, a: NodeIndex, b: NodeIndex) -> u32 {
        match a == b {
            true => 0,
            false => topology::distance(&self.cluster.node(a).rack, &self.cluster.node(b).rack),
        }
    }
}

/// A set of media.
#[derive(Clone, Copy, Default)]
struct Kinds(u8);

impl Kinds {
    fn contains(self, kind: StorageType) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
    /// Returns whether it was new.
    fn insert(&mut self, kind: StorageType) -> bool {
        let before = self.0;
        self.0 |= 1 << kind as u8;
        self.0 != before
    }
}

/// The order in which Hadoop tries media (`StorageType`'s own).
fn rank(kind: StorageType) -> u8 {
    match kind {
        StorageType::RamDisk => 0,
        StorageType::Ssd => 1,
        StorageType::Disk => 2,
        StorageType::Archive => 3,
        StorageType::Provided => 4,
        StorageType::Nvdimm => 5,
    }
}

/// How many targets can be found at all, and how many replicas a rack may hold (Hadoop's `getMaxNodesPerRack`).
fn rack_limit(existing: usize, count: usize, nodes: usize, racks: usize) -> (usize, usize) {
    let total = (existing + count).min(nodes.max(existing));
    let wanted = total - existing;
    if racks <= 1 || total <= 1 {
        return (wanted, total);
    }
    let limit = (total - 1) / racks + 2;
    (wanted, if limit == total { limit - 1 } else { limit })
}

/// One of the live nodes on a host.
fn pick_live(cluster: &Cluster, host: Option<IpAddr>, rng: &mut dyn FnMut() -> u64) -> Option<NodeIndex> {
    let nodes = cluster.on_host(host?).iter().copied();
    let live: Vec<NodeIndex> = nodes.filter(|&index| cluster.node(index).alive).collect();
    let picked = rng() % (live.len() as u64).max(1);
    live.get(picked as usize).copied()
}

/// The live node called `host:port` or `ip:port`; without a port, any node of that host.
fn find_favored(cluster: &Cluster, name: &str) -> Option<NodeIndex> {
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok()),
        None => (name, None),
    };
    let is_meant = |index: &NodeIndex| {
        let id = &cluster.node(*index).id;
        let same_host = *id.host_name == *host || id.ip.to_string() == host;
        same_host && port.is_none_or(|port| port == id.xfer_port)
    };
    cluster.live().iter().copied().find(is_meant)
}
