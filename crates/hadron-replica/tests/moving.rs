//! Replicas that move from one medium of a DataNode to another: nothing is lost on the way, whatever happens meanwhile.
#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_env::disk::{Disk, DiskCall, FaultyDisk, RealDisk};
use hadron_replica::*;
use hadron_types::*;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const POOL: &str = "BP-1-127.0.0.1-1700000000000";
/// More than one part of a copy, and a partial last chunk.
const LEN: usize = 600_001;

fn open(dir: &Path) -> ReplicaStore {
    open_on(Arc::new(RealDisk), dir)
}

fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> ReplicaStore {
    let spec = |name: &str, storage_type| VolumeSpec {
        dir: dir.join(name),
        storage_type,
        reserve: Reserve::NONE,
    };
    let specs = [spec("disk", StorageType::Disk), spec("archive", StorageType::Archive)];
    let store = ReplicaStore::open_on(&disk, &specs, StoreOptions::default()).unwrap();
    let identity = PoolIdentity {
        pool: POOL.into(),
        cluster_id: "CID-1".into(),
        namespace_id: 7,
        ctime: 0,
    };
    store.attach_pool(&identity).unwrap();
    store
}

fn block(len: usize) -> ExtendedBlock {
    ExtendedBlock {
        pool: POOL.into(),
        block: Block {
            id: BlockId(7),
            generation_stamp: GenerationStamp(10),
            len: len as u64,
        },
    }
}

fn bytes() -> Vec<u8> {
    (0..LEN).map(|i| (i * 31 % 251) as u8).collect()
}

fn write(store: &ReplicaStore) {
    let format = ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap();
    let new = NewReplica {
        format,
        storage_type: Some(StorageType::Disk),
        storage_id: None,
        interrupt: Arc::new(|| {}),
    };
    let mut writer = store.create_rbw(&block(0), new).unwrap();
    let (data, mut sums) = (bytes(), Vec::new());
    format.append_sums(&data, &mut sums);
    let packet = Packet {
        offset: 0,
        sums: &sums,
        data: &data,
    };
    writer.write(&[packet], format).unwrap();
    writer.finalize(Some(LEN as u64)).unwrap();
}

fn read(reader: &ReplicaReader) -> Vec<u8> {
    let mut data = vec![0; LEN];
    let mut sums = vec![0; reader.format().sums_len(LEN)];
    reader.read_data(&mut data, 0).unwrap();
    reader.read_sums(&mut sums, 0).unwrap();
    assert_eq!(reader.format().verify(&data, &sums), Ok(()));
    data
}

/// Files of the block below a folder.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.extend(
                entry
                    .file_name()
                    .to_str()
                    .filter(|name| name.contains("blk_"))
                    .map(str::to_owned),
            ),
        }
    }
    found.sort();
    found
}

fn wait_deleted(store: &ReplicaStore) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while store.pending_deletions() > 0 {
        assert!(std::time::Instant::now() < deadline, "files are removed");
        std::thread::yield_now();
    }
}

// covers: XC-14
#[test]
fn a_moved_replica_is_whole_and_stays_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store);
    let used = |store: &ReplicaStore| -> Vec<u64> {
        let reports = store.storage_reports(&POOL.into(), false);
        reports.iter().map(|report| report.usage.pool_used).collect()
    };
    let before = used(&store);
    let reading = store.open_for_read(&block(LEN), 0, Duration::ZERO).unwrap();
    let moved = store.move_replica(&block(LEN), StorageType::Archive, None).unwrap();
    assert_eq!(
        (moved.block, moved.storage_type),
        (block(LEN).block, StorageType::Archive)
    );
    assert_eq!(read(&reading), bytes(), "a reader of before goes on");
    let after = store.open_for_read(&block(LEN), 0, Duration::ZERO).unwrap();
    assert_eq!(read(&after), bytes());
    wait_deleted(&store);
    assert_eq!(used(&store), [before[1], before[0]]);
    assert!(files(&dir.path().join("disk")).is_empty());
    assert_eq!(files(&dir.path().join("archive")), ["blk_7", "blk_7_10.meta"]);
    let report = store.block_report(&POOL.into()).unwrap();
    let counts: Vec<usize> = report.iter().map(|storage| storage.replicas.len()).collect();
    assert_eq!(counts, [0, 1]);
    let again = store.move_replica(&block(LEN), StorageType::Archive, None).unwrap_err();
    assert!(matches!(again, ReplicaError::AlreadyExists { .. }), "{again}");
    drop(store);
    let store = open(dir.path());
    let after = store.open_for_read(&block(LEN), 0, Duration::ZERO).unwrap();
    assert_eq!(read(&after), bytes(), "after a restart");
    // Appends find it in its new place.
    let (to, interrupt): (_, Interrupt) = (GenerationStamp(11), Arc::new(|| {}));
    drop(store.append(&block(LEN), to, LEN as u64, interrupt).unwrap());
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store);
    let newer = ExtendedBlock {
        block: Block {
            generation_stamp: GenerationStamp(11),
            ..block(LEN).block
        },
        ..block(LEN)
    };
    for (asked, kind, text) in [
        (block(LEN), StorageType::Disk, "already exists"),
        (block(LEN), StorageType::Ssd, "no more available"),
        (block(LEN - 1), StorageType::Archive, "expected 600000"),
        (newer, StorageType::Archive, "not found"),
    ] {
        let error = store.move_replica(&asked, kind, None).unwrap_err().to_string();
        assert!(error.to_lowercase().contains(text), "{error}");
    }
    let path = files_at(dir.path());
    let mut bad = std::fs::read(&path).unwrap();
    bad[599_999] ^= 1;
    std::fs::write(&path, bad).unwrap();
    let error = store.move_replica(&block(LEN), StorageType::Archive, None).unwrap_err();
    assert!(
        matches!(error, ReplicaError::Corrupt { offset: 599_552, .. }),
        "{error}"
    );
    assert!(files(&dir.path().join("archive")).is_empty(), "no trace of the copy");
    assert_eq!(files(&dir.path().join("disk")).len(), 2);
}

