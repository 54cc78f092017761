//! Administrative calls and protocols over real connections: answers, refusals and their exact first lines.

mod common;

use common::{Client, Cluster, OWNER, datanode};
use hadron_env::ManualClock;
use hadron_proto::common::{
    GenericRefreshRequestProto, GetDelegationTokenRequestProto, GetDelegationTokenResponseProto,
    GetGroupsForUserRequestProto, GetGroupsForUserResponseProto, GetProtocolSignatureRequestProto,
    GetProtocolSignatureResponseProto, RefreshCallQueueRequestProto, RefreshCallQueueResponseProto,
    RefreshServiceAclRequestProto, RefreshSuperUserGroupsConfigurationRequestProto,
    RefreshSuperUserGroupsConfigurationResponseProto, RefreshUserToGroupsMappingsRequestProto,
    RefreshUserToGroupsMappingsResponseProto, RenewDelegationTokenRequestProto, TokenProto,
};
use hadron_proto::hdfs::*;
use hadron_proto::namenode::{
    GetBlockKeysRequestProto, GetBlockKeysResponseProto, GetBlocksRequestProto, GetBlocksResponseProto,
    GetMostRecentCheckpointTxIdRequestProto, GetMostRecentCheckpointTxIdResponseProto, GetTransactionIdRequestProto,
    GetTransactionIdResponseProto, RollEditLogRequestProto, RollEditLogResponseProto,
};
use hadron_proto::protocol;
use prost::Message;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ACCESS: &str = "org.apache.hadoop.security.AccessControlException";
const SNAPSHOT: &str = "org.apache.hadoop.hdfs.protocol.SnapshotException";
const UNSUPPORTED: &str = "java.lang.UnsupportedOperationException";
const ILLEGAL: &str = "org.apache.hadoop.HadoopIllegalArgumentException";
const INVALID: &str = "org.apache.hadoop.fs.InvalidRequestException";
const DENIED: &str = "Access denied for user alice. Superuser privilege is required";

async fn mkdirs(client: &Client, path: &str) {
    let request = MkdirsRequestProto {
        src: path.to_owned(),
        masked: common::permission(0o755),
        create_parent: true,
        unmasked: None,
    };
    let made: MkdirsResponseProto = client.call("mkdirs", request).await.expect("mkdirs");
    assert!(made.result);
}

async fn safe_mode(client: &Client, action: SafeModeActionProto) -> bool {
    let request = SetSafeModeRequestProto {
        action: action as i32,
        checked: None,
    };
    let answer: SetSafeModeResponseProto = client.call("setSafeMode", request).await.expect("setSafeMode");
    answer.result
}

