//! Frames as a client makes and reads them; no I/O.

use super::RpcClientOptions;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hadron_proto::common::rpc_request_header_proto::OperationProto;
use hadron_proto::common::rpc_response_header_proto::RpcStatusProto;
use hadron_proto::common::{
    IpcConnectionContextProto, RequestHeaderProto, RpcKindProto, RpcRequestHeaderProto, RpcResponseHeaderProto,
    UserInformationProto,
};
use hadron_proto::decode_checked;
use hadron_types::{ErrorKind, HadoopError};
use prost::Message;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

const CALL_ID_CONTEXT: i32 = -3;
const CALL_ID_PING: i32 = -4;

/// A response frame, taken apart.
pub(crate) enum Response {
    /// The call's result.
    Success(u32, Bytes),
    /// The call's exception.
    Error(u32, HadoopError),
    /// The server gives up the connection.
    Fatal(HadoopError),
}

/// Appends preamble and connection context for SIMPLE authentication.
pub(crate) fn append_hello(output: &mut BytesMut, options: &RpcClientOptions) {
    output.put_slice(b"hrpc\x09\x00\x00");
    let context = IpcConnectionContextProto {
        user_info: Some(UserInformationProto {
            effective_user: Some(options.user.clone()),
            real_user: options.real_user.clone(),
        }),
        protocol: Some(options.protocol.to_owned()),
    };
    append_frame(output, &control_header(options, CALL_ID_CONTEXT), &[&context]);
}

/// Appends a ping.
pub(crate) fn append_ping(output: &mut BytesMut, options: &RpcClientOptions) {
    append_frame(
        output,
        &control_header(options, CALL_ID_PING),
        &[] as &[&RequestHeaderProto],
    );
}

/// Appends a call of `method`.
pub(crate) fn append_call(
    output: &mut BytesMut,
    options: &RpcClientOptions,
    (protocol, version): (&str, u64),
    call_id: i32,
    retry_count: i32,
    method: &str,
    request: &impl Message,
) {
    let header = RpcRequestHeaderProto {
        retry_count: Some(retry_count),
        ..control_header(options, call_id)
    };
    let target = RequestHeaderProto {
        method_name: method.to_owned(),
        declaring_class_protocol_name: protocol.to_owned(),
        client_protocol_version: version,
    };
    let start = output.len();
    append_frame(output, &header, &[&target]);
    append_delimited(output, request);
    let total = (output.len() - start - 4) as u32;
    output[start..start + 4].copy_from_slice(&total.to_be_bytes());
}

fn control_header(options: &RpcClientOptions, call_id: i32) -> RpcRequestHeaderProto {
    RpcRequestHeaderProto {
        rpc_kind: Some(RpcKindProto::RpcProtocolBuffer as i32),
        rpc_op: Some(OperationProto::RpcFinalPacket as i32),
        call_id,
        client_id: Bytes::copy_from_slice(&options.client_id.0),
        retry_count: Some(-1),
        ..RpcRequestHeaderProto::default()
    }
}

fn append_frame<M: Message>(output: &mut BytesMut, header: &RpcRequestHeaderProto, messages: &[&M]) {
    let delimited = |len: usize| encoded_len_varint(len as u64) + len;
    let total = delimited(header.encoded_len()) + messages.iter().map(|m| delimited(m.encoded_len())).sum::<usize>();
    output.reserve(4 + total);
    output.put_u32(total as u32);
    append_delimited(output, header);
    for message in messages {
        append_delimited(output, *message);
    }
}

fn append_delimited(output: &mut BytesMut, message: &impl Message) {
    let len = message.encoded_len();
    output.reserve(len + 10);
    encode_varint(len as u64, output);
    // BytesMut grows as needed: encoding into it cannot fail.
    let _ = message.encode(output);
}

/// Takes the next response off `input`; `Ok(None)` when it is not complete.
///
/// Errors: the reason why the bytes are no response, or longer than `max_len`.
pub(crate) fn take_response(input: &mut BytesMut, max_len: usize) -> Result<Option<Response>, String> {
    let Some(prefix) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let len = i32::from_be_bytes(*prefix);
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= max_len)
        .ok_or(format!("response length {len}"))?;
    if input.len() < 4 + len {
        return Ok(None);
    }
    input.advance(4);
    let mut frame = input.split_to(len).freeze();
    let header: RpcResponseHeaderProto =
        decode_checked(take_delimited(&mut frame)?).map_err(|error| error.to_string())?;
    Ok(Some(match header.status() {
        RpcStatusProto::Success => Response::Success(header.call_id, take_delimited(&mut frame)?),
        RpcStatusProto::Error => Response::Error(header.call_id, error_of(header)),
        RpcStatusProto::Fatal => Response::Fatal(error_of(header)),
    }))
}

fn error_of(header: RpcResponseHeaderProto) -> HadoopError {
    let class = header.exception_class_name.unwrap_or_default();
    let message = header.error_msg.unwrap_or_default();
    match ErrorKind::from_class(&class) {
        ErrorKind::Other => HadoopError::new(ErrorKind::Other, format!("{class}: {message}")),
        kind => HadoopError::new(kind, message),
    }
}

fn take_delimited(frame: &mut Bytes) -> Result<Bytes, String> {
    let len = decode_varint(frame).map_err(|error| error.to_string())?;
    match usize::try_from(len) {
        Ok(len) if len <= frame.len() => Ok(frame.split_to(len)),
        _ => Err("message is longer than its frame".to_owned()),
    }
}
