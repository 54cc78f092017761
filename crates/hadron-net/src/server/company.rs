//! Whether a call has its reactor's thread to itself.
//!
//! A call that waits for a disk is cheapest where it was taken in: to hand it to another thread and back costs two sleeps
//! and two wakings, more than the rest of the call. But whoever waits on a reactor's thread lets everybody else on it wait.
//! So a call may do that only where, for [`QUIET_FOR`], one connection alone has made calls, one at a time.
//! What it does not do: foresee. Who comes while a call waits for a disk waits with it, once; then there is company.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long there must have been no company.
const QUIET_FOR: Duration = Duration::from_millis(10);

thread_local! {
    static IS_ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the call that runs on this thread may keep it while it waits for a disk: nobody else waits for the thread, and
/// lately nobody did. False outside of calls, and in those that run as tasks ([`crate::Reply::Later`]).
pub fn is_alone() -> bool {
    IS_ALONE.get()
}

/// Runs `call`, in which [`is_alone`] says `alone`.
pub(crate) fn run<T>(alone: bool, call: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            IS_ALONE.set(false);
        }
    }
    let _reset = Reset;
    IS_ALONE.set(alone);
    call()
}

/// What a reactor remembers of whom it served.
pub(crate) struct Company {
    last: Option<usize>,
    seen: Instant,
}

impl Company {
    /// At the start there is company: nobody is known yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { last: None, seen: now }
    }

    /// Takes note that the connection `key` is served.
    pub(crate) fn serve(&mut self, key: usize, now: Instant) {
        if self.last.replace(key) != Some(key) {
            self.seen = now;
        }
    }

    /// Takes note of several calls at once.
    pub(crate) fn meet(&mut self, now: Instant) {
        self.seen = now;
    }

    /// Whether whoever is served now has been alone for long enough.
    pub(crate) fn is_absent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) >= QUIET_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_is_who_was_served_alone_for_long_enough() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut company = Company::new(start);
        company.serve(1, at(10));
        assert!(!company.is_absent(at(19)), "it came a moment ago");
        company.serve(1, at(20));
        assert!(company.is_absent(at(20)));
        company.serve(2, at(30));
        company.serve(1, at(31));
        assert!(!company.is_absent(at(40)), "another was served meanwhile");
        assert!(company.is_absent(at(41)));
        company.meet(at(50));
        assert!(!company.is_absent(at(59)), "several calls at once are company too");
        assert!(company.is_absent(at(60)));
    }

    #[test]
    fn only_the_call_is_alone_and_only_if_told_so() {
        assert!(!is_alone());
        assert!(run(true, is_alone));
        assert!(!run(false, is_alone));
        let caught = std::panic::catch_unwind(|| run(true, || panic!("a call")));
        assert!(caught.is_err() && !is_alone(), "nor after one that panicked");
    }
}
