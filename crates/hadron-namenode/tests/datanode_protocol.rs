//! DatanodeProtocol over real sockets: DataNodes played by hand, call by call.

mod common;

use common::{Client, Cluster, OWNER, configuration, create_request};
use hadron_blockmap::ReportedReplica;
use hadron_blockmap::report::encode_buffers;
use hadron_env::{Clock, ManualClock};
use hadron_namenode::{Env, NameNode, format};
use hadron_net::{RpcClient, RpcClientOptions};
use hadron_proto::convert::no_block_keys;
use hadron_proto::datanode::datanode_command_proto::Type;
use hadron_proto::datanode::received_deleted_block_info_proto::BlockStatus;
use hadron_proto::datanode::*;
use hadron_proto::hdfs::*;
use hadron_proto::protocol::{CLIENT_PROTOCOL, DATANODE_PROTOCOL};
use hadron_types::{Block, BlockId, ExtendedBlock, GenerationStamp, HadoopError, ReplicaState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long something that a task of the NameNode does may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A DataNode that is nothing but its calls.
struct Datanode {
    client: Client,
    registration: DatanodeRegistrationProto,
    storage: DatanodeStorageProto,
    pool: String,
}

impl Datanode {
    async fn connect(addr: SocketAddr, number: u32) -> Self {
        let options = RpcClientOptions::new(OWNER, DATANODE_PROTOCOL);
        let rpc = RpcClient::connect(addr, options).await.expect("connect");
        let client = Client { rpc };
        let answer: VersionResponseProto = client
            .call("versionRequest", VersionRequestProto {})
            .await
            .expect("version");
        let info = answer.info;
        Self {
            client,
            registration: DatanodeRegistrationProto {
                datanode_id: DatanodeIdProto {
                    ip_addr: "192.0.2.77".to_owned(),
                    host_name: format!("dn{number}"),
                    datanode_uuid: format!("uuid-{number}"),
                    xfer_port: 9000 + number,
                    info_port: 9864,
                    ipc_port: 9867,
                    info_secure_port: None,
                },
                storage_info: StorageInfoProto {
                    layout_version: -57i32 as u32,
                    ..info.storage_info
                },
                keys: no_block_keys(),
                software_version: "3.3.6".to_owned(),
            },
            storage: DatanodeStorageProto {
                storage_uuid: format!("DS-{number}"),
                ..DatanodeStorageProto::default()
            },
            pool: info.block_pool_id,
        }
    }

    /// Connects, registers, beats and reports an empty disk.
    async fn join(addr: SocketAddr, number: u32) -> Self {
        let node = Self::connect(addr, number).await;
        node.register().await.expect("register");
        node.beat().await;
        node.full_report(&[], 0).await.expect("report");
        node
    }

    async fn register(&self) -> Result<RegisterDatanodeResponseProto, HadoopError> {
        let registration = self.registration.clone();
        let request = RegisterDatanodeRequestProto { registration };
        self.client.call("registerDatanode", request).await
    }

    /// The registration as the NameNode gave it back: with the address that it saw.
    fn answered(&self) -> DatanodeRegistrationProto {
        let mut registration = self.registration.clone();
        registration.datanode_id.ip_addr = "127.0.0.1".to_owned();
        registration
    }

    fn heartbeat(&self) -> HeartbeatRequestProto {
        HeartbeatRequestProto {
            registration: self.answered(),
            reports: vec![StorageReportProto {
                storage_uuid: self.storage.storage_uuid.clone(),
                capacity: Some(1 << 40),
                dfs_used: Some(1 << 20),
                remaining: Some(1 << 39),
                storage: Some(self.storage.clone()),
                ..StorageReportProto::default()
            }],
            ..HeartbeatRequestProto::default()
        }
    }

    async fn send(&self, beat: HeartbeatRequestProto) -> HeartbeatResponseProto {
        self.client.call("sendHeartbeat", beat).await.expect("heartbeat")
    }

    async fn beat(&self) -> Vec<DatanodeCommandProto> {
        self.send(self.heartbeat()).await.cmds
    }

    fn report_request(&self, replicas: &[ReportedReplica], lease: u64) -> BlockReportRequestProto {
        let (chunks, count) = encode_buffers(replicas.iter().copied(), 7);
        BlockReportRequestProto {
            registration: self.answered(),
            block_pool_id: self.pool.clone(),
            reports: vec![StorageBlockReportProto {
                storage: self.storage.clone(),
                number_of_blocks: Some(count),
                blocks_buffers: chunks.into_iter().map(Into::into).collect(),
                ..StorageBlockReportProto::default()
            }],
            context: Some(BlockReportContextProto {
                total_rpcs: 1,
                cur_rpc: 0,
                id: 1,
                lease_id: Some(lease),
                sorted: None,
            }),
        }
    }

    async fn full_report(
        &self,
        replicas: &[ReportedReplica],
        lease: u64,
    ) -> Result<BlockReportResponseProto, HadoopError> {
        let request = self.report_request(replicas, lease);
        self.client.call("blockReport", request).await
    }

    async fn tell(
        &self,
        block: Block,
        status: BlockStatus,
    ) -> Result<BlockReceivedAndDeletedResponseProto, HadoopError> {
        let request = BlockReceivedAndDeletedRequestProto {
            registration: self.answered(),
            block_pool_id: self.pool.clone(),
            blocks: vec![StorageReceivedDeletedBlocksProto {
                storage_uuid: self.storage.storage_uuid.clone(),
                blocks: vec![ReceivedDeletedBlockInfoProto {
                    block: BlockProto::from(&block),
                    status: status as i32,
                    delete_hint: None,
                }],
                storage: Some(self.storage.clone()),
            }],
        };
        self.client.call("blockReceivedAndDeleted", request).await
    }
}

fn replica(id: i64) -> ReportedReplica {
    ReportedReplica {
        block: Block {
            id: BlockId(id),
            generation_stamp: GenerationStamp(1001),
            len: 10,
        },
        state: ReplicaState::Finalized,
    }
}

async fn client(addr: SocketAddr) -> Client {
    let options = RpcClientOptions::new(OWNER, CLIENT_PROTOCOL);
    let rpc = RpcClient::connect(addr, options).await.expect("connect");
    Client { rpc }
}

async fn add_block(client: &Client, path: &str) -> Result<LocatedBlockProto, HadoopError> {
    let request = AddBlockRequestProto {
        src: path.to_owned(),
        client_name: "DFSClient_test".to_owned(),
        ..AddBlockRequestProto::default()
    };
    let response: AddBlockResponseProto = client.call("addBlock", request).await?;
    Ok(response.block)
}

/// Creates a file of one block with these wanted replicas; the block is finished nowhere yet.
async fn open_file(client: &Client, path: &str, replication: u32) -> LocatedBlockProto {
    let request = CreateRequestProto {
        replication,
        ..create_request(path, 1)
    };
    let _: CreateResponseProto = client.call("create", request).await.expect("create");
    add_block(client, path).await.expect("add a block")
}

fn finished(located: &LocatedBlockProto, len: u64) -> (Block, ExtendedBlockProto) {
    let mut block = ExtendedBlock::from(&located.b);
    block.block.len = len;
    (block.block, ExtendedBlockProto::from(&block))
}

fn expect_kind<T: std::fmt::Debug>(result: Result<T, HadoopError>, class: &str, line: &str) {
    let error = result.expect_err(class);
    assert_eq!((error.kind.class(), error.first_line()), (class, line));
}

#[tokio::test]
async fn registration_rewrites_the_address_and_fills_the_keys() {
    let cluster = Cluster::start().await;
    let node = Datanode::connect(cluster.node.rpc_addr(), 1).await;
    let answer = node.register().await.expect("register").registration;
    assert_eq!(answer.datanode_id.ip_addr, "127.0.0.1");
    assert_eq!(answer.keys, no_block_keys());
    assert_eq!(answer.storage_info, node.registration.storage_info);
}

#[tokio::test]
async fn registrations_are_checked_as_hadoop_does() {
    let cluster = Cluster::start().await;
    let mut node = Datanode::connect(cluster.node.rpc_addr(), 1).await;
    node.registration.software_version = "2.0.5-alpha".to_owned();
    expect_kind(
        node.register().await,
        "org.apache.hadoop.hdfs.server.common.IncorrectVersionException",
        "The reported DataNode version is too low to communicate with this NameNode. DataNode version: '2.0.5-alpha' \
         Minimum DataNode version: '2.1.0-beta'",
    );
    node.registration.software_version = "2.7.3".to_owned();
    node.register().await.expect("older, same ctime");
    let info = node.registration.storage_info.clone();
    node.registration.storage_info.c_time = 5;
    expect_kind(
        node.register().await,
        "org.apache.hadoop.hdfs.server.common.IncorrectVersionException",
        &format!(
            "Reported DataNode version '2.7.3' of DN DatanodeRegistration(192.0.2.77:9001, datanodeUuid=uuid-1, \
             infoPort=9864, infoSecurePort=0, ipcPort=9867, storageInfo=lv=-57;cid={};nsid={};c=5) does not match \
             NameNode version '3.3.6' and CTime of DN ('5') does not match CTime of NN ('{}')",
            info.cluster_id, info.namespce_id, info.c_time
        ),
    );
    node.registration.storage_info = info;
    node.registration.datanode_id.xfer_port = 70_000;
    assert!(node.register().await.is_err(), "no such port");
}

#[tokio::test]
async fn hosts_not_in_the_list_stay_outside() {
    let dir = tempfile::tempdir().expect("directory");
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "dn2\n").expect("write");
    let cluster = Cluster::start_with(&[("dfs.hosts", hosts.to_str().expect("utf-8"))]).await;
    let stranger = Datanode::connect(cluster.node.rpc_addr(), 1).await;
    let error = stranger.register().await.expect_err("not listed");
    assert_eq!(
        error.kind.class(),
        "org.apache.hadoop.hdfs.server.protocol.DisallowedDatanodeException"
    );
    let line = "Datanode denied communication with namenode because the host is not in the include-list: \
                DatanodeRegistration(127.0.0.1:9001, ";
    assert!(error.first_line().starts_with(line), "{error}");
    let listed = Datanode::connect(cluster.node.rpc_addr(), 2).await;
    listed.register().await.expect("listed");
}

