//! Upkeep of the NameNode itself: images, journal segments, failed name dirs, upgrades, orders to all DataNodes.
//!
//! Source of rules and texts: Hadoop `FSNamesystem`, `FSImage.saveNamespace`, `NameNodeRpcServer`.

use super::Call;
use super::call::Audit;
use bytes::Bytes;
use hadron_net::Reply;
use hadron_proto::hdfs::{
    FinalizeUpgradeRequestProto, FinalizeUpgradeResponseProto, RestoreFailedStorageRequestProto,
    RestoreFailedStorageResponseProto, RollEditsRequestProto, RollEditsResponseProto, RollingUpgradeActionProto,
    RollingUpgradeRequestProto, RollingUpgradeResponseProto, SaveNamespaceRequestProto, SaveNamespaceResponseProto,
    SetBalancerBandwidthRequestProto, SetBalancerBandwidthResponseProto, UpgradeStatusRequestProto,
    UpgradeStatusResponseProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};

/// Most bytes per second that a DataNode may be told to balance with (`HdfsServerConstants`).
const MAX_BANDWIDTH: i64 = 1 << 40;

/// saveNamespace: an image of the state as it is, in safe mode only; none (and false) if the newest is young enough.
pub(super) fn save_namespace(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: SaveNamespaceRequestProto| async move {
        let audit = Audit::command("saveNamespace");
        call.require_superuser_for(&audit)?;
        let shared = &call.shared;
        if !shared.state.blocks.lock().safe_mode().is_on() {
            let message = "Safe mode should be turned ON in order to create namespace image.";
            return Err(HadoopError::io(message));
        }
        let (window, gap) = (request.time_window(), request.tx_gap());
        if window > 0 || gap > 0 {
            let image = shared.log.newest_image();
            let age = shared.state.clock.now().since(image.created);
            if age <= window.saturating_mul(1000) && image.index.0.saturating_add(gap) >= shared.last_applied().0 {
                call.audit_outcome(&audit, &Ok(()));
                return Ok(SaveNamespaceResponseProto { saved: Some(false) });
            }
        }
        let saved = shared.checkpoint().await;
        call.audit_outcome(&audit, &saved);
        saved?;
        Ok(SaveNamespaceResponseProto { saved: Some(true) })
    })
}

/// rollEdits: the journal goes on in a new segment; the answer is its first transaction.
pub(super) fn roll_edits(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, _: RollEditsRequestProto| async move {
        let audit = Audit::command("rollEditLog");
        call.require_superuser_for(&audit)?;
        call.shared.require_no_safe_mode(|| "Log not rolled".to_owned())?;
        let rolled = call.shared.roll_log().await;
        call.audit_outcome(&audit, &rolled);
        let new_segment_tx_id = rolled?.0;
        Ok(RollEditsResponseProto { new_segment_tx_id })
    })
}

/// restoreFailedStorage: whether name dirs that failed are taken back with the next image or segment.
pub(super) fn restore_failed_storage(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: RestoreFailedStorageRequestProto| {
        let command = match request.arg.as_str() {
            "check" => "checkRestoreFailedStorage",
            "true" => "enableRestoreFailedStorage",
            _ => "disableRestoreFailedStorage",
        };
        call.audited(command)?;
        let log = &call.shared.log;
        if request.arg != "check" {
            log.set_restore_failed_dirs(request.arg == "true");
        }
        Ok(RestoreFailedStorageResponseProto {
            result: log.restores_failed_dirs(),
        })
    })
}

/// setBalancerBandwidth: every known DataNode is told with its next heartbeat.
pub(super) fn set_balancer_bandwidth(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: SetBalancerBandwidthRequestProto| {
        let refuse = |text: String| Err(HadoopError::new(ErrorKind::IllegalArgument, text));
        let Ok(bandwidth) = u64::try_from(request.bandwidth) else {
            return refuse("Bandwidth should be non-negative.".to_owned());
        };
        if request.bandwidth > MAX_BANDWIDTH {
            return refuse(format!(
                "Bandwidth should not exceed maximum limit {MAX_BANDWIDTH} bytes per second"
            ));
        }
        call.audited("setBalancerBandwidth")?;
        let state = &call.shared.state;
        let known = state.blocks.lock().datanodes(state.now());
        let nodes = known.into_iter().map(|report| report.info.id.uuid.clone());
        call.shared.bandwidth.order(nodes, bandwidth);
        Ok(SetBalancerBandwidthResponseProto {})
    })
}

/// finalizeUpgrade: nothing to finalize.
pub(super) fn finalize_upgrade(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: FinalizeUpgradeRequestProto| {
        call.audited("finalizeUpgrade")
            .map(|()| FinalizeUpgradeResponseProto {})
    })
}

/// upgradeStatus: always finalized.
pub(super) fn upgrade_status(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: UpgradeStatusRequestProto| {
        call.require_superuser_for(&Audit::command("upgradeStatus"))?;
        Ok(UpgradeStatusResponseProto {
            upgrade_finalized: true,
        })
    })
}

/// rollingUpgrade: none is running, none can be started.
pub(super) fn rolling_upgrade(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: RollingUpgradeRequestProto| {
        call.require_superuser_for(&Audit::command(match request.action() {
            RollingUpgradeActionProto::Query => "queryRollingUpgrade",
            RollingUpgradeActionProto::Start => "startRollingUpgrade",
            RollingUpgradeActionProto::Finalize => "finalizeRollingUpgrade",
        }))?;
        match request.action() {
            RollingUpgradeActionProto::Query => Ok(RollingUpgradeResponseProto::default()),
            RollingUpgradeActionProto::Start => Err(HadoopError::new(
                ErrorKind::UnsupportedAction,
                "rolling upgrades are not supported: stop the NameNode, exchange the program and start it again",
            )),
            RollingUpgradeActionProto::Finalize => Err(HadoopError::io(
                "Failed to finalize rolling upgrade since there is no rolling upgrade in progress.",
            )),
        }
    })
}

impl Call {
    /// Refuses everybody but superusers, and writes the audit line of `command` either way. For calls that cannot fail
    /// afterwards.
    pub(crate) fn audited(&self, command: &'static str) -> HadoopResult<()> {
        let allowed = self.require_superuser();
        self.audit_outcome(&Audit::command(command), &allowed);
        allowed
    }
}
