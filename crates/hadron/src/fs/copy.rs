//! `-put`, `-get`, `-cp`, `-mv` and their other names: everything with a destination.
//!
//! Data goes to `NAME._COPYING_` first and is renamed when complete, so that a reader never meets half a file and a
//! broken copy leaves nothing under the wanted name. Names below the source become names below the destination only
//! when they are plain names: an entry called `..`, or one with a slash inside, is refused. `-l` (a hint to keep new
//! files in memory first) is taken and does nothing.

use std::io::{self, Read};

use indicatif::{ProgressBar, ProgressStyle};

use super::item::Item;
use super::options::{Options, Takes};
use super::shell::{Shell, Stop};
use super::store::{CreateOptions, FileSink, FsError, FsResult};

const PUT: Takes = Takes::at_least(1, &["f", "p", "l", "d"]);
const GET: Takes = Takes::at_least(1, &["crc", "ignoreCrc", "p", "f"]);
const CP: Takes = Takes::at_least(2, &["f", "d", "p", "ptopax", "ptop", "pto", "pt"]);
const MV: Takes = Takes::at_least(2, &[]);
const MOVE_FROM_LOCAL: Takes = Takes::at_least(1, &["f", "p", "l", "d"]);
/// Bytes moved at once.
const COPY_BYTES: usize = 1 << 20;
/// Files below this size are too quick for a progress bar.
const PROGRESS_FROM_BYTES: u64 = 16 << 20;
const TEMPORARY_SUFFIX: &str = "._COPYING_";

/// What to do with each source.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Copy,
    /// Copy, then remove the source.
    CopyAndRemove,
    Rename,
}

struct Transfer {
    deed: Deed,
    overwrite: bool,
    preserve: bool,
    direct: bool,
}

impl Transfer {
    fn new(deed: Deed, options: &Options) -> Self {
        Self {
            deed,
            overwrite: options.has("f"),
            preserve: ["p", "ptopax", "ptop", "pto", "pt"]
                .iter()
                .any(|name| options.has(name)),
            direct: options.has("d"),
        }
    }
}

pub(crate) fn put(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    from_local(shell, &PUT, args, Deed::Copy)
}

pub(crate) fn move_from_local(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    from_local(shell, &MOVE_FROM_LOCAL, args, Deed::CopyAndRemove)
}

fn from_local(shell: &mut Shell<'_>, takes: &Takes, args: &[String], deed: Deed) -> Result<i32, Stop> {
    let mut options = takes.parse(args).map_err(Stop::Usage)?;
    let transfer = Transfer::new(deed, &options);
    let target = remote_target(shell, &mut options.rest)?;
    if options.rest == ["-"] && deed == Deed::Copy {
        let done = put_input(shell, &transfer, &target);
        shell.go_on(done)?;
        return Ok(shell.exit_code());
    }
    let mut sources = Vec::new();
    for argument in &options.rest {
        match shell.local_item(argument) {
            Ok(item) => sources.push(item),
            Err(error) => shell.fail(&error),
        }
    }
    all(shell, &transfer, sources, target)
}

fn put_input(shell: &mut Shell<'_>, transfer: &Transfer, target: &Item) -> Result<(), Stop> {
    let target = if target.is_dir() || target.reads_as_directory() {
        target.child("-")?
    } else {
        target.clone()
    };
    refuse_existing(transfer, &target)?;
    let temporary = temporary(transfer, &target);
    let mut sink = temporary.store.create(&temporary.path, REPLACE)?;
    let copied = io::copy(shell.input, &mut sink);
    finish(transfer, &temporary, sink, copied)?;
    settle(transfer, &temporary, &target)?;
    Ok(())
}

pub(crate) fn get(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let mut options = GET.parse(args).map_err(Stop::Usage)?;
    let transfer = Transfer::new(Deed::Copy, &options);
    let target = if options.rest.len() < 2 {
        ".".to_owned()
    } else {
        options.rest.pop().unwrap_or_default()
    };
    let target = shell.local_item(&target)?;
    let sources = shell.expand_all(&options.rest);
    all(shell, &transfer, sources, target)
}