#[tokio::test]
async fn heartbeats_are_answered_with_orders() {
    let cluster = Cluster::start_with(&[("dfs.namenode.redundancy.interval.seconds", "10ms")]).await;
    let node = Datanode::connect(cluster.node.rpc_addr(), 1).await;
    let orders = node.beat().await;
    assert_eq!(orders[0].cmd_type(), Type::RegisterCommand, "not known yet");
    node.register().await.expect("register");
    let mut beat = node.heartbeat();
    let answer = node.send(beat.clone()).await;
    assert_eq!((answer.cmds.len(), answer.full_block_report_lease_id()), (0, 0));
    assert_eq!(answer.ha_status.state(), nnha_status_heartbeat_proto::State::Active);
    assert!(answer.ha_status.txid > 0);
    beat.request_full_block_report_lease = Some(true);
    let lease = node.send(beat).await.full_block_report_lease_id();
    assert_ne!(lease, 0);

    let ignored = node.full_report(&[replica(7)], lease ^ 1).await.expect("ignored");
    assert_eq!(ignored.cmd, None);
    let taken = node.full_report(&[replica(7)], lease).await.expect("taken");
    assert_eq!(taken.cmd.expect("an order").cmd_type(), Type::FinalizeCommand);
    let deadline = Instant::now() + PATIENCE;
    let mut orders = Vec::new();
    while orders.is_empty() {
        assert!(Instant::now() < deadline, "the node does not get its turn to delete");
        orders = node.beat().await;
    }
    let delete = orders[0].blk_cmd.as_ref().expect("a block command");
    assert_eq!(delete.action(), block_command_proto::Action::Invalidate);
    assert_eq!((delete.blocks[0].block_id, delete.blocks[0].gen_stamp), (7, 1001));
    let again = node.full_report(&[], lease).await.expect("ignored");
    assert_eq!(again.cmd, None, "a lease serves once");
}

