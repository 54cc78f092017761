//! Wall time, monotonic time and alarms.
//!
//! What it is for: everything that waits or stamps a time gets a `dyn Clock`. What it does not do: per-connection
//! network time-outs, which stay with the runtime. Invariants: `monotonic` never goes back; an alarm runs once, on the
//! thread that drives the clock (the alarm thread, or the test that calls [`ManualClock::advance`]), never under a lock
//! of the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hadron_types::TimeMs;
use parking_lot::{Condvar, Mutex};

/// What an alarm does when its time has come. Must be quick: it runs on the thread that drives the clock.
pub type AlarmAction = Box<dyn FnOnce() + Send>;

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Wall time in milliseconds since 1970 UTC. May jump with the system's clock.
    fn now(&self) -> TimeMs;
    /// Time since a fixed, unknown start; never goes back. Deadlines and intervals are counted on it.
    fn monotonic(&self) -> Duration;
    /// Runs `action` once `monotonic()` has reached `at`; at once when it already has.
    fn alarm(&self, at: Duration, action: AlarmAction);
}

/// Waits until `clock.monotonic()` has reached `at`. Cancel safe: dropping it forgets the wait.
pub fn sleep_until(clock: &dyn Clock, at: Duration) -> Sleep {
    let state = Arc::new(Mutex::new(SleepState::default()));
    let shared = Arc::clone(&state);
    clock.alarm(
        at,
        Box::new(move || {
            let waker = {
                let mut state = shared.lock();
                state.done = true;
                state.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }),
    );
    Sleep { state }
}

/// Waits for `duration` from now on `clock`.
pub fn sleep(clock: &dyn Clock, duration: Duration) -> Sleep {
    sleep_until(clock, clock.monotonic().saturating_add(duration))
}

/// The future of [`sleep_until`].
#[derive(Debug)]
pub struct Sleep {
    state: Arc<Mutex<SleepState>>,
}

#[derive(Debug, Default)]
struct SleepState {
    done: bool,
    waker: Option<Waker>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.done {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

/// The computer's clock. Clones share one alarm thread, which starts with the first alarm.
#[derive(Clone)]
pub struct SystemClock {
    start: Instant,
    timers: Arc<SystemTimers>,
}

#[derive(Default)]
struct SystemTimers {
    queue: Mutex<TimerQueue>,
    changed: Condvar,
}

impl SystemClock {
    /// A clock whose monotonic time starts at 0 now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            timers: Arc::default(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> TimeMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimeMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn alarm(&self, at: Duration, action: AlarmAction) {
        if self.monotonic() >= at {
            return action();
        }
        let mut queue = self.timers.queue.lock();
        queue.push(at, action);
        if queue.running {
            self.timers.changed.notify_one();
            return;
        }
        queue.running = true;
        drop(queue);
        let (timers, start) = (Arc::downgrade(&self.timers), self.start);
        let spawned = std::thread::Builder::new()
            .name("clock-alarms".into())
            .spawn(move || run_alarms(&timers, start));
        if let Err(error) = spawned {
            tracing::error!(%error, "cannot start the alarm thread; alarms will not run");
            self.timers.queue.lock().running = false;
        }
    }
}

/// How often the alarm thread looks whether its clock is still owned by anybody.
const ALARM_IDLE_LIMIT: Duration = Duration::from_secs(5);

fn run_alarms(timers: &std::sync::Weak<SystemTimers>, start: Instant) {
    while let Some(timers) = timers.upgrade() {
        let mut queue = timers.queue.lock();
        let due = queue.take_due(start.elapsed());
        if due.is_empty() {
            let wait = match queue.next_at() {
                Some(at) => at.saturating_sub(start.elapsed()).min(ALARM_IDLE_LIMIT),
                None => ALARM_IDLE_LIMIT,
            };
            timers.changed.wait_for(&mut queue, wait);
            continue;
        }
        drop(queue);
        due.into_iter().for_each(|action| action());
    }
}

/// A clock that stands still until a test moves it.
#[derive(Clone)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

struct ManualState {
    wall: TimeMs,
    monotonic: Duration,
    queue: TimerQueue,
}

impl ManualClock {
    /// A clock that shows `wall`, with monotonic time 0.
    pub fn new(wall: TimeMs) -> Self {
        Self {
            state: Arc::new(Mutex::new(ManualState {
                wall,
                monotonic: Duration::ZERO,
                queue: TimerQueue::default(),
            })),
        }
    }

    /// Moves both times on and runs the alarms that became due, in order of their time.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut state = self.state.lock();
            state.monotonic = state.monotonic.saturating_add(by);
            state.wall = state.wall.plus(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
            let now = state.monotonic;
            state.queue.take_due(now)
        };
        due.into_iter().for_each(|action| action());
    }

    /// Moves on to the next alarm and runs what is due then. Returns false when none is set.
    pub fn advance_to_next_alarm(&self) -> bool {
        let by = {
            let state = self.state.lock();
            match state.queue.next_at() {
                Some(at) => at.saturating_sub(state.monotonic),
                None => return false,
            }
        };
        self.advance(by);
        true
    }

    /// Sets the wall time alone, as an administrator or NTP would.
    pub fn set_wall(&self, wall: TimeMs) {
        self.state.lock().wall = wall;
    }

    /// How many alarms are waiting.
    pub fn alarm_count(&self) -> usize {
        self.state.lock().queue.heap.len()
    }
}

impl Default for ManualClock {
    /// A clock that shows 2020-01-01 UTC.
    fn default() -> Self {
        Self::new(TimeMs(1_577_836_800_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> TimeMs {
        self.state.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().monotonic
    }

    fn alarm(&self, at: Duration, action: AlarmAction) {
        let mut state = self.state.lock();
        if state.monotonic < at {
            return state.queue.push(at, action);
        }
        drop(state);
        action();
    }
}

/// Alarms by time; equal times in the order they were set.
#[derive(Default)]
struct TimerQueue {
    heap: BinaryHeap<Reverse<Timer>>,
    next_sequence: u64,
    running: bool,
}

struct Timer {
    at: Duration,
    sequence: u64,
    action: AlarmAction,
}

impl TimerQueue {
    fn push(&mut self, at: Duration, action: AlarmAction) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.heap.push(Reverse(Timer { at, sequence, action }));
    }

    fn next_at(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(timer)| timer.at)
    }

    fn take_due(&mut self, now: Duration) -> Vec<AlarmAction> {
        let mut due = Vec::new();
        while self.next_at().is_some_and(|at| at <= now) {
            if let Some(Reverse(timer)) = self.heap.pop() {
                due.push(timer.action);
            }
        }
        due
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Timer {}
impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_run_in_order_of_time_and_only_once() {
        let clock = ManualClock::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        for millis in [30_u64, 10, 20] {
            let seen = Arc::clone(&seen);
            clock.alarm(
                Duration::from_millis(millis),
                Box::new(move || seen.lock().push(millis)),
            );
        }
        clock.advance(Duration::from_millis(20));
        assert_eq!(*seen.lock(), [10, 20]);
        assert!(clock.advance_to_next_alarm());
        assert!(!clock.advance_to_next_alarm());
        assert_eq!(*seen.lock(), [10, 20, 30]);
        assert_eq!(clock.monotonic(), Duration::from_millis(30));
    }

    #[test]
    fn system_alarm_runs_on_its_thread() {
        let clock = SystemClock::new();
        let (sender, receiver) = std::sync::mpsc::channel();
        let at = clock.monotonic() + Duration::from_millis(5);
        clock.alarm(at, Box::new(move || sender.send(()).unwrap()));
        receiver.recv().unwrap();
        assert!(clock.monotonic() >= at);
    }
}
