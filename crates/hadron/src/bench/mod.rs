//! `hadron bench`: measures any HDFS, ours or Apache's. One JSON line per run on standard output.
//!
//! What it does not do: compare or judge; `cargo xtask bench` does, by running this against both.

mod callers;
pub(crate) mod drive;
mod figures;
pub(crate) mod floor;
mod floor_nodes;
pub(crate) mod flush;
pub(crate) mod io;
pub(crate) mod leases;
mod memory;
pub(crate) mod nn;
pub(crate) mod raw;
mod server_cpu;
pub(crate) mod small;

use anyhow::{Result, bail};
use hadron_env::config::Configuration;
use serde_json::{Map, Value};

/// The URL to measure: the one given, else `fs.defaultFS`.
fn url(conf: &Configuration, given: Option<&str>) -> Result<String> {
    let url = given
        .map(str::to_owned)
        .or_else(|| conf.text("fs.defaultFS"))
        .unwrap_or_default();
    if !url.starts_with("hdfs://") {
        bail!("no cluster to measure: give --url hdfs://HOST:PORT or set fs.defaultFS");
    }
    Ok(url)
}

/// Prints one run.
#[allow(clippy::print_stdout, reason = "the command's result")]
fn print(head: &[(&str, Value)], line: Map<String, Value>) {
    let mut whole = Map::new();
    for (key, value) in head {
        whole.insert((*key).to_owned(), value.clone());
    }
    whole.extend(line);
    println!("{}", Value::Object(whole));
}
