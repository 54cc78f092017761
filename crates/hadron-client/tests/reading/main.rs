//! Reading against a NameNode and DataNodes in this process that do as a script says.
#![allow(clippy::unwrap_used)]

mod fakes;
mod local;
#[path = "../../src/short_circuit/scripted.rs"]
#[allow(dead_code)] // others use the rest
mod socket;

use fakes::{Block, DataNode, File, NameNode, Visible};
use hadron_client::{FileReader, FsError, HadronFs, HedgedReads};
use hadron_env::Configuration;
use hadron_types::{ErrorKind, FsPath};

const STAMP: u64 = 1001;

struct Cluster {
    namenode: NameNode,
    datanodes: Vec<DataNode>,
    fs: HadronFs,
}

impl Cluster {
    async fn start(count: usize) -> Self {
        Self::start_with(count, &[]).await
    }

    async fn start_with(count: usize, settings: &[(&str, &str)]) -> Self {
        let mut datanodes = Vec::new();
        for number in 0..count {
            datanodes.push(DataNode::start(&format!("dn{number}")).await);
        }
        let namenode = NameNode::start().await;
        let mut conf = Configuration::new();
        conf.set("dfs.client.retry.window.base", "1")
            .set("dfs.client.retry.interval-ms.get-last-block-length", "1");
        for (key, value) in settings {
            conf.set(*key, *value);
        }
        let fs = HadronFs::connect_as(&conf, Some(&namenode.url()), "alice")
            .await
            .unwrap();
        Self {
            namenode,
            datanodes,
            fs,
        }
    }

    /// A block that the given nodes hold, with the length the NameNode tells.
    fn block(&self, id: u64, data: &[u8], len: usize, nodes: &[usize]) -> Block {
        for node in nodes {
            self.datanodes[*node].put(id, STAMP, data);
        }
        Block {
            id,
            stamp: STAMP,
            len: len as u64,
            nodes: nodes.iter().map(|node| self.datanodes[*node].info()).collect(),
        }
    }

    /// What the NameNode tells of the file from now on: one after the other, the last one for good.
    fn versions(&self, versions: impl IntoIterator<Item = File>) {
        self.namenode.state.lock().versions = versions.into_iter().collect();
    }

    /// A closed file of blocks that all nodes hold.
    fn put(&self, blocks: &[&[u8]]) {
        let nodes: Vec<usize> = (0..self.datanodes.len()).collect();
        let block = |(number, data): (usize, &&[u8])| self.block(1 + number as u64, data, data.len(), &nodes);
        let blocks = blocks.iter().enumerate().map(block).collect();
        self.versions([File { blocks, open: false }]);
    }

    async fn open(&self) -> Result<FileReader, FsError> {
        self.fs.open(&FsPath::parse("/f").unwrap()).await
    }

    async fn get(&self) -> Result<Vec<u8>, FsError> {
        read_all(&mut self.open().await?).await
    }

    fn lookups(&self) -> usize {
        self.namenode.state.lock().lookups
    }

    fn reports(&self) -> Vec<(u64, Vec<String>)> {
        self.namenode.state.lock().reports.clone()
    }

    fn reads(&self) -> Vec<usize> {
        self.datanodes.iter().map(DataNode::reads).collect()
    }

    /// Scripts what the nodes say about the length of the open block.
    fn visible(&self, answers: &[&[Visible]]) {
        for (datanode, answers) in self.datanodes.iter().zip(answers) {
            datanode.store.lock().visible = answers.iter().copied().collect();
        }
    }
}

async fn read_all(reader: &mut FileReader) -> Result<Vec<u8>, FsError> {
    let mut all = Vec::new();
    loop {
        let chunk = reader.next_chunk().await?;
        if chunk.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&chunk);
    }
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + index / 256) as u8).collect()
}

// ---- files being written ----

