//! Rename, which answers false where it cannot, and Rename2, which says why.

use super::{Context, Operation};
use crate::command::{Rename, Rename2};
use crate::errors;
use crate::inode::InodeHandle;
use crate::namespace::Namespace;
use crate::outcome::{Effect, OutcomeValue};
use crate::permission::Access;
use crate::quota::QuotaUsage;
use crate::resolve::{Purpose, Resolved, check_path_len, is_reserved_root};
use compact_str::CompactString;
use hadron_types::{ErrorKind, FsAction, HadoopError, HadoopResult};

/// A move that may go ahead.
pub(crate) struct Move {
    source: InodeHandle,
    target_parent: InodeHandle,
    target_name: String,
    /// What stands at the target and goes.
    replaced: Option<InodeHandle>,
}

impl Operation for Rename {
    /// `Ok(None)` with the answer to give when nothing is to be moved.
    type Plan = Result<Move, bool>;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<Self::Plan> {
        check_path_len("rename", &self.target)?;
        let source = namespace.resolve(context.caller, &self.source, Purpose::Write)?;
        let mut target = namespace.resolve(context.caller, &self.target, Purpose::Create)?;
        if let Some(directory) = target.last()
            && namespace.inode(directory).is_directory()
            && !source.is_root()
        {
            let into = if target.is_root() { "" } else { &target.path };
            target = namespace.walk(format!("{into}/{}", source.name()));
        }
        namespace.check_not_protected(&source, self.protected.as_ref())?;
        namespace.check_rename_access(context, &source, &target)?;
        let Some(moved) = source.last().filter(|_| !source.is_root()) else {
            return Ok(Err(false));
        };
        if source.path == target.path {
            return Ok(Err(true));
        }
        if check_target_path(&source, &target).is_err() || target.last().is_some() {
            return Ok(Err(false));
        }
        let Some(target_parent) = target.parent() else {
            return Ok(Err(false));
        };
        namespace.check_rename_limits(context, &source, &target, target_parent)?;
        namespace.verify_rename(moved, target_parent, None)?;
        Ok(Ok(Move {
            source: moved,
            target_parent,
            target_name: target.name().to_owned(),
            replaced: None,
        }))
    }

    fn execute(
        &self,
        plan: Self::Plan,
        namespace: &mut Namespace,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        match plan {
            Ok(planned) => {
                namespace.move_inode(planned, context, effects);
                OutcomeValue::Bool(true)
            }
            Err(answer) => OutcomeValue::Bool(answer),
        }
    }
}

impl Operation for Rename2 {
    type Plan = Move;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<Move> {
        check_path_len("rename", &self.target)?;
        let source = namespace.resolve(context.caller, &self.source, Purpose::Write)?;
        let target = namespace.resolve(context.caller, &self.target, Purpose::Create)?;
        namespace.check_not_protected(&source, self.protected.as_ref())?;
        if self.to_trash {
            // What goes to the trash is deleted from there by a superuser: ask for what deleting asks.
            let access = Access {
                parent: Some(FsAction::WRITE),
                subtree: Some(FsAction::ALL),
                ..Access::default()
            };
            namespace.check_access(context.caller, &source, access)?;
        }
        namespace.check_rename_access(context, &source, &target)?;
        let moved = source
            .last()
            .ok_or_else(|| errors::missing(format!("rename source {} is not found.", source.path)))?;
        if source.is_root() {
            return Err(HadoopError::io("rename source cannot be the root"));
        }
        if source.path == target.path {
            return Err(errors::file_exists(format!(
                "The source {} and destination {} are the same",
                source.path, target.path
            )));
        }
        check_target_path(&source, &target)?;
        if target.is_root() {
            return Err(HadoopError::io("rename destination cannot be the root"));
        }
        if let Some(existing) = target.last() {
            self.plan_overwrite(namespace, &source, &target, moved, existing)?;
        }
        let target_parent = target
            .parent()
            .ok_or_else(|| errors::missing(format!("rename destination parent {} not found.", target.path)))?;
        if !namespace.inode(target_parent).is_directory() {
            return Err(HadoopError::new(
                ErrorKind::ParentNotDirectory,
                format!("rename destination parent {} is a file.", target.path),
            ));
        }
        namespace.check_rename_limits(context, &source, &target, target_parent)?;
        namespace.verify_rename(moved, target_parent, target.last())?;
        Ok(Move {
            source: moved,
            target_parent,
            target_name: target.name().to_owned(),
            replaced: target.last(),
        })
    }

