//! Cache pools and directives.

use super::*;
use crate::tests::state::dump;
use hadron_types::{CallId, ClientId};

const INVALID: ErrorKind = ErrorKind::InvalidRequest;

fn pool(name: &str) -> CachePoolRecord {
    CachePoolRecord {
        name: name.to_owned(),
        ..CachePoolRecord::default()
    }
}

fn add_pool(pool: CachePoolRecord) -> AddCachePool {
    AddCachePool { pool }
}

fn directive(path: &str, pool: &str) -> CacheDirectiveRecord {
    CacheDirectiveRecord {
        path: Some(path.to_owned()),
        pool: Some(pool.to_owned()),
        ..CacheDirectiveRecord::default()
    }
}

fn add(directive: CacheDirectiveRecord) -> AddCacheDirective {
    AddCacheDirective {
        directive,
        force: false,
        demand: None,
    }
}

fn modify(id: i64, directive: CacheDirectiveRecord) -> ModifyCacheDirective {
    ModifyCacheDirective {
        directive: CacheDirectiveRecord {
            id: Some(id),
            ..directive
        },
        force: false,
        demand: None,
    }
}

fn relative(millis: i64) -> Option<CacheExpiration> {
    Some(CacheExpiration {
        millis,
        is_relative: true,
    })
}

fn absolute(millis: i64) -> Option<CacheExpiration> {
    Some(CacheExpiration {
        millis,
        is_relative: false,
    })
}

impl World {
    fn directive(&self, id: i64) -> &crate::CacheDirective {
        self.ns.cache_directive(id).expect("is there")
    }
}

#[test]
fn pools_get_defaults_and_change_field_by_field() {
    let mut world = World::new();
    let mut admin = root();
    admin.groups = vec!["wheel".to_owned(), "staff".to_owned()];
    world.ok(&admin, add_pool(pool("p")));
    assert_eq!(world.effects(), [crate::Effect::CacheChanged]);
    let made = world.ns.cache_pool("p").expect("is there").clone();
    assert_eq!(
        (made.owner.as_str(), made.group.as_str(), made.mode.bits()),
        ("root", "wheel", 0o755)
    );
    assert_eq!(
        (made.limit, made.default_replication, made.max_relative_expiry_ms),
        (i64::MAX, 1, i64::MAX / 4)
    );
    let change = CachePoolRecord {
        owner: Some("alice".to_owned()),
        limit: Some(7),
        default_replication: Some(3),
        ..pool("p")
    };
    world.ok(&admin, ModifyCachePool { pool: change });
    let changed = world.ns.cache_pool("p").expect("is there").clone();
    let expected = crate::CachePool {
        owner: "alice".to_owned(),
        limit: 7,
        default_replication: 3,
        ..made
    };
    assert_eq!(changed, expected);
}

#[test]
fn refused_pools() {
    let mut world = World::new();
    let mut admin = root();
    let group = "There is no primary group for UGI root (auth:SIMPLE)";
    world.refused(&admin, add_pool(pool("p")), ErrorKind::Io, group);
    admin.groups = vec!["wheel".to_owned()];
    world.ok(&admin, add_pool(pool("p")));
    let superuser = "Access denied for user alice. Superuser privilege is required";
    world.refused(&alice(), add_pool(pool("q")), ErrorKind::AccessControl, superuser);
    world.refused(
        &alice(),
        ModifyCachePool { pool: pool("p") },
        ErrorKind::AccessControl,
        superuser,
    );
    let name = "p".to_owned();
    world.refused(&alice(), RemoveCachePool { name }, ErrorKind::AccessControl, superuser);
    world.refused(&admin, add_pool(pool("p")), INVALID, "Cache pool p already exists.");
    world.refused(
        &admin,
        ModifyCachePool { pool: pool("q") },
        INVALID,
        "Cache pool q does not exist.",
    );
    let name = "q".to_owned();
    world.refused(
        &admin,
        RemoveCachePool { name },
        INVALID,
        "Cannot remove non-existent cache pool q",
    );
    let empty = "invalid empty cache pool name";
    world.refused(&admin, add_pool(pool("")), ErrorKind::Io, empty);
    let name = String::new();
    world.refused(&admin, RemoveCachePool { name }, ErrorKind::Io, empty);
    let with = |change: fn(&mut CachePoolRecord)| {
        let mut record = pool("p");
        change(&mut record);
        record
    };
    for (record, text) in [
        (with(|pool| pool.limit = Some(-1)), "Limit is negative."),
        (
            with(|pool| pool.default_replication = Some(-1)),
            "Default Replication is negative",
        ),
        (
            with(|pool| pool.max_relative_expiry_ms = Some(-1)),
            "Max relative expiry is negative.",
        ),
        (
            with(|pool| pool.max_relative_expiry_ms = Some(i64::MAX / 4 + 1)),
            "Max relative expiry is too big.",
        ),
    ] {
        world.refused(&admin, add_pool(record.clone()), INVALID, text);
        world.refused(&admin, ModifyCachePool { pool: record }, INVALID, text);
    }
}

