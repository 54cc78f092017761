//! The slabs of nodes and storages, and the indexes over them: by uuid, by address, by rack.
//!
//! Invariants: `live` and `racks` hold exactly the nodes that are alive; every storage's node lists it; a freed slot
//! is named by no replica, so it can be used again.

use crate::node::{
    AdminState, Datanode, DatanodeInfo, NodeIndex, Storage, StorageDescription, StorageIndex, StorageReport,
    StorageState,
};
use crate::paged::PagedList;
use crate::replicas::MAX_STORAGES;
use crate::topology;
use core::net::IpAddr;
use hadron_types::{DatanodeUuid, TimeMs};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most DataNodes known at a time.
pub(crate) const MAX_DATANODES: usize = 1 << 16;
/// Most storages of one DataNode; further ones are not taken notice of.
pub(crate) const MAX_STORAGES_PER_NODE: usize = 256;

/// All DataNodes and storages.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    nodes: Vec<Option<Datanode>>,
    free_nodes: Vec<NodeIndex>,
    storages: Vec<Option<Storage>>,
    free_storages: Vec<StorageIndex>,
    by_uuid: HashMap<DatanodeUuid, NodeIndex>,
    by_ip: HashMap<IpAddr, Vec<NodeIndex>>,
    live: Vec<NodeIndex>,
    racks: BTreeMap<Arc<str>, Vec<NodeIndex>>,
    ever_multi_rack: bool,
    /// Stale nodes at the last count.
    stale: usize,
    /// Transfer threads of live nodes in service, and how many such nodes there are.
    load: Load,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    xceivers: u64,
    nodes: u64,
}

impl Load {
    fn of(node: &Datanode) -> Self {
        match node.alive && node.admin == AdminState::Normal {
            true => Self {
                xceivers: u64::from(node.stats.xceivers),
                nodes: 1,
            },
            false => Self::default(),
        }
    }
}

impl Cluster {
    /// Panics when the slot is free: indexes never outlive what they name.
    pub(crate) fn node(&self, index: NodeIndex) -> &Datanode {
        match &self.nodes[index.0 as usize] {
            Some(node) => node,
            None => panic!("datanode slot {} is free", index.0),
        }
    }
    /// As [`Cluster::node`].
    pub(crate) fn node_mut(&mut self, index: NodeIndex) -> &mut Datanode {
        match &mut self.nodes[index.0 as usize] {
            Some(node) => node,
            None => panic!("datanode slot {} is free", index.0),
        }
    }
    /// Panics when the slot is free.
    pub(crate) fn storage(&self, index: StorageIndex) -> &Storage {
        match &self.storages[index.0 as usize] {
            Some(storage) => storage,
            None => panic!("storage slot {} is free", index.0),
        }
    }
    /// As [`Cluster::storage`].
    pub(crate) fn storage_mut(&mut self, index: StorageIndex) -> &mut Storage {
        match &mut self.storages[index.0 as usize] {
            Some(storage) => storage,
            None => panic!("storage slot {} is free", index.0),
        }
    }
    /// A storage whose slot may be free by now.
    pub(crate) fn get_storage(&self, index: StorageIndex) -> Option<&Storage> {
        self.storages.get(index.0 as usize)?.as_ref()
    }

    pub(crate) fn find(&self, uuid: &DatanodeUuid) -> Option<NodeIndex> {
        self.by_uuid.get(uuid).copied()
    }
    /// The node with this uuid if it is alive.
    pub(crate) fn find_alive(&self, uuid: &DatanodeUuid) -> Option<NodeIndex> {
        self.find(uuid).filter(|&index| self.node(index).alive)
    }
    pub(crate) fn find_by_address(&self, ip: IpAddr, xfer_port: u16) -> Option<NodeIndex> {
        self.on_host(ip)
            .iter()
            .copied()
            .find(|&index| self.node(index).id.xfer_port == xfer_port)
    }
    /// All known nodes at `ip`, dead ones included.
    pub(crate) fn on_host(&self, ip: IpAddr) -> &[NodeIndex] {
        self.by_ip.get(&ip).map_or(&[], Vec::as_slice)
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeIndex, &Datanode)> {
        let numbered = self.nodes.iter().enumerate();
        numbered.filter_map(|(index, node)| Some((NodeIndex(index as u32), node.as_ref()?)))
    }
    pub(crate) fn len(&self) -> usize {
        self.by_uuid.len()
    }
    pub(crate) fn live(&self) -> &[NodeIndex] {
        &self.live
    }
    pub(crate) fn live_count(&self) -> usize {
        self.live.len()
    }
    pub(crate) fn rack_count(&self) -> usize {
        self.racks.len()
    }
    /// Levels of the racks there are; `None` while there is none.
    pub(crate) fn rack_depth(&self) -> Option<usize> {
        self.racks.keys().next().map(|rack| topology::depth(rack))
    }
    pub(crate) fn on_rack(&self, rack: &str) -> &[NodeIndex] {
        self.racks.get(rack).map_or(&[], Vec::as_slice)
    }
    /// Whether there ever were two racks; before, one rack is as good as it gets.
    pub(crate) fn ever_multi_rack(&self) -> bool {
        self.ever_multi_rack
    }

