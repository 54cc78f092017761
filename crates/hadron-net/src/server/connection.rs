//! One connection: reads, lets the [`Session`] make requests of the bytes, runs them, writes the answers.
//!
//! It is a state machine that its reactor drives: [`Connection::take_in`] does everything that is ready, so that all
//! answers to one read leave in one write, [`Connection::send`]. At a limit (calls in flight, unsent bytes) it stops
//! reading; the peer then meets TCP's back-pressure. Answers of [`Reply::Later`] and [`Reply::Waiting`] leave when they
//! come, in any order.
//! Invariant: a call counts in `calls_in_flight` from its dispatch until its answer is in `output`.

use super::ServerRef;
use super::admission::Admission;
use super::company;
use super::dispatch;
use super::reactors::Place;
use super::respond::{ReplyTo, append_answer};
use super::session::{Request, Session};
use super::socket::Socket;
use crate::{CallContext, Reply};
use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hadron_types::{CallId, ClientId, ErrorKind, HadoopError};
use rustix::event::epoll::EventFlags;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::mpsc;

/// A drained output buffer larger than this is given back.
const KEPT_OUTPUT_LEN: usize = 64 << 10;
/// Answers this long leave before more is taken in.
const SENT_OUTPUT_LEN: usize = 64 << 10;
/// Most reads in one turn, then others have theirs.
const MAX_READS: u32 = 16;

/// What a connection wants after a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Nothing until something comes.
    Wait,
    /// To send, once its neighbours have had their turn.
    Send,
    /// To take in more, once its neighbours have had their turn.
    Again,
    /// To be dropped.
    Ended,
}

/// How a connection's calls came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Calls {
    /// None while another was in flight.
    OneByOne,
    /// More than one at a time.
    Several,
}

/// A call that was answered after its dispatch.
struct Finished {
    reply_to: ReplyTo,
    started: Instant,
    result: Result<Bytes, HadoopError>,
}

type WaitingCall = Pin<Box<dyn Future<Output = Finished> + Send>>;

pub(crate) struct Connection {
    server: ServerRef,
    socket: Socket,
    peer: SocketAddr,
    session: Session,
    output: BytesMut,
    waiting: FuturesUnordered<WaitingCall>,
    /// Whether the real user of the context may act for the other.
    authorizing: Option<Pin<Box<dyn Future<Output = Result<(), HadoopError>> + Send>>>,
    spawned_count: usize,
    finished_sender: mpsc::UnboundedSender<Finished>,
    finished: mpsc::UnboundedReceiver<Finished>,
    accepted: Instant,
    last_received: Instant,
    /// Since when the peer has not taken any of the output; `None` when all of it went out.
    stuck_since: Option<Instant>,
    /// No more input: the peer closed or the session ended. Answers still owed are sent.
    is_input_closed: bool,
    /// The last turn stopped in the middle.
    has_more: bool,
    /// Whether this connection alone uses its reactor's thread, and how it does.
    is_alone: bool,
    calls: Calls,
    _place: Place,
    _admission: Admission,
}

impl Connection {
    pub(crate) fn new(server: ServerRef, socket: Socket, peer: SocketAddr, admission: Admission, place: Place) -> Self {
        let (finished_sender, finished) = mpsc::unbounded_channel();
        let now = Instant::now();
        Self {
            session: Session::new(peer.ip().to_canonical(), server.options.max_frame_len),
            server,
            socket,
            peer,
            output: BytesMut::new(),
            waiting: FuturesUnordered::new(),
            authorizing: None,
            spawned_count: 0,
            finished_sender,
            finished,
            accepted: now,
            last_received: now,
            stuck_since: None,
            is_input_closed: false,
            has_more: false,
            is_alone: false,
            calls: Calls::OneByOne,
            _place: place,
            _admission: admission,
        }
    }

    /// Whom the connection is with.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What the event queue watches.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Takes note that the socket became ready.
    pub(crate) fn announce(&mut self, events: EventFlags) {
        self.socket.announce(events);
    }

    fn in_flight(&self) -> usize {
        self.waiting.len() + self.spawned_count
    }

    fn may_take_requests(&self) -> bool {
        let options = &self.server.options;
        self.in_flight() < options.max_calls_in_flight && self.output.len() < options.max_unsent_bytes
    }

