//! The client before two or three NameNodes of one name service, of which each does as a script says.
#![allow(clippy::unwrap_used)]

mod namenode;

use hadron_client::{FsError, HadronFs};
use hadron_env::Configuration;
use hadron_proto::common::HaServiceStateProto as HaState;
use hadron_types::{ErrorKind, FsPath};
use namenode::{Answer, NameNode, Namespace, Seen};
use parking_lot::Mutex;
use std::sync::Arc;

struct Pair {
    namenodes: Vec<NameNode>,
    namespace: Arc<Mutex<Namespace>>,
    conf: Configuration,
}

impl Pair {
    async fn start(states: &[HaState]) -> Self {
        let namespace = Arc::default();
        let mut conf = Configuration::new();
        conf.set("dfs.nameservices", "ns")
            .set("dfs.ha.namenodes.ns", ["a", "b", "c"][..states.len()].join(","))
            .set("dfs.client.failover.sleep.base.millis", "1")
            .set("dfs.client.failover.sleep.max.millis", "4")
            .set("dfs.client.failover.max.attempts", "6")
            .set("dfs.client.retry.max.attempts", "4")
            .set("ipc.client.connect.retry.interval", "1");
        let mut namenodes = Vec::new();
        for (name, state) in ["a", "b", "c"].into_iter().zip(states) {
            let namenode = NameNode::start(name, *state, &namespace).await;
            conf.set(format!("dfs.namenode.rpc-address.ns.{name}"), namenode.addr());
            namenodes.push(namenode);
        }
        Self {
            namenodes,
            namespace,
            conf,
        }
    }

    fn set(mut self, key: &str, value: &str) -> Self {
        self.conf.set(key, value);
        self
    }

    fn observing(self) -> Self {
        let class = "org.apache.hadoop.hdfs.server.namenode.ha.ObserverReadProxyProvider";
        self.set("dfs.client.failover.proxy.provider.ns", class)
    }

    async fn client(&self) -> HadronFs {
        HadronFs::connect_as(&self.conf, Some("hdfs://ns"), "alice")
            .await
            .unwrap()
    }

    /// How often each NameNode was called.
    fn counts(&self) -> Vec<usize> {
        self.namenodes.iter().map(|namenode| namenode.calls().len()).collect()
    }

    fn take_methods(&self) -> Vec<Vec<String>> {
        self.namenodes.iter().map(NameNode::take_methods).collect()
    }
}

const ACTIVE_FIRST: &[HaState] = &[HaState::Active, HaState::Standby];
const STANDBY_FIRST: &[HaState] = &[HaState::Standby, HaState::Active];

fn path() -> FsPath {
    FsPath::parse("/f").unwrap()
}

/// What marks the tries of one call: one client, one call id, counted from 0.
fn check_tries(tries: &[Seen]) {
    for (number, seen) in tries.iter().enumerate() {
        assert!(seen.client_id.is_some());
        assert_eq!((seen.client_id, seen.call_id), (tries[0].client_id, tries[0].call_id));
        assert_eq!(seen.retry_count, number as i32, "{tries:?}");
    }
}

#[tokio::test]
async fn the_active_is_found_and_remembered() {
    let pair = Pair::start(STANDBY_FIRST).await;
    let fs = pair.client().await;
    for _ in 0..3 {
        assert_eq!(fs.status(&path()).await.unwrap(), None);
    }
    assert_eq!(pair.counts(), [1, 3], "the standby is asked once");
    let tries = [pair.namenodes[0].calls(), pair.namenodes[1].calls()].concat();
    check_tries(&tries[..2]);
    assert_eq!((tries[2].retry_count, tries[3].retry_count), (0, 0));
    assert!(tries[1].call_id != tries[2].call_id, "another call, another id");
}

#[tokio::test]
async fn a_role_change_is_followed_both_ways() {
    let pair = Pair::start(ACTIVE_FIRST).await;
    let fs = pair.client().await;
    for active in [0, 1, 0, 1] {
        pair.namenodes[active].become_(HaState::Active);
        pair.namenodes[1 - active].become_(HaState::Standby);
        fs.status(&path()).await.unwrap();
        pair.take_methods();
        fs.status(&path()).await.unwrap();
        assert_eq!(pair.counts()[active], 1);
    }
}

