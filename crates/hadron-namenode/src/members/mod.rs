//! Who may be a DataNode, what the operator wishes of each, and which rack it stands on.
//!
//! What it is for: the hosts files (`dfs.hosts`, `dfs.hosts.exclude`, or one JSON file) and the topology mapping, read
//! at start and again by `refreshNodes`. What it does not do: act on nodes; it tells the block map how each stands.
//! Invariants: files, name look-ups and scripts are never waited for under a lock; what could not be read anew leaves
//! the old lists in force.

mod combined;
mod hosts;
mod settings;
mod topology;

pub(crate) use hosts::{HostTable, has_name, is_local};
pub use settings::DatanodeSettings;
pub(crate) use topology::{Topology, Unresolved};

use crate::State;
use arc_swap::ArcSwap;
use hadron_blockmap::{
    AdminChange, AdminState, AdminWish, DEFAULT_RACK, DatanodeId, DatanodeInfo, DatanodeReport, NodeStats, Standing,
};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The lists in force.
#[derive(Debug)]
pub struct Members {
    settings: DatanodeSettings,
    hosts: ArcSwap<HostTable>,
    topology: Topology,
    lookups: Arc<Semaphore>,
}

/// Questions to scripts and name services at a time; more wait, or for mere readers are not asked. A storm of
/// registrations must not take all blocking threads.
const MAX_LOOKUPS: usize = 8;

impl Members {
    /// Everybody may join, until [`Members::read`] has read the files.
    pub(crate) fn new(settings: DatanodeSettings) -> Self {
        Self {
            topology: Topology::new(&settings),
            hosts: ArcSwap::default(),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            settings,
        }
    }

    /// The settings they follow.
    pub(crate) fn settings(&self) -> &DatanodeSettings {
        &self.settings
    }

    /// Reads the files. Blocks, for names are looked up too.
    ///
    /// Errors: a file cannot be read or makes no sense; the old lists stay in force.
    pub(crate) fn read(&self) -> io::Result<()> {
        let hosts = HostTable::read(&self.settings)?;
        self.topology.reload();
        // Asked for in few calls now, and not one by one when they register.
        self.topology.prepare(&hosts.addresses());
        self.hosts.store(Arc::new(hosts));
        Ok(())
    }

    /// How a DataNode stands with the hosts files.
    pub(crate) fn standing(&self, ip: IpAddr, host_name: &str, xfer_port: u16) -> Standing {
        self.hosts.load().standing(ip, host_name, xfer_port)
    }

    /// Makes of the nodes the block map knows the nodes of a report: without those that are not included any more, and
    /// with the included hosts that no DataNode ever registered from, as dead ones.
    pub(crate) fn complete(&self, mut known: Vec<DatanodeReport>) -> Vec<DatanodeReport> {
        let hosts = self.hosts.load();
        let unmatched = hosts.unmatched(known.iter().map(|report| &*report.info.id));
        known.retain(|report| {
            let id = &report.info.id;
            hosts.standing(id.ip, &id.host_name, id.xfer_port).included
        });
        known.extend(unmatched.into_iter().map(dead_report));
        known
    }

    /// Reads the files anew and holds every known DataNode against them: `refreshNodes`.
    ///
    /// Errors: as [`Members::read`].
    pub(crate) async fn refresh(members: &Arc<Self>, state: &Arc<State>) -> io::Result<()> {
        let (own, shared) = (Arc::clone(members), Arc::clone(state));
        let refreshed = tokio::task::spawn_blocking(move || {
            own.read()?;
            own.apply(&shared);
            Ok(())
        });
        refreshed.await.map_err(io::Error::other)?
    }

    /// Tells the block map how every known node stands and where. Blocks, for racks may have to be asked for.
    fn apply(&self, state: &State) {
        let nodes = state.blocks.lock().datanode_ids();
        let hosts: Vec<IpAddr> = nodes.iter().map(|id| id.ip).collect();
        // Where the script fails for all, nodes stay on the racks they are on.
        let mapped = self.topology.prepare(&hosts);
        let resolved = nodes.iter().map(|id| {
            let rack = mapped
                .then(|| self.topology.resolve(id.ip, &id.host_name).ok())
                .flatten();
            (rack, self.standing(id.ip, &id.host_name, id.xfer_port))
        });
        let resolved: Vec<_> = resolved.collect();
        state.with_blocks(|_, blocks, now| {
            blocks.clear_client_racks();
            for (id, (rack, standing)) in nodes.iter().zip(resolved) {
                if !standing.included {
                    tracing::warn!(node = %id.xfer_addr(), "datanode is no longer in the include list");
                }
                blocks.set_standing(&id.uuid, &standing, now);
                if let Some(rack) = rack
                    && blocks.set_rack(&id.uuid, &rack)
                {
                    tracing::info!(node = %id.xfer_addr(), %rack, "datanode moved to another rack");
                }
            }
        });
        log_changes(state);
    }

