//! A DataNode that keeps replicas in memory, relays with the real machine and misbehaves as scripted.

use bytes::{Buf, BytesMut};
use hadron_pipeline::packet::{AckReply, PacketHeader, PipelineAck};
use hadron_pipeline::relay::{LocalOutcome, Relay, RelayCommand, RelayConfig};
use hadron_proto::hdfs as proto;
use hadron_proto::hdfs::op_write_block_proto::BlockConstructionStage;
use hadron_types::ChecksumType;
use hadron_wire::transfer::op::{ReadBlock, TransferBlock, WriteBlock};
use hadron_wire::transfer::{self, Checksum, Op, Packet, PacketDecoder, ack, response};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// What each node behind adds to the time an ack may take.
pub(crate) const NODE_PATIENCE: Duration = Duration::from_millis(500);

/// What a DataNode does wrong.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Faults {
    /// Refuses to set up a pipeline.
    pub(crate) refuse_set_up: bool,
    /// Dies when it has received so many packets.
    pub(crate) die_after_packets: Option<usize>,
    /// Dies when it has received so many packets over all its connections.
    pub(crate) die_after_total: Option<usize>,
    /// Stands still, with its connections open, when a connection has brought so many packets.
    pub(crate) hang_after_packets: Option<usize>,
    /// Says that it restarts, and dies, when a connection has brought so many packets.
    pub(crate) restart_after_packets: Option<usize>,
    /// Acks one packet with a wrong seqno, once.
    pub(crate) wrong_seqno: bool,
    /// Answers every packet with ERROR_CHECKSUM.
    pub(crate) always_bad_checksum: bool,
    /// Refuses so many readers for their tokens.
    pub(crate) refuse_read_tokens: usize,
    /// Sends damaged data to readers.
    pub(crate) corrupt_reads: bool,
    /// Stops in the middle of a block when read.
    pub(crate) break_reads: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Replica {
    pub(crate) data: Vec<u8>,
    pub(crate) stamp: u64,
    pub(crate) finalized: bool,
    pub(crate) acked: u64,
    pub(crate) synced: usize,
    /// Packets that came for it, by their offset and length; last packets have length 0.
    pub(crate) packets: Vec<(u64, u32)>,
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) replicas: Mutex<HashMap<u64, Replica>>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) stages: Mutex<Vec<BlockConstructionStage>>,
    pub(crate) connections: Mutex<usize>,
    /// Packets received by all connections.
    pub(crate) received: Mutex<usize>,
    /// The last WRITE_BLOCK.
    pub(crate) last_write: Mutex<Option<WriteBlock>>,
    /// How long an ack of the next node may take, and [`NODE_PATIENCE`] for each node behind.
    pub(crate) mirror_patience: Mutex<Option<Duration>>,
    /// Wakes those who hang.
    revived: Notify,
    pub(crate) read_ok: Mutex<usize>,
    dead: Mutex<bool>,
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

/// The stores of the nodes of this process by address, so that a transfer needs no second protocol.
static STORES: Mutex<Vec<(String, Weak<Store>)>> = Mutex::new(Vec::new());

fn store_at(addr: &str) -> Option<Arc<Store>> {
    let mut stores = STORES.lock();
    // Addresses are used again.
    stores.retain(|(_, store)| store.strong_count() > 0);
    let found = stores.iter().rev().find(|(known, _)| known == addr);
    found.and_then(|(_, store)| store.upgrade())
}

pub(crate) struct DataNode {
    pub(crate) uuid: String,
    pub(crate) store: Arc<Store>,
    addr: SocketAddr,
    accepting: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Store {
    /// Whether no connection is being served.
    pub(crate) fn is_quiet(&self) -> bool {
        self.tasks.lock().iter().all(AbortOnDropHandle::is_finished)
    }
}

impl DataNode {
    /// Takes connections again after a death by fault; what hung ends.
    pub(crate) fn revive(&self) {
        *self.store.dead.lock() = false;
        self.fault(Faults::default());
        self.store.revived.notify_waiters();
    }

