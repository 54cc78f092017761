//! Keys and checks together: a NameNode's keys, a DataNode that imports them, tokens of every kind.

use super::*;
use bytes::Bytes;
use hadron_proto::common::TokenProto;
use hadron_proto::convert::no_block_keys;
use hadron_types::{Block, BlockId, ErrorKind, ExtendedBlock, GenerationStamp, StorageType};
use proptest::prelude::*;

const TIMES: KeyTimes = KeyTimes {
    update_interval_ms: 1000,
    lifetime_ms: 5000,
};
const NOW: i64 = 1_700_000_000_000;

fn block(id: i64) -> ExtendedBlock {
    ExtendedBlock {
        pool: "BP-1".into(),
        block: Block {
            id: BlockId(id),
            generation_stamp: GenerationStamp(1001),
            len: 10,
        },
    }
}

fn identifier(modes: &[AccessMode]) -> BlockTokenIdentifier {
    BlockTokenIdentifier {
        expiry: 0,
        key_id: 0,
        user: Some("alice".into()),
        pool: Some("BP-1".into()),
        block: BlockId(7),
        modes: modes.to_vec(),
        storage_types: vec![StorageType::Disk, StorageType::Disk, StorageType::Ssd],
        storage_ids: vec!["DS-1".into(), "DS-2".into(), "DS-3".into()],
        handshake: Bytes::new(),
    }
}

fn master() -> KeyMaster {
    KeyMaster::new(TIMES, 41, [[1; SECRET_LEN], [2; SECRET_LEN]], NOW)
}

fn datanode_of(master: &KeyMaster, now: i64) -> BlockKeys {
    BlockKeys::of(&master.export(), now).expect("tokens are enabled")
}

/// The refusal's text without the identifier in it.
fn refused(keys: &BlockKeys, token: &TokenProto, access: &Access<'_>, now: i64) -> Option<String> {
    let error = keys.check(token, access, now).err()?;
    assert_eq!(error.kind, ErrorKind::InvalidToken);
    let text = error.message;
    let (Some(start), Some(end)) = (text.find("block_token_identifier ("), text.find("])")) else {
        return Some(text);
    };
    Some([&text[..start], "ID", &text[end + 2..]].concat())
}

#[test]
fn every_refusal_has_its_words() {
    let master = master();
    let keys = datanode_of(&master, NOW);
    let token = master.mint(identifier(&[AccessMode::Read]), IdentifierForm::Full, NOW);
    let (mine, other) = (block(7), block(8));
    let read = Access::new(&mine, AccessMode::Read);
    assert_eq!(refused(&keys, &token, &read, NOW), None);
    assert_eq!(refused(&keys, &token, &read, NOW + 5000), None);
    let mut elsewhere = block(7);
    elsewhere.pool = "BP-2".into();
    let bad_password = TokenProto {
        password: Bytes::from_static(&[0; 20]),
        ..token.clone()
    };
    let stranger = KeyMaster::new(TIMES, 9, [[1; SECRET_LEN], [2; SECRET_LEN]], NOW);
    let unknown_key = stranger.mint(identifier(&[AccessMode::Read]), IdentifierForm::Full, NOW);
    let of = |block, mode| Access::new(block, mode);
    for (token, access, now, text) in [
        (
            &token,
            of(&other, AccessMode::Read),
            NOW,
            "Block token with ID doesn't apply to block BP-1:blk_8_1001",
        ),
        (
            &token,
            of(&elsewhere, AccessMode::Read),
            NOW,
            "Block token with ID doesn't apply to block BP-2:blk_7_1001",
        ),
        (&token, read, NOW + 5001, "Block token with ID is expired."),
        (
            &token,
            of(&mine, AccessMode::Write),
            NOW,
            "Block token with ID doesn't have WRITE permission",
        ),
        (
            &bad_password,
            read,
            NOW,
            "Block token with ID doesn't have the correct token password",
        ),
        (
            &unknown_key,
            read,
            NOW,
            "Can't re-compute password for ID, since the required block key (keyID=10) doesn't exist.",
        ),
        (
            &TokenProto::default(),
            read,
            NOW,
            "Unable to de-serialize block token identifier for user=null, block=BP-1:blk_7_1001, access mode=READ",
        ),
    ] {
        assert_eq!(refused(&keys, token, &access, now).as_deref(), Some(text));
    }
}

