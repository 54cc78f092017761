//! `hadron bench floor`: the least a NameNode could do on this machine, to measure a real one against.
//!
//! One thread takes RPC frames off its sockets, makes one synchronous write of a block to a file for all mutations that
//! came together, and answers with canned messages of the usual size. No namespace, no locks, no permissions: what is
//! left is the kernel's part and the frames. Only `hadron bench nn` and its like should talk to it, and, where it plays
//! DataNodes too ([`super::floor_nodes`]), `hadron bench small --write`.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use clap::Args;
use hadron_proto::hdfs;
use hadron_wire::rpc::preamble::PREAMBLE_LEN;
use hadron_wire::rpc::{CallEcho, FrameDecoder, FrameKind, RequestFrame, encode_success};
use prost::Message;
use rustix::event::epoll;
use rustix::fs::{Mode, OFlags};

use super::floor_nodes;

/// Bytes of one write; what a small batch of the journal takes.
const BLOCK_BYTES: usize = 4096;
/// Bytes of the file that is written round and round.
const FILE_BYTES: u64 = 64 << 20;
/// Longest frame taken.
const MAX_FRAME_LEN: usize = 1 << 20;
/// Most connections.
const MAX_CONNECTIONS: usize = 4096;
/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;
/// Key of the listener among the events.
const LISTENER: u64 = u64::MAX;

/// `hadron bench floor`.
#[derive(Args)]
pub(crate) struct FloorArgs {
    /// Port on 127.0.0.1; 0: any.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// File for the synchronous writes; made, and removed by nobody. Without it mutations are not written.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Plays so many DataNodes as well.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "store", value_parser = clap::value_parser!(u32).range(0..=16))]
    datanodes: u32,
    /// Directory for the files of these DataNodes; made, and removed by nobody.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// Serves until the process is ended.
#[allow(clippy::print_stdout, reason = "the line a script waits for")]
pub(crate) fn run(args: &FloorArgs) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).context("listen on 127.0.0.1")?;
    listener.set_nonblocking(true)?;
    let mut journal = args.journal.as_ref().map(Journal::open).transpose()?;
    let address = listener.local_addr()?;
    let nodes = match &args.store {
        Some(store) => floor_nodes::start(args.datanodes, store, address)?,
        None => Vec::new(),
    };
    println!("READY hdfs://{address}");
    let events = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &events,
        &listener,
        epoll::EventData::new_u64(LISTENER),
        epoll::EventFlags::IN,
    )?;
    let mut canned = Canned::new(nodes);
    let mut connections = HashMap::new();
    let mut next = 0_u64;
    let mut ready = Vec::with_capacity(256);
    loop {
        ready.clear();
        epoll::wait(&events, rustix::buffer::spare_capacity(&mut ready), None)?;
        let mut answering = Vec::new();
        let mut mutated = false;
        for event in &ready {
            let key = event.data.u64();
            if key == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    if connections.len() >= MAX_CONNECTIONS {
                        continue;
                    }
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let flags = epoll::EventFlags::IN;
                    epoll::add(&events, stream.as_fd(), epoll::EventData::new_u64(next), flags)?;
                    connections.insert(next, Connection::new(stream));
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&key) {
                match connection.take(&mut canned) {
                    Ok(mutates) => {
                        mutated |= mutates;
                        answering.push(key);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "connection ends");
                        connections.remove(&key);
                    }
                }
            }
        }
        if let (true, Some(journal)) = (mutated, &mut journal) {
            journal.write()?;
        }
        for key in answering {
            if let Some(connection) = connections.get_mut(&key)
                && connection.answer().is_err()
            {
                connections.remove(&key);
            }
        }
    }
}

/// A file of zeros, written a block at a time past the page cache.
struct Journal {
    file: std::fs::File,
    block: Vec<u8>,
    start: usize,
    at: u64,
}

impl Journal {
    fn open(path: &PathBuf) -> Result<Self> {
        let mut zeros = std::fs::File::create(path).with_context(|| format!("create {}", path.display()))?;
        for _ in 0..FILE_BYTES >> 20 {
            zeros.write_all(&[0; 1 << 20])?;
        }
        zeros.sync_all()?;
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::DSYNC | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())
            .with_context(|| format!("open {} for direct writes; is it on a disk?", path.display()))?;
        let block = vec![7; 2 * BLOCK_BYTES];
        let start = (BLOCK_BYTES - block.as_ptr().addr() % BLOCK_BYTES) % BLOCK_BYTES;
        Ok(Self {
            file: file.into(),
            block,
            start,
            at: 0,
        })
    }

    fn write(&mut self) -> Result<()> {
        let block = &self.block[self.start..self.start + BLOCK_BYTES];
        self.file.write_all_at(block, self.at).context("write the journal")?;
        self.at = (self.at + BLOCK_BYTES as u64) % FILE_BYTES;
        Ok(())
    }
}

