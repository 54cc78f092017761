//! ClientProtocol: what clients and administrators call. One file per family of calls.
//!
//! A handler decodes its request, runs under the locks it needs, and answers: reads inline, mutations through
//! [`Call::mutate`], which checks, proposes to the journal and answers when the command was applied.
//! Invariant: no handler blocks; a caller whose groups are not known yet is resolved on a blocking thread first.

mod acl;
mod admin;
mod attributes;
mod batched_listing;
mod cache_pools;
mod call;
mod concat;
mod encryption_zones;
mod erasure_coding;
mod files;
mod inotify;
mod leases;
mod listing;
mod meta_save;
mod names;
mod quotas;
mod reads;
mod security;
mod snapshots;
mod storage_policies;
mod summary;
mod tokens;
mod truncate;
mod upkeep;
mod write;
mod xattr;

pub(crate) use call::{Audit, Call};
pub(crate) use files::unexpected;

use crate::Shared;
use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::protocol::CLIENT_PROTOCOL;
use std::sync::Arc;

/// A call's code: from its circumstances and request bytes to its answer.
type Handler = fn(&Call, Bytes) -> Reply;

/// The protocol, served from the NameNode's shared parts.
pub struct ClientProtocol {
    shared: Arc<Shared>,
}

impl ClientProtocol {
    /// Serves `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl RpcProtocol for ClientProtocol {
    fn name(&self) -> &'static str {
        CLIENT_PROTOCOL
    }

    fn methods(&self) -> &'static [&'static str] {
        METHODS
    }

    fn call(&self, context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        let handler = handler(method)?;
        Some(run_with_caller(&self.shared, context, body, handler))
    }
}

/// Runs `handler` for the call's user, at once if its groups are known.
pub(crate) fn run_with_caller(shared: &Arc<Shared>, context: &CallContext, body: Bytes, handler: Handler) -> Reply {
    let user = &context.user.user;
    if let Some(caller) = shared.callers.cached(user) {
        let call = Call::new(Arc::clone(shared), context.clone(), caller);
        return handler(&call, body);
    }
    let (shared, context) = (Arc::clone(shared), context.clone());
    Reply::Later(Box::pin(async move {
        let place = shared.callers.lookup_place().await;
        let asking = Arc::clone(&shared);
        let user = Arc::clone(&context.user.user);
        let resolved = tokio::task::spawn_blocking(move || asking.callers.resolve(&user)).await;
        let caller = resolved.map_err(|error| hadron_types::HadoopError::io(format!("resolve groups: {error}")))?;
        drop(place);
        let call = Call::new(Arc::clone(&shared), context, caller);
        match handler(&call, body) {
            Reply::Ready(result) => result,
            Reply::Later(future) | Reply::Waiting(future) => future.await,
        }
    }))
}

macro_rules! methods {
    ($($name:literal => $handler:path,)*) => {
        /// Every method served.
        const METHODS: &[&str] = &[$($name,)*];

        fn handler(method: &str) -> Option<Handler> {
            Some(match method {
                $($name => $handler,)*
                _ => return None,
            })
        }
    };
}

