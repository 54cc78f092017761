//! Ending a writer's lease: closing its file, or having the last block recovered first.
//!
//! Called for `recoverLease`, for whoever opens a file whose writer was silent for the soft limit, by the lease monitor
//! past the hard limit, and for block recoveries that are overdue.

use crate::Shared;
use crate::client_protocol::unexpected;
use crate::state_change::{self, Ending};
use hadron_blockmap::BlockMap;
use hadron_namespace::command::{Op, ReassignLease, ReleaseLease};
use hadron_namespace::{BlockState, LeaseProgress, Namespace, OutcomeValue};
use hadron_types::{BlockId, HadoopResult, InodeId, TimeMs};

/// Releases proposed together at most.
const RELEASES_PER_PROPOSAL: usize = 256;

/// Where ending a lease got to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Released {
    /// The file is closed.
    Closed,
    /// Its last block is being recovered; it will be closed by that.
    Recovering,
}

/// What ending one lease takes.
enum Step {
    /// Nothing: a recovery runs under the right holder.
    Wait,
    Reassign(ReassignLease),
    Release {
        op: ReleaseLease,
        path: String,
        ending: Ending,
    },
}

impl Shared {
    /// Ends the lease on `file` with what is known of its replicas now. `new_holder` owns it while recovery runs; `None`:
    /// the present one goes on owning it.
    ///
    /// No second recovery begins while one runs that is not overdue.
    pub(crate) async fn release_lease(&self, file: InodeId, new_holder: Option<&str>) -> HadoopResult<Released> {
        let step = self.release_steps(&[file], new_holder).pop();
        self.take_step(file, step).await
    }

    /// As [`Shared::release_lease`] for many files; the results stand in their order. Locks are held for
    /// `dfs.namenode.max-lock-hold-to-release-lease-ms` at most, one file's look beyond.
    pub(crate) async fn release_leases(&self, files: &[InodeId], new_holder: &str) -> Vec<HadoopResult<Released>> {
        let mut results = Vec::with_capacity(files.len());
        while results.len() < files.len() {
            let rest = &files[results.len()..];
            let steps = self.release_steps(&rest[..rest.len().min(RELEASES_PER_PROPOSAL)], Some(new_holder));
            let taken = steps.into_iter().zip(rest);
            let taken = taken.map(|(step, &file)| self.take_step(file, Some(step)));
            results.extend(futures::future::join_all(taken).await);
        }
        results
    }

    /// What is to be done about `files`, as many of them as the time under the locks allows, one at least.
    fn release_steps(&self, files: &[InodeId], new_holder: Option<&str>) -> Vec<Step> {
        let (state, clock) = (&self.state, &self.state.clock);
        let began = clock.monotonic();
        let ns = state.ns.read();
        let blocks = state.blocks.lock();
        let now = state.now();
        let mut steps = Vec::with_capacity(files.len());
        for &file in files {
            steps.push(self.release_step(&ns, &blocks, file, new_holder, now));
            if clock.monotonic().saturating_sub(began) >= self.settings.lease_release_time {
                break;
            }
        }
        steps
    }

    fn release_step(
        &self,
        ns: &Namespace,
        blocks: &BlockMap,
        file: InodeId,
        new_holder: Option<&str>,
        now: TimeMs,
    ) -> Step {
        let runs = |block: BlockId| self.state.recoveries.lock().is_running(block, now);
        if recovering_block(ns, file).is_some_and(runs)
            && let Some(open) = ns.open_file(file)
        {
            return match new_holder {
                Some(new_holder) if *new_holder != *open.holder => Step::Reassign(ReassignLease {
                    file_id: file.0,
                    new_holder: new_holder.to_owned(),
                }),
                Some(new_holder) => {
                    self.state.leases.lock().renew(new_holder, now);
                    Step::Wait
                }
                None => Step::Wait,
            };
        }
        let path = ns.path_of(file).unwrap_or_default();
        if let Some(open) = ns.open_file(file) {
            tracing::info!("Recovering [Lease.  Holder: {}], src={path}", open.holder);
        }
        let ending = match ns.last_blocks(file).last().map(|last| last.state) {
            None | Some(BlockState::Complete) => Ending::Complete,
            Some(BlockState::Committed) => Ending::Committed,
            Some(BlockState::UnderConstruction | BlockState::UnderRecovery) => Ending::Empty,
        };
        let op = release_with_facts(ns, blocks, file, new_holder, now);
        Step::Release { op, path, ending }
    }

