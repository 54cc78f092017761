//! Connections opened with tokens, our client against our server.

use bytes::Bytes;
use hadron_net::{
    CallContext, NONCE_LEN, Reply, RpcClient, RpcClientOptions, RpcError, RpcProtocol, RpcServer, RpcServerOptions,
    TokenAuthority,
};
use hadron_proto::common::{GetGroupsForUserRequestProto, GetGroupsForUserResponseProto, TokenProto};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};
use std::sync::Arc;

/// Answers with the caller's name and token.
struct WhoAmI;

const PROTOCOL: &str = "org.apache.hadoop.tools.GetUserMappingsProtocol";

impl RpcProtocol for WhoAmI {
    fn name(&self) -> &'static str {
        PROTOCOL
    }
    fn methods(&self) -> &'static [&'static str] {
        &["getGroupsForUser"]
    }
    fn call(&self, context: &CallContext, _method: &str, _body: Bytes) -> Option<Reply> {
        let token = context.user.token.as_ref();
        let token = token.map_or("none".to_owned(), |token| String::from_utf8_lossy(token).into_owned());
        Some(Reply::of(Ok(GetGroupsForUserResponseProto {
            groups: vec![context.user.user.to_string(), token],
        })))
    }
}

struct Authority {
    enabled: bool,
}

impl TokenAuthority for Authority {
    fn is_enabled(&self) -> bool {
        self.enabled
    }
    fn look_up(&self, identifier: &[u8]) -> HadoopResult<(String, Bytes)> {
        match identifier {
            b"alice's" => Ok(("alice".to_owned(), Bytes::from_static(b"secret"))),
            _ => Err(HadoopError::new(ErrorKind::InvalidToken, "no such token")),
        }
    }
    fn nonce(&self) -> [u8; NONCE_LEN] {
        [9; NONCE_LEN]
    }
}

async fn ask(
    authority: Option<bool>,
    identifier: &'static str,
    password: &'static str,
) -> Result<Vec<String>, RpcError> {
    let options = RpcServerOptions {
        token_authority: authority.map(|enabled| Arc::new(Authority { enabled }) as Arc<dyn TokenAuthority>),
        ..RpcServerOptions::default()
    };
    let address = "127.0.0.1:0".parse().expect("an address");
    let server = RpcServer::bind(address, options, vec![Arc::new(WhoAmI)])
        .await
        .expect("a server");
    let options = RpcClientOptions {
        token: Some(TokenProto {
            identifier: identifier.into(),
            password: password.into(),
            ..Default::default()
        }),
        ..RpcClientOptions::new("bob", PROTOCOL)
    };
    let client = RpcClient::connect(server.local_addr(), options).await?;
    let request = GetGroupsForUserRequestProto { user: "x".into() };
    let answer: GetGroupsForUserResponseProto = client.call("getGroupsForUser", &request).await?;
    Ok(answer.groups)
}

#[tokio::test]
async fn a_token_says_who_calls_where_tokens_are_taken() {
    for (authority, identifier, expected) in [
        (Some(true), "alice's", ["alice", "alice's"]),
        (Some(false), "alice's", ["bob", "none"]),
        (None, "alice's", ["bob", "none"]),
        (Some(true), "", ["bob", "none"]),
    ] {
        let who = ask(authority, identifier, "secret").await.unwrap();
        assert_eq!(who, expected, "{authority:?} {identifier}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    for (identifier, password, kind) in [
        ("alice's", "guess", ErrorKind::Sasl),
        ("eve's", "secret", ErrorKind::InvalidToken),
    ] {
        match ask(Some(true), identifier, password).await {
            Err(RpcError::Refused { error, .. }) => assert_eq!(error.kind, kind, "{error}"),
            other => panic!("{other:?}"),
        }
    }
}
