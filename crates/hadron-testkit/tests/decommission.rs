//! One of five DataNodes is decommissioned while readers and writers go on: nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hadron_client::{CreateOptions, HadronFs};
use hadron_proto::hdfs::datanode_info_proto::AdminState;
use hadron_proto::hdfs::{
    DatanodeInfoProto, DatanodeReportTypeProto, GetDatanodeReportRequestProto, GetDatanodeReportResponseProto,
    RefreshNodesRequestProto, RefreshNodesResponseProto,
};
use hadron_testkit::{Cluster, eventually, path, raw_client, read};

const FILES: usize = 40;
const READERS: usize = 3;

fn content(number: usize) -> Vec<u8> {
    (0..50_000 + number * 1_000)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8 ^ number as u8)
        .collect()
}

async fn write(fs: &HadronFs, number: usize) {
    let mut writer = fs
        .create(&path(&format!("/files/{number}")), CreateOptions::default())
        .await
        .expect("create");
    writer.write_all(&content(number)).await.expect("write");
    writer.close().await.expect("close");
}

async fn check(fs: &HadronFs, number: usize) {
    let found = read(fs, &format!("/files/{number}")).await.expect("no read fails");
    assert!(found == content(number), "file {number}");
}

async fn report(cluster: &Cluster) -> Vec<DatanodeInfoProto> {
    let client = raw_client(
        cluster.namenode().rpc_addr(),
        &cluster.namenode().shared().settings.owner,
    )
    .await
    .expect("connect");
    let request = GetDatanodeReportRequestProto {
        r#type: DatanodeReportTypeProto::All as i32,
    };
    let answer: GetDatanodeReportResponseProto = client.call("getDatanodeReport", &request).await.expect("report");
    answer.di
}

async fn state_of(cluster: &Cluster, uuid: &str) -> AdminState {
    let nodes = report(cluster).await;
    let node = nodes.iter().find(|node| node.id.datanode_uuid == uuid);
    node.expect("known").admin_state()
}

/// Blocks of the files that are on fewer than three nodes other than `uuid`.
async fn short(fs: &HadronFs, uuid: &str, files: usize) -> usize {
    let mut short = 0;
    for number in 0..files {
        let located = fs
            .block_locations(&path(&format!("/files/{number}")), 0, u64::MAX >> 1)
            .await;
        for block in located.expect("locations") {
            let elsewhere = block.locations.iter().filter(|place| place.datanode_uuid != uuid);
            short += usize::from(elsewhere.count() < 3);
        }
    }
    short
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_five_leaves_under_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let exclude = folder.path().join("exclude");
    std::fs::write(&exclude, "").expect("write");
    let builder = Cluster::builder()
        .datanodes(5)
        .set("dfs.hosts.exclude", exclude.display())
        .set("dfs.heartbeat.interval", "100ms")
        .set("dfs.namenode.redundancy.interval.seconds", "100ms")
        .set("dfs.namenode.decommission.interval", "50ms");
    let mut cluster = builder.start().await.expect("a cluster");
    let fs = Arc::new(cluster.client().await.expect("a client"));
    for number in 0..FILES {
        write(&fs, number).await;
    }

    let (stop, reads, written) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(FILES)),
    );
    let mut load = tokio::task::JoinSet::new();
    for reader in 0..READERS {
        let (fs, stop, reads, written) = (fs.clone(), stop.clone(), reads.clone(), written.clone());
        load.spawn(async move {
            let mut number = reader * 7;
            while !stop.load(Ordering::Acquire) {
                number += 1;
                check(&fs, number % written.load(Ordering::Acquire)).await;
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    {
        let (fs, stop, written) = (fs.clone(), stop.clone(), written.clone());
        load.spawn(async move {
            while !stop.load(Ordering::Acquire) {
                let number = written.load(Ordering::Acquire);
                write(&fs, number).await;
                written.store(number + 1, Ordering::Release);
            }
        });
    }

    let nodes = report(&cluster).await;
    let leaving = nodes.iter().max_by_key(|node| node.num_blocks()).expect("five nodes");
    let uuid = leaving.id.datanode_uuid.clone();
    std::fs::write(&exclude, format!("127.0.0.1:{}\n", leaving.id.xfer_port)).expect("write");
    let operator = raw_client(
        cluster.namenode().rpc_addr(),
        &cluster.namenode().shared().settings.owner,
    )
    .await
    .expect("connect");
    let _: RefreshNodesResponseProto = operator
        .call("refreshNodes", &RefreshNodesRequestProto {})
        .await
        .expect("refreshed");
    assert_ne!(state_of(&cluster, &uuid).await, AdminState::Normal);
    let before = reads.load(Ordering::Relaxed);

    let mut most = 0;
    let most_seen = eventually("the node is decommissioned", || {
        let shared = Arc::clone(cluster.namenode().shared());
        let reports = shared.state.blocks.lock().datanodes(shared.state.now());
        let report = reports.iter().find(|report| report.info.id.uuid.as_str() == uuid);
        most = most.max(
            report
                .and_then(|report| report.leaving)
                .unwrap_or_default()
                .under_replicated,
        );
        let (seen, cluster, uuid) = (most, &cluster, &uuid);
        async move { (state_of(cluster, uuid).await == AdminState::Decommissioned).then_some(seen) }
    })
    .await;
    assert!(most_seen > 0, "progress was reported on the way");
    let during = reads.load(Ordering::Relaxed) - before;
    assert!(during > 0, "there was load");
    stop.store(true, Ordering::Release);
    while let Some(done) = load.join_next().await {
        done.expect("no read and no write fails");
    }
    let files = written.load(Ordering::Acquire);
    assert_eq!(
        short(&fs, &uuid, files).await,
        0,
        "every block is three times elsewhere"
    );

    let number = (0..5)
        .find(|number| cluster.datanode(*number).uuid().as_str() == uuid)
        .expect("one of ours");
    cluster.stop_datanode(number).await;
    for number in 0..files {
        check(&fs, number).await;
    }
    cluster.shutdown().await;
}
