//! `hadron getconf`: what the configuration says, as `hdfs getconf` prints it.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use hadron_env::config::{Configuration, keys};

use crate::settings::GenericOptions;

const USAGE: &str = "hdfs getconf is utility for getting configuration information from the config file.\n\n\
    hdfs getconf \n\
    \t[-namenodes]\t\t\tgets list of namenodes in the cluster.\n\
    \t[-includeFile]\t\t\tgets the include file path that defines the datanodes that can join the cluster.\n\
    \t[-excludeFile]\t\t\tgets the exclude file path that defines the datanodes that need to decommissioned.\n\
    \t[-nnRpcAddresses]\t\t\tgets the namenode rpc addresses\n\
    \t[-confKey [key]]\t\t\tgets a specific key from the configuration";

/// Runs one question.
#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn main(args: &[OsString]) -> Result<ExitCode> {
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (generic, words) = GenericOptions::parse(&words)?;
    let conf = generic.configuration()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let answer = match words.as_slice() {
        ["-namenodes"] => Ok(hosts(&conf)?),
        ["-nnRpcAddresses"] => Ok(addresses(&conf)?.join("\n")),
        ["-includeFile"] => value(&conf, keys::DFS_HOSTS.name()),
        ["-excludeFile"] => value(&conf, keys::DFS_HOSTS_EXCLUDE.name()),
        ["-confKey", key] => value(&conf, key),
        _ => {
            eprintln!("{USAGE}");
            return Ok(ExitCode::from(255));
        }
    };
    match answer {
        Ok(text) => {
            println!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        Err(line) => {
            eprintln!("{line}");
            Ok(ExitCode::from(255))
        }
    }
}

fn value(conf: &Configuration, key: &str) -> std::result::Result<String, String> {
    let found = conf.text(key).map(|text| text.trim().to_owned());
    found.ok_or_else(|| format!("Configuration {key} is missing."))
}

fn addresses(conf: &Configuration) -> Result<Vec<String>> {
    let url = conf.get(keys::FS_DEFAULT_FS);
    let authority = url.strip_prefix("hdfs://").unwrap_or("").trim_end_matches('/');
    let found = conf.namenode_addresses(authority)?;
    Ok(found.iter().map(|at| format!("{}:{}", at.host, at.port)).collect())
}

fn hosts(conf: &Configuration) -> Result<String> {
    let names = addresses(conf)?;
    let hosts: Vec<&str> = names
        .iter()
        .map(|name| name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host))
        .collect();
    Ok(hosts.join(" "))
}
