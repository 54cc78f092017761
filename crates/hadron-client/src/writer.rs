//! Writing one file.
//!
//! ```text
//! FileWriter (caller's task): cuts packets, computes checksums --channel--> Streamer (one task): window, sockets, RPCs
//! ```
//!
//! The streamer task owns the window machine, the connection, the lease guard and every packet; it ends when the file
//! is complete, when the stream fails, or when its token is cancelled, which dropping the writer does. Whatever happens,
//! dropping the task's future closes and frees everything (HDFS-9812 cannot happen: there is no close path to miss).
//! Invariant: the first failure is kept and given to every later call.

mod buffers;
mod mend;
mod options;
mod payload;
mod pipeline;
mod streamer;

pub(crate) use buffers::BufferPool;
pub use options::{AppendOptions, CreateOptions, Progress, SyncFlags};

use crate::error::{FsError, Result};
use crate::fs::{Shared, text};
use crate::settings::check_block_size;
use hadron_pipeline::window::{BuiltPacket, PacketBuilder, SendWindow, WindowConfig};
use hadron_proto::hdfs as proto;
use hadron_types::{ErrorKind, FsPath};
use hadron_wire::transfer::Checksum;
use parking_lot::Mutex;
use payload::Payload;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use streamer::{Message, Standing, Streamer, Target};
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard, PollSender};
use tracing::{Instrument, Span};

/// Packets between the caller and the streamer, beside the window's own limit.
const CHANNEL_PACKETS: usize = 4;
/// Number of the storage policy LAZY_PERSIST.
const MEMORY_POLICY: u32 = 15;

/// Asks the NameNode for a new file and starts its stream.
pub(crate) async fn create(shared: Arc<Shared>, path: &FsPath, options: CreateOptions) -> Result<FileWriter> {
    let block_size = options.block_size.unwrap_or(shared.settings.block_size);
    check_block_size(block_size, shared.settings.bytes_per_checksum)?;
    let request = proto::CreateRequestProto {
        src: text(path),
        masked: options.permission.without(shared.settings.umask).into(),
        client_name: shared.client_name.clone(),
        create_flag: options.create_flag(),
        create_parent: options.create_parents,
        replication: options.replication.unwrap_or(shared.settings.replication),
        block_size,
        // None: a NameNode then refuses to create a file whose bytes we would have to encrypt.
        crypto_protocol_version: Vec::new(),
        unmasked: Some(options.permission.into()),
        ec_policy_name: None,
        storage_policy: options.storage_policy.clone(),
    };
    // From here on the lease is ours until the streamer ends; the guard is taken first so that it cannot lapse.
    let lease = shared.renewer.open_file();
    let status = shared.namenode.create(&request).await?.fs;
    let status = status.ok_or_else(|| FsError::write_failed(format!("create {path}: server returned no status")))?;
    let window = SendWindow::new(WindowConfig {
        sync_on_close: options.sync_blocks,
        ..shared.window_config()
    });
    let target = Target {
        add_block_flags: options.add_block_flags(),
        favored_nodes: options.favored_nodes,
        drop_behind: options.drop_behind.or(shared.settings.drop_behind_writes),
        progress: options.progress,
        replication: request.replication as usize,
        block_size,
        ..target(&shared, path, &status)?
    };
    let cut = PacketBuilder::new(shared.settings.packet_params(block_size), 0);
    let stream = Stream::new(&shared, &target, cut, 0);
    Ok(stream.start(|inbox| Streamer::new(shared, target, window, inbox, lease)))
}

/// What a stream must know of its file; the settings decide where the caller has not.
fn target(shared: &Shared, path: &FsPath, status: &proto::HdfsFileStatusProto) -> Result<Target> {
    if status.file_encryption_info.is_some() {
        let text = format!("{path} is encrypted; write it with a client that encrypts");
        return Err(FsError::write_failed(text));
    }
    if status.ec_policy.is_some() {
        let text =
            format!("{path} is erasure coded; create it anew with replication (should_replicate) to write to it");
        return Err(FsError::write_failed(text));
    }
    Ok(Target {
        src: text(path),
        file_id: status.file_id(),
        replication: status.block_replication() as usize,
        block_size: status.blocksize(),
        favored_nodes: Vec::new(),
        checksum: shared.settings.checksum()?,
        drop_behind: shared.settings.drop_behind_writes,
        lazy_persist: status.storage_policy() == MEMORY_POLICY,
        add_block_flags: Vec::new(),
        progress: None,
        span: tracing::info_span!("write", file = path.as_str()),
        standing: Standing::default(),
    })
}

