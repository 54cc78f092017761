//! A scripted NameNode, DataNodes on temporary directories, and a client that speaks the data transfer protocol.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use bytes::Bytes;
use hadron_datanode::DataNode;
use hadron_env::config::Configuration;
use hadron_net::{CallContext, Reply, RpcProtocol, RpcServer, RpcServerOptions};
use hadron_proto::convert::{no_block_keys, no_token};
use hadron_proto::datanode::{ReportBadBlocksRequestProto, ReportBadBlocksResponseProto, *};
use hadron_proto::hdfs::*;
use hadron_proto::protocol::DATANODE_PROTOCOL;
use hadron_proto::{Required, decode_checked};
use hadron_replica::ChunkFormat;
use hadron_types::*;
use parking_lot::{Condvar, Mutex};
use prost::Message;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub const POOL: &str = "BP-7-127.0.0.1-1700000000000";
/// Nothing in these tests takes longer unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the NameNode was told, and what it will say.
#[derive(Default)]
pub struct Script {
    pub registrations: Vec<DatanodeRegistrationProto>,
    pub heartbeats: usize,
    pub reports: Vec<BlockReportRequestProto>,
    /// (DataNode, block, status)
    pub news: Vec<(String, BlockProto, i32)>,
    /// (DataNode, block, whose replica may go)
    pub hints: Vec<(String, u64, String)>,
    pub bad: Vec<LocatedBlockProto>,
    /// Commands by DataNode, for its next heartbeat.
    pub commands: VecDeque<(String, DatanodeCommandProto)>,
    pub refuse_news: bool,
    /// Heartbeats are answered with an error.
    pub refuse_beats: bool,
    pub last_beat: Option<HeartbeatRequestProto>,
    pub lifelines: Vec<HeartbeatRequestProto>,
    pub errors: Vec<ErrorReportRequestProto>,
    /// Blocks that a DataNode told it has in memory, the last report of each.
    pub cached: std::collections::HashMap<String, Vec<u64>>,
    /// Results of block recoveries.
    pub recovered: Vec<CommitBlockSynchronizationRequestProto>,
}

#[derive(Default)]
pub struct FakeNameNode {
    script: Mutex<Script>,
    changed: Condvar,
}

impl FakeNameNode {
    pub fn with<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        let result = change(&mut self.script.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until the script is as wanted.
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut(&Script) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut script = self.script.lock();
        loop {
            if let Some(found) = look(&script) {
                return found;
            }
            let late = self.changed.wait_until(&mut script, deadline).timed_out();
            assert!(!late, "waited in vain for {what}");
        }
    }

    pub fn wait_news(&self, node: &str, id: i64, status: i32) -> BlockProto {
        self.wait(&format!("news {status} of block {id}"), |script| {
            let found = script
                .news
                .iter()
                .find(|(from, block, kind)| from == node && block.block_id == id as u64 && *kind == status);
            found.map(|(_, block, _)| *block)
        })
    }

    fn answer<Q: Message + Default + Required, R: Message>(
        &self,
        body: Bytes,
        act: impl FnOnce(&mut Script, Q) -> Result<R, HadoopError>,
    ) -> Reply {
        let request: Q = match decode_checked(body) {
            Ok(request) => request,
            Err(error) => return Reply::error(HadoopError::io(error.to_string())),
        };
        Reply::of(self.with(|script| act(script, request)))
    }
}

fn ha_status() -> NnhaStatusHeartbeatProto {
    NnhaStatusHeartbeatProto { state: 0, txid: 1 }
}

pub fn namespace() -> NamespaceInfoProto {
    NamespaceInfoProto {
        build_version: "x".into(),
        unused: 0,
        block_pool_id: POOL.into(),
        storage_info: StorageInfoProto {
            layout_version: -63i32 as u32,
            namespce_id: 5,
            cluster_id: "CID-5".into(),
            c_time: 0,
        },
        software_version: "3.3.6".into(),
        capabilities: Some(1),
        state: None,
    }
}

