//! Content summaries, counted in slices so that writers are never locked out for long.

use super::Call;
use super::call::{Audit, decode};
use bytes::Bytes;
use hadron_namespace::ContentSummary;
use hadron_net::Reply;
use hadron_proto::hdfs::{
    ContentSummaryProto, GetContentSummaryRequestProto, GetContentSummaryResponseProto, GetQuotaUsageRequestProto,
    GetQuotaUsageResponseProto, QuotaUsageProto,
};
use hadron_types::HadoopResult;

/// Java's -1: no quota.
const NO_QUOTA: u64 = u64::MAX;

/// getContentSummary.
pub(super) fn get_content_summary(call: &Call, body: Bytes) -> Reply {
    let (call, request) = match decode::<GetContentSummaryRequestProto>(body) {
        Ok(request) => (call.clone(), request),
        Err(error) => return Reply::error(error),
    };
    Reply::spawned(async move {
        let summary = count(&call, &request.path).await;
        call.audit_outcome(&Audit::of("contentSummary", &request.path), &summary);
        let summary = summary?;
        Ok(GetContentSummaryResponseProto {
            summary: ContentSummaryProto {
                length: summary.len,
                file_count: summary.files,
                directory_count: summary.directories,
                quota: NO_QUOTA,
                space_consumed: summary.space_consumed,
                space_quota: NO_QUOTA,
                snapshot_length: Some(0),
                snapshot_file_count: Some(0),
                snapshot_directory_count: Some(0),
                snapshot_space_consumed: Some(0),
                erasure_coding_policy: Some(String::new()),
                ..ContentSummaryProto::default()
            },
        })
    })
}

/// getQuotaUsage; without quotas it is counted.
pub(super) fn get_quota_usage(call: &Call, body: Bytes) -> Reply {
    let (call, request) = match decode::<GetQuotaUsageRequestProto>(body) {
        Ok(request) => (call.clone(), request),
        Err(error) => return Reply::error(error),
    };
    Reply::spawned(async move {
        let summary = count(&call, &request.path).await;
        call.audit_outcome(&Audit::of("quotaUsage", &request.path), &summary);
        let summary = summary?;
        Ok(GetQuotaUsageResponseProto {
            usage: QuotaUsageProto {
                file_and_directory_count: summary.files + summary.directories,
                quota: NO_QUOTA,
                space_consumed: summary.space_consumed,
                space_quota: NO_QUOTA,
                type_quota_infos: None,
            },
        })
    })
}

async fn count(call: &Call, path: &str) -> HadoopResult<ContentSummary> {
    call.pass_barrier().await?;
    let ns = &call.shared.state.ns;
    let budget = call.shared.settings.content_summary_limit;
    let mut cursor = ns.read().content_summary(&call.caller, path)?;
    while !ns.read().content_summary_step(&call.caller, &mut cursor, budget)? {
        tokio::task::yield_now().await;
    }
    Ok(cursor.summary())
}
