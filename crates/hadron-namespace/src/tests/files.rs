//! Writing files: create, blocks, close, append, pipelines, the retry cache.

use super::*;
use crate::{BlockState, Effect};
use ErrorKind::*;
use hadron_types::{CallId, ClientId, InodeId};

fn complete(path: &str, file_id: u64, last: Option<BlockRef>, replicated: &[i64]) -> Complete {
    Complete {
        path: path.to_owned(),
        file_id,
        holder: "h".to_owned(),
        last,
        replicated: replicated.to_vec(),
    }
}

fn add(path: &str, file_id: u64, previous: Option<BlockRef>, replicated: &[i64]) -> AddBlock {
    AddBlock {
        path: path.to_owned(),
        file_id,
        holder: "h".to_owned(),
        previous,
        replicated: replicated.to_vec(),
    }
}

fn sized(block: BlockRef, len: u64) -> BlockRef {
    BlockRef { len, ..block }
}

/// covers: LM-01, LM-15, LM-17, LM-29
#[test]
fn create_and_its_refusals() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d", 0o750);
    world.mkdirs(&root(), "/pub", 0o777);
    world.file(&root(), "/d/f", &[]);
    let id = world.open(&alice(), "/pub/new/deep/f", "h");
    let parent = world
        .ns
        .file_info(&root(), "/pub/new")
        .expect("readable")
        .expect("exists");
    assert_eq!(
        parent.permission.bits(),
        0o777,
        "missing parents are like the one above"
    );
    assert!(matches!(world.effects(), [Effect::LeaseGranted { file, holder }] if file.0 == id && &**holder == "h"));

    let with = |path: &str, flags, create_parent| Create {
        flags,
        create_parent,
        ..create(path, "h2")
    };
    let flags = create_flag::CREATE;
    for (path, op_flags, parents, kind, text) in [
        ("/d", flags, true, FileAlreadyExists, "/d already exists as a directory"),
        (
            "/d/f",
            flags,
            true,
            FileAlreadyExists,
            "/d/f for client 127.0.0.1 already exists",
        ),
        ("/x/f", flags, false, FileNotFound, "Parent directory doesn't exist: /x"),
        (
            "/d/g",
            create_flag::OVERWRITE,
            true,
            FileNotFound,
            "Can't overwrite non-existent /d/g",
        ),
        ("/d/f/g", flags, true, ParentNotDirectory, "/d/f (is not a directory)"),
        ("nowhere", flags, true, InvalidPath, "Invalid path name nowhere"),
        (
            "/pub/new/deep/f",
            flags,
            true,
            AlreadyBeingCreated,
            "Failed to CREATE_FILE /pub/new/deep/f for h2 on 127.0.0.1 because this file lease is currently owned by \
             h on 127.0.0.1",
        ),
    ] {
        world.refused(&root(), with(path, op_flags, parents), kind, text);
    }
    let text =
        "Failed to CREATE_FILE /pub/new/deep/f for h on 127.0.0.1 because h is already the current lease holder.";
    world.refused(&root(), create("/pub/new/deep/f", "h"), AlreadyBeingCreated, text);
    let text = "Permission denied: user=bob, access=WRITE, inode=\"/pub/new/deep/f\":alice:supergroup:-rw-r--r--";
    world.refused(&bob(), with("/pub/new/deep/f", 3, true), AccessControl, text);
    let text = "Permission denied: user=bob, access=EXECUTE, inode=\"/d\":root:supergroup:drwxr-x---";
    world.refused(&bob(), create("/d/x", "h"), AccessControl, text);

    let tiny = Create {
        block_size: 1024,
        ..create("/pub/t", "h")
    };
    let text = "Specified block size is less than configured minimum value (dfs.namenode.fs-limits.min-block-size): \
                1024 < 1048576";
    world.refused(&root(), tiny, Io, text);
    let sized = |block_size| Create {
        block_size,
        ..create("/pub/t", "h")
    };
    let text = "Specified block size is less than configured minimum value (dfs.namenode.fs-limits.min-block-size): \
                -1 < 1048576";
    world.refused(&root(), sized(u64::MAX), Io, text);
    let text = "Illegal value: PREFERRED_BLOCK_SIZE = 281474976710656 > MAX = 281474976710655";
    world.refused(&root(), sized(1 << 48), IllegalArgument, text);
    let text = "Requested replication factor of 600 exceeds maximum of 512 for /pub/t, clientName=127.0.0.1";
    let many = Create {
        replication: 600,
        ..create("/pub/t", "h")
    };
    world.refused(&root(), many, Io, text);
}

