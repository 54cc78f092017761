//! The replica store on a temporary directory: life of replicas, partial chunks, restart, damage.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_replica::*;
use hadron_types::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const POOL: &str = "BP-1-127.0.0.1-1700000000000";
const CHUNK: u32 = 512;

fn format() -> ChunkFormat {
    ChunkFormat::new(ChecksumType::Crc32c, CHUNK).unwrap()
}

fn identity() -> PoolIdentity {
    PoolIdentity {
        pool: POOL.into(),
        cluster_id: "CID-1".into(),
        namespace_id: 7,
        ctime: 0,
    }
}

fn block(id: i64, stamp: u64, len: u64) -> ExtendedBlock {
    ExtendedBlock {
        pool: POOL.into(),
        block: Block {
            id: BlockId(id),
            generation_stamp: GenerationStamp(stamp),
            len,
        },
    }
}

fn open_store(dirs: &[&Path]) -> ReplicaStore {
    let specs: Vec<_> = dirs
        .iter()
        .map(|dir| VolumeSpec {
            dir: dir.to_path_buf(),
            storage_type: StorageType::Disk,
            reserve: Reserve::NONE,
        })
        .collect();
    let store = ReplicaStore::open(&specs, StoreOptions::default()).unwrap();
    store.attach_pool(&identity()).unwrap();
    store
}

fn new_replica() -> NewReplica<'static> {
    NewReplica {
        format: format(),
        storage_type: None,
        storage_id: None,
        interrupt: Arc::new(|| {}),
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

/// Writes `data[from..to]` as one packet with its checksums.
fn put(writer: &mut ReplicaWriter, data: &[u8], from: usize, to: usize) -> ReplicaResult<u64> {
    let mut sums = Vec::new();
    format().append_sums(&data[from..to], &mut sums);
    let packet = Packet {
        offset: from as u64,
        sums: &sums,
        data: &data[from..to],
    };
    writer.write(&[packet], format())
}

fn read_back(store: &ReplicaStore, block: &ExtendedBlock, len: usize) -> Vec<u8> {
    let reader = store.open_for_read(block, 0, Duration::ZERO).unwrap();
    let mut data = vec![0; len];
    reader.read_data(&mut data, 0).unwrap();
    let mut sums = vec![0; format().sums_len(len)];
    reader.read_sums(&mut sums, 0).unwrap();
    assert_eq!(reader.format().verify(&data, &sums), Ok(()), "checksums of {len} bytes");
    data
}

fn finalized_path(dir: &Path, id: i64) -> PathBuf {
    let base = dir.join("current").join(POOL).join("current/finalized");
    base.join(layout::finalized_dir(BlockId(id))).join(format!("blk_{id}"))
}

fn write_block(store: &ReplicaStore, block: &ExtendedBlock, data: &[u8]) {
    let mut writer = store.create_rbw(block, new_replica()).unwrap();
    put(&mut writer, data, 0, data.len()).unwrap();
    writer.finalize(Some(data.len() as u64)).unwrap();
}

/// Deletes and waits until the files are gone; gives how many there were.
fn invalidate(store: &ReplicaStore, block: &ExtendedBlock) -> usize {
    let (tell, told) = std::sync::mpsc::channel();
    let done: DeletionHook = Arc::new(move |replica| {
        let _ = tell.send(replica);
    });
    let count = store.invalidate(&POOL.into(), &[block.block], &done).unwrap();
    for _ in 0..count {
        let gone = told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(gone.block.id, block.block.id);
    }
    count
}

fn reported(store: &ReplicaStore) -> Vec<(i64, u64, u64, ReplicaState)> {
    let mut all: Vec<_> = store
        .block_report(&POOL.into())
        .unwrap()
        .into_iter()
        .flat_map(|storage| storage.replicas)
        .map(|r| (r.block.id.0, r.block.generation_stamp.0, r.block.len, r.state))
        .collect();
    all.sort_by_key(|r| r.0);
    all
}

#[test]
fn a_block_is_written_finalized_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&[dir.path()]);
    let data = bytes(200_000);
    let b = block(1073741825, 1001, 0);
    let mut writer = store.create_rbw(&b, new_replica()).unwrap();
    let acks = writer.ack_handle();
    put(&mut writer, &data, 0, 64512).unwrap();
    assert_eq!(store.visible_len(&b).unwrap(), 0, "nothing acked yet");
    acks.acked(64512);
    assert_eq!(store.visible_len(&b).unwrap(), 64512);
    acks.acked(100_000);
    assert_eq!(store.visible_len(&b).unwrap(), 64512, "acked never passes on-disk");
    put(&mut writer, &data, 64512, 200_000).unwrap();
    assert!(matches!(
        writer.finalize(Some(5)),
        Err(ReplicaError::WrongLength { .. })
    ));
    // The writer is gone; a recovered pipeline closes the block.
    acks.acked(200_000);
    let done = store.recover_close(&b, GenerationStamp(1002), 200_000).unwrap();
    assert_eq!(done.block.generation_stamp, GenerationStamp(1002));
    assert_eq!(reported(&store), [(1073741825, 1002, 200_000, ReplicaState::Finalized)]);
    assert_eq!(read_back(&store, &b, data.len()), data);
    let path = finalized_path(dir.path(), 1073741825);
    assert_eq!(fs::read(&path).unwrap(), data);
    assert!(path.with_file_name("blk_1073741825_1002.meta").exists());
    let newer = block(1073741825, 1003, 0);
    assert!(matches!(
        store.open_for_read(&newer, 0, Duration::ZERO),
        Err(ReplicaError::WrongStamp { .. })
    ));
}

