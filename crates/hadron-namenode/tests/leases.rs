//! Leases against a clock the test moves: soft limit, hard limit, access times.

mod common;

use common::{Client, Cluster};
use hadron_env::ManualClock;
use hadron_proto::hdfs::{
    AppendRequestProto, AppendResponseProto, GetFileInfoRequestProto, GetFileInfoResponseProto,
    IsFileClosedRequestProto, IsFileClosedResponseProto, RenewLeaseRequestProto, RenewLeaseResponseProto,
};
use hadron_types::{ErrorKind, TimeMs};
use std::sync::Arc;
use std::time::Duration;

fn append(path: &str) -> AppendRequestProto {
    AppendRequestProto {
        src: path.to_owned(),
        client_name: "another".to_owned(),
        flag: None,
    }
}

async fn is_closed(client: &Client, path: &str) -> bool {
    let request = IsFileClosedRequestProto { src: path.to_owned() };
    let response: IsFileClosedResponseProto = client.call("isFileClosed", request).await.expect("answer");
    response.result
}

async fn renew(client: &Client) {
    let request = RenewLeaseRequestProto {
        client_name: "DFSClient_test".to_owned(),
        namespaces: Vec::new(),
    };
    let _: RenewLeaseResponseProto = client.call("renewLease", request).await.expect("renewed");
}

#[tokio::test]
async fn a_silent_writer_loses_its_file_after_the_soft_limit() {
    let clock = Arc::new(ManualClock::new(TimeMs(1_700_000_000_000)));
    let cluster = Cluster::start_at(Arc::clone(&clock), &[]).await;
    let client = cluster.client("hdfs").await;
    client.create("/f", 1).await.expect("create");
    clock.advance(Duration::from_secs(59));
    renew(&client).await;
    clock.advance(Duration::from_secs(59));
    let error = client
        .call::<_, AppendResponseProto>("append", append("/f"))
        .await
        .expect_err("held");
    assert_eq!(error.kind, ErrorKind::AlreadyBeingCreated);
    clock.advance(Duration::from_secs(2));
    let appended: AppendResponseProto = client.call("append", append("/f")).await.expect("taken over");
    assert!(appended.block.is_none() && appended.stat.is_some());
}

#[tokio::test]
async fn the_name_node_closes_files_after_the_hard_limit() {
    let clock = Arc::new(ManualClock::new(TimeMs(1_700_000_000_000)));
    let cluster = Cluster::start_at(Arc::clone(&clock), &[]).await;
    let client = cluster.client("hdfs").await;
    client.create("/f", 1).await.expect("create");
    clock.advance(Duration::from_secs(1199));
    assert!(!is_closed(&client, "/f").await);
    let closing = async {
        while !is_closed(&client, "/f").await {
            clock.advance(Duration::from_secs(2));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closing)
        .await
        .expect("never closed");
}

#[tokio::test]
async fn reading_updates_an_old_access_time() {
    let clock = Arc::new(ManualClock::new(TimeMs(1_700_000_000_000)));
    let cluster = Cluster::start_at(Arc::clone(&clock), &[]).await;
    let client = cluster.client("hdfs").await;
    client.touch("/f").await;
    let access_time = async || {
        let request = GetFileInfoRequestProto { src: "/f".to_owned() };
        let response: GetFileInfoResponseProto = client.call("getFileInfo", request).await.expect("status");
        response.fs.map_or(0, |fs| fs.access_time)
    };
    let before = access_time().await;
    clock.advance(Duration::from_secs(3601));
    let request = hadron_proto::hdfs::GetBlockLocationsRequestProto {
        src: "/f".to_owned(),
        offset: 0,
        length: 1,
    };
    let _: hadron_proto::hdfs::GetBlockLocationsResponseProto =
        client.call("getBlockLocations", request).await.expect("read");
    let updating = async {
        while access_time().await == before {
            clock.advance(Duration::from_secs(1));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), updating)
        .await
        .expect("never updated");
    assert!(access_time().await >= before + 3_601_000);
}
