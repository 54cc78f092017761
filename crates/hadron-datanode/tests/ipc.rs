//! The DataNode's RPC port: who may administer it, what each call answers, and block recovery over the wire.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod common;

use common::*;
use hadron_datanode::Ending;
use hadron_env::config::Configuration;
use hadron_net::{RpcClient, RpcClientOptions, RpcError};
use hadron_proto::common::{GetProtocolVersionsRequestProto, GetProtocolVersionsResponseProto};
use hadron_proto::convert::no_token;
use hadron_proto::hdfs::*;
use hadron_proto::protocol::{
    CLIENT_DATANODE_PROTOCOL, INTER_DATANODE_PROTOCOL, PROTOCOL_META_INFO, RECONFIGURATION_PROTOCOL,
};
use hadron_types::{ErrorKind, HadoopError};
use prost::Message;
use std::time::Instant;

fn connect(cluster: &Cluster, user: &str, protocol: &'static str) -> RpcClient {
    let options = RpcClientOptions::new(user, protocol);
    let address = cluster.nodes[0].ipc_addr();
    cluster.runtime.block_on(RpcClient::connect(address, options)).unwrap()
}

fn owner() -> String {
    Configuration::new().user_name().to_owned()
}

fn call<Q: Message, R: Message + Default>(
    cluster: &Cluster,
    client: &RpcClient,
    method: &str,
    request: &Q,
) -> Result<R, HadoopError> {
    let answer: Result<R, RpcError> = cluster.runtime.block_on(client.call(method, request));
    answer.map_err(|error| error.remote().unwrap().clone())
}

#[test]
fn administration_is_for_superusers() {
    let cluster = Cluster::start(1);
    let stranger = connect(&cluster, "mallory", CLIENT_DATANODE_PROTOCOL);
    let trigger = TriggerBlockReportRequestProto {
        incremental: true,
        nn_address: None,
    };
    let delete = DeleteBlockPoolRequestProto {
        block_pool: "BP-none".into(),
        force: true,
    };
    let shutdown = ShutdownDatanodeRequestProto { for_upgrade: false };
    for (method, request) in [
        ("refreshNamenodes", Vec::new()),
        ("deleteBlockPool", delete.encode_to_vec()),
        ("shutdownDatanode", shutdown.encode_to_vec()),
        ("evictWriters", Vec::new()),
        ("getVolumeReport", Vec::new()),
        ("triggerBlockReport", trigger.encode_to_vec()),
        ("startReconfiguration", Vec::new()),
        ("getReconfigurationStatus", Vec::new()),
        ("listReconfigurableProperties", Vec::new()),
        ("queryDiskBalancerPlan", Vec::new()),
    ] {
        // Any message stands for any other: the bytes are what counts.
        let refused = cluster.runtime.block_on(async {
            match method {
                "deleteBlockPool" => stranger
                    .call::<_, DeleteBlockPoolResponseProto>(method, &delete)
                    .await
                    .err(),
                "shutdownDatanode" => stranger
                    .call::<_, ShutdownDatanodeResponseProto>(method, &shutdown)
                    .await
                    .err(),
                "triggerBlockReport" => stranger
                    .call::<_, TriggerBlockReportResponseProto>(method, &trigger)
                    .await
                    .err(),
                _ => stranger
                    .call::<_, EvictWritersResponseProto>(method, &EvictWritersRequestProto {})
                    .await
                    .err(),
            }
        });
        let refused = refused.unwrap_or_else(|| panic!("{method} is for everybody: {request:?}"));
        let refused = refused.remote().unwrap();
        assert_eq!(
            (refused.kind, refused.message.as_str()),
            (ErrorKind::AccessControl, "Permission denied."),
            "{method}"
        );
    }
    let info: GetDatanodeInfoResponseProto =
        call(&cluster, &stranger, "getDatanodeInfo", &GetDatanodeInfoRequestProto {}).unwrap();
    assert_eq!(info.local_info.config_version, "core-3.0.0,hdfs-1");
}

