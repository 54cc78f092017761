//! Random histories of a small cluster against a plain model, with the invariants after every step: nodes come, die,
//! leave, go into maintenance, change racks and lose volumes; files have policies that want other media.

use super::*;
use crate::AdminWish;
use crate::needed::Level;
use crate::node::AdminState;
use proptest::prelude::*;
use std::collections::BTreeSet;

const NODES: u8 = 5;
const BLOCKS: i64 = 8;

#[derive(Clone, Debug)]
enum Step {
    Join(u8),
    Die(u8),
    Beat(u8),
    Store(i64, u16),
    Delete(i64),
    Arrive(u8, i64),
    Vanish(u8, i64),
    Report(u8),
    Replication(i64, u16),
    Bad(u8, i64),
    Decommission(u8),
    Maintenance(u8, u64),
    Serve(u8),
    Admin,
    Fail(u8),
    Move(u8, u8),
    Policy(u8),
    Round,
    Drain,
}

fn any_step() -> impl Strategy<Value = Step> {
    let (node, id, wanted) = (1..=NODES, 1..=BLOCKS, 1u16..=4);
    prop_oneof![
        2 => node.clone().prop_map(Step::Join),
        1 => node.clone().prop_map(Step::Die),
        6 => node.clone().prop_map(Step::Beat),
        3 => (id.clone(), wanted.clone()).prop_map(|(id, wanted)| Step::Store(id, wanted)),
        1 => id.clone().prop_map(Step::Delete),
        6 => (node.clone(), id.clone()).prop_map(|(node, id)| Step::Arrive(node, id)),
        1 => (node.clone(), id.clone()).prop_map(|(node, id)| Step::Vanish(node, id)),
        2 => node.clone().prop_map(Step::Report),
        2 => (id.clone(), wanted).prop_map(|(id, wanted)| Step::Replication(id, wanted)),
        1 => (node.clone(), id).prop_map(|(node, id)| Step::Bad(node, id)),
        2 => node.clone().prop_map(Step::Decommission),
        2 => (node.clone(), 1_000u64..900_000).prop_map(|(node, ms)| Step::Maintenance(node, ms)),
        2 => node.clone().prop_map(Step::Serve),
        2 => Just(Step::Admin),
        1 => node.clone().prop_map(Step::Fail),
        1 => (node, 0u8..3).prop_map(|(node, rack)| Step::Move(node, rack)),
        1 => prop_oneof![Just(7u8), Just(5u8)].prop_map(Step::Policy),
        3 => Just(Step::Round),
        1 => Just(Step::Drain),
    ]
}

/// DataNodes as they really are: what is on their disks.
#[derive(Default)]
struct Model {
    disks: BTreeMap<u8, BTreeSet<i64>>,
    alive: BTreeSet<u8>,
    /// Blocks that are or were in the namespace.
    stored: BTreeSet<i64>,
    /// What the NameNode should think each live node has.
    told: BTreeMap<u8, BTreeSet<i64>>,
    /// What the operator wishes.
    wishes: BTreeMap<u8, AdminWish>,
    racks: BTreeMap<u8, u8>,
}

