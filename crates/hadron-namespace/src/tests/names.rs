//! Directories, names, permissions, renames, deletion, attributes: every refusal with its exact text.

use super::*;
use ErrorKind::*;

#[test]
fn mkdirs_and_its_refusals() {
    let mut world = World::new();
    world.mkdirs(&root(), "/home", 0o777);
    world.mkdirs(&alice(), "/home/alice/a/b/", 0o1500);
    let status = |world: &World, path: &str| world.ns.file_info(&root(), path).expect("readable").expect("exists");
    let made = status(&world, "/home/alice/a");
    assert_eq!(
        made.permission.bits(),
        0o700,
        "made ancestors get u+wx and are not sticky"
    );
    assert_eq!(status(&world, "/home/alice/a/b").permission.bits(), 0o1500);
    assert_eq!((&*made.owner, &*made.group), ("alice", "supergroup"));
    world.mkdirs(&alice(), "/home/alice", 0o000);
    assert_eq!(
        status(&world, "/home/alice").permission.bits(),
        0o700,
        "an existing directory stays as it is"
    );
    world.file(&root(), "/home/f", &[]);

    let no_parents = Mkdirs {
        create_parent: false,
        ..mkdirs("/home/x/y", 0o755)
    };
    let text = "Parent directory doesn't exist: /home/x";
    world.refused(&root(), no_parents, FileNotFound, text);
    for (path, kind, text) in [
        ("/home/f", FileAlreadyExists, "Path is not a directory: /home/f"),
        ("/home/f/x/y", ParentNotDirectory, "/home/f (is not a directory)"),
        ("/a:b", InvalidPath, "Invalid path name Invalid file name: /a:b"),
        ("/a/../b", InvalidPath, "Invalid path name Invalid file name: /a/../b"),
        ("/a//b", InvalidPath, "Invalid path name Invalid file name: /a//b"),
        ("relative", InvalidPath, "Invalid path name Invalid file name: relative"),
        (
            "/home/.snapshot",
            HadoopIllegalArgument,
            "\".snapshot\" is a reserved name.",
        ),
        (
            "/home/.snapshot/x",
            HadoopIllegalArgument,
            "\".snapshot\" is a reserved name.",
        ),
        (
            "/.reserved",
            HadoopIllegalArgument,
            "File name \".reserved\" is reserved and cannot be created. If this is during upgrade change the name of \
             the existing file or directory to another name before upgrading to the new release.",
        ),
    ] {
        world.refused(&root(), mkdirs(path, 0o755), kind, text);
    }
    let text = "Permission denied: user=bob, access=EXECUTE, inode=\"/home/alice\":alice:supergroup:drwx------";
    world.refused(&bob(), mkdirs("/home/alice/x", 0o755), AccessControl, text);
    let text = "Permission denied: user=bob, access=WRITE, inode=\"/\":root:supergroup:drwxr-xr-x";
    world.refused(&bob(), mkdirs("/x/y", 0o755), AccessControl, text);
}

#[test]
fn limits_on_names() {
    let mut world = World::new();
    let long = "x".repeat(256);
    let text =
        format!("The maximum path component name limit of {long} in directory / is exceeded: limit=255 length=256");
    world.refused(&root(), mkdirs(&format!("/{long}"), 0o755), PathComponentTooLong, &text);
    let deep = "/a".repeat(1001);
    let text = "mkdirs: Pathname too long.  Limit 8000 characters, 1000 levels.";
    world.refused(&root(), mkdirs(&deep, 0o755), Io, text);
    let text = "create: Pathname too long.  Limit 8000 characters, 1000 levels.";
    world.refused(&root(), create(&format!("/{}", "y".repeat(8000)), "h"), Io, text);
    let text = "rename: Pathname too long.  Limit 8000 characters, 1000 levels.";
    world.refused(&root(), rename("/a", &deep), Io, text);

    let limits = Limits {
        max_directory_items: Some(2),
        ..Limits::default()
    };
    for path in ["/a", "/b", "/a/x"] {
        world.now += 1;
        let command = Command::new(root(), TimeMs(world.now), mkdirs(path, 0o755)).with_limits(limits);
        assert_eq!(world.apply(&command), Ok(OutcomeValue::Bool(true)));
    }
    for op in [Op::from(mkdirs("/c", 0o755)), rename("/a/x", "/c").into()] {
        world.now += 1;
        let command = Command::new(root(), TimeMs(world.now), op).with_limits(limits);
        let text = "The directory item limit of / is exceeded: limit=2 items=2";
        assert_eq!(
            world.apply(&command),
            Err(HadoopError::new(MaxDirectoryItemsExceeded, text))
        );
    }
    let command = Command::new(root(), TimeMs(world.now), rename("/a", "/c")).with_limits(limits);
    assert_eq!(
        world.apply(&command),
        Ok(OutcomeValue::Bool(true)),
        "within a directory nothing is added"
    );
}