#[test]
fn each_call_answers_or_is_refused_in_hadoops_words() {
    let cluster = Cluster::start_with(1, &[("dfs.datanode.balance.bandwidthPerSec", "5000")]);
    let admin = connect(&cluster, &owner(), CLIENT_DATANODE_PROTOCOL);
    let bandwidth: GetBalancerBandwidthResponseProto = call(
        &cluster,
        &admin,
        "getBalancerBandwidth",
        &GetBalancerBandwidthRequestProto {},
    )
    .unwrap();
    assert_eq!(bandwidth.bandwidth, 5000);
    let volumes: GetVolumeReportResponseProto =
        call(&cluster, &admin, "getVolumeReport", &GetVolumeReportRequestProto {}).unwrap();
    assert_eq!(volumes.volume_info.len(), 1);

    let served = DeleteBlockPoolRequestProto {
        block_pool: POOL.into(),
        force: true,
    };
    let refused = call::<_, DeleteBlockPoolResponseProto>(&cluster, &admin, "deleteBlockPool", &served).unwrap_err();
    assert_eq!(
        refused.message,
        "The block pool is still running. First do a refreshNamenodes to shutdown the block pool service"
    );
    let old = cluster.dirs[0].join("current/BP-1-127.0.0.1-5/current/finalized/subdir0/subdir0");
    std::fs::create_dir_all(&old).unwrap();
    std::fs::write(old.join("blk_1"), b"x").unwrap();
    for (force, expected) in [(false, false), (true, true)] {
        let request = DeleteBlockPoolRequestProto {
            block_pool: "BP-1-127.0.0.1-5".into(),
            force,
        };
        let done = call::<_, DeleteBlockPoolResponseProto>(&cluster, &admin, "deleteBlockPool", &request);
        assert_eq!(done.is_ok(), expected, "{done:?}");
        if let Err(error) = done {
            assert!(
                error
                    .message
                    .contains("Cannot delete block pool, it contains some block files")
            );
        }
        assert_eq!(old.exists(), !expected);
    }

    let token = no_token();
    let path = GetBlockLocalPathInfoRequestProto {
        block: (&block(5, 1001, 0)).into(),
        token,
    };
    let refused =
        call::<_, GetBlockLocalPathInfoResponseProto>(&cluster, &admin, "getBlockLocalPathInfo", &path).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::AccessControl);
    let text = format!(
        "Can't continue with getBlockLocalPathInfo() authorization. The user {} is not configured in \
         dfs.block.local-path-access.user",
        owner()
    );
    assert_eq!(refused.message, text);
    let query = QueryPlanStatusRequestProto {};
    let refused =
        call::<_, QueryPlanStatusResponseProto>(&cluster, &admin, "queryDiskBalancerPlan", &query).unwrap_err();
    assert_eq!(
        (refused.kind, refused.message.as_str()),
        (ErrorKind::DiskBalancer, "Disk Balancer is not enabled.")
    );
    let locations = GetHdfsBlockLocationsRequestProto {
        block_pool_id: POOL.into(),
        ..GetHdfsBlockLocationsRequestProto::default()
    };
    let refused = call::<_, GetHdfsBlockLocationsResponseProto>(&cluster, &admin, "getHdfsBlockLocations", &locations)
        .unwrap_err();
    assert_eq!(refused.kind, ErrorKind::UnsupportedOperation);
    let _: RefreshNamenodesResponseProto =
        call(&cluster, &admin, "refreshNamenodes", &RefreshNamenodesRequestProto {}).unwrap();
}

