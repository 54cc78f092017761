//! Changing settings without a restart: the task that reads the configuration again, and ReconfigurationProtocol.
//!
//! What it is for: `hdfs dfsadmin -reconfig datanode HOST:PORT start|status|properties`. One task at a time compares the
//! reconfigurable keys with what the configuration says now and applies those that differ, one by one; the status tells
//! what became of each. What it does not do: storage directories and everything else not in [`PROPERTIES`] want a
//! restart.

use super::decode;
use crate::shared::Shared;
use bytes::Bytes;
use hadron_env::config::{Configuration, keys};
use hadron_net::{CallContext, Reply, RpcProtocol};
use hadron_proto::hdfs::{
    GetReconfigurationStatusConfigChangeProto, GetReconfigurationStatusRequestProto,
    GetReconfigurationStatusResponseProto, ListReconfigurablePropertiesRequestProto,
    ListReconfigurablePropertiesResponseProto, StartReconfigurationRequestProto, StartReconfigurationResponseProto,
};
use hadron_proto::protocol::RECONFIGURATION_PROTOCOL;
use hadron_types::{HadoopError, HadoopResult};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const MAX_TRANSFER_THREADS: &str = "dfs.datanode.max.transfer.threads";
const BALANCE_BANDWIDTH: &str = "dfs.datanode.balance.bandwidthPerSec";
const BALANCE_MOVES: &str = "dfs.datanode.balance.max.concurrent.moves";

/// The keys that can be changed.
pub(crate) const PROPERTIES: &[&str] = &[BALANCE_BANDWIDTH, BALANCE_MOVES, MAX_TRANSFER_THREADS];

/// Reads the configuration again; the error is for the operator.
pub(crate) type Reload = Arc<dyn Fn() -> Result<Configuration, String> + Send + Sync>;

/// The task's state.
#[derive(Default)]
pub(crate) struct Reconfiguration {
    reload: Mutex<Option<Reload>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: bool,
    started_ms: i64,
    ended_ms: i64,
    changes: Vec<GetReconfigurationStatusConfigChangeProto>,
}

impl Reconfiguration {
    /// Says where the configuration is read from; without it there is nothing to change.
    pub(crate) fn set_reload(&self, reload: Reload) {
        *self.reload.lock() = Some(reload);
    }

    /// Reads the configuration again.
    pub(crate) fn reload(&self) -> HadoopResult<Option<Configuration>> {
        let reload = self.reload.lock().clone();
        reload.map(|reload| reload().map_err(HadoopError::io)).transpose()
    }

    fn start(shared: &Arc<Shared>) -> HadoopResult<()> {
        let mut state = shared.reconfiguration.state.lock();
        if state.running {
            return Err(HadoopError::io("Another reconfiguration task is running."));
        }
        *state = State {
            running: true,
            started_ms: now_ms(),
            ..State::default()
        };
        drop(state);
        let working = shared.clone();
        tokio::task::spawn_blocking(move || {
            let changes = apply(&working);
            let mut state = working.reconfiguration.state.lock();
            state.running = false;
            state.ended_ms = now_ms();
            state.changes = changes;
        });
        Ok(())
    }

    fn status(&self) -> GetReconfigurationStatusResponseProto {
        let state = self.state.lock();
        let ended = !state.running && state.started_ms > 0;
        GetReconfigurationStatusResponseProto {
            start_time: state.started_ms,
            end_time: ended.then_some(state.ended_ms),
            changes: state.changes.clone(),
        }
    }
}

