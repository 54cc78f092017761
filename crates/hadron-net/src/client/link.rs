//! The connection behind a client: pending calls, the output that waits for the socket, and the task that reads.

use super::frames::{append_call, append_context, append_hello, append_ping};
use super::{RpcClientOptions, RpcError, sasl};
use bytes::{Buf, Bytes, BytesMut};
use hadron_types::{CallId, HadoopError};
use hadron_wire::rpc::{FrameDecoder, Response, RpcFault};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

/// Most calls in flight on one connection; more wait their turn.
const MAX_CALLS_IN_FLIGHT: usize = 4096;

type Answer = Result<Bytes, RpcError>;

/// A connection shared by callers and its task.
pub(crate) struct Link {
    addr: SocketAddr,
    options: RpcClientOptions,
    stream: TcpStream,
    state: Mutex<State>,
    /// Tells the task that there is output the socket did not take.
    has_output: Notify,
    places: Semaphore,
}

struct State {
    pending: HashMap<i32, oneshot::Sender<Answer>>,
    output: BytesMut,
    /// Set once, when the connection is over.
    failure: Option<Failure>,
    last_traffic: Instant,
}

/// Why the connection is over, to be told to every call.
#[derive(Clone)]
enum Failure {
    Closed,
    Io(Arc<io::Error>),
    Refused(HadoopError),
    Malformed(String),
}

/// Owner of a [`Link`]: stops its task when dropped.
pub(crate) struct LinkHandle {
    link: Arc<Link>,
    stop: CancellationToken,
}

impl Drop for LinkHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Takes a call's place among the pending ones back when its caller stops waiting.
struct PendingGuard<'a> {
    link: &'a Link,
    call_id: i32,
}

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        self.link.state.lock().pending.remove(&self.call_id);
    }
}

