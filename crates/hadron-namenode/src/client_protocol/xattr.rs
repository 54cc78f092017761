//! The calls of extended attributes: setXAttr, removeXAttr, getXAttrs, listXAttrs.
//!
//! What it does not do: who may see and change which, which is the namespace's.

use super::Call;
use super::call::{Audit, decode};
use bytes::Bytes;
use hadron_namespace::XAttr;
use hadron_namespace::command::{RemoveXAttr, SetXAttr, XAttrRecord};
use hadron_net::Reply;
use hadron_proto::hdfs::{
    GetXAttrsRequestProto, GetXAttrsResponseProto, ListXAttrsRequestProto, ListXAttrsResponseProto,
    RemoveXAttrRequestProto, RemoveXAttrResponseProto, SetXAttrRequestProto, SetXAttrResponseProto, XAttrProto,
};
use hadron_types::{HadoopError, HadoopResult};

/// setXAttr.
pub(super) fn set_x_attr(call: &Call, body: Bytes) -> Reply {
    let request: SetXAttrRequestProto = match call.require_x_attrs().and_then(|()| decode(body)) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let (audit, path) = (Audit::of("setXAttr", &request.src), request.src.clone());
    let op = SetXAttr {
        flags: request.flag(),
        xattr: record(&request.x_attr.unwrap_or_default()),
        path: request.src,
    };
    call.mutate(
        || format!("Cannot set XAttr on {path}"),
        audit,
        op,
        |_, _| Ok(SetXAttrResponseProto {}),
    )
}

/// removeXAttr.
pub(super) fn remove_x_attr(call: &Call, body: Bytes) -> Reply {
    let request: RemoveXAttrRequestProto = match call.require_x_attrs().and_then(|()| decode(body)) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let (audit, path) = (Audit::of("removeXAttr", &request.src), request.src.clone());
    let op = RemoveXAttr {
        xattr: record(&request.x_attr.unwrap_or_default()),
        path: request.src,
    };
    call.mutate(
        || format!("Cannot remove XAttr entry on {path}"),
        audit,
        op,
        |_, _| Ok(RemoveXAttrResponseProto {}),
    )
}

/// getXAttrs: those asked for, all of which must exist, or all.
pub(super) fn get_x_attrs(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetXAttrsRequestProto, ns| {
        call.require_x_attrs()?;
        let wanted: Vec<XAttrRecord> = request.x_attrs.iter().map(record).collect();
        let found = ns.get_xattrs(&call.caller, &request.src, &wanted);
        call.audit_x_attrs("getXAttrs", &request.src, &found);
        let x_attrs = protos(found?);
        Ok(GetXAttrsResponseProto { x_attrs })
    })
}

/// listXAttrs: all that the caller may see.
pub(super) fn list_x_attrs(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &ListXAttrsRequestProto, ns| {
        call.require_x_attrs()?;
        let found = ns.list_xattrs(&call.caller, &request.src);
        call.audit_x_attrs("listXAttrs", &request.src, &found);
        let x_attrs = protos(found?);
        Ok(ListXAttrsResponseProto { x_attrs })
    })
}

fn record(proto: &XAttrProto) -> XAttrRecord {
    XAttrRecord {
        namespace: proto.namespace,
        name: proto.name.clone(),
        value: proto.value.clone(),
    }
}

/// An empty value stays away, as Hadoop keeps it.
fn protos(xattrs: Vec<XAttr>) -> Vec<XAttrProto> {
    let proto = |xattr: XAttr| XAttrProto {
        namespace: xattr.namespace as i32,
        name: xattr.name,
        value: (!xattr.value.is_empty()).then_some(xattr.value),
    };
    xattrs.into_iter().map(proto).collect()
}

impl Call {
    fn require_x_attrs(&self) -> HadoopResult<()> {
        if self.shared.settings.xattrs_enabled {
            return Ok(());
        }
        Err(HadoopError::io(
            "The XAttr operation has been rejected.  Support for XAttrs has been disabled by setting \
             dfs.namenode.xattrs.enabled to false.",
        ))
    }

    fn audit_x_attrs(&self, command: &'static str, path: &str, found: &HadoopResult<Vec<XAttr>>) {
        if self.is_audited() {
            self.audit_outcome(&Audit::of(command, path), found);
        }
    }
}
