//! The look at all cache directives: every `dfs.namenode.path.based.cache.refresh.interval.ms`, and soon after pools or
//! directives change.
//!
//! It goes through the files of the directives in order of their ids, counts what they ask for and tells the block map
//! the blocks of those that their pools' limits allow; the block map then decides which nodes cache what. Expired
//! directives ask for nothing. Invariant: no lock is held for more than a slice of files or blocks, nor across a wait.
//! Source: Hadoop `CacheReplicationMonitor`.

use crate::Shared;
use crate::caching::{CacheFigures, CacheStats};
use hadron_env::clock;
use hadron_namespace::{BlockState, CacheDirective, StoredBlock};
use std::sync::Arc;
use std::time::Duration;

/// Cached blocks looked at under one hold of the locks.
const SLICE: usize = 512;
/// Shortest pause between two looks: many changes in a row make one look.
const MIN_PAUSE: Duration = Duration::from_millis(50);

/// Looks at cache directives until dropped; never, if caching is off.
pub(crate) async fn run(shared: Arc<Shared>) {
    let settings = shared.settings.caching;
    if !settings.enabled {
        return;
    }
    let (state, clock) = (&shared.state, &*shared.state.clock);
    loop {
        look(&shared).await;
        clock::sleep(clock, MIN_PAUSE.min(settings.refresh)).await;
        tokio::select! {
            () = state.caching.wake.notified() => {}
            () = clock::sleep(clock, settings.refresh) => {}
        }
    }
}

/// One look at everything.
pub(crate) async fn look(shared: &Shared) {
    let state = &shared.state;
    let change = state.caching.begin();
    let mut figures = CacheFigures {
        next_directive: state.ns.read().next_cache_directive(),
        ..CacheFigures::default()
    };
    state.with_blocks(|source, blocks, _| blocks.begin_cache_scan(source));
    let mut after = 0;
    loop {
        let next = state.ns.read().cache_directives_after(after).next().cloned();
        let Some(directive) = next.filter(|next| next.id < figures.next_directive) else {
            break;
        };
        after = directive.id;
        if !directive.is_expired(state.now()) {
            look_at(shared, &directive, &mut figures).await;
        }
    }
    while state.with_blocks(|source, blocks, now| blocks.cache_slice(source, SLICE, now, &mut state.rng())) {
        tokio::task::yield_now().await;
    }
    state.with_blocks(|_, blocks, _| blocks.end_cache_scan());
    state.caching.finish(change, figures);
}

/// The files of one directive.
async fn look_at(shared: &Shared, directive: &CacheDirective, figures: &mut CacheFigures) {
    let state = &shared.state;
    let mut name = String::new();
    loop {
        let next = state.with_blocks(|source, blocks, _| {
            let limit = source.0.cache_pool(&directive.pool).map_or(0, |pool| pool.limit);
            let limit = u64::try_from(limit).unwrap_or(0);
            let slice = source.0.cached_files(&directive.path, &name);
            let replication = directive.replication.unsigned_abs();
            for file in &slice.files {
                let stats = figures.directives.entry(directive.id).or_default();
                let pool = figures.pools.entry(directive.pool.clone()).or_default();
                let needed = needed(file, replication);
                stats.add(needed);
                pool.add(needed);
                if pool.bytes_needed > limit {
                    continue;
                }
                let mut cached = CacheStats::default();
                for stored in file.iter().filter(|stored| stored.state == BlockState::Complete) {
                    let count = blocks.want_cached(stored.block.id, replication);
                    cached.bytes_cached += stored.block.len.saturating_mul(u64::from(count));
                }
                cached.files_cached = u64::from(cached.bytes_cached == needed.bytes_needed);
                stats.add(cached);
                pool.add(cached);
            }
            slice.next
        });
        match next {
            Some(last) => name = last,
            None => return,
        }
        tokio::task::yield_now().await;
    }
}

/// What a file asks for: all its blocks but a last one that is being written.
fn needed(file: &[StoredBlock], replication: u16) -> CacheStats {
    let is_written = |stored: &&StoredBlock| !matches!(stored.state, BlockState::Complete | BlockState::Committed);
    let whole = file.len() - usize::from(file.last().filter(is_written).is_some());
    let len = file[..whole].iter().map(|stored| stored.block.len);
    CacheStats {
        bytes_needed: len.fold(0, u64::saturating_add).saturating_mul(u64::from(replication)),
        files_needed: 1,
        ..CacheStats::default()
    }
}