struct World {
    f: Fixture,
    model: Model,
    /// Whether some replicas were declared bad: then the last one may go as a bad one.
    has_bad: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            f: Fixture::new(Settings {
                pending_timeout_ms: 20_000,
                ..Settings::default()
            }),
            model: Model::default(),
            has_bad: false,
        };
        for node in 1..=NODES {
            world.apply(&Step::Join(node));
        }
        world
    }

    fn apply(&mut self, step: &Step) {
        self.f.now = self.f.now.plus(1000);
        match *step {
            Step::Join(node) => {
                let rack = *self.model.racks.entry(node).or_insert(node % 2);
                self.f.register(node, &format!("/r{rack}"));
                let wish = self.model.wishes.get(&node).copied().unwrap_or_default();
                self.f.wish(node, wish);
                self.model.alive.insert(node);
                self.beat(node);
                self.report(node);
                self.look_at_all();
            }
            Step::Decommission(node) => self.wish(node, AdminWish::Decommission),
            Step::Maintenance(node, ms) => {
                let until = self.f.now.plus(ms);
                self.wish(node, AdminWish::Maintenance { until });
            }
            Step::Serve(node) => self.wish(node, AdminWish::InService),
            Step::Admin => self.f.admin_round(),
            Step::Fail(node) if self.model.alive.contains(&node) => self.fail(node),
            Step::Move(node, rack) => {
                self.model.racks.insert(node, rack);
                self.f
                    .map
                    .set_rack(&uuid(node), &std::sync::Arc::from(format!("/r{rack}")));
                self.look_at_all();
            }
            Step::Policy(policy) => self.f.files.policy = policy,
            Step::Die(node) => self.die(node),
            Step::Store(id, wanted) => {
                // Block ids are never used twice.
                let is_on_a_disk = self.model.disks.values().any(|disk| disk.contains(&id));
                if !is_on_a_disk && self.model.stored.insert(id) {
                    let stored = self.f.store(id, BlockState::Complete, wanted);
                    self.f.map.block_completed(&stored, &self.f.files, self.f.now);
                }
            }
            Step::Delete(id) => {
                if self.f.files.blocks.remove(&BlockId(id)).is_some() {
                    self.f.map.blocks_removed(&[block(id)]);
                    self.model.told.values_mut().for_each(|told| {
                        told.remove(&id);
                    });
                }
            }
            Step::Replication(id, wanted) => {
                if let Some(stored) = self.f.files.blocks.get_mut(&BlockId(id)) {
                    stored.replication = wanted;
                    let stored = *stored;
                    self.f.map.replication_changed(&stored, &self.f.files, self.f.now);
                }
            }
            Step::Bad(node, id) => {
                self.has_bad = true;
                if self.told(node, id) && self.f.map.counts(BlockId(id)).live > 1 {
                    self.f
                        .map
                        .report_bad_replica(&block(id), &uuid(node), None, &self.f.files, self.f.now);
                }
            }
            Step::Round => {
                self.f.round();
            }
            Step::Drain => self.f.drain(),
            Step::Beat(node) if self.model.alive.contains(&node) => self.beat(node),
            Step::Report(node) if self.model.alive.contains(&node) => self.report(node),
            Step::Arrive(node, id) if self.model.alive.contains(&node) => self.arrive(node, id),
            Step::Vanish(node, id) if self.model.alive.contains(&node) => self.vanish(node, id),
            Step::Beat(_) | Step::Report(_) | Step::Arrive(..) | Step::Vanish(..) | Step::Fail(_) => {}
        }
        self.check(step);
    }

    fn wish(&mut self, node: u8, wish: AdminWish) {
        self.model.wishes.insert(node, wish);
        self.f.wish(node, wish);
        self.f.admin_round();
    }

    /// What the shell does when racks changed.
    fn look_at_all(&mut self) {
        if self.f.map.take_events().contains(&BlockEvent::RacksChanged) {
            for id in 1..=BLOCKS {
                self.f.map.examine(BlockId(id), &self.f.files, self.f.now);
            }
        }
    }

    /// The node's only volume fails; a new one is in its place at once.
    fn fail(&mut self, node: u8) {
        let mut beat = Fixture::heartbeat(node);
        beat.storages[0].storage.state = StorageState::Failed;
        beat.failed_volumes = 1;
        self.f.beat_with(&beat);
        self.model.disks.remove(&node);
        self.model.told.remove(&node);
        self.f.drain();
        self.beat(node);
        self.report(node);
    }

    fn told(&self, node: u8, id: i64) -> bool {
        self.model.alive.contains(&node) && self.model.told.get(&node).is_some_and(|told| told.contains(&id))
    }

    fn die(&mut self, node: u8) {
        if !self.model.alive.remove(&node) {
            return;
        }
        let survivors: Vec<u8> = self.model.alive.iter().copied().collect();
        self.f.now = self.f.now.plus(self.f.map.settings().dead_after_ms());
        for survivor in survivors {
            self.beat(survivor);
        }
        self.f.now = self.f.now.plus(1);
        assert_eq!(self.f.map.check_nodes(&self.f.files, self.f.now), 1);
        self.model.told.remove(&node);
    }

    /// Beats, and obeys at once, telling of it.
    fn beat(&mut self, node: u8) {
        let commands = self.f.beat(node);
        assert!(!commands.contains(&DatanodeCommand::Register));
        for task in transfers(&commands) {
            let id = task.block.id.0;
            let has = self.model.disks.entry(node).or_default().contains(&id);
            for target in task.targets {
                let target = target.node.id.uuid.as_str()[3..].parse().expect("dn-N");
                if has && self.model.alive.contains(&target) {
                    self.arrive(target, id);
                }
            }
        }
        for id in invalidated(&commands) {
            self.vanish(node, id);
            let kept = |other: &u8| {
                // As far as the NameNode can know: one that died in silence still counts.
                let alive = self.f.map.cluster.find_alive(&uuid(*other)).is_some();
                let away = self.f.admin(*other) == AdminState::InMaintenance;
                (alive || away) && self.model.disks.get(other).is_some_and(|disk| disk.contains(&id))
            };
            let lost = self.f.files.blocks.contains_key(&BlockId(id)) && !(1..=NODES).any(|other| kept(&other));
            assert!(
                self.has_bad || !lost,
                "the last replica of {id} was ordered away from {node}"
            );
        }
    }

    fn arrive(&mut self, node: u8, id: i64) {
        self.model.disks.entry(node).or_default().insert(id);
        if self.f.files.blocks.contains_key(&BlockId(id)) {
            self.model.told.entry(node).or_default().insert(id);
        }
        self.f.received(node, id);
    }

    fn vanish(&mut self, node: u8, id: i64) {
        self.model.disks.entry(node).or_default().remove(&id);
        self.model.told.entry(node).or_default().remove(&id);
        self.f.deleted(node, id);
    }

    fn report(&mut self, node: u8) {
        let disk = self.model.disks.entry(node).or_default().clone();
        let known = |id: &i64| self.f.files.blocks.contains_key(&BlockId(*id));
        let told = disk.iter().copied().filter(known).collect();
        self.model.told.insert(node, told);
        let replicas: Vec<ReportedReplica> = disk.into_iter().map(finalized).collect();
        self.f.full_report(node, &replicas);
    }

    fn check(&mut self, step: &Step) {
        for id in 1..=BLOCKS {
            self.check_block(id, step);
        }
        self.f.map.audit();
        let map = &self.f.map;
        let sum: u64 = map
            .datanodes(self.f.now)
            .iter()
            .map(|node| node.info.stats.blocks)
            .sum();
        let counted: usize = map.cluster.iter().flat_map(|(_, node)| &node.storages).count();
        assert!(sum == 0 || counted > 0);
        if self.f.files.blocks.is_empty() {
            assert_eq!(map.block_stats().low_redundancy, 0, "{step:?}");
        }
    }

    fn check_block(&mut self, id: i64, step: &Step) {
        let map = &self.f.map;
        let mut listed: Vec<u8> = map
            .replicas
            .replicas_of(BlockId(id))
            .filter(|replica| map.cluster.is_usable(replica.storage()))
            .map(|replica| {
                map.cluster.node(map.node_of(replica.storage())).id.uuid.as_str()[3..]
                    .parse()
                    .expect("dn-N")
            })
            .collect();
        listed.sort_unstable();
        let on_disk: Vec<u8> = (1..=NODES).filter(|&node| self.told(node, id)).collect();
        let ordered_away = |node: &u8| {
            let index = map.cluster.find(&uuid(*node)).expect("known");
            map.cluster.node(index).invalidate.contains(&block(id))
        };
        let expected: Vec<u8> = on_disk
            .iter()
            .copied()
            .filter(|node| listed.contains(node) || !ordered_away(node))
            .collect();
        assert_eq!(listed, expected, "replicas of {id} after {step:?}");

        let Some(stored) = self.f.files.stored(BlockId(id)) else {
            assert_eq!((map.needed.level(BlockId(id)), listed.len()), (None, 0), "{step:?}");
            return;
        };
        let counts = map.counts(BlockId(id));
        let replication = usize::from(stored.replication);
        let wanted = map.expected_live(&stored, &counts);
        let awaited = map.pending.count(BlockId(id));
        if counts.live + awaited >= wanted && map.is_well_spread(BlockId(id), replication) {
            // A rack that appeared or went is noticed when the queue comes to the block.
            let level = map
                .needed
                .level(BlockId(id))
                .filter(|level| *level != Level::BadlyDistributed);
            assert_eq!(level, None, "{id} after {step:?}: {counts:?}");
        }
        if counts.live + awaited < wanted && !map.draining_has(BlockId(id)) {
            assert!(
                map.needed.level(BlockId(id)).is_some(),
                "{id} after {step:?}: {counts:?}, {awaited} awaited"
            );
        }
        if counts.live > replication {
            assert!(map.postponed.contains(&BlockId(id)), "{id} after {step:?}: {counts:?}");
        }
    }
}

