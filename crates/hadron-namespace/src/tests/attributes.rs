//! ACLs and extended attributes: what the calls make of them, who may, and what children inherit.

use super::*;
use crate::{AclStatus, XAttr};
use hadron_types::{CallId, ClientId, FsAction};

/// `user:ann:rwx,default:group::r-x` as records; an entry without permission has none.
fn acl(text: &str) -> Vec<AclEntryRecord> {
    let entry = |text: &str| {
        let (scope, text) = text.strip_prefix("default:").map_or((0, text), |rest| (1, rest));
        let mut parts = text.split(':');
        let kind = match parts.next() {
            Some("user") => 0,
            Some("group") => 1,
            Some("mask") => 2,
            _ => 3,
        };
        let name = parts.next().unwrap_or("").to_owned();
        let symbol = parts.next().unwrap_or("---");
        let bit = |letter, bit| if symbol.contains(letter) { bit } else { 0 };
        AclEntryRecord {
            kind,
            scope,
            permission: bit('r', 4) | bit('w', 2) | bit('x', 1),
            name,
        }
    };
    text.split(',').map(entry).collect()
}

fn set(path: &str, text: &str) -> SetAcl {
    SetAcl {
        path: path.to_owned(),
        entries: acl(text),
    }
}
fn modify(path: &str, text: &str) -> ModifyAclEntries {
    ModifyAclEntries {
        path: path.to_owned(),
        entries: acl(text),
    }
}
fn remove(path: &str, text: &str) -> RemoveAclEntries {
    RemoveAclEntries {
        path: path.to_owned(),
        entries: acl(text),
    }
}

/// Mode and entries, as getfacl would need them.
fn shown(world: &World, path: &str) -> String {
    let AclStatus {
        permission, entries, ..
    } = world.ns.acl_status(&root(), path).expect("exists");
    let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
    format!("{:o} {}", permission.bits(), entries.join(","))
}

#[test]
fn changes_follow_the_rules_of_masks_and_defaults() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d", 0o1750);
    let step = |world: &mut World, op: Op, expected: &str| {
        world.ok(&root(), op);
        assert_eq!(shown(world, "/d"), expected);
    };
    step(
        &mut world,
        modify("/d", "user:ann:rwx").into(),
        "1770 user:ann:rwx,group::r-x",
    );
    // The mask is worked out anew with each change that does not give one.
    step(
        &mut world,
        modify("/d", "user:bob:r--").into(),
        "1770 user:ann:rwx,user:bob:r--,group::r-x",
    );
    step(
        &mut world,
        modify("/d", "mask::r--").into(),
        "1740 user:ann:rwx,user:bob:r--,group::r-x",
    );
    step(
        &mut world,
        remove("/d", "user:ann").into(),
        "1750 user:bob:r--,group::r-x",
    );
    // Default entries that are missing are those of the access ACL.
    step(
        &mut world,
        modify("/d", "default:group:staff:rw-").into(),
        "1750 user:bob:r--,group::r-x,default:user::rwx,default:group::r-x,default:group:staff:rw-,default:mask::rwx,\
         default:other::---",
    );
    step(
        &mut world,
        set("/d", "user::rw-,group::r--,other::r--").into(),
        "1644 default:user::rwx,default:group::r-x,default:group:staff:rw-,default:mask::rwx,default:other::---",
    );
    step(&mut world, RemoveDefaultAcl { path: "/d".to_owned() }.into(), "1644 ");
    step(
        &mut world,
        modify("/d", "user:ann:rwx").into(),
        "1674 user:ann:rwx,group::r--",
    );
    // chmod changes the mask; removing the ACL brings the group's own entry back.
    let op = SetPermission {
        path: "/d".to_owned(),
        permission: 0o700,
    };
    step(&mut world, op.into(), "700 user:ann:rwx,group::r--");
    step(&mut world, RemoveAcl { path: "/d".to_owned() }.into(), "740 ");
    step(
        &mut world,
        modify("/d", "group:staff:rwx").into(),
        "770 group::r--,group:staff:rwx",
    );
    step(
        &mut world,
        SetAcl {
            path: "/d".to_owned(),
            entries: Vec::new(),
        }
        .into(),
        "740 ",
    );
    // A mask stays, worked out anew, when the last named entry goes; the entry it shows by is the group's.
    step(
        &mut world,
        modify("/d", "user:ann:rwx,default:user:ann:rwx").into(),
        "770 user:ann:rwx,group::r--,default:user::rwx,default:user:ann:rwx,default:group::r--,default:mask::rwx,\
         default:other::---",
    );
    step(
        &mut world,
        remove("/d", "user:ann,default:user:ann").into(),
        "740 group::r--,default:user::rwx,default:group::r--,default:mask::r--,default:other::---",
    );
    step(
        &mut world,
        RemoveDefaultAcl { path: "/d".to_owned() }.into(),
        "740 group::r--",
    );
    step(&mut world, remove("/d", "mask::").into(), "740 ");
    super::state::assert_invariants(&world.ns);
}

