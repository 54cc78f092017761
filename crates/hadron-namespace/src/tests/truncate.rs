//! Truncate: ends of blocks, middles of blocks, refusals, repetition, what the recovery's report makes of it.

use super::*;
use crate::{BlockRecovery, BlockState, Effect, LeaseProgress};
use ErrorKind::*;
use hadron_types::{BlockId, GenerationStamp, InodeId};

fn truncate(path: &str, new_len: i64, holder: &str) -> Truncate {
    Truncate {
        path: path.to_owned(),
        new_len,
        holder: holder.to_owned(),
        client_machine: "127.0.0.1".to_owned(),
    }
}

fn len_of(world: &World, path: &str) -> u64 {
    world
        .ns
        .file_info(&root(), path)
        .expect("readable")
        .expect("exists")
        .len
}

fn last_block(world: &World, id: u64) -> crate::StoredBlock {
    world.ns.last_blocks(InodeId(id)).pop().expect("has a block")
}

/// What the primary DataNode reports of a finished recovery.
fn report(block: BlockRef, stamp: GenerationStamp, len: u64) -> CommitBlockSynchronization {
    CommitBlockSynchronization {
        block,
        new_generation_stamp: stamp.0,
        new_len: len,
        close_file: true,
        delete_block: false,
        replicated: vec![block.id],
    }
}

#[test]
fn at_the_end_of_a_block_it_is_done_at_once() {
    for (new_len, blocks) in [(30, 3), (20, 2), (10, 1), (0, 0)] {
        let mut world = World::new();
        world.file(&root(), "/f", &[10, 10, 10]);
        assert_eq!(
            world.ok(&root(), truncate("/f", new_len, "h")),
            OutcomeValue::Bool(true)
        );
        let removed = 3 - blocks;
        match (removed, world.effects()) {
            (0, []) => {}
            (_, [Effect::BlocksRemoved(gone)]) => assert_eq!(gone.len(), removed),
            other => panic!("{other:?}"),
        }
        assert_eq!(len_of(&world, "/f"), new_len as u64);
        assert_eq!(world.ns.is_file_closed(&root(), "/f"), Ok(true));
        assert_eq!(world.ns.counts().complete_blocks, blocks as u64);
    }
}

/// covers: LM-22
#[test]
fn in_the_middle_of_a_block_its_replicas_are_recovered_first() {
    let mut world = World::new();
    let id = world.file(&root(), "/f", &[10, 10, 10]);
    assert_eq!(world.ok(&root(), truncate("/f", 14, "h")), OutcomeValue::Bool(false));
    let [
        Effect::BlocksRemoved(gone),
        Effect::LeaseGranted { .. },
        Effect::BlockChanged { state, .. },
        Effect::BlockRecoveryStarted { block, recovery_id, .. },
    ] = world.effects()
    else {
        panic!("{:?}", world.effects());
    };
    assert_eq!((gone.len(), *state, block.len), (1, BlockState::UnderRecovery, 10));
    let (block, first) = (*block, *recovery_id);
    let cut = |id| BlockRecovery {
        id,
        truncate_to: Some(4),
    };
    assert_eq!(world.ns.block_recovery(block.id), Some(cut(first)));
    assert_eq!(world.ns.is_file_closed(&root(), "/f"), Ok(false));

    // The same again is no error; another length is, and so is every other opening.
    assert_eq!(
        world.ok(&root(), truncate("/f", 14, "other")),
        OutcomeValue::Bool(false)
    );
    assert_eq!(world.effects(), []);
    let text = "Failed to TRUNCATE_FILE /f for h on 127.0.0.1 because /f is being truncated.";
    world.refused(&root(), truncate("/f", 13, "h"), AlreadyBeingCreated, text);

    // An attempt that came to nothing is made again, with a new stamp and the same length.
    let op = ReleaseLease {
        file_id: id,
        new_holder: None,
        replicated: Vec::new(),
        last_block_has_replicas: true,
        recover_committed: true,
    };
    let OutcomeValue::Lease(LeaseProgress::RecoveryStarted {
        recovery_id: second, ..
    }) = world.ok(&root(), op)
    else {
        panic!("no recovery");
    };
    assert!(second > first);
    assert_eq!(world.ns.block_recovery(block.id), Some(cut(second)));
    let image: Vec<u8> = world.ns.image_slices().flatten().collect();
    let loaded = Namespace::from_image(&image).expect("loads");
    assert_eq!(loaded.block_recovery(block.id), Some(cut(second)));

    let text = format!(
        "The recovery id {first} does not match current recovery id {second} for block BP-1:{}",
        block
    );
    world.refused(&root(), report(block.into(), first, 4), Io, &text);
    world.ok(&root(), report(block.into(), second, 4));
    assert_eq!((len_of(&world, "/f"), last_block(&world, id).block.len), (14, 4));
    assert_eq!(last_block(&world, id).block.generation_stamp, second);
    assert_eq!(world.ns.is_file_closed(&root(), "/f"), Ok(true));
    assert_eq!(world.ns.block_recovery(block.id), None);
    assert_eq!(world.ok(&root(), truncate("/f", 14, "h")), OutcomeValue::Bool(true));

    // A later append goes on in the block that was cut.
    let op = Append {
        path: "/f".to_owned(),
        holder: "h".to_owned(),
        client_machine: "127.0.0.1".to_owned(),
        new_block: false,
        last_block_replicated: true,
    };
    let OutcomeValue::Appended(appended) = world.ok(&root(), op) else {
        panic!("not appended");
    };
    assert_eq!(
        appended.last_block.map(|(block, offset)| (block.len, offset)),
        Some((4, 10))
    );
}

