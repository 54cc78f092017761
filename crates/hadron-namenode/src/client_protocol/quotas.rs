//! setQuota and getQuotaUsage, and quotas as content summaries show them.
//!
//! Source: Hadoop `FSNamesystem.setQuota`, `FSDirStatAndListingOp.getQuotaUsage`, `PBHelperClient.convert(QuotaUsage)`.

use super::Call;
use super::call::{Audit, decode};
use super::summary::count;
use bytes::Bytes;
use hadron_namespace::command::SetQuota;
use hadron_namespace::{QUOTA_TYPES, QuotaLimits, QuotaUsage, SummaryCursor};
use hadron_net::Reply;
use hadron_proto::convert::storage_type_to_wire;
use hadron_proto::hdfs::{
    GetQuotaUsageRequestProto, GetQuotaUsageResponseProto, QuotaUsageProto, SetQuotaRequestProto,
    SetQuotaResponseProto, StorageTypeQuotaInfoProto, StorageTypeQuotaInfosProto,
};
use hadron_types::HadoopResult;

/// setQuota; on the wire `Long.MAX_VALUE` keeps a quota and -1, all ones, takes it away.
pub(super) fn set_quota(call: &Call, body: Bytes) -> Reply {
    let request: SetQuotaRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let settings = &call.shared.settings;
    let (keep, clear) = (i64::MAX as u64, u64::MAX);
    let command = match (request.namespace_quota, request.storagespace_quota) {
        (names, space) if names == clear && space == keep => "clearQuota",
        (names, space) if names == keep && space == clear => "clearSpaceQuota",
        (_, space) if space == keep => "setQuota",
        _ => "setSpaceQuota",
    };
    let audit = Audit::of(command, &request.path);
    let what = format!("Cannot set quota on {}", request.path);
    let op = SetQuota {
        path: request.path,
        names: request.namespace_quota as i64,
        space: request.storagespace_quota as i64,
        storage_type: request.storage_type.map(|kind| kind as u32),
        allow_owner: settings.owner_sets_quota && !call.caller.superuser,
        types_disabled: !settings.quota_by_type,
    };
    call.mutate(|| what, audit, op, |_, _| Ok(SetQuotaResponseProto {}))
}

/// getQuotaUsage: the counters of a directory with a quota; without one it is counted.
pub(super) fn get_quota_usage(call: &Call, body: Bytes) -> Reply {
    let (call, request) = match decode::<GetQuotaUsageRequestProto>(body) {
        Ok(request) => (call.clone(), request),
        Err(error) => return Reply::error(error),
    };
    Reply::spawned(async move {
        let usage = usage_of(&call, &request.path).await;
        call.audit_outcome(&Audit::of("quotaUsage", &request.path), &usage);
        let (limits, usage) = usage?;
        Ok(GetQuotaUsageResponseProto {
            usage: QuotaUsageProto {
                file_and_directory_count: usage.names as u64,
                quota: limits.names as u64,
                space_consumed: usage.space as u64,
                space_quota: limits.space as u64,
                type_quota_infos: type_infos(&limits, &usage.by_type),
            },
        })
    })
}

async fn usage_of(call: &Call, path: &str) -> HadoopResult<(QuotaLimits, QuotaUsage)> {
    call.pass_barrier().await?;
    let counters = || call.shared.state.ns.read().quota_usage(&call.caller, path);
    // Others must be allowed to read all that is counted, and only a walk tells.
    if call.caller.superuser
        && let Some(found) = counters()?
    {
        return Ok(found);
    }
    let counted = count(call, path).await?;
    Ok(counters()?.unwrap_or_else(|| counted_usage(&counted)))
}

fn counted_usage(counted: &SummaryCursor) -> (QuotaLimits, QuotaUsage) {
    let summary = counted.summary();
    let usage = QuotaUsage {
        names: (summary.files + summary.directories) as i64,
        space: summary.space_consumed as i64,
        by_type: summary.by_type.map(|bytes| bytes as i64),
    };
    (counted.limits(), usage)
}

/// Figures by storage type, which Java sends only if one is limited or used.
pub(super) fn type_infos(limits: &QuotaLimits, used: &[i64]) -> Option<StorageTypeQuotaInfosProto> {
    let tells = limits.by_type.iter().chain(used).any(|&figure| figure > 0);
    let info = |index: usize| StorageTypeQuotaInfoProto {
        r#type: Some(storage_type_to_wire(QUOTA_TYPES[index])),
        quota: limits.by_type[index] as u64,
        consumed: used[index] as u64,
    };
    tells.then(|| StorageTypeQuotaInfosProto {
        type_quota_info: (0..QUOTA_TYPES.len()).map(info).collect(),
    })
}
