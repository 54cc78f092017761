//! The append-only store: whatever the moment, it opens with the commits answered, or those and the one on its way.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hadron_env::disk::{Disk, Fault, SimDisk};
use hadron_env::random::{Random, SeededRandom};
use hadron_writecache::backing::{DiskOpener, Opener};
use hadron_writecache::io::{Direct, RecordIo};
use hadron_writecache::worm::{Address, Commit, WormError, WormFile};
use parking_lot::Mutex;

use crate::dying::Dying;

const PATH: &str = "/log";
const BUFFER: usize = 8192;

fn direct(disk: &SimDisk) -> Direct {
    Direct::new(DiskOpener::new(Arc::new(disk.clone()), PATH).open().unwrap())
}

fn created() -> SimDisk {
    let disk = SimDisk::new();
    WormFile::create(&disk, Path::new(PATH), 77, b"mine").unwrap();
    disk
}

fn open_on(io: Arc<dyn RecordIo>) -> Result<(WormFile, Vec<Commit>), WormError> {
    let mut commits = Vec::new();
    let (file, opened) = WormFile::open(io, BUFFER, |commit| commits.push(commit))?;
    assert_eq!(opened.user, b"mine");
    Ok((file, commits))
}

fn open(disk: &SimDisk) -> Result<(WormFile, Vec<Commit>), WormError> {
    open_on(Arc::new(direct(disk)))
}

fn content(file: &WormFile, commits: &[Commit]) -> Vec<Vec<u8>> {
    let reader = file.reader();
    let read = |commit: &Commit| {
        let address = Address {
            offset: commit.start,
            len: commit.len,
        };
        reader.read(address).unwrap().to_vec()
    };
    commits.iter().map(read).collect()
}

/// The content of each commit answered, and of one that was not.
#[derive(Default)]
struct History {
    committed: Vec<Vec<u8>>,
    on_its_way: Option<Vec<u8>>,
}

impl History {
    fn check(&mut self, file: &WormFile, commits: &[Commit], context: &str) {
        let found = content(file, commits);
        if found.len() == self.committed.len() + 1 {
            self.committed.extend(self.on_its_way.take());
        }
        assert!(found == self.committed, "{context}: {} commits", found.len());
        assert_eq!(file.sequence(), found.len() as u64);
        self.on_its_way = None;
    }
}

fn work(file: &mut WormFile, seed: u64, rounds: u64, history: &mut History) -> Result<(), WormError> {
    let random = SeededRandom::new(seed);
    for round in 0..rounds {
        let mut all = Vec::new();
        let mut records = Vec::new();
        for _ in 0..=random.below(4) {
            let len = [random.below(200), random.below(9000), 8128, 40_000][random.below(4) as usize];
            let mut record = vec![0; len as usize];
            random.fill(&mut record);
            records.push((file.append(&record)?, record.clone()));
            all.extend_from_slice(&record);
        }
        if all.is_empty() {
            continue;
        }
        if round % 4 == 1 {
            file.prepare(30_000)?;
        }
        history.on_its_way = Some(all.clone());
        let commit = file.commit()?.unwrap();
        assert!(commit.end.is_multiple_of(4096) && commit.len == all.len() as u64);
        history.committed.push(all);
        history.on_its_way = None;
        for (address, record) in records {
            assert_eq!(file.reader().read(address).unwrap(), record);
        }
    }
    Ok(())
}

/// Runs to operation `first`, then, opened again, to operation `second`, then looks. Returns whether each was reached.
fn run(first: u64, killed: bool, second: Option<u64>, seed: u64) -> (bool, bool) {
    let context = format!("killed {killed} at {first}, then power loss at {second:?}, seed {seed}");
    let disk = created();
    let mut history = History::default();
    let opened = if killed {
        open_on(Arc::new(Dying::new(direct(&disk), first)))
    } else {
        disk.inject(first, Fault::Crash);
        open(&disk)
    };
    let done = opened.and_then(|(mut file, _)| work(&mut file, seed, 8, &mut history));
    if killed {
        disk.kill_process();
    } else {
        disk.crash(seed);
    }
    let mut reached = false;
    if let Some(second) = second {
        disk.inject(second, Fault::Crash);
        if let Ok((mut file, commits)) = open(&disk) {
            history.check(&file, &commits, &context);
            let _failed = work(&mut file, seed + 1000, 3, &mut history);
        }
        reached = disk.is_powered_off();
        disk.crash(seed + 1);
    }
    let (mut file, commits) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    history.check(&file, &commits, &context);
    work(&mut file, seed + 2000, 2, &mut history).unwrap_or_else(|error| panic!("{context}: {error}"));
    (done.is_err(), reached)
}

#[test]
fn every_prefix_of_operations_leaves_whole_commits() {
    for seed in 0..8 {
        let mut at = 0;
        while run(at, false, None, seed).0 {
            at += 1;
        }
        assert!(at > 20, "the run has many operations: {at}");
    }
}

#[test]
fn recovery_too_may_be_cut_at_every_operation() {
    let mut reached = [0; 2];
    for first in 4..16 {
        for (seed, killed) in (0..3).flat_map(|seed| [(seed, false), (seed, true)]) {
            let mut second = 0;
            while run(first, killed, Some(second), seed).1 {
                second += 1;
            }
            reached[usize::from(killed)] += second;
        }
    }
    assert!(reached.into_iter().all(|count| count > 150), "{reached:?}");
}

