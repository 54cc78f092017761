//! A NameNode with one file and DataNodes that hold its blocks, all of which do as a script says.

use bytes::{Buf, Bytes, BytesMut};
use hadron_net::{CallContext, Reply, RpcProtocol, RpcServer, RpcServerOptions};
use hadron_proto::hdfs as proto;
use hadron_proto::protocol::{CLIENT_DATANODE_PROTOCOL, CLIENT_PROTOCOL};
use hadron_types::{ChecksumType, ErrorKind, HadoopError};
use hadron_wire::transfer::op::ReadBlock;
use hadron_wire::transfer::{self, Checksum, Op, response};
use parking_lot::Mutex;
use prost::Message;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

const CHUNK: u64 = 512;
const PACKET: usize = 2048;

// ---- DataNodes ----

/// What a DataNode says about the length of an open block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Visible {
    Len(i64),
    Refuse(ErrorKind),
}

#[derive(Default)]
pub(crate) struct Replica {
    pub(crate) data: Vec<u8>,
    pub(crate) stamp: u64,
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) replicas: HashMap<u64, Replica>,
    /// One after the other; the last one stays.
    pub(crate) visible: VecDeque<Visible>,
    pub(crate) corrupt: bool,
    /// Connections to cut after their first packet.
    pub(crate) cuts: usize,
    /// Refuses every read.
    pub(crate) refuses: bool,
    /// READ_BLOCK operations received.
    pub(crate) reads: usize,
    /// Times the length was asked for.
    pub(crate) asked_length: usize,
}

pub(crate) struct DataNode {
    pub(crate) store: Arc<Mutex<Store>>,
    /// Reads wait while it is true.
    pub(crate) held: watch::Sender<bool>,
    /// Connections that are open.
    connections: Arc<()>,
    name: String,
    addr: SocketAddr,
    rpc: RpcServer,
    accepting: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl DataNode {
    pub(crate) async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let store = Arc::new(Mutex::new(Store::default()));
        let (held, holding) = watch::channel(false);
        let connections = Arc::new(());
        let protocol: Arc<dyn RpcProtocol> = Arc::new(Lengths(Arc::clone(&store)));
        let any = "127.0.0.1:0".parse().unwrap();
        let rpc = RpcServer::bind(any, RpcServerOptions::default(), vec![protocol])
            .await
            .unwrap();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&store), holding, Arc::clone(&connections)));
        Self {
            store,
            held,
            connections,
            name: name.to_owned(),
            addr,
            rpc,
            accepting: Mutex::new(Some(AbortOnDropHandle::new(accepting))),
        }
    }

    pub(crate) fn info(&self) -> proto::DatanodeInfoProto {
        proto::DatanodeInfoProto {
            id: proto::DatanodeIdProto {
                ip_addr: self.addr.ip().to_string(),
                host_name: "localhost".to_owned(),
                datanode_uuid: self.name.clone(),
                xfer_port: u32::from(self.addr.port()),
                ipc_port: u32::from(self.rpc.local_addr().port()),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    pub(crate) fn put(&self, id: u64, stamp: u64, data: &[u8]) {
        let replica = Replica {
            data: data.to_vec(),
            stamp,
        };
        self.store.lock().replicas.insert(id, replica);
    }

    pub(crate) fn reads(&self) -> usize {
        self.store.lock().reads
    }

    pub(crate) fn open_connections(&self) -> usize {
        // One here, one in the accepting task.
        Arc::strong_count(&self.connections) - 2
    }

    /// Nobody listens any more.
    pub(crate) async fn kill(&self) {
        self.accepting.lock().take();
        self.rpc.shutdown().await;
    }
}

struct Lengths(Arc<Mutex<Store>>);

impl RpcProtocol for Lengths {
    fn name(&self) -> &'static str {
        CLIENT_DATANODE_PROTOCOL
    }

    fn call(&self, _context: &CallContext, method: &str, _body: Bytes) -> Option<Reply> {
        assert_eq!(method, "getReplicaVisibleLength");
        let mut store = self.0.lock();
        store.asked_length += 1;
        let answer = match store.visible.len() {
            0 | 1 => store.visible.front().copied(),
            _ => store.visible.pop_front(),
        };
        Some(match answer.unwrap_or(Visible::Refuse(ErrorKind::ReplicaNotFound)) {
            Visible::Len(len) => Reply::ok(&proto::GetReplicaVisibleLengthResponseProto { length: len as u64 }),
            Visible::Refuse(kind) => Reply::error(HadoopError::new(kind, "scripted")),
        })
    }
}

async fn accept(listener: TcpListener, store: Arc<Mutex<Store>>, holding: watch::Receiver<bool>, connections: Arc<()>) {
    let mut serving = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (store, holding, connection) = (Arc::clone(&store), holding.clone(), Arc::clone(&connections));
        serving.spawn(async move {
            // Broken connections are the point of these tests.
            let _broken = serve(stream, &store, holding).await;
            drop(connection);
        });
    }
}