    pub(crate) async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let store = Arc::new(Store::default());
        STORES.lock().push((addr.to_string(), Arc::downgrade(&store)));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&store)));
        Self {
            uuid: name.to_owned(),
            store,
            addr,
            accepting: Mutex::new(Some(AbortOnDropHandle::new(accepting))),
        }
    }

    pub(crate) fn info(&self) -> proto::DatanodeInfoProto {
        proto::DatanodeInfoProto {
            id: proto::DatanodeIdProto {
                ip_addr: self.addr.ip().to_string(),
                host_name: "localhost".to_owned(),
                datanode_uuid: self.uuid.clone(),
                xfer_port: u32::from(self.addr.port()),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    /// Closes every socket at once.
    pub(crate) fn kill(&self) {
        *self.store.dead.lock() = true;
        self.accepting.lock().take();
        self.store.tasks.lock().clear();
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    pub(crate) fn fault(&self, faults: Faults) {
        *self.store.faults.lock() = faults;
    }
}

async fn accept(listener: TcpListener, store: Arc<Store>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        *store.connections.lock() += 1;
        let task = serve(stream, Arc::clone(&store));
        let task = tokio::spawn(async move {
            // Broken connections are the point of these tests.
            let _broken = task.await;
        });
        let mut tasks = store.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(AbortOnDropHandle::new(task));
    }
}

async fn serve(mut stream: TcpStream, store: Arc<Store>) -> io::Result<()> {
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
        if *store.dead.lock() {
            return Ok(());
        }
        match op {
            Op::WriteBlock(op) => return write_block(stream, buf, *op, &store).await,
            Op::TransferBlock(op) => return transfer_block(stream, &op, &store).await,
            Op::ReadBlock(op) => read_block(&mut stream, &mut buf, op, &store).await?,
            other => panic!("unexpected {}", other.name()),
        }
    }
}

async fn answer(stream: &mut TcpStream, response: &proto::BlockOpResponseProto) -> io::Result<()> {
    let mut out = BytesMut::new();
    response::encode_response(&mut out, response);
    stream.write_all(&out).await
}

fn node_addr(info: &proto::DatanodeInfoProto) -> String {
    format!("{}:{}", info.id.ip_addr, info.id.xfer_port)
}

/// Hands the replica to the target as it is, when that lives.
async fn transfer_block(mut stream: TcpStream, op: &TransferBlock, store: &Store) -> io::Result<()> {
    let id = op.header.block.block.id.to_wire();
    let target = store_at(&node_addr(&op.targets[0])).filter(|target| !*target.dead.lock());
    let replica = store.replicas.lock().get(&id).cloned();
    let status = match (target, replica) {
        (Some(target), Some(replica)) => {
            target.replicas.lock().insert(id, replica);
            proto::Status::Success
        }
        _ => proto::Status::Error,
    };
    answer(&mut stream, &response::failure(status, "")).await
}

/// Connects downstream; `Err` holds the first bad link.
async fn connect_mirror(op: &WriteBlock) -> Result<Option<TcpStream>, String> {
    let Some((next, rest)) = op.targets.split_first() else {
        return Ok(None);
    };
    let addr = node_addr(next);
    let forwarded = WriteBlock {
        targets: rest.to_vec(),
        target_storage_types: op.target_storage_types.iter().skip(1).copied().collect(),
        target_storage_ids: op.target_storage_ids.iter().skip(1).cloned().collect(),
        target_pinnings: op.target_pinnings.iter().skip(1).copied().collect(),
        ..op.clone()
    };
    let connecting = async {
        let mut mirror = TcpStream::connect(&addr).await?;
        mirror.set_nodelay(true)?;
        let mut out = BytesMut::new();
        Op::WriteBlock(Box::new(forwarded)).encode(&mut out);
        mirror.write_all(&out).await?;
        let mut buf = BytesMut::new();
        let response = loop {
            if let Some((response, _)) = response::decode_response(&buf)? {
                break response;
            }
            if mirror.read_buf(&mut buf).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        Ok::<_, io::Error>((mirror, response))
    };
    match connecting.await {
        Ok((mirror, response)) if response.first_bad_link().is_empty() && response.status == 0 => Ok(Some(mirror)),
        Ok((_, response)) => Err(response.first_bad_link().to_owned()),
        Err(_) => Err(addr),
    }
}

fn open_replica(op: &WriteBlock, store: &Store) -> io::Result<u64> {
    let block = &op.header.block.block;
    let id = block.id.to_wire();
    store.stages.lock().push(op.stage);
    let mut replicas = store.replicas.lock();
    match op.stage {
        BlockConstructionStage::PipelineSetupCreate => {
            let replica = Replica {
                stamp: block.generation_stamp.0,
                ..Replica::default()
            };
            if replicas.insert(id, replica).is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Ok(0)
        }
        BlockConstructionStage::PipelineSetupAppend => {
            let replica = replicas.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
            assert!(replica.finalized && replica.data.len() as u64 == op.min_bytes_received);
            replica.stamp = op.latest_generation_stamp.0;
            replica.finalized = false;
            Ok(replica.data.len() as u64)
        }
        BlockConstructionStage::PipelineSetupStreamingRecovery | BlockConstructionStage::PipelineCloseRecovery => {
            let replica = replicas.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
            assert!(op.latest_generation_stamp.0 > replica.stamp);
            assert!(replica.acked >= op.min_bytes_received && replica.data.len() as u64 <= op.max_bytes_received);
            replica.stamp = op.latest_generation_stamp.0;
            if op.stage == BlockConstructionStage::PipelineCloseRecovery {
                replica.finalized = true;
            } else {
                replica.data.truncate(replica.acked as usize);
            }
            Ok(replica.data.len() as u64)
        }
        other => panic!("unexpected stage {other:?}"),
    }
}

async fn write_block(mut stream: TcpStream, buf: BytesMut, op: WriteBlock, store: &Store) -> io::Result<()> {
    if store.faults.lock().refuse_set_up {
        return Ok(());
    }
    *store.last_write.lock() = Some(op.clone());
    let id = op.header.block.block.id.to_wire();
    let initial_len = open_replica(&op, store)?;
    let mirror = match connect_mirror(&op).await {
        Ok(mirror) => mirror,
        Err(bad_link) => {
            if op.stage == BlockConstructionStage::PipelineSetupCreate {
                store.replicas.lock().remove(&id);
            }
            return answer(&mut stream, &response::connect_ack(proto::Status::Error, &bad_link)).await;
        }
    };
    answer(&mut stream, &response::connect_ack(proto::Status::Success, "")).await?;
    if op.stage == BlockConstructionStage::PipelineCloseRecovery {
        return Ok(());
    }
    let relay = Relay::new(RelayConfig {
        bytes_per_checksum: op.checksum.bytes_per_checksum,
        disk_checksum_size: 4,
        packet_checksum_size: 4,
        same_checksum: true,
        initial_len,
        has_mirror: mirror.is_some(),
        datanode_source: false,
        is_transfer: false,
        flag_bits: 0,
    });
    let mut packets = PacketDecoder::new();
    packets.push(&buf);
    let mut receipt = Receipt {
        id,
        store,
        relay,
        upstream: stream,
        mirror,
        mirror_heard: Instant::now(),
        patience: store
            .mirror_patience
            .lock()
            .map(|patience| patience + NODE_PATIENCE * op.targets.len() as u32),
        checksum: op.checksum,
        received: 0,
    };
    receipt.run(packets).await
}

struct Receipt<'a> {
    id: u64,
    store: &'a Store,
    relay: Relay,
    upstream: TcpStream,
    mirror: Option<TcpStream>,
    mirror_heard: Instant,
    patience: Option<Duration>,
    checksum: Checksum,
    received: usize,
}

impl Receipt<'_> {
    async fn run(&mut self, mut packets: PacketDecoder) -> io::Result<()> {
        let mut acks = BytesMut::new();
        loop {
            while let Some(packet) = packets.next_packet()? {
                if !self.receive(packet).await? {
                    return Ok(());
                }
            }
            while let Some((ack, used)) = transfer::PipelineAck::decode(&acks)? {
                acks.advance(used);
                self.relay.ack_received(ack_from_wire(&ack));
            }
            if !self.run_commands().await? {
                return Ok(());
            }
            let has_mirror = self.mirror.is_some();
            let mirror = async {
                match &mut self.mirror {
                    Some(mirror) => mirror.read_buf(&mut acks).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = silence(self.mirror_heard, self.patience), if has_mirror => {
                    self.mirror = None;
                    self.relay.mirror_failed();
                }
                read = self.upstream.read_buf(packets.read_buffer()) => if read? == 0 {
                    return Ok(());
                },
                read = mirror => if read.is_ok_and(|len| len > 0) {
                    self.mirror_heard = Instant::now();
                } else {
                    self.mirror = None;
                    self.relay.mirror_failed();
                },
            }
        }
    }

    /// Tells the writer, and those above, that this node restarts.
    async fn announce_restart(&mut self) -> io::Result<()> {
        let mut out = BytesMut::new();
        transfer::PipelineAck::new(-2, [proto::Status::OobRestart]).encode(&mut out);
        self.upstream.write_all(&out).await
    }

    /// Returns whether the connection goes on.
    async fn receive(&mut self, packet: Packet) -> io::Result<bool> {
        self.received += 1;
        let faults = *self.store.faults.lock();
        let total = {
            let mut total = self.store.received.lock();
            *total += 1;
            *total
        };
        if faults.hang_after_packets.is_some_and(|count| self.received > count) {
            self.store.revived.notified().await;
            return Ok(false);
        }
        if faults.restart_after_packets.is_some_and(|count| self.received > count) {
            self.announce_restart().await?;
            *self.store.faults.lock() = Faults::default();
            return Ok(false);
        }
        if faults.die_after_total.is_some_and(|count| total > count) {
            *self.store.dead.lock() = true;
            return Ok(false);
        }
        if faults.die_after_packets.is_some_and(|count| self.received > count) {
            *self.store.dead.lock() = true;
            return Ok(false);
        }
        let header = PacketHeader {
            offset_in_block: packet.header.offset_in_block,
            seqno: packet.header.seqno,
            last_in_block: packet.header.last,
            data_len: packet.header.data_len,
            sync_block: packet.header.sync_block,
        };
        let steps = self
            .relay
            .packet_received(&header, packet.checksums.len())
            .map_err(io::Error::other)?;
        if steps.forward
            && let Some(mirror) = &mut self.mirror
        {
            let mut out = BytesMut::new();
            packet.header.append_to(packet.checksums.len(), &mut out);
            out.extend_from_slice(&packet.checksums);
            out.extend_from_slice(&packet.data);
            if mirror.write_all(&out).await.is_err() {
                self.mirror = None;
                self.relay.mirror_failed();
            }
        }
        // Every node checks here, so that a wrong checksum of the client shows.
        let verified = self.checksum.verify(&packet.data, &packet.checksums).is_ok();
        if !verified || (faults.always_bad_checksum && steps.write.is_some()) {
            self.relay.packet_stored(steps.ticket, LocalOutcome::ChecksumMismatch);
            return Ok(true);
        }
        let mut replicas = self.store.replicas.lock();
        let replica = replicas.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        if let Some(plan) = &steps.write {
            assert_eq!(plan.offset, replica.data.len() as u64);
            replica.data.extend_from_slice(&packet.data[plan.data.clone()]);
        }
        replica.packets.push((header.offset_in_block, header.data_len));
        replica.synced += usize::from(steps.sync);
        self.relay.packet_stored(steps.ticket, LocalOutcome::Stored);
        Ok(true)
    }

    async fn run_commands(&mut self) -> io::Result<bool> {
        while let Some(command) = self.relay.poll_command() {
            match command {
                RelayCommand::Finalize { len } => {
                    let mut replicas = self.store.replicas.lock();
                    let replica = replicas.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
                    assert_eq!(replica.data.len() as u64, len);
                    replica.finalized = true;
                    self.relay.block_finalized(true);
                }
                RelayCommand::SendAck { mut ack, bytes_acked } => {
                    if let Some(replica) = self.store.replicas.lock().get_mut(&self.id) {
                        replica.acked = bytes_acked;
                    }
                    if ack.seqno >= 0 && std::mem::take(&mut self.store.faults.lock().wrong_seqno) {
                        ack.seqno += 1000;
                    }
                    let mut out = BytesMut::new();
                    ack_to_wire(&ack).encode(&mut out);
                    self.upstream.write_all(&out).await?;
                }
                RelayCommand::Close { .. } => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Ends when nothing was `heard` for `patience`; never without.
async fn silence(heard: Instant, patience: Option<Duration>) {
    match patience {
        Some(patience) => tokio::time::sleep_until(heard + patience).await,
        None => std::future::pending().await,
    }
}

fn ack_from_wire(ack: &transfer::PipelineAck) -> PipelineAck {
    PipelineAck {
        seqno: ack.seqno,
        replies: ack
            .replies
            .iter()
            .filter_map(|reply| AckReply::from_flag(reply.to_flag()))
            .collect(),
        downstream_ack_nanos: 0,
    }
}

fn ack_to_wire(ack: &PipelineAck) -> transfer::PipelineAck {
    transfer::PipelineAck {
        seqno: ack.seqno,
        replies: ack
            .replies
            .iter()
            .filter_map(|reply| ack::Reply::from_flag(reply.to_flag()))
            .collect(),
        downstream_ack_time_nanos: 0,
    }
}

async fn read_block(stream: &mut TcpStream, buf: &mut BytesMut, op: ReadBlock, store: &Store) -> io::Result<()> {
    const CHUNK: u64 = 512;
    const PACKET: usize = 2048;
    let refuses = {
        let mut faults = store.faults.lock();
        let refuses = faults.refuse_read_tokens > 0;
        faults.refuse_read_tokens = faults.refuse_read_tokens.saturating_sub(1);
        refuses
    };
    if refuses {
        let refusal = proto::BlockOpResponseProto {
            status: proto::Status::ErrorAccessToken as i32,
            ..Default::default()
        };
        answer(stream, &refusal).await?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let id = op.header.block.block.id.to_wire();
    let replica = store.replicas.lock().get(&id).cloned();
    let Some(replica) = replica else {
        answer(stream, &response::failure(proto::Status::Error, "no replica")).await?;
        return Err(io::ErrorKind::NotFound.into());
    };
    let checksum = Checksum::new(ChecksumType::Crc32c, CHUNK as u32)?;
    let start = op.offset - op.offset % CHUNK;
    answer(stream, &response::read_success(&checksum, start)).await?;
    let end = (op.offset + op.len)
        .next_multiple_of(CHUNK)
        .min(replica.data.len() as u64);
    let faults = *store.faults.lock();
    let mut seqno = 0;
    let mut offset = start;
    for data in replica.data[start as usize..end as usize].chunks(PACKET) {
        let mut checksums = vec![0; checksum.checksums_len(data.len())];
        checksum.compute_into(data, &mut checksums);
        let mut data = data.to_vec();
        if faults.corrupt_reads {
            data[0] ^= 1;
        }
        if faults.break_reads && seqno == 1 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        send(stream, seqno, offset, &checksums, &data).await?;
        seqno += 1;
        offset += data.len() as u64;
    }
    send(stream, seqno, end, &[], &[]).await?;
    loop {
        if let Some((status, used)) = response::decode_read_status(buf)? {
            buf.advance(used);
            assert_eq!(status, proto::Status::ChecksumOk);
            *store.read_ok.lock() += 1;
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
