//! The client against NameNode and DataNodes in this process that do as a script says.
#![allow(clippy::unwrap_used)]

mod datanode;
mod faults;
mod leaks;
mod namenode;
mod options;
mod spans;

use datanode::{DataNode, Faults};
use hadron_client::{ClientSettings, CreateOptions, FileWriter, FsError, HadronFs};
use hadron_env::Configuration;
use hadron_proto::hdfs::op_write_block_proto::BlockConstructionStage;
use hadron_types::{ErrorKind, FsPath, FsPermission, HadoopError};
use namenode::NameNode;
use std::io::SeekFrom;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

const BLOCK: u64 = 200 * 512;

struct Cluster {
    namenode: NameNode,
    datanodes: Vec<DataNode>,
    fs: HadronFs,
}

impl Cluster {
    async fn start(count: usize) -> Self {
        Self::start_with(count, |_| {}, |_| {}).await
    }

    /// With more configuration, and settings that have no key.
    async fn start_with(
        count: usize,
        configure: impl FnOnce(&mut Configuration),
        set: impl FnOnce(&mut ClientSettings),
    ) -> Self {
        let mut datanodes = Vec::new();
        for index in 0..count {
            datanodes.push(DataNode::start(&format!("dn{index}")).await);
        }
        let namenode = NameNode::start(&datanodes).await;
        let mut conf = Configuration::new();
        conf.set("dfs.blocksize", BLOCK.to_string())
            .set("dfs.client.retry.window.base", "1")
            .set("dfs.client.block.write.locateFollowingBlock.initial.delay.ms", "1")
            .set("ipc.client.connect.max.retries", "0")
            .set("dfs.client.retry.max.attempts", "3");
        configure(&mut conf);
        let mut settings = ClientSettings::from_configuration(&conf).unwrap();
        set(&mut settings);
        let fs = HadronFs::connect_with(&conf, Some(&namenode.url()), "alice", settings)
            .await
            .unwrap();
        Self {
            namenode,
            datanodes,
            fs,
        }
    }

    async fn create(&self, name: &str) -> FileWriter {
        self.fs.create(&path(name), CreateOptions::default()).await.unwrap()
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

    /// Checks that each replica of the file, as the NameNode knows them, holds its part of `data`.
    fn check_replicas(&self, name: &str, data: &[u8], nodes: usize) {
        let file = self.namenode.state.lock().files[name].clone();
        assert!(file.closed);
        let mut rest = data;
        for (block, uuids) in &file.blocks {
            let (part, after) = rest.split_at(block.num_bytes() as usize);
            rest = after;
            assert_eq!(uuids.len(), nodes);
            for node in self.datanodes.iter().filter(|node| uuids.contains(&node.uuid)) {
                let replica = node.store.replicas.lock()[&block.block_id].clone();
                assert!(replica.finalized && replica.data == part, "{} of {name}", node.uuid);
                assert_eq!(replica.stamp, block.generation_stamp);
            }
        }
        assert!(rest.is_empty());
    }
}

fn path(text: &str) -> FsPath {
    FsPath::parse(text).unwrap()
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + index / 256) as u8).collect()
}

#[tokio::test]
async fn files_of_every_size_come_back() {
    // covers: WP-01, WP-02, WP-10, WP-30
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
        3 * block + 77,
    ] {
        let name = format!("/f{len}");
        let data = data(len);
        let mut writer = cluster.create(&name).await;
        // In pieces that fit nothing.
        for piece in data.chunks(1013) {
            writer.write_all(piece).await.unwrap();
        }
        writer.close().await.unwrap();
        writer.close().await.unwrap();
        cluster.check_replicas(&name, &data, 3);
        assert_eq!(cluster.get(&name).await.unwrap(), data, "{len}");
    }
    assert_eq!(cluster.fs.open_writers(), 0);
}

