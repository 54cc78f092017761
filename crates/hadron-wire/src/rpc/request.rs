//! Request frames, read by servers and written by clients.
//!
//! Inside the frame: delimited `RpcRequestHeaderProto`, then by call id: 0 and above a delimited `RequestHeaderProto` and
//! a delimited message of the method; -3 a delimited connection context; -33 a delimited SASL message; -4 nothing.

use super::response::{CallEcho, RpcFault, encode_fault};
use super::{CALL_ID_CONTEXT, CALL_ID_INVALID, CALL_ID_PING, CALL_ID_SASL, RETRY_COUNT_NONE, plain};
use crate::{WireError, delimited};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hadron_proto::common::rpc_request_header_proto::OperationProto;
use hadron_proto::common::rpc_response_header_proto::RpcErrorCodeProto;
use hadron_proto::common::{
    IpcConnectionContextProto, RequestHeaderProto, RpcKindProto, RpcRequestHeaderProto, RpcSaslProto,
};
use hadron_proto::{DecodeError, Required};
use hadron_types::{ErrorKind, HadoopError};
use prost::Message;

/// Longest header, connection context or SASL message; far above any real one, tokens included.
pub const MAX_HEADER_LEN: usize = 1024 * 1024;

/// What a frame is, told by its call id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    /// A method call.
    Call,
    /// User and protocol of the connection.
    Context,
    /// A sign of life; gets no reply.
    Ping,
    /// A step of SASL negotiation.
    Sasl,
}

/// A request frame whose header is decoded and checked.
#[derive(Clone, PartialEq, Debug)]
pub struct RequestFrame {
    /// The RPC header.
    pub header: RpcRequestHeaderProto,
    /// What it is.
    pub kind: FrameKind,
    /// What follows the header.
    pub body: Bytes,
}

/// A method call, ready for dispatch.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// Method, protocol and version asked for.
    pub header: RequestHeaderProto,
    /// The encoded request message of the method.
    pub message: Bytes,
}

/// A frame that breaks the rules: what to answer before the connection is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// Call id and retry count as far as they could be read. As in Java the client id stays empty.
    pub echo: CallEcho,
    /// What was wrong.
    pub fault: RpcFault,
}

impl Rejection {
    fn new(header: Option<&RpcRequestHeaderProto>, detail: RpcErrorCodeProto, text: String) -> Self {
        let (call_id, retry_count) = match header {
            Some(header) => (header.call_id, header.retry_count()),
            None => (CALL_ID_INVALID, RETRY_COUNT_NONE),
        };
        Self {
            echo: CallEcho {
                call_id,
                client_id: Bytes::new(),
                retry_count,
            },
            fault: RpcFault::fatal(detail, HadoopError::new(ErrorKind::IpcServer, text)),
        }
    }

    /// Appends the answer.
    pub fn encode(&self, out: &mut BytesMut) {
        encode_fault(out, &self.echo, &self.fault);
    }
}

impl RequestFrame {
    /// Reads a frame (without its length), as a server does.
    ///
    /// Errors end the connection. Texts and order of checks are those of Hadoop's `Server.Connection`, leading blanks
    /// included.
    pub fn decode(mut frame: Bytes) -> Result<Self, Rejection> {
        if frame.is_empty() {
            // Java's parser takes the end of the frame for an empty message and then misses its fields.
            frame = Bytes::from_static(&[0]);
        }
        let header = take_header(&mut frame).map_err(|error| {
            let text = format!("Error decoding RpcRequestHeaderProto: {}", java_cause(&error));
            Rejection::new(None, RpcErrorCodeProto::FatalDeserializingRequest, text)
        })?;
        match check_header(&header) {
            Ok(kind) => Ok(Self {
                header,
                kind,
                body: frame,
            }),
            Err(text) => Err(Rejection::new(
                Some(&header),
                RpcErrorCodeProto::FatalInvalidRpcHeader,
                text,
            )),
        }
    }

