//! One NameNode's actor: handshake, registration, heartbeats, block reports; retries for ever with back-off.
//!
//! ```text
//! connect -> versionRequest -> attach pool -> registerDatanode -> [heartbeat | news | full report | bad replicas]*
//!    ^                                             ^                                      |
//!    +---------------- any failure (back-off) -----+------------- RegisterCommand --------+
//! ```
//! News of finished replicas wake it at once. A full report goes out only under a lease when the NameNode knows leases.

use super::commands::{self, Effect};
use super::link::NameNodeLink;
use super::reports;
use crate::settings::SOFTWARE_VERSION;
use crate::shared::Shared;
use crate::xceiver::datanode_id;
use hadron_env::config::HostPort;
use hadron_env::{Random, SystemRandom};
use hadron_net::{RpcClient, RpcClientOptions, RpcError};
use hadron_proto::convert::no_block_keys;
use hadron_proto::datanode::*;
use hadron_proto::hdfs::nnha_status_heartbeat_proto::State;
use hadron_proto::hdfs::{
    DatanodeInfoProto, NamespaceInfoProto, StorageInfoProto, VersionRequestProto, VersionResponseProto,
};
use hadron_proto::protocol::DATANODE_PROTOCOL;
use hadron_replica::{PoolIdentity, ReplicaError, layout};
use hadron_types::{BlockId, BlockPoolId, ErrorKind, StorageId, StorageType};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Limit for an answer of the NameNode.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause before asking again for a lease that was not granted.
const LEASE_RETRY: Duration = Duration::from_secs(1);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error(transparent)]
    Store(#[from] ReplicaError),
    #[error("resolve {0}: {1}")]
    Resolve(HostPort, std::io::Error),
    #[error("{0}")]
    Refused(String),
}

/// Runs one NameNode's actor until the DataNode stops.
pub(crate) async fn run(shared: Arc<Shared>, link: Arc<NameNodeLink>) {
    let mut pause = BACKOFF.0;
    loop {
        let started = Instant::now();
        let session = tokio::select! {
            () = shared.stop.cancelled() => return,
            result = session(&shared, &link) => result,
        };
        // A NameNode stays the active one across a restart of its own: its transaction id may not have moved.
        link.set_registered(false);
        if started.elapsed() > BACKOFF.1 {
            pause = BACKOFF.0;
        }
        match session {
            Ok(()) => {}
            Err(error) if is_severe(&error) => tracing::error!(namenode = %link.address, %error, "NameNode refused us"),
            Err(error) => tracing::warn!(namenode = %link.address, %error, "lost the NameNode"),
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(BACKOFF.1);
    }
}

fn is_severe(error: &SessionError) -> bool {
    match error {
        SessionError::Rpc(error) => error.remote().is_some_and(|remote| {
            matches!(
                remote.kind,
                ErrorKind::UnregisteredNode | ErrorKind::DisallowedDatanode | ErrorKind::IncorrectVersion
            )
        }),
        SessionError::Store(_) | SessionError::Refused(_) => true,
        SessionError::Resolve(..) => false,
    }
}

pub(super) async fn resolve(address: &HostPort) -> Result<SocketAddr, SessionError> {
    let failed = |error| SessionError::Resolve(address.clone(), error);
    let mut found = tokio::net::lookup_host((address.host.as_str(), address.port))
        .await
        .map_err(failed)?;
    found.next().ok_or_else(|| failed(std::io::Error::other("no address")))
}

/// One connection's life: returns only with a failure.
async fn session(shared: &Arc<Shared>, link: &Arc<NameNodeLink>) -> Result<(), SessionError> {
    let mut options = RpcClientOptions::new(shared.settings.user.clone(), DATANODE_PROTOCOL);
    options.call_timeout = Some(CALL_TIMEOUT);
    let client = RpcClient::connect(resolve(&link.address).await?, options).await?;
    let answer: VersionResponseProto = client.call("versionRequest", &VersionRequestProto {}).await?;
    let namespace = answer.info;
    attach(shared, link, &namespace).await?;
    let registration = register(shared, link, &client, &namespace).await?;
    Session {
        shared: shared.clone(),
        link: link.clone(),
        client,
        uses_leases: version_of(&namespace.software_version) >= (2, 8),
        as_buffers: namespace.capabilities.unwrap_or(0) & reports::CAPABILITY_BUFFERS != 0,
        namespace,
        registration,
        full_report_due: Some(Instant::now() + random_part(shared.settings.block_report_initial_delay)),
        lease: None,
        reported_once: false,
        last_news: None,
        cache_report_due: shared.cache.is_on().then(Instant::now),
    }
    .run()
    .await
}

/// Major and minor number of a version such as "3.3.6" or "2.7.3-custom"; unreadable ones count as new.
fn version_of(text: &str) -> (u32, u32) {
    let mut numbers = text
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(u32::MAX));
    (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(0))
}

