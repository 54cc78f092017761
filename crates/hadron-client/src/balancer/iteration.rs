//! One iteration: look, plan, move, count.
//!
//! The loop owns the schedule; moves and questions to the NameNode are tasks whose ends are its events. Dropping it ends
//! them all; what a DataNode has begun it finishes by itself.

use super::connector::{Connector, unix_ms};
use super::mover::{Mover, Tokens, operation};
use super::options::{BalancerOptions, BalancerSettings, BalancingPolicy};
use super::{Event, ExitStatus, IterationReport, Outcome};
use crate::error::Result;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use hadron_blockmap::balancer::{
    Candidate, Group, GroupSpace, Member, MoveOrder, MovedBlocks, NodeNumber, Pair, Racks, Schedule, Step, classify,
    pair,
};
use hadron_proto::convert::storage_type_from_wire;
use hadron_proto::hdfs::{BlockWithLocationsProto, DatanodeInfoProto, DatanodeStorageReportProto};
use hadron_types::{Block, TimeMs};
use hashbrown::HashMap;
use std::io;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The rack of a node that says nothing of it.
const DEFAULT_RACK: &str = "/default-rack";

/// What an iteration goes by.
pub(super) struct Iteration<'a> {
    pub(super) number: usize,
    /// When the balancer was started.
    pub(super) started: Instant,
    pub(super) settings: &'a BalancerSettings,
    pub(super) options: &'a BalancerOptions,
    pub(super) stop: &'a CancellationToken,
}

type Tell<'a> = &'a mut (dyn FnMut(Event) + Send);

/// The end of a task.
enum Done {
    Moved(MoveOrder, io::Result<()>),
    Fetched(Group, Result<Vec<BlockWithLocationsProto>>),
}

/// The DataNodes of an iteration.
struct Nodes {
    infos: Vec<DatanodeInfoProto>,
    numbers: HashMap<String, NodeNumber>,
}

impl Iteration<'_> {
    pub(super) async fn run(&self, connector: &mut Connector, tell: Tell<'_>) -> Result<Outcome> {
        let reports = connector.reports().await?;
        let members = self.members(&reports);
        let nodes = Nodes::of(reports);
        let found = classify(&members, &self.settings.limits(self.options));
        if found.left == 0 {
            tell(Event::Message("The cluster is balanced. Exiting...".to_owned()));
            self.report(connector, 0, 0, tell);
            return Ok(Outcome::Balanced);
        }
        if !self.options.run_during_upgrade && connector.is_upgrading().await? {
            tell(Event::Message(
                "Balancer exiting as upgrade is not finalized, please finalize the HDFS upgrade before running the \
                 balancer."
                    .to_owned(),
            ));
            self.report(connector, found.left, 0, tell);
            return Ok(Outcome::End(ExitStatus::UnfinalizedUpgrade));
        }
        let racks = Racks::new(&members, self.settings.node_groups);
        let pairs = pair(&found.standings, &racks);
        let planned: u64 = pairs.iter().map(|pair| pair.bytes).sum();
        if planned == 0 {
            tell(Event::Message("No block can be moved. Exiting...".to_owned()));
            self.report(connector, found.left, 0, tell);
            return Ok(Outcome::End(ExitStatus::NoMoveBlock));
        }
        tell(Event::Planned {
            left: found.left,
            bytes: planned,
        });
        let moved = self.dispatch(connector, &nodes, &pairs, racks, tell).await?;
        connector.moved_bytes += moved;
        connector.idle_iterations = if moved > 0 { 0 } else { connector.idle_iterations + 1 };
        if self.stop.is_cancelled() {
            self.report(connector, found.left, planned, tell);
            return Ok(Outcome::End(ExitStatus::Interrupted));
        }
        let (idle, most) = (connector.idle_iterations, self.options.max_idle_iterations);
        let outcome = match most >= 0 && moved == 0 && idle >= most {
            true => {
                let text = format!("No block has been moved for {idle} iterations. Exiting...");
                tell(Event::Message(text));
                Outcome::End(ExitStatus::NoMoveProgress)
            }
            false => Outcome::InProgress,
        };
        self.report(connector, found.left, planned, tell);
        Ok(outcome)
    }

    fn report(&self, connector: &Connector, left: u64, planned: u64, tell: Tell<'_>) {
        tell(Event::Iteration(IterationReport {
            number: self.number,
            moved: connector.moved_bytes,
            left,
            planned,
            namenode: connector.fs.uri(),
        }));
    }

    fn members(&self, reports: &[DatanodeStorageReportProto]) -> Vec<Member> {
        let member = |report: &DatanodeStorageReportProto| {
            let mut groups: Vec<GroupSpace> = Vec::new();
            for storage in report.storage_reports.iter().filter(|storage| !storage.failed()) {
                let described = storage.storage.as_ref();
                let kind = described.and_then(|one| storage_type_from_wire(one.storage_type() as i32));
                let kind = kind.unwrap_or_default();
                let used = match self.options.policy {
                    BalancingPolicy::Datanode => storage.dfs_used(),
                    BalancingPolicy::BlockPool => storage.block_pool_used(),
                };
                let at = groups.iter().position(|group| group.kind == kind).unwrap_or_else(|| {
                    groups.push(GroupSpace {
                        kind,
                        capacity: 0,
                        used: 0,
                        remaining: 0,
                    });
                    groups.len() - 1
                });
                let group = &mut groups[at];
                group.capacity = group.capacity.saturating_add(storage.capacity());
                group.used = group.used.saturating_add(used);
                group.remaining = group.remaining.saturating_add(storage.remaining());
            }
            let info = &report.datanode_info;
            Member {
                rack: info.location.clone().unwrap_or_else(|| DEFAULT_RACK.to_owned()),
                part: self.options.part_of(info),
                groups,
            }
        };
        reports.iter().map(member).collect()
    }

    /// Milliseconds since the balancer was started.
    fn now(&self) -> TimeMs {
        TimeMs(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Carries out what was planned; gives the bytes that were moved.
    async fn dispatch(
        &self,
        connector: &Connector,
        nodes: &Nodes,
        pairs: &[Pair],
        racks: Racks,
        tell: Tell<'_>,
    ) -> Result<u64> {
        let keys = connector.keys().await?;
        // As in Hadoop, an iteration forgets what those before it moved: the NameNode knows the new places by now, and
        // where all replicas lie on the full nodes of a cluster that grew, most blocks have to be moved more than once.
        let mut moved = MovedBlocks::new(self.settings.moved_window_ms);
        let mut schedule = Schedule::new(pairs, racks, self.settings.rules, self.now());
        let mut running: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
        let mut bytes = 0;
        while !self.stop.is_cancelled() {
            let until = match schedule.next(&mut moved, self.now()) {
                Step::Move(order) => {
                    running.push(self.begin_move(connector, nodes, order, keys.as_ref()));
                    continue;
                }
                Step::Fetch { source, bytes } => {
                    let node = nodes.infos[source.node.0].id.clone();
                    let asked = connector.blocks(node, bytes, self.settings.min_block_size);
                    running.push(Box::pin(async move { Done::Fetched(source, asked.await) }));
                    continue;
                }
                Step::Wait(until) => until,
                Step::Done => break,
            };
            let pause = until.map(|until| Duration::from_millis(until.since(self.now())));
            match self.next_end(&mut running, pause).await {
                Some(Done::Fetched(source, Ok(blocks))) => {
                    schedule.blocks_received(source, nodes.candidates(&blocks), &moved);
                }
                Some(Done::Fetched(source, Err(error))) => {
                    tracing::warn!(%error, node = %nodes.name(source), "cannot ask for a DataNode's blocks");
                    schedule.fetch_failed(source);
                }
                Some(Done::Moved(order, result)) => {
                    schedule.move_ended(order.id, result.is_ok(), self.now());
                    if nodes.note_end(&order, result) {
                        bytes += order.block.len;
                        tell(Event::Moved { bytes });
                    }
                }
                None => {}
            }
        }
        Ok(bytes)
    }

    /// The next end of a task; `None` after `pause`, or when everything is to stop.
    async fn next_end(
        &self,
        running: &mut FuturesUnordered<BoxFuture<'_, Done>>,
        pause: Option<Duration>,
    ) -> Option<Done> {
        let pause = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = running.next() => Some(done),
            () = pause => None,
            () = self.stop.cancelled() => None,
        }
    }

    fn begin_move<'b>(
        &self,
        connector: &Connector,
        nodes: &Nodes,
        order: MoveOrder,
        keys: Option<&hadron_wire::token::BlockKeys>,
    ) -> BoxFuture<'b, Done> {
        let info = |group: Group| &nodes.infos[group.node.0];
        let tokens = Tokens {
            keys,
            form: self.settings.token_form,
            user: connector.fs.user(),
            now_ms: unix_ms(),
        };
        let settings = connector.fs.settings();
        let mover = Mover {
            order,
            op: operation(&order, &connector.pool, info(order.source), info(order.proxy), &tokens),
            target: info(order.target).clone(),
            use_hostname: settings.use_datanode_hostname,
            connect_timeout: settings.socket_timeout,
        };
        Box::pin(async move {
            let result = mover.run().await;
            Done::Moved(mover.order, result)
        })
    }
}

