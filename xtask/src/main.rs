//! Repository automation: `cargo xtask <command>`.
//!
//! What it is for: one place, in the project's own language, for everything a contributor or a CI machine runs.
//! What it does not do: it is never a dependency of product code and asks nothing beyond cargo of the machine;
//! tools that are absent are named and what needs them is skipped.

#![allow(clippy::print_stdout, reason = "a command line tool reports on standard output")]

mod bench;
mod interop;
mod run;
mod soak;
mod suite;
mod tidy;
mod trace;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask <command>

  test  [--no-interop] [--interop-only] [--only JUDGE]   unit, doc and interop tests; fetches foreign clients
  tidy                                                   house lints: tiers, headers, sizes, forbidden words
  trace [--missing]                                      requirement ids that no test names
  soak  [--minutes N] [--only JUDGE] [--seed S]          long random runs: fuzzers, properties, interop load
  bench [--peer HOME]                                    benchmarks, beside Apache HDFS where that can be set up
  ci                                                     what the CI machine runs
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let result = match command {
        "test" => suite::test(rest),
        "tidy" => tidy::run(),
        "trace" => trace::run(rest),
        "soak" => soak::run(rest),
        "bench" => bench::run(rest),
        "ci" => suite::ci(),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("unknown command {other}\n\n{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
