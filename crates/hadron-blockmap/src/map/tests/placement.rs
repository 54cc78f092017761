//! Targets of the default policy.

use super::*;

fn two_racks() -> Fixture {
    let mut f = Fixture::new(Settings::default());
    for node in 1..=3 {
        f.join(node, "/a");
        f.join(node + 10, "/b");
    }
    f
}
fn request(count: usize, writer: Option<u8>) -> PlacementRequest {
    PlacementRequest {
        writer: writer.map(ip),
        count,
        block_size: 128 << 20,
        ..PlacementRequest::default()
    }
}
fn rack(node: u8) -> u8 {
    node / 10
}

#[test]
fn local_then_two_on_one_remote_rack() {
    let mut f = two_racks();
    for _ in 0..50 {
        let nodes = f.place(&request(3, Some(2))).expect("room");
        assert_eq!(nodes[0], 2);
        assert_eq!((rack(nodes[1]), rack(nodes[2])), (1, 1), "{nodes:?}");
        assert_ne!(nodes[1], nodes[2]);
    }
}

#[test]
fn a_foreign_writer_gets_two_racks() {
    let mut f = two_racks();
    for _ in 0..50 {
        let nodes = f.place(&request(3, Some(99))).expect("room");
        let on_a = nodes.iter().filter(|&&node| rack(node) == 0).count();
        assert!(on_a == 1 || on_a == 2, "{nodes:?}");
    }
}

#[test]
fn all_nodes_are_used_before_any_rack_rule_gives_up() {
    let mut f = two_racks();
    let mut nodes = f.place(&request(6, Some(1))).expect("room");
    nodes.sort_unstable();
    assert_eq!(nodes, [1, 2, 3, 11, 12, 13]);
    assert_eq!(f.place(&request(10, None)).expect("room").len(), 6);
}

#[test]
fn excluded_and_existing_nodes_are_not_chosen() {
    let mut f = two_racks();
    for _ in 0..20 {
        let nodes = f
            .place(&PlacementRequest {
                excluded: vec![uuid(1), uuid(11)],
                existing: vec![uuid(2), uuid(12)],
                ..request(3, Some(1))
            })
            .expect("room");
        assert_eq!(nodes.len(), 2);
        assert!(nodes.iter().all(|node| [3, 13].contains(node)), "{nodes:?}");
    }
}

#[test]
fn favoured_nodes_come_first_by_ip_or_host_name() {
    let mut f = two_racks();
    let favored = vec![
        "10.0.0.3:9866".to_owned(),
        "host-13:9866".to_owned(),
        "nowhere:1".to_owned(),
    ];
    let mut nodes = f
        .place(&PlacementRequest {
            favored,
            ..request(2, Some(1))
        })
        .expect("room");
    nodes.sort_unstable();
    assert_eq!(nodes, [3, 13]);
}

#[test]
fn not_on_the_writers_node_if_others_can() {
    let mut f = two_racks();
    let flagged = |count| PlacementRequest {
        no_local_write: true,
        ..request(count, Some(2))
    };
    for _ in 0..20 {
        let nodes = f.place(&flagged(3)).expect("room");
        assert!(!nodes.contains(&2), "{nodes:?}");
    }
    assert!(f.place(&flagged(6)).expect("room").contains(&2), "no other left");
    let anywhere = PlacementRequest {
        ignore_client_locality: true,
        ..request(1, Some(2))
    };
    assert!((0..50).any(|_| f.place(&anywhere).expect("room") != [2]));
}

/// covers: XC-30 (the part of placement)
#[test]
fn busy_full_stale_and_leaving_nodes_are_passed_over() {
    let spoil: [(&str, fn(&mut Fixture)); 4] = [
        ("busy", |f| {
            let beat = Heartbeat {
                xceivers: 30,
                ..Fixture::heartbeat(1)
            };
            f.beat_with(&beat);
        }),
        ("full", |f| {
            let mut beat = Fixture::heartbeat(1);
            beat.storages[0].remaining = (128 << 20) - 1;
            f.beat_with(&beat);
        }),
        ("stale", |f| {
            f.map.settings.avoid_write_stale = true;
            f.now = f.now.plus(30_001);
            for node in [2, 3] {
                f.beat(node);
            }
            f.map.check_nodes(&f.files, f.now);
        }),
        ("leaving", |f| {
            f.map
                .set_admin_state(&uuid(1), crate::AdminState::DecommissionInProgress);
        }),
    ];
    for (why, spoil) in spoil {
        let mut f = Fixture::with_nodes(3);
        spoil(&mut f);
        for _ in 0..20 {
            assert!(!f.place(&request(2, Some(1))).expect("room").contains(&1), "{why}");
        }
    }
}

