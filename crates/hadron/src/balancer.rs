//! `hadron balancer`: evens out how full DataNodes are, with the options, lines and exit codes of `hdfs balancer`.
//!
//! What it does not do: the work, which is `hadron_client::balancer`'s. The table goes to standard output; a bar to
//! standard error while somebody watches.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{IsTerminal, stderr};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use hadron_client::balancer::{BalancerOptions, BalancingPolicy, Event, ExitStatus, IterationReport, run};
use hadron_env::config::{Configuration, keys};
use hadron_env::zone;
use hadron_namenode::format::bytes;
use hadron_types::TimeMs;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::settings::{GenericOptions, runtime};

const USAGE: &str = "Usage: hdfs balancer
\t[-policy <policy>]\tdatanode (the default) or blockpool
\t[-threshold <threshold>]\tPercent of the capacity that a datanode may be off the average, 1 to 100 (10)
\t[-exclude [-f <hosts-file> | <comma-separated list of hosts>]]\tDatanodes that take no part
\t[-include [-f <hosts-file> | <comma-separated list of hosts>]]\tThe only datanodes that take part
\t[-source [-f <hosts-file> | <comma-separated list of hosts>]]\tThe only datanodes that give blocks away
\t[-blockpools <comma-separated list of blockpool ids>]\tThe only block pools to balance
\t[-idleiterations <idleiterations>]\tIterations without a move before it ends (5), -1: never
\t[-runDuringUpgrade]\tRun although an upgrade is not finalized: what moves is not deleted where it was
";
/// The head of the table.
const HEAD: &str =
    "Time Stamp               Iteration#  Bytes Already Moved  Bytes Left To Move  Bytes Being Moved  NameNode";

/// Exit code of wrong usage: Hadoop's balancer ends with -1 there.
const USAGE_CODE: u8 = 255;

/// Balances.
#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn main(args: &[OsString]) -> Result<ExitCode> {
    let started = Instant::now();
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (generic, words) = GenericOptions::parse(&words)?;
    if words
        .iter()
        .any(|word| matches!(word.as_str(), "-h" | "-help" | "--help"))
    {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let options = match parse(&words, |name| std::fs::read_to_string(name)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return Ok(ExitCode::from(USAGE_CODE));
        }
    };
    let conf = generic.configuration()?;
    let status = runtime()?.block_on(balance(&conf, &options))?;
    println!("{:<24} Balancing took {}", time_stamp(now()), took(started.elapsed()));
    Ok(ExitCode::from(status.code()))
}

#[allow(clippy::print_stdout, reason = "the command's result")]
async fn balance(conf: &Configuration, options: &BalancerOptions) -> Result<ExitStatus> {
    let urls = urls(conf);
    tracing::info!(?urls, ?options, "balancing");
    println!("{HEAD}");
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        stopping.cancel();
    });
    let mut bar: Option<ProgressBar> = None;
    let mut tell = |event| {
        if !matches!(event, Event::Moved { .. })
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
        match event {
            Event::Message(text) => println!("{text}"),
            Event::Skipped(pool) => tracing::info!(%pool, "skipping a block pool"),
            Event::Planned { left, bytes: planned } => {
                tracing::info!(left = %bytes(left), planned = %bytes(planned), "an iteration begins");
                bar = stderr().is_terminal().then(|| progress(planned));
            }
            Event::Moved { bytes } => {
                if let Some(bar) = &bar {
                    bar.set_position(bytes);
                }
            }
            Event::Iteration(report) => println!("{}", row(&report, now())),
        }
    };
    Ok(run(conf, &urls, options, &stop, &mut tell).await)
}

/// Every name service of the configuration, else the one file system.
fn urls(conf: &Configuration) -> Vec<String> {
    let services = conf.get(keys::DFS_NAMESERVICES);
    if services.is_empty() {
        return vec![conf.get(keys::FS_DEFAULT_FS)];
    }
    services.iter().map(|name| format!("hdfs://{name}")).collect()
}

