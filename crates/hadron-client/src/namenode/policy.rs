//! What to do when a call to a NameNode fails: give up, ask the same one again, or go to another one.
//!
//! Pure: counts and a random number in, a decision out. All methods of `ClientProtocol` are idempotent or protected by
//! the retry cache, so a call whose fate is unknown may always be repeated (under its old id).
//!
//! Source: Hadoop `RetryPolicies.FailoverOnNetworkExceptionRetry`.

use hadron_net::RpcError;
use hadron_types::ErrorKind;
use std::time::Duration;

/// First wait without HA before a call is repeated; doubles up to [`SINGLE_MAX_DELAY`].
const SINGLE_FIRST_DELAY: Duration = Duration::from_millis(200);
/// Longest wait without HA before a call is repeated.
const SINGLE_MAX_DELAY: Duration = Duration::from_secs(10);
/// Doublings after which a wait is as long as it gets; keeps the shift in range.
const MAX_DOUBLINGS: usize = 30;

/// Why a try failed, as far as the policy cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// No connection came about: nothing was sent.
    Unreachable,
    /// The connection broke or nothing came in time: the call may have run.
    Broken,
    /// The NameNode is not the active one, or an observer that cannot answer this.
    Standby,
    /// The NameNode says "later".
    Retriable,
    /// An answer that no other try would change.
    Final,
}

impl Fault {
    /// The class of `error`, which came from a call that was sent.
    pub(super) fn of(error: &RpcError) -> Self {
        match error.remote().map(|remote| remote.kind) {
            Some(ErrorKind::Standby | ErrorKind::ObserverRetryOnActive) => Self::Standby,
            Some(ErrorKind::Retriable) => Self::Retriable,
            Some(_) => Self::Final,
            None if error.is_connection_failure() => Self::Broken,
            None => Self::Final,
        }
    }
}

/// What is done about a failed try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    /// The caller gets the error.
    GiveUp,
    /// The same NameNode, after a wait.
    Retry(Duration),
    /// The next NameNode, after a wait.
    FailOver(Duration),
}

/// How often a call was repeated so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts {
    /// All repetitions; what the request header says.
    pub(super) retries: usize,
    /// Those at another NameNode.
    pub(super) failovers: usize,
}

/// The rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Policy {
    /// One NameNode: there is nowhere else to go.
    Single {
        /// Most repetitions of a call.
        max_retries: usize,
    },
    /// A name service.
    Ha {
        /// `dfs.client.failover.max.attempts`.
        max_failovers: usize,
        /// `dfs.client.retry.max.attempts`: repetitions at the same NameNode.
        max_retries: usize,
        /// `dfs.client.failover.sleep.base.millis`.
        sleep_base: Duration,
        /// `dfs.client.failover.sleep.max.millis`.
        sleep_max: Duration,
    },
}

impl Policy {
    /// Decides after a try that ended with `fault`. `random`: 0..1, drawn anew each time.
    pub(super) fn decide(&self, fault: Fault, counts: Counts, random: f64) -> Decision {
        match *self {
            Self::Single { max_retries } => match fault {
                // Connecting has retries of its own.
                Fault::Unreachable | Fault::Standby | Fault::Final => Decision::GiveUp,
                _ if counts.retries >= max_retries => Decision::GiveUp,
                Fault::Broken | Fault::Retriable => {
                    Decision::Retry(doubled(SINGLE_FIRST_DELAY, counts.retries).min(SINGLE_MAX_DELAY))
                }
            },
            Self::Ha {
                max_failovers,
                max_retries,
                sleep_base,
                sleep_max,
            } => {
                let at_the_same = counts.retries - counts.failovers;
                if counts.failovers >= max_failovers || at_the_same > max_retries {
                    return Decision::GiveUp;
                }
                // The first repetition is immediate; later ones wait longer and longer, 50 % more or less.
                let wait = |times: usize| match times {
                    0 => Duration::ZERO,
                    times => doubled(sleep_base, times).min(sleep_max).mul_f64(random + 0.5),
                };
                match fault {
                    Fault::Unreachable | Fault::Standby => Decision::FailOver(wait(counts.failovers)),
                    Fault::Broken => Decision::FailOver(Duration::ZERO),
                    Fault::Retriable => Decision::Retry(wait(counts.retries)),
                    Fault::Final => Decision::GiveUp,
                }
            }
        }
    }
}