pub(crate) fn cp(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let mut options = CP.parse(args).map_err(Stop::Usage)?;
    let transfer = Transfer::new(Deed::Copy, &options);
    let target = remote_target(shell, &mut options.rest)?;
    let sources = shell.expand_all(&options.rest);
    all(shell, &transfer, sources, target)
}

pub(crate) fn mv(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let mut options = MV.parse(args).map_err(Stop::Usage)?;
    let transfer = Transfer::new(Deed::Rename, &options);
    let target = remote_target(shell, &mut options.rest)?;
    let sources = shell.expand_all(&options.rest);
    all(shell, &transfer, sources, target)
}

/// Takes the last argument as the destination; with one argument it is the working directory.
fn remote_target(shell: &mut Shell<'_>, arguments: &mut Vec<String>) -> Result<Item, Stop> {
    if arguments.len() < 2 {
        return Ok(shell.item(".")?);
    }
    let text = arguments.pop().unwrap_or_default();
    let mut found = shell.expand(&text)?;
    match (found.pop(), found.is_empty()) {
        (Some(mut item), true) => {
            if text.ends_with('/') && !item.text.ends_with('/') && !item.exists() {
                item.text = text;
            }
            Ok(item)
        }
        _ => Err(FsError::at(&text, "Too many matches").into()),
    }
}

fn all(shell: &mut Shell<'_>, transfer: &Transfer, sources: Vec<Item>, target: Item) -> Result<i32, Stop> {
    if sources.len() > 1 {
        match &target.status {
            None => return Err(FsError::missing(&target.text).into()),
            Some(status) if !status.is_dir => return Err(FsError::not_directory(&target.text).into()),
            Some(_) => {}
        }
    } else if target.exists() {
        if !target.is_dir() && !transfer.overwrite && !sources.is_empty() {
            return Err(FsError::exists(&target.text).into());
        }
    } else if !sources.is_empty() && !target.parent_exists()? {
        return Err(FsError::missing_at(&target.text, &target.address()).into());
    }
    for source in sources {
        let done = one(shell, transfer, &source, &target);
        shell.go_on(done)?;
    }
    Ok(shell.exit_code())
}

/// Where `source` goes when the destination is `target`.
fn place(source: &Item, target: &Item, below: bool) -> FsResult<Item> {
    if below || target.is_dir() || target.reads_as_directory() {
        return target.child(plain_name(source)?);
    }
    Ok(target.clone())
}

/// The name of an entry, when it cannot lead out of the destination.
fn plain_name(source: &Item) -> FsResult<&str> {
    let name = source.name();
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(FsError::at(&source.text, "Invalid name for a copy"));
    }
    Ok(name)
}

fn one(shell: &mut Shell<'_>, transfer: &Transfer, source: &Item, target: &Item) -> Result<(), Stop> {
    if source.status()?.is_dir && source.store.address() == target.store.address() {
        let place = if source.path == "/" {
            target.clone()
        } else {
            place(source, target, false)?
        };
        if place.path == source.path {
            return Err(FsError::between(&source.text, &place.address(), "are identical").into());
        }
        if place
            .path
            .starts_with(&format!("{}/", source.path.trim_end_matches('/')))
        {
            return Err(FsError::between(&source.text, &place.text, "is a subdirectory of itself").into());
        }
    }
    if transfer.deed == Deed::Rename {
        let place = place(source, target, false)?;
        if source.store.address() != place.store.address() {
            return Err(FsError::at(&source.text, "Does not match target filesystem").into());
        }
        if !source.store.rename(&source.path, &place.path)? {
            return Err(FsError::input_output(&source.text).into());
        }
        return Ok(());
    }
    tree(shell, transfer, source, target, false)
}

