//! DatanodeProtocol: what DataNodes tell the NameNode, and the orders they get back.
//!
//! What it is for: decoding, the checks of Hadoop's `NameNodeRpcServer` and `DatanodeManager`, and handing facts to
//! the block map. What it does not do: decide what replicas mean (`hadron-blockmap`) or when to look for silent nodes
//! (`monitors`).
//! Invariants: a report's bytes are read to their end before any of it is used; both locks are held for at most
//! [`reports::SLICE`] replicas at a time; a finished replica wakes `complete` before its report is answered.

mod commands;
mod lifeline;
mod names;
mod recovery_orders;
mod registration;
mod reports;
mod version;

pub use lifeline::LifelineProtocol;
pub(crate) use registration::namespace_info;
pub(crate) use reports::bad_blocks;

use crate::Shared;
use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::datanode::{
    CacheReportRequestProto, CacheReportResponseProto, DatanodeRegistrationProto, ErrorReportRequestProto,
    ErrorReportResponseProto, ReportBadBlocksRequestProto, ReportBadBlocksResponseProto,
};
use hadron_proto::hdfs::{NnhaStatusHeartbeatProto, VersionRequestProto, VersionResponseProto};
use hadron_proto::{Required, decode_checked, protocol};
use hadron_types::{BlockId, DatanodeUuid, ErrorKind, HadoopError, HadoopResult};
use std::sync::Arc;

/// What an empty log counts as: a claim to be active is believed only above -1, and 0 means "none" to some readers.
const FIRST_TXID: u64 = 1;
/// Most blocks of a cache report that are looked at.
const MAX_CACHED_BLOCKS: usize = 1 << 20;
/// `errorReport` codes.
const NOTIFY: u32 = 0;
const FATAL_DISK_ERROR: u32 = 3;

/// `org.apache.hadoop.hdfs.server.protocol.DatanodeProtocol`.
pub struct DatanodeProtocol {
    core: Arc<Core>,
}

/// What the handlers share; futures of long calls keep it.
struct Core {
    shared: Arc<Shared>,
}

impl DatanodeProtocol {
    /// The protocol over `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            core: Arc::new(Core { shared }),
        }
    }
}

impl RpcProtocol for DatanodeProtocol {
    fn name(&self) -> &'static str {
        protocol::DATANODE_PROTOCOL
    }

    fn methods(&self) -> &'static [&'static str] {
        &[
            "versionRequest",
            "registerDatanode",
            "sendHeartbeat",
            "blockReport",
            "cacheReport",
            "blockReceivedAndDeleted",
            "errorReport",
            "reportBadBlocks",
            "commitBlockSynchronization",
        ]
    }

    fn call(&self, context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        let core = &self.core;
        if !self.methods().contains(&method) {
            return None;
        }
        if !core.shared.state.is_live() {
            let message = "NameNode still not started";
            return Some(Reply::error(HadoopError::new(ErrorKind::Retriable, message)));
        }
        Some(match method {
            "versionRequest" => answer(body, |_: VersionRequestProto| {
                Ok(VersionResponseProto {
                    info: registration::namespace_info(&core.shared),
                })
            }),
            "registerDatanode" => registration::register(core, context, body),
            "sendHeartbeat" => answer(body, |request| commands::heartbeat(core, &request)),
            "blockReport" => reports::full(core, body),
            "blockReceivedAndDeleted" => reports::incremental(core, body),
            "commitBlockSynchronization" => reports::commit_block_synchronization(core, body),
            "cacheReport" => answer(body, |request| core.cache_report(&request)),
            "errorReport" => answer(body, |request| core.error_report(&request)),
            _ => match decode::<ReportBadBlocksRequestProto>(body) {
                Ok(request) => {
                    let core = Arc::clone(core);
                    Reply::spawned(async move {
                        bad_blocks(&core.shared, &request.blocks, "datanode").await;
                        Ok(ReportBadBlocksResponseProto {})
                    })
                }
                Err(error) => Reply::error(error),
            },
        })
    }
}