#[test]
fn promised_blocks_take_room() {
    let mut f = Fixture::with_nodes(1);
    let mut beat = Fixture::heartbeat(1);
    beat.storages[0].remaining = 300 << 20;
    f.beat_with(&beat);
    for id in 1..=2 {
        let seed = &mut f.seed;
        let targets = f
            .map
            .place(&request(1, None), f.now, &mut || next_random(seed))
            .expect("room");
        f.map.block_opened(BlockId(id), &targets, f.now);
    }
    assert!(f.place(&request(1, None)).is_err());
    f.now = f.now.plus(3 * 600_001);
    f.received(1, 1);
    assert!(f.place(&request(1, None)).is_ok(), "promises are kept or forgotten");
}

#[test]
fn stale_nodes_are_better_than_none() {
    let mut f = Fixture::with_nodes(3);
    f.map.settings.avoid_write_stale = true;
    f.now = f.now.plus(30_001);
    f.beat(1);
    f.map.check_nodes(&f.files, f.now);
    assert_eq!(
        f.place(&request(3, None)).expect("room").len(),
        3,
        "more than half are stale"
    );
    f.beat(2);
    f.map.check_nodes(&f.files, f.now);
    let nodes = f.place(&request(3, None)).expect("room");
    assert_eq!(nodes.len(), 3, "second attempt ignores staleness");
}

#[test]
fn failure_is_told_as_hadoop_does() {
    let mut f = Fixture::with_nodes(0);
    let error = f.place(&request(3, None)).expect_err("no nodes").to_hadoop("/a");
    assert_eq!(
        error.message,
        "File /a could only be written to 0 of the 1 minReplication nodes. There are 0 datanode(s) running and no \
         node(s) are excluded in this operation."
    );
    let mut f = Fixture::with_nodes(2);
    let excluded = vec![uuid(1), uuid(2)];
    let error = f
        .place(&PlacementRequest {
            excluded,
            ..request(3, None)
        })
        .expect_err("all excluded");
    assert_eq!(
        error.to_hadoop("/a").message,
        "File /a could only be written to 0 of the 1 minReplication nodes. There are 2 datanode(s) running and 2 \
         node(s) are excluded in this operation."
    );
}

#[test]
fn readers_get_the_nearest_first() {
    let mut f = two_racks();
    f.complete_block(1, 4, &[2, 3, 11, 12]);
    for _ in 0..20 {
        let seed = &mut f.seed;
        let located = f.map.locate(BlockId(1), Some(ip(2)), f.now, &mut || next_random(seed));
        let nodes: Vec<IpAddr> = located.replicas.iter().map(|replica| replica.node.id.ip).collect();
        assert_eq!((nodes[0], nodes[1]), (ip(2), ip(3)));
    }
    f.map.set_admin_state(&uuid(2), crate::AdminState::Decommissioned);
    let located = f.map.locate(BlockId(1), Some(ip(2)), f.now, &mut || 0);
    assert_eq!(located.replicas[3].node.id.ip, ip(2), "decommissioned ones last");
}

#[test]
fn large_clusters_are_probed() {
    let mut f = Fixture::new(Settings::default());
    for node in 1..=200 {
        f.join(node, if node % 2 == 0 { "/even" } else { "/odd" });
    }
    for _ in 0..50 {
        let nodes = f.place(&request(3, Some(8))).expect("room");
        assert_eq!((nodes[0], nodes[1] % 2, nodes[2] % 2), (8, 1, 1));
    }
    assert_eq!(
        f.place(&request(200, None)).expect("room").len(),
        200,
        "the scan finds the last ones"
    );
}

/// Nodes 1 to 3 with disks, 210 to 212 with archives, 220 to 222 with SSDs, on two racks.
fn media() -> Fixture {
    let mut f = Fixture::new(Settings::default());
    for node in [1, 2, 3, 210, 211, 212, 220, 221, 222] {
        f.join(node, if node % 2 == 0 { "/even" } else { "/odd" });
    }
    f
}

