//! Extended attributes of inodes: the table of them, reading them, and who may see which.
//!
//! Five namespaces: `user` for everybody whom the mode allows, `trusted` for superusers, `raw` below `/.reserved/raw`,
//! `system` and `security` for nobody but for one mark, [`UNREADABLE_BY_SUPERUSER`].
//! Invariants: an inode is in the table exactly while its has-xattrs bit is set; no list is empty; the newest
//! attribute comes first.
//! Source: Hadoop `XAttrPermissionFilter`, `FSDirXAttrOp`, `XAttrStorage`.

use crate::command::{Caller, XAttrRecord};
use crate::cow::CowMap;
use crate::errors;
use crate::inode::{Inode, InodeHandle};
use crate::namespace::Namespace;
use crate::permission::Access;
use crate::resolve::{Purpose, is_raw};
use bytes::Bytes;
use hadron_types::{ErrorKind, FsAction, HadoopError, HadoopResult, InodeId};
use std::sync::Arc;

/// The mark of files whose contents superusers may not read.
pub const UNREADABLE_BY_SUPERUSER: &str = "security.hdfs.unreadable.by.superuser";

/// Whose an extended attribute is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum XAttrNamespace {
    /// Users', guarded by the mode.
    User = 0,
    /// Superusers'.
    Trusted = 1,
    /// Of the file system, for security.
    Security = 2,
    /// Of the file system.
    System = 3,
    /// Of the file system, shown below `/.reserved/raw`.
    Raw = 4,
}

impl XAttrNamespace {
    /// Reads the number that `XAttrProto` and the journal use.
    pub fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::User,
            1 => Self::Trusted,
            2 => Self::Security,
            3 => Self::System,
            4 => Self::Raw,
            _ => return None,
        })
    }

    /// Java's name of the enum value.
    fn name(self) -> &'static str {
        ["USER", "TRUSTED", "SECURITY", "SYSTEM", "RAW"][self as usize]
    }
}

/// An extended attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XAttr {
    /// Its namespace.
    pub namespace: XAttrNamespace,
    /// Its name without the namespace.
    pub name: String,
    /// Its value. Hadoop keeps an empty one as none.
    pub value: Bytes,
}

impl XAttr {
    /// `user.name`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.namespace.name().to_ascii_lowercase(), self.name)
    }

    /// Whether both are the same attribute, whatever their values.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.namespace, &self.name) == (other.namespace, &other.name)
    }

    /// Whether it counts towards the limit.
    pub(crate) fn is_user_visible(&self) -> bool {
        matches!(self.namespace, XAttrNamespace::User | XAttrNamespace::Trusted)
    }

    fn is_unreadable_mark(&self) -> bool {
        self.namespace == XAttrNamespace::Security
            && UNREADABLE_BY_SUPERUSER.strip_prefix("security.") == Some(self.name.as_str())
    }

    /// Whether `caller` may see it.
    fn is_shown(&self, caller: &Caller, is_raw_path: bool) -> bool {
        match self.namespace {
            XAttrNamespace::User => true,
            XAttrNamespace::Trusted => caller.superuser,
            XAttrNamespace::Raw => is_raw_path,
            XAttrNamespace::Security | XAttrNamespace::System => self.is_unreadable_mark(),
        }
    }

    /// Refuses an attribute that `caller` may not name in a call. `has_value`: whether the call gives one.
    pub(crate) fn check_allowed(&self, caller: &Caller, is_raw_path: bool, has_value: bool) -> HadoopResult<()> {
        if !self.is_shown(caller, is_raw_path) {
            return Err(errors::denied(format!(
                "User doesn't have permission for xattr: {}",
                self.full_name()
            )));
        }
        if self.is_unreadable_mark() && has_value {
            return Err(errors::denied(format!(
                "Attempt to set a value for '{UNREADABLE_BY_SUPERUSER}'. Values are not allowed for this xattr."
            )));
        }
        Ok(())
    }
}

impl XAttrRecord {
    /// The attribute; refuses an unknown namespace.
    pub(crate) fn xattr(&self) -> HadoopResult<XAttr> {
        let namespace = XAttrNamespace::from_number(self.namespace)
            .ok_or_else(|| errors::illegal_argument(format!("unknown XAttr namespace {}", self.namespace)))?;
        Ok(XAttr {
            namespace,
            name: self.name.clone(),
            value: self.value.clone().unwrap_or_default(),
        })
    }
}

