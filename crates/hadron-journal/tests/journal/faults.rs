//! Disks that fail while the log runs: full, broken, one of several.

use std::io;
use std::time::Duration;

use hadron_env::disk::Fault;
use hadron_journal::suite::Register;
use hadron_journal::{CommandLog, LogError};

use crate::support::{Fixture, assert_history};

#[test]
fn a_failed_write_poisons_and_loses_nothing_answered() {
    let mut fixture = Fixture::new(1);
    // Room enough that no segment is prepared in the background meanwhile.
    fixture.options.first_segment_bytes = 1 << 20;
    let running = fixture.open();
    running.add_all(0..2).unwrap();
    fixture.disk.inject(0, Fault::Error(io::ErrorKind::Other));
    let poisoned = running.add(2).unwrap_err();
    assert!(
        matches!(&poisoned, LogError::Poisoned(reason) if reason.contains("/name0")),
        "{poisoned}"
    );
    assert_eq!(running.add(3), Err(poisoned));
    assert!(running.log.health().borrow().poisoned.is_some());
    fixture.disk.crash(1);
    drop(running);
    assert_history(&fixture.open().numbers(), 2, 3, "after the restart");
}

#[test]
fn a_broken_dir_among_two_is_given_up_and_repaired_at_the_next_start() {
    for broken in 0..2 {
        let fixture = Fixture::new(2);
        let running = fixture.open();
        running.add_all(0..2).unwrap();
        fixture
            .disk
            .break_below(&fixture.options.dirs[broken], io::ErrorKind::Other);
        running.add_all(2..20).unwrap();
        let health = running.log.health().borrow().clone();
        assert_eq!(health.failed_dirs, [fixture.options.dirs[broken].clone()]);
        assert_eq!(health.live_dirs, [fixture.options.dirs[1 - broken].clone()]);
        assert!(!health.resources_low);
        fixture.disk.clear_faults();
        fixture.disk.crash(4);
        drop(running);
        let running = fixture.open();
        assert_history(&running.numbers(), 20, 20, "the other dir had all");
        assert_eq!(running.log.health().borrow().live_dirs.len(), 2);
        running.close();
        let mut alone = fixture.options.clone();
        alone.dirs = vec![fixture.options.dirs[broken].clone()];
        assert_history(&fixture.try_open_with(&alone).unwrap().numbers(), 20, 20, "repaired");
    }
}

#[test]
fn too_few_dirs_poison() {
    let mut fixture = Fixture::new(2);
    fixture.options.minimum_dirs = 2;
    let running = fixture.open();
    running.add(0).unwrap();
    fixture.disk.break_below(&fixture.options.dirs[1], io::ErrorKind::Other);
    let error = running.add(1).unwrap_err().to_string();
    assert!(error.contains("1 name dirs work, 2 are needed"), "{error}");
    drop(running);
    assert!(fixture.try_open().is_err(), "not enough dirs to start either");
}

#[test]
fn a_full_disk_refuses_without_poison_and_recovers() {
    let fixture = Fixture::new(1);
    let running = fixture.open();
    running.add(0).unwrap();
    fixture.disk.set_capacity(fixture.disk.used());
    let mut acked = 1;
    let refused = loop {
        match running.add(acked) {
            Ok(_) => acked += 1,
            Err(error) => break error,
        }
        assert!(acked < 100, "the prepared segment is finite");
    };
    assert!(matches!(refused, LogError::NoSpace(_)), "{refused}");
    assert!(running.log.health().borrow().resources_low);
    fixture.disk.set_capacity(1 << 40);
    running.add_all(acked..acked + 10).unwrap();
    fixture.clock.advance(Duration::from_secs(5));
    running.log.checkpoint().wait().unwrap();
    assert!(!running.log.health().borrow().resources_low, "looked at again");
    running.close();
    assert_history(
        &fixture.open().numbers(),
        acked + 10,
        acked + 10,
        "nothing in between was lost",
    );
}

#[test]
fn low_space_is_signalled_before_it_hurts() {
    let fixture = Fixture::new(1);
    let running = fixture.open();
    let mut health = running.log.health();
    assert!(!health.borrow_and_update().resources_low);
    fixture.disk.set_capacity(fixture.disk.used() + (50 << 20));
    fixture.clock.advance(Duration::from_secs(5));
    running.add(0).unwrap();
    running.add(1).unwrap();
    assert!(health.borrow_and_update().resources_low);
}

#[test]
fn a_failed_checkpoint_keeps_the_log_and_the_old_image() {
    let mut fixture = Fixture::new(1);
    // Room enough that no segment is prepared in the background meanwhile.
    fixture.options.first_segment_bytes = 1 << 20;
    let running = fixture.open();
    running.add_all(0..3).unwrap();
    fixture.disk.inject(1, Fault::Error(io::ErrorKind::StorageFull));
    assert!(matches!(running.log.checkpoint().wait(), Err(LogError::Checkpoint(_))));
    running.add(3).unwrap();
    running.close();
    assert_eq!(fixture.images(0).len(), 1);
    assert_history(&fixture.open().numbers(), 4, 4, "after the restart");
}

#[test]
fn checkpoints_come_by_count_and_by_time_and_purge() {
    let mut fixture = Fixture::new(2);
    fixture.options.checkpoint_entries = 10;
    let running = fixture.open();
    running.add_all(0..60).unwrap();
    running.log.checkpoint().wait().unwrap();
    for dir in 0..2 {
        assert_eq!(fixture.images(dir).len(), 2);
        assert!(fixture.segments(dir).len() < 10, "{:?}", fixture.segments(dir));
    }
    running.add(60).unwrap();
    let before = fixture.images(0);
    fixture.clock.advance(Duration::from_secs(3601));
    // The tick is ahead of this in the queue, and the request waits for the checkpoint that the tick began.
    running.log.checkpoint().wait().unwrap();
    assert_ne!(fixture.images(0), before);
    running.close();
    assert_history(&fixture.open().numbers(), 61, 61, "after the restart");
}

#[test]
fn too_long_and_too_many_are_refused_one_by_one() {
    let mut fixture = Fixture::new(1);
    fixture.options.max_command_bytes = 1000;
    let running = fixture.open();
    let long = running.log.propose(Register::add(0, &"x".repeat(2000)));
    let short = running.log.propose(Register::add(0, "short"));
    assert!(matches!(long.wait(), Err(LogError::TooLong { len: 2032, limit: 1000 })));
    short.wait().unwrap();
    assert_eq!(running.log.last_applied().0, 1);
}

#[test]
fn large_batches_and_rolls_keep_every_entry() {
    let fixture = Fixture::new(2);
    let running = fixture.open();
    let pending: Vec<_> = (0..500)
        .map(|number| running.log.propose(Register::add(number, &"y".repeat(700))))
        .collect();
    for pending in pending {
        pending.wait().unwrap();
    }
    running.add_all(500..600).unwrap();
    running.close();
    assert_history(&fixture.open().numbers(), 600, 600, "after the restart");
}