#[test]
fn refusals_have_hadoops_class_and_text() {
    let mut world = World::new();
    world.mkdirs(&root(), "/dir", 0o755);
    world.file(&root(), "/f", &[10]);
    let negative = "Cannot truncate to a negative file size: -1.";
    world.refused(&root(), truncate("/f", -1, "h"), HadoopIllegalArgument, negative);
    let larger = "Cannot truncate to a larger file size. Current size: 10, truncate size: 11.";
    world.refused(&root(), truncate("/f", 11, "h"), HadoopIllegalArgument, larger);
    world.refused(
        &root(),
        truncate("/none", 0, "h"),
        FileNotFound,
        "File does not exist: /none",
    );
    world.refused(
        &root(),
        truncate("/dir", 0, "h"),
        FileNotFound,
        "Path is not a file: /dir",
    );
    let denied = world
        .run(&bob(), truncate("/f", 0, "h"))
        .expect_err("bob may not write");
    assert_eq!(denied.kind, AccessControl);
    let lazy = Create {
        flags: create_flag::CREATE | create_flag::LAZY_PERSIST,
        ..create("/lazy", "h")
    };
    world.ok(&root(), lazy);
    let text = "Cannot truncate lazy persist file /lazy";
    world.refused(&root(), truncate("/lazy", 0, "h"), UnsupportedOperation, text);

    let id = world.open(&root(), "/open", "h");
    world.add_block(&root(), "/open", id, "h", None, &[]);
    let text = "Failed to TRUNCATE_FILE /open for h on 127.0.0.1 because h is already the current lease holder.";
    world.refused(&root(), truncate("/open", 0, "h"), AlreadyBeingCreated, text);
    let text = "Failed to TRUNCATE_FILE /open for g on 127.0.0.1 because this file lease is currently owned by h on \
                127.0.0.1";
    world.refused(&root(), truncate("/open", 0, "g"), AlreadyBeingCreated, text);
    let op = ReleaseLease {
        file_id: id,
        new_holder: None,
        replicated: Vec::new(),
        last_block_has_replicas: true,
        recover_committed: true,
    };
    world.ok(&root(), op);
    let text = "Failed to TRUNCATE_FILE /open for g on 127.0.0.1 because another recovery is in progress by h on \
                127.0.0.1";
    world.refused(&root(), truncate("/open", 0, "g"), RecoveryInProgress, text);
    assert_eq!(world.ns.block_recovery(BlockId(1)), None);
}
