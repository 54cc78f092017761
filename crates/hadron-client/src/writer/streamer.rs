//! The one task behind a [`super::FileWriter`]: owns the window machine and runs its commands.
//!
//! Each turn: run the commands that are due, start the next packet, wait for one event, apply it. Events are applied
//! synchronously; only commands await. Everything the stream holds is in [`Streamer`], so dropping it frees all.

use super::payload::Payload;
use super::pipeline::{self, Node, Pipeline, Progress, SetUp};
use crate::error::{FsError, Result};
use crate::fs::Shared;
use crate::lease::OpenFile;
use hadron_pipeline::packet::{PipelineAck, Stage};
use hadron_pipeline::recovery::{Recovery, RecoveryCommand, RecoveryRequest};
use hadron_pipeline::window::{NewPacket, SendWindow, Trouble, WindowCommand};
use hadron_proto::common::TokenProto;
use hadron_proto::hdfs as proto;
use hadron_types::ErrorKind;
use hadron_wire::transfer::Checksum;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// What the writer sends to the streamer.
pub(crate) enum Message {
    Packet(NewPacket<Payload>),
    Flush {
        update_length: bool,
        reply: oneshot::Sender<()>,
    },
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
}

/// The block being written.
struct OpenBlock {
    block: proto::ExtendedBlockProto,
    /// For writing it.
    token: TokenProto,
    /// For having it copied to a node that joins the pipeline.
    copy_token: TokenProto,
    nodes: Vec<Node>,
    failed: Vec<Node>,
}

