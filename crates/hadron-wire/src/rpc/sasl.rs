//! Negotiation on a cluster without Kerberos: a server's answers and a client's steps.
//!
//! Java clients open with SASL whenever their user holds any token, also on insecure clusters. A server whose only method
//! is SIMPLE answers NEGOTIATE with SUCCESS, which sends all known clients on to the connection context; one that knows
//! tokens offers TOKEN (with [`super::digest_md5`]'s challenge, to save a round trip) and SIMPLE.

use super::digest_md5::{DEFAULT_REALM, DIGEST_MD5};
use super::response::RpcFault;
use bytes::Bytes;
use hadron_proto::common::RpcSaslProto;
use hadron_proto::common::rpc_response_header_proto::RpcErrorCodeProto;
use hadron_proto::common::rpc_sasl_proto::{SaslAuth, SaslState};
use hadron_types::{ErrorKind, HadoopError};

/// What a server does with a client's step.
#[derive(Clone, PartialEq, Debug)]
pub enum SaslAnswer {
    /// Send it; negotiation is over and the connection context comes next.
    Done(RpcSaslProto),
    /// Send nothing; the client chose SIMPLE and the connection context comes next.
    DoneSilently,
    /// Send it and wait for another step.
    Continue(RpcSaslProto),
    /// Send it and close.
    Refuse(RpcFault),
}

/// The message that opens negotiation.
pub fn negotiate() -> RpcSaslProto {
    message(SaslState::Negotiate)
}

/// Answers a client's step. `asked_before`: whether this connection was told the offered methods already.
pub fn answer_simple(step: &RpcSaslProto, asked_before: bool) -> SaslAnswer {
    match SaslState::try_from(step.state) {
        Ok(SaslState::Negotiate) => SaslAnswer::Done(message(SaslState::Success)),
        Ok(SaslState::Initiate) => match step.auths.as_slice() {
            [auth] if auth.method == "SIMPLE" => SaslAnswer::DoneSilently,
            [_] if !asked_before => SaslAnswer::Continue(RpcSaslProto {
                auths: vec![SaslAuth {
                    method: "SIMPLE".to_owned(),
                    ..Default::default()
                }],
                ..message(SaslState::Negotiate)
            }),
            [auth] => refuse(
                RpcErrorCodeProto::FatalUnauthorized,
                ErrorKind::AccessControl,
                format!("{} authentication is not enabled.  Available:[SIMPLE]", auth.method),
            ),
            _ => malformed("Client mechanism is malformed".to_owned()),
        },
        Ok(SaslState::Wrap) => refuse(
            RpcErrorCodeProto::FatalInvalidRpcHeader,
            ErrorKind::Sasl,
            "Server is not wrapping data".to_owned(),
        ),
        Ok(state) => malformed(format!("Client sent unsupported state {}", state.as_str_name())),
        Err(_) => malformed(format!("Client sent unsupported state {}", step.state)),
    }
}

/// The method of tokens.
pub const TOKEN: &str = "TOKEN";
/// The method without proof.
pub const SIMPLE: &str = "SIMPLE";

/// A step of a client towards a server that knows tokens.
#[derive(Clone, PartialEq, Debug)]
pub enum TokenStep {
    /// It asks for the methods: send [`offer_tokens`].
    Negotiate,
    /// It chose SIMPLE: send nothing; the connection context comes next.
    Simple,
    /// It chose TOKEN and wants the challenge: send [`challenge`].
    WantsChallenge,
    /// It answers the challenge.
    Answer(Bytes),
    /// Send it and close.
    Refuse(RpcFault),
}

