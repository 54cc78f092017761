//! The cache, the segments and the exchange, against a Unix socket that does as a script says, on a clock that stands.

use super::exchange::release_slot;
use super::manager::{RETRY_AFTER, ShmManager};
use super::scripted::{FDS, Instead, RELEASE, SHM, ScriptedSocket};
use super::*;
use hadron_env::{Configuration, ManualClock};
use hadron_shm::{ShmId, SlotId};
use std::sync::atomic::{AtomicUsize, Ordering};

const POOL: &str = "BP-1";

struct World {
    socket: ScriptedSocket,
    clock: ManualClock,
    reads: ShortCircuit,
}

fn world(pairs: &[(&str, &str)]) -> World {
    world_with(pairs, MappedFile::new)
}

fn world_with(pairs: &[(&str, &str)], mapper: cache::Mapper) -> World {
    let socket = ScriptedSocket::start();
    for block in 0..140 {
        socket.put(block, POOL, &[block as u8; 2000]);
    }
    let clock = ManualClock::default();
    let settings = settings_of(socket.path.to_str().unwrap(), pairs);
    let arc = Arc::new(clock.clone());
    let reads = ShortCircuit::with_mapper(&settings, "client-1", &Arc::default(), arc, mapper).unwrap();
    World { socket, clock, reads }
}

fn settings_of(path: &str, pairs: &[(&str, &str)]) -> ClientSettings {
    let mut conf = Configuration::new();
    conf.set("dfs.client.read.shortcircuit", "true")
        .set("dfs.domain.socket.path", path);
    for (key, value) in pairs {
        conf.set(*key, *value);
    }
    ClientSettings::from_configuration(&conf).unwrap()
}

const KEEP_NONE: (&str, &str) = ("dfs.client.read.shortcircuit.streams.cache.size", "0");
const NO_SHM: (&str, &str) = ("dfs.short.circuit.shared.memory.watcher.interrupt.check.ms", "0");

fn located(block: u64, pool: &str) -> proto::LocatedBlockProto {
    proto::LocatedBlockProto {
        b: proto::ExtendedBlockProto {
            pool_id: pool.to_owned(),
            block_id: block,
            generation_stamp: 1001,
            num_bytes: Some(2000),
        },
        locs: vec![info()],
        ..Default::default()
    }
}

fn info() -> proto::DatanodeInfoProto {
    node("dn")
}

fn node(name: &str) -> proto::DatanodeInfoProto {
    proto::DatanodeInfoProto {
        id: proto::DatanodeIdProto {
            ip_addr: "127.0.0.1".to_owned(),
            datanode_uuid: name.to_owned(),
            xfer_port: 9866,
            ..Default::default()
        },
        ..Default::default()
    }
}

impl World {
    async fn open(&self, block: u64) -> ReplicaRef {
        match self.reads.open(&located(block, POOL), &info()).await {
            Opened::Local(replica) => replica,
            other => panic!("{other:?}"),
        }
    }

    async fn is_elsewhere(&self, block: u64) -> bool {
        matches!(self.reads.open(&located(block, POOL), &info()).await, Opened::Elsewhere)
    }

    fn shm(&self) -> ShmCounts {
        self.reads.counts().shm
    }

    fn state(&self) -> PathState {
        self.reads.paths.state(&self.socket.path)
    }
}

/// Waits for what another task does; each round lets sockets and tasks run.
async fn until(mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, waiting)
        .await
        .expect("what is waited for happens");
}

fn slot_id(replica: &ReplicaRef) -> SlotId {
    replica.slot.as_ref().unwrap().id()
}

fn is_valid(replica: &ReplicaRef) -> bool {
    replica.slot.as_ref().unwrap().word().is_valid()
}

