//! The one task behind a [`super::FileWriter`]: owns the window machine and runs its commands.
//!
//! Each turn: run the commands that are due, start the next packet, wait for one event, apply it. Events are applied
//! synchronously; only commands await. Everything the stream holds is in [`Streamer`], so dropping it frees all.
//! Mending a broken pipeline is in `mend.rs`.

use super::options::{Progress as Callback, SyncFlags};
use super::payload::Payload;
use super::pipeline::{Node, Pipeline, Progress, SetUp};
use crate::error::{FsError, Result};
use crate::fs::Shared;
use crate::lease::OpenFile;
use hadron_pipeline::packet::{PipelineAck, Stage};
use hadron_pipeline::window::{NewPacket, SendWindow, WindowCommand};
use hadron_proto::common::TokenProto;
use hadron_proto::hdfs as proto;
use hadron_types::{ErrorKind, ExtendedBlock};
use hadron_wire::transfer::Checksum;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::Span;

/// What the writer sends to the streamer.
pub(crate) enum Message {
    Packet(NewPacket<Payload>),
    Flush {
        flags: SyncFlags,
        reply: oneshot::Sender<()>,
    },
    /// For blocks to come.
    DropBehind(Option<bool>),
    Close,
}

/// The file being written.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) src: String,
    pub(crate) file_id: u64,
    pub(crate) replication: usize,
    pub(crate) block_size: u64,
    pub(crate) favored_nodes: Vec<String>,
    pub(crate) checksum: Checksum,
    pub(crate) drop_behind: Option<bool>,
    /// Whether the file's policy keeps replicas in memory first.
    pub(crate) lazy_persist: bool,
    /// `AddBlockFlagProto` numbers.
    pub(crate) add_block_flags: Vec<i32>,
    pub(crate) progress: Option<Callback>,
    /// Parent of the spans of blocks and packets.
    pub(crate) span: Span,
    /// `ip:port` of the nodes written to now, first node first; empty while no pipeline stands.
    pub(crate) standing: Standing,
}

/// Shared with the writer, which may look at it.
pub(crate) type Standing = Arc<Mutex<Vec<String>>>;

/// The block being written.
pub(super) struct OpenBlock {
    pub(super) block: proto::ExtendedBlockProto,
    /// For writing it.
    pub(super) token: TokenProto,
    /// For having it copied to a node that joins the pipeline.
    pub(super) copy_token: TokenProto,
    pub(super) nodes: Vec<Node>,
    pub(super) failed: Vec<Node>,
    /// Open until the block ends.
    pub(super) span: Span,
}

impl OpenBlock {
    fn new(located: proto::LocatedBlockProto, stream: &Span) -> Self {
        let span = tracing::info_span!(
            parent: stream,
            "block",
            id = located.b.block_id,
            stamp = located.b.generation_stamp,
            len = tracing::field::Empty,
        );
        Self {
            nodes: Node::of(&located),
            block: located.b,
            token: located.block_token,
            copy_token: TokenProto::default(),
            failed: Vec::new(),
            span,
        }
    }
}

/// Somebody waiting for the ack of a packet.
struct Waiter {
    seqno: i64,
    flags: SyncFlags,
    reply: oneshot::Sender<()>,
}

/// What one turn waited for.
enum Event {
    Message(Option<Message>),
    Acked(PipelineAck),
    Wrote,
    LinkFailed(io::Error),
    TimedOut,
}

/// State and loop of the task.
pub(crate) struct Streamer {
    pub(super) shared: Arc<Shared>,
    pub(super) target: Target,
    pub(super) window: SendWindow<Payload>,
    inbox: mpsc::Receiver<Message>,
    started: Instant,
    pub(super) pipeline: Option<Pipeline>,
    pub(super) open: Option<OpenBlock>,
    /// The block before the open one.
    previous: Option<proto::ExtendedBlockProto>,
    excluded: Vec<(proto::DatanodeInfoProto, Instant)>,
    waiters: VecDeque<Waiter>,
    closing: bool,
    /// Whether the next flush makes the block known to the NameNode.
    pub(super) persist_blocks: bool,
    pub(super) appended: bool,
    pub(super) hflushed: bool,
    lease: OpenFile,
}