impl RpcProtocol for FakeNameNode {
    fn name(&self) -> &'static str {
        DATANODE_PROTOCOL
    }

    fn call(&self, _context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        Some(match method {
            "versionRequest" => Reply::ok(&VersionResponseProto { info: namespace() }),
            "registerDatanode" => self.answer(body, |script, request: RegisterDatanodeRequestProto| {
                script.registrations.push(request.registration.clone());
                Ok(RegisterDatanodeResponseProto {
                    registration: request.registration,
                })
            }),
            "sendHeartbeat" => self.answer(body, |script, request: HeartbeatRequestProto| {
                if script.refuse_beats {
                    return Err(HadoopError::io("not now"));
                }
                script.heartbeats += 1;
                script.last_beat = Some(request.clone());
                let node = request.registration.datanode_id.datanode_uuid;
                type Orders = VecDeque<(String, DatanodeCommandProto)>;
                let (mine, others): (Orders, Orders) = script.commands.drain(..).partition(|(to, _)| *to == node);
                script.commands = others;
                Ok(HeartbeatResponseProto {
                    cmds: mine.into_iter().map(|(_, command)| command).collect(),
                    ha_status: ha_status(),
                    full_block_report_lease_id: request.request_full_block_report_lease.unwrap_or(false).then_some(77),
                    ..Default::default()
                })
            }),
            "cacheReport" => self.answer(body, |script, request: CacheReportRequestProto| {
                let node = request.registration.datanode_id.datanode_uuid;
                script.cached.insert(node, request.blocks);
                Ok(CacheReportResponseProto { cmd: None })
            }),
            "errorReport" => self.answer(body, |script, request: ErrorReportRequestProto| {
                script.errors.push(request);
                Ok(ErrorReportResponseProto {})
            }),
            "commitBlockSynchronization" => {
                self.answer(body, |script, request: CommitBlockSynchronizationRequestProto| {
                    script.recovered.push(request);
                    Ok(CommitBlockSynchronizationResponseProto {})
                })
            }
            "blockReport" => self.answer(body, |script, request: BlockReportRequestProto| {
                script.reports.push(request);
                Ok(BlockReportResponseProto { cmd: None })
            }),
            "blockReceivedAndDeleted" => self.answer(body, |script, request: BlockReceivedAndDeletedRequestProto| {
                if script.refuse_news {
                    return Err(HadoopError::io("not now"));
                }
                let node = request.registration.datanode_id.datanode_uuid;
                for info in request.blocks.into_iter().flat_map(|storage| storage.blocks) {
                    if let Some(hint) = info.delete_hint {
                        script.hints.push((node.clone(), info.block.block_id, hint));
                    }
                    script.news.push((node.clone(), info.block, info.status));
                }
                Ok(BlockReceivedAndDeletedResponseProto {})
            }),
            "reportBadBlocks" => self.answer(body, |script, request: ReportBadBlocksRequestProto| {
                script.bad.extend(request.blocks);
                Ok(ReportBadBlocksResponseProto {})
            }),
            _ => return None,
        })
    }
}

/// Where the NameNode takes lifelines.
pub struct LifelinePort(pub Arc<FakeNameNode>);

impl RpcProtocol for LifelinePort {
    fn name(&self) -> &'static str {
        hadron_proto::protocol::DATANODE_LIFELINE_PROTOCOL
    }

    fn call(&self, _context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        (method == "sendLifeline").then(|| {
            self.0.answer(body, |script, request: HeartbeatRequestProto| {
                script.lifelines.push(request);
                Ok(hadron_proto::lifeline::LifelineResponseProto {})
            })
        })
    }
}

/// A NameNode and some DataNodes in one process.
pub struct Cluster {
    pub runtime: Runtime,
    pub namenode: Arc<FakeNameNode>,
    pub namenode_addr: SocketAddr,
    pub nodes: Vec<DataNode>,
    pub dirs: Vec<PathBuf>,
    _server: RpcServer,
    _root: TempDir,
}

impl Cluster {
    pub fn start(count: usize) -> Self {
        Self::start_with(count, &[])
    }

