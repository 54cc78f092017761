//! Statuses borrowed from the records: what a shell encodes under the read lock without a copy in between.
//!
//! What it is for: getFileInfo and getListing, the calls a cluster gets most. It does not encode anything: the wire is
//! the shell's business. Invariant: [`StatusView::to_status`] is the one way to a [`FileStatus`], so that both show the
//! same inode alike.

use crate::command::Caller;
use crate::inode::{Children, Content, InodeHandle};
use crate::namespace::Namespace;
use crate::permission::Access;
use crate::resolve::{Purpose, is_reserved_root};
use crate::status::{FileBlocks, FileStatus, ListingLimits};
use hadron_types::{ErrorKind, FsAction, FsPermission, HadoopError, HadoopResult, InodeId, TimeMs, UNSPECIFIED_POLICY};
use std::borrow::Cow;

/// A file or directory as `HdfsFileStatusProto` shows it. Fields as in [`FileStatus`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusView<'a> {
    /// Local name; empty when the status is that of the path asked for.
    pub name: &'a str,
    /// The inode.
    pub id: InodeId,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Bytes; 0 for directories.
    pub len: u64,
    /// Mode bits.
    pub permission: FsPermission,
    /// Owner.
    pub owner: &'a str,
    /// Group.
    pub group: &'a str,
    /// Last change.
    pub mtime: TimeMs,
    /// Last read.
    pub atime: TimeMs,
    /// Wanted replicas; 0 for directories.
    pub replication: u16,
    /// Preferred block size; 0 for directories.
    pub block_size: u64,
    /// Number of children; 0 for files.
    pub children: u32,
    /// Storage policy set on the inode or inherited, 0 = unspecified.
    pub storage_policy: u8,
    /// Whether it has an ACL.
    pub has_acl: bool,
    /// Numbers of owner and group in the table of names.
    pub(crate) names: (u32, u32),
}

/// One page of a directory, entry by entry.
pub struct ListingPage<'a> {
    namespace: &'a Namespace,
    entries: Entries<'a>,
    with_blocks: bool,
    /// Whether entries show their storage policies: Hadoop's do to superusers only.
    with_policies: bool,
    /// Entries that may still come on this page.
    left: usize,
    /// Replicas that may still come on this page.
    locations_left: usize,
    /// Entries of the directory that have not come yet.
    remaining: usize,
}

enum Entries<'a> {
    /// The file that was asked for.
    File(Option<InodeHandle>),
    Children(Children<'a>),
    /// What `/.reserved` shows.
    Reserved(std::slice::Iter<'static, &'static str>),
}

/// The two directories of `/.reserved`, which no inode stands for.
const RESERVED_NAMES: [&str; 2] = [".inodes", "raw"];
/// Mode of `/.reserved`.
const RESERVED_MODE: u32 = 0o1770;
/// Mode of what is in it.
const RESERVED_CHILD_MODE: u32 = 0o770;

impl ListingPage<'_> {
    /// How many entries follow those given so far.
    pub fn remaining(&self) -> u32 {
        u32::try_from(self.remaining).unwrap_or(u32::MAX)
    }

    /// How many entries the page may still give.
    pub fn entries_left(&self) -> usize {
        self.left.min(self.remaining)
    }
}

impl<'a> Iterator for ListingPage<'a> {
    /// An entry, with its blocks if they were asked for and it is a file.
    type Item = (StatusView<'a>, Option<FileBlocks>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let (handle, name) = match &mut self.entries {
            Entries::File(file) => (file.take()?, ""),
            Entries::Children(children) => {
                let child = children.next()?;
                (child, self.namespace.inode(child).name.as_str())
            }
            Entries::Reserved(names) => {
                let name = names.next()?;
                self.remaining -= 1;
                let root = self.namespace.inode(self.namespace.root);
                let group = self.namespace.group_name(root);
                return Some((StatusView::reserved(name, group, RESERVED_CHILD_MODE), None));
            }
        };
        self.remaining -= 1;
        self.left -= 1;
        let mut view = self.namespace.view_of(handle, name);
        if !self.with_policies {
            view.storage_policy = UNSPECIFIED_POLICY;
        }
        let blocks = (self.with_blocks && !view.is_directory).then(|| {
            let blocks = self.namespace.file_blocks(handle, 0, u64::MAX);
            let locations = blocks.blocks.len() * usize::from(blocks.replication);
            self.locations_left = self.locations_left.saturating_sub(locations);
            blocks
        });
        if self.with_blocks && self.locations_left == 0 {
            self.left = 0;
        }
        Some((view, blocks))
    }
}

impl<'a> StatusView<'a> {
    /// `/.reserved`, or one of its directories.
    fn reserved(name: &'a str, group: &'a str, mode: u32) -> Self {
        Self {
            name,
            id: InodeId(0),
            is_directory: true,
            len: 0,
            permission: FsPermission::from_wire(mode),
            owner: "",
            group,
            mtime: TimeMs(0),
            atime: TimeMs(0),
            replication: 0,
            block_size: 0,
            children: 0,
            storage_policy: UNSPECIFIED_POLICY,
            has_acl: false,
            names: (u32::MAX, u32::MAX),
        }
    }

