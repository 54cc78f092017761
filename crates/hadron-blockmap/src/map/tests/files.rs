//! What the namespace tells.

use super::*;
use crate::reader::ReplicaLocation;

fn place_and_open(f: &mut Fixture, id: i64) -> Vec<u8> {
    f.store(id, BlockState::UnderConstruction, 3);
    let request = PlacementRequest {
        count: 3,
        block_size: 128 << 20,
        ..PlacementRequest::default()
    };
    let seed = &mut f.seed;
    let targets = f.map.place(&request, f.now, &mut || next_random(seed)).expect("room");
    f.map.block_opened(BlockId(id), &targets, f.now);
    let number = |uuid: &DatanodeUuid| uuid.as_str()[3..].parse().expect("dn-N");
    targets.iter().map(|target| number(&target.node.id.uuid)).collect()
}

#[test]
fn the_pipeline_is_known_until_the_block_is_complete() {
    let mut f = Fixture::with_nodes(3);
    let nodes = place_and_open(&mut f, 1);
    let expected = |f: &Fixture| f.map.expected(BlockId(1), f.now).len();
    assert_eq!(expected(&f), 3);
    f.map
        .pipeline_changed(&block(1), &[(uuid(nodes[0]), None), (uuid(nodes[1]), None)]);
    assert_eq!(expected(&f), 2);
    f.received(nodes[0], 1);
    let stored = f.store(1, BlockState::Complete, 3);
    f.map.block_completed(&stored, &f.files, f.now);
    assert_eq!(expected(&f), 0);
    let stats = f.map.block_stats();
    assert_eq!(stats.pending_replication, 1, "the second pipeline node is awaited");
    assert_eq!(stats.low_redundancy, 1, "the third was lost");
    f.received(nodes[1], 1);
    assert_eq!(f.map.block_stats().pending_replication, 0);
}

#[test]
fn a_whole_pipeline_leaves_nothing_to_do() {
    let mut f = Fixture::with_nodes(3);
    let nodes = place_and_open(&mut f, 1);
    f.received(nodes[2], 1);
    let stored = f.store(1, BlockState::Complete, 3);
    f.map.block_completed(&stored, &f.files, f.now);
    assert_eq!(f.map.block_stats().low_redundancy, 0);
    f.received(nodes[1], 1);
    f.received(nodes[0], 1);
    assert_eq!(
        f.map.block_stats(),
        crate::BlockStats {
            known: 1,
            ..Default::default()
        }
    );
}

#[test]
fn removed_blocks_are_deleted_everywhere() {
    let mut f = Fixture::with_nodes(3);
    f.complete_block(1, 3, &[1, 2]);
    f.files.blocks.clear();
    f.map.blocks_removed(&[block(1)]);
    assert_eq!(f.map.block_stats().pending_deletion, 2);
    assert_eq!(
        (f.map.memory_usage().blocks, f.map.block_stats().low_redundancy),
        (0, 0)
    );
    assert_eq!(invalidated(&f.beat(1)), [1]);
    f.deleted(1, 1);
    assert_eq!(invalidated(&f.beat(1)), [0i64; 0]);
}

#[test]
fn open_blocks_are_not_copied() {
    let mut f = Fixture::with_nodes(3);
    f.store(1, BlockState::UnderConstruction, 3);
    f.received(1, 1);
    f.store(1, BlockState::Committed, 3);
    f.map.examine(BlockId(1), &f.files, f.now);
    assert_eq!(f.map.block_stats().low_redundancy, 0);
}

#[test]
fn reopened_blocks_have_their_replicas_as_pipeline() {
    let mut f = Fixture::with_nodes(3);
    f.complete_block(1, 3, &[1, 2]);
    let stored = f.store(1, BlockState::UnderConstruction, 3);
    f.map.block_reopened(&stored);
    assert_eq!(f.map.expected(BlockId(1), f.now).len(), 2);
    assert_eq!(f.map.block_stats().low_redundancy, 0);
}

#[test]
fn reopened_blocks_await_no_copy_of_what_they_were() {
    let mut f = Fixture::with_nodes(3);
    let nodes = place_and_open(&mut f, 1);
    f.received(nodes[0], 1);
    let stored = f.store(1, BlockState::Complete, 3);
    f.map.block_completed(&stored, &f.files, f.now);
    assert_eq!(f.map.block_stats().pending_replication, 1);
    f.map.block_reopened(&stored);
    assert_eq!(f.map.block_stats().pending_replication, 0);
}

#[test]
fn nodes_of_a_pipeline_may_die() {
    let mut f = Fixture::with_nodes(3);
    let nodes = place_and_open(&mut f, 1);
    let survivors: Vec<u8> = nodes[1..].to_vec();
    f.increment(nodes[0], IncrementKind::Receiving, block(1), None);
    f.kill(nodes[0], &survivors);
    assert_eq!(f.map.expected(BlockId(1), f.now).len(), 2);
    assert_eq!(f.map.reported(BlockId(1), f.now).len(), 0);
}

/// The block with the stamp that a recovery or an append gives it.
fn restamped(stamp: u64) -> Block {
    Block {
        generation_stamp: GenerationStamp(stamp),
        ..block(1)
    }
}

