//! Lease recovery: releasing, recovery of the last block, the primary's report.

use super::*;
use crate::{BlockState, Effect, LeaseProgress};
use ErrorKind::*;
use hadron_types::{GenerationStamp, InodeId};

fn release(file_id: u64, replicated: &[i64], has_replicas: bool) -> ReleaseLease {
    ReleaseLease {
        file_id,
        new_holder: Some("HDFS_NameNode".to_owned()),
        replicated: replicated.to_vec(),
        last_block_has_replicas: has_replicas,
        recover_committed: false,
    }
}

fn report(block: BlockRef, stamp: u64, len: u64, replicated: &[i64]) -> CommitBlockSynchronization {
    CommitBlockSynchronization {
        block,
        new_generation_stamp: stamp,
        new_len: len,
        close_file: true,
        delete_block: false,
        replicated: replicated.to_vec(),
    }
}

/// covers: LM-20, LM-21
#[test]
fn an_expired_writer_loses_the_file_and_its_block_is_recovered() {
    let mut world = World::new();
    let id = world.open(&root(), "/f", "h");
    let block = world.add_block(&root(), "/f", id, "h", None, &[]);
    let outcome = world.ok(&root(), release(id, &[], true));
    let recovery_id = GenerationStamp(1002);
    let started = LeaseProgress::RecoveryStarted {
        block: block.into(),
        recovery_id,
    };
    assert_eq!(outcome, OutcomeValue::Lease(started));
    assert!(matches!(
        world.effects(),
        [Effect::LeaseGranted { holder, .. }, Effect::BlockRecoveryStarted { .. }] if &**holder == "HDFS_NameNode"
    ));
    assert_eq!(
        world.ns.open_file(InodeId(id)).map(|open| open.holder.to_string()),
        Some("HDFS_NameNode".to_owned())
    );
    let text = format!(
        "Client (=h) is not the lease owner (=HDFS_NameNode: /f (inode {id}) Holder h does not have any open files."
    );
    let op = AddBlock {
        path: "/f".to_owned(),
        file_id: id,
        holder: "h".to_owned(),
        previous: Some(block),
        replicated: Vec::new(),
    };
    world.refused(&root(), op, LeaseExpired, &text);
    let text = "Failed to CREATE_FILE /f for h2 on 127.0.0.1 because another recovery is in progress by HDFS_NameNode \
                on 127.0.0.1";
    world.refused(&root(), create("/f", "h2"), RecoveryInProgress, text);

    let shown = format!("BP-1:blk_{}_1001", block.id);
    let text = format!("The recovery id 1001 does not match current recovery id 1002 for block {shown}");
    world.refused(&root(), report(block, 1001, 3, &[block.id]), Io, &text);
    let text = "Block (=BP-1:blk_5_1001) not found";
    world.refused(&root(), report(BlockRef { id: 5, ..block }, 1002, 3, &[]), Io, text);
    world.ok(&root(), report(block, 1002, 3, &[block.id]));
    assert!(matches!(
        world.effects(),
        [
            Effect::BlockChanged {
                state: BlockState::Committed,
                old_stamp: GenerationStamp(1001),
                ..
            },
            Effect::BlockChanged {
                state: BlockState::Complete,
                ..
            },
            Effect::FileClosed { .. },
            Effect::LeaseReleased { .. }
        ]
    ));
    let status = world.ns.file_info(&root(), "/f").expect("readable").expect("exists");
    assert_eq!((status.len, world.ns.is_file_closed(&root(), "/f")), (3, Ok(true)));
    world.ok(&root(), report(block, 1002, 3, &[block.id]));
    assert_eq!(world.effects(), [], "a report that comes again changes nothing");
    assert_eq!(
        world.ok(&root(), release(id, &[], true)),
        OutcomeValue::Lease(LeaseProgress::Closed)
    );
}

/// covers: LM-23
#[test]
fn files_that_need_no_recovery_close_at_once() {
    let mut world = World::new();
    let empty = world.open(&root(), "/empty", "h");
    assert_eq!(
        world.ok(&root(), release(empty, &[], false)),
        OutcomeValue::Lease(LeaseProgress::Closed)
    );

    let never_written = world.open(&root(), "/never", "h");
    world.add_block(&root(), "/never", never_written, "h", None, &[]);
    assert_eq!(
        world.ok(&root(), release(never_written, &[], false)),
        OutcomeValue::Lease(LeaseProgress::Closed)
    );
    assert!(matches!(
        world.effects(),
        [
            Effect::BlocksRemoved(_),
            Effect::FileClosed { last_block: None, .. },
            ..
        ]
    ));

    let committed = world.open(&root(), "/committed", "h");
    let block = world.add_block(&root(), "/committed", committed, "h", None, &[]);
    let op = Complete {
        path: "/committed".to_owned(),
        file_id: committed,
        holder: "h".to_owned(),
        last: Some(BlockRef { len: 4, ..block }),
        replicated: Vec::new(),
    };
    assert_eq!(world.ok(&root(), op), OutcomeValue::Bool(false));
    let text = "DIR* NameSystem.internalReleaseLease: Failed to release lease for file /committed. Committed blocks are \
                waiting to be minimally replicated.";
    world.refused(&root(), release(committed, &[], true), AlreadyBeingCreated, text);
    let closed = OutcomeValue::Lease(LeaseProgress::Closed);
    assert_eq!(world.ok(&root(), release(committed, &[block.id], true)), closed);
    let text =
        "DIR* NameSystem.internalReleaseLease: attempt to release a create lock on inode 99 file does not exist.";
    world.refused(&root(), release(99, &[], true), Io, text);
    assert_eq!(world.ns.counts().open_files, 0);
}

