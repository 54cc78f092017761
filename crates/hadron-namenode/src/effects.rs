//! What applied commands change in soft state: the block map and the leases' clock follow the namespace.
//!
//! Runs under the namespace's write lock, right after the command that caused the effects, so that every block is
//! seen as that command left it.

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
            | Effect::ReclaimNeeded => {}
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
        BlockState::UnderConstruction if blocks.expected(block.id, now).is_empty() => blocks.block_reopened(block.id),
        BlockState::UnderConstruction | BlockState::UnderRecovery => {}
    }
}