    /// The rack of a DataNode, if that is known without waiting; `None`: ask [`Members::resolve`].
    pub(crate) fn known_rack(&self, ip: IpAddr, host_name: &str) -> Option<Result<Arc<str>, Unresolved>> {
        self.topology.known(ip, host_name)
    }

    /// The rack of a DataNode. May run the script and so block for as long as that may take.
    pub(crate) fn resolve(&self, ip: IpAddr, host_name: &str) -> Result<Arc<str>, Unresolved> {
        self.topology.resolve(ip, host_name)
    }

    /// Waits for a place among the [`MAX_LOOKUPS`]; held while [`Members::resolve`] runs on a blocking thread.
    pub(crate) async fn lookup_place(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.lookups).acquire_owned().await.ok()
    }

    /// Sees to it that the block map knows the rack of a client's host: at once if it is known here, else in the
    /// background. Costs nothing where no mapping is configured.
    pub(crate) fn note_client(members: &Arc<Self>, state: &Arc<State>, ip: IpAddr) {
        if members.topology.is_flat() || members.topology.was_noted(ip) {
            return;
        }
        if let Some(known) = members.topology.known(ip, "") {
            if let Ok(rack) = known {
                state.blocks.lock().set_client_rack(ip, rack);
            }
            return;
        }
        let Ok(place) = Arc::clone(&members.lookups).try_acquire_owned() else {
            members.topology.forget_client(ip);
            return;
        };
        let (members, state) = (Arc::clone(members), Arc::clone(state));
        tokio::task::spawn_blocking(move || {
            let _place = place;
            if let Ok(rack) = members.topology.resolve(ip, "") {
                state.blocks.lock().set_client_rack(ip, rack);
            }
        });
    }
}

/// A node nobody heard of, standing as the hosts files say.
fn dead_report((id, standing): (DatanodeId, Standing)) -> DatanodeReport {
    DatanodeReport {
        info: DatanodeInfo {
            id: Arc::new(id),
            rack: Arc::from(DEFAULT_RACK),
            stats: NodeStats::default(),
            admin: match standing.wish {
                AdminWish::Decommission => AdminState::Decommissioned,
                _ => AdminState::Normal,
            },
            upgrade_domain: standing.upgrade_domain,
            alive: false,
            stale: false,
        },
        software_version: Arc::from(""),
        storages: Vec::new(),
        leaving: None,
        volume_failures: None,
        slow_peers: Vec::new(),
    }
}

/// Logs the changes of administrative state that the block map made, as operators look for them.
pub(crate) fn log_changes(state: &State) {
    let changes = state.blocks.lock().take_admin_changes();
    for AdminChange { node, state, blocks } in changes {
        let node = address(&node);
        match state {
            AdminState::Normal => tracing::info!(%node, "datanode is back in service"),
            AdminState::DecommissionInProgress => tracing::info!(%node, blocks, "starting decommission of datanode"),
            AdminState::Decommissioned => tracing::info!(%node, blocks, "decommissioning complete for datanode"),
            AdminState::EnteringMaintenance => tracing::info!(%node, blocks, "starting maintenance of datanode"),
            AdminState::InMaintenance => tracing::info!(%node, blocks, "datanode has entered maintenance mode"),
        }
    }
}

/// Logs what the nodes that are to leave still wait for.
pub(crate) fn log_progress(state: &State) {
    let nodes = state.blocks.lock().leaving_nodes();
    for (node, state, progress) in nodes {
        if progress.under_replicated > 0 {
            let node = address(&node);
            tracing::info!(
                %node,
                ?state,
                under_replicated = progress.under_replicated,
                out_of_service_only = progress.out_of_service_only,
                in_open_files = progress.in_open_files,
                "blocks would miss the leaving datanode"
            );
        }
    }
}

fn address(id: &DatanodeId) -> String {
    format!("{} ({})", id.xfer_addr(), id.uuid)
}
