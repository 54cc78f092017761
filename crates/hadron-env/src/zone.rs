//! The machine's time zone, for listings: reads `TZ` or /etc/localtime (TZif, RFC 8536) and gives the offset at a time.
//!
//! What it does not do: names of zones (a time outside UTC is shown with its offset), leap seconds, `TZ` rules that are not file names. Without a readable zone it is UTC.

use hadron_types::TimeMs;
use std::path::{Path, PathBuf};

/// Largest zone file that is read.
const MAX_ZONE_FILE_BYTES: usize = 1 << 20;

/// Offsets from UTC over time.
#[derive(Debug, Default)]
pub struct Zone {
    /// (from this second on, offset in seconds), ascending.
    changes: Vec<(i64, i64)>,
    /// Before the first change.
    first: i64,
    /// After the last change.
    rule: Option<Rule>,
}

/// A yearly rule as POSIX writes it, such as `CET-1CEST,M3.5.0,M10.5.0/3`.
#[derive(Debug, PartialEq)]
struct Rule {
    standard: i64,
    summer: Option<(i64, Day, Day)>,
}

/// The `week`th `weekday` of `month` (5: the last), `seconds` after local midnight.
#[derive(Debug, PartialEq, Clone, Copy)]
struct Day {
    month: u32,
    week: i64,
    weekday: i64,
    seconds: i64,
}

impl Zone {
    /// The zone of this process.
    pub fn local() -> Self {
        let path = match std::env::var("TZ") {
            Ok(name) if name.is_empty() => return Self::default(),
            Ok(name) => {
                let name = name.trim_start_matches(':');
                if name.starts_with('/') {
                    PathBuf::from(name)
                } else {
                    Path::new("/usr/share/zoneinfo").join(name)
                }
            }
            Err(_) => PathBuf::from("/etc/localtime"),
        };
        match std::fs::read(path) {
            Ok(bytes) if bytes.len() <= MAX_ZONE_FILE_BYTES => Self::parse(&bytes).unwrap_or_default(),
            _ => Self::default(),
        }
    }

    /// Reads a TZif file; `None` where it is not one.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let counts = |at: usize, index: usize| {
            let from = at + 20 + 4 * index;
            Some(u32::from_be_bytes(bytes.get(from..from + 4)?.try_into().ok()?) as usize)
        };
        if bytes.get(..4)? != b"TZif" {
            return None;
        }
        let (mut at, mut wide) = (0, 4);
        if *bytes.get(4)? >= b'2' {
            // The first block holds 32-bit times for old readers; skip to the second.
            let skip = counts(0, 3)? * 5
                + counts(0, 4)? * 6
                + counts(0, 5)?
                + counts(0, 2)? * 8
                + counts(0, 1)?
                + counts(0, 0)?;
            (at, wide) = (44 + skip, 8);
        }
        let (times, types, names) = (counts(at, 3)?, counts(at, 4)?, counts(at, 5)?);
        let tail = counts(at, 2)? * (wide + 4) + counts(at, 1)? + counts(at, 0)?;
        let times_at = at + 44;
        let index_at = times_at + times * wide;
        let types_at = index_at + times;
        let offset = |index: usize| {
            let from = types_at + index * 6;
            Some(i64::from(i32::from_be_bytes(
                bytes.get(from..from + 4)?.try_into().ok()?,
            )))
        };
        let mut changes = Vec::new();
        for number in 0..times {
            let from = times_at + number * wide;
            let raw = bytes.get(from..from + wide)?;
            let time = if wide == 8 {
                i64::from_be_bytes(raw.try_into().ok()?)
            } else {
                i64::from(i32::from_be_bytes(raw.try_into().ok()?))
            };
            changes.push((time, offset(usize::from(*bytes.get(index_at + number)?))?));
        }
        let rule = bytes
            .get(types_at + types * 6 + names + tail..)
            .and_then(|footer| std::str::from_utf8(footer).ok())
            .and_then(|footer| Rule::parse(footer.trim_matches('\n')));
        Some(Self {
            first: offset(0)?,
            changes,
            rule,
        })
    }

    /// Seconds to add to UTC seconds `at` for local time.
    pub fn offset(&self, at: i64) -> i64 {
        let known = self.changes.partition_point(|(from, _)| *from <= at);
        match (&self.rule, known) {
            (Some(rule), known) if known == self.changes.len() => rule.offset(at),
            (_, 0) => self.first,
            (_, known) => self.changes[known - 1].1,
        }
    }
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        let (zones, days) = match text.split_once(',') {
            Some((zones, days)) => (zones, Some(days.split_once(',')?)),
            None => (text, None),
        };
        let rest = skip_name(zones)?;
        let (offset, rest) = clock(rest)?;
        let standard = -offset;
        let Some((start, end)) = days else {
            return Some(Self { standard, summer: None });
        };
        let rest = skip_name(rest)?;
        let summer = if rest.is_empty() {
            standard + 3600
        } else {
            -clock(rest)?.0
        };
        Some(Self {
            standard,
            summer: Some((summer, Day::parse(start)?, Day::parse(end)?)),
        })
    }

    fn offset(&self, at: i64) -> i64 {
        let Some((summer, start, end)) = self.summer else {
            return self.standard;
        };
        let (year, _, _) = civil((at + self.standard).div_euclid(86_400));
        let from = start.in_year(year) - self.standard;
        let to = end.in_year(year) - summer;
        let inside = if from < to {
            (from..to).contains(&at)
        } else {
            !(to..from).contains(&at)
        };
        if inside { summer } else { self.standard }
    }
}

