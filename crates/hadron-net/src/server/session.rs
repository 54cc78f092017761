//! The server's side of one connection's conversation, without I/O: preamble, SASL, context, then requests.
//!
//! ```text
//! Preamble ─NONE──────────────────────▶ Context ─context frame────────────▶ Open ─▶ Closed
//!    └─────SASL─▶ Sasl ─SUCCESS/SIMPLE────┘   └─proxy user─▶ Authorizing ─┘   (from anywhere on a fatal error)
//! ```
//! [`Session::step`] eats bytes, answers control frames itself and returns the next call. After a fatal error its
//! answer is in the output and the session is closed: what follows in the input is never looked at.
//! Invariants: no call leaves the session before the connection context was accepted; the context is accepted once.
//! Source: Hadoop `ipc/Server.java` (`Connection.readAndProcess` and below). Layouts and texts: `hadron_wire::rpc`.

use super::ServerShared;
use super::targets::{Target, Targets};
use super::tokens::{Next, TokenAuthority, TokenNegotiation};
use crate::{CallerContext, UserIdentity};
use bytes::{Bytes, BytesMut};
use hadron_proto::common::RpcSaslProto;
use hadron_proto::common::rpc_response_header_proto::RpcErrorCodeProto;
use hadron_types::HadoopError;
use hadron_wire::rpc::preamble::PREAMBLE_LEN;
use hadron_wire::rpc::sasl::{SaslAnswer, answer_simple};
use hadron_wire::rpc::{
    AuthProtocol, CALL_ID_INVALID, CallEcho, FrameDecoder, FrameKind, Preamble, Rejection, RequestFrame, RpcFault,
    encode_fault, encode_sasl_response,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A call, complete and allowed to run.
pub(crate) struct Request {
    pub(crate) echo: CallEcho,
    pub(crate) caller_context: Option<Arc<CallerContext>>,
    pub(crate) user: Arc<UserIdentity>,
    pub(crate) target: Arc<Target>,
    /// The encoded request message of the method.
    pub(crate) message: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Preamble,
    Sasl,
    Context,
    /// The context is there; whether its real user may act for the other is being looked up.
    Authorizing,
    Open,
    Closed,
}

/// A look-up that the connection must make before the session goes on.
pub(crate) struct Question {
    pub(crate) real: Arc<str>,
    pub(crate) effective: Arc<str>,
    pub(crate) peer: IpAddr,
}

/// A context that waits for the answer to its [`Question`].
struct Candidate {
    identity: UserIdentity,
    echo: CallEcho,
    asked: bool,
}

/// State of one connection's conversation.
pub(crate) struct Session {
    phase: Phase,
    peer: IpAddr,
    frames: FrameDecoder,
    user: Option<Arc<UserIdentity>>,
    targets: Targets,
    candidate: Option<Candidate>,
    /// Whether the client was told the offered SASL methods.
    offered_methods: bool,
    tokens: TokenNegotiation,
}

/// An answer that ends the connection.
struct Fatal {
    echo: CallEcho,
    fault: RpcFault,
}

impl From<Rejection> for Fatal {
    fn from(rejection: Rejection) -> Self {
        Self {
            echo: rejection.echo,
            fault: rejection.fault,
        }
    }
}

impl Session {
    pub(crate) fn new(peer: IpAddr, max_frame_len: usize) -> Self {
        Self {
            phase: Phase::Preamble,
            peer,
            frames: FrameDecoder::new(max_frame_len),
            user: None,
            targets: Targets::default(),
            candidate: None,
            offered_methods: false,
            tokens: TokenNegotiation::default(),
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

    /// Whether bytes wait that are no call yet.
    pub(crate) fn has_more(&self) -> bool {
        !self.frames.buffered().is_empty()
    }

    /// Takes in received bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// Goes on until the next call; `None`: more bytes are needed, or the session is closed.
    pub(crate) fn step(&mut self, server: &ServerShared, output: &mut BytesMut) -> Option<Request> {
        loop {
            match self.phase {
                Phase::Closed | Phase::Authorizing => return None,
                Phase::Preamble => self.read_preamble(server, output)?,
                _ => {
                    let frame = match self.frames.next_frame() {
                        Ok(frame) => frame?,
                        Err(error) => {
                            tracing::warn!(peer = %self.peer, %error, "connection dropped");
                            self.close(server);
                            return None;
                        }
                    };
                    let read = RequestFrame::decode(frame).map_err(Fatal::from);
                    match read.and_then(|frame| self.read_frame(server, frame, output)) {
                        Ok(None) => {}
                        Ok(Some(request)) => return Some(request),
                        Err(fatal) => {
                            tracing::info!(peer = %self.peer, error = %fatal.fault.error, "connection refused");
                            encode_fault(output, &fatal.echo, &fatal.fault);
                            self.close(server);
                        }
                    }
                }
            }
        }
    }

    fn close(&mut self, server: &ServerShared) {
        self.phase = Phase::Closed;
        server.metrics.malformed_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads the first seven bytes; `None` when they are not there yet.
    fn read_preamble(&mut self, server: &ServerShared, output: &mut BytesMut) -> Option<()> {
        match Preamble::decode(self.frames.buffered()) {
            Ok(preamble) => {
                self.phase = match preamble?.auth {
                    AuthProtocol::None => Phase::Context,
                    AuthProtocol::Sasl => Phase::Sasl,
                };
                self.frames.skip(PREAMBLE_LEN);
            }
            Err(refusal) => {
                tracing::info!(peer = %self.peer, %refusal, "connection refused");
                output.extend_from_slice(&refusal.reply());
                self.close(server);
            }
        }
        Some(())
    }

    /// `Ok(None)`: a control frame, done with.
    fn read_frame(
        &mut self,
        server: &ServerShared,
        frame: RequestFrame,
        output: &mut BytesMut,
    ) -> Result<Option<Request>, Fatal> {
        match frame.kind {
            FrameKind::Call => self.read_call(server, frame).map(Some),
            FrameKind::Context => self.read_context(server, &frame).map(|()| None),
            FrameKind::Sasl => self.read_sasl(server, &frame, output).map(|()| None),
            FrameKind::Ping => Ok(None),
        }
    }

    fn read_call(&mut self, server: &ServerShared, frame: RequestFrame) -> Result<Request, Fatal> {
        let Some(user) = self.user.clone().filter(|_| self.phase == Phase::Open) else {
            return Err(frame.reject("Connection context not established").into());
        };
        let (target, message) = self.targets.resolve(server, &frame)?;
        let echo = CallEcho::of(&frame.header);
        let context = frame.header.caller_context.map(|context| CallerContext {
            context: context.context,
            signature: context.signature.unwrap_or_default(),
        });
        Ok(Request {
            echo,
            caller_context: context.map(Arc::new),
            user,
            target,
            message,
        })
    }

    fn read_context(&mut self, server: &ServerShared, frame: &RequestFrame) -> Result<(), Fatal> {
        match self.phase {
            Phase::Sasl => return Err(frame.reject("Connection header sent during SASL negotiation").into()),
            Phase::Open => return Err(frame.reject("Connection context already processed").into()),
            _ => {}
        }
        if self.user.is_some() {
            // A token said who calls; names in the context change nothing.
            frame.context()?;
            server.metrics.authorization_successes.fetch_add(1, Ordering::Relaxed);
            self.phase = Phase::Open;
            return Ok(());
        }
        let info = frame.context()?.user_info.unwrap_or_default();
        let effective = info.effective_user.filter(|name| !name.is_empty());
        let real = info.real_user.filter(|name| !name.is_empty());
        // A context without any name is legal; the caller then is nobody in particular.
        let name = effective.or_else(|| real.clone()).unwrap_or_default();
        let mut identity = UserIdentity::simple(&name);
        if let Some(real) = real.filter(|real| *real != name) {
            let real = Arc::<str>::from(crate::short_name(&real));
            let proxies = &server.options.proxy_users;
            let allowed = proxies.authorize_now(&real, &identity.user, self.peer);
            identity.real_user = Some(real);
            let echo = CallEcho::of(&frame.header);
            match allowed {
                None => {
                    self.phase = Phase::Authorizing;
                    self.candidate = Some(Candidate {
                        identity,
                        echo,
                        asked: false,
                    });
                    return Ok(());
                }
                Some(Err(error)) => return Err(unauthorized(server, echo, error)),
                Some(Ok(())) => {}
            }
        }
        self.open(server, identity);
        Ok(())
    }

    fn open(&mut self, server: &ServerShared, identity: UserIdentity) {
        server.metrics.authorization_successes.fetch_add(1, Ordering::Relaxed);
        self.user = Some(Arc::new(identity));
        self.phase = Phase::Open;
    }

    /// What must be looked up, once.
    pub(crate) fn take_question(&mut self) -> Option<Question> {
        let candidate = self.candidate.as_mut().filter(|candidate| !candidate.asked)?;
        candidate.asked = true;
        Some(Question {
            real: candidate.identity.real_user.clone()?,
            effective: Arc::clone(&candidate.identity.user),
            peer: self.peer,
        })
    }

    /// Goes on with the answer to the question taken.
    pub(crate) fn answer_question(
        &mut self,
        server: &ServerShared,
        answer: Result<(), HadoopError>,
        output: &mut BytesMut,
    ) {
        let Some(candidate) = self.candidate.take() else {
            return;
        };
        match answer {
            Ok(()) => self.open(server, candidate.identity),
            Err(error) => {
                let fatal = unauthorized(server, candidate.echo, error);
                tracing::info!(peer = %self.peer, error = %fatal.fault.error, "connection refused");
                encode_fault(output, &fatal.echo, &fatal.fault);
                self.close(server);
            }
        }
    }

    fn read_sasl(&mut self, server: &ServerShared, frame: &RequestFrame, output: &mut BytesMut) -> Result<(), Fatal> {
        if self.phase != Phase::Sasl {
            return Err(frame.reject("SASL protocol not requested by client").into());
        }
        let step = frame.sasl()?;
        let authority = server.options.token_authority.as_deref();
        if let Some(authority) = authority.filter(|authority| authority.is_enabled() || self.tokens.has_begun()) {
            return self.read_token_step(server, authority, &step, output);
        }
        match answer_simple(&step, self.offered_methods) {
            SaslAnswer::Done(message) => {
                encode_sasl_response(output, &message);
                self.phase = Phase::Context;
            }
            SaslAnswer::DoneSilently => self.phase = Phase::Context,
            SaslAnswer::Continue(message) => {
                encode_sasl_response(output, &message);
                self.offered_methods = true;
            }
            SaslAnswer::Refuse(fault) => {
                let echo = CallEcho::none(CALL_ID_INVALID);
                return Err(Fatal { echo, fault });
            }
        }
        Ok(())
    }
}

impl Session {
    fn read_token_step(
        &mut self,
        server: &ServerShared,
        authority: &dyn TokenAuthority,
        step: &RpcSaslProto,
        output: &mut BytesMut,
    ) -> Result<(), Fatal> {
        match self.tokens.step(authority, step) {
            Next::Send(message) => encode_sasl_response(output, &message),
            Next::Simple => self.phase = Phase::Context,
            Next::Done(message, identity) => {
                encode_sasl_response(output, &message);
                self.user = Some(Arc::new(identity));
                self.phase = Phase::Context;
            }
            Next::Refuse(fault) => {
                server.metrics.authorization_failures.fetch_add(1, Ordering::Relaxed);
                let echo = CallEcho::none(CALL_ID_INVALID);
                return Err(Fatal { echo, fault });
            }
        }
        Ok(())
    }
}

fn unauthorized(server: &ServerShared, echo: CallEcho, error: HadoopError) -> Fatal {
    server.metrics.authorization_failures.fetch_add(1, Ordering::Relaxed);
    Fatal {
        echo,
        fault: RpcFault::fatal(RpcErrorCodeProto::FatalUnauthorized, error),
    }
}
