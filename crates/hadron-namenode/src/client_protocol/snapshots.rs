//! Snapshot calls, as a NameNode answers them on which no directory was ever made snapshottable.
//!
//! What it does not do: make snapshots. Reads of snapshot lists are empty, so that tools that look before they act go
//! on; whatever needs a snapshottable directory is refused with Hadoop's own exception.
//! Source of classes and texts: Hadoop `FSDirSnapshotOp`, `SnapshotManager`.

use super::Call;
use super::call::Audit;
use bytes::Bytes;
use hadron_namespace::Namespace;
use hadron_net::Reply;
use hadron_proto::hdfs::{
    AllowSnapshotRequestProto, AllowSnapshotResponseProto, CreateSnapshotRequestProto, CreateSnapshotResponseProto,
    DeleteSnapshotRequestProto, DeleteSnapshotResponseProto, DisallowSnapshotRequestProto,
    DisallowSnapshotResponseProto, GetSnapshotDiffReportListingRequestProto, GetSnapshotDiffReportListingResponseProto,
    GetSnapshotDiffReportRequestProto, GetSnapshotDiffReportResponseProto, GetSnapshotListingRequestProto,
    GetSnapshotListingResponseProto, GetSnapshottableDirListingRequestProto, GetSnapshottableDirListingResponseProto,
    RenameSnapshotRequestProto, RenameSnapshotResponseProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};

/// allowSnapshot: no directory can be made snapshottable.
pub(super) fn allow_snapshot(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &AllowSnapshotRequestProto, ns| {
        let path = &request.snapshot_root;
        call.require_superuser_for(&Audit::of("allowSnapshot", path))?;
        call.shared
            .require_no_safe_mode(|| format!("Cannot allow snapshot for {path}"))?;
        require_directory(call, ns, path)?;
        Err::<AllowSnapshotResponseProto, _>(HadoopError::new(
            ErrorKind::UnsupportedOperation,
            format!("snapshots are not supported by this NameNode: {path} cannot be made snapshottable"),
        ))
    })
}

/// disallowSnapshot: nothing is snapshottable, so an existing directory is left as it is.
pub(super) fn disallow_snapshot(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &DisallowSnapshotRequestProto, ns| {
        let path = &request.snapshot_root;
        let audit = Audit::of("disallowSnapshot", path);
        call.require_superuser_for(&audit)?;
        call.shared
            .require_no_safe_mode(|| format!("Cannot disallow snapshot for {path}"))?;
        require_directory(call, ns, path)?;
        call.audit_outcome(&audit, &Ok(()));
        Ok(DisallowSnapshotResponseProto {})
    })
}

/// createSnapshot.
pub(super) fn create_snapshot(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &CreateSnapshotRequestProto, ns| {
        let path = &request.snapshot_root;
        call.shared
            .require_no_safe_mode(|| format!("Cannot create snapshot for {path}"))?;
        let refusal = not_snapshottable(call, ns, path);
        call.audit_denied(&Audit::of("createSnapshot", path), &refusal);
        Err::<CreateSnapshotResponseProto, _>(refusal)
    })
}

/// deleteSnapshot.
pub(super) fn delete_snapshot(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &DeleteSnapshotRequestProto, ns| {
        let path = &request.snapshot_root;
        if request.snapshot_name.is_empty() {
            return Err(HadoopError::io("The snapshot name is null or empty."));
        }
        call.shared
            .require_no_safe_mode(|| format!("Cannot delete snapshot for {path}"))?;
        let refusal = not_snapshottable(call, ns, path);
        let snapshot = snapshot_path(path, &request.snapshot_name);
        call.audit_denied(&Audit::of("deleteSnapshot", &snapshot), &refusal);
        Err::<DeleteSnapshotResponseProto, _>(refusal)
    })
}