#[test]
fn bad_requests_are_refused_with_the_path() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d", 0o755);
    world.file(&root(), "/d/f", &[]);
    let many = |scope: &str| -> String {
        let names: Vec<String> = (0..33).map(|number| format!("{scope}user:u{number}:r--")).collect();
        names.join(",")
    };
    let refused = |world: &mut World, op: Op, text: &str| world.refused(&root(), op, ErrorKind::Acl, text);
    for (text, expected) in [
        (
            "user:ann:rwx,user:ann:r--",
            "Invalid ACL: multiple entries with same scope, type and name. Path: /d",
        ),
        (
            "mask:ann:rwx",
            "Invalid ACL: this entry type must not have a name: mask:ann:rwx. Path: /d",
        ),
        (
            "other:ann:rwx",
            "Invalid ACL: this entry type must not have a name: other:ann:rwx. Path: /d",
        ),
    ] {
        if text.starts_with("mask") {
            // A mask with a name is no mask of the scope and ends among the entries of its type.
            let outcome = world.run(&root(), modify("/d", text));
            assert!(outcome.is_err(), "{text}");
            continue;
        }
        refused(&mut world, modify("/d", text).into(), expected);
    }
    let op = set("/d", "user::rwx,group::r-x").into();
    refused(
        &mut world,
        op,
        "Invalid ACL: the user, group and other entries are required. Path: /d",
    );
    for (scope, name) in [("", "access"), ("default:", "default")] {
        let op = modify("/d", &many(scope)).into();
        let text = format!("Invalid ACL: ACL has 33 {name} entries, which exceeds maximum of 32. Path: /d");
        refused(&mut world, op, &text);
    }
    let op = modify("/d/f", "default:user:ann:rwx").into();
    refused(
        &mut world,
        op,
        "Invalid ACL: only directories may have a default ACL. Path: /d/f",
    );
    world.ok(&root(), modify("/d", "user:ann:rwx"));
    let op = remove("/d", "mask:").into();
    refused(
        &mut world,
        op,
        "Invalid ACL: mask is required and cannot be deleted. Path: /d",
    );
    world.refused(
        &alice(),
        modify("/d", "user:alice:rwx"),
        ErrorKind::AccessControl,
        "Permission denied. user=alice is not the owner of inode=/d",
    );
    world.refused(
        &root(),
        modify("/none", "user:ann:rwx"),
        ErrorKind::FileNotFound,
        "Directory/File does not exist /none",
    );
}

#[test]
fn named_entries_decide_through_the_mask() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d", 0o700);
    let can =
        |world: &World, caller: &Caller, bits: u8| world.ns.check_path_access(caller, "/d", FsAction(bits)).is_ok();
    assert!(!can(&world, &alice(), 4));
    world.ok(
        &root(),
        modify("/d", "user:alice:rwx,group:guests:rwx,group::rwx,mask::r-x"),
    );
    assert!(can(&world, &alice(), 5) && !can(&world, &alice(), 2), "masked");
    assert!(can(&world, &bob(), 5) && !can(&world, &bob(), 2));
    // A named user is not looked up among the groups, and a match that denies keeps others' bits away.
    let carol = Caller::user("carol", &["guests", "supergroup"]);
    world.ok(&root(), modify("/d", "user:carol:---,other::rwx,mask::rwx"));
    assert!(!can(&world, &carol, 1));
    world.ok(&root(), modify("/d", "group:guests:---,group::---"));
    assert!(!can(&world, &bob(), 1), "a group that denies");
    assert!(
        can(&world, &Caller::user("dan", &["staff"]), 7),
        "no entry matches: others"
    );
    world.ok(&root(), modify("/d", "group:staff:r--"));
    let dan = Caller::user("dan", &["guests", "staff"]);
    assert!(can(&world, &dan, 4), "one of two groups grants");
    let error = world.ns.check_path_access(&alice(), "/d", FsAction(7));
    assert_eq!(error, Ok(()));
    let error = world.ns.check_path_access(&bob(), "/d", FsAction::READ);
    assert_eq!(
        error.map_err(|error| error.message),
        Err("Permission denied: user=bob, access=READ, inode=\"/d\":root:supergroup:drwxrwxrwx".to_owned()),
        "3.3 prints no plus sign"
    );
}

