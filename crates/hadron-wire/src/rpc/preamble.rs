//! The seven bytes that open a connection, and what a server says to those it cannot serve.
//!
//! | offset | size | value |
//! |---|---|---|
//! | 0 | 4 | `hrpc` |
//! | 4 | 1 | version 9 |
//! | 5 | 1 | service class |
//! | 6 | 1 | authentication: 0 none, 0xDF SASL |

use super::response::{CallEcho, RpcFault, encode_fault};
use super::{CALL_ID_INVALID, RPC_VERSION};
use bytes::{BufMut, BytesMut};
use hadron_proto::common::rpc_response_header_proto::RpcErrorCodeProto;
use hadron_types::{ErrorKind, HadoopError};

/// Length of the preamble.
pub const PREAMBLE_LEN: usize = 7;
const MAGIC: &[u8; 4] = b"hrpc";
const AUTH_NONE: u8 = 0;
/// -33 as a signed byte.
const AUTH_SASL: u8 = 0xdf;

/// How a client wants to authenticate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthProtocol {
    /// Not at all: the connection context follows.
    None,
    /// SASL frames follow, then the connection context.
    Sasl,
}

/// A preamble that can be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Preamble {
    /// Quality of service; any value is accepted.
    pub service_class: u8,
    /// How the client wants to authenticate.
    pub auth: AuthProtocol,
}

/// A preamble that cannot be served; [`Refusal::reply`] is sent and the connection closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// A browser.
    #[error("an HTTP request on an RPC port")]
    Http,
    /// Not `hrpc`, or another version.
    #[error("no Hadoop RPC version 9 client (version byte {version})")]
    Version {
        /// The version byte, signed as Java reads it.
        version: i8,
    },
    /// An authentication byte nobody knows.
    #[error("unknown authentication protocol {byte}")]
    Auth {
        /// The byte.
        byte: u8,
    },
}

impl Preamble {
    /// Reads the start of a connection. `Ok(None)`: fewer than [`PREAMBLE_LEN`] bytes are there.
    pub fn decode(buf: &[u8]) -> Result<Option<Self>, Refusal> {
        let Some((head, _)) = buf.split_first_chunk::<PREAMBLE_LEN>() else {
            return Ok(None);
        };
        let [magic @ .., version, service_class, auth] = head;
        if magic == b"GET " {
            return Err(Refusal::Http);
        }
        if magic != MAGIC || *version != RPC_VERSION {
            return Err(Refusal::Version {
                version: *version as i8,
            });
        }
        let auth = match *auth {
            AUTH_NONE => AuthProtocol::None,
            AUTH_SASL => AuthProtocol::Sasl,
            byte => return Err(Refusal::Auth { byte }),
        };
        Ok(Some(Self {
            service_class: *service_class,
            auth,
        }))
    }

    /// The bytes a client opens with.
    pub fn encode(self) -> [u8; PREAMBLE_LEN] {
        let auth = match self.auth {
            AuthProtocol::None => AUTH_NONE,
            AuthProtocol::Sasl => AUTH_SASL,
        };
        [
            MAGIC[0],
            MAGIC[1],
            MAGIC[2],
            MAGIC[3],
            RPC_VERSION,
            self.service_class,
            auth,
        ]
    }
}

impl Refusal {
    /// What to send before closing; empty for clients too old or too strange to understand any answer.
    ///
    /// Source: `Server.Connection.setupBadVersionResponse`. Each generation gets the layout it can read.
    pub fn reply(self) -> BytesMut {
        let mut out = BytesMut::new();
        match self {
            Self::Http => out.put_slice(
                b"HTTP/1.1 404 Not Found\r\nContent-type: text/plain\r\nConnection: close\r\n\r\n\
                  This port speaks Hadoop RPC. The web pages of this daemon are on its HTTP port.\r\n",
            ),
            Self::Version { version } if version >= RPC_VERSION as i8 => {
                encode_fault(
                    &mut out,
                    &CallEcho::none(CALL_ID_INVALID),
                    &RpcFault::fatal(RpcErrorCodeProto::FatalVersionMismatch, version_mismatch(version)),
                );
            }
            Self::Version { version } if version >= 3 => put_old_fault(&mut out, -1, &version_mismatch(version)),
            Self::Version { version: 2 } => {
                out.put_i32(0);
                out.put_u8(1);
                put_writable_strings(&mut out, &version_mismatch(2));
            }
            Self::Version { .. } => {}
            Self::Auth { byte } => {
                let error = HadoopError::new(ErrorKind::Ipc, format!("Unknown auth protocol:{}", byte as i8));
                encode_fault(
                    &mut out,
                    &CallEcho::none(CALL_ID_INVALID),
                    &RpcFault::fatal(RpcErrorCodeProto::FatalUnauthorized, error),
                );
            }
        }
        out
    }
}

fn version_mismatch(version: i8) -> HadoopError {
    HadoopError::new(
        ErrorKind::VersionMismatch,
        format!("Server IPC version {RPC_VERSION} cannot communicate with client version {version}"),
    )
}

/// The fault layout of versions 3 to 8: call id, status -1, class, message; no length in front.
fn put_old_fault(out: &mut BytesMut, call_id: i32, error: &HadoopError) {
    out.put_i32(call_id);
    out.put_i32(-1);
    put_writable_strings(out, error);
}

fn put_writable_strings(out: &mut BytesMut, error: &HadoopError) {
    for text in [error.kind.class(), &error.message] {
        out.put_i32(text.len() as i32);
        out.put_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opening_gets_its_reaction() {
        let plain = Preamble {
            service_class: 0,
            auth: AuthProtocol::None,
        };
        for (bytes, expected) in [
            (&b"hrp"[..], Ok(None)),
            (&b"hrpc\x09\x00"[..], Ok(None)),
            (&b"hrpc\x09\x00\x00"[..], Ok(Some(plain))),
            (
                &b"hrpc\x09\x05\xdfmore"[..],
                Ok(Some(Preamble {
                    service_class: 5,
                    auth: AuthProtocol::Sasl,
                })),
            ),
            (&b"GET / HTTP/1.1"[..], Err(Refusal::Http)),
            (&b"hrpc\x04\x00\x00"[..], Err(Refusal::Version { version: 4 })),
            (&b"xrpc\x09\x00\x00"[..], Err(Refusal::Version { version: 9 })),
            (&b"hrpc\xff\x00\x00"[..], Err(Refusal::Version { version: -1 })),
            (&b"hrpc\x09\x00\x07"[..], Err(Refusal::Auth { byte: 7 })),
        ] {
            assert_eq!(Preamble::decode(bytes), expected, "{bytes:?}");
        }
        assert_eq!(plain.encode(), *b"hrpc\x09\x00\x00");
    }

    #[test]
    fn old_clients_get_the_layout_they_can_read() {
        let reply = Refusal::Version { version: 7 }.reply();
        assert_eq!(reply[..8], [0xff; 8]);
        assert_eq!(reply[8..12], 41_i32.to_be_bytes(), "class name length");
        assert!(reply.ends_with(b"Server IPC version 9 cannot communicate with client version 7"));
        assert!(Refusal::Version { version: 1 }.reply().is_empty());
        assert!(Refusal::Http.reply().starts_with(b"HTTP/1.1 404 "));
    }
}
