//! The shared-memory segments of this client, by DataNode.
//!
//! A segment is asked for when the DataNode's others are full; whoever needs a slot meanwhile waits for it. The socket over
//! which it was asked for is watched until it ends: then the DataNode is gone, or either side gave the segment up, and none
//! of its slots is good any more. What it does not do: release slots at DataNodes.
//!
//! Invariants: a DataNode is asked for one segment at a time, never again once it said that it gives none, and after any
//! other refusal not before [`RETRY_AFTER`]; no lock is held while anything waits; dropping the manager closes all sockets.
//!
//! Source: Hadoop `DfsClientShmManager`, `DfsClientShm`.

use super::BlockKey;
use super::exchange::{ShmAnswer, request_segment};
use super::slots::{Freed, Slots};
use hadron_env::Clock;
use hadron_proto::hdfs as proto;
use hadron_shm::{Segment, ShmId, Slot, SlotId, Word};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// Most DataNodes of this machine whose segments are kept apart.
const MAX_ENDPOINTS: usize = 1024;

/// How long a DataNode that could not give a segment is not asked for another one. Until then its replicas have no slots.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Sockets under which segments are watched, and what is in them.
pub(crate) struct ShmManager {
    /// Kept for the watchers; segments are only made inside a runtime.
    runtime: tokio::runtime::Handle,
    client_name: String,
    clock: Arc<dyn Clock>,
    state: Mutex<HashMap<String, Endpoint>>,
    itself: Weak<Self>,
}

#[derive(Default)]
struct Endpoint {
    slots: Slots,
    segments: HashMap<ShmId, Arc<Shm>>,
    /// The DataNode gives no segments.
    disabled: bool,
    /// It could not give one: when it may be asked again, on the clock.
    not_before: Duration,
    /// A segment is being asked for; told when that is over.
    loading: Option<Arc<Notify>>,
}

/// A segment of one DataNode.
pub(crate) struct Shm {
    id: ShmId,
    segment: Arc<Segment>,
    /// Name of the DataNode.
    node: String,
    path: PathBuf,
    /// Ends the socket.
    stop: Arc<Notify>,
    _watcher: AbortOnDropHandle<()>,
}

/// A slot that this client took for a replica.
pub(crate) struct ShmSlot {
    shm: Arc<Shm>,
    slot: Slot,
    block: BlockKey,
}

impl ShmSlot {
    /// Its name.
    pub(crate) fn id(&self) -> SlotId {
        SlotId {
            shm: self.shm.id,
            index: self.slot.index() as i32,
        }
    }
    /// Its word.
    pub(crate) fn word(&self) -> Word<'_> {
        self.slot.word()
    }
    /// The socket of its DataNode.
    pub(crate) fn path(&self) -> &Path {
        &self.shm.path
    }
}

impl std::fmt::Debug for ShmSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.id(), self.block)
    }
}

/// What came of asking for a slot.
#[derive(Debug)]
pub(crate) struct Allocated {
    /// The slot; `None`: the DataNode does no shared memory.
    pub(crate) slot: Option<ShmSlot>,
    /// The socket belongs to a segment now, so that another one is needed.
    pub(crate) used_peer: bool,
}

/// How much is shared with DataNodes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ShmCounts {
    /// Segments with free slots.
    pub not_full: usize,
    /// Segments without.
    pub full: usize,
    /// Segments whose socket ended while slots were in use.
    pub ended: usize,
    /// Slots in use.
    pub slots: usize,
    /// DataNodes that give no segments.
    pub disabled: usize,
}

impl ShmManager {
    /// Errors: there is no runtime to watch sockets on.
    pub(crate) fn new(client_name: &str, clock: Arc<dyn Clock>) -> io::Result<Arc<Self>> {
        let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        Ok(Arc::new_cyclic(|itself| Self {
            runtime,
            client_name: client_name.to_owned(),
            clock,
            state: Mutex::default(),
            itself: itself.clone(),
        }))
    }

