//! Storage policies and quotas, call by call over a real socket.

mod common;

use common::{Client, Cluster, create_request, permission};
use hadron_proto::hdfs::*;

const IO: &str = "java.io.IOException";

async fn mkdirs(client: &Client, path: &str) {
    let request = MkdirsRequestProto {
        src: path.to_owned(),
        masked: permission(0o777),
        create_parent: true,
        unmasked: None,
    };
    let response: MkdirsResponseProto = client.call("mkdirs", request).await.expect("mkdirs");
    assert!(response.result);
}

async fn policy(client: &Client, path: &str) -> String {
    let request = GetStoragePolicyRequestProto { path: path.to_owned() };
    let response: GetStoragePolicyResponseProto = client.call("getStoragePolicy", request).await.expect("policy");
    response.storage_policy.name
}

fn set_policy(path: &str, policy: &str) -> SetStoragePolicyRequestProto {
    SetStoragePolicyRequestProto {
        src: path.to_owned(),
        policy_name: policy.to_owned(),
    }
}

#[tokio::test]
async fn policies_are_set_inherited_and_unset() {
    let cluster = Cluster::start().await;
    let client = cluster.client("hdfs").await;
    mkdirs(&client, "/d").await;
    let _: SetStoragePolicyResponseProto = client
        .call("setStoragePolicy", set_policy("/d", "cold"))
        .await
        .expect("set");
    let request = CreateRequestProto {
        storage_policy: Some("ALL_SSD".to_owned()),
        ..create_request("/d/ssd", 1)
    };
    let made: CreateResponseProto = client.call("create", request).await.expect("create");
    assert_eq!(made.fs.map(|fs| fs.storage_policy()), Some(12));
    client.touch("/d/f").await;
    assert_eq!(policy(&client, "/d/f").await, "COLD");
    assert_eq!(policy(&client, "/d/ssd").await, "ALL_SSD");

    let cluster = cluster.restart().await;
    let client = cluster.client("hdfs").await;
    assert_eq!(policy(&client, "/d/f").await, "COLD");
    let unset = UnsetStoragePolicyRequestProto { src: "/d".to_owned() };
    let _: UnsetStoragePolicyResponseProto = client.call("unsetStoragePolicy", unset).await.expect("unset");
    assert_eq!(policy(&client, "/d/f").await, "HOT");

    let satisfy = SatisfyStoragePolicyRequestProto { src: "/d".to_owned() };
    let class = "org.apache.hadoop.hdfs.server.namenode.UnsupportedActionException";
    let text = "Cannot request to satisfy storage policy when storage policy satisfier feature has been disabled by \
                admin. Seek for an admin help to enable it or use Mover tool.";
    client.refused("satisfyStoragePolicy", satisfy, class, text).await;
}

#[tokio::test]
async fn policies_that_are_switched_off_are_refused() {
    let cluster = Cluster::start_with(&[("dfs.storage.policy.enabled", "false")]).await;
    let client = cluster.client("hdfs").await;
    let text = "Failed to set storage policy since dfs.storage.policy.enabled is set to false.";
    client
        .refused("setStoragePolicy", set_policy("/", "COLD"), IO, text)
        .await;
}

/// `Long.MAX_VALUE`: keep.
const KEEP: u64 = i64::MAX as u64;

fn quota(path: &str, names: u64, space: u64, kind: Option<StorageTypeProto>) -> SetQuotaRequestProto {
    SetQuotaRequestProto {
        path: path.to_owned(),
        namespace_quota: names,
        storagespace_quota: space,
        storage_type: kind.map(|kind| kind as i32),
    }
}

async fn set_quota(client: &Client, request: SetQuotaRequestProto) {
    let _: SetQuotaResponseProto = client.call("setQuota", request).await.expect("setQuota");
}

async fn summary(client: &Client, path: &str) -> ContentSummaryProto {
    let request = GetContentSummaryRequestProto { path: path.to_owned() };
    let response: GetContentSummaryResponseProto = client.call("getContentSummary", request).await.expect("summary");
    response.summary
}

async fn usage(client: &Client, path: &str) -> QuotaUsageProto {
    let request = GetQuotaUsageRequestProto { path: path.to_owned() };
    let response: GetQuotaUsageResponseProto = client.call("getQuotaUsage", request).await.expect("usage");
    response.usage
}