fn record(f: &mut Fixture, stamp: u64, state: BlockState) -> StoredBlock {
    let mut stored = f.store(1, state, 3);
    stored.block = restamped(stamp);
    f.files.blocks.insert(BlockId(1), stored);
    stored
}

fn named(nodes: &[u8]) -> Vec<(DatanodeUuid, Option<StorageId>)> {
    nodes.iter().map(|&node| (uuid(node), Some(storage(node).id))).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    /// A node says that it has the recovered replica.
    Received(u8),
    /// A node says that it deleted the recovered replica.
    Deleted(u8),
    /// The primary names nodes 1 and 2.
    Reported,
    /// The result is recorded.
    Recorded,
    /// Node 3, whose replica is outdated, has got a copy.
    Copied,
    Reregistered(u8),
}

/// All orders of `words` in which none comes before one it needs.
fn orders(words: &[Word]) -> Vec<Vec<Word>> {
    let needs = |word: Word| match word {
        Word::Deleted(node) => vec![Word::Received(node)],
        Word::Recorded => vec![Word::Reported],
        Word::Copied => vec![Word::Recorded],
        _ => vec![],
    };
    if words.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for &first in words {
        if needs(first).iter().any(|needed| words.contains(needed)) {
            continue;
        }
        let rest: Vec<Word> = words.iter().copied().filter(|&word| word != first).collect();
        all.extend(orders(&rest).into_iter().map(|mut order| {
            order.insert(0, first);
            order
        }));
    }
    all
}

fn recover(order: &[Word]) -> Fixture {
    let mut f = Fixture::with_nodes(3);
    place_and_open(&mut f, 1);
    f.increment(3, IncrementKind::Receiving, block(1), None);
    let recovered = restamped(1009);
    f.store(1, BlockState::UnderRecovery, 3);
    for word in order {
        match *word {
            Word::Received(node) => f.increment(node, IncrementKind::Received, recovered, None),
            Word::Deleted(node) => f.increment(node, IncrementKind::Deleted, recovered, None),
            Word::Copied => f.increment(3, IncrementKind::Received, recovered, None),
            Word::Reported => f.map.recovery_reported(&recovered, &named(&[1, 2])),
            Word::Recorded => {
                let stored = record(&mut f, 1009, BlockState::Complete);
                f.map.block_committed(&stored, &f.files, f.now);
                f.map.block_completed(&stored, &f.files, f.now);
            }
            Word::Reregistered(node) => f.register(node, "/default-rack"),
        }
    }
    f
}

#[test]
fn a_recovery_ends_the_same_whatever_comes_first() {
    use Word::*;
    let words = [Received(1), Received(2), Reported, Recorded, Copied, Reregistered(1)];
    for order in orders(&words) {
        let mut f = recover(&order);
        assert_eq!(f.holders(1), [1, 2, 3], "{order:?}");
        for node in 1..=3 {
            assert_eq!(invalidated(&f.beat(node)), [0i64; 0], "{order:?}");
        }
    }
}

#[test]
fn a_deleted_replica_does_not_come_back_with_the_end_of_a_recovery() {
    use Word::*;
    for order in orders(&[Received(1), Deleted(1), Received(2), Reported, Recorded]) {
        assert_eq!(recover(&order).holders(1), [2], "{order:?}");
    }
}

#[test]
fn a_result_that_was_superseded_counts_for_nothing() {
    let mut f = recover(&[Word::Reported]);
    f.map.recovery_reported(&restamped(1010), &named(&[2, 3]));
    let stored = record(&mut f, 1010, BlockState::Complete);
    f.map.block_completed(&stored, &f.files, f.now);
    assert_eq!(f.holders(1), [2, 3]);

    let mut f = recover(&[Word::Reported]);
    f.increment(3, IncrementKind::Received, restamped(1010), None);
    let stored = record(&mut f, 1010, BlockState::Complete);
    f.map.block_completed(&stored, &f.files, f.now);
    assert_eq!(f.holders(1), [3]);
}

#[test]
fn a_node_that_died_during_a_recovery_has_nothing() {
    let mut f = recover(&[Word::Received(1), Word::Reported]);
    f.kill(1, &[2, 3]);
    let stored = record(&mut f, 1009, BlockState::Complete);
    f.map.block_completed(&stored, &f.files, f.now);
    assert_eq!(f.holders(1), [2]);
}

#[test]
fn what_was_left_out_of_a_recovery_is_deleted_under_its_own_stamp() {
    let mut f = Fixture::with_nodes(3);
    f.complete_block(1, 3, &[1, 2, 3]);
    let stored = f.store(1, BlockState::UnderRecovery, 3);
    f.map.block_reopened(&stored);
    f.map.recovery_reported(&restamped(1009), &named(&[1, 2]));
    let stored = record(&mut f, 1009, BlockState::Complete);
    f.map.block_committed(&stored, &f.files, f.now);
    f.map.block_completed(&stored, &f.files, f.now);
    assert_eq!(f.holders(1), [1, 2]);
    assert_eq!(f.beat(3), [DatanodeCommand::Invalidate(vec![block(1)])]);
}

