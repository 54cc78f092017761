//! The ends of a lease that its holder did not bring about: ReleaseLease, ReassignLease, CommitBlockSynchronization.

use super::{Context, Operation};
use crate::block_recovery::BlockRecovery;
use crate::command::{CommitBlockSynchronization, ReassignLease, ReleaseLease};
use crate::errors;
use crate::inode::{BlockHandle, BlockState, InodeHandle};
use crate::namespace::Namespace;
use crate::outcome::{Effect, LeaseProgress, OutcomeValue};
use hadron_types::{Block, GenerationStamp, HadoopError, HadoopResult, InodeId};

/// How ReleaseLease goes on.
pub(crate) enum ReleasePlan {
    /// Nobody has the file open.
    ClosedBefore,
    /// All blocks are, or by the facts become, complete.
    Close(InodeHandle),
    /// The last block never got a byte: it goes, and the file closes.
    DropLastBlock(InodeHandle),
    /// The last block must be recovered.
    Recover(InodeHandle, BlockHandle),
}

impl Operation for ReleaseLease {
    type Plan = ReleasePlan;

    fn plan(&self, namespace: &Namespace, _context: Context<'_>) -> HadoopResult<ReleasePlan> {
        let refused = |what: String| HadoopError::io(format!("DIR* NameSystem.internalReleaseLease: {what}"));
        let Some(file) = namespace.find_attached(InodeId(self.file_id)) else {
            return Err(refused(format!(
                "attempt to release a create lock on inode {} file does not exist.",
                self.file_id
            )));
        };
        if !namespace.inode(file).is_open() {
            return Ok(ReleasePlan::ClosedBefore);
        }
        let path = || namespace.path_text(file);
        let incomplete = namespace
            .blocks_of(file)
            .position(|block| !namespace.block(block).is_complete());
        let count = namespace.block_count(file);
        let waiting = || {
            errors::already_being_created(format!(
                "DIR* NameSystem.internalReleaseLease: Failed to release lease for file {}. Committed blocks are \
                 waiting to be minimally replicated.",
                path()
            ))
        };
        let (Some(first), Some(last)) = (incomplete, namespace.last_block(file)) else {
            return Ok(ReleasePlan::Close(file));
        };
        let penultimate_waits = first + 2 == count;
        let penultimate = namespace.penultimate_block(file);
        let committed = |block: Option<BlockHandle>| {
            block.is_some_and(|block| namespace.block(block).state == BlockState::Committed)
        };
        if first + 2 < count || penultimate_waits && !committed(penultimate) {
            return Err(refused(format!(
                "attempt to release a create lock on {} but file is already closed.",
                path()
            )));
        }
        if matches!(
            namespace.block(last).state,
            BlockState::Committed | BlockState::Complete
        ) {
            let settled = |block| namespace.will_be_complete(block, &self.replicated);
            if settled(penultimate) && settled(Some(last)) {
                return Ok(ReleasePlan::Close(file));
            }
            if self.recover_committed && settled(penultimate) {
                return Ok(ReleasePlan::Recover(file, last));
            }
            return Err(waiting());
        }
        if !self.last_block_has_replicas && namespace.block(last).len() == 0 {
            // Hadoop closes here even while the block before waits for replicas; ours waits with it.
            if !namespace.will_be_complete(penultimate, &self.replicated) {
                return Err(waiting());
            }
            return Ok(ReleasePlan::DropLastBlock(file));
        }
        Ok(ReleasePlan::Recover(file, last))
    }

    fn execute(
        &self,
        plan: ReleasePlan,
        namespace: &mut Namespace,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let progress = match plan {
            ReleasePlan::ClosedBefore => LeaseProgress::Closed,
            ReleasePlan::Close(file) => {
                namespace.commit_last(file, super::blocks::Commit::No, &self.replicated, effects);
                namespace.close_if_complete(file, context.now, effects);
                LeaseProgress::Closed
            }
            ReleasePlan::DropLastBlock(file) => {
                if let Some(block) = namespace.pop_block(file) {
                    effects.push(Effect::BlocksRemoved(vec![block]));
                }
                namespace.commit_last(file, super::blocks::Commit::No, &self.replicated, effects);
                namespace.close_if_complete(file, context.now, effects);
                LeaseProgress::Closed
            }
            ReleasePlan::Recover(file, last) => self.start_recovery(namespace, file, last, effects),
        };
        OutcomeValue::Lease(progress)
    }
}

