//! The `-refresh…` commands.

use hadron_proto::common::{
    GenericRefreshRequestProto, GenericRefreshResponseCollectionProto, RefreshCallQueueRequestProto,
    RefreshCallQueueResponseProto, RefreshServiceAclRequestProto, RefreshServiceAclResponseProto,
    RefreshSuperUserGroupsConfigurationRequestProto, RefreshSuperUserGroupsConfigurationResponseProto,
    RefreshUserToGroupsMappingsRequestProto, RefreshUserToGroupsMappingsResponseProto,
};
use hadron_proto::hdfs::{RefreshNodesRequestProto, RefreshNodesResponseProto};
use hadron_proto::protocol::{
    GENERIC_REFRESH_PROTOCOL, REFRESH_AUTHORIZATION_POLICY_PROTOCOL, REFRESH_CALL_QUEUE_PROTOCOL,
    REFRESH_USER_MAPPINGS_PROTOCOL,
};

use super::link::{Failure, Link};
use super::{FAILED, Outcome, want_none};

/// `-refreshNodes`.
pub(super) async fn nodes(link: &Link, args: &[String]) -> Outcome {
    want_none(args)?;
    let _: RefreshNodesResponseProto = link.call("refreshNodes", &RefreshNodesRequestProto {}).await?;
    println!("Refresh nodes successful");
    Ok(0)
}

/// `-refreshServiceAcl`.
pub(super) async fn service_acl(link: &Link, args: &[String]) -> Outcome {
    want_none(args)?;
    let request = RefreshServiceAclRequestProto {};
    let _: RefreshServiceAclResponseProto = link
        .call_on(REFRESH_AUTHORIZATION_POLICY_PROTOCOL, "refreshServiceAcl", &request)
        .await?;
    println!("Refresh service acl successful");
    Ok(0)
}

/// `-refreshUserToGroupsMappings`.
pub(super) async fn groups(link: &Link, args: &[String]) -> Outcome {
    want_none(args)?;
    let request = RefreshUserToGroupsMappingsRequestProto {};
    let _: RefreshUserToGroupsMappingsResponseProto = link
        .call_on(REFRESH_USER_MAPPINGS_PROTOCOL, "refreshUserToGroupsMappings", &request)
        .await?;
    println!("Refresh user to groups mapping successful");
    Ok(0)
}

/// `-refreshSuperUserGroupsConfiguration`.
pub(super) async fn proxy_users(link: &Link, args: &[String]) -> Outcome {
    want_none(args)?;
    let (method, request) = (
        "refreshSuperUserGroupsConfiguration",
        RefreshSuperUserGroupsConfigurationRequestProto {},
    );
    let _: RefreshSuperUserGroupsConfigurationResponseProto =
        link.call_on(REFRESH_USER_MAPPINGS_PROTOCOL, method, &request).await?;
    println!("Refresh super user groups configuration successful");
    Ok(0)
}

/// `-refreshCallQueue`.
pub(super) async fn call_queue(link: &Link, args: &[String]) -> Outcome {
    want_none(args)?;
    let request = RefreshCallQueueRequestProto {};
    let _: RefreshCallQueueResponseProto = link
        .call_on(REFRESH_CALL_QUEUE_PROTOCOL, "refreshCallQueue", &request)
        .await?;
    println!("Refresh call queue successful");
    Ok(0)
}

/// `-refresh HOST:PORT KEY [ARG…]`.
pub(super) async fn named(link: &Link, args: &[String]) -> Outcome {
    let [address, identifier, rest @ ..] = args else {
        return Err(Failure::Usage);
    };
    let request = GenericRefreshRequestProto {
        identifier: Some(identifier.clone()),
        args: rest.to_vec(),
    };
    let answer: GenericRefreshResponseCollectionProto = link
        .call_at(address, GENERIC_REFRESH_PROTOCOL, "refresh", &request)
        .await?;
    println!("Refresh Responses:\n");
    let mut code = 0;
    for response in &answer.responses {
        println!("{}", response.user_message());
        if response.exit_status() != 0 {
            code = FAILED;
        }
    }
    if answer.responses.is_empty() {
        println!("Response is empty");
        code = FAILED;
    }
    Ok(code)
}
