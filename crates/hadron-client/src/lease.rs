//! Keeps the client's lease alive while it writes.
//!
//! One task per client renews every half soft limit, and runs only while a file is open: the last [`OpenFile`] guard to
//! go stops it. A writer holds its guard inside its own task, so however that ends, renewal ends too.

use crate::namenode::NameNode;
use hadron_proto::hdfs as proto;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// Half of the NameNode's soft limit of 60 s.
const RENEW_INTERVAL: Duration = Duration::from_secs(30);

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
            let task = renew(Arc::clone(&self.namenode), self.client_name.clone());
            state.task = Some(AbortOnDropHandle::new(tokio::spawn(task)));
        }
        OpenFile {
            renewer: Arc::clone(self),
        }
    }

    /// Files open now.
    pub(crate) fn open_files(&self) -> usize {
        self.state.lock().open_files
    }
}

async fn renew(namenode: Arc<NameNode>, client_name: String) {
    let request = proto::RenewLeaseRequestProto {
        client_name,
        namespaces: Vec::new(),
    };
    loop {
        tokio::time::sleep(RENEW_INTERVAL).await;
        if let Err(error) = namenode.renew_lease(&request).await {
            tracing::warn!(%error, "cannot renew lease; trying again");
        }
    }
}

/// While it lives the lease is renewed.
#[derive(Debug)]
pub(crate) struct OpenFile {
    renewer: Arc<LeaseRenewer>,
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
