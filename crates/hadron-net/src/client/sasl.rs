//! Opening a connection with a token: the client's side of SASL, before the connection carries calls.
//!
//! A server that knows no tokens sends us on to SIMPLE, and we go. Nothing is read beyond the last SASL answer: the
//! server says nothing before our context.

use super::RpcError;
use bytes::BytesMut;
use hadron_proto::common::RpcSaslProto;
use hadron_proto::common::TokenProto;
use hadron_proto::common::rpc_sasl_proto::{SaslAuth, SaslState};
use hadron_proto::decode_checked;
use hadron_wire::rpc::digest_md5::{DIGEST_MD5, DigestClient};
use hadron_wire::rpc::sasl::{SIMPLE, TOKEN, initiate, negotiate};
use hadron_wire::rpc::{AuthProtocol, FrameDecoder, Preamble, Response, encode_sasl_request};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest SASL answer.
const MAX_ANSWER: usize = 64 << 10;

/// How a negotiation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opened {
    /// The server knows us by our token.
    WithToken,
    /// The server wants the names of the connection context.
    Simple,
}

/// Sends the preamble and negotiates. The connection context comes next.
pub(super) async fn open(stream: &mut TcpStream, addr: SocketAddr, token: &TokenProto) -> Result<Opened, RpcError> {
    let mut steps = Steps {
        stream,
        addr,
        input: FrameDecoder::new(MAX_ANSWER),
    };
    let preamble = Preamble {
        service_class: 0,
        auth: AuthProtocol::Sasl,
    };
    let offer = steps.exchange(&preamble.encode(), &negotiate()).await?;
    if offer.state() == SaslState::Success {
        return Ok(Opened::Simple);
    }
    let of = |method: &str| offer.auths.iter().find(|auth| auth.method == method);
    let with_token = of(TOKEN).filter(|auth| auth.mechanism == DIGEST_MD5);
    match (with_token, of(SIMPLE)) {
        (Some(offered), _) => steps.prove(offered, token).await.map(|()| Opened::WithToken),
        (None, Some(offered)) => {
            steps.send(&[], &initiate(offered, Default::default())).await?;
            Ok(Opened::Simple)
        }
        (None, None) => Err(steps.malformed("server offers neither TOKEN nor SIMPLE")),
    }
}

struct Steps<'a> {
    stream: &'a mut TcpStream,
    addr: SocketAddr,
    input: FrameDecoder,
}

impl Steps<'_> {
    async fn prove(&mut self, offered: &SaslAuth, token: &TokenProto) -> Result<(), RpcError> {
        let mut challenge = offered.challenge.clone().unwrap_or_default();
        let mut begun = false;
        if challenge.is_empty() {
            let answer = self.exchange(&[], &initiate(offered, Default::default())).await?;
            challenge = answer.token.unwrap_or_default();
            begun = true;
        }
        let mut cnonce = [0; 32];
        let (low, high) = cnonce.split_at_mut(16);
        low.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        high.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        let client = DigestClient::new(&challenge, &token.identifier, &token.password, &cnonce);
        let client = client.map_err(|error| self.malformed(error))?;
        let step = match begun {
            false => initiate(offered, client.answer()),
            true => RpcSaslProto {
                state: SaslState::Response as i32,
                token: Some(client.answer()),
                ..Default::default()
            },
        };
        let last = self.exchange(&[], &step).await?;
        match last.state() {
            SaslState::Success if client.verify(&last.token.unwrap_or_default()) => Ok(()),
            SaslState::Success => Err(self.malformed("server does not know the token's password")),
            state => Err(self.malformed(format!("unexpected SASL state {}", state.as_str_name()))),
        }
    }

    async fn send(&mut self, before: &[u8], step: &RpcSaslProto) -> Result<(), RpcError> {
        let mut output = BytesMut::from(before);
        encode_sasl_request(&mut output, step);
        self.stream.write_all(&output).await.map_err(|error| self.io(error))
    }

    async fn exchange(&mut self, before: &[u8], step: &RpcSaslProto) -> Result<RpcSaslProto, RpcError> {
        self.send(before, step).await?;
        loop {
            let frame = self.input.next_frame().map_err(|error| self.malformed(error))?;
            if let Some(frame) = frame {
                let response = Response::decode(frame).map_err(|error| self.malformed(error))?;
                let body = response.outcome.map_err(|fault| RpcError::Refused {
                    addr: self.addr,
                    error: fault.error,
                })?;
                return decode_checked(body).map_err(|error| self.malformed(error));
            }
            let read = self.stream.read_buf(self.input.read_buffer()).await;
            if read.map_err(|error| self.io(error))? == 0 {
                return Err(RpcError::Closed { addr: self.addr });
            }
        }
    }

    fn malformed(&self, reason: impl ToString) -> RpcError {
        RpcError::Malformed {
            addr: self.addr,
            reason: reason.to_string(),
        }
    }

    fn io(&self, error: io::Error) -> RpcError {
        RpcError::Io {
            addr: self.addr,
            error: Arc::new(error),
        }
    }
}
