//! Writers that died with replicas of different lengths, and one under a stale stamp: all combinations, by every way in
//! which a lease ends. Files are written block by block straight into the DataNodes' stores, so that each replica is as
//! long as the case wants it; everything from the end of the lease on is the product's.
//!
//! What must hold: one length, not below the last hflush; all replicas equal, checksums included; the stale one is never
//! named to a reader and is replaced.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use hadron_client::HadronFs;
use hadron_env::ManualClock;
use hadron_net::RpcClient;
use hadron_proto::hdfs::*;
use hadron_replica::{ChunkFormat, NewReplica, Packet, ReplicaWriter};
use hadron_testkit::{Cluster, eventually, eventually_within, raw_client, read};
use hadron_types::{
    Block, BlockId, BlockPoolId, ChecksumType, ErrorKind, ExtendedBlock, GenerationStamp, HadoopError, ReplicaState,
    StorageId, TimeMs,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How fast the NameNode's clock goes while the cluster starts: as real time.
const TICK: Duration = Duration::from_millis(20);
const NODES: usize = 3;
/// Acked on all three nodes.
const FIRST_FLUSH: usize = 1000;
/// Acked on the two nodes that are left when one went stale.
const SECOND_FLUSH: usize = 2000;
/// Bytes beyond the last flush that reached a node and were never acked.
const BEYOND: [usize; 3] = [0, 300, 700];
/// What the stale node has: no more than was acked there, less than the others, more than they.
const STALE: [usize; 3] = [FIRST_FLUSH, SECOND_FLUSH + 400, 9000];
const HOLDER: &str = "writer that died";

/// One file: how long its replicas are, and which of them missed the rebuilding of the pipeline.
#[derive(Clone, Debug)]
struct Case {
    path: String,
    lens: [usize; NODES],
    stale: Option<usize>,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for stale in [None, Some(0), Some(1), Some(2)] {
            for number in 0..27 {
                let choice = [number % 3, number / 3 % 3, number / 9];
                let flushed = if stale.is_none() { FIRST_FLUSH } else { SECOND_FLUSH };
                let len = |node: usize| match stale {
                    Some(stale) if stale == node => STALE[choice[node]],
                    _ => flushed + BEYOND[choice[node]],
                };
                cases.push(Self {
                    path: format!("/{}", cases.len()),
                    lens: [len(0), len(1), len(2)],
                    stale,
                });
            }
        }
        cases
    }

    /// The length that recovery must come to: the shortest of those that count.
    fn recovered(&self) -> usize {
        let counts = |node: &usize| Some(*node) != self.stale;
        (0..NODES).filter(counts).map(|node| self.lens[node]).min().unwrap()
    }

    fn content(&self, len: usize) -> Vec<u8> {
        let seed = self.path.len() * 31 + self.lens[0] + usize::from(self.path.as_bytes()[1]);
        (0..len)
            .map(|at| ((at + seed).wrapping_mul(2_654_435_761) >> 9) as u8)
            .collect()
    }
}

struct World {
    cluster: Cluster,
    clock: Arc<ManualClock>,
    rpc: RpcClient,
    fs: HadronFs,
}

fn format() -> ChunkFormat {
    ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap()
}

/// Makes a replica `to` bytes long, from the beginning of its last chunk on.
fn extend(writer: &mut ReplicaWriter, content: &[u8], to: usize) {
    let from = writer.len() as usize / 512 * 512;
    let mut sums = Vec::new();
    format().append_sums(&content[from..to], &mut sums);
    let packet = Packet {
        offset: from as u64,
        sums: &sums,
        data: &content[from..to],
    };
    writer.write(&[packet], format()).unwrap();
}

