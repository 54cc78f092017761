//! `hadron dfsadmin`: what `hdfs dfsadmin` does, with its words, its output and its exit codes.
//!
//! What it does not do: print Hadoop's long help texts. Commands that Hadoop has and Hadron does not (rolling upgrades,
//! images over HTTP) are answered by the NameNode's own refusal or by the usage line.
//! Source of words and output: Hadoop `DFSAdmin`. An error is one line on standard error, `command: message`, and exit
//! code 255; a wrong use prints the usage and gives 255 too.

#![allow(clippy::print_stdout, reason = "the commands' results")]

mod datanodes;
mod link;
mod nodes;
mod quota;
mod reconfig;
mod refresh;
mod report;
mod upkeep;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::settings::GenericOptions;
use link::Failure;
pub(crate) use link::Link;

/// Exit code of what Hadoop ends with -1.
const FAILED: u8 = 255;

/// What a command gives: its exit code, or why it failed.
type Outcome = Result<u8, Failure>;

/// Runs one command.
pub(crate) fn main(args: &[OsString]) -> Result<ExitCode> {
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (generic, words) = GenericOptions::parse(&words)?;
    let Some((command, rest)) = words.split_first() else {
        usage::print("");
        return Ok(ExitCode::from(FAILED));
    };
    let conf = generic.configuration()?;
    let runtime = crate::settings::runtime()?;
    let code = runtime.block_on(async {
        let mut link = Link::new(conf);
        match run(&mut link, command, rest).await {
            Ok(code) => code,
            Err(Failure::Usage) => {
                usage::print(command);
                FAILED
            }
            Err(Failure::Refused(line)) => {
                eprintln!("{}: {line}", command.trim_start_matches('-'));
                FAILED
            }
        }
    });
    Ok(ExitCode::from(code))
}

async fn run(link: &mut Link, command: &str, args: &[String]) -> Outcome {
    match command {
        "-report" => report::report(link, args).await,
        "-printTopology" => report::print_topology(link, args).await,
        "-safemode" => upkeep::safe_mode(link, args).await,
        "-saveNamespace" => upkeep::save_namespace(link, args).await,
        "-rollEdits" => upkeep::roll_edits(link, args).await,
        "-restoreFailedStorage" => upkeep::restore_failed_storage(link, args).await,
        "-finalizeUpgrade" => upkeep::finalize_upgrade(link, args).await,
        "-upgrade" => upkeep::upgrade(link, args).await,
        "-metasave" => upkeep::meta_save(link, args).await,
        "-refreshNodes" => refresh::nodes(link, args).await,
        "-refreshServiceAcl" => refresh::service_acl(link, args).await,
        "-refreshUserToGroupsMappings" => refresh::groups(link, args).await,
        "-refreshSuperUserGroupsConfiguration" => refresh::proxy_users(link, args).await,
        "-refreshCallQueue" => refresh::call_queue(link, args).await,
        "-refresh" => refresh::named(link, args).await,
        "-setQuota" => quota::set_names(link, args).await,
        "-clrQuota" => quota::clear_names(link, args).await,
        "-setSpaceQuota" => quota::set_space(link, args).await,
        "-clrSpaceQuota" => quota::clear_space(link, args).await,
        "-setBalancerBandwidth" => nodes::set_bandwidth(link, args).await,
        "-listOpenFiles" => nodes::list_open_files(link, args).await,
        "-getDatanodeInfo" => datanodes::info(link, args).await,
        "-getBalancerBandwidth" => datanodes::bandwidth(link, args).await,
        "-shutdownDatanode" => datanodes::shutdown(link, args).await,
        "-triggerBlockReport" => datanodes::trigger_block_report(link, args).await,
        "-reconfig" => reconfig::run(link, args).await,
        _ if command.eq_ignore_ascii_case("-allowSnapshot") => upkeep::allow_snapshot(link, args).await,
        _ if command.eq_ignore_ascii_case("-disallowSnapshot") => upkeep::disallow_snapshot(link, args).await,
        "-help" => {
            usage::print(args.first().map_or("", String::as_str));
            Ok(0)
        }
        _ => {
            eprintln!("{}: Unknown command", command.trim_start_matches('-'));
            usage::print("");
            Ok(FAILED)
        }
    }
}

/// Refuses words that a command does not take.
fn want_none(args: &[String]) -> Result<(), Failure> {
    match args {
        [] => Ok(()),
        _ => Err(Failure::Usage),
    }
}

/// The only word of a command.
fn want_one(args: &[String]) -> Result<&str, Failure> {
    match args {
        [one] => Ok(one),
        _ => Err(Failure::Usage),
    }
}