#[test]
fn overwriting_deletes_in_the_same_command() {
    let mut world = World::new();
    let old = world.open(&root(), "/f", "h");
    let block = world.add_block(&root(), "/f", old, "h", None, &[]);
    let over = Create {
        flags: create_flag::CREATE | create_flag::OVERWRITE,
        ..create("/f", "h2")
    };
    world.ok(&root(), over);
    let [
        Effect::LeaseReleased { file },
        Effect::BlocksRemoved(blocks),
        Effect::LeaseGranted { .. },
    ] = world.effects()
    else {
        panic!("{:?}", world.effects());
    };
    assert_eq!((file.0, blocks[0].id.0), (old, block.id));
    let text = format!("File does not exist: /f (inode {old}) Holder h does not have any open files.");
    world.refused(&root(), add("/f", old, Some(block), &[]), FileNotFound, &text);
    assert_eq!(world.ns.counts().files, 1);
}

/// covers: LM-24, LM-25, LM-26, LM-27, LM-36
#[test]
fn lease_checks() {
    let mut world = World::new();
    let id = world.open(&root(), "/f", "h");
    let other = world.open(&root(), "/g", "h2");
    world.mkdirs(&root(), "/d", 0o755);
    let closed = world.file(&root(), "/closed", &[3]);
    let directory = world
        .ns
        .file_info(&root(), "/d")
        .expect("readable")
        .expect("exists")
        .id
        .0;
    let lease = "[Lease.  Holder: h, pending creates: 1]";
    for (path, id, kind, text) in [
        (
            "/gone",
            0,
            FileNotFound,
            format!("File does not exist: /gone (inode 0) {lease}"),
        ),
        (
            "/gone",
            99_999,
            FileNotFound,
            format!("File does not exist: /gone (inode 99999) {lease}"),
        ),
        (
            "/d",
            directory,
            LeaseExpired,
            format!("INode is not a regular file: /d (inode {directory}) {lease}"),
        ),
        (
            "/closed",
            closed,
            LeaseExpired,
            format!("File is not open for writing: /closed (inode {closed}) {lease}"),
        ),
        (
            "/g",
            other,
            LeaseExpired,
            format!("Client (=h) is not the lease owner (=h2: /g (inode {other}) {lease}"),
        ),
    ] {
        world.refused(&root(), add(path, id, None, &[]), kind, &text);
    }
    // A file renamed while it is open is found by its id.
    world.ok(&root(), rename2("/f", "/d/renamed", false));
    let block = world.add_block(&root(), "/f", id, "h", None, &[]);
    // Below a detached tree there is nothing left to write to.
    world.ok(&root(), delete("/d", true));
    let text = format!("File does not exist: /f (inode {id}) Holder h does not have any open files.");
    world.refused(&root(), add("/f", id, Some(block), &[]), FileNotFound, &text);
    assert_eq!(world.ns.open_file(InodeId(id)), None);
}

