//! AddBlock, AbandonBlock, Complete, Fsync: the life of a file being written.
//!
//! Whether a block has the minimum of replicas is not in the state: the command brings it as a fact, and a committed
//! block in the facts becomes complete. Only the last two blocks of a file can be short of it.

use super::{Context, Operation};
use crate::command::{AbandonBlock, AddBlock, BlockRef, Complete, Fsync};
use crate::errors;
use crate::inode::{BlockHandle, BlockState, InodeHandle};
use crate::namespace::Namespace;
use crate::outcome::{AllocatedBlock, Effect, OutcomeValue};
use crate::quota::QuotaUsage;
use hadron_types::{Block, ErrorKind, HadoopError, HadoopResult, TimeMs};

/// What a client's final word on the last block leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Commit {
    /// Nothing: no word, no block, or committed before.
    No,
    /// The last block gets this length and is committed.
    Length(u64),
}

/// How AddBlock goes on.
pub(crate) enum AddBlockPlan {
    /// The call was made before: give the block it allocated.
    Again(InodeHandle, BlockHandle),
    /// Commit the last block, then allocate.
    Allocate(InodeHandle, Commit),
}

impl Operation for AddBlock {
    type Plan = AddBlockPlan;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<AddBlockPlan> {
        namespace.check_objects(context)?;
        let at = namespace.resolve_file(context.caller, &self.path, self.file_id)?;
        let file = namespace.check_lease(&at, &self.holder, self.file_id)?;
        let last = namespace.last_block(file);
        if !namespace.matches(self.previous, last) {
            let Some(last) = last else {
                return Err(self.wrong_previous(namespace, &at.path, None));
            };
            let record = namespace.block(last);
            let full = record.len() >= namespace.inode(file).block_size() && record.is_complete();
            if self.previous.is_none() && full {
                // The file was opened for appending at a block boundary: there is nothing to commit.
            } else if !namespace.matches(self.previous, namespace.penultimate_block(file)) {
                return Err(self.wrong_previous(namespace, &at.path, Some(last)));
            } else if record.len() != 0 {
                return Err(HadoopError::io(format!(
                    "Request looked like a retry to allocate block {} but it already contains {} bytes",
                    record.block(),
                    record.len()
                )));
            } else {
                return Ok(AddBlockPlan::Again(file, last));
            }
        }
        if !namespace.will_be_complete(namespace.penultimate_block(file), &self.replicated) {
            return Err(errors::not_replicated_yet(&at.path));
        }
        let (count, limit) = (namespace.block_count(file), context.limits.blocks_per_file());
        if count >= limit as usize {
            return Err(HadoopError::io(format!(
                "File has reached the limit on maximum number of blocks \
                 (dfs.namenode.fs-limits.max-blocks-per-file): {count} >= {limit}"
            )));
        }
        let commit = namespace.plan_commit(file, self.previous)?;
        namespace.verify_new_block(file, commit, &self.replicated)?;
        Ok(AddBlockPlan::Allocate(file, commit))
    }

    fn execute(
        &self,
        plan: AddBlockPlan,
        namespace: &mut Namespace,
        _context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let (file, block, retried) = match plan {
            AddBlockPlan::Again(file, block) => (file, namespace.block(block).block(), true),
            AddBlockPlan::Allocate(file, commit) => {
                namespace.commit_last(file, commit, &self.replicated, effects);
                let block = Block {
                    id: namespace.take_block_id(),
                    generation_stamp: namespace.take_stamp(),
                    len: 0,
                };
                namespace.push_block(file, block, BlockState::UnderConstruction);
                let inode = namespace.inode(file);
                effects.push(Effect::BlockAdded {
                    block,
                    file: inode.id(),
                    replication: inode.replication(),
                });
                (file, block, false)
            }
        };
        OutcomeValue::Allocated(namespace.allocated(file, block, retried))
    }
}

impl AddBlock {
    fn wrong_previous(&self, namespace: &Namespace, path: &str, last: Option<BlockHandle>) -> HadoopError {
        let pool = &namespace.identity.block_pool;
        let previous = self
            .previous
            .map_or("null".to_owned(), |block| format!("{pool}:{}", Block::from(block)));
        let last = last.map_or("null".to_owned(), |last| namespace.block(last).block().to_string());
        HadoopError::io(format!(
            "Cannot allocate block in {path}: passed 'previous' block {previous} does not match actual last block in \
             file {last}"
        ))
    }
}

