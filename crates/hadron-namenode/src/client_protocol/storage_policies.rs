//! Storage policies: the built-in ones, and those set on paths.
//!
//! Source: Hadoop `FSNamesystem.setStoragePolicy`, `unsetStoragePolicy`, `satisfyStoragePolicy`; the policies are
//! `hadron_types::StoragePolicy`.

use super::Call;
use super::call::{Audit, decode};
use bytes::Bytes;
use hadron_namespace::command::{SetStoragePolicy, UnsetStoragePolicy};
use hadron_net::Reply;
use hadron_proto::convert::storage_type_to_wire;
use hadron_proto::hdfs::{
    BlockStoragePolicyProto, GetStoragePoliciesRequestProto, GetStoragePoliciesResponseProto,
    GetStoragePolicyRequestProto, GetStoragePolicyResponseProto, SatisfyStoragePolicyRequestProto,
    SatisfyStoragePolicyResponseProto, SetStoragePolicyRequestProto, SetStoragePolicyResponseProto, StorageTypesProto,
    UnsetStoragePolicyRequestProto, UnsetStoragePolicyResponseProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult, StoragePolicy, StorageType};

fn policy_message(policy: &StoragePolicy) -> BlockStoragePolicyProto {
    let types = |kinds: &[StorageType]| StorageTypesProto {
        storage_types: kinds.iter().map(|&kind| storage_type_to_wire(kind)).collect(),
    };
    BlockStoragePolicyProto {
        policy_id: u32::from(policy.id),
        name: policy.name.to_owned(),
        creation_policy: types(policy.types),
        creation_fallback_policy: Some(types(policy.creation_fallback)),
        replication_fallback_policy: Some(types(policy.replication_fallback)),
    }
}

/// getStoragePolicies.
pub(super) fn get_storage_policies(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, _: GetStoragePoliciesRequestProto| {
        let policies = StoragePolicy::ALL.into_iter().map(policy_message).collect();
        Ok(GetStoragePoliciesResponseProto { policies })
    })
}

/// getStoragePolicy: the one in effect.
pub(super) fn get_storage_policy(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetStoragePolicyRequestProto, ns| {
        let policy = ns.storage_policy_at(&call.caller, &request.path)?;
        Ok(GetStoragePolicyResponseProto {
            storage_policy: policy_message(policy),
        })
    })
}

/// setStoragePolicy.
pub(super) fn set_storage_policy(call: &Call, body: Bytes) -> Reply {
    let request: SetStoragePolicyRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    if let Err(error) = call.require_storage_policies("set storage policy") {
        return Reply::error(error);
    }
    let audit = Audit::of("setStoragePolicy", &request.src);
    let what = format!("Cannot set storage policy for {}", request.src);
    let op = SetStoragePolicy {
        path: request.src,
        policy: request.policy_name,
        superuser_only: call.shared.settings.storage_policy_superuser_only,
    };
    call.mutate(|| what, audit, op, |_, _| Ok(SetStoragePolicyResponseProto {}))
}

/// unsetStoragePolicy.
pub(super) fn unset_storage_policy(call: &Call, body: Bytes) -> Reply {
    let request: UnsetStoragePolicyRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    if let Err(error) = call.require_storage_policies("unset storage policy") {
        return Reply::error(error);
    }
    let audit = Audit::of("unsetStoragePolicy", &request.src);
    let what = format!("Cannot unset storage policy for {}", request.src);
    let op = UnsetStoragePolicy {
        path: request.src,
        superuser_only: call.shared.settings.storage_policy_superuser_only,
    };
    call.mutate(|| what, audit, op, |_, _| Ok(UnsetStoragePolicyResponseProto {}))
}

/// satisfyStoragePolicy: refused as by a NameNode whose satisfier is off, which is Hadoop's default.
pub(super) fn satisfy_storage_policy(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: SatisfyStoragePolicyRequestProto| {
        call.require_storage_policies("satisfy storage policy")?;
        Err::<SatisfyStoragePolicyResponseProto, _>(HadoopError::new(
            ErrorKind::UnsupportedAction,
            "Cannot request to satisfy storage policy when storage policy satisfier feature has been disabled by \
             admin. Seek for an admin help to enable it or use Mover tool.",
        ))
    })
}

impl Call {
    /// Refuses while `dfs.storage.policy.enabled` is false. `what`: the operation in words.
    fn require_storage_policies(&self, what: &str) -> HadoopResult<()> {
        if self.shared.settings.storage_policies {
            return Ok(());
        }
        Err(HadoopError::io(format!(
            "Failed to {what} since dfs.storage.policy.enabled is set to false."
        )))
    }
}
