//! Tokens in answers and keys on their way to DataNodes, on a clock of the test's own.

use super::*;
use hadron_env::{ManualClock, SeededRandom};
use hadron_proto::hdfs::ExtendedBlockProto;
use hadron_types::{Block, ExtendedBlock, GenerationStamp};
use hadron_wire::token::{Access, BlockKeys};

fn tokens(protobuf: bool) -> (BlockTokens, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let settings = TokenSettings {
        times: KeyTimes::new(1000, 5000),
        protobuf,
    };
    let tokens = BlockTokens::new(&settings, clock.clone(), Arc::new(SeededRandom::new(7)));
    (tokens, clock)
}

fn located() -> LocatedBlockProto {
    LocatedBlockProto {
        b: ExtendedBlockProto {
            pool_id: "BP-1".into(),
            block_id: 9,
            generation_stamp: 1001,
            num_bytes: Some(5),
        },
        storage_types: vec![1, 2],
        storage_i_ds: vec!["DS-1".into(), "DS-2".into()],
        ..Default::default()
    }
}

fn block() -> ExtendedBlock {
    ExtendedBlock {
        pool: "BP-1".into(),
        block: Block {
            id: BlockId(9),
            generation_stamp: GenerationStamp(1001),
            len: 5,
        },
    }
}

#[test]
fn tokens_name_storages_until_an_old_datanode_comes() {
    for (protobuf, version, names_storages) in [
        (false, "3.3.6", true),
        (false, "2.7.3", false),
        (false, "2.10.1-custom", false),
        (false, "trunk", true),
        (true, "2.7.3", true),
    ] {
        let (tokens, clock) = tokens(protobuf);
        let node = DatanodeUuid::from("dn");
        let exported = tokens.registered(&node, version);
        let mut answer = located();
        tokens.put(&mut answer, "alice", AccessMode::Write);
        let token = BlockTokenIdentifier::decode(&answer.block_token.identifier).unwrap();
        assert_eq!(!token.storage_types.is_empty(), names_storages, "{version}");
        let now = wall(&*clock);
        assert_eq!((token.user.as_deref(), token.expiry), (Some("alice"), now + 5000));
        let keys = BlockKeys::of(&exported, now).unwrap();
        let wanted = block();
        assert_eq!(
            keys.check(&answer.block_token, &Access::new(&wanted, AccessMode::Write), now),
            Ok(())
        );
    }
}

#[test]
fn a_node_hears_of_each_change_once() {
    let (tokens, clock) = tokens(false);
    let (one, two) = (DatanodeUuid::from("one"), DatanodeUuid::from("two"));
    tokens.registered(&one, "3.3.6");
    tokens.registered(&two, "3.3.6");
    assert!(tokens.update_for(&one).is_none());
    clock.advance(Duration::from_millis(1000));
    assert!(tokens.due_in().is_zero());
    tokens.roll();
    assert_eq!(tokens.due_in(), Duration::from_millis(1000));
    for node in [&one, &two] {
        let update = tokens.update_for(node).expect("an update");
        assert_eq!(update.current_key.key_id, tokens.export().current_key.key_id);
        assert_eq!(update.all_keys.len(), 3);
        assert!(tokens.update_for(node).is_none());
    }
    tokens.roll();
    tokens.registered(&one, "3.3.6");
    assert!(tokens.update_for(&one).is_none(), "told with its registration");
    assert!(tokens.update_for(&DatanodeUuid::from("stranger")).is_none());
}

#[test]
fn every_block_of_a_file_has_a_token() {
    let (tokens, _) = tokens(false);
    let at = |id: u64| {
        let mut block = located();
        block.b.block_id = id;
        block
    };
    for (blocks, last) in [(vec![1, 2], 2), (vec![1], 3), (vec![], 4)] {
        let mut file = LocatedBlocksProto {
            blocks: blocks.into_iter().map(at).collect(),
            last_block: Some(at(last)),
            ..Default::default()
        };
        tokens.put_all(&mut file, "bob");
        for block in file.blocks.iter().chain(&file.last_block) {
            let token = BlockTokenIdentifier::decode(&block.block_token.identifier).unwrap();
            assert_eq!(token.block.to_wire(), block.b.block_id);
            assert_eq!(token.modes, [AccessMode::Read]);
        }
    }
}

#[test]
fn the_configuration_decides() {
    let mut conf = Configuration::new();
    assert_eq!(TokenSettings::from_configuration(&conf), None);
    conf.set("dfs.block.access.token.enable", "true");
    let expected = |update, life, protobuf| {
        Some(TokenSettings {
            times: KeyTimes::new(update, life),
            protobuf,
        })
    };
    assert_eq!(
        TokenSettings::from_configuration(&conf),
        expected(36_000_000, 36_000_000, false)
    );
    conf.set("dfs.block.access.key.update.interval", "2");
    conf.set("dfs.block.access.token.lifetime", "30s");
    conf.set("dfs.block.access.token.protobuf.enable", "true");
    assert_eq!(
        TokenSettings::from_configuration(&conf),
        expected(120_000, 30_000, true)
    );
}
