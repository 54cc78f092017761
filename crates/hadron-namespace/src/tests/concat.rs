//! Concat: what moves, what vanishes, and every refusal with its exact text.

use super::state::assert_invariants;
use super::*;
use crate::Effect;
use ErrorKind::*;
use hadron_types::{BlockId, CallId, ClientId};

fn concat(target: &str, sources: &[&str]) -> Concat {
    Concat {
        target: target.to_owned(),
        sources: sources.iter().map(|source| (*source).to_owned()).collect(),
    }
}

fn blocks(world: &World, path: &str) -> Vec<BlockId> {
    let blocks = world.ns.block_locations(&root(), path, 0, u64::MAX, TimeMs(0), 0);
    blocks
        .expect("readable")
        .blocks
        .iter()
        .map(|block| block.block.id)
        .collect()
}

#[test]
fn blocks_move_behind_those_of_the_target() {
    let mut world = World::new();
    let target = world.file(&root(), "/d/t", &[5, 6]);
    for (path, lens) in [("/d/a", &[1][..]), ("/d/b", &[2, 3])] {
        world.file(&root(), path, lens);
    }
    let expected: Vec<BlockId> = ["/d/t", "/d/b", "/d/a"]
        .iter()
        .flat_map(|path| blocks(&world, path))
        .collect();
    let fewer = SetReplication {
        path: "/d/a".to_owned(),
        replication: 1,
    };
    world.ok(&root(), fewer);
    world.now = 9_000;
    world.ok(&root(), concat("/d/t", &["/d/b", "/d/a"]));
    assert!(
        matches!(world.effects(), [Effect::ReplicationChanged { blocks, old: 1, new: 3 }] if blocks.len() == 1),
        "{:?}",
        world.effects()
    );
    assert_invariants(&world.ns);
    assert_eq!(blocks(&world, "/d/t"), expected);
    let info = |path: &str| world.ns.file_info(&root(), path).expect("readable");
    assert_eq!((info("/d/a"), info("/d/b")), (None, None));
    let (file, directory) = (info("/d/t").expect("exists"), info("/d").expect("exists"));
    assert_eq!(
        (file.len, file.mtime, directory.mtime),
        (17, TimeMs(9_001), TimeMs(9_001))
    );
    for block in expected {
        assert_eq!(world.ns.stored_block(block).map(|block| block.file.0), Some(target));
    }

    let onto_nothing = world.file(&root(), "/d/empty", &[]);
    world.file(&root(), "/d/one", &[9]);
    world.ok(&root(), concat("/d/empty", &["/d/one"]));
    assert_invariants(&world.ns);
    let moved = blocks(&world, "/d/empty");
    assert_eq!(
        world.ns.stored_block(moved[0]).map(|block| block.file.0),
        Some(onto_nothing)
    );
}

#[test]
fn a_repeated_call_is_answered_from_the_retry_cache() {
    let mut world = World::new();
    world.file(&root(), "/t", &[1]);
    world.file(&root(), "/a", &[1]);
    let command = Command::new(root(), TimeMs(5_000), concat("/t", &["/a"])).with_call(ClientId([3; 16]), CallId(8));
    for _ in 0..2 {
        assert_eq!(world.apply(&command), Ok(OutcomeValue::Done));
    }
    world.refused(&root(), concat("/t", &["/a"]), FileNotFound, "File does not exist: /a");
}

#[test]
fn refusals() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d", 0o755);
    world.file(&root(), "/d/t", &[1]);
    world.file(&root(), "/d/a", &[1]);
    world.file(&root(), "/d/empty", &[]);
    world.file(&root(), "/elsewhere", &[1]);
    world.open(&root(), "/d/open", "h");
    let larger = Create {
        block_size: 256 << 20,
        ..create("/d/large", "writer")
    };
    world.ok(&root(), larger);
    let block = world.add_block(&root(), "/d/large", 0, "writer", None, &[]);
    let op = Complete {
        path: "/d/large".to_owned(),
        file_id: 0,
        holder: "writer".to_owned(),
        last: Some(BlockRef { len: 1, ..block }),
        replicated: vec![block.id],
    };
    world.ok(&root(), op);
    for (target, sources, kind, text) in [
        ("", &["/d/a"][..], IllegalArgument, "Target file name is empty"),
        ("/d/t", &[], IllegalArgument, "No sources given"),
        (
            "/.reserved/.inodes/16387",
            &["/d/a"],
            Io,
            "Concat operation doesn't support .reserved relative path : /.reserved/.inodes/16387",
        ),
        ("/d/none", &["/d/a"], FileNotFound, "File does not exist: /d/none"),
        ("/d", &["/d/a"], FileNotFound, "Path is not a file: /d"),
        ("/d/t", &["/d/none"], FileNotFound, "File does not exist: /d/none"),
        (
            "/d/open",
            &["/d/a"],
            HadoopIllegalArgument,
            "concat: target file /d/open is under construction",
        ),
        (
            "/d/t",
            &["/elsewhere"],
            HadoopIllegalArgument,
            "Source file /elsewhere is not in the same directory with the target /d/t",
        ),
        (
            "/d/t",
            &["/d/t"],
            HadoopIllegalArgument,
            "concat: the src file /d/t is the same with the target file /d/t",
        ),
        (
            "/d/t",
            &["/d/empty"],
            HadoopIllegalArgument,
            "concat: source file /d/empty is invalid or empty or underConstruction",
        ),
        (
            "/d/t",
            &["/d/open"],
            HadoopIllegalArgument,
            "concat: source file /d/open is invalid or empty or underConstruction",
        ),
        (
            "/d/t",
            &["/d/large"],
            HadoopIllegalArgument,
            "concat: source file /d/large has preferred block size 268435456 which is greater than the target file's \
             preferred block size 134217728",
        ),
        (
            "/d/t",
            &["/d/a", "/d/a"],
            HadoopIllegalArgument,
            "concat: at least two of the source files are the same",
        ),
    ] {
        world.refused(&root(), concat(target, sources), kind, text);
    }
    let text = "Permission denied: user=bob, access=WRITE, inode=\"/d/t\":root:supergroup:-rw-r--r--";
    world.refused(&bob(), concat("/d/t", &["/d/a"]), AccessControl, text);
}

#[test]
fn quotas_follow_the_replication_of_the_target() {
    let mut world = World::new();
    world.file(&root(), "/q/t", &[100]);
    world.file(&root(), "/q/a", &[100]);
    for (path, replication) in [("/q/t", 5), ("/q/a", 1)] {
        let op = SetReplication {
            path: path.to_owned(),
            replication,
        };
        world.ok(&root(), op);
    }
    let quota = |space| SetQuota {
        path: "/q".to_owned(),
        names: i64::MAX,
        space,
        storage_type: None,
        allow_owner: false,
        types_disabled: false,
    };
    world.ok(&root(), quota(999));
    let text = "The DiskSpace quota of /q is exceeded: quota = 999 B = 999 B but diskspace consumed = 1000 B = 1000 B";
    world.refused(&root(), concat("/q/t", &["/q/a"]), DsQuotaExceeded, text);
    world.ok(&root(), quota(1000));
    world.ok(&root(), concat("/q/t", &["/q/a"]));
    assert_invariants(&world.ns);
    let (_, usage) = world
        .ns
        .quota_usage(&root(), "/q")
        .expect("exists")
        .expect("has a quota");
    assert_eq!((usage.names, usage.space), (2, 1000));
}