#[test]
fn blocks_are_committed_completed_and_closed() {
    let mut world = World::new();
    let id = world.open(&root(), "/f", "h");
    let first = world.add_block(&root(), "/f", id, "h", None, &[]);
    assert_eq!((first.id, first.generation_stamp), (1_073_741_825, 1001));
    assert!(matches!(world.effects(), [Effect::BlockAdded { replication: 3, .. }]));
    let retried = world.ok(&root(), add("/f", id, None, &[]));
    assert!(matches!(&retried, OutcomeValue::Allocated(again) if again.retried && again.block.id.0 == first.id));

    let second = world.add_block(&root(), "/f", id, "h", Some(sized(first, 10)), &[]);
    assert!(matches!(
        world.effects(),
        [Effect::BlockChanged { state: BlockState::Committed, block, .. }, Effect::BlockAdded { .. }] if block.len == 10
    ));
    let retried = world.ok(&root(), add("/f", id, Some(sized(first, 10)), &[]));
    assert!(matches!(&retried, OutcomeValue::Allocated(again)
        if again.retried && again.block.id.0 == second.id && again.offset == 10));

    let text = "Not replicated yet: /f";
    world.refused(
        &root(),
        add("/f", id, Some(sized(second, 20)), &[]),
        NotReplicatedYet,
        text,
    );
    let wrong = BlockRef {
        id: 5,
        generation_stamp: 5,
        len: 0,
    };
    let text = format!(
        "Cannot allocate block in /f: passed 'previous' block BP-1:blk_5_5 does not match actual last block in file \
         blk_{}_{}",
        second.id, second.generation_stamp
    );
    world.refused(&root(), add("/f", id, Some(wrong), &[]), Io, &text);
    let text = format!(
        "Commit block with mismatching GS. NN has blk_{}_1002, client submits blk_{}_9",
        second.id, second.id
    );
    let stale = BlockRef {
        generation_stamp: 9,
        ..second
    };
    world.refused(&root(), complete("/f", id, Some(stale), &[first.id]), Io, &text);

    let last = Some(sized(second, 20));
    assert_eq!(
        world.ok(&root(), complete("/f", id, last, &[])),
        OutcomeValue::Bool(false)
    );
    assert_eq!(
        world.effects(),
        [],
        "the first block is waited for before the second is committed"
    );
    assert_eq!(
        world.ok(&root(), complete("/f", id, last, &[first.id])),
        OutcomeValue::Bool(false)
    );
    assert_eq!(world.ns.is_file_closed(&root(), "/f"), Ok(false));
    let done = complete("/f", id, last, &[first.id, second.id]);
    assert_eq!(world.ok(&root(), done.clone()), OutcomeValue::Bool(true));
    assert!(matches!(
        world.effects(),
        [
            Effect::BlockChanged {
                state: BlockState::Complete,
                ..
            },
            Effect::FileClosed {
                last_block: Some(_),
                ..
            },
            Effect::LeaseReleased { .. }
        ]
    ));
    assert_eq!(
        world.ok(&root(), done),
        OutcomeValue::Bool(true),
        "a repeated complete is true"
    );
    let text = format!("File is not open for writing: /f (inode {id}) Holder h does not have any open files.");
    world.refused(&root(), complete("/f", id, Some(wrong), &[]), LeaseExpired, &text);
    let located = world
        .ns
        .block_locations(&root(), "/f", 0, 100, TimeMs(world.now), 0)
        .expect("readable");
    assert_eq!(
        (located.len, located.blocks.len(), located.blocks[1].offset),
        (30, 2, 10)
    );
    let counts = world.ns.counts();
    assert_eq!((counts.blocks, counts.complete_blocks, counts.open_files), (2, 2, 0));
}

#[test]
fn limits_of_blocks_abandoning_and_fsync() {
    let mut world = World::new();
    let id = world.open(&root(), "/f", "h");
    let block = world.add_block(&root(), "/f", id, "h", None, &[]);
    let limits = Limits {
        max_blocks_per_file: Some(1),
        ..Limits::default()
    };
    let command = Command::new(root(), TimeMs(world.now), add("/f", id, Some(block), &[])).with_limits(limits);
    let text = "File has reached the limit on maximum number of blocks (dfs.namenode.fs-limits.max-blocks-per-file): \
                1 >= 1";
    assert_eq!(world.apply(&command), Err(HadoopError::io(text)));

    let fsync = |len| Fsync {
        path: "/f".to_owned(),
        file_id: id,
        holder: "h".to_owned(),
        last_block_len: len,
    };
    world.ok(&root(), fsync(-1));
    assert_eq!(world.effects(), []);
    world.ok(&root(), fsync(77));
    let located = world
        .ns
        .block_locations(&root(), "/f", 0, 1, TimeMs(0), 0)
        .expect("readable");
    assert_eq!(
        (located.len, located.under_construction, located.last_block_complete),
        (0, true, false)
    );
    assert_eq!(
        located.last_block.map(|last| (last.offset, last.block.len)),
        Some((0, 77))
    );

    let abandon = |block| AbandonBlock {
        path: "/f".to_owned(),
        file_id: id,
        holder: "h".to_owned(),
        block,
    };
    world.ok(&root(), abandon(BlockRef { id: 1, ..block }));
    assert_eq!(world.effects(), []);
    world.ok(&root(), abandon(block));
    assert!(matches!(world.effects(), [Effect::BlocksRemoved(blocks)] if blocks[0].id.0 == block.id));
    assert_eq!(
        world.ok(&root(), complete("/f", id, None, &[])),
        OutcomeValue::Bool(true)
    );
}

