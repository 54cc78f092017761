//! What watchers of the whole file system ask: where the log is, and which changes follow a transaction.

use super::Call;
use bytes::Bytes;
use hadron_net::Reply;
use hadron_proto::hdfs::{
    EventBatchProto, EventsListProto, GetCurrentEditLogTxidRequestProto, GetCurrentEditLogTxidResponseProto,
    GetEditsFromTxidRequestProto, GetEditsFromTxidResponseProto,
};

/// getCurrentEditLogTxid.
pub(super) fn get_current_edit_log_txid(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetCurrentEditLogTxidRequestProto| {
        call.require_superuser()?;
        let txid = signed(call.shared.last_applied().0);
        Ok(GetCurrentEditLogTxidResponseProto { txid })
    })
}

/// getEditsFromTxid: a first transaction above the one asked for tells the watcher that it missed some.
pub(super) fn get_edits_from_txid(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: GetEditsFromTxidRequestProto| {
        call.require_superuser()?;
        let from = u64::try_from(request.txid).unwrap_or(0).max(1);
        let shared = &call.shared;
        let page = shared.state.edits.lock().page(from, shared.settings.inotify_max_events);
        let batch = |(txid, events): (u64, Vec<crate::edit_event_codec::EditEvent>)| EventBatchProto {
            txid: signed(txid),
            events: events.iter().map(|event| event.to_wire()).collect(),
        };
        Ok(GetEditsFromTxidResponseProto {
            events_list: EventsListProto {
                events: Vec::new(),
                first_txid: page.first,
                last_txid: page.last,
                sync_txid: signed(shared.last_applied().0),
                batch: page.batches.into_iter().map(batch).collect(),
            },
        })
    })
}

fn signed(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
