//! Pipeline acks.
#![no_main]

use bytes::BytesMut;
use hadron_wire::transfer::PipelineAck;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((ack, _))) = PipelineAck::decode(bytes) {
        assert_eq!(
            PipelineAck::read(&mut &bytes[..]).ok().as_ref(),
            Some(&ack),
            "both ways to read agree"
        );
        let _ = (ack.is_success(), ack.first_failure(), ack.out_of_band());
        let mut out = BytesMut::new();
        ack.encode(&mut out);
        assert_eq!(PipelineAck::decode(&out), Ok(Some((ack, out.len()))));
    }
});
