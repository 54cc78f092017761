//! Loss of power after every prefix of the operations that reach the disk, in the first run and in recovery itself.

use hadron_env::disk::Fault;
use hadron_journal::CommandLog;
use hadron_journal::suite::Register;

use crate::support::{Fixture, Running, assert_history, text_of};

/// Proposes entries one by one, in bunches, and around a checkpoint until the power fails. Returns how many were
/// answered and proposed in all.
fn work(running: &Running, from: u64) -> (u64, u64) {
    let mut next = from;
    let mut acked = from;
    for round in 0..6 {
        if round == 3 {
            // Its failure is told by the entries after it.
            let _ = running.log.checkpoint().wait();
        }
        let bunch: Vec<_> = (0..round % 3 + 1)
            .map(|_| {
                let number = next;
                next += 1;
                let command = Register::add(number, &text_of(number).repeat(40));
                match number % 2 {
                    0 => running.log.propose_inline(command),
                    _ => running.log.propose(command),
                }
            })
            .collect();
        for pending in bunch {
            match pending.wait() {
                Ok(_) => acked += 1,
                Err(_) => return (acked, next),
            }
        }
    }
    (acked, next)
}

/// Crashes at operation `first` of the first run, then at operation `second` of the run after it, then looks.
/// Returns whether each crash was reached.
fn run(dirs: usize, first: u64, second: Option<u64>, seed: u64) -> (bool, bool) {
    let context = format!("{dirs} dirs, crash at {first} then {second:?}, seed {seed}");
    let fixture = Fixture::new(dirs);
    fixture.disk.inject(first, Fault::Crash);
    let (mut acked, mut proposed) = match fixture.try_open() {
        Ok(running) => work(&running, 0),
        Err(_) => (0, 0),
    };
    let reached_first = fixture.disk.is_powered_off();
    fixture.disk.crash(seed);
    let mut reached_second = false;
    if let Some(second) = second {
        fixture.disk.inject(second, Fault::Crash);
        if let Ok(running) = fixture.try_open() {
            let numbers = running.numbers();
            assert_history(&numbers, acked, proposed, &context);
            (acked, proposed) = work(&running, numbers.len() as u64);
        }
        reached_second = fixture.disk.is_powered_off();
        fixture.disk.crash(seed + 1);
    }
    for attempt in 0..2 {
        let running = fixture.try_open().unwrap_or_else(|error| panic!("{context}: {error}"));
        let numbers = running.numbers();
        assert_history(&numbers, acked, proposed, &context);
        let found = numbers.len() as u64;
        running
            .add(found)
            .unwrap_or_else(|error| panic!("{context}, attempt {attempt}: {error}"));
        (acked, proposed) = (found + 1, found + 1);
        running.close();
    }
    (reached_first, reached_second)
}

fn every_prefix(dirs: usize) {
    for seed in 0..2 {
        let mut at = 0;
        while run(dirs, at, None, seed).0 {
            at += 1;
        }
        assert!(at > 30, "the run has many operations: {at}");
    }
}

#[test]
fn one_dir_survives_loss_of_power_at_every_operation() {
    every_prefix(1);
}

#[test]
fn two_dirs_survive_loss_of_power_at_every_operation() {
    every_prefix(2);
}

#[test]
fn recovery_survives_loss_of_power_at_every_operation() {
    for (dirs, first) in [(1, 25), (1, 40), (2, 40), (2, 61)] {
        let mut second = 0;
        while run(dirs, first, Some(second), 7 + first).1 {
            second += 1;
        }
        assert!(second > 20, "{second}");
    }
}

#[test]
fn what_a_killed_process_wrote_is_durable_before_anything_builds_on_it() {
    let fixture = Fixture::new(1);
    let running = fixture.open();
    running.add_all(0..5).unwrap();
    fixture.disk.kill_process();
    drop(running);
    let running = fixture.open();
    assert_history(&running.numbers(), 5, 5, "after the kill");
    running.add(5).unwrap();
    fixture.disk.crash(3);
    drop(running);
    assert_history(&fixture.open().numbers(), 6, 6, "after loss of power");
}