#[test]
fn a_block_without_data_goes_and_a_deleted_file_is_told() {
    let mut world = World::new();
    let id = world.open(&root(), "/f", "h");
    let block = world.add_block(&root(), "/f", id, "h", None, &[]);
    world.ok(&root(), release(id, &[], true));
    let gone = CommitBlockSynchronization {
        delete_block: true,
        ..report(block, 1002, 0, &[])
    };
    world.ok(&root(), gone.clone());
    assert_eq!(world.ns.counts().blocks, 0);
    assert_eq!(world.ns.is_file_closed(&root(), "/f"), Ok(true));
    assert_eq!(
        world.ok(&root(), gone),
        OutcomeValue::Done,
        "a repeated removal is no error"
    );

    let id = world.open(&root(), "/g", "h");
    world.add_block(&root(), "/g", id, "h", None, &[]);
    world.ok(
        &root(),
        ReassignLease {
            file_id: id,
            new_holder: "other".to_owned(),
        },
    );
    assert!(matches!(world.effects(), [Effect::LeaseGranted { holder, .. }] if &**holder == "other"));
}

/// covers: LM-20, LM-22
#[test]
fn a_committed_block_that_no_node_finished_is_recovered() {
    let mut world = World::new();
    let id = world.open(&root(), "/f", "h");
    let first = world.add_block(&root(), "/f", id, "h", None, &[]);
    let first = BlockRef { len: 9, ..first };
    let last = world.add_block(&root(), "/f", id, "h", Some(first), &[]);
    let op = Complete {
        path: "/f".to_owned(),
        file_id: id,
        holder: "h".to_owned(),
        last: Some(BlockRef { len: 4, ..last }),
        replicated: vec![first.id],
    };
    assert_eq!(world.ok(&root(), op), OutcomeValue::Bool(false));
    let text = "DIR* NameSystem.internalReleaseLease: Failed to release lease for file /f. Committed blocks are waiting \
                to be minimally replicated.";
    world.refused(&root(), release(id, &[first.id], true), AlreadyBeingCreated, text);
    let recovering = |replicated: &[i64]| ReleaseLease {
        recover_committed: true,
        ..release(id, replicated, true)
    };
    let started = world.ok(&root(), recovering(&[first.id]));
    let OutcomeValue::Lease(LeaseProgress::RecoveryStarted { recovery_id, .. }) = started else {
        panic!("recovery begins: {started:?}");
    };
    let text = format!(
        "Client (=h) is not the lease owner (=HDFS_NameNode: /f (inode {id}) Holder h does not have any open files."
    );
    let late = Complete {
        path: "/f".to_owned(),
        file_id: id,
        holder: "h".to_owned(),
        last: Some(BlockRef { len: 4, ..last }),
        replicated: vec![first.id, last.id],
    };
    world.refused(&root(), late, LeaseExpired, &text);
    world.ok(&root(), report(last, recovery_id.0, 4, &[first.id, last.id]));
    let status = world.ns.file_info(&root(), "/f").expect("readable").expect("exists");
    assert_eq!((status.len, world.ns.is_file_closed(&root(), "/f")), (13, Ok(true)));
}

/// covers: LM-22
#[test]
fn a_report_may_leave_the_file_open_and_comes_too_late_for_a_deleted_one() {
    let mut world = World::new();
    let id = world.open(&root(), "/d/f", "h");
    let block = world.add_block(&root(), "/d/f", id, "h", None, &[]);
    world.ok(&root(), release(id, &[], true));
    let open = CommitBlockSynchronization {
        close_file: false,
        ..report(block, 1002, 3, &[])
    };
    world.ok(&root(), open);
    assert!(matches!(
        world.effects(),
        [Effect::BlockChanged { block, state: BlockState::UnderConstruction, .. }]
            if block.generation_stamp.0 == 1002 && block.len == 3
    ));
    assert_eq!(world.ns.is_file_closed(&root(), "/d/f"), Ok(false));
    assert_eq!(
        world.ok(&root(), release(id, &[], true)),
        OutcomeValue::Lease(LeaseProgress::RecoveryStarted {
            block: BlockRef {
                generation_stamp: 1002,
                len: 3,
                ..block
            }
            .into(),
            recovery_id: GenerationStamp(1003),
        }),
        "it can be recovered again, from what it is now"
    );
    world.ok(&root(), delete("/d", true));
    let text = format!("Block (=BP-1:blk_{}_1001) not found", block.id);
    world.refused(&root(), report(block, 1003, 3, &[block.id]), Io, &text);
}

/// covers: LM-18
#[test]
fn taking_one_file_over_does_not_renew_the_others() {
    let mut world = World::new();
    let id = world.open(&root(), "/f", "h");
    world.add_block(&root(), "/f", id, "h", None, &[]);
    let kept = ReleaseLease {
        new_holder: None,
        ..release(id, &[], true)
    };
    world.ok(&root(), kept);
    assert!(matches!(world.effects(), [Effect::BlockRecoveryStarted { .. }]));
    let owner = world.ns.open_file(InodeId(id)).map(|open| open.holder.to_string());
    assert_eq!(owner.as_deref(), Some("h"));
}
