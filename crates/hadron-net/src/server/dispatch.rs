//! From a request to its protocol: look-up and the three ways to miss.

use super::ServerShared;
use crate::{CallContext, Reply};
use bytes::Bytes;
use hadron_types::{ErrorKind, HadoopError};

/// Finds the protocol by name and version.
///
/// Errors: [`ErrorKind::NoSuchProtocol`] or [`ErrorKind::VersionMismatch`], with Hadoop's texts.
pub(crate) fn find_protocol(server: &ServerShared, name: &str, version: u64) -> Result<usize, HadoopError> {
    let Some(index) = server.protocols.iter().position(|protocol| protocol.name() == name) else {
        return Err(HadoopError::new(
            ErrorKind::NoSuchProtocol,
            format!("Unknown protocol: {name}"),
        ));
    };
    let served = server.protocols[index].version();
    if served != version {
        return Err(HadoopError::new(
            ErrorKind::VersionMismatch,
            format!("Protocol {name} version mismatch. (client = {version}, server = {served})"),
        ));
    }
    Ok(index)
}

/// Runs `method` of protocol number `index`; an unknown one becomes [`ErrorKind::NoSuchMethod`].
pub(crate) fn dispatch(server: &ServerShared, index: usize, context: &CallContext, method: &str, body: Bytes) -> Reply {
    let protocol = &server.protocols[index];
    protocol.call(context, method, body).unwrap_or_else(|| {
        let name = protocol.name();
        Reply::error(HadoopError::new(
            ErrorKind::NoSuchMethod,
            format!("Unknown method {method} called on {name} protocol."),
        ))
    })
}