#[tokio::test]
async fn an_empty_file_has_no_block() {
    let cluster = Cluster::start(1).await;
    cluster.put("/empty", b"").await;
    assert_eq!(cluster.namenode.count("addBlock"), 0);
    assert_eq!(cluster.namenode.count("complete"), 1);
}

#[tokio::test]
async fn reads_start_anywhere() {
    let cluster = Cluster::start(1).await;
    let data = data(3 * BLOCK as usize + 77);
    cluster.put("/f", &data).await;
    let mut reader = cluster.fs.open(&path("/f")).await.unwrap();
    assert_eq!(reader.len(), data.len() as u64);
    let block = BLOCK as usize;
    for (offset, len) in [
        (0, 10),
        (511, 2),
        (block - 1, 2),
        (block + 3, block),
        (data.len() - 5, 50),
        (data.len(), 5),
    ] {
        let expected = &data[offset..data.len().min(offset + len)];
        assert_eq!(
            reader.read_at(offset as u64, len).await.unwrap(),
            expected,
            "{offset} {len}"
        );
        reader.seek(SeekFrom::Start(offset as u64)).await.unwrap();
        let mut buf = vec![0; expected.len()];
        reader.read_exact(&mut buf).await.unwrap();
        assert_eq!(buf, expected, "{offset} {len}");
    }
    reader.seek(SeekFrom::End(-3)).await.unwrap();
    let mut tail = Vec::new();
    reader.read_to_end(&mut tail).await.unwrap();
    assert_eq!(tail, data[data.len() - 3..]);
    assert!(reader.seek(SeekFrom::Start(0)).await.is_ok());
    assert!(reader.seek(SeekFrom::Current(-1)).await.is_err());
}

#[tokio::test]
async fn connections_are_used_again() {
    let cluster = Cluster::start(1).await;
    let data = data(5000);
    cluster.put("/f", &data).await;
    let before = *cluster.datanodes[0].store.connections.lock();
    let reader = cluster.fs.open(&path("/f")).await.unwrap();
    for _ in 0..5 {
        assert_eq!(reader.read_at(100, 1000).await.unwrap(), data[100..1100]);
    }
    assert_eq!(*cluster.datanodes[0].store.connections.lock(), before + 1);
    assert_eq!(cluster.fs.idle_connections(), 1);
}

#[tokio::test]
async fn a_node_lost_in_mid_write_is_left_behind() {
    // covers: WP-16, WP-17, WP-22
    for victim in 0..3 {
        for after in [0, 1, 2, 3] {
            let cluster = Cluster::start(3).await;
            cluster.datanodes[victim].fault(Faults {
                die_after_packets: Some(after),
                ..Faults::default()
            });
            let data = data(BLOCK as usize - 100);
            let mut writer = cluster.create("/f").await;
            writer.write_all(&data).await.unwrap();
            writer
                .close()
                .await
                .unwrap_or_else(|error| panic!("{victim} {after}: {error}"));
            cluster.check_replicas("/f", &data, 2);
            assert!(cluster.namenode.count("updatePipeline") >= 1);
            // covers: WP-14
            let survivor = &cluster.datanodes[(victim + 1) % 3];
            // The fourth packet is the last one.
            let recovery = match after {
                3 => BlockConstructionStage::PipelineCloseRecovery,
                _ => BlockConstructionStage::PipelineSetupStreamingRecovery,
            };
            let stages = survivor.store.stages.lock().clone();
            assert_eq!(stages, [BlockConstructionStage::PipelineSetupCreate, recovery]);
        }
    }
}

#[tokio::test]
async fn a_refused_token_is_fetched_again_once() {
    let data = data(3000);
    for (refusals, nodes, fetches) in [
        // The only replica is not given up for an old token.
        (1, 1, 2),
        // A second refusal counts as a failed replica; the other one is read with the token at hand.
        (2, 2, 2),
    ] {
        let cluster = Cluster::start(nodes).await;
        cluster.put("/f", &data).await;
        cluster.datanodes[0].fault(Faults {
            refuse_read_tokens: refusals,
            ..Faults::default()
        });
        let before = cluster.namenode.count("getBlockLocations");
        assert_eq!(cluster.get("/f").await.unwrap(), data, "{refusals} refusals");
        let asked = cluster.namenode.count("getBlockLocations") - before;
        assert_eq!(asked, fetches, "{refusals} refusals");
    }
}

