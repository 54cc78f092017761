//! ClientProtocol call by call over a real socket.

mod common;

use common::{Client, Cluster, create_request, permission};
use hadron_proto::common as proto;
use hadron_proto::hdfs::*;
use hadron_types::ErrorKind;

const ACCESS: &str = "org.apache.hadoop.security.AccessControlException";
const MISSING: &str = "java.io.FileNotFoundException";
const IO: &str = "java.io.IOException";

fn info(path: &str) -> GetFileInfoRequestProto {
    GetFileInfoRequestProto { src: path.to_owned() }
}

async fn status(client: &Client, path: &str) -> Option<HdfsFileStatusProto> {
    let response: GetFileInfoResponseProto = client.call("getFileInfo", info(path)).await.expect("getFileInfo");
    response.fs
}

async fn mkdirs(client: &Client, path: &str, bits: u32) {
    let request = MkdirsRequestProto {
        src: path.to_owned(),
        masked: permission(bits),
        create_parent: true,
        unmasked: None,
    };
    let response: MkdirsResponseProto = client.call("mkdirs", request).await.expect("mkdirs");
    assert!(response.result);
}

fn delete(path: &str, recursive: bool) -> DeleteRequestProto {
    DeleteRequestProto {
        src: path.to_owned(),
        recursive,
    }
}

#[tokio::test]
async fn directories_and_statuses() {
    let cluster = Cluster::start().await;
    let client = cluster.client("hdfs").await;
    assert_eq!(status(&client, "/nothing").await, None);
    mkdirs(&client, "/a/b", 0o750).await;
    client.touch("/a/file").await;
    let dir = status(&client, "/a/b").await.expect("exists");
    assert_eq!(
        (dir.file_type(), dir.permission.perm),
        (hdfs_file_status_proto::FileType::IsDir, 0o750)
    );
    assert_eq!((dir.owner.as_str(), dir.group.as_str()), ("hdfs", "supergroup"));
    assert_eq!(
        (dir.children_num, dir.flags, dir.block_replication),
        (Some(0), Some(0), Some(0))
    );
    let root = status(&client, "/").await.expect("exists");
    assert_eq!(
        (root.file_id, root.children_num, root.path.len()),
        (Some(16385), Some(1), 0)
    );
    let file = status(&client, "/a/file").await.expect("exists");
    assert_eq!(
        (file.block_replication, file.blocksize, file.length),
        (Some(3), Some(1 << 20), 0)
    );
    let link: GetFileLinkInfoResponseProto = client
        .call("getFileLinkInfo", GetFileLinkInfoRequestProto { src: "/a".to_owned() })
        .await
        .expect("link info");
    assert_eq!(link.fs.and_then(|fs| fs.children_num), Some(2));
}

#[tokio::test]
async fn listings_come_in_pages() {
    let cluster = Cluster::start_with(&[("dfs.ls.limit", "2")]).await;
    let client = cluster.client("hdfs").await;
    for name in ["c", "a", "b"] {
        client.touch(&format!("/d/{name}")).await;
    }
    let list = |path: &str, after: &str| GetListingRequestProto {
        src: path.to_owned(),
        start_after: after.to_owned().into_bytes().into(),
        need_location: true,
    };
    let names = |listing: &DirectoryListingProto| -> Vec<String> {
        listing
            .partial_listing
            .iter()
            .map(|fs| String::from_utf8_lossy(&fs.path).into_owned())
            .collect()
    };
    let first: GetListingResponseProto = client.call("getListing", list("/d", "")).await.expect("page");
    let first = first.dir_list.expect("exists");
    assert_eq!(
        (names(&first), first.remaining_entries),
        (vec!["a".to_owned(), "b".to_owned()], 1)
    );
    let second: GetListingResponseProto = client.call("getListing", list("/d", "b")).await.expect("page");
    let second = second.dir_list.expect("exists");
    assert_eq!((names(&second), second.remaining_entries), (vec!["c".to_owned()], 0));
    assert!(second.partial_listing[0].locations.is_some());
    let missing: GetListingResponseProto = client.call("getListing", list("/none", "")).await.expect("answer");
    assert_eq!(missing.dir_list, None);
    let file: GetListingResponseProto = client.call("getListing", list("/d/a", "")).await.expect("answer");
    assert_eq!(names(&file.dir_list.expect("exists")), [""]);
}