// covers: SC-01, SC-02, SC-03, SC-09, SC-18, SC-23
#[tokio::test]
async fn a_segment_first_then_descriptors_and_a_release_at_the_end() {
    let world = world(&[KEEP_NONE]);
    let (first, again) = tokio::join!(world.open(1), world.open(1));
    assert_eq!(world.socket.ops(), [SHM, FDS], "both wait for one load");
    assert_eq!(slot_id(&first), slot_id(&again));
    let second = world.open(2).await;
    assert_eq!(world.socket.ops(), [SHM, FDS, FDS], "the segment is used again");
    assert_eq!(
        world.socket.script.lock().accepted,
        2,
        "one belongs to the segment, the other is kept"
    );
    until(|| world.socket.script.lock().receipts == 2).await;
    let mut bytes = [0; 2000];
    second.data.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!((bytes, second.checksum.bytes_per_checksum), ([2; 2000], 512));
    assert_eq!((slot_id(&first).index, slot_id(&second).index), (0, 1));
    drop(first);
    assert_eq!(world.shm().slots, 2, "somebody else has it");
    drop(again);
    until(|| world.shm().slots == 1).await;
    assert_eq!(world.socket.ops(), [SHM, FDS, FDS, RELEASE]);
    assert_eq!(world.socket.script.lock().slots.len(), 1);
    assert_eq!(
        slot_id(&world.open(3).await).index,
        0,
        "confirmed: free for another replica"
    );
    drop(second);
    // The last slot of a segment takes it along, on both sides.
    until(|| world.shm() == ShmCounts::default() && world.socket.script.lock().segments.is_empty()).await;
    assert_eq!(world.reads.counts(), ShortCircuitCounts::default());
}

// covers: SC-07
#[tokio::test]
async fn the_same_id_in_two_pools_is_two_blocks() {
    let world = world(&[]);
    world.socket.put(1, "BP-2", &[9; 100]);
    let one = world.open(1).await;
    let Opened::Local(other) = world.reads.open(&located(1, "BP-2"), &info()).await else {
        panic!("not local");
    };
    assert_ne!(slot_id(&one), slot_id(&other));
    assert_eq!(world.socket.ops(), [SHM, FDS, FDS]);
}

/// A replica that missed an append or a truncation says so in its slot only if it has one, and only to its own DataNode's.
#[tokio::test]
async fn a_replica_serves_the_block_as_it_was_located_and_nothing_newer() {
    for pairs in [&[][..], &[NO_SHM]] {
        let world = world(pairs);
        let fds = || world.socket.ops().iter().filter(|op| **op == FDS).count();
        let open = async |stamp, nodes: &[&str]| {
            let mut block = located(1, POOL);
            block.b.generation_stamp = stamp;
            block.locs = nodes.iter().map(|name| node(name)).collect();
            let chosen = block.locs[0].clone();
            match world.reads.open(&block, &chosen).await {
                Opened::Local(replica) => replica,
                other => panic!("{other:?}"),
            }
        };
        let old = open(1001, &["dn"]).await;
        for (stamp, nodes, asked, owner) in [
            (1001, &["dn"][..], 1, "dn"),
            (1001, &["other", "dn"], 1, "dn"),
            (1002, &["other"], 2, "other"),
            // Located before the append: what is newer serves, wherever it is.
            (1001, &["dn"], 2, "other"),
            (1002, &["dn", "other"], 2, "other"),
            (1002, &["dn"], 3, "dn"),
            (1003, &["dn"], 4, "dn"),
        ] {
            let replica = open(stamp, nodes).await;
            assert_eq!((fds(), replica.node.as_str()), (asked, owner), "{stamp} {nodes:?}");
        }
        let mut bytes = [0; 10];
        old.data.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [1; 10], "whoever reads goes on");
        assert_eq!(world.reads.counts().replicas, 2);
    }
}

