//! The `/fsck` page, as `hdfs fsck` reads it.

mod common;

use common::{Client, Cluster, OWNER};
use hadron_proto::hdfs::{
    AddBlockRequestProto, AddBlockResponseProto, ExtendedBlockProto, MkdirsRequestProto, MkdirsResponseProto,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn page(cluster: &Cluster, target: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(cluster.node.http_addr())
        .await
        .expect("connect");
    let request = format!("GET {target} HTTP/1.0\r\nHost: x\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("send");
    let mut text = String::new();
    socket.read_to_string(&mut text).await.expect("receive");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(" 200 "), "{head}");
    body.to_owned()
}

async fn write(cluster: &Cluster, client: &Client, path: &str, reported: bool) {
    client.create(path, 1).await.expect("create");
    let request = AddBlockRequestProto {
        src: path.to_owned(),
        client_name: "DFSClient_test".to_owned(),
        ..AddBlockRequestProto::default()
    };
    let added: AddBlockResponseProto = client.call("addBlock", request).await.expect("add block");
    if reported {
        cluster.report_received(&added.block, 500);
        let last = ExtendedBlockProto {
            num_bytes: Some(500),
            ..added.block.b.clone()
        };
        assert!(client.complete(path, Some(last)).await.expect("complete"));
    }
}

#[tokio::test]
async fn the_check_tells_what_hdfs_fsck_prints() {
    let cluster = Cluster::start().await;
    cluster.add_datanodes(3);
    let hdfs = cluster.client(OWNER).await;
    let request = MkdirsRequestProto {
        src: "/d/e".to_owned(),
        masked: common::permission(0o755),
        create_parent: true,
        unmasked: None,
    };
    let _: MkdirsResponseProto = hdfs.call("mkdirs", request).await.expect("mkdirs");
    write(&cluster, &hdfs, "/d/f", true).await;
    write(&cluster, &hdfs, "/d/open", false).await;
    hdfs.touch("/d/e/empty").await;
    let text = page(&cluster, "/fsck?ugi=hdfs&path=%2Fd").await;
    for part in [
        "FSCK started by hdfs (auth:SIMPLE) from /127.0.0.1 for path /d at ",
        "Status: HEALTHY\n Number of data-nodes:\t3\n Number of racks:\t\t1\n Total dirs:\t\t\t2\n Total symlinks:\t\t0\n",
        " Total size:\t500 B\n Total files:\t2 (Files currently being written: 1)\n Total blocks (validated):\t1 (avg. \
         block size 500 B)\n Minimally replicated blocks:\t1 (100.0 %)\n",
        " Average block replication:\t3.0\n",
        "FSCK ended at ",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(
        text.ends_with("\n\n\nThe filesystem under path '/d' is HEALTHY"),
        "{text}"
    );
    let text = page(&cluster, "/fsck?ugi=hdfs&path=/d&files=1&blocks=1&locations=1").await;
    let lines: Vec<&str> = text.lines().collect();
    let at = lines
        .iter()
        .position(|line| *line == "/d <dir>")
        .expect("the directory");
    assert_eq!(lines[at + 1], "/d/e <dir>");
    assert_eq!(
        lines[at + 2],
        "/d/e/empty 0 bytes, replicated: replication=3, 0 block(s):  OK"
    );
    assert_eq!(
        lines[at + 4],
        "/d/f 500 bytes, replicated: replication=3, 1 block(s):  OK"
    );
    assert!(lines[at + 5].starts_with("0. BP-"), "{}", lines[at + 5]);
    assert!(
        lines[at + 5].contains(" len=500 Live_repl=3  [DatanodeInfoWithStorage[127.0.1."),
        "{}",
        lines[at + 5]
    );
    let text = page(&cluster, "/fsck?ugi=hdfs&path=/none").await;
    assert!(text.ends_with("\n\nPath '/none' does not exist"), "{text}");
    let text = page(
        &cluster,
        "/fsck?ugi=hdfs&path=/&listcorruptfileblocks=1&startblockafter=0",
    )
    .await;
    assert!(text.contains("Cookie:\t0\n"), "{text}");
    assert!(
        text.contains("The filesystem under path '/' has no CORRUPT files"),
        "{text}"
    );
    let text = page(&cluster, "/fsck?ugi=alice&path=/&blockId=blk_1").await;
    assert!(
        text.contains("Access denied for user alice. Superuser privilege is required"),
        "{text}"
    );
    let text = page(&cluster, "/fsck?ugi=hdfs&path=/&blockId=blk_1%20what").await;
    assert!(text.contains("Block blk_1 does not exist"), "{text}");
    assert!(text.contains("Incorrect blockId format: what"), "{text}");
}

#[tokio::test]
async fn a_wide_and_deep_tree_is_walked_to_its_end() {
    let cluster = Cluster::start_with(&[("dfs.namenode.fs-limits.max-directory-items", "100000")]).await;
    let hdfs = cluster.client(OWNER).await;
    let mut calls = Vec::new();
    for number in 0..1203 {
        let request = MkdirsRequestProto {
            src: format!("/wide/d{number}/x"),
            masked: common::permission(0o755),
            create_parent: true,
            unmasked: None,
        };
        calls.push(hdfs.call::<_, MkdirsResponseProto>("mkdirs", request));
    }
    for made in futures::future::join_all(calls).await {
        made.expect("mkdirs");
    }
    let text = page(&cluster, "/fsck?ugi=hdfs&path=/").await;
    assert!(text.contains("Total dirs:\t\t\t2408\n"), "{text}");
}
