//! Paths with a meaning of their own, and directories that are protected.

use super::*;
use crate::ListingLimits;
use ErrorKind::{AccessControl, FileNotFound};

const LIMITS: ListingLimits = ListingLimits {
    entries: 10,
    locations: 10,
};

#[test]
fn reserved_paths_are_shown_and_lead_to_inodes() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d/e", 0o755);
    let id = world.file(&root(), "/d/e/f", &[]);
    let ns = &world.ns;
    let listing = ns.listing(&alice(), "/.reserved", "", false, LIMITS);
    let listing = listing.expect("readable").expect("exists");
    let names: Vec<_> = listing.entries.iter().map(|entry| entry.status.name.as_str()).collect();
    assert_eq!((names, listing.remaining), (vec![".inodes", "raw"], 0));
    let status = ns.file_info(&alice(), "/.reserved").expect("readable").expect("exists");
    assert_eq!((status.is_directory, status.permission.bits()), (true, 0o1770));

    let found = |path: &str| ns.file_info(&root(), path).map(|found| found.map(|status| status.id.0));
    assert_eq!(found(&format!("/.reserved/.inodes/{id}")), Ok(Some(id)));
    assert_eq!(found("/.reserved/.inodes/16385/d/e/f"), Ok(Some(id)));
    assert_eq!(found("/.reserved/raw/d/e/f"), Ok(Some(id)));
    assert_eq!(found("/d/.snapshot/e"), Ok(None), "no directory has snapshots");
    let text = "File for given inode path does not exist: /.reserved/.inodes/99999";
    let error = found("/.reserved/.inodes/99999");
    assert_eq!(error, Err(HadoopError::new(FileNotFound, text)));

    // A listing goes on after an inode's name, whatever it is called now.
    let start = format!("/.reserved/.inodes/{id}");
    let page = ns.listing(&root(), "/d/e", &start, false, LIMITS).expect("listed");
    assert_eq!(page.expect("exists").entries.len(), 0);
    let error = ns.listing(&root(), "/d/e", "/.reserved/.inodes/99999", false, LIMITS);
    assert_eq!(
        error.map_err(|error| error.kind),
        Err(ErrorKind::DirectoryListingStartAfterNotFound)
    );
    let text = "Access denied for user alice. Superuser privilege is required";
    world.refused(&alice(), mkdirs("/.reserved/raw/x", 0o755), AccessControl, text);
}

#[test]
fn a_file_among_the_ancestors_is_told_by_its_message_alone() {
    let mut world = World::new();
    world.file(&root(), "/f", &[]);
    world.refused(
        &alice(),
        delete("/f/x", false),
        AccessControl,
        "/f (is not a directory)",
    );
    let error = world
        .ns
        .file_info(&alice(), "/f/x")
        .map_err(|error| (error.kind, error.message));
    assert_eq!(error, Err((AccessControl, "/f (is not a directory)".to_owned())));
}

#[test]
fn protected_directories_stay_while_they_are_not_empty() {
    let mut world = World::new();
    world.mkdirs(&root(), "/p/q/r", 0o755);
    world.mkdirs(&root(), "/p/empty", 0o755);
    let protect = |paths: &[&str], below: bool| {
        Some(ProtectedDirectories {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            below,
        })
    };
    for (path, paths, below, text) in [
        (
            "/p/q",
            &["/p/q"][..],
            false,
            "Cannot delete/rename non-empty protected directory /p/q",
        ),
        (
            "/p",
            &["/p/q"],
            false,
            "Cannot delete/rename non-empty protected subdirectory /p/q",
        ),
        (
            "/p/q",
            &["/p"],
            true,
            "Cannot delete/rename subdirectory under protected subdirectory /p",
        ),
    ] {
        let op = Delete {
            protected: protect(paths, below),
            ..delete(path, true)
        };
        world.refused(&root(), op, AccessControl, text);
        let op = Rename {
            protected: protect(paths, below),
            ..rename(path, "/other")
        };
        world.refused(&root(), op, AccessControl, text);
        let op = Rename2 {
            protected: protect(paths, below),
            ..rename2(path, "/other", false)
        };
        world.refused(&root(), op, AccessControl, text);
    }
    for (path, paths, below) in [
        ("/p/empty", &["/p/empty"][..], false),
        ("/p/q", &["/p/q/r", "/p"], false),
    ] {
        let op = Delete {
            protected: protect(paths, below),
            ..delete(path, true)
        };
        assert_eq!(world.ok(&root(), op), OutcomeValue::Bool(true), "{path}");
    }
}

#[test]
fn moves_to_the_trash_ask_for_what_deleting_asks() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d", 0o777);
    world.mkdirs(&root(), "/trash", 0o777);
    world.mkdirs(&alice(), "/d/x", 0o777);
    world.mkdirs(&root(), "/d/x/of_root", 0o755);
    world.file(&root(), "/d/x/of_root/f", &[]);
    let to_trash = Rename2 {
        to_trash: true,
        ..rename2("/d/x", "/trash/x", false)
    };
    let text = "Permission denied: user=alice, access=ALL, inode=\"/d/x/of_root\":root:supergroup:drwxr-xr-x";
    world.refused(&alice(), to_trash, AccessControl, text);
    world.ok(&alice(), rename2("/d/x", "/trash/x", false));
}
