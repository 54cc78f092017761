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

mod payload;
mod pipeline;
mod streamer;

use crate::error::{FsError, Result};
use crate::fs::{Shared, text};
use crate::settings::check_block_size;
use hadron_pipeline::window::{BuiltPacket, PacketBuilder, SendWindow, WindowConfig};
use hadron_proto::hdfs as proto;
use hadron_types::{FsPath, FsPermission};
use hadron_wire::transfer::Checksum;
use parking_lot::Mutex;
use payload::Payload;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use streamer::{Message, Streamer};
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard, PollSender};

/// Packets between the caller and the streamer, beside the window's own limit.
const CHANNEL_PACKETS: usize = 4;

/// How to create a file. [`CreateOptions::default`]: no overwriting, parents made, the client's settings.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Replace an existing file.
    pub overwrite: bool,
    /// Make missing parents.
    pub create_parents: bool,
    /// Replicas; `None` = the client's setting.
    pub replication: Option<u32>,
    /// Block size; `None` = the client's setting. A multiple of the bytes per checksum.
    pub block_size: Option<u64>,
    /// Mode bits before the umask.
    pub permission: FsPermission,
    /// Ask DataNodes to sync each block when it ends (`SYNC_BLOCK`).
    pub sync_blocks: bool,
    /// `host:port` of DataNodes to prefer.
    pub favored_nodes: Vec<String>,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            overwrite: false,
            create_parents: true,
            replication: None,
            block_size: None,
            permission: FsPermission::from_wire(0o666),
            sync_blocks: false,
            favored_nodes: Vec::new(),
        }
    }
}

/// Asks the NameNode for a new file and starts its stream.
pub(crate) async fn create(shared: Arc<Shared>, path: &FsPath, options: CreateOptions) -> Result<FileWriter> {
    const CREATE: u32 = proto::CreateFlagProto::Create as u32;
    const OVERWRITE: u32 = proto::CreateFlagProto::Overwrite as u32;
    let block_size = options.block_size.unwrap_or(shared.settings.block_size);
    check_block_size(block_size, shared.settings.bytes_per_checksum)?;
    let replication = options.replication.unwrap_or(shared.settings.replication);
    let request = proto::CreateRequestProto {
        src: text(path),
        masked: options.permission.without(shared.settings.umask).into(),
        client_name: shared.client_name.clone(),
        create_flag: if options.overwrite { CREATE | OVERWRITE } else { CREATE },
        create_parent: options.create_parents,
        replication,
        block_size,
        crypto_protocol_version: vec![proto::CryptoProtocolVersionProto::EncryptionZones as i32],
        unmasked: Some(options.permission.into()),
        ec_policy_name: None,
        storage_policy: None,
    };
    // From here on the lease is ours until the streamer ends; the guard is taken first so that it cannot lapse.
    let lease = shared.renewer.open_file();
    let status = shared.namenode.create(&request).await?.fs;
    let status = status.ok_or_else(|| FsError::write_failed(format!("create {path}: server returned no status")))?;
    let target = streamer::Target {
        src: text(path),
        file_id: status.file_id(),
        replication: replication as usize,
        block_size,
        favored_nodes: options.favored_nodes,
        checksum: shared.settings.checksum()?,
    };
    let checksum = target.checksum;
    let window = SendWindow::new(WindowConfig {
        sync_on_close: options.sync_blocks,
        ..shared.settings.window
    });
    let builder = PacketBuilder::new(shared.settings.packet_params(block_size), 0);
    let streamer = |inbox| Streamer::new(Arc::clone(&shared), target, window, inbox, lease);
    Ok(FileWriter::start(checksum, builder, streamer))
}

