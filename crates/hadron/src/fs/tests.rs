//! The shell on local files: commands in, output, messages and exit codes out. (HDFS itself is judged from outside,
//! beside Hadoop's own shell.)

use std::fs;
use std::path::Path;

use super::shell::Shell;
use super::store::FsError;

/// Runs one command line; `{d}` is the folder. Returns (exit code, output, errors) with the folder blanked.
fn sh(folder: &Path, line: &str) -> (i32, String, String) {
    let name = folder.to_str().expect("a UTF-8 path");
    let args: Vec<String> = line.split(' ').map(|word| word.replace("{d}", name)).collect();
    let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), &b"typed in"[..]);
    let opener = |scheme: &str, _: &str| Err(FsError::new(format!("no {scheme} here")));
    let mut shell = Shell::new(
        &mut out,
        &mut err,
        &mut input,
        ("file".into(), String::new()),
        Box::new(opener),
    );
    let code = super::run(&mut shell, &args);
    drop(shell);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8").replace(name, "{d}");
    (code, text(out), text(err))
}

/// Runs `line` in `folder` and compares everything.
fn check(folder: &Path, line: &str, code: i32, out: &str, err: &str) {
    assert_eq!(sh(folder, line), (code, out.to_owned(), err.to_owned()), "{line}");
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("a")).expect("mkdir");
    fs::write(folder.path().join("small"), "hello\n").expect("write");
    fs::write(folder.path().join("a/one"), "1").expect("write");
    folder
}

#[test]
fn directories() {
    let dir = folder();
    let dir = dir.path();
    check(dir, "-mkdir {d}/a", 1, "", "mkdir: `{d}/a': File exists\n");
    check(dir, "-mkdir -p {d}/a {d}/b/c", 0, "", "");
    check(
        dir,
        "-mkdir {d}/x/y",
        1,
        "",
        "mkdir: `file://{d}/x': No such file or directory\n",
    );
    check(
        dir,
        "-mkdir {d}/small",
        1,
        "",
        "mkdir: `{d}/small': Is not a directory\n",
    );
    check(dir, "-rmdir {d}/a", 1, "", "rmdir: `{d}/a': Directory is not empty\n");
    check(
        dir,
        "-rmdir {d}/b/c {d}/none",
        1,
        "",
        "rmdir: `{d}/none': No such file or directory\n",
    );
    check(dir, "-ls -C {d}", 0, "{d}/a\n{d}/b\n{d}/small\n", "");
    check(dir, "-ls -R -C {d}", 0, "{d}/a\n{d}/a/one\n{d}/b\n{d}/small\n", "");
    check(
        dir,
        "-ls {d}/none",
        1,
        "",
        "ls: `{d}/none': No such file or directory\n",
    );
    check(dir, "-ls -C {d}/[ab]", 0, "{d}/a/one\n", "");
    check(dir, "-ls -C {d}/{small,a/o*}", 0, "{d}/a/one\n{d}/small\n", "");
    check(dir, "-ls {d}/q*", 1, "", "ls: `{d}/q*': No such file or directory\n");
}

#[test]
fn listings_have_columns() {
    let dir = folder();
    let (code, out, err) = sh(dir.path(), "-ls {d}");
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "Found 2 items");
    assert!(
        lines[1].starts_with("drwxr-xr-x   - ") && lines[1].ends_with(" {d}/a"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].starts_with("-rw-r--r--   1 ") && lines[2].contains("          6 "),
        "{}",
        lines[2]
    );
}

#[test]
fn contents() {
    let dir = folder();
    let dir = dir.path();
    check(
        dir,
        "-cat {d}/small {d}/none {d}/a/one",
        1,
        "hello\n1",
        "cat: `{d}/none': No such file or directory\n",
    );
    check(dir, "-cat {d}/a", 1, "", "cat: `{d}/a': Is a directory\n");
    check(dir, "-put - {d}/typed", 0, "", "");
    check(dir, "-cat {d}/typed", 0, "typed in", "");
    check(
        dir,
        "-put {d}/small {d}/typed",
        1,
        "",
        "put: `{d}/typed': File exists\n",
    );
    check(dir, "-put -f {d}/small {d}/typed", 0, "", "");
    check(dir, "-cp {d}/a {d}/b", 0, "", "");
    check(
        dir,
        "-get {d}/small {d}/a/one {d}/b",
        1,
        "",
        "get: `{d}/b/one': File exists\n",
    );
    check(dir, "-cat {d}/b/small {d}/b/one", 0, "hello\n1", "");
    check(
        dir,
        "-mv {d}/a {d}/a/c",
        1,
        "",
        "mv: `{d}/a' to `{d}/a/c': is a subdirectory of itself\n",
    );
    check(dir, "-mv {d}/a {d}/moved", 0, "", "");
    check(
        dir,
        "-put {d}/none {d}/x",
        1,
        "",
        "put: `{d}/none': No such file or directory\n",
    );
    check(
        dir,
        "-put {d}/small {d}/x/y",
        1,
        "",
        "put: `{d}/x/y': No such file or directory: `file://{d}/x/y'\n",
    );
    assert!(!dir.join("b/one._COPYING_").exists());
}

