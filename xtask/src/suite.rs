//! `cargo xtask test` and `cargo xtask ci`.
//!
//! Order: unit tests, doc tests, then the foreign clients against the release binary, so that the cheap answers
//! come first.

use anyhow::{Result, bail};

use crate::interop;
use crate::run::{cargo, root, run, works};

/// Runs the tests; see the usage text for `args`.
pub(crate) fn test(args: &[String]) -> Result<()> {
    let mut unit = true;
    let mut foreign = true;
    let mut only = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--no-interop" => foreign = false,
            "--interop-only" => unit = false,
            "--only" => {
                unit = false;
                match args.next() {
                    Some(judge) => only.push(judge.clone()),
                    None => bail!("--only wants the name of a judge"),
                }
            }
            other => bail!("unknown option {other}"),
        }
    }
    if unit {
        unit_tests()?;
    }
    if foreign {
        interop::judge(&interop::Options {
            only,
            ..interop::Options::default()
        })?;
    }
    Ok(())
}

fn unit_tests() -> Result<()> {
    if works("cargo", &["nextest", "--version"]) {
        run(cargo().args(["nextest", "run", "--workspace", "--no-fail-fast"]))?;
    } else {
        println!("cargo-nextest is absent: using cargo test");
        run(cargo().args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]))?;
    }
    run(cargo().args(["test", "--workspace", "--doc", "--quiet"]))
}

/// Runs what the CI machine runs.
pub(crate) fn ci() -> Result<()> {
    run(std::process::Command::new("bash").arg(".ci/run").current_dir(root()))
}