/// Asks the NameNode to reopen a file and starts a stream at its end.
pub(crate) async fn append(shared: Arc<Shared>, path: &FsPath, options: AppendOptions) -> Result<FileWriter> {
    let request = proto::AppendRequestProto {
        src: text(path),
        client_name: shared.client_name.clone(),
        flag: Some(options.create_flag()),
    };
    let lease = shared.renewer.open_file();
    let response = shared.namenode.append(&request).await?;
    let status = match response.stat {
        Some(status) => status,
        None => {
            let request = proto::GetFileInfoRequestProto { src: text(path) };
            let found = shared.namenode.get_file_info(&request).await?.fs;
            found.ok_or_else(|| FsError::not_found(path.as_str()))?
        }
    };
    let target = Target {
        favored_nodes: options.favored_nodes,
        drop_behind: options.drop_behind.or(shared.settings.drop_behind_writes),
        progress: options.progress,
        ..target(&shared, path, &status)?
    };
    check_block_size(target.block_size, shared.settings.bytes_per_checksum)?;
    let config = WindowConfig {
        sync_on_close: options.sync_blocks,
        ..shared.window_config()
    };
    let last = response.block;
    let len = last.as_ref().map_or(0, |located| located.b.num_bytes());
    let params = shared.settings.packet_params(target.block_size);
    match last {
        Some(located) if !options.new_block => {
            if located.locs.is_empty() {
                let block = hadron_types::ExtendedBlock::from(&located.b);
                return Err(FsError::write_failed(format!(
                    "Unable to retrieve blocks locations  for last block {block} of file {path}"
                )));
            }
            if len >= target.block_size {
                return Err(FsError::write_failed(format!(
                    "The last block for file {path} is full."
                )));
            }
            let window = SendWindow::new_append(config, len);
            let stream = Stream::new(&shared, &target, PacketBuilder::new(params, len), status.length);
            Ok(stream.start(|inbox| Streamer::new(shared, target, window, inbox, lease).with_last_block(located)))
        }
        last => {
            let window = SendWindow::new(config);
            let stream = Stream::new(&shared, &target, PacketBuilder::new(params, 0), status.length);
            let previous = last.map(|located| located.b);
            Ok(stream.start(|inbox| Streamer::new(shared, target, window, inbox, lease).with_previous_block(previous)))
        }
    }
}

/// The writer's half of a stream before its task runs.
struct Stream {
    builder: PacketBuilder,
    checksum: Checksum,
    buffers: Arc<BufferPool>,
    buffer_len: usize,
    initial_len: u64,
    span: Span,
    standing: Standing,
    replication: usize,
}

impl Stream {
    fn new(shared: &Shared, target: &Target, builder: PacketBuilder, initial_len: u64) -> Self {
        let data_len = shared.settings.packet_params(target.block_size).packet_data_len();
        Self {
            builder,
            checksum: target.checksum,
            buffers: Arc::clone(&shared.buffers),
            buffer_len: data_len + target.checksum.checksums_len(data_len),
            initial_len,
            span: target.span.clone(),
            standing: Arc::clone(&target.standing),
            replication: target.replication,
        }
    }

    /// Starts the one task.
    fn start(self, streamer: impl FnOnce(mpsc::Receiver<Message>) -> Streamer) -> FileWriter {
        let (outbox, inbox) = mpsc::channel(CHANNEL_PACKETS);
        let failure = Arc::new(Mutex::new(None));
        let cancel = CancellationToken::new();
        let task = run(streamer(inbox), cancel.clone(), Arc::clone(&failure));
        let task = tokio::spawn(task.instrument(self.span.clone()));
        FileWriter {
            stream: self,
            outbox: PollSender::new(outbox),
            failure,
            ready: None,
            stage: Stage::Open,
            task,
            cancel: cancel.drop_guard(),
            len: 0,
        }
    }

    /// Sees to it that packets are cut into buffers of the pool. An idle stream holds one, or none before its first byte.
    fn supply_buffer(&mut self, for_flush: bool) {
        if self.builder.wants_buffer() || for_flush && self.builder.wants_spare() {
            self.builder.give_buffer(self.buffers.take(self.buffer_len));
        }
    }

    fn message(&self, packet: BuiltPacket) -> Message {
        Message::Packet(Payload::packet(packet, &self.checksum, &self.buffers, &self.span))
    }
}

