//! Volumes that are full, broken, slow or gone: the store goes on with the others and loses no acked byte.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_env::disk::{DiskCall, DiskSpace, FaultyDisk};
use hadron_env::{Disk, RealDisk};
use hadron_replica::*;
use hadron_types::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const POOL: &str = "BP-1-127.0.0.1-1700000000000";
const PATIENCE: Duration = Duration::from_secs(20);
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const MIB: u64 = 1 << 20;

/// A store of `count` volumes on a disk with faults.
struct Bench {
    dirs: Vec<TempDir>,
    disk: FaultyDisk,
    store: ReplicaStore,
    failures: Receiver<(VolumeFailure, bool)>,
}

fn options(tolerated: i64) -> StoreOptions {
    StoreOptions {
        failed_volumes_tolerated: tolerated,
        check: CheckOptions {
            min_gap: Duration::ZERO,
            timeout: PATIENCE,
        },
        ..StoreOptions::default()
    }
}

fn specs(dirs: &[TempDir], kinds: &[StorageType]) -> Vec<VolumeSpec> {
    let spec = |(dir, kind): (&TempDir, &StorageType)| VolumeSpec {
        dir: dir.path().to_owned(),
        storage_type: *kind,
        reserve: Reserve::NONE,
    };
    dirs.iter().zip(kinds).map(spec).collect()
}

impl Bench {
    fn new(count: usize, options: StoreOptions) -> Self {
        Self::of(&vec![StorageType::Disk; count], options)
    }

    fn of(kinds: &[StorageType], options: StoreOptions) -> Self {
        let dirs: Vec<TempDir> = kinds.iter().map(|_| tempfile::tempdir().unwrap()).collect();
        let disk = FaultyDisk::new(Arc::new(RealDisk));
        let below: Arc<dyn Disk> = Arc::new(disk.clone());
        let store = ReplicaStore::open_on(&below, &specs(&dirs, kinds), options).unwrap();
        let (tell, failures) = channel();
        store.on_volume_failure(Box::new(move |failure, enough| {
            let _ = tell.send((failure.clone(), enough));
        }));
        store.attach_pool(&identity()).unwrap();
        Self {
            dirs,
            disk,
            store,
            failures,
        }
    }

    fn dir(&self, index: usize) -> &Path {
        self.dirs[index].path()
    }

    fn next_failure(&self) -> (VolumeFailure, bool) {
        self.failures.recv_timeout(PATIENCE).unwrap()
    }

    fn volume_of(&self, block: &ExtendedBlock) -> usize {
        let (id, _) = self.store.storage_of(block).unwrap();
        let mut volumes = self.store.volumes().iter();
        volumes.position(|volume| volume.storage_id() == id).unwrap()
    }

    fn held(&self) -> u64 {
        self.store.volumes().iter().map(|volume| volume.held()).sum()
    }

    fn used(&self) -> u64 {
        let reports = self.store.storage_reports(&POOL.into(), true);
        reports.iter().map(|report| report.usage.pool_used).sum()
    }
}

fn identity() -> PoolIdentity {
    PoolIdentity {
        pool: POOL.into(),
        cluster_id: "CID-1".into(),
        namespace_id: 7,
        ctime: 0,
    }
}

fn block(id: i64, len: u64) -> ExtendedBlock {
    ExtendedBlock {
        pool: POOL.into(),
        block: Block {
            id: BlockId(id),
            generation_stamp: GenerationStamp(1001),
            len,
        },
    }
}

fn format() -> ChunkFormat {
    ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap()
}

fn new_replica(kind: Option<StorageType>) -> NewReplica<'static> {
    NewReplica {
        format: format(),
        storage_type: kind,
        storage_id: None,
        interrupt: Arc::new(|| {}),
    }
}

fn put(writer: &mut ReplicaWriter, offset: u64, data: &[u8]) -> ReplicaResult<u64> {
    let mut sums = Vec::new();
    format().append_sums(data, &mut sums);
    let packet = Packet {
        offset,
        sums: &sums,
        data,
    };
    writer.write(&[packet], format())
}

