//! ClientDatanodeProtocol: what readers of open files and administrators ask a DataNode.
//!
//! Not here, and refused as a DataNode refuses it where the feature is off: volume ids of blocks (2.x), local paths of
//! blocks for users that are not listed, the disk balancer.

use super::{decode, reconfiguration};
use crate::ending::Ending;
use crate::recovery::replica_not_found;
use crate::settings::{SOFTWARE_VERSION, nameservices};
use crate::shared::Shared;
use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::Required;
use hadron_proto::hdfs::*;
use hadron_proto::protocol::CLIENT_DATANODE_PROTOCOL;
use hadron_replica::ReplicaError;
use hadron_types::{BlockPoolId, ErrorKind, ExtendedBlock, HadoopError, HadoopResult};
use std::sync::Arc;

/// The configuration's version as Hadoop's default files give it.
const CONFIG_VERSION: &str = "core-3.0.0,hdfs-1";

/// The protocol's handler.
pub(crate) struct ClientDatanodeProtocol(pub(crate) Arc<Shared>);

const METHODS: &[&str] = &[
    "getReplicaVisibleLength",
    "refreshNamenodes",
    "deleteBlockPool",
    "getBlockLocalPathInfo",
    "getHdfsBlockLocations",
    "shutdownDatanode",
    "evictWriters",
    "getDatanodeInfo",
    "getVolumeReport",
    "getReconfigurationStatus",
    "startReconfiguration",
    "listReconfigurableProperties",
    "triggerBlockReport",
    "getBalancerBandwidth",
    "submitDiskBalancerPlan",
    "cancelDiskBalancerPlan",
    "queryDiskBalancerPlan",
    "getDiskBalancerSetting",
];

impl RpcProtocol for ClientDatanodeProtocol {
    fn name(&self) -> &'static str {
        CLIENT_DATANODE_PROTOCOL
    }

    fn methods(&self) -> &'static [&'static str] {
        METHODS
    }

    fn call(&self, context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        let shared = &self.0;
        Some(match method {
            "getReplicaVisibleLength" => Reply::of(visible_length(shared, context, body)),
            "getDatanodeInfo" => Reply::of(info(shared, body)),
            "getBalancerBandwidth" => Reply::of(bandwidth(shared, body)),
            "getHdfsBlockLocations" => Reply::of(block_locations(body)),
            "getBlockLocalPathInfo" => {
                let (shared, user) = (shared.clone(), context.user.user.clone());
                Reply::spawned(async move { local_path(&shared, &user, body) })
            }
            "refreshNamenodes" => administer(shared, context, body, refresh_namenodes),
            "deleteBlockPool" => administer(shared, context, body, delete_block_pool),
            "shutdownDatanode" => administer(shared, context, body, shut_down),
            "evictWriters" => administer(shared, context, body, evict_writers),
            "getVolumeReport" => administer(shared, context, body, volumes),
            "triggerBlockReport" => administer(shared, context, body, trigger_report),
            "submitDiskBalancerPlan" => {
                administer(shared, context, body, |_, _: SubmitDiskBalancerPlanRequestProto| {
                    no_disk_balancer::<SubmitDiskBalancerPlanResponseProto>()
                })
            }
            "cancelDiskBalancerPlan" => administer(shared, context, body, |_, _: CancelPlanRequestProto| {
                no_disk_balancer::<CancelPlanResponseProto>()
            }),
            "queryDiskBalancerPlan" => administer(shared, context, body, |_, _: QueryPlanStatusRequestProto| {
                no_disk_balancer::<QueryPlanStatusResponseProto>()
            }),
            "getDiskBalancerSetting" => administer(shared, context, body, |_, _: DiskBalancerSettingRequestProto| {
                no_disk_balancer::<DiskBalancerSettingResponseProto>()
            }),
            other => return reconfiguration::call(shared, context, other, body),
        })
    }
}

