//! Block recovery as DataNodes and clients see the NameNode order it: who is asked, when again, what ends it.

mod common;

use common::{Client, Cluster, OWNER, datanode};
use hadron_blockmap::IncrementKind;
use hadron_env::ManualClock;
use hadron_proto::convert::no_block_keys;
use hadron_proto::datanode::*;
use hadron_proto::hdfs::*;
use hadron_proto::protocol::DATANODE_PROTOCOL;
use hadron_types::{ErrorKind, ExtendedBlock, GenerationStamp, HadoopError, TimeMs};
use std::sync::Arc;
use std::time::Duration;

const NODES: usize = 3;

struct World {
    cluster: Cluster,
    clock: Arc<ManualClock>,
    client: Client,
    datanodes: Client,
    info: NamespaceInfoProto,
}

impl World {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let clock = Arc::new(ManualClock::new(TimeMs(1_700_000_000_000)));
        let cluster = Cluster::start_at(Arc::clone(&clock), settings).await;
        Self::over(cluster, clock).await
    }

    async fn over(cluster: Cluster, clock: Arc<ManualClock>) -> Self {
        cluster.add_datanodes(NODES);
        let client = cluster.client("hdfs").await;
        let datanodes = cluster.client_of(OWNER, DATANODE_PROTOCOL).await;
        let version: VersionResponseProto = datanodes
            .call("versionRequest", VersionRequestProto {})
            .await
            .expect("version");
        let info = version.info;
        Self {
            cluster,
            clock,
            client,
            datanodes,
            info,
        }
    }

    /// One node's heartbeat; the recoveries that it is ordered.
    async fn beat(&self, number: usize) -> Vec<RecoveringBlockProto> {
        let id = datanode(number);
        let request = HeartbeatRequestProto {
            registration: DatanodeRegistrationProto {
                datanode_id: DatanodeIdProto {
                    ip_addr: id.ip.to_string(),
                    host_name: id.host_name.to_string(),
                    datanode_uuid: id.uuid.as_str().to_owned(),
                    xfer_port: 9866,
                    info_port: 9864,
                    ipc_port: 9867,
                    info_secure_port: None,
                },
                storage_info: self.info.storage_info.clone(),
                keys: no_block_keys(),
                software_version: "3.3.6".to_owned(),
            },
            reports: vec![StorageReportProto {
                storage_uuid: format!("DS-{number}"),
                capacity: Some(1 << 40),
                remaining: Some(1 << 40),
                ..StorageReportProto::default()
            }],
            ..HeartbeatRequestProto::default()
        };
        let answer: HeartbeatResponseProto = self.datanodes.call("sendHeartbeat", request).await.expect("heartbeat");
        let orders = answer.cmds.into_iter().filter_map(|command| command.recovery_cmd);
        orders.flat_map(|orders| orders.blocks).collect()
    }

    /// Heartbeats of all nodes, in their order; each order with the node it went to.
    async fn beat_all(&self) -> Vec<(usize, RecoveringBlockProto)> {
        let mut orders = Vec::new();
        for number in 0..NODES {
            orders.extend(self.beat(number).await.into_iter().map(|order| (number, order)));
        }
        orders
    }

    /// The first order of the next attempt, which time brings.
    async fn next_order(&self) -> (usize, RecoveringBlockProto) {
        let attempt = async {
            loop {
                self.clock.advance(Duration::from_secs(3));
                if let Some(order) = self.beat_all().await.into_iter().next() {
                    return order;
                }
            }
        };
        let order = tokio::time::timeout(Duration::from_secs(20), attempt).await;
        order.expect("another attempt")
    }

    async fn open_with_block(&self, path: &str) -> LocatedBlockProto {
        self.client.create(path, 1).await.expect("create");
        let request = AddBlockRequestProto {
            src: path.to_owned(),
            client_name: "DFSClient_test".to_owned(),
            ..AddBlockRequestProto::default()
        };
        let answer: AddBlockResponseProto = self.client.call("addBlock", request).await.expect("a block");
        answer.block
    }

    async fn closed_with_block(&self, path: &str, len: u64) -> ExtendedBlockProto {
        let located = self.open_with_block(path).await;
        self.cluster.report_received(&located, len);
        let last = ExtendedBlockProto {
            num_bytes: Some(len),
            ..located.b
        };
        assert!(self.client.complete(path, Some(last.clone())).await.expect("complete"));
        last
    }

    async fn is_closed(&self, path: &str) -> bool {
        let request = IsFileClosedRequestProto { src: path.to_owned() };
        let answer: IsFileClosedResponseProto = self.client.call("isFileClosed", request).await.expect("answer");
        answer.result
    }

    async fn truncate(&self, path: &str, new_length: u64) -> Result<bool, HadoopError> {
        let request = TruncateRequestProto {
            src: path.to_owned(),
            new_length,
            client_name: "DFSClient_test".to_owned(),
        };
        let answer: TruncateResponseProto = self.client.call("truncate", request).await?;
        Ok(answer.result)
    }

    async fn append(&self, path: &str) -> Result<AppendResponseProto, HadoopError> {
        let request = AppendRequestProto {
            src: path.to_owned(),
            client_name: "another".to_owned(),
            flag: None,
        };
        self.client.call("append", request).await
    }

    async fn recover_lease(&self, path: &str) -> bool {
        let request = RecoverLeaseRequestProto {
            src: path.to_owned(),
            client_name: "taker".to_owned(),
        };
        let answer: RecoverLeaseResponseProto = self.client.call("recoverLease", request).await.expect("answer");
        answer.result
    }

    /// What the primary reports at the end.
    async fn report(&self, order: &RecoveringBlockProto, len: u64, nodes: &[usize]) -> Result<(), HadoopError> {
        let target = |&number: &usize| order.block.locs[number].id.clone();
        let request = CommitBlockSynchronizationRequestProto {
            block: order.block.b.clone(),
            new_gen_stamp: order.new_gen_stamp,
            new_length: len,
            close_file: true,
            delete_block: nodes.is_empty(),
            new_taragets: nodes.iter().map(target).collect(),
            new_target_storages: nodes
                .iter()
                .map(|&number| order.block.storage_i_ds[number].clone())
                .collect(),
        };
        let answer: Result<CommitBlockSynchronizationResponseProto, _> =
            self.datanodes.call("commitBlockSynchronization", request).await;
        answer.map(drop)
    }

    async fn located(&self, path: &str) -> LocatedBlocksProto {
        let request = GetBlockLocationsRequestProto {
            src: path.to_owned(),
            offset: 0,
            length: u64::MAX >> 1,
        };
        let answer: GetBlockLocationsResponseProto =
            self.client.call("getBlockLocations", request).await.expect("locations");
        answer.locations.expect("a file")
    }
}