    /// Refuses this frame: it is well formed and comes at the wrong time.
    pub fn reject(&self, text: impl Into<String>) -> Rejection {
        Rejection::new(
            Some(&self.header),
            RpcErrorCodeProto::FatalInvalidRpcHeader,
            text.into(),
        )
    }

    /// The request of a frame of kind [`FrameKind::Call`] whose encoded `RequestHeaderProto` is exactly `target`.
    ///
    /// `target`: all of a [`RequestFrame::target`]. `None`: it calls something else, or is malformed; [`RequestFrame::call`] tells.
    pub fn message_for(&self, target: &[u8]) -> Option<Bytes> {
        let rest = self.body.strip_prefix(target)?;
        let (message, end) = delimited::split(rest, rest.len(), "request message").ok()??;
        let start = target.len() + end - message.len();
        Some(self.body.slice(start..target.len() + end))
    }

    /// The encoded `RequestHeaderProto` with its length, for [`RequestFrame::message_for`]. Empty if it is malformed.
    pub fn target(&self) -> &[u8] {
        let found = delimited::split(&self.body, MAX_HEADER_LEN, "RequestHeaderProto");
        found.ok().flatten().map_or(&[], |(_, end)| &self.body[..end])
    }

    /// The method called and its request, of a frame of kind [`FrameKind::Call`].
    pub fn call(&self) -> Result<Call, Rejection> {
        let mut body = self.body.clone();
        let mut read = || {
            let header = take(&mut body, "RequestHeaderProto")?;
            let len = body.len();
            let message = delimited::take(&mut body, len, "request message")?;
            Ok(Call { header, message })
        };
        read().map_err(|error: WireError| {
            let cause = match &error {
                WireError::Message { source, .. } => source.to_string(),
                other => other.to_string(),
            };
            self.undecodable(format!("IPC server unable to read call parameters: {cause}"))
        })
    }

    /// Who is there, of a frame of kind [`FrameKind::Context`].
    pub fn context(&self) -> Result<IpcConnectionContextProto, Rejection> {
        self.control("IpcConnectionContextProto")
    }

    /// The step, of a frame of kind [`FrameKind::Sasl`].
    pub fn sasl(&self) -> Result<RpcSaslProto, Rejection> {
        self.control("RpcSaslProto")
    }

    fn control<M: Message + Default + Required>(&self, name: &'static str) -> Result<M, Rejection> {
        take(&mut self.body.clone(), name)
            .map_err(|error| self.undecodable(format!("Error decoding {name}: {}", java_cause(&error))))
    }

    fn undecodable(&self, text: String) -> Rejection {
        Rejection::new(Some(&self.header), RpcErrorCodeProto::FatalDeserializingRequest, text)
    }
}

/// What a frame is by its header, or what is wrong with it.
fn check_header(header: &RpcRequestHeaderProto) -> Result<FrameKind, String> {
    let Some(op) = header.rpc_op else {
        return Err(" IPC Server: No rpc op in rpcRequestHeader".to_owned());
    };
    if op != OperationProto::RpcFinalPacket as i32 {
        let name = OperationProto::try_from(op).map_or("UNKNOWN", |op| op.as_str_name());
        return Err(format!("IPC Server does not implement rpc header operation{name}"));
    }
    let Some(rpc_kind) = header.rpc_kind else {
        return Err(" IPC Server: No rpc kind in rpcRequestHeader".to_owned());
    };
    let kind = match header.call_id {
        0.. => FrameKind::Call,
        CALL_ID_CONTEXT => FrameKind::Context,
        CALL_ID_PING => FrameKind::Ping,
        CALL_ID_SASL => FrameKind::Sasl,
        id => return Err(format!("Unknown out of band call #{id}")),
    };
    if kind == FrameKind::Call && rpc_kind != RpcKindProto::RpcProtocolBuffer as i32 {
        let name = RpcKindProto::try_from(rpc_kind).map_or("UNKNOWN", |kind| kind.as_str_name());
        return Err(format!("Unknown rpc kind in rpc header{name}"));
    }
    Ok(kind)
}

