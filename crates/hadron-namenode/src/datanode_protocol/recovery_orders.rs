//! The orders to recover blocks, as the primary DataNode gets them with its heartbeat's answer.
//!
//! Built when they go out, from the recovery as the namespace records it then: an attempt that was superseded or ended
//! while its order waited is left out. Nodes that have been silent are not named while two others are left.

use super::Core;
use crate::convert;
use hadron_blockmap::{BlockMap, ReplicaLocation};
use hadron_namespace::Namespace;
use hadron_proto::datanode::datanode_command_proto::Type;
use hadron_proto::datanode::{BlockRecoveryCommandProto, DatanodeCommandProto};
use hadron_proto::hdfs::{BlockProto, RecoveringBlockProto};
use hadron_types::{Block, BlockId, DatanodeUuid, TimeMs};

/// The recoveries that wait for `node`; `None` if there are none, or in safe mode.
pub(super) fn recovery_command(core: &Core, node: &DatanodeUuid) -> Option<DatanodeCommandProto> {
    let state = &core.shared.state;
    if state.recoveries.lock().is_idle() {
        return None;
    }
    let ns = state.ns.read();
    let blocks = state.blocks.lock();
    if blocks.safe_mode().is_on() {
        return None;
    }
    let ids = state.recoveries.lock().take(node);
    let now = state.now();
    let orders: Vec<_> = ids.iter().filter_map(|&id| order(&ns, &blocks, id, now)).collect();
    for order in &orders {
        tracing::info!(%node, block = order.block.b.block_id, stamp = order.new_gen_stamp, "ordered block recovery");
    }
    (!orders.is_empty()).then(|| DatanodeCommandProto {
        cmd_type: Type::BlockRecoveryCommand as i32,
        recovery_cmd: Some(BlockRecoveryCommandProto { blocks: orders }),
        ..DatanodeCommandProto::default()
    })
}

fn order(ns: &Namespace, blocks: &BlockMap, id: BlockId, now: TimeMs) -> Option<RecoveringBlockProto> {
    let stored = ns.stored_block(id)?;
    let recovery = ns.block_recovery(id)?;
    let replicas = without_stale(blocks.recovery_replicas(&stored.block, now));
    if replicas.is_empty() {
        // Whoever is asked nothing answers that nobody has the block, which would be the end of it.
        return None;
    }
    let located = convert::located_block(
        &ns.identity().block_pool,
        stored.block,
        0,
        &convert::uncorrupted(replicas),
    );
    Some(RecoveringBlockProto {
        new_gen_stamp: recovery.id.0,
        block: located,
        truncate_block: recovery.truncate_to.map(|len| {
            BlockProto::from(&Block {
                generation_stamp: recovery.id,
                len,
                ..stored.block
            })
        }),
        ..RecoveringBlockProto::default()
    })
}

fn without_stale(replicas: Vec<ReplicaLocation>) -> Vec<ReplicaLocation> {
    let fresh: Vec<_> = replicas.iter().filter(|replica| !replica.node.stale).cloned().collect();
    // With one left the primary had better ask all of them and live with the failures.
    if fresh.len() > 1 { fresh } else { replicas }
}