/// Writes one file. Dropping it without [`FileWriter::close`] leaves the file open at the NameNode until its lease
/// expires, and nothing here.
///
/// As [`AsyncWrite`], `flush` only says that the bytes are taken (use [`FileWriter::hflush`] to have them acked by every
/// DataNode), and `shutdown` closes the file.
pub struct FileWriter {
    stream: Stream,
    outbox: PollSender<Message>,
    failure: Arc<Mutex<Option<FsError>>>,
    /// A packet that was cut and waits for room in the channel.
    ready: Option<Message>,
    stage: Stage,
    task: JoinHandle<()>,
    cancel: DropGuard,
    len: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The last packet is not handed over yet.
    Ending,
    /// `Message::Close` is under way or handed over.
    Closing,
    Closed,
}

impl FileWriter {
    /// Bytes written through this stream so far.
    pub fn bytes_written(&self) -> u64 {
        self.len
    }

    /// The file's length when the stream was opened.
    pub fn initial_len(&self) -> u64 {
        self.stream.initial_len
    }

    /// `ip:port` of the DataNodes written to now, first node first; empty between blocks and while a pipeline is mended.
    pub fn pipeline(&self) -> Vec<String> {
        self.stream.standing.lock().clone()
    }

    /// Replicas the current block has; the file's replication while no pipeline stands.
    pub fn current_block_replication(&self) -> usize {
        match self.stream.standing.lock().len() {
            0 => self.stream.replication,
            nodes => nodes,
        }
    }

    /// Writes all of `bytes`. Waits while more packets are in flight than the window allows.
    ///
    /// Not cancel safe: a dropped call may have taken part of the bytes.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let taken = std::future::poll_fn(|cx| self.poll_take(cx, bytes)).await?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Waits until every byte written is acked by all DataNodes of its block: new readers see it.
    pub async fn hflush(&mut self) -> Result<()> {
        self.flush_packets(false, SyncFlags::default()).await
    }

    /// Writes the bytes of one chunk that comes with its checksum, which must match: what was damaged on the way here goes
    /// no further. An empty `checksum` stands for none.
    ///
    /// Errors: Hadoop's when the chunk is longer than the bytes per checksum, or the checksum has another size than the
    /// stream's; "Checksum error" when it does not match. The stream goes on after each of them.
    pub async fn write_chunk(&mut self, bytes: &[u8], checksum: &[u8]) -> Result<()> {
        let checked = self.stream.builder.check_chunk(bytes.len(), checksum.len());
        checked.map_err(|error| FsError::write_failed(error.to_string()))?;
        if !checksum.is_empty() && self.stream.checksum.verify(bytes, checksum).is_err() {
            let at = self.len;
            return Err(FsError::write_failed(format!(
                "Checksum error: bytes written at {at} do not match their checksum"
            )));
        }
        self.write_all(bytes).await
    }

    /// Whether DataNodes drop what they wrote of later blocks from their page cache; `None`: they decide.
    pub async fn set_drop_behind(&mut self, drop_behind: Option<bool>) -> Result<()> {
        self.hand_over(Message::DropBehind(drop_behind)).await
    }

    /// As [`FileWriter::hflush`], and the bytes of the current block are on stable storage. `update_length` tells the
    /// NameNode, so that listings show them too. Blocks that ended before are synced only by
    /// [`CreateOptions::sync_blocks`].
    pub async fn hsync(&mut self, update_length: bool) -> Result<()> {
        self.hsync_with(SyncFlags {
            update_length,
            end_block: false,
        })
        .await
    }

    /// As [`FileWriter::hsync`], with more to choose from.
    pub async fn hsync_with(&mut self, flags: SyncFlags) -> Result<()> {
        self.flush_packets(true, flags).await
    }

    /// Hands one message over, and the one that may wait before it.
    async fn hand_over(&mut self, message: Message) -> Result<()> {
        std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        self.ready = Some(message);
        std::future::poll_fn(|cx| self.poll_ready(cx)).await
    }

    async fn flush_packets(&mut self, sync: bool, flags: SyncFlags) -> Result<()> {
        std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        if self.stage != Stage::Open {
            return Err(self.failure());
        }
        self.stream.supply_buffer(true);
        let packet = match flags.end_block {
            true => self.stream.builder.end_block(sync),
            false => self.stream.builder.flush(sync),
        };
        if let Some(packet) = packet {
            self.hand_over(self.stream.message(packet)).await?;
        }
        let (reply, answer) = oneshot::channel();
        self.hand_over(Message::Flush { flags, reply }).await?;
        answer.await.map_err(|_| self.failure())
    }

