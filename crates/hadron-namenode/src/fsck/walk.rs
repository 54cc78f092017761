//! The walk over the tree, and what is said of each file.

use super::figures::{Figures, NO_GROUPS};
use super::{Check, Output};
use hadron_blockmap::{AdminState, DatanodeReport, Located, ReplicaCounts};
use hadron_env::zone::java_date;
use hadron_namespace::command::Delete;
use hadron_namespace::{FileBlock, FileBlocks, FileStatus, ListingEntry, ListingLimits, Namespace};
use hadron_types::{Block, HadoopResult, StorageType, TimeMs};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Entries and blocks of one page of a listing.
const PAGE_LIMITS: ListingLimits = ListingLimits {
    entries: 1000,
    locations: 1000,
};

/// A directory on the way down.
struct Entered {
    path: String,
    entries: std::vec::IntoIter<ListingEntry>,
    /// Name after which the next page begins.
    last: String,
    has_more: bool,
}

/// The cluster as the check found it.
pub(super) struct Cluster {
    pub(super) live: usize,
    pub(super) racks: usize,
    pool: String,
}

/// What is known of one block's replicas.
struct Replicas {
    counts: ReplicaCounts,
    located: Located,
}

/// Replicas by the state of their nodes.
#[derive(Default)]
struct Leaving {
    decommissioned: u64,
    decommissioning: u64,
    entering_maintenance: u64,
    in_maintenance: u64,
}

impl Leaving {
    fn of(located: &Located) -> Self {
        let mut leaving = Self::default();
        for replica in located.replicas.iter().filter(|_| !located.corrupt) {
            match replica.node.admin {
                AdminState::Normal => {}
                AdminState::DecommissionInProgress => leaving.decommissioning += 1,
                AdminState::Decommissioned => leaving.decommissioned += 1,
                AdminState::EnteringMaintenance => leaving.entering_maintenance += 1,
                AdminState::InMaintenance => leaving.in_maintenance += 1,
            }
        }
        leaving
    }

    fn sum(&self) -> u64 {
        self.decommissioned + self.decommissioning + self.entering_maintenance + self.in_maintenance
    }
}