async fn serve(mut stream: TcpStream, store: &Mutex<Store>, mut holding: watch::Receiver<bool>) -> io::Result<()> {
    let mut buf = BytesMut::new();
    loop {
        let op = loop {
            if let Some((op, used)) = Op::decode(&buf)? {
                buf.advance(used);
                break op;
            }
            if stream.read_buf(&mut buf).await? == 0 {
                return Ok(());
            }
        };
        let Op::ReadBlock(op) = op else {
            panic!("unexpected {}", op.name());
        };
        store.lock().reads += 1;
        let released = async { holding.wait_for(|held| !held).await.is_ok() };
        let mut byte = [0];
        tokio::select! {
            biased;
            _ = released => {}
            // The peer has nothing to say now: it went away.
            _ = stream.peek(&mut byte) => return Ok(()),
        }
        read_block(&mut stream, &mut buf, &op, store).await?;
    }
}

async fn read_block(
    stream: &mut TcpStream,
    buf: &mut BytesMut,
    op: &ReadBlock,
    store: &Mutex<Store>,
) -> io::Result<()> {
    let block = &op.header.block.block;
    let (data, corrupt, cut) = {
        let mut store = store.lock();
        let found = store.replicas.get(&block.id.to_wire());
        let found = found.filter(|replica| replica.stamp >= block.generation_stamp.0);
        let data = found.filter(|_| !store.refuses).map(|replica| replica.data.clone());
        let cut = store.cuts > 0;
        store.cuts = store.cuts.saturating_sub(1);
        (data, store.corrupt, cut)
    };
    let mut out = BytesMut::new();
    let Some(data) = data else {
        response::encode_response(&mut out, &response::failure(proto::Status::Error, "scripted refusal"));
        stream.write_all(&out).await?;
        return Err(io::ErrorKind::NotFound.into());
    };
    let checksum = Checksum::new(ChecksumType::Crc32c, CHUNK as u32)?;
    let start = op.offset - op.offset % CHUNK;
    response::encode_response(&mut out, &response::read_success(&checksum, start));
    stream.write_all(&out).await?;
    let end = (op.offset + op.len).next_multiple_of(CHUNK).min(data.len() as u64);
    let (mut seqno, mut offset) = (0, start);
    for piece in data[start as usize..end as usize].chunks(PACKET) {
        if cut && seqno == 1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut checksums = vec![0; checksum.checksums_len(piece.len())];
        checksum.compute_into(piece, &mut checksums);
        let mut piece = piece.to_vec();
        piece[0] ^= u8::from(corrupt);
        send(stream, seqno, offset, &checksums, &piece).await?;
        seqno += 1;
        offset += piece.len() as u64;
    }
    send(stream, seqno, end, &[], &[]).await?;
    loop {
        if let Some((status, used)) = response::decode_read_status(buf)? {
            buf.advance(used);
            assert_eq!(status, proto::Status::ChecksumOk);
            return Ok(());
        }
        if stream.read_buf(buf).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn send(stream: &mut TcpStream, seqno: i64, offset: u64, checksums: &[u8], data: &[u8]) -> io::Result<()> {
    let header = transfer::PacketHeader {
        offset_in_block: offset,
        seqno,
        last: data.is_empty(),
        data_len: data.len() as u32,
        sync_block: false,
    };
    let mut out = BytesMut::new();
    header.append_to(checksums.len(), &mut out);
    out.extend_from_slice(checksums);
    out.extend_from_slice(data);
    stream.write_all(&out).await
}

// ---- the NameNode ----

/// A block as the NameNode tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) id: u64,
    pub(crate) stamp: u64,
    pub(crate) len: u64,
    pub(crate) nodes: Vec<proto::DatanodeInfoProto>,
}

/// The file; one after the other, the last one stays.
#[derive(Clone, Default, Debug)]
pub(crate) struct File {
    pub(crate) blocks: Vec<Block>,
    /// Whether the last block is being written.
    pub(crate) open: bool,
}

#[derive(Default)]
pub(crate) struct NameState {
    pub(crate) versions: VecDeque<File>,
    pub(crate) lookups: usize,
    /// Per report: block id and the nodes blamed.
    pub(crate) reports: Vec<(u64, Vec<String>)>,
}

pub(crate) struct NameNode {
    pub(crate) state: Arc<Mutex<NameState>>,
    server: RpcServer,
}

struct Protocol(Arc<Mutex<NameState>>);

impl NameNode {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(NameState::default()));
        let protocol: Arc<dyn RpcProtocol> = Arc::new(Protocol(Arc::clone(&state)));
        let any = "127.0.0.1:0".parse().unwrap();
        let server = RpcServer::bind(any, RpcServerOptions::default(), vec![protocol])
            .await
            .unwrap();
        Self { state, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("hdfs://{}", self.server.local_addr())
    }
}

