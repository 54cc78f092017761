//! ACLs of inodes: reading them whole, setting them, inheriting them, and what they permit.
//!
//! What it does not do: decide who may change an ACL (`ops::acl`), or parse requests.
//! Invariant: mode and kept entries change together, here and in chmod, which moves the mask with the group bits.
//! Source: Hadoop `AclStorage`, `FSPermissionChecker`.

mod entry;
pub(crate) mod table;
pub(crate) mod transform;

pub(crate) use entry::KeptEntry;
pub use entry::{AclEntry, AclScope, AclType};
pub use transform::MAX_ACL_ENTRIES;

use crate::command::Caller;
use crate::errors;
use crate::inode::{Inode, InodeHandle};
use crate::namespace::Namespace;
use crate::permission::is_member;
use crate::resolve::Purpose;
use hadron_types::{ErrorKind, FsAction, FsPermission, HadoopError, HadoopResult};
use std::sync::Arc;

/// Entries of a base ACL: owner, group, others.
const MINIMAL_LEN: usize = 3;

/// An ACL as `AclStatusProto` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclStatus {
    /// Owner.
    pub owner: String,
    /// Group.
    pub group: String,
    /// Mode; its group bits are the mask if there is an access ACL.
    pub permission: FsPermission,
    /// What the mode does not say: named entries, the group's entry where there is an access ACL, default entries.
    pub entries: Vec<AclEntry>,
}

fn mode_entries(mode: FsPermission) -> [AclEntry; MINIMAL_LEN] {
    let entry = |kind, permission| AclEntry::unnamed(AclScope::Access, kind, permission);
    [
        entry(AclType::User, mode.owner()),
        entry(AclType::Group, mode.group()),
        entry(AclType::Other, mode.other()),
    ]
}

/// A mode of these three sets, with the sticky bit of `before`.
fn mode_of(owner: FsAction, group: FsAction, other: FsAction, before: FsPermission) -> FsPermission {
    let bits = u32::from(owner.0 & 7) << 6 | u32::from(group.0 & 7) << 3 | u32::from(other.0 & 7);
    FsPermission::from_wire(bits | u32::from(before.bits()) & 0o1000)
}

fn and(one: FsAction, other: FsAction) -> FsAction {
    FsAction(one.0 & other.0)
}

impl Namespace {
    /// getAclStatus.
    ///
    /// Errors: as resolving; FileNotFoundException.
    pub fn acl_status(&self, caller: &Caller, path: &str) -> HadoopResult<AclStatus> {
        let at = self.resolve(caller, path, Purpose::Read)?;
        let handle = at.last().ok_or_else(|| errors::cannot_find(&at.path))?;
        let inode = self.inode(handle);
        Ok(AclStatus {
            owner: self.owner_name(inode).to_owned(),
            group: self.group_name(inode).to_owned(),
            permission: inode.mode(),
            entries: self
                .acls
                .get(inode.id())
                .iter()
                .map(|kept| self.written_out(*kept))
                .collect(),
        })
    }

    /// The whole ACL of an inode, entries that its mode implies included.
    pub(crate) fn logical_acl(&self, handle: InodeHandle) -> Vec<AclEntry> {
        let inode = self.inode(handle);
        let [owner, group, other] = mode_entries(inode.mode());
        let (access, default) = split(self.acls.get(inode.id()));
        let mut acl = vec![owner];
        if access.is_empty() {
            acl.push(group);
        } else {
            acl.extend(access.iter().map(|kept| self.written_out(*kept)));
            acl.push(AclEntry::unnamed(AclScope::Access, AclType::Mask, group.permission));
        }
        acl.push(other);
        acl.extend(default.iter().map(|kept| self.written_out(*kept)));
        acl
    }

    /// Refuses a whole ACL that does not fit the inode.
    pub(crate) fn check_acl_fits(&self, handle: InodeHandle, acl: &[AclEntry]) -> HadoopResult<()> {
        let has_default = acl.iter().any(|entry| entry.scope == AclScope::Default);
        if has_default && !self.inode(handle).is_directory() {
            return Err(HadoopError::new(
                ErrorKind::Acl,
                "Invalid ACL: only directories may have a default ACL.",
            ));
        }
        Ok(())
    }

    /// Gives an inode a whole ACL, valid and sorted: its mode and its kept entries.
    pub(crate) fn set_acl(&mut self, handle: InodeHandle, acl: &[AclEntry]) {
        let default_at = acl
            .iter()
            .position(|entry| entry.scope == AclScope::Default)
            .unwrap_or(acl.len());
        let (access, default) = acl.split_at(default_at);
        // Sorted and valid: the owner comes first, others last, and the mask, or else the group, before them.
        let before = self.inode(handle).mode();
        if let [owner, .., group_class, other] = access {
            let mode = mode_of(owner.permission, group_class.permission, other.permission, before);
            self.inode_mut(handle).set_mode(mode);
        }
        let named = if access.len() > MINIMAL_LEN {
            &access[1..access.len() - 2]
        } else {
            &[]
        };
        let mut kept = Vec::with_capacity(named.len() + default.len());
        for entry in named.iter().chain(default) {
            let name = entry
                .name
                .as_deref()
                .map(|name| Arc::make_mut(&mut self.names).intern(name));
            kept.push(KeptEntry::new(entry.scope, entry.kind, name, entry.permission));
        }
        self.keep_acl(handle, &kept);
    }

