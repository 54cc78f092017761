//! What the NameNode does by itself about DataNodes and replicas, on the clock of its environment.
//!
//! Node monitor: finds silent nodes, forgets their replicas in slices, lets safe mode end. Redundancy monitor: looks
//! at all blocks once safe mode has ended, orders copies and gives overdue ones up. Admin monitor: looks through the
//! blocks of nodes that are to leave, until they may.
//! Invariant: none holds a lock for more than [`SLICE`] blocks, nor across a wait.

use crate::Shared;
use crate::members::{log_changes, log_progress};
use hadron_env::clock;
use hadron_types::BlockId;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;

/// Blocks handled under one hold of the locks.
const SLICE: usize = 512;
/// Longest pause of the node monitor: safe mode's extension is counted in seconds.
const NODE_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest pause of a monitor, whatever the configuration says.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// The running monitors; they end when this is dropped.
#[derive(Debug)]
pub struct DatanodeMonitors {
    _tasks: JoinSet<()>,
}

impl DatanodeMonitors {
    /// Starts them. `redundancy_interval`: `dfs.namenode.redundancy.interval.seconds`. Needs a tokio runtime.
    pub fn start(shared: &Arc<Shared>, redundancy_interval: Duration) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_nodes(Arc::clone(shared)));
        tasks.spawn(restore_redundancy(
            Arc::clone(shared),
            redundancy_interval.max(MIN_INTERVAL),
        ));
        tasks.spawn(watch_leaving_nodes(Arc::clone(shared)));
        Self { _tasks: tasks }
    }
}

async fn watch_nodes(shared: Arc<Shared>) {
    let heartbeat = Duration::from_millis(shared.settings.blocks.heartbeat_interval_ms);
    let recheck = Duration::from_millis(shared.settings.blocks.heartbeat_recheck_ms);
    let interval = NODE_CHECK_INTERVAL.min(heartbeat).min(recheck).max(MIN_INTERVAL);
    loop {
        clock::sleep(&*shared.state.clock, interval).await;
        check_nodes(&shared).await;
    }
}

/// One look at all nodes.
async fn check_nodes(shared: &Shared) {
    let state = &shared.state;
    let dead = state.with_blocks(|source, blocks, now| {
        blocks.tick_safe_mode(now);
        blocks.check_nodes(source, now)
    });
    if dead > 0 {
        tracing::warn!(dead, "datanodes were silent for too long and count as dead");
    }
    while state.with_blocks(|source, blocks, now| blocks.drain_slice(source, SLICE, now)) {
        tokio::task::yield_now().await;
    }
}

async fn watch_leaving_nodes(shared: Arc<Shared>) {
    let interval = shared.settings.datanodes.admin_interval.max(MIN_INTERVAL);
    loop {
        clock::sleep(&*shared.state.clock, interval).await;
        look_at_leaving_nodes(&shared).await;
    }
}

/// One round over the nodes that are to leave.
async fn look_at_leaving_nodes(shared: &Shared) {
    let state = &shared.state;
    state.with_blocks(|_, blocks, _| blocks.begin_admin_round());
    while state.with_blocks(|source, blocks, now| blocks.admin_slice(source, SLICE, now)) {
        tokio::task::yield_now().await;
    }
    log_changes(state);
    log_progress(state);
}

async fn restore_redundancy(shared: Arc<Shared>, interval: Duration) {
    loop {
        clock::sleep(&*shared.state.clock, interval).await;
        redundancy_round(&shared).await;
    }
}

/// One round of the redundancy monitor.
async fn redundancy_round(shared: &Shared) {
    let state = &shared.state;
    if state.examine_all.swap(false, Ordering::AcqRel) {
        examine_all(shared).await;
    }
    let mut done = state.with_blocks(|source, blocks, now| blocks.redundancy_round(source, now, &mut state.rng()));
    while done.left > 0 {
        tokio::task::yield_now().await;
        let more =
            state.with_blocks(|source, blocks, now| blocks.redundancy_slice(done.left, source, now, &mut state.rng()));
        done.scheduled += more.scheduled;
        done.left = more.left;
    }
    if done.scheduled > 0 || done.timed_out > 0 {
        tracing::info!(
            scheduled = done.scheduled,
            timed_out = done.timed_out,
            "copies of replicas ordered"
        );
    }
}

/// Looks at every block of the file system, in slices over a snapshot; blocks made since look after themselves.
async fn examine_all(shared: &Shared) {
    let state = &shared.state;
    let snapshot = state.ns.read().snapshot();
    let mut all = snapshot.all_blocks().map(|stored| stored.block.id);
    loop {
        let ids: Vec<BlockId> = all.by_ref().take(SLICE).collect();
        if ids.is_empty() {
            return;
        }
        state.with_blocks(|source, blocks, now| {
            for id in ids {
                blocks.examine(id, source, now);
            }
        });
        tokio::task::yield_now().await;
    }
}