#[test]
fn a_change_of_one_byte_is_found() {
    let master = master();
    let keys = datanode_of(&master, NOW);
    let wanted = block(7);
    let read = Access::new(&wanted, AccessMode::Read);
    for form in [IdentifierForm::Short, IdentifierForm::Full, IdentifierForm::Protobuf] {
        let token = master.mint(identifier(&[AccessMode::Read]), form, NOW);
        assert_eq!(keys.check(&token, &read, NOW), Ok(()), "{form:?}");
        for at in 0..token.identifier.len() {
            let mut forged = token.clone();
            let mut bytes = token.identifier.to_vec();
            bytes[at] ^= 1;
            forged.identifier = bytes.into();
            assert!(keys.check(&forged, &read, NOW).is_err(), "{form:?} byte {at}");
        }
        // More bytes than the identifier needs are part of what the password covers.
        let mut longer = token.clone();
        longer.identifier = [&token.identifier[..], &[0]].concat().into();
        assert!(keys.check(&longer, &read, NOW).is_err(), "{form:?}");
    }
}

#[test]
fn storages_must_be_among_the_tokens_as_often_as_wanted() {
    use StorageType::{Archive, Disk, Ssd};
    let master = master();
    let keys = datanode_of(&master, NOW);
    let wanted = block(7);
    let full = master.mint(identifier(&[AccessMode::Write]), IdentifierForm::Full, NOW);
    let short = master.mint(identifier(&[AccessMode::Write]), IdentifierForm::Short, NOW);
    let ids = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (types, storages, refusal) in [
        (vec![], vec![], None),
        (vec![Disk, Disk, Ssd], ids(&["DS-3", "DS-1"]), None),
        (vec![Ssd], vec![], None),
        (
            vec![Disk, Disk, Disk],
            vec![],
            Some(
                "Block token with StorageTypes [DISK, DISK, SSD] not valid for access with StorageTypes [DISK, DISK, \
                 DISK]",
            ),
        ),
        (
            vec![Archive],
            vec![],
            Some("Block token with StorageTypes [DISK, DISK, SSD] not valid for access with StorageTypes [ARCHIVE]"),
        ),
        (
            vec![Disk],
            ids(&["DS-1", "DS-4"]),
            Some("Block token with StorageIDs [DS-1, DS-2, DS-3] not valid for access with StorageIDs [DS-1, DS-4]"),
        ),
    ] {
        let access = Access {
            storage_types: &types,
            storage_ids: &storages,
            ..Access::new(&wanted, AccessMode::Write)
        };
        assert_eq!(
            refused(&keys, &full, &access, NOW).as_deref(),
            refusal,
            "{types:?} {storages:?}"
        );
        assert_eq!(
            refused(&keys, &short, &access, NOW),
            None,
            "a token without storages is good for all"
        );
    }
}

#[test]
fn keys_roll_and_old_tokens_stay_good_for_their_life() {
    let mut master = master();
    let mut datanode = datanode_of(&master, NOW);
    let wanted = block(7);
    let read = Access::new(&wanted, AccessMode::Read);
    assert_eq!(master.keys().current_id(), Some(42));
    assert_eq!(
        (master.due_in(NOW), master.due_in(NOW + 400), master.due_in(NOW + 1200)),
        (1000, 600, 0)
    );
    let old = master.mint(identifier(&[AccessMode::Read]), IdentifierForm::Full, NOW + 999);
    let (mut now, mut ids) = (NOW, Vec::new());
    for turn in 1..=20 {
        now += 1000;
        master.roll([2 + turn; SECRET_LEN], now);
        ids.push(master.keys().current_id().unwrap());
        let fresh = master.mint(identifier(&[AccessMode::Read]), IdentifierForm::Full, now);
        // The DataNode knows the new current key before it hears of the change: it was the next one.
        assert_eq!(datanode.check(&fresh, &read, now), Ok(()), "turn {turn}");
        datanode.import(&master.export(), now);
        assert_eq!(datanode.check(&fresh, &read, now), Ok(()), "turn {turn}");
        assert_eq!(
            datanode.check(&old, &read, now).is_ok(),
            now <= NOW + 999 + 5000,
            "turn {turn}"
        );
        // Six retired keys at most, the current and the next.
        assert!(
            master.keys().len() <= 9 && datanode.len() <= 10,
            "{} {}",
            master.keys().len(),
            datanode.len()
        );
    }
    assert_eq!(ids, (43..63).collect::<Vec<_>>());
    assert_eq!(master.due_in(now), 1000);
}

