//! Content summaries, counted in slices so that writers are never locked out for long.

use super::Call;
use super::call::{Audit, decode};
use super::quotas::type_infos;
use bytes::Bytes;
use hadron_namespace::SummaryCursor;
use hadron_net::Reply;
use hadron_proto::hdfs::{ContentSummaryProto, GetContentSummaryRequestProto, GetContentSummaryResponseProto};
use hadron_types::HadoopResult;

/// getContentSummary.
pub(super) fn get_content_summary(call: &Call, body: Bytes) -> Reply {
    let (call, request) = match decode::<GetContentSummaryRequestProto>(body) {
        Ok(request) => (call.clone(), request),
        Err(error) => return Reply::error(error),
    };
    Reply::spawned(async move {
        let counted = count(&call, &request.path).await;
        call.audit_outcome(&Audit::of("contentSummary", &request.path), &counted);
        let counted = counted?;
        let (summary, limits) = (counted.summary(), counted.limits());
        Ok(GetContentSummaryResponseProto {
            summary: ContentSummaryProto {
                length: summary.len,
                file_count: summary.files,
                directory_count: summary.directories,
                quota: limits.names as u64,
                space_consumed: summary.space_consumed,
                space_quota: limits.space as u64,
                type_quota_infos: type_infos(&limits, &summary.by_type.map(|bytes| bytes as i64)),
                snapshot_length: Some(0),
                snapshot_file_count: Some(0),
                snapshot_directory_count: Some(0),
                snapshot_space_consumed: Some(0),
                erasure_coding_policy: Some(String::new()),
            },
        })
    })
}

/// Counts a tree, giving way to others after each slice.
pub(super) async fn count(call: &Call, path: &str) -> HadoopResult<SummaryCursor> {
    call.pass_barrier().await?;
    let ns = &call.shared.state.ns;
    let budget = call.shared.settings.content_summary_limit;
    let mut cursor = ns.read().content_summary(&call.caller, path)?;
    while !ns.read().content_summary_step(&call.caller, &mut cursor, budget)? {
        tokio::task::yield_now().await;
    }
    Ok(cursor)
}