impl BlockMap {
    /// Recomputes every counter and index from the replicas themselves.
    fn audit(&self) {
        self.cluster.audit();
        let (mut excess, mut corrupt) = (0, 0);
        for (_, node) in self.cluster.iter() {
            for &storage in &node.storages {
                let known = self.cluster.storage(storage);
                for position in 0..known.blocks.len() {
                    let id = self.replicas.id(known.blocks.get(position));
                    let replica = self.replicas.on_storage(id, storage).expect("both ways");
                    assert_eq!(replica.position(), position);
                    excess += u64::from(replica.flags().has(crate::replicas::ReplicaFlags::EXCESS));
                    corrupt += usize::from(replica.flags().has(crate::replicas::ReplicaFlags::CORRUPT));
                }
            }
        }
        assert_eq!(self.excess, excess);
        assert_eq!(self.corrupt.values().map(Vec::len).sum::<usize>(), corrupt);
        let levels: usize = [
            Level::Highest,
            Level::VeryLow,
            Level::Low,
            Level::BadlyDistributed,
            Level::Corrupt,
        ]
        .iter()
        .map(|&level| self.needed.level_len(level))
        .sum();
        assert_eq!(self.needed.len(), levels);
    }

    /// Whether a replica of the block waits to be forgotten.
    fn draining_has(&self, id: BlockId) -> bool {
        let mut replicas = self.replicas.replicas_of(id);
        replicas.any(|replica| self.cluster.storage(replica.storage()).draining)
    }
}

