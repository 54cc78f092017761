//! Before an operation runs: its pool must be here, and its token must allow it.
//!
//! A refused token is answered with ERROR_ACCESS_TOKEN, for writes with this node as the first bad link, and not at all
//! when another DataNode writes; then the connection ends. Source: Hadoop `DataXceiver.checkAccess`.

use super::codec::write_response;
use super::{Connection, OpError};
use hadron_proto::hdfs::{BlockOpResponseProto, Status};
use hadron_replica::ReplicaError;
use hadron_types::{HadoopResult, StorageType};
use hadron_wire::token::{Access, AccessMode};
use hadron_wire::transfer::op::{BlockHeader, ReplaceBlock, TransferBlock, WriteBlock};

impl Connection {
    /// Admits an operation that reads.
    pub(super) fn admit_read(&self, header: &BlockHeader) -> Result<(), OpError> {
        self.admit(header, |header| {
            self.shared
                .tokens
                .check(&header.token, &Access::new(&header.block, AccessMode::Read))
        })
        .map_err(|refusal| self.refuse(refusal, Some(None)))
    }

    /// Admits a write: for the storages of this node and those behind it, as far as the sender names them.
    pub(super) fn admit_write(&self, op: &WriteBlock) -> Result<(), OpError> {
        self.admit(&op.header, |header| {
            let types: Vec<StorageType> = std::iter::once(op.storage_type)
                .chain(op.target_storage_types.iter().copied())
                .collect();
            // Only senders of 3.x name storages, and only to nodes that are not the last.
            let ids: Vec<String> = match op.target_storage_ids.is_empty() {
                true => Vec::new(),
                false => op.storage_id.iter().chain(&op.target_storage_ids).cloned().collect(),
            };
            let access = Access {
                storage_types: &types,
                storage_ids: &ids,
                ..Access::new(&header.block, AccessMode::Write)
            };
            self.shared.tokens.check(&header.token, &access)
        })
        .map_err(|refusal| {
            let answered = !op.client_name.is_empty();
            self.refuse(refusal, answered.then(|| Some(self.shared.transfer_address())))
        })
    }

    /// Admits a client's order to copy a replica to the targets' storages.
    pub(super) fn admit_transfer(&self, op: &TransferBlock) -> Result<(), OpError> {
        self.admit(&op.header, |header| {
            let access = Access {
                storage_types: &op.target_storage_types,
                storage_ids: &op.target_storage_ids,
                ..Access::new(&header.block, AccessMode::Copy)
            };
            self.shared.tokens.check(&header.token, &access)
        })
        .map_err(|refusal| self.refuse(refusal, Some(None)))
    }

    /// Admits a DataNode's request for a copy in the course of a move.
    pub(super) fn admit_copy(&self, header: &BlockHeader) -> Result<(), OpError> {
        self.admit(header, |header| {
            self.shared
                .tokens
                .check(&header.token, &Access::new(&header.block, AccessMode::Copy))
        })
        .map_err(|refusal| self.refuse(refusal, Some(None)))
    }

    /// Admits a balancer's order to move a replica to a storage of this node.
    pub(super) fn admit_replace(&self, op: &ReplaceBlock) -> Result<(), OpError> {
        self.admit(&op.header, |header| {
            let ids: Vec<String> = op.storage_id.iter().filter(|id| !id.is_empty()).cloned().collect();
            let access = Access {
                storage_types: &[op.storage_type],
                storage_ids: &ids,
                ..Access::new(&header.block, AccessMode::Replace)
            };
            self.shared.tokens.check(&header.token, &access)
        })
        .map_err(|refusal| self.refuse(refusal, Some(None)))
    }

    fn admit(&self, header: &BlockHeader, check: impl FnOnce(&BlockHeader) -> HadoopResult<()>) -> Result<(), Refusal> {
        let pool = &header.block.pool;
        if !self.shared.wait_for_pool(pool) {
            return Err(Refusal::Pool(ReplicaError::UnknownPool(pool.clone())));
        }
        if !self.shared.tokens.is_wanted() {
            return Ok(());
        }
        check(header).map_err(|error| Refusal::Token(error.message))
    }

    /// Tells the peer of a refused token: `None` nothing, `Some(bad_link)` the status.
    fn refuse(&self, refusal: Refusal, answer: Option<Option<String>>) -> OpError {
        let text = match refusal {
            Refusal::Pool(error) => return error.into(),
            Refusal::Token(text) => text,
        };
        self.shared.metrics.token_refusals.inc();
        if let Some(first_bad_link) = answer {
            let answer = BlockOpResponseProto {
                status: Status::ErrorAccessToken as i32,
                first_bad_link,
                ..Default::default()
            };
            if let Err(error) = write_response(&self.stream, &answer) {
                tracing::debug!(peer = %self.peer, %error, "cannot tell the peer that its token is refused");
            }
        }
        OpError::Token(text)
    }
}

/// Why an operation does not begin.
enum Refusal {
    Pool(ReplicaError),
    Token(String),
}
