//! Reads from observers: NameNodes that follow the active one's journal and answer what changes nothing.
//!
//! Before its first read a client syncs with the active, so that it sees everything that had happened by then; what it
//! sees later never goes back, because every request carries the newest state id the client has met. Reads stay with
//! one observer until it fails; when none serves, the active does.
//! What it does not do: decide about fail-over between active and standby.
//! Invariant: no lock is held while anything waits.
//!
//! Source: Hadoop `ObserverReadProxyProvider`.

use super::NameNode;
use super::classify;
use super::policy::Fault;
use super::settings::{AutoMsync, NameNodeSettings};
use crate::error::{FsError, Result};
use hadron_net::client::next_call_id;
use hadron_proto::common::HaServiceStateProto as HaState;
use hadron_proto::hdfs as proto;
use hadron_types::ErrorKind;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// What a client knows about the observers of its name service.
#[derive(Debug)]
pub(super) struct Observers {
    auto_msync: AutoMsync,
    probe_period: Duration,
    scan: Mutex<Scan>,
}

#[derive(Debug, Default)]
struct Scan {
    /// The target that reads go to, and its state when it was chosen; `None`: none was looked at yet.
    current: Option<(usize, HaState)>,
    /// When this client last knew what the active knew.
    last_sync: Option<Instant>,
    /// Since when it is known that there is no observer.
    without_since: Option<Instant>,
    /// The NameNodes do not know `msync`: there are no observers.
    too_old: bool,
}

impl Observers {
    pub(super) fn new(settings: &NameNodeSettings) -> Self {
        Self {
            auto_msync: settings.auto_msync,
            probe_period: settings.observer_probe_period,
            scan: Mutex::default(),
        }
    }

    /// The active has answered this client just now.
    pub(super) fn note_sync(&self) {
        self.scan.lock().last_sync = Some(Instant::now());
    }

    fn may_exist(&self) -> bool {
        let scan = self.scan.lock();
        let looked_lately = scan
            .without_since
            .is_some_and(|since| since.elapsed() < self.probe_period);
        !scan.too_old && !looked_lately
    }

    fn needs_sync(&self) -> bool {
        let Some(last) = self.scan.lock().last_sync else {
            return true;
        };
        match self.auto_msync {
            AutoMsync::Never => false,
            AutoMsync::Always => true,
            AutoMsync::After(period) => last.elapsed() > period,
        }
    }
}

impl NameNode {
    /// Asks observers; `None` when the active has to answer.
    ///
    /// Errors: what an observer answered, if no other NameNode would answer differently.
    pub(super) async fn read_from_observer<Q: prost::Message, R: prost::Message + Default>(
        &self,
        observers: &Observers,
        method: &'static str,
        request: &Q,
    ) -> Result<Option<R>> {
        if !observers.may_exist() || !self.sync_if_due(observers).await? {
            return Ok(None);
        }
        let call_id = next_call_id();
        let (mut tries, mut failed) = (0, 0);
        let (mut index, mut state) = self.reading_target(observers, None).await;
        while tries < self.targets.len() {
            tries += 1;
            if state == HaState::Observer {
                let target = &self.targets[index];
                let (fault, error) = match target.call(call_id, failed, method, request).await {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(error) => classify(error),
                };
                if error.remote().map(|remote| remote.kind) == Some(ErrorKind::ObserverRetryOnActive) {
                    tracing::info!(%error, method, namenode = %target.name(), "asking the active instead of an observer");
                    return Ok(None);
                }
                if fault == Fault::Final {
                    return Err(FsError::from(error));
                }
                failed += 1;
                tracing::warn!(%error, method, namenode = %target.name(), failed, "cannot read from observer");
            }
            (index, state) = self.reading_target(observers, Some(index)).await;
        }
        observers.scan.lock().without_since = (failed == 0).then(Instant::now);
        Ok(None)
    }

    /// Syncs with the active if a read needs it. False: the NameNodes know neither syncs nor observers.
    async fn sync_if_due(&self, observers: &Observers) -> Result<bool> {
        if !observers.needs_sync() {
            return Ok(true);
        }
        let request = proto::MsyncRequestProto {};
        match self
            .call_active::<_, proto::MsyncResponseProto>("msync", &request)
            .await
        {
            Ok(_) => {
                observers.note_sync();
                Ok(true)
            }
            Err(error) if error.kind() == Some(ErrorKind::NoSuchMethod) => {
                observers.scan.lock().too_old = true;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The target for reads; the one after `left` when that is still the chosen one.
    async fn reading_target(&self, observers: &Observers, left: Option<usize>) -> (usize, HaState) {
        let current = observers.scan.lock().current;
        let next = match (current, left) {
            (None, _) => 0,
            (Some((index, _)), Some(left)) if index == left => (index + 1) % self.targets.len(),
            (Some(current), _) => return current,
        };
        let state = self.state_of(next).await;
        let mut scan = observers.scan.lock();
        if scan.current == current {
            scan.current = Some((next, state));
        }
        scan.current.unwrap_or((next, state))
    }

    /// What a NameNode says it is; one that does not say counts as standby.
    async fn state_of(&self, index: usize) -> HaState {
        let target = &self.targets[index];
        let request = proto::HaServiceStateRequestProto {};
        let answer: std::result::Result<proto::HaServiceStateResponseProto, _> =
            target.call(next_call_id(), 0, "getHAServiceState", &request).await;
        match answer {
            Ok(answer) => answer.state(),
            Err(error) => {
                let (_, error) = classify(error);
                tracing::debug!(%error, namenode = %target.name(), "cannot learn whether it is an observer");
                HaState::Standby
            }
        }
    }
}
