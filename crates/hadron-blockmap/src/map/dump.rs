//! What waits for work, for `hdfs dfsadmin -metasave`.
//!
//! What it does not do: format. Each list is cut at the limit given, so that the lock is held for a bounded time.

use super::BlockMap;
use crate::classify::CorruptReason;
use crate::node::{AdminState, StorageIndex};
use hadron_types::{Block, BlockId, TimeMs};
use std::sync::Arc;

/// A replica as the dump names it.
#[derive(Clone, PartialEq, Debug)]
pub struct DumpedReplica {
    /// `ip:port` of its node.
    pub node: String,
    /// Id of its storage.
    pub storage: Arc<str>,
    /// Whether it is corrupt.
    pub corrupt: bool,
    /// Whether its storage has not reported yet.
    pub stale: bool,
    /// State of its node.
    pub admin: AdminState,
}

/// A copy under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DumpedCopy {
    /// The block.
    pub block: BlockId,
    /// When it was ordered.
    pub since: TimeMs,
    /// Copies awaited.
    pub copies: usize,
}

/// The lists.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BlockDump {
    /// Blocks that wait for replicas, without the missing ones.
    pub needed: Vec<BlockId>,
    /// Blocks without a usable replica.
    pub missing: Vec<BlockId>,
    /// Blocks whose surplus waits for reports.
    pub postponed: Vec<BlockId>,
    /// Copies under way.
    pub copies: Vec<DumpedCopy>,
    /// Replicas to be deleted, by `ip:port` of their node.
    pub deletions: Vec<(String, Vec<Block>)>,
    /// Blocks with a corrupt replica: each such replica, its reason and the number of all replicas.
    pub corrupt: Vec<(BlockId, DumpedReplica, &'static str, usize)>,
}

impl BlockMap {
    /// The lists, each with at most `limit` members.
    pub fn dump(&self, limit: usize) -> BlockDump {
        let copies = self.pending.iter().take(limit);
        let mut deletions = Vec::new();
        let mut left = limit;
        for (_, node) in self.cluster.iter() {
            let blocks: Vec<Block> = node.invalidate.iter().take(left).collect();
            left -= blocks.len();
            if !blocks.is_empty() {
                deletions.push((node.id.xfer_addr(), blocks));
            }
        }
        let mut corrupt = Vec::new();
        for (id, bad) in self.corrupt.iter().take(limit) {
            let replicas = self.dump_replicas(*id);
            for one in bad {
                let storage = &self.cluster.storage(one.storage).report.storage.id;
                let found = replicas.iter().find(|replica| &*replica.storage == storage.as_str());
                if let Some(replica) = found {
                    corrupt.push((*id, replica.clone(), reason(one.reason), replicas.len()));
                }
            }
        }
        BlockDump {
            needed: self.needed.waiting().take(limit).collect(),
            missing: self.needed.missing().take(limit).collect(),
            postponed: self.postponed.iter().take(limit).copied().collect(),
            copies: copies
                .map(|(block, since, copies)| DumpedCopy { block, since, copies })
                .collect(),
            deletions,
            corrupt,
        }
    }

    /// Every known replica of a block.
    pub fn dump_replicas(&self, id: BlockId) -> Vec<DumpedReplica> {
        let bad = self.corrupt.get(&id);
        let of = |storage: StorageIndex| {
            let known = self.cluster.storage(storage);
            let node = self.cluster.node(known.node);
            DumpedReplica {
                node: node.id.xfer_addr(),
                storage: known.report.storage.id.as_str().into(),
                corrupt: bad.is_some_and(|bad| bad.iter().any(|one| one.storage == storage)),
                stale: known.contents_stale,
                admin: node.admin,
            }
        };
        self.replicas
            .replicas_of(id)
            .map(|replica| of(replica.storage()))
            .collect()
    }
}

/// Hadoop's word for a reason (`CorruptReplicasMap.Reason`).
fn reason(reason: CorruptReason) -> &'static str {
    match reason {
        CorruptReason::GenerationStampMismatch => "GENSTAMP_MISMATCH",
        CorruptReason::SizeMismatch => "SIZE_MISMATCH",
        CorruptReason::InvalidState => "INVALID_STATE",
        CorruptReason::Reported => "CORRUPTION_REPORTED",
    }
}
