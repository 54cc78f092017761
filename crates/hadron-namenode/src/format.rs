//! Bytes, shares and times as Hadoop's texts show them.
//!
//! Times are those of the machine's zone, which tools compare with the clock on the wall.
//! Source: Hadoop `StringUtils.byteDesc`, `DFSUtilClient.percent2String`, `java.util.Date.toString`.

use hadron_env::zone::{self, Civil};
use hadron_types::TimeMs;

/// A number of bytes in its largest unit: `1 GB` if that is exact, else with two decimals, `1.50 GB`.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
    let step = (63 - value.max(1).leading_zeros()) as usize / 10;
    let unit = 1_u64 << (10 * step);
    if value.is_multiple_of(unit) {
        return format!("{} {}", value / unit, UNITS[step]);
    }
    let text = format!("{:.2}", value as f64 / unit as f64);
    match UNITS.get(step + 1) {
        // Rounded up to the next unit.
        Some(next) if text.starts_with("1024") => format!("1.00 {next}"),
        _ => format!("{text} {}", UNITS[step]),
    }
}

/// `part` of `whole` with two decimals: `12.50%`. Of nothing it is all, as Hadoop has it for used space.
pub fn percent(part: u64, whole: u64) -> String {
    let share = match whole {
        0 => 100.0,
        _ => part as f64 * 100.0 / whole as f64,
    };
    format!("{share:.2}%")
}

/// `HH:mm:ss`.
pub fn clock_time(time: TimeMs) -> String {
    let Civil {
        hour, minute, second, ..
    } = zone::local(time);
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// `Sun Nov 22 04:39:46 UTC 2026`.
pub fn date(time: TimeMs) -> String {
    zone::java_date(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_exact_or_have_two_decimals() {
        for (value, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KB"),
            (1536, "1.50 KB"),
            (1 << 30, "1 GB"),
            (123_456_789, "117.74 MB"),
            ((1 << 20) - 1, "1.00 MB"),
        ] {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(percent(1, 8), "12.50%");
        assert_eq!(percent(0, 0), "100.00%");
    }
}
