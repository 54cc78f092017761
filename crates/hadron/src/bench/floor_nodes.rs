//! The DataNodes of `hadron bench floor`: the least that small replicas take on this machine.
//!
//! They take a block's operation and its packets, pass them on, make, write and move two files a replica, ack, and tell
//! the floor's NameNode, in the order and the messages of the protocol. Nothing is checked, remembered, recovered or
//! synced; only `hadron bench small --write` and its like should talk to them.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use hadron_proto::hdfs::{DatanodeIdProto, DatanodeInfoProto, Status};
use hadron_wire::transfer::op::WriteBlock;
use hadron_wire::transfer::packet::{PREFIX_LEN, PacketPrefix};
use hadron_wire::transfer::{Op, PacketHeader, PipelineAck, response};

use super::callers::Callers;

/// Operations at a time on one node; more wait to be accepted.
const WORKERS: usize = 128;
/// Longest packet taken.
const MAX_PACKET_LEN: usize = 1 << 20;
/// Blocks whose files lie in one directory.
const BLOCKS_PER_DIR: i64 = 256;
/// Bytes of a report of one finished replica.
const REPORT_BYTES: usize = 300;
/// Bytes before the checksums in a file of checksums.
const META_HEADER_LEN: usize = 7;

/// One node: where its files are, and where its finished replicas are told.
struct Node {
    dir: PathBuf,
    news: Sender<()>,
}

/// Starts `count` nodes with their files below `dir` that report to `namenode`. They live as long as the process.
pub(super) fn start(count: u32, dir: &Path, namenode: SocketAddr) -> Result<Vec<DatanodeInfoProto>> {
    (0..count)
        .map(|number| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on 127.0.0.1")?;
            let port = u32::from(listener.local_addr()?.port());
            let dir = dir.join(format!("node{number}"));
            std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
            let (news, received) = mpsc::channel();
            std::thread::Builder::new()
                .name(format!("reports-{number}"))
                .spawn(move || report(&received, namenode))?;
            let (node, listener) = (Arc::new(Node { dir, news }), Arc::new(listener));
            for _ in 0..WORKERS {
                let (node, listener) = (Arc::clone(&node), Arc::clone(&listener));
                std::thread::Builder::new().name("xceiver".into()).spawn(move || {
                    while let Ok((stream, _)) = listener.accept() {
                        if let Err(error) = serve(&stream, &node) {
                            tracing::debug!(%error, "operation ends");
                        }
                    }
                })?;
            }
            Ok(DatanodeInfoProto {
                id: DatanodeIdProto {
                    ip_addr: Ipv4Addr::LOCALHOST.to_string(),
                    host_name: Ipv4Addr::LOCALHOST.to_string(),
                    datanode_uuid: format!("floor-{number}"),
                    xfer_port: port,
                    info_port: port,
                    ipc_port: port,
                    info_secure_port: None,
                },
                ..DatanodeInfoProto::default()
            })
        })
        .collect()
}

/// One call for all that was finished while the last one was under way.
fn report(finished: &Receiver<()>, namenode: SocketAddr) -> Result<()> {
    let mut connection: Option<Callers> = None;
    while finished.recv().is_ok() {
        let count = 1 + finished.try_iter().count();
        let callers = match &mut connection {
            Some(callers) => callers,
            none => none.insert(Callers::connect(namenode, 1, "floor")?),
        };
        let request = || ("blockReceivedAndDeleted", vec![0; REPORT_BYTES * count]);
        callers.run(1, |_, index| (index == 0).then(request))?;
    }
    Ok(())
}

/// The files of one replica.
struct Files {
    data: File,
    sums: File,
    paths: [(PathBuf, PathBuf); 2],
}

impl Files {
    fn create(dir: &Path, write: &WriteBlock) -> Result<Self> {
        let block = write.header.block.block;
        let dir = dir.join(format!("subdir{}", block.id.0 / BLOCKS_PER_DIR));
        std::fs::create_dir_all(&dir)?;
        let data = format!("blk_{}", block.id.0);
        let names = [format!("{data}_{}.meta", block.generation_stamp.0), data];
        let [sums, data] = names.map(|name| (dir.join(format!("rbw_{name}")), dir.join(name)));
        Ok(Self {
            data: File::create_new(&data.0)?,
            sums: File::create_new(&sums.0)?,
            paths: [data, sums],
        })
    }

