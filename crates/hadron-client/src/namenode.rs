//! The NameNode as typed calls, with reconnection, retries and fail-over.
//!
//! One connection per NameNode carries all calls of a client. A call keeps its id and its client's id over every retry,
//! wherever it goes, and raises its retry count, so that the server's retry cache answers a repeated one from memory: at
//! most once. Of a name service the NameNode that served last is asked first; [`policy`] says when another one is.
//! With the observer provider, reads go to observers ([`observer`]).
//! What it does not do: hedge calls.
//! Invariant: no lock is held while a call waits, but for those that wait for the same connection.

mod methods;
mod observer;
mod policy;
mod settings;
mod target;

pub(crate) use settings::NameNodeSettings;

use crate::error::{FsError, Result};
use hadron_env::{Random, SystemRandom};
use hadron_net::client::next_call_id;
use hadron_net::{RpcClientOptions, RpcError, StateIdSeen};
use hadron_proto::hdfs as proto;
use hadron_proto::protocol::CLIENT_PROTOCOL;
use observer::Observers;
use policy::{Counts, Decision, Fault, Policy};
use settings::Provider;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use target::{Target, TryError};

/// Calls of `ClientProtocol`.
pub(crate) struct NameNode {
    /// In the order in which they are tried; not empty.
    targets: Vec<Target>,
    /// Fail-overs of this client so far. Modulo their count it tells which target is asked.
    epoch: AtomicUsize,
    policy: Policy,
    random: SystemRandom,
    observers: Option<Observers>,
}

impl NameNode {
    /// Names the servers; connects nothing yet.
    pub(crate) fn new(user: &str, settings: &NameNodeSettings) -> Self {
        Self::speaking(CLIENT_PROTOCOL, user, settings)
    }

    /// As [`Self::new`] for another of the NameNode's protocols.
    pub(crate) fn speaking(protocol: &'static str, user: &str, settings: &NameNodeSettings) -> Self {
        let reads_from_observers = settings.provider == Provider::ObserverRead && settings.targets.len() > 1;
        let mut options = RpcClientOptions::new(user, protocol);
        options.connect_timeout = settings.connect_timeout;
        options.call_timeout = settings.call_timeout;
        options.ping_interval = settings.ping_interval;
        options.state_id = reads_from_observers.then(|| Arc::new(StateIdSeen::default()));
        let random = SystemRandom::new();
        let mut names = settings.targets.clone();
        if settings.random_order {
            shuffle(&mut names, &random);
        }
        let target = |name| Target::new(name, options.clone(), settings);
        Self {
            targets: names.into_iter().map(target).collect(),
            epoch: AtomicUsize::new(0),
            policy: settings.policy,
            random,
            observers: reads_from_observers.then(|| Observers::new(settings)),
        }
    }

    /// Calls any method.
    pub(crate) async fn call<Q: prost::Message, R: prost::Message + Default>(
        &self,
        method: &'static str,
        request: &Q,
    ) -> Result<R> {
        if let Some(observers) = &self.observers {
            if methods::is_observer_read(method)
                && let Some(answer) = self.read_from_observer(observers, method, request).await?
            {
                return Ok(answer);
            }
            let answer = self.call_active(method, request).await?;
            observers.note_sync();
            return Ok(answer);
        }
        self.call_active(method, request).await
    }

    /// Calls `method` on the NameNode that is active, finding out which one that is.
    async fn call_active<Q: prost::Message, R: prost::Message + Default>(
        &self,
        method: &'static str,
        request: &Q,
    ) -> Result<R> {
        let call_id = next_call_id();
        let mut counts = Counts::default();
        loop {
            let epoch = self.epoch.load(Ordering::Relaxed);
            let target = &self.targets[epoch % self.targets.len()];
            let (fault, error) = match target.call(call_id, counts.retries, method, request).await {
                Ok(response) => return Ok(response),
                Err(error) => classify(error),
            };
            let decision = self.policy.decide(fault, counts, self.random_fraction());
            if decision == Decision::GiveUp {
                if counts.retries > 0 {
                    tracing::warn!(%error, method, namenode = %target.name(), ?counts, "giving up a call to name node");
                }
                return Err(FsError::from(error));
            }
            tracing::info!(%error, method, namenode = %target.name(), ?counts, ?decision, "repeating call to name node");
            match decision {
                Decision::FailOver(wait) => {
                    tokio::time::sleep(wait).await;
                    // Of several calls that met the same failure only the first goes on to the next NameNode.
                    let next = epoch.wrapping_add(1);
                    let _ = self
                        .epoch
                        .compare_exchange(epoch, next, Ordering::Relaxed, Ordering::Relaxed);
                    counts.failovers += 1;
                }
                Decision::Retry(wait) => tokio::time::sleep(wait).await,
                Decision::GiveUp => {}
            }
            counts.retries += 1;
        }
    }

    /// A number in 0..1.
    fn random_fraction(&self) -> f64 {
        const STEPS: u64 = 1 << 32;
        self.random.below(STEPS) as f64 / STEPS as f64
    }
}

impl std::fmt::Debug for NameNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NameNode")
            .field("targets", &self.targets)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

fn classify(error: TryError) -> (Fault, RpcError) {
    match error {
        TryError::NotSent(error) if error.is_connection_failure() => (Fault::Unreachable, error),
        TryError::NotSent(error) | TryError::Sent(error) => (Fault::of(&error), error),
    }
}

