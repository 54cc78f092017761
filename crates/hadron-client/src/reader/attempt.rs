//! What one read call has tried: rounds over the replicas, corrupt replicas met, exceptions it has used up.
//!
//! Pure: the waits and the rule for reporting are functions of what is counted here.
//!
//! Source: Hadoop `DFSInputStream` (`failures`, `corruptedBlockMap`, `refetchToken`, `retryCurrentNode`).

use super::block::BlockRange;
use hadron_proto::hdfs as proto;
use std::sync::Arc;
use std::time::Duration;

/// The memory of one read call.
#[derive(Default)]
pub(super) struct Attempt {
    /// How often every replica of the block had failed, so that locations were fetched anew.
    pub(super) rounds: usize,
    /// The locations at hand have been found wanting: fetch them again.
    pub(super) stale: bool,
    /// A refused block token was replaced already.
    pub(super) token_refetched: bool,
    /// A connection that broke was made again to the same node already.
    pub(super) same_node_retried: bool,
    /// Replicas with wrong checksums, each once.
    corrupt: Vec<BlockRange>,
}

impl Attempt {
    /// Remembers a corrupt replica, to be reported when the read is over.
    pub(super) fn note_corrupt(&mut self, asked: &BlockRange) {
        let is_it = |known: &BlockRange| {
            known.located.b.block_id == asked.located.b.block_id
                && known.info().id.datanode_uuid == asked.info().id.datanode_uuid
        };
        if !self.corrupt.iter().any(is_it) {
            self.corrupt.push(asked.clone());
        }
    }

    /// The blocks to report, each with its corrupt replicas; forgets them.
    ///
    /// When every one of several replicas looks corrupt, it is more likely that this client cannot read: nothing is
    /// reported then.
    pub(super) fn take_reports(&mut self) -> Vec<proto::LocatedBlockProto> {
        let mut reports = Vec::new();
        let mut left = std::mem::take(&mut self.corrupt);
        while let Some(first) = left.first() {
            let located = Arc::clone(&first.located);
            let (replicas, others): (Vec<_>, Vec<_>) = left
                .into_iter()
                .partition(|replica| replica.located.b.block_id == located.b.block_id);
            left = others;
            if replicas.len() < located.locs.len() || located.locs.len() == 1 {
                reports.push(report(&located, &replicas));
            }
        }
        reports
    }
}

fn report(located: &proto::LocatedBlockProto, replicas: &[BlockRange]) -> proto::LocatedBlockProto {
    fn pick<T: Clone>(list: &[T], replica: &BlockRange) -> Option<T> {
        list.get(replica.node).cloned()
    }
    proto::LocatedBlockProto {
        locs: replicas.iter().map(|replica| replica.info().clone()).collect(),
        storage_i_ds: replicas
            .iter()
            .filter_map(|replica| pick(&replica.located.storage_i_ds, replica))
            .collect(),
        storage_types: replicas
            .iter()
            .filter_map(|replica| pick(&replica.located.storage_types, replica))
            .collect(),
        is_cached: Vec::new(),
        corrupt: true,
        ..located.clone()
    }
}

/// How long to wait before round `round` (from 0) over the replicas of a block: a grace that grows by `window` each
/// round, and a random part of a window that grows as well. `random`: 0..1.
pub(super) fn round_wait(window: Duration, round: usize, random: f64) -> Duration {
    let round = round as f64;
    window.mul_f64(round + (round + 1.0) * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(block: u64, nodes: &[&str]) -> Arc<proto::LocatedBlockProto> {
        let info = |name: &&str| proto::DatanodeInfoProto {
            id: proto::DatanodeIdProto {
                datanode_uuid: (*name).to_owned(),
                ..Default::default()
            },
            ..Default::default()
        };
        Arc::new(proto::LocatedBlockProto {
            b: proto::ExtendedBlockProto {
                block_id: block,
                ..Default::default()
            },
            locs: nodes.iter().map(info).collect(),
            storage_i_ds: nodes.iter().map(|name| format!("DS-{name}")).collect(),
            storage_types: vec![1; nodes.len()],
            ..Default::default()
        })
    }

    #[test]
    fn corrupt_replicas_are_reported_unless_all_are() {
        let check = |nodes: &[&str], corrupt: &[usize], reported: &[&str]| {
            let located = located(7, nodes);
            let mut attempt = Attempt::default();
            for node in corrupt.iter().chain(corrupt) {
                attempt.note_corrupt(&BlockRange {
                    located: Arc::clone(&located),
                    node: *node,
                    is_open: false,
                    range: 0..1,
                });
            }
            let storages: Vec<_> = attempt
                .take_reports()
                .into_iter()
                .flat_map(|report| {
                    assert_eq!(report.locs.len(), report.storage_types.len());
                    report.storage_i_ds
                })
                .collect();
            assert_eq!(storages, reported, "{corrupt:?} of {nodes:?}");
            assert!(attempt.take_reports().is_empty());
        };
        check(&["a", "b", "c"], &[1], &["DS-b"]);
        check(&["a", "b", "c"], &[2, 0], &["DS-c", "DS-a"]);
        check(&["a", "b", "c"], &[0, 1, 2], &[]);
        check(&["a"], &[0], &["DS-a"]);
        check(&["a", "b"], &[], &[]);
    }

    #[test]
    fn each_block_is_judged_alone() {
        let mut attempt = Attempt::default();
        for (block, nodes) in [(1, &["a", "b"][..]), (2, &["a", "b"]), (1, &["a", "b"])] {
            let node = usize::from(attempt.corrupt.len() == 2);
            attempt.note_corrupt(&BlockRange {
                located: located(block, nodes),
                node,
                is_open: false,
                range: 0..1,
            });
        }
        let reported: Vec<_> = attempt.take_reports().iter().map(|report| report.b.block_id).collect();
        assert_eq!(reported, [2], "both replicas of block 1 look corrupt");
    }

    #[test]
    fn waits_grow_as_hadoops() {
        let window = Duration::from_millis(3000);
        for (round, random, expected) in [
            (0, 0.0, 0),
            (0, 1.0, 3000),
            (1, 0.0, 3000),
            (1, 0.5, 6000),
            (2, 0.0, 6000),
            (2, 1.0, 15_000),
        ] {
            let wait = round_wait(window, round, random);
            assert_eq!(wait, Duration::from_millis(expected), "{round} {random}");
        }
    }
}