#[test]
fn listed_users_learn_where_blocks_are() {
    let cluster = Cluster::start_with(1, &[("dfs.block.local-path-access.user", "impala,other")]);
    cluster.write(0, &block(5, 1001, 0), b"data");
    cluster.namenode.wait_news(&cluster.uuid(0), 5, 2);
    let client = connect(&cluster, "impala", CLIENT_DATANODE_PROTOCOL);
    let request = GetBlockLocalPathInfoRequestProto {
        block: (&block(5, 1001, 0)).into(),
        token: no_token(),
    };
    let found: GetBlockLocalPathInfoResponseProto = call(&cluster, &client, "getBlockLocalPathInfo", &request).unwrap();
    assert_eq!(std::fs::read(found.local_path).unwrap(), b"data");
    assert!(found.local_meta_path.ends_with("blk_5_1001.meta"));
    let missing = GetBlockLocalPathInfoRequestProto {
        block: (&block(6, 1001, 0)).into(),
        ..request
    };
    let refused = call::<_, GetBlockLocalPathInfoResponseProto>(&cluster, &client, "getBlockLocalPathInfo", &missing)
        .unwrap_err();
    assert_eq!(refused.kind, ErrorKind::ReplicaNotFound);
    assert!(
        refused
            .message
            .starts_with(&format!("Replica not found for {}", block(6, 1001, 0)))
    );
}

/// covers: XC-27
#[test]
fn settings_are_changed_without_a_restart() {
    let cluster = Cluster::start(1);
    let admin = connect(&cluster, &owner(), RECONFIGURATION_PROTOCOL);
    let listed: ListReconfigurablePropertiesResponseProto = call(
        &cluster,
        &admin,
        "listReconfigurableProperties",
        &ListReconfigurablePropertiesRequestProto {},
    )
    .unwrap();
    assert!(listed.name.contains(&"dfs.datanode.max.transfer.threads".to_owned()));
    let status = || -> GetReconfigurationStatusResponseProto {
        let request = GetReconfigurationStatusRequestProto {};
        call(&cluster, &admin, "getReconfigurationStatus", &request).unwrap()
    };
    assert_eq!((status().start_time, status().end_time), (0, None));
    cluster.nodes[0].set_reload(|| {
        let mut conf = Configuration::new();
        conf.set("dfs.datanode.max.transfer.threads", "3")
            .set("dfs.datanode.balance.max.concurrent.moves", "0")
            .set("dfs.datanode.balance.bandwidthPerSec", "rubbish");
        Ok(conf)
    });
    let start = StartReconfigurationRequestProto {};
    let _: StartReconfigurationResponseProto = call(&cluster, &admin, "startReconfiguration", &start).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        let now = status();
        if now.end_time.is_some() {
            break now;
        }
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    };
    let changed = |name: &str| ended.changes.iter().find(|change| change.name == name).unwrap();
    let threads = changed("dfs.datanode.max.transfer.threads");
    assert_eq!(
        (threads.new_value.as_deref(), &threads.error_message),
        (Some("3"), &None)
    );
    assert!(changed("dfs.datanode.balance.bandwidthPerSec").error_message.is_some());
    let moves = changed("dfs.datanode.balance.max.concurrent.moves");
    let text = "dfs.datanode.balance.max.concurrent.moves should be larger than 0";
    assert_eq!(
        (moves.old_value.as_str(), moves.error_message.as_deref()),
        ("100", Some(text))
    );
    let peers: Vec<Peer> = (0..3).map(|_| cluster.connect(0)).collect();
    let deadline = Instant::now() + PATIENCE;
    while cluster.nodes[0].xceiver_count() < 3 {
        assert!(Instant::now() < deadline, "three connections are taken");
        std::thread::yield_now();
    }
    let mut refused = cluster.connect(0);
    assert!(refused.is_closed(), "a fourth connection is refused");
    drop(peers);
}

