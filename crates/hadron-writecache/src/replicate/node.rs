//! A follower and relay as a server: accepts members from upstream, keeps a copy, links to the next.
//!
//! What it is for: everything a member does that does not lead. What it does not do: lead; see [`super::Pipeline`], which
//! takes over the copy that [`Node::stop`] gives back.
//! Invariants: one thread owns follower and copy, so that everything a connection brings happens in one order; buffers that
//! came meanwhile share one sync; after an error of the disk the node says so upstream and ends.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use hadron_types::Epoch;
use parking_lot::{Condvar, Mutex};

use super::codec::{Frame, Refusal};
use super::copy::{Copy, CopyError};
use super::follower::{Action, Follower, SessionId};
use super::link::{Link, LinkContext, Mailbox, SharedLog, Timeouts};
use super::log::Log;
use super::types::{Member, MemberId, ReplicaState};
use super::wire::{read_frame, write_frame};

/// Connections from upstream at once; more are closed.
pub const MAX_CONNECTIONS: usize = 16;
/// Frames read and not yet handled.
const MAX_EVENTS: usize = 8;
/// Bytes written before a sync is due although more is there.
const MAX_UNSYNCED_BYTES: usize = 16 << 20;

/// Settings of a follower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeOptions {
    /// Memory for parcels that members further down may still need, in bytes.
    pub retained_bytes: usize,
    /// How long others may take.
    pub timeouts: Timeouts,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            retained_bytes: 64 << 20,
            timeouts: Timeouts::default(),
        }
    }
}

/// What a follower did since it was started.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeStats {
    /// How far its copy is durable, and all else it keeps.
    pub state: ReplicaState,
    /// Buffers relayed.
    pub sends: u64,
    /// Buffers written.
    pub writes: u64,
    /// Syncs of the copy.
    pub syncs: u64,
    /// Frames refused.
    pub refused: u64,
    /// Bytes of the leader's file copied.
    pub filled_bytes: u64,
    /// Bytes of parcels in memory at most.
    pub max_retained_bytes: usize,
    /// Why it ended by itself.
    pub failure: Option<String>,
}

/// A running follower.
#[derive(Debug)]
pub struct Node {
    shared: Arc<Shared>,
    address: SocketAddr,
    events: SyncSender<Event>,
    acceptor: Option<JoinHandle<()>>,
    worker: Option<JoinHandle<(Copy, ReplicaState)>>,
}

#[derive(Debug)]
struct Shared {
    log: Arc<SharedLog>,
    stopping: AtomicBool,
    stats: Mutex<NodeStats>,
    stats_changed: Condvar,
    connections: Mutex<BTreeMap<u64, TcpStream>>,
    sends: Arc<AtomicU64>,
    timeouts: Timeouts,
}

#[derive(Debug)]
enum Event {
    Came(SessionId, Arc<TcpStream>, Frame),
    Ended(SessionId),
    /// Look into the mailbox.
    News,
    Stop,
}

