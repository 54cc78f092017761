//! A small cluster for tests: nodes by number, blocks by number, a namespace that is a plain map.

mod admin;
mod caching;
mod files;
mod history;
mod nodes;
mod placement;
mod redundancy;
mod reports;

use super::*;
use crate::command::{DatanodeCommand, TransferTask};
use crate::node::{DatanodeId, StorageDescription, StorageReport, StorageState};
use crate::placement::PlacementRequest;
use crate::source::{BlockSource, BlockState, StoredBlock};
use core::net::{IpAddr, Ipv4Addr};
use hadron_types::{DatanodeUuid, GenerationStamp, InodeId, ReplicaState, StorageId, StorageType};
use std::collections::BTreeMap;

pub(super) const GIB: u64 = 1 << 30;

/// The namespace of a test.
#[derive(Default)]
pub(super) struct Files {
    pub(super) blocks: BTreeMap<BlockId, StoredBlock>,
    /// Whether all files count as open.
    pub(super) open: bool,
    /// The storage policy of all files.
    pub(super) policy: u8,
}

impl BlockSource for Files {
    fn stored(&self, id: BlockId) -> Option<StoredBlock> {
        self.blocks.get(&id).copied()
    }
    fn storage_policy(&self, _: InodeId) -> u8 {
        self.policy
    }
    fn is_open(&self, _: InodeId) -> bool {
        self.open
    }
}

pub(super) struct Fixture {
    pub(super) map: BlockMap,
    pub(super) files: Files,
    pub(super) now: TimeMs,
    pub(super) seed: u64,
}

/// A generator good enough for tests (splitmix64).
pub(super) fn next_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

pub(super) fn uuid(node: u8) -> DatanodeUuid {
    DatanodeUuid::from(format!("dn-{node}"))
}
pub(super) fn ip(node: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, node))
}
pub(super) fn storage(node: u8) -> StorageDescription {
    StorageDescription {
        id: StorageId::from(format!("DS-{node}")),
        kind: kind(node),
        state: StorageState::Normal,
    }
}
/// All nodes have disks, but for some with numbers nobody uses by chance.
pub(super) fn kind(node: u8) -> StorageType {
    match node {
        210..=219 => StorageType::Archive,
        220..=229 => StorageType::Ssd,
        _ => StorageType::Disk,
    }
}
pub(super) fn block(id: i64) -> Block {
    Block {
        id: BlockId(id),
        generation_stamp: GenerationStamp(1001),
        len: 100,
    }
}
pub(super) fn finalized(id: i64) -> ReportedReplica {
    ReportedReplica {
        block: block(id),
        state: ReplicaState::Finalized,
    }
}

