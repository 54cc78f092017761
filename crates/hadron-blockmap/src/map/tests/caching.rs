//! What is cached where: scans, reports, orders.

use super::*;
use crate::command::DatanodeCommand;

/// Bytes of the blocks that [`Fixture::complete_block`] makes.
const LEN: u64 = 100;

impl Fixture {
    /// A heartbeat of a node with this much cache.
    fn cache_beat(&mut self, node: u8, capacity: u64, used: u64) -> Vec<DatanodeCommand> {
        let beat = Heartbeat {
            cache_capacity: capacity,
            cache_used: used,
            ..Self::heartbeat(node)
        };
        self.beat_with(&beat).commands
    }

    /// A scan in which directives want `wanted` (block, replication).
    fn scan(&mut self, wanted: &[(i64, u16)]) {
        self.map.begin_cache_scan(&self.files);
        for &(id, replication) in wanted {
            self.map.want_cached(BlockId(id), replication);
        }
        let seed = &mut self.seed;
        while self
            .map
            .cache_slice(&self.files, 1, self.now, &mut || next_random(seed))
        {}
        self.map.end_cache_scan();
    }

    fn cache_report(&mut self, node: u8, ids: &[i64]) {
        assert!(self.map.cache_report(&uuid(node), ids.iter().copied().map(BlockId)));
    }

    /// Orders to cache and to uncache that the nodes get now, by node.
    fn orders(&mut self, nodes: std::ops::RangeInclusive<u8>) -> Vec<(u8, Vec<i64>, Vec<i64>)> {
        let ids = |blocks: &[BlockId]| blocks.iter().map(|id| id.0).collect::<Vec<_>>();
        let mut orders = Vec::new();
        for node in nodes {
            let (mut cache, mut uncache) = (Vec::new(), Vec::new());
            for command in self.cache_beat(node, 10 * LEN, 0) {
                match command {
                    DatanodeCommand::Cache(blocks) => cache.extend(ids(&blocks)),
                    DatanodeCommand::Uncache(blocks) => uncache.extend(ids(&blocks)),
                    _ => {}
                }
            }
            if !cache.is_empty() || !uncache.is_empty() {
                orders.push((node, cache, uncache));
            }
        }
        orders
    }

    fn flags(&mut self, id: i64) -> Vec<(u8, bool)> {
        let located = self.map.locate(BlockId(id), None, self.now, &mut || 0);
        let flags = self.map.cached_flags(BlockId(id), &located.replicas);
        let flags = flags.unwrap_or_else(|| vec![false; located.replicas.len()]);
        let number = |uuid: &DatanodeUuid| uuid.as_str()[3..].parse().expect("dn-N");
        let mut flags: Vec<(u8, bool)> = located
            .replicas
            .iter()
            .map(|replica| number(&replica.node.id.uuid))
            .zip(flags)
            .collect();
        flags.sort_unstable();
        flags
    }
}

/// Nodes 1..=3 with room for ten blocks each, and block 1 on all of them.
fn three() -> Fixture {
    let mut fixture = Fixture::with_nodes(3);
    for node in 1..=3 {
        fixture.cache_beat(node, 10 * LEN, 0);
    }
    fixture.complete_block(1, 3, &[1, 2, 3]);
    fixture
}

fn nodes(orders: &[(u8, Vec<i64>, Vec<i64>)]) -> Vec<u8> {
    orders.iter().map(|order| order.0).collect()
}

#[test]
fn as_many_nodes_cache_a_block_as_are_asked_for() {
    let mut fixture = three();
    fixture.scan(&[(1, 1), (1, 2)]);
    let orders = fixture.orders(1..=3);
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert!(
        orders
            .iter()
            .all(|(_, cache, uncache)| cache == &[1] && uncache.is_empty())
    );
    // Orders are repeated after the retry interval only, or after the next scan.
    assert_eq!(fixture.orders(1..=3), []);
    fixture.now = fixture.now.plus(30_000);
    assert_eq!(fixture.orders(1..=3), orders);
    fixture.scan(&[(1, 2)]);
    assert_eq!(fixture.orders(1..=3), orders);
    for node in nodes(&orders) {
        fixture.cache_report(node, &[1]);
    }
    fixture.scan(&[(1, 2)]);
    assert_eq!(fixture.orders(1..=3), []);
    let flags = fixture.flags(1);
    let cached: Vec<u8> = flags
        .iter()
        .filter(|(_, cached)| *cached)
        .map(|(node, _)| *node)
        .collect();
    assert_eq!(cached, nodes(&orders));
    assert_eq!(flags.len(), 3);
}

