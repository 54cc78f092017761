//! Headers of meta files.
#![no_main]

use hadron_wire::transfer::meta::{META_HEADER_LEN, decode_meta_header, encode_meta_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: [u8; META_HEADER_LEN]| {
    if let Ok(checksum) = decode_meta_header(bytes) {
        assert_eq!(encode_meta_header(checksum), bytes);
        let _ = checksum.checksums_len(usize::MAX >> 8);
    }
});
