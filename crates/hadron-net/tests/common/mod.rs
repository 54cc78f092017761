//! A test protocol and a client that speaks bytes.
#![allow(dead_code, unreachable_pub, missing_docs)]

use bytes::{Buf, Bytes, BytesMut};
use hadron_net::{CallContext, Reply, RpcProtocol, RpcServer, RpcServerOptions};
use hadron_proto::common::rpc_response_header_proto::{RpcErrorCodeProto, RpcStatusProto};
use hadron_proto::common::rpc_sasl_proto::{SaslAuth, SaslState};
use hadron_proto::common::{
    IpcConnectionContextProto, RequestHeaderProto, RpcRequestHeaderProto, RpcResponseHeaderProto, RpcSaslProto,
    UserInformationProto,
};
use hadron_types::{ErrorKind, HadoopError};
use parking_lot::Mutex;
use prost::Message;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

pub const CLIENT_ID: [u8; 16] = *b"0123456789abcdef";
/// Nothing in these tests takes longer unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Answers with its argument: at once, when released, or with an error. The argument is raw bytes, not a message.
#[derive(Default)]
pub struct Echo {
    held: Arc<Mutex<HashMap<Bytes, oneshot::Sender<()>>>>,
}

impl Echo {
    fn hold(&self, key: &Bytes) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.held.lock().insert(key.clone(), sender);
        receiver
    }
}

impl RpcProtocol for Echo {
    fn name(&self) -> &'static str {
        "test.Echo"
    }
    fn methods(&self) -> &'static [&'static str] {
        &["echo", "fail"]
    }
    fn call(&self, context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        let missing = |body: &Bytes| HadoopError::new(ErrorKind::FileNotFound, String::from_utf8_lossy(body));
        Some(match method {
            "echo" => Reply::Ready(Ok(body)),
            "big" => Reply::Ready(Ok(Bytes::from(vec![0; 32 << 10]))),
            "fail" => Reply::error(missing(&body)),
            "failLater" => Reply::Later(Box::pin(async move { Err(missing(&body)) })),
            "panicAtOnce" => panic!("asked to"),
            "panic" => Reply::Later(Box::pin(async move { panic!("asked to") })),
            "user" => {
                let user = &context.user;
                let text = match &user.real_user {
                    Some(real) => format!("{} via {real}", user.user),
                    None => user.user.to_string(),
                };
                Reply::Ready(Ok(text.into()))
            }
            "alone" => Reply::Ready(Ok(is_alone())),
            "aloneWaiting" => Reply::Waiting(Box::pin(async { Ok(is_alone()) })),
            "aloneLater" => Reply::Later(Box::pin(async { Ok(is_alone()) })),
            "hold" | "waiting" => {
                let released = self.hold(&body);
                let future = Box::pin(async move {
                    let _ = released.await;
                    Ok(body)
                });
                if method == "hold" {
                    Reply::Later(future)
                } else {
                    Reply::Waiting(future)
                }
            }
            "release" => {
                let held = Arc::clone(&self.held);
                Reply::Later(Box::pin(async move {
                    // The other connection's call may still be on its way here.
                    let sender = loop {
                        if let Some(sender) = held.lock().remove(&body) {
                            break sender;
                        }
                        tokio::task::yield_now().await;
                    };
                    let key = body.clone();
                    tokio::spawn(async move {
                        tokio::task::yield_now().await;
                        drop(key);
                        let _ = sender.send(());
                    });
                    Ok(body)
                }))
            }
            _ => return None,
        })
    }
}

/// What a call says of its thread.
fn is_alone() -> Bytes {
    Bytes::from(if hadron_net::is_alone() { "alone" } else { "not alone" })
}

pub fn options() -> RpcServerOptions {
    RpcServerOptions::default()
}

pub async fn start() -> RpcServer {
    start_with(options()).await
}

pub async fn start_with(options: RpcServerOptions) -> RpcServer {
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    RpcServer::bind(addr, options, vec![Arc::new(Echo::default())])
        .await
        .expect("bind")
}

/// Polls until `condition` holds.
pub async fn eventually(condition: impl Fn() -> bool) {
    tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("condition never held");
}

pub fn preamble(auth: u8) -> Vec<u8> {
    vec![b'h', b'r', b'p', b'c', 9, 0, auth]
}

pub fn header(call_id: i32) -> RpcRequestHeaderProto {
    RpcRequestHeaderProto {
        rpc_kind: Some(2),
        rpc_op: Some(0),
        call_id,
        client_id: Bytes::from_static(&CLIENT_ID),
        retry_count: Some(0),
        ..RpcRequestHeaderProto::default()
    }
}