#[test]
fn removal() {
    let dir = folder();
    let dir = dir.path();
    check(
        dir,
        "-rm {d}/none",
        1,
        "",
        "rm: `{d}/none': No such file or directory\n",
    );
    check(dir, "-rm -f {d}/none {d}/q*", 0, "", "");
    check(dir, "-rm {d}/a", 1, "", "rm: `{d}/a': Is a directory\n");
    check(
        dir,
        "-rm -r {d}/a {d}/small",
        0,
        "Deleted {d}/a\nDeleted {d}/small\n",
        "",
    );
}

#[test]
fn questions() {
    let dir = folder();
    let dir = dir.path();
    for (line, code) in [
        ("-test -e {d}/a", 0),
        ("-test -e {d}/none", 1),
        ("-test -d {d}/small", 1),
        ("-test -f {d}/small", 0),
        ("-test -z {d}/small", 1),
        ("-test -s {d}/small", 0),
    ] {
        check(dir, line, code, "", "");
    }
    check(
        dir,
        "-stat %F,%b,%n {d}/small {d}/a",
        0,
        "regular file,6,small\ndirectory,0,a\n",
        "",
    );
    check(dir, "-du {d}", 0, "1  1  {d}/a\n6  6  {d}/small\n", "");
    check(
        dir,
        "-count {d}",
        0,
        "           2            2                  7 {d}\n",
        "",
    );
    let none = format!("{:>12} {:>15} {:>15} {:>15} ", "none", "inf", "none", "inf");
    check(dir, "-count -u {d}", 0, &format!("{none}{{d}}\n"), "");
    let header = format!("{:>13} {:>17} PATHNAME\n", "SSD_QUOTA", "REM_SSD_QUOTA");
    let line = format!("{:>13} {:>17} {{d}}\n", "none", "inf");
    check(dir, "-count -q -v -t ssd {d}", 0, &format!("{header}{line}"), "");
    check(
        dir,
        "-touchz {d}/small",
        1,
        "",
        "touchz: `{d}/small': Not a zero-length file\n",
    );
}

#[test]
fn wrong_usage() {
    let dir = folder();
    for (line, expected) in [
        ("-ls -x /", "-ls: Illegal option -x"),
        ("-rm", "-rm: Not enough arguments: expected 1 but got 0"),
        ("-test -e a b", "-test: Too many arguments: expected 1 but got 2"),
        ("-test a", "-test: No test flag given"),
        (
            "-chmod 999 /",
            "-chmod: chmod : mode '999' does not match the expected pattern.",
        ),
        ("-count -q -t tape /", "-count: unknown storage type tape"),
        ("-setrep 0 /", "-setrep: replication must be >= 1"),
        ("-truncate -1 /x", "-truncate: Illegal option -1"),
        ("-truncate 5", "-truncate: Not enough arguments: expected 2 but got 1"),
        ("-frobnicate", "-frobnicate: Unknown command"),
        ("ls", "ls: Unknown command"),
    ] {
        let (code, out, err) = sh(dir.path(), line);
        assert_eq!(
            (code, out.as_str(), err.lines().next()),
            (255, "", Some(expected)),
            "{line}"
        );
    }
}

#[test]
fn modes() {
    let dir = folder();
    let dir = dir.path();
    check(dir, "-chmod 640 {d}/small", 0, "", "");
    check(dir, "-chmod -R u+x {d}/a", 0, "", "");
    check(dir, "-stat %a {d}/small {d}/a/one", 0, "640\n744\n", "");
}

/// Input that breaks off.
struct Broken;

impl std::io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("input broke off"))
    }
}

#[test]
fn broken_input_leaves_no_file() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), Broken);
    let target = dir.path().join("x").to_str().expect("a UTF-8 path").to_owned();
    let mut shell = Shell::new(
        &mut out,
        &mut err,
        &mut input,
        ("file".into(), String::new()),
        Box::new(|_: &str, _: &str| Err(FsError::new("nothing here".to_owned()))),
    );
    let code = super::run(&mut shell, &["-put".to_owned(), "-".to_owned(), target]);
    drop(shell);
    assert_eq!(code, 1);
    assert!(String::from_utf8_lossy(&err).contains("input broke off"));
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0, "a left-over");
}

#[test]
fn verbose_stands_before_the_command() {
    let taken = |line: &str| {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (verbose, rest) = super::take_verbose(&args);
        (verbose, rest.join(" "))
    };
    assert_eq!(taken("-v -cat /f"), (true, "-cat /f".to_owned()));
    assert_eq!(taken("-count -v /f"), (false, "-count -v /f".to_owned()));
}