#[tokio::test]
async fn names_change_and_disappear() {
    let cluster = Cluster::start().await;
    let client = cluster.client("hdfs").await;
    mkdirs(&client, "/dir", 0o755).await;
    client.touch("/f").await;
    let rename = |src: &str, dst: &str| RenameRequestProto {
        src: src.to_owned(),
        dst: dst.to_owned(),
    };
    let moved: RenameResponseProto = client.call("rename", rename("/f", "/dir")).await.expect("rename");
    assert!(moved.result && status(&client, "/dir/f").await.is_some());
    let refused: RenameResponseProto = client.call("rename", rename("/gone", "/x")).await.expect("rename");
    assert!(!refused.result);
    let rename2 = |src: &str, dst: &str, overwrite| Rename2RequestProto {
        src: src.to_owned(),
        dst: dst.to_owned(),
        overwrite_dest: overwrite,
        move_to_trash: None,
    };
    client.touch("/g").await;
    let exists = "org.apache.hadoop.fs.FileAlreadyExistsException";
    let line = "rename destination /g already exists";
    client
        .refused("rename2", rename2("/dir/f", "/g", false), exists, line)
        .await;
    let _: Rename2ResponseProto = client
        .call("rename2", rename2("/dir/f", "/g", true))
        .await
        .expect("rename2");
    assert!(status(&client, "/dir/f").await.is_none());
    let not_empty = "org.apache.hadoop.fs.PathIsNotEmptyDirectoryException";
    client.touch("/dir/x").await;
    client
        .refused(
            "delete",
            delete("/dir", false),
            not_empty,
            "`/dir is non empty': Directory is not empty",
        )
        .await;
    let gone: DeleteResponseProto = client.call("delete", delete("/dir", true)).await.expect("delete");
    assert!(gone.result && status(&client, "/dir").await.is_none());
    let again: DeleteResponseProto = client.call("delete", delete("/dir", true)).await.expect("delete");
    assert!(!again.result);
}

#[tokio::test]
async fn attributes_and_permissions() {
    let cluster = Cluster::start().await;
    let (owner, alice, bob) = (
        cluster.client("hdfs").await,
        cluster.client("alice").await,
        cluster.client("bob").await,
    );
    mkdirs(&owner, "/home", 0o777).await;
    mkdirs(&alice, "/home/alice", 0o700).await;
    alice.touch("/home/alice/f").await;
    let denied = r#"Permission denied: user=bob, access=EXECUTE, inode="/home/alice":alice:supergroup:drwx------"#;
    bob.refused("getFileInfo", info("/home/alice/f"), ACCESS, denied).await;
    let chmod = |path: &str, bits| SetPermissionRequestProto {
        src: path.to_owned(),
        permission: permission(bits),
    };
    let not_owner = "Permission denied. user=bob is not the owner of inode=/home/alice";
    bob.refused("setPermission", chmod("/home/alice", 0o777), ACCESS, not_owner)
        .await;
    let _: SetPermissionResponseProto = alice
        .call("setPermission", chmod("/home/alice", 0o755))
        .await
        .expect("chmod");
    let denied = r#"Permission denied: user=bob, access=WRITE, inode="/home/alice":alice:supergroup:drwxr-xr-x"#;
    bob.refused("create", create_request("/home/alice/mine", 1), ACCESS, denied)
        .await;
    let chown = |user: Option<&str>, group: Option<&str>| SetOwnerRequestProto {
        src: "/home/alice".to_owned(),
        username: user.map(str::to_owned),
        groupname: group.map(str::to_owned),
    };
    let error = alice
        .call::<_, SetOwnerResponseProto>("setOwner", chown(Some("bob"), None))
        .await
        .expect_err("chown");
    assert_eq!(error.kind, ErrorKind::AccessControl);
    let _: SetOwnerResponseProto = alice.call("setOwner", chown(None, Some("users"))).await.expect("chgrp");
    let _: SetOwnerResponseProto = owner.call("setOwner", chown(Some("bob"), None)).await.expect("chown");
    let changed = status(&owner, "/home/alice").await.expect("exists");
    assert_eq!((changed.owner.as_str(), changed.group.as_str()), ("bob", "users"));
    let times = SetTimesRequestProto {
        src: "/home/alice/f".to_owned(),
        mtime: 12345,
        atime: u64::MAX,
    };
    let _: SetTimesResponseProto = owner.call("setTimes", times).await.expect("setTimes");
    assert_eq!(
        status(&owner, "/home/alice/f").await.map(|fs| fs.modification_time),
        Some(12345)
    );
    let replication = |path: &str, replication| SetReplicationRequestProto {
        src: path.to_owned(),
        replication,
    };
    let set: SetReplicationResponseProto = owner
        .call("setReplication", replication("/home/alice/f", 2))
        .await
        .expect("setReplication");
    assert!(set.result);
    let dir: SetReplicationResponseProto = owner
        .call("setReplication", replication("/home", 2))
        .await
        .expect("answer");
    assert!(!dir.result, "directories have no replication");
    let access = |mode| CheckAccessRequestProto {
        path: "/home/alice/f".to_owned(),
        mode,
    };
    let _: CheckAccessResponseProto = alice.call("checkAccess", access(4)).await.expect("readable");
    let error = bob
        .call::<_, CheckAccessResponseProto>("checkAccess", access(2))
        .await
        .expect_err("not writable");
    assert_eq!(error.kind, ErrorKind::AccessControl);
    let supergroup = cluster.client("root2").await;
    let _: SetOwnerResponseProto = supergroup
        .call("setOwner", chown(Some("alice"), None))
        .await
        .expect("superuser");
}

