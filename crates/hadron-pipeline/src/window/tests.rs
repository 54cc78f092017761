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
    Some(WindowCommand::Recover { trouble, stage })
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
    check(
        PipelineAck::new(0, [Success]),
        Trouble::Bad(0),
        PipelineFault::ReplyCount {
            expected: 2,
            received: 1,
        },
    );
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
