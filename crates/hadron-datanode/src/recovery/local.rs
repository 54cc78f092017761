//! The holder's side of a recovery, for the primary in this process and for those that call on the IPC port.

use crate::cache;
use crate::shared::Shared;
use hadron_replica::{RecoveryInfo, ReplicaError};
use hadron_types::{BlockId, ErrorKind, ExtendedBlock, GenerationStamp, HadoopError, HadoopResult, StorageId};
use std::sync::Arc;

/// `initReplicaRecovery`: sets the replica aside; `None` if there is none. May take as long as its writer needs to leave.
pub(crate) async fn init_local(
    shared: &Arc<Shared>,
    block: ExtendedBlock,
    recovery_id: GenerationStamp,
) -> HadoopResult<Option<RecoveryInfo>> {
    let working = shared.clone();
    let init = tokio::task::spawn_blocking(move || {
        let found = working.store.init_recovery(&block, recovery_id);
        // It may be cut: nobody shall rely on its bytes any more.
        cache::forget(&working, &block.pool, block.block.id);
        found
    });
    let init = init.await;
    let found = init.map_err(|error| HadoopError::io(error.to_string()))?;
    found.map_err(|error| HadoopError::from(&error))
}

/// `updateReplicaUnderRecovery`: gives the replica its final form, and tells the NameNodes. Gives its storage.
pub(crate) async fn update_local(
    shared: &Arc<Shared>,
    block: ExtendedBlock,
    recovery_id: GenerationStamp,
    new_id: Option<BlockId>,
    new_len: u64,
) -> HadoopResult<StorageId> {
    let working = shared.clone();
    let update = tokio::task::spawn_blocking(move || {
        let done = working.store.finish_recovery(&block, recovery_id, new_id, new_len);
        done.inspect(|replica| working.tell_received(&block.pool, replica))
            .map_err(|error| update_error(&error, &block))
    });
    let done = update.await.map_err(|error| HadoopError::io(error.to_string()))??;
    Ok(done.storage_id)
}

fn update_error(error: &ReplicaError, block: &ExtendedBlock) -> HadoopError {
    match error {
        ReplicaError::NotFound(..) => replica_not_found(block),
        error => HadoopError::from(error),
    }
}

/// Hadoop's ReplicaNotFoundException about a block.
pub(crate) fn replica_not_found(block: &ExtendedBlock) -> HadoopError {
    HadoopError::new(
        ErrorKind::ReplicaNotFound,
        format!(
            "Replica not found for {block}. The block may have been removed recently by the balancer or by intentionally \
             reducing the replication factor. This condition is usually harmless. To be certain, please check the \
             preceding datanode log messages for signs of a more serious issue."
        ),
    )
}