fn add_block(path: &str, previous: Option<ExtendedBlockProto>) -> AddBlockRequestProto {
    AddBlockRequestProto {
        src: path.to_owned(),
        client_name: "DFSClient_test".to_owned(),
        previous,
        ..AddBlockRequestProto::default()
    }
}

async fn allocate(client: &Client, path: &str, previous: Option<ExtendedBlockProto>) -> LocatedBlockProto {
    let response: AddBlockResponseProto = client
        .call("addBlock", add_block(path, previous))
        .await
        .expect("addBlock");
    response.block
}

fn of_len(block: &LocatedBlockProto, len: u64) -> ExtendedBlockProto {
    ExtendedBlockProto {
        num_bytes: Some(len),
        ..block.b.clone()
    }
}

fn locations(path: &str) -> GetBlockLocationsRequestProto {
    GetBlockLocationsRequestProto {
        src: path.to_owned(),
        offset: 0,
        length: u64::MAX >> 1,
    }
}

async fn located(client: &Client, path: &str) -> LocatedBlocksProto {
    let response: GetBlockLocationsResponseProto = client
        .call("getBlockLocations", locations(path))
        .await
        .expect("locations");
    response.locations.expect("locations")
}

#[tokio::test]
async fn a_file_is_written_and_located() {
    let cluster = Cluster::start().await;
    cluster.add_datanodes(4);
    let client = cluster.client("hdfs").await;
    let created = client.create("/f", 1).await.expect("create");
    assert!(created.file_id.is_some_and(|id| id > 16385));
    let first = allocate(&client, "/f", None).await;
    assert_eq!((first.locs.len(), first.storage_i_ds.len(), first.offset), (3, 3, 0));
    assert_eq!(first.storage_types, [1, 1, 1]);
    // The same call again gives the same block and pipeline.
    let again = allocate(&client, "/f", None).await;
    assert_eq!(again.b, first.b);
    let open = located(&client, "/f").await;
    assert_eq!(
        (open.file_length, open.under_construction, open.is_last_block_complete),
        (0, true, false)
    );
    assert_eq!(open.last_block.map(|last| last.locs.len()), Some(3));

    cluster.report_received(&first, 1 << 20);
    let second = allocate(&client, "/f", Some(of_len(&first, 1 << 20))).await;
    assert_eq!(second.offset, 1 << 20);
    let last = of_len(&second, 100);
    assert!(
        !client.complete("/f", Some(last.clone())).await.expect("complete"),
        "no replica is known yet"
    );
    let committed = located(&client, "/f").await;
    let shown = committed.last_block.expect("last block");
    assert_eq!(
        (
            committed.file_length,
            committed.is_last_block_complete,
            shown.offset,
            shown.locs.len()
        ),
        (1 << 20, false, 1 << 20, 3),
        "readers ask DataNodes for the rest"
    );
    cluster.report_received(&second, 100);
    assert!(client.complete("/f", Some(last.clone())).await.expect("complete"));
    assert!(
        client.complete("/f", Some(last)).await.expect("complete again"),
        "a repeated complete is recognised"
    );
    let closed = located(&client, "/f").await;
    assert_eq!(
        (closed.file_length, closed.blocks.len(), closed.under_construction),
        ((1 << 20) + 100, 2, false)
    );
    assert!(closed.is_last_block_complete);
    assert!(
        closed
            .blocks
            .iter()
            .all(|block| block.locs.len() == 3 && !block.corrupt)
    );
    let closed: IsFileClosedResponseProto = client
        .call("isFileClosed", IsFileClosedRequestProto { src: "/f".to_owned() })
        .await
        .expect("answer");
    assert!(closed.result);
}

