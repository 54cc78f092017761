//! What a server reads from a connection: preamble, frames, headers, calls, context, SASL steps.
#![no_main]

use bytes::BytesMut;
use hadron_wire::rpc::preamble::PREAMBLE_LEN;
use hadron_wire::rpc::sasl::answer_simple;
use hadron_wire::rpc::{FrameDecoder, FrameKind, Preamble, RequestFrame, encode_call};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, stream) = input;
    let mut decoder = FrameDecoder::new(64 * 1024);
    let mut opened = false;
    for piece in stream.chunks(usize::from(cut).max(1)) {
        decoder.read_buffer().extend_from_slice(piece);
        if !opened {
            match Preamble::decode(decoder.buffered()) {
                Ok(None) => continue,
                Ok(Some(_)) => decoder.skip(PREAMBLE_LEN),
                Err(refused) => {
                    refused.reply();
                    return;
                }
            }
            opened = true;
        }
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => answer(RequestFrame::decode(frame)),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
});

fn answer(frame: Result<RequestFrame, hadron_wire::rpc::Rejection>) {
    let rejected = match frame {
        Err(rejected) => Some(rejected),
        Ok(frame) => match frame.kind {
            FrameKind::Call => match frame.call() {
                Ok(call) => {
                    let mut out = BytesMut::new();
                    encode_call(&mut out, frame.header.clone(), &call.header, &call.message);
                    let again = RequestFrame::decode(out.split_off(4).freeze()).expect("what we encode is good");
                    assert_eq!((&again.header, again.call()), (&frame.header, Ok(call)));
                    None
                }
                Err(rejected) => Some(rejected),
            },
            FrameKind::Context => frame.context().err(),
            FrameKind::Sasl => match frame.sasl() {
                Ok(step) => {
                    let _ = (answer_simple(&step, false), answer_simple(&step, true));
                    None
                }
                Err(rejected) => Some(rejected),
            },
            FrameKind::Ping => None,
        },
    };
    if let Some(rejected) = rejected {
        rejected.encode(&mut BytesMut::new());
    }
}
