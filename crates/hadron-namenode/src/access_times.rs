//! Access times on their way to the journal: queued, coalesced, never waited for.
//!
//! A full queue drops further times; a reader is never delayed and never fails for one.

use crate::Shared;
use hadron_env::clock;
use hadron_namespace::command::{AccessTime, UpdateAccessTimes};
use hadron_types::{InodeId, TimeMs};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Most files whose times wait.
const MAX_WAITING: usize = 100_000;
/// Most files of one command.
const MAX_PER_COMMAND: usize = 1000;
/// How long times are collected before they are proposed.
const COLLECT_FOR: Duration = Duration::from_secs(1);

/// The queue.
#[derive(Debug, Default)]
pub struct AccessTimes {
    waiting: Mutex<HashMap<InodeId, TimeMs>>,
    has_some: Notify,
}

impl AccessTimes {
    /// Notes that `file` was read at `now`.
    pub fn note(&self, file: InodeId, now: TimeMs) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < MAX_WAITING || waiting.contains_key(&file) {
            waiting.insert(file, now);
            drop(waiting);
            self.has_some.notify_one();
        }
    }

    fn take(&self) -> Vec<AccessTime> {
        let taken = std::mem::take(&mut *self.waiting.lock());
        let entry = |(file, time): (InodeId, TimeMs)| AccessTime {
            file_id: file.0,
            atime_ms: time.0,
        };
        taken.into_iter().map(entry).collect()
    }
}

/// Proposes what was noted, until dropped. In safe mode it is forgotten.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        shared.access_times.has_some.notified().await;
        clock::sleep(&*shared.state.clock, COLLECT_FOR).await;
        let times = shared.access_times.take();
        if shared.state.blocks.lock().safe_mode().is_on() {
            continue;
        }
        for files in times.chunks(MAX_PER_COMMAND) {
            let op = UpdateAccessTimes { files: files.to_vec() };
            let command = shared.command(shared.own_caller(), op);
            if let Err(error) = shared.propose(command).await {
                tracing::warn!(%error, "record access times");
            }
        }
    }
}
