//! The read-write store: whatever the moment, it opens at the last commit answered or the one on its way, whole.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use hadron_env::disk::{Disk, Fault, SimDisk};
use hadron_env::random::{Random, SeededRandom};
use hadron_writecache::backing::{DiskOpener, Opener};
use hadron_writecache::cached::Cached;
use hadron_writecache::config::Config;
use hadron_writecache::io::{Direct, RecordIo};
use hadron_writecache::rw::{Geometry, RwError, RwStore, Slot};

use crate::dying::Dying;

const PATH: &str = "/store";
const GEOMETRY: Geometry = Geometry {
    unit_bytes: 512,
    region_units: 8,
    max_regions: 120,
};

fn open_cached(disk: &SimDisk) -> Result<RwStore, RwError> {
    let config = Config {
        buffer_len: 2048,
        ..Config::rw()
    };
    let opener = Arc::new(DiskOpener::new(Arc::new(disk.clone()), PATH));
    RwStore::open(Box::new(Cached::open(config, opener).unwrap()))
}

/// Records by slot, and the user's part of the root.
type State = (BTreeMap<Slot, Vec<u8>>, Vec<u8>);

fn direct(disk: &SimDisk) -> Direct {
    Direct::new(DiskOpener::new(Arc::new(disk.clone()), PATH).open().unwrap())
}

fn open(disk: &SimDisk) -> Result<RwStore, RwError> {
    RwStore::open(Box::new(direct(disk)))
}

fn created() -> SimDisk {
    let disk = SimDisk::new();
    RwStore::create(&disk, Path::new(PATH), GEOMETRY, 7).unwrap();
    disk
}

fn content(store: &RwStore) -> State {
    let read = |slot: Slot| {
        let head = store.read(slot, 0, 4).unwrap();
        let len = u32::from_le_bytes(head[..].try_into().unwrap()) as usize;
        (slot, store.read(slot, 0, len).unwrap().to_vec())
    };
    (store.slots().into_iter().map(read).collect(), store.user())
}

/// A record that tells its length first.
fn record(random: &SeededRandom) -> Vec<u8> {
    let mut bytes = vec![0; 4 + random.below(3000) as usize];
    random.fill(&mut bytes);
    let len = bytes.len() as u32;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes
}

/// What a run knows: the last commit answered, and one that was not.
struct History {
    committed: State,
    on_its_way: Option<State>,
}

/// Puts, frees, moves, aborts and commits until something fails or `rounds` are over.
fn work(store: &RwStore, seed: u64, rounds: u64, history: &mut History) -> Result<(), RwError> {
    let random = SeededRandom::new(seed);
    let mut now = history.committed.clone();
    for round in 0..rounds {
        for _ in 0..random.below(7) {
            let bytes = record(&random);
            now.0.insert(store.put(&bytes)?, bytes);
        }
        let _lost_by_a_crash = store.reserve(random.below(4096))?;
        // Every third round frees most, so that the file shrinks.
        let frees = if round % 3 == 2 {
            now.0.len() * 3 / 4
        } else {
            now.0.len() / 5
        };
        for _ in 0..frees {
            let slot = *now.0.keys().nth(random.below(now.0.len() as u64) as usize).unwrap();
            store.free(slot)?;
            now.0.remove(&slot);
        }
        if let Some((slot, bytes)) = now.0.pop_last() {
            let lower = store.move_down(slot, bytes.len())?;
            now.0.insert(lower.unwrap_or(slot), bytes);
        }
        if random.below(6) == 0 {
            store.abort()?;
            now = history.committed.clone();
            continue;
        }
        now.1 = format!("round {round} of {seed}").into_bytes();
        history.on_its_way = Some(now.clone());
        store.commit(&now.1)?;
        history.committed = now.clone();
        history.on_its_way = None;
        assert_eq!(content(store), now, "round {round} of {seed}");
    }
    Ok(())
}

