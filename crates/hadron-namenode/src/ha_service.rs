//! HAServiceProtocol: health and state, which admin tools and health monitors ask for.
//!
//! What it does not do: change the HA state; one NameNode is always active, and says so.
//! Source: Hadoop `HAServiceProtocol`, `NameNodeRpcServer`.

use crate::Shared;
use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::{common, protocol};
use hadron_types::{ErrorKind, HadoopError};
use std::sync::Arc;

/// `org.apache.hadoop.ha.HAServiceProtocol`: health and state.
pub struct HaService {
    shared: Arc<Shared>,
}

impl HaService {
    /// The service over `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn status(&self) -> common::GetServiceStatusResponseProto {
        let is_live = self.shared.state.is_live();
        let state = if is_live {
            common::HaServiceStateProto::Active
        } else {
            common::HaServiceStateProto::Initializing
        };
        common::GetServiceStatusResponseProto {
            state: state as i32,
            ready_to_become_active: Some(is_live),
            not_ready_reason: (!is_live).then(|| "the log is being replayed".to_owned()),
        }
    }
}

impl RpcProtocol for HaService {
    fn name(&self) -> &'static str {
        protocol::HA_SERVICE_PROTOCOL
    }
    fn methods(&self) -> &'static [&'static str] {
        &[
            "monitorHealth",
            "getServiceStatus",
            "transitionToActive",
            "transitionToStandby",
            "transitionToObserver",
        ]
    }
    fn call(&self, _context: &CallContext, method: &str, _body: Bytes) -> Option<Reply> {
        Some(match method {
            "monitorHealth" => Reply::ok(&common::MonitorHealthResponseProto {}),
            "getServiceStatus" => Reply::ok(&self.status()),
            "transitionToActive" | "transitionToStandby" | "transitionToObserver" => Reply::error(HadoopError::new(
                ErrorKind::ServiceFailed,
                "HA for namenode is not enabled",
            )),
            _ => return None,
        })
    }
}
