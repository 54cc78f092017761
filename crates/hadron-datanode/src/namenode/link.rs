//! One NameNode as the rest of the DataNode sees it: a mailbox for news and the state of the registration.

use super::news_queue::NewsQueue;
use crate::shared::ReplicaNews;
use hadron_env::config::HostPort;
use hadron_proto::datanode::DatanodeRegistrationProto;
use hadron_proto::hdfs::DatanodeInfoProto;
use hadron_types::{BlockPoolId, ExtendedBlock};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::{Notify, oneshot, watch};

/// Most reports of bad replicas waiting.
const MAX_BAD: usize = 1024;

/// Most error reports waiting.
const MAX_ERRORS: usize = 64;

/// An `errorReport` to be sent.
pub(crate) struct ErrorNews {
    /// `ErrorReportRequestProto.ErrorCode`.
    pub(crate) code: u32,
    pub(crate) message: String,
    /// Dropped once it is sent or given up.
    pub(crate) sent: oneshot::Sender<()>,
}

/// A replica somebody should know is bad; the node that has it, `None` for this one.
pub(crate) type BadReplica = (ExtendedBlock, Option<DatanodeInfoProto>);

/// The mailbox.
pub(crate) struct NameNodeLink {
    pub(crate) address: HostPort,
    /// Where lifelines go; `None` without.
    pub(crate) lifeline: Option<HostPort>,
    /// NameNodes of one nameservice share this number.
    pub(crate) nameservice: usize,
    pub(crate) news: Mutex<NewsQueue>,
    pub(crate) bad: Mutex<Vec<BadReplica>>,
    errors: Mutex<Vec<ErrorNews>>,
    /// Told whenever news were sent.
    pub(crate) news_sent: Notify,
    /// Wakes the actor.
    pub(crate) wake: Notify,
    /// Set when somebody wants a full report soon.
    pub(crate) full_report_wanted: AtomicBool,
    /// Set when a heartbeat should not wait for its turn.
    pub(crate) beat_wanted: AtomicBool,
    /// When a heartbeat was last answered.
    last_beat: Mutex<Option<Instant>>,
    /// What the NameNode knows us as.
    registration: Mutex<Option<DatanodeRegistrationProto>>,
    pool: Mutex<Option<BlockPoolId>>,
    registered: watch::Sender<bool>,
    /// Whether the NameNode's claim to be active was believed.
    active: AtomicBool,
}

impl NameNodeLink {
    pub(crate) fn new(address: HostPort, lifeline: Option<HostPort>, nameservice: usize) -> Self {
        Self {
            address,
            lifeline,
            nameservice,
            news: Mutex::default(),
            bad: Mutex::default(),
            errors: Mutex::default(),
            news_sent: Notify::new(),
            beat_wanted: AtomicBool::new(false),
            last_beat: Mutex::new(None),
            registration: Mutex::new(None),
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

    /// As [`Self::tell`] unless `stale` says that newer news came or will come; no news are added in between.
    pub(crate) fn tell_unless(&self, news: ReplicaNews, stale: impl FnOnce() -> bool) {
        let mut queue = self.news.lock();
        if !stale() && queue.add(news) {
            self.wake.notify_one();
        }
    }

    /// Queues an error report and asks for a heartbeat; at [`MAX_ERRORS`] it is given up.
    pub(crate) fn report_error(&self, error: ErrorNews) {
        let mut errors = self.errors.lock();
        if errors.len() < MAX_ERRORS {
            errors.push(error);
        }
        drop(errors);
        self.beat_soon();
    }
    pub(crate) fn take_errors(&self) -> Vec<ErrorNews> {
        std::mem::take(&mut *self.errors.lock())
    }

    /// Asks for a heartbeat now.
    pub(crate) fn beat_soon(&self) {
        self.beat_wanted.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }
    pub(crate) fn note_beat(&self) {
        *self.last_beat.lock() = Some(Instant::now());
    }
    pub(crate) fn last_beat(&self) -> Option<Instant> {
        *self.last_beat.lock()
    }
    pub(crate) fn set_registration(&self, registration: &DatanodeRegistrationProto) {
        *self.registration.lock() = Some(registration.clone());
    }
    pub(crate) fn registration(&self) -> Option<DatanodeRegistrationProto> {
        self.registration.lock().clone()
    }

    /// Queues the report of a bad replica; beyond [`MAX_BAD`] it is dropped (a reader will find it again).
    pub(crate) fn report_bad(&self, block: ExtendedBlock, source: Option<DatanodeInfoProto>) {
        let mut bad = self.bad.lock();
        if bad.len() < MAX_BAD && !bad.iter().any(|(known, _)| known.block.id == block.block.id) {
            bad.push((block, source));
            self.wake.notify_one();
        }
    }

    /// Has queued news sent now.
    pub(crate) fn want_news(&self) {
        self.news.lock().hurry();
        self.wake.notify_one();
    }

    /// Orders a full report.
    pub(crate) fn want_full_report(&self) {
        self.full_report_wanted.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }
}