#[tokio::test]
async fn an_open_file_is_as_long_as_a_data_node_says() {
    use Visible::{Len, Refuse};
    let no_replica = Refuse(ErrorKind::ReplicaNotFound);
    for (answers, len, asked) in [
        // The first that answers is believed.
        ([&[Len(700)][..], &[Len(900)]], 700, [1, 0]),
        // A refusal, a replica that cannot be read, none at all: the next one is asked.
        ([&[Refuse(ErrorKind::Io)], &[Len(900)]], 900, [1, 1]),
        ([&[Len(-1)], &[Len(900)]], 900, [1, 1]),
        ([&[no_replica], &[Len(5)]], 5, [1, 1]),
        // One that says "later" is asked again.
        ([&[Refuse(ErrorKind::Retriable), Len(800)], &[Len(-1)]], 800, [2, 1]),
        // Nobody has a replica: the pipeline is only being set up.
        ([&[no_replica], &[no_replica]], 0, [1, 1]),
    ] {
        let cluster = Cluster::start(2).await;
        let (first, second) = (data(3000), data(2000));
        let blocks = vec![
            cluster.block(1, &first, first.len(), &[0, 1]),
            // More is on disk than was acked; the NameNode knows of nothing yet.
            cluster.block(2, &second, 0, &[0, 1]),
        ];
        cluster.versions([File { blocks, open: true }]);
        cluster.visible(&answers);
        let mut reader = cluster.open().await.unwrap();
        assert_eq!(reader.len(), 3000 + len as u64, "{answers:?}");
        let expected = [&first[..], &second[..len]].concat();
        assert!(read_all(&mut reader).await.unwrap() == expected, "{answers:?}");
        let tail = reader.read_at(2990, 5000).await.unwrap();
        assert!(tail == expected[2990..], "{answers:?}");
        let told: Vec<usize> = cluster
            .datanodes
            .iter()
            .map(|node| node.store.lock().asked_length)
            .collect();
        assert_eq!(told, asked, "{answers:?}");
    }
}

#[tokio::test]
async fn a_dead_data_node_does_not_hide_the_length() {
    let cluster = Cluster::start(3).await;
    let block = data(2000);
    let blocks = vec![cluster.block(1, &block, 0, &[0, 1, 2])];
    cluster.versions([File { blocks, open: true }]);
    cluster.visible(&[&[Visible::Len(1)], &[Visible::Len(1)], &[Visible::Len(1300)]]);
    cluster.datanodes[0].kill().await;
    cluster.datanodes[1].kill().await;
    assert!(cluster.get().await.unwrap() == block[..1300]);
}

#[tokio::test]
async fn the_length_of_an_open_block_is_asked_of_fresh_locations() {
    let cluster = Cluster::start(2).await;
    let block = data(900);
    let nowhere = File {
        blocks: vec![cluster.block(1, &block, 900, &[])],
        open: true,
    };
    let unreadable = File {
        blocks: vec![cluster.block(1, &block, 0, &[0])],
        open: true,
    };
    let elsewhere = File {
        blocks: vec![cluster.block(1, &block, 0, &[1])],
        open: true,
    };
    let closed = File {
        blocks: vec![cluster.block(1, &block, 900, &[1])],
        open: false,
    };
    cluster.visible(&[&[Visible::Len(-1)], &[Visible::Len(600)]]);
    for (versions, len) in [
        ([nowhere.clone(), unreadable.clone(), elsewhere], 600),
        ([nowhere.clone(), unreadable.clone(), closed], 900),
    ] {
        cluster.versions(versions);
        assert!(cluster.get().await.unwrap() == block[..len]);
    }
    for (version, text) in [
        (nowhere, "Could not obtain the last block locations."),
        (
            unreadable,
            "Cannot obtain block length for LocatedBlock{BP-1-127.0.0.1-1:blk_1_1001; getBlockSize()=0; \
             corrupt=false; offset=0; locs=[DatanodeInfoWithStorage[",
        ),
    ] {
        let before = cluster.lookups();
        cluster.versions([version]);
        let error = cluster.open().await.unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
        assert_eq!(cluster.lookups() - before, 4, "one try and three more");
    }
}

#[tokio::test]
async fn a_reader_keeps_the_length_it_saw() {
    let cluster = Cluster::start(2).await;
    let block = data(2000);
    cluster.versions([File {
        blocks: vec![cluster.block(1, &block, 0, &[0])],
        open: true,
    }]);
    cluster.visible(&[&[Visible::Len(1000), Visible::Len(1500)]]);
    let mut early = cluster.open().await.unwrap();
    let mut late = cluster.open().await.unwrap();
    assert_eq!((early.len(), late.len()), (1000, 1500));
    // The block is finished meanwhile, longer, under a new stamp and elsewhere, and another one follows.
    let mut finished = cluster.block(1, &block, 2000, &[1]);
    finished.stamp = STAMP + 1;
    cluster.datanodes[1].put(1, STAMP + 1, &block);
    cluster.datanodes[0].store.lock().refuses = true;
    let next = cluster.block(2, &block, 2000, &[1]);
    cluster.versions([File {
        blocks: vec![finished, next],
        open: false,
    }]);
    assert!(read_all(&mut early).await.unwrap() == block[..1000]);
    assert!(read_all(&mut late).await.unwrap() == block[..1500]);
    assert_eq!(cluster.get().await.unwrap().len(), 4000);
}

