//! A NameNode that answers by script, with a retry cache that it may share with another one, as an HA pair does.

use bytes::Bytes;
use hadron_net::{CallContext, Reply, RpcProtocol, RpcServer, RpcServerOptions};
use hadron_proto::common::HaServiceStateProto as HaState;
use hadron_proto::hdfs as proto;
use hadron_proto::protocol::CLIENT_PROTOCOL;
use hadron_types::{CallId, ClientId, ErrorKind, HadoopError};
use parking_lot::Mutex;
use prost::Message;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// One answer of a script; without one a call runs.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Refuse(ErrorKind),
    /// Takes the call and is never heard of again.
    Hang,
    /// Runs the call and is killed before it answers.
    RunAndDie,
}

/// A call as it arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) client_id: Option<ClientId>,
    pub(crate) call_id: CallId,
    pub(crate) retry_count: i32,
}

/// What the two NameNodes of a pair both know.
#[derive(Default)]
pub(crate) struct Namespace {
    pub(crate) deletions: usize,
    answered: HashMap<(ClientId, CallId), Bytes>,
}

struct Script {
    name: &'static str,
    state: Mutex<HaState>,
    answers: Mutex<VecDeque<(&'static str, Answer)>>,
    calls: Mutex<Vec<Seen>>,
    namespace: Arc<Mutex<Namespace>>,
    /// Whether `msync` is known here.
    knows_msync: Mutex<bool>,
    die: Arc<Notify>,
}

pub(crate) struct NameNode {
    script: Arc<Script>,
    addr: std::net::SocketAddr,
    /// Locked while it ends, so that whoever wants its port waits for that.
    server: Arc<tokio::sync::Mutex<Option<RpcServer>>>,
    _executioner: AbortOnDropHandle<()>,
}

impl NameNode {
    pub(crate) async fn start(name: &'static str, state: HaState, namespace: &Arc<Mutex<Namespace>>) -> Self {
        let die = Arc::new(Notify::new());
        let script = Arc::new(Script {
            name,
            state: Mutex::new(state),
            answers: Mutex::default(),
            calls: Mutex::default(),
            namespace: Arc::clone(namespace),
            knows_msync: Mutex::new(true),
            die: Arc::clone(&die),
        });
        let server = bind("127.0.0.1:0".parse().unwrap(), &script).await;
        let addr = server.local_addr();
        let server = Arc::new(tokio::sync::Mutex::new(Some(server)));
        let held = Arc::clone(&server);
        let executioner = tokio::spawn(async move {
            loop {
                die.notified().await;
                end(&held).await;
            }
        });
        Self {
            script,
            addr,
            server,
            _executioner: AbortOnDropHandle::new(executioner),
        }
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    pub(crate) fn become_(&self, state: HaState) {
        *self.script.state.lock() = state;
    }

    pub(crate) fn forget_msync(&self) {
        *self.script.knows_msync.lock() = false;
    }

    /// The next call of `method` gets `answer`; one after the other when given several.
    pub(crate) fn script(&self, method: &'static str, answer: Answer) {
        self.script.answers.lock().push_back((method, answer));
    }

    pub(crate) async fn stop(&self) {
        end(&self.server).await;
    }

    /// Listens again on the old port.
    pub(crate) async fn restart(&self) {
        *self.server.lock().await = Some(bind(self.addr, &self.script).await);
    }

    pub(crate) fn calls(&self) -> Vec<Seen> {
        self.script.calls.lock().clone()
    }

    /// Methods called so far, in order; forgets them.
    pub(crate) fn take_methods(&self) -> Vec<String> {
        let calls = std::mem::take(&mut *self.script.calls.lock());
        calls.into_iter().map(|seen| seen.method).collect()
    }
}

async fn end(server: &tokio::sync::Mutex<Option<RpcServer>>) {
    let mut server = server.lock().await;
    if let Some(server) = server.take() {
        server.shutdown().await;
    }
}

async fn bind(addr: std::net::SocketAddr, script: &Arc<Script>) -> RpcServer {
    let protocol: Arc<dyn RpcProtocol> = Arc::new(Protocol(Arc::clone(script)));
    RpcServer::bind(addr, RpcServerOptions::default(), vec![protocol])
        .await
        .unwrap()
}

struct Protocol(Arc<Script>);

impl RpcProtocol for Protocol {
    fn name(&self) -> &'static str {
        CLIENT_PROTOCOL
    }

    fn call(&self, context: &CallContext, method: &str, _body: Bytes) -> Option<Reply> {
        let script = &self.0;
        script.calls.lock().push(Seen {
            method: method.to_owned(),
            client_id: context.client_id,
            call_id: context.call_id,
            retry_count: context.retry_count,
        });
        let scripted = {
            let mut answers = script.answers.lock();
            let at = answers.iter().position(|(name, _)| *name == method);
            at.and_then(|at| answers.remove(at)).map(|(_, answer)| answer)
        };
        match scripted {
            Some(Answer::Refuse(kind)) => {
                return Some(Reply::error(HadoopError::new(
                    kind,
                    format!("scripted by {}", script.name),
                )));
            }
            Some(Answer::Hang) => return Some(never()),
            Some(Answer::RunAndDie) => {
                script.run(context, method)?;
                script.die.notify_one();
                return Some(never());
            }
            None => {}
        }
        let state = *script.state.lock();
        let is_read = method.starts_with("get") || method.starts_with("check");
        let allowed = match state {
            HaState::Active => true,
            HaState::Observer => is_read,
            _ => method == "getHAServiceState",
        };
        if !allowed {
            let text = format!("Operation category is not supported in state {}", state.as_str_name());
            return Some(Reply::error(HadoopError::new(ErrorKind::Standby, text)));
        }
        Some(Reply::Ready(Ok(script.run(context, method)?)))
    }
}

fn never() -> Reply {
    Reply::Waiting(Box::pin(std::future::pending()))
}

impl Script {
    /// Runs a call, or answers it from the retry cache.
    fn run(&self, context: &CallContext, method: &str) -> Option<Bytes> {
        let bytes = |message: &dyn Fn() -> Vec<u8>| Bytes::from(message());
        Some(match method {
            "delete" => {
                let mut namespace = self.namespace.lock();
                let key = (context.client_id?, context.call_id);
                if let Some(answer) = namespace.answered.get(&key) {
                    return Some(answer.clone());
                }
                namespace.deletions += 1;
                // There is one file: only the first deletion finds it.
                let result = namespace.deletions == 1;
                let answer = Bytes::from(proto::DeleteResponseProto { result }.encode_to_vec());
                namespace.answered.insert(key, answer.clone());
                answer
            }
            "getFileInfo" => bytes(&|| proto::GetFileInfoResponseProto { fs: None }.encode_to_vec()),
            "msync" if *self.knows_msync.lock() => bytes(&|| proto::MsyncResponseProto {}.encode_to_vec()),
            "getHAServiceState" => {
                let state = *self.state.lock() as i32;
                bytes(&|| proto::HaServiceStateResponseProto { state }.encode_to_vec())
            }
            _ => return None,
        })
    }
}
