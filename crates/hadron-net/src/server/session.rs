//! The server's side of one connection's conversation, without I/O: preamble, SASL, context, then requests.
//!
//! ```text
//! Preamble ─NONE──────────────────────▶ Context ─context frame─▶ Open ─▶ Closed
//!    └─────SASL─▶ Sasl ─SUCCESS/SIMPLE────┘                       (from anywhere on a fatal error)
//! ```
//! [`Session::step`] eats bytes, answers control frames itself and returns the next call. After a fatal error its
//! answer is in the output and the session is closed: what follows in the input is never looked at.
//! Invariants: no call leaves the session before the connection context was accepted; the context is accepted once.
//! Source: Hadoop `ipc/Server.java` (`Connection.readAndProcess` and below).

use super::ServerShared;
use super::respond::{Fatal, append_fatal, append_sasl};
use crate::{CallerContext, UserIdentity};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hadron_proto::common::rpc_request_header_proto::OperationProto;
use hadron_proto::common::rpc_response_header_proto::RpcErrorCodeProto;
use hadron_proto::common::rpc_sasl_proto::SaslState;
use hadron_proto::common::{
    IpcConnectionContextProto, RequestHeaderProto, RpcKindProto, RpcRequestHeaderProto, RpcSaslProto,
};
use hadron_proto::{Required, decode_checked};
use hadron_types::{ErrorKind, HadoopError};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const MAGIC: &[u8; 4] = b"hrpc";
const IPC_VERSION: u8 = 9;
/// Magic, version, service class, authentication.
const PREAMBLE_LEN: usize = 7;
const AUTH_NONE: u8 = 0;
const AUTH_SASL: u8 = 0xdf;

const CALL_ID_CONTEXT: i32 = -3;
const CALL_ID_PING: i32 = -4;
const CALL_ID_SASL: i32 = -33;

/// What a browser that comes to the wrong door is told.
const HTTP_ANSWER: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-type: text/plain\r\nConnection: close\r\n\r\n\
    This port speaks Hadoop IPC, not HTTP. The web interface of this daemon has a port of its own.\r\n";

/// A call, complete and allowed to run.
pub(crate) struct Request {
    pub(crate) call_id: i32,
    pub(crate) client_id: Bytes,
    pub(crate) retry_count: i32,
    pub(crate) caller_context: Option<Arc<CallerContext>>,
    pub(crate) user: Arc<UserIdentity>,
    pub(crate) method: String,
    pub(crate) protocol: String,
    pub(crate) version: u64,
    pub(crate) body: Bytes,
}

/// Outcome of [`Session::step`].
pub(crate) enum Step {
    /// The input holds no complete frame, or the session is closed.
    NeedsMore,
    /// A call to run.
    Call(Box<Request>),
    /// A call that cannot run, and why; the connection stays.
    Refused(CallNumbers, HadoopError),
}

/// The numbers a response must repeat.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallNumbers {
    pub(crate) call_id: i32,
    pub(crate) client_id: Bytes,
    pub(crate) retry_count: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Preamble,
    Sasl,
    Context,
    Open,
    Closed,
}

/// State of one connection's conversation.
pub(crate) struct Session {
    phase: Phase,
    peer: IpAddr,
    max_frame_len: usize,
    user: Option<Arc<UserIdentity>>,
}

impl Session {
    pub(crate) fn new(peer: IpAddr, max_frame_len: usize) -> Self {
        Self {
            phase: Phase::Preamble,
            peer,
            max_frame_len,
            user: None,
        }
    }

