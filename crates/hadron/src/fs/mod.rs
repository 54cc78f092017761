//! `hadron fs`: the shell of `hdfs dfs`, with its options, output, messages and exit codes.
//!
//! One file per family of commands. What goes wrong with a path is a line on standard error and exit code 1; wrong usage
//! shows how the command is used and ends with 255.

mod attributes;
mod copy;
mod format;
mod glob;
mod item;
mod local;
mod ls;
mod make;
mod options;
mod remove;
mod shell;
mod show;
mod store;
mod truncate;
mod usage;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;

pub(crate) use shell::Opener;
pub(crate) use store::{CreateOptions, FileSink, FsError, FsResult, QuotaUsage, Room, Status, Store, Summary};

use shell::{Shell, Stop};

use crate::settings::GenericOptions;

type Run = fn(&mut Shell<'_>, &[String]) -> Result<i32, Stop>;

/// Name, what it takes, and what it runs.
const COMMANDS: &[(&str, &str, Run)] = &[
    ("cat", "[-ignoreCrc] <src> ...", show::cat),
    ("chgrp", "[-R] GROUP PATH...", attributes::chgrp),
    ("chmod", "[-R] <MODE[,MODE]... | OCTALMODE> PATH...", attributes::chmod),
    ("chown", "[-R] [OWNER][:[GROUP]] PATH...", attributes::chown),
    ("copyFromLocal", "[-f] [-p] [-l] [-d] <localsrc> ... <dst>", copy::put),
    (
        "copyToLocal",
        "[-f] [-p] [-crc] [-ignoreCrc] <src> ... <localdst>",
        copy::get,
    ),
    (
        "count",
        "[-q] [-h] [-v] [-t [<storage type>]] [-u] [-x] [-e] [-s] <path> ...",
        usage::count,
    ),
    ("cp", "[-f] [-p | -p[topax]] [-d] <src> ... <dst>", copy::cp),
    ("df", "[-h] [<path> ...]", usage::df),
    ("du", "[-s] [-h] [-v] [-x] <path> ...", usage::du),
    ("get", "[-f] [-p] [-crc] [-ignoreCrc] <src> ... <localdst>", copy::get),
    ("head", "<file>", show::head),
    (
        "ls",
        "[-C] [-d] [-h] [-q] [-R] [-t] [-S] [-r] [-u] [-e] [<path> ...]",
        ls::ls,
    ),
    ("mkdir", "[-p] <path> ...", make::mkdir),
    (
        "moveFromLocal",
        "[-f] [-p] [-l] [-d] <localsrc> ... <dst>",
        copy::move_from_local,
    ),
    ("mv", "<src> ... <dst>", copy::mv),
    ("put", "[-f] [-p] [-l] [-d] <localsrc> ... <dst>", copy::put),
    ("rm", "[-f] [-r|-R] [-skipTrash] [-safely] <src> ...", remove::rm),
    ("rmdir", "[--ignore-fail-on-non-empty] <dir> ...", remove::rmdir),
    ("setrep", "[-R] [-w] <rep> <path> ...", attributes::setrep),
    ("stat", "[format] <path> ...", usage::stat),
    ("tail", "[-f] <file>", show::tail),
    ("test", "-[defswrz] <path>", make::test),
    ("text", "[-ignoreCrc] <src> ...", show::text),
    ("touchz", "<path> ...", make::touchz),
    ("truncate", "[-w] <length> <path> ...", truncate::truncate),
];

/// Exit code of wrong usage.
const USAGE_CODE: i32 = 255;
/// Exit code when whoever read our output went away.
const BROKEN_PIPE_CODE: i32 = 141;

/// Runs one command line.
pub(crate) fn main(args: &[OsString]) -> Result<ExitCode> {
    let args = crate::settings::words(args)?;
    let (first, args) = take_verbose(&args);
    let (generic, args) = GenericOptions::parse(args)?;
    let (second, args) = take_verbose(&args);
    let (default, opener) = crate::hdfs::opener(&generic, first || second)?;
    let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout());
    let mut input = io::stdin();
    let mut err = io::stderr();
    let mut shell = Shell::new(&mut out, &mut err, &mut input, default, opener);
    shell.progress = io::stderr().is_terminal();
    let code = run(&mut shell, args);
    drop(shell);
    let code = if out.flush().is_err() { BROKEN_PIPE_CODE } else { code };
    Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)))
}

/// Takes `-v`, which stands before the command, around the generic options.
fn take_verbose(args: &[String]) -> (bool, &[String]) {
    match args {
        [word, rest @ ..] if word == "-v" => (true, rest),
        _ => (false, args),
    }
}

/// Runs the command `args[0]` names; returns its exit code.
fn run(shell: &mut Shell<'_>, args: &[String]) -> i32 {
    let Some((word, rest)) = args.split_first() else {
        usage_of_all(shell);
        return USAGE_CODE;
    };
    if let "-help" | "-usage" = word.as_str() {
        return help(shell, word, rest);
    }
    let Some((name, takes, command)) = word.strip_prefix('-').and_then(find) else {
        let text = match (word.starts_with('-'), find(word)) {
            (false, Some(_)) => {
                format!("{word}: Unknown command\nDid you mean -{word}?  This command begins with a dash.")
            }
            _ => format!("{word}: Unknown command"),
        };
        let _ = writeln!(shell.err, "{text}");
        usage_of_all(shell);
        return USAGE_CODE;
    };
    shell.name = (*name).to_owned();
    match command(shell, rest) {
        Ok(code) => code,
        Err(Stop::Usage(text)) => {
            let _ = shell.out.flush();
            let _ = writeln!(
                shell.err,
                "-{name}: {text}\nUsage: hadoop fs [generic options] -{name} {takes}"
            );
            USAGE_CODE
        }
        Err(Stop::Failed(error)) => {
            shell.fail(&error);
            1
        }
        Err(Stop::BrokenPipe) => BROKEN_PIPE_CODE,
    }
}

fn find(name: &str) -> Option<&'static (&'static str, &'static str, Run)> {
    COMMANDS.iter().find(|(known, _, _)| *known == name)
}

fn help(shell: &mut Shell<'_>, word: &str, names: &[String]) -> i32 {
    let mut code = 0;
    let mut lines = Vec::new();
    for (name, takes, _) in COMMANDS {
        if names.is_empty() || names.iter().any(|wanted| wanted.trim_start_matches('-') == *name) {
            lines.push(format!("Usage: hadoop fs [generic options] -{name} {takes}"));
        }
    }
    for name in names {
        if find(name.trim_start_matches('-')).is_none() {
            let _ = writeln!(shell.err, "{}: {name}: Unknown command", word.trim_start_matches('-'));
            code = USAGE_CODE;
        }
    }
    for line in lines {
        let _ = writeln!(shell.out, "{line}");
    }
    code
}

fn usage_of_all(shell: &mut Shell<'_>) {
    let _ = writeln!(shell.err, "Usage: hadoop fs [generic options]");
    for (name, takes, _) in COMMANDS {
        let _ = writeln!(shell.err, "\t[-{name} {takes}]");
    }
}

#[cfg(test)]
mod tests;
