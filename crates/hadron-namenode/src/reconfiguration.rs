//! ReconfigurationProtocol: new values of some keys without a restart (`dfsadmin -reconfig namenode HOST:PORT …`).
//!
//! Which keys: [`crate::run_time::RECONFIGURABLE`]. Source: Hadoop `ReconfigurationProtocol`, `ReconfigurableBase`.

use crate::Shared;
use crate::client_protocol::{Call, run_with_caller};
use crate::run_time::{self, Change, RECONFIGURABLE};
use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::hdfs::{
    GetReconfigurationStatusConfigChangeProto, GetReconfigurationStatusRequestProto,
    GetReconfigurationStatusResponseProto, ListReconfigurablePropertiesRequestProto,
    ListReconfigurablePropertiesResponseProto, StartReconfigurationRequestProto, StartReconfigurationResponseProto,
};
use hadron_proto::protocol::RECONFIGURATION_PROTOCOL;
use hadron_types::HadoopError;
use std::sync::Arc;

/// The protocol over `shared`.
pub(crate) struct ReconfigurationProtocol {
    shared: Arc<Shared>,
}

impl ReconfigurationProtocol {
    /// Serves `shared`.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl RpcProtocol for ReconfigurationProtocol {
    fn name(&self) -> &'static str {
        RECONFIGURATION_PROTOCOL
    }

    fn methods(&self) -> &'static [&'static str] {
        &[
            "startReconfiguration",
            "getReconfigurationStatus",
            "listReconfigurableProperties",
        ]
    }

    fn call(&self, context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        let handler = match method {
            "startReconfiguration" => start,
            "getReconfigurationStatus" => status,
            "listReconfigurableProperties" => list,
            _ => return None,
        };
        Some(run_with_caller(&self.shared, context, body, handler))
    }
}

fn start(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: StartReconfigurationRequestProto| {
        call.audited("startNamenodeReconfiguration")?;
        let shared = Arc::clone(&call.shared);
        if !shared.run_time.begin(shared.state.now()) {
            return Err(HadoopError::io("Another reconfiguration task is running."));
        }
        tokio::task::spawn_blocking(move || run_time::reconfigure(&shared));
        Ok(StartReconfigurationResponseProto {})
    })
}

fn status(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetReconfigurationStatusRequestProto| {
        call.audited("getNamenodeReconfigurationStatus")?;
        let last = call.shared.run_time.last();
        let change = |change: Change| GetReconfigurationStatusConfigChangeProto {
            name: change.key.to_owned(),
            old_value: change.old,
            new_value: change.new,
            error_message: change.error,
        };
        let signed = |time: hadron_types::TimeMs| i64::try_from(time.0).unwrap_or(i64::MAX);
        Ok(GetReconfigurationStatusResponseProto {
            start_time: signed(last.started),
            end_time: last.ended.map(signed),
            changes: last.changes.into_iter().map(change).collect(),
        })
    })
}

fn list(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: ListReconfigurablePropertiesRequestProto| {
        call.audited("listNamenodeReconfigurableProperties")?;
        Ok(ListReconfigurablePropertiesResponseProto {
            name: RECONFIGURABLE.map(str::to_owned).to_vec(),
        })
    })
}
