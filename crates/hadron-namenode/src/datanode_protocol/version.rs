//! Comparing version strings as Hadoop's `VersionUtil` (Maven's `ComparableVersion`) does, as far as releases need it.
//!
//! Numbers compare as numbers; at the same place a qualifier such as `alpha`, `beta`, `rc` or `SNAPSHOT` comes before
//! the release and any other word after it.

use std::cmp::Ordering;

/// Orders two versions, e.g. `2.1.0-beta` before `2.1.0` before `2.7.3` before `3.3.6`.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (parts(a), parts(b));
    let release = Part::Number(0);
    for index in 0..a.len().max(b.len()) {
        let (left, right) = (a.get(index).unwrap_or(&release), b.get(index).unwrap_or(&release));
        let order = left.rank().cmp(&right.rank()).then_with(|| left.cmp(right));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl Part {
    /// 0..=4 for what precedes a release, 5 for the release itself, more for what follows it.
    fn rank(&self) -> u8 {
        match self {
            Self::Number(0) => 5,
            Self::Number(_) => 7,
            Self::Word(word) => match word.as_str() {
                "alpha" | "a" => 0,
                "beta" | "b" => 1,
                "milestone" | "m" => 2,
                "rc" | "cr" => 3,
                "snapshot" => 4,
                "" | "ga" | "final" => 5,
                _ => 6,
            },
        }
    }
}

fn parts(version: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for piece in version.split(['.', '-', '_']) {
        let lower = piece.to_ascii_lowercase();
        let mut rest = lower.as_str();
        while !rest.is_empty() {
            let is_digit = rest.starts_with(|c: char| c.is_ascii_digit());
            let cut = rest
                .find(|c: char| c.is_ascii_digit() != is_digit)
                .unwrap_or(rest.len());
            let (head, tail) = rest.split_at(cut);
            parts.push(match is_digit {
                true => Part::Number(head.parse().unwrap_or(u64::MAX)),
                false => Part::Word(head.to_owned()),
            });
            rest = tail;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_in_order() {
        let ascending = [
            "1.2.1",
            "2.0.5-alpha",
            "2.1.0-alpha",
            "2.1.0-beta",
            "2.1.0-SNAPSHOT",
            "2.1.0",
            "2.1.1",
            "2.7.3",
            "2.7.3.2.6",
            "2.10.0",
            "3.0.0-alpha1",
            "3.0.0-beta1",
            "3.0.0",
            "3.3.6",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("3.3", "3.3.0"), Ordering::Equal);
        assert_eq!(compare("2.1.0-beta", "2.1.0-BETA"), Ordering::Equal);
    }

    #[test]
    fn any_text_is_some_version() {
        for odd in ["", "-", "...", "99999999999999999999.1", "é", "1..2"] {
            assert_eq!(compare(odd, odd), Ordering::Equal, "{odd}");
        }
    }
}