#[tokio::test]
async fn complete_waits_for_the_report() {
    let cluster = Cluster::start().await;
    cluster.add_datanodes(3);
    let client = cluster.client("hdfs").await;
    client.create("/f", 1).await.expect("create");
    let block = allocate(&client, "/f", None).await;
    let (closed, ()) = tokio::join!(client.complete("/f", Some(of_len(&block, 10))), async {
        tokio::task::yield_now().await;
        cluster.report_received(&block, 10);
    });
    assert!(closed.expect("complete"), "the report came while the call waited");
}

#[tokio::test]
async fn write_calls_are_refused_in_hadoops_words() {
    let cluster = Cluster::start().await;
    let client = cluster.client("hdfs").await;
    let lease_expired = "org.apache.hadoop.hdfs.server.namenode.LeaseExpiredException";
    let line = "File does not exist: /none (inode 0) Holder DFSClient_test does not have any open files.";
    client
        .refused("addBlock", add_block("/none", None), MISSING, line)
        .await;
    client.create("/f", 1).await.expect("create");
    let none = "File /f could only be written to 0 of the 1 minReplication nodes. There are 0 datanode(s) running and \
                no node(s) are excluded in this operation.";
    client.refused("addBlock", add_block("/f", None), IO, none).await;
    cluster.add_datanodes(3);
    let block = allocate(&client, "/f", None).await;
    let mut foreign = of_len(&block, 5);
    foreign.pool_id = "BP-other".to_owned();
    let pool = &block.b.pool_id;
    let line = format!("Unexpected BlockPoolId BP-other - expected {pool}");
    client
        .refused("addBlock", add_block("/f", Some(foreign)), IO, &line)
        .await;
    let other = AddBlockRequestProto {
        client_name: "someone".to_owned(),
        ..add_block("/f", None)
    };
    let error = client
        .call::<_, AddBlockResponseProto>("addBlock", other)
        .await
        .expect_err("not the holder");
    assert_eq!(error.kind.class(), lease_expired);
    let open = "org.apache.hadoop.hdfs.protocol.AlreadyBeingCreatedException";
    let line = "Failed to CREATE_FILE /f for DFSClient_test on 127.0.0.1 because DFSClient_test is already the \
                current lease holder.";
    client.refused("create", create_request("/f", 1), open, line).await;
    let not_replicated = "org.apache.hadoop.hdfs.server.namenode.NotReplicatedYetException";
    let second = allocate(&client, "/f", Some(of_len(&block, 1 << 20))).await;
    let line = "Not replicated yet: /f";
    client
        .refused(
            "addBlock",
            add_block("/f", Some(of_len(&second, 7))),
            not_replicated,
            line,
        )
        .await;
    client.touch("/closed").await;
    let exists = "org.apache.hadoop.fs.FileAlreadyExistsException";
    let line = "/closed for client 127.0.0.1 already exists";
    client
        .refused("create", create_request("/closed", 1), exists, line)
        .await;
    let zero = CreateRequestProto {
        replication: 0,
        ..create_request("/zero", 1)
    };
    let error = client
        .call::<_, CreateResponseProto>("create", zero)
        .await
        .expect_err("replication");
    assert_eq!(error.kind, ErrorKind::Io);
    client
        .refused(
            "create",
            create_request("/a/../b", 1),
            "org.apache.hadoop.fs.InvalidPathException",
            "Invalid path name Invalid file name: /a/../b",
        )
        .await;
    client
        .refused(
            "create",
            create_request("/closed/x", 1),
            "org.apache.hadoop.fs.ParentNotDirectoryException",
            "/closed (is not a directory)",
        )
        .await;
    client
        .refused(
            "create",
            GetFileInfoRequestProto::default(),
            "com.google.protobuf.InvalidProtocolBufferException",
            "Message missing required fields: masked, clientName, createFlag, createParent, replication, blockSize",
        )
        .await;
    client
        .refused(
            "noSuchCall",
            info("/"),
            "org.apache.hadoop.ipc.RpcNoSuchMethodException",
            "Unknown method noSuchCall called on org.apache.hadoop.hdfs.protocol.ClientProtocol protocol.",
        )
        .await;
}