#[test]
fn packets_follow_the_partial_chunk_rules() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&[dir.path()]);
    let data = bytes(5000);
    // Ranges as a client sends them around flushes: resent partial chunks, unaligned continuations, duplicates.
    let histories: &[&[(usize, usize)]] = &[
        &[(0, 100), (0, 700), (512, 1024), (1024, 5000)],
        &[(0, 100), (100, 300), (300, 512), (512, 5000)],
        &[(0, 1000), (0, 1000), (512, 2000), (1536, 5000)],
        &[(0, 1), (0, 2), (0, 3), (2, 512), (512, 5000)],
        &[(0, 600), (600, 1024), (600, 1024), (1024, 5000)],
        &[(0, 5000)],
    ];
    for (i, history) in histories.iter().enumerate() {
        let b = block(100 + i as i64, 1001, 0);
        let mut writer = store.create_rbw(&b, new_replica()).unwrap();
        let acks = writer.ack_handle();
        for (from, to) in *history {
            let len = put(&mut writer, &data, *from, *to).unwrap();
            acks.acked(len);
            assert_eq!(read_back(&store, &b, len as usize), data[..len as usize], "{history:?}");
        }
        writer.finalize(Some(5000)).unwrap();
        assert_eq!(read_back(&store, &b, 5000), data);
        // One call with all packets takes the gathering path.
        let b = block(200 + i as i64, 1001, 0);
        let mut writer = store.create_rbw(&b, new_replica()).unwrap();
        let sums: Vec<Vec<u8>> = history
            .iter()
            .map(|(from, to)| {
                let mut sums = Vec::new();
                format().append_sums(&data[*from..*to], &mut sums);
                sums
            })
            .collect();
        let packets: Vec<_> = history
            .iter()
            .zip(&sums)
            .map(|((from, to), sums)| Packet {
                offset: *from as u64,
                sums,
                data: &data[*from..*to],
            })
            .collect();
        assert_eq!(writer.write(&packets, format()).unwrap(), 5000);
        writer.finalize(Some(5000)).unwrap();
        assert_eq!(read_back(&store, &b, 5000), data, "{history:?}");
    }
}