impl Fixture {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            map: BlockMap::new(settings),
            files: Files::default(),
            now: TimeMs(1_000_000),
            seed: 1,
        }
    }
    /// Nodes 1..=count on one rack, each with an empty reported storage.
    pub(super) fn with_nodes(count: u8) -> Self {
        let mut fixture = Self::new(Settings::default());
        for node in 1..=count {
            fixture.join(node, "/default-rack");
        }
        fixture
    }
    pub(super) fn join(&mut self, node: u8, rack: &str) {
        self.register(node, rack);
        self.beat(node);
        self.full_report(node, &[]);
    }
    pub(super) fn register(&mut self, node: u8, rack: &str) {
        let registration = Registration {
            id: DatanodeId {
                ip: ip(node),
                host_name: format!("host-{node}").into(),
                uuid: uuid(node),
                xfer_port: 9866,
                info_port: 9864,
                info_secure_port: 0,
                ipc_port: 9867,
            },
            software_version: "3.3.6".to_owned(),
            rack: Some(rack.to_owned()),
        };
        self.map.register(registration, &self.files, self.now).expect("room");
    }
    pub(super) fn heartbeat(node: u8) -> Heartbeat {
        Heartbeat {
            node: uuid(node),
            storages: vec![StorageReport {
                storage: storage(node),
                capacity: 1000 * GIB,
                dfs_used: 0,
                remaining: 900 * GIB,
                block_pool_used: 0,
                non_dfs_used: 100 * GIB,
            }],
            xmits: 0,
            xceivers: 1,
            failed_volumes: 0,
            volume_failures: None,
            slow_peers: Vec::new(),
            cache_capacity: 0,
            cache_used: 0,
            wants_report_lease: false,
        }
    }
    pub(super) fn beat(&mut self, node: u8) -> Vec<DatanodeCommand> {
        self.beat_with(&Self::heartbeat(node)).commands
    }
    /// As if the redundancy monitor had given the node its turn to delete.
    pub(super) fn beat_with(&mut self, beat: &Heartbeat) -> HeartbeatReply {
        if let Some(index) = self.map.cluster.find_alive(&beat.node) {
            self.map.cluster.node_mut(index).deletions_allowed = usize::MAX;
        }
        let seed = &mut self.seed;
        self.map
            .heartbeat(beat, &self.files, self.now, &mut || next_random(seed))
    }
    pub(super) fn full_report(&mut self, node: u8, replicas: &[ReportedReplica]) {
        let report = self.map.begin_full_report(&uuid(node), &storage(node)).expect("alive");
        let mut replicas = replicas.iter().copied();
        while self.slice(&report, &mut replicas, 3) == ReportProgress::More {}
    }
    pub(super) fn slice(
        &mut self,
        report: &FullReport,
        replicas: &mut dyn Iterator<Item = ReportedReplica>,
        budget: usize,
    ) -> ReportProgress {
        self.map.report_slice(report, replicas, &self.files, budget, self.now)
    }
    pub(super) fn increment(&mut self, node: u8, kind: IncrementKind, block: Block, hint: Option<u8>) {
        let reports = [StorageIncrements {
            storage: storage(node),
            increments: vec![Increment {
                block,
                kind,
                delete_hint: hint.map(uuid),
            }],
        }];
        self.map
            .incremental_report(&uuid(node), &reports, &self.files, self.now)
            .expect("alive");
    }
    pub(super) fn received(&mut self, node: u8, id: i64) {
        self.increment(node, IncrementKind::Received, block(id), None);
    }
    pub(super) fn deleted(&mut self, node: u8, id: i64) {
        self.increment(node, IncrementKind::Deleted, block(id), None);
    }
    /// Puts a block into the namespace.
    pub(super) fn store(&mut self, id: i64, state: BlockState, replication: u16) -> StoredBlock {
        let stored = StoredBlock {
            block: block(id),
            state,
            replication,
            file: InodeId(16386),
            block_size: 128 << 20,
        };
        self.files.blocks.insert(BlockId(id), stored);
        stored
    }
    /// A complete block with replicas on the given nodes.
    pub(super) fn complete_block(&mut self, id: i64, replication: u16, nodes: &[u8]) {
        self.store(id, BlockState::Complete, replication);
        for &node in nodes {
            self.received(node, id);
        }
    }
    /// Nodes whose replica counts as live.
    pub(super) fn holders(&mut self, id: i64) -> Vec<u8> {
        let seed = &mut self.seed;
        let located = self.map.locate(BlockId(id), None, self.now, &mut || next_random(seed));
        let number = |uuid: &DatanodeUuid| uuid.as_str()[3..].parse().expect("dn-N");
        let mut nodes: Vec<u8> = located
            .replicas
            .iter()
            .map(|replica| number(&replica.node.id.uuid))
            .collect();
        nodes.sort_unstable();
        nodes
    }
    pub(super) fn round(&mut self) -> WorkDone {
        let seed = &mut self.seed;
        self.map
            .redundancy_round(&self.files, self.now, &mut || next_random(seed))
    }
    pub(super) fn drain(&mut self) {
        while self.map.drain_slice(&self.files, 2, self.now) {}
    }
    /// Lets all but the given nodes fall silent until they are dead.
    pub(super) fn kill(&mut self, node: u8, survivors: &[u8]) {
        self.now = self.now.plus(self.map.settings().dead_after_ms());
        for &survivor in survivors {
            self.beat(survivor);
        }
        self.now = self.now.plus(1);
        assert_eq!(self.map.check_nodes(&self.files, self.now), 1, "node {node}");
        self.drain();
    }
    pub(super) fn place(&mut self, request: &PlacementRequest) -> Result<Vec<u8>, crate::PlacementError> {
        let seed = &mut self.seed;
        let targets = self.map.place(request, self.now, &mut || next_random(seed))?;
        let number = |uuid: &DatanodeUuid| uuid.as_str()[3..].parse().expect("dn-N");
        Ok(targets.iter().map(|target| number(&target.node.id.uuid)).collect())
    }
}

/// The blocks of all Invalidate commands.
pub(super) fn invalidated(commands: &[DatanodeCommand]) -> Vec<i64> {
    let blocks = commands.iter().filter_map(|command| match command {
        DatanodeCommand::Invalidate(blocks) => Some(blocks),
        _ => None,
    });
    blocks.flatten().map(|block| block.id.0).collect()
}

/// The tasks of all Transfer commands.
pub(super) fn transfers(commands: &[DatanodeCommand]) -> Vec<TransferTask> {
    let tasks = commands.iter().filter_map(|command| match command {
        DatanodeCommand::Transfer(tasks) => Some(tasks.clone()),
        _ => None,
    });
    tasks.flatten().collect()
}