/// Formats or checks the storage directories and loads the pool.
async fn attach(shared: &Arc<Shared>, link: &NameNodeLink, namespace: &NamespaceInfoProto) -> Result<(), SessionError> {
    let oldest = (2, 1);
    if version_of(&namespace.software_version) < oldest {
        let text = format!("NameNode's version {} is too old", namespace.software_version);
        return Err(SessionError::Refused(text));
    }
    let identity = PoolIdentity {
        pool: namespace.block_pool_id.as_str().into(),
        cluster_id: namespace.storage_info.cluster_id.clone(),
        namespace_id: namespace.storage_info.namespce_id,
        ctime: namespace.storage_info.c_time,
    };
    if link.pool().is_some_and(|pool| pool != identity.pool) {
        return Err(SessionError::Refused(format!(
            "NameNode changed its block pool to {}",
            identity.pool
        )));
    }
    let store = shared.store.clone();
    let pool = identity.pool.clone();
    let attached = tokio::task::spawn_blocking(move || store.attach_pool(&identity)).await;
    attached.map_err(|error| SessionError::Refused(error.to_string()))??;
    link.set_pool(pool);
    Ok(())
}

async fn register(
    shared: &Shared,
    link: &NameNodeLink,
    client: &RpcClient,
    namespace: &NamespaceInfoProto,
) -> Result<DatanodeRegistrationProto, SessionError> {
    let registration = DatanodeRegistrationProto {
        datanode_id: datanode_id(shared),
        storage_info: StorageInfoProto {
            layout_version: layout::LAYOUT_VERSION as u32,
            ..namespace.storage_info.clone()
        },
        keys: no_block_keys(),
        software_version: SOFTWARE_VERSION.to_owned(),
    };
    let request = RegisterDatanodeRequestProto { registration };
    let answer: RegisterDatanodeResponseProto = client.call("registerDatanode", &request).await?;
    tracing::info!(namenode = %link.address, uuid = %shared.store.uuid(), "registered");
    let mut registration = answer.registration;
    let known_as = &registration.datanode_id;
    shared.set_transfer_address(format!("{}:{}", known_as.ip_addr, known_as.xfer_port));
    // Before the registration counts: the first operation may come right behind it.
    let pool = namespace.block_pool_id.as_str().into();
    shared.tokens.take(&pool, &registration.keys);
    // Keys are not for carrying around with every call.
    registration.keys = no_block_keys();
    link.set_registration(&registration);
    link.set_registered(true);
    shared.pool_attached();
    Ok(registration)
}

/// A random share of `span`.
fn random_part(span: Duration) -> Duration {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(SystemRandom::new().below(millis))
}

/// What Hadoop's count of transfer threads has beside the transfers: the thread that accepts them. Without it a single
/// transfer in an idle cluster is more than twice the average load, and placement avoids the node.
const SERVER_THREADS: u32 = 1;

