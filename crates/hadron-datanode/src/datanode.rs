//! A DataNode as a value: start, addresses, orderly end. Several run in one process.

use crate::cache;
use crate::ending::{self, Ending};
use crate::error::StartError;
use crate::ipc;
use crate::metrics::Metrics;
use crate::namenode::{self, link::NameNodeLink};
use crate::pages::DataNodePages;
use crate::settings::Settings;
use crate::shared::{Addresses, Shared};
use crate::short_circuit;
use crate::xceiver::server::accept_loop;
use hadron_env::config::{Configuration, HostPort};
use hadron_env::disk::{Disk, RealDisk};
use hadron_env::{Clock, SystemClock};
use hadron_net::{AdminHttp, RpcServer, RpcServerOptions};
use hadron_replica::ReplicaStore;
use hadron_types::DatanodeUuid;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long after `shutdownDatanode` the DataNode begins to end, so that the caller has its answer (Hadoop: as long).
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How long an orderly end lets running transfers finish before their sockets are closed.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);
/// The same before an announced restart: writers need a second of it to be told.
const RESTART_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits for the NameNodes to hear of what finished.
const NEWS_PATIENCE: Duration = Duration::from_secs(1);
/// How long it then waits for tasks, and for transfer threads.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A running DataNode. Dropping it stops it without waiting; [`DataNode::shutdown`] waits.
pub struct DataNode {
    shared: Arc<Shared>,
    ipc: RpcServer,
    /// Taken at the end.
    http: Option<AdminHttp>,
}

impl DataNode {
    /// Locks the storage directories, listens, and begins to look for the NameNodes. Returns without having met one;
    /// see [`DataNode::wait_registered`]. Must be called inside a tokio runtime.
    ///
    /// Errors: unusable configuration or directories, ports in use.
    pub async fn start(conf: &Configuration) -> Result<Self, StartError> {
        Self::start_with(Settings::from_configuration(conf)?).await
    }

    /// As [`DataNode::start`] with settings at hand.
    pub async fn start_with(settings: Settings) -> Result<Self, StartError> {
        Self::start_on(Arc::new(RealDisk), settings).await
    }

    /// As [`DataNode::start_with`] with the replicas' files on `disk`.
    pub async fn start_on(disk: Arc<dyn Disk>, settings: Settings) -> Result<Self, StartError> {
        Self::start_in(disk, Arc::new(SystemClock::new()), settings).await
    }

    /// As [`DataNode::start_on`] with scanners that go by `clock`.
    pub async fn start_in(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, settings: Settings) -> Result<Self, StartError> {
        let (volumes, options) = (settings.volumes.clone(), settings.store);
        let store = tokio::task::spawn_blocking(move || ReplicaStore::open_on(&disk, &volumes, options))
            .await
            .map_err(|error| StartError::Setting(error.to_string()))??;
        let (xfer, xfer_addr) = listen(&settings.xfer).await?;
        let (ipc, ipc_addr) = listen(&settings.ipc).await?;
        let (web, http_addr) = listen(&settings.http).await?;
        let addresses = Addresses {
            xfer: xfer_addr,
            ipc: ipc_addr,
            http: http_addr,
        };
        let local = short_circuit::listen(&settings, xfer_addr.port())?;
        let hostname = settings.hostname.clone().unwrap_or_else(machine_name);
        let shared = Arc::new(Shared::new(settings, store, addresses, hostname, clock));
        ending::watch_volumes(&shared);
        let scanning = shared.scanners.start(&shared);
        scanning.map_err(|error| StartError::Setting(format!("no thread to scan with: {error}")))?;
        short_circuit::watch_replicas(&shared);
        if shared.cache.is_on() {
            shared.tasks.spawn(cache::revoke(shared.clone()));
        }
        let ipc = serve_ipc(&shared, ipc)?;
        shared.tasks.spawn(accept_loop(shared.clone(), xfer));
        if let Some(local) = local {
            shared.tasks.spawn(short_circuit::accept_loop(shared.clone(), local));
        }
        let http = AdminHttp::serve(web, Arc::new(DataNodePages(shared.clone())));
        for (nameservice, namenodes) in shared.settings.nameservices.iter().enumerate() {
            let lifelines = shared.settings.lifelines.get(nameservice);
            for (i, address) in namenodes.iter().enumerate() {
                let lifeline = lifelines.and_then(|all| all.get(i)).cloned().flatten();
                let link = Arc::new(NameNodeLink::new(address.clone(), lifeline, nameservice));
                shared.add_link(link.clone());
                shared.tasks.spawn(namenode::run_lifeline(shared.clone(), link.clone()));
                shared.tasks.spawn(namenode::run(shared.clone(), link));
            }
        }
        tracing::info!(uuid = %shared.store.uuid(), xfer = %addresses.xfer, ipc = %addresses.ipc, http = %addresses.http, "DataNode started");
        Ok(Self {
            shared,
            ipc,
            http: Some(http),
        })
    }

