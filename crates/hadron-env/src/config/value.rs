//! Kinds of values: how text becomes a number, a size, a duration.
//!
//! What it is for: the type parameter of [`super::Key`]. Invariants: parsing never panics; overflow is an error.

use std::time::Duration;

use super::KeyInfo;

/// A kind of value.
pub trait Kind: Copy {
    /// What a getter returns.
    type Value;
    /// Name for documentation.
    const NAME: &'static str;
    /// Reads trimmed text. `Ok(None)`: take the default. `Err`: what is wrong.
    fn parse(text: &str, info: &KeyInfo) -> Result<Option<Self::Value>, String>;
    /// What a key without text and without default gives.
    fn absent() -> Self::Value;
}

/// The marker types.
pub mod kind {
    /// `true` or `false`; other text means the default.
    #[derive(Clone, Copy, Debug)]
    pub struct Bool;
    /// A whole number that may be negative: `i64`.
    #[derive(Clone, Copy, Debug)]
    pub struct Int;
    /// A whole number from 0: `usize`.
    #[derive(Clone, Copy, Debug)]
    pub struct Count;
    /// Bytes with k, m, g, t, p, e suffixes: `u64`.
    #[derive(Clone, Copy, Debug)]
    pub struct Size;
    /// A fraction: `f64`. A trailing f or d, as in Java, is accepted.
    #[derive(Clone, Copy, Debug)]
    pub struct Float;
    /// A time with optional unit; the bare unit is the key's. Negative values give zero.
    #[derive(Clone, Copy, Debug)]
    pub struct Time;
    /// Text: `String`, empty when absent.
    #[derive(Clone, Copy, Debug)]
    pub struct Text;
    /// Text that may be absent: `Option<String>`; empty counts as absent.
    #[derive(Clone, Copy, Debug)]
    pub struct OptText;
    /// Comma-separated, trimmed, empty items left out: `Vec<String>`.
    #[derive(Clone, Copy, Debug)]
    pub struct List;
}

impl Kind for kind::Bool {
    type Value = bool;
    const NAME: &'static str = "boolean";
    fn parse(text: &str, _: &KeyInfo) -> Result<Option<bool>, String> {
        Ok(match text {
            _ if text.eq_ignore_ascii_case("true") => Some(true),
            _ if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        })
    }
    fn absent() -> bool {
        false
    }
}

impl Kind for kind::Int {
    type Value = i64;
    const NAME: &'static str = "integer";
    fn parse(text: &str, _: &KeyInfo) -> Result<Option<i64>, String> {
        parse_integer(text).map(Some)
    }
    fn absent() -> i64 {
        0
    }
}

impl Kind for kind::Count {
    type Value = usize;
    const NAME: &'static str = "count";
    fn parse(text: &str, _: &KeyInfo) -> Result<Option<usize>, String> {
        usize::try_from(parse_integer(text)?)
            .map(Some)
            .map_err(|_| "must not be negative".into())
    }
    fn absent() -> usize {
        0
    }
}

impl Kind for kind::Size {
    type Value = u64;
    const NAME: &'static str = "size";
    fn parse(text: &str, _: &KeyInfo) -> Result<Option<u64>, String> {
        parse_size(text).map(Some)
    }
    fn absent() -> u64 {
        0
    }
}

impl Kind for kind::Float {
    type Value = f64;
    const NAME: &'static str = "fraction";
    fn parse(text: &str, _: &KeyInfo) -> Result<Option<f64>, String> {
        let digits = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
        match digits.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err("is not a number".into()),
        }
    }
    fn absent() -> f64 {
        0.0
    }
}

impl Kind for kind::Time {
    type Value = Duration;
    const NAME: &'static str = "duration";
    fn parse(text: &str, info: &KeyInfo) -> Result<Option<Duration>, String> {
        parse_duration(text, info.unit).map(Some)
    }
    fn absent() -> Duration {
        Duration::ZERO
    }
}

impl Kind for kind::Text {
    type Value = String;
    const NAME: &'static str = "text";
    fn parse(text: &str, _: &KeyInfo) -> Result<Option<String>, String> {
        Ok(Some(text.to_owned()))
    }
    fn absent() -> String {
        String::new()
    }
}

