//! Java `.properties` files as far as Hadoop's VERSION files use them.
//!
//! Reads comments, `=` and `:` separators, continuation lines and escapes; writes what Java would read back.
//! Does not keep the order or comments of a file it read. Invariant: `parse(render(p)) == p`.

use std::collections::BTreeMap;

/// Keys and values of one file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Parses a file's text. Every text is some set of properties, so this never fails.
    pub fn parse(text: &str) -> Self {
        let mut found = BTreeMap::new();
        let mut lines = text.lines();
        while let Some(first) = lines.next() {
            let mut line = first.trim_start().to_owned();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            while ends_with_continuation(&line) {
                line.pop();
                match lines.next() {
                    Some(next) => line.push_str(next.trim_start()),
                    None => break,
                }
            }
            let (key, value) = split(&line);
            found.insert(key, value);
        }
        Self(found)
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Sets `key`.
    pub fn set(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// The file's text, sorted by key, after a comment line.
    pub fn render(&self) -> String {
        let mut text = String::from("#Hadron storage directory\n");
        for (key, value) in &self.0 {
            escape(key, true, &mut text);
            text.push('=');
            escape(value, false, &mut text);
            text.push('\n');
        }
        text
    }
}

fn ends_with_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// Splits at the first unescaped separator and removes escapes from both halves.
fn split(line: &str) -> (String, String) {
    let mut key = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => unescape(&mut chars, &mut key),
            '=' | ':' => break,
            c if c.is_ascii_whitespace() => {
                while chars.peek().is_some_and(|c| c.is_ascii_whitespace()) {
                    chars.next();
                }
                if chars.peek().is_some_and(|c| matches!(c, '=' | ':')) {
                    chars.next();
                }
                break;
            }
            c => key.push(c),
        }
    }
    while chars.peek().is_some_and(|c| c.is_ascii_whitespace()) {
        chars.next();
    }
    let mut value = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' => unescape(&mut chars, &mut value),
            c => value.push(c),
        }
    }
    (key, value)
}

fn unescape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    match chars.next() {
        Some('t') => out.push('\t'),
        Some('n') => out.push('\n'),
        Some('r') => out.push('\r'),
        Some('f') => out.push('\u{c}'),
        Some('u') => {
            let digits: String = chars.by_ref().take(4).collect();
            let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            out.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Some(c) => out.push(c),
        None => {}
    }
}

fn escape(text: &str, is_key: bool, out: &mut String) {
    for (i, c) in text.chars().enumerate() {
        match c {
            ' ' if is_key || i == 0 => out.push_str("\\ "),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            c => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_a_file_of_apache() {
        let text = "#Tue Nov 03 10:00:00 UTC 2026\nstorageID=DS-1\nclusterID=CID\\:x\ncTime=0\n! note\n\
                    datanodeUuid = u-1\nstorageType:DATA_NODE\nlayoutVersion=-5\\\n  7\n";
        let read = Properties::parse(text);
        for (key, value) in [
            ("storageID", "DS-1"),
            ("clusterID", "CID:x"),
            ("datanodeUuid", "u-1"),
            ("storageType", "DATA_NODE"),
            ("layoutVersion", "-57"),
        ] {
            assert_eq!(read.get(key), Some(value), "{key}");
        }
        assert_eq!(read.get("absent"), None);
    }

    proptest! {
        #[test]
        fn renders_what_it_reads(pairs in proptest::collection::btree_map("[ -~\t\u{e9}]{1,12}", "[ -~\n\u{e9}]{0,12}", 0..6)) {
            let written = Properties(pairs);
            prop_assert_eq!(Properties::parse(&written.render()), written);
        }

        #[test]
        fn never_panics(text in ".{0,200}") {
            let _ = Properties::parse(&text);
        }
    }
}