/// A world with pool `p`, of alice and group staff, without rights for others.
fn with_pool() -> World {
    let mut world = World::new();
    let record = CachePoolRecord {
        owner: Some("alice".to_owned()),
        group: Some("staff".to_owned()),
        mode: Some(0o750),
        ..pool("p")
    };
    world.ok(&root(), add_pool(record));
    world
}

#[test]
fn directives_are_made_changed_and_removed() {
    let mut world = with_pool();
    assert_eq!(
        world.ok(&alice(), add(directive("/a//b/", "p"))),
        OutcomeValue::CacheDirective(1)
    );
    let made = crate::CacheDirective {
        id: 1,
        path: "/a/b".to_owned(),
        replication: 1,
        pool: "p".to_owned(),
        expiry_ms: world.now as i64 + NO_CACHE_EXPIRY_MS,
    };
    assert_eq!(*world.directive(1), made);
    let change = CacheDirectiveRecord {
        replication: Some(4),
        ..CacheDirectiveRecord::default()
    };
    world.ok(&alice(), modify(1, change));
    assert_eq!(*world.directive(1), crate::CacheDirective { replication: 4, ..made });
    world.ok(&alice(), RemoveCacheDirective { id: 1 });
    assert_eq!(world.ns.cache_directive(1), None);
    // Ids are not given out again.
    assert_eq!(
        world.ok(&alice(), add(directive("/c", "p"))),
        OutcomeValue::CacheDirective(2)
    );
    world.ok(
        &root(),
        add_pool(CachePoolRecord {
            group: Some("g".to_owned()),
            ..pool("q")
        }),
    );
    world.ok(&root(), add(directive("/c", "q")));
    world.ok(&root(), RemoveCachePool { name: "p".to_owned() });
    let left: Vec<i64> = world
        .ns
        .cache_directives_after(0)
        .map(|directive| directive.id)
        .collect();
    assert_eq!(left, [3]);
}

#[test]
fn refused_directives() {
    let mut world = with_pool();
    world.ok(&alice(), add(directive("/a", "p")));
    let denied = |action: &str| {
        format!("Permission denied while accessing pool p: user bob does not have {action} permissions.")
    };
    world.refused(
        &bob(),
        add(directive("/a", "p")),
        ErrorKind::AccessControl,
        &denied("WRITE"),
    );
    world.refused(
        &bob(),
        modify(1, directive("/b", "p")),
        ErrorKind::AccessControl,
        &denied("WRITE"),
    );
    world.refused(
        &bob(),
        RemoveCacheDirective { id: 1 },
        ErrorKind::AccessControl,
        &denied("WRITE"),
    );
    let pool = world.ns.cache_pool("p").expect("is there");
    assert_eq!(
        pool.check_access(&bob(), hadron_types::FsAction::READ),
        Err(HadoopError::new(ErrorKind::AccessControl, denied("READ")))
    );
    // A member of the group may read only; the owner may do both, whatever the rights of the group.
    let carol = Caller::user("carol", &["staff"]);
    assert_eq!(pool.check_access(&carol, hadron_types::FsAction::READ), Ok(()));
    assert!(pool.check_access(&carol, hadron_types::FsAction::WRITE).is_err());
    assert_eq!(pool.check_access(&alice(), hadron_types::FsAction::WRITE), Ok(()));
    let with = |change: fn(&mut CacheDirectiveRecord)| {
        let mut record = directive("/a", "p");
        change(&mut record);
        record
    };
    for (record, kind, text) in [
        (
            with(|it| it.id = Some(3)),
            ErrorKind::Io,
            "addDirective: you cannot specify an ID for this operation.",
        ),
        (with(|it| it.pool = None), INVALID, "No pool specified."),
        (
            with(|it| it.pool = Some(String::new())),
            INVALID,
            "Invalid empty pool name.",
        ),
        (with(|it| it.pool = Some("x".to_owned())), INVALID, "Unknown pool x"),
        (with(|it| it.path = None), INVALID, "No path specified."),
        (
            with(|it| it.path = Some("/a/..".to_owned())),
            INVALID,
            "Invalid path '/a/..'.",
        ),
        (
            with(|it| it.replication = Some(0)),
            INVALID,
            "Invalid replication factor 0 <= 0",
        ),
        (
            with(|it| it.replication = Some(40_000)),
            ErrorKind::IllegalArgument,
            "Out of range: 40000",
        ),
        (
            with(|it| it.expiration = relative(-5)),
            INVALID,
            "Cannot set a negative expiration: -5",
        ),
        (
            with(|it| it.expiration = relative(NO_CACHE_EXPIRY_MS + 1)),
            INVALID,
            "Expiration 26687997791:19:48:13.952 is too far in the future!",
        ),
    ] {
        world.refused(&alice(), add(record), kind, text);
    }
    let modified = ModifyCacheDirective {
        directive: directive("/a", "p"),
        force: false,
        demand: None,
    };
    world.refused(&alice(), modified, INVALID, "Must supply an ID.");
    world.refused(
        &alice(),
        modify(9, directive("/a", "p")),
        INVALID,
        "No directive with ID 9 found.",
    );
    world.refused(
        &alice(),
        RemoveCacheDirective { id: 9 },
        INVALID,
        "No directive with ID 9 found.",
    );
    world.refused(
        &alice(),
        RemoveCacheDirective { id: 0 },
        INVALID,
        "Invalid negative ID.",
    );
}

