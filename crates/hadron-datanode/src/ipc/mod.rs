//! The DataNode's RPC port: one file per protocol.
//!
//! Clients and administrators call ClientDatanodeProtocol and ReconfigurationProtocol, other DataNodes
//! InterDatanodeProtocol. Whatever changes something is for the DataNode's own user and the supergroup only.
//! Invariant: no handler blocks the connection's task; disks and the user database are asked on other threads.

mod client_datanode;
mod inter_datanode;
mod reconfiguration;
mod rights;

pub(crate) use reconfiguration::Reconfiguration;
pub(crate) use rights::Rights;

use crate::shared::Shared;
use bytes::Bytes;
use client_datanode::ClientDatanodeProtocol;
use hadron_net::{ProtocolInfo, RpcProtocol};
use hadron_proto::{Required, decode_checked};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};
use inter_datanode::InterDatanodeProtocol;
use reconfiguration::ReconfigurationProtocol;
use std::sync::Arc;

/// Everything the port serves.
pub(crate) fn protocols(shared: &Arc<Shared>) -> Vec<Arc<dyn RpcProtocol>> {
    let mut protocols: Vec<Arc<dyn RpcProtocol>> = vec![
        Arc::new(ClientDatanodeProtocol(shared.clone())),
        Arc::new(InterDatanodeProtocol(shared.clone())),
        Arc::new(ReconfigurationProtocol(shared.clone())),
    ];
    let served = protocols
        .iter()
        .map(|protocol| (protocol.name(), protocol.methods()))
        .collect();
    protocols.push(Arc::new(ProtocolInfo::new(served)));
    protocols
}

fn decode<M: prost::Message + Default + Required>(body: Bytes) -> HadoopResult<M> {
    decode_checked(body).map_err(|error| HadoopError::new(ErrorKind::InvalidProtocolBuffer, error.to_string()))
}