#[tokio::test]
async fn a_block_that_was_abandoned_before_its_first_byte_is_no_change() {
    let cluster = Cluster::start(2).await;
    let block = data(3000);
    let file = |nodes: &[usize], last: u64| File {
        blocks: vec![
            cluster.block(1, &block, 3000, nodes),
            cluster.block(last, &[], 0, nodes),
        ],
        open: true,
    };
    cluster.visible(&[&[Visible::Len(0)], &[Visible::Len(0)]]);
    cluster.versions([file(&[0], 2), file(&[1], 3)]);
    cluster.datanodes[0].store.lock().refuses = true;
    assert!(cluster.get().await.unwrap() == block);
    assert_eq!(cluster.lookups(), 2);
}

// ---- replicas that fail ----

#[tokio::test]
async fn a_corrupt_replica_is_passed_over_and_reported_once() {
    let cluster = Cluster::start(3).await;
    let (first, second) = (data(9000), data(5000));
    cluster.put(&[&first, &second]);
    cluster.datanodes[0].store.lock().corrupt = true;
    cluster.datanodes[1].store.lock().corrupt = true;
    let all = [&first[..], &second].concat();
    assert!(cluster.get().await.unwrap() == all);
    assert_eq!(cluster.reports(), [(1, vec!["dn0".to_owned(), "dn1".to_owned()])]);
    assert_eq!(
        cluster.reads(),
        [1, 1, 2],
        "the second block is not read from nodes that failed at the first"
    );
    // Another open file has a list of its own.
    let reader = cluster.open().await.unwrap();
    assert!(reader.read_at(100, 50).await.unwrap() == all[100..150]);
    assert_eq!(cluster.reads(), [2, 2, 3]);
    assert_eq!(cluster.reports().len(), 2);
}

#[tokio::test]
async fn when_every_replica_looks_corrupt_the_reader_is_in_doubt() {
    for (nodes, reports) in [(2, 0), (1, 1)] {
        let cluster = Cluster::start(nodes).await;
        cluster.put(&[&data(100)]);
        for node in &cluster.datanodes {
            node.store.lock().corrupt = true;
        }
        let error = cluster.get().await.unwrap_err();
        assert!(matches!(error, FsError::BlockMissing { .. }), "{error}");
        assert_eq!(cluster.reports().len(), reports, "{nodes} nodes");
    }
}

#[tokio::test]
async fn a_missing_block_is_looked_for_as_often_as_the_key_says() {
    for failures in [0, 2] {
        let text = failures.to_string();
        let cluster = Cluster::start_with(2, &[("dfs.client.max.block.acquire.failures", &text)]).await;
        cluster.put(&[&data(100)]);
        for node in &cluster.datanodes {
            node.store.lock().refuses = true;
        }
        let error = cluster.get().await.unwrap_err().to_string();
        let node = |number: usize| {
            let addr = cluster.datanodes[number].addr();
            format!("DatanodeInfoWithStorage[{addr},DS-dn{number},DISK]")
        };
        let expected = format!(
            "Could not obtain block: BP-1-127.0.0.1-1:blk_1_1001 file=/f No live nodes contain current block \
             Block locations: {0} {1} Dead nodes:  {0} {1}; the last one failed with: ",
            node(0),
            node(1)
        );
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.ends_with("scripted refusal"), "{error}");
        assert_eq!(cluster.lookups(), 1 + failures);
        assert_eq!(cluster.reads(), [1 + failures, 1 + failures]);
    }
}