/// Somebody waiting for the ack of a packet.
struct Waiter {
    seqno: i64,
    update_length: bool,
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
    shared: Arc<Shared>,
    target: Target,
    window: SendWindow<Payload>,
    inbox: mpsc::Receiver<Message>,
    started: Instant,
    pipeline: Option<Pipeline>,
    open: Option<OpenBlock>,
    previous: Option<proto::ExtendedBlockProto>,
    excluded: Vec<(proto::DatanodeInfoProto, Instant)>,
    waiters: VecDeque<Waiter>,
    closing: bool,
    persist_blocks: bool,
    appended: bool,
    hflushed: bool,
    _lease: OpenFile,
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
            _lease: lease,
        }
    }

    /// Begins inside the file's last block, which is not full.
    pub(crate) fn with_last_block(mut self, located: proto::LocatedBlockProto) -> Self {
        self.appended = true;
        self.open = Some(OpenBlock {
            nodes: Node::of(&located),
            block: located.b,
            token: located.block_token,
            copy_token: TokenProto::default(),
            failed: Vec::new(),
        });
        self
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

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn start_next_packet(&mut self) {
        let now = self.now();
        if let Some(pipeline) = self.pipeline.as_mut().filter(|pipeline| pipeline.is_idle())
            && let Some(transmit) = self.window.poll_send(now)
        {
            pipeline.start(transmit);
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
            Event::Message(Some(Message::Flush { update_length, reply })) => self.waiters.push_back(Waiter {
                seqno: self.window.last_queued_seqno(),
                update_length,
                reply,
            }),
            Event::Message(Some(Message::Close)) => self.closing = true,
            Event::Message(None) => return Err(FsError::Closed),
            Event::Acked(ack) => self.window.ack_received(&ack, now),
            Event::Wrote => {}
            Event::LinkFailed(error) => {
                tracing::debug!(file = self.target.src, %error, "connection to first data node lost");
                self.window.link_failed();
            }
            Event::TimedOut => self.window.handle_timeout(now),
        }
        Ok(())
    }

    async fn execute(&mut self, command: WindowCommand) -> Result<()> {
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
                    self.previous = Some(proto::ExtendedBlockProto {
                        num_bytes: Some(len),
                        ..open.block
                    });
                }
                Ok(())
            }
            WindowCommand::Recover { trouble, stage } => {
                self.pipeline = None;
                if let Some(fault) = self.window.last_fault() {
                    tracing::warn!(file = self.target.src, %fault, "recovering pipeline");
                }
                self.mend(Some(trouble), stage).await?;
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
            self.hflushed = true;
            if self.open.is_some() && (waiter.update_length || self.persist_blocks) {
                let len = waiter.update_length.then(|| self.window.bytes_acked() as i64);
                self.persist_blocks = false;
                let request = proto::FsyncRequestProto {
                    src: self.target.src.clone(),
                    client: self.shared.client_name.clone(),
                    last_block_length: len,
                    file_id: Some(self.target.file_id),
                };
                self.shared.namenode.fsync(&request).await?;
            }
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
                    "Unable to close file because the last block {} does not have enough number of replicas.",
                    request
                        .last
                        .map(|block| format!("blk_{}", block.block_id))
                        .unwrap_or_default(),
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
            let nodes = Node::of(&located);
            let wanted = SetUp {
                block: &located.b,
                token: &located.block_token,
                nodes: &nodes,
                stage: Stage::SetupCreate,
                new_stamp: 0,
                block_size: self.target.block_size,
                min_bytes: 0,
                max_bytes: 0,
                checksum: self.target.checksum,
            };
            let failure = match Pipeline::set_up(&self.shared, &wanted).await {
                Ok(pipeline) => {
                    self.pipeline = Some(pipeline);
                    self.persist_blocks = true;
                    self.window.block_opened(nodes.len(), self.now());
                    self.open = Some(OpenBlock {
                        block: located.b,
                        token: located.block_token,
                        copy_token: TokenProto::default(),
                        nodes,
                        failed: Vec::new(),
                    });
                    return Ok(());
                }
                Err(failure) => failure,
            };
            tracing::warn!(
                file = self.target.src,
                block = located.b.block_id,
                cause = failure.cause,
                "abandoning block"
            );
            self.abandon_block(located.b).await?;
            if let Some(bad) = nodes.get(failure.trouble.node()) {
                self.excluded.push((bad.info.clone(), Instant::now()));
            }
            tries += 1;
            if tries > self.shared.settings.block_write_retries {
                return Err(FsError::write_failed(format!(
                    "Unable to create new block. {}",
                    failure.cause
                )));
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
            flags: Vec::new(),
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

    // ---- recovery ----

    /// Runs a recovery until the block has a pipeline again.
    async fn mend(&mut self, trouble: Option<Trouble>, stage: Stage) -> Result<()> {
        let Some(mut open) = self.open.take() else {
            return Err(FsError::write_failed("no block to recover"));
        };
        let mut recovery = Recovery::new(
            self.shared.settings.recovery,
            RecoveryRequest {
                nodes: open.nodes.clone(),
                trouble,
                stage,
                replication: self.target.replication,
                appended_or_hflushed: self.appended || self.hflushed,
                restarting_node_is_local: false,
                failed: open.failed.clone(),
            },
        );
        let mut raised = None;
        loop {
            let Some(command) = recovery.poll_command(self.now()) else {
                return Err(FsError::write_failed("pipeline recovery stalled"));
            };
            match command {
                RecoveryCommand::Wait { pause } => {
                    tokio::time::sleep(pause).await;
                    recovery.waited();
                }
                RecoveryCommand::FindReplacement { existing, exclude } => {
                    match self.find_replacement(&mut open, &existing, &exclude).await {
                        Ok(Some(node)) => recovery.replacement_found(node),
                        Ok(None) => recovery.replacement_missing(),
                        Err(error) => {
                            tracing::warn!(file = self.target.src, %error, "no replacement for a data node");
                            recovery.replacement_missing();
                        }
                    }
                }
                RecoveryCommand::Transfer { source, target } => {
                    let block = proto::ExtendedBlockProto {
                        num_bytes: Some(self.window.bytes_acked()),
                        ..open.block.clone()
                    };
                    let result = pipeline::transfer(&self.shared, &block, &open.copy_token, &source, &target).await;
                    if let Err(error) = &result {
                        tracing::warn!(file = self.target.src, %error, "transfer to new data node failed");
                    }
                    recovery.transferred(result.is_ok());
                }
                RecoveryCommand::RaiseStamp => {
                    let located = self.raise_stamp(&open).await?;
                    open.token = located.block_token;
                    raised = Some(located.b.generation_stamp);
                    recovery.stamp_raised();
                }
                RecoveryCommand::Connect { nodes, stage } => {
                    let wanted = SetUp {
                        block: &open.block,
                        token: &open.token,
                        nodes: &nodes,
                        stage,
                        new_stamp: raised.unwrap_or(open.block.generation_stamp),
                        block_size: self.target.block_size,
                        min_bytes: self.window.bytes_acked(),
                        max_bytes: self.window.bytes_sent(),
                        checksum: self.target.checksum,
                    };
                    match Pipeline::set_up(&self.shared, &wanted).await {
                        Ok(pipeline) => {
                            self.pipeline = Some(pipeline);
                            recovery.connected();
                        }
                        Err(failure) => {
                            tracing::warn!(file = self.target.src, cause = failure.cause, "pipeline set-up failed");
                            recovery.connect_failed(failure.trouble);
                        }
                    }
                }
                RecoveryCommand::UpdatePipeline { nodes } => {
                    let stamp = raised.unwrap_or(open.block.generation_stamp);
                    self.update_pipeline(&mut open, &nodes, stamp).await?;
                    recovery.pipeline_updated();
                }
                RecoveryCommand::Done { nodes, failed } => {
                    open.nodes = nodes;
                    open.failed = failed;
                    self.open = Some(open);
                    self.persist_blocks = true;
                    return Ok(());
                }
                RecoveryCommand::Fail(error) => return Err(FsError::write_failed(error.to_string())),
            }
        }
    }

    /// Asks for a node to take the place of one that failed; the answer's token lets others copy the block there.
    async fn find_replacement(
        &self,
        open: &mut OpenBlock,
        existing: &[Node],
        exclude: &[Node],
    ) -> Result<Option<Node>> {
        let request = proto::GetAdditionalDatanodeRequestProto {
            src: self.target.src.clone(),
            blk: open.block.clone(),
            existings: existing.iter().map(|node| node.info.clone()).collect(),
            excludes: exclude.iter().map(|node| node.info.clone()).collect(),
            num_additional_nodes: 1,
            client_name: self.shared.client_name.clone(),
            existing_storage_uuids: existing.iter().map(|node| node.storage_id.clone()).collect(),
            file_id: Some(self.target.file_id),
        };
        let located = self.shared.namenode.get_additional_datanode(&request).await?.block;
        open.copy_token = located.block_token.clone();
        Ok(Node::of(&located).into_iter().find(|node| !existing.contains(node)))
    }

    async fn raise_stamp(&self, open: &OpenBlock) -> Result<proto::LocatedBlockProto> {
        let request = proto::UpdateBlockForPipelineRequestProto {
            block: open.block.clone(),
            client_name: self.shared.client_name.clone(),
        };
        Ok(self.shared.namenode.update_block_for_pipeline(&request).await?.block)
    }

    async fn update_pipeline(&self, open: &mut OpenBlock, nodes: &[Node], stamp: u64) -> Result<()> {
        let acked = Some(self.window.bytes_acked());
        let new_block = proto::ExtendedBlockProto {
            generation_stamp: stamp,
            num_bytes: acked,
            ..open.block.clone()
        };
        let request = proto::UpdatePipelineRequestProto {
            client_name: self.shared.client_name.clone(),
            old_block: proto::ExtendedBlockProto {
                num_bytes: acked,
                ..open.block.clone()
            },
            new_block: new_block.clone(),
            new_nodes: nodes.iter().map(|node| node.info.id.clone()).collect(),
            storage_i_ds: nodes.iter().map(|node| node.storage_id.clone()).collect(),
        };
        self.shared.namenode.update_pipeline(&request).await?;
        open.block = new_block;
        Ok(())
    }
}
