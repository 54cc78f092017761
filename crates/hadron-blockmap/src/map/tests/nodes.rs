//! Registration, heartbeats and death.

use super::*;

#[test]
fn unknown_and_dead_nodes_are_told_to_register() {
    let mut f = Fixture::with_nodes(1);
    assert_eq!(f.beat(9), [DatanodeCommand::Register]);
    assert_eq!(f.beat(1), []);
    f.now = f.now.plus(630_001);
    assert_eq!(f.map.check_nodes(&f.files, f.now), 1);
    assert_eq!(f.beat(1), [DatanodeCommand::Register]);
    f.register(1, "/default-rack");
    assert_eq!(f.beat(1), []);
}

#[test]
fn a_node_is_stale_after_30_s_and_dead_after_630() {
    let mut f = Fixture::with_nodes(1);
    let since = f.now;
    let state = |f: &Fixture, ms| {
        let stats = f.map.cluster_stats(since.plus(ms));
        (stats.live_nodes, stats.stale_nodes)
    };
    assert_eq!(state(&f, 30_000), (1, 0));
    assert_eq!(state(&f, 30_001), (1, 1));
    assert_eq!(f.map.check_nodes(&f.files, since.plus(630_000)), 0);
    assert_eq!(f.map.check_nodes(&f.files, since.plus(630_001)), 1);
    let stats = f.map.cluster_stats(since);
    assert_eq!((stats.live_nodes, stats.dead_nodes, stats.capacity), (0, 1, 0));
}

#[test]
fn another_uuid_at_the_same_address_replaces_the_node() {
    let mut f = Fixture::with_nodes(2);
    f.complete_block(1, 2, &[1, 2]);
    let registration = Registration {
        id: DatanodeId {
            uuid: uuid(7),
            ..(*f.map.datanode(&uuid(1), f.now).expect("known").id).clone()
        },
        software_version: "3.3.6".to_owned(),
        rack: None,
    };
    f.map.register(registration, &f.files, f.now).expect("room");
    assert_eq!(f.map.datanode(&uuid(1), f.now), None);
    assert_eq!(f.holders(1), [2], "not even before the drain");
    f.drain();
    assert_eq!(f.map.datanodes(f.now).len(), 2);
    assert_eq!(f.map.block_stats().highest_priority, 1);
    assert_eq!(f.map.memory_usage().blocks, 1);
}

#[test]
fn the_same_uuid_at_a_new_address_moves_with_its_replicas() {
    let mut f = Fixture::with_nodes(2);
    f.complete_block(1, 2, &[1, 2]);
    let mut id = (*f.map.datanode(&uuid(1), f.now).expect("known").id).clone();
    id.ip = ip(77);
    let registration = Registration {
        id,
        software_version: "3.3.6".to_owned(),
        rack: Some("/r2".to_owned()),
    };
    f.map.register(registration, &f.files, f.now).expect("room");
    let moved = f.map.datanode(&uuid(1), f.now).expect("known");
    assert_eq!((moved.id.ip, &*moved.rack, moved.alive), (ip(77), "/r2", true));
    assert_eq!(f.holders(1), [1, 2]);
    assert_eq!(f.map.rack_of_host(ip(77)).as_ref(), "/r2");
    assert_eq!(f.map.live_datanodes(), 2);
}

#[test]
fn a_dead_node_is_forgotten_in_slices_and_its_blocks_are_copied() {
    let mut f = Fixture::with_nodes(4);
    for id in 1..=5 {
        f.complete_block(id, 3, &[1, 2, 3]);
    }
    f.now = f.now.plus(630_001);
    for node in [2, 3, 4] {
        f.beat(node);
    }
    assert_eq!(f.map.check_nodes(&f.files, f.now), 1);
    assert_eq!(f.map.counts(BlockId(1)).live, 2, "dead replicas count at once");
    assert!(f.map.drain_slice(&f.files, 3, f.now));
    assert_eq!(f.map.block_stats().low_redundancy, 3);
    assert!(!f.map.drain_slice(&f.files, 3, f.now));
    assert_eq!(f.map.block_stats().low_redundancy, 5);
    assert_eq!(f.round().scheduled, 4, "two streams each on nodes 2 and 3");
    let task = transfers(&f.beat(2)).remove(0);
    assert_eq!(task.targets[0].node.id.uuid, uuid(4));
    f.received(4, task.block.id.0);
    assert_eq!(f.holders(task.block.id.0), [2, 3, 4]);
}