fn write_block(store: &ReplicaStore, id: i64, data: &[u8]) -> ReplicaResult<FinalizedReplica> {
    let mut writer = store.create_rbw(&block(id, MIB), new_replica(None))?;
    put(&mut writer, 0, data)?;
    writer.finalize(Some(data.len() as u64))
}

fn read(store: &ReplicaStore, id: i64, len: usize) -> ReplicaResult<Vec<u8>> {
    let reader = store.open_for_read(&block(id, 0), 0, Duration::ZERO)?;
    let mut data = vec![0; len];
    reader.read_data(&mut data, 0)?;
    Ok(data)
}

/// Looks again and again at what another thread changes.
fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_failed_volume_is_taken_out_and_the_others_go_on() {
    let bench = Bench::new(2, options(1));
    for id in 1..=4 {
        write_block(&bench.store, id, b"abc").unwrap();
    }
    let open = bench.store.create_rbw(&block(5, MIB), new_replica(None)).unwrap();
    let bad = bench.volume_of(&block(5, 0));
    let lost: Vec<i64> = (1..=5).filter(|id| bench.volume_of(&block(*id, 0)) == bad).collect();
    assert_eq!(lost.len(), 3);
    bench.disk.fail(bench.dir(bad), &[], EIO);
    assert!(read(&bench.store, lost[0], 3).is_err());
    let (failure, enough) = bench.next_failure();
    assert_eq!((failure.dir.as_path(), enough), (bench.dir(bad), true));
    assert!(failure.capacity_lost > 0 && failure.at_ms > 0);
    assert!(failure.location().starts_with("file:/"));
    assert_eq!(bench.store.failures(), [failure]);
    assert!(bench.store.has_enough_volumes());
    for id in 1..=5 {
        assert_eq!(bench.store.state(&block(id, 0)).is_none(), lost.contains(&id), "{id}");
    }
    drop(open);
    assert_eq!(bench.store.storage_reports(&POOL.into(), true).len(), 1);
    assert_eq!(bench.store.block_report(&POOL.into()).unwrap().len(), 1);
    // All new replicas go to the other volume, and a lost block may be copied here again.
    for id in lost.iter().copied().chain(6..9) {
        write_block(&bench.store, id, b"again").unwrap();
        assert_ne!(bench.volume_of(&block(id, 0)), bad);
    }
    // Even when the disk answers again, the volume stays out.
    bench.disk.heal();
    bench.store.volumes()[bad].suspect();
    assert_eq!(bench.store.usable_volumes().count(), 1);
    assert!(bench.failures.try_recv().is_err(), "one failure, told once");
}

#[test]
fn too_many_failures_are_told_as_such() {
    for (tolerated, first_enough, second_enough) in [(0, false, false), (1, true, false), (-1, true, true)] {
        let bench = Bench::new(3, options(tolerated));
        for (index, enough) in [(0, first_enough), (1, second_enough)] {
            let dirs = [bench.dir(0).to_owned(), bench.dir(1).to_owned()];
            bench.disk.judge(move |_, path| {
                if dirs[..=index].iter().any(|dir| path.starts_with(dir)) {
                    return Err(std::io::Error::from_raw_os_error(EROFS));
                }
                Ok(())
            });
            bench.store.volumes()[index].suspect();
            assert_eq!(bench.next_failure().1, enough, "tolerated {tolerated}, volume {index}");
        }
        assert_eq!(bench.store.has_enough_volumes(), second_enough);
    }
    // The last volume never may.
    let bench = Bench::new(1, options(-1));
    bench.disk.fail(bench.dir(0), &[], EIO);
    bench.store.volumes()[0].suspect();
    assert!(!bench.next_failure().1);
}

