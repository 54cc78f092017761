//! A simulated disk with formatted name dirs, and short ways to use a log on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hadron_env::{Clock, Disk, ManualClock, Random, SeededRandom, SimDisk};
use hadron_journal::suite::{Addition, Register};
use hadron_journal::{CommandLog, Env, Identity, LocalLog, LogError, OpenError, Options};
use hadron_types::TimeMs;

pub(crate) struct Fixture {
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<ManualClock>,
    random: Arc<dyn Random>,
    pub(crate) options: Options,
}

pub(crate) fn identity() -> Identity {
    Identity::generate(&SeededRandom::new(5), TimeMs(1_600_000_000_000), "127.0.0.1", None)
}

impl Fixture {
    /// `dirs` formatted name dirs with tiny segments, so that few entries reach every path.
    pub(crate) fn new(dirs: usize) -> Self {
        let dirs: Vec<PathBuf> = (0..dirs)
            .map(|number| PathBuf::from(format!("/name{number}")))
            .collect();
        let fixture = Self {
            disk: SimDisk::new(),
            clock: Arc::new(ManualClock::default()),
            random: Arc::new(SeededRandom::new(99)),
            options: Options {
                first_segment_bytes: 12 << 10,
                segment_bytes: 16 << 10,
                checkpoint_period: Duration::from_secs(3600),
                check_interval: Duration::from_secs(5),
                ..Options::new(dirs.clone())
            },
        };
        hadron_journal::format(&fixture.env(), &dirs, &identity(), &Register::new(), false).unwrap();
        fixture
    }

    pub(crate) fn env(&self) -> Env {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Env {
            disk: Arc::new(self.disk.clone()),
            clock,
            random: Arc::clone(&self.random),
        }
    }

    pub(crate) fn try_open(&self) -> Result<Running, OpenError> {
        self.try_open_with(&self.options)
    }

    pub(crate) fn try_open_with(&self, options: &Options) -> Result<Running, OpenError> {
        let machine = Arc::new(Register::new());
        let log = LocalLog::open(Arc::clone(&machine), self.env(), options.clone())?;
        Ok(Running { machine, log })
    }

    pub(crate) fn open(&self) -> Running {
        self.try_open().unwrap()
    }

    /// Opens, writes entries numbered `numbers`, closes.
    pub(crate) fn write(&self, numbers: std::ops::Range<u64>) {
        let running = self.open();
        running.add_all(numbers).unwrap();
        running.close();
    }

    /// Journal segments of a dir, in order, with their names.
    pub(crate) fn segments(&self, dir: usize) -> Vec<PathBuf> {
        self.files(dir, "journal_")
    }

    pub(crate) fn images(&self, dir: usize) -> Vec<PathBuf> {
        self.files(dir, "image_")
    }

    fn files(&self, dir: usize, prefix: &str) -> Vec<PathBuf> {
        let current = self.options.dirs[dir].join("current");
        let entries = self.disk.list(&current).unwrap();
        let ours = entries
            .into_iter()
            .filter(|entry| entry.name.starts_with(prefix) && !entry.name.ends_with(".tmp"));
        ours.map(|entry| current.join(entry.name)).collect()
    }

    /// The offset of the first byte of `text` in a file.
    pub(crate) fn find(&self, path: &Path, text: &str) -> u64 {
        let bytes = self.disk.read(path, 1 << 30).unwrap();
        bytes
            .windows(text.len())
            .position(|window| window == text.as_bytes())
            .unwrap() as u64
    }
}

pub(crate) struct Running {
    pub(crate) machine: Arc<Register>,
    pub(crate) log: LocalLog<Register>,
}

/// The text of entry `number`, to be found in files.
pub(crate) fn text_of(number: u64) -> String {
    format!("<entry {number:06}>")
}

impl Running {
    pub(crate) fn add(&self, number: u64) -> Result<(u64, u64), LogError> {
        self.log.propose(Register::add(number, &text_of(number))).wait()
    }

    pub(crate) fn add_all(&self, numbers: std::ops::Range<u64>) -> Result<(), LogError> {
        numbers.into_iter().try_for_each(|number| self.add(number).map(drop))
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.machine
            .additions()
            .iter()
            .map(|addition: &Addition| addition.number)
            .collect()
    }

    pub(crate) fn close(self) {
        self.log.shutdown().wait().unwrap();
    }
}

/// Asserts that `numbers` is 0, 1, 2 … with `acked` to `proposed` members: nothing answered is lost, nothing is there
/// twice or out of order.
pub(crate) fn assert_history(numbers: &[u64], acked: u64, proposed: u64, context: &str) {
    let expected: Vec<u64> = (0..numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "{context}");
    let found = numbers.len() as u64;
    assert!(
        (acked..=proposed).contains(&found),
        "{context}: {found} found, {acked} answered, {proposed} proposed"
    );
}
