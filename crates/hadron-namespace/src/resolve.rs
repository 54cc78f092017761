//! From path texts to inodes: normalising, `/.reserved`, and the traverse check that every operation begins with.
//!
//! Follows Hadoop's `FSDirectory.resolvePath`: operations that make new names report a file among the ancestors as
//! ParentNotDirectoryException, all others as AccessControlException around it.

use crate::command::Caller;
use crate::errors;
use crate::inode::InodeHandle;
use crate::namespace::Namespace;
use hadron_types::{ErrorKind, FsAction, FsPath, HadoopResult, InodeId, PathError};

/// What a resolved path is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Looking.
    Read,
    /// Changing what exists.
    Write,
    /// Making a new name.
    Create,
}

/// A path and the inodes that exist along it.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    /// Normalised text, with `/.reserved/.inodes/<id>` replaced by the inode's path.
    pub(crate) path: String,
    /// The existing inodes from the root on. Ends at the first missing component, or at a file.
    pub(crate) inodes: Vec<InodeHandle>,
    /// Components including the root: `inodes.len() == depth` if the whole path exists.
    pub(crate) depth: usize,
}

impl Resolved {
    /// The inode of the whole path, if it exists.
    pub(crate) fn last(&self) -> Option<InodeHandle> {
        (self.inodes.len() == self.depth)
            .then(|| self.inodes.last().copied())
            .flatten()
    }
    /// The inode of the parent path, if it exists; the root has none.
    pub(crate) fn parent(&self) -> Option<InodeHandle> {
        self.inodes.get(self.depth.checked_sub(2)?).copied()
    }
    /// The deepest existing inode above the last component.
    pub(crate) fn ancestor_index(&self) -> Option<usize> {
        self.inodes.len().min(self.depth - 1).checked_sub(1)
    }
    pub(crate) fn is_root(&self) -> bool {
        self.depth == 1
    }
    /// The last component; empty for the root.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or("")
    }
    /// Components without the root.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter(|name| !name.is_empty())
    }
    /// The text of the path down to component `index` (0 = the root).
    pub(crate) fn prefix(&self, index: usize) -> &str {
        if index == 0 {
            return "/";
        }
        let end = self.path.match_indices('/').nth(index).map(|(at, _)| at);
        &self.path[..end.unwrap_or(self.path.len())]
    }
    /// The text of the parent path.
    pub(crate) fn parent_path(&self) -> &str {
        self.prefix(self.depth.saturating_sub(2))
    }
}

const RESERVED: &str = "/.reserved";
const RESERVED_INODES: &str = "/.reserved/.inodes/";
const RESERVED_RAW: &str = "/.reserved/raw";

/// Whether a path is `/.reserved` itself, which may be neither made, removed nor renamed.
pub(crate) fn is_reserved_root(path: &str) -> bool {
    path.trim_end_matches('/') == RESERVED
}

/// Whether a path as the caller wrote it is `/.reserved/raw` or below it.
pub(crate) fn is_raw(path: &str) -> bool {
    path.starts_with(RESERVED_RAW)
}

impl Namespace {
    /// Resolves `text` and checks that `caller` may traverse every ancestor.
    pub(crate) fn resolve(&self, caller: &Caller, text: &str, purpose: Purpose) -> HadoopResult<Resolved> {
        if purpose == Purpose::Create {
            check_created_path(text)?;
        }
        let resolved = self.walk(self.canonical(text)?);
        if purpose != Purpose::Read && !caller.superuser && is_raw(text) {
            return Err(errors::superuser_required(&caller.user));
        }
        self.check_traverse(caller, &resolved).map_err(|error| match error {
            // Only operations that make names tell the class as it is.
            error if error.kind == ErrorKind::ParentNotDirectory && purpose != Purpose::Create => {
                errors::denied(error.message)
            }
            other => other,
        })?;
        Ok(resolved)
    }

    /// The inode of a path that needs no rewriting and whose ancestors `caller` may search; `Some(None)`: it is missing.
    ///
    /// Copies nothing. `None`: [`Namespace::resolve`] has to look, be it to refuse the path.
    pub(crate) fn find_plain(&self, caller: &Caller, text: &str) -> Option<Option<InodeHandle>> {
        if text.len() > hadron_types::MAX_PATH_LEN || text.starts_with(RESERVED) || text.contains(':') {
            return None;
        }
        let mut at = Some(self.root);
        for name in text.strip_prefix('/')?.split('/').filter(|name| !name.is_empty()) {
            if name == "." || name == ".." {
                return None;
            }
            let Some(parent) = at else { continue };
            let inode = self.inode(parent);
            if !inode.is_directory() || !self.permits(caller, inode, FsAction::EXECUTE) {
                return None;
            }
            at = self.child(parent, name).ok();
        }
        Some(at)
    }