#[test]
fn inodes_and_blocks_are_limited_together() {
    let mut world = World::new();
    let file = world.open(&root(), "/f", "h");
    let limits = |most| Limits {
        max_objects: Some(most),
        ..Limits::default()
    };
    let add = AddBlock {
        path: "/f".to_owned(),
        file_id: file,
        holder: "h".to_owned(),
        previous: None,
        replicated: Vec::new(),
    };
    for op in [Op::from(mkdirs("/d", 0o755)), create("/g", "h").into(), add.into()] {
        let command = |most| Command::new(root(), TimeMs(2_000), op.clone()).with_limits(limits(most));
        let text = "Exceeded the configured number of objects 2 in the filesystem.";
        assert_eq!(world.ns.check(&command(2)), Err(HadoopError::io(text)));
        assert_eq!(world.ns.check(&command(3)), Ok(()));
        assert_eq!(world.ns.check(&command(0)), Ok(()), "no limit");
    }
}

#[test]
fn traversal_and_reads() {
    let mut world = World::new();
    world.mkdirs(&root(), "/home", 0o777);
    world.mkdirs(&alice(), "/home/alice", 0o700);
    world.file(&alice(), "/home/alice/f", &[5]);
    let info = |caller: &Caller, path: &str| world.ns.file_info(caller, path);
    assert_eq!(info(&root(), "/nothing"), Ok(None));
    assert_eq!(
        info(&alice(), "/home/alice/f").map(|status| status.map(|status| status.len)),
        Ok(Some(5))
    );
    let denied = |text: &str| HadoopError::new(AccessControl, text);
    let text = "Permission denied: user=bob, access=EXECUTE, inode=\"/home/alice\":alice:supergroup:drwx------";
    assert_eq!(info(&bob(), "/home/alice/f"), Err(denied(text)));
    assert_eq!(
        info(&root(), "/home/alice/f/x"),
        Ok(None),
        "a superuser is shown nothing below a file"
    );
    let text = "/home/alice/f (is not a directory)";
    assert_eq!(info(&alice(), "/home/alice/f/x"), Err(denied(text)));
    let text = "Permission denied: user=bob, access=READ_EXECUTE, inode=\"/home/alice\":alice:supergroup:drwx------";
    let limits = crate::ListingLimits {
        entries: 1000,
        locations: 1000,
    };
    let listing = |caller: &Caller, path: &str| world.ns.listing(caller, path, "", false, limits);
    assert_eq!(listing(&bob(), "/home/alice").err(), Some(denied(text)));
    assert_eq!(listing(&bob(), "/gone"), Ok(None));
    let blocks = |caller: &Caller, path: &str| {
        world
            .ns
            .block_locations(caller, path, 0, 10, TimeMs(0), 0)
            .map(|blocks| blocks.len)
    };
    assert_eq!(blocks(&alice(), "/home/alice/f"), Ok(5));
    let not_found = |text: &str| HadoopError::new(FileNotFound, text);
    assert_eq!(blocks(&alice(), "/gone"), Err(not_found("File does not exist: /gone")));
    assert_eq!(blocks(&alice(), "/home"), Err(not_found("Path is not a file: /home")));
    assert_eq!(world.ns.is_file_closed(&alice(), "/home/alice/f"), Ok(true));
    assert_eq!(
        world.ns.content_summary(&alice(), "/gone").err(),
        Some(not_found("File does not exist: /gone"))
    );
}

