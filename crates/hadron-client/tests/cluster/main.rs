//! The client against real daemons in this process: what goes in comes out, whatever happens to one DataNode.
#![allow(clippy::unwrap_used)] // helpers of tests, too

mod writing;

use hadron_client::{CreateOptions, FileWriter, FsError, HadronFs, ReportKind};
use hadron_datanode::DataNode;
use hadron_env::Configuration;
use hadron_namenode::NameNode;
use hadron_types::{ErrorKind, FsPath, FsPermission};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BLOCK: u64 = 256 * 512;
const PATIENCE: Duration = Duration::from_secs(60);

struct Cluster {
    fs: HadronFs,
    datanodes: Vec<Option<DataNode>>,
    _namenode: NameNode,
    dir: TempDir,
}

fn configuration() -> Configuration {
    let mut conf = Configuration::new();
    conf.set("dfs.blocksize", BLOCK.to_string())
        .set("dfs.namenode.fs-limits.min-block-size", "1")
        .set("dfs.namenode.http-address", "127.0.0.1:0")
        .set("dfs.namenode.safemode.extension", "0")
        .set("dfs.datanode.address", "127.0.0.1:0")
        .set("dfs.datanode.ipc.address", "127.0.0.1:0")
        .set("dfs.datanode.http.address", "127.0.0.1:0")
        .set("dfs.heartbeat.interval", "1")
        .set("dfs.client.retry.window.base", "10")
        .set("dfs.client.block.write.locateFollowingBlock.initial.delay.ms", "20");
    conf
}

impl Cluster {
    async fn start(count: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let mut conf = configuration();
        conf.set("fs.defaultFS", "hdfs://127.0.0.1:0")
            .set("dfs.namenode.name.dir", dir.path().join("name").display().to_string());
        let formatting = conf.clone();
        let env = hadron_namenode::Env::system();
        tokio::task::spawn_blocking(move || hadron_namenode::format(&formatting, &env, None, false))
            .await
            .unwrap()
            .unwrap();
        let namenode = NameNode::start(conf.clone()).await.unwrap();
        let url = format!("hdfs://{}", namenode.rpc_addr());
        conf.set("fs.defaultFS", &url);
        let mut datanodes = Vec::new();
        for index in 0..count {
            conf.set(
                "dfs.datanode.data.dir",
                data_dir(dir.path(), index).display().to_string(),
            );
            let datanode = DataNode::start(&conf).await.unwrap();
            datanode.wait_registered().await;
            datanodes.push(Some(datanode));
        }
        let user = conf.user_name().to_owned();
        let fs = HadronFs::connect_as(&conf, None, &user).await.unwrap();
        eventually("the DataNodes", async || {
            fs.datanodes(ReportKind::Live)
                .await
                .is_ok_and(|live| live.len() == count)
        })
        .await;
        Self {
            fs,
            datanodes,
            _namenode: namenode,
            dir,
        }
    }

    async fn create(&self, name: &str) -> FileWriter {
        let options = CreateOptions {
            replication: Some(self.datanodes.len().min(3) as u32),
            ..CreateOptions::default()
        };
        self.fs.create(&path(name), options).await.unwrap()
    }

    async fn put(&self, name: &str, data: &[u8]) {
        let mut writer = self.create(name).await;
        writer.write_all(data).await.unwrap();
        writer.close().await.unwrap();
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, FsError> {
        let mut reader = self.fs.open(&path(name)).await?;
        let mut all = Vec::new();
        loop {
            let chunk = reader.next_chunk().await?;
            if chunk.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(&chunk);
        }
    }

    /// Stops the DataNode that listens at `addr`.
    async fn kill(&mut self, addr: &str) {
        for slot in &mut self.datanodes {
            if slot.as_ref().is_some_and(|node| node.xfer_addr().to_string() == addr)
                && let Some(node) = slot.take()
            {
                node.shutdown().await;
            }
        }
    }

    /// Where the replicas of the file's first block are, nearest first, and the block's file name.
    async fn replicas(&self, name: &str) -> (Vec<String>, String) {
        let blocks = self.fs.block_locations(&path(name), 0, u64::MAX >> 1).await.unwrap();
        let first = &blocks[0];
        let addrs = first.locations.iter().map(|location| location.addr.clone()).collect();
        (addrs, format!("blk_{}", first.block.block.id))
    }
}

fn data_dir(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("data{index}"))
}

