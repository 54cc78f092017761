//! The audit log's lines, call by call: command names, which fields are null, what is denied, what leaves no line.

mod common;

use common::{Client, Cluster, create_request, permission};
use hadron_namenode::NameNode;
use hadron_proto::hdfs::*;
use tempfile::TempDir;

struct World {
    cluster: Cluster,
    logs: TempDir,
    seen: usize,
}

impl World {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let logs = tempfile::tempdir().expect("temporary directory");
        let dir = logs.path().display().to_string();
        let mut all = vec![
            ("hadoop.log.dir", dir.as_str()),
            ("hadron.audit.log.file", "hdfs-audit.log"),
        ];
        all.extend(settings);
        let cluster = Cluster::start_with(&all).await;
        Self { cluster, logs, seen: 0 }
    }

    fn node(&self) -> &NameNode {
        &self.cluster.node
    }

    /// The lines since the last look, without date and logger.
    fn news(&mut self) -> Vec<String> {
        self.node().shared().audit.flush();
        let text = std::fs::read_to_string(self.logs.path().join("hdfs-audit.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let news = lines[self.seen..].iter().map(|line| {
            let (date, event) = line
                .split_once(" INFO FSNamesystem.audit: ")
                .expect("log4j's beginning");
            let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(shape, "0000-00-00 00:00:00,000");
            (*event).to_owned()
        });
        let news = news.collect();
        self.seen = lines.len();
        news
    }

    /// Checks that `expected` (allowed, user, command, src, dst, perm) are the lines since the last look.
    fn check(&mut self, expected: &[(bool, &str, &str, &str, &str, &str)]) {
        let expected: Vec<String> = expected
            .iter()
            .map(|(allowed, user, command, src, dst, perm)| {
                format!(
                    "allowed={allowed}\tugi={user} (auth:SIMPLE)\tip=/127.0.0.1\tcmd={command}\tsrc={src}\tdst={dst}\tperm={perm}\tproto=rpc"
                )
            })
            .collect();
        assert_eq!(self.news(), expected);
    }
}

async fn ok<Q: prost::Message>(client: &Client, method: &str, request: Q) {
    client.call::<_, ()>(method, request).await.expect(method);
}

async fn fails<Q: prost::Message>(client: &Client, method: &str, request: Q) {
    client.call::<_, ()>(method, request).await.expect_err(method);
}

fn delete(path: &str) -> DeleteRequestProto {
    DeleteRequestProto {
        src: path.to_owned(),
        recursive: true,
    }
}

const FILE: &str = "hdfs:supergroup:rw-r--r--";
const DIR: &str = "hdfs:supergroup:rwxr-xr-x";