    fn finish(self) -> Result<()> {
        drop((self.data, self.sums));
        for (open, finished) in &self.paths {
            std::fs::rename(open, finished)?;
        }
        Ok(())
    }
}

/// One operation of `WRITE_BLOCK`.
fn serve(stream: &TcpStream, node: &Node) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut upstream = BufReader::new(stream);
    let Op::WriteBlock(mut write) = Op::read(&mut upstream)? else {
        bail!("not a write");
    };
    let mirror = match write.targets.is_empty() {
        true => None,
        false => Some(forward(&mut write)?),
    };
    let mut acks = mirror.as_ref().map(BufReader::new);
    let files = Files::create(&node.dir, &write)?;
    if let Some(acks) = &mut acks {
        response::read_response(acks)?;
    }
    let mut out = BytesMut::new();
    response::encode_response(&mut out, &response::connect_ack(Status::Success, ""));
    (&*stream).write_all(&out)?;
    let mut packet = Vec::new();
    loop {
        let (header, sums, data) = read_packet(&mut upstream, &mut packet)?;
        if let Some(mirror) = &mirror {
            (&*mirror).write_all(&packet)?;
        }
        if data < packet.len() {
            let mut meta = vec![0; META_HEADER_LEN];
            meta.extend_from_slice(&packet[sums..data]);
            files.data.write_all_at(&packet[data..], header.offset_in_block)?;
            files.sums.write_all_at(&meta, 0)?;
        }
        let below = match &mut acks {
            Some(acks) => PipelineAck::read(acks)?.replies.len(),
            None => 0,
        };
        if header.last {
            files.finish()?;
            let _ = node.news.send(());
            return send_ack(stream, header.seqno, below + 1);
        }
        send_ack(stream, header.seqno, below + 1)?;
    }
}

/// Connects to the first of the targets and sends it the operation with the rest of them.
fn forward(write: &mut WriteBlock) -> Result<TcpStream> {
    let next = write.targets.remove(0);
    drop_first(&mut write.target_storage_ids);
    drop_first(&mut write.target_storage_types);
    drop_first(&mut write.target_pinnings);
    let port = u16::try_from(next.id.xfer_port).context("port")?;
    let mirror = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    mirror.set_nodelay(true)?;
    let mut out = BytesMut::new();
    Op::WriteBlock(Box::new(write.clone())).encode(&mut out);
    (&mirror).write_all(&out)?;
    Ok(mirror)
}

fn drop_first<T>(list: &mut Vec<T>) {
    list.drain(..1.min(list.len()));
}

/// Reads a packet into `packet`; its header, where its checksums begin, and where its data does.
fn read_packet(from: &mut impl Read, packet: &mut Vec<u8>) -> Result<(PacketHeader, usize, usize)> {
    let mut prefix = [0; PREFIX_LEN];
    from.read_exact(&mut prefix)?;
    let lengths = PacketPrefix::decode(prefix)?;
    let sums = PREFIX_LEN + lengths.header_len;
    let len = sums + lengths.payload_len;
    if len > MAX_PACKET_LEN {
        bail!("packet of {len} bytes");
    }
    packet.clear();
    packet.extend_from_slice(&prefix);
    packet.resize(len, 0);
    from.read_exact(&mut packet[PREFIX_LEN..])?;
    let header = PacketHeader::decode(&packet[PREFIX_LEN..sums])?;
    let data = sums + lengths.checksums_len(&header)?;
    Ok((header, sums, data))
}

fn send_ack(mut to: &TcpStream, seqno: i64, nodes: usize) -> Result<()> {
    let mut out = BytesMut::new();
    PipelineAck::new(seqno, std::iter::repeat_n(Status::Success, nodes)).encode(&mut out);
    Ok(to.write_all(&out)?)
}
