//! metaSave: a text file in the log folder about the blocks that wait for work.
//!
//! What it does not do: list every block; each list is cut at [`MAX_LISTED`]. The file is written off the reactor.
//! Invariant: only a bare file name is taken, so that nothing outside the log folder can be written.
//! Source of the lines: Hadoop `FSNamesystem.metaSave`, `BlockManager.metaSave`, `DatanodeInfo.dumpDatanode`.

use super::Call;
use super::call::Audit;
use crate::{Shared, format};
use bytes::Bytes;
use hadron_blockmap::{AdminState, BlockDump, DEFAULT_RACK, DatanodeReport, DumpedReplica};
use hadron_namespace::Namespace;
use hadron_net::Reply;
use hadron_proto::hdfs::{MetaSaveRequestProto, MetaSaveResponseProto};
use hadron_types::{Block, BlockId, HadoopError, HadoopResult};
use std::fmt::Write as _;
use std::sync::Arc;

/// Most blocks of each list.
const MAX_LISTED: usize = 100_000;

/// metaSave.
pub(super) fn meta_save(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: MetaSaveRequestProto| async move {
        let audit = Audit::command("metaSave");
        call.require_superuser_for(&audit)?;
        let name = request.filename;
        if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err(HadoopError::io(format!(
                "metasave wants a file name without folders, which it puts into the NameNode's log folder: {name}"
            )));
        }
        let path = call.shared.settings.log_dir.join(&name);
        let shared = Arc::clone(&call.shared);
        let written = tokio::task::spawn_blocking(move || write(&shared, &path)).await;
        let written = written.map_err(|error| HadoopError::io(format!("write metasave: {error}")))?;
        call.audit_outcome(&audit, &written);
        written?;
        Ok(MetaSaveResponseProto {})
    })
}

fn write(shared: &Shared, path: &std::path::Path) -> HadoopResult<()> {
    let report = report(shared);
    let written = path
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, report));
    written.map_err(|error| HadoopError::io(format!("write {}: {error}", path.display())))
}

fn report(shared: &Shared) -> String {
    let state = &shared.state;
    let now = state.now();
    let ns = state.ns.read().snapshot();
    let (dump, nodes, replicas) = {
        let blocks = state.blocks.lock();
        let dump = blocks.dump(MAX_LISTED);
        let ids = dump.needed.iter().chain(&dump.missing).chain(&dump.postponed);
        let replicas: Vec<_> = ids.map(|id| blocks.dump_replicas(*id)).collect();
        (dump, blocks.datanodes(now), replicas)
    };
    render(&ns, &dump, &nodes, replicas)
}