    /// Live nodes that were stale when [`Cluster::count_stale`] was last called.
    pub(crate) fn stale_count(&self) -> usize {
        self.stale
    }
    /// Counts the stale nodes, so that placement need not.
    pub(crate) fn count_stale(&mut self, now: TimeMs, stale_after_ms: u64) {
        let live = self.live.iter();
        let stale = live.filter(|&&index| self.is_stale(self.node(index), now, stale_after_ms));
        self.stale = stale.count();
    }

    /// Takes in a new node, dead as yet.
    pub(crate) fn insert(&mut self, node: Datanode) -> NodeIndex {
        let (uuid, ip) = (node.id.uuid.clone(), node.id.ip);
        let index = match self.free_nodes.pop() {
            Some(index) => {
                self.nodes[index.0 as usize] = Some(node);
                index
            }
            None => {
                self.nodes.push(Some(node));
                NodeIndex(self.nodes.len() as u32 - 1)
            }
        };
        self.by_uuid.insert(uuid, index);
        self.by_ip.entry(ip).or_default().push(index);
        index
    }

    /// Replaces identity and rack of a known node.
    pub(crate) fn rename(&mut self, index: NodeIndex, change: impl FnOnce(&mut Datanode)) {
        let was_alive = self.node(index).alive;
        self.set_alive(index, false);
        self.unlist_address(index);
        change(self.node_mut(index));
        let ip = self.node(index).id.ip;
        self.by_ip.entry(ip).or_default().push(index);
        self.set_alive(index, was_alive);
    }

    /// Moves the node in or out of the live set and its rack.
    pub(crate) fn set_alive(&mut self, index: NodeIndex, alive: bool) {
        let node = self.node(index);
        if node.alive == alive {
            return;
        }
        let rack = node.rack.clone();
        self.change(index, |node| node.alive = alive);
        if alive {
            self.live.push(index);
            self.racks.entry(rack).or_default().push(index);
            self.ever_multi_rack |= self.racks.len() > 1;
            return;
        }
        self.live.retain(|&other| other != index);
        if let Some(members) = self.racks.get_mut(&rack) {
            members.retain(|&other| other != index);
            if members.is_empty() {
                self.racks.remove(&rack);
            }
        }
    }

    /// Takes a dead node out of all indexes; its slot is freed with its last storage.
    pub(crate) fn forget(&mut self, index: NodeIndex) {
        self.set_alive(index, false);
        self.unlist_address(index);
        let uuid = self.node(index).id.uuid.clone();
        self.by_uuid.remove(&uuid);
        self.free_if_forgotten(index);
    }

    /// The node's storage of this description, made if new; `None` beyond the limits.
    pub(crate) fn storage_of(&mut self, node: NodeIndex, description: &StorageDescription) -> Option<StorageIndex> {
        if let Some(index) = self.find_storage(node, description) {
            return Some(index);
        }
        if self.node(node).storages.len() >= MAX_STORAGES_PER_NODE {
            return None;
        }
        let storage = Storage {
            node,
            report: StorageReport {
                storage: description.clone(),
                capacity: 0,
                dfs_used: 0,
                remaining: 0,
                block_pool_used: 0,
                non_dfs_used: 0,
            },
            blocks: PagedList::default(),
            seen: 0,
            running_report: None,
            contents_stale: true,
            draining: false,
        };
        let index = match self.free_storages.pop() {
            Some(index) => {
                self.storages[index.0 as usize] = Some(storage);
                index
            }
            None if self.storages.len() >= MAX_STORAGES => return None,
            None => {
                self.storages.push(Some(storage));
                StorageIndex(self.storages.len() as u32 - 1)
            }
        };
        self.node_mut(node).storages.push(index);
        Some(index)
    }