    /// Takes in what is ready and runs the calls in it. The answers wait for [`Connection::send`]. With `is_alone` a call
    /// that is the only one may keep the thread while it waits for a disk.
    ///
    /// Errors: the connection is to be dropped.
    pub(crate) fn take_in(&mut self, cx: &mut Context<'_>, is_alone: bool) -> io::Result<Calls> {
        self.is_alone = is_alone;
        self.calls = Calls::OneByOne;
        for _ in 0..MAX_READS {
            self.poll_finished(cx);
            let mut is_progressing = self.take_requests(None);
            if self.read()? {
                is_progressing = true;
                self.take_requests(Some(self.last_received));
            }
            is_progressing |= self.poll_authorization(cx);
            self.has_more = is_progressing;
            if !is_progressing || self.output.len() >= SENT_OUTPUT_LEN {
                break;
            }
        }
        Ok(self.calls)
    }

    /// Whether a call may keep the thread that has `others` beside it in flight.
    fn may_wait_here(&mut self, others: usize) -> bool {
        if others > 0 || self.session.has_more() {
            self.calls = Calls::Several;
            self.is_alone = false;
        }
        self.is_alone
    }

    /// Sends what is there to be sent.
    ///
    /// Errors: the connection is to be dropped.
    pub(crate) fn send(&mut self) -> io::Result<Turn> {
        let was_at_limit = !self.may_take_requests();
        self.write()?;
        // What the limit held back has nobody else to wake it.
        self.has_more |= was_at_limit && self.may_take_requests();
        let is_idle = self.output.is_empty() && self.in_flight() == 0 && self.authorizing.is_none();
        let is_over = self.session.is_closed() || (self.is_input_closed && !self.has_more);
        Ok(match (is_idle && is_over, self.has_more) {
            (true, _) => Turn::Ended,
            (false, true) => Turn::Again,
            (false, false) => Turn::Wait,
        })
    }

    fn poll_finished(&mut self, cx: &mut Context<'_>) {
        // Polling registers this task anew, which is only worth it while there is something to wait for.
        while !self.waiting.is_empty() {
            let alone = self.may_wait_here(self.in_flight() - 1);
            let Poll::Ready(Some(finished)) = company::run(alone, || self.waiting.poll_next_unpin(cx)) else {
                break;
            };
            self.answer(finished);
        }
        while self.spawned_count > 0
            && let Poll::Ready(Some(finished)) = self.finished.poll_recv(cx)
        {
            self.spawned_count -= 1;
            self.answer(finished);
        }
    }

    /// Looks up what the session wants to know. Returns whether it can go on.
    fn poll_authorization(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(question) = self.session.take_question() {
            let proxies = self.server.options.proxy_users.clone();
            let asked = proxies.authorize_later(question.real, question.effective, question.peer);
            self.authorizing = Some(Box::pin(asked));
        }
        let Some(authorizing) = &mut self.authorizing else {
            return false;
        };
        let Poll::Ready(answer) = authorizing.as_mut().poll(cx) else {
            return false;
        };
        self.authorizing = None;
        self.session.answer_question(&self.server, answer, &mut self.output);
        true
    }

    fn answer(&mut self, finished: Finished) {
        self.server.metrics.calls_in_flight.fetch_sub(1, Ordering::Relaxed);
        self.answer_now(&finished.reply_to, finished.started, finished.result);
    }

    /// Answers a call that began at `started`. Returns when it ended.
    fn answer_now(&mut self, reply_to: &ReplyTo, started: Instant, result: Result<Bytes, HadoopError>) -> Instant {
        let ended = Instant::now();
        append_answer(&self.server, &mut self.output, reply_to, started, ended, result);
        ended
    }

    /// Reads once if the limits allow. Returns whether something came.
    fn read(&mut self) -> io::Result<bool> {
        // While the identity is not settled nothing more is taken in.
        let is_held = self.authorizing.is_some() || !self.may_take_requests();
        if self.is_input_closed || self.session.is_closed() || is_held {
            return Ok(false);
        }
        match self.socket.read(|bytes| self.session.push(bytes))? {
            None => return Ok(false),
            Some(0) => self.is_input_closed = true,
            Some(len) => {
                self.last_received = Instant::now();
                let received = &self.server.metrics.received_bytes;
                received.fetch_add(len as u64, Ordering::Relaxed);
            }
        }
        Ok(true)
    }

    /// Runs the complete requests that have come while the limits allow. Returns whether there was one.
    ///
    /// `now`: if it was just looked at; reading a clock is not free among calls of a microsecond.
    fn take_requests(&mut self, mut now: Option<Instant>) -> bool {
        let mut took_one = false;
        while !self.session.is_closed() && self.may_take_requests() {
            let Some(request) = self.session.step(&self.server, &mut self.output) else {
                break;
            };
            took_one = true;
            let ended = self.run_request(request, now.unwrap_or_else(Instant::now));
            now = Some(ended);
        }
        took_one
    }

