//! The DataNode's RPC port: one file per protocol.

mod client_datanode;

pub(crate) use client_datanode::ClientDatanodeProtocol;
