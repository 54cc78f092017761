//! The look at leases every `dfs.namenode.lease-recheck-interval-ms`: files past the hard limit are taken from their
//! writers and recovered, and block recoveries that nobody heard of are ordered again.
//!
//! Work goes in slices of at most [`EXPIRED_LEASES_PER_SLICE`] files and `dfs.namenode.max-lock-hold-to-release-lease-ms`
//! under the locks; the commands of a slice enter the journal together, and calls of clients go between slices. A file
//! that cannot be released now goes to the NameNode's own lease and comes again with that one's limit; unlike Hadoop's
//! it is never left open without a lease. Nothing is done in safe mode.

use crate::Shared;
use hadron_env::clock;
use hadron_namespace::EXPIRED_LEASES_PER_SLICE;
use hadron_namespace::command::ReassignLease;
use hadron_types::{HadoopError, InodeId};
use std::sync::Arc;

/// Watches leases until dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        clock::sleep(&*shared.state.clock, shared.settings.lease_recheck).await;
        while !is_safe_mode(&shared) && release_expired(&shared).await {
            tokio::task::yield_now().await;
        }
        if !is_safe_mode(&shared) {
            shared
                .retry_recoveries(shared.state.now(), EXPIRED_LEASES_PER_SLICE)
                .await;
        }
    }
}

fn is_safe_mode(shared: &Shared) -> bool {
    shared.state.blocks.lock().safe_mode().is_on()
}

/// Releases a slice of expired files; false if there is no use in trying the next one at once.
async fn release_expired(shared: &Shared) -> bool {
    let hard_limit_ms = shared.settings.lease_hard_limit.as_millis() as u64;
    let now = shared.state.now();
    let expired = {
        let leases = shared.state.leases.lock();
        leases.expired(now, hard_limit_ms, EXPIRED_LEASES_PER_SLICE)
    };
    if expired.is_empty() {
        return false;
    }
    let mut silent = expired.iter().map(|(_, holder)| holder).collect::<Vec<_>>();
    silent.dedup();
    for holder in silent {
        tracing::info!("[Lease.  Holder: {holder}] has expired hard limit");
    }
    let new_holder = shared.recovery_holder.name(now, hard_limit_ms);
    let files: Vec<InodeId> = expired.iter().map(|(file, _)| *file).collect();
    let released = shared.release_leases(&files, &new_holder).await;
    let mut has_moved = false;
    let mut kept = Vec::new();
    for ((file, holder), result) in expired.into_iter().zip(released) {
        match result {
            Ok(_) => has_moved = true,
            Err(error) => {
                warn_kept(shared, file, &holder, &error);
                kept.push((file, holder));
            }
        }
    }
    let reassigned = kept
        .into_iter()
        .filter(|(_, holder)| **holder != *new_holder)
        .map(|(file, _)| {
            let op = ReassignLease {
                file_id: file.0,
                new_holder: new_holder.as_ref().to_owned(),
            };
            let proposed = shared.propose(shared.command(shared.own_caller(), op));
            async move { (file, proposed.await) }
        });
    for (file, result) in futures::future::join_all(reassigned).await {
        match result {
            Ok(_) => has_moved = true,
            // Nobody writes to it any more: the index alone knew of it.
            Err(_) if !shared.state.ns.read().is_open(file) => shared.state.leases.lock().release(file),
            Err(error) => tracing::warn!(inode = file.0, %error, "take over expired lease"),
        }
    }
    // The NameNode's own lease, of which nothing could be released, waits as any other.
    shared.state.leases.lock().renew(&new_holder, now);
    has_moved
}

fn warn_kept(shared: &Shared, file: InodeId, holder: &str, error: &HadoopError) {
    let path = shared.state.ns.read().path_of(file).unwrap_or_default();
    tracing::warn!(inode = file.0, %error, "Cannot release the path {path} in the lease [Lease.  Holder: {holder}]");
}