/// Waits for what happens on other threads; panics after ten seconds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn everybody_but_superusers_is_refused_with_hadoops_words() {
    let cluster = Cluster::start().await;
    let alice = cluster.client("alice").await;
    macro_rules! refused {
        ($($method:literal $request:expr;)*) => {
            $(alice.refused($method, $request, ACCESS, DENIED).await;)*
        };
    }
    refused! {
        "saveNamespace" SaveNamespaceRequestProto::default();
        "rollEdits" RollEditsRequestProto {};
        "restoreFailedStorage" RestoreFailedStorageRequestProto { arg: "check".to_owned() };
        "finalizeUpgrade" FinalizeUpgradeRequestProto {};
        "upgradeStatus" UpgradeStatusRequestProto {};
        "metaSave" MetaSaveRequestProto { filename: "m".to_owned() };
        "setBalancerBandwidth" SetBalancerBandwidthRequestProto { bandwidth: 1 };
        "getDatanodeReport" GetDatanodeReportRequestProto { r#type: 1 };
        "getDatanodeStorageReport" GetDatanodeStorageReportRequestProto { r#type: 1 };
        "getSlowDatanodeReport" GetSlowDatanodeReportRequestProto {};
        "listCorruptFileBlocks" ListCorruptFileBlocksRequestProto { path: "/".to_owned(), cookie: None };
        "getCurrentEditLogTxid" GetCurrentEditLogTxidRequestProto {};
        "getEditsFromTxid" GetEditsFromTxidRequestProto { txid: 1 };
        "allowSnapshot" AllowSnapshotRequestProto { snapshot_root: "/".to_owned() };
        "addCachePool" AddCachePoolRequestProto::default();
        "createEncryptionZone" CreateEncryptionZoneRequestProto { src: "/".to_owned(), key_name: None };
        "enableErasureCodingPolicy" EnableErasureCodingPolicyRequestProto { ec_policy_name: "x".to_owned() };
    }
}

#[tokio::test]
async fn snapshot_calls_answer_as_without_snapshottable_directories() {
    let cluster = Cluster::start().await;
    let hdfs = cluster.client(OWNER).await;
    mkdirs(&hdfs, "/d").await;
    hdfs.touch("/f").await;
    let root = |path: &str| path.to_owned();
    let line = "Directory is not a snapshottable directory: /d";
    let create = |path: &str| CreateSnapshotRequestProto {
        snapshot_root: root(path),
        snapshot_name: Some("s".to_owned()),
    };
    hdfs.refused("createSnapshot", create("/d"), SNAPSHOT, line).await;
    hdfs.refused(
        "createSnapshot",
        create("/none"),
        "java.io.FileNotFoundException",
        "Directory does not exist: /none",
    )
    .await;
    hdfs.refused(
        "createSnapshot",
        create("/f"),
        "org.apache.hadoop.fs.PathIsNotDirectoryException",
        "`/f': Is not a directory",
    )
    .await;
    let delete = DeleteSnapshotRequestProto {
        snapshot_root: root("/d"),
        snapshot_name: "s".to_owned(),
    };
    hdfs.refused("deleteSnapshot", delete, SNAPSHOT, line).await;
    let rename = RenameSnapshotRequestProto {
        snapshot_root: root("/d"),
        snapshot_old_name: "s".to_owned(),
        snapshot_new_name: "t".to_owned(),
    };
    hdfs.refused("renameSnapshot", rename, SNAPSHOT, line).await;
    let diff = GetSnapshotDiffReportRequestProto {
        snapshot_root: root("/d"),
        from_snapshot: "s".to_owned(),
        to_snapshot: String::new(),
    };
    let no_root = "The path /d is neither snapshottable nor under a snapshot root!";
    hdfs.refused("getSnapshotDiffReport", diff, SNAPSHOT, no_root).await;
    let allow = AllowSnapshotRequestProto {
        snapshot_root: root("/d"),
    };
    let words = "snapshots are not supported by this NameNode: /d cannot be made snapshottable";
    hdfs.refused("allowSnapshot", allow, UNSUPPORTED, words).await;
    let disallow = DisallowSnapshotRequestProto {
        snapshot_root: root("/d"),
    };
    let _: DisallowSnapshotResponseProto = hdfs.call("disallowSnapshot", disallow).await.expect("nothing to do");
    let listed: GetSnapshottableDirListingResponseProto = hdfs
        .call("getSnapshottableDirListing", GetSnapshottableDirListingRequestProto {})
        .await
        .expect("a list");
    assert_eq!(listed.snapshottable_dir_list, None);
}

#[tokio::test]
async fn cache_zone_and_erasure_calls_answer_as_without_them() {
    let cluster = Cluster::start().await;
    let hdfs = cluster.client(OWNER).await;
    mkdirs(&hdfs, "/d").await;
    let pools = ListCachePoolsRequestProto::default();
    let pools: ListCachePoolsResponseProto = hdfs.call("listCachePools", pools).await.expect("a list");
    assert!(pools.entries.is_empty() && !pools.has_more);
    let directives = ListCacheDirectivesRequestProto::default();
    let directives: ListCacheDirectivesResponseProto =
        hdfs.call("listCacheDirectives", directives).await.expect("a list");
    assert!(directives.elements.is_empty() && !directives.has_more);
    let add = AddCacheDirectiveRequestProto {
        info: CacheDirectiveInfoProto {
            path: Some("/d".to_owned()),
            pool: Some("p".to_owned()),
            ..CacheDirectiveInfoProto::default()
        },
        cache_flags: None,
    };
    hdfs.refused("addCacheDirective", add, INVALID, "Unknown pool p").await;
    let remove = RemoveCacheDirectiveRequestProto { id: 3 };
    hdfs.refused("removeCacheDirective", remove, INVALID, "No directive with ID 3 found.")
        .await;
    let remove = RemoveCachePoolRequestProto {
        pool_name: "p".to_owned(),
    };
    hdfs.refused(
        "removeCachePool",
        remove,
        INVALID,
        "Cannot remove non-existent cache pool p",
    )
    .await;
    let zone = CreateEncryptionZoneRequestProto {
        src: "/d".to_owned(),
        key_name: Some("k".to_owned()),
    };
    let line = "Can't create an encryption zone for /d since no key provider is available.";
    hdfs.refused("createEncryptionZone", zone, "java.io.IOException", line)
        .await;
    let zones: ListEncryptionZonesResponseProto = hdfs
        .call("listEncryptionZones", ListEncryptionZonesRequestProto { id: 0 })
        .await
        .expect("a list");
    assert!(zones.zones.is_empty() && !zones.has_more);
    let policies: GetErasureCodingPoliciesResponseProto = hdfs
        .call("getErasureCodingPolicies", GetErasureCodingPoliciesRequestProto {})
        .await
        .expect("a list");
    assert_eq!(policies.ec_policies.len(), 5);
    assert!(
        policies
            .ec_policies
            .iter()
            .all(|policy| policy.state() == ErasureCodingPolicyState::Disabled)
    );
    let set = SetErasureCodingPolicyRequestProto {
        src: "/d".to_owned(),
        ec_policy_name: None,
    };
    let line = "Policy 'RS-6-3-1024k' does not match any enabled erasure coding policies: []. An erasure coding policy \
                can be enabled by enableErasureCodingPolicy API.";
    hdfs.refused("setErasureCodingPolicy", set, ILLEGAL, line).await;
    let unset = UnsetErasureCodingPolicyRequestProto { src: "/d".to_owned() };
    hdfs.refused(
        "unsetErasureCodingPolicy",
        unset,
        "org.apache.hadoop.hdfs.protocol.NoECPolicySetException",
        "No erasure coding policy explicitly set on /d",
    )
    .await;
    let enable = EnableErasureCodingPolicyRequestProto {
        ec_policy_name: "nope".to_owned(),
    };
    hdfs.refused(
        "enableErasureCodingPolicy",
        enable,
        ILLEGAL,
        "The policy name nope does not exist",
    )
    .await;
}

#[tokio::test]
async fn images_and_segments_are_made_on_demand() {
    let cluster = Cluster::start().await;
    let hdfs = cluster.client(OWNER).await;
    hdfs.touch("/a").await;
    let save = |time_window, tx_gap| SaveNamespaceRequestProto {
        time_window: Some(time_window),
        tx_gap: Some(tx_gap),
    };
    let line = "Safe mode should be turned ON in order to create namespace image.";
    hdfs.refused("saveNamespace", save(0, 0), "java.io.IOException", line)
        .await;
    let rolled: RollEditsResponseProto = hdfs.call("rollEdits", RollEditsRequestProto {}).await.expect("roll");
    let applied = cluster.node.shared().last_applied().0;
    assert_eq!(rolled.new_segment_tx_id, applied + 1);
    assert!(safe_mode(&hdfs, SafeModeActionProto::SafemodeEnter).await);
    let error: Result<RollEditsResponseProto, _> = hdfs.call("rollEdits", RollEditsRequestProto {}).await;
    let error = error.expect_err("safe mode");
    assert!(
        error
            .first_line()
            .starts_with("Log not rolled. Name node is in safe mode."),
        "{error}"
    );
    let saved: SaveNamespaceResponseProto = hdfs.call("saveNamespace", save(0, 0)).await.expect("save");
    assert_eq!(saved.saved, Some(true));
    let saved: SaveNamespaceResponseProto = hdfs.call("saveNamespace", save(3600, 1000)).await.expect("not needed");
    assert_eq!(saved.saved, Some(false), "the newest image is young enough");
    let namenodes = cluster.client_of(OWNER, protocol::NAMENODE_PROTOCOL).await;
    let image: GetMostRecentCheckpointTxIdResponseProto = namenodes
        .call(
            "getMostRecentCheckpointTxId",
            GetMostRecentCheckpointTxIdRequestProto {},
        )
        .await
        .expect("checkpoint");
    assert_eq!(image.tx_id, applied);
    assert!(!safe_mode(&hdfs, SafeModeActionProto::SafemodeLeave).await);
    hdfs.touch("/b").await;
    let restore = |arg: &str| RestoreFailedStorageRequestProto { arg: arg.to_owned() };
    for (arg, expected) in [("check", false), ("true", true), ("check", true), ("false", false)] {
        let answer: RestoreFailedStorageResponseProto =
            hdfs.call("restoreFailedStorage", restore(arg)).await.expect("restore");
        assert_eq!(answer.result, expected, "{arg}");
    }
    let cluster = cluster.restart().await;
    let hdfs = cluster.client(OWNER).await;
    for path in ["/a", "/b"] {
        let request = GetFileInfoRequestProto { src: path.to_owned() };
        let info: GetFileInfoResponseProto = hdfs.call("getFileInfo", request).await.expect("info");
        assert!(info.fs.is_some(), "{path}");
    }
}

#[tokio::test]
async fn metasave_writes_into_the_log_folder_and_nowhere_else() {
    let logs = tempfile::tempdir().expect("folder");
    let cluster = Cluster::start_with(&[("hadoop.log.dir", &logs.path().display().to_string())]).await;
    cluster.add_datanodes(2);
    let hdfs = cluster.client(OWNER).await;
    hdfs.touch("/a").await;
    for bad in ["../x", "/x", "a/b", "..", ""] {
        let request = MetaSaveRequestProto {
            filename: bad.to_owned(),
        };
        let refused: Result<MetaSaveResponseProto, _> = hdfs.call("metaSave", request).await;
        refused.expect_err(bad);
    }
    let request = MetaSaveRequestProto {
        filename: "meta.txt".to_owned(),
    };
    let _: MetaSaveResponseProto = hdfs.call("metaSave", request).await.expect("metaSave");
    let text = std::fs::read_to_string(logs.path().join("meta.txt")).expect("the report");
    for line in [
        "2 files and directories, 0 blocks = 2 total filesystem objects",
        "Live Datanodes: 2",
        "Dead Datanodes: 0",
        "Metasave: Blocks waiting for reconstruction: 0",
        "Metasave: Blocks currently missing: 0",
        "Mis-replicated blocks that have been postponed:",
        "Metasave: Blocks being reconstructed: 0",
        "Metasave: Blocks 0 waiting deletion from 0 datanodes.",
        "Corrupt Blocks:",
        "Metasave: Number of datanodes: 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} in {text}");
    }
    assert!(
        text.contains("127.0.1.0:9866 IN 1099511627776(1 TB) 0(0 B) 0.00%"),
        "{text}"
    );
}

