//! One connection to the first node of a pipeline: set-up, packets out, acks in.
//!
//! What it does not do: decide what to send or what an ack means (the window does). Cancel safe throughout: a packet
//! that is half written stays half written and goes on with the next call.

use super::payload::Payload;
use crate::datanode::{self, Incoming, within};
use crate::fs::Shared;
use crate::local_addresses::is_local_address;
use bytes::{Buf, Bytes};
use hadron_pipeline::packet::{PipelineAck, Stage, Status};
use hadron_pipeline::window::{Transmit, Trouble};
use hadron_proto::common::TokenProto;
use hadron_proto::hdfs as proto;
use hadron_types::{GenerationStamp, StorageType};
use hadron_wire::transfer::op::{BlockHeader, TransferBlock, WriteBlock};
use hadron_wire::transfer::{Checksum, Op};
use std::fmt;
use std::io::{self, IoSlice};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A place in a pipeline: a DataNode and the volume the NameNode chose there.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) info: proto::DatanodeInfoProto,
    pub(crate) storage_id: String,
    pub(crate) storage_type: StorageType,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.info.id.datanode_uuid == other.info.id.datanode_uuid
    }
}

/// As Hadoop's `DatanodeInfoWithStorage` prints itself.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = datanode::transfer_addr(&self.info);
        write!(
            f,
            "DatanodeInfoWithStorage[{addr},{},{}]",
            self.storage_id,
            self.storage_type.name()
        )
    }
}

impl Node {
    /// Whether the node is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.info.id.ip_addr.parse().is_ok_and(is_local_address)
    }
    /// `ip:port` of its streaming port.
    pub(crate) fn addr(&self) -> String {
        datanode::transfer_addr(&self.info)
    }
    /// `host:port` of its streaming port, the name by which callers prefer nodes.
    fn named_addr(&self) -> String {
        format!("{}:{}", self.info.id.host_name, self.info.id.xfer_port)
    }
    /// The nodes of a located block, first node first.
    pub(crate) fn of(located: &proto::LocatedBlockProto) -> Vec<Self> {
        let node = |(index, info): (usize, &proto::DatanodeInfoProto)| Self {
            info: info.clone(),
            storage_id: located.storage_i_ds.get(index).cloned().unwrap_or_default(),
            storage_type: located
                .storage_types
                .get(index)
                .and_then(|number| StorageType::from_wire(*number))
                .unwrap_or_default(),
        };
        located.locs.iter().enumerate().map(node).collect()
    }
}

/// What a pipeline is set up for.
pub(crate) struct SetUp<'a> {
    pub(crate) block: &'a proto::ExtendedBlockProto,
    pub(crate) token: &'a TokenProto,
    pub(crate) nodes: &'a [Node],
    pub(crate) stage: Stage,
    pub(crate) new_stamp: u64,
    pub(crate) block_size: u64,
    pub(crate) min_bytes: u64,
    pub(crate) max_bytes: u64,
    pub(crate) checksum: Checksum,
    pub(crate) drop_behind: Option<bool>,
    pub(crate) lazy_persist: bool,
    /// `host:port` of nodes whose replicas balancers must leave alone.
    pub(crate) favored_nodes: &'a [String],
}

impl SetUp<'_> {
    /// Which nodes of the pipeline the caller prefers.
    fn pinnings(&self) -> Vec<bool> {
        let is_favored = |node: &Node| {
            let (named, plain) = (node.named_addr(), node.addr());
            self.favored_nodes
                .iter()
                .any(|wanted| *wanted == named || *wanted == plain)
        };
        self.nodes.iter().map(is_favored).collect()
    }
}

/// How long acks are waited for once a write failed. What was sent before the connection broke is here by then.
const LAST_ACKS_PATIENCE: Duration = Duration::from_secs(1);

/// Why a pipeline could not be set up.
#[derive(Debug)]
pub(crate) struct SetUpFailure {
    pub(crate) trouble: Trouble,
    pub(crate) cause: String,
}

/// The connection. Dropping it closes it.
pub(crate) struct Pipeline {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    incoming: Incoming,
    outgoing: [Bytes; 3],
    /// Why nothing more can be written. Acks that are still here, news of a restart among them, come first.
    broken: Option<io::Error>,
}

