//! Response frames, written by servers and read by clients.
//!
//! Inside the frame: delimited `RpcResponseHeaderProto`; on success a delimited message of the method (an empty one is
//! still one zero byte), else nothing. Negative call ids travel as 32-bit two's complement.

use super::{CALL_ID_SASL, MAX_HEADER_LEN, RETRY_COUNT_NONE, RPC_VERSION, plain};
use crate::{WireError, delimited};
use bytes::{BufMut, Bytes, BytesMut};
use hadron_proto::common::rpc_response_header_proto::{RpcErrorCodeProto, RpcStatusProto};
use hadron_proto::common::{RpcRequestHeaderProto, RpcResponseHeaderProto, RpcSaslProto};
use hadron_types::{ErrorKind, HadoopError};
use prost::Message;

/// What of a request returns in its response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallEcho {
    /// The call's number.
    pub call_id: i32,
    /// The client's id; Java clients drop the connection when another one comes back.
    pub client_id: Bytes,
    /// The retry count.
    pub retry_count: i32,
}

impl CallEcho {
    /// The echo of a request.
    pub fn of(header: &RpcRequestHeaderProto) -> Self {
        Self {
            call_id: header.call_id,
            client_id: header.client_id.clone(),
            retry_count: header.retry_count(),
        }
    }

    /// The echo of something that is no call: no client id, no retry count.
    pub fn none(call_id: i32) -> Self {
        Self {
            call_id,
            client_id: Bytes::new(),
            retry_count: RETRY_COUNT_NONE,
        }
    }

    fn header(&self, status: RpcStatusProto) -> RpcResponseHeaderProto {
        RpcResponseHeaderProto {
            call_id: self.call_id as u32,
            status: status as i32,
            server_ipc_version_num: Some(u32::from(RPC_VERSION)),
            client_id: Some(self.client_id.clone()),
            retry_count: Some(self.retry_count),
            ..Default::default()
        }
    }
}

/// An error as it travels: class, text, detail code, and whether it ends the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RpcFault {
    /// Whether both sides close the connection after it.
    pub fatal: bool,
    /// Where in the RPC layer it arose.
    pub detail: RpcErrorCodeProto,
    /// Class and message.
    pub error: HadoopError,
}

impl RpcFault {
    /// A fault that ends the connection.
    pub fn fatal(detail: RpcErrorCodeProto, error: HadoopError) -> Self {
        Self {
            fatal: true,
            detail,
            error,
        }
    }

    /// What a method threw. Errors of dispatch get their own detail codes, so that newer clients fall back.
    pub fn of(error: HadoopError) -> Self {
        let detail = match error.kind {
            ErrorKind::NoSuchMethod => RpcErrorCodeProto::ErrorNoSuchMethod,
            ErrorKind::NoSuchProtocol => RpcErrorCodeProto::ErrorNoSuchProtocol,
            ErrorKind::VersionMismatch => RpcErrorCodeProto::ErrorRpcVersionMismatch,
            ErrorKind::IpcServer => RpcErrorCodeProto::ErrorRpcServer,
            _ => RpcErrorCodeProto::ErrorApplication,
        };
        Self {
            fatal: false,
            detail,
            error,
        }
    }
}

/// Appends the frame of a successful call. `message`: the encoded response of the method.
pub fn encode_success(out: &mut BytesMut, echo: &CallEcho, message: &[u8]) {
    plain::put_success(out, echo, message);
}

/// What [`encode_success`] must equal.
#[cfg(test)]
pub(super) fn encode_with_generated(out: &mut BytesMut, echo: &CallEcho, message: &[u8]) {
    put_frame(out, &echo.header(RpcStatusProto::Success), Some(message));
}

/// Appends the frame of an error. The caller closes the connection after it if it is fatal.
pub fn encode_fault(out: &mut BytesMut, echo: &CallEcho, fault: &RpcFault) {
    let status = if fault.fatal {
        RpcStatusProto::Fatal
    } else {
        RpcStatusProto::Error
    };
    let header = RpcResponseHeaderProto {
        exception_class_name: Some(fault.error.kind.class().to_owned()),
        error_msg: Some(fault.error.message.clone()),
        error_detail: Some(fault.detail as i32),
        ..echo.header(status)
    };
    put_frame(out, &header, None);
}

/// Appends a server's SASL step.
pub fn encode_sasl_response(out: &mut BytesMut, message: &RpcSaslProto) {
    let header = CallEcho::none(CALL_ID_SASL).header(RpcStatusProto::Success);
    put_frame(out, &header, Some(&message.encode_to_vec()));
}