#[test]
fn children_inherit_default_acls() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d", 0o755);
    world.ok(
        &root(),
        modify("/d", "default:user:ann:rwx,default:group::r-x,default:other::r--"),
    );
    let made = |world: &mut World, path: &str, masked: u32, unmasked: Option<u32>| {
        let op = Mkdirs {
            masked_permission: masked,
            unmasked_permission: unmasked,
            ..mkdirs(path, 0)
        };
        world.ok(&root(), op);
        shown(world, path)
    };
    let default = "default:user::rwx,default:user:ann:rwx,default:group::r-x,default:mask::rwx,default:other::r--";
    assert_eq!(
        made(&mut world, "/d/new", 0o750, Some(0o777)),
        format!("774 user:ann:rwx,group::r-x,{default}"),
        "the umask plays no part"
    );
    assert_eq!(
        made(&mut world, "/d/old", 0o750, None),
        format!("750 user:ann:rwx,group::r-x,{default}"),
        "old clients' masked mode filters"
    );
    assert_eq!(made(&mut world, "/d/x/y", 0o755, Some(0o777)), shown(&world, "/d/new"));
    assert_eq!(
        shown(&world, "/d/x"),
        shown(&world, "/d/new"),
        "and so do directories made on the way"
    );
    let op = Create {
        unmasked_permission: Some(0o666),
        ..create("/d/f", "w")
    };
    world.ok(&root(), op);
    assert_eq!(shown(&world, "/d/f"), "664 user:ann:rwx,group::r-x");
    assert!(
        world
            .ns
            .file_info(&root(), "/d/f")
            .expect("found")
            .expect("exists")
            .has_acl
    );

    // Moving inherits nothing; without the POSIX rule the masked mode filters.
    world.mkdirs(&root(), "/plain", 0o711);
    world.ok(&root(), rename("/plain", "/d/moved"));
    assert_eq!(shown(&world, "/d/moved"), "711 ");
    let op = Mkdirs {
        masked_permission: 0o750,
        unmasked_permission: Some(0o777),
        ..mkdirs("/d/off", 0)
    };
    world.now += 1;
    let limits = Limits {
        posix_acl_inheritance: Some(false),
        ..Limits::default()
    };
    let command = Command::new(root(), TimeMs(world.now), op).with_limits(limits);
    world.apply(&command).expect("succeeds");
    assert_eq!(shown(&world, "/d/off"), shown(&world, "/d/old"));

    // A base-only default ACL filters the group's entry by the mode and leaves files without an ACL.
    world.mkdirs(&root(), "/b", 0o755);
    world.ok(
        &root(),
        modify("/b", "default:user::rwx,default:group::rwx,default:other::r-x"),
    );
    world.ok(&root(), create("/b/f", "w"));
    assert_eq!(shown(&world, "/b/f"), "644 ");
    world.ok(&root(), delete("/d", true));
    super::state::assert_invariants(&world.ns);
}

#[test]
fn ancestors_made_on_the_way_are_not_sticky_since_rules_2() {
    let mut world = World::new();
    world.mkdirs(&root(), "/a/b", 0o1777);
    assert_eq!(
        (shown(&world, "/a"), shown(&world, "/a/b")),
        ("777 ".into(), "1777 ".into())
    );
    let mut world = World::new();
    let command = Command::new(root(), TimeMs(world.now), mkdirs("/a/b", 0o1777));
    world.ns.apply(&command, 1).outcome.expect("succeeds");
    assert_eq!(shown(&world, "/a"), "1777 ");
}

