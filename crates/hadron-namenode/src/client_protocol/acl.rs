//! The ACL calls: setAcl, modifyAclEntries, removeAclEntries, removeAcl, removeDefaultAcl, getAclStatus.
//!
//! What it does not do: the rules of ACLs, which are the namespace's; here messages become commands and answers.

use super::Call;
use super::call::{Audit, decode};
use bytes::Bytes;
use hadron_namespace::command::{
    AclEntryRecord, ModifyAclEntries, RemoveAcl, RemoveAclEntries, RemoveDefaultAcl, SetAcl,
};
use hadron_namespace::{AclEntry, Op};
use hadron_net::Reply;
use hadron_proto::Required;
use hadron_proto::hdfs::{
    AclEntryProto, AclStatusProto, GetAclStatusRequestProto, GetAclStatusResponseProto, ModifyAclEntriesRequestProto,
    ModifyAclEntriesResponseProto, RemoveAclEntriesRequestProto, RemoveAclEntriesResponseProto, RemoveAclRequestProto,
    RemoveAclResponseProto, RemoveDefaultAclRequestProto, RemoveDefaultAclResponseProto, SetAclRequestProto,
    SetAclResponseProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};

/// setAcl: replaces the ACL.
pub(super) fn set_acl(call: &Call, body: Bytes) -> Reply {
    change::<SetAclRequestProto, SetAclResponseProto>(call, body, "setAcl", "Cannot set ACL on ", |request| {
        let entries = records(&request.acl_spec);
        let path = request.src;
        (path.clone(), SetAcl { path, entries }.into())
    })
}

/// modifyAclEntries: adds and replaces entries.
pub(super) fn modify_acl_entries(call: &Call, body: Bytes) -> Reply {
    let what = "Cannot modify ACL entries on ";
    change::<ModifyAclEntriesRequestProto, ModifyAclEntriesResponseProto>(
        call,
        body,
        "modifyAclEntries",
        what,
        |request| {
            let entries = records(&request.acl_spec);
            let path = request.src;
            (path.clone(), ModifyAclEntries { path, entries }.into())
        },
    )
}

/// removeAclEntries.
pub(super) fn remove_acl_entries(call: &Call, body: Bytes) -> Reply {
    let what = "Cannot remove ACL entries on ";
    change::<RemoveAclEntriesRequestProto, RemoveAclEntriesResponseProto>(
        call,
        body,
        "removeAclEntries",
        what,
        |request| {
            let entries = records(&request.acl_spec);
            let path = request.src;
            (path.clone(), RemoveAclEntries { path, entries }.into())
        },
    )
}

/// removeAcl: all but the mode.
pub(super) fn remove_acl(call: &Call, body: Bytes) -> Reply {
    let what = "Cannot remove ACL on ";
    change::<RemoveAclRequestProto, RemoveAclResponseProto>(call, body, "removeAcl", what, |request| {
        let path = request.src;
        (path.clone(), RemoveAcl { path }.into())
    })
}

/// removeDefaultAcl.
pub(super) fn remove_default_acl(call: &Call, body: Bytes) -> Reply {
    let what = "Cannot remove default ACL entries on ";
    change::<RemoveDefaultAclRequestProto, RemoveDefaultAclResponseProto>(
        call,
        body,
        "removeDefaultAcl",
        what,
        |request| {
            let path = request.src;
            (path.clone(), RemoveDefaultAcl { path }.into())
        },
    )
}

/// getAclStatus.
pub(super) fn get_acl_status(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetAclStatusRequestProto, ns| {
        call.require_acls()?;
        let status = ns.acl_status(&call.caller, &request.src);
        if call.is_audited() {
            call.audit_outcome(&Audit::of("getAclStatus", &request.src), &status);
        }
        let status = status?;
        let result = AclStatusProto {
            sticky: status.permission.is_sticky(),
            owner: status.owner,
            group: status.group,
            entries: status.entries.into_iter().map(entry_proto).collect(),
            permission: Some(status.permission.into()),
        };
        Ok(GetAclStatusResponseProto { result })
    })
}

/// Serves a call that changes an ACL; `what` begins safe mode's text, `op_of` gives the path and the operation.
fn change<Q, R>(
    call: &Call,
    body: Bytes,
    command: &'static str,
    what: &'static str,
    op_of: impl FnOnce(Q) -> (String, Op),
) -> Reply
where
    Q: prost::Message + Default + Required,
    R: prost::Message + Default + 'static,
{
    let request = match call.require_acls().and_then(|()| decode::<Q>(body)) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let (path, op) = op_of(request);
    let audit = Audit::of(command, &path);
    call.mutate(|| format!("{what}{path}"), audit, op, |_, _| Ok(R::default()))
}

fn records(entries: &[AclEntryProto]) -> Vec<AclEntryRecord> {
    let record = |entry: &AclEntryProto| AclEntryRecord {
        kind: entry.r#type,
        scope: entry.scope,
        permission: entry.permissions as u32,
        name: entry.name().to_owned(),
    };
    entries.iter().map(record).collect()
}

fn entry_proto(entry: AclEntry) -> AclEntryProto {
    AclEntryProto {
        r#type: entry.kind as i32,
        scope: entry.scope as i32,
        permissions: i32::from(entry.permission.0),
        name: entry.name,
    }
}

impl Call {
    fn require_acls(&self) -> HadoopResult<()> {
        if self.shared.settings.acls_enabled {
            return Ok(());
        }
        Err(HadoopError::new(
            ErrorKind::Acl,
            "The ACL operation has been rejected.  Support for ACLs has been disabled by setting \
             dfs.namenode.acls.enabled to false.",
        ))
    }
}