#[tokio::test]
async fn pipelines_are_rebuilt() {
    let cluster = Cluster::start().await;
    cluster.add_datanodes(4);
    let client = cluster.client("hdfs").await;
    client.create("/f", 1).await.expect("create");
    let block = allocate(&client, "/f", None).await;
    let more = GetAdditionalDatanodeRequestProto {
        src: "/f".to_owned(),
        blk: block.b.clone(),
        existings: block.locs[1..].to_vec(),
        excludes: block.locs[..1].to_vec(),
        num_additional_nodes: 1,
        client_name: "DFSClient_test".to_owned(),
        existing_storage_uuids: block.storage_i_ds[1..].to_vec(),
        file_id: None,
    };
    let more: GetAdditionalDatanodeResponseProto = client.call("getAdditionalDatanode", more).await.expect("another");
    assert_eq!(
        (
            more.block.locs.len(),
            more.block.storage_i_ds.len(),
            more.block.storage_types.len()
        ),
        (3, 3, 3)
    );
    assert!(!more.block.locs.contains(&block.locs[0]));
    let update = UpdateBlockForPipelineRequestProto {
        block: block.b.clone(),
        client_name: "DFSClient_test".to_owned(),
    };
    let stamped: UpdateBlockForPipelineResponseProto =
        client.call("updateBlockForPipeline", update).await.expect("new stamp");
    assert!(stamped.block.b.generation_stamp > block.b.generation_stamp && stamped.block.locs.is_empty());
    let update = UpdatePipelineRequestProto {
        client_name: "DFSClient_test".to_owned(),
        old_block: block.b.clone(),
        new_block: of_len(&stamped.block, 5),
        new_nodes: more.block.locs.iter().map(|node| node.id.clone()).collect(),
        storage_i_ds: more.block.storage_i_ds.clone(),
    };
    let try_update = async |retry| -> UpdatePipelineResponseProto {
        let answer = client
            .rpc
            .call_as(hadron_types::CallId(88_888), retry, "updatePipeline", &update);
        answer.await.expect("updated")
    };
    try_update(0).await;
    let open = located(&client, "/f").await;
    let last = open.last_block.expect("a block");
    assert_eq!(
        (last.b.generation_stamp, last.b.num_bytes),
        (stamped.block.b.generation_stamp, Some(5))
    );
    assert!(!last.locs.iter().any(|node| node.id == block.locs[0].id));
    let abandon = AbandonBlockRequestProto {
        b: last.b,
        src: "/f".to_owned(),
        holder: "DFSClient_test".to_owned(),
        file_id: None,
    };
    let _: AbandonBlockResponseProto = client.call("abandonBlock", abandon).await.expect("abandoned");
    assert!(located(&client, "/f").await.last_block.is_none());
    // A repeat that comes late is answered as the first try was, and brings nothing back.
    try_update(1).await;
    let state = &cluster.node.shared().state;
    let id = hadron_types::BlockId(block.b.block_id as i64);
    assert!(state.blocks.lock().expected(id, state.now()).is_empty());
}

