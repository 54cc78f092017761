//! The one thread that writes: takes a job, does its I/O with no lock held, reports.
//!
//! Invariants: buffers reach the replicas in order of sequence and each once; after a failure nothing is written until a reset.

use std::sync::Arc;
use std::time::Instant;

use super::counters::{add, count};
use super::error::Failure;
use super::shared::Shared;
use crate::backing::Placed;
use crate::core::Job;
use crate::core::machine::{Move, Placement};
use crate::sealed::{Body, KIND_LIVE, Sealed, encode_header};

/// Runs until the cache is closed.
pub(crate) fn run(shared: &Shared) {
    while let Some(job) = next_job(shared) {
        match job {
            Job::Write {
                buffer,
                fill,
                sequence,
                extent,
                body,
                live,
                void,
            } => {
                let Some(bytes) = shared.memory(buffer).seal(fill, &void) else {
                    // Closed in the meantime; the next round ends the thread.
                    continue;
                };
                let sealed = Sealed::new(shared.replicator.epoch(), sequence, extent, body, bytes);
                let written = write(shared, &sealed, &live);
                finish_write(shared, &sealed, &live, written);
            }
            Job::Compact { moves, forgotten, .. } => {
                if let Some(forgotten) = forgotten {
                    shared.map.forget(&forgotten);
                }
                compact(shared, &moves);
            }
        }
    }
}

/// Waits for a job; `None` when the cache is closed.
fn next_job(shared: &Shared) -> Option<Job> {
    let mut core = shared.core.lock();
    loop {
        if core.closed {
            return None;
        }
        if core.failure.is_none()
            && let Some(job) = core.machine.next_job()
        {
            return Some(job);
        }
        // Looking for a job may have dropped buffers with nothing left in them.
        shared.progress.notify_all();
        shared.work.wait(&mut core);
    }
}

fn write(shared: &Shared, sealed: &Sealed, live: &[Placement]) -> Result<(), Failure> {
    let replicate = |source| Failure::Replicate { source };
    shared.replicator.offer(sealed.clone()).map_err(replicate)?;
    let started = Instant::now();
    let written = match sealed.body {
        Body::Worm { offset } => {
            let bytes = &sealed.bytes[..];
            shared.write_gathered(&[Placed { offset, bytes }])
        }
        Body::Prefixed => {
            let part = |placed: &Placement| Placed {
                offset: placed.offset,
                bytes: &sealed.bytes[placed.position as usize..][..placed.len as usize],
            };
            shared.write_gathered(&live.iter().map(part).collect::<Vec<_>>())
        }
    };
    let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    add(&shared.tally.evict_nanos, nanos);
    written.map_err(|source| Failure::Write {
        sequence: sealed.sequence,
        len: sealed.bytes.len(),
        source: Arc::new(source),
    })
}

fn finish_write(shared: &Shared, sealed: &Sealed, live: &[Placement], written: Result<(), Failure>) {
    if written.is_ok() {
        count(&shared.tally.evicted_buffers);
        add(&shared.tally.evicted_records, live.len() as u64);
        add(
            &shared.tally.evicted_bytes,
            live.iter().map(|placed| u64::from(placed.len)).sum(),
        );
        for placed in live {
            shared.map.saved(placed.offset, placed.len);
        }
    }
    let mut core = shared.core.lock();
    match written {
        Ok(()) => {
            core.machine.written();
            core.written_sequence = sealed.sequence;
        }
        Err(failure) => {
            tracing::error!(%failure, "the write cache stops until it is reset");
            core.machine.write_failed();
            core.failure.get_or_insert(failure);
        }
    }
    shared.progress.notify_all();
}

fn compact(shared: &Shared, moves: &[Move]) {
    for a_move in moves {
        // Neither buffer is given away before the job is reported, except by the close.
        let Some(bytes) = shared.memory(a_move.from.buffer).read(a_move.from) else {
            continue;
        };
        let header = encode_header(a_move.offset, a_move.to.len, KIND_LIVE);
        let start = a_move.to.position as usize - header.len();
        shared
            .memory(a_move.to.buffer)
            .fill(a_move.to.generation, start, &[&header, &bytes]);
    }
    let mut core = shared.core.lock();
    for a_move in core.machine.compacted() {
        shared.map.relocate(&a_move);
    }
    shared.progress.notify_all();
}
