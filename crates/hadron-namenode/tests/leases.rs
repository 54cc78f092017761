//! Leases against a clock the test moves: soft limit, hard limit, access times.

mod common;

use common::{Client, Cluster};
use hadron_env::ManualClock;
use hadron_proto::hdfs::*;
use hadron_types::{ErrorKind, TimeMs};
use std::sync::Arc;
use std::time::Duration;

fn append(path: &str) -> AppendRequestProto {
    AppendRequestProto {
        src: path.to_owned(),
        client_name: "another".to_owned(),
        flag: None,
    }
}

async fn is_closed(client: &Client, path: &str) -> bool {
    let request = IsFileClosedRequestProto { src: path.to_owned() };
    let response: IsFileClosedResponseProto = client.call("isFileClosed", request).await.expect("answer");
    response.result
}

async fn renew(client: &Client) {
    let request = RenewLeaseRequestProto {
        client_name: "DFSClient_test".to_owned(),
        namespaces: Vec::new(),
    };
    let _: RenewLeaseResponseProto = client.call("renewLease", request).await.expect("renewed");
}

/// covers: LM-10, LM-18
#[tokio::test]
async fn a_silent_writer_loses_its_file_after_the_soft_limit() {
    let clock = Arc::new(ManualClock::new(TimeMs(1_700_000_000_000)));
    let cluster = Cluster::start_at(Arc::clone(&clock), &[]).await;
    let client = cluster.client("hdfs").await;
    client.create("/f", 1).await.expect("create");
    clock.advance(Duration::from_secs(59));
    renew(&client).await;
    clock.advance(Duration::from_secs(59));
    let error = client
        .call::<_, AppendResponseProto>("append", append("/f"))
        .await
        .expect_err("held");
    assert_eq!(error.kind, ErrorKind::AlreadyBeingCreated);
    clock.advance(Duration::from_secs(2));
    let appended: AppendResponseProto = client.call("append", append("/f")).await.expect("taken over");
    assert!(appended.block.is_none() && appended.stat.is_some());
}

