//! One connection's task: reads, lets the [`Session`] make requests of the bytes, runs them, writes the answers.
//!
//! It is a hand-written state machine around `poll`: everything that is ready is done in one turn, so that all
//! answers to one read leave in one write. At a limit (calls in flight, unsent bytes) it stops reading; the peer then
//! meets TCP's back-pressure. Answers of [`Reply::Later`] and [`Reply::Waiting`] leave when they come, in any order.
//! Invariant: a call counts in `calls_in_flight` from its dispatch until its answer is in `output`.

use super::ServerRef;
use super::admission::Admission;
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
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::time::Sleep;

/// A drained output buffer larger than this is given back.
const KEPT_OUTPUT_LEN: usize = 64 << 10;

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
    /// When to look whether the connection makes progress, is idle, or still shakes hands.
    check: Pin<Box<Sleep>>,
    /// Whether `check` was polled since it was set, and had not come.
    is_check_set: bool,
    accepted: Instant,
    last_received: Instant,
    /// Since when the peer has not taken any of the output; `None` when all of it went out.
    stuck_since: Option<Instant>,
    /// No more input: the peer closed or the session ended. Answers still owed are sent.
    is_input_closed: bool,
    /// The answers at hand have waited for the neighbours' turn.
    is_deferred: bool,
    place: Place,
    _admission: Admission,
}

impl Connection {
    pub(crate) fn new(server: ServerRef, socket: Socket, peer: SocketAddr, admission: Admission, place: Place) -> Self {
        let (finished_sender, finished) = mpsc::unbounded_channel();
        let now = Instant::now();
        Self {
            session: Session::new(peer.ip().to_canonical(), server.options.max_frame_len),
            check: Box::pin(tokio::time::sleep(server.options.handshake_timeout)),
            is_check_set: false,
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
            is_deferred: false,
            place,
            _admission: admission,
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) {
        let server = Arc::clone(&self.server);
        let ends_with_server = self.place.ends_with_server();
        let serve = poll_fn(|cx| self.poll(cx));
        let served = if ends_with_server {
            serve.await
        } else {
            tokio::select! {
                biased;
                () = server.stop.cancelled() => Ok(()),
                served = serve => served,
            }
        };
        if let Err(error) = served {
            tracing::debug!(server = server.options.name, peer = %self.peer, %error, "connection ends");
        }
    }

    fn in_flight(&self) -> usize {
        self.waiting.len() + self.spawned_count
    }

    fn may_take_requests(&self) -> bool {
        let options = &self.server.options;
        self.in_flight() < options.max_calls_in_flight && self.output.len() < options.max_unsent_bytes
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.poll_finished(cx);
            let mut is_progressing = self.take_requests(None);
            if self.poll_read(cx)? {
                is_progressing = true;
                self.take_requests(Some(self.last_received));
            }
            is_progressing |= self.poll_authorization(cx);
            if self.defers_answers(cx) {
                return Poll::Pending;
            }
            let was_at_limit = !self.may_take_requests();
            self.poll_write(cx)?;
            // What the limit held back has nobody else to wake it.
            is_progressing |= was_at_limit && self.may_take_requests();
            let is_idle = self.output.is_empty() && self.in_flight() == 0 && self.authorizing.is_none();
            if is_idle && (self.session.is_closed() || (self.is_input_closed && !is_progressing)) {
                return Poll::Ready(Ok(()));
            }
            if !is_progressing && self.poll_check(cx)?.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Lets the thread's other connections take their requests before these answers leave, once: answers that leave
    /// together wake a peer with many connections once, and waking it costs more than a stat.
    fn defers_answers(&mut self, cx: &Context<'_>) -> bool {
        if self.is_deferred || self.output.is_empty() || self.session.is_closed() || !self.place.has_neighbours() {
            self.is_deferred = false;
            return false;
        }
        self.is_deferred = true;
        cx.waker().wake_by_ref();
        true
    }

    fn poll_finished(&mut self, cx: &mut Context<'_>) {
        // Polling registers this task anew, which is only worth it while there is something to wait for.
        while !self.waiting.is_empty()
            && let Poll::Ready(Some(finished)) = self.waiting.poll_next_unpin(cx)
        {
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
    fn poll_read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        // While the identity is not settled nothing more is taken in.
        let is_held = self.authorizing.is_some() || !self.may_take_requests();
        if self.is_input_closed || self.session.is_closed() || is_held {
            return Ok(false);
        }
        match self.socket.poll_read(cx, |bytes| self.session.push(bytes))? {
            Poll::Pending => Ok(false),
            Poll::Ready(0) => {
                self.is_input_closed = true;
                Ok(true)
            }
            Poll::Ready(len) => {
                self.last_received = Instant::now();
                let received = &self.server.metrics.received_bytes;
                received.fetch_add(len as u64, Ordering::Relaxed);
                Ok(true)
            }
        }
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
        match dispatch::dispatch(&self.server, index, &context, method, request.message) {
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

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.output.has_remaining() {
            let Poll::Ready(len) = self.socket.poll_write(cx, &self.output)? else {
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

    /// Looks after the connection's time limits. Ready: the timer was set anew and must be polled again.
    ///
    /// Errors: a limit is passed; the connection is to be dropped.
    fn poll_check(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        // Once polled, the timer knows this task until it fires.
        if self.is_check_set && !self.check.is_elapsed() {
            return Ok(Poll::Pending);
        }
        self.is_check_set = self.check.as_mut().poll(cx).is_pending();
        if self.is_check_set {
            return Ok(Poll::Pending);
        }
        let options = &self.server.options;
        let timed_out = |what| Err(io::Error::new(io::ErrorKind::TimedOut, what));
        if !self.session.is_open() && self.accepted.elapsed() >= options.handshake_timeout {
            return timed_out("handshake took too long");
        }
        if self
            .stuck_since
            .is_some_and(|since| since.elapsed() >= options.unsent_timeout)
        {
            return timed_out("peer does not read its responses");
        }
        let is_idle = self.in_flight() == 0 && self.last_received.elapsed() >= options.max_idle;
        let open = self.server.metrics.open_connections.load(Ordering::Relaxed);
        if is_idle && usize::try_from(open).unwrap_or(0) > options.idle_threshold {
            return timed_out("idle among many connections");
        }
        let next = if self.session.is_open() {
            options.max_idle
        } else {
            options.handshake_timeout
        };
        self.check.as_mut().reset(tokio::time::Instant::now() + next);
        Ok(Poll::Ready(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let in_flight = self.in_flight() as i64;
        let count = &self.server.metrics.calls_in_flight;
        count.fetch_sub(in_flight, Ordering::Relaxed);
    }
}