#[test]
fn malformed_packets_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&[dir.path()]);
    let data = bytes(5000);
    let b = block(1, 1001, 0);
    let mut writer = store.create_rbw(&b, new_replica()).unwrap();
    put(&mut writer, &data, 0, 700).unwrap();
    assert!(put(&mut writer, &data, 701, 800).is_err(), "gap");
    assert!(put(&mut writer, &data, 600, 1200).is_err(), "leaves its chunk");
    let packet = Packet {
        offset: 512,
        sums: &[1, 2, 3],
        data: &data[512..1024],
    };
    assert!(writer.write(&[packet], format()).is_err(), "checksum count");
    let huge = Packet {
        offset: u64::MAX,
        sums: &[],
        data: &data,
    };
    assert!(writer.write(&[huge], format()).is_err());
    assert_eq!(writer.len(), 700);
}

#[test]
fn other_formats_are_recomputed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&[dir.path()]);
    let data = bytes(3000);
    let b = block(1, 1001, 0);
    let mut writer = store.create_rbw(&b, new_replica()).unwrap();
    let other = ChunkFormat::new(ChecksumType::Crc32, 1000).unwrap();
    for (from, to) in [(0, 1500), (1500, 2000), (2000, 3000)] {
        let mut sums = Vec::new();
        other.append_sums(&data[from..to], &mut sums);
        let packet = Packet {
            offset: from as u64,
            sums: &sums,
            data: &data[from..to],
        };
        writer.write(&[packet], other).unwrap();
    }
    let missing = Packet {
        offset: 3000,
        sums: &[],
        data: &data[..10],
    };
    writer.write(&[missing], ChunkFormat::NONE).unwrap();
    writer.finalize(None).unwrap();
    assert_eq!(read_back(&store, &b, 3010)[..3000], data);
}

#[test]
fn restart_keeps_finalized_turns_rbw_into_rwr_and_drops_temporary() {
    let (before, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = bytes(3000);
    {
        let store = open_store(&[before.path()]);
        write_block(&store, &block(1, 1001, 0), &data);
        let mut open = store.create_rbw(&block(2, 1002, 0), new_replica()).unwrap();
        put(&mut open, &data, 0, 700).unwrap();
        let mut copy = store.create_temporary(&block(3, 1003, 0), new_replica()).unwrap();
        put(&mut copy, &data, 0, 3000).unwrap();
        assert_eq!(
            reported(&store),
            [
                (1, 1001, 3000, ReplicaState::Finalized),
                (2, 1002, 700, ReplicaState::Rbw)
            ],
            "temporary replicas are not reported"
        );
        copy_tree(before.path(), dir.path()); // what kill -9 would leave
    }
    let tmp = dir.path().join("current").join(POOL).join("tmp");
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 2);
    let store = open_store(&[dir.path()]);
    assert_eq!(
        reported(&store),
        [
            (1, 1001, 3000, ReplicaState::Finalized),
            (2, 1002, 700, ReplicaState::Rwr)
        ]
    );
    assert_eq!(store.visible_len(&block(2, 1002, 0)).unwrap(), -1);
    assert!(store.open_for_read(&block(2, 1002, 0), 0, Duration::ZERO).is_err());
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_torn_tail_is_cut_to_what_checksums_vouch_for() {
    // What lies on disk after 700 bytes were acked, and what a crash added; the length that must come back.
    type Damage = fn(&Path, &Path);
    let cases: &[(&str, Damage, u64)] = &[
        ("nothing", |_, _| {}, 700),
        (
            "data of the same chunk without its checksum",
            |data, _| append(data, &[9; 50]),
            700,
        ),
        (
            "data of many chunks without checksums",
            |data, _| append(data, &[9; 3000]),
            700,
        ),
        ("checksums without data", |_, meta| append(meta, &[1; 40]), 700),
        ("half a checksum", |_, meta| append(meta, &[1; 2]), 700),
        ("no data at all", |data, _| fs::write(data, b"").unwrap(), 0),
        ("an empty meta file", |_, meta| fs::write(meta, b"").unwrap(), 0),
        ("no meta file", |_, meta| fs::remove_file(meta).unwrap(), 0),
    ];
    for (name, damage, want) in cases {
        let dir = tempfile::tempdir().unwrap();
        let data = bytes(700);
        {
            let store = open_store(&[dir.path()]);
            let mut writer = store.create_rbw(&block(2, 1002, 0), new_replica()).unwrap();
            put(&mut writer, &data, 0, 700).unwrap();
        }
        let rbw = dir.path().join("current").join(POOL).join("current/rbw");
        damage(&rbw.join("blk_2"), &rbw.join("blk_2_1002.meta"));
        let store = open_store(&[dir.path()]);
        let found = reported(&store);
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0].2, *want, "{name}");
        // Data without a usable meta file is not vouched for, but not destroyed either.
        let kept = if name.contains("meta file") { 700 } else { found[0].2 };
        assert_eq!(fs::metadata(rbw.join("blk_2")).unwrap().len(), kept, "{name}");
    }
}

