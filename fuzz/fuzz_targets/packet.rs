//! Packets of block data, cut anywhere.
#![no_main]

use hadron_wire::transfer::packet::PREFIX_LEN;
use hadron_wire::transfer::{Checksum, PacketDecoder, PacketHeader, PacketPrefix};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (cut, chunk, stream) = input;
    let _ = PacketHeader::decode(stream);
    let checksum = Checksum::new(hadron_types::ChecksumType::Crc32c, u32::from(chunk).max(1)).expect("in range");
    let mut decoder = PacketDecoder::new();
    for piece in stream.chunks(usize::from(cut).max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next_packet() {
                Ok(Some(packet)) => {
                    let _ = checksum.verify(&packet.data, &packet.checksums);
                    let mut out = Vec::new();
                    packet.header.append_to(packet.checksums.len(), &mut out);
                    let prefix = PacketPrefix::decode(*out.first_chunk::<PREFIX_LEN>().expect("a prefix"));
                    assert_eq!(
                        prefix.expect("good").payload_len,
                        packet.checksums.len() + packet.data.len()
                    );
                    assert_eq!(PacketHeader::decode(&out[PREFIX_LEN..]), Ok(packet.header));
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
});