    /// Takes an inode's ACL away; the mask in its mode gives way to the group's entry.
    pub(crate) fn clear_acl(&mut self, handle: InodeHandle) {
        let inode = self.inode(handle);
        let is_group = |kept: &&KeptEntry| {
            kept.scope() == AclScope::Access && kept.kind() == AclType::Group && kept.name().is_none()
        };
        let group = self
            .acls
            .get(inode.id())
            .iter()
            .find(is_group)
            .map(|kept| kept.permission());
        if let Some(group) = group {
            let mode = inode.mode();
            let mode = mode_of(mode.owner(), group, mode.other(), mode);
            self.inode_mut(handle).set_mode(mode);
        }
        self.keep_acl(handle, &[]);
    }

    /// Gives a new inode what its parent's default ACL says, filtered by `mode`; answers whether there was one.
    ///
    /// `mode`: the mode asked for, in which group bits filter the mask.
    pub(crate) fn inherit_acl(&mut self, parent: InodeHandle, child: InodeHandle, mode: FsPermission) -> bool {
        let parent_inode = self.inode(parent);
        if !parent_inode.has_acl() {
            return false;
        }
        let default: Vec<KeptEntry> = split(self.acls.get(parent_inode.id())).1.to_vec();
        if default.is_empty() {
            return false;
        }
        let is_minimal = default.len() == MINIMAL_LEN;
        let (mut kept, mut owner, mut group_class, mut other) = (Vec::new(), mode.owner(), mode.group(), mode.other());
        for entry in &default {
            let granted = entry.permission();
            match (entry.kind(), entry.name()) {
                (AclType::User, None) => owner = and(granted, mode.owner()),
                (AclType::Mask, _) => group_class = and(granted, mode.group()),
                (AclType::Other, _) => other = and(granted, mode.other()),
                (AclType::Group, None) if is_minimal => group_class = and(granted, mode.group()),
                (kind, name) => kept.push(KeptEntry::new(AclScope::Access, kind, name, granted)),
            }
        }
        let is_directory = self.inode(child).is_directory();
        if is_directory {
            kept.extend(default);
        }
        self.inode_mut(child).set_mode(mode_of(owner, group_class, other, mode));
        self.keep_acl(child, &kept);
        true
    }

    /// Puts kept entries into the table, or takes them out if there are none.
    pub(crate) fn keep_acl(&mut self, handle: InodeHandle, kept: &[KeptEntry]) {
        let id = self.inode(handle).id();
        if kept.is_empty() {
            // A page of inodes is copied only for a bit that changes.
            if self.inode(handle).has_acl() {
                self.inode_mut(handle).set_has_acl(false);
                self.acls.remove(id);
            }
            return;
        }
        self.inode_mut(handle).set_has_acl(true);
        self.acls.set(id, kept);
    }

    /// Whether the access ACL of an inode gives `caller` all of `action`; `None` if it has none.
    pub(crate) fn acl_permits(&self, caller: &Caller, inode: &Inode, action: FsAction) -> Option<bool> {
        let (access, _) = split(self.acls.get(inode.id()));
        if access.is_empty() {
            return None;
        }
        let mode = inode.mode();
        if self.owner_name(inode) == caller.user {
            return Some(mode.owner().implies(action));
        }
        let grants = |kept: &KeptEntry| and(kept.permission(), mode.group()).implies(action);
        let name_of = |kept: &KeptEntry| kept.name().map(|number| self.names.name(number));
        let own = |kept: &&KeptEntry| kept.kind() == AclType::User && name_of(kept) == Some(caller.user.as_str());
        if let Some(named) = access.iter().find(own) {
            return Some(grants(named));
        }
        let group_of = |kept: &KeptEntry| name_of(kept).unwrap_or_else(|| self.group_name(inode));
        let mut is_in_one = false;
        for kept in access.iter().filter(|kept| kept.kind() == AclType::Group) {
            if is_member(caller, group_of(kept)) {
                if grants(kept) {
                    return Some(true);
                }
                is_in_one = true;
            }
        }
        Some(!is_in_one && mode.other().implies(action))
    }

    fn written_out(&self, kept: KeptEntry) -> AclEntry {
        AclEntry {
            scope: kept.scope(),
            kind: kept.kind(),
            name: kept.name().map(|number| self.names.name(number).to_owned()),
            permission: kept.permission(),
        }
    }
}

/// Kept entries of the access ACL, and default ones.
fn split(kept: &[KeptEntry]) -> (&[KeptEntry], &[KeptEntry]) {
    let default_at = kept.partition_point(|entry| entry.scope() == AclScope::Access);
    kept.split_at(default_at)
}
