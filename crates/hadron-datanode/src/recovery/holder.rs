//! A DataNode that holds a replica, as the primary calls it: over RPC, or directly when it is this one.
//!
//! No question to a holder takes longer than [`patience`]: one that hangs, be it this one, must not make the report of all
//! others come after the NameNode has begun another attempt.

use super::{init_local, update_local};
use crate::shared::Shared;
use hadron_net::{ReconnectingClient, RpcClientOptions};
use hadron_proto::hdfs::{
    BlockProto, DatanodeIdProto, InitReplicaRecoveryRequestProto, InitReplicaRecoveryResponseProto,
    RecoveringBlockProto, ReplicaStateProto, UpdateReplicaUnderRecoveryRequestProto,
    UpdateReplicaUnderRecoveryResponseProto,
};
use hadron_proto::protocol::INTER_DATANODE_PROTOCOL;
use hadron_replica::RecoveryInfo;
use hadron_types::{
    Block, BlockId, ExtendedBlock, GenerationStamp, HadoopError, HadoopResult, ReplicaState, StorageId,
};
use std::sync::Arc;
use std::time::Duration;

/// The most that a question to a holder may take, in heartbeats. After 30 of them the NameNode begins another attempt; an
/// attempt asks twice, and its order and its report need time, too.
const HOLDER_HEARTBEATS: u32 = 12;

/// How long a holder may take to answer: as long as others on a socket, but see [`HOLDER_HEARTBEATS`].
///
/// Its writer may need longer to leave (`dfs.datanode.xceiver.stop.timeout.millis`): the next attempt finds it gone.
pub(super) fn patience(shared: &Shared) -> Duration {
    capped(shared.settings.socket_timeout, shared.settings.heartbeat_interval)
}

/// `socket_timeout`: zero for none.
fn capped(socket_timeout: Duration, heartbeat: Duration) -> Duration {
    let most = heartbeat.saturating_mul(HOLDER_HEARTBEATS);
    match socket_timeout {
        Duration::ZERO => most,
        some => some.min(most),
    }
}

/// One holder.
pub(super) struct Holder {
    pub(super) id: DatanodeIdProto,
    way: Way,
}

enum Way {
    Here,
    There(Box<ReconnectingClient>),
}

impl Holder {
    /// Errors: its name cannot be resolved.
    pub(super) async fn reach(shared: &Arc<Shared>, id: DatanodeIdProto) -> HadoopResult<Self> {
        if id.datanode_uuid == shared.store.uuid().as_str() {
            return Ok(Self { id, way: Way::Here });
        }
        let host = match shared.settings.connect_by_hostname {
            true => id.host_name.clone(),
            false => id.ip_addr.clone(),
        };
        let port =
            u16::try_from(id.ipc_port).map_err(|_| HadoopError::io(format!("IPC port of {host} is out of range")))?;
        let mut found = tokio::net::lookup_host((host.as_str(), port))
            .await
            .map_err(|error| HadoopError::io(format!("resolve {host}: {error}")))?;
        let address = found
            .next()
            .ok_or_else(|| HadoopError::io(format!("resolve {host}: it has no address")))?;
        let mut options = RpcClientOptions::new(shared.settings.user.clone(), INTER_DATANODE_PROTOCOL);
        options.connect_timeout = patience(shared);
        options.call_timeout = Some(patience(shared));
        let way = Way::There(Box::new(ReconnectingClient::new(address, options)));
        Ok(Self { id, way })
    }

    /// Has the replica set aside; `None` if it has none.
    pub(super) async fn init(
        &self,
        shared: &Arc<Shared>,
        order: &RecoveringBlockProto,
    ) -> HadoopResult<Option<RecoveryInfo>> {
        let client = match &self.way {
            Way::Here => {
                let block = ExtendedBlock::from(&order.block.b);
                return init_local(shared, block, GenerationStamp(order.new_gen_stamp)).await;
            }
            Way::There(client) => client,
        };
        let request = InitReplicaRecoveryRequestProto { block: order.clone() };
        let answer: InitReplicaRecoveryResponseProto = client.call("initReplicaRecovery", &request).await?;
        match (answer.replica_found, &answer.block, answer.state) {
            (false, ..) => Ok(None),
            (true, Some(block), Some(_)) => Ok(Some(RecoveryInfo {
                block: Block::from(block),
                state: state_from_wire(answer.state()),
            })),
            _ => Err(HadoopError::io(
                "Replica block is null. resp=replicaFound without block and state",
            )),
        }
    }

    /// Has the replica brought to its final form; gives its storage.
    pub(super) async fn update(
        &self,
        shared: &Arc<Shared>,
        block: ExtendedBlock,
        recovery_id: GenerationStamp,
        new_id: BlockId,
        new_len: u64,
    ) -> HadoopResult<StorageId> {
        let client = match &self.way {
            Way::Here => return update_local(shared, block, recovery_id, Some(new_id), new_len).await,
            Way::There(client) => client,
        };
        let request = UpdateReplicaUnderRecoveryRequestProto {
            block: (&block).into(),
            recovery_id: recovery_id.0,
            new_length: new_len,
            new_block_id: Some(new_id.to_wire()),
        };
        let answer: UpdateReplicaUnderRecoveryResponseProto =
            client.call("updateReplicaUnderRecovery", &request).await?;
        Ok(StorageId::from(answer.storage_uuid()))
    }
}

/// The answer to `initReplicaRecovery`.
pub(crate) fn init_answer(found: Option<RecoveryInfo>) -> InitReplicaRecoveryResponseProto {
    InitReplicaRecoveryResponseProto {
        replica_found: found.is_some(),
        state: found.map(|info| state_to_wire(info.state) as i32),
        block: found.map(|info| BlockProto::from(&info.block)),
    }
}

fn state_to_wire(state: ReplicaState) -> ReplicaStateProto {
    match state {
        ReplicaState::Finalized => ReplicaStateProto::Finalized,
        ReplicaState::Rbw => ReplicaStateProto::Rbw,
        ReplicaState::Rwr => ReplicaStateProto::Rwr,
        ReplicaState::Rur => ReplicaStateProto::Rur,
        ReplicaState::Temporary => ReplicaStateProto::Temporary,
    }
}

fn state_from_wire(state: ReplicaStateProto) -> ReplicaState {
    match state {
        ReplicaStateProto::Finalized => ReplicaState::Finalized,
        ReplicaStateProto::Rbw => ReplicaState::Rbw,
        ReplicaStateProto::Rwr => ReplicaState::Rwr,
        ReplicaStateProto::Rur => ReplicaState::Rur,
        ReplicaStateProto::Temporary => ReplicaState::Temporary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_leaves_time_for_the_rest_of_the_attempt() {
        for (socket_timeout, heartbeat, expected) in [(60, 3, 36), (20, 3, 20), (0, 3, 36), (60, 1, 12), (60, 60, 60)] {
            let found = capped(Duration::from_secs(socket_timeout), Duration::from_secs(heartbeat));
            assert_eq!(
                found.as_secs(),
                expected,
                "{socket_timeout} s, a heartbeat each {heartbeat} s"
            );
        }
    }
}
