//! Concat: the blocks of closed files of one directory go to the end of another, and the files vanish.
//!
//! Blocks keep their ids and replicas; which file they are of changes, and with it, perhaps, their wanted replication:
//! only that is told to the block map, which knows blocks but no files.
//! Source: Hadoop `FSDirConcatOp`.

use super::{Context, Operation};
use crate::command::Concat;
use crate::errors;
use crate::inode::{Content, InodeHandle};
use crate::namespace::Namespace;
use crate::outcome::{Effect, OutcomeValue};
use crate::permission::Access;
use crate::quota::QuotaUsage;
use crate::resolve::{Purpose, Resolved};
use hadron_types::{ErrorKind, FsAction, HadoopError, HadoopResult};
use hashbrown::HashSet;
use std::sync::Arc;

/// The target, and the sources in order.
pub(crate) struct ConcatPlan {
    target: InodeHandle,
    sources: Vec<InodeHandle>,
}

impl Operation for Concat {
    type Plan = ConcatPlan;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<ConcatPlan> {
        self.check_texts()?;
        let at = namespace.resolve(context.caller, &self.target, Purpose::Write)?;
        let access = Access {
            path: Some(FsAction::WRITE),
            ..Access::default()
        };
        namespace.check_access(context.caller, &at, access)?;
        let target = namespace.require_file(&at, &self.target)?;
        if namespace.inode(target).is_open() {
            return Err(errors::illegal_argument(format!(
                "concat: target file {} is under construction",
                self.target
            )));
        }
        let sources = self
            .sources
            .iter()
            .map(|source| namespace.plan_source(context, source, &at, target))
            .collect::<HadoopResult<Vec<_>>>()?;
        let different: HashSet<InodeHandle> = sources.iter().copied().collect();
        if different.len() < sources.len() {
            return Err(errors::illegal_argument(
                "concat: at least two of the source files are the same".to_owned(),
            ));
        }
        namespace.verify_concat(target, &sources)?;
        Ok(ConcatPlan { target, sources })
    }

    fn execute(
        &self,
        plan: ConcatPlan,
        namespace: &mut Namespace,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let ConcatPlan { target, sources } = plan;
        let parent = namespace.inode(target).parent();
        namespace.concat_blocks(target, &sources, effects);
        for source in sources {
            namespace.detach(source);
            namespace.free(source);
        }
        for inode in parent.into_iter().chain([target]) {
            namespace.inode_mut(inode).set_mtime(context.now);
        }
        OutcomeValue::Done
    }
}

impl Concat {
    fn check_texts(&self) -> HadoopResult<()> {
        let illegal = |text: &str| Err(HadoopError::new(ErrorKind::IllegalArgument, text));
        if self.target.is_empty() {
            return illegal("Target file name is empty");
        }
        if self.sources.is_empty() {
            return illegal("No sources given");
        }
        let is_reserved = |path: &str| path.starts_with("/.reserved/raw") || path.starts_with("/.reserved/.inodes");
        let mut paths = [&self.target].into_iter().chain(&self.sources);
        match paths.find(|path| is_reserved(path)) {
            Some(path) => Err(HadoopError::io(format!(
                "Concat operation doesn't support .reserved relative path : {path}"
            ))),
            None => Ok(()),
        }
    }
}

impl Namespace {
    fn plan_source(
        &self,
        context: Context<'_>,
        source: &str,
        target_at: &Resolved,
        target: InodeHandle,
    ) -> HadoopResult<InodeHandle> {
        let at = self.resolve(context.caller, source, Purpose::Write)?;
        for access in [
            Access {
                path: Some(FsAction::READ),
                ..Access::default()
            },
            Access {
                parent: Some(FsAction::WRITE),
                ..Access::default()
            },
        ] {
            self.check_access(context.caller, &at, access)?;
        }
        let file = self.require_file(&at, source)?;
        if at.parent() != target_at.parent() {
            return Err(errors::illegal_argument(format!(
                "Source file {source} is not in the same directory with the target {}",
                target_at.path
            )));
        }
        if file == target {
            return Err(errors::illegal_argument(format!(
                "concat: the src file {source} is the same with the target file {}",
                target_at.path
            )));
        }
        let inode = self.inode(file);
        if inode.is_open() || self.block_count(file) == 0 {
            return Err(errors::illegal_argument(format!(
                "concat: source file {source} is invalid or empty or underConstruction"
            )));
        }
        let (size, most) = (inode.block_size(), self.inode(target).block_size());
        if size > most {
            return Err(errors::illegal_argument(format!(
                "concat: source file {source} has preferred block size {size} which is greater than the target file's \
                 preferred block size {most}"
            )));
        }
        Ok(file)
    }

    /// Refuses what a quota has no room for: blocks may get more replicas than they had.
    fn verify_concat(&self, target: InodeHandle, sources: &[InodeHandle]) -> HadoopResult<()> {
        let (Some(parent), true) = (self.inode(target).parent(), self.has_quotas()) else {
            return Ok(());
        };
        let (replication, policy) = (self.inode(target).replication(), self.effective_policy(target));
        let mut delta = QuotaUsage::of_names(-(sources.len() as i64));
        for &source in sources {
            let before = self.blocks_usage(source, self.inode(source).replication(), self.effective_policy(source));
            let after = self.blocks_usage(source, replication, policy);
            delta = delta.plus(after).minus(before);
        }
        self.verify_quota(parent, delta, QuotaUsage::default(), None)
    }

    /// Moves the blocks of `sources`, which are closed, behind those of `target`.
    fn concat_blocks(&mut self, target: InodeHandle, sources: &[InodeHandle], effects: &mut Vec<Effect>) {
        let new = self.inode(target).replication();
        let mut blocks: Vec<_> = self.blocks_of(target).collect();
        let before = self.file_usage(target);
        for &source in sources {
            let old = self.inode(source).replication();
            let moved: Vec<_> = self.blocks_of(source).collect();
            let usage = self.file_usage(source);
            self.refund(source, usage);
            if let Content::Many(list) = self.inode(source).content {
                self.block_lists.remove(list);
            }
            self.inode_mut(source).content = Content::Empty;
            for &block in &moved {
                self.blocks.get_mut(block).file = target;
            }
            if old != new {
                effects.push(Effect::ReplicationChanged {
                    blocks: moved.iter().map(|&block| self.block(block).block()).collect(),
                    old,
                    new,
                });
            }
            blocks.extend(moved);
        }
        self.refund(target, before);
        let content = match (self.inode(target).content, blocks.as_slice()) {
            (Content::Many(list), _) => {
                *self.block_lists.get_mut(list) = Arc::new(blocks);
                Content::Many(list)
            }
            (_, []) => Content::Empty,
            (_, &[block]) => Content::One(block),
            _ => Content::Many(self.block_lists.insert(Arc::new(blocks))),
        };
        self.inode_mut(target).content = content;
        let after = self.file_usage(target);
        self.charge(target, after);
    }

    /// What the blocks of a file take now; nothing where no quota asks.
    pub(crate) fn file_usage(&self, file: InodeHandle) -> QuotaUsage {
        if !self.has_quotas() {
            return QuotaUsage::default();
        }
        self.blocks_usage(file, self.inode(file).replication(), self.effective_policy(file))
    }
}
