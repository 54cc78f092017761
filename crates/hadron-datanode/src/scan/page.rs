//! `/blockScannerReport`, in Hadoop's words.

use super::Scanners;
use super::schedule::Figures;
use hadron_replica::Volume;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

const OFF: &str = "Periodic block scanner is not running. Please check the datanode log if this is unexpected.";

impl Scanners {
    /// The page. `now`: monotonic time; `wall_ms`: Unix time.
    pub(crate) fn page(&self, volumes: &[Arc<Volume>], now: Duration, wall_ms: u64) -> String {
        if self.volumes.is_empty() {
            return OFF.to_owned();
        }
        let mut text = String::from("Block Scanner Statistics\n\n");
        for (volume, mailbox) in volumes
            .iter()
            .zip(&self.volumes)
            .filter(|(volume, _)| !volume.is_failed())
        {
            let (id, dir) = (volume.storage_id(), volume.dir().display());
            let _ = writeln!(text, "Block scanner information for volume {id} with base path {dir}");
            write_figures(&mut text, &mailbox.figures(), now, wall_ms);
            text.push('\n');
        }
        text
    }
}

fn write_figures(text: &mut String, figures: &Figures, now: Duration, wall_ms: u64) {
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<34}: {value:>57}");
    };
    line("Bytes verified in last hour", figures.bytes_in_hour.to_string());
    line("Blocks scanned in current period", figures.blocks_in_period.to_string());
    line("Blocks scanned since restart", figures.blocks.to_string());
    line("Block pool scans since restart", figures.rounds.to_string());
    line("Block scan errors since restart", figures.errors.to_string());
    if let Some(at) = figures.next_round {
        line(
            "Hours until next block pool scan",
            hours(at.saturating_sub(now).as_secs()),
        );
    }
    if let Some(at) = figures.period_ends_ms {
        line(
            "Hours until possible pool rescan",
            hours(at.saturating_sub(wall_ms) / 1000),
        );
    }
    let last = figures.last.as_deref().unwrap_or("none");
    line("Last block scanned", last.to_owned());
    line("More blocks to scan in period", (!figures.at_end).to_string());
}

/// Whole hours, with Hadoop's three zeros behind.
fn hours(seconds: u64) -> String {
    format!("{}.000", seconds / 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_hadoops() {
        let figures = Figures {
            bytes_in_hour: 5000,
            blocks_in_period: 1,
            blocks: 2,
            rounds: 3,
            errors: 4,
            next_round: Some(Duration::from_secs(3 * 3600 + 10)),
            period_ends_ms: Some(7_300_000),
            last: Some("BP-1:blk_1_2".into()),
            at_end: true,
        };
        let mut text = String::new();
        write_figures(&mut text, &figures, Duration::from_secs(10), 0);
        let value = |text: &str| format!("{text:>57}");
        let expected = [
            ("Bytes verified in last hour       : ", value("5000")),
            ("Blocks scanned in current period  : ", value("1")),
            ("Blocks scanned since restart      : ", value("2")),
            ("Block pool scans since restart    : ", value("3")),
            ("Block scan errors since restart   : ", value("4")),
            ("Hours until next block pool scan  : ", value("3.000")),
            ("Hours until possible pool rescan  : ", value("2.000")),
            ("Last block scanned                : ", value("BP-1:blk_1_2")),
            ("More blocks to scan in period     : ", value("false")),
        ];
        let expected: Vec<String> = expected.iter().map(|(name, value)| format!("{name}{value}")).collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
