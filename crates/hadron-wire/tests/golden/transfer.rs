//! Recorded streams of the data transfer port.

use super::file;
use bytes::{Bytes, BytesMut};
use hadron_proto::hdfs::Status;
use hadron_proto::hdfs::op_write_block_proto::BlockConstructionStage;
use hadron_types::{BlockId, ChecksumType};
use hadron_wire::transfer::response::{
    connect_ack, decode_read_status, decode_response, encode_read_status, encode_response, read_success,
};
use hadron_wire::transfer::{Checksum, Op, Packet, PacketDecoder, PipelineAck};

/// Every recording carries these bytes.
fn content() -> Vec<u8> {
    (0..1500).map(|index| ((index * 7 + index / 256) % 251) as u8).collect()
}

fn checksum() -> Checksum {
    Checksum::new(ChecksumType::Crc32c, 512).expect("in range")
}

/// Decodes the operation and encodes it again.
fn op_of(lines: &[(String, Bytes)]) -> Op {
    let bytes = file::all(lines, "op").remove(0);
    let (op, used) = Op::decode(&bytes).expect("good operation").expect("whole operation");
    let mut out = BytesMut::new();
    op.encode(&mut out);
    assert_eq!((used, out), (bytes.len(), BytesMut::from(&bytes[..])), "{}", op.name());
    op
}

/// Decodes the packets, checks their data, and encodes them again.
fn check_packets(lines: &[(String, Bytes)]) -> Vec<Packet> {
    let mut decoder = PacketDecoder::new();
    let mut packets = Vec::new();
    let mut data = Vec::new();
    for bytes in file::all(lines, "packet") {
        decoder.push(&bytes);
        let packet = decoder.next_packet().expect("good packet").expect("whole packet");
        checksum()
            .verify(&packet.data, &packet.checksums)
            .expect("good checksums");
        let mut sums = vec![0; checksum().checksums_len(packet.data.len())];
        checksum().compute_into(&packet.data, &mut sums);
        let mut out = BytesMut::new();
        packet.header.append_to(sums.len(), &mut out);
        out.extend_from_slice(&sums);
        out.extend_from_slice(&packet.data);
        assert_eq!(out, bytes);
        assert_eq!(packet.header.offset_in_block, data.len() as u64);
        data.extend_from_slice(&packet.data);
        packets.push(packet);
    }
    assert_eq!(data, content());
    let last = &packets.last().expect("packets").header;
    assert_eq!((last.last, last.data_len), (true, 0));
    packets
}

fn check_write(name: &str, targets: usize, replies: usize) {
    let lines = file::read(name);
    let Op::WriteBlock(write) = op_of(&lines) else {
        panic!("{name}: another operation");
    };
    assert_eq!(write.stage, BlockConstructionStage::PipelineSetupCreate);
    assert_eq!((write.targets.len(), write.pipeline_size), (targets, 2));
    assert_eq!(write.target_storage_types.len(), targets);
    assert_eq!(write.checksum, checksum());
    assert!(write.header.block.block.id >= BlockId(1_073_741_825));
    let response = file::all(&lines, "response").remove(0);
    let mut out = BytesMut::new();
    encode_response(&mut out, &connect_ack(Status::Success, ""));
    assert_eq!(out, response);
    let packets = check_packets(&lines);
    let acks = file::all(&lines, "ack");
    assert_eq!(acks.len(), packets.len());
    for (bytes, packet) in acks.iter().zip(&packets) {
        let (ack, used) = PipelineAck::decode(bytes).expect("good ack").expect("whole ack");
        assert_eq!(
            (ack.seqno, ack.replies.len(), used),
            (packet.header.seqno, replies, bytes.len())
        );
        assert!(ack.is_success());
        let mut out = BytesMut::new();
        ack.encode(&mut out);
        assert_eq!(out, bytes, "{name}");
    }
}

// covers: WP-04, XC-23
#[test]
fn clients_write_as_we_do() {
    check_write("write-client-2.7.3.hex", 1, 2);
    check_write("write-client-3.3.4.hex", 1, 2);
}

#[test]
fn data_nodes_relay_as_we_do() {
    check_write("write-relay-2.7.3.hex", 0, 1);
    check_write("write-relay-3.3.4.hex", 0, 1);
}

// covers: XC-21, XC-23
#[test]
fn reads_are_served_as_we_do() {
    for name in ["read-2.7.3.hex", "read-3.3.4.hex"] {
        let lines = file::read(name);
        let Op::ReadBlock(read) = op_of(&lines) else {
            panic!("{name}: another operation");
        };
        assert_eq!((read.offset, read.len, read.send_checksums), (0, 1500, true));
        let mut out = BytesMut::new();
        encode_response(&mut out, &read_success(&checksum(), 0));
        assert_eq!(out, file::all(&lines, "response").remove(0), "{name}");
        check_packets(&lines);
        let status = file::all(&lines, "status").remove(0);
        assert_eq!(
            decode_read_status(&status),
            Ok(Some((Status::ChecksumOk, status.len())))
        );
        let mut out = BytesMut::new();
        encode_read_status(&mut out, Status::ChecksumOk);
        assert_eq!(out, status);
    }
}

#[test]
fn block_checksums_are_asked_and_answered_as_we_do() {
    let lines = file::read("block-checksum-2.7.3.hex");
    let Op::BlockChecksum(_) = op_of(&lines) else {
        panic!("another operation");
    };
    let bytes = file::all(&lines, "response").remove(0);
    let (response, _) = decode_response(&bytes).expect("good").expect("whole");
    let mut out = BytesMut::new();
    encode_response(&mut out, &response);
    assert_eq!(out, bytes);
    let digest = response.checksum_response.expect("a digest");
    assert_eq!((digest.bytes_per_crc, digest.block_checksum.len()), (512, 16));
}
