//! Damage on disks through all parts: found by readers, by the block scanner or by the directory scanner, told to the
//! NameNode, and mended.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_client::{CreateOptions, HadronFs};
use hadron_testkit::{Cluster, eventually, path, pattern, read};
use hadron_types::{BlockId, ReplicaState};
use std::fs;
use std::path::{Path, PathBuf};

const NODES: usize = 4;
const LEN: usize = 300_000;

async fn cluster() -> Cluster {
    let builder = Cluster::builder()
        .datanodes(NODES)
        .set("dfs.blocksize", 1 << 20)
        .set("dfs.heartbeat.interval", "100ms")
        .set("dfs.namenode.heartbeat.recheck-interval", "200")
        .set("dfs.namenode.redundancy.interval.seconds", "1")
        .set("dfs.client.retry.window.base", "10")
        .set("dfs.block.scanner.volume.bytes.per.second", "1g");
    builder.start().await.unwrap()
}

/// A file of one block and its replicas.
struct Subject {
    cluster: Cluster,
    fs: HadronFs,
    content: Vec<u8>,
    meta: Vec<u8>,
    id: BlockId,
}

/// Both files of a replica.
struct Files {
    node: usize,
    data: PathBuf,
    meta: PathBuf,
}

impl Subject {
    async fn new() -> Self {
        let cluster = cluster().await;
        let fs = cluster.client().await.unwrap();
        let content = pattern(LEN);
        let mut writer = fs.create(&path("/f"), CreateOptions::default()).await.unwrap();
        writer.write_all(&content).await.unwrap();
        writer.close().await.unwrap();
        let located = fs.block_locations(&path("/f"), 0, LEN as u64).await.unwrap();
        let id = located[0].block.block.id;
        let mut subject = Self {
            cluster,
            fs,
            content,
            meta: Vec::new(),
            id,
        };
        subject.meta = fs::read(&subject.files()[0].meta).unwrap();
        subject.wait_healthy().await;
        subject
    }

    /// The replicas as they lie on disks.
    fn files(&self) -> Vec<Files> {
        let data_name = format!("blk_{}", self.id);
        let mut all = Vec::new();
        for node in 0..NODES {
            let mut found = Vec::new();
            find(&self.cluster.data_dir(node), &data_name, &mut found);
            let named = |wanted: fn(&str) -> bool| {
                let file = found.iter().find(|path| wanted(path.to_str().unwrap()));
                file.cloned()
            };
            let (data, meta) = (
                named(|name| !name.ends_with(".meta")),
                named(|name| name.ends_with(".meta")),
            );
            if let Some(known) = data.clone().or(meta.clone()) {
                all.push(Files {
                    node,
                    data: data.unwrap_or_else(|| known.clone()),
                    meta: meta.unwrap_or(known),
                });
            }
        }
        all
    }

    /// Waits until there are three replicas, all good, on the disks, in the DataNodes and in the NameNode.
    async fn wait_healthy(&self) {
        eventually("three good replicas and no other", || async {
            let files = self.files();
            let good = files.iter().filter(|files| {
                fs::read(&files.data).is_ok_and(|bytes| bytes == self.content)
                    && fs::read(&files.meta).is_ok_and(|bytes| bytes == self.meta)
            });
            let located = self.fs.block_locations(&path("/f"), 0, LEN as u64).await.ok()?;
            let finished = self.cluster.replicas(0..NODES);
            let finished = finished
                .iter()
                .filter(|(_, block, state)| block.id == self.id && *state == ReplicaState::Finalized);
            let counts = (good.count(), files.len(), located[0].locations.len(), finished.count());
            (counts == (3, 3, 3, 3)).then_some(())
        })
        .await;
        assert!(read(&self.fs, "/f").await.unwrap() == self.content);
    }
}

