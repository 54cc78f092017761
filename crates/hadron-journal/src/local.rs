//! The command log of a single NameNode: one thread, group commit, segments in every name dir.
//!
//! What it is for: while one batch is being made durable the next gathers in the queue; then the thread takes all of it,
//! frames it, writes it, applies it and answers. What it does not do: hold the machine's lock during I/O, or use timers
//! on the way of a proposal: at one caller the cost is one write and two wake-ups, or the write alone where the caller
//! lends its own thread ([`CommandLog::propose_inline`]).
//! Invariants: entries are applied in index order by whoever holds the [`Keeper`], the journal's thread or a caller that
//! found it at rest; a failed write poisons the log before anything else is answered; checkpoints see the state between
//! two batches.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hadron_env::Disk;
use hadron_env::disk::DiskLock;
use hadron_types::{Epoch, LogIndex};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::batch::{BatchBuilder, roll_digest};
use crate::checkpoint;
use crate::identity::Identity;
use crate::image::ImageHeader;
use crate::inventory::CURRENT;
use crate::log::{CommandLog, Health, LogError, NewestImage, Pending};
use crate::machine::{Entry, StateMachine};
use crate::options::{Env, Options};
use crate::queue::{Answer, Proposal, Queue, Work};
use crate::recovery::{OpenError, Recovered, recover};
use crate::restore;
use crate::segment::SegmentHeader;
use crate::writer::{WriteError, Writer};

/// After a failed checkpoint the next automatic one waits so long.
const CHECKPOINT_RETRY: Duration = Duration::from_secs(60);

/// What opening a log found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Which file system this is.
    pub identity: Identity,
    /// The new reign.
    pub epoch: Epoch,
    /// Index of the image that was loaded.
    pub image_index: LogIndex,
    /// Entries replayed after it.
    pub entries_replayed: u64,
}

/// A command log on local disks. Dropping it finishes the waiting proposals and blocks until its threads have ended.
pub struct LocalLog<M: StateMachine> {
    shared: Arc<Shared<M>>,
    seat: Seat<M>,
    thread: Mutex<Option<JoinHandle<()>>>,
    opened: Opened,
}

/// Where the keeper is found. Locked while somebody writes: the journal's thread waits for its turn, a caller never does.
/// Empty once the log ended or somebody panicked with the keeper in his hands.
type Seat<M> = Arc<Mutex<Option<Box<Keeper<M>>>>>;

type LogQueue<M> = Queue<<M as StateMachine>::Command, <M as StateMachine>::Outcome, Control>;
type LogWork<M> = Work<<M as StateMachine>::Command, <M as StateMachine>::Outcome, Control>;

struct Shared<M: StateMachine> {
    queue: LogQueue<M>,
    last_applied: AtomicU64,
    health: watch::Sender<Health>,
    newest_image: Mutex<NewestImage>,
    restore_failed_dirs: AtomicBool,
}

/// What else the journal thread is asked to do.
enum Control {
    Checkpoint(Answer<LogIndex>),
    CheckpointDone(Result<NewestImage, Arc<str>>),
    Roll(Answer<LogIndex>),
    Tick,
    CheckpointDue,
    Shutdown(Answer<()>),
}

impl<M: StateMachine> LocalLog<M> {
    /// Recovers `machine` from the name dirs and takes them over. Blocks for the time of the replay.
    pub fn open(machine: Arc<M>, env: Env, options: Options) -> Result<Self, OpenError> {
        let recovered = recover(&env, &options, &*machine)?;
        let header = SegmentHeader {
            epoch: recovered.epoch,
            first_index: recovered.last_index.next(),
            salt: env.random.next_u64(),
            digest: recovered.digest,
            created: env.clock.now(),
        };
        let failed = recovered.failed.clone();
        let writer = Writer::start(Arc::clone(&env.disk), &recovered.live, failed, &options, header)
            .map_err(OpenError::TooFewDirs)?;
        let opened = Opened {
            identity: recovered.identity.clone(),
            epoch: recovered.epoch,
            image_index: recovered.image_index,
            entries_replayed: recovered.entries_replayed,
        };
        let shared = Arc::new(Shared {
            queue: Queue::new(options.max_waiting),
            last_applied: AtomicU64::new(recovered.last_index.0),
            health: watch::Sender::new(Health::default()),
            newest_image: Mutex::new(NewestImage {
                index: recovered.image_index,
                created: recovered.image_created,
            }),
            restore_failed_dirs: AtomicBool::new(options.restore_failed_dirs),
        });
        let mut keeper = Keeper::new(machine, env, options, Arc::clone(&shared), writer, recovered);
        keeper.tick();
        let seat: Seat<M> = Arc::new(Mutex::new(Some(Box::new(keeper))));
        let (of_thread, told) = (Arc::clone(&seat), Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || run(&of_thread, &told));
        let thread = thread.map_err(|source| OpenError::Io {
            what: "start the journal thread of",
            path: PathBuf::from(CURRENT),
            source,
        })?;
        Ok(Self {
            shared,
            seat,
            thread: Mutex::new(Some(thread)),
            opened,
        })
    }