impl Day {
    fn parse(text: &str) -> Option<Self> {
        let (date, seconds) = match text.split_once('/') {
            Some((date, time)) => (date, clock(time)?.0),
            None => (text, 2 * 3600),
        };
        let mut parts = date.strip_prefix('M')?.split('.');
        Some(Self {
            month: parts.next()?.parse().ok()?,
            week: parts.next()?.parse().ok()?,
            weekday: parts.next()?.parse().ok()?,
            seconds,
        })
    }

    /// Local seconds since 1970 in `year`.
    fn in_year(self, year: i64) -> i64 {
        let first = days_to_month(year, self.month);
        let next = if self.month == 12 {
            days_to_month(year + 1, 1)
        } else {
            days_to_month(year, self.month + 1)
        };
        // 1970-01-01 was a Thursday.
        let mut day = first + (self.weekday - (first + 4)).rem_euclid(7) + 7 * (self.week - 1);
        while day >= next {
            day -= 7;
        }
        day * 86_400 + self.seconds
    }
}

/// Days from 1970-01-01 to the first of `month`.
fn days_to_month(year: i64, month: u32) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leaps = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let whole_years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    whole_years + BEFORE[(month.clamp(1, 12) - 1) as usize] + i64::from(leap && month > 2)
}

/// Year, month and day of a day number, 0 = 1970-01-01, in the Gregorian calendar.
pub fn civil(days: i64) -> (i64, u32, u32) {
    // Counted in eras of 400 years that begin on the first of March, so that the leap day comes last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, u32::try_from(month).unwrap_or(1), u32::try_from(day).unwrap_or(1))
}

/// A time of the calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Civil {
    /// Gregorian year.
    pub year: i64,
    /// 1..=12.
    pub month: u32,
    /// 1..=31.
    pub day: u32,
    /// 0..=23.
    pub hour: u32,
    /// 0..=59.
    pub minute: u32,
    /// 0..=59.
    pub second: u32,
    /// 0 is Sunday.
    pub weekday: u32,
    /// Seconds that were added to UTC.
    pub offset: i64,
}

/// The zone of this process, read once.
fn process_zone() -> &'static Zone {
    static ZONE: std::sync::OnceLock<Zone> = std::sync::OnceLock::new();
    ZONE.get_or_init(Zone::local)
}

/// `time` in the zone of this process.
pub fn local(time: TimeMs) -> Civil {
    let seconds = i64::try_from(time.0 / 1000).unwrap_or(0);
    let offset = process_zone().offset(seconds);
    let (days, rest) = (
        (seconds + offset).div_euclid(86_400),
        (seconds + offset).rem_euclid(86_400),
    );
    let (year, month, day) = civil(days);
    let part = |value: i64| u32::try_from(value).unwrap_or(0);
    Civil {
        year,
        month,
        day,
        hour: part(rest / 3600),
        minute: part(rest / 60 % 60),
        second: part(rest % 60),
        weekday: part((days + 4).rem_euclid(7)),
        offset,
    }
}