impl ReleaseLease {
    fn start_recovery(
        &self,
        namespace: &mut Namespace,
        file: InodeHandle,
        last: BlockHandle,
        effects: &mut Vec<Effect>,
    ) -> LeaseProgress {
        let recovery_id = namespace.take_stamp();
        namespace.reassign(file, self.new_holder.as_deref(), effects);
        let block = namespace.block(last).block();
        // What was begun as a truncation stays one, however often it is tried.
        let before = namespace.recoveries.get(&block.id);
        let recovery = BlockRecovery {
            id: recovery_id,
            truncate_to: before.and_then(|recovery| recovery.truncate_to),
        };
        namespace.start_block_recovery(last, recovery);
        effects.push(Effect::BlockRecoveryStarted {
            block,
            recovery_id,
            file: namespace.inode(file).id(),
        });
        LeaseProgress::RecoveryStarted { block, recovery_id }
    }
}

impl Operation for ReassignLease {
    type Plan = InodeHandle;

    fn plan(&self, namespace: &Namespace, _context: Context<'_>) -> HadoopResult<InodeHandle> {
        namespace
            .find_attached(InodeId(self.file_id))
            .filter(|&file| namespace.inode(file).is_open())
            .ok_or_else(|| HadoopError::io(format!("reassign lease of inode {}: not open", self.file_id)))
    }

    fn execute(
        &self,
        file: InodeHandle,
        namespace: &mut Namespace,
        _context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        namespace.reassign(file, Some(&self.new_holder), effects);
        OutcomeValue::Done
    }
}

impl Namespace {
    /// Gives an open file to another holder. The present one's claim is not renewed when there is no other: its lease
    /// covers more files, and those who wait for them would wait for another soft limit.
    fn reassign(&mut self, file: InodeHandle, new_holder: Option<&str>, effects: &mut Vec<Effect>) {
        let (Some(record), Some(new_holder)) = (self.open_record(file).cloned(), new_holder) else {
            return;
        };
        let holder = self.open(file, new_holder, &record.client_machine);
        let file = self.inode(file).id();
        effects.push(Effect::LeaseGranted { file, holder });
    }
}

/// How CommitBlockSynchronization goes on.
pub(crate) enum SynchronizationPlan {
    /// The report comes again, or too late to matter.
    Ignore,
    /// The block has its final form.
    Accept(InodeHandle, BlockHandle),
}

impl Operation for CommitBlockSynchronization {
    type Plan = SynchronizationPlan;

    fn plan(&self, namespace: &Namespace, _context: Context<'_>) -> HadoopResult<SynchronizationPlan> {
        let block = Block::from(self.block);
        let Some(handle) = namespace.find_block(block.id) else {
            if self.delete_block {
                return Ok(SynchronizationPlan::Ignore);
            }
            let shown = namespace.shown(block);
            return Err(HadoopError::io(format!("Block (={shown}) not found")));
        };
        let record = namespace.block(handle);
        let file = record.file;
        if !namespace.is_attached(file) {
            return Err(errors::missing(format!(
                "File not found: {}, likely due to delayed block removal",
                namespace.path_text(file)
            )));
        }
        let last = namespace.last_block(file).unwrap_or(handle);
        if (!namespace.inode(file).is_open() || record.is_complete()) && namespace.block(last).is_complete() {
            return Ok(SynchronizationPlan::Ignore);
        }
        let current = namespace
            .recoveries
            .get(&namespace.block(last).id())
            .map_or(GenerationStamp::default(), |recovery| recovery.id);
        if current.0 != self.new_generation_stamp || last != handle {
            return Err(HadoopError::io(format!(
                "The recovery id {} does not match current recovery id {current} for block {}",
                self.new_generation_stamp,
                namespace.shown(block)
            )));
        }
        Ok(SynchronizationPlan::Accept(file, handle))
    }

    fn execute(
        &self,
        plan: SynchronizationPlan,
        namespace: &mut Namespace,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let SynchronizationPlan::Accept(file, block) = plan else {
            return OutcomeValue::Done;
        };
        if self.delete_block {
            if let Some(removed) = namespace.pop_block(file) {
                effects.push(Effect::BlocksRemoved(vec![removed]));
            }
        } else {
            let record = namespace.blocks.get_mut(block);
            let old_stamp = record.stamp();
            record.set_stamp(GenerationStamp(self.new_generation_stamp));
            record.set_len(self.new_len);
            let state = if self.close_file {
                BlockState::Committed
            } else {
                BlockState::UnderConstruction
            };
            namespace.set_block_state(block, state);
            namespace.tell_block_changed(block, old_stamp, effects);
        }
        if self.close_file {
            namespace.commit_last(file, super::blocks::Commit::No, &self.replicated, effects);
            namespace.close_if_complete(file, context.now, effects);
        }
        OutcomeValue::Done
    }
}