    /// Begins a request at `started`, and ends it if it can be answered at once. Returns the time.
    fn run_request(&mut self, request: Request, started: Instant) -> Instant {
        let target = &request.target;
        let reply_to = ReplyTo {
            echo: request.echo,
            protocol: target.protocol.as_ref().ok().copied(),
            method: target.method,
            received: self.last_received,
        };
        let index = match &target.protocol {
            Ok(index) => *index,
            Err(error) => return self.answer_now(&reply_to, started, Err(error.clone())),
        };
        let context = CallContext {
            user: request.user,
            peer: self.peer.ip().to_canonical(),
            peer_port: self.peer.port(),
            client_id: <[u8; 16]>::try_from(&*reply_to.echo.client_id).ok().map(ClientId),
            call_id: CallId(reply_to.echo.call_id),
            retry_count: reply_to.echo.retry_count,
            caller_context: request.caller_context,
            protocol: self.server.protocols[index].name(),
            received: self.last_received,
        };
        let method = &target.method_name;
        let alone = self.may_wait_here(self.in_flight());
        let dispatched = company::run(alone, || {
            dispatch::dispatch(&self.server, index, &context, method, request.message)
        });
        match dispatched {
            Reply::Ready(result) => self.answer_now(&reply_to, started, result),
            Reply::Waiting(future) => {
                self.server.metrics.calls_in_flight.fetch_add(1, Ordering::Relaxed);
                self.waiting.push(Box::pin(async move {
                    Finished {
                        reply_to,
                        started,
                        result: future.await,
                    }
                }));
                started
            }
            Reply::Later(future) => {
                self.server.metrics.calls_in_flight.fetch_add(1, Ordering::Relaxed);
                self.spawned_count += 1;
                self.spawn(reply_to, started, future);
                started
            }
        }
    }

    /// Runs `future` as a task; its panic becomes an error answer, so that the call is always answered.
    fn spawn(&self, reply_to: ReplyTo, started: Instant, future: crate::ReplyFuture) {
        let sender = self.finished_sender.clone();
        let server = Arc::clone(&self.server);
        let home = self.server.reactors.home();
        let task = self.server.tasks.spawn_on(future, home);
        let watch = async move {
            let abort = task.abort_handle();
            let result = tokio::select! {
                biased;
                () = server.stop.cancelled() => {
                    abort.abort();
                    return;
                }
                result = task => result,
            };
            let result = result.unwrap_or_else(|error| {
                tracing::error!(server = server.options.name, %error, "call handler died");
                Err(HadoopError::new(
                    ErrorKind::IpcServer,
                    "internal error: the call's handler died",
                ))
            });
            let _ = sender.send(Finished {
                reply_to,
                started,
                result,
            });
        };
        // At home too: a reactor that ends must not forget to abort the task.
        self.server.tasks.spawn_on(watch, home);
    }

    fn write(&mut self) -> io::Result<()> {
        while self.output.has_remaining() {
            let Some(len) = self.socket.write(&self.output)? else {
                break;
            };
            self.output.advance(len);
            self.stuck_since = None;
            let sent = &self.server.metrics.sent_bytes;
            sent.fetch_add(len as u64, Ordering::Relaxed);
        }
        if !self.output.is_empty() {
            self.stuck_since.get_or_insert_with(Instant::now);
        } else if self.output.capacity() > KEPT_OUTPUT_LEN {
            self.output = BytesMut::new();
        }
        Ok(())
    }

    /// Looks after the connection's time limits.
    ///
    /// Errors: a limit is passed; the connection is to be dropped.
    pub(crate) fn check(&self, now: Instant) -> io::Result<()> {
        let options = &self.server.options;
        let timed_out = |what| Err(io::Error::new(io::ErrorKind::TimedOut, what));
        let since = |then| now.saturating_duration_since(then);
        if !self.session.is_open() && since(self.accepted) >= options.handshake_timeout {
            return timed_out("handshake took too long");
        }
        if self
            .stuck_since
            .is_some_and(|then| since(then) >= options.unsent_timeout)
        {
            return timed_out("peer does not read its responses");
        }
        let is_idle = self.in_flight() == 0 && since(self.last_received) >= options.max_idle;
        let open = self.server.metrics.open_connections.load(Ordering::Relaxed);
        if is_idle && usize::try_from(open).unwrap_or(0) > options.idle_threshold {
            return timed_out("idle among many connections");
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let in_flight = self.in_flight() as i64;
        let count = &self.server.metrics.calls_in_flight;
        count.fetch_sub(in_flight, Ordering::Relaxed);
    }
}
