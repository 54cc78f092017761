//! `hadron storagepolicies`: shows and sets storage policies as `hdfs storagepolicies` does.
//!
//! Output, messages and exit codes are those of Hadoop's `StoragePolicyAdmin`: 1 for wrong usage, 2 for a refusal.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use hadron_client::{FsError, HadronFs, StoragePolicyInfo};
use hadron_types::{ErrorKind, FsPath, StorageType};

use crate::settings::GenericOptions;

/// Wrong usage.
const USAGE_CODE: u8 = 1;
/// The server refused.
const REFUSED_CODE: u8 = 2;

const USAGES: [(&str, &str); 5] = [
    ("-listPolicies", ""),
    ("-setStoragePolicy", " -path <path> -policy <policy>"),
    ("-getStoragePolicy", " -path <path>"),
    ("-unsetStoragePolicy", " -path <path>"),
    ("-satisfyStoragePolicy", " -path <path>"),
];

/// Runs one command line.
pub(crate) fn main(args: &[OsString]) -> Result<ExitCode> {
    let args = crate::settings::words(args)?;
    let (generic, args) = GenericOptions::parse(&args)?;
    let conf = generic.configuration()?;
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let request = match Request::parse(&args) {
        Ok(request) => request,
        Err(text) => {
            writeln!(err, "{text}")?;
            return Ok(ExitCode::from(USAGE_CODE));
        }
    };
    let runtime = crate::settings::runtime()?;
    let answer = runtime.block_on(async {
        let fs = HadronFs::connect(&conf, None).await.context("connect")?;
        Ok::<_, anyhow::Error>(request.run(&fs).await)
    })?;
    match answer {
        Ok(text) => {
            writeln!(out, "{text}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(text) => {
            writeln!(err, "{text}")?;
            Ok(ExitCode::from(REFUSED_CODE))
        }
    }
}

/// What is asked.
#[derive(Debug, PartialEq)]
enum Request {
    List,
    Get { path: String },
    Set { path: String, policy: String },
    Unset { path: String },
    Satisfy { path: String },
}

impl Request {
    /// Reads a command line. The error is what standard error shows.
    fn parse(args: &[String]) -> Result<Self, String> {
        let Some((command, rest)) = args.split_first() else {
            return Err(usage_of_all());
        };
        let takes = USAGES.iter().find(|(name, _)| name == command);
        let Some((_, takes)) = takes else {
            let dashes = if command.starts_with('-') {
                ""
            } else {
                "\nCommand names must start with dashes."
            };
            return Err(format!("Can't understand command '{command}'{dashes}"));
        };
        let value = |option: &str, what: &str| {
            let at = rest.iter().position(|arg| arg == option);
            let value = at.and_then(|at| rest.get(at + 1)).cloned();
            value.ok_or_else(|| format!("Please specify {what}.\nUsage: [{command}{takes}]"))
        };
        let path = |what: &str| value("-path", what);
        Ok(match command.as_str() {
            "-listPolicies" => Self::List,
            "-getStoragePolicy" => Self::Get {
                path: path("the path with -path")?,
            },
            "-setStoragePolicy" => Self::Set {
                path: path("the path for setting the storage policy")?,
                policy: value("-policy", "the policy name")?,
            },
            "-unsetStoragePolicy" => Self::Unset {
                path: path("the path from which the storage policy will be unset")?,
            },
            _ => Self::Satisfy {
                path: path("the path for satisfying storage policies")?,
            },
        })
    }

    /// Does it; gives what standard output, or for a refusal standard error, shows.
    async fn run(&self, fs: &HadronFs) -> Result<String, String> {
        match self {
            Self::List => {
                let policies = fs.storage_policies().await.map_err(|error| shown(&error))?;
                let lines: Vec<String> = policies
                    .iter()
                    .map(|policy| format!("\n\t{}", described(policy)))
                    .collect();
                Ok(format!("Block Storage Policies:{}", lines.concat()))
            }
            Self::Get { path } => get(fs, path).await,
            Self::Set { path, policy } => {
                let done = fs.set_storage_policy(&parsed(path)?, Some(policy)).await;
                done.map_err(|error| shown(&error))?;
                Ok(format!("Set storage policy {policy} on {path}"))
            }
            Self::Unset { path } => {
                let done = fs.set_storage_policy(&parsed(path)?, None).await;
                done.map_err(|error| shown(&error))?;
                Ok(format!("Unset storage policy from {path}"))
            }
            Self::Satisfy { path } => {
                let done = fs.satisfy_storage_policy(&parsed(path)?).await;
                done.map_err(|error| shown(&error))?;
                Ok(format!(
                    "Scheduled blocks to move based on the current storage policy on {path}"
                ))
            }
        }
    }
}

async fn get(fs: &HadronFs, path: &str) -> Result<String, String> {
    let status = fs.status(&parsed(path)?).await.map_err(|error| shown(&error))?;
    let Some(status) = status else {
        return Err(format!("File/Directory does not exist: {path}"));
    };
    if status.storage_policy == 0 {
        return Ok(format!("The storage policy of {path} is unspecified"));
    }
    let policies = fs.storage_policies().await.map_err(|error| shown(&error))?;
    match policies.iter().find(|policy| policy.id == status.storage_policy) {
        Some(policy) => Ok(format!("The storage policy of {path}:\n{}", described(policy))),
        None => Err(format!("Cannot identify the storage policy for {path}")),
    }
}

fn parsed(path: &str) -> Result<FsPath, String> {
    // A full address names this same file system: the rest of it is the path.
    let path = path
        .strip_prefix("hdfs://")
        .map_or(path, |rest| rest.find('/').map_or("/", |at| &rest[at..]));
    FsPath::parse(path).map_err(|error| error.to_string())
}

/// A policy as Java prints it.
fn described(policy: &StoragePolicyInfo) -> String {
    let list = |kinds: &[StorageType]| kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    format!(
        "BlockStoragePolicy{{{}:{}, storageTypes=[{}], creationFallbacks=[{}], replicationFallbacks=[{}]}}",
        policy.name,
        policy.id,
        list(&policy.types),
        list(&policy.creation_fallbacks),
        list(&policy.replication_fallbacks)
    )
}

/// Class without its package, and the first line; classes that Java's client does not unwrap stay `RemoteException`.
fn shown(error: &FsError) -> String {
    let unwrapped = |kind: ErrorKind| {
        matches!(
            kind,
            ErrorKind::AccessControl | ErrorKind::FileNotFound | ErrorKind::SafeMode | ErrorKind::NsQuotaExceeded
        )
    };
    match error.kind() {
        Some(kind) => {
            let class = kind.class().rsplit('.').next().unwrap_or_default();
            let class = if unwrapped(kind) { class } else { "RemoteException" };
            format!("{class}: {}", error.first_line())
        }
        None => error.first_line(),
    }
}

fn usage_of_all() -> String {
    let lines: Vec<String> = USAGES
        .iter()
        .map(|(name, takes)| format!("\n\t[{name}{takes}]"))
        .collect();
    format!("Usage: bin/hdfs storagepolicies [COMMAND]{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Request, String> {
        let args: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Request::parse(&args)
    }

    #[test]
    fn commands_are_read_as_hdfs_reads_them() {
        let (path, policy) = ("/a".to_owned(), "COLD".to_owned());
        assert_eq!(parse(&["-listPolicies"]), Ok(Request::List));
        assert_eq!(
            parse(&["-setStoragePolicy", "-policy", "COLD", "-path", "/a"]),
            Ok(Request::Set { path, policy })
        );
        assert_eq!(
            parse(&["-getStoragePolicy"]),
            Err("Please specify the path with -path.\nUsage: [-getStoragePolicy -path <path>]".to_owned())
        );
        assert_eq!(
            parse(&["list"]),
            Err("Can't understand command 'list'\nCommand names must start with dashes.".to_owned())
        );
    }
}
