//! Block tokens through a whole cluster: who may do what, keys that roll under load, nodes that come and go.

use bytes::BytesMut;
use hadron_client::{CreateOptions, FsError, HadronFs};
use hadron_net::{RpcClient, RpcClientOptions, RpcError};
use hadron_proto::common::TokenProto;
use hadron_proto::hdfs::op_write_block_proto::BlockConstructionStage;
use hadron_proto::hdfs::{self as proto, Status};
use hadron_proto::protocol::CLIENT_DATANODE_PROTOCOL;
use hadron_testkit::{Cluster, eventually, path, read};
use hadron_types::{ExtendedBlock, GenerationStamp, StorageType};
use hadron_wire::token::{AccessMode, BlockKeys, BlockTokenIdentifier, IdentifierForm};
use hadron_wire::transfer::op::{BlockChecksum, BlockHeader, ReadBlock, TransferBlock, WriteBlock};
use hadron_wire::transfer::{Checksum, Op, response};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

async fn write(fs: &HadronFs, name: &str, content: &[u8]) -> Result<(), FsError> {
    let mut writer = fs.create(&path(name), CreateOptions::default()).await?;
    writer.write_all(content).await?;
    writer.close().await
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as i64
}

/// The NameNode's keys, to make tokens it would never give.
fn keys_of(cluster: &Cluster) -> BlockKeys {
    let tokens = cluster
        .namenode()
        .shared()
        .block_tokens
        .as_ref()
        .expect("tokens are on");
    BlockKeys::of(&tokens.export(), now()).expect("tokens are on")
}

fn identifier(block: &ExtendedBlock, mode: AccessMode) -> BlockTokenIdentifier {
    BlockTokenIdentifier {
        expiry: 0,
        key_id: 0,
        user: Some("somebody".into()),
        pool: Some(block.pool.as_str().into()),
        block: block.block.id,
        modes: vec![mode],
        storage_types: Vec::new(),
        storage_ids: Vec::new(),
        handshake: Default::default(),
    }
}

fn ask(addr: SocketAddr, op: &Op) -> Option<proto::BlockOpResponseProto> {
    let mut stream = TcpStream::connect(addr).expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time-out");
    let mut out = BytesMut::new();
    op.encode(&mut out);
    stream.write_all(&out).expect("send");
    response::read_response(&mut stream).ok()
}

fn read_op(header: BlockHeader) -> Op {
    Op::ReadBlock(ReadBlock {
        header,
        client_name: "test".into(),
        offset: 0,
        len: 10,
        send_checksums: true,
        caching: Default::default(),
    })
}