/// Applies every reconfigurable key that differs; one entry for each of them.
fn apply(shared: &Shared) -> Vec<GetReconfigurationStatusConfigChangeProto> {
    let fresh = match shared.reconfiguration.reload() {
        Ok(Some(fresh)) => fresh,
        Ok(None) => return Vec::new(),
        Err(error) => {
            tracing::error!(%error, "cannot read the configuration again");
            return Vec::new();
        }
    };
    let mut changes = Vec::new();
    for &name in PROPERTIES {
        let old = current(shared, name).to_string();
        let wanted = wanted(&fresh, name);
        let error = match &wanted {
            Ok(new) if new.to_string() == old => continue,
            Ok(new) => {
                tracing::info!(key = name, from = %old, to = new, "reconfigured");
                set(shared, name, *new);
                None
            }
            Err(error) => {
                tracing::warn!(key = name, %error, "cannot reconfigure");
                Some(error.clone())
            }
        };
        changes.push(GetReconfigurationStatusConfigChangeProto {
            name: name.to_owned(),
            old_value: old,
            new_value: fresh.text(name),
            error_message: error,
        });
    }
    changes
}

fn current(shared: &Shared, name: &str) -> u64 {
    match name {
        MAX_TRANSFER_THREADS => shared.xceivers.limit() as u64,
        BALANCE_MOVES => shared.balancing.most_moves() as u64,
        _ => shared.balancing.bandwidth(),
    }
}

fn wanted(fresh: &Configuration, name: &str) -> Result<u64, String> {
    match name {
        MAX_TRANSFER_THREADS => fresh
            .try_get(keys::DFS_DATANODE_MAX_TRANSFER_THREADS)
            .map(|limit| limit as u64)
            .map_err(|error| error.to_string()),
        BALANCE_MOVES => fresh
            .try_get(keys::DFS_DATANODE_BALANCE_MAX_CONCURRENT_MOVES)
            .map(|most| most as u64)
            .map_err(|error| error.to_string())
            .and_then(|most| at_least_one(name, most)),
        _ => fresh
            .try_get(keys::DFS_DATANODE_BALANCE_BANDWIDTH)
            .map_err(|error| error.to_string())
            .and_then(|rate| at_least_one(name, rate)),
    }
}

fn set(shared: &Shared, name: &str, value: u64) {
    match name {
        MAX_TRANSFER_THREADS => shared.xceivers.set_limit(usize::try_from(value).unwrap_or(usize::MAX)),
        BALANCE_MOVES => shared
            .balancing
            .set_most_moves(usize::try_from(value).unwrap_or(usize::MAX)),
        _ => drop(shared.balancing.set_bandwidth(value)),
    }
}

/// Nothing would ever be moved with less.
fn at_least_one(name: &str, value: u64) -> Result<u64, String> {
    match value {
        0 => Err(format!("{name} should be larger than 0")),
        value => Ok(value),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The three calls, which ClientDatanodeProtocol has too.
pub(super) fn call(shared: &Arc<Shared>, context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
    let (shared, user) = (shared.clone(), context.user.user.clone());
    Some(match method {
        "startReconfiguration" => Reply::spawned(async move {
            decode::<StartReconfigurationRequestProto>(body)?;
            shared.rights.require(&user).await?;
            Reconfiguration::start(&shared)?;
            Ok(StartReconfigurationResponseProto {})
        }),
        "getReconfigurationStatus" => Reply::spawned(async move {
            decode::<GetReconfigurationStatusRequestProto>(body)?;
            shared.rights.require(&user).await?;
            Ok(shared.reconfiguration.status())
        }),
        "listReconfigurableProperties" => Reply::spawned(async move {
            decode::<ListReconfigurablePropertiesRequestProto>(body)?;
            shared.rights.require(&user).await?;
            Ok(ListReconfigurablePropertiesResponseProto {
                name: PROPERTIES.iter().map(|&name| name.to_owned()).collect(),
            })
        }),
        _ => return None,
    })
}

/// The protocol's handler.
pub(crate) struct ReconfigurationProtocol(pub(crate) Arc<Shared>);

impl RpcProtocol for ReconfigurationProtocol {
    fn name(&self) -> &'static str {
        RECONFIGURATION_PROTOCOL
    }

    fn methods(&self) -> &'static [&'static str] {
        &[
            "startReconfiguration",
            "getReconfigurationStatus",
            "listReconfigurableProperties",
        ]
    }

    fn call(&self, context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        call(&self.0, context, method, body)
    }
}