fn put_frame(out: &mut BytesMut, header: &RpcResponseHeaderProto, message: Option<&[u8]>) {
    let body = message.map_or(0, |message| delimited::delimited_len(message.len()));
    let len = delimited::delimited_len(header.encoded_len()) + body;
    out.reserve(4 + len);
    out.put_i32(len as i32);
    delimited::put(out, header);
    if let Some(message) = message {
        delimited::put_bytes(out, message);
    }
}

/// A response as a client reads it.
#[derive(Clone, PartialEq, Debug)]
pub struct Response {
    /// The call it answers, as the request had it.
    pub call_id: i32,
    /// The whole header, for state ids and echoes.
    pub header: RpcResponseHeaderProto,
    /// The encoded response message, or what went wrong.
    pub outcome: Result<Bytes, RpcFault>,
}

impl Response {
    /// Reads a response frame (without its length). An error means that the connection is of no further use.
    ///
    /// As Java and Go clients do, it insists that nothing is left after the message.
    pub fn decode(mut frame: Bytes) -> Result<Self, WireError> {
        let header: RpcResponseHeaderProto =
            delimited::take_message(&mut frame, MAX_HEADER_LEN, "RPC response header")?;
        let outcome = match RpcStatusProto::try_from(header.status) {
            Ok(RpcStatusProto::Success) => {
                let len = frame.len();
                Ok(delimited::take(&mut frame, len, "RPC response message")?)
            }
            Ok(status) => Err(fault_of(&header, status == RpcStatusProto::Fatal)),
            Err(_) => {
                return Err(WireError::Unknown {
                    what: "RPC response status",
                    value: i64::from(header.status),
                });
            }
        };
        if !frame.is_empty() {
            return Err(WireError::Trailing {
                what: "RPC response",
                left: frame.len(),
            });
        }
        Ok(Self {
            call_id: header.call_id as i32,
            header,
            outcome,
        })
    }
}

fn fault_of(header: &RpcResponseHeaderProto, fatal: bool) -> RpcFault {
    let class = header.exception_class_name();
    let kind = ErrorKind::from_class(class);
    let message = match kind {
        // The kind no longer names the class, so the text must.
        ErrorKind::Other => format!("{class}: {}", header.error_msg()),
        _ => header.error_msg().to_owned(),
    };
    let detail = header
        .error_detail
        .and_then(|code| RpcErrorCodeProto::try_from(code).ok())
        .unwrap_or(RpcErrorCodeProto::ErrorApplication);
    RpcFault {
        fatal,
        detail,
        error: HadoopError::new(kind, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn echo() -> CallEcho {
        CallEcho {
            call_id: 7,
            client_id: Bytes::from_static(b"0123456789abcdef"),
            retry_count: 0,
        }
    }

    fn decoded(out: &BytesMut) -> Result<Response, WireError> {
        assert_eq!(out[..4], ((out.len() - 4) as i32).to_be_bytes());
        Response::decode(Bytes::copy_from_slice(&out[4..]))
    }

    #[test]
    fn an_empty_message_is_still_one_byte() {
        let mut out = BytesMut::new();
        encode_success(&mut out, &echo(), &[]);
        assert_eq!(out.last(), Some(&0));
        assert_eq!(decoded(&out).map(|response| response.outcome), Ok(Ok(Bytes::new())));
    }

    #[test]
    fn negative_call_ids_are_two_s_complement() {
        let mut out = BytesMut::new();
        encode_sasl_response(&mut out, &RpcSaslProto::default());
        assert_eq!(out[5..11], [0x08, 0xdf, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(decoded(&out).map(|response| response.call_id), Ok(CALL_ID_SASL));
    }

    #[test]
    fn faults_keep_class_text_and_detail() {
        for (error, detail) in [
            (HadoopError::io("first\n\tat line"), RpcErrorCodeProto::ErrorApplication),
            (
                HadoopError::new(ErrorKind::NoSuchMethod, "m"),
                RpcErrorCodeProto::ErrorNoSuchMethod,
            ),
            (
                HadoopError::new(ErrorKind::NoSuchProtocol, "Unknown protocol: p"),
                RpcErrorCodeProto::ErrorNoSuchProtocol,
            ),
        ] {
            let fault = RpcFault::of(error);
            let mut out = BytesMut::new();
            encode_fault(&mut out, &echo(), &fault);
            assert_eq!(fault.detail, detail);
            assert_eq!(decoded(&out).map(|response| response.outcome), Ok(Err(fault)));
        }
    }

    #[test]
    fn bytes_after_the_message_break_the_connection() {
        let mut out = BytesMut::new();
        encode_success(&mut out, &echo(), b"x");
        out.put_u8(0);
        assert_eq!(
            Response::decode(out.split_off(4).freeze()),
            Err(WireError::Trailing {
                what: "RPC response",
                left: 1
            })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Response::decode(Bytes::from(bytes));
        }
    }
}