/// The time at which the clock of this process's zone shows this; `None` for a date that does not exist.
pub fn from_local(year: i64, month: u32, day: u32, hour: u32, minute: u32, second: u32) -> Option<TimeMs> {
    let days = days_to_month(year, month) + i64::from(day) - 1;
    if civil(days) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let shown = days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    let zone = process_zone();
    let guess = shown - zone.offset(shown);
    let seconds = shown - zone.offset(guess);
    u64::try_from(seconds).ok().map(|seconds| TimeMs(seconds * 1000))
}

/// `time` as `java.util.Date` prints it: `Sun Nov 22 04:39:46 UTC 2026`.
pub fn java_date(time: TimeMs) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let at = local(time);
    let zone = match at.offset {
        0 => "UTC".to_owned(),
        offset => {
            let sign = if offset < 0 { '-' } else { '+' };
            format!("GMT{sign}{:02}:{:02}", offset.abs() / 3600, offset.abs() / 60 % 60)
        }
    };
    format!(
        "{} {} {:02} {:02}:{:02}:{:02} {zone} {}",
        DAYS[at.weekday as usize % 7],
        MONTHS[(at.month as usize + 11) % 12],
        at.day,
        at.hour,
        at.minute,
        at.second,
        at.year
    )
}

fn skip_name(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('<') {
        return rest.split_once('>').map(|(_, rest)| rest);
    }
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    (end > 0).then(|| &text[end..])
}

/// Reads `[+-]hh[:mm[:ss]]`; returns seconds and what follows.
fn clock(text: &str) -> Option<(i64, &str)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits
        .find(|c: char| !c.is_ascii_digit() && c != ':')
        .unwrap_or(digits.len());
    let mut seconds = 0;
    for (part, unit) in digits[..end].split(':').zip([3600, 60, 1]) {
        seconds += part.parse::<i64>().ok()? * unit;
    }
    Some((sign * seconds, &digits[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yearly_rules() {
        let rule = Rule::parse("CET-1CEST,M3.5.0,M10.5.0/3").expect("a rule");
        for (at, expected) in [
            (1_795_312_167, 3600),
            (1_784_000_000, 7200),
            (1_774_746_000 - 1, 3600),
            (1_774_746_000, 7200),
            (1_792_890_000 - 1, 7200),
            (1_792_890_000, 3600),
        ] {
            assert_eq!(rule.offset(at), expected, "{at}");
        }
        assert_eq!(
            Rule::parse("UTC0"),
            Some(Rule {
                standard: 0,
                summer: None
            })
        );
        assert_eq!(
            Rule::parse("<+0530>-5:30"),
            Some(Rule {
                standard: 19_800,
                summer: None
            })
        );
        let south = Rule::parse("AEST-10AEDT,M10.1.0,M4.1.0/3").expect("a rule");
        assert_eq!(
            (south.offset(1_768_000_000), south.offset(1_784_000_000)),
            (39_600, 36_000)
        );
    }

    #[test]
    fn months_agree_with_the_calendar() {
        for (year, month) in [(1970, 1), (2000, 3), (2026, 11), (2100, 3), (1969, 12)] {
            assert_eq!(civil(days_to_month(year, month)), (year, month, 1));
        }
    }

    #[test]
    fn local_times_go_both_ways() {
        for seconds in [0, 951_782_400, 1_795_322_386, 1_798_761_599] {
            let time = TimeMs(seconds * 1000);
            let at = local(time);
            let back = from_local(at.year, at.month, at.day, at.hour, at.minute, at.second);
            assert_eq!(back, Some(time), "{at:?}");
        }
        assert_eq!(from_local(2026, 2, 29, 0, 0, 0), None);
        assert_eq!(from_local(2026, 13, 1, 0, 0, 0), None);
    }

    #[test]
    fn nonsense_is_no_zone() {
        assert!(Zone::parse(b"").is_none());
        assert!(Zone::parse(b"TZif2").is_none());
        assert_eq!(Zone::default().offset(0), 0);
    }
}
