//! Mode bits and what they allow.

use std::fmt;

/// Mode bits of an inode: rwx for owner, group, others, and the sticky bit (0o1000). 0..=0o1777.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Default)]
pub struct FsPermission(u16);

impl FsPermission {
    /// Keeps the low ten bits of what a peer sent (Hadoop's `FsPermission` mask).
    pub fn from_wire(bits: u32) -> Self {
        Self((bits & 0o1777) as u16)
    }
    /// The bits, 0..=0o1777.
    pub fn bits(self) -> u16 {
        self.0
    }
    /// Whether only owners may remove or rename entries of this directory.
    pub fn is_sticky(self) -> bool {
        self.0 & 0o1000 != 0
    }
    /// The three bits of the owner.
    pub fn owner(self) -> FsAction {
        FsAction((self.0 >> 6) as u8 & 7)
    }
    /// The three bits of the group.
    pub fn group(self) -> FsAction {
        FsAction((self.0 >> 3) as u8 & 7)
    }
    /// The three bits of everybody else.
    pub fn other(self) -> FsAction {
        FsAction(self.0 as u8 & 7)
    }
    /// These bits without those of `umask`.
    #[must_use]
    pub fn without(self, umask: u16) -> Self {
        Self(self.0 & !umask)
    }
    /// These bits and those of `more`.
    #[must_use]
    pub fn with(self, more: u16) -> Self {
        Self((self.0 | more) & 0o1777)
    }
}

impl fmt::Display for FsPermission {
    /// `rwxr-xr-x`, with `t` or `T` last when sticky, as `ls` and Hadoop print it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = self.other();
        write!(f, "{}{}", self.owner().symbol(), self.group().symbol())?;
        if self.is_sticky() {
            let last = if other.implies(FsAction::EXECUTE) { 't' } else { 'T' };
            write!(f, "{}{last}", &other.symbol()[..2])
        } else {
            f.write_str(other.symbol())
        }
    }
}

/// A set of read (4), write (2) and execute (1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FsAction(pub u8);

impl FsAction {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Traverse a directory.
    pub const EXECUTE: Self = Self(1);
    /// Change contents.
    pub const WRITE: Self = Self(2);
    /// Write and execute.
    pub const WRITE_EXECUTE: Self = Self(3);
    /// Read contents.
    pub const READ: Self = Self(4);
    /// Read and execute.
    pub const READ_EXECUTE: Self = Self(5);
    /// Read and write.
    pub const READ_WRITE: Self = Self(6);
    /// All three.
    pub const ALL: Self = Self(7);

    /// Whether every bit of `wanted` is in this set.
    pub fn implies(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
    /// Hadoop's enum name, which stands in AccessControlException texts (`access=READ_EXECUTE`).
    pub fn name(self) -> &'static str {
        [
            "NONE",
            "EXECUTE",
            "WRITE",
            "WRITE_EXECUTE",
            "READ",
            "READ_EXECUTE",
            "READ_WRITE",
            "ALL",
        ][usize::from(self.0 & 7)]
    }
    /// `r-x` form.
    pub fn symbol(self) -> &'static str {
        ["---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx"][usize::from(self.0 & 7)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_print_as_ls_does() {
        for (bits, text) in [
            (0o755, "rwxr-xr-x"),
            (0o1777, "rwxrwxrwt"),
            (0o1776, "rwxrwxrwT"),
            (0o640, "rw-r-----"),
        ] {
            assert_eq!(FsPermission::from_wire(bits).to_string(), text);
        }
        assert_eq!(
            FsPermission::from_wire(0x1000 | 0o644).bits(),
            0o644,
            "2.x ACL mark is not a mode bit"
        );
    }

    #[test]
    fn actions_imply_their_parts() {
        assert!(FsAction::ALL.implies(FsAction::READ_EXECUTE));
        assert!(!FsAction::READ.implies(FsAction::READ_EXECUTE));
        assert_eq!(FsAction::READ_EXECUTE.name(), "READ_EXECUTE");
    }
}
