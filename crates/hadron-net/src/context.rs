//! What a protocol handler knows about the call it serves.

use crate::UserIdentity;
use hadron_types::{CallId, ClientId};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// The caller context of a request (`hadoop.caller.context.enabled`); goes to the audit log only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallerContext {
    /// Free text of the application.
    pub context: String,
    /// Its signature; may be empty.
    pub signature: bytes::Bytes,
}

/// One call's circumstances. Cheap to clone: identities are shared by all calls of a connection.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Who calls.
    pub user: Arc<UserIdentity>,
    /// Address of the peer's end of the connection.
    pub peer: IpAddr,
    /// Port of the peer's end of the connection.
    pub peer_port: u16,
    /// The client's 16 bytes; `None` when it sent none or another number of bytes (then no retry protection).
    pub client_id: Option<ClientId>,
    /// Number of the call, >= 0.
    pub call_id: CallId,
    /// How often this call was tried before; -1 from clients that do not count.
    pub retry_count: i32,
    /// What the application says about itself.
    pub caller_context: Option<Arc<CallerContext>>,
    /// Name of the protocol called (the server's own copy).
    pub protocol: &'static str,
    /// When the call's frame was complete.
    pub received: Instant,
}

impl CallContext {
    /// The retry cache's key: present when the client sent a 16-byte id.
    pub fn retry_key(&self) -> Option<(ClientId, CallId)> {
        self.client_id.map(|id| (id, self.call_id))
    }
}