impl Core {
    /// Checks that a registration is one of this file system; every call but the first two carries it.
    ///
    /// Errors: `UnregisteredNodeException`, on which a DataNode stops serving this NameNode.
    fn verify(&self, registration: &DatanodeRegistrationProto) -> HadoopResult<DatanodeUuid> {
        let ns = self.shared.state.ns.read();
        let identity = ns.identity();
        let storage = &registration.storage_info;
        let same = storage.namespce_id == identity.namespace_id
            && storage.cluster_id == identity.cluster_id
            && storage.c_time == identity.created.0;
        drop(ns);
        if same {
            return Ok(registration.datanode_id.datanode_uuid.as_str().into());
        }
        let node = names::registration(registration);
        tracing::warn!(%node, "a datanode of another file system calls");
        let message = format!("Unregistered server: {node}");
        Err(HadoopError::new(ErrorKind::UnregisteredNode, message))
    }

    /// Checks that the node known by this uuid is the one that calls, and not another at a second address.
    ///
    /// Errors: `UnregisteredNodeException`, on which a DataNode stops serving this NameNode.
    fn verify_address(&self, registration: &DatanodeRegistrationProto) -> HadoopResult<()> {
        let id = &registration.datanode_id;
        let known = self
            .shared
            .state
            .blocks
            .lock()
            .datanode_id(&id.datanode_uuid.as_str().into());
        let Some(known) = known else {
            return Ok(());
        };
        if u32::from(known.xfer_port) == id.xfer_port && known.ip.to_string() == id.ip_addr {
            return Ok(());
        }
        let (node, stored) = (names::registration(registration), known.xfer_addr());
        tracing::warn!(%node, %stored, "two datanodes have one uuid");
        Err(HadoopError::new(
            ErrorKind::UnregisteredNode,
            format!(
                "Data node {node} is attempting to report storage ID {}. Node {stored} is expected to serve this storage.",
                known.uuid
            ),
        ))
    }

    /// Claims that this NameNode is active, with the number of its last transaction.
    fn ha_status(&self) -> NnhaStatusHeartbeatProto {
        NnhaStatusHeartbeatProto {
            state: hadron_proto::hdfs::nnha_status_heartbeat_proto::State::Active as i32,
            txid: self.shared.last_applied().0.max(FIRST_TXID),
        }
    }

    /// Takes in what a DataNode has in memory.
    ///
    /// Errors: `UnregisteredNodeException`, and an IOException for a node that is not known or dead.
    fn cache_report(&self, request: &CacheReportRequestProto) -> HadoopResult<CacheReportResponseProto> {
        let uuid = self.verify(&request.registration)?;
        let shared = &self.shared;
        let answer = CacheReportResponseProto { cmd: None };
        if !shared.settings.caching.enabled {
            return Ok(answer);
        }
        let started = shared.state.clock.monotonic();
        let ids = request
            .blocks
            .iter()
            .take(MAX_CACHED_BLOCKS)
            .map(|&id| BlockId::from_wire(id));
        if !shared.state.blocks.lock().cache_report(&uuid, ids) {
            let node = names::registration(&request.registration);
            return Err(HadoopError::io(format!(
                "processCacheReport from dead or unregistered datanode: {node}"
            )));
        }
        shared
            .state
            .caching
            .note_report(shared.state.clock.monotonic().saturating_sub(started));
        Ok(answer)
    }

    fn error_report(&self, request: &ErrorReportRequestProto) -> HadoopResult<ErrorReportResponseProto> {
        let node = names::registration(&request.registartion);
        let message = names::printable(&request.msg);
        if request.error_code == NOTIFY {
            tracing::info!(%node, %message, "datanode notifies");
            return Ok(ErrorReportResponseProto {});
        }
        let uuid = self.verify(&request.registartion)?;
        tracing::warn!(%node, code = request.error_code, %message, "datanode reports an error");
        if request.error_code == FATAL_DISK_ERROR {
            self.shared
                .state
                .with_blocks(|source, blocks, now| blocks.retire(&uuid, source, now));
        }
        Ok(ErrorReportResponseProto {})
    }
}

fn decode<Q: prost::Message + Default + Required>(body: Bytes) -> HadoopResult<Q> {
    decode_checked(body).map_err(|error| HadoopError::new(ErrorKind::InvalidProtocolBuffer, error.to_string()))
}

fn answer<Q, R>(body: Bytes, f: impl FnOnce(Q) -> HadoopResult<R>) -> Reply
where
    Q: prost::Message + Default + Required,
    R: prost::Message,
{
    Reply::of(decode::<Q>(body).and_then(f))
}
