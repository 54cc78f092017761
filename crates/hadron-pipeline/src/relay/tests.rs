//! Events in, commands out.

use super::*;

fn config(has_mirror: bool) -> RelayConfig {
    RelayConfig {
        bytes_per_checksum: 512,
        disk_checksum_size: 4,
        packet_checksum_size: 4,
        same_checksum: true,
        initial_len: 0,
        has_mirror,
        datanode_source: false,
        is_transfer: false,
        flag_bits: 0,
    }
}

fn packet(seqno: i64, offset: u64, len: u32) -> PacketHeader {
    PacketHeader {
        offset_in_block: offset,
        seqno,
        last_in_block: false,
        data_len: len,
        sync_block: false,
    }
}

fn last(seqno: i64, offset: u64) -> PacketHeader {
    PacketHeader {
        last_in_block: true,
        ..packet(seqno, offset, 0)
    }
}

fn receive(relay: &mut Relay, header: PacketHeader) -> PacketSteps {
    relay
        .packet_received(&header, header.data_len.div_ceil(512) as usize * 4)
        .expect("packet accepted")
}

fn store(relay: &mut Relay, header: PacketHeader) {
    let steps = receive(relay, header);
    relay.packet_stored(steps.ticket, LocalOutcome::Stored);
}

fn ack(seqno: i64, statuses: &[Status], bytes_acked: u64) -> Option<RelayCommand> {
    Some(RelayCommand::SendAck {
        ack: PipelineAck::new(seqno, statuses.iter().copied()),
        bytes_acked,
    })
}

fn close(reason: CloseReason) -> Option<RelayCommand> {
    Some(RelayCommand::Close { reason })
}

use Status::{Error, ErrorChecksum, OobRestart, Success};

#[test]
fn a_tail_acks_after_storing_and_finalizes_before_the_last_ack() {
    let mut relay = Relay::new(config(false));
    let steps = receive(&mut relay, packet(7, 0, 1000));
    assert!(!steps.forward && steps.verify && !steps.sync && !steps.last);
    assert_eq!(relay.poll_command(), None, "not stored yet");
    assert_eq!(relay.waits_for(), WaitsFor::Local);
    relay.packet_stored(steps.ticket, LocalOutcome::Stored);
    assert_eq!(relay.poll_command(), ack(7, &[Success], 1000));
    assert_eq!(relay.waits_for(), WaitsFor::Packet);

    store(&mut relay, last(8, 1000));
    assert_eq!(relay.poll_command(), Some(RelayCommand::Finalize { len: 1000 }));
    assert_eq!(relay.poll_command(), None, "the last ack waits for the replica");
    assert_eq!(relay.waits_for(), WaitsFor::Finalized);
    relay.block_finalized(true);
    assert_eq!(relay.poll_command(), ack(8, &[Success], 1000));
    assert_eq!(relay.poll_command(), close(CloseReason::Finished));
    assert_eq!(relay.poll_command(), None);
    assert!(relay.is_closed());
}

#[test]
fn a_failed_finalize_is_never_acked() {
    let mut relay = Relay::new(config(false));
    store(&mut relay, last(0, 0));
    assert_eq!(relay.poll_command(), Some(RelayCommand::Finalize { len: 0 }));
    relay.block_finalized(false);
    assert_eq!(relay.poll_command(), close(CloseReason::LocalFailure));
}

