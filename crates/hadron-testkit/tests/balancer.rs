//! A cluster with full and empty DataNodes is balanced while nobody misses a replica.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hadron_client::balancer::{BalancerOptions, BalancingPolicy, Event, ExitStatus, run};
use hadron_client::{CreateOptions, HadronFs};
use hadron_proto::hdfs::{
    DatanodeReportTypeProto, GetDatanodeReportRequestProto, GetDatanodeReportResponseProto,
    SetBalancerBandwidthRequestProto, SetBalancerBandwidthResponseProto,
};
use hadron_testkit::{Cluster, eventually, path, pattern, raw_client, read};
use hadron_types::ReplicaState;
use tokio_util::sync::CancellationToken;

const MIB: u64 = 1 << 20;
const CAPACITY: u64 = 64 * MIB;
const FILES: usize = 40;
const REPLICAS: usize = 3;

/// Three full DataNodes and then three empty ones.
async fn uneven(tokens: bool) -> Cluster {
    let builder = Cluster::builder()
        .datanodes(3)
        .capacity(CAPACITY)
        .set("dfs.block.access.token.enable", tokens)
        .set("dfs.blocksize", MIB)
        .set("dfs.heartbeat.interval", "100ms")
        .set("dfs.namenode.redundancy.interval.seconds", "100ms")
        .set("dfs.balancer.getBlocks.min-block-size", "1")
        .set("dfs.datanode.balance.max.concurrent.moves", "4");
    let mut cluster = builder.start().await.expect("a cluster");
    let fs = cluster.client().await.expect("a client");
    for number in 0..FILES {
        write(&fs, number).await;
    }
    for _ in 0..3 {
        cluster.add_datanode().await.expect("a DataNode");
    }
    cluster.wait_ready(6).await.expect("all are there");
    cluster
}

fn content(number: usize) -> Vec<u8> {
    pattern(MIB as usize - number * 1000)
}

async fn write(fs: &HadronFs, number: usize) {
    let name = path(&format!("/files/{number}"));
    let mut writer = fs.create(&name, CreateOptions::default()).await.expect("create");
    writer.write_all(&content(number)).await.expect("write");
    writer.close().await.expect("close");
}

/// Percent used of each DataNode.
async fn used(cluster: &Cluster) -> Vec<f64> {
    let owner = &cluster.namenode().shared().settings.owner;
    let client = raw_client(cluster.namenode().rpc_addr(), owner).await.expect("connect");
    let request = GetDatanodeReportRequestProto {
        r#type: DatanodeReportTypeProto::Live as i32,
    };
    let answer: GetDatanodeReportResponseProto = client.call("getDatanodeReport", &request).await.expect("report");
    let share = |used: u64, capacity: u64| used as f64 * 100.0 / capacity as f64;
    answer
        .di
        .iter()
        .map(|node| share(node.dfs_used(), node.capacity()))
        .collect()
}

/// The fewest places that any block has now.
async fn fewest(fs: &HadronFs) -> usize {
    let mut fewest = usize::MAX;
    for number in 0..FILES {
        let name = path(&format!("/files/{number}"));
        for block in fs.block_locations(&name, 0, u64::MAX >> 1).await.expect("locations") {
            fewest = fewest.min(block.locations.len());
        }
    }
    fewest
}

/// Each block is on just as many disks as it should be, and reads as it was written.
async fn check_files(cluster: &Cluster, fs: &HadronFs) {
    // DataNodes finish what they have begun, whoever ordered it.
    eventually("no move is under way", || async {
        (0..6)
            .all(|node| cluster.datanode(node).active_transfers() == 0)
            .then_some(())
    })
    .await;
    eventually("surplus replicas are gone", || async {
        let replicas = cluster.replicas(0..6);
        let finished = replicas
            .iter()
            .filter(|(_, _, state)| *state == ReplicaState::Finalized);
        (finished.count() == FILES * REPLICAS).then_some(())
    })
    .await;
    for number in 0..FILES {
        let found = read(fs, &format!("/files/{number}")).await.expect("no read fails");
        assert!(found == content(number), "file {number}");
    }
}

