//! The end of a DataNode by itself: too many failed volumes, or somebody's order; and failing volumes on the way there.
//!
//! Does not stop anything: who runs the DataNode waits for [`Ending`] and shuts it down.

use crate::namenode::link::ErrorNews;
use crate::shared::Shared;
use hadron_replica::VolumeFailure;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;

/// `ErrorReportRequestProto.ErrorCode`.
const DISK_ERROR: u32 = 1;
const FATAL_DISK_ERROR: u32 = 3;
/// How long a DataNode that must stop waits for its NameNodes to hear why.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why a DataNode wants to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It cannot go on; the text says why and what to do.
    Failed(String),
    /// It was told to stop.
    Asked {
        /// It will be started again soon with other software.
        for_upgrade: bool,
    },
}

/// Has the store tell `shared` of failing volumes.
pub(crate) fn watch_volumes(shared: &Arc<Shared>) {
    let weak: Weak<Shared> = Arc::downgrade(shared);
    shared.store.on_volume_failure(Box::new(move |failure, enough| {
        if let Some(shared) = weak.upgrade() {
            volume_failed(&shared, failure, enough);
        }
    }));
}

/// Tells the NameNodes; reports what is left, or ends the DataNode. Source: Hadoop `DataNode.handleDiskError`.
fn volume_failed(shared: &Arc<Shared>, failure: &VolumeFailure, enough: bool) {
    shared.metrics.volume_failures.inc();
    let code = if enough { DISK_ERROR } else { FATAL_DISK_ERROR };
    let mut heard = Vec::new();
    for link in shared.links().iter().filter(|link| link.pool().is_some()) {
        let (sent, told) = oneshot::channel();
        let message = format!("{}: {}", failure.location(), failure.reason);
        link.report_error(ErrorNews { code, message, sent });
        link.want_full_report();
        heard.push(told);
    }
    if enough {
        return;
    }
    let text = format!(
        "too many failed volumes ({} of {}, dfs.datanode.failed.volumes.tolerated is {}), the last one {}: {}; replace \
         the disks and start again",
        shared.store.failures().len(),
        shared.settings.volumes.len(),
        shared.settings.store.failed_volumes_tolerated,
        failure.dir.display(),
        failure.reason
    );
    tracing::error!("the DataNode stops: {text}");
    let ending = shared.clone();
    shared.runtime.spawn(async move {
        let all = futures::future::join_all(heard);
        if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
            tracing::warn!("not every NameNode heard why the DataNode stops");
        }
        ending.end(Ending::Failed(text));
    });
}
