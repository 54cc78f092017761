//! SetQuota: limits on names, on space, or on one storage type. Source: Hadoop `FSDirAttrOp.setQuota`.

use super::{Context, Operation, require_superuser};
use crate::command::SetQuota;
use crate::errors;
use crate::inode::InodeHandle;
use crate::namespace::Namespace;
use crate::outcome::{Effect, OutcomeValue};
use crate::permission::Access;
use crate::quota::{NO_QUOTA, QuotaLimits, quota_type_index};
use crate::resolve::{Purpose, Resolved};
use hadron_types::{ErrorKind, HadoopError, HadoopResult, StorageType};

/// Java's `QUOTA_DONT_SET`.
const KEEP: i64 = i64::MAX;
/// Java's `QUOTA_RESET`.
const CLEAR: i64 = NO_QUOTA;

impl Operation for SetQuota {
    /// `None` if nothing changes.
    type Plan = Option<(InodeHandle, QuotaLimits)>;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<Self::Plan> {
        if !self.allow_owner {
            require_superuser(context)?;
        }
        let at = namespace.resolve(context.caller, &self.path, Purpose::Write)?;
        if self.allow_owner {
            namespace.check_owner_of_parent(context, &at)?;
        }
        self.check_numbers()?;
        let directory = at
            .last()
            .ok_or_else(|| errors::missing(format!("Directory does not exist: {}", at.path)))?;
        if !namespace.inode(directory).is_directory() {
            let text = format!("`{}': Is not a directory", at.path);
            return Err(HadoopError::new(ErrorKind::PathIsNotDirectory, text));
        }
        if directory == namespace.root && self.names == CLEAR {
            let text = "Cannot clear namespace quota on root.";
            return Err(HadoopError::new(ErrorKind::IllegalArgument, text));
        }
        let old = namespace.quota_limits(directory);
        let new = self.changed(old)?;
        Ok((new != old).then_some((directory, new)))
    }

    fn execute(
        &self,
        plan: Self::Plan,
        namespace: &mut Namespace,
        _context: Context<'_>,
        _effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        if let Some((directory, limits)) = plan {
            namespace.set_quota(directory, limits);
        }
        OutcomeValue::Done
    }
}

impl SetQuota {
    fn check_numbers(&self) -> HadoopResult<()> {
        let is_wrong = |quota: i64| quota < 0 && quota != CLEAR;
        if is_wrong(self.names) || is_wrong(self.space) {
            return Err(HadoopError::new(
                ErrorKind::IllegalArgument,
                format!(
                    "Illegal value for nsQuota or ssQuota : {} and {}",
                    self.names, self.space
                ),
            ));
        }
        if self.storage_type.is_some() && (self.types_disabled || self.names != KEEP) {
            return Err(HadoopError::new(
                ErrorKind::UnsupportedAction,
                format!(
                    "Failed to set quota by storage type because eitherdfs.quota.by.storage.type.enabled is set to {} \
                     or nsQuota value is illegal {}",
                    !self.types_disabled, self.names
                ),
            ));
        }
        Ok(())
    }

    /// The limits afterwards.
    fn changed(&self, old: QuotaLimits) -> HadoopResult<QuotaLimits> {
        let space = if self.space == KEEP { old.space } else { self.space };
        let mut new = old;
        match self.storage_type {
            None => {
                new.names = if self.names == KEEP { old.names } else { self.names };
                new.space = space;
            }
            Some(number) => {
                let kind = StorageType::from_wire(number as i32);
                let index = kind.and_then(quota_type_index).ok_or_else(|| {
                    let name = kind.map_or_else(|| number.to_string(), |kind| kind.name().to_owned());
                    let text = format!("Don't support Quota for storage type : {name}");
                    HadoopError::new(ErrorKind::IllegalArgument, text)
                })?;
                new.by_type[index] = space;
            }
        }
        Ok(new)
    }
}

impl Namespace {
    /// With `dfs.permissions.allow.owner.set.quota`, the owner of the parent may set quotas as well.
    fn check_owner_of_parent(&self, context: Context<'_>, at: &Resolved) -> HadoopResult<()> {
        let parent = self.walk(at.parent_path().to_owned());
        let access = Access {
            owner: true,
            ..Access::default()
        };
        self.check_access(context.caller, &parent, access).map_err(|_| {
            errors::denied(format!(
                "Access denied for user {}. Superuser or owner of parent folder privilege is required",
                context.caller.user
            ))
        })
    }
}
