//! UpdateBlockForPipeline and UpdatePipeline: a writer's pipeline is rebuilt under a new generation stamp.
//!
//! The stamp is given out first and recorded second: the stored block keeps its old stamp in between, so that a
//! client that dies there leaves nothing behind.

use super::{Context, Operation};
use crate::command::{UpdateBlockForPipeline, UpdatePipeline};
use crate::errors;
use crate::inode::{BlockHandle, BlockState};
use crate::namespace::Namespace;
use crate::outcome::{Effect, OutcomeValue};
use hadron_types::{Block, HadoopError, HadoopResult};

impl BlockState {
    /// Hadoop's name (`BlockUCState`).
    pub fn name(self) -> &'static str {
        match self {
            Self::UnderConstruction => "UNDER_CONSTRUCTION",
            Self::UnderRecovery => "UNDER_RECOVERY",
            Self::Committed => "COMMITTED",
            Self::Complete => "COMPLETE",
        }
    }
}

impl Namespace {
    /// A block as texts show it to clients.
    pub(super) fn shown(&self, block: Block) -> String {
        format!("{}:{block}", self.identity.block_pool)
    }

    /// The stored block that `holder` is writing.
    fn check_written_block(&self, block: Block, holder: &str) -> HadoopResult<BlockHandle> {
        let handle = self
            .find_block(block.id)
            .ok_or_else(|| HadoopError::io(format!("{} does not exist.", self.shown(block))))?;
        let record = self.block(handle);
        if record.state != BlockState::UnderConstruction {
            return Err(HadoopError::io(format!(
                "Unexpected BlockUCState: {} is {} but not UNDER_CONSTRUCTION",
                self.shown(block),
                record.state.name()
            )));
        }
        let open = self
            .open_record(record.file)
            .filter(|_| self.is_attached(record.file))
            .ok_or_else(|| {
                HadoopError::io(format!(
                    "The file {} belonged to does not exist or it is not under construction.",
                    record.block()
                ))
            })?;
        if &*open.holder != holder {
            return Err(errors::lease_expired(format!(
                "Lease mismatch: {} is accessed by a non lease holder {holder}",
                self.shown(block)
            )));
        }
        Ok(handle)
    }
}

impl Operation for UpdateBlockForPipeline {
    type Plan = ();

    fn plan(&self, namespace: &Namespace, _context: Context<'_>) -> HadoopResult<()> {
        namespace.check_written_block(self.block.into(), &self.holder).map(drop)
    }

    fn execute(
        &self,
        (): (),
        namespace: &mut Namespace,
        _context: Context<'_>,
        _effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        OutcomeValue::Stamp(namespace.take_stamp())
    }
}

impl Operation for UpdatePipeline {
    type Plan = BlockHandle;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, _context: Context<'_>) -> HadoopResult<BlockHandle> {
        let (old, new) = (Block::from(self.old), Block::from(self.new));
        let shown = |block| namespace.shown(block);
        let handle = namespace.check_written_block(old, &self.holder)?;
        if old.id != new.id {
            return Err(HadoopError::io(format!(
                "{} and {} has different block identifier",
                shown(old),
                shown(new)
            )));
        }
        let record = namespace.block(handle);
        if new.generation_stamp <= record.stamp() || new.generation_stamp > namespace.last_stamp {
            return Err(HadoopError::io(format!(
                "Update {} but the new block {} does not have a larger generation stamp than the last block {}",
                shown(old),
                shown(new),
                record.block()
            )));
        }
        if new.len < record.len() {
            return Err(HadoopError::io(format!(
                "Update {} (size={}) to a smaller size block {} (size={})",
                shown(old),
                old.len,
                shown(new),
                new.len
            )));
        }
        Ok(handle)
    }

    fn execute(
        &self,
        block: BlockHandle,
        namespace: &mut Namespace,
        _context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let new = Block::from(self.new);
        let record = namespace.blocks.get_mut(block);
        let old_stamp = record.stamp();
        record.set_stamp(new.generation_stamp);
        record.set_len(new.len);
        namespace.tell_block_changed(block, old_stamp, effects);
        OutcomeValue::Done
    }
}