#[test]
fn making_a_file_leaves_all_of_it_or_nothing() {
    for at in 0..8 {
        for seed in 0..8 {
            let disk = SimDisk::new();
            disk.inject(at, Fault::Crash);
            let made = WormFile::create(&disk, Path::new(PATH), 77, b"mine").is_ok();
            disk.crash(seed);
            if made || disk.exists(Path::new(PATH)).unwrap() {
                assert_eq!(open(&disk).unwrap().1, []);
            }
        }
    }
}

/// Notes each write.
#[derive(Debug)]
struct Noting {
    io: Direct,
    writes: Mutex<Vec<(u64, usize)>>,
}

impl RecordIo for Noting {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writes.lock().push((offset, bytes.len()));
        self.io.write(offset, bytes)
    }
    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.io.read(offset, len)
    }
    fn clear(&self, offset: u64, len: u64) {
        self.io.clear(offset, len);
    }
    fn sync(&self) -> io::Result<()> {
        self.io.sync()
    }
    fn reset(&self) -> io::Result<()> {
        self.io.reset()
    }
    fn set_extent(&self, extent: u64) -> io::Result<()> {
        self.io.set_extent(extent)
    }
    fn extent(&self) -> io::Result<u64> {
        self.io.extent()
    }
}

// covers: WC-13
#[test]
fn each_buffer_is_one_write_behind_the_one_before_and_no_byte_is_written_twice() {
    let disk = created();
    let noting = Arc::new(Noting {
        io: direct(&disk),
        writes: Mutex::default(),
    });
    let (mut file, _) = open_on(noting.clone()).unwrap();
    let mut at = 4096;
    for len in [100, 1000, 30_000, 0, 7, 8192] {
        let address = file.append(&vec![1; len]).unwrap();
        assert_eq!(
            address,
            Address {
                offset: at,
                len: len as u64
            },
            "exactly behind the one before"
        );
        at += len as u64;
    }
    file.commit().unwrap();
    let writes = std::mem::take(&mut *noting.writes.lock());
    let expected = [
        (4096, 8192),
        (12_288, 8192),
        (20_480, 8192),
        (28_672, 8192),
        (36_864, 8192),
    ];
    assert_eq!(writes, expected);
    for _ in 0..3 {
        file.append(b"small").unwrap();
        file.commit().unwrap();
    }
    assert_eq!(file.commit().unwrap(), None, "nothing to commit");
    assert_eq!(*noting.writes.lock(), [(45_056, 4096), (49_152, 4096), (53_248, 4096)]);
}

#[test]
fn what_is_not_committed_cannot_be_read() {
    let disk = created();
    let (mut file, _) = open(&disk).unwrap();
    let reader = file.reader();
    let address = file.append(&[5; 20_000]).unwrap();
    let bad = |address| matches!(reader.read(address), Err(WormError::BadAddress { .. }));
    assert!(bad(address));
    file.commit().unwrap();
    assert_eq!(reader.read(address).unwrap(), [5; 20_000][..]);
    assert!(bad(Address { offset: 0, len: 10 }));
    assert!(bad(Address {
        offset: address.offset,
        len: u64::MAX
    }));
    assert!(bad(Address {
        offset: file.committed(),
        len: 1
    }));
}

#[test]
fn damage_before_a_whole_commit_stops_and_a_torn_tail_is_cut() {
    let disk = created();
    let (mut file, _) = open(&disk).unwrap();
    let mut ends = Vec::new();
    for number in 0..4 {
        file.append(&vec![number; 10_000]).unwrap();
        ends.push(file.commit().unwrap().unwrap().end);
    }
    drop(file);
    let flip = |offset| disk.flip_bit(Path::new(PATH), offset, 3);
    for (offset, damaged, later) in [(5000, 1, 2), (ends[0] - 1, 1, 2), (ends[1] + 9, 3, 4)] {
        flip(offset);
        let error = open(&disk).unwrap_err();
        let named =
            matches!(&error, WormError::Damaged { sequence, later: l, .. } if (*sequence, *l) == (damaged, later));
        assert!(named, "{offset}: {error}");
        flip(offset);
    }
    flip(ends[2] + 9);
    let (file, commits) = open(&disk).unwrap();
    assert_eq!(
        (commits.len(), file.committed()),
        (3, ends[2]),
        "the last one may be torn"
    );
    assert_eq!(direct(&disk).extent().unwrap(), ends[2]);
    flip(20);
    assert!(matches!(open(&disk), Err(WormError::NoHeader { .. })));
}

#[test]
fn a_record_that_looks_like_a_trailer_is_a_record() {
    let disk = created();
    let (mut file, _) = open(&disk).unwrap();
    file.append(b"first").unwrap();
    let first = file.commit().unwrap().unwrap();
    let copy = direct(&disk).read(first.start, 4096).unwrap();
    let address = file.append(&copy.repeat(3)).unwrap();
    file.commit().unwrap();
    drop(file);
    let (file, commits) = open(&disk).unwrap();
    assert_eq!(
        (commits.len(), file.reader().read(address).unwrap()),
        (2, copy.repeat(3).into())
    );
}

#[test]
fn after_a_failed_operation_nothing_more_is_done() {
    for at in 0..60 {
        let disk = created();
        let mut history = History::default();
        let (mut file, _) = open(&disk).unwrap();
        disk.inject(at, Fault::Error(io::ErrorKind::Other));
        if work(&mut file, 5, 8, &mut history).is_ok() {
            return;
        }
        assert!(matches!(file.append(b"x"), Err(WormError::Poisoned { .. })));
        assert!(matches!(file.commit(), Err(WormError::Poisoned { .. })));
        drop(file);
        let (file, commits) = open(&disk).unwrap();
        history.check(&file, &commits, &format!("error at {at}"));
    }
    panic!("the run has more operations than expected");
}