#[tokio::test]
async fn fresh_locations_and_stamps_are_used() {
    let cluster = Cluster::start(3).await;
    let block = data(5000);
    let old = File {
        blocks: vec![cluster.block(1, &block, 5000, &[0])],
        open: false,
    };
    // Node 0 has an old replica, which must not be read under the new stamp; the good one is on node 2.
    let mut moved = cluster.block(1, &block, 5000, &[0, 2]);
    moved.stamp = STAMP + 5;
    cluster.datanodes[0].put(1, STAMP, &data(4999));
    cluster.datanodes[0].store.lock().corrupt = true;
    cluster.datanodes[2].put(1, STAMP + 5, &block);
    cluster.versions([
        old,
        File {
            blocks: vec![moved],
            open: false,
        },
    ]);
    assert!(cluster.get().await.unwrap() == block);
    assert_eq!(cluster.lookups(), 2);
    assert_eq!(cluster.reads(), [2, 0, 1]);
}

#[tokio::test]
async fn a_connection_that_broke_is_made_again_before_its_node_is_given_up() {
    let cluster = Cluster::start(2).await;
    let block = data(9000);
    cluster.put(&[&block]);
    cluster.datanodes[0].store.lock().cuts = 1;
    assert!(cluster.get().await.unwrap() == block);
    assert_eq!((cluster.reads(), cluster.lookups()), (vec![2, 0], 1));
    // Twice in a row is a failure.
    let before = cluster.reads()[0];
    cluster.datanodes[0].store.lock().cuts = 1;
    let mut reader = cluster.open().await.unwrap();
    let first = reader.next_chunk().await.unwrap();
    cluster.datanodes[0].store.lock().refuses = true;
    let rest = read_all(&mut reader).await.unwrap();
    assert!([&first[..], &rest].concat() == block);
    assert_eq!(cluster.reads(), [before + 2, 1]);
    assert!(cluster.reports().is_empty(), "nothing was corrupt");
}

#[tokio::test]
async fn two_files_are_never_read_as_one() {
    let cluster = Cluster::start(1).await;
    let block = data(2000);
    let file = |ids: &[u64]| File {
        blocks: ids.iter().map(|id| cluster.block(*id, &block, 2000, &[0])).collect(),
        open: false,
    };
    for (before, after) in [(&[1, 3][..], &[5, 7][..]), (&[1, 3], &[1, 7]), (&[1], &[5])] {
        cluster.versions([file(before), file(after)]);
        cluster.datanodes[0].store.lock().refuses = true;
        let error = cluster.get().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "Blocklist for /f has changed!",
            "{before:?} {after:?}"
        );
    }
    // A file that only grew is the same file.
    cluster.versions([file(&[1, 3]), file(&[1, 3, 5])]);
    let mut reader = cluster.open().await.unwrap();
    cluster.datanodes[0].store.lock().refuses = false;
    assert_eq!(read_all(&mut reader).await.unwrap().len(), 4000);
}

// ---- hedged reads ----

const HEDGED: &[(&str, &str)] = &[
    ("dfs.client.hedged.read.threadpool.size", "1"),
    ("dfs.client.hedged.read.threshold.millis", "1"),
];

