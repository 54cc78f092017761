//! Delegation token calls, as a NameNode without security answers them.
//!
//! What it does not do: issue tokens. Asking for one gives none, which clients take to mean that none is needed; one
//! that somebody holds anyway can be neither renewed nor cancelled, since nobody issued it.
//! Source of rules and texts: Hadoop `FSNamesystem`, `AbstractDelegationTokenSecretManager`,
//! `AbstractDelegationTokenIdentifier`.

use super::Call;
use bytes::Bytes;
use hadron_net::Reply;
use hadron_proto::common::{
    CancelDelegationTokenRequestProto, CancelDelegationTokenResponseProto, GetDelegationTokenRequestProto,
    GetDelegationTokenResponseProto, RenewDelegationTokenRequestProto, RenewDelegationTokenResponseProto,
};
use hadron_types::{ErrorKind, HadoopError};

/// getDelegationToken: none.
pub(super) fn get_delegation_token(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetDelegationTokenRequestProto| {
        call.shared
            .require_no_safe_mode(|| "Cannot issue delegation token".to_owned())?;
        tracing::warn!(user = %call.caller.user, "trying to get DT with no secret manager running");
        Ok(GetDelegationTokenResponseProto::default())
    })
}

/// renewDelegationToken: its master key was never made here.
pub(super) fn renew_delegation_token(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: RenewDelegationTokenRequestProto| {
        call.shared
            .require_no_safe_mode(|| "Cannot renew delegation token".to_owned())?;
        let Some(token) = Identifier::decode(&request.token.identifier) else {
            return Err(unreadable());
        };
        Err::<RenewDelegationTokenResponseProto, _>(HadoopError::new(
            ErrorKind::InvalidToken,
            format!(
                "Unable to find master key for keyId={} from cache. Failed to renew an unexpired token {} with \
                 sequenceNumber={}",
                token.master_key_id,
                token.text(),
                token.sequence
            ),
        ))
    })
}

/// cancelDelegationToken: nobody issued it.
pub(super) fn cancel_delegation_token(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: CancelDelegationTokenRequestProto| {
        call.shared
            .require_no_safe_mode(|| "Cannot cancel delegation token".to_owned())?;
        let Some(token) = Identifier::decode(&request.token.identifier) else {
            return Err(unreadable());
        };
        let message = match token.owner.is_empty() {
            true => "Token with no owner".to_owned(),
            false => format!("Token not found {}", token.text()),
        };
        Err::<CancelDelegationTokenResponseProto, _>(HadoopError::new(ErrorKind::InvalidToken, message))
    })
}

/// Hadoop's reader meets the end of the identifier, which has no message of its own.
fn unreadable() -> HadoopError {
    HadoopError::new(ErrorKind::Eof, ErrorKind::Eof.class())
}

/// What a delegation token says of itself.
#[derive(Debug, Default, PartialEq)]
struct Identifier {
    owner: String,
    renewer: String,
    real_user: String,
    issued: i64,
    max_date: i64,
    sequence: i64,
    master_key_id: i64,
}

impl Identifier {
    /// Reads Hadoop's `Writable` form: a version byte of 0, three texts, four variable-length numbers.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first()?;
        if *version != 0 {
            return None;
        }
        Some(Self {
            owner: text(&mut rest)?,
            renewer: text(&mut rest)?,
            real_user: text(&mut rest)?,
            issued: number(&mut rest)?,
            max_date: number(&mut rest)?,
            sequence: number(&mut rest)?,
            master_key_id: number(&mut rest)?,
        })
    }

    /// Hadoop's text of a token in messages.
    fn text(&self) -> String {
        format!(
            "(token for {owner}: HDFS_DELEGATION_TOKEN owner={owner}, renewer={}, realUser={}, issueDate={}, \
             maxDate={}, sequenceNumber={}, masterKeyId={})",
            self.renewer,
            self.real_user,
            self.issued,
            self.max_date,
            self.sequence,
            self.master_key_id,
            owner = self.owner,
        )
    }
}

/// A `Text`: its length as a number, then UTF-8.
fn text(rest: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(number(rest)?).ok()?;
    let (text, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// A `WritableUtils` variable-length number: one byte, or a byte that tells sign and length and 1 to 8 bytes after it.
fn number(rest: &mut &[u8]) -> Option<i64> {
    let (first, after) = rest.split_first()?;
    let first = *first as i8;
    if first >= -112 {
        *rest = after;
        return Some(i64::from(first));
    }
    let negative = first < -120;
    let len = usize::try_from(if negative {
        -120 - i32::from(first)
    } else {
        -112 - i32::from(first)
    })
    .ok()?;
    let (digits, after) = after.split_at_checked(len)?;
    *rest = after;
    let value = digits.iter().fold(0_u64, |value, digit| value << 8 | u64::from(*digit));
    Some(if negative { !(value as i64) } else { value as i64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_read_as_java_writes_them() {
        // owner "alice", renewer "yarn", no real user, dates 300 and 70000, number 5, key -300.
        let mut bytes = vec![0, 5];
        bytes.extend_from_slice(b"alice\x04yarn\x00");
        bytes.extend_from_slice(&[0x8e, 0x01, 0x2c, 0x8d, 0x01, 0x11, 0x70, 5, 0x86, 0x01, 0x2b]);
        let token = Identifier::decode(&bytes).expect("decodes");
        assert_eq!(
            token.text(),
            "(token for alice: HDFS_DELEGATION_TOKEN owner=alice, renewer=yarn, realUser=, issueDate=300, \
             maxDate=70000, sequenceNumber=5, masterKeyId=-300)"
        );
        for len in 0..bytes.len() {
            assert_eq!(Identifier::decode(&bytes[..len]), None, "{len}");
        }
    }
}
