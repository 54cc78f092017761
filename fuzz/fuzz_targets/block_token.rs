//! Identifiers of block tokens, in both encodings.
#![no_main]

use hadron_wire::token::{BlockTokenIdentifier, IdentifierForm};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(token) = BlockTokenIdentifier::decode(bytes) {
        let _ = (token.to_string(), token.caller());
        let full = token.encode(IdentifierForm::Full);
        // Points in time of 1 to 127 ms after 1970 look like protobuf; no token has them.
        if !(1..=127).contains(&token.expiry) {
            assert_eq!(BlockTokenIdentifier::decode(&full).as_ref(), Ok(&token));
        }
        let message = token.encode(IdentifierForm::Protobuf);
        assert_eq!(BlockTokenIdentifier::decode(&message), Ok(token));
    }
});
