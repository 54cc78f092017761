//! Too few, too many, and the memory they take.

use super::*;

#[test]
fn missing_replicas_are_ordered_awaited_and_given_up() {
    let mut f = Fixture::with_nodes(3);
    f.complete_block(1, 2, &[1]);
    assert_eq!(f.map.block_stats().highest_priority, 1);
    assert_eq!(f.round().scheduled, 1);
    let stats = f.map.block_stats();
    assert_eq!((stats.low_redundancy, stats.pending_replication), (0, 1));
    assert_eq!(f.round().scheduled, 0);
    let tasks = transfers(&f.beat(1));
    assert_eq!((tasks.len(), tasks[0].block), (1, block(1)));
    f.now = f.now.plus(300_000);
    for node in 1..=3 {
        f.beat(node);
    }
    let done = f.round();
    assert_eq!((done.timed_out, done.scheduled), (1, 1), "ordered anew");
    assert_eq!(f.map.block_stats().timed_out, 1);
}

#[test]
fn a_copy_to_a_node_that_restarted_is_ordered_anew() {
    let mut f = Fixture::with_nodes(2);
    f.complete_block(1, 2, &[1]);
    assert_eq!(f.round().scheduled, 1);
    assert_eq!(transfers(&f.beat(1)).len(), 1);
    // The target comes back before anybody missed it.
    f.join(2, "/default-rack");
    let stats = f.map.block_stats();
    assert_eq!((stats.low_redundancy, stats.pending_replication), (1, 0));
    assert_eq!(f.round().scheduled, 1);
    assert_eq!(transfers(&f.beat(1)).len(), 1);
}

#[test]
fn no_copy_goes_where_an_older_version_is_still_to_be_deleted() {
    let mut f = Fixture::with_nodes(2);
    f.complete_block(1, 2, &[1]);
    let stale = Block {
        generation_stamp: GenerationStamp(block(1).generation_stamp.0 - 1),
        ..block(1)
    };
    f.increment(2, IncrementKind::Received, stale, None);
    assert_eq!(f.round().scheduled, 0, "the deletion has not been sent");
    assert_eq!(invalidated(&f.beat(2)), [1]);
    assert_eq!(f.round().scheduled, 1);
}

#[test]
fn transfers_leave_room_for_those_running() {
    let mut f = Fixture::with_nodes(3);
    for id in 1..=4 {
        f.complete_block(id, 2, &[1]);
    }
    assert_eq!(f.round().scheduled, 4, "of highest priority: up to the hard limit");
    for (xmits, expected) in [(2, 0), (1, 1), (0, 2), (5, 0)] {
        let beat = Heartbeat {
            xmits,
            ..Fixture::heartbeat(1)
        };
        assert_eq!(
            transfers(&f.beat_with(&beat).commands).len(),
            expected,
            "{xmits} running"
        );
    }
}

#[test]
fn urgent_blocks_go_first() {
    let mut f = Fixture::with_nodes(4);
    f.complete_block(1, 3, &[1, 2]);
    f.complete_block(2, 3, &[1, 2]);
    f.complete_block(3, 3, &[1]);
    f.map.settings.work_multiplier = 0;
    assert_eq!(f.round().scheduled, 0);
    f.map.settings.work_multiplier = 1;
    f.map.settings.max_streams = 1;
    f.map.settings.max_streams_hard = 1;
    f.round();
    let ids: Vec<i64> = transfers(&f.beat(1)).iter().map(|task| task.block.id.0).collect();
    assert_eq!(ids, [3]);
}

#[test]
fn one_order_may_have_several_targets() {
    let mut f = Fixture::with_nodes(3);
    f.complete_block(1, 3, &[1]);
    assert_eq!(f.round().scheduled, 1);
    let task = transfers(&f.beat(1)).remove(0);
    assert_eq!(task.targets.len(), 2);
    f.received(2, 1);
    f.received(3, 1);
    let stats = f.map.block_stats();
    assert_eq!((stats.pending_replication, stats.low_redundancy), (0, 0));
}

