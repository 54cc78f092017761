//! Calls that wait until a block has its minimum of replicas.
//!
//! Bounded by the calls in flight on all connections: each waits for one block and leaves when dropped.

use hadron_types::BlockId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Who waits for which block.
#[derive(Debug, Default)]
pub struct BlockWaiters {
    waiting: Mutex<HashMap<BlockId, Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    count: usize,
    notify: Arc<Notify>,
}

/// One call's wait. Made before the block is looked at, so that no wake-up is lost.
#[derive(Debug)]
pub struct Waiter<'a> {
    waiters: &'a BlockWaiters,
    block: BlockId,
    notify: Arc<Notify>,
}

impl BlockWaiters {
    /// Begins to wait for `block`.
    pub fn wait(&self, block: BlockId) -> Waiter<'_> {
        let mut waiting = self.waiting.lock();
        let entry = waiting.entry(block).or_default();
        entry.count += 1;
        let notify = Arc::clone(&entry.notify);
        Waiter {
            waiters: self,
            block,
            notify,
        }
    }

    /// Wakes everybody who waits for `block`.
    pub fn wake(&self, block: BlockId) {
        if let Some(waiting) = self.waiting.lock().get(&block) {
            waiting.notify.notify_waiters();
        }
    }
}

impl Waiter<'_> {
    /// A future that completes at the next wake-up after this call; make it before looking at the block.
    pub fn woken(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiters.waiting.lock();
        if let Some(entry) = waiting.get_mut(&self.block) {
            entry.count -= 1;
            if entry.count == 0 {
                waiting.remove(&self.block);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_up_between_look_and_wait_is_not_lost() {
        let waiters = BlockWaiters::default();
        let waiter = waiters.wait(BlockId(1));
        let woken = waiter.woken();
        waiters.wake(BlockId(2));
        waiters.wake(BlockId(1));
        woken.await;
        drop(waiter);
        assert!(waiters.waiting.lock().is_empty());
    }
}