fn check(store: &RwStore, history: &mut History, context: &str) {
    let found = content(store);
    if history.on_its_way.as_ref() == Some(&found) {
        history.committed = found;
    } else {
        assert!(
            found == history.committed,
            "{context}: neither the last commit nor the one on its way"
        );
    }
    history.on_its_way = None;
}

/// What happens to the process between two runs.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    PowerLoss,
    Kill,
}

/// Runs to operation `first`, then, opened again, to operation `second`, then looks. Returns whether each was reached.
fn run(first: u64, end: End, second: Option<u64>, seed: u64) -> (bool, bool) {
    let context = format!("{end:?} at {first}, then power loss at {second:?}, seed {seed}");
    let disk = created();
    let mut history = History {
        committed: Default::default(),
        on_its_way: None,
    };
    let opened = match end {
        End::PowerLoss => {
            disk.inject(first, Fault::Crash);
            open(&disk)
        }
        End::Kill => RwStore::open(Box::new(Dying::new(direct(&disk), first))),
    };
    let done = opened.and_then(|store| work(&store, seed, 12, &mut history));
    match end {
        End::PowerLoss => disk.crash(seed),
        End::Kill => disk.kill_process(),
    }
    let mut reached = false;
    if let Some(second) = second {
        disk.inject(second, Fault::Crash);
        if let Ok(store) = open(&disk) {
            check(&store, &mut history, &context);
            let _failed = work(&store, seed + 1000, 4, &mut history);
        }
        reached = disk.is_powered_off();
        disk.crash(seed + 1);
    }
    let store = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    check(&store, &mut history, &context);
    work(&store, seed + 2000, 3, &mut history).unwrap_or_else(|error| panic!("{context}: {error}"));
    (done.is_err(), reached)
}

// covers: WC-49
#[test]
fn every_prefix_of_operations_leaves_a_whole_commit() {
    for seed in 0..6 {
        let mut at = 0;
        while run(at, End::PowerLoss, None, seed).0 {
            at += 1;
        }
        assert!(at > 60, "the run has many operations: {at}");
    }
}

// covers: WC-49
#[test]
fn through_a_cache_too_every_prefix_leaves_a_whole_commit() {
    for seed in 0..4 {
        for at in 0.. {
            let disk = created();
            let mut history = History {
                committed: Default::default(),
                on_its_way: None,
            };
            disk.inject(at, Fault::Crash);
            let done = open_cached(&disk).and_then(|store| work(&store, seed, 8, &mut history));
            disk.crash(seed);
            let store = open_cached(&disk).unwrap();
            check(&store, &mut history, &format!("crash at {at}, seed {seed}"));
            work(&store, seed + 2000, 2, &mut history).unwrap();
            if done.is_ok() {
                assert!(at > 30, "the run has many operations: {at}");
                break;
            }
        }
    }
}

// covers: WC-26, WC-41
#[test]
fn a_record_freed_before_the_commit_never_reaches_the_disk() {
    let disk = created();
    let opener = Arc::new(DiskOpener::new(Arc::new(disk.clone()), PATH));
    let cached = Arc::new(Cached::open(Config::rw(), opener).unwrap());
    let store = RwStore::open(Box::new(Arc::clone(&cached))).unwrap();
    let kept = store.put(&[1; 700]).unwrap();
    let gone = store.put(&[0xEE; 900]).unwrap();
    // Pieces of one record, of which each waits under an offset of its own.
    store.write(kept, 700, &[2; 100]).unwrap();
    store.free(gone).unwrap();
    assert_eq!(store.read(kept, 690, 20).unwrap()[..], [[1; 10], [2; 10]].concat());
    store.commit(b"").unwrap();
    let bytes = disk.read(Path::new(PATH), 1 << 20).unwrap();
    assert!(bytes.windows(8).all(|window| window != [0xEE; 8]));
    assert!(store.block_sequence() > 0, "sealed buffers carried it");
    assert_eq!(cached.cache().sequence(), 1, "the root's own, of the next count");
}

