//! Operations on the data transfer port.
#![no_main]

use bytes::BytesMut;
use hadron_wire::transfer::Op;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    // With the version given, every input reaches an operation's message.
    let (code, rest) = input;
    for bytes in [rest.to_vec(), [&[0, 28, code][..], rest].concat()] {
        let read = Op::read(&mut &bytes[..]).ok();
        if let Ok(Some((op, used))) = Op::decode(&bytes) {
            assert!(used <= bytes.len());
            assert_eq!(read.as_ref(), Some(&op), "both ways to read agree");
            let mut out = BytesMut::new();
            op.encode(&mut out);
            assert_eq!(Op::decode(&out), Ok(Some((op, out.len()))));
        }
    }
});
