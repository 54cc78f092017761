//! The refresh protocols: groups, proxy users, service ACLs, call queue, anything by name.
//!
//! What it does not do: service ACLs and call queues do not exist here, so refreshing them changes nothing.
//! Source of rules and texts: Hadoop `NameNodeRpcServer`, `RefreshRegistry`.

use crate::Shared;
use crate::client_protocol::{Call, run_with_caller};
use bytes::Bytes;
use hadron_env::config::keys;
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::common::{
    GenericRefreshRequestProto, GenericRefreshResponseCollectionProto, RefreshCallQueueRequestProto,
    RefreshCallQueueResponseProto, RefreshServiceAclRequestProto, RefreshServiceAclResponseProto,
    RefreshSuperUserGroupsConfigurationRequestProto, RefreshSuperUserGroupsConfigurationResponseProto,
    RefreshUserToGroupsMappingsRequestProto, RefreshUserToGroupsMappingsResponseProto,
};
use hadron_proto::protocol;
use hadron_types::{ErrorKind, HadoopError};
use std::sync::Arc;

/// Code of one call.
type Handler = fn(&Call, Bytes) -> Reply;

/// One of the protocols.
pub(crate) struct Refresh {
    shared: Arc<Shared>,
    name: &'static str,
    methods: &'static [&'static str],
    handler: fn(&str) -> Option<Handler>,
}

impl Refresh {
    /// All of them over `shared`.
    pub(crate) fn all(shared: &Arc<Shared>) -> [Self; 4] {
        let of = |name, methods, handler| Self {
            shared: Arc::clone(shared),
            name,
            methods,
            handler,
        };
        [
            of(
                protocol::REFRESH_USER_MAPPINGS_PROTOCOL,
                &["refreshUserToGroupsMappings", "refreshSuperUserGroupsConfiguration"],
                |method| match method {
                    "refreshUserToGroupsMappings" => Some(refresh_groups as Handler),
                    "refreshSuperUserGroupsConfiguration" => Some(refresh_proxy_users),
                    _ => None,
                },
            ),
            of(
                protocol::REFRESH_AUTHORIZATION_POLICY_PROTOCOL,
                &["refreshServiceAcl"],
                |method| (method == "refreshServiceAcl").then_some(refresh_service_acl as Handler),
            ),
            of(protocol::REFRESH_CALL_QUEUE_PROTOCOL, &["refreshCallQueue"], |method| {
                (method == "refreshCallQueue").then_some(refresh_call_queue as Handler)
            }),
            of(protocol::GENERIC_REFRESH_PROTOCOL, &["refresh"], |method| {
                (method == "refresh").then_some(refresh_named as Handler)
            }),
        ]
    }
}

impl RpcProtocol for Refresh {
    fn name(&self) -> &'static str {
        self.name
    }
    fn methods(&self) -> &'static [&'static str] {
        self.methods
    }
    fn call(&self, context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        let handler = (self.handler)(method)?;
        Some(run_with_caller(&self.shared, context, body, handler))
    }
}

fn refresh_groups(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: RefreshUserToGroupsMappingsRequestProto| {
        tracing::info!(user = %call.caller.user, "refreshing all user-to-groups mappings");
        call.shared.callers.groups().clear();
        Ok(RefreshUserToGroupsMappingsResponseProto {})
    })
}

/// Reads `hadoop.proxyuser.*` again from the files the configuration came from.
fn refresh_proxy_users(call: &Call, body: Bytes) -> Reply {
    call.wait(
        body,
        |call, _: RefreshSuperUserGroupsConfigurationRequestProto| async move {
            let shared = Arc::clone(&call.shared);
            let reload = move || {
                shared
                    .run_time
                    .reload()
                    .map(|conf| shared.run_time.set_proxy_users(&conf))
            };
            let reloaded = tokio::task::spawn_blocking(reload).await;
            reloaded
                .map_err(|error| HadoopError::io(format!("read the configuration: {error}")))?
                .map_err(|error| HadoopError::io(format!("read the configuration: {error}")))?;
            tracing::info!(user = %call.caller.user, "refreshed the rules of proxy users");
            Ok(RefreshSuperUserGroupsConfigurationResponseProto {})
        },
    )
}

fn refresh_service_acl(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: RefreshServiceAclRequestProto| {
        match call
            .shared
            .run_time
            .configuration()
            .get(keys::HADOOP_SECURITY_AUTHORIZATION)
        {
            true => Ok(RefreshServiceAclResponseProto {}),
            false => Err(HadoopError::new(
                ErrorKind::Authorization,
                "Service Level Authorization not enabled!",
            )),
        }
    })
}

fn refresh_call_queue(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, _: RefreshCallQueueRequestProto| {
        Ok(RefreshCallQueueResponseProto {})
    })
}

fn refresh_named(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, request: GenericRefreshRequestProto| {
        Err::<GenericRefreshResponseCollectionProto, _>(HadoopError::new(
            ErrorKind::IllegalArgument,
            format!(
                "Identifier '{}' does not exist in RefreshRegistry. Valid options are: ",
                request.identifier()
            ),
        ))
    })
}
