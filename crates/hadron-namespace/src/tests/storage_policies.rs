//! Storage policies: setting, inheriting, and every refusal with its exact text.

use super::*;
use ErrorKind::*;
use hadron_types::{InodeId, StoragePolicy};

fn set(path: &str, policy: &str) -> SetStoragePolicy {
    SetStoragePolicy {
        path: path.to_owned(),
        policy: policy.to_owned(),
        superuser_only: false,
    }
}

fn unset(path: &str) -> UnsetStoragePolicy {
    UnsetStoragePolicy {
        path: path.to_owned(),
        superuser_only: false,
    }
}

fn shown(world: &World, path: &str) -> u8 {
    let status = world.ns.file_info(&root(), path).expect("readable");
    status.expect("exists").storage_policy
}

#[test]
fn a_policy_is_inherited_from_the_nearest_directory() {
    let mut world = World::new();
    world.mkdirs(&root(), "/a/b", 0o755);
    let file = world.file(&root(), "/a/b/f", &[5]);
    let in_effect = |world: &World, path: &str| world.ns.storage_policy_at(&root(), path).expect("exists").name;
    assert_eq!((shown(&world, "/a/b/f"), in_effect(&world, "/a/b/f")), (0, "HOT"));
    world.ok(&root(), set("/a", "cold"));
    assert_eq!((shown(&world, "/a"), shown(&world, "/a/b/f")), (2, 2));
    let block = world.ns.last_blocks(InodeId(file)).pop().expect("has a block");
    assert_eq!(
        world.ns.stored_block(block.block.id).map(|block| block.storage_policy),
        Some(2)
    );
    world.ok(&root(), set("/a/b", "ONE_SSD"));
    world.ok(&root(), set("/a/b/f", "WARM"));
    assert_eq!((shown(&world, "/a/b"), shown(&world, "/a/b/f")), (10, 5));
    world.ok(&root(), unset("/a/b/f"));
    assert_eq!(in_effect(&world, "/a/b/f"), "ONE_SSD");
    assert_eq!(world.ns.storage_policy_of(InodeId(file)), Some(10));
    world.ok(&root(), unset("/a/b"));
    world.ok(&root(), unset("/a/b"));
    assert_eq!(shown(&world, "/a/b/f"), 2);
    world.ok(&root(), rename("/a/b", "/elsewhere"));
    assert_eq!(
        shown(&world, "/elsewhere/f"),
        0,
        "a moved tree leaves the old policy behind"
    );
    world.ok(&root(), delete("/a", true));
    assert_eq!(world.ns.directory_policies, 0);
}

#[test]
fn listings_show_policies_to_superusers_only() {
    let mut world = World::new();
    world.mkdirs(&root(), "/a", 0o755);
    world.file(&root(), "/a/f", &[]);
    world.ok(&root(), set("/a", "ALL_SSD"));
    let limits = crate::ListingLimits {
        entries: 10,
        locations: 10,
    };
    for (caller, policy) in [(root(), 12), (bob(), 0)] {
        let listing = world.ns.listing(&caller, "/a", "", false, limits).expect("readable");
        assert_eq!(listing.expect("exists").entries[0].status.storage_policy, policy);
        let info = world.ns.file_info(&caller, "/a/f").expect("readable").expect("exists");
        assert_eq!(info.storage_policy, 12);
    }
}

#[test]
fn create_takes_a_policy_or_copies_one() {
    let mut world = World::new();
    world.mkdirs(&root(), "/lazy", 0o755);
    world.ok(&root(), set("/lazy", "LAZY_PERSIST"));
    world.ok(&root(), create("/lazy/copied", "h"));
    let named = |path: &str, policy: &str| Create {
        storage_policy: Some(policy.to_owned()),
        ..create(path, "h")
    };
    world.ok(&root(), named("/lazy/named", "Warm"));
    world.ok(&root(), named("/plain", ""));
    let text = "Cannot find a block policy with the name TEPID";
    world.refused(&root(), named("/other", "TEPID"), HadoopIllegalArgument, text);
    let flagged = Create {
        flags: create_flag::CREATE | create_flag::LAZY_PERSIST,
        ..create("/flagged", "h")
    };
    world.ok(&root(), flagged);
    world.ok(&root(), rename("/lazy/copied", "/copied"));
    for (path, policy) in [("/copied", 15), ("/lazy/named", 5), ("/plain", 0), ("/flagged", 15)] {
        assert_eq!(shown(&world, path), policy, "{path}");
    }
}

#[test]
fn refusals_to_set_and_unset() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d", 0o755);
    world.file(&root(), "/d/f", &[]);
    let lazy = Create {
        flags: create_flag::CREATE | create_flag::LAZY_PERSIST,
        ..create("/d/lazy", "h")
    };
    world.ok(&root(), lazy);
    let unknown = "Cannot find a block policy with the name LUKEWARM";
    world.refused(&root(), set("/d", "LUKEWARM"), HadoopIllegalArgument, unknown);
    let missing = "File/Directory does not exist: /none";
    world.refused(&root(), set("/none", "COLD"), FileNotFound, missing);
    world.refused(&root(), unset("/none"), FileNotFound, missing);
    let refusal = world.ns.storage_policy_at(&root(), "/none");
    assert_eq!(refusal, Err(HadoopError::new(FileNotFound, missing)));
    let late = format!(
        "Policy {} cannot be set after file creation.",
        StoragePolicy::LAZY_PERSIST
    );
    world.refused(&root(), set("/d/f", "LAZY_PERSIST"), HadoopIllegalArgument, &late);
    let fixed = "Existing policy LAZY_PERSIST cannot be changed after file creation.";
    world.refused(&root(), set("/d/lazy", "COLD"), HadoopIllegalArgument, fixed);
    world.refused(&root(), unset("/d/lazy"), HadoopIllegalArgument, fixed);
    let denied = "Permission denied: user=bob, access=WRITE, inode=\"/d\":root:supergroup:drwxr-xr-x";
    world.refused(&bob(), set("/d", "COLD"), AccessControl, denied);
    world.refused(&bob(), unset("/d"), AccessControl, denied);
    let superusers = SetStoragePolicy {
        superuser_only: true,
        ..set("/d", "COLD")
    };
    let text = "Access denied for user bob. Superuser privilege is required";
    world.refused(&bob(), superusers.clone(), AccessControl, text);
    world.ok(&root(), superusers);
}

#[test]
fn files_with_an_inherited_lazy_policy_are_not_appended_to() {
    let mut world = World::new();
    world.file(&root(), "/d/f", &[1]);
    world.ok(&root(), set("/d", "LAZY_PERSIST"));
    let append = Append {
        path: "/d/f".to_owned(),
        holder: "h".to_owned(),
        client_machine: "m".to_owned(),
        new_block: false,
        last_block_replicated: true,
    };
    let text = "Cannot append to lazy persist file /d/f";
    world.refused(&root(), append, UnsupportedOperation, text);
}