    /// Where data transfer listens.
    pub fn xfer_addr(&self) -> SocketAddr {
        self.shared.addresses.xfer
    }
    /// Where RPC listens.
    pub fn ipc_addr(&self) -> SocketAddr {
        self.shared.addresses.ipc
    }
    /// Where HTTP listens.
    pub fn http_addr(&self) -> SocketAddr {
        self.shared.addresses.http
    }
    /// The permanent name.
    pub fn uuid(&self) -> &DatanodeUuid {
        self.shared.store.uuid()
    }
    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
    /// The replicas.
    pub fn store(&self) -> &ReplicaStore {
        &self.shared.store
    }
    /// Shared memory segments that clients hold, and slots registered in them.
    pub fn short_circuit_counts(&self) -> (usize, usize) {
        self.shared.short_circuit.counts()
    }
    /// Bytes per second that balancing may take.
    pub fn balance_bandwidth(&self) -> u64 {
        self.shared.balancing.bandwidth()
    }
    /// What is locked in memory.
    pub fn cache(&self) -> crate::CacheFigures {
        self.shared.cache.figures()
    }
    /// Open data connections, parked ones included.
    pub fn xceiver_count(&self) -> usize {
        self.shared.xceivers.count()
    }
    /// Transfer threads at work.
    pub fn active_transfers(&self) -> usize {
        self.shared.workers.running()
    }

    /// Has every replica verified against its checksums now, at the scanner's speed within a block, and waits for it. False
    /// when the block scanner is off or the DataNode ends.
    pub async fn scan_blocks(&self) -> bool {
        let shared = self.shared.clone();
        let scan = tokio::task::spawn_blocking(move || shared.scanners.scan_blocks());
        scan.await.unwrap_or(false)
    }
    /// Has all directories compared with memory now, and waits for it. False when the directory scanner is off or the
    /// DataNode ends.
    pub async fn scan_directories(&self) -> bool {
        let shared = self.shared.clone();
        let scan = tokio::task::spawn_blocking(move || shared.scanners.scan_directories());
        scan.await.unwrap_or(false)
    }

    /// Waits until every NameNode has accepted the registration. Cancel safe.
    pub async fn wait_registered(&self) {
        for link in self.shared.links() {
            let mut registered = link.watch_registered();
            // The sender lives in the link, so this only ends when the value is true.
            let _ = registered.wait_for(|registered| *registered).await;
        }
    }

    /// Says how the configuration is read again, for reconfiguration without a restart.
    pub fn set_reload(&self, reload: impl Fn() -> Result<Configuration, String> + Send + Sync + 'static) {
        self.shared.reconfiguration.set_reload(Arc::new(reload));
    }

    /// Waits until the DataNode wants to end by itself: it cannot go on, or was told to stop over RPC, which is answered
    /// before it stops. The caller then shuts it down. Cancel safe.
    pub async fn ended(&self) -> Ending {
        let mut ending = self.shared.watch_ending();
        // The sender lives as long as this DataNode.
        let found = ending.wait_for(Option::is_some).await.map(|found| found.clone());
        let reason = found.ok().flatten().unwrap_or(Ending::Asked { for_upgrade: false });
        if matches!(reason, Ending::Asked { .. }) {
            tokio::time::sleep(ANSWER_PATIENCE).await;
        }
        reason
    }