/// Answers a call that is for superusers only. `f` runs where it may block.
fn administer<Q, R>(
    shared: &Arc<Shared>,
    context: &CallContext,
    body: Bytes,
    f: impl FnOnce(&Arc<Shared>, Q) -> HadoopResult<R> + Send + 'static,
) -> Reply
where
    Q: prost::Message + Default + Required + 'static,
    R: prost::Message + 'static,
{
    let (shared, user) = (shared.clone(), context.user.user.clone());
    Reply::spawned(async move {
        let request: Q = decode(body)?;
        shared.rights.require(&user).await?;
        let done = tokio::task::spawn_blocking(move || f(&shared, request)).await;
        done.map_err(|error| HadoopError::io(error.to_string()))?
    })
}

fn visible_length(
    shared: &Shared,
    context: &CallContext,
    body: Bytes,
) -> HadoopResult<GetReplicaVisibleLengthResponseProto> {
    let request: GetReplicaVisibleLengthRequestProto = decode(body)?;
    let block = ExtendedBlock::from(&request.block);
    shared.tokens.check_reader(&context.user, &block)?;
    let len = shared.store.visible_len(&block).map_err(|error| match error {
        ReplicaError::NotFound(..) => replica_not_found(&block),
        ReplicaError::WrongStamp { .. } => HadoopError::io(format!(
            "replica.getGenerationStamp() < block.getGenerationStamp(), block={block}, {error}"
        )),
        error => HadoopError::from(&error),
    })?;
    Ok(GetReplicaVisibleLengthResponseProto { length: len as u64 })
}

fn info(shared: &Shared, body: Bytes) -> HadoopResult<GetDatanodeInfoResponseProto> {
    decode::<GetDatanodeInfoRequestProto>(body)?;
    Ok(GetDatanodeInfoResponseProto {
        local_info: DatanodeLocalInfoProto {
            software_version: SOFTWARE_VERSION.to_owned(),
            config_version: CONFIG_VERSION.to_owned(),
            uptime: shared.started.elapsed().as_secs(),
        },
    })
}

fn bandwidth(shared: &Shared, body: Bytes) -> HadoopResult<GetBalancerBandwidthResponseProto> {
    decode::<GetBalancerBandwidthRequestProto>(body)?;
    Ok(GetBalancerBandwidthResponseProto {
        bandwidth: shared.balancing.bandwidth(),
    })
}

/// 2.x has this behind `dfs.datanode.hdfs-blocks-metadata.enabled`, off by default; 3.x has it no more.
fn block_locations(body: Bytes) -> HadoopResult<GetHdfsBlockLocationsResponseProto> {
    decode::<GetHdfsBlockLocationsRequestProto>(body)?;
    Err(HadoopError::new(
        ErrorKind::UnsupportedOperation,
        "Datanode#getHdfsBlocksMetadata  is not enabled in datanode config",
    ))
}

fn local_path(shared: &Shared, user: &str, body: Bytes) -> HadoopResult<GetBlockLocalPathInfoResponseProto> {
    let request: GetBlockLocalPathInfoRequestProto = decode(body)?;
    if !shared.settings.local_path_users.iter().any(|listed| listed == user) {
        return Err(HadoopError::new(
            ErrorKind::AccessControl,
            format!(
                "Can't continue with getBlockLocalPathInfo() authorization. The user {user} is not configured in \
                 dfs.block.local-path-access.user"
            ),
        ));
    }
    let block = ExtendedBlock::from(&request.block);
    let paths = shared.store.local_paths(&block).map_err(|error| match error {
        ReplicaError::NotFound(..) => replica_not_found(&block),
        error => HadoopError::from(&error),
    })?;
    let found = ExtendedBlock {
        block: paths.block,
        ..block
    };
    Ok(GetBlockLocalPathInfoResponseProto {
        block: (&found).into(),
        local_path: paths.data.display().to_string(),
        local_meta_path: paths.meta.display().to_string(),
    })
}