impl Node {
    /// Serves on `listener`. `state` is what the copy's state file said.
    ///
    /// Errors: no thread can be had, or the listener has no address.
    pub fn start(
        listener: TcpListener,
        me: MemberId,
        copy: Copy,
        state: ReplicaState,
        options: NodeOptions,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            log: Arc::new(SharedLog {
                // Which kind of file it is the leader says with its first word.
                log: Mutex::new(Log::new(&state, true, options.retained_bytes)),
                changed: Condvar::new(),
            }),
            stopping: AtomicBool::new(false),
            stats: Mutex::new(NodeStats {
                state: state.clone(),
                ..NodeStats::default()
            }),
            stats_changed: Condvar::new(),
            connections: Mutex::default(),
            sends: Arc::default(),
            timeouts: options.timeouts,
        });
        let (events, inbox) = sync_channel(MAX_EVENTS);
        let mut worker = Worker {
            me,
            shared: Arc::clone(&shared),
            events: events.clone(),
            follower: Follower::new(me, state),
            copy,
            options,
            upstream: None,
            link: None,
            ended_links: Vec::new(),
            unsynced_bytes: 0,
            failed: false,
        };
        let worker = std::thread::Builder::new().name("replica-copy".into()).spawn(move || {
            worker.run(&inbox);
            worker.end()
        })?;
        let (accepting, sender) = (Arc::clone(&shared), events.clone());
        let acceptor = std::thread::Builder::new()
            .name("replica-accept".into())
            .spawn(move || accept(&listener, &accepting, &sender))?;
        Ok(Self {
            shared,
            address,
            events,
            acceptor: Some(acceptor),
            worker: Some(worker),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it did so far.
    pub fn stats(&self) -> NodeStats {
        let mut stats = self.shared.stats.lock().clone();
        stats.sends = self.shared.sends.load(Ordering::Relaxed);
        stats.max_retained_bytes = self.shared.log.log.lock().retained_bytes().1;
        stats
    }

    /// Waits until `reached` of what is durable, or until it failed.
    pub fn wait_until(&self, reached: impl Fn(&ReplicaState) -> bool) {
        let mut stats = self.shared.stats.lock();
        while !reached(&stats.state) && stats.failure.is_none() {
            self.shared.stats_changed.wait(&mut stats);
        }
    }

    /// Ends all connections and links and gives the copy back, saved. `None` when its thread panicked.
    pub fn stop(mut self) -> Option<(Copy, ReplicaState)> {
        self.end()
    }

    fn end(&mut self) -> Option<(Copy, ReplicaState)> {
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes the acceptor, which then sees that it is to stop.
        drop(TcpStream::connect(self.address));
        for stream in self.shared.connections.lock().values() {
            let _gone_already = stream.shutdown(Shutdown::Both);
        }
        if let Some(acceptor) = self.acceptor.take()
            && acceptor.join().is_err()
        {
            tracing::error!("acceptor of a replica panicked");
        }
        let worker = self.worker.take()?;
        let _ended_already = self.events.send(Event::Stop);
        worker.join().ok()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, events: &SyncSender<Event>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for session in 1_u64.. {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::Acquire) {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        let Ok((stream, _)) = accepted else { continue };
        if threads.len() >= MAX_CONNECTIONS {
            tracing::warn!(limit = MAX_CONNECTIONS, "too many connections, one is closed");
            continue;
        }
        let (serving, sender) = (Arc::clone(shared), events.clone());
        let builder = std::thread::Builder::new().name("replica-upstream".into());
        match builder.spawn(move || serve(SessionId(session), stream, &serving, &sender)) {
            Ok(thread) => threads.push(thread),
            Err(error) => tracing::error!(%error, "no thread for a connection"),
        }
    }
    for stream in shared.connections.lock().values() {
        let _gone_already = stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("reader of a replica panicked");
        }
    }
}

fn serve(session: SessionId, stream: TcpStream, shared: &Shared, events: &SyncSender<Event>) {
    let (Ok(known), Ok(mut reading)) = (stream.try_clone(), stream.try_clone()) else {
        return;
    };
    let _is_slower_without = stream.set_nodelay(true);
    if stream.set_write_timeout(Some(shared.timeouts.write)).is_err() {
        return;
    }
    shared.connections.lock().insert(session.0, known);
    let stream = Arc::new(stream);
    while !shared.stopping.load(Ordering::Acquire) {
        match read_frame(&mut reading) {
            Ok(Some(frame)) => {
                if events.send(Event::Came(session, Arc::clone(&stream), frame)).is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%error, "connection from upstream ended");
                break;
            }
        }
    }
    shared.connections.lock().remove(&session.0);
    let _node_ended = events.send(Event::Ended(session));
}