impl World {
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::new(TimeMs(1_700_000_000_000)));
        let cluster = Cluster::builder()
            .datanodes(NODES)
            .clock(&clock)
            .set("dfs.heartbeat.interval", "1")
            // The clock jumps: nobody is left out of a recovery as silent.
            .set("dfs.namenode.stale.datanode.interval", 3_600_000)
            // Stale replicas are replaced all at once, not a few with each heartbeat.
            .set("dfs.namenode.replication.max-streams", 100)
            .set("dfs.namenode.replication.max-streams-hard-limit", 200)
            .set("dfs.namenode.replication.work.multiplier.per.iteration", 100)
            .set("dfs.namenode.redundancy.interval.seconds", 1)
            .start();
        // Safe mode and monitors go by the clock, too.
        let mut cluster = std::pin::pin!(cluster);
        let mut ticks = tokio::time::interval(TICK);
        let cluster = loop {
            tokio::select! {
                cluster = &mut cluster => break cluster.unwrap(),
                _ = ticks.tick() => clock.advance(TICK),
            }
        };
        let rpc = raw_client(cluster.namenode().rpc_addr(), cluster.conf().user_name())
            .await
            .unwrap();
        let fs = cluster.client().await.unwrap();
        Self {
            cluster,
            clock,
            rpc,
            fs,
        }
    }

    async fn call<Q: prost::Message, R: prost::Message + Default>(
        &self,
        method: &str,
        request: Q,
    ) -> Result<R, HadoopError> {
        self.rpc.call(method, &request).await.map_err(HadoopError::from)
    }

    async fn create(&self, holder: &str, path: &str) -> Result<u64, HadoopError> {
        let request = CreateRequestProto {
            src: path.to_owned(),
            masked: FsPermissionProto { perm: 0o644 },
            client_name: holder.to_owned(),
            create_flag: 1,
            create_parent: true,
            replication: NODES as u32,
            block_size: 1 << 20,
            ..CreateRequestProto::default()
        };
        let answer: CreateResponseProto = self.call("create", request).await?;
        Ok(answer.fs.unwrap().file_id())
    }

    fn pool(&self) -> BlockPoolId {
        self.cluster.pool()
    }

    fn node_numbers(&self) -> HashMap<String, usize> {
        let uuid = |number| self.cluster.datanode(number).store().uuid().as_str().to_owned();
        (0..NODES).map(|number| (uuid(number), number)).collect()
    }

    /// Leaves the file as its writer would that died.
    async fn leave_open(&self, case: &Case) {
        let file_id = self.create(HOLDER, &case.path).await.unwrap();
        let request = AddBlockRequestProto {
            src: case.path.clone(),
            client_name: HOLDER.to_owned(),
            file_id: Some(file_id),
            ..AddBlockRequestProto::default()
        };
        let answer: AddBlockResponseProto = self.call("addBlock", request).await.unwrap();
        let located = answer.block;
        assert_eq!(located.locs.len(), NODES);
        let numbers = self.node_numbers();
        let block = ExtendedBlock::from(&located.b);
        let content = case.content(10_000);
        let first = |node: usize| match case.stale {
            Some(stale) if stale != node => FIRST_FLUSH,
            _ => case.lens[node],
        };
        for (node, storage) in located.locs.iter().zip(&located.storage_i_ds) {
            let node = numbers[&node.id.datanode_uuid];
            let storage = StorageId::from(storage.as_str());
            let new = NewReplica {
                format: format(),
                storage_type: None,
                storage_id: Some(&storage),
                interrupt: Arc::new(|| {}),
            };
            let mut writer = self.cluster.datanode(node).store().create_rbw(&block, new).unwrap();
            extend(&mut writer, &content, first(node));
            writer.ack_handle().acked(FIRST_FLUSH as u64);
        }
        if let Some(stale) = case.stale {
            self.rebuild_pipeline(case, &located, &numbers, stale).await;
        }
    }

    /// The pipeline goes on without the `stale` node, under a new stamp.
    async fn rebuild_pipeline(
        &self,
        case: &Case,
        located: &LocatedBlockProto,
        numbers: &HashMap<String, usize>,
        stale: usize,
    ) {
        let request = UpdateBlockForPipelineRequestProto {
            block: located.b.clone(),
            client_name: HOLDER.to_owned(),
        };
        let answer: UpdateBlockForPipelineResponseProto = self.call("updateBlockForPipeline", request).await.unwrap();
        let stamp = GenerationStamp(answer.block.b.generation_stamp);
        let block = ExtendedBlock::from(&located.b);
        let content = case.content(10_000);
        let (mut new_nodes, mut storage_i_ds) = (Vec::new(), Vec::new());
        for (node, storage) in located.locs.iter().zip(&located.storage_i_ds) {
            let number = numbers[&node.id.datanode_uuid];
            if number == stale {
                continue;
            }
            let store = self.cluster.datanode(number).store();
            let mut writer = store
                .recover_rbw(&block, stamp, FIRST_FLUSH as u64, u64::MAX, Arc::new(|| {}))
                .unwrap();
            extend(&mut writer, &content, case.lens[number]);
            writer.ack_handle().acked(SECOND_FLUSH as u64);
            new_nodes.push(node.id.clone());
            storage_i_ds.push(storage.clone());
        }
        let request = UpdatePipelineRequestProto {
            client_name: HOLDER.to_owned(),
            old_block: located.b.clone(),
            new_block: ExtendedBlockProto {
                generation_stamp: stamp.0,
                num_bytes: Some(FIRST_FLUSH as u64),
                ..located.b.clone()
            },
            new_nodes,
            storage_i_ds,
        };
        self.call::<_, ()>("updatePipeline", request).await.unwrap();
    }

    /// Moves the NameNode's clock on, in steps after each of which all DataNodes are heard of again.
    async fn pass_time(&self, seconds: u64) {
        let state = &self.cluster.namenode().shared().state;
        // Short of what makes a DataNode count as dead.
        const STEP_SECONDS: u64 = 200;
        let mut left = seconds;
        while left > 0 {
            let step = left.min(STEP_SECONDS);
            left -= step;
            self.clock.advance(Duration::from_secs(step));
            let stepped = state.now();
            eventually("all DataNodes are heard of", || async {
                let nodes = state.blocks.lock().datanodes(state.now());
                let heard = nodes.iter().filter(|node| node.info.stats.last_update >= stepped);
                (heard.count() == NODES).then_some(())
            })
            .await;
        }
    }

    /// Waits until `is_done` says so of every case, moving the clock a little at each look.
    async fn wait_each(&self, what: &str, cases: &[Case], is_done: impl AsyncFn(&Case) -> bool) {
        let left = Mutex::new(cases.iter().collect::<Vec<_>>());
        eventually_within(Duration::from_secs(150), what, || async {
            self.clock.advance(Duration::from_millis(30));
            let looked_at = std::mem::take(&mut *left.lock().unwrap());
            let mut open = Vec::new();
            for case in looked_at {
                if !is_done(case).await {
                    open.push(case);
                }
            }
            let all = open.is_empty();
            *left.lock().unwrap() = open;
            all.then_some(())
        })
        .await;
    }

    fn replicas(&self, id: BlockId) -> Vec<(usize, Block, ReplicaState)> {
        let all = self.cluster.replicas(0..NODES).into_iter();
        all.filter(|(_, block, _)| block.id == id).collect()
    }

    /// The content of a finalized replica, its checksums verified.
    fn content_on(&self, node: usize, block: Block) -> Vec<u8> {
        let block = ExtendedBlock {
            pool: self.pool(),
            block,
        };
        let store = self.cluster.datanode(node).store();
        let reader = store.open_for_read(&block, 0, Duration::ZERO).unwrap();
        let mut data = vec![0; reader.readable_len() as usize];
        reader.read_data(&mut data, 0).unwrap();
        let mut sums = vec![0; reader.format().sums_len(data.len())];
        reader.read_sums(&mut sums, 0).unwrap();
        assert_eq!(reader.format().verify(&data, &sums), Ok(()));
        data
    }

    /// The only block of a file as readers are told of it.
    async fn located(&self, case: &Case) -> LocatedBlockProto {
        let request = GetBlockLocationsRequestProto {
            src: case.path.clone(),
            offset: 0,
            length: i64::MAX as u64,
        };
        let answer: GetBlockLocationsResponseProto = self.call("getBlockLocations", request).await.unwrap();
        let mut locations = answer.locations.unwrap();
        assert_eq!(locations.blocks.len(), 1, "{case:?}");
        locations.blocks.remove(0)
    }

    /// Checks a closed file: first what readers are told, then, once replication has healed, all three replicas.
    async fn check(&self, cases: &[Case]) {
        let numbers = self.node_numbers();
        // A replica that is about to be copied anew may be gone while readers are still told of it; a stale one may not.
        self.wait_each("readers are told of what is there", cases, async |case| {
            let located = self.located(case).await;
            let block = ExtendedBlock::from(&located.b).block;
            assert_eq!(located.b.num_bytes() as usize, case.recovered(), "{case:?}");
            assert!(!located.locs.is_empty());
            let known = self.replicas(block.id);
            let told = |node: &DatanodeInfoProto| numbers[&node.id.datanode_uuid];
            located.locs.iter().all(|node| {
                let mut there = known.iter().filter(|(on, ..)| *on == told(node)).peekable();
                let is_there = there.peek().is_some();
                assert!(
                    there.all(|(_, replica, _)| *replica == block),
                    "{case:?}: {} of {known:?}",
                    told(node)
                );
                is_there
            })
        })
        .await;
        self.wait_each("three equal replicas", cases, async |case| {
            let located = self.located(case).await;
            let block = ExtendedBlock::from(&located.b).block;
            let all = self.replicas(block.id);
            let healed = all.len() == NODES
                && all
                    .iter()
                    .all(|(_, replica, state)| *replica == block && *state == ReplicaState::Finalized);
            if healed {
                let expected = case.content(case.recovered());
                for (node, replica, _) in all {
                    assert_eq!(self.content_on(node, replica), expected, "{case:?} on {node}");
                }
            }
            healed
        })
        .await;
        for case in cases.iter().step_by(9) {
            let content = read(&self.fs, &case.path).await.unwrap();
            assert_eq!(content, case.content(case.recovered()), "{case:?}");
        }
    }

    async fn is_closed(&self, case: &Case) -> bool {
        let request = IsFileClosedRequestProto { src: case.path.clone() };
        let answer: IsFileClosedResponseProto = self.call("isFileClosed", request).await.unwrap();
        answer.result
    }
}