#[test]
fn reserved_paths_resolve_by_inode() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d/e", 0o755);
    let file = world.file(&root(), "/d/e/f", &[7]);
    let id = |world: &World, path: &str| {
        world
            .ns
            .file_info(&root(), path)
            .map(|status| status.map(|status| status.id.0))
    };
    let directory = id(&world, "/d").expect("readable").expect("exists");
    for (path, expected) in [
        (format!("/.reserved/.inodes/{file}"), Some(file)),
        (format!("/.reserved/.inodes/{directory}/e/f"), Some(file)),
        (format!("/.reserved/.inodes/{directory}/e/gone"), None),
        (format!("/.reserved/.inodes/{directory}/.."), Some(16385)),
        ("/.reserved/.inodes/16385".to_owned(), Some(16385)),
        ("/.reserved/raw/d".to_owned(), Some(directory)),
        ("/.reserved/raw".to_owned(), Some(16385)),
    ] {
        assert_eq!(id(&world, &path), Ok(expected), "{path}");
    }
    let missing = |text: &str| Err(HadoopError::new(FileNotFound, text));
    let text = "File for given inode path does not exist: /.reserved/.inodes/99";
    assert_eq!(id(&world, "/.reserved/.inodes/99"), missing(text));
    let text = "Invalid inode path: /.reserved/.inodes/x";
    assert_eq!(id(&world, "/.reserved/.inodes/x"), missing(text));
    let text = "Invalid path name /.reserved";
    world.refused(&root(), create("/.reserved", "h"), InvalidPath, text);
    world.refused(&root(), delete("/.reserved", true), InvalidPath, text);
    world.ok(&root(), delete(&format!("/.reserved/.inodes/{file}"), false));
    assert_eq!(world.ns.path_of(hadron_types::InodeId(file)), None);
}

#[test]
fn old_rename_answers_true_or_false() {
    let mut world = World::new();
    world.mkdirs(&root(), "/a/b", 0o755);
    world.mkdirs(&root(), "/d", 0o755);
    world.file(&root(), "/f", &[1]);
    for (source, target, answer) in [
        ("/gone", "/x", false),
        ("/", "/x", false),
        ("/f", "/f", true),
        ("/a", "/a/b/c", false),
        ("/a", "/gone/x", false),
        ("/a", "/a", false), // moves into itself
        ("/f", "/a", true),  // moves into the directory
        ("/a/f", "/a/g", true),
        ("/a/g", "/d", true),
        ("/d/g", "/d", true), // its own place
        ("/d", "/", true),
    ] {
        let outcome = world.ok(&root(), rename(source, target));
        assert_eq!(outcome, OutcomeValue::Bool(answer), "{source} -> {target}");
    }
    let text = "/d/g (is not a directory)";
    world.refused(&root(), rename("/a", "/d/g/x"), ParentNotDirectory, text);
    let text = "Permission denied: user=bob, access=WRITE, inode=\"/d\":root:supergroup:drwxr-xr-x";
    world.refused(&bob(), rename("/d/g", "/x"), AccessControl, text);
}

#[test]
fn rename2_says_why() {
    let mut world = World::new();
    world.mkdirs(&root(), "/a/b", 0o755);
    world.mkdirs(&root(), "/empty", 0o755);
    world.file(&root(), "/f", &[1]);
    world.file(&root(), "/g", &[1]);
    for (source, target, kind, text) in [
        ("/gone", "/x", FileNotFound, "rename source /gone is not found."),
        ("/", "/x", Io, "rename source cannot be the root"),
        (
            "/f",
            "/f",
            FileAlreadyExists,
            "The source /f and destination /f are the same",
        ),
        (
            "/a",
            "/a/c",
            Io,
            "Rename destination /a/c is a directory or file under source /a",
        ),
        ("/a", "/", Io, "rename destination cannot be the root"),
        (
            "/f",
            "/empty",
            Io,
            "Source /f and destination /empty must both be directories",
        ),
        (
            "/f",
            "/gone/x",
            FileNotFound,
            "rename destination parent /gone/x not found.",
        ),
        ("/f", "/g/x", ParentNotDirectory, "/g (is not a directory)"),
        ("/empty", "/a", Io, "rename destination directory is not empty: /a"),
        ("/f", "/x:y", InvalidPath, "Invalid path name Invalid file name: /x:y"),
        (
            "/f",
            "/.reserved",
            InvalidPath,
            "Invalid path name Cannot rename to or from /.reserved",
        ),
    ] {
        world.refused(&root(), rename2(source, target, true), kind, text);
    }
    let text = "rename destination /g already exists";
    world.refused(&root(), rename2("/f", "/g", false), FileAlreadyExists, text);
    assert_eq!(world.ok(&root(), rename2("/f", "/g", true)), OutcomeValue::Done);
    assert!(matches!(world.effects(), [crate::Effect::BlocksRemoved(blocks)] if blocks.len() == 1));
    assert_eq!(world.ok(&root(), rename2("/a/b", "/empty", true)), OutcomeValue::Done);
    assert_eq!(world.ns.counts().files, 1);
    assert_eq!(world.ns.counts().directories, 3);
}