/// covers: LM-28, LM-29
#[tokio::test]
async fn safe_mode_refuses_mutations() {
    let cluster = Cluster::start().await;
    let (owner, alice) = (cluster.client("hdfs").await, cluster.client("alice").await);
    let action = |action: SafeModeActionProto| SetSafeModeRequestProto {
        action: action as i32,
        checked: None,
    };
    let get: SetSafeModeResponseProto = alice
        .call("setSafeMode", action(SafeModeActionProto::SafemodeGet))
        .await
        .expect("get");
    assert!(!get.result);
    let superuser = "Access denied for user alice. Superuser privilege is required";
    alice
        .refused(
            "setSafeMode",
            action(SafeModeActionProto::SafemodeEnter),
            ACCESS,
            superuser,
        )
        .await;
    cluster.add_datanodes(3);
    owner.create("/open", 1).await.expect("create");
    let block = allocate(&owner, "/open", None).await;
    let entered: SetSafeModeResponseProto = owner
        .call("setSafeMode", action(SafeModeActionProto::SafemodeEnter))
        .await
        .expect("enter");
    assert!(entered.result);
    let safe_mode = "org.apache.hadoop.hdfs.server.namenode.SafeModeException";
    owner
        .refused(
            "create",
            create_request("/f", 1),
            safe_mode,
            "Cannot create file/f. Name node is in safe mode.",
        )
        .await;
    owner
        .refused(
            "delete",
            delete("/f", true),
            safe_mode,
            "Cannot delete /f. Name node is in safe mode.",
        )
        .await;
    let shown = format!(
        "{}:blk_{}_{}",
        block.b.pool_id, block.b.block_id, block.b.generation_stamp
    );
    let abandon = AbandonBlockRequestProto {
        b: block.b.clone(),
        src: "/open".to_owned(),
        holder: "DFSClient_test".to_owned(),
        file_id: None,
    };
    let line = format!("Cannot abandon block {shown} for file/open. Name node is in safe mode.");
    owner.refused("abandonBlock", abandon.clone(), safe_mode, &line).await;
    let renew = RenewLeaseRequestProto {
        client_name: "DFSClient_test".to_owned(),
        namespaces: Vec::new(),
    };
    let line = "Cannot renew lease for DFSClient_test. Name node is in safe mode.";
    owner.refused("renewLease", renew, safe_mode, line).await;
    assert!(status(&owner, "/").await.is_some());
    let saved: SaveNamespaceResponseProto = owner
        .call("saveNamespace", SaveNamespaceRequestProto::default())
        .await
        .expect("saved");
    assert!(saved.saved());
    let left: SetSafeModeResponseProto = owner
        .call("setSafeMode", action(SafeModeActionProto::SafemodeLeave))
        .await
        .expect("leave");
    assert!(!left.result);
    owner.touch("/f").await;
    let stranger = AbandonBlockRequestProto {
        holder: "stranger".to_owned(),
        ..abandon.clone()
    };
    let refused = owner
        .call::<_, ()>("abandonBlock", stranger)
        .await
        .expect_err("not its own");
    assert_eq!(refused.kind, ErrorKind::LeaseExpired);
    for _ in 0..2 {
        owner
            .call::<_, ()>("abandonBlock", abandon.clone())
            .await
            .expect("given up, and again without harm");
    }
    assert_eq!(located(&owner, "/open").await.blocks.len(), 0);
}

#[tokio::test]
async fn everything_answered_survives_a_restart() {
    let mut cluster = Cluster::start().await;
    cluster.add_datanodes(3);
    let client = cluster.client("hdfs").await;
    mkdirs(&client, "/kept", 0o755).await;
    client.touch("/kept/closed").await;
    client.create("/kept/open", 1).await.expect("create");
    let block = allocate(&client, "/kept/open", None).await;
    for round in 0..2 {
        cluster = cluster.restart().await;
        cluster.add_datanodes(3);
        let client = cluster.client("hdfs").await;
        assert!(status(&client, "/kept/closed").await.is_some());
        // The writer goes on: the same block again, with new targets, for the old ones are not remembered.
        let again = allocate(&client, "/kept/open", None).await;
        assert_eq!((&again.b, again.locs.len()), (&block.b, 3));
        if round == 0 {
            cluster.node.shared().checkpoint().await.expect("checkpoint");
        }
    }
    let client = cluster.client("hdfs").await;
    cluster.report_received(&block, 9);
    assert!(
        client
            .complete("/kept/open", Some(of_len(&block, 9)))
            .await
            .expect("complete")
    );
}

#[tokio::test]
async fn repeated_calls_are_answered_from_the_retry_cache() {
    use hadron_types::CallId;
    let cluster = Cluster::start().await;
    let client = cluster.client("hdfs").await;
    client.touch("/f").await;
    let call = CallId(77_777);
    for retry in 0..3 {
        let answer: DeleteResponseProto = client
            .rpc
            .call_as(call, retry, "delete", &delete("/f", true))
            .await
            .expect("delete");
        assert!(answer.result, "try {retry} hears what the first heard");
    }
    let other: DeleteResponseProto = client.call("delete", delete("/f", true)).await.expect("delete");
    assert!(!other.result);
}

#[tokio::test]
async fn a_cookie_beyond_all_files_names_none() {
    let cluster = Cluster::start().await;
    let client = cluster.client("hdfs").await;
    let request = ListCorruptFileBlocksRequestProto {
        path: "/".to_owned(),
        cookie: Some(u64::MAX.to_string()),
    };
    let response: ListCorruptFileBlocksResponseProto = client
        .call("listCorruptFileBlocks", request)
        .await
        .expect("an empty page");
    assert!(response.corrupt.files.is_empty());
}

