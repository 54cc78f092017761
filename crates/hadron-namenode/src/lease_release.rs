//! Ending a writer's lease: closing its file, or having the last block recovered first.
//!
//! Called for `recoverLease`, for whoever opens a file whose writer was silent for the soft limit, by the lease monitor
//! past the hard limit, and for block recoveries that are overdue.

use crate::Shared;
use crate::client_protocol::unexpected;
use hadron_namespace::command::{ReassignLease, ReleaseLease};
use hadron_namespace::{BlockState, LeaseProgress, Namespace, OutcomeValue};
use hadron_types::{BlockId, HadoopResult, InodeId, TimeMs};

/// Where ending a lease got to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Released {
    /// The file is closed.
    Closed,
    /// Its last block is being recovered; it will be closed by that.
    Recovering,
}

impl Shared {
    /// Ends the lease on `file` with what is known of its replicas now. `new_holder` owns it while recovery runs.
    ///
    /// No second recovery begins while one runs that is not overdue.
    pub(crate) async fn release_lease(&self, file: InodeId, new_holder: Option<String>) -> HadoopResult<Released> {
        if self.has_running_recovery(file) {
            self.take_lease(file, new_holder).await?;
            return Ok(Released::Recovering);
        }
        let op = self.release_with_facts(file, new_holder);
        match self.propose(self.command(self.own_caller(), op)).await? {
            OutcomeValue::Lease(LeaseProgress::Closed) => Ok(Released::Closed),
            OutcomeValue::Lease(LeaseProgress::RecoveryStarted { block, recovery_id }) => {
                tracing::info!(inode = file.0, %block, %recovery_id, "lease recovery of the last block started");
                Ok(Released::Recovering)
            }
            other => Err(unexpected("release lease", &other)),
        }
    }

    fn release_with_facts(&self, file: InodeId, new_holder: Option<String>) -> ReleaseLease {
        let ns = self.state.ns.read();
        let blocks = self.state.blocks.lock();
        let last_blocks = ns.last_blocks(file);
        let now = self.state.now();
        let is_held = |id: BlockId| !blocks.expected(id, now).is_empty();
        ReleaseLease {
            file_id: file.0,
            new_holder,
            replicated: last_blocks
                .iter()
                .map(|last| last.block.id)
                .filter(|id| blocks.is_min_replicated(*id))
                .map(|id| id.0)
                .collect(),
            last_block_has_replicas: last_blocks.last().is_some_and(|last| is_held(last.block.id)),
        }
    }

    fn has_running_recovery(&self, file: InodeId) -> bool {
        let ns = self.state.ns.read();
        let now = self.state.now();
        recovering_block(&ns, file).is_some_and(|block| self.state.recoveries.lock().is_running(block, now))
    }

    /// Gives a file under recovery to another holder, or renews the present one's lease.
    async fn take_lease(&self, file: InodeId, new_holder: Option<String>) -> HadoopResult<()> {
        let Some(open) = self.state.ns.read().open_file(file) else {
            return Ok(());
        };
        match new_holder.filter(|holder| **holder != *open.holder) {
            Some(new_holder) => {
                let op = ReassignLease {
                    file_id: file.0,
                    new_holder,
                };
                self.propose(self.command(self.own_caller(), op)).await.map(drop)
            }
            None => {
                self.state.leases.lock().renew(&open.holder, self.state.now());
                Ok(())
            }
        }
    }

    /// Tries recoveries again that were not heard of within their time-out, at most `limit`.
    pub(crate) async fn retry_recoveries(&self, now: TimeMs, limit: usize) {
        let overdue = self.state.recoveries.lock().take_overdue(now, limit);
        for (block, file) in overdue {
            if recovering_block(&self.state.ns.read(), file) != Some(block) {
                self.state.recoveries.lock().end(block);
                continue;
            }
            tracing::warn!(inode = file.0, %block, "block recovery is overdue: trying again");
            let op = self.release_with_facts(file, None);
            if let Err(error) = self.propose(self.command(self.own_caller(), op)).await {
                tracing::warn!(inode = file.0, %block, %error, "start block recovery again");
            }
        }
    }
}

/// The last block of an open file, if it is under recovery.
pub(crate) fn recovering_block(ns: &Namespace, file: InodeId) -> Option<BlockId> {
    let last = ns.last_blocks(file).pop()?;
    (last.state == BlockState::UnderRecovery).then_some(last.block.id)
}
