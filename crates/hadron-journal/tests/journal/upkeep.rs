//! What an operator asks of a running log: a new segment, a failed dir back.

use std::io;

use hadron_journal::CommandLog;
use hadron_types::LogIndex;

use crate::support::{Fixture, assert_history};

#[test]
fn a_roll_begins_a_segment_with_the_next_entry() {
    let fixture = Fixture::new(2);
    let running = fixture.open();
    running.add_all(0..2).unwrap();
    let before = fixture.segments(0).len();
    let next = running.log.last_applied().next();
    assert_eq!(running.log.roll().wait().unwrap(), next);
    assert_eq!(
        running.log.roll().wait().unwrap(),
        next,
        "an empty segment needs no other"
    );
    for dir in 0..2 {
        let segments = fixture.segments(dir);
        assert_eq!(segments.len(), before + 1);
        assert!(
            segments
                .last()
                .unwrap()
                .to_string_lossy()
                .ends_with(&format!("{:020}", next.0))
        );
    }
    running.add_all(2..5).unwrap();
    running.close();
    assert_history(&fixture.open().numbers(), 5, 5, "across the roll");
}

#[test]
fn a_roll_without_room_keeps_the_segment() {
    let fixture = Fixture::new(1);
    let running = fixture.open();
    running.add(0).unwrap();
    fixture.disk.set_capacity(1);
    assert!(running.log.roll().wait().is_err());
    fixture.disk.set_capacity(1 << 40);
    running.add(1).unwrap();
    running.log.roll().wait().unwrap();
    running.add(2).unwrap();
    running.close();
    assert_history(&fixture.open().numbers(), 3, 3, "nothing was lost");
}

#[test]
fn a_failed_dir_comes_back_with_an_image_and_all_that_follows() {
    for broken in 0..2 {
        let fixture = Fixture::new(2);
        let running = fixture.open();
        running.add_all(0..3).unwrap();
        let dir = &fixture.options.dirs[broken];
        fixture.disk.break_below(dir, io::ErrorKind::Other);
        running.add_all(3..6).unwrap();
        running.log.checkpoint().wait().unwrap();
        assert_eq!(running.log.health().borrow().failed_dirs, std::slice::from_ref(dir));
        fixture.disk.clear_faults();
        running.log.checkpoint().wait().unwrap();
        assert_eq!(
            running.log.health().borrow().failed_dirs,
            std::slice::from_ref(dir),
            "nobody asked for it"
        );
        running.log.set_restore_failed_dirs(true);
        assert!(running.log.restores_failed_dirs());
        running.log.checkpoint().wait().unwrap();
        assert_eq!(running.log.health().borrow().live_dirs.len(), 2, "broken {broken}");
        assert!(running.log.health().borrow().failed_dirs.is_empty());
        running.add_all(6..9).unwrap();
        running.close();
        let mut alone = fixture.options.clone();
        alone.dirs = vec![dir.clone()];
        let numbers = fixture.try_open_with(&alone).unwrap().numbers();
        assert_history(&numbers, 9, 9, "the dir that came back has everything by itself");
    }
}

#[test]
fn a_dir_that_still_fails_stays_away() {
    let fixture = Fixture::new(2);
    let running = fixture.open();
    running.add(0).unwrap();
    fixture.disk.break_below(&fixture.options.dirs[1], io::ErrorKind::Other);
    running.add(1).unwrap();
    running.log.set_restore_failed_dirs(true);
    running.log.roll().wait().unwrap();
    assert_eq!(running.log.health().borrow().failed_dirs.len(), 1);
    running.add(2).unwrap();
    fixture.disk.clear_faults();
    running.log.roll().wait().unwrap();
    assert!(running.log.health().borrow().failed_dirs.is_empty());
    running.add(3).unwrap();
    running.close();
    assert_history(&fixture.open().numbers(), 4, 4, "all of it");
}

#[test]
fn the_newest_image_is_known() {
    let fixture = Fixture::new(1);
    let running = fixture.open();
    assert_eq!(running.log.newest_image().index, LogIndex(0));
    running.add_all(0..2).unwrap();
    let index = running.log.checkpoint().wait().unwrap();
    assert_eq!(running.log.newest_image().index, index);
    running.close();
    assert_eq!(fixture.open().log.newest_image().index, index, "also after a start");
}
