//! What clients ask about tokens, encryption and erasure coding on a cluster without them.

use super::Call;
use super::call::Audit;
use bytes::Bytes;
use hadron_namespace::{FileStatus, Namespace};
use hadron_net::Reply;
use hadron_proto::hdfs::{
    GetDataEncryptionKeyRequestProto, GetDataEncryptionKeyResponseProto, GetErasureCodingPolicyRequestProto,
    GetErasureCodingPolicyResponseProto, GetEzForPathRequestProto, GetEzForPathResponseProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};

/// getDataEncryptionKey: none, for transfers are not encrypted.
pub(super) fn get_data_encryption_key(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, _: GetDataEncryptionKeyRequestProto| {
        Ok(GetDataEncryptionKeyResponseProto::default())
    })
}

/// getEZForPath: no path is in an encryption zone.
pub(super) fn get_ez_for_path(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetEzForPathRequestProto, ns| {
        let status = ns.file_info(&call.caller, &request.src);
        call.audit_status(&Audit::of("getEZForPath", &request.src), &status);
        status.map(|_| GetEzForPathResponseProto { zone: None })
    })
}

/// getErasureCodingPolicy: every file is replicated.
pub(super) fn get_erasure_coding_policy(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetErasureCodingPolicyRequestProto, ns| {
        let status = call.existing(ns, &request.src, "Path not found: ");
        call.audit_either(&Audit::of("getErasureCodingPolicy", &request.src), &status);
        status.map(|_| GetErasureCodingPolicyResponseProto { ec_policy: None })
    })
}

impl Call {
    /// The status of a path that must exist; `text` begins the exception's.
    fn existing(&self, ns: &Namespace, path: &str, text: &str) -> HadoopResult<FileStatus> {
        let missing = || HadoopError::new(ErrorKind::FileNotFound, format!("{text}{path}"));
        ns.file_info(&self.caller, path)?.ok_or_else(missing)
    }
}