#[test]
fn deletion_and_the_sticky_bit() {
    let mut world = World::new();
    world.mkdirs(&root(), "/tmp", 0o1777);
    world.mkdirs(&alice(), "/tmp/alice/full", 0o755);
    world.file(&alice(), "/tmp/alice/full/f", &[1, 2]);
    assert_eq!(world.ok(&root(), delete("/gone", true)), OutcomeValue::Bool(false));
    let text = "`/tmp/alice is non empty': Directory is not empty";
    world.refused(&alice(), delete("/tmp/alice", false), PathIsNotEmptyDirectory, text);
    let text = "Permission denied by sticky bit: user=bob, path=\"/tmp/alice\":alice:supergroup:drwxr-xr-x, \
                parent=\"/tmp\":root:supergroup:drwxrwxrwt";
    world.refused(&bob(), delete("/tmp/alice", true), AccessControl, text);
    world.refused(&bob(), rename2("/tmp/alice", "/tmp/bob", false), AccessControl, text);
    let text = "Permission denied: user=bob, access=WRITE, inode=\"/tmp/alice/full\":alice:supergroup:drwxr-xr-x";
    world.refused(&bob(), delete("/tmp/alice/full/f", false), AccessControl, text);

    world.mkdirs(&root(), "/open", 0o777);
    world.mkdirs(&root(), "/open/locked", 0o755);
    world.mkdirs(&root(), "/open/locked/below", 0o755);
    let text = "Permission denied: user=bob, access=ALL, inode=\"/open/locked\":root:supergroup:drwxr-xr-x";
    world.refused(&bob(), delete("/open/locked", true), AccessControl, text);

    assert_eq!(world.ok(&alice(), delete("/tmp/alice", true)), OutcomeValue::Bool(true));
    assert!(matches!(world.effects(), [crate::Effect::BlocksRemoved(blocks)] if blocks.len() == 2));
    assert_eq!(world.ns.counts().files, 0);
    let text = "`/ is non empty': Directory is not empty";
    world.refused(&root(), delete("/", false), PathIsNotEmptyDirectory, text);
    assert_eq!(
        world.ok(&root(), delete("/", true)),
        OutcomeValue::Bool(false),
        "the root stays"
    );
    assert_eq!(world.ns.counts().directories, 5);
}