impl Streamer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        target: Target,
        window: SendWindow<Payload>,
        inbox: mpsc::Receiver<Message>,
        lease: OpenFile,
    ) -> Self {
        Self {
            shared,
            target,
            window,
            inbox,
            started: Instant::now(),
            pipeline: None,
            open: None,
            previous: None,
            excluded: Vec::new(),
            waiters: VecDeque::new(),
            closing: false,
            persist_blocks: true,
            appended: false,
            hflushed: false,
            lease,
        }
    }

    /// Begins inside the file's last block, which is not full.
    pub(crate) fn with_last_block(mut self, located: proto::LocatedBlockProto) -> Self {
        self.appended = true;
        self.open = Some(OpenBlock::new(located, &self.target.span));
        self
    }

    /// Begins with a new block behind the file's last one.
    pub(crate) fn with_previous_block(mut self, block: Option<proto::ExtendedBlockProto>) -> Self {
        self.previous = block;
        self
    }

    /// Waits until the lease is lost; returns why.
    pub(crate) fn lease_lost(&self) -> impl Future<Output = Arc<str>> + Send + use<> {
        self.lease.lost()
    }

    /// Runs when quotas ended the stream: waits for the writer to close it and completes the file as far as it got, so
    /// that its lease ends.
    pub(crate) async fn complete_what_there_is(&mut self) {
        self.pipeline = None;
        self.window.fail();
        // Whoever waits for an ack learns that none will come.
        self.waiters.clear();
        loop {
            match self.inbox.recv().await {
                Some(Message::Close) => break,
                Some(_) => {}
                None => return,
            }
        }
        if let Err(error) = self.complete().await {
            tracing::warn!(file = self.target.src, %error, "cannot complete file after its quota ran out");
        }
    }

    pub(crate) fn src(&self) -> &str {
        &self.target.src
    }

    /// Runs the stream to its end: `Ok` when the file is complete.
    pub(crate) async fn run(&mut self) -> Result<()> {
        loop {
            while let Some(command) = self.window.poll_command() {
                self.execute(command).await?;
            }
            self.answer_flushes().await?;
            if self.closing && self.window.is_drained() {
                return self.complete().await;
            }
            self.start_next_packet();
            let event = self.next_event().await;
            self.apply(event)?;
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn start_next_packet(&mut self) {
        let now = self.now();
        if let Some(pipeline) = self.pipeline.as_mut().filter(|pipeline| pipeline.is_idle())
            && let Some(transmit) = self.window.poll_send(now)
        {
            pipeline.start(transmit, self.open.as_ref().map_or(0, |open| open.block.block_id));
            if let Some(progress) = &self.target.progress {
                progress.tell();
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let takes_messages = !self.closing && !self.window.is_full();
        let deadline = self.window.next_timeout().map(|at| self.started + at);
        let has_pipeline = self.pipeline.is_some();
        let progress = async {
            match &mut self.pipeline {
                Some(pipeline) => pipeline.progress().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            progress = progress, if has_pipeline => match progress {
                Ok(Progress::Acked(ack)) => Event::Acked(ack),
                Ok(Progress::Wrote) => Event::Wrote,
                Err(error) => Event::LinkFailed(error),
            },
            message = self.inbox.recv(), if takes_messages => Event::Message(message),
            () = tokio::time::sleep_until(deadline.unwrap_or(self.started)), if deadline.is_some() => Event::TimedOut,
        }
    }

    fn apply(&mut self, event: Event) -> Result<()> {
        let now = self.now();
        match event {
            Event::Message(Some(Message::Packet(packet))) => self.window.enqueue(packet),
            Event::Message(Some(Message::Flush { flags, reply })) => self.waiters.push_back(Waiter {
                seqno: self.window.last_queued_seqno(),
                flags,
                reply,
            }),
            Event::Message(Some(Message::DropBehind(drop_behind))) => self.target.drop_behind = drop_behind,
            Event::Message(Some(Message::Close)) => self.closing = true,
            Event::Message(None) => return Err(FsError::Closed),
            Event::Acked(ack) => {
                self.window.ack_received(&ack, now);
                if let Some(slow) = self.window.take_slow_ack() {
                    let (seqno, took) = (slow.seqno, slow.took);
                    tracing::info!(
                        file = self.target.src,
                        seqno,
                        ?took,
                        "slow ack; see the DataNodes of the pipeline"
                    );
                }
            }
            Event::Wrote => {}
            Event::LinkFailed(error) => {
                tracing::debug!(file = self.target.src, %error, "connection to first data node lost");
                self.window.link_failed();
            }
            Event::TimedOut => self.window.handle_timeout(now),
        }
        Ok(())
    }

    /// Lets the writer see which pipeline stands.
    pub(super) fn show_pipeline(&self) {
        let open = self.open.as_ref().filter(|_| self.pipeline.is_some());
        let nodes = open.map_or(&[][..], |open| &open.nodes);
        *self.target.standing.lock() = nodes.iter().map(Node::addr).collect();
    }

    async fn execute(&mut self, command: WindowCommand) -> Result<()> {
        let result = self.execute_command(command).await;
        self.show_pipeline();
        result
    }

    async fn execute_command(&mut self, command: WindowCommand) -> Result<()> {
        match command {
            WindowCommand::OpenBlock { append: false } => self.open_block().await,
            WindowCommand::OpenBlock { append: true } => {
                self.mend(None, Stage::SetupAppend).await?;
                let nodes = self.open.as_ref().map_or(0, |open| open.nodes.len());
                self.window.block_opened(nodes, self.now());
                Ok(())
            }
            WindowCommand::EndBlock { len } => {
                self.pipeline = None;
                if let Some(open) = self.open.take() {
                    open.span.record("len", len);
                    self.previous = Some(proto::ExtendedBlockProto {
                        num_bytes: Some(len),
                        ..open.block
                    });
                }
                Ok(())
            }
            WindowCommand::Recover { trouble, stage } => {
                self.pipeline = None;
                self.show_pipeline();
                if let Some(fault) = self.window.last_fault() {
                    tracing::warn!(file = self.target.src, %fault, "recovering pipeline");
                }
                self.mend(trouble, stage).await?;
                let nodes = self.open.as_ref().map_or(0, |open| open.nodes.len());
                self.window.pipeline_recovered(nodes, self.now());
                Ok(())
            }
            WindowCommand::Fail(error) => Err(FsError::write_failed(error.to_string())),
        }
    }

    // ---- flush and close ----

    async fn answer_flushes(&mut self) -> Result<()> {
        // A waiter leaves the queue only with its answer: on an error it goes with the whole streamer, after the reason
        // was kept for the writer.
        while let Some(waiter) = self.waiters.front() {
            if waiter.seqno > self.window.last_acked_seqno() {
                return Ok(());
            }
            let flags = waiter.flags;
            // A block that ended with the bytes flushed counts as well as one that is open.
            let len = match (&self.open, &self.previous) {
                (Some(_), _) => Some(self.window.bytes_acked()),
                (None, Some(previous)) => Some(previous.num_bytes()),
                (None, None) => None,
            };
            if let Some(len) = len.filter(|_| flags.update_length || self.persist_blocks) {
                let request = proto::FsyncRequestProto {
                    src: self.target.src.clone(),
                    client: self.shared.client_name.clone(),
                    last_block_length: Some(len as i64),
                    file_id: Some(self.target.file_id),
                };
                self.shared.namenode.fsync(&request).await?;
                self.persist_blocks = false;
            }
            self.hflushed = true;
            if let Some(waiter) = self.waiters.pop_front() {
                // A caller that no longer waits has nothing to be told.
                let _gone = waiter.reply.send(());
            }
        }
        Ok(())
    }

    /// Tells the NameNode that the file is complete, and again until enough replicas of its last block are reported.
    async fn complete(&mut self) -> Result<()> {
        let request = proto::CompleteRequestProto {
            src: self.target.src.clone(),
            client_name: self.shared.client_name.clone(),
            // A file reopened and closed without a byte still names its last block.
            last: self.previous.take().or_else(|| self.open.take().map(|open| open.block)),
            file_id: Some(self.target.file_id),
        };
        let mut delays = self.delays();
        loop {
            if self.shared.namenode.complete(&request).await?.result {
                return Ok(());
            }
            let Some(delay) = delays.next() else {
                return Err(FsError::write_failed(format!(
                    "Unable to close file because the last block{} does not have enough number of replicas.",
                    request.last.as_ref().map(block_name).unwrap_or_default(),
                )));
            };
            tokio::time::sleep(delay).await;
        }
    }

    /// The waits between tries of addBlock and complete.
    fn delays(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        let settings = &self.shared.settings;
        let longest = settings.locate_following_block_max_delay;
        std::iter::successors(Some(settings.locate_following_block_delay), move |delay| {
            Some((*delay * 2).min(longest))
        })
        .take(settings.locate_following_block_retries)
    }

    // ---- blocks ----

    /// Gets a new block and a pipeline for it; a node that fails in the set-up is left out of the next try.
    async fn open_block(&mut self) -> Result<()> {
        let mut tries = 0;
        loop {
            let located = self.add_block().await?;
            let open = OpenBlock::new(located, &self.target.span);
            let wanted = SetUp {
                block: &open.block,
                token: &open.token,
                nodes: &open.nodes,
                stage: Stage::SetupCreate,
                new_stamp: 0,
                block_size: self.target.block_size,
                min_bytes: 0,
                max_bytes: 0,
                checksum: self.target.checksum,
                drop_behind: self.target.drop_behind,
                lazy_persist: self.target.lazy_persist,
                favored_nodes: &self.target.favored_nodes,
            };
            let failure = match Pipeline::set_up(&self.shared, &wanted).await {
                Ok(pipeline) => {
                    self.pipeline = Some(pipeline);
                    self.persist_blocks = true;
                    self.window.block_opened(open.nodes.len(), self.now());
                    self.open = Some(open);
                    return Ok(());
                }
                Err(failure) => failure,
            };
            let bad = open.nodes.into_iter().nth(failure.trouble.node());
            tracing::warn!(
                file = self.target.src,
                block = open.block.block_id,
                cause = failure.cause,
                excluded = bad.as_ref().map(tracing::field::display),
                "abandoning block"
            );
            self.abandon_block(open.block).await?;
            if let Some(bad) = bad {
                self.excluded.push((bad.info, Instant::now()));
            }
            tries += 1;
            if tries > self.shared.settings.block_write_retries {
                return Err(FsError::write_failed("Unable to create new block."));
            }
        }
    }

    async fn add_block(&mut self) -> Result<proto::LocatedBlockProto> {
        let expiry = self.shared.settings.excluded_nodes_expiry;
        self.excluded.retain(|(_, since)| since.elapsed() < expiry);
        let request = proto::AddBlockRequestProto {
            src: self.target.src.clone(),
            client_name: self.shared.client_name.clone(),
            previous: self.previous.clone(),
            exclude_nodes: self.excluded.iter().map(|(info, _)| info.clone()).collect(),
            file_id: Some(self.target.file_id),
            favored_nodes: self.target.favored_nodes.clone(),
            flags: self.target.add_block_flags.clone(),
        };
        let mut delays = self.delays();
        loop {
            let error = match self.shared.namenode.add_block(&request).await {
                Ok(response) => return Ok(response.block),
                Err(error) => error,
            };
            let not_yet = error.kind() == Some(ErrorKind::NotReplicatedYet);
            match delays.next().filter(|_| not_yet) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(error),
            }
        }
    }

    async fn abandon_block(&self, block: proto::ExtendedBlockProto) -> Result<()> {
        let request = proto::AbandonBlockRequestProto {
            b: block,
            src: self.target.src.clone(),
            holder: self.shared.client_name.clone(),
            file_id: Some(self.target.file_id),
        };
        self.shared.namenode.abandon_block(&request).await?;
        Ok(())
    }
}

/// As Hadoop's `ExtendedBlock` prints itself.
fn block_name(block: &proto::ExtendedBlockProto) -> String {
    ExtendedBlock::from(block).to_string()
}
