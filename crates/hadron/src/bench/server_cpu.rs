//! CPU time of the server's processes while something is measured.
//!
//! What it does not do: tell the parts of a process apart, or count processes that came or went in between.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

/// The processes whose CPU time counts.
#[derive(Args, Clone, Default)]
pub(crate) struct ServerPids {
    /// Processes of the server on this machine, separated by commas: their CPU time during the run is reported too.
    #[arg(long, value_name = "PID,…", value_delimiter = ',')]
    pids: Vec<u32>,
}

impl ServerPids {
    /// CPU time the processes have used since they began, in steps of a clock tick (10 ms). Those that are gone count
    /// nothing.
    pub(crate) fn used(&self) -> Duration {
        let ticks: u64 = self.pids.iter().filter_map(|pid| ticks_of(*pid)).sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64)
    }

    /// Adds what was used since `before` to the line of a run of `count` operations.
    pub(crate) fn report(&self, line: &mut Map<String, Value>, before: Duration, count: usize) {
        if self.pids.is_empty() {
            return;
        }
        let used = self.used().saturating_sub(before);
        line.insert("server_cpu_s".into(), json!(used.as_secs_f64()));
        if count > 0 {
            let each = used.as_secs_f64() * 1e6 / count as f64;
            line.insert("server_cpu_us_per_op".into(), json!((each * 10.0).round() / 10.0));
        }
    }
}

fn ticks_of(pid: u32) -> Option<u64> {
    ticks_in(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// User and system time of a line of `/proc/PID/stat`; the program's name in it may hold anything.
fn ticks_in(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<u64>().ok();
    Some(field()? + field()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 1234 766 0 0 20 0";
        assert_eq!(ticks_in(stat), Some(2000));
        assert_eq!(ticks_in("42 (cut"), None);
        assert_eq!(ticks_in("42 (cut) S 1 2"), None);
    }
}