#[test]
fn a_restarted_namenode_has_other_keys_and_old_tokens_stay_good() {
    let first = master();
    let mut datanode = datanode_of(&first, NOW);
    let old = first.mint(identifier(&[AccessMode::Read]), IdentifierForm::Full, NOW);
    let second = KeyMaster::new(TIMES, 900, [[8; SECRET_LEN], [9; SECRET_LEN]], NOW + 10);
    let fresh = second.mint(identifier(&[AccessMode::Read]), IdentifierForm::Full, NOW + 10);
    let wanted = block(7);
    let read = Access::new(&wanted, AccessMode::Read);
    assert!(
        datanode.check(&fresh, &read, NOW + 10).is_err(),
        "before it registers again"
    );
    datanode.import(&second.export(), NOW + 10);
    for token in [&old, &fresh] {
        assert_eq!(datanode.check(token, &read, NOW + 10), Ok(()));
    }
    assert_eq!(datanode.current_id(), Some(901));
}

#[test]
fn a_handshake_gets_the_password_of_live_tokens_only() {
    let master = master();
    let token = master.mint(identifier(&[AccessMode::Read]), IdentifierForm::Full, NOW);
    let keys = datanode_of(&master, NOW);
    let (read, password) = keys.password(&token.identifier, NOW).unwrap();
    assert_eq!((read.caller().as_str(), password), ("alice", token.password));
    assert!(keys.password(&token.identifier, NOW + 5001).is_err());
    assert!(keys.password(b"", NOW).is_err());
}

#[test]
fn a_cluster_without_tokens_exports_none() {
    assert!(BlockKeys::of(&no_block_keys(), NOW).is_none());
    let none = BlockKeys::new(TIMES);
    assert!(none.is_empty() && none.mint(identifier(&[]), IdentifierForm::Full, NOW).is_none());
    assert_eq!(none.export(), no_block_keys());
}

#[test]
fn serials_wrap_below_the_largest_integer() {
    let top = KeyMaster::new(TIMES, u32::MAX, [[1; SECRET_LEN], [2; SECRET_LEN]], NOW);
    assert_eq!(top.keys().current_id(), Some(1));
    let near = KeyMaster::new(TIMES, i32::MAX as u32 - 2, [[1; SECRET_LEN], [2; SECRET_LEN]], NOW);
    assert_eq!(near.keys().current_id(), Some(i32::MAX - 1));
    let export = near.export();
    assert_eq!(export.all_keys.len(), 2);
    assert!(export.all_keys.iter().any(|key| key.key_id == 0));
}

proptest! {
    /// Whatever intervals and lives are configured, a token is good on a DataNode that hears of each change of keys.
    #[test]
    fn no_token_dies_before_its_time(interval in 1_i64..5000, lifetime in 1_i64..20_000, turns in 1_u8..30) {
        let times = KeyTimes { update_interval_ms: interval, lifetime_ms: lifetime };
        let mut master = KeyMaster::new(times, 5, [[1; SECRET_LEN], [2; SECRET_LEN]], NOW);
        let mut datanode = datanode_of(&master, NOW);
        let wanted = block(7);
        let read = Access::new(&wanted, AccessMode::Read);
        let mut live: Vec<(i64, TokenProto)> = Vec::new();
        let mut now = NOW;
        for turn in 0..turns {
            live.push((now, master.mint(identifier(&[AccessMode::Read]), IdentifierForm::Full, now)));
            // One made by the DataNode itself, with the key it believes to be current.
            let own = datanode.mint(identifier(&[AccessMode::Read]), IdentifierForm::Short, now).unwrap();
            live.push((now, own));
            for (made, token) in &live {
                prop_assert_eq!(datanode.check(token, &read, now).is_ok(), now <= made + lifetime);
            }
            now += interval;
            master.roll([turn; SECRET_LEN], now);
            datanode.import(&master.export(), now);
        }
    }
}