    pub fn start_with(count: usize, settings: &[(&str, &str)]) -> Self {
        let runtime = Runtime::new().unwrap();
        let namenode = Arc::new(FakeNameNode::default());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let protocols: Vec<Arc<dyn RpcProtocol>> = vec![namenode.clone()];
        let server = runtime
            .block_on(RpcServer::bind(any, RpcServerOptions::default(), protocols))
            .unwrap();
        let root = tempfile::tempdir().unwrap();
        let mut cluster = Self {
            namenode_addr: server.local_addr(),
            runtime,
            namenode,
            nodes: Vec::new(),
            dirs: Vec::new(),
            _server: server,
            _root: root,
        };
        for i in 0..count {
            let dir = cluster._root.path().join(format!("data{i}"));
            let node = cluster.start_node(&dir, settings);
            cluster.dirs.push(dir);
            cluster.nodes.push(node);
        }
        cluster
    }

    /// A folder that goes with the cluster.
    pub fn root(&self) -> &Path {
        self._root.path()
    }

    pub fn start_node(&self, dir: &Path, settings: &[(&str, &str)]) -> DataNode {
        self.start_node_on(Arc::new(hadron_env::RealDisk), dir, settings)
    }

    /// As [`Self::start_node`] with the replicas' files on `disk`.
    pub fn start_node_on(&self, disk: Arc<dyn hadron_env::Disk>, dir: &Path, settings: &[(&str, &str)]) -> DataNode {
        self.start_node_in(disk, Arc::new(hadron_env::SystemClock::new()), dir, settings)
    }

    /// As [`Self::start_node_on`] with scanners that go by `clock`.
    pub fn start_node_in(
        &self,
        disk: Arc<dyn hadron_env::Disk>,
        clock: Arc<dyn hadron_env::Clock>,
        dir: &Path,
        settings: &[(&str, &str)],
    ) -> DataNode {
        let mut conf = Configuration::new();
        let any = "127.0.0.1:0";
        conf.set("fs.defaultFS", format!("hdfs://{}", self.namenode_addr))
            .set("dfs.datanode.address", any)
            .set("dfs.datanode.ipc.address", any)
            .set("dfs.datanode.http.address", any)
            .set("dfs.heartbeat.interval", "1")
            .set("dfs.datanode.data.dir", dir.display().to_string());
        for (key, value) in settings {
            conf.set(key, *value);
        }
        self.runtime.block_on(async {
            let settings = hadron_datanode::Settings::from_configuration(&conf).unwrap();
            let node = DataNode::start_in(disk, clock, settings).await.unwrap();
            tokio::time::timeout(PATIENCE, node.wait_registered()).await.unwrap();
            node
        })
    }

    pub fn uuid(&self, node: usize) -> String {
        self.nodes[node].uuid().as_str().to_owned()
    }

    pub fn info(&self, node: usize) -> DatanodeInfoProto {
        let node = &self.nodes[node];
        DatanodeInfoProto {
            id: DatanodeIdProto {
                ip_addr: "127.0.0.1".into(),
                host_name: "localhost".into(),
                datanode_uuid: node.uuid().as_str().into(),
                xfer_port: u32::from(node.xfer_addr().port()),
                info_port: 1,
                ipc_port: 1,
                info_secure_port: None,
            },
            ..Default::default()
        }
    }

    pub fn connect(&self, node: usize) -> Peer {
        Peer::connect(self.nodes[node].xfer_addr())
    }

    /// Writes a whole block through the pipeline of all nodes from `first` on.
    pub fn write(&self, first: usize, block: &ExtendedBlock, data: &[u8]) {
        let mut peer = self.connect(first);
        let targets = (first + 1..self.nodes.len()).map(|i| self.info(i)).collect();
        let answer = peer.open_write(block, targets);
        assert_eq!(answer.status, 0, "{answer:?}");
        let mut seqno = 0;
        for (i, part) in data.chunks(64512).enumerate() {
            peer.send_packet(seqno, i as u64 * 64512, part, false, false);
            seqno += 1;
        }
        peer.send_packet(seqno, data.len() as u64, &[], true, false);
        for due in 0..=seqno {
            let ack = peer.ack();
            assert_eq!(ack.seqno, due);
            assert_eq!(ack.reply, vec![0; self.nodes.len() - first], "{ack:?}");
        }
    }
}

