//! Keeps the client's lease alive while it writes.
//!
//! One task per client renews every half soft limit, and runs only while a file is open: the last [`OpenFile`] guard to
//! go stops it. A writer holds its guard inside its own task, so however that ends, renewal ends too.
//! When no renewal got through for the hard limit the NameNode has given the files away: all open streams end then,
//! instead of writing on what is not theirs.

use crate::namenode::NameNode;
use hadron_proto::hdfs as proto;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Half of the NameNode's soft limit of 60 s.
const RENEW_INTERVAL: Duration = Duration::from_secs(30);
/// After so long without renewal the NameNode recovers the files by itself (its hard limit since 3.3).
const HARD_LIMIT: Duration = Duration::from_secs(20 * 60);

/// The renewer of one client.
#[derive(Debug)]
pub(crate) struct LeaseRenewer {
    namenode: Arc<NameNode>,
    client_name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open_files: usize,
    task: Option<AbortOnDropHandle<()>>,
    /// Fate of the files opened since the last loss.
    tenure: Tenure,
}

/// What files opened at about the same time share: the lease they rely on.
#[derive(Clone, Debug, Default)]
struct Tenure {
    over: CancellationToken,
    why: Arc<Mutex<Option<Arc<str>>>>,
}

impl LeaseRenewer {
    pub(crate) fn new(namenode: Arc<NameNode>, client_name: String) -> Arc<Self> {
        Arc::new(Self {
            namenode,
            client_name,
            state: Mutex::new(State::default()),
        })
    }

    /// Registers an open file; renewal goes on until every guard is dropped.
    pub(crate) fn open_file(self: &Arc<Self>) -> OpenFile {
        let mut state = self.state.lock();
        state.open_files += 1;
        if state.task.is_none() {
            let task = renew(Arc::downgrade(self));
            state.task = Some(AbortOnDropHandle::new(tokio::spawn(task)));
        }
        OpenFile {
            renewer: Arc::clone(self),
            tenure: state.tenure.clone(),
        }
    }

    /// Files open now.
    pub(crate) fn open_files(&self) -> usize {
        self.state.lock().open_files
    }

    /// Ends every stream that is open now, with `why` as its error. Later ones are not touched.
    pub(crate) fn give_up(&self, why: &str) {
        let tenure = std::mem::take(&mut self.state.lock().tenure);
        *tenure.why.lock() = Some(why.into());
        tenure.over.cancel();
    }
}

async fn renew(renewer: Weak<LeaseRenewer>) {
    let mut renewed_at = Instant::now();
    loop {
        tokio::time::sleep(RENEW_INTERVAL).await;
        let Some(renewer) = renewer.upgrade() else {
            return;
        };
        let request = proto::RenewLeaseRequestProto {
            client_name: renewer.client_name.clone(),
            namespaces: Vec::new(),
        };
        let asked_at = Instant::now();
        let Err(error) = renewer.namenode.renew_lease(&request).await else {
            renewed_at = asked_at;
            continue;
        };
        let silent = renewed_at.elapsed();
        if silent < HARD_LIMIT {
            tracing::warn!(%error, client = renewer.client_name, "cannot renew lease; trying again");
            continue;
        }
        tracing::warn!(%error, client = renewer.client_name, ?silent, "lease is lost; ending all open streams");
        renewer.give_up(&format!("Lease timeout of {} seconds expired.", silent.as_secs()));
        renewed_at = Instant::now();
    }
}

/// While it lives the lease is renewed.
#[derive(Debug)]
pub(crate) struct OpenFile {
    renewer: Arc<LeaseRenewer>,
    tenure: Tenure,
}

impl OpenFile {
    /// Waits until the lease is lost; returns why. Does not borrow the guard.
    pub(crate) fn lost(&self) -> impl Future<Output = Arc<str>> + Send + use<> {
        let tenure = self.tenure.clone();
        async move {
            tenure.over.cancelled().await;
            let why = tenure.why.lock().clone();
            why.unwrap_or_else(|| "lease is lost".into())
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let mut state = self.renewer.state.lock();
        state.open_files -= 1;
        if state.open_files == 0 {
            state.task = None;
        }
    }
}