/// Location, state and liveness of all DataNodes, by port.
async fn report(client: &Client) -> Vec<(u32, String, i32)> {
    let request = GetDatanodeReportRequestProto {
        r#type: DatanodeReportTypeProto::All as i32,
    };
    let answer: GetDatanodeReportResponseProto = client.call("getDatanodeReport", request).await.expect("report");
    let row = |info: &DatanodeInfoProto| (info.id.xfer_port, info.location().to_owned(), info.admin_state() as i32);
    answer.di.iter().map(row).collect()
}

#[tokio::test]
async fn racks_and_wishes_are_read_anew() {
    let dir = tempfile::tempdir().expect("directory");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("write");
        path.to_str().expect("utf-8").to_owned()
    };
    let table = file("table", "dn1 /r1\ndn2 /r2\n");
    let exclude = file("exclude", "127.0.0.1:9002\n");
    let clock = ManualClock::default();
    let settings = [
        (
            "net.topology.node.switch.mapping.impl",
            "org.apache.hadoop.net.TableMapping",
        ),
        ("net.topology.table.file.name", table.as_str()),
        ("dfs.hosts.exclude", exclude.as_str()),
    ];
    let cluster = Cluster::start_at(Arc::new(clock.clone()), &settings).await;
    let addr = cluster.node.rpc_addr();
    let (one, two) = (Datanode::join(addr, 1).await, Datanode::join(addr, 2).await);
    let client = client(addr).await;
    let (normal, leaving) = (0, 1);
    let row = |port, rack: &str, state| (port, rack.to_owned(), state);
    assert_eq!(
        report(&client).await,
        [row(9001, "/r1", normal), row(9002, "/r2", leaving)]
    );
    let jmx = cluster
        .node
        .shared()
        .state
        .blocks
        .lock()
        .datanodes(cluster.node.shared().state.now());
    assert!(jmx[1].leaving.is_some(), "it is watched");

    // Nothing is on it: the first look after 30 s lets it go.
    let deadline = Instant::now() + PATIENCE;
    while report(&client).await[1].2 != 2 {
        assert!(Instant::now() < deadline, "it stays");
        clock.advance(Duration::from_secs(5));
        one.beat().await;
        two.beat().await;
    }
    file("exclude", "dn1:9001\n");
    file("table", "dn1 /r3\n");
    let refreshed: RefreshNodesResponseProto = client
        .call("refreshNodes", RefreshNodesRequestProto {})
        .await
        .expect("refreshed");
    assert_eq!(refreshed, RefreshNodesResponseProto {});
    let rows = report(&client).await;
    assert_eq!(rows, [row(9001, "/r3", leaving), row(9002, "/default-rack", normal)]);

    std::fs::remove_file(dir.path().join("exclude")).expect("remove");
    let refused: Result<RefreshNodesResponseProto, _> = client.call("refreshNodes", RefreshNodesRequestProto {}).await;
    let error = refused.expect_err("no file");
    assert!(error.message.contains("exclude: No such file"), "{error}");
    assert_eq!(report(&client).await, rows, "the old lists stay in force");
    let (alice, none) = (cluster.client("alice").await, RefreshNodesRequestProto {});
    alice
        .refused(
            "refreshNodes",
            none,
            "org.apache.hadoop.security.AccessControlException",
            "Access denied for user alice. Superuser privilege is required",
        )
        .await;
}