impl Kind for kind::OptText {
    type Value = Option<String>;
    const NAME: &'static str = "text";
    fn parse(text: &str, _: &KeyInfo) -> Result<Option<Option<String>>, String> {
        Ok(Some(Some(text.to_owned()).filter(|text| !text.is_empty())))
    }
    fn absent() -> Option<String> {
        None
    }
}

impl Kind for kind::List {
    type Value = Vec<String>;
    const NAME: &'static str = "list";
    fn parse(text: &str, _: &KeyInfo) -> Result<Option<Vec<String>>, String> {
        let items = text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
        Ok(Some(items.map(str::to_owned).collect()))
    }
    fn absent() -> Vec<String> {
        Vec::new()
    }
}

fn parse_integer(text: &str) -> Result<i64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "is not a whole number".into())
}

/// Reads a size in bytes: a whole number with an optional suffix k, m, g, t, p or e (powers of 1024, any case).
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.chars().last().map(|c| c.to_ascii_lowercase()) {
        Some('k') => (&text[..text.len() - 1], 10),
        Some('m') => (&text[..text.len() - 1], 20),
        Some('g') => (&text[..text.len() - 1], 30),
        Some('t') => (&text[..text.len() - 1], 40),
        Some('p') => (&text[..text.len() - 1], 50),
        Some('e') => (&text[..text.len() - 1], 60),
        _ => (text, 0),
    };
    let number: u64 = digits
        .trim()
        .parse()
        .map_err(|_| "is not a size (digits, then k, m, g, t, p or e)".to_owned())?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| "is larger than 2^63 - 1 bytes".into())
}

/// Reads a duration: a number with an optional unit ns, us, ms, s, m, h or d. `bare_unit` is the unit of a number
/// without one: "ms", "s", "min", "h". Negative numbers (Hadoop's "never") give zero.
pub fn parse_duration(text: &str, bare_unit: &str) -> Result<Duration, String> {
    let lower = text.to_ascii_lowercase();
    let units = [
        ("ns", 1_u64),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", SECOND),
        ("m", 60 * SECOND),
        ("h", 3600 * SECOND),
    ];
    let units = units.into_iter().chain([("d", 86_400 * SECOND)]);
    let bare = match bare_unit {
        "ms" => 1_000_000,
        "min" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => SECOND,
    };
    let mut found = (lower.as_str(), bare);
    for (suffix, nanos) in units {
        if let Some(digits) = lower.strip_suffix(suffix) {
            found = (digits, nanos);
            break;
        }
    }
    let (digits, nanos) = found;
    let number: i64 = digits
        .trim()
        .parse()
        .map_err(|_| "is not a duration (digits, then ns, us, ms, s, m, h or d)".to_owned())?;
    let total = u128::from(u64::try_from(number).unwrap_or(0)) * u128::from(nanos);
    let seconds = u64::try_from(total / u128::from(SECOND)).map_err(|_| "is too long".to_owned())?;
    Ok(Duration::new(
        seconds,
        u32::try_from(total % u128::from(SECOND)).unwrap_or(0),
    ))
}

const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("0", Some(0)),
            ("512", Some(512)),
            ("1k", Some(1024)),
            ("128M", Some(128 << 20)),
            ("7E", Some(7 << 60)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
        for text in ["", "k", "-1", "8e", "1.5g", "1kb", "99999999999999999999"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        let cases = [
            ("3", "s", Duration::from_secs(3)),
            ("3", "ms", Duration::from_millis(3)),
            ("1500ms", "s", Duration::from_millis(1500)),
            ("10m", "ms", Duration::from_secs(600)),
            ("2 H", "s", Duration::from_secs(7200)),
            ("1d", "s", Duration::from_secs(86_400)),
            ("7us", "s", Duration::from_micros(7)),
            ("-1", "s", Duration::ZERO),
            ("504", "h", Duration::from_secs(504 * 3600)),
        ];
        for (text, unit, expected) in cases {
            assert_eq!(parse_duration(text, unit), Ok(expected), "{text}");
        }
        assert!(parse_duration("soon", "s").is_err());
        assert!(parse_duration("", "s").is_err());
    }
}
