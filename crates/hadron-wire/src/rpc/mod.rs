//! Hadoop RPC version 9: what travels on the ports of NameNodes and on the IPC ports of DataNodes.
//!
//! A connection is [`preamble`], then frames ([`FrameDecoder`]): requests ([`RequestFrame`]) one way, responses
//! ([`Response`]) the other. Byte maps: docs/formats/rpc.md.

mod base64;
pub mod digest_md5;
mod frame;
mod plain;
pub mod preamble;
mod request;
mod response;
pub mod sasl;

pub use frame::{DEFAULT_MAX_REQUEST_LEN, DEFAULT_MAX_RESPONSE_LEN, FrameDecoder};
pub use preamble::{AuthProtocol, Preamble};
pub use request::{
    Call, FrameKind, MAX_HEADER_LEN, Rejection, RequestFrame, encode_call, encode_context, encode_ping,
    encode_sasl_request,
};
pub use response::{CallEcho, Response, RpcFault, encode_fault, encode_sasl_response, encode_success};

/// The RPC version this crate speaks.
pub const RPC_VERSION: u8 = 9;
/// Call id of a response to something that has none.
pub const CALL_ID_INVALID: i32 = -1;
/// Call id of the frame that names user and protocol.
pub const CALL_ID_CONTEXT: i32 = -3;
/// Call id of a ping.
pub const CALL_ID_PING: i32 = -4;
/// Call id of SASL frames, both ways.
pub const CALL_ID_SASL: i32 = -33;
/// Retry count of frames that are no calls.
pub const RETRY_COUNT_NONE: i32 = -1;
