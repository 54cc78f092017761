//! Carrying out what a NameNode orders with its heartbeat answers.
//!
//! Commands never run on the actor's task: copies and deletions go to threads, so that the next heartbeat is in time.

use super::link::NameNodeLink;
use crate::cache;
use crate::recovery;
use crate::shared::Shared;
use crate::xceiver::{CopyTargets, copy_to_targets};
use hadron_proto::convert::storage_type_from_wire;
use hadron_proto::datanode::block_command_proto::Action;
use hadron_proto::datanode::block_id_command_proto::Action as IdAction;
use hadron_proto::datanode::datanode_command_proto::Type;
use hadron_proto::datanode::{BlockCommandProto, BlockIdCommandProto, DatanodeCommandProto};
use hadron_replica::DeletionHook;
use hadron_types::{Block, BlockId, BlockPoolId, ExtendedBlock};
use std::sync::Arc;

/// What a command wants of the actor itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    None,
    /// Register again, then report everything.
    Register,
}

/// Runs one command. Those of a NameNode that is not active are ignored, except registration and keys.
pub(super) fn run(shared: &Arc<Shared>, link: &Arc<NameNodeLink>, command: &DatanodeCommandProto) -> Effect {
    let Ok(kind) = Type::try_from(command.cmd_type) else {
        tracing::warn!(number = command.cmd_type, "unknown command of the NameNode ignored");
        return Effect::None;
    };
    if kind == Type::RegisterCommand {
        tracing::info!(namenode = %link.address, "asked to register again");
        return Effect::Register;
    }
    if !link.is_active() && kind != Type::KeyUpdateCommand {
        tracing::debug!(?kind, namenode = %link.address, "command of a NameNode that is not active ignored");
        return Effect::None;
    }
    if let (Type::KeyUpdateCommand, Some(update), Some(pool)) = (kind, &command.key_update_cmd, link.pool()) {
        shared.tokens.take(&pool, &update.keys);
    }
    match (kind, &command.blk_cmd) {
        (Type::BlockCommand, Some(order)) => run_block_command(shared, order),
        (Type::BlockIdCommand, _) => {
            if let Some(order) = &command.blk_id_cmd {
                run_block_id_command(shared, order);
            }
        }
        (Type::BalancerBandwidthCommand, _) => set_bandwidth(shared, command),
        (Type::BlockRecoveryCommand, _) => {
            let orders = command.recovery_cmd.as_ref().map_or(&[][..], |orders| &orders.blocks);
            recovery::order(shared, link, orders);
        }
        (Type::BlockEcReconstructionCommand, _) => tracing::warn!("striped blocks are not supported yet"),
        _ => tracing::debug!(?kind, "command has nothing to do here"),
    }
    Effect::None
}

/// Takes over the NameNode's figure for balancing; 0 changes nothing, as in Hadoop.
fn set_bandwidth(shared: &Shared, command: &DatanodeCommandProto) {
    let bandwidth = command.balancer_cmd.as_ref().map_or(0, |order| order.bandwidth);
    if bandwidth > 0 {
        let before = shared.balancing.set_bandwidth(bandwidth);
        tracing::info!(before, bandwidth, "bandwidth for balancing changed");
    }
}

/// Has replicas kept in memory, or not any more.
fn run_block_id_command(shared: &Arc<Shared>, order: &BlockIdCommandProto) {
    let pool = BlockPoolId::from(order.block_pool_id.as_str());
    let ids: Vec<BlockId> = order.block_ids.iter().map(|&id| BlockId::from_wire(id)).collect();
    let working = shared.clone();
    let started = match IdAction::try_from(order.action) {
        Ok(IdAction::Cache) => shared.workers.run(move || cache::cache(&working, &pool, &ids)),
        Ok(IdAction::Uncache) => shared.workers.run(move || cache::uncache(&working, &pool, &ids)),
        Err(_) => return tracing::warn!(action = order.action, "block id command ignored"),
    };
    if let Err(error) = started {
        tracing::error!(%error, "no thread to cache or uncache with");
    }
}

fn run_block_command(shared: &Arc<Shared>, order: &BlockCommandProto) {
    let pool = BlockPoolId::from(order.block_pool_id.as_str());
    let blocks: Vec<Block> = order.blocks.iter().map(Block::from).collect();
    match Action::try_from(order.action) {
        Ok(Action::Transfer) => transfer(shared, &pool, &blocks, order),
        Ok(Action::Invalidate) => invalidate(shared, pool, blocks),
        Ok(Action::Shutdown) | Err(_) => tracing::warn!(action = order.action, "block command ignored"),
    }
}

fn transfer(shared: &Arc<Shared>, pool: &BlockPoolId, blocks: &[Block], order: &BlockCommandProto) {
    for (i, block) in blocks.iter().enumerate() {
        let targets = CopyTargets {
            nodes: order.targets.get(i).map(|t| t.datanodes.clone()).unwrap_or_default(),
            storage_types: order
                .target_storage_types
                .get(i)
                .map(|t| {
                    t.storage_types
                        .iter()
                        .map(|n| storage_type_from_wire(*n).unwrap_or_default())
                        .collect()
                })
                .unwrap_or_default(),
            storage_ids: order
                .target_storage_uuids
                .get(i)
                .map(|t| t.storage_uuids.clone())
                .unwrap_or_default(),
        };
        let block = ExtendedBlock {
            pool: pool.clone(),
            block: *block,
        };
        let copying = shared.clone();
        let started = shared.workers.run(move || {
            if let Err(error) = copy_to_targets(&copying, &block, &targets, "") {
                tracing::warn!(%block, %error, "copy ordered by the NameNode failed");
            }
        });
        if let Err(error) = started {
            tracing::error!(%error, "no thread for a copy");
        }
    }
}

fn invalidate(shared: &Arc<Shared>, pool: BlockPoolId, blocks: Vec<Block>) {
    let deleting = shared.clone();
    let done: DeletionHook = {
        let (shared, pool) = (Arc::downgrade(shared), pool.clone());
        Arc::new(move |replica| {
            if let Some(shared) = shared.upgrade() {
                shared.metrics.blocks_removed.inc();
                shared.tell_deleted(&pool, &replica);
            }
        })
    };
    let started = shared.workers.run(move || {
        if let Err(error) = deleting.store.invalidate(&pool, &blocks, &done) {
            tracing::warn!(%error, "cannot delete replicas");
        }
    });
    if let Err(error) = started {
        tracing::error!(%error, "no thread for deletions");
    }
}