#[tokio::test]
async fn a_node_taken_off_the_list_is_told_to_stop() {
    let dir = tempfile::tempdir().expect("directory");
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "dn1\ndn2\n").expect("write");
    let cluster = Cluster::start_with(&[("dfs.hosts", hosts.to_str().expect("utf-8"))]).await;
    let node = Datanode::join(cluster.node.rpc_addr(), 1).await;
    std::fs::write(&hosts, "dn2\n").expect("write");
    let client = client(cluster.node.rpc_addr()).await;
    let _: RefreshNodesResponseProto = client
        .call("refreshNodes", RefreshNodesRequestProto {})
        .await
        .expect("refreshed");
    let beat: Result<HeartbeatResponseProto, _> = node.client.call("sendHeartbeat", node.heartbeat()).await;
    let error = beat.expect_err("no longer listed");
    assert_eq!(
        error.kind.class(),
        "org.apache.hadoop.hdfs.server.protocol.DisallowedDatanodeException"
    );
    assert_eq!(cluster.node.shared().state.blocks.lock().live_datanodes(), 0);
    let request = GetDatanodeReportRequestProto {
        r#type: DatanodeReportTypeProto::Dead as i32,
    };
    let dead: GetDatanodeReportResponseProto = client.call("getDatanodeReport", request).await.expect("report");
    let hosts: Vec<&str> = dead.di.iter().map(|info| info.id.host_name.as_str()).collect();
    assert_eq!(
        hosts,
        ["dn2"],
        "not the one that left the list, but the one nobody heard of"
    );
}