/// The list of NameNodes is read at start only: a changed one is refused instead of being taken as done.
fn refresh_namenodes(
    shared: &Arc<Shared>,
    _: RefreshNamenodesRequestProto,
) -> HadoopResult<RefreshNamenodesResponseProto> {
    if let Some(fresh) = shared.reconfiguration.reload()? {
        let wanted = nameservices(&fresh).map_err(|error| HadoopError::io(error.to_string()))?;
        if wanted != shared.settings.nameservices {
            let text = "The list of NameNodes changed; restart this DataNode to serve the new list";
            return Err(HadoopError::io(text));
        }
    }
    Ok(RefreshNamenodesResponseProto {})
}

fn delete_block_pool(
    shared: &Arc<Shared>,
    request: DeleteBlockPoolRequestProto,
) -> HadoopResult<DeleteBlockPoolResponseProto> {
    let pool = BlockPoolId::from(request.block_pool.as_str());
    tracing::info!(%pool, force = request.force, "asked to delete a block pool");
    // Until every NameNode was met, any pool may be one that is served.
    let all_met = shared.links().iter().all(|link| link.pool().is_some());
    if !all_met || shared.store.has_pool(&pool) {
        return Err(HadoopError::io(
            "The block pool is still running. First do a refreshNamenodes to shutdown the block pool service",
        ));
    }
    shared
        .store
        .delete_pool(&pool, request.force)
        .map_err(|error| HadoopError::from(&error))?;
    Ok(DeleteBlockPoolResponseProto {})
}

fn shut_down(
    shared: &Arc<Shared>,
    request: ShutdownDatanodeRequestProto,
) -> HadoopResult<ShutdownDatanodeResponseProto> {
    if shared.watch_ending().borrow().is_some() {
        return Err(HadoopError::io("Shutdown already in progress."));
    }
    shared.end(Ending::Asked {
        for_upgrade: request.for_upgrade,
    });
    tracing::info!(
        upgrade = request.for_upgrade,
        "shutdownDatanode received: shutting down"
    );
    Ok(ShutdownDatanodeResponseProto {})
}

fn evict_writers(shared: &Arc<Shared>, _: EvictWritersRequestProto) -> HadoopResult<EvictWritersResponseProto> {
    let evicted = shared.xceivers.close_doing("WRITE_BLOCK");
    tracing::info!(evicted, "evicted all writers");
    Ok(EvictWritersResponseProto {})
}

fn trigger_report(
    shared: &Arc<Shared>,
    request: TriggerBlockReportRequestProto,
) -> HadoopResult<TriggerBlockReportResponseProto> {
    let links = shared.links();
    let is_named = |address: &str| request.nn_address.as_deref().is_none_or(|wanted| wanted == address);
    for link in links.iter().filter(|link| is_named(&link.address.to_string())) {
        if request.incremental {
            link.want_news();
        } else {
            link.want_full_report();
        }
    }
    Ok(TriggerBlockReportResponseProto {})
}

fn volumes(shared: &Arc<Shared>, _: GetVolumeReportRequestProto) -> HadoopResult<GetVolumeReportResponseProto> {
    let counts = shared.store.replicas_by_volume();
    let all = shared.store.volumes().iter().zip(counts);
    let volumes = all.filter(|(volume, _)| !volume.is_failed()).map(|(volume, count)| {
        let usage = volume.usage(0).unwrap_or_default();
        DatanodeVolumeInfoProto {
            path: volume.dir().display().to_string(),
            storage_type: StorageTypeProto::from(volume.storage_type()) as i32,
            used_space: usage.dfs_used,
            free_space: usage.remaining,
            reserved_space: volume.reserved(),
            reserved_space_for_replicas: volume.held(),
            num_blocks: count,
        }
    });
    Ok(GetVolumeReportResponseProto {
        volume_info: volumes.collect(),
    })
}

fn no_disk_balancer<R>() -> HadoopResult<R> {
    Err(HadoopError::new(
        ErrorKind::DiskBalancer,
        "Disk Balancer is not enabled.",
    ))
}
