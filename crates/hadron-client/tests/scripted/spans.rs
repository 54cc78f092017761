//! Spans: one per stream, block and packet, from the first byte to the ack.

use super::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What was seen of one span.
#[derive(Clone, Default, Debug)]
struct Seen {
    name: &'static str,
    parent: Option<&'static str>,
    fields: HashMap<&'static str, String>,
}

/// Ids of closed spans are used again, so they are kept apart.
#[derive(Default)]
struct Spans {
    open: HashMap<u64, Seen>,
    closed: Vec<Seen>,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Spans>>);

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut seen = Seen {
            name: attributes.metadata().name(),
            parent: context
                .span(id)
                .and_then(|span| span.parent().map(|parent| parent.name())),
            ..Seen::default()
        };
        attributes.record(&mut seen);
        self.0.lock().unwrap().open.insert(id.into_u64(), seen);
    }
    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, _: Context<'_, S>) {
        if let Some(seen) = self.0.lock().unwrap().open.get_mut(&id.into_u64()) {
            values.record(seen);
        }
    }
    fn on_close(&self, id: span::Id, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        if let Some(seen) = spans.open.remove(&id.into_u64()) {
            spans.closed.push(seen);
        }
    }
}

impl Recorder {
    /// Of spans by name: all, and those that are closed.
    fn count(&self, name: &str) -> (usize, usize) {
        let spans = self.0.lock().unwrap();
        let open = spans.open.values().filter(|seen| seen.name == name).count();
        let closed = spans.closed.iter().filter(|seen| seen.name == name).count();
        (open + closed, closed)
    }
    /// A field of the closed spans of a name.
    fn fields(&self, name: &str, field: &str) -> Vec<String> {
        let spans = self.0.lock().unwrap();
        let named = spans.closed.iter().filter(|seen| seen.name == name);
        named.filter_map(|seen| seen.fields.get(field).cloned()).collect()
    }
    /// Names of the parents of a name's closed spans.
    fn parents(&self, name: &str) -> Vec<Option<&'static str>> {
        let spans = self.0.lock().unwrap();
        let named = spans.closed.iter().filter(|seen| seen.name == name);
        named.map(|seen| seen.parent).collect()
    }
}

#[tokio::test]
async fn packets_and_blocks_are_spans_from_write_to_ack() {
    // covers: WP-25
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry().with(recorder.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let cluster = Cluster::start_with(
        2,
        |conf| {
            conf.set("dfs.replication", "2");
        },
        |_| {},
    )
    .await;
    let mut writer = cluster.create("/f").await;
    writer.write_all(&data(1000)).await.unwrap();
    assert_eq!(recorder.count("write"), (1, 0));
    assert_eq!(recorder.count("packet"), (0, 0), "nothing is cut yet");
    writer.hflush().await.unwrap();
    assert_eq!(recorder.count("packet"), (1, 1), "closed by its ack");
    assert_eq!(recorder.count("block"), (1, 0));
    // One that is not acked stays open, over the recovery of its pipeline too.
    cluster.datanodes[0].fault(Faults {
        hang_after_packets: Some(1),
        ..Faults::default()
    });
    writer.write_all(&data(1000)).await.unwrap();
    let mut flushing = Box::pin(writer.hflush());
    for _ in 0..1000 {
        assert!(futures::poll!(&mut flushing).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(recorder.count("packet"), (2, 1));
    cluster.datanodes[0].kill();
    flushing.await.unwrap();
    assert_eq!(recorder.count("packet"), (2, 2));
    writer.write_all(&data(BLOCK as usize)).await.unwrap();
    writer.close().await.unwrap();
    drop(writer);
    // The second block was first tried at the dead node, and abandoned.
    assert_eq!(recorder.count("block"), (3, 3));
    assert_eq!(recorder.count("write"), (1, 1));
    let (packets, closed) = recorder.count("packet");
    assert_eq!(packets, closed);
    assert_eq!(
        recorder.fields("packet", "seqno").len(),
        packets,
        "each knows its number"
    );
    let blocks: std::collections::HashSet<_> = recorder.fields("packet", "block").into_iter().collect();
    let expected: std::collections::HashSet<_> = recorder.fields("block", "id").into_iter().collect();
    assert!(
        blocks.len() == 2 && blocks.is_subset(&expected),
        "{blocks:?} of {expected:?}"
    );
    assert_eq!(recorder.fields("block", "len").len(), 2);
    for name in ["packet", "block"] {
        assert!(recorder.parents(name).iter().all(|parent| *parent == Some("write")));
    }
}
