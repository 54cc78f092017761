//! The calls that change ACLs. Each makes a whole new ACL of the present one, which only the owner may ask for.
//!
//! Source: Hadoop `FSDirAclOp`; whether ACLs are enabled is asked before a command is made.

use super::attributes::owned_at;
use super::{Context, Operation};
use crate::acl::{AclEntry, AclScope, AclType, transform};
use crate::command::{AclEntryRecord, ModifyAclEntries, RemoveAcl, RemoveAclEntries, RemoveDefaultAcl, SetAcl};
use crate::inode::InodeHandle;
use crate::namespace::Namespace;
use crate::outcome::{Effect, OutcomeValue};
use hadron_types::{ErrorKind, FsAction, HadoopError, HadoopResult};

/// What becomes of an inode's ACL.
pub(crate) struct NewAcl {
    inode: InodeHandle,
    /// `None` takes it away.
    acl: Option<Vec<AclEntry>>,
}

/// Makes a new ACL of that at `path` and of `entries`.
fn plan(
    namespace: &Namespace,
    context: Context<'_>,
    path: &str,
    entries: &[AclEntryRecord],
    change: fn(&[AclEntry], &[AclEntry]) -> HadoopResult<Vec<AclEntry>>,
) -> HadoopResult<NewAcl> {
    let (inode, shown) = owned_at(namespace, context, path)?;
    let named = |mut error: HadoopError| {
        error.message = format!("{} Path: {shown}", error.message);
        error
    };
    let spec = entries.iter().map(entry_of).collect::<HadoopResult<Vec<_>>>()?;
    let acl = change(&namespace.logical_acl(inode), &spec).map_err(named)?;
    namespace.check_acl_fits(inode, &acl).map_err(named)?;
    let acl = Some(acl);
    Ok(NewAcl { inode, acl })
}

fn entry_of(record: &AclEntryRecord) -> HadoopResult<AclEntry> {
    let (Some(scope), Some(kind)) = (AclScope::from_number(record.scope), AclType::from_number(record.kind)) else {
        return Err(HadoopError::new(
            ErrorKind::Acl,
            "Invalid ACL: unknown type or scope of an entry.",
        ));
    };
    Ok(AclEntry {
        scope,
        kind,
        name: (!record.name.is_empty()).then(|| record.name.clone()),
        permission: FsAction(record.permission as u8 & 7),
    })
}

impl From<&AclEntry> for AclEntryRecord {
    fn from(entry: &AclEntry) -> Self {
        Self {
            kind: entry.kind as i32,
            scope: entry.scope as i32,
            permission: u32::from(entry.permission.0),
            name: entry.name.clone().unwrap_or_default(),
        }
    }
}

fn execute(plan: NewAcl, namespace: &mut Namespace) -> OutcomeValue {
    match plan.acl {
        Some(acl) => namespace.set_acl(plan.inode, &acl),
        None => namespace.clear_acl(plan.inode),
    }
    OutcomeValue::Done
}

macro_rules! operation {
    ($name:ident, $plan:expr) => {
        impl Operation for $name {
            type Plan = NewAcl;

            fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<NewAcl> {
                let plan: fn(&Self, &Namespace, Context<'_>) -> HadoopResult<NewAcl> = $plan;
                plan(self, namespace, context)
            }

            fn execute(
                &self,
                plan: NewAcl,
                namespace: &mut Namespace,
                _context: Context<'_>,
                _effects: &mut Vec<Effect>,
            ) -> OutcomeValue {
                execute(plan, namespace)
            }
        }
    };
}

fn removed(namespace: &Namespace, context: Context<'_>, path: &str) -> HadoopResult<NewAcl> {
    let (inode, _) = owned_at(namespace, context, path)?;
    Ok(NewAcl { inode, acl: None })
}

operation!(SetAcl, |op, namespace, context| {
    // Hadoop's journal knows removal as an empty ACL, and so do its callers.
    if op.entries.is_empty() {
        return removed(namespace, context, &op.path);
    }
    plan(namespace, context, &op.path, &op.entries, transform::replace)
});
operation!(ModifyAclEntries, |op, namespace, context| {
    plan(namespace, context, &op.path, &op.entries, transform::merge)
});
operation!(RemoveAclEntries, |op, namespace, context| {
    plan(namespace, context, &op.path, &op.entries, transform::filter)
});
operation!(RemoveAcl, |op, namespace, context| removed(
    namespace, context, &op.path
));
operation!(RemoveDefaultAcl, |op, namespace, context| {
    plan(namespace, context, &op.path, &[], |existing, _| {
        transform::filter_default(existing)
    })
});