    /// What opening found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }
}

impl<M: StateMachine> CommandLog<M> for LocalLog<M> {
    fn propose(&self, command: M::Command) -> Pending<M::Outcome> {
        Pending::of(self.shared.queue.propose(command))
    }

    fn propose_inline(&self, command: M::Command) -> Pending<M::Outcome> {
        let Some(mut seat) = self.seat.try_lock() else {
            return self.propose(command);
        };
        let Some(mut keeper) = seat.take() else {
            drop(seat);
            return self.propose(command);
        };
        let proposed = self.shared.queue.propose_quietly(command);
        let is_taken = proposed.is_ok();
        if is_taken {
            let _guard = PanicGuard(Arc::clone(&self.shared));
            // What waited before goes first, in the same batch.
            let mut proposals = std::mem::take(&mut keeper.lent);
            self.shared.queue.take_proposals(&mut proposals);
            keeper.commit_all(&mut proposals);
            keeper.lent = proposals;
        }
        let is_due = is_taken && keeper.is_checkpoint_due();
        *seat = Some(keeper);
        drop(seat);
        if is_due {
            // Refused once the log is closed: then nobody needs it.
            let _ = self.shared.queue.control(Control::CheckpointDue);
        }
        Pending::of(proposed)
    }

    fn read_barrier(&self) -> Pending<()> {
        // Answers follow apply, so whatever was answered is in the state already.
        Pending::ready(Ok(()))
    }

    fn last_applied(&self) -> LogIndex {
        LogIndex(self.shared.last_applied.load(Ordering::Acquire))
    }

    fn checkpoint(&self) -> Pending<LogIndex> {
        let (answer, receiver) = oneshot::channel();
        let asked = self.shared.queue.control(Control::Checkpoint(answer));
        Pending::of(asked.map(|()| receiver))
    }

    fn roll(&self) -> Pending<LogIndex> {
        let (answer, receiver) = oneshot::channel();
        let asked = self.shared.queue.control(Control::Roll(answer));
        Pending::of(asked.map(|()| receiver))
    }

    fn newest_image(&self) -> NewestImage {
        *self.shared.newest_image.lock()
    }

    fn set_restore_failed_dirs(&self, restore: bool) {
        self.shared.restore_failed_dirs.store(restore, Ordering::Release);
    }

    fn restores_failed_dirs(&self) -> bool {
        self.shared.restore_failed_dirs.load(Ordering::Acquire)
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    fn shutdown(&self) -> Pending<()> {
        self.shared.queue.refuse(LogError::Closed);
        let (answer, receiver) = oneshot::channel();
        match self.shared.queue.control(Control::Shutdown(answer)) {
            Ok(()) => Pending::waiting(receiver),
            // It is on its way out already.
            Err(_) => Pending::ready(Ok(())),
        }
    }
}

impl<M: StateMachine> Drop for LocalLog<M> {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the journal thread had panicked");
        }
    }
}

impl<M: StateMachine> Shared<M> {
    fn poison(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        self.queue.refuse(LogError::Poisoned(Arc::clone(&reason)));
        self.health.send_modify(|health| {
            health.poisoned.get_or_insert(reason);
        });
    }
}

/// Says so when a thread dies of a panic with the keeper in its hands: nobody may wait for it in silence.
struct PanicGuard<M: StateMachine>(Arc<Shared<M>>);

impl<M: StateMachine> Drop for PanicGuard<M> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison("the thread that wrote the journal panicked");
            self.0.queue.close();
            let mut left = Work::default();
            self.0.queue.take(&mut left);
        }
    }
}

