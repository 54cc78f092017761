//! Mending a broken pipeline: runs the recovery planner's commands against NameNode and DataNodes.
//!
//! What it does not do: decide anything (`hadron_pipeline::recovery` does). Invariant: the DataNodes have the new stamp
//! before the NameNode hears of it, so that a node that was left out can never pass for current.

use super::pipeline::{self, Node, Pipeline, SetUp};
use super::streamer::{OpenBlock, Streamer};
use crate::error::{FsError, Result};
use hadron_pipeline::packet::Stage;
use hadron_pipeline::recovery::{Recovery, RecoveryCommand, RecoveryError, RecoveryFailure, RecoveryRequest};
use hadron_pipeline::window::Trouble;
use hadron_proto::hdfs as proto;
use std::io;

impl Streamer {
    /// Runs a recovery until the block has a pipeline again.
    pub(super) async fn mend(&mut self, trouble: Option<Trouble>, stage: Stage) -> Result<()> {
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
                local: open.nodes.iter().filter(|node| node.is_local()).cloned().collect(),
                failed: open.failed.clone(),
            },
        );
        let mut raised = None;
        let mut last_transfer = None;
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
                            if !recovery.replacement_refused() {
                                return Err(error);
                            }
                        }
                    }
                }
                RecoveryCommand::Transfer { source, target } => {
                    let block = proto::ExtendedBlockProto {
                        num_bytes: Some(self.window.bytes_acked()),
                        ..open.block.clone()
                    };
                    let result = pipeline::transfer(&self.shared, &block, &open.copy_token, &source, &target).await;
                    recovery.transferred(result.is_ok());
                    if let Err(error) = result {
                        tracing::warn!(file = self.target.src, %source, %target, %error, "transfer failed");
                        last_transfer = Some(error);
                    }
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
                        drop_behind: self.target.drop_behind,
                        lazy_persist: self.target.lazy_persist,
                        favored_nodes: &self.target.favored_nodes,
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
                    tracing::info!(
                        file = self.target.src,
                        block = open.block.block_id,
                        stamp = open.block.generation_stamp,
                        nodes = nodes.len(),
                        "pipeline stands again"
                    );
                    open.span.record("stamp", open.block.generation_stamp);
                    open.nodes = nodes;
                    open.failed = failed;
                    self.open = Some(open);
                    self.persist_blocks = true;
                    return Ok(());
                }
                RecoveryCommand::Fail(failure) => return Err(self.explain(&failure, &open, last_transfer)),
            }
        }
    }

    /// The stream's end as Hadoop words it.
    fn explain(&self, failure: &RecoveryFailure<Node>, open: &OpenBlock, last_transfer: Option<io::Error>) -> FsError {
        let text = match (failure.error, last_transfer) {
            (RecoveryError::TransferFailed, Some(error)) => error.to_string(),
            (RecoveryError::NoNodes, _) => format!(
                "Could not get block locations. Source file \"{}\" - Aborting...blk_{}_{}",
                self.target.src, open.block.block_id as i64, open.block.generation_stamp
            ),
            _ => failure.to_string(),
        };
        FsError::write_failed(text)
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
