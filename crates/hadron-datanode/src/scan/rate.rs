//! How many bytes a scanner read in the last hour, by the minute, and how it keeps to its speed within a block.
//!
//! Pure: time comes in. Source: Hadoop `VolumeScanner.calculateShouldScan`, `DataTransferThrottler`.

use std::time::Duration;

/// Minutes remembered.
const MINUTES: usize = 60;
/// The speed is kept over pieces of this length.
const PERIOD: Duration = Duration::from_millis(500);

/// Bytes of each minute of the last hour.
#[derive(Clone, Debug)]
pub(super) struct HourRate {
    buckets: [u64; MINUTES],
    sum: u64,
    start: u64,
    minute: u64,
}

fn minute_of(now: Duration) -> u64 {
    now.as_secs() / 60
}

impl HourRate {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            buckets: [0; MINUTES],
            sum: 0,
            start: minute_of(now),
            minute: minute_of(now),
        }
    }

    /// Forgets the minutes that are more than an hour ago.
    pub(super) fn expire(&mut self, now: Duration) {
        let minute = minute_of(now).max(self.minute);
        for passed in 0..(minute - self.minute).min(MINUTES as u64) {
            let slot = &mut self.buckets[((self.minute + 1 + passed) % MINUTES as u64) as usize];
            self.sum -= std::mem::take(slot);
        }
        self.minute = minute;
    }

    pub(super) fn add(&mut self, bytes: u64) {
        self.buckets[(self.minute % MINUTES as u64) as usize] += bytes;
        self.sum += bytes;
    }

    /// Bytes of the last hour.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// Whether more may be read at `target` bytes per second. In the first minute the sum itself counts as a second's.
    pub(super) fn allows(&self, target: u64) -> bool {
        let minutes = (self.minute - self.start).min(MINUTES as u64);
        let per_second = match minutes {
            0 => self.sum,
            _ => self.sum / (60 * minutes),
        };
        per_second <= target
    }
}

/// Keeps reading within one block at a speed: what may be read in half a second is, then comes a pause.
#[derive(Clone, Debug)]
pub(super) struct Pacer {
    per_period: u64,
    left: i64,
    period_ends: Duration,
}

impl Pacer {
    pub(super) fn new(bytes_per_second: u64, now: Duration) -> Self {
        let per_period = (bytes_per_second / 2).max(1);
        Self {
            per_period,
            left: i64::try_from(per_period).unwrap_or(i64::MAX),
            period_ends: now.saturating_add(PERIOD),
        }
    }

    /// Takes `bytes`; gives until when to wait if that was too much.
    pub(super) fn take(&mut self, bytes: u64, now: Duration) -> Option<Duration> {
        let grant = i64::try_from(self.per_period).unwrap_or(i64::MAX);
        if now >= self.period_ends {
            // Nothing is saved up beyond a period.
            self.left = self.left.saturating_add(grant).min(grant);
            self.period_ends = now.saturating_add(PERIOD);
        }
        self.left = self.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        if self.left >= 0 {
            return None;
        }
        let periods = self.left.unsigned_abs().div_ceil(self.per_period);
        let wait = PERIOD * u32::try_from(periods).unwrap_or(u32::MAX);
        self.left = 0;
        let until = self.period_ends.saturating_add(wait.saturating_sub(PERIOD));
        self.period_ends = until;
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    #[test]
    fn bytes_count_for_an_hour() {
        let mut rate = HourRate::new(minutes(100));
        for (at, bytes, sum, allowed) in [
            // The first minute's sum is held against a second's worth.
            (100, 1000, 1000, true),
            (100, 1, 1001, false),
            (101, 0, 1001, true),
            (101, 59_999, 61_000, false),
            (102, 0, 61_000, true),
            (159, 0, 61_000, true),
            (160, 0, 59_999, true),
            (161, 0, 0, true),
            (161, 3_600_000, 3_600_000, true),
            (161, 3600, 3_603_600, false),
            (220, 0, 3_603_600, false),
            (221, 0, 0, true),
            (9000, 5, 5, true),
        ] {
            rate.expire(minutes(at));
            rate.add(bytes);
            assert_eq!(
                (rate.sum(), rate.allows(1000)),
                (sum, allowed),
                "minute {at}, {bytes} bytes"
            );
        }
    }

    #[test]
    fn a_speed_is_kept_over_half_seconds() {
        let ms = Duration::from_millis;
        let mut pacer = Pacer::new(2000, ms(0));
        for (at, bytes, until) in [
            (0, 600, None),
            (10, 400, None),
            (20, 1, Some(500)),
            (500, 1000, None),
            (600, 3000, Some(2000)),
            (2000, 1000, None),
            // Idle time gives no more than a period's bytes.
            (60_000, 1000, None),
            (60_001, 1, Some(60_500)),
        ] {
            assert_eq!(pacer.take(bytes, ms(at)), until.map(ms), "{bytes} bytes at {at} ms");
        }
    }
}
