//! What a connection called lately: a header that comes again byte for byte is neither decoded nor looked up again.
//!
//! What it does not do: remember calls that missed; those are refused anew each time.
//! Invariant: holds at most [`MAX_RECENT`] headers of at most [`MAX_HEADER_LEN`] bytes, in memory of their own.

use super::ServerShared;
use super::dispatch;
use bytes::Bytes;
use hadron_types::HadoopError;
use hadron_wire::rpc::{Call, Rejection, RequestFrame};
use std::sync::Arc;

/// Headers remembered: a client's inner loop has few different calls.
const MAX_RECENT: usize = 8;
/// Longest header remembered.
const MAX_HEADER_LEN: usize = 256;

/// What a header asks for.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) method_name: String,
    /// Index of the protocol, or why there is none.
    pub(crate) protocol: Result<usize, HadoopError>,
    /// Index of the method among the protocol's counters.
    pub(crate) method: Option<usize>,
}

/// The targets of one connection.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    recent: Vec<(Box<[u8]>, Arc<Target>)>,
    /// Which one is forgotten next.
    oldest: usize,
}

impl Targets {
    /// What `frame` calls, and its request message.
    ///
    /// Errors: the frame is malformed.
    pub(crate) fn resolve(
        &mut self,
        server: &ServerShared,
        frame: &RequestFrame,
    ) -> Result<(Arc<Target>, Bytes), Rejection> {
        for (header, target) in &self.recent {
            if let Some(message) = frame.message_for(header) {
                return Ok((Arc::clone(target), message));
            }
        }
        let Call { header, message } = frame.call()?;
        let name = &header.declaring_class_protocol_name;
        let protocol = dispatch::find_protocol(server, name, header.client_protocol_version);
        let found = protocol.as_ref().ok();
        let method = found.and_then(|index| server.metrics.protocols[*index].index_of(&header.method_name));
        let target = Arc::new(Target {
            method_name: header.method_name,
            protocol,
            method,
        });
        let encoded = frame.target();
        if target.method.is_some() && encoded.len() <= MAX_HEADER_LEN {
            self.remember((encoded.into(), Arc::clone(&target)));
        }
        Ok((target, message))
    }

    fn remember(&mut self, entry: (Box<[u8]>, Arc<Target>)) {
        if self.recent.len() < MAX_RECENT {
            self.recent.push(entry);
        } else {
            self.recent[self.oldest] = entry;
            self.oldest = (self.oldest + 1) % MAX_RECENT;
        }
    }
}