#[test]
fn directories_that_cannot_be_used_count_at_the_start() {
    let dirs: Vec<TempDir> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let kinds = [StorageType::Disk; 2];
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let below: Arc<dyn Disk> = Arc::new(disk.clone());
    disk.fail(dirs[1].path(), &[], EIO);
    let open = |tolerated| ReplicaStore::open_on(&below, &specs(&dirs, &kinds), options(tolerated));
    let refused = open(0).err().unwrap().to_string();
    assert!(
        refused.starts_with(
            "Too many failed volumes - current valid volumes: 1, volumes configured: 2, volumes failed: 1, volume \
             failures tolerated: 0"
        ),
        "{refused}"
    );
    let store = open(1).unwrap();
    store.attach_pool(&identity()).unwrap();
    assert_eq!(store.failures().len(), 1);
    assert_eq!(store.failures()[0].dir, dirs[1].path());
    write_block(&store, 1, b"abc").unwrap();
    store.close(1);
    drop(store);
    // A volume whose replicas cannot be read is lost while loading.
    disk.heal();
    drop(open(0).unwrap().attach_pool(&identity()));
    let rbw = dirs[1].path().join("current").join(POOL).join("current/rbw");
    disk.fail(rbw, &[DiskCall::Read], EIO);
    let store = open(-1).unwrap();
    store.attach_pool(&identity()).unwrap();
    assert_eq!(store.failures().len(), 1);
    assert_eq!(read(&store, 1, 3).unwrap(), b"abc");
    for tolerated in [-2, 2] {
        let text = open(tolerated).err().unwrap().to_string();
        assert!(
            text.starts_with("Invalid value configured for dfs.datanode.failed.volumes.tolerated"),
            "{text}"
        );
    }
}

#[test]
fn a_volume_that_is_replaced_under_us_fails_whatever_the_gap() {
    let slow = StoreOptions {
        check: CheckOptions {
            min_gap: Duration::from_secs(3600),
            timeout: PATIENCE,
        },
        ..options(1)
    };
    let bench = Bench::new(2, slow);
    write_block(&bench.store, 1, b"abc").unwrap();
    write_block(&bench.store, 2, b"abc").unwrap();
    let gone = bench.volume_of(&block(1, 0));
    bench.store.volumes()[gone].suspect();
    // What unmounting leaves behind: an empty directory.
    let hidden = bench.dir(gone).with_extension("hidden");
    std::fs::rename(bench.dir(gone), &hidden).unwrap();
    std::fs::create_dir(bench.dir(gone)).unwrap();
    assert!(read(&bench.store, 1, 3).is_err());
    assert!(
        bench.store.forget_missing(&block(1, 0)).is_none(),
        "the volume is to blame"
    );
    assert_eq!(bench.next_failure().0.dir, bench.dir(gone));
    assert_eq!(read(&bench.store, 2, 3).unwrap(), b"abc");
    assert!(
        std::fs::read_dir(bench.dir(gone)).unwrap().next().is_none(),
        "nothing is written there"
    );
    std::fs::remove_dir_all(hidden).unwrap();
}

#[test]
fn nothing_is_begun_anew_where_a_volume_was() {
    let bench = Bench::new(1, options(0));
    let mut open = bench.store.create_rbw(&block(1, MIB), new_replica(None)).unwrap();
    put(&mut open, 0, b"abc").unwrap();
    let hidden = bench.dir(0).with_extension("hidden");
    std::fs::rename(bench.dir(0), &hidden).unwrap();
    std::fs::create_dir(bench.dir(0)).unwrap();
    open.finalize(Some(3)).unwrap_err();
    // A block directory nobody has made yet, below and beside those that were there.
    for id in [2, 1 << 24] {
        assert!(
            bench.store.create_rbw(&block(id, MIB), new_replica(None)).is_err(),
            "block {id}"
        );
    }
    let left: Vec<_> = std::fs::read_dir(bench.dir(0)).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    std::fs::remove_dir_all(hidden).unwrap();
}

#[test]
fn a_replica_whose_file_is_missing_is_forgotten_alone() {
    let bench = Bench::new(1, options(0));
    write_block(&bench.store, 1, b"abc").unwrap();
    write_block(&bench.store, 2, b"abc").unwrap();
    assert!(bench.store.forget_missing(&block(1, 0)).is_none(), "it is there");
    let path = bench.dir(0).join("current").join(POOL).join("current/finalized");
    let dir = path.join(layout::finalized_dir(BlockId(1)));
    std::fs::remove_file(dir.join("blk_1")).unwrap();
    assert!(read(&bench.store, 1, 3).err().unwrap().is_missing_file());
    assert_eq!(bench.store.forget_missing(&block(1, 0)).unwrap().block.id, BlockId(1));
    assert_eq!(bench.store.state(&block(1, 0)), None);
    assert_eq!(read(&bench.store, 2, 3).unwrap(), b"abc");
    assert!(bench.store.has_enough_volumes());
}

