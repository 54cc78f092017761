//! NamenodeProtocol: what Balancer, Mover and checkpointing tools ask of a NameNode.
//!
//! What it does not do: checkpoints and edits of another NameNode; a subordinate one is refused.
//! Source of rules: Hadoop `NameNodeRpcServer`, `BlockManager.getBlocksWithLocations`.

use crate::Shared;
use crate::client_protocol::{Audit, Call, run_with_caller};
use crate::datanode_protocol::namespace_info;
use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::convert::{no_block_keys, storage_type_to_wire};
use hadron_proto::hdfs::{
    BlockProto, BlockWithLocationsProto, BlocksWithLocationsProto, CheckpointSignatureProto, VersionRequestProto,
    VersionResponseProto,
};
use hadron_proto::namenode::{
    GetBlockKeysRequestProto, GetBlockKeysResponseProto, GetBlocksRequestProto, GetBlocksResponseProto,
    GetMostRecentCheckpointTxIdRequestProto, GetMostRecentCheckpointTxIdResponseProto,
    GetMostRecentNameNodeFileTxIdRequestProto, GetMostRecentNameNodeFileTxIdResponseProto,
    GetTransactionIdRequestProto, GetTransactionIdResponseProto, IsRollingUpgradeRequestProto,
    IsRollingUpgradeResponseProto, IsUpgradeFinalizedRequestProto, IsUpgradeFinalizedResponseProto,
    RollEditLogRequestProto, RollEditLogResponseProto,
};
use hadron_proto::protocol::NAMENODE_PROTOCOL;
use hadron_types::{DatanodeUuid, ErrorKind, HadoopError, HadoopResult, StorageType};
use std::sync::Arc;

/// Replicas looked at under one hold of the locks.
const SLICE: usize = 2000;
/// Most blocks of one answer.
const MAX_BLOCKS: usize = 100_000;

/// The protocol over `shared`.
pub(crate) struct NamenodeProtocol {
    shared: Arc<Shared>,
}

impl NamenodeProtocol {
    /// Serves `shared`.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl RpcProtocol for NamenodeProtocol {
    fn name(&self) -> &'static str {
        NAMENODE_PROTOCOL
    }

    fn methods(&self) -> &'static [&'static str] {
        &[
            "getBlocks",
            "getBlockKeys",
            "getTransactionId",
            "getMostRecentCheckpointTxId",
            "getMostRecentNameNodeFileTxId",
            "rollEditLog",
            "versionRequest",
            "errorReport",
            "registerSubordinateNamenode",
            "startCheckpoint",
            "endCheckpoint",
            "getEditLogManifest",
            "isUpgradeFinalized",
            "isRollingUpgrade",
            "getNextSPSPath",
        ]
    }

    fn call(&self, context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        let handler = match method {
            "getBlocks" => get_blocks,
            "getBlockKeys" => get_block_keys,
            "getTransactionId" => get_transaction_id,
            "getMostRecentCheckpointTxId" => get_most_recent_checkpoint,
            "getMostRecentNameNodeFileTxId" => get_most_recent_file,
            "rollEditLog" => roll_edit_log,
            "versionRequest" => version_request,
            "isUpgradeFinalized" => is_upgrade_finalized,
            "isRollingUpgrade" => is_rolling_upgrade,
            "errorReport"
            | "registerSubordinateNamenode"
            | "startCheckpoint"
            | "endCheckpoint"
            | "getEditLogManifest"
            | "getNextSPSPath" => refuse,
            _ => return None,
        };
        Some(run_with_caller(&self.shared, context, body, handler))
    }
}

/// getBlocks: blocks of a DataNode with all their locations, from a random one on until they are large enough.
fn get_blocks(call: &Call, body: Bytes) -> Reply {
    let request: GetBlocksRequestProto = match hadron_proto::decode_checked(body) {
        Ok(request) => request,
        Err(error) => {
            let error = HadoopError::new(ErrorKind::InvalidProtocolBuffer, error.to_string());
            return Reply::error(error);
        }
    };
    let call = call.clone();
    Reply::spawned(async move {
        call.require_superuser()?;
        if request.size == 0 {
            return Err(HadoopError::new(
                ErrorKind::IllegalArgument,
                format!("Unexpected not positive size: {}", request.size),
            ));
        }
        let blocks = collect_blocks(&call.shared, &request).await?;
        Ok(GetBlocksResponseProto {
            blocks: BlocksWithLocationsProto { blocks },
        })
    })
}