    /// Resolves a writer's file: by inode if the client knows it, else by path. A file renamed while open is found.
    ///
    /// An id that is gone gives a path of which nothing exists, as in Hadoop: the lease check then reports it.
    pub(crate) fn resolve_file(&self, caller: &Caller, text: &str, file_id: u64) -> HadoopResult<Resolved> {
        if file_id == 0 {
            return self.resolve(caller, text, Purpose::Write);
        }
        match self.find_inode(InodeId(file_id)) {
            Some(handle) if self.is_attached(handle) => {
                let inodes = self.ancestry(handle);
                Ok(Resolved {
                    path: self.path_text(handle),
                    depth: inodes.len(),
                    inodes,
                })
            }
            _ => Ok(Resolved {
                path: text.to_owned(),
                inodes: Vec::new(),
                depth: text.split('/').filter(|name| !name.is_empty()).count() + 1,
            }),
        }
    }

    /// Follows the components of a path that is normalised already.
    pub(crate) fn walk(&self, path: String) -> Resolved {
        let mut inodes = Vec::with_capacity(8);
        let mut depth = 1;
        inodes.push(self.root);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if inodes.len() == depth
                && let Ok(child) = self.child(inodes[depth - 1], name)
            {
                inodes.push(child);
            }
            depth += 1;
        }
        Resolved { path, inodes, depth }
    }

    /// The normalised text of a path, reserved prefixes replaced.
    pub(crate) fn canonical(&self, text: &str) -> HadoopResult<String> {
        if let Some(rest) = text.strip_prefix(RESERVED_INODES)
            && !rest.trim_matches('/').is_empty()
        {
            return self.canonical_by_id(text, rest);
        }
        let path = normalise(text)?;
        match path.strip_prefix(RESERVED_RAW) {
            Some("") => Ok("/".to_owned()),
            // `/.reserved/raw/.reserved` stays what it is: a name that cannot exist.
            Some(rest) if rest.starts_with('/') && rest != RESERVED => Ok(rest.to_owned()),
            _ => Ok(path),
        }
    }

    /// `/.reserved/.inodes/<id>[/rest]`, where rest may be `..`.
    fn canonical_by_id(&self, text: &str, rest: &str) -> HadoopResult<String> {
        let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let shown = text.trim_end_matches('/');
        let id: i64 = id
            .parse()
            .map_err(|_| errors::missing(format!("Invalid inode path: {shown}")))?;
        let handle = u64::try_from(id)
            .ok()
            .and_then(|id| self.find_inode(InodeId(id)))
            .filter(|&handle| self.is_attached(handle))
            .ok_or_else(|| errors::missing(format!("File for given inode path does not exist: {shown}")))?;
        let rest = rest.trim_matches('/');
        if rest == ".." {
            return Ok(self
                .inode(handle)
                .parent()
                .map_or("/".to_owned(), |parent| self.path_text(parent)));
        }
        let base = self.path_text(handle);
        if rest.is_empty() {
            return Ok(base);
        }
        normalise(&format!("{base}/{rest}")).map_err(|_| errors::invalid_name(text))
    }
}

fn normalise(text: &str) -> HadoopResult<String> {
    match FsPath::parse(text) {
        Ok(path) => Ok(path.into_string()),
        Err(PathError::NotAbsolute | PathError::InvalidComponent) => Err(errors::invalid_name(text)),
        // Only creating operations refuse long paths; they check before. Nothing so deep exists.
        Err(PathError::TooLong) => {
            let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
            Ok(format!("/{}", names.join("/")))
        }
    }
}

/// Refuses an empty component inside a path of which something is to be made.
fn check_created_path(text: &str) -> HadoopResult<()> {
    if text.trim_end_matches('/').contains("//") || text.ends_with("//") {
        return Err(errors::invalid_name(text));
    }
    Ok(())
}

/// Refuses a path that is too long for a new name. `operation` stands first in the text.
pub(crate) fn check_path_len(operation: &str, path: &str) -> HadoopResult<()> {
    let long = path.len() > hadron_types::MAX_PATH_LEN && path.encode_utf16().count() > hadron_types::MAX_PATH_LEN;
    let depth = path.split('/').filter(|name| !name.is_empty()).count();
    if long || depth > hadron_types::MAX_PATH_COMPONENTS {
        return Err(errors::path_too_long(operation));
    }
    Ok(())
}