/// Polls until `check` holds; only for what happens in other tasks on their own clock.
async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::task::yield_now().await;
    }
}

fn path(text: &str) -> FsPath {
    FsPath::parse(text).unwrap()
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + index / 256) as u8).collect()
}

fn find(dir: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, name, found);
        } else if entry.file_name() == name {
            found.push(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_around_every_border_come_back() {
    // covers: WP-01, WP-10, WP-30
    let cluster = Cluster::start(3).await;
    let block = BLOCK as usize;
    for len in [
        0,
        1,
        511,
        512,
        513,
        64511,
        64512,
        64513,
        block - 1,
        block,
        block + 1,
        2 * block,
        2 * block + 777,
    ] {
        let name = format!("/borders/f{len}");
        let data = data(len);
        cluster.put(&name, &data).await;
        assert_eq!(cluster.get(&name).await.unwrap(), data, "{len}");
        let status = cluster.fs.existing_status(&path(&name)).await.unwrap();
        assert_eq!((status.len, status.replication), (len as u64, 3));
        let blocks = cluster
            .fs
            .block_locations(&path(&name), 0, len as u64 + 1)
            .await
            .unwrap();
        assert_eq!(blocks.len(), len.div_ceil(block));
    }
    let reader = cluster
        .fs
        .open(&path(&format!("/borders/f{}", 2 * block)))
        .await
        .unwrap();
    let data = data(2 * block);
    for (offset, len) in [(0, 1), (511, 2), (block - 3, 7), (block, block), (2 * block - 1, 10)] {
        let end = data.len().min(offset + len);
        assert_eq!(reader.read_at(offset as u64, len).await.unwrap(), data[offset..end]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_can_be_looked_at_and_changed() {
    let cluster = Cluster::start(1).await;
    let fs = &cluster.fs;
    cluster.put("/a/b/f", &data(1000)).await;
    assert!(
        fs.mkdirs(&path("/a/d"), FsPermission::from_wire(0o777), true)
            .await
            .unwrap()
    );
    let mode = fs.existing_status(&path("/a/d")).await.unwrap().permission;
    assert_eq!(mode, FsPermission::from_wire(0o755));
    let summary = fs.content_summary(&path("/a")).await.unwrap();
    assert_eq!((summary.len, summary.file_count, summary.directory_count), (1000, 1, 3));
    assert!(
        fs.rename(&path("/a/b/f"), &path("/a/d")).await.unwrap(),
        "moves into a directory"
    );
    let names: Vec<_> = fs
        .list_all(&path("/a/d"))
        .await
        .unwrap()
        .iter()
        .map(|file| file.name().to_owned())
        .collect();
    assert_eq!(names, ["f"]);
    cluster.put("/a/g", b"g").await;
    let taken = fs
        .rename_exact(&path("/a/g"), &path("/a/d/f"), false)
        .await
        .unwrap_err();
    assert_eq!(taken.kind(), Some(ErrorKind::FileAlreadyExists));
    fs.rename_exact(&path("/a/g"), &path("/a/d/f"), true).await.unwrap();
    assert_eq!(cluster.get("/a/d/f").await.unwrap(), b"g");
    assert_eq!(
        fs.delete(&path("/a"), false).await.unwrap_err().kind(),
        Some(ErrorKind::PathIsNotEmptyDirectory)
    );
    assert!(fs.delete(&path("/a"), true).await.unwrap());
    assert!(!fs.delete(&path("/a"), true).await.unwrap());
    assert_eq!(fs.status(&path("/a")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_at_another_replica() {
    let mut cluster = Cluster::start(3).await;
    let data = data(3 * BLOCK as usize);
    cluster.put("/f", &data).await;
    let mut reader = cluster.fs.open(&path("/f")).await.unwrap();
    let mut read = reader.next_chunk().await.unwrap().to_vec();
    let (addrs, _) = cluster.replicas("/f").await;
    cluster.kill(&addrs[0]).await;
    loop {
        let chunk = reader.next_chunk().await.unwrap();
        if chunk.is_empty() {
            break;
        }
        read.extend_from_slice(&chunk);
    }
    assert!(read == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_replicas_are_passed_over() {
    let cluster = Cluster::start(3).await;
    let data = data(BLOCK as usize / 2);
    cluster.put("/f", &data).await;
    let (_, block) = cluster.replicas("/f").await;
    let mut files = Vec::new();
    find(cluster.dir.path(), &block, &mut files);
    assert_eq!(files.len(), 3);
    for file in &files[..2] {
        let mut bytes = std::fs::read(file).unwrap();
        bytes[5000] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
    for _ in 0..5 {
        assert!(cluster.get("/f").await.unwrap() == data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_node_lost_in_mid_write_is_replaced() {
    // covers: WP-17
    for victim in 0..3 {
        let mut cluster = Cluster::start(4).await;
        let data = data(2 * BLOCK as usize - 1000);
        let (first, rest) = data.split_at(100_000);
        let mut writer = cluster.create("/f").await;
        writer.write_all(first).await.unwrap();
        // Others may rely on the bytes from here on, so the lost node must be replaced and get the replica.
        writer.hflush().await.unwrap();
        let (before, _) = cluster.replicas("/f").await;
        cluster.kill(&before[victim]).await;
        writer.write_all(rest).await.unwrap();
        writer.close().await.unwrap();
        let (after, _) = cluster.replicas("/f").await;
        assert_eq!(after.len(), 3);
        assert!(!after.contains(&before[victim]));
        assert!(cluster.get("/f").await.unwrap() == data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_bytes_are_seen_by_new_readers() {
    // covers: WP-46
    let cluster = Cluster::start(2).await;
    let data = data(BLOCK as usize + 700);
    let mut writer = cluster.create("/f").await;
    let mut written = 0;
    for len in [3, 509, 1, 1000, BLOCK as usize - 1513, 10, 690] {
        writer.write_all(&data[written..written + len]).await.unwrap();
        written += len;
        writer.hflush().await.unwrap();
        assert!(cluster.get("/f").await.unwrap() == data[..written], "{written}");
    }
    writer.hsync(true).await.unwrap();
    writer.close().await.unwrap();
    assert!(cluster.get("/f").await.unwrap() == data[..written]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_writers_leave_nothing_behind() {
    // covers: WP-27
    let cluster = Cluster::start(1).await;
    for turn in 0..20 {
        let mut writer = cluster.create(&format!("/f{turn}")).await;
        writer.write_all(&data(turn * 5000)).await.unwrap();
        drop(writer);
    }
    eventually("the streams' tasks", async || cluster.fs.open_writers() == 0).await;
    let datanode = cluster.datanodes[0].as_ref().unwrap();
    eventually("the DataNode's threads", async || datanode.active_transfers() == 0).await;
    // Another writer may not take the file while the lease is fresh.
    let taken = cluster
        .fs
        .create(&path("/f1"), CreateOptions::default())
        .await
        .unwrap_err();
    assert_eq!(taken.kind(), Some(ErrorKind::AlreadyBeingCreated));
    let overwrite = CreateOptions {
        overwrite: true,
        replication: Some(1),
        ..CreateOptions::default()
    };
    let mut writer = cluster.fs.create(&path("/f1"), overwrite).await.unwrap();
    writer.write_all(b"new").await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(cluster.get("/f1").await.unwrap(), b"new");
}
