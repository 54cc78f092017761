//! The directory scanner's thread: when directories are compared with memory, and who hears of differences.
//!
//! The comparison itself is `hadron_replica`'s. Source: Hadoop `DirectoryScanner`.

use super::mailbox::Mailbox;
use super::settings::DirectoryScanSettings;
use crate::shared::Shared;
use hadron_env::{Clock, Random, SystemRandom};
use hadron_replica::{Reconciled, Repair};
use hadron_types::{BlockPoolId, ExtendedBlock};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The scanner of all directories.
pub(super) struct DirectoryScanner {
    shared: Weak<Shared>,
    clock: Arc<dyn Clock>,
    mailbox: Arc<Mailbox>,
    settings: DirectoryScanSettings,
}

impl DirectoryScanner {
    pub(super) fn new(shared: &Arc<Shared>, mailbox: Arc<Mailbox>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            clock: shared.clock.clone(),
            mailbox,
            settings: shared.settings.directory_scan,
        }
    }

    pub(super) fn run(self) {
        // Not all DataNodes of a cluster at once.
        let interval = self.settings.interval;
        let delay = SystemRandom::new().below(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1));
        let mut due = self.clock.monotonic().saturating_add(Duration::from_millis(delay));
        loop {
            let orders = self.mailbox.take();
            if orders.stopping {
                return;
            }
            let now = self.clock.monotonic();
            if orders.scan || now >= due {
                let Some(shared) = self.shared.upgrade() else { return };
                if now >= due {
                    due = now.saturating_add(interval);
                }
                self.scan_all(&shared);
                self.mailbox.note_done();
            } else {
                self.mailbox.wait(&*self.clock, Some(due));
            }
        }
    }

    fn scan_all(&self, shared: &Arc<Shared>) {
        for pool in shared.store.pool_ids() {
            let counts = self.scan_pool(shared, &pool);
            let differences = counts.differences();
            tracing::info!(
                %pool, blocks = counts.blocks, missing_meta = counts.missing_meta, missing_data = counts.missing_data,
                missing_memory = counts.missing_memory, mismatched = counts.mismatched, duplicate = counts.duplicate,
                orphans = counts.orphans, differences, "directories compared with memory"
            );
            shared.metrics.directory_differences.inc_by(differences);
        }
        shared.metrics.directory_scans.inc();
    }

    /// Compares all volumes, as many at the same time as there are threads.
    fn scan_pool(&self, shared: &Arc<Shared>, pool: &BlockPoolId) -> Reconciled {
        let count = shared.store.volumes().len();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut sum = Reconciled::default();
            loop {
                let volume = next.fetch_add(1, Ordering::Relaxed);
                if volume >= count || self.mailbox.is_stopping() {
                    return sum;
                }
                sum.add(self.scan_volume(shared, pool, volume));
            }
        };
        let mut sum = Reconciled::default();
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..self.settings.threads.min(count))
                .map(|_| scope.spawn(work))
                .collect();
            sum.add(work());
            for other in others {
                match other.join() {
                    Ok(counts) => sum.add(counts),
                    Err(_) => tracing::error!(%pool, "a thread of the directory scanner panicked"),
                }
            }
        });
        sum
    }

    fn scan_volume(&self, shared: &Arc<Shared>, pool: &BlockPoolId, volume: usize) -> Reconciled {
        if shared.store.volumes()[volume].is_failed() {
            return Reconciled::default();
        }
        let mut share = Share::new(self.settings.throttle_ms_per_second, self.clock.monotonic());
        let mut go_on = || match share.pause(self.clock.monotonic()) {
            Some(until) => {
                let goes_on = self.mailbox.pause(&*self.clock, until);
                share.resume(self.clock.monotonic());
                goes_on
            }
            None => !self.mailbox.is_stopping(),
        };
        let mut each = |repair| tell(shared, pool, repair);
        match shared.store.reconcile(pool, volume, &mut go_on, &mut each) {
            Ok(counts) => counts,
            Err(error) => {
                tracing::warn!(%pool, volume, %error, "cannot compare a volume's directories with memory");
                Reconciled::default()
            }
        }
    }
}

/// Tells the NameNodes.
fn tell(shared: &Shared, pool: &BlockPoolId, repair: Repair) {
    match repair {
        Repair::Found(replica) => shared.tell_found(pool, &replica),
        Repair::Gone(replica) => shared.tell_deleted(pool, &replica),
        Repair::Corrupt(block) => {
            let pool = pool.clone();
            shared.report_bad(&ExtendedBlock { pool, block }, None);
        }
    }
}

/// The share of each second that a thread may work.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// Of each second; `None`: all of it.
    work: Option<Duration>,
    since: Duration,
}

impl Share {
    fn new(ms_per_second: i64, now: Duration) -> Self {
        let limited = (1..1000).contains(&ms_per_second);
        Self {
            work: limited.then(|| Duration::from_millis(ms_per_second.unsigned_abs())),
            since: now,
        }
    }

    /// Until when to pause, if the share is used up.
    fn pause(&self, now: Duration) -> Option<Duration> {
        let work = self.work?;
        let worked = now.saturating_sub(self.since);
        (worked >= work).then(|| now.saturating_add(Duration::from_secs(1).saturating_sub(work)))
    }

    fn resume(&mut self, now: Duration) {
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_works_its_share_of_each_second() {
        let ms = Duration::from_millis;
        for (limit, worked, pause) in [
            (-1, 5000, None),
            (0, 5000, None),
            (1000, 5000, None),
            (250, 249, None),
            (250, 250, Some(1000)),
            (250, 300, Some(1050)),
            (999, 999, Some(1000)),
        ] {
            let share = Share::new(limit, ms(0));
            assert_eq!(share.pause(ms(worked)), pause.map(ms), "{limit} after {worked}");
        }
        let mut share = Share::new(250, ms(0));
        share.resume(ms(1000));
        assert_eq!(share.pause(ms(1249)), None);
    }
}
