//! Block recovery: what this DataNode does as the primary of one, and as a holder of a replica that is recovered.
//!
//! What it is for: the orders of `BlockRecoveryCommand` are queued and run a few at a time, off the actor's task. Each
//! asks all holders to set their replica aside, has `plan` choose length and participants, tells those, and reports the
//! result to the NameNode. What it does not do: try again; a failed attempt is logged, and the NameNode orders another.
//! Limits: [`MAX_WAITING`] orders, [`MAX_RUNNING`] at a time.

mod holder;
mod local;
mod plan;
mod primary;

pub(crate) use holder::init_answer;
pub(crate) use local::{init_local, replica_not_found, update_local};

use crate::namenode::link::NameNodeLink;
use crate::shared::Shared;
use hadron_proto::hdfs::RecoveringBlockProto;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// Orders waiting or running at most; further ones are dropped, and the NameNode orders them again.
pub(crate) const MAX_WAITING: usize = 1024;
/// Recoveries running at a time.
const MAX_RUNNING: usize = 8;

/// The queue of orders.
#[derive(Debug)]
pub(crate) struct Recoveries {
    waiting: AtomicUsize,
    places: Semaphore,
}

impl Default for Recoveries {
    fn default() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            places: Semaphore::new(MAX_RUNNING),
        }
    }
}

/// Queues the recoveries that the NameNode behind `link` orders.
pub(crate) fn order(shared: &Arc<Shared>, link: &Arc<NameNodeLink>, orders: &[RecoveringBlockProto]) {
    for order in orders {
        if shared.recoveries.waiting.load(Ordering::Relaxed) >= MAX_WAITING {
            tracing::warn!(
                block = order.block.b.block_id,
                "too many block recoveries wait: order dropped"
            );
            continue;
        }
        let waiting = Waiting::enter(shared);
        let (shared, link, order) = (shared.clone(), link.clone(), order.clone());
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            let _waiting = waiting;
            let stopped = shared.stop.clone();
            tokio::select! {
                () = stopped.cancelled() => {}
                () = run(&shared, &link, &order) => {}
            }
        });
    }
}

async fn run(shared: &Arc<Shared>, link: &NameNodeLink, order: &RecoveringBlockProto) {
    // The semaphore is never closed.
    let _place = shared.recoveries.places.acquire().await;
    primary::recover(shared, link, order).await;
}

/// Counts an order while it lives.
struct Waiting(Arc<Shared>);

impl Waiting {
    fn enter(shared: &Arc<Shared>) -> Self {
        shared.recoveries.waiting.fetch_add(1, Ordering::Relaxed);
        Self(shared.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.recoveries.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