struct Worker {
    me: MemberId,
    shared: Arc<Shared>,
    events: SyncSender<Event>,
    follower: Follower,
    copy: Copy,
    options: NodeOptions,
    upstream: Option<(SessionId, Arc<TcpStream>)>,
    link: Option<Link>,
    ended_links: Vec<JoinHandle<()>>,
    unsynced_bytes: usize,
    failed: bool,
}

impl Worker {
    fn run(&mut self, inbox: &Receiver<Event>) {
        while let Ok(event) = inbox.recv() {
            let mut next = Some(event);
            while let Some(event) = next {
                if matches!(event, Event::Stop) {
                    return;
                }
                if let Err(error) = self.handle(event) {
                    self.fail(&error);
                }
                next = (self.unsynced_bytes < MAX_UNSYNCED_BYTES)
                    .then(|| inbox.try_recv().ok())
                    .flatten();
            }
            if let Err(error) = self.settle() {
                self.fail(&error);
            }
            self.pass_news_on();
        }
    }

    /// Saves what is there and gives the copy back.
    fn end(mut self) -> (Copy, ReplicaState) {
        let ended = self.upstream.as_ref().map(|(session, _)| *session);
        if let Some(session) = ended
            && !self.failed
            && let Err(error) = self.handle(Event::Ended(session))
        {
            self.fail(&error);
        }
        self.unlink();
        for thread in self.ended_links.drain(..) {
            if thread.join().is_err() {
                tracing::error!("link of a replica panicked");
            }
        }
        (self.copy, self.follower.saved().clone())
    }

    fn handle(&mut self, event: Event) -> Result<(), CopyError> {
        if self.failed {
            return Ok(());
        }
        match event {
            Event::Came(session, stream, frame) => self.handle_frame(session, &stream, frame),
            Event::Ended(session) => {
                let actions = self.follower.ended(&mut self.shared.log.log.lock(), session);
                if self.upstream.as_ref().is_some_and(|(ours, _)| *ours == session) {
                    self.upstream = None;
                }
                self.act(actions, None)
            }
            Event::News => {
                self.pass_news_on();
                Ok(())
            }
            Event::Stop => Ok(()),
        }
    }

    fn handle_frame(&mut self, session: SessionId, stream: &Arc<TcpStream>, frame: Frame) -> Result<(), CopyError> {
        let says_hello = matches!(frame, Frame::Hello { .. });
        let handled = self.follower.handle(&mut self.shared.log.log.lock(), session, frame);
        match handled {
            Ok(actions) => {
                if says_hello && let Some((_, old)) = self.upstream.replace((session, Arc::clone(stream))) {
                    let _gone_already = old.shutdown(Shutdown::Both);
                }
                self.act(actions, Some(stream))
            }
            Err(refusal) => {
                tracing::info!(member = %self.me, %refusal, "refused");
                self.shared.stats.lock().refused += 1;
                self.refuse(stream, refusal);
                Ok(())
            }
        }
    }

    fn act(&mut self, actions: Vec<Action>, stream: Option<&Arc<TcpStream>>) -> Result<(), CopyError> {
        for action in actions {
            match action {
                Action::Save(state) => self.save(&state)?,
                Action::Write(parcel) => {
                    // Those further down have it while it is written here.
                    self.shared.log.changed.notify_all();
                    self.copy.write(&parcel)?;
                    self.unsynced_bytes += parcel.bytes.len();
                    self.follower.wrote(&mut self.shared.log.log.lock(), parcel.sequence);
                    self.shared.stats.lock().writes += 1;
                }
                Action::Fill { offset, bytes } => {
                    self.copy.fill(offset, &bytes)?;
                    self.unsynced_bytes += bytes.len();
                    self.shared.stats.lock().filled_bytes += bytes.len() as u64;
                }
                Action::SetLen(len) => self.copy.set_len(len)?,
                Action::Reply(frame) => {
                    if let Some(stream) = stream {
                        reply(stream, &frame);
                    }
                }
                Action::Unlink => self.unlink(),
                Action::Link { epoch, chain } => self.link(epoch, chain),
            }
        }
        self.shared.log.changed.notify_all();
        Ok(())
    }

