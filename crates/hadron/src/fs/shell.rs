//! What every command shares: output, counted errors, looking up arguments, walking trees.
//!
//! Invariants: an error about one path is shown as `command: text` on standard error, counted, and the next path goes
//! on; only wrong usage or a broken pipe ends a command early.

use std::collections::HashMap;
use std::io::{self, Write};
use std::rc::Rc;

use hadron_env::zone::Zone;

use super::glob;
use super::item::{Item, absolute, split_address};
use super::local::LocalStore;
use super::store::{FsError, FsResult, Store};

/// Deepest tree that is walked; far above what a namespace allows.
const MAX_DEPTH: usize = 4_096;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Wrong arguments: shown with the command's usage.
    Usage(String),
    /// Something failed before the first path.
    Failed(FsError),
    /// Nobody reads our output any more.
    BrokenPipe,
}

impl From<FsError> for Stop {
    fn from(error: FsError) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::Failed(error.into())
        }
    }
}

/// Opens the store of a scheme and an authority; the authority is empty for the default file system.
pub(crate) type Opener = dyn Fn(&str, &str) -> FsResult<Rc<dyn Store>>;

/// The state of one run.
pub(crate) struct Shell<'a> {
    /// Name of the command, without its dash.
    pub(crate) name: String,
    pub(crate) out: &'a mut dyn Write,
    pub(crate) err: &'a mut dyn Write,
    pub(crate) input: &'a mut dyn io::Read,
    /// How many paths failed.
    pub(crate) errors: u32,
    /// Whether somebody watches the terminal.
    pub(crate) progress: bool,
    zone: Option<Zone>,
    default_address: (String, String),
    opener: Box<Opener>,
    stores: HashMap<(String, String), Rc<dyn Store>>,
    local: Rc<dyn Store>,
}

impl<'a> Shell<'a> {
    /// `default`: scheme and authority of paths without them.
    pub(crate) fn new(
        out: &'a mut dyn Write,
        err: &'a mut dyn Write,
        input: &'a mut dyn io::Read,
        default: (String, String),
        opener: Box<Opener>,
    ) -> Self {
        Self {
            name: String::new(),
            out,
            err,
            input,
            errors: 0,
            progress: false,
            zone: None,
            default_address: default,
            opener,
            stores: HashMap::new(),
            local: Rc::new(LocalStore),
        }
    }

    /// Prints a result line.
    pub(crate) fn say(&mut self, line: &str) -> Result<(), Stop> {
        writeln!(self.out, "{line}")?;
        Ok(())
    }

    /// Prints `command: text` without counting it.
    pub(crate) fn warn(&mut self, text: &str) {
        // Nothing is left to do when standard error is gone.
        let _ = self.out.flush();
        let _ = writeln!(self.err, "{}: {text}", self.name);
    }

    /// Shows and counts an error.
    pub(crate) fn fail(&mut self, error: &FsError) {
        self.errors += 1;
        let line = error.first_line().to_owned();
        self.warn(&line);
    }

    /// Milliseconds since 1970 as `yyyy-MM-dd HH:mm` in the machine's zone.
    pub(crate) fn local_minute(&mut self, ms: i64) -> String {
        let seconds = ms.div_euclid(1000);
        let offset = self.zone.get_or_insert_with(Zone::local).offset(seconds);
        super::format::date_time(seconds + offset)[..16].to_owned()
    }

    fn store(&mut self, scheme: Option<&str>, authority: &str) -> FsResult<Rc<dyn Store>> {
        let key = match scheme {
            Some("file") => return Ok(Rc::clone(&self.local)),
            Some(scheme) if authority.is_empty() && scheme == self.default_address.0 => self.default_address.clone(),
            Some(scheme) => (scheme.to_owned(), authority.to_owned()),
            None if self.default_address.0 == "file" => return Ok(Rc::clone(&self.local)),
            None => self.default_address.clone(),
        };
        if let Some(store) = self.stores.get(&key) {
            return Ok(Rc::clone(store));
        }
        let store = (self.opener)(&key.0, &key.1)?;
        self.stores.insert(key, Rc::clone(&store));
        Ok(store)
    }

    /// Looks up an argument without patterns.
    pub(crate) fn item(&mut self, text: &str) -> FsResult<Item> {
        let (scheme, authority, path) = split_address(text);
        let store = self.store(scheme, authority)?;
        Item::look_up(&store, text, path)
    }

    /// Looks up a local path.
    pub(crate) fn local_item(&mut self, text: &str) -> FsResult<Item> {
        let (scheme, _, path) = split_address(text);
        let path = if scheme == Some("file") { path } else { text };
        Item::look_up(&self.local, text, path)
    }

