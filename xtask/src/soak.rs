//! `cargo xtask soak`: the same proofs, for longer.
//!
//! Fuzz targets run for their share of the time (where cargo-fuzz is present), property tests with many more cases, then
//! the interop judges with more random work.

use anyhow::{Context, Result, bail};

use crate::interop;
use crate::run::{self, cargo, output, root, works};

const DEFAULT_MINUTES: u32 = 60;
const PROPTEST_CASES_PER_MINUTE: u32 = 200;

/// Runs for about `--minutes` (60).
pub(crate) fn run_for(minutes: u32) -> Result<()> {
    let third = (minutes / 3).max(1);
    fuzz(third * 60)?;
    println!("property tests with {} cases each", third * PROPTEST_CASES_PER_MINUTE);
    run::run(
        cargo()
            .args(["test", "--workspace", "--lib", "--tests"])
            .env("PROPTEST_CASES", (third * PROPTEST_CASES_PER_MINUTE).to_string()),
    )?;
    interop::judge(&interop::Options {
        soak_minutes: third,
        ..interop::Options::default()
    })
}

/// Parses `args` and runs.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let minutes = match args {
        [] => DEFAULT_MINUTES,
        [flag, minutes] if flag == "--minutes" => minutes.parse().context("parse --minutes")?,
        _ => bail!("usage: cargo xtask soak [--minutes N]"),
    };
    run_for(minutes)
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
