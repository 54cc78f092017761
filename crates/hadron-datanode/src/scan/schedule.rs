//! What the block scanner of one volume does next: the rules, without files, threads or clocks.
//!
//! ```text
//! suspect -> scanned at once
//! pool not at its end -> next replica, while the hour's speed allows
//! pool at its end -> again when its period is over -> rewound
//! ```
//! Pools take turns. Suspects are not bound by the hour's speed, so that none is forgotten; those queued within ten
//! minutes before are not queued again. A rescan somebody asked for goes through all pools without regard for period and
//! speed. Source: Hadoop `VolumeScanner`.

use super::rate::HourRate;
use super::settings::ScanSettings;
use hadron_types::{BlockId, BlockPoolId};
use std::collections::VecDeque;
use std::time::Duration;

/// Suspects waiting or remembered at most; the oldest remembered ones go first.
pub(super) const MAX_SUSPECTS: usize = 1000;
/// How long a suspect is not queued again.
const SUSPECT_REST: Duration = Duration::from_secs(10 * 60);
/// Pause when the hour's speed is reached.
const RATE_PAUSE: Duration = Duration::from_secs(30);

/// What to do now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Verify this replica.
    Verify(BlockPoolId, BlockId),
    /// Go to the next replica of the pool and verify that.
    Walk(BlockPoolId),
    /// Begin the pool anew.
    Rewind(BlockPoolId),
    /// Write the pool's cursor file.
    Save(BlockPoolId),
    /// The rescan somebody asked for is over.
    RescanDone,
    /// Nothing until then, by monotonic time; `None`: until something happens.
    Wait(Option<Duration>),
}

/// Figures of one volume since the start, for the page.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Figures {
    pub(super) bytes_in_hour: u64,
    pub(super) blocks_in_period: u64,
    pub(super) blocks: u64,
    pub(super) rounds: u64,
    pub(super) errors: u64,
    /// Monotonic time.
    pub(super) next_round: Option<Duration>,
    /// Unix time.
    pub(super) period_ends_ms: Option<u64>,
    pub(super) last: Option<String>,
    /// Nothing more to scan in this period.
    pub(super) at_end: bool,
}

/// A pool on the volume.
#[derive(Clone, Debug)]
struct PoolRound {
    pool: BlockPoolId,
    /// Unix time.
    started_ms: u64,
    at_end: bool,
    saved: Duration,
    save_due: bool,
    rewind: bool,
}

/// The schedule of one volume.
#[derive(Debug)]
pub(super) struct Schedule {
    settings: ScanSettings,
    rate: HourRate,
    pools: Vec<PoolRound>,
    current: Option<usize>,
    suspects: VecDeque<(BlockPoolId, BlockId)>,
    /// Suspects that were queued, and until when they are not again.
    recent: VecDeque<(BlockPoolId, BlockId, Duration)>,
    /// Somebody asked for a rescan of everything.
    rescan: bool,
    figures: Figures,
}

impl Schedule {
    pub(super) fn new(settings: ScanSettings, now: Duration) -> Self {
        Self {
            settings,
            rate: HourRate::new(now),
            pools: Vec::new(),
            current: None,
            suspects: VecDeque::new(),
            recent: VecDeque::new(),
            rescan: false,
            figures: Figures {
                at_end: true,
                ..Figures::default()
            },
        }
    }

    /// Whether the pool is scanned.
    pub(super) fn has_pool(&self, pool: &BlockPoolId) -> bool {
        self.round(pool).is_some()
    }

    /// When the pool's round began, Unix time.
    pub(super) fn started_ms(&self, pool: &BlockPoolId) -> u64 {
        self.round(pool).map_or(0, |at| self.pools[at].started_ms)
    }