#[test]
fn owners_modes_times_and_replication() {
    let mut world = World::new();
    world.mkdirs(&root(), "/pub", 0o777);
    world.file(&alice(), "/pub/f", &[1, 1]);
    let chmod = |path: &str| SetPermission {
        path: path.to_owned(),
        permission: 0o1640,
    };
    let chown = |user: Option<&str>, group: Option<&str>| SetOwner {
        path: "/pub/f".to_owned(),
        user: user.map(str::to_owned),
        group: group.map(str::to_owned),
    };
    let text = "Permission denied. user=bob is not the owner of inode=/pub/f";
    world.refused(&bob(), chmod("/pub/f"), AccessControl, text);
    world.refused(&bob(), chown(Some("bob"), None), AccessControl, text);
    world.refused(
        &root(),
        chmod("/gone"),
        FileNotFound,
        "Directory/File does not exist /gone",
    );
    let text = "User alice is not a super user (non-super user cannot change owner).";
    world.refused(&alice(), chown(Some("bob"), None), AccessControl, text);
    let text = "User alice does not belong to guests";
    world.refused(&alice(), chown(None, Some("guests")), AccessControl, text);
    world.ok(&alice(), chown(Some("alice"), Some("staff")));
    world.ok(&alice(), chmod("/pub/f"));
    world.ok(&root(), chown(Some("carol"), None));
    let status = world
        .ns
        .file_info(&root(), "/pub/f")
        .expect("readable")
        .expect("exists");
    assert_eq!(
        (&*status.owner, &*status.group, status.permission.bits()),
        ("carol", "staff", 0o1640)
    );

    let times = |path: &str, mtime_ms, atime_ms| SetTimes {
        path: path.to_owned(),
        mtime_ms,
        atime_ms,
    };
    world.ok(&root(), times("/pub/f", Some(5), None));
    world.ok(&root(), times("/pub", None, Some(6)));
    let text = "File/Directory /gone does not exist.";
    world.refused(&root(), times("/gone", Some(1), None), FileNotFound, text);
    let text = "Permission denied: user=bob, access=WRITE, inode=\"/pub/f\":carol:staff:-rw-r----T";
    world.refused(&bob(), times("/pub/f", Some(1), None), AccessControl, text);
    let off = Limits {
        access_time_precision_ms: Some(0),
        ..Limits::default()
    };
    let command = Command::new(root(), TimeMs(world.now), times("/pub/f", None, Some(1))).with_limits(off);
    let text = "Access time for hdfs is not configured.  Please set dfs.namenode.accesstime.precision configuration \
                parameter.";
    assert_eq!(world.apply(&command), Err(HadoopError::io(text)));
    assert_eq!(
        world
            .ns
            .file_info(&root(), "/pub/f")
            .expect("readable")
            .expect("exists")
            .mtime,
        TimeMs(5)
    );

    let replicate = |path: &str, replication| SetReplication {
        path: path.to_owned(),
        replication,
    };
    let text = "Requested replication factor of 0 is less than the required minimum of 1 for /pub/f";
    world.refused(&root(), replicate("/pub/f", 0), Io, text);
    let text = "Requested replication factor of 513 exceeds maximum of 512 for /pub/f";
    world.refused(&root(), replicate("/pub/f", 513), Io, text);
    assert_eq!(world.ok(&root(), replicate("/pub", 2)), OutcomeValue::Bool(false));
    assert_eq!(world.ok(&root(), replicate("/gone", 2)), OutcomeValue::Bool(false));
    assert_eq!(world.ok(&root(), replicate("/pub/f", 2)), OutcomeValue::Bool(true));
    assert!(matches!(
        world.effects(),
        [crate::Effect::ReplicationChanged { blocks, old: 3, new: 2 }] if blocks.len() == 2
    ));
}

#[test]
fn listings_page_by_name_bytes() {
    let mut world = World::new();
    for name in ["a", "B", "ä", "a0", "z"] {
        world.mkdirs(&root(), &format!("/d/{name}"), 0o755);
    }
    world.file(&root(), "/d/f", &[1, 2, 3]);
    let page = |start: &str, entries, with_blocks| {
        let limits = crate::ListingLimits { entries, locations: 2 };
        let page = world.ns.listing(&root(), "/d", start, with_blocks, limits);
        let page = page.expect("readable").expect("exists");
        let names: Vec<String> = page.entries.into_iter().map(|entry| entry.status.name).collect();
        (names.join(" "), page.remaining)
    };
    assert_eq!(page("", 10, false), ("B a a0 f z ä".to_owned(), 0));
    assert_eq!(page("", 2, false), ("B a".to_owned(), 4));
    assert_eq!(page("a", 2, false), ("a0 f".to_owned(), 2));
    assert_eq!(page("nothing", 10, false), ("z ä".to_owned(), 0));
    assert_eq!(
        page("", 10, true),
        ("B a a0 f".to_owned(), 2),
        "the location budget ends the page"
    );
    let id = world
        .ns
        .file_info(&root(), "/d/f")
        .expect("readable")
        .expect("exists")
        .id;
    assert_eq!(
        page(&format!("/.reserved/.inodes/{id}"), 10, false),
        ("z ä".to_owned(), 0)
    );
    let limits = crate::ListingLimits {
        entries: 5,
        locations: 5,
    };
    let gone = world
        .ns
        .listing(&root(), "/d", "/.reserved/.inodes/999999", false, limits);
    let text = "Can't find startAfter /.reserved/.inodes/999999";
    assert_eq!(gone, Err(HadoopError::new(DirectoryListingStartAfterNotFound, text)));
    let file = world
        .ns
        .listing(&root(), "/d/f", "", true, limits)
        .expect("readable")
        .expect("exists");
    assert_eq!(
        (file.entries.len(), file.entries[0].status.name.as_str(), file.remaining),
        (1, "", 0)
    );
    assert_eq!(
        file.entries[0]
            .blocks
            .as_ref()
            .map(|blocks| (blocks.blocks.len(), blocks.len)),
        Some((3, 6))
    );
}
