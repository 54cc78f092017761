//! A packet's checksums and data, ready to send and cheap to clone.

use bytes::Bytes;
use hadron_pipeline::window::{BuiltPacket, NewPacket};
use hadron_wire::transfer::checksum::Checksum;

/// What follows a packet's header on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) checksums: Bytes,
    pub(crate) data: Bytes,
}

impl Payload {
    /// Computes the checksums of a cut packet, on the task of whoever cut it.
    pub(crate) fn packet(built: BuiltPacket, checksum: &Checksum) -> NewPacket<Self> {
        let mut checksums = vec![0; checksum.checksums_len(built.data.len())];
        checksum.compute_into(&built.data, &mut checksums);
        NewPacket {
            offset_in_block: built.offset_in_block,
            data_len: built.data.len() as u32,
            sync_block: built.sync_block,
            ends_block: built.ends_block,
            payload: Self {
                checksums: checksums.into(),
                data: built.data.into(),
            },
        }
    }
}