    /// The figures, for the page.
    pub(super) fn figures(&self) -> Figures {
        let current = self.current.map(|at| &self.pools[at]);
        let period = self.settings.period.as_millis() as u64;
        Figures {
            bytes_in_hour: self.rate.sum(),
            period_ends_ms: current.map(|pool| pool.started_ms.saturating_add(period)),
            at_end: current.is_none_or(|pool| pool.at_end),
            ..self.figures.clone()
        }
    }

    /// Takes a pool in, at the place where its cursor left it.
    pub(super) fn handle_pool(&mut self, pool: BlockPoolId, started_ms: u64, at_end: bool, now: Duration) {
        self.pools.push(PoolRound {
            pool,
            started_ms,
            at_end,
            saved: now,
            save_due: false,
            rewind: false,
        });
    }

    /// Somebody saw a replica fail. True when it is queued.
    pub(super) fn handle_suspect(&mut self, pool: &BlockPoolId, id: BlockId, now: Duration) -> bool {
        self.recent.retain(|(_, _, until)| *until > now);
        let known = self.recent.iter().any(|(of, other, _)| (of, *other) == (pool, id));
        if known || self.suspects.len() >= MAX_SUSPECTS {
            return false;
        }
        if self.recent.len() >= MAX_SUSPECTS {
            self.recent.pop_front();
        }
        self.recent
            .push_back((pool.clone(), id, now.saturating_add(SUSPECT_REST)));
        self.suspects.push_back((pool.clone(), id));
        true
    }

    /// Somebody wants everything scanned now.
    pub(super) fn handle_rescan(&mut self) {
        self.rescan = true;
        for round in &mut self.pools {
            round.rewind = true;
            round.at_end = true;
        }
    }

    /// A replica was verified (`bytes`: what was read of it) or could not be.
    pub(super) fn handle_verified(&mut self, name: String, bytes: u64, good: bool) {
        self.rate.add(bytes);
        self.figures.last = Some(name);
        match good {
            true => {
                self.figures.blocks += 1;
                self.figures.blocks_in_period += 1;
            }
            false => self.figures.errors += 1,
        }
    }

    /// A pool is through, or its directories cannot be listed.
    pub(super) fn handle_end(&mut self, pool: &BlockPoolId) {
        if let Some(at) = self.round(pool) {
            let round = &mut self.pools[at];
            round.at_end = true;
            round.save_due = true;
        }
    }

    /// What to do at `now` (monotonic) and `wall_ms` (Unix time).
    pub(super) fn next(&mut self, now: Duration, wall_ms: u64) -> Step {
        self.rate.expire(now);
        if let Some((pool, id)) = self.suspects.pop_front() {
            return Step::Verify(pool, id);
        }
        if let Some(at) = self
            .current
            .filter(|at| self.pools[*at].save_due || self.save_is_due(*at, now))
        {
            let round = &mut self.pools[at];
            (round.save_due, round.saved) = (false, now);
            return Step::Save(round.pool.clone());
        }
        if !self.rescan && !self.rate.allows(self.settings.bytes_per_second) {
            return Step::Wait(Some(now.saturating_add(RATE_PAUSE)));
        }
        if let Some(at) = self.current.filter(|at| !self.pools[*at].at_end) {
            return Step::Walk(self.pools[at].pool.clone());
        }
        self.next_pool(now, wall_ms)
    }

    fn save_is_due(&self, at: usize, now: Duration) -> bool {
        let round = &self.pools[at];
        !round.at_end && now.saturating_sub(round.saved) >= self.settings.cursor_save_interval
    }