#[tokio::test]
async fn lifelines_have_a_port_of_their_own() {
    let clock = ManualClock::default();
    let settings = [("dfs.namenode.lifeline.rpc-address", "127.0.0.1:0")];
    let cluster = Cluster::start_at(Arc::new(clock.clone()), &settings).await;
    let node = Datanode::join(cluster.node.rpc_addr(), 1).await;
    let addr = cluster.node.lifeline_rpc_addr().expect("a port");
    let options = RpcClientOptions::new(OWNER, hadron_proto::protocol::DATANODE_LIFELINE_PROTOCOL);
    let lifeline = Client {
        rpc: RpcClient::connect(addr, options).await.expect("connect"),
    };
    clock.advance(Duration::from_secs(600));
    let _: hadron_proto::lifeline::LifelineResponseProto =
        lifeline.call("sendLifeline", node.heartbeat()).await.expect("taken");
    clock.advance(Duration::from_secs(600));
    let state = &cluster.node.shared().state;
    let dead = state.with_blocks(|source, blocks, now| blocks.check_nodes(source, now));
    assert_eq!((dead, state.blocks.lock().live_datanodes()), (0, 1), "heard 600 s ago");
    let other: Result<VersionResponseProto, _> = lifeline.call("versionRequest", VersionRequestProto {}).await;
    assert!(other.is_err(), "no other call is served there");
}

#[tokio::test]
async fn strangers_and_nonsense_are_refused() {
    let cluster = Cluster::start().await;
    let mut node = Datanode::connect(cluster.node.rpc_addr(), 1).await;
    let register = node.full_report(&[], 0).await.expect("told");
    assert_eq!(register.cmd.expect("an order").cmd_type(), Type::RegisterCommand);
    let told = node.tell(replica(1).block, BlockStatus::Received).await;
    let error = told.expect_err("not registered");
    let line = "ProcessReport from dead or unregistered node: DatanodeRegistration(127.0.0.1:9001, ";
    assert!(error.first_line().starts_with(line), "{error}");
    node.register().await.expect("register");

    let mut hostile = node.report_request(&[], 0);
    hostile.reports[0].number_of_blocks = Some(u64::MAX);
    let refused: Result<BlockReportResponseProto, _> = node.client.call("blockReport", hostile).await;
    expect_kind(
        refused,
        "java.io.IOException",
        "block report announces 18446744073709551615 replicas but holds another number",
    );
    let mut impostor = node.heartbeat();
    impostor.registration.datanode_id.xfer_port = 9009;
    let refused: Result<HeartbeatResponseProto, _> = node.client.call("sendHeartbeat", impostor).await;
    let error = refused.expect_err("another node has this uuid");
    assert_eq!(
        error.kind.class(),
        "org.apache.hadoop.hdfs.protocol.UnregisteredNodeException"
    );
    assert_eq!(
        error.first_line(),
        "Data node DatanodeRegistration(127.0.0.1:9009, datanodeUuid=uuid-1, infoPort=9864, infoSecurePort=0, \
         ipcPort=9867, storageInfo=lv=-57;cid=CID;nsid=NSID;c=CTIME) is attempting to report storage ID uuid-1. Node \
         127.0.0.1:9001 is expected to serve this storage."
            .replace("CID;", &format!("{};", node.registration.storage_info.cluster_id))
            .replace("NSID", &node.registration.storage_info.namespce_id.to_string())
            .replace("CTIME", &node.registration.storage_info.c_time.to_string())
    );
    node.pool = "BP-other".to_owned();
    assert!(node.full_report(&[], 0).await.is_err(), "another pool");
    node.registration.storage_info.namespce_id ^= 1;
    let refused: Result<HeartbeatResponseProto, _> = node.client.call("sendHeartbeat", node.heartbeat()).await;
    let error = refused.expect_err("another file system");
    assert_eq!(
        error.kind.class(),
        "org.apache.hadoop.hdfs.protocol.UnregisteredNodeException"
    );
    let line = "Unregistered server: DatanodeRegistration(";
    assert!(error.first_line().starts_with(line), "{error}");
}

