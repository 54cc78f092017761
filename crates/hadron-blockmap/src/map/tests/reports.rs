//! Full, incremental and bad-block reports.

use super::*;

#[test]
fn a_full_report_is_the_truth_of_its_storage() {
    let mut f = Fixture::with_nodes(2);
    for id in 1..=9 {
        f.complete_block(id, 1, &[1]);
    }
    f.store(10, BlockState::Complete, 1);
    f.full_report(1, &[9, 2, 10, 4, 99].map(finalized));
    let held: Vec<i64> = (1..=10).filter(|&id| f.holders(id) == [1]).collect();
    assert_eq!(held, [2, 4, 9, 10]);
    assert_eq!(invalidated(&f.beat(1)), [99]);
    assert_eq!(f.map.block_stats().missing, 6);
}

#[test]
fn increments_between_slices_are_not_lost() {
    let mut f = Fixture::with_nodes(1);
    for id in 1..=6 {
        f.complete_block(id, 1, &[1]);
    }
    f.store(7, BlockState::Complete, 1);
    let report = f.map.begin_full_report(&uuid(1), &storage(1)).expect("alive");
    let mut replicas = [1, 2, 3, 4].map(finalized).into_iter();
    assert_eq!(f.slice(&report, &mut replicas, 2), ReportProgress::More);
    f.received(1, 7);
    f.deleted(1, 1);
    assert_eq!(f.slice(&report, &mut replicas, 3), ReportProgress::More);
    assert_eq!(f.slice(&report, &mut replicas, 3), ReportProgress::Done);
    let held: Vec<i64> = (1..=7).filter(|&id| f.holders(id) == [1]).collect();
    assert_eq!(held, [2, 3, 4, 7]);
}

#[test]
fn a_newer_report_supersedes_and_so_does_death() {
    let mut f = Fixture::with_nodes(1);
    let first = f.map.begin_full_report(&uuid(1), &storage(1)).expect("alive");
    let second = f.map.begin_full_report(&uuid(1), &storage(1)).expect("alive");
    let mut none = std::iter::empty();
    assert_eq!(f.slice(&first, &mut none, 5), ReportProgress::Superseded);
    f.kill(1, &[]);
    assert_eq!(f.slice(&second, &mut none, 5), ReportProgress::Superseded);
    assert_eq!(
        f.map.begin_full_report(&uuid(1), &storage(1)).err(),
        Some(ReportError::UnknownNode)
    );
}

#[test]
fn a_block_completes_with_its_first_finished_replica() {
    let mut f = Fixture::with_nodes(3);
    f.store(1, BlockState::UnderConstruction, 3);
    f.increment(1, IncrementKind::Receiving, block(1), None);
    assert_eq!(f.map.take_events(), []);
    assert!(!f.map.is_min_replicated(BlockId(1)));
    f.received(2, 1);
    assert_eq!(f.map.take_events(), [BlockEvent::MinReplicationReached(BlockId(1))]);
    f.received(3, 1);
    assert_eq!(f.map.take_events(), []);
    let committed = f.store(1, BlockState::Committed, 3);
    f.map.block_committed(&committed, &f.files, f.now);
    assert_eq!(f.map.take_events(), [BlockEvent::MinReplicationReached(BlockId(1))]);
    assert_eq!(
        f.map.expected(BlockId(1), f.now).len(),
        3,
        "taken from reports after a restart"
    );
}

#[test]
fn a_replica_of_another_length_does_not_complete_a_block() {
    let mut f = Fixture::with_nodes(2);
    f.store(1, BlockState::UnderConstruction, 2);
    f.increment(1, IncrementKind::Received, Block { len: 60, ..block(1) }, None);
    let committed = f.store(1, BlockState::Committed, 2);
    f.map.take_events();
    f.map.block_committed(&committed, &f.files, f.now);
    assert_eq!(
        (f.map.take_events(), f.map.is_min_replicated(BlockId(1))),
        (vec![], false)
    );
    assert_eq!(f.map.counts(BlockId(1)).corrupt, 1);
    f.received(2, 1);
    assert_eq!(f.map.take_events(), [BlockEvent::MinReplicationReached(BlockId(1))]);
}

#[test]
fn a_replica_that_moved_between_storages_is_one_replica() {
    let mut f = Fixture::with_nodes(2);
    f.complete_block(1, 2, &[1, 2]);
    let other = StorageDescription {
        id: StorageId::from("DS-other"),
        ..storage(1)
    };
    let reports = [StorageIncrements {
        storage: other.clone(),
        increments: vec![Increment {
            block: block(1),
            kind: IncrementKind::Received,
            delete_hint: None,
        }],
    }];
    f.map
        .incremental_report(&uuid(1), &reports, &f.files, f.now)
        .expect("alive");
    assert_eq!(f.holders(1), [1, 2]);
    let located = f.map.locate(BlockId(1), Some(ip(1)), f.now, &mut || 0);
    assert_eq!(located.replicas[0].storage, other.id);
}