    /// Stops as after a crash: every connection breaks at once, and writers hear nothing but that. Then as
    /// [`DataNode::shutdown`], so that the volumes are free when this returns.
    pub async fn crash(self) {
        self.shared.draining.cancel();
        self.shared.xceivers.close();
        self.shutdown().await;
    }

    /// Stops: no new connections, running transfers get two seconds and are then cut, NameNodes hear of what
    /// finished, threads and tasks are waited for, usage is saved.
    pub async fn shutdown(self) {
        self.stop_after(DRAIN_PATIENCE).await;
    }

    /// As [`Self::shutdown`] by a DataNode that will be started again at once: clients that write here are told to wait
    /// for it (OOB_RESTART), and replicas being written stay open for `dfs.datanode.restart.replica.expiration`.
    pub async fn shutdown_for_restart(self) {
        self.shared.announce_restart();
        self.stop_after(RESTART_PATIENCE).await;
    }

    async fn stop_after(mut self, patience: Duration) {
        let shared = self.shared.clone();
        shared.draining.cancel();
        shared.scanners.stop();
        shared.xceivers.close_idle();
        if shared.is_restarting() {
            let writers = shared.xceivers.wake_doing("WRITE_BLOCK");
            tracing::info!(writers, "telling writers of the restart");
        }
        let draining = shared.clone();
        let drained = tokio::task::spawn_blocking(move || draining.workers.wait_idle(patience));
        if !drained.await.unwrap_or(false) {
            tracing::info!(
                transfers = shared.workers.running(),
                "cutting transfers that did not end in time"
            );
        }
        if tokio::time::timeout(NEWS_PATIENCE, send_last_news(&shared))
            .await
            .is_err()
        {
            tracing::warn!("a NameNode did not hear of the last replicas");
        }
        shared.stop.cancel();
        shared.pool_attached();
        shared.xceivers.close();
        self.ipc.shutdown().await;
        if let Some(http) = self.http.take() {
            http.shutdown().await;
        }
        shared.tasks.close();
        let tasks_ended = tokio::time::timeout(STOP_PATIENCE, shared.tasks.wait()).await.is_ok();
        if !tasks_ended {
            tracing::warn!("tasks still busy at the end");
        }
        let ending = shared.clone();
        let ended = tokio::task::spawn_blocking(move || {
            let scanned = ending.scanners.wait_ended();
            if !scanned {
                tracing::warn!("a scanner is still busy at the end");
            }
            let idle = ending.workers.wait_idle(STOP_PATIENCE) && scanned;
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            ending.store.close(now.map_or(0, |time| time.as_millis() as u64));
            if idle && tasks_ended {
                ending.store.unlock();
            }
            idle
        });
        if !ended.await.unwrap_or(false) {
            tracing::warn!("transfer threads still busy at the end");
        }
        tracing::info!(uuid = %shared.store.uuid(), "DataNode stopped");
    }
}

impl Drop for DataNode {
    fn drop(&mut self) {
        self.shared.draining.cancel();
        self.shared.stop.cancel();
        self.shared.scanners.stop();
        self.shared.xceivers.close();
    }
}

/// Waits until the NameNodes that can be reached heard everything.
async fn send_last_news(shared: &Shared) {
    for link in shared.links() {
        loop {
            let sent = link.news_sent.notified();
            if !link.is_registered() || link.news.lock().is_empty() {
                break;
            }
            link.beat_soon();
            sent.await;
        }
    }
}

async fn listen(address: &HostPort) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen {
        address: address.to_string(),
        source,
    };
    let listener = TcpListener::bind((address.host.as_str(), address.port))
        .await
        .map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

fn serve_ipc(shared: &Arc<Shared>, listener: TcpListener) -> Result<RpcServer, StartError> {
    let options = RpcServerOptions {
        name: "datanode",
        token_authority: Some(shared.tokens.clone()),
        ..RpcServerOptions::default()
    };
    let address = shared.addresses.ipc.to_string();
    RpcServer::serve(listener, options, ipc::protocols(shared)).map_err(|source| StartError::Listen { address, source })
}

fn machine_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}