    /// Takes a slot for `block` at the DataNode called `node`, asking for a segment over `peer` if need be.
    ///
    /// `peer` is taken out when it belongs to a segment afterwards. Errors: I/O trouble with the DataNode.
    pub(crate) async fn alloc_slot(
        &self,
        node: &str,
        path: &Path,
        peer: &mut Option<UnixStream>,
        block: &BlockKey,
    ) -> io::Result<Allocated> {
        let mut used_peer = false;
        loop {
            let waiting = {
                let mut state = self.state.lock();
                if state.len() >= MAX_ENDPOINTS && !state.contains_key(node) {
                    return Ok(Allocated { slot: None, used_peer });
                }
                let endpoint = state.entry(node.to_owned()).or_default();
                if endpoint.disabled {
                    return Ok(Allocated { slot: None, used_peer });
                }
                if let Some(slot) = endpoint.take(block) {
                    tracing::trace!(client = self.client_name, ?slot, "took a slot");
                    return Ok(Allocated {
                        slot: Some(slot),
                        used_peer,
                    });
                }
                if self.clock.monotonic() < endpoint.not_before {
                    return Ok(Allocated { slot: None, used_peer });
                }
                match &endpoint.loading {
                    Some(loading) => Some(Arc::clone(loading).notified_owned()),
                    None => {
                        endpoint.loading = Some(Arc::default());
                        None
                    }
                }
            };
            if let Some(waiting) = waiting {
                waiting.await;
                continue;
            }
            let _loading = Loading { manager: self, node };
            let Some(mut stream) = peer.take() else {
                return Err(io::Error::other("the segment that was just made is full already"));
            };
            match request_segment(&mut stream, &self.client_name).await? {
                ShmAnswer::Segment(id, file) => {
                    used_peer = true;
                    self.add(id, file, node, path, stream)?;
                }
                ShmAnswer::Refused(status, reason) => {
                    *peer = Some(stream);
                    let is_for_good = status == proto::Status::ErrorUnsupported;
                    if let Some(endpoint) = self.state.lock().get_mut(node) {
                        endpoint.disabled |= is_for_good;
                        endpoint.not_before = self.clock.monotonic() + RETRY_AFTER;
                    }
                    let status = status.as_str_name();
                    if is_for_good {
                        tracing::info!(
                            node,
                            reason,
                            "the data node shares no memory; local reads go on without"
                        );
                    } else {
                        tracing::warn!(
                            node,
                            status,
                            reason,
                            asked_again_after = ?RETRY_AFTER,
                            "the data node could not share memory; local reads go on without for a while"
                        );
                    }
                }
            }
        }
    }

    fn add(
        &self,
        id: ShmId,
        file: std::os::fd::OwnedFd,
        node: &str,
        path: &Path,
        stream: UnixStream,
    ) -> io::Result<()> {
        let segment = Arc::new(Segment::open(file, &format!("segment {id}")).map_err(io::Error::other)?);
        let stop = Arc::new(Notify::new());
        let watcher = watch(self.itself.clone(), node.to_owned(), id, stream, Arc::clone(&stop));
        // Registered before the watcher can run to its end: it needs the lock that is held here.
        let mut state = self.state.lock();
        let endpoint = state.entry(node.to_owned()).or_default();
        if endpoint.segments.contains_key(&id) {
            return Err(io::Error::other(format!("the data node gave segment {id} twice")));
        }
        endpoint.slots.add(id, segment.slots());
        let shm = Shm {
            id,
            segment,
            node: node.to_owned(),
            path: path.to_owned(),
            stop,
            _watcher: AbortOnDropHandle::new(self.runtime.spawn(watcher)),
        };
        endpoint.segments.insert(id, Arc::new(shm));
        Ok(())
    }

