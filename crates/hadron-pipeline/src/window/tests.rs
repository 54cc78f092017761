//! Events in, commands out.

use super::*;
use Status::{Error, OobRestart, Success};

const T0: Duration = Duration::from_secs(100);

fn data(offset: u64, len: u32, ends_block: bool) -> NewPacket<u32> {
    NewPacket {
        offset_in_block: offset,
        data_len: len,
        sync_block: false,
        ends_block,
        payload: len,
    }
}

fn open(nodes: usize) -> SendWindow<u32> {
    let mut window = SendWindow::new(WindowConfig::default());
    window.enqueue(data(0, 100, false));
    assert_eq!(window.poll_command(), Some(WindowCommand::OpenBlock { append: false }));
    assert_eq!(window.poll_command(), None);
    window.block_opened(nodes, T0);
    window
}

fn sent(window: &mut SendWindow<u32>) -> Vec<i64> {
    std::iter::from_fn(|| window.poll_send(T0))
        .map(|transmit| transmit.header.seqno)
        .collect()
}

fn recover(trouble: Trouble, stage: Stage) -> Option<WindowCommand> {
    Some(WindowCommand::Recover {
        trouble: Some(trouble),
        stage,
    })
}

#[test]
fn a_block_is_opened_written_closed() {
    // covers: WP-02, WP-10
    let mut window = open(2);
    window.enqueue(data(100, 50, true));
    window.enqueue(data(0, 7, true));
    assert_eq!(
        sent(&mut window),
        [0, 1],
        "the last packet waits for the acks before it"
    );
    window.ack_received(&PipelineAck::new(0, [Success, Success]), T0);
    assert_eq!(sent(&mut window), [] as [i64; 0]);
    assert_eq!(window.bytes_acked(), 100);
    window.ack_received(&PipelineAck::new(1, [Success, Success]), T0);
    assert_eq!(
        sent(&mut window),
        [2],
        "nothing of the next block follows the last packet"
    );
    window.ack_received(&PipelineAck::new(2, [Success, Success]), T0);
    assert_eq!(window.poll_command(), Some(WindowCommand::EndBlock { len: 150 }));
    assert_eq!(window.poll_command(), Some(WindowCommand::OpenBlock { append: false }));
    window.block_opened(1, T0);
    assert_eq!((window.bytes_acked(), window.bytes_sent()), (0, 0));
    assert_eq!(sent(&mut window), [3], "seqnos go on over the block's end");
}

#[test]
fn a_packet_leaves_the_queue_when_all_nodes_acked() {
    // covers: WP-03, WP-07, WP-08
    let check = |ack: PipelineAck, trouble, fault| {
        let mut window = open(2);
        sent(&mut window);
        window.ack_received(&ack, T0);
        assert_eq!(window.held_packets(), 1, "{ack:?}");
        assert_eq!(window.last_fault(), Some(fault));
        assert_eq!(window.poll_command(), recover(trouble, Stage::DataStreaming), "{ack:?}");
        window.pipeline_recovered(1, T0);
        assert_eq!(sent(&mut window), [0], "sent again with its own seqno");
    };
    let bad = |node, status| (Trouble::Bad(node), PipelineFault::BadResponse { node, status });
    let (trouble, fault) = bad(1, Error);
    check(PipelineAck::new(0, [Success, Error]), trouble, fault);
    check(PipelineAck::new(UNKNOWN_SEQNO, [Success, Error]), trouble, fault);
    let (trouble, fault) = bad(0, Error);
    check(PipelineAck::new(0, [Error, Success]), trouble, fault);
    check(
        PipelineAck::new(UNKNOWN_SEQNO, [Success, OobRestart]),
        Trouble::Restarting(1),
        PipelineFault::Restarting { node: 1 },
    );
    for received in [UNKNOWN_SEQNO, 1, 7] {
        check(
            PipelineAck::new(received, [Success, Success]),
            Trouble::Bad(0),
            PipelineFault::UnexpectedSeqno {
                expected: Some(0),
                received,
            },
        );
    }
    for (replies, received) in [(&[Success][..], 1), (&[], 0), (&[Success, Success, Error], 3)] {
        check(
            PipelineAck::new(0, replies.iter().copied()),
            Trouble::Bad(0),
            PipelineFault::ReplyCount { expected: 2, received },
        );
    }
}

#[test]
fn unacked_packets_go_to_the_front_in_order() {
    // covers: WP-05, WP-17, WP-22
    let mut window = open(3);
    for index in 1..4 {
        window.enqueue(data(index * 100, 100, false));
    }
    assert_eq!(sent(&mut window), [0, 1, 2, 3]);
    window.enqueue(data(400, 100, false));
    window.ack_received(&PipelineAck::new(0, [Success; 3]), T0);
    window.link_failed();
    window.link_failed();
    window.ack_received(&PipelineAck::new(1, [Success; 3]), T0);
    assert_eq!(window.last_acked_seqno(), 0, "acks of a broken pipeline count no more");
    assert_eq!(window.poll_send(T0), None);
    assert_eq!(window.poll_command(), recover(Trouble::Bad(0), Stage::DataStreaming));
    window.pipeline_recovered(2, T0);
    assert_eq!(sent(&mut window), [1, 2, 3, 4]);
    assert_eq!((window.bytes_acked(), window.bytes_sent()), (100, 500));
}