/// What a heartbeat or a lifeline says.
pub(super) async fn heartbeat_of(
    shared: &Arc<Shared>,
    registration: DatanodeRegistrationProto,
    pool: &BlockPoolId,
) -> HeartbeatRequestProto {
    // Failures first: a storage that is missing in the reports then is counted in the next heartbeat at the latest.
    let failures = shared.store.failures();
    let reports = shared.storage_reports(pool).await;
    let cache = shared.cache.figures();
    HeartbeatRequestProto {
        registration,
        reports: reports.iter().map(reports::storage_report).collect(),
        xmits_in_progress: Some(shared.transfers.load(Ordering::Relaxed) as u32),
        xceiver_count: Some(shared.xceivers.count() as u32 + SERVER_THREADS),
        failed_volumes: Some(failures.len() as u32),
        cache_capacity: Some(cache.capacity),
        cache_used: Some(cache.used),
        volume_failure_summary: reports::failure_summary(&failures),
        ..Default::default()
    }
}

/// A registered connection.
struct Session {
    shared: Arc<Shared>,
    link: Arc<NameNodeLink>,
    client: RpcClient,
    namespace: NamespaceInfoProto,
    registration: DatanodeRegistrationProto,
    uses_leases: bool,
    as_buffers: bool,
    full_report_due: Option<Instant>,
    lease: Option<u64>,
    /// A full report was sent over this connection.
    reported_once: bool,
    last_news: Option<Instant>,
    /// `None` while nothing may be cached.
    cache_report_due: Option<Instant>,
}

