//! The local log against its suite, against loss of power at every point, against damage and failing disks.

// Helpers of tests, which may unwrap, are not marked as tests themselves.
#![allow(clippy::unwrap_used)]

mod crash;
mod damage;
mod faults;
mod history;
mod support;
mod upkeep;

use hadron_journal::{Env, LocalLog, Options, suite};

use support::{Fixture, identity};

#[test]
fn local_log_on_a_real_disk_passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::system();
    let dirs = vec![dir.path().join("name")];
    hadron_journal::format(&env, &dirs, &identity(), &suite::Register::new(), false).unwrap();
    let options = Options {
        segment_bytes: 256 << 10,
        first_segment_bytes: 16 << 10,
        ..Options::new(dirs)
    };
    suite::check(&|machine| LocalLog::open(machine, env.clone(), options.clone()).unwrap());
}

#[test]
fn local_log_on_two_simulated_dirs_passes_the_suite() {
    let fixture = Fixture::new(2);
    suite::check(&|machine| LocalLog::open(machine, fixture.env(), fixture.options.clone()).unwrap());
}