    /// Expands an argument's pattern. Without a pattern the one item may not exist; a pattern that fits nothing is an
    /// error.
    pub(crate) fn expand(&mut self, text: &str) -> FsResult<Vec<Item>> {
        let (scheme, authority, path) = split_address(text);
        let store = self.store(scheme, authority)?;
        if !glob::is_pattern(path) {
            let plain = glob::unescape(text);
            let (_, _, path) = split_address(&plain);
            let mut item = Item::look_up(&store, &plain, path)?;
            if item.exists() {
                item.text = found_text(&store, text, &item.path);
            }
            return Ok(vec![item]);
        }
        let spellings =
            glob::expand_braces(path).ok_or_else(|| FsError::new(format!("Illegal file pattern: {path}")))?;
        let mut found = Vec::new();
        for spelling in &spellings {
            expand_parts(&store, &absolute(store.as_ref(), spelling), &mut found)?;
        }
        found.sort();
        found.dedup();
        let mut items = Vec::new();
        for path in found {
            if let Some(status) = store.status(&path)? {
                items.push(Item {
                    text: found_text(&store, text, &path),
                    path,
                    store: Rc::clone(&store),
                    status: Some(status),
                });
            }
        }
        if items.is_empty() {
            return Err(FsError::missing(text));
        }
        Ok(items)
    }

    /// Expands all arguments; those that cannot be are shown and counted.
    pub(crate) fn expand_all(&mut self, arguments: &[String]) -> Vec<Item> {
        let mut items = Vec::new();
        for argument in arguments {
            match self.expand(argument) {
                Ok(found) => items.extend(found),
                Err(error) => self.fail(&error),
            }
        }
        items
    }

    /// Does `action` for every argument; what does not exist is shown and counted.
    pub(crate) fn each(
        &mut self,
        arguments: &[String],
        mut action: impl FnMut(&mut Self, Item) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for item in self.expand_all(arguments) {
            let done = match item.status() {
                Ok(_) => action(self, item),
                Err(error) => Err(Stop::Failed(error)),
            };
            self.go_on(done)?;
        }
        Ok(())
    }

    /// Does `action` for `item` and, with `recursive`, for everything below it, parents first.
    pub(crate) fn walk(
        &mut self,
        item: Item,
        recursive: bool,
        action: &mut dyn FnMut(&mut Self, &Item) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut left = vec![(item, 0)];
        while let Some((item, depth)) = left.pop() {
            let done = action(self, &item);
            let failed = done.is_err();
            self.go_on(done)?;
            if failed || !recursive || !item.is_dir() || depth >= MAX_DEPTH {
                continue;
            }
            match item.children() {
                Ok(children) => left.extend(children.into_iter().rev().map(|child| (child, depth + 1))),
                Err(error) => self.fail(&error),
            }
        }
        Ok(())
    }

    /// Shows and counts a failure about one path; other reasons to stop are handed on.
    pub(crate) fn go_on(&mut self, done: Result<(), Stop>) -> Result<(), Stop> {
        match done {
            Err(Stop::Failed(error)) => {
                self.fail(&error);
                Ok(())
            }
            other => other,
        }
    }

    /// What to exit with.
    pub(crate) fn exit_code(&self) -> i32 {
        i32::from(self.errors > 0)
    }
}

/// How a path found for the argument `text` is shown: with scheme, absolute or relative, as the argument was.
fn found_text(store: &Rc<dyn Store>, text: &str, path: &str) -> String {
    let (scheme, _, spelled) = split_address(text);
    if scheme == Some("file") {
        return format!("file://{path}");
    }
    if scheme.is_some() {
        return super::item::address_of(store.as_ref(), path);
    }
    if spelled.starts_with('/') {
        return path.to_owned();
    }
    let working = store.working_directory();
    if path == working {
        return ".".to_owned();
    }
    match path.strip_prefix(&format!("{}/", working.trim_end_matches('/'))) {
        Some(relative) => relative.to_owned(),
        None => {
            // Above the working directory: climb as far as needed.
            let own: Vec<&str> = working.split('/').filter(|part| !part.is_empty()).collect();
            let other: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            let shared = own.iter().zip(&other).take_while(|(one, two)| one == two).count();
            let mut parts = vec![".."; own.len() - shared];
            parts.extend(&other[shared..]);
            parts.join("/")
        }
    }
}

/// Finds the paths that fit an absolute path whose parts may be patterns.
fn expand_parts(store: &Rc<dyn Store>, path: &str, found: &mut Vec<String>) -> FsResult<()> {
    let mut candidates = vec![String::new()];
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    for (index, part) in parts.iter().enumerate() {
        let mut next = Vec::new();
        for candidate in candidates {
            if !glob::is_pattern(part) {
                next.push(format!("{candidate}/{}", glob::unescape(part)));
                continue;
            }
            let folder = if candidate.is_empty() { "/" } else { &candidate };
            if !store.status(folder)?.is_some_and(|status| status.is_dir) {
                continue;
            }
            for child in store.list(folder)? {
                let name = child.path.rsplit('/').next().unwrap_or("");
                if glob::matches(part, name) && (index + 1 == parts.len() || child.is_dir) {
                    next.push(format!("{candidate}/{name}"));
                }
            }
        }
        candidates = next;
    }
    found.extend(
        candidates
            .into_iter()
            .map(|path| if path.is_empty() { "/".to_owned() } else { path }),
    );
    Ok(())
}