pub fn frame(header: &RpcRequestHeaderProto, messages: &[&[u8]]) -> Vec<u8> {
    let mut body = header.encode_length_delimited_to_vec();
    for message in messages {
        prost::encoding::encode_varint(message.len() as u64, &mut body);
        body.extend_from_slice(message);
    }
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

pub fn context(user: &str, real: Option<&str>) -> Vec<u8> {
    let context = IpcConnectionContextProto {
        user_info: Some(UserInformationProto {
            effective_user: Some(user.to_owned()),
            real_user: real.map(str::to_owned),
        }),
        protocol: Some("test.Echo".to_owned()),
    };
    frame(&header(-3), &[&context.encode_to_vec()])
}

pub fn ping() -> Vec<u8> {
    frame(&header(-4), &[])
}

pub fn sasl(state: SaslState, auths: Vec<SaslAuth>) -> Vec<u8> {
    let message = RpcSaslProto {
        state: state as i32,
        auths,
        ..RpcSaslProto::default()
    };
    frame(&header(-33), &[&message.encode_to_vec()])
}

pub fn call_frame(call_id: i32, method: &str, body: &[u8]) -> Vec<u8> {
    call_frame_to("test.Echo", 1, call_id, method, body)
}

pub fn call_frame_to(protocol: &str, version: u64, call_id: i32, method: &str, body: &[u8]) -> Vec<u8> {
    let target = RequestHeaderProto {
        method_name: method.to_owned(),
        declaring_class_protocol_name: protocol.to_owned(),
        client_protocol_version: version,
    };
    frame(&header(call_id), &[&target.encode_to_vec(), body])
}

/// A response frame: its header and the bytes after it, length prefix included.
#[derive(Debug)]
pub struct Frame {
    pub header: RpcResponseHeaderProto,
    pub body: Bytes,
}

impl Frame {
    pub fn check_success(mut self, call_id: i32, body: &[u8]) -> Self {
        assert_eq!(self.header.call_id as i32, call_id, "{self:?}");
        assert_eq!(self.header.status(), RpcStatusProto::Success, "{self:?}");
        let len = prost::encoding::decode_varint(&mut self.body).expect("a length") as usize;
        assert_eq!(len, self.body.len(), "nothing may follow the message");
        assert_eq!(&self.body[..], body);
        self
    }
    pub fn check_error(
        &self,
        call_id: i32,
        status: RpcStatusProto,
        detail: RpcErrorCodeProto,
        class: &str,
        message: &str,
    ) {
        let header = &self.header;
        assert_eq!(header.error_msg(), message);
        assert_eq!(header.exception_class_name(), class);
        assert_eq!((header.status(), header.error_detail()), (status, detail));
        assert_eq!(header.call_id as i32, call_id);
        assert!(self.body.is_empty());
    }
    pub fn check_fatal(&self, call_id: i32, detail: RpcErrorCodeProto, class: &str, message: &str) {
        self.check_error(call_id, RpcStatusProto::Fatal, detail, class, message);
    }
}

pub struct RawClient {
    stream: TcpStream,
    input: BytesMut,
}

impl RawClient {
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("connect");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            input: BytesMut::new(),
        }
    }
    pub async fn open(addr: SocketAddr, user: &str) -> Self {
        let mut client = Self::connect(addr).await;
        client.send(&[preamble(0), context(user, None)].concat()).await;
        client
    }
    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("send");
    }
    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        tokio::time::timeout(PATIENCE, self.stream.write_all(bytes))
            .await
            .expect("send hangs")
    }
    pub async fn call(&mut self, call_id: i32, method: &str, body: &[u8]) {
        self.send(&call_frame(call_id, method, body)).await;
    }
    /// Two answers, by the numbers of their calls: who releases a call and who is released answer from two threads.
    pub async fn two_frames(&mut self) -> [Frame; 2] {
        let mut answers = [self.frame().await, self.frame().await].map(|frame| frame.expect("an answer"));
        answers.sort_unstable_by_key(|answer| answer.header.call_id);
        answers
    }
    /// The next response; `None` when the server closed the connection.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(prefix) = self.input.first_chunk::<4>() {
                let len = u32::from_be_bytes(*prefix) as usize;
                if self.input.len() >= 4 + len {
                    self.input.advance(4);
                    let mut body = self.input.split_to(len).freeze();
                    let header = RpcResponseHeaderProto::decode_length_delimited(&mut body).expect("a header");
                    return Some(Frame { header, body });
                }
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input))
                .await
                .expect("read hangs");
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = self.stream.read_to_end(&mut bytes);
        let _ = tokio::time::timeout(PATIENCE, read).await.expect("read hangs");
        bytes
    }
}