async fn collect_blocks(
    shared: &Shared,
    request: &GetBlocksRequestProto,
) -> HadoopResult<Vec<BlockWithLocationsProto>> {
    let node = DatanodeUuid::from(request.datanode.datanode_uuid.as_str());
    let wanted_type = request.storage_type.and_then(StorageType::from_wire);
    let state = &shared.state;
    let unknown = || {
        let id = &request.datanode;
        let name = format!("{}:{}", id.ip_addr, id.xfer_port);
        HadoopError::new(ErrorKind::HadoopIllegalArgument, format!("Datanode {name} not found."))
    };
    let total = state.blocks.lock().replica_count(&node).ok_or_else(unknown)?;
    let mut found = Vec::new();
    if total == 0 {
        return Ok(found);
    }
    let start = usize::try_from(state.random.next_u64() % total as u64).unwrap_or(0);
    let (mut looked_at, mut bytes) = (0, 0_u64);
    while looked_at < total && bytes < request.size && found.len() < MAX_BLOCKS {
        let from = (start + looked_at) % total;
        let count = SLICE.min(total - looked_at).min(total - from);
        let mut taken: Vec<BlockWithLocationsProto> = Vec::new();
        state.with_blocks(|source, blocks, _| {
            for (id, locations) in blocks.node_blocks(&node, from, count, wanted_type) {
                use hadron_blockmap::{BlockSource, BlockState};
                let Some(stored) = source.stored(id) else { continue };
                if stored.state != BlockState::Complete || stored.block.len < request.min_block_size() {
                    continue;
                }
                taken.push(BlockWithLocationsProto {
                    block: BlockProto::from(&stored.block),
                    datanode_uuids: locations.iter().map(|one| one.node.as_str().to_owned()).collect(),
                    storage_uuids: locations.iter().map(|one| one.storage.as_str().to_owned()).collect(),
                    storage_types: locations.iter().map(|one| storage_type_to_wire(one.kind)).collect(),
                    ..BlockWithLocationsProto::default()
                });
            }
        });
        looked_at += count;
        for block in taken {
            if bytes >= request.size {
                break;
            }
            bytes += block.block.num_bytes();
            found.push(block);
        }
        tokio::task::yield_now().await;
    }
    Ok(found)
}

fn get_block_keys(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetBlockKeysRequestProto| {
        call.require_superuser()?;
        // Without block tokens Hadoop hands out the empty set of keys too.
        let tokens = call.shared.block_tokens.as_ref();
        let keys = tokens.map_or_else(no_block_keys, |tokens| tokens.export());
        Ok(GetBlockKeysResponseProto { keys: Some(keys) })
    })
}

fn get_transaction_id(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetTransactionIdRequestProto| {
        call.require_superuser()?;
        let tx_id = call.shared.last_applied().0;
        Ok(GetTransactionIdResponseProto { tx_id })
    })
}

fn get_most_recent_checkpoint(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetMostRecentCheckpointTxIdRequestProto| {
        call.require_superuser()?;
        let tx_id = call.shared.log.newest_image().index.0;
        Ok(GetMostRecentCheckpointTxIdResponseProto { tx_id })
    })
}

fn get_most_recent_file(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetMostRecentNameNodeFileTxIdRequestProto| {
        call.require_superuser()?;
        let tx_id = call.shared.log.newest_image().index.0;
        Ok(GetMostRecentNameNodeFileTxIdResponseProto { tx_id })
    })
}

fn roll_edit_log(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, _: RollEditLogRequestProto| async move {
        let audit = Audit::command("rollEditLog");
        call.require_superuser_for(&audit)?;
        call.shared.require_no_safe_mode(|| "Log not rolled".to_owned())?;
        let segment = call.shared.roll_log().await;
        call.audit_outcome(&audit, &segment);
        let segment = segment?;
        let info = namespace_info(&call.shared);
        Ok(RollEditLogResponseProto {
            signature: CheckpointSignatureProto {
                block_pool_id: info.block_pool_id,
                most_recent_checkpoint_tx_id: call.shared.log.newest_image().index.0,
                cur_segment_tx_id: segment.0,
                storage_info: info.storage_info,
            },
        })
    })
}

fn version_request(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: VersionRequestProto| {
        call.require_superuser()?;
        Ok(VersionResponseProto {
            info: namespace_info(&call.shared),
        })
    })
}

fn is_upgrade_finalized(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: IsUpgradeFinalizedRequestProto| {
        call.require_superuser()?;
        Ok(IsUpgradeFinalizedResponseProto {
            is_upgrade_finalized: true,
        })
    })
}

fn is_rolling_upgrade(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: IsRollingUpgradeRequestProto| {
        call.require_superuser()?;
        Ok(IsRollingUpgradeResponseProto {
            is_rolling_upgrade: false,
        })
    })
}

fn refuse(call: &Call, _: Bytes) -> Reply {
    let refusal = HadoopError::new(
        ErrorKind::UnsupportedAction,
        "this NameNode writes its checkpoints itself: it takes no backup, checkpoint or secondary NameNode",
    );
    Reply::error(call.require_superuser().err().unwrap_or(refusal))
}
