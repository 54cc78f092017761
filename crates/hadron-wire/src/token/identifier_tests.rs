//! Golden bytes of identifiers, printed by Hadoop's own classes (interop/java/BlockTokens.java), and random ones.

use super::*;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn sample() -> BlockTokenIdentifier {
    BlockTokenIdentifier {
        expiry: 1_700_000_000_123,
        key_id: 77,
        user: Some("alice".into()),
        pool: Some("BP-1-127.0.0.1-2".into()),
        block: BlockId(1_073_741_825),
        modes: vec![AccessMode::Read, AccessMode::Write],
        storage_types: vec![StorageType::Disk, StorageType::Ssd],
        storage_ids: vec!["DS-1".into(), "DS-2".into()],
        handshake: Bytes::new(),
    }
}

/// What Hadoop 2.7.3 writes.
const SHORT: &str = "8a018bcfe5687b4d00000005616c6963650000001042502d312d3132372e302e302e312d328c40000001020452454144055752\
                     495445";
/// What Hadoop 3.3.4 appends.
const STORAGES: &str = "02044449534b03535344020000000444532d310000000444532d32";
/// What Hadoop 3.3.4 writes as protobuf.
const PROTOBUF: &str = "08fbd095ffbc31104d1a05616c696365221042502d312d3132372e302e302e312d3228818080800430013002380138024204\
                        44532d31420444532d32";

#[test]
fn the_bytes_are_javas() {
    let full = [SHORT, STORAGES].concat();
    for (form, golden) in [
        (IdentifierForm::Short, SHORT),
        (IdentifierForm::Full, &full),
        (IdentifierForm::Protobuf, PROTOBUF),
    ] {
        assert_eq!(sample().encode(form), hex(golden), "{form:?}");
        let mut expected = sample();
        if form == IdentifierForm::Short {
            expected.storage_types.clear();
            expected.storage_ids.clear();
        }
        assert_eq!(BlockTokenIdentifier::decode(&hex(golden)), Ok(expected), "{form:?}");
    }
    // A negative key and block, no storages: 3.x still writes the two counts.
    let other = BlockTokenIdentifier {
        key_id: -77,
        block: BlockId(-9),
        modes: vec![AccessMode::Copy],
        storage_types: Vec::new(),
        storage_ids: Vec::new(),
        ..sample()
    };
    let golden = "8a018bcfe5687bb300000005616c6963650000001042502d312d3132372e302e302e312d32f70104434f5059";
    assert_eq!(other.encode(IdentifierForm::Short), hex(golden));
    assert_eq!(other.encode(IdentifierForm::Full), hex(&format!("{golden}0000")));
}

#[test]
fn the_text_is_javas() {
    let text = "block_token_identifier (expiryDate=1700000000123, keyId=77, userId=alice, blockPoolId=BP-1-127.0.0.1-2, \
                blockId=1073741825, access modes=[READ, WRITE], storageTypes= [DISK, SSD], storageIds= [DS-1, DS-2])";
    assert_eq!(sample().to_string(), text);
    let nobody = BlockTokenIdentifier::decode(&hex("8a018bcfe5687b4dffffffffffffffff8c4000000100")).unwrap();
    let text = "block_token_identifier (expiryDate=1700000000123, keyId=77, userId=null, blockPoolId=null, \
                blockId=1073741825, access modes=[], storageTypes= [], storageIds= [])";
    assert_eq!(nobody.to_string(), text);
}

#[test]
fn a_connection_acts_as_the_user_or_else_as_the_block() {
    assert_eq!(sample().caller(), "alice");
    for user in [None, Some(String::new())] {
        let token = BlockTokenIdentifier { user, ..sample() };
        assert_eq!(token.caller(), "BP-1-127.0.0.1-2:1073741825");
    }
}

#[test]
fn a_tail_that_ends_early_is_missing_and_anything_else_malformed() {
    let full = hex(&[SHORT, STORAGES].concat());
    let short = hex(SHORT).len();
    for cut in 0..full.len() {
        let read = BlockTokenIdentifier::decode(&full[..cut]);
        assert_eq!(read.is_ok(), cut >= short, "{cut}");
        // Half of a list is no list: Java assigns it when it is complete.
        let read = read.ok();
        let types = read.as_ref().map_or(0, |read| read.storage_types.len());
        assert!(types == 0 || types == 2, "{cut}");
        assert_eq!(read.map_or(0, |read| read.storage_ids.len()), 0, "{cut}");
    }
    for (what, bytes) in [
        ("a null identifier", "00"),
        ("five modes", "8a018bcfe5687b4dffffffffffffffff8c4000000105"),
        (
            "an unknown mode",
            "8a018bcfe5687b4dffffffffffffffff8c400000010104524f4f54",
        ),
        (
            "an unknown medium",
            "8a018bcfe5687b4dffffffffffffffff8c400000010001045441504500",
        ),
        (
            "a negative count of media",
            "8a018bcfe5687b4dffffffffffffffff8c4000000100ff",
        ),
        (
            "a user of negative length",
            "8a018bcfe5687b4dfffffffeffffffff8c4000000100",
        ),
        (
            "a key id beyond 32 bits",
            "8a018bcfe5687b8b0100000000ffffffffffffffff8c4000000100",
        ),
        ("a message cut short", "08fbd095ffbc31104d1a05616c"),
    ] {
        assert!(BlockTokenIdentifier::decode(&hex(bytes)).is_err(), "{what}");
    }
}

#[test]
fn a_handshake_secret_is_carried() {
    for form in [IdentifierForm::Full, IdentifierForm::Protobuf] {
        let token = BlockTokenIdentifier {
            handshake: Bytes::from_static(b"QOP"),
            ..sample()
        };
        assert_eq!(BlockTokenIdentifier::decode(&token.encode(form)), Ok(token));
    }
}

fn identifiers() -> impl Strategy<Value = BlockTokenIdentifier> {
    let mode = prop::sample::select(AccessMode::ALL.to_vec());
    let kind = prop::sample::select((1..=6).map(|n| StorageType::from_wire(n).unwrap()).collect::<Vec<_>>());
    // Java's dates are far above the 127 ms that would take one positive byte.
    let expiry = prop_oneof![128..i64::MAX, i64::MIN..=0];
    (
        (
            expiry,
            any::<i32>(),
            any::<Option<String>>(),
            any::<Option<String>>(),
            any::<i64>(),
        ),
        prop::collection::btree_set(mode, 0..=4),
        prop::collection::vec(kind, 0..5),
        prop::collection::vec(any::<String>(), 0..5),
        prop::collection::vec(any::<u8>(), 0..9),
    )
        .prop_map(
            |((expiry, key_id, user, pool, block), modes, storage_types, storage_ids, handshake)| {
                BlockTokenIdentifier {
                    expiry,
                    key_id,
                    user,
                    pool,
                    block: BlockId(block),
                    modes: modes.into_iter().collect(),
                    storage_types,
                    storage_ids,
                    handshake: handshake.into(),
                }
            },
        )
}

proptest! {
    #[test]
    fn every_identifier_survives_both_encodings(token in identifiers()) {
        for form in [IdentifierForm::Full, IdentifierForm::Protobuf] {
            prop_assert_eq!(BlockTokenIdentifier::decode(&token.encode(form)), Ok(token.clone()));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = BlockTokenIdentifier::decode(&bytes);
    }
}
