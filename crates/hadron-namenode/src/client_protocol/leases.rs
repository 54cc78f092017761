//! Leases: renewal, recovery on demand, and the list of open files.

use super::Call;
use super::call::{Audit, decode};
use crate::lease_release::Released;
use bytes::Bytes;
use hadron_namespace::Namespace;
use hadron_net::Reply;
use hadron_proto::hdfs::{
    ListOpenFilesRequestProto, ListOpenFilesResponseProto, OpenFilesBatchResponseProto, RecoverLeaseRequestProto,
    RecoverLeaseResponseProto, RenewLeaseRequestProto, RenewLeaseResponseProto,
};

/// Entries of one page of listOpenFiles (`dfs.namenode.list.openfiles.num.responses`).
const OPEN_FILES_PAGE: usize = 1000;

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
        let open = shared.state.ns.read().lease_of_path(&call.caller, &request.src);
        call.audit_outcome(&Audit::of("recoverLease", &request.src), &open);
        let result = match open? {
            None => true,
            Some(open) => shared.release_lease(open.file, Some(request.client_name)).await? == Released::Closed,
        };
        Ok(RecoverLeaseResponseProto { result })
    })
}

/// listOpenFiles, in pages by inode id. Works on a snapshot: there may be many open files, and writers do not wait.
pub(super) fn list_open_files(call: &Call, body: Bytes) -> Reply {
    let (call, request) = match decode::<ListOpenFilesRequestProto>(body) {
        Ok(request) => (call.clone(), request),
        Err(error) => return Reply::error(error),
    };
    Reply::spawned(async move {
        call.require_superuser()?;
        call.pass_barrier().await?;
        let ns = call.shared.state.ns.read().snapshot();
        Ok(open_files_page(&ns, request))
    })
}

fn open_files_page(ns: &Namespace, request: ListOpenFilesRequestProto) -> ListOpenFilesResponseProto {
    let filter = request.path().trim_end_matches('/');
    let after = u64::try_from(request.id).unwrap_or(0);
    let below = |path: &str| {
        path.strip_prefix(filter)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut open = ns
        .open_files()
        .into_iter()
        .filter(|open| open.file.0 > after)
        .filter_map(|open| {
            let path = ns.path_of(open.file).filter(|path| below(path))?;
            Some(OpenFilesBatchResponseProto {
                id: open.file.0 as i64,
                path,
                client_name: open.holder.as_ref().to_owned(),
                client_machine: open.client_machine.as_ref().to_owned(),
            })
        });
    let entries = open.by_ref().take(OPEN_FILES_PAGE).collect();
    let has_more = open.next().is_some();
    ListOpenFilesResponseProto {
        entries,
        has_more,
        types: request.types,
    }
}