#[test]
fn a_failure_in_closing_ends_the_block_by_recovery() {
    let mut window = open(1);
    window.enqueue(data(100, 0, true));
    sent(&mut window);
    window.ack_received(&PipelineAck::new(0, [Success]), T0);
    assert_eq!(sent(&mut window), [1]);
    window.link_failed();
    assert_eq!(window.poll_command(), recover(Trouble::Bad(0), Stage::Close));
    window.pipeline_recovered(1, T0);
    assert_eq!(window.poll_command(), Some(WindowCommand::EndBlock { len: 100 }));
    assert_eq!(window.last_acked_seqno(), 1);
    assert!(window.is_drained());
}

#[test]
fn five_recoveries_in_a_row_are_the_most() {
    // covers: WP-12, WP-19, WP-20
    let mut window = open(1);
    sent(&mut window);
    let fail_once = |window: &mut SendWindow<u32>, restart: bool| {
        if restart {
            window.ack_received(&PipelineAck::new(UNKNOWN_SEQNO, [OobRestart]), T0);
        } else {
            window.link_failed();
        }
        let command = window.poll_command();
        window.pipeline_recovered(1, T0);
        sent(window);
        command
    };
    for _ in 0..4 {
        assert!(matches!(
            fail_once(&mut window, false),
            Some(WindowCommand::Recover { .. })
        ));
    }
    window.ack_received(&PipelineAck::new(0, [Success]), T0);
    window.enqueue(data(100, 1, false));
    sent(&mut window);
    for restart in [false, true, false, false, true, true, false, false] {
        assert!(matches!(
            fail_once(&mut window, restart),
            Some(WindowCommand::Recover { .. })
        ));
    }
    let last = fail_once(&mut window, false);
    assert_eq!(last, Some(WindowCommand::Fail(WindowError::TooManyRecoveries(5))));
    assert_eq!(
        WindowError::TooManyRecoveries(5).to_string(),
        "Failing write. Tried pipeline recovery 5 times without success."
    );
    assert!(window.is_failed());
    assert_eq!(window.held_packets(), 0);
    // covers: WP-13
}

#[test]
fn the_queue_has_a_limit() {
    // covers: WP-38
    let mut window = open(1);
    for index in 1..=80 {
        assert!(!window.is_full(), "{index}");
        window.enqueue(data(index * 100, 100, false));
    }
    assert!(window.is_full());
    sent(&mut window);
    assert!(window.is_full(), "sent packets count until they are acked");
    window.ack_received(&PipelineAck::new(0, [Success]), T0);
    assert!(!window.is_full());
}

#[test]
fn an_idle_stream_sends_heartbeats() {
    // covers: WP-09
    let mut window = open(1);
    sent(&mut window);
    window.ack_received(&PipelineAck::new(0, [Success]), T0);
    let due = T0 + Duration::from_secs(30);
    assert_eq!(window.next_timeout(), Some(due));
    window.handle_timeout(due - Duration::from_millis(1));
    assert_eq!(window.poll_send(due), None);
    window.handle_timeout(due);
    let heartbeat = Transmit {
        header: PacketHeader::heartbeat(),
        payload: None,
    };
    assert_eq!(window.poll_send(due), Some(heartbeat));
    assert_eq!(window.poll_send(due), None);
    assert_eq!(window.held_packets(), 0);
    window.ack_received(&PipelineAck::new(HEARTBEAT_SEQNO, [Success]), due);
    assert_eq!(window.poll_command(), None);
    assert_eq!(window.next_timeout(), Some(due + Duration::from_secs(30)));
}

#[test]
fn silence_breaks_the_pipeline() {
    let mut window = open(2);
    sent(&mut window);
    let deadline = T0 + Duration::from_secs(60 + 2 * 5);
    window.handle_timeout(T0 + Duration::from_secs(30));
    assert_eq!(window.next_timeout(), Some(deadline));
    assert!(window.poll_send(T0 + Duration::from_secs(30)).is_some());
    window.handle_timeout(deadline);
    assert_eq!(window.last_fault(), Some(PipelineFault::AckTimeout));
    assert_eq!(window.poll_command(), recover(Trouble::Bad(0), Stage::DataStreaming));
    assert_eq!(window.next_timeout(), None);
}

#[test]
fn an_append_goes_on_where_the_block_ended() {
    // covers: WP-40
    let mut window = SendWindow::new_append(WindowConfig::default(), 700);
    assert_eq!(window.poll_command(), None);
    window.enqueue(data(700, 10, true));
    assert_eq!(window.poll_command(), Some(WindowCommand::OpenBlock { append: true }));
    window.block_opened(1, T0);
    assert_eq!((window.bytes_acked(), window.bytes_sent()), (700, 700));
}