impl Check<'_> {
    pub(super) fn check_path(&self, out: &mut Output, started: TimeMs) -> HadoopResult<()> {
        let path = &self.request.path;
        let ns = self.shared.state.ns.read().snapshot();
        let Some(status) = ns.file_info(self.caller, path)? else {
            out.print(&format!("\n\nPath '{path}' does not exist"));
            return Ok(());
        };
        if self.request.list_corrupt {
            return self.list_corrupt(out, &ns);
        }
        let cluster = self.cluster(&ns);
        let mut figures = Figures::default();
        if status.is_directory {
            self.directory(out, &ns, &cluster, &mut figures)?;
        } else {
            let blocks = ns.block_locations(self.caller, path, 0, u64::MAX, started, 0)?;
            self.file(out, path, &status, &blocks, &cluster, &mut figures);
        }
        self.summary(out, &cluster, &figures, started);
        Ok(())
    }

    fn cluster(&self, ns: &Namespace) -> Cluster {
        let state = &self.shared.state;
        let nodes = state.blocks.lock().datanodes(state.now());
        let live: Vec<&DatanodeReport> = nodes.iter().filter(|node| node.info.alive).collect();
        let racks: BTreeSet<&str> = live.iter().map(|node| &*node.info.rack).collect();
        Cluster {
            live: live.len(),
            racks: racks.len(),
            pool: ns.identity().block_pool.as_str().to_owned(),
        }
    }

    fn summary(&self, out: &mut Output, cluster: &Cluster, figures: &Figures, started: TimeMs) {
        let verdict = if figures.is_healthy() { "HEALTHY" } else { "CORRUPT" };
        let settings = &self.shared.settings;
        let replicated = figures.replicated(settings.defaults.replication, settings.blocks.min_replication);
        let now = self.shared.state.now();
        out.print(&format!(
            "\nStatus: {verdict}\n Number of data-nodes:\t{}\n Number of racks:\t\t{}\n Total dirs:\t\t\t{}\n Total \
             symlinks:\t\t0\n\nReplicated Blocks:\n{replicated}\n\nErasure Coded Block Groups:\n{NO_GROUPS}\nFSCK ended \
             at {} in {} milliseconds\n",
            cluster.live,
            cluster.racks,
            figures.dirs,
            java_date(now),
            now.since(started)
        ));
        let path = &self.request.path;
        out.print(&format!("\n\nThe filesystem under path '{path}' is {verdict}"));
    }

    /// Walks the directory asked for, depth first, children in the order of their names.
    fn directory(
        &self,
        out: &mut Output,
        ns: &Namespace,
        cluster: &Cluster,
        figures: &mut Figures,
    ) -> HadoopResult<()> {
        let root = match self.request.path.trim_end_matches('/') {
            "" => "/".to_owned(),
            path => path.to_owned(),
        };
        let mut entered = vec![self.enter(out, root, figures)];
        while let Some(directory) = entered.last_mut() {
            if out.is_gone {
                return Ok(());
            }
            let Some(entry) = directory.entries.next() else {
                if !directory.has_more {
                    entered.pop();
                    continue;
                }
                let page = ns.listing(self.caller, &directory.path, &directory.last, true, PAGE_LIMITS)?;
                directory.has_more = page.as_ref().is_some_and(|page| page.remaining > 0);
                directory.entries = page.map(|page| page.entries).unwrap_or_default().into_iter();
                continue;
            };
            directory.last.clone_from(&entry.status.name);
            let child = match directory.path.as_str() {
                "/" => format!("/{}", entry.status.name),
                path => format!("{path}/{}", entry.status.name),
            };
            if entry.status.is_directory {
                entered.push(self.enter(out, child, figures));
            } else if let Some(blocks) = &entry.blocks {
                self.file(out, &child, &entry.status, blocks, cluster, figures);
            }
        }
        Ok(())
    }

    /// Begins with a directory; its first page is listed when the first entry is wanted.
    fn enter(&self, out: &mut Output, path: String, figures: &mut Figures) -> Entered {
        figures.dirs += 1;
        if self.request.files {
            out.line(&format!("{path} <dir>"));
        }
        Entered {
            path,
            entries: Vec::new().into_iter(),
            last: String::new(),
            has_more: true,
        }
    }

    fn file(
        &self,
        out: &mut Output,
        path: &str,
        status: &FileStatus,
        blocks: &FileBlocks,
        cluster: &Cluster,
        figures: &mut Figures,
    ) {
        let (request, is_open) = (self.request, blocks.under_construction);
        let count = blocks.blocks.len() as u64;
        if is_open && !request.open_files {
            figures.open_files += 1;
            figures.open_bytes += status.len;
            figures.open_blocks += count;
            return;
        }
        figures.files += 1;
        figures.bytes += status.len;
        figures.blocks += count;
        let about = format!(
            "{path} {} bytes, replicated: replication={}, {count} block(s)",
            status.len, status.replication
        );
        if is_open {
            out.print(&format!("{about}, OPENFORWRITE: "));
        } else if request.files {
            out.print(&format!("{about}: "));
        } else if figures.files.is_multiple_of(100) {
            out.print(".");
        }
        self.file_blocks(out, path, status, blocks, cluster, figures);
    }

    fn file_blocks(
        &self,
        out: &mut Output,
        path: &str,
        status: &FileStatus,
        blocks: &FileBlocks,
        cluster: &Cluster,
        figures: &mut Figures,
    ) {
        let mut report = String::new();
        let (mut missing, mut corrupt, mut wanting) = ((0, 0), (0, 0), 0);
        let complete = blocks.blocks.iter().filter(|block| {
            blocks.last_block_complete || blocks.last_block.is_none_or(|last| last.block.id != block.block.id)
        });
        for (number, FileBlock { block, .. }) in complete.enumerate() {
            let replicas = self.replicas(*block);
            let leaving = Leaving::of(&replicas.located);
            let (live, wanted) = (replicas.counts.live as u64, u64::from(status.replication));
            let all = live + leaving.sum();
            let min = u64::from(self.shared.settings.blocks.min_replication);
            figures.decommissioned += leaving.decommissioned;
            figures.decommissioning += leaving.decommissioning;
            figures.entering_maintenance += leaving.entering_maintenance;
            figures.in_maintenance += leaving.in_maintenance;
            figures.replicas += all;
            figures.expected_replicas += wanted;
            figures.under_min += u64::from(all < min);
            figures.min_replicated += u64::from(all >= min);
            figures.over_replicated += u64::from(live > wanted);
            let name = block_name(&cluster.pool, *block);
            let is_corrupt = replicas.located.corrupt;
            let is_missing = all == 0;
            if is_corrupt {
                figures.corrupt_blocks += 1;
                figures.corrupt_bytes += block.len;
                corrupt = (corrupt.0 + 1, corrupt.1 + block.len);
                out.print(&format!(
                    "\n{path}: CORRUPT blockpool {} block blk_{}\n",
                    cluster.pool, block.id.0
                ));
            }
            if all < wanted && !is_missing {
                figures.missing_replicas += wanted - all;
                figures.under_replicated += 1;
                wanting += 1;
                if !self.request.files {
                    out.print(&format!("\n{path}: "));
                }
                self.under_replicated(out, &name, wanted, live, &leaving);
            }
            wanting += self.misplaced(out, path, &name, wanted, &replicas.located, cluster, figures);
            let _ = write!(report, "{number}. {name} len={}", block.len);
            if is_missing && !is_corrupt {
                figures.missing_blocks += 1;
                figures.missing_bytes += block.len;
                missing = (missing.0 + 1, missing.1 + block.len);
                report += " MISSING!";
            } else {
                let _ = write!(report, " Live_repl={live}{}", self.places(&replicas));
            }
            report.push('\n');
        }
        if let Some(last) = blocks.last_block.filter(|_| !blocks.last_block_complete) {
            let number = blocks.blocks.len().saturating_sub(1);
            let name = block_name(&cluster.pool, last.block);
            let expected = self.expected(last.block);
            let _ = write!(
                report,
                "\nUnder Construction Block:\n{number}. {name} len={} Expected_repl={}{}",
                last.block.len,
                expected.located.replicas.len(),
                self.places(&expected)
            );
        }
        if missing.0 + corrupt.0 > 0 {
            figures.corrupt_files += 1;
            self.broken_file(out, path, missing, corrupt, blocks.under_construction);
        }
        if self.request.files {
            let mut said = false;
            for (what, (count, bytes)) in [("MISSING", missing), ("CORRUPT", corrupt)] {
                if count > 0 {
                    out.print(&format!(" {what} {count} blocks of total size {bytes} B\n"));
                    said = true;
                }
            }
            if !said && wanting == 0 {
                out.print(" OK\n");
            }
            if self.request.blocks {
                out.line(&report);
            }
        }
    }

    fn under_replicated(&self, out: &mut Output, name: &str, wanted: u64, live: u64, leaving: &Leaving) {
        let end = match self.request.maintenance {
            true => format!(
                "{}, entering maintenance replica(s) and {} in maintenance replica(s).",
                leaving.entering_maintenance, leaving.in_maintenance
            ),
            false => ".".to_owned(),
        };
        out.line(&format!(
            " Under replicated {name}. Target Replicas is {wanted} but found {live} live replica(s), {} decommissioned \
             replica(s), {} decommissioning replica(s){end}",
            leaving.decommissioned, leaving.decommissioning
        ));
    }

    /// Tells of a block whose replicas are on one rack though there are several. Returns 1 if it is so.
    fn misplaced(
        &self,
        out: &mut Output,
        path: &str,
        name: &str,
        wanted: u64,
        located: &Located,
        cluster: &Cluster,
        figures: &mut Figures,
    ) -> u64 {
        let racks: BTreeSet<&str> = located.replicas.iter().map(|replica| &*replica.node.rack).collect();
        if wanted < 2 || cluster.racks < 2 || located.replicas.len() < 2 || racks.len() >= 2 {
            return 0;
        }
        figures.misplaced += 1;
        if !self.request.files {
            out.print(&format!("\n{path}: "));
        }
        out.line(&format!(
            " Replica placement policy is violated for {name}. Block should be additionally replicated on 1 more \
             rack(s). Total number of racks in the cluster: {}",
            cluster.racks
        ));
        1
    }

    fn broken_file(&self, out: &mut Output, path: &str, missing: (u64, u64), corrupt: (u64, u64), is_open: bool) {
        if !self.request.files {
            for (what, (count, bytes)) in [("MISSING", missing), ("CORRUPT", corrupt)] {
                if count > 0 {
                    out.print(&format!("\n{path}: {what} {count} blocks of total size {bytes} B."));
                }
            }
        }
        if is_open {
            return;
        }
        if self.request.move_files {
            out.print(&format!(
                "\n{path}: cannot be moved to /lost+found: copy what can be read with hdfs dfs -get"
            ));
        }
        if self.request.delete {
            let op = Delete {
                path: path.to_owned(),
                recursive: true,
                protected: self.shared.settings.protected.clone(),
            };
            let command = self.shared.command(self.caller.clone(), op);
            let allowed = self.shared.require_no_safe_mode(|| format!("Cannot delete {path}"));
            let handle = tokio::runtime::Handle::current();
            match allowed.and_then(|()| handle.block_on(self.shared.propose(command))) {
                Ok(_) => tracing::info!(path, "fsck deleted corrupt file"),
                Err(error) => out.print(&format!("\n{path}: cannot be deleted: {}", error.first_line())),
            }
        }
    }

    fn replicas(&self, block: Block) -> Replicas {
        let state = &self.shared.state;
        let blocks = state.blocks.lock();
        Replicas {
            counts: blocks.counts(block.id),
            located: blocks.locate(block.id, None, state.now(), &mut state.rng()),
        }
    }

    fn expected(&self, block: Block) -> Replicas {
        let state = &self.shared.state;
        let expected = state.blocks.lock().expected(block.id, state.now());
        Replicas {
            counts: ReplicaCounts::default(),
            located: crate::convert::uncorrupted(expected),
        }
    }

    /// Where the replicas are, as far as that was asked for.
    fn places(&self, replicas: &Replicas) -> String {
        let request = self.request;
        if !(request.locations || request.racks || request.replica_details) {
            return String::new();
        }
        let place = |replica: &hadron_blockmap::ReplicaLocation| {
            let (node, address) = (&replica.node, replica.node.id.xfer_addr());
            let mut text = match request.racks {
                true => format!("{}/{address}", node.rack),
                false => format!(
                    "DatanodeInfoWithStorage[{address},{},{}]",
                    replica.storage.as_str(),
                    kind_name(replica.kind)
                ),
            };
            if request.replica_details {
                text += match node.admin {
                    AdminState::Decommissioned => "(DECOMMISSIONED)",
                    AdminState::DecommissionInProgress => "(DECOMMISSIONING)",
                    AdminState::EnteringMaintenance if request.maintenance => "(ENTERING MAINTENANCE)",
                    AdminState::InMaintenance if request.maintenance => "(IN MAINTENANCE)",
                    _ if replicas.located.corrupt => "(CORRUPT)",
                    _ if node.stale => "(STALE_NODE)",
                    _ => "(LIVE)",
                };
            }
            text
        };
        let places: Vec<String> = replicas.located.replicas.iter().map(place).collect();
        format!("  [{}]", places.join(", "))
    }
}

/// `POOL:blk_ID_STAMP`.
fn block_name(pool: &str, block: Block) -> String {
    format!("{pool}:blk_{}_{}", block.id.0, block.generation_stamp.0)
}

/// Hadoop's name of a storage type.
fn kind_name(kind: StorageType) -> String {
    let wire = hadron_proto::convert::storage_type_to_wire(kind);
    hadron_proto::hdfs::StorageTypeProto::try_from(wire)
        .map_or_else(|_| "DISK".to_owned(), |kind| kind.as_str_name().to_owned())
}