pub fn block(id: i64, stamp: u64, len: u64) -> ExtendedBlock {
    ExtendedBlock {
        pool: POOL.into(),
        block: Block {
            id: BlockId(id),
            generation_stamp: GenerationStamp(stamp),
            len,
        },
    }
}

pub fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

pub fn format() -> ChunkFormat {
    ChunkFormat::new(ChecksumType::Crc32c, 512).unwrap()
}

pub fn client_header(block: &ExtendedBlock, client: &str) -> ClientOperationHeaderProto {
    ClientOperationHeaderProto {
        base_header: BaseHeaderProto {
            block: block.into(),
            token: Some(no_token()),
            trace_info: None,
        },
        client_name: client.into(),
    }
}

pub fn write_op(block: &ExtendedBlock, targets: Vec<DatanodeInfoProto>) -> OpWriteBlockProto {
    OpWriteBlockProto {
        header: client_header(block, "client"),
        pipeline_size: targets.len() as u32 + 1,
        targets,
        stage: 6,
        requested_checksum: ChecksumProto {
            r#type: 2,
            bytes_per_checksum: 512,
        },
        ..Default::default()
    }
}

pub fn read_op(block: &ExtendedBlock, offset: u64, len: u64) -> OpReadBlockProto {
    OpReadBlockProto {
        header: client_header(block, "client"),
        offset,
        len,
        send_checksums: None,
        caching_strategy: None,
    }
}

/// A packet as it came.
#[derive(Debug)]
pub struct RawPacket {
    pub header: PacketHeaderProto,
    pub sums: Vec<u8>,
    pub data: Vec<u8>,
}

/// A packet with right checksums.
pub fn raw_packet(seqno: i64, offset: u64, data: &[u8], last: bool) -> Vec<u8> {
    let mut sums = Vec::new();
    format().append_sums(data, &mut sums);
    raw_packet_of(seqno, offset, &sums, data, last, false)
}

fn raw_packet_of(seqno: i64, offset: u64, sums: &[u8], data: &[u8], last: bool, sync: bool) -> Vec<u8> {
    let header = PacketHeaderProto {
        offset_in_block: offset as i64,
        seqno,
        last_packet_in_block: last,
        data_len: data.len() as i32,
        sync_block: sync.then_some(true),
    };
    let mut out = ((4 + sums.len() + data.len()) as u32).to_be_bytes().to_vec();
    out.extend((header.encoded_len() as u16).to_be_bytes());
    out.extend(header.encode_to_vec());
    out.extend(sums);
    out.extend(data);
    out
}

/// The other end of a data connection.
pub struct Peer(pub TcpStream);

impl Peer {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Connects to a Unix socket. The type says TCP; to the kernel a stream is a stream.
    pub fn local(path: &Path) -> Self {
        let stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(TcpStream::from(std::os::fd::OwnedFd::from(stream)))
    }

    pub fn op(&mut self, code: u8, message: &impl Message) {
        let mut out = vec![0, 28, code];
        out.extend(message.encode_length_delimited_to_vec());
        self.0.write_all(&out).unwrap();
    }

    pub fn message<M: Message + Default>(&mut self) -> M {
        self.try_message().unwrap()
    }

