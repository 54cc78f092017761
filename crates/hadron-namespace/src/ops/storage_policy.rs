//! SetStoragePolicy and UnsetStoragePolicy, and what a policy means for a path below it.
//!
//! A policy is set on an inode or inherited from the nearest directory that has one. Namespaces without any directory
//! policy, the usual case, never walk upwards: the number of directories with one is kept.
//! Source: Hadoop `FSDirAttrOp`, `INodeFile.getStoragePolicyID`.

use super::{Context, Operation, require_superuser};
use crate::command::{Caller, SetStoragePolicy, UnsetStoragePolicy};
use crate::errors;
use crate::inode::InodeHandle;
use crate::namespace::Namespace;
use crate::outcome::{Effect, OutcomeValue};
use crate::permission::Access;
use crate::resolve::Purpose;
use hadron_types::{FsAction, HadoopResult, InodeId, StoragePolicy, UNSPECIFIED_POLICY};

/// The policy called `name`.
///
/// Errors: HadoopIllegalArgumentException for an unknown one.
pub(super) fn policy_called(name: &str) -> HadoopResult<&'static StoragePolicy> {
    StoragePolicy::by_name(name)
        .ok_or_else(|| errors::illegal_argument(format!("Cannot find a block policy with the name {name}")))
}

impl Operation for SetStoragePolicy {
    type Plan = (InodeHandle, u8);

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<Self::Plan> {
        if self.superuser_only {
            require_superuser(context)?;
        }
        let policy = policy_called(&self.policy)?;
        let inode = namespace.plan_policy(context, &self.path, Some(policy))?;
        Ok((inode, policy.id))
    }

    fn execute(
        &self,
        (inode, policy): Self::Plan,
        namespace: &mut Namespace,
        _context: Context<'_>,
        _effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        namespace.set_policy(inode, policy);
        OutcomeValue::Done
    }
}

impl Operation for UnsetStoragePolicy {
    type Plan = InodeHandle;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<InodeHandle> {
        if self.superuser_only {
            require_superuser(context)?;
        }
        namespace.plan_policy(context, &self.path, None)
    }

    fn execute(
        &self,
        inode: InodeHandle,
        namespace: &mut Namespace,
        _context: Context<'_>,
        _effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        namespace.set_policy(inode, UNSPECIFIED_POLICY);
        OutcomeValue::Done
    }
}

impl Namespace {
    /// The inode at `path`, whose policy `context`'s caller may change to `policy` (`None`: to none).
    fn plan_policy(
        &self,
        context: Context<'_>,
        path: &str,
        policy: Option<&StoragePolicy>,
    ) -> HadoopResult<InodeHandle> {
        let at = self.resolve(context.caller, path, Purpose::Write)?;
        let access = Access {
            path: Some(FsAction::WRITE),
            ..Access::default()
        };
        self.check_access(context.caller, &at, access)?;
        let handle = at
            .last()
            .ok_or_else(|| errors::missing(format!("File/Directory does not exist: {}", at.path)))?;
        let inode = self.inode(handle);
        if inode.is_directory() {
            return Ok(handle);
        }
        if let Some(policy) = policy.filter(|policy| policy.copy_on_create) {
            return Err(errors::illegal_argument(format!(
                "Policy {policy} cannot be set after file creation."
            )));
        }
        if let Some(present) = StoragePolicy::by_id(inode.storage_policy()).filter(|present| present.copy_on_create) {
            return Err(errors::illegal_argument(format!(
                "Existing policy {} cannot be changed after file creation.",
                present.name
            )));
        }
        Ok(handle)
    }

    /// The policy set on an inode or inherited; [`UNSPECIFIED_POLICY`] if there is none.
    pub(crate) fn effective_policy(&self, handle: InodeHandle) -> u8 {
        let own = self.inode(handle).storage_policy();
        if own != UNSPECIFIED_POLICY || self.directory_policies == 0 {
            return own;
        }
        let mut at = handle;
        while let Some(parent) = self.inode(at).parent() {
            let inherited = self.inode(parent).storage_policy();
            if inherited != UNSPECIFIED_POLICY {
                return inherited;
            }
            at = parent;
        }
        UNSPECIFIED_POLICY
    }

    /// The number of the policy in effect for an inode, 0 where none is set; `None` if the inode is gone.
    pub fn storage_policy_of(&self, id: InodeId) -> Option<u8> {
        self.find_inode(id).map(|handle| self.effective_policy(handle))
    }

    /// getStoragePolicy: the policy in effect at `path`, HOT where none is set.
    ///
    /// Errors: as resolving, FileNotFoundException for a missing path, AccessControlException without READ on it.
    pub fn storage_policy_at(&self, caller: &Caller, path: &str) -> HadoopResult<&'static StoragePolicy> {
        let at = self.resolve(caller, path, Purpose::Read)?;
        let access = Access {
            path: Some(FsAction::READ),
            ..Access::default()
        };
        self.check_access(caller, &at, access)?;
        let handle = at
            .last()
            .ok_or_else(|| errors::missing(format!("File/Directory does not exist: {}", at.path)))?;
        Ok(StoragePolicy::in_effect(self.effective_policy(handle)))
    }
}
