//! Who carries out block recoveries, and when one is tried again. Soft state beside the namespace.
//!
//! The namespace records that a block is under recovery and under which stamp; here is which DataNode was chosen as
//! primary, which orders wait for its next heartbeat, and which attempts are overdue. As in Hadoop the primary is the
//! holder heard of most recently that was not tried yet, and no second attempt begins within the time-out; unlike Hadoop an
//! overdue attempt is made again by the lease monitor, not only when somebody asks for the file.
//! Reads no clock. Limits: attempts are as many as files under recovery; see [`ORDERS_PER_HEARTBEAT`].

use hadron_types::{BlockId, DatanodeUuid, InodeId, TimeMs};
use hashbrown::HashMap;
use std::collections::VecDeque;

/// Recoveries ordered with one heartbeat's answer at most; the rest waits for the next.
pub const ORDERS_PER_HEARTBEAT: usize = 64;
/// Heartbeat intervals that an attempt may take before another is made (Hadoop's multiplier).
pub const TIMEOUT_HEARTBEATS: u64 = 30;

/// The attempts under way. See the module's documentation.
#[derive(Debug)]
pub struct BlockRecoveries {
    attempts: HashMap<BlockId, Attempt>,
    orders: HashMap<DatanodeUuid, VecDeque<BlockId>>,
    timeout_ms: u64,
}

/// A holder of a replica that may be the primary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The node.
    pub node: DatanodeUuid,
    /// When it was last heard of.
    pub last_heard: TimeMs,
}

#[derive(Debug)]
struct Attempt {
    file: InodeId,
    until: TimeMs,
    tried: Vec<DatanodeUuid>,
}

impl BlockRecoveries {
    /// None yet. `heartbeat_interval_ms`: of the DataNodes; the time-out is [`TIMEOUT_HEARTBEATS`] of them.
    pub fn new(heartbeat_interval_ms: u64) -> Self {
        Self {
            attempts: HashMap::new(),
            orders: HashMap::new(),
            timeout_ms: heartbeat_interval_ms.saturating_mul(TIMEOUT_HEARTBEATS),
        }
    }

    /// Begins an attempt: chooses the primary among `candidates` (live nodes) and queues the order for it.
    ///
    /// Returns the primary; `None` without candidates, and then the attempt waits to be overdue.
    pub fn start(
        &mut self,
        block: BlockId,
        file: InodeId,
        candidates: &[Candidate],
        now: TimeMs,
    ) -> Option<DatanodeUuid> {
        let until = now.plus(self.timeout_ms);
        let attempt = self.attempts.entry(block).or_insert_with(|| Attempt {
            file,
            until,
            tried: Vec::new(),
        });
        attempt.until = until;
        if candidates
            .iter()
            .all(|candidate| attempt.tried.contains(&candidate.node))
        {
            attempt.tried.clear();
        }
        let untried = candidates
            .iter()
            .filter(|candidate| !attempt.tried.contains(&candidate.node));
        let primary = untried.max_by_key(|candidate| candidate.last_heard)?.node.clone();
        attempt.tried.push(primary.clone());
        for queue in self.orders.values_mut() {
            queue.retain(|queued| *queued != block);
        }
        self.orders.entry(primary.clone()).or_default().push_back(block);
        Some(primary)
    }

    /// Expects an attempt that an earlier life of the NameNode began; it is overdue after the time-out.
    pub fn expect(&mut self, block: BlockId, file: InodeId, now: TimeMs) {
        self.start(block, file, &[], now);
    }

    /// Whether an attempt runs that is not overdue.
    pub fn is_running(&self, block: BlockId, now: TimeMs) -> bool {
        self.attempts.get(&block).is_some_and(|attempt| now <= attempt.until)
    }

    /// The block is not under recovery any more.
    pub fn end(&mut self, block: BlockId) {
        if self.attempts.remove(&block).is_some() {
            for queue in self.orders.values_mut() {
                queue.retain(|queued| *queued != block);
            }
        }
    }

    /// Whether no orders wait.
    pub fn is_idle(&self) -> bool {
        self.orders.is_empty()
    }

