//! One TCP connection to the next member down: a thread that sends what [`Sender`] decides, and one that reads answers.
//!
//! What it is for: leader and relays alike. What it does not do: decide what becomes of a lost member. Invariants: a link that
//! was stopped says nothing any more; what members say is merged in a mailbox of bounded size, so that no reader ever waits
//! for whoever empties it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use hadron_types::Epoch;
use parking_lot::{Condvar, Mutex};

use super::codec::{Frame, MAX_MEMBERS, Refusal};
use super::copy::read_piece;
use super::log::Log;
use super::sender::{PeerLog, Sender, Step};
use super::types::{Member, MemberId};
use super::wire::{WireError, read_frame, write_frame};
use crate::backing::BackingStore;

/// A log that threads share.
#[derive(Debug)]
pub(super) struct SharedLog {
    pub(super) log: Mutex<Log>,
    /// Something may be sent now, or a link was stopped.
    pub(super) changed: Condvar,
}

/// What members further down said since it was last emptied.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) durable: BTreeMap<MemberId, (Epoch, u64)>,
    pub(super) filling: BTreeMap<MemberId, u64>,
    pub(super) broken: BTreeSet<MemberId>,
    pub(super) refusals: BTreeMap<MemberId, Refusal>,
}

/// Where a link puts what it hears.
pub(super) struct Mailbox {
    news: Mutex<News>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    pub(super) fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            news: Mutex::default(),
            wake: Box::new(wake),
        })
    }

    pub(super) fn take(&self) -> News {
        std::mem::take(&mut *self.news.lock())
    }

    fn put(&self, frame: Frame) {
        let mut news = self.news.lock();
        // More than a group has are made up.
        match frame {
            Frame::Durable {
                member,
                epoch,
                sequence,
            } if news.durable.len() < MAX_MEMBERS || news.durable.contains_key(&member) => {
                news.durable.insert(member, (epoch, sequence));
            }
            Frame::Filling { member, received }
                if news.filling.len() < MAX_MEMBERS || news.filling.contains_key(&member) =>
            {
                news.filling.insert(member, received);
            }
            Frame::Broken { member } if news.broken.len() < MAX_MEMBERS => {
                news.broken.insert(member);
            }
            Frame::Refuse { member, refusal } if news.refusals.len() < MAX_MEMBERS => {
                news.refusals.insert(member, refusal);
            }
            _ => {}
        }
        drop(news);
        (self.wake)();
    }
}

/// How long a peer may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// To connect, and to answer a question.
    pub answer: Duration,
    /// To take what is sent to it.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(2),
            write: Duration::from_secs(10),
        }
    }
}

/// What a link needs to know.
pub(super) struct LinkContext {
    pub(super) log: Arc<SharedLog>,
    pub(super) store: Arc<dyn BackingStore>,
    pub(super) group: u64,
    pub(super) epoch: Epoch,
    /// The first is linked to, the others it is told of.
    pub(super) chain: Vec<Member>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) timeouts: Timeouts,
    /// Buffers sent.
    pub(super) sends: Arc<AtomicU64>,
}

