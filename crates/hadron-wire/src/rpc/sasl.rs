//! Negotiation on a cluster without security: the answers of a server whose only method is SIMPLE.
//!
//! Java clients open with SASL whenever their user holds any token, also on insecure clusters; answering NEGOTIATE with
//! SUCCESS sends all known clients on to the connection context.

use super::response::RpcFault;
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

fn message(state: SaslState) -> RpcSaslProto {
    RpcSaslProto {
        state: state as i32,
        ..Default::default()
    }
}

fn malformed(text: String) -> SaslAnswer {
    refuse(RpcErrorCodeProto::FatalUnauthorized, ErrorKind::Sasl, text)
}

fn refuse(detail: RpcErrorCodeProto, kind: ErrorKind, text: String) -> SaslAnswer {
    SaslAnswer::Refuse(RpcFault::fatal(detail, HadoopError::new(kind, text)))
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