/// `user.a` with a value.
fn xattr(full_name: &str, value: Option<&str>) -> XAttrRecord {
    let (namespace, name) = full_name.split_once('.').expect("a namespace");
    let namespaces = ["user", "trusted", "security", "system", "raw"];
    let namespace = namespaces.iter().position(|known| *known == namespace).expect("known");
    XAttrRecord {
        namespace: namespace as i32,
        name: name.to_owned(),
        value: value.map(|value| value.to_owned().into()),
    }
}

fn put(path: &str, name: &str, value: Option<&str>, flags: u32) -> SetXAttr {
    SetXAttr {
        path: path.to_owned(),
        xattr: xattr(name, value),
        flags,
    }
}

fn drop_xattr(path: &str, name: &str) -> RemoveXAttr {
    RemoveXAttr {
        path: path.to_owned(),
        xattr: xattr(name, None),
    }
}

fn names(found: HadoopResult<Vec<XAttr>>) -> Vec<String> {
    found.expect("readable").iter().map(XAttr::full_name).collect()
}

const CREATE: u32 = xattr_flag::CREATE;
const REPLACE: u32 = xattr_flag::REPLACE;
const BOTH: u32 = CREATE | REPLACE;

#[test]
fn attributes_are_set_replaced_listed_and_removed() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d", 0o777);
    world.file(&alice(), "/d/f", &[]);
    let f = "/d/f";
    world.ok(&alice(), put(f, "user.a", Some("1"), CREATE));
    world.ok(&alice(), put(f, "user.b", None, BOTH));
    world.ok(&root(), put(f, "trusted.t", Some("t"), BOTH));
    world.ok(&root(), put("/.reserved/raw/d/f", "raw.r", Some("r"), CREATE));
    assert_eq!(names(world.ns.list_xattrs(&alice(), f)), ["user.b", "user.a"]);
    assert_eq!(
        names(world.ns.list_xattrs(&root(), f)),
        ["trusted.t", "user.b", "user.a"]
    );
    assert_eq!(
        names(world.ns.list_xattrs(&root(), "/.reserved/raw/d/f")),
        ["raw.r", "trusted.t", "user.b", "user.a"]
    );
    let found = world
        .ns
        .get_xattrs(&alice(), f, &[xattr("user.a", None)])
        .expect("found");
    assert_eq!(found[0].value, "1");
    world.ok(&alice(), put(f, "user.a", Some("2"), REPLACE));
    let found = world.ns.get_xattrs(&alice(), f, &[]).expect("found");
    assert_eq!(
        (found[0].full_name().as_str(), &found[0].value[..]),
        ("user.a", &b"2"[..])
    );
    let missing = world
        .ns
        .get_xattrs(&alice(), f, &[xattr("user.a", None), xattr("user.z", None)]);
    let text = "At least one of the attributes provided was not found.";
    assert_eq!(missing, Err(HadoopError::new(ErrorKind::XAttrNotFound, text)));
    world.ok(&alice(), drop_xattr(f, "user.a"));
    assert_eq!(names(world.ns.list_xattrs(&alice(), f)), ["user.b"]);
    // Attributes move with the inode and go with it.
    world.ok(&alice(), rename(f, "/d/g"));
    assert_eq!(names(world.ns.list_xattrs(&alice(), "/d/g")), ["user.b"]);
    world.ok(&alice(), delete("/d/g", false));
    super::state::assert_invariants(&world.ns);
    let gone = world.ns.list_xattrs(&root(), "/d/g");
    assert_eq!(gone, Err(HadoopError::new(ErrorKind::FileNotFound, "cannot find /d/g")));
}