    /// Whether calls are taken.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether nothing more will be read.
    pub(crate) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Goes on until the next call, a refusal, or the end of the complete frames in `input`.
    pub(crate) fn step(&mut self, server: &ServerShared, input: &mut BytesMut, output: &mut BytesMut) -> Step {
        loop {
            if self.phase == Phase::Closed {
                return Step::NeedsMore;
            }
            if self.phase == Phase::Preamble {
                if !self.read_preamble(server, input, output) {
                    return Step::NeedsMore;
                }
                continue;
            }
            let frame = match split_frame(input, self.max_frame_len) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Step::NeedsMore,
                Err(len) => {
                    tracing::warn!(peer = %self.peer, len, limit = self.max_frame_len, "frame length out of bounds");
                    self.close(server);
                    return Step::NeedsMore;
                }
            };
            let no_call = no_call();
            let mut numbers = no_call.clone();
            match self.read_frame(server, frame, output, &mut numbers) {
                Ok(None) => {}
                Ok(Some(Ok(request))) => return Step::Call(request),
                Ok(Some(Err(error))) => return Step::Refused(numbers, error),
                Err(fatal) => {
                    tracing::info!(peer = %self.peer, error = %fatal.error, "connection refused");
                    let of_sasl = fatal.error.kind == ErrorKind::Sasl;
                    append_fatal(output, if of_sasl { &no_call } else { &numbers }, &fatal);
                    self.close(server);
                    return Step::NeedsMore;
                }
            }
        }
    }

    fn close(&mut self, server: &ServerShared) {
        self.phase = Phase::Closed;
        server.metrics.malformed_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads the first seven bytes. Returns whether the session went on.
    fn read_preamble(&mut self, server: &ServerShared, input: &mut BytesMut, output: &mut BytesMut) -> bool {
        if input.len() >= 4 && input[..4] == *b"GET " {
            output.extend_from_slice(HTTP_ANSWER);
            self.close(server);
            return true;
        }
        if input.len() < PREAMBLE_LEN {
            return false;
        }
        let (magic, version, auth) = (&input[..4], input[4], input[6]);
        if magic != MAGIC || version != IPC_VERSION {
            append_version_mismatch(output, version);
            self.close(server);
            return true;
        }
        self.phase = match auth {
            AUTH_NONE => Phase::Context,
            AUTH_SASL => Phase::Sasl,
            _ => {
                let error = HadoopError::new(ErrorKind::Ipc, format!("Unknown auth protocol:{}", auth as i8));
                append_fatal(
                    output,
                    &no_call(),
                    &Fatal::new(RpcErrorCodeProto::FatalUnauthorized, error),
                );
                self.close(server);
                return true;
            }
        };
        input.advance(PREAMBLE_LEN);
        true
    }

    /// `Ok(None)`: a control frame, done with.
    fn read_frame(
        &mut self,
        server: &ServerShared,
        mut frame: Bytes,
        output: &mut BytesMut,
        numbers: &mut CallNumbers,
    ) -> Result<Option<Result<Box<Request>, HadoopError>>, Fatal> {
        let header: RpcRequestHeaderProto = read_fatal(&mut frame, "RpcRequestHeaderProto")?;
        *numbers = CallNumbers {
            call_id: header.call_id,
            client_id: header.client_id.clone(),
            retry_count: header.retry_count(),
        };
        check_header(&header)?;
        if header.call_id >= 0 {
            return self.read_call(header, frame).map(Some);
        }
        match header.call_id {
            CALL_ID_CONTEXT => self.read_context(server, frame)?,
            CALL_ID_SASL => self.read_sasl(frame, output, numbers)?,
            CALL_ID_PING => {}
            other => return Err(Fatal::header(format!("Unknown out of band call #{other}"))),
        }
        Ok(None)
    }

    fn read_call(
        &mut self,
        header: RpcRequestHeaderProto,
        mut frame: Bytes,
    ) -> Result<Result<Box<Request>, HadoopError>, Fatal> {
        let Some(user) = self.user.clone().filter(|_| self.phase == Phase::Open) else {
            return Err(Fatal::header("Connection context not established"));
        };
        let parts = read_delimited::<RequestHeaderProto>(&mut frame)
            .and_then(|target| Ok((target, take_delimited(&mut frame)?)));
        Ok(parts
            .map(|(target, body)| {
                Box::new(Request {
                    call_id: header.call_id,
                    retry_count: header.retry_count(),
                    client_id: header.client_id,
                    caller_context: header.caller_context.map(|context| {
                        Arc::new(CallerContext {
                            context: context.context,
                            signature: context.signature.unwrap_or_default(),
                        })
                    }),
                    user,
                    method: target.method_name,
                    protocol: target.declaring_class_protocol_name,
                    version: target.client_protocol_version,
                    body,
                })
            })
            .map_err(|reason| HadoopError::new(ErrorKind::InvalidProtocolBuffer, reason)))
    }

    fn read_context(&mut self, server: &ServerShared, mut frame: Bytes) -> Result<(), Fatal> {
        match self.phase {
            Phase::Sasl => return Err(Fatal::header("Connection header sent during SASL negotiation")),
            Phase::Open => return Err(Fatal::header("Connection context already processed")),
            _ => {}
        }
        let context: IpcConnectionContextProto = read_fatal(&mut frame, "IpcConnectionContextProto")?;
        let info = context.user_info.unwrap_or_default();
        let effective = info.effective_user.filter(|name| !name.is_empty());
        let real = info.real_user.filter(|name| !name.is_empty());
        // A context without any name is legal; Hadoop then has no user and refuses what needs one.
        let name = effective.or_else(|| real.clone()).unwrap_or_default();
        let mut identity = UserIdentity::simple(&name);
        if let Some(real) = real.filter(|real| *real != name) {
            let real = Arc::<str>::from(crate::short_name(&real));
            let authorized = server.options.proxy_users.authorize(&real, &identity.user, self.peer);
            authorized.map_err(|error| {
                server.metrics.authorization_failures.fetch_add(1, Ordering::Relaxed);
                Fatal::new(RpcErrorCodeProto::FatalUnauthorized, error)
            })?;
            identity.real_user = Some(real);
        }
        server.metrics.authorization_successes.fetch_add(1, Ordering::Relaxed);
        self.user = Some(Arc::new(identity));
        self.phase = Phase::Open;
        Ok(())
    }

    /// Without security every way through SASL ends in SIMPLE: NEGOTIATE is answered with SUCCESS, INITIATE of SIMPLE
    /// switches silently, any other INITIATE is told so by the same SUCCESS.
    fn read_sasl(&mut self, mut frame: Bytes, output: &mut BytesMut, numbers: &CallNumbers) -> Result<(), Fatal> {
        if self.phase != Phase::Sasl {
            return Err(Fatal::header("SASL protocol not requested by client"));
        }
        let message: RpcSaslProto = read_fatal(&mut frame, "RpcSaslProto")?;
        let is_answered = match message.state() {
            SaslState::Negotiate => true,
            SaslState::Initiate if message.auths.len() == 1 => message.auths[0].method != "SIMPLE",
            SaslState::Initiate => return Err(Fatal::unauthorized("Client mechanism is malformed")),
            state => {
                let state = state.as_str_name();
                return Err(Fatal::unauthorized(format!("Client sent unsupported state {state}")));
            }
        };
        if is_answered {
            let success = RpcSaslProto {
                version: Some(0),
                state: SaslState::Success as i32,
                ..RpcSaslProto::default()
            };
            append_sasl(output, numbers, &success);
        }
        self.phase = Phase::Context;
        Ok(())
    }
}