    /// Finds the pool whose turn it is.
    fn next_pool(&mut self, now: Duration, wall_ms: u64) -> Step {
        let count = self.pools.len();
        let first = self.current.map_or(0, |at| at + 1);
        let period = self.settings.period.as_millis() as u64;
        let mut wait = None;
        for turn in 0..count {
            let at = (first + turn) % count;
            let round = &mut self.pools[at];
            // A clock that was set back must not make a period longer.
            let left = round
                .started_ms
                .saturating_add(period)
                .saturating_sub(wall_ms)
                .min(period);
            if !round.at_end || round.rewind || left == 0 {
                let again = round.at_end;
                (round.at_end, round.rewind) = (false, false);
                let pool = round.pool.clone();
                self.current = Some(at);
                self.figures.rounds += 1;
                self.figures.blocks_in_period = 0;
                self.figures.next_round = None;
                tracing::info!(%pool, again, "scanning blocks of a pool");
                if again {
                    self.pools[at].started_ms = wall_ms;
                    self.pools[at].saved = now;
                    return Step::Rewind(pool);
                }
                return Step::Walk(pool);
            }
            wait = Some(wait.map_or(left, |least: u64| least.min(left)));
        }
        if std::mem::take(&mut self.rescan) {
            return Step::RescanDone;
        }
        let until = wait.map(|left| now.saturating_add(Duration::from_millis(left)));
        self.figures.next_round = until;
        Step::Wait(until)
    }