/// Polls until `check` holds; for what other tasks of this runtime do.
async fn settled(check: impl Fn() -> bool) {
    const MAX_TURNS: usize = 1_000_000;
    for _ in 0..MAX_TURNS {
        if check() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came to rest");
}

#[tokio::test]
async fn a_slow_replica_gets_company() {
    let cluster = Cluster::start_with(2, HEDGED).await;
    let block = data(9000);
    cluster.put(&[&block]);
    cluster.datanodes[0].held.send_replace(true);
    let reader = cluster.open().await.unwrap();
    assert!(reader.read_at(100, 8000).await.unwrap() == block[100..8100]);
    assert_eq!(cluster.reads(), [1, 1]);
    let counts = HedgedReads {
        started: 1,
        won: 1,
        without_place: 0,
    };
    assert_eq!(cluster.fs.hedged_reads(), counts);
    // The slow one is left, though not called dead, and nothing stays behind.
    settled(|| cluster.datanodes[0].open_connections() == 0).await;
    cluster.datanodes[0].held.send_replace(false);
    assert!(reader.read_at(0, 9000).await.unwrap() == block);
    assert_eq!(cluster.reads()[0], 2);
    assert!(cluster.reports().is_empty());
}

#[tokio::test]
async fn reads_are_hedged_as_the_keys_say() {
    // Off by default, and for reads in sequence.
    for (settings, sequential) in [(&[][..], false), (HEDGED, true)] {
        let cluster = Cluster::start_with(2, settings).await;
        let block = data(3000);
        cluster.put(&[&block]);
        cluster.datanodes[0].held.send_replace(true);
        let mut reader = cluster.open().await.unwrap();
        let release = async {
            settled(|| cluster.reads() == [1, 0]).await;
            // Many times the threshold in turns of this runtime.
            for _ in 0..10_000 {
                tokio::task::yield_now().await;
            }
            cluster.datanodes[0].held.send_replace(false);
        };
        let read = async {
            match sequential {
                true => read_all(&mut reader).await.unwrap(),
                false => reader.read_at(0, 3000).await.unwrap().to_vec(),
            }
        };
        let (read, ()) = tokio::join!(read, release);
        assert!(read == block);
        assert_eq!(cluster.reads(), [1, 0]);
        assert_eq!(cluster.fs.hedged_reads(), HedgedReads::default());
    }
}

#[tokio::test]
async fn second_reads_have_a_limit() {
    let cluster = Cluster::start_with(2, HEDGED).await;
    let block = data(3000);
    cluster.put(&[&block]);
    for node in &cluster.datanodes {
        node.held.send_replace(true);
    }
    let reader = cluster.open().await.unwrap();
    let release = async {
        settled(|| {
            let counts = cluster.fs.hedged_reads();
            // The one that was begun has arrived, too: else it ends unseen with the answer to the first.
            counts.started + counts.without_place == 3 && cluster.reads()[0] + cluster.reads()[1] == 4
        })
        .await;
        for node in &cluster.datanodes {
            node.held.send_replace(false);
        }
    };
    let reads = futures::future::join_all((0..3).map(|_| reader.read_at(0, 3000)));
    let (reads, ()) = tokio::join!(reads, release);
    assert!(reads.into_iter().all(|read| read.unwrap() == block));
    let counts = cluster.fs.hedged_reads();
    assert_eq!((counts.started, counts.without_place), (1, 2));
    assert_eq!(
        cluster.reads()[0] + cluster.reads()[1],
        4,
        "three first ones and one second"
    );
}

#[tokio::test]
async fn hedged_reads_get_over_failures_too() {
    for (corrupt, refuses) in [(true, false), (false, true)] {
        let cluster = Cluster::start_with(3, HEDGED).await;
        let (first, second) = (data(3000), data(2500));
        cluster.put(&[&first, &second]);
        {
            let mut store = cluster.datanodes[0].store.lock();
            (store.corrupt, store.refuses) = (corrupt, refuses);
        }
        // The second one hangs, so that the third has to come in.
        cluster.datanodes[1].held.send_replace(true);
        let reader = cluster.open().await.unwrap();
        let all = [&first[..], &second].concat();
        assert!(reader.read_at(0, 6000).await.unwrap() == all);
        let blamed: Vec<_> = cluster.reports().into_iter().flat_map(|(_, nodes)| nodes).collect();
        assert_eq!(blamed.is_empty(), !corrupt);
        assert!(blamed.iter().all(|node| node == "dn0"), "{blamed:?}");
    }
}

#[tokio::test]
async fn a_second_read_that_fails_makes_room_for_a_third() {
    let cluster = Cluster::start_with(3, HEDGED).await;
    let block = data(3000);
    cluster.put(&[&block]);
    cluster.datanodes[0].held.send_replace(true);
    cluster.datanodes[1].store.lock().corrupt = true;
    let reader = cluster.open().await.unwrap();
    assert!(reader.read_at(0, 3000).await.unwrap() == block);
    assert_eq!(cluster.reads(), [1, 1, 1]);
    assert_eq!(cluster.reports(), [(1, vec!["dn1".to_owned()])]);
    assert_eq!(cluster.fs.hedged_reads().started, 2);
}

#[tokio::test]
async fn a_hedged_read_gives_up_as_a_plain_one_does() {
    let mut settings = HEDGED.to_vec();
    settings.push(("dfs.client.max.block.acquire.failures", "1"));
    let cluster = Cluster::start_with(2, &settings).await;
    cluster.put(&[&data(100)]);
    for node in &cluster.datanodes {
        node.store.lock().refuses = true;
    }
    let reader = cluster.open().await.unwrap();
    let error = reader.read_at(0, 100).await.unwrap_err();
    assert!(matches!(error, FsError::BlockMissing { .. }), "{error}");
    assert_eq!(cluster.lookups(), 2);
}