/// The journal thread's own state.
struct Keeper<M: StateMachine> {
    machine: Arc<M>,
    env: Env,
    options: Options,
    shared: Arc<Shared<M>>,
    writer: Writer,
    locks: Vec<(PathBuf, DiskLock)>,
    identity: Identity,
    epoch: Epoch,
    next_index: LogIndex,
    digest: u64,
    builder: BatchBuilder,
    entries: Vec<Entry<M::Command>>,
    answers: Vec<Answer<M::Outcome>>,
    outcomes: Vec<M::Outcome>,
    /// Storage for the proposals of callers that write themselves.
    lent: Vec<Proposal<M::Command, M::Outcome>>,
    digest_bytes: Vec<u8>,
    poisoned: Option<LogError>,
    checkpoint: CheckpointState,
    stopping: Vec<Answer<()>>,
    /// Dirs taken back that wait for their first image.
    restored: Vec<PathBuf>,
}

/// When the next checkpoint is due, and who waits for which.
struct CheckpointState {
    /// Index of the newest image.
    image_index: LogIndex,
    entries_since: u64,
    bytes_since: u64,
    last_begun: Duration,
    not_before: Duration,
    /// Who waits for the one being written.
    running: Option<(Vec<Answer<LogIndex>>, JoinHandle<()>)>,
    /// Who waits for the one after it.
    next: Vec<Answer<LogIndex>>,
}

/// The journal's thread: writes what waits until the log is closed, then ends the log.
fn run<M: StateMachine>(seat: &Mutex<Option<Box<Keeper<M>>>>, shared: &Arc<Shared<M>>) {
    let mut work: LogWork<M> = Work::default();
    loop {
        shared.queue.wait();
        let mut seat = seat.lock();
        let Some(mut keeper) = seat.take() else {
            // A caller panicked with it, which closed the log.
            return;
        };
        // Tells of a panic before those who wait for the keeper's answers learn that there are none.
        let _guard = PanicGuard(Arc::clone(shared));
        shared.queue.take(&mut work);
        keeper.work_on(&mut work);
        if work.closed || !keeper.stopping.is_empty() {
            shared.queue.refuse(LogError::Closed);
            shared.queue.close();
            shared.queue.take(&mut work);
            keeper.work_on(&mut work);
            drop(seat);
            return keeper.finish();
        }
        *seat = Some(keeper);
    }
}

impl<M: StateMachine> Keeper<M> {
    fn new(
        machine: Arc<M>,
        env: Env,
        options: Options,
        shared: Arc<Shared<M>>,
        writer: Writer,
        recovered: Recovered,
    ) -> Self {
        let now = env.clock.monotonic();
        Self {
            machine,
            env,
            options,
            shared,
            writer,
            locks: recovered.locks,
            identity: recovered.identity,
            epoch: recovered.epoch,
            next_index: recovered.last_index.next(),
            digest: recovered.digest,
            builder: BatchBuilder::default(),
            entries: Vec::new(),
            answers: Vec::new(),
            outcomes: Vec::new(),
            lent: Vec::new(),
            digest_bytes: Vec::new(),
            poisoned: None,
            checkpoint: CheckpointState {
                image_index: recovered.image_index,
                entries_since: recovered.entries_replayed,
                bytes_since: recovered.journal_bytes,
                last_begun: now,
                not_before: Duration::ZERO,
                running: None,
                next: Vec::new(),
            },
            stopping: Vec::new(),
            restored: Vec::new(),
        }
    }

    fn work_on(&mut self, work: &mut LogWork<M>) {
        self.commit_all(&mut work.proposals);
        self.begin_due_checkpoint();
        for control in work.controls.drain(..) {
            self.control(control);
        }
    }

    fn control(&mut self, control: Control) {
        match control {
            Control::Checkpoint(answer) => {
                self.checkpoint.next.push(answer);
                self.begin_checkpoint();
            }
            Control::CheckpointDone(result) => self.end_checkpoint(result),
            Control::Roll(answer) => {
                let result = self.roll();
                send(answer, result);
            }
            Control::Tick => self.tick(),
            Control::CheckpointDue => self.begin_due_checkpoint(),
            Control::Shutdown(answer) => self.stopping.push(answer),
        }
    }

