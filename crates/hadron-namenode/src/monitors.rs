//! What the namespace needs done in the background: freeing deleted trees, watching the journal.

use crate::Shared;
use hadron_blockmap::SafeModeReason;
use hadron_env::clock;
use hadron_namespace::OutcomeValue;
use hadron_namespace::command::Reclaim;
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
