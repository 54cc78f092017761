//! concat: the blocks of other files of the same directory go to the end of one.

use super::Call;
use super::call::{Audit, decode};
use bytes::Bytes;
use hadron_namespace::command::Concat;
use hadron_net::Reply;
use hadron_proto::hdfs::{ConcatRequestProto, ConcatResponseProto};

/// concat.
pub(super) fn concat(call: &Call, body: Bytes) -> Reply {
    let request: ConcatRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    // As Java prints an array of names.
    let shown = format!("[{}]", request.srcs.join(", "));
    let audit = Audit::between("concat", &shown, &request.trg);
    let what = format!("Cannot concat {}", request.trg);
    let op = Concat {
        target: request.trg,
        sources: request.srcs,
    };
    call.mutate(|| what, audit, op, |_, _| Ok(ConcatResponseProto {}))
}