#[tokio::test]
async fn quotas_are_enforced_shown_and_kept() {
    let cluster = Cluster::start().await;
    cluster.add_datanodes(3);
    let client = cluster.client("hdfs").await;
    mkdirs(&client, "/q").await;
    set_quota(&client, quota("/q", 2, 3 << 20, None)).await;
    client.touch("/q/f").await;
    let class = "org.apache.hadoop.hdfs.protocol.NSQuotaExceededException";
    let text = "The NameSpace quota (directories and files) of directory /q is exceeded: quota=2 file count=3";
    client.refused("create", create_request("/q/g", 1), class, text).await;
    set_quota(&client, quota("/q", KEEP, (3 << 20) - 1, None)).await;
    client.create("/q/f", 3).await.expect("overwrites");
    let add = AddBlockRequestProto {
        src: "/q/f".to_owned(),
        client_name: "DFSClient_test".to_owned(),
        ..AddBlockRequestProto::default()
    };
    let class = "org.apache.hadoop.hdfs.protocol.DSQuotaExceededException";
    let text = "The DiskSpace quota of /q is exceeded: quota = 3145727 B = 3.00 MB but diskspace consumed = 3145728 B = \
                3 MB";
    client.refused("addBlock", add.clone(), class, text).await;
    let _: SetStoragePolicyResponseProto = client
        .call("setStoragePolicy", set_policy("/q", "ALL_SSD"))
        .await
        .expect("set");
    set_quota(&client, quota("/q", KEEP, u64::MAX, None)).await;
    set_quota(&client, quota("/q", KEEP, 5, Some(StorageTypeProto::Ssd))).await;
    let class = "org.apache.hadoop.hdfs.protocol.QuotaByStorageTypeExceededException";
    let text = "Quota by storage type : SSD on path : /q is exceeded. quota = 5 B but space consumed = 3 MB";
    client.refused("addBlock", add, class, text).await;

    let cluster = cluster.restart().await;
    let client = cluster.client("hdfs").await;
    let shown = summary(&client, "/q").await;
    assert_eq!((shown.quota, shown.space_quota), (2, u64::MAX));
    let types: Vec<_> = shown
        .type_quota_infos
        .expect("types")
        .type_quota_info
        .iter()
        .map(|info| (info.r#type(), info.quota as i64, info.consumed))
        .collect();
    assert_eq!(
        types,
        [
            (StorageTypeProto::Ssd, 5, 0),
            (StorageTypeProto::Disk, -1, 0),
            (StorageTypeProto::Archive, -1, 0),
            (StorageTypeProto::Provided, -1, 0)
        ]
    );
    let used = usage(&client, "/q").await;
    assert_eq!(
        (used.file_and_directory_count, used.quota, used.space_consumed),
        (2, 2, 0)
    );
    let root = summary(&client, "/").await;
    assert_eq!(
        (root.quota, root.space_quota, root.type_quota_infos),
        (KEEP, u64::MAX, None)
    );
    let counted = usage(&client, "/").await;
    assert_eq!((counted.file_and_directory_count, counted.quota), (3, KEEP));

    let alice = cluster.client("alice").await;
    let class = "org.apache.hadoop.security.AccessControlException";
    let text = "Access denied for user alice. Superuser privilege is required";
    alice.refused("setQuota", quota("/q", 9, KEEP, None), class, text).await;
}

#[tokio::test]
async fn files_are_joined() {
    let cluster = Cluster::start().await;
    cluster.add_datanodes(3);
    let client = cluster.client("hdfs").await;
    for path in ["/d/t", "/d/s"] {
        client.create(path, 1).await.expect("create");
        let add = AddBlockRequestProto {
            src: path.to_owned(),
            client_name: "DFSClient_test".to_owned(),
            ..AddBlockRequestProto::default()
        };
        let added: AddBlockResponseProto = client.call("addBlock", add).await.expect("addBlock");
        cluster.report_received(&added.block, 7);
        let mut last = added.block.b;
        last.num_bytes = Some(7);
        assert!(client.complete(path, Some(last)).await.expect("complete"));
    }
    let concat = ConcatRequestProto {
        trg: "/d/t".to_owned(),
        srcs: vec!["/d/s".to_owned()],
    };
    let _: ConcatResponseProto = client.call("concat", concat.clone()).await.expect("concat");
    let request = GetBlockLocationsRequestProto {
        src: "/d/t".to_owned(),
        offset: 0,
        length: 100,
    };
    let located: GetBlockLocationsResponseProto = client.call("getBlockLocations", request).await.expect("located");
    let located = located.locations.expect("locations");
    assert_eq!(located.file_length, 14);
    assert!(located.blocks.iter().all(|block| block.locs.len() == 3));
    let class = "java.io.FileNotFoundException";
    client
        .refused("concat", concat, class, "File does not exist: /d/s")
        .await;
}