#[test]
fn what_an_append_left_behind_is_no_location() {
    let mut f = Fixture::with_nodes(3);
    f.complete_block(1, 3, &[1, 2, 3]);
    let stored = f.store(1, BlockState::UnderConstruction, 3);
    f.map.block_reopened(&stored);
    f.increment(1, IncrementKind::Receiving, restamped(1005), None);
    record(&mut f, 1005, BlockState::UnderConstruction);
    f.map.pipeline_changed(&restamped(1005), &named(&[1, 2]));
    assert!(f.map.is_min_replicated(BlockId(1)), "node 1 goes on with it");
    f.increment(1, IncrementKind::Received, restamped(1005), None);
    let stored = record(&mut f, 1005, BlockState::Complete);
    f.map.block_committed(&stored, &f.files, f.now);
    f.map.block_completed(&stored, &f.files, f.now);
    assert_eq!(f.holders(1), [1]);
    assert_eq!(f.map.block_stats().pending_replication, 1, "node 2 is awaited");
    assert_eq!(f.beat(2), []);
    assert_eq!(f.beat(3), [DatanodeCommand::Invalidate(vec![block(1)])]);
    f.increment(2, IncrementKind::Received, restamped(1005), None);
    assert_eq!(f.holders(1), [1, 2]);
}

#[test]
fn a_block_was_held_also_when_all_its_nodes_are_dead() {
    let mut f = Fixture::with_nodes(1);
    assert!(!f.map.was_held(BlockId(1)));
    place_and_open(&mut f, 1);
    f.kill(1, &[]);
    assert_eq!(f.map.expected(BlockId(1), f.now).len(), 0);
    assert!(f.map.was_held(BlockId(1)));
}

fn asked(f: &Fixture, stamp: u64) -> Vec<u8> {
    let found = f.map.recovery_replicas(&restamped(stamp), f.now);
    let node = |replica: &ReplicaLocation| (1..=9).find(|&node| uuid(node) == replica.node.id.uuid);
    found.iter().filter_map(node).collect()
}

#[test]
fn a_recovery_asks_the_pipeline_and_whoever_has_something_as_new() {
    let mut f = Fixture::with_nodes(4);
    f.store(1, BlockState::UnderConstruction, 3);
    record(&mut f, 1005, BlockState::UnderConstruction);
    f.map.pipeline_changed(&restamped(1005), &named(&[2]));
    f.increment(4, IncrementKind::Receiving, restamped(1006), None);
    f.increment(3, IncrementKind::Receiving, restamped(1005), None);
    f.increment(1, IncrementKind::Receiving, restamped(1004), None);
    assert_eq!(asked(&f, 1005), [2, 4, 3], "node 1 was left behind");
}

#[test]
fn an_outdated_replica_is_no_pipeline() {
    let mut f = Fixture::with_nodes(3);
    f.store(1, BlockState::UnderConstruction, 3);
    let stored = record(&mut f, 1005, BlockState::UnderConstruction);
    // After a restart of the NameNode the one with the old finished replica is the first to report.
    f.increment(3, IncrementKind::Received, restamped(1001), None);
    f.map.block_reopened(&stored);
    assert_eq!(f.map.expected(BlockId(1), f.now).len(), 0);
    f.increment(1, IncrementKind::Receiving, restamped(1005), None);
    f.increment(2, IncrementKind::Receiving, restamped(1005), None);
    assert_eq!(f.map.expected(BlockId(1), f.now).len(), 2);
    assert_eq!(asked(&f, 1005), [1, 2]);
}

#[test]
fn nodes_that_died_are_asked_when_they_are_back() {
    let mut f = Fixture::with_nodes(4);
    let nodes = place_and_open(&mut f, 1);
    let [a, b, c] = nodes[..] else {
        panic!("three of {nodes:?}")
    };
    let other = (1..=4).find(|node| !nodes.contains(node)).expect("a fourth");
    let back = |f: &mut Fixture, node| {
        f.drain();
        f.register(node, "/default-rack");
        f.beat(node);
    };
    f.kill(a, &[b, c, other]);
    assert_eq!(asked(&f, 1001), [b, c]);
    back(&mut f, a);
    assert_eq!(asked(&f, 1001), [b, c, a], "it may have what they have not");
    f.kill(a, &[b, c, other]);
    f.kill(b, &[c, other]);
    f.kill(c, &[other]);
    assert_eq!(asked(&f, 1001), [0; 0]);
    back(&mut f, c);
    back(&mut f, a);
    assert_eq!(asked(&f, 1001), [0; 0], "what these two lack the third may have");
    back(&mut f, b);
    assert_eq!(asked(&f, 1001), [a, b, c]);
    f.kill(c, &[a, b, other]);
    f.increment(a, IncrementKind::Receiving, restamped(1001), None);
    assert_eq!(asked(&f, 1001), [a, b], "somebody has it");
    f.map.pipeline_changed(&restamped(1005), &named(&[a]));
    back(&mut f, c);
    assert_eq!(asked(&f, 1005), [a], "the others were left behind");
}
