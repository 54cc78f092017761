//! Random histories of a log and its disk against a simple model.

use hadron_env::disk::Fault;
use hadron_env::{Disk, Open};
use hadron_journal::{CommandLog, OpenError};
use proptest::prelude::*;

use crate::support::{Fixture, assert_history};

#[derive(Clone, Debug)]
enum Event {
    Add(u64),
    Checkpoint,
    Close,
    Kill,
    Crash { seed: u64 },
    CrashLater { after: u64, seed: u64 },
    BreakDir(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..8_u64).prop_map(Event::Add),
        1 => Just(Event::Checkpoint),
        1 => Just(Event::Close),
        1 => Just(Event::Kill),
        1 => any::<u64>().prop_map(|seed| Event::Crash { seed }),
        2 => (0..40_u64, any::<u64>()).prop_map(|(after, seed)| Event::CrashLater { after, seed }),
        1 => (0..2_usize).prop_map(Event::BreakDir),
    ]
}

fn play(dirs: usize, events: &[Event]) {
    let fixture = Fixture::new(dirs);
    let mut running = Some(fixture.open());
    let (mut acked, mut proposed) = (0, 0);
    let mut broken = false;
    for event in events {
        let restart = match event {
            Event::Add(count) => {
                let log = running.as_ref().unwrap();
                let done = (0..*count).try_for_each(|_| {
                    proposed += 1;
                    log.add(proposed - 1).map(|_| acked += 1)
                });
                // Only a crash or the last dir may stop it.
                done.is_err().then_some(11)
            }
            Event::Checkpoint => {
                let _ = running.as_ref().unwrap().log.checkpoint().wait();
                None
            }
            Event::BreakDir(dir) if dirs > 1 && !broken => {
                broken = true;
                fixture
                    .disk
                    .break_below(&fixture.options.dirs[*dir], std::io::ErrorKind::Other);
                None
            }
            Event::BreakDir(_) => None,
            Event::CrashLater { after, seed } => {
                fixture.disk.inject(*after, Fault::Crash);
                let log = running.as_ref().unwrap();
                for _ in 0..3 {
                    proposed += 1;
                    if log.add(proposed - 1).is_err() {
                        break;
                    }
                    acked += 1;
                }
                Some(*seed)
            }
            Event::Crash { seed } => Some(*seed),
            Event::Kill => {
                fixture.disk.kill_process();
                fixture.disk.clear_faults();
                broken = false;
                drop(running.take());
                running = Some(fixture.open());
                None
            }
            Event::Close => {
                fixture.disk.clear_faults();
                broken = false;
                running.take().unwrap().close();
                running = Some(fixture.open());
                None
            }
        };
        if let Some(seed) = restart {
            fixture.disk.crash(seed);
            fixture.disk.clear_faults();
            broken = false;
            drop(running.take());
            running = Some(fixture.open());
        }
        let numbers = running.as_ref().unwrap().numbers();
        assert_history(&numbers, acked, proposed, &format!("after {event:?}"));
        (acked, proposed) = (numbers.len() as u64, numbers.len() as u64);
    }
}

/// Writes `bytes` over a file of a closed log, opens it, and accepts a clear error or the whole history.
fn overwrite(image: bool, which: usize, offset: u64, bytes: &[u8]) {
    let fixture = Fixture::new(1);
    let running = fixture.open();
    running.add_all(0..20).unwrap();
    running.log.checkpoint().wait().unwrap();
    running.add_all(20..30).unwrap();
    running.close();
    let files = if image { fixture.images(0) } else { fixture.segments(0) };
    let path = &files[which % files.len()];
    let file = fixture.disk.open(path, Open::WRITE).unwrap();
    let len = file.len().unwrap();
    file.write_all_at(bytes, offset % len).unwrap();
    drop(file);
    match fixture.try_open() {
        Ok(running) => assert_history(&running.numbers(), 30, 30, "opened in spite of the damage"),
        Err(OpenError::Damaged { .. } | OpenError::Diverged { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_answered_is_ever_lost(dirs in 1..3_usize, events in prop::collection::vec(event(), 1..25)) {
        play(dirs, &events);
    }

    #[test]
    fn random_damage_is_an_error_or_harmless(
        image in any::<bool>(),
        which in any::<usize>(),
        offset in any::<u64>(),
        bytes in prop::collection::vec(any::<u8>(), 1..600),
    ) {
        overwrite(image, which, offset, &bytes);
    }
}
