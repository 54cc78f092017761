//! What the namespace needs done in the background: freeing deleted trees, ending expired leases, watching the journal.

use crate::Shared;
use hadron_blockmap::SafeModeReason;
use hadron_env::clock;
use hadron_namespace::command::{ReassignLease, Reclaim};
use hadron_namespace::{EXPIRED_LEASES_PER_SLICE, NAMENODE_LEASE_HOLDER, OutcomeValue};
use std::sync::Arc;
use std::time::Duration;

/// Wait after a reclaim that the journal refused.
const RECLAIM_RETRY: Duration = Duration::from_secs(5);

/// Frees detached trees slice by slice, until dropped.
pub(crate) async fn reclaim(shared: Arc<Shared>) {
    loop {
        while shared.state.ns.read().has_detached() {
            let command = shared.command(shared.own_caller(), Reclaim { budget: 0 });
            match shared.propose(command).await {
                Ok(OutcomeValue::Reclaimed { more: false, .. }) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "reclaim deleted trees");
                    clock::sleep(&*shared.state.clock, RECLAIM_RETRY).await;
                }
            }
        }
        shared.state.reclaim_needed.notified().await;
    }
}

/// Ends leases past the hard limit, until dropped. Not in safe mode.
pub(crate) async fn leases(shared: Arc<Shared>) {
    loop {
        clock::sleep(&*shared.state.clock, shared.settings.lease_recheck).await;
        if shared.state.blocks.lock().safe_mode().is_on() {
            continue;
        }
        let hard_limit_ms = shared.settings.lease_hard_limit.as_millis() as u64;
        let expired = {
            let leases = shared.state.leases.lock();
            leases.expired(shared.state.now(), hard_limit_ms, EXPIRED_LEASES_PER_SLICE)
        };
        for (file, holder) in expired {
            tracing::info!(inode = file.0, %holder, "hard limit of lease expired");
            let released = shared.release_lease(file, Some(NAMENODE_LEASE_HOLDER.to_owned())).await;
            let Err(error) = released else { continue };
            tracing::warn!(inode = file.0, %holder, %error, "release expired lease");
            let op = ReassignLease {
                file_id: file.0,
                new_holder: NAMENODE_LEASE_HOLDER.to_owned(),
            };
            let command = shared.command(shared.own_caller(), op);
            if let Err(error) = shared.propose(command).await {
                tracing::warn!(inode = file.0, %error, "take over expired lease");
            }
        }
        shared
            .retry_recoveries(shared.state.now(), EXPIRED_LEASES_PER_SLICE)
            .await;
    }
}

/// Keeps safe mode on while the name dirs are low on space; ends with the reason when durability was lost.
///
/// As in Hadoop safe mode stays on when there is room again, until somebody turns it off; turned off too early it comes
/// back at the next look.
pub(crate) async fn journal_health(shared: Arc<Shared>) -> String {
    let mut health = shared.log.health();
    let interval = shared.settings.resource_check_interval;
    loop {
        let now = health.borrow_and_update().clone();
        if let Some(reason) = now.poisoned {
            tracing::error!(%reason, "journal is poisoned: this NameNode must end");
            return reason.to_string();
        }
        if now.resources_low {
            let reason = SafeModeReason::ResourcesLow;
            let was_on = shared.state.with_blocks(|_, blocks, _| {
                let was_on = blocks.safe_mode().is_on();
                blocks.enter_safe_mode(reason);
                was_on
            });
            if !was_on {
                tracing::error!("NameNode low on available disk space. Entering safe mode.");
            }
        }
        let wait = clock::sleep(&*shared.state.clock, interval);
        let changed = tokio::select! {
            changed = health.changed() => changed,
            () = wait, if now.resources_low => Ok(()),
        };
        if changed.is_err() {
            return "journal is closed".to_owned();
        }
    }
}