impl Pipeline {
    /// Connects to the first node and has it set up the rest.
    pub(crate) async fn set_up(shared: &Shared, wanted: &SetUp<'_>) -> Result<Self, SetUpFailure> {
        let first_is_bad = |cause: String| SetUpFailure {
            trouble: Trouble::Bad(0),
            cause,
        };
        let Some((first, rest)) = wanted.nodes.split_first() else {
            return Err(first_is_bad("pipeline has no nodes".to_owned()));
        };
        let operation = write_operation(shared, wanted, first, rest);
        let settings = &shared.settings;
        let timeout = settings.pipeline_read_timeout(wanted.nodes.len());
        let setting_up = async {
            let mut stream =
                datanode::connect(&first.info, settings.use_datanode_hostname, settings.socket_timeout).await?;
            datanode::send_operation(&mut stream, &operation).await?;
            let mut incoming = Incoming::default();
            let response = incoming.response(&mut stream).await?;
            Ok((stream, incoming, response))
        };
        let (stream, incoming, response) = within(timeout, setting_up)
            .await
            .map_err(|error| first_is_bad(error.to_string()))?;
        check_set_up(&response, wanted.nodes)?;
        let (reader, writer) = stream.into_split();
        Ok(Self {
            reader,
            writer,
            incoming,
            outgoing: Default::default(),
            broken: None,
        })
    }

    /// Whether a packet may be given for writing.
    pub(crate) fn is_idle(&self) -> bool {
        self.broken.is_none() && self.outgoing.iter().all(Bytes::is_empty)
    }

    /// Takes a packet of `block` for writing; the one before must be written.
    pub(crate) fn start(&mut self, transmit: Transmit<Payload>, block: u64) {
        let (checksums, data) = match transmit.payload {
            Some(payload) => {
                payload
                    .span
                    .record("block", block)
                    .record("seqno", transmit.header.seqno);
                tracing::trace!(parent: &payload.span, "sending");
                (payload.checksums, payload.data)
            }
            None => (Bytes::new(), Bytes::new()),
        };
        let header = datanode::encode_packet_header(&transmit.header, checksums.len());
        self.outgoing = [header, checksums, data];
    }

    /// Waits for one ack, or until some of the packet in hand is written, whichever is first.
    pub(crate) async fn progress(&mut self) -> io::Result<Progress> {
        loop {
            if self.broken.is_some() {
                let last = tokio::time::timeout(LAST_ACKS_PATIENCE, self.incoming.ack(&mut self.reader));
                return match (last.await, self.broken.take()) {
                    (Ok(Ok(ack)), broken) => {
                        self.broken = broken;
                        Ok(Progress::Acked(ack))
                    }
                    (_, Some(error)) => Err(error),
                    (Ok(Err(error)), None) => Err(error),
                    (Err(_), None) => Err(io::ErrorKind::TimedOut.into()),
                };
            }
            let writing = !self.is_idle();
            let failed = tokio::select! {
                biased;
                ack = self.incoming.ack(&mut self.reader) => return ack.map(Progress::Acked),
                result = write_some(&mut self.writer, &mut self.outgoing), if writing => match result {
                    Ok(()) => return Ok(Progress::Wrote),
                    Err(error) => error,
                },
            };
            self.outgoing = Default::default();
            self.broken = Some(failed);
        }
    }
}

/// What [`Pipeline::progress`] achieved.
pub(crate) enum Progress {
    Acked(PipelineAck),
    Wrote,
}

async fn write_some(writer: &mut OwnedWriteHalf, outgoing: &mut [Bytes; 3]) -> io::Result<()> {
    let slices = [
        IoSlice::new(&outgoing[0]),
        IoSlice::new(&outgoing[1]),
        IoSlice::new(&outgoing[2]),
    ];
    let mut written = writer.write_vectored(&slices).await?;
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    for part in outgoing {
        let from_part = written.min(part.len());
        part.advance(from_part);
        written -= from_part;
    }
    Ok(())
}

