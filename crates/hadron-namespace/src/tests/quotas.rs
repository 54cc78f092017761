//! Quotas: setting them, every refusal with its exact text, and what counts.

use super::state::assert_invariants;
use super::*;
use crate::{NO_QUOTA, QuotaLimits, QuotaUsage};
use ErrorKind::*;

const KEEP: i64 = i64::MAX;
const BLOCK: u64 = 128 << 20;

fn quota(path: &str, names: i64, space: i64) -> SetQuota {
    SetQuota {
        path: path.to_owned(),
        names,
        space,
        storage_type: None,
        allow_owner: false,
        types_disabled: false,
    }
}

fn type_quota(path: &str, kind: hadron_types::StorageType, bytes: i64) -> SetQuota {
    SetQuota {
        storage_type: Some(kind as u32),
        ..quota(path, KEEP, bytes)
    }
}

fn usage(world: &World, path: &str) -> QuotaUsage {
    assert_invariants(&world.ns);
    world
        .ns
        .quota_usage(&root(), path)
        .expect("exists")
        .expect("has a quota")
        .1
}

fn limits(world: &World, path: &str) -> QuotaLimits {
    world.ns.content_summary(&root(), path).expect("exists").limits()
}

fn set_replication(path: &str, replication: i32) -> SetReplication {
    SetReplication {
        path: path.to_owned(),
        replication,
    }
}

#[test]
fn quotas_are_kept_cleared_and_shown() {
    let mut world = World::new();
    world.file(&root(), "/d/sub/f", &[10, 20]);
    world.ok(&root(), quota("/d", 5, KEEP));
    assert_eq!(limits(&world, "/d").names, 5);
    assert_eq!(
        usage(&world, "/d"),
        QuotaUsage {
            names: 3,
            space: 90,
            ..QuotaUsage::default()
        }
    );
    world.ok(&root(), quota("/d", KEEP, 1 << 40));
    assert_eq!((limits(&world, "/d").names, limits(&world, "/d").space), (5, 1 << 40));
    world.ok(&root(), quota("/d", NO_QUOTA, KEEP));
    world.ok(&root(), type_quota("/d", hadron_types::StorageType::Ssd, 7));
    assert_eq!(limits(&world, "/d").by_type, [7, -1, -1, -1]);
    world.ok(&root(), quota("/d", KEEP, NO_QUOTA));
    assert_eq!(limits(&world, "/d").space, NO_QUOTA);
    world.ok(&root(), type_quota("/d", hadron_types::StorageType::Ssd, NO_QUOTA));
    assert_eq!(world.ns.quota_usage(&root(), "/d"), Ok(None));
    assert_eq!(limits(&world, "/d"), QuotaLimits::NONE);
    assert_invariants(&world.ns);

    assert_eq!(limits(&world, "/"), QuotaLimits::ROOT);
    world.ok(&root(), quota("/", 100, KEEP));
    assert_eq!((limits(&world, "/").names, usage(&world, "/").names), (100, 4));
    let text = "Cannot clear namespace quota on root.";
    world.refused(&root(), quota("/", NO_QUOTA, KEEP), IllegalArgument, text);
    world.ok(&root(), quota("/", KEEP, 1 << 40));
    world.ok(&root(), quota("/", KEEP, NO_QUOTA));
    assert_eq!(limits(&world, "/").names, 100);
}

#[test]
fn refusals_to_set_a_quota() {
    let mut world = World::new();
    world.file(&root(), "/f", &[]);
    let text = "Access denied for user alice. Superuser privilege is required";
    world.refused(&alice(), quota("/", 1, 1), AccessControl, text);
    world.refused(
        &root(),
        quota("/f", 1, 1),
        PathIsNotDirectory,
        "`/f': Is not a directory",
    );
    world.refused(&root(), quota("/x", 1, 1), FileNotFound, "Directory does not exist: /x");
    let text = "Illegal value for nsQuota or ssQuota : -2 and 1";
    world.refused(&root(), quota("/", -2, 1), IllegalArgument, text);
    let off = SetQuota {
        types_disabled: true,
        ..type_quota("/", hadron_types::StorageType::Disk, 1)
    };
    let text = "Failed to set quota by storage type because eitherdfs.quota.by.storage.type.enabled is set to false or \
                nsQuota value is illegal 9223372036854775807";
    world.refused(&root(), off, UnsupportedAction, text);
    let text = "Don't support Quota for storage type : RAM_DISK";
    let memory = type_quota("/", hadron_types::StorageType::RamDisk, 1);
    world.refused(&root(), memory, IllegalArgument, text);

    world.mkdirs(&root(), "/home", 0o777);
    world.mkdirs(&alice(), "/home/alice/sub", 0o755);
    let by_owner = |path| SetQuota {
        allow_owner: true,
        ..quota(path, 10, KEEP)
    };
    world.ok(&alice(), by_owner("/home/alice/sub"));
    let text = "Access denied for user alice. Superuser or owner of parent folder privilege is required";
    world.refused(&alice(), by_owner("/home/alice"), AccessControl, text);
}