#[test]
fn raising_replication_copies_and_lowering_deletes() {
    let mut f = Fixture::with_nodes(3);
    f.complete_block(1, 3, &[1, 2, 3]);
    let stored = f.store(1, BlockState::Complete, 1);
    f.map.replication_changed(&stored, &f.files, f.now);
    let counts = f.map.counts(BlockId(1));
    assert_eq!((counts.live, counts.excess), (1, 2));
    let stored = f.store(1, BlockState::Complete, 2);
    f.map.replication_changed(&stored, &f.files, f.now);
    let counts = f.map.counts(BlockId(1));
    assert_eq!(
        (counts.live, counts.excess),
        (2, 1),
        "an order not yet sent is taken back"
    );
    let deletions: Vec<u8> = (1..=3).filter(|&node| !invalidated(&f.beat(node)).is_empty()).collect();
    assert_eq!(deletions.len(), 1);
    f.deleted(deletions[0], 1);
    assert_eq!(
        f.map.counts(BlockId(1)),
        ReplicaCounts {
            live: 2,
            ..Default::default()
        }
    );
}

#[test]
fn surplus_waits_for_storages_that_have_not_reported() {
    let mut f = Fixture::with_nodes(2);
    f.register(3, "/default-rack");
    f.beat(3);
    f.complete_block(1, 2, &[1, 2, 3]);
    let stats = f.map.block_stats();
    assert_eq!((stats.excess, stats.postponed), (0, 1));
    f.full_report(3, &[finalized(1)]);
    f.round();
    let stats = f.map.block_stats();
    assert_eq!((stats.excess, stats.postponed, stats.pending_deletion), (1, 0, 1));
}

#[test]
fn the_fullest_node_gives_up_unless_a_rack_would_be_lost() {
    let mut f = Fixture::new(Settings::default());
    for (node, rack) in [(1, "/a"), (2, "/a"), (3, "/b")] {
        f.join(node, rack);
        let mut beat = Fixture::heartbeat(node);
        beat.storages[0].remaining = u64::from(10 - node) * GIB;
        f.beat_with(&beat);
    }
    f.complete_block(1, 2, &[1, 2, 3]);
    let surplus: Vec<u8> = (1..=3).filter(|&node| !invalidated(&f.beat(node)).is_empty()).collect();
    assert_eq!(surplus, [2], "node 3 is fuller but alone on its rack");
}

#[test]
fn a_block_on_one_rack_gets_a_second() {
    let mut f = Fixture::new(Settings::default());
    for (node, rack) in [(1, "/a"), (2, "/a"), (3, "/b")] {
        f.join(node, rack);
    }
    f.complete_block(1, 2, &[1, 2]);
    assert_eq!(f.map.block_stats().low_redundancy, 1);
    assert_eq!(f.round().scheduled, 1);
    let tasks: Vec<TransferTask> = [1, 2].iter().flat_map(|&node| transfers(&f.beat(node))).collect();
    assert_eq!(tasks[0].targets[0].node.id.uuid, uuid(3));
    f.received(3, 1);
    let counts = f.map.counts(BlockId(1));
    assert_eq!((counts.live, counts.excess), (2, 1));
    assert!(f.map.is_well_spread(BlockId(1), 2));
    assert_eq!(f.map.block_stats().low_redundancy, 0);
}

#[test]
fn a_thousand_deletions_per_heartbeat() {
    let mut f = Fixture::with_nodes(1);
    let replicas: Vec<_> = (1..=2_500).map(finalized).collect();
    f.full_report(1, &replicas);
    let counts: Vec<usize> = (0..4).map(|_| invalidated(&f.beat(1)).len()).collect();
    assert_eq!(counts, [1000, 1000, 500, 0]);
}

