//! From `--conf`, `HADOOP_CONF_DIR` and `-D` to one configuration, and Hadoop's generic options of shell commands.
//!
//! Later words win: files first, then `-D`, then the URL of `-fs`.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use hadron_env::config::Configuration;

use crate::cli::ConfArgs;

/// The Hadoop release whose behaviour and protocol versions we report.
pub(crate) const HADOOP_VERSION: &str = "3.3.6";

/// Prints the version the way `hdfs version` opens.
#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn print_version() {
    println!(
        "Hadron {} (speaks as Hadoop {HADOOP_VERSION})",
        env!("CARGO_PKG_VERSION")
    );
}

/// The runtime of a daemon or a long command.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")
}

/// The configuration of a daemon or another command of our own style.
pub(crate) fn load(args: &ConfArgs) -> Result<Configuration> {
    if let Some(dir) = &args.conf
        && !dir.is_dir()
    {
        bail!("the configuration folder {} does not exist", dir.display());
    }
    let mut conf = Configuration::load_or_default(args.conf.as_deref()).context("load the configuration")?;
    define(&mut conf, &args.define)?;
    Ok(conf)
}

fn define(conf: &mut Configuration, pairs: &[String]) -> Result<()> {
    for pair in pairs {
        conf.apply_override(pair).with_context(|| format!("set -D {pair}"))?;
    }
    Ok(())
}

/// A command line as text. Errors: an argument is not UTF-8.
pub(crate) fn words(args: &[OsString]) -> Result<Vec<String>> {
    let word = |arg: &OsString| {
        let text = arg.to_str().map(str::to_owned);
        text.ok_or_else(|| anyhow!("an argument is not UTF-8: {}", arg.display()))
    };
    args.iter().map(word).collect()
}

/// Options that stand before a shell command: `-fs`, `-conf`, `-D`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct GenericOptions {
    /// `-fs`: instead of `fs.defaultFS`.
    pub(crate) fs: Option<String>,
    /// `-conf`: files, in order; or folders, as `--conf` takes them.
    pub(crate) conf: Vec<PathBuf>,
    /// `-D`.
    pub(crate) define: Vec<String>,
}

impl GenericOptions {
    /// Takes the options off the front of `args`; returns what is left.
    pub(crate) fn parse(args: &[String]) -> Result<(Self, Vec<String>)> {
        let mut options = Self::default();
        let mut args = args.iter();
        let mut rest = Vec::new();
        while let Some(arg) = args.next() {
            let mut value = |name: &str| args.next().cloned().with_context(|| format!("{name} wants a value"));
            match arg.as_str() {
                "-fs" | "--fs" => options.fs = Some(value(arg)?),
                "-conf" | "--conf" => options.conf.push(value(arg)?.into()),
                "-D" => options.define.push(value(arg)?),
                _ => match arg.strip_prefix("-D").filter(|pair| pair.contains('=')) {
                    Some(pair) => options.define.push(pair.to_owned()),
                    None => {
                        rest.push(arg.clone());
                        break;
                    }
                },
            }
        }
        rest.extend(args.cloned());
        Ok((options, rest))
    }

    /// The configuration these options give.
    pub(crate) fn configuration(&self) -> Result<Configuration> {
        let folder = self.conf.iter().find(|path| path.is_dir());
        let mut conf =
            Configuration::load_or_default(folder.map(PathBuf::as_path)).context("load the configuration")?;
        for file in self.conf.iter().filter(|path| !path.is_dir()) {
            conf.add_file(file)
                .with_context(|| format!("load {}", file.display()))?;
        }
        define(&mut conf, &self.define)?;
        if let Some(url) = &self.fs {
            conf.set("fs.defaultFS", url.as_str());
        }
        Ok(conf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generic_options_stand_first() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (options, rest) = GenericOptions::parse(&words("-fs hdfs://h:1 -Da=b -D c=d -ls -D /x")).expect("parses");
        assert_eq!(options.fs.as_deref(), Some("hdfs://h:1"));
        assert_eq!(options.define, ["a=b", "c=d"]);
        assert_eq!(rest, ["-ls", "-D", "/x"]);
        assert!(GenericOptions::parse(&words("-fs")).is_err());
    }

    #[test]
    fn the_url_wins_over_definitions() {
        let words: Vec<String> = ["-D", "fs.defaultFS=hdfs://a:1", "-fs", "hdfs://b:2", "-ls"]
            .map(str::to_owned)
            .into();
        let (options, _) = GenericOptions::parse(&words).expect("parses");
        let conf = options.configuration().expect("loads");
        assert_eq!(conf.text("fs.defaultFS").as_deref(), Some("hdfs://b:2"));
    }
}