impl From<&XAttr> for XAttrRecord {
    fn from(xattr: &XAttr) -> Self {
        Self {
            namespace: xattr.namespace as i32,
            name: xattr.name.clone(),
            value: (!xattr.value.is_empty()).then(|| xattr.value.clone()),
        }
    }
}

/// The extended attributes of a namespace.
#[derive(Clone)]
pub(crate) struct XAttrTable {
    of_inode: CowMap<InodeId, Arc<Vec<XAttr>>>,
}

impl XAttrTable {
    pub(crate) fn new() -> Self {
        Self {
            of_inode: CowMap::new(),
        }
    }

    /// The attributes of `inode`, the newest first.
    pub(crate) fn get(&self, inode: InodeId) -> &[XAttr] {
        self.of_inode.get(&inode).map_or(&[], |list| list.as_slice())
    }

    /// Inodes that have attributes, for the tests of the whole.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.of_inode.len()
    }

    /// Bytes of the table, names and values.
    pub(crate) fn memory_bytes(&self) -> usize {
        const LIST: usize = 2 * size_of::<usize>() + size_of::<Vec<XAttr>>();
        let one = |xattr: &XAttr| size_of::<XAttr>() + xattr.name.capacity() + xattr.value.len();
        let lists: usize = self
            .of_inode
            .iter()
            .map(|(_, list)| LIST + list.iter().map(one).sum::<usize>())
            .sum();
        self.of_inode.memory_bytes() + lists
    }
}

impl Namespace {
    /// getXAttrs: those of `wanted`, in its order, or all that `caller` may see if it is empty.
    ///
    /// Errors: as resolving and READ on the path; XAttrNotFoundException unless all that is wanted is there.
    pub fn get_xattrs(&self, caller: &Caller, path: &str, wanted: &[XAttrRecord]) -> HadoopResult<Vec<XAttr>> {
        let is_raw_path = is_raw(path);
        let wanted = wanted
            .iter()
            .map(|record| Ok((record.xattr()?, record.value.is_some())));
        let wanted = wanted.collect::<HadoopResult<Vec<_>>>()?;
        for (xattr, has_value) in &wanted {
            xattr.check_allowed(caller, is_raw_path, *has_value)?;
        }
        let shown = self.list_xattrs(caller, path)?;
        if wanted.is_empty() {
            return Ok(shown);
        }
        let find = |(wanted, _): &(XAttr, bool)| shown.iter().find(|xattr| xattr.is_same(wanted)).cloned();
        wanted.iter().map(find).collect::<Option<_>>().ok_or_else(|| {
            HadoopError::new(
                ErrorKind::XAttrNotFound,
                "At least one of the attributes provided was not found.",
            )
        })
    }

    /// listXAttrs: all that `caller` may see.
    pub fn list_xattrs(&self, caller: &Caller, path: &str) -> HadoopResult<Vec<XAttr>> {
        let at = self.resolve(caller, path, Purpose::Read)?;
        let access = Access {
            path: Some(FsAction::READ),
            ..Access::default()
        };
        self.check_access(caller, &at, access)?;
        let handle = at.last().ok_or_else(|| errors::cannot_find(&at.path))?;
        let is_raw_path = is_raw(path);
        let all = self.xattrs.get(self.inode(handle).id()).iter();
        Ok(all
            .filter(|xattr| xattr.is_shown(caller, is_raw_path))
            .cloned()
            .collect())
    }

    /// Refuses a superuser who would read what is marked as not for superusers.
    pub(crate) fn check_readable_by_superuser(&self, caller: &Caller, inode: &Inode) -> HadoopResult<()> {
        let is_marked = || self.xattrs.get(inode.id()).iter().any(XAttr::is_unreadable_mark);
        if caller.superuser && inode.has_xattrs() && is_marked() {
            return Err(errors::denied(format!(
                "Access is denied for {} since the superuser is not allowed to perform this operation.",
                caller.user
            )));
        }
        Ok(())
    }

    /// Gives an inode these attributes in place of those it had.
    pub(crate) fn keep_xattrs(&mut self, handle: InodeHandle, xattrs: Vec<XAttr>) {
        let id = self.inode(handle).id();
        if xattrs.is_empty() {
            // A page of inodes is copied only for a bit that changes.
            if self.inode(handle).has_xattrs() {
                self.inode_mut(handle).set_has_xattrs(false);
                self.xattrs.of_inode.remove(&id);
            }
            return;
        }
        self.inode_mut(handle).set_has_xattrs(true);
        self.xattrs.of_inode.insert(id, Arc::new(xattrs));
    }
}
