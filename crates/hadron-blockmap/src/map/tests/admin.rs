//! Nodes that leave, go into maintenance and come back.

use super::*;
use crate::node::AdminState;
use crate::{AdminWish, LeavingProgress, Standing};

impl Fixture {
    pub(super) fn wish(&mut self, node: u8, wish: AdminWish) {
        let standing = Standing {
            wish,
            ..Standing::default()
        };
        self.map.set_standing(&uuid(node), &standing, self.now);
    }
    /// One whole round of the admin monitor, in slices of two blocks.
    pub(super) fn admin_round(&mut self) {
        self.map.begin_admin_round();
        while self.map.admin_slice(&self.files, 2, self.now) {}
    }
    pub(super) fn admin(&self, node: u8) -> AdminState {
        self.map.datanode(&uuid(node), self.now).expect("known").admin
    }
    fn progress(&self, node: u8) -> LeavingProgress {
        let reports = self.map.datanodes(self.now);
        let report = reports.iter().find(|report| report.info.id.uuid == uuid(node));
        report.expect("known").leaving.unwrap_or_default()
    }
    /// Redundancy and admin rounds, all nodes obeying at once.
    pub(super) fn let_copy(&mut self, nodes: &[u8]) {
        self.now = self.now.plus(3_000);
        self.round();
        for &node in nodes {
            for task in transfers(&self.beat(node)) {
                for target in task.targets {
                    let target = target.node.id.uuid.as_str()[3..].parse().expect("dn-N");
                    self.received(target, task.block.id.0);
                }
            }
        }
        self.admin_round();
    }
    /// As [`Fixture::let_copy`] until the node is in the state; at most 50 rounds.
    fn until(&mut self, node: u8, state: AdminState, nodes: &[u8]) {
        for _ in 0..50 {
            if self.admin(node) == state {
                return;
            }
            self.let_copy(nodes);
        }
        panic!("node {node} is {:?}, {:?}", self.admin(node), self.progress(node));
    }
    fn maintenance(&self, ms: u64) -> AdminWish {
        AdminWish::Maintenance {
            until: self.now.plus(ms),
        }
    }
}

#[test]
fn a_node_leaves_when_every_block_is_elsewhere() {
    let mut f = Fixture::with_nodes(5);
    for id in 1..=20 {
        f.complete_block(id, 3, &[1, 2, 3]);
    }
    f.wish(1, AdminWish::Decommission);
    assert_eq!(f.admin(1), AdminState::DecommissionInProgress);
    assert_eq!(f.map.block_stats().low_redundancy, 0, "found by the first look");
    f.admin_round();
    assert_eq!(f.map.block_stats().low_redundancy, 20);
    assert_eq!(f.progress(1).under_replicated, 20);
    assert_eq!(f.holders(1), [1, 2, 3], "it is read from all the while");
    f.let_copy(&[1, 2, 3, 4, 5]);
    let left = f.progress(1).under_replicated;
    assert!((1..20).contains(&left), "{left} left");
    f.until(1, AdminState::Decommissioned, &[1, 2, 3, 4, 5]);
    for id in 1..=20 {
        let counts = f.map.counts(BlockId(id));
        assert_eq!((counts.live, counts.decommissioned, counts.excess), (3, 1, 0));
        assert_eq!(f.holders(id).len(), 4, "still a location, the last one");
    }
    assert_eq!(f.map.block_stats().low_redundancy, 0);
    let states: Vec<AdminState> = f.map.take_admin_changes().iter().map(|change| change.state).collect();
    assert_eq!(states, [AdminState::DecommissionInProgress, AdminState::Decommissioned]);
    let nodes = f.place(&PlacementRequest {
        count: 5,
        block_size: 1,
        writer: Some(ip(1)),
        ..PlacementRequest::default()
    });
    assert!(!nodes.expect("room").contains(&1));
}

#[test]
fn back_in_service_the_surplus_goes() {
    let mut f = Fixture::with_nodes(5);
    for id in 1..=6 {
        f.complete_block(id, 3, &[1, 2, 3]);
    }
    f.wish(1, AdminWish::Decommission);
    f.until(1, AdminState::Decommissioned, &[1, 2, 3, 4, 5]);
    f.wish(1, AdminWish::InService);
    assert_eq!(f.admin(1), AdminState::Normal);
    f.admin_round();
    for id in 1..=6 {
        let counts = f.map.counts(BlockId(id));
        assert_eq!((counts.live, counts.excess), (3, 1), "{id}");
    }
}