/// Asks the NameNode to reopen a file and starts a stream at its end.
pub(crate) async fn append(shared: Arc<Shared>, path: &FsPath) -> Result<FileWriter> {
    let request = proto::AppendRequestProto {
        src: text(path),
        client_name: shared.client_name.clone(),
        flag: Some(proto::CreateFlagProto::Append as u32),
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
    let target = streamer::Target {
        src: text(path),
        file_id: status.file_id(),
        replication: status.block_replication() as usize,
        block_size: status.blocksize(),
        favored_nodes: Vec::new(),
        checksum: shared.settings.checksum()?,
    };
    check_block_size(target.block_size, shared.settings.bytes_per_checksum)?;
    let len = response.block.as_ref().map_or(0, |located| located.b.num_bytes());
    let builder = PacketBuilder::new(shared.settings.packet_params(target.block_size), len);
    let checksum = target.checksum;
    let window = match &response.block {
        Some(_) => SendWindow::new_append(shared.settings.window, len),
        None => SendWindow::new(shared.settings.window),
    };
    let streamer = |inbox| {
        let streamer = Streamer::new(Arc::clone(&shared), target, window, inbox, lease);
        match response.block {
            Some(located) => streamer.with_last_block(located),
            None => streamer,
        }
    };
    Ok(FileWriter::start(checksum, builder, streamer))
}

/// Writes one file. Dropping it without [`FileWriter::close`] leaves the file open at the NameNode until its lease
/// expires, and nothing here.
///
/// As [`AsyncWrite`], `flush` only says that the bytes are taken (use [`FileWriter::hflush`] to have them acked by every
/// DataNode), and `shutdown` closes the file.
pub struct FileWriter {
    builder: PacketBuilder,
    checksum: Checksum,
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
    fn start(
        checksum: Checksum,
        builder: PacketBuilder,
        streamer: impl FnOnce(mpsc::Receiver<Message>) -> Streamer,
    ) -> Self {
        let (outbox, inbox) = mpsc::channel(CHANNEL_PACKETS);
        let failure = Arc::new(Mutex::new(None));
        let cancel = CancellationToken::new();
        let task = tokio::spawn(run(streamer(inbox), cancel.clone(), Arc::clone(&failure)));
        Self {
            builder,
            checksum,
            outbox: PollSender::new(outbox),
            failure,
            ready: None,
            stage: Stage::Open,
            task,
            cancel: cancel.drop_guard(),
            len: 0,
        }
    }

    /// Bytes written through this stream so far.
    pub fn bytes_written(&self) -> u64 {
        self.len
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
        self.flush_packets(false, false).await
    }

    /// As [`FileWriter::hflush`], and the bytes are on stable storage. `update_length` tells the NameNode, so that
    /// listings show them too.
    pub async fn hsync(&mut self, update_length: bool) -> Result<()> {
        self.flush_packets(true, update_length).await
    }

    async fn flush_packets(&mut self, sync: bool, update_length: bool) -> Result<()> {
        std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        if let Some(packet) = self.builder.flush(sync) {
            self.ready = Some(self.message(packet));
            std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
        }
        let (reply, answer) = oneshot::channel();
        self.ready = Some(Message::Flush { update_length, reply });
        std::future::poll_fn(|cx| self.poll_ready(cx)).await?;
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

    fn message(&self, packet: BuiltPacket) -> Message {
        Message::Packet(Payload::packet(packet, &self.checksum))
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
        let (taken, packet) = self.builder.write(bytes);
        self.len += taken as u64;
        if let Some(packet) = packet {
            self.ready = Some(self.message(packet));
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
                    // A failed stream only has to be joined.
                    if ready!(self.poll_ready(cx)).is_ok() {
                        self.ready = self.builder.end_block().map(|packet| self.message(packet));
                    }
                    self.stage = Stage::Ending;
                }
                Stage::Ending => {
                    if ready!(self.poll_ready(cx)).is_ok() {
                        self.ready = Some(Message::Close);
                    }
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
    let result = tokio::select! {
        result = streamer.run() => result,
        () = cancel.cancelled() => Err(FsError::Closed),
    };
    if let Err(error) = result {
        if !matches!(error, FsError::Closed) {
            tracing::warn!(file = streamer.src(), %error, "write stream failed");
        }
        // Before the channel closes, so that a writer that meets the closed channel finds the reason.
        *failure.lock() = Some(error);
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
