//! `-blockId` and `-list-corruptfileblocks`.

use super::{Check, Output};
use hadron_blockmap::AdminState;
use hadron_namespace::Namespace;
use hadron_types::{BlockId, HadoopResult};

/// Files of one answer (`dfs.corruptfilesreturned.max`).
const CORRUPT_FILES_PAGE: usize = 500;
/// Missing blocks looked at for one answer.
const MAX_LOOKED_AT: usize = 20_000;

impl Check<'_> {
    pub(super) fn block_ids(&self, out: &mut Output, ids: &[String]) {
        if !self.caller.superuser {
            let user = &self.caller.user;
            out.line(&format!(
                "Access denied for user {user}. Superuser privilege is required"
            ));
            return out.print(&format!("\n\nFsck on path '{}' FAILED", self.request.path));
        }
        for text in ids {
            match text
                .strip_prefix("blk_")
                .and_then(|rest| rest.split('_').next()?.parse().ok())
            {
                None => out.line(&format!("Incorrect blockId format: {text}")),
                Some(id) => {
                    out.print("\n");
                    self.block_id(out, text, BlockId(id));
                }
            }
        }
    }

    fn block_id(&self, out: &mut Output, text: &str, id: BlockId) {
        let state = &self.shared.state;
        let found = {
            let ns = state.ns.read();
            let stored = ns.stored_block(id);
            stored.and_then(|stored| Some((stored.replication, ns.path_of(stored.file)?)))
        };
        let Some((wanted, path)) = found else {
            return out.line(&format!("Block {text} does not exist"));
        };
        let (counts, replicas, nodes) = {
            let blocks = state.blocks.lock();
            let now = state.now();
            (blocks.counts(id), blocks.dump_replicas(id), blocks.datanodes(now))
        };
        let on = |wanted: AdminState| replicas.iter().filter(|replica| replica.admin == wanted).count();
        let node_of = |replica: &hadron_blockmap::DumpedReplica| {
            let found = nodes.iter().find(|node| node.info.id.xfer_addr() == replica.node);
            found.map(|node| &node.info)
        };
        let is_stale = |replica: &&hadron_blockmap::DumpedReplica| node_of(replica).is_some_and(|node| node.stale);
        let mut lines = vec![
            format!("Block Id: {text}"),
            format!("Block belongs to: {path}"),
            format!("No. of Expected Replica: {wanted}"),
            format!("No. of live Replica: {}", counts.live),
            format!("No. of excess Replica: {}", counts.excess),
            format!("No. of stale Replica: {}", replicas.iter().filter(is_stale).count()),
            format!("No. of decommissioned Replica: {}", on(AdminState::Decommissioned)),
            format!(
                "No. of decommissioning Replica: {}",
                on(AdminState::DecommissionInProgress)
            ),
        ];
        if self.request.maintenance {
            let (entering, inside) = (on(AdminState::EnteringMaintenance), on(AdminState::InMaintenance));
            lines.push(format!("No. of entering maintenance Replica: {entering}"));
            lines.push(format!("No. of in maintenance Replica: {inside}"));
        }
        lines.push(format!("No. of corrupted Replica: {}", counts.corrupt));
        for replica in &replicas {
            let node = node_of(replica);
            let state = match replica.admin {
                _ if replica.corrupt => "is CORRUPT\t ReasonCode: CORRUPTION_REPORTED",
                AdminState::Decommissioned => "is DECOMMISSIONED",
                AdminState::DecommissionInProgress => "is DECOMMISSIONING",
                AdminState::EnteringMaintenance if self.request.maintenance => "is ENTERING MAINTENANCE",
                AdminState::InMaintenance if self.request.maintenance => "is IN MAINTENANCE",
                _ if node.is_some_and(|node| node.stale) => "is STALE",
                _ => "is HEALTHY",
            };
            let place = node.map_or_else(
                || replica.node.clone(),
                |node| format!("{}{}", node.id.host_name, node.rack),
            );
            lines.push(format!("Block replica on datanode/rack: {place} {state}"));
        }
        for line in lines {
            out.line(&line);
        }
    }

    pub(super) fn list_corrupt(&self, out: &mut Output, ns: &Namespace) -> HadoopResult<()> {
        if !self.caller.superuser {
            let user = &self.caller.user;
            return Err(hadron_types::HadoopError::new(
                hadron_types::ErrorKind::AccessControl,
                format!("Access denied for user {user}. Superuser privilege is required"),
            ));
        }
        let (path, start) = (&self.request.path, self.request.start_after);
        let missing = self
            .shared
            .state
            .blocks
            .lock()
            .missing_blocks(start.saturating_add(MAX_LOOKED_AT));
        let root = path.trim_end_matches('/');
        let (mut found, mut looked_at) = (Vec::new(), start);
        for id in missing.iter().skip(start) {
            looked_at += 1;
            let file = ns.stored_block(*id).and_then(|stored| ns.path_of(stored.file));
            let below = file.filter(|file| {
                file.strip_prefix(root)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            found.extend(below.map(|file| format!("blk_{}\t{file}", id.0)));
            if found.len() >= CORRUPT_FILES_PAGE {
                break;
            }
        }
        let count = match (found.len(), looked_at) {
            (0, 0) => "no".to_owned(),
            (0, _) => "no more".to_owned(),
            (count, _) => count.to_string(),
        };
        out.line(&format!("Cookie:\t{looked_at}"));
        for line in found {
            out.line(&line);
        }
        out.line(&format!(
            "\n\nThe filesystem under path '{path}' has {count} CORRUPT files"
        ));
        out.line("");
        Ok(())
    }
}
