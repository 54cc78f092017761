//! Commands of the namespace as they lie in the journal, applied to a fresh namespace: `apply` is total.
#![no_main]

use hadron_namespace::{Command, Namespace};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|records: Vec<&[u8]>| {
    let mut namespace = Namespace::default();
    for record in records {
        if let Ok(command) = Command::decode(record) {
            let _ = namespace.apply(&command, hadron_namespace::RULES_VERSION);
        }
    }
});
