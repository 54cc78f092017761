//! What a client reads from a server.
#![no_main]

use bytes::Bytes;
use hadron_wire::rpc::{FrameDecoder, Response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let mut decoder = FrameDecoder::new(64 * 1024);
    decoder.push(stream);
    while let Ok(Some(frame)) = decoder.next_frame() {
        let _ = Response::decode(frame);
    }
    let _ = Response::decode(Bytes::copy_from_slice(stream));
});
