//! `cargo xtask tidy`: the house lints that no compiler knows.
//!
//! What it checks: which crate may depend on which, that pure crates touch no I/O, clock or randomness, that each file
//! opens with its purpose and stays readable in size, that tests neither sleep nor hide, that documents stand alone and
//! cite only requirements that exist. What it does not do: it reads text, not syntax, so rules are plain enough for that; a
//! line that must break one says `tidy: allow(rule)` and why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::run::{cargo, output, root};
use crate::trace::{covered_ids, required_ids};

const MAX_FILE_LINES: usize = 1000;

/// Crates by tier. A crate may depend on its own tier and on those before it.
const TIERS: &[(&str, &[&str])] = &[
    (
        "pure",
        &[
            "hadron-types",
            "hadron-proto",
            "hadron-wire",
            "hadron-pipeline",
            "hadron-namespace",
            "hadron-blockmap",
        ],
    ),
    ("seam", &["hadron-env", "hadron-config"]),
    (
        "shell",
        &[
            "hadron-net",
            "hadron-writecache",
            "hadron-journal",
            "hadron-replica",
            "hadron-shm",
        ],
    ),
    (
        "service",
        &["hadron-namenode", "hadron-datanode", "hadron-client", "hadron-web"],
    ),
    ("binary", &["hadron", "hadron-testkit", "hadron-sim", "hadron-bench"]),
];

/// The only crate that may hold unsafe code.
const UNSAFE_CRATE: &str = "hadron-shm";

/// Outside of the product: what Hadoop's Java code calls natively, which is nothing but unsafe. Judges alone load it.
const UNSAFE_JUDGING: &str = "interop/native-hadoop/";

/// Outside crates that bring I/O, clocks, threads or randomness.
const NOT_PURE: &[&str] = &[
    "tokio",
    "tokio-util",
    "mio",
    "rustix",
    "libc",
    "socket2",
    "tempfile",
    "axum",
    "rand",
    "getrandom",
    "fastrand",
    "uuid",
    "signal-hook",
    "chrono",
    "time",
    "rayon",
    "crossbeam",
    "memmap2",
];

/// Text that gives away I/O, a clock, a thread or randomness in a pure crate. (`core::net` holds plain addresses.)
const NOT_PURE_TEXT: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env::",
    "std::io::stdin",
    "SystemTime",
    "Instant::now",
    "time::Instant",
    "TcpStream",
    "UdpSocket",
    "RandomState::new",
];

/// Collects what is wrong.
#[derive(Default)]
struct Findings {
    lines: Vec<String>,
}

impl Findings {
    fn add(&mut self, place: impl std::fmt::Display, what: impl std::fmt::Display) {
        self.lines.push(format!("{place}: {what}"));
    }
}

/// Checks everything and fails with the list of findings.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let mut findings = Findings::default();
    check_tiers(&mut findings)?;
    let files = source_files(&root)?;
    let mut checked = 0;
    for file in &files {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else {
            continue;
        };
        checked += 1;
        check_words(file, &text, &mut findings);
        if file.ends_with(".rs") {
            check_rust(file, &text, &mut findings);
        }
        if file.ends_with(".md") {
            check_links(&root, file, &text, &mut findings);
        }
    }
    check_requirements(&root, &mut findings)?;
    check_architecture(&root, &mut findings)?;
    if findings.lines.is_empty() {
        println!("tidy: {checked} files are in order");
        return Ok(());
    }
    for line in &findings.lines {
        println!("{line}");
    }
    bail!("{} findings", findings.lines.len());
}

/// Paths, relative to the root, of every file git knows or would take.
pub(crate) fn source_files(root: &Path) -> Result<Vec<String>> {
    let listed = output(
        std::process::Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root),
    )?;
    let kinds = ["rs", "md", "toml", "py", "sh", "java", "proto", "txt", "run"];
    let mut files: Vec<String> = listed
        .lines()
        .filter(|file| kinds.contains(&file.rsplit(['.', '/']).next().unwrap_or("")))
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

