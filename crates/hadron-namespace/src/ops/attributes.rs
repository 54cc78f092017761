//! Mode, owner, times and replication.

use super::create::check_replication;
use super::{Context, Operation};
use crate::command::{SetOwner, SetPermission, SetReplication, SetTimes, UpdateAccessTimes};
use crate::errors;
use crate::inode::InodeHandle;
use crate::namespace::Namespace;
use crate::outcome::{Effect, OutcomeValue};
use crate::permission::{Access, is_member};
use crate::quota::QuotaUsage;
use crate::resolve::{Purpose, is_reserved_root};
use hadron_types::{FsAction, FsPermission, HadoopError, HadoopResult, InodeId, TimeMs};
use std::sync::Arc;

/// The inode at `path`, which the caller must own, and its path.
pub(super) fn owned_at(namespace: &Namespace, context: Context<'_>, path: &str) -> HadoopResult<(InodeHandle, String)> {
    let at = namespace.resolve(context.caller, path, Purpose::Write)?;
    let inode = at.last().ok_or_else(|| errors::no_such_inode(&at.path))?;
    let access = Access {
        owner: true,
        ..Access::default()
    };
    namespace.check_access(context.caller, &at, access)?;
    Ok((inode, at.path))
}

/// The inode at `path`, which the caller must own; `/.reserved` itself has no attributes.
fn owned(namespace: &Namespace, context: Context<'_>, path: &str) -> HadoopResult<InodeHandle> {
    if is_reserved_root(path) {
        return Err(errors::invalid_path(path));
    }
    owned_at(namespace, context, path).map(|(inode, _)| inode)
}

impl Operation for SetPermission {
    type Plan = InodeHandle;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<InodeHandle> {
        owned(namespace, context, &self.path)
    }

    fn execute(
        &self,
        inode: InodeHandle,
        namespace: &mut Namespace,
        _context: Context<'_>,
        _effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let mode = FsPermission::from_wire(self.permission);
        namespace.inode_mut(inode).set_mode(mode);
        OutcomeValue::Done
    }
}

impl Operation for SetOwner {
    type Plan = InodeHandle;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<InodeHandle> {
        let inode = owned(namespace, context, &self.path)?;
        let caller = context.caller;
        if !caller.superuser {
            if self.user.as_ref().is_some_and(|user| *user != caller.user) {
                return Err(errors::denied(format!(
                    "User {} is not a super user (non-super user cannot change owner).",
                    caller.user
                )));
            }
            if let Some(group) = self.group.as_ref().filter(|group| !is_member(caller, group)) {
                return Err(errors::denied(format!(
                    "User {} does not belong to {group}",
                    caller.user
                )));
            }
        }
        Ok(inode)
    }

    fn execute(
        &self,
        inode: InodeHandle,
        namespace: &mut Namespace,
        _context: Context<'_>,
        _effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let names = Arc::make_mut(&mut namespace.names);
        let user = self.user.as_ref().map(|user| names.intern(user));
        let group = self.group.as_ref().map(|group| names.intern(group));
        let inode = namespace.inode_mut(inode);
        if let Some(user) = user {
            inode.set_user(user);
        }
        if let Some(group) = group {
            inode.set_group(group);
        }
        OutcomeValue::Done
    }
}

impl Operation for SetTimes {
    type Plan = InodeHandle;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<InodeHandle> {
        if self.atime_ms.is_some() && context.limits.access_time_precision() == 0 {
            return Err(HadoopError::io(
                "Access time for hdfs is not configured.  Please set dfs.namenode.accesstime.precision configuration \
                 parameter.",
            ));
        }
        let at = namespace.resolve(context.caller, &self.path, Purpose::Write)?;
        let access = Access {
            path: Some(FsAction::WRITE),
            ..Access::default()
        };
        namespace.check_access(context.caller, &at, access)?;
        at.last()
            .ok_or_else(|| errors::missing(format!("File/Directory {} does not exist.", at.path)))
    }

    fn execute(
        &self,
        inode: InodeHandle,
        namespace: &mut Namespace,
        _context: Context<'_>,
        _effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let inode = namespace.inode_mut(inode);
        if let Some(mtime) = self.mtime_ms {
            inode.set_mtime(TimeMs(mtime));
        }
        if let Some(atime) = self.atime_ms {
            inode.set_atime(TimeMs(atime));
        }
        OutcomeValue::Done
    }
}

impl Operation for SetReplication {
    /// `None` for a directory or a missing path.
    type Plan = Option<InodeHandle>;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<Self::Plan> {
        check_replication(context, &self.path, self.replication, None)?;
        let at = namespace.resolve(context.caller, &self.path, Purpose::Write)?;
        let access = Access {
            path: Some(FsAction::WRITE),
            ..Access::default()
        };
        namespace.check_access(context.caller, &at, access)?;
        let Some(file) = at.last().filter(|&inode| !namespace.inode(inode).is_directory()) else {
            return Ok(None);
        };
        let (old, new) = (namespace.inode(file).replication(), self.replication as u16);
        if new > old && namespace.has_quotas() {
            let policy = namespace.effective_policy(file);
            let delta = namespace
                .blocks_usage(file, new, policy)
                .minus(namespace.file_usage(file));
            namespace.verify_quota(file, delta, QuotaUsage::default(), None)?;
        }
        Ok(Some(file))
    }

    fn execute(
        &self,
        plan: Self::Plan,
        namespace: &mut Namespace,
        _context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let Some(file) = plan else {
            return OutcomeValue::Bool(false);
        };
        let old = namespace.inode(file).replication();
        namespace.set_file_replication(file, u16::try_from(self.replication).unwrap_or(u16::MAX));
        let new = namespace.inode(file).replication();
        let blocks: Vec<_> = namespace
            .blocks_of(file)
            .map(|block| namespace.block(block).block())
            .collect();
        if old != new && !blocks.is_empty() {
            effects.push(Effect::ReplicationChanged { blocks, old, new });
        }
        OutcomeValue::Bool(true)
    }
}

impl Operation for UpdateAccessTimes {
    type Plan = ();

    fn plan(&self, _namespace: &Namespace, _context: Context<'_>) -> HadoopResult<()> {
        Ok(())
    }

    fn execute(
        &self,
        (): (),
        namespace: &mut Namespace,
        _context: Context<'_>,
        _effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        for read in &self.files {
            if let Some(file) = namespace.find_inode(InodeId(read.file_id)) {
                let inode = namespace.inode_mut(file);
                if !inode.is_directory() && inode.atime().0 < read.atime_ms {
                    inode.set_atime(TimeMs(read.atime_ms));
                }
            }
        }
        OutcomeValue::Done
    }
}
