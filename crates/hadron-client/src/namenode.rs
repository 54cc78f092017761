//! The NameNode as typed calls, with reconnection and retries.
//!
//! One connection carries all calls of a client. A call keeps its id over every retry, so that the server's retry cache
//! answers a repeated one from memory: at most once.
//! With several addresses (a nameservice), a NameNode that is standby or gone is left for the next one.
//! What it does not do: hedge calls, read from observers.
//! Invariant: no lock is held while a call waits.

use crate::error::{FsError, Result};
use crate::settings::ClientSettings;
use hadron_net::client::next_call_id;
use hadron_net::{RpcClient, RpcClientOptions, RpcError};
use hadron_proto::hdfs as proto;
use hadron_proto::protocol::CLIENT_PROTOCOL;
use hadron_types::ErrorKind;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// First wait before a call is repeated; doubles up to [`MAX_RETRY_DELAY`].
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(200);
/// Longest wait before a call is repeated.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);

/// Calls of `ClientProtocol`.
#[derive(Debug)]
pub(crate) struct NameNode {
    addrs: Vec<SocketAddr>,
    /// Index of the address that is tried first.
    preferred: AtomicUsize,
    options: RpcClientOptions,
    connect_retries: usize,
    connect_retry_interval: Duration,
    call_retries: usize,
    current: Mutex<Option<RpcClient>>,
    connecting: tokio::sync::Mutex<()>,
}

impl NameNode {
    /// Names the server; connects nothing yet. `addrs` is not empty.
    pub(crate) fn new(addrs: Vec<SocketAddr>, user: &str, settings: &ClientSettings) -> Self {
        let mut options = RpcClientOptions::new(user, CLIENT_PROTOCOL);
        options.connect_timeout = settings.connect_timeout;
        Self {
            addrs,
            preferred: AtomicUsize::new(0),
            options,
            connect_retries: settings.connect_retries,
            connect_retry_interval: settings.connect_retry_interval,
            call_retries: settings.call_retries,
            current: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    fn open_connection(&self) -> Option<RpcClient> {
        self.current.lock().as_ref().filter(|client| client.is_open()).cloned()
    }

    async fn connection(&self) -> std::result::Result<RpcClient, RpcError> {
        if let Some(client) = self.open_connection() {
            return Ok(client);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(client) = self.open_connection() {
            return Ok(client);
        }
        let mut tries = 0;
        loop {
            let mut last = None;
            let preferred = self.preferred.load(Ordering::Relaxed);
            for index in (0..self.addrs.len()).map(|offset| (preferred + offset) % self.addrs.len()) {
                match RpcClient::connect(self.addrs[index], self.options.clone()).await {
                    Ok(client) => {
                        self.preferred.store(index, Ordering::Relaxed);
                        *self.current.lock() = Some(client.clone());
                        return Ok(client);
                    }
                    Err(error) => last = Some(error),
                }
            }
            match last {
                Some(error) if tries < self.connect_retries && error.is_connection_failure() => {
                    tries += 1;
                    tracing::info!(%error, tries, "retrying connect to name node");
                    tokio::time::sleep(self.connect_retry_interval).await;
                }
                Some(error) => return Err(error),
                // Not reached: `addrs` is not empty. Trying again would spin.
                None => std::future::pending::<()>().await,
            }
        }
    }

    /// Leaves the NameNode behind `client` for the next one, unless another call did so already.
    fn fail_over(&self, client: &RpcClient) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|current| current.addr() == client.addr()) {
            *current = None;
            self.preferred.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Calls `method`, repeating it on a new connection when the old one broke, on `RetriableException`, and at the next
    /// NameNode on `StandbyException`.
    async fn call<Q: prost::Message, R: prost::Message + Default>(
        &self,
        method: &'static str,
        request: &Q,
    ) -> Result<R> {
        let call_id = next_call_id();
        let mut retries = 0;
        let mut delay = FIRST_RETRY_DELAY;
        loop {
            // Connecting has its own retries; only what was sent, or might have been, is repeated here.
            let client = self.connection().await?;
            let error = match client.call_as(call_id, retries as i32, method, request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let later = match error.remote().map(|remote| remote.kind) {
                Some(ErrorKind::Retriable) => true,
                Some(ErrorKind::Standby) if self.addrs.len() > 1 => {
                    self.fail_over(&client);
                    true
                }
                _ => false,
            };
            if retries >= self.call_retries || !(later || error.is_connection_failure()) {
                return Err(FsError::from(error));
            }
            retries += 1;
            tracing::info!(%error, method, retries, "repeating call to name node");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(MAX_RETRY_DELAY);
        }
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
    get_server_defaults = "getServerDefaults" (GetServerDefaultsRequestProto) -> GetServerDefaultsResponseProto;
    get_fs_stats = "getFsStats" (GetFsStatusRequestProto) -> GetFsStatsResponseProto;
    get_datanode_report = "getDatanodeReport" (GetDatanodeReportRequestProto) -> GetDatanodeReportResponseProto;
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