fn tier(name: &str) -> Option<usize> {
    TIERS.iter().position(|(_, crates)| crates.contains(&name))
}

fn check_tiers(findings: &mut Findings) -> Result<()> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps", "--quiet"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("read cargo metadata")?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        if name == "xtask" {
            continue;
        }
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let folder = Path::new(manifest).parent().and_then(Path::file_name);
        if folder.is_some_and(|folder| folder != name) {
            findings.add(name, "the folder is not named like the crate");
        }
        let lints = std::fs::read_to_string(manifest).with_context(|| format!("read {manifest}"))?;
        if !lints.contains("[lints]\nworkspace = true") && name != UNSAFE_CRATE {
            findings.add(name, "does not take the workspace's lints");
        }
        let Some(own) = tier(name) else {
            findings.add(name, "is in no tier; add it to TIERS");
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if dependency["kind"].as_str() == Some("dev") || dependency["kind"].as_str() == Some("build") {
                continue;
            }
            let wanted = dependency["name"].as_str().unwrap_or_default();
            if let Some(other) = tier(wanted)
                && other > own
            {
                findings.add(
                    name,
                    format!(
                        "a {} crate depends on {wanted}, a {} crate",
                        TIERS[own].0, TIERS[other].0
                    ),
                );
            }
            if own == 0 && NOT_PURE.contains(&wanted) {
                findings.add(name, format!("a pure crate depends on {wanted}"));
            }
        }
    }
    Ok(())
}

fn crate_of(file: &str) -> Option<&str> {
    file.strip_prefix("crates/")?.split('/').next()
}

/// Whether the line asks to be let off `rule`.
fn allowed(line: &str, rule: &str) -> bool {
    line.contains(&format!("tidy: allow({rule})"))
}

fn check_rust(file: &str, text: &str, findings: &mut Findings) {
    let lines = text.lines().count();
    if lines > MAX_FILE_LINES {
        findings.add(
            file,
            format!("{lines} lines; split it by responsibility (limit {MAX_FILE_LINES})"),
        );
    }
    let first = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("#!["));
    if !first.is_some_and(|line| line.starts_with("//!") && line.len() > 4) {
        findings.add(file, "does not open with a //! line that says what it is for");
    }
    let name = crate_of(file).unwrap_or("");
    let pure = tier(name) == Some(0) && file.contains("/src/");
    let mut in_tests = file.contains("/tests/") || file.ends_with("/tests.rs");
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", number + 1);
        if line.trim_start().starts_with("#[cfg(test)]") {
            in_tests = true;
        }
        let code = line.split("//").next().unwrap_or("");
        for (word, rule) in [
            ("todo!", "todo"),
            ("unimplemented!", "todo"),
            ("dbg!", "dbg"),
            ("#[ignore", "ignore"),
        ] {
            if code.contains(word) && !allowed(line, rule) && !file.starts_with("xtask/") {
                findings.add(&place, format!("{word} must not stay"));
            }
        }
        if in_tests
            && !allowed(line, "sleep")
            && ["thread::sleep(", "time::sleep("]
                .iter()
                .any(|word| code.contains(word))
        {
            findings.add(&place, "a test sleeps; await the event or move the clock");
        }
        if has_unsafe(code) && name != UNSAFE_CRATE && !file.starts_with("xtask/") && !file.starts_with(UNSAFE_JUDGING)
        {
            findings.add(&place, format!("unsafe code belongs to {UNSAFE_CRATE}"));
        }
        if pure && !in_tests {
            for word in NOT_PURE_TEXT {
                if code.contains(word) && !allowed(line, "pure") {
                    findings.add(&place, format!("{word} in a pure crate; take it as an argument"));
                }
            }
        }
    }
}

fn has_unsafe(code: &str) -> bool {
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
        .iter()
        .any(|word| code.contains(word))
        && !code.contains('"')
}