#[test]
fn directives_live_no_longer_than_their_pool_lets_them() {
    let mut world = with_pool();
    let short = CachePoolRecord {
        max_relative_expiry_ms: Some(60_000),
        ..pool("p")
    };
    world.ok(&root(), ModifyCachePool { pool: short });
    world.ok(&alice(), add(directive("/a", "p")));
    assert_eq!(world.directive(1).expiry_ms, world.now as i64 + 60_000);
    let with = |expiration| CacheDirectiveRecord {
        expiration,
        ..directive("/a", "p")
    };
    world.ok(&alice(), add(with(relative(30_000))));
    assert_eq!(world.directive(2).expiry_ms, world.now as i64 + 30_000);
    world.ok(&alice(), add(with(absolute(5))));
    assert_eq!(world.directive(3).expiry_ms, 5);
    assert!(world.directive(3).is_expired(TimeMs(5)) && !world.directive(3).is_expired(TimeMs(4)));
    let text = "Expiration 000:00:01:00.001 exceeds the max relative expiration time of 60000 ms.";
    world.refused(&alice(), add(with(relative(60_001))), INVALID, text);
    let text = "Expiration 1970-01-01T00:02:00+0000 exceeds the max relative expiration time of 60000 ms.";
    world.refused(&alice(), add(with(absolute(120_000))), INVALID, text);
}

#[test]
fn limits_count_what_came_after_the_fact() {
    let mut world = with_pool();
    world.file(&root(), "/d/one", &[100]);
    world.file(&root(), "/d/two", &[20]);
    world.file(&root(), "/d/below/three", &[5_000]);
    let limited = CachePoolRecord {
        limit: Some(500),
        ..pool("p")
    };
    world.ok(&root(), ModifyCachePool { pool: limited });
    let asked = |replication, demand| AddCacheDirective {
        directive: CacheDirectiveRecord {
            replication: Some(replication),
            ..directive("/d", "p")
        },
        force: false,
        demand,
    };
    let demand = |bytes, next_directive| Some(CacheDemand { bytes, next_directive });
    let refusal = |replication: i32, left: i64| {
        format!(
            "Caching path /d of size 120 bytes at replication {replication} would exceed pool p's remaining capacity of \
             {left} bytes."
        )
    };
    world.refused(&alice(), asked(5, demand(0, 1)), INVALID, &refusal(5, 500));
    world.refused(&alice(), asked(4, demand(21, 1)), INVALID, &refusal(4, 479));
    world.ok(&alice(), asked(2, demand(20, 1)));
    // The fact is of the time before: the directive made since counts as well.
    world.refused(&alice(), asked(3, demand(20, 1)), INVALID, &refusal(3, 240));
    world.ok(&alice(), asked(3, demand(0, 2)));
    let forced = AddCacheDirective {
        force: true,
        ..asked(100, demand(20, 1))
    };
    world.ok(&alice(), forced);
    // Other changes of a directive in a pool that is full are let through; one into another pool is not.
    let change = CacheDirectiveRecord {
        replication: Some(9),
        ..CacheDirectiveRecord::default()
    };
    world.ok(&alice(), modify(1, change));
    let full = CachePoolRecord {
        owner: Some("alice".to_owned()),
        group: Some("staff".to_owned()),
        limit: Some(1),
        ..pool("q")
    };
    world.ok(&root(), add_pool(full));
    let moved = CacheDirectiveRecord {
        pool: Some("q".to_owned()),
        ..CacheDirectiveRecord::default()
    };
    let text =
        "Caching path /d of size 120 bytes at replication 9 would exceed pool q's remaining capacity of 1 bytes.";
    world.refused(&alice(), modify(1, moved.clone()), INVALID, text);
    let forced = ModifyCacheDirective {
        force: true,
        ..modify(1, moved)
    };
    world.ok(&alice(), forced);
    assert_eq!(world.directive(1).pool, "q");
}

