//! The `hadron` binary: daemons, mini cluster, guided proof, file system shell and benchmarks in one program.
//!
//! What it is for: turning a command line into a configuration and handing it to the library that does the work. What it
//! does not do: no protocol, no state of its own. Standard output carries results only; logs go to standard error.

mod admin;
mod balancer;
mod bench;
mod cacheadmin;
mod cli;
mod daemon;
mod debug;
mod demo;
mod fs;
mod fsck;
mod getconf;
mod hdfs;
mod lifetime;
mod log_lines;
mod logging;
mod mini;
mod settings;
mod storagepolicies;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let lines = logging::init(cli.command.default_log_level(), cli.command.log_writer());
    let done = cli.command.run();
    drop(lines);
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hadron: {error:#}");
            ExitCode::FAILURE
        }
    }
}