    /// Frees a slot of which the DataNode does not know, or does not know any more.
    pub(crate) fn free_slot(&self, slot: ShmSlot) {
        slot.word().make_invalid();
        let mut state = self.state.lock();
        let Some(endpoint) = state.get_mut(&slot.shm.node) else {
            return;
        };
        match endpoint.slots.free(slot.shm.id, slot.slot.index()) {
            Freed::Reusable | Freed::Leaving | Freed::Unknown => {}
            Freed::Emptied => {
                tracing::trace!(client = self.client_name, segment = %slot.shm.id, "segment is empty: closing it");
                slot.shm.stop.notify_one();
                endpoint.segments.remove(&slot.shm.id);
            }
            Freed::Gone => {
                endpoint.segments.remove(&slot.shm.id);
            }
        }
    }

    /// Gives a whole segment up: what the DataNode thinks of `slot` is not known. Frees the slot.
    pub(crate) fn shut_segment_down(&self, slot: ShmSlot) {
        self.socket_ended(&slot.shm.node, slot.shm.id);
        slot.shm.stop.notify_one();
        self.free_slot(slot);
    }

    /// The socket of a segment ended: none of its slots is good any more.
    fn socket_ended(&self, node: &str, id: ShmId) {
        // Unmapped behind the lock.
        let _gone;
        let mut state = self.state.lock();
        let Some(endpoint) = state.get_mut(node) else {
            return;
        };
        let in_use = endpoint.slots.taken(id);
        let is_used = endpoint.slots.end(id);
        if let Some(shm) = endpoint.segments.get(&id) {
            in_use
                .iter()
                .filter_map(|index| shm.segment.word(*index))
                .for_each(|word| word.make_invalid());
            if !is_used {
                _gone = endpoint.segments.remove(&id);
            }
        }
    }

    /// Whether the segment of `slot` ended, so that its DataNode knows nothing of it any more.
    pub(crate) fn is_ended(&self, slot: &ShmSlot) -> bool {
        let state = self.state.lock();
        state
            .get(&slot.shm.node)
            .is_none_or(|endpoint| endpoint.slots.is_ended(slot.shm.id))
    }
    /// Where tasks of the client run.
    pub(super) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    /// Segments and slots now.
    pub(crate) fn counts(&self) -> ShmCounts {
        let mut counts = ShmCounts::default();
        for endpoint in self.state.lock().values() {
            let [not_full, full, ended] = endpoint.slots.segments();
            counts.not_full += not_full;
            counts.full += full;
            counts.ended += ended;
            counts.slots += endpoint.slots.in_use();
            counts.disabled += usize::from(endpoint.disabled);
        }
        counts
    }
}

impl Endpoint {
    fn take(&mut self, block: &BlockKey) -> Option<ShmSlot> {
        let (id, index) = self.slots.take()?;
        let shm = Arc::clone(self.segments.get(&id)?);
        let slot = shm.segment.slot(index)?;
        slot.word().reset_valid();
        Some(ShmSlot {
            shm,
            slot,
            block: block.clone(),
        })
    }
}

/// The right to ask one DataNode for a segment, given up on every way out.
struct Loading<'a> {
    manager: &'a ShmManager,
    node: &'a str,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut state = self.manager.state.lock();
        if let Some(loading) = state.get_mut(self.node).and_then(|endpoint| endpoint.loading.take()) {
            loading.notify_waiters();
        }
    }
}

async fn end_of(stream: &UnixStream) {
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}

/// Waits for the end of a segment's socket. The DataNode never says anything on it: bytes are as good as its end.
async fn watch(manager: Weak<ShmManager>, node: String, id: ShmId, stream: UnixStream, stop: Arc<Notify>) {
    let stopped = tokio::select! {
        () = end_of(&stream) => false,
        () = stop.notified() => true,
    };
    drop(stream);
    if let Some(manager) = manager.upgrade() {
        if !stopped {
            tracing::debug!(node, segment = %id, "the data node closed a shared segment");
        }
        manager.socket_ended(&node, id);
    }
}