fn append(path: &Path, more: &[u8]) {
    let mut all = fs::read(path).unwrap();
    all.extend_from_slice(more);
    fs::write(path, all).unwrap();
}

#[test]
fn a_replica_caught_between_two_renames_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = bytes(700);
    {
        let store = open_store(&[dir.path()]);
        write_block(&store, &block(2, 1002, 0), &data);
    }
    let place = finalized_path(dir.path(), 2);
    let rbw = dir.path().join("current").join(POOL).join("current/rbw");
    fs::rename(&place, rbw.join("blk_2")).unwrap();
    let store = open_store(&[dir.path()]);
    assert_eq!(reported(&store), [(2, 1002, 700, ReplicaState::Rwr)]);
    assert!(rbw.join("blk_2_1002.meta").exists());
}

#[test]
fn pipelines_are_recovered_only_within_their_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&[dir.path()]);
    let data = bytes(3000);
    let quiet: Interrupt = Arc::new(|| {});
    let b = block(5, 1001, 0);
    let mut writer = store.create_rbw(&b, new_replica()).unwrap();
    put(&mut writer, &data, 0, 1300).unwrap();
    writer.ack_handle().acked(1100);
    drop(writer);
    let to = GenerationStamp(1002);
    let recover = |stamp: u64, to, min, max| store.recover_rbw(&block(5, stamp, 0), to, min, max, quiet.clone());
    assert!(
        recover(1001, to, 1200, 2000).is_err(),
        "fewer bytes acked than the client knows"
    );
    assert!(recover(1001, to, 0, 1200).is_err(), "more bytes than the client sent");
    assert!(recover(1002, to, 0, 2000).is_err(), "replica too old");
    assert!(
        recover(1000, GenerationStamp(1000), 0, 2000).is_err(),
        "replica too new"
    );
    let mut writer = recover(1001, to, 1000, 2000).unwrap();
    assert_eq!(writer.len(), 1100, "bytes never acked are cut");
    put(&mut writer, &data, 1024, 3000).unwrap();
    writer.ack_handle().acked(3000);
    assert!(
        store
            .append(&block(5, 1002, 0), to.next(), 3000, quiet.clone())
            .is_err(),
        "still open"
    );
    writer.finalize(Some(3000)).unwrap();
    assert_eq!(read_back(&store, &b, 3000), data);

    assert!(
        store
            .append(&block(5, 1002, 0), to.next(), 2999, quiet.clone())
            .is_err(),
        "length"
    );
    let mut writer = store
        .append(&block(5, 1002, 0), to.next(), 3000, quiet.clone())
        .unwrap();
    let longer = bytes(4000);
    put(&mut writer, &longer, 3000, 3072).unwrap();
    put(&mut writer, &longer, 3072, 4000).unwrap();
    writer.ack_handle().acked(4000);
    drop(writer);
    let done = store
        .recover_append(&block(5, 1003, 0), GenerationStamp(1004), 4000, quiet)
        .unwrap();
    done.finalize(Some(4000)).unwrap();
    assert_eq!(read_back(&store, &block(5, 1004, 0), 4000), longer);
    assert_eq!(reported(&store), [(5, 1004, 4000, ReplicaState::Finalized)]);
}