// covers: XC-14, XC-15, XC-25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uneven_cluster_ends_within_the_threshold() {
    for tokens in [true, false] {
        let cluster = uneven(tokens).await;
        let fs = cluster.client().await.expect("a client");
        let before = used(&cluster).await;
        assert!(
            before.iter().any(|share| *share > 50.0) && before.iter().any(|share| *share < 1.0),
            "{before:?}"
        );
        let over = Arc::new(AtomicBool::new(false));
        let watching = tokio::spawn({
            let (fs, over) = (fs.clone(), over.clone());
            async move {
                let mut looks = 0;
                while !over.load(Ordering::Acquire) {
                    assert!(fewest(&fs).await >= REPLICAS, "a block missed a replica");
                    looks += 1;
                }
                looks
            }
        });
        let options = BalancerOptions {
            threshold: 5.0,
            ..BalancerOptions::default()
        };
        let (mut rows, mut messages, mut second) = (Vec::new(), Vec::new(), None);
        let stop = CancellationToken::new();
        let status = {
            let mut tell = |event| match event {
                Event::Iteration(row) => rows.push(row),
                Event::Message(text) => messages.push(text),
                Event::Planned { .. } if second.is_none() => {
                    let (conf, urls) = (cluster.conf().clone(), [cluster.url()]);
                    second = Some(tokio::spawn(async move {
                        let (mut said, stop) = (Vec::new(), CancellationToken::new());
                        let mut tell = |event| said.push(event);
                        let status = run(&conf, &urls, &BalancerOptions::default(), &stop, &mut tell).await;
                        (status, said)
                    }));
                }
                _ => {}
            };
            run(cluster.conf(), &[cluster.url()], &options, &stop, &mut tell).await
        };
        over.store(true, Ordering::Release);
        assert_eq!((status, status.code()), (ExitStatus::Success, 0), "{messages:?}");
        assert_eq!(messages, ["The cluster is balanced. Exiting..."]);
        let last = rows.last().expect("rows");
        assert_eq!((last.left, last.planned), (0, 0));
        assert!(last.moved > 40 * MIB && rows[0].left > 0, "{rows:?}");
        assert!(watching.await.expect("full replication throughout") > 0);
        let (status, said) = second.expect("a second balancer").await.expect("it ends");
        assert_eq!((status, status.code()), (ExitStatus::IoError, 252));
        let text = "java.io.IOException: Another Balancer is running..  Exiting ...";
        assert_eq!(said, [Event::Message(text.to_owned())]);
        check_files(&cluster, &fs).await;
        let after = used(&cluster).await;
        let average = after.iter().sum::<f64>() / 6.0;
        assert!(after.iter().all(|share| (share - average).abs() <= 5.0), "{after:?}");
        let mark = fs.status(&path("/system/balancer.id")).await.expect("status");
        assert!(mark.is_none(), "the mark is gone");
        cluster.shutdown().await;
    }
}

/// Nodes that are left out keep what they have, an order to stop is heard, and the bandwidth comes with a heartbeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_hold_and_a_stop_leaves_everything_in_order() {
    let cluster = uneven(false).await;
    let fs = cluster.client().await.expect("a client");
    let owner = &cluster.namenode().shared().settings.owner;
    let operator = raw_client(cluster.namenode().rpc_addr(), owner).await.expect("connect");
    let request = SetBalancerBandwidthRequestProto {
        bandwidth: 20 * MIB as i64,
    };
    let _: SetBalancerBandwidthResponseProto = operator.call("setBalancerBandwidth", &request).await.expect("set");
    let address = |node: usize| cluster.datanode(node).xfer_addr().to_string();
    let held = |node: usize| cluster.replicas([node]).len();
    let urls = [cluster.url()];
    let go = async |options: &BalancerOptions, stop_soon: bool| {
        let (mut said, stop) = (Vec::new(), CancellationToken::new());
        let mut tell = |event| {
            if stop_soon && matches!(event, Event::Moved { .. }) {
                stop.cancel();
            }
            said.push(event);
        };
        let status = run(cluster.conf(), &urls, options, &stop, &mut tell).await;
        (status, said)
    };
    let base = BalancerOptions {
        threshold: 5.0,
        policy: BalancingPolicy::BlockPool,
        ..BalancerOptions::default()
    };
    let (status, _) = go(&base, true).await;
    assert_eq!((status, status.code()), (ExitStatus::Interrupted, 250));
    assert!(fs.status(&path("/system/balancer.id")).await.expect("status").is_none());
    check_files(&cluster, &fs).await;

    let other_pool = BalancerOptions {
        block_pools: ["BP-other".to_owned()].into(),
        ..base.clone()
    };
    let (status, said) = go(&other_pool, false).await;
    assert_eq!(status, ExitStatus::Success);
    assert_eq!(said, [Event::Skipped(cluster.pool())]);

    // The mark's replicas went as well.
    check_files(&cluster, &fs).await;
    let (left_out, not_a_source) = (held(5), held(1));
    let few = BalancerOptions {
        excluded: [address(5)].into(),
        sources: [address(0), address(2)].into(),
        ..base
    };
    let (status, said) = go(&few, false).await;
    assert!(
        matches!(
            status,
            ExitStatus::Success | ExitStatus::NoMoveProgress | ExitStatus::NoMoveBlock
        ),
        "{said:?}"
    );
    check_files(&cluster, &fs).await;
    assert_eq!(held(5), left_out, "excluded");
    assert!(held(1) >= not_a_source, "no source");
    assert!(held(0) < FILES && held(2) < FILES, "the sources gave");
    assert_eq!(cluster.datanode(0).balance_bandwidth(), 20 * MIB);
    cluster.shutdown().await;
}