#[tokio::test]
async fn summaries_count_in_slices() {
    let cluster = Cluster::start_with(&[("dfs.content-summary.limit", "2")]).await;
    let client = cluster.client("hdfs").await;
    for number in 0..7 {
        client.touch(&format!("/top/{}/f{number}", number % 3)).await;
    }
    let request = GetContentSummaryRequestProto {
        path: "/top".to_owned(),
    };
    let response: GetContentSummaryResponseProto = client.call("getContentSummary", request).await.expect("summary");
    let summary = response.summary;
    assert_eq!((summary.file_count, summary.directory_count, summary.length), (7, 4, 0));
    assert_eq!((summary.quota, summary.space_quota), (u64::MAX, u64::MAX));
    let request = GetQuotaUsageRequestProto {
        path: "/top".to_owned(),
    };
    let response: GetQuotaUsageResponseProto = client.call("getQuotaUsage", request).await.expect("usage");
    assert_eq!(response.usage.file_and_directory_count, 11);
    let request = GetContentSummaryRequestProto {
        path: "/gone".to_owned(),
    };
    client
        .refused("getContentSummary", request, MISSING, "File does not exist: /gone")
        .await;
}

#[tokio::test]
async fn the_cluster_tells_about_itself() {
    let cluster = Cluster::start().await;
    cluster.add_datanodes(2);
    let (owner, alice) = (cluster.client("hdfs").await, cluster.client("alice").await);
    let defaults: GetServerDefaultsResponseProto = alice
        .call("getServerDefaults", GetServerDefaultsRequestProto {})
        .await
        .expect("defaults");
    let defaults = defaults.server_defaults;
    assert_eq!(
        (defaults.block_size, defaults.replication, defaults.write_packet_size),
        (128 << 20, 3, 65536)
    );
    assert_eq!(
        (defaults.checksum_type(), defaults.bytes_per_checksum),
        (ChecksumTypeProto::ChecksumCrc32c, 512)
    );
    assert_eq!(defaults.key_provider_uri.as_deref(), Some(""));
    let stats: GetFsStatsResponseProto = alice
        .call("getFsStats", GetFsStatusRequestProto {})
        .await
        .expect("stats");
    assert_eq!((stats.capacity, stats.missing_blocks), (2 << 40, 0));
    let report = |kind: DatanodeReportTypeProto| GetDatanodeReportRequestProto { r#type: kind as i32 };
    let live: GetDatanodeReportResponseProto = owner
        .call("getDatanodeReport", report(DatanodeReportTypeProto::Live))
        .await
        .expect("report");
    assert_eq!(live.di.len(), 2);
    assert_eq!(
        (live.di[0].id.ip_addr.as_str(), live.di[0].location()),
        ("127.0.1.0", "/default-rack")
    );
    let dead: GetDatanodeReportResponseProto = owner
        .call("getDatanodeReport", report(DatanodeReportTypeProto::Dead))
        .await
        .expect("report");
    assert!(dead.di.is_empty());
    let storages = GetDatanodeStorageReportRequestProto { r#type: 1 };
    let storages: GetDatanodeStorageReportResponseProto =
        owner.call("getDatanodeStorageReport", storages).await.expect("report");
    assert_eq!(storages.datanode_storage_reports[0].storage_reports.len(), 1);
    let policies: GetStoragePoliciesResponseProto = alice
        .call("getStoragePolicies", GetStoragePoliciesRequestProto {})
        .await
        .expect("policies");
    assert_eq!(policies.policies.len(), 7);
    let state: HaServiceStateResponseProto = alice
        .call("getHAServiceState", HaServiceStateRequestProto {})
        .await
        .expect("state");
    assert_eq!(state.state(), proto::HaServiceStateProto::Active);
    let token: proto::GetDelegationTokenResponseProto = alice
        .call(
            "getDelegationToken",
            proto::GetDelegationTokenRequestProto {
                renewer: "x".to_owned(),
            },
        )
        .await
        .expect("token");
    assert!(token.token.is_none());
    let acl: GetAclStatusResponseProto = alice
        .call("getAclStatus", GetAclStatusRequestProto { src: "/".to_owned() })
        .await
        .expect("acl");
    assert_eq!((acl.result.owner.as_str(), acl.result.entries.len()), ("hdfs", 0));
    let groups: proto::GetGroupsForUserResponseProto = owner
        .rpc
        .call_protocol(
            hadron_proto::protocol::GET_USER_MAPPINGS_PROTOCOL,
            1,
            "getGroupsForUser",
            &proto::GetGroupsForUserRequestProto { user: "bob".to_owned() },
        )
        .await
        .expect("groups");
    assert_eq!(groups.groups, ["users", "staff"]);
    let versions: proto::GetProtocolVersionsResponseProto = owner
        .rpc
        .call_protocol(
            hadron_proto::protocol::PROTOCOL_META_INFO,
            1,
            "getProtocolVersions",
            &proto::GetProtocolVersionsRequestProto {
                protocol: hadron_proto::protocol::CLIENT_PROTOCOL.to_owned(),
            },
        )
        .await
        .expect("versions");
    assert_eq!(versions.protocol_versions[0].versions, [1]);
}

#[tokio::test]
async fn leases_are_recovered_on_demand() {
    let cluster = Cluster::start().await;
    cluster.add_datanodes(3);
    let client = cluster.client("hdfs").await;
    client.create("/empty", 1).await.expect("create");
    let renew = RenewLeaseRequestProto {
        client_name: "DFSClient_test".to_owned(),
        namespaces: Vec::new(),
    };
    let _: RenewLeaseResponseProto = client.call("renewLease", renew).await.expect("renewed");
    let open: ListOpenFilesResponseProto = client
        .call(
            "listOpenFiles",
            ListOpenFilesRequestProto {
                id: 0,
                types: vec![1],
                path: None,
            },
        )
        .await
        .expect("open");
    assert_eq!(
        (open.entries.len(), open.entries[0].path.as_str(), open.has_more),
        (1, "/empty", false)
    );
    let recover = |path: &str| RecoverLeaseRequestProto {
        src: path.to_owned(),
        client_name: "taker".to_owned(),
    };
    let closed: RecoverLeaseResponseProto = client.call("recoverLease", recover("/empty")).await.expect("recovered");
    assert!(closed.result, "a file without blocks closes at once");
    client.create("/open", 1).await.expect("create");
    allocate(&client, "/open", None).await;
    let closed: RecoverLeaseResponseProto = client.call("recoverLease", recover("/open")).await.expect("recovered");
    assert!(!closed.result, "the last block must be recovered first");
    client
        .refused("recoverLease", recover("/gone"), MISSING, "File does not exist: /gone")
        .await;
}

#[tokio::test]
async fn the_service_port_serves_the_same_protocols() {
    let cluster = Cluster::start_with(&[("dfs.namenode.servicerpc-address", "127.0.0.1:0")]).await;
    let addr = cluster.node.service_rpc_addr().expect("a second port");
    assert_ne!(addr, cluster.node.rpc_addr());
    let options = hadron_net::RpcClientOptions::new("hdfs", hadron_proto::protocol::CLIENT_PROTOCOL);
    let rpc = hadron_net::RpcClient::connect(addr, options).await.expect("connect");
    assert!(status(&Client { rpc }, "/").await.is_some());
}

#[tokio::test]
async fn switched_off_features_refuse_with_their_own_classes() {
    let cluster = Cluster::start_with(&[("dfs.namenode.acls.enabled", "false")]).await;
    let client = cluster.client("hdfs").await;
    let request = GetAclStatusRequestProto { src: "/".to_owned() };
    let refused = client
        .call::<_, GetAclStatusResponseProto>("getAclStatus", request)
        .await;
    let error = refused.expect_err("ACLs are off");
    assert_eq!(error.kind.class(), "org.apache.hadoop.hdfs.protocol.AclException");
    assert!(
        error
            .first_line()
            .ends_with("setting dfs.namenode.acls.enabled to false.")
    );

    let request = RollingUpgradeRequestProto {
        action: RollingUpgradeActionProto::Start as i32,
    };
    let refused = client
        .call::<_, RollingUpgradeResponseProto>("rollingUpgrade", request)
        .await;
    let error = refused.expect_err("not supported");
    assert_eq!(
        error.kind.class(),
        "org.apache.hadoop.hdfs.server.namenode.UnsupportedActionException"
    );

    let ha = cluster
        .client_of("hdfs", hadron_proto::protocol::HA_SERVICE_PROTOCOL)
        .await;
    let status: proto::GetServiceStatusResponseProto = ha
        .call("getServiceStatus", proto::GetServiceStatusRequestProto {})
        .await
        .expect("status");
    assert_eq!(status.state(), proto::HaServiceStateProto::Active);
    let request = proto::TransitionToStandbyRequestProto {
        req_info: proto::HaStateChangeRequestInfoProto {
            req_source: proto::HaRequestSource::RequestByUser as i32,
        },
    };
    let refused = ha
        .call::<_, proto::TransitionToStandbyResponseProto>("transitionToStandby", request)
        .await;
    let error = refused.expect_err("no HA");
    assert_eq!(error.kind.class(), "org.apache.hadoop.ha.ServiceFailedException");
    assert_eq!(error.first_line(), "HA for namenode is not enabled");
}