#[test]
fn readers_from_before_an_append_keep_the_checksum_of_their_last_chunk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&[dir.path()]);
    let data = bytes(1000);
    let check = |reader: &ReplicaReader, len: usize| {
        assert_eq!(reader.readable_len(), len as u64);
        let (mut got, mut sums) = (vec![0; len], vec![0; format().sums_len(len)]);
        reader.read_data(&mut got, 0).unwrap();
        reader.read_sums(&mut sums, 0).unwrap();
        assert_eq!(format().verify(&got, &sums), Ok(()), "{:?}", reader.state());
    };
    write_block(&store, &block(1, 1001, 0), &data[..700]);
    let finished = store.open_for_read(&block(1, 1001, 0), 0, Duration::ZERO).unwrap();
    let to = GenerationStamp(1002);
    let mut writer = store.append(&block(1, 1001, 0), to, 700, Arc::new(|| {})).unwrap();
    let reopened = store.open_for_read(&block(1, 1001, 0), 0, Duration::ZERO).unwrap();
    put(&mut writer, &data, 700, 1000).unwrap();
    check(&finished, 700);
    check(&reopened, 700);
    writer.finalize(Some(1000)).unwrap();
    check(&finished, 700);
    check(&reopened, 700);
    assert_eq!(read_back(&store, &block(1, 1002, 0), 1000), data);
}

/// The client lost the last ack and closes again while the old writer still moves the files.
#[test]
fn a_close_that_meets_a_finalizing_writer_finds_the_finalized_replica() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open_store(&[dir.path()]));
    let data = bytes(700);
    let (told, interrupted) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let new = NewReplica {
        interrupt: Arc::new(move || told.lock().unwrap().send(()).unwrap()),
        ..new_replica()
    };
    let mut writer = store.create_rbw(&block(1, 1001, 0), new).unwrap();
    put(&mut writer, &data, 0, 700).unwrap();
    writer.ack_handle().acked(700);
    let closing = {
        let store = store.clone();
        std::thread::spawn(move || store.recover_close(&block(1, 1001, 0), GenerationStamp(1002), 700))
    };
    interrupted.recv().unwrap();
    writer.finalize(Some(700)).unwrap();
    let closed = closing.join().unwrap().unwrap();
    assert_eq!(
        (closed.block.generation_stamp, closed.block.len),
        (GenerationStamp(1002), 700)
    );
    assert_eq!(read_back(&store, &block(1, 1002, 0), 700), data);
    assert_eq!(reported(&store), [(1, 1002, 700, ReplicaState::Finalized)]);
    // An invalidation under the old stamp no longer means it.
    assert_eq!(invalidate(&store, &block(1, 1001, 0)), 0);
}

#[test]
fn a_block_exists_once_and_a_newer_copy_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&[dir.path()]);
    let exists = |result: ReplicaResult<ReplicaWriter>| matches!(result, Err(ReplicaError::AlreadyExists { .. }));
    write_block(&store, &block(1, 1001, 0), b"x");
    assert!(exists(store.create_rbw(&block(1, 1002, 0), new_replica())));
    assert!(exists(store.create_temporary(&block(1, 1001, 0), new_replica())));
    let mut copy = store.create_temporary(&block(1, 1002, 0), new_replica()).unwrap();
    put(&mut copy, b"xyz", 0, 3).unwrap();
    copy.finalize(Some(3)).unwrap();
    assert_eq!(reported(&store), [(1, 1002, 3, ReplicaState::Finalized)]);
    let open = store.create_rbw(&block(2, 1001, 0), new_replica()).unwrap();
    assert!(exists(store.create_rbw(&block(2, 1002, 0), new_replica())));
    assert!(exists(store.create_temporary(&block(2, 1001, 0), new_replica())));
    drop(open);
    let mut copy = store.create_temporary(&block(2, 1002, 0), new_replica()).unwrap();
    put(&mut copy, b"hello", 0, 5).unwrap();
    copy.adopt(5).unwrap();
    assert_eq!(store.visible_len(&block(2, 1002, 0)).unwrap(), 5);
    let copy = store.create_temporary(&block(3, 1002, 0), new_replica()).unwrap();
    drop(copy);
    assert_eq!(store.state(&block(3, 0, 0)), None, "an unfinished copy leaves nothing");
    let unknown = ExtendedBlock {
        pool: "BP-../..".into(),
        ..block(9, 1, 0)
    };
    assert!(matches!(
        store.create_rbw(&unknown, new_replica()),
        Err(ReplicaError::UnknownPool(_))
    ));
}

