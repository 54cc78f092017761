//! Opening connections with tokens: what a server must know to check them, and one connection's negotiation.
//!
//! The mechanism is `hadron_wire::rpc::digest_md5`. What it does not do: know what tokens mean ([`TokenAuthority`] does).

use crate::UserIdentity;
use bytes::Bytes;
use hadron_proto::common::RpcSaslProto;
use hadron_proto::common::rpc_response_header_proto::RpcErrorCodeProto;
use hadron_types::HadoopResult;
use hadron_wire::rpc::RpcFault;
use hadron_wire::rpc::digest_md5::DigestServer;
use hadron_wire::rpc::sasl::{self, TokenStep};

/// Random bytes in a challenge.
pub const NONCE_LEN: usize = 32;

/// Who knows the passwords of tokens. Asked while a connection is set up: must not block.
pub trait TokenAuthority: Send + Sync {
    /// Whether tokens are offered now; if not, the server has SIMPLE only.
    fn is_enabled(&self) -> bool;
    /// Name of the user a token's identifier stands for, and the token's password.
    ///
    /// Errors: the token is malformed, expired or of an unknown key; the peer is told.
    fn look_up(&self, identifier: &[u8]) -> HadoopResult<(String, Bytes)>;
    /// Random bytes for a challenge.
    fn nonce(&self) -> [u8; NONCE_LEN];
}

/// One connection's negotiation.
#[derive(Debug, Default)]
pub(crate) struct TokenNegotiation {
    server: Option<DigestServer>,
}

/// What follows a step.
pub(crate) enum Next {
    /// Send it and wait for another step.
    Send(RpcSaslProto),
    /// Send nothing; the connection context comes next.
    Simple,
    /// Send it; the caller is known.
    Done(RpcSaslProto, UserIdentity),
    /// Send it and close.
    Refuse(RpcFault),
}

impl TokenNegotiation {
    /// Whether this connection was offered tokens.
    pub(crate) fn has_begun(&self) -> bool {
        self.server.is_some()
    }

    pub(crate) fn step(&mut self, authority: &dyn TokenAuthority, step: &RpcSaslProto) -> Next {
        match sasl::read_token_step(step, self.has_begun()) {
            TokenStep::Negotiate => Next::Send(sasl::offer_tokens(self.challenge(authority))),
            TokenStep::WantsChallenge => Next::Send(sasl::challenge(self.challenge(authority))),
            TokenStep::Simple => Next::Simple,
            TokenStep::Answer(answer) => self.finish(authority, &answer),
            TokenStep::Refuse(fault) => Next::Refuse(fault),
        }
    }

    fn challenge(&mut self, authority: &dyn TokenAuthority) -> Bytes {
        self.server.insert(DigestServer::new(&authority.nonce())).challenge()
    }

    fn finish(&mut self, authority: &dyn TokenAuthority, answer: &[u8]) -> Next {
        // A challenge is good for one answer.
        let Some(server) = self.server.take() else {
            return Next::Refuse(sasl::malformed_fault("Client answers no challenge".to_owned()));
        };
        let read = server
            .read(answer)
            .and_then(|answer| Ok((answer.identifier()?, answer)));
        let (identifier, answer) = match read {
            Ok(read) => read,
            Err(error) => return Next::Refuse(sasl::malformed_fault(error.to_string())),
        };
        let (user, password) = match authority.look_up(&identifier) {
            Ok(found) => found,
            Err(error) => return Next::Refuse(RpcFault::fatal(RpcErrorCodeProto::FatalUnauthorized, error)),
        };
        let Some(proof) = answer.verify(&password) else {
            let text = "DIGEST-MD5: digest response format violation. Mismatched response.";
            return Next::Refuse(sasl::malformed_fault(text.to_owned()));
        };
        let identity = UserIdentity {
            token: Some(identifier),
            ..UserIdentity::simple(&user)
        };
        Next::Done(sasl::success(proof), identity)
    }
}