    /// Commits everything taken from the queue, in as many batches as its size asks for.
    fn commit_all(&mut self, proposals: &mut Vec<Proposal<M::Command, M::Outcome>>) {
        if proposals.is_empty() {
            return;
        }
        self.builder.clear();
        for Proposal { mut command, answer } in proposals.drain(..) {
            if let Some(error) = &self.poisoned {
                send(answer, Err(error.clone()));
                continue;
            }
            self.machine.order(&mut command);
            if let Err(len) = self
                .builder
                .push(&*self.machine, &command, self.options.max_command_bytes)
            {
                let limit = self.options.max_command_bytes;
                send(answer, Err(LogError::TooLong { len, limit }));
                continue;
            }
            self.entries.push(Entry {
                epoch: self.epoch,
                index: LogIndex(self.next_index.0 + self.entries.len() as u64),
                rules_version: self.machine.rules_version(),
                command,
            });
            self.answers.push(answer);
            let full = self.builder.len() >= self.options.max_batch_bytes
                || self.builder.count() as usize >= self.options.max_batch_entries;
            if full {
                self.commit();
                self.builder.clear();
            }
        }
        if !self.entries.is_empty() {
            self.commit();
        }
    }

    /// Makes the batch durable, applies it, answers.
    fn commit(&mut self) {
        match self.make_durable() {
            Ok(bytes) => self.checkpoint.bytes_since += bytes,
            Err(error) => return self.fail(error),
        }
        let count = self.entries.len();
        self.machine.apply(&mut self.entries, &mut self.outcomes);
        self.entries.clear();
        assert_eq!(
            self.outcomes.len(),
            count,
            "the machine gives one outcome for each entry"
        );
        for outcome in &self.outcomes {
            self.digest_bytes.clear();
            self.machine.digest(outcome, &mut self.digest_bytes);
            self.digest = roll_digest(self.digest, &self.digest_bytes);
        }
        self.next_index = LogIndex(self.next_index.0 + count as u64);
        self.shared.last_applied.store(self.next_index.0 - 1, Ordering::Release);
        for (answer, outcome) in self.answers.drain(..).zip(self.outcomes.drain(..)) {
            send(answer, Ok(outcome));
        }
        self.checkpoint.entries_since += count as u64;
        self.writer.prepare_ahead(&self.options);
    }

    fn make_durable(&mut self) -> Result<u64, WriteError> {
        let failed_before = self.writer.failed_roots().len();
        let written = self.write_batch();
        if self.writer.failed_roots().len() != failed_before {
            self.check_health();
        }
        written
    }

    /// The header of a segment that would begin here.
    fn segment_header(&self) -> SegmentHeader {
        SegmentHeader {
            epoch: self.epoch,
            first_index: self.next_index,
            salt: self.env.random.next_u64(),
            digest: self.digest,
            created: self.env.clock.now(),
        }
    }

    /// Begins a new segment unless the active one is empty. Gives the index of its first entry.
    fn roll(&mut self) -> Result<LogIndex, LogError> {
        if let Some(error) = &self.poisoned {
            return Err(error.clone());
        }
        self.restore_failed();
        if self.writer.header().first_index != self.next_index {
            let header = self.segment_header();
            self.roll_now(header)?;
        }
        Ok(self.next_index)
    }

    fn roll_now(&mut self, header: SegmentHeader) -> Result<(), LogError> {
        let rolled = self.writer.roll_now(header, &self.options);
        rolled.map_err(|error| {
            let error = self.log_error(error);
            self.check_health();
            error
        })
    }

    /// Takes failed dirs back if that is wanted and they work again: they go on with a new segment, and count as name
    /// dirs once they have an image too, which is begun here.
    fn restore_failed(&mut self) {
        let wanted = self.shared.restore_failed_dirs.load(Ordering::Acquire);
        if !wanted
            || self.poisoned.is_some()
            || self.writer.failed_roots().is_empty()
            || self.checkpoint.running.is_some()
        {
            return;
        }
        let disk = Arc::clone(&self.env.disk);
        let mut ready = Vec::new();
        for root in self.writer.failed_roots().to_vec() {
            self.locks.retain(|(locked, _)| *locked != root);
            match restore::empty(&*disk, &root) {
                Ok(lock) => {
                    self.locks.push((root.clone(), lock));
                    ready.push(root);
                }
                Err(error) => tracing::warn!(dir = %root.display(), %error, "this name dir still fails"),
            }
        }
        if ready.is_empty() {
            return;
        }
        let header = self.segment_header();
        self.writer.readmit(&ready);
        if self.roll_now(header).is_ok() {
            tracing::info!(dirs = ?ready, "name dirs work again and are taken back");
            self.restored.extend(ready);
            self.write_checkpoint();
        }
        self.check_health();
    }

