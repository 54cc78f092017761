//! ProtocolMetaInfo: which protocols and versions a server has.
//!
//! Signatures list fingerprints of the methods served, which clients look for before they call what may be missing.

use crate::method_signatures::fingerprints;
use crate::{CallContext, Reply, RpcProtocol};
use bytes::Bytes;
use hadron_proto::common::{
    GetProtocolSignatureRequestProto, GetProtocolSignatureResponseProto, GetProtocolVersionsRequestProto,
    GetProtocolVersionsResponseProto, ProtocolSignatureProto, ProtocolVersionProto,
};
use hadron_proto::protocol::{PROTOCOL_META_INFO, PROTOCOL_VERSION};
use hadron_proto::{Required, decode_checked};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};

/// Name of the only kind of RPC served.
const RPC_KIND: &str = "RPC_PROTOCOL_BUFFER";

/// The protocol, over the names and methods of the others.
#[derive(Debug)]
pub struct ProtocolInfo {
    served: Vec<(&'static str, &'static [&'static str])>,
}

impl ProtocolInfo {
    /// `served`: names and methods of the server's other protocols.
    pub fn new(served: Vec<(&'static str, &'static [&'static str])>) -> Self {
        Self { served }
    }

    /// The methods of a protocol that must be served.
    fn require(&self, name: &str) -> HadoopResult<&'static [&'static str]> {
        if name == PROTOCOL_META_INFO {
            return Ok(&[]);
        }
        if let Some((_, methods)) = self.served.iter().find(|(served, _)| *served == name) {
            return Ok(methods);
        }
        Err(HadoopError::new(
            ErrorKind::NoSuchProtocol,
            format!("Unknown protocol: {name}"),
        ))
    }

    fn versions(&self, body: Bytes) -> HadoopResult<GetProtocolVersionsResponseProto> {
        let request: GetProtocolVersionsRequestProto = decode(body)?;
        let version = ProtocolVersionProto {
            rpc_kind: RPC_KIND.to_owned(),
            versions: vec![PROTOCOL_VERSION],
        };
        let is_served = self.require(&request.protocol).is_ok();
        Ok(GetProtocolVersionsResponseProto {
            protocol_versions: is_served.then_some(version).into_iter().collect(),
        })
    }

    fn signature(&self, body: Bytes) -> HadoopResult<GetProtocolSignatureResponseProto> {
        let request: GetProtocolSignatureRequestProto = decode(body)?;
        let methods = self.require(&request.protocol)?;
        let signature = ProtocolSignatureProto {
            version: PROTOCOL_VERSION,
            methods: fingerprints(&request.protocol, methods),
        };
        let is_ours = request.rpc_kind == RPC_KIND;
        Ok(GetProtocolSignatureResponseProto {
            protocol_signature: is_ours.then_some(signature).into_iter().collect(),
        })
    }
}

fn decode<M: prost::Message + Default + Required>(body: Bytes) -> HadoopResult<M> {
    decode_checked(body).map_err(|error| HadoopError::new(ErrorKind::InvalidProtocolBuffer, error.to_string()))
}

impl RpcProtocol for ProtocolInfo {
    fn name(&self) -> &'static str {
        PROTOCOL_META_INFO
    }

    fn methods(&self) -> &'static [&'static str] {
        &["getProtocolVersions", "getProtocolSignature"]
    }

    fn call(&self, _: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        Some(match method {
            "getProtocolVersions" => Reply::of(self.versions(body)),
            "getProtocolSignature" => Reply::of(self.signature(body)),
            _ => return None,
        })
    }
}