/// A cache that lets somebody act while a commit is on its way: before its next sync.
#[derive(Debug)]
struct Interrupted {
    cached: Arc<Cached>,
    freed: Mutex<Option<(Weak<RwStore>, Slot)>>,
}

impl RecordIo for Interrupted {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.cached.write(offset, bytes)
    }
    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.cached.read(offset, len)
    }
    fn clear(&self, offset: u64, len: u64) {
        self.cached.clear(offset, len);
    }
    fn sync(&self) -> io::Result<()> {
        if let Some((store, slot)) = self.freed.lock().unwrap().take() {
            store.upgrade().unwrap().free(slot).unwrap();
        }
        self.cached.sync()
    }
    fn reset(&self) -> io::Result<()> {
        self.cached.reset()
    }
    fn set_extent(&self, extent: u64) -> io::Result<()> {
        self.cached.set_extent(extent)
    }
    fn extent(&self) -> io::Result<u64> {
        self.cached.extent()
    }
}

// covers: WC-49
#[test]
fn a_record_freed_while_a_commit_lists_it_is_in_that_commit() {
    let disk = created();
    let opener = Arc::new(DiskOpener::new(Arc::new(disk.clone()), PATH));
    let io = Arc::new(Interrupted {
        cached: Arc::new(Cached::open(Config::rw(), opener).unwrap()),
        freed: Mutex::default(),
    });
    let store = Arc::new(RwStore::open(Box::new(Arc::clone(&io))).unwrap());
    let slot = store.put(&[7; 700]).unwrap();
    *io.freed.lock().unwrap() = Some((Arc::downgrade(&store), slot));
    store.commit(b"with it").unwrap();
    assert_eq!(store.slots(), [], "it was freed");
    disk.crash(1);
    let store = open(&disk).unwrap();
    assert_eq!((store.slots(), store.user()), (vec![slot], b"with it".to_vec()));
    assert_eq!(store.read(slot, 0, 700).unwrap()[..], [7; 700]);
}

#[test]
fn recovery_too_may_be_cut_at_every_operation() {
    let mut reached = [0; 2];
    for first in (24..36).chain([60, 71]) {
        for (seed, end) in (0..4).flat_map(|seed| [(seed, End::PowerLoss), (seed, End::Kill)]) {
            let mut second = 0;
            while run(first, end, Some(second), seed).1 {
                second += 1;
            }
            reached[usize::from(end == End::Kill)] += second;
        }
    }
    assert!(reached.into_iter().all(|count| count > 500), "{reached:?}");
}

#[test]
fn making_a_store_leaves_all_of_it_or_nothing() {
    for at in 0..10 {
        for seed in 0..8 {
            let disk = SimDisk::new();
            disk.inject(at, Fault::Crash);
            let made = RwStore::create(&disk, Path::new(PATH), GEOMETRY, 7).is_ok();
            disk.crash(seed);
            if made || disk.exists(Path::new(PATH)).unwrap() {
                assert_eq!(open(&disk).unwrap().slots(), []);
            }
        }
    }
}

// covers: WC-29
#[test]
fn after_a_failed_operation_nothing_more_is_done_until_the_store_is_opened_again() {
    for at in 0..200 {
        let disk = created();
        let mut history = History {
            committed: Default::default(),
            on_its_way: None,
        };
        let store = open(&disk).unwrap();
        disk.inject(at, Fault::Error(io::ErrorKind::Other));
        if work(&store, 3, 12, &mut history).is_ok() {
            break;
        }
        let again = [
            store.put(b"x").err(),
            store.commit(b"").err(),
            store.sync().err(),
            store.abort().err(),
        ];
        assert!(
            again
                .iter()
                .all(|error| matches!(error, Some(RwError::Poisoned { .. }))),
            "{at}: {again:?}"
        );
        drop(store);
        check(&open(&disk).unwrap(), &mut history, &format!("error at {at}"));
    }
}

