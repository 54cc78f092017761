//! Commands as they lie in the journal, applied to a fresh namespace: `apply` is total and `check` agrees with it.
#![no_main]

use hadron_namespace::{Command, Identity, Namespace, RULES_VERSION};
use hadron_types::TimeMs;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|records: Vec<&[u8]>| {
    let identity = Identity {
        namespace_id: 1,
        cluster_id: "CID-1".to_owned(),
        block_pool: "BP-1".into(),
        created: TimeMs(1),
    };
    let mut namespace = Namespace::new(identity, "root", "supergroup", TimeMs(1));
    for record in records {
        if let Ok(command) = Command::decode(record) {
            let checked = namespace.check(&command);
            let applied = namespace.apply(&command, RULES_VERSION);
            if checked.is_err() {
                assert!(applied.outcome.is_err(), "what check refuses, apply refuses");
            }
        }
    }
});
