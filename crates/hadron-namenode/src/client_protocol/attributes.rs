//! Calls that change attributes: setPermission, setOwner, setTimes, setReplication.

use super::Call;
use super::call::{Audit, decode};
use bytes::Bytes;
use hadron_namespace::command::{SetOwner, SetPermission, SetReplication, SetTimes};
use hadron_net::Reply;
use hadron_proto::hdfs::{
    SetOwnerRequestProto, SetOwnerResponseProto, SetPermissionRequestProto, SetPermissionResponseProto,
    SetReplicationRequestProto, SetReplicationResponseProto, SetTimesRequestProto, SetTimesResponseProto,
};

/// setPermission.
pub(super) fn set_permission(call: &Call, body: Bytes) -> Reply {
    let request: SetPermissionRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let audit = Audit::of("setPermission", &request.src);
    let what = format!("Cannot set permission for {}", request.src);
    let op = SetPermission {
        path: request.src,
        permission: request.permission.perm,
    };
    call.mutate(|| what, audit, op, |_, _| Ok(SetPermissionResponseProto {}))
}

/// setOwner.
pub(super) fn set_owner(call: &Call, body: Bytes) -> Reply {
    let request: SetOwnerRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let audit = Audit::of("setOwner", &request.src);
    let what = format!("Cannot set owner for {}", request.src);
    let op = SetOwner {
        path: request.src,
        user: request.username,
        group: request.groupname,
    };
    call.mutate(|| what, audit, op, |_, _| Ok(SetOwnerResponseProto {}))
}

/// setTimes; all-ones on the wire is Java's -1 and leaves a time as it is.
pub(super) fn set_times(call: &Call, body: Bytes) -> Reply {
    let request: SetTimesRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let audit = Audit::of("setTimes", &request.src);
    let what = format!("Cannot set times {}", request.src);
    let given = |time: u64| (time != u64::MAX).then_some(time);
    let op = SetTimes {
        path: request.src,
        mtime_ms: given(request.mtime),
        atime_ms: given(request.atime),
    };
    call.mutate(|| what, audit, op, |_, _| Ok(SetTimesResponseProto {}))
}

/// setReplication.
pub(super) fn set_replication(call: &Call, body: Bytes) -> Reply {
    let request: SetReplicationRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let audit = Audit::of("setReplication", &request.src);
    let what = format!("Cannot set replication for {}", request.src);
    let op = SetReplication {
        path: request.src,
        // Java reads the field as a short.
        replication: i32::from(request.replication as i16),
    };
    call.mutate(
        || what,
        audit,
        op,
        |_, value| {
            Ok(SetReplicationResponseProto {
                result: value.is_true(),
            })
        },
    )
}
