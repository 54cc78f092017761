//! One name service as the balancer knows it: its calls, its block keys, and the file that says a balancer is running.
//!
//! The file `/system/balancer.id` is created, flushed and kept open: its lease is what keeps others away. One that a
//! dead balancer left is taken over once its lease has run out. Source: Hadoop `NameNodeConnector`.

use crate::error::Result;
use crate::fs::HadronFs;
use crate::namenode::{NameNode, NameNodeSettings};
use crate::writer::{CreateOptions, FileWriter};
use hadron_env::Configuration;
use hadron_proto::hdfs as proto;
use hadron_proto::namenode as wire;
use hadron_proto::protocol::NAMENODE_PROTOCOL;
use hadron_types::{BlockPoolId, ErrorKind, FsPath};
use hadron_wire::token::BlockKeys;
use std::time::{SystemTime, UNIX_EPOCH};

/// The file that says that a balancer is running, and where.
const ID_PATH: &str = "/system/balancer.id";

/// The name service.
pub(super) struct Connector {
    pub(super) fs: HadronFs,
    namenode: NameNode,
    pub(super) pool: BlockPoolId,
    id_file: Option<FileWriter>,
    /// Bytes moved since the start.
    pub(super) moved_bytes: u64,
    /// Iterations in a row without a move.
    pub(super) idle_iterations: i64,
}

impl Connector {
    /// Connects; `None` while another balancer is running.
    pub(super) async fn open(conf: &Configuration, url: &str) -> Result<Option<Self>> {
        let fs = HadronFs::connect(conf, Some(url)).await?;
        let namenode_settings = NameNodeSettings::from_configuration(conf, &fs.shared().authority)?;
        let namenode = NameNode::speaking(NAMENODE_PROTOCOL, fs.user(), &namenode_settings);
        let version: proto::VersionResponseProto =
            namenode.call("versionRequest", &proto::VersionRequestProto {}).await?;
        let Some(id_file) = mark_running(&fs).await? else {
            return Ok(None);
        };
        Ok(Some(Self {
            fs,
            namenode,
            pool: BlockPoolId::from(version.info.block_pool_id.as_str()),
            id_file: Some(id_file),
            moved_bytes: 0,
            idle_iterations: 0,
        }))
    }

    /// How full the live DataNodes are.
    pub(super) async fn reports(&self) -> Result<Vec<proto::DatanodeStorageReportProto>> {
        let request = proto::GetDatanodeStorageReportRequestProto {
            r#type: proto::DatanodeReportTypeProto::Live as i32,
        };
        let namenode = &self.fs.shared().namenode;
        Ok(namenode
            .get_datanode_storage_report(&request)
            .await?
            .datanode_storage_reports)
    }

    /// The keys for tokens of moves; `None` where none are wanted.
    pub(super) async fn keys(&self) -> Result<Option<BlockKeys>> {
        let request = wire::GetBlockKeysRequestProto {};
        let answer: wire::GetBlockKeysResponseProto = self.namenode.call("getBlockKeys", &request).await?;
        Ok(answer.keys.and_then(|keys| BlockKeys::of(&keys, unix_ms())))
    }

    /// Blocks of a DataNode, about `bytes` of them.
    pub(super) fn blocks(
        &self,
        node: proto::DatanodeIdProto,
        bytes: u64,
        min_block_size: u64,
    ) -> impl Future<Output = Result<Vec<proto::BlockWithLocationsProto>>> + Send + '_ {
        let request = wire::GetBlocksRequestProto {
            datanode: node,
            size: bytes,
            min_block_size: Some(min_block_size),
            ..Default::default()
        };
        async move {
            let answer: wire::GetBlocksResponseProto = self.namenode.call("getBlocks", &request).await?;
            Ok(answer.blocks.blocks)
        }
    }

    /// Whether an upgrade is not finalized. NameNodes that do not know the question have none that they would tell of.
    pub(super) async fn is_upgrading(&self) -> Result<bool> {
        let request = wire::IsUpgradeFinalizedRequestProto {};
        let answer = self.namenode.call("isUpgradeFinalized", &request).await;
        let finalized = known(answer.map(|answer: wire::IsUpgradeFinalizedResponseProto| answer.is_upgrade_finalized))?;
        let request = wire::IsRollingUpgradeRequestProto {};
        let answer = self.namenode.call("isRollingUpgrade", &request).await;
        let rolling = known(answer.map(|answer: wire::IsRollingUpgradeResponseProto| answer.is_rolling_upgrade))?;
        Ok(finalized == Some(false) || rolling == Some(true))
    }

    /// Lets other balancers run. What cannot be removed now is taken over by the next one.
    pub(super) async fn close(mut self) {
        if let Some(mut file) = self.id_file.take() {
            let closed = file.close().await;
            let removed = self.fs.delete(&id_path(), true).await;
            if let Err(error) = closed.and(removed.map(drop)) {
                tracing::warn!(%error, file = ID_PATH, "cannot remove the balancer's mark");
            }
        }
    }
}

/// `None` where the server does not know the method.
fn known<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == Some(ErrorKind::NoSuchMethod) => Ok(None),
        Err(error) => Err(error),
    }
}

fn id_path() -> FsPath {
    // The text is a constant of ours.
    FsPath::parse(ID_PATH).unwrap_or_else(|_| FsPath::root())
}

/// Makes the file; `None` if somebody else has it open.
async fn mark_running(fs: &HadronFs) -> Result<Option<FileWriter>> {
    let path = id_path();
    let created = async {
        if fs.status(&path).await?.is_some() {
            // Fails at once while another balancer has it open.
            fs.append(&path).await?.close().await?;
            fs.delete(&path, true).await?;
        }
        fs.create(&path, CreateOptions::default()).await
    };
    let mut file = match created.await {
        Err(error)
            if matches!(
                error.kind(),
                Some(ErrorKind::AlreadyBeingCreated | ErrorKind::FileAlreadyExists)
            ) =>
        {
            return Ok(None);
        }
        other => other?,
    };
    let host = host_name();
    file.write_all(host.as_bytes()).await?;
    file.hflush().await?;
    Ok(Some(file))
}

/// This machine's name, for whoever looks into the file.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_else(|_| "localhost".to_owned())
}

/// Wall time in milliseconds: tokens end at wall times.
pub(super) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
