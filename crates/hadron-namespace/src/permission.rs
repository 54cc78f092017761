//! Who may do what: mode bits, the sticky bit, traversal, ownership. Texts as Hadoop's `FSPermissionChecker`.
//!
//! A superuser passes every check but the one that ancestors are directories.

use crate::command::Caller;
use crate::errors;
use crate::inode::{Inode, InodeHandle};
use crate::namespace::Namespace;
use crate::resolve::Resolved;
use hadron_types::{FsAction, HadoopResult};

/// What is asked of the inodes along a path; traversal is always checked.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Access {
    /// Of the deepest existing ancestor.
    pub(crate) ancestor: Option<FsAction>,
    /// Of the parent, if it exists; WRITE brings the sticky-bit check with it.
    pub(crate) parent: Option<FsAction>,
    /// Of the path itself, if it exists.
    pub(crate) path: Option<FsAction>,
    /// Of every directory in the subtree; empty directories are exempt.
    pub(crate) subtree: Option<FsAction>,
    /// Whether the caller must own the path.
    pub(crate) owner: bool,
}

impl Namespace {
    /// Checks that every ancestor is a directory that `caller` may search.
    pub(crate) fn check_traverse(&self, caller: &Caller, at: &Resolved) -> HadoopResult<()> {
        let Some(last) = at.ancestor_index() else { return Ok(()) };
        for (index, &handle) in at.inodes[..=last].iter().enumerate() {
            let inode = self.inode(handle);
            if !inode.is_directory() {
                return Err(errors::ancestor_is_file(at.prefix(index)));
            }
            if !caller.superuser {
                self.check_inode(caller, inode, FsAction::EXECUTE, || at.prefix(index).to_owned())?;
            }
        }
        Ok(())
    }

    /// Checks `access` along a resolved path; traversal must have been checked.
    pub(crate) fn check_access(&self, caller: &Caller, at: &Resolved, access: Access) -> HadoopResult<()> {
        if caller.superuser {
            return Ok(());
        }
        let check_at = |index: usize, action: FsAction| match at.inodes.get(index) {
            Some(&handle) => self.check_inode(caller, self.inode(handle), action, || at.prefix(index).to_owned()),
            None => Ok(()),
        };
        let last = at.depth - 1;
        if let (Some(action), Some(handle), Some(parent)) = (access.parent, at.last(), at.parent())
            && action.implies(FsAction::WRITE)
        {
            self.check_sticky(caller, parent, handle)?;
        }
        if let (Some(action), Some(ancestor)) = (access.ancestor, at.ancestor_index()) {
            check_at(ancestor, action)?;
        }
        if let Some(action) = access.parent
            && last > 0
        {
            check_at(last - 1, action)?;
        }
        if let Some(action) = access.path {
            check_at(last, action)?;
        }
        if let (Some(action), Some(handle)) = (access.subtree, at.last()) {
            self.check_subtree(caller, handle, action)?;
        }
        if let Some(handle) = at.last()
            && access.owner
            && self.owner_name(self.inode(handle)) != caller.user
        {
            return Err(errors::denied(format!(
                "Permission denied. user={} is not the owner of inode={}",
                caller.user, at.path
            )));
        }
        Ok(())
    }

    /// Whether mode bits, or the ACL, give `caller` all of `action`.
    pub(crate) fn permits(&self, caller: &Caller, inode: &Inode, action: FsAction) -> bool {
        if caller.superuser {
            return true;
        }
        if inode.has_acl()
            && let Some(permitted) = self.acl_permits(caller, inode, action)
        {
            return permitted;
        }
        let mode = inode.mode();
        let granted = if self.owner_name(inode) == caller.user {
            mode.owner()
        } else if is_member(caller, self.group_name(inode)) {
            mode.group()
        } else {
            mode.other()
        };
        granted.implies(action)
    }

    fn check_inode(
        &self,
        caller: &Caller,
        inode: &Inode,
        action: FsAction,
        path: impl FnOnce() -> String,
    ) -> HadoopResult<()> {
        if self.permits(caller, inode, action) {
            return Ok(());
        }
        Err(errors::denied(format!(
            "Permission denied: user={}, access={}, inode=\"{}\":{}",
            caller.user,
            action.name(),
            path(),
            self.attributes(inode)
        )))
    }

    /// `owner:group:drwxr-xr-x`.
    fn attributes(&self, inode: &Inode) -> String {
        let kind = if inode.is_directory() { 'd' } else { '-' };
        let (owner, group) = (self.owner_name(inode), self.group_name(inode));
        format!("{owner}:{group}:{kind}{}", inode.mode())
    }

    fn check_sticky(&self, caller: &Caller, parent: InodeHandle, child: InodeHandle) -> HadoopResult<()> {
        let (parent_inode, child_inode) = (self.inode(parent), self.inode(child));
        if !parent_inode.mode().is_sticky()
            || self.owner_name(parent_inode) == caller.user
            || self.owner_name(child_inode) == caller.user
        {
            return Ok(());
        }
        Err(errors::denied(format!(
            "Permission denied by sticky bit: user={}, path=\"{}\":{}, parent=\"{}\":{}",
            caller.user,
            self.path_text(child),
            self.attributes(child_inode),
            self.path_text(parent),
            self.attributes(parent_inode)
        )))
    }

    fn check_subtree(&self, caller: &Caller, top: InodeHandle, action: FsAction) -> HadoopResult<()> {
        let mut pending = vec![top];
        while let Some(handle) = pending.pop() {
            let Some(directory) = self.directory(handle).filter(|directory| !directory.is_empty()) else {
                continue;
            };
            let inode = self.inode(handle);
            self.check_inode(caller, inode, action, || self.path_text(handle))?;
            let sticky = inode.mode().is_sticky();
            for child in directory.iter() {
                if sticky {
                    self.check_sticky(caller, handle, child)?;
                }
                if self.inode(child).is_directory() {
                    pending.push(child);
                }
            }
        }
        Ok(())
    }
}

/// Whether the caller is in `group`.
pub(crate) fn is_member(caller: &Caller, group: &str) -> bool {
    caller.groups.iter().any(|member| member == group)
}