    fn execute(
        &self,
        plan: Move,
        namespace: &mut Namespace,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        namespace.move_inode(plan, context, effects);
        OutcomeValue::Done
    }
}

impl Rename2 {
    fn plan_overwrite(
        &self,
        namespace: &Namespace,
        source: &Resolved,
        target: &Resolved,
        moved: InodeHandle,
        existing: InodeHandle,
    ) -> HadoopResult<()> {
        let target_directory = namespace.directory(existing);
        if target_directory.is_some() != namespace.inode(moved).is_directory() {
            return Err(HadoopError::io(format!(
                "Source {} and destination {} must both be directories",
                source.path, target.path
            )));
        }
        if !self.overwrite {
            return Err(errors::file_exists(format!(
                "rename destination {} already exists",
                target.path
            )));
        }
        if target_directory.is_some_and(|directory| !directory.is_empty()) {
            return Err(HadoopError::io(format!(
                "rename destination directory is not empty: {}",
                target.path
            )));
        }
        Ok(())
    }
}

/// Refuses a target below the source, and `/.reserved` on either side.
fn check_target_path(source: &Resolved, target: &Resolved) -> HadoopResult<()> {
    if let Some(rest) = target.path.strip_prefix(source.path.as_str())
        && rest.starts_with('/')
    {
        return Err(HadoopError::io(format!(
            "Rename destination {} is a directory or file under source {}",
            target.path, source.path
        )));
    }
    if is_reserved_root(&source.path) || is_reserved_root(&target.path) {
        return Err(errors::invalid_path("Cannot rename to or from /.reserved"));
    }
    Ok(())
}

impl Namespace {
    fn check_rename_access(&self, context: Context<'_>, source: &Resolved, target: &Resolved) -> HadoopResult<()> {
        let from = Access {
            parent: Some(FsAction::WRITE),
            ..Access::default()
        };
        self.check_access(context.caller, source, from)?;
        let to = Access {
            ancestor: Some(FsAction::WRITE),
            ..Access::default()
        };
        self.check_access(context.caller, target, to)
    }

    fn check_rename_limits(
        &self,
        context: Context<'_>,
        source: &Resolved,
        target: &Resolved,
        target_parent: InodeHandle,
    ) -> HadoopResult<()> {
        self.check_name(context, target.name(), target.parent_path())?;
        if source.parent() != Some(target_parent) {
            self.check_directory_items(context, target_parent, target.parent_path())?;
        }
        Ok(())
    }

    /// Refuses a move below directories, not above both places, whose quota has no room for the tree.
    fn verify_rename(
        &self,
        source: InodeHandle,
        target_parent: InodeHandle,
        replaced: Option<InodeHandle>,
    ) -> HadoopResult<()> {
        if self.quota_line(target_parent).is_empty() {
            return Ok(());
        }
        let above = self.ancestry(source);
        let mut common = target_parent;
        while !above.contains(&common) {
            match self.inode(common).parent() {
                Some(parent) => common = parent,
                None => break,
            }
        }
        if self.quota_line(target_parent) == self.quota_line(common) {
            return Ok(());
        }
        let policy = self.effective_policy(target_parent);
        let cached = policy == self.inherited_policy(source);
        let mut delta = self.measure(source, policy, cached).total;
        if let Some(replaced) = replaced {
            delta = delta.minus(self.measure(replaced, policy, true).total);
        }
        self.verify_quota(target_parent, delta, QuotaUsage::default(), Some(common))
    }

    fn move_inode(&mut self, planned: Move, context: Context<'_>, effects: &mut Vec<Effect>) {
        if let Some(replaced) = planned.replaced {
            self.delete_tree(replaced, context.now, effects);
        }
        let source_parent = self.inode(planned.source).parent();
        let inherited = self.inherited_policy(planned.source);
        let from = source_parent.map_or_else(Vec::new, |parent| self.quota_line(parent));
        let repriced = self.has_quotas() && inherited != self.effective_policy(planned.target_parent);
        let moves_usage = repriced || from != self.quota_line(planned.target_parent);
        if moves_usage {
            self.detach(planned.source);
        } else {
            self.unlink(planned.source);
        }
        self.inode_mut(planned.source).name = CompactString::from(planned.target_name);
        self.link(planned.target_parent, planned.source);
        if moves_usage {
            let usage = match repriced {
                true => self.recount(planned.source),
                false => self.measure(planned.source, inherited, true).total,
            };
            self.charge(planned.target_parent, usage);
        }
        for parent in source_parent.into_iter().chain([planned.target_parent]) {
            self.inode_mut(parent).set_mtime(context.now);
        }
    }
}
