//! Gives slots back to DataNodes, one after the other and in the background.
//!
//! When a DataNode has confirmed, the slot can be taken for another replica. When it has not, for whatever reason, nobody
//! knows whether it still writes to the slot: the whole segment is given up.
//! Invariants: scheduling never waits; each release has a socket of its own that is closed on every way out; at most
//! [`MAX_QUEUED`] slots wait.
//!
//! Source: Hadoop `ShortCircuitCache.SlotReleaser` (HDFS-5950).

use super::exchange::release_slot;
use super::manager::{ShmManager, ShmSlot};
use crate::datanode::within;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// Most slots that wait to be released; the segment of one more is given up.
const MAX_QUEUED: usize = 16 * 1024;

#[derive(Default)]
struct Queue {
    slots: Mutex<VecDeque<ShmSlot>>,
    more: Notify,
}

/// The queue and the task that works it off.
pub(super) struct Releaser {
    queue: Arc<Queue>,
    manager: Arc<ShmManager>,
    _task: AbortOnDropHandle<()>,
}

impl Releaser {
    /// `name`: of the cache, for logs. `timeout`: for one release.
    pub(super) fn start(name: &str, manager: Arc<ShmManager>, timeout: Duration) -> Self {
        let queue = Arc::<Queue>::default();
        let work = work(name.to_owned(), Arc::clone(&queue), Arc::clone(&manager), timeout);
        let task = manager.runtime().spawn(work);
        Self {
            queue,
            manager,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Releases `slot` some time later.
    pub(super) fn schedule(&self, slot: ShmSlot) {
        let mut slots = self.queue.slots.lock();
        if slots.len() < MAX_QUEUED {
            slots.push_back(slot);
            drop(slots);
            self.queue.more.notify_one();
        } else {
            drop(slots);
            self.manager.shut_segment_down(slot);
        }
    }
}

async fn work(name: String, queue: Arc<Queue>, manager: Arc<ShmManager>, timeout: Duration) {
    loop {
        let next = queue.slots.lock().pop_front();
        match next {
            Some(slot) => release(&name, &manager, slot, timeout).await,
            None => queue.more.notified().await,
        }
    }
}

async fn release(cache: &str, manager: &ShmManager, slot: ShmSlot, timeout: Duration) {
    if manager.is_ended(&slot) {
        return manager.free_slot(slot);
    }
    tracing::trace!(cache, ?slot, "about to release");
    match within(timeout, ask(&slot)).await {
        Ok(()) => {
            tracing::trace!(cache, ?slot, "released");
            manager.free_slot(slot);
        }
        Err(error) => {
            let path = slot.path().display();
            tracing::error!(cache, ?slot, %path, %error, "slot could not be released. Closing shared memory segment");
            manager.shut_segment_down(slot);
        }
    }
}

async fn ask(slot: &ShmSlot) -> io::Result<()> {
    let mut stream = UnixStream::connect(slot.path()).await?;
    release_slot(&mut stream, slot.id()).await
}
