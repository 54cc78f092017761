//! Leases for full block reports: only a few DataNodes may send theirs at a time (Hadoop's `BlockReportLeaseManager`).
//!
//! A node whose blocks are not known since it registered goes before those that merely report again.
//! Invariant: at most `max` leases are unexpired; a node holds at most one.

use crate::node::NodeIndex;
use hadron_types::TimeMs;
use hashbrown::HashMap;

/// How long a refused node keeps others waiting without asking again; it asks with every heartbeat.
const WAITING_MS: u64 = 30_000;
/// Between two looks at who waits no more.
const PRUNE_MS: u64 = 1_000;

#[derive(Debug)]
struct Lease {
    node: NodeIndex,
    id: u64,
    granted: TimeMs,
}

/// The leases out now.
#[derive(Debug)]
pub(crate) struct ReportLeases {
    leases: Vec<Lease>,
    /// Nodes that never reported and were refused, with the time they last asked.
    waiting: HashMap<NodeIndex, TimeMs>,
    pruned: TimeMs,
    max: usize,
    length_ms: u64,
}

impl ReportLeases {
    pub(crate) fn new(max: usize, length_ms: u64) -> Self {
        Self {
            leases: Vec::new(),
            waiting: HashMap::new(),
            pruned: TimeMs(0),
            max,
            length_ms,
        }
    }

    /// A new lease for `node`, replacing one it may hold; 0 when all are out or kept for others. `is_new`: it has not
    /// reported since it registered.
    pub(crate) fn request(&mut self, node: NodeIndex, is_new: bool, now: TimeMs, rng: &mut dyn FnMut() -> u64) -> u64 {
        self.remove(node);
        self.leases.retain(|lease| now.since(lease.granted) < self.length_ms);
        if now.since(self.pruned) >= PRUNE_MS {
            self.pruned = now;
            self.waiting.retain(|_, asked| now.since(*asked) < WAITING_MS);
        }
        let ahead = if is_new { 0 } else { self.waiting.len() };
        if self.leases.len().saturating_add(ahead) >= self.max {
            if is_new {
                self.waiting.insert(node, now);
            }
            return 0;
        }
        let id = rng().max(1);
        self.leases.push(Lease { node, id, granted: now });
        id
    }

    /// Whether a report of `node` under lease `id` may be processed; 0 needs no lease.
    pub(crate) fn check(&self, node: NodeIndex, id: u64, now: TimeMs) -> bool {
        id == 0
            || self
                .leases
                .iter()
                .any(|lease| lease.node == node && lease.id == id && now.since(lease.granted) < self.length_ms)
    }

    /// Ends the lease of `node`: it reported, died or registered anew.
    pub(crate) fn remove(&mut self, node: NodeIndex) {
        self.waiting.remove(&node);
        self.leases.retain(|lease| lease.node != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_at_a_time_and_five_minutes_each() {
        let mut leases = ReportLeases::new(6, 300_000);
        let mut next = 0;
        let mut rng = || {
            next += 1;
            next
        };
        let ids: Vec<u64> = (0..8)
            .map(|n| leases.request(NodeIndex(n), true, TimeMs(0), &mut rng))
            .collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 0, 0]);
        assert!(leases.check(NodeIndex(0), 1, TimeMs(299_999)));
        assert!(!leases.check(NodeIndex(0), 1, TimeMs(300_000)), "expired");
        assert!(!leases.check(NodeIndex(1), 1, TimeMs(0)), "another's");
        assert!(leases.check(NodeIndex(7), 0, TimeMs(0)), "0 bypasses");
        leases.remove(NodeIndex(3));
        assert_eq!(
            leases.request(NodeIndex(9), false, TimeMs(1), &mut rng),
            0,
            "two wait that never reported"
        );
        assert_eq!(leases.request(NodeIndex(7), true, TimeMs(1), &mut rng), 7);
        assert_eq!(
            leases.request(NodeIndex(6), false, TimeMs(300_000), &mut rng),
            8,
            "old ones expired"
        );
    }

    #[test]
    fn zero_is_never_granted() {
        assert_ne!(
            ReportLeases::new(6, 1).request(NodeIndex(0), true, TimeMs(0), &mut || 0),
            0
        );
    }
}