#[test]
fn names_are_limited() {
    let mut world = World::new();
    world.mkdirs(&root(), "/q/in", 0o755);
    world.mkdirs(&root(), "/other/a/b", 0o755);
    world.ok(&root(), quota("/q", 4, KEEP));
    world.ok(&root(), quota("/q/in", 2, KEEP));
    let inner = "The NameSpace quota (directories and files) of directory /q/in is exceeded: quota=2 file count=3";
    let outer = "The NameSpace quota (directories and files) of directory /q is exceeded: quota=4 file count=5";
    world.refused(&root(), mkdirs("/q/in/a/b", 0o755), NsQuotaExceeded, inner);
    world.file(&root(), "/q/in/f", &[]);
    world.refused(&root(), create("/q/in/g", "h"), NsQuotaExceeded, inner);
    let text = "The NameSpace quota (directories and files) of directory /q is exceeded: quota=4 file count=6";
    world.refused(&root(), rename("/other", "/q"), NsQuotaExceeded, text);
    world.file(&root(), "/q/g", &[]);
    for op in [
        Op::from(mkdirs("/q/x", 0o755)),
        Op::from(create("/q/x/y/z", "h")),
        Op::from(rename("/other/a/b", "/q/b")),
        Op::from(rename2("/other/a/b", "/q/b", false)),
    ] {
        world.refused(&root(), op, NsQuotaExceeded, outer);
    }
    // Inside of the tree nothing is added, and replacing gives back first.
    world.ok(&root(), rename("/q/g", "/q/h"));
    let again = Create {
        flags: 3,
        ..create("/q/h", "h")
    };
    world.ok(&root(), again);
    world.ok(&root(), rename2("/q/in/f", "/q/h", true));
    assert_eq!((usage(&world, "/q").names, usage(&world, "/q/in").names), (3, 1));
    world.ok(&root(), delete("/q/in", true));
    assert_eq!(usage(&world, "/q").names, 2);
    world.ok(&root(), rename("/q/h", "/other/h"));
    assert_eq!(usage(&world, "/q").names, 1);
    // A quota below what is there already only refuses more.
    world.ok(&root(), quota("/other", 1, KEEP));
    world.ok(&root(), delete("/other/h", false));
}

#[test]
fn space_counts_open_blocks_whole() {
    let mut world = World::new();
    world.mkdirs(&root(), "/q", 0o755);
    world.ok(&root(), quota("/q", KEEP, 4 * 3 * BLOCK as i64));
    let id = world.open(&root(), "/q/f", "writer");
    let first = world.add_block(&root(), "/q/f", id, "writer", None, &[]);
    assert_eq!(usage(&world, "/q").space, 3 * BLOCK as i64);
    let first = BlockRef { len: 100, ..first };
    let second = world.add_block(&root(), "/q/f", id, "writer", Some(first), &[first.id]);
    assert_eq!(usage(&world, "/q").space, 300 + 3 * BLOCK as i64);
    world.ok(
        &root(),
        AbandonBlock {
            path: "/q/f".to_owned(),
            file_id: id,
            holder: "writer".to_owned(),
            block: second,
        },
    );
    assert_eq!(usage(&world, "/q").space, 300);
    world.ok(&root(), quota("/q", KEEP, 3 * BLOCK as i64));
    let more = AddBlock {
        path: "/q/f".to_owned(),
        file_id: id,
        holder: "writer".to_owned(),
        previous: Some(first),
        replicated: vec![first.id],
    };
    let text = "The DiskSpace quota of /q is exceeded: quota = 402653184 B = 384 MB but diskspace consumed = 402653484 \
                B = 384.00 MB";
    world.refused(&root(), more, DsQuotaExceeded, text);
    let complete = Complete {
        path: "/q/f".to_owned(),
        file_id: id,
        holder: "writer".to_owned(),
        last: Some(first),
        replicated: vec![first.id],
    };
    world.ok(&root(), complete);

    let append = Append {
        path: "/q/f".to_owned(),
        holder: "writer".to_owned(),
        client_machine: "m".to_owned(),
        new_block: false,
        last_block_replicated: true,
    };
    world.ok(&root(), quota("/q", KEEP, 3 * BLOCK as i64 - 1));
    let text = "The DiskSpace quota of /q is exceeded: quota = 402653183 B = 384.00 MB but diskspace consumed = \
                402653184 B = 384 MB";
    world.refused(&root(), append.clone(), DsQuotaExceeded, text);
    world.ok(&root(), quota("/q", KEEP, 3 * BLOCK as i64));
    world.ok(&root(), append);
    assert_eq!(usage(&world, "/q").space, 3 * BLOCK as i64);
    world.ok(&root(), delete("/q/f", false));
    assert_eq!(usage(&world, "/q"), QuotaUsage::of_names(1));
}