fn take<M: Message + Default + Required>(buf: &mut Bytes, name: &'static str) -> Result<M, WireError> {
    delimited::take_message(buf, MAX_HEADER_LEN, name)
}

fn take_header(frame: &mut Bytes) -> Result<RpcRequestHeaderProto, WireError> {
    let what = "RpcRequestHeaderProto";
    if let Some((encoded, end)) = delimited::split(frame, MAX_HEADER_LEN, what)?
        && let Some(header) = plain::read_request_header(frame, end - encoded.len(), encoded.len())
    {
        frame.advance(end);
        return Ok(header);
    }
    take(frame, what)
}

/// The exception that Java would name as the cause.
fn java_cause(error: &WireError) -> String {
    match error {
        WireError::Message {
            source: missing @ DecodeError::Missing { .. },
            ..
        } => format!("com.google.protobuf.UninitializedMessageException: {missing}"),
        other => format!("com.google.protobuf.InvalidProtocolBufferException: {other}"),
    }
}

fn put_frame(out: &mut BytesMut, header: &RpcRequestHeaderProto, parts: usize, put_parts: impl FnOnce(&mut BytesMut)) {
    let len = delimited::delimited_len(header.encoded_len()) + parts;
    out.reserve(4 + len);
    out.put_i32(len as i32);
    delimited::put(out, header);
    put_parts(out);
}

fn control_header(call_id: i32, client_id: &Bytes) -> RpcRequestHeaderProto {
    RpcRequestHeaderProto {
        rpc_kind: Some(RpcKindProto::RpcProtocolBuffer as i32),
        rpc_op: Some(OperationProto::RpcFinalPacket as i32),
        call_id,
        client_id: client_id.clone(),
        retry_count: Some(RETRY_COUNT_NONE),
        ..Default::default()
    }
}

/// Appends the frame of a call. `message` is the encoded request of `request.method_name`.
///
/// `header`: kind and operation are filled in when absent; call id, client id and retry count are the caller's.
pub fn encode_call(
    out: &mut BytesMut,
    mut header: RpcRequestHeaderProto,
    request: &RequestHeaderProto,
    message: &[u8],
) {
    header.rpc_kind.get_or_insert(RpcKindProto::RpcProtocolBuffer as i32);
    header.rpc_op.get_or_insert(OperationProto::RpcFinalPacket as i32);
    let parts = delimited::delimited_len(request.encoded_len()) + delimited::delimited_len(message.len());
    put_frame(out, &header, parts, |out| {
        delimited::put(out, request);
        delimited::put_bytes(out, message);
    });
}

/// Appends the frame that names user and protocol; it is sent once, before the first call, and gets no reply.
pub fn encode_context(out: &mut BytesMut, client_id: &Bytes, context: &IpcConnectionContextProto) {
    let header = control_header(CALL_ID_CONTEXT, client_id);
    put_frame(out, &header, delimited::delimited_len(context.encoded_len()), |out| {
        delimited::put(out, context)
    });
}

/// Appends a ping.
pub fn encode_ping(out: &mut BytesMut, client_id: &Bytes) {
    put_frame(out, &control_header(CALL_ID_PING, client_id), 0, |_| {});
}