// covers: SC-19
#[tokio::test]
async fn a_slot_is_had_or_not_and_may_cost_the_connection() {
    let socket = ScriptedSocket::start();
    let clock = ManualClock::default();
    let manager = ShmManager::new("client-1", Arc::new(clock.clone())).unwrap();
    let key = BlockKey {
        block: 1,
        pool: POOL.into(),
    };
    let connect = async || Some(UnixStream::connect(&socket.path).await.unwrap());
    // Trouble: nothing is remembered.
    socket.instead(SHM, Instead::Close);
    socket.instead(SHM, Instead::TooFewFiles);
    for _ in 0..2 {
        assert!(
            manager
                .alloc_slot("dn", &socket.path, &mut connect().await, &key)
                .await
                .is_err()
        );
    }
    assert_eq!(manager.counts(), ShmCounts::default());
    let mut peer = connect().await;
    let made = manager.alloc_slot("dn", &socket.path, &mut peer, &key).await.unwrap();
    assert!(made.slot.is_some() && made.used_peer && peer.is_none());
    let mut peer = connect().await;
    let found = manager.alloc_slot("dn", &socket.path, &mut peer, &key).await.unwrap();
    assert!(found.slot.is_some() && !found.used_peer && peer.is_some());
    // Another DataNode has segments of its own, or none.
    for status in [proto::Status::ErrorUnsupported, proto::Status::Error] {
        let name = format!("{status:?}");
        socket.instead(SHM, Instead::Refuse(status, Some("no"), None));
        for _ in 0..2 {
            let none = manager.alloc_slot(&name, &socket.path, &mut peer, &key).await.unwrap();
            assert!(none.slot.is_none() && !none.used_peer && peer.is_some());
        }
    }
    assert_eq!(socket.ops(), [SHM; 5], "not asked again");
    assert_eq!(manager.counts().disabled, 1);
    // One that could not is asked again after a while, one that never can is not.
    for (advance, names, asked) in [
        (RETRY_AFTER - Duration::from_millis(1), ["ErrorUnsupported", "Error"], 5),
        (Duration::from_millis(1), ["ErrorUnsupported", "ErrorUnsupported"], 5),
        (
            Duration::from_secs(999_999),
            ["ErrorUnsupported", "ErrorUnsupported"],
            5,
        ),
        (Duration::ZERO, ["Error", "Error"], 6),
    ] {
        clock.advance(advance);
        for name in names {
            let mut peer = connect().await;
            let slot = manager
                .alloc_slot(name, &socket.path, &mut peer, &key)
                .await
                .unwrap()
                .slot;
            assert_eq!(slot.is_some(), asked == 6, "{name} after {advance:?}");
        }
        assert_eq!(socket.ops().len(), asked);
    }
}

// covers: SC-17, SC-41
#[tokio::test]
async fn more_replicas_than_slots_make_a_second_segment() {
    let world = world(&[KEEP_NONE]);
    let mut held = Vec::new();
    for block in 0..128 {
        held.push(world.open(block).await);
    }
    assert_eq!(slot_id(&held[127]).index, 127);
    assert_eq!((world.shm().not_full, world.shm().full), (0, 1));
    // Two that want the next one at a time share it.
    let (a, b) = tokio::join!(world.open(128), world.open(129));
    assert_ne!(slot_id(&a), slot_id(&b));
    assert_eq!((world.shm().not_full, world.shm().full, world.shm().slots), (1, 1, 130));
    assert_eq!(world.socket.ops().iter().filter(|op| **op == SHM).count(), 2);
    held.remove(5);
    until(|| world.shm().slots == 129).await;
    assert_eq!((world.shm().not_full, world.shm().full), (2, 0));
    assert_eq!(world.reads.counts().replicas, 129);
}

// covers: SC-20
#[tokio::test]
async fn a_slot_of_a_refused_request_is_free_at_once() {
    let refusals = [
        Instead::Refuse(proto::Status::Error, Some("no"), None),
        Instead::Refuse(proto::Status::ErrorUnsupported, Some("no"), Some(1)),
        Instead::Refuse(proto::Status::ErrorAccessToken, Some("no"), None),
    ];
    for instead in refusals {
        let world = world(&[("dfs.domain.socket.disable.interval.seconds", "0")]);
        let _kept = world.open(1).await;
        world.socket.instead(FDS, instead.clone());
        let opened = world.reads.open(&located(2, POOL), &info()).await;
        assert!(!matches!(opened, Opened::Local(_)), "{instead:?}: {opened:?}");
        assert_eq!(world.shm().slots, 1, "{instead:?}");
        assert_eq!(slot_id(&world.open(3).await).index, 1);
        assert!(!world.socket.ops().contains(&RELEASE), "{instead:?}");
    }
}