fn write_op(header: BlockHeader, client: &str, kinds: &[StorageType]) -> Op {
    Op::WriteBlock(Box::new(WriteBlock {
        header,
        client_name: client.into(),
        targets: Vec::new(),
        source: None,
        stage: BlockConstructionStage::PipelineSetupCreate,
        pipeline_size: 1,
        min_bytes_received: 0,
        max_bytes_received: 0,
        latest_generation_stamp: GenerationStamp(0),
        checksum: Checksum::new(hadron_types::ChecksumType::Crc32c, 512).expect("a checksum"),
        caching: Default::default(),
        storage_type: kinds[0],
        target_storage_types: kinds[1..].to_vec(),
        allow_lazy_persist: false,
        pinning: false,
        target_pinnings: Vec::new(),
        storage_id: None,
        target_storage_ids: Vec::new(),
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_asks_for_its_token() {
    // covers: XC-24
    let builder = Cluster::builder()
        .datanodes(2)
        .set("dfs.block.access.token.enable", true);
    let cluster = builder.start().await.expect("a cluster");
    let fs = cluster.client().await.expect("a client");
    write(&fs, "/file", &content(100_000)).await.expect("write");
    assert_eq!(read(&fs, "/file").await.expect("read"), content(100_000));
    let located = fs.block_locations(&path("/file"), 0, 100).await.expect("locations");
    let block = located[0].block.clone();
    let addr = cluster.datanode(0).xfer_addr();
    let target = located[0].locations.iter().find(|place| place.addr != addr.to_string());
    assert!(target.is_some(), "both nodes have a replica");

    let keys = keys_of(&cluster);
    let good = |mode| {
        keys.mint(identifier(&block, mode), IdentifierForm::Full, now())
            .expect("a token")
    };
    let with = |token: TokenProto| BlockHeader {
        block: block.clone(),
        token,
    };
    let late = keys
        .mint(identifier(&block, AccessMode::Read), IdentifierForm::Full, 0)
        .expect("a token");
    let mut forged = good(AccessMode::Read);
    forged.password = vec![7; 20].into();
    let ok = Some(Status::Success as i32);
    let refused = Some(Status::ErrorAccessToken as i32);
    for (name, token, status) in [
        ("good", good(AccessMode::Read), ok),
        ("none", TokenProto::default(), refused),
        ("for writing", good(AccessMode::Write), refused),
        ("expired", late, refused),
        ("forged", forged, refused),
    ] {
        for op in [
            read_op(with(token.clone())),
            Op::BlockChecksum(BlockChecksum {
                header: with(token.clone()),
                options: None,
            }),
        ] {
            let answer = ask(addr, &op).expect("an answer");
            assert_eq!(Some(answer.status), status, "{} with a token {name}", op.name());
            assert_eq!((answer.message, answer.first_bad_link), (None, None));
        }
        // The IPC port takes the token as credential of the connection.
        let options = RpcClientOptions {
            token: Some(token),
            ..RpcClientOptions::new("tester", CLIENT_DATANODE_PROTOCOL)
        };
        let client = RpcClient::connect(cluster.datanode(0).ipc_addr(), options).await;
        let length: Result<proto::GetReplicaVisibleLengthResponseProto, RpcError> = match client {
            Err(error) => Err(error),
            Ok(client) => {
                let request = proto::GetReplicaVisibleLengthRequestProto { block: (&block).into() };
                client.call("getReplicaVisibleLength", &request).await
            }
        };
        assert_eq!(
            length.map(|answer| answer.length).ok(),
            (status == ok).then_some(100_000),
            "{name}"
        );
    }

    // Writes name the node that refuses, but not to other DataNodes.
    let disk = [StorageType::Disk];
    let answer = ask(addr, &write_op(with(good(AccessMode::Read)), "client", &disk)).expect("an answer");
    assert_eq!(Some(answer.status), refused);
    assert_eq!(answer.first_bad_link, Some(addr.to_string()));
    assert!(ask(addr, &write_op(with(TokenProto::default()), "", &disk)).is_none());
    // Storages must be among the token's: good tokens get as far as the replica that exists already.
    let mut named = identifier(&block, AccessMode::Write);
    named.storage_types = vec![StorageType::Ssd, StorageType::Disk];
    let named = keys.mint(named, IdentifierForm::Full, now()).expect("a token");
    for (kinds, status) in [
        (&[StorageType::Archive][..], refused),
        (&[StorageType::Disk, StorageType::Ssd], None),
    ] {
        let answer = ask(addr, &write_op(with(named.clone()), "client", kinds));
        assert_eq!(answer.map(|answer| answer.status), status, "{kinds:?}");
    }
    for (mode, status) in [
        (AccessMode::Write, refused),
        (AccessMode::Copy, Some(Status::Error as i32)),
    ] {
        let op = Op::TransferBlock(Box::new(TransferBlock {
            header: with(good(mode)),
            client_name: "test".into(),
            targets: Vec::new(),
            target_storage_types: Vec::new(),
            target_storage_ids: Vec::new(),
        }));
        assert_eq!(ask(addr, &op).map(|answer| answer.status), status, "{mode}");
    }
    assert!(cluster.datanode(0).metrics().token_refusals.get() >= 11);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_roll_under_load_and_nothing_is_lost() {
    let builder = Cluster::builder()
        .datanodes(3)
        .set("dfs.block.access.token.enable", true)
        .set("dfs.block.access.key.update.interval", "1s")
        .set("dfs.block.access.token.lifetime", "1s")
        .set("dfs.heartbeat.interval", "100ms")
        .set("dfs.namenode.heartbeat.recheck-interval", "100");
    let mut cluster = builder.start().await.expect("a cluster");
    let fs = cluster.client().await.expect("a client");
    let data = content(3_000_000);
    write(&fs, "/early", &data).await.expect("write");
    // Open across several changes of keys: the tokens in hand die, the reader gets new ones, the writer needs none.
    let early = fs.open(&path("/early")).await.expect("open");
    let mut slow = fs
        .create(&path("/slow"), CreateOptions::default())
        .await
        .expect("create");
    slow.write_all(&data[..100_000]).await.expect("write");
    slow.hflush().await.expect("flush");
    let first = keys_of(&cluster).current_id();
    let mut rounds = 0;
    eventually("keys have changed four times", || async {
        let keys = keys_of(&cluster).current_id();
        (keys.zip(first).is_some_and(|(now, first)| now >= first + 4)).then_some(())
    })
    .await;
    while rounds < 10 {
        let name = format!("/round{rounds}");
        write(&fs, &name, &data[..200_000]).await.expect("write");
        assert_eq!(read(&fs, &name).await.expect("read"), &data[..200_000]);
        rounds += 1;
    }
    assert_eq!(
        early.read_at(0, data.len()).await.expect("read with an old token"),
        data
    );
    slow.write_all(&data[100_000..]).await.expect("write on");
    slow.close().await.expect("close");
    assert_eq!(read(&fs, "/slow").await.expect("read"), data);

    // A pipeline that loses a node, all tokens of its beginning being dead.
    let mut wounded = fs
        .create(&path("/wounded"), CreateOptions::default())
        .await
        .expect("create");
    wounded.write_all(&data[..100_000]).await.expect("write");
    wounded.hflush().await.expect("flush");
    let before = keys_of(&cluster).current_id();
    eventually("keys have changed again", || async {
        let keys = keys_of(&cluster).current_id();
        (keys.zip(before).is_some_and(|(now, before)| now >= before + 2)).then_some(())
    })
    .await;
    // Another node is there to take its place: the client has the block copied to it.
    cluster.add_datanode().await.expect("another node");
    cluster.wait_ready(4).await.expect("four nodes");
    cluster.stop_datanode(1).await;
    wounded.write_all(&data[100_000..]).await.expect("write on");
    wounded.close().await.expect("close");
    assert_eq!(read(&fs, "/wounded").await.expect("read"), data);

    // DataNodes copy to each other with tokens of their own.
    eventually("everything has three replicas again", || async {
        for name in ["/early", "/slow", "/wounded"] {
            let located = fs.block_locations(&path(name), 0, u64::MAX >> 1).await.ok()?;
            located.iter().all(|block| block.locations.len() == 3).then_some(())?;
        }
        Some(())
    })
    .await;

    // A restarted NameNode has other keys.
    let reader = fs.open(&path("/slow")).await.expect("open");
    drop(fs);
    cluster.stop_namenode().await;
    cluster.start_namenode().await.expect("starts again");
    cluster.wait_ready(3).await.expect("ready again");
    let fs = cluster.client().await.expect("a client");
    assert_eq!(reader.read_at(5, 10).await.expect("read"), &data[5..15]);
    eventually("the DataNodes know the new keys", || async {
        let name = format!("/again{}", now());
        write(&fs, &name, &data).await.ok()?;
        (read(&fs, &name).await.ok()? == data).then_some(())
    })
    .await;
    cluster.shutdown().await;
}