#[test]
fn a_full_disk_refuses_and_harms_nothing() {
    let disk = created();
    let store = open(&disk).unwrap();
    let first = store.put(&[7; 100]).unwrap();
    store.commit(b"one").unwrap();
    disk.set_capacity(store.space().extent);
    assert!(matches!(store.put(&[8; 4000]), Err(RwError::Io { .. })));
    let second = store.put(&[9; 100]).unwrap();
    store.commit(b"two").unwrap();
    drop(store);
    assert_eq!(open(&disk).unwrap().slots(), [first, second]);
}

#[test]
fn damage_is_named_and_never_taken_for_a_commit() {
    let disk = created();
    let store = open(&disk).unwrap();
    for _ in 0..40 {
        store.put(&[1; 3000]).unwrap();
    }
    store.commit(b"").unwrap();
    drop(store);
    let page = 8192 + 4096;
    for (offset, expected) in [(page + 40, "wrong checksum"), (page, "no metadata page")] {
        disk.flip_bit(Path::new(PATH), offset, 0);
        let error = open(&disk).unwrap_err();
        let RwError::Damaged { offset: at, .. } = &error else {
            panic!("{error}");
        };
        assert!(*at == page && error.to_string().contains(expected), "{error}");
        disk.flip_bit(Path::new(PATH), offset, 0);
    }
    open(&disk).unwrap();
    let cut = DiskOpener::new(Arc::new(disk.clone()), PATH).open().unwrap();
    cut.set_extent(cut.extent().unwrap() - 1).unwrap();
    assert!(matches!(open(&disk), Err(RwError::Damaged { .. })));
    cut.set_extent(5000).unwrap();
    assert!(open(&disk).is_err());
}

#[test]
fn room_of_deleted_records_is_used_again_and_the_file_shrinks() {
    let disk = created();
    let store = open(&disk).unwrap();
    let slots: Vec<_> = (0..400).map(|_| store.put(&[3; 1000]).unwrap()).collect();
    store.commit(b"").unwrap();
    let full = store.space();
    for slot in slots.iter().step_by(2) {
        store.free(*slot).unwrap();
    }
    store.commit(b"").unwrap();
    assert_eq!(store.space().extent, full.extent, "holes everywhere");
    for slot in slots.iter().skip(1).step_by(2).rev() {
        if store.move_down(*slot, 1000).unwrap().is_none() {
            break;
        }
    }
    store.commit(b"").unwrap();
    store.commit(b"next").unwrap();
    let space = store.space();
    assert!(space.regions <= full.regions * 9 / 16 + 1, "{space:?} of {full:?}");
    assert_eq!(
        DiskOpener::new(Arc::new(disk.clone()), PATH)
            .open()
            .unwrap()
            .extent()
            .unwrap(),
        space.extent
    );
    assert_eq!(content_lens(&store), 200);
}

fn content_lens(store: &RwStore) -> usize {
    let whole = |slot: &Slot| store.read(*slot, 0, 1000).unwrap() == [3; 1000][..];
    store.slots().iter().filter(|slot| whole(slot)).count()
}

// covers: WC-14
#[test]
fn threads_reserve_write_and_commit_together() {
    let disk = created();
    let store = Arc::new(open(&disk).unwrap());
    let put = |number: u8| {
        let store = Arc::clone(&store);
        std::thread::spawn(move || {
            for round in 0..40 {
                let slot = store.put(&[number; 700]).unwrap();
                if round % 8 == 7 {
                    store.commit(&[]).unwrap();
                }
                if round % 2 == 0 {
                    store.free(slot).unwrap();
                }
            }
        })
    };
    let threads: Vec<_> = (1..=4).map(put).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    store.commit(&[1]).unwrap();
    drop(store);
    let store = open(&disk).unwrap();
    assert_eq!(store.slots().len(), 80);
    for slot in store.slots() {
        let bytes = store.read(slot, 0, 700).unwrap();
        assert!(bytes.iter().all(|byte| *byte == bytes[0] && *byte > 0));
    }
}