async fn edits(client: &Client, txid: i64) -> EventsListProto {
    let request = GetEditsFromTxidRequestProto { txid };
    let answer: GetEditsFromTxidResponseProto = client.call("getEditsFromTxid", request).await.expect("edits");
    answer.events_list
}

#[tokio::test]
async fn watchers_see_every_change_in_contiguous_transactions() {
    let cluster = Cluster::start().await;
    let hdfs = cluster.client(OWNER).await;
    let at: GetCurrentEditLogTxidResponseProto = hdfs
        .call("getCurrentEditLogTxid", GetCurrentEditLogTxidRequestProto {})
        .await
        .expect("txid");
    assert_eq!(edits(&hdfs, at.txid + 1).await.last_txid, -1, "nothing new");
    mkdirs(&hdfs, "/a/b").await;
    hdfs.touch("/a/f").await;
    let rename = RenameRequestProto {
        src: "/a/f".to_owned(),
        dst: "/a/b".to_owned(),
    };
    let _: RenameResponseProto = hdfs.call("rename", rename).await.expect("rename");
    let chmod = SetPermissionRequestProto {
        src: "/a/b/f".to_owned(),
        permission: common::permission(0o600),
    };
    let _: SetPermissionResponseProto = hdfs.call("setPermission", chmod).await.expect("chmod");
    let delete = |path: &str| DeleteRequestProto {
        src: path.to_owned(),
        recursive: true,
    };
    let _: DeleteResponseProto = hdfs.call("delete", delete("/a/b/f")).await.expect("delete");
    let gone: DeleteResponseProto = hdfs.call("delete", delete("/a/b/f")).await.expect("delete again");
    assert!(!gone.result);
    let page = edits(&hdfs, at.txid + 1).await;
    assert_eq!(page.first_txid, at.txid + 1);
    assert_eq!(page.last_txid, page.sync_txid);
    let kinds: Vec<EventType> = page
        .batch
        .iter()
        .flat_map(|batch| &batch.events)
        .map(EventProto::r#type)
        .collect();
    use EventType::*;
    assert_eq!(
        kinds,
        [
            EventCreate,
            EventCreate,
            EventCreate,
            EventClose,
            EventRename,
            EventMetadata,
            EventUnlink
        ]
    );
    let contents: Vec<&EventProto> = page.batch.iter().flat_map(|batch| &batch.events).collect();
    let made = CreateEventProto::decode(contents[0].contents.clone()).expect("create");
    assert_eq!((made.path.as_str(), made.r#type()), ("/a", INodeType::ITypeDirectory));
    let file = CreateEventProto::decode(contents[2].contents.clone()).expect("create");
    assert_eq!(
        (file.path.as_str(), file.owner_name.as_str(), file.replication),
        ("/a/f", OWNER, Some(3))
    );
    let renamed = RenameEventProto::decode(contents[4].contents.clone()).expect("rename");
    assert_eq!(
        (renamed.src_path.as_str(), renamed.dest_path.as_str()),
        ("/a/f", "/a/b/f")
    );
    let mut next = at.txid + 1;
    while next <= page.last_txid {
        let some = edits(&hdfs, next).await;
        assert_eq!(some.first_txid, next, "no gap");
        next = some.last_txid + 1;
    }
    let cluster = cluster.restart().await;
    let hdfs = cluster.client(OWNER).await;
    let again = edits(&hdfs, at.txid + 1).await;
    assert_eq!(again.batch, page.batch, "a restart tells the same story");
    let admin = cluster.node.shared();
    admin.checkpoint().await.expect("image");
    let cluster = cluster.restart().await;
    let hdfs = cluster.client(OWNER).await;
    let lost = edits(&hdfs, at.txid + 1).await;
    assert!(
        lost.first_txid > at.txid + 1 && lost.last_txid >= page.last_txid,
        "the gap shows: {lost:?}"
    );
}

#[tokio::test]
async fn bandwidth_is_told_once_to_each_datanode() {
    let cluster = Cluster::start().await;
    cluster.add_datanodes(1);
    let hdfs = cluster.client(OWNER).await;
    let set = |bandwidth| SetBalancerBandwidthRequestProto { bandwidth };
    let _: SetBalancerBandwidthResponseProto = hdfs.call("setBalancerBandwidth", set(12345)).await.expect("set");
    let datanodes = cluster.client_of(OWNER, protocol::DATANODE_PROTOCOL).await;
    let versions: VersionResponseProto = datanodes
        .call("versionRequest", VersionRequestProto {})
        .await
        .expect("version");
    use hadron_proto::datanode::{DatanodeRegistrationProto, HeartbeatRequestProto, HeartbeatResponseProto};
    let beat = || HeartbeatRequestProto {
        registration: DatanodeRegistrationProto {
            datanode_id: hadron_namenode::convert::datanode_id(&datanode(0)),
            storage_info: versions.info.storage_info.clone(),
            keys: hadron_proto::convert::no_block_keys(),
            software_version: "3.3.6".to_owned(),
        },
        ..HeartbeatRequestProto::default()
    };
    let told = |answer: HeartbeatResponseProto| {
        let orders = answer.cmds.into_iter().filter_map(|order| order.balancer_cmd);
        orders.map(|order| order.bandwidth).collect::<Vec<_>>()
    };
    assert_eq!(
        told(datanodes.call("sendHeartbeat", beat()).await.expect("beat")),
        [12345]
    );
    assert_eq!(
        told(datanodes.call("sendHeartbeat", beat()).await.expect("beat")),
        [0_u64; 0]
    );
    let line = "Bandwidth should not exceed maximum limit 1099511627776 bytes per second";
    hdfs.refused(
        "setBalancerBandwidth",
        set(i64::MAX),
        "java.lang.IllegalArgumentException",
        line,
    )
    .await;
}

#[tokio::test]
async fn delegation_tokens_are_not_needed_and_not_known() {
    let cluster = Cluster::start().await;
    let alice = cluster.client("alice").await;
    let request = GetDelegationTokenRequestProto {
        renewer: "yarn".to_owned(),
    };
    let answer: GetDelegationTokenResponseProto = alice.call("getDelegationToken", request).await.expect("no token");
    assert_eq!(answer.token, None);
    let token = TokenProto {
        identifier: bytes::Bytes::from_static(b"\x00\x05alice\x04yarn\x00\x01\x02\x03\x04"),
        ..TokenProto::default()
    };
    let line = "Unable to find master key for keyId=4 from cache. Failed to renew an unexpired token (token for alice: \
                HDFS_DELEGATION_TOKEN owner=alice, renewer=yarn, realUser=, issueDate=1, maxDate=2, sequenceNumber=3, \
                masterKeyId=4) with sequenceNumber=3";
    let invalid = "org.apache.hadoop.security.token.SecretManager$InvalidToken";
    alice
        .refused(
            "renewDelegationToken",
            RenewDelegationTokenRequestProto { token },
            invalid,
            line,
        )
        .await;
    let token = TokenProto::default();
    let request = RenewDelegationTokenRequestProto { token };
    let end = "java.io.EOFException";
    alice.refused("renewDelegationToken", request, end, end).await;
}

#[tokio::test]
async fn refreshes_reread_what_they_name() {
    let dir = tempfile::tempdir().expect("folder");
    let site = dir.path().join("core-site.xml");
    let write = |rules: &str| {
        let text = format!("<configuration>{rules}</configuration>");
        std::fs::write(&site, text).expect("write core-site.xml");
    };
    let property = |name: &str, value: &str| {
        format!("<property><name>hadoop.proxyuser.{name}</name><value>{value}</value></property>")
    };
    write("");
    let cluster = Cluster::start_from_file(&site, &[]).await;
    let as_proxy = |real: &'static str, user: &'static str| cluster.proxied(real, user);
    let error = as_proxy("oozie", "alice").await.expect_err("no rule yet");
    assert!(
        error.contains("User: oozie is not allowed to impersonate alice"),
        "{error}"
    );
    write(&(property("oozie.hosts", "*") + &property("oozie.groups", "users")));
    let hdfs = cluster.client_of(OWNER, protocol::REFRESH_USER_MAPPINGS_PROTOCOL).await;
    let _: RefreshSuperUserGroupsConfigurationResponseProto = hdfs
        .call(
            "refreshSuperUserGroupsConfiguration",
            RefreshSuperUserGroupsConfigurationRequestProto {},
        )
        .await
        .expect("refresh");
    as_proxy("oozie", "alice").await.expect("a member of the group");
    as_proxy("oozie", "hdfs").await.expect_err("not a member");
    let _: RefreshUserToGroupsMappingsResponseProto = hdfs
        .call(
            "refreshUserToGroupsMappings",
            RefreshUserToGroupsMappingsRequestProto {},
        )
        .await
        .expect("refresh groups");
    let queues = cluster.client_of(OWNER, protocol::REFRESH_CALL_QUEUE_PROTOCOL).await;
    let _: RefreshCallQueueResponseProto = queues
        .call("refreshCallQueue", RefreshCallQueueRequestProto {})
        .await
        .expect("refresh queue");
    let acls = cluster
        .client_of(OWNER, protocol::REFRESH_AUTHORIZATION_POLICY_PROTOCOL)
        .await;
    acls.refused(
        "refreshServiceAcl",
        RefreshServiceAclRequestProto {},
        "org.apache.hadoop.security.authorize.AuthorizationException",
        "Service Level Authorization not enabled!",
    )
    .await;
    let named = cluster.client_of(OWNER, protocol::GENERIC_REFRESH_PROTOCOL).await;
    let request = GenericRefreshRequestProto {
        identifier: Some("x".to_owned()),
        args: Vec::new(),
    };
    let line = "Identifier 'x' does not exist in RefreshRegistry. Valid options are: ";
    named
        .refused("refresh", request, "java.lang.IllegalArgumentException", line)
        .await;
}

#[tokio::test]
async fn reconfiguration_takes_effect_at_run_time() {
    let dir = tempfile::tempdir().expect("folder");
    let site = dir.path().join("hdfs-site.xml");
    let write = |interval: &str| {
        let text = format!(
            "<configuration><property><name>dfs.heartbeat.interval</name><value>{interval}</value></property>\
             </configuration>"
        );
        std::fs::write(&site, text).expect("write hdfs-site.xml");
    };
    write("3");
    let cluster = Cluster::start_from_file(&site, &[]).await;
    let admin = cluster.client_of(OWNER, protocol::RECONFIGURATION_PROTOCOL).await;
    let listed: ListReconfigurablePropertiesResponseProto = admin
        .call(
            "listReconfigurableProperties",
            ListReconfigurablePropertiesRequestProto {},
        )
        .await
        .expect("list");
    assert!(listed.name.contains(&"dfs.heartbeat.interval".to_owned()));
    let status = || async {
        let request = GetReconfigurationStatusRequestProto {};
        let answer: GetReconfigurationStatusResponseProto =
            admin.call("getReconfigurationStatus", request).await.expect("status");
        answer
    };
    assert_eq!(status().await.start_time, 0, "none yet");
    write("7");
    let _: StartReconfigurationResponseProto = admin
        .call("startReconfiguration", StartReconfigurationRequestProto {})
        .await
        .expect("start");
    let shared = Arc::clone(cluster.node.shared());
    eventually("the new interval", || {
        shared.state.blocks.lock().settings().heartbeat_interval_ms == 7000
    })
    .await;
    let mut last = status().await;
    while last.end_time.is_none() {
        last = status().await;
    }
    assert_eq!(last.changes.len(), 1);
    let change = &last.changes[0];
    assert_eq!(
        (
            change.name.as_str(),
            change.old_value.as_str(),
            change.new_value.as_deref()
        ),
        ("dfs.heartbeat.interval", "3", Some("7"))
    );
    assert_eq!(change.error_message, None);
}

#[tokio::test]
async fn signatures_list_the_methods_java_looks_for() {
    let cluster = Cluster::start().await;
    let info = cluster.client_of("alice", protocol::PROTOCOL_META_INFO).await;
    let request = GetProtocolSignatureRequestProto {
        protocol: protocol::REFRESH_CALL_QUEUE_PROTOCOL.to_owned(),
        rpc_kind: "RPC_PROTOCOL_BUFFER".to_owned(),
    };
    let answer: GetProtocolSignatureResponseProto =
        info.call("getProtocolSignature", request).await.expect("signature");
    let methods: Vec<i32> = answer.protocol_signature[0]
        .methods
        .iter()
        .map(|hash| *hash as i32)
        .collect();
    assert_eq!(methods, [-589_522_386, 1_149_622_002]);
}

#[tokio::test]
async fn balancers_get_blocks_with_their_places() {
    let cluster = Cluster::start().await;
    cluster.add_datanodes(3);
    let hdfs = cluster.client(OWNER).await;
    hdfs.create("/f", 1).await.expect("create");
    let request = AddBlockRequestProto {
        src: "/f".to_owned(),
        client_name: "DFSClient_test".to_owned(),
        ..AddBlockRequestProto::default()
    };
    let added: AddBlockResponseProto = hdfs.call("addBlock", request).await.expect("add block");
    cluster.report_received(&added.block, 500);
    let last = ExtendedBlockProto {
        num_bytes: Some(500),
        ..added.block.b.clone()
    };
    assert!(hdfs.complete("/f", Some(last)).await.expect("complete"));
    let balancer = cluster.client_of(OWNER, protocol::NAMENODE_PROTOCOL).await;
    let ask = |min_block_size| GetBlocksRequestProto {
        datanode: hadron_namenode::convert::datanode_id(&datanode(1)),
        size: 1 << 30,
        min_block_size: Some(min_block_size),
        ..GetBlocksRequestProto::default()
    };
    let answer: GetBlocksResponseProto = balancer.call("getBlocks", ask(1)).await.expect("blocks");
    let blocks = answer.blocks.blocks;
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0].block.num_bytes(), 500);
    assert_eq!((blocks[0].datanode_uuids.len(), blocks[0].storage_types.len()), (3, 3));
    let small: GetBlocksResponseProto = balancer.call("getBlocks", ask(501)).await.expect("blocks");
    assert!(small.blocks.blocks.is_empty());
    let txid: GetTransactionIdResponseProto = balancer
        .call("getTransactionId", GetTransactionIdRequestProto {})
        .await
        .expect("txid");
    assert_eq!(txid.tx_id, cluster.node.shared().last_applied().0);
    let rolled: RollEditLogResponseProto = balancer
        .call("rollEditLog", RollEditLogRequestProto {})
        .await
        .expect("roll");
    assert_eq!(rolled.signature.cur_segment_tx_id, txid.tx_id + 1);
    let groups = cluster.client_of("alice", protocol::GET_USER_MAPPINGS_PROTOCOL).await;
    let request = GetGroupsForUserRequestProto { user: "bob".to_owned() };
    let answer: GetGroupsForUserResponseProto = groups.call("getGroupsForUser", request).await.expect("groups");
    assert_eq!(answer.groups, ["users", "staff"]);
}

#[tokio::test]
async fn balancers_get_the_block_keys_if_there_are_any() {
    for (enabled, name) in [("true", "with tokens"), ("false", "without tokens")] {
        let cluster = Cluster::start_with(&[("dfs.block.access.token.enable", enabled)]).await;
        let balancer = cluster.client_of(OWNER, protocol::NAMENODE_PROTOCOL).await;
        let answer: GetBlockKeysResponseProto = balancer
            .call("getBlockKeys", GetBlockKeysRequestProto {})
            .await
            .expect("keys");
        let keys = answer.keys.expect("the set of keys, be it empty");
        match &cluster.node.shared().block_tokens {
            Some(tokens) => {
                assert_eq!(keys, tokens.export(), "{name}");
                assert!(
                    keys.is_block_token_enabled && keys.current_key.key_bytes.is_some(),
                    "{name}"
                );
            }
            None => assert_eq!(keys, hadron_proto::convert::no_block_keys(), "{name}"),
        }
        assert_eq!(keys.is_block_token_enabled.to_string(), enabled, "{name}");
        let alice = cluster.client_of("alice", protocol::NAMENODE_PROTOCOL).await;
        let line = "Access denied for user alice. Superuser privilege is required";
        let class = "org.apache.hadoop.security.AccessControlException";
        alice
            .refused("getBlockKeys", GetBlockKeysRequestProto {}, class, line)
            .await;
    }
}

#[tokio::test]
async fn the_trash_is_emptied_by_the_clock() {
    let clock = Arc::new(ManualClock::default());
    let settings = [("fs.trash.interval", "60"), ("fs.trash.checkpoint.interval", "10")];
    let cluster = Cluster::start_at(Arc::clone(&clock), &settings).await;
    let hdfs = cluster.client(OWNER).await;
    for path in ["/user/ann/.Trash/Current/x", "/user/ann/.Trash/notes", "/user/bob/data"] {
        mkdirs(&hdfs, path).await;
    }
    let shared = Arc::clone(cluster.node.shared());
    let children = |path: &str| {
        let caller = hadron_namespace::Caller::superuser("hdfs");
        let limits = hadron_namespace::ListingLimits {
            entries: 100,
            locations: 100,
        };
        let listed = shared
            .state
            .ns
            .read()
            .listing(&caller, path, "", false, limits)
            .expect("list");
        let entries = listed.map(|listed| listed.entries).unwrap_or_default();
        entries.into_iter().map(|entry| entry.status.name).collect::<Vec<_>>()
    };
    let minutes = |count: u64| clock.advance(Duration::from_secs(60 * count));
    minutes(10);
    eventually("a checkpoint", || {
        !children("/user/ann/.Trash").contains(&"Current".to_owned())
    })
    .await;
    let names = children("/user/ann/.Trash");
    assert_eq!(names.len(), 2, "{names:?}");
    let checkpoint = names
        .iter()
        .find(|name| *name != "notes")
        .expect("a checkpoint")
        .clone();
    assert_eq!(checkpoint.len(), 12);
    assert_eq!(children(&format!("/user/ann/.Trash/{checkpoint}")), ["x"]);
    eventually("the checkpoint to go", || {
        minutes(10);
        children("/user/ann/.Trash") == ["notes"]
    })
    .await;
    assert_eq!(children("/user/bob"), ["data"]);
}
