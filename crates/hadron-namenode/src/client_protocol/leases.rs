//! Leases: renewal, recovery on demand, and the list of open files.

use super::Call;
use super::call::{Audit, decode};
use crate::lease_release::Released;
use bytes::Bytes;
use hadron_namespace::Namespace;
use hadron_net::Reply;
use hadron_proto::hdfs::{
    ListOpenFilesRequestProto, ListOpenFilesResponseProto, OpenFilesBatchResponseProto, OpenFilesTypeProto,
    RecoverLeaseRequestProto, RecoverLeaseResponseProto, RenewLeaseRequestProto, RenewLeaseResponseProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult, InodeId};
use std::collections::BTreeSet;

/// Open files looked at under one hold of the namespace's lock, whether they are listed or not.
const OPEN_FILES_PER_HOLD: usize = 1000;

/// renewLease: soft state only; an unknown holder is no error.
pub(super) fn renew_lease(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: RenewLeaseRequestProto| {
        let shared = &call.shared;
        shared.require_no_safe_mode(|| format!("Cannot renew lease for {}", request.client_name))?;
        shared
            .state
            .leases
            .lock()
            .renew(&request.client_name, shared.state.now());
        Ok(RenewLeaseResponseProto {})
    })
}

/// recoverLease: takes a file away from its writer; true when it is closed now.
pub(super) fn recover_lease(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: RecoverLeaseRequestProto| async move {
        let shared = &call.shared;
        shared.require_no_safe_mode(|| format!("Cannot recover the lease of {}", request.src))?;
        let open = shared.state.ns.read().lease_of_path(&call.caller, &request.src)?;
        let result = match open {
            None => true,
            Some(open) => {
                tracing::info!(src = request.src, holder = %open.holder, by = request.client_name, "recoverLease");
                shared.release_lease(open.file, Some(&request.client_name)).await? == Released::Closed
            }
        };
        Ok(RecoverLeaseResponseProto { result })
    })
}

/// listOpenFiles, in pages by inode id: all that are open, or those that hold up a decommissioning.
///
/// A page costs as much as it looks at, not as there are open files; the lock is given back now and then.
pub(super) fn list_open_files(call: &Call, body: Bytes) -> Reply {
    let (call, request) = match decode::<ListOpenFilesRequestProto>(body) {
        Ok(request) => (call.clone(), request),
        Err(error) => return Reply::error(error),
    };
    Reply::spawned(async move {
        call.require_superuser_for(&Audit::of("listOpenFiles", request.path()))?;
        call.pass_barrier().await?;
        let page = open_files_page(&call, request).await;
        call.audit_outcome(&Audit::command("listOpenFiles"), &page);
        page
    })
}

async fn open_files_page(call: &Call, request: ListOpenFilesRequestProto) -> HadoopResult<ListOpenFilesResponseProto> {
    let path = request.path();
    if !path.is_empty() && !path.starts_with('/') {
        return Err(HadoopError::new(
            ErrorKind::IllegalArgument,
            format!("Absolute path required, but got '{path}'"),
        ));
    }
    let (state, limit) = (&call.shared.state, call.shared.settings.open_files_page);
    let all = OpenFilesTypeProto::AllOpenFiles as i32;
    let is_listed = |kind: OpenFilesTypeProto| request.types.contains(&(kind as i32));
    // Old clients name no type and mean all.
    let mut blocking = match is_listed(OpenFilesTypeProto::BlockingDecommission) && !request.types.contains(&all) {
        true => Some(state.blocks.lock().files_blocking_decommission()),
        false => None,
    };
    let filter = path.trim_end_matches('/');
    let below = |path: &str| {
        path.strip_prefix(filter)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut after = InodeId(u64::try_from(request.id).unwrap_or(0));
    let mut entries = Vec::new();
    let has_more = loop {
        let looked_at: Vec<InodeId> = match &mut blocking {
            Some(files) => {
                *files = files.split_off(&InodeId(after.0.saturating_add(1)));
                files.iter().copied().take(OPEN_FILES_PER_HOLD).collect()
            }
            None => state
                .leases
                .lock()
                .files_after(after)
                .take(OPEN_FILES_PER_HOLD)
                .collect(),
        };
        {
            let ns = state.ns.read();
            for file in &looked_at {
                if entries.len() == limit {
                    break;
                }
                after = *file;
                entries.extend(open_file_entry(&ns, *file, below));
            }
        }
        match looked_at.last() {
            Some(last) if entries.len() == limit => break *last > after || is_more_after(call, &blocking, after),
            Some(_) => tokio::task::yield_now().await,
            None => break false,
        }
    };
    Ok(ListOpenFilesResponseProto {
        entries,
        has_more,
        types: request.types,
    })
}

fn open_file_entry(ns: &Namespace, file: InodeId, below: impl Fn(&str) -> bool) -> Option<OpenFilesBatchResponseProto> {
    // A file that was closed or deleted meanwhile is not listed.
    let open = ns.open_file(file)?;
    let path = ns.path_of(file).filter(|path| below(path))?;
    Some(OpenFilesBatchResponseProto {
        id: i64::try_from(file.0).unwrap_or(i64::MAX),
        path,
        client_name: open.holder.as_ref().to_owned(),
        client_machine: open.client_machine.as_ref().to_owned(),
    })
}

fn is_more_after(call: &Call, blocking: &Option<BTreeSet<InodeId>>, after: InodeId) -> bool {
    match blocking {
        Some(files) => files.iter().next_back().is_some_and(|last| *last > after),
        None => call.shared.state.leases.lock().files_after(after).next().is_some(),
    }
}