// covers: SC-20, SC-24
#[tokio::test]
async fn a_slot_of_an_unanswered_request_is_released_before_it_is_used_again() {
    // Whoever waits for no receipt has the slot registered; a connection that just ends leaves open whether it is.
    for (instead, is_registered) in [
        (Instead::TooFewFiles, true),
        (Instead::TooFewFiles, false),
        (Instead::Close, false),
    ] {
        let world = world(&[]);
        world.socket.script.lock().no_receipts = is_registered;
        let kept = world.open(1).await;
        world.socket.held.send_replace(RELEASE);
        world.socket.instead(FDS, instead.clone());
        let retried = world.open(2).await;
        assert_eq!(slot_id(&retried).index, 2, "{instead:?}: 1 may be in use");
        until(|| world.socket.ops().contains(&RELEASE)).await;
        assert_eq!(world.shm().slots, 3, "{instead:?}");
        world.socket.held.send_replace(0);
        until(|| world.shm().slots == 2).await;
        // The DataNode knew it, or the whole segment is given up.
        assert_eq!(is_valid(&kept), is_registered, "{instead:?}");
        assert_eq!(world.state(), PathState::Valid);
        let next = slot_id(&world.open(3).await);
        assert_eq!(next.shm == slot_id(&kept).shm, is_registered, "{instead:?}");
        assert_eq!(next.index, i32::from(is_registered), "{instead:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_slot_costs_the_segment_and_not_the_path() {
    for reason in [
        "slot 1 is already in use.",
        "slot 1 is not marked as valid.",
        "invalid slot index 1",
        "there is no shared memory segment registered with shmId 1",
    ] {
        let world = world(&[]);
        let kept = world.open(1).await;
        world
            .socket
            .instead(FDS, Instead::Refuse(proto::Status::Error, Some(reason), None));
        assert!(world.is_elsewhere(2).await, "{reason}");
        assert_eq!((world.state(), is_valid(&kept)), (PathState::Valid, false), "{reason}");
        assert_ne!(slot_id(&world.open(2).await).shm, slot_id(&kept).shm, "{reason}");
    }
}

// covers: SC-21, SC-27
#[tokio::test]
async fn a_data_node_that_hangs_holds_up_neither_readers_nor_the_cleaner() {
    let world = world(&[("dfs.client.read.shortcircuit.streams.cache.size", "1")]);
    world.socket.held.send_replace(RELEASE);
    let (a, b) = (world.open(1).await, world.open(2).await);
    drop(a);
    drop(b);
    // The first had to go; its release hangs.
    until(|| world.socket.ops().contains(&RELEASE)).await;
    assert_eq!(world.reads.counts().evictable, 1);
    until(|| world.clock.alarm_count() > 0).await;
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(75));
        until(|| world.clock.alarm_count() > 0).await;
    }
    until(|| world.reads.counts().replicas == 0).await;
    assert_eq!(world.shm().slots, 2, "neither is released");
    world.socket.held.send_replace(0);
    until(|| world.shm().slots == 0).await;
}

// covers: SC-24
#[tokio::test]
async fn a_release_that_fails_takes_the_whole_segment_along() {
    let failures = [
        Instead::Refuse(proto::Status::ErrorInvalid, Some("no such slot"), None),
        Instead::Refuse(proto::Status::Error, None, None),
        Instead::Close,
    ];
    for failure in failures {
        let world = world(&[KEEP_NONE]);
        let (a, b) = (world.open(1).await, world.open(2).await);
        world.socket.instead(RELEASE, failure.clone());
        drop(a);
        until(|| !is_valid(&b)).await;
        assert_eq!((world.shm().ended, world.shm().slots), (1, 1), "{failure:?}");
        // The DataNode learns of it, and the next replica has a new segment.
        until(|| world.socket.script.lock().segments.is_empty()).await;
        let again = world.open(2).await;
        assert_ne!(slot_id(&again).shm, slot_id(&b).shm);
        let mut bytes = [0; 10];
        b.data.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [2; 10], "whoever reads goes on");
        drop(b);
        until(|| world.shm().ended == 0).await;
        let releases = world.socket.ops().iter().filter(|op| **op == RELEASE).count();
        assert_eq!(
            releases, 1,
            "nobody is asked to release slots of a segment that is gone"
        );
    }
}

