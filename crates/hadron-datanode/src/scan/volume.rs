//! The block scanner's thread of one volume: carries out what the schedule says.

use super::cursor::Cursor;
use super::mailbox::Mailbox;
use super::rate::Pacer;
use super::schedule::{Schedule, Step};
use super::settings::ScanSettings;
use crate::shared::Shared;
use hadron_env::Clock;
use hadron_replica::{BlockWalk, Verdict};
use hadron_types::{Block, BlockId, BlockPoolId, ExtendedBlock, GenerationStamp};
use hashbrown::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The scanner of one volume.
pub(super) struct VolumeScanner {
    shared: Weak<Shared>,
    clock: Arc<dyn Clock>,
    mailbox: Arc<Mailbox>,
    volume: usize,
    settings: ScanSettings,
    schedule: Schedule,
    walks: HashMap<BlockPoolId, BlockWalk>,
}

impl VolumeScanner {
    pub(super) fn new(shared: &Arc<Shared>, volume: usize, mailbox: Arc<Mailbox>) -> Self {
        let settings = shared.settings.block_scan;
        let clock = shared.clock.clone();
        Self {
            shared: Arc::downgrade(shared),
            mailbox,
            volume,
            settings,
            schedule: Schedule::new(settings, clock.monotonic()),
            walks: HashMap::new(),
            clock,
        }
    }

    pub(super) fn run(mut self) {
        self.mailbox.look();
        while let Some(shared) = self.shared.upgrade() {
            let orders = self.mailbox.take();
            if orders.stopping || shared.store.volumes()[self.volume].is_failed() {
                self.save_all(&shared);
                return;
            }
            if orders.look {
                self.take_pools(&shared);
            }
            for (pool, id) in &orders.suspects {
                let queued = self.schedule.handle_suspect(pool, *id, self.clock.monotonic());
                tracing::debug!(%pool, block = %id, queued, "a replica is suspect");
            }
            if orders.scan {
                self.schedule.handle_rescan();
            }
            let step = self.schedule.next(self.clock.monotonic(), self.clock.now().0);
            let wait = self.take_step(&shared, step);
            self.mailbox.set_figures(self.schedule.figures());
            // Nobody must be kept alive by a thread that waits.
            drop(shared);
            if let Some(until) = wait {
                self.mailbox.wait(&*self.clock, until);
            }
        }
    }

    /// Does what the schedule says; gives until when to wait.
    fn take_step(&mut self, shared: &Arc<Shared>, step: Step) -> Option<Option<Duration>> {
        match step {
            Step::Verify(pool, id) => self.verify(shared, &pool, id),
            Step::Walk(pool) => self.walk(shared, &pool),
            Step::Rewind(pool) => {
                self.walks.insert(pool, BlockWalk::default());
            }
            Step::Save(pool) => self.save(shared, &pool),
            Step::RescanDone => self.mailbox.note_done(),
            Step::Wait(until) => return Some(until),
        }
        None
    }

    /// Takes in the pools that came, each where its cursor left it.
    fn take_pools(&mut self, shared: &Shared) {
        for pool in shared.store.pool_ids() {
            if self.schedule.has_pool(&pool) {
                continue;
            }
            let cursor = self.load(shared, &pool);
            let (started_ms, at_end) = (cursor.started_ms, cursor.position.at_end);
            self.walks.insert(pool.clone(), BlockWalk::resume(cursor.position));
            self.schedule
                .handle_pool(pool, started_ms, at_end, self.clock.monotonic());
        }
    }

    /// The pool's cursor; a fresh one when there is none that can be used.
    fn load(&self, shared: &Shared, pool: &BlockPoolId) -> Cursor {
        let fresh = || Cursor {
            started_ms: self.clock.now().0,
            ..Cursor::default()
        };
        let read = shared.store.load_cursor(pool, self.volume);
        match read.map(|content| content.map(|content| Cursor::decode(&content))) {
            Ok(None) => fresh(),
            Ok(Some(Ok(cursor))) => cursor,
            Ok(Some(Err(problem))) => {
                tracing::warn!(%pool, volume = self.volume, problem, "the scanner's cursor cannot be used, starting over");
                fresh()
            }
            Err(error) => {
                tracing::warn!(%pool, %error, "the scanner's cursor cannot be read, starting over");
                fresh()
            }
        }
    }