    /// Proposes a step at once and gives its result; a step is `None` only for no file.
    fn take_step(
        &self,
        file: InodeId,
        step: Option<Step>,
    ) -> impl Future<Output = HadoopResult<Released>> + Send + use<> {
        let (op, told): (Option<Op>, _) = match step {
            None | Some(Step::Wait) => (None, None),
            Some(Step::Reassign(op)) => (Some(op.into()), None),
            Some(Step::Release { op, path, ending }) => (Some(op.into()), Some((path, ending))),
        };
        let proposed = op.map(|op| self.propose(self.command(self.own_caller(), op)));
        async move {
            let Some(proposed) = proposed else {
                return Ok(Released::Recovering);
            };
            let outcome = proposed.await.inspect_err(state_change::not_released)?;
            match (outcome, told) {
                (OutcomeValue::Done, None) => Ok(Released::Recovering),
                (OutcomeValue::Lease(progress), Some((path, ending))) => {
                    tracing::debug!(inode = file.0, ?progress, "lease released");
                    state_change::released(&path, ending, &progress);
                    Ok(match progress {
                        LeaseProgress::Closed => Released::Closed,
                        LeaseProgress::RecoveryStarted { .. } => Released::Recovering,
                    })
                }
                (other, _) => Err(unexpected("release lease", &other)),
            }
        }
    }

    /// Tries recoveries again that were not heard of within their time-out, at most `limit`.
    pub(crate) async fn retry_recoveries(&self, now: TimeMs, limit: usize) {
        let overdue = self.state.recoveries.lock().take_overdue(now, limit);
        for (block, file) in overdue {
            let op = {
                let ns = self.state.ns.read();
                if recovering_block(&ns, file) == Some(block) {
                    Some(release_with_facts(&ns, &self.state.blocks.lock(), file, None, now))
                } else {
                    None
                }
            };
            let Some(op) = op else {
                self.state.recoveries.lock().end(block);
                continue;
            };
            tracing::warn!(inode = file.0, %block, "block recovery is overdue: trying again");
            if let Err(error) = self.propose(self.command(self.own_caller(), op)).await {
                tracing::warn!(inode = file.0, %block, %error, "start block recovery again");
            }
        }
    }
}

fn release_with_facts(
    ns: &Namespace,
    blocks: &BlockMap,
    file: InodeId,
    new_holder: Option<&str>,
    now: TimeMs,
) -> ReleaseLease {
    let last_blocks = ns.last_blocks(file);
    // Nodes that are dead now may come back with what was acked to the writer.
    let is_held = |id: BlockId| blocks.was_held(id) || !blocks.expected(id, now).is_empty();
    ReleaseLease {
        file_id: file.0,
        new_holder: new_holder.map(str::to_owned),
        replicated: last_blocks
            .iter()
            .map(|last| last.block.id)
            .filter(|id| blocks.is_min_replicated(*id))
            .map(|id| id.0)
            .collect(),
        last_block_has_replicas: last_blocks.last().is_some_and(|last| is_held(last.block.id)),
        recover_committed: true,
    }
}

/// The last block of an open file, if it is under recovery.
pub(crate) fn recovering_block(ns: &Namespace, file: InodeId) -> Option<BlockId> {
    let last = ns.last_blocks(file).pop()?;
    (last.state == BlockState::UnderRecovery).then_some(last.block.id)
}
