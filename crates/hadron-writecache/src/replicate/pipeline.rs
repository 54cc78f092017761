//! The leader as a [`Replicator`]: retains sealed buffers, feeds the chain, counts who has what.
//!
//! What it is for: a service gives it buffers, waits on it, and tells it what is durable locally. What it does not do: write
//! the local file. Invariants: `committed <= offered`; memory for buffers is bounded by the option, whoever is slow: `offer`
//! waits for room, and a member that keeps it waiting is cut out; one thread owns the judgement and the state file.
//!
//! The service's sequences may begin again at 1 ([`Replicator::reset_sequence`]); the log's never do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hadron_env::Clock;
use hadron_types::Epoch;
use parking_lot::{Condvar, Mutex};

use super::codec::{Frame, MAX_PARCEL_BYTES, Refusal};
use super::copy::{Copy, CopyError};
use super::leader::{Leader, Order, Patience};
use super::link::{Link, LinkContext, Mailbox, SharedLog, Timeouts, ask};
use super::log::Log;
use super::quorum::Quorum;
use super::types::{History, Member, MemberId, Parcel, Reign, ReplicaState};
use crate::backing::BackingStore;
use crate::replicator::{Replicator, ReplicatorError};
use crate::sealed::Sealed;

/// Settings of a leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PipelineOptions {
    /// True when bytes once written never change (a WORM file).
    pub append_only: bool,
    /// Memory for buffers that followers may still need, in bytes.
    pub retained_bytes: usize,
    /// When silent members are cut out.
    pub patience: Patience,
    /// Waiters are told that there is no quorum after this long without one.
    pub no_quorum_after: Duration,
    /// How long others may take.
    pub timeouts: Timeouts,
    /// How often time is looked at.
    pub tick: Duration,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            append_only: true,
            retained_bytes: 64 << 20,
            patience: Patience::default(),
            no_quorum_after: Duration::from_secs(10),
            timeouts: Timeouts::default(),
            tick: Duration::from_millis(200),
        }
    }
}

/// Why a member cannot lead.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The quorum names another leader, or an epoch that this copy did not promise or already led under.
    #[error("this member may not lead under epoch {}; promote it first", epoch.0)]
    NotPromoted {
        /// The quorum's epoch.
        epoch: Epoch,
    },
    /// The file is between two states.
    #[error("this copy is not complete; promote another member")]
    Incomplete,
    /// The copy.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// No thread can be had.
    #[error("a thread cannot be started: {0}")]
    Thread(io::Error),
}

/// How one follower is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FollowerStats {
    /// Who.
    pub member: MemberId,
    /// The last sequence of the log it has durable; `None` until it said so under this reign.
    pub durable: Option<u64>,
    /// True while it is cut out.
    pub lost: bool,
    /// Buffers it lacks.
    pub lag: u64,
}

/// Counters of a leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PipelineStats {
    /// The last sequence of the log.
    pub last: u64,
    /// The last one that the quorum has.
    pub committed: u64,
    /// Buffers sent to the first follower.
    pub sends: u64,
    /// Bytes retained now.
    pub retained_bytes: usize,
    /// Bytes retained at most.
    pub max_retained_bytes: usize,
    /// Members cut out so far.
    pub cut_out: u64,
    /// Members that came back so far.
    pub rejoined: u64,
    /// Calls of `offer` that waited for room.
    pub waits_for_room: u64,
    /// From offering a buffer to its being durable on all of the chain: the last one that was measured.
    pub relay_latency: Duration,
    /// The longest one.
    pub max_relay_latency: Duration,
    /// All followers.
    pub followers: Vec<FollowerStats>,
}

/// A leader's end of the chain.
pub struct Pipeline {
    shared: Arc<Shared>,
    manager: Mutex<Option<JoinHandle<(Copy, ReplicaState)>>>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pipeline({:?})", self.shared.epoch)
    }
}

