//! What applied commands change in soft state: the block map and the leases' clock follow the namespace.
//!
//! Runs under the namespace's write lock, right after the command that caused the effects, so that every block is
//! seen as that command left it.

use crate::block_recovery::{BlockRecoveries, Candidate};
use crate::state::{NamespaceBlocks, stored_block};
use hadron_blockmap::BlockMap;
use hadron_namespace::{BlockState, Effect, LeaseManager, Namespace};
use hadron_types::{Block, TimeMs};

/// Carries `effects` over to the block map and the leases.
pub(crate) fn follow(
    ns: &Namespace,
    blocks: &mut BlockMap,
    leases: &mut LeaseManager,
    effects: &[Effect],
    now: TimeMs,
) {
    for effect in effects {
        match effect {
            Effect::BlockChanged { block, state, .. } => follow_block(ns, blocks, *block, *state, now),
            Effect::BlocksRemoved(removed) => {
                blocks.blocks_removed(removed);
                if blocks.safe_mode().is_starting() {
                    blocks.set_total_blocks(ns.counts().complete_blocks, now);
                }
            }
            Effect::ReplicationChanged { blocks: changed, .. } => {
                for block in changed {
                    if let Some(stored) = ns.stored_block(block.id) {
                        blocks.replication_changed(&stored_block(stored), &NamespaceBlocks(ns), now);
                    }
                }
            }
            Effect::LeaseGranted { file, holder } => leases.grant(*file, holder, now),
            Effect::LeaseReleased { file } => leases.release(*file),
            // A new block is told with its targets by the call that chose them; reclaiming is the driver's.
            Effect::BlockAdded { .. }
            | Effect::BlockRecoveryStarted { .. }
            | Effect::FileClosed { .. }
            | Effect::CacheChanged
            | Effect::ReclaimNeeded => {}
        }
    }
}

/// Carries `effects` over to the block recoveries; after [`follow`], which knows the pipelines.
pub(crate) fn follow_recoveries(blocks: &BlockMap, recoveries: &mut BlockRecoveries, effects: &[Effect], now: TimeMs) {
    for effect in effects {
        match effect {
            Effect::BlockRecoveryStarted { block, file, .. } => {
                let replicas = blocks.recovery_replicas(block, now);
                let candidates = replicas.iter().map(|replica| Candidate {
                    node: replica.node.id.uuid.clone(),
                    last_heard: replica.node.stats.last_update,
                });
                let candidates: Vec<_> = candidates.collect();
                let primary = recoveries.start(block.id, *file, &candidates, now);
                match primary {
                    Some(node) => tracing::info!(%block, %node, "primary of block recovery chosen"),
                    None => tracing::warn!(%block, "no live datanode holds the block to be recovered: trying later"),
                }
            }
            Effect::BlockChanged { block, state, .. } if *state != BlockState::UnderRecovery => {
                recoveries.end(block.id)
            }
            Effect::BlocksRemoved(removed) => removed.iter().for_each(|block| recoveries.end(block.id)),
            _ => {}
        }
    }
}

fn follow_block(ns: &Namespace, blocks: &mut BlockMap, block: Block, state: BlockState, now: TimeMs) {
    let Some(stored) = ns.stored_block(block.id).map(stored_block) else {
        return;
    };
    match state {
        BlockState::Committed => blocks.block_committed(&stored, &NamespaceBlocks(ns), now),
        BlockState::Complete => blocks.block_completed(&stored, &NamespaceBlocks(ns), now),
        BlockState::UnderConstruction | BlockState::UnderRecovery if blocks.expected(block.id, now).is_empty() => {
            blocks.block_reopened(&stored)
        }
        BlockState::UnderConstruction | BlockState::UnderRecovery => {}
    }
}