fn files_at(dir: &Path) -> std::path::PathBuf {
    let finalized = dir
        .join("disk/current")
        .join(POOL)
        .join("current/finalized/subdir0/subdir0");
    finalized.join("blk_7")
}

/// A store whose disk does `step` once, when a move has its copy in place and makes that durable.
fn interrupted(dir: &Path, step: impl Fn(&ReplicaStore) + Send + Sync + 'static) -> (Arc<ReplicaStore>, FaultyDisk) {
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let store = Arc::new(open_on(Arc::new(disk.clone()), dir));
    write(&store);
    let (weak, done) = (Arc::downgrade(&store), AtomicBool::new(false));
    let target = dir.join("archive/current").join(POOL).join("current/finalized");
    disk.judge(move |call, path| {
        if call == DiskCall::Sync
            && path.starts_with(&target)
            && let Some(store) = weak.upgrade()
            && !done.swap(true, Ordering::SeqCst)
        {
            step(&store);
        }
        Ok(())
    });
    (store, disk)
}

fn no_repair(repair: Repair) {
    panic!("{repair:?}");
}

// covers: XC-14
#[test]
fn a_replica_is_moved_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _disk) = interrupted(dir.path(), |store| {
        let second = store.move_replica(&block(LEN), StorageType::Archive, None).unwrap_err();
        assert!(matches!(second, ReplicaError::AlreadyExists { .. }), "{second}");
    });
    let moved = store.move_replica(&block(LEN), StorageType::Archive, None).unwrap();
    assert_eq!(moved.storage_type, StorageType::Archive);
    let after = store.open_for_read(&block(LEN), 0, Duration::ZERO).unwrap();
    assert_eq!(read(&after), bytes());
    wait_deleted(&store);
    assert!(files(&dir.path().join("disk")).is_empty());
    assert_eq!(files(&dir.path().join("archive")), ["blk_7", "blk_7_10.meta"]);
    // The place in the row is given back.
    store.move_replica(&block(LEN), StorageType::Disk, None).unwrap();
}

#[test]
fn a_replica_deleted_while_it_moves_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _disk) = interrupted(dir.path(), |store| {
        let done: DeletionHook = Arc::new(|_| {});
        assert_eq!(store.invalidate(&POOL.into(), &[block(LEN).block], &done).unwrap(), 1);
        wait_deleted(store);
        // Neither the comparison with the disk nor a new copy may take what the move made.
        let counts = store.reconcile(&POOL.into(), 1, &mut || true, &mut no_repair).unwrap();
        assert_eq!(counts.differences(), 0, "{counts:?}");
        let new = NewReplica {
            format: ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap(),
            storage_type: Some(StorageType::Disk),
            storage_id: None,
            interrupt: Arc::new(|| {}),
        };
        let copy = store.create_temporary(&block(0), new);
        assert!(matches!(copy, Err(ReplicaError::AlreadyExists { .. })));
    });
    let error = store.move_replica(&block(LEN), StorageType::Archive, None).unwrap_err();
    assert!(matches!(error, ReplicaError::NotFound(..)), "{error}");
    assert_eq!(store.state(&block(LEN)), None);
    assert!(files(dir.path()).is_empty());
}

#[test]
fn a_replica_that_comes_back_at_once_keeps_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let store = open_on(Arc::new(disk.clone()), dir.path());
    write(&store);
    // What is left to the background happens after the second move.
    let gate = Arc::new(Mutex::new(()));
    let (closed, held) = (gate.clone(), gate.lock().unwrap());
    disk.judge(move |_, _| {
        if std::thread::current().name() == Some("deleter") {
            drop(closed.lock());
        }
        Ok(())
    });
    store.move_replica(&block(LEN), StorageType::Archive, None).unwrap();
    store.move_replica(&block(LEN), StorageType::Disk, None).unwrap();
    drop(held);
    wait_deleted(&store);
    let after = store.open_for_read(&block(LEN), 0, Duration::ZERO).unwrap();
    assert_eq!(read(&after), bytes());
    assert_eq!(files(&dir.path().join("disk")), ["blk_7", "blk_7_10.meta"]);
    assert!(files(&dir.path().join("archive")).is_empty());
}