struct Connection {
    stream: TcpStream,
    frames: FrameDecoder,
    is_greeted: bool,
    output: BytesMut,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            frames: FrameDecoder::new(MAX_FRAME_LEN),
            is_greeted: false,
            output: BytesMut::new(),
        }
    }

    /// Reads once and prepares the answers. Returns whether one of the calls changes something.
    fn take(&mut self, canned: &mut Canned) -> Result<bool> {
        let mut bytes = [0; READ_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => bail!("closed"),
            Ok(len) => self.frames.read_buffer().extend_from_slice(&bytes[..len]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if !self.is_greeted {
            if self.frames.buffered().len() < PREAMBLE_LEN {
                return Ok(false);
            }
            self.frames.skip(PREAMBLE_LEN);
            self.is_greeted = true;
        }
        let mut mutates = false;
        while let Some(frame) = self.frames.next_frame()? {
            let Ok(frame) = RequestFrame::decode(frame) else {
                bail!("no request frame")
            };
            if frame.kind != FrameKind::Call {
                continue;
            }
            let Ok(call) = frame.call() else { bail!("no call") };
            let (answer, changes) = canned.answer(&call.header.method_name, call.message.clone());
            mutates |= changes;
            encode_success(&mut self.output, &CallEcho::of(&frame.header), &answer);
        }
        Ok(mutates)
    }

    fn answer(&mut self) -> std::io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output)?;
            self.output.clear();
        }
        Ok(())
    }
}

/// Messages of the usual size.
struct Canned {
    status: Bytes,
    listing: Bytes,
    truth: Bytes,
    nodes: Vec<hdfs::DatanodeInfoProto>,
    /// Of the file created last, as all are alike.
    replication: usize,
    last_block: u64,
}

impl Canned {
    fn new(nodes: Vec<hdfs::DatanodeInfoProto>) -> Self {
        let status = |name: &str| hdfs::HdfsFileStatusProto {
            file_type: 2,
            path: Bytes::copy_from_slice(name.as_bytes()),
            length: 0,
            permission: hdfs::FsPermissionProto { perm: 0o644 },
            owner: "owner".into(),
            group: "supergroup".into(),
            modification_time: 1_700_000_000_000,
            access_time: 1_700_000_000_000,
            block_replication: Some(3),
            blocksize: Some(128 << 20),
            file_id: Some(1_000_000),
            children_num: Some(0),
            ..hdfs::HdfsFileStatusProto::default()
        };
        let listing = hdfs::GetListingResponseProto {
            dir_list: Some(hdfs::DirectoryListingProto {
                partial_listing: (0..100).map(|number| status(&format!("f{number}"))).collect(),
                remaining_entries: 0,
            }),
        };
        let one = hdfs::GetFileInfoResponseProto { fs: Some(status("")) };
        let truth = hdfs::MkdirsResponseProto { result: true };
        Self {
            status: one.encode_to_vec().into(),
            listing: listing.encode_to_vec().into(),
            truth: truth.encode_to_vec().into(),
            nodes,
            replication: 0,
            last_block: 1 << 30,
        }
    }

    /// A new block on as many nodes as its file asked for.
    fn block(&mut self) -> Bytes {
        self.last_block += 1;
        let nodes = &self.nodes[..self.replication.min(self.nodes.len())];
        let block = hdfs::LocatedBlockProto {
            b: hdfs::ExtendedBlockProto {
                pool_id: "BP-0-127.0.0.1-0".into(),
                block_id: self.last_block,
                generation_stamp: 1001,
                num_bytes: Some(0),
            },
            locs: nodes.to_vec(),
            is_cached: vec![false; nodes.len()],
            storage_types: vec![hdfs::StorageTypeProto::Disk as i32; nodes.len()],
            storage_i_ds: nodes.iter().map(|node| node.id.datanode_uuid.clone()).collect(),
            ..hdfs::LocatedBlockProto::default()
        };
        hdfs::AddBlockResponseProto { block }.encode_to_vec().into()
    }

    /// The answer to a method, and whether the method changes something.
    fn answer(&mut self, method: &str, request: Bytes) -> (Bytes, bool) {
        match method {
            "getFileInfo" => (self.status.clone(), false),
            "getListing" => (self.listing.clone(), false),
            "create" => {
                let created = hdfs::CreateRequestProto::decode(request);
                self.replication = created.map_or(0, |created| created.replication as usize);
                (self.status.clone(), true)
            }
            "addBlock" => (self.block(), true),
            "blockReceivedAndDeleted" => (Bytes::new(), false),
            _ => (self.truth.clone(), true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_messages_of_their_methods() {
        let mut canned = Canned::new(Vec::new());
        let mut answer = |method| canned.answer(method, Bytes::new());
        let (status, changes) = answer("getFileInfo");
        assert!(!changes && hdfs::GetFileInfoResponseProto::decode(status).is_ok_and(|found| found.fs.is_some()));
        let (listing, _) = answer("getListing");
        let listing = hdfs::GetListingResponseProto::decode(listing)
            .expect("listing")
            .dir_list;
        assert_eq!(listing.map(|list| list.partial_listing.len()), Some(100));
        let (created, changes) = answer("create");
        assert!(changes && hdfs::CreateResponseProto::decode(created).is_ok_and(|found| found.fs.is_some()));
        let (done, changes) = answer("complete");
        assert!(changes && hdfs::CompleteResponseProto::decode(done).is_ok_and(|found| found.result));
    }
}