#[test]
fn without_enough_nodes_default_replication_lets_go() {
    let mut f = Fixture::with_nodes(4);
    f.complete_block(1, 4, &[1, 2, 3, 4]);
    f.wish(1, AdminWish::Decommission);
    f.admin_round();
    assert_eq!(
        f.admin(1),
        AdminState::Decommissioned,
        "three are enough of four wanted"
    );
    assert_eq!(f.map.block_stats().low_redundancy, 1, "and yet one is wanted");
    let mut f = Fixture::with_nodes(3);
    f.complete_block(1, 3, &[1, 2, 3]);
    f.wish(1, AdminWish::Decommission);
    for _ in 0..5 {
        f.let_copy(&[1, 2, 3]);
    }
    assert_eq!(
        f.admin(1),
        AdminState::DecommissionInProgress,
        "there is nowhere to copy to"
    );
    assert_eq!(f.progress(1).under_replicated, 1);
    f.join(4, "/default-rack");
    f.until(1, AdminState::Decommissioned, &[1, 2, 3, 4]);
}

#[test]
fn a_node_that_has_not_reported_does_not_leave() {
    let mut f = Fixture::with_nodes(3);
    f.register(4, "/default-rack");
    f.wish(4, AdminWish::Decommission);
    f.admin_round();
    assert_eq!(f.admin(4), AdminState::DecommissionInProgress, "no storage known");
    f.beat(4);
    f.admin_round();
    assert_eq!(f.admin(4), AdminState::DecommissionInProgress, "no report");
    f.full_report(4, &[]);
    f.admin_round();
    assert_eq!(f.admin(4), AdminState::Decommissioned);
}

#[test]
fn a_dead_node_leaves_when_nothing_is_short() {
    let mut f = Fixture::with_nodes(4);
    f.complete_block(1, 3, &[1, 2, 3]);
    f.wish(1, AdminWish::Decommission);
    f.admin_round();
    f.kill(1, &[2, 3, 4]);
    f.map.begin_admin_round();
    while f.map.admin_slice(&f.files, 2, f.now) {}
    assert_eq!(
        f.admin(1),
        AdminState::DecommissionInProgress,
        "a block is short of a replica"
    );
    f.until(1, AdminState::Decommissioned, &[2, 3, 4]);
    assert_eq!(f.map.counts(BlockId(1)).live, 3);
    f.kill(2, &[3, 4]);
    f.wish(2, AdminWish::Decommission);
    assert_eq!(f.admin(2), AdminState::Decommissioned, "dead already: at once");
}

#[test]
fn the_open_block_needs_only_what_a_writer_needs() {
    let mut f = Fixture::with_nodes(3);
    f.files.open = true;
    f.store(1, BlockState::Committed, 3);
    for node in [1, 2, 3] {
        f.received(node, 1);
    }
    f.store(2, BlockState::Complete, 2);
    f.received(1, 2);
    f.wish(1, AdminWish::Decommission);
    f.admin_round();
    let progress = f.progress(1);
    assert_eq!(
        (
            progress.under_replicated,
            progress.in_open_files,
            progress.out_of_service_only,
            progress.open_files
        ),
        (1, 1, 1, 1)
    );
    f.until(1, AdminState::Decommissioned, &[1, 2, 3]);
}

#[test]
fn an_open_block_may_be_completed_with_replicas_of_leaving_nodes() {
    let mut f = Fixture::with_nodes(1);
    f.wish(1, AdminWish::Decommission);
    f.store(1, BlockState::Committed, 1);
    f.received(1, 1);
    assert!(f.map.is_min_replicated(BlockId(1)));
    assert_eq!(f.map.take_events(), [BlockEvent::MinReplicationReached(BlockId(1))]);
}

#[test]
fn blocks_that_come_during_the_look_are_looked_at() {
    let mut f = Fixture::with_nodes(4);
    for id in 1..=10 {
        f.complete_block(id, 1, &[1, 2]);
    }
    f.wish(1, AdminWish::Decommission);
    f.map.begin_admin_round();
    assert!(f.map.admin_slice(&f.files, 3, f.now), "there is more");
    // Its only replica comes to the node that leaves.
    f.complete_block(50, 1, &[1]);
    while f.map.admin_slice(&f.files, 3, f.now) {}
    assert_eq!(f.admin(1), AdminState::DecommissionInProgress);
    assert_eq!(f.progress(1).under_replicated, 1);
    f.until(1, AdminState::Decommissioned, &[1, 2, 3, 4]);
    assert_eq!(f.map.counts(BlockId(50)).live, 1);
}

#[test]
fn so_many_blocks_a_round_and_so_many_nodes_at_a_time() {
    let mut f = Fixture::with_nodes(5);
    f.map.settings.admin_blocks_per_round = 4;
    f.map.settings.max_watched_nodes = 1;
    for id in 1..=10 {
        f.complete_block(id, 2, &[3, 4]);
        f.complete_block(id + 100, 1, &[1]);
    }
    f.wish(1, AdminWish::Decommission);
    f.wish(2, AdminWish::Decommission);
    f.admin_round();
    assert_eq!(f.map.block_stats().low_redundancy, 4);
    f.admin_round();
    assert_eq!(f.map.block_stats().low_redundancy, 8);
    f.admin_round();
    assert_eq!(f.map.block_stats().low_redundancy, 10);
    assert_eq!(
        f.admin(2),
        AdminState::DecommissionInProgress,
        "waits for the first one"
    );
    f.until(1, AdminState::Decommissioned, &[1, 2, 3, 4, 5]);
    f.until(2, AdminState::Decommissioned, &[1, 2, 3, 4, 5]);
}