    /// Writes out what is buffered, waits for every ack and completes the file at the NameNode. The stream's task is
    /// gone when this returns, whatever it returns. A second call gives the same answer without asking again.
    pub async fn close(&mut self) -> Result<()> {
        std::future::poll_fn(|cx| self.poll_close(cx)).await
    }

    /// Gives up: the file stays open at the NameNode until its lease expires or it is deleted. Returns when the stream's
    /// task is gone.
    pub async fn abort(self) {
        let Self { cancel, task, .. } = self;
        drop(cancel);
        // The task has no way to fail but a bug that is logged by the runtime.
        let _ended = task.await;
    }

    fn failure(&self) -> FsError {
        self.failure.lock().clone().unwrap_or(FsError::Closed)
    }

    /// Hands the waiting message over, or puts up with having none.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.stage == Stage::Closed {
            return Poll::Ready(Err(self.failure()));
        }
        if self.ready.is_none() {
            return Poll::Ready(match &*self.failure.lock() {
                Some(error) => Err(error.clone()),
                None => Ok(()),
            });
        }
        let reserved = ready!(self.outbox.poll_reserve(cx));
        let sent = match (reserved, self.ready.take()) {
            (Ok(()), Some(message)) => self.outbox.send_item(message).is_ok(),
            _ => false,
        };
        Poll::Ready(if sent { Ok(()) } else { Err(self.failure()) })
    }

    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.stage != Stage::Open {
            return Poll::Ready(Err(self.failure()));
        }
        ready!(self.poll_ready(cx))?;
        self.stream.supply_buffer(false);
        let (taken, packet) = self.stream.builder.write(bytes);
        self.len += taken as u64;
        if let Some(packet) = packet {
            self.ready = Some(self.stream.message(packet));
            // Sent with this call when there is room, else with the next: the bytes are taken either way.
            if let Poll::Ready(Err(error)) = self.poll_ready(cx) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            match self.stage {
                Stage::Open => {
                    // A failed stream only has to be told.
                    if ready!(self.poll_ready(cx)).is_ok() {
                        let last = self.stream.builder.end_block(false);
                        self.ready = last.map(|packet| self.stream.message(packet));
                    }
                    self.stage = Stage::Ending;
                }
                Stage::Ending => {
                    if self.ready.is_some() {
                        // What became of it shows when the task is joined.
                        let _handed_over = ready!(self.poll_ready(cx));
                    }
                    self.ready = Some(Message::Close);
                    self.stage = Stage::Closing;
                }
                Stage::Closing => {
                    if self.ready.is_some() && ready!(self.poll_ready(cx)).is_err() {
                        self.ready = None;
                    }
                    let joined = ready!(Pin::new(&mut self.task).poll(cx));
                    self.stage = Stage::Closed;
                    if let Err(error) = joined {
                        *self.failure.lock() = Some(FsError::write_failed(format!("stream task: {error}")));
                    }
                }
                Stage::Closed => {
                    return Poll::Ready(match &*self.failure.lock() {
                        Some(error) => Err(error.clone()),
                        None => Ok(()),
                    });
                }
            }
        }
    }
}

/// The stream's task: runs the streamer until it ends or is cancelled, and keeps its failure for the writer.
async fn run(mut streamer: Streamer, cancel: CancellationToken, failure: Arc<Mutex<Option<FsError>>>) {
    let lost = streamer.lease_lost();
    let result = tokio::select! {
        result = streamer.run() => result,
        why = lost => Err(FsError::write_failed(&*why)),
        () = cancel.cancelled() => Err(FsError::Closed),
    };
    if let Err(error) = result {
        if !matches!(error, FsError::Closed) {
            tracing::warn!(file = streamer.src(), %error, "write stream failed");
        }
        let kind = error.kind();
        // Before the channel closes, so that a writer that meets the closed channel finds the reason.
        *failure.lock() = Some(error);
        if matches!(
            kind,
            Some(ErrorKind::DsQuotaExceeded | ErrorKind::QuotaByStorageTypeExceeded)
        ) {
            tokio::select! {
                () = streamer.complete_what_there_is() => {}
                () = cancel.cancelled() => {}
            }
        }
    }
    drop(streamer);
}

impl AsyncWrite for FileWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.get_mut().poll_take(cx, bytes).map_err(io::Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_ready(cx).map_err(io::Error::from)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_close(cx).map_err(io::Error::from)
    }
}

impl std::fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