/// covers: LM-19, LM-22, LM-33
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recover_lease_makes_all_combinations_one() {
    let world = World::start().await;
    let cases = Case::all();
    for case in &cases {
        world.leave_open(case).await;
    }
    world
        .wait_each("recovered", &cases, async |case| {
            let request = RecoverLeaseRequestProto {
                src: case.path.clone(),
                client_name: "taker".to_owned(),
            };
            let answer: RecoverLeaseResponseProto = world.call("recoverLease", request).await.unwrap();
            answer.result
        })
        .await;
    world.check(&cases).await;
    world.cluster.shutdown().await;
}

/// covers: LM-10, LM-18, LM-22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_writer_makes_all_combinations_one() {
    let world = World::start().await;
    let cases = Case::all();
    for case in &cases {
        world.leave_open(case).await;
    }
    world.pass_time(40).await;
    let refused = world.create("second", &cases[0].path).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::AlreadyBeingCreated, "within the soft limit");
    world.pass_time(40).await;
    world
        .wait_each("taken over", &cases, async |case| {
            let refused = world.create("second", &case.path).await.unwrap_err();
            match refused.kind {
                ErrorKind::FileAlreadyExists => true,
                ErrorKind::RecoveryInProgress | ErrorKind::AlreadyBeingCreated => false,
                _ => panic!("{case:?}: {refused}"),
            }
        })
        .await;
    world.check(&cases).await;
    world.cluster.shutdown().await;
}

/// covers: LM-11, LM-12, LM-22, LM-32
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hard_limit_makes_all_combinations_one() {
    let world = World::start().await;
    let cases = Case::all();
    for case in &cases {
        world.leave_open(case).await;
    }
    world.pass_time(1180).await;
    assert!(!world.is_closed(&cases[0]).await, "within the hard limit");
    world.pass_time(40).await;
    world
        .wait_each("recovered", &cases, async |case| world.is_closed(case).await)
        .await;
    world.check(&cases).await;
    world.cluster.shutdown().await;
}