/// Words that only mean something on somebody's machine.
fn check_words(file: &str, text: &str, findings: &mut Findings) {
    if file.starts_with("xtask/src/tidy") {
        return;
    }
    for (number, line) in text.lines().enumerate() {
        for word in ["/work/", "../shared", "/root/", "/tmp/dl", "/tmp/peer"] {
            if line.contains(word) && !allowed(line, "words") {
                findings.add(
                    format!("{file}:{}", number + 1),
                    format!("{word} means nothing in another clone"),
                );
            }
        }
    }
}

/// Relative links of a document must lead somewhere.
fn check_links(root: &Path, file: &str, text: &str, findings: &mut Findings) {
    let folder = root.join(file).parent().map(Path::to_path_buf).unwrap_or_default();
    for (number, line) in text.lines().enumerate() {
        for part in line.split("](").skip(1) {
            let Some(target) = part.split(')').next() else { continue };
            let target = target.split('#').next().unwrap_or("");
            if target.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            if !folder.join(target).exists() {
                findings.add(
                    format!("{file}:{}", number + 1),
                    format!("the link to {target} leads nowhere"),
                );
            }
        }
    }
}

fn check_requirements(root: &Path, findings: &mut Findings) -> Result<()> {
    let required = required_ids(root)?;
    let families: BTreeSet<&str> = required.iter().filter_map(|id| id.split('-').next()).collect();
    let mut unknown: BTreeMap<String, String> = BTreeMap::new();
    for (id, file) in covered_ids(root)? {
        let family = id.split('-').next().unwrap_or("");
        if families.contains(family) && !required.contains(&id) {
            unknown.insert(id, file);
        }
    }
    for (id, file) in unknown {
        findings.add(file, format!("names {id}, which docs/requirements.md does not have"));
    }
    Ok(())
}

/// The architecture page must name every crate.
fn check_architecture(root: &Path, findings: &mut Findings) -> Result<()> {
    let page = "docs/architecture.md";
    let text = std::fs::read_to_string(root.join(page)).with_context(|| format!("read {page}"))?;
    for entry in std::fs::read_dir(root.join("crates")).context("list crates")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !text.contains(&format!("`{name}`")) {
            findings.add(page, format!("does not name the crate {name}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> Vec<String> {
        let mut findings = Findings::default();
        check_rust(file, text, &mut findings);
        findings.lines
    }

    #[test]
    fn a_file_opens_with_its_purpose() {
        assert_eq!(findings("crates/hadron-env/src/a.rs", "//! Does a.\n").len(), 0);
        assert_eq!(findings("crates/hadron-env/src/a.rs", "fn a() {}\n").len(), 1);
        assert_eq!(
            findings("crates/hadron-env/src/a.rs", "#![allow(x)]\n//! Does a.\n").len(),
            0
        );
    }

    #[test]
    fn pure_crates_touch_nothing() {
        let text = "//! A.\nuse std::fs;\n";
        assert_eq!(findings("crates/hadron-wire/src/a.rs", text).len(), 1);
        assert_eq!(findings("crates/hadron-net/src/a.rs", text).len(), 0);
        assert_eq!(
            findings("crates/hadron-wire/src/a.rs", "//! A.\n#[cfg(test)]\nuse std::fs;\n").len(),
            0
        );
    }

    #[test]
    fn tests_do_not_sleep_or_hide() {
        let text = "//! A.\n#[cfg(test)]\nmod t { fn f() { std::thread::sleep(x) } }\n";
        assert_eq!(findings("crates/hadron-net/src/a.rs", text).len(), 1);
        assert_eq!(
            findings("crates/hadron-net/tests/a.rs", "//! A.\n#[ignore]\nfn f() {}\n").len(),
            1
        );
    }

    #[test]
    fn tiers_know_every_crate_once() {
        let mut seen = BTreeSet::new();
        for (_, crates) in TIERS {
            for name in *crates {
                assert!(seen.insert(*name), "{name}");
            }
        }
    }
}