#[test]
fn maintenance_keeps_a_minimum_and_ends_by_itself() {
    let mut f = Fixture::with_nodes(4);
    f.complete_block(1, 3, &[1, 2, 3]);
    f.complete_block(2, 1, &[1]);
    f.wish(1, f.maintenance(3_600_000));
    assert_eq!(f.admin(1), AdminState::EnteringMaintenance);
    f.admin_round();
    assert_eq!(f.map.block_stats().low_redundancy, 1, "block 2 alone needs a copy");
    assert_eq!(f.holders(2), [1], "it is read from while it gets ready");
    f.until(1, AdminState::InMaintenance, &[1, 2, 3, 4]);
    assert_eq!(f.holders(1), [2, 3], "not read from, not made good");
    assert_eq!(f.map.counts(BlockId(1)).in_maintenance, 1);
    assert_eq!(f.holders(2).len(), 1);
    // It dies in maintenance: its replicas are remembered, and nothing is copied.
    f.kill(1, &[2, 3, 4]);
    f.let_copy(&[2, 3, 4]);
    let stats = f.map.block_stats();
    assert_eq!((stats.low_redundancy, stats.pending_replication), (0, 0));
    assert_eq!(f.map.counts(BlockId(1)).in_maintenance, 1);
    // Another one goes for good: what maintenance allowed is used up.
    f.kill(2, &[3, 4]);
    f.let_copy(&[3, 4]);
    assert_eq!(f.map.counts(BlockId(1)).live, 2);
    f.now = f.now.plus(3_600_000);
    for node in [3, 4] {
        f.beat(node);
    }
    f.admin_round();
    assert_eq!(f.admin(1), AdminState::Normal, "its time is over");
    f.drain();
    assert_eq!(f.map.counts(BlockId(1)).in_maintenance, 0, "and it is dead: forgotten");
}

#[test]
fn a_node_back_from_maintenance_still_has_its_blocks() {
    let mut f = Fixture::with_nodes(3);
    f.complete_block(1, 3, &[1, 2, 3]);
    f.wish(1, f.maintenance(10_000_000));
    f.until(1, AdminState::InMaintenance, &[1, 2, 3]);
    f.kill(1, &[2, 3]);
    f.register(1, "/default-rack");
    f.beat(1);
    f.full_report(1, &[finalized(1)]);
    assert_eq!(f.admin(1), AdminState::InMaintenance);
    f.wish(1, AdminWish::InService);
    f.admin_round();
    assert_eq!(f.holders(1), [1, 2, 3]);
    assert_eq!(f.map.counts(BlockId(1)).live, 3);
    let mut f = Fixture::with_nodes(3);
    f.map.settings.maintenance_min_replication = 0;
    f.complete_block(1, 1, &[1]);
    f.wish(1, f.maintenance(1_000));
    assert_eq!(f.admin(1), AdminState::InMaintenance, "nothing is asked of it");
    f.wish(1, AdminWish::Maintenance { until: f.now });
    assert_eq!(f.admin(1), AdminState::Normal, "a time that has passed is none");
}

#[test]
fn a_node_taken_off_the_include_list_dies_with_its_next_heartbeat() {
    let mut f = Fixture::with_nodes(3);
    f.complete_block(1, 2, &[1, 2]);
    let standing = Standing {
        included: false,
        ..Standing::default()
    };
    f.map.set_standing(&uuid(1), &standing, f.now);
    assert_eq!(f.holders(1), [1, 2], "until it calls");
    let reply = f.beat_with(&Fixture::heartbeat(1));
    assert!(reply.disallowed && reply.commands.is_empty());
    f.drain();
    assert_eq!(f.holders(1), [2]);
    assert_eq!(f.map.live_datanodes(), 2);
    assert_eq!(f.map.block_stats().low_redundancy, 1);
    assert!(f.beat_with(&Fixture::heartbeat(1)).disallowed, "told again");
    f.register(1, "/default-rack");
    assert!(!f.beat_with(&Fixture::heartbeat(1)).disallowed, "taken back");
}

#[test]
fn nothing_is_decided_while_the_namenode_starts_up() {
    let mut f = Fixture::new(Settings {
        safemode_threshold: 1.0,
        ..Settings::default()
    });
    f.store(1, BlockState::Complete, 1);
    f.map.start_up(1, f.now);
    f.join(1, "/default-rack");
    f.wish(1, AdminWish::Decommission);
    f.admin_round();
    assert_eq!(f.admin(1), AdminState::DecommissionInProgress);
    f.received(1, 1);
    f.map.tick_safe_mode(f.now);
    assert_eq!(
        f.map.safe_mode().progress(),
        (1, 1),
        "replicas on leaving nodes are there all the same"
    );
}
