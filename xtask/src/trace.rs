//! `cargo xtask trace`: which requirements no test names yet.
//!
//! A requirement is a table row of `docs/requirements.md` that starts with an id such as `WP-27`; a test names it by a
//! comment holding the word `covers`, a colon and a comma separated list. The command reports and never fails: how much is
//! covered is a fact of the day, not a lint. (Ids that do not exist are an error of `tidy`.)

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};

use crate::run::root;
use crate::tidy::source_files;

/// Prints covered and missing counts per family; with `--missing` also the missing ids.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let required = required_ids(&root())?;
    let covered: BTreeSet<String> = covered_ids(&root())?.into_iter().map(|(id, _)| id).collect();
    let mut families: BTreeMap<&str, (usize, Vec<&str>)> = BTreeMap::new();
    for id in &required {
        let family = families.entry(family(id)).or_default();
        if covered.contains(id) {
            family.0 += 1;
        } else {
            family.1.push(id);
        }
    }
    let mut named = 0;
    for (family, (done, missing)) in &families {
        named += done;
        println!(
            "{family}: {done} of {} requirements are named by a test",
            done + missing.len()
        );
        if args.iter().any(|arg| arg == "--missing") && !missing.is_empty() {
            println!("    no test names {}", missing.join(" "));
        }
    }
    println!("all: {named} of {}", required.len());
    Ok(())
}

/// Every id of `docs/requirements.md`, in order.
pub(crate) fn required_ids(root: &Path) -> Result<BTreeSet<String>> {
    let path = root.join("docs/requirements.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(text.lines().filter_map(row_id).map(str::to_owned).collect())
}

/// Every id a test names, with the file that does.
pub(crate) fn covered_ids(root: &Path) -> Result<Vec<(String, String)>> {
    let marker = ["covers", ":"].concat();
    let mut ids = Vec::new();
    for file in source_files(root)? {
        if file.starts_with("xtask/") || file.ends_with(".md") {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root.join(&file)) else {
            continue;
        };
        for line in text.lines() {
            let Some((before, list)) = line.split_once(&marker) else {
                continue;
            };
            if !before.contains("//") && !before.contains('#') {
                continue;
            }
            ids.extend(
                list.split([',', ' '])
                    .map(str::trim)
                    .filter(|id| is_id(id))
                    .map(|id| (id.to_owned(), file.clone())),
            );
        }
    }
    Ok(ids)
}

fn row_id(line: &str) -> Option<&str> {
    let id = line.strip_prefix("| ")?.split(" |").next()?;
    is_id(id).then_some(id)
}

fn is_id(word: &str) -> bool {
    let Some((family, number)) = word.split_once('-') else {
        return false;
    };
    family.len() == 2
        && family.bytes().all(|byte| byte.is_ascii_uppercase())
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn family(id: &str) -> &str {
    id.split('-').next().unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_two_letters_and_a_number() {
        for (word, expected) in [
            ("WP-27", true),
            ("WP-", false),
            ("wp-2", false),
            ("X-2", false),
            ("WP-2a", false),
        ] {
            assert_eq!(is_id(word), expected, "{word}");
        }
    }

    #[test]
    fn rows_start_with_their_id() {
        assert_eq!(row_id("| LM-01 | 004 | what | how |"), Some("LM-01"));
        assert_eq!(row_id("| id | seed | what | how |"), None);
        assert_eq!(row_id("text LM-01"), None);
    }
}