    pub(crate) fn find_storage(&self, node: NodeIndex, description: &StorageDescription) -> Option<StorageIndex> {
        let storages = self.node(node).storages.iter().copied();
        let mut same = storages.filter(|&index| self.storage(index).report.storage.id == description.id);
        same.next()
    }

    /// Frees an empty storage, and its node if that was forgotten and this was its last.
    pub(crate) fn remove_storage(&mut self, index: StorageIndex) {
        assert!(self.storage(index).blocks.len() == 0, "storage still has blocks");
        let node = self.storage(index).node;
        self.node_mut(node).storages.retain(|&other| other != index);
        self.storages[index.0 as usize] = None;
        self.free_storages.push(index);
        self.free_if_forgotten(node);
    }

    /// Whether replicas on it can be counted on: alive node, storage neither failed nor read-only nor being forgotten.
    pub(crate) fn is_usable(&self, index: StorageIndex) -> bool {
        let storage = self.storage(index);
        storage.report.storage.state == StorageState::Normal && !storage.draining && self.node(storage.node).alive
    }

    pub(crate) fn is_stale(&self, node: &Datanode, now: TimeMs, stale_after_ms: u64) -> bool {
        node.alive && now.since(node.stats.last_update) > stale_after_ms
    }

    pub(crate) fn info(&self, index: NodeIndex, now: TimeMs, stale_after_ms: u64) -> DatanodeInfo {
        let node = self.node(index);
        let mut stats = node.stats;
        let lens = node
            .storages
            .iter()
            .map(|&storage| self.storage(storage).blocks.len() as u64);
        stats.blocks = lens.sum();
        DatanodeInfo {
            id: Arc::clone(&node.id),
            rack: Arc::clone(&node.rack),
            stats,
            admin: node.admin,
            upgrade_domain: node.upgrade_domain.clone(),
            alive: node.alive,
            stale: self.is_stale(node, now, stale_after_ms),
        }
    }

    pub(crate) fn storage_list_bytes(&self) -> usize {
        let lists = self.storages.iter().flatten();
        lists.map(|storage| storage.blocks.allocated_bytes()).sum()
    }

    /// Mean transfer threads of live nodes in service.
    pub(crate) fn average_load(&self) -> f64 {
        self.load.xceivers as f64 / self.load.nodes.max(1) as f64
    }

    /// Changes figures or administrative state of a node, keeping the sums over all nodes right.
    pub(crate) fn change(&mut self, index: NodeIndex, change: impl FnOnce(&mut Datanode)) {
        let node = self.node_mut(index);
        let before = Load::of(node);
        change(node);
        let after = Load::of(node);
        self.load.xceivers = self.load.xceivers - before.xceivers + after.xceivers;
        self.load.nodes = self.load.nodes - before.nodes + after.nodes;
    }

    /// Recomputes the sums and indexes over nodes.
    #[cfg(test)]
    pub(crate) fn audit(&self) {
        let (mut xceivers, mut nodes, mut live) = (0, 0, 0);
        for (index, node) in self.iter() {
            let load = Load::of(node);
            xceivers += load.xceivers;
            nodes += load.nodes;
            live += usize::from(node.alive);
            assert_eq!(self.on_rack(&node.rack).contains(&index), node.alive, "{}", node.rack);
            assert_eq!(self.live.contains(&index), node.alive);
        }
        assert_eq!(
            (self.load.xceivers, self.load.nodes, self.live.len()),
            (xceivers, nodes, live)
        );
        assert_eq!(self.racks.values().map(Vec::len).sum::<usize>(), live);
    }

    fn unlist_address(&mut self, index: NodeIndex) {
        let ip = self.node(index).id.ip;
        if let Some(nodes) = self.by_ip.get_mut(&ip) {
            nodes.retain(|&other| other != index);
            if nodes.is_empty() {
                self.by_ip.remove(&ip);
            }
        }
    }

    fn free_if_forgotten(&mut self, index: NodeIndex) {
        let node = self.node(index);
        if node.storages.is_empty() && self.by_uuid.get(&node.id.uuid) != Some(&index) {
            self.nodes[index.0 as usize] = None;
            self.free_nodes.push(index);
        }
    }
}
