//! Hands the release binary to the outside judges in `interop/`.
//!
//! What it does: builds `hadron` in release mode and starts `interop/run.py`, which fetches the foreign clients below
//! `target/interop` and runs every judge. What it does not do: no judging here. Without Python there is nothing to
//! run, and that is said.

use std::process::Command;

use anyhow::Result;

use crate::run::{cargo, root, run, target_dir, works};

/// How to run the judges.
#[derive(Default)]
pub(crate) struct Options {
    /// Names of judges; empty means all.
    pub(crate) only: Vec<String>,
    /// Multiplies the amount of random work; 0 means the default.
    pub(crate) soak_minutes: u32,
    /// The seed of the judges' random choices; they make one up and print it where this is absent.
    pub(crate) seed: Option<u64>,
}

/// Runs the judges and fails if one fails.
pub(crate) fn judge(options: &Options) -> Result<()> {
    if !works("python3", &["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]) {
        println!("SKIPPED interop: python3 (3.9 or later) is absent, so no foreign client ran");
        return Ok(());
    }
    run(cargo().args(["build", "--release", "--package", "hadron"]))?;
    let mut command = Command::new("python3");
    command
        .current_dir(root())
        .arg("interop/run.py")
        .arg("--hadron")
        .arg(target_dir().join("release/hadron"))
        .arg("--work")
        .arg(target_dir().join("interop"));
    for judge in &options.only {
        command.arg("--only").arg(judge);
    }
    if options.soak_minutes > 0 {
        command.arg("--soak-minutes").arg(options.soak_minutes.to_string());
    }
    if let Some(seed) = options.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    run(&mut command)
}
