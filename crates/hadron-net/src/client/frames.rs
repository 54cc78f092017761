//! Frames as a client makes them, out of its options; layouts are `hadron_wire::rpc`'s.

use super::RpcClientOptions;
use bytes::{Bytes, BytesMut};
use hadron_proto::common::rpc_request_header_proto::OperationProto;
use hadron_proto::common::{
    IpcConnectionContextProto, RequestHeaderProto, RpcKindProto, RpcRequestHeaderProto, UserInformationProto,
};
use hadron_wire::rpc::{AuthProtocol, Preamble, encode_call, encode_context, encode_ping};
use prost::Message;

/// Appends preamble and connection context for a connection without SASL.
pub(crate) fn append_hello(output: &mut BytesMut, options: &RpcClientOptions) {
    let preamble = Preamble {
        service_class: 0,
        auth: AuthProtocol::None,
    };
    output.extend_from_slice(&preamble.encode());
    append_context(output, options, true);
}

/// Appends the connection context; without names when the server knows us by a token.
pub(crate) fn append_context(output: &mut BytesMut, options: &RpcClientOptions, with_names: bool) {
    let names = UserInformationProto {
        effective_user: Some(options.user.clone()),
        real_user: options.real_user.clone(),
    };
    let context = IpcConnectionContextProto {
        user_info: Some(if with_names { names } else { Default::default() }),
        protocol: Some(options.protocol.to_owned()),
    };
    encode_context(output, &client_id(options), &context);
}

/// Appends a ping.
pub(crate) fn append_ping(output: &mut BytesMut, options: &RpcClientOptions) {
    encode_ping(output, &client_id(options));
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
        rpc_kind: Some(RpcKindProto::RpcProtocolBuffer as i32),
        rpc_op: Some(OperationProto::RpcFinalPacket as i32),
        call_id,
        client_id: client_id(options),
        retry_count: Some(retry_count),
        state_id: options.state_id.as_ref().map(|seen| seen.get()),
        ..RpcRequestHeaderProto::default()
    };
    let target = RequestHeaderProto {
        method_name: method.to_owned(),
        declaring_class_protocol_name: protocol.to_owned(),
        client_protocol_version: version,
    };
    encode_call(output, header, &target, &request.encode_to_vec());
}

fn client_id(options: &RpcClientOptions) -> Bytes {
    Bytes::copy_from_slice(&options.client_id.0)
}