#[tokio::test]
async fn without_datanodes_there_is_no_block() {
    let cluster = Cluster::start().await;
    let client = client(cluster.node.rpc_addr()).await;
    client.create("/f", 1).await.expect("create");
    expect_kind(
        add_block(&client, "/f").await,
        "java.io.IOException",
        "File /f could only be written to 0 of the 1 minReplication nodes. There are 0 datanode(s) running and no \
         node(s) are excluded in this operation.",
    );
}

#[tokio::test]
async fn a_finished_replica_wakes_complete() {
    let cluster = Cluster::start().await;
    let addr = cluster.node.rpc_addr();
    let node = Datanode::join(addr, 1).await;
    let client = client(addr).await;
    let located = open_file(&client, "/f", 1).await;
    assert_eq!(located.locs[0].id.datanode_uuid, "uuid-1");
    let (block, last) = finished(&located, 10);
    let early = client.complete("/f", Some(last.clone())).await;
    assert!(!early.expect("complete"), "nobody has it");
    let (done, told) = tokio::join!(
        client.complete("/f", Some(last)),
        node.tell(block, BlockStatus::Received)
    );
    told.expect("told");
    assert!(done.expect("complete"));
}

/// Fetches orders of `node` until one is a copy, while the clock runs.
async fn copies(node: &Datanode, other: &Datanode, clock: &ManualClock) -> BlockCommandProto {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no order to copy");
        clock.advance(Duration::from_secs(1));
        other.beat().await;
        let orders = node.beat().await;
        let is_copy = |order: &&BlockCommandProto| order.action() == block_command_proto::Action::Transfer;
        let mut commands = orders.iter().filter_map(|order| order.blk_cmd.as_ref());
        if let Some(order) = commands.find(is_copy) {
            return order.clone();
        }
    }
}

#[tokio::test]
async fn the_blocks_of_a_dead_node_are_copied() {
    let dir = tempfile::tempdir().expect("directory");
    let conf = configuration(dir.path());
    let clock = ManualClock::default();
    let env = Env {
        clock: Arc::new(clock.clone()) as Arc<dyn Clock>,
        ..Env::system()
    };
    format(&conf, &env, None, false).expect("format");
    let namenode = NameNode::start_with(conf, env).await.expect("start");
    let addr = namenode.rpc_addr();
    let mut nodes = Vec::new();
    for number in 1..=3 {
        nodes.push(Datanode::join(addr, number).await);
    }
    let client = client(addr).await;
    let located = open_file(&client, "/f", 2).await;
    let (block, last) = finished(&located, 10);
    let is_chosen = |node: &&Datanode| {
        let uuid = &node.registration.datanode_id.datanode_uuid;
        located.locs.iter().any(|at| at.id.datanode_uuid == *uuid)
    };
    let (holders, spare): (Vec<&Datanode>, Vec<&Datanode>) = nodes.iter().partition(is_chosen);
    for node in &holders {
        node.tell(block, BlockStatus::Received).await.expect("told");
    }
    assert!(client.complete("/f", Some(last)).await.expect("complete"));

    clock.advance(Duration::from_secs(625));
    for node in [holders[0], spare[0]] {
        node.beat().await;
    }
    clock.advance(Duration::from_secs(6));
    let order = copies(holders[0], spare[0], &clock).await;
    assert_eq!(order.blocks[0].block_id, block.id.to_wire());
    let target = &order.targets[0].datanodes[0].id.datanode_uuid;
    assert_eq!(*target, spare[0].registration.datanode_id.datanode_uuid);
    let storages = &order.target_storage_uuids[0].storage_uuids;
    assert_eq!(*storages, [spare[0].storage.storage_uuid.clone()]);
    spare[0].tell(block, BlockStatus::Received).await.expect("told");
    let stats = namenode.shared().state.blocks.lock().block_stats();
    assert_eq!((stats.low_redundancy, stats.pending_replication), (0, 0));
    let orders = holders[1].beat().await;
    assert_eq!(orders[0].cmd_type(), Type::RegisterCommand, "it was thought dead");
    namenode.shutdown().await;
}