fn tree(shell: &mut Shell<'_>, transfer: &Transfer, source: &Item, target: &Item, below: bool) -> Result<(), Stop> {
    let status = source.status()?;
    let mut place = if source.path == "/" {
        target.clone()
    } else {
        place(source, target, below)?
    };
    if !status.is_dir {
        file(shell, transfer, source, &place)?;
    } else {
        if transfer.deed == Deed::CopyAndRemove && place.is_dir() {
            return Err(FsError::exists(&place.text).into());
        }
        match &place.status {
            Some(status) if !status.is_dir => return Err(FsError::not_directory(&place.text).into()),
            Some(_) => {}
            None => {
                if !place.store.mkdirs(&place.path)? {
                    return Err(FsError::new(format!("mkdir `{}': Input/output error", place.text)).into());
                }
                place.refresh()?;
            }
        }
        for child in source.children()? {
            let done = tree(shell, transfer, &child, &place, true);
            shell.go_on(done)?;
        }
        keep_attributes(transfer, source, &place)?;
    }
    if transfer.deed == Deed::CopyAndRemove && !source.store.delete(&source.path, false)? {
        return Err(FsError::new(format!("remove `{}': Input/output error", source.text)).into());
    }
    Ok(())
}

fn refuse_existing(transfer: &Transfer, place: &Item) -> FsResult<()> {
    match &place.status {
        Some(status) if status.is_dir || !transfer.overwrite => Err(FsError::exists(&place.text)),
        _ => Ok(()),
    }
}

fn temporary(transfer: &Transfer, place: &Item) -> Item {
    if transfer.direct {
        place.clone()
    } else {
        place.with_suffix(TEMPORARY_SUFFIX)
    }
}

const REPLACE: CreateOptions = CreateOptions { overwrite: true };

fn file(shell: &mut Shell<'_>, transfer: &Transfer, source: &Item, place: &Item) -> Result<(), Stop> {
    refuse_existing(transfer, place)?;
    let mut content = source.store.open(&source.path, 0)?;
    let temporary = temporary(transfer, place);
    let mut sink = temporary.store.create(&temporary.path, REPLACE)?;
    let bar = progress(shell, source);
    let copied = copy(&mut content, sink.as_mut(), bar.as_ref());
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    finish(transfer, &temporary, sink, copied)?;
    settle(transfer, &temporary, place)?;
    keep_attributes(transfer, source, place)?;
    Ok(())
}

/// Closes what was copied; a broken copy is removed.
fn finish(
    transfer: &Transfer,
    temporary: &Item,
    sink: Box<dyn FileSink + '_>,
    copied: io::Result<u64>,
) -> FsResult<()> {
    let closed = match copied {
        Ok(_) => sink.close(),
        Err(error) => {
            drop(sink);
            Err(error.into())
        }
    };
    if closed.is_err() && !transfer.direct {
        // The reason matters more than a left-over that a second try replaces.
        let _ = temporary.store.delete(&temporary.path, false);
    }
    closed
}

/// Gives the complete copy its name.
fn settle(transfer: &Transfer, temporary: &Item, place: &Item) -> FsResult<()> {
    if transfer.direct {
        return Ok(());
    }
    if place.exists() && !place.store.delete(&place.path, false)? {
        return Err(FsError::new(format!("remove `{}': Input/output error", place.text)));
    }
    match place.store.rename(&temporary.path, &place.path) {
        Ok(true) => Ok(()),
        other => {
            let _ = temporary.store.delete(&temporary.path, false);
            other?;
            Err(FsError::new(format!(
                "rename `{}' to `{}': Input/output error",
                temporary.text, place.text
            )))
        }
    }
}

fn keep_attributes(transfer: &Transfer, source: &Item, place: &Item) -> FsResult<()> {
    if !transfer.preserve {
        return Ok(());
    }
    let status = source.status()?;
    place
        .store
        .set_times(&place.path, status.modified_ms, status.accessed_ms)?;
    place
        .store
        .set_owner(&place.path, Some(&status.owner), Some(&status.group))?;
    place.store.set_permission(&place.path, status.permission)
}

fn copy(content: &mut dyn Read, sink: &mut dyn io::Write, bar: Option<&ProgressBar>) -> io::Result<u64> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut total = 0;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        sink.write_all(&buffer[..count])?;
        total += count as u64;
        if let Some(bar) = bar {
            bar.inc(count as u64);
        }
    }
}

/// A bar for a large file, when somebody watches.
fn progress(shell: &Shell<'_>, source: &Item) -> Option<ProgressBar> {
    let len = source.status.as_ref().map_or(0, |status| status.len);
    if !shell.progress || len < PROGRESS_FROM_BYTES {
        return None;
    }
    let bar = ProgressBar::new(len);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(source.name().to_owned());
    Some(bar)
}