impl Operation for AbandonBlock {
    type Plan = Option<InodeHandle>;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<Self::Plan> {
        let at = namespace.resolve_file(context.caller, &self.path, self.file_id)?;
        let file = namespace.check_lease(&at, &self.holder, self.file_id)?;
        // A block that is not the last one was given up before: Hadoop answers success.
        let is_last = namespace
            .last_block(file)
            .is_some_and(|last| namespace.block(last).id().0 == self.block.id);
        Ok(is_last.then_some(file))
    }

    fn execute(
        &self,
        plan: Self::Plan,
        namespace: &mut Namespace,
        _context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        if let Some(block) = plan.and_then(|file| namespace.pop_block(file)) {
            effects.push(Effect::BlocksRemoved(vec![block]));
        }
        OutcomeValue::Done
    }
}

/// How Complete goes on.
pub(crate) enum CompletePlan {
    /// The file was closed by an earlier try of the same call.
    ClosedBefore,
    /// The block before the last one is still short of replicas.
    Wait,
    /// Commit the last block; close if all are complete then.
    Commit(InodeHandle, Commit),
}

impl Operation for Complete {
    type Plan = CompletePlan;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<CompletePlan> {
        let at = namespace.resolve_file(context.caller, &self.path, self.file_id)?;
        let file = match namespace.check_lease(&at, &self.holder, self.file_id) {
            Ok(file) => file,
            Err(error) => {
                let closed = at.last().filter(|&file| {
                    let inode = namespace.inode(file);
                    error.kind == ErrorKind::LeaseExpired && !inode.is_directory() && !inode.is_open()
                });
                return match closed {
                    Some(file) if namespace.matches(self.last, namespace.last_block(file)) => {
                        Ok(CompletePlan::ClosedBefore)
                    }
                    _ => Err(error),
                };
            }
        };
        if !namespace.will_be_complete(namespace.penultimate_block(file), &self.replicated) {
            return Ok(CompletePlan::Wait);
        }
        Ok(CompletePlan::Commit(file, namespace.plan_commit(file, self.last)?))
    }

    fn execute(
        &self,
        plan: CompletePlan,
        namespace: &mut Namespace,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        match plan {
            CompletePlan::ClosedBefore => OutcomeValue::Bool(true),
            CompletePlan::Wait => OutcomeValue::Bool(false),
            CompletePlan::Commit(file, commit) => {
                namespace.commit_last(file, commit, &self.replicated, effects);
                OutcomeValue::Bool(namespace.close_if_complete(file, context.now, effects))
            }
        }
    }
}

impl Operation for Fsync {
    type Plan = InodeHandle;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<InodeHandle> {
        let at = namespace.resolve_file(context.caller, &self.path, self.file_id)?;
        namespace.check_lease(&at, &self.holder, self.file_id)
    }

    fn execute(
        &self,
        file: InodeHandle,
        namespace: &mut Namespace,
        _context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        if let (Ok(len @ 1..), Some(last)) = (u64::try_from(self.last_block_len), namespace.last_block(file))
            && namespace.block(last).state == BlockState::UnderConstruction
        {
            namespace.blocks.get_mut(last).set_len(len);
            namespace.tell_block_changed(last, namespace.block(last).stamp(), effects);
        }
        OutcomeValue::Done
    }
}

impl Namespace {
    /// Whether a client's block has the id and stamp of a stored one; two absent ones match.
    pub(super) fn matches(&self, client: Option<BlockRef>, stored: Option<BlockHandle>) -> bool {
        match (client, stored.map(|block| self.block(block))) {
            (None, None) => true,
            (Some(client), Some(stored)) => client.id == stored.id().0 && client.generation_stamp == stored.stamp().0,
            _ => false,
        }
    }

    /// Whether a block is complete, or committed and among the replicated ones. An absent one counts as complete.
    pub(super) fn will_be_complete(&self, block: Option<BlockHandle>, replicated: &[i64]) -> bool {
        block.is_none_or(|block| {
            let record = self.block(block);
            record.is_complete() || record.state == BlockState::Committed && replicated.contains(&record.id().0)
        })
    }

