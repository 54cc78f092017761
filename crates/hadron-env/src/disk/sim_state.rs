//! What the simulated disk remembers: what programs see, what is durable, and the changes between the two.
//!
//! What it is for: the state machine under [`super::SimDisk`], without locks or handles. What it does not do: count
//! operations or inject faults. Invariant: `live` = `durable` + all pending changes in order, until a failed sync drops
//! pending changes that stay visible.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// A write is torn at multiples of this, as on a drive.
pub(super) const SECTOR_BYTES: usize = 512;

/// A file's number, kept through renames.
pub(super) type FileId = u64;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    Dir,
    File(FileId),
}

/// All names, by absolute path.
#[derive(Clone, Default, Debug)]
pub(super) struct Tree(BTreeMap<PathBuf, Node>);

/// A change of names that no `sync_dir` has covered yet.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Insert(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    /// True when `dir` holds a name this changes.
    pub(super) fn touches(&self, dir: &Path) -> bool {
        let within = |path: &Path| path.parent() == Some(dir);
        match self {
            Self::Insert(path, _) | Self::Remove(path) => within(path),
            Self::Rename(from, to) => within(from) || within(to),
        }
    }
}

impl Tree {
    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        if path == Path::new("/") || path.as_os_str().is_empty() || path == Path::new(".") {
            return Some(Node::Dir);
        }
        self.0.get(path).copied()
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<FileId> {
        match self.get(path) {
            Some(Node::File(id)) => Ok(id),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn dir(&self, path: &Path) -> io::Result<()> {
        match self.get(path) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn children(&self, dir: &Path) -> Vec<(PathBuf, Node)> {
        let below = self.0.iter().filter(|(path, _)| path.parent() == Some(dir));
        below.map(|(path, node)| (path.clone(), *node)).collect()
    }

    pub(super) fn file_ids(&self) -> impl Iterator<Item = FileId> {
        self.0.values().filter_map(|node| match node {
            Node::File(id) => Some(*id),
            Node::Dir => None,
        })
    }

    pub(super) fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Insert(path, node) => drop(self.0.insert(path.clone(), *node)),
            NameChange::Remove(path) => self.0.retain(|other, _| !other.starts_with(path)),
            NameChange::Rename(from, to) => {
                let moved: Vec<_> = self.0.iter().filter(|(path, _)| path.starts_with(from)).collect();
                let moved: Vec<_> = moved.into_iter().map(|(path, node)| (path.clone(), *node)).collect();
                for (path, node) in moved {
                    self.0.remove(&path);
                    let tail = path.strip_prefix(from).unwrap_or(Path::new(""));
                    let new = if tail.as_os_str().is_empty() {
                        to.clone()
                    } else {
                        to.join(tail)
                    };
                    self.0.insert(new, node);
                }
            }
        }
    }

    /// Forgets names whose directory is not there.
    pub(super) fn drop_unreachable(&mut self) {
        loop {
            let lost: Vec<_> = self.0.keys().filter(|path| !self.has_parent(path)).cloned().collect();
            if lost.is_empty() {
                return;
            }
            for path in lost {
                self.0.remove(&path);
            }
        }
    }

    fn has_parent(&self, path: &Path) -> bool {
        path.parent().is_none_or(|parent| self.get(parent) == Some(Node::Dir))
    }
}

/// A change of content that no sync has covered yet.
#[derive(Clone, Debug)]
pub(super) enum ContentChange {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

/// One file's bytes.
#[derive(Clone, Default, Debug)]
pub(super) struct Content {
    pub(super) live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<ContentChange>,
}

impl Content {
    pub(super) fn change(&mut self, change: ContentChange, durable_at_once: bool) {
        apply(&mut self.live, &change, |_| true);
        if durable_at_once {
            apply(&mut self.durable, &change, |_| true);
        } else {
            self.pending.push(change);
        }
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            apply(&mut self.durable, &change, |_| true);
        }
    }

    /// What a failed fsync does on Linux: the pages count as clean, the bytes never reach the disk.
    pub(super) fn sync_failed(&mut self) {
        self.pending.clear();
    }

    /// Loss of power: each unsynced change is kept, lost or torn, as `random` says.
    pub(super) fn crash(&mut self, random: &dyn Random) {
        for change in std::mem::take(&mut self.pending) {
            match random.below(4) {
                0 => {}
                1 => apply(&mut self.durable, &change, |_| true),
                _ => apply(&mut self.durable, &change, |_| random.below(2) == 0),
            }
        }
        self.live.clone_from(&self.durable);
    }
}

/// Applies a change; a write arrives sector by sector, those for which `keep` says so.
fn apply(bytes: &mut Vec<u8>, change: &ContentChange, keep: impl Fn(usize) -> bool) {
    match change {
        ContentChange::SetLen(len) => {
            if keep(0) {
                bytes.resize(*len, 0);
            }
        }
        ContentChange::Write { offset, data } => {
            let mut done = 0;
            while done < data.len() {
                let at = offset + done;
                let sector_end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
                let end = (done + sector_end - at).min(data.len());
                if keep(at) {
                    let needed = offset + end;
                    if bytes.len() < needed {
                        bytes.resize(needed, 0);
                    }
                    bytes[at..needed].copy_from_slice(&data[done..end]);
                }
                done = end;
            }
        }
    }
}