#[test]
fn sync_on_close_marks_last_packets() {
    // covers: WP-42
    let mut window = SendWindow::new(WindowConfig {
        sync_on_close: true,
        ..WindowConfig::default()
    });
    window.enqueue(data(0, 1, true));
    window.poll_command();
    window.block_opened(1, T0);
    let first = window.poll_send(T0).expect("data");
    assert!(!first.header.sync_block);
    window.ack_received(&PipelineAck::new(0, [Success]), T0);
    let last = window.poll_send(T0).expect("last");
    assert!(last.header.sync_block && last.header.last_in_block);
}

#[test]
fn large_packets_are_counted_in_bytes() {
    // covers: WP-38
    let mut window = SendWindow::new(WindowConfig {
        max_bytes_in_flight: 1000,
        ..WindowConfig::default()
    });
    window.enqueue(data(0, 999, false));
    assert!(!window.is_full());
    window.enqueue(data(999, 5000, false));
    assert!(window.is_full(), "one that exceeds the limit is taken, none after it");
    assert_eq!(window.held_bytes(), 5999);
    window.poll_command();
    window.block_opened(1, T0);
    sent(&mut window);
    window.ack_received(&PipelineAck::new(0, [Success]), T0);
    assert_eq!((window.held_bytes(), window.is_full()), (5000, true));
    window.ack_received(&PipelineAck::new(1, [Success]), T0);
    assert_eq!((window.held_bytes(), window.is_full()), (0, false));
    window.enqueue(data(5999, 7, false));
    window.fail();
    assert_eq!(window.held_bytes(), 0);
}

fn flagged(seqno: i64, flags: &[u32]) -> PipelineAck {
    let mut ack = PipelineAck::new(seqno, flags.iter().map(|_| Success));
    for (reply, flag) in ack.replies.iter_mut().zip(flags) {
        reply.flag_bits = *flag;
    }
    ack
}

#[test]
fn a_node_slow_for_long_counts_as_bad() {
    const SLOW: u32 = 2 << 7;
    let mut window = open(2);
    for index in 1..=10 {
        window.enqueue(data(index * 100, 100, false));
    }
    sent(&mut window);
    for seqno in 0..9 {
        window.ack_received(&flagged(seqno, &[0, SLOW]), T0);
        assert_eq!(window.poll_command(), None);
    }
    window.ack_received(&flagged(9, &[0, SLOW]), T0);
    let fault = PipelineFault::SlowNode { node: 1, acks: 10 };
    assert_eq!(window.last_fault(), Some(fault));
    assert_eq!(window.last_acked_seqno(), 9, "what it acked is acked");
    assert_eq!(window.poll_command(), recover(Trouble::Bad(1), Stage::DataStreaming));
    window.pipeline_recovered(1, T0);
    sent(&mut window);
    for index in 11..40 {
        window.enqueue(data(index * 100, 100, false));
        sent(&mut window);
        window.ack_received(&flagged(index as i64 - 1, &[SLOW]), T0);
        assert_eq!(window.poll_command(), None, "the only node is kept");
    }
}

#[test]
fn congestion_holds_data_back() {
    const CONGESTED: u32 = 3 << 5;
    let mut window = open(1);
    sent(&mut window);
    window.ack_received(&flagged(0, &[CONGESTED]), T0);
    window.enqueue(data(100, 1, false));
    assert_eq!(window.poll_send(T0), None);
    let until = window.next_timeout().expect("a pause");
    assert!(until > T0 && until <= T0 + Duration::from_secs(5));
    window.handle_timeout(until);
    assert_eq!(window.poll_send(until).map(|packet| packet.header.seqno), Some(1));
}

#[test]
fn slow_acks_are_told_once() {
    let mut window = open(1);
    sent(&mut window);
    let took = Duration::from_secs(31);
    window.ack_received(&PipelineAck::new(0, [Success]), T0 + took);
    assert_eq!(window.take_slow_ack(), Some(SlowAck { seqno: 0, took }));
    assert_eq!(window.take_slow_ack(), None);
    window.enqueue(data(100, 1, false));
    let sent_at = T0 + took;
    window.poll_send(sent_at);
    window.ack_received(&PipelineAck::new(1, [Success]), sent_at + Duration::from_secs(30));
    assert_eq!(window.take_slow_ack(), None);
}

#[test]
fn only_striped_streams_heed_their_neighbours() {
    // covers: WP-21, WP-45
    let mut plain = open(3);
    sent(&mut plain);
    plain.external_failure();
    assert_eq!((plain.poll_command(), plain.last_fault()), (None, None));
    let mut striped = SendWindow::new(WindowConfig {
        striped: true,
        ..WindowConfig::default()
    });
    striped.external_failure();
    assert_eq!(striped.poll_command(), None, "not while it does not stream");
    striped.enqueue(data(0, 100, false));
    striped.poll_command();
    striped.block_opened(3, T0);
    sent(&mut striped);
    striped.external_failure();
    let anew = WindowCommand::Recover {
        trouble: None,
        stage: Stage::DataStreaming,
    };
    assert_eq!(striped.poll_command(), Some(anew));
    striped.pipeline_recovered(3, T0);
    assert_eq!(sent(&mut striped), [0]);
}
