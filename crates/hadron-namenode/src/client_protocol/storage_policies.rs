//! The built-in storage policies. Setting them is later work; every path has the default one.
//!
//! Source: Hadoop `BlockStoragePolicySuite.createDefaultSuite`.

use super::Call;
use bytes::Bytes;
use hadron_net::Reply;
use hadron_proto::hdfs::{
    BlockStoragePolicyProto, GetStoragePoliciesRequestProto, GetStoragePoliciesResponseProto,
    GetStoragePolicyRequestProto, GetStoragePolicyResponseProto, StorageTypeProto, StorageTypesProto,
};
use hadron_types::{ErrorKind, HadoopError};

struct Policy {
    id: u32,
    name: &'static str,
    creation: &'static [StorageTypeProto],
    creation_fallback: &'static [StorageTypeProto],
    replication_fallback: &'static [StorageTypeProto],
}

const HOT: u32 = 7;

const POLICIES: [Policy; 7] = {
    use StorageTypeProto::{Archive, Disk, Provided, RamDisk, Ssd};
    const fn policy(
        id: u32,
        name: &'static str,
        creation: &'static [StorageTypeProto],
        creation_fallback: &'static [StorageTypeProto],
        replication_fallback: &'static [StorageTypeProto],
    ) -> Policy {
        Policy {
            id,
            name,
            creation,
            creation_fallback,
            replication_fallback,
        }
    }
    [
        policy(1, "PROVIDED", &[Provided, Disk], &[Provided, Disk], &[Provided, Disk]),
        policy(2, "COLD", &[Archive], &[], &[]),
        policy(5, "WARM", &[Disk, Archive], &[Disk, Archive], &[Disk, Archive]),
        policy(HOT, "HOT", &[Disk], &[], &[Archive]),
        policy(10, "ONE_SSD", &[Ssd, Disk], &[Ssd, Disk], &[Ssd, Disk]),
        policy(12, "ALL_SSD", &[Ssd], &[Disk], &[Disk]),
        policy(15, "LAZY_PERSIST", &[RamDisk, Disk], &[Disk], &[Disk]),
    ]
};

impl From<&Policy> for BlockStoragePolicyProto {
    fn from(policy: &Policy) -> Self {
        let types = |kinds: &[StorageTypeProto]| StorageTypesProto {
            storage_types: kinds.iter().map(|kind| *kind as i32).collect(),
        };
        Self {
            policy_id: policy.id,
            name: policy.name.to_owned(),
            creation_policy: types(policy.creation),
            creation_fallback_policy: Some(types(policy.creation_fallback)),
            replication_fallback_policy: Some(types(policy.replication_fallback)),
        }
    }
}

/// getStoragePolicies.
pub(super) fn get_storage_policies(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, _: GetStoragePoliciesRequestProto| {
        let policies = POLICIES.iter().map(BlockStoragePolicyProto::from).collect();
        Ok(GetStoragePoliciesResponseProto { policies })
    })
}

/// getStoragePolicy.
pub(super) fn get_storage_policy(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetStoragePolicyRequestProto, ns| {
        let path = &request.path;
        let missing = || {
            HadoopError::new(
                ErrorKind::FileNotFound,
                format!("File/Directory does not exist: {path}"),
            )
        };
        let status = ns.file_info(&call.caller, path)?.ok_or_else(missing)?;
        let find = |id: u32| POLICIES.iter().find(|policy| policy.id == id);
        let policy = find(u32::from(status.storage_policy)).or_else(|| find(HOT));
        let storage_policy = policy.map(BlockStoragePolicyProto::from).unwrap_or_default();
        Ok(GetStoragePolicyResponseProto { storage_policy })
    })
}
