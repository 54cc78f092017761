//! GetUserMappingsProtocol: the groups of a user as the NameNode sees them (`hdfs groups`).

use crate::Shared;
use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::common::{GetGroupsForUserRequestProto, GetGroupsForUserResponseProto};
use hadron_proto::{decode_checked, protocol};
use hadron_types::{ErrorKind, HadoopError};
use std::sync::Arc;

/// The protocol, served from the group cache.
pub(crate) struct UserMappings {
    shared: Arc<Shared>,
}

impl UserMappings {
    /// Serves `shared`'s groups.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl RpcProtocol for UserMappings {
    fn name(&self) -> &'static str {
        protocol::GET_USER_MAPPINGS_PROTOCOL
    }

    fn methods(&self) -> &'static [&'static str] {
        &["getGroupsForUser"]
    }

    fn call(&self, _: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        if method != "getGroupsForUser" {
            return None;
        }
        let request: GetGroupsForUserRequestProto = match decode_checked(body) {
            Ok(request) => request,
            Err(error) => {
                return Some(Reply::error(HadoopError::new(
                    ErrorKind::InvalidProtocolBuffer,
                    error.to_string(),
                )));
            }
        };
        let shared = Arc::clone(&self.shared);
        Some(Reply::spawned(async move {
            let _place = shared.callers.lookup_place().await;
            let asking = Arc::clone(&shared);
            let lookup = tokio::task::spawn_blocking(move || asking.callers.groups().lookup(&request.user));
            let groups = lookup
                .await
                .map_err(|error| HadoopError::io(format!("resolve groups: {error}")))?;
            let groups = groups.to_vec();
            Ok(GetGroupsForUserResponseProto { groups })
        }))
    }
}