/// Clients keep descriptors of finished replicas; those that were reopened and then replaced must be told, too.
#[test]
fn whoever_keeps_an_appended_replica_open_hears_that_it_was_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&[dir.path()]);
    let gone: Arc<std::sync::Mutex<Vec<BlockId>>> = Arc::default();
    let heard = gone.clone();
    store.on_gone(Arc::new(move |_, id| heard.lock().unwrap().push(id)));
    write_block(&store, &block(1, 10, 0), &bytes(700));
    let (to, interrupt): (_, Interrupt) = (GenerationStamp(11), Arc::new(|| {}));
    drop(store.append(&block(1, 10, 700), to, 700, interrupt).unwrap());
    assert!(gone.lock().unwrap().is_empty(), "an append takes nothing away");
    let newer = block(1, 12, 0);
    let mut writer = store.create_temporary(&newer, new_replica()).unwrap();
    assert_eq!(*gone.lock().unwrap(), [BlockId(1)]);
    put(&mut writer, &bytes(900), 0, 900).unwrap();
    writer.finalize(Some(900)).unwrap();
    assert_eq!(read_back(&store, &block(1, 12, 900), 900), bytes(900));
}

#[test]
fn invalidated_replicas_are_gone_at_once_and_their_writers_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&[dir.path()]);
    write_block(&store, &block(1, 1005, 0), &bytes(1000));
    let reader = store.open_for_read(&block(1, 1005, 0), 0, Duration::ZERO).unwrap();
    assert_eq!(invalidate(&store, &block(1, 1004, 0)), 0);
    assert_eq!(invalidate(&store, &block(1, 1005, 0)), 1);
    assert_eq!(store.state(&block(1, 0, 0)), None);
    assert!(!finalized_path(dir.path(), 1).exists());
    let mut still = vec![0; 1000];
    reader.read_data(&mut still, 0).unwrap();
    assert_eq!(still, bytes(1000), "an open reader goes on");
    write_block(&store, &block(1, 1005, 0), b"again");
    assert_eq!(read_back(&store, &block(1, 1005, 0), 5), b"again");

    let (stop, stopped) = std::sync::mpsc::channel();
    let interrupt: Interrupt = Arc::new(move || {
        let _ = stop.send(());
    });
    let mut writer = store
        .create_rbw(
            &block(2, 1001, 0),
            NewReplica {
                interrupt,
                ..new_replica()
            },
        )
        .unwrap();
    std::thread::scope(|scope| {
        let deleting = scope.spawn(|| invalidate(&store, &block(2, 1001, 0)));
        stopped.recv().unwrap();
        assert!(matches!(put(&mut writer, b"late", 0, 4), Err(ReplicaError::Stopped(_))));
        drop(writer);
        assert_eq!(deleting.join().unwrap(), 1);
    });
    assert_eq!(reported(&store).len(), 1);
}