#[test]
fn a_round_lets_a_share_of_the_nodes_delete() {
    let mut f = Fixture::new(Settings {
        deletion_delay_ms: 60_000,
        ..Settings::default()
    });
    f.map.start_up(0, f.now);
    for node in 1..=10 {
        f.join(node, "/default-rack");
        let replicas: Vec<_> = (1..=10).map(finalized).collect();
        f.full_report(node, &replicas);
    }
    let deleting = |f: &mut Fixture| {
        let beat = |f: &mut Fixture, node| {
            let commands = f
                .map
                .heartbeat(&Fixture::heartbeat(node), &f.files, f.now, &mut || 1)
                .commands;
            usize::from(!invalidated(&commands).is_empty())
        };
        (1..=10).map(|node| beat(f, node)).sum::<usize>()
    };
    f.round();
    assert_eq!(deleting(&mut f), 0, "not so soon after the start");
    f.now = f.now.plus(60_000);
    f.round();
    assert_eq!(deleting(&mut f), 4, "0.32 of ten, rounded up");
    f.round();
    assert_eq!(deleting(&mut f), 4);
    f.round();
    assert_eq!((deleting(&mut f), f.map.block_stats().pending_deletion), (2, 0));
}

/// covers: XC-14 (the NameNode's part)
#[test]
fn a_hint_may_cost_a_rack_that_the_new_replica_brings() {
    let mut f = Fixture::new(Settings::default());
    for (node, rack) in [(1, "/a"), (2, "/a"), (3, "/b"), (4, "/c")] {
        f.join(node, rack);
    }
    f.complete_block(1, 3, &[1, 2, 3]);
    f.increment(4, IncrementKind::Received, block(1), Some(3));
    assert_eq!(invalidated(&f.beat(3)), [1], "moved from rack b to rack c");
    let mut f = Fixture::new(Settings::default());
    for (node, rack) in [(1, "/a"), (2, "/a"), (3, "/b"), (4, "/a")] {
        f.join(node, rack);
    }
    f.complete_block(1, 3, &[1, 2, 3]);
    f.increment(4, IncrementKind::Received, block(1), Some(3));
    assert_eq!(invalidated(&f.beat(3)), [], "that would leave one rack");
    assert_eq!(f.map.block_stats().excess, 1);
}

/// The memory goal: 70 bytes for a block with three replicas, at every fill of the index.
#[test]
fn a_block_with_three_replicas_takes_70_bytes() {
    let mut f = Fixture::with_nodes(3);
    let mut worst = 0;
    for id in 1..=120_000 {
        f.store(id, BlockState::Complete, 3);
        for node in 1..=3 {
            f.received(node, id);
        }
        if id >= 60_000 && id % 1_000 == 0 {
            worst = worst.max(f.map.memory_usage().total() * 10 / f.map.memory_usage().blocks);
        }
    }
    assert!(worst <= 700, "{worst} tenths of a byte");
}

#[test]
fn a_large_round_goes_in_slices() {
    let mut f = Fixture::new(Settings {
        work_multiplier: 1_000,
        max_streams: 10_000,
        max_streams_hard: 10_000,
        ..Settings::default()
    });
    for node in 1..=3 {
        f.join(node, "/default-rack");
    }
    for id in 1..=600 {
        f.complete_block(id, 2, &[1]);
    }
    let mut done = f.round();
    let mut slices = 1;
    let mut scheduled = done.scheduled;
    while done.left > 0 {
        let seed = &mut f.seed;
        done = f
            .map
            .redundancy_slice(done.left, &f.files, f.now, &mut || next_random(seed));
        scheduled += done.scheduled;
        slices += 1;
    }
    assert_eq!((scheduled, slices), (600, 3));
}

#[test]
fn all_postponed_blocks_get_their_turn() {
    let mut f = Fixture::with_nodes(2);
    f.register(3, "/default-rack");
    f.beat(3);
    for id in 1..=5 {
        f.complete_block(id, 2, &[1, 2, 3]);
    }
    // None can be settled while node 3 has not reported.
    for _ in 0..3 {
        f.map.rescan_postponed(&f.files, 2, f.now);
        assert_eq!(f.map.block_stats().postponed, 5);
    }
    f.full_report(3, &(1..=5).map(finalized).collect::<Vec<_>>());
    for _ in 0..3 {
        f.map.rescan_postponed(&f.files, 2, f.now);
    }
    assert_eq!(f.map.block_stats().postponed, 0, "three looks of two reach all five");
}
