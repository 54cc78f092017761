//! Whether a DataNode can be reached over a Unix socket: its address, the path, and what went wrong there before.
//!
//! Only a DataNode at an address of this machine is looked for. A path that failed is left alone for a while.
//! Invariant: at most [`MAX_PATHS`] paths are remembered.
//!
//! Source: Hadoop `DomainSocketFactory`.

use crate::local_addresses::LocalAddresses;
use hadron_env::Clock;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Most paths that are remembered; a machine has one for each DataNode.
const MAX_PATHS: usize = 1024;

/// How often in a row a DataNode refuses descriptors before it is left alone: what it refuses may be one replica.
const MAX_REFUSALS: u32 = 8;

/// What a path is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PathState {
    /// Nothing: nobody answered there.
    Unusable,
    /// Data, but the DataNode passes no descriptors.
    ShortCircuitDisabled,
    /// Everything.
    Valid,
}

impl PathState {
    pub(crate) fn is_usable_for_descriptors(self) -> bool {
        self == Self::Valid
    }
}

/// What is known of this machine's sockets.
pub(crate) struct Paths {
    /// `dfs.domain.socket.path`; `None`: no Unix sockets.
    template: Option<String>,
    interval: Duration,
    clock: Arc<dyn Clock>,
    /// What each is not good for, and until when.
    bad: Mutex<HashMap<PathBuf, (PathState, Duration)>>,
    /// How often in a row descriptors were refused.
    refusals: Mutex<HashMap<PathBuf, u32>>,
    addresses: Arc<LocalAddresses>,
}

impl Paths {
    pub(crate) fn new(
        template: Option<String>,
        interval: Duration,
        addresses: Arc<LocalAddresses>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            template,
            interval,
            clock,
            bad: Mutex::default(),
            refusals: Mutex::default(),
            addresses,
        }
    }

    /// Where the DataNode with this address listens and what that is good for; `None` if it is on another machine, or
    /// Unix sockets are not configured.
    pub(crate) fn of(&self, ip: &str, port: u32) -> Option<(PathBuf, PathState)> {
        let template = self.template.as_deref()?;
        let port = u16::try_from(port).ok()?;
        if !self.addresses.has(ip) {
            return None;
        }
        let path = hadron_shm::socket_path(template, port);
        let state = self.state(&path);
        Some((path, state))
    }

    /// What `path` is good for now.
    pub(crate) fn state(&self, path: &Path) -> PathState {
        let mut bad = self.bad.lock();
        match bad.get(path).copied() {
            Some((state, until)) if self.clock.monotonic() < until => state,
            Some(_) => {
                bad.remove(path);
                PathState::Valid
            }
            None => PathState::Valid,
        }
    }

    /// Remembers that `path` is good for no more than `state`, for a while.
    pub(crate) fn mark(&self, path: &Path, state: PathState) {
        let now = self.clock.monotonic();
        let mut bad = self.bad.lock();
        if bad.len() >= MAX_PATHS {
            bad.retain(|_, (_, until)| *until > now);
        }
        if bad.len() < MAX_PATHS && !self.interval.is_zero() {
            bad.insert(path.to_owned(), (state, now + self.interval));
        }
    }

    /// Descriptors were refused, for a reason that may be this replica's or the DataNode's. Marks the path when it has
    /// become too often in a row; true then.
    pub(crate) fn count_refusal(&self, path: &Path) -> bool {
        {
            let mut refusals = self.refusals.lock();
            if refusals.len() >= MAX_PATHS && !refusals.contains_key(path) {
                refusals.clear();
            }
            let count = refusals.entry(path.to_owned()).or_default();
            *count += 1;
            if *count < MAX_REFUSALS {
                return false;
            }
            refusals.remove(path);
        }
        self.mark(path, PathState::ShortCircuitDisabled);
        true
    }

    /// Descriptors were passed.
    pub(crate) fn forget_refusals(&self, path: &Path) {
        self.refusals.lock().remove(path);
    }

    /// For logs: for how long a path is left alone.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_env::ManualClock;

    fn paths(template: Option<&str>, secs: u64) -> (Paths, ManualClock) {
        let clock = ManualClock::default();
        let template = template.map(str::to_owned);
        let paths = Paths::new(
            template,
            Duration::from_secs(secs),
            Arc::default(),
            Arc::new(clock.clone()),
        );
        (paths, clock)
    }

    // covers: SC-39
    #[test]
    fn only_data_nodes_of_this_machine_are_looked_for() {
        let (paths, _) = paths(Some("/run/dn._PORT"), 600);
        let valid = |path: &str| Some((PathBuf::from(path), PathState::Valid));
        assert_eq!(paths.of("127.0.0.1", 9866), valid("/run/dn.9866"));
        // Reserved for documentation: nobody's.
        assert_eq!(paths.of("192.0.2.7", 9866), None);
        assert_eq!(paths.of("no address", 9866), None);
        assert_eq!(paths.of("127.0.0.1", 70_000), None);
        assert_eq!(self::paths(None, 600).0.of("127.0.0.1", 9866), None);
    }

    #[test]
    fn a_path_that_failed_is_left_alone_for_a_while() {
        let (paths, clock) = paths(Some("/run/dn"), 600);
        let path = Path::new("/run/dn");
        for state in [PathState::Unusable, PathState::ShortCircuitDisabled] {
            paths.mark(path, state);
            assert_eq!(paths.state(path), state);
            assert!(!state.is_usable_for_descriptors());
            assert_eq!(paths.state(Path::new("/run/other")), PathState::Valid);
            clock.advance(Duration::from_secs(599));
            assert_eq!(paths.state(path), state);
            clock.advance(Duration::from_secs(1));
            assert_eq!(paths.state(path), PathState::Valid);
        }
        for round in 1..=3 * MAX_REFUSALS {
            let is_last = round % MAX_REFUSALS == 0;
            assert_eq!(paths.count_refusal(path), is_last, "{round}");
            assert_eq!(paths.state(path) == PathState::ShortCircuitDisabled, is_last);
            clock.advance(Duration::from_secs(if is_last { 600 } else { 0 }));
        }
        for _ in 0..3 {
            (1..MAX_REFUSALS).for_each(|_| assert!(!paths.count_refusal(path)));
            paths.forget_refusals(path);
        }
        let (never, _) = self::paths(Some("/run/dn"), 0);
        never.mark(path, PathState::Unusable);
        assert_eq!(never.state(path), PathState::Valid, "0: not left alone");
    }
}
