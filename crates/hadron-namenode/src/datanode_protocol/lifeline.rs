//! DatanodeLifelineProtocol: on a port of its own, a busy NameNode still hears that its DataNodes live.
//!
//! A lifeline carries what a heartbeat does and updates the same figures, but brings no orders and no lease; one of a
//! node that is unknown, dead or excluded is passed over, for its next heartbeat will tell it so.
//!
//! Source: Hadoop `DatanodeLifelineProtocol`, `DatanodeManager.handleLifeline`.

use super::{Core, answer, commands};
use crate::Shared;
use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::datanode::HeartbeatRequestProto;
use hadron_proto::lifeline::LifelineResponseProto;
use hadron_proto::protocol;
use hadron_types::{ErrorKind, HadoopError};
use std::sync::Arc;

/// `org.apache.hadoop.hdfs.server.protocol.DatanodeLifelineProtocol`.
pub struct LifelineProtocol {
    core: Core,
}

impl LifelineProtocol {
    /// The protocol over `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { core: Core { shared } }
    }
}

impl RpcProtocol for LifelineProtocol {
    fn name(&self) -> &'static str {
        protocol::DATANODE_LIFELINE_PROTOCOL
    }

    fn methods(&self) -> &'static [&'static str] {
        &["sendLifeline"]
    }

    fn call(&self, _: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        if method != "sendLifeline" {
            return None;
        }
        let core = &self.core;
        if !core.shared.state.is_live() {
            let message = "NameNode still not started";
            return Some(Reply::error(HadoopError::new(ErrorKind::Retriable, message)));
        }
        Some(answer(body, |request: HeartbeatRequestProto| {
            let beat = commands::read_heartbeat(core, &request)?;
            let state = &core.shared.state;
            state.with_blocks(|source, blocks, now| blocks.lifeline(&beat, source, now));
            Ok(LifelineResponseProto {})
        }))
    }
}