    fn save(&self, shared: &Shared, pool: &BlockPoolId) {
        let Some(walk) = self.walks.get(pool) else { return };
        let cursor = Cursor {
            saved_ms: self.clock.now().0,
            started_ms: self.schedule.started_ms(pool),
            position: walk.position().clone(),
        };
        if let Err(error) = shared.store.save_cursor(pool, self.volume, &cursor.encode()) {
            tracing::warn!(%pool, %error, "cannot save the scanner's cursor");
        }
    }

    fn save_all(&self, shared: &Shared) {
        if shared.store.volumes()[self.volume].is_failed() {
            return;
        }
        for pool in self.walks.keys() {
            self.save(shared, pool);
        }
    }

    /// Goes to the next replica of the pool and verifies it.
    fn walk(&mut self, shared: &Arc<Shared>, pool: &BlockPoolId) {
        let walk = self.walks.entry(pool.clone()).or_default();
        match shared.store.walk_on(pool, self.volume, walk, self.clock.monotonic()) {
            Ok(Some(id)) if self.was_read_lately(shared, pool, id) => {}
            Ok(Some(id)) => self.verify(shared, pool, id),
            Ok(None) => {
                tracing::info!(%pool, volume = self.volume, "all blocks of a pool scanned");
                self.schedule.handle_end(pool);
            }
            Err(error) => {
                tracing::warn!(%pool, %error, "cannot list replicas to scan");
                self.schedule.handle_end(pool);
            }
        }
    }

    /// Whether readers may skip the replica's verification: somebody read it within the period.
    fn was_read_lately(&self, shared: &Shared, pool: &BlockPoolId, id: BlockId) -> bool {
        if !self.settings.skip_recent_accessed {
            return false;
        }
        let paths = shared.store.local_paths(&named(pool, id));
        let accessed = paths.ok().and_then(|paths| paths.data.metadata().ok()?.accessed().ok());
        let since = accessed.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        since.is_some_and(|since| {
            let age = Duration::from_millis(self.clock.now().0).saturating_sub(since);
            age < self.settings.period
        })
    }

    fn verify(&mut self, shared: &Arc<Shared>, pool: &BlockPoolId, id: BlockId) {
        let (clock, mailbox) = (self.clock.clone(), self.mailbox.clone());
        let mut pacer = Pacer::new(self.settings.bytes_per_second, clock.monotonic());
        let mut go_on = |bytes: u64| match pacer.take(bytes, clock.monotonic()) {
            Some(until) => mailbox.pause(&*clock, until),
            None => !mailbox.is_stopping(),
        };
        let verdict = shared.store.verify(pool, id, &mut go_on);
        let name = |block: &Block| format!("{pool}:{block}");
        match verdict {
            Verdict::Good { bytes } => {
                shared.metrics.blocks_verified.inc();
                self.schedule.handle_verified(format!("{pool}:blk_{id}"), bytes, true);
            }
            Verdict::Skipped | Verdict::Stopped => {
                tracing::debug!(%pool, block = %id, "a replica to scan is gone or in use");
            }
            Verdict::Missing(gone) => {
                shared.metrics.verification_failures.inc();
                shared.tell_deleted(pool, &gone);
                self.schedule.handle_verified(name(&gone.block), 0, false);
            }
            Verdict::Bad { block, problem, bytes } => {
                let dir = shared.store.volumes()[self.volume].dir().display().to_string();
                tracing::warn!(
                    block = name(&block),
                    dir,
                    problem,
                    "the block scanner found a bad replica"
                );
                shared.metrics.verification_failures.inc();
                self.schedule.handle_verified(name(&block), bytes, false);
                let block = ExtendedBlock {
                    pool: pool.clone(),
                    block,
                };
                shared.report_bad(&block, None);
            }
            Verdict::Failed(error) => {
                tracing::warn!(%pool, block = %id, %error, "cannot scan a replica");
                self.schedule.handle_verified(format!("{pool}:blk_{id}"), 0, false);
            }
        }
    }
}

/// A replica of whatever stamp.
fn named(pool: &BlockPoolId, id: BlockId) -> ExtendedBlock {
    ExtendedBlock {
        pool: pool.clone(),
        block: Block {
            id,
            generation_stamp: GenerationStamp(0),
            len: 0,
        },
    }
}
