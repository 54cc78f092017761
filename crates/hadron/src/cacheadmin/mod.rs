//! `hadron cacheadmin`: cache pools and directives, as `hdfs cacheadmin` has them.
//!
//! Output, messages and exit codes are those of Hadoop's `CacheAdmin`: 1 for wrong usage, 2 for a refusal of the server, 255
//! for words that are no numbers or paths. What it does not do: print Hadoop's long help texts.

#![allow(clippy::print_stdout, reason = "the command's results")]

mod directives;
mod pools;
mod table;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use hadron_types::HadoopError;

use crate::admin::Link;
use crate::settings::GenericOptions;
use words::Words;

/// Wrong usage.
const USAGE_CODE: u8 = 1;
/// The server refused.
const REFUSED_CODE: u8 = 2;
/// What Java ends with -1: a word that cannot be read.
const UNREADABLE_CODE: u8 = 255;

/// Why a command fails: what standard error shows, and the exit code.
#[derive(Debug, PartialEq)]
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// Wrong usage.
    fn usage(text: impl Into<String>) -> Self {
        Self {
            code: USAGE_CODE,
            text: text.into(),
        }
    }

    /// A refusal to list, whose class Java's client does not unwrap.
    fn of_list(error: HadoopError) -> Self {
        Self {
            code: REFUSED_CODE,
            text: format!("RemoteException: {}", error.first_line()),
        }
    }

    /// A Java exception of the client's side.
    fn unreadable(class: &str, text: &str) -> Self {
        Self {
            code: UNREADABLE_CODE,
            text: format!("{class}: {text}"),
        }
    }
}

impl From<HadoopError> for Failure {
    /// The class without its package, and the first line.
    fn from(error: HadoopError) -> Self {
        let class = error.kind.class();
        let class = class.rsplit(['.', '$']).next().unwrap_or(class);
        Self {
            code: REFUSED_CODE,
            text: format!("{class}: {}", error.first_line()),
        }
    }
}

/// The sub-commands in the order of the usage, with their words and what they are for.
const COMMANDS: [(&str, &str, &str); 10] = [
    (
        "-addDirective",
        " -path <path> -pool <pool-name> [-force] [-replication <replication>] [-ttl <time-to-live>]",
        "Has a file, or the files of a directory, kept in memory. Needs WRITE on the pool. A time to live is a number and s, m, \
         h or d, or never; -force passes over the pool's limit.",
    ),
    (
        "-modifyDirective",
        " -id <id> [-path <path>] [-force] [-replication <replication>] [-pool <pool-name>] [-ttl <time-to-live>]",
        "Changes a directive. Needs WRITE on its pool, and on the one it moves to.",
    ),
    (
        "-listDirectives",
        " [-stats] [-path <path>] [-pool <pool>] [-id <id>]",
        "Lists the directives of pools that may be read; -stats adds what they ask for and what is in memory.",
    ),
    (
        "-removeDirective",
        " <id>",
        "Removes a directive. Needs WRITE on its pool.",
    ),
    (
        "-removeDirectives",
        " -path <path>",
        "Removes every directive for a path.",
    ),
    (
        "-addPool",
        " <name> [-owner <owner>] [-group <group>] [-mode <mode>] [-limit <limit>] [-defaultReplication <defaultReplication>] \
         [-maxTtl <maxTtl>]",
        "Makes a pool, which superusers may. The mode is octal, 0755 by default; the limit is in bytes or unlimited; directives \
         live at most for maxTtl.",
    ),
    (
        "-modifyPool",
        " <name> [-owner <owner>] [-group <group>] [-mode <mode>] [-limit <limit>] [-defaultReplication <defaultReplication>] \
         [-maxTtl <maxTtl>]",
        "Changes a pool, which superusers may.",
    ),
    (
        "-removePool",
        " <name>",
        "Removes a pool and its directives, which superusers may.",
    ),
    (
        "-listPools",
        " [-stats] [<name>]",
        "Lists pools, those that may not be read by name alone; -stats adds what their directives ask for and what is in memory.",
    ),
    ("-help", " <command-name>", "Tells about a command, or about all."),
];