    fn write_batch(&mut self) -> Result<u64, WriteError> {
        if self.writer.wants_roll(self.builder.len()) {
            let header = self.segment_header();
            self.writer.roll(header)?;
        }
        let salt = self.writer.header().salt;
        let failed_before = self.writer.failed_roots().len();
        let frame = self
            .builder
            .finish(salt, self.epoch, self.next_index, self.digest, false);
        let written = self.writer.write(frame);
        if self.writer.failed_roots().len() != failed_before {
            self.check_health();
        }
        written
    }

    /// Answers the batch with the reason it is not durable.
    fn fail(&mut self, error: WriteError) {
        let error = self.log_error(error);
        self.entries.clear();
        for answer in self.answers.drain(..) {
            send(answer, Err(error.clone()));
        }
    }

    /// What callers are told of a failed write; after a fatal one nothing is taken any more.
    fn log_error(&mut self, error: WriteError) -> LogError {
        match error {
            WriteError::NoSpace(dirs) => {
                tracing::error!(dirs, "no room for the journal; refusing mutations until there is");
                self.shared.health.send_modify(|health| health.resources_low = true);
                LogError::NoSpace(dirs.as_str().into())
            }
            WriteError::Fatal(reason) => {
                tracing::error!(
                    reason,
                    "journal is poisoned: nothing is acknowledged any more; restart the process"
                );
                self.shared.poison(&reason);
                let poisoned = LogError::Poisoned(reason.as_str().into());
                self.poisoned = Some(poisoned.clone());
                poisoned
            }
        }
    }

    /// Looks at space and at the need of a checkpoint, and asks to be called again.
    fn tick(&mut self) {
        self.check_health();
        self.begin_due_checkpoint();
        let shared = Arc::downgrade(&self.shared);
        let clock = &self.env.clock;
        let at = clock.monotonic().saturating_add(self.options.check_interval);
        clock.alarm(
            at,
            Box::new(move || {
                if let Some(shared) = shared.upgrade() {
                    // Refused once the log is closed: then nobody needs it.
                    let _ = shared.queue.control(Control::Tick);
                }
            }),
        );
    }

