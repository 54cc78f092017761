//! SetXAttr and RemoveXAttr.
//!
//! Source: Hadoop `FSDirXAttrOp`, `XAttrSetFlag`; whether attributes are enabled is asked before a command is made.

use super::{Context, Operation};
use crate::command::{RemoveXAttr, SetXAttr, xattr_flag};
use crate::errors;
use crate::inode::InodeHandle;
use crate::namespace::Namespace;
use crate::outcome::{Effect, OutcomeValue};
use crate::permission::Access;
use crate::resolve::{Purpose, Resolved, is_raw};
use crate::xattr::{UNREADABLE_BY_SUPERUSER, XAttr, XAttrNamespace};
use hadron_types::{ErrorKind, FsAction, HadoopError, HadoopResult};

/// The mark of an encrypted file, which only files in encryption zones have.
const FILE_ENCRYPTION_INFO: &str = "hdfs.crypto.file.encryption.info";
/// The mark of an encryption zone.
const ENCRYPTION_ZONE: &str = "hdfs.crypto.encryption.zone";

/// The attributes an inode will have.
pub(crate) struct NewXAttrs {
    inode: InodeHandle,
    xattrs: Vec<XAttr>,
}

impl Operation for SetXAttr {
    type Plan = NewXAttrs;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<NewXAttrs> {
        let xattr = self.xattr.xattr()?;
        let (limit, len) = (
            context.limits.xattr_len() as usize,
            xattr.name.len() + xattr.value.len(),
        );
        if len > limit {
            return Err(errors::illegal_argument(format!(
                "The XAttr is too big. The maximum combined size of the name and value is {limit}, but the total size \
                 is {len}"
            )));
        }
        xattr.check_allowed(context.caller, is_raw(&self.path), self.xattr.value.is_some())?;
        let at = namespace.resolve(context.caller, &self.path, Purpose::Write)?;
        let inode = changeable(namespace, context, &at, &xattr)?;
        let existing = namespace.xattrs.get(namespace.inode(inode).id());
        let exists = existing.iter().any(|known| known.is_same(&xattr));
        self.check_flags(&xattr, exists)?;
        let others = existing.iter().filter(|known| !known.is_same(&xattr)).cloned();
        let xattrs: Vec<XAttr> = std::iter::once(xattr.clone()).chain(others).collect();
        let (limit, visible) = (
            context.limits.xattrs_per_inode() as usize,
            xattrs.iter().filter(|xattr| xattr.is_user_visible()).count(),
        );
        if visible > limit {
            return Err(HadoopError::io(format!(
                "Cannot add additional XAttr to inode, would exceed limit of {limit}"
            )));
        }
        check_reserved(&xattr, !namespace.inode(inode).is_directory())?;
        Ok(NewXAttrs { inode, xattrs })
    }

    fn execute(
        &self,
        plan: NewXAttrs,
        namespace: &mut Namespace,
        _context: Context<'_>,
        _effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        namespace.keep_xattrs(plan.inode, plan.xattrs);
        OutcomeValue::Done
    }
}

impl SetXAttr {
    fn check_flags(&self, xattr: &XAttr, exists: bool) -> HadoopResult<()> {
        let has = |flag| self.flags & flag != 0;
        if !has(xattr_flag::CREATE | xattr_flag::REPLACE) {
            return Err(errors::illegal_argument("A flag must be specified.".to_owned()));
        }
        let (needed, state, name) = if exists {
            (xattr_flag::REPLACE, "already exists", "REPLACE")
        } else {
            (xattr_flag::CREATE, "does not exist", "CREATE")
        };
        if has(needed) {
            return Ok(());
        }
        Err(HadoopError::io(format!(
            "XAttr: {} {state}. The {name} flag must be specified.",
            xattr.name
        )))
    }
}

/// Refuses attributes with a meaning that the inode cannot have.
fn check_reserved(xattr: &XAttr, is_file: bool) -> HadoopResult<()> {
    if xattr.namespace == XAttrNamespace::Raw && xattr.name == FILE_ENCRYPTION_INFO {
        return Err(HadoopError::io(
            "Cannot add raw feInfo XAttr to a file in a non-encryption zone",
        ));
    }
    if xattr.namespace == XAttrNamespace::Raw && xattr.name == ENCRYPTION_ZONE {
        return Err(HadoopError::new(
            ErrorKind::UnsupportedOperation,
            "encryption zones are not supported: the directory cannot become one",
        ));
    }
    if !is_file && xattr.full_name() == UNREADABLE_BY_SUPERUSER {
        return Err(HadoopError::io(format!(
            "Can only set '{UNREADABLE_BY_SUPERUSER}' on a file."
        )));
    }
    Ok(())
}

impl Operation for RemoveXAttr {
    type Plan = NewXAttrs;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<NewXAttrs> {
        let xattr = self.xattr.xattr()?;
        xattr.check_allowed(context.caller, is_raw(&self.path), self.xattr.value.is_some())?;
        let at = namespace.resolve(context.caller, &self.path, Purpose::Write)?;
        let inode = changeable(namespace, context, &at, &xattr)?;
        let existing = namespace.xattrs.get(namespace.inode(inode).id());
        let xattrs: Vec<XAttr> = existing
            .iter()
            .filter(|known| !known.is_same(&xattr))
            .cloned()
            .collect();
        if xattrs.len() == existing.len() {
            return Err(HadoopError::io("No matching attributes found for remove operation"));
        }
        if xattr.full_name() == UNREADABLE_BY_SUPERUSER {
            return Err(errors::denied(format!(
                "The xattr '{UNREADABLE_BY_SUPERUSER}' can not be deleted."
            )));
        }
        Ok(NewXAttrs { inode, xattrs })
    }

    fn execute(
        &self,
        plan: NewXAttrs,
        namespace: &mut Namespace,
        _context: Context<'_>,
        _effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        namespace.keep_xattrs(plan.inode, plan.xattrs);
        OutcomeValue::Done
    }
}

/// The inode at `at`, whose attribute `xattr` the caller may change: by WRITE, or by owning a sticky directory.
fn changeable(namespace: &Namespace, context: Context<'_>, at: &Resolved, xattr: &XAttr) -> HadoopResult<InodeHandle> {
    if xattr.namespace == XAttrNamespace::User {
        let is_sticky_directory = at.last().is_some_and(|handle| {
            let inode = namespace.inode(handle);
            inode.is_directory() && inode.mode().is_sticky()
        });
        let access = Access {
            owner: is_sticky_directory,
            path: (!is_sticky_directory).then_some(FsAction::WRITE),
            ..Access::default()
        };
        namespace.check_access(context.caller, at, access)?;
    }
    at.last().ok_or_else(|| errors::cannot_find(&at.path))
}
