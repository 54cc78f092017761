//! A NameNode in a temporary directory, clients that call it, and DataNodes that exist in the block map only.
#![allow(dead_code, unreachable_pub, missing_docs)]

use hadron_blockmap::{
    DatanodeId, Heartbeat, Increment, IncrementKind, Registration, StorageDescription, StorageIncrements,
    StorageReport, StorageState,
};
use hadron_env::config::Environment;
use hadron_env::{Configuration, ManualClock};
use hadron_namenode::{Env, NameNode, format};
use hadron_net::{RpcClient, RpcClientOptions};
use hadron_proto::hdfs::{
    CompleteRequestProto, CompleteResponseProto, CreateRequestProto, CreateResponseProto, ExtendedBlockProto,
    FsPermissionProto, HdfsFileStatusProto, LocatedBlockProto,
};
use hadron_proto::protocol::CLIENT_PROTOCOL;
use hadron_types::{Block, DatanodeUuid, ExtendedBlock, HadoopError, StorageId, StorageType};
use prost::Message;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

pub const OWNER: &str = "hdfs";

pub struct Cluster {
    pub node: NameNode,
    pub conf: Configuration,
    dir: TempDir,
}

pub fn configuration(dir: &Path) -> Configuration {
    let environment = Environment::fixed(&[("user.name", OWNER), ("user.home", "/nowhere")], &[]);
    let mut conf = Configuration::with_environment(environment);
    conf.set("fs.defaultFS", "hdfs://127.0.0.1:0")
        .set("dfs.namenode.http-address", "127.0.0.1:0")
        .set("dfs.namenode.name.dir", dir.join("name").display().to_string())
        .set("dfs.namenode.fs-limits.min-block-size", "1")
        .set(
            "hadoop.user.group.static.mapping.overrides",
            "hdfs=hdfs;alice=users;bob=users,staff;root2=supergroup",
        );
    conf
}

impl Cluster {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_in(Env::system(), settings).await
    }

    /// Starts on a clock that the test moves.
    pub async fn start_at(clock: Arc<ManualClock>, settings: &[(&str, &str)]) -> Self {
        let env = Env { clock, ..Env::system() };
        Self::start_in(env, settings).await
    }

    /// Starts with the properties of an XML file, which the NameNode may read again.
    pub async fn start_from_file(file: &Path, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut conf = configuration(dir.path());
        conf.add_file(file).expect("configuration file");
        for (key, value) in settings {
            conf.set(*key, *value);
        }
        let env = Env::system();
        format(&conf, &env, None, false).expect("format");
        let node = NameNode::start_with(conf.clone(), env).await.expect("start");
        Self { node, conf, dir }
    }

    /// Calls as `user` through the proxy user `real`; the error is that of setting the connection up or of a first call.
    pub async fn proxied(&self, real: &str, user: &str) -> Result<(), String> {
        let options = RpcClientOptions {
            real_user: Some(real.to_owned()),
            ..RpcClientOptions::new(user, CLIENT_PROTOCOL)
        };
        let rpc = RpcClient::connect(self.node.rpc_addr(), options)
            .await
            .map_err(|error| error.to_string())?;
        let request = hadron_proto::hdfs::GetServerDefaultsRequestProto {};
        let called: Result<hadron_proto::hdfs::GetServerDefaultsResponseProto, _> =
            rpc.call("getServerDefaults", &request).await;
        called.map(drop).map_err(|error| error.to_string())
    }

    async fn start_in(env: Env, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut conf = configuration(dir.path());
        for (key, value) in settings {
            conf.set(*key, *value);
        }
        format(&conf, &env, None, false).expect("format");
        let node = NameNode::start_with(conf.clone(), env).await.expect("start");
        Self { node, conf, dir }
    }

    /// Stops the NameNode and starts it on the same directories.
    pub async fn restart(self) -> Self {
        let Self { node, conf, dir } = self;
        node.shutdown().await;
        let node = NameNode::start(conf.clone()).await.expect("start again");
        Self { node, conf, dir }
    }

    pub async fn client(&self, user: &str) -> Client {
        self.client_of(user, CLIENT_PROTOCOL).await
    }

    /// A connection that speaks another of the NameNode's protocols.
    pub async fn client_of(&self, user: &str, protocol: &'static str) -> Client {
        let options = RpcClientOptions::new(user, protocol);
        let rpc = RpcClient::connect(self.node.rpc_addr(), options)
            .await
            .expect("connect");
        Client { rpc }
    }

    /// Adds `count` live DataNodes with one disk each to the block map.
    pub fn add_datanodes(&self, count: usize) {
        let state = &self.node.shared().state;
        for number in 0..count {
            let id = datanode(number);
            let uuid = id.uuid.clone();
            state.with_blocks(|source, blocks, now| {
                let registration = Registration {
                    id,
                    software_version: "3.3.6".to_owned(),
                    rack: None,
                };
                blocks.register(registration, source, now).expect("register");
                let beat = Heartbeat {
                    node: uuid,
                    storages: vec![StorageReport {
                        storage: storage(number),
                        capacity: 1 << 40,
                        dfs_used: 0,
                        remaining: 1 << 40,
                        block_pool_used: 0,
                        non_dfs_used: 0,
                    }],
                    xmits: 0,
                    xceivers: 0,
                    failed_volumes: 0,
                    volume_failures: None,
                    slow_peers: Vec::new(),
                    cache_capacity: 0,
                    cache_used: 0,
                    wants_report_lease: false,
                };
                blocks.heartbeat(&beat, source, now, &mut || 7);
            });
        }
    }

    /// All nodes of `block`'s pipeline report it finished with `len` bytes.
    pub fn report_received(&self, block: &LocatedBlockProto, len: u64) {
        let mut finished = ExtendedBlock::from(&block.b).block;
        finished.len = len;
        for position in 0..block.locs.len() {
            self.tell(block, position, finished, IncrementKind::Received);
        }
    }

    /// The node at `position` of `located` tells of its replica.
    pub fn tell(&self, located: &LocatedBlockProto, position: usize, block: Block, kind: IncrementKind) {
        let report = StorageIncrements {
            storage: StorageDescription {
                id: StorageId::from(located.storage_i_ds[position].as_str()),
                kind: StorageType::Disk,
                state: StorageState::Normal,
            },
            increments: vec![Increment {
                block,
                kind,
                delete_hint: None,
            }],
        };
        let uuid = DatanodeUuid::from(located.locs[position].id.datanode_uuid.as_str());
        let told = (self.node.shared().state)
            .with_blocks(|source, blocks, now| blocks.incremental_report(&uuid, &[report], source, now));
        told.expect("report");
    }
}

