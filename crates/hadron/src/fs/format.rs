//! How Hadoop's shell writes sizes, times, percentages and tables.

use std::fmt::Write as _;

/// Bytes as they are, or with a binary prefix and one decimal (`1.5 K`) when `human`.
pub(crate) fn size(bytes: u64, human: bool) -> String {
    const PREFIXES: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
    if !human || bytes < 1024 {
        return bytes.to_string();
    }
    let mut prefix = (bytes.ilog2() / 10) as usize;
    let unit = 1_u128 << (10 * prefix);
    if u128::from(bytes).is_multiple_of(unit) {
        return format!("{} {}", u128::from(bytes) / unit, PREFIXES[prefix - 1]);
    }
    let tenths = |unit: u128| (u128::from(bytes) * 10 + unit / 2) / unit;
    let mut rounded = tenths(unit);
    if rounded >= 10_240 && prefix < PREFIXES.len() {
        prefix += 1;
        rounded = tenths(unit << 10);
    }
    format!("{}.{} {}", rounded / 10, rounded % 10, PREFIXES[prefix - 1])
}

/// A share in whole percent.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "NaN%".to_owned();
    }
    format!("{:.0}%", part as f64 / whole as f64 * 100.0)
}

/// `yyyy-MM-dd HH:mm:ss` of seconds since 1970 in that same zone.
pub(crate) fn date_time(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400);
    let of_day = seconds.rem_euclid(86_400);
    let (year, month, day) = hadron_env::zone::civil(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// Rows of aligned columns, two spaces apart. The last column is not padded.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right: &'static [usize],
    has_header: bool,
}

impl Table {
    /// `right`: columns aligned to the right.
    pub(crate) fn new(header: Option<&[&str]>, right: &'static [usize]) -> Self {
        let rows: Vec<Vec<String>> = header
            .iter()
            .map(|names| names.iter().map(|name| (*name).to_owned()).collect())
            .collect();
        Self {
            has_header: !rows.is_empty(),
            rows,
            right,
        }
    }

    pub(crate) fn add(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The whole table; nothing when it has no row but the header.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        if self.rows.len() <= usize::from(self.has_header) {
            return text;
        }
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                let width = widths[column];
                // Writing to a string does not fail.
                let _ = if self.right.contains(&column) {
                    write!(text, "{gap}{cell:>width$}")
                } else if column + 1 == columns {
                    write!(text, "{gap}{cell}")
                } else {
                    write!(text, "{gap}{cell:<width$}")
                };
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, expected) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1 K"),
            (1536, "1.5 K"),
            (1280, "1.3 K"),
            (1_048_575, "1.0 M"),
            (1 << 20, "1 M"),
            (811_659_522_048, "755.9 G"),
            (u64::MAX, "16.0 E"),
        ] {
            assert_eq!(size(bytes, true), expected);
        }
        assert_eq!(size(1 << 20, false), "1048576");
    }

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_795_312_167, "2026-11-22 01:49:27"),
            (-1, "1969-12-31 23:59:59"),
        ] {
            assert_eq!(date_time(seconds), expected);
        }
    }

    #[test]
    fn tables_align() {
        let mut table = Table::new(None, &[]);
        assert_eq!(table.render(), "");
        table.add(vec!["0".into(), "0".into(), "/j/a".into()]);
        table.add(vec!["16".into(), "1".into(), "/j".into()]);
        assert_eq!(table.render(), "0   0  /j/a\n16  1  /j\n");
        let mut table = Table::new(Some(&["File", "Use%"]), &[1]);
        table.add(vec!["a".into(), "1%".into()]);
        assert_eq!(table.render(), "File  Use%\na       1%\n");
    }
}