#[test]
fn a_check_of_a_limit_looks_at_so_many_files_and_no_more() {
    let mut world = with_pool();
    for (name, len) in [("a", 1), ("b", 20), ("c", 300)] {
        world.file(&root(), &format!("/d/{name}"), &[len]);
    }
    for (budget, bytes, left) in [(0, 0, 0), (1, 0, 0), (2, 1, 0), (3, 21, 0), (4, 321, 0), (5, 321, 1)] {
        let mut rest = budget;
        assert_eq!((world.ns.cached_len("/d", &mut rest), rest), (bytes, left), "{budget}");
    }
}

#[test]
fn repeated_calls_are_answered_with_the_first_id() {
    let mut world = with_pool();
    let command =
        Command::new(alice(), TimeMs(world.now), add(directive("/a", "p"))).with_call(ClientId([3; 16]), CallId(7));
    for _ in 0..2 {
        assert_eq!(world.apply(&command), Ok(OutcomeValue::CacheDirective(1)));
    }
    let image: Vec<u8> = world.ns.image_slices().flatten().collect();
    let mut loaded = Namespace::from_image(&image).expect("loads");
    let again = loaded.apply(&command, RULES_VERSION).outcome;
    assert_eq!(again, Ok(OutcomeValue::CacheDirective(1)));
    assert_eq!(loaded.cache_directives_after(0).count(), 1);
}

#[test]
fn images_keep_pools_directives_and_the_next_id() {
    let mut world = with_pool();
    let reload = |ns: &Namespace| {
        let image: Vec<u8> = ns.image_slices().flatten().collect();
        Namespace::from_image(&image).expect("loads")
    };
    assert_eq!(dump(&reload(&world.ns)), dump(&world.ns));
    // More than a slice holds.
    for number in 0..9_000 {
        world.ok(&alice(), add(directive(&format!("/f{number}"), "p")));
    }
    world.ok(&alice(), RemoveCacheDirective { id: 9_000 });
    assert_eq!(dump(&reload(&world.ns)), dump(&world.ns));
    world.ok(&root(), RemoveCachePool { name: "p".to_owned() });
    assert_eq!(dump(&reload(&world.ns)), dump(&world.ns));
    assert_eq!(reload(&world.ns).next_cache_directive(), 9_001);
}

#[test]
fn the_files_of_a_directive_come_in_slices() {
    let mut world = World::new();
    for number in 0..crate::CACHED_FILE_SLICE + 10 {
        world.file(&root(), &format!("/d/f{number:04}"), &[1, 2]);
    }
    world.mkdirs(&root(), "/d/sub", 0o755);
    let first = world.ns.cached_files("/d", "");
    assert_eq!(first.files.len(), crate::CACHED_FILE_SLICE);
    let second = world.ns.cached_files("/d", first.next.as_deref().expect("goes on"));
    assert_eq!((second.files.len(), second.next), (10, None));
    let lens: Vec<u64> = first.files[0].iter().map(|block| block.block.len).collect();
    assert_eq!(lens, [1, 2]);
    assert_eq!(world.ns.cached_files("/d/f0003", "").files.len(), 1);
    assert_eq!(world.ns.cached_files("/missing", ""), crate::CachedFiles::default());
}
