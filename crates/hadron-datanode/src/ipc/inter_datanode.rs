//! InterDatanodeProtocol: what the primary DataNode of a block recovery asks the holders of replicas.

use super::decode;
use crate::recovery::{init_answer, init_local, update_local};
use crate::shared::Shared;
use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::hdfs::{
    InitReplicaRecoveryRequestProto, UpdateReplicaUnderRecoveryRequestProto, UpdateReplicaUnderRecoveryResponseProto,
};
use hadron_proto::protocol::INTER_DATANODE_PROTOCOL;
use hadron_types::{BlockId, ExtendedBlock, GenerationStamp};
use std::sync::Arc;

/// The protocol's handler.
pub(crate) struct InterDatanodeProtocol(pub(crate) Arc<Shared>);

impl RpcProtocol for InterDatanodeProtocol {
    fn name(&self) -> &'static str {
        INTER_DATANODE_PROTOCOL
    }

    fn methods(&self) -> &'static [&'static str] {
        &["initReplicaRecovery", "updateReplicaUnderRecovery"]
    }

    fn call(&self, _context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        let shared = self.0.clone();
        Some(match method {
            "initReplicaRecovery" => Reply::spawned(async move {
                let request: InitReplicaRecoveryRequestProto = decode(body)?;
                let block = ExtendedBlock::from(&request.block.block.b);
                let recovery_id = GenerationStamp(request.block.new_gen_stamp);
                Ok(init_answer(init_local(&shared, block, recovery_id).await?))
            }),
            "updateReplicaUnderRecovery" => Reply::spawned(async move {
                let request: UpdateReplicaUnderRecoveryRequestProto = decode(body)?;
                let block = ExtendedBlock::from(&request.block);
                let recovery_id = GenerationStamp(request.recovery_id);
                // 0, as sent by releases before truncate: the same block.
                let new_id = request.new_block_id.filter(|id| *id != 0).map(BlockId::from_wire);
                let storage = update_local(&shared, block, recovery_id, new_id, request.new_length).await?;
                Ok(UpdateReplicaUnderRecoveryResponseProto {
                    storage_uuid: Some(storage.as_str().to_owned()),
                })
            }),
            _ => return None,
        })
    }
}
