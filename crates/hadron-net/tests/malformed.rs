//! Whatever bytes come, the server lives and serves the next connection.

mod common;

use common::{RawClient, start};
use proptest::prelude::*;
use std::net::SocketAddr;

/// Random bytes in the places where peers' bytes go.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let noise = || prop::collection::vec(any::<u8>(), 0..200);
    let framed = noise().prop_map(|bytes| [&(bytes.len() as u32).to_be_bytes()[..], &bytes].concat());
    let with_header = (any::<i32>(), noise()).prop_map(|(id, bytes)| common::frame(&common::header(id), &[&bytes]));
    let call = ("[a-z]{0,8}", noise()).prop_map(|(method, body)| common::call_frame(1, &method, &body));
    let frames = prop::collection::vec(
        prop_oneof![noise().boxed(), framed.boxed(), with_header.boxed(), call.boxed()],
        0..6,
    );
    (0..3u8, frames).prop_map(|(greeting, frames)| {
        let mut bytes = match greeting {
            0 => Vec::new(),
            1 => common::preamble(0xdf),
            _ => [common::preamble(0), common::context("mallory", None)].concat(),
        };
        bytes.extend(frames.concat());
        bytes
    })
}

async fn attack(addr: SocketAddr, bytes: &[u8]) {
    let mut attacker = RawClient::connect(addr).await;
    // The server may close in the middle; that is its right.
    let _ = attacker.try_send(bytes).await;
    drop(attacker);
    let mut client = RawClient::open(addr, "alice").await;
    client.call(1, "echo", b"alive").await;
    client.frame().await.expect("an answer").check_success(1, b"alive");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_bytes_harm_the_server(inputs in prop::collection::vec(hostile(), 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let server = start().await;
            for bytes in &inputs {
                attack(server.local_addr(), bytes).await;
            }
            server.shutdown().await;
        });
    }
}