#[test]
fn a_node_back_from_the_dead_keeps_what_it_reports() {
    let mut f = Fixture::with_nodes(3);
    f.complete_block(1, 3, &[1, 2, 3]);
    f.complete_block(2, 3, &[1, 2, 3]);
    f.kill(1, &[2, 3]);
    assert_eq!(f.holders(1), [2, 3]);
    f.register(1, "/default-rack");
    f.beat(1);
    f.full_report(1, &[finalized(1)]);
    assert_eq!((f.holders(1), f.holders(2)), (vec![1, 2, 3], vec![2, 3]));
    assert_eq!(f.map.block_stats().low_redundancy, 1);
}

#[test]
fn report_leases_come_with_heartbeats() {
    let mut f = Fixture::with_nodes(8);
    let leases: Vec<u64> = (1..=8)
        .map(|node| {
            let beat = Heartbeat {
                wants_report_lease: true,
                ..Fixture::heartbeat(node)
            };
            f.beat_with(&beat).report_lease
        })
        .collect();
    assert_eq!(leases.iter().filter(|&&lease| lease != 0).count(), 6);
    let check = |f: &Fixture, node, lease| f.map.check_report_lease(&uuid(node), lease, f.now);
    assert_eq!(check(&f, 1, leases[0]), Ok(()));
    assert_eq!(check(&f, 1, leases[0] ^ 1), Err(ReportError::NoLease));
    assert_eq!(check(&f, 1, 0), Ok(()));
    assert_eq!(check(&f, 99, 0), Err(ReportError::UnknownNode));
    f.map.end_full_report_rpc(&uuid(1), &[storage(1).id], ReportRpc::ONLY);
    assert_eq!(check(&f, 1, leases[0]), Err(ReportError::NoLease), "used up");
}

#[test]
fn a_failed_storage_loses_its_replicas() {
    let mut f = Fixture::with_nodes(2);
    f.complete_block(1, 2, &[1, 2]);
    let mut beat = Fixture::heartbeat(1);
    beat.storages[0].storage.state = StorageState::Failed;
    beat.failed_volumes = 1;
    f.beat_with(&beat);
    f.drain();
    assert_eq!(f.holders(1), [2]);
    assert_eq!(f.map.cluster_stats(f.now).failed_volumes, 1);
}

#[test]
fn what_a_node_tells_of_volumes_and_peers_is_kept() {
    let mut f = Fixture::with_nodes(2);
    let failures = crate::VolumeFailures {
        locations: vec!["/data1".to_owned()],
        last_failure: 7,
        capacity_lost: 100,
    };
    let beat = Heartbeat {
        failed_volumes: 1,
        volume_failures: Some(failures.clone()),
        slow_peers: vec![crate::SlowPeer {
            name: "host-2:9866".into(),
            latency_ms: 12.5,
        }],
        ..Fixture::heartbeat(1)
    };
    f.beat_with(&beat);
    let report = &f.map.datanodes(f.now)[0];
    assert_eq!(report.volume_failures.as_deref(), Some(&failures));
    assert_eq!(report.slow_peers, beat.slow_peers);
    assert_eq!(f.map.cluster_stats(f.now).capacity_lost, 100);
    f.beat(1);
    let report = &f.map.datanodes(f.now)[0];
    assert_eq!(
        (&report.volume_failures, report.slow_peers.len()),
        (&None, 0),
        "and forgotten"
    );
}

