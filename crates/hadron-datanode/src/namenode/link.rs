//! One NameNode as the rest of the DataNode sees it: a mailbox for news and the state of the registration.

use super::news_queue::NewsQueue;
use crate::shared::ReplicaNews;
use hadron_env::config::HostPort;
use hadron_proto::hdfs::DatanodeInfoProto;
use hadron_types::{BlockPoolId, ExtendedBlock};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, watch};

/// Most reports of bad replicas waiting.
const MAX_BAD: usize = 1024;

/// A replica somebody should know is bad; the node that has it, `None` for this one.
pub(crate) type BadReplica = (ExtendedBlock, Option<DatanodeInfoProto>);

/// The mailbox.
pub(crate) struct NameNodeLink {
    pub(crate) address: HostPort,
    /// NameNodes of one nameservice share this number.
    pub(crate) nameservice: usize,
    pub(crate) news: Mutex<NewsQueue>,
    pub(crate) bad: Mutex<Vec<BadReplica>>,
    /// Wakes the actor.
    pub(crate) wake: Notify,
    /// Set when somebody wants a full report soon.
    pub(crate) full_report_wanted: AtomicBool,
    pool: Mutex<Option<BlockPoolId>>,
    registered: watch::Sender<bool>,
    /// Whether the NameNode's claim to be active was believed.
    active: AtomicBool,
}

impl NameNodeLink {
    pub(crate) fn new(address: HostPort, nameservice: usize) -> Self {
        Self {
            address,
            nameservice,
            news: Mutex::default(),
            bad: Mutex::default(),
            wake: Notify::new(),
            full_report_wanted: AtomicBool::new(false),
            pool: Mutex::new(None),
            registered: watch::Sender::new(false),
            active: AtomicBool::new(false),
        }
    }

    /// Whether this NameNode has `pool`.
    pub(crate) fn serves(&self, pool: &BlockPoolId) -> bool {
        self.pool.lock().as_ref() == Some(pool)
    }
    pub(crate) fn pool(&self) -> Option<BlockPoolId> {
        self.pool.lock().clone()
    }
    pub(crate) fn set_pool(&self, pool: BlockPoolId) {
        *self.pool.lock() = Some(pool);
    }
    pub(crate) fn is_registered(&self) -> bool {
        *self.registered.borrow()
    }
    pub(crate) fn set_registered(&self, registered: bool) {
        self.registered.send_replace(registered);
    }
    /// Tells when the registration changes.
    pub(crate) fn watch_registered(&self) -> watch::Receiver<bool> {
        self.registered.subscribe()
    }
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }
    pub(crate) fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }

    /// Queues news; finished and deleted replicas wake the actor.
    pub(crate) fn tell(&self, news: ReplicaNews) {
        if self.news.lock().add(news) {
            self.wake.notify_one();
        }
    }

    /// Queues the report of a bad replica; beyond [`MAX_BAD`] it is dropped (a reader will find it again).
    pub(crate) fn report_bad(&self, block: ExtendedBlock, source: Option<DatanodeInfoProto>) {
        let mut bad = self.bad.lock();
        if bad.len() < MAX_BAD && !bad.iter().any(|(known, _)| known.block.id == block.block.id) {
            bad.push((block, source));
            self.wake.notify_one();
        }
    }

    /// Orders a full report.
    pub(crate) fn want_full_report(&self) {
        self.full_report_wanted.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }
}
