//! Truncate: whole blocks go at once; a block that is cut in its middle is cut by the recovery of its replicas.
//!
//! As in Hadoop the file is closed all the time when the new end is a block's end. Otherwise it is open, owned by the
//! caller, its last block under recovery, until the primary DataNode reports; `isFileClosed` tells when. Until then the
//! block has its old length. Repeating the call while the recovery runs is no error.

use super::{Context, Operation};
use crate::block_recovery::BlockRecovery;
use crate::command::Truncate;
use crate::errors;
use crate::inode::{BlockState, InodeHandle};
use crate::namespace::Namespace;
use crate::outcome::{Effect, OutcomeValue};
use crate::permission::Access;
use crate::resolve::{Purpose, Resolved};
use hadron_types::{ErrorKind, FsAction, HadoopError, HadoopResult, StoragePolicy};

/// How Truncate goes on.
pub(crate) enum TruncatePlan {
    /// The file has that length.
    Unchanged,
    /// The same truncation runs already.
    Running,
    /// Blocks go from the end; what is left is cut to `rest` bytes of its last block unless that is whole.
    Cut {
        file: InodeHandle,
        /// Blocks that stay.
        kept: usize,
        /// Bytes of the last of them that stay; `None`: all.
        rest: Option<u64>,
    },
}

impl Operation for Truncate {
    type Plan = TruncatePlan;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<TruncatePlan> {
        if self.new_len < 0 {
            let text = format!("Cannot truncate to a negative file size: {}.", self.new_len);
            return Err(errors::illegal_argument(text));
        }
        let new_len = self.new_len.unsigned_abs();
        let at = namespace.resolve(context.caller, &self.path, Purpose::Write)?;
        let access = Access {
            path: Some(FsAction::WRITE),
            ..Access::default()
        };
        namespace.check_access(context.caller, &at, access)?;
        let shown = at.path.to_string();
        let file = namespace.require_file(&at, &shown)?;
        if namespace.effective_policy(file) == StoragePolicy::LAZY_PERSIST.id {
            return Err(HadoopError::new(
                ErrorKind::UnsupportedOperation,
                format!("Cannot truncate lazy persist file {shown}"),
            ));
        }
        if self.is_running(namespace, &at, file, new_len)? {
            return Ok(TruncatePlan::Running);
        }
        namespace.check_not_open("TRUNCATE_FILE", &at, file, &self.holder, &self.client_machine)?;
        let old_len = namespace.file_len(file);
        if old_len == new_len {
            return Ok(TruncatePlan::Unchanged);
        }
        if old_len < new_len {
            return Err(errors::illegal_argument(format!(
                "Cannot truncate to a larger file size. Current size: {old_len}, truncate size: {new_len}."
            )));
        }
        let (mut kept, mut before) = (0, 0u64);
        let mut last = 0u64;
        for block in namespace.blocks_of(file) {
            if before.saturating_add(last) >= new_len {
                break;
            }
            before += last;
            last = namespace.block(block).len();
            kept += 1;
        }
        let rest = (before + last > new_len).then(|| new_len - before);
        Ok(TruncatePlan::Cut { file, kept, rest })
    }

    fn execute(
        &self,
        plan: TruncatePlan,
        namespace: &mut Namespace,
        context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let (file, kept, rest) = match plan {
            TruncatePlan::Unchanged => return OutcomeValue::Bool(true),
            TruncatePlan::Running => return OutcomeValue::Bool(false),
            TruncatePlan::Cut { file, kept, rest } => (file, kept, rest),
        };
        let mut removed = Vec::new();
        while namespace.block_count(file) > kept {
            removed.extend(namespace.pop_block(file));
        }
        if !removed.is_empty() {
            effects.push(Effect::BlocksRemoved(removed));
        }
        namespace.inode_mut(file).set_mtime(context.now);
        let (Some(rest), Some(last)) = (rest, namespace.last_block(file)) else {
            return OutcomeValue::Bool(true);
        };
        let holder = namespace.open(file, &self.holder, &self.client_machine);
        let id = namespace.inode(file).id();
        effects.push(Effect::LeaseGranted { file: id, holder });
        let recovery = BlockRecovery {
            id: namespace.take_stamp(),
            truncate_to: Some(rest),
        };
        namespace.start_block_recovery(last, recovery);
        namespace.tell_block_changed(last, namespace.block(last).stamp(), effects);
        effects.push(Effect::BlockRecoveryStarted {
            block: namespace.block(last).block(),
            recovery_id: recovery.id,
            file: id,
        });
        OutcomeValue::Bool(false)
    }
}

impl Truncate {
    /// Whether the file is being truncated to the same length.
    ///
    /// Errors: AlreadyBeingCreatedException when it is being truncated to another one.
    fn is_running(&self, namespace: &Namespace, at: &Resolved, file: InodeHandle, new_len: u64) -> HadoopResult<bool> {
        let Some(last) = namespace.last_block(file).map(|last| namespace.block(last)) else {
            return Ok(false);
        };
        let recovery = namespace.recoveries.get(&last.id());
        let Some(rest) = recovery.and_then(|recovery| recovery.truncate_to) else {
            return Ok(false);
        };
        let whole = namespace.file_len(file).saturating_sub(last.len());
        if whole.saturating_add(rest) == new_len {
            return Ok(true);
        }
        Err(errors::already_being_created(format!(
            "Failed to TRUNCATE_FILE {path} for {} on {} because {path} is being truncated.",
            self.holder,
            self.client_machine,
            path = at.path
        )))
    }
}

impl Namespace {
    /// Puts a block under `recovery`.
    pub(super) fn start_block_recovery(&mut self, block: crate::inode::BlockHandle, recovery: BlockRecovery) {
        self.set_block_state(block, BlockState::UnderRecovery);
        let id = self.block(block).id();
        self.recoveries.insert(id, recovery);
    }
}
