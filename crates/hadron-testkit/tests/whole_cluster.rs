//! The parts together in one process: files in and out, nodes stopped and started.

use hadron_client::{CreateOptions, HadronFs};
use hadron_testkit::{Cluster, eventually, path, pattern, read};
use hadron_types::ErrorKind;

async fn write(fs: &HadronFs, name: &str, content: &[u8], options: CreateOptions) {
    let mut writer = fs.create(&path(name), options).await.expect("create");
    writer.write_all(content).await.expect("write");
    writer.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_in_comes_out() {
    let cluster = Cluster::builder().datanodes(3).start().await.expect("a cluster");
    let fs = cluster.client().await.expect("a client");
    for len in [0, 1, 512, 65_536, 3_000_001] {
        let name = format!("/sizes/{len}");
        let options = CreateOptions {
            block_size: Some(1 << 20),
            ..CreateOptions::default()
        };
        write(&fs, &name, &pattern(len), options).await;
        assert_eq!(read(&fs, &name).await.expect("read"), pattern(len), "{len} bytes");
        assert_eq!(fs.existing_status(&path(&name)).await.expect("status").len, len as u64);
    }
    assert!(fs.rename(&path("/sizes/512"), &path("/moved")).await.expect("rename"));
    assert_eq!(read(&fs, "/moved").await.expect("read").len(), 512);
    assert!(fs.delete(&path("/sizes"), true).await.expect("delete"));
    let gone = read(&fs, "/sizes/1").await.expect_err("it is gone");
    assert_eq!(gone.kind(), Some(ErrorKind::FileNotFound));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_what_was_answered() {
    let mut cluster = Cluster::builder().datanodes(2).start().await.expect("a cluster");
    let fs = cluster.client().await.expect("a client");
    write(&fs, "/kept", &pattern(100_000), CreateOptions::default()).await;
    drop(fs);
    cluster.stop_namenode().await;
    cluster.start_namenode().await.expect("starts again");
    cluster.wait_ready(2).await.expect("ready again");
    let fs = cluster.client().await.expect("a client");
    assert_eq!(read(&fs, "/kept").await.expect("read"), pattern(100_000));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_datanode_is_made_good() {
    let builder = Cluster::builder()
        .datanodes(3)
        .set("dfs.replication", 2)
        .set("dfs.heartbeat.interval", "100ms")
        .set("dfs.namenode.heartbeat.recheck-interval", "100");
    let mut cluster = builder.start().await.expect("a cluster");
    let fs = cluster.client().await.expect("a client");
    write(&fs, "/file", &pattern(500_000), CreateOptions::default()).await;
    let located = fs
        .block_locations(&path("/file"), 0, u64::MAX >> 1)
        .await
        .expect("locations");
    let lost = located[0].locations[0].datanode_uuid.clone();
    let number = (0..3)
        .find(|number| cluster.datanode(*number).uuid().as_str() == lost)
        .expect("one of ours");
    cluster.stop_datanode(number).await;
    eventually("the block has two replicas elsewhere", || async {
        let located = fs.block_locations(&path("/file"), 0, u64::MAX >> 1).await.ok()?;
        let places = &located[0].locations;
        (places.len() == 2 && places.iter().all(|place| place.datanode_uuid != lost)).then_some(())
    })
    .await;
    assert_eq!(read(&fs, "/file").await.expect("read"), pattern(500_000));
    cluster.shutdown().await;
}

/// covers: WP-09
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_says_nothing_keeps_its_pipeline() {
    let builder = Cluster::builder()
        .datanodes(3)
        .set("dfs.heartbeat.interval", "100ms")
        .set("dfs.client.socket-timeout", "1s");
    let cluster = builder.start().await.expect("a cluster");
    let fs = cluster.client().await.expect("a client");
    let mut writer = fs
        .create(&path("/idle"), CreateOptions::default())
        .await
        .expect("create");
    writer.write_all(&pattern(1000)).await.expect("write");
    writer.hflush().await.expect("flush");
    let stamps = || -> Vec<_> {
        let replicas = cluster.replicas(0..3);
        replicas
            .iter()
            .map(|(node, block, _)| (*node, block.generation_stamp))
            .collect()
    };
    let before = stamps();
    assert_eq!(before.len(), 3);
    // The last DataNode waits for 1 s and 5 s beyond.
    let beats = || cluster.datanode(0).metrics().heartbeats.get();
    let end = beats() + 80;
    eventually("time goes by", || async { (beats() >= end).then_some(()) }).await;
    writer.write_all(&pattern(1000)).await.expect("write on");
    writer.hflush().await.expect("flush again");
    assert_eq!(stamps(), before, "the pipeline was never rebuilt");
    writer.close().await.expect("close");
    assert_eq!(
        read(&fs, "/idle").await.expect("read"),
        [pattern(1000), pattern(1000)].concat()
    );
    cluster.shutdown().await;
}
