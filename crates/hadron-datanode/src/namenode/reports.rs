//! Block reports as messages: full ones in both encodings, incremental ones, bad replicas, storage figures.

use crate::shared::ReplicaNews;
use bytes::Bytes;
use hadron_proto::convert::{no_token, storage_type_to_wire};
use hadron_proto::datanode::{
    ReceivedDeletedBlockInfoProto, StorageBlockReportProto, StorageReceivedDeletedBlocksProto,
    VolumeFailureSummaryProto,
};
use hadron_proto::hdfs::{DatanodeInfoProto, DatanodeStorageProto, LocatedBlockProto, StorageReportProto};
use hadron_replica::{ReportedReplica, StorageBlocks, StorageReport, VolumeFailure};
use hadron_types::{ExtendedBlock, ReplicaState, StorageId, StorageType};

/// Bytes of one buffer of a report; records may straddle two.
const CHUNK_BYTES: usize = 64 * 1024;
/// `NamespaceInfoProto.capabilities`: the NameNode reads buffers.
pub(super) const CAPABILITY_BUFFERS: u64 = 1;

fn storage(id: &StorageId, kind: StorageType) -> DatanodeStorageProto {
    DatanodeStorageProto {
        storage_uuid: id.as_str().to_owned(),
        state: None,
        storage_type: Some(storage_type_to_wire(kind)),
    }
}

/// One storage's part of a full report.
pub(super) fn full_report(blocks: &StorageBlocks, as_buffers: bool) -> StorageBlockReportProto {
    let storage = storage(&blocks.storage_id, blocks.storage_type);
    if as_buffers {
        StorageBlockReportProto {
            storage,
            blocks: Vec::new(),
            number_of_blocks: Some(blocks.replicas.len() as u64),
            blocks_buffers: buffers(&blocks.replicas),
        }
    } else {
        StorageBlockReportProto {
            storage,
            blocks: longs(&blocks.replicas),
            number_of_blocks: None,
            blocks_buffers: Vec::new(),
        }
    }
}

/// Four varints a replica: zig-zag id, length, stamp, state.
fn buffers(replicas: &[ReportedReplica]) -> Vec<Bytes> {
    let mut bytes = Vec::with_capacity(replicas.len() * 14);
    for replica in replicas {
        let id = replica.block.id.0;
        for number in [
            ((id << 1) ^ (id >> 63)) as u64,
            replica.block.len,
            replica.block.generation_stamp.0,
            replica.state as u64,
        ] {
            prost::encoding::encode_varint(number, &mut bytes);
        }
    }
    let all = Bytes::from(bytes);
    (0..all.len())
        .step_by(CHUNK_BYTES)
        .map(|from| all.slice(from..all.len().min(from + CHUNK_BYTES)))
        .collect()
}

/// Counts, finalized triples, a delimiter of three -1, open quadruples.
fn longs(replicas: &[ReportedReplica]) -> Vec<u64> {
    let (finalized, open): (Vec<&ReportedReplica>, Vec<&ReportedReplica>) = replicas
        .iter()
        .partition(|replica| replica.state == ReplicaState::Finalized);
    let mut longs = vec![finalized.len() as u64, open.len() as u64];
    for replica in finalized {
        let block = replica.block;
        longs.extend([block.id.to_wire(), block.len, block.generation_stamp.0]);
    }
    longs.extend([u64::MAX; 3]);
    for replica in open {
        let block = replica.block;
        longs.extend([
            block.id.to_wire(),
            block.len,
            block.generation_stamp.0,
            replica.state as u64,
        ]);
    }
    longs
}

/// One storage's part of an incremental report.
pub(super) fn incremental(id: &StorageId, news: &[ReplicaNews]) -> StorageReceivedDeletedBlocksProto {
    let kind = news.first().map_or(StorageType::Disk, |news| news.storage_type);
    StorageReceivedDeletedBlocksProto {
        storage_uuid: id.as_str().to_owned(),
        blocks: news
            .iter()
            .map(|news| ReceivedDeletedBlockInfoProto {
                block: (&news.block).into(),
                status: news.kind as i32,
                delete_hint: (!news.delete_hint.is_empty()).then(|| news.delete_hint.clone()),
            })
            .collect(),
        storage: Some(storage(id, kind)),
    }
}

/// What a heartbeat says of volumes out of use; nothing without any.
pub(super) fn failure_summary(failures: &[VolumeFailure]) -> Option<VolumeFailureSummaryProto> {
    let last = failures.iter().map(|failure| failure.at_ms).max()?;
    Some(VolumeFailureSummaryProto {
        failed_storage_locations: failures.iter().map(VolumeFailure::location).collect(),
        last_volume_failure_date: last,
        estimated_capacity_lost_total: failures.iter().map(|failure| failure.capacity_lost).sum(),
    })
}

/// One storage's figures in a heartbeat; failed ones are left out, as Hadoop does: the count of failed volumes says so.
pub(super) fn storage_report(report: &StorageReport) -> StorageReportProto {
    StorageReportProto {
        storage_uuid: report.storage_id.as_str().to_owned(),
        failed: Some(false),
        capacity: Some(report.usage.capacity),
        dfs_used: Some(report.usage.dfs_used),
        remaining: Some(report.usage.remaining),
        block_pool_used: Some(report.usage.pool_used),
        storage: Some(storage(&report.storage_id, report.storage_type)),
        non_dfs_used: Some(report.usage.non_dfs_used),
        mount: None,
    }
}

/// A bad replica on `node`.
pub(super) fn bad_block(
    block: &ExtendedBlock,
    node: DatanodeInfoProto,
    storages: Vec<(StorageId, StorageType)>,
) -> LocatedBlockProto {
    LocatedBlockProto {
        b: block.into(),
        offset: 0,
        locs: vec![node],
        corrupt: false,
        block_token: no_token(),
        storage_types: storages.iter().map(|(_, kind)| storage_type_to_wire(*kind)).collect(),
        storage_i_ds: storages.iter().map(|(id, _)| id.as_str().to_owned()).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_types::{Block, BlockId, GenerationStamp};

    fn replica(id: i64, len: u64, state: ReplicaState) -> ReportedReplica {
        ReportedReplica {
            block: Block {
                id: BlockId(id),
                generation_stamp: GenerationStamp(1001),
                len,
            },
            state,
        }
    }

    #[test]
    fn both_encodings_are_as_hadoop_reads_them() {
        let replicas = [
            replica(5, 300, ReplicaState::Rbw),
            replica(-2, 7, ReplicaState::Finalized),
        ];
        assert_eq!(
            longs(&replicas),
            [
                1,
                1,
                -2i64 as u64,
                7,
                1001,
                u64::MAX,
                u64::MAX,
                u64::MAX,
                5,
                300,
                1001,
                1
            ]
        );
        assert_eq!(longs(&[]), [0, 0, u64::MAX, u64::MAX, u64::MAX]);
        assert_eq!(buffers(&replicas).concat(), [10, 0xac, 2, 0xe9, 7, 1, 3, 7, 0xe9, 7, 0]);
        assert!(buffers(&[]).is_empty());
        let many = vec![replica(1 << 40, 1 << 27, ReplicaState::Finalized); 20_000];
        let chunks = buffers(&many);
        assert!(chunks.len() > 1 && chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
    }
}
