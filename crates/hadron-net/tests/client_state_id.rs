//! State ids: what an observer's client sends, and what it learns from answers.

mod common;

use bytes::BytesMut;
use hadron_net::{RpcClient, RpcClientOptions, StateIdSeen};
use hadron_proto::common::{GetGroupsForUserRequestProto, RpcRequestHeaderProto, RpcResponseHeaderProto};
use hadron_wire::rpc::FrameDecoder;
use prost::Message;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers one call with `state_id`; returns the state id that came with it.
async fn serve(stream: &mut TcpStream, input: &mut FrameDecoder, state_id: Option<i64>) -> Option<i64> {
    loop {
        while let Some(mut frame) = input.next_frame().expect("a frame") {
            let header = RpcRequestHeaderProto::decode_length_delimited(&mut frame).expect("a header");
            if header.call_id < 0 {
                continue;
            }
            let response = RpcResponseHeaderProto {
                call_id: header.call_id as u32,
                state_id,
                ..Default::default()
            };
            let mut body = response.encode_length_delimited_to_vec();
            body.push(0);
            let mut out = BytesMut::from(&(body.len() as u32).to_be_bytes()[..]);
            out.extend_from_slice(&body);
            stream.write_all(&out).await.expect("write");
            return header.state_id;
        }
        stream.read_buf(input.read_buffer()).await.expect("read");
    }
}

#[tokio::test]
async fn the_newest_state_seen_travels_with_every_call() {
    let seen = Arc::new(StateIdSeen::default());
    for (state_id, answers, sent, last) in [
        (None, [Some(7), None, Some(9)], [None, None, None], i64::MIN),
        (
            Some(&seen),
            [Some(7), None, Some(5)],
            [Some(i64::MIN), Some(7), Some(7)],
            7,
        ),
        // The next connection goes on where the last one was.
        (Some(&seen), [None, Some(12), None], [Some(7), Some(7), Some(12)], 12),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let options = RpcClientOptions {
            state_id: state_id.cloned(),
            ..RpcClientOptions::new("alice", "test.Echo")
        };
        let addr = listener.local_addr().expect("addr");
        let client = RpcClient::connect(addr, options).await.expect("connect");
        let (mut stream, _) = listener.accept().await.expect("accept");
        let mut hello = [0; 7];
        stream.read_exact(&mut hello).await.expect("hello");
        let mut input = FrameDecoder::new(1 << 20);
        for (answer, expected) in answers.into_iter().zip(sent) {
            let request = GetGroupsForUserRequestProto { user: "x".to_owned() };
            let call = client.call::<_, hadron_proto::hdfs::MsyncResponseProto>("echo", &request);
            let (served, result) = tokio::join!(serve(&mut stream, &mut input, answer), call);
            result.expect("answer");
            assert_eq!(served, expected);
        }
        assert_eq!(state_id.map_or(i64::MIN, |seen| seen.get()), last);
    }
}