#[test]
fn attributes_are_refused_with_hadoops_words() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d", 0o777);
    world.mkdirs(&root(), "/sticky", 0o1777);
    world.file(&alice(), "/d/f", &[]);
    let f = "/d/f";
    world.ok(&alice(), put(f, "user.a", Some("1"), CREATE));
    use ErrorKind::{AccessControl, HadoopIllegalArgument, Io};
    let long = "v".repeat(16_384);
    let mark = crate::UNREADABLE_BY_SUPERUSER;
    for (caller, op, kind, text) in [
        (
            alice(),
            put(f, "user.a", None, CREATE),
            Io,
            "XAttr: a already exists. The REPLACE flag must be specified.",
        ),
        (
            alice(),
            put(f, "user.b", None, REPLACE),
            Io,
            "XAttr: b does not exist. The CREATE flag must be specified.",
        ),
        (
            alice(),
            put(f, "user.b", None, 0),
            HadoopIllegalArgument,
            "A flag must be specified.",
        ),
        (
            alice(),
            put(f, "user.b", Some(&long), CREATE),
            HadoopIllegalArgument,
            "The XAttr is too big. The maximum combined size of the name and value is 16384, but the total size is 16385",
        ),
        (
            alice(),
            put(f, "trusted.t", None, CREATE),
            AccessControl,
            "User doesn't have permission for xattr: trusted.t",
        ),
        (
            root(),
            put(f, "system.s", None, CREATE),
            AccessControl,
            "User doesn't have permission for xattr: system.s",
        ),
        (
            root(),
            put(f, "raw.r", None, CREATE),
            AccessControl,
            "User doesn't have permission for xattr: raw.r",
        ),
        (
            bob(),
            put(f, "user.b", None, CREATE),
            AccessControl,
            "Permission denied: user=bob, access=WRITE, inode=\"/d/f\":alice:supergroup:-rw-r--r--",
        ),
        (
            bob(),
            put("/sticky", "user.b", None, CREATE),
            AccessControl,
            "Permission denied. user=bob is not the owner of inode=/sticky",
        ),
        (
            bob(),
            put("/.reserved/raw/d/f", "raw.r", None, CREATE),
            AccessControl,
            "Access denied for user bob. Superuser privilege is required",
        ),
        (
            root(),
            put(
                "/.reserved/raw/d/f",
                "raw.hdfs.crypto.file.encryption.info",
                Some("x"),
                CREATE,
            ),
            Io,
            "Cannot add raw feInfo XAttr to a file in a non-encryption zone",
        ),
        (
            root(),
            put("/d", mark, None, CREATE),
            Io,
            "Can only set 'security.hdfs.unreadable.by.superuser' on a file.",
        ),
        (
            root(),
            put(f, mark, Some("v"), CREATE),
            AccessControl,
            "Attempt to set a value for 'security.hdfs.unreadable.by.superuser'. Values are not allowed for this xattr.",
        ),
    ] {
        world.refused(&caller, op, kind, text);
    }
    world.refused(
        &alice(),
        drop_xattr(f, "user.z"),
        Io,
        "No matching attributes found for remove operation",
    );
    for number in 0..31 {
        world.ok(&alice(), put(f, &format!("user.n{number}"), None, CREATE));
    }
    let text = "Cannot add additional XAttr to inode, would exceed limit of 32";
    world.refused(&alice(), put(f, "user.more", None, CREATE), Io, text);
    world.ok(&alice(), put(f, "user.n1", None, REPLACE));

    world.ok(&alice(), put(f, mark, None, CREATE));
    let read = |caller: &Caller| {
        world
            .ns
            .block_locations(caller, f, 0, 1, TimeMs(1), 0)
            .map_err(|error| error.message)
    };
    assert!(read(&alice()).is_ok());
    let text = "Access is denied for root since the superuser is not allowed to perform this operation.";
    assert_eq!(read(&root()), Err(text.to_owned()));
    let text = "The xattr 'security.hdfs.unreadable.by.superuser' can not be deleted.";
    world.refused(&alice(), drop_xattr(f, mark), AccessControl, text);
}

#[test]
fn a_repeated_call_is_answered_and_not_run_again() {
    let mut world = World::new();
    world.mkdirs(&root(), "/d", 0o777);
    let call = |op: Op, number| Command::new(root(), TimeMs(2_000), op).with_call(ClientId([7; 16]), CallId(number));
    let set = call(put("/d", "user.a", None, CREATE).into(), 1);
    let dropped = call(drop_xattr("/d", "user.a").into(), 2);
    for command in [&set, &set, &dropped, &dropped] {
        assert_eq!(world.apply(command), Ok(OutcomeValue::Done));
    }
}
