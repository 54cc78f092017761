//! Answers of calls: their frames and their counters.

use super::ServerShared;
use bytes::{Bytes, BytesMut};
use hadron_types::HadoopError;
use hadron_wire::rpc::{CallEcho, RpcFault, encode_fault, encode_success};
use std::time::Instant;

/// What an answer repeats of its call, and where the call counts.
pub(crate) struct ReplyTo {
    pub(crate) echo: CallEcho,
    /// Index of the protocol; `None` when none was found.
    pub(crate) protocol: Option<usize>,
    /// Index of the method among the protocol's counters.
    pub(crate) method: Option<usize>,
    pub(crate) received: Instant,
}

/// Appends the answer to a call and counts it. `started`, `ended`: of its handler.
pub(crate) fn append_answer(
    server: &ServerShared,
    output: &mut BytesMut,
    reply_to: &ReplyTo,
    started: Instant,
    ended: Instant,
    result: Result<Bytes, HadoopError>,
) {
    let is_error = result.is_err();
    match result {
        Ok(body) => encode_success(output, &reply_to.echo, &body),
        Err(error) => encode_fault(output, &reply_to.echo, &RpcFault::of(error)),
    }
    let Some(protocol) = reply_to.protocol.and_then(|index| server.metrics.protocols.get(index)) else {
        return;
    };
    let queued = started.saturating_duration_since(reply_to.received);
    let method = protocol.method_at(reply_to.method);
    let processed = ended.saturating_duration_since(started);
    method.record(queued.as_nanos() as u64, processed.as_nanos() as u64, is_error);
}