/// Appends a client's SASL step.
pub fn encode_sasl_request(out: &mut BytesMut, message: &RpcSaslProto) {
    let header = control_header(CALL_ID_SASL, &Bytes::new());
    put_frame(out, &header, delimited::delimited_len(message.encoded_len()), |out| {
        delimited::put(out, message)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::FrameDecoder;
    use proptest::prelude::*;

    fn frame(header: &RpcRequestHeaderProto) -> Bytes {
        Bytes::from(delimited::to_vec(header))
    }

    fn header(call_id: i32) -> RpcRequestHeaderProto {
        control_header(call_id, &Bytes::from_static(b"0123456789abcdef"))
    }

    #[test]
    fn bad_headers_are_refused_in_javas_words() {
        let no_op = RpcRequestHeaderProto {
            rpc_op: None,
            ..header(0)
        };
        let other_op = RpcRequestHeaderProto {
            rpc_op: Some(1),
            ..header(0)
        };
        let no_kind = RpcRequestHeaderProto {
            rpc_kind: None,
            ..header(0)
        };
        let writable = RpcRequestHeaderProto {
            rpc_kind: Some(1),
            ..header(0)
        };
        for (bytes, detail, text) in [
            (
                frame(&no_op),
                RpcErrorCodeProto::FatalInvalidRpcHeader,
                " IPC Server: No rpc op in rpcRequestHeader",
            ),
            (
                frame(&other_op),
                RpcErrorCodeProto::FatalInvalidRpcHeader,
                "IPC Server does not implement rpc header operationRPC_CONTINUATION_PACKET",
            ),
            (
                frame(&no_kind),
                RpcErrorCodeProto::FatalInvalidRpcHeader,
                " IPC Server: No rpc kind in rpcRequestHeader",
            ),
            (
                frame(&writable),
                RpcErrorCodeProto::FatalInvalidRpcHeader,
                "Unknown rpc kind in rpc headerRPC_WRITABLE",
            ),
            (
                frame(&header(-7)),
                RpcErrorCodeProto::FatalInvalidRpcHeader,
                "Unknown out of band call #-7",
            ),
            (
                Bytes::from_static(&[0]),
                RpcErrorCodeProto::FatalDeserializingRequest,
                "Error decoding RpcRequestHeaderProto: com.google.protobuf.UninitializedMessageException: \
                 Message missing required fields: callId, clientId",
            ),
        ] {
            let fault = RequestFrame::decode(bytes).expect_err(text).fault;
            assert_eq!((fault.detail, fault.error.message.as_str()), (detail, text));
            assert!(fault.fatal);
        }
    }

    #[test]
    fn control_frames_are_known_by_their_call_id() {
        for (id, kind) in [
            (0, FrameKind::Call),
            (i32::MAX, FrameKind::Call),
            (-3, FrameKind::Context),
            (-4, FrameKind::Ping),
            (-33, FrameKind::Sasl),
        ] {
            assert_eq!(
                RequestFrame::decode(frame(&header(id))).map(|frame| frame.kind),
                Ok(kind)
            );
        }
    }

    proptest! {
        #[test]
        fn calls_survive_the_wire(call_id in 0..=i32::MAX, retry in any::<i32>(), method in ".{0,20}", message in prop::collection::vec(any::<u8>(), 0..300)) {
            let rpc = RpcRequestHeaderProto { retry_count: Some(retry), ..header(call_id) };
            let request = RequestHeaderProto { method_name: method, declaring_class_protocol_name: "p".into(), client_protocol_version: 1 };
            let mut out = BytesMut::new();
            encode_call(&mut out, rpc.clone(), &request, &message);
            let mut decoder = FrameDecoder::new(4096);
            decoder.push(&out);
            let frame = decoder.next_frame().expect("good").expect("whole");
            let frame = RequestFrame::decode(frame).expect("good header");
            prop_assert_eq!(&frame.header, &rpc);
            let call = frame.call().expect("good call");
            prop_assert_eq!(frame.message_for(frame.target()), Some(call.message.clone()));
            prop_assert_eq!((call.header, call.message.to_vec()), (request, message));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(frame) = RequestFrame::decode(Bytes::from(bytes)) {
                if let Ok(call) = frame.call() {
                    prop_assert_eq!(frame.message_for(frame.target()), Some(call.message));
                }
                let _ = (frame.context(), frame.sasl());
            }
        }
    }
}
