//! Formatting, starting and stopping a NameNode.
//!
//! Order of a start: recover the journal, count blocks into safe mode, open the ports, start the monitors. Order of a
//! stop: close the ports, end the monitors, close the journal.

use crate::audit_log::AuditLog;
use crate::callers::Callers;
use crate::client_protocol::ClientProtocol;
use crate::groups::Groups;
use crate::namenode_protocol::NamenodeProtocol;
use crate::reconfiguration::ReconfigurationProtocol;
use crate::refresh::Refresh;
use crate::trash::{self, TrashPolicy};
use crate::user_mappings::UserMappings;
use crate::{
    DatanodeMonitors, DatanodeProtocol, HaService, LifelineProtocol, NameNodePages, RunTime, Settings, Shared, State,
    access_times, block_tokens, cache_monitor, lease_monitor, monitors,
};
use hadron_blockmap::BlockMap;
use hadron_env::Configuration;
use hadron_env::config::{HostPort, keys};
use hadron_journal::{CommandLog, LocalLog, OpenError};
use hadron_namespace::{Identity, Namespace};
use hadron_net::{AdminHttp, GroupLookup, ProtocolInfo, ProxyUsers, RpcProtocol, RpcServer, RpcServerOptions};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use hadron_journal::{Env, FormatError};

/// Port of `dfs.namenode.lifeline.rpc-address` where none is named.
const DEFAULT_LIFELINE_PORT: u16 = 8050;