/// covers: LM-18, LM-19, LM-21, LM-22
#[tokio::test]
async fn a_taker_is_put_off_until_the_primary_has_reported() {
    let world = World::start(&[]).await;
    let block = world.open_with_block("/f").await;
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(world.beat_all().await, []);
    let refused = world.append("/f").await.expect_err("recovery first");
    assert_eq!(
        (refused.kind, refused.first_line()),
        (
            ErrorKind::RecoveryInProgress,
            "Failed to APPEND_FILE /f for another on 127.0.0.1 because lease recovery is in progress. Try again later."
        )
    );
    let refused = world.append("/f").await.expect_err("still");
    assert_eq!(
        refused.first_line(),
        "Failed to APPEND_FILE /f for another on 127.0.0.1 because another recovery is in progress by DFSClient_test on \
         127.0.0.1"
    );
    let orders = world.beat_all().await;
    let [(_, order)] = orders.as_slice() else {
        panic!("one primary, once: {orders:?}");
    };
    assert_eq!((&order.block.b, order.block.locs.len()), (&block.b, 3));
    assert!(order.new_gen_stamp > block.b.generation_stamp && order.truncate_block.is_none());
    assert_eq!(world.beat_all().await, [], "an order goes out once");
    assert!(!world.recover_lease("/f").await);
    assert_eq!(world.beat_all().await, [], "no second attempt beside the first");

    let stale = RecoveringBlockProto {
        new_gen_stamp: order.new_gen_stamp - 1,
        ..order.clone()
    };
    let refused = world
        .report(&stale, 5, &[0])
        .await
        .expect_err("another recovery's report");
    assert!(
        refused.first_line().contains("does not match current recovery id"),
        "{refused}"
    );
    world.report(order, 700, &[0, 2]).await.expect("reported");
    let located = world.located("/f").await;
    assert_eq!((located.file_length, located.under_construction), (700, false));
    assert_eq!(located.blocks[0].locs.len(), 2, "those that took part");
    assert_eq!(located.blocks[0].b.generation_stamp, order.new_gen_stamp);
    world
        .report(order, 700, &[0, 2])
        .await
        .expect("a repeated report is no error");
    let refused = world.append("/f").await;
    assert!(refused.is_ok(), "{refused:?}");
}

