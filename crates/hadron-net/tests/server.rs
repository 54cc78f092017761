//! The server's reactions over real sockets, one test per family of rows of the RPC reference.

mod common;

use common::{RawClient, options, start, start_with};
use hadron_net::{ProxyUsers, RpcServerOptions};
use hadron_proto::common::RpcSaslProto;
use hadron_proto::common::rpc_response_header_proto::{RpcErrorCodeProto, RpcStatusProto};
use hadron_proto::common::rpc_sasl_proto::{SaslAuth, SaslState};
use prost::Message;
use std::time::Duration;

/// Sends `bytes` as the very first ones and returns everything the server says before it closes.
async fn everything_after(bytes: &[u8]) -> Vec<u8> {
    let server = start().await;
    let mut client = RawClient::connect(server.local_addr()).await;
    client.send(bytes).await;
    client.read_to_end().await
}

/// Sends a bad preamble and checks the fatal answer and that the connection is closed.
async fn check_bad_preamble(preamble: &[u8], detail: RpcErrorCodeProto, class: &str, message: &str) {
    let server = start().await;
    let mut client = RawClient::connect(server.local_addr()).await;
    client.send(preamble).await;
    let frame = client.frame().await.expect("an answer");
    frame.check_fatal(-1, detail, class, message);
    assert!(client.frame().await.is_none(), "closed after {preamble:?}");
}

#[tokio::test]
async fn bad_preambles_are_refused_in_hadoops_words() {
    use RpcErrorCodeProto::{FatalUnauthorized, FatalVersionMismatch};
    let mismatch = "org.apache.hadoop.ipc.RPC$VersionMismatch";
    let text = |version| format!("Server IPC version 9 cannot communicate with client version {version}");
    check_bad_preamble(b"hrpc\x0a\x00\x00", FatalVersionMismatch, mismatch, &text(10)).await;
    check_bad_preamble(b"xxxx\x09\x00\x00", FatalVersionMismatch, mismatch, &text(9)).await;
    let ipc = "org.apache.hadoop.ipc.IpcException";
    check_bad_preamble(b"hrpc\x09\x00\x05", FatalUnauthorized, ipc, "Unknown auth protocol:5").await;
    check_bad_preamble(b"hrpc\x09\x00\xfe", FatalUnauthorized, ipc, "Unknown auth protocol:-2").await;
}

#[tokio::test]
async fn old_clients_get_the_old_layout() {
    for version in 3..=8u8 {
        let bytes = everything_after(&[b'h', b'r', b'p', b'c', version, 0, 0]).await;
        assert_eq!(bytes[..8], [0xff; 8]);
        let class_len = u32::from_be_bytes(bytes[8..12].try_into().expect("4 bytes")) as usize;
        assert_eq!(&bytes[12..12 + class_len], b"org.apache.hadoop.ipc.RPC$VersionMismatch");
        let text = String::from_utf8_lossy(&bytes[16 + class_len..]).into_owned();
        assert_eq!(
            text,
            format!("Server IPC version 9 cannot communicate with client version {version}")
        );
    }
    assert!(everything_after(b"hrpc\x01\x00\x00").await.is_empty());
}

