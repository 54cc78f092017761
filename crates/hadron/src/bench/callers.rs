//! Connections that each have one call in flight, driven by one thread: the load of `hadron bench nn`.
//!
//! Frames are made and taken apart with as little work as the protocol allows, so that on one machine the server is
//! measured and not its client. What it does not do: retry, SASL, several calls on one connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use hadron_proto::common::{
    IpcConnectionContextProto, RequestHeaderProto, RpcRequestHeaderProto, UserInformationProto,
};
use hadron_proto::protocol::CLIENT_PROTOCOL;
use hadron_wire::rpc::{
    AuthProtocol, DEFAULT_MAX_RESPONSE_LEN, FrameDecoder, Preamble, Response, encode_call, encode_context,
};
use rustix::event::{Timespec, epoll};

use super::figures::Figures;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Events taken at once.
const MAX_EVENTS: usize = 1024;
/// How long one answer may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A method and its encoded request.
pub(super) type Request = (&'static str, Vec<u8>);

/// The connections.
pub(super) struct Callers {
    connections: Vec<Connection>,
    events: OwnedFd,
}

struct Connection {
    stream: TcpStream,
    frames: FrameDecoder,
    client_id: Bytes,
    call_id: i32,
    output: BytesMut,
    /// Number of the operation under way, and which of its calls.
    operation: Option<(u64, usize)>,
    started: Instant,
}

impl Callers {
    /// Connects `count` times to `addr` as `user`.
    pub(super) fn connect(addr: SocketAddr, count: u32, user: &str) -> Result<Self> {
        let events = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for number in 0..count {
            let connection = Connection::open(addr, number, user).with_context(|| format!("connect to {addr}"))?;
            let key = epoll::EventData::new_u64(u64::from(number));
            epoll::add(&events, connection.stream.as_fd(), key, epoll::EventFlags::IN)?;
            connections.push(connection);
        }
        Ok(Self { connections, events })
    }

    /// Makes the calls of operations 0 to `count`: `call(operation, index)` gives one after the other until `None`.
    ///
    /// Errors: a connection broke. An exception of the server only ends its operation and is counted.
    pub(super) fn run(&mut self, count: u64, mut call: impl FnMut(u64, usize) -> Option<Request>) -> Result<Figures> {
        let mut figures = Figures::default();
        let mut next = 0..count;
        let mut busy = 0;
        for connection in &mut self.connections {
            busy += usize::from(connection.begin(&mut next, &mut call)?);
        }
        let mut ready = Vec::with_capacity(MAX_EVENTS);
        let timeout = Timespec::try_from(CALL_TIMEOUT)?;
        while busy > 0 {
            ready.clear();
            epoll::wait(&self.events, rustix::buffer::spare_capacity(&mut ready), Some(&timeout))?;
            if ready.is_empty() {
                bail!("no answer within {} s; is the NameNode alive?", CALL_TIMEOUT.as_secs());
            }
            for event in &ready {
                let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                let Some(connection) = self.connections.get_mut(index) else {
                    continue;
                };
                if connection.take(&mut figures, &mut call)? && !connection.begin(&mut next, &mut call)? {
                    busy -= 1;
                }
            }
        }
        Ok(figures)
    }
}

impl Connection {
    fn open(addr: SocketAddr, number: u32, user: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        let mut id = [0; 16];
        id[..4].copy_from_slice(&std::process::id().to_be_bytes());
        id[4..8].copy_from_slice(&number.to_be_bytes());
        let client_id = Bytes::copy_from_slice(&id);
        let context = IpcConnectionContextProto {
            user_info: Some(UserInformationProto {
                effective_user: Some(user.to_owned()),
                real_user: None,
            }),
            protocol: Some(CLIENT_PROTOCOL.to_owned()),
        };
        let preamble = Preamble {
            service_class: 0,
            auth: AuthProtocol::None,
        };
        let mut output = BytesMut::from(&preamble.encode()[..]);
        encode_context(&mut output, &client_id, &context);
        stream.write_all(&output)?;
        stream.set_nonblocking(true)?;
        output.clear();
        Ok(Self {
            stream,
            frames: FrameDecoder::new(DEFAULT_MAX_RESPONSE_LEN),
            client_id,
            call_id: -1,
            output,
            operation: None,
            started: Instant::now(),
        })
    }

    /// Begins the next operation; false when there is none left.
    fn begin(
        &mut self,
        next: &mut std::ops::Range<u64>,
        call: &mut impl FnMut(u64, usize) -> Option<Request>,
    ) -> Result<bool> {
        for number in next {
            if let Some(request) = call(number, 0) {
                self.operation = Some((number, 0));
                self.started = Instant::now();
                self.send(&request)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn send(&mut self, (method, message): &Request) -> Result<()> {
        self.call_id = self.call_id.checked_add(1).unwrap_or(0);
        let header = RpcRequestHeaderProto {
            call_id: self.call_id,
            client_id: self.client_id.clone(),
            retry_count: Some(0),
            ..Default::default()
        };
        let target = RequestHeaderProto {
            method_name: (*method).to_owned(),
            declaring_class_protocol_name: CLIENT_PROTOCOL.to_owned(),
            client_protocol_version: 1,
        };
        encode_call(&mut self.output, header, &target, message);
        // One small frame on an idle connection: the socket has room for it.
        self.stream.write_all(&self.output).context("send a call")?;
        self.output.clear();
        Ok(())
    }

    /// Reads what came, and goes on with the operation. True when it ended.
    fn take(&mut self, figures: &mut Figures, call: &mut impl FnMut(u64, usize) -> Option<Request>) -> Result<bool> {
        let mut bytes = [0; READ_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => bail!("the NameNode closed a connection"),
            Ok(len) => self.frames.push(&bytes[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("read an answer"),
        }
        let Some(frame) = self.frames.next_frame()? else {
            return Ok(false);
        };
        let answer = Response::decode(frame)?;
        let Some((number, index)) = self.operation.filter(|_| answer.call_id == self.call_id) else {
            bail!(
                "an answer to call {} came while call {} was waited for",
                answer.call_id,
                self.call_id
            );
        };
        if let Err(fault) = answer.outcome {
            figures.fail(fault.error);
        } else if let Some(request) = call(number, index + 1) {
            self.operation = Some((number, index + 1));
            self.send(&request)?;
            return Ok(false);
        } else {
            figures.add(self.started.elapsed());
        }
        self.operation = None;
        Ok(true)
    }
}