fn find(dir: &Path, prefix: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() {
            find(&path, prefix, found);
        } else if name == prefix || name.starts_with(&format!("{prefix}_")) {
            found.push(path);
        }
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

/// Where a flipped byte lies: in the data, among the checksums, in the meta file's header.
const PLACES: [(&str, usize); 4] = [("data", 100_000), ("data", LEN - 1), ("meta", 7 + 4 * 77), ("meta", 1)];

fn flip_at(files: &Files, (which, at): (&str, usize)) {
    flip(if which == "data" { &files.data } else { &files.meta }, at);
}

// covers: XC-13
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_found_by_readers_and_mended() {
    let subject = Subject::new().await;
    for place in PLACES {
        let rotten = subject.files().swap_remove(0);
        flip_at(&rotten, place);
        // Whoever meets it goes on elsewhere and says so; one without a usable header is read without checksums, and its
        // DataNode looks at it.
        eventually("the rotten replica is given up", || async {
            assert!(read(&subject.fs, "/f").await.unwrap() == subject.content, "{place:?}");
            let still = subject.files().into_iter().find(|files| files.node == rotten.node);
            let same = |files: &Files| fs::read(&files.data).ok().zip(fs::read(&files.meta).ok());
            let rotten = still.and_then(|files| same(&files));
            let is_good = |(data, meta): (Vec<u8>, Vec<u8>)| data == subject.content && meta == subject.meta;
            rotten.is_none_or(is_good).then_some(())
        })
        .await;
        subject.wait_healthy().await;
    }
    subject.cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_found_by_the_block_scanner_and_mended() {
    let subject = Subject::new().await;
    for (number, place) in PLACES.into_iter().enumerate() {
        let rotten = subject.files().swap_remove(number % 3);
        flip_at(&rotten, place);
        // Nobody reads.
        let node = subject.cluster.datanode(rotten.node);
        let failures = node.metrics().verification_failures.get();
        assert!(node.scan_blocks().await);
        assert_eq!(node.metrics().verification_failures.get(), failures + 1, "{place:?}");
        subject.wait_healthy().await;
    }
    for node in 0..NODES {
        let node = subject.cluster.datanode(node);
        let failures = node.metrics().verification_failures.get();
        assert!(node.scan_blocks().await);
        assert_eq!(node.metrics().verification_failures.get(), failures, "all are good");
    }
    subject.cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_found_by_the_directory_scanner_and_mended() {
    type Damage = fn(&Files);
    let damages: [(&str, Damage); 5] = [
        ("data truncated", |files| {
            let file = fs::OpenOptions::new().write(true).open(&files.data).unwrap();
            file.set_len(100_000).unwrap();
        }),
        ("data longer", |files| {
            let file = fs::OpenOptions::new().write(true).open(&files.data).unwrap();
            file.set_len(LEN as u64 + 1).unwrap();
        }),
        ("data deleted", |files| fs::remove_file(&files.data).unwrap()),
        ("meta deleted", |files| fs::remove_file(&files.meta).unwrap()),
        ("both deleted", |files| {
            fs::remove_file(&files.data).unwrap();
            fs::remove_file(&files.meta).unwrap();
        }),
    ];
    let subject = Subject::new().await;
    for (number, (name, damage)) in damages.into_iter().enumerate() {
        let victim = subject.files().swap_remove(number % 3);
        damage(&victim);
        let node = subject.cluster.datanode(victim.node);
        let differences = node.metrics().directory_differences.get();
        assert!(node.scan_directories().await);
        assert_eq!(node.metrics().directory_differences.get(), differences + 1, "{name}");
        subject.wait_healthy().await;
    }
    for node in 0..NODES {
        let node = subject.cluster.datanode(node);
        let differences = node.metrics().directory_differences.get();
        assert!(node.scan_directories().await);
        assert_eq!(
            node.metrics().directory_differences.get(),
            differences,
            "nothing differs"
        );
    }
    subject.cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scanners_leave_writers_alone() {
    let subject = Subject::new().await;
    let mut writer = subject
        .fs
        .create(&path("/open"), CreateOptions::default())
        .await
        .unwrap();
    let content = pattern(2 << 20);
    for part in content.chunks(300_001) {
        writer.write_all(part).await.unwrap();
        writer.hflush().await.unwrap();
        for node in 0..NODES {
            let node = subject.cluster.datanode(node);
            assert!(node.scan_directories().await && node.scan_blocks().await);
        }
    }
    writer.close().await.unwrap();
    assert!(read(&subject.fs, "/open").await.unwrap() == content);
    for node in 0..NODES {
        let metrics = subject.cluster.datanode(node).metrics();
        let found = (metrics.verification_failures.get(), metrics.directory_differences.get());
        assert_eq!(found, (0, 0));
    }
    subject.cluster.shutdown().await;
}
