//! ACL entries: as callers write them, and as inodes keep them.
//!
//! An inode keeps only what its mode bits cannot say: named entries and the group's entry of the access ACL, and all
//! default entries. Owner and others stand in the mode, and the mask stands in its group bits, so that chmod changes
//! the mask. Kept entries are four bytes each, sorted; equal lists are one list (see [`super::table`]).
//! Source: Hadoop `AclEntry`, `AclStorage`, `AclFeature`.

use hadron_types::FsAction;
use std::cmp::Ordering;
use std::fmt;

/// Whether an entry governs the inode itself or what is made below it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum AclScope {
    /// The inode's own access.
    Access = 0,
    /// Inherited by new children of a directory.
    Default = 1,
}

/// Whom an entry is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum AclType {
    /// The owner, or a named user.
    User = 0,
    /// The group, or a named group.
    Group = 1,
    /// The most that named entries and the group may get.
    Mask = 2,
    /// Everybody else.
    Other = 3,
}

impl AclScope {
    /// Both scopes, in the order of entries.
    pub const ALL: [Self; 2] = [Self::Access, Self::Default];

    /// Reads the number that `AclEntryProto` and the journal use.
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::Access),
            1 => Some(Self::Default),
            _ => None,
        }
    }
}

impl AclType {
    /// The three types that every ACL has without a name.
    pub const BASE: [Self; 3] = [Self::User, Self::Group, Self::Other];

    /// Reads the number that `AclEntryProto` and the journal use.
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::User),
            1 => Some(Self::Group),
            2 => Some(Self::Mask),
            3 => Some(Self::Other),
            _ => None,
        }
    }
}

/// One entry of an ACL, or of a request about one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclEntry {
    /// Access or default.
    pub scope: AclScope,
    /// Whom it is about.
    pub kind: AclType,
    /// A user or group; `None` for owner, group, mask and others.
    pub name: Option<String>,
    /// What is granted.
    pub permission: FsAction,
}

impl AclEntry {
    /// An entry without a name.
    pub fn unnamed(scope: AclScope, kind: AclType, permission: FsAction) -> Self {
        let name = None;
        Self {
            scope,
            kind,
            name,
            permission,
        }
    }

    /// The order of entries in an ACL; equal for entries about the same.
    ///
    /// Names are compared as Java compares strings, by UTF-16 units.
    pub fn compare_key(&self, other: &Self) -> Ordering {
        let key = |entry: &Self| (entry.scope, entry.kind, entry.name.is_some());
        key(self).cmp(&key(other)).then_with(|| {
            let units = |entry: &Self| entry.name.as_deref().unwrap_or("").encode_utf16().collect::<Vec<_>>();
            if self.name == other.name {
                Ordering::Equal
            } else {
                units(self).cmp(&units(other))
            }
        })
    }
}

impl fmt::Display for AclEntry {
    /// `default:user:ann:rwx`, as Hadoop prints entries.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scope == AclScope::Default {
            f.write_str("default:")?;
        }
        let kind = match self.kind {
            AclType::User => "user",
            AclType::Group => "group",
            AclType::Mask => "mask",
            AclType::Other => "other",
        };
        let name = self.name.as_deref().unwrap_or("");
        write!(f, "{kind}:{name}:{}", self.permission.symbol())
    }
}

/// An entry as inodes keep it: name number 24 | has a name 1 | permission 3 | type 2 | scope 1, from above.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct KeptEntry(pub(crate) u32);

impl KeptEntry {
    pub(crate) fn new(scope: AclScope, kind: AclType, name: Option<u32>, permission: FsAction) -> Self {
        let number = name.map_or(0, |number| number << 8 | 1 << 6);
        Self(number | u32::from(permission.0 & 7) << 3 | (kind as u32) << 1 | scope as u32)
    }
    pub(crate) fn scope(self) -> AclScope {
        if self.0 & 1 == 0 {
            AclScope::Access
        } else {
            AclScope::Default
        }
    }
    pub(crate) fn kind(self) -> AclType {
        match self.0 >> 1 & 3 {
            0 => AclType::User,
            1 => AclType::Group,
            2 => AclType::Mask,
            _ => AclType::Other,
        }
    }
    pub(crate) fn permission(self) -> FsAction {
        FsAction((self.0 >> 3 & 7) as u8)
    }
    /// Number of the name in the table of names.
    pub(crate) fn name(self) -> Option<u32> {
        (self.0 & 1 << 6 != 0).then_some(self.0 >> 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_entries_keep_their_parts() {
        for (scope, kind, name, permission) in [
            (AclScope::Access, AclType::User, Some(0xff_ffff), FsAction::ALL),
            (AclScope::Default, AclType::Other, None, FsAction::NONE),
            (AclScope::Default, AclType::Group, Some(0), FsAction::READ_EXECUTE),
            (AclScope::Access, AclType::Mask, None, FsAction::WRITE),
        ] {
            let kept = KeptEntry::new(scope, kind, name, permission);
            assert_eq!(
                (kept.scope(), kept.kind(), kept.name(), kept.permission()),
                (scope, kind, name, permission)
            );
        }
    }
}
