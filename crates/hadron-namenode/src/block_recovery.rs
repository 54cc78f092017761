//! Who carries out block recoveries, and when one is tried again. Soft state beside the namespace.
//!
//! The namespace records that a block is under recovery and under which stamp; here is which DataNode was chosen as
//! primary, which orders wait for its next heartbeat, and which attempts are overdue. As in Hadoop the primary is the
//! holder heard of most recently that was not tried yet, and no second attempt begins within the time-out; unlike Hadoop an
//! overdue attempt is made again by the lease monitor, not only when somebody asks for the file, and one whose primary
//! registers anew, or that found none, is overdue at once or with the next heartbeats.
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
    heartbeat_ms: u64,
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
    lead: Lead,
    tried: Vec<DatanodeUuid>,
}

/// Who leads an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lead {
    /// Whom an earlier life of the NameNode chose, if its order went out: anybody may begin another attempt.
    Inherited,
    /// Nobody was found; the next attempt for which nobody is found waits so long, one heartbeat at least.
    Nobody { patience_ms: u64 },
    /// The last of the tried.
    LastTried,
}

impl BlockRecoveries {
    /// None yet. `heartbeat_interval_ms`: of the DataNodes; the time-out is [`TIMEOUT_HEARTBEATS`] of them.
    pub fn new(heartbeat_interval_ms: u64) -> Self {
        Self {
            attempts: HashMap::new(),
            orders: HashMap::new(),
            heartbeat_ms: heartbeat_interval_ms,
            timeout_ms: heartbeat_interval_ms.saturating_mul(TIMEOUT_HEARTBEATS),
        }
    }

    /// Begins an attempt: chooses the primary among `candidates` (live nodes) and queues the order for it.
    ///
    /// Returns the primary; `None` without candidates: then the attempt is overdue after one heartbeat interval, and the
    /// next such one after twice that, up to the time-out.
    pub fn start(
        &mut self,
        block: BlockId,
        file: InodeId,
        candidates: &[Candidate],
        now: TimeMs,
    ) -> Option<DatanodeUuid> {
        let attempt = self.attempts.entry(block).or_insert_with(|| Attempt {
            file,
            until: now,
            lead: Lead::Nobody { patience_ms: 0 },
            tried: Vec::new(),
        });
        if candidates.is_empty() {
            let wait = match attempt.lead {
                Lead::Nobody { patience_ms } => patience_ms.clamp(self.heartbeat_ms, self.timeout_ms),
                Lead::Inherited | Lead::LastTried => self.heartbeat_ms,
            };
            attempt.until = now.plus(wait);
            attempt.lead = Lead::Nobody {
                patience_ms: wait.saturating_mul(2),
            };
            return None;
        }
        attempt.until = now.plus(self.timeout_ms);
        attempt.lead = Lead::LastTried;
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

    /// Expects an attempt that an earlier life of the NameNode began; it is overdue after the time-out, and does not count
    /// as running: its order may never have gone out.
    pub fn expect(&mut self, block: BlockId, file: InodeId, now: TimeMs) {
        let attempt = Attempt {
            file,
            until: now.plus(self.timeout_ms),
            lead: Lead::Inherited,
            tried: Vec::new(),
        };
        self.attempts.insert(block, attempt);
    }

    /// Whether an attempt runs that is not overdue.
    pub fn is_running(&self, block: BlockId, now: TimeMs) -> bool {
        let attempt = self.attempts.get(&block);
        attempt.is_some_and(|attempt| now <= attempt.until && attempt.lead != Lead::Inherited)
    }

    /// `node` registers: it was started again, or was thought dead, and orders it took are lost. Attempts that it leads
    /// are overdue; those nobody leads are looked at again when it has had time to report what it has.
    pub fn registered(&mut self, node: &DatanodeUuid, now: TimeMs) {
        let waiting = self.orders.get(node);
        for (block, attempt) in &mut self.attempts {
            if attempt.lead == Lead::LastTried {
                let has_order = waiting.is_some_and(|queue| queue.contains(block));
                if attempt.tried.last() == Some(node) && !has_order {
                    attempt.until = TimeMs(0);
                }
                continue;
            }
            attempt.until = attempt.until.min(now.plus(self.heartbeat_ms));
            if let Lead::Nobody { patience_ms } = &mut attempt.lead {
                *patience_ms = 0;
            }
        }
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
        assert_eq!(start(&mut recoveries, &[("a", 1)], 0).as_deref(), Some("a"));
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
    fn an_attempt_nobody_leads_is_looked_at_again_soon_and_then_less_often() {
        let mut recoveries = BlockRecoveries::new(3_000);
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert_eq!(start(&mut recoveries, &[], now), None);
            let mut overdue = (1_u64..).map(|ms| now + ms);
            let until = overdue.find(|&then| !recoveries.is_running(BLOCK, TimeMs(then)));
            waits.push(until.expect("an end") - 1 - now);
            now = until.expect("an end");
        }
        assert_eq!(waits, [3_000, 6_000, 12_000, 24_000, 48_000, 90_000, 90_000]);
        assert_eq!(start(&mut recoveries, &[], now), None);
        recoveries.registered(&"a".into(), TimeMs(now + 10));
        assert!(
            recoveries.is_running(BLOCK, TimeMs(now + 3_010)),
            "it may have something to report"
        );
        assert!(!recoveries.is_running(BLOCK, TimeMs(now + 3_011)));
    }

    #[test]
    fn an_attempt_whose_primary_starts_anew_is_overdue_unless_its_order_waits() {
        let mut recoveries = BlockRecoveries::new(3_000);
        start(&mut recoveries, &[("a", 1), ("b", 2)], 100);
        recoveries.registered(&"b".into(), TimeMs(200));
        assert!(recoveries.is_running(BLOCK, TimeMs(200)), "the order goes out yet");
        assert_eq!(recoveries.take(&"b".into()), [BLOCK]);
        recoveries.registered(&"a".into(), TimeMs(200));
        assert!(recoveries.is_running(BLOCK, TimeMs(200)), "another node's matter");
        recoveries.registered(&"b".into(), TimeMs(200));
        assert!(!recoveries.is_running(BLOCK, TimeMs(200)));
        assert_eq!(recoveries.take_overdue(TimeMs(200), 10), [(BLOCK, FILE)]);
    }

    #[test]
    fn an_inherited_attempt_stands_in_nobodys_way() {
        let mut recoveries = BlockRecoveries::new(3_000);
        recoveries.expect(BLOCK, FILE, TimeMs(0));
        assert!(!recoveries.is_running(BLOCK, TimeMs(0)));
        assert_eq!(recoveries.take_overdue(TimeMs(90_000), 10), []);
        assert_eq!(recoveries.take_overdue(TimeMs(90_001), 10), [(BLOCK, FILE)]);
        start(&mut recoveries, &[("a", 1)], 90_002);
        assert!(recoveries.is_running(BLOCK, TimeMs(90_003)));
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