#[test]
fn what_is_not_wanted_any_more_is_uncached() {
    let mut fixture = three();
    fixture.scan(&[(1, 3)]);
    for node in 1..=3 {
        fixture.cache_report(node, &[1]);
    }
    fixture.scan(&[(1, 1)]);
    let orders = fixture.orders(1..=3);
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert!(
        orders
            .iter()
            .all(|(_, cache, uncache)| cache.is_empty() && uncache == &[1])
    );
    // Wanted again before they were gone.
    fixture.scan(&[(1, 3)]);
    assert_eq!(fixture.orders(1..=3), []);
    fixture.scan(&[]);
    assert_eq!(nodes(&fixture.orders(1..=3)), [1, 2, 3]);
    for node in 1..=3 {
        fixture.cache_report(node, &[]);
    }
    // The mark of a scan does not come back with a later one.
    fixture.scan(&[]);
    fixture.scan(&[]);
    assert_eq!(fixture.orders(1..=3), []);
    assert!(fixture.map.caching.is_empty());
}

#[test]
fn only_nodes_with_a_good_replica_and_room_are_asked() {
    let mut fixture = Fixture::with_nodes(4);
    fixture.complete_block(1, 3, &[1, 2, 3]);
    fixture.complete_block(2, 3, &[1, 2, 3]);
    // 1 has no cache, 2 room for one block, 3 is leaving, 4 has no replica.
    fixture.cache_beat(2, 2 * LEN, LEN);
    fixture.cache_beat(3, 10 * LEN, 0);
    fixture.cache_beat(4, 10 * LEN, 0);
    fixture
        .map
        .set_admin_state(&uuid(3), crate::AdminState::DecommissionInProgress);
    fixture.scan(&[(1, 3), (2, 3)]);
    let orders: Vec<_> = fixture.cache_beat(2, 2 * LEN, LEN);
    assert_eq!(orders, [DatanodeCommand::Cache(vec![BlockId(1)])]);
    assert_eq!(fixture.orders(3..=4), []);
    // Its cache filled up with something else: what it was to cache it cannot.
    fixture.cache_beat(2, 2 * LEN, 2 * LEN);
    fixture.scan(&[(1, 3), (2, 3)]);
    assert_eq!(fixture.cache_beat(2, 2 * LEN, 2 * LEN), []);
}

#[test]
fn blocks_that_changed_or_went_are_uncached() {
    let mut fixture = three();
    fixture.scan(&[(1, 3)]);
    fixture.cache_report(1, &[1, 77]);
    fixture.store(1, BlockState::UnderConstruction, 3);
    fixture.scan(&[]);
    let orders = fixture.orders(1..=3);
    assert_eq!(orders, [(1, vec![], vec![1, 77])]);
}

#[test]
fn a_node_that_dies_or_starts_again_has_nothing_cached() {
    let mut fixture = three();
    fixture.scan(&[(1, 3)]);
    for node in 1..=3 {
        fixture.cache_report(node, &[1]);
    }
    fixture.register(2, "/default-rack");
    assert_eq!(fixture.flags(1), [(1, true), (2, false), (3, true)]);
    fixture.kill(1, &[2, 3]);
    assert!(!fixture.map.cache_report(&uuid(1), [BlockId(1)].into_iter()));
    assert_eq!(fixture.flags(1), [(2, false), (3, true)]);
    fixture.scan(&[(1, 2)]);
    assert_eq!(nodes(&fixture.orders(2..=3)), []);
    fixture.cache_beat(2, 10 * LEN, 0);
    fixture.scan(&[(1, 2)]);
    assert_eq!(nodes(&fixture.orders(2..=3)), [2]);
}

#[test]
fn nothing_is_ordered_in_safe_mode() {
    let mut fixture = three();
    fixture.map.enter_safe_mode(crate::SafeModeReason::Manual);
    fixture.scan(&[(1, 3)]);
    assert_eq!(fixture.orders(1..=3), []);
    fixture.map.leave_safe_mode();
    assert_eq!(nodes(&fixture.orders(1..=3)), [1, 2, 3]);
}