    fn check_health(&mut self) {
        let live_dirs = self.writer.live_roots();
        let has_space = |dir: &PathBuf| match self.env.disk.space(dir) {
            Ok(space) if space.available < self.options.reserved_bytes => {
                let (available, reserved) = (space.available, self.options.reserved_bytes);
                tracing::warn!(dir = %dir.display(), available, reserved, "name dir is low on space");
                false
            }
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "cannot tell the free space of this name dir");
                false
            }
        };
        let with_space = live_dirs.iter().filter(|dir| has_space(dir)).count();
        let health = Health {
            resources_low: with_space < self.options.minimum_dirs_with_space,
            poisoned: self.shared.health.borrow().poisoned.clone(),
            live_dirs,
            failed_dirs: self.writer.failed_roots().to_vec(),
        };
        self.shared.health.send_if_modified(|current| {
            let changed = *current != health;
            *current = health;
            changed
        });
    }

    fn is_checkpoint_due(&self) -> bool {
        let state = &self.checkpoint;
        if state.running.is_some() || state.entries_since == 0 {
            return false;
        }
        let many = state.entries_since >= self.options.checkpoint_entries
            || state.bytes_since >= self.options.checkpoint_bytes;
        let now = self.env.clock.monotonic();
        let late = now.saturating_sub(state.last_begun) >= self.options.checkpoint_period;
        (many || late) && now >= state.not_before
    }

    fn begin_due_checkpoint(&mut self) {
        if self.is_checkpoint_due() {
            self.restore_failed();
            if self.checkpoint.running.is_none() {
                self.write_checkpoint();
            }
        }
    }

    /// Begins the checkpoint somebody asked for, unless one runs; then it follows.
    fn begin_checkpoint(&mut self) {
        if self.checkpoint.running.is_some() {
            return;
        }
        let last = LogIndex(self.next_index.0 - 1);
        self.restore_failed();
        if self.checkpoint.running.is_some() {
            return;
        }
        if self.checkpoint.image_index == last && last.0 > 0 {
            return self.checkpoint.next.drain(..).for_each(|answer| send(answer, Ok(last)));
        }
        self.write_checkpoint();
    }

    fn write_checkpoint(&mut self) {
        let header = ImageHeader {
            epoch: self.epoch,
            index: LogIndex(self.next_index.0 - 1),
            digest: self.digest,
            created: self.env.clock.now(),
        };
        let snapshot = self.machine.snapshot();
        let currents: Vec<_> = self.writer.live_roots().iter().map(|root| root.join(CURRENT)).collect();
        let (disk, shared, retained): (Arc<dyn Disk>, _, _) = (
            Arc::clone(&self.env.disk),
            Arc::clone(&self.shared),
            self.options.images_retained,
        );
        let version = self.identity.to_text();
        let restored: Vec<_> = self.restored.drain(..).map(|root| root.join(CURRENT)).collect();
        let write = move || {
            let written = checkpoint::write::<M>(&*disk, &currents, &header, snapshot, retained);
            let result = written.map(|done| {
                for current in restored.iter().filter(|current| done.contains(current)) {
                    restore::complete(&*disk, current, &version);
                }
                NewestImage {
                    index: header.index,
                    created: header.created,
                }
            });
            // Refused only when the journal thread already waits for this thread's end.
            let _ = shared.queue.control(Control::CheckpointDone(result));
        };
        let state = &mut self.checkpoint;
        let waiting = std::mem::take(&mut state.next);
        match std::thread::Builder::new().name("journal-image".into()).spawn(write) {
            Ok(thread) => {
                state.running = Some((waiting, thread));
                state.entries_since = 0;
                state.bytes_since = 0;
                state.last_begun = self.env.clock.monotonic();
            }
            Err(error) => {
                tracing::error!(%error, "cannot start a thread to write an image");
                let error = LogError::Checkpoint(error.to_string().as_str().into());
                waiting.into_iter().for_each(|answer| send(answer, Err(error.clone())));
            }
        }
    }

    fn end_checkpoint(&mut self, result: Result<NewestImage, Arc<str>>) {
        let Some((waiting, thread)) = self.checkpoint.running.take() else {
            return;
        };
        if thread.join().is_err() {
            tracing::error!("the image thread panicked");
        }
        match &result {
            Ok(image) => {
                self.checkpoint.image_index = image.index;
                *self.shared.newest_image.lock() = *image;
            }
            Err(reason) => {
                tracing::error!(%reason, "checkpoint failed; the journal goes on and keeps all entries");
                self.checkpoint.not_before = self.env.clock.monotonic().saturating_add(CHECKPOINT_RETRY);
                self.checkpoint.entries_since = self.checkpoint.entries_since.max(1);
            }
        }
        let result = result.map(|image| image.index).map_err(LogError::Checkpoint);
        waiting.into_iter().for_each(|answer| send(answer, result.clone()));
        if !self.checkpoint.next.is_empty() {
            self.begin_checkpoint();
        }
    }

    /// Closes the segment and lets everybody go.
    fn finish(mut self) {
        if let Some((waiting, thread)) = self.checkpoint.running.take() {
            let ended = thread.join().is_ok();
            waiting
                .into_iter()
                .for_each(|answer| send(answer, Err(LogError::Closed)));
            if !ended {
                tracing::error!("the image thread panicked");
            }
        }
        if self.poisoned.is_none() {
            self.builder.clear();
            let salt = self.writer.header().salt;
            let frame = self
                .builder
                .finish(salt, self.epoch, self.next_index, self.digest, true);
            if let Err(error) = self.writer.write(frame) {
                tracing::warn!(
                    ?error,
                    "cannot close the journal's segment; the next start will look for its end"
                );
            }
        }
        self.writer.finish();
        let stopping = std::mem::take(&mut self.stopping);
        // The locks go before the answers: whoever waited may open the log again.
        drop(self);
        stopping.into_iter().for_each(|answer| send(answer, Ok(())));
    }
}

/// Answers; a caller that went away is no matter.
fn send<T>(answer: Answer<T>, result: Result<T, LogError>) {
    let _ = answer.send(result);
}
