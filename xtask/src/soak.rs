//! `cargo xtask soak`: the same proofs, for longer.
//!
//! Fuzz targets run for their share of the time (where cargo-fuzz is present), property tests with many more cases, then
//! the interop judges with more random work: of an hour, random operations and the oracle under random kills get twenty
//! minutes each. `--only JUDGE` gives one judge all the time, `--seed` repeats the choices of a run that failed.

use anyhow::{Context, Result, bail};

use crate::interop;
use crate::run::{self, cargo, output, root, works};

const DEFAULT_MINUTES: u32 = 60;
const PROPTEST_CASES_PER_MINUTE: u32 = 200;

/// Runs for about `minutes`; with judges named only these, for all of the time.
fn run_for(minutes: u32, only: Vec<String>, seed: Option<u64>) -> Result<()> {
    let mut judging = minutes;
    if only.is_empty() {
        judging = (minutes / 3).max(1);
        fuzz(judging * 60)?;
        println!("property tests with {} cases each", judging * PROPTEST_CASES_PER_MINUTE);
        run::run(
            cargo()
                .args(["test", "--workspace", "--lib", "--tests"])
                .env("PROPTEST_CASES", (judging * PROPTEST_CASES_PER_MINUTE).to_string()),
        )?;
    }
    interop::judge(&interop::Options {
        only,
        soak_minutes: judging,
        seed,
    })
}

/// Parses `args` and runs.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (mut minutes, mut only, mut seed) = (DEFAULT_MINUTES, Vec::new(), None);
    for pair in args.chunks(2) {
        match pair {
            [flag, value] if flag == "--minutes" => minutes = value.parse().context("parse --minutes")?,
            [flag, value] if flag == "--only" => only.push(value.clone()),
            [flag, value] if flag == "--seed" => seed = Some(value.parse().context("parse --seed")?),
            _ => bail!("usage: cargo xtask soak [--minutes N] [--only JUDGE] [--seed S]"),
        }
    }
    run_for(minutes, only, seed)
}

fn fuzz(seconds: u32) -> Result<()> {
    if !root().join("fuzz/Cargo.toml").exists() || !works("cargo", &["fuzz", "--version"]) {
        println!("SKIPPED fuzzing: cargo-fuzz is absent (cargo install cargo-fuzz --locked)");
        return Ok(());
    }
    let listed = output(cargo().args(["fuzz", "list"]))?;
    let targets: Vec<&str> = listed.lines().map(str::trim).filter(|name| !name.is_empty()).collect();
    let share = seconds / u32::try_from(targets.len().max(1))?;
    for target in targets {
        // cargo-fuzz wants compiler switches that a stable compiler only takes when told so.
        run::run(
            cargo()
                .env("RUSTC_BOOTSTRAP", "1")
                .args(["fuzz", "run", target, "--", "-rss_limit_mb=2048"])
                .arg(format!("-max_total_time={}", share.max(10))),
        )?;
    }
    Ok(())
}
