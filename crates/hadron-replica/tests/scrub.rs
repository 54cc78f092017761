//! Damage on a disk, and how verification and the comparison of directories with memory find and mend it.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_env::disk::{Disk, DiskCall, FaultyDisk, PageHint, RealDisk};
use hadron_replica::*;
use hadron_types::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const POOL: &str = "BP-1-127.0.0.1-1700000000000";

fn format() -> ChunkFormat {
    ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap()
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

struct Fixture {
    dirs: Vec<TempDir>,
    store: ReplicaStore,
}

impl Fixture {
    fn new(volumes: usize) -> Self {
        let dirs: Vec<TempDir> = (0..volumes).map(|_| tempfile::tempdir().unwrap()).collect();
        let store = open(&dirs);
        Self { dirs, store }
    }

    /// Writes a finished replica of `len` bytes.
    fn write(&self, id: i64, len: usize) -> Block {
        let new = NewReplica {
            format: format(),
            storage_type: None,
            storage_id: None,
            interrupt: Arc::new(|| {}),
        };
        let mut writer = self.store.create_rbw(&block(id, 0), new).unwrap();
        let data: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
        let mut sums = Vec::new();
        format().append_sums(&data, &mut sums);
        let packet = Packet {
            offset: 0,
            sums: &sums,
            data: &data,
        };
        writer.write(&[packet], format()).unwrap();
        writer.finalize(Some(len as u64)).unwrap().block
    }

    fn paths(&self, id: i64) -> LocalPaths {
        self.store.local_paths(&block(id, 0)).unwrap()
    }

    fn verify(&self, id: i64) -> Verdict {
        self.store.verify(&POOL.into(), BlockId(id), &mut |_| true)
    }

    fn reconcile(&self) -> (Reconciled, Vec<Repair>) {
        let (mut counts, mut repairs) = (Reconciled::default(), Vec::new());
        for volume in 0..self.dirs.len() {
            let done = self
                .store
                .reconcile(&POOL.into(), volume, &mut || true, &mut |repair| repairs.push(repair));
            counts.add(done.unwrap());
        }
        (counts, repairs)
    }

    /// What a full report says, by id.
    fn report(&self) -> Vec<Block> {
        let storages = self.store.block_report(&POOL.into()).unwrap();
        let mut all: Vec<Block> = storages
            .into_iter()
            .flat_map(|storage| storage.replicas)
            .map(|replica| replica.block)
            .collect();
        all.sort_by_key(|block| block.id);
        all
    }

    fn used(&self) -> u64 {
        let reports = self.store.storage_reports(&POOL.into(), true);
        reports.iter().map(|report| report.usage.dfs_used).sum()
    }
}

fn open(dirs: &[TempDir]) -> ReplicaStore {
    open_on(Arc::new(RealDisk), dirs)
}

fn open_on(disk: Arc<dyn Disk>, dirs: &[TempDir]) -> ReplicaStore {
    let specs: Vec<_> = dirs
        .iter()
        .map(|dir| VolumeSpec {
            dir: dir.path().to_path_buf(),
            storage_type: StorageType::Disk,
            reserve: Reserve::NONE,
        })
        .collect();
    let store = ReplicaStore::open_on(&disk, &specs, StoreOptions::default()).unwrap();
    store.attach_pool(&identity()).unwrap();
    store
}

fn identity() -> PoolIdentity {
    PoolIdentity {
        pool: POOL.into(),
        cluster_id: "CID-1".into(),
        namespace_id: 7,
        ctime: 0,
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, len: u64) {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(len)
        .unwrap();
}

#[test]
fn every_damaged_byte_of_data_or_meta_is_found() {
    let fixture = Fixture::new(1);
    let len = 2000;
    fixture.write(1, len);
    let paths = fixture.paths(1);
    assert!(matches!(fixture.verify(1), Verdict::Good { bytes: 2000 }));
    let meta_len = fs::metadata(&paths.meta).unwrap().len() as usize;
    let data: Vec<(&PathBuf, usize)> = [0, 511, 512, 1535, 1999].map(|at| (&paths.data, at)).to_vec();
    let meta: Vec<(&PathBuf, usize)> = (0..meta_len).map(|at| (&paths.meta, at)).collect();
    for (path, at) in [data, meta].concat() {
        flip(path, at);
        let verdict = fixture.verify(1);
        let found = matches!(&verdict, Verdict::Bad { block, .. } if block.len == 2000);
        assert!(found, "byte {at} of {}: {verdict:?}", path.display());
        flip(path, at);
    }
    // Another bit makes the checksums' kind NULL, as if there were nothing to verify.
    let whole = fs::read(&paths.meta).unwrap();
    let null = [&whole[..2], &[0], &whole[3..]].concat();
    fs::write(&paths.meta, null).unwrap();
    assert!(matches!(fixture.verify(1), Verdict::Bad { .. }));
    fs::write(&paths.meta, whole).unwrap();
    assert!(matches!(fixture.verify(1), Verdict::Good { .. }));
    for (path, len) in [
        (&paths.meta, meta_len - 1),
        (&paths.meta, 3),
        (&paths.data, 1999),
        (&paths.data, 0),
    ] {
        let whole = fs::read(path).unwrap();
        cut(path, len as u64);
        let verdict = fixture.verify(1);
        assert!(
            matches!(verdict, Verdict::Bad { .. }),
            "{} cut: {verdict:?}",
            path.display()
        );
        fs::write(path, whole).unwrap();
    }
}

#[test]
fn what_is_no_finished_replica_is_skipped_and_a_missing_one_forgotten() {
    let fixture = Fixture::new(1);
    assert!(matches!(fixture.verify(9), Verdict::Skipped));
    fixture.write(1, 600);
    let mut steps = 0;
    let mut stop = |_| {
        steps += 1;
        false
    };
    assert!(matches!(
        fixture.store.verify(&POOL.into(), BlockId(1), &mut stop),
        Verdict::Stopped
    ));
    assert_eq!(steps, 1);
    // Damaged, but an append opens it while it is read: nothing is said of it.
    flip(&fixture.paths(1).data, 3);
    let mut writer = None;
    let mut append = |_| {
        let opened = fixture
            .store
            .append(&block(1, 600), GenerationStamp(1002), 600, Arc::new(|| {}));
        writer = Some(opened.unwrap());
        true
    };
    let verdict = fixture.store.verify(&POOL.into(), BlockId(1), &mut append);
    assert!(matches!(verdict, Verdict::Skipped), "{verdict:?}");
    let gone = fixture.write(2, 10);
    fs::remove_file(fixture.paths(2).data).unwrap();
    let verdict = fixture.verify(2);
    assert!(
        matches!(&verdict, Verdict::Missing(replica) if replica.block == gone),
        "{verdict:?}"
    );
    assert!(matches!(fixture.verify(2), Verdict::Skipped));
}

#[test]
fn a_disk_that_cannot_read_is_checked_and_its_replica_bad() {
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let dirs = vec![tempfile::tempdir().unwrap()];
    let store = open_on(Arc::new(disk.clone()), &dirs);
    let fixture = Fixture { dirs, store };
    let block = fixture.write(1, 600_000);
    assert!(matches!(fixture.verify(1), Verdict::Good { bytes: 600_000 }));
    // What was read is forgotten by the page cache, all of it and nothing else.
    let data = fixture.paths(1).data;
    let mut end = 0;
    for (path, hint, offset, len) in disk.hints() {
        assert_eq!((&path, hint, offset), (&data, PageHint::DontNeed, end));
        end += len;
    }
    assert_eq!(end, 600_000);
    let volume = fixture.store.volumes()[0].clone();
    assert_eq!(volume.errors(), 0);
    let damaged = data.clone();
    disk.judge(move |call, path| match call == DiskCall::Read && path == damaged {
        true => Err(std::io::Error::from_raw_os_error(5)),
        false => Ok(()),
    });
    let verdict = fixture.verify(1);
    assert!(
        matches!(&verdict, Verdict::Bad { block: bad, .. } if *bad == block),
        "{verdict:?}"
    );
    // The error has the volume checked, as any does.
    assert!(volume.errors() > 0);
    // A shortage of descriptors says nothing of the replica.
    disk.judge(move |call, path| match call == DiskCall::Open && path == data {
        true => Err(std::io::Error::from_raw_os_error(24)),
        false => Ok(()),
    });
    let verdict = fixture.verify(1);
    assert!(matches!(verdict, Verdict::Failed(_)), "{verdict:?}");
}

#[test]
fn a_walk_sees_each_replica_once_and_goes_on_behind_its_position() {
    let fixture = Fixture::new(1);
    // In several directories; as Hadoop, names are in the order of texts.
    let ids = [1, 2, 10, 256, 600, 65_536, 200_000, 11 << 16];
    for id in ids {
        fixture.write(id, 1);
    }
    let pool = POOL.into();
    let mut walk = BlockWalk::default();
    let mut seen = Vec::new();
    while let Some(id) = fixture.store.walk_on(&pool, 0, &mut walk, Duration::ZERO).unwrap() {
        seen.push(id.0);
        // Also from where a cursor file left it.
        walk = BlockWalk::resume(walk.position().clone());
    }
    assert!(walk.position().at_end);
    assert_eq!(seen, [1, 10, 2, 256, 600, 65_536, 11 << 16, 200_000]);
    let mut at_gone = BlockWalk::resume(WalkPosition {
        dir: Some("subdir0".into()),
        subdir: Some("subdir0".into()),
        entry: Some("blk_11".into()),
        at_end: false,
    });
    let next = fixture.store.walk_on(&pool, 0, &mut at_gone, Duration::ZERO).unwrap();
    assert_eq!(next, Some(BlockId(2)), "behind one that is not there any more");
}

#[test]
fn cursors_are_kept_whole() {
    let fixture = Fixture::new(1);
    let pool = POOL.into();
    assert_eq!(fixture.store.load_cursor(&pool, 0).unwrap(), None);
    for content in [&b"first"[..], b"and second"] {
        fixture.store.save_cursor(&pool, 0, content).unwrap();
        assert_eq!(fixture.store.load_cursor(&pool, 0).unwrap().as_deref(), Some(content));
    }
    let dir = fixture.dirs[0].path().join("current").join(POOL);
    assert_eq!(fs::read(dir.join("scanner.cursor")).unwrap(), b"and second");
    assert!(!dir.join("scanner.cursor.tmp").exists());
}

#[test]
fn directories_that_fit_are_left_alone() {
    let fixture = Fixture::new(2);
    let written: Vec<Block> = (1..20).map(|id| fixture.write(id, 100 * id as usize)).collect();
    let mut open = fixture
        .store
        .create_rbw(
            &block(50, 0),
            NewReplica {
                format: format(),
                storage_type: None,
                storage_id: None,
                interrupt: Arc::new(|| {}),
            },
        )
        .unwrap();
    let used = fixture.used();
    let (counts, repairs) = fixture.reconcile();
    assert_eq!((counts.blocks, counts.differences(), repairs), (19, 0, vec![]));
    assert_eq!(fixture.used(), used);
    open.write(&[], format()).unwrap();
    assert_eq!(fixture.report().len(), written.len() + 1);
}

#[test]
fn each_kind_of_difference_is_mended() {
    type Damage = fn(&LocalPaths);
    type Wanted = fn(&Block) -> Vec<Repair>;
    let corrupt: Wanted = |block| vec![Repair::Corrupt(*block)];
    let rows: [(&str, Damage, Wanted, fn(&Block) -> Option<Block>); 5] = [
        (
            "truncated",
            |paths| cut(&paths.data, 100),
            corrupt,
            |block| Some(Block { len: 100, ..*block }),
        ),
        (
            "longer",
            |paths| cut(&paths.data, 5000),
            corrupt,
            |block| Some(Block { len: 5000, ..*block }),
        ),
        (
            "without meta",
            |paths| fs::remove_file(&paths.meta).unwrap(),
            corrupt,
            |block| Some(*block),
        ),
        (
            "meta of another stamp",
            |paths| {
                let name = paths.meta.to_str().unwrap().replace("_1001.meta", "_1000.meta");
                fs::rename(&paths.meta, name).unwrap();
            },
            corrupt,
            |block| {
                Some(Block {
                    generation_stamp: GenerationStamp(1000),
                    ..*block
                })
            },
        ),
        (
            "without data and meta",
            |paths| {
                fs::remove_file(&paths.data).unwrap();
                fs::remove_file(&paths.meta).unwrap();
            },
            |_| vec![],
            |_| None,
        ),
    ];
    for (name, damage, wanted, left) in rows {
        let fixture = Fixture::new(1);
        let other = fixture.write(1, 700);
        let before = fixture.used();
        let hurt = fixture.write(2, 2000);
        damage(&fixture.paths(2));
        let (counts, repairs) = fixture.reconcile();
        assert_eq!(counts.differences(), 1, "{name}: {counts:?}");
        match left(&hurt) {
            Some(left) => {
                assert_eq!(repairs, wanted(&hurt), "{name}");
                assert_eq!(fixture.report(), [other, left], "{name}");
            }
            None => {
                assert!(
                    matches!(&repairs[..], [Repair::Gone(gone)] if gone.block == hurt),
                    "{name}: {repairs:?}"
                );
                assert_eq!(fixture.report(), [other], "{name}");
                assert!(fixture.used() < before + 100, "{name}");
            }
        }
        if name != "without meta" {
            let (counts, _) = fixture.reconcile();
            assert_eq!(counts.differences(), 0, "{name}: mended");
        }
    }
}

#[test]
fn a_replica_without_data_takes_its_meta_file_along() {
    let fixture = Fixture::new(1);
    let used = fixture.used();
    fixture.write(2, 2000);
    let paths = fixture.paths(2);
    fs::remove_file(&paths.data).unwrap();
    let (counts, repairs) = fixture.reconcile();
    assert_eq!(counts.missing_data, 1);
    assert!(matches!(&repairs[..], [Repair::Gone(_)]));
    assert!(!paths.meta.exists());
    assert_eq!(fixture.used(), used);
}

#[test]
fn unknown_files_are_taken_in_and_meta_files_of_nothing_removed() {
    let fixture = Fixture::new(1);
    let known = fixture.write(1, 300);
    let paths = fixture.paths(1);
    let beside = |name: &str| paths.data.with_file_name(name);
    fs::copy(&paths.data, beside("blk_7")).unwrap();
    fs::copy(&paths.meta, beside("blk_7_1005.meta")).unwrap();
    fs::copy(&paths.data, beside("blk_8")).unwrap();
    fs::copy(&paths.meta, beside("blk_9_1001.meta")).unwrap();
    let (counts, repairs) = fixture.reconcile();
    assert_eq!((counts.missing_memory, counts.orphans, repairs.len()), (2, 1, 2));
    let found = |id, stamp| Block {
        id: BlockId(id),
        generation_stamp: GenerationStamp(stamp),
        len: 300,
    };
    assert_eq!(fixture.report(), [known, found(7, 1005), found(8, 0)]);
    assert!(matches!(fixture.verify(7), Verdict::Good { bytes: 300 }));
    assert!(!beside("blk_9_1001.meta").exists());
    assert_eq!(fixture.reconcile().0.differences(), 0);
}

#[test]
fn a_replica_that_was_moved_is_found_and_of_two_the_newer_stays() {
    let fixture = Fixture::new(2);
    let moved = fixture.write(1, 300);
    let paths = fixture.paths(1);
    // To the other volume, into a directory that is not the formula's.
    let from = fixture.store.volume_of(&POOL.into(), BlockId(1)).unwrap();
    let other = 1 - from;
    let root = |volume: usize| {
        fixture.dirs[volume]
            .path()
            .join("current")
            .join(POOL)
            .join("current/finalized")
    };
    let dir = root(other).join("subdir5/subdir6");
    fs::create_dir_all(&dir).unwrap();
    let to = |path: &Path| dir.join(path.file_name().unwrap());
    fs::rename(&paths.data, to(&paths.data)).unwrap();
    fs::rename(&paths.meta, to(&paths.meta)).unwrap();
    let mut repairs = Vec::new();
    let counts = fixture
        .store
        .reconcile(&POOL.into(), other, &mut || true, &mut |repair| repairs.push(repair))
        .unwrap();
    assert_eq!(counts.mismatched, 1, "{counts:?}");
    assert!(
        matches!(&repairs[..], [Repair::Found(found)] if found.block == moved),
        "{repairs:?}"
    );
    assert!(matches!(fixture.verify(1), Verdict::Good { bytes: 300 }));
    assert_eq!(fixture.store.volume_of(&POOL.into(), BlockId(1)), Some(other));
    assert_eq!(fixture.reconcile().0.differences(), 0);

    // A second pair in the old place: an older one goes, a newer one replaces.
    for (stamp, stays) in [(1000, 1001), (1002, 1002)] {
        fs::create_dir_all(paths.data.parent().unwrap()).unwrap();
        let known = fixture.paths(1);
        fs::copy(&known.data, &paths.data).unwrap();
        fs::copy(&known.meta, paths.meta.with_file_name(format!("blk_1_{stamp}.meta"))).unwrap();
        let (counts, _) = fixture.reconcile();
        assert_eq!(counts.duplicate, 1, "{stamp}");
        assert_eq!(fixture.report()[0].generation_stamp, GenerationStamp(stays));
        assert_eq!(paths.data.exists(), stays == 1002);
        assert_eq!(known.data.exists(), stays == 1001);
        assert!(matches!(fixture.verify(1), Verdict::Good { bytes: 300 }));
        assert_eq!(fixture.reconcile().0.differences(), 0);
    }
}

/// At each of its steps a move has files that the map does not know, or knows no more.
#[test]
fn a_replica_being_moved_is_left_alone() {
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let dirs: Vec<TempDir> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let kinds = [StorageType::Disk, StorageType::Archive];
    let specs: Vec<_> = dirs
        .iter()
        .zip(kinds)
        .map(|(dir, storage_type)| VolumeSpec {
            dir: dir.path().to_path_buf(),
            storage_type,
            reserve: Reserve::NONE,
        })
        .collect();
    let below: Arc<dyn Disk> = Arc::new(disk.clone());
    let store = ReplicaStore::open_on(&below, &specs, StoreOptions::default()).unwrap();
    store.attach_pool(&identity()).unwrap();
    let fixture = Arc::new(Fixture { dirs, store });
    let mut here = fixture.write(1, 300_000);
    here.len = 300_000;
    let from = fixture.store.volume_of(&POOL.into(), BlockId(1)).unwrap();
    let looking = std::sync::atomic::AtomicBool::new(false);
    let compared = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (weak, count) = (Arc::downgrade(&fixture), compared.clone());
    disk.judge(move |_, _| {
        use std::sync::atomic::Ordering::SeqCst;
        // The comparison's own calls are not looked at.
        if let Some(fixture) = weak.upgrade()
            && !looking.swap(true, SeqCst)
        {
            let (counts, _) = fixture.reconcile();
            let found = (
                counts.duplicate,
                counts.mismatched,
                counts.missing_data,
                counts.missing_memory,
            );
            assert_eq!(found, (0, 0, 0, 0));
            count.fetch_add(1, SeqCst);
            looking.store(false, SeqCst);
        }
        Ok(())
    });
    let wanted = ExtendedBlock {
        pool: POOL.into(),
        block: here,
    };
    fixture.store.move_replica(&wanted, kinds[1 - from], None).unwrap();
    // A comparison that found something ends the deleting thread, which then never says that it is done.
    let deadline = Instant::now() + Duration::from_secs(20);
    while fixture.store.pending_deletions() > 0 {
        assert!(Instant::now() < deadline, "the old files are not removed");
        std::thread::yield_now();
    }
    disk.heal();
    assert!(compared.load(std::sync::atomic::Ordering::SeqCst) > 10);
    assert_eq!(fixture.store.volume_of(&POOL.into(), BlockId(1)), Some(1 - from));
    assert!(matches!(fixture.verify(1), Verdict::Good { bytes: 300_000 }));
    assert_eq!(fixture.reconcile().0.differences(), 0);
}

/// While the disks are asked where a replica lies nobody may use it, and the NameNode is not to believe that it is gone.
#[test]
fn a_replica_in_doubt_is_reported_and_told_again() {
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let dirs: Vec<TempDir> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let store = open_on(Arc::new(disk.clone()), &dirs);
    let fixture = Arc::new(Fixture { dirs, store });
    let known = fixture.write(1, 300);
    let paths = fixture.paths(1);
    let from = fixture.store.volume_of(&POOL.into(), BlockId(1)).unwrap();
    let dir = fixture.dirs[1 - from]
        .path()
        .join("current")
        .join(POOL)
        .join("current/finalized/subdir0/subdir0");
    for refused in [false, true] {
        fs::create_dir_all(&dir).unwrap();
        for path in [&paths.data, &paths.meta] {
            fs::copy(path, dir.join(path.file_name().unwrap())).unwrap();
        }
        let held = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (weak, seen) = (Arc::downgrade(&fixture), held.clone());
        disk.judge(move |call, _| {
            if let Some(fixture) = weak.upgrade() {
                assert_eq!(fixture.report().len(), 1);
                assert!(fixture.store.has_reported(&POOL.into(), BlockId(1)));
                if fixture.store.state(&block(1, 0)).is_none() {
                    seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            }
            match call == DiskCall::Remove && refused {
                true => Err(std::io::Error::from_raw_os_error(30)),
                false => Ok(()),
            }
        });
        let mut repairs = Vec::new();
        let done = fixture
            .store
            .reconcile(&POOL.into(), 1 - from, &mut || true, &mut |repair| repairs.push(repair));
        disk.heal();
        assert_eq!(done.is_err(), refused, "{done:?}");
        assert!(held.load(std::sync::atomic::Ordering::SeqCst) > 0, "it was in doubt");
        assert!(
            matches!(&repairs[..], [Repair::Found(found)] if found.block == known),
            "{repairs:?}"
        );
        assert!(matches!(fixture.verify(1), Verdict::Good { bytes: 300 }));
        assert_eq!(dir.join("blk_1").exists(), refused);
    }
}

#[test]
fn a_replica_that_gets_a_new_stamp_is_left_alone() {
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let dirs: Vec<TempDir> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let store = open_on(Arc::new(disk.clone()), &dirs);
    let fixture = Arc::new(Fixture { dirs, store });
    fixture.write(1, 300);
    let paths = fixture.paths(1);
    let from = fixture.store.volume_of(&POOL.into(), BlockId(1)).unwrap();
    // A second pair, which is there to be settled.
    let dir = fixture.dirs[1 - from]
        .path()
        .join("current")
        .join(POOL)
        .join("current/finalized/subdir0/subdir0");
    fs::create_dir_all(&dir).unwrap();
    for path in [&paths.data, &paths.meta] {
        fs::copy(path, dir.join(path.file_name().unwrap())).unwrap();
    }
    let compared = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (weak, count) = (Arc::downgrade(&fixture), compared.clone());
    disk.judge(move |call, _| {
        if let (DiskCall::Rename, Some(fixture)) = (call, weak.upgrade()) {
            // The map has the new stamp, the disk the old one.
            let (counts, repairs) = fixture.reconcile();
            assert_eq!((counts.differences(), repairs), (0, Vec::new()));
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        Ok(())
    });
    let to = GenerationStamp(1002);
    let closed = fixture.store.recover_close(&block(1, 300), to, 300).unwrap();
    assert_eq!(closed.block.generation_stamp, to);
    assert_eq!(compared.load(std::sync::atomic::Ordering::SeqCst), 1);
    disk.heal();
    assert_eq!(fixture.reconcile().0.duplicate, 1);
    assert!(matches!(fixture.verify(1), Verdict::Good { bytes: 300 }));
    assert_eq!(fixture.report()[0].generation_stamp, to);
}

#[test]
fn a_volume_that_was_taken_away_is_not_taken_for_lost_replicas() {
    let fixture = Fixture::new(1);
    fixture.write(1, 300);
    let data = fixture.paths(1).data;
    let dir = fixture.dirs[0].path();
    let aside = dir.with_extension("aside");
    fs::rename(dir, &aside).unwrap();
    let done = fixture
        .store
        .reconcile(&POOL.into(), 0, &mut || true, &mut |repair| panic!("{repair:?}"));
    assert!(done.is_err());
    // Its check, which the error ordered, may have taken it out of use meanwhile; the replica's files are what counts.
    fs::rename(&aside, dir).unwrap();
    assert!(data.exists());
}