methods! {
    "getFileInfo" => reads::get_file_info,
    "getBlockLocations" => reads::get_block_locations,
    "getListing" => listing::get_listing,
    "getBatchedListing" => batched_listing::get_batched_listing,
    "create" => files::create,
    "addBlock" => write::add_block,
    "complete" => write::complete,
    "getFileLinkInfo" => reads::get_file_link_info,
    "getLocatedFileInfo" => reads::get_located_file_info,
    "isFileClosed" => reads::is_file_closed,
    "getPreferredBlockSize" => reads::get_preferred_block_size,
    "getLinkTarget" => reads::get_link_target,
    "createSymlink" => names::create_symlink,
    "checkAccess" => reads::check_access,
    "getContentSummary" => summary::get_content_summary,
    "getQuotaUsage" => quotas::get_quota_usage,
    "append" => files::append,
    "truncate" => truncate::truncate,
    "abandonBlock" => write::abandon_block,
    "fsync" => write::fsync,
    "getAdditionalDatanode" => write::get_additional_datanode,
    "updateBlockForPipeline" => write::update_block_for_pipeline,
    "updatePipeline" => write::update_pipeline,
    "reportBadBlocks" => write::report_bad_blocks,
    "mkdirs" => names::mkdirs,
    "rename" => names::rename,
    "rename2" => names::rename2,
    "delete" => names::delete,
    "setPermission" => attributes::set_permission,
    "setOwner" => attributes::set_owner,
    "setTimes" => attributes::set_times,
    "setReplication" => attributes::set_replication,
    "renewLease" => leases::renew_lease,
    "recoverLease" => leases::recover_lease,
    "listOpenFiles" => leases::list_open_files,
    "getServerDefaults" => admin::get_server_defaults,
    "getFsStats" => admin::get_fs_stats,
    "getFsReplicatedBlockStats" => admin::get_replicated_block_stats,
    "getFsECBlockGroupStats" => admin::get_ec_block_group_stats,
    "getDatanodeReport" => admin::get_datanode_report,
    "getDatanodeStorageReport" => admin::get_datanode_storage_report,
    "listCorruptFileBlocks" => admin::list_corrupt_file_blocks,
    "setSafeMode" => admin::set_safe_mode,
    "saveNamespace" => upkeep::save_namespace,
    "rollEdits" => upkeep::roll_edits,
    "refreshNodes" => admin::refresh_nodes,
    "setBalancerBandwidth" => upkeep::set_balancer_bandwidth,
    "finalizeUpgrade" => upkeep::finalize_upgrade,
    "upgradeStatus" => upkeep::upgrade_status,
    "rollingUpgrade" => upkeep::rolling_upgrade,
    "getCurrentEditLogTxid" => inotify::get_current_edit_log_txid,
    "getHAServiceState" => admin::get_ha_service_state,
    "msync" => admin::msync,
    "setQuota" => quotas::set_quota,
    "concat" => concat::concat,
    "getStoragePolicies" => storage_policies::get_storage_policies,
    "getStoragePolicy" => storage_policies::get_storage_policy,
    "setStoragePolicy" => storage_policies::set_storage_policy,
    "unsetStoragePolicy" => storage_policies::unset_storage_policy,
    "satisfyStoragePolicy" => storage_policies::satisfy_storage_policy,
    "getDataEncryptionKey" => security::get_data_encryption_key,
    "getDelegationToken" => tokens::get_delegation_token,
    "getEZForPath" => security::get_ez_for_path,
    "getErasureCodingPolicy" => security::get_erasure_coding_policy,
    "setAcl" => acl::set_acl,
    "modifyAclEntries" => acl::modify_acl_entries,
    "removeAclEntries" => acl::remove_acl_entries,
    "removeAcl" => acl::remove_acl,
    "removeDefaultAcl" => acl::remove_default_acl,
    "getAclStatus" => acl::get_acl_status,
    "setXAttr" => xattr::set_x_attr,
    "removeXAttr" => xattr::remove_x_attr,
    "getXAttrs" => xattr::get_x_attrs,
    "listXAttrs" => xattr::list_x_attrs,
    "getEditsFromTxid" => inotify::get_edits_from_txid,
    "metaSave" => meta_save::meta_save,
    "restoreFailedStorage" => upkeep::restore_failed_storage,
    "getSlowDatanodeReport" => admin::get_slow_datanode_report,
    "renewDelegationToken" => tokens::renew_delegation_token,
    "cancelDelegationToken" => tokens::cancel_delegation_token,
    "allowSnapshot" => snapshots::allow_snapshot,
    "disallowSnapshot" => snapshots::disallow_snapshot,
    "createSnapshot" => snapshots::create_snapshot,
    "deleteSnapshot" => snapshots::delete_snapshot,
    "renameSnapshot" => snapshots::rename_snapshot,
    "getSnapshottableDirListing" => snapshots::get_snapshottable_dir_listing,
    "getSnapshotListing" => snapshots::get_snapshot_listing,
    "getSnapshotDiffReport" => snapshots::get_snapshot_diff_report,
    "getSnapshotDiffReportListing" => snapshots::get_snapshot_diff_report_listing,
    "addCacheDirective" => cache_pools::add_cache_directive,
    "modifyCacheDirective" => cache_pools::modify_cache_directive,
    "removeCacheDirective" => cache_pools::remove_cache_directive,
    "listCacheDirectives" => cache_pools::list_cache_directives,
    "addCachePool" => cache_pools::add_cache_pool,
    "modifyCachePool" => cache_pools::modify_cache_pool,
    "removeCachePool" => cache_pools::remove_cache_pool,
    "listCachePools" => cache_pools::list_cache_pools,
    "createEncryptionZone" => encryption_zones::create_encryption_zone,
    "listEncryptionZones" => encryption_zones::list_encryption_zones,
    "reencryptEncryptionZone" => encryption_zones::reencrypt_encryption_zone,
    "listReencryptionStatus" => encryption_zones::list_reencryption_status,
    "getErasureCodingPolicies" => erasure_coding::get_erasure_coding_policies,
    "getErasureCodingCodecs" => erasure_coding::get_erasure_coding_codecs,
    "setErasureCodingPolicy" => erasure_coding::set_erasure_coding_policy,
    "unsetErasureCodingPolicy" => erasure_coding::unset_erasure_coding_policy,
    "addErasureCodingPolicies" => erasure_coding::add_erasure_coding_policies,
    "removeErasureCodingPolicy" => erasure_coding::remove_erasure_coding_policy,
    "enableErasureCodingPolicy" => erasure_coding::enable_erasure_coding_policy,
    "disableErasureCodingPolicy" => erasure_coding::disable_erasure_coding_policy,
    "getECTopologyResultForPolicies" => erasure_coding::get_ec_topology_result,
}
