//! ClientDatanodeProtocol on the IPC port.

use crate::settings::SOFTWARE_VERSION;
use crate::shared::Shared;
use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::hdfs::*;
use hadron_proto::protocol::CLIENT_DATANODE_PROTOCOL;
use hadron_proto::{Required, decode_checked};
use hadron_types::{ErrorKind, ExtendedBlock, HadoopError, HadoopResult};
use std::sync::Arc;

/// The protocol's handler.
pub(crate) struct ClientDatanodeProtocol(pub(crate) Arc<Shared>);

const METHODS: &[&str] = &[
    "getReplicaVisibleLength",
    "refreshNamenodes",
    "getDatanodeInfo",
    "triggerBlockReport",
    "getVolumeReport",
];

impl RpcProtocol for ClientDatanodeProtocol {
    fn name(&self) -> &'static str {
        CLIENT_DATANODE_PROTOCOL
    }

    fn methods(&self) -> &'static [&'static str] {
        METHODS
    }

    fn call(&self, context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        Some(match method {
            "getReplicaVisibleLength" => Reply::of(self.visible_length(context, body)),
            "refreshNamenodes" => {
                let decoded = decode::<RefreshNamenodesRequestProto>(body);
                Reply::of(decoded.map(|_| RefreshNamenodesResponseProto {}))
            }
            "getDatanodeInfo" => Reply::of(self.info(body)),
            "triggerBlockReport" => Reply::of(self.trigger_report(body)),
            "getVolumeReport" => Reply::of(self.volumes(body)),
            _ => return None,
        })
    }
}

fn decode<M: prost::Message + Default + Required>(body: Bytes) -> HadoopResult<M> {
    decode_checked(body).map_err(|error| HadoopError::new(ErrorKind::InvalidProtocolBuffer, error.to_string()))
}

impl ClientDatanodeProtocol {
    fn visible_length(&self, context: &CallContext, body: Bytes) -> HadoopResult<GetReplicaVisibleLengthResponseProto> {
        let request: GetReplicaVisibleLengthRequestProto = decode(body)?;
        let block = ExtendedBlock::from(&request.block);
        self.0.tokens.check_reader(&context.user, &block)?;
        let len = self
            .0
            .store
            .visible_len(&block)
            .map_err(|error| HadoopError::from(&error))?;
        Ok(GetReplicaVisibleLengthResponseProto { length: len as u64 })
    }

    fn info(&self, body: Bytes) -> HadoopResult<GetDatanodeInfoResponseProto> {
        decode::<GetDatanodeInfoRequestProto>(body)?;
        Ok(GetDatanodeInfoResponseProto {
            local_info: DatanodeLocalInfoProto {
                software_version: SOFTWARE_VERSION.to_owned(),
                config_version: "core-0,hdfs-0".to_owned(),
                uptime: self.0.started.elapsed().as_secs(),
            },
        })
    }

    fn trigger_report(&self, body: Bytes) -> HadoopResult<TriggerBlockReportResponseProto> {
        let request: TriggerBlockReportRequestProto = decode(body)?;
        for link in self.0.links() {
            if request.incremental {
                link.wake.notify_one();
            } else {
                link.want_full_report();
            }
        }
        Ok(TriggerBlockReportResponseProto {})
    }

    fn volumes(&self, body: Bytes) -> HadoopResult<GetVolumeReportResponseProto> {
        decode::<GetVolumeReportRequestProto>(body)?;
        let counts = self.0.store.replicas_by_volume();
        let all = self.0.store.volumes().iter().zip(counts);
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
}