fn write_operation(shared: &Shared, wanted: &SetUp<'_>, first: &Node, rest: &[Node]) -> Op {
    let pinnings = wanted.pinnings();
    let mut header = header(wanted.block, wanted.token);
    header.block.block.len = wanted.block_size;
    Op::WriteBlock(Box::new(WriteBlock {
        header,
        client_name: shared.client_name.clone(),
        targets: rest.iter().map(|node| node.info.clone()).collect(),
        source: None,
        stage: block_construction_stage(wanted.stage),
        pipeline_size: wanted.nodes.len() as u32,
        min_bytes_received: wanted.min_bytes,
        max_bytes_received: wanted.max_bytes,
        latest_generation_stamp: GenerationStamp(wanted.new_stamp),
        checksum: wanted.checksum,
        caching: proto::CachingStrategyProto {
            drop_behind: wanted.drop_behind,
            readahead: shared.settings.readahead,
        },
        storage_type: first.storage_type,
        target_storage_types: rest.iter().map(|node| node.storage_type).collect(),
        allow_lazy_persist: wanted.lazy_persist,
        pinning: pinnings.first().copied().unwrap_or(false),
        target_pinnings: pinnings.into_iter().skip(1).collect(),
        storage_id: Some(first.storage_id.clone()),
        target_storage_ids: rest.iter().map(|node| node.storage_id.clone()).collect(),
    }))
}

fn header(block: &proto::ExtendedBlockProto, token: &TokenProto) -> BlockHeader {
    BlockHeader {
        block: block.into(),
        token: token.clone(),
    }
}

fn block_construction_stage(stage: Stage) -> proto::op_write_block_proto::BlockConstructionStage {
    use proto::op_write_block_proto::BlockConstructionStage as Wire;
    match stage {
        Stage::SetupAppend => Wire::PipelineSetupAppend,
        Stage::SetupAppendRecovery => Wire::PipelineSetupAppendRecovery,
        Stage::DataStreaming => Wire::DataStreaming,
        Stage::SetupStreamingRecovery => Wire::PipelineSetupStreamingRecovery,
        Stage::Close => Wire::PipelineClose,
        Stage::CloseRecovery => Wire::PipelineCloseRecovery,
        Stage::SetupCreate => Wire::PipelineSetupCreate,
        Stage::TransferRbw => Wire::TransferRbw,
        Stage::TransferFinalized => Wire::TransferFinalized,
    }
}

/// Reads the connect ack: which node is to blame when it is no success.
fn check_set_up(response: &proto::BlockOpResponseProto, nodes: &[Node]) -> Result<(), SetUpFailure> {
    let bad_link = response.first_bad_link();
    let blamed = nodes.iter().position(|node| node.addr() == bad_link);
    let index = blamed.unwrap_or(0);
    match Status::from_wire(response.status) {
        Some(Status::Success) if bad_link.is_empty() => Ok(()),
        Some(Status::OobRestart) => Err(SetUpFailure {
            trouble: Trouble::Restarting(index),
            cause: "node restarts".to_owned(),
        }),
        status => Err(SetUpFailure {
            trouble: Trouble::Bad(index),
            cause: format!(
                "connect ack {} with firstBadLink as {bad_link} {}",
                status.map_or("of unknown status", Status::name),
                response.message()
            ),
        }),
    }
}

/// Has `source` copy the block to `target`, for a pipeline that is short of a node.
pub(crate) async fn transfer(
    shared: &Shared,
    block: &proto::ExtendedBlockProto,
    token: &TokenProto,
    source: &Node,
    target: &Node,
) -> io::Result<()> {
    let operation = Op::TransferBlock(Box::new(TransferBlock {
        header: header(block, token),
        client_name: shared.client_name.clone(),
        targets: vec![target.info.clone()],
        target_storage_types: vec![target.storage_type],
        target_storage_ids: vec![target.storage_id.clone()],
    }));
    let settings = &shared.settings;
    let mut stream = datanode::connect(&source.info, settings.use_datanode_hostname, settings.socket_timeout).await?;
    datanode::send_operation(&mut stream, &operation).await?;
    // The answer comes when the copy is complete: one node's allowance per 12.8 MB of block, at least two.
    const BYTES_PER_ALLOWANCE: u64 = 200 * 64 * 1024;
    let allowances = 2 + (block.num_bytes() / BYTES_PER_ALLOWANCE) as usize;
    let mut incoming = Incoming::default();
    let answer = incoming.response(&mut stream);
    let response = within(settings.pipeline_read_timeout(allowances), answer).await?;
    datanode::refusal(&response).map_or(Ok(()), |text| {
        Err(io::Error::other(format!(
            "Failed to add a datanode. Response status: {text}"
        )))
    })
}