#[test]
fn volumes_take_turns_are_locked_and_must_fit_together() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open_store(&[a.path(), b.path()]);
    for id in 1..=4 {
        write_block(&store, &block(id, 1001, 0), b"abc");
    }
    let report = store.block_report(&POOL.into()).unwrap();
    assert_eq!(report.iter().map(|s| s.replicas.len()).collect::<Vec<_>>(), [2, 2]);
    assert_ne!(report[0].storage_id, report[1].storage_id);
    let space = store.storage_reports(&POOL.into(), true);
    assert_eq!(space[0].usage.pool_used, 2 * (3 + 11));
    assert!(space[0].usage.capacity >= space[0].usage.remaining);
    let spec = |dir: &Path| VolumeSpec {
        dir: dir.to_owned(),
        storage_type: StorageType::Disk,
        reserve: Reserve::NONE,
    };
    assert!(matches!(
        ReplicaStore::open(&[spec(a.path())], StoreOptions::default()),
        Err(ReplicaError::Locked(_))
    ));
    let other = PoolIdentity {
        cluster_id: "CID-2".into(),
        ..identity()
    };
    assert!(store.attach_pool(&other).is_err());
    assert!(store.attach_pool(&identity()).is_ok());
    store.close(5);
    drop(store);
    let used = a.path().join("current").join(POOL).join("current/dfsUsed");
    assert_eq!(fs::read_to_string(used).unwrap(), "28 5");
    let c = tempfile::tempdir().unwrap();
    drop(open_store(&[c.path()]));
    assert!(matches!(
        ReplicaStore::open(&[spec(a.path()), spec(c.path())], StoreOptions::default()),
        Err(ReplicaError::Incompatible { .. })
    ));
    let full = VolumeSpec {
        reserve: Reserve::of(u64::MAX),
        ..spec(c.path())
    };
    let store = ReplicaStore::open(&[full], StoreOptions::default()).unwrap();
    store.attach_pool(&identity()).unwrap();
    assert!(matches!(
        store.create_rbw(&block(9, 1001, 0), new_replica()),
        Err(ReplicaError::NoSpace { .. })
    ));
}

#[test]
fn blocks_in_directories_of_another_layout_are_found() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open_store(&[dir.path()]);
        write_block(&store, &block(1073807617, 1001, 0), b"old place");
    }
    let place = finalized_path(dir.path(), 1073807617);
    let old = dir
        .path()
        .join("current")
        .join(POOL)
        .join("current/finalized/subdir200/subdir201");
    fs::create_dir_all(&old).unwrap();
    for name in ["blk_1073807617", "blk_1073807617_1001.meta"] {
        fs::rename(place.with_file_name(name), old.join(name)).unwrap();
    }
    let store = open_store(&[dir.path()]);
    let b = block(1073807617, 1001, 0);
    assert_eq!(read_back(&store, &b, 9), b"old place");
    assert_eq!(invalidate(&store, &b), 1);
    assert_eq!(fs::read_dir(&old).unwrap().count(), 0);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    /// A process killed inside any write leaves the data of that write in part and none of its checksums.
    #[test]
    fn acked_bytes_survive_a_kill_in_the_middle_of_any_write(
        steps in proptest::collection::vec((1usize..1500, 0usize..3), 1..8),
        cut in 0usize..1500,
    ) {
        let root = tempfile::tempdir().unwrap();
        let data = bytes(12_000);
        let b = block(2, 1001, 0);
        let place = |dir: &Path| dir.join("current").join(POOL).join("current/rbw");
        let live = root.path().join("live");
        let store = open_store(&[&live]);
        let mut writer = store.create_rbw(&b, new_replica()).unwrap();
        for (i, (grow, kind)) in steps.iter().enumerate() {
            let acked = writer.len() as usize;
            // From the unfinished chunk's start, or (only up to its end) from where the data ends.
            let (from, to) = match kind {
                0 if !acked.is_multiple_of(512) => (acked, (acked + grow).min(acked.next_multiple_of(512))),
                _ => (acked - acked % 512, acked + grow),
            };
            let dead = root.path().join(format!("dead{i}"));
            copy_tree(&live, &dead);
            put(&mut writer, &data, from, to).unwrap();
            let torn = (acked + cut).min(to);
            fs::write(place(&dead).join("blk_2"), &data[..torn]).unwrap();
            let again = open_store(&[&dead]);
            let found = reported(&again)[0].2 as usize;
            assert!((acked..=torn).contains(&found), "{found} of {acked} acked, {torn} there");
            let kept = fs::read(place(&dead).join("blk_2")).unwrap();
            assert_eq!(kept, data[..found]);
            let meta = fs::read(place(&dead).join("blk_2_1001.meta")).unwrap();
            assert_eq!(meta.len() as u64, format().meta_len(found as u64));
            assert_eq!(format().verify(&kept, &meta[7..]), Ok(()));
        }
    }
}