#[test]
fn a_middle_node_merges_acks_in_order() {
    // covers: WP-03
    let mut relay = Relay::new(config(true));
    let first = receive(&mut relay, packet(0, 0, 512));
    let second = receive(&mut relay, packet(1, 512, 512));
    assert!(first.forward && !first.verify);
    assert_eq!(relay.waits_for(), WaitsFor::Downstream, "stored or not");
    relay.ack_received(PipelineAck::new(0, [Success, Success]));
    assert_eq!(relay.waits_for(), WaitsFor::Local);
    relay.ack_received(PipelineAck::new(1, [Success, Success]));
    relay.packet_stored(second.ticket, LocalOutcome::Stored);
    assert_eq!(relay.poll_command(), None, "the first packet is not stored here");
    relay.packet_stored(first.ticket, LocalOutcome::Stored);
    assert_eq!(relay.poll_command(), ack(0, &[Success, Success, Success], 512));
    assert_eq!(relay.poll_command(), ack(1, &[Success, Success, Success], 1024));
    let lengths = Lengths {
        received: 1024,
        on_disk: 1024,
        acked: 1024,
    };
    assert_eq!(relay.lengths(), lengths);
}

#[test]
fn a_broken_mirror_is_told_at_once_and_raises_nothing() {
    let mut relay = Relay::new(config(true));
    store(&mut relay, packet(5, 0, 512));
    assert_eq!(relay.waits_for(), WaitsFor::Downstream);
    relay.mirror_failed();
    relay.mirror_failed();
    assert_eq!(relay.poll_command(), ack(UNKNOWN_SEQNO, &[Success, Error], 0));
    assert_eq!(relay.poll_command(), ack(5, &[Success, Error], 0));
    assert!(!receive(&mut relay, packet(6, 512, 512)).forward);
}

#[test]
fn a_block_with_a_broken_mirror_is_not_finalized() {
    let mut relay = Relay::new(config(true));
    relay.mirror_failed();
    assert_eq!(relay.poll_command(), ack(UNKNOWN_SEQNO, &[Success, Error], 0));
    store(&mut relay, last(0, 0));
    assert_eq!(relay.poll_command(), ack(0, &[Success, Error], 0));
    assert_eq!(relay.poll_command(), close(CloseReason::Finished));
}

#[test]
fn a_failing_node_below_is_passed_on() {
    let mut relay = Relay::new(config(true));
    store(&mut relay, packet(0, 0, 512));
    relay.ack_received(PipelineAck::new(UNKNOWN_SEQNO, [Success, Error]));
    assert_eq!(relay.poll_command(), ack(UNKNOWN_SEQNO, &[Success, Success, Error], 0));
    relay.ack_received(PipelineAck::new(0, [Success, Error]));
    assert_eq!(relay.poll_command(), ack(0, &[Success, Success, Error], 0));
}

#[test]
fn bad_checksums_are_acked_then_the_connection_ends() {
    let mut relay = Relay::new(config(false));
    store(&mut relay, packet(0, 0, 512));
    let bad = receive(&mut relay, packet(1, 512, 512));
    relay.packet_stored(bad.ticket, LocalOutcome::ChecksumMismatch);
    assert_eq!(relay.poll_command(), ack(0, &[Success], 512));
    assert_eq!(relay.poll_command(), ack(1, &[ErrorChecksum], 512));
    assert_eq!(relay.poll_command(), close(CloseReason::ChecksumError));
    assert_eq!(relay.lengths().on_disk, 512);
}

#[test]
fn a_node_that_finds_corruption_blames_nobody_below() {
    let mut relay = Relay::new(RelayConfig {
        same_checksum: false,
        ..config(true)
    });
    let bad = receive(&mut relay, packet(0, 0, 512));
    assert!(bad.verify && !relay.is_head_corrupt());
    relay.packet_stored(bad.ticket, LocalOutcome::ChecksumMismatch);
    assert!(relay.is_head_corrupt());
    relay.mirror_failed();
    assert_eq!(relay.poll_command(), ack(0, &[ErrorChecksum, Error], 0));
    assert_eq!(relay.poll_command(), close(CloseReason::ChecksumError));
}

#[test]
fn a_node_whose_data_arrived_corrupt_falls_silent() {
    let mut relay = Relay::new(config(true));
    store(&mut relay, packet(0, 0, 512));
    relay.ack_received(PipelineAck::new(0, [ErrorChecksum]));
    assert_eq!(relay.poll_command(), close(CloseReason::DownstreamFoundCorruption));
    assert_eq!(relay.poll_command(), None);
}