/// What readers see of a file while its last block goes from step to step: they add the length that DataNodes tell of a
/// last block that is not complete, so that it must not count here as well.
#[test]
fn a_last_block_counts_once_it_is_complete() {
    let mut world = World::new();
    let id = world.open(&root(), "/f", "h");
    let seen = |world: &World| {
        let blocks = world.ns.block_locations(&root(), "/f", 0, u64::MAX, TimeMs(0), 0);
        let blocks = blocks.expect("readable");
        let last = blocks.last_block.map(|last| (last.offset, last.state));
        (blocks.len, last, blocks.last_block_complete)
    };
    assert_eq!(seen(&world), (0, None, false));
    let first = world.add_block(&root(), "/f", id, "h", None, &[]);
    assert_eq!(seen(&world), (0, Some((0, BlockState::UnderConstruction)), false));
    let second = world.add_block(&root(), "/f", id, "h", Some(sized(first, 10)), &[]);
    let open = BlockState::UnderConstruction;
    assert_eq!(
        seen(&world),
        (10, Some((10, open)), false),
        "a committed block before the last one counts"
    );
    let abandon = AbandonBlock {
        path: "/f".to_owned(),
        file_id: id,
        holder: "h".to_owned(),
        block: second,
    };
    world.ok(&root(), abandon);
    assert_eq!(
        seen(&world),
        (0, Some((0, BlockState::Committed)), false),
        "as the last one it does not"
    );
    let third = world.add_block(&root(), "/f", id, "h", Some(sized(first, 10)), &[first.id]);
    assert_eq!(seen(&world), (10, Some((10, open)), false));
    let last = Some(sized(third, 5));
    let committed = world.ok(&root(), complete("/f", id, last, &[]));
    assert_eq!(committed, OutcomeValue::Bool(false));
    assert_eq!(seen(&world), (10, Some((10, BlockState::Committed)), false));
    let closed = world.ok(&root(), complete("/f", id, last, &[third.id]));
    assert_eq!(closed, OutcomeValue::Bool(true));
    assert_eq!(seen(&world), (15, Some((10, BlockState::Complete)), true));
}

/// Lengths are the client's word: absurd ones must not overflow a sum.
#[test]
fn absurd_lengths_saturate() {
    let mut world = World::new();
    world.file(&root(), "/f", &[u64::MAX, u64::MAX, u64::MAX]);
    let replicate = SetReplication {
        path: "/f".to_owned(),
        replication: 512,
    };
    world.ok(&root(), replicate);
    let mut cursor = world.ns.content_summary(&root(), "/").expect("readable");
    assert_eq!(world.ns.content_summary_step(&root(), &mut cursor, 10), Ok(true));
    assert_eq!(cursor.summary().len, 3 * ((1 << 48) - 1));
    assert!(
        world
            .ns
            .block_locations(&root(), "/f", u64::MAX, u64::MAX, TimeMs(0), 0)
            .is_ok()
    );
}

#[test]
fn append_goes_on_in_the_last_block() {
    let mut world = World::new();
    world.file(&root(), "/f", &[128 << 20, 5]);
    world.file(&root(), "/full", &[128 << 20]);
    world.mkdirs(&root(), "/d", 0o755);
    let append = |path: &str, new_block, replicated| Append {
        path: path.to_owned(),
        holder: "h".to_owned(),
        client_machine: "127.0.0.1".to_owned(),
        new_block,
        last_block_replicated: replicated,
    };
    let text = "Cannot append to directory /d; already exists as a directory.";
    world.refused(&root(), append("/d", false, true), FileAlreadyExists, text);
    let text = "Failed to append to non-existent file /gone for client 127.0.0.1";
    world.refused(&root(), append("/gone", false, true), FileNotFound, text);
    let text = "append: lastBlock=blk_1073741826_1002 of src=/f is not sufficiently replicated yet.";
    world.refused(&root(), append("/f", false, false), Io, text);
    let outcome = world.ok(&root(), append("/f", false, true));
    let OutcomeValue::Appended(appended) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        appended.last_block.map(|(block, offset)| (block.len, offset)),
        Some((5, 128 << 20))
    );
    assert!(matches!(
        world.effects(),
        [
            Effect::LeaseGranted { .. },
            Effect::BlockChanged {
                state: BlockState::UnderConstruction,
                ..
            }
        ]
    ));
    let text = "Failed to APPEND_FILE /f for h on 127.0.0.1 because h is already the current lease holder.";
    world.refused(&root(), append("/f", false, true), AlreadyBeingCreated, text);

    let outcome = world.ok(&root(), append("/full", false, true));
    assert!(matches!(&outcome, OutcomeValue::Appended(appended) if appended.last_block.is_none()));
    let id = world
        .ns
        .file_info(&root(), "/full")
        .expect("readable")
        .expect("exists")
        .id
        .0;
    let next = world.add_block(&root(), "/full", id, "h", None, &[]);
    let done = complete("/full", id, Some(sized(next, 1)), &[next.id]);
    assert_eq!(world.ok(&root(), done), OutcomeValue::Bool(true));
    assert_eq!(
        world.ns.file_info_by_id(InodeId(id)).map(|status| status.len),
        Some((128 << 20) + 1)
    );
    let outcome = world.ok(&root(), append("/full", true, true));
    assert!(matches!(&outcome, OutcomeValue::Appended(appended)
        if appended.new_block && appended.last_block.is_some_and(|(block, _)| block.id.0 == next.id)));
}

