//! What clients ask about tokens, encryption, erasure coding, ACLs and extended attributes on a cluster without them.

use super::Call;
use bytes::Bytes;
use hadron_namespace::{FileStatus, Namespace};
use hadron_net::Reply;
use hadron_proto::common::{GetDelegationTokenRequestProto, GetDelegationTokenResponseProto};
use hadron_proto::hdfs::{
    AclStatusProto, GetAclStatusRequestProto, GetAclStatusResponseProto, GetDataEncryptionKeyRequestProto,
    GetDataEncryptionKeyResponseProto, GetErasureCodingPolicyRequestProto, GetErasureCodingPolicyResponseProto,
    GetEzForPathRequestProto, GetEzForPathResponseProto, GetXAttrsRequestProto, GetXAttrsResponseProto,
    ListXAttrsRequestProto, ListXAttrsResponseProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};

/// getDataEncryptionKey: none, for transfers are not encrypted.
pub(super) fn get_data_encryption_key(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, _: GetDataEncryptionKeyRequestProto| {
        Ok(GetDataEncryptionKeyResponseProto::default())
    })
}

/// getDelegationToken: none, as an insecure Hadoop answers.
pub(super) fn get_delegation_token(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, _: GetDelegationTokenRequestProto| {
        Ok(GetDelegationTokenResponseProto::default())
    })
}

/// getEZForPath: no path is in an encryption zone.
pub(super) fn get_ez_for_path(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetEzForPathRequestProto, ns| {
        ns.file_info(&call.caller, &request.src)?;
        Ok(GetEzForPathResponseProto { zone: None })
    })
}

/// getErasureCodingPolicy: every file is replicated.
pub(super) fn get_erasure_coding_policy(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetErasureCodingPolicyRequestProto, ns| {
        call.existing(ns, &request.src, "Path not found: ")?;
        Ok(GetErasureCodingPolicyResponseProto { ec_policy: None })
    })
}

/// getAclStatus: owner, group and mode; no entries.
pub(super) fn get_acl_status(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetAclStatusRequestProto, ns| {
        if !call.shared.settings.acls_enabled {
            return Err(HadoopError::new(
                ErrorKind::Acl,
                "The ACL operation has been rejected.  Support for ACLs has been disabled by setting \
                 dfs.namenode.acls.enabled to false.",
            ));
        }
        let status = call.existing(ns, &request.src, "File does not exist: ")?;
        let result = AclStatusProto {
            owner: status.owner.as_ref().to_owned(),
            group: status.group.as_ref().to_owned(),
            sticky: status.permission.is_sticky(),
            entries: Vec::new(),
            permission: Some(status.permission.into()),
        };
        Ok(GetAclStatusResponseProto { result })
    })
}

/// getXAttrs: none exist, so that asking for one by name is an error.
pub(super) fn get_x_attrs(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetXAttrsRequestProto, ns| {
        call.existing(ns, &request.src, "File does not exist: ")?;
        if !request.x_attrs.is_empty() {
            return Err(HadoopError::new(
                ErrorKind::XAttrNotFound,
                "At least one of the attributes provided was not found.",
            ));
        }
        Ok(GetXAttrsResponseProto::default())
    })
}

/// listXAttrs: none.
pub(super) fn list_x_attrs(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &ListXAttrsRequestProto, ns| {
        call.existing(ns, &request.src, "File does not exist: ")?;
        Ok(ListXAttrsResponseProto::default())
    })
}

impl Call {
    /// The status of a path that must exist; `text` begins the exception's.
    fn existing(&self, ns: &Namespace, path: &str, text: &str) -> HadoopResult<FileStatus> {
        let missing = || HadoopError::new(ErrorKind::FileNotFound, format!("{text}{path}"));
        ns.file_info(&self.caller, path)?.ok_or_else(missing)
    }
}