/// covers: LM-30
#[tokio::test]
async fn calls_leave_the_lines_that_hadoop_writes() {
    let mut world = World::start(&[]).await;
    let client = world.cluster.client("hdfs").await;
    let src = "/f".to_owned();
    let mkdirs = |src: &str| MkdirsRequestProto {
        src: src.to_owned(),
        masked: permission(0o755),
        create_parent: true,
        unmasked: None,
    };
    ok(&client, "mkdirs", mkdirs("/d")).await;
    world.check(&[(true, "hdfs", "mkdirs", "/d", "null", DIR)]);
    client.touch("/f").await;
    client.touch("/g").await;
    world.check(&[
        (true, "hdfs", "create", "/f", "null", FILE),
        (true, "hdfs", "create", "/g", "null", FILE),
    ]);
    let append = AppendRequestProto {
        src: src.clone(),
        client_name: "DFSClient_test".to_owned(),
        flag: None,
    };
    ok(&client, "append", append).await;
    assert!(client.complete("/f", None).await.expect("complete"));
    world.check(&[(true, "hdfs", "append", "/f", "null", "null")]);
    let chmod = SetPermissionRequestProto {
        src: src.clone(),
        permission: permission(0o600),
    };
    ok(&client, "setPermission", chmod.clone()).await;
    let chown = SetOwnerRequestProto {
        src: src.clone(),
        username: Some("alice".to_owned()),
        groupname: Some("users".to_owned()),
    };
    ok(&client, "setOwner", chown).await;
    let times = SetTimesRequestProto {
        src: src.clone(),
        mtime: 5,
        atime: u64::MAX,
    };
    ok(&client, "setTimes", times).await;
    let replication = |src: &str| SetReplicationRequestProto {
        src: src.to_owned(),
        replication: 2,
    };
    ok(&client, "setReplication", replication("/f")).await;
    ok(&client, "setReplication", replication("/d")).await;
    world.check(&[
        (true, "hdfs", "setPermission", "/f", "null", "hdfs:supergroup:rw-------"),
        (true, "hdfs", "setOwner", "/f", "null", "alice:users:rw-------"),
        (true, "hdfs", "setTimes", "/f", "null", "alice:users:rw-------"),
        (true, "hdfs", "setReplication", "/f", "null", "null"),
    ]);

    let rename = |src: &str, dst: &str| RenameRequestProto {
        src: src.to_owned(),
        dst: dst.to_owned(),
    };
    ok(&client, "rename", rename("/g", "/d")).await;
    ok(&client, "rename", rename("/none", "/d")).await;
    let rename2 = |src: &str, dst: &str, overwrite_dest, move_to_trash| Rename2RequestProto {
        src: src.to_owned(),
        dst: dst.to_owned(),
        overwrite_dest,
        move_to_trash,
    };
    ok(&client, "rename2", rename2("/d/g", "/d/h", false, None)).await;
    ok(&client, "rename2", rename2("/d/h", "/d/i", true, Some(true))).await;
    ok(&client, "delete", delete("/d/i")).await;
    ok(&client, "delete", delete("/d/i")).await;
    world.check(&[
        (true, "hdfs", "rename", "/g", "/d", FILE),
        (true, "hdfs", "rename (options=[NONE])", "/d/g", "/d/h", FILE),
        (
            true,
            "hdfs",
            "rename (options=[OVERWRITE, TO_TRASH])",
            "/d/h",
            "/d/i",
            FILE,
        ),
        (true, "hdfs", "delete", "/d/i", "null", "null"),
        (false, "hdfs", "delete", "/d/i", "null", "null"),
    ]);

    ok(
        &client,
        "getFileInfo",
        GetFileInfoRequestProto {
            src: "/none".to_owned(),
        },
    )
    .await;
    let blocks = GetBlockLocationsRequestProto {
        src: src.clone(),
        offset: 0,
        length: 1,
    };
    ok(&client, "getBlockLocations", blocks).await;
    let located = |need_block_token| GetLocatedFileInfoRequestProto {
        src: Some("/f".to_owned()),
        need_block_token,
    };
    ok(&client, "getLocatedFileInfo", located(Some(true))).await;
    ok(&client, "getLocatedFileInfo", located(Some(false))).await;
    let listing = GetListingRequestProto {
        src: "/d".to_owned(),
        ..GetListingRequestProto::default()
    };
    ok(&client, "getListing", listing).await;
    ok(
        &client,
        "getContentSummary",
        GetContentSummaryRequestProto { path: "/".to_owned() },
    )
    .await;
    ok(&client, "isFileClosed", IsFileClosedRequestProto { src: src.clone() }).await;
    ok(
        &client,
        "getEZForPath",
        GetEzForPathRequestProto { src: "/d".to_owned() },
    )
    .await;
    world.check(&[
        (true, "hdfs", "getfileinfo", "/none", "null", "null"),
        (true, "hdfs", "open", "/f", "null", "null"),
        (true, "hdfs", "open", "/f", "null", "null"),
        (true, "hdfs", "getfileinfo", "/f", "null", "null"),
        (true, "hdfs", "listStatus", "/d", "null", "null"),
        (true, "hdfs", "contentSummary", "/", "null", "null"),
        (true, "hdfs", "isFileClosed", "/f", "null", "null"),
        (true, "hdfs", "getEZForPath", "/d", "null", DIR),
    ]);

    let (keep, clear) = (i64::MAX as u64, u64::MAX);
    for (names, space) in [(9, keep), (keep, 1 << 40), (clear, keep), (keep, clear)] {
        let quota = SetQuotaRequestProto {
            path: "/d".to_owned(),
            namespace_quota: names,
            storagespace_quota: space,
            storage_type: None,
        };
        ok(&client, "setQuota", quota).await;
    }
    let safe_mode = |action: SafeModeActionProto| SetSafeModeRequestProto {
        action: action as i32,
        checked: None,
    };
    ok(&client, "setSafeMode", safe_mode(SafeModeActionProto::SafemodeEnter)).await;
    ok(&client, "saveNamespace", SaveNamespaceRequestProto::default()).await;
    fails(&client, "mkdirs", mkdirs("/refused")).await;
    ok(&client, "setSafeMode", safe_mode(SafeModeActionProto::SafemodeLeave)).await;
    fails(&client, "saveNamespace", SaveNamespaceRequestProto::default()).await;
    ok(
        &client,
        "listOpenFiles",
        ListOpenFilesRequestProto {
            id: 0,
            types: vec![1],
            path: Some("/d".to_owned()),
        },
    )
    .await;
    world.check(&[
        (true, "hdfs", "setQuota", "/d", "null", "null"),
        (true, "hdfs", "setSpaceQuota", "/d", "null", "null"),
        (true, "hdfs", "clearQuota", "/d", "null", "null"),
        (true, "hdfs", "clearSpaceQuota", "/d", "null", "null"),
        (true, "hdfs", "safemode_enter", "null", "null", "null"),
        (true, "hdfs", "saveNamespace", "null", "null", "null"),
        (true, "hdfs", "safemode_leave", "null", "null", "null"),
        (true, "hdfs", "listOpenFiles", "null", "null", "null"),
    ]);
}

