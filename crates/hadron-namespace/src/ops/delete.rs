//! Delete and Reclaim: a tree is detached at once and freed in slices.

use super::{Context, Operation, require_superuser};
use crate::command::{Delete, Reclaim};
use crate::errors;
use crate::inode::{Content, InodeHandle};
use crate::namespace::Namespace;
use crate::outcome::{Effect, OutcomeValue};
use crate::permission::Access;
use crate::resolve::{Purpose, is_reserved_root};
use hadron_types::{Block, ErrorKind, FsAction, HadoopError, HadoopResult, TimeMs};

/// Inodes and blocks that a deleting command frees itself; larger trees are left to Reclaim commands.
pub const DELETE_INLINE_BUDGET: u64 = 1000;
/// Inodes and blocks that a Reclaim command without a budget frees.
pub const RECLAIM_BUDGET: u32 = 5000;

impl Operation for Delete {
    /// `None` for a missing path and for the root.
    type Plan = Option<InodeHandle>;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<Self::Plan> {
        if is_reserved_root(&self.path) {
            return Err(errors::invalid_path(&self.path));
        }
        let at = namespace.resolve(context.caller, &self.path, Purpose::Write)?;
        let access = Access {
            parent: Some(FsAction::WRITE),
            subtree: Some(FsAction::ALL),
            ..Access::default()
        };
        namespace.check_access(context.caller, &at, access)?;
        let top = at.last().filter(|_| !at.is_root());
        let filled = at
            .last()
            .and_then(|top| namespace.directory(top))
            .is_some_and(|directory| !directory.is_empty());
        if filled && !self.recursive {
            // Hadoop's exception quotes the text it is given and adds its own.
            return Err(HadoopError::new(
                ErrorKind::PathIsNotEmptyDirectory,
                format!("`{} is non empty': Directory is not empty", at.path),
            ));
        }
        namespace.check_not_protected(&at, self.protected.as_ref())?;
        Ok(top)
    }

    fn execute(
        &self,
        plan: Self::Plan,
        namespace: &mut Namespace,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        if let Some(top) = plan {
            namespace.delete_tree(top, context.now, effects);
        }
        OutcomeValue::Bool(plan.is_some())
    }
}

impl Operation for Reclaim {
    type Plan = ();

    fn plan(&self, _namespace: &Namespace, context: Context<'_>) -> HadoopResult<()> {
        require_superuser(context)
    }

    fn execute(
        &self,
        (): (),
        namespace: &mut Namespace,
        _context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let budget = if self.budget == 0 { RECLAIM_BUDGET } else { self.budget };
        let inodes = namespace.reclaim(u64::from(budget), 0, effects);
        OutcomeValue::Reclaimed {
            inodes,
            more: namespace.has_detached(),
        }
    }
}

impl Namespace {
    /// Detaches `top` from its parent and frees as much of it as one command may.
    pub(super) fn delete_tree(&mut self, top: InodeHandle, now: TimeMs, effects: &mut Vec<Effect>) {
        if let Some(parent) = self.inode(top).parent() {
            self.inode_mut(parent).set_mtime(now);
        }
        self.detach(top);
        // Trees that wait already keep their turn: this one is freed first, and only this one.
        let waiting = self.detached.len();
        self.detached.push(top);
        self.reclaim(DELETE_INLINE_BUDGET, waiting, effects);
        if self.detached.len() > waiting {
            effects.push(Effect::ReclaimNeeded);
        }
    }

    /// Frees detached inodes until `budget` inodes and blocks are gone or only `keep` trees are left; returns how
    /// many inodes were freed.
    pub(super) fn reclaim(&mut self, budget: u64, keep: usize, effects: &mut Vec<Effect>) -> u64 {
        let mut blocks: Vec<Block> = Vec::new();
        let mut inodes = 0;
        while self.detached.len() > keep && inodes + blocks.len() as u64 <= budget {
            let top = self.detached[self.detached.len() - 1];
            let child = match self.inode(top).content {
                Content::Directory(directory) => self.directories.get_mut(directory).pop(),
                _ => None,
            };
            if let Some(child) = child {
                self.inode_mut(child).set_parent(None);
                self.detached.push(child);
                continue;
            }
            self.detached.pop();
            let inode = self.inode(top);
            if inode.is_open() {
                effects.push(Effect::LeaseReleased { file: inode.id() });
            }
            blocks.append(&mut self.free(top));
            inodes += 1;
        }
        if !blocks.is_empty() {
            effects.push(Effect::BlocksRemoved(blocks));
        }
        inodes
    }
}