/// renameSnapshot.
pub(super) fn rename_snapshot(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &RenameSnapshotRequestProto, ns| {
        let path = &request.snapshot_root;
        if request.snapshot_new_name.is_empty() {
            return Err(HadoopError::io("The new snapshot name is null or empty."));
        }
        call.shared
            .require_no_safe_mode(|| format!("Cannot rename snapshot for {path}"))?;
        let refusal = not_snapshottable(call, ns, path);
        let old = snapshot_path(path, &request.snapshot_old_name);
        let new = snapshot_path(path, &request.snapshot_new_name);
        call.audit_denied(&Audit::between("renameSnapshot", &old, &new), &refusal);
        Err::<RenameSnapshotResponseProto, _>(refusal)
    })
}

/// getSnapshottableDirListing: there are none.
pub(super) fn get_snapshottable_dir_listing(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetSnapshottableDirListingRequestProto| {
        call.audit_outcome(&Audit::command("listSnapshottableDirectory"), &Ok(()));
        Ok(GetSnapshottableDirListingResponseProto::default())
    })
}

/// getSnapshotListing.
pub(super) fn get_snapshot_listing(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetSnapshotListingRequestProto, ns| {
        let refusal = not_snapshottable(call, ns, &request.snapshot_root);
        call.audit_denied(&Audit::of("ListSnapshot", &request.snapshot_root), &refusal);
        Err::<GetSnapshotListingResponseProto, _>(refusal)
    })
}

/// getSnapshotDiffReport.
pub(super) fn get_snapshot_diff_report(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetSnapshotDiffReportRequestProto, ns| {
        let path = &request.snapshot_root;
        let refusal = no_snapshot_root(call, ns, path);
        let (from, to) = (
            snapshot_path(path, &request.from_snapshot),
            snapshot_path(path, &request.to_snapshot),
        );
        call.audit_denied(&Audit::between("computeSnapshotDiff", &from, &to), &refusal);
        Err::<GetSnapshotDiffReportResponseProto, _>(refusal)
    })
}

/// getSnapshotDiffReportListing.
pub(super) fn get_snapshot_diff_report_listing(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetSnapshotDiffReportListingRequestProto, ns| {
        let path = &request.snapshot_root;
        let refusal = no_snapshot_root(call, ns, path);
        let (from, to) = (
            snapshot_path(path, &request.from_snapshot),
            snapshot_path(path, &request.to_snapshot),
        );
        call.audit_denied(&Audit::between("computeSnapshotDiff", &from, &to), &refusal);
        Err::<GetSnapshotDiffReportListingResponseProto, _>(refusal)
    })
}

/// How a snapshot is shown; without a name it is the directory as it is now.
fn snapshot_path(root: &str, name: &str) -> String {
    match name {
        "" => root.to_owned(),
        name => format!("{}/.snapshot/{name}", root.trim_end_matches('/')),
    }
}

/// Refuses what is no directory that the caller may see.
fn require_directory(call: &Call, ns: &Namespace, path: &str) -> HadoopResult<()> {
    match ns.file_info(&call.caller, path)? {
        None => Err(HadoopError::new(
            ErrorKind::FileNotFound,
            format!("Directory does not exist: {path}"),
        )),
        Some(status) if !status.is_directory => Err(HadoopError::new(
            ErrorKind::PathIsNotDirectory,
            format!("`{path}': Is not a directory"),
        )),
        Some(_) => Ok(()),
    }
}

fn not_snapshottable(call: &Call, ns: &Namespace, path: &str) -> HadoopError {
    let refusal = || {
        HadoopError::new(
            ErrorKind::Snapshot,
            format!("Directory is not a snapshottable directory: {path}"),
        )
    };
    require_directory(call, ns, path).err().unwrap_or_else(refusal)
}

fn no_snapshot_root(call: &Call, ns: &Namespace, path: &str) -> HadoopError {
    let refusal = || {
        HadoopError::new(
            ErrorKind::Snapshot,
            format!("The path {path} is neither snapshottable nor under a snapshot root!"),
        )
    };
    require_directory(call, ns, path).err().unwrap_or_else(refusal)
}