#[tokio::test]
async fn a_browser_is_sent_away() {
    let text = String::from_utf8(everything_after(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await).expect("text");
    assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
}

#[tokio::test]
async fn a_call_is_answered_and_its_numbers_repeated() {
    let server = start().await;
    let mut client = RawClient::open(server.local_addr(), "alice").await;
    client.call(7, "echo", b"hello").await;
    let frame = client.frame().await.expect("an answer").check_success(7, b"hello");
    assert_eq!(frame.header.client_id.as_deref(), Some(&common::CLIENT_ID[..]));
    assert_eq!(frame.header.retry_count(), 0);
    assert_eq!(frame.header.server_ipc_version_num, Some(9));
}

#[tokio::test]
async fn everything_may_come_in_one_segment_or_byte_by_byte() {
    let server = start().await;
    let mut all = common::preamble(0);
    all.extend(common::context("alice", None));
    all.extend(common::ping());
    all.extend(common::call_frame(1, "echo", b"one"));
    all.extend(common::call_frame(2, "echo", b"two"));
    let mut whole = RawClient::connect(server.local_addr()).await;
    whole.send(&all).await;
    let mut bytewise = RawClient::connect(server.local_addr()).await;
    for byte in &all {
        bytewise.send(&[*byte]).await;
    }
    for mut client in [whole, bytewise] {
        client.frame().await.expect("first").check_success(1, b"one");
        client.frame().await.expect("second").check_success(2, b"two");
    }
}

#[tokio::test]
async fn answers_leave_when_they_are_ready() {
    let server = start().await;
    let mut client = RawClient::open(server.local_addr(), "alice").await;
    client.call(1, "hold", b"spawned").await;
    client.call(2, "waiting", b"waits").await;
    client.call(3, "echo", b"quick").await;
    client.frame().await.expect("inline").check_success(3, b"quick");
    client.call(4, "release", b"waits").await;
    let [waiting, release] = client.two_frames().await;
    waiting.check_success(2, b"waits");
    release.check_success(4, b"waits");
    client.call(5, "release", b"spawned").await;
    let [spawned, release] = client.two_frames().await;
    spawned.check_success(1, b"spawned");
    release.check_success(5, b"spawned");
}

#[tokio::test]
async fn a_call_knows_whether_it_has_the_thread_to_itself() {
    let server = start_with(RpcServerOptions {
        reactors: 1,
        ..options()
    })
    .await;
    let mut client = RawClient::open(server.local_addr(), "alice").await;
    client.call(0, "alone", b"").await;
    let first = client.frame().await.expect("an answer");
    first.check_success(0, b"not alone");
    // By and by it is, whichever way it answers.
    for method in ["alone", "aloneWaiting"] {
        let alone = async {
            for call_id in 1.. {
                client.call(call_id, method, b"").await;
                if client.frame().await.expect("an answer").body.ends_with(b"\x05alone") {
                    break;
                }
            }
        };
        tokio::time::timeout(common::PATIENCE, alone).await.expect(method);
    }
    client.call(1, "aloneLater", b"").await;
    let elsewhere = client.frame().await.expect("an answer");
    elsewhere.check_success(1, b"not alone");
    // Two calls at once are company for each other, and so is the connection of somebody else.
    let both = [1, 2].map(|call_id| common::call_frame(call_id, "alone", b"")).concat();
    client.send(&both).await;
    for call_id in [1, 2] {
        client
            .frame()
            .await
            .expect("an answer")
            .check_success(call_id, b"not alone");
    }
    let mut other = RawClient::open(server.local_addr(), "bob").await;
    other.call(1, "alone", b"").await;
    other.frame().await.expect("an answer").check_success(1, b"not alone");
}

#[tokio::test]
async fn failed_calls_leave_the_connection_open() {
    use RpcErrorCodeProto::{
        ErrorApplication, ErrorNoSuchMethod, ErrorNoSuchProtocol, ErrorRpcServer, ErrorRpcVersionMismatch,
    };
    let server = start().await;
    let mut client = RawClient::open(server.local_addr(), "alice").await;
    let cases: [(Vec<u8>, RpcErrorCodeProto, &str, &str); 6] = [
        (
            common::call_frame(1, "fail", b"gone"),
            ErrorApplication,
            "java.io.FileNotFoundException",
            "gone",
        ),
        (
            common::call_frame(1, "failLater", b"gone"),
            ErrorApplication,
            "java.io.FileNotFoundException",
            "gone",
        ),
        (
            common::call_frame(1, "nonsense", b""),
            ErrorNoSuchMethod,
            "org.apache.hadoop.ipc.RpcNoSuchMethodException",
            "Unknown method nonsense called on test.Echo protocol.",
        ),
        (
            common::call_frame_to("test.Other", 1, 1, "echo", b""),
            ErrorNoSuchProtocol,
            "org.apache.hadoop.ipc.RpcNoSuchProtocolException",
            "Unknown protocol: test.Other",
        ),
        (
            common::call_frame_to("test.Echo", 2, 1, "echo", b""),
            ErrorRpcVersionMismatch,
            "org.apache.hadoop.ipc.RPC$VersionMismatch",
            "Protocol test.Echo version mismatch. (client = 2, server = 1)",
        ),
        (
            common::call_frame(1, "panic", b""),
            ErrorRpcServer,
            "org.apache.hadoop.ipc.RpcServerException",
            "internal error: the call's handler died",
        ),
    ];
    for (bytes, detail, class, message) in cases {
        client.send(&bytes).await;
        client
            .frame()
            .await
            .expect("an answer")
            .check_error(1, RpcStatusProto::Error, detail, class, message);
    }
    client.call(9, "echo", b"alive").await;
    client.frame().await.expect("an answer").check_success(9, b"alive");
}

#[tokio::test]
async fn broken_headers_are_fatal() {
    use RpcErrorCodeProto::{FatalDeserializingRequest, FatalInvalidRpcHeader};
    let rpc_server = "org.apache.hadoop.ipc.RpcServerException";
    let with_header = |change: fn(&mut hadron_proto::common::RpcRequestHeaderProto)| {
        let mut header = common::header(5);
        change(&mut header);
        common::frame(&header, &[])
    };
    let context = common::context("alice", None);
    let again = [common::preamble(0), context.clone(), context.clone()].concat();
    let opened = [common::preamble(0), context].concat();
    let after = |bytes: &[u8], more: Vec<u8>| [bytes.to_vec(), more].concat();
    let cases: [(Vec<u8>, i32, RpcErrorCodeProto, &str); 9] = [
        (
            after(&opened, common::frame(&common::header(1), &[&[]])),
            1,
            FatalDeserializingRequest,
            "IPC server unable to read call parameters: Message missing required fields: methodName, \
             declaringClassProtocolName, clientProtocolVersion",
        ),
        (
            after(&common::preamble(0), common::call_frame(5, "echo", b"")),
            5,
            FatalInvalidRpcHeader,
            "Connection context not established",
        ),
        (again, -3, FatalInvalidRpcHeader, "Connection context already processed"),
        (
            after(&opened, with_header(|header| header.call_id = -77)),
            -77,
            FatalInvalidRpcHeader,
            "Unknown out of band call #-77",
        ),
        (
            after(&opened, with_header(|header| header.rpc_op = Some(2))),
            5,
            FatalInvalidRpcHeader,
            "IPC Server does not implement rpc header operationRPC_CLOSE_CONNECTION",
        ),
        (
            after(&opened, with_header(|header| header.rpc_op = None)),
            5,
            FatalInvalidRpcHeader,
            " IPC Server: No rpc op in rpcRequestHeader",
        ),
        (
            after(&opened, with_header(|header| header.rpc_kind = None)),
            5,
            FatalInvalidRpcHeader,
            " IPC Server: No rpc kind in rpcRequestHeader",
        ),
        (
            after(&opened, common::sasl(SaslState::Negotiate, Vec::new())),
            -33,
            FatalInvalidRpcHeader,
            "SASL protocol not requested by client",
        ),
        (
            after(&opened, vec![0, 0, 0, 1, 0]),
            -1,
            FatalDeserializingRequest,
            "Error decoding RpcRequestHeaderProto: com.google.protobuf.UninitializedMessageException: Message missing \
             required fields: callId, clientId",
        ),
    ];
    let server = start().await;
    for (bytes, call_id, detail, message) in cases {
        let mut client = RawClient::connect(server.local_addr()).await;
        client.send(&bytes).await;
        let frame = client.frame().await.unwrap_or_else(|| panic!("no answer: {message}"));
        frame.check_fatal(call_id, detail, rpc_server, message);
        assert!(client.frame().await.is_none(), "closed: {message}");
    }
}

#[tokio::test]
async fn oversized_and_negative_frames_drop_the_connection() {
    let server = start_with(RpcServerOptions {
        max_frame_len: 1000,
        ..options()
    })
    .await;
    for len in [1001i32, -1, i32::MIN, i32::MAX] {
        let mut client = RawClient::open(server.local_addr(), "alice").await;
        client.send(&len.to_be_bytes()).await;
        assert!(client.frame().await.is_none(), "length {len}");
    }
}

fn auth(method: &str) -> Vec<SaslAuth> {
    vec![SaslAuth {
        method: method.to_owned(),
        ..SaslAuth::default()
    }]
}

#[tokio::test]
async fn sasl_always_ends_in_simple() {
    let server = start().await;
    let cases = [
        (SaslState::Negotiate, Vec::new(), true),
        (SaslState::Initiate, auth("SIMPLE"), false),
    ];
    for (state, auths, is_answered) in cases {
        let mut client = RawClient::connect(server.local_addr()).await;
        client.send(&common::preamble(0xdf)).await;
        client.send(&common::sasl(state, auths)).await;
        if is_answered {
            let frame = client.frame().await.expect("an answer");
            assert_eq!(frame.header.call_id, 0xffff_ffdf);
            let answer = RpcSaslProto::decode_length_delimited(frame.body).expect("a SASL message");
            assert_eq!((answer.state(), answer.auths.len()), (SaslState::Success, 0));
        }
        client.send(&common::context("alice", None)).await;
        client.call(1, "user", b"").await;
        client.frame().await.expect("an answer").check_success(1, b"alice");
    }
    let mut client = RawClient::connect(server.local_addr()).await;
    client.send(&common::preamble(0xdf)).await;
    client.send(&common::sasl(SaslState::Initiate, auth("TOKEN"))).await;
    let frame = client.frame().await.expect("an answer");
    let offer = RpcSaslProto::decode_length_delimited(frame.body).expect("a SASL message");
    assert_eq!(
        (offer.state(), offer.auths[0].method.as_str()),
        (SaslState::Negotiate, "SIMPLE")
    );
    client.send(&common::sasl(SaslState::Initiate, auth("SIMPLE"))).await;
    client.send(&common::context("alice", None)).await;
    client.call(1, "user", b"").await;
    client.frame().await.expect("an answer").check_success(1, b"alice");

    for (state, auths, message) in [
        (SaslState::Initiate, Vec::new(), "Client mechanism is malformed"),
        (
            SaslState::Response,
            Vec::new(),
            "Client sent unsupported state RESPONSE",
        ),
    ] {
        let mut client = RawClient::connect(server.local_addr()).await;
        client.send(&common::preamble(0xdf)).await;
        client.send(&common::sasl(state, auths)).await;
        let detail = RpcErrorCodeProto::FatalUnauthorized;
        client
            .frame()
            .await
            .expect("an answer")
            .check_fatal(-1, detail, "javax.security.sasl.SaslException", message);
        assert!(client.frame().await.is_none());
    }
}

#[tokio::test]
async fn proxies_need_permission() {
    let proxy_users = ProxyUsers::from_pairs(
        [
            ("hadoop.proxyuser.oozie.hosts", "*"),
            ("hadoop.proxyuser.oozie.users", "alice"),
        ],
        None,
    );
    let server = start_with(RpcServerOptions {
        proxy_users,
        ..options()
    })
    .await;
    let mut client = RawClient::connect(server.local_addr()).await;
    client.send(&common::preamble(0)).await;
    client
        .send(&common::context("alice@REALM", Some("oozie/host@REALM")))
        .await;
    client.call(1, "user", b"").await;
    client
        .frame()
        .await
        .expect("an answer")
        .check_success(1, b"alice via oozie");

    let mut client = RawClient::connect(server.local_addr()).await;
    client.send(&common::preamble(0)).await;
    client.send(&common::context("bob", Some("oozie"))).await;
    client.frame().await.expect("an answer").check_fatal(
        -3,
        RpcErrorCodeProto::FatalUnauthorized,
        "org.apache.hadoop.security.authorize.AuthorizationException",
        "User: oozie is not allowed to impersonate bob",
    );
    assert!(client.frame().await.is_none());
}

#[tokio::test]
async fn connections_are_limited_in_total_and_per_address() {
    let limits = [(2, 100), (100, 2)];
    for (max_connections, max_connections_per_address) in limits {
        let server = start_with(RpcServerOptions {
            max_connections,
            max_connections_per_address,
            ..options()
        })
        .await;
        let mut kept = Vec::new();
        for _ in 0..2 {
            let mut client = RawClient::open(server.local_addr(), "alice").await;
            client.call(1, "echo", b"in").await;
            client.frame().await.expect("an answer").check_success(1, b"in");
            kept.push(client);
        }
        let mut refused = RawClient::connect(server.local_addr()).await;
        assert!(refused.read_to_end().await.is_empty());
        kept.pop();
        common::eventually(|| {
            server
                .metrics()
                .open_connections
                .load(std::sync::atomic::Ordering::Relaxed)
                == 1
        })
        .await;
        let mut client = RawClient::open(server.local_addr(), "alice").await;
        client.call(1, "echo", b"again").await;
        client.frame().await.expect("an answer").check_success(1, b"again");
    }
}

#[tokio::test]
async fn an_unfinished_handshake_times_out() {
    let server = start_with(RpcServerOptions {
        handshake_timeout: Duration::from_millis(50),
        ..options()
    })
    .await;
    let mut silent = RawClient::connect(server.local_addr()).await;
    let mut halfway = RawClient::connect(server.local_addr()).await;
    halfway.send(&common::preamble(0)).await;
    assert!(silent.read_to_end().await.is_empty());
    assert!(halfway.read_to_end().await.is_empty());
}

#[tokio::test]
async fn idle_connections_go_when_there_are_many() {
    let server = start_with(RpcServerOptions {
        idle_threshold: 1,
        max_idle: Duration::from_millis(50),
        handshake_timeout: Duration::from_millis(50),
        ..options()
    })
    .await;
    let mut idle = RawClient::open(server.local_addr(), "alice").await;
    let mut busy = RawClient::open(server.local_addr(), "alice").await;
    busy.call(1, "hold", b"busy").await;
    assert!(idle.read_to_end().await.is_empty());
    busy.call(2, "release", b"busy").await;
    let [held, release] = busy.two_frames().await;
    held.check_success(1, b"busy");
    release.check_success(2, b"busy");
}

#[tokio::test]
async fn calls_in_flight_are_limited_and_resumed() {
    let server = start_with(RpcServerOptions {
        max_calls_in_flight: 2,
        ..options()
    })
    .await;
    let mut client = RawClient::open(server.local_addr(), "alice").await;
    let mut other = RawClient::open(server.local_addr(), "alice").await;
    let mut calls = Vec::new();
    for id in 1..=4 {
        calls.extend(common::call_frame(id, "hold", format!("limit-{id}").as_bytes()));
    }
    client.send(&calls).await;
    for (number, id) in (1..=4).enumerate() {
        other
            .call(number as i32, "release", format!("limit-{id}").as_bytes())
            .await;
        other.frame().await.expect("release");
        client
            .frame()
            .await
            .expect("held")
            .check_success(id, format!("limit-{id}").as_bytes());
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_not_read_from() {
    let server = start_with(RpcServerOptions {
        max_unsent_bytes: 64 << 10,
        unsent_timeout: Duration::from_millis(100),
        max_idle: Duration::from_millis(50),
        handshake_timeout: Duration::from_millis(50),
        ..options()
    })
    .await;
    let mut client = RawClient::open(server.local_addr(), "alice").await;
    // Far more answers than socket buffers hold: the server stops reading, then gives up the connection.
    let request = common::call_frame(1, "big", b"");
    while client.try_send(&request).await.is_ok() {}
    common::eventually(|| {
        server
            .metrics()
            .open_connections
            .load(std::sync::atomic::Ordering::Relaxed)
            == 0
    })
    .await;
}

#[tokio::test]
async fn calls_held_back_by_unsent_answers_go_on_when_these_left() {
    const CALLS: i32 = 1000;
    let server = start_with(RpcServerOptions {
        max_unsent_bytes: 64 << 10,
        max_idle: Duration::from_secs(3600),
        handshake_timeout: Duration::from_secs(3600),
        ..options()
    })
    .await;
    let mut client = RawClient::open(server.local_addr(), "alice").await;
    let requests: Vec<u8> = (1..=CALLS).flat_map(|id| common::call_frame(id, "big", b"")).collect();
    client.send(&requests).await;
    for id in 1..=CALLS {
        let answer = client.frame().await.expect("an answer");
        answer.check_success(id, &[0; 32 << 10]);
    }
}

#[tokio::test]
async fn metrics_count_calls_by_method() {
    use std::sync::atomic::Ordering::Relaxed;
    let server = start().await;
    let mut client = RawClient::open(server.local_addr(), "alice").await;
    for (id, method) in [(1, "echo"), (2, "echo"), (3, "fail"), (4, "nonsense")] {
        client.call(id, method, b"x").await;
        client.frame().await.expect("an answer");
    }
    let metrics = server.metrics();
    let echo = metrics.protocols[0].method_at(metrics.protocols[0].index_of("echo"));
    assert_eq!(echo.calls.load(Relaxed), 2);
    assert_eq!(metrics.protocols[0].other.calls.load(Relaxed), 1);
    assert_eq!(metrics.total(|method| &method.calls), 4);
    assert_eq!(metrics.total(|method| &method.errors), 2);
    assert_eq!(metrics.calls_in_flight.load(Relaxed), 0);
}

#[tokio::test]
async fn shutdown_ends_connections_and_held_calls() {
    let server = start().await;
    let mut client = RawClient::open(server.local_addr(), "alice").await;
    client.call(1, "hold", b"forever").await;
    client.call(2, "echo", b"x").await;
    client.frame().await.expect("an answer");
    server.shutdown().await;
    assert!(client.frame().await.is_none());
}

#[tokio::test]
async fn connections_on_their_own_threads_are_served_and_end() {
    let options = RpcServerOptions {
        reactors: 3,
        ..options()
    };
    let server = start_with(options).await;
    let mut clients = Vec::new();
    for number in 0..8 {
        let mut client = RawClient::open(server.local_addr(), "alice").await;
        client.call(1, "hold", format!("spawned {number}").as_bytes()).await;
        client.call(2, "waiting", format!("waits {number}").as_bytes()).await;
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.call(3, "echo", b"quick").await;
        // What one connection holds another's thread may release.
        client
            .call(4, "release", format!("waits {}", (number + 1) % 8).as_bytes())
            .await;
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(client.frame().await.expect("an answer").header.call_id);
        }
        answers.sort_unstable();
        assert_eq!(answers, [2, 3, 4], "client {number}");
    }
    // The spawned ones still wait: stopping gives them up and waits for nobody.
    server.shutdown().await;
    for client in &mut clients {
        assert!(client.frame().await.is_none());
    }
}

#[tokio::test]
async fn a_call_that_panics_ends_its_connection_alone() {
    let server = start().await;
    let mut neighbour = RawClient::open(server.local_addr(), "alice").await;
    neighbour.call(1, "waiting", b"patient").await;
    let mut client = RawClient::open(server.local_addr(), "alice").await;
    client.call(1, "panicAtOnce", b"").await;
    assert!(client.frame().await.is_none());
    let mut other = RawClient::open(server.local_addr(), "alice").await;
    other.call(1, "release", b"patient").await;
    other.frame().await.expect("an answer").check_success(1, b"patient");
    neighbour.frame().await.expect("held").check_success(1, b"patient");
}
