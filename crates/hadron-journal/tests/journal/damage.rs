//! Damage that no crash leaves behind: start-up stops and says where, or another dir makes it good.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use hadron_env::{Disk, Open};
use hadron_journal::suite::{Addition, Register};
use hadron_journal::{CodecError, CommandLog, Entry, ImageReader, LocalLog, LogError, OpenError, StateMachine};

use crate::support::{Fixture, assert_history, text_of};

fn damaged_at(result: Result<crate::support::Running, OpenError>) -> (PathBuf, u64, String) {
    match result {
        Err(OpenError::Damaged {
            path, offset, reason, ..
        }) => (path, offset, reason),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("opened in spite of damage"),
    }
}

#[test]
fn a_flipped_bit_in_the_middle_stops_with_file_and_offset() {
    let fixture = Fixture::new(1);
    let running = fixture.open();
    running.add_all(0..2).unwrap();
    fixture.disk.kill_process();
    drop(running);
    let segment = fixture.segments(0)[0].clone();
    let offset = fixture.find(&segment, &text_of(0));
    fixture.disk.flip_bit(&segment, offset, 3);
    let (path, at, reason) = damaged_at(fixture.try_open());
    assert_eq!((path, at), (segment.clone(), 4096));
    assert!(reason.contains("good batch follows at offset 8192"), "{reason}");
    fixture.disk.flip_bit(&segment, offset, 3);
    assert_history(&fixture.open().numbers(), 2, 2, "healed");
}

#[test]
fn every_bit_of_a_closed_segment_counts() {
    let fixture = Fixture::new(1);
    fixture.write(0..1);
    let segment = fixture.segments(0)[0].clone();
    let end = fixture.find(&segment, &text_of(0)) + text_of(0).len() as u64;
    for offset in (0..64).chain(4096..end) {
        fixture.disk.flip_bit(&segment, offset, (offset % 8) as u8);
        assert_eq!(damaged_at(fixture.try_open()).0, segment, "offset {offset}");
        fixture.disk.flip_bit(&segment, offset, (offset % 8) as u8);
    }
    assert_history(&fixture.open().numbers(), 1, 1, "healed");
}

#[test]
fn a_torn_tail_is_cut() {
    let fixture = Fixture::new(1);
    let running = fixture.open();
    running.add_all(0..2).unwrap();
    fixture.disk.kill_process();
    drop(running);
    let segment = fixture.segments(0)[0].clone();
    let offset = fixture.find(&segment, &text_of(1));
    fixture.disk.flip_bit(&segment, offset, 0);
    let running = fixture.open();
    assert_history(&running.numbers(), 1, 1, "the last batch was not whole");
    running.add(1).unwrap();
    running.close();
    assert_eq!(
        fixture.disk.read(&segment, 1 << 20).unwrap().len(),
        8192,
        "cut behind the good batch"
    );
    assert_history(&fixture.open().numbers(), 2, 2, "goes on");
}

#[test]
fn damage_in_one_of_two_dirs_is_repaired_from_the_other() {
    let fixture = Fixture::new(2);
    fixture.write(0..10);
    let segment = fixture.segments(1)[0].clone();
    fixture.disk.flip_bit(&segment, 5000, 1);
    fixture.disk.flip_bit(&segment, 4100, 1);
    let running = fixture.open();
    assert_history(&running.numbers(), 10, 10, "from the good dir");
    assert_eq!(running.log.health().borrow().live_dirs.len(), 2);
    running.close();
    let mut only_second = fixture.options.clone();
    only_second.dirs.remove(0);
    assert_history(
        &fixture.try_open_with(&only_second).unwrap().numbers(),
        10,
        10,
        "from the repaired dir",
    );
}

#[test]
fn a_missing_segment_is_a_gap() {
    let fixture = Fixture::new(1);
    for start in 0..3 {
        fixture.write(start * 3..start * 3 + 3);
    }
    let segments = fixture.segments(0);
    assert!(segments.len() >= 3, "{segments:?}");
    let bytes = fixture.disk.read(&segments[1], 1 << 20).unwrap();
    fixture.disk.remove_file(&segments[1]).unwrap();
    let (path, _, reason) = damaged_at(fixture.try_open());
    assert_eq!(path, segments[0]);
    assert!(reason.contains("missing"), "{reason}");
    let file = fixture.disk.open(&segments[1], Open::CREATE_NEW).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    assert_history(&fixture.open().numbers(), 9, 9, "healed");
    fixture.disk.remove_file(&segments[0]).unwrap();
    assert!(damaged_at(fixture.try_open()).2.contains("entries 1 to"));
}