#[test]
fn a_full_disk_costs_only_the_bytes_that_nobody_was_promised() {
    let bench = Bench::new(1, options(0));
    let before = bench.used();
    let mut empty = bench.store.create_rbw(&block(1, MIB), new_replica(None)).unwrap();
    let mut acked = bench.store.create_rbw(&block(2, MIB), new_replica(None)).unwrap();
    let mut copy = bench.store.create_temporary(&block(3, MIB), new_replica(None)).unwrap();
    let data = vec![7; 2000];
    put(&mut acked, 0, &data[..1300]).unwrap();
    acked.ack_handle().acked(700);
    bench.disk.fail(bench.dir(0), &[DiskCall::Write], ENOSPC);
    for writer in [&mut empty, &mut copy] {
        let error = put(writer, 0, &data).unwrap_err();
        assert!(error.is_full(), "{error}");
        assert_eq!(HadoopError::from(&error).kind, ErrorKind::DiskOutOfSpace);
    }
    assert!(put(&mut acked, 1024, &data[1024..]).unwrap_err().is_full());
    bench.disk.heal();
    drop((empty, acked, copy));
    assert_eq!(bench.store.state(&block(1, 0)), None);
    assert_eq!(bench.store.state(&block(3, 0)), None);
    assert_eq!(bench.held(), 0, "no promise is left");
    assert_eq!(bench.store.visible_len(&block(2, 0)).unwrap(), 700);
    assert_eq!(read(&bench.store, 2, 700).unwrap(), data[..700]);
    assert_eq!(bench.used() - before, 700 + format().meta_len(700));
    assert!(bench.failures.try_recv().is_err(), "a full disk is not a broken one");
    let closed = bench.store.recover_close(&block(2, 0), GenerationStamp(1002), 700);
    assert_eq!(closed.unwrap().block.len, 700);
    write_block(&bench.store, 1, &data).unwrap();
    assert_eq!(read(&bench.store, 1, 2000).unwrap(), data);
}

