//! `hadron debug`: tools for an operator in trouble, as `hdfs debug` has them. So far: `recoverLease`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use hadron_client::HadronFs;

use crate::settings::GenericOptions;

const USAGE: &str = "Usage: hadron debug recoverLease -path <path> [-retries <num-retries>]";
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Runs one command line.
pub(crate) fn main(args: &[OsString]) -> Result<ExitCode> {
    let args = crate::settings::words(args)?;
    let (generic, words) = GenericOptions::parse(&args)?;
    let Some(request) = RecoverLease::parse(&words) else {
        eprintln!("{USAGE}");
        return Ok(ExitCode::FAILURE);
    };
    let conf = generic.configuration()?;
    crate::settings::runtime()?.block_on(async {
        let fs = HadronFs::connect(&conf, None)
            .await
            .context("connect to the NameNode")?;
        request.run(&fs).await
    })
}

/// `recoverLease`.
#[derive(Debug, PartialEq, Eq)]
struct RecoverLease {
    path: String,
    retries: u32,
}

impl RecoverLease {
    fn parse(words: &[String]) -> Option<Self> {
        let (command, options) = words.split_first()?;
        let mut request = Self {
            path: String::new(),
            retries: 0,
        };
        for pair in options.chunks(2) {
            match pair {
                [name, value] if name == "-path" => request.path.clone_from(value),
                [name, value] if name == "-retries" => request.retries = value.parse().ok()?,
                _ => return None,
            }
        }
        (command == "recoverLease" && !request.path.is_empty()).then_some(request)
    }

    #[allow(clippy::print_stdout, reason = "what the command says on standard output")]
    async fn run(&self, fs: &HadronFs) -> Result<ExitCode> {
        let path = fs.resolve(&self.path)?;
        for attempt in 0..=self.retries {
            if attempt > 0 {
                println!("Retrying in {} ms...", RETRY_PAUSE.as_millis());
                tokio::time::sleep(RETRY_PAUSE).await;
                println!("Retry #{attempt}");
            }
            match fs.recover_lease(&path).await {
                Ok(true) => {
                    println!("recoverLease SUCCEEDED on {}", self.path);
                    return Ok(ExitCode::SUCCESS);
                }
                Ok(false) => eprintln!("recoverLease returned false."),
                Err(error) => eprintln!("recoverLease got exception: {}", error.first_line()),
            }
        }
        let tries = self.retries + 1;
        let word = if tries == 1 { "try" } else { "tries" };
        eprintln!("Giving up on recoverLease for {} after {tries} {word}.", self.path);
        Ok(ExitCode::FAILURE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_in_pairs_and_the_path_is_needed() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let parsed = |path: &str, retries| {
            Some(RecoverLease {
                path: path.to_owned(),
                retries,
            })
        };
        for (text, expected) in [
            ("recoverLease -path /a", parsed("/a", 0)),
            ("recoverLease -retries 3 -path /a", parsed("/a", 3)),
            ("recoverLease -path", None),
            ("recoverLease -retries x -path /a", None),
            ("recoverLease", None),
            ("other -path /a", None),
        ] {
            assert_eq!(RecoverLease::parse(&words(text)), expected, "{text}");
        }
    }
}