/// Why a NameNode does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key has a value that makes no sense.
    #[error(transparent)]
    Config(#[from] hadron_env::config::ConfigError),
    /// No name dir is formatted.
    #[error("NameNode is not formatted: no VERSION in {dirs:?}; format it first")]
    NotFormatted {
        /// The dirs looked at.
        dirs: Vec<PathBuf>,
    },
    /// A name dir cannot be read.
    #[error("read name dirs: {0}")]
    Storage(#[source] io::Error),
    /// The journal cannot be recovered.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// A file that says which DataNodes may join cannot be read.
    #[error("read the files of dfs.hosts and dfs.hosts.exclude: {0}")]
    Hosts(#[source] io::Error),
    /// The audit log's thread cannot be started.
    #[error("start the audit log: {0}")]
    Audit(#[source] io::Error),
    /// An address cannot be resolved or bound.
    #[error("listen on {address}: {error}")]
    Listen {
        /// The address as configured.
        address: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// A running NameNode. Dropping it stops it without waiting.
pub struct NameNode {
    shared: Arc<Shared>,
    rpc: RpcServer,
    /// The second port of `dfs.namenode.servicerpc-address`, with the same protocols.
    service_rpc: Option<RpcServer>,
    /// The port of `dfs.namenode.lifeline.rpc-address`.
    lifeline_rpc: Option<RpcServer>,
    http: AdminHttp,
    monitors: JoinSet<()>,
    datanode_monitors: DatanodeMonitors,
    failure: tokio::sync::watch::Receiver<Option<String>>,
    stop: CancellationToken,
}

/// Makes the name dirs of `conf` those of a new, empty file system. With `force` what they hold is destroyed.
///
/// `cluster_id`: to join other daemons' cluster; else one is made up. Blocks.
///
/// Errors: a dir is in use, holds a file system (without `force`) or cannot be written.
pub fn format(conf: &Configuration, env: &Env, cluster_id: Option<&str>, force: bool) -> Result<Identity, FormatError> {
    let now = env.clock.now();
    let made = hadron_journal::Identity::generate(&*env.random, now, "127.0.0.1", cluster_id);
    let settings = Settings::from_configuration(conf);
    let identity = namespace_identity(&made);
    let state = new_state(identity.clone(), &settings, env);
    hadron_journal::format(env, &conf.name_dirs(), &made, &state, force)?;
    Ok(identity)
}

/// Whether any name dir of `conf` is formatted.
///
/// Errors: a dir cannot be read.
pub fn is_formatted(conf: &Configuration, env: &Env) -> io::Result<bool> {
    hadron_journal::is_formatted(&*env.disk, &conf.name_dirs())
}

impl NameNode {
    /// Starts a NameNode on the machine's disks and clock. Must be called inside a tokio runtime.
    ///
    /// Errors: see [`StartError`].
    pub async fn start(conf: Configuration) -> Result<Self, StartError> {
        Self::start_with(conf, Env::system()).await
    }

    /// As [`NameNode::start`] with the disk, clock and randomness of `env`.
    ///
    /// Errors: see [`StartError`].
    pub async fn start_with(conf: Configuration, env: Env) -> Result<Self, StartError> {
        conf.validate()?;
        let settings = Settings::from_configuration(&conf);
        let audit = AuditLog::start(settings.audit.clone(), Arc::clone(&env.disk), Arc::clone(&env.clock));
        let audit = audit.map_err(StartError::Audit)?;
        let (state, log) = recover(&conf, &settings, env).await?;
        state.go_live();
        state.edits.lock().begin_after(log.last_applied());
        let groups = Groups::of_this_host(
            Arc::clone(&state.clock),
            &conf.get(keys::HADOOP_USER_GROUP_STATIC_MAPPING_OVERRIDES),
        )
        .with_ttls(
            conf.get(keys::HADOOP_SECURITY_GROUPS_CACHE),
            conf.get(keys::HADOOP_SECURITY_GROUPS_NEGATIVE_CACHE),
        );
        let callers = Callers::new(groups, &settings);
        let shared = Arc::new_cyclic(|this: &Weak<Shared>| {
            let this = this.clone();
            let lookup: GroupLookup = Arc::new(move |user| {
                let shared = this.upgrade();
                shared.map_or_else(Vec::new, |shared| shared.callers.groups().lookup(user).to_vec())
            });
            let proxy_users = ProxyUsers::new(HashMap::new(), Some(lookup));
            let run_time = RunTime::new(conf.clone(), proxy_users);
            Shared::new(state, settings, callers, log)
                .with_run_time(run_time)
                .with_audit(audit)
        });
        read_members(&shared).await?;
        let rpc = listen_rpc(&conf, &shared, conf.namenode_rpc_bind_address()?).await?;
        let service_rpc = match conf.contains(keys::DFS_NAMENODE_SERVICERPC_ADDRESS) {
            true => {
                let host = conf.get(keys::DFS_NAMENODE_SERVICERPC_BIND_HOST);
                let at = conf.namenode_service_rpc_address()?.on_host(host);
                Some(listen_rpc(&conf, &shared, at).await?)
            }
            false => None,
        };
        let lifeline_rpc = listen_lifeline(&conf, &shared).await?;
        let http = listen_http(&conf, &shared, &rpc).await?;
        let stop = CancellationToken::new();
        let (monitors, failure) = start_monitors(&shared, &stop);
        let redundancy_interval = conf.get(keys::DFS_NAMENODE_REDUNDANCY_INTERVAL);
        let datanode_monitors = DatanodeMonitors::start(&shared, redundancy_interval);
        tracing::info!(rpc = %rpc.local_addr(), http = %http.local_addr(), "NameNode is up");
        Ok(Self {
            shared,
            rpc,
            service_rpc,
            lifeline_rpc,
            http,
            monitors,
            datanode_monitors,
            failure,
            stop,
        })
    }

    /// Where clients and DataNodes call.
    pub fn rpc_addr(&self) -> SocketAddr {
        self.rpc.local_addr()
    }

    /// Where DataNodes and tools call, if they have a port of their own.
    pub fn service_rpc_addr(&self) -> Option<SocketAddr> {
        self.service_rpc.as_ref().map(RpcServer::local_addr)
    }

    /// Where DataNodes send lifelines, if there is such a port.
    pub fn lifeline_rpc_addr(&self) -> Option<SocketAddr> {
        self.lifeline_rpc.as_ref().map(RpcServer::local_addr)
    }

    /// Where the admin pages are.
    pub fn http_addr(&self) -> SocketAddr {
        self.http.local_addr()
    }

    /// The parts, for tests and for whoever runs in the same process.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Resolves with the reason when the NameNode cannot go on (the journal lost durability); the process should end.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        loop {
            if let Some(reason) = failure.borrow_and_update().clone() {
                return reason;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops: ports first, then monitors, then the journal. What was answered is durable already.
    pub async fn shutdown(mut self) {
        self.rpc.shutdown().await;
        if let Some(service_rpc) = &self.service_rpc {
            service_rpc.shutdown().await;
        }
        if let Some(lifeline_rpc) = &self.lifeline_rpc {
            lifeline_rpc.shutdown().await;
        }
        self.http.shutdown().await;
        self.stop.cancel();
        drop(self.datanode_monitors);
        while self.monitors.join_next().await.is_some() {}
        if let Err(error) = self.shared.log.shutdown().await {
            tracing::warn!(%error, "close journal");
        }
        let shared = Arc::clone(&self.shared);
        if let Err(error) = tokio::task::spawn_blocking(move || shared.audit.flush()).await {
            tracing::warn!(%error, "write the rest of the audit log");
        }
    }
}

fn namespace_identity(made: &hadron_journal::Identity) -> Identity {
    Identity {
        namespace_id: made.namespace_id,
        cluster_id: made.cluster_id.clone(),
        block_pool: made.block_pool.clone(),
        created: made.created,
    }
}

fn new_state(identity: Identity, settings: &Settings, env: &Env) -> State {
    let created = identity.created;
    let namespace = Namespace::new(identity, &settings.owner, &settings.supergroup, created);
    let blocks = BlockMap::new(settings.blocks.clone());
    State::new(namespace, blocks, Arc::clone(&env.clock), Arc::clone(&env.random))
}

/// Brings back the state that the name dirs hold.
async fn recover(
    conf: &Configuration,
    settings: &Settings,
    env: Env,
) -> Result<(Arc<State>, Arc<dyn CommandLog<State>>), StartError> {
    let (conf, settings) = (conf.clone(), settings.clone());
    let recovered = tokio::task::spawn_blocking(move || {
        let dirs = conf.name_dirs();
        let found = hadron_journal::read_identity(&*env.disk, &dirs).map_err(StartError::Storage)?;
        let identity = found.ok_or(StartError::NotFormatted { dirs })?;
        let state = Arc::new(new_state(namespace_identity(&identity), &settings, &env));
        let options = hadron_journal::Options::from_configuration(&conf);
        let log = LocalLog::open(Arc::clone(&state), env, options)?;
        tracing::info!(opened = ?log.opened(), "journal recovered");
        Ok((state, Arc::new(log) as Arc<dyn CommandLog<State>>))
    });
    recovered
        .await
        .map_err(|error| StartError::Storage(io::Error::other(error)))?
}

async fn listen_rpc(conf: &Configuration, shared: &Arc<Shared>, at: HostPort) -> Result<RpcServer, StartError> {
    let addr = resolve(&at).await?;
    if !addr.ip().is_loopback() {
        tracing::warn!(%addr, "listening beyond loopback with SIMPLE authentication: callers are believed");
    }
    let options = RpcServerOptions {
        name: "namenode",
        proxy_users: shared.run_time.proxy_users(),
        ..RpcServerOptions::from_configuration(conf)
    };
    let mut protocols: Vec<Arc<dyn RpcProtocol>> = vec![
        Arc::new(ClientProtocol::new(Arc::clone(shared))),
        Arc::new(DatanodeProtocol::new(Arc::clone(shared))),
        Arc::new(HaService::new(Arc::clone(shared))),
        Arc::new(UserMappings::new(Arc::clone(shared))),
        Arc::new(NamenodeProtocol::new(Arc::clone(shared))),
        Arc::new(ReconfigurationProtocol::new(Arc::clone(shared))),
    ];
    protocols.extend(Refresh::all(shared).map(|protocol| Arc::new(protocol) as Arc<dyn RpcProtocol>));
    let served = protocols
        .iter()
        .map(|protocol| (protocol.name(), protocol.methods()))
        .collect();
    protocols.push(Arc::new(ProtocolInfo::new(served)));
    let bound = RpcServer::bind(addr, options, protocols).await;
    bound.map_err(|error| listen_error(&at, error))
}

/// The lifeline server: few callers, small calls, no other protocol.
async fn listen_lifeline(conf: &Configuration, shared: &Arc<Shared>) -> Result<Option<RpcServer>, StartError> {
    let Some(address) = conf.get(keys::DFS_NAMENODE_LIFELINE_RPC_ADDRESS) else {
        return Ok(None);
    };
    let at = HostPort::parse(&address, DEFAULT_LIFELINE_PORT).map_err(|error| StartError::Listen {
        address: address.clone(),
        error: io::Error::other(error),
    })?;
    let options = RpcServerOptions {
        name: "lifeline",
        ..RpcServerOptions::from_configuration(conf)
    };
    let protocols: Vec<Arc<dyn RpcProtocol>> = vec![Arc::new(LifelineProtocol::new(Arc::clone(shared)))];
    let bound = RpcServer::bind(resolve(&at).await?, options, protocols).await;
    bound.map(Some).map_err(|error| listen_error(&at, error))
}

/// Reads the hosts files and the topology table, off the reactor.
async fn read_members(shared: &Arc<Shared>) -> Result<(), StartError> {
    let members = Arc::clone(&shared.members);
    let read = tokio::task::spawn_blocking(move || members.read());
    let read = read.await.map_err(|error| StartError::Hosts(io::Error::other(error)))?;
    read.map_err(StartError::Hosts)
}

async fn listen_http(conf: &Configuration, shared: &Arc<Shared>, rpc: &RpcServer) -> Result<AdminHttp, StartError> {
    let at = conf.namenode_http_bind_address()?;
    let addr = resolve(&at).await?;
    let pages = NameNodePages::new(Arc::clone(shared), rpc.metrics(), rpc.local_addr().port());
    AdminHttp::bind(addr, Arc::new(pages))
        .await
        .map_err(|error| listen_error(&at, error))
}

async fn resolve(at: &HostPort) -> Result<SocketAddr, StartError> {
    let found = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
    let found = found.map_err(|error| listen_error(at, error))?.next();
    found.ok_or_else(|| listen_error(at, io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
}

fn listen_error(at: &HostPort, error: io::Error) -> StartError {
    StartError::Listen {
        address: format!("{}:{}", at.host, at.port),
        error,
    }
}

fn start_monitors(
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> (JoinSet<()>, tokio::sync::watch::Receiver<Option<String>>) {
    let mut tasks = JoinSet::new();
    let mut spawn = |work: futures::future::BoxFuture<'static, ()>| {
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    };
    spawn(Box::pin(monitors::reclaim(Arc::clone(shared))));
    spawn(Box::pin(lease_monitor::run(Arc::clone(shared))));
    spawn(Box::pin(cache_monitor::run(Arc::clone(shared))));
    spawn(Box::pin(access_times::run(Arc::clone(shared))));
    spawn(Box::pin(block_tokens::roll_keys(Arc::clone(shared))));
    let trash = TrashPolicy::from_configuration(&shared.run_time.configuration());
    spawn(Box::pin(trash::run(Arc::clone(shared), trash)));
    let (sender, failure) = tokio::sync::watch::channel(None);
    let health = monitors::journal_health(Arc::clone(shared));
    spawn(Box::pin(async move {
        let _ = sender.send(Some(health.await));
    }));
    (tasks, failure)
}