    pub(super) fn to_status(self, namespace: &Namespace) -> FileStatus {
        FileStatus {
            name: self.name.to_owned(),
            id: self.id,
            is_directory: self.is_directory,
            len: self.len,
            permission: self.permission,
            owner: namespace.names.shared(self.names.0),
            group: namespace.names.shared(self.names.1),
            mtime: self.mtime,
            atime: self.atime,
            replication: self.replication,
            block_size: self.block_size,
            children: self.children,
            storage_policy: self.storage_policy,
            has_acl: self.has_acl,
        }
    }
}

impl Namespace {
    /// getFileInfo: the status of `path` with an empty local name; `None` if it does not exist.
    pub fn file_view(&self, caller: &Caller, path: &str) -> HadoopResult<Option<StatusView<'_>>> {
        if let Some(found) = self.find_plain(caller, path) {
            return Ok(found.map(|handle| self.view_of(handle, "")));
        }
        if is_reserved_root(path) {
            return Ok(Some(StatusView::reserved("", "", RESERVED_MODE)));
        }
        match self.resolve(caller, path, Purpose::Read) {
            Ok(at) => Ok(at.last().map(|handle| self.view_of(handle, ""))),
            // For a superuser only a file among the ancestors is refused, which Hadoop shows as a missing path.
            Err(error) if caller.superuser && error.kind == ErrorKind::AccessControl => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// getListing: the entries of `path` whose names come after `start_after` (empty: from the first); `None` if `path`
    /// is missing.
    ///
    /// A file gives one entry with an empty local name. `with_blocks`: entries of files carry their blocks, and the
    /// page also ends when the location budget is used up.
    pub fn listing_page(
        &self,
        caller: &Caller,
        path: &str,
        start_after: &str,
        with_blocks: bool,
        limits: ListingLimits,
    ) -> HadoopResult<Option<ListingPage<'_>>> {
        let plain = self.find_plain(caller, path);
        let readable = |&handle: &InodeHandle| {
            let inode = self.inode(handle);
            !inode.is_directory() || self.permits(caller, inode, FsAction::READ_EXECUTE)
        };
        let (found, start_after) = match plain {
            Some(found) if found.as_ref().is_none_or(readable) => (found, self.listing_start(start_after)?),
            _ => {
                let at = self.resolve(caller, path, Purpose::Read)?;
                let start_after = self.listing_start(start_after)?;
                if at.last().is_some_and(|handle| self.inode(handle).is_directory()) {
                    let access = Access {
                        path: Some(FsAction::READ_EXECUTE),
                        ..Access::default()
                    };
                    self.check_access(caller, &at, access)?;
                }
                (at.last(), start_after)
            }
        };
        if is_reserved_root(path) {
            return Ok(Some(ListingPage {
                namespace: self,
                entries: Entries::Reserved(RESERVED_NAMES.iter()),
                with_blocks: false,
                with_policies: false,
                left: RESERVED_NAMES.len(),
                locations_left: 1,
                remaining: RESERVED_NAMES.len(),
            }));
        }
        let Some(handle) = found else { return Ok(None) };
        let (remaining, entries) = match self.directory(handle) {
            None => (1, Entries::File(Some(handle))),
            Some(directory) => {
                let (count, children) = directory.iter_after(start_after.as_bytes(), |child| self.name_bytes(child));
                (count, Entries::Children(children))
            }
        };
        Ok(Some(ListingPage {
            namespace: self,
            entries,
            with_blocks,
            with_policies: caller.superuser,
            left: limits.entries.max(1),
            locations_left: limits.locations.max(1),
            remaining,
        }))
    }

    /// A start given as `/.reserved/.inodes/…` means the name that inode has now.
    fn listing_start<'t>(&self, start_after: &'t str) -> HadoopResult<Cow<'t, str>> {
        if !start_after.starts_with("/.reserved") {
            return Ok(Cow::Borrowed(start_after));
        }
        match self.canonical(start_after) {
            Ok(path) => Ok(Cow::Owned(path.rsplit('/').next().unwrap_or("").to_owned())),
            Err(_) => Err(HadoopError::new(
                ErrorKind::DirectoryListingStartAfterNotFound,
                format!("Can't find startAfter {start_after}"),
            )),
        }
    }

    /// An inode as a status shows it under `name`.
    pub(crate) fn view_of<'a>(&'a self, handle: InodeHandle, name: &'a str) -> StatusView<'a> {
        let inode = self.inode(handle);
        let directory = match inode.content {
            Content::Directory(directory) => Some(self.directories.get(directory)),
            _ => None,
        };
        StatusView {
            name,
            id: inode.id(),
            is_directory: directory.is_some(),
            len: self.file_len(handle),
            permission: inode.mode(),
            owner: self.owner_name(inode),
            group: self.group_name(inode),
            mtime: inode.mtime(),
            atime: inode.atime(),
            replication: inode.replication(),
            block_size: inode.block_size(),
            children: directory.map_or(0, |children| children.len() as u32),
            storage_policy: self.effective_policy(handle),
            has_acl: inode.has_acl(),
            names: (inode.user(), inode.group()),
        }
    }

    /// The status of an inode, shown under `name`.
    pub(crate) fn status_of(&self, handle: InodeHandle, name: &str) -> FileStatus {
        self.view_of(handle, name).to_status(self)
    }
}