impl Session {
    async fn run(mut self) -> Result<(), SessionError> {
        let mut next_beat = Instant::now();
        loop {
            let wanted = self.link.beat_wanted.swap(false, Ordering::Relaxed);
            if wanted || Instant::now() >= next_beat {
                next_beat = Instant::now() + self.shared.settings.heartbeat_interval;
                self.beat().await?;
                self.send_news().await?;
            } else if self.news_due().is_some_and(|due| due <= Instant::now()) {
                self.send_news().await?;
            }
            self.send_errors().await?;
            self.send_bad().await?;
            if self.report_is_due() {
                if self.uses_leases && self.lease.is_none() {
                    self.beat().await?;
                }
                self.full_report().await?;
            }
            if self.cache_report_due.is_some_and(|due| due <= Instant::now()) {
                self.cache_report().await?;
            }
            let times = [
                Some(next_beat),
                self.full_report_due,
                self.news_due(),
                self.cache_report_due,
            ];
            let wake_at = times.into_iter().flatten().min().unwrap_or(next_beat);
            tokio::select! {
                () = self.link.wake.notified() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    /// When urgent news may be sent; `None` without any.
    fn news_due(&self) -> Option<Instant> {
        let urgent = self.link.news.lock().is_urgent();
        let now = Instant::now();
        let gap = self.shared.settings.incremental_report_interval;
        urgent.then(|| self.last_news.map_or(now, |last| (last + gap).max(now)))
    }

    async fn send_errors(&mut self) -> Result<(), SessionError> {
        for error in self.link.take_errors() {
            let request = ErrorReportRequestProto {
                registartion: self.registration.clone(),
                error_code: error.code,
                msg: error.message,
            };
            let sent: Result<ErrorReportResponseProto, RpcError> = self.client.call("errorReport", &request).await;
            drop(error.sent);
            sent?;
        }
        Ok(())
    }

    fn report_is_due(&mut self) -> bool {
        let wanted = self.link.full_report_wanted.swap(false, Ordering::Relaxed);
        if wanted || self.link.news.lock().take_overflow() {
            self.full_report_due = Some(Instant::now());
        }
        self.full_report_due.is_some_and(|due| due <= Instant::now())
    }

    async fn beat(&mut self) -> Result<(), SessionError> {
        let pool = self.namespace.block_pool_id.as_str().into();
        let due = self.full_report_due.is_some_and(|due| due <= Instant::now());
        let request = HeartbeatRequestProto {
            request_full_block_report_lease: Some(self.uses_leases && due && self.lease.is_none()),
            ..heartbeat_of(&self.shared, self.registration.clone(), &pool).await
        };
        let answer: HeartbeatResponseProto = self.client.call("sendHeartbeat", &request).await?;
        self.link.note_beat();
        self.shared.metrics.heartbeats.inc();
        self.judge_claim(answer.ha_status.state, answer.ha_status.txid as i64);
        if let Some(lease) = answer.full_block_report_lease_id.filter(|lease| *lease != 0) {
            self.lease = Some(lease);
        }
        for command in &answer.cmds {
            if commands::run(&self.shared, &self.link, command) == Effect::Register {
                self.register_again().await?;
            }
        }
        Ok(())
    }

    /// A claim to be active is believed when its transaction id is beyond that of the last one believed.
    fn judge_claim(&self, state: i32, txid: i64) {
        let claims = state == State::Active as i32;
        let claim = self.shared.claim_of(self.link.nameservice);
        if !claims {
            self.link.set_active(false);
        } else if self.link.is_active() || txid > claim.load(Ordering::Relaxed) {
            claim.store(txid, Ordering::Relaxed);
            self.shared.sole_active(&self.link);
        }
    }

    async fn register_again(&mut self) -> Result<(), SessionError> {
        self.registration = register(&self.shared, &self.link, &self.client, &self.namespace).await?;
        self.full_report_due = Some(Instant::now());
        self.cache_report_due = self.shared.cache.is_on().then(Instant::now);
        self.lease = None;
        Ok(())
    }

    /// Tells which replicas are in memory.
    async fn cache_report(&mut self) -> Result<(), SessionError> {
        let pool = self.namespace.block_pool_id.as_str().into();
        let cached = self.shared.cache.cached(&pool);
        let request = CacheReportRequestProto {
            registration: self.registration.clone(),
            block_pool_id: self.namespace.block_pool_id.clone(),
            blocks: cached.into_iter().map(BlockId::to_wire).collect(),
        };
        let answer: CacheReportResponseProto = self.client.call("cacheReport", &request).await?;
        self.shared.metrics.cache_reports.inc();
        self.cache_report_due = Some(Instant::now() + self.shared.cache.report_interval());
        if let Some(command) = &answer.cmd
            && commands::run(&self.shared, &self.link, command) == Effect::Register
        {
            return self.register_again().await;
        }
        Ok(())
    }

    async fn send_news(&mut self) -> Result<(), SessionError> {
        let groups = self.link.news.lock().take();
        if groups.is_empty() {
            return Ok(());
        }
        let request = BlockReceivedAndDeletedRequestProto {
            registration: self.registration.clone(),
            block_pool_id: self.namespace.block_pool_id.clone(),
            blocks: groups
                .iter()
                .map(|(storage, news)| reports::incremental(storage, news))
                .collect(),
        };
        let sent: Result<BlockReceivedAndDeletedResponseProto, RpcError> =
            self.client.call("blockReceivedAndDeleted", &request).await;
        if let Err(error) = sent {
            self.link.news.lock().put_back(groups);
            return Err(error.into());
        }
        self.last_news = Some(Instant::now());
        self.shared.metrics.incremental_reports.inc();
        self.link.news_sent.notify_waiters();
        Ok(())
    }

    async fn send_bad(&mut self) -> Result<(), SessionError> {
        let bad = std::mem::take(&mut *self.link.bad.lock());
        if bad.is_empty() {
            return Ok(());
        }
        let here = DatanodeInfoProto {
            id: self.registration.datanode_id.clone(),
            ..Default::default()
        };
        let all: Vec<(StorageId, StorageType)> = self
            .shared
            .store
            .usable_volumes()
            .map(|volume| (volume.storage_id(), volume.storage_type()))
            .collect();
        let located = bad.iter().map(|(block, source)| match source {
            Some(node) => reports::bad_block(block, node.clone(), Vec::new()),
            None => {
                let home = self.shared.store.storage_of(block);
                let storages = home.or_else(|| all.first().cloned()).into_iter().collect();
                reports::bad_block(block, here.clone(), storages)
            }
        });
        let request = ReportBadBlocksRequestProto {
            blocks: located.collect(),
        };
        let sent: Result<ReportBadBlocksResponseProto, RpcError> = self.client.call("reportBadBlocks", &request).await;
        if let Err(error) = sent {
            for (block, source) in bad {
                self.link.report_bad(block, source);
            }
            return Err(error.into());
        }
        Ok(())
    }

    async fn full_report(&mut self) -> Result<(), SessionError> {
        if self.uses_leases && self.lease.is_none() {
            self.full_report_due = Some(Instant::now() + LEASE_RETRY);
            return Ok(());
        }
        // What was queued is older than the report; it must not arrive behind it.
        self.send_news().await?;
        let pool = self.namespace.block_pool_id.as_str().into();
        let (store, as_buffers) = (self.shared.store.clone(), self.as_buffers);
        // Millions of replicas take a while: not on a reactor's thread.
        let made = tokio::task::spawn_blocking(move || -> Result<_, ReplicaError> {
            let storages = store.block_report(&pool)?;
            let total: usize = storages.iter().map(|storage| storage.replicas.len()).sum();
            let parts = storages.iter().map(|storage| reports::full_report(storage, as_buffers));
            Ok((total, parts.collect::<Vec<StorageBlockReportProto>>()))
        });
        let (total, parts) = made.await.map_err(|error| SessionError::Refused(error.to_string()))??;
        let calls: Vec<Vec<StorageBlockReportProto>> = if total < self.shared.settings.block_report_split_threshold {
            vec![parts]
        } else {
            parts.into_iter().map(|part| vec![part]).collect()
        };
        let context = BlockReportContextProto {
            total_rpcs: calls.len() as i32,
            cur_rpc: 0,
            id: next_report_id(),
            lease_id: Some(self.lease.take().unwrap_or(0)),
            sorted: Some(false),
        };
        for (i, reports) in calls.into_iter().enumerate() {
            let request = BlockReportRequestProto {
                registration: self.registration.clone(),
                block_pool_id: self.namespace.block_pool_id.clone(),
                reports,
                context: Some(BlockReportContextProto {
                    cur_rpc: i as i32,
                    ..context
                }),
            };
            let answer: BlockReportResponseProto = self.client.call("blockReport", &request).await?;
            if let Some(command) = &answer.cmd
                && commands::run(&self.shared, &self.link, command) == Effect::Register
            {
                return self.register_again().await;
            }
        }
        tracing::info!(namenode = %self.link.address, blocks = total, "sent a full block report");
        self.shared.metrics.full_reports.inc();
        // The second report comes at a random time, so that a cluster that started at once does not report at once.
        let interval = self.shared.settings.block_report_interval;
        let wait = match std::mem::replace(&mut self.reported_once, true) {
            false => random_part(interval).max(interval / 10),
            true => interval,
        };
        self.full_report_due = Some(Instant::now() + wait);
        Ok(())
    }
}

/// Unique, increasing ids for full reports of this process.
fn next_report_id() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    let advance = |last: i64| Some(now.max(last + 1));
    let last = LAST
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, advance)
        .unwrap_or(0);
    now.max(last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_and_report_ids_rise() {
        for (text, version) in [
            ("3.3.6", (3, 3)),
            ("2.7.3", (2, 7)),
            ("2.1.0-beta", (2, 1)),
            ("trunk", (u32::MAX, 0)),
        ] {
            assert_eq!(version_of(text), version, "{text}");
        }
        let first = next_report_id();
        assert!(next_report_id() > first);
    }
}