pub fn datanode(number: usize) -> DatanodeId {
    DatanodeId {
        ip: std::net::IpAddr::from([127, 0, 1, number as u8]),
        host_name: format!("dn{number}").into(),
        uuid: format!("uuid-{number}").into(),
        xfer_port: 9866,
        info_port: 9864,
        info_secure_port: 0,
        ipc_port: 9867,
    }
}

fn storage(number: usize) -> StorageDescription {
    StorageDescription {
        id: format!("DS-{number}").into(),
        kind: StorageType::Disk,
        state: StorageState::Normal,
    }
}

pub struct Client {
    pub rpc: RpcClient,
}

impl Client {
    pub async fn call<Q: Message, R: Message + Default>(&self, method: &str, request: Q) -> Result<R, HadoopError> {
        self.rpc.call(method, &request).await.map_err(HadoopError::from)
    }

    /// Checks that a call fails with a class and a first line.
    pub async fn refused<Q: Message>(&self, method: &str, request: Q, class: &str, line: &str) {
        let bytes: Result<(), _> = self.call(method, request).await;
        let error = bytes.expect_err(method);
        assert_eq!((error.kind.class(), error.first_line()), (class, line), "{method}");
    }

    pub async fn create(&self, path: &str, flags: u32) -> Result<HdfsFileStatusProto, HadoopError> {
        let response: CreateResponseProto = self.call("create", create_request(path, flags)).await?;
        Ok(response.fs.expect("a status"))
    }

    /// Creates and closes an empty file.
    pub async fn touch(&self, path: &str) {
        self.create(path, 1).await.expect("create");
        assert!(self.complete(path, None).await.expect("complete"));
    }

    /// Creates and closes an empty file under another holder's name.
    pub async fn touch_as(&self, holder: &str, path: &str) {
        let create = CreateRequestProto {
            client_name: holder.to_owned(),
            ..create_request(path, 1)
        };
        self.call::<_, ()>("create", create).await.expect("create");
        let complete = CompleteRequestProto {
            src: path.to_owned(),
            client_name: holder.to_owned(),
            last: None,
            file_id: None,
        };
        let response: CompleteResponseProto = self.call("complete", complete).await.expect("complete");
        assert!(response.result);
    }

    pub async fn complete(&self, path: &str, last: Option<ExtendedBlockProto>) -> Result<bool, HadoopError> {
        let request = CompleteRequestProto {
            src: path.to_owned(),
            client_name: "DFSClient_test".to_owned(),
            last,
            file_id: None,
        };
        let response: CompleteResponseProto = self.call("complete", request).await?;
        Ok(response.result)
    }
}

pub fn permission(bits: u32) -> FsPermissionProto {
    FsPermissionProto { perm: bits }
}

pub fn create_request(path: &str, flags: u32) -> CreateRequestProto {
    CreateRequestProto {
        src: path.to_owned(),
        masked: permission(0o644),
        client_name: "DFSClient_test".to_owned(),
        create_flag: flags,
        create_parent: true,
        replication: 3,
        block_size: 1 << 20,
        ..CreateRequestProto::default()
    }
}