#[tokio::test]
async fn a_repeated_report_does_not_bring_a_deleted_replica_back() {
    let world = World::start(&[]).await;
    world.open_with_block("/f").await;
    assert!(!world.recover_lease("/f").await);
    let (_, order) = world.beat_all().await.remove(0);
    world.report(&order, 700, &[0, 2]).await.expect("reported");
    let mut block = ExtendedBlock::from(&order.block.b).block;
    (block.generation_stamp, block.len) = (GenerationStamp(order.new_gen_stamp), 700);
    world.cluster.tell(&order.block, 2, block, IncrementKind::Deleted);
    assert_eq!(world.located("/f").await.blocks[0].locs.len(), 1);
    world.report(&order, 700, &[0, 2]).await.expect("no error");
    assert_eq!(world.located("/f").await.blocks[0].locs.len(), 1);
}

/// covers: LM-21
#[tokio::test]
async fn a_block_whose_nodes_are_all_dead_waits_for_them() {
    let world = World::start(&[]).await;
    world.open_with_block("/f").await;
    world.clock.advance(Duration::from_secs(3600));
    world
        .cluster
        .node
        .shared()
        .state
        .with_blocks(|source, blocks, now| blocks.check_nodes(source, now));
    assert!(!world.recover_lease("/f").await, "what was flushed may come back");
    assert_eq!(world.located("/f").await.blocks.len(), 0);
    assert!(world.located("/f").await.last_block.is_some());
    world.cluster.add_datanodes(NODES);
    let (_, order) = world.next_order().await;
    assert_eq!(order.block.locs.len(), NODES, "all are back and asked");
    world.report(&order, 0, &[]).await.expect("no data anywhere");
    assert!(world.is_closed("/f").await);
}

#[tokio::test]
async fn a_recovery_begun_before_a_restart_does_not_hold_up_another() {
    let world = World::start(&[]).await;
    let block = world.open_with_block("/f").await;
    assert!(!world.recover_lease("/f").await);
    let World { cluster, clock, .. } = world;
    let world = World::over(cluster.restart().await, clock).await;
    let mut replica = ExtendedBlock::from(&block.b).block;
    replica.len = 700;
    world.cluster.tell(&block, 1, replica, IncrementKind::Receiving);
    assert_eq!(world.beat_all().await, [], "what was ordered is forgotten");
    assert!(!world.recover_lease("/f").await);
    let orders = world.beat_all().await;
    let [(_, order)] = orders.as_slice() else {
        panic!("ordered at once: {orders:?}");
    };
    assert_eq!(order.block.locs.len(), 1);
    world.report(order, 700, &[0]).await.expect("reported");
    assert!(world.is_closed("/f").await);
}

#[tokio::test]
async fn a_primary_that_says_nothing_is_replaced() {
    let world = World::start(&[]).await;
    world.open_with_block("/f").await;
    assert!(!world.recover_lease("/f").await);
    let first = world.beat_all().await;
    assert_eq!(first.len(), 1);
    let (leader, second) = world.next_order().await;
    assert_ne!(first[0].0, leader, "another node leads");
    assert!(second.new_gen_stamp > first[0].1.new_gen_stamp);
    assert!(
        world.report(&first[0].1, 5, &[0]).await.is_err(),
        "the first comes too late"
    );
    assert!(!world.is_closed("/f").await);
    world.report(&second, 0, &[]).await.expect("no data anywhere");
    assert!(world.is_closed("/f").await);
    assert_eq!(world.located("/f").await.blocks.len(), 0);
}