#[test]
fn writers_are_evicted_and_a_shutdown_is_asked_for_once() {
    let cluster = Cluster::start(1);
    let mut writer = cluster.connect(0);
    writer.open_write(&block(5, 1001, 0), vec![]);
    writer.send_packet(0, 0, b"hello", false, false);
    writer.ack();
    let admin = connect(&cluster, &owner(), CLIENT_DATANODE_PROTOCOL);
    let _: EvictWritersResponseProto = call(&cluster, &admin, "evictWriters", &EvictWritersRequestProto {}).unwrap();
    assert!(writer.is_closed());
    let request = ShutdownDatanodeRequestProto { for_upgrade: false };
    let _: ShutdownDatanodeResponseProto = call(&cluster, &admin, "shutdownDatanode", &request).unwrap();
    let ended = cluster
        .runtime
        .block_on(async { tokio::time::timeout(PATIENCE, cluster.nodes[0].ended()).await });
    assert_eq!(ended.unwrap(), Ending::Asked { for_upgrade: false });
    let again = call::<_, ShutdownDatanodeResponseProto>(&cluster, &admin, "shutdownDatanode", &request).unwrap_err();
    assert_eq!(again.message, "Shutdown already in progress.");
}

/// covers: LM-22
#[test]
fn holders_answer_the_primary() {
    let cluster = Cluster::start(1);
    cluster.write(0, &block(5, 1001, 0), &bytes(1300));
    cluster.namenode.wait_news(&cluster.uuid(0), 5, 2);
    let primary = connect(&cluster, "another-datanode", INTER_DATANODE_PROTOCOL);
    let init = |id: i64, recovery_id: u64| {
        let request = InitReplicaRecoveryRequestProto {
            block: RecoveringBlockProto {
                new_gen_stamp: recovery_id,
                block: LocatedBlockProto {
                    b: (&block(id, 1001, 0)).into(),
                    block_token: no_token(),
                    ..LocatedBlockProto::default()
                },
                ..RecoveringBlockProto::default()
            },
        };
        call::<_, InitReplicaRecoveryResponseProto>(&cluster, &primary, "initReplicaRecovery", &request)
    };
    assert!(!init(6, 1005).unwrap().replica_found);
    let found = init(5, 1005).unwrap();
    assert_eq!(
        (found.replica_found, found.state, found.block.map(|b| b.num_bytes())),
        (true, Some(0), Some(1300))
    );
    let late = init(5, 1004).unwrap_err();
    assert_eq!(late.kind, ErrorKind::RecoveryInProgress);
    let update = |id: i64, recovery_id: u64, new_length: u64| {
        let request = UpdateReplicaUnderRecoveryRequestProto {
            block: (&block(id, 1001, 1300)).into(),
            recovery_id,
            new_length,
            new_block_id: None,
        };
        call::<_, UpdateReplicaUnderRecoveryResponseProto>(&cluster, &primary, "updateReplicaUnderRecovery", &request)
    };
    assert_eq!(update(6, 1005, 700).unwrap_err().kind, ErrorKind::ReplicaNotFound);
    assert!(
        update(5, 1004, 700)
            .unwrap_err()
            .message
            .starts_with("rur.getRecoveryID() != recoveryId = 1004")
    );
    let done = update(5, 1005, 700).unwrap();
    assert!(done.storage_uuid().starts_with("DS-"));
    cluster.namenode.wait("the new length", |script| {
        let found = script
            .news
            .iter()
            .any(|(_, block, _)| block.gen_stamp == 1005 && block.num_bytes() == 700);
        found.then_some(())
    });
}

#[test]
fn protocols_are_listed() {
    let cluster = Cluster::start(1);
    let client = connect(&cluster, "anybody", PROTOCOL_META_INFO);
    for (protocol, count) in [
        (CLIENT_DATANODE_PROTOCOL, 1),
        (INTER_DATANODE_PROTOCOL, 1),
        (RECONFIGURATION_PROTOCOL, 1),
        ("org.example.None", 0),
    ] {
        let request = GetProtocolVersionsRequestProto {
            protocol: protocol.to_owned(),
        };
        let answer: GetProtocolVersionsResponseProto =
            call(&cluster, &client, "getProtocolVersions", &request).unwrap();
        assert_eq!(answer.protocol_versions.len(), count, "{protocol}");
    }
}