fn doubled(base: Duration, times: usize) -> Duration {
    base.saturating_mul(1 << times.min(MAX_DOUBLINGS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_types::HadoopError;

    const HA: Policy = Policy::Ha {
        max_failovers: 15,
        max_retries: 10,
        sleep_base: Duration::from_millis(500),
        sleep_max: Duration::from_millis(15_000),
    };

    fn counts(retries: usize, failovers: usize) -> Counts {
        Counts { retries, failovers }
    }

    #[test]
    fn decisions_are_hadoops() {
        use Decision::{FailOver, GiveUp, Retry};
        let ms = Duration::from_millis;
        for (fault, retries, failovers, random, expected) in [
            (Fault::Standby, 0, 0, 0.9, FailOver(ms(0))),
            (Fault::Unreachable, 0, 0, 0.9, FailOver(ms(0))),
            (Fault::Standby, 1, 1, 0.5, FailOver(ms(1000))),
            (Fault::Standby, 1, 1, 0.0, FailOver(ms(500))),
            (Fault::Standby, 2, 2, 1.0, FailOver(ms(3000))),
            (Fault::Standby, 14, 14, 0.5, FailOver(ms(15_000))),
            (Fault::Standby, 15, 15, 0.5, GiveUp),
            (Fault::Unreachable, 15, 15, 0.5, GiveUp),
            (Fault::Broken, 3, 3, 0.5, FailOver(ms(0))),
            (Fault::Retriable, 0, 0, 0.5, Retry(ms(0))),
            (Fault::Retriable, 2, 0, 0.5, Retry(ms(2000))),
            // Only those at the same NameNode count as retries.
            (Fault::Retriable, 12, 4, 0.5, Retry(ms(15_000))),
            (Fault::Retriable, 11, 0, 0.5, GiveUp),
            (Fault::Final, 0, 0, 0.5, GiveUp),
        ] {
            let decided = HA.decide(fault, counts(retries, failovers), random);
            assert_eq!(decided, expected, "{fault:?} after {retries}/{failovers}");
        }
    }

    #[test]
    fn a_single_name_node_is_asked_again_but_never_left() {
        let single = Policy::Single { max_retries: 3 };
        let decide = |fault, retries| single.decide(fault, counts(retries, 0), 0.5);
        assert_eq!(decide(Fault::Broken, 0), Decision::Retry(Duration::from_millis(200)));
        assert_eq!(decide(Fault::Retriable, 2), Decision::Retry(Duration::from_millis(800)));
        for (fault, retries) in [
            (Fault::Retriable, 3),
            (Fault::Broken, 3),
            (Fault::Standby, 0),
            (Fault::Unreachable, 0),
            (Fault::Final, 0),
        ] {
            assert_eq!(decide(fault, retries), Decision::GiveUp, "{fault:?}");
        }
        let many = Policy::Single {
            max_retries: usize::MAX,
        };
        assert_eq!(
            many.decide(Fault::Broken, counts(500, 0), 0.5),
            Decision::Retry(SINGLE_MAX_DELAY)
        );
    }

    #[test]
    fn errors_are_classed_by_what_may_have_run() {
        let addr = ([127, 0, 0, 1], 1).into();
        let remote = |kind| RpcError::Remote(HadoopError::new(kind, "scripted"));
        for (error, expected) in [
            (remote(ErrorKind::Standby), Fault::Standby),
            (remote(ErrorKind::ObserverRetryOnActive), Fault::Standby),
            (remote(ErrorKind::Retriable), Fault::Retriable),
            (remote(ErrorKind::SafeMode), Fault::Final),
            (remote(ErrorKind::AccessControl), Fault::Final),
            (remote(ErrorKind::InvalidToken), Fault::Final),
            (RpcError::Closed { addr }, Fault::Broken),
            (
                RpcError::TimedOut {
                    addr,
                    after: Duration::ZERO,
                },
                Fault::Broken,
            ),
            (
                RpcError::Malformed {
                    addr,
                    reason: String::new(),
                },
                Fault::Final,
            ),
        ] {
            assert_eq!(Fault::of(&error), expected, "{error}");
        }
    }
}