/// covers: LM-30
#[tokio::test]
async fn writing_and_leases_leave_no_lines_but_denials_do() {
    let mut world = World::start(&[]).await;
    world.cluster.add_datanodes(3);
    let (client, bob) = (world.cluster.client("hdfs").await, world.cluster.client("bob").await);
    client.create("/f", 1).await.expect("create");
    world.check(&[(true, "hdfs", "create", "/f", "null", FILE)]);
    let (src, holder) = ("/f".to_owned(), "DFSClient_test".to_owned());
    let add = AddBlockRequestProto {
        src: src.clone(),
        client_name: holder.clone(),
        ..AddBlockRequestProto::default()
    };
    let added: AddBlockResponseProto = client.call("addBlock", add).await.expect("a block");
    let fsync = FsyncRequestProto {
        src: src.clone(),
        client: holder.clone(),
        last_block_length: Some(5),
        file_id: None,
    };
    ok(&client, "fsync", fsync).await;
    let stamp = UpdateBlockForPipelineRequestProto {
        block: added.block.b.clone(),
        client_name: holder.clone(),
    };
    ok(&client, "updateBlockForPipeline", stamp).await;
    let abandon = AbandonBlockRequestProto {
        b: added.block.b.clone(),
        src: src.clone(),
        holder: holder.clone(),
        file_id: None,
    };
    ok(&client, "abandonBlock", abandon).await;
    let renew = RenewLeaseRequestProto {
        client_name: holder.clone(),
        namespaces: Vec::new(),
    };
    ok(&client, "renewLease", renew).await;
    let recover = RecoverLeaseRequestProto {
        src: src.clone(),
        client_name: "taker".to_owned(),
    };
    ok(&client, "recoverLease", recover).await;
    world.check(&[]);

    let create = CreateRequestProto {
        client_name: "bob".to_owned(),
        ..create_request("/mine", 1)
    };
    fails(&bob, "create", create).await;
    fails(&bob, "delete", delete("/f")).await;
    let chmod = SetPermissionRequestProto {
        src: src.clone(),
        permission: permission(0o777),
    };
    fails(&bob, "setPermission", chmod).await;
    let rename = RenameRequestProto {
        src: src.clone(),
        dst: "/g".to_owned(),
    };
    fails(&bob, "rename", rename).await;
    fails(&bob, "refreshNodes", RefreshNodesRequestProto {}).await;
    fails(
        &bob,
        "metaSave",
        MetaSaveRequestProto {
            filename: "x".to_owned(),
        },
    )
    .await;
    let allow = AllowSnapshotRequestProto {
        snapshot_root: "/d".to_owned(),
    };
    fails(&bob, "allowSnapshot", allow).await;
    let open = ListOpenFilesRequestProto {
        id: 0,
        types: vec![1],
        path: Some("/d".to_owned()),
    };
    fails(&bob, "listOpenFiles", open).await;
    world.check(&[
        (false, "bob", "create", "/mine", "null", "null"),
        (false, "bob", "delete", "/f", "null", "null"),
        (false, "bob", "setPermission", "/f", "null", "null"),
        (false, "bob", "rename", "/f", "/g", "null"),
        (false, "bob", "refreshNodes", "null", "null", "null"),
        (false, "bob", "metaSave", "null", "null", "null"),
        (false, "bob", "allowSnapshot", "/d", "null", "null"),
        (false, "bob", "listOpenFiles", "/d", "null", "null"),
    ]);
}