    fn round(&self, pool: &BlockPoolId) -> Option<usize> {
        self.pools.iter().position(|round| round.pool == *pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const PERIOD_MS: u64 = 504 * 3_600_000;

    fn settings() -> ScanSettings {
        ScanSettings {
            period: 504 * HOUR,
            bytes_per_second: 1000,
            ..ScanSettings::default()
        }
    }

    fn schedule(pools: &[&str]) -> Schedule {
        let mut schedule = Schedule::new(settings(), Duration::ZERO);
        for pool in pools {
            schedule.handle_pool((*pool).into(), 0, false, Duration::ZERO);
        }
        schedule
    }

    fn walk(pool: &str) -> Step {
        Step::Walk(pool.into())
    }

    #[test]
    fn pools_take_turns_and_come_again_after_their_period() {
        let mut schedule = schedule(&["BP-a", "BP-b"]);
        let now = Duration::from_secs;
        assert_eq!(schedule.next(now(0), 0), walk("BP-a"));
        assert_eq!(schedule.next(now(1), 1000), walk("BP-a"), "the same until its end");
        schedule.handle_end(&"BP-a".into());
        assert_eq!(schedule.next(now(2), 2000), Step::Save("BP-a".into()));
        assert_eq!(schedule.next(now(2), 2000), walk("BP-b"));
        schedule.handle_end(&"BP-b".into());
        assert_eq!(schedule.next(now(3), 3000), Step::Save("BP-b".into()));
        let again = Duration::from_millis(3000 + PERIOD_MS - 3000);
        assert_eq!(schedule.next(now(3), 3000), Step::Wait(Some(again)));
        assert_eq!(schedule.figures().next_round, Some(again));
        // A clock that was set back makes no period longer than it is.
        let longest = now(4) + 504 * HOUR;
        assert_eq!(schedule.next(now(4), 0), Step::Wait(Some(longest)));
        assert_eq!(schedule.next(again, PERIOD_MS), Step::Rewind("BP-a".into()));
        assert_eq!(schedule.next(again, PERIOD_MS), walk("BP-a"));
        assert_eq!(schedule.figures().rounds, 3);
        assert_eq!(schedule.figures().period_ends_ms, Some(2 * PERIOD_MS));
    }

    #[test]
    fn without_pools_nothing_is_to_be_done() {
        assert_eq!(schedule(&[]).next(HOUR, 0), Step::Wait(None));
    }

    #[test]
    fn a_pool_that_was_through_before_a_restart_waits_for_its_period() {
        let mut schedule = schedule(&[]);
        schedule.handle_pool("BP-a".into(), 5000, true, Duration::ZERO);
        let left = Duration::from_millis(PERIOD_MS - 1000);
        assert_eq!(schedule.next(Duration::ZERO, 6000), Step::Wait(Some(left)));
    }

    #[test]
    fn the_hours_speed_holds_walks_up_and_suspects_not() {
        let mut schedule = schedule(&["BP-a"]);
        assert_eq!(schedule.next(Duration::ZERO, 0), walk("BP-a"));
        schedule.handle_verified("blk_1".into(), 1_000_000, true);
        let pause = Step::Wait(Some(Duration::from_secs(30)));
        assert_eq!(schedule.next(Duration::ZERO, 0), pause);
        assert!(schedule.handle_suspect(&"BP-a".into(), BlockId(7), Duration::ZERO));
        assert_eq!(
            schedule.next(Duration::ZERO, 0),
            Step::Verify("BP-a".into(), BlockId(7))
        );
        assert_eq!(schedule.next(Duration::ZERO, 0), pause);
        // A million bytes are a thousand a second after 17 minutes, less a rounding.
        let minutes = |count: u64| Duration::from_secs(60 * count);
        assert_eq!(
            schedule.next(minutes(15), 0),
            Step::Save("BP-a".into()),
            "also while it pauses"
        );
        assert!(matches!(schedule.next(minutes(16), 0), Step::Wait(Some(_))));
        assert_eq!(schedule.next(minutes(17), 0), walk("BP-a"));
        assert_eq!(schedule.figures().bytes_in_hour, 1_000_000);
    }

    #[test]
    fn a_suspect_rests_for_ten_minutes() {
        let mut schedule = schedule(&["BP-a"]);
        let pool: BlockPoolId = "BP-a".into();
        let minutes = |count: u64| Duration::from_secs(60 * count);
        for (at, id, queued) in [
            (0, 1, true),
            (0, 1, false),
            (1, 2, true),
            (9, 1, false),
            (10, 1, true),
            (10, 2, false),
            (11, 2, true),
        ] {
            assert_eq!(
                schedule.handle_suspect(&pool, BlockId(id), minutes(at)),
                queued,
                "{id} at {at}"
            );
        }
        for id in [1, 2, 1, 2] {
            assert_eq!(schedule.next(minutes(11), 0), Step::Verify(pool.clone(), BlockId(id)));
        }
        for id in 0..2 * MAX_SUSPECTS as i64 {
            let queued = schedule.handle_suspect(&pool, BlockId(100 + id), minutes(12));
            assert_eq!(queued, id < MAX_SUSPECTS as i64, "{id}");
        }
    }

    #[test]
    fn a_rescan_goes_through_all_pools_and_says_when_it_is_done() {
        let mut schedule = schedule(&["BP-a", "BP-b"]);
        assert_eq!(schedule.next(Duration::ZERO, 0), walk("BP-a"));
        schedule.handle_verified("blk_1".into(), u64::MAX / 2, true);
        schedule.handle_rescan();
        for pool in ["BP-b", "BP-a"] {
            assert_eq!(schedule.next(HOUR, 77), Step::Rewind(pool.into()));
            assert_eq!(schedule.next(HOUR, 77), walk(pool));
            schedule.handle_end(&pool.into());
            assert_eq!(schedule.next(HOUR, 77), Step::Save(pool.into()));
        }
        assert_eq!(schedule.next(HOUR, 77), Step::RescanDone);
        assert!(matches!(schedule.next(HOUR, 77), Step::Wait(Some(_))));
        assert_eq!(schedule.started_ms(&"BP-a".into()), 77);
    }

    #[test]
    fn the_cursor_is_saved_now_and_then() {
        let mut schedule = schedule(&["BP-a"]);
        let minutes = |count: u64| Duration::from_secs(60 * count);
        for (at, step) in [
            (0, walk("BP-a")),
            (9, walk("BP-a")),
            (10, Step::Save("BP-a".into())),
            (10, walk("BP-a")),
            (19, walk("BP-a")),
            (20, Step::Save("BP-a".into())),
        ] {
            assert_eq!(schedule.next(minutes(at), 0), step, "minute {at}");
        }
    }
}
