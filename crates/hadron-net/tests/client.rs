//! The client against the server, and against servers that misbehave.

mod common;

use common::{options, start, start_with};
use hadron_net::{ReconnectingClient, RpcClient, RpcClientOptions, RpcError, RpcServerOptions};
use hadron_proto::common::GetGroupsForUserRequestProto;
use hadron_types::{ClientId, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

type Text = GetGroupsForUserRequestProto;

fn text(text: &str) -> Text {
    Text { user: text.to_owned() }
}

fn alice() -> RpcClientOptions {
    RpcClientOptions::new("alice", "test.Echo")
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("addr");
    (listener, addr)
}

#[tokio::test]
async fn many_calls_share_a_connection() {
    let server = start().await;
    let client = RpcClient::connect(server.local_addr(), alice()).await.expect("connect");
    let calls = (0..200).map(|number| {
        let client = client.clone();
        async move {
            let sent = text(&format!("call {number}"));
            let answer: Text = client.call("echo", &sent).await.expect("answer");
            assert_eq!(answer, sent);
        }
    });
    futures::future::join_all(calls).await;
    assert_eq!(
        server
            .metrics()
            .accepted_connections
            .load(std::sync::atomic::Ordering::Relaxed),
        1
    );
}

#[tokio::test]
async fn a_large_request_goes_out_in_pieces() {
    let server = start().await;
    let client = RpcClient::connect(server.local_addr(), alice()).await.expect("connect");
    let sent = text(&"x".repeat(20 << 20));
    let answer: Text = client.call("echo", &sent).await.expect("answer");
    assert_eq!(answer.user.len(), sent.user.len());
}

#[tokio::test]
async fn exceptions_come_back_as_kinds() {
    let server = start().await;
    let client = RpcClient::connect(server.local_addr(), alice()).await.expect("connect");
    let error = client.call::<_, Text>("fail", &text("gone")).await.expect_err("fails");
    let remote = error.remote().expect("an exception");
    assert_eq!(
        (remote.kind, remote.message.contains("gone")),
        (ErrorKind::FileNotFound, true)
    );
    let error = client.call::<_, Text>("nonsense", &text("")).await.expect_err("fails");
    assert_eq!(error.remote().map(|error| error.kind), Some(ErrorKind::NoSuchMethod));
    let error = client
        .call_protocol::<_, Text>("x.Y", 1, "echo", &text(""))
        .await
        .expect_err("fails");
    assert_eq!(error.remote().map(|error| error.kind), Some(ErrorKind::NoSuchProtocol));
    assert!(client.is_open());
}

#[tokio::test]
async fn a_refused_connection_tells_why() {
    let server = start().await;
    let options = RpcClientOptions {
        real_user: Some("mallory".to_owned()),
        client_id: ClientId([1; 16]),
        ..alice()
    };
    let client = RpcClient::connect(server.local_addr(), options).await.expect("connect");
    let error = client.call::<_, Text>("echo", &text("x")).await.expect_err("refused");
    assert!(matches!(&error, RpcError::Refused { .. }), "{error}");
    assert_eq!(error.remote().map(|error| error.kind), Some(ErrorKind::Authorization));
}

#[tokio::test]
async fn a_silent_server_times_out_and_gets_pings() {
    let (listener, addr) = listener().await;
    let options = RpcClientOptions {
        call_timeout: Some(Duration::from_millis(80)),
        ping_interval: Duration::from_millis(10),
        ..alice()
    };
    let client = RpcClient::connect(addr, options).await.expect("connect");
    let (mut stream, _) = listener.accept().await.expect("accept");
    let error = client.call::<_, Text>("echo", &text("x")).await.expect_err("times out");
    assert!(matches!(error, RpcError::TimedOut { .. }), "{error}");
    assert!(client.is_open());
    drop(client);
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.expect("the client closed");
    // Header of a ping: callId -4 is zig-zag 7.
    assert!(
        received.windows(2).any(|pair| pair == [0x18, 0x07]),
        "no ping in {received:?}"
    );
}

#[tokio::test]
async fn nonsense_and_closed_connections_fail_all_calls() {
    for (bytes, is_malformed) in [
        (&b"\xff\xff\xff\xff"[..], true),
        (&b""[..], false),
        (&b"\0\0\0\x02\x05\x01"[..], true),
    ] {
        let (listener, addr) = listener().await;
        let client = RpcClient::connect(addr, alice()).await.expect("connect");
        let (mut stream, _) = listener.accept().await.expect("accept");
        let first = tokio::spawn({
            let client = client.clone();
            async move { client.call::<_, Text>("echo", &text("x")).await }
        });
        let mut hello = [0; 7];
        stream.read_exact(&mut hello).await.expect("hello");
        stream.write_all(bytes).await.expect("write");
        stream.shutdown().await.expect("shut down");
        let error = first.await.expect("task").expect_err("fails");
        assert_eq!(matches!(error, RpcError::Malformed { .. }), is_malformed, "{error}");
        assert!(!client.is_open());
        client
            .call::<_, Text>("echo", &text("x"))
            .await
            .expect_err("stays closed");
    }
}

#[tokio::test]
async fn the_helper_reconnects() {
    let server = start_with(RpcServerOptions { ..options() }).await;
    let addr = server.local_addr();
    let client = ReconnectingClient::new(addr, alice());
    let _: Text = client.call("echo", &text("one")).await.expect("answer");
    server.shutdown().await;
    let error = client
        .call::<_, Text>("echo", &text("two"))
        .await
        .expect_err("server is gone");
    assert!(error.is_connection_failure(), "{error}");
    let listener = TcpListener::bind(addr).await.expect("bind again");
    let protocols: Vec<std::sync::Arc<dyn hadron_net::RpcProtocol>> =
        vec![std::sync::Arc::new(common::Echo::default())];
    let _server = hadron_net::RpcServer::serve(listener, options(), protocols).expect("serve");
    let answer: Text = client.call_idempotent("echo", &text("three")).await.expect("answer");
    assert_eq!(answer.user, "three");
}
