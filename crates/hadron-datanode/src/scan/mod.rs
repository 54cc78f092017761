//! Looking for damage before a reader does: each replica's bytes against its checksums, each directory against memory.
//!
//! One thread per volume verifies replicas by the rules of [`schedule`]; one thread compares directories with the map of
//! replicas. What they find goes to the NameNodes, which have good copies made. What this module does not do: it repairs
//! nothing by itself, and it judges no disk (its errors do, through the volume's check).
//! Invariants: no lock is held while files are read; both end with the DataNode; time comes from [`Shared::clock`].

mod cursor;
mod directory;
mod mailbox;
mod page;
mod rate;
mod schedule;
mod settings;
mod volume;

pub use settings::{DirectoryScanSettings, ScanSettings};

use crate::shared::Shared;
use hadron_types::ExtendedBlock;
use mailbox::Mailbox;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Stack of a scanner's thread.
const STACK_BYTES: usize = 256 * 1024;
/// How long the end of the DataNode waits for the directory scanner.
const DIRECTORY_JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The scanners of one DataNode.
pub(crate) struct Scanners {
    /// One per volume; none while the block scanner is off.
    volumes: Vec<Arc<Mailbox>>,
    /// None while the directory scanner is off.
    directory: Option<Arc<Mailbox>>,
    settings: ScanSettings,
}

impl Scanners {
    /// Scanners without threads yet.
    pub(crate) fn new(settings: ScanSettings, directory: DirectoryScanSettings, volumes: usize) -> Self {
        let count = if settings.is_enabled() { volumes } else { 0 };
        Self {
            volumes: (0..count).map(|_| Arc::default()).collect(),
            directory: (!directory.interval.is_zero()).then(Arc::default),
            settings,
        }
    }

    /// Starts the threads. Errors: there is none left.
    pub(crate) fn start(&self, shared: &Arc<Shared>) -> std::io::Result<()> {
        if self.volumes.is_empty() {
            tracing::info!("the block scanner is off");
        }
        for (volume, mailbox) in self.volumes.iter().enumerate() {
            let scanner = volume::VolumeScanner::new(shared, volume, mailbox.clone());
            spawn("block-scanner", mailbox, move || scanner.run())?;
        }
        match &self.directory {
            None => tracing::info!("the directory scanner is off"),
            Some(mailbox) => {
                let scanner = directory::DirectoryScanner::new(shared, mailbox.clone());
                spawn("directory-scan", mailbox, move || scanner.run())?;
            }
        }
        Ok(())
    }

    /// A pool was attached.
    pub(crate) fn look_for_pools(&self) {
        self.each(|mailbox| mailbox.look());
    }

    /// Somebody saw a replica fail: it is verified next. `volume`: where it lies.
    pub(crate) fn suspect(&self, block: &ExtendedBlock, volume: Option<usize>) {
        match volume.and_then(|volume| self.volumes.get(volume)) {
            Some(mailbox) => mailbox.suspect(&block.pool, block.block.id),
            None => tracing::debug!(%block, "a suspect replica is not scanned"),
        }
    }

    /// Scans every volume's replicas from the beginning, without regard for the speed over an hour, and waits. False when
    /// the scanner is off or ends. Blocks.
    pub(crate) fn scan_blocks(&self) -> bool {
        let orders: Vec<u64> = self.volumes.iter().map(|mailbox| mailbox.order_scan()).collect();
        let mut scans = self.volumes.iter().zip(orders);
        !self.volumes.is_empty() && scans.all(|(mailbox, number)| mailbox.wait_done(number))
    }

    /// Compares all directories with memory and waits. False when the scanner is off or ends. Blocks.
    pub(crate) fn scan_directories(&self) -> bool {
        let scan = self.directory.as_ref();
        scan.is_some_and(|mailbox| mailbox.wait_done(mailbox.order_scan()))
    }

    /// Has all threads end.
    pub(crate) fn stop(&self) {
        self.each(|mailbox| mailbox.stop());
    }

    /// Waits for the threads' end; false when one does not come in time. Blocks.
    pub(crate) fn wait_ended(&self) -> bool {
        let (now, patience) = (Instant::now(), self.settings.join_timeout);
        let ended = self.volumes.iter().all(|mailbox| mailbox.wait_ended(now + patience));
        let directory = self.directory.as_ref();
        directory.is_none_or(|mailbox| mailbox.wait_ended(now + DIRECTORY_JOIN_TIMEOUT)) && ended
    }

    fn each(&self, act: impl Fn(&Mailbox)) {
        self.volumes
            .iter()
            .chain(&self.directory)
            .for_each(|mailbox| act(mailbox));
    }
}

/// Runs a scanner; its mailbox hears of its end, however it comes.
fn spawn(name: &str, mailbox: &Arc<Mailbox>, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    struct Ending(Arc<Mailbox>);
    impl Drop for Ending {
        fn drop(&mut self) {
            self.0.note_ended();
        }
    }
    let ending = Ending(mailbox.clone());
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES);
    let started = thread.spawn(move || {
        let _ending = ending;
        run();
    });
    started.map(drop)
}