impl Nodes {
    fn of(reports: Vec<DatanodeStorageReportProto>) -> Self {
        let infos: Vec<DatanodeInfoProto> = reports.into_iter().map(|report| report.datanode_info).collect();
        let numbered = infos.iter().enumerate();
        Self {
            numbers: numbered
                .map(|(number, info)| (info.id.datanode_uuid.clone(), NodeNumber(number)))
                .collect(),
            infos,
        }
    }

    fn name(&self, group: Group) -> String {
        let id = &self.infos[group.node.0].id;
        format!("{}:{}:{}", id.ip_addr, id.xfer_port, group.kind.name())
    }

    /// Blocks as the planner takes them. Striped ones are left where they are.
    fn candidates(&self, blocks: &[BlockWithLocationsProto]) -> Vec<Candidate> {
        let candidate = |one: &BlockWithLocationsProto| {
            let places = one.datanode_uuids.iter().enumerate().filter_map(|(at, uuid)| {
                let kind = one.storage_types.get(at).and_then(|kind| storage_type_from_wire(*kind));
                Some(Group {
                    node: *self.numbers.get(uuid)?,
                    kind: kind.unwrap_or_default(),
                })
            });
            Candidate {
                block: Block::from(&one.block),
                places: places.collect(),
            }
        };
        blocks
            .iter()
            .filter(|one| one.indices.is_none())
            .map(candidate)
            .collect()
    }

    /// Says in the log how a move ended; true if well.
    fn note_end(&self, order: &MoveOrder, result: io::Result<()>) -> bool {
        let (source, target, proxy) = (self.name(order.source), self.name(order.target), self.name(order.proxy));
        match &result {
            Ok(()) => tracing::info!(block = %order.block, %source, %target, %proxy, "moved a block"),
            Err(error) => tracing::warn!(block = %order.block, %source, %target, %proxy, %error, "cannot move a block"),
        }
        result.is_ok()
    }
}
