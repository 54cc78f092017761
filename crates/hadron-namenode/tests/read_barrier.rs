//! Every read of the namespace waits for the log's barrier, on a log whose barrier opens when the test says so.

use hadron_blockmap::BlockMap;
use hadron_env::config::Environment;
use hadron_env::{Configuration, ManualClock};
use hadron_journal::{CommandLog, Health, LogError, Pending};
use hadron_namenode::groups::Groups;
use hadron_namenode::{Callers, ClientProtocol, Env, Settings, Shared, State};
use hadron_namespace::{Command, Identity, Namespace, Outcome};
use hadron_net::{CallContext, Reply, RpcProtocol, UserIdentity};
use hadron_proto::hdfs::{
    GetContentSummaryRequestProto, GetFileInfoRequestProto, GetFileInfoResponseProto, ListOpenFilesRequestProto,
};
use hadron_types::{CallId, LogIndex, TimeMs};
use parking_lot::Mutex;
use prost::Message;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{oneshot, watch};

type Gate = oneshot::Sender<Result<(), LogError>>;

#[derive(Default)]
struct GatedLog {
    gates: Mutex<Vec<Gate>>,
    health: watch::Sender<Health>,
}

impl CommandLog<State> for GatedLog {
    fn propose(&self, _: Command) -> Pending<Outcome> {
        Pending::ready(Err(LogError::Closed))
    }
    fn read_barrier(&self) -> Pending<()> {
        let (gate, opened) = oneshot::channel();
        self.gates.lock().push(gate);
        Pending::waiting(opened)
    }
    fn last_applied(&self) -> LogIndex {
        LogIndex(0)
    }
    fn checkpoint(&self) -> Pending<LogIndex> {
        Pending::ready(Err(LogError::Closed))
    }
    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }
    fn shutdown(&self) -> Pending<()> {
        Pending::ready(Ok(()))
    }
}

fn protocol(log: &Arc<GatedLog>) -> ClientProtocol {
    let environment = Environment::fixed(&[("user.name", "hdfs"), ("user.home", "/nowhere")], &[]);
    let settings = Settings::from_configuration(&Configuration::with_environment(environment));
    let identity = Identity {
        namespace_id: 1,
        cluster_id: "CID-test".to_owned(),
        block_pool: "BP-test".into(),
        created: TimeMs(1),
    };
    let clock = Arc::new(ManualClock::default());
    let namespace = Namespace::new(identity, "hdfs", "supergroup", TimeMs(1));
    let blocks = BlockMap::new(settings.blocks.clone());
    let state = State::new(namespace, blocks, clock.clone(), Env::system().random);
    let groups = Groups::new(Box::new(|_| None), clock, "hdfs=hdfs");
    let callers = Callers::new(groups, &settings);
    ClientProtocol::new(Arc::new(Shared::new(
        Arc::new(state),
        settings,
        callers,
        Arc::clone(log) as Arc<dyn CommandLog<State>>,
    )))
}

fn context() -> CallContext {
    CallContext {
        user: Arc::new(UserIdentity::simple("hdfs")),
        peer: [127, 0, 0, 1].into(),
        peer_port: 1,
        client_id: None,
        call_id: CallId(1),
        retry_count: 0,
        caller_context: None,
        protocol: hadron_proto::protocol::CLIENT_PROTOCOL,
        received: Instant::now(),
    }
}

#[tokio::test]
async fn reads_wait_for_the_barrier() {
    let log = Arc::new(GatedLog::default());
    let protocol = protocol(&log);
    let root = || "/".to_owned();
    let status = GetFileInfoRequestProto { src: root() }.encode_to_vec();
    let summary = GetContentSummaryRequestProto { path: root() }.encode_to_vec();
    let open = ListOpenFilesRequestProto::default().encode_to_vec();
    for (method, body) in [
        ("getFileInfo", status.clone()),
        ("getContentSummary", summary),
        ("listOpenFiles", open),
    ] {
        let reply = protocol.call(&context(), method, body.into()).expect(method);
        let (Reply::Later(mut answer) | Reply::Waiting(mut answer)) = reply else {
            panic!("{method} was answered before the barrier opened");
        };
        assert!(futures::poll!(&mut answer).is_pending(), "{method}");
        let gate = log.gates.lock().pop().expect("the read asks for the barrier");
        assert!(log.gates.lock().is_empty(), "{method} asks once");
        gate.send(Ok(())).expect("the read waits");
        answer.await.expect(method);
    }
    let reply = protocol.call(&context(), "getFileInfo", status.into());
    let Some(Reply::Waiting(answer)) = reply else {
        panic!("getFileInfo waits");
    };
    log.gates.lock().clear();
    let refused = answer.await.map(GetFileInfoResponseProto::decode);
    assert_eq!(refused.expect_err("a log that closes").message, "journal is closed");
}