/// The order to delete node 5's replica is taken back when it is to be sent, for node 1 has left meanwhile.
#[test]
fn a_spared_replica_counts_again() {
    let mut world = World::new();
    for step in [
        Step::Store(8, 1),
        Step::Arrive(5, 8),
        Step::Arrive(1, 8),
        Step::Maintenance(1, 1000),
        Step::Die(1),
    ] {
        world.apply(&step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_map_agrees_with_the_disks(steps in prop::collection::vec(any_step(), 1..80)) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
        }
    }

    /// After any history, left alone with all nodes up, the cluster heals: every block that is somewhere and not
    /// corrupt has exactly the wanted replicas, as far as there are nodes.
    #[test]
    fn the_cluster_heals(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut world = World::new();
        for step in steps.iter().filter(|step| !matches!(step, Step::Bad(..))) {
            world.apply(step);
        }
        for node in 1..=NODES {
            world.apply(&Step::Serve(node));
            world.apply(&Step::Join(node));
        }
        for _ in 0..40 {
            world.apply(&Step::Drain);
            world.apply(&Step::Admin);
            world.apply(&Step::Round);
            for node in 1..=NODES {
                world.apply(&Step::Beat(node));
            }
        }
        for (&id, stored) in &world.f.files.blocks {
            let counts = world.f.map.counts(id);
            let wanted = usize::from(stored.replication);
            prop_assert!(counts.live == 0 || counts.live == wanted, "{id}: {counts:?} of {wanted}");
            prop_assert_eq!(counts.excess, 0);
        }
        let stats = world.f.map.block_stats();
        prop_assert_eq!((stats.pending_deletion, stats.excess, stats.postponed), (0, 0, 0));
        prop_assert_eq!(stats.low_redundancy, stats.missing);
    }
}
