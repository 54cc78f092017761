//! What the namespace tells.

use super::*;

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
        .pipeline_changed(BlockId(1), &[(uuid(nodes[0]), None), (uuid(nodes[1]), None)]);
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
    f.map.block_reopened(BlockId(1));
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
    f.map.block_reopened(BlockId(1));
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