impl RpcProtocol for Protocol {
    fn name(&self) -> &'static str {
        CLIENT_PROTOCOL
    }

    fn call(&self, _context: &CallContext, method: &str, body: Bytes) -> Option<Reply> {
        let mut state = self.0.lock();
        Some(match method {
            "getBlockLocations" => {
                state.lookups += 1;
                let file = match state.versions.len() {
                    0 | 1 => state.versions.front().cloned(),
                    _ => state.versions.pop_front(),
                };
                let request = proto::GetBlockLocationsRequestProto::decode(body).unwrap();
                Reply::ok(&proto::GetBlockLocationsResponseProto {
                    locations: file.map(|file| file.locate(&request)),
                })
            }
            "reportBadBlocks" => {
                let request = proto::ReportBadBlocksRequestProto::decode(body).unwrap();
                for block in request.blocks {
                    let nodes = block.locs.into_iter().map(|node| node.id.datanode_uuid);
                    state.reports.push((block.b.block_id, nodes.collect()));
                }
                Reply::ok(&proto::ReportBadBlocksResponseProto {})
            }
            _ => return None,
        })
    }
}

impl File {
    fn locate(&self, request: &proto::GetBlockLocationsRequestProto) -> proto::LocatedBlocksProto {
        let mut offset = 0;
        let mut located = Vec::new();
        for (number, block) in self.blocks.iter().enumerate() {
            let block_is_open = self.open && number + 1 == self.blocks.len();
            located.push(proto::LocatedBlockProto {
                b: proto::ExtendedBlockProto {
                    pool_id: "BP-1-127.0.0.1-1".to_owned(),
                    block_id: block.id,
                    generation_stamp: block.stamp,
                    num_bytes: Some(block.len),
                },
                offset,
                locs: block.nodes.clone(),
                storage_types: vec![1; block.nodes.len()],
                storage_i_ds: block
                    .nodes
                    .iter()
                    .map(|node| format!("DS-{}", node.id.datanode_uuid))
                    .collect(),
                ..Default::default()
            });
            if !block_is_open {
                offset += block.len;
            }
        }
        let last_block = located.last().cloned();
        let end = request.offset.saturating_add(request.length);
        located.retain(|block| block.offset < end && block.offset + block.b.num_bytes() > request.offset);
        proto::LocatedBlocksProto {
            file_length: offset,
            blocks: located,
            under_construction: self.open,
            is_last_block_complete: !self.open,
            last_block,
            ..Default::default()
        }
    }
}