#[test]
fn pipelines_get_new_stamps() {
    let mut world = World::new();
    let id = world.open(&root(), "/f", "h");
    let block = world.add_block(&root(), "/f", id, "h", None, &[]);
    let stamp = |block, holder: &str| UpdateBlockForPipeline {
        block,
        holder: holder.to_owned(),
    };
    let update = |old, new| UpdatePipeline {
        holder: "h".to_owned(),
        old,
        new,
    };
    let shown = format!("BP-1:blk_{}_1001", block.id);
    let text = format!("Lease mismatch: {shown} is accessed by a non lease holder x");
    world.refused(&root(), stamp(block, "x"), LeaseExpired, &text);
    let gone = BlockRef { id: 5, ..block };
    world.refused(&root(), stamp(gone, "h"), Io, "BP-1:blk_5_1001 does not exist.");
    assert_eq!(
        world.ok(&root(), stamp(block, "h")),
        OutcomeValue::Stamp(hadron_types::GenerationStamp(1002))
    );
    let text = format!(
        "Update {shown} but the new block {shown} does not have a larger generation stamp than the last block blk_{}_1001",
        block.id
    );
    world.refused(&root(), update(block, block), Io, &text);
    let new = BlockRef {
        generation_stamp: 1002,
        len: 9,
        ..block
    };
    world.ok(&root(), update(block, new));
    assert!(matches!(
        world.effects(),
        [Effect::BlockChanged { block, old_stamp, .. }] if block.len == 9 && old_stamp.0 == 1001
    ));
    world.ok(&root(), stamp(new, "h"));
    let shorter = BlockRef {
        generation_stamp: 1003,
        len: 8,
        ..block
    };
    let text = format!(
        "Update BP-1:blk_{0}_1002 (size=9) to a smaller size block BP-1:blk_{0}_1003 (size=8)",
        block.id
    );
    world.refused(&root(), update(new, shorter), Io, &text);
    assert_eq!(
        world.ok(&root(), complete("/f", id, Some(sized(new, 9)), &[block.id])),
        OutcomeValue::Bool(true)
    );
    let text = format!(
        "Unexpected BlockUCState: BP-1:blk_{}_1002 is COMPLETE but not UNDER_CONSTRUCTION",
        block.id
    );
    world.refused(&root(), stamp(new, "h"), Io, &text);
}

#[test]
fn repeated_calls_get_the_first_answer() {
    let mut world = World::new();
    let client = ClientId([9; 16]);
    let command =
        |world: &World, op: Op, call| Command::new(root(), TimeMs(world.now), op).with_call(client, CallId(call));
    let made = command(&world, create("/f", "h").into(), 1);
    let first = world.apply(&made);
    assert!(matches!(&first, Ok(OutcomeValue::Created(_))));
    let removed = command(&world, delete("/f", false).into(), 2);
    assert_eq!(world.apply(&removed), Ok(OutcomeValue::Bool(true)));
    assert_eq!(world.apply(&made), first, "although the file is gone");
    assert_eq!(world.effects(), []);
    assert_eq!(world.apply(&removed), Ok(OutcomeValue::Bool(true)));
    assert_eq!(world.ns.replayed(&removed), Some(OutcomeValue::Bool(true)));
    // A refusal is not remembered: the call runs again.
    let refused = command(&world, rename2("/gone", "/x", false).into(), 3);
    assert!(world.apply(&refused).is_err());
    world.mkdirs(&root(), "/gone", 0o755);
    assert_eq!(world.apply(&refused), Ok(OutcomeValue::Done));
    // Operations that are idempotent by themselves are not cached.
    let directory = command(&world, mkdirs("/y", 0o755).into(), 4);
    assert!(world.apply(&directory).is_ok());
    assert_eq!(world.ns.replayed(&directory), None);
    // Entries end by command time.
    let late = Command {
        time_ms: removed.time_ms + crate::RETRY_CACHE_EXPIRY_MS,
        ..removed
    };
    assert_eq!(world.apply(&late), Ok(OutcomeValue::Bool(false)));
}