struct Shared {
    epoch: Epoch,
    needed: usize,
    log: Arc<SharedLog>,
    core: Mutex<Core>,
    /// The manager has something to do.
    work: Condvar,
    /// Something was committed, room was made, or it is over.
    progress: Condvar,
    sends: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

/// Taken before the log's lock, never after.
struct Core {
    leader: Leader,
    /// The log's sequence at which the service's began again.
    base: u64,
    /// The log's sequence that is durable locally.
    local: u64,
    news: bool,
    probed: Option<(MemberId, bool)>,
    closed: bool,
    no_quorum: bool,
    failure: bool,
    /// A buffer whose way is measured: sequence and when it was offered.
    sample: Option<(u64, Duration)>,
    stats: Counted,
}

#[derive(Default)]
struct Counted {
    cut_out: u64,
    rejoined: u64,
    waits_for_room: u64,
    relay_latency: Duration,
    max_relay_latency: Duration,
}

impl Pipeline {
    /// Begins to lead. `copy` and `state` are this member's, after [`super::promote()`] made it promise the quorum's epoch.
    ///
    /// Errors: a member that was not promoted, an incomplete copy, its disk.
    pub fn start(
        quorum: &dyn Quorum,
        mut copy: Copy,
        mut state: ReplicaState,
        options: PipelineOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PipelineError> {
        let (epoch, me) = (quorum.epoch(), quorum.me());
        let promoted = state.promised == epoch && state.history.epoch() < epoch && state.group == quorum.group();
        if !promoted || quorum.leader() != Some(me) {
            return Err(PipelineError::NotPromoted { epoch });
        }
        if !state.is_consistent() {
            return Err(PipelineError::Incomplete);
        }
        if state.writing {
            // The file may hold more than the state says: nobody's copy is known to be the same, all are made anew.
            state.history = History::default();
        }
        if options.append_only {
            copy.set_len(state.extent)?;
        }
        let mut log = Log::new(&state, options.append_only, options.retained_bytes);
        let reign = Reign {
            epoch,
            first: state.last + 1,
            extent: state.extent,
        };
        if !log.begin(reign) {
            return Err(PipelineError::NotPromoted { epoch });
        }
        state.history = log.history.clone();
        state.writing = !options.append_only;
        copy.save(&state)?;
        let others = quorum.members().into_iter().filter(|member| member.id != me).collect();
        let leader = Leader::new(
            epoch,
            others,
            quorum.needed(),
            state.last,
            state.committed,
            options.patience,
            clock.monotonic(),
        );
        log.committed = leader.committed();
        let shared = Arc::new(Shared {
            epoch,
            needed: quorum.needed(),
            log: Arc::new(SharedLog {
                log: Mutex::new(log),
                changed: Condvar::new(),
            }),
            core: Mutex::new(Core {
                leader,
                base: state.last,
                local: state.last,
                news: false,
                probed: None,
                closed: false,
                no_quorum: false,
                failure: false,
                sample: None,
                stats: Counted::default(),
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
            sends: Arc::default(),
            clock,
        });
        let manager = Manager {
            shared: Arc::clone(&shared),
            store: Arc::clone(copy.store()),
            copy,
            state,
            options,
            link: None,
            ended: Vec::new(),
            short_since: None,
        };
        let manager = std::thread::Builder::new()
            .name("replica-leader".into())
            .spawn(move || manager.run())
            .map_err(PipelineError::Thread)?;
        Ok(Self {
            shared,
            manager: Mutex::new(Some(manager)),
        })
    }

    /// How it is going.
    pub fn stats(&self) -> PipelineStats {
        let core = self.shared.core.lock();
        let log = self.shared.log.log.lock();
        let (last, _) = log.last();
        let (retained_bytes, max_retained_bytes) = log.retained_bytes();
        let follower = |status: &super::FollowerStatus| FollowerStats {
            member: status.member.id,
            durable: status.durable,
            lost: status.lost_until.is_some(),
            lag: last - status.durable.unwrap_or(0).min(last),
        };
        PipelineStats {
            last,
            committed: core.leader.committed(),
            sends: self.shared.sends.load(Ordering::Relaxed),
            retained_bytes,
            max_retained_bytes,
            cut_out: core.stats.cut_out,
            rejoined: core.stats.rejoined,
            waits_for_room: core.stats.waits_for_room,
            relay_latency: core.stats.relay_latency,
            max_relay_latency: core.stats.max_relay_latency,
            followers: core.leader.followers().iter().map(follower).collect(),
        }
    }

    /// Waits until `reached`, looking each time something is committed or a member comes or goes, or it is over.
    pub fn wait_until(&self, reached: impl Fn(&PipelineStats) -> bool) {
        loop {
            let stats = self.stats();
            let mut core = self.shared.core.lock();
            if reached(&stats) || core.closed || core.leader.deposed().is_some() {
                return;
            }
            // What changed between the two locks is seen a tick later.
            self.shared.progress.wait_for(&mut core, Duration::from_millis(100));
        }
    }

    /// Ends it and gives the copy back. `None` when that was done already.
    pub fn stop(&self) -> Option<(Copy, ReplicaState)> {
        self.close();
        let manager = self.manager.lock().take()?;
        manager.join().ok()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn check(&self, core: &Core) -> Result<(), ReplicatorError> {
        if core.closed || core.failure {
            return Err(ReplicatorError::Closed);
        }
        if let Some(theirs) = core.leader.deposed() {
            return Err(ReplicatorError::Fenced {
                ours: self.epoch.0,
                theirs: theirs.0,
            });
        }
        if core.no_quorum {
            return Err(ReplicatorError::NoQuorum {
                alive: core.leader.alive(),
                needed: self.needed,
            });
        }
        Ok(())
    }
}

impl Replicator for Pipeline {
    fn epoch(&self) -> u64 {
        self.shared.epoch.0
    }

    /// See the trait. Panics on a buffer above [`MAX_PARCEL_BYTES`]: the configuration allowed what no member takes.
    fn offer(&self, sealed: Sealed) -> Result<(), ReplicatorError> {
        assert!(sealed.bytes.len() <= MAX_PARCEL_BYTES);
        let bytes = sealed.bytes.len();
        let mut core = self.shared.core.lock();
        let mut waited = false;
        loop {
            self.shared.check(&core)?;
            let mut log = self.shared.log.log.lock();
            log.evict(core.leader.releasable(), bytes);
            if log.has_room(bytes) {
                let sequence = log.last().0 + 1;
                log.push(Parcel {
                    sequence,
                    extent: sealed.extent,
                    body: sealed.body,
                    crc: sealed.crc,
                    bytes: sealed.bytes,
                });
                if core.sample.is_none() {
                    core.sample = Some((sequence, self.shared.clock.monotonic()));
                }
                drop(log);
                self.shared.log.changed.notify_all();
                return Ok(());
            }
            drop(log);
            core.stats.waits_for_room += u64::from(!std::mem::replace(&mut waited, true));
            self.shared.progress.wait(&mut core);
        }
    }

    fn local_durable(&self, sequence: u64) {
        let mut core = self.shared.core.lock();
        core.local = core.local.max(core.base + sequence);
        core.news = true;
        self.shared.work.notify_one();
    }

    fn wait(&self, sequence: u64, timeout: Option<Duration>) -> Result<(), ReplicatorError> {
        let deadline = timeout.map(|timeout| self.shared.clock.monotonic() + timeout);
        let mut core = self.shared.core.lock();
        let target = core.base + sequence;
        loop {
            if core.leader.committed() >= target {
                return Ok(());
            }
            self.shared.check(&core)?;
            match deadline {
                None => self.shared.progress.wait(&mut core),
                Some(deadline) => {
                    let left = deadline.saturating_sub(self.shared.clock.monotonic());
                    if left.is_zero() {
                        return Err(ReplicatorError::TimedOut { sequence });
                    }
                    self.shared.progress.wait_for(&mut core, left);
                }
            }
        }
    }

    fn reset_sequence(&self) {
        let mut core = self.shared.core.lock();
        core.base = self.shared.log.log.lock().last().0;
        core.no_quorum = false;
    }

    fn send_count(&self) -> u64 {
        self.shared.sends.load(Ordering::Relaxed)
    }

    fn close(&self) {
        self.shared.core.lock().closed = true;
        self.shared.work.notify_all();
        self.shared.progress.notify_all();
    }
}

struct Manager {
    shared: Arc<Shared>,
    store: Arc<dyn BackingStore>,
    copy: Copy,
    state: ReplicaState,
    options: PipelineOptions,
    link: Option<Link>,
    ended: Vec<JoinHandle<()>>,
    short_since: Option<Duration>,
}

impl Manager {
    fn run(mut self) -> (Copy, ReplicaState) {
        let chain = self.shared.core.lock().leader.chain();
        self.form(chain);
        loop {
            let local = {
                let mut core = self.shared.core.lock();
                if !core.news && core.probed.is_none() && !core.closed {
                    self.shared.work.wait_for(&mut core, self.options.tick);
                }
                core.news = false;
                core.local
            };
            if let Err(error) = self.save(local) {
                tracing::error!(%error, "the leader's copy cannot go on");
                self.shared.core.lock().failure = true;
                self.shared.progress.notify_all();
                break;
            }
            if self.shared.core.lock().closed {
                break;
            }
            let orders = self.judge();
            for order in orders {
                match order {
                    Order::Form(chain) => self.form(chain),
                    Order::Probe(member) => self.probe(member),
                }
            }
        }
        self.unlink();
        for thread in self.ended.drain(..) {
            if thread.join().is_err() {
                tracing::error!("thread of the pipeline panicked");
            }
        }
        (self.copy, self.state)
    }

    /// Makes durable how far the local file goes.
    fn save(&mut self, local: u64) -> Result<(), CopyError> {
        let (written, extent) = {
            let mut log = self.shared.log.log.lock();
            log.wrote(local);
            self.state.rewound = log.rewound;
            self.state.committed = log.committed.min(local);
            log.written()
        };
        if written == self.state.last {
            return Ok(());
        }
        self.state.last = written;
        self.state.extent = extent;
        self.copy.save_state(&self.state)?;
        self.shared.core.lock().leader.own_durable(written);
        // Members that wait for what is only in the file can have it now.
        self.shared.log.changed.notify_all();
        Ok(())
    }

    fn judge(&mut self) -> Vec<Order> {
        let now = self.shared.clock.monotonic();
        let news = self.link.as_ref().map(|link| link.mailbox.take()).unwrap_or_default();
        let mut orders = Vec::new();
        let mut guard = self.shared.core.lock();
        let core = &mut *guard;
        let last = self.shared.log.log.lock().last().0;
        for (member, (epoch, sequence)) in news.durable {
            core.leader.durable(member, epoch, sequence, last, now);
        }
        for member in news.filling.into_keys() {
            core.leader.heard(member, now);
        }
        for (member, refusal) in news.refusals {
            tracing::warn!(%member, %refusal, "a member refused");
            match refusal {
                Refusal::StaleEpoch { promised } => core.leader.depose(promised),
                _ => orders.extend(core.leader.lost(member, now)),
            }
        }
        for member in news.broken {
            orders.extend(core.leader.lost(member, now));
        }
        core.stats.cut_out += orders.len() as u64;
        match core.probed.take() {
            Some((member, true)) => {
                let order = core.leader.found(member, now);
                core.stats.rejoined += u64::from(order.is_some());
                orders.extend(order);
            }
            Some((member, false)) => core.leader.missed(member, now),
            None => {}
        }
        if core.leader.deposed().is_none() {
            let ticked = core.leader.tick(last, now);
            core.stats.cut_out += ticked.iter().filter(|order| matches!(order, Order::Form(_))).count() as u64;
            orders.extend(ticked);
        } else {
            orders = vec![Order::Form(Vec::new())];
        }
        // Only the last chain counts.
        let forms = orders.iter().filter(|order| matches!(order, Order::Form(_))).count();
        let mut seen = 0;
        orders.retain(|order| {
            let form = matches!(order, Order::Form(_));
            seen += usize::from(form);
            !form || seen == forms
        });
        let short = core.leader.alive() < self.shared.needed;
        self.short_since = short.then(|| self.short_since.unwrap_or(now));
        core.no_quorum |= self
            .short_since
            .is_some_and(|since| now.saturating_sub(since) >= self.options.no_quorum_after);
        if let Some((sequence, offered)) = core.sample
            && core.leader.chain_has() >= Some(sequence)
        {
            core.sample = None;
            core.stats.relay_latency = now.saturating_sub(offered);
            core.stats.max_relay_latency = core.stats.max_relay_latency.max(core.stats.relay_latency);
        }
        let committed = core.leader.committed();
        let mut log = self.shared.log.log.lock();
        let more = committed > log.committed;
        log.committed = committed.max(log.committed);
        drop(log);
        drop(guard);
        if more {
            self.shared.log.changed.notify_all();
        }
        self.shared.progress.notify_all();
        orders
    }

    fn form(&mut self, chain: Vec<Member>) {
        self.unlink();
        if chain.is_empty() {
            return;
        }
        let shared = Arc::downgrade(&self.shared);
        let mailbox = Mailbox::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.core.lock().news = true;
                shared.work.notify_one();
            }
        });
        let context = LinkContext {
            log: Arc::clone(&self.shared.log),
            store: Arc::clone(&self.store),
            group: self.state.group,
            epoch: self.shared.epoch,
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
        self.ended.retain(|thread| !thread.is_finished());
        if let Some(link) = self.link.take() {
            self.ended.push(link.stop());
        }
    }

    fn probe(&mut self, member: Member) {
        let shared = Arc::clone(&self.shared);
        let (group, timeouts) = (self.state.group, self.options.timeouts);
        let builder = std::thread::Builder::new().name("replica-probe".into());
        let id = member.id;
        let spawned = builder.spawn(move || {
            let answer = ask(&member, &Frame::Probe { group }, &timeouts);
            let found = matches!(answer, Ok((_, Frame::Welcome { member: answered, .. })) if answered == id);
            shared.core.lock().probed = Some((id, found));
            shared.work.notify_one();
        });
        match spawned {
            Ok(thread) => self.ended.push(thread),
            Err(_) => self.shared.core.lock().probed = Some((id, false)),
        }
    }
}