impl Link {
    pub(crate) async fn connect(addr: SocketAddr, options: RpcClientOptions) -> Result<LinkHandle, RpcError> {
        let after = options.connect_timeout;
        let connected = tokio::time::timeout(after, TcpStream::connect(addr)).await;
        let mut stream = connected
            .map_err(|_| RpcError::TimedOut { addr, after })?
            .map_err(|error| io_error(addr, Arc::new(error)))?;
        let _ = stream.set_nodelay(true);
        let mut output = BytesMut::new();
        match options.token.as_ref().filter(|token| !token.identifier.is_empty()) {
            None => append_hello(&mut output, &options),
            Some(token) => {
                let opening = tokio::time::timeout(after, sasl::open(&mut stream, addr, token)).await;
                let opened = opening.map_err(|_| RpcError::TimedOut { addr, after })??;
                append_context(&mut output, &options, opened == sasl::Opened::Simple);
            }
        }
        let link = Arc::new(Self {
            addr,
            options,
            stream,
            state: Mutex::new(State {
                pending: HashMap::new(),
                output,
                failure: None,
                last_traffic: Instant::now(),
            }),
            has_output: Notify::new(),
            places: Semaphore::new(MAX_CALLS_IN_FLIGHT),
        });
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&link).run(stop.clone()));
        Ok(LinkHandle { link, stop })
    }

    /// Serves the connection until it fails or the last handle is gone.
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let failure = tokio::select! {
            () = stop.cancelled() => Failure::Closed,
            failure = self.serve() => failure,
        };
        let pending = {
            let mut state = self.state.lock();
            state.failure = Some(failure.clone());
            state.output = BytesMut::new();
            std::mem::take(&mut state.pending)
        };
        for (_, sender) in pending {
            let _ = sender.send(Err(self.error_of(&failure)));
        }
        // The socket closes with the last reference; peers see the end at once only if we say so.
        let _ = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Both);
    }

    async fn serve(&self) -> Failure {
        let mut input = FrameDecoder::new(self.options.max_response_len);
        loop {
            let has_output = match self.write_some() {
                Ok(has_output) => has_output,
                Err(error) => return Failure::Io(Arc::new(error)),
            };
            tokio::select! {
                ready = self.stream.readable() => {
                    if let Err(failure) = ready.map_err(into_failure).and_then(|()| self.read_some(&mut input)) {
                        return failure;
                    }
                }
                ready = self.stream.writable(), if has_output => {
                    if let Err(error) = ready {
                        return into_failure(error);
                    }
                }
                () = self.has_output.notified() => {}
                () = tokio::time::sleep(self.until_ping()) => self.ping_if_due(),
            }
        }
    }

    /// Writes what is queued. Returns whether something is left.
    fn write_some(&self) -> io::Result<bool> {
        let mut state = self.state.lock();
        while state.output.has_remaining() {
            match self.stream.try_write(&state.output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => state.output.advance(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn read_some(&self, input: &mut FrameDecoder) -> Result<(), Failure> {
        match self.stream.try_read_buf(input.read_buffer()) {
            Ok(0) => return Err(Failure::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(into_failure(error)),
        }
        self.state.lock().last_traffic = Instant::now();
        let malformed = |error: hadron_wire::WireError| Failure::Malformed(error.to_string());
        while let Some(frame) = input.next_frame().map_err(malformed)? {
            let response = Response::decode(frame).map_err(malformed)?;
            if let (Some(seen), Some(state_id)) = (&self.options.state_id, response.header.state_id) {
                seen.advance(state_id);
            }
            match response.outcome {
                Ok(body) => self.answer(response.call_id, Ok(body)),
                Err(RpcFault { fatal: true, error, .. }) => return Err(Failure::Refused(error)),
                Err(fault) => self.answer(response.call_id, Err(RpcError::Remote(fault.error))),
            }
        }
        Ok(())
    }

    /// Hands an answer to its caller, if it still waits.
    fn answer(&self, call_id: i32, answer: Answer) {
        let sender = self.state.lock().pending.remove(&call_id);
        if let Some(sender) = sender {
            let _ = sender.send(answer);
        }
    }

    fn until_ping(&self) -> Duration {
        self.options
            .ping_interval
            .saturating_sub(self.state.lock().last_traffic.elapsed())
            .max(Duration::from_millis(1))
    }

    fn ping_if_due(&self) {
        let mut state = self.state.lock();
        if state.last_traffic.elapsed() < self.options.ping_interval {
            return;
        }
        state.last_traffic = Instant::now();
        if !state.pending.is_empty() {
            append_ping(&mut state.output, &self.options);
        }
    }

    fn error_of(&self, failure: &Failure) -> RpcError {
        let addr = self.addr;
        match failure {
            Failure::Closed => RpcError::Closed { addr },
            Failure::Io(error) => io_error(addr, Arc::clone(error)),
            Failure::Refused(error) => RpcError::Refused {
                addr,
                error: error.clone(),
            },
            Failure::Malformed(reason) => RpcError::Malformed {
                addr,
                reason: reason.clone(),
            },
        }
    }
}

impl LinkHandle {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.link.addr
    }

    pub(crate) fn options(&self) -> &RpcClientOptions {
        &self.link.options
    }

    pub(crate) fn is_open(&self) -> bool {
        self.link.state.lock().failure.is_none()
    }

    /// Sends a call and waits for its answer, at most `call_timeout`.
    pub(crate) async fn call(
        &self,
        target: (&str, u64),
        call_id: CallId,
        retry_count: i32,
        method: &str,
        request: &impl prost::Message,
    ) -> Answer {
        let waited = self.send_and_wait(target, call_id.0, retry_count, method, request);
        match self.link.options.call_timeout {
            None => waited.await,
            Some(after) => match tokio::time::timeout(after, waited).await {
                Ok(answer) => answer,
                Err(_) => Err(RpcError::TimedOut {
                    addr: self.link.addr,
                    after,
                }),
            },
        }
    }

    async fn send_and_wait(
        &self,
        target: (&str, u64),
        call_id: i32,
        retry_count: i32,
        method: &str,
        request: &impl prost::Message,
    ) -> Answer {
        let link = &*self.link;
        let closed = || RpcError::Closed { addr: link.addr };
        let _place = link.places.acquire().await.map_err(|_| closed())?;
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = link.state.lock();
            if let Some(failure) = &state.failure {
                return Err(link.error_of(failure));
            }
            state.pending.insert(call_id, sender);
            append_call(
                &mut state.output,
                &link.options,
                target,
                call_id,
                retry_count,
                method,
                request,
            );
        }
        let _guard = PendingGuard { link, call_id };
        // Whoever has output writes it; only what the socket does not take is left to the task. An error of the
        // socket is the task's to find: it fails all calls alike.
        if !matches!(link.write_some(), Ok(false)) {
            link.has_output.notify_one();
        }
        receiver.await.unwrap_or_else(|_| Err(closed()))
    }
}

fn io_error(addr: SocketAddr, error: Arc<io::Error>) -> RpcError {
    RpcError::Io { addr, error }
}

fn into_failure(error: io::Error) -> Failure {
    Failure::Io(Arc::new(error))
}
