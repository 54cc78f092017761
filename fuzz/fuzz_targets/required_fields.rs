//! The check for required fields, on the widest messages: whatever passes it is decoded and stays complete.
#![no_main]

use bytes::Bytes;
use hadron_proto::{Required, check_required, common, datanode, decode_checked, hdfs};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|input: (u8, &[u8])| {
    let (which, bytes) = input;
    match which % 8 {
        0 => check::<hdfs::GetBlockLocationsResponseProto>(bytes),
        1 => check::<hdfs::CreateRequestProto>(bytes),
        2 => check::<hdfs::AddBlockRequestProto>(bytes),
        3 => check::<hdfs::SetAclRequestProto>(bytes),
        4 => check::<common::RpcSaslProto>(bytes),
        5 => check::<datanode::HeartbeatRequestProto>(bytes),
        6 => check::<datanode::HeartbeatResponseProto>(bytes),
        _ => check::<datanode::BlockReportRequestProto>(bytes),
    }
});

fn check<M: Message + Default + Required>(bytes: &[u8]) {
    let complete = check_required(M::SHAPE, bytes).is_ok();
    if let Ok(message) = decode_checked::<M>(Bytes::copy_from_slice(bytes)) {
        assert!(complete, "nothing is decoded unchecked");
        let again = message.encode_to_vec();
        assert_eq!(
            check_required(M::SHAPE, &again),
            Ok(()),
            "a complete message stays complete"
        );
    }
}