/// A running link.
pub(super) struct Link {
    control: Arc<Control>,
    log: Arc<SharedLog>,
    pub(super) mailbox: Arc<Mailbox>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Control {
    stopped: AtomicBool,
    stream: Mutex<Option<TcpStream>>,
}

impl Control {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(stream) = self.stream.lock().take() {
            let _gone_already = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Link {
    /// Begins to link to the first of the chain, which must not be empty.
    pub(super) fn spawn(context: LinkContext) -> io::Result<Self> {
        let control = Arc::new(Control::default());
        let (shared, log, mailbox) = (
            Arc::clone(&control),
            Arc::clone(&context.log),
            Arc::clone(&context.mailbox),
        );
        let thread = std::thread::Builder::new().name("replica-link".into()).spawn(move || {
            let Some(first) = context.chain.first().map(|member| member.id) else {
                return;
            };
            if let Err(error) = run(&context, &shared) {
                tracing::debug!(member = %first, %error, "link ended");
            }
            if !shared.is_stopped() {
                context.mailbox.put(Frame::Broken { member: first });
            }
            shared.stop();
        })?;
        Ok(Self {
            control,
            log,
            mailbox,
            thread,
        })
    }

    /// Ends the link; returns the thread, which ends soon.
    pub(super) fn stop(self) -> JoinHandle<()> {
        self.control.stop();
        // Under the lock, so that a sender about to wait sees it.
        drop(self.log.log.lock());
        self.log.changed.notify_all();
        self.thread
    }
}

fn run(context: &LinkContext, control: &Arc<Control>) -> Result<(), WireError> {
    let Some((first, rest)) = context.chain.split_first() else {
        return Ok(());
    };
    let hello = Frame::Hello {
        group: context.group,
        epoch: context.epoch,
        append_only: context.log.log.lock().append_only,
        chain: rest.to_vec(),
    };
    let (mut stream, answer) = ask(first, &hello, &context.timeouts)?;
    let peer = match answer {
        Frame::Welcome {
            last,
            extent,
            consistent,
            history,
            ..
        } => PeerLog {
            last,
            extent,
            consistent,
            history,
        },
        other => {
            context.mailbox.put(other);
            return Ok(());
        }
    };
    stream.set_read_timeout(None)?;
    *control.stream.lock() = Some(stream.try_clone()?);
    if control.is_stopped() {
        return Ok(());
    }
    let mut answers = stream.try_clone()?;
    let (mailbox, reader_control, log) = (
        Arc::clone(&context.mailbox),
        Arc::clone(control),
        Arc::clone(&context.log),
    );
    let ended = Arc::new(AtomicBool::new(false));
    let reader_ended = Arc::clone(&ended);
    let reader = std::thread::Builder::new()
        .name("replica-answers".into())
        .spawn(move || {
            while let Ok(Some(frame)) = read_frame(&mut answers) {
                if !reader_control.is_stopped() {
                    mailbox.put(frame);
                }
            }
            reader_ended.store(true, Ordering::Release);
            drop(log.log.lock());
            log.changed.notify_all();
        })?;
    let sent = send(context, control, &ended, &mut stream, &peer);
    let _gone_already = stream.shutdown(Shutdown::Both);
    if reader.join().is_err() {
        tracing::error!("reader of a link panicked");
    }
    sent
}

fn send(
    context: &LinkContext,
    control: &Control,
    ended: &AtomicBool,
    stream: &mut TcpStream,
    peer: &PeerLog,
) -> Result<(), WireError> {
    let (mut sender, start) = Sender::start(&context.log.log.lock(), peer);
    write_frame(stream, &start)?;
    loop {
        let step = {
            let mut log = context.log.log.lock();
            loop {
                if control.is_stopped() || ended.load(Ordering::Acquire) {
                    return Ok(());
                }
                match sender.next(&log) {
                    Step::Wait => context.log.changed.wait(&mut log),
                    step => break step,
                }
            }
        };
        match step {
            Step::Send(frame) => {
                if matches!(frame, Frame::Buffer { .. }) {
                    // Before the bytes go, so that nobody has a buffer that is not counted.
                    context.sends.fetch_add(1, Ordering::Relaxed);
                }
                write_frame(stream, &frame)?;
            }
            Step::Read { offset, len } => {
                let bytes = read_piece(&*context.store, offset, len)?;
                if let Some(frame) = sender.piece(Bytes::from(bytes)) {
                    write_frame(stream, &frame)?;
                }
            }
            Step::Wait => {}
        }
    }
}

/// Connects to a member, asks it one thing, and returns the connection and the answer.
pub(super) fn ask(member: &Member, question: &Frame, timeouts: &Timeouts) -> Result<(TcpStream, Frame), WireError> {
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "address has no host");
    for address in member.address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeouts.answer) {
            Ok(mut stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(timeouts.answer))?;
                stream.set_write_timeout(Some(timeouts.write))?;
                write_frame(&mut stream, question)?;
                let answer = read_frame(&mut stream)?.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
                return Ok((stream, answer));
            }
            Err(error) => last_error = error,
        }
    }
    Err(last_error.into())
}
