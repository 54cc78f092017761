//! The newest state a client has seen, by which an observer knows how far it must have come before it answers.
//!
//! Invariant: the id never goes back. Source: Hadoop `ClientGSIContext`.

use std::sync::atomic::{AtomicI64, Ordering};

/// The highest state id in any response; shared by the connections of one client.
#[derive(Debug)]
pub struct StateIdSeen(AtomicI64);

impl Default for StateIdSeen {
    /// Nothing seen: `i64::MIN`, which every server has reached.
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl StateIdSeen {
    /// The highest id so far.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
    /// Notes a response's id.
    pub fn advance(&self, state_id: i64) {
        self.0.fetch_max(state_id, Ordering::Relaxed);
    }
}
