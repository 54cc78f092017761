//! truncate: cuts a file's end off, by recovery of its last block where that ends in a block's middle.

use super::Call;
use super::call::Audit;
use super::files::unexpected;
use crate::state_change;
use bytes::Bytes;
use hadron_namespace::command::Truncate;
use hadron_namespace::{Namespace, OutcomeValue};
use hadron_net::Reply;
use hadron_proto::hdfs::{TruncateRequestProto, TruncateResponseProto};
use hadron_types::ErrorKind;

/// truncate: true when the file has its new length, false when the caller is to wait until the file is closed.
pub(super) fn truncate(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: TruncateRequestProto| async move {
        let audit = Audit::of("truncate", &request.src);
        state_change::truncate(&request.src, request.new_length as i64);
        let path = request.src.clone();
        let holder = request.client_name.clone();
        let command = call.command(Truncate {
            path: request.src,
            // Java's long.
            new_len: request.new_length as i64,
            holder: request.client_name,
            client_machine: call.context.peer.to_string(),
        });
        let admitted = call.admit(&command, || format!("Cannot truncate for {path}"));
        let value = match admitted {
            Ok(Some(value)) => value,
            Ok(None) => {
                let outcome = call.shared.propose(command).await;
                call.audit_outcome(&audit, &outcome);
                outcome?
            }
            Err(error) => {
                let is_running = is_being_truncated(&call.shared.state.ns.read(), &call, &path);
                if error.kind != ErrorKind::AlreadyBeingCreated || is_running {
                    call.audit_denied(&audit, &error);
                    return Err(error);
                }
                call.take_over("TRUNCATE_FILE", &path, &holder, error).await?;
                let outcome = call.shared.propose(command).await;
                call.audit_outcome(&audit, &outcome);
                outcome?
            }
        };
        match value {
            OutcomeValue::Bool(result) => Ok(TruncateResponseProto { result }),
            other => Err(unexpected("truncate", &other)),
        }
    })
}

/// Whether a truncation of the file runs: that is no writer to take the file from.
fn is_being_truncated(ns: &Namespace, call: &Call, path: &str) -> bool {
    let file = ns.file_id_for_write(&call.caller, path, 0).ok().flatten();
    let last = file.and_then(|file| ns.last_blocks(file).pop());
    let recovery = last.and_then(|last| ns.block_recovery(last.block.id));
    recovery.is_some_and(|recovery| recovery.truncate_to.is_some())
}