#[test]
fn replication_and_renames_take_space() {
    let mut world = World::new();
    world.mkdirs(&root(), "/q", 0o755);
    world.file(&root(), "/q/f", &[1000]);
    world.file(&root(), "/other/f", &[500]);
    world.ok(&root(), quota("/q", KEEP, 4000));
    let text =
        "The DiskSpace quota of /q is exceeded: quota = 4000 B = 3.91 KB but diskspace consumed = 5000 B = 4.88 KB";
    world.refused(&root(), set_replication("/q/f", 5), DsQuotaExceeded, text);
    world.ok(&root(), set_replication("/q/f", 4));
    assert_eq!(usage(&world, "/q").space, 4000);
    world.ok(&root(), set_replication("/q/f", 2));
    assert_eq!(usage(&world, "/q").space, 2000);
    world.ok(&root(), quota("/q", KEEP, 3000));
    let text =
        "The DiskSpace quota of /q is exceeded: quota = 3000 B = 2.93 KB but diskspace consumed = 3500 B = 3.42 KB";
    world.refused(&root(), rename("/other", "/q"), DsQuotaExceeded, text);
    world.refused(&root(), rename2("/other/f", "/q/g", false), DsQuotaExceeded, text);
    world.ok(&root(), rename2("/other/f", "/q/f", true));
    assert_eq!(usage(&world, "/q").space, 1500);
}

#[test]
fn types_count_where_a_policy_is_set() {
    use hadron_types::StorageType::{Archive, Disk, Ssd};
    let mut world = World::new();
    world.mkdirs(&root(), "/q/cold", 0o755);
    world.file(&root(), "/q/f", &[100]);
    world.file(&root(), "/q/cold/f", &[10]);
    world.ok(&root(), type_quota("/q", Ssd, 1000));
    world.ok(&root(), type_quota("/q/cold", Archive, 1000));
    assert_eq!(usage(&world, "/q").by_type, [0; 4], "no policy, no types");
    let policy = |path: &str, policy: &str| SetStoragePolicy {
        path: path.to_owned(),
        policy: policy.to_owned(),
        superuser_only: false,
    };
    world.ok(&root(), policy("/q", "ONE_SSD"));
    assert_eq!(usage(&world, "/q").by_type, [110, 220, 0, 0]);
    world.ok(&root(), policy("/q/cold", "COLD"));
    assert_eq!(usage(&world, "/q").by_type, [100, 200, 30, 0]);
    assert_eq!(usage(&world, "/q/cold").by_type, [0, 0, 30, 0]);
    world.ok(&root(), rename("/q/f", "/q/cold/g"));
    assert_eq!(usage(&world, "/q").by_type, [0, 0, 330, 0]);
    let id = world.open(&root(), "/q/new", "h");
    let op = AddBlock {
        path: "/q/new".to_owned(),
        file_id: id,
        holder: "h".to_owned(),
        previous: None,
        replicated: Vec::new(),
    };
    let text = "Quota by storage type : SSD on path : /q is exceeded. quota = 1000 B but space consumed = 128 MB";
    world.refused(&root(), op, QuotaByStorageTypeExceeded, text);
    world.ok(&root(), type_quota("/q", Disk, 5));
    let mut cursor = world.ns.content_summary(&root(), "/q").expect("exists");
    assert!(
        world
            .ns
            .content_summary_step(&root(), &mut cursor, 100)
            .expect("readable")
    );
    assert_eq!(cursor.summary().by_type, [0, 0, 330, 0]);
    assert_eq!(cursor.limits().by_type, [1000, 5, -1, -1]);
}

#[test]
fn an_image_keeps_limits_and_counters() {
    let mut world = World::new();
    world.file(&root(), "/q/f", &[100]);
    world.ok(&root(), quota("/q", 7, 1 << 30));
    let image: Vec<u8> = world.ns.image_slices().flatten().collect();
    world.ns = Namespace::from_image(&image).expect("loads");
    assert_eq!((limits(&world, "/q").names, usage(&world, "/q").space), (7, 300));
    world.file(&root(), "/q/g", &[1]);
    assert_eq!(usage(&world, "/q").names, 3);
    assert!(world.ns.memory_usage().quotas > 0);
}