/// The ids of the orders to cache and to uncache.
fn cache_orders(commands: &[DatanodeCommandProto]) -> (Vec<u64>, Vec<u64>) {
    use hadron_proto::datanode::block_id_command_proto::Action;
    let of = |action: Action| {
        let orders = commands.iter().filter_map(|command| command.blk_id_cmd.as_ref());
        let orders = orders.filter(|order| order.action() == action);
        orders.flat_map(|order| order.block_ids.clone()).collect()
    };
    (of(Action::Cache), of(Action::Uncache))
}

#[tokio::test]
async fn what_directives_name_is_cached_and_shown() {
    let cluster = Cluster::start().await;
    let addr = cluster.node.rpc_addr();
    let node = Datanode::join(addr, 1).await;
    let client = client(addr).await;
    let located = open_file(&client, "/f", 1).await;
    let (block, last) = finished(&located, 10);
    node.tell(block, BlockStatus::Received).await.expect("told");
    assert!(client.complete("/f", Some(last)).await.expect("complete"));
    let beat = || HeartbeatRequestProto {
        cache_capacity: Some(8192),
        cache_used: Some(4096),
        ..node.heartbeat()
    };
    node.send(beat()).await;
    let pool = AddCachePoolRequestProto {
        info: CachePoolInfoProto {
            pool_name: Some("p".to_owned()),
            ..CachePoolInfoProto::default()
        },
    };
    let _: AddCachePoolResponseProto = client.call("addCachePool", pool).await.expect("a pool");
    let directive = AddCacheDirectiveRequestProto {
        info: CacheDirectiveInfoProto {
            path: Some("/".to_owned()),
            pool: Some("p".to_owned()),
            replication: Some(2),
            ..CacheDirectiveInfoProto::default()
        },
        cache_flags: None,
    };
    let added: AddCacheDirectiveResponseProto = client.call("addCacheDirective", directive).await.expect("a directive");
    let list = async || -> ListCacheDirectivesResponseProto {
        let all = ListCacheDirectivesRequestProto::default();
        client.call("listCacheDirectives", all).await.expect("a list")
    };
    let stats = async || {
        let stats = &list().await.elements[0].stats;
        [
            stats.bytes_needed,
            stats.bytes_cached,
            stats.files_needed,
            stats.files_cached,
        ]
    };
    assert_eq!(stats().await, [20, 0, 1, 0]);
    assert_eq!(
        cache_orders(&node.send(beat()).await.cmds),
        (vec![block.id.to_wire()], vec![])
    );
    let report = |blocks: &[u64]| CacheReportRequestProto {
        registration: node.answered(),
        block_pool_id: node.pool.clone(),
        blocks: blocks.to_vec(),
    };
    let told: CacheReportResponseProto = node
        .client
        .call("cacheReport", report(&[block.id.to_wire()]))
        .await
        .expect("told");
    assert_eq!(told.cmd, None);
    let locate = GetBlockLocationsRequestProto {
        src: "/f".to_owned(),
        offset: 0,
        length: 100,
    };
    let located: GetBlockLocationsResponseProto = client.call("getBlockLocations", locate).await.expect("locations");
    assert_eq!(located.locations.expect("is there").blocks[0].is_cached, [true]);
    let nodes: GetDatanodeReportResponseProto = client
        .call("getDatanodeReport", GetDatanodeReportRequestProto { r#type: 2 })
        .await
        .expect("a report");
    assert_eq!((nodes.di[0].cache_capacity(), nodes.di[0].cache_used()), (8192, 4096));
    // Without the directive the block is given up, and the list is empty.
    let remove = RemoveCacheDirectiveRequestProto { id: added.id };
    let _: RemoveCacheDirectiveResponseProto = client.call("removeCacheDirective", remove).await.expect("removed");
    assert!(list().await.elements.is_empty());
    assert_eq!(
        cache_orders(&node.send(beat()).await.cmds),
        (vec![], vec![block.id.to_wire()])
    );
    let stranger = Datanode::connect(addr, 2).await;
    let report = CacheReportRequestProto {
        registration: stranger.answered(),
        ..report(&[])
    };
    let refused: Result<CacheReportResponseProto, _> = stranger.client.call("cacheReport", report).await;
    let error = refused.expect_err("is not known");
    assert_eq!(error.kind.class(), "java.io.IOException");
    assert!(
        error
            .first_line()
            .starts_with("processCacheReport from dead or unregistered datanode: ")
    );
}