    /// Whether the client's final word on the last block may stand.
    pub(super) fn plan_commit(&self, file: InodeHandle, client: Option<BlockRef>) -> HadoopResult<Commit> {
        let (Some(client), Some(last)) = (client, self.last_block(file)) else {
            return Ok(Commit::No);
        };
        let (client, record) = (Block::from(client), self.block(last));
        match record.state {
            BlockState::Complete => return Ok(Commit::No),
            BlockState::UnderRecovery => {
                return Err(HadoopError::io(format!(
                    "Commit or complete block {client}, whereas it is under recovery."
                )));
            }
            BlockState::Committed => return Ok(Commit::No),
            BlockState::UnderConstruction => {}
        }
        if record.stamp() != client.generation_stamp {
            return Err(HadoopError::io(format!(
                "Commit block with mismatching GS. NN has {}, client submits {client}",
                record.block()
            )));
        }
        if record.id() != client.id {
            return Err(HadoopError::io(format!(
                "Trying to commit inconsistent block: id = {}, expected id = {}",
                client.id,
                record.id()
            )));
        }
        Ok(Commit::Length(client.len))
    }

    /// Commits the last block as planned, and completes whichever of the last two blocks is committed and replicated.
    pub(super) fn commit_last(
        &mut self,
        file: InodeHandle,
        commit: Commit,
        replicated: &[i64],
        effects: &mut Vec<Effect>,
    ) {
        let last = self.last_block(file);
        if let (Commit::Length(len), Some(last)) = (commit, last) {
            self.blocks.get_mut(last).set_len(len);
            self.set_block_state(last, BlockState::Committed);
            if !replicated.contains(&self.block(last).id().0) {
                self.tell_block_changed(last, self.block(last).stamp(), effects);
            }
        }
        for block in [self.penultimate_block(file), last].into_iter().flatten() {
            let record = self.block(block);
            if record.state == BlockState::Committed && replicated.contains(&record.id().0) {
                self.set_block_state(block, BlockState::Complete);
                self.tell_block_changed(block, self.block(block).stamp(), effects);
            }
        }
    }

    /// Refuses another block where a quota has no room for its preferred size, after `commit` has given back what the
    /// blocks before do not need.
    fn verify_new_block(&self, file: InodeHandle, commit: Commit, replicated: &[i64]) -> HadoopResult<()> {
        if !self.has_quotas() {
            return Ok(());
        }
        let inode = self.inode(file);
        let cost = |bytes| Self::cost(bytes, inode.replication(), self.effective_policy(file));
        let mut freed = QuotaUsage::default();
        let last = self.last_block(file);
        for block in [self.penultimate_block(file), last].into_iter().flatten() {
            let record = self.block(block);
            let len = match commit {
                Commit::Length(len) if Some(block) == last => Some(len),
                _ => (record.state == BlockState::Committed).then(|| record.len()),
            };
            if let Some(len) = len.filter(|_| replicated.contains(&record.id().0)) {
                freed = freed.plus(cost(inode.block_size())).minus(cost(len));
            }
        }
        self.verify_quota(file, cost(inode.block_size()), freed, None)
    }

    /// Closes the file if its last two blocks, and so all, are complete; answers whether it is closed.
    pub(super) fn close_if_complete(&mut self, file: InodeHandle, now: TimeMs, effects: &mut Vec<Effect>) -> bool {
        let (last, penultimate) = (self.last_block(file), self.penultimate_block(file));
        if ![last, penultimate]
            .into_iter()
            .flatten()
            .all(|block| self.block(block).is_complete())
        {
            return false;
        }
        self.close(file);
        let last_block = last.map(|block| self.block(block).block());
        let inode = self.inode_mut(file);
        inode.set_mtime(now);
        let (id, replication) = (inode.id(), inode.replication());
        effects.push(Effect::FileClosed {
            file: id,
            last_block,
            replication,
        });
        effects.push(Effect::LeaseReleased { file: id });
        true
    }

    /// Tells the block map how a block is now.
    pub(super) fn tell_block_changed(
        &self,
        block: BlockHandle,
        old_stamp: hadron_types::GenerationStamp,
        effects: &mut Vec<Effect>,
    ) {
        let stored = self.describe_block(block);
        effects.push(Effect::BlockChanged {
            block: stored.block,
            old_stamp,
            state: stored.state,
            file: stored.file,
            replication: stored.replication,
        });
    }

    fn allocated(&self, file: InodeHandle, block: Block, retried: bool) -> AllocatedBlock {
        let inode = self.inode(file);
        AllocatedBlock {
            block,
            offset: self.file_len(file),
            file: inode.id(),
            path: self.path_text(file),
            replication: inode.replication(),
            block_size: inode.block_size(),
            storage_policy: self.effective_policy(file),
            client_machine: self
                .open_record(file)
                .map_or_else(|| "".into(), |record| record.client_machine.clone()),
            retried,
        }
    }
}