fn progress(planned: u64) -> ProgressBar {
    let bar = ProgressBar::new(planned);
    if let Ok(style) =
        ProgressStyle::with_template("moving [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Reads the options; `read` gives the content of a file. The error is for the user.
fn parse(words: &[String], read: impl Fn(&str) -> std::io::Result<String>) -> Result<BalancerOptions, String> {
    let mut options = BalancerOptions::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = |what: &str| {
            rest.next()
                .cloned()
                .ok_or_else(|| format!("{what} is missing: args = {words:?}"))
        };
        match word.to_ascii_lowercase().as_str() {
            "-threshold" => {
                let text = value("Threshold value")?;
                let number = text.parse().ok().filter(|number| (1.0..=100.0).contains(number));
                options.threshold =
                    number.ok_or_else(|| format!("Expecting a number in the range of [1.0, 100.0]: {text}"))?;
            }
            "-policy" => {
                let text = value("Policy value")?;
                options.policy = match text.to_ascii_lowercase().as_str() {
                    "datanode" => BalancingPolicy::Datanode,
                    "blockpool" => BalancingPolicy::BlockPool,
                    _ => return Err(format!("Illegal policy name: {text}")),
                };
            }
            "-idleiterations" => {
                let text = value("idleiterations value")?;
                let number = text.parse();
                options.max_idle_iterations = number.map_err(|_| format!("idleiterations is not a number: {text}"))?;
            }
            "-blockpools" => options.block_pools = list(&value("List of blockpool ids")?),
            "-runduringupgrade" => options.run_during_upgrade = true,
            "-asservice" => {
                return Err("-asService is not supported: start the balancer again, from cron for example".to_owned());
            }
            "-exclude" => options.excluded = hosts(&mut value, &read, "exclude")?,
            "-include" => options.included = hosts(&mut value, &read, "include")?,
            "-source" => options.sources = hosts(&mut value, &read, "source")?,
            _ => return Err(format!("args = {words:?}")),
        }
    }
    match options.excluded.is_empty() || options.included.is_empty() {
        true => Ok(options),
        false => Err("-exclude and -include options cannot be specified together.".to_owned()),
    }
}

fn list(text: &str) -> BTreeSet<String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// A list of hosts, or after `-f` a file of them, one a line.
fn hosts(
    value: &mut impl FnMut(&str) -> Result<String, String>,
    read: &impl Fn(&str) -> std::io::Result<String>,
    what: &str,
) -> Result<BTreeSet<String>, String> {
    let first = value(&format!("List of nodes to {what} | -f <filename>"))?;
    if !first.eq_ignore_ascii_case("-f") {
        return Ok(list(&first));
    }
    let name = value(&format!("File containing nodes to {what}"))?;
    let text = read(&name).map_err(|error| format!("cannot read {name}: {error}"))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    Ok(lines.flat_map(str::split_whitespace).map(str::to_owned).collect())
}

/// A row of the table, with Hadoop's columns.
fn row(report: &IterationReport, now: TimeMs) -> String {
    format!(
        "{:<24} {:>10}  {:>19}  {:>18}  {:>17}  {}",
        time_stamp(now),
        report.number,
        bytes(report.moved),
        bytes(report.left),
        bytes(report.planned),
        report.namenode
    )
}

fn now() -> TimeMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `Nov 22, 2026 6:49:01 PM`, in local time.
fn time_stamp(time: TimeMs) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let at = zone::local(time);
    let month = MONTHS[(at.month as usize + 11) % 12];
    let hour = match at.hour % 12 {
        0 => 12,
        hour => hour,
    };
    let half = if at.hour < 12 { "AM" } else { "PM" };
    let (day, year, minute, second) = (at.day, at.year, at.minute, at.second);
    format!("{month} {day}, {year} {hour}:{minute:02}:{second:02} {half}")
}

/// A time with its unit.
fn took(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_secs() {
        0 => format!("{} milliseconds", time.as_millis()),
        1..60 => format!("{seconds} seconds"),
        60..3600 => format!("{} minutes", seconds / 60.0),
        _ => format!("{} hours", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<BalancerOptions, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        parse(&words, |name| match name {
            "hosts" => Ok("one:9866 # the first\n\n two\nthree four\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        })
    }

    #[test]
    fn options_are_read_in_any_case() {
        let found = parsed(
            "-THRESHOLD 2.5 -policy BlockPool -idleIterations -1 -exclude a,b:1 -source -f hosts -blockpools BP-1,BP-2 \
             -runDuringUpgrade",
        );
        let set = |text: &str| list(text);
        let expected = BalancerOptions {
            policy: BalancingPolicy::BlockPool,
            threshold: 2.5,
            max_idle_iterations: -1,
            excluded: set("a,b:1"),
            included: BTreeSet::new(),
            sources: set("one:9866,two,three,four"),
            block_pools: set("BP-1,BP-2"),
            run_during_upgrade: true,
        };
        assert_eq!(found, Ok(expected));
        assert_eq!(parsed(""), Ok(BalancerOptions::default()));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        for (text, problem) in [
            ("-threshold", "Threshold value is missing"),
            ("-threshold 0.5", "range of [1.0, 100.0]: 0.5"),
            ("-threshold x", "range of [1.0, 100.0]: x"),
            ("-policy rack", "Illegal policy name: rack"),
            ("-idleiterations many", "not a number"),
            ("-include a -exclude b", "cannot be specified together"),
            ("-exclude -f", "File containing nodes to exclude is missing"),
            ("-exclude -f nothing", "cannot read nothing"),
            ("-asService", "not supported"),
            ("-fast", "args = [\"-fast\"]"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn rows_have_hadoops_columns() {
        let report = IterationReport {
            number: 3,
            moved: 1536,
            left: 10 << 20,
            planned: 0,
            namenode: "hdfs://nn:8020".to_owned(),
        };
        let time = time_stamp(TimeMs(0));
        let expected = format!(
            "{time:<24}          3              1.50 KB               10 MB                0 B  hdfs://nn:8020"
        );
        assert_eq!(row(&report, TimeMs(0)), expected);
        assert_eq!(HEAD.find("NameNode"), Some(expected.find("hdfs:").unwrap_or(0)));
        assert_eq!(took(Duration::from_millis(90_000)), "1.5 minutes");
        assert_eq!(took(Duration::from_millis(12)), "12 milliseconds");
    }
}