    fn save(&mut self, state: &ReplicaState) -> Result<(), CopyError> {
        self.copy.save(state)?;
        self.unsynced_bytes = 0;
        let mut stats = self.shared.stats.lock();
        stats.syncs += 1;
        stats.state = state.clone();
        self.shared.stats_changed.notify_all();
        Ok(())
    }

    /// Makes durable what came, and says so.
    fn settle(&mut self) -> Result<(), CopyError> {
        self.unsynced_bytes = 0;
        if self.failed {
            return Ok(());
        }
        let state = self.follower.to_save(&self.shared.log.log.lock());
        if let Some(state) = state {
            self.save(&state)?;
            let durable = self.follower.was_saved(state);
            if let (Some(frame), Some((_, stream))) = (durable, &self.upstream) {
                reply(stream, &frame);
            }
        }
        Ok(())
    }

    fn pass_news_on(&mut self) {
        let Some(link) = &self.link else { return };
        let news = link.mailbox.take();
        let Some((_, stream)) = &self.upstream else { return };
        let durable = news
            .durable
            .into_iter()
            .map(|(member, (epoch, sequence))| Frame::Durable {
                member,
                epoch,
                sequence,
            });
        let filling = news
            .filling
            .into_iter()
            .map(|(member, received)| Frame::Filling { member, received });
        let refusals = news
            .refusals
            .into_iter()
            .map(|(member, refusal)| Frame::Refuse { member, refusal });
        let broken = news.broken.into_iter().map(|member| Frame::Broken { member });
        for frame in durable.chain(filling).chain(refusals).chain(broken) {
            reply(stream, &frame);
        }
    }

    fn link(&mut self, epoch: Epoch, chain: Vec<Member>) {
        let events = self.events.clone();
        let mailbox = Mailbox::new(move || {
            // A full queue is being emptied, and the mailbox with it: see `Worker::run`.
            if let Err(TrySendError::Disconnected(_)) = events.try_send(Event::News) {
                tracing::debug!("news came after the end");
            }
        });
        let context = LinkContext {
            log: Arc::clone(&self.shared.log),
            store: Arc::clone(self.copy.store()),
            group: self.follower.saved().group,
            epoch,
            chain,
            mailbox,
            timeouts: self.options.timeouts,
            sends: Arc::clone(&self.shared.sends),
        };
        match Link::spawn(context) {
            Ok(link) => self.link = Some(link),
            Err(error) => tracing::error!(%error, "no thread for a link"),
        }
    }

    fn unlink(&mut self) {
        if let Some(link) = self.link.take() {
            self.ended_links.retain(|thread| !thread.is_finished());
            self.ended_links.push(link.stop());
        }
    }

    fn refuse(&self, stream: &TcpStream, refusal: Refusal) {
        let member = self.me;
        reply(stream, &Frame::Refuse { member, refusal });
        let _gone_already = stream.shutdown(Shutdown::Both);
    }

    fn fail(&mut self, error: &CopyError) {
        tracing::error!(member = %self.me, %error, "this copy cannot go on");
        self.failed = true;
        self.unlink();
        if let Some((_, stream)) = self.upstream.take() {
            self.refuse(&stream, Refusal::Disk);
        }
        self.shared.stats.lock().failure = Some(error.to_string());
        self.shared.stats_changed.notify_all();
    }
}

fn reply(stream: &TcpStream, frame: &Frame) {
    let mut stream = stream;
    if let Err(error) = write_frame(&mut stream, frame) {
        // The reader of this connection sees the end, too.
        tracing::debug!(%error, "upstream is gone");
        let _gone_already = stream.shutdown(Shutdown::Both);
    }
}