#[test]
fn out_of_band_news_overtakes_acks() {
    let mut relay = Relay::new(config(true));
    receive(&mut relay, packet(0, 0, 512));
    relay.ack_received(PipelineAck::new(UNKNOWN_SEQNO, [OobRestart]));
    assert_eq!(relay.poll_command(), ack(UNKNOWN_SEQNO, &[Success, OobRestart], 0));
    relay.oob_requested(OobRestart);
    assert_eq!(relay.poll_command(), ack(UNKNOWN_SEQNO, &[OobRestart], 0));
}

// covers: WP-20
#[test]
fn a_restarting_node_says_so_last_of_all() {
    for has_mirror in [false, true] {
        let mut relay = Relay::new(config(has_mirror));
        store(&mut relay, packet(0, 0, 512));
        receive(&mut relay, packet(1, 512, 512));
        if has_mirror {
            relay.ack_received(PipelineAck::new(0, [Success]));
        } else {
            assert_eq!(relay.poll_command(), ack(0, &[Success], 512));
        }
        relay.restarting();
        relay.restarting();
        // The shell wakes whoever reads the mirror by closing it: that is no news for the upstream.
        relay.mirror_failed();
        relay.ack_received(PipelineAck::new(1, [Success]));
        let acked = if has_mirror { 0 } else { 512 };
        assert_eq!(relay.poll_command(), ack(UNKNOWN_SEQNO, &[OobRestart], acked));
        assert_eq!(relay.poll_command(), close(CloseReason::Restarting));
        assert_eq!(relay.poll_command(), None);
        assert!(relay.is_closed());
    }
}

#[test]
fn a_restart_lets_a_block_finish_that_is_being_finalized() {
    let mut relay = Relay::new(config(false));
    store(&mut relay, last(0, 0));
    assert_eq!(relay.poll_command(), Some(RelayCommand::Finalize { len: 0 }));
    relay.restarting();
    relay.block_finalized(true);
    assert_eq!(relay.poll_command(), ack(0, &[Success], 0));
    assert_eq!(relay.poll_command(), close(CloseReason::Finished));
    // Nobody waits for acks of a copy from another DataNode.
    let mut relay = Relay::new(RelayConfig {
        datanode_source: true,
        ..config(false)
    });
    relay.restarting();
    assert_eq!(relay.poll_command(), None);
}

#[test]
fn an_ack_for_another_packet_ends_the_relay() {
    let mut relay = Relay::new(config(true));
    store(&mut relay, packet(4, 0, 512));
    relay.ack_received(PipelineAck::new(5, [Success]));
    let reason = CloseReason::AckOutOfOrder {
        expected: 4,
        received: 5,
    };
    assert_eq!(relay.poll_command(), close(reason));
}

#[test]
fn heartbeats_are_forwarded_and_acked_like_packets() {
    // covers: WP-09
    let mut relay = Relay::new(config(true));
    let steps = receive(&mut relay, PacketHeader::heartbeat());
    assert!(steps.forward && steps.write.is_none() && !steps.verify);
    relay.packet_stored(steps.ticket, LocalOutcome::Stored);
    relay.ack_received(PipelineAck::new(-1, [Success]));
    assert_eq!(relay.poll_command(), ack(-1, &[Success, Success], 0));
    store(&mut relay, packet(0, 0, 10));
    assert_eq!(relay.lengths().received, 10);
}