#[tokio::test]
async fn commands_can_be_left_out_and_ports_be_shown() {
    let settings = [
        ("dfs.namenode.audit.log.debug.cmdlist", "getfileinfo, listStatus"),
        ("dfs.namenode.audit.log.with.remote.port", "true"),
        ("hadoop.caller.context.enabled", "true"),
    ];
    let mut world = World::start(&settings).await;
    let client = world.cluster.client("hdfs").await;
    ok(&client, "getFileInfo", GetFileInfoRequestProto { src: "/".to_owned() }).await;
    ok(
        &client,
        "getContentSummary",
        GetContentSummaryRequestProto { path: "/".to_owned() },
    )
    .await;
    let news = world.news();
    let [line] = news.as_slice() else {
        panic!("one line: {news:?}");
    };
    let port = line
        .rsplit_once("\tproto=rpc\tcallerContext=clientPort:")
        .map(|(_, port)| port.parse::<u16>());
    assert!(matches!(port, Some(Ok(1..))), "{line}");
}

#[tokio::test]
async fn changes_of_caching_are_told_as_hadoop_does() {
    let mut world = World::start(&[]).await;
    let client = world.cluster.client("hdfs").await;
    let alice = world.cluster.client("alice").await;
    let pool = CachePoolInfoProto {
        pool_name: Some("p".to_owned()),
        ..CachePoolInfoProto::default()
    };
    ok(&client, "addCachePool", AddCachePoolRequestProto { info: pool.clone() }).await;
    let info = CachePoolInfoProto {
        mode: Some(0o700),
        ..pool.clone()
    };
    ok(&client, "modifyCachePool", ModifyCachePoolRequestProto { info }).await;
    let directive = CacheDirectiveInfoProto {
        path: Some("/a".to_owned()),
        pool: Some("p".to_owned()),
        expiration: Some(CacheDirectiveInfoExpirationProto {
            millis: 86_400_000,
            is_relative: false,
        }),
        ..CacheDirectiveInfoProto::default()
    };
    let add = |info| AddCacheDirectiveRequestProto {
        info,
        cache_flags: None,
    };
    ok(&client, "addCacheDirective", add(directive.clone())).await;
    fails(&alice, "addCacheDirective", add(directive)).await;
    let info = CacheDirectiveInfoProto {
        id: Some(1),
        replication: Some(2),
        ..CacheDirectiveInfoProto::default()
    };
    let cache_flags = None;
    ok(
        &client,
        "modifyCacheDirective",
        ModifyCacheDirectiveRequestProto { info, cache_flags },
    )
    .await;
    let filter = CacheDirectiveInfoProto {
        pool: Some("p".to_owned()),
        ..CacheDirectiveInfoProto::default()
    };
    ok(
        &client,
        "listCacheDirectives",
        ListCacheDirectivesRequestProto { prev_id: 0, filter },
    )
    .await;
    ok(
        &client,
        "removeCacheDirective",
        RemoveCacheDirectiveRequestProto { id: 1 },
    )
    .await;
    ok(&client, "listCachePools", ListCachePoolsRequestProto::default()).await;
    let pool_name = "p".to_owned();
    ok(&client, "removeCachePool", RemoveCachePoolRequestProto { pool_name }).await;
    fails(&alice, "addCachePool", AddCachePoolRequestProto { info: pool }).await;
    let made = "{poolName:p, ownerName:hdfs, groupName:hdfs, mode:0755, limit:9223372036854775807, \
                defaultReplication:1, maxRelativeExpiryMs:2305843009213693951}";
    let changed = "{poolName:p, ownerName:null, groupName:null, mode:0700, limit:null, defaultReplication:null, \
                   maxRelativeExpiryMs:null}";
    let directive = "{id: 1, path: /a, replication: 1, pool: p, expiration: 1970-01-02T00:00:00+0000}";
    world.check(&[
        (true, "hdfs", "addCachePool", made, "null", "null"),
        (true, "hdfs", "modifyCachePool", "{poolName: p}", changed, "null"),
        (true, "hdfs", "addCacheDirective", directive, "null", "null"),
        (false, "alice", "addCacheDirective", "null", "null", "null"),
        (
            true,
            "hdfs",
            "modifyCacheDirective",
            "{id: 1}",
            "{id: 1, replication: 2}",
            "null",
        ),
        (true, "hdfs", "listCacheDirectives", "{pool: p}", "null", "null"),
        (true, "hdfs", "removeCacheDirective", "{id: 1}", "null", "null"),
        (true, "hdfs", "listCachePools", "null", "null", "null"),
        (true, "hdfs", "removeCachePool", "{poolName: p}", "null", "null"),
        (false, "alice", "addCachePool", "p", "null", "null"),
    ]);
}