fn shuffle<T>(items: &mut [T], random: &SystemRandom) {
    for last in (1..items.len()).rev() {
        let other = usize::try_from(random.below(last as u64 + 1)).unwrap_or(last);
        items.swap(last, other);
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident = $method:literal ($request:ident) -> $response:ident;)*) => {
        impl NameNode {
            $(
                $(#[$doc])*
                pub(crate) async fn $name(&self, request: &proto::$request) -> Result<proto::$response> {
                    self.call($method, request).await
                }
            )*
        }
    };
}

calls! {
    get_file_info = "getFileInfo" (GetFileInfoRequestProto) -> GetFileInfoResponseProto;
    get_listing = "getListing" (GetListingRequestProto) -> GetListingResponseProto;
    get_block_locations = "getBlockLocations" (GetBlockLocationsRequestProto) -> GetBlockLocationsResponseProto;
    get_content_summary = "getContentSummary" (GetContentSummaryRequestProto) -> GetContentSummaryResponseProto;
    get_quota_usage = "getQuotaUsage" (GetQuotaUsageRequestProto) -> GetQuotaUsageResponseProto;
    set_quota = "setQuota" (SetQuotaRequestProto) -> SetQuotaResponseProto;
    get_storage_policies = "getStoragePolicies" (GetStoragePoliciesRequestProto) -> GetStoragePoliciesResponseProto;
    set_storage_policy = "setStoragePolicy" (SetStoragePolicyRequestProto) -> SetStoragePolicyResponseProto;
    unset_storage_policy = "unsetStoragePolicy" (UnsetStoragePolicyRequestProto) -> UnsetStoragePolicyResponseProto;
    satisfy_storage_policy = "satisfyStoragePolicy" (SatisfyStoragePolicyRequestProto) -> SatisfyStoragePolicyResponseProto;
    concat = "concat" (ConcatRequestProto) -> ConcatResponseProto;
    /// Brings the client's state id up to what the active has.
    msync = "msync" (MsyncRequestProto) -> MsyncResponseProto;
    get_server_defaults = "getServerDefaults" (GetServerDefaultsRequestProto) -> GetServerDefaultsResponseProto;
    get_fs_stats = "getFsStats" (GetFsStatusRequestProto) -> GetFsStatsResponseProto;
    get_datanode_report = "getDatanodeReport" (GetDatanodeReportRequestProto) -> GetDatanodeReportResponseProto;
    get_datanode_storage_report = "getDatanodeStorageReport" (GetDatanodeStorageReportRequestProto) -> GetDatanodeStorageReportResponseProto;
    set_safe_mode = "setSafeMode" (SetSafeModeRequestProto) -> SetSafeModeResponseProto;
    save_namespace = "saveNamespace" (SaveNamespaceRequestProto) -> SaveNamespaceResponseProto;
    check_access = "checkAccess" (CheckAccessRequestProto) -> CheckAccessResponseProto;
    is_file_closed = "isFileClosed" (IsFileClosedRequestProto) -> IsFileClosedResponseProto;
    mkdirs = "mkdirs" (MkdirsRequestProto) -> MkdirsResponseProto;
    delete = "delete" (DeleteRequestProto) -> DeleteResponseProto;
    rename = "rename" (RenameRequestProto) -> RenameResponseProto;
    rename2 = "rename2" (Rename2RequestProto) -> Rename2ResponseProto;
    set_permission = "setPermission" (SetPermissionRequestProto) -> SetPermissionResponseProto;
    set_owner = "setOwner" (SetOwnerRequestProto) -> SetOwnerResponseProto;
    set_times = "setTimes" (SetTimesRequestProto) -> SetTimesResponseProto;
    set_replication = "setReplication" (SetReplicationRequestProto) -> SetReplicationResponseProto;
    create = "create" (CreateRequestProto) -> CreateResponseProto;
    truncate = "truncate" (TruncateRequestProto) -> TruncateResponseProto;
    append = "append" (AppendRequestProto) -> AppendResponseProto;
    add_block = "addBlock" (AddBlockRequestProto) -> AddBlockResponseProto;
    abandon_block = "abandonBlock" (AbandonBlockRequestProto) -> AbandonBlockResponseProto;
    complete = "complete" (CompleteRequestProto) -> CompleteResponseProto;
    fsync = "fsync" (FsyncRequestProto) -> FsyncResponseProto;
    get_additional_datanode = "getAdditionalDatanode" (GetAdditionalDatanodeRequestProto) -> GetAdditionalDatanodeResponseProto;
    update_block_for_pipeline = "updateBlockForPipeline" (UpdateBlockForPipelineRequestProto) -> UpdateBlockForPipelineResponseProto;
    update_pipeline = "updatePipeline" (UpdatePipelineRequestProto) -> UpdatePipelineResponseProto;
    renew_lease = "renewLease" (RenewLeaseRequestProto) -> RenewLeaseResponseProto;
    recover_lease = "recoverLease" (RecoverLeaseRequestProto) -> RecoverLeaseResponseProto;
    report_bad_blocks = "reportBadBlocks" (ReportBadBlocksRequestProto) -> ReportBadBlocksResponseProto;
}