#[test]
fn a_lifeline_keeps_a_node_alive_and_brings_no_orders() {
    let mut f = Fixture::with_nodes(2);
    f.map.set_balancer_bandwidth(1 << 20);
    f.now = f.now.plus(630_000);
    f.map.lifeline(&Fixture::heartbeat(1), &f.files, f.now);
    f.map.lifeline(&Fixture::heartbeat(9), &f.files, f.now);
    f.now = f.now.plus(1);
    assert_eq!(f.map.check_nodes(&f.files, f.now), 1, "node 2");
    assert_eq!(f.beat(1), [DatanodeCommand::BalancerBandwidth(1 << 20)]);
    assert_eq!(f.beat(1), [], "told once");
    f.map.lifeline(&Fixture::heartbeat(2), &f.files, f.now);
    assert_eq!(f.map.live_datanodes(), 1, "the dead must register");
}

#[test]
fn storages_missing_from_a_whole_report_are_gone() {
    let mut f = Fixture::with_nodes(2);
    f.complete_block(1, 2, &[1, 2]);
    f.map
        .end_full_report_rpc(&uuid(1), &[StorageId::from("DS-other")], ReportRpc::ONLY);
    f.drain();
    assert_eq!(f.holders(1), [2]);
}

#[test]
fn storages_missing_from_all_calls_of_a_split_report_are_gone() {
    let mut f = Fixture::with_nodes(2);
    f.complete_block(1, 2, &[1, 2]);
    let rpc = |report, number| ReportRpc {
        report,
        number,
        count: 2,
    };
    let other = || [StorageId::from("DS-other")];
    f.map.end_full_report_rpc(&uuid(1), &[storage(1).id], rpc(7, 0));
    f.map.end_full_report_rpc(&uuid(1), &other(), rpc(7, 1));
    f.drain();
    assert_eq!(f.holders(1), [1, 2], "the first call named it");
    f.map.end_full_report_rpc(&uuid(1), &other(), rpc(8, 1));
    f.map.end_full_report_rpc(&uuid(1), &other(), rpc(8, 1));
    f.drain();
    assert_eq!(f.holders(1), [1, 2], "one call is still to come");
    f.map.end_full_report_rpc(&uuid(1), &other(), rpc(8, 0));
    f.drain();
    assert_eq!(f.holders(1), [2]);
}

#[test]
fn safe_mode_gives_no_orders() {
    let mut f = Fixture::with_nodes(1);
    f.map.enter_safe_mode(SafeModeReason::Manual);
    f.full_report(1, &[finalized(5)]);
    assert_eq!(f.beat(1), []);
    f.map.leave_safe_mode();
    assert_eq!(invalidated(&f.beat(1)), [5]);
}

#[test]
fn start_up_counts_blocks_then_asks_for_a_scan() {
    let mut f = Fixture::new(Settings {
        safemode_extension_ms: 100,
        safemode_threshold: 1.0,
        ..Settings::default()
    });
    for id in 1..=10 {
        f.store(id, BlockState::Complete, 2);
    }
    f.map.start_up(10, f.now);
    f.join(1, "/default-rack");
    let replicas: Vec<ReportedReplica> = (1..=9).map(finalized).collect();
    f.full_report(1, &replicas);
    assert_eq!(f.map.safe_mode().progress(), (9, 10));
    assert!(f.map.safe_mode().is_on());
    assert_eq!(f.map.block_stats().low_redundancy, 0, "queues wait");
    f.received(1, 10);
    f.map.tick_safe_mode(f.now);
    f.deleted(1, 10);
    f.map.tick_safe_mode(f.now.plus(100));
    assert!(f.map.safe_mode().is_on(), "one was lost again");
    assert_eq!(f.map.safe_mode().progress(), (9, 10));
    f.received(1, 10);
    f.map.tick_safe_mode(f.now.plus(100));
    assert!(!f.map.safe_mode().is_on());
    assert_eq!(f.map.take_events(), [BlockEvent::SafeModeLeft]);
    for id in 1..=10 {
        f.map.examine(BlockId(id), &f.files, f.now);
    }
    assert_eq!(f.map.block_stats().low_redundancy, 10);
}
