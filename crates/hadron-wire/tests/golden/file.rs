//! Reading the recordings.

use bytes::Bytes;
use std::path::Path;

/// The lines of a recording: name and bytes.
pub(crate) fn read(name: &str) -> Vec<(String, Bytes)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let line = |line: &str| {
        let (name, hex) = line.split_once(' ')?;
        Some((name.to_owned(), unhex(hex)))
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(line)
        .collect()
}

/// The bytes of all lines called `name`.
pub(crate) fn all(lines: &[(String, Bytes)], name: &str) -> Vec<Bytes> {
    lines
        .iter()
        .filter(|line| line.0 == name)
        .map(|line| line.1.clone())
        .collect()
}

fn unhex(text: &str) -> Bytes {
    let digit = |index: usize| u8::from_str_radix(&text[index..index + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digit).collect()
}