fn no_call() -> CallNumbers {
    CallNumbers {
        call_id: -1,
        client_id: Bytes::new(),
        retry_count: -1,
    }
}

/// Checks what must hold of every request header.
fn check_header(header: &RpcRequestHeaderProto) -> Result<(), Fatal> {
    match header.rpc_op {
        None => return Err(Fatal::header(" IPC Server: No rpc op in rpcRequestHeader")),
        Some(op) if op != OperationProto::RpcFinalPacket as i32 => {
            let name = header.rpc_op().as_str_name();
            return Err(Fatal::header(format!(
                "IPC Server does not implement rpc header operation{name}"
            )));
        }
        Some(_) => {}
    }
    match header.rpc_kind {
        None => Err(Fatal::header(" IPC Server: No rpc kind in rpcRequestHeader")),
        Some(kind) if header.call_id >= 0 && kind != RpcKindProto::RpcProtocolBuffer as i32 => {
            let name = header.rpc_kind().as_str_name();
            Err(Fatal::header(format!("Unknown rpc kind in rpc header{name}")))
        }
        Some(_) => Ok(()),
    }
}

/// Takes one frame (without its length) off `input`; `Ok(None)` when it is not complete, `Err` the length out of bounds.
fn split_frame(input: &mut BytesMut, max_len: usize) -> Result<Option<Bytes>, i32> {
    let Some(prefix) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let signed = i32::from_be_bytes(*prefix);
    let len = usize::try_from(signed)
        .ok()
        .filter(|len| *len <= max_len)
        .ok_or(signed)?;
    if input.len() < 4 + len {
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(len).freeze()))
}

/// Takes a length-prefixed message's bytes off `frame`.
fn take_delimited(frame: &mut Bytes) -> Result<Bytes, String> {
    let len = prost::encoding::decode_varint(frame).map_err(|error| error.to_string())?;
    match usize::try_from(len) {
        Ok(len) if len <= frame.len() => Ok(frame.split_to(len)),
        _ => Err("message is longer than its frame".to_owned()),
    }
}

fn read_delimited<M: prost::Message + Default + Required>(frame: &mut Bytes) -> Result<M, String> {
    decode_checked(take_delimited(frame)?).map_err(|error| error.to_string())
}

fn read_fatal<M: prost::Message + Default + Required>(frame: &mut Bytes, what: &str) -> Result<M, Fatal> {
    read_delimited(frame).map_err(|reason| {
        let error = HadoopError::new(ErrorKind::IpcServer, format!("Error decoding {what}: {reason}"));
        Fatal::new(RpcErrorCodeProto::FatalDeserializingRequest, error)
    })
}

/// Answers a peer of another IPC version in the layout that it understands.
fn append_version_mismatch(output: &mut BytesMut, version: u8) {
    let class = ErrorKind::VersionMismatch.class();
    let message = format!("Server IPC version {IPC_VERSION} cannot communicate with client version {version}");
    let put_string = |output: &mut BytesMut, text: &str| {
        output.put_u32(text.len() as u32);
        output.put_slice(text.as_bytes());
    };
    match version {
        IPC_VERSION.. => {
            let error = HadoopError::new(ErrorKind::VersionMismatch, message);
            append_fatal(
                output,
                &no_call(),
                &Fatal::new(RpcErrorCodeProto::FatalVersionMismatch, error),
            );
        }
        3.. => {
            output.put_i32(-1);
            output.put_i32(-1);
            put_string(output, class);
            put_string(output, &message);
        }
        2 => {
            output.put_i32(0);
            output.put_u8(1);
            put_string(output, class);
            put_string(output, &message);
        }
        _ => {}
    }
}