#[tokio::test]
async fn the_last_node_lost_fails_the_write() {
    // covers: WP-23, WP-29, WP-28
    let cluster = Cluster::start(1).await;
    cluster.datanodes[0].fault(Faults {
        die_after_packets: Some(1),
        ..Faults::default()
    });
    let mut writer = cluster.create("/f").await;
    let mut failed = None;
    for _ in 0..1000 {
        if let Err(error) = writer.write_all(&data(64512)).await {
            failed = Some(error);
            break;
        }
    }
    let text = failed.expect("the write fails").to_string();
    let addr = cluster.datanodes[0].addr();
    assert_eq!(
        text,
        format!("All datanodes [DatanodeInfoWithStorage[{addr},DS-dn0,DISK]] are bad. Aborting...")
    );
    assert_eq!(writer.close().await.unwrap_err().to_string(), text);
    assert_eq!(writer.close().await.unwrap_err().to_string(), text);
    assert_eq!(cluster.fs.open_writers(), 0, "the lease is renewed no more");
    assert_eq!(cluster.namenode.count("complete"), 0);
}

#[tokio::test]
async fn a_wrong_seqno_breaks_the_pipeline_and_loses_nothing() {
    // covers: WP-07
    let cluster = Cluster::start(3).await;
    cluster.datanodes[0].fault(Faults {
        wrong_seqno: true,
        ..Faults::default()
    });
    let data = data(3000);
    cluster.put("/f", &data).await;
    cluster.check_replicas("/f", &data, 2);
}

#[tokio::test]
async fn data_that_always_corrupts_fails_after_five_recoveries() {
    // covers: WP-19
    let cluster = Cluster::start(8).await;
    for node in &cluster.datanodes {
        node.fault(Faults {
            always_bad_checksum: true,
            ..Faults::default()
        });
    }
    let mut writer = cluster.create("/f").await;
    writer.write_all(b"data").await.unwrap();
    let error = writer.close().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Failing write. Tried pipeline recovery 5 times without success."
    );
    assert_eq!(cluster.namenode.count("updatePipeline"), 5);
}

#[tokio::test]
async fn a_node_that_refuses_is_excluded_from_the_next_block() {
    // covers: WP-15
    for bad in [0, 1, 2] {
        let cluster = Cluster::start(3).await;
        cluster.datanodes[bad].fault(Faults {
            refuse_set_up: true,
            ..Faults::default()
        });
        let data = data(1000);
        cluster.put("/f", &data).await;
        cluster.check_replicas("/f", &data, 2);
        assert_eq!(cluster.namenode.count("abandonBlock"), 1);
    }
}

#[tokio::test]
async fn blocks_that_cannot_be_made_fail_the_write() {
    let cluster = Cluster::start(6).await;
    for node in &cluster.datanodes {
        node.fault(Faults {
            refuse_set_up: true,
            ..Faults::default()
        });
    }
    let mut writer = cluster.create("/f").await;
    writer.write_all(b"x").await.unwrap();
    let text = writer.close().await.unwrap_err().to_string();
    assert_eq!(text, "Unable to create new block.");
    assert_eq!(cluster.namenode.count("abandonBlock"), 4, "one try and three retries");
}

