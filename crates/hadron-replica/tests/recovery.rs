//! Block recovery of one replica: every state against both calls, fencing by stamps and ids, cuts, copies, restarts.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_replica::*;
use hadron_types::ReplicaState::{Finalized, Rbw, Rwr};
use hadron_types::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const POOL: &str = "BP-1-127.0.0.1-1700000000000";
const ID: i64 = 1_073_741_825;

fn format() -> ChunkFormat {
    ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap()
}

fn block(stamp: u64, len: u64) -> ExtendedBlock {
    ExtendedBlock {
        pool: POOL.into(),
        block: Block {
            id: BlockId(ID),
            generation_stamp: GenerationStamp(stamp),
            len,
        },
    }
}

fn open(dir: &Path) -> ReplicaStore {
    let spec = VolumeSpec {
        dir: dir.to_path_buf(),
        storage_type: StorageType::Disk,
        reserve: Reserve::NONE,
    };
    let store = ReplicaStore::open(&[spec], StoreOptions::default()).unwrap();
    let identity = PoolIdentity {
        pool: POOL.into(),
        cluster_id: "CID-1".into(),
        namespace_id: 7,
        ctime: 0,
    };
    store.attach_pool(&identity).unwrap();
    store
}

fn new_replica(interrupt: impl Fn() + Send + Sync + 'static) -> NewReplica<'static> {
    NewReplica {
        format: format(),
        storage_type: None,
        storage_id: None,
        interrupt: Arc::new(interrupt),
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

fn put(writer: &mut ReplicaWriter, data: &[u8]) {
    let mut sums = Vec::new();
    format().append_sums(data, &mut sums);
    let packet = Packet {
        offset: 0,
        sums: &sums,
        data,
    };
    writer.write(&[packet], format()).unwrap();
}

/// A replica of 1300 bytes and stamp 1001 in the state asked for.
fn replica_in(dir: &Path, state: ReplicaState) -> ReplicaStore {
    let store = open(dir);
    let mut writer = store.create_rbw(&block(1001, 0), new_replica(|| {})).unwrap();
    put(&mut writer, &bytes(1300));
    match state {
        Finalized => drop(writer.finalize(Some(1300)).unwrap()),
        Rbw => drop(writer),
        Rwr => {
            drop((writer, store));
            return open(dir);
        }
        other => panic!("{other:?}"),
    }
    store
}

fn init(store: &ReplicaStore, stamp: u64, id: u64) -> ReplicaResult<Option<RecoveryInfo>> {
    store.init_recovery(&block(stamp, 0), GenerationStamp(id))
}

fn finish(store: &ReplicaStore, stamp: u64, len: u64, id: u64, new_len: u64) -> ReplicaResult<FinalizedReplica> {
    store.finish_recovery(&block(stamp, len), GenerationStamp(id), None, new_len)
}

fn text<T: std::fmt::Debug>(result: ReplicaResult<T>) -> String {
    result.unwrap_err().to_string()
}

fn read_back(store: &ReplicaStore, block: &ExtendedBlock, len: usize) -> Vec<u8> {
    let reader = store.open_for_read(block, 0, Duration::ZERO).unwrap();
    assert_eq!(reader.readable_len(), len as u64);
    let mut data = vec![0; len];
    reader.read_data(&mut data, 0).unwrap();
    let mut sums = vec![0; format().sums_len(len)];
    reader.read_sums(&mut sums, 0).unwrap();
    assert_eq!(reader.format().verify(&data, &sums), Ok(()), "checksums of {len} bytes");
    data
}

fn reported(store: &ReplicaStore) -> Vec<(u64, u64, ReplicaState)> {
    let storages = store.block_report(&POOL.into()).unwrap();
    let all = storages.into_iter().flat_map(|storage| storage.replicas);
    all.map(|r| (r.block.generation_stamp.0, r.block.len, r.state))
        .collect()
}

fn files_of(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.file_name().unwrap().to_string_lossy().starts_with("blk_") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, &mut found);
    let mut names: Vec<String> = found
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// covers: LM-22
#[test]
fn every_state_is_set_aside_and_ends_finalized_with_the_new_length_and_stamp() {
    for state in [Finalized, Rbw, Rwr] {
        for new_len in [1300, 1299, 1025, 1024, 1023, 512, 1, 0] {
            let dir = tempfile::tempdir().unwrap();
            let store = replica_in(dir.path(), state);
            let info = init(&store, 1001, 1002).unwrap().unwrap();
            assert_eq!((info.state, info.block), (state, block(1001, 1300).block), "{state:?}");
            assert_eq!(
                store.state(&block(1001, 0)).map(|(state, _)| state),
                Some(ReplicaState::Rur)
            );
            assert_eq!(reported(&store), [(1001, 1300, state)], "reported as it was");
            let done = finish(&store, 1001, 1300, 1002, new_len).unwrap();
            assert_eq!(done.block, block(1002, new_len).block, "{state:?}");
            assert_eq!(reported(&store), [(1002, new_len, Finalized)]);
            assert_eq!(
                read_back(&store, &block(1002, 0), new_len as usize),
                bytes(new_len as usize)
            );
            assert_eq!(
                files_of(dir.path()),
                [format!("blk_{ID}"), format!("blk_{ID}_1002.meta")]
            );
            drop(store);
            let store = open(dir.path());
            assert_eq!(
                read_back(&store, &block(1002, 0), new_len as usize),
                bytes(new_len as usize)
            );
        }
    }
}

#[test]
fn stamps_and_recovery_ids_fence_what_is_older() {
    for state in [Finalized, Rbw, Rwr] {
        let dir = tempfile::tempdir().unwrap();
        let store = replica_in(dir.path(), state);
        assert!(
            text(init(&store, 1002, 1003)).starts_with("replica.getGenerationStamp() < block.getGenerationStamp()")
        );
        assert!(
            text(init(&store, 1002, 1003)).starts_with(OUTDATED_REPLICA),
            "what primaries go by"
        );
        assert!(text(init(&store, 1001, 1001)).starts_with("replica.getGenerationStamp() >= recoveryId = 1001"));
        assert!(text(finish(&store, 1001, 1300, 1005, 1300)).starts_with("replica.getState() != RUR"));
        init(&store, 1001, 1005).unwrap();
        for late in [1004, 1005] {
            let refused = init(&store, 1001, late).unwrap_err();
            assert!(matches!(refused, ReplicaError::RecoveryInProgress { .. }), "{refused}");
            assert_eq!(HadoopError::from(&refused).kind, ErrorKind::RecoveryInProgress);
        }
        let again = init(&store, 1001, 1006).unwrap().unwrap();
        assert_eq!(
            again.state, state,
            "a newer recovery sees the state before the older one"
        );
        assert!(text(finish(&store, 1001, 1300, 1005, 1300)).starts_with("rur.getRecoveryID() != recoveryId = 1005"));
        assert!(
            text(finish(&store, 1001, 1299, 1006, 1)).starts_with("replica.getBytesOnDisk() != block.getNumBytes()")
        );
        assert!(text(finish(&store, 1001, 1300, 1006, 1301)).starts_with("rur.getNumBytes() < newlength = 1301"));
        finish(&store, 1001, 1300, 1006, 700).unwrap();
        assert!(text(finish(&store, 1001, 1300, 1006, 700)).starts_with("replica.getState() != RUR"));
        assert_eq!(reported(&store), [(1006, 700, Finalized)]);
    }
}

#[test]
fn a_missing_replica_is_told_and_a_temporary_one_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(init(&store, 1001, 1002).unwrap(), None);
    let missing = finish(&store, 1001, 0, 1002, 0).unwrap_err();
    assert_eq!(HadoopError::from(&missing).kind, ErrorKind::ReplicaNotFound);
    let writer = store.create_temporary(&block(1001, 0), new_replica(|| {})).unwrap();
    drop(writer);
    assert_eq!(init(&store, 1001, 1002).unwrap(), None);
}

/// covers: LM-33
#[test]
fn an_order_of_the_past_does_not_disturb_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let told = Arc::new(AtomicBool::new(false));
    let interrupted = told.clone();
    let interrupt = move || interrupted.store(true, Ordering::Relaxed);
    let mut writer = store.create_rbw(&block(1001, 0), new_replica(interrupt)).unwrap();
    put(&mut writer, &bytes(700));
    assert!(text(init(&store, 1001, 1001)).starts_with("replica.getGenerationStamp() >= recoveryId = 1001"));
    assert!(text(init(&store, 1000, 1000)).starts_with("replica.getGenerationStamp() >= recoveryId = 1000"));
    assert!(text(init(&store, 1002, 1003)).starts_with("replica.getGenerationStamp() < block.getGenerationStamp()"));
    assert!(!told.load(Ordering::Relaxed), "nobody told the writer to go");
    put(&mut writer, &bytes(1300));
    writer.finalize(Some(1300)).unwrap();
}

/// covers: LM-33
#[test]
fn a_writer_is_stopped_and_no_other_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let told = Arc::new(AtomicBool::new(false));
    let (tell, waker) = (told.clone(), std::thread::current());
    let interrupt = move || {
        tell.store(true, Ordering::SeqCst);
        waker.unpark();
    };
    let mut writer = store.create_rbw(&block(1001, 0), new_replica(interrupt)).unwrap();
    put(&mut writer, &bytes(900));
    let acks = writer.ack_handle();
    acks.acked(512);
    std::thread::scope(|scope| {
        let recovering = scope.spawn(|| init(&store, 1001, 1002));
        while !told.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        drop(writer);
        let info = recovering.join().unwrap().unwrap().unwrap();
        assert_eq!((info.state, info.block.len), (Rbw, 900), "bytes on disk, acked or not");
    });
    assert_eq!(
        store.visible_len(&block(1001, 0)).unwrap(),
        512,
        "readers see what was acked before"
    );
    let interrupt = || -> Interrupt { Arc::new(|| {}) };
    let to = GenerationStamp(1003);
    assert!(store.recover_rbw(&block(1001, 0), to, 0, 1 << 20, interrupt()).is_err());
    assert!(store.recover_append(&block(1001, 0), to, 900, interrupt()).is_err());
    assert!(store.append(&block(1001, 0), to, 900, interrupt()).is_err());
    assert!(store.recover_close(&block(1001, 0), to, 900).is_err());
    assert!(store.create_rbw(&block(1001, 0), new_replica(|| {})).is_err());
    assert!(store.create_temporary(&block(1001, 0), new_replica(|| {})).is_err());
    finish(&store, 1001, 900, 1002, 600).unwrap();
    assert_eq!(read_back(&store, &block(1002, 0), 600), bytes(600));
}