#[tokio::test]
async fn a_dead_active_is_left_and_its_call_runs_once() {
    // The active deletes, is killed, and cannot answer: the repeated call must be recognised by the other one.
    let pair = Pair::start(ACTIVE_FIRST).await;
    let fs = pair.client().await;
    pair.namenodes[0].script("delete", Answer::RunAndDie);
    pair.namenodes[1].become_(HaState::Active);
    let deleted = fs.delete(&path(), false).await.unwrap();
    assert!(deleted, "the answer is that of the first try");
    assert_eq!(pair.namespace.lock().deletions, 1, "at most once");
    assert_eq!(pair.counts(), [1, 1]);
    check_tries(&[pair.namenodes[0].calls(), pair.namenodes[1].calls()].concat());
    assert!(
        !fs.delete(&path(), false).await.unwrap(),
        "a new call is a new deletion"
    );
    assert_eq!(pair.namespace.lock().deletions, 2);
}

#[tokio::test]
async fn a_single_name_node_that_restarts_recognises_the_call() {
    let pair = Pair::start(&[HaState::Active]).await;
    let url = format!("hdfs://{}", pair.namenodes[0].addr());
    let mut conf = pair.conf.clone();
    conf.set("ipc.client.connect.max.retries", "100000");
    let fs = HadronFs::connect_as(&conf, Some(&url), "alice").await.unwrap();
    pair.namenodes[0].script("delete", Answer::RunAndDie);
    let deleting = tokio::spawn(async move { fs.delete(&path(), false).await });
    while pair.counts() != [1] {
        tokio::task::yield_now().await;
    }
    // The port is free when the dead server's tasks have ended.
    pair.namenodes[0].stop().await;
    pair.namenodes[0].restart().await;
    assert!(deleting.await.unwrap().unwrap());
    assert_eq!(pair.namespace.lock().deletions, 1);
    check_tries(&pair.namenodes[0].calls());
}

#[tokio::test]
async fn a_name_node_that_is_down_is_passed_over() {
    let pair = Pair::start(STANDBY_FIRST).await;
    pair.namenodes[0].stop().await;
    let fs = pair.client().await;
    fs.status(&path()).await.unwrap();
    assert_eq!(pair.counts(), [0, 1]);
    assert_eq!(
        pair.namenodes[1].calls()[0].retry_count,
        1,
        "trying to connect counts as a try"
    );
}

#[tokio::test]
async fn a_name_without_an_address_is_passed_over() {
    let pair = Pair::start(ACTIVE_FIRST)
        .await
        .set("dfs.ha.namenodes.ns", "lost,a")
        .set("dfs.namenode.rpc-address.ns.lost", "no-such-host.invalid:8020");
    let fs = pair.client().await;
    fs.status(&path()).await.unwrap();
    assert_eq!(pair.counts(), [1, 0]);
    // Alone, it is told apart from a host that is down.
    let alone = HadronFs::connect_as(&pair.conf, Some("hdfs://no-such-host.invalid"), "alice").await;
    let text = alone.err().unwrap().to_string();
    assert!(
        text.starts_with("java.net.UnknownHostException: no-such-host.invalid"),
        "{text}"
    );
}

#[tokio::test]
async fn later_means_the_same_name_node_again() {
    let pair = Pair::start(ACTIVE_FIRST).await;
    let fs = pair.client().await;
    for _ in 0..3 {
        pair.namenodes[0].script("getFileInfo", Answer::Refuse(ErrorKind::Retriable));
    }
    fs.status(&path()).await.unwrap();
    assert_eq!(pair.counts(), [4, 0]);
    check_tries(&pair.namenodes[0].calls());
}