fn render(ns: &Namespace, dump: &BlockDump, nodes: &[DatanodeReport], replicas: Vec<Vec<DumpedReplica>>) -> String {
    let counts = ns.counts();
    let (inodes, blocks) = (counts.files + counts.directories, counts.blocks);
    let mut out = format!(
        "{inodes} files and directories, {blocks} blocks = {} total filesystem objects\n",
        inodes + blocks
    );
    let live = nodes.iter().filter(|node| node.info.alive).count();
    line(&mut out, format_args!("Live Datanodes: {live}"));
    line(&mut out, format_args!("Dead Datanodes: {}", nodes.len() - live));
    let mut replicas = replicas.into_iter();
    let mut list = |out: &mut String, ids: &[BlockId]| {
        for id in ids {
            block_line(out, ns, *id, &replicas.next().unwrap_or_default());
        }
    };
    line(
        &mut out,
        format_args!("Metasave: Blocks waiting for reconstruction: {}", dump.needed.len()),
    );
    list(&mut out, &dump.needed);
    line(
        &mut out,
        format_args!("Metasave: Blocks currently missing: {}", dump.missing.len()),
    );
    list(&mut out, &dump.missing);
    line(
        &mut out,
        format_args!("Mis-replicated blocks that have been postponed:"),
    );
    list(&mut out, &dump.postponed);
    line(
        &mut out,
        format_args!("Metasave: Blocks being reconstructed: {}", dump.copies.len()),
    );
    for copy in &dump.copies {
        let (name, since) = (block_name(ns, copy.block), format::clock_time(copy.since));
        line(
            &mut out,
            format_args!("{name} StartTime: {since} NumReconstructInProgress: {}", copy.copies),
        );
    }
    let deletions: usize = dump.deletions.iter().map(|(_, blocks)| blocks.len()).sum();
    let from = dump.deletions.len();
    line(
        &mut out,
        format_args!("Metasave: Blocks {deletions} waiting deletion from {from} datanodes."),
    );
    for (node, blocks) in &dump.deletions {
        let names: Vec<String> = blocks.iter().map(name_of).collect();
        line(&mut out, format_args!("{node}\n{}", names.join(",")));
    }
    line(&mut out, format_args!("Corrupt Blocks:"));
    for (id, replica, reason, total) in &dump.corrupt {
        let size = ns.stored_block(*id).map_or(0, |stored| stored.block.len);
        line(
            &mut out,
            format_args!(
                "Block={}\tSize={size}\tNode={}\tStorageID={}\tStorageState=NORMAL\tTotalReplicas={total}\tReason={reason}",
                block_name(ns, *id),
                replica.node,
                replica.storage
            ),
        );
    }
    line(&mut out, format_args!("Metasave: Number of datanodes: {}", nodes.len()));
    for node in nodes {
        datanode_line(&mut out, node);
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

fn name_of(block: &Block) -> String {
    format!("blk_{}_{}", block.id.0, block.generation_stamp.0)
}

fn block_name(ns: &Namespace, id: BlockId) -> String {
    match ns.stored_block(id) {
        Some(stored) => name_of(&stored.block),
        None => format!("blk_{}_0", id.0),
    }
}

fn block_line(out: &mut String, ns: &Namespace, id: BlockId, replicas: &[DumpedReplica]) {
    let Some(stored) = ns.stored_block(id) else {
        return line(out, format_args!("Block {} is Null", block_name(ns, id)));
    };
    let file = ns.path_of(stored.file).unwrap_or_else(|| "[orphaned]".to_owned());
    let of = |wanted: fn(&DumpedReplica) -> bool| replicas.iter().filter(|replica| wanted(replica)).count();
    let leaving = |admin| matches!(admin, AdminState::DecommissionInProgress | AdminState::Decommissioned);
    let maintained = |admin| matches!(admin, AdminState::EnteringMaintenance | AdminState::InMaintenance);
    let live = of(|replica| !replica.corrupt && replica.admin == AdminState::Normal);
    let corrupt = of(|replica| replica.corrupt);
    let decommissioning = replicas.iter().filter(|one| !one.corrupt && leaving(one.admin)).count();
    let maintenance = replicas
        .iter()
        .filter(|one| !one.corrupt && maintained(one.admin))
        .count();
    let missing = if live + decommissioning > 0 { "" } else { " MISSING" };
    let mut text = format!(
        "{file}: {}{missing} (replicas: live: {live} decommissioning and decommissioned: {decommissioning} corrupt: \
         {corrupt} in excess: 0 maintenance mode: {maintenance}) ",
        name_of(&stored.block)
    );
    for replica in replicas {
        let state = match replica.admin {
            _ if replica.corrupt => "(corrupt)",
            admin if leaving(admin) => "(decommissioned)",
            admin if maintained(admin) => "(maintenance)",
            _ => "",
        };
        let stale = if replica.stale {
            " (block deletions maybe out of date)"
        } else {
            ""
        };
        let _ = write!(text, " {}{state}{stale} : ", replica.node);
    }
    line(out, format_args!("{text}"));
}

fn datanode_line(out: &mut String, node: &DatanodeReport) {
    let (info, stats) = (&node.info, &node.info.stats);
    let rack = match &*info.rack {
        DEFAULT_RACK => String::new(),
        rack => format!(" {rack}"),
    };
    let state = match info.admin {
        AdminState::Decommissioned => "DD",
        AdminState::DecommissionInProgress => "DP",
        AdminState::InMaintenance => "IM",
        AdminState::EnteringMaintenance => "EM",
        AdminState::Normal => "IN",
    };
    let bytes = |value: u64| format!("{value}({})", format::bytes(value));
    let (capacity, used, remaining) = (bytes(stats.capacity), bytes(stats.dfs_used), bytes(stats.remaining));
    let (cache, cached) = (bytes(stats.cache_capacity), bytes(stats.cache_used));
    let cache_left = bytes(stats.cache_capacity.saturating_sub(stats.cache_used));
    line(
        out,
        format_args!(
            "{}{rack} {state} {capacity} {used} {} {remaining} {cache} {cached} {} {cache_left} {}",
            info.id.xfer_addr(),
            format::percent(stats.dfs_used, stats.capacity),
            format::percent(stats.cache_used, stats.cache_capacity),
            format::date(stats.last_update)
        ),
    );
}