#[test]
fn a_damaged_image_falls_back_to_the_one_before() {
    let fixture = Fixture::new(1);
    let running = fixture.open();
    for round in 0..4 {
        running.add_all(round * 5..round * 5 + 5).unwrap();
        assert_eq!(running.log.checkpoint().wait().unwrap().0, round * 5 + 5);
    }
    running.add_all(20..23).unwrap();
    running.close();
    let images = fixture.images(0);
    assert_eq!(images.len(), 2, "older images are removed");
    fixture.disk.flip_bit(&images[1], 70, 1);
    let running = fixture.open();
    assert_history(&running.numbers(), 23, 23, "older image, longer replay");
    assert_eq!(running.log.opened().entries_replayed, 8);
    running.close();
    fixture.disk.flip_bit(&images[0], 70, 1);
    let (_, _, reason) = damaged_at(fixture.try_open());
    assert!(reason.contains("no other image"), "{reason}");
}

#[test]
fn dirs_that_do_not_fit_are_refused() {
    let fixture = Fixture::new(2);
    let text = |options: &hadron_journal::Options| match fixture.try_open_with(options) {
        Err(error) => error.to_string(),
        Ok(_) => String::new(),
    };
    let with_dirs = |dirs: &[&str]| hadron_journal::Options {
        dirs: dirs.iter().map(PathBuf::from).collect(),
        ..fixture.options.clone()
    };
    assert!(text(&with_dirs(&[])).contains("dfs.namenode.name.dir"));
    assert!(text(&with_dirs(&["/name0", "/none"])).contains("does not exist"));
    fixture.disk.create_dir_all(&PathBuf::from("/blank")).unwrap();
    assert!(text(&with_dirs(&["/blank"])).contains("--format"));

    let other = hadron_journal::Identity {
        namespace_id: 1,
        ..crate::support::identity()
    };
    let env = fixture.env();
    hadron_journal::format(&env, &[PathBuf::from("/other")], &other, &Register::new(), false).unwrap();
    assert!(text(&with_dirs(&["/name0", "/other"])).contains("different file systems"));
    assert!(hadron_journal::format(&env, &[PathBuf::from("/other")], &other, &Register::new(), false).is_err());
    hadron_journal::format(&env, &[PathBuf::from("/other")], &other, &Register::new(), true).unwrap();
    assert_eq!(
        hadron_journal::read_identity(&fixture.disk, &[PathBuf::from("/other")]).unwrap(),
        Some(other)
    );

    let running = fixture.open();
    assert!(text(&fixture.options).contains("in use"));
    running.add(0).unwrap();
    running.close();
    assert_eq!(text(&with_dirs(&["/name0", "/blank"])), "");
    assert_history(
        &fixture.try_open_with(&with_dirs(&["/blank"])).unwrap().numbers(),
        1,
        1,
        "filled from the other",
    );
}

#[test]
fn dirs_used_separately_are_not_mixed() {
    let fixture = Fixture::new(2);
    fixture.write(0..2);
    for dir in 0..2 {
        let mut options = fixture.options.clone();
        options.dirs = vec![fixture.options.dirs[dir].clone()];
        let running = fixture.try_open_with(&options).unwrap();
        running.add(2).unwrap();
        running.close();
    }
    assert!(matches!(fixture.try_open(), Err(OpenError::Split { .. })));
}

/// Changes bytes of the first batch and makes its checksum right again.
fn rewrite_first_batch(fixture: &Fixture, change: impl Fn(&mut [u8])) -> PathBuf {
    let segment = fixture.segments(0)[0].clone();
    let mut batch = fixture.disk.read(&segment, 1 << 20).unwrap().split_off(4096);
    change(&mut batch);
    let len = u32::from_le_bytes(batch[12..16].try_into().unwrap()) as usize;
    let crc = crc_fast::crc32_iscsi(&batch[8..len]);
    batch[4..8].copy_from_slice(&crc.to_le_bytes());
    fixture
        .disk
        .open(&segment, Open::WRITE)
        .unwrap()
        .write_all_at(&batch, 4096)
        .unwrap();
    segment
}