    pub fn try_message<M: Message + Default>(&mut self) -> std::io::Result<M> {
        let mut len = 0u64;
        for shift in (0..).step_by(7) {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            len |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut body = vec![0; len as usize];
        self.0.read_exact(&mut body)?;
        Ok(M::decode(body.as_slice()).unwrap())
    }

    /// Sends a message as a DataNode answers.
    pub fn answer(&mut self, message: &impl Message) {
        self.0.write_all(&message.encode_length_delimited_to_vec()).unwrap();
    }

    pub fn response(&mut self) -> BlockOpResponseProto {
        self.message()
    }

    pub fn ack(&mut self) -> PipelineAckProto {
        self.message()
    }

    pub fn open_write(&mut self, block: &ExtendedBlock, targets: Vec<DatanodeInfoProto>) -> BlockOpResponseProto {
        self.op(80, &write_op(block, targets));
        self.response()
    }

    pub fn send_packet(&mut self, seqno: i64, offset: u64, data: &[u8], last: bool, sync: bool) {
        let mut sums = Vec::new();
        format().append_sums(data, &mut sums);
        self.send_raw_packet(seqno, offset, &sums, data, last, sync);
    }

    /// Sends a packet to a node that may have refused the operation and be gone.
    pub fn offer_packet(&mut self, seqno: i64, offset: u64, data: &[u8], last: bool) {
        let mut sums = Vec::new();
        format().append_sums(data, &mut sums);
        let _ = self
            .0
            .write_all(&raw_packet_of(seqno, offset, &sums, data, last, false));
    }

    pub fn send_raw_packet(&mut self, seqno: i64, offset: u64, sums: &[u8], data: &[u8], last: bool, sync: bool) {
        let out = raw_packet_of(seqno, offset, sums, data, last, sync);
        self.0.write_all(&out).unwrap();
    }

    pub fn packet(&mut self) -> RawPacket {
        let mut prefix = [0; 6];
        self.0.read_exact(&mut prefix).unwrap();
        let payload = u32::from_be_bytes(prefix[..4].try_into().unwrap()) as usize - 4;
        let mut header = vec![0; usize::from(u16::from_be_bytes(prefix[4..].try_into().unwrap()))];
        self.0.read_exact(&mut header).unwrap();
        let header = PacketHeaderProto::decode(header.as_slice()).unwrap();
        let mut body = vec![0; payload];
        self.0.read_exact(&mut body).unwrap();
        let data = body.split_off(payload - header.data_len as usize);
        RawPacket {
            header,
            sums: body,
            data,
        }
    }

    /// Reads packets to the last one, checks them, and gives first offset and data.
    pub fn packets(&mut self, format: ChunkFormat) -> (u64, Vec<u8>) {
        let (mut all, mut start) = (Vec::new(), None);
        for seqno in 0.. {
            let packet = self.packet();
            let offset = packet.header.offset_in_block as u64;
            let start = *start.get_or_insert(offset);
            assert_eq!(packet.header.seqno, seqno);
            assert_eq!(offset, start + all.len() as u64);
            if packet.header.last_packet_in_block {
                assert!(packet.data.is_empty());
                return (start, all);
            }
            assert_eq!(packet.sums.len(), format.sums_len(packet.data.len()));
            assert_eq!(format.verify(&packet.data, &packet.sums), Ok(()));
            all.extend(packet.data);
        }
        unreachable!()
    }

    pub fn status(&mut self, status: i32) {
        let message = ClientReadStatusProto { status };
        self.0.write_all(&message.encode_length_delimited_to_vec()).unwrap();
    }

    /// Reads a range to its end on this connection; gives the bytes asked for.
    pub fn read(&mut self, block: &ExtendedBlock, offset: u64, len: u64) -> Vec<u8> {
        self.op(81, &read_op(block, offset, len));
        let answer = self.response();
        assert_eq!(answer.status, 0, "{answer:?}");
        let chunk_offset = answer.read_op_checksum_info.unwrap().chunk_offset;
        let (start, data) = self.packets(format());
        assert!(data.is_empty() || start == chunk_offset);
        self.status(6);
        let skip = (offset - chunk_offset) as usize;
        let end = if len == u64::MAX {
            data.len()
        } else {
            skip + len as usize
        };
        data[skip..end].to_vec()
    }

    /// Whether the other side closes without sending anything.
    pub fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0; 16]) {
            Ok(count) => count == 0,
            // Nothing in all that time: it is open.
            Err(error) => !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
        }
    }
}

pub fn register_command() -> DatanodeCommandProto {
    DatanodeCommandProto {
        cmd_type: 5,
        register_cmd: Some(RegisterCommandProto {}),
        ..Default::default()
    }
}

pub fn block_command(order: BlockCommandProto) -> DatanodeCommandProto {
    DatanodeCommandProto {
        cmd_type: 1,
        blk_cmd: Some(order),
        ..Default::default()
    }
}

/// Unused here, but a registration must carry it.
pub fn keys() -> ExportedBlockKeysProto {
    no_block_keys()
}

/// Polls a condition that an outside thread makes true.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
