//! A packet's checksums and data, ready to send and cheap to clone, with the span that follows it to its ack.

use super::buffers::BufferPool;
use bytes::Bytes;
use hadron_pipeline::window::{BuiltPacket, NewPacket};
use hadron_wire::transfer::checksum::Checksum;
use std::sync::Arc;
use tracing::Span;

/// What follows a packet's header on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) checksums: Bytes,
    pub(crate) data: Bytes,
    /// Open from the cut to the ack: the window drops the packet then, and with it this.
    pub(crate) span: Span,
}

impl Payload {
    /// Computes the checksums of a cut packet, on the task of whoever cut it, behind its data in the same buffer.
    pub(crate) fn packet(
        built: BuiltPacket,
        checksum: &Checksum,
        pool: &Arc<BufferPool>,
        stream: &Span,
    ) -> NewPacket<Self> {
        let span = tracing::debug_span!(
            parent: stream,
            "packet",
            offset = built.offset_in_block,
            len = built.data.len(),
            block = tracing::field::Empty,
            seqno = tracing::field::Empty,
        );
        let data_len = built.data.len();
        let mut buffer = built.data;
        buffer.resize(data_len + checksum.checksums_len(data_len), 0);
        let (data, checksums) = buffer.split_at_mut(data_len);
        checksum.compute_into(data, checksums);
        let bytes = pool.lend(buffer);
        NewPacket {
            offset_in_block: built.offset_in_block,
            data_len: data_len as u32,
            sync_block: built.sync_block,
            ends_block: built.ends_block,
            payload: Self {
                checksums: bytes.slice(data_len..),
                data: bytes.slice(..data_len),
                span,
            },
        }
    }
}
