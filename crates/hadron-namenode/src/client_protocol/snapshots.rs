//! Snapshot calls, as a NameNode answers them on which no directory was ever made snapshottable.
//!
//! What it does not do: make snapshots. Reads of snapshot lists are empty, so that tools that look before they act go
//! on; whatever needs a snapshottable directory is refused with Hadoop's own exception.
//! Source of classes and texts: Hadoop `FSDirSnapshotOp`, `SnapshotManager`.

use super::Call;
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
        call.require_superuser()?;
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
        call.require_superuser()?;
        call.shared
            .require_no_safe_mode(|| format!("Cannot disallow snapshot for {path}"))?;
        require_directory(call, ns, path)?;
        Ok(DisallowSnapshotResponseProto {})
    })
}

/// createSnapshot.
pub(super) fn create_snapshot(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &CreateSnapshotRequestProto, ns| {
        let path = &request.snapshot_root;
        call.shared
            .require_no_safe_mode(|| format!("Cannot create snapshot for {path}"))?;
        Err::<CreateSnapshotResponseProto, _>(not_snapshottable(call, ns, path))
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
        Err::<DeleteSnapshotResponseProto, _>(not_snapshottable(call, ns, path))
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
        Err::<RenameSnapshotResponseProto, _>(not_snapshottable(call, ns, path))
    })
}

/// getSnapshottableDirListing: there are none.
pub(super) fn get_snapshottable_dir_listing(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, _: GetSnapshottableDirListingRequestProto| {
        Ok(GetSnapshottableDirListingResponseProto::default())
    })
}

/// getSnapshotListing.
pub(super) fn get_snapshot_listing(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetSnapshotListingRequestProto, ns| {
        Err::<GetSnapshotListingResponseProto, _>(not_snapshottable(call, ns, &request.snapshot_root))
    })
}

/// getSnapshotDiffReport.
pub(super) fn get_snapshot_diff_report(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetSnapshotDiffReportRequestProto, ns| {
        Err::<GetSnapshotDiffReportResponseProto, _>(no_snapshot_root(call, ns, &request.snapshot_root))
    })
}

/// getSnapshotDiffReportListing.
pub(super) fn get_snapshot_diff_report_listing(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetSnapshotDiffReportListingRequestProto, ns| {
        Err::<GetSnapshotDiffReportListingResponseProto, _>(no_snapshot_root(call, ns, &request.snapshot_root))
    })
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