#[test]
fn policies_decide_the_medium() {
    use StorageType::{Archive, Disk, Ssd};
    let mut f = media();
    let cases: [(u8, &[StorageType]); 6] = [
        (0, &[Disk, Disk, Disk]),
        (7, &[Disk, Disk, Disk]),
        (2, &[Archive, Archive, Archive]),
        (5, &[Disk, Archive, Archive]),
        (10, &[Disk, Disk, Ssd]),
        (12, &[Ssd, Ssd, Ssd]),
    ];
    for (policy, expected) in cases {
        for _ in 0..20 {
            let nodes = f
                .place(&PlacementRequest {
                    policy,
                    ..request(3, None)
                })
                .expect("room");
            let mut kinds: Vec<StorageType> = nodes.iter().map(|&node| kind(node)).collect();
            kinds.sort_unstable_by_key(|kind| kind.name());
            let mut expected = expected.to_vec();
            expected.sort_unstable_by_key(|kind| kind.name());
            assert_eq!(kinds, expected, "policy {policy}");
        }
    }
}

#[test]
fn fallbacks_take_over_where_a_medium_is_missing() {
    let mut f = two_racks();
    let placed = |f: &mut Fixture, policy, existing: Vec<DatanodeUuid>| {
        let existing_kinds = vec![StorageType::Disk; existing.len()];
        let request = PlacementRequest {
            policy,
            existing,
            existing_kinds,
            ..request(2, None)
        };
        f.place(&request).map_or(0, |nodes| nodes.len())
    };
    assert_eq!(placed(&mut f, 12, Vec::new()), 2, "ALL_SSD on disks");
    assert_eq!(placed(&mut f, 5, Vec::new()), 2, "WARM on disks");
    assert_eq!(placed(&mut f, 2, Vec::new()), 0, "COLD has no fallback");
    let mut f = Fixture::new(Settings::default());
    f.join(1, "/a");
    f.join(210, "/a");
    f.join(211, "/b");
    assert_eq!(placed(&mut f, 7, Vec::new()), 1, "HOT has none for new blocks");
    assert_eq!(placed(&mut f, 7, vec![uuid(1)]), 2, "but archives for further replicas");
}

#[test]
fn surplus_goes_from_the_medium_the_policy_does_not_want() {
    let mut f = media();
    f.files.policy = 7;
    f.complete_block(1, 2, &[1, 220, 2]);
    let surplus: Vec<u8> = [1, 2, 220]
        .into_iter()
        .filter(|&node| !invalidated(&f.beat(node)).is_empty())
        .collect();
    assert_eq!(surplus, [220]);
}

#[test]
fn a_client_with_a_rack_writes_and_reads_there() {
    let mut f = two_racks();
    f.map.set_client_rack(ip(99), std::sync::Arc::from("/b"));
    for _ in 0..20 {
        let nodes = f.place(&request(3, Some(99))).expect("room");
        assert_eq!((rack(nodes[0]), rack(nodes[1]), rack(nodes[2])), (1, 0, 0), "{nodes:?}");
    }
    f.complete_block(1, 4, &[1, 2, 11, 12]);
    let located = f.map.locate(BlockId(1), Some(ip(99)), f.now, &mut || 0);
    assert!(located.replicas[..2].iter().all(|replica| &*replica.node.rack == "/b"));
}

#[test]
fn racks_of_several_levels_are_near_and_far() {
    let mut f = Fixture::new(Settings::default());
    for (node, rack) in [(1, "/d1/r1"), (2, "/d1/r1"), (3, "/d1/r2"), (4, "/d2/r1")] {
        f.join(node, rack);
    }
    f.complete_block(1, 4, &[4, 3, 2, 1]);
    let located = f.map.locate(BlockId(1), Some(ip(1)), f.now, &mut || 0);
    let nodes: Vec<IpAddr> = located.replicas.iter().map(|replica| replica.node.id.ip).collect();
    assert_eq!(nodes, [ip(1), ip(2), ip(3), ip(4)]);
}

#[test]
fn a_rack_of_another_depth_is_refused() {
    let mut f = Fixture::new(Settings::default());
    f.join(1, "/d1/r1");
    let mut registration = Registration {
        id: (*f.map.datanode(&uuid(1), f.now).expect("known").id).clone(),
        software_version: "3.3.6".to_owned(),
        rack: Some("/r1".to_owned()),
    };
    f.map
        .register(registration.clone(), &f.files, f.now)
        .expect("the only one may change it");
    registration.id.uuid = uuid(2);
    registration.id.ip = ip(2);
    registration.rack = Some("/d1/r1".to_owned());
    let refused = f.map.register(registration, &f.files, f.now);
    assert_eq!(refused, Err(RegistrationError::OddRack { depth: 2, others: 1 }));
}
