//! Response frames, and how errors of calls and connections look in them.

use super::ServerShared;
use super::session::CallNumbers;
use bytes::{BufMut, Bytes, BytesMut};
use hadron_proto::common::rpc_response_header_proto::{RpcErrorCodeProto, RpcStatusProto};
use hadron_proto::common::{RpcResponseHeaderProto, RpcSaslProto};
use hadron_types::{ErrorKind, HadoopError};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};
use std::time::Instant;

/// An error after which the connection is closed.
pub(crate) struct Fatal {
    pub(crate) detail: RpcErrorCodeProto,
    pub(crate) error: HadoopError,
}

impl Fatal {
    pub(crate) fn new(detail: RpcErrorCodeProto, error: HadoopError) -> Self {
        Self { detail, error }
    }
    /// A header that breaks the rules.
    pub(crate) fn header(message: impl Into<String>) -> Self {
        let error = HadoopError::new(ErrorKind::IpcServer, message);
        Self::new(RpcErrorCodeProto::FatalInvalidRpcHeader, error)
    }
    /// A SASL conversation that breaks the rules.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        let error = HadoopError::new(ErrorKind::Sasl, message);
        Self::new(RpcErrorCodeProto::FatalUnauthorized, error)
    }
}

/// What an answer repeats of its call, and where the call counts.
pub(crate) struct ReplyTo {
    pub(crate) numbers: CallNumbers,
    /// Index of the protocol; `None` when none was found.
    pub(crate) protocol: Option<usize>,
    /// Index of the method among the protocol's counters.
    pub(crate) method: Option<usize>,
    pub(crate) received: Instant,
}

/// Appends the answer to a call and counts it.
pub(crate) fn append_answer(
    server: &ServerShared,
    output: &mut BytesMut,
    reply_to: &ReplyTo,
    started: Instant,
    result: Result<Bytes, HadoopError>,
) {
    let is_error = result.is_err();
    match result {
        Ok(body) => append_success(output, &reply_to.numbers, &body),
        Err(error) => append_error(output, &reply_to.numbers, &error),
    }
    let Some(protocol) = reply_to.protocol.and_then(|index| server.metrics.protocols.get(index)) else {
        return;
    };
    let queued = started.saturating_duration_since(reply_to.received);
    let method = protocol.method_at(reply_to.method);
    method.record(queued.as_nanos() as u64, started.elapsed().as_nanos() as u64, is_error);
}

fn append_success(output: &mut BytesMut, numbers: &CallNumbers, body: &[u8]) {
    append_frame(output, &header_of(numbers, RpcStatusProto::Success), Some(body));
}

/// Appends the exception of a call. The connection stays.
pub(crate) fn append_error(output: &mut BytesMut, numbers: &CallNumbers, error: &HadoopError) {
    let detail = match error.kind {
        ErrorKind::NoSuchMethod => RpcErrorCodeProto::ErrorNoSuchMethod,
        ErrorKind::NoSuchProtocol => RpcErrorCodeProto::ErrorNoSuchProtocol,
        ErrorKind::VersionMismatch => RpcErrorCodeProto::ErrorRpcVersionMismatch,
        ErrorKind::IpcServer => RpcErrorCodeProto::ErrorRpcServer,
        _ => RpcErrorCodeProto::ErrorApplication,
    };
    append_frame(
        output,
        &error_header(numbers, RpcStatusProto::Error, detail, error),
        None,
    );
}

/// Appends the last answer of a connection.
pub(crate) fn append_fatal(output: &mut BytesMut, numbers: &CallNumbers, fatal: &Fatal) {
    append_frame(
        output,
        &error_header(numbers, RpcStatusProto::Fatal, fatal.detail, &fatal.error),
        None,
    );
}

/// Appends the answer to a SASL frame.
pub(crate) fn append_sasl(output: &mut BytesMut, numbers: &CallNumbers, message: &RpcSaslProto) {
    append_frame(
        output,
        &header_of(numbers, RpcStatusProto::Success),
        Some(&message.encode_to_vec()),
    );
}

fn header_of(numbers: &CallNumbers, status: RpcStatusProto) -> RpcResponseHeaderProto {
    RpcResponseHeaderProto {
        call_id: numbers.call_id as u32,
        status: status as i32,
        server_ipc_version_num: Some(9),
        client_id: Some(numbers.client_id.clone()),
        retry_count: Some(numbers.retry_count),
        ..RpcResponseHeaderProto::default()
    }
}

fn error_header(
    numbers: &CallNumbers,
    status: RpcStatusProto,
    detail: RpcErrorCodeProto,
    error: &HadoopError,
) -> RpcResponseHeaderProto {
    RpcResponseHeaderProto {
        exception_class_name: Some(error.kind.class().to_owned()),
        error_msg: Some(error.message.clone()),
        error_detail: Some(detail as i32),
        ..header_of(numbers, status)
    }
}

fn append_frame(output: &mut BytesMut, header: &RpcResponseHeaderProto, body: Option<&[u8]>) {
    let header_len = header.encoded_len();
    let delimited = |len: usize| encoded_len_varint(len as u64) + len;
    let total = delimited(header_len) + body.map_or(0, |body| delimited(body.len()));
    output.reserve(4 + total);
    output.put_u32(total as u32);
    encode_varint(header_len as u64, output);
    // BytesMut grows as needed: encoding into it cannot fail.
    let _ = header.encode(output);
    if let Some(body) = body {
        encode_varint(body.len() as u64, output);
        output.put_slice(body);
    }
}