/// Reads a client's step. `challenged`: whether this connection was sent a challenge already.
pub fn read_token_step(step: &RpcSaslProto, challenged: bool) -> TokenStep {
    let token = || step.token.clone().unwrap_or_default();
    match SaslState::try_from(step.state) {
        Ok(SaslState::Negotiate) => TokenStep::Negotiate,
        Ok(SaslState::Initiate) => match step.auths.as_slice() {
            [auth] if auth.method == SIMPLE => TokenStep::Simple,
            [auth] if auth.method == TOKEN && auth.mechanism == DIGEST_MD5 => match token() {
                answer if challenged && !answer.is_empty() => TokenStep::Answer(answer),
                _ => TokenStep::WantsChallenge,
            },
            [_] if !challenged => TokenStep::Negotiate,
            [auth] => TokenStep::Refuse(fault(
                RpcErrorCodeProto::FatalUnauthorized,
                ErrorKind::AccessControl,
                format!(
                    "{} authentication is not enabled.  Available:[TOKEN, SIMPLE]",
                    auth.method
                ),
            )),
            _ => TokenStep::Refuse(malformed_fault("Client mechanism is malformed".to_owned())),
        },
        Ok(SaslState::Response) if challenged => TokenStep::Answer(token()),
        _ => match answer_simple(step, true) {
            SaslAnswer::Refuse(fault) => TokenStep::Refuse(fault),
            _ => TokenStep::Refuse(malformed_fault("Client sent an unexpected state".to_owned())),
        },
    }
}

/// The methods of a server that knows tokens, best first, with the challenge for the first.
pub fn offer_tokens(challenge: Bytes) -> RpcSaslProto {
    RpcSaslProto {
        auths: vec![
            SaslAuth {
                method: TOKEN.to_owned(),
                mechanism: DIGEST_MD5.to_owned(),
                protocol: Some(String::new()),
                server_id: Some(DEFAULT_REALM.to_owned()),
                challenge: Some(challenge),
            },
            SaslAuth {
                method: SIMPLE.to_owned(),
                ..Default::default()
            },
        ],
        ..message(SaslState::Negotiate)
    }
}

/// The challenge alone.
pub fn challenge(challenge: Bytes) -> RpcSaslProto {
    RpcSaslProto {
        token: Some(challenge),
        ..message(SaslState::Challenge)
    }
}

/// The end of a good negotiation, with the server's proof.
pub fn success(proof: Bytes) -> RpcSaslProto {
    RpcSaslProto {
        token: Some(proof),
        ..message(SaslState::Success)
    }
}

/// A client's choice out of an offer: the method as it was offered, and the answer to its challenge.
pub fn initiate(offered: &SaslAuth, answer: Bytes) -> RpcSaslProto {
    RpcSaslProto {
        token: Some(answer),
        auths: vec![SaslAuth {
            challenge: None,
            ..offered.clone()
        }],
        ..message(SaslState::Initiate)
    }
}

fn message(state: SaslState) -> RpcSaslProto {
    RpcSaslProto {
        state: state as i32,
        ..Default::default()
    }
}

fn malformed(text: String) -> SaslAnswer {
    SaslAnswer::Refuse(malformed_fault(text))
}

fn refuse(detail: RpcErrorCodeProto, kind: ErrorKind, text: String) -> SaslAnswer {
    SaslAnswer::Refuse(fault(detail, kind, text))
}

/// The refusal of a step that makes no sense.
pub fn malformed_fault(text: String) -> RpcFault {
    fault(RpcErrorCodeProto::FatalUnauthorized, ErrorKind::Sasl, text)
}

fn fault(detail: RpcErrorCodeProto, kind: ErrorKind, text: String) -> RpcFault {
    RpcFault::fatal(detail, HadoopError::new(kind, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn initiate(methods: &[&str]) -> RpcSaslProto {
        RpcSaslProto {
            auths: methods
                .iter()
                .map(|method| SaslAuth {
                    method: (*method).to_owned(),
                    ..Default::default()
                })
                .collect(),
            ..message(SaslState::Initiate)
        }
    }

    #[test]
    fn every_step_has_its_answer() {
        assert_eq!(
            answer_simple(&negotiate(), false),
            SaslAnswer::Done(message(SaslState::Success))
        );
        assert_eq!(answer_simple(&initiate(&["SIMPLE"]), false), SaslAnswer::DoneSilently);
        assert!(matches!(
            answer_simple(&initiate(&["TOKEN"]), false),
            SaslAnswer::Continue(_)
        ));
        assert!(matches!(
            answer_simple(&initiate(&["TOKEN"]), true),
            SaslAnswer::Refuse(_)
        ));
        assert!(matches!(answer_simple(&initiate(&[]), false), SaslAnswer::Refuse(_)));
        assert!(matches!(
            answer_simple(&message(SaslState::Wrap), false),
            SaslAnswer::Refuse(_)
        ));
    }
}