/// `[-addDirective …]`.
fn usage_of(command: &str) -> String {
    let takes = COMMANDS.iter().find(|(name, _, _)| *name == command);
    format!("[{command}{}]", takes.map_or("", |(_, takes, _)| takes))
}

fn usage() -> String {
    let lines = COMMANDS
        .iter()
        .map(|(name, _, _)| format!("          {}\n", usage_of(name)));
    format!("Usage: bin/hdfs cacheadmin [COMMAND]\n{}", lines.collect::<String>())
}

fn help(args: &[String]) -> (u8, String) {
    let of = |(name, _, tells): &(&str, &str, &str)| format!("{}\n\n{tells}\n", usage_of(name));
    match args {
        [] => (0, COMMANDS.iter().map(of).collect::<Vec<_>>().join("\n")),
        [word] => match COMMANDS
            .iter()
            .find(|(name, _, _)| name.strip_prefix('-') == Some(word))
        {
            Some(command) => (0, of(command)),
            None => {
                let names = COMMANDS.iter().map(|(name, _, _)| name.trim_start_matches('-'));
                let names: Vec<&str> = names.filter(|name| *name != "help").collect();
                let known = format!("Valid help command names are:\n{}\n", names.join(", "));
                (USAGE_CODE, format!("Unknown command '{word}'.\n{known}"))
            }
        },
        _ => {
            println!("You must give exactly one argument to -help.");
            (0, String::new())
        }
    }
}

/// Runs one command line.
pub(crate) fn main(args: &[OsString]) -> Result<ExitCode> {
    let args = crate::settings::words(args)?;
    let (generic, args) = GenericOptions::parse(&args)?;
    let Some((command, rest)) = args.split_first() else {
        eprintln!("{}", usage());
        return Ok(ExitCode::from(USAGE_CODE));
    };
    if command == "-help" {
        let (code, text) = help(rest);
        eprint!("{text}");
        return Ok(ExitCode::from(code));
    }
    let link = Link::new(generic.configuration()?);
    let runtime = crate::settings::runtime()?;
    let mut words = Words::new(rest);
    let outcome = runtime.block_on(run(&link, command, &mut words));
    match outcome {
        Ok(text) => {
            print!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        Err(Failure { code, text }) => {
            eprintln!("{text}");
            Ok(ExitCode::from(code))
        }
    }
}

/// Runs one sub-command; gives what standard output shows.
async fn run(link: &Link, command: &str, words: &mut Words) -> Result<String, Failure> {
    match command {
        "-addDirective" => directives::add(link, words).await,
        "-modifyDirective" => directives::modify(link, words).await,
        "-listDirectives" => directives::list(link, words).await,
        "-removeDirective" => directives::remove(link, words).await,
        "-removeDirectives" => directives::remove_all(link, words).await,
        "-addPool" => pools::add(link, words).await,
        "-modifyPool" => pools::modify(link, words).await,
        "-removePool" => pools::remove(link, words).await,
        "-listPools" => pools::list(link, words).await,
        _ => {
            let dashes = if command.starts_with('-') {
                ""
            } else {
                "Command names must start with dashes.\n"
            };
            Err(Failure::usage(format!(
                "Can't understand command '{command}'\n{dashes}{}",
                usage()
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_about_one_command_or_all() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let (code, all) = help(&[]);
        assert_eq!(code, 0);
        for (name, _, _) in COMMANDS {
            assert!(all.contains(&format!("[{name} ")), "{name}");
        }
        assert_eq!(
            help(&words("removePool")),
            (
                0,
                "[-removePool <name>]\n\nRemoves a pool and its directives, which superusers may.\n".to_owned()
            )
        );
        let (code, text) = help(&words("fly"));
        assert_eq!(code, 1);
        assert!(text.starts_with("Unknown command 'fly'.\nValid help command names are:\naddDirective, "));
        assert_eq!(help(&words("a b")).0, 0);
    }

    #[test]
    fn refusals_show_the_class_without_its_package() {
        let error = HadoopError::new(
            hadron_types::ErrorKind::InvalidRequest,
            "Unknown pool p\n\tat somewhere",
        );
        let failure = Failure {
            code: 2,
            text: "InvalidRequestException: Unknown pool p".to_owned(),
        };
        assert_eq!(Failure::from(error), failure);
    }
}
