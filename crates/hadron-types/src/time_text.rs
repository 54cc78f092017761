//! Times and spans of time as Hadoop writes them for cache directives.
//!
//! What it does not do: know time zones; who shows a time to somebody says how far the clock there is ahead.
//! Source: Hadoop `DFSUtilClient.durationToString`, `dateToIso8601String`, `DFSUtil.parseRelativeTime`.

use crate::TimeMs;

const DAY_SECS: u64 = 86_400;

/// `days:hours:minutes:seconds.millis`, e.g. `002:04:30:00.000`.
pub fn duration_text(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    let seconds = millis / 1000;
    format!(
        "{sign}{:03}:{:02}:{:02}:{:02}.{:03}",
        seconds / DAY_SECS,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        millis % 1000
    )
}

impl TimeMs {
    /// `yyyy-MM-ddTHH:mm:ss+hhmm` on a clock that is `offset_secs` ahead of UTC.
    pub fn iso8601(self, offset_secs: i32) -> String {
        let seconds = i64::try_from(self.0 / 1000).unwrap_or(i64::MAX) + i64::from(offset_secs);
        let (year, month, day) = civil(seconds.div_euclid(DAY_SECS as i64));
        let of_day = seconds.rem_euclid(DAY_SECS as i64);
        let (sign, offset) = (if offset_secs < 0 { '-' } else { '+' }, offset_secs.unsigned_abs());
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{sign}{:02}{:02}",
            of_day / 3600,
            of_day / 60 % 60,
            of_day % 60,
            offset / 3600,
            offset / 60 % 60
        )
    }
}

/// Year, month and day of a number of days since 1970-01-01, by the calendar of today.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that a leap day ends its year.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Milliseconds of a span as people write it: a number and `s`, `m`, `h` or `d`.
///
/// Errors: what is wrong with it, in Hadoop's words.
pub fn parse_relative_time(text: &str) -> Result<i64, String> {
    let unable = |why: String| format!("Unable to parse relative time value of {text}: {why}");
    if text.encode_utf16().count() < 2 {
        return Err(unable("too short".to_owned()));
    }
    let Some((unit_at, unit)) = text.char_indices().next_back() else {
        return Err(unable("too short".to_owned()));
    };
    let number = &text[..unit_at];
    let count: i64 = number
        .parse()
        .map_err(|_| unable(format!("{number} is not a number")))?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        unit => return Err(unable(format!("unknown time unit {unit}"))),
    };
    // Java's arithmetic.
    Ok(count.wrapping_mul(seconds).wrapping_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_hadoop_does() {
        for (millis, text) in [
            (0, "000:00:00:00.000"),
            (1_800_000, "000:00:30:00.000"),
            (188_999_123, "002:04:29:59.123"),
            (-1500, "-000:00:00:01.500"),
            (i64::MAX / 4, "26687997791:19:48:13.951"),
        ] {
            assert_eq!(duration_text(millis), text);
        }
    }

    #[test]
    fn times_are_written_as_hadoop_does() {
        for (millis, offset, text) in [
            (0, 0, "1970-01-01T00:00:00+0000"),
            (951_782_400_000, 3600, "2000-02-29T01:00:00+0100"),
            (1_700_000_000_999, -12_600, "2023-11-14T18:43:20-0330"),
            (1_709_251_199_000, 0, "2024-02-29T23:59:59+0000"),
        ] {
            assert_eq!(TimeMs(millis).iso8601(offset), text);
        }
    }

    #[test]
    fn spans_are_read_as_hadoop_does() {
        let unable = |text: &str, why: &str| Err(format!("Unable to parse relative time value of {text}: {why}"));
        for (text, result) in [
            ("30m", Ok(1_800_000)),
            ("4h", Ok(14_400_000)),
            ("2d", Ok(172_800_000)),
            ("-5s", Ok(-5_000)),
            ("s", unable("s", "too short")),
            ("", unable("", "too short")),
            ("5x", unable("5x", "unknown time unit x")),
            ("abcs", unable("abcs", "abc is not a number")),
        ] {
            assert_eq!(parse_relative_time(text), result);
        }
    }
}