#[tokio::test]
async fn a_dropped_or_aborted_writer_leaves_nothing() {
    // covers: WP-24, WP-27, WP-31
    let cluster = Cluster::start(3).await;
    for abort in [false, true] {
        let mut writer = cluster.create(&format!("/f{abort}")).await;
        writer.write_all(&data(200_000)).await.unwrap();
        writer.hflush().await.unwrap();
        assert_eq!(cluster.fs.open_writers(), 1);
        if abort {
            writer.abort().await;
        } else {
            drop(writer);
            while cluster.fs.open_writers() > 0 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(cluster.fs.open_writers(), 0);
    }
    assert_eq!(cluster.namenode.count("complete"), 0);
}

#[tokio::test]
async fn flushed_bytes_are_acked_by_every_node() {
    // covers: WP-46
    let cluster = Cluster::start(2).await;
    let mut writer = cluster.create("/f").await;
    let mut written = Vec::new();
    for (turn, len) in [3, 600, 1, 512].into_iter().enumerate() {
        let more = data(len);
        writer.write_all(&more).await.unwrap();
        written.extend(more);
        if turn == 1 {
            writer.hsync(false).await.unwrap();
        } else {
            writer.hflush().await.unwrap();
        }
        let id = cluster.namenode.state.lock().files["/f"].blocks[0].0.block_id;
        for node in &cluster.datanodes {
            let replica = node.store.replicas.lock()[&id].clone();
            assert_eq!(replica.data, written);
            assert_eq!(replica.synced, usize::from(turn >= 1));
        }
    }
    assert_eq!(cluster.namenode.count("fsync"), 1, "the block is made known once");
    let first = cluster.namenode.state.lock().fsync.clone();
    assert_eq!(first.last_block_length, Some(3), "with its length");
    writer.hsync(true).await.unwrap();
    assert_eq!(cluster.namenode.count("fsync"), 2);
    writer.close().await.unwrap();
    cluster.check_replicas("/f", &written, 2);
}

#[tokio::test]
async fn the_name_node_may_say_later() {
    // covers: WP-33
    let cluster = Cluster::start(1).await;
    let not_yet = || HadoopError::new(ErrorKind::NotReplicatedYet, "Not replicated yet: /f");
    cluster.namenode.script("addBlock", [not_yet(), not_yet()]);
    cluster
        .namenode
        .script("create", [HadoopError::new(ErrorKind::Retriable, "starting")]);
    cluster.namenode.state.lock().complete_not_yet = 3;
    cluster.put("/f", b"data").await;
    assert_eq!(cluster.namenode.count("create"), 2);
    assert_eq!(cluster.namenode.count("addBlock"), 3);
    assert_eq!(cluster.namenode.count("complete"), 4);

    cluster.namenode.state.lock().complete_not_yet = 100;
    let mut writer = cluster.create("/g").await;
    writer.write_all(b"data").await.unwrap();
    let text = writer.close().await.unwrap_err().to_string();
    assert!(
        text.starts_with("Unable to close file because the last block"),
        "{text}"
    );
    assert_eq!(cluster.fs.open_writers(), 0);
}

#[tokio::test]
async fn refusals_reach_the_writer() {
    // covers: WP-23, WP-44
    let cluster = Cluster::start(1).await;
    let expired = HadoopError::new(ErrorKind::LeaseExpired, "No lease on /f (inode 5)");
    cluster.namenode.script("addBlock", [expired.clone()]);
    let mut writer = cluster.create("/f").await;
    writer.write_all(b"data").await.unwrap();
    assert_eq!(writer.close().await.unwrap_err().kind(), Some(ErrorKind::LeaseExpired));
    cluster.namenode.script("fsync", [expired.clone()]);
    let mut flushed = cluster.create("/flushed").await;
    flushed.write_all(b"data").await.unwrap();
    for _ in 0..2 {
        assert_eq!(
            flushed.hflush().await.unwrap_err().kind(),
            Some(ErrorKind::LeaseExpired)
        );
    }
    let late = AsyncWriteExt::write_all(&mut writer, b"more").await.unwrap_err();
    assert!(late.to_string().contains("No lease on /f"));

    cluster.put("/g", b"x").await;
    let again = cluster
        .fs
        .create(&path("/g"), CreateOptions::default())
        .await
        .unwrap_err();
    assert_eq!(again.kind(), Some(ErrorKind::FileAlreadyExists));
    assert_eq!(cluster.fs.open_writers(), 0);
    let mut closed = cluster.create("/h").await;
    closed.close().await.unwrap();
    assert!(matches!(closed.write_all(b"x").await, Err(FsError::Closed)));
}

#[tokio::test]
async fn another_replica_serves_when_one_fails() {
    let faults = [
        Faults {
            corrupt_reads: true,
            ..Faults::default()
        },
        Faults {
            break_reads: true,
            ..Faults::default()
        },
    ];
    for fault in faults {
        let cluster = Cluster::start(3).await;
        let data = data(BLOCK as usize + 5000);
        cluster.put("/f", &data).await;
        cluster.datanodes[0].fault(fault);
        cluster.datanodes[1].kill();
        assert_eq!(cluster.get("/f").await.unwrap(), data);
        let bad = cluster.namenode.state.lock().bad_replicas.clone();
        assert_eq!(
            bad.len(),
            usize::from(fault.corrupt_reads),
            "only corrupt replicas are reported"
        );
        assert!(bad.iter().all(|(_, uuid)| uuid == "dn0"));
    }
}

#[tokio::test]
async fn without_a_good_replica_reading_fails_in_time() {
    let cluster = Cluster::start(2).await;
    cluster.put("/f", &data(1000)).await;
    for node in &cluster.datanodes {
        node.kill();
    }
    let error = cluster.get("/f").await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Could not obtain block: BP-1-127.0.0.1-1:blk_"),
        "{error}"
    );
    assert_eq!(
        cluster.namenode.count("getBlockLocations"),
        4,
        "one look and three more rounds"
    );
    assert!(cluster.fs.open(&path("/none")).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_standby_is_left_for_the_active() {
    let (first, second) = (Cluster::start(1).await, Cluster::start(1).await);
    let mut conf = Configuration::new();
    conf.set("dfs.nameservices", "ns").set("dfs.ha.namenodes.ns", "a,b");
    for (id, cluster) in [("a", &first), ("b", &second)] {
        let addr = cluster.namenode.url().trim_start_matches("hdfs://").to_owned();
        conf.set(format!("dfs.namenode.rpc-address.ns.{id}"), addr);
    }
    let standby = HadoopError::new(
        ErrorKind::Standby,
        "Operation category READ is not supported in state standby",
    );
    first.namenode.script("getFileInfo", [standby]);
    let fs = HadronFs::connect_as(&conf, Some("hdfs://ns"), "alice").await.unwrap();
    assert_eq!(fs.status(&path("/f")).await.unwrap(), None);
    assert_eq!(fs.status(&path("/f")).await.unwrap(), None);
    assert_eq!(
        (
            first.namenode.count("getFileInfo"),
            second.namenode.count("getFileInfo")
        ),
        (1, 2)
    );
}

#[tokio::test]
async fn modes_lose_the_umask() {
    let cluster = Cluster::start(1).await;
    cluster.put("/f", b"").await;
    let status = cluster.fs.existing_status(&path("/f")).await.unwrap();
    assert_eq!(status.permission, FsPermission::from_wire(0o644));
}

#[tokio::test]
async fn listings_come_in_pages() {
    let cluster = Cluster::start(1).await;
    for name in ["/a", "/b", "/c", "/d", "/e"] {
        cluster.put(name, b"").await;
    }
    let all = cluster.fs.list_all(&path("/")).await.unwrap();
    let names: Vec<_> = all.iter().map(|status| status.path.as_str()).collect();
    assert_eq!(names, ["/a", "/b", "/c", "/d", "/e"]);
    assert_eq!(cluster.namenode.count("getListing"), 3);
    assert!(cluster.fs.list_all(&path("/none")).await.unwrap_err().is_not_found());
}