    /// Takes the orders for `node`, oldest first, at most [`ORDERS_PER_HEARTBEAT`].
    pub fn take(&mut self, node: &DatanodeUuid) -> Vec<BlockId> {
        let Some(queue) = self.orders.get_mut(node) else {
            return Vec::new();
        };
        let count = queue.len().min(ORDERS_PER_HEARTBEAT);
        let taken = queue.drain(..count).collect();
        if queue.is_empty() {
            self.orders.remove(node);
        }
        taken
    }

    /// Attempts that were not heard of again, at most `limit`; each counts as begun anew, so that it is named once per
    /// time-out.
    pub fn take_overdue(&mut self, now: TimeMs, limit: usize) -> Vec<(BlockId, InodeId)> {
        let until = now.plus(self.timeout_ms);
        let overdue = self.attempts.iter_mut().filter(|(_, attempt)| attempt.until < now);
        let name = |(block, attempt): (&BlockId, &mut Attempt)| {
            attempt.until = until;
            (*block, attempt.file)
        };
        overdue.take(limit).map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: BlockId = BlockId(1);
    const FILE: InodeId = InodeId(7);

    fn candidates(nodes: &[(&str, u64)]) -> Vec<Candidate> {
        let candidate = |&(node, heard): &(&str, u64)| Candidate {
            node: node.into(),
            last_heard: TimeMs(heard),
        };
        nodes.iter().map(candidate).collect()
    }

    fn start(recoveries: &mut BlockRecoveries, nodes: &[(&str, u64)], now: u64) -> Option<String> {
        let primary = recoveries.start(BLOCK, FILE, &candidates(nodes), TimeMs(now));
        primary.map(|node| node.as_str().to_owned())
    }

    #[test]
    fn primaries_take_turns_the_one_heard_of_last_first() {
        let mut recoveries = BlockRecoveries::new(3_000);
        let nodes = [("a", 10), ("b", 30), ("c", 20)];
        let turns: Vec<_> = (0..4).map(|turn| start(&mut recoveries, &nodes, turn)).collect();
        let expected = ["b", "c", "a", "b"].map(|node| Some(node.to_owned()));
        assert_eq!(turns, expected);
        assert_eq!(recoveries.take(&"c".into()), [], "only the latest primary has an order");
        assert_eq!(recoveries.take(&"b".into()), [BLOCK]);
        assert_eq!(recoveries.take(&"b".into()), [], "an order goes out once");
        assert_eq!(start(&mut recoveries, &[("a", 10)], 5), Some("a".to_owned()));
        assert_eq!(
            start(&mut recoveries, &[("a", 10)], 6),
            Some("a".to_owned()),
            "the only one is tried again"
        );
    }

    #[test]
    fn an_attempt_is_overdue_after_its_time_out_and_named_once() {
        let mut recoveries = BlockRecoveries::new(3_000);
        assert_eq!(start(&mut recoveries, &[], 0), None);
        assert!(recoveries.is_running(BLOCK, TimeMs(90_000)));
        assert_eq!(recoveries.take_overdue(TimeMs(90_000), 10), []);
        assert!(!recoveries.is_running(BLOCK, TimeMs(90_001)));
        assert_eq!(recoveries.take_overdue(TimeMs(90_001), 0), []);
        assert_eq!(recoveries.take_overdue(TimeMs(90_001), 10), [(BLOCK, FILE)]);
        assert_eq!(recoveries.take_overdue(TimeMs(90_002), 10), []);
        start(&mut recoveries, &[("a", 1)], 90_003);
        recoveries.end(BLOCK);
        assert!(!recoveries.is_running(BLOCK, TimeMs(90_003)));
        assert_eq!(
            recoveries.take(&"a".into()),
            [],
            "an order of an ended recovery does not go out"
        );
    }

    #[test]
    fn one_heartbeat_brings_so_many_orders() {
        let mut recoveries = BlockRecoveries::new(3_000);
        let node = candidates(&[("a", 1)]);
        for id in 0..ORDERS_PER_HEARTBEAT as i64 + 1 {
            recoveries.start(BlockId(id), FILE, &node, TimeMs(0));
        }
        assert_eq!(recoveries.take(&"a".into()).len(), ORDERS_PER_HEARTBEAT);
        assert_eq!(recoveries.take(&"a".into()).len(), 1);
    }
}
