//! Replies of DataNodes, and the status of readers.
#![no_main]

use bytes::BytesMut;
use hadron_wire::transfer::response::{decode_read_status, decode_response, encode_response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_read_status(bytes);
    if let Ok(Some((response, _))) = decode_response(bytes) {
        let mut out = BytesMut::new();
        encode_response(&mut out, &response);
        assert_eq!(decode_response(&out), Ok(Some((response, out.len()))));
    }
});
