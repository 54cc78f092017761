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