/// covers: LM-11, LM-12
#[tokio::test]
async fn the_name_node_closes_files_after_the_hard_limit() {
    let clock = Arc::new(ManualClock::new(TimeMs(1_700_000_000_000)));
    let cluster = Cluster::start_at(Arc::clone(&clock), &[]).await;
    let client = cluster.client("hdfs").await;
    client.create("/f", 1).await.expect("create");
    clock.advance(Duration::from_secs(1199));
    assert!(!is_closed(&client, "/f").await);
    let closing = async {
        while !is_closed(&client, "/f").await {
            clock.advance(Duration::from_secs(2));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closing)
        .await
        .expect("never closed");
}

#[tokio::test]
async fn reading_updates_an_old_access_time() {
    let clock = Arc::new(ManualClock::new(TimeMs(1_700_000_000_000)));
    let cluster = Cluster::start_at(Arc::clone(&clock), &[]).await;
    let client = cluster.client("hdfs").await;
    client.touch("/f").await;
    let access_time = async || {
        let request = GetFileInfoRequestProto { src: "/f".to_owned() };
        let response: GetFileInfoResponseProto = client.call("getFileInfo", request).await.expect("status");
        response.fs.map_or(0, |fs| fs.access_time)
    };
    let before = access_time().await;
    clock.advance(Duration::from_secs(3601));
    let request = hadron_proto::hdfs::GetBlockLocationsRequestProto {
        src: "/f".to_owned(),
        offset: 0,
        length: 1,
    };
    let _: hadron_proto::hdfs::GetBlockLocationsResponseProto =
        client.call("getBlockLocations", request).await.expect("read");
    let updating = async {
        while access_time().await == before {
            clock.advance(Duration::from_secs(1));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), updating)
        .await
        .expect("never updated");
    assert!(access_time().await >= before + 3_601_000);
}

fn request_of(holder: &str, path: &str) -> CreateRequestProto {
    CreateRequestProto {
        client_name: holder.to_owned(),
        ..common::create_request(path, 1)
    }
}

fn add_block(holder: &str, path: &str, file_id: u64, previous: Option<ExtendedBlockProto>) -> AddBlockRequestProto {
    AddBlockRequestProto {
        src: path.to_owned(),
        client_name: holder.to_owned(),
        previous,
        file_id: Some(file_id),
        ..AddBlockRequestProto::default()
    }
}

async fn open_files(
    client: &Client,
    path: Option<&str>,
    kinds: &[OpenFilesTypeProto],
) -> Vec<OpenFilesBatchResponseProto> {
    let (mut id, mut found) = (0, Vec::new());
    loop {
        let request = ListOpenFilesRequestProto {
            id,
            types: kinds.iter().map(|kind| *kind as i32).collect(),
            path: path.map(str::to_owned),
        };
        let page: ListOpenFilesResponseProto = client.call("listOpenFiles", request).await.expect("listed");
        id = page.entries.last().map_or(id, |entry| entry.id);
        assert!(
            !page.has_more || !page.entries.is_empty(),
            "who is told of more can go on"
        );
        found.extend(page.entries);
        if !page.has_more {
            return found;
        }
    }
}

/// covers: LM-01, LM-15, LM-17, LM-24, LM-25, LM-26, LM-27
#[tokio::test]
async fn who_has_no_lease_is_refused_in_hadoops_words() {
    let expired = "org.apache.hadoop.hdfs.server.namenode.LeaseExpiredException";
    let held = "org.apache.hadoop.hdfs.protocol.AlreadyBeingCreatedException";
    let cluster = Cluster::start().await;
    cluster.add_datanodes(3);
    let client = cluster.client("hdfs").await;
    let id = client.create("/f", 1).await.expect("create").file_id();
    let added: AddBlockResponseProto = client
        .call("addBlock", add_block("DFSClient_test", "/f", id, None))
        .await
        .expect("a block");
    let block = added.block.b;
    let shown = format!("{}:blk_{}_{}", block.pool_id, block.block_id, block.generation_stamp);

    let by = "this file lease is currently owned by DFSClient_test on 127.0.0.1";
    for (holder, because) in [
        ("DFSClient_test", "DFSClient_test is already the current lease holder."),
        ("other", by),
    ] {
        let line = |what: &str| format!("Failed to {what} /f for {holder} on 127.0.0.1 because {because}");
        client
            .refused("create", request_of(holder, "/f"), held, &line("CREATE_FILE"))
            .await;
        let request = AppendRequestProto {
            client_name: holder.to_owned(),
            ..append("/f")
        };
        client.refused("append", request, held, &line("APPEND_FILE")).await;
        let request = TruncateRequestProto {
            src: "/f".to_owned(),
            new_length: 0,
            client_name: holder.to_owned(),
        };
        client.refused("truncate", request, held, &line("TRUNCATE_FILE")).await;
    }

    let (other, src) = ("other".to_owned(), "/f".to_owned());
    let line = format!(
        "Client (=other) is not the lease owner (=DFSClient_test: /f (inode {id}) Holder other does not have any open files."
    );
    client
        .refused("addBlock", add_block("other", "/f", id, None), expired, &line)
        .await;
    let complete = CompleteRequestProto {
        src: src.clone(),
        client_name: other.clone(),
        last: Some(block.clone()),
        file_id: Some(id),
    };
    client.refused("complete", complete, expired, &line).await;
    let fsync = FsyncRequestProto {
        src: src.clone(),
        client: other.clone(),
        last_block_length: Some(5),
        file_id: Some(id),
    };
    client.refused("fsync", fsync, expired, &line).await;
    let abandon = AbandonBlockRequestProto {
        b: block.clone(),
        src: src.clone(),
        holder: other.clone(),
        file_id: Some(id),
    };
    client.refused("abandonBlock", abandon, expired, &line).await;
    let more = GetAdditionalDatanodeRequestProto {
        src: src.clone(),
        blk: block.clone(),
        num_additional_nodes: 1,
        client_name: other.clone(),
        file_id: Some(id),
        ..GetAdditionalDatanodeRequestProto::default()
    };
    client.refused("getAdditionalDatanode", more, expired, &line).await;
    let line = format!("Lease mismatch: {shown} is accessed by a non lease holder other");
    let stamp = UpdateBlockForPipelineRequestProto {
        block: block.clone(),
        client_name: other.clone(),
    };
    client.refused("updateBlockForPipeline", stamp, expired, &line).await;
    let update = UpdatePipelineRequestProto {
        client_name: other,
        old_block: block.clone(),
        new_block: ExtendedBlockProto {
            generation_stamp: block.generation_stamp + 1,
            ..block.clone()
        },
        ..UpdatePipelineRequestProto::default()
    };
    client.refused("updatePipeline", update, expired, &line).await;

    // The same calls of the holder itself on what is no open file.
    let lease = "[Lease.  Holder: DFSClient_test, pending creates: 1]";
    client.touch_as("closer", "/closed").await;
    for (path, class, line) in [
        (
            "/gone",
            "java.io.FileNotFoundException",
            "File does not exist: /gone (inode 0)",
        ),
        ("/", expired, "INode is not a regular file: / (inode 0)"),
        ("/closed", expired, "File is not open for writing: /closed (inode 0)"),
    ] {
        let request = add_block("DFSClient_test", path, 0, None);
        client
            .refused("addBlock", request, class, &format!("{line} {lease}"))
            .await;
    }
}

/// covers: LM-12, LM-13, LM-14, LM-32
#[tokio::test]
async fn a_dead_client_loses_all_its_files_and_others_keep_theirs() {
    const FILES: usize = 3000;
    let clock = Arc::new(ManualClock::new(TimeMs(1_700_000_000_000)));
    let settings = [("dfs.namenode.list.openfiles.num.responses", "700")];
    let cluster = Cluster::start_at(Arc::clone(&clock), &settings).await;
    let client = cluster.client("hdfs").await;
    let creating = (0..FILES).map(|number| client.call::<_, ()>("create", request_of("dead", &format!("/d/{number}"))));
    for created in futures::future::join_all(creating).await {
        created.expect("create");
    }
    client.create("/kept", 1).await.expect("create");
    assert_eq!(open_files(&client, None, &[]).await.len(), FILES + 1);
    for _ in 0..60 {
        clock.advance(Duration::from_secs(20));
        renew(&client).await;
    }
    let closing = async {
        while !open_files(&client, Some("/d"), &[OpenFilesTypeProto::AllOpenFiles])
            .await
            .is_empty()
        {
            clock.advance(Duration::from_secs(1));
            renew(&client).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), closing)
        .await
        .expect("never closed");
    let left = open_files(&client, None, &[]).await;
    assert_eq!((left.len(), left[0].path.as_str()), (1, "/kept"));
    assert_eq!(left[0].client_name, "DFSClient_test");
    assert!(client.complete("/kept", None).await.expect("its writer lives"));
}

#[tokio::test]
async fn the_name_node_holds_what_it_recovers_under_a_dated_name() {
    let clock = Arc::new(ManualClock::new(TimeMs(1_700_000_000_000)));
    // The DataNodes, which send no heartbeats, count as live for hours.
    let settings = [("dfs.namenode.heartbeat.recheck-interval", "3600000")];
    let cluster = Cluster::start_at(Arc::clone(&clock), &settings).await;
    cluster.add_datanodes(3);
    let client = cluster.client("hdfs").await;
    let id = client.create("/f", 1).await.expect("create").file_id();
    let _: AddBlockResponseProto = client
        .call("addBlock", add_block("DFSClient_test", "/f", id, None))
        .await
        .expect("a block");
    let taken = async {
        loop {
            clock.advance(Duration::from_secs(30));
            let open = open_files(&client, None, &[]).await;
            if open[0].client_name != "DFSClient_test" {
                return open[0].client_name.clone();
            }
        }
    };
    let holder = tokio::time::timeout(Duration::from_secs(20), taken)
        .await
        .expect("never taken");
    assert!(holder.starts_with("HDFS_NameNode-20"), "{holder}");
    let refused = client
        .call::<_, ()>("addBlock", add_block("DFSClient_test", "/f", id, None))
        .await
        .expect_err("the old writer is out");
    assert_eq!(refused.kind, ErrorKind::LeaseExpired);
}

/// covers: LM-16, LM-35, LM-36
#[tokio::test]
async fn leases_follow_renames_and_deletes_and_survive_a_restart() {
    let mut cluster = Cluster::start().await;
    cluster.add_datanodes(3);
    let client = cluster.client("hdfs").await;
    let kept = client.create("/a/b/kept", 1).await.expect("create").file_id();
    let gone = client.create("/a/gone/f", 1).await.expect("create").file_id();
    let added: AddBlockResponseProto = client
        .call("addBlock", add_block("DFSClient_test", "/a/b/kept", kept, None))
        .await
        .expect("a block");
    let first = ExtendedBlockProto {
        num_bytes: Some(10),
        ..added.block.b.clone()
    };
    let rename = Rename2RequestProto {
        src: "/a/b".to_owned(),
        dst: "/moved".to_owned(),
        overwrite_dest: false,
        move_to_trash: None,
    };
    client.call::<_, ()>("rename2", rename).await.expect("renamed");
    let delete = DeleteRequestProto {
        src: "/a/gone".to_owned(),
        recursive: true,
    };
    client.call::<_, ()>("delete", delete).await.expect("deleted");
    let listed = open_files(&client, None, &[]).await;
    assert_eq!((listed.len(), listed[0].path.as_str()), (1, "/moved/kept"));
    let refused = client
        .call::<_, ()>("addBlock", add_block("DFSClient_test", "/a/gone/f", gone, None))
        .await
        .expect_err("deleted");
    assert_eq!(
        refused.first_line(),
        format!("File does not exist: /a/gone/f (inode {gone}) [Lease.  Holder: DFSClient_test, pending creates: 1]")
    );
    cluster = cluster.restart().await;
    cluster.add_datanodes(3);
    let client = cluster.client("hdfs").await;
    assert_eq!(
        open_files(&client, None, &[]).await,
        listed,
        "no open file is without its lease"
    );
    let state = &cluster.node.shared().state;
    assert_eq!(state.leases.lock().file_count(), 1);
    assert!(
        state.leases.lock().renew("DFSClient_test", state.now()),
        "it may go on renewing"
    );
    cluster.report_received(&added.block, 10);
    // The writer names the path it knows, and the inode.
    let second: AddBlockResponseProto = client
        .call("addBlock", add_block("DFSClient_test", "/a/b/kept", kept, Some(first)))
        .await
        .expect("the writer goes on");
    cluster.report_received(&second.block, 7);
    let complete = CompleteRequestProto {
        src: "/a/b/kept".to_owned(),
        client_name: "DFSClient_test".to_owned(),
        last: Some(ExtendedBlockProto {
            num_bytes: Some(7),
            ..second.block.b
        }),
        file_id: Some(kept),
    };
    let completed: CompleteResponseProto = client.call("complete", complete).await.expect("complete");
    assert!(completed.result && is_closed(&client, "/moved/kept").await);
    assert_eq!(state.leases.lock().file_count(), 0);
}

#[tokio::test]
async fn open_files_are_listed_below_a_path_and_by_type() {
    let cluster = Cluster::start_with(&[("dfs.namenode.list.openfiles.num.responses", "2")]).await;
    let client = cluster.client("hdfs").await;
    for path in ["/d/1", "/d/2", "/d/3", "/d/4", "/dd/5"] {
        client.create(path, 1).await.expect("create");
    }
    let names = async |path: Option<&str>| {
        let listed = open_files(&client, path, &[OpenFilesTypeProto::AllOpenFiles]).await;
        listed.into_iter().map(|entry| entry.path).collect::<Vec<_>>()
    };
    assert_eq!(names(None).await.len(), 5);
    assert_eq!(names(Some("/")).await.len(), 5);
    assert_eq!(names(Some("/d")).await, ["/d/1", "/d/2", "/d/3", "/d/4"]);
    assert_eq!(names(Some("/dd/")).await, ["/dd/5"]);
    assert_eq!(names(Some("/dd/5")).await, ["/dd/5"]);
    let blocking = open_files(&client, None, &[OpenFilesTypeProto::BlockingDecommission]).await;
    assert_eq!(blocking, [], "no node leaves");
    let request = ListOpenFilesRequestProto {
        id: 0,
        types: vec![1],
        path: Some("d".to_owned()),
    };
    let class = "java.lang.IllegalArgumentException";
    client
        .refused("listOpenFiles", request, class, "Absolute path required, but got 'd'")
        .await;
}

#[tokio::test]
async fn replacing_nodes_of_a_pipeline_can_be_switched_off() {
    let key = "dfs.client.block.write.replace-datanode-on-failure.enable";
    let cluster = Cluster::start_with(&[(key, "false")]).await;
    let client = cluster.client("hdfs").await;
    let request = GetAdditionalDatanodeRequestProto {
        src: "/f".to_owned(),
        num_additional_nodes: 1,
        client_name: "DFSClient_test".to_owned(),
        ..GetAdditionalDatanodeRequestProto::default()
    };
    let class = "java.lang.UnsupportedOperationException";
    let line = format!("This feature is disabled.  Please refer to {key} configuration property.");
    client.refused("getAdditionalDatanode", request, class, &line).await;
}
