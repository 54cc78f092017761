//! Append: a closed file is opened for its writer again, its partial last block with it.

use super::{Context, Operation};
use crate::command::Append;
use crate::errors;
use crate::inode::{BlockState, InodeHandle};
use crate::namespace::Namespace;
use crate::outcome::{Appended, Effect, OutcomeValue};
use crate::permission::Access;
use crate::quota::QuotaUsage;
use crate::resolve::Purpose;
use hadron_types::{ErrorKind, FsAction, HadoopError, HadoopResult, StoragePolicy};

impl Operation for Append {
    type Plan = InodeHandle;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<InodeHandle> {
        let at = namespace.resolve(context.caller, &self.path, Purpose::Write)?;
        let path = &at.path;
        if let Some(existing) = at.last()
            && namespace.inode(existing).is_directory()
        {
            return Err(errors::file_exists(format!(
                "Cannot append to directory {path}; already exists as a directory."
            )));
        }
        let access = Access {
            path: Some(FsAction::WRITE),
            ..Access::default()
        };
        namespace.check_access(context.caller, &at, access)?;
        let Some(file) = at.last() else {
            return Err(errors::missing(format!(
                "Failed to append to non-existent file {path} for client {}",
                self.client_machine
            )));
        };
        if namespace.effective_policy(file) == StoragePolicy::LAZY_PERSIST.id {
            return Err(HadoopError::new(
                ErrorKind::UnsupportedOperation,
                format!("Cannot append to lazy persist file {path}"),
            ));
        }
        namespace.check_not_open("APPEND_FILE", &at, file, &self.holder, &self.client_machine)?;
        if let Some(last) = namespace.last_block(file)
            && !self.last_block_replicated
        {
            return Err(HadoopError::io(format!(
                "append: lastBlock={} of src={path} is not sufficiently replicated yet.",
                namespace.block(last).block()
            )));
        }
        namespace.verify_reopening(file)?;
        Ok(file)
    }

    fn execute(
        &self,
        file: InodeHandle,
        namespace: &mut Namespace,
        _context: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let holder = namespace.open(file, &self.holder, &self.client_machine);
        let inode = namespace.inode(file);
        let (id, block_size) = (inode.id(), inode.block_size());
        effects.push(Effect::LeaseGranted { file: id, holder });
        let len = namespace.file_len(file);
        let last = namespace.last_block(file);
        let partial = last.filter(|&last| !self.new_block && namespace.block(last).len() < block_size);
        if let Some(last) = partial {
            namespace.set_block_state(last, BlockState::UnderConstruction);
            namespace.tell_block_changed(last, namespace.block(last).stamp(), effects);
        }
        let shown = if self.new_block { last } else { partial };
        OutcomeValue::Appended(Box::new(Appended {
            last_block: shown.map(|last| {
                let block = namespace.block(last).block();
                (block, len - block.len)
            }),
            new_block: self.new_block,
            status: namespace.status_of(file, ""),
        }))
    }
}

impl Namespace {
    /// Refuses to open the last block of a file again where its preferred size, at which it counts then, has no room.
    pub(crate) fn verify_reopening(&self, file: InodeHandle) -> HadoopResult<()> {
        let (Some(last), true) = (self.last_block(file), self.has_quotas()) else {
            return Ok(());
        };
        let inode = self.inode(file);
        let more = inode.block_size().saturating_sub(self.block(last).len());
        let delta = Self::cost(more, inode.replication(), self.effective_policy(file));
        self.verify_quota(file, delta, QuotaUsage::default(), None)
    }
}