// covers: SC-22, SC-25
#[tokio::test]
async fn refusals_of_a_release_are_told_in_hadoops_form() {
    let socket = ScriptedSocket::start();
    let slot = SlotId {
        shm: ShmId::from_bits(1),
        index: 3,
    };
    for (text, expected) in [
        (Some("no such slot"), "ERROR_INVALID: no such slot"),
        (None, "ERROR_INVALID: (unknown)"),
    ] {
        socket.instead(RELEASE, Instead::Refuse(proto::Status::ErrorInvalid, text, None));
        let mut stream = UnixStream::connect(&socket.path).await.unwrap();
        let error = release_slot(&mut stream, slot).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

// covers: SC-26
#[tokio::test]
async fn failing_releases_leave_no_descriptor_behind() {
    let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let world = world(&[KEEP_NONE]);
    let mut before = 0;
    for round in 0..5000 {
        for _ in 0..2 {
            let failure = match round % 2 {
                0 => Instead::Close,
                _ => Instead::Refuse(proto::Status::Error, None, None),
            };
            world.socket.instead(RELEASE, failure);
            drop(world.open(1).await);
            until(|| world.shm() == ShmCounts::default()).await;
            until(|| world.socket.script.lock().segments.is_empty()).await;
        }
        world.socket.script.lock().owned.lock().clear();
        if round == 10 {
            before = open_files();
        }
    }
    until(|| open_files() <= before + 4).await;
}

// covers: SC-28, SC-29, SC-30
#[tokio::test]
async fn without_shared_memory_replicas_are_stale_when_they_are_old() {
    let refuse = Instead::Refuse(proto::Status::ErrorUnsupported, Some("no memory"), None);
    for (pairs, refusal, ops) in [(&[NO_SHM][..], None, &[FDS][..]), (&[], Some(refuse), &[SHM, FDS])] {
        let world = world(pairs);
        refusal
            .into_iter()
            .for_each(|refusal| world.socket.instead(SHM, refusal));
        let replica = world.open(1).await;
        assert!(replica.slot.is_none());
        assert_eq!(world.socket.ops(), ops);
        world.clock.advance(Duration::from_secs(1800));
        drop(world.open(1).await);
        assert_eq!(world.socket.ops(), ops, "old but good");
        world.clock.advance(Duration::from_millis(1));
        assert!(replica.is_stale());
        let fresh = world.open(1).await;
        assert_eq!(world.socket.ops(), [ops, &[FDS]].concat());
        drop(replica);
        assert_eq!(world.reads.counts().replicas, 1);
        assert!(!fresh.is_stale());
    }
    let world = world(&[]);
    let replica = world.open(1).await;
    world.clock.advance(Duration::from_secs(999_999));
    assert!(!replica.is_stale(), "with a slot, age does not matter");
}

// covers: SC-29
#[test]
fn a_manager_that_cannot_be_made_is_done_without() {
    // No runtime here on which sockets could be watched.
    assert!(ShmManager::new("client-1", Arc::new(ManualClock::default())).is_err());
    let settings = settings_of("/nowhere", &[]);
    let clock = Arc::new(ManualClock::default());
    let reads = ShortCircuit::new(&settings, "client-1", &Arc::default(), clock).unwrap();
    assert!(reads.manager.is_none());
}

// covers: SC-11, SC-33
#[tokio::test]
async fn a_slot_that_is_not_valid_any_more_ends_the_use_of_its_replica() {
    let world = world(&[]);
    let reading = world.open(1).await;
    drop(world.open(1).await);
    let segment = world.socket.script.lock().segments.values().next().cloned().unwrap();
    segment.slot(0).unwrap().word().make_invalid();
    let again = world.open(1).await;
    assert_eq!(world.socket.ops(), [SHM, FDS, FDS]);
    assert_ne!(slot_id(&reading), slot_id(&again));
    // The one who reads is not disturbed; then its files close and its slot is released.
    assert_eq!(world.reads.counts().replicas, 2);
    let mut bytes = [0; 10];
    reading.data.read_exact_at(&mut bytes, 0).unwrap();
    drop(reading);
    until(|| world.socket.ops().contains(&RELEASE) && world.shm().slots == 1).await;
    assert_eq!(world.reads.counts().replicas, 1);
}

#[tokio::test]
async fn the_end_of_a_segments_socket_ends_its_slots() {
    let world = world(&[]);
    let replica = world.open(1).await;
    assert!(is_valid(&replica));
    world.socket.end_segments();
    until(|| replica.is_stale()).await;
    assert_eq!((world.shm().ended, world.shm().slots), (1, 1));
    drop(replica);
    until(|| world.shm() == ShmCounts::default()).await;
    assert!(!world.socket.ops().contains(&RELEASE));
}

#[tokio::test]
async fn a_client_that_goes_closes_everything() {
    let world = world(&[]);
    drop(world.open(1).await);
    assert_eq!(world.socket.script.lock().segments.len(), 1);
    drop(world.reads);
    until(|| world.socket.script.lock().segments.is_empty()).await;
}

// covers: SC-39
#[tokio::test]
async fn what_goes_wrong_is_remembered_as_long_as_it_should_be() {
    use proto::Status::{Error, ErrorAccessToken, ErrorUnsupported};
    let refuse = |status, version| vec![Instead::Refuse(status, Some("scripted"), version)];
    for (instead, state) in [
        (refuse(ErrorUnsupported, None), PathState::ShortCircuitDisabled),
        (refuse(ErrorUnsupported, Some(1)), PathState::Valid),
        (refuse(Error, None), PathState::Valid),
        (vec![Instead::Close], PathState::Unusable),
        (vec![Instead::TooFewFiles], PathState::Unusable),
    ] {
        let world = world(&[NO_SHM]);
        instead.iter().for_each(|what| world.socket.instead(FDS, what.clone()));
        assert!(world.is_elsewhere(1).await, "{instead:?}");
        assert_eq!(world.state(), state, "{instead:?}");
        let asked = world.socket.ops().len();
        assert_eq!(world.is_elsewhere(1).await, state != PathState::Valid);
        assert_eq!(world.socket.ops().len() - asked, usize::from(state == PathState::Valid));
        world.clock.advance(Duration::from_secs(600));
        drop(world.open(1).await);
    }
    // One replica that is missing is no reason to leave the DataNode alone, many in a row are.
    let refusing = world(&[NO_SHM]);
    for block in 0..20 {
        refusing
            .socket
            .instead(FDS, Instead::Refuse(Error, Some("no such replica"), None));
        assert!(refusing.is_elsewhere(block).await);
    }
    assert_eq!(
        (refusing.socket.ops().len(), refusing.state()),
        (8, PathState::ShortCircuitDisabled)
    );
    // A kept connection may just be old: a new one is tried before the path is given up.
    let broken = world(&[NO_SHM]);
    drop(broken.open(1).await);
    broken.socket.instead(FDS, Instead::Close);
    drop(broken.open(2).await);
    assert_eq!((broken.socket.ops(), broken.state()), (vec![FDS; 3], PathState::Valid));
    // A token is the reader's business.
    broken
        .socket
        .instead(FDS, Instead::Refuse(ErrorAccessToken, Some("expired"), None));
    let opened = broken.reads.open(&located(3, POOL), &info()).await;
    assert!(
        matches!(&opened, Opened::Token(text) if text.ends_with("3_BP-1: expired")),
        "{opened:?}"
    );
    assert_eq!(broken.state(), PathState::Valid);
    // Nobody listens; the DataNode is elsewhere.
    let gone = world(&[("dfs.domain.socket.path", "/nowhere/dn")]);
    assert!(gone.is_elsewhere(1).await);
    assert_eq!(gone.reads.paths.state(Path::new("/nowhere/dn")), PathState::Unusable);
    let far = world(&[]);
    let mut node = info();
    node.id.ip_addr = "192.0.2.7".to_owned();
    assert!(matches!(
        far.reads.open(&located(1, POOL), &node).await,
        Opened::Elsewhere
    ));
    assert!(far.socket.ops().is_empty());
}

#[tokio::test]
async fn a_loader_that_is_dropped_makes_way_for_the_next() {
    let world = world(&[]);
    world.socket.held.send_replace(FDS);
    let block = located(1, POOL);
    let node = info();
    {
        let loading = std::pin::pin!(world.reads.open(&block, &node));
        let asked = until(|| world.socket.ops().contains(&FDS));
        tokio::select! {
            biased;
            _ = loading => panic!("it is held"),
            () = asked => {}
        }
    }
    // The DataNode may yet register the slot: it is released first, of which the DataNode knows nothing so far.
    until(|| world.socket.ops().contains(&RELEASE)).await;
    until(|| world.shm() == ShmCounts::default()).await;
    world.socket.held.send_replace(0);
    drop(world.open(1).await);
}

// covers: SC-34, SC-35, SC-37
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_mapping_serves_all() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let world = world_with(&[], |file, len| {
        CALLS.fetch_add(1, Ordering::Relaxed);
        MappedFile::new(file, len)
    });
    let replica = Arc::new(world.open(1).await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let replica = Arc::clone(&replica);
        tasks.spawn(async move { replica.mapped(2000).await.unwrap() });
    }
    let maps = tasks.join_all().await;
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    assert!(
        maps.iter()
            .all(|map| Arc::ptr_eq(map, &maps[0]) && map.bytes() == [1; 2000])
    );
    assert_eq!(world.reads.counts().mappings, 1);
    drop((maps, replica));
    // It stays mapped for the next one.
    assert_eq!(
        (world.reads.counts().evictable, world.reads.counts().evictable_mapped),
        (0, 1)
    );
    drop(world.open(1).await.mapped(2000).await.unwrap());
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    world.clock.advance(Duration::from_secs(3600));
    until(|| world.reads.counts().mappings == 0).await;
}

// covers: SC-36
#[tokio::test]
async fn a_mapping_that_failed_is_not_tried_again_for_a_while() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let world = world_with(&[], |_, _| {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Err(io::ErrorKind::OutOfMemory.into())
    });
    let replica = world.open(1).await;
    for (advance, calls) in [(0, 1), (299, 1), (1, 2), (0, 2), (300, 3)] {
        world.clock.advance(Duration::from_secs(advance));
        assert!(replica.mapped(2000).await.is_none());
        assert_eq!(CALLS.load(Ordering::Relaxed), calls, "after {advance} s more");
    }
    assert_eq!(world.reads.counts().mappings, 0);
}

// covers: SC-40
#[tokio::test]
async fn releases_are_traced_with_the_cache_and_failures_say_what_is_closed() {
    #[derive(Clone, Default)]
    struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = world(&[KEEP_NONE]);
    let kept = world.open(1).await;
    let name = slot_id(&kept).to_string();
    drop(kept);
    until(|| world.shm() == ShmCounts::default()).await;
    world.socket.instead(RELEASE, Instead::Close);
    drop(world.open(2).await);
    until(|| world.shm() == ShmCounts::default()).await;
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    let has = |parts: &[&str]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(
        has(&["TRACE", "about to release", "client-1", &name, "1_BP-1"]),
        "{text}"
    );
    assert!(has(&["TRACE", " released", "client-1", &name]), "{text}");
    assert!(
        has(&["TRACE", "purged", "1_BP-1"]) || has(&["TRACE", "purged", "\"BP-1\""]),
        "{text}"
    );
    let path = world.socket.path.to_str().unwrap();
    assert!(
        has(&["ERROR", "Closing shared memory segment", "SlotId(", path]),
        "{text}"
    );
}
