//! Operations to bytes and back, and bytes that are no operation.

use super::*;
use hadron_proto::hdfs::{
    DatanodeIdProto, DatanodeInfosProto, ErasureCodingPolicyProto, ShortCircuitShmIdProto, ShortCircuitShmSlotProto,
};
use hadron_types::{Block, BlockId, ChecksumType};
use proptest::prelude::*;

fn header() -> BlockHeader {
    BlockHeader::without_token(ExtendedBlock {
        pool: "BP-1".into(),
        block: Block {
            id: BlockId(1_073_741_825),
            generation_stamp: GenerationStamp(1001),
            len: 5,
        },
    })
}

fn node() -> DatanodeInfoProto {
    DatanodeInfoProto {
        id: DatanodeIdProto {
            ip_addr: "127.0.0.1".into(),
            xfer_port: 50010,
            ..Default::default()
        },
        ..Default::default()
    }
}

fn write() -> WriteBlock {
    WriteBlock {
        header: header(),
        client_name: "DFSClient_1".into(),
        targets: vec![node()],
        source: None,
        stage: BlockConstructionStage::PipelineSetupCreate,
        pipeline_size: 2,
        min_bytes_received: 0,
        max_bytes_received: 0,
        latest_generation_stamp: GenerationStamp(0),
        checksum: Checksum {
            kind: ChecksumType::Crc32c,
            bytes_per_checksum: 512,
        },
        caching: CachingStrategyProto::default(),
        storage_type: StorageType::Disk,
        target_storage_types: vec![StorageType::Ssd],
        allow_lazy_persist: false,
        pinning: false,
        target_pinnings: vec![false],
        storage_id: None,
        target_storage_ids: vec!["DS-1".into()],
    }
}

fn every_op() -> Vec<Op> {
    let slot = ShortCircuitShmSlotProto {
        shm_id: ShortCircuitShmIdProto { hi: -1, lo: 2 },
        slot_idx: 127,
    };
    vec![
        Op::WriteBlock(Box::new(write())),
        Op::ReadBlock(ReadBlock {
            header: header(),
            client_name: String::new(),
            offset: 1,
            len: u64::MAX,
            send_checksums: false,
            caching: CachingStrategyProto {
                drop_behind: Some(true),
                readahead: Some(-1),
            },
        }),
        Op::ReplaceBlock(Box::new(ReplaceBlock {
            header: header(),
            delete_hint: "uuid".into(),
            source: node(),
            storage_type: StorageType::Archive,
            storage_id: None,
        })),
        Op::CopyBlock(header()),
        Op::BlockChecksum(BlockChecksum {
            header: header(),
            options: Some(BlockChecksumOptionsProto::default()),
        }),
        Op::TransferBlock(Box::new(TransferBlock {
            header: header(),
            client_name: "c".into(),
            targets: vec![node(), node()],
            target_storage_types: vec![StorageType::Disk; 2],
            target_storage_ids: vec![],
        })),
        Op::RequestShortCircuitFds(OpRequestShortCircuitAccessProto {
            header: (&header()).into(),
            max_version: 1,
            slot_id: Some(slot),
            supports_receipt_verification: Some(true),
        }),
        Op::ReleaseShortCircuitFds(ReleaseShortCircuitAccessRequestProto {
            slot_id: slot,
            trace_info: None,
        }),
        Op::RequestShortCircuitShm(ShortCircuitShmRequestProto {
            client_name: "c".into(),
            trace_info: None,
        }),
        Op::BlockGroupChecksum(Box::new(OpBlockGroupChecksumProto {
            header: (&header()).into(),
            datanodes: DatanodeInfosProto {
                datanodes: vec![node()],
            },
            ec_policy: ErasureCodingPolicyProto::default(),
            requested_num_bytes: 9,
            ..Default::default()
        })),
        Op::Custom(OpCustomProto { custom_id: "x".into() }),
    ]
}

// covers: XC-23
#[test]
fn every_operation_survives_the_wire() {
    for op in every_op() {
        let mut out = BytesMut::new();
        op.encode(&mut out);
        for cut in 0..out.len() {
            assert_eq!(Op::decode(&out[..cut]), Ok(None), "{} cut at {cut}", op.name());
        }
        let len = out.len();
        out.put_slice(b"rest");
        assert_eq!(Op::decode(&out), Ok(Some((op.clone(), len))));
        let mut reader = &out[..];
        assert_eq!(Op::read(&mut reader).expect("readable"), op);
        assert_eq!(reader, b"rest");
    }
}

// covers: XC-10, XC-11
#[test]
fn other_versions_and_unknown_opcodes_are_refused_at_once() {
    for (bytes, text) in [
        ([0xde, 0xad, 0xbe], "Version Mismatch (Expected: 28, Received: -8531 )"),
        ([0, 27, 81], "Version Mismatch (Expected: 28, Received: 27 )"),
        ([0, 29, 81], "Version Mismatch (Expected: 28, Received: 29 )"),
        ([0, 28, 79], "Unknown op 79 in data stream"),
        ([0, 28, 82], "Unknown op 82 in data stream"),
        ([0, 28, 91], "Unknown op 91 in data stream"),
        ([0, 28, 126], "Unknown op 126 in data stream"),
    ] {
        let error = Op::decode(&bytes).expect_err(text);
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn values_a_receiver_would_trip_over_are_refused() {
    let good = OpWriteBlockProto::from(&write());
    let check = |change: fn(&mut OpWriteBlockProto)| {
        let mut message = good.clone();
        change(&mut message);
        WriteBlock::try_from(message).expect_err("refused")
    };
    check(|message| message.stage = 9);
    check(|message| message.requested_checksum.r#type = 7);
    check(|message| message.requested_checksum.bytes_per_checksum = 0);
    check(|message| message.requested_checksum.bytes_per_checksum = u32::MAX);
}

proptest! {
    #[test]
    fn any_bytes_are_answered(code in any::<u8>(), bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Op::decode(&[&[0, 28, code][..], &bytes].concat());
    }
}