#[test]
fn a_truncated_copy_leaves_the_block_as_it_was() {
    for (state, new_len) in [(Finalized, 700), (Finalized, 512), (Rbw, 1300), (Rwr, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let store = replica_in(dir.path(), state);
        init(&store, 1001, 1002).unwrap();
        let copy = BlockId(ID + 1);
        let done = store
            .finish_recovery(&block(1001, 1300), GenerationStamp(1002), Some(copy), new_len)
            .unwrap();
        let mut copied = block(1002, new_len);
        copied.block.id = copy;
        assert_eq!(done.block, copied.block);
        assert_eq!(read_back(&store, &copied, new_len as usize), bytes(new_len as usize));
        assert_eq!(store.state(&block(1001, 0)), Some((state, GenerationStamp(1001))));
    }
}

#[test]
fn a_restart_forgets_a_recovery_and_a_deletion_ends_it() {
    for state in [Finalized, Rwr] {
        let dir = tempfile::tempdir().unwrap();
        let store = replica_in(dir.path(), state);
        init(&store, 1001, 1002).unwrap();
        drop(store);
        let store = open(dir.path());
        assert_eq!(reported(&store), [(1001, 1300, state)]);
        init(&store, 1001, 1003).unwrap();
        let done: DeletionHook = std::sync::Arc::new(|_| {});
        let deleted = store.invalidate(&POOL.into(), &[block(1001, 0).block], &done).unwrap();
        assert_eq!(deleted, 1);
        assert!(matches!(
            finish(&store, 1001, 1300, 1003, 5),
            Err(ReplicaError::NotFound(..))
        ));
    }
}

#[test]
fn what_a_recovery_left_out_makes_room_for_a_copy() {
    for state in [Finalized, Rbw, Rwr] {
        let dir = tempfile::tempdir().unwrap();
        let store = replica_in(dir.path(), state);
        init(&store, 1001, 1003).unwrap();
        let earlier = store.create_temporary(&block(1002, 0), new_replica(|| {}));
        assert!(earlier.is_err(), "the recovery may still want it");
        let copy = store.create_temporary(&block(1003, 0), new_replica(|| {})).unwrap();
        assert!(matches!(
            finish(&store, 1001, 1300, 1003, 5),
            Err(ReplicaError::Unrecoverable { .. })
        ));
        copy.finalize(Some(0)).unwrap();
        assert_eq!(reported(&store), [(1003, 0, Finalized)], "{state:?}");
        drop(store);
        assert_eq!(reported(&open(dir.path())), [(1003, 0, Finalized)], "{state:?}");
    }
}

/// A process that is ended while it creates a replica, at every point of that; and files that lost more than that.
///
/// covers: LM-22
#[test]
fn a_replica_without_a_byte_is_no_hindrance_and_one_that_lost_its_meta_file_is() {
    type Damage = fn(&Path, &Path);
    type Answer = Result<Option<(ReplicaState, u64)>, &'static str>;
    let cases: [(&str, usize, Damage, Answer); 6] = [
        ("data only", 0, |_, meta| fs::remove_file(meta).unwrap(), Ok(None)),
        (
            "no header",
            0,
            |_, meta| fs::write(meta, b"").unwrap(),
            Ok(Some((Rwr, 0))),
        ),
        (
            "half a header",
            0,
            |_, meta| fs::write(meta, [0, 1, 2]).unwrap(),
            Ok(Some((Rwr, 0))),
        ),
        ("both", 0, |_, _| {}, Ok(Some((Rwr, 0)))),
        (
            "bytes without meta file",
            700,
            |_, meta| fs::remove_file(meta).unwrap(),
            Err("replica has lost its meta file"),
        ),
        (
            "bytes without header",
            700,
            |_, meta| fs::write(meta, b"").unwrap(),
            Err("read "),
        ),
    ];
    for (name, len, damage, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let mut writer = store.create_rbw(&block(1001, 0), new_replica(|| {})).unwrap();
        if len > 0 {
            put(&mut writer, &bytes(len));
        }
        drop((writer, store));
        let rbw = dir.path().join("current").join(POOL).join("current/rbw");
        let (data, meta) = (rbw.join(format!("blk_{ID}")), rbw.join(format!("blk_{ID}_1001.meta")));
        damage(&data, &meta);
        let store = open(dir.path());
        let answer = init(&store, 1001, 1002);
        match expected {
            Ok(expected) => {
                let found = answer.unwrap().map(|info| (info.state, info.block.len));
                assert_eq!(found, expected, "{name}");
                assert_eq!(data.exists(), expected.is_some(), "{name}");
            }
            Err(expected) => {
                let refusal = text(answer);
                assert!(refusal.starts_with(expected), "{name}: {refusal}");
                assert_eq!(
                    fs::read(&data).unwrap(),
                    bytes(len),
                    "{name}: kept for whoever can make sense of it"
                );
            }
        }
    }
}

#[test]
fn a_damaged_replica_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = replica_in(dir.path(), Finalized);
    let data = dir
        .path()
        .join("current")
        .join(POOL)
        .join("current/finalized")
        .join(layout::finalized_dir(BlockId(ID)))
        .join(format!("blk_{ID}"));
    let mut content = fs::read(&data).unwrap();
    content[1200] ^= 1;
    fs::write(&data, &content).unwrap();
    init(&store, 1001, 1002).unwrap();
    assert!(matches!(
        finish(&store, 1001, 1300, 1002, 1100),
        Err(ReplicaError::Corrupt { offset: 1024, .. })
    ));
    fs::write(&data, &content[..1000]).unwrap();
    assert!(text(finish(&store, 1001, 1300, 1002, 1100)).starts_with("File length mismatched."));
    assert_eq!(reported(&store), [(1001, 1300, Finalized)], "still what it was");
}