#[tokio::test]
async fn later_has_a_limit() {
    let pair = Pair::start(ACTIVE_FIRST).await;
    let fs = pair.client().await;
    for _ in 0..100 {
        pair.namenodes[0].script("getFileInfo", Answer::Refuse(ErrorKind::Retriable));
    }
    let error = fs.status(&path()).await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::Retriable));
    // Hadoop's count lets one more through than the key says.
    assert_eq!(pair.counts(), [1 + 4 + 1, 0]);
}

#[tokio::test]
async fn fail_over_has_a_limit() {
    let pair = Pair::start(&[HaState::Standby, HaState::Standby]).await;
    let fs = pair.client().await;
    let error = fs.status(&path()).await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::Standby));
    assert_eq!(pair.counts(), [4, 3], "six fail-overs");
    for namenode in &pair.namenodes {
        namenode.stop().await;
    }
    let error = fs.status(&path()).await.unwrap_err();
    assert!(matches!(error, FsError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn refusals_are_final() {
    for kind in [
        ErrorKind::AccessControl,
        ErrorKind::SafeMode,
        ErrorKind::InvalidToken,
        ErrorKind::FileNotFound,
        ErrorKind::Io,
    ] {
        let pair = Pair::start(ACTIVE_FIRST).await;
        let fs = pair.client().await;
        pair.namenodes[0].script("getFileInfo", Answer::Refuse(kind));
        assert_eq!(fs.status(&path()).await.unwrap_err().kind(), Some(kind));
        assert_eq!(pair.counts(), [1, 0], "{kind:?}");
    }
}

#[tokio::test]
async fn a_hung_active_is_left_when_calls_have_a_time_limit() {
    let pair = Pair::start(ACTIVE_FIRST).await.set("ipc.client.rpc-timeout.ms", "50");
    let fs = pair.client().await;
    pair.namenodes[0].script("delete", Answer::Hang);
    pair.namenodes[1].become_(HaState::Active);
    assert!(fs.delete(&path(), false).await.unwrap());
    assert_eq!(pair.counts(), [1, 1]);
    check_tries(&[pair.namenodes[0].calls(), pair.namenodes[1].calls()].concat());
}

#[tokio::test]
async fn calls_that_meet_one_failure_go_to_one_place() {
    let pair = Pair::start(&[HaState::Standby, HaState::Active, HaState::Standby]).await;
    let fs = pair.client().await;
    let root = path();
    let calls = (0..50).map(|_| fs.status(&root));
    for result in futures::future::join_all(calls).await {
        result.unwrap();
    }
    let counts = pair.counts();
    assert_eq!(
        (counts[1], counts[2]),
        (50, 0),
        "nobody jumps over the active: {counts:?}"
    );
}

#[tokio::test]
async fn without_a_name_service_a_standby_is_an_answer() {
    let pair = Pair::start(STANDBY_FIRST).await;
    let url = format!("hdfs://{}", pair.namenodes[0].addr());
    let fs = HadronFs::connect_as(&pair.conf, Some(&url), "alice").await.unwrap();
    assert_eq!(fs.status(&path()).await.unwrap_err().kind(), Some(ErrorKind::Standby));
    assert_eq!(pair.counts(), [1, 0]);
}

#[tokio::test]
async fn random_order_still_finds_the_active() {
    let pair = Pair::start(STANDBY_FIRST)
        .await
        .set("dfs.client.failover.random.order.ns", "true");
    // Both orders come up; 64 clients all starting alike has a chance of 2^-63.
    for _ in 0..64 {
        pair.client().await.status(&path()).await.unwrap();
    }
    let counts = pair.counts();
    assert_eq!(counts[1], 64);
    assert!((1..64).contains(&counts[0]), "{counts:?}");
}

// ---- observers ----

const WITH_OBSERVER: &[HaState] = &[HaState::Active, HaState::Standby, HaState::Observer];

#[tokio::test]
async fn reads_go_to_the_observer_and_writes_to_the_active() {
    let pair = Pair::start(WITH_OBSERVER).await.observing();
    let fs = pair.client().await;
    fs.status(&path()).await.unwrap();
    assert_eq!(
        pair.take_methods(),
        [
            vec!["msync", "getHAServiceState"],
            vec!["getHAServiceState"],
            vec!["getHAServiceState", "getFileInfo"]
        ],
        "in step with the active first, then looking for an observer"
    );
    fs.delete(&path(), false).await.unwrap();
    fs.status(&path()).await.unwrap();
    fs.msync().await.unwrap();
    assert_eq!(
        pair.take_methods(),
        [vec!["delete", "msync"], vec![], vec!["getFileInfo"]]
    );
}

#[tokio::test]
async fn what_an_observer_cannot_answer_the_active_does() {
    let pair = Pair::start(WITH_OBSERVER).await.observing();
    let fs = pair.client().await;
    fs.status(&path()).await.unwrap();
    pair.take_methods();
    pair.namenodes[2].script("getFileInfo", Answer::Refuse(ErrorKind::ObserverRetryOnActive));
    fs.status(&path()).await.unwrap();
    assert_eq!(pair.take_methods(), [vec!["getFileInfo"], vec![], vec!["getFileInfo"]]);
    // Once is not for ever.
    fs.status(&path()).await.unwrap();
    assert_eq!(pair.take_methods(), [vec![], vec![], vec!["getFileInfo"]]);
    // What no NameNode would answer differently is the answer.
    pair.namenodes[2].script("getFileInfo", Answer::Refuse(ErrorKind::AccessControl));
    let refused = fs.status(&path()).await.unwrap_err();
    assert_eq!(refused.kind(), Some(ErrorKind::AccessControl));
    assert_eq!(pair.take_methods(), [vec![], vec![], vec!["getFileInfo"]]);
}

#[tokio::test]
async fn a_lost_observer_is_replaced_by_the_next_or_the_active() {
    let states = [HaState::Active, HaState::Observer, HaState::Observer];
    let pair = Pair::start(&states).await.observing();
    let fs = pair.client().await;
    fs.status(&path()).await.unwrap();
    pair.take_methods();
    pair.namenodes[1].stop().await;
    fs.status(&path()).await.unwrap();
    assert_eq!(
        pair.take_methods(),
        [vec![], vec![], vec!["getHAServiceState", "getFileInfo"]]
    );
    // An observer that was made a standby says so.
    pair.namenodes[2].become_(HaState::Standby);
    fs.status(&path()).await.unwrap();
    let methods = pair.take_methods();
    assert_eq!(
        methods[0].last().map(String::as_str),
        Some("getFileInfo"),
        "{methods:?}"
    );
}

#[tokio::test]
async fn without_observers_nobody_looks_for_them_all_the_time() {
    let pair = Pair::start(STANDBY_FIRST).await.observing();
    let fs = pair.client().await;
    for _ in 0..5 {
        fs.status(&path()).await.unwrap();
    }
    let methods = pair.take_methods().concat();
    let probes = methods.iter().filter(|method| *method == "getHAServiceState").count();
    assert!(probes <= 3, "{methods:?}");

    // With an old release there can be none.
    let pair = Pair::start(ACTIVE_FIRST).await.observing();
    pair.namenodes[0].forget_msync();
    let fs = pair.client().await;
    for _ in 0..3 {
        fs.status(&path()).await.unwrap();
    }
    let asked = ["msync", "getFileInfo", "getFileInfo", "getFileInfo"];
    assert_eq!(pair.take_methods(), [asked.to_vec(), vec![]]);
}

#[tokio::test]
async fn reads_can_be_kept_in_step_with_the_active() {
    for (period, syncs) in [("-1", 1), ("0", 3), ("1h", 1)] {
        let pair = Pair::start(WITH_OBSERVER)
            .await
            .observing()
            .set("dfs.client.failover.observer.auto-msync-period.ns", period);
        let fs = pair.client().await;
        for _ in 0..3 {
            fs.status(&path()).await.unwrap();
        }
        let methods = pair.take_methods();
        let found = methods[0].iter().filter(|method| *method == "msync").count();
        assert_eq!(found, syncs, "period {period}: {methods:?}");
    }
}
