//! What balancing may take of this DataNode: moves at a time, and bytes per second for all of them together.
//!
//! The bucket is plain values with `now` from outside; the shell around it waits. Both figures can be changed at run
//! time, and moves that wait notice at once. Nothing here knows what is moved.
//! Invariant: `allowed <= taken + one burst`; a taker goes on when what is allowed has come to what it has taken.
//! Source: Hadoop `DataXceiverServer.BlockBalanceThrottler`, `DataTransferThrottler`.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How much of what nobody took may be taken at once later (Hadoop: one period).
const BURST: Duration = Duration::from_millis(500);
/// Longest wait without a look around.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Parts of a byte in which the bucket counts: at a rate of one byte per second each nanosecond brings one.
const PARTS: u128 = 1_000_000_000;

/// Bytes taken and allowed since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bucket {
    /// Bytes per second, at least one.
    rate: u64,
    /// In [`PARTS`] of a byte.
    allowed: u128,
    taken: u128,
    /// When `allowed` was right.
    at: Instant,
}

impl Bucket {
    fn new(rate: u64, now: Instant) -> Self {
        let mut bucket = Self {
            rate: rate.max(1),
            allowed: 0,
            taken: 0,
            at: now,
        };
        bucket.allowed = bucket.burst();
        bucket
    }

    fn burst(&self) -> u128 {
        u128::from(self.rate) * BURST.as_nanos()
    }

    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        let grown = self.allowed + u128::from(self.rate) * since.as_nanos();
        self.allowed = grown.min(self.taken + self.burst());
    }

    /// Takes `bytes`; gives where that ends, for [`Self::wait`].
    fn take(&mut self, bytes: u64, now: Instant) -> u128 {
        self.refill(now);
        self.taken += u128::from(bytes) * PARTS;
        self.taken
    }

    /// How long until everything up to `end` is allowed.
    fn wait(&mut self, end: u128, now: Instant) -> Option<Duration> {
        self.refill(now);
        let missing = end.checked_sub(self.allowed).filter(|missing| *missing > 0)?;
        let nanos = missing.div_ceil(u128::from(self.rate));
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    fn set_rate(&mut self, rate: u64, now: Instant) {
        self.refill(now);
        self.rate = rate.max(1);
    }
}

/// The quota of moves and the bandwidth they share.
pub(crate) struct Balancing {
    running: AtomicUsize,
    most: AtomicUsize,
    bucket: Mutex<Bucket>,
    changed: Condvar,
}

/// A move under way; gives its place back on drop.
pub(crate) struct Move(Arc<Balancing>);

impl Balancing {
    /// `rate`: bytes per second; `most`: moves at a time.
    pub(crate) fn new(rate: u64, most: usize) -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            bucket: Mutex::new(Bucket::new(rate, Instant::now())),
            changed: Condvar::new(),
        })
    }

    /// Bytes per second.
    pub(crate) fn bandwidth(&self) -> u64 {
        self.bucket.lock().rate
    }

    /// Sets the bytes per second, for moves under way as well; gives what they were.
    pub(crate) fn set_bandwidth(&self, rate: u64) -> u64 {
        let mut bucket = self.bucket.lock();
        let before = bucket.rate;
        bucket.set_rate(rate, Instant::now());
        self.changed.notify_all();
        before
    }

    /// Moves at a time.
    pub(crate) fn most_moves(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Sets how many moves may run; those that do go on.
    pub(crate) fn set_most_moves(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// A place for one move; `None`: all are taken.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Move> {
        let most = self.most_moves();
        let next = |running: usize| (running < most).then_some(running + 1);
        self.running
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
            .ok()?;
        Some(Move(self.clone()))
    }

    /// Waits until `bytes` more may be moved; `look` is called now and then meanwhile, and its error ends the wait.
    fn pass<E>(&self, bytes: u64, mut look: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        let end = self.bucket.lock().take(bytes, Instant::now());
        loop {
            look()?;
            let mut bucket = self.bucket.lock();
            let Some(wait) = bucket.wait(end, Instant::now()) else {
                return Ok(());
            };
            self.changed.wait_for(&mut bucket, wait.min(LOOK_INTERVAL));
        }
    }
}

impl Move {
    /// See [`Balancing::pass`].
    pub(crate) fn pass<E>(&self, bytes: u64, look: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        self.0.pass(bytes, look)
    }
}

impl Drop for Move {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn takers_share_the_rate_and_wait_in_turn() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, start);
        let at = |ms: u32| start + MS * ms;
        let first = bucket.take(500, start);
        assert_eq!(bucket.wait(first, start), None, "the burst is there from the start");
        let second = bucket.take(1000, start);
        let third = bucket.take(200, at(100));
        assert_eq!(bucket.wait(second, at(100)), Some(MS * 900));
        assert_eq!(bucket.wait(third, at(100)), Some(MS * 1100));
        assert_eq!(bucket.wait(second, at(1000)), None);
        assert_eq!(bucket.wait(third, at(1199)), Some(MS));
        assert_eq!(bucket.wait(third, at(1200)), None);
        // What nobody took is kept for a burst, not for ever.
        let idle = bucket.take(600, at(100_000));
        assert_eq!(bucket.wait(idle, at(100_000)), Some(MS * 100));
        // A clock that goes back brings nothing and takes nothing.
        assert_eq!(bucket.wait(idle, at(50_000)), Some(MS * 100));
    }

    #[test]
    fn a_new_rate_counts_for_those_that_wait() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100, start);
        let end = bucket.take(1050, start);
        assert_eq!(bucket.wait(end, start), Some(MS * 10_000));
        bucket.set_rate(10_000, start + MS * 5000);
        assert_eq!(bucket.wait(end, start + MS * 5000), Some(MS * 50));
        bucket.set_rate(0, start + MS * 5050);
        assert_eq!((bucket.rate, bucket.wait(end, start + MS * 5050)), (1, None));
    }

    #[test]
    fn over_any_second_no_more_passes_than_rate_and_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10_000, start);
        let (mut now, mut passed) = (start, Vec::new());
        for turn in 0..200_u64 {
            let bytes = 1 + turn * 37 % 900;
            let end = bucket.take(bytes, now);
            now += bucket.wait(end, now).unwrap_or_default() + MS * (turn % 7) as u32;
            passed.push((now, bytes));
        }
        for (i, (from, _)) in passed.iter().enumerate() {
            let window = passed[i..].iter().take_while(|(at, _)| *at < *from + MS * 1000);
            let bytes: u64 = window.map(|(_, bytes)| bytes).sum();
            assert!(bytes <= 10_000 + 5_000 + 900, "{bytes} bytes in a second");
        }
    }

    #[test]
    fn places_are_given_back_and_a_lower_quota_holds_for_new_moves() {
        let balancing = Balancing::new(1 << 30, 2);
        let (first, second) = (balancing.begin(), balancing.begin());
        assert!(first.is_some() && second.is_some() && balancing.begin().is_none());
        drop(first);
        balancing.set_most_moves(1);
        assert!(balancing.begin().is_none(), "one is still running");
        drop(second);
        let only = balancing.begin().expect("a place");
        assert_eq!(only.pass(1, || Err("over")), Err("over"), "a look ends the wait");
        assert_eq!(only.pass(1, || Ok::<(), ()>(())), Ok(()));
    }
}