#[test]
fn bad_replicas_are_hidden_copied_and_then_deleted() {
    let mut f = Fixture::with_nodes(4);
    f.complete_block(1, 3, &[1, 2, 3]);
    assert!(f.map.report_bad_replica(&block(1), &uuid(2), None, &f.files, f.now));
    assert_eq!(f.holders(1), [1, 3]);
    assert_eq!(invalidated(&f.beat(2)), [0i64; 0], "kept until there are enough");
    assert_eq!(f.map.block_stats().corrupt, 1);
    assert_eq!(f.round().scheduled, 1);
    f.received(4, 1);
    assert_eq!(invalidated(&f.beat(2)), [1]);
    assert_eq!(f.holders(1), [1, 3, 4]);
    assert_eq!(f.map.block_stats().corrupt, 0);
}

#[test]
fn when_all_replicas_are_bad_all_are_shown() {
    let mut f = Fixture::with_nodes(2);
    f.complete_block(1, 2, &[1, 2]);
    for node in [1, 2] {
        f.map.report_bad_replica(&block(1), &uuid(node), None, &f.files, f.now);
    }
    let located = f.map.locate(BlockId(1), None, f.now, &mut || 0);
    assert!(located.corrupt);
    assert_eq!(located.replicas.len(), 2);
    assert_eq!(
        (f.map.block_stats().missing, f.map.missing_blocks(9)),
        (1, vec![BlockId(1)])
    );
}

#[test]
fn an_old_stamp_is_corrupt_until_the_right_one_is_reported() {
    let mut f = Fixture::with_nodes(2);
    f.complete_block(1, 2, &[1]);
    let old = Block {
        generation_stamp: GenerationStamp(1000),
        ..block(1)
    };
    f.map.take_events();
    f.increment(2, IncrementKind::Received, old, None);
    assert_eq!(f.holders(1), [1]);
    assert_eq!(
        f.map.counts(BlockId(1)).corrupt,
        0,
        "left behind by its writer: deleted at once"
    );
    let commands = f.beat(2);
    let DatanodeCommand::Invalidate(blocks) = &commands[0] else {
        panic!("{commands:?}")
    };
    assert_eq!(
        blocks[0].generation_stamp,
        GenerationStamp(1000),
        "named by its own stamp"
    );
    f.received(2, 1);
    assert_eq!(f.holders(1), [1, 2]);
}

#[test]
fn the_hinted_node_gives_up_its_replica() {
    for hinted in 1..=3 {
        let mut f = Fixture::with_nodes(4);
        f.complete_block(1, 3, &[1, 2, 3]);
        f.increment(4, IncrementKind::Received, block(1), Some(hinted));
        // A balancer that asks now must not count on the replica that goes.
        let asked = |f: &Fixture, node: u8| f.map.node_blocks(&uuid(node), 0, 10, None);
        assert_eq!(asked(&f, hinted), [], "it is not {hinted}'s to give any more");
        let places = asked(&f, 4).remove(0).1;
        assert!(places.len() == 3 && places.iter().all(|place| place.node != uuid(hinted)));
        assert_eq!(invalidated(&f.beat(hinted)), [1]);
        f.deleted(hinted, 1);
        let expected: Vec<u8> = (1..=4).filter(|&node| node != hinted).collect();
        assert_eq!((f.holders(1), f.map.block_stats().excess), (expected, 0));
    }
}

#[test]
fn reports_in_many_slices_of_many_nodes_keep_both_directions() {
    let mut f = Fixture::with_nodes(5);
    for id in 1..=200 {
        f.store(id, BlockState::Complete, 5);
    }
    for node in 1..=5u8 {
        let replicas: Vec<_> = (1..=200)
            .filter(|id| id % i64::from(node) == 0)
            .map(finalized)
            .collect();
        f.full_report(node, &replicas);
    }
    for id in 1..=200 {
        let expected: Vec<u8> = (1..=5).filter(|&node| id % i64::from(node) == 0).collect();
        assert_eq!(f.holders(id), expected, "{id}");
    }
    for node in 1..=5 {
        f.full_report(node, &[]);
    }
    assert_eq!(f.map.memory_usage().blocks, 0);
    assert_eq!(f.map.memory_usage().overflow, f.map.replicas.overflow_bytes());
}