#[tokio::test]
async fn truncation_is_ordered_with_its_length() {
    let world = World::start(&[]).await;
    let block = world.closed_with_block("/f", 1000).await;
    assert!(world.truncate("/f", 1000).await.expect("nothing to do"));
    assert!(!world.truncate("/f", 300).await.expect("begins"));
    assert!(!world.truncate("/f", 300).await.expect("the same again"));
    let refused = world.truncate("/f", 200).await.expect_err("another length");
    assert_eq!(
        (refused.kind, refused.first_line()),
        (
            ErrorKind::AlreadyBeingCreated,
            "Failed to TRUNCATE_FILE /f for DFSClient_test on 127.0.0.1 because /f is being truncated."
        )
    );
    let orders = world.beat_all().await;
    let [(_, order)] = orders.as_slice() else {
        panic!("one primary: {orders:?}");
    };
    let cut = order.truncate_block.expect("a truncation");
    assert_eq!((cut.block_id, cut.num_bytes()), (block.block_id, 300));
    assert_eq!((cut.gen_stamp, order.block.b.num_bytes()), (order.new_gen_stamp, 1000));
    let located = world.located("/f").await;
    assert_eq!(
        (located.file_length, located.under_construction),
        (0, true),
        "the last block does not count"
    );
    world.report(order, 300, &[0, 1, 2]).await.expect("reported");
    let located = world.located("/f").await;
    assert_eq!((located.file_length, located.blocks[0].locs.len()), (300, 3));
    for (request, class, line) in [
        (
            "/f",
            "org.apache.hadoop.HadoopIllegalArgumentException",
            "Cannot truncate to a larger file size. Current size: 300, truncate size: 301.",
        ),
        ("/none", "java.io.FileNotFoundException", "File does not exist: /none"),
        ("/", "java.io.FileNotFoundException", "Path is not a file: /"),
    ] {
        let error = world.truncate(request, 301).await.expect_err(request);
        assert_eq!((error.kind.class(), error.first_line()), (class, line));
    }
    let error = world.truncate("/f", u64::MAX).await.expect_err("-1");
    assert_eq!(error.first_line(), "Cannot truncate to a negative file size: -1.");
}

#[tokio::test]
async fn appends_can_be_switched_off() {
    let world = World::start(&[("dfs.support.append", "false")]).await;
    world.closed_with_block("/f", 10).await;
    let error = world.append("/f").await.expect_err("switched off");
    assert_eq!(
        (error.kind, error.first_line()),
        (
            ErrorKind::UnsupportedOperation,
            "Append is not enabled on this NameNode. Use the dfs.support.append configuration option to enable it."
        )
    );
}

#[tokio::test]
async fn a_report_waits_until_safe_mode_is_over() {
    let world = World::start(&[]).await;
    world.open_with_block("/f").await;
    assert!(!world.recover_lease("/f").await);
    let orders = world.beat_all().await;
    let [(_, order)] = orders.as_slice() else {
        panic!("one primary: {orders:?}");
    };
    let safe_mode = |action: SafeModeActionProto| SetSafeModeRequestProto {
        action: action as i32,
        checked: None,
    };
    let enter = safe_mode(SafeModeActionProto::SafemodeEnter);
    world.client.call::<_, ()>("setSafeMode", enter).await.expect("on");
    let refused = world.report(order, 5, &[0]).await.expect_err("safe mode");
    assert_eq!(
        (refused.kind, refused.first_line()),
        (
            ErrorKind::SafeMode,
            "Cannot commitBlockSynchronization while in safe mode. Name node is in safe mode."
        )
    );
    let leave = safe_mode(SafeModeActionProto::SafemodeLeave);
    world.client.call::<_, ()>("setSafeMode", leave).await.expect("off");
    world.report(order, 5, &[0]).await.expect("reported");
    assert!(world.is_closed("/f").await);
}
