//! `cargo xtask bench`: `hadron bench` on a mini cluster, beside Apache HDFS where that can be set up.
//!
//! What it does: builds the release binary and starts `interop/bench.py`, which runs both servers one after the other in
//! alternation, prints a table of ratios and keeps it in `docs/performance.md`. What it does not do: pass or fail on
//! figures; a shared machine would make that a coin toss.

use std::process::Command;

use anyhow::{Result, bail};

use crate::run::{self, cargo, root, target_dir, works};

/// Runs the benchmarks; `args` are handed on.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if !works("python3", &["--version"]) {
        bail!("python3 is absent: run `hadron bench` by hand (see README)");
    }
    run::run(cargo().args(["build", "--release", "--package", "hadron"]))?;
    run::run(
        Command::new("python3")
            .current_dir(root())
            .arg("interop/bench.py")
            .arg("--hadron")
            .arg(target_dir().join("release/hadron"))
            .arg("--work")
            .arg(target_dir().join("interop"))
            .args(args),
    )
}