#[test]
fn room_promised_to_open_replicas_is_not_promised_twice() {
    let bench = Bench::new(1, options(0));
    let room = |bytes| DiskSpace {
        capacity: 10 * MIB,
        free: bytes,
        available: bytes,
    };
    bench.disk.set_space(room(3 * MIB));
    wait_until("a new look at the disk", || {
        bench.store.storage_reports(&POOL.into(), true)[0].usage.remaining == 3 * MIB
    });
    let first = bench.store.create_rbw(&block(1, 2 * MIB), new_replica(None)).unwrap();
    let error = bench
        .store
        .create_rbw(&block(2, 2 * MIB), new_replica(None))
        .err()
        .unwrap();
    let expected = format!(
        "Out of space: The volume with the most available space (={} B) is less than the block size (={} B).",
        MIB - META_HEADER_LEN,
        2 * MIB
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(bench.store.state(&block(2, 0)), None);
    let done = first.finalize(None);
    assert!(done.is_ok() && bench.held() == 0);
    drop(bench.store.create_rbw(&block(2, 2 * MIB), new_replica(None)).unwrap());
}

#[test]
fn replicas_go_to_the_type_they_were_asked_for() {
    let kinds = [StorageType::Disk, StorageType::Ssd, StorageType::Archive];
    let bench = Bench::of(&kinds, options(0));
    for (id, kind) in (1..).zip(kinds) {
        drop(
            bench
                .store
                .create_rbw(&block(id, MIB), new_replica(Some(kind)))
                .unwrap(),
        );
        assert_eq!(bench.store.storage_of(&block(id, 0)).unwrap().1, kind);
    }
    let refused = bench
        .store
        .create_rbw(&block(9, MIB), new_replica(Some(StorageType::RamDisk)));
    assert_eq!(refused.err().unwrap().to_string(), "No more available volumes");
}

#[test]
fn a_failed_finalize_leaves_a_replica_that_can_be_recovered() {
    let bench = Bench::new(1, options(0));
    let mut writer = bench.store.create_rbw(&block(1, MIB), new_replica(None)).unwrap();
    put(&mut writer, 0, b"abcdef").unwrap();
    writer.ack_handle().acked(6);
    // The data file is the second one to move.
    bench.disk.judge(|call, path| {
        let data = path.ends_with("blk_1");
        match call {
            DiskCall::Rename if data => Err(std::io::Error::from_raw_os_error(ENOSPC)),
            _ => Ok(()),
        }
    });
    assert!(writer.finalize(Some(6)).is_err());
    assert_eq!(bench.store.state(&block(1, 0)).unwrap().0, ReplicaState::Rbw);
    bench.disk.heal();
    assert_eq!(read(&bench.store, 1, 6).unwrap(), b"abcdef");
    let closed = bench
        .store
        .recover_close(&block(1, 0), GenerationStamp(1002), 6)
        .unwrap();
    assert_eq!(closed.block.len, 6);
    // Reopening that fails leaves it finalized.
    bench.disk.fail(bench.dir(0), &[DiskCall::Rename], ENOSPC);
    let again = bench
        .store
        .append(&block(1, 0), GenerationStamp(1003), 6, Arc::new(|| {}));
    assert!(again.is_err());
    bench.disk.heal();
    assert_eq!(bench.store.state(&block(1, 0)).unwrap().0, ReplicaState::Finalized);
    assert_eq!(read(&bench.store, 1, 6).unwrap(), b"abcdef");
}

#[test]
fn a_check_that_does_not_end_fails_the_volume() {
    let impatient = StoreOptions {
        check: CheckOptions {
            min_gap: Duration::ZERO,
            timeout: Duration::from_millis(50),
        },
        ..options(1)
    };
    let bench = Bench::new(2, impatient);
    let hung = bench.dir(0).to_owned();
    let (open, gate) = channel::<()>();
    let gate = parking_lot::Mutex::new(gate);
    bench.disk.judge(move |call, path| {
        if call == DiskCall::Read && path.starts_with(&hung) {
            let _ = gate.lock().recv_timeout(PATIENCE);
        }
        Ok(())
    });
    bench.store.volumes()[0].suspect();
    let (failure, enough) = bench.next_failure();
    assert!(enough && failure.reason.contains("did not end"), "{}", failure.reason);
    drop(open);
}

#[test]
fn deletions_wait_for_nobody_and_a_block_may_come_back_at_once() {
    let bench = Bench::new(1, options(0));
    write_block(&bench.store, 1, &[1; 5000]).unwrap();
    let before = bench.used();
    let (open, gate) = channel::<()>();
    let gate = parking_lot::Mutex::new(gate);
    // Removing takes as long as the test wants.
    bench.disk.judge(move |call, path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if call == DiskCall::Remove && name.starts_with("deleted_") {
            let _ = gate.lock().recv_timeout(PATIENCE);
        }
        Ok(())
    });
    let (tell, told) = channel();
    let done: DeletionHook = Arc::new(move |replica| {
        let _ = tell.send(replica);
    });
    assert_eq!(
        bench
            .store
            .invalidate(&POOL.into(), &[block(1, 0).block], &done)
            .unwrap(),
        1
    );
    assert_eq!(bench.store.state(&block(1, 0)), None, "out of sight at once");
    wait_until("the files to be moved aside", || {
        write_block(&bench.store, 1, b"new").is_ok()
    });
    assert!(told.try_recv().is_err(), "not told before the files are gone");
    assert!(bench.store.pending_deletions() > 0);
    drop(open);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().block.len, 5000);
    assert!(bench.store.has_reported(&POOL.into(), BlockId(1)));
    assert_eq!(read(&bench.store, 1, 3).unwrap(), b"new");
    wait_until("the room to be given back", || {
        bench.used() == before - 5000 - format().meta_len(5000) + 3 + format().meta_len(3)
    });
}
