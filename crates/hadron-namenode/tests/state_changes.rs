//! The lines about files and blocks in the log, in Hadoop's words. A process of its own: it takes all of its log.

mod common;

use common::{Client, Cluster};
use hadron_proto::hdfs::*;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// Keeps the messages of a target with their levels.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "StateChange"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = format!("{} ", event.metadata().level());
        event.record(&mut Message(&mut line));
        self.0.lock().expect("not poisoned").push(line);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }
}

async fn add_block(client: &Client, path: &str) -> LocatedBlockProto {
    let request = AddBlockRequestProto {
        src: path.to_owned(),
        client_name: "DFSClient_test".to_owned(),
        ..AddBlockRequestProto::default()
    };
    let answer: AddBlockResponseProto = client.call("addBlock", request).await.expect("a block");
    answer.block
}

/// covers: LM-31
#[tokio::test]
async fn state_changes_are_logged_in_hadoops_words() {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone()).expect("the only subscriber");
    let cluster = Cluster::start().await;
    cluster.add_datanodes(1);
    let client = cluster.client("hdfs").await;
    lines.take();
    client.create("/f", 3).await.expect("create");
    let block = add_block(&client, "/f").await;
    let shown = format!("blk_{}_{}", block.b.block_id, block.b.generation_stamp);
    let fsync = FsyncRequestProto {
        src: "/f".to_owned(),
        client: "DFSClient_test".to_owned(),
        last_block_length: Some(5),
        file_id: None,
    };
    client.call::<_, ()>("fsync", fsync).await.expect("fsync");
    let abandon = AbandonBlockRequestProto {
        b: block.b.clone(),
        src: "/f".to_owned(),
        holder: "DFSClient_test".to_owned(),
        file_id: None,
    };
    client.call::<_, ()>("abandonBlock", abandon).await.expect("abandoned");
    assert!(client.complete("/f", None).await.expect("complete"));
    assert_eq!(
        lines.take(),
        [
            "DEBUG DIR* NameSystem.startFile: src=/f, holder=DFSClient_test, clientMachine=127.0.0.1, createParent=true, \
             replication=3, createFlag=[CREATE, OVERWRITE]"
                .to_owned(),
            format!("INFO BLOCK* allocate {shown}, replicas=127.0.1.0:9866 for /f"),
            "INFO BLOCK* fsync: /f for DFSClient_test".to_owned(),
            format!("DEBUG BLOCK* NameSystem.abandonBlock: {shown} of file /f"),
            format!("DEBUG BLOCK* NameSystem.abandonBlock: {shown} is removed from pendingCreates"),
            "INFO DIR* completeFile: /f is closed by DFSClient_test".to_owned(),
        ]
    );

    client.create("/empty", 1).await.expect("create");
    client.create("/open", 1).await.expect("create");
    let block = add_block(&client, "/open").await;
    let again = add_block(&client, "/open").await;
    assert_eq!(block.b, again.b);
    lines.take();
    for path in ["/empty", "/open"] {
        let request = RecoverLeaseRequestProto {
            src: path.to_owned(),
            client_name: "taker".to_owned(),
        };
        client.call::<_, ()>("recoverLease", request).await.expect("answer");
    }
    let shown = format!("blk_{}_{}", block.b.block_id, block.b.generation_stamp);
    let recovery_id = block.b.generation_stamp + 1;
    assert_eq!(
        lines.take(),
        [
            "WARN BLOCK* internalReleaseLease: All existing blocks are COMPLETE, lease removed, file /empty closed."
                .to_owned(),
            format!(
                "WARN DIR* NameSystem.internalReleaseLease: File /open has not been closed. Lease recovery is in \
                 progress. RecoveryId = {recovery_id} for block {shown}"
            ),
        ]
    );
}