#[test]
fn a_datanode_source_needs_no_acks_and_survives_its_mirror() {
    let mut relay = Relay::new(RelayConfig {
        datanode_source: true,
        ..config(true)
    });
    let steps = receive(&mut relay, packet(0, 0, 512));
    assert!(steps.forward && steps.verify);
    relay.mirror_failed();
    relay.packet_stored(steps.ticket, LocalOutcome::Stored);
    assert_eq!(relay.poll_command(), None);
    assert_eq!(relay.lengths().acked, 512);
    store(&mut relay, last(1, 512));
    assert_eq!(relay.poll_command(), Some(RelayCommand::Finalize { len: 512 }));
    relay.block_finalized(true);
    assert_eq!(relay.poll_command(), close(CloseReason::Finished));
}

#[test]
fn malformed_packets_are_refused() {
    let relay = || {
        let mut relay = Relay::new(config(false));
        store(&mut relay, packet(0, 0, 600));
        relay
    };
    let check = |header: PacketHeader, checksum_len, expected| {
        assert_eq!(
            relay().packet_received(&header, checksum_len),
            Err(expected),
            "{header:?}"
        );
    };
    let gap = RelayError::OutOfSequence {
        offset: 601,
        expected: 600,
    };
    check(packet(1, 601, 10), 4, gap);
    check(
        packet(1, 600, 513),
        8,
        RelayError::UnalignedPacketTooLong { len: 513, chunk: 512 },
    );
    let short = RelayError::ChecksumLength {
        len: 1024,
        expected: 8,
        received: 4,
    };
    check(packet(1, 512, 1024), 4, short);
    let loaded = PacketHeader {
        data_len: 10,
        ..last(1, 512)
    };
    check(loaded, 4, RelayError::DataInLastPacket { len: 10 });

    let mut ended = relay();
    store(&mut ended, last(1, 600));
    let late = ended.packet_received(&packet(2, 600, 1), 4);
    assert_eq!(late, Err(RelayError::AfterLastPacket { seqno: 2 }));
}

#[test]
fn partial_chunks_are_planned() {
    // covers: WP-40
    let check = |on_disk: u64, offset: u64, len: u32, expected: Option<WritePlan>| {
        let mut relay = Relay::new(RelayConfig {
            initial_len: on_disk,
            ..config(false)
        });
        assert_eq!(
            receive(&mut relay, packet(0, offset, len)).write,
            expected,
            "{on_disk} {offset} {len}"
        );
    };
    let from_packet = |offset, data, first_packet_chunk, disk_index| {
        Some(WritePlan {
            offset,
            data,
            checksums: ChecksumPlan::FromPacket {
                first_packet_chunk,
                disk_index,
            },
        })
    };
    check(0, 0, 1000, from_packet(0, 0..1000, 0, 0));
    check(1024, 1024, 1000, from_packet(1024, 0..1000, 0, 2));
    check(600, 0, 600, None);
    check(600, 0, 500, None);
    // The unfinished chunk comes again from its start: its checksum in the packet is the whole chunk's.
    check(600, 512, 1024, from_packet(600, 88..1024, 0, 1));
    // A packet sent again from far before.
    check(600, 0, 2048, from_packet(600, 600..2048, 1, 1));
    // Append in the middle of a chunk: the packet knows only the new bytes.
    let computed = Some(WritePlan {
        offset: 600,
        data: 0..424,
        checksums: ChecksumPlan::Compute {
            carried: 88,
            disk_index: 1,
        },
    });
    check(600, 600, 424, computed);
    // Such a packet sent again after half of it was written.
    let again = Some(WritePlan {
        offset: 650,
        data: 50..424,
        checksums: ChecksumPlan::Compute {
            carried: 138,
            disk_index: 1,
        },
    });
    check(650, 600, 424, again);
}

#[test]
fn a_full_relay_takes_no_packet() {
    let mut relay = Relay::new(config(true));
    for seqno in 0..MAX_PENDING_PACKETS {
        receive(&mut relay, packet(seqno as i64, 0, 0));
    }
    assert!(relay.is_full());
    assert_eq!(
        relay.packet_received(&packet(9999, 0, 0), 0),
        Err(RelayError::NotAccepting)
    );
}