#[test]
fn what_a_newer_program_wrote_is_not_guessed_at() {
    let fixture = Fixture::new(1);
    fixture.write(0..1);
    let segment = rewrite_first_batch(&fixture, |batch| batch[8] = 2);
    let error = fixture.try_open().err().unwrap().to_string();
    assert!(
        error.contains("batch version 2") && error.contains("Start the newer program"),
        "{error}"
    );
    assert!(error.contains(&segment.display().to_string()), "{error}");

    let fixture = Fixture::new(1);
    fixture.write(0..1);
    rewrite_first_batch(&fixture, |batch| batch[64 + 4] = 99);
    let (_, offset, reason) = damaged_at(fixture.try_open());
    assert!(
        offset == 4096 && reason.contains("rules version 99 is newer than 1"),
        "{reason}"
    );
}

/// A register whose outcomes look different from those of the first run, and which panics when asked to.
struct Liar(Register);

/// The number at which [`Liar`] panics.
const PANIC_NUMBER: u64 = 666;

impl StateMachine for Liar {
    type Command = Addition;
    type Outcome = (u64, u64);
    type Snapshot = Arc<Vec<Addition>>;

    fn rules_version(&self) -> u32 {
        self.0.rules_version()
    }
    fn encode(&self, command: &Addition, buffer: &mut Vec<u8>) {
        self.0.encode(command, buffer);
    }
    fn decode(&self, payload: &[u8]) -> Result<Addition, CodecError> {
        self.0.decode(payload)
    }
    fn apply(&self, entries: &mut Vec<Entry<Addition>>, outcomes: &mut Vec<(u64, u64)>) {
        assert!(
            entries.iter().all(|entry| entry.command.number != PANIC_NUMBER),
            "asked to panic"
        );
        self.0.apply(entries, outcomes);
    }
    fn digest(&self, outcome: &(u64, u64), buffer: &mut Vec<u8>) {
        self.0.digest(&(outcome.0, outcome.1 + 1), buffer);
    }
    fn snapshot(&self) -> Arc<Vec<Addition>> {
        self.0.snapshot()
    }
    fn image(snapshot: Arc<Vec<Addition>>) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        Register::image(snapshot)
    }
    fn restore(&self, image: &ImageReader) -> Result<(), CodecError> {
        self.0.restore(image)
    }
}

#[test]
fn outcomes_that_differ_at_replay_stop_start_up() {
    let fixture = Fixture::new(1);
    fixture.write(0..3);
    let opened = LocalLog::open(Arc::new(Liar(Register::new())), fixture.env(), fixture.options.clone());
    let error = opened.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("differ") && error.contains("offset 8192"), "{error}");
}

#[test]
fn a_panic_while_applying_poisons_instead_of_hanging() {
    let fixture = Fixture::new(1);
    let log = LocalLog::open(Arc::new(Liar(Register::new())), fixture.env(), fixture.options.clone()).unwrap();
    log.propose(Register::add(1, "fine")).wait().unwrap();
    log.propose(Register::add(PANIC_NUMBER, "not fine")).wait().unwrap_err();
    let poisoned = log.propose(Register::add(2, "too late")).wait().unwrap_err();
    assert!(matches!(poisoned, LogError::Poisoned(_)), "{poisoned}");
    assert!(log.health().borrow().poisoned.is_some());
}

#[test]
fn a_panic_on_a_lent_thread_poisons_as_well() {
    let fixture = Fixture::new(1);
    let log = LocalLog::open(Arc::new(Liar(Register::new())), fixture.env(), fixture.options.clone()).unwrap();
    // The journal's thread may be at work itself for a moment.
    let on_own_thread = |number| log.propose_inline(Register::add(number, "fine")).now();
    assert!((1..=1000).any(|number| on_own_thread(number).is_ok()), "never at rest");
    let proposed = catch_unwind(AssertUnwindSafe(|| {
        log.propose_inline(Register::add(PANIC_NUMBER, "not fine")).wait()
    }));
    // It panicked here, or on the journal's thread.
    assert!(matches!(proposed, Err(_) | Ok(Err(_))));
    for propose in [LocalLog::propose, LocalLog::propose_inline] {
        let poisoned = propose(&log, Register::add(2, "too late")).wait().unwrap_err();
        assert!(matches!(poisoned, LogError::Poisoned(_)), "{poisoned}");
    }
    assert!(log.health().borrow().poisoned.is_some());
    log.shutdown().wait().unwrap();
}
