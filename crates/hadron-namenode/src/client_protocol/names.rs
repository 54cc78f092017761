//! Calls that change names: mkdirs, rename, rename2, delete.

use super::Call;
use super::call::{Audit, decode};
use bytes::Bytes;
use hadron_namespace::command::{Delete, Mkdirs, Rename, Rename2};
use hadron_net::Reply;
use hadron_proto::hdfs::{
    CreateSymlinkRequestProto, CreateSymlinkResponseProto, DeleteRequestProto, DeleteResponseProto, MkdirsRequestProto,
    MkdirsResponseProto, Rename2RequestProto, Rename2ResponseProto, RenameRequestProto, RenameResponseProto,
};
use hadron_types::{ErrorKind, HadoopError};

/// mkdirs.
pub(super) fn mkdirs(call: &Call, body: Bytes) -> Reply {
    let request: MkdirsRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let audit = Audit::of("mkdirs", &request.src);
    let what = format!("Cannot create directory {}", request.src);
    let op = Mkdirs {
        path: request.src,
        masked_permission: request.masked.perm,
        create_parent: request.create_parent,
        unmasked_permission: request.unmasked.map(|unmasked| unmasked.perm),
    };
    call.mutate(
        || what,
        audit,
        op,
        |_, value| {
            Ok(MkdirsResponseProto {
                result: value.is_true(),
            })
        },
    )
}

/// rename: the old one, which answers false where it cannot.
pub(super) fn rename(call: &Call, body: Bytes) -> Reply {
    let request: RenameRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let audit = Audit::between("rename", &request.src, &request.dst);
    let what = format!("Cannot rename {}", request.src);
    let op = Rename {
        source: request.src,
        target: request.dst,
        protected: call.shared.settings.protected.clone(),
    };
    call.mutate(
        || what,
        audit,
        op,
        |_, value| {
            Ok(RenameResponseProto {
                result: value.is_true(),
            })
        },
    )
}

/// rename2: the exact one.
pub(super) fn rename2(call: &Call, body: Bytes) -> Reply {
    let request: Rename2RequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let to_trash = request.move_to_trash();
    let command = match (request.overwrite_dest, to_trash) {
        (false, false) => "rename (options=[NONE])",
        (true, false) => "rename (options=[OVERWRITE])",
        (false, true) => "rename (options=[TO_TRASH])",
        (true, true) => "rename (options=[OVERWRITE, TO_TRASH])",
    };
    let audit = Audit::between(command, &request.src, &request.dst);
    let what = format!("Cannot rename {}", request.src);
    let op = Rename2 {
        source: request.src,
        target: request.dst,
        overwrite: request.overwrite_dest,
        to_trash,
        protected: call.shared.settings.protected.clone(),
    };
    call.mutate(|| what, audit, op, |_, _| Ok(Rename2ResponseProto {}))
}

/// delete.
pub(super) fn delete(call: &Call, body: Bytes) -> Reply {
    let request: DeleteRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let audit = Audit::of("delete", &request.src);
    let what = format!("Cannot delete {}", request.src);
    let op = Delete {
        path: request.src,
        recursive: request.recursive,
        protected: call.shared.settings.protected.clone(),
    };
    call.mutate(
        || what,
        audit,
        op,
        |_, value| {
            Ok(DeleteResponseProto {
                result: value.is_true(),
            })
        },
    )
}

/// createSymlink: refused, as HDFS does unless its code is told otherwise.
pub(super) fn create_symlink(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |_, _: CreateSymlinkRequestProto| {
        Err::<CreateSymlinkResponseProto, _>(HadoopError::new(
            ErrorKind::UnsupportedOperation,
            "Symlinks not supported",
        ))
    })
}
